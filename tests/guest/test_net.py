"""The network from the outside: what the guest answers on its cable, byte for
byte, what its timers do when the wire loses a frame or stays silent, and what the
trace says became of each bad packet.

One guest serves most tests; each uses ports of its own.  After each test on it
every packet has exactly one end with a reason of its own, no frame is unaccounted
for, and no event is lost (the fixture wire).  Times are virtual, from the capture.
"""

import os
import re
import struct
import subprocess
import time
from types import SimpleNamespace
from urllib.request import urlopen

import pytest

from peer import ACK, ARP, BROADCAST, FIN, IPV4, PSH, RST, SYN, Flow, Wire, addr, mac, read_capture
from vm import BUILD, CAP, NETTRACE

TRACE = 'trace=all,-func,-pbuf_*,-frame,-sys_*,-switch,-sleep,-wakeup trace_slots=65536'
STATIC = 'ip=10.9.0.2/24,10.9.0.1 ' + TRACE
TESTS = ('-i', os.path.join(BUILD, 'tests.img'))
CHECK = ('check', '--ends', '--sandwich', '--max-lost', '0', '--no-drop', 'NOT_SPECIFIED', '--max-unmatched')
GET = b'GET /rc HTTP/1.0\r\n\r\n'
RC = os.path.join(os.path.dirname(__file__), '..', '..', 'user', 'fs', 'rc')

lab = SimpleNamespace()  # last port and ping number used: each test takes new ones


def fresh():
    lab.n = getattr(lab, 'n', 2000) + 1
    return lab.n


def check_books(wire):
    """Every packet has one end and a reason, every frame its events, no event is lost.
    Only a frame that the card had to refuse has none."""
    __tracebackhide__ = True
    done = subprocess.run([NETTRACE, *CHECK, str(getattr(wire, 'refused', 0)), wire.vm.dir],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=CAP)
    if done.returncode:
        wire.vm.fail('nettrace ' + ' '.join(CHECK), done.stdout.decode())


def served(answer):
    with open(RC, 'rb') as f:
        body = f.read()
    return answer.startswith(b'HTTP/1.1 200 ') and answer.endswith(b'\r\n\r\n' + body)


def get(wire, port=None, seq=1000):
    """One good request, from handshake to both FINs; the connection as it was."""
    flow = Flow(wire, port or fresh(), 80, seq=seq).open()
    flow.send(PSH | ACK, GET)
    assert served(flow.all_data())
    flow.send(FIN | ACK)
    flow.expect(ACK, 'the ACK of our FIN', b'')
    return flow


def nt_hash(frame):
    """The fingerprint by which the trace knows a frame (uapi/nettrace.h)."""
    h = 2166136261
    for word in struct.unpack('<16I', frame[:64].ljust(64, b'\0')):
        h = (h ^ word) * 16777619 % 2**32
    return h


def events(wire, *names):
    return [row for row in wire.vm.events() if row['event'] in names]


def story(wire, frame):
    """What the trace tells of one received frame: (reasons of its drops, fates of its ends)."""
    rows = events(wire, 'e1000_rx', 'net_drop', 'pkt_end')
    born = [row['pkt'] for row in rows if row['event'] == 'e1000_rx' and int(row['hash'], 16) == nt_hash(frame)]
    if len(born) != 1:
        wire.vm.fail('one e1000_rx event of the frame', born)
    mine = [row for row in rows if row['pkt'] == born[0]]
    return ([row['reason'] for row in mine if row['event'] == 'net_drop'],
            [row['fate'] for row in mine if row['event'] == 'pkt_end'])


def gap(wire, want):
    """Seconds of virtual time between the last two captured frames for which want is true."""
    times = [p.t for p in wire.capture() if want(p)]
    return times[-1] - times[-2]


@pytest.fixture(scope='module')
def guest():
    wire = Wire(append=STATIC, extra=TESTS, name='net').start()
    wire.ping(0)  # waits for the end of QEMU's receive block
    yield wire
    wire.stop()
    wire.vm.check()
    check_books(wire)
    wire.vm.remove()


@pytest.fixture
def wire(guest):
    del guest.vm.steps[1:]  # the story of this test alone
    yield guest
    guest.got.clear()
    guest.ping(fresh(), ident=0x600d)
    # A live trace is read up to the guest's last tick: let two pass.
    guest.vm.wait_event('quiet=30ms')
    check_books(guest)


@pytest.fixture
def cable(request, cap):
    """cable(...) starts a guest of its own on a Wire; it is ended after the test."""
    wires = []
    request.node.guests = []

    def start(**options):
        wires.append(Wire(name=request.node.name.split('[')[0], **options))
        request.node.guests.append(wires[-1].vm)
        return wires[-1].start()

    yield start
    for wire in wires:
        wire.stop()
    if request.node.report_call.passed:
        for wire in wires:
            wire.vm.check()
            check_books(wire)
            wire.vm.remove()


