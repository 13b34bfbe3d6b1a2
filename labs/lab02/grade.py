"""Lab 2: who owns a descriptor?  The guest's program predicts what a burst does to the
receive ring; then the burst comes while nobody looks, and we look.

The CPU is held in a timer tick, interrupts off, by a jump to itself where the tick's
function begins: the driver cannot run, the card can.  What the ring is then is read from
guest memory and from the card's registers, never asked of the guest.
"""

import os
import random
import re
import socket
import struct
import subprocess
import time

from vm import SLOW

TITLE = 'Read the ring: who owns a descriptor?'
FILES = ['user/predict.c']
BUILD_VARIANT = True

SIZE = 256
LONGEST = 1522   # the card takes no longer frame
RDBAL, RDH, RDT = 0x2800, 0x2810, 0x2818
WAIT = 20 * SLOW


class Stub:
    """QEMU's gdb stub, spoken to directly: stop, look, go on."""

    def __init__(self, lab, wire):
        fd = os.open(wire.vm.dir, os.O_RDONLY)  # a socket's path may not be long
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(WAIT)
        self.sock.connect(f'/proc/self/fd/{fd}/gdb.sock')
        os.close(fd)
        self.said = b''
        words = subprocess.run(['nm', os.path.join(lab.tree, 'build', 'kernel.elf')], stdout=subprocess.PIPE, check=True).stdout
        at = {line.split()[2]: int(line.split()[0], 16) for line in words.decode().splitlines() if len(line.split()) == 3}
        self.tick, self.cards = at['proc_tick'], at['cards']
        self.ask('?')

    def send(self, text):
        self.sock.sendall(f'${text}#{sum(text.encode()) & 255:02x}'.encode())

    def answer(self):
        while not (hit := re.search(rb'\$([^#]*)#..', self.said)):
            more = self.sock.recv(65536)
            if not more:
                raise RuntimeError('QEMU has ended')
            self.said += more
        self.said = self.said[hit.end():]
        self.sock.sendall(b'+')
        return hit.group(1).decode()

    def ask(self, text):
        self.send(text)
        return self.answer()

    def read(self, addr, size):
        return bytes.fromhex(self.ask(f'm{addr:x},{size:x}'))

    def word(self, addr):
        return struct.unpack('<I', self.read(addr, 4))[0]

    def registers(self):
        """(RDH, RDT) of the card en0, and where the ring lies."""
        card = self.word(self.cards)  # struct e1000 begins with the address of the registers
        return self.word(card + RDH), self.word(card + RDT), self.word(card + RDBAL)

    def stop(self):
        self.sock.sendall(b'\3')
        self.answer()

    def go(self):
        self.send('c')

    def stop_in_tick(self):
        """From running on to where a timer tick begins: interrupts are off there."""
        self.stop()
        self.ask(f'Z1,{self.tick:x},1')
        self.go()
        self.answer()
        self.ask(f'z1,{self.tick:x},1')

    def hold(self):
        """Go on, but no further: a jump to itself."""
        self.kept = self.read(self.tick, 2)
        self.ask(f'M{self.tick:x},2:ebfe')
        self.go()

    def free(self):
        self.ask(f'M{self.tick:x},2:{self.kept.hex()}')
        self.go()


def lengths(seed, n, longest):
    """The lengths of a burst: the same formula as in user/predict.c."""
    out = []
    for _ in range(n):
        seed = (seed * 1103515245 + 12345) & 0x7fffffff
        out.append(60 + (seed >> 8) % (longest - 59))
    return out


def frame(wire, size):
    """One that the card takes and nobody in the guest wants: an experimental Ethernet type."""
    return wire.guest_mac + wire.mac + b'\x88\xb5' + os.urandom(size - 14)


def done_bits(wire, ring):
    """The DD bits of the ring, from the guest's memory."""
    with open(os.path.join(wire.vm.dir, 'ram'), 'rb') as f:
        f.seek(ring)
        return [status & 1 for status in f.read(16 * SIZE)[12::16]]


