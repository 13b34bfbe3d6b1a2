"""Frames that no correct host sends, or that an attacker sends, from plain bytes.

ROWS is the list: each row says what is wrong, how the frame is built, and what
must become of it:

  drop    the reason that the trace must give, by its name in events.def; None: the
          packet is used up by the stack or handed to a socket
  answer  what the guest sends because of it, in order, in the words of said()

make(w, f): w is the Wire (tests/lib/peer.py), f a connection to the guest's web
server that is open, or None in rows that need none.  It returns one frame or a list;
drop is then the last one's.

A sentence beside a row says where lwIP does something else than a reader of the RFC
would expect: it is what a user of this kernel gets, and documented here.
"""

import struct
from typing import Callable, NamedTuple, Optional, Tuple

from peer import ACK, ARP, BROADCAST, FIN, IPV4, PSH, RST, SYN, addr, mac

URG = 32
LAN = addr('10.9.0.255')


class Row(NamedTuple):
    area: str
    what: str
    make: Callable
    drop: Optional[str] = None
    answer: Tuple[str, ...] = ()
    flow: bool = False  # a connection is opened for it
    alive: bool = True  # and goes on afterwards
    fate: str = 'STACK'  # of the packet, if it is not dropped; '': the kernel never sees it

    @property
    def ends(self):
        """The fate of the packet; half a datagram has it 15 s later only."""
        return 'DROP' if self.drop else None if self.area == 'fragments' else self.fate


def said(p):
    """One packet of the guest in a word or two."""
    if p.tcp:
        names = ((SYN, 'SYN'), (FIN, 'FIN'), (RST, 'RST'), (ACK, 'ACK'))
        return ','.join(name for bit, name in names if p.tcp.flags & bit) + (' data' if p.data else '')
    if p.icmp:
        return {0: 'echo', 3: f'unreachable {p.icmp.code}'}.get(p.icmp.type, f'icmp {p.icmp.type}')
    if p.arp:
        return 'arp ' + ('who-has' if p.arp.op == 1 else 'is-at')
    return repr(p)


class Fresh:
    """Numbers that no row has used."""
    n = 20000

    @classmethod
    def one(cls):
        cls.n += 1
        return cls.n


def one():
    return Fresh.one()


def syn(w, port=80, data=b'', flags=SYN, **more):
    return w.tcp(one(), port, 1000, 0, flags, data, **more)


def seg(w, f, flags, data=b'', seq=0, ack=0, **more):
    """A segment of the connection; seq and ack relative to what is expected next."""
    return w.tcp(f.ours, f.theirs, f.seq + seq, f.ack + ack, flags, data, **more)


