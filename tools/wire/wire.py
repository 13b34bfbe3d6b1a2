#!/usr/bin/python3
"""A cable that loses frames: a proxy between the guest's card and user networking.

usage: wire.py [--seed N] [--in F] [--out F] [--rule R]... [--play PCAP]
               [--log FILE] [--pcap FILE] -- COMMAND [ARG...]

COMMAND gets two unix datagram sockets, one datagram per frame: 3 is the cable of
the guest's card, 4 that of the network; `tools/nettrace/capture -W` plugs them in.
The exit status is COMMAND's.

  F  faults of a direction (in = towards the guest), separated by commas:
     drop=5% dup=2% reorder=5% corrupt=1%   probabilities
     delay=20ms jitter=5ms rate=10M         each frame's delay, at most so much more,
                                            bits per second
  R  "in|out WORDS nth=K[,K] ACT": the K-th frame that has all WORDS meets ACT
     WORDS: arp icmp udp tcp syn ack fin rst data len>N port=N
     ACT: drop dup corrupt hold (until the next frame has gone) delay=MS
          dup=MS (the copy comes that much later) pass (no fault at all)
  --play  frames of a capture towards the guest, from its first frame on
  --log   one JSON line for each act: {n, dir, act, len, hash}, n counts the frames
          of a direction from 0, hash is the trace's nt_hash
  --pcap  a capture of the frames that enter the cable, before their fate; ns

Each direction has its own generator and takes the same number of draws for each
frame: the fate of frame n depends on seed and n alone, not on time, on what the
frame is, or on the other settings.  corrupt flips one bit behind the Ethernet
header, which every checksum finds; in a frame without one it does what it likes.

Importable: Faults, Rule and Line decide and log; Proxy moves the frames, Tap captures them.
"""

import argparse
import heapq
import json
import os
import random
import re
import select
import signal
import socket
import struct
import sys
import time
from collections import deque

HELD = 0.05  # seconds a frame waits for another one to overtake it
ACTS = ('drop', 'dup', 'corrupt', 'hold', 'pass')


def nt_hash(data):
    """The fingerprint by which the trace knows a frame (uapi/nettrace.h)."""
    value = 2166136261
    for word in struct.unpack('<16I', data[:64].ljust(64, b'\0')):
        value = ((value ^ word) * 16777619) & 0xffffffff
    return value


def seconds(text):
    hit = re.fullmatch(r'(\d+(?:\.\d+)?)ms', text)
    if not hit:
        raise ValueError(f'{text}: milliseconds are needed, such as 20ms')
    return float(hit[1]) / 1000


def share(text):
    hit = re.fullmatch(r'(\d+(?:\.\d+)?)%', text)
    if not hit or float(hit[1]) > 100:
        raise ValueError(f'{text}: a share is needed, such as 5%')
    return float(hit[1]) / 100


def bits(text):
    hit = re.fullmatch(r'(\d+)([kMG]?)', text)
    if not hit or int(hit[1]) == 0:
        raise ValueError(f'{text}: bits per second are needed, such as 10M')
    return int(hit[1]) * {'': 1, 'k': 10**3, 'M': 10**6, 'G': 10**9}[hit[2]]


class Faults:
    """What a direction does to its frames.  text: F of the usage."""

    KINDS = dict(drop=share, dup=share, reorder=share, corrupt=share, delay=seconds, jitter=seconds, rate=bits)

    def __init__(self, text=''):
        self.drop = self.dup = self.reorder = self.corrupt = self.delay = self.jitter = self.rate = 0
        for word in filter(None, text.split(',')):
            name, _, value = word.partition('=')
            if name not in self.KINDS:
                raise ValueError(f'{word}: no such fault; there are {" ".join(self.KINDS)}')
            setattr(self, name, self.KINDS[name](value))


def words_of(frame):
    """The words of a rule that a frame has, its transport ports and payload length."""
    kind = struct.unpack_from('!H', frame, 12)[0] if len(frame) >= 14 else 0
    if kind == 0x806:
        return {'arp'}, (), 0
    if kind != 0x800 or len(frame) < 34:
        return set(), (), 0
    at, end = 14 + 4 * (frame[14] & 15), 14 + struct.unpack_from('!H', frame, 16)[0]
    proto = {1: 'icmp', 6: 'tcp', 17: 'udp'}.get(frame[23])
    if proto is None or len(frame) < at + (20 if proto == 'tcp' else 8):
        return set(), (), 0
    if proto == 'icmp':
        return {proto}, (), end - at - 8
    ports = struct.unpack_from('!HH', frame, at)
    if proto == 'udp':
        return {proto}, ports, end - at - 8
    has = {name for bit, name in ((1, 'fin'), (2, 'syn'), (4, 'rst'), (16, 'ack')) if frame[at + 13] & bit}
    return has | {proto}, ports, end - at - 4 * (frame[at + 12] >> 4)


