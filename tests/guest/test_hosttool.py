"""The host tool: stats and chrome recomputed from dump --json of the same trace, follow beside
a running guest, the ladder however it is drawn, graph, and the command line itself."""

import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections import Counter, defaultdict

import pytest

from vm import CAP, NETTRACE, VM

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GOLDEN = os.path.join(TOP, 'tests', 'golden')
READY = ('ip', 'e1000_rx', 'tcp_state to=LISTEN')


def tool(*args):
    return subprocess.run([NETTRACE, *args], check=True, capture_output=True, text=True, timeout=CAP).stdout


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """One HTTP request, followed live; its RAM and its saved trace.  (trace, follow's output)"""
    path = tmp_path_factory.mktemp('hosttool')
    with VM(cpus=2, mb=64, wait=READY, name='hosttool') as vm:
        with open(path / 'out', 'w') as out:
            follow = subprocess.Popen([NETTRACE, 'follow', vm.dir], stdout=out, stderr=subprocess.PIPE, text=True)
        try:
            with socket.create_connection(('127.0.0.1', vm.port(80)), CAP) as client:
                client.sendall(b'GET /rc HTTP/1.0\r\n\r\n')
                while client.recv(65536):
                    pass
            vm.wait_event('sock_state to=CLOSED')
            tool('wait', '-q', '--for', 'quiet=50', vm.dir)
            end = time.monotonic() + CAP
            while not re.search(r'sock_state +CLOSED', (path / 'out').read_text()) and time.monotonic() < end and follow.poll() is None:
                time.sleep(0.02)
            follow.send_signal(signal.SIGINT)
            said = follow.communicate(timeout=CAP)[1]
        finally:
            follow.kill()
        tool('save', '-q', '-o', path / 'trace.nt', os.path.join(vm.dir, 'ram'))
        shutil.copyfile(os.path.join(vm.dir, 'ram'), path / 'ram')
    return str(path / 'trace.nt'), ((path / 'out').read_text(), said, follow.returncode)


@pytest.fixture(scope='module')
def trace(run):
    return run[0]


@pytest.fixture(scope='module')
def followed(run):
    return run[1]


@pytest.fixture(scope='module')
def rows(trace):
    """Records in the tool's order; time never goes back."""
    out, last = [], None
    for line in tool('dump', '-q', '--json', trace).splitlines():
        r = json.loads(line)
        last = r['t_ns'] if last is None else max(last, r['t_ns'])
        out.append({**r, 'w': last})
    return out


def journeys(rows):
    by = defaultdict(list)
    for r in rows:
        if r.get('pkt'):
            by[r['pkt']].append(r)
    return by


