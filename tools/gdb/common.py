"""What all commands share: memory of a stopped guest, lists, arguments, errors, output.

Everything only reads.  Each address is checked before it is used; what is wrong
becomes a gdb.GdbError, one line that says what and where, or, within a list, a row
{'warning': words}, after which the command goes on.  Where things lie is DWARF's.
"""

import argparse
import json

import gdb

KERNBASE, KSTACKS, DEVSPACE = 0x80000000, 0xf8000000, 0xfe000000
PAGE = 4096
LIMIT = 1000  # no list is followed further


# ---- memory -----------------------------------------------------------------

def read(addr, size):
    """size bytes of kernel memory."""
    if not KERNBASE <= addr <= addr + size <= DEVSPACE:
        raise gdb.GdbError(f'not a kernel address: {addr:#x}')
    return bytes(gdb.selected_inferior().read_memory(addr, size))


def physical(addr, size):
    """The same by physical address: the kernel maps all RAM it uses from KERNBASE on."""
    return read(addr + KERNBASE, size)


def word(addr):
    return int.from_bytes(read(addr, 4), 'little')


def is_kernel(pointer):
    """May this be the address of a thing of the kernel's: in RAM, in the image or on a stack?"""
    addr = int(pointer) & 0xffffffff
    end = KERNBASE + int(var('bootinfo')['ram_end'])
    return KERNBASE <= addr < end or KSTACKS <= addr < DEVSPACE


def var(name, file=None):
    """A variable of the kernel; file says whose, if several may have one of that name."""
    try:
        return gdb.parse_and_eval(f"'{file}'::{name}" if file else name)
    except gdb.error as why:
        raise gdb.GdbError(f'no variable {name} ({why}): load kernel.elf') from None


def whole(value):
    """The value, fetched at once: its parts then cost no further question to QEMU."""
    value.fetch_lazy()
    return value


def deref(pointer, what):
    if not is_kernel(pointer):
        raise gdb.GdbError(f'{what}: not a kernel address: {int(pointer) & 0xffffffff:#x}')
    return whole(pointer.dereference())


def chain(first, link, what, trouble, limit=LIMIT):
    """What a linked list holds; what is wrong with the list is appended to trouble."""
    seen, at = {}, first
    while int(at):
        addr = int(at) & 0xffffffff
        place = f'{what}: link {len(seen)}'
        if not is_kernel(at):
            trouble.append(f'{place} is not a kernel address: {addr:#x}')
        elif addr in seen:
            trouble.append(f'{place}: the list loops, back to link {seen[addr]} at {addr:#x}')
        elif len(seen) == limit:
            trouble.append(f'{place}: only the first {limit} are shown')
        else:
            seen[addr] = len(seen)
            value = whole(at.dereference())
            yield value
            at = value[link]
            continue
        return


def text(array):
    """A char array up to its NUL; what cannot be printed as ?"""
    raw = bytes(int(array[i]) & 255 for i in range(array.type.range()[1] + 1))
    return ''.join(chr(byte) if 32 <= byte < 127 else '?' for byte in raw.split(b'\0')[0])


# ---- names ------------------------------------------------------------------

def within(kind, offset):
    """The part of a type at an offset: [3].lock, .lock.owner; nothing for a plain one."""
    kind = kind.strip_typedefs()
    if kind.code == gdb.TYPE_CODE_ARRAY:
        size = kind.target().sizeof
        return f'[{offset // size}]' + within(kind.target(), offset % size)
    if kind.code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION) and offset:
        for field in kind.fields():
            begin = field.bitpos // 8
            if begin <= offset < begin + field.type.sizeof:
                return f'.{field.name}' * bool(field.name) + within(field.type, offset - begin)
    return f'+{offset:#x}' if offset else ''


def symbol(addr):
    """An address of the kernel as function+offset or variable+offset, else as a number."""
    said = gdb.execute(f'info symbol {addr}', to_string=True)
    name, _, section = said.strip().partition(' in section ')
    if section not in ('.text', '.rodata', '.data', '.bss'):
        return f'{addr:#x}'
    name, _, offset = name.partition(' + ')
    return f'{name}+{int(offset):#x}' if offset else name


