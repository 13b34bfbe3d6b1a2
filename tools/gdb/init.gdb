# Read by gdb at `make gdb`: settings and the project's commands (help user-defined).
set pagination off
set confirm off
set max-value-size unlimited
set architecture i386
# Looking changes nothing: no function of the kernel is called, no memory written.
# Who means it turns these back on.
set may-call-functions off
set may-write-memory off
python import os, sys
python sys.path.insert(0, os.path.join(os.environ['XV6_TOP'], 'tools', 'gdb'))
python import nettrace, proc, net, packet, run, replay, unwind
