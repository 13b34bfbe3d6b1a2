"""Backtraces through traced functions.

The function tracer (kernel/trace/func.c) keeps a traced call's return address in a
shadow stack and leaves func_return in its place: gdb would take what follows for
frames.  Here it is told the true caller; the list has a frame `func_traced` there.
"""

import gdb
from gdb.unwinder import Unwinder, register_unwinder

from common import true_return


class Id:
    """What tells one frame from another."""

    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


class Traced(Unwinder):
    def __init__(self):
        super().__init__('traced calls')

    def __call__(self, pending):
        try:
            pc, sp = pending.read_register('eip'), pending.read_register('esp')
            caller = true_return(int(pc) % 2**32, int(sp) % 2**32 - 4)
        except (gdb.error, gdb.MemoryError, gdb.GdbError):  # no kernel, or a core without registers
            return None
        if caller == int(pc) % 2**32:
            return None
        info = pending.create_unwind_info(Id(sp, pc))
        for name in ('esp', 'ebp', 'ebx', 'esi', 'edi'):
            info.add_saved_register(name, pending.read_register(name))
        info.add_saved_register('eip', gdb.Value(caller).cast(pc.type))
        return info


register_unwinder(None, Traced(), replace=True)
