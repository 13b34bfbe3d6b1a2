"""/dev/nettrace and the ring in memory: every reader gets the same records, and each
account of what was lost is exact.

Three readers look at one ring: programs in the guest (cat, tests/guest/prog/tracecat),
the host tool, and our own reader of the guest's memory (tests/lib/evidence.py).
"""

import os
import re
import signal
import socket
import subprocess
import threading
from urllib.request import urlopen

import pytest

from evidence import Ring, Trace
from vm import BUILD, CAP, CAPTURE, KERNEL, NETTRACE, TOP, VM

TESTS = ('-i', os.path.join(BUILD, 'tests.img'))
HOST = '127.0.0.1'
# What is recorded of a segment is less than it carries, also with two readers that send
# the trace by TCP: they come to an end however slow the machine.
CALM = 'trace=all,-frame,-@DRIVER,+e1000_rx,-@NETIF,-@MEM,-pkt_*,-irq_* trace_slots=65536'
READY = ('ip', 'e1000_rx', 'tcp_state to=LISTEN')
M32 = 0xffffffff


def get(vm, path='/rc'):
    with urlopen(f'http://{HOST}:{vm.port(80)}{path}', timeout=CAP) as answer:
        return answer.read()


def stop(vm):
    """Freeze the trace; then nothing is written any more, by whomever."""
    vm.cmd('echo stop > /dev/nettrace')
    assert 'frozen 1' in vm.cmd('cat /dev/nettrace.stat')


def outside(vm):
    """The frozen ring, as the host tool saves it and as it lies in memory."""
    saved = os.path.join(vm.dir, 'outside.nt')
    vm.tool('save', '-o', saved)
    return Trace(saved), Ring(os.path.join(vm.dir, 'ram'))


def catch(vm, port, rest, into):
    """Start tracecat at a port of the guest, and a thread that takes what it sends;
    return that once the stream has begun."""
    vm.send(f'tracecat {port} {rest} &\n')
    vm.expect('listening\n')
    begun = threading.Event()

    def client():
        with socket.create_connection((HOST, vm.port(port)), CAP) as s:
            parts = []
            while part := s.recv(65536):
                parts.append(part)
                begun.set()
            into.append(b''.join(parts))
    thread = threading.Thread(target=client, daemon=True)
    thread.start()
    assert begun.wait(CAP)
    return thread


def written(trace):
    """A stream's records by its writers, without what its reader added."""
    return [row for row in trace.records() if row['event'] not in ('lost', 'reader_stat')]


def slots_of(trace, rows):
    return [slot for row in rows for slot in trace.slots[row['slot']:row['slot'] + row['nsl']]]


# ---- the same records for everyone -------------------------------------------

@pytest.mark.parametrize('cpus', [1, 2, 4])
def test_same_records_inside_and_outside(boot, cpus):
    """cat in the guest, twice; nettrace save, live and after the end; the memory."""
    vm = boot(cpus=cpus, mb=64)
    for _ in range(3):
        get(vm)
    vm.cmd('echo mark a remark long enough for a record of two slots, which is what this one is for '
           '> /dev/nettrace')
    stop(vm)
    vm.cmd('cat /dev/nettrace > one; cat /dev/nettrace > two')
    one, two = Trace(get(vm, '/one')), Trace(get(vm, '/two'))
    saved, ring = outside(vm)
    assert any(row['nsl'] == 2 for row in one.records())
    assert {row['cpu'] for row in one.records()} == set(range(cpus)) or cpus == 4
    assert len(one.slots) > 300
    assert one.slots == two.slots == saved.slots == ring.slots
    assert one.meta == saved.meta == ring.meta
    for key in ('version', 'ncpu', 'nslots', 'boot_id', 'tsc_khz', 'meta_hash', 'mac', 'ip', 'nonce', 'build'):
        assert one.header[key] == saved.header[key] == ring.header[key], key
    vm.power_off()
    assert Trace(os.path.join(vm.dir, 'trace.nt')).slots == one.slots


