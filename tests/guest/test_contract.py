"""What a program written for xv6 may rely on: the programs contract_* check it
from within; here are their runs, programs of a course in its own dialect, and
the headers.

The debug kernel runs the same checks with another number of CPUs.
"""

import itertools
import os
import re
import shutil
import subprocess

import pytest

from vm import BUILD, CAP, TOP, VM

DEBUG = bool(os.environ.get('DEBUG'))
PROGRAMS = ('contract_lib', 'contract_mem', 'contract_proc', 'contract_fs', 'contract_full')
QUIET = 'rc=off ip=none'
COURSE = os.path.join(TOP, 'tests', 'guest', 'course')
CC = os.environ.get('CC', 'gcc')
UAPI = ['-m32', '-std=gnu11', '-ffreestanding', '-fno-builtin', '-fno-pic', '-nostdinc', '-Wall', '-Wextra', '-Werror',
        '-Wmissing-prototypes', '-Wstrict-prototypes', '-Wundef',
        '-I', os.path.join(TOP, 'kernel', 'uapi'), '-I', os.path.join(TOP, 'user')]
HEADERS = 'types.h stat.h user.h fcntl.h fs.h param.h syscall.h traps.h memlayout.h'.split()
CALLS = 'fork exit wait pipe write read close kill exec open mknod unlink fstat link mkdir chdir dup getpid sbrk sleep uptime'
LIBRARY = 'stat strcpy memmove strchr strcmp printf gets strlen memset malloc free atoi'
NET5 = 'net_listen net_accept net_recv net_send net_close'


@pytest.fixture(scope='module', params=[2] if DEBUG else [1, 4])
def guest(request):
    with VM(cpus=request.param, ports=(), append=QUIET, name='contract',
            extra=('-i', os.path.join(BUILD, 'tests.img'))) as vm:
        vm.cmd('mkdir ct; rm ct')  # the root directory has an entry for it from now on
        yield vm


def counts(vm, want=None):
    """What is in use and free.  init needs a moment to wait for orphans: look
    again until it is what we want, or for two seconds."""
    for _ in range(100):
        got = vm.cmd('limits counts')
        if want in (None, got):
            break
    return got


@pytest.mark.parametrize('program', PROGRAMS)
def test_contract(guest, program):
    before = counts(guest)
    # The largest directory takes the debug kernel 10 s and shows nothing that it does not see elsewhere.
    out = guest.cmd(program + (' no_block_left two_fill no_inode_left' if DEBUG and program == 'contract_full' else ''))
    ran, failed = map(int, re.search(rf'^/?{program}: (\d+) checks, (\d+) failed$', out, re.M).groups())
    ok = re.findall(r'^ok (\w+)$', out, re.M)
    assert failed == 0 and 'FAILED' not in out, guest.story('no check fails', out)
    assert len(ok) == ran > 0
    assert counts(guest, before) == before


# ---- programs from outside ---------------------------------------------------


def make(out, *words):
    """Run make for a build directory of our own; its status and what it says."""
    env = {k: v for k, v in os.environ.items() if k not in ('MAKEFLAGS', 'MFLAGS', 'MAKELEVEL', 'USERPROGS_EXTRA')}
    done = subprocess.run(['make', '--no-print-directory', f'B={out}', 'WERROR=1', *words], cwd=TOP, env=env,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=CAP)
    return done.returncode, done.stdout


def foreign(out, name, *objects):
    """Link as xv6's Makefile does: one segment from 0 on, entered at main."""
    path = os.path.join(out, name)
    subprocess.run(['ld', '-m', 'elf_i386', '-N', '-e', 'main', '-Ttext', '0', '-o', path,
                    os.path.join(out, 'extra', f'{name}.o')] + [os.path.join(out, 'user', f'{o}.o') for o in objects],
                   check=True, stderr=subprocess.DEVNULL)  # ld warns of a segment that is writable and executable
    subprocess.run(['objcopy', '-S', path], check=True)
    return path


