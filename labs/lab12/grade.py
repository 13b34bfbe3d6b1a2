"""Lab 12: two guests on one wire, and a window that opens again."""

import os
import random
import socket
import time
from types import SimpleNamespace

from peer import ACK, FIN, PSH, Flow, Packet, read_capture
from vm import VM, Failed

TITLE = 'Two machines, one wire: the window that stays closed'
FILES = ['kernel/net/stream.c', 'kernel/net/sock.c', 'answers.json']
EVENTS = ('e1000_rx', 'e1000_rx', 'e1000_tx', 'e1000_tx', 'sock_read', 'sock_rx', 'tcp_seg_in', 'tcp_seg_in',
          'tcp_seg_out', 'tcp_seg_out')
CAUSES = (('sock_read', 'tcp_seg_out'), ('tcp_seg_in', 'tcp_seg_out'))  # of another packet on the same machine
TRACE = 'trace=all,-func,-pbuf_*,-frame,-sys_*,-switch,-sleep,-wakeup,-irq_* trace_slots=65536'
MIB, HOLDS = 1 << 20, 3


class Machine:
    """One of two guests, with the end of a wire in its card."""

    def __init__(self, name, end):
        number = 20 + 'AB'.index(name)
        self.name, self.mac = name, f'52:54:00:12:34:0{number - 19}'
        os.dup2(end.fileno(), number)
        end.close()
        self.vm = VM(append=f'ip=10.9.0.{number - 19}/24 rc=off {TRACE}', cpus=1, ports=(), fds=(number,), name='lab',
                     extra=('-n', f'dgram,local.type=fd,local.str={number}', '-M', self.mac), wait=('ip',))
        self.stop = self.vm.stop

    def capture(self):
        return [p for p in read_capture(os.path.join(self.vm.dir, 'wire.pcap')) if p.tcp]

    def frames(self):
        """All frames of the capture, in order."""
        return [p.frame for p in read_capture(os.path.join(self.vm.dir, 'wire.pcap'))]


