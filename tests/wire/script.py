"""Wire scripts: the segments of one connection, one step a line.

  peer PORT            the connection is ours to the guest's PORT (first line), or
  peer guest           the guest opens it, to a port of ours ($PORT in a ! line)
  ! COMMAND            in the guest's shell, without waiting for its end
  < FLAGS FIELDS       we send:  flags of SAFRP or . for none; seq= ack= win= mss= text=
  +T > FLAGS FIELDS    the guest sends this next, at most T seconds of its own time after
                       the step before: seq= ack= win= mss= len=, as far as given; P is
                       not looked at.  `len>0` any data.  Without +T: 5 s
  +T >= ...            the same, and not sooner than T - 0.5
  - TEXT               the guest has sent nothing else by the time it answers a ping
  = T                  both are silent for T seconds of the guest's time
  ? STATE              the guest's connection reaches this state
  * EVENT FIELDS       this event happens, e.g. * net_drop reason=TCP_CLOSE

Sequence numbers count from each side's SYN, which is 0; `end` is the number behind
the last byte that the guest has sent.  A # begins a comment.  A mismatch raises the
steps done so far and what differs.
"""

import re

from bad import one
from peer import ACK, FIN, PSH, RST, SYN, Flow

LETTERS = dict(S=SYN, A=ACK, F=FIN, R=RST, P=PSH)
BASE = 10_000_000  # our initial sequence number


class Script:
    def __init__(self, wire, path):
        self.wire, self.flow, self.isn, self.end, self.last = wire, Flow(wire, one(), 80, seq=BASE), None, 0, None
        with open(path) as f:
            self.lines = [line.split('#')[0].strip() for line in f]

    def run(self):
        for number, line in enumerate(self.lines, 1):
            if line:
                self.wire.vm.step(f'script line {number}: {line}')
                self.step(line)

    def fail(self, expected, got):
        __tracebackhide__ = True
        self.wire.vm.fail(expected, got)

    def step(self, line):
        word, _, rest = line.partition(' ')
        if word == 'peer':
            self.flow.theirs = 0 if rest == 'guest' else int(rest)
        elif word == '!':
            self.wire.vm.send(rest.replace('$PORT', str(self.flow.ours)) + '\n')
        elif word == '<':
            self.send(rest)
        elif word == '-':
            self.wire.silent(self.flow.mine, rest)
        elif word == '=':
            self.idle(float(rest))
        elif word == '?':
            self.wire.vm.wait_event(f'tcp_state to={rest} rport={self.flow.ours}')
        elif word == '*':
            self.wire.vm.wait_event(f'{rest} sport={self.flow.ours}')
        else:
            hit = re.fullmatch(r'(?:\+([\d.]+) )?(>=?) (\S+)(.*)', line)
            if not hit:
                raise SyntaxError(f'not a step: {line}')
            self.expect(float(hit[1] or 5), hit[2] == '>=', hit[3], self.fields(hit[4]))

    def idle(self, limit):
        """Until the guest's own clock, seen in its answers to pings, has gone so far."""
        start = None
        while True:
            n = one()
            now = self.when(self.wire.ping(n, ident=0x1d1e).frame)
            start = start or now
            if now - start >= limit:
                return
            if (extra := self.wire.receive(0.2)):
                self.fail('silence', extra)

    def fields(self, text):
        head, _, data = text.partition('text=')
        out = {'text': data.encode().decode('unicode_escape').encode('latin-1')} if data else {}
        for name, value in re.findall(r'(\w+)=(\w+)', head):
            out[name] = self.end if value == 'end' else int(value)
        if 'len>0' in head:
            out['some'] = 1
        return out

    @staticmethod
    def flags(word):
        return 0 if word == '.' else sum(LETTERS[c] for c in word)

    def send(self, text):
        word, _, rest = text.partition(' ')
        f = self.fields(rest)
        options = b'\2\4' + f['mss'].to_bytes(2, 'big') if 'mss' in f else b''
        frame = self.wire.tcp(self.flow.ours, self.flow.theirs, BASE + f.get('seq', 0), (self.isn or 0) + f.get('ack', 0),
                              self.flags(word), f.get('text', b''), wnd=f.get('win', 65535), options=options)
        self.wire.send(frame)
        self.last = frame

    def when(self, frame):
        """Virtual time of a frame: of the last one like it."""
        times = [p.t for p in self.wire.capture() if p.frame == frame.ljust(60, b'\0') or p.frame == frame]
        return times[-1] if times else None

    def guests(self, p):
        """Is this a segment of the connection?  The guest's first SYN names its port."""
        if self.flow.theirs == 0 and p.tcp and p.tcp.dport == self.flow.ours and p.tcp.flags == SYN:
            self.flow.theirs = p.tcp.sport
        return self.flow.mine(p)

    def expect(self, limit, late, word, f):
        p = self.wire.expect(self.guests, f'{word} {f}')
        t = p.tcp
        if t.flags & SYN:
            self.isn = t.seq
        isn = self.isn or 0
        mss = int.from_bytes(t.options[2:4], 'big') if t.options[:2] == b'\2\4' else 0
        got = dict(flags=t.flags & ~PSH, seq=(t.seq - isn) % 2**32, ack=(t.ack - BASE) % 2**32, win=t.wnd, mss=mss,
                   len=len(p.data), some=int(len(p.data) > 0))
        want = dict(f, flags=self.flags(word) & ~PSH)
        wrong = {name: got[name] for name in want if got[name] != want[name]}
        if wrong:
            self.fail(f'{word} {want}', f'{wrong} in {p}')
        self.end = max(self.end, got['seq'] + got['len'] + bool(t.flags & SYN) + bool(t.flags & FIN))
        before, now = self.last and self.when(self.last), self.when(p.frame)
        took = now - before if before and now else 0
        if took > limit or (late and took < limit - 0.5):
            self.fail(f'{word} after {limit} s', f'after {took:.3f} s')
        self.last = p.frame
