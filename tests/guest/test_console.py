"""The console and poll: raw, edited and cooked input, whatever is typed and however
much of it, and programs that wait for several things at once.

The checks of prog/tty.c and prog/polls.c report each wrong result as WRONG; here
the keys are typed, and what the console shows is read as a terminal would show it.
"""

import os
import re
import select

import pytest

from vm import BUILD, VM

OPTIONS = dict(ports=(), append='rc=off ip=none', extra=('-n', 'none', '-i', os.path.join(BUILD, 'tests.img')))
UP, DOWN, RIGHT, LEFT, HOME, END, DELETE = ('\x1b[' + k for k in ('A', 'B', 'C', 'D', 'H', 'F', '3~'))


@pytest.fixture(scope='module', params=[1, 2], ids='smp{}'.format)
def both(request):
    yield from guest(cpus=request.param)


@pytest.fixture(scope='module')
def con():
    yield from guest()


def guest(**options):
    vm = VM(name='console', **OPTIONS, **options)
    vm.start()
    vm.expect(r'^\$ ')
    yield vm
    vm.stop()
    vm.check()
    vm.remove()


def screen(text, cols=80):
    """The lines that a terminal shows after text, and the cursor's column."""
    rows, row, col = [[]], 0, 0
    for number, what, char in re.findall(r'\x1b\[(\d*)([A-Za-z])|([\s\S])', text):
        n = int(number or 1)
        if what == 'C':
            col = min(col + n, cols - 1)
        elif what == 'D':
            col = max(col - n, 0)
        elif what == 'K':
            del rows[row][col:]
        elif what == 'H':
            row, col = 0, 0
        elif what == 'J':
            rows = [[]]
        elif char == '\n':
            row, col = row + 1, 0
            rows.append([])
        elif char == '\b':
            col = max(col - 1, 0)
        elif char == '\r':
            col = 0
        elif char >= ' ':
            assert col < cols, 'the line has wrapped: ' + ''.join(rows[row])
            rows[row] += ' ' * (col + 1 - len(rows[row]))
            rows[row][col] = char
            col += 1
        else:
            assert char == '\a', char
    return [''.join(r).rstrip() for r in rows], col


def settle(vm):
    """What the console shows once a ^L has been answered: the screen, and the cursor's column."""
    vm.key('\x0c')
    vm.expect(r'\x1b\[H\x1b\[2J')
    start = vm.mark
    vm.key('\x0c')
    vm.expect(r'\x1b\[H\x1b\[2J')
    rows, col = screen(vm.output()[start:vm.mark - 7])
    return rows[0], col


def fresh(vm):
    """An empty line, whatever stood there."""
    mark = len(vm.output())
    vm.key('\x03')
    vm._until(lambda: '^C\n$ ' in vm.output()[mark:], 'a new prompt')


LINE = 'en0: 10.0.2.15/24 gateway 10.0.2.2 (dhcp)\n'


@pytest.mark.parametrize('shown', [
    '\none\n~end~\n$ ', '\n' + LINE + 'one\n~end~\n$ ', '\no' + LINE + 'ne\n~end~\n$ ', '\none\n~en' + LINE + 'd~\n$ ',
    '\none\n~end~\n' + LINE + '$ ', '\none\n~end~\n\r\x1b[K' + LINE + '$ \r\x1b[K$ ',
    '\r\x1b[K' + LINE + '\none\n~end~\n$ ', '\r\x1b[K' + LINE + '\r\x1b[K$ cmd; echo ~end~\none\n~end~\n$ '])
def test_an_address_may_come_at_any_time(shown):
    """What VM.cmd reads, wherever the kernel's line stands in it."""
    vm, typed = VM(**OPTIONS), '$ cmd; echo ~end~'
    vm.output = lambda: typed + shown
    vm.running, vm.send = lambda: True, lambda text: setattr(vm, 'mark', len(typed))
    assert vm.cmd('cmd', timeout=5) == 'one\n'


# The editor

