// Spinlocks, and the counted cli they rest on.
//
// Interrupts are off on a CPU while it holds any spinlock: an interrupt that
// wanted the same lock would wait for ever.  ARCHITECTURE.md gives the order.
#include "defs.h"
#include "debug.h"
#include "proc.h"
#include "spinlock.h"
#include "x86.h"

void
initlock(struct spinlock *lk, const char *name)
{
  *lk = (struct spinlock){.name = name};
}

// Take the lock, spinning while another CPU has it.
void
acquire(struct spinlock *lk)
{
  pushcli();
  if(holding(lk))
    panic("acquire: %s is already held here", lk->name);
  lock_wants(lk);
  while(xchg(&lk->locked, 1) != 0) {
    panic_check();
    pause();
  }
  lk->cpu = mycpu();
  lk->pc = (u32)__builtin_return_address(0);
  lock_has(lk);
}

void
release(struct spinlock *lk)
{
  if(!holding(lk))
    panic("release: %s is not held here", lk->name);
  lock_lets_go(lk);
  lk->cpu = 0;
  // x86 keeps stores in order: whoever sees 0 sees all that was written before.
  barrier();
  *(volatile u32 *)&lk->locked = 0;
  popcli();
}

// Does this CPU hold it?  Asked with interrupts off.
int
holding(struct spinlock *lk)
{
  return lk->locked && lk->cpu == mycpu();
}

// cli, counted: two pushcli take two popcli to undo, and popcli turns
// interrupts on only if they were on before the first pushcli.
void
pushcli(void)
{
  u32 flags = readeflags();
  cli();
  struct cpu *c = mycpu();
  if(c->ncli++ == 0)
    c->intena = flags & FL_IF;
}

void
popcli(void)
{
  struct cpu *c = mycpu();
  if(readeflags() & FL_IF)
    panic("popcli: interrupts are on");
  if(--c->ncli < 0)
    panic("popcli: without pushcli");
  if(c->ncli == 0 && c->intena)
    sti();
}
