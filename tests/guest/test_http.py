"""httpd, as a real client sees it: bytes, statuses, many clients at once."""

import os
import select
import shutil
import socket
import struct
import subprocess
import threading
from urllib.request import urlopen

import pytest

from vm import BUILD, CAP, VM

FS = os.path.join(os.path.dirname(__file__), '..', '..', 'user', 'fs')
HOST = '127.0.0.1'


def content(name):
    with open(os.path.join(FS, name), 'rb') as f:
        return f.read()


def talk(vm, data, end=False):
    """Send bytes, return all that comes back."""
    with socket.create_connection((HOST, vm.port(80)), CAP) as s:
        s.sendall(data)
        if end:
            s.shutdown(socket.SHUT_WR)
        parts = []
        while part := s.recv(65536):
            parts.append(part)
        return b''.join(parts)


def ask(vm, line, *fields):
    """One request on a connection of its own: (status, header, body)."""
    rows = [line, 'Host: guest', 'Connection: close', *fields, '', '']
    header, _, body = talk(vm, '\r\n'.join(rows).encode('latin-1')).partition(b'\r\n\r\n')
    header = header.decode()
    return int(header.split()[1]), header, body


@pytest.fixture(scope='module')
def web():
    with VM(cpus=2, name='http') as vm:
        yield vm


def test_page(web):
    with urlopen(f'http://{HOST}:{web.port(80)}/') as answer:
        assert answer.status == 200
        assert answer.headers['Content-Type'].startswith('text/html')
        assert answer.read() == content('index.html')


def test_curl(web):
    done = subprocess.run(['curl', '-sS', '-f', '--max-time', str(int(CAP)),
                           f'http://{HOST}:{web.port(80)}/README', f'http://{HOST}:{web.port(80)}/rc'],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b'')
    assert done.stdout == content('README') + content('rc')


def test_programs_byte_for_byte(web):
    for name in ('httpd', 'sh', 'nettop'):
        with open(os.path.join(BUILD, 'user', name + '.bin'), 'rb') as f:
            status, header, body = ask(web, f'GET /{name} HTTP/1.1')
            assert status == 200 and 'application/octet-stream' in header
            assert body == f.read()


def test_head_has_no_body(web):
    status, header, body = ask(web, 'HEAD /README HTTP/1.1')
    assert (status, body) == (200, b'')
    assert f"Content-Length: {len(content('README'))}" in header


def test_listing(web):
    status, _, body = ask(web, 'GET /?list HTTP/1.1')
    assert status == 200 and b'<a href="/README">README</a>' in body
    status, _, body = ask(web, 'GET /dev HTTP/1.1')
    assert status == 200 and b'href="/dev/console"' in body


def test_status_page(web):
    status, _, body = ask(web, 'GET /status HTTP/1.1')
    rows = dict(row.split(None, 1) for row in body.decode().split('\n\n')[1].splitlines())
    assert status == 200
    assert float(rows['uptime'].split()[0]) > 0
    assert int(rows['connections']) >= 1
    again = ask(web, 'GET /status HTTP/1.1')[2].decode()
    assert int(again.split('requests ')[1].split()[0]) == int(rows['requests']) + 1
    assert b'/dev/nettrace.stat\n' in body and b'not there' not in body


@pytest.mark.parametrize('line, fields, status', [
    ('GET /nosuch HTTP/1.1', (), 404),
    ('GET /README/x HTTP/1.1', (), 404),
    ('GET /console HTTP/1.1', (), 404),  # reading a device could wait for ever
    ('GET /dev/zero HTTP/1.1', (), 404),
    ('GET /%zz HTTP/1.1', (), 400),
    ('GET /%00 HTTP/1.1', (), 400),
    ('GET README HTTP/1.1', (), 400),
    ('GET / HTTP/one', (), 400),
    ('GET / HTTP/1.1', ('no colon',), 400),
    ('GET / HTTP/1.1', ('Host: second',), 400),
    ('GET / HTTP/1.1', ('Content-Length: -1',), 400),
    ('POST / HTTP/1.1', ('Content-Length: 0',), 405),
    ('BREW / HTTP/1.1', (), 501),
    ('GET / HTTP/1.1', ('Transfer-Encoding: chunked',), 501),
    ('GET / HTTP/2.0', (), 505),
    ('GET /' + 5000 * 'a' + ' HTTP/1.1', (), 414),
    ('GET / HTTP/1.1', ('X: ' + 5000 * 'a',), 431),
])
def test_refusals(web, line, fields, status):
    assert ask(web, line, *fields)[0] == status
    assert ask(web, 'GET /rc HTTP/1.1')[2] == content('rc')


