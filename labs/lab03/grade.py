"""Lab 3: an event of one's own, which every tool knows and which tells the truth."""

import os
import re
import shutil
import struct
import subprocess
import time

from stub import EIP, Stub
from vm import CAP, KERNEL, TOP

TITLE = 'Add your own event: what did the driver find?'
FILES = ['kernel/trace/events.def', 'kernel/net/e1000.c']
NAME = 'e1000_batch'
RING = 256
BUDGET = 16
LIMIT = 130  # instructions of an event that is recorded; one whose slot is cleared first costs 127
NOP, JUMP = '0f1f440000', 'e9'
MARK = lambda p: p.icmp and p.icmp.type == 0  # noqa: E731


def bursts(lab, wire):
    """Frames, one at a time and many at once, with pings between: how many in all."""
    count, sizes = 0, [1, 1, 1, 3, 7, 16, 17, 40, 64] + [1 + byte % 50 for byte in lab.random(12)]
    for k, size in enumerate(sizes):
        for _ in range(size):
            wire.send(wire.ether(0x88b5, lab.random(46 + lab.random(1)[0])))
        data = lab.random(20)
        wire.send(wire.echo(k, data))
        lab.need(wire.find(lambda p: MARK(p) and p.data == data, 10), 'an answer to each ping', f'none to number {k}')
        count += size + 1
    return count


def frames_sent(wire):
    return sum(p.src == wire.mac for p in wire.capture())


def settled(lab, wire):
    """(frames of the capture, rows of the trace), when netd has ended its last round."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        count, rows = frames_sent(wire), wire.vm.events()
        last = next((row for row in reversed(rows) if row['event'] in ('e1000_rx', 'netd_run')), None)
        if last and last['event'] == 'netd_run' and frames_sent(wire) == count:
            return count, rows
        time.sleep(0.05)
    lab.need(False, 'netd at rest after the last frame', 'it is busy still')


def visits(lab, rows):
    """The rows of the trace as visits: [(batch's fields, its e1000_rx's fields)]."""
    found, frames = [], []
    for row in rows:
        if row['event'] == 'e1000_rx':
            frames.append(row['fields'])
        elif row['event'] == NAME:
            found.append((row['fields'], frames))
            frames = []
    lab.need(found, f'{NAME} in the trace', 'none')
    lab.need(not frames, f'{NAME} after the frames of each visit', f'{len(frames)} frames after the last')
    for fields, _ in found:
        lab.need({'ready', 'free', 'head'} <= set(fields), 'fields ready, free and head', ' '.join(fields))
    return found


def counts(lab):
    """Frames counted three times: by the card's capture, by e1000_rx, by our event."""
    wire = lab.boot('trace=std,+netd_run')
    bursts(lab, wire)
    wires, rows = settled(lab, wire)
    found = visits(lab, rows)
    events = sum(len(frames) for _, frames in found)
    total = sum(fields['ready'] for fields, _ in found)
    lab.need(events == wires, f'an e1000_rx for each of {wires} frames of the capture', events)
    lab.need(total == wires, f'ready adding up to {wires}, the frames of the capture', total)
    rounds = [row['rx'] for row in rows if row['event'] == 'netd_run' and row['rx']]
    lab.need(len(found) == len(rounds), f'one event for each of the {len(rounds)} rounds of netd that took frames', len(found))
    for fields, frames in found:
        lab.need(fields['ready'] == len(frames) > 0, 'ready: what this visit took',
                 f"ready={fields['ready']}, and {len(frames)} e1000_rx before it")


def ring(lab):
    """Where the card was when the visit began, and what it had left then."""
    wire = lab.boot('trace=std,+netd_run')
    bursts(lab, wire)
    far = 0
    for fields, frames in visits(lab, settled(lab, wire)[1]):
        first, head, free = frames[0]['slot'], fields['head'], fields['free']
        saw = (head - first) % RING
        lab.need(head < RING and saw > 0 and len(frames) >= min(saw, BUDGET),
                 f'head behind frames from slot {first} on, of which {len(frames)} were taken', f'head={head}')
        lab.need(free == (first - 1 - head) % RING, f'free={(first - 1 - head) % RING}: the tail is {(first - 1) % RING}, head {head}',
                 f'free={free}')
        far = max(far, saw)
    lab.need(far > 1, 'a visit that finds several frames', 'head never more than one ahead')


