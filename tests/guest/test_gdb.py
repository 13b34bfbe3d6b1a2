"""The commands of tools/gdb on a guest that stands still: what they say is compared
with what the host tool reads from the same memory, with the capture, and with what the
guest's own programs print.  Two boots of 2 and 6 seconds (on the debug kernel, three)."""

import json
import os
import shutil
import subprocess

import pytest

from vm import CAP, CAPTURE, KERNEL, NETTRACE, TOP

pytestmark = pytest.mark.skipif(not shutil.which('gdb'), reason='no gdb')
DEBUG = bool(os.environ.get('DEBUG'))


def gdb(run, *commands, words=()):
    """Boot under gdb; returns what it said in reply to each command."""
    script = ['target remote gdb.sock']
    for k, command in enumerate(commands):
        script += [f'echo <{k}>\\n', command]
    said = subprocess.run(
        [CAPTURE, '-d', run, '-g', '-t', str(int(2 * CAP)), '-k', KERNEL, '-p', '80', *words, '--', 'sh', '-c',
         'cd "$NETTRACE_RUN" && exec gdb -batch -q -nx -x "$XV6_TOP/tools/gdb/init.gdb" kernel.elf "$@"',
         'gdb', *(word for line in script for word in ('-ex', line))],
        env=dict(os.environ, NETTRACE=NETTRACE, XV6_TOP=TOP), stdin=subprocess.DEVNULL, timeout=2 * CAP + 20,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, check=False).stdout
    parts = []
    for k in range(len(commands)):
        assert f'<{k}>\n' in said, (commands[k - 1], said)
        said = said.split(f'<{k}>\n', 1)[1]
        parts.append(said.split(f'<{k + 1}>\n')[0])
    return parts


def objects(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith('{')]


def host_rows(run):
    """The host tool's rows, by CPU and slot."""
    said = subprocess.run([NETTRACE, 'dump', '--json', '-q', run], stdout=subprocess.PIPE, check=True, timeout=CAP).stdout
    return {(row['cpu'], row['seq']): row for row in map(json.loads, said.splitlines()) if 'seq' in row}


def same_as_host(rows, run):
    host = host_rows(run)
    for row in rows:
        other = host[row['cpu'], row['seq']]
        for key in ('event', 'stage', 'pkt', 'sock', 'pid', 'ctx', 'tsc', 'fields'):
            assert row[key] == other[key], (key, row, other)


def test_net_trace(tmp_path):
    """Before the kernel is mapped, in the middle of the boot, and wrong words."""
    run = tmp_path / 'run'
    early, listed, _, _, text, rows, one, lost, event, cpu, number, call = gdb(
        run, 'net-trace', 'net-until', 'hbreak sys_poll', 'continue', 'net-trace -n 5', 'net-trace -n 1000 --json',
        'net-trace --pkt 1 --json', 'net-trace --pkt 999999', 'net-trace --event nosuch', 'net-trace --cpu 8',
        'net-trace -n 0', 'call kalloc()')
    assert early.count('\n') == 1 and 'is the kernel mapped yet?' in early
    assert '\ne1000_rx        DRIVER   slot len ' in listed and '\nframe           DRIVER   (not recorded) len ' in listed
    assert len(text.splitlines()) == 5 and ' sock_state ' in text
    rows = objects(rows)
    assert len(rows) > 15 and [row['tsc'] for row in rows] == sorted(row['tsc'] for row in rows)
    assert {'e1000_tx', 'ip_out', 'proc', 'clock_sync'} <= {row['event'] for row in rows}
    journey = objects(one)
    assert [row['event'] for row in journey][-1] == 'pkt_end' and {row['pkt'] for row in journey} == {1}
    assert lost == 'net-trace: no such event in the rings\n'
    assert [said.count('\n') for said in (event, cpu, number)] == [1, 1, 1]
    assert 'no event nosuch' in event and 'no CPU 8' in cpu and '-n 0' in number
    assert 'may-call-functions' in call
    same_as_host(rows, run)


