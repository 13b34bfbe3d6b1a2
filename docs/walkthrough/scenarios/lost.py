"""The SYN,ACK is lost on its way: the same handshake, three seconds late."""

from peer import ACK, SYN

OPTIONS = dict(cpus=1, append='trace=all,-func,-pbuf_*,-frame,-irq_*')


def play(scene):
    client = scene.client(80)
    client.send(SYN, options=b'\2\4\5\xb4')
    client.expect(SYN | ACK, 'a SYN,ACK that we pretend not to see')
    client.expect(SYN | ACK, 'the same once more')
    client.send(ACK)
    scene.until('sock_state to=CONNECTED')
    scene.quiet()
