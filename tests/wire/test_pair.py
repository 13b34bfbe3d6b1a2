"""Two guests of ours on one wire that loses, repeats, turns around and damages frames: no
other stack takes part, so what arrives was sent, lost, noticed and sent again by us."""

import re

import pytest

from cable import Pair

FAULTS = 'drop=2%,dup=5%,reorder=10%,corrupt=1%'


def digest(vm, name):
    """The figures in a file that ttcp writes at its end."""
    said = ''
    while 'sha256' not in said:
        said = vm.cmd(f'cat {name}')
    return re.search(r'(\d+) bytes.* sha256 ([0-9a-f]{64})', said).groups()


@pytest.mark.parametrize('seed', [1])
def test_both_ways_at_once(cap, seed):
    with Pair(seed, FAULTS) as pair:
        for vm in pair.guests:
            vm.cmd('ttcp -r -l -p 5010 > got &')
            vm.wait_event('tcp_state to=LISTEN lport=5010')
        for k, vm in enumerate(pair.guests):
            vm.cmd(f'ttcp -t -p 5010 -n 1 10.9.0.{2 - k} > sent &')
        for k, vm in enumerate(pair.guests):
            assert digest(vm, 'got') == digest(pair.guests[1 - k], 'sent')
            assert digest(vm, 'got')[0] == str(1 << 20)
        for line in pair.lines:
            assert all(line.counts.get(act, 0) > 5 for act in ('drop', 'dup', 'hold', 'corrupt')), line.counts
        for vm in pair.guests:
            assert vm.events('tcp_rexmit')
            vm.tool('check', '--no-drop', 'NOT_SPECIFIED')
