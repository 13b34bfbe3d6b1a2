"""The network's programs, as a Unix user at the prompt expects them, against real
clients and servers on the host: iperf 2, Python's sockets, Python's http.server."""

import functools
import hashlib
import http.server
import os
import re
import socket
import struct
import subprocess
import threading
import time

import pytest

from vm import BUILD, CAP, NETTRACE, VM

HOST = '127.0.0.1'
ROOT = '10.0.2.2'  # the host, as the guest sees it through user networking
PROGRAMS = ('arp fetch host httpd ifconfig iperf nc netstat ping sleep ttcp udpecho').split()
TCP, UDP = (80, 5001, 5010, 7, 9000, 8080), (5001, 9000, 7)


class OpenVM(VM):
    """A guest that may also call the host (the usual one only answers)."""

    def __init__(self, ports, udp, **options):
        words = [f'hostfwd={kind}:{HOST}:0-:{n}' for kind, numbers in (('tcp', ports), ('udp', udp)) for n in numbers]
        options['extra'] = ('-n', ','.join(['user', *words]), *options['extra'])
        super().__init__(ports=(), wait=('ip', 'e1000_rx', 'tcp_state to=LISTEN'), **options)

    def port(self, guest, proto='tcp'):
        said = subprocess.run([NETTRACE, 'monitor', '-d', self.dir, 'info usernet'], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, check=True, timeout=CAP).stdout.decode()
        return int(re.search(rf'{proto.upper()}\[HOST_FORWARD\] +\d+ +\S+ +(\d+) +\S+ +{guest} ', said).group(1))


@pytest.fixture(scope='module')
def guest():
    vm = OpenVM(cpus=2, name='netprogs', ports=TCP, udp=UDP, append='msl=1000',
                extra=('-i', os.path.join(BUILD, 'tests.img')))
    vm.start()
    yield vm
    vm.stop()
    vm.check()
    vm.remove()


@pytest.fixture
def vm(guest):
    del guest.steps[1:]
    return guest


def settle(vm, program):
    """Wait until a program in the background is where it wants to be."""
    for _ in range(200):
        if f' {program}\n' in vm.cmd('netstat -a'):
            return
        time.sleep(0.05)
    vm.fail(f'{program} has a socket', vm.cmd('netstat -a'))


class Background:
    """A program of the guest in the background, its output in a file."""

    def __init__(self, vm, line, program=None):
        self.vm, self.program = vm, program or line.split()[0]
        self.file = f'out-{self.program}'
        vm.cmd(f'{line} > {self.file} &')
        settle(vm, self.program)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.vm.cmd(f'kill {self.program}')

    def said(self, pattern):
        """Wait for pattern in the output; the match."""
        for _ in range(200):
            text = self.vm.cmd(f'cat {self.file}')
            if hit := re.search(pattern, text, re.M):
                return hit
            time.sleep(0.05)
        self.vm.fail(pattern, text)


class Peer(threading.Thread):
    """A server on the host: serve(connection) in a thread, for so many connections."""

    def __init__(self, serve, times=1, kind=socket.SOCK_STREAM):
        super().__init__(daemon=True)
        self.serve, self.times, self.result = serve, times, None
        self.sock = socket.socket(socket.AF_INET, kind)
        self.sock.settimeout(CAP)
        self.sock.bind((HOST, 0))
        self.port = self.sock.getsockname()[1]
        if kind == socket.SOCK_STREAM:
            self.sock.listen(8)
        self.start()

    def run(self):
        for _ in range(self.times):
            if self.sock.type == socket.SOCK_DGRAM:
                self.result = self.serve(self.sock)
                continue
            conn, _ = self.sock.accept()
            with conn:
                conn.settimeout(CAP)
                self.result = self.serve(conn)
        self.sock.close()

    def done(self):
        self.join(CAP)
        assert not self.is_alive()
        return self.result


def everything(conn):
    parts = []
    while part := conn.recv(65536):
        parts.append(part)
    return b''.join(parts)


def answering(*pieces):
    def serve(conn):
        request = b''
        while b'\r\n\r\n' not in request:
            request += conn.recv(4096)
        for piece in pieces:
            conn.sendall(piece)
        return request
    return serve


