"""One running guest, driven from the host; Python's standard library only.

Used by tests/guest (through its conftest.py) and by anything else that needs a
guest.  QEMU is started by tools/nettrace/capture and by nothing else: its
COMMAND is a cat that ends when our end of the pipe is closed, so a guest never
outlives the process that asked for it.

    with VM(cpus=1, append='trace=all') as vm:
        assert 'README' in vm.cmd('ls')
        body = urlopen(f'http://127.0.0.1:{vm.port(80)}/').read()
        vm.power_off()

Waiting is for events (a line of the console, a traced event, an exit), never for
a number of seconds; CAP is the wall clock's last word, and means that something
hangs.  SLOW=3 stretches it on a slow machine.

On failure the run directory stays, and story() says what was done, what was
expected, what came, and where the evidence lies.
"""

import itertools
import json
import os
import re
import select
import shutil
import signal
import subprocess
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TOP, os.environ.get('B', 'build'))
# With DEBUG=1 the kernel with checks: everything else is the same.
KERNEL = os.path.join(BUILD, 'debug' if os.environ.get('DEBUG') else '', 'kernel.elf')
NETTRACE = os.path.join(TOP, os.environ.get('NETTRACE', os.path.join(BUILD, 'nettrace')))
CAPTURE = os.path.join(TOP, 'tools', 'nettrace', 'capture')
SLOW = float(os.environ.get('SLOW', '1'))
CAP = 60 * SLOW

# What the console may never say (see bad_words).
BAD = re.compile(r'^.*(?:\bpanic|ubsan:|\bWRONG\b|\bWARN\b|lock order).*$', re.M)

# The kernel's line about an address, which comes when it comes, also in the middle of
# another; and the prompt with what was typed, which the shell then draws again.
ASIDE = re.compile(r'(?:\r\x1b\[K)?en\d: \d+\.\d+\.\d+\.\d+/\d+[^\n]* \((?:dhcp|static|fallback)\)\n'
                   r'|\r\x1b\[K\$ [^\n]*')


class Failed(AssertionError):
    """The guest did something other than expected; the text is the story."""


class Hangs(Failed):
    """Nothing happened within the wall clock's cap."""


