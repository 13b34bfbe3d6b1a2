# For gdb: count the instructions of the first TRACE() in ethif_rx by single
# steps.  The site is `cmpb $0,trace_on+ID; jne record`; it ends at the
# instruction behind the jne, which the recording path comes back to.
# Used by tools/bench/bench, against a guest that stands still.
import gdb


def here():
    """The instruction at the program counter."""
    return gdb.selected_frame().architecture().disassemble(gdb.selected_frame().pc())[0]


def step():
    gdb.execute("stepi", to_string=True)


gdb.execute("set pagination off")
gdb.execute("hbreak ethif_rx", to_string=True)
gdb.execute("continue", to_string=True)
gdb.execute("delete", to_string=True)
site = "0x%x" % int(gdb.parse_and_eval("(unsigned)&trace_on[TR_ethif_rx]"))
for _ in range(200):
    if site in here()["asm"]:
        break
    step()
else:
    raise gdb.GdbError("no TRACE(ethif_rx) within 200 instructions of ethif_rx")
step()
while not here()["asm"].startswith("j"):  # the compiler puts the function's own work between
    step()
end = here()["addr"] + here()["length"]
count = 1
while gdb.selected_frame().pc() != end and count < 1000:
    step()
    count += 1
print("instructions %d" % count)
