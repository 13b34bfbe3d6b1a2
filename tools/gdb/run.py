"""From event to event: net-until, net-step.

The kernel itself finds the event (kernel/trace/stop.c): here its filter is filled, the
only memory that these commands write, and a bit is set that makes emits look at it.
The guest then runs at full speed until the record is complete.
"""

import os
import re

import gdb

from common import Command, check_kernel, number, var
from nettrace import SIZES, Ring, event_number, metadata, page, record_row, rings, show_row

OPERATORS = {'=': 'STOP_EQ', '==': 'STOP_EQ', '!=': 'STOP_NE', '<': 'STOP_LT', '>=': 'STOP_GE', '&': 'STOP_NE'}
PAYLOAD = 24  # where an event's fields begin in its slot
SLOT = 64
FROZEN = 1  # uapi/nettrace.h: NT_FROZEN

here = {}  # the event we stand at: the row of net-trace


# ---- what to wait for -------------------------------------------------------

def recorded(name):
    """The number of an event that this kernel records."""
    found = event_number(name)
    if int(page()['hdr']['flags']) & FROZEN:
        raise gdb.GdbError('no event comes any more: the rings are frozen, by a panic or nettrace freeze')
    if not int(var('trace_on')[found]):
        raise gdb.GdbError(f'{name} is not recorded: boot with the option trace=std,+{name} (make gdb APPEND=...)')
    return found


def value_of(unit, said):
    """A value as a person writes it: a number, a name of the unit's, an address."""
    meta = metadata()
    for known, name in meta.names.get(unit, {}).items():
        if said.upper().replace('-', '_') == name.upper():
            return known
    if unit in meta.bits:
        masks = {name: mask for mask, name in meta.bits[unit]}
        words = said.split(',')
        if all(word in masks for word in words):
            return sum(masks[word] for word in words)
    if re.fullmatch(r'\d+(\.\d+){3}', said):
        value = 0
        for part in said.split('.'):
            value = value << 8 | int(part) & 255
        return value
    try:
        return number(said) & 0xffffffff
    except ValueError:
        pass
    if unit == 'addr':
        return int(gdb.parse_and_eval(f'(unsigned long)&{said}'))
    known = list(meta.names.get(unit, {}).values()) + [name for _, name in meta.bits.get(unit, [])]
    raise gdb.GdbError(f'{said} is no value of a {unit}' + f'; there are {" ".join(known)}' * bool(known))


def comparison(event, words):
    """The filter's words off, mask, op and val for FIELD OP VALUE, blanks or not between."""
    found = re.fullmatch(r'(\w+)\s*(==|!=|>=|=|<|&)\s*(\S+)', ' '.join(words))
    if not found:
        raise gdb.GdbError('after "if": FIELD OP VALUE, OP one of == != < >= &, as in if len >= 1000')
    field, operator, said = found.groups()
    at, fields = PAYLOAD, metadata().events[event][2]
    for kind, name, unit in fields:
        size = SIZES.get(kind, 99)
        if name == field:
            break
        at += size
    else:
        raise gdb.GdbError(f'no field {field}; there are {" ".join(name for _, name, _ in fields)}')
    if size > 4 or at + size > SLOT:
        raise gdb.GdbError(f'{field} is a {kind}: only numbers of at most 32 bits can be compared')
    value, shift = value_of(unit, said), 8 * max(at - 60, 0)
    mask = (1 << 8 * size) - 1
    if operator == '&':
        mask, value = mask & value, 0
    return {'off': min(at, 60), 'mask': mask << shift, 'op': OPERATORS[operator], 'val': (value & mask) << shift}


# ---- arming -----------------------------------------------------------------

def write(expression):
    gdb.execute('set may-write-memory on')
    try:
        gdb.execute(f'set var {expression}')
    finally:
        gdb.execute('set may-write-memory off')


def slow_bit(on):
    """Tell each CPU's emits to look at the filter, or not to."""
    bit = int(var('trace_stop')['slow'])
    cpus = var('nt_page')['cpu']
    for i in range(cpus.type.range()[1] + 1):
        if int(cpus[i]['ring_pa']):
            write(f'nt_page.cpu[{i}].slow {"|=" if on else "&="} {bit if on else ~bit & 255}')


def arm(event, options, words):
    filled = {'pkt': options.pkt or 0, 'sock': options.sock or 0, 'skip': options.skip,
              'off': 0, 'mask': 0, 'op': 'STOP_ALWAYS', 'val': 0}
    if words:
        filled.update(comparison(event, words))
    for name, value in filled.items():
        write(f'trace_stop.{name} = {value}')
    write(f'trace_stop.event = {"STOP_ANY" if event is None else event}')
    slow_bit(True)


def disarm():
    try:
        write('trace_stop.event = STOP_NONE')
        slow_bit(False)
    except gdb.error:
        pass  # the guest has ended: nothing is armed any more


# ---- running ----------------------------------------------------------------

def resume():
    try:
        gdb.execute('continue', to_string=True)
    except gdb.error as why:
        raise gdb.GdbError(f'the guest has ended ({why})') from None
    if not gdb.selected_inferior().threads():
        raise gdb.GdbError('the guest has ended')


def run_to(where, hardware=False):
    kind = gdb.BP_HARDWARE_BREAKPOINT if hardware else gdb.BP_BREAKPOINT
    stop = gdb.Breakpoint(where, type=kind, internal=True, temporary=True)
    stop.silent = True
    try:
        resume()
    finally:
        if stop.is_valid():
            stop.delete()


