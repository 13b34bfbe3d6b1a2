"""tools/setup: what the scripts promise on any machine, without changing this one.

The machine is played: a PATH with only the commands that a case is about, or a
shadow apt-get that writes down how it was called.
"""

import json
import os
import subprocess

import pytest

from vm import BUILD, TOP

SETUP = os.path.join(TOP, 'tools', 'setup')
TOOLS = 'awk cat cut dirname basename grep head id mktemp mv rm sed sh sleep tail tar tr uname find mkdir'
PLAIN = {'PATH': '/usr/bin:/bin', 'HOME': '/nonexistent'}


def run(script, *args, **env):
    return subprocess.run([os.path.join(SETUP, script), *args], env={**PLAIN, **env}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def bare(tmp_path):
    """A folder for PATH with the shell's usual tools and no compiler, QEMU or apt."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    for name in TOOLS.split():
        for place in ('/usr/bin', '/bin'):
            if os.path.exists(f'{place}/{name}') and not (folder / name).exists():
                (folder / name).symlink_to(f'{place}/{name}')
    return folder


def lwip_tree(tmp_path, version):
    """The least that looks like an lwIP of that version."""
    tree = tmp_path / f'lwip-{version}'
    (tree / 'src' / 'include' / 'lwip').mkdir(parents=True)
    words = zip(('MAJOR', 'MINOR', 'REVISION'), version.split('.'))
    (tree / 'src' / 'include' / 'lwip' / 'init.h').write_text(
        ''.join(f'#define LWIP_VERSION_{name}   {n}\n' for name, n in words))
    return str(tree)


def shadow_apt(bare, tmp_path, text=''):
    """An apt-get that only notes its arguments, and an sudo and env to reach it."""
    calls = tmp_path / 'calls'
    apt = bare / 'apt-get'
    apt.write_text(f'#!/bin/sh\necho "$*" >> {calls}\n{text}\n')
    apt.chmod(0o755)
    for name in ('env', 'sudo'):
        tool = bare / name
        tool.write_text('#!/bin/sh\nwhile :; do case $1 in -n|*=*) shift ;; *) exec "$@" ;; esac; done\n')
        tool.chmod(0o755)
    return calls


def play(folder, name, text):
    """A command that does what the text, shell, says."""
    tool = folder / name
    if tool.is_symlink():
        tool.unlink()
    tool.write_text('#!/bin/sh\n' + text + '\n')
    tool.chmod(0o755)


MAKES = 'while [ $# -gt 0 ]; do [ "$1" != -o ] || : > "$2"; shift; done'


@pytest.mark.parametrize('able, prefix', [
    (['gcc', 'ld'], ''), (['gcc', 'ld', 'i686-elf-gcc', 'i686-elf-ld'], ''),
    (['gcc', 'i686-elf-gcc', 'i686-elf-ld'], 'i686-elf-'),
    (['i386-elf-gcc', 'i386-elf-ld', 'i686-linux-gnu-gcc', 'i686-linux-gnu-ld'], 'i686-linux-gnu-')])
def test_prefix_is_of_the_first_tools_that_make_i386_files(bare, able, prefix):
    for name in ('gcc', 'ld', *able):
        play(bare, name, MAKES if name in able else 'exit 1')
    done = run('prefix', PATH=str(bare))
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, prefix, '')


def test_prefix_there_is_none_or_the_user_says_it(bare):
    assert run('prefix', PATH=str(bare)).returncode == 1
    play(bare, 'clang', MAKES)
    play(bare, 'my-ld', MAKES)
    done = run('prefix', PATH=str(bare), CC='clang', TOOLPREFIX='my-')
    assert (done.returncode, done.stdout) == (0, 'my-\n')


@pytest.mark.parametrize('machine, package', [('x86_64', 'gcc '), ('aarch64', 'gcc-i686-linux-gnu ')])
def test_install_knows_which_compiler_this_machine_needs(bare, machine, package):
    play(bare, 'uname', 'echo ' + machine)
    rows = run('install', '-n', 'demo', PATH=str(bare)).stdout.splitlines()
    assert any(row.strip().startswith(package) and 'compiles the kernel' in row for row in rows), rows


def test_install_says_nothing_when_all_is_there():
    done = run('install', 'test')
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


def test_install_dry_run_lists_each_package_with_its_purpose(bare, tmp_path):
    calls = shadow_apt(bare, tmp_path)
    done = run('install', '-n', 'demo', PATH=str(bare))
    assert done.returncode == 0
    for words in ('gcc ', 'make ', 'qemu-system-x86 ', 'curl ', 'runs the kernel'):
        assert words in done.stdout
    assert 'gdb' not in done.stdout  # for make test only
    assert not calls.exists()


def test_install_updates_first_and_removes_nothing(bare, tmp_path):
    calls = shadow_apt(bare, tmp_path)
    done = run('install', 'test', PATH=str(bare))
    update, install = calls.read_text().splitlines()
    assert update.endswith(' update')
    assert ' install --no-remove ' in install and ' gdb' in install and 'Acquire::Retries=' in install
    # The shadow installed nothing, and the script must notice.
    assert done.returncode == 1 and 'still not usable' in done.stderr


def test_install_reports_a_failing_apt(bare, tmp_path):
    shadow_apt(bare, tmp_path, 'case $* in *update) ;; *) exit 100 ;; esac')
    done = run('install', 'demo', PATH=str(bare))
    assert done.returncode == 1 and 'could not install' in done.stderr


def test_install_elsewhere_names_the_packages(bare):
    done = run('install', 'demo', PATH=str(bare))
    assert done.returncode == 1
    assert 'no apt-get' in done.stderr and 'qemu-system-x86' in done.stderr


@pytest.mark.parametrize('args', [('nonsense',), ('demo', 'test'), ('-z',)])
def test_install_usage(args):
    assert run('install', *args).returncode == 2


@pytest.mark.parametrize('version, code, words', [
    ('2.2.1', 0, ''), ('2.2.0', 0, ''), ('2.1.3', 1, '2.2.x is needed'), ('3.0.0', 1, '2.2.x is needed')])
def test_lwip_dir_is_checked(tmp_path, version, code, words):
    done = run('lwip', LWIP_DIR=lwip_tree(tmp_path, version))
    assert done.returncode == code and words in done.stderr
    assert len(done.stderr.splitlines()) == code


def test_lwip_dir_without_lwip(tmp_path):
    done = run('lwip', LWIP_DIR=str(tmp_path))
    assert done.returncode == 1 and 'init.h' in done.stderr


def test_lwip_present_needs_no_network(bare, tmp_path):
    calls = shadow_apt(bare, tmp_path)
    os.makedirs(tmp_path / 'b' / 'lwip')
    os.rename(lwip_tree(tmp_path, '2.2.1'), tmp_path / 'b' / 'lwip' / 'lwip-2.2.1')
    done = run('lwip', PATH=str(bare), B=str(tmp_path / 'b'))
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '') and not calls.exists()


def test_lwip_offline_is_one_line_and_leaves_nothing(bare, tmp_path):
    shadow_apt(bare, tmp_path)  # fetches nothing and exits 0, as apt does without a network
    done = run('lwip', PATH=str(bare), B=str(tmp_path / 'b'))
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert 'no network?' in done.stderr and 'LWIP_DIR=' in done.stderr
    assert os.listdir(tmp_path / 'b' / 'lwip') == []


def test_lwip_refuses_another_tarball(bare, tmp_path):
    shadow_apt(bare, tmp_path, 'case $* in *lwip) echo x > lwip_2.2.1+dfsg1.orig.tar.xz ;; esac')
    os.symlink('/usr/bin/sha256sum', bare / 'sha256sum')
    done = run('lwip', PATH=str(bare), B=str(tmp_path / 'b'))
    assert done.returncode == 1 and 'is not lwIP 2.2.1' in done.stderr
    assert os.listdir(tmp_path / 'b' / 'lwip') == []


def test_doctor_names_what_is_missing_and_the_cure(bare):
    for name in ('df', 'stat'):
        os.symlink(f'/usr/bin/{name}', bare / name)
    done = run('doctor', PATH=str(bare))
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert any(row.startswith('MISSING  qemu-system-i386') and 'qemu-system-x86' in row for row in lines)
    assert any(row.startswith('warn     gdb') for row in lines)


def test_doctor_finds_this_machine_well():
    done = run('doctor', '--json', B=BUILD)
    assert done.returncode == 0, done.stdout
    rows = {row['check']: row for row in map(json.loads, done.stdout.splitlines())}
    assert all(set(row) == {'check', 'state', 'version', 'say'} for row in rows.values())
    assert not [row for row in rows.values() if row['state'] == 'MISSING']
    for name in ('i386 compiler', 'QEMU e1000', 'QEMU filter-dump', 'QEMU memory-backend-file', 'libpcap', 'lwIP', 'python3',
                 'unix sockets', 'disk space', 'gdb with Python', 'gdb with i386', 'smoke boot'):
        assert rows[name]['state'] == 'ok', rows[name]
    assert rows['i386 compiler']['say'].endswith('ld')


def doctor(bare, **env):
    """What the doctor says, by check, on a machine of these tools alone."""
    for name in ('df', 'stat', 'env'):
        if not (bare / name).exists():
            os.symlink(f'/usr/bin/{name}', bare / name)
    done = run('doctor', '--json', PATH=str(bare), **env)
    rows = {row['check']: row for row in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == any(row['state'] == 'MISSING' for row in rows.values())
    assert all(row['say'] for row in rows.values() if row['state'] != 'ok'), 'a problem without a cure'
    return rows


def test_doctor_on_a_bare_machine(bare):
    rows = doctor(bare, PYTHON=str(bare / 'python3'))
    for name in ('i386 compiler', 'cc', 'make', 'qemu-system-i386', 'curl'):
        assert rows[name]['state'] == 'MISSING' and 'tools/setup/install demo' in rows[name]['say'], rows[name]
    assert rows['gdb']['state'] == rows['python3']['state'] == rows['clang']['state'] == 'warn'


HELP = 'case $* in *version) echo QEMU emulator version %s ;; *device*) echo \'name "%s", bus PCI\' ;; ' \
       '*) echo "  filter-dump" ;; esac'


@pytest.mark.parametrize('version, device, wrong', [
    ('7.2.1', 'isa-debug-exit', ['QEMU e1000', 'QEMU memory-backend-file']),
    ('7.2.1', 'e1000e', ['QEMU e1000', 'QEMU isa-debug-exit', 'QEMU memory-backend-file']),
    ('6.2.0', 'e1000', ['QEMU 7.2', 'QEMU isa-debug-exit', 'QEMU memory-backend-file'])])
def test_doctor_knows_a_poor_qemu(bare, version, device, wrong):
    play(bare, 'qemu-system-i386', HELP % (version, device))
    rows = doctor(bare)
    assert sorted(name for name, row in rows.items() if name.startswith('QEMU') and row['state'] == 'MISSING') == sorted(wrong)


def test_doctor_knows_poor_tools(bare, tmp_path):
    """A gdb of another machine without Python, an old Python, a compiler without libpcap, another lwIP, a kernel that hangs up."""
    play(bare, 'gdb', 'case $* in *version*) echo GNU gdb 11.2 ;; *) echo Undefined item: "i386." ;; esac')
    play(bare, 'python3', 'case $2 in *print*) echo 3.8 ;; *) exit 1 ;; esac')
    play(bare, 'cc', 'exit 1')
    play(bare, 'qemu-system-i386', 'case $* in *version) echo QEMU emulator version 7.2.1 ;; *) exit 1 ;; esac')
    for name in ('kernel.elf', 'fs.img', 'nettrace'):
        (tmp_path / name).touch()
    rows = doctor(bare, PYTHON=str(bare / 'python3'), LWIP_DIR=lwip_tree(tmp_path, '2.1.3'), B=str(tmp_path))
    assert {name: row['state'] for name, row in rows.items() if name in (
        'gdb 12', 'gdb with Python', 'gdb with i386', 'python3', 'libpcap', 'lwIP', 'smoke boot', 'unix sockets')} == {
            'gdb 12': 'warn', 'gdb with Python': 'warn', 'gdb with i386': 'warn', 'python3': 'warn', 'libpcap': 'MISSING',
            'lwIP': 'MISSING', 'smoke boot': 'MISSING', 'unix sockets': 'MISSING'}


def test_doctor_usage():
    done = run('doctor', '--nonsense')
    assert (done.returncode, done.stdout) == (2, '') and done.stderr.startswith('usage')
