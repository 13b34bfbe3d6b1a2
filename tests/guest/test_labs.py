"""The labs: every fault and every known solution still applies, and the grader tells them apart.

labs/lab selftest grades all of them; here one lab, untouched, solved, and not building."""

import csv
import glob
import importlib.machinery
import importlib.util
import json
import os
import shutil
import signal
import subprocess

import pytest

from vm import CAP, TOP

if not os.path.isdir(os.path.join(TOP, 'labs', 'solutions')):
    pytest.skip('a tree for students: no solutions to try', allow_module_level=True)

LAB = os.path.join(TOP, 'labs', 'lab')
STUDENT = 'of-test-labs'
EVIDENCE = os.path.join(TOP, 'labs', 'work', 'evidence', STUDENT + '-05')
NAMES = sorted(os.path.basename(path)[3:] for path in glob.glob(os.path.join(TOP, 'labs', 'lab[0-9]*')))


def lab(*words):
    done = subprocess.run([LAB, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=CAP)
    return done.returncode, done.stdout, done.stderr


def grade_all(*words):
    return subprocess.run([os.path.join(TOP, 'tools', 'grade-all'), *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=CAP)


def load(name, path):
    """A script or a lab's grade.py as a module."""
    loader = importlib.machinery.SourceFileLoader(name, path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


def read(path):
    with open(path) as f:
        return f.read()


FRAME = load('labs_lab', LAB)


@pytest.mark.parametrize('name, case, patches', [(name, case, patches) for name in NAMES
                                                 for case, _, patches in FRAME.known(name) if patches])
def test_patch_applies(name, case, patches, tmp_path):
    """Each of the self-test's cases can be made, in a folder that has only the files it changes."""
    for path in patches:
        with open(path) as f:
            files = [line.split()[1][2:] for line in f if line.startswith('+++ ')]
        for file in files:
            os.makedirs((tmp_path / file).parent, exist_ok=True)
            if os.path.exists(os.path.join(TOP, file)) and not (tmp_path / file).exists():
                shutil.copy(os.path.join(TOP, file), tmp_path / file)
        done = subprocess.run(['patch', '-p1', '-i', path], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        assert files and done.returncode == 0 and 'fuzz' not in done.stdout, done.stdout


@pytest.mark.parametrize('name', NAMES)
def test_lab_is_whole(name):
    """A task that names the files, three hints, three wrong solutions; for a hunt a key for each variant."""
    here, solutions = os.path.join(TOP, 'labs', 'lab' + name), os.path.join(TOP, 'labs', 'solutions', 'lab' + name)
    plan, every = FRAME.plan(name), FRAME.variants(name)
    text = read(os.path.join(here, 'task.md'))
    assert plan.FILES and all(f'`{file}`' in text for file in plan.FILES) and text.startswith(f'# Lab {int(name)}. ')
    assert len(read(os.path.join(here, 'hints.md')).split('\n---\n')) == 3
    assert len([case for case, *_ in FRAME.known(name) if case.startswith('wrong-')]) >= 3
    assert f'| [{name}](lab{name}/task.md) |' in read(os.path.join(TOP, 'labs', 'README.md'))
    if plan.DIAGNOSIS:
        assert 'diagnosis.json' in text
        key = json.loads(read(os.path.join(solutions, 'key.json')))
        assert len(key) == len(every)
        for row, fault in zip(key, every):  # the function is this kernel's, or one that the fault adds
            text = ''.join(read(os.path.join(TOP, file)) for file in row['file']) + read(os.path.join(here, 'variants', fault))
            assert row['function'][0] + '(' in text


@pytest.mark.parametrize('way, good', [
    ({'print': '$pcb(80)->snd_nxt + 1'}, True), ({'print': 'cards[0].tx_prod % 256'}, True), ({'print': '(unsigned)cards[0].rx'}, True),
    ({'print': '$_shell("id")'}, False), ({'print': '$_shell(id)'}, False), ({'print': 'x = 1'}, False), ({'print': '$eip++'}, False),
    ({'print': 'ticks--'}, False), ({'print': '1234'}, False), ({'print': 'ticks\nshell id'}, False), ({'print': 'ticks") or 1 #'}, False),
    ({'command': 'net-ring tx -n 4', 'field': 'head'}, True), ({'command': 'net-trace --pkt $_pkt', 'field': 'pkt'}, True),
    ({'command': 'shell id', 'field': 'pkt'}, False), ({'command': 'ps | cat', 'field': 'pid'}, False),
    ({'command': 'net-pbuf $_shell("id")', 'field': 'len'}, False), ({'command': 'net-pcap f', 'field': 'x'}, False),
    ({'command': 'ps\nshell id', 'field': 'pid'}, False), ({'command': 'net-until e1000_rx', 'field': 'pkt'}, False)])
def test_recipes(way, good):
    """Lab 1: what gets to gdb, which could run anything here, and what does not."""
    assert FRAME.plan('01').allowed(dict(way, stop=1), 1) == good and not FRAME.plan('01').allowed(dict(way, stop=2), 1)


@pytest.mark.parametrize('text', ['', '[]', '{"lab": "05"}', '{"lab": "05", "variant": 99, "hints": 0, "files": {}}',
                                  '{"lab": "05", "variant": 0, "hints": "x", "files": {}}'])
def test_no_copy(text, tmp_path):
    (tmp_path / '.lab.json').write_text(text)
    code, _, complaint = lab('grade', '05', '--dir', str(tmp_path))
    assert code == 2 and 'is no copy of a lab' in complaint and complaint.count('\n') == 1


@pytest.fixture
def copy(tmp_path):
    """A student's copy of lab 05: the function makes it with these patches and grades it."""
    def grade(*patches, **diagnosis):
        tree = tmp_path / STUDENT / '05'
        for name in ('kernel/net/e1000.c', 'kernel/net/ethif.c'):
            os.makedirs((tree / name).parent, exist_ok=True)
            shutil.copy(os.path.join(TOP, name), tree / name)
        for patch in patches:
            subprocess.run(['patch', '-s', '-p1', '-i', os.path.join(TOP, 'labs', patch)], cwd=tree, check=True)
        (tree / '.lab.json').write_text(json.dumps(dict(lab='05', variant=0, hints=1, files={'Makefile': 'x'})))
        (tree / 'Makefile').write_text('all: ; echo score 10 of 10')
        if diagnosis:
            (tree / 'diagnosis.json').write_text(json.dumps(diagnosis))
        code, said, complaint = lab('grade', '05', '--dir', str(tree), '--json', str(tmp_path / 'out.json'),
                                    '--gradescope', str(tmp_path / 'results.json'))
        assert code == 0, said + complaint
        return json.loads((tmp_path / 'out.json').read_text()), said

    yield grade
    shutil.rmtree(EVIDENCE, ignore_errors=True)


def test_untouched(copy, tmp_path):
    report, said = copy('lab05/variants/a.patch')
    assert (report['score'], report['max'], report['hints']) == (1, 10, 1)
    assert [t['status'] for t in report['tests']] == ['pass', 'fail', 'fail']
    assert report['not_used'] == ['Makefile'] and 'Makefile was edited' in said
    assert report['tests'][1]['expected'] and report['tests'][1]['story']
    assert report['evidence'] == EVIDENCE and glob.glob(EVIDENCE + '/*/wire.pcap') and glob.glob(EVIDENCE + '/*/trace.nt')
    assert not glob.glob(os.path.join(TOP, 'labs', 'work', '.grade-05-*'))
    scope = json.loads((tmp_path / 'results.json').read_text())
    assert scope['score'] == 1 == sum(t['score'] for t in scope['tests'])
    assert [(t['max_score'], t['status']) for t in scope['tests']] == \
        [(t['max'], 'passed' if t['status'] == 'pass' else 'failed') for t in report['tests']]
    assert report['tests'][1]['expected'] in scope['tests'][1]['output'] and not scope['tests'][0]['output']


def test_solved(copy):
    os.makedirs(EVIDENCE)
    report, _ = copy(file='kernel/net/ethif.c', function='pieces', event='e1000_tx',
                     sentence='only the first piece of a chain is sent')
    assert report['score'] == 10 and not os.path.exists(EVIDENCE)  # it was an earlier grading's


def test_does_not_build(copy, tmp_path):
    """All the same a clear result; and the whole class's table shows it."""
    report, said = copy('solutions/lab04/wrong-does-not-build.patch')
    assert report['score'] == 0 and report['tests'][0]['id'] == 'build' and 'nonsense' in said
    for folder in ('zoe/99', 'zoe/-h', 'zwi'):
        (tmp_path / folder).mkdir(parents=True)
    done = grade_all(str(tmp_path), '-j', '2')
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert [(row['student'], row['lab'], row['score'], row['failed'].split()[0]) for row in rows] == \
        [(STUDENT, '05', '0', 'build'), ('zoe', '-h', '', 'labs:'), ('zoe', '99', '', 'labs:'), ('zwi', '', '', f'{tmp_path}/zwi/')]
    assert done.returncode == 1 and '1 of 4: ' in done.stderr and '3 of 4 have no grade' in done.stderr


@pytest.mark.parametrize('words, said', [(['/nonexistent'], 'is no folder'), (['DIR'], 'holds no submission'), (['DIR', '-j', '0'], '-j 0'),
                                         (['DIR/..', '-o', '/nonexistent/x'], 'cannot be written')])
def test_nothing_to_grade(words, said, tmp_path):
    done = grade_all(*[word.replace('DIR', str(tmp_path)) for word in words])
    assert done.returncode == 2 and said in done.stderr and done.stderr.count('\n') == 1 and not done.stdout


def test_table_on_a_full_disk(tmp_path):
    """One line, and nothing of the class's gradings goes on."""
    (tmp_path / 'x' / '99').mkdir(parents=True)
    done = grade_all(str(tmp_path), '-o', '/dev/full')
    assert done.returncode == 2 and 'ended after 0 of 1' in done.stderr and done.stderr.count('\n') == 1


def test_names_that_are_no_text(tmp_path):
    """A folder that is named in no UTF-8, one that is a file: rows without a grade."""
    os.makedirs(os.fsencode(tmp_path) + b'/\xff/99')
    (tmp_path / 'file').write_text('')
    done = grade_all(str(tmp_path))
    assert done.returncode == 1 and '1 of 1 have no grade' in done.stderr and 'no lab 99' in done.stdout


def test_report_not_writable(tmp_path):
    """That is told before the tests, not after them."""
    (tmp_path / '.lab.json').write_text('{"lab": "05", "variant": 0, "hints": 0, "files": {}}')
    for way in ('--json', '--gradescope'):
        code, said, complaint = lab('grade', '05', '--dir', str(tmp_path), way, '/nonexistent/x')
        assert code == 2 and not said and 'cannot be written' in complaint and complaint.count('\n') == 1


def test_known_solutions():
    """Two labs, one case of each, others with each commit and kernel: labs/lab selftest grades all.
    Some wait for timers, up to a minute: the limit is theirs."""
    signal.alarm(int(12 * CAP))
    head = subprocess.run(['git', 'rev-parse', 'HEAD'], cwd=TOP, stdout=subprocess.PIPE, text=True).stdout.strip()
    seed = os.environ.get('SEED') or head + '-debug' * bool(os.environ.get('DEBUG'))
    done = subprocess.run([LAB, 'selftest', '--quick', '--some', '2'], env=dict(os.environ, SEED=seed), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=11 * CAP)
    print(done.stdout)
    assert done.returncode == 0 and '2 passed, 0 failed' in done.stdout, done.stdout


@pytest.mark.parametrize('words, said', [
    (['start', '99'], 'no lab 99'), (['grade', '05', '--dir', '/nonexistent'], 'is no copy of a lab'),
    (['solve', '05'], 'start, task, hint, run, grade'), (['grade'], 'labs/lab VERB N')])
def test_wrong_words(words, said):
    code, _, complaint = lab(*words)
    assert code == 2 and said in complaint and complaint.count('\n') == 1
