// Memory that is looked after (debug kernel only): pages, stack frames, and the
// allocation that is made to fail.
//
// A page that kalloc gives is filled with 0x05, so that who relies on zeros
// does not find any; one that was given back with 0x01, so that who still
// writes to it is found when the page is given out again, and who still
// follows pointers in it faults.  One bit per page of RAM tells who has it.
// Any context; page_out and page_back hold kalloc's lock.
#include "defs.h"
#include "debug.h"
#include "mmu.h"
#include "uapi/memlayout.h"

#define FREED 0x01
#define FRESH 0x05

static u8 out[PHYSTOP / PGSIZE / 8];   // bit set: kalloc has given it away
static u8 known[PHYSTOP / PGSIZE / 8]; // bit set: it has been filled with FREED
static u32 fail_in;                    // so many allocations from now one fails; 0 none

static int
bit(const u8 *map, u32 page)
{
  return map[page / 8] >> page % 8 & 1;
}

// kalloc keeps its list in the first word of a free page: not checked.
static void
check_fill(const u32 *page)
{
  for(u32 i = 1; i < PGSIZE / 4; i++)
    if(page[i] != FREED * 0x01010101u)
      panic("kalloc: free page 0x%x was written to at +0x%x: 0x%x", (u32)page, i * 4, page[i]);
}

void
page_out(void *page)
{
  u32 n = V2P(page) / PGSIZE;
  if(bit(out, n))
    panic("kalloc: 0x%x is given out twice", (u32)page);
  if(bit(known, n))
    check_fill(page);
  out[n / 8] |= 1 << n % 8;
  memset(page, FRESH, PGSIZE);
}

void
page_back(void *page)
{
  u32 n = V2P(page) / PGSIZE;
  if(!bit(out, n))
    panic("kfree: 0x%x is free already", (u32)page);
  out[n / 8] &= ~(1 << n % 8);
  known[n / 8] |= 1 << n % 8;
  memset(page, FREED, PGSIZE);
}

// -fstack-protector-strong: a function with an array puts this word behind it
// and looks whether it is still there before it returns.
u32 __stack_chk_guard;

void __stack_chk_fail(void) __attribute__((noreturn));
void
__stack_chk_fail(void)
{
  panic("stack: a function wrote past the end of its array");
}

// Another guard at each boot.  Context: booting; the caller never returns.
void
stack_guard_init(void)
{
  __stack_chk_guard = rand32();
}

// Asked by every allocator.  One failure, then all is well again.
int
fail_now(void)
{
  u32 n = __atomic_load_n(&fail_in, __ATOMIC_RELAXED);
  while(n > 0 && !__atomic_compare_exchange_n(&fail_in, &n, n - 1, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
    ;
  return n == 1;
}

// Programs begin: before that nothing may fail.
void
fail_boot(void)
{
  u32 k;
  if(opt_num("failnth", &k))
    fail_nth(k);
}

int
fail_nth(u32 k)
{
  return (int)__atomic_exchange_n(&fail_in, k, __ATOMIC_RELAXED);
}