def script(vm, lines):
    """Bring lines into the guest as the file "lines", faster than by typing."""
    text = '\n'.join(lines) + '\n'
    peer = Peer(answering(f'HTTP/1.0 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}'.encode()))
    assert 'status 200' in vm.cmd(f'fetch -o lines {ROOT}:{peer.port}')


def batch(vm, lines):
    """What each line prints."""
    script(vm, [f'{line}; echo ~' for line in lines])
    said = vm.cmd('sh lines').split('~\n')
    assert len(said) == len(lines) + 1 and said[-1] == '', said
    return said[:-1]


def rate(text):
    return float(re.search(r'([\d.]+) [KMG]?bits/sec', text).group(1))


def run(*args):
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=CAP)
    assert done.returncode == 0, done.stdout
    return done.stdout.decode()


# ---- all of them --------------------------------------------------------


def test_manual(vm):
    """-h is the manual, on standard output and no error."""
    for name, said in zip(PROGRAMS, batch(vm, [f'status {name} -h' for name in PROGRAMS])):
        assert said.startswith(f'usage: {name}') and said.endswith('status 0\n') and said.count('\n') > 2, said
    for name, said in zip(PROGRAMS, batch(vm, [f'{name} -h | cat | wc' for name in PROGRAMS])):
        assert int(said.split()[0]) > 1, said


def test_misuse(vm):
    """Nonsense: what it was, one line of usage, status 2."""
    for name, said in zip(PROGRAMS, batch(vm, [f'status {name} -Z' for name in PROGRAMS])):
        assert re.fullmatch(rf'{name}: no option -Z\nusage: {name}.*\nstatus 2\n', said), said


ERRORS = [
    ('ping', 'usage: ping', 2),
    ('ping -s 8193 127.0.0.1', 'ping: 8193: want a number from 0 to 8192', 2),
    ('ping -c x 127.0.0.1', 'ping: x: want a number', 2),
    ('ping -c', 'ping: -c wants a value', 2),
    ('nc 127.0.0.1', 'usage: nc', 2),
    ('nc 127.0.0.1 99999', 'nc: 99999: want a number', 2),
    ('nc 127.0.0.1 9', 'nc: 127.0.0.1: connection refused', 1),
    ('nc -l 80', 'nc: port: address in use|nc: listen: address in use', 1),
    ('fetch https://127.0.0.1/', 'fetch: https is not spoken here', 1),
    ('fetch ftp://127.0.0.1/', 'fetch: ftp is not spoken here', 1),
    ('fetch http://:80/', 'fetch: want an address', 1),
    ('fetch h', 'fetch: h: ', 1),
    ('fetch http://127.0.0.1:9/', 'fetch: 127.0.0.1: connection refused', 1),
    ('fetch -o dev http://127.0.0.1/', 'fetch: dev: the output must be a plain file', 1),
    ('fetch -o /nosuch/x http://127.0.0.1/', 'fetch: /nosuch/x: cannot make the file', 1),
    ('fetch -n 2 -o x http://127.0.0.1/', 'usage: fetch', 2),
    ('arp -d 10.0.2', 'arp: want an address', 1),
    ('arp -d 10.0.2.77', 'arp: 10.0.2.77: not found', 1),
    ('arp -s 10.0.2.77 52:54:00:12:34', 'arp: want a MAC', 1),
    ('arp extra', 'usage: arp', 2),
    ('ifconfig en7', 'ifconfig: en7: no such device', 1),
    ('ifconfig en7 up', 'ifconfig: en7: no such device', 1),
    ('ifconfig lo0 down', 'ifconfig: lo0: operation not supported', 1),
    ('ifconfig en0 sideways', 'usage: ifconfig', 2),
    ('ifconfig en0 10.0.2.15/33', 'ifconfig: 33: want a number from 0 to 32', 2),
    ('ifconfig en0 127.0.0.1/8', 'ifconfig: 127.0.0.1/8: an address of a network', 1),
    ('ifconfig en0 10.0.2.0/24', 'ifconfig: 10.0.2.0/24: an address of a network', 1),
    ('ifconfig en0 10.0.2.255/24', 'ifconfig: 10.0.2.255/24: an address of a network', 1),
    ('ifconfig en0 224.0.0.1/4', 'ifconfig: 224.0.0.1/4: an address of a network', 1),
    ('ifconfig en0 255.255.255.255/32', 'ifconfig: 255.255.255.255/32: an address of a network', 1),
    ('ifconfig en0 10.0.2.15/24 gw', 'ifconfig: want an address', 1),
    ('netstat -r -s', 'usage: netstat', 2),
    ('netstat -a x', 'usage: netstat', 2),
    ('ttcp -r', 'usage: ttcp', 2),
    ('ttcp -t 127.0.0.1', 'ttcp: 127.0.0.1: connection refused', 1),
    ('iperf', 'usage: iperf', 2),
    ('iperf -s -c 127.0.0.1', 'usage: iperf', 2),
    ('iperf -c 127.0.0.1 -p 9', 'iperf: 127.0.0.1: connection refused', 1),
    ('udpecho 0', 'udpecho: 0: want a number', 2),
    ('udpecho -t 80', 'udpecho: port: address in use', 1),
    ('httpd', 'httpd: port 80: address in use', 1),
    ('httpd -r nosuch', 'httpd: nosuch: no such directory', 1),
    ('httpd -p', 'httpd: -p wants a value', 2),
    ('sleep 1.5', 'sleep: 1.5: want a number', 2),
]


