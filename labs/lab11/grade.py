"""Lab 11: who wrote into this packet?  Answers about a recording that the student made.

The recording is repeated here, with the kernel as it is built here: it must be the one that
was recorded.  What is true is read from the capture and the trace that this makes, not from
those that were handed in.
"""

import json
import os
import shutil
import struct
import subprocess

from peer import read_capture
from vm import BUILD, CAP, KERNEL, NETTRACE

TITLE = 'Time travel: who wrote into this packet?'
RECORDING = [f'recording/{name}' for name in ('rr.bin', 'append', 'kernel.elf', 'trace.nt', 'wire.pcap', 'serial.log')]
FILES = ['answers.json', *RECORDING]
BUILD_VARIANT = True
DIAGNOSIS = 3
LARGEST = 8 << 20  # bytes of a file that is handed in
WORDS = ('pkt', 'offset', 'before', 'after', 'seq')

# For each variant: the event of a packet behind which it is written into, those that may
# come between, and the first byte of a frame of n data bytes from 54 on that may be hit.
WRITES = [('tcp_seg_in', ('pkt_link', 'tcp_rtt'), None),
          ('e1000_rx', ('frame',), lambda frame: 54),
          ('ethif_rx', ('frame',), lambda frame: len(frame) & ~3)]


def loaded(path):
    """What of an ELF file gets into memory: the rest names folders and lines."""
    with open(path, 'rb') as f:
        data = f.read()
    at, size, count = struct.unpack_from('<I', data, 28)[0], *struct.unpack_from('<HH', data, 42)
    parts = [struct.unpack_from('<8I', data, at + k * size) for k in range(count)]
    return [(addr, data[off:off + n]) for kind, off, addr, _, n, *_ in parts if kind == 1]


def repeat(lab):
    """Repeat the recording; its folder, in which everything is what was seen here."""
    run = os.path.join(lab.tree, 'recording')
    for name in RECORDING:
        path = os.path.join(lab.tree, name)
        lab.need(os.path.isfile(path), name, 'no such file: RUN=recording, as the task says')
        lab.need(os.path.getsize(path) <= LARGEST, f'{name} of at most {LARGEST} bytes', os.path.getsize(path))
    if not os.path.exists(os.path.join(run, 'recorded.img')):
        try:
            same = loaded(os.path.join(run, 'kernel.elf')) == loaded(KERNEL)
        except struct.error:
            same = False
        if not same:
            raise RuntimeError('it was not recorded with the kernel of this lab as the compiler here builds it: make, then record again')
        shutil.copy(KERNEL, os.path.join(run, 'kernel.elf'))
        shutil.copy(os.path.join(BUILD, 'fs.img'), os.path.join(run, 'recorded.img'))
    verdict = os.path.join(lab.tree, 'repeated')  # by an earlier test
    if not os.path.exists(verdict):
        done = subprocess.run([os.path.join(lab.tree, 'tools', 'record'), 'replay'], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=CAP,
                              env=dict(os.environ, RUN=run, NETTRACE=NETTRACE, PATIENCE=str(int(CAP / 3))))
        with open(verdict, 'w') as f:
            f.write('' if done.returncode == 0 else done.stdout.strip()[-500:] or f'exit {done.returncode}')
    with open(verdict) as f:
        said = f.read()
    lab.need(not said, 'a recording that can be repeated: make replay RUN=recording says "the same"', said)
    return run


def events(run):
    said = subprocess.run([NETTRACE, 'dump', '--json', '-q', os.path.join(run, 'trace.nt')], stdout=subprocess.PIPE, check=True)
    return [row for row in map(json.loads, said.stdout.splitlines()) if 'seq' in row]


def echoed(p, frames):
    """What came back for the segment p, from its first byte on."""
    got = {}
    for q in frames:
        if q.tcp and (q.tcp.sport, q.tcp.dport) == (p.tcp.dport, p.tcp.sport):
            got.update(((q.tcp.seq + k) % 2**32, b) for k, b in enumerate(q.data))
    return got


def first_number(frames, port):
    """The sequence number that the connection with the server begins with; port: whose."""
    return next((p.tcp.seq for p in frames if p.tcp and getattr(p.tcp, port) == 80), 0)


def truth(lab, run):
    """Which packet is the first that was written into, where and when; None if there is none."""
    rows = events(run)
    with_sums = {(int(r['fields']['ipid'], 0), int(r['fields']['l4sum'], 0)): r['pkt'] for r in rows if r['event'] == 'e1000_rx'}
    bad = {r['pkt'] for r in rows if r['event'] == 'net_drop' and r['fields']['reason'] == 'TCP_CSUM'}
    frames = read_capture(os.path.join(run, 'wire.pcap'))
    behind, between, first = WRITES[lab.variant]
    base = first_number(frames, 'sport') - first_number(frames, 'dport')  # from a byte's number to its echo's
    for p in frames:
        if not p.tcp or p.tcp.dport != 80:
            continue
        pkt = with_sums.get((p.ip.ident, int.from_bytes(p.frame[50:52], 'big')))
        if not p.data or pkt is None:
            continue
        if first:
            if pkt not in bad:
                continue
            at = next(k for k in range(first(p.frame), len(p.frame)) if p.frame[k])
            after = 0
        else:
            back = echoed(p, frames)
            at = next((54 + k for k, b in enumerate(p.data) if back.get((p.tcp.seq + base + k) % 2**32, b) != b), None)
            if at is None:
                continue
            after = back[(p.tcp.seq + base + at - 54) % 2**32]
        k = next(k for k, r in enumerate(rows) if r['pkt'] == pkt and r['event'] == behind)
        while rows[k + 1]['event'] in between and pkt in (rows[k + 1]['pkt'], rows[k + 1]['fields'].get('parent')):
            k += 1
        return {'pkt': pkt, 'offset': at, 'before': p.frame[at], 'after': after, 'seq': rows[k]['seq']}
    return None


def compare(lab, words):
    said = lab.answers()
    lab.need(isinstance(said, dict), '{"pkt": ..., ...}', 'no { } around it')
    true = truth(lab, repeat(lab))
    lab.need(true, 'a recording in which a packet was written into', 'all came back as sent: record again')
    wrong = [f'{word}: {json.dumps(said.get(word))[:80]}' for word in words if type(said.get(word)) is not int or said[word] != true[word]]
    lab.need(not wrong, 'what is true of the recording', 'not true of it: ' + ', '.join(wrong))


def recording(lab):
    """It can be repeated, and something happens in it."""
    lab.need(truth(lab, repeat(lab)), 'a recording in which a packet was written into', 'all came back as sent: record again')


def packet(lab):
    """Which packet, and which byte of it."""
    compare(lab, ['pkt', 'offset', 'before', 'after'])


def moment(lab):
    """Behind which event."""
    compare(lab, ['seq'])


TESTS = {'recording': (1, recording), 'packet': (3, packet), 'moment': (3, moment)}


def EXPECTED(case):
    """What the self-test wants: from, to."""
    if case.startswith('reference'):
        return 10, 10
    return (0, 0) if case.startswith('untouched') else (0, 7)
