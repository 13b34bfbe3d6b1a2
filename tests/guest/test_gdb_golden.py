"""Every command of tools/gdb at three points of one run: what it says, as text and as JSON,
is what lies in tests/guest/golden_gdb/, one file a point.  6 seconds.

The run has one CPU, a clock of instructions and no peer but QEMU itself, so it is the
same each time, on any machine; on another kernel addresses, times, drawn numbers and
the place of a line differ.  masked() makes tokens of them, the same value the same token
in all three files; the rest is the walkthrough's mask (docs/walkthrough/walk: Run.canon).
An object of --json stands there as KEY=VALUE words, so that both forms have one mask.

After a change that is meant:  GOLDEN=update pytest tests/guest/test_gdb_golden.py
and look at what git diff tells.
"""

import difflib
import importlib.machinery
import importlib.util
import json
import os
import re
import shutil
import subprocess

import pytest

from test_gdb import gdb
from vm import CAP, TOP

pytestmark = pytest.mark.skipif(not shutil.which('gdb'), reason='no gdb')
GOLDEN = os.path.join(TOP, 'tests', 'guest', 'golden_gdb')
WORDS = ('-D', '-c', '1', '-m', '64', '-a',
         'trace=std,+frame seed=7 run="httpd & ping -c 1 10.0.2.2; fetch -o page http://127.0.0.1/nosuch; sleep 9"')

# The points: the frame that answers DHCP has just been taken from the ring; a connection of
# the guest to itself is open on one side; it is over, but for TIME-WAIT.
POINTS = {'received': 'net-until e1000_rx', 'connected': 'net-until tcp_state if to == ESTABLISHED',
          'closed': 'net-until tcp_state if to == TIME_WAIT'}
LOOK = ['ps', 'proc 1', 'btp 1', 'btp 2', 'bt-all', 'vtop 1 0x80100000', 'vtop 1 0x70000000', 'pgdir 1', 'locks', 'locks --all',
        'runq', 'kmem', 'net-if', 'net-ring rx -n 6', 'net-ring tx -n 6', 'net-pcbs', 'net-sockets', 'net-arp', 'net-timers',
        'net-trace -n 8', 'net-why $_pkt']
MORE = {'received': ['net-step', 'net-step', 'net-pbuf $pkt($_pkt) --hex --verify', 'net-pcap {}.pcap', 'pbreak 1 sys_read'],
        'connected': ['net-pcbs --state syn-received', 'net-pbuf tcp_active_pcbs->next->unacked->p --verify', 'proc 6'],
        'closed': ['net-trace --event sock_state']}
MAKES = {'net-pcap', 'pbreak', 'net-until', 'net-step'}  # not twice the same: they make something, or run
REPLAY = {'net-goto', 'net-back'}  # what they print is net-until's (test_record)

# In gdb: a command as text, its objects, and the text that the command makes of those alone.
ASK = """
import json, common
def ask(command):
    name = command.split()[0]
    text = gdb.execute(command.format('text'), to_string=True)
    rows = [json.loads(line) for line in gdb.execute(command.format('json') + ' --json', to_string=True).splitlines()]
    print(json.dumps([command, text, rows]), flush=True)
    if name not in MAKES:
        print('<again>')
        common.Command.known[name].show(rows)
        print('<end>', flush=True)
"""


@pytest.fixture(scope='module')
def asked(tmp_path_factory):
    """{point: [(command, text, objects, the objects as text)]}"""
    path = tmp_path_factory.mktemp('golden')
    (path / 'ask.py').write_text(f'MAKES = {MAKES}\n' + ASK)
    script = [f'source {path}/ask.py']
    for point, way in POINTS.items():
        script += [way] + [f'python ask({command!r})' for command in LOOK + MORE[point]]
    said = gdb(path / 'run', *script, words=WORDS)[1:]
    found = {}
    for point, way in POINTS.items():
        found[point] = [(way, said.pop(0), None, None)]
        for command in LOOK + MORE[point]:
            first, _, again = said.pop(0).partition('\n<again>\n')
            try:
                found[point].append((*json.loads(first), again.rpartition('<end>\n')[0] if again else None))
            except ValueError:
                pytest.fail(f'{point}: {command}: {first}')
    return found


