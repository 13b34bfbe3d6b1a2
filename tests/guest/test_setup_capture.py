"""tools/nettrace/capture: run directory, ends and exit statuses.

The guest is a page of assembly that says a text and ends as told: each way to
end, panic and never ending included, happens at will and at once.  What needs a
ring page or a network is tested with the real kernel.
"""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import stat
import subprocess
import sys
import termios
import time
import types

import pytest

from vm import BUILD, CAP, CAPTURE, KERNEL as REAL, NETTRACE

KERNEL = r'''
  .set MAGIC, 0x1badb002
  .section .text
  .align 4
  .long MAGIC, 0, -MAGIC
  .globl _start
_start:
  mov $text, %esi
1:
  lodsb
  test %al, %al
  jz 3f
  mov %al, %bl
2:
  mov $0x3fd, %dx
  inb %dx, %al
  test $0x20, %al
  jz 2b
  mov %bl, %al
  mov $0x3f8, %dx
  outb %al, %dx
  jmp 1b
3:
  mov $CODE, %eax
  mov $0xf4, %dx
  .if CODE
  outl %eax, %dx
  .endif
4:
  hlt
  jmp 4b
text:
  .asciz TEXT
  .section .note.GNU-stack, "", @progbits
'''
OFF, PANIC, STATUS3, STAYS = 0x10, 0x11, 0x23, 0


@pytest.fixture
def capture(tmp_path):
    """A function: run capture with a guest that says TEXT and ends with CODE."""
    (tmp_path / 'k.S').write_text(KERNEL)
    (tmp_path / 'image').write_bytes(bytes(4096))

    def run(*args, text='hello', code=OFF, popen=subprocess.run, **more):
        text = text.replace('\n', '\\r\\n')
        subprocess.run(['gcc', '-m32', '-c', f'-DTEXT="{text}"', f'-DCODE={code}', '-o', 'k.o', 'k.S'],
                       cwd=tmp_path, check=True)
        subprocess.run(['ld', '-m', 'elf_i386', '-Ttext', '0x100000', '-o', 'k.elf', 'k.o'],
                       cwd=tmp_path, check=True)
        words = [CAPTURE, '-d', tmp_path / 'run', '-k', tmp_path / 'k.elf', '-i', tmp_path / 'image', *args]
        return popen(words, env=dict(os.environ, NETTRACE=NETTRACE), stdin=subprocess.DEVNULL,
                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)

    return run


def status(tmp_path):
    return dict(row.split('=', 1) for row in (tmp_path / 'run' / 'status').read_text().splitlines())


def processes_of(tmp_path):
    """The command lines that name our run directory or stand in it."""
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            if os.readlink(f'/proc/{pid}/cwd').startswith(str(tmp_path)):
                found.append(pid)
        except OSError:
            pass
    return found


def test_power_off(capture, tmp_path):
    done = capture(text='hello\n')
    assert done.returncode == 0 and 'hello' in done.stdout
    said = status(tmp_path)
    assert (said['guest'], said['guest_status'], said['qemu_status'], said['exit']) == ('poweroff', '0', '33', '0')
    assert said['capture'] == 'ok' and said['icount'] == '0' and len(said['kernel_sha256']) == 64
    left = set(os.listdir(tmp_path / 'run'))
    assert {'wire.pcap', 'serial.log', 'qemu.log', 'kernel.elf', 'cmdline', 'status'} <= left
    assert stat.S_IMODE(os.stat(tmp_path / 'run').st_mode) == 0o700


@pytest.mark.parametrize('text, code, output, exit_code, guest', [
    ('boot\ninit: running\na\nb\npoweroff: status 0\n', OFF, 'a\nb\n', 0, ('poweroff', '0')),
    ('boot\ninit: running\nno newlinepoweroff: status 0\n', OFF, 'no newline\n', 0, ('poweroff', '0')),
    ('boot\ninit: running\npoweroff: status 3\n', STATUS3, '', 0, ('poweroff', '3')),
    ('boot\ninit: running\na\npanic: x\n', PANIC, 'a\npanic: x\n', 4, ('panic', ''))])
def test_guest_line(capture, tmp_path, text, code, output, exit_code, guest):
    """make guest: only what the commands print, and the exit status."""
    done = capture('-G', 'ls; cat README', text=text, code=code)
    assert (done.stdout, done.returncode) == (output, exit_code), done.stderr
    assert (status(tmp_path)['guest'], status(tmp_path)['guest_status']) == guest
    words = (tmp_path / 'run' / 'cmdline').read_text()
    assert 'run="ls; cat README"' in words and 'restrict=on' in words


def test_panic_keeps_the_evidence(capture, tmp_path):
    done = capture(text='\x1b[K$ panic: \x1b[1mplanted\n', code=PANIC)
    assert 'the guest panicked: panic: planted\n' in done.stderr  # no escape reaches the terminal
    assert done.returncode == 4 and 'planted' in done.stderr
    assert (tmp_path / 'run' / 'ram').exists()


