// The order in which locks are taken (debug kernel only).
//
// Locks of one name are one class.  Whoever takes B with A held says "A before
// B", and that is remembered, with a backtrace, for as long as the machine
// runs.  If somebody takes A with B held, or with anything that came after B,
// two threads could wait for each other for ever: panic, with the backtraces
// of both, although it may have gone well this time.  So a test finds a wrong
// order by running each of the two paths once, on one CPU, at leisure.
//
// Spinlocks belong to the CPU, sleep-locks to the thread.  Between the two
// there is one rule, and it needs no memory: no sleep, and no sleep-lock, with
// a spinlock held.  Locks of the same class are never held together, except
// those in `nested`; of these a circle is found when it closes.
//
// spinlock.c, sleeplock.c and sleep_why call these: the lock_ functions with
// interrupts off, the slock_ functions in thread context.
#include "defs.h"
#include "debug.h"
#include "proc.h"
#include "sleeplock.h"
#include "spinlock.h"
#include "uapi/memlayout.h"
#include "uapi/sys.h"
#include "x86.h"

#define NCLASS     64
#define NORDER     256
#define MOST       12   // locks held at once
#define STACK_MOST 6144 // bytes of a kernel stack that may be used

// Who may hold several of one class, and how many.  Inodes: a directory, then
// what is in it.  Buffers: a block, then one that it leads to, then the map of
// free blocks; the log is copied from its lower to the higher block.
static const struct {
  const char *name;
  int most;
} nested[] = {{"inode", 2}, {"buffer", 3}};

// By number, from 1.  Spinlocks and sleep-locks of one name are two classes.
static struct {
  const char *name;
  int sleeps;
} classes[NCLASS];

static u32 nclasses = 1;
static u32 after[NCLASS][NCLASS / 32]; // bit b of after[a]: b was taken with a held

// One per bit of `after`: who did that first.
static struct order {
  u8 a, b;
  u32 pcs[BACKTRACE];
} orders[NORDER];

static u32 norders;
static u32 writing; // 1 while somebody adds to the above

struct held {
  const void *lock;
  u8 class;
  u64 since_tsc;
};

// One per CPU for spinlocks, one per process for sleep-locks.
struct hand {
  int n;
  struct held at[MOST];
};

static struct hand cpu_hand[NCPU], proc_hand[NPROC];
static struct sleeplock *waits_for[NPROC]; // what a process sleeps for

static struct klocks figures; // times of spinlocks

// ---- classes and orders --------------------------------------------------

static void
write_begin(void)
{
  pushcli();
  while(xchg(&writing, 1) != 0) {
    panic_check();
    pause();
  }
}

static void
write_end(void)
{
  __atomic_store_n(&writing, 0, __ATOMIC_RELEASE);
  popcli();
}

static u32
find_class(const char *name, int sleeps)
{
  for(u32 c = 1; c < nclasses; c++)
    if(classes[c].sleeps == sleeps && strcmp(classes[c].name, name) == 0)
      return c;
  return 0;
}

// A lock's class, which it keeps in *class.
static u8
class_of(u8 *class, const char *name, int sleeps)
{
  if(*class)
    return *class;
  write_begin();
  u32 c = find_class(name, sleeps);
  if(c == 0) {
    if(nclasses == NCLASS)
      panic("lockcheck: more than %u names of locks", NCLASS - 1);
    c = nclasses++;
    classes[c].name = name;
    classes[c].sleeps = sleeps;
  }
  write_end();
  return *class = (u8)c;
}

static int
is_after(u32 a, u32 b)
{
  return after[a][b / 32] >> b % 32 & 1;
}

static u32 circle[NCLASS]; // classes from the one wanted to the one held
static u32 ncircle;