def place(addr):
    """An address as symbol() says it, but the part of a variable by its name: ptable.proc[3]."""
    addr = int(addr) & 0xffffffff
    name, _, offset = symbol(addr).partition('+')
    try:
        kind = gdb.parse_and_eval(name).type
    except gdb.error:
        return symbol(addr)
    if kind.code == gdb.TYPE_CODE_FUNC or name.startswith('0x'):
        return symbol(addr)
    return name + within(kind, int(offset or '0', 16))


def true_return(pc, at):
    """The return address that lies at an address of a stack, where pc was found: the function
    tracer may have put its own there (kernel/trace/func.c has the same rule)."""
    tracer = tracer_return()
    if pc != tracer:
        return pc
    shadows = var('shadows')
    for shadow in (shadows[k] for k in range(shadows.type.range()[1] + 1)):
        for k in reversed(range(int(shadow['n']))):
            if pc == tracer and int(shadow['frame'][k]['at']) == at:
                pc = int(shadow['frame'][k]['ret'])
    return pc


def tracer_return(known={}):  # one look for each kernel: it is asked for each frame
    """Where the function tracer lets a traced call return to; 0 in a kernel without it."""
    kernel = gdb.current_progspace().filename
    if kernel not in known:
        try:
            known[kernel] = int(gdb.parse_and_eval('(unsigned)&func_return'))
        except gdb.error:
            known[kernel] = 0
    return known[kernel]


def source(pc, returns=False):
    """A code address as function (file:line).  returns: it is a return address, and the
    call before it may be the last instruction of a function that never goes on."""
    returns = returns and '+' in symbol(pc)  # else somebody has put it there: a thread's first frame
    line = gdb.find_pc_line(pc - returns)
    name, _, offset = symbol(pc - returns).partition('+')
    offset = int(offset or '0', 16) + returns
    return name + f'+{offset:#x}' * (offset > 0) + (f' ({line.symtab.filename}:{line.line})' if line.symtab else '')


def ipv4(addr_be):
    """An address in network order, as it lies in lwIP's structures; * for none."""
    value = int(addr_be)
    return '.'.join(str(value >> shift & 255) for shift in (0, 8, 16, 24)) if value else '*'


def ipv4_host(addr):
    return ipv4(int.from_bytes((int(addr) & 0xffffffff).to_bytes(4, 'big'), 'little'))


def mac(array):
    return ':'.join(f'{int(array[i]) & 255:02x}' for i in range(6))


def bits(value, names):
    """The bits of a word by their names: {mask: name}; what has none as a number."""
    found = [name for mask, name in names.items() if value & mask]
    rest = value & ~sum(names)
    return ','.join(found + [f'{rest:#x}'] * (rest != 0)) or '-'


# ---- is it this kernel? -----------------------------------------------------

checked = {}


def section(objfile, name):
    """Virtual address and bytes of a section of an ELF file."""
    with open(objfile, 'rb') as file:
        elf = file.read()
    at = int.from_bytes(elf[32:36], 'little')
    size, count, names = (int.from_bytes(elf[k:k + 2], 'little') for k in (46, 48, 50))
    table = [[int.from_bytes(elf[k:k + 4], 'little') for k in range(at + i * size, at + i * size + 24, 4)]
             for i in range(count)]
    for row in table:
        begin = table[names][4] + row[0]
        if elf[begin:elf.index(b'\0', begin)] == name.encode():
            return row[3], elf[row[4]:row[4] + row[5]]
    raise gdb.GdbError(f'{objfile}: no section {name}: not our kernel')


def check_kernel():
    """Refuse to guess: gdb's file and the guest's memory must be the same kernel.
    Its constants, the names of all functions with their addresses among them, are compared."""
    if not gdb.objfiles():
        raise gdb.GdbError('no kernel.elf: say file kernel.elf')
    file = gdb.objfiles()[0].filename
    if checked.get(file):
        return
    addr, want = section(file, '.rodata')
    try:
        have = read(addr, len(want))
    except gdb.MemoryError:
        raise gdb.GdbError('nothing can be read there: is the kernel mapped yet? hbreak kmain, continue') from None
    if have != want:
        raise gdb.GdbError(f'{file} is not what is running: rebuild, or start again')
    checked[file] = True


# ---- commands ---------------------------------------------------------------