def test_errors(vm):
    """name: what: reason; and a status."""
    for (line, words, status), said in zip(ERRORS, batch(vm, [f'status {line}' for line, _, _ in ERRORS])):
        assert re.match(words, said) and said.endswith(f'\nstatus {status}\n'), (line, said)


@pytest.mark.parametrize('line', ['ping -c 0 -q 127.0.0.1', 'nc -l 9000', 'iperf -s', 'udpecho', 'ttcp -r -l',
                                  'nc 127.0.0.1 80'])
def test_interrupted(vm, line):
    """Ctrl-C ends each, and its port is free at once."""
    for _ in range(2):
        vm.send(line + '\n')
        vm.expect('\n')
        time.sleep(0.1)
        vm.key('\x03')
        vm.expect(r'^\$ ')
    assert f" {line.split()[0]}\n" not in vm.cmd('netstat -a')


# ---- ping ---------------------------------------------------------------


def test_ping(vm):
    said = vm.cmd(f'status ping -c 3 -i 10 {ROOT}')
    rows = said.splitlines()
    assert rows[0] == f'ping {ROOT} ({ROOT}): 56 data bytes'
    for n in range(3):
        assert re.fullmatch(rf'64 bytes from {ROOT}: icmp_seq={n} ttl=255 time=\d+\.\d\d\d ms', rows[1 + n])
    assert rows[4] == f'--- {ROOT}: 3 sent, 3 received, 0 lost'
    low, mid, high = map(int, re.fullmatch(r'round trip min (\d+) avg (\d+) max (\d+) us', rows[5]).groups())
    assert 0 < low <= mid <= high and rows[6] == 'status 0'


def test_ping_all_sizes(vm):
    """With fragments, to ourselves and through the card."""
    lines = [f'ping -q -c 3 -i 0 -s {size} {host}' for size in (0, 1, 1472, 1473, 2960, 2961, 5000, 8192)
             for host in ('127.0.0.1', 'localhost', '10.0.2.15', ROOT)]
    for line, said in zip(lines, batch(vm, lines)):
        assert '3 sent, 3 received, 0 lost\n' in said and 'other bytes' not in said, (line, said)


def test_ping_nobody(vm):
    said = vm.cmd('status ping -c 2 -i 0 -w 100 10.0.2.99')
    assert said.count('no reply to icmp_seq=') == 2 and '2 sent, 0 received, 2 lost' in said
    assert said.endswith('status 1\n') and 'round trip' not in said


# ---- nc -----------------------------------------------------------------


def test_nc_client(vm):
    """Input, half close, output: the end of each is the end of the other."""
    def reverse(conn):
        got = everything(conn)
        conn.sendall(got[::-1])
        return got
    peer = Peer(reverse)
    said = vm.cmd(f'status nc {ROOT} {peer.port} < README')
    with open(os.path.join(os.path.dirname(__file__), '../../user/fs/README'), 'rb') as f:
        assert peer.done() == f.read()
    assert said == peer.result[::-1].decode() + 'status 0\n'


