// Faults on purpose (debug kernel only): kdebug(KD_PLANT, n) makes one, and a
// test sees that it is found.  A check that nothing ever trips is no check.
// Context: system call, no lock held.
#include "defs.h"
#include "debug.h"
#include "proc.h"
#include "sleeplock.h"
#include "spinlock.h"
#include "uapi/sys.h"

static struct spinlock one = {.name = "plant one"}, two = {.name = "plant two"};

// What the compiler must not see through.
static volatile u32 zero;

// n: so deep still.  The work after the call keeps it from being a loop.
static u32 recurse(u32 n) __attribute__((noinline));
static u32
recurse(u32 n)
{
  volatile u32 frame[16];
  frame[n % 16] = n;
  return n == 0 ? 0 : recurse(n - 1) + frame[n % 16];
}

// Through a pointer, where UBSan knows no bound.
static void overrun(u32 n) __attribute__((noinline));
static void
overrun(u32 n)
{
  volatile char array[16];
  volatile char *p = array + zero;
  while(n-- > 0)
    *p++ = 'x';
}

static void first_then_second(struct spinlock *first, struct spinlock *second) __attribute__((noinline));
static void
first_then_second(struct spinlock *first, struct spinlock *second)
{
  acquire(first);
  acquire(second);
  release(second);
  release(first);
}

static void
free_then_write(void)
{
  char *page = kalloc();
  if(page == 0)
    return;
  kfree(page);
  page[100] = 2;
  kalloc(); // the list is last in, first out
}

static void
free_twice(void)
{
  char *page = kalloc();
  if(page == 0)
    return;
  kfree(page);
  kfree(page);
}

static void
hold_long(void)
{
  acquire(&one);
  delay_us(LOCK_LONG_US * 6 / 5);
  release(&one);
}

// Each of 24 locks before each later one: 276 orders.
static void
take_many(void)
{
  static struct spinlock many[24];
  static char names[NELEM(many)][12];
  for(u32 i = 0; i < NELEM(many); i++) {
    ksnprintf(names[i], sizeof(names[i]), "plant %u", i);
    initlock(&many[i], names[i]);
  }
  for(u32 i = 0; i < NELEM(many); i++)
    for(u32 k = i + 1; k < NELEM(many); k++)
      first_then_second(&many[i], &many[k]);
}

int
plant(int n)
{
  static struct sleeplock kept;
  switch(n) {
  case PLANT_RECURSION:
    return (int)recurse(~zero);
  case PLANT_ARRAY:
    overrun(32);
    return 0;
  case PLANT_SHIFT:
    return 1 << (zero + 32);
  case PLANT_ORDER:
    first_then_second(&one, &two);
    first_then_second(&two, &one);
    return 0;
  case PLANT_SLEEP:
    acquire(&one);
    acquire(&two);
    sleep(&two, &two);
    return 0;
  case PLANT_NETLOCK:
    acquire(&one);
    net_counts(&(struct kcounts){0});
    return 0;
  case PLANT_LEAK:
    return kalloc() ? 0 : -1;
  case PLANT_FREE:
    free_twice();
    return 0;
  case PLANT_WRITE:
    free_then_write();
    return 0;
  case PLANT_KEEP:
    initsleeplock(&kept, "plant kept");
    acquiresleep(&kept);
    return 0;
  case PLANT_ASSERT:
    ASSERT(zero > 0);
    return 0;
  case PLANT_SLOW:
    hold_long();
    return 0;
  case PLANT_ORDERS:
    take_many();
    return 0;
  }
  return -1;
}