def idle(wire, stub):
    """Stop when the driver has taken all and is not in the middle of something: (RDH, RDT, where the ring lies)."""
    while True:
        stub.stop_in_tick()
        head, tail, ring = stub.registers()
        if tail == (head - 1) % SIZE and not any(done_bits(wire, ring)):
            return head, tail, ring
        stub.go()


def burst(wire, stub, n, longest):
    """One round: predict, send, look.  What was said, what is, and what for."""
    # With or without the FCS? Intel's manual and QEMU differ on 1519 to 1522 bytes: no burst has such a frame.
    seed = next(s for s in iter(lambda: random.SystemRandom().randrange(1, 2 ** 31), None)
                if not any(1518 < size <= LONGEST for size in lengths(s, n, longest)))
    wire.ping(seed & 0x7fff)  # what came before has come in
    head, tail, ring = idle(wire, stub)
    stub.go()
    said = wire.vm.cmd(f'predict {head} {tail} {n} {longest} {seed}')
    before = idle(wire, stub)
    if before != (head, tail, ring):
        raise RuntimeError('frames that nobody has sent')
    stub.hold()
    sizes = lengths(seed, n, longest)
    for size in sizes:
        wire.send(frame(wire, size))
    came = min(sum(size <= LONGEST for size in sizes), (tail - head) % SIZE)  # only to know when to look
    end = time.monotonic() + WAIT
    while sum(done_bits(wire, ring)) < came:
        if time.monotonic() > end:
            raise RuntimeError(f'{came} frames had to be in the ring after {WAIT:.0f} s, there are {sum(done_bits(wire, ring))}')
        time.sleep(0.002)
    stub.stop()
    now, bits = stub.registers(), done_bits(wire, ring)
    stub.free()
    right = f'RDH {now[0]} RDT {now[1]} DD {"".join(map(str, bits))}'
    return said.strip(), right, f'RDH {head} RDT {tail}, then {n} frames of {", ".join(map(str, sizes[:12]))}' + ' ...' * (n > 12)


def rounds(lab, bursts, longest):
    """A prediction for each burst, all on one guest."""
    wire = lab.boot(cpus=1, extra=('-g',))
    stub = Stub(lab, wire)
    try:
        stub.go()
        wire.vm.wait_event('tcp_state to=LISTEN')
        wire.send(wire.arp_packet(1, wire.guest))
        for n in bursts:
            said, right, story = burst(wire, stub, n, longest)
            lab.need(said == right, f'{story}: {short(right)}', short(said))
    finally:
        stub.sock.close()


def short(said):
    """A prediction with the slots that have DD as ranges."""
    hit = re.fullmatch(r'RDH (\d+) RDT (\d+) DD ([01]{256})', said)
    if not hit:
        return said[-300:]
    spans = [f'{m.start()}-{m.end() - 1}' for m in re.finditer('1+', hit.group(3))]
    return f'RDH {hit.group(1)} RDT {hit.group(2)} DD {" ".join(spans) or "none"}'


def some(n, low, high):
    return [random.SystemRandom().randrange(low, high) for _ in range(n)]


def few(lab):
    """Eight bursts that the ring has room for; together they go round it."""
    rounds(lab, some(8, 33, 100), 1514)


def long(lab):
    """Six in which some frames are longer than the card takes."""
    rounds(lab, some(6, 20, 120), 2100)


def full(lab):
    """Six, most of them more than the card has descriptors for."""
    rounds(lab, some(2, 200, 255) + some(4, SIZE, SIZE + 8), 1514)


TESTS = {'few': (4, few), 'long': (3, long), 'full': (3, full)}


def EXPECTED(case):
    """What the self-test wants: from, to."""
    if case.startswith('reference'):
        return 10, 10
    return (0, 0) if case.startswith(('untouched', 'cheat')) else (0, 7)
