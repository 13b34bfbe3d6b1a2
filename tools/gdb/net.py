"""The network of a stopped guest: net-if, net-ring, net-pcbs, net-sockets, net-arp,
net-timers, $pcb(), $sock().  (Packets and their bytes: packet.py.)

Of the card's registers only those are read whose reading changes nothing: never ICR,
never a counter.  In a dump there are no registers, and the commands say so.
"""

import gdb

from common import (LIMIT, Command, Function, bits, chain, deref, ipv4, ipv4_host, is_kernel, mac, place, read, symbol, var,
                    warnings, whole)
from nettrace import page, ring_records, metadata
from proc import descriptors, now_tsc, processes, title

# Registers of the card that may be read; offsets are e1000_regs.h's.
REGISTERS = {'CTRL': 0x0, 'STATUS': 0x8, 'IMS': 0xd0, 'RCTL': 0x100, 'TCTL': 0x400, 'RDBAL': 0x2800, 'RDLEN': 0x2808,
             'RDH': 0x2810, 'RDT': 0x2818, 'TDBAL': 0x3800, 'TDLEN': 0x3808, 'TDH': 0x3810, 'TDT': 0x3818,
             'RAL': 0x5400, 'RAH': 0x5404}
BITS = {'CTRL': {1 << 6: 'SLU'}, 'STATUS': {1: 'FD', 2: 'LU', 0x40: 'SPEED_100', 0x80: 'SPEED_1000'},
        'IMS': {1: 'TXDW', 4: 'LSC', 0x10: 'RXDMT0', 0x40: 'RXO', 0x80: 'RXT0'},
        'RCTL': {2: 'EN', 0x8000: 'BAM', 1 << 26: 'SECRC'}, 'TCTL': {2: 'EN', 8: 'PSP'}}
STATUS_BITS = {1: 'DD', 2: 'EOP', 4: 'IXSM', 8: 'VP', 0x20: 'TCPCS', 0x40: 'IPCS', 0x80: 'PIF'}
COMMAND_BITS = {1: 'EOP', 2: 'IFCS', 8: 'RS'}
TCP = {'CLOSED': 'CLOSED', 'LISTEN': 'LISTEN', 'SYN_SENT': 'SYN-SENT', 'SYN_RCVD': 'SYN-RECEIVED',
       'ESTABLISHED': 'ESTABLISHED', 'FIN_WAIT_1': 'FIN-WAIT-1', 'FIN_WAIT_2': 'FIN-WAIT-2', 'CLOSE_WAIT': 'CLOSE-WAIT',
       'CLOSING': 'CLOSING', 'LAST_ACK': 'LAST-ACK', 'TIME_WAIT': 'TIME-WAIT'}
SLOW_MS = 500  # a tick of lwIP's slow TCP timer


# ---- cards ------------------------------------------------------------------

def cards():
    """(number, struct e1000) of each card the driver has taken."""
    table = whole(var('cards', 'e1000.c'))
    for nic in range(int(var('e1000_count'))):
        yield nic, table[nic]


def register(card, name):
    """A register by its name, None if there is no card behind the memory: a dump."""
    try:
        raw = gdb.selected_inferior().read_memory(int(card['regs']) + REGISTERS[name], 4)
    except gdb.MemoryError:
        return None
    return int.from_bytes(bytes(raw), 'little')


def registers(card):
    return {name: register(card, name) for name in REGISTERS}


def interface(nic):
    """The struct netif of a card, None as long as it has none."""
    netif = var('en', 'net.c')[nic]
    return deref(netif, f'en{nic}') if int(netif) else None


def free_buffers(trouble):
    """Receive buffers on the driver's list, counted by walking it."""
    seen, at = set(), int(var('rx_free', 'e1000.c'))
    while at and len(seen) <= LIMIT:
        if not is_kernel(at):
            trouble.append(f'free receive buffers: link {len(seen)} is not a kernel address: {at:#x}')
            break
        if at in seen:
            trouble.append(f'free receive buffers: the list loops at {at:#x}')
            break
        seen.add(at)
        at = int.from_bytes(read(at, 4), 'little')
    return len(seen)