// Has b been taken after a, directly or by way of others?  Leaves the way in circle.
static int
find_way(u32 a, u32 b)
{
  static u32 came_from[NCLASS], queue[NCLASS];
  u32 head = 0, tail = 0;
  memset(came_from, 0, sizeof(came_from));
  for(queue[tail++] = a; head < tail; head++)
    for(u32 c = 1; c < nclasses; c++) {
      if(c == a || came_from[c] || !is_after(queue[head], c))
        continue;
      came_from[c] = queue[head];
      queue[tail++] = c;
    }
  if(!came_from[b])
    return 0;
  ncircle = 0;
  for(u32 c = b; c != a; c = came_from[c])
    circle[ncircle++] = c;
  circle[ncircle++] = a;
  return 1;
}

// Each step of the way, with the backtrace of who went it first.
static void
tell_circle(void)
{
  for(u32 i = ncircle - 1; i > 0; i--)
    for(struct order *o = orders; o < orders + norders; o++)
      if(o->a == circle[i] && o->b == circle[i - 1]) {
        cprintf("%s was held when %s was taken at:\n", classes[o->a].name, classes[o->b].name);
        backtrace_print(o->pcs);
      }
}

static void
add_order(u8 a, u8 b)
{
  write_begin();
  if(find_way(b, a))
    panic_tell(tell_circle, "lock order: %s is wanted with %s held, it was the other way round before",
               classes[b].name, classes[a].name);
  if(!is_after(a, b) && norders == NORDER)
    figures.missed++;
  else if(!is_after(a, b)) {
    struct order *o = &orders[norders++];
    o->a = a;
    o->b = b;
    backtrace_take(o->pcs);
    after[a][b / 32] |= 1u << b % 32;
  }
  write_end();
}

// ---- what is held --------------------------------------------------------

static void
check_nested(const struct hand *h, u8 class)
{
  int most = 1, n = 1;
  for(u32 i = 0; i < NELEM(nested); i++)
    if(classes[class].sleeps && strcmp(nested[i].name, classes[class].name) == 0)
      most = nested[i].most;
  for(int i = 0; i < h->n; i++)
    n += h->at[i].class == class;
  if(n > most)
    panic("lock order: %d locks %s at once", n, classes[class].name);
}

static void
wants(const struct hand *h, u8 class)
{
  for(int i = 0; i < h->n; i++) {
    u8 a = h->at[i].class;
    if(a == class)
      check_nested(h, class);
    else if(!is_after(a, class))
      add_order(a, class);
  }
}

static struct held *
take_up(struct hand *h, const void *lock, u8 class)
{
  if(h->n == MOST)
    panic("lock order: %d locks at once", MOST + 1);
  struct held *at = &h->at[h->n++];
  at->lock = lock;
  at->class = class;
  return at;
}

static void
put_down(struct hand *h, const void *lock)
{
  int i = h->n;
  while(i > 0 && h->at[i - 1].lock != lock)
    i--;
  if(i == 0)
    panic("lockcheck: a lock nobody saw being taken");
  for(h->n--; i <= h->n; i++)
    h->at[i - 1] = h->at[i];
}

// ---- spinlocks -----------------------------------------------------------

// Who takes a lock near the end of its stack is told before it is too late.
static void
check_stack(void)
{
  const struct proc *p = myproc();
  u32 left = p ? rebp() - (u32)p->kstack : KSTACKSIZE;
  if(left < KSTACKSIZE - STACK_MOST) // more: the scheduler's or a boot stack
    panic("stack: %u of %u bytes used, %u are allowed", KSTACKSIZE - left, KSTACKSIZE, STACK_MOST);
}

void
lock_wants(struct spinlock *lk)
{
  if(panicked)
    return;
  check_stack();
  wants(&cpu_hand[mycpu()->id], class_of(&lk->class, lk->name, 0));
}

void
lock_has(struct spinlock *lk)
{
  if(panicked)
    return;
  take_up(&cpu_hand[mycpu()->id], lk, lk->class)->since_tsc = rdtsc();
}

