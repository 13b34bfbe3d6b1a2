"""Processes, their stacks and page tables, locks and memory: ps, proc, btp, bt-all,
pbreak, vtop, pgdir, locks, runq, kmem, $proc().

A process that runs is a thread of gdb (one per CPU); one that does not left its
registers on its kernel stack, from where its calls are read by their frame pointers.
"""

import re

import gdb

from common import (DEVSPACE, KERNBASE, KSTACKS, LIMIT, PAGE, Command, Function, chain, deref, is_kernel, number, physical, place,
                    source, text, tracer_return, true_return, var, warnings, whole, word)
from nettrace import metadata

STATES = {'EMBRYO': 'embryo', 'SLEEPING': 'sleep', 'RUNNABLE': 'ready', 'RUNNING': 'run', 'ZOMBIE': 'zombie'}
FILES = {0: 'none', 1: 'pipe', 2: 'file', 3: 'device', 4: 'socket'}
FRAMES = 64
PRESENT, WRITE, USER, LARGE = 1, 2, 4, 0x80


def processes():
    """All in use, by pid; fetched at once."""
    table = whole(var('ptable', 'proc.c')['proc'])
    found = [table[i] for i in range(table.type.range()[1] + 1)]
    return sorted((proc for proc in found if str(proc['state']) != 'UNUSED'), key=lambda proc: int(proc['pid']))


def process(pid):
    found = [proc for proc in processes() if int(proc['pid']) == pid]
    if not found:
        raise gdb.GdbError(f'no process {pid}; there are ' + ' '.join(str(int(p['pid'])) for p in processes()))
    return found[0]


def address(proc):
    """Where a process fetched by processes() lies."""
    return int(proc.address)


def title(proc):
    name = text(proc['name'])
    return f'[{name}]' if int(proc['kthread']) else name


def who(pointer):
    """A struct proc * as "3 httpd"."""
    if not int(pointer):
        return '-'
    proc = deref(pointer, 'process')
    return f'{int(proc["pid"])} {title(proc)}'


def cpu_of(proc):
    """Number of the CPU a process ran on last, None if none."""
    at = int(proc['lastcpu'])
    return int(deref(proc['lastcpu'], 'lastcpu')['id']) if at else None


def why(proc):
    return metadata().show('SLEEPWHY', int(proc['why'])) if int(proc['chan']) else None


class Ps(Command):
    """ps [--json]

The processes: number, parent's number, state (run: on a CPU now; ready: waits for
one; sleep; zombie), the CPU it ran on last, what it waits for, the address it sleeps
on as a variable's name, its program.

  ps
  ps --json"""

    name = 'ps'
    empty = 'no processes yet'
    columns = [('PID', 'pid'), ('PPID', 'ppid'), ('STATE', 'state'), ('CPU', 'cpu'), ('WHY', 'why'), ('CHAN', 'chan'),
               ('NAME', 'name')]

    def rows(self, options):
        for proc in processes():
            parent = proc['parent']
            yield {'pid': int(proc['pid']), 'ppid': int(deref(parent, 'parent')['pid']) if int(parent) else 0,
                   'state': STATES.get(str(proc['state']), '?'), 'cpu': cpu_of(proc), 'why': why(proc),
                   'chan': place(proc['chan']) if int(proc['chan']) else None, 'name': title(proc)}


def descriptors(proc):
    """(fd, struct file) of each open one."""
    table = proc['ofile']
    for fd in range(table.type.range()[1] + 1):
        if int(table[fd]):
            yield fd, deref(table[fd], f'fd {fd}')


def about_file(file):
    """What a descriptor is, in words."""
    kind = FILES.get(int(file['type']), '?')
    said = {'type': kind, 'mode': 'r' * bool(int(file['readable'])) + 'w' * bool(int(file['writable'])),
            'ref': int(file['ref'])}
    if kind in ('file', 'device'):
        inode = deref(file['ip'], 'inode')
        said['what'] = f'inode {int(inode["inum"])}' + f', offset {int(file["off"])}' * (kind == 'file') + \
            f', device {int(file["major"])}:{int(file["minor"])}' * (kind == 'device')
    elif kind == 'socket':
        said['sock'] = int(file['sock_id'])
        said['what'] = f'socket {int(file["sock_id"])}: {place(file["sock"])}'
    elif kind == 'pipe':
        said['what'] = f'{int(file["pipe"]):#x}'
    return said