@pytest.mark.parametrize('path', ['/../../README', '/dev/../README', '/%2e%2e/README', '/dev/%2E%2E%2F..%2fREADME',
                                  '//./README', '/nosuch/../README', 'http://guest/README'])
def test_no_path_leaves_the_root(web, path):
    assert ask(web, f'GET {path} HTTP/1.1')[2] == content('README')


def test_a_name_is_not_cut(web):
    """The kernel cuts a name to 14 letters; a web server must not."""
    web.cmd('echo found > fourteen-chars')
    assert ask(web, 'GET /fourteen-chars HTTP/1.1')[2] == b'found\n'
    assert ask(web, 'GET /fourteen-chars-and-more HTTP/1.1')[0] == 404


def test_root_of_its_own(boot):
    vm = boot(append='rc=off', wait=('ip',))
    vm.cmd('mkdir www; echo inside > www/page; httpd -r www &')
    vm.wait_event('tcp_state to=LISTEN')
    assert ask(vm, 'GET /page HTTP/1.1')[2] == b'inside\n'
    assert ask(vm, 'GET /../README HTTP/1.1')[0] == 404


def test_pipelining_and_keep_alive(web):
    one = b'GET /rc HTTP/1.1\r\nHost: g\r\n\r\n'
    got = talk(web, 60 * one + b'GET /rc HTTP/1.0\r\n\r\n')
    assert got.count(b'HTTP/1.1 200 OK') == 61 and got.count(content('rc')) == 61
    assert got.count(b'Connection: keep-alive') == 60


def test_header_in_single_bytes(web):
    with socket.create_connection((HOST, web.port(80)), CAP) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b'GET /rc HTTP/1.0\r\n\r\n':
            s.send(bytes([byte]))
        got = b''
        while part := s.recv(65536):
            got += part
    assert got.endswith(content('rc'))


def test_half_closed_client_gets_its_answer(web):
    got = talk(web, b'GET /rc HTTP/1.1\r\nHost: g\r\n\r\n', end=True)
    assert got.endswith(content('rc'))


def resets(vm):
    """How many TCP segments with RST the guest has sent, by the capture."""
    with open(os.path.join(vm.dir, 'wire.pcap'), 'rb') as f:
        data = f.read()
    n, at = 0, 24
    while at + 16 <= len(data):
        size = struct.unpack_from('<I', data, at + 8)[0]
        frame = data[at + 16:at + 16 + size]
        tcp = 14 + 4 * (frame[14] & 15)
        if frame[12:14] == b'\x08\x00' and frame[23] == 6 and len(frame) > tcp + 13:
            n += frame[tcp:tcp + 2] == b'\0\x50' and frame[tcp + 13] & 4 != 0
        at += 16 + size
    return n


def test_unread_body_does_not_reset_the_answer(web):
    body = 100000 * b'x'
    before = resets(web)
    got = talk(web, b'POST / HTTP/1.1\r\nHost: g\r\nContent-Length: %d\r\n\r\n' % len(body) + body)
    assert got.startswith(b'HTTP/1.1 405 ')
    ask(web, 'GET /rc HTTP/1.1')
    assert resets(web) == before


def test_slow_and_silent_clients(web):
    """Both are ended after 10 s of guest time, and cost nobody else anything.  (A
    client that never said a word has 30 s: with a burst of clients the first data of
    some is lost on the host, in the queue of QEMU's listening socket.)"""
    with socket.create_connection((HOST, web.port(80)), CAP) as slow, \
         socket.create_connection((HOST, web.port(80)), CAP) as silent:
        slow.sendall(b'GET / HT')
        silent.sendall(b'HEAD /rc HTTP/1.1\r\nHost: g\r\n\r\n')
        assert silent.recv(1000).endswith(b'Connection: keep-alive\r\n\r\n')
        assert ask(web, 'GET /rc HTTP/1.1')[2] == content('rc')
        assert slow.recv(1000).startswith(b'HTTP/1.1 408 ')
        assert silent.recv(1000) == b''


