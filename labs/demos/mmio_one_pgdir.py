"""The card's registers are mapped for the kernel's own page directory, not for processes'."""

LADDER = '--only e1000_intr,e1000_rx,icmp_* --all --from 0.5'
LOOK = 'pings are answered while nothing runs, for then the kernel\'s own page directory is loaded; the first interrupt while ' \
       '`spin` runs reads a register (ICR, 0xc0) that is not mapped there. addr and eip are on the console.'
GOOD = 'count(icmp_out) >= 3'
FAULT = 'count(icmp_out) == 2; console(spin: fault in the kernel); console(cr2 0xfebc00c0)'


def play(stage):
    stage.ping()
    stage.vm.send('spin\n')
    stage.seen('switch', name='spin')
    stage.ping()