class Parser(argparse.ArgumentParser):
    """argparse, but an error does not end gdb."""

    def error(self, message):
        raise gdb.GdbError(f'{self.prog}: {message}; help {self.prog} says more')

    def exit(self, status=0, message=None):
        raise gdb.GdbError(message or '')


def number(said):
    """An argument that is a number: decimal, 0x..., a packet's #9, or what gdb knows: $_pkt."""
    return int(gdb.parse_and_eval(said)) if said.startswith('$') else int(said.lstrip('#'), 0)


def pointer(said):
    """An argument that is an address, or an expression of gdb that has one."""
    value = gdb.parse_and_eval(said)
    return int(value.address if value.type.strip_typedefs().code == gdb.TYPE_CODE_STRUCT else value) & 0xffffffff


class Function(gdb.Function):
    """A function of numbers for gdb's expressions: a subclass has its NAME, a text for help that
    begins with $NAME(ARGUMENTS), and value(), which gives it."""

    def __init__(self):
        super().__init__(self.name)

    def invoke(self, *given):
        try:
            numbers = [int(one) for one in given]
        except gdb.error:
            numbers = None
        if numbers is None or len(numbers) != self.value.__code__.co_argcount - 1:
            raise gdb.GdbError(f'want numbers, as {self.__doc__.split(":")[0]}')
        return self.value(*numbers)


class Command(gdb.Command):
    """A command: its docstring is its help text, arguments() declares what it takes,
    rows(options) yields dicts.  As text they make a table of columns, tuples of
    heading and key, numbers to the right; without columns line(row) makes text of one.
    A row {'warning': words} stands by itself.  --json prints the dicts."""

    name = None
    columns = None
    known = {}    # each command by its name
    empty = ''    # what to say when there is nothing to show
    mapped = True  # it needs the kernel where it is linked
    attached = True  # it needs a guest

    def __init__(self):
        super().__init__(self.name, gdb.COMMAND_USER)
        Command.known[self.name] = self
        self.parser = Parser(prog=self.name, add_help=False)
        self.arguments(self.parser)
        self.parser.add_argument('--json', action='store_true')

    def arguments(self, parser):
        del parser

    def invoke(self, argument, from_tty):
        del from_tty
        options = self.parser.parse_args(gdb.string_to_argv(argument))
        if self.attached and gdb.selected_inferior().connection is None:
            raise gdb.GdbError(f'{self.name}: no guest: it has ended, or gdb is not attached')
        try:
            if self.mapped:
                check_kernel()
            rows = self.rows(options)
            if options.json:
                for row in rows:
                    print(json.dumps(row), flush=True)
            else:
                self.show(rows)
        except gdb.MemoryError as why:
            raise gdb.GdbError(f'{self.name}: {why}: is the kernel mapped yet?') from None
        except gdb.error as why:
            raise gdb.GdbError(f'{self.name}: {why}') from None

    def show(self, rows):
        """Rows as text."""
        if self.columns:
            self.table(list(rows))
        else:
            self.lines(rows)

    def lines(self, rows):
        some = False
        for row in rows:
            some = True
            print('! ' + row['warning'] if 'warning' in row else self.line(row), flush=True)
        if not some and self.empty:
            print(f'{self.name}: {self.empty}')

    def table(self, rows):
        """Columns as wide as what is in them; warnings behind, in words."""
        plain = [row for row in rows if 'warning' not in row]
        columns = [(head, key) for head, key in self.columns if any(key in row for row in plain)]
        cells = [[self.cell(row.get(key)) for _, key in columns] for row in plain]
        heads = [head for head, _ in columns]
        wide = [max(map(len, column)) for column in zip(heads, *cells)]
        right = [any(isinstance(row.get(key), (int, float)) for row in plain) for _, key in columns]
        if not plain and self.empty:
            print(f'{self.name}: {self.empty}')
        for line in [heads] * bool(plain) + cells:
            print('  '.join(cell.rjust(width) if to_right else cell.ljust(width)
                            for cell, width, to_right in zip(line, wide, right)).rstrip())
        for row in rows:
            if 'warning' in row:
                print('! ' + row['warning'])

    @staticmethod
    def cell(value):
        if isinstance(value, float):
            return f'{value:.1f}'
        return '-' if value is None else str(value)


def warnings(trouble):
    """Rows of the warnings in a list, which is emptied."""
    while trouble:
        yield {'warning': trouble.pop(0)}
