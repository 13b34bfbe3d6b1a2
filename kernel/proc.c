// Processes: the table, the scheduler, sleep and wakeup, fork, exit, wait, kill.
//
// One lock, ptable.lock, guards every state change.  It is the innermost of
// all locks: nothing else is taken while it is held.  A process gives up its
// CPU by swtch to its CPU's scheduler with the lock held, and the scheduler
// hands the lock to the next one.
#include "defs.h"
#include "debug.h"
#include "file.h"
#include "proc.h"
#include "trace/trace.h"
#include "uapi/memlayout.h"
#include "uapi/sys.h"
#include "x86.h"

#define FOREVER  (~0ull)
#define PATIENCE 10 // ticks
#define NKEEP    2  // slots that only a shell may use: what ends a fork bomb is a process, too

static struct {
  struct spinlock lock;
  struct proc proc[NPROC];
  u32 nrunnable; // how many are RUNNABLE
  int nextpid;
} ptable = {.nextpid = 1};

static struct proc *init;

extern void trapret(void);

void
proc_init(void)
{
  initlock(&ptable.lock, "ptable");
  ptable.lock.why = SLEEPWHY_CHILD;
}

static void
trace_proc(struct proc *p, u8 what)
{
  if(trace_on[TR_proc])
    trace_emit(TR_proc, &(struct tr_proc){.pid = (u16)p->pid, .ppid = (u16)(p->parent ? p->parent->pid : 0), .what = what, .name = name16_at(p->name)}, sizeof(struct tr_proc), 0, 0);
}

// ---- birth ---------------------------------------------------------------

// What a process finds on its fresh kernel stack, from the top down.
struct first_frame {
  struct context context;
  void (*ret)(void); // where context.eip returns to
  struct trapframe tf;
};

// A new process runs from here into user mode, its trapframe on the stack.
static void
fork_entry(void)
{
  release(&ptable.lock); // the scheduler's hand-over
  trace_proc(myproc(), PROCWHAT_FORK);
}

// A slot in state EMBRYO with a pid and a kernel stack whose thread will start
// at entry; 0 if the table is full.
static struct proc *
allocproc(void (*entry)(void))
{
  struct proc *self = myproc(), *p = 0;
  int left = self == 0 || self->shell ? 0 : -NKEEP;
  acquire(&ptable.lock);
  for(struct proc *q = ptable.proc + NPROC - 1; q >= ptable.proc; q--)
    if(q->state == UNUSED) {
      p = q;
      left++;
    }
  if(left <= 0) {
    release(&ptable.lock);
    return 0;
  }
  *p = (struct proc){.state = EMBRYO, .pid = ptable.nextpid++, .deadline = FOREVER};
  release(&ptable.lock);

  p->kstack = kstack_of(p - ptable.proc);
  struct first_frame *f = (struct first_frame *)(p->kstack + KSTACKSIZE) - 1;
  memset(f, 0, sizeof(*f));
  f->context.eip = (u32)entry;
  f->ret = trapret;
  p->context = &f->context;
  p->tf = &f->tf;
  return p;
}

static void
freeproc(struct proc *p)
{
  acquire(&ptable.lock);
  p->state = UNUSED;
  release(&ptable.lock);
}

// Caller holds ptable.lock.
static void
make_runnable(struct proc *p)
{
  p->state = RUNNABLE;
  p->since_tsc = p->line_tsc = rdtsc();
  ptable.nrunnable++;
  struct cpu *c = mycpu();
  if(c->proc == 0 && !c->need_resched)
    c->need_resched = 1; // we are idle: we take it ourselves, at the interrupt's end
  else if(p->urgent)
    c->need_resched = 1;
  else if(!cpu_kick_idle() && c->proc && c->proc->greedy && !p->greedy)
    c->need_resched = 1; // who has slept goes before who never does
}

static void
start(struct proc *p)
{
  acquire(&ptable.lock);
  make_runnable(p);
  release(&ptable.lock);
}

static void
kthread_entry(void)
{
  release(&ptable.lock);
  sti();
  struct proc *p = myproc();
  p->fn(p->arg);
  panic("proc: kernel thread %s has returned", p->name);
}

// A kernel thread runs fn(arg), which never returns.  It cannot be killed.
struct proc *
kthread(const char *name, void (*fn)(void *), void *arg)
{
  struct proc *p = allocproc(kthread_entry);
  if(p == 0)
    panic("proc: no slot for kernel thread %s", name);
  p->kthread = 1;
  p->pgdir = kpgdir;
  p->fn = fn;
  p->arg = arg;
  safestrcpy(p->name, name, sizeof(p->name));
  start(p);
  return p;
}

