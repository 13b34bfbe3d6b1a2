"""make demo, judged by others: tshark, and readers of our own (tests/lib/evidence.py).

tools/demo runs once per number of CPUs (and once by hand on QEMU's instruction
clock); each test looks at one of its claims.  The capture is the witness: what
ladder, events and merged file say must be what tshark reads from the wire.  At the
end the run is falsified, one thing at a time, and nettrace check must object.
"""

import json
import os
import re
import shutil
import struct
import subprocess

import pytest

from evidence import MAC, Trace, frames, pcap_records, write_pcap
from vm import BUILD, CAP, CAPTURE, KERNEL, NETTRACE, TOP

PAGE = os.path.join(TOP, 'user', 'fs', 'index.html')
LUA = os.path.join(TOP, 'tools', 'nettrace', 'wireshark', 'plugins', 'nettrace.lua')
OPTIONS = 'trace=all,-func,-pbuf_*,-frame trace_slots=65536'
CURL = 'exec curl -sS --max-time 20 -o "$NETTRACE_RUN/page.html" "http://127.0.0.1:$TCP_80/"'
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
CHECKS = [('--handshake',), ('--ends',), ('--sandwich',), ('--max-lost', '0'), ('--max-unmatched', '0'),
          ('--max-band', '100'), ('--no-drop', 'NOT_SPECIFIED')]

# RFC 9293, figure 5: which state may follow which.
NEXT = {'CLOSED': {'LISTEN', 'SYN_SENT'}, 'LISTEN': {'SYN_RECEIVED', 'SYN_SENT', 'CLOSED'},
        'SYN_RECEIVED': {'ESTABLISHED', 'FIN_WAIT_1', 'LISTEN'},
        'SYN_SENT': {'ESTABLISHED', 'SYN_RECEIVED', 'CLOSED'},
        'ESTABLISHED': {'FIN_WAIT_1', 'CLOSE_WAIT'}, 'FIN_WAIT_1': {'FIN_WAIT_2', 'CLOSING', 'TIME_WAIT'},
        'FIN_WAIT_2': {'TIME_WAIT'}, 'CLOSE_WAIT': {'LAST_ACK'}, 'CLOSING': {'TIME_WAIT'},
        'LAST_ACK': {'CLOSED'}, 'TIME_WAIT': {'CLOSED'}}


