"""Lab 1: what is where when a SYN comes in.  The answers are recipes, not numbers.

answers.json holds stops, each the arguments of a net-until, and for every value the stop
to read it at and how: a field of what a command prints with --json, or an expression.
They are carried out on a guest that has just booted, with other numbers than the
student's; each value is compared with the frames on the cable and with guest memory as it is
read from outside.  Nothing but these two forms gets to gdb: it could run anything here.
"""

import json
import os
import random
import re
import select
import shutil
import subprocess
import time

from peer import ACK, FIN, SYN
from vm import SLOW

TITLE = 'Follow one SYN: stops, rings, control blocks'
FILES = ['answers.json']
WAIT = 20 * SLOW  # seconds for one command of gdb's

VALUES = ('syn_pkt', 'syn_slot', 'rdh', 'syn_buffer', 'client_isn', 'server_isn', 'state_before', 'state_after',
          'tdt_before', 'tdt_after', 'acceptor', 'sleeps_on')
COMMANDS = ('net-until', 'net-trace', 'net-why', 'net-ring', 'net-if', 'net-pcbs', 'net-sockets', 'net-pbuf', 'ps')
WORD = r'(?:-{1,2}[a-z]+|[A-Za-z0-9_.:-]+|\$_pkt|\$_sock|\$pkt\(\$_pkt\))'
CONDITION = r'[a-z0-9_]+(?: if \w+ ?(?:==|!=|>=|<|&) ?[\w.,-]+)?(?: --(?:pkt|sock|skip) (?:\d+|\$_pkt|\$_sock))*'
# No quotes, no assignment; of gdb's own $words those that only look.
EXPRESSION = r'(?:\$(?:_pkt|_sock|pkt\(|pcb\(|sock\()|->|[\w .,+*%&()\[\]-])+'

FORMS = 'either {"stop": N, "command": "net-...", "where": {FIELD: VALUE}, "field": "NAME"} or ' \
        '{"stop": N, "print": "an expression of names, numbers, -> . [] () + - * % &"}'


# ---- what was handed in --------------------------------------------------


def answers(lab):
    """The file, every part of it one of the forms."""
    said = lab.answers()
    lab.need(isinstance(said, dict) and isinstance(said.get('stops'), list) and isinstance(said.get('values'), dict),
             '{"stops": [...], "values": {...}}', 'something else')
    lab.need(len(said['stops']) <= 8, 'at most 8 stops', len(said['stops']))
    for k, stop in enumerate(said['stops'], 1):
        lab.need(isinstance(stop, str) and len(stop) < 200 and re.fullmatch(CONDITION, stop),
                 f'stop {k}: what follows net-until: EVENT [if FIELD OP VALUE] [--skip K]', f'{stop!r}: refused')
    for name, way in said['values'].items():
        lab.need(name in VALUES, 'values: ' + ' '.join(VALUES), name)
        lab.need(way is None or allowed(way, len(said['stops'])), f'{name}: {FORMS}', f'{json.dumps(way)[:300]}: refused')
    return said


def allowed(way, stops):
    """Is this one of the two forms?"""
    if not isinstance(way, dict) or type(way.get('stop')) is not int or not 1 <= way['stop'] <= stops:
        return False
    if set(way) == {'stop', 'print'}:
        said = way['print']
        return isinstance(said, str) and len(said) < 200 and bool(re.fullmatch(EXPRESSION, said)) and \
            '--' not in said and '++' not in said and bool(re.search(r'[A-Za-z_$]', said))
    if not {'stop', 'command', 'field'} <= set(way) <= {'stop', 'command', 'field', 'where'}:
        return False
    words, where = way['command'], way.get('where', {})
    return isinstance(words, str) and len(words) < 200 and words.split(' ')[0] in COMMANDS and \
        (words.split(' ')[0] != 'net-until' or words == 'net-until') and \
        bool(re.fullmatch(f'[a-z-]+(?: {WORD})*', words)) and isinstance(way['field'], str) and \
        isinstance(where, dict) and all(isinstance(v, (str, int, type(None))) for v in where.values())


# ---- gdb and the client --------------------------------------------------