// The first process begins inside the kernel: mount the root, exec /init.
static void
init_entry(void)
{
  static char self[] = "init", rc_off[] = "rc=off", run[sizeof(bootinfo.cmdline)];
  release(&ptable.lock);
  sti();
  fs_init();
  struct proc *p = myproc();
  p->cwd = namei("/");
  const char *path = opt_str("init"), *line = opt_str("run"), *rc = opt_str("rc");
  char *argv[4] = {self};
  int argc = 1;
  if(line) {
    ksnprintf(run, sizeof(run), "run=%s", line);
    argv[argc++] = run;
  }
  if(rc && strcmp(rc, "off") == 0)
    argv[argc++] = rc_off;
  if(exec((char *)(path ? path : "/init"), argv) < 0)
    panic("no %s on the root disk", path ? path : "/init");
  fail_boot();
}

void
user_init(void)
{
  struct proc *p = allocproc(init_entry);
  p->pgdir = uvm_create();
  if(p->pgdir == 0)
    panic("proc: no memory for init");
  safestrcpy(p->name, "init", sizeof(p->name));
  init = p;
  start(p);
}

static int
copy_user(struct proc *p, struct proc *from)
{
  p->pgdir = uvm_copy(from->pgdir);
  if(p->pgdir == 0)
    return -1;
  p->sz = from->sz;
  p->heap = from->heap;
  p->parent = from;
  *p->tf = *from->tf;
  p->tf->eax = 0; // fork returns 0 in the child
  for(int fd = 0; fd < NOFILE; fd++)
    if(from->ofile[fd])
      p->ofile[fd] = filedup(from->ofile[fd]);
  p->cwd = idup(from->cwd);
  p->quiet = from->quiet;
  safestrcpy(p->name, from->name, sizeof(p->name));
  return 0;
}

// A child that is a copy of the caller.  Its pid, or -1: no slot or memory.
int
fork(void)
{
  struct proc *p = allocproc(fork_entry);
  if(p == 0)
    return -1;
  if(copy_user(p, myproc()) < 0) {
    freeproc(p);
    return -1;
  }
  int pid = p->pid;
  acquire(&ptable.lock);
  p->job = p->parent->shell ? pid : p->parent->job;
  p->killed = p->parent->killed; // kill_tree may have come while p had no parent yet
  make_runnable(p);
  release(&ptable.lock);
  return pid;
}

// ---- the CPU -------------------------------------------------------------

// The next process: an urgent one, else one that is not greedy, else any; of
// several the one that has been in line longest.
static struct proc *
pick(void)
{
  struct proc *best = 0;
  u32 left = ptable.nrunnable;
  for(struct proc *p = ptable.proc; left > 0 && p < ptable.proc + NPROC; p++) {
    if(p->state != RUNNABLE)
      continue;
    if(p->urgent)
      return p;
    if(best == 0 || p->greedy < best->greedy || (p->greedy == best->greedy && p->line_tsc < best->line_tsc))
      best = p;
    left--;
  }
  return best;
}

TRACE_APART void
tell_switch(const struct proc *prev, const struct proc *next)
{
  if(prev != next)
    TRACE(switch, .pkt = 0, .sock = 0, .prev = (u16)(prev ? prev->pid : 0),
          .next = (u16)(next ? next->pid : 0), .state = (u8)(prev ? prev->state : 0),
          .ready_us = next ? us_since(next->since_tsc) : 0, .name = name16_at(next ? next->name : ""));
}

static void
trace_run(struct proc *prev, struct proc *next)
{
  trace_switch(next);
  if(TRACING(switch))
    tell_switch(prev, next);
}

// Kernel threads and the idle loop run on whatever page directory is loaded:
// they need only the kernel's half.  A process needs its own, loaded afresh if
// it has run elsewhere and may have changed it there.
static void
run(struct cpu *c, struct proc *p)
{
  c->need_resched = 0;
  ptable.nrunnable--;
  if(ptable.nrunnable > 0)
    cpu_kick_idle(); // there is work for another CPU too
  p->state = RUNNING;
  c->proc = p;
  c->trace_ctx = p->trace_ctx;
  c->ts.esp0 = (u32)p->kstack + KSTACKSIZE;
  if(!p->kthread && (c->pgdir != p->pgdir || p->lastcpu != c))
    switch_uvm(p);
  p->lastcpu = c;
  swtch(&c->scheduler, p->context);
  c->proc = 0;
  c->trace_ctx = NT_CTX_THREAD;
}

