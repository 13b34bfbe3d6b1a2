"""Everything there is a limited number of is used up, refused, and given back."""

import os
import re
import socket
import urllib.request

import pytest

from vm import BUILD, CAP

IMAGE = ('-i', os.path.join(BUILD, 'tests.img'))


def in_use(vm):
    vm.cmd('limits counts')  # once, so that the first use of anything is over
    names = ' '.join(f'room{i}' for i in range(16))  # a directory that has grown does not shrink
    vm.cmd('; '.join(f'echo > {name}' for name in names.split()) + f'; rm {names}')
    return vm.cmd('limits counts')


def passes(vm, line):
    """Run a line of limits; at least one check, none wrong."""
    said = vm.cmd(line)
    sums = re.search(r'(\d+) checks, (\d+) wrong\n$', said)
    assert sums and sums[2] == '0' and int(sums[1]) > 0, said[-3000:]


@pytest.mark.parametrize('cpus', [1, 4])
def test_limits(boot, cpus):
    """Processes, memory, files, inodes, the disk; killed in every kind of sleep."""
    vm = boot(cpus=cpus, mb=32, ports=(), append='rc=off ip=10.0.2.15/24,10.0.2.2', extra=IMAGE)
    before = in_use(vm)
    for what in ('unkillable', 'processes', 'memory', 'descriptors', 'files', 'inodes', 'removed',
                 'blocks', 'dinodes', 'kills', 'stress'):
        passes(vm, 'limits ' + what)
        assert in_use(vm) == before, what
    assert vm.cmd('echo alive') == 'alive\n'


def test_ten_times_100_mb(boot):
    """The memory that the documented machine needs; some get it, the parent lives."""
    vm = boot(cpus=2, mb=256, ports=(), append='rc=off ip=none', extra=IMAGE)
    before = in_use(vm)
    passes(vm, 'limits hundred')
    assert in_use(vm) == before


def test_killed_with_a_peer(boot):
    """In recv and in send: the connection ends at the peer too."""
    vm = boot(ports=(80,), append='rc=off msl=1000', wait=('ip',), extra=IMAGE)
    before = in_use(vm)
    vm.send('limits peer\n')
    for i in range(2):
        vm.expect(f'^connect {i}$')
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.settimeout(CAP)
            s.connect(('127.0.0.1', vm.port(80)))
            vm.expect(f'^killed {i}$')
            try:
                while s.recv(65536):
                    pass
            except ConnectionResetError:
                pass
    vm.expect(r'^(\d+) checks, 0 wrong\n\$ ')
    assert re.sub(r'pcbs \d+', '', in_use(vm)) == re.sub(r'pcbs \d+', '', before)


@pytest.mark.parametrize('cpus', range(1, 9))
def test_load_on_each_number_of_cpus(boot, cpus):
    """Programs, pipes and files in four processes, and the page is served meanwhile."""
    vm = boot(cpus=cpus, mb=64, extra=IMAGE)
    passes(vm, 'limits stress')
    vm.send('limits stress\n')
    url = f'http://127.0.0.1:{vm.port(80)}/'
    for _ in range(5):
        assert b'html' in urllib.request.urlopen(url, timeout=CAP).read()
    vm.expect(r'^\d+ checks, 0 wrong\n\$ ')