def test_limit(capture, tmp_path):
    done = capture('-t', '1', code=STAYS, timeout=CAP)
    assert done.returncode == 124 and status(tmp_path)['guest'] == 'limit'
    assert not processes_of(tmp_path)


def test_guest_ends_before_it_is_ready(capture, tmp_path):
    """COMMAND must not run, and its absence is no success."""
    done = capture('--', 'sh', '-c', 'echo ran')
    assert done.returncode == 1 and 'ran' not in done.stdout and 'before it was ready' in done.stderr


def test_qemu_fails_to_start(capture, tmp_path):
    done = capture('-x', '-bogus')
    assert done.returncode == 3 and 'bogus' in done.stderr and status(tmp_path)['guest'] == 'failed'


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_everything(capture, tmp_path, number):
    # A shell that was started with a signal ignored, as under nohup, cannot trap it.
    running = capture('-G', 'x', text='init: running\nup\nmore\n', code=STAYS, popen=subprocess.Popen,
                      preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
    assert running.stdout.readline() == 'up\n'
    running.send_signal(number)
    running.communicate(timeout=CAP)
    assert running.returncode == 128 + number
    assert status(tmp_path)['guest'] == 'killed' and not processes_of(tmp_path)


def test_killed_qemu_is_not_a_power_off(capture, tmp_path):
    running = capture('-G', 'x', text='init: running\nup\nmore\n', code=STAYS, popen=subprocess.Popen)
    assert running.stdout.readline() == 'up\n'
    for pid in processes_of(tmp_path):
        with contextlib.suppress(OSError), open(f'/proc/{pid}/comm') as comm:  # some end just now
            if comm.read().startswith('qemu'):
                os.kill(int(pid), signal.SIGKILL)
    running.communicate(timeout=CAP)
    assert running.returncode == 3 and status(tmp_path)['qemu_status'] == '137' and status(tmp_path)['guest'] == 'killed'
    assert os.path.exists(tmp_path / 'run' / 'ram')  # the evidence


def test_run_directory_in_use_is_refused(capture, tmp_path):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'mine').write_text('precious')
    done = capture()
    assert done.returncode == 2 and 'not an empty directory' in done.stderr
    assert os.listdir(tmp_path / 'run') == ['mine']


@pytest.mark.parametrize('args, words', [
    (('-c', '9'), '1 to 8'), (('-m', '2048'), '16 to 1024'), (('-p', 'http'), '1 to 65535'),
    (('-D', '-c', '2'), '-c 1'), (('-G', 'echo "x"'), 'no "'), (('-k', '/nonexistent'), 'no such kernel'),
    (('-f', '/dev/null'), 'one of them'), (('-Z',), '-Z: no such option'), (('-c',), '-c needs a value'),
    (('--nosuch',), '--nosuch: no such option'), (('-G', 'echo a\necho b'), 'one line'),
    (('-G', 'echo ' + 'x' * 1001), '1 bytes too long')])
def test_usage(capture, tmp_path, args, words):
    done = capture(*args)
    assert done.returncode == 2 and words in done.stderr and done.stderr.count('\n') == 1
    assert not (tmp_path / 'run').exists()


def test_help(capture, tmp_path):
    for flag in ('-h', '--help'):
        done = capture(flag)
        assert done.returncode == 0 and done.stdout.startswith('usage: capture') and done.stderr == ''


def test_the_longest_guest_line(capture, tmp_path):
    done = capture('-G', 'echo ' + 'x' * 1000, text='init: running\n')
    assert done.returncode == 0, done.stderr


# nettrace console, on a run directory without a QEMU: the test reads the keys.

@pytest.fixture
def console(tmp_path):
    """nettrace console at a terminal: an object with its process, the terminal's
    end, the FIFO's reading end, and the log to write to."""
    con = types.SimpleNamespace(log=open(tmp_path / 'serial.log', 'wb', buffering=0))
    os.mkfifo(tmp_path / 'con.in')
    con.keys = os.open(tmp_path / 'con.in', os.O_RDONLY | os.O_NONBLOCK)
    con.typed, con.slave = pty.openpty()
    con.proc = subprocess.Popen([NETTRACE, 'console', '-q', tmp_path], stdin=con.slave, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)
    shows(con, b'boot\n')  # it has begun, and the terminal is raw
    yield con
    if con.proc.poll() is None:
        con.proc.kill()
    con.proc.communicate()
    for fd in (con.keys, con.typed, con.slave):
        os.close(fd)


def shows(con, text):
    """The guest says text; wait until the console shows it."""
    con.log.write(text)
    said = b''
    while len(said) < len(text):
        assert select.select([con.proc.stdout], [], [], CAP)[0], f'{text!r} is not shown'
        said += os.read(con.proc.stdout.fileno(), len(text) - len(said))
    assert said == text