static void
idle(struct cpu *c)
{
  c->idle = 1; // before the lock goes: who makes work from now on sends an IPI
  c->idle_since = rdtsc();
  c->need_resched = 0;
  c->intena = 0;
  release(&ptable.lock);
  sti_hlt();
  cli();
  c->idle = 0;
  acquire(&ptable.lock);
  c->idle_tsc += rdtsc() - c->idle_since;
  c->idle_since = 0;
}

// How long CPU i has had nothing to run since boot, in ns; what interrupts it took
// meanwhile is part of it.  Any thread, no lock.
u64
cpu_idle_ns(u32 i)
{
  acquire(&ptable.lock);
  u64 since = cpus[i].idle_since, tsc = cpus[i].idle_tsc + (since ? rdtsc() - since : 0);
  release(&ptable.lock);
  return tsc_ns(tsc);
}

// Each CPU's endless loop, on a stack of its own.
void
scheduler(void)
{
  struct cpu *c = mycpu();
  struct proc *prev = 0; // ran just now
  cli();
  acquire(&ptable.lock);
  for(;;) {
    struct proc *p = pick();
    trace_run(prev, p);
    prev = p;
    if(p == 0) {
      idle(c);
      continue;
    }
    run(c, p);
  }
}

// Enter the scheduler.  Caller holds ptable.lock alone and has changed state.
void
sched(void)
{
  struct proc *p = myproc();
  struct cpu *c = mycpu();
  if(!holding(&ptable.lock) || c->ncli != 1)
    panic("sched: %s holds a spinlock besides ptable.lock", p->name);
  if(p->state == RUNNING)
    panic("sched: %s is still RUNNING", p->name);
  u32 intena = c->intena; // belongs to this thread, not to the CPU
  swtch(&p->context, c->scheduler);
  mycpu()->intena = intena; // another CPU, perhaps
}

// Let others run.
void
yield(void)
{
  struct proc *p = myproc();
  acquire(&ptable.lock);
  p->state = RUNNABLE;
  p->since_tsc = rdtsc();
  ptable.nrunnable++;
  sched();
  release(&ptable.lock);
}

// ---- sleep and wakeup ----------------------------------------------------

// Waits for locks and disk are short and must not be cut: kill does not end them.
static int
interruptible(struct proc *p)
{
  return !p->kthread && p->why != SLEEPWHY_LOCK && p->why != SLEEPWHY_DISK && p->why != SLEEPWHY_LOG;
}

// Release lk and sleep on chan as one step; lk is held again on return.
// ns: absolute, as now_ns; FOREVER: no limit; seen at the next tick.
// 0 woken (look at the condition again), 1 time over, -1 killed.
int
sleep_why(void *chan, struct spinlock *lk, u64 ns, u8 why)
{
  struct proc *p = myproc();
  lock_sleeps(lk);
  if(lk != &ptable.lock) {
    acquire(&ptable.lock); // no wakeup can come between: it needs this lock
    release(lk);
  }
  p->chan = chan;
  p->deadline = ns;
  p->why = why;
  p->timedout = 0;
  if(!(p->killed && interruptible(p))) {
    TRACE(sleep, .pkt = p->pkt, .sock = 0, .chan = (u32)chan, .why = why);
    p->state = SLEEPING;
    p->since_tsc = rdtsc();
    if(why != SLEEPWHY_LOCK) // that was not its wish
      p->greedy = 0;
    sched();
  }
  p->chan = 0;
  p->deadline = FOREVER;
  int how = p->killed && interruptible(p) ? -1 : p->timedout;
  if(lk != &ptable.lock) {
    release(&ptable.lock);
    acquire(lk);
  }
  return how;
}

void
sleep(void *chan, struct spinlock *lk)
{
  sleep_why(chan, lk, FOREVER, lk->why);
}

int
sleep_until(void *chan, struct spinlock *lk, u64 ns)
{
  return sleep_why(chan, lk, ns, lk->why);
}

// Caller holds ptable.lock; p sleeps.  why: what it waited for, or what else
// ends its sleep.  The packet the caller works on is what woke it.
TRACE_APART void
tell_wake(struct proc *p, u8 why)
{
  if(p->quiet)
    return; // a reader of the trace would be woken by what it is woken for
  struct cpu *c = mycpu();
  u32 pkt = c->proc && (c->trace_ctx == NT_CTX_THREAD || c->trace_ctx == NT_CTX_NETD) ? c->proc->pkt : 0;
  TRACE(wakeup, .pkt = pkt, .sock = 0, .who = (u16)p->pid, .chan = (u32)p->chan, .why = why,
        .slept_us = us_since(p->since_tsc));
}

