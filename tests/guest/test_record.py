"""make record and make replay: the second run is the first, byte for byte; gdb goes back
and forth in it.  10 s, and 20 more each time that QEMU stands still."""

import json
import os
import random
import shutil
import subprocess

import pytest

from vm import BUILD, CAP, NETTRACE, TOP

pytestmark = pytest.mark.skipif(bool(os.environ.get('DEBUG')), reason='QEMU is what is tested: one kernel will do')


def record(verb, run, **more):
    env = dict(os.environ, NETTRACE=NETTRACE, B=BUILD, RUN=str(run), APPEND='seed=7', **more)
    return subprocess.run([os.path.join(TOP, 'tools', 'record'), verb], env=env, stdin=subprocess.DEVNULL, timeout=3 * CAP,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, check=False)


def gdb(run, *commands):
    """What the commands say in a replay: (rows, all of it)."""
    said = subprocess.run([os.path.join(TOP, 'tools', 'gdb', 'start')], input='\n'.join(commands) + '\n', timeout=3 * CAP,
                          env=dict(os.environ, NETTRACE=NETTRACE, B=BUILD, RUN=str(run), RR='replay'),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, check=False).stdout
    return [json.loads(line[line.index('{'):]) for line in said.splitlines() if '{"tsc"' in line], said


@pytest.mark.skipif(not shutil.which('gdb'), reason='no gdb')
def test_back_in_time(tmp_path):
    """Some events of a recording, two ahead, two back: each is what was recorded, the
    guest stands behind the line that emits it; what leads nowhere is said in one line."""
    run = tmp_path / 'a run, 1'
    assert record('record', run).returncode == 0
    listed = subprocess.run([NETTRACE, 'dump', '--json', '-q', run], stdout=subprocess.PIPE, check=True).stdout
    events = {row['seq']: row for row in map(json.loads, listed.splitlines()) if 'seq' in row}
    order = sorted(events)
    n = len(order) // 4  # what comes late in a recording takes its time
    k, ahead = random.randrange(10, n), random.randrange(n, 2 * n)
    rows, said = gdb(run, f'net-goto {order[k]} --json', f'net-goto {order[ahead]} --json', *['net-back --json'] * 2,
                     f'net-goto {order[-1] + 9}', 'net-step', 'net-until e1000_rx')
    assert [row['seq'] for row in rows] == [order[n] for n in (k, ahead, ahead - 1, ahead - 2)], said
    for row in rows:
        want = events[row['seq']]
        assert all(row[key] == want[key] for key in ('event', 'stage', 'pkt', 'sock', 'pid', 'ctx', 'tsc', 'fields')), said
        assert row['line'].startswith('kernel/')
    assert said.count('the recording has the events 0 to') == 1, said
    assert said.count('nothing may be written') + said.count('has ended, and no socket') == 2, said  # where net-step might go
    assert not [name for name in os.listdir(run) if name.startswith('again-')]
    _, said = gdb(tmp_path, 'net-back')
    assert said.count('\n') == 1 and 'make record' in said


def test_record_and_replay(tmp_path):
    run = tmp_path / 'a run, 1'
    none = record('replay', run)
    assert none.returncode == 2 and none.stdout.count('\n') == 1 and 'make record' in none.stdout
    made = record('record', run)
    assert made.returncode == 0 and made.stdout == f'recorded: {run}\n', made.stdout
    assert b'GET / HTTP' in (run / 'wire.pcap').read_bytes()
    aside = shutil.copy(run / 'trace.nt', tmp_path / 'aside')
    again = record('replay', run)
    assert again.returncode == 0 and again.stdout == 'the same: memory with the trace, console and capture\n', again.stdout
    os.remove(run / 'ram')  # as it is handed on: the trace is compared
    again = record('replay', run)
    assert again.returncode == 0 and again.stdout.startswith('the same: '), again.stdout
    with open(run / 'trace.nt', 'r+b') as trace:
        trace.seek(-100, os.SEEK_END)
        trace.write(b'\xff' * 8)
    other = record('replay', run, PATIENCE='5')
    assert other.returncode == 1 and 'what the guest did is not as in' in other.stdout, other.stdout
    shutil.copy(aside, run / 'trace.nt')
    with open(run / 'serial.log', 'a', encoding='ascii') as log:
        log.write('more\n')
    other = record('replay', run)
    assert other.returncode == 1 and 'serial.log' in other.stdout, other.stdout
