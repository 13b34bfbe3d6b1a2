// Processes and CPUs.
#ifndef PROC_H
#define PROC_H

#include "mmu.h"
#include "uapi/param.h"

// Registers swtch keeps for a kernel thread that is not running.
struct context {
  u32 edi, esi, ebx, ebp, eip;
};

// One per CPU, reached through %gs.  Written by its own CPU only, but for the
// words marked [x].
struct cpu {
  struct cpu *self;     // offset 0, so that mycpu() is one load
  struct proc *proc;    // process running here, 0 when idle
  struct nt_cpu *trace; // its part of the ring page
  union {
    u32 trace_tag; // bytes 8-11 of each record it writes:
    struct {
      u32 trace_event : 16, // 0
        trace_cpu : 4,      // its number
        trace_ctx : 4,      // what runs, NT_CTX_...
        trace_nsl : 8;      // 1
    };
  };
  u32 need_resched;          // [x] give up the CPU at the end of the interrupt
  u32 id;                    // 0..NCPU-1; also the ring number of the trace
  u32 apicid;                // local APIC id
  volatile u32 started;      // [x] it has entered the scheduler
  volatile u32 idle;         // [x] it sleeps in hlt, an IPI wakes it
  u64 idle_tsc, idle_since;  // how long it has slept so; since when, 0: it does not.  Under ptable.lock
  int ncli;                  // depth of pushcli
  u32 intena;                // were interrupts on before pushcli?
  struct context *scheduler; // swtch here to enter the scheduler
  pde_t *volatile pgdir;     // [x] page directory in CR3: may outlive its process's turn
  volatile u32 forget;       // [x] another CPU wants it to let go of pgdir
  u64 gdt[NSEGS];            //
  struct taskstate ts, df;   // normal task, double-fault task
};

enum procstate {
  UNUSED,
  EMBRYO,
  SLEEPING,
  RUNNABLE,
  RUNNING,
  ZOMBIE
};

// NPROC of them.  [p] ptable.lock  [o] only the process itself
struct proc {
  enum procstate state;       // [p]
  int pid;                    // [p]
  struct proc *parent;        // [p]
  void *chan;                 // [p] what it sleeps on
  u64 deadline;               // [p] when sleep_until gives up, ns since boot
  u8 why;                     // [p] what it waits for: SLEEPWHY of the trace
  u8 timedout;                // [p] it did
  int job;                    // [p] pid of the child of a shell it comes from: what ^C ends
  u8 shell;                   // [o] has told the console what ^C ends: its children are jobs
  int killed;                 // [p] must exit at the next return to user mode
  int xstatus;                // [p] exit status, -1 killed
  u64 since_tsc;              // [p] TSC of the last change to SLEEPING or RUNNABLE
  u64 line_tsc;               // [p] TSC when it got in line for a CPU: woken, or its slice was over
  struct cpu *lastcpu;        // [p] where it ran last
  u32 ticks;                  // [p] timer ticks it was running at
  u8 kthread;                 // a kernel thread: no user memory, not killable
  u8 urgent;                  // the scheduler takes it first (netd)
  u8 greedy;                  // a tick found it running and it has not slept since
  u8 passed;                  // ticks in a row that found it greedy and waiting
  u8 trace_ctx;               // trace context while it runs: 2 netd, else 0
  u8 quiet;                   // reads /dev/nettrace: its own events are not recorded
  u32 pkt;                    // [o] packet it works on, for the trace; 0 none
  u32 heap;                   // [o] where sbrk's memory begins
  u32 sz;                     // [o] end of user memory
  pde_t *pgdir;               // [o] page directory, kpgdir for a kernel thread
  char *kstack;               // bottom of its kernel stack, fixed per slot
  struct trapframe *tf;       // [o] registers of user mode
  struct context *context;    // swtch here to run it
  void (*fn)(void *);         // kernel thread's body
  void *arg;                  //
  struct file *ofile[NOFILE]; // [o]
  struct inode *cwd;          // [o]
  char name[16];              // for people
};

extern struct cpu cpus[NCPU];
extern int ncpu;

// This CPU.  Only its address may be kept when interrupts are on and the
// thread could move; myproc() is safe: one load, and it moves with us.
static inline struct cpu *
mycpu(void)
{
  struct cpu *c;
  asm volatile("movl %%gs:0,%0"
               : "=r"(c));
  return c;
}

static inline struct proc *
myproc(void)
{
  struct proc *p;
  asm volatile("movl %%gs:4,%0"
               : "=r"(p));
  return p;
}

// This CPU's part of the ring page, and what it writes into bytes 8-11 of a record.
// Interrupts are off.
static inline struct nt_cpu *
my_trace(void)
{
  struct nt_cpu *c;
  asm volatile("movl %%gs:8,%0"
               : "=r"(c));
  return c;
}

static inline u32
with_my_tag(u32 event)
{
  asm volatile("orl %%gs:12,%0"
               : "+r"(event)
               :
               : "cc");
  return event;
}
#ifdef __i386__ // not where a test compiles it for the host
_Static_assert(__builtin_offsetof(struct cpu, trace) == 8 && __builtin_offsetof(struct cpu, trace_tag) == 12,
               "offsets above");
#endif

#endif
