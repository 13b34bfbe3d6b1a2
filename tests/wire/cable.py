"""A guest behind tools/wire/wire.py: user networking at the far end, faults between."""

import json
import os
import socket
import sys
import threading

from vm import TOP, VM
from wire import Faults, Line, Proxy, Tap

WIRE = os.path.join(TOP, 'tools', 'wire', 'wire.py')
# Descriptor argv[1] becomes number 3, and then we become argv[2:]; a 4 would mean user networking.
BECOME = ('import os, sys; n = int(sys.argv[1]); os.dup2(n, 3); n == 3 or os.close(n); '
          'os.execv(sys.argv[2], sys.argv[2:])')


class Cable(VM):
    """in_, out: faults as wire.py takes them; rules: its rules; play: a capture
    towards the guest."""

    def __init__(self, seed=1, in_='', out='', rules=(), play=None, **options):
        options['extra'] = ('-W', *options.get('extra', ()))
        super().__init__(**options)
        self.jsonl = self.dir + '.jsonl'
        self.args = [WIRE, '--seed', str(seed), '--in', in_, '--out', out, *(w for r in rules for w in ('--rule', r)),
                     *(('--play', play) if play else ()), '--log', self.jsonl, '--', *self.args]

    def acts(self):
        """What the wire has done so far."""
        with open(self.jsonl) as f:
            return [json.loads(line) for line in f]

    def remove(self):
        super().remove()
        os.unlink(self.jsonl)


class Joined(VM):
    """One of two guests on a wire; sock: its end, which becomes descriptor 3."""

    def __init__(self, sock, mac, **options):
        super().__init__(ports=(), extra=('-W', '-M', mac, *options.pop('extra', ())), fds=(sock.fileno(),), **options)
        self.sock = sock
        self.args = [sys.executable, '-c', BECOME, str(sock.fileno()), *self.args]

    def start(self):
        super().start()
        self.sock.close()  # QEMU has it


class Pair:
    """Two guests, 10.9.0.1 and .2, and between them faults both ways: .guests, and
    .counts, what the wire did, by direction.  tap: a capture of what enters the wire."""

    def __init__(self, seed, faults, tap=None, **options):
        ours, theirs = zip(*(socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)))
        for s in theirs:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.lines = [Line(dir_, seed, Faults(faults)) for dir_ in ('in', 'out')]
        self.proxy, self.socks, self.over = Proxy(*ours, self.lines), ours, False
        self.proxy.tap = tap and Tap(tap)
        self.guests = [Joined(s, f'52:54:00:12:34:0{k}', name='pair', wait=('ip',),
                              append=f'ip=10.9.0.{k}/24 rc=off trace_slots=65536', **options)
                       for k, s in enumerate(theirs, 1)]
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            while not self.over and self.proxy.step(0.05):
                pass
        except (ConnectionError, BrokenPipeError):
            pass  # a guest has ended

    def __enter__(self):
        self.thread.start()
        for vm in self.guests:
            vm.start()
        return self

    def __exit__(self, kind, value, trace):
        for vm in self.guests:
            vm.stop()
        self.over = True
        self.thread.join()
        for s in self.socks:
            s.close()
        if kind is None:
            for vm in self.guests:
                vm.check()
                vm.remove()
