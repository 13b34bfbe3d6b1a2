"""Lab 5: what leaves is what was written, byte for byte, whatever the number of pieces."""

TITLE = 'Half a frame: pieces on the transmit ring'
FILES = ['kernel/net/e1000.c', 'kernel/net/ethif.c']
DIAGNOSIS = 4


def send(wire, port, data):
    """One datagram to the guest's udpecho, in as many fragments as it needs."""
    whole, ident = wire.udp(port, 7, data)[34:], port
    for at in range(0, len(whole), 1480):
        more = 0x2000 if at + 1480 < len(whole) else 0
        wire.send(wire.ipv4(17, whole[at:at + 1480], ident=ident, frag=more | at // 8))


def receive(lab, wire, size):
    """The payload of the next datagram from the guest, put together."""
    parts, end, ident = {}, None, None
    while end is None or sum(map(len, parts.values())) < end:
        p = wire.find(lambda p: p.ip and p.ip.proto == 17 and ident in (None, p.ip.ident), 10)
        lab.need(p is not None, f'an echo of {size} bytes', f'silence after {len(parts)} of its frames')
        at, ident = (p.ip.frag & 0x1fff) * 8, p.ip.ident
        parts[at] = p.ip.total - 20 and p.frame[34:14 + p.ip.total]
        if not p.ip.frag & 0x2000:
            end = at + len(parts[at])
    return b''.join(parts[at] for at in sorted(parts))[8:]


def echoes(lab, sizes):
    """Datagrams of many sizes come back as they went."""
    wire = lab.boot()
    wire.vm.cmd('udpecho 7 &')
    for k, size in enumerate(sizes):
        data = lab.random(size)
        send(wire, 5000 + k, data)
        lab.need(receive(lab, wire, size) == data, f'the {size} bytes that were sent', 'others')
    sent = [p for p in wire.capture() if p.src == wire.guest_mac]
    events = wire.vm.events('e1000_tx')
    lab.need(len(sent) == len(events), 'a frame in the capture for each e1000_tx',
             f'{len(sent)} frames, {len(events)} events')


def small(lab):
    """They lie in one piece: right from the start, and must stay so."""
    echoes(lab, [0, 1, 2, 17, 18, 19, 63, 64, 511, 1024, 1470, 1471, 1472] + [n * 97 % 1473 for n in range(1, 30)])


def large(lab):
    """Each of their frames lies in two pieces."""
    echoes(lab, [1473, 1474, 2000, 2952, 2953, 3001, 4000, 5555, 7000, 8000] + [1473 + n * 997 % 6000 for n in range(1, 15)])


TESTS = {'small': (1, small), 'large': (5, large)}


def EXPECTED(case):
    """What the self-test wants: from, to."""
    if case.startswith('reference'):
        return 10, 10
    return (0, 1) if case.startswith('untouched') else (0, 5)