class Proc(Command):
    """proc PID [--json]

One process: its memory, what is left of its kernel stack, its open files; sockets by
their number (net-sockets says more of them).

  proc 3"""

    name = 'proc'

    def arguments(self, parser):
        parser.add_argument('pid', type=number)

    def rows(self, options):
        proc = process(options.pid)
        stack = int(proc['kstack'])
        row = {'pid': options.pid, 'name': title(proc), 'at': place(address(proc)),
               'state': STATES.get(str(proc['state']), '?'), 'killed': int(proc['killed']), 'size': int(proc['sz']),
               'pgdir': int(proc['pgdir']), 'kstack': stack, 'pkt': int(proc['pkt'])}
        if row['state'] != 'run' and int(proc['context']):
            row['stack_left'] = int(proc['context']) - stack
        yield row
        for fd, file in descriptors(proc):
            yield {'fd': fd, **about_file(file)}

    @staticmethod
    def line(row):
        if 'fd' in row:
            return f'  fd {row["fd"]:<3} {row["type"]:<7} {row["mode"]:<3} {row["what"]}'
        left = f', {row["stack_left"]} bytes of the kernel stack left' if 'stack_left' in row else ''
        return f'{row["pid"]} {row["name"]}: {row["state"]}{", killed" * bool(row["killed"])}, at {row["at"]}\n' \
            f'  {row["size"]} bytes of user memory, page directory at {row["pgdir"]:#x}\n' \
            f'  kernel stack at {row["kstack"]:#x}{left}' + f'\n  works on packet #{row["pkt"]}' * bool(row['pkt'])


# ---- backtraces -------------------------------------------------------------

def stack_size():
    """Bytes of a kernel stack: the stacks of two slots lie twice as far apart."""
    stacks = sorted({int(proc['kstack']) for proc in processes()})
    gaps = [b - a for a, b in zip(stacks, stacks[1:])]
    return min(gaps) // 2 if gaps else PAGE


def kernel_frames(proc, trouble):
    """Code addresses of a process that does not run, innermost first."""
    low = int(proc['kstack'])
    high = low + stack_size()
    context = deref(proc['context'], 'context')
    pc, frame = int(context['eip']), int(context['ebp'])
    for _ in range(FRAMES):
        yield pc
        if frame == 0:
            return
        if not low <= frame <= high - 8 or frame % 4:
            # The trap frame's ebp is the program's own: there the kernel's part ends.
            if frame >= KERNBASE:
                trouble.append(f'frame pointer outside the stack: {frame:#x}')
            return
        frame, pc = word(frame), true_return(word(frame + 4), frame + 4)
    trouble.append(f'only the first {FRAMES} frames are shown')


def user_word(pgdir, va):
    """A word of a program's memory, None if it is not there."""
    found = list(walk(pgdir, va))
    return int.from_bytes(physical(found[-1]['pa'], 4), 'little') if found[-1].get('pa') is not None else None


def user_frames(proc, pc, at, trouble):
    """The same in its program, which was at pc with frame pointer at."""
    yield pc
    for _ in range(FRAMES):
        below = user_word(int(proc['pgdir']), at) if at and at % 4 == 0 and at < KERNBASE else None
        pc = user_word(int(proc['pgdir']), at + 4) if below is not None else None
        if pc is None or pc >= int(proc['sz']):
            return
        yield pc
        if below <= at:
            return
        at = below
    trouble.append(f'only the first {FRAMES} frames are shown')


def backtrace(proc):
    """Rows of one process that does not run."""
    trouble, pid = [], int(proc['pid'])
    try:
        word(int(proc['kstack']))
    except gdb.MemoryError:
        yield {'warning': f'process {pid}: its kernel stack is not in this dump'}
        return
    for k, pc in enumerate(kernel_frames(proc, trouble)):
        yield {'pid': pid, 'frame': k, 'mode': 'kernel', 'pc': pc, 'where': source(pc, True)}
    yield from warnings(trouble)
    if not int(proc['kthread']) and is_kernel(proc['tf']):
        frame = deref(proc['tf'], 'trap frame')
        yield from program(proc, int(frame['eip']), int(frame['ebp']), trouble)
    yield from warnings(trouble)