def test_two_live_readers(boot):
    """Both follow the ring while it is written, one opens later than the other: the
    same records in the same order, nothing lost, no inversion of time."""
    vm = boot(cpus=2, mb=128, append=CALM, ports=(80, 7001, 7002), extra=TESTS, wait=READY)
    got = [], []
    threads = [catch(vm, 7001, '0', got[0])]
    for n in range(20):
        get(vm)
        if n == 10:
            threads.append(catch(vm, 7002, '0', got[1]))
    stop(vm)
    for thread in threads:
        thread.join()
    one, two = Trace(got[0][0]), Trace(got[1][0])
    first, second = written(one), written(two)
    assert slots_of(one, first) == slots_of(two, second)
    saved, ring = outside(vm)
    assert saved.slots == ring.slots == slots_of(one, first)
    stamps = [row['tsc'] for row in first]
    assert len(stamps) > 1000 and stamps == sorted(stamps)
    assert not [row for row in one.records() if row['event'] == 'lost']
    quiet = {row['pid'] for row in first if row['event'] == 'proc' and row['fields']['name'] == 'tracecat'}
    for pid in quiet:
        calls = [row for row in first if row['pid'] == pid and row['event'].startswith('sys_')]
        assert one.named(calls[-1], 'nr') == 'open', 'from its open on a reader is quiet'


# ---- losses -------------------------------------------------------------------

@pytest.mark.parametrize('cpus', [1, 2])
def test_losses_are_exact(boot, cpus):
    """A ring of 1024 slots and a reader that rests: each lost record tells where and
    how many, and all sums come out, for the reader, the ring and each event."""
    vm = boot(cpus=cpus, mb=64, append='trace=all trace_slots=1024', ports=(80, 7001, 7002), extra=TESTS, wait=READY)
    slow, fast = [], []
    threads = [catch(vm, 7001, '200', slow), catch(vm, 7002, '0', fast)]
    for _ in range(40):
        get(vm)
    stop(vm)
    for thread in threads:
        thread.join()
    saved, ring = outside(vm)
    assert slots_of(saved, written(saved)) == ring.slots
    streams = [Trace(slow[0]), Trace(fast[0])]
    for trace in streams:
        check_account(trace, ring)
    assert sum(row['fields']['n'] for row in streams[0].records() if row['event'] == 'lost') > 1000
    seen = [{(row['cpu'], row['seq']): slots_of(trace, [row]) for row in written(trace)} for trace in streams]
    both = seen[0].keys() & seen[1].keys()
    assert both and all(seen[0][key] == seen[1][key] for key in both)
    assert [sum(row) for row in ring.emitted] == ring.heads


def check_account(trace, ring):
    rows = trace.records()
    for cpu, head in enumerate(ring.heads):
        mine = [row for row in rows if row['cpu'] == cpu and row['event'] != 'reader_stat']
        account = [row['fields'] for row in rows if row['event'] == 'reader_stat' and row['fields']['cpu'] == cpu]
        assert len(account) == 1
        account = account[0]
        number = account['start']
        for row in mine:
            if row['event'] == 'lost':
                assert row['fields']['seq'] == number, 'a gap begins where the last record ended'
                number += row['fields']['n']
            else:
                assert row['seq'] == number, 'a gap without a lost record'
                number += row['nsl']
            number &= M32
        lost = sum(row['fields']['n'] for row in mine if row['event'] == 'lost')
        delivered = sum(row['nsl'] for row in mine if row['event'] != 'lost')
        assert (account['lost'], account['delivered'], account['filtered']) == (lost, delivered, 0)
        assert account['cursor'] == head == number and account['dropped'] == ring.dropped[cpu] == 0
        assert (account['cursor'] - account['start']) & M32 == delivered + lost


def test_a_view_filters(boot):
    """disable in a reader's own view: what it does not want is counted as filtered,
    everything else comes, and the other reader gets all of it."""
    vm = boot(cpus=2, mb=64, append=CALM, ports=(80, 7001, 7002), extra=TESTS, wait=READY)
    got = [], []
    threads = [catch(vm, 7001, '0', got[0]), catch(vm, 7002, '0 disable @SYSCALL,switch', got[1])]
    get(vm)
    stop(vm)
    for thread in threads:
        thread.join()
    everything, some = Trace(got[0][0]), Trace(got[1][0])
    wanted = [row for row in written(everything) if row['stage'] != 'SYSCALL' and row['event'] != 'switch']
    assert slots_of(everything, wanted) == slots_of(some, written(some))
    left_out = len(written(everything)) - len(wanted)
    assert left_out > 100
    accounts = [row['fields'] for row in some.records() if row['event'] == 'reader_stat']
    assert sum(row['filtered'] for row in accounts) == left_out and sum(row['lost'] for row in accounts) == 0


