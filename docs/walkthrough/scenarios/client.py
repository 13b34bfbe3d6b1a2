"""The guest is the client: fetch opens a connection to a server of ours."""

from peer import ACK, FIN, PSH, Flow

OPTIONS = dict(cpus=1, append='trace=all,-func,-pbuf_*,-frame,-tcp_timer,-irq_*')
ANSWER = b'HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n'


def play(scene):
    scene.vm.send('fetch http://10.9.0.1:8000/\n')
    server = Flow(scene.wire, 8000, 0, scene.rng.randrange(1 << 30, 1 << 32)).accept()
    request = server.expect(ACK, 'the request')
    assert request.data.startswith(b'GET / ')
    server.send(PSH | ACK | FIN, ANSWER)
    server.expect(ACK, 'the ACK of our FIN')
    server.expect(FIN | ACK, 'the FIN')
    server.send(ACK)
    scene.quiet()
