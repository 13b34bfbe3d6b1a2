"""What a reader of /dev/nettrace asks for is what it gets.

The trace is frozen; then each view is judged against the unfiltered stream, from
which the test itself selects what should have come.
"""

import os
import socket
from urllib.request import urlopen

import pytest

from evidence import Ring, Trace
from vm import BUILD, CAP, VM

TESTS = ('-i', os.path.join(BUILD, 'tests.img'))
READY = ('ip', 'e1000_rx', 'tcp_state to=LISTEN')
PORT = 7001
OPS = {'==': lambda a, b: a == b, '!=': lambda a, b: a != b, '<': lambda a, b: a < b, '<=': lambda a, b: a <= b,
       '>': lambda a, b: a > b, '>=': lambda a, b: a >= b, '&': lambda a, b: a & b != 0}


def get(vm):
    with urlopen(f'http://127.0.0.1:{vm.port(80)}/rc', timeout=CAP) as answer:
        return answer.read()


def ask(vm, lines):
    """What a reader gets that has written these lines."""
    with socket.create_connection(('127.0.0.1', vm.port(PORT)), CAP) as s:
        s.sendall(lines.encode())
        s.shutdown(socket.SHUT_WR)
        parts = []
        while part := s.recv(65536):
            parts.append(part)
    return b''.join(parts)


class Views:
    """A frozen trace of a few requests; all: its records, by a reader without a wish."""

    def __init__(self, vm):
        self.vm = vm
        vm.send(f'trview {PORT} &\n')
        vm.expect('listening\n')
        for _ in range(4):
            get(vm)
        vm.cmd('echo stop > /dev/nettrace')
        self.trace = Trace(ask(vm, ''))
        rows = self.trace.records()
        self.all = [row for row in rows if row['event'] != 'reader_stat']
        self.slots = self.raw(self.trace, self.all)
        assert self.slots == Ring(os.path.join(vm.dir, 'ram')).slots and len(self.all) > 500
        assert {row['cpu'] for row in self.all} == {0, 1}

    def raw(self, trace, rows):
        return [slot for row in rows for slot in trace.slots[row['slot']:row['slot'] + row['nsl']]]

    def view(self, lines):
        """(records, account per CPU) of a reader with these lines."""
        data = ask(self.vm, lines)
        assert data != b'refused', lines
        trace = Trace(data)
        rows = trace.records()
        mine = [row for row in rows if row['event'] != 'reader_stat']
        return self.raw(trace, mine), {row['fields']['cpu']: row['fields'] for row in rows
                                       if row['event'] == 'reader_stat'}

    def same(self, lines, want):
        """The view is exactly these records of all; what it left out is counted."""
        slots, account = self.view(lines)
        assert slots == self.raw(self.trace, want), f'{lines}: {len(slots)} slots'
        for cpu, row in account.items():
            out = sum(r['nsl'] for r in self.all if r['cpu'] == cpu) - sum(r['nsl'] for r in want if r['cpu'] == cpu)
            assert (row['filtered'], row['lost']) == (out, 0), lines
            assert row['delivered'] == sum(r['nsl'] for r in want if r['cpu'] == cpu)

    def with_ends(self, port):
        """Records that name the connection with this port of the peer."""
        return [row for row in self.all if row['fields'].get('rport') == port and row['fields']['lport'] == 80]


@pytest.fixture(scope='module')
def views():
    with VM(cpus=2, mb=64, append='trace=all trace_slots=65536', ports=(80, PORT), extra=TESTS, wait=READY,
            name='views') as vm:
        yield Views(vm)
        ask(vm, 'end')


