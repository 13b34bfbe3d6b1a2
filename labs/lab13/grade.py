"""Lab 13: an exchange ends, whatever the other machine answers.

The other machine has the same fault: it answers each segment of the guest's that the
fault would make it answer.  The guest has to be the one that falls silent.
"""

from peer import ACK, FIN, PSH, Flow

TITLE = 'The last word: two machines that never stop'
FILES = ['kernel/net/stream.c', 'kernel/net/net.c', 'kernel/net/lwiphooks.h']
DIAGNOSIS = 4
ROUNDS = 50
END = f'an end: what needs no answer gets none, {ROUNDS} times in a row'


def answers(flow, say):
    """Say something; what the guest has sent about it by the time it answers a ping."""
    wire, got = flow.wire, []
    say()
    wire.ping(1, ident=0x1313)
    while (p := wire.find(flow.mine, 0)):
        got.append(p)
    return got


def war(lab, flow, say, reply):
    """say() as long as the guest answers with a segment that this machine would reply to."""
    for _ in range(ROUNDS):
        got = answers(flow, say)
        if not any(map(reply, got)):
            return got
    return lab.need(False, END, f'{ROUNDS} rounds, the last with {got}')


def only_ack(flow):
    """A segment that has nothing but an acknowledgment of all we sent."""
    return lambda p: p.tcp.flags == ACK and not p.data and p.tcp.ack == flow.seq


def repeated(flow):
    """Our FIN once more: has our ACK got lost?"""
    return lambda: flow.send(FIN | ACK, seq=(flow.seq - 1) % 2**32)


def page(flow, lab):
    flow.open().send(PSH | ACK, b'GET / HTTP/1.0\r\nHost: guest\r\n\r\n')
    lab.need(b'<html' in flow.all_data(), 'the page', 'none')


def fin(lab):
    """Both ends close; a FIN is acknowledged, each time it comes, by an ACK and nothing else."""
    wire = lab.boot()
    flow = Flow(wire, 40000, 80)
    page(flow, lab)
    got = answers(flow, lambda: flow.send(FIN | ACK))
    for _ in range(3):
        lab.need(len(got) == 1 and only_ack(flow)(got[0]), f'a FIN acknowledged: ACK {flow.seq} and no other flag', got)
        got = war(lab, flow, repeated(flow), lambda p: p.tcp.flags & FIN)
    again = Flow(wire, 40000, 80, seq=flow.seq + 100000)
    page(again, lab)


def half(lab):
    """The guest has sent its FIN, we have not: ACKs are no reason for ACKs, data are."""
    wire = lab.boot()
    wire.vm.cmd('echo hello | nc -l 9 > got &')
    wire.vm.wait_event('tcp_state to=LISTEN lport=9')
    flow = Flow(wire, 40001, 9).open()
    lab.need(flow.all_data() == b'hello\n', 'hello', 'something else')
    for k in range(5):
        war(lab, flow, lambda: flow.send(ACK), lambda p: p.tcp.flags & ACK)
        data = lab.random(100 + 300 * k)
        flow.send(PSH | ACK, data)
        p = wire.find(flow.mine, 10)  # it may come late: a delayed ACK
        lab.need(p and only_ack(flow)(p), f'{len(data)} bytes acknowledged: ACK {flow.seq} and no other flag', p or 'silence for 10 s')
    got = answers(flow, lambda: flow.send(FIN | ACK))
    lab.need(len(got) == 1 and only_ack(flow)(got[0]), 'our FIN acknowledged', got)


def window(lab):
    """Nobody reads, on neither side: both windows are zero.  Then we read, and what the guest wrote comes."""
    wire = lab.boot(cpus=1)
    wire.vm.send('nc -l 9 | sleep 100000\n')
    wire.vm.wait_event('tcp_state to=LISTEN lport=9')
    flow, line = Flow(wire, 40002, 9).open(), lab.random(12).hex() + '\n'
    flow.send(ACK, wnd=0)
    wire.vm.wait_event('tcp_seg_in lport=9 wnd=0')
    wire.vm.send(line)  # nc's standard input is the console
    wire.vm.wait_event(f'sock_tx n={len(line)}')
    room = 1
    while room:
        data = lab.random(min(room, 1460))
        flow.send(PSH | ACK, data, wnd=0)
        p = wire.find(lambda p: flow.mine(p) and p.tcp.ack == flow.seq, 10)
        lab.need(p, f'{len(data)} bytes acknowledged', 'silence for 10 s')
        room = p.tcp.wnd
    for _ in range(3):  # a byte of data would be a probe
        war(lab, flow, lambda: flow.send(ACK, wnd=0), lambda p: not p.data)
    flow.send(ACK)
    p = wire.find(lambda p: flow.mine(p) and p.data == line.encode(), 10)
    lab.need(p, 'what was written, when our window opens', 'silence for 10 s')


TESTS = {'fin': (2, fin), 'half-closed': (2, half), 'zero-window': (2, window)}


def EXPECTED(case):
    """What the self-test wants: from, to."""
    if case.startswith('reference'):
        return 10, 10
    return {'untouched-a': (2, 2), 'untouched-b': (4, 4), 'untouched-c': (2, 2), 'cheat-prints': (0, 0)}.get(case, (0, 5))