class Rule:
    """R of the usage."""

    WORDS = ('arp', 'icmp', 'udp', 'tcp', 'syn', 'ack', 'fin', 'rst', 'data')

    def __init__(self, text):
        self.seen, self.want, self.port, self.longer, self.nth = 0, set(), None, -1, None
        dir_, *words = text.split() or ['']
        if dir_ not in ('in', 'out') or not words:
            raise ValueError(f'rule {text!r}: in or out, WORDS, nth=K and an act are needed')
        self.dir, self.act, self.delay = dir_, words[-1], 0
        if self.act.startswith(('delay=', 'dup=')):
            self.act, _, delay = self.act.partition('=')
            self.delay = seconds(delay.removesuffix('ms') + 'ms')
        elif self.act not in ACTS:
            raise ValueError(f'rule {text!r}: {self.act} is no act; there are {" ".join(ACTS)} delay=MS dup=MS')
        for word in words[:-1]:
            self._word(text, word)

    def _word(self, text, word):
        number = re.fullmatch(r'(len>|port=|nth=)(\d+(?:,\d+)*)', word)
        if word in self.WORDS:
            self.want.add(word)
        elif number and number[1] == 'nth=':
            self.nth = {int(n) for n in number[2].split(',')}
        elif number and number[1] == 'len>':
            self.longer = int(number[2])
        elif number:
            self.port = int(number[2])
        else:
            raise ValueError(f'rule {text!r}: {word} is no word of a rule')

    def hits(self, dir_, frame):
        """Is this frame one that the rule means?  Counts those that match."""
        if dir_ != self.dir or len(frame) <= self.longer:
            return False
        has, ports, payload = words_of(frame)
        if not self.want - {'data'} <= has or ('data' in self.want and payload <= 0):
            return False
        if self.port is not None and self.port not in ports:
            return False
        self.seen += 1
        return self.nth is None or self.seen in self.nth


class Line:
    """One direction: decides over each frame.  log: a file, or None."""

    def __init__(self, dir_, seed=1, faults=None, rules=(), log=None):
        self.dir, self.faults, self.rules, self.log = dir_, faults or Faults(), rules, log
        self.random = random.Random(f'{seed} {dir_}')
        self.n = -1
        self.busy = 0  # when the last bit of the frame before has left, at this rate
        self.counts = {}

    def note(self, act, frame):
        self.counts[act] = self.counts.get(act, 0) + 1
        if self.log:
            row = dict(n=self.n, dir=self.dir, act=act, len=len(frame), hash=f'{nt_hash(frame):#010x}')
            self.log.write(json.dumps(row) + '\n')
            self.log.flush()

    def fate(self, frame, now):
        """What becomes of the next frame: a list of (when, hold, bytes), empty if it is
        lost.  hold: not before another frame has gone."""
        f, self.n = self.faults, self.n + 1
        lost, twice, slow, bad, place, more = (self.random.random() for _ in range(6))
        acts = {act for act, draw, limit in (('drop', lost, f.drop), ('dup', twice, f.dup), ('hold', slow, f.reorder),
                                             ('corrupt', bad, f.corrupt)) if draw < limit}
        when, again = now + f.delay + more * f.jitter, 0
        for rule in self.rules:
            if rule.hits(self.dir, frame):
                acts.add(rule.act)
                if rule.act == 'dup':
                    again += rule.delay
                else:
                    when += rule.delay
        if 'pass' in acts:
            self.note('pass', frame)
            return [(now, False, frame)]
        if 'drop' in acts:
            acts = {'drop'}
        for act in sorted(acts):
            self.note(act, frame)
        if 'drop' in acts:
            return []
        if 'corrupt' in acts:
            frame = self.flip(frame, place)
        if f.rate:
            self.busy = max(when, self.busy) + 8 * len(frame) / f.rate
            when = self.busy
        return [(when + late, 'hold' in acts, frame) for late in ([0, again] if 'dup' in acts else [0])]

    @staticmethod
    def flip(frame, place):
        """One bit, behind the Ethernet header: no checksum of ours covers that."""
        first = min(14, len(frame) - 1)
        bit = 8 * first + int(place * 8 * (len(frame) - first))
        return frame[:bit // 8] + bytes([frame[bit // 8] ^ 1 << bit % 8]) + frame[bit // 8 + 1:]


class Tap:
    """A capture of frames with stamps in ns, on the clock that QEMU's virtual one follows."""

    def __init__(self, path):
        self.file = open(path, 'wb')
        self.base = time.time_ns() - time.monotonic_ns()
        self.file.write(struct.pack('<IHHiIII', 0xa1b23c4d, 2, 4, 0, 0, 262144, 1))

    def frame(self, frame):
        sec, ns = divmod(self.base + time.monotonic_ns(), 10**9)
        self.file.write(struct.pack('<4I', sec, ns, len(frame), len(frame)) + frame)
        self.file.flush()


class Proxy:
    """Moves frames between two datagram sockets until one is closed.  lines: the
    directions, in first.  A full socket holds up its own direction only."""

    def __init__(self, card, far, lines):
        self.socks, self.lines = (card, far), lines  # frames of line k go to socks[k]
        self.due, self.held, self.ready = [], ([], []), (deque(), deque())
        self.order, self.first, self.play = 0, None, []
        self.tap = None
        for s in self.socks:
            s.setblocking(False)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)

    def take(self, k, frame, now):
        """A frame for socks[k]."""
        if k == 1 and self.first is None:
            self.first = now
            for t, played in self.play:
                self._later(now + t, 0, played)
        for when, hold, out in self.lines[k].fate(frame, now):
            if hold:
                self.held[k].append((when + HELD, out))
            else:
                self._later(when, k, out)

    def _later(self, when, k, frame):
        self.order += 1
        heapq.heappush(self.due, (when, self.order, k, frame))

    def _release(self, now):
        """What is due goes, and behind it what was held for it."""
        while self.due and self.due[0][0] <= now:
            _, _, k, frame = heapq.heappop(self.due)
            self.ready[k].append(frame)
            self.ready[k].extend(held for _, held in self.held[k])
            self.held[k].clear()
        for k in (0, 1):
            self.ready[k].extend(frame for when, frame in self.held[k] if when <= now)
            self.held[k][:] = [row for row in self.held[k] if row[0] > now]

    def _send(self, k):
        while self.ready[k]:
            try:
                self.socks[k].send(self.ready[k][0])
            except BlockingIOError:
                return
            self.ready[k].popleft()

    def _receive(self, s):
        """Up to 64 frames; false if nobody is at the other end."""
        for _ in range(64):
            try:
                frame = self.socks[s].recv(65536)
            except BlockingIOError:
                return True
            if not frame:
                return False
            if self.tap:
                self.tap.frame(frame)
            self.take(1 - s, frame, time.monotonic())
        return True

    def step(self, wait):
        """Move what there is, after at most wait seconds; false at the end."""
        now = time.monotonic()
        self._release(now)
        times = [row[0] for row in self.held[0] + self.held[1] + self.due[:1]]
        for k in (0, 1):
            self._send(k)
        timeout = max(0, min([wait] + [when - now for when in times]))
        full = [self.socks[k] for k in (0, 1) if self.ready[k]]
        readable, _, _ = select.select(self.socks, full, [], timeout)
        return all(self._receive(self.socks.index(s)) for s in readable)


