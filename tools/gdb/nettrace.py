"""net-trace: the events in the kernel's rings, read from a stopped guest.

Works wherever gdb can read memory: at a breakpoint, after a panic, on a dump.
Names, fields, units and values come from the metadata text in the guest's memory,
so a new event needs nothing here.  The layout of ring page and slot is DWARF's.

While the guest is stopped nobody writes: a slot that is not complete stays so, and
is counted as such.
"""

import difflib
import struct

import gdb

from common import Command, number, physical, symbol

MAGIC = b'NETTRC1\0'
CONTEXTS = ['thread', 'intr', 'netd', 'timer', 'nested']
NUMBERS = {'u8': 'B', 'u16': 'H', 'u32': 'I', 'u64': 'Q', 's16': 'h', 's32': 'i'}
SIZES = {**{kind: struct.calcsize(code) for kind, code in NUMBERS.items()}, 'mac6': 6, 'name16': 16}
HEAD = struct.Struct('<QHBBIIHH')  # ts id cpu_ctx nsl seq pkt sock pid
SLOT, CONT = 64, 0x80
CHUNK = 256  # slots fetched at once


class Metadata:
    """The text that describes the events: .events[id] = (name, stage, fields)."""

    def __init__(self, text):
        self.events, self.names, self.bits = {}, {}, {}
        fields = []
        for line in text.split('\n'):
            words = line.strip().split(' ')
            if line.startswith('\t') and len(words) >= 3:
                fields.append(tuple(words[:3]))  # type, name, unit
            elif words[0] == 'event' and len(words) >= 4:
                fields = []
                self.events[int(words[1])] = (words[2], words[3], fields)
            elif words[0] == 'name' and len(words) >= 4:
                self.names.setdefault(words[1], {})[int(words[2], 0)] = words[3]
            elif words[0] == 'bits' and len(words) >= 4:
                self.bits.setdefault(words[1], []).append((int(words[2], 0), words[3]))

    def show(self, unit, value):
        """A number as its unit wants it: text, or the number itself."""
        if unit in self.names:
            return self.names[unit].get(value, str(value))
        if unit in self.bits:
            found = [name for bit, name in self.bits[unit] if value & bit]
            rest = value & ~sum(bit for bit, _ in self.bits[unit])
            return ','.join(found + [f'{rest:#x}'] * (rest != 0)) or '0'
        if unit == 'ipv4':
            return '.'.join(str(value >> shift & 255) for shift in (24, 16, 8, 0))
        if unit == 'addr':
            return symbol(value)
        return f'{value:#x}' if unit == 'hex' else value

    def decode(self, number, body):
        """(name, stage, {field: value}) of a record's number and payload."""
        name, stage, fields = self.events.get(number, (f'event{number}', '?', []))
        said, at = {}, 0
        for kind, field, unit in fields:
            if kind in ('text', 'bytes'):
                rest = body[at:]
                said[field] = rest.split(b'\0')[0].decode(errors='replace') if kind == 'text' else rest.hex()
                break
            part = body[at:at + SIZES.get(kind, 0)]
            at += len(part)
            if kind in NUMBERS:
                said[field] = self.show(unit, struct.unpack('<' + NUMBERS[kind], part)[0])
            elif kind == 'mac6':
                said[field] = part.hex(':')
            else:
                said[field] = part.split(b'\0')[0].decode(errors='replace')
        return name, stage, said


class Ring:
    """One CPU's ring, from its newest record backwards."""

    def __init__(self, cpu, state, nslots):
        self.cpu, self.nslots = cpu, nslots
        self.base, self.head = int(state['ring_pa']), int(state['head'])
        self.unwritten = 0

    def slot(self, chunks, number):
        """The slot with this number since boot, None if it is not there (yet)."""
        at = number % self.nslots
        first = at - at % CHUNK
        if first not in chunks:
            chunks[first] = physical(self.base + first * SLOT, min(CHUNK, self.nslots - first) * SLOT)
        raw = chunks[first][(at - first) * SLOT:(at - first + 1) * SLOT]
        seq, = struct.unpack_from('<I', raw, 12)
        self.unwritten += seq == number
        return raw if seq == (number + 1) & 0xffffffff and raw[:8] != bytes(8) else None  # time 0: never used

    def records(self):
        """(slot number, first slot, body) of each record, newest first."""
        chunks, rest = {}, []
        for back in range(1, self.nslots + 1):
            seq = (self.head - back) & 0xffffffff
            raw = self.slot(chunks, seq)
            if raw is None:
                rest = []
                continue
            if raw[11] & CONT:
                rest.insert(0, raw[16:])
                continue
            body = raw[24:] + b''.join(rest[:raw[11] - 1])
            rest = []
            yield seq, raw, body


def page():
    """The ring page, as DWARF describes it."""
    try:
        found = gdb.parse_and_eval('nt_page')
    except gdb.error:
        raise gdb.GdbError('no symbol nt_page: load kernel.elf, of a kernel with its tracer') from None
    if bytes(int(found['hdr']['magic'][i]) & 255 for i in range(8)) != MAGIC:
        raise gdb.GdbError('the rings are not there yet: run to trace_init first, say to e1000_rx')
    return found


