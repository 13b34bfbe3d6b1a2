"""The shell and the small programs, in the guest."""

import os
import re

import pytest

from vm import BUILD, VM

QUIET = 'rc=off ip=none'  # the address would be told in the middle of some command's output
FS = os.path.join(os.path.dirname(__file__), '..', '..', 'user', 'fs')


@pytest.fixture
def sh(boot):
    """A guest of its own, without httpd."""
    return boot(ports=(), append=QUIET)


def test_words_and_quotes(sh):
    assert sh.cmd('echo a  b') == 'a b\n'
    assert sh.cmd('''echo 'a  b' "c;d" e#f''') == 'a  b c;d e#f\n'
    sh.send('echo a # no; echo b\n')
    sh.expect(r'^a\n\$ ')
    assert sh.cmd("echo ''") == '\n'
    assert sh.cmd('/echo slash; cd /dev; echo found') == 'slash\nfound\n'


def test_redirections(sh):
    assert sh.cmd('echo a long first line > f; echo one > f; echo two >> f; cat < f') == 'one\ntwo\n'
    assert sh.cmd('cat f f > g; cat g | wc') == '4 4 16 \n'
    assert sh.cmd('(echo x; echo y) > f; cat f') == 'x\ny\n'
    assert sh.cmd('> f cat < g; cat f') == 'one\ntwo\none\ntwo\n'


def test_pipes_and_groups(sh):
    with open(os.path.join(FS, 'README'), 'rb') as f:
        text = f.read()
    words = f'{text.count(10)} {len(text.split())} {len(text)}'
    assert sh.cmd('wc README') == words + ' README\n'
    assert sh.cmd('cat README | cat | cat | wc') == words + ' \n'
    assert sh.cmd('(cat README; cat README) | wc').startswith(f'{2 * text.count(10)} ')
    lines = [line for line in text.decode().splitlines() if 'net' in line]
    assert sh.cmd('cat README | grep net').splitlines() == lines
    assert sh.cmd('(cd /dev; ls console); ls README').split()[::4] == ['console', 'README']


def test_background(sh):
    # The line goes on at once; the child says its word when it is done.
    out = sh.cmd('(spin 1; echo late) & echo early')
    assert out.startswith('early\n')
    if 'late' not in out:
        sh.expect('late')


@pytest.mark.parametrize('line, word', [
    ('nosuch', 'sh: nosuch: not found'),
    ('/README', 'sh: /README: cannot run'),
    ('cat < nosuch', 'sh: nosuch: cannot open'),
    ('cd nosuch', 'sh: cd: nosuch: no such directory'),
    ('cat nosuch', 'cat: nosuch: cannot open'),
    ('rm nosuch', 'rm: nosuch: cannot be removed'),
    ('mkdir dev', 'mkdir: dev: cannot be made'),
    ('ls nosuch', 'ls: nosuch: cannot open'),
    ('ln nosuch x', 'ln: x: cannot link to nosuch'),
    ('kill 9999', 'kill: 9999: no such process, or one that cannot be killed'),
    ('kill nosuch', 'kill: nosuch: no such process, or one that cannot be killed'),
    ('kill 4294967297', 'kill: 4294967297: no such process, or one that cannot be killed'),
    ('kill 1', 'kill: 1: no such process, or one that cannot be killed'),
    ('kill netd', 'kill: netd: no such process, or one that cannot be killed'),
    ('kill init', 'kill: init: no such process, or one that cannot be killed'),
    ('kill', 'usage: kill'),
    ('kill -9 3', 'usage: kill'),
    ('ps x', 'usage: ps'),
    ('free x', 'usage: free'),
    ('uptime x', 'usage: uptime'),
    ('ln x', 'usage: ln'),
    ('rm', 'usage: rm'),
    ('mkdir', 'usage: mkdir'),
    ('wc nosuch', 'wc: nosuch: cannot open'),
    ('grep x nosuch', 'grep: nosuch: cannot open'),
    ('httpd -p 0', 'httpd: 0: want a number from 1 to 65535'),
    ('grep', 'usage: grep'),
], ids=lambda s: s.split()[0].strip('/'))
def test_one_line_errors(line, word, shared):
    out = shared.cmd(line)
    assert out.startswith(word) and out.count('\n') == 1


@pytest.mark.parametrize('line', ['echo a |', '( echo a', "echo 'a", 'echo >', 'echo a ) b', '; echo'])
def test_syntax_errors(line, shared):
    shared.send(line + '\n')
    shared.expect(r'^sh: .*?\n\$ ')
    assert shared.cmd('echo alive') == 'alive\n'


