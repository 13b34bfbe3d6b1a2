"""The stack runs only when a frame comes in: the page leaves when the client asks again."""

from peer import ACK, PSH

LADDER = '--only e1000_rx,e1000_tx,tcp_seg_*,sock_tx,sock_read,net_drop'
LOOK = 'between `send` in the socket\'s lane and `tx slot` in the driver\'s lie seconds; what ends them is a frame of the client.'
GOOD = 'count(pkt_end, fate==STACK, life_us>1000000) == 0; count(sock_tx) == 1'
FAULT = 'count(pkt_end, fate==STACK, life_us>1000000) == 1; count(tcp_seg_in, lport==80, len>0) >= 2'
GET = b'GET / HTTP/1.1\r\nHost: guest\r\n\r\n'


def play(stage):
    client = stage.get()
    stage.until('sock_tx')
    for _ in range(10):
        got = stage.wire.find(client.mine, 3)
        if got and got.data:  # an ACK alone may come first
            return
        if not got:  # a client sends again what nobody acknowledged
            client.send(PSH | ACK, GET, seq=client.seq - len(GET))
