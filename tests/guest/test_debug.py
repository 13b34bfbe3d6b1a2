"""The debug kernel (make DEBUG=1) finds what it is there to find, and fails
without harm where it is told to.  These tests boot it whatever DEBUG= says.
"""

import os
import re
import struct
import subprocess
import zlib
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

from vm import BUILD, CAP, CAPTURE, NETTRACE, TOP, VM

PLAIN = os.path.join(BUILD, 'kernel.elf')
CHECKED = os.path.join(BUILD, 'debug', 'kernel.elf')
IMAGE = ('-i', os.path.join(BUILD, 'tests.img'))
STACK_MOST = 6144


def line(text, run, kernel=CHECKED, *options):
    """Run a line in a guest of its own: (QEMU's exit status, console)."""
    subprocess.run([CAPTURE, '-d', run, '-k', kernel, *IMAGE, '-a', 'rc=off ip=none', *options, '-G', text],
                   env=dict(os.environ, NETTRACE=NETTRACE), cwd=TOP, stdin=subprocess.DEVNULL,
                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=CAP)
    status = dict(row.split('=', 1) for row in (run / 'status').read_text().splitlines())
    said = (run / 'serial.log').read_bytes().decode('latin-1').replace('\r', '')
    return int(status['qemu_status']), said


# ---- faults that were planted -------------------------------------------------

PANICS = {
    'recursion': (1, r'kernel stack overflow\ntrap 8 .*\n.*\n.* recurse\+'),
    'array': (2, r'stack: a function wrote past the end of its array\n(.*\n)+.* overrun'),
    'shift': (3, r'ubsan: kernel/plant\.c:\d+: shift of 1 by 32, type .int.\n'),
    'order': (4, r'lock order: plant one is wanted with plant two held, .*\n(.* first_then_second\+|.*\n)+'
                 r'plant one was held when plant two was taken at:\n(.*\n)+?.* first_then_second\+'),
    'sleep': (5, r'lock order: sleep for plant two with spinlock plant one held, taken in plant\n'),
    'netlock': (6, r'lock order: sleep for netlock with spinlock plant one held, taken in plant\n(.*\n)+.* net_(lock|counts)\+'),
    'free': (8, r'kfree: 0x[0-9a-f]+ is free already\n'),
    'write': (9, r'kalloc: free page 0x[0-9a-f]+ was written to at \+0x64: 0x1010102\n'),
    'keep': (10, r'lock order: a system call ends with plant kept held\n'),
    'assert': (11, r'kernel/plant\.c:\d+: not so: zero > 0\n'),
}


@pytest.mark.parametrize('fault', PANICS)
def test_planted_fault_ends_in_its_message(fault, tmp_path):
    number, words = PANICS[fault]
    status, said = line(f'debug plant {number}', tmp_path / 'run')
    assert re.search(r'^panic: cpu \d pid \d+ debug: ' + words, said, re.M), said
    assert status == 35 and 'plant:' not in said, said


def test_lost_page_is_missed(tmp_path):
    status, said = line('debug leak', tmp_path / 'run')
    assert status == 33 and 'leak: word 0 by 1\n' in said, said


@pytest.mark.parametrize('kernel,done', [(PLAIN, 0), (CHECKED, 4)])
def test_plain_kernel_refuses(kernel, done, tmp_path):
    """What can harm exists in the debug kernel only."""
    status, said = line('debug plain; debug stack', tmp_path / 'run', kernel)
    assert status == 33 and f'plain: {done}\n' in said, said
    assert 0 < int(re.search(r'^stack: (\d+)$', said, re.M).group(1)) <= STACK_MOST


def held(said):
    return int(re.search(r'^locks: .* longest_us (\d+) ', said, re.M).group(1))