def tool(*args):
    """nettrace: (exit status, what it printed, what it complained of)."""
    done = subprocess.run([NETTRACE, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=CAP)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def tshark(path, *fields, where='', env=None, lua=()):
    """tshark's reading of a capture: a list of lists of strings."""
    command = ['tshark', '-n', *lua, '-o', 'tcp.relative_sequence_numbers:TRUE', '-r', path, '-T', 'fields',
               '-E', 'separator=|']
    command += ['-Y', where] if where else []
    command += [word for field in fields for word in ('-e', field)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=CAP,
                          env=dict(os.environ, LC_ALL='C', **(env or {})))
    assert done.returncode == 0, done.stderr.decode()
    return [line.split('|') for line in done.stdout.decode().splitlines()]


class Run:
    """A finished demo: its directory and what the independent readers made of it."""

    def __init__(self, path, status, text):
        self.dir, self.status, self.text = path, status, text

    def file(self, name):
        return os.path.join(self.dir, name)

    def read(self):
        self.frames = frames(self.file('wire.pcap'))
        self.trace = Trace(self.file('trace.nt'))
        self.rows = self.trace.records()
        self.shark = self.ask_tshark()
        return self

    def ask_tshark(self):
        columns = dict(no='frame.number', len='frame.len', src='eth.src', type='eth.type', ipid='ip.id',
                       stream='tcp.stream', flags='tcp.flags', seq='tcp.seq_raw', ack='tcp.ack_raw',
                       rseq='tcp.seq', rack='tcp.ack', paylen='tcp.len', sum='tcp.checksum', port='tcp.srcport',
                       time='frame.time_epoch')
        rows = [dict(zip(columns, line)) for line in tshark(self.file('wire.pcap'), *columns.values())]
        for row in rows:
            row['out'] = row.pop('src') == MAC.hex(':')
            for key in set(row) - {'out', 'time'}:
                row[key] = int(row[key] or '0', 0) if key != 'stream' else row[key]
            row['us'] = round(float(row['time']) * 1000000)
        return rows

    def tcp(self):
        """tshark's TCP frames; the demo has one connection."""
        return [row for row in self.shark if row['stream'] == '0']

    def events(self, *names):
        return [row for row in self.rows if row['event'] in names]

    def start(self):
        """Index of the first row of the connection: its SYN is reaped."""
        syn = self.events('tcp_seg_in')[0]['pkt']
        return next(i for i, row in enumerate(self.rows) if row['pkt'] == syn)


@pytest.fixture(scope='module', params=[1, 2, 4, 'D'], ids='cpus{}'.format)
def run(request, tmp_path_factory):
    path = str(tmp_path_factory.mktemp('demo') / 'run')
    env = dict(os.environ, NETTRACE=NETTRACE, B=BUILD)
    if request.param == 'D':
        command = [CAPTURE, '-D', '-d', path, '-k', KERNEL, '-i',
                   os.path.join(BUILD, 'fs.img'), '-p', '80', '-a', OPTIONS, '--', 'sh', '-c', CURL]
    else:
        command = [os.path.join(TOP, 'tools', 'demo'), str(request.param), path]
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=CAP)
    said = done.stdout.decode() + done.stderr.decode()
    if request.param == 'D':
        assert done.returncode == 0, said
        assert tool('merge', '-o', path + '/merged.pcapng', path)[0] == 0
        assert tool('ladder', '-o', path + '/ladder.txt', path)[0] == 0
        assert tool('html', '-o', path + '/timeline.html', path)[0] == 0
    assert os.path.exists(path + '/ladder.txt'), said
    yield Run(path, done.returncode, said).read()
    if request.session.testsfailed == 0:
        shutil.rmtree(path)


# ---- what the demo leaves ---------------------------------------------------

def test_status_and_files(run):
    assert run.status == 0, run.text
    for name in ('wire.pcap', 'trace.nt', 'merged.pcapng', 'ladder.txt', 'timeline.html'):
        assert os.path.getsize(run.file(name)) > 500, name
    with open(run.file('page.html'), 'rb') as got, open(PAGE, 'rb') as want:
        assert got.read() == want.read()
    assert 'never' not in run.text and '✗' not in run.text


def test_page_on_the_wire(run):
    """The bytes after the answer's header, put together from the frames."""
    sent = b''.join(frame['payload'] for frame in run.frames if frame['proto'] == 6 and frame['out'])
    with open(PAGE, 'rb') as want:
        assert sent.startswith(b'HTTP/1.1 200 OK\r\n') and sent.partition(b'\r\n\r\n')[2] == want.read()


def test_two_readers_agree(run):
    """tshark's reading and ours of the capture: whatever one gets wrong, both must."""
    def ours(frame):
        tcp = frame['proto'] == 6
        return [frame['len'], frame['out'], frame['type'], frame['ipid'], frame['us'],
                *([frame[key] for key in ('sport', 'seq', 'ack', 'flags', 'paylen', 'l4sum')] if tcp else [0] * 6)]
    assert [ours(frame) for frame in run.frames] == [
        [row[key] for key in ('len', 'out', 'type', 'ipid', 'us', 'port', 'seq', 'ack', 'flags', 'paylen', 'sum')]
        for row in run.shark]


# ---- frames and events ------------------------------------------------------

def prints(rows):
    return [tuple(row['fields'][key] for key in ('len', 'type', 'ipid', 'l4sum', 'hash')) for row in rows]


