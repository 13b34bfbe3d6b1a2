"""The commands of tools/gdb on a guest that stands still: what they say is compared
with what the host tool reads from the same memory."""

import json
import os
import shutil
import subprocess

import pytest

from vm import CAP, CAPTURE, KERNEL, NETTRACE, TOP

pytestmark = pytest.mark.skipif(not shutil.which('gdb'), reason='no gdb')
DEBUG = bool(os.environ.get('DEBUG'))


def gdb(run, *commands, words=()):
    """Boot under gdb; returns what it said in reply to each command."""
    script = ['target remote gdb.sock']
    for k, command in enumerate(commands):
        script += [f'echo <{k}>\\n', command]
    said = subprocess.run(
        [CAPTURE, '-d', run, '-g', '-t', '0', '-k', KERNEL, '-p', '80', *words, '--', 'sh', '-c',
         'cd "$NETTRACE_RUN" && exec gdb -batch -q -nx -x "$XV6_TOP/tools/gdb/init.gdb" kernel.elf "$@"',
         'gdb', *(word for line in script for word in ('-ex', line))],
        env=dict(os.environ, NETTRACE=NETTRACE, XV6_TOP=TOP), stdin=subprocess.DEVNULL, timeout=CAP,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, check=False).stdout
    parts = []
    for k in range(len(commands)):
        assert f'<{k}>\n' in said, said
        said = said.split(f'<{k}>\n', 1)[1]
        parts.append(said.split(f'<{k + 1}>\n')[0])
    return parts


def objects(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith('{')]


def host_rows(run):
    """The host tool's rows, by CPU and slot."""
    said = subprocess.run([NETTRACE, 'dump', '--json', '-q', run], stdout=subprocess.PIPE, check=True, timeout=CAP).stdout
    return {(row['cpu'], row['seq']): row for row in map(json.loads, said.splitlines()) if 'seq' in row}


def same_as_host(rows, run):
    host = host_rows(run)
    for row in rows:
        other = host[row['cpu'], row['seq']]
        for key in ('event', 'stage', 'pkt', 'sock', 'pid', 'ctx', 'tsc', 'fields'):
            assert row[key] == other[key], (key, row, other)


def test_net_trace(tmp_path):
    """Before the kernel is mapped, in the middle of the boot, and wrong words."""
    run = tmp_path / 'run'
    early, _, _, text, rows, one, lost, event, cpu, number, call = gdb(
        run, 'net-trace', 'hbreak sys_poll', 'continue', 'net-trace -n 5', 'net-trace -n 1000 --json',
        'net-trace --pkt 1 --json', 'net-trace --pkt 999999', 'net-trace --event nosuch', 'net-trace --cpu 8',
        'net-trace -n 0', 'call kalloc()')
    assert early.count('\n') == 1 and 'is the kernel mapped yet?' in early
    assert len(text.splitlines()) == 5 and ' sock_state ' in text.splitlines()[-1]
    rows = objects(rows)
    assert len(rows) > 15 and [row['tsc'] for row in rows] == sorted(row['tsc'] for row in rows)
    assert {'e1000_tx', 'ip_out', 'proc', 'clock_sync'} <= {row['event'] for row in rows}
    journey = objects(one)
    assert [row['event'] for row in journey][-1] == 'pkt_end' and {row['pkt'] for row in journey} == {1}
    assert lost == ''
    assert [said.count('\n') for said in (event, cpu, number)] == [1, 1, 1]
    assert 'no event nosuch' in event and 'no CPU 8' in cpu and '-n 0' in number
    assert 'may-call-functions' in call
    same_as_host(rows, run)


@pytest.mark.skipif(not DEBUG, reason='the debug kernel panics on demand')
def test_net_trace_after_a_panic(tmp_path):
    run = tmp_path / 'run'
    *_, rows = gdb(run, 'hbreak panic', 'continue', 'net-trace -n 200 --json',
                   words=('-i', os.path.join(os.path.dirname(os.path.dirname(KERNEL)), 'tests.img'), '-a', 'run="debug plant 11"'))
    assert objects(rows)
    same_as_host(objects(rows), run)
