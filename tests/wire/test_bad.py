"""Every row of bad.py on one guest: the answer that comes back, the reason in the
trace, one end for each packet, a good request served after each group, and nothing
in use at the end that was not in use before.
"""

import os
import re
import subprocess
import time

import pytest

from bad import NEVER, ROWS, land, one, said
from evidence import nt_hash
from peer import ACK, FIN, PSH, RST, SYN, Flow, Wire
from vm import BUILD, CAP, NETTRACE

TRACE = 'trace=all,-func,-pbuf_*,-frame,-sys_*,-switch,-sleep,-wakeup trace_slots=65536'
TESTS = ('-i', os.path.join(BUILD, 'tests.img'))
CHECK = ('check', '--ends', '--sandwich', '--max-lost', '0', '--no-drop', 'NOT_SPECIFIED', '--max-unmatched')


def books(wire, refused=0):
    """Every packet has one end and a reason, every frame its events, no event is lost."""
    __tracebackhide__ = True
    wire.ping(one(), ident=0x600d)
    wire.vm.wait_event('quiet=30ms')  # a live trace is read up to the guest's last tick
    done = subprocess.run([NETTRACE, *CHECK, str(refused), wire.vm.dir],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=CAP)
    if done.returncode:
        wire.vm.fail('nettrace ' + ' '.join(CHECK), done.stdout.decode())


def served(wire):
    """A good request, from handshake to both FINs."""
    flow = Flow(wire, one(), 80).open()
    flow.send(PSH | ACK, b'GET /rc HTTP/1.0\r\n\r\n')
    answer = flow.all_data()
    flow.send(FIN | ACK)
    flow.expect(ACK, 'the ACK of our FIN', b'')
    return answer.startswith(b'HTTP/1.1 200 ')


def answers(wire, frames):
    """Send; what the guest says until it has answered a ping that follows."""
    wire.got.clear()
    for frame in frames:
        wire.send(frame)
    wire.ident += 1
    wire.ping(wire.ident, ident=0x5151)
    got, wire.got = wire.got, []
    return got


def fates(wire):
    """Of each frame received, by its hash: reasons of its drops, fates of its ends."""
    rows = wire.vm.events()
    born = {row['pkt']: int(row['hash'], 16) for row in rows if row['event'] == 'e1000_rx'}
    out = {}
    for row in rows:
        if row['event'] in ('net_drop', 'pkt_end') and row['pkt'] in born:
            drops, ends = out.setdefault(born[row['pkt']], ([], []))
            (drops if row['event'] == 'net_drop' else ends).append(row.get('reason', row.get('fate')))
    return out


def same_counts(wire, before):
    """Until what is in use is as before, a pattern: half a datagram is given up after
    15 s, a handshake that stopped after 20 s."""
    end = time.monotonic() + CAP / 2
    while not before.search(now := wire.vm.cmd('limits counts')):
        if time.monotonic() > end:
            wire.vm.fail(f'in use as before: {before.pattern}', now)
        time.sleep(0.5)


def drops(wire, reason):
    return sum(row['reason'] == reason for row in wire.vm.events('net_drop'))


@pytest.fixture(scope='module')
def results():
    """One boot that has seen all rows: {row: (answers, reasons, fates)}, and the guest."""
    wire = Wire(append='ip=10.9.0.2/24,10.9.0.1 msl=500 ' + TRACE, extra=TESTS, name='bad').start()
    try:
        wire.ping(0)
        wire.vm.cmd('limits counts')  # the first use of anything is over
        assert served(wire)  # the server's memory is its own from now on
        same_counts(wire, re.compile(' pcbs 0 '))  # TIME-WAIT is over
        wire.before, seen = wire.vm.cmd('limits counts'), {}
        for row in ROWS:
            flow = Flow(wire, one(), 80).open() if row.flow else None
            made = row.make(wire, flow)
            frames = made if isinstance(made, list) else [made]
            seen[row] = ([said(p) for p in answers(wire, frames)], nt_hash(frames[-1].ljust(60, b'\0')))
            if flow:
                finish(wire, flow, row)
        ends = fates(wire)
        yield wire, {row: (tuple(got), *ends.get(key, ([], []))) for row, (got, key) in seen.items()}
    finally:
        wire.stop()
    wire.vm.check()
    wire.vm.remove()


def finish(wire, flow, row):
    """A connection that should be alive is, and both are rid of it; else the guest says RST."""
    flow.send(PSH | ACK, b'GET /rc HTTP/1.0\r\n\r\n')
    if row.alive:
        assert flow.all_data().startswith(b'HTTP/1.1 200 '), row.what
        flow.send(FIN | ACK)
    else:
        assert flow.expect(RST | ACK, f'RST after {row.what}')


