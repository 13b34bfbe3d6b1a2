"""One bit of the request is wrong on the wire; then it comes again, whole."""

from peer import ACK, PSH

OPTIONS = dict(cpus=1, append='trace=all,-func,-pbuf_*,-frame,-tcp_timer,-irq_*')
REQUEST = b'GET / HTTP/1.0\r\nHost: guest\r\n\r\n'


def play(scene):
    client = scene.client(80)
    client.open()
    client.send(PSH | ACK, REQUEST, seq=client.seq, csum=0x1234)
    scene.until('net_drop reason=TCP_CSUM')
    client.send(PSH | ACK, REQUEST)
    client.all_data()
    scene.quiet()
