"""Lab 4: the receive ring must go round for ever."""

TITLE = 'Receive dies: who owns a descriptor?'
FILES = ['kernel/net/e1000.c']
DIAGNOSIS = 4
RING = 256


def answered(lab, wire, count, what):
    """Pings one by one, each with bytes of its own; every one comes back, once and in order."""
    for k in range(count):
        data = lab.random(32)
        wire.send(wire.echo(k, data))
        answer = wire.find(lambda p: p.icmp and p.icmp.type == 0, 10)
        lab.need(answer is not None, f'{what}: an answer to each of {count} pings', f'silence after {k} of them')
        lab.need((answer.icmp.seq, answer.data) == (k, data), f'{what}: the answer to ping {k}',
                 f'the answer to {answer.icmp.seq}, {"other" if answer.data != data else "the same"} bytes')


def one_by_one(lab):
    """Twice around the ring and a bit, a frame at a time."""
    answered(lab, lab.boot(), 2 * RING + 7, 'one at a time')


def in_bursts(lab):
    """Frames that nobody wants, more than the ring holds, then pings."""
    wire = lab.boot()
    answered(lab, wire, 1, 'before the bursts')
    for burst in range(8):
        for k in range(64):
            wire.send(wire.ether(0x88b5, lab.random(50)))
        answered(lab, wire, 1, f'after {64 * (burst + 1)} frames for nobody')
    answered(lab, wire, RING, 'after the bursts')


TESTS = {'one-by-one': (3, one_by_one), 'in-bursts': (3, in_bursts)}


def EXPECTED(case):
    """What the self-test wants: from, to."""
    if case.startswith('reference'):
        return 10, 10
    return {'untouched-a': (0, 0), 'untouched-b': (0, 0), 'untouched-c': (0, 3)}.get(case, (0, 5))
