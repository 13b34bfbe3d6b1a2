#!/usr/bin/python3
"""Ends a replay in which nothing happens any more.

usage: watchdog.py RAM OFFSET GROUP SECONDS

replay.py starts it beside a replay.  While the last line on standard input is `go`, the
word at OFFSET of the file RAM, how far the trace's ring has grown, must change every
SECONDS, or QEMU, a process of GROUP, compute or wait for a CPU; else GROUP gets SIGTERM, and
this program has done its work: exit 1.  The end of the input ends it: exit 0.  A process of
its own, for gdb lets no thread run while it waits.
"""

import glob
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


def computed(group):
    """The CPU time that QEMU's threads have had; None if one of them is waiting for a CPU."""
    total = 0
    for path in glob.glob('/proc/[0-9]*/stat'):
        try:
            with open(path) as f:
                name, state = f.read().rsplit(')', 1)
            if int(state.split()[2]) != group or '(qemu' not in name:
                continue
            for task in glob.glob(os.path.dirname(path) + '/task/*/stat'):
                with open(task) as f:
                    fields = f.read().rsplit(')', 1)[1].split()
                if fields[0] == 'R':
                    return None
                total += int(fields[11]) + int(fields[12])
        except (OSError, IndexError):
            pass  # it has ended
    return total


def main(ram, offset, group, seconds):
    going, grown, had, still = False, b'', None, 0.0
    while True:
        if select.select([0], [], [], 0.5)[0]:
            said = os.read(0, 4096)
            if not said:
                return 0
            going, had, still = said.split()[-1] == b'go', None, 0.0
        now, ticks = word(ram, offset), computed(group) if going else None
        idle = None not in (ticks, had) and ticks <= had + 1 and now == grown  # 1: its main loop looks around
        still = still + 0.5 if idle else 0.0
        grown, had = now, ticks
        if still >= seconds:
            os.killpg(group, signal.SIGTERM)
            return 1


sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
