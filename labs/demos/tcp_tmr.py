"""The time of the last activity is not renewed at a close: TIME-WAIT ends at once."""

import time

from peer import ACK, FIN, Flow
from vm import Failed

OPTIONS = dict(append='msl=3000')
LADDER = '--only tcp_seg_in,tcp_seg_out,tcp_state'
LOOK = 'TIME-WAIT should last two MSL (here 6 s) to answer a FIN that comes again; here the timer counts from the last data, ' \
       '8 s ago: CLOSED within half a second, and the FIN gets a RST.'
GOOD = 'count(tcp_state, to==TIME_WAIT) == 1; count(tcp_state, from==TIME_WAIT) == 0; count(tcp_seg_out, flags==RST+ACK) == 0'
FAULT = 'count(tcp_state, from==TIME_WAIT, to==CLOSED, dwell_us<1000000) == 1; count(tcp_seg_out, flags==RST+ACK) == 1'
IDLE = 8


def play(stage):
    stage.vm.send('nc 10.9.0.1 4000\n')
    server = Flow(stage.wire, 4000, 0, 5000).accept()
    time.sleep(IDLE)  # the subject: a connection that says nothing for longer than two MSL
    stage.vm.key('\x03')
    stage.answer(server, 'the FIN')
    server.send(ACK)
    stage.until('tcp_state to=FIN_WAIT_2')
    server.send(FIN | ACK)
    stage.answer(server, 'the ACK of our FIN')
    try:
        stage.until('tcp_state from=TIME_WAIT', 1)
    except Failed:
        pass  # as it should be
    server.send(FIN | ACK, seq=server.seq - 1)
    stage.answer(server, 'an answer to the same FIN')
