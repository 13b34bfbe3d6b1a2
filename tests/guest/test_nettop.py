"""nettop: what it says, compared with what the host sees, and how it behaves.

Pids are compared with the kernel's own list (^P), ports and bytes with the
host's end of the connections.  The screen is put together from the console's
bytes by a small terminal below, as a real one would.
"""

import contextlib
import re
import socket
import threading
import time

import pytest

from vm import run_line

ROW = re.compile(r'^([ *-])\s*(\d+) (\S+) +(\S+) +(\d+) (\*|[\d.]+:\d+).*?'
                 r' +([\d.]+[kMG]?) +([\d.]+[kMG]?) +([\d.]+[kMG]?|-) +([\d.]+[kMG]?) +(\d+k?)$', re.M)
NAMES = ('mark', 'pid', 'name', 'state', 'lport', 'remote', 'rx', 'tx', 'rtt', 'q', 'xm')


def rows(text):
    """The flows of one table, a list of dictionaries of strings."""
    return [dict(zip(NAMES, m.groups())) for m in ROW.finditer(text)]


def plain(number):
    """94k -> 94000"""
    unit = {'k': 1e3, 'M': 1e6, 'G': 1e9}.get(number[-1], 0)
    return float(number[:-1]) * unit if unit else float(number)


def the(found, text):
    assert len(found) == 1, f'one such row wanted in:\n{text}'
    return found[0]


def pids(vm):
    """Name -> pid, as the kernel lists its processes on ^P."""
    at = len(vm.output())
    vm.key('\x10')
    vm._until(lambda: re.search(r'^\d+ \w+ sh .*\n', vm.output()[at:], re.M), 'the list of processes')
    time.sleep(0.1)
    return {m.group(2): int(m.group(1)) for m in re.finditer(r'^(\d+) \w+ (\w+) ', vm.output()[at:], re.M)}


def tables(vm, args, timeout=30):
    """Run nettop -b; return its tables, each with its last line."""
    out = vm.cmd('nettop -b ' + args, timeout)
    found = re.findall(r'^nettop.*?^-- \d+/\d+ lost \d+$', out, re.M | re.S)
    assert found, f'no table in:\n{out}'
    return found


def get(sock, path='/'):
    """One request on a connection that stays open; return the bytes of the answer."""
    sock.sendall(f'GET {path} HTTP/1.1\r\nHost: guest\r\n\r\n'.encode())
    data = b''
    while b'\r\n\r\n' not in data:
        data += sock.recv(65536)
    head, body = data.split(b'\r\n\r\n', 1)
    want = int(re.search(rb'(?i)^content-length: *(\d+)', head, re.M).group(1))
    while len(body) < want:
        body += sock.recv(65536)
    return len(head) + 4 + len(body)


@contextlib.contextmanager
def busy(vm, fresh=False):
    """Requests one after the other on one connection, or each on a fresh one."""
    stop = threading.Event()

    def load():
        while not stop.is_set():
            with socket.create_connection(('127.0.0.1', vm.port(80))) as client:
                get(client)
                while not fresh and not stop.is_set():
                    get(client)

    worker = threading.Thread(target=load)
    worker.start()
    try:
        yield
    finally:
        stop.set()
        worker.join()


class Terminal:
    """80 x 24, and the few sequences nettop may use; anything else is an error."""

    def __init__(self):
        self.cells = [[' '] * 80 for _ in range(24)]
        self.row = self.col = 0

    def feed(self, text):
        for move, row, col, erase, char in re.findall(r'(\x1b\[(\d+);(\d+)H)|(\x1b\[K)|(.)', text, re.S):
            if move:
                self.row, self.col = int(row) - 1, int(col) - 1
            elif erase:
                self.cells[self.row][self.col:] = [' '] * (80 - self.col)
            else:
                assert ' ' <= char <= '~', f'character {char!r} on the screen'
                assert self.row < 24 and self.col < 79, f'{char!r} outside the screen'
                self.cells[self.row][self.col] = char
                self.col += 1

    def text(self):
        return '\n'.join(''.join(row).rstrip() for row in self.cells)


class Screen:
    """nettop running on vm's console."""

    def __init__(self, vm):
        vm.expect(r'^\$ ')
        vm.send('nettop')
        self.vm, self.term = vm, Terminal()
        self.at = len(vm.output()) + 1  # behind the newline's echo
        vm.send('\n')

    def look(self):
        new = self.vm.output()[self.at:]
        new = new[:new.rfind('H') + 1]  # each refresh ends by parking the cursor
        self.at += len(new)
        self.term.feed(new)
        return self.term.text()

    def wait(self, pattern):
        self.vm._until(lambda: re.search(pattern, self.look(), re.M), f'{pattern!r} on the screen')
        return self.term.text()


@pytest.mark.parametrize('vm', [dict(cpus=1), dict(cpus=4)], indirect=True)
def test_batch_shows_listener_and_connection(vm):
    with socket.create_connection(('127.0.0.1', vm.port(80))) as client:
        get(client)
        found = tables(vm, '-n 2')
        want = pids(vm)['httpd']
        here = client.getsockname()[1]
    assert len(found) == 2
    for k, text in enumerate(found, 1):
        assert text.endswith(f'-- {k}/2 lost 0')
        assert ' TRACE on ' in text and ' en0 10.0.2.15 ' in text
        listener = the([r for r in rows(text) if r['state'] == 'LISTEN'], text)
        assert (int(listener['pid']), listener['name'], listener['lport'], listener['remote']) == (want, 'httpd', '80', '*')
        flow = the([r for r in rows(text) if r['state'] == 'ESTABLISHED'], text)
        assert (int(flow['pid']), flow['name'], flow['lport']) == (want, 'httpd', '80')
        assert flow['remote'] == f'10.0.2.2:{here}'  # the host's own port, seen through QEMU
        assert max(len(line) for line in text.split('\n')) < 80