def program(proc, pc, at, trouble):
    """Rows of the program's part."""
    pid = int(proc['pid'])
    yield {'pid': pid, 'user': title(proc)}
    for k, pc in enumerate(user_frames(proc, pc, at, trouble)):
        yield {'pid': pid, 'frame': k, 'mode': 'user', 'pc': pc, 'where': f'{pc:#x}'}


def at(sal):
    return f' ({sal.symtab.filename}:{sal.line})' if sal.symtab else ''


def has_registers(thread):
    thread.switch()
    try:
        return gdb.newest_frame().pc() != 0
    except gdb.error:  # a core of a guest that did not panic
        return False


def running(proc):
    """Rows of one that runs: gdb's thread of its CPU."""
    cpu = cpu_of(proc)
    old = gdb.selected_thread()
    thread = next((t for t in gdb.selected_inferior().threads() if has_registers(t) and t.ptid[1] == (cpu or 0) + 1), None)
    if thread is None:
        yield {'warning': f'process {int(proc["pid"])} runs on CPU {cpu}, whose registers are not in this dump'}
        return
    thread.switch()
    frame, k, trouble = gdb.newest_frame(), 0, []
    while frame and frame.pc() >= KERNBASE and k < FRAMES:
        if frame.pc() != tracer_return():
            yield {'pid': int(proc['pid']), 'frame': k, 'mode': 'kernel', 'pc': frame.pc(),
                   'where': f'{frame.name() or hex(frame.pc())}{at(frame.find_sal())}'}
            k += 1
        frame = frame.older()
    if frame and frame.pc() < KERNBASE and not int(proc['kthread']):
        yield from program(proc, frame.pc(), int(frame.read_register('ebp')) % 2**32, trouble)
    old.switch()
    yield from warnings(trouble)


class Btp(Command):
    """btp PID [--json]

The calls of a process, innermost first: in the kernel, then in its program, whose
addresses build/user/NAME.elf can name (addr2line -f -e build/user/httpd.elf 0x2f0).
Of one that runs, what gdb's bt says on its CPU.

  btp 3"""

    name = 'btp'

    def arguments(self, parser):
        parser.add_argument('pid', type=number)

    def rows(self, options):
        proc = process(options.pid)
        yield from running(proc) if str(proc['state']) == 'RUNNING' else backtrace(proc)

    @staticmethod
    def line(row):
        if 'user' in row:
            return f'-- user: {row["user"]} --'
        return f'#{row["frame"]:<2} {row["pc"]:#010x}  {row["where"]}'


class BtAll(Command):
    """bt-all [--json]

btp of every process, at most 64 of them.

  bt-all"""

    name = 'bt-all'

    def rows(self, options):
        for proc in processes()[:64]:
            yield {'pid': int(proc['pid']), 'name': title(proc), 'state': STATES.get(str(proc['state']), '?'),
                   'why': why(proc)}
            if str(proc['state']) != 'ZOMBIE':
                yield from running(proc) if str(proc['state']) == 'RUNNING' else backtrace(proc)

    @staticmethod
    def line(row):
        if 'state' in row:
            return f'== {row["pid"]} {row["name"]}: {row["state"]}' + f' ({row["why"]})' * bool(row['why'])
        return Btp.line(row)


class ProcBreak(gdb.Breakpoint):
    """Stops only while a process is current; compared in gdb, a few hundred times a second."""

    def __init__(self, pid, where):
        super().__init__(where)
        self.pid = pid

    def stop(self):
        thread = gdb.selected_thread()
        current = var('cpus')[thread.num - 1]['proc']
        return bool(int(current)) and int(current['pid']) == self.pid


