"""The network under load and with peers that misbehave: floods, silence, resets,
windows that close, pools that run dry.  Afterwards everything is given back.

The peer is the test itself (peer.Wire), or a program of the host through user
networking.  The short numbers are for every day; REQUESTS=, CONNECTIONS= and MIB=
make them long (10000, 10000 and 1024 before a release).
"""

import collections
import hashlib
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from peer import ACK, FIN, PSH, RST, SYN, Flow, Wire, checksum
from vm import BUILD, CAP, CAPTURE, KERNEL, NETTRACE, TOP

TESTS = ('-i', os.path.join(BUILD, 'tests.img'))
REQUESTS = int(os.environ.get('REQUESTS', 300))
CONNECTIONS = int(os.environ.get('CONNECTIONS', 1000))
MIB = int(os.environ.get('MIB', 16))
LONG = REQUESTS > 300 or CONNECTIONS > 1000 or MIB > 16
GET = b'GET /rc HTTP/1.0\r\n\r\n'
STATIC = 'ip=10.9.0.2/24,10.9.0.1 msl=200 trace=all,-func,-pbuf_*,-frame,-sys_*,-switch,-sleep,-wakeup'
QUIET = 'trace=off msl=200'  # what is counted is counted outside


@pytest.fixture(autouse=True)
def long_cap(cap):
    """The long versions have no cap: who asks for them waits."""
    if LONG:
        signal.alarm(0)


@pytest.fixture
def cable(request, cap):
    """cable(...) starts a guest on a Wire; it is ended and judged after the test."""
    wires = []
    request.node.guests = []

    def start(**options):
        options.setdefault('append', STATIC)
        options.setdefault('extra', TESTS)
        wires.append(Wire(name=request.node.name.split('[')[0], **options))
        request.node.guests.append(wires[-1].vm)
        wires[-1].start()
        wires[-1].ping(0)  # waits for the end of QEMU's receive block
        return wires[-1]

    yield start
    for wire in wires:
        wire.stop()
    if request.node.report_call.passed:
        for wire in wires:
            wire.vm.check()
            wire.vm.remove()


def counts(vm):
    """What the network has in use.  TIME-WAIT (0.4 s here) is waited for.  Call it once
    before the one to compare with: the first use of something may cost a page."""
    rows = None
    for _ in range(100):
        before, rows = rows, dict(re.findall(r'(\w+) (\d+)', vm.cmd('limits counts')))
        if rows['pcbs'] == '0' and rows == before:
            break
        time.sleep(0.1)
    return {name: rows[name] for name in ('pages', 'files', 'socks', 'pcbs', 'segments', 'pbufs', 'rx')}


def get(wire, port, timeout=CAP):
    """One good request from the peer, which asks again after a second as all do."""
    flow = Flow(wire, port, 80, seq=port * 1000)
    answer = None
    for _ in range(5):
        flow.send(SYN, seq=port * 1000, options=b'\2\4\5\xb4')
        answer = answer or wire.find(flow.mine, 1)
        if answer:
            break
    assert answer and answer.tcp.flags == SYN | ACK, answer
    flow.seq, flow.ack = port * 1000 + 1, (answer.tcp.seq + 1) % 2**32
    flow.send(ACK)
    flow.send(PSH | ACK, GET)
    assert flow.all_data().startswith(b'HTTP/1.1 200 ')
    flow.send(FIN | ACK)
    flow.expect(ACK, 'the ACK of our FIN', b'', timeout)


# ---- processes ----------------------------------------------------------


@pytest.mark.skipif('DEBUG' in os.environ, reason='the rule is the same, and the plain kernel is faster')
def test_a_sleeper_goes_before_those_that_never_sleep(tmp_path):
    """In virtual time, one CPU: told within 2 ms on average however many compute, and
    they still get their share from two that sleep all the time."""
    subprocess.run([CAPTURE, '-d', tmp_path / 'run', '-k', KERNEL, *TESTS, '-D', '-n', 'none',
                    '-a', 'rc=off ip=none trace=off', '-G', 'load turns 1; load turns 4'], env=dict(os.environ, NETTRACE=NETTRACE), cwd=TOP,
                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=CAP)
    said = (tmp_path / 'run' / 'serial.log').read_text(errors='replace')
    means = [int(n) for n in re.findall(r'told mean (\d+) us', said)]
    least = [int(n) for n in re.findall(r'least hog (\d+) ticks', said)]
    assert len(means) == len(least) == 2, said
    assert max(means) < 2000 and min(least) >= 3, said