def tools(lab):
    """None of them was told of it."""
    wire = lab.boot('trace=std,+netd_run')
    bursts(lab, wire)
    last = visits(lab, settled(lab, wire)[1])[-1][0]
    said = wire.vm.cmd(f'nettrace list {NAME}')
    for name in ('ready', 'free', 'head'):
        lab.need(re.search(rf'^ +{name} +u16 +num +\w', said, re.M), f"the guest's nettrace: {name}, a u16, a number, in words", said)
    said = wire.vm.tool('dump', '-q', '--only', NAME)
    for name in ('ready', 'free', 'head'):
        lab.need(re.search(rf' {NAME} .*\b{name}={last[name]}\b', said), f"the host's nettrace: {name}={last[name]}", said[-300:])
    bursts(lab, wire)
    said = wire.vm.cmd('nettop -b -v event -n 1')
    lab.need(NAME in said, f'nettop, view of events: {NAME}', said)
    if shutil.which('tshark'):
        tshark(lab, wire)
    if shutil.which('gdb'):
        gdb = os.path.join(TOP, 'tools/gdb/init.gdb')
        said = subprocess.run(['gdb', '-batch', '-q', '-nx', '-x', gdb, 'kernel.elf', '-ex', 'target remote gdb.sock',
                               '-ex', f'net-trace --event {NAME} -n 1'], cwd=wire.vm.dir, env=dict(os.environ, XV6_TOP=TOP),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=CAP).stdout
        lab.need(re.search(rf'{NAME} .*ready=\d', said), f'gdb, net-trace: {NAME}', said)


def tshark(lab, wire):
    merged, meta = os.path.join(wire.vm.dir, 'merged.pcapng'), os.path.join(wire.vm.dir, 'lab.meta')
    wire.vm.tool('merge', '-q', '-o', merged)
    with open(meta, 'w') as f:
        f.write(wire.vm.tool('info', '--meta'))
    lua = os.path.join(TOP, 'tools/nettrace/wireshark/plugins/nettrace.lua')
    said = subprocess.run(['tshark', '-n', '-X', 'lua_script:' + lua, '-r', merged, '-Y', f'nettrace.{NAME}.ready > 0',
                           '-T', 'fields', '-e', f'nettrace.{NAME}.ready'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=dict(os.environ, LC_ALL='C', NETTRACE_META=meta, WIRESHARK_CONFIG_DIR=wire.vm.dir), text=True,
                          timeout=CAP).stdout
    lab.need(re.search(r'^\d+$', said, re.M), f'tshark: nettrace.{NAME}.ready', said[-300:])


# ---- what it costs -------------------------------------------------------


def sites(lab, wire):
    """Where the kernel asks whether the event is on: addresses."""
    meta = wire.vm.tool('info', '--meta')
    number = re.search(rf'^event (\d+) {NAME} ', meta, re.M)
    lab.need(number, f'{NAME} in the description of the trace', 'not there')
    guest = Stub(os.path.join(wire.vm.dir, 'gdb.sock'), KERNEL)
    begin, end = guest.symbols['trace_sites'], guest.symbols['trace_sites_end']
    table = b''.join(bytes.fromhex(guest.ask(f'm{at:x},{min(1200, end - at):x}')) for at in range(begin, end, 1200))
    found = [at for at, _, event in struct.iter_unpack('<III', table) if event == int(number.group(1))]
    lab.need(len(found) == 1, f'one TRACE({NAME}, ...) in the kernel', f'{len(found)} of them')
    return guest, found[0]


def off(lab):
    """One instruction that does nothing."""
    guest, at = sites(lab, lab.boot(f'trace=std,-{NAME}'))
    code = guest.ask(f'm{at:x},5')
    lab.need(code == NOP, f'a nop at {at:#x}, while the event is off', code)
    guest.leave()


def on(lab):
    """Instructions from the jump to the record until the driver goes on."""
    wire = lab.boot()
    guest, at = sites(lab, wire)
    lab.need(guest.ask(f'm{at:x},5').startswith(JUMP), f'a jump at {at:#x}, while the event is on', guest.ask(f'm{at:x},5'))
    for k in range(5):
        wire.send(wire.echo(k, lab.random(20)))
        hit = guest.go([0, 1], [at], 10)
        lab.need(hit, f'{NAME} for a frame', 'nothing')
        steps = 0
        while steps == 0 or not at < guest.register(hit[0], EIP) < at + 48:
            guest.step(hit[0])
            steps += 1
            lab.need(steps <= 2 * LIMIT, f'an event of at most {LIMIT} instructions', f'more than {2 * LIMIT}')
        lab.need(steps <= LIMIT, f'an event of at most {LIMIT} instructions', steps)
    wire.vm.step(f'an event costs {steps} instructions')
    guest.leave()


TESTS = {'counts': (3, counts), 'ring': (2, ring), 'tools': (2, tools), 'off': (1, off), 'on': (2, on)}


def EXPECTED(case):
    """What the self-test wants: from, to."""
    if case.startswith('reference'):
        return 10, 10
    return (0, 0) if case.startswith('untouched') else (0, 8)
