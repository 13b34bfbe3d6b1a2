"""Every drop reason of events.def is provoked by a test, or stands below with why not.

A new reason fails here until a test names it.
"""

import glob
import os
import re

import pytest

from bad import ROWS
from test_bad import OWN
from vm import TOP

# Reasons that other tests provoke: where the assertion stands.
ELSEWHERE = {
    'FRAG_LIMIT': 'tests/wire/test_bad.py',
    'FRAG_TIMEOUT': 'tests/wire/test_bad.py',
    'TCP_OFO_DROP': 'tests/wire/test_bad.py',
    'TCP_CLOSE': 'tests/wire/test_bad.py',
    'TCP_FLAGS': 'tests/wire/test_bad.py',
    'LISTEN_BACKLOG': 'tests/guest/test_net.py',
    'NOMEM_PBUF': 'tests/host/test_e1000.c',
}

# Those that no test provokes yet: why.
NOBODY = {
    'NOT_SPECIFIED': 'a fault of the kernel: every test asserts that there is none',
    'ETH_NOT_US': 'the card takes such frames away; the kernel never gives it',
    'RX_MISSED': 'the kernel never gives it: QEMU holds frames back until there is a descriptor',
    'LINK_DOWN': 'a guard: the stack hears of the link in the same round',
    'NOMEM_PCB': 'backlogs end before the 320 control blocks do',
    'NOMEM_SOCK': 'control blocks end before the 320 sockets do',
    'NOMEM_SEG': 'the kernel never gives it: the stack refuses the write instead',
    'PKT_TOO_SMALL': 'a frame has at least 60 bytes, an ARP packet 28',
    'TX_TOO_LONG': 'a guard: the stack builds nothing above the MTU',
    'TX_RING_FULL': 'QEMU sends within the register write: the ring is never full',
}


def reasons():
    with open(os.path.join(TOP, 'kernel', 'trace', 'events.def')) as f:
        return re.findall(r'^NAME\(DROP, \d+, (\w+),', f.read(), re.M)


PROVOKED = {row.drop for row in ROWS if row.drop} | {reason for _, reason in OWN}


@pytest.mark.parametrize('reason', reasons())
def test_reason_is_provoked(reason):
    if reason in ELSEWHERE:
        with open(os.path.join(TOP, ELSEWHERE[reason])) as f:
            assert re.search(rf'\b(DROP_)?{reason}\b', f.read())
    else:
        assert reason in PROVOKED or reason in NOBODY, f'no test provokes {reason}'


def test_lists_are_true():
    """Nothing stands here that is unknown, or in two lists."""
    assert set(ELSEWHERE) | set(NOBODY) | PROVOKED == set(reasons())
    assert not (set(ELSEWHERE) & set(NOBODY)) and not (set(NOBODY) & PROVOKED)


def test_table_of_bad_input_is_true():
    """What README.md names exists: tests, scripts, areas of rows."""
    here = os.path.join(TOP, 'tests', 'wire')
    with open(os.path.join(here, 'README.md')) as f:
        table = [line for line in f if line.startswith('|')]
    known = {row.area for row in ROWS} | {f'{row.area}: {row.what}' for row in ROWS} | set(os.listdir(here))
    for path in glob.glob(os.path.join(here, 'test_*.py')) + [os.path.join(TOP, 'tests', 'guest', 'test_netfail.py')]:
        with open(path) as f:
            known |= set(re.findall(r'^def (test_\w+)', f.read(), re.M))
    named = {name for line in table for name in re.findall(r'`([^`]+)`', line)}
    assert named and named <= known, named - known
