// System calls beyond xv6's that are neither sockets (net.h) nor the trace
// (nettrace.h).  All return -1 on any error.
#ifndef UAPI_SYS_H
#define UAPI_SYS_H

#include "types.h"

#define WNOHANG 1 // waitpid: 0 at once if no child has ended

// ttyctl(fd of the console, op, arg)
#define TTY_MODE 1 // arg: one of the modes below; returns the old one
#define TTY_FG   2 // arg: pid that Ctrl-C kills with all it has begun, 0 none; makes the caller a shell
#define TTY_SIZE 3 // arg rows << 16 | cols, or 0 to ask; returns the size.  The caller's while it lives

// Modes of the console.
#define TTY_COOKED 0 // lines, edited and echoed by the kernel; ^C ^D ^H ^P ^U mean something
#define TTY_RAW    1 // bytes as they come, no echo, no special key
#define TTY_EDIT   2 // raw, but ^P lists the processes before it is read

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

// kdebug(op, arg).  The last four are of the debug kernel (make DEBUG=1): the
// plain one answers -1.
#define KD_COUNTS  1 // arg: struct kcounts to fill
#define KD_STACK   2 // bytes of a kernel stack ever used at most
#define KD_CRC     3 // arg: uint, the CRC-32 of the kernel's text and constants
#define KD_LOCKS   4 // arg: struct klocks to fill
#define KD_FAILNTH 5 // arg: that allocation from now on fails, once; 0 none.  What was left to count
#define KD_PLANT   6 // arg: PLANT_..., a fault in the kernel: most end the machine

#define PLANT_RECURSION 1  // without end
#define PLANT_ARRAY     2  // write past an array on the stack
#define PLANT_SHIFT     3  // by 32
#define PLANT_ORDER     4  // two locks, each before the other
#define PLANT_SLEEP     5  // sleep with a spinlock held
#define PLANT_NETLOCK   6  // take netlock with a spinlock held
#define PLANT_LEAK      7  // a page nobody has
#define PLANT_FREE      8  // a page given back twice
#define PLANT_WRITE     9  // write to a page given back
#define PLANT_KEEP      10 // come back from a system call with a lock
#define PLANT_ASSERT    11 // a reference count below 0
#define PLANT_SLOW      12 // a spinlock held for 60 ms
#define PLANT_ORDERS    13 // more pairs of locks than the checker remembers

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

// What the lock checker has seen.
struct klocks {
  uint classes, orders; // names of locks; pairs taken one inside the other
  uint missed;          // times that a pair was taken for which there was no room
  uint longest_us;      // a spinlock was held at most, by the wall clock
  uint longest_pc;      // by who took it here
  uint long_holds;      // more than LOCK_LONG_US
  char longest[16];     // the lock's name
};

#define LOCK_LONG_US 50000

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