def booted():
    """The emits can be looked at from where interrupts and traps are set up on."""
    if gdb.selected_inferior().connection.type == 'core':
        raise gdb.GdbError('this is a dump: it does not run')
    try:
        check_kernel()
        if int(var('idt', 'trap.c')[1]):
            return
    except (gdb.GdbError, gdb.MemoryError) as why:
        if 'mapped' not in str(why) and not isinstance(why, gdb.MemoryError):
            raise
    run_to('user_init', hardware=True)
    check_kernel()


def leave_trap():
    """From the trap that found the event to where the emit goes on; True if we are in it."""
    frame = gdb.newest_frame()
    if frame.name() != 'trace_stop_here':
        return False
    behind = int(frame.read_var('eip'))
    gdb.execute('set scheduler-locking on')  # the other CPUs stand still for these few steps
    try:
        run_to(f'*{behind:#x}')
    finally:
        gdb.execute('set scheduler-locking off')
    return True


def select_emitter():
    """Up to the function whose event it is."""
    frame = gdb.newest_frame()
    while frame.older() and (frame.find_sal().symtab is None or 'kernel/trace/trace.' in frame.find_sal().symtab.filename):
        frame = frame.older()
    frame.select()


def newest(cpu):
    """The last record of a CPU."""
    ring = Ring(cpu, page()['cpu'][cpu], int(page()['hdr']['nslots']))
    for seq, raw, body in ring.records():
        return record_row(ring.cpu, seq, raw, body)
    raise gdb.GdbError(f'the ring of CPU {cpu} is empty')


def go(event, options, words):
    """Run to the event; its row, and where we are."""
    if os.environ.get('XV6_RECORDING'):
        raise gdb.GdbError('in a replay nothing may be written into the guest: net-goto and net-back go from event to event')
    arm(event, options, words)
    stop = gdb.Breakpoint('trace_stop_here', internal=True, temporary=True)
    stop.silent = True
    try:
        resume()
    finally:
        if stop.is_valid():
            stop.delete()
        disarm()
    if not leave_trap():
        gdb.execute('frame')
        raise gdb.GdbError('stopped before the event came')
    select_emitter()
    here.clear()
    here.update(newest(gdb.selected_thread().num - 1))
    gdb.set_convenience_variable('_pkt', here['pkt'])
    gdb.set_convenience_variable('_sock', here['sock'])
    row = dict(here)
    sal = gdb.selected_frame().find_sal()
    row['function'], row['line'] = gdb.selected_frame().name(), f'{sal.symtab.filename}:{sal.line}' if sal.symtab else '?'
    return row


class Runner(Command):
    """What both commands have in common."""

    mapped = False

    @staticmethod
    def line(row):
        return show_row({**row, 'us': None}) + '\n' + gdb.execute('with print frame-arguments presence -- frame', to_string=True).rstrip()


class NetUntil(Runner):
    """net-until [EVENT [if FIELD OP VALUE] [--pkt ID] [--sock S] [--skip K]] [--json]

Run to the next such event (without EVENT: list them): the guest goes on at full speed and stops right behind the
line that recorded it.  Shows the event, goes up to the function that emitted it.
OP is == != < >= or & (a bit is set); VALUE a number, a name, an address.
A guest that has only just started boots to its first process before.  Ctrl-C ends
the wait.  `net-trace` shows what came before, `net-step` goes on with the packet; its
number is $_pkt, the socket's $_sock.

  net-until e1000_rx
  net-until tcp_state if to == ESTABLISHED
  net-until tcp_seg_in if flags & SYN
  net-until e1000_rx if len >= 1000 --skip 2"""

    name = 'net-until'

    def arguments(self, parser):
        parser.add_argument('event', nargs='?')
        parser.add_argument('words', nargs='*')
        parser.add_argument('--pkt', type=number)
        parser.add_argument('--sock', type=number)
        parser.add_argument('--skip', type=number, default=0)

    def rows(self, options):
        if options.event is None:
            yield from self.events()
            return
        words = list(options.words)
        if words and words.pop(0) != 'if':
            raise gdb.GdbError(f'net-until: "{options.words[0]}" instead of "if"; help net-until says more')
        booted()
        yield go(recorded(options.event), options, words)

    @staticmethod
    def events():
        """What can be waited for, by layer."""
        if gdb.selected_inferior().connection.type != 'core':
            booted()
        for k, (name, stage, fields) in sorted(metadata().events.items()):
            yield {'listed': name, 'stage': stage, 'recorded': bool(int(var('trace_on')[k])), 'fields': [field for _, field, _ in fields]}

    @staticmethod
    def line(row):
        if 'listed' not in row:
            return Runner.line(row)
        return f'{row["listed"]:<15} {row["stage"]:<8} {"" if row["recorded"] else "(not recorded) "}{" ".join(row["fields"])}'


class NetStep(Runner):
    """net-step [--json]

From the event that net-until or net-step stopped at to the next event of the same
packet; when the packet has ended, or the event has none, of the same socket.

  net-until e1000_rx
  net-step"""

    name = 'net-step'

    def arguments(self, parser):
        parser.set_defaults(pkt=None, sock=None, skip=0)

    def rows(self, options):
        if not here:
            raise gdb.GdbError('net-step: go to an event first: net-until e1000_rx')
        if here['pkt'] and here['event'] != 'pkt_end':
            options.pkt = here['pkt']
        else:
            options.sock = here['sock'] or self.last_socket(here['pkt'])
        yield go(None, options, [])

    @staticmethod
    def last_socket(pkt):
        """The socket that any record of a packet names."""
        for ring in rings():
            for seq, raw, body in ring.records():
                row = record_row(ring.cpu, seq, raw, body)
                if pkt and row['pkt'] == pkt and row['sock']:
                    return row['sock']
        raise gdb.GdbError(f'net-step: packet #{pkt} has ended, and no socket is known: net-until says where to go')


for kind in (NetUntil, NetStep):
    kind()