@pytest.fixture(scope='module')
def shared():
    with VM(ports=(), append=QUIET, name='shell') as vm:
        vm.cmd('echo ready')
        yield vm


def test_files(shared):
    assert shared.cmd('mkdir d; echo hi > d/f; ln d/f g; cat g') == 'hi\n'
    assert shared.cmd('rm d').startswith('rm: d:')
    assert shared.cmd('rm d/f; rm d; cat g; rm g') == 'hi\n'
    assert shared.cmd('ls d g').count('cannot open') == 2
    names = [row.split()[0] for row in shared.cmd('ls').splitlines()]
    assert names[:2] == ['.', '..'] and {'README', 'init', 'sh', 'console', 'dev'} <= set(names)


def test_ps(shared):
    shared.cmd('spin &')
    shared._until(lambda: spins(shared), 'spin runs')
    out = shared.cmd('ps')
    shared.cmd('kill spin')
    rows = [row.split() for row in out.splitlines()]
    assert rows[0] == ['PID', 'PPID', 'STATE', 'CPU', 'TIME', 'SIZE', 'NAME']
    by_name = {row[6]: row for row in rows[1:]}
    assert {'init', '[netd]', 'sh', 'spin', 'ps'} <= set(by_name)
    shell = by_name['sh'][0]
    assert by_name['init'][:3] == ['1', '0', 'sleep'] and by_name['sh'][1] == '1'  # asleep, or on its way
    assert by_name['spin'][1] == shell and by_name['spin'][2] in ('run', 'ready', 'embryo')
    assert by_name['ps'][1:3] == [shell, 'run'] and int(by_name['ps'][5]) > 8192
    assert re.fullmatch(r'\d+\.\d\d', by_name['init'][4])


def spins(vm):
    """The processes called spin, also those that have ended and were not waited for."""
    return [row.split()[0] for row in vm.cmd('ps').splitlines() if row.endswith(' spin')]


def free(vm):
    rows = vm.cmd('free').splitlines()
    assert rows[0].split() == ['total', 'used', 'free']
    table = {row.split()[0]: [int(n) for n in row.split()[1:]] for row in rows[1:]}
    assert all(total == used + left for total, used, left in table.values())
    return table


