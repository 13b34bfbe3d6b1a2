"""Every event of events.def: provoked, and its fields held against something else.

One guest meets a peer made of bytes, which loses, swaps, cuts and refuses on purpose;
another gets its address from QEMU's DHCP server.  The truth is what the peer sent and
got, the capture, what the guest's programs print, and sums that must come out.  What
has no check here stands in ELSEWHERE, with the test that looks at it.
"""

import os
import re
import struct
import subprocess
import time
from collections import Counter
from types import SimpleNamespace

import pytest

from evidence import Trace, nt_hash
from peer import ACK, FIN, IPV4, PSH, RST, SYN, Flow, Wire, addr, read_capture
from vm import BUILD, CAP, NETTRACE, TOP, VM

TESTS = ('-i', os.path.join(BUILD, 'tests.img'))
OPTIONS = 'ip=10.9.0.2/24,10.9.0.1,10.9.0.1 msl=200 trace=all trace_slots=131072'
CHECK = ('check', '--ends', '--sandwich', '--max-lost', '0', '--no-drop', 'NOT_SPECIFIED', '--max-unmatched', '0')
GET = b'GET /rc HTTP/1.0\r\n\r\n'
BIG = bytes(k * 7 % 251 for k in range(4000))

# Events that other tests look at.
ELSEWHERE = {
    'lost': 'tests/guest/test_trace.py',
    'reader_stat': 'tests/host/test_ring.c',
    'ctl': 'tests/host/test_ring.c',
    'func': 'tests/guest/test_func.py',
    'func_exit': 'tests/guest/test_func.py',
}


def defined():
    with open(os.path.join(TOP, 'kernel', 'trace', 'events.def')) as f:
        return re.findall(r'^EVENT\((\w+),', f.read(), re.M)


# ---- the load -----------------------------------------------------------------