def transfer(lab, port, pause_ms, chunk):
    """A sends a MiB to B, whose process sleeps before it reads chunk bytes at a time."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    a, b = (Machine(name, end) for name, end in zip('AB', ends))
    lab.wires += [a, b]
    a.vm.start()
    b.vm.start()
    b.vm.send(f'ttcp -r -l -q -p {port} -s {pause_ms} -b {chunk}\n')
    b.vm.wait_event(f'tcp_state to=LISTEN lport={port}')
    a.vm.send(f'ttcp -t -q -p {port} 10.9.0.2\n')
    try:
        b.vm.wait_event(f'tcp_state to=CLOSE_WAIT lport={port}', 25)
    except Failed:
        last = [p.tcp.wnd for p in b.capture() if p.tcp.sport == port][-1:]
        lab.need(False, 'A has sent all and B has it', f'not in 25 s; the last window of B: {last}')
    return a, b


def mebibyte(lab):
    """A MiB from A to B in 10 s of B's clock, although B's process sleeps first."""
    port = random.randrange(20000, 30000)
    _, b = transfer(lab, port, random.randrange(1500, 2500), random.randrange(6000, 30000))
    rows = b.capture()
    sent, first, last = {}, None, None
    for p in rows:
        if p.tcp.dport == port and p.data:
            first = first or p
            sent[(p.tcp.seq - first.tcp.seq) % 2**32] = p.data
    whole = b''
    while (piece := sent.get(len(whole))):
        whole += piece
    want = bytes(k * 2654435761 % 2**32 >> 24 for k in range(MIB))
    lab.need(whole == want, 'the MiB of ttcp -t on the wire', f'{len(whole)} bytes, or other ones')
    for p in rows:
        if p.tcp.sport == port and (p.tcp.ack - first.tcp.seq) % 2**32 in (MIB, MIB + 1):
            last = last or p
    lab.need(last, 'an ACK of it all', 'none')
    lab.need(any(p.tcp.sport == port and p.tcp.wnd == 0 for p in rows), 'a window of 0 while nobody reads', 'it never closes')
    lab.need(last.t - first.t <= 10, 'all acknowledged in 10 s of virtual time', f'{last.t - first.t:.1f} s')


def through(lab, wire, data):
    """Send data to the guest's first nc and take what its second nc sends.  HOLDS times our
    window is closed until the guest's is, too."""
    source, sink = Flow(wire, random.randrange(40000, 50000), 5010), Flow(wire, 5012, 0)
    sink.accept()
    source.open()
    base, sent, edge, got = source.seq, 0, 1460, b''
    holds, closed, progress = 0, False, time.monotonic()
    while len(got) < len(data):
        while sent < min(edge, len(data)):
            n = min(1460, edge - sent, len(data) - sent)
            source.send(PSH | ACK, data[sent:sent + n])
            sent += n
        if not closed and holds < HOLDS and len(got) >= holds * (len(data) // (HOLDS + 1)) + 20000:
            closed = True
        p = wire.receive(1)
        lab.need(time.monotonic() - progress < 12, 'data that move on', f'silence after {len(got)} of {len(data)} bytes')
        if p and source.mine(p):
            before, edge = edge, max(edge, (p.tcp.ack - base) % 2**32 + p.tcp.wnd)
            if p.tcp.wnd == 0 and closed:
                holds, closed = holds + 1, False
                sink.send(ACK)
            if edge > before:
                progress = time.monotonic()
        elif p and sink.mine(p) and p.data:
            if p.tcp.seq == sink.ack:
                got, sink.ack, progress = got + p.data, (sink.ack + len(p.data)) % 2**32, time.monotonic()
            sink.send(ACK, wnd=0 if closed else 65535)
        lab.need(not closed or sent < len(data), 'a window that closes while nobody reads',
                 f'{sent} bytes were taken, {len(got)} read')
    lab.need(got == data, 'the bytes that were sent', 'other bytes')


def opens_again(lab):
    """Random bytes through two processes; after each zero window an update, 200 ms after the read() at most."""
    wire = lab.boot(TRACE, cpus=1)
    wire.vm.send('nc -l 5010 | nc 10.9.0.1 5012\n')
    wire.vm.wait_event('tcp_state to=LISTEN lport=5010')
    through(lab, wire, lab.random(MIB - random.randrange(1, 3000)))
    frames, rows = wire.capture(), wire.vm.events()
    ours = [r['sock'] for r in rows if r['event'] == 'tcp_seg_out' and r['lport'] == 5010][-1:]
    closed, read, updates = False, None, 0
    for row in rows:
        if row['event'] == 'sock_read' and [row['sock']] == ours and closed:
            read = read or row
        if row['event'] != 'e1000_tx' or 'frame' not in row:
            continue
        tcp = frames[row['frame'] - 1].tcp
        if not tcp or tcp.sport != 5010:
            continue
        if tcp.wnd and closed:
            lab.need(read, 'a read() before the window opens', 'none')
            late = (row['t_ns'] - read['t_ns']) / 1e6
            lab.need(late <= 200, 'a window update within 200 ms of the read()', f'{late:.0f} ms')
            updates += 1
        closed = tcp.wnd == 0
        read = read if closed else None
    lab.need(updates >= HOLDS, f'{HOLDS} windows that open again, in trace and capture', updates)


def resolve(lab, answers, rows, frames):
    """The rows that the answers mean: each is the first of its kind behind the one before,
    on the same machine; from one machine to the other only a frame leads."""
    at, found, last = {'A': -1, 'B': -1}, [], None
    for k, (name, event) in enumerate(answers, 1):
        said = f'{k}. {name} {event}'
        if last and last.machine != name:
            lab.need((last.event, event) == ('e1000_tx', 'e1000_rx'), f'a frame from {last.machine} to {name} before {said}',
                     f'{last.event}, then {event}')
            at[name] = -1
            hits = [i for i, r in enumerate(rows[name]) if r['event'] == event and 'frame' in r and
                    frames[name][r['frame'] - 1] == last.frame]
        else:
            hits = [i for i, r in enumerate(rows[name]) if i > at[name] and r['event'] == event]
        lab.need(hits, said, f'no such event follows {last.event if last else "the start"}')
        row = rows[name][hits[0]]
        at[name] = hits[0]
        if last and last.machine == name:
            lab.need(row['pkt'] == last.pkt or (last.event, event) in CAUSES, f'{said} follows from {last.event}',
                     'another packet' if row['pkt'] != last.pkt else 'the same packet')
        last = SimpleNamespace(machine=name, event=event, pkt=row['pkt'],
                               frame=frames[name][row['frame'] - 1] if 'frame' in row else None)
        found.append(last)
    return found


def places(lab):
    """The ten events, each on its machine, in the order of cause: looked for in a fresh run."""
    said = lab.answers()
    try:
        answers = [(str(e['machine']), str(e['event'])) for e in said]
    except (TypeError, KeyError) as e:
        answers = lab.need(False, 'answers.json: ten times {"machine": "A" or "B", "event": ...}', repr(e))
    lab.need(sorted(e for _, e in answers) == list(EVENTS), 'the ten events of the task', [e for _, e in answers])
    lab.need({m for m, _ in answers} <= {'A', 'B'}, 'machines A and B', [m for m, _ in answers])
    machines = transfer(lab, random.randrange(20000, 30000), random.randrange(1500, 2500), random.randrange(6000, 30000))
    rows = {m.name: m.vm.events() for m in machines}
    frames = {m.name: m.frames() for m in machines}
    began = [i for i, r in enumerate(rows['B']) if r['event'] == 'sock_read'][:1]
    rows['B'] = rows['B'][began[0]:] if began else []
    found = resolve(lab, answers, rows, frames)
    lab.need((found[0].machine, found[0].event) == ('B', 'sock_read'), 'B, which has read, begins',
             found[0].machine + ' ' + found[0].event)
    lab.need((found[-1].machine, found[-1].event) == ('B', 'sock_rx'), 'new data in B end it', found[-1].event)
    opened = [Packet(p.frame).tcp for p in found if p.event == 'e1000_tx'][0]
    lab.need(opened.wnd > 0 and not opened.flags & FIN, 'a segment that opens the window', f'wnd {opened.wnd}')


TESTS = {'mebibyte': (3, mebibyte), 'opens-again': (3, opens_again), 'places': (4, places)}


def EXPECTED(case):
    """What the self-test wants: from, to."""
    if case.startswith('reference'):
        return 10, 10
    if case.startswith('untouched'):
        return 0, 3  # a reader whose reads are all of one kind may get through
    if case.startswith('cheat'):
        return 0, 0
    return (6, 6) if case == 'wrong-order' else (0, 7)