# ---- many ---------------------------------------------------------------


@pytest.mark.skipif(not shutil.which('ab'), reason='no ab')
@pytest.mark.parametrize('cpus', [1, 2, 4] if LONG else [4])
def test_requests_beside_a_hog(boot, cpus):
    """One after the other and 16 at once: none fails, nothing is left over."""
    vm = boot(cpus=cpus, append=QUIET, extra=TESTS, wait=('ip',))
    vm.cmd('spin &')
    url = f'http://127.0.0.1:{vm.port(80)}/README'
    subprocess.run(['curl', '-sf', '-o', '/dev/null', '--retry', '5', url], check=True, timeout=CAP)
    before = counts(vm)
    for many in ('1', '16'):
        done = subprocess.run(['ab', '-q', '-n', str(REQUESTS), '-c', many, url], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=CAP + REQUESTS)
        said = done.stdout.decode()
        assert f'Complete requests:      {REQUESTS}\n' in said and 'Failed requests:        0\n' in said, said
        assert 'Non-2xx' not in said
        print(re.search(r'Requests per second.*', said)[0])
    assert counts(vm) == before


def test_short_connections(boot):
    """More than there are pcbs, ended by either side: those in TIME-WAIT make room."""
    vm = boot(append=QUIET + ' msl=60000 rc=off ip=none', ports=(), extra=('-n', 'none', *TESTS), wait=())
    assert vm.cmd(f'load connects {CONNECTIONS}', CAP + CONNECTIONS / 10) == f'{CONNECTIONS} connections, 0 failed\n'
    rows = dict(re.findall(r'(\w+) (\d+)', vm.cmd('limits counts')))
    assert (rows['socks'], rows['segments']) == ('0', '0') and 300 < int(rows['pcbs']) <= 320


def test_bulk_both_ways_at_once(boot):
    """Each byte right, by SHA-256, and a reader that begins late."""
    vm = boot(append=QUIET, ports=(5010, 5011), extra=TESTS, wait=('ip',))
    before = counts(vm)
    vm.cmd('ttcp -r -l -p 5010 -b 65536 -s 2000 > got &')
    vm.cmd(f'ttcp -t -l -p 5011 -b 65536 -n {MIB} > sent &')
    block = os.urandom(1 << 20)
    sums = hashlib.sha256(), hashlib.sha256()

    def upload():
        with socket.create_connection(('127.0.0.1', vm.port(5010)), CAP) as s:
            for _ in range(MIB):
                s.sendall(block)
                sums[0].update(block)
            s.shutdown(socket.SHUT_WR)
            s.recv(1)

    up = threading.Thread(target=upload)
    up.start()
    with socket.create_connection(('127.0.0.1', vm.port(5011)), CAP) as s:
        while part := s.recv(1 << 16):
            sums[1].update(part)
    up.join()
    for name, total in zip(('got', 'sent'), sums):
        said = ''
        while 'sha256' not in said:
            said = vm.cmd(f'cat {name}')
        print(said.strip())
        assert f' {MIB << 20} bytes' in said and total.hexdigest() in said, said
    vm.cmd('rm got sent')
    assert counts(vm) == before


# ---- floods -------------------------------------------------------------


def syn(wire, src, sport, seq):
    """A SYN from anybody."""
    tcp = struct.pack('!HHIIBBHHH', sport, 80, seq, 0, 5 << 4, SYN, 65535, 0, 0)
    csum = checksum(src + wire.guest + struct.pack('!HH', 6, 20) + tcp)
    return wire.ipv4(6, tcp[:16] + struct.pack('!H', csum) + tcp[18:], src=src)


def test_syn_flood(cable):
    """10,000 SYNs of random sources that never answer: a client in between is served
    within 5 s each time, and the shell lives."""
    wire = cable(append=STATIC.replace('trace=all', 'trace=off'), wait=('ip',))
    vm, rng = wire.vm, random.Random(1)
    for n in range(200):
        for _ in range(50):
            wire.send(syn(wire, struct.pack('!I', rng.randrange(0x0b000000, 0x7e000000)), rng.randrange(1024, 65535),
                          rng.randrange(1 << 32)))
        while wire.receive(0):
            pass
        if n % 20 == 19:
            t = time.monotonic()
            get(wire, 30000 + n)
            assert time.monotonic() - t < 5 * float(os.environ.get('SLOW', 1))
            wire.got.clear()
    assert vm.cmd('echo alive') == 'alive\n'