def read_pcap(path):
    """(seconds after the first, frame) of a capture."""
    with open(path, 'rb') as f:
        data = f.read()
    order = {b'\xd4\xc3\xb2\xa1': '<', b'\xa1\xb2\xc3\xd4': '>'}.get(data[:4])
    if order is None:
        raise ValueError(f'{path}: no capture in the classic format')
    at, rows = 24, []
    while at + 16 <= len(data):
        sec, usec, size, _ = struct.unpack_from(order + '4I', data, at)
        rows.append((sec + usec / 1e6, data[at + 16:at + 16 + size]))
        at += 16 + size
    return [(t - rows[0][0], frame) for t, frame in rows]


def spawn(command, fds):
    """COMMAND with fds as 3, 4, ...; its pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        high = [os.dup2(fd, 20 + n) for n, fd in enumerate(fds)]  # out of the way first
        for n, fd in enumerate(high):
            os.dup2(fd, 3 + n, inheritable=True)
            os.close(fd)
        os.execvp(command[0], command)
    except OSError as e:
        print(f'wire: {command[0]}: {e.strerror}', file=sys.stderr)
    os._exit(127)


def status_of(pid):
    """Exit status if it has ended, 128 + n after signal n, else None."""
    done, status = os.waitpid(pid, os.WNOHANG)
    return None if done == 0 else os.waitstatus_to_exitcode(status) % 256 if os.WIFEXITED(status) else \
        128 + os.WTERMSIG(status)


def arguments():
    parser = argparse.ArgumentParser(prog='wire', usage=__doc__.split('usage: ')[1].split('\n\n')[0])
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--in', dest='in_', type=Faults, default=Faults())
    parser.add_argument('--out', type=Faults, default=Faults())
    parser.add_argument('--rule', type=Rule, action='append', default=[])
    parser.add_argument('--play', type=read_pcap, default=[])
    parser.add_argument('--log', type=lambda name: open(name, 'w'))
    parser.add_argument('--pcap', type=Tap)
    parser.add_argument('command', nargs='+')
    return parser.parse_args()


def main():
    a = arguments()
    card, card_far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    net, net_far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for s in (card_far, net_far):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    lines = [Line(dir_, a.seed, faults, a.rule, a.log) for dir_, faults in (('in', a.in_), ('out', a.out))]
    proxy = Proxy(card, net, lines)
    proxy.play = a.play
    proxy.tap = a.pcap
    pid = spawn(a.command, (card_far.fileno(), net_far.fileno()))
    card_far.close()
    net_far.close()
    for sig in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, lambda number, _: os.kill(pid, number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells COMMAND itself
    cut = False
    while (status := status_of(pid)) is None:
        try:
            cut = cut or not proxy.step(0.1)
        except (ConnectionError, BrokenPipeError):
            cut = True  # QEMU has ended, COMMAND perhaps not yet
        if cut:
            time.sleep(0.02)
    sys.exit(status)


if __name__ == '__main__':
    main()
