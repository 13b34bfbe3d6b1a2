"""Peers that are in the right, and hard to live with: segments of one byte, a window of
four, one that shrinks, urgent data, ten thousand neighbours.  Every byte comes right,
and nothing stays behind.
"""

import hashlib
import os
import random
import re

import pytest

from bad import URG, one
from peer import ACK, FIN, PSH, SYN, Flow, Wire, addr
from test_bad import TESTS, TRACE, books, drops, same_counts, served
from vm import TOP

with open(os.path.join(TOP, 'user', 'fs', 'README'), 'rb') as f:
    README = f.read()
MIB = bytes((k * 2654435761 >> 24) & 0xff for k in range(1 << 20))  # what ttcp -t sends


@pytest.fixture(scope='module')
def wire():
    wire = Wire(append='ip=10.9.0.2/24,10.9.0.1 msl=500 ' + TRACE, extra=TESTS, name='peers').start()
    try:
        wire.ping(0)
        assert served(wire) and file(wire, 'mkdir')
        wire.vm.cmd('limits counts')
        same_counts(wire, re.compile(' pcbs 0 '))
        wire.before = wire.vm.cmd('limits counts')
        yield wire
    finally:
        wire.stop()
    wire.vm.check()
    wire.vm.remove()


def opened(wire, port=80, wnd=65535, mss=1460):
    """A connection of a peer with this window and this MSS option."""
    flow = Flow(wire, one(), port)
    flow.send(SYN, options=b'\2\4' + mss.to_bytes(2, 'big'), wnd=wnd)
    flow.first = flow.expect(SYN | ACK, 'SYN,ACK').tcp.seq
    flow.send(ACK, wnd=wnd)
    return flow


def listening(wire, line):
    """Run line with a port of its own, which is returned."""
    port = one()
    wire.vm.send(f'{line} -p {port}\n')
    wire.vm.wait_event(f'tcp_state to=LISTEN lport={port}')
    return port


def asked(wire, name, wnd=65535, mss=1460):
    flow = opened(wire, wnd=wnd, mss=mss)
    flow.send(PSH | ACK, b'GET /%s HTTP/1.0\r\n\r\n' % name.encode(), wnd=wnd)
    return flow


def body(flow, answer):
    """What came after the head; the connection is ended."""
    flow.send(FIN | ACK)
    flow.expect(ACK, 'the ACK of our FIN', b'')
    assert answer.startswith(b'HTTP/1.1 200 ')
    return answer.partition(b'\r\n\r\n')[2]


def file(wire, name):
    """A file of the guest's, in the usual way."""
    flow = asked(wire, name)
    return body(flow, flow.all_data())


def slowly(flow, wnd, most, **more):
    """Read to the FIN with this window; no segment is longer than most, none beyond it."""
    got, edge = b'', (flow.ack + wnd) % 2**32
    while True:
        p = flow.wire.expect(flow.mine, 'data or FIN')
        assert len(p.data) <= most and (edge - p.tcp.seq - len(p.data)) % 2**32 < 2**31, (p, edge)
        if p.tcp.seq != flow.ack:
            continue  # known already
        got += p.data
        flow.ack = (flow.ack + len(p.data) + (p.tcp.flags & FIN)) % 2**32
        edge = (flow.ack + wnd) % 2**32
        if p.data or p.tcp.flags & FIN:
            flow.send(ACK, wnd=wnd, **more)
        if p.tcp.flags & FIN:
            return got


@pytest.mark.parametrize('mss, name', [(0, 'README'), (1, 'rc'), (7, 'README'), (100, 'mkdir')])
def test_small_segments(wire, mss, name):
    """An MSS option of 0 means nothing; with any other no segment is longer."""
    flow = asked(wire, name, mss=mss)
    got = body(flow, slowly(flow, 65535, mss or 1460))
    assert got == (README if name == 'README' else file(wire, name))


def test_window_of_four_bytes(wire):
    """One that is never larger: the guest sends what fits, to the end."""
    flow = asked(wire, 'rc', wnd=4, mss=1)
    assert body(flow, slowly(flow, 4, 1)) == file(wire, 'rc')
    flow = asked(wire, 'rc', wnd=4)
    assert body(flow, slowly(flow, 4, 4)) == file(wire, 'rc')


