"""Lab 10: a client gets through a flood of SYNs, and nobody else pays for it."""

import os
import random
import struct
import subprocess
import time

from peer import ACK, FIN, PSH, SYN, Flow, checksum

TITLE = 'SYN flood and the backlog: policy'
FILES = ['kernel/net/stream.c', 'kernel/net/sock.c', 'kernel/net/sock.h', 'policy.txt']
OPTIONS = 'trace=off msl=100'
GROUP = 8       # SYNs of nobody between two looks at the wire
LIMIT = 5       # seconds until a client has its page
KERNBASE = 0x80000000
GET = b'GET / HTTP/1.0\r\nHost: guest\r\n\r\n'


def boot(lab):
    wire = lab.boot(OPTIONS, wait=('ip',), cpus=1)
    for _ in range(40):  # the web server may not listen yet
        if page(wire, 30000 + random.randrange(9000)):
            return wire
    lab.need(False, 'a web server', 'no page in 40 tries')


def page(wire, port):
    """One connection from SYN to FIN, alone on the wire."""
    client = Client(wire, port)
    while not client.done and time.monotonic() - client.began < LIMIT:
        p = wire.receive(0.2)
        if p and client.mine(p):
            client.take(p)
        if client.refused:
            time.sleep(0.1)
            return False
    return client.done


class Client(Flow):
    """Somebody who wants the page.  What comes for him is handed to take(); tick() sends the
    SYN again after 1 and 2 s more, as clients do."""

    def __init__(self, wire, port):
        super().__init__(wire, port, 80, seq=random.randrange(1 << 32))
        self.got, self.done, self.refused = b'', False, False
        self.began, self.again = time.monotonic(), [1, 3]
        self.isn = self.seq
        self.send(SYN, options=b'\2\4\5\xb4')

    def tick(self):
        if self.first is None and self.again and time.monotonic() - self.began > self.again[0]:
            self.again.pop(0)
            self.send(SYN, seq=self.isn, options=b'\2\4\5\xb4')

    def take(self, p):
        if p.tcp.flags & 4:  # RST
            self.refused = True
        elif p.tcp.flags & SYN and self.first is None:
            self.first, self.ack = p.tcp.seq, (p.tcp.seq + 1) % 2**32
            self.send(ACK)
            self.send(PSH | ACK, GET)
        elif p.tcp.seq == self.ack and (p.data or p.tcp.flags & FIN):
            self.got += p.data
            self.ack = (self.ack + len(p.data) + (p.tcp.flags & FIN)) % 2**32
            self.done = bool(p.tcp.flags & FIN)
            self.send(ACK | (FIN if self.done else 0))


class Flood:
    """SYNs of random sources that never answer, GROUP at a time."""

    def __init__(self, lab, wire):
        self.lab, self.wire, self.sent, self.clients = lab, wire, 0, []

    def syn(self):
        src = struct.pack('!I', random.randrange(0x0b000000, 0x7e000000))
        ports = random.randrange(1024, 65535), 80
        tcp = struct.pack('!HHIIBBHHH', *ports, random.randrange(1 << 32), 0, 5 << 4, SYN, 65535, 0, 0)
        csum = checksum(src + self.wire.guest + struct.pack('!HH', 6, 20) + tcp)
        self.wire.send(self.wire.ipv4(6, tcp[:16] + struct.pack('!H', csum) + tcp[18:], src=src))
        self.sent += 1

    def group(self):
        """GROUP SYNs and a ping; back when the guest has answered the ping, so it has seen them."""
        try:
            self.send_and_see()
        except OSError as e:
            self.lab.need(False, 'a guest that survives the flood', f'its card is gone: {e}')

    def send_and_see(self):
        for _ in range(GROUP):
            self.syn()
        seq = self.sent // GROUP % 65536
        self.wire.send(self.wire.echo(seq, ident=0x6161))
        end, answered = time.monotonic() + 10, False
        while not answered and time.monotonic() < end:
            p = self.wire.receive(1)
            if p is None:
                self.wire.send(self.wire.echo(seq, ident=0x6161))
                continue
            for client in self.clients:
                if client.mine(p):
                    client.take(p)
            answered = p.icmp and p.icmp.type == 0 and p.icmp.seq == seq and p.icmp.ident == 0x6161
        self.lab.need(answered, 'a guest that answers a ping in the flood', 'silence for 10 s')
        for client in self.clients:
            client.tick()

    def serve(self, port):
        """A client comes while the flood goes on: it must have its page in time."""
        client = Client(self.wire, port)
        self.clients.append(client)
        while not client.done and not client.refused and time.monotonic() - client.began < LIMIT:
            self.group()
        self.clients.remove(client)
        self.lab.need(client.done and client.got.startswith(b'HTTP/1.'), f'a page within {LIMIT} s, while the flood goes on',
                 'a reset' if client.refused else 'no SYN,ACK' if client.first is None else f'{len(client.got)} bytes of it')


