"""Lab 7: what is due is done, also when nobody sends anything."""

from peer import ACK, PSH, SYN, Flow

TITLE = 'The reply that waits: who drives the stack?'
FILES = ['kernel/net/net.c']
DIAGNOSIS = 4


def gaps(wire, want):
    """The times between the frames of the capture that are wanted, in seconds of the guest's clock."""
    times = [p.t for p in wire.capture() if p.src == wire.guest_mac and want(p)]
    return [b - a for a, b in zip(times, times[1:])]


def syn_again(lab):
    """A SYN,ACK that nobody answers is sent again, with no frame of ours between."""
    wire = lab.boot()
    flow = Flow(wire, 40000, 80)
    flow.send(SYN, options=b'\2\4\5\xb4')
    wants = lambda p: p.tcp and p.tcp.flags == SYN | ACK  # noqa: E731
    lab.need(wire.find(wants, 10), 'a SYN,ACK', 'none')
    lab.need(wire.find(wants, 15), 'the SYN,ACK again, after about 3 s', 'silence for 15 s')
    gap = gaps(wire, wants)[0]
    lab.need(1 < gap < 6, 'the SYN,ACK again after 1 to 6 s', f'{gap:.1f} s')


def data_again(lab):
    """Data that nobody acknowledges are sent three times, each gap longer, and no more after the ACK."""
    wire = lab.boot()
    flow = Flow(wire, 40001, 80).open()
    flow.send(PSH | ACK, b'GET / HTTP/1.0\r\nHost: guest\r\n\r\n')
    wants = lambda p: p.tcp and p.data  # noqa: E731
    for k, limit in enumerate((10, 15, 25)):
        got = wire.find(wants, limit)
        lab.need(got, f'the page, for the {k + 1}. time', f'silence for {limit} s')
    waits = gaps(wire, wants)
    lab.need(waits[0] > 0.3, 'a first gap of a timer, 0.3 s or more', f'{waits[0]:.3f} s')
    lab.need(waits[1] >= 1.5 * waits[0], 'gaps that grow', ' '.join(f'{gap:.1f}' for gap in waits))
    flow.send(ACK, ack=(got.tcp.seq + len(got.data) + 1) % 2**32)
    lab.need(wire.find(wants, 3) is None, 'silence after the ACK', 'the page once more')


TESTS = {'syn-again': (3, syn_again), 'data-again': (3, data_again)}


def EXPECTED(case):
    """What the self-test wants: from, to."""
    if case.startswith('reference'):
        return 10, 10
    return (0, 0) if case.startswith('untouched') else (0, 5)
