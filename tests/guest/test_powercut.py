"""Power cuts: every prefix of the writes that a workload makes is a disk that the
next boot can use.

Each workload of prog/crash.c runs on an IDE disk behind QEMU's blklogwrites, which
logs every write and flush.  build/tests/fscheck replays the log on the host, looks
at the disk after each write, with and without recovery, and leaves some of these
disks behind: they are booted, and what our kernel makes of them must be, block by
block, what fscheck's model of a mount made of them.  The writes of this recovery are
logged too, and cut short again.

The figures go to build/powercut.json.  Environment: SEED chooses what the drive
with a write cache loses, CUTS how many disks of each workload are booted.
"""

import json
import os
import shutil
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from vm import BAD, BUILD, CAP, CAPTURE, KERNEL, NETTRACE, TOP, Failed

FSCHECK = os.path.join(BUILD, 'tests', 'fscheck')
FIGURES = os.path.join(BUILD, 'powercut.json')
SEED = os.environ.get('SEED') or '1'
CUTS = int(os.environ.get('CUTS') or '8')
PROGRAMS = ['user/init', 'user/sh', 'user/poweroff', 'tests/prog/crash']
BLOCKS = 1000  # of the disk: small, because thousands of them are looked at


def tool(*args):
    """Run a program of the build; returns (stdout, stderr)."""
    done = subprocess.run(args, capture_output=True, text=True, errors='replace', timeout=CAP)
    if done.returncode:
        raise Failed(f'{" ".join(map(str, args))}: exit status {done.returncode}\n{done.stdout}{done.stderr}')
    return done.stdout, done.stderr


def capture(run, *args):
    """Run a guest to its end without a network; returns what it printed."""
    done = subprocess.run([CAPTURE, '-d', run, '-k', KERNEL, '-n', 'none', '-m', '64', *args],
                          env=dict(os.environ, NETTRACE=NETTRACE), cwd=TOP, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=CAP, text=True,
                          errors='replace')
    with open(run / 'serial.log', errors='replace') as f:
        console = f.read()
    if done.returncode or BAD.search(console):
        raise Failed(f'capture in {run}: exit status {done.returncode}\n{done.stdout}\n{console[-2000:]}')
    return done.stdout


def make_disk(path, blocks):
    """A file system with little more than the workloads' program."""
    tool(os.path.join(BUILD, 'mkfs'), path, '-b', str(blocks),
         *(os.path.join(BUILD, name + '.bin') for name in PROGRAMS))


def run_logged(at, start, cpus, append, *args):
    """Run a guest on a copy of the disk start, at/disk.img; its writes go to
    at/disk.log.  Returns what it printed."""
    shutil.copy(start, at / 'disk.img')
    (at / 'disk.log').touch()
    # QEMU runs in at/run: these names hold no blank, whatever at is called.
    # no-flush: the log has the flushes, the host need not sync its own disk.
    blockdevs = ['driver=file,filename=../disk.img,node-name=img,cache.no-flush=on',
                 'driver=file,filename=../disk.log,node-name=log,cache.no-flush=on',
                 'driver=blklogwrites,node-name=disk,file=img,log=log,'
                 'log-sector-size=512,log-super-update-interval=1']
    words = ' '.join(f'-blockdev {dev}' for dev in blockdevs) + ' -device ide-hd,drive=disk,bus=ide.0,unit=0'
    # The module is not used: root= names the disk that capture knows nothing of.
    return capture(at / 'run', '-c', str(cpus), '-i', os.path.join(BUILD, 'fs.img'),
                   '-a', 'root=ide0 trace=off ip=none ' + append, '-x', words, *args)


def replay(start, log, *options):
    """fscheck's counts, and what it says of unsound disks."""
    counts, faults = tool(FSCHECK, '-s', SEED, *options, start, log)
    return json.loads(counts), faults


def first_difference(mine, model):
    """The first block in which two images differ, but for the log's; None if the log
    of the first is not committed and there is none."""
    _, _, _, nlog, logstart, *_ = struct.unpack_from('<7I', model, 512)
    if mine[logstart * 512:logstart * 512 + 4] != b'\0\0\0\0':
        return logstart
    for block in range(max(len(mine), len(model)) // 512):
        where = slice(block * 512, block * 512 + 512)
        if mine[where] != model[where] and not logstart <= block < logstart + nlog:
            return block
    return None


def boot_cut(image):
    """Let our kernel mount the disk that a power cut left, and compare; then cut the
    power during that.  Returns (how often, what is wrong)."""
    at = image.with_suffix('.boot')
    at.mkdir()
    run_logged(at, image, 1, 'init=/poweroff')
    block = first_difference((at / 'disk.img').read_bytes(), image.with_suffix('.model').read_bytes())
    if block is not None:
        return 0, f'{image}: after recovery block {block} differs from the model\n'
    if not os.path.getsize(at / 'disk.log'):
        return 0, ''  # nothing to recover
    counts, faults = replay(image, at / 'disk.log', '-r')
    return counts['prefixes'] + counts['lossy'], faults


def note(name, figures):
    """Keep the figures of the last run of each workload."""
    try:
        with open(FIGURES) as f:
            rows = json.load(f)
    except FileNotFoundError:
        rows = {}
    rows[name] = figures
    with open(FIGURES, 'w') as f:
        json.dump(rows, f, indent=1)
        f.write('\n')


@pytest.mark.parametrize('name, cpus, blocks, nameless', [
    ('storm', 2, BLOCKS, 0),
    ('grow', 1, BLOCKS, 0),
    ('tree', 1, BLOCKS, 0),
    ('links', 1, BLOCKS, 0),
    ('stress', 4, BLOCKS, 100),
    ('nameless', 2, BLOCKS, 1000),
    ('full', 1, 400, 0),
])
def test_power_cuts(tmp_path, name, cpus, blocks, nameless):
    start, log = tmp_path / 'start.img', tmp_path / 'disk.log'
    make_disk(start, blocks)
    said = run_logged(tmp_path, start, cpus, '', '-G', f'crash {name}')
    assert said.strip() == 'done'
    counts, faults = replay(start, log, '-n', str(CUTS), '-o', tmp_path)
    # The log is all of it, and enough to mean something.
    assert (tmp_path / 'end.cut').read_bytes() == (tmp_path / 'disk.img').read_bytes()
    assert counts['prefixes'] >= 1000 and counts['committed'] >= 500 and counts['files'] >= 2000, counts
    assert counts['nameless'] >= nameless, counts
    assert counts['bad'] == 0, f'unsound after recovery:\n{faults}'
    assert counts['control'] > 0, 'sound also without recovery: then nothing was tested'
    assert counts['lossy_bad'] == 0, f'unsound when unflushed writes are lost, SEED={SEED}:\n{faults}'
    unflushed, _ = replay(start, log, '-l')
    assert unflushed['lossy_bad'] > 0, 'sound also without flushes: then nothing was tested'

    images = sorted(tmp_path.glob('*.cut'))
    with ThreadPoolExecutor(2) as pool:
        cuts, wrong = zip(*pool.map(boot_cut, images))
    note(name, dict(counts, seed=int(SEED), without_flushes=unflushed['lossy_bad'], booted=len(images),
                    booted_wrong=sum(map(bool, wrong)), cut_again=sum(cuts)))
    assert not any(wrong), ''.join(wrong)
    assert sum(cuts) > 0, 'no recovery wrote anything'
    shutil.rmtree(tmp_path)
