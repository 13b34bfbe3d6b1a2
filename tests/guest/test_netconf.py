"""Addresses and names: DHCP's whole life, static addresses, two cards, DNS.

The other end of the cable is tests/lib/peer.py, which here is a DHCP server, a name
server, and a neighbour that answers pings.
"""

import os
import re
import struct
import threading

import pytest

from peer import ACK, BROADCAST, FIN, PSH, Flow, Wire, addr, mac
from vm import BUILD, CAP

TESTS = ('-i', os.path.join(BUILD, 'tests.img'))
DISCOVER, OFFER, REQUEST, DHCPACK, NAK, RELEASE = 1, 2, 3, 5, 6, 7
LEASE = 4  # seconds: renewal (T1) after 2, rebinding (T2) after 3


@pytest.fixture
def cable(request, cap):
    """Wires that are not started yet; ended and judged after the test."""
    wires = []

    def make(**options):
        wire = Wire(name=request.node.name.split('[')[0], **options)
        wires.append(wire)
        return wire

    yield make
    for wire in wires:
        wire.stop()
    if request.node.report_call.passed:
        for wire in wires:
            if wire.vm.proc:
                wire.vm.check()
                wire.vm.remove()


# ---- DHCP ---------------------------------------------------------------


class Dhcp:
    """One DHCP message of the guest; its options by number."""

    def __init__(self, packet):
        b = packet.data
        self.packet, self.xid, self.chaddr, self.ciaddr = packet, b[4:8], b[28:34], b[12:16]
        assert b[236:240] == b'\x63\x82\x53\x63'
        self.options, at = {}, 240
        while at < len(b) and b[at] != 255:
            if b[at] == 0:
                at += 1
                continue
            self.options[b[at]] = b[at + 2:at + 2 + b[at + 1]]
            at += 2 + b[at + 1]
        self.kind = self.options[53][0]


def dhcp(wire, kind, what, timeout=CAP):
    """The guest's next DHCP message, which must be of this kind."""
    packet = wire.expect(lambda p: p.udp and p.udp.dport == 67, what, timeout)
    message = Dhcp(packet)
    if message.kind != kind:
        wire.vm.fail(f'{what}, kind {kind}', f'kind {message.kind}')
    return message


def answer(wire, message, kind, lease=LEASE, ip=None):
    ip = addr(ip) if ip else wire.guest
    b = struct.pack('!4B4sHH4s4s4s4s', 2, 1, 6, 0, message.xid, 0, 0, bytes(4), bytes(4) if kind == NAK else ip,
                    wire.ip, bytes(4)) + message.chaddr + bytes(10 + 64 + 128) + b'\x63\x82\x53\x63'
    options = [(53, bytes([kind])), (54, wire.ip)]
    if kind != NAK:
        options += [(51, struct.pack('!I', lease)), (1, addr('255.255.255.0')), (3, wire.ip), (6, wire.ip)]
    b += b''.join(bytes([n, len(v)]) + v for n, v in options) + b'\xff'
    wire.send(wire.udp(67, 68, b, to=BROADCAST if kind == NAK else None))


def lease(wire, ip=None):
    """The exchange of four messages."""
    discover = dhcp(wire, DISCOVER, 'a DISCOVER')
    assert discover.packet.dst == BROADCAST and discover.packet.ip.src == bytes(4)
    answer(wire, discover, OFFER, ip=ip)
    request = dhcp(wire, REQUEST, 'a REQUEST')
    assert request.options[50] == (addr(ip) if ip else wire.guest) and request.options[54] == wire.ip
    answer(wire, request, DHCPACK, ip=ip)


def since_ack(wire):
    """Seconds of virtual time from our last message to the guest's last one."""
    mine = [p.t for p in wire.capture() if p.udp and p.udp.sport == 67]
    theirs = [p.t for p in wire.capture() if p.udp and p.udp.dport == 67]
    return theirs[-1] - mine[-1]


def test_dhcp_for_life(cable):
    """Renewal, rebinding, expiry and refusal of a lease of 4 s."""
    wire = cable(append='ip=dhcp ipfallback=10.9.0.77/24', wait=()).start()
    lease(wire)
    wire.vm.expect(r'en0: 10\.9\.0\.2/24 gateway 10\.9\.0\.1 \(dhcp\)')

    renew = dhcp(wire, REQUEST, 'the renewal at T1')
    assert (renew.packet.ip.dst, renew.ciaddr) == (wire.ip, wire.guest) and 54 not in renew.options
    assert 0.9 <= since_ack(wire) <= 3.5
    answer(wire, renew, DHCPACK)

    dhcp(wire, REQUEST, 'the renewal at T1, which gets no answer')
    rebind = dhcp(wire, REQUEST, 'the rebinding at T2')
    assert (rebind.packet.dst, rebind.packet.ip.dst, rebind.ciaddr) == (BROADCAST, b'\xff' * 4, wire.guest)
    assert 1.9 <= since_ack(wire) <= 5
    answer(wire, rebind, DHCPACK)
    wire.ping(1)
    assert 'no address' not in wire.vm.output()  # it was there all the time

    dhcp(wire, REQUEST, 'T1')
    dhcp(wire, REQUEST, 'T2')
    wire.vm.expect('en0: no address')
    dhcp(wire, RELEASE, 'the end of the lease')
    lease(wire)
    wire.vm.expect(r'en0: 10\.9\.0\.2/24 gateway 10\.9\.0\.1 \(dhcp\)')

    answer(wire, dhcp(wire, REQUEST, 'T1'), NAK)
    wire.vm.expect('en0: no address')
    wire.guest = addr('10.9.0.9')
    lease(wire, '10.9.0.9')
    wire.vm.expect(r'en0: 10\.9\.0\.9/24 gateway 10\.9\.0\.1 \(dhcp\)')
    wire.ping(2)