def test_free_and_uptime(shared):
    shared._until(lambda: not spins(shared), 'no spin is left')
    before = free(shared)
    size = len(shared.cmd('cat README; echo')) - 1
    shared.cmd('cat README > big')
    after = free(shared)
    assert after['pages'] == before['pages']
    assert after['blocks'][2] == before['blocks'][2] - -(-size // 512) and after['inodes'][2] == before['inodes'][2] - 1
    shared.cmd('rm big')
    assert free(shared) == before
    times = []
    for _ in range(2):
        hit = re.fullmatch(r'up 0:(\d\d):(\d\d)\.(\d\d), (\d+) processes, (\d+) busy\n', shared.cmd('uptime'))
        times.append(int(hit.group(1)) * 6000 + int(hit.group(2)) * 100 + int(hit.group(3)))
        assert 3 <= int(hit.group(4)) < 10 and int(hit.group(5)) >= 1
    assert 0 < times[1] - times[0] < 3000


def test_kill_by_name_and_number(shared):
    shared._until(lambda: not spins(shared), 'no spin is left')
    shared.cmd('spin & spin &')
    pids = spins(shared)
    assert len(pids) == 2
    assert shared.cmd(f'kill {pids[0]}') == ''
    shared._until(lambda: spins(shared) == pids[1:], 'one spin is left')
    shared.cmd('spin & spin &')
    shared._until(lambda: len(spins(shared)) == 3, 'both have begun')
    assert shared.cmd('kill spin nosuch 9999').splitlines() == [
        f'kill: {word}: no such process, or one that cannot be killed' for word in ('nosuch', '9999')]
    shared._until(lambda: not spins(shared), 'no spin is left')


@pytest.mark.parametrize('name', ['ps', 'free', 'uptime', 'kill'])
def test_help_teaches(shared, name):
    out = shared.cmd(f'{name} -h')
    assert out.startswith(f'usage: {name}') and 2 < out.count('\n') < 12
    assert all(len(row) <= 100 for row in out.splitlines())


def test_limits_of_a_line(shared):
    words = ' '.join(f'w{n}' for n in range(31))
    assert shared.cmd('echo ' + words[:-4]) == words[:-4] + '\n'  # 31 words with echo
    for line, why in [('echo ' + words, 'too many words'), ('(' * 17 + 'echo x' + ')' * 17, 'groups too deep')]:
        shared.send(line + '\n')
        shared.expect(rf'^sh: {why}\n\$ ')
    for n, out in [(511, 'y' * 506), (512, 'sh: line longer than 511 characters')]:
        shared.send('echo ' + 'y' * (n - 5) + '\n')
        assert shared.expect(r'\n(.*?)\n\$ ').group(1) == out
    shared.send('cd&' * 170 + 'cd\n')  # many nodes, and more processes than there can be
    shared.expect(r'^\$ ')
    assert shared.cmd('echo alive') == 'alive\n'
    shared.send(';' * 511 + '\n')
    shared.expect(r'^sh: a command is missing\n\$ ')


def test_grammar(shared):
    for line, out in [
            ('echo a; echo b', 'a\nb\n'), ('(echo a; echo b) | cat', 'a\nb\n'), ('(echo a;)', 'a\n'),
            ('echo a>f;cat<f', 'a\n'), ('>f echo b; cat f', 'b\n'), ('echo c>>f;echo d>>f;cat f', 'b\nc\nd\n'),
            ('echo a > f > g; wc f; cat g', '0 0 0 f\na\n'), ("echo 'a|b' \"c;d\" '(&)'", 'a|b c;d (&)\n'),
            ("echo a'b'\"c\"d", 'abcd\n'), ("echo '\"' \"'\"", '" \'\n'), ("'echo' x", 'x\n'),
            ('((echo deep))', 'deep\n'), ('(echo a; (echo b; echo c) | cat) | wc', '3 3 6 \n'),
            ('(cd dev; ls null) ; ls README', None), ('echo x | (cat; echo y)', 'x\ny\n'),
            ("sh -c 'echo inner; nosuch'", 'inner\nsh: nosuch: not found\n')]:
        said = shared.cmd(line)
        assert out is None or said == out, line
    shared.cmd('rm f g')


def test_zombie_is_reaped(shared):
    for _ in range(6):  # 90 processes: more than the table holds, if any were left
        assert shared.cmd('; '.join(['zombie'] * 15)) == ''
    assert shared.cmd('echo alive') == 'alive\n'


def test_many_commands_on_a_line(shared):
    assert shared.cmd('echo ' + '; echo '.join('abcdefghijklmnopqrst')).split() == list('abcdefghijklmnopqrst')


def test_ctrl_c_ends_the_job(shared):
    for job in ('spin', '(spin; spin)', 'spin | cat', 'cat | cat', '(cat; spin) | cat > f'):
        shared.send(job + '\n')
        mark = len(shared.output())
        # Too early it only clears the line, since no job has the terminal yet: again.
        shared._until(lambda: shared.key('\x03') or '\n$' in shared.output()[mark:], 'a prompt')
        assert shared.cmd('echo alive') == 'alive\n'


def test_ctrl_d_ends_the_input(shared):
    shared.send('cat > typed\n')
    shared.send('a line\n')
    shared.key('\x04')
    shared.expect(r'^\0?\$ ')
    assert shared.cmd('cat typed') == 'a line\n'


def test_end_of_input_starts_a_new_shell(boot):
    vm = boot(ports=(), append=QUIET)
    vm.expect(r'init: starting sh\n\$ ')
    vm.key('\x04')
    vm.expect(r'init: starting sh\n\$ ')
    assert vm.cmd('echo alive') == 'alive\n'


def test_script(shared):
    assert shared.cmd('echo echo one > s; echo cd dev >> s; echo ls console >> s; sh s').startswith('one\nconsole ')


def test_rc_runs_httpd(boot):
    vm = boot()
    vm.expect(r'init: starting sh\n\$ ')
    assert vm.cmd('httpd') == 'httpd: port 80: address in use\n'


@pytest.mark.parametrize('line, status', [('echo a', 0), ('cat nosuch', 1), ('nosuch', 127), ('echo a |', 2),
                                          ('poweroff 5', 5), ('grep nosuch README', 1), ('(exit 9); exit 4; exit 5', 4), ('cat README | wc', 0)])
def test_run_gives_the_status(boot, line, status):
    vm = boot(ports=(), append=f'ip=none run="{line}"')
    vm._until(lambda: not vm.running(), 'the guest powers off')
    vm.stop()
    said = vm.status()
    assert (said['guest'], said['guest_status']) == ('poweroff', str(min(status, 95)))
    assert 'init: running\n' in vm.output()


def test_the_image_is_there():
    assert os.path.exists(os.path.join(BUILD, 'fs.img'))
