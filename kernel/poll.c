// poll: wait until one of several files can be read or written.
//
// Every change of readiness, of whatever kind of file, calls poll_wake with what
// has changed.  It wakes the pollers that look at it, and they look again.  A
// poller is in the list before it looks; if it is told while it looks it looks again
// instead of sleeping.  So no change is missed, and no lock is held while looking:
// sockets take netlock, pipes their own.

#include "defs.h"
#include "file.h"
#include "proc.h"
#include "syscalls.h"
#include "trace/trace.h"
#include "uapi/net.h"

// One per process in poll, on its kernel stack.  [p] pollers.lock
struct poller {
  struct poller *next; // [p]
  u32 keys;            // a bit for each thing it looks at: see bit_of
  int told;            // [p] one of them has changed since it began to look
};

static struct {
  struct spinlock lock;
  struct poller *first; // [lock]
} pollers;

void
poll_init(void)
{
  initlock(&pollers.lock, "poll");
  pollers.lock.why = SLEEPWHY_POLL;
}

// One of 32 bits for each address.  Two things may share one: then a poller
// looks in vain, no more.
static u32
bit_of(const void *what)
{
  return 1u << ((u32)what * 2654435761u >> 27);
}

// what may have become ready: a struct sock or pipe, or a device's entry in devsw.
// Any context, any lock but ptable.lock held.
void
poll_wake(const void *what)
{
  u32 bit = bit_of(what);
  acquire(&pollers.lock);
  for(struct poller *p = pollers.first; p; p = p->next)
    if(p->keys & bit && !p->told) {
      p->told = 1;
      wakeup(p);
    }
  release(&pollers.lock);
}

static void
join(struct poller *p)
{
  acquire(&pollers.lock);
  p->next = pollers.first;
  pollers.first = p;
  release(&pollers.lock);
}

static void
leave(struct poller *p)
{
  acquire(&pollers.lock);
  for(struct poller **at = &pollers.first; *at; at = &(*at)->next)
    if(*at == p) {
      *at = p->next;
      break;
    }
  release(&pollers.lock);
}

// Sleep until p is told.  0, 1 deadline over, -1 killed.
static int
poll_sleep(struct poller *p, u64 deadline_ns)
{
  int how = 0;

  acquire(&pollers.lock);
  if(!p->told)
    how = sleep_until(p, &pollers.lock, deadline_ns);
  p->told = 0;
  release(&pollers.lock);
  return how;
}

// The bit of what poll_wake is called with for f; 0: it never is.
static u32
key_of(const struct file *f)
{
  switch(f->type) {
  case FD_PIPE:
    return bit_of(f->pipe);
  case FD_SOCK:
    return bit_of(f->sock);
  case FD_DEV:
    return bit_of(&devsw[f->major]);
  }
  return 0;
}

// The bits of all files in the n entries at set, which need not be aligned.
static u32
keys_of(const char *set, int n)
{
  struct proc *p = myproc();
  u32 keys = 0;

  for(int i = 0; i < n; i++, set += sizeof(struct pollfd)) {
    struct pollfd e;
    memmove(&e, set, sizeof(e));
    if(e.fd >= 0 && e.fd < NOFILE && p->ofile[e.fd])
      keys |= key_of(p->ofile[e.fd]);
  }
  return keys;
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
  struct poller me = {.keys = keys_of(set, n)};
  int ready, how = ms == 0; // 1: the time is over
  join(&me);
  while((ready = look(set, n)) == 0 && how == 0)
    how = poll_sleep(&me, deadline_ns);
  leave(&me);
  return ready == 0 && how < 0 ? -EINTR : ready;
}