# Keys, the line that comes of them, and the cursor's place in it.
EDITS = [
    ('abc', 'abc', 3),
    ('abc' + LEFT + 'X', 'abXc', 3),
    ('abc' + LEFT * 9 + 'X' + RIGHT * 9 + 'Y', 'XabcY', 5),
    ('abc\x01X\x05Y', 'XabcY', 5),
    ('abc' + HOME + 'X' + END + 'Y', 'XabcY', 5),
    ('abc\x1bOHX\x1bOFY', 'XabcY', 5),
    ('abc\x1b[1~X\x1b[4~Y', 'XabcY', 5),
    ('abc\x02\x02\x06X', 'abXc', 3),
    ('abc\x7f\x08', 'a', 1),
    ('\x7f\x08a', 'a', 1),
    ('abc' + HOME + DELETE + '\x04', 'c', 0),
    ('abc' + DELETE, 'abc', 3),
    ('abcdef' + LEFT * 3 + '\x0b', 'abc', 3),
    ('abcdef' + LEFT * 3 + '\x15', 'def', 0),
    ('one two  three\x17', 'one two', 9),
    ('one two  three' + LEFT * 2 + '\x17', 'one two  ee', 9),
    ('one two  \x17\x17x', 'x', 1),
    ('ab\x1bc', 'abc', 3),              # an escape that begins nothing
    ('ab\x1b\x1b[Dc', 'acb', 2),
    ('ab\x1b[99;1234567890~c\x1b[1;5Zd', 'abcd', 4),
    ('ab\x1b[12\x01c', 'cab', 1),       # a sequence that breaks off
    ('a\x00\x0e\x12\x1fb', 'ab', 2),
    ('a' * 70 + LEFT * 60 + 'X', 'a' * 10 + 'X' + 'a' * 60, 11),
]


@pytest.mark.parametrize('keys, line, at', EDITS, ids=[f'edit{n}' for n in range(len(EDITS))])
def test_edit(con, keys, line, at):
    fresh(con)
    con.key(keys)
    shown, col = settle(con)
    assert (shown, col) == (('$ ' + line).rstrip(), 2 + at)


def test_edit_runs_what_it_shows(con):
    fresh(con)
    con.key('eho one' + HOME + RIGHT + 'c' + END + 'X\x7f two\r')
    con.expect(r'^one two\n\$ ')
    con.key('echo h\xc3\xa4x' + LEFT + '\x7f\n')
    con.expect(r'^hx\n\$ ')


def test_a_key_is_a_byte(con):
    """What a terminal must be sent for the usual keys, and no more."""
    for keys, answer in [('a', 'a'), ('b', 'b'), ('\x7f', '\b \b'), ('bcdef', 'bcdef'), (LEFT, '\b'), (RIGHT, 'f'),
                         ('\x01', '\x1b[6D'), (RIGHT, 'a'), ('\x0b', '\x1b[K'), (RIGHT, ''), (DELETE, ''),
                         ('\x15', '\b \b'), ('\x15', '')]:
        if answer == 'a' and keys == 'a':
            fresh(con)
        mark = len(con.output())
        con.key(keys)
        con._until(lambda: len(con.output()) >= mark + len(answer), f'{answer!r} for {keys!r}')
        assert con.output()[mark:] == answer
    fresh(con)


def test_long_lines_move_sideways(con):
    fresh(con)
    con.cmd('echo')
    start = len(con.output())
    con.send('echo ' + ''.join(chr(97 + n) * 10 for n in range(24)))
    rows, col = screen('$ ' + con.output()[start:])
    assert len(rows) == 1 and rows[0].startswith('$ <') and rows[0].endswith('xxxxxxxxxx') and len(rows[0]) < 80
    assert col == len(rows[0])
    assert len(con.output()) - start < 245 * 3  # mostly one byte a key
    con.key(HOME)
    shown, col = settle(con)
    assert shown.startswith('$ echo aaaaaaaaaab') and shown.endswith('>') and len(shown) == 79 and col == 2
    con.key(RIGHT * 100)
    shown, col = settle(con)
    assert shown.startswith('$ <') and shown.endswith('>') and 'iiiiiiiiijjjjjjjjjjkkk' in shown
    con.key('XYZ' + END + '\x7f' * 10)
    shown, col = settle(con)
    assert shown.endswith('w' * 10) and shown.startswith('$ <')
    con.key('\n')
    con.expect(r'^aaaaaaaaaab+c+d+e+f+g+h+i+jjjjjXYZjjjjjk+l+m+n+o+p+q+r+s+t+u+v+w{10}\n\$ ')


def test_history(con):
    fresh(con)
    for n in range(40):
        con.cmd(f'echo {n}')
    con.key(UP + '\n')
    con.expect(r'^39\n~end~\n\$ ')
    con.key('new' + UP * 3 + DOWN)
    assert settle(con)[0] == '$ echo 38; echo ~end~'
    con.key(DOWN * 5)
    assert settle(con)[0] == '$ new'
    con.key(UP * 99)
    assert settle(con)[0] == '$ echo 8; echo ~end~'  # 32 lines; the same one again counted once
    con.key('\x15\x0becho other\n')
    con.expect(r'^other\n\$ ')
    con.key(UP + UP)
    assert settle(con)[0] == '$ echo 39; echo ~end~'