# ---- what is recorded -----------------------------------------------------------

def test_names_switch_events_at_run_time(boot):
    """base, enable and disable by name, with * and @: exactly these events stop and come back."""
    vm = boot(cpus=1, mb=64, append='trace=all,-clock_sync')
    steps = ['base -sys_*', 'base -@STACK', 'base +sys_*,+@STACK', 'disable e1000_*,frame', 'enable e1000_*,frame,mark']
    get(vm)
    for line in steps:
        vm.cmd(f'echo {line} > /dev/nettrace')
        get(vm)
    parts, rows = [[]], vm.events()
    for row in rows:
        parts[-1].append(row)
        if row['event'] == 'ctl':
            assert (row['ok'], row['text']) == (1, steps[len(parts) - 1])
            parts.append([])
    assert len(parts) == len(steps) + 1

    def kinds(part):
        return ({row['stage'] for row in part} | {row['event'] for row in part}) & \
            {'SYSCALL', 'STACK', 'DRIVER', 'NETIF', 'SOCKET', 'CPU'}
    everything = kinds(parts[0])
    assert everything == {'SYSCALL', 'STACK', 'DRIVER', 'NETIF', 'SOCKET', 'CPU'}
    assert [everything - kinds(part) for part in parts] == \
        [set(), {'SYSCALL'}, {'SYSCALL', 'STACK'}, set(), {'DRIVER'}, set()]


@pytest.mark.parametrize('line, why', [
    ('base -tcp_seg_in,-nosuch', 'unknown event nosuch'),
    ('base tcp_seg_in', 'want + or - before each pattern'),
    ('disable tcpx', 'unknown event tcpx'),
    ('frobnicate', 'unknown command'),
    ('stop now', 'stop: takes no argument'),
    ('from oldest', 'from: not open for reading'),
    ('sync', 'sync: not open for reading'),
    ('timeout 600', 'timeout: not open for reading'),
    ('mark', 'mark: want 1 to 100 characters'),
    ('mark ' + 101 * 'm', 'mark: want 1 to 100 characters'),
    ('mark ' + 140 * 'm', 'line too long'),
], ids=lambda text: text[:20])
def test_refused_lines_change_nothing(control, line, why):
    before = control.cmd('cat /dev/nettrace.stat')
    control.cmd(f'echo {line} > /dev/nettrace')
    stat = control.cmd('cat /dev/nettrace.stat')
    assert f'refused "{why}"' in stat and 'frozen 0' in stat
    said = control.events('ctl')[-1]
    assert said['ok'] == 0 and line.startswith(said['text'])
    get(control)
    counts = [dict(re.findall(r'^event (\w+) (\d+)', text, re.M))
              for text in (before, control.cmd('cat /dev/nettrace.stat'))]
    assert all(int(counts[1][name]) > int(counts[0][name])
               for name in ('tcp_seg_in', 'tcp_seg_out', 'e1000_rx', 'sock_rx', 'pkt_end'))


@pytest.fixture(scope='module')
def control():
    with VM(cpus=1, mb=64, name='control') as vm:
        get(vm)
        yield vm


# ---- what events tell -----------------------------------------------------------

def path(vm, **want):
    """The states of one end of a connection, in order, each change fitting the last."""
    rows = [row for row in vm.events('tcp_state') if all(row[k] == v for k, v in want.items())]
    states = [rows[0]['from']]
    for row in rows:
        assert row['from'] == states[-1], rows
        states.append(row['to'])
    return states, [row['why'] for row in rows]


def test_states_when_the_client_closes_first(boot):
    vm = boot(cpus=2)
    with socket.create_connection((HOST, vm.port(80)), CAP) as s:
        s.sendall(b'GET /rc HTTP/1.1\r\nHost: g\r\n\r\n')
        assert s.recv(65536)
    vm.wait_event('tcp_state to=CLOSED')
    port = next(row['rport'] for row in vm.events('tcp_seg_in'))
    states, why = path(vm, rport=port)
    assert states == ['LISTEN', 'SYN_RECEIVED', 'ESTABLISHED', 'CLOSE_WAIT', 'LAST_ACK', 'CLOSED']
    assert why == ['SEGMENT', 'SEGMENT', 'SEGMENT', 'API', 'SEGMENT']


