"""The receiver never says that it has read: its window closes and stays closed."""

from peer import ACK, PSH

LADDER = '--only tcp_seg_in,tcp_seg_out,sock_rx,sock_read --flow 10.9.0.2:5010-10.9.0.1:45010'
LINES = 40
LOOK = '`read` empties the queue each time, yet the windows of the segments out only shrink (nettrace dump --only ' \
       'tcp_seg_out: wnd), down to 0; no segment opens it again.'
GOOD = 'count(tcp_seg_in, lport==5010, len==1460) == 60'
FAULT = 'count(tcp_seg_out, lport==5010, wnd==0) >= 1; count(tcp_seg_in, lport==5010, len==1460) < 60; count(sock_read) >= 44'


def play(stage):
    stage.vm.send('ttcp -r -l -q\n')
    stage.until('tcp_state to=LISTEN lport=5010')
    client = stage.client(5010)
    window = 65535
    for _ in range(30):
        if window < 2 * 1460:  # what a correct sender does: it waits for an update
            window = stage.answer(client, 'a segment that opens the window').tcp.wnd
        client.send(ACK, bytes(1460))
        client.send(PSH | ACK, bytes(1460))  # lwIP acknowledges every second one at once
        seen = stage.answer(client, 'an ACK')
        while seen.tcp.ack != client.seq:
            seen = stage.answer(client, 'the ACK of it all')
        window = seen.tcp.wnd
