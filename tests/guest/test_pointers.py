"""No system call follows an address that is not the caller's own."""

import os

from vm import BUILD


def test_bad_addresses_are_refused(boot):
    vm = boot(cpus=1, mb=64, ports=(), append='rc=off', extra=('-i', os.path.join(BUILD, 'tests.img')))
    assert vm.cmd('pointers') == '0 wrong\n'
    assert vm.cmd('echo alive') == 'alive\n'