static void
wake(struct proc *p, u8 why)
{
  if(TRACING(wakeup))
    tell_wake(p, why);
  make_runnable(p);
}

// Caller holds ptable.lock.
static inline void
wake_all(void *chan)
{
  for(struct proc *p = ptable.proc; p < ptable.proc + NPROC; p++)
    if(p->state == SLEEPING && p->chan == chan)
      wake(p, p->why);
}

// Wake all who sleep on chan.  Any context, also with other spinlocks held.
void
wakeup(void *chan)
{
  acquire(&ptable.lock);
  wake_all(chan);
  release(&ptable.lock);
}

// A tick of its CPU has found p running: greedy from now on, until it sleeps, and
// last in line.  Who is preempted otherwise keeps its place.
void
proc_caught(struct proc *p)
{
  p->ticks++;
  p->line_tsc = rdtsc();
  p->greedy = 1;
  p->passed = 0;
}

// Wake those whose time is over.  A greedy process that PATIENCE ticks in a row have
// found waiting is forgiven: it gets a slice like all others, so nobody starves.
// Context: timer interrupt of CPU 0.
void
proc_tick(u64 now)
{
  acquire(&ptable.lock);
  for(struct proc *p = ptable.proc; p < ptable.proc + NPROC; p++) {
    if(p->state == SLEEPING && p->deadline <= now) {
      p->timedout = 1;
      wake(p, SLEEPWHY_TIMEOUT);
    } else if(p->state == RUNNABLE && p->greedy && ++p->passed == PATIENCE) {
      p->greedy = 0;
      p->passed = 0;
    }
  }
  release(&ptable.lock);
}

// ---- death ---------------------------------------------------------------

static void
close_all(struct proc *p)
{
  for(int fd = 0; fd < NOFILE; fd++)
    if(p->ofile[fd]) {
      fileclose(p->ofile[fd]);
      p->ofile[fd] = 0;
    }
  begin_op();
  iput(p->cwd);
  end_op();
  p->cwd = 0;
}

// End the caller.  status: 0-255, -1 for a killed one.
void
exit_status(int status)
{
  struct proc *p = myproc();
  if(p == init)
    panic("init is gone, status %d", status);
  close_all(p);
  console_exit(p);
  trace_proc(p, PROCWHAT_EXIT);
  acquire(&ptable.lock);
  for(struct proc *q = ptable.proc; q < ptable.proc + NPROC; q++)
    if(q->parent == p && q->state != UNUSED) {
      q->parent = init;
      if(q->state == ZOMBIE)
        wake_all(init); // it waits on itself
    }
  p->xstatus = status;
  p->state = ZOMBIE;
  wake_all(p->parent);
  sched();
  panic("proc: a zombie runs");
}

// Caller holds ptable.lock, which is released: the page directory may be in
// another CPU's CR3, and asking it back takes interrupts.
static void
reap(struct proc *p)
{
  pde_t *dir = p->pgdir;
  p->state = EMBRYO; // ours alone from here on
  p->parent = 0;
  release(&ptable.lock);
  uvm_free(dir);
  freeproc(p);
}

// Wait for a child to end: pid, or any for -1.  Its pid; -1 if there is no such
// child or the caller is killed; 0 with WNOHANG if none has ended.
// *status (may be 0): exit status, -1 if it was killed.
int
wait_status(int pid, int *status, int flags)
{
  struct proc *me = myproc();
  acquire(&ptable.lock);
  for(;;) {
    int children = 0;
    for(struct proc *p = ptable.proc; p < ptable.proc + NPROC; p++) {
      if(p->parent != me || p->state == UNUSED || (pid != -1 && p->pid != pid))
        continue;
      children++;
      if(p->state != ZOMBIE)
        continue;
      int found = p->pid;
      if(status)
        *status = p->xstatus;
      reap(p);
      return found;
    }
    if(children == 0 || me->killed || (flags & WNOHANG)) {
      release(&ptable.lock);
      return children && !me->killed ? 0 : -1;
    }
    sleep(me, &ptable.lock); // exit_status wakes the parent on this channel
  }
}

