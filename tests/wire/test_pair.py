"""Two guests of ours on one wire that loses, repeats, turns around and damages frames: no
other stack takes part, so what arrives was sent, lost, noticed and sent again by us.  And
nettrace puts both machines into one ladder, in which nothing arrives before it was sent."""

import json
import os
import re
import shutil
import struct
import subprocess
from collections import Counter

import pytest

from cable import Pair
from evidence import pcap_records
from vm import CAP, NETTRACE, TOP

FAULTS = 'drop=2%,dup=5%,reorder=10%,corrupt=1%'
ROW = re.compile(r'^ *(\d+) +([-+][\d.]+) +(?:-?[\d.]+)? +(?:A#(\d+)>B#(\d+)|B#(\d+)>A#(\d+)|([AB])#(\d+)) (.*)')


def digest(vm, name):
    """The figures in a file that ttcp writes at its end."""
    said = ''
    while 'sha256' not in said:
        said = vm.cmd(f'cat {name}')
    return re.search(r'(\d+) bytes.* sha256 ([0-9a-f]{64})', said).groups()


def tool(*args):
    done = subprocess.run([NETTRACE, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=CAP)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def keep(vm, path):
    """The run as it stands: a trace, and what was captured by then."""
    path.mkdir()
    tool('save', '-q', '-o', str(path / 'trace.nt'), os.path.join(vm.dir, 'ram'))
    shutil.copy(os.path.join(vm.dir, 'wire.pcap'), path)
    return str(path)


def frames(run):
    return [(row[2][6:12].hex(':'), row[2]) for row in pcap_records(os.path.join(run, 'wire.pcap'))[1]]


def delays(runs, sender):
    """Stamp of the sender's capture minus stamp of the receiver's, ns, of frames sent once."""
    mac = bytes.fromhex(f'52540012340{sender + 1}')
    sent, came = [[(row[2], row[0] * 10**9 + row[1] * 1000) for row in pcap_records(os.path.join(run, 'wire.pcap'))[1]
                   if row[2][6:12] == mac] for run in (runs[sender], runs[1 - sender])]
    count, when = Counter(data for data, _ in sent), dict(sent)
    return [when[data] - stamp for data, stamp in came if count[data] == 1]


def packets(run):
    """Frame number -> packet, from the records that nettrace matched."""
    rows = [json.loads(line) for line in tool('dump', '-q', '--json', '--only', 'e1000_rx,e1000_tx', run).splitlines()]
    return {row['frame'] - 1: row['pkt'] for row in rows if 'frame' in row}


def seen_by_both(runs, sender):
    """(packet of the sender, packet of the receiver) of each frame whose bytes were sent once and
    came, the first time they came."""
    mac = f'52:54:00:12:34:0{sender + 1}'
    sent = [(i, data) for i, (src, data) in enumerate(frames(runs[sender])) if src == mac]
    came = {}
    for i, (src, data) in enumerate(frames(runs[1 - sender])):
        if src == mac:
            came.setdefault(data, i)
    count = Counter(data for _, data in sent)
    tx, rx = packets(runs[sender]), packets(runs[1 - sender])
    return {(tx[i], rx[came[data]]) for i, data in sent
            if count[data] == 1 and data in came and i in tx and came[data] in rx}


def one_ladder(runs, least, operands=None, spare=0):
    """Every frame that both saw: sent by the one, on the wire, received by the other, in rows.
    spare: so many may stand beside a copy of theirs that was damaged behind the bytes of the key."""
    text = tool('ladder', '-q', '--all', '--ascii', *(operands or runs))
    at, wire = {}, {0: {}, 1: {}}
    for number, line in enumerate(text.splitlines()):
        hit = ROW.match(line)
        if hit is None:
            continue
        a, b, c, d, side, pkt, label = *hit.groups()[2:8], hit[9]
        if side:
            what = re.search(r'\* (tx|rx) slot', label)
            if what:
                at.setdefault(('AB'.index(side), what[1], int(pkt)), number)
        elif a:
            wire[0].setdefault((int(a), int(b)), number)
        else:
            wire[1].setdefault((int(c), int(d)), number)
    for k in (0, 1):
        both = seen_by_both(runs, k)
        assert len(both) >= least
        gone = [f'{"AB"[k]}#{tx}>{"BA"[k]}#{rx}' for tx, rx in both if (tx, rx) not in wire[k]]
        assert len(gone) <= spare, f'without a row: {gone}'
        for tx, rx in both & set(wire[k]):
            assert at[k, 'tx', tx] < wire[k][tx, rx] < at[1 - k, 'rx', rx]


def both_clocks(runs):
    """The clocks, and what became of the frames: as their bytes tell."""
    said = json.loads(tool('info', '-q', '--json', *runs))
    assert said['crossed'] == 0 and len(said['runs']) == 1
    ahead = said['runs'][0]
    # A stamp is cut off to 1 us.
    assert max(delays(runs, 0)) - 999 <= ahead['ahead_lo_ns'] <= ahead['ahead_hi_ns'] <= 999 - max(delays(runs, 1))
    for k, name in enumerate('ab'):
        mac, fate = f'52:54:00:12:34:0{k + 1}', said[name]
        sent = [data for src, data in frames(runs[k]) if src == mac]
        came = {data for src, data in frames(runs[1 - k]) if src == mac}
        again = len(sent) - len(set(sent))
        gone = sum(data not in came for data in sent)
        assert sum(fate[key] for key in ('once', 'more', 'damaged', 'lost', 'absent')) == len(sent)
        assert gone <= fate['lost'] + fate['absent'] + fate['damaged'] <= gone + again
        assert fate['lost'] > 5 and fate['more'] > 5 and fate['damaged'] > 0, fate
        again = [json.loads(line) for line in tool('dump', '-q', '--json', '--only', 'tcp_rexmit', runs[k]).splitlines()]
        assert sum(flow['rexmits'] for flow in json.loads(tool('stats', '-q', '--json', runs[k]))['flows']) == len(again) > 0
    text = tool('info', '-q', *runs)
    assert len(re.findall(r'clock anchored ±\d+\.\d µs', text)) == 2 and re.search(r'^clocks +A.* of B.*, ±\d+\.\d µs$', text, re.M)


def one_capture(runs, capture, whose, least, path):
    """Two traces and one capture, of the cable or of a card: the same story, by clocks that
    each machine's frames place."""
    three = [os.path.join(run, 'trace.nt') for run in runs] + [capture]
    one_ladder(runs, least, three, 0 if len(whose) == 2 else 5)
    said, apart = (json.loads(tool('info', '-q', '--json', *words)) for words in (three, runs))
    assert said['crossed'] == 0 and said['shared'] is True
    text = tool('ladder', '-q', '--all', '--width', '400', *three)
    assert text.count('lost on the way') == said['a']['lost'] + said['b']['lost']  # a frame is one row
    for name in whose:  # what the cable lost of these frames it lost behind this capture
        one, two = said[name], apart[name]  # of the last frames a trace may have ended before the other could tell
        assert two['lost'] <= one['lost'] + one['absent'] and one['lost'] <= two['lost'] + two['absent'] + two['damaged']
        assert one['lost'] > 5
    assert all(said[name]['once'] >= least and said[name]['band_ns'] < 1000000 for name in 'ab')
    tool('html', '-q', '-o', path + '.html', *three)
    tool('merge', '-q', '-o', path + '.pcapng', *three)
    frames = sum(kind == 6 and body[0] in (0, 2) for kind, body in blocks(path + '.pcapng'))
    assert frames >= said['a']['frames'] - 50


def blocks(path):
    """The blocks of a pcapng: type, body."""
    data, at = open(path, 'rb').read(), 0
    while at < len(data):
        kind, size = struct.unpack_from('<II', data, at)
        assert struct.unpack_from('<I', data, at + size - 4)[0] == size
        yield kind, data[at + 8:at + size - 4]
        at += size


def one_file(runs, path, least):
    """Both machines in one pcapng: each frame once, behind its sender's e1000_tx and before its
    receiver's e1000_rx; nothing left out; times never go back."""
    tool('merge', '-q', '-o', path, *runs)
    every = list(blocks(path))
    assert every[0][0] == 0x0a0d0d0a and len(re.findall(r'clock anchored ±\d+\.\d µs'.encode(), every[0][1])) == 2
    assert re.search(rb'clocks +A.s is .* of B.s, ', every[0][1])
    assert [re.search(rb'(wire|nettrace) [AB]', body)[0] for kind, body in every if kind == 1] == \
        [b'wire A', b'nettrace A', b'wire B', b'nettrace B']
    names = [{int(line.split()[1]): line.split()[2] for line in tool('info', '-q', '--meta', run).splitlines()
              if line.startswith('event ')} for run in runs]
    last, wire, events, at = 0, [], [0, 0], {}
    for number, (_, body) in enumerate((b for b in every if b[0] == 6), 1):
        iface, hi, lo, size = struct.unpack_from('<IIII', body)
        data = body[20:20 + size]
        assert hi << 32 | lo >= last
        last = hi << 32 | lo
        if iface in (0, 2):
            wire.append((number, iface // 2, data, body[20 + size:]))
        elif data[1] == 0:  # an event, not the description
            frame, name = struct.unpack_from('<I', data, 4)[0], names[iface // 2].get(struct.unpack_from('<H', data, 24)[0])
            events[iface // 2] += 1
            assert struct.unpack_from('<H', data, 2)[0] >> 15 == iface // 2
            if name in ('e1000_tx', 'e1000_rx') and frame:
                at[frame, iface // 2, name] = number
    for k in (0, 1):
        assert events[k] == len(tool('dump', '-q', '--json', runs[k]).splitlines())
        mac = bytes.fromhex(f'52540012340{k + 1}')
        sent = [(number, data, more) for number, iface, data, more in wire if iface == k and data[6:12] == mac]
        assert [data for _, data, _ in sent] == [data for src, data in frames(runs[k]) if src == mac.hex(':')]
        both = [number for number, _, _ in sent if (number, k, 'e1000_tx') in at and (number, 1 - k, 'e1000_rx') in at]
        assert len(both) >= least
        for number in both:
            assert at[number, k, 'e1000_tx'] < number < at[number, 1 - k, 'e1000_rx']
        fate = json.loads(tool('info', '-q', '--json', *runs))['ab'[k]]
        for words, key in ((b'| arrived ', None), (b'| lost on the way', 'lost'), (b'| damaged on the way', 'damaged')):
            assert sum(words in more for _, _, more in sent) == (fate['once'] + fate['more'] if key is None else fate[key])


def one_page(runs, path, profile):
    """Both machines in one page: every row of the ladder is there, no loss is left out; in a browser
    it presses its own keys."""
    ladder = tool('ladder', '-q', '--width', '400', *runs)
    tool('html', '-q', '--rows', '100000', '-o', path, *runs)
    page = open(path, encoding='utf-8').read()
    rows = [line for line in ladder.splitlines() if re.match(r' *\d+ +[-+]\d', line)]
    drawn = re.findall(r'<g class="r".*', page)
    assert len(drawn) == len(rows) > 300
    for line, row in zip(rows, drawn):
        ids = re.findall(r'[AB]#\d+', line[29:45])
        assert re.search(r'data-p="([^"]*)"', row)[1].split() == ids and f'>{line.split()[1].lstrip("+")}<' in row
    for words in ('lost on the way', 'damaged on the way', 'nobody sent this: damaged on the way?', 'a copy'):
        assert page.count(f'>{words}<') == len(re.findall(rf'[▶┤✗] +{re.escape(words)}(?: |$)', ladder, re.M)), words
    assert '>lost on the way<' in page and '>damaged on the way<' in page and '>a copy<' in page
    assert not re.search(r'(src|href)="|url\((?!#)', page)
    tool('html', '-q', '-o', path, *runs)
    drawn = len(re.findall(r'<g class="r"', open(path).read()))
    assert 300 < drawn <= 5000 and (drawn == len(rows) or f'{len(rows) - drawn} later rows are not drawn' in open(path).read())
    chromium = shutil.which('chromium') or shutil.which('chromium-browser')
    for night in (0, 1) if chromium else ():
        done = subprocess.run([chromium, '--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', f'--user-data-dir={profile}',
                               f'--blink-settings=preferredColorScheme={1 - night}', '--virtual-time-budget=2000', '--dump-dom', f'file://{path}#selftest'], capture_output=True, timeout=CAP)
        assert re.search(rb'<html[^>]*data-selftest="ok 14"', done.stdout), re.search(rb'<html[^>]*>', done.stdout)


@pytest.mark.parametrize('seed', [1])
def test_both_ways_at_once(cap, seed, tmp_path):
    tap = str(tmp_path / 'tap.pcap')
    with Pair(seed, FAULTS, tap) as pair:
        for vm in pair.guests:
            vm.cmd('ttcp -r -l -p 5010 > got &')
            vm.wait_event('tcp_state to=LISTEN lport=5010')
        for k, vm in enumerate(pair.guests):
            vm.cmd(f'ttcp -t -p 5010 -n 1 10.9.0.{2 - k} > sent &')
        for k, vm in enumerate(pair.guests):
            assert digest(vm, 'got') == digest(pair.guests[1 - k], 'sent')
            assert digest(vm, 'got')[0] == str(1 << 20)
        for line in pair.lines:
            assert all(line.counts.get(act, 0) > 5 for act in ('drop', 'dup', 'hold', 'corrupt')), line.counts
        for vm in pair.guests:
            assert vm.events('tcp_rexmit')
            vm.tool('check', '--no-drop', 'NOT_SPECIFIED')
        runs = [keep(vm, tmp_path / name) for vm, name in zip(pair.guests, 'ab')]
    one_ladder(runs, 300)
    one_file(runs, str(tmp_path / 'both.pcapng'), 300)
    one_page(runs, str(tmp_path / 'both.html'), str(tmp_path / 'profile'))
    both_clocks(runs)
    one_capture(runs, tap, 'ab', 300, str(tmp_path / 'tap'))
    one_capture(runs, os.path.join(runs[1], 'wire.pcap'), 'b', 300, str(tmp_path / 'card'))


def reach(vm, whom):
    """Three answers in a row, each within a second of the guest: on a busy machine not at once."""
    while '3 received' not in vm.cmd('ping -c 3 ' + whom):
        pass


def test_one_stands_still(cap, tmp_path):
    """B is stopped while A waits a second for an answer: A's clock went on and B's did not, and the
    ladder says so; frames sent before and after still arrive behind where they were sent."""
    with Pair(1, '') as pair:
        a, b = pair.guests
        reach(a, '10.9.0.2')
        tool('monitor', '-d', b.dir, 'stop')
        assert '0 received' in a.cmd('ping -c 1 10.9.0.2')
        tool('monitor', '-d', b.dir, 'cont')
        reach(a, '10.9.0.2')
        runs = [keep(vm, tmp_path / name) for vm, name in zip(pair.guests, 'ab')]
    first, second = json.loads(tool('info', '-q', '--json', *runs))['runs']
    assert second['ahead_lo_ns'] - first['ahead_hi_ns'] > 900000000
    assert first['ahead_lo_ns'] <= first['ahead_hi_ns'] and second['ahead_lo_ns'] <= second['ahead_hi_ns']
    assert ' in 2 runs: a machine stood still' in tool('info', '-q', *runs)
    for words, status, why in ((('--pid', '3', *runs), 2, 'not with two runs'), ((runs[0], runs[0]), 4, 'not on one wire'),
                               ((*runs, runs[1]), 2, 'name the two run directories, or two traces and one capture'),
                               ((runs[0], os.path.join(TOP, 'tests')), 3, 'no run directory')):
        done = subprocess.run([NETTRACE, 'ladder', *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=CAP)
        assert done.returncode == status and why in done.stderr.decode() and done.stdout == b''
    one_ladder(runs, 6)
