"""Boot on 1 to 8 CPUs, both disks, power-off and panic."""

import os
import re
import subprocess

import pytest

from vm import BUILD, CAPTURE, KERNEL, NETTRACE, TOP, run_line

QUIET = dict(ports=(), append='rc=off')


@pytest.mark.parametrize('cpus', [1, 2, 4, 8])
def test_every_cpu_works(boot, cpus):
    """One CPU hog per CPU, and the shell still answers; each CPU has run one."""
    vm = boot(cpus=cpus, ports=(), append='rc=off trace=std,+switch')
    vm.cmd('spin 3 & ' * cpus + 'echo started')
    assert vm.cmd('echo alive') == 'alive\n'
    vm.cmd('spin 1')
    ran = {row['cpu'] for row in vm.events('switch') if row['fields']['name'] == 'spin'}
    assert ran == set(range(cpus))
    vm.power_off()


def test_files_survive_a_reboot(boot, disk):
    vm = boot(disk=disk, **QUIET)
    vm.cmd('mkdir d; echo kept > d/f; ln d/f g; cat README README README > big')
    size = vm.cmd('wc big')
    vm.power_off()
    assert subprocess.run([os.path.join(BUILD, 'mkfs'), '-c', disk]).returncode == 0
    vm = boot(disk=disk, **QUIET)
    assert vm.cmd('cat g') == 'kept\n'
    assert vm.cmd('wc big') == size
    vm.cmd('rm g d/f d big')
    vm.power_off()
    assert subprocess.run([os.path.join(BUILD, 'mkfs'), '-c', disk]).returncode == 0


def test_ram_disk_is_lost(boot):
    vm = boot(**QUIET)
    vm.cmd('echo gone > f')
    vm.power_off()
    vm = boot(**QUIET)
    assert 'cannot open' in vm.cmd('cat f')


def test_no_network_card(boot):
    """Everything but the network works without one."""
    vm = boot(extra=('-x', '-nic none'), **QUIET)
    assert vm.cmd('echo here') == 'here\n'


def test_status_of_poweroff(boot):
    vm = boot(**QUIET)
    vm.power_off(7)


def test_unknown_option_is_named(boot):
    vm = boot(ports=(), append='rc=off colour=blue trace_slots=77')
    said = vm.output()
    assert 'boot: unknown option colour ignored' in said
    assert re.search(r'trace_slots=: want a power of two from \d+ to \d+', said)


def test_control_keys(boot):
    vm = boot(ports=(), append='rc=off ip=none')  # no address comes between
    vm.expect(r'^\$ ')
    vm.send('spin 60\n')
    vm.key('\x03')
    vm.expect(r'\^C\n\$ ')
    vm.send('echo wrong')
    vm.key('\x15')
    vm.send('echo rixht')
    vm.key('\x7f\x7f\x7f')
    vm.send('ght\n')
    vm.expect(r'\nright\n\$ ')
    vm.key('\x10')
    vm.expect(r'1 sleep init ')


def test_panic_tells_and_keeps_the_trace(tmp_path):
    """init ends at once: the kernel's one panic that a boot option can reach."""
    run = tmp_path / 'run'
    done = subprocess.run([CAPTURE, '-d', run, '-i', os.path.join(BUILD, 'fs.img'), '-k',
                           KERNEL, '-a', 'init=/echo rc=off'],
                          env=dict(os.environ, NETTRACE=NETTRACE), cwd=TOP, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    assert done.returncode == 4, done.stdout.decode()
    said = (run / 'serial.log').read_text().replace('\r', '')
    assert re.search(r'^panic: cpu \d+ pid 1 echo: init is gone, status \d+$', said, re.M)
    frames = re.findall(r'^  0x[0-9a-f]{8} (\w+)\+0x[0-9a-f]+$', said, re.M)
    assert frames[:4] == ['exit_status', 'sys_exits', 'syscall', 'trap']
    rows = subprocess.run([NETTRACE, 'dump', run / 'trace.nt'], stdout=subprocess.PIPE, check=True)
    assert 'init is gone' in rows.stdout.decode().splitlines()[-1]


def test_make_guest(tmp_path):
    assert run_line('echo one; echo two | cat', tmp_path / 'a') == (0, '0', 'one\ntwo\n')
    assert run_line('echo before; ls nosuch', tmp_path / 'b') == (0, '1', 'before\nls: nosuch: cannot open\n')
