#!/usr/bin/python3
"""Talks to an echo server until something is wrong: labs/lab11/talk.py PORT.

A message is a byte that says its type, 0 to 4, and random bytes.  One line for each: how
long it is, and whether it came back as it was sent; the first that did not is the last.
"""

import os
import random
import socket
import sys


def message(ordinary):
    """Its first byte, and how many there are, if it is not one like all others."""
    kind, n = (0, random.randrange(10, 300, 4)) if ordinary else (random.randrange(5), random.randrange(1, random.choice((8, 300))))
    return bytes([kind]) + os.urandom(n - 1)


def echo(sock, data):
    """What comes back within two seconds."""
    sock.sendall(data)
    got = b''
    while len(got) < len(data):
        try:
            more = sock.recv(4096)
        except TimeoutError:
            return got
        if not more:
            return got
        got += more
    return got


def main(port):
    with socket.create_connection(('127.0.0.1', port)) as sock:
        sock.settimeout(2)
        ordinary = random.randrange(3, 30)
        for k in range(150):
            data = message(k < ordinary)
            got = echo(sock, data)
            what = 'ok' if got == data else 'not what was sent' if got else 'nothing within 2 s'
            print(f'message {k}, {len(data)} bytes of type {data[0]}: {what}')
            if got != data:
                return
    print('150 messages, and nothing was wrong')


main(int(sys.argv[1]))
