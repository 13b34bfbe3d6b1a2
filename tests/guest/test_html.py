"""The page of nettrace html: what stands in it, and Chromium that uses it.

One run of the kernel, with a page fetched by curl, is enough: larger and hostile
input is made from it.  A browser is not needed for make test: without chromium the
tests that need one are skipped, and say so.
"""

import json
import os
import re
import shutil
import struct
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from evidence import write_pcap
from vm import BUILD, CAP, CAPTURE, KERNEL, NETTRACE

OPTIONS = 'trace=all,-func,-pbuf_*,-frame trace_slots=65536'
CURL = 'exec curl -sS --max-time 20 -o page.html "http://127.0.0.1:$TCP_80/"'
HOSTILE = b'</script><img src=x onerror=document.title=1>"\'&<b>\x1b[31m\x00\xff--><!--'
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
browser = pytest.mark.skipif(CHROMIUM is None, reason='chromium is not installed: the page is not tried in a browser')
GUEST = bytes.fromhex('525400123456')
PEER = bytes.fromhex('525500000202')


def page(out, *args):
    """Make a page: its text and its data."""
    done = subprocess.run([NETTRACE, 'html', '-o', out, *map(str, args)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=CAP)
    assert done.returncode == 0, done.stderr.decode()
    with open(out, encoding='utf-8') as f:
        text = f.read()
    found = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert len(found) == 1
    return text, json.loads(found[0])


def labels(data, only=0):
    """What each row says; only: just rows with this flag."""
    return [data['str'][row[6]] for row in data['rows'] if not only or row[5] & only]


def drive(path, profile, *flags):
    """Chromium on the page, which presses its own keys: the document afterwards."""
    done = subprocess.run(
        [CHROMIUM, '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
         '--disable-background-networking', '--disable-component-update', '--disable-sync',
         f'--user-data-dir={profile}', '--window-size=1400,900', *flags, '--virtual-time-budget=2000', '--dump-dom',
         f'file://{path}#selftest'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=CAP)
    said = re.search(rb'<html[^>]*data-selftest="([^"]*)"', done.stdout)
    assert said, done.stderr.decode(errors='replace')[-2000:]
    return said.group(1).decode(), done.stdout.decode(errors='replace')


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    path = str(tmp_path_factory.mktemp('html') / 'run')
    subprocess.run([CAPTURE, '-d', path, '-k', KERNEL, '-i', os.path.join(BUILD, 'fs.img'), '-p', '80', '-a', OPTIONS,
                    '--', 'sh', '-c', CURL], check=True, stdin=subprocess.DEVNULL, timeout=CAP,
                   cwd=os.path.dirname(path), env=dict(os.environ, NETTRACE=NETTRACE))
    return path


def ethernet(into, payload, port=4000):
    """A UDP datagram between guest and peer."""
    ip = struct.pack('>BBHHHBBH4s4s', 0x45, 0, 28 + len(payload), port, 0, 64, 17, 0,
                     *((b'\n\0\2\2', b'\n\0\2\17') if into else (b'\n\0\2\17', b'\n\0\2\2')))
    udp = struct.pack('>HHHH', port, 7, 8 + len(payload), 0) + payload
    return (GUEST + PEER if into else PEER + GUEST) + b'\x08\0' + ip + udp


def tcp(seq, payload):
    """A TCP segment to the guest."""
    ip = struct.pack('>BBHHHBBH4s4s', 0x45, 0, 40 + len(payload), seq & 0xffff, 0, 64, 6, 0, b'\n\0\2\2', b'\n\0\2\17')
    return GUEST + PEER + b'\x08\0' + ip + struct.pack('>HHIIBBHHH', 4000, 80, seq, 1, 0x50, 0x18, 9999, 0, 0) + payload


def wire(path, packets):
    header = struct.pack('<IHHiIII', 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1)
    write_pcap(path, header, [(1, k * 37, data) for k, data in enumerate(packets)])


# ---- what stands in the page ---------------------------------------------------


def test_every_row_of_the_ladder_is_in_the_page(run, tmp_path):
    _, data = page(str(tmp_path / 'p.html'), run)
    ladder = subprocess.run([NETTRACE, 'ladder', '--width=400', '--color=never', run], check=True, timeout=CAP,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout.decode()
    rows = [line for line in ladder.splitlines() if re.match(r' *\d+ +[+-]\d', line)]
    mine = labels(data, only=1)
    assert len(rows) == len(mine) > 50
    for line, label in zip(rows, mine):
        if line.rstrip()[-1] != '…':
            assert label in line
    assert len(labels(data)) > len(mine), 'the other rows are there too'


def test_times_and_packets_are_the_ladders(run, tmp_path):
    """Differences between rows add up to what nettrace dump says, in ns."""
    _, data = page(str(tmp_path / 'p.html'), '--only', 'tcp_state', run)
    dump = subprocess.run([NETTRACE, 'dump', '--json', '--only', 'tcp_state', run], check=True, timeout=CAP,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout.decode()
    events = [json.loads(line) for line in dump.splitlines()]
    rows = [row for row in data['rows'] if row[2] != -1]
    assert [row[3] for row in rows] == [event.get('pkt', 0) for event in events]
    names = data['ev'][str(rows[0][2])]
    assert names[:2] == ['tcp_state', 'STACK']


def test_lost_on_the_cable(run, tmp_path):
    """The run again, with a second capture at the far end: one frame from the guest did not get
    there, two to the guest not from there, and what was sent last may be on its way still."""
    there = tmp_path / 'run'
    there.mkdir()
    for name in 'trace.nt', 'wire.pcap':
        shutil.copy(os.path.join(run, name), there)
    with open(there / 'wire.pcap', 'rb') as f:
        data = f.read()
    header, frames, at = data[:24], [], 24
    while at < len(data):
        sec, usec, n, _ = struct.unpack_from('<IIII', data, at)
        frames.append((sec, usec, data[at + 16:at + 16 + n]))
        at += 16 + n
    sent = [f for f in frames if f[2][6:12] == GUEST and f[2][12:14] == b'\x08\0']
    gone, hurt, into = sent[1], sent[2], [(sent[0][0], sent[0][1], tcp(k, b'never came')) for k in (1, 2)]
    late = frames[-1][0], frames[-1][1], tcp(3, b'on its way')
    bad = hurt[2][:40] + bytes([hurt[2][40] ^ 4]) + hurt[2][41:]
    far = sorted([f for f in frames if f is not gone and f is not hurt] + into + [(*hurt[:2], bad), late], key=lambda f: f[:2])
    write_pcap(str(there / 'far.pcap'), header, far)
    _, whole = page(str(tmp_path / 'p.html'), '--all', there)
    lost = [row for row in whole['rows'] if row[5] & 32]
    assert whole['cable'] == 3 and len(lost) == 4
    out, damaged = [row for row in lost if not row[10]]
    assert whole['str'][damaged[8]] == 'damaged on the cable' and damaged[11] == len(hurt[2])
    assert whole['str'][out[8]] == 'lost on the cable' and out[11] == len(gone[2]) and out[3]
    assert [bytes.fromhex(row[12]) for row in lost if row[10]] == [f[2][:128] for f in into]
    ladder = subprocess.run([NETTRACE, 'ladder', '-q', '--all', '--width=200', '--color=never', there], check=True, timeout=CAP,
                            stdout=subprocess.PIPE).stdout.decode()
    told = [re.search(r'([▶┤])✗ (lost|damaged) on the cable', line) for line in ladder.splitlines() if 'on the cable' in line]
    assert sorted(hit.groups() for hit in told) == [('┤', 'damaged'), ('┤', 'lost'), ('▶', 'lost'), ('▶', 'lost')]
    chart = subprocess.run([NETTRACE, 'msc', '-q', '--all', there], check=True, timeout=CAP, stdout=subprocess.PIPE).stdout.decode()
    assert len(re.findall(r'peer-xwire: .*\n +[Nn]ote over wire: ✗ lost on the cable', chart)) == 2
    assert chart.count('✗ lost on the cable') == 3 and chart.count('✗ damaged on the cable') == 1
    _, plain = page(str(tmp_path / 'q.html'), '--all', run)
    assert [row[1:4] for row in whole['rows'] if row not in lost or not row[10]] == [row[1:4] for row in plain['rows']]
    assert plain['cable'] == 0


def test_pieces_have_no_ports(tmp_path):
    """Of a datagram in two pieces neither is drawn with ports: one has none, both are pieces."""
    first = bytearray(ethernet(True, bytes(72)))
    first[20:22] = b'\x20\0'  # more to come
    second = bytearray(ethernet(True, bytes(72)))
    second[20:22] = struct.pack('>H', 80 // 8)
    wire(str(tmp_path / 'w.pcap'), [bytes(first), bytes(second), ethernet(True, b'whole')])
    _, data = page(str(tmp_path / 'p.html'), str(tmp_path / 'w.pcap'))
    assert labels(data) == ['piece 0+80 of UDP 4000', 'piece 80+80 of UDP 4000', 'UDP 4000 > 7']


TWO = """import os, socket
at = '127.0.0.1', int(os.environ['TCP_80'])
both = [socket.create_connection(at, 20) for _ in range(2)]
for s in both:
    s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')
for s in both:
    while s.recv(4096):
        pass
"""


def test_flow_without_others(tmp_path):
    """The second connection begins while the first is open: the first one's rows do not hold its SYN."""
    subprocess.run([CAPTURE, '-d', tmp_path / 'run', '-k', KERNEL, '-i', os.path.join(BUILD, 'fs.img'), '-p', '80', '-a', OPTIONS,
                    '--', sys.executable, '-c', TWO], check=True, stdin=subprocess.DEVNULL, timeout=CAP,
                   cwd=tmp_path, env=dict(os.environ, NETTRACE=NETTRACE))

    def dump(*args):
        said = subprocess.run([NETTRACE, 'dump', '-q', '--json', *args, tmp_path / 'run'], check=True, timeout=CAP, stdout=subprocess.PIPE)
        return [json.loads(line)['fields'] for line in said.stdout.splitlines()]
    ports = {e['rport'] for e in dump('--only', 'tcp_seg_in')}
    assert len(ports) == 2
    for port in ports:
        mine = dump('--only', 'tcp_seg_in', '--flow', f'10.0.2.15:80-10.0.2.2:{port}')
        assert {e['rport'] for e in mine} == {port}


def test_no_address_to_ask(run, tmp_path):
    text, _ = page(str(tmp_path / 'p.html'), run)
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    assert f'<meta http-equiv="Content-Security-Policy" content="{policy}">' in text
    outside = re.sub(r'<script type="application/json".*?</script>', '', text, flags=re.S)
    assert re.findall(r'https?://[^\s\'"]+', outside) == ['http://www.w3.org/2000/svg']
    assert not re.search(r'\b(?:src|href)=|@import|url\((?!#)', outside)


def test_hostile_text_stays_text(tmp_path):
    wire(str(tmp_path / 'w.pcap'), [ethernet(True, HOSTILE), tcp(1, HOSTILE), tcp(200, b'GET ' + HOSTILE)])
    text, data = page(str(tmp_path / 'p.html'), str(tmp_path / 'w.pcap'))
    assert text.count('<script') == 2 and text.count('</script>') == 2 and '<img' not in text
    assert any('<img src=x' in s for s in data['str']), 'the text itself is kept'
    assert not any('\x1b' in s for s in data['str'])


def test_a_page_needs_a_file(run, tmp_path):
    done = subprocess.run([NETTRACE, 'html', run], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=CAP)
    assert done.returncode == 2 and done.stdout == b'' and b'-o FILE' in done.stderr
    done = subprocess.run([NETTRACE, 'html', '-o', str(tmp_path), run], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=CAP)
    assert done.returncode == 3


def test_size(tmp_path):
    """2,000 rows of full frames, and 10,001 packets, of which the page says what it holds."""
    wire(str(tmp_path / 'w.pcap'), [tcp(k * 1460, bytes([65 + k % 26]) * 1460) for k in range(2000)])
    page(str(tmp_path / 'p.html'), str(tmp_path / 'w.pcap'))
    assert os.path.getsize(tmp_path / 'p.html') <= 1500000
    wire(str(tmp_path / 'w.pcap'), [tcp(k * 10, b'0123456789') for k in range(10050)])
    _, data = page(str(tmp_path / 'p.html'), str(tmp_path / 'w.pcap'))
    assert len(data['rows']) == 10000 and data['left'] == 50


def test_bare_picture(run, tmp_path):
    """It is XML, with a text for each row of the ladder; hostile text stays text."""
    wire(str(tmp_path / 'w.pcap'), [ethernet(True, HOSTILE), tcp(1, HOSTILE)])
    for source in run, str(tmp_path / 'w.pcap'):
        page(str(tmp_path / 'p.html'), source)
        done = subprocess.run([NETTRACE, 'html', '--svg', '-o', '-', source], check=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=CAP)
        root = ElementTree.fromstring(done.stdout)
        texts = [e.text for e in root.iter('{http://www.w3.org/2000/svg}text')]
        assert {e.tag.split('}')[1] for e in root.iter()} <= set('svg g defs marker path rect circle text polyline'.split())
        assert source != run or all(any(label in text or text in label for text in texts if text)
                                    for label in labels(page(str(tmp_path / 'p.html'), run)[1], only=1))
    assert any('<img' in text for text in texts)


# ---- and in a browser -----------------------------------------------------------


@browser
def test_keys_and_mouse(run, tmp_path):
    page(str(tmp_path / 'p.html'), run)
    said, dom = drive(tmp_path / 'p.html', tmp_path / 'profile')
    assert re.fullmatch(r'ok \d+', said) and int(said[3:]) >= 30
    assert 'ESTABLISHED' in dom and 'Where each packet spent its time' in dom


@browser
@pytest.mark.parametrize('night', [0, 1])
def test_on_a_phone_and_at_night(run, tmp_path, night):
    """390 pixels wide, in a frame (no window is that narrow), and in the colours that the system asks
    for: the page finds nothing beyond its window, no text too small or too pale, and works as ever."""
    page(str(tmp_path / 'p.html'), run)
    (tmp_path / 'phone.html').write_text(
        '<!DOCTYPE html><html><body><iframe id="f" src="p.html#selftest" width="390" height="844" style="border:0"></iframe><script>'
        'f.onload = () => Object.assign(document.documentElement.dataset, f.contentDocument.documentElement.dataset)</script></body></html>')
    color = f'--blink-settings=preferredColorScheme={1 - night}'
    for name, width in ('p.html', 1400), ('phone.html', 390):
        said, dom = drive(tmp_path / name, tmp_path / 'profile', color, '--allow-file-access-from-files')
        assert re.fullmatch(r'ok \d+', said)
        assert f'data-seen="{width} rgb({"22, 24, 27" if night else "255, 255, 255"})"' in dom


@browser
def test_folds(run, tmp_path):
    """More rows than may be drawn: packets fold, and with still fewer stretches of time do."""
    for rows in 60, 8:
        page(str(tmp_path / 'p.html'), '--rows', rows, run)
        said, dom = drive(tmp_path / 'p.html', tmp_path / 'profile')
        assert re.fullmatch(r'ok \d+', said)
        assert re.search(r'more than \d+, so (each packet|\d+ packets) folds? into one row', dom)
        # What a process wrote is a packet too, but others carry its bytes.
        assert re.search(r'rows of \d+ packets, \d+ of them without a frame', dom)
        assert re.search(r'no frame of its own|\d+ without a frame', dom)


@browser
def test_ten_thousand_packets(tmp_path):
    """More than a page holds: it opens, works, and says what is folded and what is not there."""
    wire(str(tmp_path / 'w.pcap'), [tcp(k * 10, b'0123456789') for k in range(10050)])
    page(str(tmp_path / 'p.html'), '--all', str(tmp_path / 'w.pcap'))
    said, dom = drive(tmp_path / 'p.html', tmp_path / 'profile')
    assert re.fullmatch(r'ok \d+', said)
    assert 'packets fold into one row' in dom and '50 rows of packets beyond the first 10,000 are not in this page' in dom


@browser
def test_hostile_text_in_a_browser(tmp_path):
    wire(str(tmp_path / 'w.pcap'), [ethernet(True, HOSTILE), tcp(1, HOSTILE), tcp(200, b'GET ' + HOSTILE)])
    page(str(tmp_path / 'p.html'), str(tmp_path / 'w.pcap'))
    said, dom = drive(tmp_path / 'p.html', tmp_path / 'profile')
    assert re.fullmatch(r'ok \d+', said)
    assert '<img' not in dom