def isns(wire, n):
    """The initial sequence numbers of n connections, of the same ports each time."""
    found = []
    for port in range(20000, 20000 + n):
        flow = Flow(wire, port, 80)
        flow.send(SYN, options=b'\2\4\5\xb4')
        found.append(flow.expect(SYN | ACK, 'SYN,ACK').tcp.seq)
        flow.send(RST)
    return found


def test_initial_sequence_numbers(cable):
    """10,000 over two boots: no constant step, another key each time (RFC 6528)."""
    runs = [isns(cable(append=STATIC.replace('trace=all', 'trace=off'), wait=('ip',)), 5000) for _ in range(2)]
    for run in runs:
        steps = collections.Counter((b - a) % 2**32 for a, b in zip(run, run[1:]))
        assert steps.most_common(1)[0][1] <= 3 and len(set(run)) > 4990
        high = collections.Counter(n >> 28 for n in run)
        assert len(high) == 16 and max(high.values()) < 2 * 5000 / 16
    steps = collections.Counter((b - a) % 2**32 for a, b in zip(*runs))
    assert steps.most_common(1)[0][1] <= 3


# ---- peers --------------------------------------------------------------


def test_peer_resets_before_accept(cable):
    """500 of them, and nobody accepts: no more wait than may, nothing is left."""
    wire = cable()
    get(wire, 8999)
    before = counts(wire.vm)
    wire.vm.send('load hold 81\n')
    wire.vm.expect('listening')
    for n in range(500):
        flow = Flow(wire, 10000 + n, 81).open()
        flow.send(RST | ACK)
    get(wire, 9000)
    said = wire.vm.output()
    assert 'WRONG' not in said
    wire.vm.key('\n')
    wire.vm.expect(r'read 0 bytes\n\$ ')
    assert counts(wire.vm) == before


def test_all_pcbs_in_use(cable):
    """More connections than pcbs, all held open; when they go, a client is served at once."""
    wire = cable(append=STATIC.replace('trace=all', 'trace=off'), wait=('ip',))
    get(wire, 8999)
    before = counts(wire.vm)
    flows = []
    for n in range(400):
        flow = Flow(wire, 10000 + n, 80)
        flow.send(SYN, options=b'\2\4\5\xb4')
        answer = wire.find(flow.mine, 0.05 if n > 30 else 5)
        if answer:
            flow.ack = answer.tcp.seq + 1
            flow.send(ACK)
            flows.append(flow)
        elif n - len(flows) > 10:
            break  # full
    assert len(flows) >= 32
    for flow in flows:
        flow.send(RST | ACK)
    wire.got.clear()
    get(wire, 9000)
    assert counts(wire.vm) == before


def test_receive_buffers_in_use(cable):
    """A reader that does not read gets bytes one by one, more than there are buffers:
    everybody else is served meanwhile, and it gets every byte in the end."""
    wire = cable(append=STATIC.replace('trace=all', 'trace=off'), wait=('ip',))
    get(wire, 8999)
    before = counts(wire.vm)
    wire.vm.send('load deaf 81\n')
    wire.vm.expect('listening')
    flow = Flow(wire, 10000, 81).open()
    for n in range(2000):
        flow.send(PSH | ACK, b'x')
        if n % 100 == 99:
            wire.expect(lambda p: flow.mine(p) and p.tcp.ack == flow.seq, f'the ACK of byte {n + 1}')
            wire.got.clear()
    get(wire, 9000)
    wire.vm.key('\n')
    flow.send(FIN | ACK)
    wire.vm.expect(r'read 2000 bytes\n\$ ')
    wire.expect(lambda p: flow.mine(p) and p.tcp.flags & FIN, 'a FIN')
    flow.ack = flow.ack + 1
    flow.send(ACK)
    assert counts(wire.vm) == before