def counts(lab, wire):
    """(pcbs, pbufs) in use, read in the guest's memory from outside."""
    kernel = os.path.join(lab.tree, 'build', 'kernel.elf')
    names = subprocess.run(['nm', kernel], stdout=subprocess.PIPE, check=True, text=True).stdout
    at = {row.split()[2]: int(row.split()[0], 16) for row in names.splitlines() if len(row.split()) == 3}
    with open(os.path.join(wire.vm.dir, 'ram'), 'rb') as ram:
        words = []
        for name, off in (('memp_stats_TCP_PCB', 8), ('net_pbufs', 0)):
            ram.seek(at[name] - KERNBASE + off)
            words.append(struct.unpack('<I', ram.read(4))[0])
    return tuple(words)


def settle(lab, wire, most, seconds):
    """Wait until no more is in use than most says; what is, at the end."""
    end = time.monotonic() + seconds
    while (now := counts(lab, wire)) and (now[0] > most[0] or now[1] > most[1]) and time.monotonic() < end:
        wire.receive(0.2)
    return now


def client(lab):
    """10,000 SYNs of random sources; five clients in between."""
    wire = boot(lab)
    flood = Flood(lab, wire)
    for k in range(5):
        while flood.sent < 2000 * k + random.randrange(800, 1600):
            flood.group()
        flood.serve(40000 + k)
    while flood.sent < 10000:
        flood.group()


def baseline(lab):
    """What a flood took is given back: pcbs and pbufs, when all half-open connections are over."""
    wire = boot(lab)
    settle(lab, wire, (0, 0), 2)
    before = counts(lab, wire)
    flood = Flood(lab, wire)
    while flood.sent < 2000:
        flood.group()
    flood.serve(40010)
    now = settle(lab, wire, before, 40)
    lab.need(now[0] <= before[0] and now[1] <= before[1], f'{before[0]} pcbs and {before[1]} pbufs, as before',
             f'{now[0]} pcbs and {now[1]} pbufs, 40 s later')


def patient(lab):
    """No flood: a client far away, whose ACK comes late, and an old connection in a flood."""
    wire = boot(lab)
    slow = Flow(wire, 41000, 80)
    slow.send(SYN, options=b'\2\4\5\xb4')
    lab.need(wire.find(slow.mine, 5), 'a SYN,ACK', 'none')
    flood = Flood(lab, wire)
    flood.group()  # eight strangers: the queue has room for them
    lab.need(wire.find(slow.mine, 10), 'the SYN,ACK again, after 3 s', 'none: forgotten')
    slow.ack = (last_isn(wire, slow) + 1) % 2**32
    slow.send(ACK)
    slow.send(PSH | ACK, GET)
    lab.need(wire.find(lambda p: slow.mine(p) and p.data, 5), 'the page, although the ACK came late', 'none')
    old = Flow(wire, 41001, 80).open()
    for _ in range(60):
        flood.group()
    wire.got.clear()
    old.send(PSH | ACK, GET)
    lab.need(wire.find(lambda p: old.mine(p) and p.data, 5), 'the page over a connection older than the flood', 'none')


def last_isn(wire, flow):
    """The sequence number of the SYN,ACK that the flow got last, from the capture."""
    return [p.tcp.seq for p in wire.capture() if p.src == wire.guest_mac and flow.mine(p) and p.tcp.flags & SYN][-1]


def policy(lab):
    """policy.txt is there: people judge it, not we."""
    try:
        with open(os.path.join(lab.tree, 'policy.txt'), errors='replace') as f:
            words = len(f.read().split())
    except OSError:
        words = 0
    lab.need(words >= 15, 'policy.txt: a sentence of 15 words or more', f'{words} words')


TESTS = {'client': (4, client), 'baseline': (3, baseline), 'patient': (2, patient), 'policy': (1, policy)}


def EXPECTED(case):
    """What the self-test wants: from, to."""
    if case.startswith('reference'):
        return 10, 10
    return (2, 2) if case.startswith('untouched') else (0, 8)
