// The little of the kernel that kernel/trace/ needs, for its unit tests on the host.
//
// Found before the kernel's own headers (-Itests/host/shim -Ikernel); the other
// files of this folder lead here.  A thread of the test is a CPU: mycpu() is
// thread-local.  There are no interrupts; sleep-locks are mutexes.
#ifndef SHIM_DEFS_H
#define SHIM_DEFS_H

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "uapi/types.h"

#define NCPU   8
#define NDEV   10
#define PGSIZE 4096
#define FL_IF  0x200

#define NETTRACE_MAJOR 3

#define NELEM(x)   (sizeof(x) / sizeof((x)[0]))
#define barrier()  __atomic_signal_fence(__ATOMIC_SEQ_CST)
#define cprintf    printf
#define ksnprintf  snprintf
#define kvsnprintf vsnprintf

struct proc {
  int pid;
  u8 quiet, trace_ctx;
};
struct cpu {
  u32 id;
  struct proc *proc;
  struct nt_cpu *trace;
  union {
    u32 trace_tag;
    struct {
      u32 trace_event : 16, trace_cpu : 4, trace_ctx : 4, trace_nsl : 8;
    };
  };
};
struct sleeplock {
  pthread_mutex_t m;
};
struct file {
  int flags;
  short minor;
  void *priv;
};
struct dev {
  int (*open)(struct file *, int minor, int omode);
  int (*read)(struct file *, char *dst, int n);
  int (*write)(struct file *, const char *src, int n);
  int (*poll)(struct file *);
  void (*close)(struct file *);
};

extern struct dev devsw[NDEV];
extern struct {
  u32 ncpu;
} acpi;
extern int ncpu;
extern __thread struct cpu cpu_here;

u8 *bootmem(u32 npages); // below 4 GiB: the ring page holds 32-bit addresses
char *kalloc(void);
void kfree(char *);
const char *opt_str(const char *name);
int opt_num(const char *name, u32 *val);
void clock_sync(void);
void proc_snap(void);
void wakeup(void *chan);
void poll_wake(const void *what);
int waitsleep(struct sleeplock *, void *chan, u64 ns, u8 why);

static inline struct cpu *
mycpu(void)
{
  return &cpu_here;
}

static inline struct proc *
myproc(void)
{
  return cpu_here.proc;
}

static inline struct nt_cpu *
my_trace(void)
{
  return cpu_here.trace;
}

static inline u32
with_my_tag(u32 event)
{
  return cpu_here.trace_tag | event;
}

static inline u32
readeflags(void)
{
  return 0;
}

static inline void
cli(void)
{
}

static inline u32
xadd(volatile u32 *p, u32 v)
{
  return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);
}

static inline u64
now_ns(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

static inline u32
div64(u64 *n, u32 d)
{
  u32 rest = (u32)(*n % d);
  *n /= d;
  return rest;
}

static inline u64
cpu_idle_ns(u32 cpu)
{
  (void)cpu;
  return 0;
}

static inline u64
rdtsc(void)
{
  return now_ns();
}

static inline void
initsleeplock(struct sleeplock *l, const char *name)
{
  (void)name;
  pthread_mutex_init(&l->m, 0);
}

static inline void
acquiresleep(struct sleeplock *l)
{
  pthread_mutex_lock(&l->m);
}

static inline void
releasesleep(struct sleeplock *l)
{
  pthread_mutex_unlock(&l->m);
}

static inline void
safestrcpy(char *dst, const char *src, int n)
{
  snprintf(dst, (size_t)n, "%s", src);
}

#endif