# EVENT FIELD OP VALUE, and the number that VALUE is; None: ask the metadata.
FILTERS = [
    ('tcp_seg_in', 'state', '==', '4', 4),  # u8
    ('tcp_seg_in', 'len', '>', '0', 0),  # u16
    ('sys_enter', 'fd', '<', '0', 0),  # s16
    ('sys_enter', 'fd', '==', '-1', -1),
    ('sys_exit', 'ret', '<', '0', 0),  # s32
    ('sys_exit', 'ret', '>=', '-11', -11),
    ('tcp_seg_*', 'wnd', '>=', '0x1000', 0x1000),  # u32
    ('wakeup', 'chan', '>', '0x80000000', 0x80000000),
    ('clock_sync', 'tsc', '>', '0x100000', 0x100000),  # u64
    ('clock_sync', 'tsc', '<=', '0x7fffffffffffff', 0x7fffffffffffff),
    ('ip_in', 'dst', '==', '10.0.2.15', 0x0a00020f),  # ipv4
    ('ip_out', 'src', '!=', '10.0.2.15', 0x0a00020f),
    ('tcp_seg_in', 'lport', '==', '80', 80),  # port
    ('tcp_state', 'to', '==', 'ESTABLISHED', None),  # a name
    ('tcp_state', 'to', '!=', 'CLOSED', None),
    ('sys_enter', 'nr', '==', 'poll', None),
    ('pkt_end', 'fate', '==', 'WIRE', None),
    ('tcp_seg_out', 'flags', '&', 'FIN', None),  # a bit
    ('tcp_seg_out', 'flags', '&', '0x12', 0x12),
    ('*', 'pkt', '>', '0', 0),  # of the head
    ('*', 'sock', '!=', '0', 0),
    ('@SYSCALL', 'pid', '>', '2', 2),
    ('*', 'cpu', '==', '1', 1),
    ('*', 'ctx', '!=', '0', 0),
]


def test_a_filter_of_each_kind(views):
    """What the pattern does not name passes; of what it does, what the term is true of."""
    narrow = 0
    for pattern, field, op, value, number in FILTERS:
        named = {name for name, stage, _ in views.trace.events.values()
                 if pattern in ('*', name, '@' + stage) or pattern[-1] == '*' and name.startswith(pattern[:-1])}

        def passes(row):
            if row['event'] not in named:
                return True
            have = row[field] if field in ('pkt', 'sock', 'pid', 'cpu', 'ctx') else row['fields'][field]
            want = number
            if want is None:
                unit = next(u for _, f, u in views.trace.events[views.trace.ids[row['event']]][2] if f == field)
                want = next(n for n, word in views.trace.sets[unit].items() if word == value)
            return OPS[op](have, want)
        want = [row for row in views.all if passes(row)]
        narrow += 0 < len(want) < len(views.all) and any(row['event'] in named for row in want)
        views.same(f'filter {pattern} {field} {op} {value}', want)
    assert narrow >= 2 * len(FILTERS) // 3, 'most of them let some pass and others not'


def test_filters_add_up(views):
    """All terms of a filter, all filters of a reader; and its view."""
    port = next(row['fields']['rport'] for row in views.all if row['event'] == 'tcp_open')
    views.same(f'filter tcp_seg_* rport == {port} && len > 0\nfilter sys_* pid == 0\ndisable @CPU,@MEM',
               [row for row in views.all if row['stage'] not in ('CPU', 'MEM')
                and (not row['event'].startswith('tcp_seg_') or
                     row['fields']['rport'] == port and row['fields']['len'] > 0)
                and (not row['event'].startswith('sys_') or row['pid'] == 0)])
    views.same('filter * pid == 7777\nfilter off', views.all)
    assert ask(views.vm, 'filter ethif_rx dst == 1') == b'refused'  # a MAC is no number
    assert ask(views.vm, 'disable *\nfilter tcp_seg_in to == 1') == b'refused'


def request(views):
    """A request's first record with data, and its packet's number."""
    return next(row for row in views.all if row['event'] == 'tcp_seg_in' and row['fields']['lport'] == 80
                and row['fields']['len'] > 0)


def test_only_a_packet(views):
    """It, and what comes from it, and from that: the answer to a SYN; of the trace's own events those of no packet."""
    first = next(row['pkt'] for row in views.all if row['event'] == 'tcp_seg_in' and row['fields']['flags'] == 2)
    pkts, want = {first}, []
    for row in views.all:
        if row['event'] == 'pkt_link' and row['fields']['parent'] in pkts:
            pkts.add(row['pkt'])
        if row['stage'] == 'META' and row['pkt'] == 0 or row['pkt'] in pkts:
            want.append(row)
    assert 1 < len(pkts) < 64
    assert {row['pkt'] for row in want if row['event'] == 'e1000_tx'} - {first}, 'an answer that is sent'
    views.same(f'only pkt {first}', want)
    views.same(f'only pkt {first}\nonly off', views.all)


