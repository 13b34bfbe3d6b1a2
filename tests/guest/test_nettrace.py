"""nettrace, the guest's program: what it prints is compared with what the host's tool and our
own reader (tests/lib/evidence.py) make of the same ring.
"""

import json
import os
import re
import socket
import subprocess
from decimal import Decimal
from urllib.request import urlopen

import pytest

from evidence import Ring, Trace
from vm import BUILD, CAP, NETTRACE, VM, run_line

TESTS = ('-i', os.path.join(BUILD, 'tests.img'))
READY = ('ip', 'e1000_rx', 'tcp_state to=LISTEN')
ROW = re.compile(r'^ *(\d+\.\d{3}) +(\d+\.\d{3})  ([(\w)]*) +([a-z]\w+) ?(.*)$', re.M)


def one_request(vm):
    """A request on a connection that httpd has accepted and sleeps in poll for."""
    with socket.create_connection(('127.0.0.1', vm.port(80)), CAP) as client:
        vm.wait_event('sock_accept')
        vm._until(lambda: vm.events('switch')[-1]['next'] == 0, 'nobody runs any more')
        client.sendall(b'GET /rc HTTP/1.0\r\n\r\n')
        while client.recv(65536):
            pass
    vm.wait_event('sock_state to=CLOSED')


@pytest.fixture(scope='module')
def guest():
    """One guest for all that only looks; its ring stands still."""
    with VM(cpus=2, mb=64, append='trace=all,-func', extra=TESTS, wait=READY, name='nettrace') as vm:
        one_request(vm)
        vm.cmd('nettrace stop')
        yield vm


def ring(vm):
    return Ring(os.path.join(vm.dir, 'ram'))


def records(vm):
    return ring(vm).records()


# ---- why ----------------------------------------------------------------------

def journey(text, pkt):
    """The rows of why: [(time, gap, part, event, fields)]; all sums come out, exactly, at
    the packet's end: what is told of it later took none of its time."""
    head, *_ = text.split('\n', 1)
    assert head == f'packet #{pkt}'
    rows = [(Decimal(t), Decimal(gap), *rest) for t, gap, *rest in ROW.findall(text)]
    end = next(i for i, row in enumerate(rows) if row[2] == 'sum')
    (total, gaps, *_), over, rows = rows[end], rows[end + 1:], rows[:end]
    assert 'pkt_end' not in [row[3] for row in rows[:-1] + over]
    assert [row[1:3] for row in over] == [(row[0] - total, '(over)') for row in over]
    assert re.search(r'sum of the gaps$', text, re.M)
    assert rows[0][:3] == (0, 0, '') and all(row[2] for row in rows[1:])
    assert [sum(row[1] for row in rows[:k + 1]) for k in range(len(rows))] == [row[0] for row in rows]
    assert total == gaps == rows[-1][0]
    spent = dict(re.findall(r' (\w+) (\d+\.\d{3})', re.search(r'^spent in:(.*)$', text, re.M).group(1)))
    assert sum(map(Decimal, spent.values())) == total
    for part, value in spent.items():
        assert Decimal(value) == sum(row[1] for row in rows if row[2] == part), part
    return rows + over


def test_why_a_request(guest):
    """From the interrupt to the process: our reader's records of the packet, at their times
    to the nanosecond, and those of the interrupt and the two switches before and behind."""
    seen, khz = records(guest), ring(guest).header['tsc_khz']
    read = next(row for row in seen if row['event'] == 'sock_read')
    pkt = read['pkt']
    rows = journey(guest.cmd(f'nettrace why {pkt}'), pkt)
    names = [row[3] for row in rows]
    path = ['e1000_intr', 'wakeup', 'switch', 'e1000_rx', 'ethif_rx', 'ip_in', 'tcp_seg_in', 'sock_rx', 'wakeup', 'switch',
            'sock_read', 'pkt_end', 'sys_exit']
    assert [name for name in names if name in path] == path
    assert [part for _, _, part, event, _ in rows if event in path][1:] == \
        ['irq', 'scheduler', 'ring', 'driver', 'queue', 'ip', 'tcp', 'socket', 'scheduler', 'application', 'application', '(over)']

    born = next(i for i, row in enumerate(seen) if row['pkt'] == pkt)
    woken = next(row for row in seen if row['event'] == 'wakeup' and row['pkt'] == pkt)

    def last(event, before, **fields):
        return [row for row in seen[:before] if row['event'] == event and
                all(row['fields'][key] == value for key, value in fields.items())][-1]
    netd = next(row['fields']['who'] for row in reversed(seen[:born]) if row['event'] == 'wakeup')
    back = next(row for row in seen[seen.index(woken):] if row['event'] == 'switch' and row['fields']['next'] == read['pid'])
    want = [last('e1000_intr', born), last('wakeup', born, who=netd), last('switch', born, next=netd), back]
    want = sorted(want + [row for row in seen if row['pkt'] == pkt], key=lambda row: row['tsc'])
    assert [row['event'] for row in want] == names

    def ns(row):
        return row['tsc'] * 1000000 // khz
    assert [int(row[0] * 1000) for row in rows] == [ns(row) - ns(want[0]) for row in want]