def woken(con):
    """How often the console has gone to sleep and come back."""
    with open(f'/proc/{con.proc.pid}/status') as f:
        return int(re.search(r'^voluntary_ctxt_switches:\s*(\d+)', f.read(), re.M).group(1))


def asleep(con):
    with open(f'/proc/{con.proc.pid}/stat') as f:
        return f.read().rsplit(')', 1)[1].split()[0] == 'S'


def types_in(con, keys):
    """Type keys, and wait until the console has taken them from the terminal and sleeps
    again.  The terminal hands them over some time after the write, so that none waiting
    there means little by itself."""
    while keys:
        until(lambda: asleep(con), 'the console sleeps')
        before = woken(con)
        keys = keys[os.write(con.typed, keys[:1000]):]
        until(lambda: woken(con) > before and fcntl.ioctl(con.slave, termios.FIONREAD, bytes(4)) == bytes(4),
              'the keys are taken')


def until(test, words):
    end = time.monotonic() + CAP
    while not test():
        assert time.monotonic() < end, words
        time.sleep(0.002)


def fill(con, tmp_path):
    """Keys until the FIFO is full; how many."""
    end = os.open(tmp_path / 'con.in', os.O_WRONLY | os.O_NONBLOCK)
    n = 0
    try:
        while True:
            n += os.write(end, b'.' * 4096)
    except BlockingIOError:
        os.close(end)
        return n


def take(con, n):
    """n bytes out of the FIFO."""
    got = b''
    while len(got) < n:
        assert select.select([con.keys], [], [], CAP)[0], f'{len(got)} of {n} keys came'
        got += os.read(con.keys, n - len(got))
    return got


def test_console_waits_for_the_log_to_grow(console):
    """It does not look again and again: nothing wakes it until the guest says something."""
    def idle():
        before = woken(console)
        time.sleep(0.01)
        return asleep(console) and woken(console) == before

    shows(console, b'a')
    until(idle, 'it sleeps')
    before = woken(console)
    time.sleep(0.3)  # whoever looks every 50 ms does so meanwhile
    assert woken(console) == before
    shows(console, b'b')


def test_console_waits_for_a_full_fifo(console, tmp_path):
    full = fill(console, tmp_path)
    types_in(console, b'abc')
    shows(console, b'alive')
    take(console, full)
    assert take(console, 3) == b'abc'


def test_console_leaves_at_once(console, tmp_path):
    fill(console, tmp_path)
    types_in(console, b'x' * 20000)
    assert console.proc.poll() is None
    os.write(console.typed, b'\x1d')
    assert console.proc.wait(CAP) == 0


def test_console_interrupt_overtakes_a_paste(console, tmp_path):
    full = fill(console, tmp_path)
    types_in(console, b'x' * 20000)
    types_in(console, b'\x03')
    take(console, full)
    assert take(console, 1) == b'\x03'


def test_forwarded_ports_are_free_ones_and_named(capture, tmp_path):
    done = capture('-p', '80', '-u', '7', '-t', '1', code=STAYS)
    assert done.returncode == 124
    rows = [row.split() for row in (tmp_path / 'run' / 'ports').read_text().splitlines()]
    assert [row[:3] for row in rows] == [['tcp', '80', '127.0.0.1'], ['udp', '7', '127.0.0.1']]
    assert all(int(row[3]) > 1023 for row in rows)


# With the real kernel.

def real(tmp_path, *args):
    done = subprocess.run([CAPTURE, '-d', tmp_path / 'run', '-k', REAL, '-i', os.path.join(BUILD, 'fs.img'), *args],
                          env=dict(os.environ, NETTRACE=NETTRACE), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=CAP)
    assert done.returncode == 0 and done.stderr == '', done.stderr
    return done.stdout.replace('\r', '')


def test_guest_line_finds_the_network(tmp_path):
    """It begins when DHCP is done: the first thing it does may be to call; and readiness
    that came while the guest ran is seen after its end."""
    said = real(tmp_path, '-w', 'ip', '-G', 'ping -c 1 10.0.2.2')
    assert '1 sent, 1 received' in said and said.startswith('ping 10.0.2.2 ')


@pytest.mark.parametrize('args', [('-n', 'none'), ('-a', 'ip=none'), ('-a', 'ip=10.0.2.15/24')], ids=' '.join)
def test_guest_line_waits_for_no_lease(tmp_path, args):
    """Where none will come.  (Time is counted in instructions: a lease takes a second.)"""
    assert real(tmp_path, '-D', *args, '-G', 'uptime').startswith('up 0:00:00.')


def test_udp_answer_reaches_the_host(tmp_path):
    ask = ('import os, socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); '
           f's.settimeout({CAP}); s.connect(("127.0.0.1", int(os.environ["UDP_7"]))); '
           's.send(b"hello"); print(s.recv(100).decode())')
    assert real(tmp_path, '-u', '7', '-a', 'rc=off run="udpecho 7"', '-w', 'ip', '-w', 'sock_state to=BOUND',
                '--', sys.executable, '-c', ask) == 'hello\n'