class Pbreak(Command):
    """pbreak PID LOCATION

A breakpoint that stops only while that process is current.  gdb looks at each hit,
some hundred a second: not for a place that is passed all the time.

  pbreak 3 sys_read"""

    name = 'pbreak'

    def arguments(self, parser):
        parser.add_argument('pid', type=number)
        parser.add_argument('where')

    def rows(self, options):
        process(options.pid)
        # Made within a command, for what gdb prints of it must not come before our object.
        said = gdb.execute(f'python import proc; proc.ProcBreak({options.pid}, {options.where!r})', to_string=True)
        yield {'breakpoint': gdb.breakpoints()[-1].number, 'pid': options.pid, 'where': options.where, 'gdb': said.strip()}

    @staticmethod
    def line(row):
        return f'{row["gdb"]}\nstops for process {row["pid"]} only'


# ---- page tables ------------------------------------------------------------

def rights(entry):
    return ('user' if entry & USER else 'kernel') + (' r/w' if entry & WRITE else ' r/o')


def walk(pgdir, va):
    """Rows of the walk for a virtual address: the entries, and the last with the physical address."""
    for level, shift in (('PDE', 22), ('PTE', 12)):
        index = va >> shift & 1023
        entry = word(pgdir + 4 * index)
        row = {'level': level, 'index': index, 'entry': entry, 'rights': rights(entry) if entry & PRESENT else None}
        if not entry & PRESENT:
            row['missing'] = level
        elif entry & LARGE and level == 'PDE':
            row['pa'] = (entry & 0xffc00000) | (va & 0x3fffff)
        elif level == 'PTE':
            row['pa'] = (entry & ~0xfff) | (va & 0xfff)
        yield row
        if 'missing' in row or 'pa' in row:
            return
        pgdir = (entry & ~0xfff) + KERNBASE


class Vtop(Command):
    """vtop PID ADDRESS [--json]

Which physical address a virtual one has in the address space of a process, with the
two entries of the tables: the one of the page directory, the one of the page table.

  vtop 3 0x1000
  vtop 3 &ptable"""

    name = 'vtop'

    def arguments(self, parser):
        parser.add_argument('pid', type=number)
        parser.add_argument('address')

    def rows(self, options):
        va = int(gdb.parse_and_eval(options.address))
        if not -2**31 <= va < 2**32:
            raise gdb.GdbError(f'vtop: not an address of 32 bits: {options.address}')
        va %= 2**32
        for row in walk(int(process(options.pid)['pgdir']), va):
            yield {'va': va, **row}

    @staticmethod
    def line(row):
        said = f'{row["level"]}[{row["index"]}] = {row["entry"]:#010x}'
        if 'missing' in row:
            return f'{said}  not present: no {"page table" if row["level"] == "PDE" else "page"} for {row["va"]:#x}'
        said += f'  {row["rights"]}'
        return said + f'\n{row["va"]:#x} -> physical {row["pa"]:#x}' if 'pa' in row else said


def spans(pgdir):
    """(first page, last, rights) of each run of pages that lie side by side with equal rights."""
    run = None
    directory = physical(pgdir - KERNBASE, PAGE)
    for i in range(1024):
        entry = int.from_bytes(directory[4 * i:4 * i + 4], 'little')
        pages = []
        if entry & PRESENT and entry & LARGE:
            pages = [(i << 22, 1 << 22, rights(entry))]
        elif entry & PRESENT:
            table = physical(entry & ~0xfff, PAGE)
            found = ((k, int.from_bytes(table[4 * k:4 * k + 4], 'little')) for k in range(1024))
            pages = [(i << 22 | k << 12, PAGE, rights(pte & entry)) for k, pte in found if pte & PRESENT]
        for va, size, allowed in pages:
            if run and run[1] == va and run[2] == allowed:
                run[1] = va + size
                continue
            if run:
                yield run
            run = [va, va + size, allowed]
    if run:
        yield run