class NetIf(Command):
    """net-if [--json]

The interfaces: address, link, the card's registers with their bits by name, frames,
receive buffers.  No register is read that changes by it (ICR, counters).

  net-if"""

    name = 'net-if'

    def rows(self, options):
        trouble = []
        for nic, card in cards():
            netif = interface(nic)
            known = registers(card)
            row = {'name': f'en{nic}', 'mac': mac(card['mac']), 'irq': int(card['irq']), 'link': int(card['link']),
                   'ip': ipv4(netif['ip_addr']['addr']) if netif else '*',
                   'mask': ipv4(netif['netmask']['addr']) if netif else '*',
                   'gateway': ipv4(netif['gw']['addr']) if netif else '*',
                   'interrupts': int(card['intr']), 'rx_frames': int(card['rx_cons']),
                   'tx_descriptors': int(card['tx_prod']), 'tx_full': int(card['tx_full']), 'registers': known}
            yield row
            if known['RAL'] is not None and known['RAL'] != int.from_bytes(bytes.fromhex(row['mac'].replace(':', ''))[:4],
                                                                          'little'):
                trouble.append(f'en{nic}: the card receives for another MAC: RAL = {known["RAL"]:#x}')
            if known['RCTL'] is not None and not known['RCTL'] & 2:
                trouble.append(f'en{nic}: the receiver is off: RCTL.EN = 0')
        if not int(var('e1000_count')):
            trouble.append('no card: the driver has not run yet, or found none')
        counted, found = int(var('rx_nfree', 'e1000.c')), free_buffers(trouble)
        yield {'rx_buffers': int(var('rx_total', 'e1000.c')), 'rx_free': counted, 'pbufs': int(var('net_pbufs'))}
        if found != counted and not trouble:
            trouble.append(f'{found} free receive buffers are on the list, {counted} are counted')
        yield from warnings(trouble)

    @staticmethod
    def line(row):
        if 'rx_buffers' in row:
            return f'receive buffers: {row["rx_buffers"]}, {row["rx_free"]} of them free; pbufs in use: {row["pbufs"]}'
        said = [f'{row["name"]}: {row["ip"]} mask {row["mask"]} gateway {row["gateway"]}',
                f'  MAC {row["mac"]}, IRQ {row["irq"]}, link {"up" if row["link"] else "down"}',
                f'  frames received: {row["rx_frames"]}, descriptors sent: {row["tx_descriptors"]}, '
                f'interrupts: {row["interrupts"]}' + ', the transmit ring was full' * row['tx_full']]
        for name, value in row['registers'].items():
            if value is None:
                return '\n'.join(said + ['  no registers: this is a dump, or there is no card'])
            more = bits(value, BITS[name]) if name in BITS else str(value) * name.endswith(('DH', 'DT', 'LEN'))
            said.append(f'  {name:<7}{value:#010x}  {more}'.rstrip())
        return '\n'.join(said)


# ---- rings ------------------------------------------------------------------

def slot_packets():
    """{slot: packet} the last e1000_rx of each receive slot named."""
    found = {}
    for event, pkt, fields in ring_records({'e1000_rx'}):
        found.setdefault(fields['slot'], pkt)
    return found


def between(index, head, tail, size):
    """Does the card own this descriptor: from head up to, without, tail?"""
    return (index - head) % size < (tail - head) % size


