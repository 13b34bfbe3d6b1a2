"""A run's two records, read without the tool under test: wire.pcap and trace.nt.

frames(path)   the capture, a list of dictionaries
Trace(path)    a saved trace or what /dev/nettrace gave: header, metadata, records
Ring(path)     the same, from a guest's memory
nt_hash(data)  the fingerprint that joins the two

Written from the formats alone (classic pcap; kernel/uapi/nettrace.h), so that a
mistake of tools/nettrace shows as a difference.  Trace keeps the raw slots and can
be written back, which is how a test makes a trace that must be refused.
"""

import struct

MAC = bytes.fromhex('525400123456')  # of en0 in every run of capture

HEADER = struct.Struct('<8s 4H 4I 4I 6sHII Q16s40s')
SLOT = 64


def nt_hash(data):
    """nt_hash() of nettrace.h: FNV over 16 words, missing bytes are 0."""
    value = 2166136261
    for word in struct.unpack('<16I', data[:64].ljust(64, b'\0')):
        value = ((value ^ word) * 16777619) & 0xffffffff
    return value


def be16(data, at):
    return int.from_bytes(data[at:at + 2], 'big')


def tcp_fields(frame, ip, at):
    head = struct.unpack_from('>HHIIBBHH', frame, at)
    end = 14 + be16(ip, 2)
    start = at + 4 * (head[4] >> 4)
    return dict(sport=head[0], dport=head[1], seq=head[2], ack=head[3], flags=head[5], wnd=head[6],
                l4sum=head[7], paylen=end - start, payload=frame[start:end])


def parse_frame(frame):
    """What trace and ladder know of a frame; fields that it does not have are 0."""
    out = dict(len=len(frame), out=frame[6:12] == MAC, type=be16(frame, 12), ipid=0, l4sum=0,
               hash=nt_hash(frame), proto=0, data=frame)
    if out['type'] != 0x800:
        return out
    ip = frame[14:]
    at = 14 + 4 * (ip[0] & 15)
    out.update(ipid=be16(ip, 4), proto=ip[9], src=ip[12:16], dst=ip[16:20])
    if ip[9] == 6:
        out.update(tcp_fields(frame, ip, at))
    elif ip[9] == 17:
        out['l4sum'] = be16(frame, at + 6)
    elif ip[9] == 1:
        out['l4sum'] = be16(frame, at + 2)
    return out


def pcap_records(path):
    """The file's 24-byte header, and a list of [seconds, microseconds, bytes]."""
    with open(path, 'rb') as f:
        data = f.read()
    assert data[:4] == b'\xd4\xc3\xb2\xa1', 'not a little-endian microsecond capture'
    rows, at = [], 24
    while at < len(data):
        sec, usec, caplen, wirelen = struct.unpack_from('<4I', data, at)
        assert caplen == wirelen and at + 16 + caplen <= len(data), 'a frame is cut'
        rows.append([sec, usec, data[at + 16:at + 16 + caplen]])
        at += 16 + caplen
    return data[:24], rows


def write_pcap(path, header, rows):
    with open(path, 'wb') as f:
        f.write(header)
        for sec, usec, frame in rows:
            f.write(struct.pack('<4I', sec, usec, len(frame), len(frame)) + frame)


def frames(path):
    return [dict(parse_frame(frame), us=sec * 1000000 + usec) for sec, usec, frame in pcap_records(path)[1]]


def read_header(data, at):
    names = ('magic version hdr_size slot_size ncpu nslots boot_id tsc_khz flags self_pa meta_pa '
             'meta_len meta_hash mac cpu_off ip zero tsc nonce build').split()
    return dict(zip(names, HEADER.unpack_from(data, at)))