class Pgdir(Command):
    """pgdir PID [-n N] [--json]

The address space of a process: which ranges are mapped, for whom, for what; at most N
ranges (default 1000).

  pgdir 3"""

    name = 'pgdir'
    columns = [('FROM', 'from'), ('TO', 'to'), ('KB', 'kb'), ('RIGHTS', 'rights'), ('WHAT', 'what')]

    def arguments(self, parser):
        parser.add_argument('pid', type=number)
        parser.add_argument('-n', type=int, default=LIMIT)

    def rows(self, options):
        stacks = []
        for k, (first, end, allowed) in enumerate(spans(int(process(options.pid)['pgdir']))):
            if k == options.n:
                yield {'warning': f'only the first {options.n} ranges are shown'}
                return
            if KSTACKS <= first < DEVSPACE:
                stacks.append((first, end, allowed))
                continue
            yield from self.stacks(stacks)
            stacks = []
            yield self.row(first, end, allowed, self.what(first, allowed))

    def stacks(self, spans_of_them):
        """All kernel stacks in one row: they lie apart, a hole below each."""
        if spans_of_them:
            total = sum(end - first for first, end, _ in spans_of_them)
            yield {**self.row(spans_of_them[0][0], spans_of_them[-1][1], spans_of_them[0][2],
                              f'{len(spans_of_them)} kernel stacks, a hole below each'), 'kb': total // 1024}

    @staticmethod
    def row(first, end, allowed, what):
        return {'from': f'{first:#010x}', 'to': f'{end - 1:#010x}', 'kb': (end - first) // 1024, 'rights': allowed,
                'what': what}

    @staticmethod
    def what(first, allowed):
        if first >= DEVSPACE:
            return 'device registers'
        if first >= KERNBASE:
            return "the kernel's code and constants" if allowed.endswith('r/o') else 'RAM'
        return "the program's " + ('code' if allowed.endswith('r/o') else 'data or stack')


# ---- locks, the line for a CPU, memory --------------------------------------

def locks_in(value, name, depth=0):
    """(name, struct spinlock or struct sleeplock) within a variable."""
    kind = value.type.strip_typedefs()
    if kind.code == gdb.TYPE_CODE_STRUCT and kind.tag in ('spinlock', 'sleeplock'):
        yield name, value
    elif kind.code == gdb.TYPE_CODE_STRUCT and depth < 4:
        for field in kind.fields():
            if field.name and field.type.strip_typedefs().code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_ARRAY):
                yield from locks_in(value[field.name], f'{name}.{field.name}', depth + 1)
    elif kind.code == gdb.TYPE_CODE_ARRAY and kind.target().strip_typedefs().code == gdb.TYPE_CODE_STRUCT:
        last = kind.range()[1]  # None: an array without a size
        if last is not None and any(locks_in(value[0], '', depth + 1)):
            for i in range(min(last + 1, LIMIT)):
                yield from locks_in(value[i], f'{name}[{i}]', depth + 1)


def variables():
    """(file, name) of the kernel's variables; found once."""
    if not variables.found:
        file = None
        for line in gdb.execute('info variables -q -n', to_string=True).splitlines():
            if line.startswith('File '):
                file = line[5:].rstrip(':')
                continue
            name = re.search(r'(\w+)(\[\d*\])*;$', line)
            if name and file and file.startswith('kernel/') and file.endswith('.c'):
                variables.found.append((file, name.group(1)))
    return variables.found


variables.found = []


def all_locks():
    for file, name in variables():
        try:
            value = gdb.parse_and_eval(f"'{file}'::{name}")
        except gdb.error:
            continue
        if value.address is not None:  # else the compiler has left it out
            yield from locks_in(value, name)


class Locks(Command):
    """locks [--all] [--json]

The locks that are held or waited for: a spinlock with its CPU and the place where it
was taken, a sleep-lock with the process that has it and those that sleep for it.
--all: the others too, without those of blocks and inodes.

  locks
  locks --all"""

    name = 'locks'
    empty = 'no lock is held'
    columns = [('LOCK', 'lock'), ('KIND', 'kind'), ('HOLDER', 'holder'), ('WAITERS', 'waiters'), ('TAKEN AT', 'at')]

    def arguments(self, parser):
        parser.add_argument('--all', action='store_true')

    def rows(self, options):
        sleepers = [proc for proc in processes() if str(proc['state']) == 'SLEEPING']
        for name, lock in all_locks():
            row = self.spin(lock) if lock.type.strip_typedefs().tag == 'spinlock' else self.sleep(lock, sleepers)
            if (options.all and '[' not in name) or row['holder'] or row['waiters']:
                yield {'lock': name, **row}

    @staticmethod
    def spin(lock):
        held = int(lock['locked'])
        cpu = int(deref(lock['cpu'], 'cpu')['id']) if held and int(lock['cpu']) else None
        return {'kind': 'spin', 'holder': (f'cpu {cpu}' if cpu is not None else '?') if held else None,
                'waiters': None, 'at': source(int(lock['pc'])) if held and int(lock['pc']) else None}

    @staticmethod
    def sleep(lock, sleepers):
        waits = [str(int(proc['pid'])) for proc in sleepers if int(proc['chan']) == int(lock.address)]
        return {'kind': 'sleep', 'holder': who(lock['owner']) if int(lock['owner']) else None,
                'waiters': ' '.join(waits) or None, 'at': None}