def test_each_frame_has_its_driver_event(run):
    """In order: what was captured going out is what e1000_tx said, what came in what
    e1000_rx said; only frames before the driver listened may be missing."""
    def wire(out):
        return [tuple(frame[key] for key in ('len', 'type', 'ipid', 'l4sum', 'hash'))
                for frame in run.frames if frame['out'] == out]
    assert prints(run.events('e1000_tx')) == wire(True)
    reaped, came = prints(run.events('e1000_rx')), wire(False)
    early = len(came) - len(reaped)
    assert early >= 0 and came[early:] == reaped
    before_dhcp_is_done = next(i for i, frame in enumerate(run.frames) if frame['proto'] == 6)
    assert early <= sum(not frame['out'] for frame in run.frames[:before_dhcp_is_done])


def test_each_segment_has_its_tcp_event(run):
    """Same numbers as tshark's, same order, and the packet's identity joins the two ends."""
    for out, tcp, card in ((False, 'tcp_seg_in', 'e1000_rx'), (True, 'tcp_seg_out', 'e1000_tx')):
        seen = [row for row in run.tcp() if row['out'] == out]
        events = run.events(tcp)
        assert [tuple(row['fields'][key] for key in ('seq', 'ack', 'flags', 'len')) for row in events] == \
               [tuple(row[key] for key in ('seq', 'ack', 'flags', 'paylen')) for row in seen]
        for event, row in zip(events, seen):
            at_card = [e['fields'] for e in run.events(card) if e['pkt'] == event['pkt']]
            assert [(e['len'], e['ipid'], e['l4sum']) for e in at_card] == [(row['len'], row['ipid'], row['sum'])]
            assert event['fields']['lport'] == 80 and event['fields']['rport'] == run.tcp()[0]['port']


def test_frames_lie_between_their_events(run):
    """By the tool's own clock: e1000_tx, frame, e1000_txkick; frame, e1000_rx."""
    status, text, _ = tool('dump', '--json', run.dir)
    assert status == 0
    rows = [json.loads(line) for line in text.splitlines()]
    band = 1000 * float(re.search(r'clock \w+ ±([0-9.]+) µs', tool('info', run.dir)[2]).group(1)) + 100
    kicks = {row['pkt']: row['t_ns'] for row in rows if row['event'] == 'e1000_txkick'}
    joined = {row['frame']: row for row in rows if 'frame' in row and row['event'] in ('e1000_rx', 'e1000_tx')}
    for number, frame in enumerate(run.frames, 1):
        row = joined.get(number)
        if row is None:
            continue
        stamp = frame['us'] * 1000
        if frame['out']:
            assert row['t_ns'] - band <= stamp + 999 and stamp <= kicks[row['pkt']] + band, number
        else:
            assert stamp <= row['t_ns'] + band, number
    assert set(joined) >= {row['no'] for row in run.tcp()}


