"""A process sleeps with a spinlock held: fine until the send queue is full."""

from peer import ACK

LADDER = '--only sock_tx,tcp_seg_out,sleep --flow 10.9.0.2:5010-10.9.0.1:45010'
LINES = 40
LOOK = 'the last row: the queue is full, the writer must wait, and the scheduler sees the lock (the console\'s backtrace: ' \
       'stream_write, sock_wait, sleep, sched).'
GOOD = 'count(sock_tx) >= 3'
FAULT = 'console(holds a spinlock besides ptable.lock); console(stream_write)'


def play(stage):
    stage.vm.send('ttcp -t -l -q -n 1\n')
    stage.until('tcp_state to=LISTEN lport=5010')
    client = stage.client(5010)
    stage.until('sock_tx')
    for _ in range(100):
        stage.answer(client, 'more data')
        client.send(ACK)