class NetRing(Command):
    """net-ring [rx|tx] [-n N] [--nic K] [--all] [--json]

The descriptors of a ring round the card's head and the driver's place: whose each is,
its buffer, length and bits, its packet.  -n: how many (default 16), --all: all.
Receive: the card fills from RDH up to, without, RDT; filled ones have DD until the
driver has looked.  Transmit: the card sends from TDH up to, without, TDT.

  net-ring rx
  net-ring tx -n 4"""

    name = 'net-ring'
    columns = [('', 'mark'), ('SLOT', 'slot'), ('OWNER', 'owner'), ('BUFFER', 'buffer'), ('LEN', 'len'),
               ('STATUS', 'status'), ('CMD', 'cmd'), ('ERR', 'errors'), ('PKT', 'pkt')]

    def arguments(self, parser):
        parser.add_argument('ring', nargs='?', choices=['rx', 'tx'], default='rx')
        parser.add_argument('-n', type=int, default=16)
        parser.add_argument('--nic', type=int, default=0)
        parser.add_argument('--all', action='store_true')

    def rows(self, options):
        card = dict(cards()).get(options.nic)
        if card is None:
            raise gdb.GdbError(f'net-ring: no card en{options.nic}')
        if not 1 <= options.n <= 4096:
            raise gdb.GdbError(f'net-ring: -n {options.n}: want a number from 1 to 4096')
        if not int(card[options.ring]):
            raise gdb.GdbError('net-ring: there is no ring yet: run to the end of e1000_init')
        make = self.receive if options.ring == 'rx' else self.transmit
        rows, summary, trouble, centre = make(card)
        count = len(rows) if options.all else min(options.n, len(rows))
        first = 0 if options.all else centre - count // 2
        for k in range(first, first + count):
            yield rows[k % len(rows)]
        yield summary
        yield from warnings(trouble)

    def table(self, rows):
        last = [row for row in rows if 'head' in row]
        super().table([row for row in rows if 'head' not in row])
        for row in last:
            print('  '.join(f'{name} {value}' for name, value in row['says'].items() if value is not None))

    @staticmethod
    def state(card, letter):
        """Head, tail and size: the card's registers, in a dump the driver's own."""
        head, tail = register(card, letter + 'DH'), register(card, letter + 'DT')
        kind = card['rx_cons' if letter == 'R' else 'tx_prod']
        size = len(list(range(card['rxbuf' if letter == 'R' else 'cookie'].type.range()[1] + 1)))
        if head is None:
            tail = (int(kind) - 1) % size if letter == 'R' else int(kind) % size
        return head, tail, size

    def receive(self, card):
        head, tail, size = self.state(card, 'R')
        cons = int(card['rx_cons']) % size
        ring = whole(card['rx'].dereference().cast(card['rx'].type.target().array(size - 1)))
        packets, rows = slot_packets(), []
        for i in range(size):
            desc = ring[i]
            status = int(desc['status'])
            card_has = between(i, head, tail, size) if head is not None else not status & 1
            rows.append({'mark': ' '.join(['RDH'] * (i == head) + ['RDT'] * (i == tail) + ['next'] * (i == cons)),
                         'slot': i, 'owner': 'card' if card_has else 'driver', 'buffer': f'{int(desc["addr"]):#x}',
                         'len': int(desc['len']) if status & 1 else None, 'status': bits(status, STATUS_BITS),
                         'errors': int(desc['errors']) or None, 'pkt': packets.get(i) if status & 1 or not card_has else None})
        done = sum(int(ring[i]['status']) & 1 for i in range(size))
        summary = {'head': head, 'says': {'RDH': head, 'RDT': tail, 'size': size,
                                          'filled, not yet looked at': done, 'next for the driver': cons}}
        return rows, {**summary, 'tail': tail, 'size': size, 'done': done, 'next': cons}, \
            self.receive_trouble(head, tail, size, done, rows), cons

    @staticmethod
    def receive_trouble(head, tail, size, done, rows):
        trouble = []
        if head is None:
            trouble.append('no registers in a dump: the tail is the driver\'s, the owner told by DD')
        elif head >= size or tail >= size:
            trouble.append(f'RDH = {head}, RDT = {tail}: outside the ring of {size}')
        elif head == tail:
            trouble.append('RDT = RDH: the card has no descriptor, it cannot receive')
        if done == size:
            trouble.append('DD is set in all descriptors: the driver does not look at them')
        trouble += [f'slot {row["slot"]}: DD, but a length of 0' for row in rows if row['len'] == 0]
        return trouble

    def transmit(self, card):
        head, tail, size = self.state(card, 'T')
        cons, prod = int(card['tx_cons']), int(card['tx_prod'])
        ring = whole(card['tx'].dereference().cast(card['tx'].type.target().array(size - 1)))
        rows = []
        for i in range(size):
            desc = ring[i]
            card_has = head is not None and between(i, head, tail, size)
            waits = between(i, cons % size, prod % size, size)
            used = int(desc['addr']) != 0
            rows.append({'mark': ' '.join(['TDH'] * (i == head) + ['TDT'] * (i == tail) + ['next'] * (i == cons % size)),
                         'slot': i, 'owner': 'card' if card_has else 'driver: reap' if waits else 'driver',
                         'buffer': f'{int(desc["addr"]):#x}' if used else None, 'len': int(desc['len']) if used else None,
                         'status': bits(int(desc['status']), {1: 'DD'}), 'cmd': bits(int(desc['cmd']), COMMAND_BITS),
                         'pkt': int(card['tx_pkt'][i]) or None})
        summary = {'head': head, 'says': {'TDH': head, 'TDT': tail, 'size': size,
                                          'not yet reaped': prod - cons, 'sent since boot': prod}}
        return rows, {**summary, 'tail': tail, 'size': size, 'prod': prod, 'cons': cons}, \
            self.transmit_trouble(head, tail, size, prod, cons, rows), prod % size

    @staticmethod
    def transmit_trouble(head, tail, size, prod, cons, rows):
        trouble = []
        if head is None:
            trouble.append('no registers in a dump: the tail is the driver\'s')
        elif head >= size or tail >= size:
            trouble.append(f'TDH = {head}, TDT = {tail}: outside the ring of {size}')
        elif tail != prod % size:
            trouble.append(f'TDT = {tail}, but the driver has filled up to {prod % size}: not told to the card')
        if prod - cons >= size:
            trouble.append(f'{prod - cons} descriptors in a ring of {size}: the driver overruns it')
        trouble += [f'slot {row["slot"]}: a length of 0' for row in rows
                    if row['len'] == 0 and row['owner'] != 'driver']
        return trouble