# What one guest is asked: as soon as processes can be, with data queued on a
# connection, with damage done to it, and after the panic of which that is the cause.
PCB = 'tcp_active_pcbs'
SLOT = '((struct nt_slot *)(nt_page.cpu[0].ring_pa + 0x80000000))[(nt_page.cpu[0].head - 1) & nt_page.cpu[0].mask].seq'
STORY = {
    'boot': ['hbreak user_init', 'continue', 'delete'],
    'early if': ['net-if --json'],
    'early rx': ['net-ring rx --all --json'],
    'early ps': ['ps --json'],
    'early text': ['ps', 'net-sockets', 'net-arp', 'net-timers', 'net-pcbs', 'locks'],
    'listening': ['net-until sock_state if to == LISTENING --json'],
    'guest ps': ["python keys = open('con.in', 'wb', 0); keys.write(b'ps;netstat -an\\n')", 'hbreak sys_psinfo', 'continue',
                 'ps --json'],
    'guest netstat': ['delete', 'hbreak sys_netinfo', 'continue', 'net-sockets --json', 'delete'],
    'syn': ["python import os, socket; peer = socket.create_connection(('127.0.0.1', int(os.environ['TCP_80']))); "
            "peer.sendall(b'GET /' + b'x' * 400)", 'net-until tcp_seg_in if flags & SYN --json'],
    'open': ['net-until tcp_state if to == ESTABLISHED --json'],
    'frame': ['net-until e1000_rx if len >= 400 --json'],
    'frame rx': ['net-ring rx --all --json'],
    'capture': ['net-pcap last.pcap --json', 'net-pcap last.pcap'],
    'step': ['net-step --json'],
    'data': ['net-until sock_rx if n >= 100 --json'],
    'where': ['bt 3'],
    'sockets': ['net-sockets --json'],
    'pcbs': ['net-pcbs --json'],
    'by state': ['net-pcbs --state established --json', 'net-pcbs --state nosuch'],
    'pbuf': ['net-pbuf $pkt($_pkt) --verify --json'],
    'why': ['net-why $_pkt --json'],
    'rx': ['net-ring rx --all --json'],
    'tx': ['net-ring tx --all --json'],
    'arp': ['net-arp --json'],
    'timers': ['net-timers --json'],
    'locks': ['locks --json'],
    'runq': ['runq --json'],
    'stacks': ['bt-all --json'],
    'walk': ['vtop 1 &ptable --json', 'vtop 1 0x70000000', 'pgdir 1 --json'],
    'armed': ['print trace_stop.event', 'print nt_page.cpu[0].slow', 'print nt_page.cpu[1].slow'],
    'events': ['net-until --json'],
    'words': ['net-until tcp_stat', 'net-until nosuch', 'net-trace --event seg', 'net-until tcp_state if foo == 1', 'net-until tcp_state if to == NOSUCH',
              'net-until tcp_state when to == 1', 'net-until irq_entry', 'proc 77', 'net-why 99999', 'net-pbuf 4', 'vtop 1 0x100000000', 'print $pcb()',
              'print $sock(4)', 'print $proc("init")'],
    'read only': [f'set var {PCB}->nrtx = 7'],
    'loop': ['set may-write-memory on', f'set var {PCB}->next = {PCB}', 'net-pcbs --json', f'set var {PCB}->next = 0'],
    'queue': [f'set var {PCB}->ooseq = (void *)4', 'net-pcbs --json', f'set var {PCB}->ooseq = 0'],
    'socket': ['set var $old = socks[0].pcb', 'set var socks[0].pcb = (void *)4', 'net-sockets --json',
               'set var socks[0].pcb = $old'],
    'chain': ['set var $p = $pkt($_pkt)', 'set var $p->next = $p', 'net-pbuf $p --json', 'set var $p->next = (void *)8',
              'net-pbuf $p --json', 'set var $p->next = 0'],
    'torn': [f'set var $seq = {SLOT}', f'set var {SLOT} = $seq - 1', 'net-trace --cpu 0 -n 3', f'set var {SLOT} = $seq'],
    'rings': [f'python import net; print(net.NetRing.{words})' for words in
              ('receive_trouble(4, 4, 8, 0, [])', 'receive_trouble(9, 4, 8, 8, [])',
               'receive_trouble(1, 4, 8, 0, [{"slot": 2, "len": 0}])', 'receive_trouble(1, 4, 8, 0, [])',
               'transmit_trouble(3, 4, 8, 6, 3, [])', 'transmit_trouble(3, 4, 8, 12, 3, [])', 'transmit_trouble(3, 4, 8, 4, 3, [])')],
    'other kernel': ['file wrong.elf', 'ps', 'file kernel.elf'],
    'panic': ["set var 'net.c'::netlock.owner = 0", 'set may-write-memory off', 'hbreak machine_off', 'continue'],
    'dead ps': ['ps --json'],
    'dead pcbs': ['net-pcbs --json'],
    'dead if': ['net-if --json'],
    'dead until': ['net-until e1000_rx'],
    'dead stacks': ['bt-all --json'],
    'dead trace': ['net-trace -n 300 --json'],
    'dump': ['monitor dump-guest-memory -p dump.elf'],
}


