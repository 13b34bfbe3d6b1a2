"""Bad files given to the host tool itself: every command says one line and exits 3, leaves
no file behind, and takes no more memory than it may.  No kernel runs here.

What each reader makes of every bit and every length: tests/host/test_badinput.c.
"""

import json
import os
import resource
import struct
import subprocess

import pytest

from vm import CAP, NETTRACE

META = (b'nettrace-metadata 1\nevent 1 mark META a remark\n\ttext text text the words\n'
        b'event 2 e1000_rx DRIVER a frame\n\tu16 slot num index\n\tu16 len byte length\nend\n')
COMMANDS = [('ladder',), ('html', '-o', 'OUT'), ('html', '--svg', '-o', 'OUT'), ('merge', '-o', 'OUT'), ('info',), ('info', '--json'),
            ('dump',), ('stats',), ('chrome', '-o', 'OUT'), ('msc',), ('ctf', '-o', 'OUT'), ('check', '--ends'), ('why', '1')]


def fnv(data):
    h = 2166136261
    for byte in data:
        h = (h ^ byte) * 16777619 & 0xffffffff
    return h


def trace(slots=b'', meta=META, **lies):
    """A saved trace; lies replace fields of its header."""
    h = dict(magic=b'NETTRF1\0', version=1, hdr_size=128, slot_size=64, ncpu=1, nslots=1024, boot=7, khz=1000000, flags=0,
             pa=0, meta_pa=0, meta_len=len(meta), meta_hash=fnv(meta)) | lies
    return struct.pack('<8s4H8I6sHIIQ56x', *h.values(), b'RT\0\x124V', 0, 0x0a00020f, 0, 0) + meta + b'\n' * (-len(meta) % 64) + slots


def slot(seq, ts, event=1, **more):
    r = dict(cpu=0, nsl=1, pkt=0, sock=0, pid=0) | more
    return struct.pack('<QHBBIIHH40s', ts, event, r['cpu'], r['nsl'], seq, r['pkt'], r['sock'], r['pid'], b'said')


def capture(*frames, version=(2, 4), link=1):
    return struct.pack('<IHHIIII', 0xa1b2c3d4, *version, 0, 0, 65535, link) + \
        b''.join(struct.pack('<IIII', 1, k, caplen, caplen) + data for k, (caplen, data) in enumerate(frames))


SLOTS = b''.join(slot(k, 1000 * k) for k in range(1, 9))
FRAME = (60, bytes(60))
BAD = {
    'empty trace': (trace()[:0], ''),
    'header cut': (trace(SLOTS)[:100], 'header'),
    'metadata cut': (trace(SLOTS)[:200], 'ends before'),
    'metadata longer than the file': (trace(SLOTS, meta_len=1 << 30), 'metadata of 1073741824 bytes'),
    'metadata shorter than it is': (trace(SLOTS, meta_len=60), 'metadata line'),
    'another hash': (trace(SLOTS, meta_hash=1), 'hash'),
    'version 2': (trace(SLOTS, version=2), 'version 2'),
    'big-endian': (trace(SLOTS, version=0x0100), 'big-endian'),
    'slots of 32 bytes': (trace(SLOTS, slot_size=32), 'slots of 32'),
    'rings of 1000': (trace(SLOTS, nslots=1000), 'power of two'),
    'text mode': (trace(SLOTS).replace(b'\n', b'\r\n'), 'text mode'),
    'some text': (b'This is no trace.\n' * 400, ''),
    'capture of another version': (capture(FRAME, version=(9, 4)), 'version'),
    'no Ethernet': (capture(FRAME, link=113), 'Ethernet'),
    'frame of 2 GB': (capture((1 << 31, b'')), 'frame 0'),
}