@pytest.mark.skipif(not os.environ.get('LONG'), reason='LONG=1: 15 s, lwIP asks ever more rarely')
def test_lease_wins_over_fallback(cable):
    wire = cable(append='ip=dhcp ipfallback=10.9.0.77/24', wait=()).start()
    dhcp(wire, DISCOVER, 'a DISCOVER, which gets no answer')
    wire.vm.expect(r'en0: 10\.9\.0\.77/24 \(fallback\)')
    wire.got.clear()
    while wire.receive(0):
        pass
    lease(wire)
    wire.vm.expect(r'en0: 10\.9\.0\.2/24 gateway 10\.9\.0\.1 \(dhcp\)')


def set_address(vm, name, rest):
    """ifconfig, which the kernel answers on the console when it pleases."""
    vm.send(f'ifconfig {name} {rest}\n')
    vm.expect(rf'{name}: {rest.split()[0]} [^\n]*\(static\)\n')


# ---- a neighbour that answers by itself ---------------------------------


class Neighbour(threading.Thread):
    """Answers what comes over the wire: pings, and questions for names if there are any.
    seen: all packets that were not ARP's."""

    def __init__(self, wire, names=None):
        super().__init__(daemon=True)
        self.wire, self.names, self.seen, self.over = wire, names or {}, [], False
        self.start()

    def run(self):
        while not self.over:
            packet = self.wire.receive(0.05)
            if packet is None or packet.ip is None:
                continue
            self.seen.append(packet)
            if packet.icmp and packet.icmp.type == 8:
                self.wire.send(self.wire.ipv4(1, self.wire.icmp(0, 0, packet.icmp.ident, packet.icmp.seq, packet.data)))
            if packet.udp and packet.udp.dport == 53:
                self.name(packet)

    def name(self, packet):
        name, at = [], 12
        while packet.data[at]:
            name.append(packet.data[at + 1:at + 1 + packet.data[at]].decode())
            at += 1 + packet.data[at]
        question = packet.data[12:at + 5]
        if (known := self.names.get('.'.join(name))) is None:
            return
        code, records = known
        header = packet.data[:2] + struct.pack('!HHHHH', 0x8180 | code, 1, len(records), 0, 0)
        body = b''.join(b'\xc0\x0c' + struct.pack('!HHIH', kind, 1, 60, len(data)) + data for kind, data in records)
        self.wire.send(self.wire.udp(53, packet.udp.sport, header + question + body))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over = True
        self.join(CAP)


A, CNAME = 1, 5
NAMES = {
    'one.test': (0, [(A, addr('192.0.2.1'))]),
    'two.test': (0, [(A, addr('192.0.2.2')), (A, addr('192.0.2.3'))]),
    'alias.test': (0, [(CNAME, b'\4real\4test\0'), (A, addr('192.0.2.4'))]),
    'empty.test': (0, []),
    'no.test': (3, []),
}