@pytest.fixture(scope='module')
def story(tmp_path_factory):
    """{part of STORY: what gdb said}, and where the run is."""
    run = tmp_path_factory.mktemp('gdb') / 'run'
    commands, ends = [], []
    for part in STORY.values():
        commands += part
        ends.append(len(commands))
    wrong = bytearray(open(KERNEL, 'rb').read())
    at = wrong.index(b'sleeplock: %s is not ours')
    wrong[at] ^= 1
    (run.parent / 'wrong.elf').write_bytes(wrong)
    commands = [command.replace('wrong.elf', str(run.parent / 'wrong.elf')) for command in commands]
    said = gdb(run, *commands, words=('-K', '-m', '64', '-a', 'trace=std,+frame ip=10.0.2.15/24,10.0.2.2'))
    told = {name: ''.join(said[begin:end]) for name, begin, end in zip(STORY, [0] + ends, ends)}
    told['run'] = run
    return told


def rows(story, name):
    found = objects(story[name])
    assert found, (name, story[name])
    return found


def warned(story, name):
    return [row['warning'] for row in rows(story, name) if 'warning' in row]



def console(story):
    text = (story['run'] / 'serial.log').read_bytes().decode('latin-1').replace('\r', '')
    return text.split('netstat -an\n', 1)[1]


def records(story, event, before='data'):
    """The host tool's rows of an event up to the one that this part of the story stopped at."""
    last = rows(story, before)[0]['tsc']
    return [row for row in host_rows(story['run']).values() if row['event'] == event and row['tsc'] <= last]


def test_before_the_network(story):
    card, buffers = rows(story, 'early if')
    assert (card['mac'], card['link'], card['ip'], card['rx_frames']) == ('52:54:00:12:34:56', 0, '*', 0)
    assert card['registers']['IMS'] == 0 and card['registers']['RCTL'] & 2 and not {'ICR', 'MPC', 'GPRC'} & set(card['registers'])
    assert buffers['rx_buffers'] - buffers['rx_free'] == 256
    *slots, summary = rows(story, 'early rx')
    assert [slot['owner'] for slot in slots] == ['card'] * 255 + ['driver']
    assert (summary['head'], summary['tail'], summary['done']) == (0, 255, 0)
    assert objects(story['early ps']) == []
    assert story['early text'].splitlines() == [
        'ps: no processes yet', 'net-sockets: no sockets', 'net-arp: no neighbours', 'net-timers: no timers',
        'net-pcbs: no TCP control blocks', 'locks: no lock is held']


def test_as_the_guest_says(story):
    """ps and netstat in the guest, stopped as they ask, print what gdb had read."""
    words = [line.split() for line in console(story).splitlines()]
    still = ('init', 'ps')  # the others may do something meanwhile, on the other CPU
    guest = {(line[0], line[1], line[-1], line[-1] in still and line[2]) for line in words if len(line) == 7 and line[0].isdigit()}
    ours = {(str(row['pid']), str(row['ppid']), row['name'], row['name'] in still and row['state']) for row in rows(story, 'guest ps')}
    assert len(ours) == 5 and ours == guest
    guest = {(line[0], line[1], line[3], line[4], line[5], line[6]) for line in words if line and line[0] in ('tcp', 'udp')}
    ours = {(row['kind'], str(row['recvq']), row['local'], row['remote'], row['tcp'], row['user'].split()[0])
            for row in rows(story, 'guest netstat')}
    assert ours and ours == guest


