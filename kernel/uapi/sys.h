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

// States of a process.
#define PS_EMBRYO   1 // being made
#define PS_SLEEPING 2
#define PS_RUNNABLE 3
#define PS_RUNNING  4
#define PS_ZOMBIE   5 // ended, its parent has not waited for it

// One per process, from psinfo.
struct psinfo {
  int pid, ppid;
  uint sz;       // bytes of user memory
  uint ticks;    // of 10 ms that found it running
  uchar state;   // PS_...
  uchar cpu;     // where it ran last
  uchar kthread; // 1: a kernel thread
  uchar pad;     //
  char name[16]; //
};

// kdebug(op, arg).
#define KD_COUNTS 1 // arg: struct kcounts to fill

// What is in use and what is left.  A program that has ended, however it
// ended, leaves these as they were.
struct kcounts {
  uint pages_free, pages_total;        // physical memory for programs, 4096 bytes each
  uint procs;                          // slots of the process table in use
  uint files, pipe_ends;               // open files; of them, ends of pipes
  uint inodes;                         // in memory and referenced
  uint blocks_free, blocks_total;      // data blocks of the disk, 512 bytes each
  uint dinodes_free, dinodes_total;    // inodes of the disk
  uint socks, pcbs, time_wait;         // sockets; TCP connections; of them, in TIME-WAIT
  uint segments, pbufs, rx_bufs, heap; // queued to send; pool pbufs; card buffers held by the stack; bytes
};

#ifndef KERNEL
int psinfo(struct psinfo *, int max); // fills at most max; how many there are
int kdebug(int op, void *arg);
int exits(int status) __attribute__((noreturn)); // status 0-255
int waitpid(int pid, int *status, int flags);    // pid -1: any child; status -1: killed
int ttyctl(int fd, int op, int arg);
int nsclock(u64 *ns);     // nanoseconds since boot, monotonic
int poweroff(int status); // ends QEMU
#endif

#endif
