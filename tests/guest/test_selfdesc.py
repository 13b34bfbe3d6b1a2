"""A new event is one line in events.def and one TRACE() where it happens; nothing else.

A scratch copy of the kernel gets both; the object files come from this build, so that make
compiles what they touch.  Then everything that shows events shows this one, by name, with names
for its values and addresses as addresses, though none of it was built again or touched: the
guest's nettrace and nettop, the host's nettrace, tshark with our plugin, gdb with our commands.
"""

import os
import re
import shutil
import subprocess

import pytest

from vm import BUILD, CAP, KERNEL, TOP, VM

LINE = ('EVENT(ps_asked, SYSCALL, "a process asked who is there", FIELD(u32, ticks, num, "of nothing") '
        'FIELD(u32, whom, ipv4, "an address") FIELD(u8, mood, TCPSTATE, "a value that has a name") '
        'FIELD(u16, bits, TCPFLAGS, "and one that has several") FIELD(s32, cold_us, us, "below zero"))\n')
CALL = ('  TRACE(ps_asked, .pkt = 77777, .sock = 0, .ticks = 4711, .whom = 0x0a000203, .mood = 10, .bits = 0x12, '
        '.cold_us = -5);\n')
WORDS = 'ticks=4711 whom=10.0.2.3 mood=TIME_WAIT bits=SYN,ACK cold_us=-5'
LUA = os.path.join(TOP, 'tools/nettrace/wireshark/plugins/nettrace.lua')


def copy_objects(tree):
    """The kernel's files of this build, under the names that the copy's make gives them."""
    where = os.environ.get('B', 'build')
    for name in ('kernel', 'lwip/obj'):
        shutil.copytree(os.path.join(os.path.dirname(KERNEL), name), tree / 'build' / name)
    for path in (tree / 'build').rglob('*.d'):
        text = path.read_text().replace(where + '/lwip/lwip-', os.path.join(BUILD, 'lwip/lwip-'))
        text = text.replace(where + '/debug/', 'build/').replace(where + '/', 'build/')
        stat = path.stat()
        path.write_text(text)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def plant(path, before, line):
    """Put a line behind those words."""
    text = path.read_text()
    assert text.count(before) == 1, f'{path}: {before!r} is not there once'
    path.write_text(text.replace(before, before + line))


def build(tree):
    lwip = os.environ.get('LWIP_DIR') or os.path.join(BUILD, 'lwip/lwip-2.2.1')
    to = 'build/debug' if os.environ.get('DEBUG') else 'build'
    env = {key: value for key, value in os.environ.items() if key not in ('MAKEFLAGS', 'MAKELEVEL', 'B')}
    done = subprocess.run(['make', '-j2', 'B=build', f'LWIP_DIR={os.path.abspath(lwip)}', f'{to}/kernel.elf'], cwd=tree,
                          env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=5 * CAP)
    text = done.stdout.decode()
    assert done.returncode == 0 and 'warning' not in text, text
    return str(tree / to / 'kernel.elf')


@pytest.fixture(scope='module')
def vm(tmp_path_factory):
    """The kernel with one event more, and the disk and the tools of this build."""
    tree = tmp_path_factory.mktemp('tree')
    for name in ('kernel', 'tools'):
        shutil.copytree(os.path.join(TOP, name), tree / name, ignore=shutil.ignore_patterns('__pycache__'))
    shutil.copy2(os.path.join(TOP, 'Makefile'), tree)
    copy_objects(tree)
    plant(tree / 'kernel/trace/events.def', '// ---- SYSCALL ------------------------------------------------------------\n',
          LINE)
    plant(tree / 'kernel/proc.c', 'proc_info(char *out, int max)\n{\n', CALL)
    with VM(cpus=1, mb=64, append='trace=std,+ps_asked', kernel=build(tree), name='selfdesc') as guest:
        guest.cmd('ps')
        yield guest


def test_guest_nettrace(vm):
    """Which fields, of what, in what unit; and a record."""
    said = vm.cmd('nettrace list ps_asked')
    assert re.search(r'^SYSCALL +ps_asked +on +[1-9]\d*  a process asked who is there$', said, re.M)
    assert re.search(r'^ +ticks +u32 +num +of nothing\n +whom +u32 +ipv4 +an address\n +mood +u8 +TCPSTATE ', said, re.M)
    said = vm.cmd('nettrace dump -e ps_asked -n 1')
    assert said.rstrip('\n').endswith(' #77777 ps_asked ' + WORDS.replace('TIME_WAIT', 'TIME-WAIT')), said
    assert ' ps_asked ' in vm.cmd('nettrace why 77777')
    assert ' ps_asked ' in vm.cmd("nettrace dump -e ps_asked -f 'ps_asked mood == TIME_WAIT && cold_us == -5' -n 1")
    assert vm.cmd("nettrace dump -e ps_asked -f 'ps_asked mood == LISTEN'") == ''


def test_nettop(vm):
    """The view of events, without the screen."""
    said = vm.cmd('ps | wc; nettop -b -v event -n 1')
    line = next((line for line in said.splitlines() if 'ps_asked' in line), '')
    assert 'whom=10.0.2.3 mood=TIME-WAIT bits=SYN' in line, said


def test_host_nettrace(vm):
    line = vm.tool('dump', '-q', '--only', 'ps_asked').splitlines()[0]
    assert line.endswith(' #77777 ps_asked ' + WORDS), line
    row = vm.events('ps_asked')[0]
    assert (row['stage'], row['whom'], row['mood'], row['cold_us']) == ('SYSCALL', '10.0.2.3', 'TIME_WAIT', -5)
    assert 'ps_asked' in vm.tool('ladder', '--all', '--only', 'ps_asked')
    assert re.search(r'^ +\d+ SYSCALL +ps_asked$', vm.tool('info'), re.M)


def test_tshark(vm, tmp_path):
    merged, meta = tmp_path / 'merged.pcapng', tmp_path / 'nettrace.meta'
    vm.tool('merge', '-q', '-o', str(merged))
    meta.write_text(vm.tool('info', '--meta'))
    keys = ['nettrace.event', *(f'nettrace.ps_asked.{name}' for name in ('ticks', 'whom', 'mood', 'cold_us'))]
    command = ['tshark', '-n', '-X', 'lua_script:' + LUA, '-r', merged, '-Y', 'nettrace.ps_asked.whom == 10.0.2.3']
    env = dict(os.environ, LC_ALL='C', NETTRACE_META=str(meta), WIRESHARK_CONFIG_DIR=str(tmp_path))
    rows, text = [subprocess.run([*command, *more], env=env, stdout=subprocess.PIPE, check=True, timeout=CAP).stdout.decode()
                  for more in (['-T', 'fields', *(word for key in keys for word in ('-e', key))], ['-V'])]
    assert rows.splitlines()[0].split('\t') == ['ps_asked', '4711', '10.0.2.3', '10', '-5'], rows
    assert 'mood (a value that has a name): TIME_WAIT (10)' in text and 'SYN,ACK' in text, text[:3000]


def test_gdb(vm):
    said = subprocess.run(['gdb', '-batch', '-q', '-nx', '-x', os.path.join(TOP, 'tools/gdb/init.gdb'), 'kernel.elf',
                           '-ex', 'target remote gdb.sock', '-ex', 'net-trace --event ps_asked -n 1'], cwd=vm.dir,
                          env=dict(os.environ, XV6_TOP=TOP), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=CAP).stdout.decode()
    line = next(line for line in said.splitlines() if 'ps_asked' in line)
    assert WORDS in line and '#77777' in line, said