def test_names_and_changes(cable):
    """host tells apart what a name server says; ifconfig changes addresses while all runs."""
    wire = cable(append='ip=10.9.0.2/24,10.9.0.1,10.9.0.1', extra=TESTS).start()
    vm = wire.vm
    wire.ping(0)
    with Neighbour(wire, NAMES):
        assert vm.cmd('host') == 'name server 10.9.0.1\n'
        # lwIP will be asking for this one for seven seconds.
        assert vm.cmd('status host -w 100 silent.test') == 'host: silent.test: timed out\nstatus 1\n'
        assert vm.cmd('status host one.test two.test alias.test 1.2.3.4 localhost') == (
            'one.test has address 192.0.2.1\ntwo.test has address 192.0.2.2\nalias.test has address 192.0.2.4\n'
            '1.2.3.4 has address 1.2.3.4\nlocalhost has address 127.0.0.1\nstatus 0\n')
        assert vm.cmd('status host no.test empty.test one.test') == (
            'host: no.test: not found\nhost: empty.test: not found\none.test has address 192.0.2.1\nstatus 1\n')
        assert vm.cmd('ping -c 1 -q no.test') == 'ping: no.test: not found\n'
        # No names, so nobody is asked; and a dot at the end changes nothing.
        assert vm.cmd(f'status host . a..b .a {64 * "a"}.test one.test.') == ''.join(
            f'host: {name}: not found\n' for name in ('.', 'a..b', '.a', 64 * 'a' + '.test')) + (
            'one.test. has address 192.0.2.1\nstatus 1\n')

        said = vm.cmd('ifconfig en0')
        assert 'address 10.9.0.2/24 (static)' in said and 'gateway 10.9.0.1' in said
        assert 'status 0' in vm.cmd('status ping -q -c 2 -i 10 10.9.0.1')
        vm.cmd('ifconfig en0 down')
        assert vm.cmd('ifconfig en0').startswith('en0: down, link up')
        assert vm.cmd('status ping -c 1 10.9.0.1') == \
            'ping 10.9.0.1 (10.9.0.1): 56 data bytes\nping: 10.9.0.1: host unreachable\nstatus 1\n'
        assert 'en0' not in vm.cmd('netstat -r')
        vm.cmd('ifconfig en0 up')
        assert 'status 0' in vm.cmd('status ping -q -c 2 -i 10 10.9.0.1')
        set_address(vm, 'en0', '10.9.0.5/16 gw 10.9.0.1')
        assert 'address 10.9.0.5/16 (static)' in vm.cmd('ifconfig en0')
        assert vm.cmd('host') == 'name server 10.9.0.1\n'  # a change of address leaves it
        wire.guest = addr('10.9.0.5')
        assert 'status 0' in vm.cmd('status ping -q -c 2 -i 10 10.9.0.1')
        assert re.search(r'^10\.9\.0\.0 +255\.255\.0\.0 ', vm.cmd('netstat -r'), re.M)
        # Asked by now for so long that lwIP ends it: that is a time-out, too.
        assert vm.cmd('status host silent.test') == 'host: silent.test: timed out\nstatus 1\n'


# ---- two cards ----------------------------------------------------------


def test_two_cards(cable):
    """en0 and en1 side by side, each with its own neighbour."""
    second = cable(guest='10.8.0.2', ip='10.8.0.1')
    second.guest_mac = mac('52:54:00:12:34:57')
    wire = cable(append='ip=10.9.0.2/24,10.9.0.1', extra=(
        *TESTS, '-x', f'-netdev dgram,id=n1,local.type=fd,local.str={second.theirs} '
        '-device e1000,netdev=n1,romfile=,mac=52:54:00:12:34:57'))
    wire.vm.fds = (wire.theirs, second.theirs)
    wire.start()
    os.close(second.theirs)
    second.vm = wire.vm
    vm = wire.vm
    set_address(vm, 'en1', '10.8.0.2/24')
    wire.ping(1)
    second.ping(1)
    for cord in (wire, second):  # a request over each
        flow = Flow(cord, 4000, 80).open()
        flow.send(PSH | ACK, b'GET /rc HTTP/1.0\r\n\r\n')
        assert flow.all_data().startswith(b'HTTP/1.1 200 ')
        flow.send(FIN | ACK)
        flow.expect(ACK, 'the ACK of our FIN', b'')
    with Neighbour(wire) as near, Neighbour(second) as far:
        vm.cmd('ping -q -c 0 -i 0 10.9.0.1 &')
        said = vm.cmd('ping -q -c 50 -i 0 10.8.0.1; ping -q -c 5 -i 0 -s 1472 10.8.0.1')
        assert '50 sent, 50 received, 0 lost' in said and '5 sent, 5 received' in said, said
        vm.cmd('kill ping')
        assert len(near.seen) > 20 and {p.ip.dst for p in near.seen if p.icmp} == {wire.ip}
        assert {p.ip.dst for p in far.seen if p.icmp} == {second.ip}
        said = vm.cmd('ifconfig')
        assert re.search(r'en0: up.*\n.*34:56\n +address 10\.9\.0\.2/24 \(static\)', said)
        assert re.search(r'en1: up.*\n.*34:57\n +address 10\.8\.0\.2/24 \(static\)', said)
        said = vm.cmd('netstat -r; arp')
        assert re.search(r'^10\.8\.0\.0 .* en1$', said, re.M) and re.search(r'^10\.8\.0\.1 .*:01  en1$', said, re.M)
        assert vm.cmd('status host a.test') == 'host: a.test: no name server\nstatus 1\n'
        assert vm.cmd('status ping a.test') == 'ping: a.test: no name server\nstatus 1\n'
        vm.cmd('ifconfig en1 down')
        assert vm.cmd('status ifconfig en1 dhcp') == 'ifconfig: en1: network is down\nstatus 1\n'
        assert '1 received' in vm.cmd('ping -q -c 1 10.9.0.1')