class Gdb:
    """gdb on the guest of a cable; while it waits, the client of the cable answers."""

    def __init__(self, lab, wire, client):
        self.lab, self.wire, self.client, self.said = lab, wire, client, b''
        self.proc = subprocess.Popen(
            ['gdb', '-q', '-nx', '-x', os.path.join(lab.tree, 'tools', 'gdb', 'init.gdb'), os.path.join(wire.vm.dir, 'kernel.elf')],
            cwd=wire.vm.dir, env=dict(os.environ, XV6_TOP=lab.tree), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)

    def run(self, command, what=None):
        """Give a command; what it said, and the JSON objects among that."""
        self.wire.vm.step('gdb: ' + (what or command))
        self.proc.stdin.write(f'{command}\necho \\n~end~\\n\n'.encode())
        self.proc.stdin.flush()
        end = time.monotonic() + WAIT
        while b'\n~end~\n' not in self.said:
            ready = select.select([self.proc.stdout, self.wire.sock], [], [], max(0, end - time.monotonic()))[0]
            self.lab.need(ready, f'{command}: done', f'nothing within {WAIT:.0f} s: it waits for what does not come')
            if self.wire.sock in ready:
                self.client.answer(self.wire.receive(0))
            if self.proc.stdout in ready:
                more = os.read(self.proc.stdout.fileno(), 65536)
                if not more:
                    raise RuntimeError('gdb has ended: ' + self.said.decode(errors='replace')[-500:])
                self.said += more
        said, self.said = self.said.split(b'\n~end~\n', 1)
        text = said.decode(errors='replace').replace('(gdb) ', '').strip()
        return text, [json.loads(line) for line in text.splitlines() if line.startswith('{')]

    def value(self, way):
        """Carry out one recipe."""
        if 'print' in way:
            text, _ = self.run(f'python print("value", int(gdb.parse_and_eval("{way["print"]}")) & 0xffffffff)', 'print ' + way['print'])
            hit = re.search(r'value (\d+)', text)
            return int(hit.group(1)) if hit else text
        if way['command'] == 'net-until':
            text, rows = '', [self.row]
        else:
            text, rows = self.run(way['command'] + ' --json')
        here = {'$_pkt': self.row['pkt'], '$_sock': self.row['sock']}
        where = {key: str(here.get(value, value)) for key, value in way.get('where', {}).items()}
        for row in map(flat, rows):
            if way['field'] in row and all(str(row.get(key)) == value for key, value in where.items()):
                return row[way['field']]
        return f'no row with {where or ""} and a field {way["field"]}' if rows else text[-200:]

    def stop(self, k, condition):
        text, rows = self.run(f'net-until {condition} --json')
        self.lab.need(rows and 'event' in rows[0], f'stop {k}: an event', text[-300:])
        self.row = rows[0]

    def bytes(self, at):
        """What the card wrote there: the first bytes of a frame, in hex; at: as the card knows it, or the kernel."""
        at = at if isinstance(at, int) else int(at, 0) if re.fullmatch('0x[0-9a-f]+|[0-9]+', at) else 0
        text, _ = self.run(f'python print("value", bytes(gdb.selected_inferior().read_memory({at | 0x80000000:#x}, 34)).hex())',
                           'read the buffer')
        return text.split(' ')[-1]

    def close(self):
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()


def flat(row):
    """A JSON object with what is nested in it as OUTER.INNER."""
    inner = {f'{key}.{name}': value for key, more in row.items() if isinstance(more, dict) for name, value in more.items()}
    return {**row, **inner}


class Client:
    """A client of the web server, and some traffic before that is not it."""

    def __init__(self, wire):
        self.wire, self.pick = wire, random.SystemRandom()
        self.port, self.isn = self.pick.randrange(20000, 60000), self.pick.randrange(2 ** 32)
        self.syn, self.answered = None, False

    def knock(self):
        """Announce ourselves, ping, ask at a closed port; then the SYN."""
        w = self.wire
        frames = [w.arp_packet(1, w.guest)]
        for k in range(self.pick.randrange(1, 6)):
            frames.append(w.echo(k, os.urandom(self.pick.randrange(400))))
        frames.append(w.tcp(self.port, 81, self.pick.randrange(2 ** 32), 0, SYN))
        self.syn = w.tcp(self.port, 80, self.isn, 0, SYN, options=b'\2\4\5\xb4', ident=self.pick.randrange(1, 2 ** 16))
        for frame in frames + [self.syn]:
            w.send(frame)

    def mine(self, p):
        return p.tcp and (p.tcp.sport, p.tcp.dport) == (80, self.port)

    def answer(self, p):
        """What a client does about a frame."""
        if p is None or not self.mine(p):
            return
        self.answered = True
        t, w = p.tcp, self.wire
        ack = t.seq + len(p.data) + bool(t.flags & SYN) + bool(t.flags & FIN)
        if t.flags & SYN:
            w.send(w.tcp(self.port, 80, self.isn + 1, ack, ACK))
            w.send(w.tcp(self.port, 80, self.isn + 1, ack, ACK, b'GET / HTTP/1.0\r\n\r\n'))
        elif p.data or t.flags & FIN:
            fin = FIN if t.flags & FIN else 0
            w.send(w.tcp(self.port, 80, self.isn + 19, ack, ACK | fin))