# ---- the mask ---------------------------------------------------------------

TIMES = {'tsc', 'us', 'gap_us', 'due_ms', 'ms'}
SIZES = {'stack_left', 'kb', 'free', 'given_back', 'never_used'}
ADDRESSES = {'pcb', 'pbuf', 'payload', 'pgdir', 'kstack', 'pc', 'va', 'pa', 'entry', 'at', 'RDBAL', 'TDBAL'}
REGISTER = re.compile(r'  (?!.DBAL)[A-Z]{3,}\b')
# Calls that no compiler draws into their caller; the others may be there or not.
CALLS = r'sys_\w+|syscall|trap|alltraps|kthread_entry|netd|ip4_input|tcp_input|on_\w+'
CALLERS = re.compile(r'#[1-9]\d* +0x\w+ +0x|.*\bframe=[1-9]\d*, mode=user')  # of a program, the same
DEBUG_LOCKS = r'(lock=)?(transaction|one|two)\b'  # the debug kernel's own
FRAME = re.compile(r'#\d+ +0x\w+ +(?!in )([a-z_]\w*)|.*\bmode=kernel, pc=\w+, where="?(\w+)')
MASKS = (
    (r'^(  0x\w{8}  )(?!ff ff ff ff ff ff 52).*', r'\1<bytes>'),  # net-pbuf --hex, but for a frame's first line
    (r'\b(data=[0-9a-f]{24})[0-9a-f]+', r'\1<bytes>'),
    (r'[^\s("]*/lwip-[\d.]+/src/', 'lwip/'),
    (r'(\.[chS](?::|, line ))\d+', r'\1<line>'),
    (r'^\d+\t.*', '<source>'),
    (r'^#\d+ +0x\w+ +(?!in )', '#<frame> <pc> '),
    (r'^#\d+ +(0x\w+ in )?', '#<frame> '),
    (r'\bframe=\d+, mode=kernel, pc=\w+', 'frame=<frame>, mode=kernel, pc=<pc>'),
    (r'\bcsum=0x[0-9a-f]+', 'csum=<csum>'),
    (r'(TCP: sum right).*', r'\1'),  # one in 257 is right in either byte order
    (r'\b(tsc|win|hpet|pmt)=\d+', r'\1=<clock>'),
    (r'\binode \d+', 'inode <inode>'),
    (r'^ *-?\d+(?=  \w+_(timer|tmr|fallback)\b)', '<due>'),
    (r'^(0x\w+ +0x\w+ +)\d+', r'\1<kb>'),
    (r'\d+(?= pages of| used before| never;| bytes of user memory| bytes of the kernel stack)', '<size>'))


def words(row, before=''):
    """An object as KEY=VALUE words, those of an inner one behind its name and a dot."""
    for key, value in row.items():
        if isinstance(value, dict):
            yield from words(value, f'{before}{key}.')
        elif key in TIMES or key in SIZES or (key == 'seq' and 'event' in row) or (key == 'size' and 'pgdir' in row):
            yield f'{before}{key}=<{key}>'
        elif key in ADDRESSES and isinstance(value, int):
            yield f'{before}{key}={value:#x}'
        elif key == 'hex':
            yield f'{before}{key}={len(value) // 2}'
        else:
            said = value if isinstance(value, str) else json.dumps(value)
            yield f'{before}{key}=' + (f'"{said}"' if ' ' in said or not said else said)


