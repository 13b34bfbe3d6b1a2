// System calls beyond xv6's that are neither sockets (net.h) nor the trace
// (nettrace.h).  All return -1 on any error.
#ifndef UAPI_SYS_H
#define UAPI_SYS_H

#include "types.h"

#define WNOHANG 1 // waitpid: 0 at once if no child has ended

// ttyctl(fd of the console, op, arg)
#define TTY_MODE 1 // arg 0 cooked, 1 raw; returns the old mode
#define TTY_FG   2 // arg: pid that Ctrl-C kills with its children, 0 none
#define TTY_SIZE 3 // arg rows << 16 | cols, or 0 to ask; returns the size

#ifndef KERNEL
int exits(int status) __attribute__((noreturn)); // status 0-255
int waitpid(int pid, int *status, int flags);    // pid -1: any child; status -1: killed
int ttyctl(int fd, int op, int arg);
int nsclock(u64 *ns);     // nanoseconds since boot, monotonic
int poweroff(int status); // ends QEMU
#endif

#endif
