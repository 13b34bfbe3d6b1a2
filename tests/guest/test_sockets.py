"""Socket calls as programs see them: results by number, blocking, ends, limits, and
the five old calls.

The checks themselves are in prog/sockets.c, which talks to itself over loopback and
reports each wrong result as WRONG; here it is run, and the trace read for what a
program cannot see.  The guest has no card.
"""

import os
import re
import socket
import subprocess
import threading

import pytest

from vm import BUILD, CAP, NETTRACE, VM

HOST = '127.0.0.1'
TESTS = ('-i', os.path.join(BUILD, 'tests.img'))
TRACE = 'trace=all,-func,-pbuf_*,-frame,-sys_*,-switch,-sleep,-wakeup trace_slots=131072'
CHECK = ('check', '--ends', '--max-lost', '0', '--no-drop', 'NOT_SPECIFIED')

# Each case, and how many checks it makes at least: fewer would be a case cut short.
CASES = {'errors': 33, 'pointers': 107, 'names': 14, 'nonblocking': 32, 'polling': 27, 'stream': 10,
         'halfclose': 34, 'resets': 30, 'early': 140, 'backlog': 18, 'shared': 27, 'killed': 60,
         'limits': 190, 'five': 30, 'options': 150, 'udp': 45, 'icmp': 11, 'bothfull': 12}


@pytest.fixture(scope='module', params=[1, 2], ids='smp{}'.format)
def loopback(request):
    vm = VM(cpus=request.param, append=TRACE, ports=(), extra=('-n', 'none', *TESTS), wait=('tcp_state to=LISTEN',),
            name='sockets')
    vm.start()
    yield vm
    vm.stop()
    vm.check()
    vm.remove()


def test_list_is_complete(loopback):
    assert loopback.cmd('sockets').split() == list(CASES)


@pytest.mark.parametrize('case', CASES)
def test_case(loopback, case):
    del loopback.steps[1:]
    said = loopback.cmd(f'sockets {case}')
    found = re.fullmatch(rf'{case}: (\d+) checks\n', said)
    assert found, said
    assert int(found.group(1)) >= CASES[case]


def test_every_packet_has_one_end(boot):
    """No packet of all the cases is left over, or ended without a reason."""
    vm = boot(append='msl=1000 ' + TRACE, ports=(), extra=('-n', 'none', *TESTS), wait=('tcp_state to=LISTEN',))
    for case in ('errors', 'names', 'halfclose', 'resets', 'early', 'shared', 'five', 'udp', 'icmp'):
        vm.cmd(f'sockets {case}')
    vm.cmd('echo done')
    done = subprocess.run([NETTRACE, *CHECK, vm.dir], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=CAP)
    assert done.returncode == 0, done.stdout.decode()


def test_sockets_die_with_their_process(boot):
    """What a killed process held is gone: no socket but the web server's is left."""
    vm = boot(append='msl=1000 ' + TRACE, ports=(), extra=('-n', 'none', *TESTS), wait=('tcp_state to=LISTEN',))
    vm.cmd('sockets killed')
    rows = [row for row in vm.events() if row['event'] == 'sock_state']
    alive = {}
    for row in rows:
        alive[row['sock']] = row['to']
    assert sorted(state for state in alive.values() if state != 'CLOSED') == ['LISTENING']


# ---- the five old calls, from a real client -----------------------------


@pytest.fixture(scope='module')
def old():
    with VM(ports=(80, 8080), extra=TESTS, name='five') as vm:
        vm.cmd('serve5 8080 &')
        vm.wait_event('tcp_state to=LISTEN lport=8080')
        yield vm


def fetch(vm, path, *options):
    done = subprocess.run(['curl', '-sS', '-f', '--max-time', str(int(CAP)), *options,
                           f'http://{HOST}:{vm.port(8080)}/{path}'], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b''), done
    return done.stdout


def test_five_calls_50_requests_in_a_row(old):
    for n in range(50):
        assert fetch(old, f'page{n}') == b'GET /page%d HTTP/1.1' % n


def test_five_calls_16_clients_at_once(old):
    """One at a time is served, nobody is turned away."""
    wrong = []

    def client(n):
        try:
            if fetch(old, f'client{n}') != b'GET /client%d HTTP/1.1' % n:
                wrong.append(n)
        except AssertionError as why:  # the thread must tell, not die
            wrong.append(why)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []


def test_five_calls_request_longer_than_the_buffer(old):
    """The reply survives, although the server never reads the rest."""
    for _ in range(5):
        assert fetch(old, 'post', '--data-binary', 60000 * 'x') == b'POST /post HTTP/1.1'


def test_five_calls_bad_clients_cost_only_their_own_time(old):
    with socket.create_connection((HOST, old.port(8080)), CAP) as s:
        s.close()
    with socket.create_connection((HOST, old.port(8080)), CAP) as s:
        s.sendall(b'GET /gone HTTP/1.0\r\n\r\n')
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')  # ends with a reset
    assert fetch(old, 'after') == b'GET /after HTTP/1.1'