def metadata():
    """What the kernel says of its events; read once."""
    if not metadata.known:
        header = page()['hdr']
        text = physical(int(header['meta_pa']), int(header['meta_len']))
        metadata.known = Metadata(text.decode(errors='replace'))
    return metadata.known


metadata.known = None


def event_number(name):
    """The number of an event that this kernel has."""
    names = {event[0]: number for number, event in metadata().events.items()}
    if name not in names:
        near = sorted(known for known in names if name in known)[:3] or difflib.get_close_matches(name, names, 3, 0.5)
        raise gdb.GdbError(f'no event {name}' + f', did you mean {" or ".join(near)}?' * bool(near) + '; net-until alone lists them')
    return names[name]


def rings():
    """A Ring for each CPU that runs."""
    header = page()['hdr']
    return [Ring(cpu, page()['cpu'][cpu], int(header['nslots'])) for cpu in range(int(header['ncpu']))]


def ring_records(names):
    """(event, packet, fields) of the records of these events, newest first on each CPU."""
    meta = metadata()
    wanted = {number for number, event in meta.events.items() if event[0] in names}
    for ring in rings():
        for _, raw, body in ring.records():
            _, event, _, _, _, pkt, _, _ = HEAD.unpack_from(raw)
            if event in wanted:
                name, _, fields = meta.decode(event, body)
                yield name, pkt, fields


def record_row(cpu, seq, raw, body):
    """A record as net-trace prints it; its time is added there."""
    ts, event, ctx, _, _, pkt, sock, pid = HEAD.unpack_from(raw)
    name, stage, fields = metadata().decode(event, body)
    return {'tsc': ts, 'cpu': cpu, 'ctx': (CONTEXTS + ['?'] * 11)[ctx >> 4], 'seq': seq, 'pkt': pkt, 'sock': sock,
            'pid': pid, 'event': name, 'stage': stage, 'fields': fields}


def show_row(row):
    """The text of a row; its time in microseconds in front, if it has one."""
    who = f'pid={row["pid"]} ' * (row['pid'] > 0) + f'#{row["pkt"]} ' * (row['pkt'] > 0) + \
        f'sock={row["sock"]} ' * (row['sock'] > 0)
    when = '' if row['us'] is None else f'{row["us"]:>10.1f} '
    return f'{when}cpu{row["cpu"]} {row["ctx"]} {who}{row["event"]} ' + \
        ' '.join(f'{name}={short(value)}' for name, value in row['fields'].items())


def short(value):
    """Bytes and texts as far as they fit a line; --json has all."""
    return value[:47] + '...' if isinstance(value, str) and len(value) > 50 else value


class NetTrace(Command):
    """net-trace [-n N] [--cpu C] [--pkt ID] [--sock S] [--event NAME] [--json]

The last N events (default 20) in the kernel's rings, of all CPUs, oldest first:
time in microseconds before the newest one, CPU and what it was doing, packet,
socket, event, fields.

  net-trace --pkt 9          the journey of packet #9, as far as the rings reach
  net-trace --event net_drop the last drops
  net-trace -n 5 --json      for a script: one object a line"""

    name = 'net-trace'
    empty = 'no such event in the rings'

    def arguments(self, parser):
        parser.add_argument('-n', type=int, default=20)
        parser.add_argument('--cpu', type=int)
        parser.add_argument('--pkt', type=number)
        parser.add_argument('--sock', type=number)
        parser.add_argument('--event')

    def rows(self, options):
        if not 1 <= options.n <= 100000:
            raise gdb.GdbError(f'net-trace: -n {options.n}: want a number from 1 to 100000')
        header = page()['hdr']
        if options.event:
            event_number(options.event)
        all_rings = rings()
        if options.cpu is not None and not 0 <= options.cpu < len(all_rings):
            raise gdb.GdbError(f'net-trace: no CPU {options.cpu}: there are {len(all_rings)}')
        wanted = [ring for ring in all_rings if options.cpu in (None, ring.cpu)]
        found = []
        for ring in wanted:
            found += self.last(ring, options)
        found.sort(key=lambda row: (row['tsc'], row['cpu'], row['seq']))
        found = found[-options.n:]
        for row in found:
            row['us'] = round((row['tsc'] - found[-1]['tsc']) * 1000 / (int(header['tsc_khz']) or 1000000), 1)
            yield row
        torn = sum(ring.unwritten for ring in wanted)
        if torn:
            yield {'warning': f'{torn} slot{"s" * (torn > 1)} not complete when the guest was stopped'}

    @staticmethod
    def last(ring, options):
        """At most options.n rows of one ring that the options want."""
        rows = []
        for seq, raw, body in ring.records():
            _, _, _, _, _, pkt, sock, _ = HEAD.unpack_from(raw)
            if options.pkt not in (None, pkt) or options.sock not in (None, sock):
                continue
            row = record_row(ring.cpu, seq, raw, body)
            if options.event in (None, row['event']):
                rows.append(row)
            if len(rows) == options.n:
                break
        return rows

    @staticmethod
    def line(row):
        return show_row(row)


NetTrace()