def pieces(w, proto, payload, order, ident):
    """The fragments of a packet, as frames, in this order of theirs."""
    cut = [(at, payload[at:at + 1480]) for at in range(0, len(payload), 1480)]
    last = len(cut) - 1
    return [w.ipv4(proto, cut[k][1], ident=ident, frag=cut[k][0] // 8 | (0x2000 if k < last else 0)) for k in order]


def whole(w, count, what):
    """The guest's next fragments, put together."""
    got = [w.expect(lambda p: p.ip and p.ip.frag & 0x3fff, what) for _ in range(count)]
    return b''.join(p.data for p in sorted(got, key=lambda p: p.ip.frag & 0x1fff)), got


def small_things(w, f):
    """Pings, whole and in pieces; UDP both ways; a port nobody has; a name."""
    w.ping(1, b'x' * 40, ident=0x101)
    for frame in pieces(w, 1, w.icmp(8, 0, 0x102, 1, BIG), (2, 0, 1), 0x4242):
        w.send(frame)
    f.echo, f.echo_parts = whole(w, 3, 'a piece of the echo reply')
    w.vm.cmd('udpecho 7 &')
    end = time.monotonic() + CAP
    while not re.search(r'udp .*:7 ', w.vm.cmd('netstat -a'), re.I):
        assert time.monotonic() < end, 'udpecho has no port'
    w.send(w.udp(5001, 7, b'hello'))
    f.hello = w.expect(lambda p: p.udp and p.udp.sport == 7, 'the echo')
    body = struct.pack('!HHHH', 5001, 7, 8 + 3000, 0) + BIG[:3000]
    for frame in pieces(w, 17, body, (0, 1, 2), 0x4343):
        w.send(frame)
    f.datagram, f.datagram_parts = whole(w, 3, 'a piece of the echo')
    w.send(w.udp(5002, 999, b'nobody'))
    f.refusal = w.expect(lambda p: p.icmp and p.icmp.type == 3, 'port unreachable')
    w.vm.send('host a.example\n')
    asked = w.expect(lambda p: p.udp and p.udp.dport == 53, 'a question')
    answer = b'\xc0\x0c\0\5\0\1\0\0\0\x3c\0\4\1b\xc0\x0e' + b'\xc0\x2b\0\1\0\1\0\0\0\x3c\0\4' + addr('10.9.0.5')
    w.send(w.udp(53, asked.udp.sport, asked.data[:2] + struct.pack('!HHHHH', 0x8180, 1, 2, 0, 0) + asked.data[12:] + answer))
    w.vm.expect('10.9.0.5')
    f.dns = asked.data[:2]


def connections(w, f):
    """One in pieces out of order, one that loses a segment, one that is deaf for a
    while, one reset, one of the guest's that is refused, and one that stays."""
    flow = f.swapped = Flow(w, 6001, 80).open()
    flow.send(PSH | ACK, GET[8:], seq=flow.seq + 8)
    flow.send(PSH | ACK, GET[:8])
    flow.seq += len(GET) - 8
    f.page = flow.all_data()
    flow.send(FIN | ACK)
    flow.expect(ACK, 'the ACK of our FIN', b'')

    flow = f.lossy = Flow(w, 6002, 80).open()
    flow.send(PSH | ACK, b'GET /nettop HTTP/1.0\r\n\r\n')
    first = w.expect(lambda p: flow.mine(p) and p.data, 'the first segment')
    f.missing = first.tcp.seq + len(first.data)
    flow.send(ACK, ack=f.missing)
    w.expect(lambda p: flow.mine(p) and p.tcp.seq == f.missing and p.data, 'the second segment')
    for _ in range(3):
        flow.send(ACK, ack=f.missing)
    w.expect(lambda p: flow.mine(p) and p.tcp.seq == f.missing and p.data, 'it again')
    w.ping(2, ident=0x103)
    w.got = [p for p in w.got if not flow.mine(p)]
    flow.ack = f.missing
    flow.send(RST)

    flow = f.deaf = Flow(w, 6003, 80).open()
    flow.send(PSH | ACK, GET)
    f.late = w.expect(lambda p: flow.mine(p) and p.data, 'the answer')
    w.expect(lambda p: flow.mine(p) and p.data, 'the answer once more')
    assert f.late.tcp.flags & FIN  # MSG_MORE: in one segment
    flow.ack = f.late.tcp.seq + len(f.late.data) + 1
    flow.send(FIN | ACK)
    w.expect(lambda p: flow.mine(p) and p.tcp.flags == ACK and p.tcp.ack == flow.seq, 'the ACK of our FIN')

    w.vm.send('fetch http://10.9.0.1:9/\n')
    f.syn = w.expect(lambda p: p.tcp and p.tcp.dport == 9, 'a SYN')
    w.send(w.tcp(9, f.syn.tcp.sport, 0, f.syn.tcp.seq + 1, RST | ACK))
    w.vm.expect('refused')
    f.idle = Flow(w, 6004, 80).open()


def load():
    w = Wire(append=OPTIONS, extra=TESTS, name='events', cpus=2).start()
    f = SimpleNamespace()
    try:
        w.vm.send('ping -c 1 -w 300 10.9.0.77\n')  # nobody is there
        w.vm.expect('1 lost')
        small_things(w, f)
        w.vm.cmd('ping -c 1 127.0.0.1')
        connections(w, f)
        half = {n: w.icmp(8, 0, 0x105, n, bytes(56)) for n in range(9)}
        for n in half:  # one more than can be put together at a time: the first is given up
            w.send(w.ipv4(1, half[n][:48], ident=0x5000 + n, frag=0x2000))
        for n in range(1, 9):
            w.send(w.ipv4(1, half[n][48:], ident=0x5000 + n, frag=6))
            w.expect(lambda p: p.icmp and p.icmp.ident == 0x105, 'an echo reply')
        w.vm.cmd('echo mark here we are > /dev/nettrace')
        w.vm.wait_event('arp_state ip=10.9.0.77 from=PENDING to=NONE')
        w.vm.wait_event('tcp_life rport=6003')
        w.monitor('set_link n0 off')
        w.vm.wait_event('e1000_link up=0')
        w.monitor('set_link n0 on')
        w.vm.wait_event('e1000_link up=1')
        w.ping(3, ident=0x104)
        f.netstat = w.vm.cmd('netstat -a')
        f.ps = w.vm.cmd('ps')
        w.vm.cmd('echo snap > /dev/nettrace')
        w.vm.wait_event('proc what=ALIVE')
        w.vm.wait_event('quiet=30ms')
        done = subprocess.run([NETTRACE, *CHECK, w.vm.dir], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=CAP)
        f.check = done.returncode, done.stdout.decode()
        w.vm.cmd('echo stop > /dev/nettrace')
        f.rows = [{**row, **row['fields']} for row in w.vm.events()]
        w.vm.tool('save', '-o', w.vm.dir + '/events.nt')
        f.khz = Trace(w.vm.dir + '/events.nt').header['tsc_khz']
        f.capture = w.capture()
    finally:
        w.stop()
    f.wire = w
    return f


@pytest.fixture(scope='module')
def run():
    f = load()
    f.by = {}
    for row in f.rows:
        f.by.setdefault(row['event'], []).append(row)
    f.of = {}  # events of a packet
    for row in f.rows:
        f.of.setdefault(row['pkt'], []).append(row)
    mine = [p.src == f.wire.guest_mac for p in f.capture]
    f.sent = [p for p, out in zip(f.capture, mine) if out]
    f.received = [p for p, out in zip(f.capture, mine) if not out]
    f.packet, f.packets = {}, {}  # pkt -> what the capture has of it: at first, each time
    for rows, packets in ((f.by['e1000_tx'], f.sent), (f.by['e1000_rx'], f.received)):
        for row, packet in zip(rows, packets):
            f.packet.setdefault(row['pkt'], packet)
            f.packets.setdefault(row['pkt'], []).append(packet)
    yield f
    f.wire.vm.check()
    f.wire.vm.remove()


def ip_str(b):
    return '.'.join(map(str, b))


def mac_str(b):
    return b.hex(':')


def times(f, pairs):
    """(microseconds told, first event, last event): a host that is busy may stretch a
    few, but not most.  By the TSC, which the kernel used, too."""
    apart = sorted(abs(us - (b['tsc'] - a['tsc']) * 1000 / f.khz) for us, a, b in pairs)
    assert apart and apart[len(apart) // 2] < 1000, apart


def links(f, kind):
    return [row for row in f.by['pkt_link'] if row['kind'] == kind]


def fate(f, pkt):
    return [row['fate'] for row in f.of[pkt] if row['event'] == 'pkt_end']


CHECKS = {}


def check(*names):
    def add(func):
        for name in names:
            CHECKS[name] = func
        return func
    return add


# ---- driver, Ethernet -------------------------------------------------------------


@check('e1000_rx', 'e1000_tx')
def frames(f):
    """Each frame of the capture, in order, byte for byte as far as the hash goes."""
    for rows, packets in ((f.by['e1000_rx'], f.received), (f.by['e1000_tx'], f.sent)):
        assert [(int(r['hash'], 16), r['len']) for r in rows] == [(nt_hash(p.frame), len(p.frame)) for p in packets]
        for row, p in zip(rows, packets):
            assert row['type'] == {IPV4: 'IPV4'}.get(p.type, 'ARP')
            if p.ip:
                assert int(row['ipid'], 16) == p.ip.ident
            if p.tcp:
                assert int(row['l4sum'], 16) == int.from_bytes(p.frame[50:52], 'big')
    for row in f.by['e1000_rx']:
        assert (row['errors'], 'EOP' in row['status']) == ('0', True)
    count = Counter()
    for row in f.by['e1000_tx']:
        count[row['pkt']] += 1
        assert row['xmit'] == count[row['pkt']] and 1 <= row['nfrag'] <= row['in_use'] and 'EOP' in row['cmd']
    assert max(count.values()) == 2


@check('frame')
def first_bytes(f):
    seen = {d: [(r['data'], r['len']) for r in f.by['frame'] if r['dir'] == d] for d in ('IN', 'OUT')}
    for kind, packets in (('IN', f.received), ('OUT', f.sent)):
        # A record has room for 37 or 85 bytes: what is over is 0.
        want = [(p.frame[:85].ljust(37 if len(p.frame) <= 37 else 85, b'\0').hex(), len(p.frame)) for p in packets]
        assert seen[kind] == want


@check('e1000_txkick', 'e1000_txdone')
def told_and_sent(f):
    tx = f.by['e1000_tx']
    assert [r['pkt'] for r in f.by['e1000_txkick']] == [r['pkt'] for r in tx] == [r['pkt'] for r in f.by['e1000_txdone']]
    assert [r['slot'] for r in f.by['e1000_txdone']] == [r['slot'] for r in tx]
    for a, kick in zip(tx, f.by['e1000_txkick']):
        assert kick['n'] == a['nfrag'] and kick['tdt'] == (a['slot'] + 1) % 64
    times(f, [(b['ring_us'], a, b) for a, b in zip(tx, f.by['e1000_txdone'])])


@check('e1000_refill', 'e1000_intr')
def ring(f):
    assert sum(r['n'] for r in f.by['e1000_refill']) == len(f.received)
    assert {r['fails'] for r in f.by['e1000_refill']} == {0}
    for row in f.by['e1000_intr']:
        assert row['icr'] != '0' and row['ctx'] in ('intr', 'nested') and max(row['rdh'], row['rdt']) < 256
    assert any('RXT0' in r['icr'] for r in f.by['e1000_intr'])


@check('e1000_stat', 'e1000_link')
def card(f):
    last = f.by['e1000_stat'][-1]
    assert (last['gprc'], last['gptc']) == (len(f.received), len(f.sent))
    assert (last['mpc'], last['crcerrs'], last['rx_size']) == (0, 0, 256)
    assert last['intr'] == len(f.by['e1000_intr'])
    assert [r['up'] for r in f.by['e1000_link']] == [1, 0, 1]
    assert [r['mbps'] for r in f.by['e1000_link']] == [1000, 0, 1000]


@check('ethif_rx', 'ethif_tx')
def ethernet(f):
    for rows in f.by['ethif_rx'], f.by['ethif_tx']:
        for row in rows:
            p = f.packet[row['pkt']]
            assert (row['dst'], row['src'], row['len'], row['netif']) == (mac_str(p.dst), mac_str(p.src), len(p.frame), 0)


# ---- ARP ---------------------------------------------------------------------------


@check('arp_in', 'arp_out')
def arp(f):
    for rows, packets in ((f.by['arp_in'], f.received), (f.by['arp_out'], f.sent)):
        want = [(p.arp.op, ip_str(p.arp.spa), ip_str(p.arp.tpa), mac_str(p.arp.sha)) for p in packets if p.arp]
        ops = {'REQUEST': 1, 'REPLY': 2}
        assert [(ops[r['op']], r['spa'], r['tpa'], r['sha']) for r in rows] == want and want


@check('arp_state', 'arp_queue')
def neighbours(f):
    def story(ip):
        return [(r['from'], r['to'], r['mac']) for r in f.by['arp_state'] if r['ip'] == ip]
    nobody = '00:00:00:00:00:00'
    assert story('10.9.0.77') == [('NONE', 'PENDING', nobody), ('PENDING', 'NONE', nobody)]
    peer = story('10.9.0.1')
    assert peer[-1][1:] == ('KNOWN', mac_str(f.wire.mac)) and all(a[1] == b[0] for a, b in zip(peer, peer[1:]))
    waits = [r for r in f.by['arp_queue'] if r['ip'] == '10.9.0.77']
    assert [r['depth'] for r in waits] == [1]
    assert [r['reason'] for r in f.of[waits[0]['pkt']] if r['event'] == 'net_drop'] == ['NEIGH_FAILED']
    gone = [r for r in f.by['arp_state'] if r['ip'] == '10.9.0.77'][-1]
    asked = [p for p in f.sent if p.arp and p.arp.tpa == addr('10.9.0.77')]
    assert len(asked) == 5 and gone['t_ns'] > 4e9


# ---- IP, ICMP, UDP -------------------------------------------------------------------


@check('ip_in', 'ip_out')
def ip(f):
    wired, nth = 0, Counter()
    for row in f.by['ip_in'] + f.by['ip_out']:
        p = f.packet.get(row['pkt'])
        if p:  # a segment sent again has a new header
            p = f.packets[row['pkt']][nth[row['pkt']]]
            nth[row['pkt']] += 1
        else:  # by way of loopback, or never sent for want of a neighbour
            assert row.get('netif') != 0 or row['dst'] == '10.9.0.77'
            continue
        wired += 1
        proto = {'ICMP': 1, 'TCP': 6, 'UDP': 17}[row['proto']]
        assert (row['src'], row['dst'], row['len']) == (ip_str(p.ip.src), ip_str(p.ip.dst), p.ip.total)
        assert (int(row['ipid'], 16), int(row['frag'], 16), proto, row['ttl']) == (p.ip.ident, p.ip.frag, p.ip.proto, p.ip.ttl)
        if row['event'] == 'ip_out':
            assert row['nexthop'] == '10.9.0.1'
    assert wired == sum(p.ip is not None for p in f.capture)


@check('ip_frag', 'ip_reass')
def fragments(f):
    out = [(int(r['ipid'], 16), r['off'], r['len'], r['more']) for r in f.by['ip_frag']]
    assert out == [(p.ip.ident, (p.ip.frag & 0x1fff) * 8, len(p.data), p.ip.frag >> 13) for p in f.sent
                   if p.ip and p.ip.frag & 0x3fff]
    assert {r['off'] for r in f.by['ip_frag']} == {0, 1480, 2960} and len(out) == 6
    rows = [r for r in f.by['ip_reass'] if r['ipid'] in ('0x4242', '0x4343')]
    assert [(r['off'], r['len'], r['more'], r['have'], r['done']) for r in rows] == [
        (2960, 1048, 0, 1048, 0), (0, 1480, 1, 2528, 0), (1480, 1480, 1, 4008, 1),
        (0, 1480, 1, 1480, 0), (1480, 1480, 1, 2960, 0), (2960, 48, 0, 3008, 1)]
    assert f.echo[8:] == BIG and f.datagram[8:] == BIG[:3000]


@check('icmp_in', 'icmp_out')
def icmp(f):
    types = {'ECHO': 8, 'ECHO_REPLY': 0, 'UNREACHABLE': 3, 'TIME_EXCEEDED': 11}
    for rows, packets in ((f.by['icmp_in'], f.received), (f.by['icmp_out'], f.sent)):
        want = [(p.icmp.type, p.icmp.code, p.icmp.ident, p.icmp.seq) for p in packets if p.icmp]
        got = [(types[r['type']], r['code'], r['id'], r['seq']) for r in rows if r['pkt'] in f.packet]
        assert got == want and want
    parts = [r for r in f.by['icmp_in'] if r['id'] == 0x102]
    assert len(parts) == 1 and parts[0]['pkt'] not in f.packet  # the datagram put together


@check('udp_in', 'udp_out')
def udp(f):
    for name, packets, ours in (('udp_in', f.received, 'dst'), ('udp_out', f.sent, 'src')):
        rows = [r for r in f.by[name] if r['pkt'] in f.packet]
        want = [p for p in packets if p.udp]
        assert len(rows) == len(want) > 0
        for r, p in zip(rows, want):
            local, remote = (p.udp.dport, p.udp.sport) if ours == 'dst' else (p.udp.sport, p.udp.dport)
            assert (r['lport'], r['rport'], r['len']) == (local, remote, len(p.data))
            assert (r['laddr'], r['raddr']) == ('10.9.0.2', '10.9.0.1')
            assert int(r['csum'], 16) == int.from_bytes(p.frame[40:42], 'big')
    assert [r['len'] for r in f.by['udp_in'] if r['pkt'] not in f.packet] == [3000]


@check('dns')
def names(f):
    rows = f.by['dns']
    ident = hex(int.from_bytes(f.dns, 'big'))
    assert [(r['id'], r['qr'], r['rcode'], r['addr'], r['name']) for r in rows] == [
        (ident, 'QUESTION', 'NOERROR', '0.0.0.0', 'a.example'), (ident, 'ANSWER', 'NOERROR', '10.9.0.5', 'a.example')]


# ---- TCP -----------------------------------------------------------------------------


@check('tcp_seg_in', 'tcp_seg_out')
def segments(f):
    bits = {'FIN': FIN, 'SYN': SYN, 'RST': RST, 'PSH': PSH, 'ACK': ACK}
    for name, packets in (('tcp_seg_in', f.received), ('tcp_seg_out', f.sent)):
        rows, want = f.by[name], [p for p in packets if p.tcp]
        assert len(rows) == len(want) > 10
        for r, p in zip(rows, want):
            local, remote = (p.tcp.dport, p.tcp.sport) if name == 'tcp_seg_in' else (p.tcp.sport, p.tcp.dport)
            mss = struct.unpack('!H', p.tcp.options[2:4])[0] if p.tcp.options[:2] == b'\2\4' else 0
            assert (r['lport'], r['rport'], r['seq'], r['ack']) == (local, remote, p.tcp.seq, p.tcp.ack)
            assert (r['wnd'], r['len'], r['mss']) == (p.tcp.wnd, len(p.data), mss)
            assert sum(bits[b] for b in r['flags'].split(',')) == p.tcp.flags
    first = [r for r in f.by['tcp_seg_in'] if r['rport'] == 6001][:2]
    assert [r['state'] for r in first] == ['LISTEN', 'SYN_RECEIVED']


def life(f, port, event='tcp_state'):
    return [r for r in f.by[event] if r['rport'] == port]


@check('tcp_state')
def states(f):
    assert [r['to'] for r in life(f, 6001)] == ['SYN_RECEIVED', 'ESTABLISHED', 'FIN_WAIT_1', 'FIN_WAIT_2', 'TIME_WAIT', 'CLOSED']
    assert [r['to'] for r in life(f, 9)] == ['SYN_SENT', 'CLOSED']
    assert [r['why'] for r in life(f, 9)] == ['API', 'RST']
    assert life(f, 6002)[-1]['why'] == 'RST' and life(f, 6001)[-1]['why'] == 'TIMER'
    steps = [step for port in (6001, 6002, 6003, 9) for step in zip(life(f, port), life(f, port)[1:])]
    assert all(a['to'] == b['from'] for a, b in steps)
    times(f, [(b['dwell_us'], a, b) for a, b in steps])


@check('tcp_open', 'tcp_life')
def accounts(f):
    assert [(r['rport'], r['dir']) for r in f.by['tcp_open']] == [(6001, 'IN'), (6002, 'IN'), (6003, 'IN'), (9, 'OUT'), (6004, 'IN')]
    by = {r['rport']: r for r in f.by['tcp_life']}
    assert {port: r['end'] for port, r in by.items()} == {6001: 'FIN', 6002: 'RST', 6003: 'FIN', 9: 'RST'}
    assert (by[6001]['rx_b'], by[6001]['tx_b'], by[6001]['rexmits']) == (len(GET), len(f.page), 0)
    assert (by[6003]['rx_b'], by[6003]['tx_b']) == (len(GET), len(f.page)) and by[6003]['rexmits'] >= 1
    assert by[6002]['rexmits'] == 1 and by[9]['rx_b'] == by[9]['tx_b'] == 0
    for port, row in by.items():
        begun = life(f, port, 'tcp_open')[0]
        assert row['dur_ms'] <= (row['tsc'] - begun['tsc']) / f.khz + 20
    assert by[6003]['dur_ms'] > 400  # TIME-WAIT alone


@check('tcp_cc')
def congestion(f):
    sock = life(f, 6002)[0]['sock']
    rows = [r for r in f.by['tcp_cc'] if r['sock'] == sock]
    assert [r['phase'] for r in rows if r['phase'] != 'SLOW_START'] == ['RECOVERY']
    lost = [r for r in rows if r['phase'] == 'RECOVERY'][0]
    before = rows[rows.index(lost) - 1]
    assert lost['snd_una'] == f.missing and lost['ssthresh'] < before['ssthresh'] and lost['why'] == 'SEGMENT'
    assert lost['cwnd'] == lost['ssthresh'] + 3 * 1460  # RFC 5681, 3.2
    sock = life(f, 6003)[0]['sock']
    deaf = [r for r in f.by['tcp_cc'] if r['sock'] == sock and r['phase'] == 'LOSS']
    assert deaf[0]['cwnd'] == 1460 == deaf[0]['mss'] and deaf[0]['why'] == 'TIMER'
    for r in f.by['tcp_cc']:
        assert r['inflight'] == (r['snd_nxt'] - r['snd_una']) % 2**32


@check('tcp_dupack', 'tcp_ooseq')
def out_of_order(f):
    assert [(r['ack'], r['n']) for r in f.by['tcp_dupack']] == [(f.missing, n) for n in (1, 2, 3)]
    assert [(r['len'], r['nseg']) for r in f.by['tcp_ooseq']] == [(len(GET) - 8, 1)]
    held = f.by['tcp_ooseq'][0]
    assert held['seq'] == f.packet[held['pkt']].tcp.seq


@check('tcp_rexmit')
def again(f):
    assert [(r['kind'], r['seq']) for r in f.by['tcp_rexmit']][0] == ('FAST', f.missing)
    assert [(r['kind'], r['seq'], r['len']) for r in f.by['tcp_rexmit'][1:]] == [('RTO', f.late.tcp.seq, len(f.late.data))]
    for row in f.by['tcp_rexmit']:
        tx = [r for r in f.by['e1000_tx'] if r['pkt'] == row['pkt']]
        seen = [p for p in f.sent if p.tcp and p.tcp.seq == row['seq'] and len(p.data) == row['len'] and (p.data or p.tcp.flags & FIN)]
        assert [r['xmit'] for r in tx] == [1, 2] and len(seen) == 2  # the id stays
        assert row['kind'] == 'FAST' or abs(row['since_us'] / 1e6 / (seen[1].t - seen[0].t) - 1) < 0.1


@check('tcp_rtt')
def round_trips(f):
    """Each sample against the capture; the smoothing by RFC 6298."""
    smooth, apart = {}, []
    for row in f.by['tcp_rtt']:
        left = [p for p in f.sent if p.tcp and p.tcp.seq == row['seq'] and (p.data or p.tcp.flags & (SYN | FIN))][0]
        apart.append(row['sample_us'] / 1e6 - (f.packet[row['pkt']].t - left.t))
        srtt, var = smooth.get(row['sock'], (0, 0))
        if srtt == 0:
            srtt, var = row['sample_us'], row['sample_us'] // 2
        else:
            err = row['sample_us'] - srtt
            srtt += int(err / 8)
            var += int((abs(err) - var) / 4)
        assert (row['srtt_us'], row['rttvar_us']) == (srtt, var)
        smooth[row['sock']] = srtt, var
    assert len(smooth) == 5 and 0 <= sorted(apart)[len(apart) // 2] < 0.05


@check('tcp_timer')
def timers(f):
    sock = life(f, 6003)[0]['sock']
    rows = [(r['which'], r['op']) for r in f.by['tcp_timer'] if r['sock'] == sock]
    assert ('REXMIT', 'FIRE') in rows and rows[-2:] == [('MSL2', 'START'), ('MSL2', 'FIRE')]
    ops = [op for which, op in rows if which == 'REXMIT' and op != 'FIRE']
    assert ops == ['START', 'STOP'] * (len(ops) // 2), rows
    assert [r['ms'] for r in f.by['tcp_timer'] if (r['which'], r['op']) == ('MSL2', 'START')] == [400, 400]


# ---- ends, links -----------------------------------------------------------------------


@check('net_drop')
def drops(f):
    rows = [r for r in f.by['net_drop'] if r['reason'] != 'FRAG_LIMIT']
    assert {r['reason'] for r in rows} == {'NO_SOCKET', 'NEIGH_FAILED', 'TCP_RESET'}
    row, = [r for r in rows if r['sport'] == 5002]
    assert row['reason'] == 'NO_SOCKET'
    assert (row['src'], row['dst'], row['sport'], row['dport']) == ('10.9.0.1', '10.9.0.2', 5002, 999)
    assert (row['fields']['stage'], row['dir'], row['proto'], row['len']) == ('STACK', 'IN', 'UDP', 46)
    assert f.packet[row['pkt']].data == b'nobody'


@check('pkt_end')
def ends(f):
    assert f.check[0] == 0, f.check[1]
    counts = Counter(r['pkt'] for r in f.by['pkt_end'])
    assert set(counts.values()) == {1}
    assert {r['fate'] for r in f.by['pkt_end']} == {'SOCKET', 'WIRE', 'DROP', 'STACK'}
    assert all(fate(f, pkt) == ['WIRE'] for pkt in {r['pkt'] for r in f.by['e1000_tx']})
    times(f, [(row['life_us'], f.of[row['pkt']][0], row) for row in f.by['pkt_end'] if row['pkt'] in f.packet])


def answers_to(f, pkt):
    return {r['pkt'] for r in links(f, 'REPLY') if r['parent'] == pkt}


@check('pkt_link')
def linked(f):
    """Answers, pieces, copies, writes and acknowledgments: each to the packet it belongs to."""
    def one_in(test):
        return [pkt for pkt, p in f.packet.items() if p.src == f.wire.mac and test(p)][0]
    # SYN -> SYN,ACK; a whole echo -> its answer
    syn = one_in(lambda p: p.tcp and p.tcp.flags == SYN and p.tcp.sport == 6001)
    synack, = answers_to(f, syn)
    assert f.packet[synack].tcp.flags == SYN | ACK and f.packet[synack].tcp.dport == 6001
    echo = one_in(lambda p: p.icmp and p.icmp.ident == 0x101)
    replies = [f.packet[pkt] for pkt in answers_to(f, echo)]  # the first one asks for our MAC, too
    assert [p.icmp.type for p in replies if not p.arp] == [0] and all(p.icmp or p.arp for p in replies)
    # Three pieces -> the datagram -> its answer -> three pieces
    for ident, protocol in ((0x4242, 1), (0x4343, 17)):
        parts = [pkt for pkt, p in f.packet.items() if p.ip and p.ip.ident == ident and p.src == f.wire.mac]
        joined = [r for r in links(f, 'REASM') if r['parent'] in parts]
        assert sorted(r['parent'] for r in joined) == sorted(parts) and len({r['pkt'] for r in joined}) == 1
        assert sorted((r['off'], r['len']) for r in joined)[:2] == [(0, 1480), (1480, 1480)]
        assert all(fate(f, pkt) == ['STACK'] for pkt in parts)
    datagram = joined[0]['pkt']
    assert fate(f, datagram) == ['SOCKET'] and 'sock_rx' in {r['event'] for r in f.of[datagram]}
    for packets in f.echo_parts, f.datagram_parts:
        seen = {p.ip.frag for p in packets}
        rows = [r for r in links(f, 'FRAG') if f.packet[r['pkt']].ip.ident == packets[0].ip.ident]
        assert len({r['parent'] for r in rows}) == 1 and {f.packet[r['pkt']].ip.frag for r in rows} == seen
        assert sorted(r['off'] for r in rows) == [0, 1480, 2960] and fate(f, rows[0]['parent']) == ['STACK']
    # Loopback: what was sent is what comes in, under the same number; nothing else is both.
    both = [pkt for pkt, rows in f.of.items() if {'sock_tx', 'ip_in'} <= {r['event'] for r in rows}]
    assert both and not any(pkt in f.packet for pkt in both)
    assert all(fate(f, pkt) for pkt in both)
    # A write and its segments
    sent = sum(r['n'] for r in f.by['sock_tx'] if r['sock'] == life(f, 6001)[0]['sock'])
    linked_bytes = sum(r['len'] for r in links(f, 'SEGMENT') if r['sock'] == life(f, 6001)[0]['sock'])
    assert sent == linked_bytes == len(f.page)
    # Acknowledgments: the wire's own round trip.
    acked = links(f, 'ACKED_BY')
    assert synack in {r['pkt'] for r in acked}
    for row in acked:
        segment, ack = f.packet[row['pkt']], f.packet[row['parent']]
        end = segment.tcp.seq + len(segment.data) + bool(segment.tcp.flags & (SYN | FIN))
        assert (ack.tcp.ack - end) % 2**32 < 2**31 and segment.tcp.sport == ack.tcp.dport
        left = [r for r in f.by['e1000_tx'] if r['pkt'] == row['pkt']][0]['t_ns']
        came = [r for r in f.by['e1000_rx'] if r['pkt'] == row['parent']][0]['t_ns']
        assert left < came and ack.t > segment.t


# ---- sockets, system calls, processes ------------------------------------------------------


@check('sock_state', 'sock_accept')
def sockets(f):
    sock = life(f, 6001)[0]['sock']
    assert [r['to'] for r in f.by['sock_state'] if r['sock'] == sock] == ['CREATED', 'CONNECTED', 'CLOSED']
    refused = life(f, 9)[0]['sock']
    rows = [r for r in f.by['sock_state'] if r['sock'] == refused]
    assert ('ERROR', -111) in [(r['to'], r['err']) for r in rows]
    taken = [r for r in f.by['sock_accept'] if r['sock'] == sock][0]
    listener = [r['sock'] for r in f.by['sock_state'] if r['to'] == 'LISTENING'][0]
    assert (taken['rport'], taken['lport'], taken['listener'], taken['backlog']) == (6001, 80, listener, 16)


@check('sock_rx', 'sock_tx', 'sock_read')
def queues(f):
    sock = life(f, 6001)[0]['sock']
    def amounts(name):
        return [r['n'] for r in f.by[name] if r['sock'] == sock]
    assert sum(amounts('sock_rx')) == sum(amounts('sock_read')) == len(GET)
    assert sum(amounts('sock_tx')) == len(f.page)
    assert [r['n'] for r in f.by['sock_rx'] if r['pkt'] in f.packet and f.packet[r['pkt']].udp and
            f.packet[r['pkt']].udp.dport == 7] == [5]
    for row in f.by['sock_read']:
        assert 0 <= row['wait_us'] < 10**7


@check('sock_stat', 'sock_count')
def snapshot(f):
    rows = [r for r in f.by['sock_stat'] if r['rport'] == 6004][-1]
    assert (rows['lport'], rows['state'], rows['raddr'], rows['sndq'], rows['rcvq']) == (80, 'ESTABLISHED', '10.9.0.1', 0, 0)
    assert any(r['state'] == 'LISTEN' and r['lport'] == 80 for r in f.by['sock_stat'])
    assert re.search(r'10\.9\.0\.2:80 +10\.9\.0\.1:6004 +ESTABLISHED', f.netstat), f.netstat
    echo = [r['sock'] for r in f.by['sock_stat'] if r['lport'] == 7][-1]
    counts = [r for r in f.by['sock_count'] if r['sock'] == echo][-1]
    assert (counts['rx_b'], counts['tx_b'], counts['rx_p'], counts['tx_p']) == (3005, 3005, 2, 2)


@check('sys_enter', 'sys_exit')
def calls(f):
    """Each exit belongs to an entry of the same process; results are those of the socket layer."""
    open_calls, took = {}, []
    for row in f.rows:
        if row['event'] == 'sys_enter':
            open_calls[row['pid']] = row
        elif row['event'] == 'sys_exit' and row['pid'] in open_calls:
            begun = open_calls.pop(row['pid'])
            assert row['nr'] in (begun['nr'], 'fork')
            if row['nr'] == begun['nr']:
                took.append((row['dur_us'], begun, row))
    times(f, took)
    assert sum(r['n'] for r in f.by['sock_read']) == sum(
        r['ret'] for r in f.by['sys_exit'] if r['sock'] and r['nr'] in ('recv', 'recvfrom', 'read') and r['ret'] > 0)


@check('sleep', 'wakeup', 'switch')
def scheduler(f):
    asleep, running, slept = {}, {}, []
    for row in f.rows:
        if row['event'] == 'sleep':
            asleep[row['pid']] = row
        elif row['event'] == 'wakeup' and row['who'] in asleep:
            before = asleep.pop(row['who'])
            assert (row['chan'], row['why']) == (before['chan'], before['why']) or row['why'] in ('KILLED', 'TIMEOUT')
            slept.append((row['slept_us'], before, row))
        elif row['event'] == 'switch':
            assert running.get(row['cpu'], row['prev']) == row['prev']
            running[row['cpu']] = row['next']
    times(f, slept)
    assert {'httpd', 'sh', 'netd'} <= {r['name'] for r in f.by['switch']}


@check('proc')
def processes(f):
    alive = {r['pid']: r['name'] for r in f.by['proc'] if r['what'] == 'ALIVE'}
    httpd = [pid for pid, name in alive.items() if name == 'httpd']
    assert httpd and all(re.search(rf'^ *{pid} .*httpd', f.ps, re.M) for pid in httpd), f.ps
    assert {'FORK', 'EXEC', 'EXIT', 'ALIVE'} == {r['what'] for r in f.by['proc']}
    assert 'fetch' in {r['name'] for r in f.by['proc'] if r['what'] == 'EXEC'}


# ---- interrupts, timers, netd, memory --------------------------------------------------------


@check('irq_entry', 'irq_exit')
def interrupts(f):
    """They nest; the card's are as many as the driver saw."""
    inside, took = {}, []
    for row in f.rows:
        stack = inside.setdefault(row['cpu'], [])
        if row['event'] == 'irq_entry':
            stack.append(row)
            assert row['depth'] == len(stack) and row['vec'] == row['irq'] + 32
        elif row['event'] == 'irq_exit' and stack:
            begun = stack.pop()
            assert (row['vec'], row['irq']) == (begun['vec'], begun['irq'])
            took.append((row['dur_us'], begun, row))
        elif row['event'] == 'e1000_intr':
            assert len(stack) == 1
            stack[0]['card'] = 1
    times(f, took)
    assert {0, 4} <= {r['irq'] for r in f.by['irq_entry']}  # timer, serial port
    assert sum('card' in r for r in f.by['irq_entry']) == len(f.by['e1000_intr'])


@check('timer_fire', 'netd_run')
def netd(f):
    names = {r['handler'].split('+')[0] for r in f.by['timer_fire']}
    assert {'etharp_tmr', 'ip_reass_tmr', 'tcpip_tcp_timer', 'dns_tmr'} <= names
    runs = f.by['netd_run']
    assert sum(r['rx'] for r in runs) == len(f.received)
    assert all(r['why'] == 'FRAMES' for r in runs if r['rx'])
    assert {'FRAMES', 'TIMER'} <= {r['why'] for r in runs} and {r['ctx'] for r in runs} == {'netd'}
    ticks = [r for r in f.by['timer_fire'] if r['handler'].startswith('etharp_tmr')]
    gaps = sorted(b['tsc'] - a['tsc'] for a, b in zip(ticks, ticks[1:]))
    assert 0.5 < gaps[len(gaps) // 2] / f.khz / 1000 < 1.5  # ARP's is one second
    times(f, [(r['dur_us'], r, r) for r in f.by['timer_fire']])
    times(f, [(r['dur_us'], r, r) for r in runs if r['why'] == 'TIMER' and not r['rx']])


@check('pbuf_alloc', 'pbuf_free')
def buffers(f):
    """A buffer is freed once, and what is in use is what was not freed."""
    live = set()
    for row in f.rows:
        if row['event'] == 'pbuf_alloc':
            assert row['p'] not in live and row['in_use'] >= len(live) + 1
            live.add(row['p'])
        elif row['event'] == 'pbuf_free':
            assert row['p'] in live
            live.remove(row['p'])
            assert row['in_use'] >= len(live)
    last = [r for r in f.rows if r['event'] in ('pbuf_alloc', 'pbuf_free')][-1]
    assert last['in_use'] == len(live) and len(f.by['pbuf_alloc']) > 50
    wrapped = [r for r in f.by['pbuf_alloc'] if r['type'] == 'REF' and r['site'].startswith('ethif_rx')]
    assert [r['len'] for r in wrapped] == [len(p.frame) for p in f.received]


@check('memp_fail')
def pools(f):
    row, = f.by['memp_fail']
    assert (row['pool'], row['used'], row['max']) == ('REASSDATA', 8, 8)
    assert f.packet[row['pkt']].ip.ident == 0x5008


@check('mem_stat')
def memory(f):
    assert max(r['pbuf_max'] for r in f.by['mem_stat']) <= 128 + 256
    last = f.by['mem_stat'][-1]
    assert last['pcb'] >= 1 and last['tw'] == 0 and last['arp'] == 1 and last['pcb_max'] >= last['pcb']
    assert last['pages'] > 1000 and last['heap_max'] >= last['heap']
    assert last['pbuf'] == 0


# ---- the trace itself ------------------------------------------------------------------------


@check('clock_sync', 'mark')
def meta(f):
    rows = f.by['clock_sync']
    assert len(rows) > 5 and all(a['tsc'] < b['tsc'] for a, b in zip(rows, rows[1:]))
    assert all(r['win'] > 0 for r in rows)
    assert 'here we are' in [r['text'] for r in f.by['mark']]


@pytest.mark.parametrize('event', [name for name in CHECKS if name != 'dhcp'])
def test_event(run, event):
    assert event in run.by, f'no {event} in this run'
    CHECKS[event](run)


def test_dhcp(boot):
    """The four messages of a lease, against the capture and the guest's own words."""
    vm = boot(append='trace=std', ports=(), wait=('dhcp msg=ACK',))
    rows = vm.events('dhcp')
    assert [(r['msg'], r['from'], r['to']) for r in rows] == [
        ('DISCOVER', 'OFF', 'SELECTING'), ('OFFER', 'SELECTING', 'REQUESTING'),
        ('REQUEST', 'REQUESTING', 'REQUESTING'), ('ACK', 'REQUESTING', 'BOUND')]
    seen = [p for p in read_capture(os.path.join(vm.dir, 'wire.pcap')) if p.udp and {p.udp.sport, p.udp.dport} == {67, 68}]
    assert [r['xid'] for r in rows] == [hex(int.from_bytes(p.data[4:8], 'big')) for p in seen]
    assert [r['yiaddr'] for r in rows] == ['0.0.0.0', '10.0.2.15', '10.0.2.15', '10.0.2.15']
    assert [(r['server'], r['lease']) for r in rows] == [('0.0.0.0', 0), ('10.0.2.2', 86400), ('10.0.2.2', 0), ('10.0.2.2', 86400)]
    on = {name for name in defined() if f'event {name} ' in vm.cmd('cat /dev/nettrace.stat')}
    assert on.isdisjoint({'frame', 'tcp_timer', 'pbuf_alloc', 'irq_entry', 'func', 'netd_run', 'timer_fire', 'switch'})


def test_every_event_has_a_check():
    for name, path in ELSEWHERE.items():
        with open(os.path.join(TOP, path)) as f:
            assert re.search(rf'\b(TR_)?{name}\b', f.read()), f'{path} does not look at {name}'
    assert set(CHECKS) | set(ELSEWHERE) | {'dhcp'} == set(defined())
    assert not set(CHECKS) & set(ELSEWHERE)