@pytest.mark.parametrize('row', ROWS, ids=[f'{row.area}: {row.what}' for row in ROWS])
def test_bad(results, row):
    got, drops, ends = results[1][row]
    assert (got, drops) == (row.answer, [row.drop] if row.drop else [])
    if row.ends is not None:
        assert ends == [row.ends] * bool(row.ends)


def test_fragments_have_a_limit(results):
    """1,000 halves of datagrams: 32 frames are kept at most, and one that comes whole
    is served in between.  Early, for they are kept 15 s."""
    wire = results[0]
    for _ in range(1000):
        n = one()
        wire.send(wire.ipv4(1, b'a' * 64, ident=n, frag=0x2000))
    whole = wire.icmp(8, 0, 98, one(), bytes(200))
    n = one()
    wire.send(wire.ipv4(1, whole[:64], ident=n, frag=0x2000))
    wire.send(wire.ipv4(1, whole[64:], ident=n, frag=8))
    wire.expect(lambda p: p.icmp and p.icmp.ident == 98, 'the answer to the whole')
    wire.vm.wait_event('quiet=30ms')
    assert drops(wire, 'FRAG_LIMIT') >= 1000 - 32


# ---- reasons that the guest itself provokes -----------------------------

# A line for its shell, and the reason that its trace must give.
OWN = [
    ('ping -q -c 10 -i 1 -w 1 10.9.0.98', 'NEIGH_QUEUEFULL'),  # three may wait for one answer
    ('ping -q -c 1 -w 1 10.9.0.99', 'NEIGH_FAILED'),  # after 5 s
    ('sockets udp', 'SOCK_RCVBUF'),
    ('sockets halfclose', 'SOCK_SHUT'),
    ('sockets options', 'TCP_RESET'),
    ('ifconfig en0 10.9.0.2/24; ping -q -c 1 -w 1 192.0.2.1; ifconfig en0 10.9.0.2/24 gw 10.9.0.1', 'IP_NOROUTE'),
]


@pytest.mark.parametrize('line, reason', OWN, ids=[reason for _, reason in OWN])
def test_own_fault(results, line, reason):
    wire = results[0]
    had = drops(wire, reason)
    wire.vm.cmd(line)
    end = time.monotonic() + CAP / 2
    while drops(wire, reason) == had:
        assert time.monotonic() < end, f'no {reason}'
        time.sleep(0.2)


def provokes(wire, reason, act):
    """act() makes one drop for reason, no more."""
    had = drops(wire, reason)
    act()
    wire.ping(one(), ident=0x600d)
    wire.vm.wait_event('quiet=30ms')
    assert drops(wire, reason) == had + 1
    wire.got.clear()


def test_out_of_order_data_of_a_reset_connection(results):
    wire = results[0]
    flow = Flow(wire, one(), 80).open()

    def act():
        flow.send(PSH | ACK, b'later', seq=flow.seq + 100)
        flow.send(RST, seq=flow.seq)
    provokes(wire, 'TCP_OFO_DROP', act)


def test_data_after_close(results):
    """In TIME-WAIT: RFC 9293 knows nothing new there; answered with an ACK."""
    wire = results[0]
    flow = Flow(wire, one(), 80).open()

    def act():  # TIME-WAIT lasts a second here: nothing may come between
        flow.send(PSH | ACK, b'GET /rc HTTP/1.0\r\n\r\n')
        flow.all_data()
        flow.send(FIN | ACK)
        flow.expect(ACK, 'the ACK of our FIN', b'')
        flow.send(PSH | ACK, b'more')
    provokes(wire, 'TCP_CLOSE', act)


def test_data_without_ack_before_the_handshake_is_done(results):
    wire = results[0]
    flow = Flow(wire, one(), 80)
    flow.send(SYN)
    flow.expect(SYN | ACK, 'SYN,ACK')
    provokes(wire, 'TCP_FLAGS', lambda: flow.send(PSH, b'early', seq=flow.seq))
    flow.send(RST, seq=flow.seq)


def test_fragments_time_out(results):
    """RFC 1122 3.3.2: half a datagram is not kept for ever; here 15 s."""
    results[0].vm.wait_event('net_drop reason=FRAG_TIMEOUT', CAP / 2)


def test_land_does_not_loop(results):
    """A SYN from the guest's own address and port: one answer, which stays inside."""
    wire = results[0]
    own = '10.9.0.2'
    sent = [row for row in wire.vm.events('tcp_seg_out') if row['raddr'] == own and row['lport'] == row['rport'] == 80]
    assert 1 <= len({row['t_ns'] // 10**9 for row in sent}) == len(sent), 'more than one within a second'
    wire.send(land(wire, None, 1001, RST))


def test_good_request_afterwards(results):
    assert served(results[0])


def test_nothing_is_left_in_use(results):
    same_counts(results[0], re.compile(results[0].before))


def test_one_end_for_each_packet(results):
    books(results[0], len(NEVER))
