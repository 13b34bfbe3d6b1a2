"""A FIN is answered with FIN,ACK: two such machines never stop."""

from peer import ACK, FIN, PSH

LADDER = '--only tcp_seg_in,tcp_seg_out,tcp_state --flow 10.9.0.2:80-10.9.0.1:40080'
LINES = 40
LOOK = 'from TIME-WAIT on the ladder has a period of two rows, FIN,ACK in and FIN,ACK out, with the same numbers each time ' \
       '(stopped after 1,000 rounds: the other machine, with the same fault, is played by the peer).'
GOOD = 'count(tcp_seg_out, flags==FIN+ACK) == 0; count(tcp_seg_in, flags==FIN+ACK) == 1; lost == 0'
FAULT = 'count(tcp_seg_out, flags==FIN+ACK) >= 990; count(tcp_seg_in, flags==FIN+ACK) >= 990; lost == 0'
ROUNDS = 1000  # 2,000 frames


def play(stage):
    client = stage.client()
    client.send(PSH | ACK, b'GET / HTTP/1.0\r\n\r\n')
    client.all_data()
    client.send(FIN | ACK)
    for _ in range(ROUNDS):
        if not stage.wire.expect(client.mine, 'an answer to the FIN', stage.patience).tcp.flags & FIN:
            return  # an ACK: nothing to say to it
        client.send(FIN | ACK, seq=client.seq)