def run(*args, **options):
    done = subprocess.run([NETTRACE, *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, timeout=CAP, **options)
    return done.returncode, done.stdout.decode(errors='replace'), done.stderr.decode(errors='replace')


def refused(command, *operands, says='', within):
    """One line that names the file, exit 3, nothing left in the directory."""
    before = set(os.listdir(within))
    rc, _, err = run(*(os.path.join(within, 'out') if a == 'OUT' else a for a in command), *operands)
    assert rc == 3, (command, operands, rc, err)
    assert err.count('\n') == 1 and err.startswith(f'nettrace {command[0]}: '), (command, err)
    assert says in err and os.path.basename(str(operands[-1])) in err, (command, err)
    assert set(os.listdir(within)) == before, command


@pytest.mark.parametrize('what', BAD)
def test_refused(what, tmp_path):
    data, says = BAD[what]
    path = tmp_path / 'input'
    path.write_bytes(data)
    for command in COMMANDS:
        if data or command[0] not in ('dump', 'ctf'):  # an empty file may be a capture: these need a trace
            refused(command, path, says=says, within=tmp_path)


def test_not_there(tmp_path):
    (tmp_path / 'dir').mkdir()
    for command in COMMANDS:
        refused(command, tmp_path / 'nowhere', within=tmp_path)
        refused(command, tmp_path / 'dir', within=tmp_path)


def test_a_gigabyte(tmp_path):
    """Of holes: as zeros, as a trace, as a capture.  Refused before it is read."""
    for name, begin in ('zeros', b''), ('trace', trace(SLOTS)), ('capture', capture()):
        with open(tmp_path / name, 'wb') as f:
            f.write(begin)
            f.truncate(1 << 30)
        for command in ('ladder',), ('merge', '-o', 'OUT'), ('info',):
            refused(command, tmp_path / name, within=tmp_path)


def peak(*args):
    """(exit status, what was said, MiB) of one run."""
    child = subprocess.Popen([NETTRACE, *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = child.stderr.read().decode()
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode, said, used.ru_maxrss / 1024


def test_memory_is_bounded(tmp_path):
    """A small file that means much: 256 boots, each with 1,000 events of 32 fields."""
    meta = b'nettrace-metadata 1\n' + b''.join(b'event %d e%d META\n' % (k, k) + b'\tu8 f num\n' * 32 for k in range(1000)) + b'end\n'
    (tmp_path / 'many').write_bytes(trace(meta=meta) * 256)
    rc, said, mib = peak('info', tmp_path / 'many')
    assert (rc, said.count('\n')) == (3, 1) and '--max-mem' in said and mib <= 540
    rc, said, mib = peak('info', '--max-mem=64M', tmp_path / 'many')
    assert (rc, said.count('\n')) == (3, 1) and '--max-mem' in said and mib <= 64 + 100  # and the file's own pages
    assert run('info', '--max-mem=lots', tmp_path / 'many')[0] == 2


def test_text_in_json(tmp_path):
    """A remark's UTF-8 comes back as the same text; a stray byte as the code point of its number."""
    said = 'é€𝄞'.encode() + b'\xc3\xed\xa0\x80"'  # whole characters; then a cut one, half a surrogate pair
    (tmp_path / 't').write_bytes(trace(slot(1, 1000).replace(b'said' + bytes(36), said + bytes(40 - len(said)))))
    rc, out, _ = run('dump', '-q', '--json', tmp_path / 't')
    assert rc == 0 and out.isascii()
    assert json.loads(out)['fields']['text'] == 'é€𝄞\xc3\xed\xa0\x80"'


def test_not_recorded(tmp_path):
    """The driver's events were switched off: what they would prove is not found to be true."""
    meta = META.replace(b'end\n', b'event 3 ethif_rx NETIF a frame\n\tu16 len byte length\nend\n')
    (tmp_path / 'c').write_bytes(capture(FRAME))
    for events, says in (((3,), True), ((2, 3), False), ((1,), False)):
        (tmp_path / 't').write_bytes(trace(b''.join(slot(k, 1000 * k, event) for k, event in enumerate(events, 1)), meta))
        for check in ('--max-unmatched', '99'), ('--sandwich',):
            rc, out, err = run('check', *check, tmp_path / 't', tmp_path / 'c')
            assert rc == 1 and ('no e1000_rx in this trace, though 1 ethif_rx' in out + err) == says, (out, err)


def test_force(tmp_path):
    """A damaged capture: refused; with --force the frames before the damage, and what was left out."""
    whole, head = capture(FRAME, FRAME, FRAME, FRAME), 24 + 2 * 76  # the third frame's own head
    for at, value, frames, left in ((head + 8, 1 << 30, 2, 'left out 0, and all behind them, at least 1'),  # its length
                                    (head + 12, 0, 2, 'left out 0, and all behind them, at least 76 bytes: a frame without length'),
                                    (head + 4, 1 << 30, 3, 'left out 1 with an impossible time')):
        bad = bytearray(whole)
        struct.pack_into('<I', bad, at, value)
        (tmp_path / 'bad').write_bytes(bad)
        refused(('info',), tmp_path / 'bad', says='--force', within=tmp_path)
        rc, out, err = run('info', '--force', tmp_path / 'bad')
        assert rc == 0 and f'{frames} frames, ' in out + err and f'--force: read {frames} frames of ' in out + err, (out, err)
        assert left in out + err, (out, err)
        assert run('ladder', '--force', '--strict', tmp_path / 'bad')[0] == 1
    (tmp_path / 'good').write_bytes(whole)
    assert run('ladder', '--force', tmp_path / 'good') == run('ladder', tmp_path / 'good')


def test_read_as_far_as_it_goes(tmp_path):
    """Cut and odd files: the good part is used, the rest is named; --strict makes it a finding."""
    odd = {'17 bytes after': trace(SLOTS) + bytes(17), '1 slots of incomplete': trace(SLOTS + slot(9, 9000, nsl=2)),
           'ends early': capture(FRAME, FRAME)[:-7], 'the capture is empty': b''}
    for says, data in odd.items():
        path = tmp_path / 'odd'
        path.write_bytes(data)
        pair = [path] if data[:4] == b'NETT' else [tmp_path / 'good', path]
        (tmp_path / 'good').write_bytes(trace(SLOTS))
        rc, out, err = run('ladder', *pair)
        assert rc == 0 and says in err, (says, err)
        assert run('html', '--strict', '-o', tmp_path / 'page', *pair)[0] == 1
    (tmp_path / 'odd').write_bytes(trace(slot(1, 1000) + slot(2, 500) + slot(3, 3600 * 10 ** 9 * 5)))
    rc, out, _ = run('info', tmp_path / 'odd')
    assert rc == 0 and '1 stamps going back' in out
    rc, out, _ = run('dump', tmp_path / 'odd')
    assert rc == 0 and len(out.splitlines()) == 3
    rc, out, _ = run('dump', tmp_path / 'good')
    assert rc == 0 and out.count('mark') == 8


def test_ram_that_shrinks(tmp_path):
    """The RAM of a guest, cut off while it is being read: not the signal's end."""
    page, meta, ring, counts = 0x10000, 0x20000, 0x40000, 0x80000
    head = bytearray(trace(magic=b'NETTRC1\0', pa=page, meta_pa=meta)[:128])
    struct.pack_into('<H', head, 54, 256)  # where the CPUs begin
    with open(tmp_path / 'ram', 'wb') as f:
        f.truncate(2 << 20)
        for at, data in (page, head), (page + 256, struct.pack('<III', ring, 0, counts)), (meta, META):
            f.seek(at)
            f.write(data)
    rc, out, err = run('info', tmp_path / 'ram')
    assert rc == 0 and 'records   0' in out, (rc, out, err)
    child = subprocess.Popen([NETTRACE, 'wait', '--for', 'mark', '--timeout', '60', tmp_path / 'ram'], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while child.poll() is None:
        with open(f'/proc/{child.pid}/maps') as f:
            if str(tmp_path / 'ram') in f.read():
                break
    os.truncate(tmp_path / 'ram', 0)
    _, said = child.communicate(timeout=CAP)
    assert child.returncode == 3 and said.count(b'\n') == 1 and b'shrank' in said, (child.returncode, said)


def small_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def test_cannot_write(tmp_path):
    """A full disk, a directory in the way, no directory: exit 3, no file left."""
    path = tmp_path / 'trace'
    path.write_bytes(trace(b''.join(slot(k, 1000 * k, event=2, pkt=k % 100 + 1) for k in range(1, 321))))
    for command in ('html',), ('merge',), ('chrome',), ('dump',):
        rc, _, err = run(*command, '-q', '-o', tmp_path / 'out', path, preexec_fn=small_files)
        assert rc == 3 and err.count('\n') == 1 and 'out' in err, (command, rc, err)
        for target in tmp_path, tmp_path / 'nowhere' / 'out':
            rc, _, err = run(*command, '-q', '-o', target, path)
            assert rc == 3 and err.count('\n') == 1, (command, target, rc, err)
        assert os.listdir(tmp_path) == ['trace'], command