// How long interrupts were off for a lock is only counted: the TSC runs on while
// the host takes the CPU away from QEMU, so on a loaded host any lock can seem
// to be held for long.  Where time is counted in instructions (capture -D) the
// figure is exact, and a test looks at it.
static void
note_time(const struct spinlock *lk, u64 tsc)
{
  u32 us = tsc_khz ? us_since(tsc) : 0;
  figures.long_holds += us > LOCK_LONG_US;
  if(us <= figures.longest_us)
    return;
  figures.longest_us = us;
  figures.longest_pc = lk->pc;
  safestrcpy(figures.longest, lk->name, sizeof(figures.longest));
}

void
lock_lets_go(struct spinlock *lk)
{
  if(panicked)
    return;
  struct hand *h = &cpu_hand[mycpu()->id];
  if(h->n > 0 && h->at[h->n - 1].lock == lk)
    note_time(lk, h->at[h->n - 1].since_tsc);
  put_down(h, lk);
}

// Somebody is about to sleep, giving up lk (0: none).
static void
may_sleep(const struct spinlock *lk, const char *what)
{
  pushcli();
  const struct hand *h = &cpu_hand[mycpu()->id];
  for(int i = 0; i < h->n && !panicked; i++)
    if(h->at[i].lock != lk) {
      const struct spinlock *held = h->at[i].lock;
      u32 off;
      const char *where = symname(held->pc, &off);
      panic("lock order: sleep for %s with spinlock %s held, taken in %s", what, held->name, where);
    }
  popcli();
}

void
lock_sleeps(struct spinlock *lk)
{
  may_sleep(lk, lk->name);
}

// ---- sleep-locks ---------------------------------------------------------

static u32
slot_of(const struct proc *p)
{
  return ((u32)p->kstack - KSTACKS) / (2 * KSTACKSIZE);
}

void
slock_wants(struct sleeplock *l)
{
  const struct proc *p = myproc();
  if(panicked || p == 0)
    return;
  may_sleep(&l->lk, l->name);
  wants(&proc_hand[slot_of(p)], class_of(&l->class, l->name, 1));
}

// Does whoever has l wait, directly or by way of others, for one of ours?
static int
in_circle(const struct sleeplock *l, const struct proc *me)
{
  for(u32 i = 0; l && i < NPROC; i++) {
    const struct proc *p = l->owner;
    if(p == me)
      return 1;
    l = p ? waits_for[slot_of(p)] : 0;
  }
  return 0;
}

// Looked at twice: a circle of more than two is read while others move.
void
slock_waits(struct sleeplock *l)
{
  const struct proc *p = myproc();
  waits_for[slot_of(p)] = l;
  if(in_circle(l, p) && in_circle(l, p) && !panicked)
    panic("lock order: deadlock, %s waits for pid %d", l->name, l->owner->pid);
}

void
slock_has(struct sleeplock *l)
{
  const struct proc *p = myproc();
  if(panicked || p == 0)
    return;
  waits_for[slot_of(p)] = 0;
  take_up(&proc_hand[slot_of(p)], l, l->class);
}

void
slock_lets_go(struct sleeplock *l)
{
  const struct proc *p = myproc();
  if(panicked || p == 0)
    return;
  put_down(&proc_hand[slot_of(p)], l);
}

// A system call is over: it may have left no lock behind.  And here, where none is held,
// it can be said that the checker does not see all.
void
lock_none(void)
{
  static u32 said;
  if(figures.missed && xchg(&said, 1) == 0)
    cprintf("lockcheck: more than %u orders of locks, others go unchecked\n", NORDER);
  const struct hand *h = &proc_hand[slot_of(myproc())];
  if(h->n > 0 && !panicked)
    panic("lock order: a system call ends with %s held", classes[h->at[0].class].name);
}

int
lock_figures(struct klocks *k)
{
  *k = figures;
  k->classes = nclasses - 1;
  k->orders = norders;
  return 0;
}
