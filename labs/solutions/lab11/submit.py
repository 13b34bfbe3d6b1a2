"""Lab 11's submissions for the self-test: a recording made on the spot, and answers about it.

The answers are found as a student finds them, by going back and forth in the recording
with gdb: the grader, which does not, must come to the same.
"""

import json
import os
import random
import re
import shutil
import subprocess

CASES = ['wrong-next-event', 'wrong-next-packet', 'wrong-before-is-after', 'wrong-other-recording', 'wrong-trace-edited',
         'cheat-nothing-recorded']


def record(tree, name='recording'):
    env = {k: v for k, v in os.environ.items() if k not in ('B', 'DEBUG', 'NETTRACE')}
    subprocess.run(['tools/record', 'record', 'python3', 'labs/lab11/talk.py', 'PORT'], cwd=tree, check=True, timeout=60,
                   env=dict(env, RUN=name, APPEND='rc=off run="udpecho -t 80"'), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)


def rows(tree):
    said = subprocess.run(['build/nettrace', 'dump', '--json', '-q', 'recording'], cwd=tree, check=True, stdout=subprocess.PIPE)
    return [row for row in map(json.loads, said.stdout.splitlines()) if 'seq' in row]


def gdb(tree, *commands):
    env = {k: v for k, v in os.environ.items() if k not in ('B', 'DEBUG', 'NETTRACE')}
    return subprocess.run(['tools/gdb/start'], cwd=tree, env=dict(env, RR='replay', RUN='recording'), timeout=300,
                          input='\n'.join(commands) + '\n', text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout


def suspect(tree):
    """The events of the packet that came to harm: the one dropped, or the last with data that was read."""
    every = rows(tree)
    pkt = next((r['pkt'] for r in every if r['event'] == 'net_drop' and r['fields']['reason'] == 'TCP_CSUM'), None)
    pkt = pkt or [r['pkt'] for r in every if r['event'] == 'sock_read'][-1]
    first = next(k for k, r in enumerate(every) if r['event'] == 'e1000_rx' and r['pkt'] == pkt)
    last = max(k for k, r in enumerate(every) if r['pkt'] == pkt)
    return pkt, every[first:last + 1]


def travel(tree):
    """Between which two events does a byte of the data change?  In one replay, forwards."""
    pkt, way = suspect(tree)
    buf, size = int(way[0]['fields']['buf'], 0), way[0]['fields']['len']
    commands = []
    for row in way:
        commands += [f"net-goto {row['seq']}", f'python print("bytes", {row["seq"]}, bytes(gdb.selected_inferior()'
                     f'.read_memory({buf}, {size})).hex())']
    seen = [(int(seq), bytes.fromhex(data)) for seq, data in re.findall(r'bytes (\d+) ([0-9a-f]+)', gdb(tree, *commands))]
    for (seq, then), (_, now) in zip(seen, seen[1:]):
        at = next((k for k in range(54, size) if then[k] != now[k]), None)
        if at is not None:
            return {'pkt': pkt, 'offset': at, 'before': then[at], 'after': now[at], 'seq': seq}
    raise RuntimeError(f'no byte of #{pkt} changes')


def main(tree, case, _):
    record(tree)
    said = travel(tree)
    if case == 'wrong-next-event':
        said['seq'] += 1
    elif case == 'wrong-next-packet':
        said['pkt'] += 1
    elif case == 'wrong-before-is-after':
        said['before'], said['after'] = said['after'], said['before']
    elif case == 'wrong-other-recording':  # right answers about another run
        while suspect(tree)[0] == said['pkt']:
            shutil.rmtree(os.path.join(tree, 'recording'))
            record(tree)
    elif case == 'wrong-trace-edited':  # another packet's number in the trace that is handed in
        path = os.path.join(tree, 'recording', 'trace.nt')
        with open(path, 'r+b') as f:
            f.seek(os.path.getsize(path) - random.randrange(200, 2000))
            f.write(b'\xff' * 8)
    elif case == 'cheat-nothing-recorded':
        os.remove(os.path.join(tree, 'recording', 'rr.bin'))
    with open(os.path.join(tree, 'answers.json'), 'w') as f:
        json.dump(said, f)
