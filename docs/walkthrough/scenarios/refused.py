"""A client knocks at a port where nobody listens."""

from peer import ACK, RST, SYN

OPTIONS = dict(cpus=1, append='trace=all,-func,-pbuf_*,-frame,-tcp_timer,-irq_*')


def play(scene):
    client = scene.client(81)
    client.send(SYN, options=b'\2\4\5\xb4')
    client.expect(RST | ACK, 'a RST')
    scene.quiet()
