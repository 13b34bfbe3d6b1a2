"""Nothing a program passes, executes or is changes the kernel or a neighbour."""

import os
import re
import struct
import subprocess
import urllib.request

import pytest

from vm import BUILD, CAP, KERNEL

TESTS = dict(mb=64, append='rc=off ip=none', extra=('-i', os.path.join(BUILD, 'tests.img')), ports=())


def jumps():
    """Where events are made: {address: the jump that stands there while one is on}.  The
    debug kernel has none."""
    listed = subprocess.run(['nm', KERNEL], stdout=subprocess.PIPE, text=True, check=True).stdout
    at = {name: int(addr, 16) for addr, name in re.findall(r'^(\S+) \S (trace_sites(?:_end)?)$', listed, re.M)}
    if not at:
        return {}
    with open(KERNEL, 'rb') as f:
        elf = f.read()
    for off, va, _, filesz in segments(elf):
        if va <= at['trace_sites'] < va + filesz:
            table = elf[off + at['trace_sites'] - va:off + at['trace_sites_end'] - va]
            return {site: b'\xe9' + struct.pack('<i', to - site - 5) for site, to, _ in struct.iter_unpack('<III', table)}
    return {}


def segments(elf):
    """(offset in the file, address, physical address, bytes) of what the kernel never writes."""
    phoff, = struct.unpack_from('<I', elf, 28)
    phnum, = struct.unpack_from('<H', elf, 44)
    for i in range(phnum):
        kind, off, va, pa, filesz, _, flags, _ = struct.unpack_from('<8I', elf, phoff + 32 * i)
        if kind == 1 and not flags & 2:
            yield off, va, pa, filesz


def read_only_kernel(vm):
    """Compare text and rodata in the guest's RAM with the file they came from: the
    list of addresses that differ.  Where an event is made a jump may stand."""
    with open(KERNEL, 'rb') as f:
        elf = f.read()
    differ, seen, patched = [], 0, jumps()
    with open(os.path.join(vm.dir, 'ram'), 'rb') as ram:
        for off, va, pa, filesz in segments(elf):
            seen += filesz
            ram.seek(pa)
            here = bytearray(ram.read(filesz))
            for site, jump in patched.items():
                k = site - va
                if 0 <= k < filesz and here[k:k + 5] == jump:
                    here[k:k + 5] = elf[off + k:off + k + 5]
            differ += [hex(va + k) for k in range(filesz) if here[k] != elf[off + k]][:10]
    assert seen > 100000
    return differ


def counts(vm):
    """What is in use and what is free, as limits counts prints it."""
    return vm.cmd('limits counts')


@pytest.fixture
def guest(boot, request):
    """A guest whose counts and kernel text must be the same at the end."""
    vm = boot(**{**TESTS, **getattr(request, 'param', {})})
    vm.cmd('limits counts')  # once, so that the first use of anything is over
    before = counts(vm)
    yield vm
    assert counts(vm) == before
    assert read_only_kernel(vm) == []
    assert vm.cmd('echo alive') == 'alive\n'


def passes(vm, line, unit):
    """Run a program that ends with `N unit, N wrong`: at least one, and none wrong."""
    said = vm.cmd(line)
    sums = re.search(rf'(\d+) {unit}, (\d+) wrong\n$', said)
    assert sums and sums[2] == '0' and int(sums[1]) > 0, said[-3000:]
    return said


def test_every_argument_of_every_call(guest):
    passes(guest, 'hostile calls', 'calls')


@pytest.mark.parametrize('guest', [dict(cpus=1)], indirect=True)
def test_every_number_with_every_stack(guest):
    passes(guest, 'hostile stacks', 'calls')


def test_the_page_is_served_meanwhile(boot):
    """All of them at once on four CPUs, and requests from outside."""
    vm = boot(**{**TESTS, 'append': '', 'ports': (80,), 'cpus': 4})
    # a pipe only because the shell waits for all of it; meanwhile the console is the kernel's
    vm.send('(hostile calls > a; hostile stacks > b) | badelf flips 7 200 > c | traps > d; echo done\n')
    url = f'http://127.0.0.1:{vm.port(80)}/'
    for _ in range(10):
        assert b'html' in urllib.request.urlopen(url, timeout=CAP).read()
    vm.expect('^done$')
    said = ''.join(vm.cmd('cat ' + name) for name in 'abcd')
    assert len(re.findall(r'\b0 wrong$', said, re.M)) == 4, said[-3000:]
    assert read_only_kernel(vm) == []


def test_user_traps(guest):
    """What the CPU refuses ends its process, with one line that names the trap."""
    said = guest.cmd('traps')
    assert said.endswith('0 wrong\n'), said[-3000:]
    rows = said.splitlines()
    for i, row in enumerate(rows[:-1]):
        want = re.fullmatch(r'case (\w+) (\d+)', row)
        if want:
            killed = rf'pid \d+ traps: trap {want[2]} err \d+ on cpu \d eip 0x\w+ addr 0x\w+--kill proc'
            assert re.match(killed, rows[i + 1]), (row, rows[i + 1])
    assert len(re.findall('no floating point here$', said, re.M)) == 2


def test_programs_that_are_none(guest):
    passes(guest, 'badelf', 'files')


@pytest.mark.parametrize('guest', [dict(cpus=1)], indirect=True)
def test_random_bits_of_a_program(guest):
    said = passes(guest, f"badelf flips {os.environ.get('SEED', '1')} 600", 'files')
    refused, died, ran = map(int, re.search(r'refused (\d+), died (\d+), ran (\d+)', said).groups())
    assert refused + died + ran == 600 and min(refused, died, ran) > 20