def now_tsc():
    """The newest TSC that the trace knows, at most a timer tick (10 ms) old."""
    cpus = var('nt_page')['cpu']
    count = int(var('nt_page')['hdr']['ncpu'])
    return max((int(cpus[i]['now_hi']) << 32 | int(cpus[i]['now_lo']) for i in range(count)), default=0)


class Runq(Command):
    """runq [--json]

What each CPU does, and the processes that are ready, with the time they have waited
for a CPU (to the last timer tick: 10 ms).

  runq"""

    name = 'runq'

    def rows(self, options):
        cpus = whole(var('cpus'))
        for i in range(int(var('ncpu'))):
            cpu = cpus[i]
            yield {'cpu': i, 'runs': who(cpu['proc']) if int(cpu['proc']) else None,
                   'idle': int(cpu['idle']), 'need_resched': int(cpu['need_resched']), 'ncli': int(cpu['ncli'])}
        khz = int(var('nt_page')['hdr']['tsc_khz'])
        for proc in processes():
            if str(proc['state']) == 'RUNNABLE':
                waited = max(now_tsc() - int(proc['line_tsc']), 0)
                yield {'pid': int(proc['pid']), 'name': title(proc), 'urgent': int(proc['urgent']),
                       'greedy': int(proc['greedy']), 'ms': round(waited / khz, 1) if khz else None}

    @staticmethod
    def line(row):
        if 'cpu' in row:
            doing = row['runs'] or ('idle, halted' if row['idle'] else 'the scheduler')
            return f'cpu {row["cpu"]}: {doing}' + ', will give up the CPU' * bool(row['need_resched']) + \
                f', interrupts off {row["ncli"]} deep' * (row['ncli'] > 0)
        return f'  ready: {row["pid"]} {row["name"]}' + f', for {row["ms"]} ms' * (row['ms'] is not None) + \
            ', goes first' * row['urgent'] + ', greedy: goes last' * row['greedy']


class Kmem(Command):
    """kmem [--json]

Memory by the page: used once and given back, never used yet, all that there is; the
list of free pages is followed (at most 1000) to see that it is sound.

  kmem"""

    name = 'kmem'

    def rows(self, options):
        kmem = whole(var('kmem', 'kalloc.c'))
        free, fresh, end = int(kmem['nfree']), int(kmem['fresh']), int(kmem['end'])
        unused = (end - fresh) // PAGE if end > fresh else 0
        trouble = []
        found = sum(1 for _ in chain(kmem['free'], 'next', 'free pages', trouble, min(free + 1, LIMIT)))
        yield {'free': free + unused, 'given_back': free, 'never_used': unused, 'ram_end': int(var('bootinfo')['ram_end'])}
        if found < min(free, LIMIT) and not trouble:
            trouble.append(f'the list of free pages has {found}, counted are {free}')
        yield from warnings([words for words in trouble if 'only the first' not in words])

    @staticmethod
    def line(row):
        return f'{row["free"]} pages of {PAGE} bytes are free: {row["given_back"]} used before, {row["never_used"]} never; ' \
            f'RAM ends at {row["ram_end"] // 1024 // 1024} MB'


class ProcFunction(Function):
    """$proc(PID): the process as a struct proc *, 0 if there is none.

  print $proc(3)->name"""

    name = 'proc'

    def value(self, pid):
        kind = gdb.lookup_type('struct proc').pointer()
        found = [address(proc) for proc in processes() if int(proc['pid']) == pid]
        return gdb.Value(found[0] if found else 0).cast(kind)


for kind in (Ps, Proc, Btp, BtAll, Pbreak, Vtop, Pgdir, Locks, Runq, Kmem, ProcFunction):
    kind()
