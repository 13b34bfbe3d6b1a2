"""Descriptors go back to the card with "done" still set: after one round of the ring, frames that never came."""

LADDER = '--only e1000_rx,e1000_refill,icmp_in,icmp_out --all --from 1.0'
LINES = 24
LOOK = 'rows `rx slot` without a frame beside them on the wire: the driver reads what its own ring says, 256 frames later ' \
       '(net-ring rx in gdb: DD everywhere).'
GOOD = 'count(e1000_rx) < 310; count(icmp_out) == 301; joined == 100%'
FAULT = 'count(e1000_rx) > 400'
OPTIONS = dict(append='trace=e1000_*,icmp_*,clock_sync')


def play(stage):
    for _ in range(300):
        stage.ping()