def test_completion(con):
    fresh(con)
    con.cmd('mkdir tab; echo inner > tab/onefile; echo x > tab/other1; echo x > tab/other2')
    for keys, line in [('pow\t', '$ poweroff'), ('cat tab/on\t', '$ cat tab/onefile'), ('cat ta\t', '$ cat tab/'),
                       ('cat tab/ot\t', '$ cat tab/other'), ('\t', '$'), ('nosuch\t', '$ nosuch'),
                       ('echo a;pow\t', '$ echo a;poweroff'), ('cat /dev/zer\t', '$ cat /dev/zero'),
                       ('cat < /dev/zer\t', '$ cat < /dev/zero'), ('cat tab/on x' + LEFT * 2 + '\t', '$ cat tab/onefile  x')]:
        con.key(keys)
        assert settle(con)[0] == line
        fresh(con)
    con.key('cat tab/o\t')
    con.expect(r'\n(onefile  )?other1  other2  \n\$ cat tab/o')
    fresh(con)
    con.key('cd tab\npow\t')  # a command is found in the root too
    con.expect('poweroff ')
    fresh(con)
    con.cmd('echo x > poweroff')  # and here: one name all the same
    con.key('powe\tx')
    assert settle(con)[0] == '$ poweroff x'
    fresh(con)
    con.cmd('rm poweroff; cd /')


def test_ctrl_c_clears_and_ctrl_d_leaves(con):
    fresh(con)
    con.key('echo wrong\x03')
    con.expect(r'echo wrong\^C\n\$ ')
    con.key('\x04')
    con.expect(r'init: starting sh\n\$ ')
    assert con.cmd('echo alive') == 'alive\n'


def test_ctrl_p_lists_in_each_mode_but_raw(con):
    fresh(con)
    con.send('echo half')
    con.key('\x10')
    con.expect(r'f\r\x1b\[K1 \w+ init .*? sh .*?console: \d+ bytes of input lost\n\r\x1b\[K\$ echo half')
    con.key(' done\n')
    con.expect(r'^half done\n\$ ')
    con.send('cat\n')
    said = ''
    while 'sleep cat ' not in said:  # it may not have come so far
        con.key('\x10')
        said = con.expect(r'1 \w+ init .*?console: \d+ bytes of input lost\n').group()
    con.key('\x04')
    con.expect(r'^\$ ')


def test_the_kernel_speaks_beside_the_line(con):
    """What it says begins a line of its own, and what was typed is there again below."""
    fresh(con)
    con.key('(sleep 1; tty fault) &\n')
    con.expect(r'&\n\$ ')
    con.key('echo half')
    shown = con.expect(r'\r\x1b\[Kpid \d+ tty: trap 14 [^\n]*\n\r\x1b\[K\$ ([echo half]*)').group(1)
    assert 'echo half'.startswith(shown)
    con.key(' done\n')
    con.expect(r'^half done\n\$ ')


def test_a_character_is_drawn_whole(con):
    fresh(con)
    con.key('ab' + LEFT)
    assert settle(con) == ('$ ab', 3)
    start = len(con.output())
    con.key('\xc3\xa4\xe2\x82\xac')
    settle(con)
    drawn = con.output()[start:]
    assert '\xc3\xa4b' in drawn and '\xe2\x82\xacb' in drawn
    assert not re.search('\xc3(?!\xa4)|\xe2(?!\x82\xac)', drawn)
    fresh(con)
    con.key('x\xc3y\xe2\x82z')  # those that never become whole hold nothing up
    assert settle(con)[0] == '$ x\xc3y\xe2\x82z'


def test_typed_ahead(con):
    """Nothing is lost between the editor, a job and the editor."""
    fresh(con)
    con.key('cat > ahead\nfirst\nsecold\x7f\x7f\x7fond\n\x04cat ahead\n')
    con.expect(r'^first\nsecond\n\$ ')
    con.key('spin 1\necho after\n')
    con.expect(r'^after\n\$ ')
    con.send('spin 1\n')
    con.key('echo la')
    con.expect(r'\$ echo la')
    con.key('ter\n')
    con.expect(r'^later\n\$ ')


def test_ctrl_c_spares_the_background(con):
    fresh(con)
    con.cmd('spin & cat &')  # cat finds no input, and ends
    con.send('(spin | spin) | cat\n')
    mark = len(con.output())
    con._until(lambda: con.key('\x03') or '\n$' in con.output()[mark:], 'a prompt')
    fresh(con)
    assert con.cmd('ps | grep spin | wc').split()[0] == '1'
    assert con.cmd('kill spin; ps | grep spin | wc').split()[0] <= '1'
    assert con.cmd('kill spin').startswith('kill: spin: no such process')