def test_no_lock_is_held_long(tmp_path):
    """Time is counted in instructions here, so the host's load is not in it."""
    status, said = line('ls; cat README | wc; mkdir d; cat README > d/f; rm d/f; debug locks; '
                        'debug plant 12; debug locks', tmp_path / 'run', CHECKED, '-D')
    before, after = said.split('plant: 0\n')
    assert status == 33 and held(before) < 50000 < 60000 <= held(after), said
    assert 'long 0 ' in before and 'long 1 ' in after, said


def test_more_orders_than_are_remembered(tmp_path):
    """Said once, and counted."""
    status, said = line('debug locks; debug plant 13; debug plant 13; debug locks', tmp_path / 'run')
    assert status == 33 and said.count('lockcheck: more than 256 orders of locks') == 1, said
    missed = [int(n) for n in re.findall(r'^locks: .* missed (\d+) ', said, re.M)]
    assert missed[0] == 0 and missed[1] >= 2 * (276 - 256), said


@pytest.mark.parametrize('k', [1, 5, 20])
def test_boot_option_failnth(k, tmp_path):
    """Counted from the start of init, which may not get as far as the line."""
    status, said = line('echo alive', tmp_path / 'run', CHECKED, '-a', f'failnth={k}')
    assert status != 35 and 'panic' not in said and 'unknown option' not in said, said
    assert 'alive\n' in said or 'init: ' in said.split('init: running')[-1], said


# ---- one guest for the rest -----------------------------------------------------

@pytest.fixture(scope='module')
def guest():
    with VM(cpus=2, name='debug', kernel=CHECKED, extra=IMAGE) as vm:
        yield vm


def loaded(path):
    """The kernel's text and constants, as they lie in memory (ELF32: program headers)."""
    with open(path, 'rb') as f:
        elf = f.read()
    phoff, = struct.unpack_from('<I', elf, 28)
    phnum, = struct.unpack_from('<H', elf, 44)
    rows = [struct.unpack_from('<8I', elf, phoff + 32 * i) for i in range(phnum)]
    rows = [row for row in rows if row[0] == 1 and not row[6] & 2]  # PT_LOAD, not writable
    base = min(row[2] for row in rows)
    end = -(-max(row[2] + row[5] for row in rows) // 4096) * 4096
    memory = bytearray(end - base)
    for _, off, va, _, size, *_ in rows:
        memory[va - base:va - base + size] = elf[off:off + size]
    return bytes(memory)


@pytest.mark.parametrize('first,last', [(1, 100), (101, 200)])
def test_kth_allocation_fails(guest, first, last):
    """Files, a fork, an exec, a pipe and a page over loopback, one failure in each round:
    nobody panics, and the books are even after each."""
    assert guest.cmd(f'debug fail {first} {last}') == f'reached: {last + 1 - first}\n'


def test_a_kill_ends_a_large_sbrk(guest):
    assert guest.cmd('debug grow') == 'grow: 1\n'


def page(vm):
    """The page's bytes, or the error that came instead."""
    try:
        with urlopen(f'http://127.0.0.1:{vm.port(80)}/README', timeout=CAP / 2) as answer:
            return answer.read()
    except HTTPError as error:
        with error:
            return error.code
    except (URLError, OSError) as error:
        return str(error)


def test_kth_allocation_fails_on_the_wire(guest):
    """The same with a client on the host: of three tries at most one fails."""
    whole, last = page(guest), 14
    assert len(whole) > 400
    guest.send(f'debug wire 1 {last}; echo ~end~\n')
    for k in range(1, last + 1):
        guest.expect(rf'^go {k}\n')
        assert [page(guest) for _ in range(3)].count(whole) >= 2
        guest.key('\n')
    reached = int(guest.expect(r'^reached: (\d+)\n.*?~end~\n\$ ').group(1))
    assert reached > last // 2


def test_code_is_as_it_was_loaded(guest):
    assert guest.cmd('debug crc') == f'crc: {zlib.crc32(loaded(CHECKED)):X}\n'


def test_stacks_are_large_enough(guest):
    used = int(re.fullmatch(r'stack: (\d+)\n', guest.cmd('debug stack')).group(1))
    assert 512 < used <= STACK_MOST