// Caller holds ptable.lock.
static void
kill_one(struct proc *p)
{
  p->killed = 1;
  if(p->state == SLEEPING && interruptible(p))
    wake(p, SLEEPWHY_KILLED);
}

// The process ends at its next return to user mode.  -1: no such process, or
// one that cannot be killed.
int
kill(int pid)
{
  int found = -1;
  acquire(&ptable.lock);
  for(struct proc *p = ptable.proc; p < ptable.proc + NPROC; p++)
    if(p->pid == pid && p->state != UNUSED && !p->kthread && p != init) {
      kill_one(p);
      found = 0;
    }
  release(&ptable.lock);
  return found;
}

static int
descends(struct proc *p, int pid)
{
  for(; p; p = p->parent)
    if(p->pid == pid)
      return 1;
  return 0;
}

// Kill a process and all that descend from it, also if their parents have ended
// since (Ctrl-C).  Any context.
int
kill_tree(int pid)
{
  int n = 0;
  acquire(&ptable.lock);
  for(struct proc *p = ptable.proc; p < ptable.proc + NPROC; p++)
    if(p->state != UNUSED && !p->kthread && p != init && (descends(p, pid) || p->job == pid)) {
      kill_one(p);
      n++;
    }
  release(&ptable.lock);
  return n > 0 ? 0 : -1;
}

// ---- the rest ------------------------------------------------------------

// sbrk: n more bytes of zeroed memory, or less of it.  -1: memory is short, or
// n would take what is not the heap's.
int
growproc(int n)
{
  struct proc *p = myproc();
  u32 sz = p->sz + (u32)n;
  if(n > 0) {
    if(sz < p->sz || uvm_alloc(p->pgdir, p->sz, sz, PTE_W) < 0)
      return -1;
  } else if(n < 0) {
    if(sz > p->sz || sz < p->heap)
      return -1;
    uvm_dealloc(p->pgdir, sz, p->sz);
    switch_uvm(p); // flushes the TLB
    char *page = uvm_page(p->pgdir, PGROUNDDOWN(sz), PTE_W);
    if(page && sz % PGSIZE)
      memset(page + sz % PGSIZE, 0, PGSIZE - sz % PGSIZE); // zero again when it grows
  }
  p->sz = sz;
  return 0;
}

// Ctrl-P: one line per process.  Takes no lock: the machine may be stuck.
void
proc_dump(void)
{
  static const char *const words[] = {"unused", "embryo", "sleep", "ready", "run", "zombie"};
  for(struct proc *p = ptable.proc; p < ptable.proc + NPROC; p++) {
    if(p->state == UNUSED)
      continue;
    u32 off;
    const char *fn = p->state == SLEEPING ? symname(p->context->eip, &off) : "";
    cprintf("%d %s %s%s%s sz=%u ticks=%u %s\n", p->pid, words[p->state], p->kthread ? "[" : "", p->name,
            p->kthread ? "]" : "", p->sz, p->ticks, fn);
  }
}

// One proc event per process, for readers that came late.
void
proc_snap(void)
{
  acquire(&ptable.lock);
  for(struct proc *p = ptable.proc; p < ptable.proc + NPROC; p++)
    if(p->state != UNUSED && p->state != EMBRYO)
      trace_proc(p, PROCWHAT_ALIVE);
  release(&ptable.lock);
}

// Name of the process pid, "" if there is none.
void
proc_name(int pid, char name[16])
{
  name[0] = 0;
  acquire(&ptable.lock);
  for(struct proc *p = ptable.proc; p < ptable.proc + NPROC; p++)
    if(p->state != UNUSED && p->pid == pid)
      safestrcpy(name, p->name, 16);
  release(&ptable.lock);
}

// psinfo: fills at most max elements of the array of struct psinfo at out, which
// need not be aligned; how many processes there are.
int
proc_info(char *out, int max)
{
  int n = 0;
  acquire(&ptable.lock);
  for(struct proc *p = ptable.proc; p < ptable.proc + NPROC; p++) {
    if(p->state == UNUSED)
      continue;
    if(n < max) {
      struct psinfo i = {.pid = p->pid, .ppid = p->parent ? p->parent->pid : 0, .sz = p->sz, .ticks = p->ticks, .state = (u8)p->state, .cpu = p->lastcpu ? (u8)p->lastcpu->id : 0, .kthread = p->kthread};
      safestrcpy(i.name, p->name, sizeof(i.name));
      memmove(out + n * (int)sizeof(i), &i, sizeof(i));
    }
    n++;
  }
  release(&ptable.lock);
  return n;
}