# Programs with the whole screen

def test_modes(both):
    said = both.cmd('tty modes; tty size; tty modes; tty mem')  # a size ends with its program
    assert said == 'tty modes done\ntty size done\ntty modes done\ntty mem done\n'


def test_nonblocking(both):
    both.send('tty nonblock\n')
    both.expect('type a line\n')
    both.send('abc\n')
    both.expect('type a key\n')
    both.key('k')
    both.expect(r'tty nonblock done\n\$ ')


def test_every_byte_comes(both):
    both.send('tty bytes\n')
    both.expect('type\n')
    both.key(''.join(map(chr, range(256))))
    both.expect(r'256 bytes, 0 wrong\ntty bytes done\n\$ ')


def test_cooked_lines(both):
    both.send('tty lines\n')
    both.expect('type\n')
    for keys, answer in [('abc\n', '4: 61 62 63 0a'), ('ab\x7f\x08\x7fc\r', '2: 63 0a'), ('junk\x15\x1b[A\n', '4: 1b 5b 41 0a'),
                         ('x' * 1024, '1024:' + ' 78' * 20),
                         ('no newline\x04', '10: 6e 6f 20 6e 65 77 6c 69 6e 65')]:
        feed(both, keys)
        both.expect(re.escape(answer.upper()) + '\n')
    both.key('\x04')
    both.expect(r'end 0\ntty lines done\n\$ ')


def test_killed_in_raw_mode(both):
    """A program that leaves the console raw and non-blocking, and its file too."""
    both.send('(spin 1; kill tty) & tty stuck\n')
    both.expect('stuck\n')
    both.expect(r'^\$ ')
    assert both.cmd('echo alive') == 'alive\n'
    both.send('cat\n')
    both.send('echoed\n')
    both.expect(r'^echoed\n')
    both.key('\x04')
    both.expect(r'^\$ ')


def test_poll(both):
    said = both.cmd('polls')
    assert re.fullmatch(r'polls: (\d+) checks\n', said), said
    assert int(said.split()[1]) >= 148


# Too much

def feed(vm, text):
    """Type as fast as the guest takes it."""
    data = text.encode('latin-1')
    ready = select.poll()
    ready.register(vm.con, select.POLLOUT)
    while data:
        ready.poll(1000)
        try:
            data = data[os.write(vm.con, data[:4096]):]
        except BlockingIOError:
            pass


def lost(vm):
    """Bytes that found the buffer full, as ^P says."""
    feed(vm, '\x10')
    return int(vm.expect(r'console: (\d+) bytes of input lost\n').group(1))


def test_flood_in_cooked_mode(boot):
    vm = boot(**OPTIONS)
    vm.send('spin\n')
    feed(vm, 'x' * 1048576)
    vm._until(lambda: lost(vm) == 1048576 - 1024, 'all but a buffer full is lost, and counted')
    vm.key('\x03')
    vm.expect(r'^\$ x+')  # the buffer, in the editor
    fresh(vm)
    assert vm.cmd('echo alive') == 'alive\n'


def test_flood_in_raw_mode(boot):
    vm = boot(**OPTIONS)
    vm.send('tty flood\n')
    vm.expect('type\n')
    feed(vm, 'x' * 65535 + '.')
    vm.expect(r'^65536 kept\ntty flood done\n\$ ')
    assert lost(vm) == 0


def test_flood_at_the_prompt(boot):
    vm = boot(**OPTIONS)
    vm.expect(r'^\$ ')
    feed(vm, 'x' * 65536 + '\x1b' * 20000 + '\x1b[' * 10000 + '\x1b[' + '1;' * 10000 + '\x07' * 5000)
    mark = len(vm.output())
    vm._until(lambda: feed(vm, '\x03') or '^C\n$ ' in vm.output()[mark:], 'a prompt')
    fresh(vm)
    assert vm.cmd('echo alive') == 'alive\n'


def test_a_line_too_long(con):
    fresh(con)
    con.send('echo ' + 'y' * 507 + '\n')
    con.expect(r'^sh: line longer than 511 characters\n\$ ')
    con.send('echo ' + 'y' * 506 + '\n')
    con.expect(r'^y{506}\n\$ ')
    con.key('echo ' + 'z' * 20000 + '\n')  # faster than the editor takes them: none is lost
    con.expect(r'^sh: line longer than 511 characters\n\$ ')
