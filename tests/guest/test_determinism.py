"""Two runs of one scenario with time counted in instructions (capture -D) are the same:
trace, capture and console, hash for hash, with whatever else the host does meanwhile.

What makes it so: -icount, so that the TSC and every timer follow the instructions; the
file system in RAM, because a disk would be done when the host's is; -rtc with a fixed
date that counts from power-on; and no word from outside: what answers is QEMU's own
user network (DHCP, pings to the gateway), inside the instruction that sends.
"""

import os
import subprocess

from evidence import Trace, frames
from vm import BAD, BUILD, CAP, CAPTURE, KERNEL, NETTRACE, TOP

# DHCP, ICMP, TCP and UDP over loopback, pipes, two processes that compute for ever,
# and a reader of the trace.
SCENARIO = ('httpd & spin 3 & spin 3 & sleep 4; ping -c 3 10.0.2.2; fetch -n 3 http://127.0.0.1/rc; '
            'fetch http://10.0.2.15/README | wc; udpecho 7 & echo hello | nc -u -w 1 127.0.0.1 7; '
            'host localhost; nettop -b; ls | grep net | wc; cat /dev/nettrace.stat | grep frozen')
FILES = ('trace.nt', 'wire.pcap', 'serial.log')


def start(run, append):
    return subprocess.Popen([CAPTURE, '-D', '-m', '64', '-d', run, '-k', KERNEL, '-a', append, '-i',
                             os.path.join(BUILD, 'fs.img'), '-G', SCENARIO],
                            env=dict(os.environ, NETTRACE=NETTRACE), cwd=TOP, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def contents(run):
    return {name: (run / name).read_bytes() for name in FILES}


def first_difference(one, two):
    """The first record in which two traces differ, for the story of a failure."""
    rows = Trace(one['trace.nt']).records(), Trace(two['trace.nt']).records()
    for a, b in zip(*rows):
        if a != b:
            return f'{a}\n{b}'
    return f'{len(rows[0])} and {len(rows[1])} records, the shorter one is the beginning of the longer'


def test_two_runs_are_the_same(tmp_path):
    """Three guests at a time, so that the host serves each in another order; the third
    differs in the seed of its random numbers alone, and that shows."""
    runs = [tmp_path / name for name in ('one', 'two', 'other')]
    guests = [start(run, f'trace=all trace_slots=32768 seed={seed}') for run, seed in zip(runs, (1, 1, 2))]
    for guest in guests:
        said = guest.communicate(timeout=3 * CAP)[0].decode('latin-1')
        assert guest.returncode == 0, said
    one, two, other = [contents(run) for run in runs]
    assert not BAD.search(one['serial.log'].decode('latin-1'))
    assert one['trace.nt'] == two['trace.nt'], first_difference(one, two)
    assert one == two
    assert other['trace.nt'] != one['trace.nt'] and other['wire.pcap'] != one['wire.pcap']
    check_scenario(runs[0])


def check_scenario(run):
    """All of it took place, so that the same means something."""
    said = (run / 'serial.log').read_text(encoding='latin-1')
    for words in ('3 sent, 3 received', '3 x status 200', 'hello', 'httpd', 'localhost has address', 'frozen 0'):
        assert words in said, said
    rows = Trace(str(run / 'trace.nt')).records()
    seen = {row['event'] for row in rows}
    assert seen >= {'e1000_intr', 'e1000_rx', 'e1000_txdone', 'arp_in', 'icmp_in', 'udp_in', 'tcp_state', 'sock_read',
                    'switch', 'wakeup', 'sys_exit', 'clock_sync', 'pkt_end'}
    assert not [row for row in rows if row['event'] == 'lost']
    sent = [frame for frame in frames(str(run / 'wire.pcap')) if frame['out']]
    assert len(sent) >= 7 and len(rows) > 3000