def test_silent_clients_give_way(web):
    """All places are taken: one of those who never said a word, and else have 30 s, loses
    his; who has begun to ask keeps his for 10 s."""
    conns = []

    def come(first=b''):
        conns.append(socket.create_connection((HOST, web.port(80)), CAP))
        if first:
            conns[-1].sendall(b'HEAD / HTTP/1.1\r\nHost: g\r\n\r\n' + first)
            assert conns[-1].recv(1000).startswith(b'HTTP/1.1 200')

    while len(conns) < 53:
        come()
        while connections(web) < len(conns) + 1:
            pass  # the test's own cap ends it
    come(b'GET / HT')
    come(b'\r\n')
    come()
    assert ask(web, 'GET /rc HTTP/1.1')[2] == content('rc')
    ended = select.select(conns, [], [], 0)[0]
    assert ended and conns[53] not in ended
    for s in conns:
        s.close()


@pytest.mark.parametrize('cpus', [1, 2, 4])
def test_200_in_a_row_and_16_at_once_beside_a_hog(boot, cpus):
    vm = boot(cpus=cpus)
    vm.cmd('spin &')
    page = content('index.html')
    with open(os.path.join(BUILD, 'user', 'httpd.bin'), 'rb') as f:
        program = f.read()
    for n in range(200):
        assert ask(vm, 'GET /index.html HTTP/1.1')[2] == page, f'request {n}'
    wrong = []

    def client():
        for _ in range(20):
            try:
                if ask(vm, 'GET /httpd HTTP/1.1')[2] != program:
                    wrong.append('bytes')
            except Exception as why:  # the thread must tell, not die
                wrong.append(repr(why))

    threads = [threading.Thread(target=client) for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []
    assert vm.cmd('echo alive') == 'alive\n'


def connections(vm):
    """Open connections, ours included, by the server's own page."""
    return int(ask(vm, 'GET /status HTTP/1.1')[2].decode().split('connections ')[1].split()[0])


def test_40_connections_open_at_once(web):
    """All wait for the last byte of their request, then all are served.  They come
    one by one: a burst would overflow the queue of QEMU's listening socket."""
    conns = []
    while len(conns) < 40:
        conns.append(socket.create_connection((HOST, web.port(80)), CAP))
        conns[-1].sendall(b'GET /rc HTTP/1.0\r\n\r')
        while connections(web) < len(conns) + 1:
            pass  # the test's own cap ends it
    for s in reversed(conns):
        s.sendall(b'\n')
    for s in conns:
        got = b''
        while part := s.recv(65536):
            got += part
        assert got.endswith(content('rc'))
        s.close()


@pytest.mark.skipif(not shutil.which('ab'), reason='no ab')
@pytest.mark.parametrize('options', [('-c', '1'), ('-c', '16')], ids=' '.join)
def test_ab(web, options):
    done = subprocess.run(['ab', '-q', '-n', '1000', *options, f'http://{HOST}:{web.port(80)}/README'],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=CAP)
    text = done.stdout.decode()
    assert 'Complete requests:      1000' in text and 'Failed requests:        0' in text, text
    assert 'Non-2xx' not in text


def test_16_connections_kept(web):
    """1,000 requests over them.  They are opened one by one and by us, not by ab: who
    finds the queue of QEMU's listening socket full is told that he is connected, and
    what he sends may then come after the server has given up waiting."""
    want, wrong = content('README'), []

    def client(conn):
        for n in range(62):
            conn.sendall(b'GET /README HTTP/1.1\r\nHost: guest\r\n\r\n')
            got = b''
            while len(got) < len(want) or not got.endswith(want):
                part = conn.recv(65536)
                if not part:
                    wrong.append((n, got))
                    return
                got += part

    conns = []
    for _ in range(16):
        conns.append(socket.create_connection((HOST, web.port(80)), CAP))
        conns[-1].sendall(b'HEAD / HTTP/1.1\r\nHost: guest\r\n\r\n')
        assert conns[-1].recv(4096).startswith(b'HTTP/1.1 200')
    threads = [threading.Thread(target=client, args=(conn,), daemon=True) for conn in conns]
    for t in threads:
        t.start()
    for t in threads:
        t.join(CAP)
    assert wrong == [] and not any(t.is_alive() for t in threads)
    for conn in conns:
        conn.close()
