"""The flight recorder: after a panic, a triple fault or a kill -9 of QEMU the last events are
still there, up to the very last, in the file that was the guest's memory.

Each test ends a guest by force after a request whose last packets and whose mark are known.
What the host tool then reads of the memory's file is compared with our own reader's
(tests/lib/evidence.py), and with the frames that QEMU captured.  gdb reads the ring of a
guest that has panicked and stands still, and after QEMU's end a core file of the memory.
"""

import json
import os
import re
import signal
import subprocess
import threading
from urllib.request import urlopen

import pytest

from evidence import Ring, Trace, frames
from vm import CAP, NETTRACE, TOP, VM

KERNBASE = 0x80000000
INIT = os.path.join(TOP, 'tools', 'gdb', 'init.gdb')


@pytest.fixture
def flight(request):
    """A function that boots a guest with some life behind it, and the last words.  (Not
    boot of conftest.py: that one insists on a console without a word of trouble.)"""
    guests = request.node.guests = []

    def take_off(append='', cpus=2):
        vm = VM(cpus=cpus, mb=64, append='trace=all ' + append, extra=('-K',), name=request.node.name)
        guests.append(vm)
        vm.start()
        for _ in range(3):
            with urlopen(f'http://127.0.0.1:{vm.port(80)}/index.html', timeout=CAP) as answer:
                assert answer.status == 200
        vm.cmd('ping -c 1 10.0.2.2')
        vm.cmd('echo mark last words before the end > /dev/nettrace')
        return vm
    yield take_off
    for vm in guests:
        vm.stop()
        if request.node.report_call.passed:
            vm.remove()


def ram(vm):
    return os.path.join(vm.dir, 'ram')


def symbols(vm):
    """name -> (physical address, size) of the kernel's symbols."""
    text = subprocess.run(['nm', '-S', os.path.join(vm.dir, 'kernel.elf')], stdout=subprocess.PIPE, check=True).stdout
    rows = re.findall(r'^(\w+) (\w+) \w (\w+)$', text.decode(), re.M)
    return {name: (int(at, 16) - KERNBASE, int(size, 16)) for at, size, name in rows}


def poke(vm, at, data):
    """Write into the guest's memory, from outside."""
    with open(ram(vm), 'r+b') as f:
        f.seek(at)
        f.write(data)


def call_number(vm, name):
    """A system call's number, as the trace names it."""
    return next(value for value, word in Ring(ram(vm)).sets['SYS'].items() if word == name)


def ended(vm):
    vm._until(lambda: not vm.running(), 'the guest ends')
    vm.stop()


