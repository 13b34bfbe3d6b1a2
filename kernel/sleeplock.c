// Sleep-locks: for what takes long, such as disk blocks, inodes and the network
// stack.  Thread context only.
//
// Released without hand-off: whoever runs next may take it.  Handing it to the
// first waiter would make a context switch of every release.
#include "defs.h"
#include "debug.h"
#include "proc.h"
#include "sleeplock.h"
#include "trace/trace.h"

void
initsleeplock(struct sleeplock *l, const char *name)
{
  initlock(&l->lk, name);
  l->lk.why = SLEEPWHY_LOCK;
  l->owner = 0;
  l->waiting = 0;
  l->name = name;
  l->class = 0;
}

static void
take(struct sleeplock *l)
{
  while(l->owner) {
    slock_waits(l);
    l->waiting++;
    sleep(l, &l->lk);
    l->waiting--;
  }
  l->owner = myproc();
  slock_has(l);
}

static void
give(struct sleeplock *l)
{
  if(l->owner != myproc())
    panic("sleeplock: %s is not ours to release", l->name);
  slock_lets_go(l);
  l->owner = 0;
  if(l->waiting) // a look through the whole process table
    wakeup(l);
}

void
acquiresleep(struct sleeplock *l)
{
  slock_wants(l);
  acquire(&l->lk);
  if(l->owner == myproc())
    panic("sleeplock: %s is already ours", l->name);
  take(l);
  release(&l->lk);
}

void
releasesleep(struct sleeplock *l)
{
  acquire(&l->lk);
  give(l);
  release(&l->lk);
}

int
holdingsleep(struct sleeplock *l)
{
  return l->owner == myproc(); // ours stays ours: no lock needed to see it
}

// Release l and sleep on chan as one step, and take l again: who wakes chan
// with l held cannot come between.  ns and result as sleep_until,
// why for the trace.
// What l guards may have changed: look again.
int
waitsleep(struct sleeplock *l, void *chan, u64 ns, u8 why)
{
  acquire(&l->lk);
  give(l);
  int how = sleep_why(chan, &l->lk, ns, why);
  slock_wants(l);
  take(l);
  release(&l->lk);
  return how;
}
