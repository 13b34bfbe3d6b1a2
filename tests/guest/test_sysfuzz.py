"""Random system calls: nothing panics, nothing is lost, others are served meanwhile.

SEEDS='4 5 6' and CALLS=100000 in the environment ask for other runs than the usual
ones; SYSFUZZ=-f adds an option (allocations that fail, on the debug kernel).
"""

import os
import re
import signal
import threading
import time
from urllib.request import urlopen

import pytest

from vm import BUILD, CAP, SLOW

CALLS = int(os.environ.get('CALLS', '20000'))
SEEDS = [int(word) for word in os.environ.get('SEEDS', '1 2 3').split()]
MORE = os.environ.get('SYSFUZZ', '')
FS = os.path.join(os.path.dirname(__file__), '..', '..', 'user', 'fs')
PATIENCE = 5 * SLOW  # seconds until any request has its answer


class Client(threading.Thread):
    """Asks for the page again and again.  worst = the longest time until an answer."""

    def __init__(self, vm):
        super().__init__(daemon=True)
        self.url = f'http://127.0.0.1:{vm.port(80)}/'
        self.over = threading.Event()
        self.served = 0
        self.worst = 0.0

    def ask(self):
        """One page, tried again for as long as the client is patient."""
        start = time.monotonic()
        page = None
        while page is None and time.monotonic() - start < 2 * PATIENCE:
            try:
                with urlopen(self.url, timeout=PATIENCE) as answer:
                    page = answer.read()
            except OSError:  # the guest has no memory, process or file left just now
                time.sleep(0.05)
        self.worst = max(self.worst, time.monotonic() - start)
        self.served += page is not None
        return page

    def run(self):
        while not self.over.wait(0.1):
            self.ask()


@pytest.mark.parametrize('seed', SEEDS)
def test_nothing_breaks(boot, seed):
    """Odd seeds on two CPUs, three batches at a time, with questions for names that the
    random calls answer; even ones on one CPU, and nobody to ask."""
    signal.alarm(int(CAP * max(1, CALLS / 20000)))
    cpus, jobs = (2, 3) if seed % 2 else (1, 2)
    ip = 'ip=10.0.2.15/24,10.0.2.2,127.0.0.1' if seed % 2 else 'ip=dhcp'
    vm = boot(cpus=cpus, append=f'msl=200 {ip}', wait=('ip', 'tcp_state to=LISTEN'))
    client = Client(vm)
    client.ask()  # the server's memory grows with its first request
    vm.send(f'sysfuzz {MORE} -v -j {jobs} {seed} {CALLS}\n')
    vm.expect('sysfuzz: seed')  # it has counted
    client.start()
    vm.expect(r'sysfuzz: (\d+) calls made', CAP * max(1, CALLS / 20000))
    client.over.set()
    client.join()
    told = vm.expect(r'(.*?)^\$ ').group(1)
    assert f'calls, seed {seed}: counts back to baseline' in told, told
    assert client.served > 0 and client.worst < PATIENCE

    rows = {name: (int(good), int(bad)) for name, good, bad in re.findall(r'^(\w+) +(\d+) +(\d+)$', told, re.M)}
    assert sum(good + bad for good, bad in rows.values()) > CALLS / 2
    never = [name for name, (good, _) in rows.items() if good == 0]
    assert never == ['poweroff'] * (never != []), 'calls that never succeed test little'

    # The shell, the trace and the web server are as before.
    assert vm.cmd('echo alive') == 'alive\n'
    vm.cmd('echo mark after > /dev/nettrace')
    vm.wait_event('mark')
    with open(os.path.join(FS, 'index.html'), 'rb') as f:
        assert client.ask() == f.read()


def test_it_says_what_it_waits_for(boot):
    """The page's connection is in TIME-WAIT for two minutes, and has to be gone first."""
    vm = boot(wait=('ip', 'tcp_state to=LISTEN'))
    with urlopen(f'http://127.0.0.1:{vm.port(80)}/', timeout=CAP) as answer:
        answer.read()
    vm.wait_event('tcp_state to=TIME_WAIT')
    vm.send('sysfuzz 1 10\n')
    vm.expect(r'(sysfuzz: waiting, connections in TIME-WAIT: 1\n){2}')
    vm.key('\x03')
    vm.expect(r'^\$ ')


def test_a_slot_is_free_when_its_owner_is_done(boot):
    """What a failing open gives back may be a pipe's the next moment; an inode freed
    may be another directory's.  Races that random calls found, here in numbers."""
    vm = boot(cpus=2, ports=(), append='rc=off ip=none', extra=('-i', os.path.join(BUILD, 'tests.img')))
    assert vm.cmd('filerace 2000') == '0 pages, 0 inodes, 0 blocks lost\n'
