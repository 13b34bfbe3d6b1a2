"""What all commands share: memory of a stopped guest, arguments, errors, output.

Everything only reads.  Each address is checked before it is used; what is wrong
becomes a gdb.GdbError, one line that says what and where.
"""

import argparse
import json

import gdb

KERNBASE = 0x80000000


def read(addr, size):
    """size bytes of kernel memory."""
    if not KERNBASE <= addr <= addr + size <= 1 << 32:
        raise gdb.GdbError(f'not a kernel address: {addr:#x}')
    return bytes(gdb.selected_inferior().read_memory(addr, size))


def physical(addr, size):
    """The same by physical address: the kernel maps all RAM it uses from KERNBASE on."""
    return read(addr + KERNBASE, size)


def symbol(addr):
    """An address of the kernel as function+offset or variable+offset, else as a number."""
    said = gdb.execute(f'info symbol {addr}', to_string=True)
    name, _, section = said.strip().partition(' in section ')
    if section not in ('.text', '.rodata', '.data', '.bss'):
        return f'{addr:#x}'
    name, _, offset = name.partition(' + ')
    return f'{name}+{int(offset):#x}' if offset else name


class Parser(argparse.ArgumentParser):
    """argparse, but an error does not end gdb."""

    def error(self, message):
        raise gdb.GdbError(f'{self.prog}: {message}; help {self.prog} says more')

    def exit(self, status=0, message=None):
        raise gdb.GdbError(message or '')


class Command(gdb.Command):
    """A command: its docstring is its help text, arguments() declares what it takes,
    rows(options) yields dicts, line(row) makes text of one.  --json prints the dicts."""

    name = None

    def __init__(self):
        super().__init__(self.name, gdb.COMMAND_USER)
        self.parser = Parser(prog=self.name, add_help=False)
        self.arguments(self.parser)
        self.parser.add_argument('--json', action='store_true')

    def invoke(self, text, from_tty):
        del from_tty
        options = self.parser.parse_args(gdb.string_to_argv(text))
        try:
            for row in self.rows(options):
                print(json.dumps(row) if options.json else self.line(row), flush=True)
        except gdb.MemoryError as why:
            raise gdb.GdbError(f'{self.name}: {why}: is the kernel mapped yet?') from None
