# For gdb: count the instructions of the first TRACE() in ethif_rx by single
# steps.  The site is `cmpb $0,trace_on+ID; jne record`; it ends at the
# instruction behind the jne, which the recording path comes back to.
# Used by tools/bench/bench, against a guest that stands still.
import gdb


def here():
    """The instruction at the program counter."""
    pc = int(gdb.parse_and_eval("(unsigned)$pc"))
    return gdb.selected_inferior().architecture().disassemble(pc)[0] if hasattr(
        gdb.selected_inferior(), "architecture") else gdb.selected_frame().architecture().disassemble(pc)[0]


def step():
    gdb.execute("stepi", to_string=True)


gdb.execute("set pagination off")
gdb.execute("hbreak ethif_rx", to_string=True)
gdb.execute("continue", to_string=True)
gdb.execute("delete", to_string=True)
while "trace_on" not in here()["asm"]:
    step()
step()
jump = here()
end = jump["addr"] + jump["length"]
count = 1
while True:
    step()
    count += 1
    if here()["addr"] == end:
        break
print("instructions %d" % count)
