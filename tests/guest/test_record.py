"""make record and make replay: the second run is the first, byte for byte.  10 s."""

import os
import subprocess

import pytest

from vm import BUILD, CAP, NETTRACE, TOP

pytestmark = pytest.mark.skipif(bool(os.environ.get('DEBUG')), reason='QEMU is what is tested: one kernel will do')


def record(verb, run):
    env = dict(os.environ, NETTRACE=NETTRACE, B=BUILD, RUN=str(run), APPEND='seed=7')
    return subprocess.run([os.path.join(TOP, 'tools', 'record'), verb], env=env, stdin=subprocess.DEVNULL, timeout=3 * CAP,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, check=False)


def test_record_and_replay(tmp_path):
    run = tmp_path / 'run'
    none = record('replay', run)
    assert none.returncode == 2 and none.stdout.count('\n') == 1 and 'make record' in none.stdout
    made = record('record', run)
    assert made.returncode == 0 and made.stdout == f'recorded: {run}\n', made.stdout
    assert b'GET / HTTP' in (run / 'wire.pcap').read_bytes()
    again = record('replay', run)
    assert again.returncode == 0 and again.stdout == 'the same: memory with the trace, console and capture\n', again.stdout
    with open(run / 'serial.log', 'a', encoding='ascii') as log:
        log.write('more\n')
    other = record('replay', run)
    assert other.returncode == 1 and 'serial.log' in other.stdout, other.stdout