def test_until(story):
    syn, opened, frame, step, data = (rows(story, part)[0] for part in ('syn', 'open', 'frame', 'step', 'data'))
    assert syn['fields']['flags'] == 'SYN' and opened['fields']['to'] == 'ESTABLISHED'
    assert frame['fields']['len'] >= 400 and frame['function'] == 'rx_frame'
    assert (step['event'], step['pkt']) == ('frame', frame['pkt'])
    # The packet's next record; an interrupt may have written one between.
    assert frame['tsc'] < step['tsc']
    assert not [row for row in host_rows(story['run']).values()
                if row['pkt'] == frame['pkt'] and frame['tsc'] < row['tsc'] < step['tsc']]
    assert data['pkt'] == frame['pkt'] and data['fields']['n'] == 405 and data['function'] == 'on_recv'
    assert data['line'].startswith('kernel/net/stream.c:') and 'tcp_input' in story['where']
    same_as_host([syn, opened, frame, step, data], story['run'])
    # The first of its kind, each time: none was missed.
    for row, event in ((syn, 'tcp_seg_in'), (opened, 'tcp_state'), (data, 'sock_rx')):
        fits = [other for other in records(story, event) if row['fields'].get('to') in (None, other['fields'].get('to'))]
        assert min(fits, key=lambda other: other['tsc'])['tsc'] == row['tsc'], event
    assert [line.split()[2] for line in story['armed'].splitlines()] == ['STOP_NONE', '0', '0']


def test_connection(story):
    data = rows(story, 'data')[0]
    segment = max(records(story, 'tcp_seg_in'), key=lambda row: row['tsc'])
    syn = min(records(story, 'tcp_seg_out'), key=lambda row: row['tsc'])
    listener, pcb = rows(story, 'pcbs')
    assert listener['state'] == 'LISTEN' and listener['waiting'] == 1 and listener['holders'] == ['4/3']
    flow = segment['fields']
    assert pcb['state'] == 'ESTABLISHED' and pcb['sock'] == data['sock'] and pcb['queued'] and not listener['queued']
    assert pcb['remote'] == f'{flow["raddr"]}:{flow["rport"]}' and pcb['local'] == f'{flow["laddr"]}:{flow["lport"]}'
    assert pcb['rcv_nxt'] == flow['seq'] + flow['len'] and pcb['snd_una'] == flow['ack']
    assert pcb['snd_nxt'] == syn['fields']['seq'] + 1 and pcb['snd_wnd'] == flow['wnd']
    assert [row['state'] for row in rows(story, 'by state')] == ['ESTABLISHED'] and 'no state NOSUCH' in story['by state']
    listening, sock = rows(story, 'sockets')
    assert sock['recvq'] == data['fields']['queued'] == 405 and sock['remote'] == pcb['remote']
    assert listening['waiting'] == '1 of 16' and listening['user'] == '4 httpd'
    buffer, *sums = rows(story, 'pbuf')
    assert (buffer['pkt'], buffer['len'], buffer['ref']) == (data['pkt'], 405, 1)
    assert [row['verdict'].split(' (')[0] for row in sums] == ['sum right', 'sum right']
    assert [(row['ip'], row['mac'], row['state']) for row in rows(story, 'arp')] == [('10.0.2.2', '52:55:0a:00:02:02', 'STABLE')]
    assert {'tcpip_tcp_timer', 'etharp_tmr', 'dns_tmr'} <= {row['handler'] for row in rows(story, 'timers')}
    assert ('netlock', '2 [netd]') in [(row['lock'], row['holder']) for row in rows(story, 'locks')]
    assert '2 [netd]' in [row.get('runs') for row in rows(story, 'runq')]


def test_rings(story):
    *slots, summary = rows(story, 'rx')
    arrived = records(story, 'e1000_rx')
    assert summary['next'] == len(arrived) % 256 and summary['tail'] == 255
    for row in arrived:
        assert slots[row['fields']['slot']]['pkt'] == row['pkt']
    *slots, summary = rows(story, 'tx')
    sent = records(story, 'e1000_tx')
    assert summary['prod'] == len(sent) == summary['tail']
    for row in sent:
        slot = slots[row['fields']['slot']]
        assert (slot['pkt'], slot['len']) == (row['pkt'], row['fields']['len'])