# ---- ARP ----------------------------------------------------------------


def test_arp_is_answered(wire):
    wire.send(wire.arp_packet(1, wire.guest))
    answer = wire.expect(lambda p: p.arp and p.arp.op == 2, 'an ARP reply')
    assert (answer.dst, answer.src) == (wire.mac, wire.guest_mac)
    assert vars(answer.arp) == dict(htype=1, ptype=IPV4, hlen=6, plen=4, op=2, sha=wire.guest_mac,
                                    spa=wire.guest, tha=wire.mac, tpa=wire.ip)


@pytest.mark.parametrize('ip', ['10.9.0.3', '10.9.0.255', '127.0.0.1', '0.0.0.0', '255.255.255.255'])
def test_arp_for_another_address_is_not(wire, ip):
    wire.send(wire.arp_packet(1, addr(ip)))
    wire.silent(lambda p: p.arp and p.arp.op == 2, 'ARP reply')


def test_arp_goes_out_before_the_first_packet_to_a_stranger(wire):
    """Another host on the cable pings: the guest asks for its MAC and uses that."""
    ip, hers = addr('10.9.0.33'), mac('02:00:00:00:00:33')
    wire.send(wire.echo(1, b'who are you', src=ip))
    ask = wire.expect(lambda p: p.arp and p.arp.tpa == ip, 'an ARP request')
    assert (ask.dst, ask.arp.op, ask.arp.sha, ask.arp.spa) == (BROADCAST, 1, wire.guest_mac, wire.guest)
    wire.send(wire.arp_packet(2, wire.guest, sha=hers, spa=ip, tha=wire.guest_mac))
    answer = wire.expect(lambda p: p.icmp and p.ip.dst == ip, 'the answer to the ping')
    assert (answer.dst, answer.data) == (hers, b'who are you')


# ---- ping ---------------------------------------------------------------


@pytest.mark.parametrize('size', [0, 1, 56, 1471, 1472])
def test_ping(wire, size):
    wire.ping(fresh(), bytes(n * 7 % 256 for n in range(size)))