def masked(command, text, pointers):
    """Text without what another kernel or compiler changes, as far as the walkthrough's mask does not know it."""
    def pointer(hit):
        value = int(hit.group(), 16)
        return f'<ptr{pointers.setdefault(value, len(pointers) + 1)}>' if value >= 4096 else hit.group()

    lines = []
    for line in text.splitlines():
        call = FRAME.match(line)
        if call and not re.fullmatch(CALLS, call.group(1) or call.group(2)) or CALLERS.match(line):
            continue
        if command.startswith('locks') and re.match(DEBUG_LOCKS, line):
            continue
        for pattern, token in MASKS:
            line = re.sub(pattern, token, line)
        if not REGISTER.match(line):
            line = re.sub(r'(?<![\w+])(?<!hash=)(?<!l4sum=)(?<!registers\.\w{3}=)(?<!registers\.\w{4}=)0x[0-9a-f]+\b', pointer, line)
        lines.append(line)
    return '\n'.join(lines)


def walk_mask(values):
    """The walkthrough's mask, which knows these numbers by their tokens."""
    loader = importlib.machinery.SourceFileLoader('walk', os.path.join(TOP, 'docs', 'walkthrough', 'walk'))
    walk = importlib.util.module_from_spec(importlib.util.spec_from_loader('walk', loader))
    loader.exec_module(walk)
    run = walk.Run.__new__(walk.Run)
    run.values = values
    return run.canon


def drawn(told):
    """The numbers of the connection: {number: token}"""
    rows = next(rows for command, _, rows, _ in told['connected'] if command.startswith('net-trace'))
    (synack,) = [row['fields'] for row in rows if row['event'] == 'tcp_seg_in' and row['fields']['flags'] == 'SYN,ACK']
    return {synack['seq']: '<isnS>', synack['ack'] - 1: '<isnC>', synack['lport']: '<portC>'}


def documents(told):
    """{point: its file's text}"""
    pointers, text = {}, ''
    for point, found in told.items():
        text += f'==== {point}\n'
        for command, said, rows, _ in found:
            text += f'(gdb) {command}\n{masked(command, said, pointers)}\n'
            if rows is not None:
                said = '\n'.join(', '.join(words(row)) for row in rows)
                text += f'(gdb) {command} --json\n{masked(command, said, pointers)}\n'
    parts = re.split(r'^==== (\w+)\n', walk_mask(drawn(told))(text) + '\n', flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2]))


# ---- what must hold ---------------------------------------------------------

def test_every_command():
    """No command is left out here, and each one has --json."""
    script = 'import common; print("<commands>"); print(*sorted(common.Command.known)); ' \
        'print(*[name for name, command in common.Command.known.items() if "--json" not in command.parser.format_usage()])'
    said = subprocess.run(['gdb', '-batch', '-q', '-nx', '-x', os.path.join(TOP, 'tools/gdb/init.gdb'), '-ex', 'python ' + script,
                           '-ex', 'help user-defined'], env=dict(os.environ, XV6_TOP=TOP), stdout=subprocess.PIPE, timeout=CAP,
                          text=True, check=True).stdout
    ours, without, *rest = said.split('<commands>\n')[1].splitlines()
    assert set(ours.split()) == set(re.findall(r'^(\S+) -- ', '\n'.join(rest), re.M)) and not without
    told = {command.split()[0] for command in [*LOOK, *sum(MORE.values(), []), *POINTS.values()]}
    assert told == set(ours.split()) - REPLAY


def test_json_has_all(asked):
    """The text can be made of the objects alone, so they have every fact that it has."""
    for point, found in asked.items():
        for command, text, rows, again in found:
            if again is not None:
                assert rows or text.startswith(command.split()[0] + ': no '), (point, command)
                assert again == text, (point, command)


@pytest.mark.parametrize('point', POINTS)
def test_golden(asked, point):
    path = os.path.join(GOLDEN, point + '.txt')
    now = documents(asked)[point]
    if os.environ.get('GOLDEN') == 'update':
        os.makedirs(GOLDEN, exist_ok=True)
        with open(path, 'w', encoding='utf-8') as file:
            file.write(now)
    with open(path, encoding='utf-8') as file:
        kept = file.read()
    delta = list(difflib.unified_diff(kept.splitlines(), now.splitlines(), path, 'now', lineterm=''))
    assert not delta, '\n'.join(delta + ['if it is meant: GOLDEN=update'])