def test_states_when_the_server_closes_first(boot):
    """TIME-WAIT ends by the timer, after 2 msl."""
    vm = boot(cpus=2, append='msl=1000')
    with socket.create_connection((HOST, vm.port(80)), CAP) as s:
        s.sendall(b'GET /rc HTTP/1.0\r\n\r\n')
        while s.recv(65536):
            pass
    vm.wait_event('tcp_state from=TIME_WAIT')
    port = next(row['rport'] for row in vm.events('tcp_seg_in'))
    states, why = path(vm, rport=port)
    assert states == ['LISTEN', 'SYN_RECEIVED', 'ESTABLISHED', 'FIN_WAIT_1', 'FIN_WAIT_2', 'TIME_WAIT', 'CLOSED']
    assert why == ['SEGMENT', 'SEGMENT', 'API', 'SEGMENT', 'SEGMENT', 'TIMER']
    last = vm.events('tcp_state')[-1]
    assert 1900000 <= last['dwell_us'] <= 2600000


def test_states_of_both_ends(boot):
    """A client in the guest, by loopback: the active open, and each end's view of it.
    The client's FIN comes with its request."""
    vm = boot(cpus=1, append='msl=1000', extra=TESTS)
    vm.cmd('tcp 127.0.0.1 80 GET')
    rows = vm.events('tcp_state')
    port = next(row['lport'] for row in rows if row['to'] == 'SYN_SENT')
    vm.wait_event('tcp_state to=TIME_WAIT')
    client, why = path(vm, lport=port)
    server, _ = path(vm, rport=port)
    assert client[:3] == ['CLOSED', 'SYN_SENT', 'ESTABLISHED'] and why[:2] == ['API', 'SEGMENT']
    assert client[3:6] in (['FIN_WAIT_1', 'FIN_WAIT_2', 'TIME_WAIT'], ['FIN_WAIT_1', 'CLOSING', 'TIME_WAIT'],
                           ['FIN_WAIT_1', 'TIME_WAIT'])
    assert server[:4] == ['LISTEN', 'SYN_RECEIVED', 'ESTABLISHED', 'CLOSE_WAIT'] and 'LAST_ACK' in server


def test_reader_wakes_after_its_data_are_queued(boot):
    """One byte at a time for a server that sleeps: first the byte is in the queue, then
    the process is woken, by that packet, and finds it."""
    vm = boot(cpus=2, append='trace=all')
    with socket.create_connection((HOST, vm.port(80)), CAP) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for n, byte in enumerate(b'GET /rc HTTP/1.0\r\n\r\n'):
            s.send(bytes([byte]))
            while len(vm.events('sock_read')) <= n:
                pass
        while s.recv(65536):
            pass
    rows = vm.events()
    bytes_in = [i for i, row in enumerate(rows) if row['event'] == 'sock_rx']
    wakes = {row['pkt']: i for i, row in enumerate(rows) if row['event'] == 'wakeup' and row['why'] == 'POLL'}
    reads = {row['pkt']: i for i, row in enumerate(rows) if row['event'] == 'sock_read'}
    woken = [i for i in bytes_in if rows[i]['pkt'] in wakes]
    assert len(woken) > 10
    assert all(i < wakes[rows[i]['pkt']] < reads[rows[i]['pkt']] for i in woken)


def test_window_opens_as_the_process_reads(boot):
    """More than a window's worth through one connection: what is read makes room again."""
    vm = boot(cpus=2, append='trace_slots=65536')
    one = b'HEAD /rc HTTP/1.1\r\nHost: g\r\nX: ' + 150 * b'x' + b'\r\n\r\n'
    requests = 2 * 64240 // len(one)
    with socket.create_connection((HOST, vm.port(80)), CAP) as s:
        sender = threading.Thread(target=s.sendall, args=(requests * one,), daemon=True)
        sender.start()
        got = b''
        while got.count(b'\r\n\r\n') < requests and (part := s.recv(65536)):
            got += part
        sender.join()
    assert got.count(b'HTTP/1.1 200 OK') == requests
    windows = [row['wnd'] for row in vm.events('tcp_seg_out') if row['lport'] == 80]
    assert max(windows) <= 65535 and windows[-1] > 60000


