// poll: wait until one of several files can be read or written.
//
// Every change of readiness, of whatever kind of file, calls poll_wake: it
// counts up one sequence number and wakes all pollers, which look at their
// files again.  A poller notes the number before it looks; if it has changed by
// the time it would sleep, it looks again instead.  So no change is missed, and
// no lock is held while looking: sockets take netlock, pipes their own.

#include "defs.h"
#include "file.h"
#include "proc.h"
#include "syscalls.h"
#include "trace/trace.h"
#include "uapi/net.h"

static struct {
  struct spinlock lock;
  u32 seq;      // [lock] changes of readiness
  u32 sleeping; // [lock] pollers asleep
} pollers;

void
poll_init(void)
{
  initlock(&pollers.lock, "poll");
  pollers.lock.why = SLEEPWHY_POLL;
}

// A file may have become ready.  Any context, any lock but ptable.lock held.
void
poll_wake(void)
{
  acquire(&pollers.lock);
  pollers.seq++;
  if(pollers.sleeping)
    wakeup(&pollers);
  release(&pollers.lock);
}

static u32
poll_seq(void)
{
  acquire(&pollers.lock);
  u32 seq = pollers.seq;
  release(&pollers.lock);
  return seq;
}

// Sleep until something has changed since seq.  0, 1 deadline over, -1 killed.
static int
poll_sleep(u32 seq, u64 deadline_ns)
{
  int how = 0;

  acquire(&pollers.lock);
  if(pollers.seq == seq) {
    pollers.sleeping++;
    how = sleep_until(&pollers, &pollers.lock, deadline_ns);
    pollers.sleeping--;
  }
  release(&pollers.lock);
  return how;
}

// Set revents of each of the n entries at set, which need not be aligned; how
// many are not 0.
static int
look(char *set, int n)
{
  struct proc *p = myproc();
  int ready = 0;

  for(int i = 0; i < n; i++, set += sizeof(struct pollfd)) {
    struct pollfd e;
    memmove(&e, set, sizeof(e));
    int bits = POLLNVAL;
    if(e.fd < 0)
      bits = 0; // an entry not in use
    else if(e.fd < NOFILE && p->ofile[e.fd])
      bits = filepoll(p->ofile[e.fd]) & (e.events | POLLERR | POLLHUP);
    e.revents = (short)bits;
    memmove(set, &e, sizeof(e));
    ready += bits != 0;
  }
  return ready;
}

// poll(struct pollfd *, int n, int ms): entries with something in revents, 0
// when ms are over, or -errno.
int
sys_poll(void)
{
  char *set;
  int n, ms;

  if(argint(1, &n) < 0 || argint(2, &ms) < 0)
    return -EFAULT;
  if(n < 0 || n > NPOLL)
    return -EINVAL;
  if(argptr(0, &set, n * (int)sizeof(struct pollfd), 1) < 0)
    return -EFAULT;
  u64 deadline_ns = ms < 0 ? ~0ull : now_ns() + (u64)ms * 1000000;
  for(int over = ms == 0;;) {
    u32 seq = poll_seq();
    int ready = look(set, n);
    if(ready || over)
      return ready;
    int how = poll_sleep(seq, deadline_ns);
    if(how < 0)
      return -EINTR;
    over = how == 1;
  }
}