def test_why_every_packet(guest):
    """Each one that the ring has: all its records, sums that come out, and the links, to
    either side, that our reader finds."""
    seen = records(guest)
    kinds = ring(guest).sets['LINK']
    links = {(row['pkt'], row['fields']['parent'], kinds[row['fields']['kind']]) for row in seen if row['event'] == 'pkt_link'}
    pkts = sorted({row['pkt'] for row in seen if row['pkt']})
    said = guest.cmd('; '.join(f'nettrace why {pkt}' for pkt in pkts[-12:]))
    texts = re.findall(r'^packet #\d+\n.*?(?=^packet|\Z)', said, re.M | re.S)
    assert len(texts) == 12
    found = set()
    for pkt, text in zip(pkts[-12:], texts):
        own = [row['event'] for row in seen if row['pkt'] == pkt]
        assert [row[3] for row in journey(text, pkt) if row[3] in own and row[3] not in ('wakeup', 'switch')] == \
            [event for event in own if event not in ('wakeup', 'switch')]
        of_it = {(int(child), pkt, kind) for child, kind in re.findall(r'^#(\d+) is (\w+) of it$', text, re.M)}
        parents = {(pkt, int(parent), kind) for kind, parent in re.findall(r'^is (\w+) of #(\d+)$', text, re.M)}
        assert of_it == {link for link in links if link[1] == pkt} and parents == {link for link in links if link[0] == pkt}
        found |= {kind for _, _, kind in of_it | parents}
    assert found >= {'SEGMENT', 'REPLY', 'ACKED_BY'}


def test_why_with_two_cards(boot):
    """Frames come in by both in turn: each one's interrupt is its own card's."""
    vm = boot(cpus=1, mb=64, append='trace=all,-func,-pbuf_*,-frame', wait=READY,
              extra=('-x', '-netdev user,id=n1,net=10.0.3.0/24 -device e1000,netdev=n1,romfile=,mac=52:54:00:12:34:57'))
    vm.cmd('ifconfig en1 10.0.3.15/24')
    vm.cmd('ping -q -c 13 -i 0 10.0.3.2')  # the heads of the two rings are apart
    vm.cmd('ping -q -c 1 10.0.2.2; ping -q -c 1 10.0.3.2; ' * 6 + 'nettrace stop')
    card = {row['pkt']: row['fields']['netif'] for row in records(vm) if row['event'] == 'e1000_rx'}
    pkts = [pkt for nic in (0, 1) for pkt in [p for p in card if card[p] == nic][-5:]]
    assert len(pkts) == 10
    said = vm.cmd('; '.join(f'nettrace why {pkt} | cat' for pkt in pkts))
    texts = re.findall(r'^packet #\d+\n.*?(?=^packet|\Z)', said, re.M | re.S)
    found = 0
    for pkt, text in zip(pkts, texts):
        for row in journey(text, pkt):
            if row[3] == 'e1000_intr':
                assert row[4].endswith(f' netif={card[pkt]}'), text
                found += 1
    assert len(texts) == 10 and found > 0, said


