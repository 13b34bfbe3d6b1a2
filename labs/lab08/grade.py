"""Lab 8: the card's own address, frames for others, neighbours that move."""

import os
import random

from peer import ACK, BROADCAST, PSH, Flow, addr, mac

TITLE = 'Whose frame is it? MAC and ARP'
FILES = ['kernel/net/e1000.c', 'kernel/net/e1000_regs.h', 'kernel/net/ethif.c']
DIAGNOSIS = 4


def station():
    """A random address such as a host has."""
    return b'\2' + os.urandom(5)


def boot(lab):
    """A guest whose card has an address that nobody knew before."""
    own = b'\x52\x54\0' + os.urandom(3)
    wire = lab.boot(extra=('-M', own.hex(':')))
    wire.guest_mac = own
    return wire


def become(wire, ip, at):
    """From here on we are the host ip, with this MAC; announced to nobody."""
    wire.ip, wire.mac = addr(ip), at


def ping(lab, wire, k, what):
    """A ping to the card's address, answered to where it came from."""
    data = lab.random(32)
    wire.send(wire.echo(k, data))
    p = wire.find(lambda p: p.icmp and p.icmp.type == 0, 10)
    lab.need(p is not None, f'{what}: an answer to a ping', 'silence')
    lab.need(p.icmp.ident != 99, f'{what}: no answer to a ping for somebody else', 'one')  # 99: see others
    lab.need((p.icmp.seq, p.data) == (k, data), f'{what}: the answer to ping {k}', p)
    lab.need(p.dst == wire.mac, f'{what}: the answer to {wire.mac.hex(":")}', f'to {p.dst.hex(":")}')
    lab.need(p.src == wire.guest_mac, f'{what}: an answer from {wire.guest_mac.hex(":")}, the card\'s address',
             f'from {p.src.hex(":")}')


def address(lab):
    """Whoever asks for the guest's address gets the card's; nobody gets one for another's."""
    wire = boot(lab)
    for k in range(20):
        become(wire, f'10.9.0.{100 + k}', station())
        wire.send(wire.arp_packet(1, addr(f'10.9.0.{10 + k}')))  # somebody else
        wire.send(wire.arp_packet(1, wire.guest))
        p = wire.find(lambda p: p.arp and p.arp.op == 2, 10)
        lab.need(p is not None, 'an answer to who has 10.9.0.2', 'silence')
        lab.need((p.arp.spa, p.arp.tpa, p.dst) == (wire.guest, wire.ip, wire.mac), 'an answer to who asked', p)
        lab.need(p.arp.sha == p.src == wire.guest_mac, f'10.9.0.2 is at {wire.guest_mac.hex(":")}, the card\'s address',
                 f'at {p.arp.sha.hex(":")}, says {p.src.hex(":")}')
    ping(lab, wire, 1, 'after ARP')
    strange = [p for p in wire.capture() if p.src != wire.guest_mac and p.src[:3] == b'\x52\x54\0']
    lab.need(not strange, f'no frame but from {wire.guest_mac.hex(":")}', strange[:1])


def moves(lab):
    """Two hosts on the wire; one gets another card and says so: what is for it goes there."""
    wire, first, second = boot(lab), station(), station()
    wire.vm.cmd('udpecho -t 7 &')
    become(wire, '10.9.0.3', second)
    port = random.randrange(20000, 60000)
    flow = Flow(wire, port, 7).open()
    for k in range(6):
        become(wire, '10.9.0.1', first)
        ping(lab, wire, 2 * k, 'the first host')
        become(wire, '10.9.0.3', second)
        ping(lab, wire, 2 * k + 1, 'the second host')
        old, second = second, station()
        become(wire, '10.9.0.3', second)
        op = 1 + k % 2  # an announcement may be a question or an answer
        wire.send(wire.arp_packet(op, wire.ip, tha=second if op == 2 else bytes(6), dst=BROADCAST))
        data = lab.random(random.randrange(1, 1000))
        flow.send(PSH | ACK, data)
        p = wire.find(lambda p: flow.mine(p) and p.data, 10)
        lab.need(p is not None, 'an answer on the connection after the move', 'silence')
        lab.need(p.dst == second, f'it goes to {second.hex(":")}, as announced',
                 'it goes to the old address' if p.dst == old else f'it goes to {p.dst.hex(":")}')
        lab.need(p.data == data, 'the bytes that were sent', p)
        flow.ack = (p.tcp.seq + len(p.data)) % 2**32
        flow.send(ACK)


def others(lab):
    """Frames for other stations and groups: the card throws them away; what is for the guest comes."""
    wire = boot(lab)
    wire.vm.cmd('udpecho 7 &')
    own = wire.guest_mac
    near = [own[:k] + bytes([own[k] ^ 2 << random.randrange(7)]) + own[k + 1:] for k in range(6)]
    swapped = bytes(own[k ^ 1] for k in range(6))
    foreign = near + [swapped, own[::-1], bytes(6), station(), mac('01:00:5e:00:00:01'), mac('33:33:00:00:00:01')]
    random.shuffle(foreign)
    for k, to in enumerate(foreign):
        for _ in range(3):
            wire.send(wire.echo(k, lab.random(40), ident=99, to=to))
            wire.send(wire.udp(6000 + k, 7, lab.random(40), to=to))
            wire.send(wire.arp_packet(1, wire.guest, spa=addr('10.9.0.99'), dst=to))
        ping(lab, wire, k, 'between frames for others')
    wire.send(wire.arp_packet(1, wire.guest))
    lab.need(wire.find(lambda p: p.arp and p.arp.op == 2, 10), 'an answer to a broadcast', 'silence')
    answers = [p for p in wire.capture() if p.src == own and
               (p.icmp and p.icmp.ident == 99 or p.udp or p.arp and p.arp.tpa == addr('10.9.0.99'))]
    lab.need(not answers, 'no answer to a frame for somebody else', answers[:1])
    wire.ping(999)
    ours = [p for p in wire.capture() if p.src == wire.mac and p.dst in (own, BROADCAST)]
    came = [e['dst'] for e in wire.vm.events('ethif_rx')]
    strange = sorted(set(came) - {own.hex(':'), BROADCAST.hex(':')})
    lab.need(not strange, f'ethif_rx only of frames for {own.hex(":")} and for all', f'some for {strange[:1]}')
    got = len(wire.vm.events('e1000_rx'))
    lab.need(got == len(came) == len(ours), f'{len(ours)} frames past the card: those in the capture for it and for all',
             f'{got} e1000_rx, {len(came)} ethif_rx')


TESTS = {'address': (1, address), 'moves': (2, moves), 'others': (3, others)}


def EXPECTED(case):
    """What the self-test wants: from, to.  A card that hears everything hears what is for it."""
    if case.startswith('reference'):
        return 10, 10
    return {'untouched-a': (0, 0), 'untouched-b': (3, 3), 'untouched-c': (0, 0)}.get(case, (0, 5))