def test_batch_rates_are_the_hosts(vm):
    vm.expect(r'^\$ ')
    with socket.create_connection(('127.0.0.1', vm.port(80))) as client:
        get(client)
        vm.send('nettop -b -i 4\n')
        time.sleep(1)
        end, got, asked = time.monotonic() + 1.5, 0, 0
        while time.monotonic() < end:
            got += get(client)
            asked += 1
        text = vm.expect(r'^nettop.*?^-- 1/1 lost (\d+)$')
    flow = the([r for r in rows(text.group(0)) if r['state'] == 'ESTABLISHED'], text.group(0))
    assert text.group(1) == '0'
    assert plain(flow['tx']) * 4 == pytest.approx(got, rel=0.15)
    assert plain(flow['rx']) * 4 == pytest.approx(asked * len('GET / HTTP/1.1\r\nHost: guest\r\n\r\n'), rel=0.15)


def test_loss_is_on_the_table(boot):
    """A ring of 1024 slots is lapped between two reads; the figure never falls."""
    vm = boot(append='trace=all trace_slots=1024')
    with busy(vm):
        found = tables(vm, '-n 3')
    losses = [int(text.rsplit(' ', 1)[1]) for text in found]
    assert losses == sorted(losses) and losses[0] > 0
    assert all(f' lost {n}\n' in text for n, text in zip(losses, found))


def test_closed_connection_stays_a_moment(vm):
    vm.expect(r'^\$ ')
    vm.send('nettop -b -n 14\n')
    time.sleep(0.5)
    with socket.create_connection(('127.0.0.1', vm.port(80))) as client:
        get(client)
        here = client.getsockname()[1]
    out = vm.expect(r'^nettop.*^-- 14/14 lost 0$').group(0)
    marks = ''.join(r['mark'] for r in rows(out) if r['remote'] == f'10.0.2.2:{here}')
    assert re.fullmatch(r' *-{5,9}', marks), f'marks {marks!r} in:\n{out}'


def test_screen_and_quit(vm):
    screen = Screen(vm)
    text = screen.wait(r' en0 10\.0\.2\.15 [\s\S]*^q quit')
    lines = text.split('\n')
    assert re.match(r'nettop 00:00:\d\d  en0 10.0.2.15 .* TRACE on  lost 0$', lines[0])
    assert [line[:2] for line in lines[1:3]] == ['rx', 'ir']
    assert lines[3].split() == 'PID NAME STATE LPORT REMOTE RX/s TX/s RTT Q XM'.split()
    assert lines[23].startswith('q quit') and lines[16].startswith('-- last events')
    assert the([r for r in rows(text) if r['state'] == 'LISTEN'], text)['name'] == 'httpd'

    with socket.create_connection(('127.0.0.1', vm.port(80))) as client:
        get(client)
        text = screen.wait(rf'httpd +ESTABLISHED +80 10\.0\.2\.2:{client.getsockname()[1]} ')
        assert re.search(r'^ \.\d{6} #\d+ +(e1000|ethif|ip|tcp|sock)_\w+ ', text, re.M)
    vm.key('?')
    screen.wait(r'^-- help')
    vm.key('?')
    screen.wait(r'^-- last events')
    vm.key('p')
    before = screen.wait(r'PAUSED[\s\S]*p go on').split('\n')[4:]
    screen.term = Terminal()  # what differences have built is what Ctrl-L draws anew
    vm.key('\x0c')
    assert screen.wait(r'^q quit').split('\n')[4:] == before
    vm.key('ps')
    screen.wait(r'sort: pid')
    vm.key('q')
    vm.expect(r'\x1b\[24;1H\x1b\[K\$ $')
    assert vm.cmd('echo cooked again') == 'cooked again\n'  # cmd needs the echo


def test_unchanged_screen_costs_few_bytes(vm):
    screen = Screen(vm)
    screen.wait(r'^-- last events')
    time.sleep(2.5)  # the start-up's rates fall to 0
    screen.look()
    before, start = screen.at, time.monotonic()
    time.sleep(5)
    screen.look()
    refreshes = time.monotonic() - start
    assert refreshes >= 5
    assert 0 < (screen.at - before) / refreshes < 100


def test_busy_refresh_is_below_2_kb(vm):
    screen = Screen(vm)
    screen.wait(r'^-- last events')
    with busy(vm, fresh=True):
        time.sleep(2)
        screen.look()
        before, start = screen.at, time.monotonic()
        time.sleep(4)
        text = screen.look()
    assert (screen.at - before) / (time.monotonic() - start) < 2048
    assert ' lost 0' in text
    assert re.search(r'^-', '\n'.join(text.split('\n')[4:16]), re.M), f'no closed flow in:\n{text}'


@pytest.mark.parametrize('line, status', [
    ('nettop -b', 0), ('nettop -b -n 0', 2), ('nettop -b -n', 2), ('nettop -x', 2), ('nettop -n 2', 2),
    ('rm /dev/nettrace; nettop -b', 1)])
def test_exit_status(tmp_path, line, status):
    code, gave, said = run_line(line, tmp_path / 'run')
    assert (code, gave) == (0, str(status)), said
