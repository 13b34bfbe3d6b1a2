"""Servers that lie: DHCP and DNS answers that are cut, wrong, or for somebody else.
The guest ignores them and takes the right one that follows.
"""

import os
import struct
import time

import pytest

from peer import BROADCAST, Wire, addr
from test_bad import TESTS, TRACE
from vm import CAP

COOKIE = b'\x63\x82\x53\x63'


def dhcp_type(p):
    if not p.udp or p.udp.dport != 67 or p.data[236:240] != COOKIE:
        return None
    return p.data[242] if p.data[240] == 53 else None


def dhcp(w, asked, kind, ip='10.9.0.66', xid=None, op=2, cookie=COOKIE, mac=None, options=None, cut=None, lease=3600,
         server=None):
    """An answer of a DHCP server to the request asked; a keyword makes it wrong."""
    fixed = struct.pack('!BBBB4sHH4s4s4s4s16s', op, 1, 6, 0, xid or asked.data[4:8], 0, 0, bytes(4), addr(ip), w.ip,
                        bytes(4), (mac or w.guest_mac).ljust(16, b'\0')) + bytes(192)
    if options is None:
        options = bytes([53, 1, kind, 54, 4]) + (server or w.ip) + bytes([51, 4]) + struct.pack('!I', lease)
        options += bytes([1, 4]) + addr('255.255.255.0') + bytes([3, 4]) + w.ip + bytes([6, 4]) + w.ip + b'\xff'
    data = (fixed + cookie + options)[:cut]
    header = struct.pack('!HHHH', 67, 68, 8 + len(data), 0)
    return w.ipv4(17, header + data, dst=addr('255.255.255.255'), to=BROADCAST)


def bad_offers(w, d):
    yield dhcp(w, d, 2, xid=b'\1\2\3\4')
    yield dhcp(w, d, 2, op=1)
    yield dhcp(w, d, 2, mac=b'\2\0\0\0\0\x77')
    for option in (b'\x35', b'\x35\1', b'\x35\0\xff', b'\x35\xff\2', b'\x35\1\2\x36', b'\x35\1\2\x33\4\0', b'\0' * 300):
        yield dhcp(w, d, 2, options=option)
    for cut in (*range(0, 240, 16), *range(236, 244)):
        yield dhcp(w, d, 2, cut=cut)
    yield dhcp(w, d, 5)  # an ACK nobody asked for
    yield dhcp(w, d, 6)  # NAK
    yield dhcp(w, d, 9)


def dns(asked, ident=None, flags=0x8180, answers=None, count=1, question=None):
    """An answer to the question asked."""
    question = asked.data[12:] if question is None else question
    if answers is None:
        answers = b'\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4' + addr('10.9.0.5')
    head = asked.data[:2] if ident is None else ident
    return head + struct.pack('!HHHHH', flags, 1, count, 0, 0) + question + answers


def bad_answers(d):
    other = bytes([d.data[0] ^ 1]) + d.data[1:2]
    evil = b'\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4' + addr('10.9.0.66')
    yield dns(d, ident=other, answers=evil)
    yield dns(d, flags=0x0100, answers=evil)  # a question
    yield dns(d, question=b'\5wrong\4name\0\0\1\0\1', answers=evil)
    for cut in range(0, 12 + len(d.data[12:])):
        yield dns(d, answers=evil)[:cut]


@pytest.fixture
def wire(request, cap):
    request.node.guests = wires = []

    def start(**options):
        wire = Wire(name=request.node.name.split('[')[0], **options)
        wires.append(wire.vm)
        wire.start()
        start.wire = wire
        return wire

    yield start
    start.wire.stop()
    start.wire.vm.check()
    if request.node.report_call.passed:
        start.wire.vm.remove()


