// kdebug: what the kernel tells tests and the curious about itself, and, in the
// debug kernel, how tests make it fail.
#include "defs.h"
#include "debug.h"
#include "proc.h"
#include "syscalls.h"
#include "uapi/sys.h"

// Not one instant: each number is right by itself.
static void
count(struct kcounts *c)
{
  c->pages_free = kfree_pages();
  c->pages_total = kalloc_total();
  c->procs = proc_info(0, 0);
  file_counts(&c->files, &c->pipe_ends);
  fs_counts(c);
  net_counts(c);
}

// Bytes of one kernel stack that have ever been used.  They were zero at boot
// (bootmem); what is lowest of a frame is never zero: who called, and whose
// frame is above.
static u32
stack_used(const u32 *bottom)
{
  u32 i = 0;
  while(i < KSTACKSIZE / sizeof(*bottom) && bottom[i] == 0)
    i++;
  return KSTACKSIZE - i * sizeof(*bottom);
}

static int
deepest_stack(void)
{
  u32 most = 0;
  for(int slot = 0; slot < NPROC + NCPU; slot++) {
    u32 used = stack_used((const u32 *)kstack_of(slot));
    if(used > most)
      most = used;
  }
  return (int)most;
}

#ifdef DEBUG

// CRC-32 of IEEE 802.3 over what nobody may change: text and constants.
static int
code_crc(uint *sum)
{
  static u32 table[256];
  for(u32 i = 0; i < 256; i++) {
    u32 r = i;
    for(int k = 0; k < 8; k++)
      r = r >> 1 ^ (r & 1 ? 0xedb88320 : 0);
    table[i] = r;
  }
  u32 crc = ~0u;
  for(const u8 *p = (const u8 *)_kernel_start; p < (const u8 *)_rodata_end; p++)
    crc = crc >> 8 ^ table[(crc ^ *p) & 0xff];
  *sum = ~crc;
  return 0;
}

#else

#define code_crc(sum) (-1)

#endif

// What fills a struct of the program's fills one of ours first: it may sleep.
int
sys_kdebug(void)
{
  int op, n;
  char *arg;
  union {
    struct kcounts counts;
    struct klocks locks;
    uint crc;
  } u;
  static const u8 size[] = {
    [KD_COUNTS] = sizeof(u.counts),
    [KD_LOCKS] = sizeof(u.locks),
    [KD_CRC] = sizeof(u.crc),
  };

  if(argint(0, &op) < 0 || argint(1, &n) < 0)
    return -1;
  u32 len = op >= 0 && op < (int)NELEM(size) ? size[op] : 0;
  if(len > 0 && argptr(1, &arg, len, 1) < 0)
    return -1;
  memset(&u, 0, sizeof(u));
  int r = -1;
  switch(op) {
  case KD_COUNTS:
    count(&u.counts);
    r = 0;
    break;
  case KD_STACK:
    return deepest_stack();
  case KD_CRC:
    r = code_crc(&u.crc);
    break;
  case KD_LOCKS:
    r = lock_figures(&u.locks);
    break;
  case KD_FAILNTH:
    return fail_nth((u32)n);
  case KD_PLANT:
    return plant(n);
  }
  if(r == 0)
    memmove(arg, &u, len);
  return r;
}
