"""Disks and command lines that make no sense: one line, or -1, and never a panic
but `no root`.  What each field of an image can do is tests/host/test_fs.c's; here
the whole kernel meets some of it."""

import os
import random
import re
import struct
import subprocess

import pytest

from vm import BUILD, CAP, CAPTURE, KERNEL, NETTRACE, TOP

BSIZE = 512
T_DIR, T_FILE, T_DEV = 1, 2, 3
WILD = 40  # files w00, w01 ... of seven blocks and more


class Image:
    """A file system image to patch."""

    def __init__(self, path):
        with open(path, 'rb') as f:
            self.data = bytearray(f.read())
        (self.size, self.nblocks, self.ninodes, self.nlog, self.logstart, self.inodestart,
         self.bmapstart) = struct.unpack_from('<7I', self.data, BSIZE)

    def dinode(self, inum):
        return self.inodestart * BSIZE + inum * 64

    def addrs(self, inum):
        return struct.unpack_from('<13I', self.data, self.dinode(inum) + 12)

    def names(self):
        """Inode numbers by name, of the root."""
        size, = struct.unpack_from('<I', self.data, self.dinode(1) + 8)
        found = {}
        for at in range(0, size, 16):
            block = self.addrs(1)[at // BSIZE]
            inum, name = struct.unpack_from('<H14s', self.data, block * BSIZE + at % BSIZE)
            found[name.rstrip(b'\0').decode()] = inum
        return found

    def write(self, path):
        with open(path, 'wb') as f:
            f.write(self.data)
        return str(path)


def u32_at(offset, value):
    def patch(image):
        struct.pack_into('<I', image.data, offset, value & 0xffffffff)
    return patch


def log_header(n, block):
    def patch(image):
        struct.pack_into('<ii', image.data, image.logstart * BSIZE, n, block)
    return patch


def root_type(image):
    struct.pack_into('<h', image.data, image.dinode(1), T_FILE)


def cut(n):
    def patch(image):
        del image.data[n:]
    return patch


# What is wrong, and the words of the one line.
BAD_IMAGES = {
    'no superblock': (cut(BSIZE), 'too small'),
    'cut short': (cut(300 * BSIZE), 'superblock, size'),
    'size wild': (u32_at(BSIZE, -1), 'superblock, size'),
    'nblocks wild': (u32_at(BSIZE + 4, 0x80000000), 'superblock, nblocks'),
    'ninodes wild': (u32_at(BSIZE + 8, -1), 'superblock, ninodes'),
    'nlog 0': (u32_at(BSIZE + 12, 0), 'superblock, nlog'),
    'bmapstart 0': (u32_at(BSIZE + 24, 0), 'superblock, bmapstart'),
    'log of -1 blocks': (log_header(-1, 0), "log's header"),
    'log over the superblock': (log_header(1, 1), "log's header"),
    'root is a file': (root_type, 'not the root directory'),
}


def capture(run, *args):
    """Run a guest to its end; its exit status and what it said."""
    done = subprocess.run([CAPTURE, '-d', run, '-k', KERNEL, '-m', '64', '-n', 'none', *args],
                          env=dict(os.environ, NETTRACE=NETTRACE), cwd=TOP, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=CAP)
    with open(os.path.join(run, 'serial.log'), encoding='latin-1') as f:
        return done.returncode, f.read().replace('\r', '')


def test_images_that_are_not_mounted(tmp_path):
    for name, (patch, words) in BAD_IMAGES.items():
        image = Image(os.path.join(BUILD, 'fs.img'))
        patch(image)
        path = image.write(tmp_path / 'bad.img')
        for how in ('-i', '-f'):
            if how == '-f' and name not in ('cut short', 'log of -1 blocks'):
                continue
            code, said = capture(tmp_path / (name.replace(' ', '_') + how), how, path)
            assert code == 4, (name, said)
            assert len(re.findall(r'^fs: .*not mounted$', said, re.M)) == 1 and words in said, (name, said)
            assert re.search(r'^panic: .*no root$', said, re.M), (name, said)


def wild_image(path, seed, scratch):
    """The disk of the tests with files whose inodes make no sense.  They may name
    blocks of each other, or that are no data, but none of a sound file."""
    rand = random.Random(seed)
    with open(os.path.join(BUILD, 'tests.list')) as f:
        files = f.read().split()
    body = scratch / 'body'
    body.write_bytes(b'wild' * 1800)
    made = subprocess.run([os.path.join(BUILD, 'mkfs'), path, *[os.path.join(TOP, file) for file in files],
                           *[f'{body}=w{i:02}' for i in range(WILD)]], stderr=subprocess.PIPE)
    assert made.returncode == 0, made.stderr
    image = Image(path)
    names = image.names()
    wild = [names[f'w{i:02}'] for i in range(WILD)]
    own = [addr for inum in wild for addr in image.addrs(inum)]
    outside = [0, 1, image.logstart, image.inodestart, image.bmapstart, image.size, image.size + 1, 0x7fffffff,
               0x80000000, 0xffffffff]
    inums = [0, 1, image.ninodes, 65535, *wild]
    for inum in wild:
        entries = b''.join(struct.pack('<H14s', rand.choice(inums), name) for name in
                           (b'.', b'..', b'x', b'y', b'fourteen.bytes', b'', b'x', b'/', b'w00') * 3)
        struct.pack_into(f'{len(entries)}s', image.data, image.addrs(inum)[0] * BSIZE, entries)
        indirect = image.addrs(inum)[12] * BSIZE
        struct.pack_into('<20I', image.data, indirect, *rand.choices(own + outside * 5, k=20))
    for inum in wild:
        addrs = list(image.addrs(inum))
        for _ in range(rand.randrange(4)):
            addrs[rand.randrange(13)] = rand.choice(own + outside * 8)
        struct.pack_into('<4hI13I', image.data, image.dinode(inum),
                         rand.choice([T_DIR, T_DIR, T_FILE, T_FILE, T_DEV, 0, 9, -1]),
                         rand.choice([0, 1, 2, 3, 9, 10, -1, 32767]), rand.choice([0, 1, 5, -1]),
                         rand.choice([1, 1, 1, 2, 0, -1, 32767]),
                         rand.choice([0, 16, 432, 7200, 7201, 71680, 71681, 0x7fffffff, 0xffffffff]), *addrs)
    return image.write(path)


@pytest.mark.parametrize('n', range(3))
def test_wild_inodes(boot, tmp_path, n):
    """Every call that takes a path or a file meets them."""
    seed = int(os.environ.get('SEED', '1')) * 1000 + n
    path = wild_image(tmp_path / 'wild.img', seed, tmp_path)
    vm = boot(cpus=1 + n % 2, mb=64, ports=(), append='rc=off ip=none', extra=('-i', path))
    vm.step(f'SEED={seed // 1000}')
    said = vm.cmd('limits wild')
    calls, worked = map(int, re.search(r'(\d+) wild calls, (\d+) worked\n$', said).groups())
    assert calls > 1000 and worked > 100
    vm.cmd('ls')
    vm.cmd('wc w00; cat w01; rm w02; mkdir w03/z; ln w04 w05/q')
    assert vm.cmd('echo alive') == 'alive\n'


def test_long_command_line(boot):
    """Four kilobytes: the first thousand bytes count, the rest is named once."""
    vm = boot(ports=(), append='rc=off ip=none ' + 'seed=4294967295 ' * 30 + 'noise ' * 600 + 'ncpu=1')
    assert vm.cmd('echo alive') == 'alive\n'
    said = vm.output()
    assert said.count('unknown option noise') > 20
    assert len(re.findall(r'^boot: the command line is too long, ignored from byte \d+ on: n\w*$', said, re.M)) == 1


BAD_VALUES = [
    'rc=off ip=1.2.3 ipfallback=10.0.0.300/24 msl=-1 ncpu=0 seed=4294967296 console=printer'
    ' trace=+nothing trace_head0=0x10 trace_slots=3 nonce=xyz',
    'rc=off ip=10.0.2.15/33 ipfallback= msl=99999999999999999999 ncpu=4294967295 seed= console='
    ' trace= trace_head0=4294967295 trace_slots=4294967295 nonce= =',
    'rc=off ip=10.0.2.15/24,10.0.2.2,1.1.1.1,2.2.2.2 ipfallback=x msl=0 ncpu=1x seed="1 2" rc="off trace_slots=0'
    ' console=serial root=ide0',
]


@pytest.mark.parametrize('n', range(len(BAD_VALUES)))
def test_bad_values(boot, n):
    """What an option cannot be is said, and the default taken."""
    vm = boot(ports=(), append=BAD_VALUES[n])
    assert vm.cmd('echo alive') == 'alive\n'
    said = vm.output()
    if n == 0:
        for words in (r'net: ip=1\.2\.3: want', 'net: ipfallback=10.0.0.300/24: want', 'boot: msl=-1 is no number',
                      'boot: seed=4294967296 is no number',
                      'boot: console=printer ignored', 'boot: trace_head0=0x10 is no number',
                      'trace_slots=: want a power of two', 'nonce=: want'):
            assert len(re.findall(f'^{words}', said, re.M)) == 1, (words, said)


@pytest.mark.parametrize('append, words', [
    ('panic=maybe root=floppy', 'no root disk: root=floppy is not ram, ide0 or ide1'),
    ('root=ide1', 'no root'),
    ('init=/none', 'no /none on the root disk'),
    ('init=/README', 'no /README on the root disk'),
    ('init=', 'no  on the root disk'),
])
def test_no_way_to_start(tmp_path, append, words):
    code, said = capture(tmp_path / 'run', '-i', os.path.join(BUILD, 'fs.img'), '-a', append)
    assert code == 4 and re.search(f'^panic: .*{words}', said, re.M), said