def test_dhcp(wire):
    """Wrong offers (one with another cookie is not among them: lwIP takes it); the right one is taken, and no wrong address ever used."""
    w = wire(append=TRACE, extra=TESTS)
    discover = w.expect(lambda p: dhcp_type(p) == 1, 'DHCPDISCOVER')
    frames = list(bad_offers(w, discover))
    for frame in frames:
        w.send(frame)
    w.send(dhcp(w, discover, 2, ip='10.9.0.50'))
    request = w.expect(lambda p: dhcp_type(p) == 3, 'DHCPREQUEST')
    assert bytes([50, 4]) + addr('10.9.0.50') in request.data
    w.send(dhcp(w, request, 5, ip='10.9.0.66', xid=b'\1\2\3\4'))
    w.send(dhcp(w, request, 5, ip='10.9.0.50'))
    w.vm.expect(r'en0: 10\.9\.0\.50/24 gateway 10\.9\.0\.1 \(dhcp\)')
    w.guest = addr('10.9.0.50')
    w.ping(1)
    w.send(dhcp(w, request, 6))  # nobody asked
    w.ping(2)
    assert '10.9.0.66' not in w.vm.output()

    # Its name server lies too.
    w.vm.send('host far.example\n')
    asked = w.expect(lambda p: p.udp and p.udp.dport == 53, 'a question')
    for data in bad_answers(asked):
        w.send(w.udp(53, asked.udp.sport, data))
    w.send(w.udp(53, asked.udp.sport ^ 1, dns(asked, answers=b'\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4' + addr('10.9.0.66'))))
    w.send(w.udp(53, asked.udp.sport, dns(asked)))
    w.vm.expect('far.example has address 10.9.0.5\n')


def lease(w, seconds):
    """Let the guest have 10.9.0.50 for so long; how many packets of DHCP came before that."""
    discover = w.expect(lambda p: dhcp_type(p) == 1, 'DHCPDISCOVER')
    w.send(dhcp(w, discover, 2, ip='10.9.0.50', lease=seconds))
    request = w.expect(lambda p: dhcp_type(p) == 3, 'DHCPREQUEST')
    w.send(dhcp(w, request, 5, ip='10.9.0.50', lease=seconds))
    more, w.got = sum(dhcp_type(p) is not None for p in w.got), []
    return more


@pytest.mark.parametrize('seconds', [0, 1])
def test_lease_of_no_time(wire, seconds):
    """The address is given up within a second or two, and asked for anew; the next lease is good."""
    w = wire(append=TRACE, extra=TESTS)
    assert lease(w, seconds) == 0
    assert lease(w, 3600) <= 3  # a release, or a renewal or two before it
    w.vm.expect(r'en0: 10\.9\.0\.50/24 gateway 10\.9\.0\.1 \(dhcp\)')
    w.guest = addr('10.9.0.50')
    w.ping(1)


# What a name server says that is in form, and wrong inside: an error, soon.  (lwIP does
# not follow a pointer in an answer's name: one to itself is no loop.)
LIES = {
    'a pointer to itself': lambda d: dns(d, answers=b'\xc0' + bytes([len(d.data)]) + b'\0\1\0\1\0\0\0\x3c\0\4abcd'),
    'a name without end': lambda d: dns(d, answers=b'\x3f' + b'a' * 63),
    '10,000 records': lambda d: dns(d, count=10000, answers=b'\xc0\x0c\0\5\0\1\0\0\0\x3c\0\2\xc0\x0c' * 80),
    'an address of 255 bytes': lambda d: dns(d, answers=b'\xc0\x0c\0\1\0\1\0\0\0\x3c\0\xffab'),
    'no such name': lambda d: dns(d, flags=0x8183, count=0, answers=b''),
}


def test_dns(wire):
    w = wire(append='ip=10.9.0.2/24,10.9.0.1,10.9.0.1 ' + TRACE, extra=TESTS)
    w.ping(1)
    for n, (what, lie) in enumerate(LIES.items()):
        w.vm.send(f'host -w 2000 n{n}.example\n')
        asked = w.expect(lambda p: p.udp and p.udp.dport == 53, f'a question before {what}')
        start = time.monotonic()
        w.send(w.udp(53, asked.udp.sport, lie(asked)))
        while not w.vm.output()[w.vm.mark:].count('$ '):
            w.receive(0.05)
            assert time.monotonic() - start < CAP / 2, what
        w.vm.expect(rf'^host: n{n}\.example: |^n{n}\.example has address 97\.98\.99\.100$')
        w.got.clear()
    w.ping(2)