# ---- TCP --------------------------------------------------------------------

def pcbs(trouble):
    """(list's name, pcb) of every TCP control block."""
    listening = var('tcp_listen_pcbs')['listen_pcbs']
    for name, first in (('listen', listening), ('bound', var('tcp_bound_pcbs')), ('active', var('tcp_active_pcbs')),
                        ('time-wait', var('tcp_tw_pcbs'))):
        for pcb in chain(first, 'next', f'{name} pcbs', trouble):
            yield name, pcb


def tcp_state(value):
    """lwIP's name of a state as RFC 9293 spells it."""
    said = str(value)
    return TCP.get(said, said)


def sock_of(pcb):
    """Number of the socket a pcb belongs to, or will, or did; 0 if none."""
    place_ = int(pcb['ext_args'][int(var('ext', 'stream.c'))]['data'])
    if place_ & 1:
        return place_ >> 1
    if not is_kernel(place_):
        return 0
    return int(gdb.Value(place_).cast(gdb.lookup_type('struct sock').pointer())['id'])


def owners():
    """{address of a struct sock: ['pid/fd', ...]}, from the open files of all processes."""
    found = {}
    for proc in processes():
        for fd, file in descriptors(proc):
            if int(file['sock_id']):
                found.setdefault(int(file['sock']), []).append(f'{int(proc["pid"])}/{fd}')
    return found


def sockets():
    """Each struct sock in use."""
    table = whole(var('socks'))
    for i in range(table.type.range()[1] + 1):
        if int(table[i]['ops']):
            yield table[i]


def waiting(trouble):
    """Numbers of the sockets that wait for accept in some listener's queue."""
    return {int(child['id']) for sock in sockets() if int(sock['waiting'])
            for child in chain(sock['children'], 'next', f'queue of socket {int(sock["id"])}', trouble)}


def queue(first, what, trouble):
    """(segments, bytes) of a queue of a pcb."""
    lengths = [int(segment['len']) for segment in chain(first, 'next', what, trouble)]
    return len(lengths), sum(lengths)


def endpoint(ip, port):
    return f'{ipv4(ip)}:{port or "*"}'


