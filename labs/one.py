"""One test of one lab, in a process of its own: labs/one.py N TEST VARIANT.  Called by labs/lab,
in a copy of the tree with tests/lib on the path.  The last line it prints is the result
as JSON: status, expected, got, story."""

import importlib.util
import itertools
import json
import os
import re
import signal
import sys

from peer import Bad, Wire
from vm import CAP, Failed

HERE = os.path.dirname(os.path.abspath(__file__))
NONCE = os.urandom(16)


class Lab:
    """What a test gets: a guest on a cable of ours, and bytes that nobody can know before."""

    def __init__(self, variant):
        self.nonce, self.wires = NONCE, []
        self.variant = variant  # 0, 1, ...
        self.tree = os.path.dirname(HERE)  # what was built, and the files that the student handed in

    def boot(self, append='', **options):
        """A guest whose cable we hold; the boot ends when its web server listens."""
        more = f'ip=10.9.0.2/24,10.9.0.1 nonce={NONCE.hex()} {append}'
        wire = Wire(append=more, name='lab', **options)
        self.wires.append(wire)
        wire.start()
        return wire

    def random(self, n):
        return os.urandom(n)

    def answers(self, name='answers.json'):
        """What stands in a file of JSON that was handed in."""
        path = os.path.join(self.tree, name)
        self.need(os.path.isfile(path), name, 'no such file')
        self.need(os.path.getsize(path) < 65536, f'{name} of some lines', 'one of 64 KiB or more')
        try:
            with open(path, encoding='utf-8') as f:
                return json.load(f)
        except (ValueError, RecursionError) as e:
            return self.need(False, f'{name} in JSON', e)

    @staticmethod
    def need(true, expected, got):
        if not true:
            raise Fault(expected, got)


class Fault(AssertionError):
    """The task's promise is not kept."""


def row(step):
    """A step in one line; of a start without the paths, which would push out what it starts with."""
    if step.startswith('start: '):
        step = re.sub(r' -[ki] .*?(?= -|$)', '', re.sub(r'-d .*/(?=lab-)', '-d ', step))
    return re.sub(r'\s+', ' ', step)[:200]


def end(lab):
    """End the guests; a word of trouble on a console is a fault."""
    for wire in lab.wires:
        wire.stop()
        status = wire.vm.status()
        if status.get('guest') == 'failed' or status.get('guest') == 'killed' and status['qemu_status'] != '0':
            raise RuntimeError('QEMU failed: ' + json.dumps(status))
        wire.vm.check()
        if status.get('guest') == 'panic':
            raise Fault('a kernel that runs', 'it panicked')


def main(n, name, variant):
    spec = importlib.util.spec_from_file_location('grade', os.path.join(HERE, 'lab' + n, 'grade.py'))
    grade = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(grade)
    lab, result = Lab(int(variant)), {'status': 'pass'}
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError()))
    signal.alarm(int(CAP) + 20)  # a guest that does not get ready in CAP is the guest's fault
    try:
        grade.TESTS[name][1](lab)
        signal.alarm(0)
        end(lab)
    except Fault as e:
        result = {'status': 'fail', 'expected': e.args[0], 'got': str(e.args[1])}
    except Bad as e:
        result = {'status': 'fail', 'expected': 'frames that are what their headers say', 'got': str(e)}
    except Failed as e:
        said = re.sub(r'\Asteps done:\n(?:  .*\n)*', '', str(e))  # the story has them
        result = {'status': 'fail', 'expected': 'a guest that does its part', 'got': said}
    except TimeoutError:
        result = {'status': 'error', 'got': f'the test was not done after {CAP + 20:.0f} s'}
    except Exception as e:  # the harness, not the student
        result = {'status': 'error', 'got': repr(e)}
    signal.alarm(0)
    result['story'] = [step for wire in lab.wires for step in wire.vm.steps]
    for wire in lab.wires:
        try:
            wire.stop()
        except Exception:
            pass
    result['story'] = '\n'.join(row(step) for step, _ in itertools.groupby(result['story']))
    print('\n' + json.dumps(result))


if __name__ == '__main__':
    main(*sys.argv[1:])
