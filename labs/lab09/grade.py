"""Lab 9: the Internet checksum, RFC 1071: right for each length at each address."""

import os
import random
import re
import socket
import struct
import subprocess

from peer import ACK, PSH, Flow, checksum
from vm import KERNEL

TITLE = 'Wrong sums: the Internet checksum'
FILES = ['kernel/net/chksum.c']
DIAGNOSIS = 4
LONGEST = 1460
SCRATCH = 'memp_memory_PBUF_POOL_base'  # larger than a page, and mapped everywhere


class Stub:
    """The guest's only CPU, through QEMU's gdb stub; while we are connected it stands still."""

    def __init__(self, path):
        self.sock, self.came = socket.socket(socket.AF_UNIX), b''
        self.sock.settimeout(10)
        self.sock.connect(path)
        self.say('Hc0')
        while self.hear() != 'OK':  # that it stopped for us is told too
            pass

    def say(self, text):
        self.sock.sendall(f'${text}#{sum(text.encode()) % 256:02x}'.encode())

    def hear(self):
        """The next packet from the stub."""
        while not (found := re.search(rb'\$([^#]*)#..', self.came)):
            self.came += self.sock.recv(65536)
        self.came = self.came[found.end():]
        self.sock.sendall(b'+')
        return found.group(1).decode()

    def ask(self, text):
        self.say(text)
        return self.hear()

    def read(self, addr, n):
        return bytes.fromhex(self.ask(f'm{addr:x},{n:x}'))

    def write(self, addr, data):
        if self.ask(f'M{addr:x},{len(data):x}:{data.hex()}') != 'OK':
            raise RuntimeError(f'the stub does not write {len(data)} bytes at {addr:#x}')

    def registers(self):
        """eax ecx edx ebx esp ebp esi edi eip eflags, and all behind as it came."""
        said = self.ask('g')
        return list(struct.unpack('<10I', bytes.fromhex(said[:80]))), said[80:]

    def set(self, regs, rest):
        self.ask('G' + struct.pack('<10I', *regs).hex() + rest)


def symbols():
    said = subprocess.run(['nm', KERNEL], stdout=subprocess.PIPE, check=True, text=True).stdout
    return {name: int(value, 16) for value, _, name in (line.split() for line in said.splitlines())}


# Calls net_chksum (in edi) for esi rows of (data, length, sum) at ebx, and falls off its end.
CALLER = bytes.fromhex('ff7304 ff33 ffd7 83c408 894308 83c30c 4e 75ed 90')
CODE, TABLE, DATA, ROWS = 0, 32, 1280, 100  # offsets from SCRATCH
CARRY = struct.pack('<4I', 0xffffffff, 0xffffffff, 1, 0)  # 32-bit words that leave no room for the last carry


class Calls:
    """The guest's CPU stands at net_chksum's first instruction and makes calls of ours.
    What it was about to do, it does when we are done."""

    def __init__(self, lab, wire):
        names = symbols()
        self.base, self.func = names[SCRATCH] + 63 & ~63, names['net_chksum']
        self.stub = stub = Stub(os.path.join(wire.vm.dir, 'gdb.sock'))
        stub.ask(f'Z0,{self.func:x},1')
        stub.say('c')
        wire.send(wire.echo(1, b'its sum is wanted'))
        try:
            stub.hear()
        except TimeoutError:
            lab.need(False, 'a call of net_chksum when a ping comes', 'none for 10 s')
        stub.ask(f'z0,{self.func:x},1')
        self.regs, self.rest = stub.registers()
        self.memory = [(at, stub.read(at, 1024)) for at in range(self.base, self.base + 3072, 1024)]
        stub.write(self.base + CODE, CALLER)
        self.end = self.base + CODE + len(CALLER) - 1
        stub.ask(f'Z0,{self.end:x},1')

    def make(self, data, rows):
        """The sums of these pieces (offset, length) of data; None if they are not done in 10 s."""
        table = b''.join(struct.pack('<3I', self.base + DATA + at, n, 0) for at, n in rows)
        self.stub.write(self.base + TABLE, table)
        self.stub.write(self.base + DATA, data)
        regs = self.regs[:]
        regs[3], regs[4], regs[6], regs[7] = self.base + TABLE, regs[4] - 64 & ~15, len(rows), self.func
        regs[8], regs[9] = self.base + CODE, regs[9] & ~0x200  # no interrupts
        self.stub.set(regs, self.rest)
        self.stub.say('c')
        try:
            self.stub.hear()
        except TimeoutError:
            return None
        return [row[2] & 0xffff for row in struct.iter_unpack('<3I', self.stub.read(self.base + TABLE, len(table)))]

    def done(self):
        self.stub.ask(f'z0,{self.end:x},1')
        for at, data in self.memory:
            self.stub.write(at, data)
        self.stub.set(self.regs, self.rest)
        self.stub.ask('D')


