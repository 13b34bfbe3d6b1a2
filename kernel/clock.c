// Time.  The TSC is read everywhere (cheap); HPET or PM timer say how fast it
// runs, once while booting.  clock_sync pairs the three, so that the host can
// put kernel events and captured frames on one clock.
#include "defs.h"
#include "trace/trace.h"
#include "uapi/memlayout.h"
#include "x86.h"

// HPET, IA-PC HPET specification 2.3
#define HPET_PERIOD  0x04 // femtoseconds of a tick
#define HPET_CONF    0x10
#define CONF_ENABLE  1
#define HPET_COUNTER 0xf0

#define PM_HZ   3579545    // ACPI 4.8.3.3
#define PM_MASK 0x00ffffff // QEMU's has 24 bits

#define SHIFT 22 // ns = TSC * mult >> SHIFT

u32 tsc_khz;
static u32 mult, us_mult; // ticks to ns and us: fractions of 2^22 and of 2^32
static u32 ticks_per_ms;  // of the reference counter

static u32
hpet(u32 off)
{
  return *(volatile u32 *)(acpi.hpet + off);
}

// The reference counter: HPET's low word, else the PM timer's 24 bits.
static u32
reference(void)
{
  return acpi.hpet ? hpet(HPET_COUNTER) : inl(acpi.pm_timer) & PM_MASK;
}

static u32
reference_since(u32 from)
{
  u32 n = reference() - from;
  return acpi.hpet ? n : n & PM_MASK;
}

static void
start_reference(void)
{
  if(acpi.hpet >= DEVSPACE) {
    *(volatile u32 *)(acpi.hpet + HPET_CONF) |= CONF_ENABLE;
    u64 n = 1000000000000ull; // femtoseconds of a ms
    div64(&n, hpet(HPET_PERIOD));
    ticks_per_ms = (u32)n;
    return;
  }
  acpi.hpet = 0;
  if(acpi.pm_timer == 0)
    panic("clock: neither HPET nor PM timer");
  ticks_per_ms = PM_HZ / 1000;
}

// Reference and TSC at one moment: of 8 pairs of readings the one that took least.
// The host may stop an emulated CPU for milliseconds between any two.
static u32
reference_and_tsc(u64 *tsc)
{
  u32 ref = 0, least = ~0u;
  *tsc = 0;
  for(int i = 0; i < 8; i++) {
    u64 before = rdtsc();
    u32 r = reference(), took = (u32)(rdtsc() - before);
    if(took < least) {
      least = took;
      ref = r;
      *tsc = before;
    }
  }
  return ref;
}

// Count TSC and LAPIC timer over 10 ms of the reference.
void
clock_init(void)
{
  u64 tsc, from_tsc;
  start_reference();
  u32 from = reference_and_tsc(&from_tsc);
  lapic_count_start();
  while(reference_since(from) < 10 * ticks_per_ms)
    ;
  u32 n = reference_and_tsc(&tsc) - from;
  if(acpi.hpet == 0)
    n &= PM_MASK;
  tsc -= from_tsc;
  u64 us = (u64)n * 1000;
  div64(&us, ticks_per_ms);
  lapic_count_stop((u32)us);
  tsc *= 1000;
  div64(&tsc, (u32)us);
  tsc_khz = (u32)tsc;
  u64 m = 1000000ull << SHIFT;
  div64(&m, tsc_khz);
  mult = (u32)m;
  m = 1000ull << 32;
  div64(&m, tsc_khz);
  us_mult = (u32)m;
  trace_clock(tsc_khz);
}

// 64 x 32 bits in two halves.
u64
tsc_ns(u64 tsc)
{
  u64 hi = (tsc >> 32) * mult;
  u64 lo = (tsc & 0xffffffff) * mult;
  return (hi << (32 - SHIFT)) + (lo >> SHIFT);
}

u64
now_ns(void)
{
  return tsc_ns(rdtsc());
}

// TSC ticks as microseconds: what a division of tsc_ns gives, but for its rounding.
static u64
tsc_us(u64 tsc)
{
  u64 hi = (tsc >> 32) * us_mult;
  u64 lo = (tsc & 0xffffffff) * us_mult;
  return hi + (lo >> 32);
}

u32
now_us(void)
{
  return (u32)tsc_us(rdtsc());
}

u32
us_since(u64 tsc)
{
  u64 d = rdtsc() - tsc;
  if(d >> 32 == 0)
    return (u32)(d * us_mult >> 32);
  u64 us = tsc_us(d);
  return us >> 32 ? ~0u : (u32)us;
}

void
delay_us(u32 us)
{
  u64 end = now_ns() + (u64)us * 1000;
  while(now_ns() < end)
    pause();
}

// Long division in two steps of the CPU's 64 / 32: there is no libgcc here.
u32
div64(u64 *n, u32 d)
{
  u32 hi = (u32)(*n >> 32), lo = (u32)*n;
  u32 qhi = hi / d, rem = hi % d, qlo;
  asm("divl %4"
      : "=a"(qlo), "=d"(rem)
      : "0"(lo), "1"(rem), "r"(d));
  *n = (u64)qhi << 32 | qlo;
  return rem;
}

// Read TSC, HPET, PM timer, TSC, in that order, up to 8 times, and record the
// reading that took least: QEMU may have been descheduled in the others.
// Needs both counters: without HPET there is nothing to pair.
// Context: any, interrupts may be on (an interrupted try is a long one).
void
clock_sync(void)
{
  if(!trace_on[TR_clock_sync] || acpi.hpet == 0 || acpi.pm_timer == 0)
    return;
  u64 tsc = 0;
  u32 win = ~0u, h = 0, pm = 0;
  for(int i = 0; i < 8; i++) {
    u64 t0 = rdtsc();
    u32 h1 = hpet(HPET_COUNTER);
    u32 pm1 = inl(acpi.pm_timer) & PM_MASK;
    u64 d = rdtsc() - t0;
    if(d < win)
      tsc = t0, win = (u32)d, h = h1, pm = pm1;
  }
  TRACE(clock_sync, .pkt = 0, .sock = 0, .tsc = tsc, .win = win, .hpet = h, .pmt = pm);
}

static u32
cmos(u8 reg)
{
  outb(0x70, reg);
  u8 v = inb(0x71);
  return (v >> 4) * 10u + (v & 15); // BCD, as QEMU's clock keeps it
}

u32
rtc_seconds(void)
{
  return (cmos(4) * 60 + cmos(2)) * 60 + cmos(0);
}
