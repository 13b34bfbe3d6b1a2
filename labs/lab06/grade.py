"""Lab 6: nobody sleeps through what it waits for.

A lost wake-up needs two CPUs at two places at once, which chance arranges once in a million
times.  Here gdb's stub arranges it: the one that goes to sleep, or the one that wakes it, is
held where it is about to take a spinlock, and the other CPU runs alone until it can do no more;
once for each such place.  Nothing is asked of the code but that the frame is answered.
"""

import json
import os
import re
import subprocess

from peer import ACK, FIN, PSH, RST, Flow
from stub import Stub
from vm import KERNEL, NETTRACE

TITLE = 'The lost wake-up: who sleeps through it?'
FILES = ['kernel/net/net.c', 'kernel/net/stream.c', 'kernel/sleeplock.c']
DIAGNOSIS = 4
PORT = 7
LIMIT = 10     # seconds of a guest that runs freely
PLACES = 20    # at most, of one that goes to sleep
VOID = 40      # rounds of which nothing can be said, at most


# ---- windows -------------------------------------------------------------


def at(function, instruction):
    """Where an instruction of a function of the kernel lies."""
    text = subprocess.run(['objdump', '-d', '--no-show-raw-insn', f'--disassemble={function}', KERNEL],
                          stdout=subprocess.PIPE, check=True, text=True).stdout
    return int(re.search(rf'^\s*(\w+):\s+{instruction}\b', text, re.M).group(1), 16)


def trace(wire):
    """The events so far.  Without the capture: its clock does not fit to that of a guest that is stepped."""
    said = subprocess.run([NETTRACE, 'dump', '-q', '--json', os.path.join(wire.vm.dir, 'ram')], stdout=subprocess.PIPE,
                          check=True, text=True).stdout
    return [json.loads(row) for row in said.splitlines()]


class Window:
    """Two CPUs, of which one runs at a time."""

    def __init__(self, lab, wire):
        self.lab, self.wire, self.k = lab, wire, 0
        self.stub = Stub(os.path.join(wire.vm.dir, 'gdb.sock'), KERNEL)
        self.hlt, self.pause = at('scheduler', 'hlt'), at('acquire', 'pause')
        self.void = 0

    def sym(self, name):
        return self.stub.symbols[name]

    def send(self):
        """A frame to be answered; what its answer is known by."""
        self.k += 1
        data = self.lab.random(24)
        self.wire.send(self.frame(data))
        return data

    def frame(self, data):
        raise NotImplementedError

    def answered(self, data):
        """Let the guest run until it has answered."""
        self.stub.free()
        answer = self.wire.find(lambda p: p.data == data, LIMIT)
        self.stub.halt()
        return answer is not None

    def wakes(self, goal):
        """Why the process of the last event goal was woken before it, since the frame before."""
        rows = [row for row in trace(self.wire) if row['event'] in ('wakeup', 'e1000_rx', goal)]
        rows = [row for row in rows if row['event'] != 'e1000_rx' or row['fields']['len'] > 60]  # no ARP
        last = max(n for n, row in enumerate(rows) if row['event'] == goal)
        since = max([0] + [n for n, row in enumerate(rows[:last]) if row['event'] == 'e1000_rx'])
        return [row['fields']['why'] for row in rows[since:last]
                if row['event'] == 'wakeup' and row['fields']['who'] == rows[last]['pid']]

    def at_once(self, data, goal):
        """Is it answered, and did who does it not wait for the clock?  goal: the event of what it did."""
        return self.answered(data) and 'TIMEOUT' not in self.wakes(goal)

    def alone(self, cpu, *stops, timeout=5):
        """Run one CPU up to one of these addresses; which, or 0: not in time."""
        hit = self.stub.go([cpu], stops, timeout)
        return hit[1] if hit else 0

    def all_it_can(self, cpu):
        """Run one CPU until it has nothing to do, or waits for a lock that the other has."""
        return self.alone(cpu, self.hlt, self.pause)

    def rest(self):
        for cpu in (0, 1, 0):
            self.alone(cpu, self.hlt)

    def up_to_lock(self, cpu, k):
        """Run it to the k-th place where it takes a spinlock; 0: it has nothing to do before."""
        acquire, trap = self.sym('acquire'), self.sym('trap')
        while k > 0:
            where = self.alone(cpu, acquire, trap, self.hlt)
            if where == trap:  # a tick of the clock, whose locks do not count
                self.alone(cpu, self.stub.caller(cpu), self.hlt)
            elif where != acquire:
                return 0
            k -= where == acquire
        return 1

    def interrupted(self):
        """A frame, and CPU 0 in the interrupt handler for it; what its answer is known by."""
        data = self.send()
        return data if self.alone(0, self.sym('e1000_intr')) else None


