"""What nettrace writes for others' tools, read by these: babeltrace2, tshark, tcpdump, luac; a
mermaid diagram by a grammar of our own; and docs/events.md, which must be this kernel's."""

import json
import os
import re
import shutil
import socket
import subprocess
from collections import Counter

import pytest

from vm import CAP, NETTRACE, TOP, VM

WS = os.path.join(TOP, 'tools', 'nettrace', 'wireshark')
LUA = os.path.join(WS, 'plugins', 'nettrace.lua')
READY = ('ip', 'e1000_rx', 'tcp_state to=LISTEN')


def call(*command):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=CAP,
                          env=dict(os.environ, LC_ALL='C', TZ='UTC', NETTRACE_WS=WS))
    assert done.returncode == 0, f'{command}: {done.stderr.decode()}'
    return done.stdout.decode()


def tool(*args):
    return call(NETTRACE, *args)


def need(program, package):
    if not shutil.which(program):
        pytest.skip(f'{program} is not installed (package {package})')


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """The evidence of one HTTP request, and of a frame that is dropped, in a run directory."""
    path = tmp_path_factory.mktemp('tools') / 'run'
    path.mkdir()
    with VM(cpus=2, mb=64, wait=READY, udp=(9,), name='tools', append='trace=all,-func,-pbuf_*,-frame') as vm:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b'nobody listens;#"<', ('127.0.0.1', vm.port(9, 'udp')))
        vm.wait_event('net_drop')
        with socket.create_connection(('127.0.0.1', vm.port(80)), CAP) as client:
            client.sendall(b'GET /rc#;"<b>%% HTTP/1.0\r\n\r\n')
            while client.recv(65536):
                pass
        vm.wait_event('sock_state to=CLOSED')
        tool('save', '-q', '-o', path / 'trace.nt', os.path.join(vm.dir, 'ram'))
        shutil.copy(os.path.join(vm.dir, 'wire.pcap'), path)
    return path


@pytest.fixture(scope='module')
def rows(run):
    return [json.loads(line) for line in tool('dump', '-q', '--json', run).splitlines()]


# ---- CTF --------------------------------------------------------------------

LINE = re.compile(r'\[(\d+)\.(\d{9})\] \([^)]*\) ([^{]*): \{ (.*?) \}, \{ ?(.*?) ?\}$')
VALUE = re.compile(r'(\w+) = ("(?:[^"\\]|\\.)*"|\( (?:"\w+"|<unknown>)(?:, "\w+")* : container = \S+ \)|\[[^]]*\]|\S+?)(?:, |$)')


def ctf_value(text):
    """babeltrace2's text of a value: a number, a string, or a name's string."""
    if text.startswith('('):
        name = re.match(r'\( "(\w+)"', text)
        return name[1] if name else int(text.split()[-2], 0)
    if text.startswith('"'):
        return text[1:-1].replace('\\"', '"').replace('\\\\', '\\')
    return int(text, 0)


def ctf_fields(text):
    assert VALUE.sub('', text) == '', text
    return {name: ctf_value(value) for name, value in VALUE.findall(text)}


def bits_value(meta, unit, text):
    """A,B,0x40 as the number it stands for."""
    names = {m[2]: int(m[1], 0) for m in re.finditer(rf'^bits {unit} (\S+) (\S+)', meta, re.M)}
    return sum(names[word] if word in names else int(word, 0) for word in text.split(','))


def as_number(row, name, meta):
    """What dump --json says of a field, as the number that CTF has for it, if it has one."""
    unit = re.search(rf'^event \d+ {row["event"]} .*\n(?:\t.*\n)*?\t\S+ {name} (\S+)', meta, re.M)[1]
    value = row['fields'][name] if row['fields'][name] != '' else '-'
    if unit in ('hex', 'addr'):
        return int(value, 0)
    return bits_value(meta, unit, value) if re.search(rf'^bits {unit} ', meta, re.M) else value


def test_ctf(run, rows, tmp_path):
    """Every record, in order, with the values that dump gives."""
    need('babeltrace2', 'babeltrace2')
    tool('ctf', '-q', '-o', tmp_path / 'ctf', run)
    lines = call('babeltrace2', '--clock-seconds', tmp_path / 'ctf').splitlines()
    meta = tool('info', '-q', '--meta', run)
    assert len(lines) == len(rows) > 300
    last = 0
    for line, row in zip(lines, rows):
        hit = LINE.match(line)
        assert hit, line
        last = max(last, row['t_ns'])
        assert hit[3] == row['event']
        context = ctf_fields(hit[4])
        assert context == {**{key: row[key] for key in ('cpu', 'ctx', 'seq', 'tsc', 'pkt', 'sock', 'pid')},
                           'frame': row.get('frame', 0)}
        stamp = int(hit[1]) * 10**9 + int(hit[2])
        assert stamp >= last and (context['frame'] or stamp - last < 1000), 'monotone, and a frame moves it by less than 1 us'
        assert ctf_fields(hit[5]) == {name: as_number(row, name, meta) for name in row['fields']}, line
    assert {row['event'] for row in rows} >= {'net_drop', 'tcp_state', 'switch', 'proc'}