def test_no_frame_waits_for_the_card(run):
    """QEMU's card holds reception back for a second after each write to RCTL.  Only the
    frames before the first one reaped may have waited so: there was one write, at boot."""
    rows = [json.loads(line) for line in tool('dump', '--json', run.dir)[1].splitlines()]
    reaped = [(row['t_ns'] // 1000, row['frame']) for row in rows if row['event'] == 'e1000_rx']
    first = reaped[0][0]
    waits = {frame: us - run.frames[frame - 1]['us'] for us, frame in reaped}
    late = {frame: us for frame, us in waits.items() if run.frames[frame - 1]['us'] > first and us > 500000}
    assert late == {}, 'us that frames waited'


def test_each_packet_ends_once(run):
    ends = run.events('pkt_end')
    born = {row['pkt'] for row in run.rows if row['pkt'] and row['event'] in ('e1000_rx', 'e1000_tx')}
    assert sorted(row['pkt'] for row in ends if row['pkt'] in born) == sorted(born)
    for row in ends:
        lived = [r['event'] for r in run.rows if r['pkt'] == row['pkt']]
        fate = run.trace.named(row, 'fate')
        assert fate in {'e1000_rx': ('SOCKET', 'STACK'), 'e1000_tx': ('WIRE',)}.get(
            next((name for name in lived if name.startswith('e1000_')), ''), ('STACK',)), (row, lived)
    assert run.events('net_drop') == []


# ---- the connection ---------------------------------------------------------

def test_handshake_in_both_views(run):
    wire = [(row['out'], row['flags'], row['seq'], row['ack']) for row in run.tcp()[:3]]
    kernel = [(row['event'] == 'tcp_seg_out', *(row['fields'][key] for key in ('flags', 'seq', 'ack')))
              for row in run.events('tcp_seg_in', 'tcp_seg_out')[:3]]
    assert wire == kernel
    (_, _, theirs, _), (_, _, ours, _), _ = wire
    assert wire == [(False, SYN, theirs, 0), (True, SYN | ACK, ours, theirs + 1), (False, ACK, theirs + 1, ours + 1)]


def test_answer_knows_its_question(run):
    """REPLY: SYN -> SYN,ACK, and FIN -> ACK."""
    replies = [(row['fields']['parent'], row['pkt']) for row in run.events('pkt_link')
               if run.trace.named(row, 'kind') == 'REPLY']
    come = {row['fields']['flags']: row['pkt'] for row in run.events('tcp_seg_in')}
    sent = {row['fields']['flags']: row['pkt'] for row in run.events('tcp_seg_out')}
    assert (come[SYN], sent[SYN | ACK]) in replies
    assert (come[FIN | ACK], sent[ACK]) in replies


def test_states_in_the_rfc_s_order(run):
    """Each change is one that RFC 9293 has, starts where the last one ended, and
    belongs to the segment that the wire shows as its cause."""
    port = run.tcp()[0]['port']
    changes = [row for row in run.events('tcp_state') if row['fields']['rport'] == port]
    path = [(run.trace.named(row, 'from'), run.trace.named(row, 'to')) for row in changes]
    for i, (old, new) in enumerate(path):
        assert new in NEXT[old] and (i == 0 or path[i - 1][1] == old), path
    assert path[0][0] == 'LISTEN' and path[-1][1] in ('CLOSED', 'TIME_WAIT')
    cause = {row['pkt']: row['fields']['flags'] for row in run.events('tcp_seg_in')}
    why = {new: (run.trace.named(row, 'why'), cause.get(row['pkt'])) for row, (_, new) in zip(changes, path)}
    assert why['SYN_RECEIVED'] == ('SEGMENT', SYN) and why['ESTABLISHED'] == ('SEGMENT', ACK)
    assert why['CLOSE_WAIT'] == ('SEGMENT', FIN | ACK) and why['LAST_ACK'][0] == 'API'
    assert why['CLOSED'] == ('SEGMENT', ACK)
    listener = [row for row in run.events('tcp_state') if row['fields']['rport'] == 0]
    assert [run.trace.named(row, 'to') for row in listener] == ['LISTEN']


def test_process_sleeps_and_is_woken(run):
    """httpd sleeps when the SYN comes, the handshake's ACK wakes it, and accept and
    recv return what the wire carried; the FIN wakes it again."""
    pid = next(row['pid'] for row in run.events('proc') if row['fields']['name'] == 'httpd'
               and run.trace.named(row, 'what') == 'EXEC')
    rows = run.rows[run.start():]
    before = [row for row in run.rows[:run.start()] if row['event'] in ('sleep', 'wakeup')
              and pid in (row['pid'] if row['event'] == 'sleep' else None, row['fields'].get('who'))]
    assert before[-1]['event'] == 'sleep' and run.trace.named(before[-1], 'why') == 'POLL'

    def place(start, event, **want):
        for i in range(start, len(rows)):
            row = rows[i]
            if row['event'] == event and all(row['fields'].get(k, row.get(k)) == v for k, v in want.items()):
                return i
        pytest.fail(f'no {event} {want} after row {start}')

    pkts = {row['fields']['flags']: row['pkt'] for row in rows if row['event'] == 'tcp_seg_in'
            and row['fields']['flags'] != ACK}
    first_ack = next(row['pkt'] for row in rows if row['event'] == 'tcp_seg_in' and row['fields']['flags'] == ACK)
    conn = next(row['sock'] for row in rows if row['event'] == 'tcp_state')
    asked = sum(row['paylen'] for row in run.tcp() if not row['out'])
    answered = sum(row['paylen'] for row in run.tcp() if row['out'])
    calls = {name: number for number, name in run.trace.sets['SYS'].items()}
    i = place(0, 'tcp_seg_in', pkt=first_ack)
    i = place(i, 'wakeup', who=pid, pkt=first_ack)
    i = place(i, 'switch', next=pid)
    i = place(i, 'sys_enter', pid=pid, nr=calls['accept'])
    i = place(i, 'sock_accept', pid=pid, sock=conn)
    fd = rows[place(i, 'sys_exit', pid=pid, nr=calls['accept'])]['fields']['ret']
    assert fd > 2
    data = place(0, 'sock_rx', n=asked, pkt=pkts[PSH | ACK])
    i = place(max(i, data), 'sock_read', pid=pid, sock=conn, n=asked, pkt=pkts[PSH | ACK])
    i = place(i, 'sys_exit', pid=pid, nr=calls['recv'], ret=asked)
    i = place(i, 'sock_tx', pid=pid, sock=conn, n=answered)
    i = place(i, 'sys_exit', pid=pid, nr=calls['send'], ret=answered)
    end = place(i, 'sys_exit', pid=pid, nr=calls['recv'], ret=0)
    fin = place(0, 'tcp_seg_in', pkt=pkts[FIN | ACK])
    slept = [row for row in rows[:fin] if row['event'] == 'sleep' and row['pid'] == pid
             or row['event'] == 'wakeup' and row['fields']['who'] == pid]
    if run.trace.named(slept[-1], 'why') == 'POLL' and slept[-1]['event'] == 'sleep':
        assert place(fin, 'wakeup', who=pid, pkt=pkts[FIN | ACK]) < end
    place(end, 'sys_exit', pid=pid, nr=calls['close'], ret=0)


# ---- the ladder -------------------------------------------------------------

ROW = re.compile(r'^ *(\d+) +([-+]\d+\.\d) *([-\d.]+)? +(#\d+)? *(├─|◀─)(.*?)(▶|┤)')


def arrows(text):
    """The frames of a ladder: (goes out, label, time in us, packet)."""
    out = []
    for line in text.splitlines():
        hit = ROW.match(line)
        if hit:
            out.append((hit[5] == '◀─', hit[6].strip(' ─'), float(hit[2]), hit[4]))
    return out


def expected_label(row):
    """SYN seq 0, PSH,ACK 1 ack 80: what the ladder must say of tshark's TCP row."""
    names = [name for bit, name in ((SYN, 'SYN'), (FIN, 'FIN'), (RST, 'RST'), (PSH, 'PSH'), (ACK, 'ACK'))
             if row['flags'] & bit]
    numbers = f"{row['rseq']} ack {row['rack']}" if row['flags'] & ACK else f"seq {row['rseq']}"
    return ','.join(names) + ' ' + numbers


def near(drawn, stamps):
    """A stamp is a microsecond cut off; where the clock is exact, the ladder knows the rest."""
    return len(drawn) == len(stamps) and all(-1 < us - stamp < 1 for us, stamp in zip(drawn, stamps))


def test_ladder_of_the_connection(run):
    """ladder.txt: this connection's segments, each once, in the wire's order, with
    tshark's flags and numbers, at the capture's time, beside the right packet."""
    with open(run.file('ladder.txt')) as f:
        text = f.read()
    drawn = [row for row in arrows(text) if 'ack' in row[1] or 'seq' in row[1]]
    assert [(out, label) for out, label, _, _ in drawn] == \
           [(row['out'], expected_label(row)) for row in run.tcp()]
    zero = run.tcp()[0]['us']
    assert near([us for _, _, us, _ in drawn], [row['us'] - zero for row in run.tcp()])
    pkts = [row['pkt'] for row in run.events('tcp_seg_in', 'tcp_seg_out')]
    assert sorted(int(pkt[1:]) for _, _, _, pkt in drawn) == sorted(pkts)
    for row in run.tcp():
        if row['paylen']:
            assert f"{row['paylen']} bytes" in text
    for word in ('LISTEN → SYN-RECEIVED', 'SYN-RECEIVED → ESTABLISHED', 'ESTABLISHED → CLOSE-WAIT', 'wakeup pid',
                 'sleeps', 'accept', 'recv', 'who has 10.0.2.2?', '10.0.2.2 is here'):
        assert word in text, word


def test_ladder_of_everything(run):
    """--all: every frame of the capture once, in order."""
    status, text, _ = tool('ladder', '--all', '--width', '200', run.dir)
    assert status == 0
    first = run.frames[0]['us']
    drawn = arrows(text)
    assert [out for out, _, _, _ in drawn] == [frame['out'] for frame in run.frames]
    zero = next(us for _, _, us, _ in drawn)
    assert near([us - zero for _, _, us, _ in drawn], [frame['us'] - first for frame in run.frames])
    dots = len(re.findall(r'^ *\d+ +[-+]', text, re.M))
    assert dots == len(run.frames) + len(run.rows), 'a row for each frame and each record'


# ---- files for others -------------------------------------------------------

def test_merged_file(run, tmp_path):
    """tshark reads the frames unchanged, each event once, and with the Lua plugin
    one filter finds both halves of the connection."""
    merged = run.file('merged.pcapng')
    keys = ('frame.time_epoch', 'frame.len', 'eth.src', 'tcp.seq_raw', 'tcp.ack_raw', 'tcp.flags', 'tcp.checksum')
    assert [[row[0][:-3], *row[1:]] for row in tshark(merged, *keys, where='eth')] == \
           [[row[0][:-3], *row[1:]] for row in tshark(run.file('wire.pcap'), *keys)]
    meta = tmp_path / 'nettrace.meta'
    meta.write_text(run.trace.meta)
    lua = ('-X', 'lua_script:' + LUA)
    env = dict(NETTRACE_META=str(meta), WIRESHARK_CONFIG_DIR=str(tmp_path))
    names = [row[0] for row in tshark(merged, 'nettrace.event', where='nettrace.event', env=env, lua=lua)]
    assert sorted(names) == sorted(row['event'] for row in run.rows)
    both = tshark(merged, 'eth.type', 'nettrace.event', 'nettrace.tcp_seg_in.seq', where='tcp.stream eq 0', env=env,
                  lua=lua)
    assert sum(row[0] != '' for row in both) == len(run.tcp())
    for name in ('tcp_seg_in', 'tcp_seg_out'):
        assert sum(row[1] == name for row in both) == len(run.events(name))
    assert {row[1] for row in both} >= {'e1000_rx', 'ip_in', 'tcp_state', 'e1000_tx', 'pkt_end'}
    assert [int(row[2]) for row in both if row[1] == 'tcp_seg_in'] == \
           [row['seq'] for row in run.tcp() if not row['out']]


def test_saved_trace(run, tmp_path):
    """Saving the saved gives the same bytes; the tool decodes what our reader decodes."""
    again = tmp_path / 'again.nt'
    assert tool('save', '-o', again, run.file('trace.nt'))[0] == 0
    with open(run.file('trace.nt'), 'rb') as f:
        assert f.read() == again.read_bytes()
    status, text, _ = tool('dump', '--json', run.file('trace.nt'))
    assert status == 0 and tool('dump', '--json', again)[1] == text
    said = [json.loads(line) for line in text.splitlines()]
    assert [(row['event'], row['seq'], row['cpu'], row['tsc'], row['pkt'], row['sock'], row['pid'])
            for row in said] == [(row['event'], row['seq'], row['cpu'], row['tsc'], row['pkt'], row['sock'],
                                  row['pid']) for row in run.rows]
    for got, row in zip(said, run.rows):
        for kind, field, unit in run.trace.events[run.trace.ids[row['event']]][2]:
            if unit in ('num', 'byte', 'us', 'ms', 'port', 'pid', 'id', 'tsc'):
                assert got['fields'][field] == row['fields'][field], (row, field)


def test_order_and_account(run):
    """Stamps rise; each CPU's slots are numbered without a gap from 0 on."""
    stamps = [row['tsc'] for row in run.rows]
    assert stamps == sorted(stamps)
    for cpu in {row['cpu'] for row in run.rows}:
        mine = [(row['seq'], row['nsl']) for row in run.rows if row['cpu'] == cpu]
        assert mine[0][0] == 0
        assert [seq + nsl for seq, nsl in mine[:-1]] == [seq for seq, _ in mine[1:]]
    assert run.events('lost') == []


@pytest.mark.parametrize('flags', CHECKS, ids=' '.join)
def test_check(run, flags):
    status, text, error = tool('check', *flags, run.dir)
    assert (status, text) == (0, ''), error


def test_clock(run, request):
    said = tool('info', run.dir)[1]
    status, findings, _ = tool('check', '--max-band', '0', run.dir)
    if 'cpusD' in request.node.name:
        assert 'clock     identity, ±0.0 µs' in said and (status, findings) == (0, '')
    else:
        assert 'clock     anchored, ±' in said and status == 1 and 'the clock is known to' in findings


# ---- falsified runs ---------------------------------------------------------

@pytest.fixture
def forged(run, tmp_path):
    """A copy of the run's evidence: (trace, capture's header, its frames, write)."""
    trace = Trace(run.file('trace.nt'))
    header, rows = pcap_records(run.file('wire.pcap'))

    def check(*flags):
        trace.write(tmp_path / 'trace.nt')
        write_pcap(tmp_path / 'wire.pcap', header, rows)
        status, text, error = tool('check', *flags, tmp_path / 'trace.nt', tmp_path / 'wire.pcap')
        return status, text + error
    check.trace, check.rows = trace, rows
    return check


def slot_of(trace, event, flags=None, last=False):
    """Slot index of an event, for segments the one with these flags."""
    rows = [row for row in trace.records() if row['event'] == event
            and flags in (None, row['fields'].get('flags'))]
    return rows[-1 if last else 0]['slot']


def put(trace, slot, at, data):
    old = trace.slots[slot]
    trace.slots[slot] = old[:at] + data + old[at + len(data):]


def tcp_frame(rows, flags):
    return next(i for i, row in enumerate(rows) if row[2][23:24] == b'\6' and row[2][47] == flags)


def lose_event(check):
    del check.trace.slots[slot_of(check.trace, 'tcp_seg_out', SYN | ACK)]


def lose_bare_ack(check):
    del check.rows[tcp_frame(check.rows, ACK)]


def lose_end(check):
    del check.trace.slots[slot_of(check.trace, 'pkt_end')]


def lose_frame(check):
    del check.rows[tcp_frame(check.rows, SYN | ACK)]


def add_frame(check):
    row = check.rows[tcp_frame(check.rows, FIN | ACK)]
    check.rows.append([row[0], row[1] + 100, row[2][:-6] + b'forged'])


def shift_capture(check):
    for row in check.rows:
        row[1] += 1000
        row[0], row[1] = row[0] + row[1] // 1000000, row[1] % 1000000


def shift_sync(check):
    """All anchors of the trace say that it is 1 ms later than it is."""
    for row in check.trace.records():
        if row['event'] == 'clock_sync':
            value = row['fields']
            put(check.trace, row['slot'], 36, struct.pack('<II', (value['hpet'] + 100000) & 0xffffffff,
                                                          (value['pmt'] + 3580) & 0xffffff))


def shift_one_frame(check):
    """The answer's first segment was on the wire after the card had been told: by 1 ms."""
    for row in check.rows[tcp_frame(check.rows, SYN | ACK):]:
        row[1] += 1000
        row[0], row[1] = row[0] + row[1] // 1000000, row[1] % 1000000


def swap_syn(check):
    syn, answer = tcp_frame(check.rows, SYN), tcp_frame(check.rows, SYN | ACK)
    check.rows[syn][2], check.rows[answer][2] = check.rows[answer][2], check.rows[syn][2]


def other_seq(check):
    """The kernel tells of another, consistent handshake."""
    put(check.trace, slot_of(check.trace, 'tcp_seg_in', SYN), 36, struct.pack('<I', 12345))
    put(check.trace, slot_of(check.trace, 'tcp_seg_out', SYN | ACK), 40, struct.pack('<I', 12346))
    for flags in (ACK, PSH | ACK):
        put(check.trace, slot_of(check.trace, 'tcp_seg_in', flags), 36, struct.pack('<I', 12346))


def broken_answer(check):
    put(check.trace, slot_of(check.trace, 'tcp_seg_out', SYN | ACK), 40, struct.pack('<I', 12346))


def two_ends(check):
    """The packet's ip_in becomes a second pkt_end."""
    end, other = slot_of(check.trace, 'pkt_end', last=True), slot_of(check.trace, 'ip_in', last=True)
    put(check.trace, other, 8, check.trace.slots[end][8:10])
    put(check.trace, other, 16, check.trace.slots[end][16:])


def drop_without_reason(check):
    """A packet that ends as dropped, and no net_drop before it."""
    put(check.trace, slot_of(check.trace, 'pkt_end'), 24, b'\3')


def drop_not_specified(check):
    slot = slot_of(check.trace, 'ethif_rx')
    put(check.trace, slot, 8, struct.pack('<H', check.trace.ids['net_drop']))
    put(check.trace, slot, 24, b'\1')


def nothing(check):
    pass


@pytest.mark.parametrize('forge, flags, statuses, words', [
    (nothing, ('--handshake', '--ends', '--max-lost', '0', '--max-unmatched', '0', '--sandwich'), {0}, '0 events lost'),
    (lose_event, ('--handshake',), {1}, 'no SYN,ACK in the events'),
    (lose_event, ('--max-lost', '0'), {1}, '1 slots lost on cpu'),
    (lose_end, ('--ends',), {1}, 'has no pkt_end'),
    (two_ends, ('--ends',), {1}, 'has 2 pkt_end'),
    (drop_without_reason, ('--ends',), {1}, 'DROP without a net_drop'),
    (drop_not_specified, ('--no-drop', 'NOT_SPECIFIED'), {1}, 'dropped: NOT_SPECIFIED'),
    (lose_frame, ('--max-unmatched', '0'), {1}, 'unmatched: packet #'),
    (lose_frame, ('--handshake',), {1}, 'no SYN,ACK in the capture'),
    (lose_bare_ack, ('--handshake',), {1}, 'is packet #'),
    (add_frame, ('--max-unmatched', '0'), {1}, 'unmatched: frame'),
    (shift_capture, ('--sandwich',), {1, 4}, 'frame'),
    (shift_one_frame, ('--sandwich',), {1, 4}, 'frame'),
    (shift_sync, ('--sandwich',), {1, 4}, 'frame'),
    (swap_syn, ('--handshake',), {1, 4}, ''),
    (other_seq, ('--handshake',), {1}, 'has seq 12345'),
    (broken_answer, ('--handshake',), {1}, 'no SYN,ACK in the events'),
], ids=lambda value: getattr(value, '__name__', None))
def test_check_objects(forged, forge, flags, statuses, words):
    forge(forged)
    status, said = forged(*flags)
    assert status in statuses and words in said, said


# ---- the same twice ---------------------------------------------------------

def test_same_run_twice(tmp_path):
    """-D without a peer on the host: trace and capture are identical, byte by byte."""
    def guest(name):
        run = tmp_path / name
        done = subprocess.run([CAPTURE, '-D', '-d', run, '-k', KERNEL, '-i',
                               os.path.join(BUILD, 'fs.img'), '-a', 'trace=all trace_slots=65536', '-G',
                               'nettop -b -n 2 -i 1; ls; cat README'], env=dict(os.environ, NETTRACE=NETTRACE),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=CAP)
        assert done.returncode == 0, done.stderr.decode()
        return run
    one, two = guest('one'), guest('two')
    for name in ('wire.pcap', 'trace.nt', 'serial.log'):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    rows = Trace(one / 'trace.nt').records()
    assert {'e1000_rx', 'e1000_tx', 'udp_in', 'arp_out', 'switch'} <= {row['event'] for row in rows}