def test_nc_echo_of_more_than_all_buffers(vm):
    """The peer sends back while we send: neither waits for the other."""
    def echo(conn):
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        total = 0
        while part := conn.recv(1000):
            conn.sendall(part)
            total += len(part)
        return total
    peer = Peer(echo)
    said = vm.cmd(f'(cat sysfuzz sysfuzz sysfuzz sysfuzz; cat nettop nettop nettop nettop) | nc {ROOT} {peer.port} | wc')
    assert int(said.split()[2]) == peer.done() > 200000


def test_nc_listen(vm):
    with Background(vm, 'echo from the guest | nc -l -v 9000', 'nc') as nc:
        with socket.create_connection((HOST, vm.port(9000)), CAP) as conn:
            conn.sendall(b'from the host\n')
            assert conn.recv(100) == b'from the guest\n'
            assert conn.recv(100) == b''
            conn.sendall(b'still open\n')
        nc.said('from the host\nstill open\n')
    assert 'nc: listening at TCP port 9000\n' in vm.output()
    assert ' nc\n' not in vm.cmd('netstat -a')


def test_nc_reset(vm):
    def reset(conn):
        conn.recv(1)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    said = vm.cmd(f'status nc {ROOT} {Peer(reset).port} < README')
    assert said == 'nc: receive: connection reset\nstatus 1\n'


def test_nc_silence(vm):
    peer = Peer(lambda conn: everything(conn))
    assert vm.cmd(f'status nc -w 1 {ROOT} {peer.port}') == 'nc: silence: timed out\nstatus 1\n'
    assert peer.done() == b''


def test_nc_udp(vm):
    def answer(sock):
        data, who = sock.recvfrom(2000)
        sock.sendto(b'got ' + data, who)
    peer = Peer(answer, kind=socket.SOCK_DGRAM)
    assert vm.cmd(f'echo hello | nc -u {ROOT} {peer.port}') == 'got hello\n'
    with Background(vm, 'nc -u -l 9000'), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect((HOST, vm.port(9000, 'udp')))
        s.send(b'one\n')
        for _ in range(100):
            if vm.cmd('cat out-nc') == 'one\n':
                break
        s.send(b'two\n')
        for _ in range(100):
            if vm.cmd('cat out-nc') == 'one\ntwo\n':
                return
    assert vm.cmd('cat out-nc') == 'one\ntwo\n'


def test_nc_reader_leaves(vm):
    """A pipe whose reader is gone ends nc, with a word."""
    peer = Peer(lambda conn: conn.sendall(b'x' * 50000))
    said = vm.cmd(f'nc {ROOT} {peer.port} | echo')
    assert said in ('\n', '\nnc: cannot write to standard output\n', 'nc: cannot write to standard output\n\n')


def test_nc_and_the_web_server(vm):
    assert vm.cmd('echo hi | nc 127.0.0.1 80').startswith('HTTP/1.1 400 Bad Request\r\n')


@pytest.mark.parametrize('left, path, status', [(0, '/rc', 503), (0, '/', 503), (1, '/', 503), (1, '/?list', 503),
                                                (1, '/rc', 200), (2, '/', 200), (2, '/nosuch', 404)])
def test_httpd_without_files(vm, left, path, status):
    """Not one file left in the system: no half answer, and not "no such page"."""
    with socket.create_connection((HOST, vm.port(80)), CAP) as conn:
        conn.settimeout(CAP)
        conn.sendall(b'GET ')
        for _ in range(100):
            if 'ESTABLISHED' in vm.cmd('netstat'):
                break
        vm.send(f'nofiles {left}\n')
        vm.expect('^full$')
        conn.sendall(f'{path} HTTP/1.0\r\n\r\n'.encode())
        head = everything(conn)
        vm.send('\n')
        vm.expect(r'^\$ ')
    assert head.startswith(b'HTTP/1.1 %d ' % status), head[:200]


# ---- fetch --------------------------------------------------------------