def test_programs_from_outside(boot, tmp_path):
    """make USERPROGS_EXTRA= builds a course's programs as they are; linked by xv6's
    own rule they run too."""
    out = str(tmp_path / 'build')
    status, said = make(out, f'USERPROGS_EXTRA={COURSE}', '-j2', f'{out}/fs.img')
    assert status == 0, said
    vm = boot(ports=(), append=QUIET, extra=('-i', f'{out}/fs.img'))
    ours = vm.cmd('course')
    assert ours.endswith('stdout 1\nexec works\ncourse: all is well\n'), ours
    assert ours.count('kill proc') == 4 and vm.cmd('tiny').endswith('tiny: all is well\n')

    image = os.path.join(out, 'foreign.img')
    files = [os.path.join(out, 'user', f'{p}.bin') for p in ('init', 'sh', 'echo', 'cat', 'rm')]
    theirs = [foreign(out, 'course', 'ulib', 'usys', 'printf', 'umalloc'), foreign(out, 'tiny', 'ulib', 'usys')]
    subprocess.run([os.path.join(out, 'mkfs'), image, *files, *theirs], check=True)
    vm = boot(ports=(), append=QUIET, extra=('-i', image))
    assert vm.cmd('course').endswith('course: all is well\n')
    assert vm.cmd('tiny') == 'tiny: all is well\n'
    assert re.search(r'^pid \d+ tiny: trap 14 .* eip 0xffffffff .*--kill proc$', vm.cmd('tiny return'), re.M)


host_only = pytest.mark.skipif(DEBUG, reason='no kernel runs in it')


@host_only
def test_names_from_outside(tmp_path):
    taken = tmp_path / 'taken'
    taken.mkdir()
    shutil.copy(os.path.join(COURSE, 'tiny.c'), taken / 'cat.c')
    status, said = make(str(tmp_path / 'b'), f'USERPROGS_EXTRA={taken}', '-n', 'kernel')
    assert status != 0 and 'already: cat' in said and said.count('\n') == 1
    (tmp_path / 'empty').mkdir()
    status, said = make(str(tmp_path / 'b'), f'USERPROGS_EXTRA={tmp_path}/empty', '-n', 'kernel')
    assert status != 0 and 'no *.c there' in said and said.count('\n') == 1


# ---- headers -------------------------------------------------------------------


def compile_c(text, *flags, lang='c'):
    done = subprocess.run([CC, *UAPI, *flags, '-x', lang, '-', '-o', '-' if '-E' in flags else os.devnull], input=text,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, f'{text}\n{done.stderr}'
    return done.stdout


@host_only
def test_headers_in_any_order():
    for pair in [(h,) for h in HEADERS] + list(itertools.permutations(HEADERS, 2)):
        compile_c(''.join(f'#include "{h}"\n' for h in pair) * 2 + 'int x;\n', '-fsyntax-only')
    numbers = ''.join(f'#include "{h}"\n' for h in ('syscall.h', 'traps.h', 'fcntl.h', 'param.h', 'memlayout.h'))
    compile_c(numbers + 'movl $SYS_exit, %eax\nint $T_SYSCALL\nmovl $V2P_WO(KERNLINK), %eax\n', '-c', lang='assembler-with-cpp')


@host_only
def test_user_h_declares_nothing_else():
    text = compile_c('#include "user.h"\n', '-E', '-P')
    names = re.findall(r'\b(\w+)\s*\((?!\()[^()]*\)\s*(?:__attribute__\(\(\w+\)\))?\s*;', text)
    assert sorted(names) == sorted(f'{CALLS} {LIBRARY} {NET5}'.split())


@host_only
def test_all_headers_leave_names_to_programs():
    """What a course's programs like to call their own."""
    taken = ('socket bind listen accept connect send recv poll fcntl waitpid exits htons rand srand panic peek match mem '
             'stdout stderr buf name names path list index errno puts putc getc abs min max assert isdigit memcpy memcmp '
             'strncpy strcat sprintf itoa system usleep ps thread lock yield_ proc inode log sb block word').split()
    compile_c(''.join(f'#include "{h}"\n' for h in HEADERS) + ''.join(f'int {n};\n' for n in taken), '-fsyntax-only')
    few = ''.join(f'#include "{h}"\n' for h in ('types.h', 'stat.h', 'fcntl.h', 'fs.h', 'user.h'))
    compile_c(few + 'enum { NPROC, NFILE, NBUF, NINODE, NCPU, NDEV, MAXPATH, MAXARG, N };\n', '-fsyntax-only')
