"""Of a frame in several pieces only the first is sent."""

LADDER = '--only e1000_tx,ethif_tx,ip_frag,udp_* --all --from 1.0'
LOOK = 'a datagram of 2,000 bytes comes back in two fragments, and on the wire each is headers alone: e1000_tx has another ' \
       'len than ethif_tx (nettrace dump --only ethif_tx,e1000_tx).'
GOOD = 'count(ethif_tx, len==1514) == 1; count(e1000_tx, len==1514) == 1'
FAULT = 'count(ethif_tx, len==1514) == 1; count(e1000_tx, len==1514) == 0; count(e1000_tx, len==34) == 2'


def play(stage):
    stage.vm.cmd('udpecho 7 &')
    whole = stage.wire.udp(5000, 7, bytes(range(250)) * 8)[34:]
    for at in (0, 1480):
        stage.wire.send(stage.wire.ipv4(17, whole[at:at + 1480], ident=77, frag=(0x2000 if at == 0 else 0) | at // 8))
    for part in ('first', 'second'):
        stage.wire.expect(lambda p: p.ip and p.ip.proto == 17, f'the {part} fragment of the answer', stage.patience)