def test_ctf_of_a_damaged_trace(run, tmp_path):
    """A slot taken out of the file is one discarded event, and its neighbours are all there; an event
    that nothing describes is given as its bytes."""
    need('babeltrace2', 'babeltrace2')
    data = (run / 'trace.nt').read_bytes()
    start = 128 + (int.from_bytes(data[40:44], 'little') + 63) // 64 * 64
    at = start + 64 * 100
    strange = data[at - 64:at - 56] + b'\xfa\0' + data[at - 54:at]
    (tmp_path / 'cut.nt').write_bytes(data[:at - 64] + strange + data[at + 64:])
    tool('ctf', '-q', '-o', tmp_path / 'ctf', tmp_path / 'cut.nt')
    done = subprocess.run(['babeltrace2', tmp_path / 'ctf'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=CAP)
    assert done.returncode == 0 and b'discarded 1 event' in done.stderr, done.stderr
    assert re.search(rb' event 250: .* raw = \[ ?\[0\] = 0x', done.stdout), done.stdout[:1000]
    assert len(done.stdout.splitlines()) == len(tool('dump', '-q', run).splitlines()) - 1


# ---- mermaid ----------------------------------------------------------------

LANES = ('peer', 'wire', 'driver', 'netif', 'stack', 'socket', 'process')
LANE = '(?:' + '|'.join(LANES) + ')'
TEXT = r': (?:[^#;%<>&"\'`{}\\\n]|#\d+;)+'
GRAMMAR = re.compile('sequenceDiagram\n'
                     rf'(?:  participant (?:peer|wire)(?: as [\w .]+)?\n)*(?:  box [\w .]+\n(?:  participant {LANE}\n)+  end\n)?'
                     rf'((?:  (?:{LANE}(?:->>|-->>|-x){LANE}|Note over {LANE}){TEXT}\n)+)')


def decoded(text):
    return re.sub(r'#(\d+);', lambda m: chr(int(m[1])), text)


def test_msc(run, rows):
    text = tool('msc', '-q', run)
    hit = GRAMMAR.fullmatch(text)
    assert hit, text
    said = set(re.findall(rf'^  participant ({LANE})', text, re.M))
    assert set(re.findall(rf'\b({LANE})(?=->>|-->>|-x|:)', hit[1])) <= said
    body = decoded(hit[1])
    for word in ('peer->>wire: #', ' SYN seq 0\n', 'Note over stack: ', 'LISTEN → SYN-RECEIVED', 'ESTABLISHED → FIN-WAIT-1',
                 'wire->>driver: #', 'wire->>peer: #', '"GET /rc#;"<b>%% HTTP/1.0"', 'socket-->>process: #'):
        assert word in body, word
    segments = Counter(row['event'] for row in rows if row['event'] in ('tcp_seg_in', 'tcp_seg_out'))
    assert len(re.findall(r'^  peer->>wire: #\d+ [A-Z,]*(?:SYN|ACK)', body, re.M)) == segments['tcp_seg_in']
    assert len(re.findall(r'^  wire->>peer: #\d+ [A-Z,]*(?:SYN|ACK)', body, re.M)) == segments['tcp_seg_out']


def test_msc_of_everything(run, rows):
    """A line for each frame and each record; the drop says why."""
    text = tool('msc', '-q', '--all', run)
    hit = GRAMMAR.fullmatch(text)
    assert hit
    frames = re.findall(r'^  (?:peer->>wire|wire->>peer): .*', hit[1], re.M)
    early = re.findall(r'^  wire-xdriver: .*', hit[1], re.M)
    assert len(hit[1].splitlines()) - len(early) - len(frames) == len(rows)
    assert len(frames) == len(call('tshark', '-r', run / 'wire.pcap').splitlines())
    drop = next(row for row in rows if row['event'] == 'net_drop')
    assert f"✗ #{drop['pkt']} {drop['fields']['reason']}: " in decoded(hit[1])
    tool('msc', '-q', '--ascii', run).encode('ascii')


# ---- the documents ----------------------------------------------------------

def test_doc(run, tmp_path):
    """docs/events.md is what this kernel says of itself."""
    tool('doc', '-q', '-o', tmp_path / 'events.md', run)
    with open(os.path.join(TOP, 'docs', 'events.md')) as f:
        assert f.read() == (tmp_path / 'events.md').read_text(), \
            'events have changed; make it again: build/nettrace doc -o docs/events.md RUN'


# ---- Wireshark --------------------------------------------------------------

@pytest.fixture(scope='module')
def shark(run):
    """tshark as nettrace wireshark starts Wireshark: merged file, plugin and profile of ours."""
    def ask(*args):
        text = call(NETTRACE, 'wireshark', '-q', run, '--', 'tshark', '-n', '-r', run / 'merged.pcapng', *args)
        return [line.split('\t') for line in text.splitlines()]
    return ask


ANALYSIS = ('tcp.seq_raw', 'tcp.ack_raw', 'tcp.stream', 'tcp.analysis.flags', 'tcp.analysis.acks_frame',
            'tcp.analysis.bytes_in_flight', 'tcp.analysis.retransmission', 'tcp.analysis.duplicate_ack_num')


def test_tcp_analysis_is_undisturbed(run, shark):
    """The frames of the merged file mean to Wireshark what the plain capture means: the numbers of
    frames differ, and only they."""
    def asked(path, ask):
        rows = ask('-Y', 'tcp.port', '-T', 'fields', '-e', 'frame.number', *(w for f in ANALYSIS for w in ('-e', f)))
        order = {row[0]: str(k) for k, row in enumerate(rows)}
        return [[order.get(word, '-') if k == 5 else word for k, word in enumerate(row)][1:] for row in rows]
    plain = asked(run, lambda *args: [line.split('\t') for line in
                                      call('tshark', '-n', '-r', run / 'wire.pcap', *args).splitlines()])
    assert asked(run, shark) == plain and len(plain) > 5


def test_one_connection(run, shark, rows):
    """tcp.stream eq 0: its frames, and every event of their packets that names it or belongs to one."""
    found = shark('-Y', 'tcp.stream eq 0', '-T', 'fields', '-e', 'nettrace.event', '-e', 'tcp.seq_raw', '-e', 'nettrace.pkt')
    events = Counter(row[0] for row in found if row[0])
    for name in ('tcp_seg_in', 'tcp_seg_out', 'tcp_open'):
        assert events[name] == sum(row['event'] == name for row in rows) > 0
    tcp = {row['pkt'] for row in rows if row['event'] in ('tcp_seg_in', 'tcp_seg_out')}
    on_wire = [row for row in found if not row[0]]
    assert {int(row[2]) for row in on_wire} == tcp and len(on_wire) == len(tcp), 'each frame has its packet'
    assert events['e1000_rx'] + events['e1000_tx'] == len(tcp)
    assert events['net_drop'] == events['udp_in'] == 0


def test_comment_is_the_journey(run, shark, rows):
    """Each frame's comment: its packet's events, in order."""
    told = shark('-Y', 'frame.comment', '-T', 'fields', '-e', 'nettrace.pkt', '-e', 'frame.comment')
    names = [(int(pkt), re.findall(r'us (\w+)(?: \||  ?\()', text)) for pkt, text in told if pkt]
    assert names and len(told) == len(call('tshark', '-r', run / 'wire.pcap').splitlines())
    for pkt, journey in names:
        lived = [row['event'] for row in rows if row['pkt'] == pkt]
        assert journey == lived[:len(journey)] and len(journey) >= min(len(lived), 15), (pkt, journey)


def test_profile(run, shark):
    """Our columns are shown; colours and buttons name only filters that Wireshark takes."""
    listed = [' '.join(row) for row in shark('-Y', 'nettrace.event == "e1000_rx"')]
    assert listed and all(re.search(r'\d+\.\d{9} +[1-9]\d* +[01] +\d+ .* DRIVER e1000_rx #', row) for row in listed), listed
    with open(os.path.join(WS, 'colorfilters')) as f:
        rules = [line.split('@')[2] for line in f if line.startswith('@')]
    with open(os.path.join(WS, 'dfilter_buttons')) as f:
        rules += [line.split('","')[2].replace('\\x22', '"') for line in f]
    assert len(rules) > 15
    shark('-c', '1', '-Y', ' or '.join(f'({rule})' for rule in rules))


@pytest.mark.parametrize('version', ['5.2', '5.3', '5.4'])
def test_lua(version):
    """Wireshark 4.0 has Lua 5.2, 4.4 has 5.4."""
    need('luac' + version, 'lua' + version)
    call('luac' + version, '-p', LUA)


def test_plugin_knows_no_event(rows):
    """All its knowledge of events is metadata."""
    with open(LUA) as f:
        text = f.read()
    assert not {row['event'] for row in rows} & set(re.findall(r'\w+', text)) - {'lost', 'frame', 'switch'}


def test_wire_only(run, tmp_path):
    """tcpdump reads it, and what it reads is what was captured."""
    need('tcpdump', 'tcpdump')
    tool('merge', '-q', '--wire-only', '-o', tmp_path / 'wire.pcapng', run)

    def read(path):
        return re.sub(r'\.(\d{6})\d*', r'.\1', call('tcpdump', '-nn', '-tt', '-e', '-XX', '--nano', '-r', path))
    assert read(tmp_path / 'wire.pcapng') == read(run / 'wire.pcap')
