"""The other end of the guest's network cable: frames made of bytes.

QEMU's netdev is one end of a pair of unix datagram sockets, a test holds the
other: one datagram is one frame, without FCS.  No root, no port, and nothing
on the way that would lose, delay or repair a frame.

    with Wire(append='ip=10.9.0.2/24') as wire:
        wire.send(wire.echo(1, b'hello'))
        answer = wire.expect(lambda p: p.icmp and p.icmp.type == 0, 'an echo reply')

What is built here is right unless a keyword says otherwise (csum=1, total=0 ...):
keywords put that value into the header field.  What comes from the guest is
checked whenever it is received: a wrong checksum or length fails the test.
ARP requests for the peer's address are answered on the way, unless arp=False.
Everything happens in the test's own thread.
"""

import fcntl
import os
import select
import socket
import struct
import subprocess
import time
from types import SimpleNamespace

from vm import CAP, NETTRACE, VM

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
ARP, IPV4 = 0x806, 0x800
BROADCAST = b'\xff' * 6


def addr(text):
    return socket.inet_aton(text)


def mac(text):
    return bytes.fromhex(text.replace(':', ''))


def checksum(data):
    """The Internet checksum: 0 over data that carry their own."""
    data += b'\0' * (len(data) % 2)
    total = sum(struct.unpack(f'!{len(data) // 2}H', data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def filled(header, at, payload, pseudo=b'', csum=None):
    """header + payload with the checksum (or csum) at offset at of the header."""
    whole = header + payload
    value = checksum(pseudo + whole) if csum is None else csum
    return whole[:at] + struct.pack('!H', value) + whole[at + 2:]


class Bad(AssertionError):
    """The guest sent something that no correct host sends."""


def must(true, what, frame):
    if not true:
        raise Bad(f'the guest sent {what}: {frame.hex()}')


class Packet:
    """One frame, taken apart and checked.  arp, ip, icmp, udp, tcp: the header's
    fields, or None where the frame has no such header; data: what is behind the last."""

    def __init__(self, frame, t=None):
        self.frame, self.t = frame, t  # t: seconds of virtual time, from a capture
        self.arp = self.ip = self.icmp = self.udp = self.tcp = None
        must(14 <= len(frame) <= 1514, 'a frame of wrong length', frame)
        self.dst, self.src, self.type = frame[:6], frame[6:12], struct.unpack('!H', frame[12:14])[0]
        self.data = frame[14:]
        if self.type == ARP:
            self._arp(self.data)
        elif self.type == IPV4:
            self._ip(self.data)

    def _arp(self, b):
        must(len(b) >= 28, 'a short ARP packet', self.frame)
        names = ('htype', 'ptype', 'hlen', 'plen', 'op', 'sha', 'spa', 'tha', 'tpa')
        self.arp = SimpleNamespace(**dict(zip(names, struct.unpack('!HHBBH6s4s6s4s', b[:28]))))

    def _ip(self, b):
        must(len(b) >= 20 and b[0] >> 4 == 4, 'no IPv4 header', self.frame)
        size = (b[0] & 15) * 4
        _, _, total, ident, frag, ttl, proto, _, src, dst = struct.unpack('!BBHHHBBH4s4s', b[:20])
        must(20 <= size <= total <= len(b), 'wrong IP lengths', self.frame)
        must(checksum(b[:size]) == 0, 'a wrong IP checksum', self.frame)
        self.ip = SimpleNamespace(total=total, ident=ident, frag=frag, ttl=ttl, proto=proto, src=src, dst=dst)
        self.data = b[size:total]
        if frag & 0x3fff == 0:  # a fragment has no header of its own to be checked
            self.transport()

    def transport(self):
        """Look at self.data as the whole IP payload."""
        kind = {1: self._icmp, 6: self._tcp, 17: self._udp}.get(self.ip.proto)
        if kind:
            kind(self.data, self.ip.src + self.ip.dst + struct.pack('!HH', self.ip.proto, len(self.data)))

    def _icmp(self, b, _):
        must(len(b) >= 8 and checksum(b) == 0, 'a wrong ICMP checksum', self.frame)
        kind, code, _, ident, seq = struct.unpack('!BBHHH', b[:8])
        self.icmp = SimpleNamespace(type=kind, code=code, ident=ident, seq=seq)
        self.data = b[8:]

    def _udp(self, b, pseudo):
        must(len(b) >= 8, 'a short UDP header', self.frame)
        sport, dport, size, csum = struct.unpack('!HHHH', b[:8])
        must(size == len(b), 'a wrong UDP length', self.frame)
        must(csum == 0 or checksum(pseudo + b) == 0, 'a wrong UDP checksum', self.frame)
        self.udp = SimpleNamespace(sport=sport, dport=dport)
        self.data = b[8:]

    def _tcp(self, b, pseudo):
        must(len(b) >= 20 and checksum(pseudo + b) == 0, 'a wrong TCP checksum', self.frame)
        sport, dport, seq, ack, off, flags, wnd = struct.unpack('!HHIIBBH', b[:16])
        size = (off >> 4) * 4
        must(20 <= size <= len(b), 'a wrong TCP data offset', self.frame)
        self.tcp = SimpleNamespace(sport=sport, dport=dport, seq=seq, ack=ack, flags=flags, wnd=wnd,
                                   options=b[20:size])
        self.data = b[size:]

    def __repr__(self):
        for name in ('tcp', 'udp', 'icmp', 'ip', 'arp'):
            if getattr(self, name):
                return f'{name}({vars(getattr(self, name))}, {len(self.data)} bytes)'
        return f'frame({self.frame.hex()})'


class Wire:
    """A guest whose cable we hold, and a host with one address at our end."""

    def __init__(self, guest='10.9.0.2', ip='10.9.0.1', net=24, append=None, wait=None, **options):
        self.ip, self.guest = addr(ip), addr(guest)
        self.mac, self.guest_mac = mac('02:00:00:00:00:01'), mac('52:54:00:12:34:56')
        self.ident = 0
        self.got = []  # received, not yet asked for
        self.arp = True
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        # Above 9: sh uses the small numbers itself.
        self.theirs = fcntl.fcntl(theirs, fcntl.F_DUPFD, 20)
        theirs.close()
        options['extra'] = ('-n', f'dgram,local.type=fd,local.str={self.theirs}', *options.get('extra', ()))
        if append is None:
            append = f'ip={guest}/{net},{ip} trace=all,-func,-pbuf_*,-frame,-sys_*,-switch,-sleep,-wakeup'
        wait = ('tcp_state to=LISTEN',) if wait is None else wait
        self.vm = VM(append=append, ports=(), fds=(self.theirs,), wait=wait, **options)

    def start(self):
        self.vm.start()
        os.close(self.theirs)
        return self

    def stop(self):
        self.vm.stop()
        self.sock.close()

    # Building.  A keyword overrides the field of that name.

    def ether(self, kind, payload, dst=None):
        return (dst or self.guest_mac) + self.mac + struct.pack('!H', kind) + payload

    def arp_packet(self, op, tpa, sha=None, spa=None, tha=bytes(6), dst=None, htype=1, ptype=IPV4, hlen=6, plen=4):
        body = struct.pack('!HHBBH', htype, ptype, hlen, plen, op)
        body += (sha or self.mac) + (spa or self.ip) + tha + tpa
        return self.ether(ARP, body, dst or (BROADCAST if op == 1 else None))

    def ipv4(self, proto, payload, src=None, dst=None, ver=4, ihl=None, total=None, ident=None, frag=0,
             ttl=64, csum=None, options=b'', to=None):
        self.ident = (self.ident + 1) % 65536
        ihl = 5 + len(options) // 4 if ihl is None else ihl
        total = 20 + len(options) + len(payload) if total is None else total
        header = struct.pack('!BBHHHBBH', ver << 4 | ihl, 0, total, self.ident if ident is None else ident,
                             frag, ttl, proto, 0)
        header = filled(header + (src or self.ip) + (dst or self.guest) + options, 10, b'', csum=csum)
        return self.ether(IPV4, header + payload, to)

    def icmp(self, kind, code, ident, seq, data=b'', csum=None):
        return filled(struct.pack('!BBHHH', kind, code, 0, ident, seq), 2, data, csum=csum)

    def echo(self, seq, data=b'', ident=7, csum=None, **ip):
        return self.ipv4(1, self.icmp(8, 0, ident, seq, data, csum), **ip)

    def pseudo(self, proto, size):
        return self.ip + self.guest + struct.pack('!HH', proto, size)

    def udp(self, sport, dport, data=b'', length=None, csum=None, **ip):
        header = struct.pack('!HHHH', sport, dport, 8 + len(data) if length is None else length, 0)
        return self.ipv4(17, filled(header, 6, data, self.pseudo(17, 8 + len(data)), csum), **ip)

    def tcp(self, sport, dport, seq, ack, flags, data=b'', wnd=65535, options=b'', off=None, csum=None, urg=0, **ip):
        off = 5 + len(options) // 4 if off is None else off
        header = struct.pack('!HHIIBBHHH', sport, dport, seq % 2**32, ack % 2**32, off << 4, flags, wnd, 0, urg) + options
        return self.ipv4(6, filled(header, 16, data, self.pseudo(6, len(header) + len(data)), csum), **ip)

    # Sending and receiving

    def send(self, frame):
        """Put one frame on the wire, padded as a card does."""
        assert frame  # QEMU takes an empty datagram for the end and is deaf from then on
        self.sock.send(frame.ljust(60, b'\0'))

    def receive(self, timeout):
        """The next packet, or None; ARP requests for us are answered, not returned."""
        end = time.monotonic() + timeout
        while select.select([self.sock], [], [], max(0, end - time.monotonic()))[0]:
            packet = Packet(self.sock.recv(65536))
            asked = packet.arp and packet.arp.op == 1 and packet.arp.tpa == self.ip
            if not (asked and self.arp):
                return packet
            self.send(self.arp_packet(2, packet.arp.spa, tha=packet.arp.sha))
        return None

    def find(self, want, timeout):
        """The first packet for which want is true; the others are kept for later."""
        end = time.monotonic() + timeout
        for n, packet in enumerate(self.got):
            if want(packet):
                return self.got.pop(n)
        while (packet := self.receive(max(0, end - time.monotonic()))):
            if want(packet):
                return packet
            self.got.append(packet)
        return None

    def expect(self, want, what, timeout=CAP):
        """The first packet for which want is true; fails with what it would have been."""
        __tracebackhide__ = True
        self.vm.step(f'expect {what}')
        packet = self.find(want, timeout)
        if packet is None:
            self.vm.fail(what, f'within {timeout:.0f} s only {self.got[-10:]}')
        return packet

    def ping(self, seq, data=b'', ident=7, timeout=CAP):
        """One echo request; its answer, whose bytes are the request's."""
        __tracebackhide__ = True
        self.send(self.echo(seq, data, ident))
        answer = self.expect(lambda p: p.icmp and (p.icmp.type, p.icmp.ident, p.icmp.seq) == (0, ident, seq),
                             f'the answer to ping {seq}', timeout)
        assert answer.data == data
        return answer

    def silent(self, want, what):
        """The guest has sent no such packet by the time it answers a ping."""
        __tracebackhide__ = True
        self.ident += 1
        self.ping(self.ident, ident=0x5151)
        hit = self.find(want, 0)
        if hit:
            self.vm.fail(f'no {what}', hit)

    # Outside

    def monitor(self, command):
        self.vm.step(f'monitor: {command}')
        return subprocess.run([NETTRACE, 'monitor', '-d', self.vm.dir, command], check=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=CAP).stdout.decode()

    def capture(self):
        """All packets of the capture so far, with their virtual times; what we sent on
        purpose so that it cannot be taken apart is left out."""
        return read_capture(os.path.join(self.vm.dir, 'wire.pcap'), self.mac)


def read_capture(path, liar=None):
    """The packets of a pcap file as QEMU writes it; a record still being written is left
    out, and what makes no sense, if it was sent by the MAC liar."""
    with open(path, 'rb') as f:
        data = f.read()
    order = {b'\xd4\xc3\xb2\xa1': '<', b'\xa1\xb2\xc3\xd4': '>'}[data[:4]]
    at, packets = 24, []
    while at + 16 <= len(data):
        sec, usec, size, _ = struct.unpack(order + '4I', data[at:at + 16])
        if at + 16 + size > len(data):
            break
        frame = data[at + 16:at + 16 + size]
        at += 16 + size
        try:
            packets.append(Packet(frame, sec + usec / 1e6))
        except Bad:
            if frame[6:12] != liar:
                raise
    return packets


class Flow:
    """Our side of one TCP connection with the guest, a segment at a time."""

    def __init__(self, wire, ours, theirs, seq=1000):
        self.wire, self.ours, self.theirs = wire, ours, theirs
        self.seq, self.ack = seq, 0
        self.first = None  # the guest's initial sequence number

    def mine(self, p):
        return p.tcp and (p.tcp.sport, p.tcp.dport) == (self.theirs, self.ours)

    def send(self, flags, data=b'', seq=None, ack=None, **more):
        """Send a segment; seq and ack are the connection's unless given."""
        self.wire.send(self.wire.tcp(self.ours, self.theirs, self.seq if seq is None else seq,
                                     self.ack if ack is None else ack, flags, data, **more))
        if seq is None:
            self.seq = (self.seq + len(data) + bool(flags & SYN) + bool(flags & FIN)) % 2**32

    def expect(self, flags, what, data=None, timeout=CAP):
        """The guest's next segment, which must have these flags (PSH aside); takes it as received."""
        __tracebackhide__ = True
        p = self.wire.expect(self.mine, what, timeout)
        if p.tcp.flags & ~PSH != flags or (data is not None and p.data != data):
            self.wire.vm.fail(what, p)
        self.ack = (p.tcp.seq + len(p.data) + bool(flags & SYN) + bool(flags & FIN)) % 2**32
        return p

    def open(self):
        """The three-way handshake, from our side."""
        __tracebackhide__ = True
        self.send(SYN, options=b'\2\4\5\xb4')
        self.first = self.expect(SYN | ACK, 'SYN,ACK').tcp.seq
        self.send(ACK)
        return self

    def accept(self):
        """The three-way handshake, when the guest connects to our port."""
        __tracebackhide__ = True
        syn = self.wire.expect(lambda p: p.tcp and p.tcp.dport == self.ours and p.tcp.flags == SYN, 'a SYN')
        self.theirs, self.first, self.ack = syn.tcp.sport, syn.tcp.seq, (syn.tcp.seq + 1) % 2**32
        self.send(SYN | ACK, options=b'\2\4\5\xb4')
        self.expect(ACK, 'the ACK of our SYN,ACK', b'')
        return self

    def all_data(self):
        """Read and acknowledge until the guest's FIN; the bytes."""
        __tracebackhide__ = True
        got = b''
        while True:
            p = self.wire.expect(self.mine, 'data or FIN')
            if p.tcp.seq != self.ack or p.tcp.flags & RST:
                self.wire.vm.fail(f'the segment with sequence number {self.ack}', p)
            got += p.data
            self.ack = (self.ack + len(p.data) + (p.tcp.flags & FIN)) % 2**32
            if p.data or p.tcp.flags & FIN:
                self.send(ACK)
            if p.tcp.flags & FIN:
                return got