def test_packets(story):
    why = [row for row in rows(story, 'why') if 'event' in row]
    host = [row for row in host_rows(story['run']).values()
            if row['pkt'] == rows(story, 'data')[0]['pkt'] and row['tsc'] <= why[-1]['tsc']]
    assert [row['seq'] for row in why] == sorted(row['seq'] for row in host)
    assert any('has not ended yet' in words for words in warned(story, 'why'))
    made = rows(story, 'capture')[0]
    ours, wire = ((story['run'] / name).read_bytes() for name in ('last.pcap', 'wire.pcap'))
    assert made['frames'] == len(records(story, 'frame', 'frame')) + made['in_rings'] and 'exists' in story['capture']
    at, found = 24, 0
    while at < len(ours):
        kept = int.from_bytes(ours[at + 8:at + 12], 'little')
        found += ours[at + 16:at + 16 + min(kept, 42)] in wire
        at += 16 + kept
    assert found == made['frames'] > 4


def test_stacks_and_tables(story):
    found = rows(story, 'stacks')
    assert {row['name'] for row in found if 'state' in row} >= {'init', '[netd]', 'httpd', 'sh'}
    functions = {pid: [row['where'].split(' ')[0].split('+')[0] for row in found if row.get('pid') == pid and row.get('mode') == 'kernel']
                 for pid in (1, 2)}
    assert 'sys_waitpid' in functions[1] and functions[1][0] == 'sched'
    assert 'netd' in functions[2] and {'user': 'init'}.items() <= next(row for row in found if 'user' in row).items()
    pde, pte, *_ = rows(story, 'walk')
    assert pte['pa'] == pte['va'] - 0x80000000 and pde['rights'].startswith('kernel')
    assert 'not present: no page table for 0x70000000' in story['walk']
    assert {'72 kernel stacks, a hole below each', 'device registers'} <= {row.get('what') for row in rows(story, 'walk')}


def test_words(story):
    """What is wrong is one line that says what would be right."""
    lines = story['words'].splitlines()
    for line, words in zip(lines, ['did you mean tcp_state', 'no event nosuch, did you mean switch?; net-until alone lists them',
                                   'did you mean tcp_seg', 'there are laddr raddr', 'there are CLOSED LISTEN', 'instead of "if"', 'trace=std,+irq_entry', 'there are 1 2 4 5', 'the rings hold #1 to', 'not a kernel address: 0x4',
                                   'not an address of 32 bits: 0x1', 'want numbers, as $pcb(', 'want numbers, as $sock(', 'want numbers, as $proc(']):
        assert words in line
    assert len(lines) == 14 and 'not allowed' in story['read only']


def test_events(story):
    """net-until alone: the events, with what the host tool says of their fields."""
    listed = {row['listed']: row for row in rows(story, 'events')}
    for row in host_rows(story['run']).values():
        assert listed[row['event']]['stage'] == row['stage'] and set(listed[row['event']]['fields']) == set(row['fields'])
    assert listed['frame']['recorded'] and not listed['irq_entry']['recorded']


def test_damage(story):
    """A loop, wild pointers, a slot half written: told in words, and the rest is shown."""
    assert len(rows(story, 'loop')) == 3 and 'the list loops, back to link 0' in warned(story, 'loop')[0]
    assert len(rows(story, 'queue')) == 3 and 'ooseq: link 0 is not a kernel address: 0x4' in warned(story, 'queue')[0]
    assert len(rows(story, 'socket')) == 3 and 'socket 1: its pcb is not a kernel address: 0x4' in warned(story, 'socket')
    loop, wild = warned(story, 'chain')
    assert 'loops' in loop and 'link 1 is not a kernel address: 0x8' in wild
    assert story['torn'].splitlines()[-1] == '! 1 slot not complete when the guest was stopped'
    assert [eval(line) for line in story['rings'].splitlines()] == [
        ['RDT = RDH: the card has no descriptor, it cannot receive'],
        ['RDH = 9, RDT = 4: outside the ring of 8', 'DD is set in all descriptors: the driver does not look at them'],
        ['slot 2: DD, but a length of 0'], [],
        ['TDT = 4, but the driver has filled up to 6: not told to the card'],
        ['9 descriptors in a ring of 8: the driver overruns it'], []]
    assert 'is not what is running: rebuild' in story['other kernel'] and 'PID' not in story['other kernel']


