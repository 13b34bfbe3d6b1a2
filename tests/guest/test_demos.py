"""make demo D=NAME: every failure still applies, and one of them, another with another kernel, still shows."""

import glob
import os
import re
import shutil
import subprocess

import pytest

from vm import BUILD, CAP, NETTRACE, TOP

DEMOS = os.path.join(TOP, 'labs', 'demos')
NAMES = sorted(os.path.basename(path)[:-6] for path in glob.glob(os.path.join(DEMOS, '*.patch')))


def demo(*words):
    done = subprocess.run([os.path.join(DEMOS, 'demo'), *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=4 * CAP, env=dict(os.environ, B=BUILD, NETTRACE=NETTRACE))
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize('name', NAMES)
def test_demo_is_whole(name):
    """Its patch applies as it stands, and it says what is played, what to look for and what must be true."""
    done = subprocess.run(['patch', '--dry-run', '-p1', '-i', os.path.join(DEMOS, name + '.patch')], cwd=TOP,
                          stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0 and 'fuzz' not in done.stdout, done.stdout
    with open(os.path.join(DEMOS, name + '.py')) as f:
        text = f.read()
    assert re.match(r'"""[^\n]+\."""\n', text)
    assert all(re.search(f'^{word} = .', text, re.M) for word in ('LADDER', 'LOOK', 'GOOD', 'FAULT'))


def test_list_and_wrong_name():
    code, said, complaint = demo('list')
    assert code == 0 and [row.split()[0] for row in said.splitlines()] == NAMES and complaint == ''
    for words in (['nosuch'], [], ['../x'], ['list', 'list']):
        code, said, complaint = demo(*words)
        assert code == 2 and said == '' and complaint.count('\n') == 1 and 'D=list' in complaint


def test_todays():
    """The demo that the kernel's sources choose (labs/demos/demo --today says which), for real."""
    code, said, complaint = demo(demo('--today')[1].strip())
    assert code == 0, said + complaint
    assert 'What to look for: ' in said and said.count('\nok') >= 2
    runs = re.findall(r'^==== [^:]*: (\S+)$', said, re.M)
    assert len(runs) == 2
    for run in runs:
        shutil.rmtree(os.path.join(TOP, run))
        os.unlink(os.path.join(TOP, run + '.log'))