@pytest.mark.parametrize('order', [(0, 1, 2), (2, 0, 1), (1, 2, 0)], ids=str)
def test_ping_in_fragments(wire, order):
    """4000 bytes make three fragments either way; the order of arrival does not matter."""
    data = bytes(n * 11 % 251 for n in range(4000))
    ident = fresh()
    whole = wire.icmp(8, 0, 99, ident, data)
    parts = [wire.ipv4(1, whole[at:at + 1480], ident=ident, frag=at // 8 | (0x2000 if at + 1480 < len(whole) else 0))
             for at in range(0, len(whole), 1480)]
    for n in order:
        wire.send(parts[n])
    got = [wire.expect(lambda p: p.ip and p.ip.frag & 0x3fff, f'fragment {n} of the reply') for n in range(3)]
    assert [(p.ip.frag & 0x1fff) * 8 for p in got] == [0, 1480, 2960]
    assert [p.ip.frag >> 13 for p in got] == [1, 1, 0] and len({p.ip.ident for p in got}) == 1
    got[0].data = b''.join(p.data for p in got)
    got[0].transport()
    assert (got[0].icmp.type, got[0].icmp.ident, got[0].icmp.seq) == (0, 99, ident)
    assert got[0].data == data


def test_burst_of_500_pings(wire):
    """Twice the receive ring at once: all are answered, in order, and the next one is, too."""
    for n in range(500):
        wire.send(wire.echo(n, struct.pack('!I', n), ident=500))
    for n in range(500):
        answer = wire.expect(lambda p: p.icmp and p.icmp.ident == 500, f'the answer to ping {n}')
        assert (answer.icmp.seq, answer.data) == (n, struct.pack('!I', n))
    wire.ping(fresh())


def test_frame_for_another_mac_never_reaches_the_driver(wire):
    frame = wire.ether(IPV4, wire.echo(fresh(), b'not for you')[14:], dst=mac('52:54:00:12:34:57'))
    wire.send(frame)
    wire.refused = 1
    wire.silent(lambda p: p.icmp and p.data == b'not for you', 'answer')
    assert not [row for row in events(wire, 'e1000_rx') if int(row['hash'], 16) == nt_hash(frame)]


# ---- bad packets --------------------------------------------------------

# What is wrong, the reason the trace must give, and a frame of that kind.
BAD = [
    ('unknown type', 'ETH_TYPE', lambda w: w.ether(0x88cc, b'lldp' * 12)),
    ('IPv6', 'ETH_TYPE', lambda w: w.ether(0x86dd, bytes([0x60]) + bytes(47))),
    ('ARP hardware type', 'ARP_BAD', lambda w: w.arp_packet(1, w.guest, htype=6)),
    ('ARP protocol type', 'ARP_BAD', lambda w: w.arp_packet(1, w.guest, ptype=0x86dd)),
    ('ARP hardware length', 'ARP_BAD', lambda w: w.arp_packet(1, w.guest, hlen=8)),
    ('ARP protocol length', 'ARP_BAD', lambda w: w.arp_packet(1, w.guest, plen=16)),
    ('IP version', 'IP_INHDR', lambda w: w.echo(fresh(), ver=5)),
    ('IP header of 16 bytes', 'IP_INHDR', lambda w: w.echo(fresh(), ihl=4)),
    ('IP header beyond the packet', 'IP_INHDR', lambda w: w.ipv4(99, b'1234', ihl=15)),
    ('IP total length below the header', 'IP_INHDR', lambda w: w.echo(fresh(), total=19)),
    ('IP total length beyond the frame', 'IP_INHDR', lambda w: w.echo(fresh(), bytes(56), total=1000)),
    ('IP checksum', 'IP_CSUM', lambda w: w.ipv4(1, w.icmp(8, 0, 7, fresh()), csum=0x1234)),
    ('from the broadcast address', 'IP_INHDR', lambda w: w.echo(fresh(), src=addr('255.255.255.255'))),
    ('from a multicast address', 'IP_INHDR', lambda w: w.echo(fresh(), src=addr('224.0.0.1'))),
    ('to another host', 'OTHERHOST', lambda w: w.echo(fresh(), dst=addr('10.9.0.77'))),
    ('to loopback, from outside', 'OTHERHOST', lambda w: w.echo(fresh(), dst=addr('127.0.0.1'))),
    ('unknown IP protocol', 'IP_NOPROTO', lambda w: w.ipv4(99, b'12345678')),
    ('ICMP checksum', 'ICMP_CSUM', lambda w: w.echo(fresh(), b'x' * 56, csum=0xbad)),
    ('ICMP of 4 bytes', 'ICMP_BAD', lambda w: w.ipv4(1, b'\x08\0\xf7\xff')),
    ('ICMP type', 'ICMP_BAD', lambda w: w.ipv4(1, w.icmp(200, 0, 1, fresh()))),
    ('ping to everyone', 'ICMP_BAD', lambda w: w.echo(fresh(), dst=addr('10.9.0.255'), to=BROADCAST)),
    ('UDP checksum', 'UDP_CSUM', lambda w: w.udp(fresh(), 53, b'question', csum=0xbad)),
    ('UDP of 4 bytes', 'UDP_LEN', lambda w: w.ipv4(17, struct.pack('!HH', fresh(), 53))),
    ('UDP port', 'NO_SOCKET', lambda w: w.udp(fresh(), 4321, b'hello')),
    ('TCP checksum', 'TCP_CSUM', lambda w: w.tcp(fresh(), 80, 1, 0, SYN, csum=0xbad)),
    ('TCP header of 12 bytes', 'TCP_HDR', lambda w: w.ipv4(6, struct.pack('!HHII', fresh(), 80, 1, 0))),
    ('TCP data offset 0', 'TCP_HDR', lambda w: w.tcp(fresh(), 80, 1, 0, SYN, off=0)),
    ('TCP data offset 4', 'TCP_HDR', lambda w: w.tcp(fresh(), 80, 1, 0, SYN, off=4)),
    ('TCP data offset beyond the segment', 'TCP_HDR', lambda w: w.tcp(fresh(), 80, 1, 0, SYN, off=15)),
    ('TCP to everyone', 'TCP_HDR', lambda w: w.tcp(fresh(), 80, 1, 0, SYN, dst=addr('255.255.255.255'), to=BROADCAST)),
    ('TCP port', 'NO_SOCKET', lambda w: w.tcp(fresh(), 81, 1, 0, SYN)),
    ('RST to a closed port', 'NO_SOCKET', lambda w: w.tcp(fresh(), 81, 1, 0, RST)),
    ('ACK to a listener', 'NO_SOCKET', lambda w: w.tcp(fresh(), 80, 1, 1, ACK, b'data')),
]


@pytest.mark.parametrize('reason, make', [row[1:] for row in BAD], ids=[f'{row[0]}: {row[1]}' for row in BAD])
def test_bad_packet(wire, reason, make):
    """Dropped once, for its reason, and the next good request is served."""
    frame = make(wire)
    wire.send(frame)
    get(wire)
    assert story(wire, frame) == ([reason], ['DROP'])


@pytest.mark.parametrize('kind', (3, 4, 5, 11, 12))
def test_icmp_error_is_no_drop(wire, kind):
    """Nobody asked for it, but it is well-formed and the stack has read it."""
    frame = wire.ipv4(1, wire.icmp(kind, 0, 0, fresh(), wire.echo(1)[14:42]))
    wire.send(frame)
    get(wire)
    assert story(wire, frame) == ([], ['STACK'])


def test_pieces_wait_for_a_neighbour(wire):
    """Pieces of a datagram to a host whose MAC is not known yet wait, leave, and are the
    packets that they were before; none of them is a drop."""
    host, before = addr('10.9.0.78'), len(events(wire, 'net_drop'))
    wire.vm.send('ping -c 1 -s 4000 10.9.0.78\n')
    wire.expect(lambda p: p.arp and p.arp.op == 1 and p.arp.tpa == host, 'a question for the MAC')
    wire.send(wire.arp_packet(2, wire.guest, spa=host, tha=wire.guest_mac))
    for _ in range(3):
        wire.expect(lambda p: p.ip and p.ip.dst == host, 'a piece')
    get(wire)
    rows = events(wire, 'arp_queue', 'net_drop', 'pkt_end', 'e1000_tx')
    waited = [row['pkt'] for row in rows if row['event'] == 'arp_queue' and row['ip'] == '10.9.0.78']
    assert len(waited) == 3 and len([row for row in rows if row['event'] == 'net_drop']) == before
    for pkt in waited:
        assert [row.get('fate') for row in rows if row['pkt'] == pkt and row['event'] != 'arp_queue'] == [None, 'WIRE']


@pytest.mark.parametrize('make', [row[2] for row in BAD if row[1] in ('ARP_BAD', 'IP_INHDR', 'IP_CSUM', 'ICMP_CSUM',
                                  'OTHERHOST', 'UDP_CSUM', 'UDP_LEN', 'TCP_CSUM', 'TCP_HDR')])
def test_bad_packet_is_not_answered(wire, make):
    wire.send(make(wire))
    wire.silent(lambda p: not (p.arp and p.arp.op == 1), 'packet')


def test_closed_udp_port_is_unreachable(wire):
    frame = wire.udp(fresh(), 4321, b'anybody there?')
    wire.send(frame)
    answer = wire.expect(lambda p: p.icmp and p.icmp.type == 3, 'an ICMP message')
    assert answer.icmp.code == 3  # port unreachable
    assert answer.data[:28] == frame[14:42]  # RFC 792: the header and 8 bytes of what was sent


def test_closed_tcp_port_answers_with_a_reset(wire):
    flow = Flow(wire, fresh(), 81)
    flow.send(SYN)
    answer = flow.expect(RST | ACK, 'RST,ACK', b'')
    assert (answer.tcp.seq, answer.tcp.ack) == (0, 1001)


def test_overlapping_fragments(wire):
    """The one that overlaps is dropped; the others still make a whole."""
    ident = fresh()
    whole = wire.icmp(8, 0, 98, ident, bytes(range(200)))
    wire.send(wire.ipv4(1, whole[:64], ident=ident, frag=0x2000))
    overlap = wire.ipv4(1, 96 * b'#', ident=ident, frag=0x2000 | 4)
    wire.send(overlap)
    wire.send(wire.ipv4(1, whole[64:], ident=ident, frag=8))
    answer = wire.expect(lambda p: p.icmp and p.icmp.ident == 98, 'the answer to the whole')
    assert answer.data == bytes(range(200))
    assert story(wire, overlap) == (['FRAG_BAD'], ['DROP'])


# ---- segments that do not fit -------------------------------------------

# What is odd, the drop's reason, and how it is sent on an established connection.
ODD = [
    ('old data', 'TCP_OLD_SEQ', lambda f: dict(flags=ACK | PSH, data=b'again', seq=f.seq - 5)),
    ('data beyond the window', 'TCP_OVERWINDOW', lambda f: dict(flags=ACK | PSH, data=b'far', seq=f.seq + 100000)),
    ('old data that acknowledge too much', 'TCP_INVALID_ACK', lambda f: dict(flags=ACK | PSH, data=b'again', seq=f.seq - 5, ack=f.ack + 999)),
    ('SYN', 'TCP_INVALID_SYN', lambda f: dict(flags=SYN, seq=f.seq)),
]


@pytest.mark.parametrize('reason, what', [row[1:] for row in ODD], ids=[f'{row[0]}: {row[1]}' for row in ODD])
def test_odd_segment(wire, reason, what):
    """Dropped for its reason; the connection goes on and answers."""
    flow = Flow(wire, fresh(), 80).open()
    odd = what(flow)
    frame = wire.tcp(flow.ours, 80, odd['seq'], odd.get('ack', flow.ack), odd['flags'], odd.get('data', b''))
    wire.send(frame)
    wire.ping(fresh())
    wire.got.clear()  # perhaps it was answered with an ACK
    flow.send(PSH | ACK, GET)
    assert served(flow.all_data())
    flow.send(FIN | ACK)
    assert story(wire, frame) == ([reason], ['DROP'])


def test_segments_out_of_order_are_put_together(wire):
    flow = Flow(wire, fresh(), 80).open()
    start = flow.seq
    for at in (10, 15, 5, 0):
        flow.send(PSH | ACK, GET[at:at + 5] if at < 15 else GET[at:], seq=start + at)
        wire.ping(fresh())
    wire.got = [p for p in wire.got if not p.tcp or p.data]  # its duplicate ACKs
    flow.seq = start + len(GET)
    assert served(flow.all_data())
    flow.send(FIN | ACK)


def test_only_the_exact_reset_kills(wire):
    """RFC 5961, section 3: a reset inside the window is not believed."""
    flow = Flow(wire, fresh(), 80).open()
    flow.send(RST, seq=flow.seq + 100)
    flow.send(RST, seq=flow.seq - 1)
    flow.send(PSH | ACK, GET)
    wire.ping(fresh())
    wire.got = [p for p in wire.got if not p.tcp or p.data or p.tcp.flags & FIN]
    assert served(flow.all_data())
    flow.send(FIN | ACK)

    flow = Flow(wire, fresh(), 80).open()
    flow.send(RST, seq=flow.seq)
    flow.send(PSH | ACK, GET)
    assert flow.expect(RST | ACK, 'a reset: there is no such connection any more').data == b''


def test_port_is_used_again(wire):
    """RFC 9293 3.10.7.4: a SYN newer than a TIME-WAIT opens the connection anew, an older one does not."""
    flow = get(wire)
    again = get(wire, flow.ours, flow.seq + 100000)
    old = Flow(wire, flow.ours, 80, seq=again.seq - 50000)
    old.send(SYN)
    assert old.expect(ACK, 'the ACK of the old connection', b'').tcp.ack == again.seq


def test_listener_with_a_full_backlog(wire):
    """16 may wait; the rest gets no answer, and the listener works once they are gone."""
    first = lab.n + 1
    flows = [Flow(wire, fresh(), 80) for _ in range(24)]
    for flow in flows:
        flow.send(SYN)
    wire.ping(fresh())
    answered = [p for p in wire.got if p.tcp and p.tcp.flags == SYN | ACK]
    assert len({p.tcp.dport for p in answered}) == 16
    drops = [row for row in events(wire, 'net_drop') if row['reason'] == 'LISTEN_BACKLOG']
    assert len([row for row in drops if first <= row['sport'] < first + 24]) == 8
    for flow in flows[:16]:
        flow.send(RST)
    get(wire)


# ---- lost frames, silent wires ------------------------------------------


def test_lost_syn_ack_is_sent_again(wire):
    flow = Flow(wire, fresh(), 80)
    flow.send(SYN, options=b'\2\4\5\xb4')
    lost = flow.expect(SYN | ACK, 'SYN,ACK')
    again = flow.expect(SYN | ACK, 'SYN,ACK once more')
    assert again.frame[34:] == lost.frame[34:]
    assert lost.tcp.options == b'\2\4\5\xb4'  # MSS 1460
    assert 0.4 <= gap(wire, flow.mine) <= 3.5
    rows = [row for row in events(wire, 'tcp_rexmit') if row['fields']['seq'] == lost.tcp.seq]
    assert [row['kind'] for row in rows] == ['SYN']
    flow.send(ACK)
    flow.send(PSH | ACK, GET)
    assert served(flow.all_data())
    flow.send(FIN | ACK)


def test_lost_data_are_sent_again(wire):
    """The wire is silent in between: only a timer can have done it."""
    flow = Flow(wire, fresh(), 80).open()
    flow.send(PSH | ACK, GET)
    lost = wire.expect(lambda p: flow.mine(p) and p.data, 'the answer')
    again = wire.expect(lambda p: flow.mine(p) and p.data, 'the answer once more')
    assert (again.tcp.seq, again.data) == (lost.tcp.seq, lost.data)
    assert 0.2 <= gap(wire, lambda p: flow.mine(p) and p.data) <= 3.5
    rows = [row for row in events(wire, 'tcp_rexmit') if row['fields']['seq'] == lost.tcp.seq]
    assert rows and {row['kind'] for row in rows} == {'RTO'} and rows[0]['len'] == len(lost.data)
    assert lost.tcp.flags & again.tcp.flags & FIN  # MSG_MORE: the answer and its end share a segment
    flow.ack = lost.tcp.seq + len(lost.data) + 1
    flow.send(FIN | ACK)
    assert served(lost.data)


def test_three_duplicate_acks_bring_the_lost_segment_back(wire):
    """Sooner than any timer would."""
    flow = Flow(wire, fresh(), 80).open()
    flow.send(PSH | ACK, b'GET /nettop HTTP/1.0\r\n\r\n')
    first = wire.expect(lambda p: flow.mine(p) and p.data, 'the first segment')
    seq = first.tcp.seq + len(first.data)
    flow.send(ACK, ack=seq)  # opens the window of congestion for more
    lost = wire.expect(lambda p: flow.mine(p) and p.tcp.seq == seq and p.data, 'the second segment')
    for _ in range(3):
        flow.send(ACK, ack=seq)
    again = wire.expect(lambda p: flow.mine(p) and p.tcp.seq == seq and p.data, 'the second segment once more')
    assert again.data == lost.data
    assert [row['kind'] for row in events(wire, 'tcp_rexmit') if row['fields']['seq'] == seq] == ['FAST']
    flow.send(RST, seq=flow.seq)


def test_delayed_ack_leaves_alone(wire):
    flow = Flow(wire, fresh(), 80).open()
    flow.send(PSH | ACK, GET[:3])
    ack = flow.expect(ACK, 'the ACK of three bytes', b'')
    assert ack.tcp.ack == flow.seq
    assert gap(wire, lambda p: p.tcp and flow.ours in (p.tcp.sport, p.tcp.dport)) <= 0.3
    flow.send(PSH | ACK, GET[3:])
    assert served(flow.all_data())
    flow.send(FIN | ACK)


def test_peer_with_a_window_of_one_segment(wire):
    """No byte goes beyond it, and everything arrives."""
    with open(os.path.join(BUILD, 'user', 'echo.bin'), 'rb') as f:
        program = f.read()
    flow = Flow(wire, fresh(), 80)
    flow.send(SYN, options=b'\2\4\5\xb4', wnd=500)
    flow.expect(SYN | ACK, 'SYN,ACK')
    flow.send(ACK, wnd=500)
    flow.send(PSH | ACK, b'GET /echo HTTP/1.0\r\n\r\n', wnd=500)
    got, fin = b'', 0
    while not fin:
        p = wire.expect(flow.mine, 'data or FIN')
        assert p.tcp.seq == flow.ack and len(p.data) <= 500 - (flow.ack - p.tcp.seq)
        fin = p.tcp.flags & FIN
        got += p.data
        flow.ack += len(p.data) + fin
        if p.data or fin:
            flow.send(ACK, wnd=500)
    flow.send(FIN | ACK)
    assert got.endswith(b'\r\n\r\n' + program)


# ---- connections the guest opens ----------------------------------------


def test_guest_connects(wire):
    flow = Flow(wire, fresh(), 0)
    wire.vm.send(f'tcp 10.9.0.1 {flow.ours} hello\n')
    flow.accept()
    assert flow.expect(ACK, 'what it was told to send').data == b'hello'
    flow.expect(FIN | ACK, 'its FIN', b'')
    flow.send(PSH | ACK, b'good bye\n')
    flow.send(FIN | ACK)
    wire.expect(lambda p: flow.mine(p) and p.tcp.ack == flow.seq, 'the ACK of our FIN')
    wire.vm.expect('good bye')


def test_lost_syn_of_the_guest_is_sent_again(wire):
    flow = Flow(wire, fresh(), 0)
    wire.vm.send(f'tcp 10.9.0.1 {flow.ours} hello\n')
    mine = lambda p: p.tcp and p.tcp.dport == flow.ours and p.tcp.flags == SYN  # noqa: E731
    lost = wire.expect(mine, 'a SYN')
    again = wire.expect(mine, 'the SYN once more')
    assert again.frame[34:] == lost.frame[34:]
    assert 1.0 <= gap(wire, mine) <= 3.6
    wire.got.append(again)
    flow.accept()
    assert flow.expect(ACK, 'what it was told to send').data == b'hello'
    flow.send(RST, seq=flow.seq)
    wire.vm.expect('connection reset')


def test_refused(wire):
    flow = Flow(wire, fresh(), 0)
    wire.vm.send(f'tcp 10.9.0.1 {flow.ours} hello\n')
    syn = wire.expect(lambda p: p.tcp and p.tcp.dport == flow.ours and p.tcp.flags == SYN, 'a SYN')
    wire.send(wire.tcp(flow.ours, syn.tcp.sport, 0, syn.tcp.seq + 1, RST | ACK))
    wire.vm.expect('refused')
    wire.silent(lambda p: p.tcp and p.tcp.dport == flow.ours, 'further segment')


# ---- addresses ----------------------------------------------------------

def dhcp_type(p):
    """The DHCP message type of a packet, with its transaction; or None."""
    if not p.udp or p.udp.dport not in (67, 68) or p.data[236:240] != b'\x63\x82\x53\x63':
        return None
    return p.data[240 + 2] if p.data[240] == 53 else None


def dhcp_answer(wire, kind, asked, ip, xid=None):
    """An OFFER (2) or ACK (5) for the request asked."""
    fixed = struct.pack('!BBBB4sHH4s4s4s4s16s', 2, 1, 6, 0, xid or asked.data[4:8], 0, 0, bytes(4), addr(ip),
                        wire.ip, bytes(4), wire.guest_mac.ljust(16, b'\0')) + bytes(192)
    options = bytes([53, 1, kind, 54, 4]) + wire.ip + bytes([51, 4]) + struct.pack('!I', 3600)
    options += bytes([1, 4]) + addr('255.255.255.0') + bytes([3, 4]) + wire.ip + b'\xff'
    data = fixed + b'\x63\x82\x53\x63' + options
    header = struct.pack('!HHHH', 67, 68, 8 + len(data), 0)  # checksum 0: none
    return wire.ipv4(17, header + data, dst=addr('255.255.255.255'), to=BROADCAST)


def test_dhcp(cable):
    """An answer with another transaction's number is ignored; the right one is taken."""
    wire = cable(append=TRACE)
    discover = wire.expect(lambda p: dhcp_type(p) == 1, 'DHCPDISCOVER')
    assert (discover.dst, discover.ip.src, discover.ip.dst) == (BROADCAST, bytes(4), BROADCAST[:4])
    assert discover.data[28:34] == wire.guest_mac
    wire.send(dhcp_answer(wire, 2, discover, '10.9.0.66', xid=b'\1\2\3\4'))
    wire.send(dhcp_answer(wire, 2, discover, '10.9.0.50'))
    request = wire.expect(lambda p: dhcp_type(p) == 3, 'DHCPREQUEST')
    assert bytes([50, 4]) + addr('10.9.0.50') in request.data
    wire.send(dhcp_answer(wire, 5, request, '10.9.0.50'))
    wire.vm.expect(r'en0: 10\.9\.0\.50/24 gateway 10\.9\.0\.1 \(dhcp\)')
    wire.guest = addr('10.9.0.50')
    wire.ping(1)
    get(wire)


def test_dhcp_of_user_networking(boot):
    vm = boot()
    with urlopen(f'http://127.0.0.1:{vm.port(80)}/rc') as answer:
        assert answer.status == 200
    packets = read_capture(os.path.join(vm.dir, 'wire.pcap'))
    kinds = [(dhcp_type(p), p.ip.src) for p in packets if dhcp_type(p)]
    assert kinds == [(1, bytes(4)), (2, addr('10.0.2.2')), (3, bytes(4)), (5, addr('10.0.2.2'))]
    assert re.search(r'^.*en0: 10\.0\.2\.15/24.*\(dhcp\)$', vm.output(), re.M)


def first_reply(wire, ip, limit):
    """Ask for ip every 50 ms until it is answered; when it was, in virtual seconds."""
    wire.guest = addr(ip)
    end = time.monotonic() + CAP
    while time.monotonic() < end:
        wire.send(wire.arp_packet(1, wire.guest))
        if wire.find(lambda p: p.arp and p.arp.op == 2 and p.arp.spa == wire.guest, 0.05):
            break
    wire.got = [p for p in wire.got if not p.arp]
    return [p.t for p in wire.capture() if p.arp and p.arp.op == 2 and p.arp.spa == wire.guest][0]


def test_fallback_when_no_dhcp_server_answers(cable):
    wire = cable(append='ipfallback=10.9.0.9/24,10.9.0.1 ' + TRACE)
    assert 4.5 <= first_reply(wire, '10.9.0.9', 7) <= 7
    assert len([p for p in wire.got if dhcp_type(p) == 1]) >= 2
    wire.ping(1)
    get(wire)
    assert 'en0: 10.9.0.9/24 gateway 10.9.0.1 (fallback)' in wire.vm.output()


def test_static_address(cable):
    """At once, and DHCP is not asked."""
    wire = cable(append='ip=192.168.7.5/16 ' + TRACE, ip='192.168.200.1')
    assert first_reply(wire, '192.168.7.5', 2) <= 2
    get(wire)
    assert not [p for p in wire.capture() if dhcp_type(p)]


def test_no_address(cable):
    """ip=none: not a frame leaves, and nothing is answered."""
    wire = cable(append='ip=none ' + TRACE)
    wire.send(wire.arp_packet(1, wire.guest))
    wire.send(wire.echo(1))
    wire.vm.wait_event('net_drop reason=OTHERHOST')
    assert wire.find(lambda p: True, 0) is None


@pytest.mark.parametrize('ip', ['banana', '10.0.2.256/24', '10.0.2.15/33,1.2.3.4,', '10.0.2.255/24'])
def test_malformed_address_falls_back_to_dhcp(boot, ip):
    vm = boot(append=f'ip={ip}', wait=('ip',))
    vm.expect(r'net: ip=.*want dhcp, none or A\.B\.C\.D/n.*using dhcp')
    vm.expect(r'en0: 10\.0\.2\.15/24 \(dhcp\)')


# ---- the card -----------------------------------------------------------


def test_link_down_and_up(cable):
    """Segments wait while the link is down; 2 s after it is up again they are through."""
    wire = cable(append=STATIC)
    wire.ping(0)
    for _ in range(3):
        flow = Flow(wire, fresh(), 80).open()
        wire.monitor('set_link n0 off')
        wire.vm.wait_event('e1000_link up=0')
        flow.send(PSH | ACK, GET)  # lost: there is no link
        assert wire.find(flow.mine, 0.3) is None
        wire.monitor('set_link n0 on')
        seq, end = fresh(), time.monotonic() + CAP
        while time.monotonic() < end:
            wire.send(wire.echo(seq, ident=77))
            if wire.find(lambda p: p.icmp and p.icmp.ident == 77, 0.05):
                break
        ups = [row['t_ns'] / 1e9 for row in events(wire, 'e1000_link') if row['up'] == 1]
        pong = [p.t for p in wire.capture() if p.icmp and (p.icmp.ident, p.icmp.type) == (77, 0)]
        assert pong[-1] - ups[-1] <= 2
        flow.send(PSH | ACK, GET, seq=flow.seq - len(GET))
        assert served(flow.all_data())
        flow.send(FIN | ACK)
        wire.got.clear()
    downs = [row['up'] for row in events(wire, 'e1000_link')]
    assert downs == [1, 0, 1, 0, 1, 0, 1]


def test_timers_run_while_the_link_is_down(cable):
    """A connection in TIME-WAIT dies then; data not acknowledged go out again later."""
    wire = cable(append='msl=1000 ' + STATIC)
    wire.ping(0)
    get(wire)
    flow = Flow(wire, fresh(), 80).open()
    flow.send(PSH | ACK, GET)
    lost = wire.expect(lambda p: flow.mine(p) and p.data, 'the answer')
    wire.monitor('set_link n0 off')
    wire.vm.wait_event('tcp_state from=TIME_WAIT to=CLOSED why=TIMER')
    down = [row['t_ns'] for row in events(wire, 'e1000_link') if row['up'] == 0]
    dead = [row['t_ns'] for row in events(wire, 'tcp_state') if row['from'] == 'TIME_WAIT' and row['to'] == 'CLOSED']
    assert down[0] < dead[0]
    wire.monitor('set_link n0 on')
    again = wire.expect(lambda p: flow.mine(p) and p.data, 'the answer once more')
    assert (again.tcp.seq, again.data) == (lost.tcp.seq, lost.data)


def test_other_slot_and_mac(boot):
    """Nothing about the card is assumed: neither slot, interrupt nor address."""
    vm = boot(extra=('-x', '-set device.en0.addr=7 -set device.en0.mac=52:54:00:ab:cd:ef'))
    with urlopen(f'http://127.0.0.1:{vm.port(80)}/rc') as answer:
        assert answer.status == 200
    packets = read_capture(os.path.join(vm.dir, 'wire.pcap'))
    assert {p.src for p in packets if p.udp and p.udp.sport == 68} == {mac('52:54:00:ab:cd:ef')}
    assert 'en0: 82540EM at 0:7.0' in vm.output()


@pytest.mark.parametrize('model', ['e1000-82545em', 'e1000-82544gc'])
def test_sister_models(boot, model):
    """The 82545EM is driven; the 82544GC is not known and is named."""
    vm = boot(ports=(), extra=('-n', 'none', '-x', f'-netdev user,id=n0,restrict=on -device {model},netdev=n0,romfile='))
    vm.expect(r'en0: 10\.0\.2\.15/24' if model.endswith('5em') else r'net: 8086:100c at .* is not supported')


def test_no_card(boot):
    """Loopback works, nothing else is needed."""
    vm = boot(ports=(), extra=('-n', 'none', *TESTS))
    vm.expect(r'^net: no network card found, loopback only\n.*^\$ ')
    assert re.fullmatch(r'stream: \d+ checks\n', vm.cmd('sockets stream'))