class NetPcbs(Command):
    """net-pcbs [--state STATE] [--json]

The TCP control blocks of lwIP: addresses, state, socket and who has it open; below,
the sequence variables as RFC 9293 names them, windows, queues and the retransmission
timer.  Behind the socket's number who has it open, as PID/FD; nobody: its program has
closed it, or the connection is not made yet.

  net-pcbs
  net-pcbs --state SYN-RECEIVED"""

    name = 'net-pcbs'
    empty = 'no TCP control blocks'

    def arguments(self, parser):
        parser.add_argument('--state', type=str.upper)

    def rows(self, options):
        if options.state and options.state not in TCP.values():
            raise gdb.GdbError(f'net-pcbs: no state {options.state}; there are {" ".join(TCP.values())}')
        trouble = []
        open_files, queued = owners(), waiting(trouble)
        held = {int(sock['id']): open_files.get(int(sock.address), []) for sock in sockets()}
        for name, pcb in pcbs(trouble):
            row = {'pcb': int(pcb.address), 'list': name, 'state': tcp_state(pcb['state']),
                   'local': endpoint(pcb['local_ip']['addr'], int(pcb['local_port'])), 'remote': '*:*',
                   'sock': sock_of(pcb)}
            row['holders'] = held.get(row['sock'], [])
            row['queued'] = row['sock'] in queued
            row.update(self.listener(pcb) if name == 'listen' else self.connection(pcb, trouble))
            if options.state in (None, row['state']):
                yield row
        yield from warnings(trouble)

    @staticmethod
    def listener(pcb):
        return {'waiting': int(pcb['accepts_pending']), 'backlog': int(pcb['backlog'])}

    @staticmethod
    def connection(pcb, trouble):
        at = f'pcb {int(pcb.address):#x}'
        queues = {key: queue(pcb[key], f'{at}, {key}', trouble) for key in ('unsent', 'unacked', 'ooseq')}
        timer = int(pcb['rtime'])
        return {'remote': endpoint(pcb['remote_ip']['addr'], int(pcb['remote_port'])),
                'snd_una': int(pcb['lastack']), 'snd_nxt': int(pcb['snd_nxt']), 'snd_wnd': int(pcb['snd_wnd']),
                'snd_buf': int(pcb['snd_buf']), 'cwnd': int(pcb['cwnd']), 'ssthresh': int(pcb['ssthresh']),
                'rcv_nxt': int(pcb['rcv_nxt']), 'rcv_wnd': int(pcb['rcv_wnd']), 'mss': int(pcb['mss']),
                **{key: list(value) for key, value in queues.items()}, 'rto_ms': int(pcb['rto']) * SLOW_MS,
                'timer_ms': timer * SLOW_MS if timer >= 0 else None, 'nrtx': int(pcb['nrtx']),
                'dupacks': int(pcb['dupacks'])}

    @staticmethod
    def line(row):
        whose = ', '.join(row['holders']) or ('waits for accept' if row['queued'] else 'nobody')
        who = f'sock {row["sock"]} ({whose})' if row['sock'] else 'no socket'
        said = f'{row["state"]:<13}{row["local"]:<22}{row["remote"]:<22}{who}  pcb {row["pcb"]:#x}'
        if row['list'] == 'listen':
            return said + f'\n  {row["waiting"]} of {row["backlog"]} wait for accept'
        timer = 'off' if row['timer_ms'] is None else f'runs for {row["timer_ms"]} ms'
        return said + f'\n  SND.UNA {row["snd_una"]}  SND.NXT {row["snd_nxt"]}  SND.WND {row["snd_wnd"]}' \
            f'  cwnd {row["cwnd"]}  ssthresh {row["ssthresh"]}' \
            f'\n  RCV.NXT {row["rcv_nxt"]}  RCV.WND {row["rcv_wnd"]}  MSS {row["mss"]}' \
            f'\n  segments (bytes): unsent {NetPcbs.amount(row["unsent"])}, unacked {NetPcbs.amount(row["unacked"])}, ' \
            f'out of order {NetPcbs.amount(row["ooseq"])}' \
            f'\n  RTO {row["rto_ms"]} ms, its timer {timer}, {row["nrtx"]} retransmissions, {row["dupacks"]} duplicate ACKs'

    @staticmethod
    def amount(pair):
        return f'{pair[0]} ({pair[1]})' if pair[0] else '0'


class NetSockets(Command):
    """net-sockets [--json]

The sockets: number (the one in the trace), kind, addresses, state, bytes that wait to
be read, who has it open as PID/FD, the process that used it last; of a listener the
connections that wait for accept.

  net-sockets"""

    name = 'net-sockets'
    empty = 'no sockets'
    columns = [('SOCK', 'sock'), ('KIND', 'kind'), ('LOCAL', 'local'), ('REMOTE', 'remote'), ('STATE', 'state'),
               ('TCP', 'tcp'), ('RECV-Q', 'recvq'), ('WAITING', 'waiting'), ('HOLDERS', 'holders'), ('USED BY', 'user'),
               ('DROPS', 'drops')]

    def rows(self, options):
        held = owners()
        names = {int(proc['pid']): title(proc) for proc in processes()}
        trouble = []
        for sock in sockets():
            kind = symbol(int(sock['ops'])).replace('_ops', '').replace('stream', 'tcp')
            row = {'sock': int(sock['id']), 'kind': kind, 'at': place(sock.address),
                   'local': self.end(sock['laddr'], sock['lport']), 'remote': self.end(sock['raddr'], sock['rport']),
                   'state': metadata().show('SOCKSTATE', int(sock['state'])), 'tcp': None, 'recvq': int(sock['rx_len']),
                   'waiting': None, 'holders': ' '.join(held.get(int(sock.address), [])) or None,
                   'user': f'{int(sock["pid"])} {names.get(int(sock["pid"]), "(gone)")}' if int(sock['pid']) else None,
                   'drops': int(sock['drops']), 'pcb': int(sock['ip'])}
            if kind == 'tcp' and int(sock['pcb']):
                row['tcp'] = tcp_state(deref(sock['pcb'], f'pcb of socket {row["sock"]}')['state']) \
                    if is_kernel(sock['pcb']) else '?'
            if row['tcp'] == 'LISTEN':
                row['waiting'] = f'{int(sock["waiting"])} of {int(sock["backlog"])}'
            if row['tcp'] == '?':
                trouble.append(f'socket {row["sock"]}: its pcb is not a kernel address: {int(sock["pcb"]):#x}')
            yield row
        yield from warnings(trouble)

    @staticmethod
    def end(addr, port):
        return f'{ipv4_host(addr)}:{int(port) or "*"}'