def test_why_says_what_is_missing(boot):
    """No such packet; and without the scheduler's events, how to get them."""
    vm = boot(cpus=1, mb=64)
    with urlopen(f'http://127.0.0.1:{vm.port(80)}/rc', timeout=CAP) as answer:
        answer.read()
    vm.wait_event('sock_state to=CLOSED')
    vm.cmd('nettrace stop')
    seen = vm.events()
    last = max(row['pkt'] for row in seen)
    assert vm.cmd('nettrace why 99999') == f'nettrace: no packet #99999 in the ring, which has #1 to #{last}\n'
    pkt = next(row['pkt'] for row in seen if row['event'] == 'sock_read')
    text = vm.cmd(f'nettrace why {pkt}')
    assert 'switch' not in [row[3] for row in journey(text, pkt)]
    assert re.search(r'^no scheduler here: nettrace enable @CPU,@SYSCALL ', text, re.M)


# ---- records as lines, and as a file ------------------------------------------

def plain(line):
    """A dump's line without what the two tools must differ in: the clock, the frame of the
    capture, names of addresses (the guest has no symbols), the spelling of states."""
    line = re.sub(r'^\S+ |( frame=\d+$)', '', line)
    line = re.sub(r'\b(buf|chan|site|p|eip|handler|fn|caller)=\S+', r'\1=', line)
    return line.replace('_', '-')


def test_dump_is_the_hosts(guest):
    """Line by line what the host's tool prints; -n and -e choose."""
    mine = guest.cmd("nettrace dump -e 'tcp_*,e1000_*,frame,@SOCKET,sys_exit' -n 150").splitlines()
    host = guest.tool('dump', '-q', '--only', 'tcp_*,e1000_*,frame,sock_*,sys_exit').splitlines()
    assert [plain(line) for line in mine] == [plain(line) for line in host[:150]] and len(mine) > 100
    times = [Decimal(line.split()[0]) for line in mine]
    assert times == sorted(times)
    two = [guest.cmd(f'nettrace dump -e {words} -n 1') for words in ('sock_read', 'tcp_seg_in')]
    both = guest.cmd('nettrace dump -e sock_read -e tcp_seg_in -n 2').splitlines()
    assert len(both) == 2 and all(line.count('\n') == 1 for line in two) and both[0] + '\n' in two


