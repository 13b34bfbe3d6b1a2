"""QEMU's gdb stub as a grader uses it: run one CPU at a time, stop at functions.

While a Stub is connected the guest runs only inside go() and free().  A CPU that is not
named stands still, with whatever locks it holds; time and the card go on for the other.
"""

import os
import select
import socket
import struct
import subprocess
import time

ESP, EIP = 4, 8  # numbers of gdb's registers


class Stub:
    def __init__(self, path, kernel):
        names = subprocess.run(['nm', kernel], stdout=subprocess.PIPE, check=True, text=True).stdout
        self.symbols = {line.split()[2]: int(line.split()[0], 16) for line in names.splitlines()}
        self.sock = socket.socket(socket.AF_UNIX)
        here = os.getcwd()
        try:  # the path may be longer than a socket's may
            os.chdir(os.path.dirname(path))
            self.sock.connect(os.path.basename(path))
        finally:
            os.chdir(here)
        self.buf = b''
        self.halted = True
        said = self.ask('qSupported')
        while 'PacketSize' not in said:  # before it, that the guest stands still now
            said = self.get(20) or ''

    # The protocol: $text#sum, each answered with +

    def put(self, text):
        self.sock.sendall(b'$%s#%02x' % (text.encode(), sum(text.encode()) & 255))

    def get(self, timeout):
        """The next packet's text; None if there is none in time."""
        end = time.monotonic() + timeout
        while True:
            begin = self.buf.find(b'$')
            hash_ = self.buf.find(b'#', begin)
            if begin >= 0 and hash_ >= 0 and len(self.buf) >= hash_ + 3:
                text, self.buf = self.buf[begin + 1:hash_].decode(), self.buf[hash_ + 3:]
                self.sock.sendall(b'+')
                return text
            if not select.select([self.sock], [], [], max(0, end - time.monotonic()))[0]:
                return None
            more = self.sock.recv(4096)
            if not more:
                raise RuntimeError('QEMU has closed its gdb stub')
            self.buf += more

    def ask(self, text):
        self.put(text)
        answer = self.get(20)
        if answer is None:
            raise RuntimeError(f'no answer of the gdb stub to {text}')
        return answer

    # Machine

    def register(self, cpu, number):
        self.ask(f'Hg{cpu + 1}')
        return struct.unpack('<I', bytes.fromhex(self.ask('g')[8 * number:8 * number + 8]))[0]

    def word(self, at):
        return struct.unpack('<I', bytes.fromhex(self.ask(f'm{at:x},4')))[0]

    def caller(self, cpu):
        """Where the function returns to whose first instruction is next."""
        return self.word(self.register(cpu, ESP))

    def step(self, cpu):
        """One instruction; no interrupt gets in."""
        self.ask(f'vCont;s:{cpu + 1}')

    def go(self, cpus, stops, timeout):
        """Run these CPUs until one of them is at one of the addresses; which CPU, and
        where.  None: not in time; they stand still then, too."""
        for cpu in cpus:
            if self.register(cpu, EIP) in stops:
                self.step(cpu)
        for at in stops:
            self.ask(f'Z0,{at:x},1')
        self.put('vCont' + ''.join(f';c:{cpu + 1}' for cpu in cpus))
        said = self.get(timeout)
        if said is None:
            self.sock.sendall(b'\3')
            said = self.get(20)
            if said is None:
                raise RuntimeError('QEMU does not stop')
        for at in stops:
            self.ask(f'z0,{at:x},1')
        if said[:3] != 'T05':
            return None
        cpu = int(said.split('thread:')[1].split(';')[0], 16) - 1
        return cpu, self.register(cpu, EIP)

    def free(self):
        """Let the guest run, until halt()."""
        self.put('vCont;c')
        self.halted = False

    def halt(self):
        if not self.halted:
            self.sock.sendall(b'\3')
            self.get(20)
            self.halted = True

    def leave(self):
        self.halt()
        self.ask('D')
        self.sock.close()
