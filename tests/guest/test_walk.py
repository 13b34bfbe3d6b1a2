"""The walkthrough's tool finds what has changed, and a scenario played twice tells one story."""

import os
import re
import shutil
import subprocess

import pytest

from vm import BUILD, CAP, NETTRACE, TOP

FILES = ('docs/walkthrough', 'tests/golden', 'tests/lib', 'kernel')


@pytest.fixture
def tree(tmp_path):
    """A copy of what the tool looks at; the function runs it there."""
    for name in FILES:
        shutil.copytree(os.path.join(TOP, name), tmp_path / name)

    def walk(*words):
        done = subprocess.run([tmp_path / FILES[0] / 'walk', *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=CAP, env=dict(os.environ, B=BUILD, NETTRACE=NETTRACE))
        return done.returncode, done.stdout + done.stderr

    walk.chapter = tmp_path / FILES[0] / '06-listen-to-syn-received.md'
    return walk


def edit(walk, old, new):
    text = walk.chapter.read_text()
    assert old in text
    walk.chapter.write_text(text.replace(old, new, 1))
    return walk('check', '06')


@pytest.mark.parametrize('old, new, status, words', [
    ('', '', 0, '1 passed, 0 failed'),
    ('mss=1460 state', 'mss=1461 state', 1, '-1'),
    ('dir==IN) == 1', 'dir==IN) == 2', 1, 'not so: count(tcp_open, dir==IN) == 2 (found: 1)'),
    ('A SYN costs', '`#99` costs', 1, '#99 stands in no listing'),
    ('walk=handshake', 'walk=nosuch', 2, 'no scenario nosuch'),
    ('walk=handshake', 'wolk=handshake', 2, 'walk= and cmd= are needed'),
    ('cmd="nettrace dump', 'cmd="rm dump', 2, 'nettrace, tshark, or guest'),
    ('count(tcp_open', 'sum(tcp_open', 2, 'no such claim')])
def test_check_finds(tree, old, new, status, words):
    code, said = edit(tree, old, new) if old else tree('check', '06')
    assert code == status and words in said, said


@pytest.mark.parametrize('old, new, words', [
    ('net.c:net_isn', 'net.c:net_iss', 'no function net_iss in kernel/net/net.c'),
    ('lwip/tcp_in.c:tcp_process', 'lwip/tcp_out.c:tcp_process', 'no function tcp_process in lwip/tcp_out.c'),
    ('| `tcp_life`', '| `tcp_lives`', '3.5.3: no event tcp_lives'),
    ('`tcp_open`', '`tcp_dupack`', '3.5: no event tcp_dupack in its chapters')])
def test_index_is_checked(tree, old, new, words):
    """The index into the RFC: functions that are where it says, events that its chapters show."""
    tree.chapter = tree.chapter.parent / 'appendix-c-rfc9293.md'
    text = tree.chapter.read_text()
    assert old in text
    tree.chapter.write_text(text.replace(old, new, 1))
    code, said = tree('check', 'appendix-c')
    assert code == 1 and words in said, said


def test_masks_keep_sums():
    """What differs between runs is a token; a sum that is wrong still shows."""
    import importlib.machinery
    import importlib.util
    loader = importlib.machinery.SourceFileLoader('walk', os.path.join(TOP, FILES[0], 'walk'))
    walk = importlib.util.module_from_spec(importlib.util.spec_from_loader('walk', loader))
    loader.exec_module(walk)
    run = walk.Run(os.path.join(TOP, FILES[1], 'handshake'))
    first = next(value for value, token in run.values.items() if token == '<isnC>')
    assert run.canon(f'seq={first} ack={first + 1} #7 #8 #7 0.5 10.9.0.1') == \
        'seq=<isnC> ack=<isnC>+1 <pkt1> <pkt2> <pkt1> <t> 10.9.0.1'
    assert '<isnC>' not in run.canon(f'seq={first - 1}')


def test_two_new_runs(tmp_path):
    """One scenario, live; make walkthrough-check plays them all."""
    done = subprocess.run([os.path.join(TOP, FILES[0], 'walk'), 'check', '--live', '06'], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=CAP, env=dict(os.environ, B=BUILD, NETTRACE=NETTRACE))
    assert done.returncode == 0 and re.search(r'^2 passed, 0 failed$', done.stdout, re.M), done.stdout


def test_pages_have_no_dead_link(tmp_path):
    """make walkthrough: with a pandoc that only copies, every link between its pages leads to one."""
    pandoc = tmp_path / 'pandoc'
    pandoc.write_text('#!/bin/sh\nfor word; do last=$word; done\nexec cat >"$last"\n')
    pandoc.chmod(0o755)
    out = tmp_path / 'out'
    done = subprocess.run([os.path.join(TOP, FILES[0], 'walk'), 'pages', str(out)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=CAP,
                          env=dict(os.environ, B=BUILD, NETTRACE=NETTRACE, PATH=f"{tmp_path}:{os.environ['PATH']}"))
    assert done.returncode == 0 and done.stdout.strip() == str(out / 'index.html'), done.stdout
    pages = [path for path in out.glob('*.html') if not path.name.startswith('run-')]
    links = {(path.name, to) for path in pages for to in re.findall(r'\]\(([^()#:\s]+)\)', path.read_text())}
    assert len(pages) >= 20 and ('index.html', 'answers.html') in links and ('07-the-synack-leaves.html', 'run-handshake.html') in links
    assert not [link for link in links if not (out / link[1]).exists()]
