"""The cable loses, repeats, turns around, delays and damages frames: what arrives is
what was sent.  And the rig itself: it does what its log says, by its seed.

A test's last parameter is its seed: SEED=7 makes it the only one.  WIRE=all runs every
profile with 20 seeds, instead of the few with two that make test has time for.
"""

import hashlib
import os
import signal
import socket
import struct
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from cable import Cable
from evidence import frames
from vm import CAP
from wire import Faults, Line, Rule, nt_hash

PROFILES = {
    'loss 5%': 'drop=5%',
    'loss 1%, delay': 'drop=1%,delay=5ms,jitter=5ms',
    'dup, reorder': 'dup=5%,reorder=25%',
    'corrupt': 'corrupt=3%',
}
MORE = {
    'loss 1%': 'drop=1%',
    'loss 10%': 'drop=10%',
    'loss 20%': 'drop=20%',
    'all at once': 'drop=5%,dup=2%,reorder=5%,corrupt=1%,delay=1ms',
    'delay 100 ms': 'delay=50ms,jitter=50ms',
}
ALL = os.environ.get('WIRE') == 'all'
SEEDS = [int(os.environ['SEED'])] if 'SEED' in os.environ else range(1, 21 if ALL else 3)
# QEMU's user networking sends FIN, in the midst of its data, at the second SYN,ACK that
# it sees, so there must be one.  It is not repeated on the way; nor by the guest, as it
# is for a second SYN, or by its timer when no ACK comes.
SPARED = ['out tcp syn ack pass', 'in tcp syn pass', 'in tcp ack port=5011 nth=1 pass']
# Nothing finds a bit that is wrong in ARP: the wrong address is believed for minutes.
NO_SUM = ['in arp pass', 'out arp pass']
MIB = bytes((k * 2654435761 >> 24) & 0xff for k in range(1 << 20))  # what ttcp -t sends


def receive(s):
    """All bytes until the peer's end; never 60 s without a new one."""
    got = []
    s.settimeout(CAP)
    while (data := s.recv(65536)):
        got.append(data)
    return b''.join(got)


@pytest.fixture
def cable(request, cap):
    """cable(...) starts a guest behind the wire; it is ended after the test."""
    request.node.guests = []

    def start(**options):
        vm = Cable(name='cable', **options)
        request.node.guests.append(vm)
        vm.start()
        return vm

    yield start
    for vm in request.node.guests:
        vm.stop()
    if request.node.report_call.passed:
        for vm in request.node.guests:
            vm.check()
            vm.remove()


def ends(vm):
    """Every packet has one end, with a reason."""
    vm.wait_event('quiet=30ms')
    vm.tool('check', '--ends', '--no-drop', 'NOT_SPECIFIED')


def transfer(vm):
    """1 MiB out of the guest, 64 KiB into it, at the same time: what arrived."""
    vm.start()
    vm.send('ttcp -t -l -q &\n')
    vm.send('ttcp -r -l -p 5011\n')
    vm.wait_event('tcp_state to=LISTEN lport=5011')
    with socket.create_connection(('127.0.0.1', vm.port(5010))) as out, \
         socket.create_connection(('127.0.0.1', vm.port(5011))) as into:
        into.sendall(MIB[:65536])
        into.shutdown(socket.SHUT_WR)
        got = receive(out)
        receive(into)
    said = vm.expect(r'received 65536 bytes.* sha256 (\w{64})').group(1)
    ends(vm)
    return got, said


@pytest.fixture(scope='module')
def guests(request):
    """{(profile, seed): (guest, what transfer() will return)}: most of a transfer is
    waiting for timers, so four are on their way at the same time."""
    wanted = [item.callspec.params for item in request.session.items
              if getattr(item, 'originalname', '') == 'test_every_byte_arrives']
    pool, all_ = ThreadPoolExecutor(4), {}
    for case in wanted:
        faults = {**PROFILES, **MORE}[case['profile']]
        vm = Cable(name='cable', seed=case['seed'], in_=faults, out=faults, ports=(80, 5010, 5011),
                   rules=SPARED + (NO_SUM if 'corrupt' in faults else []))
        all_[case['profile'], case['seed']] = vm, pool.submit(stopped, vm)
    yield all_
    pool.shutdown(cancel_futures=True)


def stopped(vm):
    """transfer(), and the guest's end."""
    try:
        return transfer(vm)
    finally:
        vm.stop()


@pytest.mark.parametrize('seed', SEEDS)
@pytest.mark.parametrize('profile', list({**PROFILES, **(MORE if ALL else {})}))
def test_every_byte_arrives(request, guests, profile, seed):
    """Both compared with what was sent."""
    vm, transferred = guests[profile, seed]
    request.node.guests = [vm]
    if ALL:
        signal.alarm(0)  # at 20 % it takes minutes, but never long without a byte
    got, said = transferred.result()
    assert got == MIB and said == hashlib.sha256(MIB[:65536]).hexdigest()
    assert vm.acts() or profile.startswith('delay')
    vm.check()
    vm.remove()


# ---- the rig itself -----------------------------------------------------