# ---- neighbours, timers -----------------------------------------------------

class NetArp(Command):
    """net-arp [--json]

The neighbours lwIP knows or asks for: address, MAC, state, seconds in that state,
packets that wait for the answer.

  net-arp"""

    name = 'net-arp'
    empty = 'no neighbours'
    columns = [('ADDRESS', 'ip'), ('MAC', 'mac'), ('STATE', 'state'), ('AGE/s', 'age_s'), ('WAITING', 'waiting')]

    def rows(self, options):
        states = {field.enumval: field.name.replace('ETHARP_STATE_', '')
                  for field in gdb.lookup_type('enum etharp_state').fields()}
        table, trouble = whole(var('arp_table', 'etharp.c')), []
        for i in range(table.type.range()[1] + 1):
            entry = table[i]
            state = states.get(int(entry['state']), str(int(entry['state'])))
            if state == 'EMPTY':
                continue
            waiting = sum(1 for _ in chain(entry['q'], 'next', f'packets for {ipv4(entry["ipaddr"]["addr"])}', trouble))
            yield {'ip': ipv4(entry['ipaddr']['addr']), 'mac': None if state == 'PENDING' else mac(entry['ethaddr']['addr']),
                   'state': state, 'age_s': int(entry['ctime']), 'waiting': waiting}
        yield from warnings(trouble)


def now_ms():
    """lwIP's clock at the last timer tick, None if the TSC is not measured yet."""
    header = page()['hdr']
    khz = int(header['tsc_khz'])
    return now_tsc() // khz & 0xffffffff if khz and now_tsc() else None


class NetTimers(Command):
    """net-timers [--json]

What lwIP has to do and when, in milliseconds from the last timer tick (10 ms) on; the
retransmission timers of connections are tcp_tmr's, net-pcbs shows them.

  net-timers"""

    name = 'net-timers'
    empty = 'no timers'
    columns = [('DUE IN/ms', 'due_ms'), ('HANDLER', 'handler'), ('EVERY/ms', 'every_ms')]

    def rows(self, options):
        trouble, now = [], now_ms()
        for timer in chain(var('next_timeout', 'timeouts.c'), 'next', 'timers', trouble):
            due = None if now is None else (int(timer['time']) - now + (1 << 31)) % (1 << 32) - (1 << 31)
            handler, every = symbol(int(timer['h'])), None
            if handler == 'lwip_cyclic_timer' and is_kernel(timer['arg']):
                cyclic = timer['arg'].cast(gdb.lookup_type('struct lwip_cyclic_timer').pointer())
                handler, every = symbol(int(cyclic['handler'])), int(cyclic['interval_ms'])
            yield {'due_ms': due, 'handler': handler, 'every_ms': every}
        yield from warnings(trouble)


class PcbFunction(Function):
    """$pcb(LOCAL PORT): the first connection of that port as a struct tcp_pcb *, 0 if none.

  print $pcb(80)->state"""

    name = 'pcb'

    def value(self, port):
        found = [pcb for name, pcb in pcbs([]) if name in ('active', 'time-wait') and int(pcb['local_port']) == port]
        return gdb.Value(int(found[0].address) if found else 0).cast(gdb.lookup_type('struct tcp_pcb').pointer())


class SockFunction(Function):
    """$sock(PID, FD): the socket of a descriptor as a struct sock *, 0 if it is none.

  print *$sock(4, 3)"""

    name = 'sock'

    def value(self, pid, fd):
        found = [file['sock'] for proc in processes() if int(proc['pid']) == pid
                 for have, file in descriptors(proc) if have == fd and int(file['sock_id'])]
        return found[0] if found else gdb.Value(0).cast(gdb.lookup_type('struct sock').pointer())


for kind in (NetIf, NetRing, NetPcbs, NetSockets, NetArp, NetTimers, PcbFunction, SockFunction):
    kind()