class Reader(Window):
    """udpecho goes to sleep on CPU 1 while CPU 0 takes the datagram in."""

    def frame(self, data):
        return self.wire.udp(5000, PORT, data)

    def other_side(self):
        """Have the reader woken on CPU 1, for the card interrupts CPU 0; is it about to read again?"""
        again, lock = self.sym('sys_recvfrom'), self.sym('acquire')
        for _ in range(200):
            if self.alone(0, lock, again, self.hlt) == again:
                return False
            if self.alone(1, again, self.hlt, self.pause) == again:
                return True
        return False

    def round(self, k):
        """True: answered, False: not, None: void, 0: it was done before place k."""
        self.rest()
        first = self.interrupted()
        if not first or not self.alone(0, self.sym('sock_notify')) or not self.other_side():
            return None if first is None or self.answered(first) else False
        if not self.up_to_lock(1, k):
            self.answered(first)
            return 0
        if self.all_it_can(0) == self.pause:
            return self.answered(first) and self.at_once(self.send(), 'sock_read')
        second = self.interrupted()
        if second:
            self.all_it_can(0)
        return self.at_once(second, 'sock_read') if second else None


class Netd(Window):
    """netd goes to sleep on CPU 1 while CPU 0 is interrupted by the card."""

    def __init__(self, lab, wire, who):
        super().__init__(lab, wire)
        self.who, self.late = who, 0

    def frame(self, data):
        return self.wire.echo(self.k, data)

    def unseen(self, data):
        """Netd has not been woken for CPU 1 to take it.  By chance, or does nobody wake it?"""
        if not self.answered(data):
            return False
        self.late += self.wakes('e1000_rx')[-1:] == ['TIMEOUT']
        return None if self.late < 5 else False

    def round(self, k):
        """As Reader.round; k counts the locks of who is held: netd, or the interrupt handler."""
        self.rest()
        first = self.interrupted()
        if first is None:
            return None
        self.alone(0, self.stub.caller(0))
        if not self.alone(1, self.sym('e1000_rx'), timeout=2) or not self.alone(1, self.sym('e1000_unmask')):
            return self.unseen(first)
        self.alone(1, self.stub.caller(1))
        if self.who == 'sleeper':
            if not self.up_to_lock(1, k):
                self.answered(first)
                return 0
            second = self.interrupted()
            if second:
                self.all_it_can(0)
        else:
            if self.alone(1, self.sym('e1000_pending'), self.hlt) == self.sym('e1000_pending'):
                self.alone(1, self.stub.caller(1))  # it has seen that nothing waits
            second = self.interrupted()
            if not self.up_to_lock(0, k):
                return 0
            self.all_it_can(1)
        if second is None:
            return None if self.answered(first) else False
        return self.at_once(second, 'e1000_rx')


