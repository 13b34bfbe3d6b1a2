"""RCTL is written again when the link comes up: a second of silence."""

LADDER = '--only e1000_link,e1000_intr,e1000_rx,icmp_* --all --from 1.0'
LOOK = 'the ping is on the wire, and its `rx slot` comes a second later: the card (QEMU\'s) holds reception back after each ' \
       'write to RCTL.'
GOOD = 'count(e1000_link, up==1) == 2; late(500) <= 1'
FAULT = 'count(e1000_link, up==1) == 2; late(500) == 2'


def play(stage):
    stage.wire.monitor('set_link n0 off')
    stage.seen('e1000_link', up=0)
    stage.wire.monitor('set_link n0 on')
    stage.seen('e1000_link', 2, up=1)
    stage.ping()
