#!/usr/bin/python3
"""Ends a replay in which nothing happens any more.

usage: watchdog.py RAM OFFSET GROUP SECONDS

replay.py starts it beside a replay.  While the last line on standard input is `go`, the
word at OFFSET of the file RAM, how far the trace's ring has grown, must change every
SECONDS; else the processes of GROUP get SIGTERM, and this program has done its work: exit 1.  The end of
the input ends it: exit 0.  A process of its own, for gdb lets no thread run while it waits.
"""

import os
import select
import signal
import sys


def word(path, at):
    try:
        with open(path, 'rb') as ram:
            ram.seek(at)
            return ram.read(4)
    except OSError:
        return b''


def main(ram, offset, group, seconds):
    going, last, still = False, b'', 0.0
    while True:
        if select.select([0], [], [], 0.5)[0]:
            said = os.read(0, 4096)
            if not said:
                return 0
            going, still = said.split()[-1] == b'go', 0.0
        now = word(ram, offset)
        still = still + 0.5 if going and now == last else 0.0
        last = now
        if still >= seconds:
            os.killpg(group, signal.SIGTERM)
            return 1


sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