def test_saved_file_is_the_hosts(guest, tmp_path):
    """The stream in a file, read by our reader and by the host's tool."""
    seen = records(guest)
    assert re.search(r'^nettrace: /t\.nt: \d+ events$', guest.cmd("nettrace save -e 'tcp_*,sock_*' -o /t.nt"), re.M)
    with urlopen(f'http://127.0.0.1:{guest.port(80)}/t.nt', timeout=CAP) as answer:
        data = answer.read()
    trace, whole = Trace(data), ring(guest)
    want = [row for row in seen if row['event'].startswith(('tcp_', 'sock_'))]
    assert trace.slots == [whole.slots[row['slot']] for row in want] and len(want) > 20
    assert trace.meta == whole.meta
    assert all(trace.header[key] == whole.header[key] for key in ('boot_id', 'tsc_khz', 'mac', 'ip', 'build'))
    file = tmp_path / 't.nt'
    file.write_bytes(data)
    rows = subprocess.run([NETTRACE, 'dump', '--json', file], stdout=subprocess.PIPE, check=True, timeout=CAP).stdout
    rows = [row for row in map(json.loads, rows.splitlines()) if row['event']]
    assert [(row['event'], row['tsc'], row['pkt']) for row in rows] == [(row['event'], row['tsc'], row['pkt']) for row in want]
    khz, first = whole.header['tsc_khz'], want[0]['tsc']  # no clock_sync in it: time begins with the first event
    assert all(abs(row['t_ns'] - (row['tsc'] - first) * 1000000 // khz) <= 1 for row in rows)
    info = subprocess.run([NETTRACE, 'info', file], stdout=subprocess.PIPE, check=True, timeout=CAP).stdout.decode()
    assert re.search(r'^records +\d+; 0 slots lost, 0 refused', info, re.M), info  # not wanted is not lost
    said = guest.cmd('status nettrace save -o /big.nt')
    full = re.search(r'^nettrace: /big\.nt: full after (\d+) events; ', said, re.M)
    assert full and said.endswith('\nstatus 1\n'), said
    with urlopen(f'http://127.0.0.1:{guest.port(80)}/big.nt', timeout=CAP) as answer:
        big = answer.read()
    slots = Trace(big[:len(big) // 64 * 64]).slots
    said = guest.cmd("status sh -c 'nettrace dump > /big.txt'; ls /big.txt")
    assert "nettrace: the output's file is full after 71680 bytes" in said and '\nstatus 1\n' in said and said.endswith(' 71680\n'), said
    assert len(big) == 70 << 10 and slots == whole.slots[:len(slots)]


def test_live(boot):
    """What happens from now on, a line each; -n ends it, and so does Ctrl-C."""
    vm = boot(cpus=2, mb=64)
    vm.cmd('nettrace mark long before')
    vm.send('nettrace -e mark -n 2 &\n')
    vm._until(lambda: any(row['text'] == 'enable mark' for row in vm.events('ctl')), 'the reader has said what it wants')
    vm.send('nettrace mark one; nettrace mark two\n')
    lines = [vm.expect(r'^(?:\$ )?\d+\.\d{9} (cpu\d thread pid=\d+ mark text=\w+)$').group(1) for _ in range(2)]
    assert [line.split('=')[-1] for line in lines] == ['one', 'two']
    assert [plain(line) for line in vm.tool('dump', '-q', '--only', 'mark').splitlines()][1:] == lines
    vm.send('nettrace -e icmp_in\n')
    vm._until(lambda: any(row['text'] == 'enable icmp_in' for row in vm.events('ctl')), 'the second reader')
    vm.key('\x03')
    vm.expect(r'^\$ ')
    assert 'open ' not in vm.cmd('nettrace stat'), 'both readers are gone'


def test_lossless_is_told(boot):
    """While another reader holds the recorder, each reader says so: who, and how much was refused."""
    vm = boot(cpus=1, mb=64, append='trace_slots=1024', wait=READY)
    assert 'lossless' not in vm.cmd('nettrace dump -n 1')
    vm.send("nettrace -c 'mode lossless' | sleep 100000 &\n")  # the pipe is soon full
    vm._until(lambda: any(row['text'] == 'mode lossless' for row in vm.events('ctl')), 'the lossless reader')
    said = vm.cmd('ping -q -c 200 -i 0 10.0.2.2; nettrace stat; nettrace dump -n 1; nettrace stat')
    holder, refused = map(int, re.search(r'^nettrace: process (\d+) reads in mode lossless: .* refused, (\d+) so far$', said, re.M).groups())
    assert re.search(rf'^open \d pid {holder} .* mode lossless ', said, re.M)
    before, after = map(int, re.findall(r'^cpu 0 head \d+ dropped (\d+) ', said, re.M))
    assert 0 < before <= refused <= after
    vm.cmd('kill sleep')
    vm._until(lambda: 'lossless' not in vm.cmd('nettrace stat'), 'the reader is gone')
    assert 'lossless' not in vm.cmd('nettrace dump -n 1')


def test_filters(guest):
    """-f and -c go to the kernel as they are: the records that are true by our reader's reckoning."""
    seen = [row for row in records(guest) if row['event'] == 'tcp_seg_out']
    pkt = seen[-1]['pkt']
    for words, want in [("-f 'tcp_seg_out len > 0'", [row for row in seen if row['fields']['len'] > 0]),
                        ("-f 'tcp_seg_out flags & SYN && len == 0'", [row for row in seen if row['fields']['flags'] & 2]),
                        (f"-c 'only pkt {pkt}'", [row for row in seen if row['pkt'] == pkt])]:
        lines = guest.cmd(f'nettrace dump -e tcp_seg_out {words}').splitlines()
        if words[1] == 'f':  # that chooses its events by itself
            assert guest.cmd(f'nettrace dump {words}').splitlines() == lines
        assert [int(re.search(r' #(\d+) ', line).group(1)) for line in lines] == [row['pkt'] for row in want] != []
    family = {pkt}  # and no other packet's births and ends
    for row in records(guest):
        if row['event'] == 'pkt_link' and row['fields']['parent'] in family:
            family.add(row['pkt'])
    shown = guest.cmd(f"nettrace dump -c 'only pkt {pkt}'")
    assert {int(n) for n in re.findall(r'^\S+ cpu[^#\n]* #(\d+) ', shown, re.M)} == family and ' pkt_end ' in shown


# ---- what is recorded -----------------------------------------------------------

LISTED = re.compile(r'^(\w+) +(\w+) +(on|off) +(\d+)  (.*)\n((?: {9}.*\n)*)', re.M)


def test_list_is_the_metadata(guest):
    """All events with their sentence and fields, and the counts of the frozen ring; one
    alone with the meaning of each field."""
    found = LISTED.findall(guest.cmd('nettrace list'))
    whole = ring(guest)
    assert [(stage, name, fields.split()) for stage, name, _, _, _, fields in found] == \
        [(stage, name, [field[1] for field in fields]) for name, stage, fields in whole.events.values()]
    counts = {whole.events[k][0]: sum(row[k] for row in whole.emitted) for k in whole.events}
    assert {name: int(count) for _, name, _, count, _, _ in found} == counts and counts['tcp_state'] > 3
    for _, name, _, _, doc, _ in found:
        assert re.search(rf'^event \d+ {name} \w+ {re.escape(doc)}$', whole.meta, re.M)
    lines = guest.cmd('nettrace list sock_read').splitlines()[2:]
    said = re.search(r'^event \d+ sock_read .*\n((?:\t.*\n)*)', whole.meta, re.M).group(1)
    assert [(kind, name, *rest) for name, kind, *rest in (line.split() for line in lines)] == \
        [tuple(line.split()) for line in said.splitlines()]


def test_enable_and_disable(boot):
    """The list says what is recorded, and that is so."""
    vm = boot(cpus=1, mb=64)

    def listed(pattern):
        return {name: (on, int(count)) for _, name, on, count, _, _ in LISTED.findall(vm.cmd(f"nettrace list '{pattern}'"))}
    before = listed('*')
    assert before['tcp_state'][0] == before['mark'][0] == 'on' and before['switch'] == before['sys_exit'] == ('off', 0)
    assert vm.cmd("nettrace enable '@CPU' sys_exit; nettrace disable 'icmp_*'; ping -c 1 10.0.2.2 | wc") != ''
    after = listed('*')
    assert after['switch'][0] == after['sys_exit'][0] == 'on' and after['switch'][1] > 0 and after['sys_exit'][1] > 0
    assert after['icmp_in'] == ('off', 0) and after['sys_enter'] == ('off', 0)
    assert after['ip_in'][1] > before['ip_in'][1]
    assert {name for name, (on, _) in listed('@CPU').items() if on == 'on'} == listed('@CPU').keys()
    stat = vm.cmd('nettrace stat')
    assert re.search(r'^cpu 0 head \d+ ', stat, re.M) and stat.endswith('frozen 0\n') and 'event ' not in stat


@pytest.mark.parametrize('line, status, said', [
    ('nettrace list', 0, 'STAGE '),
    ('nettrace -h', 0, 'usage: nettrace'),
    ('nettrace why -h', 0, 'usage: nettrace'),
    ('nettrace nosuch', 2, 'nettrace: no command nosuch: nettrace -h shows them\nstatus'),
    ('nettrace why 1 2', 2, 'usage: nettrace'),
    ('nettrace -x', 2, 'nettrace: no option -x'),
    ('nettrace -n 0', 2, 'nettrace: 0: want a number'),
    ('nettrace dump more', 2, 'usage: nettrace'),
    ('nettrace save', 2, 'usage: nettrace'),
    ('nettrace why', 2, 'usage: nettrace'),
    ('nettrace why 7x', 2, 'nettrace: 7x: want a number'),
    ('nettrace enable', 2, 'usage: nettrace'),
    ('nettrace why 12345678', 1, 'nettrace: no packet #12345678 in the ring'),
    ('nettrace list nosuch', 1, 'nettrace: no event nosuch'),
    ('nettrace enable tcpx', 1, 'nettrace: enable tcpx: unknown event tcpx'),
    ('nettrace mark', 1, 'nettrace: mark: mark: want 1 to 100 characters'),
    ('nettrace dump -e tcpx', 1, 'nettrace: enable tcpx: unknown event tcpx'),
    ('nettrace dump -f tcpx', 1, 'nettrace: filter tcpx: '),
    ('nettrace dump -n 1 -c fro -c mark', 1, 'nettrace: fro: unknown command'),
    ('nettrace mark ' + 'm' * 130, 1, 'nettrace: a line is too long'),
    ('nettrace save -o /no/such', 1, 'nettrace: /no/such: no such folder\n'),
    ('nettrace save -o /dev', 1, 'nettrace: /dev: is a folder\n'),
    ('nettrace save -o /rc/x', 1, 'nettrace: /rc/x: no such folder\n'),
    ("nettrace save -o ''", 1, 'nettrace: : a file wants a name\n'),
    ('nettrace save -o /dev/nettrace.stat; nettrace save -o /dev/nettrace; ls /dev/nettrace; status nettrace stat', 0,
     'nettrace: /dev/nettrace.stat: takes no more after 0 events\nstatus 1\nnettrace: /dev/nettrace: takes no more after 0 events\n'
     '/dev/nettrace  3 '),  # a device stays one
    ("nettrace dump -f 'tcp_seg_in len > 65536'", 1,
     'nettrace: filter tcp_seg_in len > 65536: len is from 0 to 65535: never true\n'),
    ("nettrace dump -n 1 -f ' mark  cpu < 1'", 0, ''),
], ids=lambda value: value[:30] if isinstance(value, str) else None)
def test_exit_status(guest, line, status, said):
    text = guest.cmd('status ' + line)
    assert text.startswith(said) and text.endswith(f'status {status}\n'), text


def test_no_device(tmp_path):
    code, gave, said = run_line('rm /dev/nettrace; nettrace dump', tmp_path / 'run')
    assert (code, gave) == (0, '1') and said.startswith('nettrace: /dev/nettrace: '), said


# ---- graph --------------------------------------------------------------------

def calls_of(seen, pkt):
    """Our reader's calls of a packet: [(entered, depth, function, duration or None)] in TSC ticks; a
    return belongs to the last open call of that thread and function."""
    calls, stacks = [], {}
    for row in seen:
        stack = stacks.setdefault(row['pid'] or ('idle', row['cpu']), [])
        if row['event'] == 'func':
            call = [row['tsc'], row['fields']['depth'], row['fields']['fn'], None]
            stack.append(call)
            if row['pkt'] == pkt:
                calls.append(call)
        elif row['event'] == 'func_exit':
            call = stack.pop()
            assert call[1:3] == [row['fields']['depth'], row['fields']['fn']]
            call[3] = row['fields']['dur_tsc']
    return calls


def test_graph(boot):
    """The calls of an echo's answer, nested, each with the time it took, to the nanosecond;
    names as the host finds them.  Without the function tracer it says how to turn it on."""
    vm = boot(cpus=1, mb=64, append='trace=all trace_slots=65536', wait=READY)
    said = vm.cmd('nettrace graph 1')
    assert said.startswith('nettrace: no function was recorded for packet #1: nettrace enable'), said
    if vm.cmd("nettrace func '*'"):
        assert 'built without function entry nops' in vm.cmd('nettrace stat')
        return
    vm.cmd('ping -c 1 10.0.2.2')
    vm.cmd('nettrace func off; nettrace stop')
    whole = ring(vm)
    seen, khz = whole.records(), whole.header['tsc_khz']
    pkt = next(row['pkt'] for row in seen if row['event'] == 'icmp_in')
    calls = calls_of(seen, pkt)
    nm = subprocess.run(['nm', os.path.join(vm.dir, 'kernel.elf')], stdout=subprocess.PIPE, check=True).stdout.decode()
    names = {}
    for at, name in re.findall(r'^(\w{8}) [tT] (\S+)$', nm, re.M):
        names.setdefault(int(at, 16), []).append(name)
    text = vm.cmd(f'nettrace graph {pkt}')
    rows = re.findall(r'^ *(\d+\.\d{3}) +(\d+\.\d{3}|\?) ([? ]) ((?:  )*)(\S+)$', text, re.M)
    assert len(rows) == len(calls) > 20 and text.startswith(f'packet #{pkt}\n'), text

    def ns(tsc):
        return tsc * 1000000 // khz
    for (time, took, mark, indent, name), (tsc, depth, fn, dur) in zip(rows, calls):
        assert int(Decimal(time) * 1000) == ns(tsc) - ns(calls[0][0])
        assert len(indent) // 2 == depth - 1 and name in names[fn], (name, names[fn])
        assert (mark == ' ' and int(Decimal(took) * 1000) == ns(dur)) if dur is not None else mark == '?' or took == '?'
    assert {'ip4_input', 'icmp_input'} <= {row[4] for row in rows}
    assert 'func' not in vm.cmd(f'nettrace why {pkt}')