def test_window_shrinks(wire):
    """Its right edge goes back while data are on their way (RFC 9293 3.8.6 warns of such
    peers): all arrives once there is room again, and nothing new before."""
    flow = asked(wire, 'mkdir', wnd=8000)
    edge = (flow.ack + 8000) % 2**32
    first = wire.expect(flow.mine, 'data')
    flow.ack = (first.tcp.seq + len(first.data)) % 2**32
    wire.ping(one())  # all that fits has been sent
    for wnd in (3000, 100, 0):
        flow.send(ACK, wnd=wnd)
    wire.silent(lambda p: flow.mine(p) and (p.tcp.seq + len(p.data) - edge) % 2**32 - 1 < 2**31, 'data behind the edge')
    wire.got.clear()  # what had been sent is lost
    flow.send(ACK, wnd=1)
    flow.send(ACK)
    assert body(flow, first.data + slowly(flow, 65535, 1460)) == file(wire, 'mkdir')


def upload(flow, data, size, seed):
    """Send all data in segments of size bytes, shuffled, again and again what is missing."""
    base, rand, end = flow.seq, random.Random(seed), (flow.seq + len(data)) % 2**32
    while flow.seq != end:
        done = (flow.seq - base) % 2**32
        pieces = [(at, data[at:at + size]) for at in range(done, min(len(data), done + 400 * size), size)]
        rand.shuffle(pieces)
        for at, piece in pieces:
            flow.send(ACK | PSH, piece, seq=(base + at) % 2**32)
        flow.wire.ping(one(), ident=0x0b17)
        while (p := flow.wire.find(flow.mine, 0.001)):
            flow.seq = max(flow.seq, p.tcp.ack)


@pytest.mark.parametrize('options', ['-b 1', '-b 1 -s 300', '-b 65536 -s 300'])
def test_one_byte_at_a_time(wire, options):
    """200 segments of one byte, in any order, to a reader of one byte, who is slow."""
    data = MIB[5000:5200]
    port = listening(wire, f'ttcp -r -l {options}')
    flow = opened(wire, port)
    upload(flow, data, 1, options)
    flow.send(FIN | ACK)
    wire.vm.expect('received 200 bytes.* sha256 ' + hashlib.sha256(data).hexdigest())
    assert flow.all_data() == b''


def test_urgent_data(wire):
    """They are read in their place, wherever the pointer points."""
    port = listening(wire, 'ttcp -r -l')
    flow = opened(wire, port)
    for n, pointer in enumerate((0, 1, 10, 11, 1460, 65535)):
        flow.send(ACK | PSH | URG, b'urgent %3d' % n, urg=pointer)
    flow.send(ACK | URG, urg=7)  # urgent, and no data
    flow.send(FIN | ACK | URG, b'end', urg=1)
    want = b''.join(b'urgent %3d' % n for n in range(6)) + b'end'
    wire.vm.expect('received 63 bytes.* sha256 ' + hashlib.sha256(want).hexdigest())
    assert flow.all_data() == b''


def test_nothing_is_left_in_use(wire):
    wire.got.clear()
    assert served(wire)
    same_counts(wire, re.compile(re.escape(wire.before)))
    books(wire)


# From here on the ring does not hold everything.


def test_mss_option_in_mid_connection(wire):
    """RFC 9293 3.7.1: only a SYN has one.  What was queued for the old one stays as it is."""
    port = listening(wire, 'ttcp -t -l -q')
    flow = opened(wire, port, wnd=8000)
    assert slowly(flow, 8000, 1460, options=b'\2\4\0\1') == MIB
    flow.send(FIN | ACK)
    wire.vm.expect('sent 1048576 bytes')


def test_ten_thousand_neighbours(wire):
    """Requests from as many senders, each answered, and answers nobody asked for: the
    table stays small, and a client is served in between."""
    for n in range(10000):
        sender = dict(sha=b'\2\0\0' + n.to_bytes(3, 'big'), spa=addr(f'10.9.{1 + (n >> 8)}.{n & 255}'))
        wire.send(wire.arp_packet(1 + (n & 1), wire.guest, **sender))
        if n % 50 == 49:
            wire.ping(n)
        if n % 2500 == 2499:
            assert served(wire)
            answered = [p for p in wire.got if p.arp]
            assert len(answered) == 1250 and all(p.arp.op == 2 for p in answered)
            wire.got.clear()
    rows = wire.vm.cmd('arp').splitlines()
    assert len(rows) <= 33
    same_counts(wire, re.compile(re.escape(wire.before)))
    wire.vm.wait_event('quiet=30ms')
    assert drops(wire, 'NOT_SPECIFIED') == 0
