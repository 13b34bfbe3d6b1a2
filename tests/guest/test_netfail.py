"""Memory fails in the network, one allocation at a time, on the debug kernel whatever
DEBUG= says: datagrams, pings and connections end in an error that says so, or come
right; nobody panics, and everything is given back (prog/netfail.c).  Time is counted in
instructions here: what waits for a retransmission costs nothing.
"""

import os
import re

from vm import BUILD, VM

CHECKED = os.path.join(BUILD, 'debug', 'kernel.elf')


def test_every_allocation_of_a_round_fails_once():
    with VM(cpus=1, name='netfail', kernel=CHECKED, append='msl=500',
            extra=('-D', '-i', os.path.join(BUILD, 'tests.img'))) as vm:
        said = vm.cmd('netfail')
        hit = re.fullmatch(r'netfail: (\d+) failures, (\d+) errors\n', said)
        assert hit, said
        failures, errors = int(hit[1]), int(hit[2])
        assert failures >= 20 and errors >= 10, said
