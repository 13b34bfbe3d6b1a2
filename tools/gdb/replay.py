"""Back in time: net-goto, net-back.  They work on a recording (make record).

QEMU repeats a recording exactly, but only forwards and only if nobody writes into the
guest.  So a replay is begun anew for each step back, and the event is waited for with a
watchpoint on the word of its slot that says "complete": which slot that is, the
recording's own memory tells.

A replay of QEMU 7.2 that was stopped before the first frame has come, and goes on, nearly
always stands still for ever in the quiet that follows: such a one is not continued but begun
anew as well.  Should one stand still all the same, watchdog.py, which looks at its memory
and at the time that QEMU computes, ends it, and it is begun once more.
"""

import os
import struct
import subprocess

import gdb

from common import KERNBASE, check_kernel, number, var
from nettrace import CONT, SLOT, Ring, page
from run import Runner, here, newest, resume, run_to, select_emitter

SEQ = 12  # where a slot's number lies in it
STILL = 5 * float(os.environ.get('SLOW') or 1)  # seconds without a new event, and without work
TRIES = 4

replay = None   # the process that holds the replay, until its input ends
watcher = None  # the one that ends it if it stands still


class Recording:
    """What the recorded run left in its memory: one ring, as one CPU was recorded."""

    def __init__(self):
        self.run = os.environ.get('XV6_RECORDING')
        if not self.run:
            raise gdb.GdbError('only in a replay: make record makes a recording, make gdb RR=replay looks at it')
        with open(os.path.join(self.run, 'ram'), 'rb') as self.ram:
            cpu = var('&nt_page.cpu[0]')
            self.head_at = (int(cpu['head'].address) & 0xffffffff) - KERNBASE
            self.base, self.head = (self.word(int(cpu[field].address)) for field in ('ring_pa', 'head'))
            self.nslots = self.word(int(var('&nt_page.hdr.nslots')))
            self.first = {seq: self.start(seq) for seq in range(max(0, self.head - self.nslots), self.head)}
            frame = int(gdb.parse_and_eval('TR_e1000_rx'))
            self.quiet = next((seq for seq in self.first if self.word(self.slot(seq) + 8) & 0xffff == frame), self.head)

    def word(self, addr):
        self.ram.seek((addr & 0xffffffff) - KERNBASE)
        return struct.unpack('<I', self.ram.read(4))[0]

    def start(self, seq):
        """The first slot of the record that this one belongs to."""
        nsl = self.word(self.slot(seq) + 8) >> 24
        return seq - (nsl - CONT if nsl & CONT else 0)

    def slot(self, seq):
        return KERNBASE + self.base + seq % self.nslots * SLOT


def watch(word):
    """go: from now on the ring must grow; stop: it need not."""
    try:
        if watcher:
            watcher.stdin.write(word)
    except BrokenPipeError:
        pass  # it has ended the replay


def stood_still():
    """Has the replay been ended for that?"""
    try:
        return watcher is not None and watcher.wait(3) == 1
    except subprocess.TimeoutExpired:
        return False


def end():
    """End the replay that runs, if one does."""
    global replay, watcher
    if replay is None:
        return
    try:
        gdb.execute('disconnect', to_string=True)
    except gdb.error:
        pass  # it has ended itself
    for process in filter(None, (watcher, replay)):
        process.stdin.close()
        process.wait()
    replay = watcher = None


def begin(recording):
    """The replay again, from where the first event can come."""
    global replay, watcher
    end()
    replay = subprocess.Popen([os.path.join(os.environ['XV6_TOP'], 'tools', 'record'), 'stand'], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, env=dict(os.environ, RUN=recording.run), start_new_session=True)
    where = replay.stdout.readline().decode().strip()
    if not where:
        raise gdb.GdbError(f'{recording.run}: QEMU does not repeat it; make replay says why')
    watcher = subprocess.Popen([os.path.join(os.environ['XV6_TOP'], 'tools', 'gdb', 'watchdog.py'), os.path.join(where, 'ram'),
                                str(recording.head_at), str(replay.pid), str(STILL)], stdin=subprocess.PIPE, bufsize=0,
                               start_new_session=True)
    watch(b'go\n')
    gdb.execute(f'target remote {where}/gdb.sock', to_string=True)
    run_to('trace_select', hardware=True)
    check_kernel()


def go_to(recording, seq):
    """Run to where the record that begins at slot seq is complete; its row, and where we are."""
    for _ in range(TRIES):
        watch(b'go\n')
        try:
            return reach(recording, seq)
        except (gdb.GdbError, gdb.error):
            if not stood_still():
                raise
        finally:
            watch(b'stop\n')
        gdb.write('QEMU stood still in its replay: once more\n', gdb.STDERR)
        end()
    raise gdb.GdbError(f'net-goto: QEMU stood still in {TRIES} replays; try it again')


def reach(recording, seq):
    if replay is None or not recording.quiet < int(page()['cpu'][0]['head']) <= seq:
        begin(recording)
    addr = recording.slot(seq) + SEQ
    point = gdb.Breakpoint(f'*(unsigned *){addr:#x}', type=gdb.BP_WATCHPOINT, internal=True)
    point.silent = True
    try:
        while int(gdb.parse_and_eval(f'*(unsigned *){addr:#x}')) != seq + 1:
            resume()
    finally:
        point.delete()
    select_emitter()
    here.clear()
    here.update(newest(0))
    sal = gdb.selected_frame().find_sal()
    return {**here, 'function': gdb.selected_frame().name(), 'line': f'{sal.symtab.filename}:{sal.line}' if sal.symtab else '?'}


class NetGoto(Runner):
    """net-goto SEQ [--json]

In a replay: to the event with this number, forwards or back.  The guest stands right
behind the line that recorded it, exactly as it did in the recording.

  net-goto 100"""

    name = 'net-goto'
    attached = False

    def arguments(self, parser):
        parser.add_argument('seq', type=number)

    def rows(self, options):
        recording = Recording()
        if not 0 <= options.seq < recording.head:
            raise gdb.GdbError(f'net-goto: the recording has the events 0 to {recording.head - 1}')
        yield go_to(recording, recording.first.get(options.seq, options.seq))


class NetBack(Runner):
    """net-back [--json]

In a replay: to the event before the one we stand at.

  net-goto 100
  net-back"""

    name = 'net-back'
    attached = False

    def arguments(self, parser):
        pass

    def rows(self, options):
        recording = Recording()
        if replay is None:
            raise gdb.GdbError('net-back: go to an event first: net-goto 100')
        ring = Ring(0, page()['cpu'][0], recording.nslots)
        numbers = [seq for seq, _, _ in ring.records()][:2]
        if len(numbers) < 2:
            raise gdb.GdbError('net-back: this is the first event')
        yield go_to(recording, numbers[1])


for kind in (NetGoto, NetBack):
    kind()
gdb.events.gdb_exiting.connect(lambda _: end())