def sums(lab):
    """net_chksum itself, called for each length at each of four addresses in a row."""
    wire = lab.boot(cpus=1)
    calls = Calls(lab, wire)
    todo = [(n, at) for n in range(LONGEST + 1) for at in range(4)]
    random.shuffle(todo)
    while todo:
        fill = random.choice([os.urandom(1500), os.urandom(1500), os.urandom(1500), bytes(1500), b'\xff' * 1500])
        data, some, todo = CARRY + fill, todo[:ROWS - 1], todo[ROWS - 1:]
        rows = [(0, 12)] + [(16 + at + 4 * random.randrange((1497 - n) // 4), n) for n, at in some]
        got = calls.make(data, rows)
        lab.need(got, 'net_chksum to return', 'nothing for 10 s')
        for (at, n), value in zip(rows, got):
            piece = data[at:at + n]
            want = ~socket.htons(checksum(piece)) & 0xffff
            lab.need(value == want or (value == 0xffff and not any(piece)),
                     f'the sum of {n} bytes at an address of 4k + {at % 4}: {want:#06x}',
                     f'{value:#06x}; the bytes: {piece[:32].hex(" ")}{" ..." if n > 32 else ""}')
    calls.done()
    wire.ping(2, lab.random(33))  # the guest goes on as if nothing had been


def echo(lab, wire, port, data):
    """A datagram to udpecho, and its data back, with a sum of the guest's."""
    wire.send(wire.udp(port, 7, data))
    p = wire.find(lambda p: p.udp and p.udp.dport == port, 10)
    lab.need(p is not None, f'an echo of {len(data)} bytes', 'silence')
    lab.need(p.data == data, f'the {len(data)} bytes that were sent', 'others')
    lab.need(p.frame[40:42] != b'\0\0', 'a checksum in each datagram', 'none')


def traffic(lab):
    """Pings, datagrams and segments of many lengths: taken, and answered with right sums."""
    wire = lab.boot()
    wire.vm.cmd('udpecho 7 &')
    wire.vm.cmd('udpecho -t 7 &')
    sizes = [*range(20), 63, 64, 65, 511, 512, 1021, 1470, 1471, 1472] + random.sample(range(1473), 20)
    for k, size in enumerate(sizes):
        wire.send(wire.echo(k, lab.random(size)))
        lab.need(wire.find(lambda p: p.icmp and p.icmp.seq == k, 10), f'the answer to a ping of {size} bytes', 'silence')
        echo(lab, wire, 5000 + k, lab.random(size))
    flow = Flow(wire, 40000, 7).open()
    for size in [1, 2, 3, 1459, 1460] + random.sample(range(1, 1460), 20):
        data = lab.random(size)
        flow.send(PSH | ACK, data)
        got = b''
        while len(got) < size:
            p = wire.find(lambda p: flow.mine(p) and p.data, 10)
            lab.need(p is not None, f'{size} bytes of an echo by TCP', f'{len(got)} of them')
            got += p.data
            flow.ack = (p.tcp.seq + len(p.data)) % 2**32
        flow.send(ACK)
        lab.need(got == data, f'the {size} bytes that were sent', 'others')


def flip(frame, first, last):
    """The frame with one wrong bit between two offsets."""
    at, bit = random.randrange(first, last), 1 << random.randrange(8)
    return frame[:at] + bytes([frame[at] ^ bit]) + frame[at + 1:]


def damaged(lab):
    """A hundred frames with one wrong bit each, among good ones: dropped, counted, never delivered."""
    wire = lab.boot()
    wire.vm.cmd('udpecho 7 &')
    wire.vm.cmd('udpecho -t 7 &')
    flow = Flow(wire, 40001, 7).open()
    kinds = ['IP_CSUM', 'ICMP_CSUM', 'UDP_CSUM', 'TCP_CSUM'] * 25
    random.shuffle(kinds)
    for k, kind in enumerate(kinds):
        data = lab.random(random.randrange(2, 1400))
        udp = wire.udp(6000 + k, 7, data)
        wire.send({'IP_CSUM': lambda: flip(udp, 28, 30),  # the sender's address
                   'ICMP_CSUM': lambda: flip(wire.echo(k, data, ident=99), 42, 42 + len(data)),
                   'UDP_CSUM': lambda: flip(udp, 42, 42 + len(data)),
                   'TCP_CSUM': lambda: flip(wire.tcp(40001, 7, flow.seq, flow.ack, PSH | ACK, data), 54, 54 + len(data)),
                   }[kind]())
        if k % 5 == 0:
            echo(lab, wire, 5000 + k, lab.random(random.randrange(2, 1400)))
    data = lab.random(777)
    flow.send(PSH | ACK, data)
    p = wire.find(lambda p: flow.mine(p) and p.data, 10)
    lab.need(p and p.data == data, 'of the connection only the good bytes back', p or 'silence')
    wire.ping(1, ident=98)
    answers = [p for p in wire.capture() if p.src == wire.guest_mac and
               (p.icmp and p.icmp.ident == 99 or p.udp and p.udp.dport >= 6000)]
    lab.need(not answers, 'no answer to a damaged frame', answers[:1])
    told = [e['reason'] for e in wire.vm.events('net_drop') if e['reason'].endswith('_CSUM')]
    want = {kind: 25 for kind in sorted(set(kinds))}
    got = {kind: told.count(kind) for kind in sorted(set(kinds) | set(told))}
    lab.need(got == want, f'net_drop with these reasons: {want}', got)


TESTS = {'sums': (3, sums), 'traffic': (2, traffic), 'damaged': (1, damaged)}


def EXPECTED(case):
    """What the self-test wants: from, to."""
    if case.startswith('reference'):
        return 10, 10
    return (0, 0) if case.startswith('untouched') else (0, 5)