def tool(*args):
    done = subprocess.run([NETTRACE, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=CAP)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def check(vm, tmp_path):
    """The tool, given the memory alone, shows every record that was written, the known
    ones are among the last, and every captured frame is there.  Returns the records."""
    ring, saved = Ring(ram(vm)), tmp_path / 'saved.nt'
    tool('save', '-q', '-o', str(saved), ram(vm))
    trace = Trace(str(saved))
    made = [slot for slot in trace.slots if slot[12:16] != bytes(4)]  # without the tool's own word of a loss
    assert made == ring.slots, 'what the tool saves is not what lies in the memory'
    lost = sum(ring.heads) - len(ring.slots)
    assert 0 <= lost <= len(ring.heads), 'at most one record per CPU was being written at the end'
    rows = [row for row in trace.records() if row['event'] != 'lost']
    words = tool('dump', '-q', ram(vm)).splitlines()
    assert len([line for line in words if ' !! ' not in line]) == len(rows)
    marks = [row['fields']['text'] for row in rows if row['event'] == 'mark']
    assert 'last words before the end' in marks and sum('last words before the end' in line for line in words) == 2
    for frame in frames(os.path.join(vm.dir, 'wire.pcap')):
        if frame['out']:
            assert any(row['event'] == 'e1000_tx' and row['fields']['hash'] == frame['hash'] for row in rows)
    said = [row['event'] for row in rows]
    assert said.count('icmp_in') == 1 and said.index('icmp_in') < max(i for i, w in enumerate(said) if w == 'mark')
    return rows


def test_after_a_panic(flight, tmp_path):
    """A system call whose first instruction is made an invalid one: the last record of
    its CPU is the panic's own mark, and ours stands before it."""
    vm = flight()
    poke(vm, symbols(vm)['sys_kdebug'][0], b'\x0f\x0b')
    vm.send('free\n')
    ended(vm)
    assert vm.status()['guest'] == 'panic'
    rows = check(vm, tmp_path)
    mark = [row for row in rows if row['event'] == 'mark'][-1]
    assert 'fault in the kernel' in mark['fields']['text']
    rows = [row for row in rows if row['cpu'] == mark['cpu']]  # the other one may end an interrupt meanwhile
    assert rows[-1] is mark
    last = [row for row in rows if row['event'] == 'sys_enter'][-1]
    assert (last['fields']['nr'], last['pid']) == (call_number(vm, 'kdebug'), mark['pid'])
    assert Ring(ram(vm)).header['flags'] & 2, 'the panic is noted'
    check_core(vm)
    check_calls(vm, mark['pid'], mark['cpu'])


def test_after_a_triple_fault(flight, tmp_path):
    """No interrupt table any more: the next interrupt resets the machine, and no code of
    the kernel runs after that."""
    vm = flight()
    at, size = symbols(vm)['idt']
    poke(vm, at, bytes(size))
    ended(vm)
    assert 'panic' not in vm.output() and vm.status()['qemu_status'] == '0'
    check(vm, tmp_path)
    assert not Ring(ram(vm)).header['flags'] & 3
    check_core(vm)


def test_after_a_kill(flight, tmp_path):
    """QEMU dies in the middle of requests, between any two instructions."""
    vm = flight()
    vm.cmd('spin 100 &')
    (qemu,) = [int(pid) for pid in children(vm.proc.pid) if 'qemu' in command(pid)]
    stop, some = threading.Event(), threading.Event()

    def load():
        while not stop.is_set():
            try:
                with urlopen(f'http://127.0.0.1:{vm.port(80)}/', timeout=CAP):
                    some.set()
            except OSError:
                return
    client = threading.Thread(target=load, daemon=True)
    client.start()
    assert some.wait(CAP)
    os.kill(qemu, signal.SIGKILL)
    ended(vm)
    stop.set()
    client.join()
    assert vm.status()['qemu_status'] == '137'
    rows = check(vm, tmp_path)
    assert any(row['event'] == 'sock_read' for row in rows[[row['event'] for row in rows].index('mark'):])
    check_core(vm)
    calls = gdb_on(vm, 'core-file core', 'source ' + INIT, 'bt-all')
    assert calls.count(': run\n') == calls.count('whose registers are not in this dump\n')  # those of who waits are in memory
    assert re.search(r'== 1 init: sleep .*\n(#.*\n)*#\d+ +0x\w+  sys_waitpid\+', calls)


def check_calls(vm, pid, cpu):
    """gdb's own backtrace of the core goes from where the kernel died into the program that
    had called it; ours says the same, and has everybody else's."""
    tf, part = f'$proc({pid})->tf->', 'echo ~~~~\\n'
    words = gdb_on(vm, 'core-file core', 'source ' + INIT, part, 'bt', part, f'btp {pid}', part, 'bt-all', part, f'output/x {tf}eip',
                   'echo \\n', 'info threads')
    bt, btp, everybody, regs = words.split('~~~~\n')[1:]
    eip = regs.splitlines()[0]
    assert re.match(r'#0 .*\bsys_kdebug ', bt)
    user = bt[bt.index('signal handler called'):].splitlines()[1]  # its own callers are not in a core of the kernel's memory
    assert user.split()[1] == f'{int(eip, 16):#010x}', bt
    kernel, program = btp.split('-- user: free --\n')
    program = [line.split()[2] for line in program.splitlines()]
    assert re.match(r'#0 +0x\w+ +sys_kdebug ', kernel) and program[0] == eip and len(program) >= 2
    assert f'LWP {cpu + 1} ' in regs
    assert len(re.findall('^== ', everybody, re.M)) >= 5 and 'not available' not in everybody
    assert re.search(r'== 1 init: sleep .*\n(#.*\n)*#\d+ +0x\w+  sys_waitpid\+', everybody)


def test_calls_that_were_traced(flight):
    """The function tracer has put its own return addresses on the stacks: gdb, our commands and
    the panic's own words name the true callers, of who died and of who sleeps."""
    vm = flight()
    if vm.cmd("echo func '*' > /dev/nettrace"):
        pytest.skip('this compiler makes no entry nops')
    vm.cmd('udpecho 9 &')
    poke(vm, symbols(vm)['tcp_input'][0] + 5, b'\x0f\x0b')  # behind the entry's nop, which is a call now
    with pytest.raises(OSError):
        urlopen(f'http://127.0.0.1:{vm.port(80)}/', timeout=CAP)
    ended(vm)
    subprocess.run([os.path.join(TOP, 'tools', 'gdb', 'core'), vm.dir], stdout=subprocess.PIPE, timeout=CAP, check=True)
    bt, own, everybody = gdb_on(vm, 'core-file core', 'source ' + INIT, 'echo ~~~~\\n', 'bt', 'echo ~~~~\\n', 'btp 2', 'echo ~~~~\\n',
                                'bt-all').split('~~~~\n')[1:]
    told = re.findall(r'^  0x\w+ (\w+)\+', vm.output(), re.M)
    way = ['tcp_input', 'ip4_input', 'ethif_rx', 'netd', 'kthread_entry']
    assert [name for name in told if name in way] == way[:1] + way[2:], told  # by frame pointers, and the last one was not set yet
    for text in (bt, own):
        names = re.findall(r'^#\d+ +(?:0x\w+ +)?(?:in )?(\w+)', text, re.M)
        assert [name for name in names if name in way] == way and 'func_entry' not in names, text
    assert bt.count('func_traced') >= 3 and 'func_' not in own + everybody
    assert re.search(r' udpecho: sleep .*\n(#.*\n)*#.* sys_recvfrom\+.*\n#.* (traced_call|syscall)\+', everybody), everybody


def check_core(vm):
    """gdb, on a core file of the memory, has the same last records as the host tool."""
    made = subprocess.run([os.path.join(TOP, 'tools', 'gdb', 'core'), vm.dir], stdout=subprocess.PIPE, timeout=CAP,
                          check=True).stdout.decode()
    assert made == os.path.join(vm.dir, 'core') + '\n'
    words = gdb_on(vm, 'core-file core', 'source ' + INIT, 'net-trace -n 100000 --json', 'net-trace -n 3')
    host = records(tool('dump', '-q', '--json', vm.dir), vm)
    rows = records(words, vm)
    for row in rows:
        del row['us']  # before the newest one
        if row['event'] == 'frame':
            row['fields']['data'] = row['fields']['data'].replace(' ', '')
    assert len(host) > 300 and rows == [{key: row[key] for key in rows[0]} for row in host]
    assert [f' {row["event"]} ' in line for row, line in zip(host[-3:], words.splitlines()[-3:])] == 3 * [True]


def records(text, vm):
    """The records among a tool's lines, without addresses: which symbol one belongs to is
    a matter of taste."""
    ring = Ring(ram(vm))
    rows = [json.loads(line) for line in text.splitlines() if line.startswith('{')]
    rows = [row for row in rows if row['event'] not in (None, 'lost')]
    for row in rows:
        for _, name, unit in ring.events[ring.ids[row['event']]][2]:
            if unit == 'addr':
                del row['fields'][name]
    return rows


def children(pid):
    with open(f'/proc/{pid}/task/{pid}/children') as f:
        return f.read().split()


def command(pid):
    with open(f'/proc/{pid}/comm') as f:
        return f.read()


def test_gdb_after_a_panic(flight, tmp_path):
    """With panic=halt the machine stands still: gdb finds the ring by its symbol, and the
    last records through it are those in the memory's file."""
    vm = flight('panic=halt')
    poke(vm, symbols(vm)['sys_kdebug'][0], b'\x0f\x0b')
    vm.send('free\n')
    vm.expect('fault in the kernel')
    vm._until(lambda: Ring(ram(vm)).header['flags'] & 2, 'the panic in the ring page')
    out = tmp_path / 'ring'
    words = gdb(vm, 'printf "flags %d\\n", nt_page.hdr.flags', 'printf "head %u\\n", nt_page.cpu[0].head',
                'printf "head %u\\n", nt_page.cpu[1].head',
                f'dump binary memory {out} &nt_page ((char *)&nt_page)+4096',
                'set $s = (struct nt_slot *)(0x80000000 + nt_page.cpu[0].ring_pa)',
                'printf "first %u %u\\n", $s->seq, $s->nsl')
    ring = Ring(ram(vm))
    assert int(re.search(r'flags (\d+)', words).group(1)) & 3 == 3
    assert [int(n) for n in re.findall(r'head (\d+)', words)] == ring.heads
    assert out.read_bytes() == ring.ram[ring.find():ring.find() + 4096]
    assert re.search(r'first (\d+) (\d+)', words).groups() == ('1', '1')
    check(vm, tmp_path)


def test_a_slot_in_flight(flight, tmp_path):
    """The machine ends between the reservation of a slot and its last store: the host tool
    and gdb's net-trace both say that this one slot was never completed, and no other."""
    vm = flight(cpus=1)
    words = gdb(vm, 'source ' + INIT, 'hbreak trace_begin', 'continue',
                'thbreak *(*(unsigned *)$esp)', 'delete 1', 'continue', 'net-trace -n 3', 'kill')
    ended(vm)
    ring = Ring(ram(vm))
    assert sum(ring.heads) - len(ring.slots) == 1
    assert '1 slot not complete when the guest was stopped' in words
    saved = tmp_path / 'saved.nt'
    tool('save', '-q', '-o', str(saved), ram(vm))
    trace = Trace(str(saved))
    (lost,) = [row for row in trace.records() if row['event'] == 'lost']
    assert (lost['fields']['n'], trace.named(lost, 'why'), lost['fields']['seq']) == (1, 'INFLIGHT', ring.heads[0] - 1)
    for path in saved, ram(vm):
        said = tool('dump', '-q', '--json', str(path))
        assert said.count('INFLIGHT') == 1 and 'OVERWRITE' not in said
    assert tool('dump', '-q', ram(vm)).count('!! 1 slots lost, never completed') == 1


def gdb(vm, *commands):
    """Run gdb's commands on the guest; return what it says."""
    return gdb_on(vm, 'set architecture i386', 'target remote gdb.sock', *commands)


def gdb_on(vm, *commands):
    args = ['gdb', '-nx', '-batch', 'kernel.elf', *(word for line in commands for word in ('-ex', line))]
    done = subprocess.run(args, cwd=vm.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=CAP, env=dict(os.environ, XV6_TOP=TOP))
    assert done.returncode == 0, done.stdout.decode()
    return done.stdout.decode()