def test_simultaneous_close(cable):
    """Both FINs cross: CLOSING, then TIME-WAIT, in four frames."""
    wire = cable()
    wire.vm.send('tcp 10.9.0.1 5555 hello\n')
    flow = Flow(wire, 5555, 0).accept()
    fin = wire.expect(lambda p: flow.mine(p) and p.tcp.flags & FIN, 'the FIN')
    flow.send(FIN | ACK, ack=fin.tcp.seq + len(fin.data))  # sent before theirs came
    flow.ack = (fin.tcp.seq + len(fin.data) + 1) % 2**32
    answer = wire.expect(lambda p: flow.mine(p) and p.tcp.seq == flow.ack, 'the ACK of our FIN')
    assert (answer.tcp.flags, answer.tcp.ack) == (ACK, flow.seq)
    wire.vm.wait_event('tcp_state to=CLOSING')
    wire.got.clear()
    flow.send(ACK)
    wire.vm.wait_event('tcp_state from=CLOSING to=TIME_WAIT')
    wire.silent(flow.mine, 'segment more')
    wire.vm.expect(r'\$ ')


def test_window_closed_by_the_peer(cable):
    """Not a byte beyond it; a probe, then the rest once it opens."""
    wire = cable()
    wire.vm.send('ttcp -t -p 5555 -n 1 -q 10.9.0.1\n')
    syn_ = wire.expect(lambda p: p.tcp and p.tcp.dport == 5555 and p.tcp.flags == SYN, 'a SYN')
    flow = Flow(wire, 5555, syn_.tcp.sport)
    flow.ack = (syn_.tcp.seq + 1) % 2**32
    flow.send(SYN | ACK, options=b'\2\4\5\xb4', wnd=2920)
    total, wnd, probes = 0, 2920, 0
    while total < 1 << 20:
        p = wire.expect(flow.mine, f'data behind byte {total}')
        if p.tcp.seq != flow.ack:
            continue
        if len(p.data) > wnd:
            assert wnd == 0 and len(p.data) == 1
            probes += 1
            wnd = 2920 if probes < 2 else 60000  # it asked: there is room now
            flow.send(ACK, wnd=wnd)
            continue
        total += len(p.data)
        flow.ack = (flow.ack + len(p.data) + (p.tcp.flags & FIN)) % 2**32
        wnd -= len(p.data)
        if probes == 2:
            wnd = 60000
        flow.send(ACK, wnd=wnd)
    assert probes == 2
    if not p.tcp.flags & FIN:  # the program ended after its last bytes had left
        wire.expect(lambda q: flow.mine(q) and q.tcp.flags & FIN, 'a FIN')
        flow.ack = (flow.ack + 1) % 2**32
    flow.send(FIN | ACK)
    wire.vm.expect(r'sent 1048576 bytes.*\$ ')


# Virtual time runs as fast as nothing happens: minutes of silence are a second here.
VIRTUAL = dict(cpus=1, extra=(*TESTS, '-D'), append=STATIC + ' rc=off', wait=('ip',))


def said_after(wire, pattern_, least, most):
    seconds = int(wire.vm.expect(pattern_ + r' after (\d+) s\n').group(1))
    assert least <= seconds <= most


def test_peers_that_vanish(cable):
    """One that is not there at all is given up by connect; one that goes away is found
    by probes when nothing is sent, and by retransmissions when something is."""
    wire = cable(**VIRTUAL)
    wire.vm.send('load quiet 10.9.0.1 5557\n')
    said_after(wire, 'connect timed out', 15, 22)
    wire.vm.send('load quiet 10.9.0.1 5555\n')
    flow = Flow(wire, 5555, 0).accept()
    flow.send(PSH | ACK, b'the last words')
    flow.expect(ACK, 'their ACK', b'')
    probes = [wire.expect(flow.mine, f'probe {n}') for n in range(3)]
    assert all(p.tcp.seq == flow.ack - 1 and len(p.data) <= 1 for p in probes)
    said_after(wire, 'timed out', 9, 12)
    wire.expect(lambda p: flow.mine(p) and p.tcp.flags & RST, 'a reset')
    if 'DEBUG' in os.environ:
        return  # what follows takes half an hour of virtual time
    wire.vm.send('load unheard 10.9.0.1 5556\n')
    flow = Flow(wire, 5556, 0).accept()
    said_after(wire, 'timed out', 60, 4000)  # twelve times, each after a longer wait
