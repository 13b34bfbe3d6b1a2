"""Lab 14: a process that computes delays no answer, and ends none; and it gets on itself."""

import collections
import statistics

from peer import ACK, PSH, Flow

TITLE = 'It works until somebody computes: whose page tables, whose CPU?'
FILES = ['kernel/vm.c', 'kernel/proc.c', 'kernel/trap.c']
DIAGNOSIS = 4
IRQ_TIMER = 0
ROUNDS = 20
TICKS = 1  # of the clock between a frame and its answer


def pings(lab, wire):
    for k in range(ROUNDS):
        data = lab.random(40 + 50 * k)
        wire.send(wire.echo(k, data))
        lab.need(wire.find(lambda p: p.icmp and p.data == data, 10), f'ping {k} answered', 'silence for 10 s')


def processes(lab, wire):
    """Datagrams of udpecho's, a page of httpd's."""
    for k in range(ROUNDS):
        data = lab.random(40 + 50 * k)
        wire.send(wire.udp(5000 + k, 7, data))
        lab.need(wire.find(lambda p: p.udp and p.udp.dport == 5000 + k and p.data == data, 10), f'datagram {k} echoed', 'silence for 10 s')
    flow = Flow(wire, 40000, 80).open()
    flow.send(PSH | ACK, b'GET / HTTP/1.0\r\nHost: guest\r\n\r\n')
    lab.need(b'<html' in flow.all_data(), 'the page', 'something else')


def is_tick(row):
    return row['event'] == 'irq_entry' and row['irq'] == IRQ_TIMER


def computers(rows):
    """Who computes: the processes that five ticks or more have found on a CPU."""
    found = collections.Counter(row['pid'] for row in rows if is_tick(row) and row['pid'])
    return sorted(pid for pid, n in found.items() if n >= 5)


def ticks_waited(rows):
    """For each answer that udpecho gave: ticks of the clock, on the card's CPU, since its interrupt."""
    waited, ticks, irq, come = [], 0, 0, {}
    for row in rows:
        if is_tick(row) and row['cpu'] == 0:
            ticks += 1
        elif row['event'] == 'e1000_intr':
            irq = ticks
        elif row['event'] == 'udp_in' and row['lport'] == 7:
            come[row['rport']] = irq
        elif row['event'] == 'udp_out' and row['lport'] == 7:
            waited.append(ticks - come[row['rport']])
    return waited


def idle(lab):
    pings(lab, lab.boot(cpus=1))


def computing(lab, cpus, hogs):
    wire = lab.boot('trace=all,-func,-pbuf_*,-frame,-sys_*,-sleep,-wakeup', cpus=cpus)
    wire.vm.cmd('udpecho 7 &')
    wire.vm.send('spin & ' * hogs + '\n')
    wire.vm._until(lambda: computers(wire.vm.events()), 'a process computes')
    pings(lab, wire)
    processes(lab, wire)
    rows = wire.vm.events()
    waited, found = ticks_waited(rows), computers(rows)
    lab.need(len(waited) == ROUNDS and statistics.median(waited) <= TICKS, f'half of the answers before tick {TICKS + 1}', waited)
    lab.need(statistics.mean(waited) <= 3 * TICKS, f'{3 * TICKS} ticks an answer, on average', waited)
    lab.need(len(found) >= hogs, f'{hogs} processes that get on with computing', f'ticks of the clock find {found}')


TESTS = {'idle': (1, idle),
         'one-computes': (3, lambda lab: computing(lab, 1, 1)),
         'three-compute': (2, lambda lab: computing(lab, 2, 3))}


def EXPECTED(case):
    """What the self-test wants: from, to."""
    if case.startswith('reference'):
        return 10, 10
    return (1, 1) if case.startswith('untouched') else (0, 1) if case.startswith('cheat') else (0, 5)
