"""Packets: net-pbuf, net-why, net-pcap, $pkt().

A packet is known by the number in its pbuf, the one that the trace and the host's
tools print as #N.
"""

import os
import struct

import gdb

from common import Command, Function, chain, is_kernel, number, physical, pointer, read, var, warnings
from nettrace import page, record_row, rings, show_row

SNAP = 262144  # longest frame that a capture may hold, as others write it
ETHERNET = 14
RXBUF = 2048  # bytes of a receive buffer, net.h's


# ---- pbufs ------------------------------------------------------------------

def pbuf_type(value):
    """RAM, ROM, REF, POOL: the names of enum pbuf_type by the bits that fit a byte."""
    kind = int(value)
    for field in gdb.lookup_type('pbuf_type').strip_typedefs().fields():
        if field.enumval & 0xff == kind:
            return field.name.replace('PBUF_', '')
    return f'{kind:#x}'


def frame_start(at, payload):
    """Where the frame begins: a received one lies in a buffer that ends in its pbuf."""
    buffer = at + gdb.lookup_type('struct pbuf_custom').sizeof - RXBUF
    return buffer if buffer % RXBUF == 0 and buffer <= payload < at else None


def ones_sum(data):
    """Internet checksum (RFC 1071) over bytes; right data with their checksum give 0."""
    data += b'\0' * (len(data) % 2)
    total = sum(struct.unpack(f'>{len(data) // 2}H', data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def host_order(tcp):
    """A TCP header as lwIP leaves it after input, turned back: its numbers in network order."""
    sport, dport, seq, ack = struct.unpack_from('<HHII', tcp)
    window, = struct.unpack_from('<H', tcp, 14)
    return struct.pack('>HHII', sport, dport, seq, ack) + tcp[12:14] + struct.pack('>H', window) + tcp[16:]


def addresses(packet):
    return '.'.join(map(str, packet[12:16])), '.'.join(map(str, packet[16:20]))


def transport_sum(packet, body):
    pseudo = packet[12:20] + bytes([0, packet[9]]) + struct.pack('>H', len(body))
    return ones_sum(pseudo + body)


def said_of(good, field):
    """The verdict on a sum; 0 stands where none is made, as on the loopback."""
    return 'sum right' if good else 'sum WRONG' if any(field) else 'no sum: 0, as on the loopback'


def verify_ip(packet):
    """(what, verdict) for the sums of an IPv4 packet."""
    header = 4 * (packet[0] & 15)
    total = int.from_bytes(packet[2:4], 'big')
    source, dest = addresses(packet)
    if header < 20 or total < header:
        yield f'IP {source} > {dest}', f'WRONG: header of {header}, packet of {total} bytes'
        return
    yield f'IP {source} > {dest}, {total} bytes', said_of(ones_sum(packet[:header]) == 0, packet[10:12])
    name = {1: 'ICMP', 6: 'TCP', 17: 'UDP'}.get(packet[9])
    body = packet[header:total]
    if name is None or int.from_bytes(packet[6:8], 'big') & 0x3fff:
        return
    if len(packet) < total:
        yield name, f'{total - len(packet)} bytes are not in the pbuf: no sum'
    elif name == 'ICMP':
        yield name, 'sum right' if ones_sum(body) == 0 else 'sum WRONG'
    elif name == 'UDP' and body[6:8] == b'\0\0':
        yield name, 'without a sum'
    elif transport_sum(packet, body) == 0:
        yield name, 'sum right'
    elif name == 'TCP' and len(body) >= 20 and transport_sum(packet, host_order(body)) == 0:
        yield name, 'sum right (the stack has turned the header to host order)'
    else:
        yield name, said_of(False, body[16:18] if name == 'TCP' else body[6:8])


def verify(data):
    """The same for bytes that begin with an Ethernet or an IP header."""
    if len(data) >= ETHERNET + 20 and data[12:14] == b'\x08\x00':
        data = data[ETHERNET:]
    if len(data) >= 20 and data[0] >> 4 == 4:
        yield from verify_ip(data)
    elif len(data) >= ETHERNET and data[12:14] == b'\x08\x06':
        yield 'ARP', 'has no sum'
    else:
        yield 'payload', 'begins with no Ethernet or IPv4 header: nothing to verify'


def hexdump(data, at):
    """Lines of 16 bytes; those equal to the one before become one *."""
    before, starred = None, False
    for k in range(0, len(data), 16):
        part = data[k:k + 16]
        if part == before:
            if not starred:
                yield '  *'
            starred = True
            continue
        before, starred = part, False
        shown = ''.join(chr(byte) if 32 <= byte < 127 else '.' for byte in part)
        yield f'  {at + k:#010x}  {part.hex(" "):<47}  {shown}'


class NetPbuf(Command):
    """net-pbuf PBUF [--hex] [--verify] [--json]

A packet buffer and those chained to it: bytes here, bytes from here to the chain's
end, references, kind, packet.  --hex: the bytes, of a received frame from its Ethernet
header on.  --verify: IP, TCP, UDP and ICMP checksums.

  net-pbuf p --verify
  net-pbuf 0x80a22fe0 --hex
  net-pbuf $pkt(9)"""

    name = 'net-pbuf'

    def arguments(self, parser):
        parser.add_argument('pbuf')
        parser.add_argument('--hex', action='store_true')
        parser.add_argument('--verify', action='store_true')

    def rows(self, options):
        first = pointer(options.pbuf)
        if not is_kernel(first):
            raise gdb.GdbError(f'net-pbuf: not a kernel address: {first:#x}')
        kind = gdb.lookup_type('struct pbuf').pointer()
        trouble, data, rest = [], b'', None
        for k, pbuf in enumerate(chain(gdb.Value(first).cast(kind), 'next', 'pbuf chain', trouble)):
            at, payload = int(pbuf.address), int(pbuf['payload'])
            length, total = int(pbuf['len']), int(pbuf['tot_len'])
            row = {'pbuf': at, 'link': k, 'payload': payload, 'len': length, 'tot_len': total, 'ref': int(pbuf['ref']),
                   'type': pbuf_type(pbuf['type_internal']), 'pkt': int(pbuf['pkt'])}
            yield row
            if rest not in (None, total):
                trouble.append(f'link {k}: tot_len is {total}, the link before leaves {rest}')
            if int(pbuf['ref']) == 0:
                trouble.append(f'link {k}: no references: it has been freed')
            rest = total - length
            if not is_kernel(payload):
                trouble.append(f'link {k}: its payload is not a kernel address: {payload:#x}')
                continue
            begin = frame_start(at, payload) if k == 0 else None
            begin = payload if begin is None else begin
            part = read(begin, payload + length - begin)
            data += part
            if options.hex:
                yield {'at': begin, 'hex': part.hex()}
        if rest and not trouble:
            trouble.append(f'the chain ends, but tot_len promises {rest} bytes more')
        if options.verify and data:
            for what, verdict in verify(data):
                yield {'layer': what, 'verdict': verdict}
        yield from warnings(trouble)

    @staticmethod
    def line(row):
        if 'hex' in row:
            return '\n'.join(hexdump(bytes.fromhex(row['hex']), row['at']))
        if 'layer' in row:
            return f'{row["layer"]}: {row["verdict"]}'
        return f'pbuf {row["pbuf"]:#x} {row["type"]:<5} packet #{row["pkt"]}: {row["len"]} bytes at {row["payload"]:#x}, ' \
            f'{row["tot_len"]} to the end of the chain, {row["ref"]} references'


def pbufs_seen(pkt):
    """Addresses at which the trace saw a pbuf or a received frame of this packet, newest first."""
    for ring in rings():
        for seq, raw, body in ring.records():
            row = record_row(ring.cpu, seq, raw, body)
            if row['pkt'] != pkt:
                continue
            if row['event'] == 'e1000_rx':
                yield int(row['fields']['buf'], 16) + RXBUF - gdb.lookup_type('struct pbuf_custom').sizeof
            elif row['event'] == 'pbuf_alloc':
                yield int(row['fields']['p'], 16)


class PktFunction(Function):
    """$pkt(ID): the pbuf of a packet as a struct pbuf *, 0 if there is none any more.

  net-pbuf $pkt(9)"""

    name = 'pkt'

    def value(self, pkt):
        kind = gdb.lookup_type('struct pbuf').pointer()
        for at in pbufs_seen(pkt):
            if is_kernel(at) and int(gdb.Value(at).cast(kind)['pkt']) == pkt:
                return gdb.Value(at).cast(kind)
        return gdb.Value(0).cast(kind)


# ---- the journey ------------------------------------------------------------

def journeys():
    """({packet: its rows, oldest first}, {packet: [(parent, kind)]}, {packet: [(child, kind)]})."""
    rows, parents, children = {}, {}, {}
    for ring in rings():
        for seq, raw, body in ring.records():
            row = record_row(ring.cpu, seq, raw, body)
            if not row['pkt']:
                continue
            rows.setdefault(row['pkt'], []).append(row)
            if row['event'] == 'pkt_link':
                link = row['fields']['parent'], row['fields']['kind']
                parents.setdefault(row['pkt'], []).append(link)
                children.setdefault(link[0], []).append((row['pkt'], link[1]))
    for found in rows.values():
        found.sort(key=lambda row: (row['tsc'], row['cpu'], row['seq']))
    return rows, parents, children


class NetWhy(Command):
    """net-why N [--json]

The journey of packet #N: each event with the time since the one before it, packets it
comes from and that come from it, its end or its drop.  As far as the rings reach;
`nettrace why N` on the host has the wire's view, too.

  net-why 9"""

    name = 'net-why'

    def arguments(self, parser):
        parser.add_argument('pkt', type=number)

    def rows(self, options):
        rows, parents, children = journeys()
        mine = rows.get(options.pkt)
        if not mine:
            have = f'the rings hold #{min(rows)} to #{max(rows)}' if rows else 'the rings hold no packet'
            raise gdb.GdbError(f'net-why: no packet #{options.pkt}: {have}')
        for parent, kind in reversed(parents.get(options.pkt, [])):
            yield {'link': 'from', 'pkt': parent, 'kind': kind, 'known': parent in rows}
        khz = int(page()['hdr']['tsc_khz']) or 1000000
        before = first = mine[0]['tsc']
        for row in mine:
            yield {**row, 'us': round((row['tsc'] - first) * 1000 / khz, 1),
                   'gap_us': round((row['tsc'] - before) * 1000 / khz, 1)}
            before = row['tsc']
        for child, kind in reversed(children.get(options.pkt, [])):
            yield {'link': 'to', 'pkt': child, 'kind': kind, 'known': child in rows}
        if not any(row['event'] == 'pkt_end' for row in mine):
            yield {'warning': f'#{options.pkt} has not ended yet; its last event is {mine[-1]["event"]}'}

    @staticmethod
    def line(row):
        if 'link' in row:
            how = 'comes from' if row['link'] == 'from' else 'leads to'
            return f'{how} #{row["pkt"]} ({row["kind"]})' + ', of which the rings hold nothing' * (not row['known'])
        return f'{row["us"]:>10.1f} {"+" + format(row["gap_us"], ".1f"):>9}  {row["stage"]:<8} ' + \
            show_row({**row, 'us': None, 'pkt': 0})


# ---- frames -----------------------------------------------------------------

def waiting_frames(card):
    """Frames that the card has written and the driver not looked at: whole."""
    size = card['rxbuf'].type.range()[1] + 1
    cons = int(card['rx_cons'])
    for k in range(size):
        desc = card['rx'][(cons + k) % size]
        if not int(desc['status']) & 1:
            return
        yield None, physical(int(desc['addr']), int(desc['len'])), int(desc['len'])


def unsent_frames(card):
    """Frames in the transmit ring that the driver has not reaped: whole, from their pieces."""
    size = card['cookie'].type.range()[1] + 1
    data = b''
    for k in range(int(card['tx_cons']), min(int(card['tx_prod']), int(card['tx_cons']) + size)):
        desc = card['tx'][k % size]
        data += physical(int(desc['addr']), int(desc['len']))
        if int(desc['cmd']) & 1:
            yield None, data, len(data)
            data = b''


def traced_frames():
    """(TSC, bytes, length) of the frames that event frame keeps: their beginnings."""
    found = []
    for ring in rings():
        for seq, raw, body in ring.records():
            row = record_row(ring.cpu, seq, raw, body)
            if row['event'] == 'frame':
                data = bytes.fromhex(row['fields']['data'])
                length = row['fields']['len']
                found.append((row['tsc'], data[:length], length))
    return sorted(found)


def stamp(tsc):
    """Seconds and microseconds since power-on."""
    micros = tsc * 1000 // (int(page()['hdr']['tsc_khz']) or 1000000)
    return micros // 1000000, micros % 1000000


class NetPcap(Command):
    """net-pcap FILE [-n N] [--json]

Write a capture: the frames that event frame keeps in the trace (their beginnings, if
it is recorded: boot option trace=std,+frame), and, whole, those in the card's rings
that the driver has not looked at.  At most N, the newest (default 1000).  Refuses to
overwrite a file.

  net-pcap /tmp/last.pcap"""

    name = 'net-pcap'

    def arguments(self, parser):
        parser.add_argument('file')
        parser.add_argument('-n', type=int, default=1000)

    def rows(self, options):
        if os.path.exists(options.file):
            raise gdb.GdbError(f'net-pcap: {options.file} exists: name another')
        traced, whole = traced_frames(), []
        cards = var('cards', 'e1000.c')
        for nic in range(int(var('e1000_count'))):
            whole += list(waiting_frames(cards[nic])) + list(unsent_frames(cards[nic]))
        last = traced[-1][0] if traced else 0
        frames = (traced + [(last, data, length) for _, data, length in whole])[-max(options.n, 1):]
        try:
            with open(options.file, 'xb') as file:
                file.write(struct.pack('<IHHiIII', 0xa1b2c3d4, 2, 4, 0, 0, SNAP, 1))
                for tsc, data, length in frames:
                    file.write(struct.pack('<IIII', *stamp(tsc), len(data), length) + data)
        except OSError as why:
            raise gdb.GdbError(f'net-pcap: {options.file}: {why.strerror}') from None
        yield {'file': options.file, 'frames': len(frames), 'traced': len(traced), 'in_rings': len(whole)}

    @staticmethod
    def line(row):
        return f'{row["file"]}: {row["frames"]} frames ({row["traced"]} in the trace, {row["in_rings"]} in the rings)'


for kind in (NetPbuf, NetWhy, NetPcap, PktFunction):
    kind()
