// Stop for gdb: the one event it waits for is found here, not in gdb, which is a
// thousand times slower.
//
// gdb fills trace_stop and sets the bit trace_stop.slow in the nt_cpu.slow of each
// ring; nobody else does, so without gdb nothing here ever runs.  An emit then calls
// trace_stop_arm, which has the CPU trap when the record is complete: the emit itself
// needs no instruction for it.  The trap compares, and calls trace_stop_here, where
// gdb's breakpoint is.  Interrupts are off all the while, no lock is taken.
#include "uapi/types.h"
#include "uapi/nettrace.h"
#include "defs.h"
#include "proc.h"
#include "x86.h"
#include "trace/trace.h"

#define DR7_G0   0x2     // look at address 0,
#define DR7_W0   0x10000 // when it is written,
#define DR7_LEN0 0xc0000 // four bytes

struct trace_stop trace_stop = {.event = STOP_NONE, .slow = SLOW_GDB};

// Of each CPU: the record that it is about to write, 0: none that is waited for.
static struct {
  struct nt_slot *slot;
  u32 seq;
} armed[NT_MAXCPU];

// This CPU is about to write event id into slot, number seq of its ring.
void
trace_stop_arm(u32 id, struct nt_slot *slot, u32 seq)
{
  u32 want = trace_stop.event;
  if(want != STOP_ANY && want != id)
    return;
  u32 cpu = mycpu()->id;
  armed[cpu].slot = slot;
  armed[cpu].seq = seq;
  ldr0((u32)&slot->seq);
  ldr7(DR7_G0 | DR7_W0 | DR7_LEN0);
}

static int
compares(u32 have, u32 val)
{
  switch(trace_stop.op) {
  case STOP_EQ:
    return have == val;
  case STOP_NE:
    return have != val;
  case STOP_LT:
    return have < val;
  case STOP_GE:
    return have >= val;
  default:
    return 1;
  }
}

// Is this the record, and the last of those to skip?
static int
wanted(const struct nt_slot *slot)
{
  u32 word, event = trace_stop.event;
  if(event != STOP_ANY && event != slot->id)
    return 0;
  if((trace_stop.pkt && trace_stop.pkt != slot->pkt) || (trace_stop.sock && trace_stop.sock != slot->sock))
    return 0;
  __builtin_memcpy(&word, (const u8 *)slot + (trace_stop.off <= 60 ? trace_stop.off : 60), 4);
  if(!compares(word & trace_stop.mask, trace_stop.val))
    return 0;
  return (s32)xadd(&trace_stop.skip, -1u) <= 0;
}

// gdb's breakpoint; slot: the record, complete.
__attribute__((noinline)) void
trace_stop_here(const struct nt_slot *slot, u32 eip)
{
  asm volatile(""
               :
               : "r"(slot), "r"(eip));
}

// A debug trap in the kernel: 0 if it is not ours.  eip: behind the emit's last store.
// It comes for the store that opens the record, too.
int
trace_stop_trap(u32 eip)
{
  u32 cpu = mycpu()->id;
  struct nt_slot *slot = armed[cpu].slot;
  if(slot == 0)
    return 0;
  if(slot->seq != armed[cpu].seq + 1)
    return 1;
  ldr7(0);
  armed[cpu].slot = 0;
  if(wanted(slot))
    trace_stop_here(slot, eip);
  return 1;
}