# ---- what is true --------------------------------------------------------


def truth(wire, client):
    """The values, from the capture and, where the cable cannot know, from the trace that fits it."""
    frames = wire.capture()
    came = [p for p in frames if p.dst in (wire.guest_mac, b'\xff' * 6) and p.src == wire.mac]
    at = next(k for k, p in enumerate(came) if p.frame[:len(client.syn)] == client.syn)
    synack = next(p for p in frames if p.src == wire.guest_mac and p.tcp and p.tcp.dport == client.port and
                  p.tcp.flags & SYN)
    events = wire.vm.events()
    reaped = [e for e in events if e['event'] == 'e1000_rx']
    sent = next(e for e in events if e['event'] == 'e1000_tx' and number(e['ipid']) == synack.ip.ident and
                number(e['l4sum']) == int.from_bytes(synack.frame[50:52], 'big'))
    server = next(e['pid'] for e in events if e['event'] == 'proc' and e['name'] == 'httpd')
    slept = [e['why'] for e in events if e['event'] == 'sleep' and e['pid'] == server and e['tsc'] < reaped[at]['tsc']]
    return {'syn_pkt': reaped[at]['pkt'], 'syn_slot': at % 256, 'rdh': (at + 1) % 256, 'syn_buffer': client.syn[:34].hex(),
            'client_isn': client.isn, 'server_isn': synack.tcp.seq, 'state_before': 'LISTEN', 'state_after': 'SYN-RECEIVED',
            'tdt_before': (sent['slot'] + 1 - sent['nfrag']) % 256, 'tdt_after': (sent['slot'] + 1) % 256,
            'acceptor': server, 'sleeps_on': slept[-1]}


def number(said):
    return int(str(said), 0)


def follow(lab, names):
    """Carry out the recipes for these values, and compare."""
    said = answers(lab)
    missing = [name for name in names if not said['values'].get(name)]
    lab.need(not missing, 'a recipe for ' + ', '.join(names), 'none for ' + ', '.join(missing))
    if not shutil.which('gdb'):
        raise RuntimeError('gdb is missing: make doctor')
    ways = {name: said['values'][name] for name in names}
    wire = lab.boot('trace=std,+sleep,+wakeup', cpus=1, extra=('-g',))
    client, have = Client(wire), {}
    gdb = Gdb(lab, wire, client)
    try:
        gdb.run('target remote gdb.sock')
        gdb.run('net-until tcp_state if to == LISTEN')
        client.knock()
        for k, condition in enumerate(said['stops'], 1):
            here = [name for name in names if ways[name]['stop'] == k]
            if here or any(way['stop'] > k for way in ways.values()):
                gdb.stop(k, condition)
            have.update((name, gdb.value(ways[name])) for name in here)
            if 'syn_buffer' in here:  # now, while the frame is there
                have['syn_buffer'] = gdb.bytes(have['syn_buffer'])
        gdb.run('detach')
        if not client.answered:
            client.answer(wire.expect(client.mine, 'SYN,ACK'))
        facts = truth(wire, client)
    finally:
        gdb.close()
    # The trace writes SYN_RECEIVED, net-pcbs SYN-RECEIVED: both are right.
    have.update((name, have[name].replace('_', '-')) for name in names if name.startswith('state') and isinstance(have[name], str))
    wrong = [f'{name}: {have[name]!r}, read at stop {ways[name]["stop"]}: not true of it' for name in names if have[name] != facts[name]]
    lab.need(not wrong, 'what is true of this SYN, which is of another boot and another client than yours', '\n'.join(wrong))


def arrives(lab):
    """Where the frame lies, and what the kernel calls it."""
    follow(lab, ['syn_pkt', 'syn_slot', 'rdh', 'syn_buffer'])


def connection(lab):
    """What it makes of the control blocks."""
    follow(lab, ['client_isn', 'server_isn', 'state_before', 'state_after'])


def leaves(lab):
    """The answer, and who waited for all this."""
    follow(lab, ['tdt_before', 'tdt_after', 'acceptor', 'sleeps_on'])


TESTS = {'arrives': (4, arrives), 'connection': (3, connection), 'leaves': (3, leaves)}


def EXPECTED(case):
    """What the self-test wants: from, to."""
    if case.startswith('reference'):
        return 10, 10
    return (0, 0) if case.startswith(('untouched', 'cheat')) else (0, 7)