def test_after_the_panic(story):
    assert 'panic' in (story['run'] / 'serial.log').read_text(errors='replace')
    assert {'init', '[netd]', 'httpd', 'sh'} == {row['name'] for row in rows(story, 'dead ps')}
    assert rows(story, 'dead pcbs')[-1]['remote'] == rows(story, 'pcbs')[-1]['remote']
    assert rows(story, 'dead if')[0]['ip'] == '10.0.2.15'
    assert 'the rings are frozen, by a panic' in story['dead until']
    assert {'panic', 'machine_off'} <= {row['where'].split(' ')[0].split('+')[0] for row in rows(story, 'dead stacks') if 'where' in row}
    same_as_host(rows(story, 'dead trace'), story['run'])


def test_dump(story):
    """The same on a dump of that guest, by make gdb CORE=...; what needs a card or a CPU says so."""
    asked = ['dead ps', 'dead pcbs', 'dead stacks', 'dead trace']
    script = [line for part in asked for line in (f'echo <{part}>\\n', *STORY[part])]
    core = dict(os.environ, XV6_TOP=TOP, CORE=str(story['run'] / 'dump.elf'))
    said = subprocess.run([os.path.join(TOP, 'tools', 'gdb', 'start')], input='\n'.join(script + ['net-if', 'net-until e1000_rx']),
                          env=core, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=CAP, universal_newlines=True,
                          check=True).stdout
    for part, text in zip(asked, said.split('<dead ')[1:]):
        assert objects(text.replace('(gdb) ', '')) == rows(story, part), part
    assert 'no registers: this is a dump' in said and 'this is a dump: it does not run' in said


def test_run_directory(story, tmp_path):
    """make gdb CORE=: a run directory is enough, its dump or its memory is found there; what is none is told in a line."""
    def start(core, *lines):
        done = subprocess.run([os.path.join(TOP, 'tools', 'gdb', 'start')], input='\n'.join(lines), stdout=subprocess.PIPE, timeout=CAP,
                              env=dict(os.environ, XV6_TOP=TOP, CORE=str(core)), stderr=subprocess.PIPE, text=True, check=False)
        return done.returncode, done.stdout.replace('(gdb) ', ''), done.stderr

    run = story['run']
    code, said, _ = start(run, 'info files')
    assert code == 0 and f"{run}/dump.elf'" in said
    for name in ('kernel.elf', 'ram'):
        os.link(run / name, tmp_path / name)
    for given in (tmp_path, tmp_path / 'ram'):  # the second finds the core of the first
        code, said, _ = start(given, *STORY['dead trace'], *STORY['dead ps'])
        assert code == 0 and objects(said) == rows(story, 'dead trace') + rows(story, 'dead ps'), given
    (tmp_path / 'none').mkdir()
    for given, words in (('/nosuch/dump', 'no such dump'), (tmp_path / 'none', 'has left no memory'), (run / 'serial.log', 'neither a dump'),
                         (os.path.join(TOP, 'README.md'), 'kernel.elf, the kernel it is of, is missing')):
        code, said, why = start(given)
        assert (code, said, why.count('\n')) == (2, '', 1) and words in why


def test_help():
    """Each command has a help text with an example."""
    script = "import common; " \
        "print(chr(10).join(f'<{name}>' + repr(gdb.execute('help ' + name, to_string=True)) for name in common.Command.known))"
    said = subprocess.run(['gdb', '-batch', '-q', '-nx', '-x', os.path.join(TOP, 'tools/gdb/init.gdb'), '-ex', 'python ' + script],
                          env=dict(os.environ, XV6_TOP=TOP), stdout=subprocess.PIPE, timeout=CAP, universal_newlines=True, check=True).stdout
    texts = {line[1:].split('>')[0]: eval(line.split('>', 1)[1]) for line in said.splitlines() if line.startswith('<')}
    assert {'ps', 'net-until', 'net-goto', 'net-back'} <= set(texts)
    for name, text in texts.items():
        assert f'\n  {name}' in text, name
