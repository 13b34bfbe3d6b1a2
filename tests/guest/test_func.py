"""The function tracer: calls nest as the stack does, each return is the one of its entry
and has the exact time; turned on and off under load on four CPUs; names come from
/dev/nettrace.syms."""

import os
import re
import subprocess

import pytest

from vm import BUILD, KERNEL

TESTS = ('-i', os.path.join(BUILD, 'tests.img'))


def nops():
    """Does this kernel have entry nops?  clang's has not."""
    listed = subprocess.run(['nm', KERNEL], stdout=subprocess.PIPE, text=True, check=True).stdout
    at = {name: int(addr, 16) for addr, _, name in re.findall(r'(\S+) (\S) (func_sites\w*)', listed)}
    return at['func_sites'] != at['func_sites_end']


NOPS = nops()
traces = pytest.mark.skipif(not NOPS, reason='this compiler makes no entry nops')


def walk(events):
    """Check that entries and returns of each thread nest; return [(name, depth, dur, inside)]
    of the completed calls, inside = the sum of what they called."""
    stacks, done = {}, []
    for e in events:
        stack = stacks.setdefault(e['pid'] or ('idle', e['cpu']), [])
        if e['event'] == 'func':
            assert e['depth'] == len(stack) + 1, (e, stack)
            assert all(esp >= e['esp'] for *_, esp in stack)  # equal: one ended by a jump to the next
            stack.append([e['fn'], e['depth'], e['tsc'], 0, e['esp']])
        else:
            assert e['event'] == 'func_exit' and stack, e
            fn, depth, tsc, inside, _ = stack.pop()
            assert (fn, depth) == (e['fn'], e['depth']), (e, stack)
            assert inside <= e['dur_tsc'] <= e['tsc'] - tsc, (e, inside, tsc)
            if stack:
                stack[-1][3] += e['dur_tsc']
            done.append((fn, depth, e['dur_tsc'], inside))
    return done, stacks


@traces
def test_calls_nest(boot):
    """Requests over loopback, every function of the network path traced, on one CPU; first
    words that are refused, and then nothing is traced."""
    vm = boot(cpus=1, ports=(), extra=TESTS, append='trace=off,+func* trace_slots=131072')
    vm.cmd('sleep 1')  # netd is in its sleep
    for words in ('func', 'func no_such', 'func tcp_*,nix', 'func trace_begin', 'func acquire'):
        assert 'cannot write' in vm.cmd(f"echo '{words}' > /dev/nettrace")
        assert 'refused "func: unknown or forbidden function"' in vm.cmd('cat /dev/nettrace.stat')
    vm.cmd('fetch -n 1 http://127.0.0.1/rc')
    assert not vm.events()
    assert vm.cmd("echo 'func *' > /dev/nettrace") == ''
    vm.cmd('fetch -n 3 http://127.0.0.1/rc')
    assert vm.cmd("echo 'func off' > /dev/nettrace; echo stop > /dev/nettrace") == ''
    done, stacks = walk([e for e in vm.events() if e['event'].startswith('func')])
    assert len(done) > 1000 and max(depth for _, depth, _, _ in done) >= 6
    assert {'tcp_input', 'tcp_output', 'ip4_input', 'watch_seg_in', 'tcp_write'} <= {fn for fn, *_ in done}
    # What was entered and not left: threads that sleep in there.
    assert all(len(stack) <= 4 for stack in stacks.values()), stacks
    assert re.search(r'^[0-9a-f]{8} tcp_input$', vm.cmd('cat /dev/nettrace.syms | grep tcp_input'), re.M)


@traces
def test_patched_under_load(boot):
    """All functions and all events go on and off while four CPUs run the code that changes."""
    vm = boot(cpus=4, ports=(), extra=TESTS, append='trace=off,+func*')
    rounds = int(os.environ.get('FLIPS', '40'))
    said = vm.cmd(f'spin 5 & fetch -n 20 http://127.0.0.1/rc > a & fetch -n 20 http://127.0.0.1/README > b & tracecost flip {rounds}')
    assert 'flipped' in said
    assert 'status 200' in vm.cmd('fetch -n 20 http://127.0.0.1/rc')
    vm.cmd("echo 'func off' > /dev/nettrace")
    vm.power_off()


@pytest.mark.skipif(NOPS, reason='this compiler makes entry nops')
def test_refused_without_nops(vm):
    assert 'cannot write' in vm.cmd("echo 'func *' > /dev/nettrace")
    assert 'built without function entry nops' in vm.cmd('cat /dev/nettrace.stat')
