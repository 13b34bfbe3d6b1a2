"""One client, one page: ARP, handshake, request, answer, and the four segments of a close.

The client is played by hand, a frame at a time, and sends its next one only when the
guest is done with the one before: two runs tell the same story."""

from peer import ACK, FIN, PSH

OPTIONS = dict(cpus=1, append='trace=all,-func,-pbuf_*,-frame,-tcp_timer,-irq_*')
REQUEST = b'GET / HTTP/1.0\r\nHost: guest\r\n\r\n'


def play(scene):
    client = scene.client(80)
    client.open()
    client.send(PSH | ACK, REQUEST)
    client.all_data()
    client.send(FIN | ACK)
    client.expect(ACK, 'the ACK of our FIN')
    scene.until('tcp_state to=TIME_WAIT')
    scene.quiet()