def boot(lab):
    """A guest that echoes, over UDP and TCP."""
    wire = lab.boot('trace=all,-func,-pbuf_*,-frame,-sys_*,-switch')
    wire.vm.cmd(f'udpecho {PORT} &')
    wire.vm.cmd(f'udpecho -t {PORT} &')
    wire.vm.wait_event(f'tcp_state to=LISTEN lport={PORT}')
    for _ in range(100):  # the other one may not be there yet: nobody tells
        data = lab.random(8)
        wire.send(wire.udp(4999, PORT, data))
        if wire.find(lambda p: p.udp and p.data == data, 0.2):
            break
    return wire


def force(lab, window, what):
    """A round for each place where it could be held.  A round may be void; too many are no grade."""
    done = []
    for k in range(1, PLACES + 1):
        result, short = None, 0
        while result is None or (result is not False and result == 0 and short < 3):
            if window.void == VOID:
                raise RuntimeError(f'{what}: {VOID} rounds without a window, after {done}')
            result = window.round(k)
            window.void += result is None
            short += result is not None
        if result is not False and result == 0:  # three times it was done before
            break
        lab.need(result, f'{what}, held before spinlock {k}, while the other CPU runs: the next frame is answered at once',
                 'it sleeps on')
        done.append(k)
    if len(done) < 2:
        raise RuntimeError(f'{what}: only {len(done)} places')
    window.wire.vm.step(f'{what}: {len(done)} places, {window.void} void rounds')
    window.stub.leave()


def reader(lab):
    """A datagram comes while the program that will want it goes to sleep."""
    force(lab, Reader(lab, boot(lab)), 'the reader')


def sleeper(lab):
    """A frame comes while netd goes to sleep."""
    force(lab, Netd(lab, boot(lab), 'sleeper'), 'netd')


def waker(lab):
    """The interrupt handler is held on its way to wake netd."""
    force(lab, Netd(lab, boot(lab), 'waker'), 'the interrupt handler')


# ---- without force -------------------------------------------------------


def rounds(lab):
    """Two hundred datagrams, each when the one before it has come back."""
    wire = boot(lab)
    for k in range(200):
        data = lab.random(1 + 7 * k)
        wire.send(wire.udp(5000 + k, PORT, data))
        lab.need(wire.find(lambda p: p.udp and p.data == data, LIMIT), 'each datagram comes back',
                 f'silence after {k} of them')


def stream(lab):
    """More than all buffers hold, with no acknowledgment of what comes back until the guest can do no more."""
    wire, data = boot(lab), lab.random(200000)
    flow = Flow(wire, 41000, PORT).open()
    start, base, edge = flow.seq, flow.ack, flow.seq + 4 * 1460
    got, sent, acks = b'', 0, False
    while len(got) < len(data):
        while sent < len(data) and start + sent + 1460 <= edge:
            flow.send(PSH | ACK, data[sent:sent + 1460], ack=(base + acks * len(got)) % 2**32)
            sent += len(data[sent:sent + 1460])
        p = wire.find(flow.mine, LIMIT if acks else 1)
        lab.need(p or not acks, f'{len(data)} bytes come back', f'silence after {len(got)} of them')
        if p is None:
            acks = True  # from here on it has no reason to wait
        elif p.tcp.flags & (FIN | RST):
            lab.need(False, f'{len(data)} bytes come back', f'the end after {len(got)} of them')
        else:
            edge = max(edge, p.tcp.ack + p.tcp.wnd)
            if p.tcp.seq == (base + len(got)) % 2**32:
                got += p.data
        if acks and (p is None or p.data):
            flow.send(ACK, ack=(base + len(got)) % 2**32)
    lab.need(got == data, 'the bytes that were sent', 'others')


TESTS = {'rounds': (1, rounds), 'stream': (2, stream), 'reader': (1, reader), 'sleeper': (1, sleeper), 'waker': (1, waker)}


def EXPECTED(case):
    """What the self-test wants: from, to."""
    if case.startswith('reference'):
        return 10, 10
    return {'untouched-a': (4, 5), 'untouched-b': (3, 4), 'untouched-c': (4, 4)}.get(case, (0, 9))
