"""The control lines of /dev/nettrace, and its exactness under a flood of events.

What is judged lies in two programs of the guest, tests/guest/prog/trctl and trstress;
for the flood, a reader of our own follows the rings in the guest's memory meanwhile.
TRACE_LONG=1 makes ten million events, another number that many calls by each writer;
FLIPS=N is how often all events and functions go on and off meanwhile.
"""

import mmap
import os
import re
import signal
import struct
import threading

import pytest

from evidence import Ring
from vm import BUILD, CAP

TESTS = ('-i', os.path.join(BUILD, 'tests.img'))
M32 = 0xffffffff
LONG = int(os.environ.get('TRACE_LONG') or 0)
FLIPS = int(os.environ.get('FLIPS') or 0)
CALLS = 1250000 if LONG == 1 else LONG or 5000  # of each of four processes, at least two events each


@pytest.fixture(autouse=True)
def long_cap(cap):
    """The long versions have no cap: who asks for them waits."""
    if LONG or FLIPS:
        signal.alarm(0)


def test_lines(boot):
    """Wrong ones change nothing and say why; right ones do what they say."""
    vm = boot(cpus=2, mb=64, extra=TESTS, append='trace=std,+sys_exit')
    assert re.search(r'^trctl: \d+ checks$', vm.cmd('trctl'), re.M)


class Live(threading.Thread):
    """Follows the rings in a running guest's memory, each for itself."""

    def __init__(self, path, keep=False):
        super().__init__(daemon=True)
        first = Ring(path)
        with open(path, 'rb') as f:
            self.ram = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
        self.page, self.nslots = first.find(), first.header['nslots']
        self.rings = [self.word(self.page + 256 + 64 * cpu) for cpu in range(len(first.heads))]
        self.start_at = [max(head - self.nslots, 0) for head in first.heads]
        self.cur, self.delivered, self.lost = list(self.start_at), [0] * len(self.rings), [0] * len(self.rings)
        self.seen, self.torn, self.late, self.done = {}, 0, 0, False
        self.kept = [] if keep else None  # ((stamp, cpu, number), slot) for merged()
        self.last = [0] * len(self.rings)

    def word(self, at):
        return struct.unpack_from('<I', self.ram, at)[0]

    def head(self, cpu):
        return self.word(self.page + 256 + 64 * cpu + 4)

    def run(self):
        while not self.done:
            for cpu in range(len(self.rings)):
                self.follow(cpu)
        for cpu in range(len(self.rings)):
            self.follow(cpu)

    def follow(self, cpu):
        head = self.head(cpu)
        while self.cur[cpu] != head:
            behind = head - self.cur[cpu] - self.nslots
            if behind > 0:
                self.lost[cpu] += behind
                self.cur[cpu] += behind
            at = self.rings[cpu] + 64 * (self.cur[cpu] & (self.nslots - 1))
            seq = self.word(at + 12)
            if seq < self.cur[cpu] + 1:
                return  # in flight
            slot = self.ram[at:at + 64]
            if seq > self.cur[cpu] + 1 or self.word(at + 12) != seq:
                self.lost[cpu] += 1
                self.cur[cpu] += 1
                head = self.head(cpu)
                continue
            stamp, event, who, nsl = struct.unpack_from('<QHBB', slot)
            self.torn += who & 15 != cpu or nsl == 0 or struct.unpack_from('<I', slot, 12)[0] != seq
            self.late += stamp < self.last[cpu]
            self.last[cpu] = stamp
            self.seen[event] = self.seen.get(event, 0) + 1
            self.delivered[cpu] += 1
            if self.kept is not None:
                self.kept.append(((stamp, cpu, self.cur[cpu]), slot))
            self.cur[cpu] += 1

    def hash(self):
        """All slots in the order of time, hashed as trstress does."""
        value = 2166136261
        for _, slot in sorted(self.kept):
            for word in struct.unpack('<16I', slot):
                value = (value ^ word) * 16777619 & M32
        return f'{value:X}'


def refused(ring, cpu):
    """Slots refused, per event."""
    count = struct.unpack_from('<I', ring.ram, ring.find() + 256 + 64 * cpu + 8)[0]
    return struct.unpack_from('<256I', ring.ram, count + 1024)


def gap(ring, cpu):
    """Slots refused since the last record."""
    return struct.unpack_from('<I', ring.ram, ring.find() + 256 + 64 * cpu + 32)[0]


def numbers(words):
    return {key: int(value) for key, value in zip(words[::2], words[1::2])}


def flood(vm, calls, mode='', keep=False):
    """Run trstress; return each reader's account per CPU, its counts per event, its hash;
    the host's is reader 'host'."""
    live = Live(os.path.join(vm.dir, 'ram'), keep)
    live.start()
    said = vm.cmd(f'trstress {calls} {mode}', timeout=(90 if LONG or FLIPS else 4) * CAP)
    live.done = True
    live.join()
    assert 'trstress: done' in said and 'WRONG' not in said, said[-3000:]
    accounts, counts, hashes = {}, {}, {}
    for line in said.splitlines():
        words = line.split()
        if words[:1] != ['reader']:
            continue
        who = int(words[1])
        if words[2] == 'cpu':
            accounts.setdefault(who, {})[int(words[3])] = {k: v & M32 for k, v in numbers(words[4:]).items()}
        elif words[2] == 'event':
            counts.setdefault(who, {})[int(words[3])] = int(words[4]) & M32
        else:
            hashes[who] = words[3]
    ring = Ring(os.path.join(vm.dir, 'ram'))
    assert ring.header['flags'] & 1
    assert accounts.keys() == counts.keys() | {7} == set(range(8)) - (set() if keep else {6}), 'reader 6 was killed'
    check_sums(ring, accounts, counts, live)
    check_stat(vm, ring)
    if keep:
        assert sum(live.lost) == sum(live.start_at) == 0
        hashes['host'] = live.hash()
    return ring, accounts, counts, hashes


