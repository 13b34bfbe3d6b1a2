// Changing the kernel's own code while it runs: TRACE() sites (a nop where the event
// is off, a jump to the recording where it is on) and, for func.c, the nops at
// functions' entries.
//
// While code changes no other CPU may run it: each is called by an interrupt and
// waits in patch_park.  A CPU that holds a spinlock keeps interrupts off and comes
// when it has let go, so nobody waits for one who is parked.
//
// Context: thread with interrupts on, no spinlock held, one caller at a time (the
// lock of /dev/nettrace's commands); at boot before other CPUs run.
#include "defs.h"
#include "proc.h"
#include "trace/trace.h"
#include "uapi/traps.h"
#include "x86.h"

static volatile u32 parking, parked;

// Fetch nothing that was read before: CPUID serialises, SDM volume 3, 8.3.
static inline void
serialise(void)
{
  u32 a = 0, b, c = 0, d;
  asm volatile("cpuid"
               : "+a"(a), "=b"(b), "+c"(c), "=d"(d)
               :
               : "memory");
}

// Interrupt of another CPU that changes code: wait until it is done.
void
patch_park(void)
{
  if(!parking)
    return;
  __sync_fetch_and_add(&parked, 1);
  while(parking) {
    panic_check();
    pause();
  }
  serialise();
  __sync_fetch_and_sub(&parked, 1);
}

// All other CPUs wait from here on.  Interrupts are off until patch_end.
void
patch_begin(void)
{
  pushcli();
  u32 others = 0, me = mycpu()->id;
  parking = 1;
  for(u32 i = 0; i < (u32)ncpu; i++)
    if(i != me && cpus[i].started == 2) {
      lapic_ipi(cpus[i].apicid, T_IRQ0 + IRQ_WAKE);
      others++;
    }
  while(parked != others) {
    panic_check();
    pause();
  }
  lcr0(rcr0() & ~(u32)CR0_WP); // text is mapped read-only
}

// The others go on.  Waits until the last has left, or it could count for the next.
void
patch_end(void)
{
  lcr0(rcr0() | CR0_WP);
  serialise();
  parking = 0;
  while(parked) {
    panic_check();
    pause();
  }
  popcli();
}

// Between begin and end: the five bytes at at become a nop, or one byte of opcode and
// the distance to to (0: a nop).
void
patch_code(u32 at, u8 opcode, u32 to)
{
  u8 code[PATCH_SIZE] = {0x0f, 0x1f, 0x44, 0, 0};
  u32 dist = to - (at + PATCH_SIZE);
  if(to) {
    code[0] = opcode;
    memmove(code + 1, &dist, sizeof(dist));
  }
  memmove((void *)at, code, sizeof(code));
}

#ifdef TRACE_SITES

struct site {
  u32 at, record, id;
};
extern const struct site trace_sites[], trace_sites_end[]; // kernel.ld

static int
is_jump(const struct site *s)
{
  return *(const volatile u8 *)s->at == PATCH_JMP;
}

// Make each site a jump if its event is on, else a nop.
void
patch_sites(void)
{
  const struct site *s = trace_sites;
  while(s < trace_sites_end && is_jump(s) == (trace_on[s->id] != 0))
    s++;
  if(s == trace_sites_end)
    return;
  patch_begin();
  for(; s < trace_sites_end; s++)
    if(is_jump(s) != (trace_on[s->id] != 0))
      patch_code(s->at, PATCH_JMP, trace_on[s->id] ? s->record : 0);
  patch_end();
}

#endif
