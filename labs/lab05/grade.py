"""Lab 5: what leaves is what was written, byte for byte, whatever the number of pieces."""

import os

from peer import ACK, PSH, Flow

TITLE = 'Half a frame: pieces on the transmit ring'
FILES = ['kernel/net/e1000.c', 'kernel/net/ethif.c']
DIAGNOSIS = 4
HERE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def udp_sizes(lab):
    """Datagrams of many sizes come back from udpecho as they went."""
    wire = lab.boot()
    wire.vm.cmd('udpecho 7 &')
    sizes = [0, 1, 2, 17, 18, 19, 63, 64, 511, 1024, 1470, 1471, 1472] + [n * 97 % 1473 for n in range(1, 40)]
    for k, size in enumerate(sizes):
        data = lab.random(size)
        wire.send(wire.udp(5000 + k, 7, data))
        answer = wire.find(lambda p: p.udp and p.udp.dport == 5000 + k, 10)
        lab.need(answer is not None, f'an echo of {size} bytes', 'none in 10 s')
        lab.need(answer.data == data, f'the {size} bytes that were sent', f'{len(answer.data)} others')


def tcp_page(lab):
    """The web server's page is the file; as many frames leave as the driver says."""
    wire = lab.boot()
    for k in range(3):
        flow = Flow(wire, 40000 + k, 80).open()
        flow.send(PSH | ACK, b'GET / HTTP/1.0\r\nHost: guest\r\n\r\n')
        head, _, body = flow.all_data().partition(b'\r\n\r\n')
        with open(os.path.join(HERE, 'user', 'fs', 'index.html'), 'rb') as f:
            page = f.read()
        lab.need(b' 200 ' in head.split(b'\r\n')[0], 'status 200', head[:80])
        lab.need(body == page, f'the {len(page)} bytes of index.html', f'{len(body)} bytes, not the same')
    sent = [p for p in wire.capture() if p.src == wire.guest_mac]
    events = wire.vm.events('e1000_tx')
    lab.need(len(sent) == len(events), 'a frame in the capture for each e1000_tx',
             f'{len(sent)} frames, {len(events)} events')


TESTS = {'udp-sizes': (3, udp_sizes), 'tcp-page': (3, tcp_page)}


def EXPECTED(case):
    """What the self-test wants: from, to."""
    if case.startswith('reference'):
        return 10, 10
    return (0, 0) if case.startswith('untouched') else (0, 5)