def test_packets_have_one_end(boot):
    """Under load on several CPUs: each packet that was seen ends exactly once, with a
    fate that fits its journey, and an answer links to its question."""
    vm = boot(cpus=4, append='trace_slots=65536')
    threads = [threading.Thread(target=lambda: [get(vm, '/index.html') for _ in range(15)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    vm.power_off()
    trace = Trace(os.path.join(vm.dir, 'trace.nt'))
    lives = {}
    for row in trace.records():
        if row['pkt']:
            lives.setdefault(row['pkt'], []).append(row)
    assert len(lives) > 400
    for pkt, life in lives.items():
        names = [row['event'] for row in life]
        ends = [row for row in life if row['event'] == 'pkt_end']
        assert len(ends) == 1, (pkt, names)
        fate = trace.named(ends[0], 'fate')
        if 'e1000_tx' in names:
            assert fate == 'WIRE', (pkt, names)
        elif 'sock_rx' in names:
            assert fate == 'SOCKET', (pkt, names)
        else:
            assert fate == 'STACK', (pkt, names)
    syns = {row['fields']['rport']: row['pkt'] for row in trace.records() if row['event'] == 'tcp_seg_in'
            and row['fields']['flags'] == 2}
    answers = {row['fields']['rport']: row['pkt'] for row in trace.records() if row['event'] == 'tcp_seg_out'
               and row['fields']['flags'] == 0x12}
    links = {(row['fields']['parent'], row['pkt']) for row in trace.records() if row['event'] == 'pkt_link'
             and trace.named(row, 'kind') == 'REPLY'}
    assert len(syns) == 60 and syns.keys() == answers.keys()
    assert all((syns[port], answers[port]) in links for port in syns)


# ---- the ring's own edges ---------------------------------------------------------

def test_slot_numbers_pass_2_to_the_32nd(boot):
    """Each ring begins 96 slots before.  Which CPU does how much is for the scheduler to
    say; but of several hundred slots on two CPUs, one has its 96."""
    vm = boot(cpus=2, mb=64, append='trace_slots=65536 trace_head0=4294967200', ports=(80, 7001), extra=TESTS, wait=READY)
    got = []
    thread = catch(vm, 7001, '0', got)
    for _ in range(3):
        get(vm)
    stop(vm)
    thread.join()
    stream = Trace(got[0])
    saved, ring = outside(vm)
    passed = [cpu for cpu, head in enumerate(ring.heads) if head < 1 << 31]
    assert passed and len(ring.slots) > 2 * 96
    check_account(stream, ring)
    assert slots_of(stream, written(stream)) == saved.slots == ring.slots
    assert not [row for row in stream.records() if row['event'] == 'lost']
    for cpu in passed:
        numbers = [row['seq'] for row in written(stream) if row['cpu'] == cpu]
        assert numbers[0] == 4294967200 and numbers[-1] < 1 << 31


def test_ring_after_a_panic(tmp_path):
    run = tmp_path / 'run'
    done = subprocess.run([CAPTURE, '-d', run, '-m', '64', '-i', os.path.join(BUILD, 'fs.img'), '-k',
                           KERNEL, '-a', 'init=/echo rc=off'],
                          env=dict(os.environ, NETTRACE=NETTRACE), cwd=TOP, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=CAP)
    assert done.returncode == 4
    ring, saved = Ring(run / 'ram'), Trace(run / 'trace.nt')
    assert ring.header['flags'] & 3 == 3 == saved.header['flags'] & 3
    assert ring.slots == saved.slots
    last = saved.records()[-1]
    assert last['event'] == 'mark' and 'init is gone' in last['fields']['text']


def test_ring_after_a_kill(boot):
    """QEMU is killed in the middle of the load: the memory file stays, and what lies
    in it is what was saved."""
    vm = boot(cpus=2, mb=64, append='trace=all')
    vm.cmd('spin 100 &')
    for _ in range(3):
        get(vm)
    (qemu,) = [int(pid) for pid in children(vm.proc.pid) if 'qemu' in command(pid)]
    os.kill(qemu, signal.SIGKILL)
    assert vm.stop() == 3 and vm.status()['qemu_status'] == '137'
    ring, saved = Ring(os.path.join(vm.dir, 'ram')), Trace(os.path.join(vm.dir, 'trace.nt'))
    assert slots_of(saved, written(saved)) == ring.slots
    assert len(ring.slots) > 300 and sum(row['event'] == 'sock_read' for row in saved.records()) >= 3


def children(pid):
    with open(f'/proc/{pid}/task/{pid}/children') as f:
        return f.read().split()


def command(pid):
    with open(f'/proc/{pid}/comm') as f:
        return f.read()