def fragment(w, payload, offset, more, ident, proto=1):
    return w.ipv4(proto, payload, ident=ident, frag=offset // 8 | (0x2000 if more else 0))


def arp(w, **fields):
    """A request for the guest's address, from a sender of its own each time."""
    n = one()
    fields.setdefault('spa', addr(f'10.9.{n >> 8 & 255}.{n & 255}'))
    return w.arp_packet(1, w.guest, **fields)


ETHER = [
    ('unknown type', lambda w, f: w.ether(0x88cc, b'lldp%5d' % one() * 5), 'ETH_TYPE'),
    ('IPv6', lambda w, f: w.ether(0x86dd, struct.pack('!HH', 0x6000, one()) + bytes(44)), 'ETH_TYPE'),
    ('type 0', lambda w, f: w.ether(0, b'%5d' % one() * 10), 'ETH_TYPE'),
    ('a length instead of a type, 802.3', lambda w, f: w.ether(46, b'\xaa\xaa\3%5d' % one() * 6), 'ETH_TYPE'),
    ('a VLAN tag', lambda w, f: w.ether(0x8100, struct.pack('!HHH', 5, IPV4, one()) + bytes(40)), 'ETH_TYPE'),
    ('1514 bytes of an unknown type', lambda w, f: w.ether(0x88cc, b'%5d' % one() * 300), 'ETH_TYPE'),
    ('broadcast of an unknown type', lambda w, f: w.ether(0x88cc, b'%5d' % one() * 9, dst=BROADCAST), 'ETH_TYPE'),
    # The card takes 1522 bytes, room for a VLAN tag; the driver no more than a frame can have.
    *[(f'{n} bytes', lambda w, f, n=n: w.ether(0x88cc, (b'%5d' % one() * 302)[:n - 14]), reason)
      for n, reason in ((1515, 'ETH_TYPE'), (1518, 'ETH_TYPE'), (1519, 'RX_ERR'), (1522, 'RX_ERR'))],
    ('ARP: hardware type 0', lambda w, f: arp(w, htype=0), 'ARP_BAD'),
    ('ARP: hardware type 6', lambda w, f: arp(w, htype=6), 'ARP_BAD'),
    ('ARP: protocol IPv6', lambda w, f: arp(w, ptype=0x86dd), 'ARP_BAD'),
    ('ARP: hardware length 0', lambda w, f: arp(w, hlen=0), 'ARP_BAD'),
    ('ARP: hardware length 255', lambda w, f: arp(w, hlen=255), 'ARP_BAD'),
    ('ARP: protocol length 0', lambda w, f: arp(w, plen=0), 'ARP_BAD'),
    ('ARP: protocol length 16', lambda w, f: arp(w, plen=16), 'ARP_BAD'),
]

# The card does not take these: the kernel never sees them.
NEVER = [
    ('1523 bytes', lambda w, f: w.ether(0x88cc, (b'%5d' % one() * 302)[:1509])),
    ('for another card', lambda w, f: w.ether(IPV4, w.echo(one())[14:], dst=mac('52:54:00:12:34:57'))),
    ('for a group of cards', lambda w, f: w.ether(IPV4, w.echo(one())[14:], dst=mac('33:33:00:00:00:01'))),
]

# A frame has at least 60 bytes on the wire: a short ARP packet is one followed by zeros.
ARPS = [
    ('ARP: operation 0', lambda w, f: w.arp_packet(0, w.guest, spa=addr('10.9.0.200')), None, ()),
    ('ARP: operation 65535', lambda w, f: w.arp_packet(65535, w.guest, spa=addr('10.9.0.201')), None, ()),
    ('ARP: answer nobody asked for', lambda w, f: w.arp_packet(2, w.guest, spa=addr('10.9.0.202')), None, ()),
    ('ARP: gratuitous', lambda w, f: w.arp_packet(1, addr('10.9.0.203'), spa=addr('10.9.0.203')), None, ()),
    ('ARP: somebody claims the guest\'s address',
     lambda w, f: w.arp_packet(1, w.guest, spa=w.guest, sha=mac('02:00:00:00:66:66')), None, ()),
    ('ARP: probe from address 0', lambda w, f: w.arp_packet(1, w.guest, spa=bytes(4)), None, ('arp is-at',)),
    ('ARP: of 28 bytes, zeros', lambda w, f: w.ether(ARP, bytes(28)), 'ARP_BAD', ()),
]

IP = [
    ('version 0', lambda w, f: w.echo(one(), ver=0), 'IP_INHDR'),
    ('version 6', lambda w, f: w.echo(one(), ver=6), 'IP_INHDR'),
    ('version 15', lambda w, f: w.echo(one(), ver=15), 'IP_INHDR'),
    *[(f'IHL {n}', lambda w, f, n=n: w.echo(one(), ihl=n), 'IP_INHDR') for n in range(5)],
    ('IHL beyond the packet', lambda w, f: w.ipv4(99, b'%4d' % (one() % 9999), ihl=15), 'IP_INHDR'),
    *[(f'total length {n}', lambda w, f, n=n: w.echo(one(), total=n), 'IP_INHDR') for n in (0, 1, 19)],
    ('total length beyond the frame', lambda w, f: w.echo(one(), bytes(56), total=1000), 'IP_INHDR'),
    ('total length 65535', lambda w, f: w.echo(one(), bytes(56), total=65535), 'IP_INHDR'),
    ('checksum', lambda w, f: w.echo(one(), b'x', csum=None, options=b'', ttl=64)[:24] + b'\x12\x34' +
     w.echo(one(), b'x')[26:], 'IP_CSUM'),
    ('source: broadcast', lambda w, f: w.echo(one(), src=addr('255.255.255.255')), 'IP_INHDR'),
    ('source: broadcast of the net', lambda w, f: w.echo(one(), src=LAN), 'IP_INHDR'),
    ('source: multicast', lambda w, f: w.echo(one(), src=addr('224.0.0.1')), 'IP_INHDR'),
    ('destination: another host', lambda w, f: w.echo(one(), dst=addr('10.9.0.77')), 'OTHERHOST'),
    ('destination: loopback', lambda w, f: w.echo(one(), dst=addr('127.0.0.1')), 'OTHERHOST'),
    ('destination: 0.0.0.0', lambda w, f: w.tcp(one(), 80, 1, 0, SYN, dst=bytes(4)), 'TCP_HDR'),
    # Without IGMP lwIP takes every group for its own; an echo to one is not answered.
    ('destination: a group nobody joined', lambda w, f: w.echo(one(), dst=addr('224.0.0.251')), 'ICMP_BAD'),
    ('destination: class E', lambda w, f: w.echo(one(), dst=addr('240.0.0.1')), 'OTHERHOST'),
    ('protocol 0', lambda w, f: w.ipv4(0, b'12345678'), 'IP_NOPROTO', ('unreachable 2',)),
    ('protocol 255', lambda w, f: w.ipv4(255, b'12345678'), 'IP_NOPROTO', ('unreachable 2',)),
    ('protocol 99 to everyone', lambda w, f: w.ipv4(99, b'12345678', dst=LAN, to=BROADCAST), 'IP_NOPROTO'),
]

# Options are skipped, whatever is in them (IP_OPTIONS_ALLOWED): a source route is not followed.
OPTIONS = [
    ('end of list', b'\0' * 4), ('no operation', b'\1' * 4), ('record route', b'\7\7\4' + bytes(4) + b'\0'),
    ('timestamp', b'\x44\x0c\5\0' + bytes(8)), ('loose source route', b'\x83\7\4' + addr('10.9.0.1') + b'\0'),
    ('strict source route', b'\x89\7\4' + addr('10.9.0.1') + b'\0'), ('of length 0', b'\7\0\4\0'),
    ('of length 255', b'\7\xff\4\0'), ('40 bytes of 255', b'\xff' * 40),
]


def again(w, payload, at, ident, proto=1):
    return fragment(w, payload, at, True, ident, proto)


def overlap(w, f):
    """A fragment inside the one before it."""
    n = one()
    return [again(w, b'a' * 64, 0, n), again(w, b'b' * 32, 32, n)]


def teardrop(w, f):
    """The second begins inside the first and ends before its end."""
    n = one()
    return [again(w, b'a' * 64, 0, n, 17), w.ipv4(17, b'b' * 8, ident=n, frag=3)]


def giant(w, f):
    """The ping of death: the last fragment ends beyond 65,535."""
    n = one()
    return [again(w, b'a' * 64, 0, n), w.ipv4(1, b'b' * 1400, ident=n, frag=8189)]


def two_ends(w, f):
    """Two last fragments, at different places."""
    n = one()
    return [w.ipv4(1, b'a' * 64, ident=n, frag=16), w.ipv4(1, b'b' * 64, ident=n, frag=4)]


def behind_end(w, f):
    n = one()
    return [w.ipv4(1, b'a' * 64, ident=n, frag=16), again(w, b'b' * 64, 512, n)]


FRAGS = [
    ('overlap', overlap, 'FRAG_BAD'),
    ('the same one twice', lambda w, f: (lambda n: [again(w, b'a' * 64, 0, n), again(w, b'a' * 64, 0, n)])(one()),
     'FRAG_BAD'),
    ('teardrop', teardrop, 'FRAG_BAD'),
    ('beyond 65,535 bytes', giant, 'FRAG_BAD'),
    # lwIP believes the last end it was told, and gives the datagram up after 15 s.
    ('two last ones', two_ends, None),
    ('one behind the last', behind_end, None),
    ('TCP: a fragment of 8 bytes', lambda w, f: w.ipv4(6, b'12345678', ident=one(), frag=1 | 0x2000), None),
]

ICMP = [
    ('checksum', lambda w, f: w.echo(one(), b'x' * 56, csum=0xbad), 'ICMP_CSUM'),
    *[(f'{n} bytes', lambda w, f, n=n: w.ipv4(1, w.icmp(8, 0, 1, 2)[:n]), 'ICMP_BAD') for n in range(8)],
    *[(f'type {n}', lambda w, f, n=n: w.ipv4(1, w.icmp(n, 0, 1, one())), 'ICMP_BAD') for n in (1, 2, 13, 17, 40, 255)],
    ('redirect', lambda w, f: w.ipv4(1, w.icmp(5, 1, 0, 0, addr('10.9.0.66') + w.echo(1)[14:42])), None),
    ('echo to everyone', lambda w, f: w.echo(one(), dst=LAN, to=BROADCAST), 'ICMP_BAD'),
    # Errors reach raw sockets only: neither TCP nor UDP believes them.
    ('unreachable, of a packet nobody sent', lambda w, f: w.ipv4(1, w.icmp(3, 3, 0, one(), w.echo(1)[14:42])), None),
    ('unreachable, without the packet', lambda w, f: w.ipv4(1, w.icmp(3, 3, 0, one())), 'ICMP_BAD'),
    ('echo of 8 bytes', lambda w, f: w.echo(one()), None, ('echo',)),
    ('echo reply nobody waits for', lambda w, f: w.ipv4(1, w.icmp(0, 0, one(), 1)), None),
]

UDP = [
    ('checksum', lambda w, f: w.udp(one(), 9, b'question', csum=0xbad), 'UDP_CSUM'),
    *[(f'{n} bytes', lambda w, f, n=n: w.ipv4(17, struct.pack('!HHHH', one(), 9, 8, 0)[:n]), 'UDP_LEN')
      for n in (0, 1, 7)],
    # lwIP goes by the length of the IP packet, not by this field.
    *[(f'length field {n}', lambda w, f, n=n: w.udp(one(), 9, b'question', length=n), 'NO_SOCKET', ('unreachable 3',))
      for n in (0, 7, 100, 65535)],
    ('length beyond the packet, no checksum', lambda w, f: w.udp(one(), 9, b'question', length=100, csum=0),
     'NO_SOCKET', ('unreachable 3',)),
    ('port 0', lambda w, f: w.udp(one(), 0, b'x'), 'NO_SOCKET', ('unreachable 3',)),
    ('from port 0', lambda w, f: w.udp(0, 9, b'%5d' % one()), 'NO_SOCKET', ('unreachable 3',)),
    ('closed port', lambda w, f: w.udp(one(), 9, b'x'), 'NO_SOCKET', ('unreachable 3',)),
    ('closed port, to everyone', lambda w, f: w.udp(one(), 9, b'x', dst=LAN, to=BROADCAST, csum=0), 'NO_SOCKET'),
]


def land(w, f, seq=1000, flags=SYN):
    """From the guest's own address and port."""
    w.ip, real = w.guest, w.ip
    frame = w.tcp(80, 80, seq, 0, flags)
    w.ip = real
    return frame


def options(o):
    """A SYN with these options, and the RST that ends what it began."""
    def make(w, f):
        port = one()
        return [w.tcp(port, 80, 1000, 0, SYN, options=o.ljust((len(o) + 3) // 4 * 4, b'\0')),
                w.tcp(port, 80, 1001, 0, RST)]
    return make


def begun(flags, data=b''):
    """These flags at a port that listens, and an RST for what they may have begun."""
    def make(w, f):
        port = one()
        return [w.tcp(port, 80, 1000, 0, flags, data), w.tcp(port, 80, 1001, 0, RST)]
    return make


TCP = [
    ('checksum', lambda w, f: syn(w, csum=0xbad), 'TCP_CSUM'),
    *[(f'{n} bytes', lambda w, f, n=n: w.ipv4(6, struct.pack('!HHII', one(), 80, 1, 0)[:n].ljust(n, b'\0')), 'TCP_HDR')
      for n in (0, 1, 12, 19)],
    *[(f'data offset {n}', lambda w, f, n=n: syn(w, off=n), 'TCP_HDR') for n in (0, 1, 2, 3, 4, 6, 15)],
    ('to everyone', lambda w, f: syn(w, dst=LAN, to=BROADCAST), 'TCP_HDR'),
    ('closed port: SYN', lambda w, f: syn(w, 81), 'NO_SOCKET', ('RST,ACK',)),
    ('closed port: ACK', lambda w, f: syn(w, 81, flags=ACK), 'NO_SOCKET', ('RST,ACK',)),
    ('closed port: RST', lambda w, f: syn(w, 81, flags=RST), 'NO_SOCKET'),
    ('closed port: FIN', lambda w, f: syn(w, 81, flags=FIN), 'NO_SOCKET', ('RST,ACK',)),
    ('closed port: no flags', lambda w, f: syn(w, 81, flags=0), 'NO_SOCKET', ('RST,ACK',)),
    ('closed port: all flags', lambda w, f: syn(w, 81, flags=63), 'NO_SOCKET'),
    ('port 0', lambda w, f: syn(w, 0), 'NO_SOCKET', ('RST,ACK',)),
    ('from port 0', lambda w, f: w.tcp(0, 81, one(), 0, SYN), 'NO_SOCKET', ('RST,ACK',)),
    # lwIP answers to itself, through loopback, and forgets it after 30 s; nothing leaves.
    ('LAND', land, None),
]

# What makes no sense in a SYN's options is passed over: it is answered.
SYNS = [
    ('MSS 0', b'\2\4\0\0'), ('MSS 1', b'\2\4\0\1'), ('MSS 65535', b'\2\4\xff\xff'), ('MSS of length 3', b'\2\3\5'),
    ('MSS without its value', b'\1\1\2\4'), ('MSS twice', b'\2\4\5\xb4\2\4\0\1'), ('of length 0', b'\x99\0\1\1'),
    ('of length 1', b'\x99\1\1\1'), ('of length 255', b'\x99\xff\1\1'), ('a kind and no length', b'\1\1\1\x99'),
    ('window scale 255', b'\3\3\xff'), ('40 bytes of 255', b'\xff' * 40), ('40 times no operation', b'\1' * 40),
    ('end, then noise', b'\0\2\0\xff'),
]

# At a port that listens, RFC 9293 3.10.7.2: an ACK is answered with RST (lwIP's has an ACK
# flag always), a SYN with SYN,ACK, the rest with nothing.  Data or a FIN beside the SYN are
# not taken, the peer sends them again.
LISTEN = [
    ('no flags', begun(0)), ('FIN', begun(FIN)), ('FIN,PSH,URG', begun(FIN | PSH | URG)), ('RST', begun(RST)),
    ('all flags', begun(63)), ('SYN,RST', begun(SYN | RST)), ('data without flags', begun(0, b'data')),
    ('ACK', begun(ACK), 'RST,ACK'), ('FIN,ACK', begun(FIN | ACK), 'RST,ACK'), ('SYN,ACK', begun(SYN | ACK), 'RST,ACK'),
    ('SYN,FIN', begun(SYN | FIN), 'SYN,ACK'), ('data with SYN', begun(SYN, b'GET /'), 'SYN,ACK'),
    ('SYN,PSH,URG', begun(SYN | PSH | URG), 'SYN,ACK'),
]

# On an open connection.  RFC 9293 3.10.7.4 and RFC 5961: only the exact RST kills; the
# other ones, a SYN and an ACK of what was never sent are answered with an ACK at most,
# and the connection goes on.
CHALLENGE = ('ACK',)
OPEN = [
    ('RST beyond the window', lambda w, f: seg(w, f, RST, seq=100000), None, ()),
    ('RST before the window', lambda w, f: seg(w, f, RST, seq=-1), None, ()),
    ('RST in the window', lambda w, f: seg(w, f, RST, seq=100), None, CHALLENGE),
    ('RST,ACK in the window', lambda w, f: seg(w, f, RST | ACK, seq=1000), None, CHALLENGE),
    ('SYN at the edge', lambda w, f: seg(w, f, SYN), 'TCP_INVALID_SYN', CHALLENGE),
    ('SYN in the window', lambda w, f: seg(w, f, SYN, seq=100), 'TCP_INVALID_SYN', CHALLENGE),
    ('SYN outside', lambda w, f: seg(w, f, SYN, seq=-100000), 'TCP_INVALID_SYN', CHALLENGE),
    ('SYN,ACK in the window', lambda w, f: seg(w, f, SYN | ACK, seq=100), 'TCP_INVALID_SYN', CHALLENGE),
    ('old ACK', lambda w, f: seg(w, f, ACK, ack=-100000), None, ()),
    ('old ACK with data', lambda w, f: seg(w, f, ACK | PSH, b'old', seq=-3, ack=-1), 'TCP_OLD_SEQ', CHALLENGE),
    ('ACK of the future', lambda w, f: seg(w, f, ACK, ack=100000), None, CHALLENGE),
    ('ACK of the future with old data', lambda w, f: seg(w, f, ACK | PSH, b'old', seq=-3, ack=99), 'TCP_INVALID_ACK',
     CHALLENGE + CHALLENGE),  # one for each fault
    ('data beyond the window', lambda w, f: seg(w, f, ACK | PSH, b'far', seq=100000), 'TCP_OVERWINDOW', CHALLENGE),
    ('no flags', lambda w, f: seg(w, f, 0), None, ()),
    ('all flags', lambda w, f: seg(w, f, 63, seq=77), None, CHALLENGE),
    ('SYN,FIN', lambda w, f: seg(w, f, SYN | FIN, seq=77), 'TCP_INVALID_SYN', CHALLENGE),
    ('FIN beyond the window', lambda w, f: seg(w, f, FIN | ACK, seq=100000), None, CHALLENGE),
    ('keep-alive: one old byte', lambda w, f: seg(w, f, ACK, b'x', seq=-1), 'TCP_OLD_SEQ', CHALLENGE),
    ('options of a data segment: length 0', lambda w, f: seg(w, f, ACK, options=b'\x08\0\0\0'), None, ()),
    ('options of a data segment: length 255', lambda w, f: seg(w, f, ACK, options=b'\x02\xff\0\0'), None, ()),
    ('data offset 4', lambda w, f: seg(w, f, ACK, off=4), 'TCP_HDR', ()),
    ('checksum', lambda w, f: seg(w, f, ACK | PSH, b'GET', csum=0xbad), 'TCP_CSUM', ()),
]

# These end it: an exact RST, as it should; the next segment finds nobody.
KILL = [
    ('RST, exact', lambda w, f: seg(w, f, RST), None, ()),
    ('RST,ACK, exact', lambda w, f: seg(w, f, RST | ACK), None, ()),
]
ROWS = ([Row('ethernet', *row) for row in ETHER] + [Row('ethernet', *row, fate='') for row in NEVER] +
        [Row('arp', *row) for row in ARPS] + [Row('ip', *row) for row in IP] +
        [Row('ip', f'option {name}', lambda w, f, o=o: w.echo(one(), options=o), None, ('echo',)) for name, o in OPTIONS] +
        [Row('fragments', *row) for row in FRAGS] + [Row('icmp', *row) for row in ICMP] +
        [Row('udp', *row) for row in UDP] + [Row('tcp', *row) for row in TCP] +
        [Row('tcp', f'option {name}', options(o), None, ('SYN,ACK',)) for name, o in SYNS] +
        [Row('listening port', what, make, None, tuple(answer)) for what, make, *answer in LISTEN] +
        [Row('open', *row, flow=True) for row in OPEN] + [Row('open', *row, flow=True, alive=False) for row in KILL] +
        # RFC 9293 drops what has no ACK flag; lwIP takes its data.
        [Row('open', 'data without ACK', lambda w, f: seg(w, f, PSH, b'GET /rc'), flow=True, fate='SOCKET')])
