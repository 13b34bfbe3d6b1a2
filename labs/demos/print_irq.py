"""The interrupt handler prints six lines a frame."""

LADDER = '--only e1000_intr,e1000_rx,icmp_in,icmp_out --all --from 1.0'
LINES = 40
LOOK = 'from the interrupt to `rx slot` the CPU does nothing but push letters through the serial line, with interrupts off ' \
       '(nettrace dump --only irq_exit: dur_us).'
GOOD = 'median(irq_exit, irq==11, dur_us) < 200; count(icmp_out) == 21'
FAULT = 'median(irq_exit, irq==11, dur_us) > 300; count(icmp_out) == 21'


def play(stage):
    for _ in range(20):
        stage.ping()
