// The local APIC of each CPU: its timer, interrupts to other CPUs, end of
// interrupt.  Intel SDM volume 3, chapter "Advanced programmable interrupt
// controller".
#include "defs.h"
#include "uapi/traps.h"

#define ID     0x020
#define TPR    0x080 // task priority
#define EOI    0x0b0
#define SVR    0x0f0 // spurious interrupt vector
#define ESR    0x280 // error status
#define ICRLO  0x300 // interrupt command
#define ICRHI  0x310
#define TIMER  0x320 // local vector table: timer
#define LINT0  0x350
#define LINT1  0x360
#define LVTERR 0x370
#define TICR   0x380 // timer: initial count
#define TCCR   0x390 // timer: current count
#define TDCR   0x3e0 // timer: divider

#define SVR_ENABLE  0x100
#define LVT_MASKED  0x10000
#define LVT_NMI     0x400
#define LVT_PERIOD  0x20000
#define TDCR_BY1    0xb
#define ICR_FIXED   0x000
#define ICR_INIT    0x500
#define ICR_STARTUP 0x600
#define ICR_PENDING 0x1000
#define ICR_ASSERT  0x4000
#define ICR_LEVEL   0x8000

#define HZ 100

static u32 per_tick; // timer counts of 10 ms, the same on every CPU

static volatile u32 *
reg(u32 off)
{
  return (volatile u32 *)(acpi.lapic + off);
}

// Context: each CPU for itself, interrupts off, after calibration.
void
lapic_init(void)
{
  *reg(SVR) = SVR_ENABLE | (T_IRQ0 + IRQ_SPURIOUS);
  *reg(TDCR) = TDCR_BY1;
  *reg(TIMER) = LVT_PERIOD | (T_IRQ0 + IRQ_TIMER);
  *reg(TICR) = per_tick;
  *reg(LINT0) = LVT_MASKED;
  *reg(LINT1) = LVT_MASKED;
  *reg(LVTERR) = T_IRQ0 + IRQ_ERROR;
  *reg(ESR) = 0; // a write arms it, the second one clears what was there
  *reg(ESR) = 0;
  *reg(EOI) = 0;
  *reg(TPR) = 0; // take every interrupt
}

void
lapic_count_start(void)
{
  *reg(SVR) = SVR_ENABLE | (T_IRQ0 + IRQ_SPURIOUS);
  *reg(TDCR) = TDCR_BY1;
  *reg(TIMER) = LVT_MASKED;
  *reg(TICR) = ~0u;
}

// us: how long ago lapic_count_start was called.
void
lapic_count_stop(u32 us)
{
  u64 n = (u64)(~0u - *reg(TCCR)) * (1000000 / HZ);
  div64(&n, us);
  per_tick = (u32)n;
}

void
lapic_eoi(void)
{
  *reg(EOI) = 0;
}

u32
lapic_id(void)
{
  return *reg(ID) >> 24;
}

// Context: interrupts off, or the two writes could be torn apart.
void
lapic_ipi(u32 apicid, u32 vector)
{
  pushcli();
  while(*reg(ICRLO) & ICR_PENDING)
    ;
  *reg(ICRHI) = apicid << 24;
  *reg(ICRLO) = ICR_FIXED | ICR_ASSERT | vector;
  popcli();
}

// INIT, then STARTUP twice, as the SDM's chapter on multiple-processor
// initialisation wants it.  pa: where the CPU starts in real mode, in the
// first megabyte, on a page boundary.
void
lapic_startap(u32 apicid, u32 pa)
{
  *reg(ICRHI) = apicid << 24;
  *reg(ICRLO) = ICR_INIT | ICR_LEVEL | ICR_ASSERT;
  delay_us(200);
  *reg(ICRLO) = ICR_INIT | ICR_LEVEL;
  delay_us(200);
  for(int i = 0; i < 2; i++) {
    *reg(ICRHI) = apicid << 24;
    *reg(ICRLO) = ICR_STARTUP | pa >> 12;
    delay_us(200);
  }
}