def fates(seed, dir_='out', count=2000, **faults):
    """For each frame, what a line does to it, in a word."""
    line = Line(dir_, seed, Faults(','.join(f'{name}={value}' for name, value in faults.items())))
    return [len(line.fate(bytes(60), 0)) for _ in range(count)], line.counts


def test_shares():
    _, counts = fates(1, drop='5%', dup='2%', reorder='10%', corrupt='50%')
    assert 60 <= counts['drop'] <= 140 and 20 <= counts['dup'] <= 60 and 140 <= counts['hold'] <= 250
    assert 850 <= counts['corrupt'] <= 1050


def test_seed_decides():
    """The same seed, the same fates, whatever the frames and the other settings are."""
    lost = [n == 0 for n in fates(7, drop='5%')[0]]
    assert lost == [n == 0 for n in fates(7, drop='5%', dup='20%', reorder='9%', jitter='3ms')[0]]
    assert lost != [n == 0 for n in fates(8, drop='5%')[0]]
    assert lost != [n == 0 for n in fates(7, 'in', drop='5%')[0]]


@pytest.mark.parametrize('text', ['drop', 'drop=5', 'drop=101%', 'lose=5%', 'delay=5', 'rate=0'])
def test_faults_it_does_not_know(text):
    with pytest.raises(ValueError):
        Faults(text)


@pytest.mark.parametrize('text', ['', 'in', 'up tcp drop', 'in tcp lose', 'in tls drop', 'in nth=x drop'])
def test_rules_it_does_not_know(text):
    with pytest.raises(ValueError):
        Rule(text)


def test_a_copy_that_comes_later():
    line = Line('in', rules=[Rule('in arp dup=20')])
    frame = bytes(12) + b'\x08\x06' + bytes(46)
    assert line.fate(frame, 1.0) == [(1.0, False, frame), (1.02, False, frame)] and line.counts == {'dup': 1}


def test_rate():
    """A frame leaves when its last bit has: one behind the other, and at once after a pause."""
    line = Line('out', faults=Faults('rate=1M'))
    went = [line.fate(bytes(size), now)[0][0] for size, now in ((1250, 0), (125, 0), (1250, 0.005), (125, 2.0))]
    assert went == pytest.approx([0.010, 0.011, 0.021, 2.001])


def test_play(cable, tmp_path):
    """The frames of a capture reach the guest, all of them and in their order."""
    head = bytes.fromhex('525400123456 020000000077')
    played = [head + b'\x88\xcc' + b'%4d' % n * 12 for n in range(20)] + [head + b'\x08\x00' + bytes(46)]
    with open(tmp_path / 'play.pcap', 'wb') as f:
        f.write(struct.pack('<IHHiIII', 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for n, frame in enumerate(played):
            f.write(struct.pack('<4I', 1000, n * 1000, len(frame), len(frame)) + frame)
    vm = cable(play=str(tmp_path / 'play.pcap'), append='ip=10.9.0.2/24 trace=all')
    vm.wait_event('net_drop reason=IP_INHDR')  # the last
    mine = [nt_hash(frame.ljust(60, b'\0')) for frame in played]
    came = [row for row in vm.events('e1000_rx') if int(row['hash'], 16) in mine]
    assert [int(row['hash'], 16) for row in came] == mine


def test_corrupt_flips_one_bit():
    line = Line('in', 3, Faults('corrupt=100%'))
    for size in (60, 61, 1514):
        for _ in range(50):
            (_, _, out), = line.fate(bytes(size), 0)
            assert sum(bin(b).count('1') for b in out) == 1 and out[:14] == bytes(14)


def test_log_is_the_difference_of_the_captures(cable):
    """What the wire says it did is what the captures on its two sides differ by, and
    the frames that it lost are those that the seed says."""
    vm = cable(seed=5, in_='drop=10%', out='drop=10%,dup=5%', ports=(80,),
               rules=['in arp pass', 'out arp pass', 'out icmp nth=3,4,5 pass', 'out icmp nth=20 drop'])
    said = vm.cmd('ping -q -c 200 -i 10 -w 20 10.0.2.2')
    assert '200 sent' in said
    vm.wait_event('quiet=200ms')
    vm.stop()
    near, far = frames(os.path.join(vm.dir, 'wire.pcap')), frames(os.path.join(vm.dir, 'far.pcap'))
    acts = vm.acts()
    for dir_, sent, came in (('in', far, near), ('out', near, far)):
        there = Counter(f['hash'] for f in sent if f['out'] == (dir_ == 'out'))
        here = Counter(f['hash'] for f in came if f['out'] == (dir_ == 'out'))
        mine = [row for row in acts if row['dir'] == dir_]
        lost = Counter(int(row['hash'], 16) for row in mine if row['act'] == 'drop')
        twice = Counter(int(row['hash'], 16) for row in mine if row['act'] == 'dup')
        assert lost and here == there - lost + twice
        n = sum(there.values())
        share = {k for k, fate in enumerate(fates(5, dir_, n, drop='10%')[0]) if fate == 0}
        said = {row['n'] for row in mine if row['act'] == 'drop'}
        spared = {row['n'] for row in mine if row['act'] == 'pass'}
        assert len(said) > 5 and len(said - share) <= (dir_ == 'out') and share - said <= spared