def test_fetch_from_python(vm, tmp_path):
    """A real server: files of every size, a missing one; and no part of a file is left."""
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *_):
            pass
    (tmp_path / 'page').write_bytes(bytes(range(256)) * 200)
    (tmp_path / 'empty').write_bytes(b'')
    with http.server.ThreadingHTTPServer((HOST, 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f'http://{ROOT}:{server.server_address[1]}'
        said = vm.cmd(f'status fetch -o fetched {base}/page')
        assert re.fullmatch(r'fetch: 1 x status 200, 51200 bytes, \d+\.\d{3} ms, \d+\.\d{3} Mbit/s\nstatus 0\n', said)
        assert vm.cmd('wc fetched').split()[2] == '51200'
        assert vm.cmd(f'status fetch -o fourteen-chars {base}/page').endswith('status 0\n')
        assert vm.cmd('wc fourteen-chars').split()[2] == '51200'
        assert '0 bytes' in vm.cmd(f'fetch {base}/empty')
        said = vm.cmd(f'status fetch -o missing {base}/nosuch')
        assert 'status 404' in said and said.endswith('\nstatus 1\n')
        assert 'fetch: 20 x status 200, 1024000 bytes' in vm.cmd(f'fetch -n 20 {base}/page')
        server.shutdown()
    assert 'missing' not in vm.cmd('ls') and '~' not in vm.cmd('ls')


OK = b'HTTP/1.0 200 OK\r\n'


ODD = [
    ((OK + b'\r\n', b'to the end'), 'to the end', 0),
    ((OK[:7], OK[7:] + b'Content-Le', b'ngth: 3\r\n\r', b'\nabc'), 'abc', 0),
    ((OK + b'CONTENT-LENGTH:3\r\n\r\nabcdef',), 'abc', 0),
    ((OK + b'Content-Length: 5\r\n\r\nabc',), 'abcfetch: 3 of 5 bytes came', 1),
    ((OK + b'Content-Length: -5\r\n\r\nabc',), 'fetch: a content length that makes no sense', 1),
    ((OK + b'Content-Length: 99999999999\r\n\r\nabc',), 'fetch: a content length that makes no sense', 1),
    ((OK + b'X: ' + b'x' * 5000 + b'\r\n\r\nabc',), 'fetch: a header of more than 4096 bytes', 1),
    ((b'HTTP/1.1 404 No\r\nContent-Length: 3\r\n\r\nno\n',), 'no\nfetch: 1 x status 404, 3 bytes', 1),
    ((b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',),
     'fetch: the server answers in chunks, which HTTP/1.0 does not know', 1),
    ((b'220 mail ready\r\n\r\n',), 'fetch: the server does not speak HTTP', 1),
    ((b'HTTP/1.0 200 OK\r\nX: y',), 'fetch: the server closed within its header', 1),
    ((), 'fetch: the server closed without an answer', 1),
]


def test_fetch_odd_answers(vm):
    peers = [Peer(answering(*answer)) for answer, _, _ in ODD]
    lines = [f'status fetch {ROOT}:{peer.port}/a?b' for peer in peers]
    for (_, words, status), peer, said in zip(ODD, peers, batch(vm, lines)):
        assert said.startswith(words) and said.endswith(f'status {status}\n'), (words, said)
        assert peer.done().startswith(b'GET /a?b HTTP/1.0\r\nHost: 10.0.2.2\r\n')


def test_fetch_leaves_nothing_half(vm):
    peer = Peer(answering(OK + b'Content-Length: 9\r\n\r\nabc'))
    vm.cmd('echo old > kept')
    vm.cmd(f'fetch -o kept {ROOT}:{peer.port}')
    assert vm.cmd('cat kept') == 'old\n'
    silent = Peer(lambda conn: everything(conn))
    assert vm.cmd(f'status fetch -w 1 -o kept {ROOT}:{silent.port}') == 'fetch: receive: timed out\nstatus 1\n'
    assert vm.cmd('cat kept') == 'old\n' and '~' not in vm.cmd('ls')


# ---- iperf --------------------------------------------------------------


def test_iperf_server_tcp(vm):
    with Background(vm, 'iperf -s') as server:
        port = str(vm.port(5001))
        said = run('iperf', '-c', HOST, '-p', port, '-n', '2M')
        assert rate(said) > 0
        server.said(r'^10\.0\.2\.2 0\.00-\S+ sec  2097\d\d\d bytes  \S+ Mbit/s$')
        said = run('iperf', '-c', HOST, '-p', port, '-n', '300K', '-P', '3')
        assert len(re.findall(r'^\[ *\d\] .*bits/sec', said, re.M)) == 3 and '[SUM]' in said
        said = run('iperf', '-c', HOST, '-p', port, '-n', '2M', '-R')
        assert rate(said) > 0
        server.said(r'(?s)(.*Mbit/s\n){5}')


def test_iperf_server_udp(vm):
    with Background(vm, 'iperf -s -u') as server:
        said = run('iperf', '-u', '-c', HOST, '-p', str(vm.port(5001, 'udp')), '-b', '4M', '-t', '1')
        assert 'Server Report' in said and 'did not receive ack' not in said, said
        lost, total = map(int, re.search(r'(\d+)/ *(\d+) \(', said).groups())
        assert lost < total / 4 and total > 300  # a burst longer than the socket's queue may lose some
        mine = server.said(r'(\d+) bytes .* jitter \S+ ms  lost (\d+) of (\d+)$')
        assert [int(word) for word in mine.groups()] == [(total - lost) * 1470, lost, total]


class RealServer:
    """iperf -s on the host, at a free port."""

    def __init__(self, *args):
        with socket.socket() as s:
            s.bind((HOST, 0))
            self.port = s.getsockname()[1]
        self.proc = subprocess.Popen(['iperf', '-s', '-p', str(self.port), *args], stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT)
        time.sleep(0.3)

    def end(self):
        self.proc.terminate()
        return self.proc.communicate(timeout=CAP)[0].decode()


def test_iperf_client_tcp(vm):
    server = RealServer()
    said = vm.cmd(f'status iperf -c {ROOT} -p {server.port} -n 2M')
    assert re.fullmatch(r'sent 0\.00-\S+ sec  20000\d\d bytes  \S+ Mbit/s\nstatus 0\n', said), said
    said = vm.cmd(f'iperf -c {ROOT} -p {server.port} -t 1 -R')
    assert re.fullmatch(r'received 0\.00-\S+ sec  \d{6,} bytes  \S+ Mbit/s\n', said), said
    assert 'its/sec' in server.end()


def test_iperf_client_udp(vm):
    server = RealServer('-u')
    said = vm.cmd(f'iperf -u -c {ROOT} -p {server.port} -t 1 -b 4M')
    sent = int(re.search(r'(\d+) datagrams', said).group(1))
    assert 300 < sent < 400, said
    mine = re.search(r'^server: received .* lost (\d+) of (\d+)$', said, re.M)
    assert mine and abs(int(mine.group(2)) - sent) <= 1 and int(mine.group(1)) < sent / 4, said
    assert 'its/sec' in server.end()


# ---- ttcp, udpecho ------------------------------------------------------


@functools.lru_cache
def pattern(size):
    """What ttcp sends."""
    return bytes((k * 2654435761 % 2**32) >> 24 for k in range(size))


def test_ttcp(vm):
    data = pattern(1 << 20)
    digest = hashlib.sha256(data).hexdigest()
    peer = Peer(everything)
    said = vm.cmd(f'ttcp -t -n 1 -p {peer.port} {ROOT}')
    assert said.startswith('sent 1048576 bytes') and said.endswith(f'sha256 {digest}\n') and peer.done() == data
    peer = Peer(lambda conn: conn.sendall(data))
    said = vm.cmd(f'ttcp -r -s 300 -b 1000 -p {peer.port} {ROOT}')
    assert said.startswith('received 1048576 bytes') and said.endswith(f'sha256 {digest}\n')
    with Background(vm, 'ttcp -t -l -n 1'), socket.create_connection((HOST, vm.port(5010)), CAP) as conn:
        assert everything(conn) == data
    with Background(vm, 'ttcp -r -l') as sink:
        with socket.create_connection((HOST, vm.port(5010)), CAP) as conn:
            conn.sendall(data[:100001])
        sink.said(f'received 100001 bytes.*{hashlib.sha256(data[:100001]).hexdigest()}$')


def test_echo(vm):
    with Background(vm, 'udpecho 9000', 'udpecho'), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(CAP)
        s.connect((HOST, vm.port(9000, 'udp')))
        for size in (1, 1472, 1473, 9000):
            s.send(pattern(size))
            assert s.recv(65536) == pattern(size)
    with Background(vm, 'udpecho -t', 'udpecho'):
        conns = [socket.create_connection((HOST, vm.port(7)), CAP) for _ in range(32)]
        for n, conn in enumerate(conns):
            conn.sendall(b'%d' % n)
        for n, conn in enumerate(conns):
            assert conn.recv(100) == b'%d' % n
            conn.close()


# ---- arp, netstat, ifconfig, host ---------------------------------------


def test_arp(vm):
    vm.cmd(f'ping -q -c 1 {ROOT}')
    assert re.search(r'^10\.0\.2\.2 +52:55:0a:00:02:02  en0$', vm.cmd('arp'), re.M)
    assert vm.cmd('status arp -s 10.0.2.77 02:00:00:00:00:77') == 'status 0\n'
    assert '10.0.2.77        02:00:00:00:00:77  en0\n' in vm.cmd('arp')
    said = vm.cmd(f'arp -d 10.0.2.77; arp -d {ROOT}; arp')
    assert '10.0.2.77' not in said and f'{ROOT} ' not in said
    assert '1 received' in vm.cmd(f'ping -q -c 1 {ROOT}')


def test_ifconfig(vm):
    said = vm.cmd('ifconfig')
    assert re.search(r'^en0: up, link up, mtu 1500\n +mac 52:54:00:12:34:56\n +address 10\.0\.2\.15/24 \(dhcp\)\n'
                     r' +gateway 10\.0\.2\.2\n +received [1-9]\d* packets', said, re.M)
    assert re.search(r'^lo0: up, link up\n +address 127\.0\.0\.1/8 \(itself\)\n +received', said, re.M)
    assert vm.cmd('ifconfig en0') in said


def counters(vm):
    return {name: int(n) for name, n in map(str.split, vm.cmd('netstat -s').splitlines())}


def test_netstat(vm):
    pid = re.search(r'^ *(\d+) .*httpd', vm.cmd('ps'), re.M).group(1)
    said = vm.cmd('netstat -an')
    assert re.search(rf'^tcp +0 +0 +\*:80 +\*:\* +LISTEN +{pid} httpd$', said, re.M), said
    with socket.create_connection((HOST, vm.port(80)), CAP) as conn, Background(vm, 'udpecho'):
        conn.sendall(b'GET / HT')
        for _ in range(100):
            said = vm.cmd('netstat')
            if 'ESTABLISHED' in said:
                break
        assert re.search(rf'^tcp +0 +0 +10\.0\.2\.15:80 +10\.0\.2\.2:\d+ +ESTABLISHED +{pid} httpd$', said, re.M)
        assert 'udp' not in said and re.search(r'^udp +0 +0 +\*:7 +\*:\* +\d+ udpecho$', vm.cmd('netstat -a'), re.M)
    assert re.search(r'^10\.0\.2\.0 +255\.255\.255\.0 +- +en0\n(.*\n)*0\.0\.0\.0 +0\.0\.0\.0 +10\.0\.2\.2 +en0$',
                     vm.cmd('netstat -r'), re.M)
    assert re.search(r'^en0 +1500 +10\.0\.2\.15 +[1-9]\d* +0 +[1-9]\d* +0$', vm.cmd('netstat -i'), re.M)
    vm.cmd('ping -q -c 4 -i 0 10.0.2.2')
    before = counters(vm)
    assert before['tcp.recv'] > 2 and before['icmp.recv'] > 3
    vm.cmd('nc 127.0.0.1 9')  # refused, by a reset
    after = counters(vm)
    assert after['tcp.resets_sent'] == before.get('tcp.resets_sent', 0) + 1
    vm.cmd('fetch http://127.0.0.1/rc')  # both ends close, nobody resets
    assert counters(vm)['tcp.resets_sent'] == after['tcp.resets_sent']
    assert counters(vm)['tcp.closes'] >= after.get('tcp.closes', 0) + 1


def test_netstat_disturbs_nothing(vm):
    """In a loop while data come and go: every byte is right."""
    data, digest, enough = pattern(1 << 20), hashlib.sha256(), threading.Event()
    script(vm, 6 * ['netstat -a; netstat -s; netstat -i; netstat -r; arp; ifconfig'])
    with Background(vm, 'ttcp -r -l') as sink, socket.create_connection((HOST, vm.port(5010)), CAP) as conn:
        conn.settimeout(CAP)
        def feed():
            n = 0
            while not enough.wait(0.01):
                block = data[n << 14:(n + 1) << 14]
                conn.sendall(block)
                digest.update(block)
                n = (n + 1) % 64
            conn.shutdown(socket.SHUT_WR)
        feeder = threading.Thread(target=feed, daemon=True)
        feeder.start()
        said = vm.cmd('sh lines')
        enough.set()
        assert len(re.findall(r'^tcp .* 10\.0\.2\.15:5010 .* ttcp$', said, re.M)) == 6, said
        feeder.join(CAP)
        sink.said(f'sha256 {digest.hexdigest()}$')


def test_link_goes_and_comes(vm):
    """TCP outlives a cable that is out for a moment, in both directions."""
    def set_link(state):
        subprocess.run([NETTRACE, 'monitor', '-d', vm.dir, f'set_link n0 {state}'], stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, check=True, timeout=CAP)

    def pull(conn):
        set_link('off')
        time.sleep(0.3)
        set_link('on')
        conn.sendall(data[1 << 19:])
        conn.shutdown(socket.SHUT_WR)
        return everything(conn)
    data = pattern(1 << 20)
    with Background(vm, 'ttcp -r -l') as sink, socket.create_connection((HOST, vm.port(5010)), CAP) as conn:
        conn.settimeout(CAP)
        conn.sendall(data[:1 << 19])
        pull(conn)
        sink.said(f'received 1048576 bytes.*sha256 {hashlib.sha256(data).hexdigest()}$')

    def stumble(conn):
        got = conn.recv(1000)
        set_link('off')
        time.sleep(0.3)
        set_link('on')
        return got + everything(conn)
    peer = Peer(stumble)
    assert 'sent 1048576 bytes' in vm.cmd(f'ttcp -t -n 1 -p {peer.port} {ROOT}')
    assert peer.done() == data
    assert re.search('address 10.0.2.15/24 .dhcp.', vm.cmd('ifconfig en0'))


# ---- the five old calls -------------------------------------------------


def ask_old(vm, *pieces, gap=0.0):
    with socket.create_connection((HOST, vm.port(8080)), CAP) as conn:
        for piece in pieces:
            conn.sendall(piece)
            time.sleep(gap)
        return everything(conn)


HELLO = b'HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, world!\n'


def test_old_server(vm):
    """A server of the older kernel's, unchanged: requests by curl, bodies that come
    late, clients that leave, another program on the network; then it ends as it ends."""
    many = int(os.environ.get('OLD_REQUESTS', '200'))
    with Background(vm, 'oldhttp 8080', 'oldhttp') as server:
        url = f'http://{HOST}:{vm.port(8080)}/[1-{many}]'
        done = subprocess.run(['curl', '-sS', '-o', '/dev/null', '-w', '%{http_code} %{size_download}\n', url],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=10 * CAP)
        assert (done.returncode, done.stderr) == (0, b'')
        assert done.stdout == b'200 14\n' * many
        post = b'POST / HTTP/1.0\r\nContent-Length: 4000\r\n\r\n'
        ping = Background(vm, f'ping -q -c 0 -i 1 {ROOT}', 'ping')
        for _ in range(10):
            assert ask_old(vm, post, b'x' * 4000) == HELLO
            assert ask_old(vm, post, b'x' * 2000, b'x' * 2000, gap=0.01) == HELLO
            with socket.create_connection((HOST, vm.port(8080)), CAP):
                pass  # connects and leaves
            with socket.create_connection((HOST, vm.port(8080)), CAP) as conn:
                conn.sendall(post)
                conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        vm.cmd('fetch -n 10 http://127.0.0.1/rc')
        vm.cmd('kill ping')
        done = subprocess.run(['curl', '-sS', '-d', 'close', f'http://{HOST}:{vm.port(8080)}/'],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=CAP)
        assert (done.returncode, done.stdout) == (0, b'Hello, world!\n')
        assert int(server.said(r'oldhttp: served (\d+)').group(1)) >= many + 21
