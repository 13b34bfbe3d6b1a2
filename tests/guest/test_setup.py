"""tools/setup: what the scripts promise on any machine, without changing this one.

The machine is played: a PATH with only the commands that a case is about, or a
shadow apt-get that writes down how it was called.
"""

import os
import subprocess

import pytest

from vm import TOP

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
    done = run('doctor')
    assert done.returncode == 0, done.stdout
    assert 'MISSING' not in done.stdout and 'warn     gdb' not in done.stdout