class VM:
    """One guest.  append = kernel options, ports = guest TCP ports to reach from
    the host, udp the same for UDP, disk = image for the IDE disk (written to; by
    default the file system lies in RAM), extra = more options of capture, fds = open
    files that QEMU inherits, wait = readiness as capture -w takes it (default:
    capture's own)."""

    count = 0

    def __init__(self, cpus=2, append='', ports=(80,), udp=(), disk=None, mb=256,
                 extra=(), fds=(), wait=None, kernel=None, name='vm', limit=0):
        VM.count += 1
        self.steps = []
        self.fds = fds
        self.proc = self.con = None
        self.mark = 0  # up to here the console has been read by expect()
        runs = os.path.join(TOP, 'run', 'tests')
        os.makedirs(runs, exist_ok=True)
        self.dir = os.path.join(runs, f'{name}-{os.getpid()}-{VM.count}')
        self.log = self.dir + '.log'
        self.args = [CAPTURE, '-d', self.dir, '-c', str(cpus), '-m', str(mb), '-t', str(int(limit)),
                     '-k', kernel or KERNEL]
        self.args += ['-f', os.path.abspath(disk)] if disk else ['-i', os.path.join(BUILD, 'fs.img')]
        self.args += ['-a', append] if append else []
        self.args += [w for p in ports for w in ('-p', str(p))]
        self.args += [w for p in udp for w in ('-u', str(p))]
        self.args += [w for e in wait or () for w in ('-w', e)]
        self.args += list(extra) + ['--', 'sh', '-c', 'echo ready; exec cat']

    # Start and end

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, value, trace):
        self.stop()
        if kind is None:
            self.check()
            self.remove()

    def start(self):
        """Start the guest; return when capture calls it ready."""
        __tracebackhide__ = True
        self.step('start: ' + ' '.join(self.args[1:-4]))
        env = dict(os.environ, NETTRACE=NETTRACE)
        with open(self.log, 'wb') as log:
            self.proc = subprocess.Popen(self.args, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=log, env=env, start_new_session=True,
                                         pass_fds=self.fds)
        line = self._within(self.proc.stdout.readline, 'the guest is ready')
        if line != b'ready\n':
            code = self.proc.wait()
            self.fail('the guest is ready', f'capture ended with status {code}')
        self._connect()

    def stop(self):
        """End the guest, whatever its state; return capture's exit status."""
        if self.proc is None:
            return None
        if self.con is not None:
            os.close(self.con)
            self.con = None
        if self.proc.poll() is None:
            self.proc.stdin.close()  # the end of capture's COMMAND
            try:
                self.proc.wait(15 * SLOW)
            except subprocess.TimeoutExpired:
                self.proc.send_signal(signal.SIGTERM)
                self.proc.wait()
        self.proc.stdout.close()
        return self.proc.returncode

    def power_off(self, status=0):
        """Let the guest power itself off; the status it gave must be ours."""
        self.send(f'poweroff {status}\n' if status else 'poweroff\n')
        self._until(lambda: not self.running(), 'the guest powers off')
        self.stop()
        said = self.status()
        if said.get('guest') != 'poweroff' or said.get('guest_status') != str(status):
            self.fail(f'guest=poweroff guest_status={status}',
                      f"guest={said.get('guest')} guest_status={said.get('guest_status')}")

    def running(self):
        """Is QEMU there?  The console's FIFO has lost its reader if not."""
        if self.con is None:
            return False
        gone = select.poll()
        gone.register(self.con, 0)  # POLLERR is always told
        return not gone.poll(0)

    def remove(self):
        """Forget the evidence, after a test that passed."""
        shutil.rmtree(self.dir, ignore_errors=True)
        if os.path.exists(self.log):
            os.unlink(self.log)

    # The console

    def output(self):
        """All that the guest has said on the console so far."""
        try:
            with open(os.path.join(self.dir, 'serial.log'), 'rb') as f:
                return f.read().decode('latin-1').replace('\r\n', '\n')
        except FileNotFoundError:
            return ''

    def send(self, text):
        """Type text, once there is a first prompt: each byte waits for the echo of the
        one before it.  What expect looks at next begins with the last byte's echo."""
        __tracebackhide__ = True
        if self.mark == 0:
            self.expect(r'^\$ ')
        self.step(f'type {text!r}')
        for char in text:
            self.mark = len(self.output())
            self.key(char)
            self._until(lambda: char in self.output()[self.mark:], f'the echo of {char!r}')

    def key(self, text):
        """Send bytes that are not echoed: raw mode, control characters."""
        os.write(self.con, text.encode('latin-1'))

    def expect(self, pattern, timeout=CAP):
        """Wait for pattern in what the console says after the last expect, send or cmd."""
        __tracebackhide__ = True
        self.step(f'expect {pattern!r}')
        found = re.compile(pattern, re.M | re.S)
        hit = self._until(lambda: found.search(self.output(), self.mark), repr(pattern), timeout)
        self.mark = hit.end()
        return hit

    def cmd(self, line, timeout=CAP):
        """Run a line in the guest's shell; return what it printed, \\n at line ends.
        The kernel's own line about an address is left out."""
        __tracebackhide__ = True
        # A word of ours ends the output, so that a prompt in it deceives nobody; what
        # runs behind may speak between it and the prompt.  Behind a comment there is no
        # place for it.
        end = '' if '#' in line else ' echo ~end~' if line.endswith('&') else '; echo ~end~'
        self.send(line + end + '\n')
        done = re.compile(r'\n(.*?)~end~\n(?:.*?\n)?\$ ' if end else r'\n(.*?)^\$ ', re.M | re.S)

        def look():
            raw = self.output()[self.mark:]
            hit = done.match(ASIDE.sub('', raw))
            return hit and (hit, raw)

        hit, raw = self._until(look, repr(done.pattern), timeout)
        behind = hit.string[hit.end():]
        self.mark += len(raw) - (len(behind) if raw.endswith(behind) else 0)
        return hit.group(1)

    # Evidence

    def port(self, guest, proto='tcp'):
        """The host's port for a port of the guest."""
        with open(os.path.join(self.dir, 'ports')) as f:
            for line in f:
                kind, number, _, host = line.split()
                if kind == proto and number == str(guest):
                    return int(host)
        raise KeyError(f'{proto} port {guest} is not forwarded')

    def status(self):
        """The status file of the run, after its end, as a dictionary."""
        with open(os.path.join(self.dir, 'status')) as f:
            return dict(line.rstrip('\n').split('=', 1) for line in f)

    def tool(self, *args):
        """Run nettrace on this run; return what it prints.  The run directory goes last."""
        self.step('nettrace ' + ' '.join(args))
        done = subprocess.run([NETTRACE, *args, self.dir], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=CAP)
        if done.returncode:
            self.fail('exit status 0 of nettrace', f'{done.returncode}: {done.stderr.decode()}')
        return done.stdout.decode()

    def events(self, name=None):
        """The trace so far, a list of dictionaries; name selects one kind of event.
        An event's fields are keys too, where the record's head has none of that name."""
        rows = [json.loads(row) for row in self.tool('dump', '--json').splitlines() if row]
        rows = [{**row.get('fields', {}), **row} for row in rows]
        return [row for row in rows if name in (None, row.get('event'))]

    def wait_event(self, expr, timeout=CAP):
        """Wait for a traced event, such as 'tcp_state to=ESTABLISHED'."""
        self.step(f'wait for {expr}')
        done = subprocess.run([NETTRACE, 'wait', self.dir, '--for', expr, '--timeout', str(int(timeout))],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode:
            self.fail(expr, done.stderr.decode())

    def bad_words(self):
        """The lines of the console that no healthy guest prints."""
        return BAD.findall(self.output())

    def check(self):
        """What must hold after every test."""
        __tracebackhide__ = True
        words = self.bad_words()
        if words:
            self.fail('a console without a word of trouble', '\n'.join(words[:20]))

    # The story

    def step(self, text):
        self.steps.append(text)

    def story(self, expected, got):
        runs = [(text, len(list(same))) for text, same in itertools.groupby(self.steps)]  # a step that waits is many
        rows = [f'  {n}. {text}' + (f' ({times} times)' if times > 1 else '') for n, (text, times) in enumerate(runs, 1)]
        log = ''
        if os.path.exists(self.log):
            with open(self.log, errors='replace') as f:
                log = f.read().strip()
        tail = self.output()[-1500:]
        return '\n'.join(['steps done:', *rows, f'expected: {expected}', f'got:      {got}',
                          *(['capture says:', log] if log else []),
                          'console, its end:', tail, f'evidence: {self.dir}'])

    def fail(self, expected, got, kind=Failed):
        __tracebackhide__ = True  # pytest shows the test's line, not ours
        raise kind(self.story(expected, got))

    # Inside

    def _connect(self):
        """Take the writing end of the console's FIFO; QEMU holds the other one."""
        try:
            self.con = os.open(os.path.join(self.dir, 'con.in'), os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            self.fail('a console', 'the guest ended as soon as it was ready')

    def _until(self, test, expected, timeout=CAP):
        """Wait until test() is true and return that; the console's log is a file,
        so it is looked at again and again, every 5 ms."""
        __tracebackhide__ = True
        end = time.monotonic() + timeout
        while True:
            gone = not self.running()
            value = test()
            if value:
                return value
            if gone:
                self.fail(expected, 'the guest has ended')
            if time.monotonic() > end:
                self.fail(expected, f'nothing of the kind within {timeout:.0f} s', Hangs)
            time.sleep(0.005)

    def _within(self, blocking, expected):
        """Call something that blocks, in a thread, with the cap."""
        __tracebackhide__ = True
        box = []
        worker = threading.Thread(target=lambda: box.append(blocking()), daemon=True)
        worker.start()
        worker.join(CAP)
        if not box:
            self.fail(expected, f'nothing within {CAP:.0f} s', Hangs)
        return box[0]


def run_line(line, run):
    """Run a line in the shell of a guest of its own (run: the run directory to be).
    Returns (capture's exit status, the status the guest gave, what was printed)."""
    done = subprocess.run([CAPTURE, '-d', run, '-k', KERNEL,
                           '-i', os.path.join(BUILD, 'fs.img'), '-G', line],
                          env=dict(os.environ, NETTRACE=NETTRACE), cwd=TOP, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=CAP)
    with open(os.path.join(run, 'serial.log'), encoding='latin-1') as f:
        words = BAD.findall(f.read())
    if words:
        raise Failed('\n'.join(['the console shows trouble:', *words[:20], f'evidence: {run}']))
    with open(os.path.join(run, 'status')) as f:
        gave = re.search(r'^guest_status=(\d*)$', f.read(), re.M).group(1)
    return done.returncode, gave, done.stdout.decode('latin-1').replace('\r', '')
