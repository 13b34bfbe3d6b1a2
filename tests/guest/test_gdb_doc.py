"""The listings of docs/walkthrough/tools/gdb.md: the session they are from, played again.  2 seconds.

The document's commands are given in its order, and what gdb says is compared with what
stands there, both under test_gdb_golden's mask.  BETWEEN has what the reader is not shown:
the client on the host, and the wait for a guest that has nothing more to do, so that
the state at the next stop is always the same.

After a change that is meant:  GOLDEN=update pytest tests/guest/test_gdb_doc.py
writes the listings anew.  The prose round them is for a person to look at.
"""

import difflib
import os
import re
import shutil

import pytest

from test_gdb import gdb
from test_gdb_golden import masked, walk_mask
from vm import TOP

pytestmark = pytest.mark.skipif(not shutil.which('gdb'), reason='no gdb')
DOCUMENT = os.path.join(TOP, 'docs', 'walkthrough', 'tools', 'gdb.md')
BLOCK = re.compile(r'(?<=```console\n)\(gdb\) .*?(?=```)', re.S)
WIDE = 118  # what is longer is cut in the document
BETWEEN = {
    'net-until tcp_seg_in if flags & SYN': [
        'net-until sock_state if to == LISTENING',
        "python import os, socket; peer = socket.create_connection(('127.0.0.1', int(os.environ['TCP_80'])))"],
    'net-until e1000_rx if len >= 70': [
        'net-until sock_accept', 'net-until switch if next == 0', "python peer.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')"]}


def blocks(text):
    """The listings: [(command, what gdb said)] of each."""
    for block in BLOCK.findall(text):
        parts = re.split(r'^\(gdb\) (.*)\n', block, flags=re.M)[1:]
        yield list(zip(parts[::2], parts[1::2]))


def replayed(block):
    """Is it from a recording?"""
    return block[0][0].startswith('net-goto')


def cut(line):
    return line if len(line) <= WIDE + 3 else line[:WIDE] + '...'


def as_in(line, model):
    """A line cut behind as many words as the model, if that is cut."""
    return ' '.join(line.split()[:len(model.split()) - 1]) if model.endswith('...') else line


def canon(listing):
    """The listing, [(command, text)], without what differs from run to run and from kernel to kernel."""
    text, pointers = '', {}
    for command, said in listing:
        said = re.sub(r'^\d+\t\s*', '<line> ', said, flags=re.M)  # the source itself is compared
        text += f'(gdb) {command}\n{masked(command, said, pointers)}\n'
    port = int(re.search(r'rport=(\d+)', text).group(1))
    isn = int(re.search(r'SND\.UNA (\d+)', text).group(1)) - 1
    return walk_mask({port: '<portC>', isn: '<isnS>'})(text).splitlines()


@pytest.fixture(scope='module')
def document():
    with open(DOCUMENT, encoding='utf-8') as file:
        return file.read()


def test_listings(document, tmp_path):
    stored = [line for block in blocks(document) if not replayed(block) for line in block]
    script, shown = [], []
    for command, _ in stored:
        script += BETWEEN.get(command, [])
        shown.append(len(script))
        script.append(command)
    said = gdb(tmp_path / 'run', *script, 'kill', words=('-D', '-c', '1', '-m', '64', '-a', 'trace=std,+switch'))
    fresh = [(script[k], said[k]) for k in shown]
    if os.environ.get('GOLDEN') == 'update':
        told = iter(fresh)

        def anew(hit):
            (block,) = blocks(f'```console\n{hit.group()}```')
            if replayed(block):
                return hit.group()
            return ''.join(f'(gdb) {command}\n' + ''.join(cut(line) + '\n' for line in text.splitlines())
                           for _, (command, text) in zip(block, told))

        document = BLOCK.sub(anew, document)
        with open(DOCUMENT, 'w', encoding='utf-8') as file:
            file.write(document)
        stored = [line for block in blocks(document) if not replayed(block) for line in block]
    # What is cut in the document is cut in both, at the same word.
    new = [(command, '\n'.join(as_in(line, (old.splitlines() + [''] * 99)[k]) for k, line in enumerate(text.splitlines())))
           for (command, text), (_, old) in zip(fresh, stored)]
    old = [(command, '\n'.join(as_in(line, line) for line in text.splitlines())) for command, text in stored]
    delta = list(difflib.unified_diff(canon(old), canon(new), DOCUMENT, 'now', lineterm=''))
    assert not delta, '\n'.join(delta + ['if it is meant: GOLDEN=update'])


def test_of_a_recording(document):
    """The listings that need a recording are not made again; the source they show stands where they say."""
    found = 0
    for block in filter(replayed, blocks(document)):
        for _, text in block:
            function, name, source = re.search(r'^#\d+ +(\w+) .* at (\S+):\d+\n\d+\t\s*(.*)', text, re.M).groups()
            with open(os.path.join(TOP, name), encoding='utf-8') as file:
                body = re.search(rf'^{function}\(.*?^}}', file.read(), re.M | re.S).group()
            assert source in body, (name, function)
            found += 1
    assert found