def check_stat(vm, ring):
    """What .stat says is what lies in memory, for each CPU and event."""
    said = vm.cmd('cat /dev/nettrace.stat')
    cpus = re.findall(r'^cpu (\d+) head (\d+) dropped (\d+)', said, re.M)
    assert [(int(h), int(d)) for _, h, d in cpus] == list(zip(ring.heads, ring.dropped))
    events = {name: (int(e), int(d)) for name, e, d in re.findall(r'^event (\w+) (\d+) (\d+) o', said, re.M)}
    no = [refused(ring, cpu) for cpu in range(len(ring.heads))]
    for number, (name, _, _) in ring.events.items():
        want = sum(row[number] for row in ring.emitted), sum(row[number] for row in no)
        assert events.get(name, (0, 0)) == want, name


def check_sums(ring, accounts, counts, live):
    """delivered + lost + dropped + filtered == emitted, for each CPU and reader; for each
    event where nothing was lost; and the host's reader in the same way."""
    for cpu, head in enumerate(ring.heads):
        assert sum(ring.emitted[cpu]) == head + ring.dropped[cpu]
        for mine in (rows[cpu] for rows in accounts.values()):
            assert mine['cursor'] == head
            assert mine['start'] + mine['delivered'] + mine['lost'] + mine['filtered'] + ring.dropped[cpu] == \
                sum(ring.emitted[cpu])
        assert live.delivered[cpu] + live.lost[cpu] == head - live.start_at[cpu]
    assert live.torn == live.late == 0
    written = {}
    for cpu in range(len(ring.heads)):
        no = refused(ring, cpu)
        for event in range(256):
            written[event] = written.get(event, 0) + ring.emitted[cpu][event] - no[event]
    for who, rows in accounts.items():
        mine = counts.get(who, {})
        missed = {event: n - mine.get(event, 0) for event, n in written.items()}
        assert min(missed.values()) >= 0
        assert sum(missed.values()) == sum(row['lost'] + row['filtered'] + row['start'] for row in rows.values())
        if not any(row['lost'] or row['filtered'] or row['start'] for row in rows.values()):
            assert not any(missed.values())


def test_flood(boot):
    """Whoever is too slow loses, and knows exactly what."""
    vm = boot(cpus=4, mb=128, extra=TESTS, append='trace=std,+@SYSCALL,+@CPU')
    ring, accounts, _, hashes = flood(vm, CALLS)
    emitted = sum(ring.heads)
    assert emitted > 8 * CALLS
    print(f'{emitted} events;', {who: sum(row['lost'] for row in rows.values()) for who, rows in accounts.items()})
    whole = [hashes[who] for who, rows in accounts.items()
             if who != 7 and not any(row['lost'] or row['start'] for row in rows.values())]
    assert len(set(whole)) <= 1


def test_nine_readers_one_stream(boot):
    """A ring that holds all: readers in the guest, fast, slow and of small pieces, and one on
    the host get the same, to the last bit; it is what the ring holds."""
    vm = boot(cpus=4, mb=128, extra=TESTS, append='trace=std,+@SYSCALL trace_slots=131072')
    ring, accounts, counts, hashes = flood(vm, 2500, 'all', keep=True)
    assert all(row['lost'] == 0 for rows in accounts.values() for row in rows.values())
    assert hashes.keys() == {*range(8), 'host'} and len(set(hashes.values())) == 1
    assert sum(ring.heads) == len(ring.slots) > 8 * 2500 and sum(ring.dropped) == 0
    assert all(row == counts[0] for row in counts.values())


def test_flood_lossless(boot):
    """Four readers that lose nothing get one stream (the ring is not full yet when they open); what was refused is counted, by the
    rings, by event and in the stream.  When they are gone, writers are free again."""
    vm = boot(cpus=4, mb=64, extra=TESTS, append='trace=std,+@SYSCALL,+@CPU trace_slots=4096')
    calls = max(CALLS, 10000)
    ring, accounts, _, hashes = flood(vm, calls, 'lossless')
    assert all(row['lost'] == 0 for who in range(4) for row in accounts[who].values())
    assert len({hashes[who] for who in range(4)}) == 1
    assert sum(ring.dropped) > 0 and sum(map(sum, ring.emitted)) > 8 * calls
    for cpu, dropped in enumerate(ring.dropped):
        assert accounts[0][cpu]['refused'] + gap(ring, cpu) == dropped
        assert sum(refused(ring, cpu)) == dropped
    print(f'{sum(map(sum, ring.emitted))} events, {sum(ring.dropped)} refused')
    assert ring.header['flags'] & 4 == 0
    before = sum(ring.heads)
    vm.cmd('echo start > /dev/nettrace')
    vm.cmd('cat README > /dev/null; cat README > /dev/null')
    after = Ring(os.path.join(vm.dir, 'ram'))
    assert sum(after.heads) > before and after.dropped == ring.dropped


def test_flood_flipped(boot):
    """All events and functions go on and off while four CPUs work and eight readers and the
    host follow: every account is as exact as in a quiet life."""
    vm = boot(cpus=4, mb=64, extra=TESTS, append='trace=all trace_slots=4096')
    ring, *_ = flood(vm, FLIPS or 8, 'flip')
    emitted = sum(map(sum, ring.emitted))
    print(f'{emitted} events')
    assert emitted > 4096
    assert 'status 200' in vm.cmd('fetch -n 3 http://127.0.0.1/rc')