def test_only_a_flow(views):
    seg = request(views)
    port = seg['fields']['rport']
    sock = next(row['sock'] for row in views.with_ends(port) if row['sock'])
    seen, want = 0, []
    for row in views.all:
        mine = row['fields'].get('rport') == port and row['fields'].get('lport') == 80
        seen = row['sock'] if mine and row['sock'] else seen
        if row['stage'] == 'META' or mine or row['sock'] and row['sock'] == seen and 'laddr' not in row['fields']:
            want.append(row)
    assert {'sock_rx', 'sock_read', 'tcp_state', 'tcp_seg_out'} <= {row['event'] for row in want}
    for ends in (f'10.0.2.15:80-10.0.2.2:{port}', f'10.0.2.2:{port}-10.0.2.15:80'):
        views.same(f'only flow {ends}', want)
    meta = [row for row in views.all if row['stage'] == 'META']
    views.same(f'only flow 10.0.2.15:80-10.0.2.3:{port}', meta)
    views.same(f'only sock {sock}', [row for row in views.all if row['stage'] == 'META' or row['sock'] == sock])
    pid = next(row['pid'] for row in views.all if row['event'] == 'sock_read')
    views.same(f'only pid {pid}', [row for row in views.all if row['stage'] == 'META' or row['pid'] == pid])


def test_from(views):
    """Where a reader begins, in slots of each ring."""
    views.same('from oldest', views.all)
    views.same('from now', [])
    for back in (1, 100):
        slots, account = views.view(f'from -{back}')
        for cpu in 0, 1:
            whole = views.raw(views.trace, [row for row in views.all if row['cpu'] == cpu])
            mine = [slot for slot in slots if slot[10] & 15 == cpu and slot[12:16] != bytes(4)]
            assert mine == whole[len(whole) - len(mine):], 'the last ones'
            assert len(mine) + account[cpu]['lost'] == back and account[cpu]['lost'] < 4
            assert account[cpu]['filtered'] == len(whole) - back
    assert ask(views.vm, 'from -65537') == ask(views.vm, 'from then') == b'refused'


def test_stop_on_is_exact(boot):
    """On one CPU the record that was waited for is followed by exactly N slots; at
    once by none.  The bytes of a frame are as many as snaplen says."""
    vm = boot(cpus=1, mb=64, append='trace=all,+frame')
    wanted = {'37': 1, '85': 2, '133': 3, '181': 4}
    for after in 0, 1, 77, 1000:
        vm.cmd(f'echo stop-on mark after {after} > /dev/nettrace')
        vm.cmd('echo mark here > /dev/nettrace; cat README > copy')
        while 'frozen 0' in vm.cmd('cat /dev/nettrace.stat'):
            get(vm)
        ring = Ring(os.path.join(vm.dir, 'ram'))
        marks = [row for row in ring.records() if row['event'] == 'mark' and row['fields']['text'] == 'here']
        behind = len(ring.slots) - marks[-1]['slot'] - marks[-1]['nsl']
        longest = max(row['nsl'] for row in ring.records())
        assert after - longest < behind <= after, 'a record that does not fit is not begun'
        vm.cmd('echo start > /dev/nettrace')
    for size, slots in wanted.items():
        vm.cmd(f'echo snaplen {size} > /dev/nettrace; echo mark {size} > /dev/nettrace')
        get(vm)
    ring, size = Ring(os.path.join(vm.dir, 'ram')), None
    seen = {}
    for row in ring.records():
        if row['event'] == 'mark':
            size = row['fields']['text']
        elif row['event'] == 'frame' and size in wanted:
            seen.setdefault(size, set()).add(row['nsl'])
            assert row['nsl'] == min(wanted[size], -(-(row['fields']['len'] - 37) // 48) + 1), row
    assert all(max(seen[size]) == slots for size, slots in wanted.items()), seen