def test_stats(trace, rows):
    got = json.loads(tool('stats', '-q', '--json', trace))
    gaps = defaultdict(list)
    for js in journeys(rows).values():
        for a, b in zip(js, js[1:]):
            gaps[a['stage'], b['stage']].append(b['w'] - a['w'])
    want = {}
    for key, v in gaps.items():
        v.sort()
        want[key] = {'n': len(v), 'min_ns': v[0], 'max_ns': v[-1],
                     'p50_ns': v[-(-len(v) * 50 // 100) - 1], 'p99_ns': v[-(-len(v) * 99 // 100) - 1]}
    assert len(want) > 5 and max(g['n'] for g in want.values()) > 10
    assert {(g.pop('from'), g.pop('to')): g for g in got['gaps']} == want
    assert got['packets'] == len(journeys(rows)) and got['schema'] == 'nettrace-stats/1'
    assert got['drops'] == Counter(r['fields']['reason'] for r in rows if r['event'] == 'net_drop')
    flows = defaultdict(Counter)
    for r in rows:
        f = r.get('fields', {})
        if r['event'] in ('tcp_seg_in', 'tcp_seg_out', 'tcp_rexmit') and 'laddr' in f:
            flows[f'{f["laddr"]}:{f["lport"]}-{f["raddr"]}:{f["rport"]}'][r['event']] += 1
    assert flows
    assert {f['flow']: (f['segs_in'], f['segs_out'], f['rexmits']) for f in got['flows']} == \
        {k: (c['tcp_seg_in'], c['tcp_seg_out'], c['tcp_rexmit']) for k, c in flows.items()}


def test_chrome_format(trace):
    """What the format asks of every file, whatever it tells."""
    whole = json.loads(tool('chrome', '-q', trace))
    assert set(whole) == {'displayTimeUnit', 'traceEvents'} and whole['displayTimeUnit'] in ('ns', 'ms')
    needs = {'M': {'args'}, 'X': {'dur'}, 's': {'id', 'cat'}, 't': {'id', 'cat'}, 'f': {'id', 'cat', 'bp'}}
    flows, begins = defaultdict(list), defaultdict(set)
    for e in whole['traceEvents']:
        assert e['ph'] in needs, 'no B without E: neither is used'
        assert needs[e['ph']] | {'name', 'ph', 'ts', 'pid', 'tid'} <= set(e), e
        assert type(e['name']) is str and type(e['pid']) is type(e['tid']) is int
        assert all(type(e[k]) in (int, float) and e[k] >= 0 for k in ('ts', 'dur') if k in e)
        if e['ph'] == 'X':
            begins[e['pid'], e['tid']].add(e['ts'])
        if 'id' in e:
            flows[e['cat'], e['name'], e['id']].append(e)
    assert flows
    for flow in flows.values():
        assert [e['ph'] for e in flow] == ['s', *'t' * (len(flow) - 2), 'f'], 'an arrow has both its ends'
        assert [e['ts'] for e in flow] == sorted(e['ts'] for e in flow)
        assert all(e['ts'] in begins[e['pid'], e['tid']] for e in flow), 'an arrow is tied to a slice of its thread'


def test_chrome(trace, rows):
    events = json.loads(tool('chrome', '-q', trace), parse_float=lambda s: round(float(s) * 1000))['traceEvents']
    slices = [e for e in events if e['ph'] == 'X']
    want = [r for r in rows if r.get('pkt')]
    assert [(e['name'], e['args']['pkt']) for e in slices] == [(r['event'], r['pkt']) for r in want]
    stage = {e['tid']: e['args']['name'] for e in events if e['name'] == 'thread_name'}
    end = Counter()
    for e, r in zip(slices, want):
        assert stage[e['tid']] == r['stage'] and e['ts'] == r['w'] - rows[0]['w'] and e['dur'] >= 0
        assert e['ts'] >= end[e['tid']], 'two slices of one thread overlap'
        end[e['tid']] = e['ts'] + e['dur']
        assert e['dur'] <= e['args']['gap_ns']
    assert any(e['dur'] for e in slices)
    arrows = defaultdict(list)
    for e in events:
        if e.get('cat') == 'packet':
            arrows[e['id']].append(e['ph'])
    assert arrows == {p: ['s', *'t' * (len(js) - 2), 'f'] for p, js in journeys(rows).items() if len(js) > 1}


# ---- the command line ---------------------------------------------------------

def call(*args, **kw):
    return subprocess.run([NETTRACE, *map(str, args)], capture_output=True, text=True, timeout=CAP, **kw)


def commands():
    return re.findall(r'^  ([a-z]+) +\S', call('--help').stdout, re.M)


def flags_of(command):
    return re.findall(r'^  (--?[a-z-]+)', call(command, '--help').stdout, re.M)


def test_manual_and_help_name_the_same():
    """Every flag of --help is in the manual page and the reverse, every command too."""
    with open(os.path.join(TOP, 'tools/nettrace/nettrace.1')) as f:
        manual = f.read().replace('\\-', '-')
    body = manual[manual.index('.SH COMMANDS'):manual.index('.SH EXAMPLES')]
    in_manual = set(re.findall(r'(?<![\w-])(--[a-z][a-z-]*|-[a-z])(?![\w-])', body)) - {'--help'}
    in_help = {flag for c in commands() for flag in flags_of(c)}
    assert len(commands()) > 15 and len(in_help) > 25
    assert in_help - in_manual == set(), 'in --help alone'
    assert in_manual - in_help - {'-stats', '-icount'} == set(), 'in the manual alone'
    said = set(re.findall(r'^\.TP\n\.B[IR]* "?([a-z]+)\b', body, re.M))
    assert set(commands()) - said == set(), 'not in the manual'
    for c in commands():
        example = re.search(r'^Example: nettrace (\w+)(.*)', call(c, '--help').stdout, re.M)
        if example:
            assert example[1] == c
            used = re.findall(r'(?<=\s)(--[a-z-]+|-[a-z])(?=[ =]|$)', example[2].split('&&')[0])
            assert set(used) <= set(flags_of(c)), c


def test_manual_is_sound():
    page = os.path.join(TOP, 'tools/nettrace/nettrace.1')
    done = subprocess.run(['groff', '-man', '-ww', '-Tutf8', page], capture_output=True, timeout=CAP)
    assert (done.returncode, done.stderr) == (0, b'')


def test_statuses(tmp_path):
    """Each exit status, one line that says what and what to do, and nothing on a closed pipe."""
    golden = os.path.join(GOLDEN, 'handshake')
    for args, status, words in (
            (('info', '--flow', 'x', golden), 2, '--flow is no flag of info: see nettrace info --help'),
            (('ladder', '--nix', golden), 2, 'unknown flag --nix: see nettrace ladder --help'),
            (('ladder', '--layer', 'FOO', golden), 2, 'want WIRE DRIVER'),
            (('ladder', '--packets'), 2, "in a shell # begins a comment: write '#8'"),
            (('ladder', '--packets', '5-4', golden), 2, 'an empty range'),
            (('ladder', '--pid', '4242', golden), 2, 'no such process'),
            (('why', '4000000', golden), 1, 'no packet #4000000'),
            (('graph', '3', golden), 1, 'no function was recorded for packet #3'),
            (('graph', '4000000', golden), 1, 'no packet #4000000'),
            (('ladder', '--width', '79', golden), 2, '80 to 400 columns'),
            (('html', '--rows', '0', '-o', '-', golden), 2, 'a number from 1 on'),
            (('info', '--max-mem', '20K', golden), 3, 'give --max-mem'),
            (('info', '--clock', 'identity', golden), 3, '--clock auto takes what there is'),
            (('info', '--clock', 'often', golden), 2, 'is auto, identity, anchor or frames'),
            (('ladder', tmp_path / 'nix'), 3, 'cannot read'),
            (('follow', golden), 1, 'nettrace ladder shows'),
            (('follow', os.path.join(golden, 'trace.nt')), 2, 'a guest that runs'),
            (('wait', '--for', 'ip', '--timeout', '900', golden), 1, 'not seen: ip')):
        if args[0] == 'wait':
            (tmp_path / 'status').write_text('')
            args = (*args[:-1], tmp_path)
        done = call(*args)
        assert done.returncode == status and words in done.stderr and done.stderr.count('\n') == 1, (args, done)
        assert not done.stdout
    (tmp_path / 'empty.pcap').write_bytes(b'')
    done = call('ladder', tmp_path / 'empty.pcap')
    assert done.returncode == 3 and 'an empty file' in done.stderr
    done = call('info', '-v', '--clock', 'frames', golden)
    assert done.returncode == 0 and 'clock frames' in done.stderr and 'unique matches' in done.stderr
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([NETTRACE, 'dump', '-q', golden], stdout=write, stderr=subprocess.PIPE, timeout=CAP)
    os.close(write)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b'')


def test_json_forms():
    """Each --json: the schema is named, keys are sorted, no number has a fraction."""
    golden = os.path.join(GOLDEN, 'lost')

    def pairs(items):
        assert [k for k, _ in items] == sorted(k for k, _ in items)
        return dict(items)

    for args in (('info',), ('stats',), ('why', '#4'), ('check', '--ends'), ('dump',)):
        text = call(*args, '--json', '-q', golden).stdout
        for line in text.splitlines():
            got = json.loads(line, object_pairs_hook=pairs, parse_float=lambda s: pytest.fail(s))
            assert got['schema'] == f'nettrace-{args[0]}/1'
        assert text
    why = json.loads(call('why', '--json', '-q', '#4', golden).stdout)
    alive = [r for r in why['rows'] if not r['over']]  # what is told behind its end took none of its time
    assert sum(r['gap_ns'] for r in alive) == alive[-1]['t_ns'] - alive[0]['t_ns'] == why['total_ns'] > 0
    assert alive[-1]['event'] == 'pkt_end' and alive == why['rows'][:len(alive)] and len(alive) < len(why['rows'])
    assert {'WIRE', 'DRIVER', 'STACK'} <= {r['stage'] for r in why['rows']} and why['links']


def test_pid():
    """--pid: rows made by that process, wakeups and switches to it, and its packets'."""
    golden = os.path.join(GOLDEN, 'handshake')

    def rows(*args):
        return [json.loads(line) for line in call('dump', '--json', '-q', *args, golden).stdout.splitlines()]

    server = next(r['pid'] for r in rows() if r['event'] == 'sock_accept')
    got = {r['seq'] for r in rows('--pid', server)}

    def about(r):
        if r['event'] == 'wakeup':
            return r['fields']['who'] == server
        if r['event'] == 'switch' and r['fields']['next'] == server:
            return True
        return r['pid'] == server and r['ctx'] == 'thread'

    touched = {r['pkt'] for r in rows() if about(r)} - {0}
    assert got == {r['seq'] for r in rows() if about(r) or r['pkt'] in touched}
    assert touched and len(got) < len(rows())


# ---- the ladder ----------------------------------------------------------------

TO_ASCII = str.maketrans('│┃┊●◀▶─├┤✗→µ±', '|I:*<>-||x>u~')


def story(text):
    """What a ladder tells, however it is drawn: gaps and rows (number, time, difference,
    packet, lane, words), and per row whether a state and a sleeping process are drawn."""
    text = re.sub(r'\x1b\[\d+m', '', text)
    lines = text.splitlines()
    head = next(i for i, line in enumerate(lines) if line.endswith('process'))
    lane = {name: lines[head].index(name) for name in lines[head].split()[5:]}
    begin = min(lane.values())
    told, bars = [], []
    for line in lines[head + 1:]:
        row = re.match(r' *(\d+) +([+-][\d.]+)(?: +([\d.]+))?(?: +(#\d+))? ', line[:begin] + ' ')
        drawn = line[begin:].translate(TO_ASCII)
        words = re.sub(r'[|I:*<>x~ -]', '', drawn)
        if row:
            at = [name for name, c in lane.items() if line[c:c + 1] in ('●', '✗') or re.match(r'[*x] ?(?=$|\S)', line[c:c + 3])]
            frame = {'|-': 'in', '--': 'in', '<-': 'out'}.get(drawn[:2])
            told.append([*row.groups(), frame or (at[0] if at else None), words])
            bars.append([line[lane[n]:lane[n] + 1].translate(TO_ASCII) for n in ('stack', 'process')])
        elif '~~' in line:
            told.append(['gap', re.search(r'~~ (.*) ~~', line)[1]])
        else:
            last = next(t for t in reversed(told) if t[0] != 'gap')
            last[-1] += words
    return told, bars


@pytest.mark.parametrize('name', sorted(os.listdir(GOLDEN)))
def test_ladder_tells_the_same_however_drawn(name):
    """80, 120 and 200 columns, with and without colour and Unicode: the same rows with the
    same words on the same lanes; nothing is cut, nothing runs off."""
    want = None
    for flags in ((), ('--all',)):
        want = None
        for width in (200, 120, 80):
            for color in ('never', 'always'):
                for ascii in ((), ('--ascii',)):
                    text = call('ladder', '-q', *flags, '--width', width, '--color', color, *ascii, os.path.join(GOLDEN, name)).stdout
                    case = (flags, width, color, ascii)
                    plain = re.sub(r'\x1b\[\d+m', '', text)
                    assert max(map(len, plain.splitlines()[4:])) <= width and '…' not in plain, case
                    assert (plain == text) == (color == 'never') and (not ascii or text.isascii()), case
                    told, bars = story(text)
                    if want is None:
                        want = told, bars
                        assert len(told) > 20 and {'driver', 'stack', 'in', 'out'} <= {t[-2] for t in told}
                    for a, b in zip(told, want[0]):
                        assert a == b, case
                    assert len(told) == len(want[0])
                    for a, b in zip(bars, want[1]):
                        for x, y, known in zip(a, b, ('|I', '|:')):
                            assert x == y or x not in known or y not in known or not x or not y, case


# ---- graph ---------------------------------------------------------------------

GRAPH_META = b"""nettrace-metadata 1
event 1 func CPU a function was entered
\tu32 fn addr the function
\tu32 caller addr who called it
\tu32 esp hex stack pointer
\tu16 depth num depth
event 2 func_exit CPU a function returned
\tu32 fn addr the function
\tu16 depth num depth
\tu64 dur_tsc tsc time
end
"""


def graph_trace(path, calls):
    """A saved trace of calls (us, pid, pkt, 'in'/'out', fn, depth, us it took); 1 GHz."""
    h = b'NETTRF1\0' + struct.pack('<HHHHIIIIIIII6sHII', 1, 128, 64, 1, 1024, 7, 1000000, 0, 0, 0, len(GRAPH_META), fnv(GRAPH_META), b'\0' * 6, 0, 0, 0)
    out = (h + struct.pack('<Q', 1000)).ljust(128, b'\0') + GRAPH_META + b'\n' * (-len(GRAPH_META) % 64)
    for seq, (us, pid, pkt, kind, fn, depth, took) in enumerate(calls):
        body = struct.pack('<IIIH', fn, 0, 0, depth) if kind == 'in' else struct.pack('<IHQ', fn, depth, took * 1000)
        out += (struct.pack('<QHBBIIHH', us * 1000, 1 if kind == 'in' else 2, 0, 1, seq + 1, pkt, 0, pid) + body).ljust(64, b'\0')
    path.write_bytes(out)


def fnv(data):
    h = 2166136261
    for b in data:
        h = (h ^ b) * 16777619 & 0xffffffff
    return h


def test_graph(tmp_path):
    """Nesting, exact times, bounds where a return is missing, two threads taking turns."""
    graph_trace(tmp_path / 't.nt', [
        (10, 5, 9, 'in', 0xa0, 1, 0), (12, 5, 9, 'in', 0xa1, 2, 0), (15, 5, 9, 'out', 0xa1, 2, 3),
        (16, 6, 9, 'in', 0xb0, 1, 0),                                 # another thread, same packet
        (20, 5, 9, 'in', 0xa2, 2, 0), (22, 5, 9, 'in', 0xa3, 3, 0),   # neither of these is seen to return
        (30, 5, 8, 'in', 0xa4, 2, 0),                                 # another packet's: bounds them all the same
        (40, 5, 9, 'out', 0xa0, 1, 30), (50, 6, 9, 'in', 0xb1, 0, 0)])
    text = call('graph', '-q', '#9', tmp_path / 't.nt').stdout
    rows = [line.rstrip() for line in text.splitlines()]
    assert rows == ['packet #9', '   time us    took us    function',
                    ' ' * 24 + ' in process 5:',
                    '       0.0       30.0   0xa0', '       2.0        3.0     0xa1',
                    ' ' * 24 + ' in process 6:', '       6.0          ?   0xb0',
                    ' ' * 24 + ' in process 5:', '      10.0       10.0 ?   0xa2', '      12.0        8.0 ?     0xa3',
                    ' ' * 24 + ' in process 6:', '      40.0          ?     0xb1']
    text = call('graph', '-q', '--from', '25us', '--to', '35us', tmp_path / 't.nt').stdout
    assert [line.split()[-1] for line in text.splitlines()[2:]] == ['0xa4']
    said = json.loads(call('graph', '-q', '--json', '#9', tmp_path / 't.nt').stdout)
    assert said['schema'] == 'nettrace-graph/1' and said['pkt'] == 9
    assert [(c['fn'], c['pid'], c['depth'], c.get('took_ns'), c['returned']) for c in said['calls']] == [
        ('0xa0', 5, 0, 30000, True), ('0xa1', 5, 1, 3000, True), ('0xb0', 6, 0, None, False),
        ('0xa2', 5, 1, 10000, False), ('0xa3', 5, 2, 8000, False), ('0xb1', 6, 1, None, False)]


# ---- follow --------------------------------------------------------------------

def test_follow_is_the_trace(followed, rows):
    """What follow printed live is what the saved trace holds, in its order, each once; a
    frame stands behind its e1000_tx and before its e1000_txkick or e1000_rx."""
    out, err, status = followed
    assert status == 0 and 'ended by Ctrl-C' in err and ' 0 events lost' in err, err
    lines = [re.match(r' *\d+\.\d{6} +(?:#(\d+))? +(\w+) +(\w+) +(.*)', line).groups() for line in out.splitlines()]
    got = [(int(pkt or 0), event) for pkt, stage, event, _ in lines if stage != 'WIRE']
    want = [(r['pkt'], r['event']) for r in rows if r['stage'] not in ('META', 'MEM') or r['event'] == 'mark']
    assert got == want[:len(got)] and ('tcp_state' in (e for _, e in got)) and len(got) > 80
    times = [line.split()[0] for line in out.splitlines()]
    assert times == sorted(times, key=float)
    place = defaultdict(list)
    for i, (pkt, stage, event, words) in enumerate(lines):
        if pkt and (stage == 'WIRE' or event in ('e1000_rx', 'e1000_tx')):
            place[pkt].append('frame' + words[0] if stage == 'WIRE' else event)
    whole = [p for p in place.values() if len(p) > 1]
    assert len(whole) > 5 and all(p in (['frame▶', 'e1000_rx'], ['e1000_tx', 'frame◀']) for p in whole), place
    assert any('HTTP/1.0' in words for _, stage, _, words in lines if stage == 'WIRE')


def test_follow_ends_by_itself(trace, followed):
    """-n and --for on the RAM that is left; --only, --layer, --flow choose as elsewhere."""
    ram = os.path.join(os.path.dirname(trace), 'ram')
    done = call('follow', '-n', '7', ram)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 7 and 'as many lines' in done.stderr
    done = call('follow', '--only', 'tcp_state', '--for', '500ms', '--ascii', '--color=always', ram)
    assert done.returncode == 0 and done.stdout.count('tcp_state') == len(done.stdout.splitlines()) > 3
    assert done.stdout.isascii() and done.stderr.isascii() and 'as long as asked for' in done.stderr
    assert call('follow', '--only', 'tcp_stat', ram).returncode == 2
    assert call('follow', '--for', 'soon', ram).returncode == 2