class Trace:
    """header, meta (text), events {id: (name, stage, fields)}, sets, slots [bytes]."""

    WIDTH = dict(u8=1, u16=2, u32=4, u64=8, s16=2, s32=4, mac6=6, name16=16)

    def __init__(self, source):
        data = source if isinstance(source, bytes) else open(source, 'rb').read()
        self.header = read_header(data, 0)
        assert self.header['magic'] == b'NETTRF1\0' and self.header['slot_size'] == SLOT
        end = HEADER.size + self.header['meta_len']
        self.meta = data[HEADER.size:end].decode('ascii')
        start = (end + SLOT - 1) // SLOT * SLOT
        assert set(data[end:start]) <= {10} and (len(data) - start) % SLOT == 0
        self.front = data[:start]
        self.slots = [data[at:at + SLOT] for at in range(start, len(data), SLOT)]
        self.read_meta()

    def read_meta(self):
        self.events, self.sets = {}, {}
        for line in self.meta.splitlines():
            words = line.split(' ')
            if words[0] in ('name', 'bits'):
                self.sets.setdefault(words[1], {})[int(words[2], 0)] = words[3]
            elif words[0] == 'event':
                fields = []
                self.events[int(words[1])] = (words[2], words[3], fields)
            elif line.startswith('\t'):
                fields.append(line[1:].split(' ')[:3])
        self.ids = {name: number for number, (name, _, _) in self.events.items()}

    def decode(self, slots):
        """One record, its first slot and the continuations behind it."""
        ts, number, cpu_ctx, nsl, seq, pkt, sock, pid = struct.unpack_from('<QHBBIIHH', slots[0])
        body = slots[0][24:] + b''.join(slot[16:] for slot in slots[1:])
        name, stage, fields = self.events[number]
        row = dict(tsc=ts, event=name, stage=stage, cpu=cpu_ctx & 15, ctx=cpu_ctx >> 4, nsl=nsl,
                   seq=(seq - 1) & 0xffffffff, pkt=pkt, sock=sock, pid=pid, fields={})
        for kind, field, unit in fields:
            width = self.WIDTH.get(kind, len(body))
            raw, body = body[:width], body[width:]
            if kind in ('text', 'name16'):
                value = raw.split(b'\0')[0].decode('latin-1')
            elif kind in ('mac6', 'bytes'):
                value = raw
            else:
                value = int.from_bytes(raw, 'little', signed=kind[0] == 's')
            row['fields'][field] = value
        return row

    def records(self):
        rows, at = [], 0
        while at < len(self.slots):
            count = self.slots[at][11]
            assert 1 <= count <= 4, f'slot {at} is a continuation'
            rows.append(self.decode(self.slots[at:at + count]))
            rows[-1]['slot'] = at
            at += count
        return rows

    def named(self, row, field):
        """The word for a field's value, from the set that is the field's unit."""
        unit = next(unit for _, name, unit in self.events[self.ids[row['event']]][2] if name == field)
        return self.sets[unit].get(row['fields'][field], str(row['fields'][field]))

    def write(self, path):
        with open(path, 'wb') as f:
            f.write(self.front + b''.join(self.slots))


class Ring(Trace):
    """The same from a guest's memory (the run directory's ram): heads, dropped and
    emitted are per CPU, slots those that a reader from the oldest one on would get
    of a machine that stands still."""

    PAGE, CPU = 4096, struct.Struct('<7I')

    def __init__(self, path):
        with open(path, 'rb') as f:
            self.ram = f.read()
        at = self.find()
        self.header = read_header(self.ram, at)
        meta = self.header['meta_pa']
        self.meta = self.ram[meta:meta + self.header['meta_len']].decode('ascii')
        self.read_meta()
        self.heads, self.dropped, self.emitted, rings = [], [], [], []
        for cpu in range(8):
            ring, head, count, dropped = self.CPU.unpack_from(self.ram, at + 256 + 64 * cpu)[:4]
            if ring:
                self.heads.append(head)
                self.dropped.append(dropped)
                self.emitted.append(struct.unpack_from('<256I', self.ram, count))
                rings.append(self.read_ring(ring, head))
        merged = sorted((row for ring in rings for row in ring), key=lambda row: row[0])
        self.slots = [slot for _, slots in merged for slot in slots]

    def find(self):
        """Page-aligned magic that knows its own address; other copies do not."""
        at = self.ram.find(b'NETTRC1\0')
        while at >= 0:
            if at % self.PAGE == 0 and struct.unpack_from('<I', self.ram, at + 32)[0] == at:
                return at
            at = self.ram.find(b'NETTRC1\0', at + 1)
        raise AssertionError('no ring page in this memory')

    def read_ring(self, ring, head):
        """The complete records of one ring: [((ts, cpu, number), slots)]."""
        nslots, out, slots = self.header['nslots'], [], []
        for back in range(nslots, 0, -1):
            number = (head - back) & 0xffffffff
            at = ring + SLOT * (number & (nslots - 1))
            slot = self.ram[at:at + SLOT]
            if struct.unpack_from('<I', slot, 12)[0] != (number + 1) & 0xffffffff or slot[11] == 0:
                continue  # never written, or not complete
            slots = slots + [slot] if slot[11] >= 0x80 else [slot]
            if len(slots) == slots[0][11]:
                out.append(((struct.unpack_from('<Q', slot)[0], slot[10] & 15, -back), slots))
        return out
