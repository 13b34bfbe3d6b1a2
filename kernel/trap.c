// Every trap and interrupt, after trapentry.S: system calls, the timer,
// devices, faults.
//
// Gates keep interrupts off, except the system call's.  An interrupt handler
// acknowledges, wakes somebody and returns; the CPU is given away here, at the
// interrupt's end.
#include "defs.h"
#include "debug.h"
#include "proc.h"
#include "spinlock.h"
#include "trace/trace.h"
#include "uapi/traps.h"
#include "x86.h"

extern u32 vectors[256]; // trapentry.S

static u64 idt[256];
volatile u32 ticks;
struct spinlock tickslock;

#define GATE_INT  0xe // 32-bit, interrupts off
#define GATE_TRAP 0xf // 32-bit, interrupts as they were
#define GATE_TASK 0x5

// dpl: who may use it with int.  SDM volume 3, figure 6-2.
static u64
gate(u32 type, u16 sel, u32 off, u32 dpl)
{
  u64 d = (u64)(off & 0xffff) | (u64)sel << 16 | (u64)(off >> 16) << 48;
  return d | (u64)(0x80 | dpl << 5 | type) << 40;
}

// The table all CPUs share.
void
idt_init(void)
{
  for(u32 i = 0; i < 256; i++)
    idt[i] = gate(GATE_INT, SEG_KCODE << 3, vectors[i], 0);
  idt[T_SYSCALL] = gate(GATE_TRAP, SEG_KCODE << 3, vectors[T_SYSCALL], DPL_USER);
  idt[T_DBLFLT] = gate(GATE_TASK, SEG_DFTSS << 3, 0, 0);
  initlock(&tickslock, "time");
  tickslock.why = SLEEPWHY_TIME;
  idt_load();
}

void
idt_load(void)
{
  lidt(idt, sizeof(idt));
}

u32
uptime_ticks(void)
{
  return ticks;
}

static int
from_user(const struct trapframe *tf)
{
  return (tf->cs & 3) == DPL_USER;
}

// Every 10 ms on each CPU.
static void
timer(struct cpu *c)
{
  panic_check();
  trace_tick();
  if(c->proc)
    proc_caught(c->proc);
  c->need_resched = 1;
  if(c->id != 0)
    return;
  ticks++;
  proc_tick(now_ns());
  devtrace_tick();
  console_tick();
  if(ticks % 100 == 0 || (ticks < 200 && ticks % 20 == 0)) // more while the PM timer has not wrapped
    clock_sync();
}

static void
device(struct trapframe *tf)
{
  struct cpu *c = mycpu();
  switch(tf->trapno) {
  case T_IRQ0 + IRQ_TIMER:
    timer(c);
    break;
  case T_IRQ0 + IRQ_KBD:
    kbd_intr();
    break;
  case T_IRQ0 + IRQ_COM1:
    uart_intr();
    break;
  case T_IRQ0 + IRQ_IDE:
    disk_intr();
    break;
  case T_IRQ0 + IRQ_WAKE:
    if(c->forget)
      cpu_drop_pgdir();
    patch_park();
    break;
  case T_IRQ0 + IRQ_SPURIOUS:
    return; // no end of interrupt for this one, SDM
  default:
    e1000_intr(tf->trapno - T_IRQ0); // PCI: whatever line the firmware chose
    break;
  }
  lapic_eoi();
}

// What the trace says about events emitted from here on.
static u8
enter_context(struct cpu *c, u32 trapno)
{
  u8 old = c->trace_ctx;
  if(old != NT_CTX_THREAD && old != NT_CTX_NETD)
    c->trace_ctx = NT_CTX_NESTED;
  else
    c->trace_ctx = trapno == T_IRQ0 + IRQ_TIMER ? NT_CTX_TIMER : NT_CTX_INTR;
  return old;
}

static void
interrupt(struct trapframe *tf)
{
  struct cpu *c = mycpu();
  u8 old = enter_context(c, tf->trapno), vec = (u8)tf->trapno, irq = (u8)(tf->trapno - T_IRQ0);
  u64 since = TRACING(irq_exit) ? rdtsc() : 0;
  TRACE(irq_entry, .pkt = 0, .sock = 0, .vec = vec, .irq = irq, .depth = c->trace_ctx == NT_CTX_NESTED ? 2 : 1,
        .eip = tf->eip);
  device(tf);
  if(since)
    TRACE(irq_exit, .pkt = 0, .sock = 0, .vec = vec, .irq = irq, .dur_us = us_since(since));
  c->trace_ctx = old;
}

// A program did what the CPU refuses: it ends, with one line.
static void
user_fault(struct trapframe *tf)
{
  struct proc *p = myproc();
  cprintf("pid %d %s: trap %u err %u on cpu %u eip 0x%x addr 0x%x--kill proc%s\n", p->pid, p->name, tf->trapno,
          tf->err, mycpu()->id, tf->eip, tf->trapno == T_PGFLT ? rcr2() : 0,
          tf->trapno == T_DEVICE ? ": no floating point here" : "");
  p->killed = 1;
}

static void
system_call(struct trapframe *tf)
{
  struct proc *p = myproc();
  p->tf = tf;
  if(!p->killed)
    syscall(tf);
  lock_none();
}

// From trapentry.S.
void trap(struct trapframe *);
void
trap(struct trapframe *tf)
{
  if(tf->trapno == T_DEBUG && !from_user(tf) && trace_stop_trap(tf->eip))
    return; // in the middle of an emit: nothing more may happen here
  if(tf->trapno == T_SYSCALL)
    system_call(tf);
  else if(tf->trapno >= T_IRQ0)
    interrupt(tf);
  else if(from_user(tf))
    user_fault(tf);
  else
    panic_trap(tf, "fault in the kernel");

  // An interrupt of the idle loop returns to the scheduler, which looks for
  // work.  Interrupted kernel code holds no spinlock (they keep interrupts
  // off), so it may lose its CPU.
  struct proc *p = myproc();
  if(p == 0)
    return;
  if(p->killed && from_user(tf))
    exit_status(-1);
  if(mycpu()->need_resched)
    yield();
  if(p->killed && from_user(tf)) // killed meanwhile
    exit_status(-1);
}

// On the double-fault task's stack; the interrupted task's registers are in
// its TSS.  By far the usual reason is a kernel stack that is full.
void double_fault(void);
void
double_fault(void)
{
  struct taskstate *ts = &mycpu()->ts;
  struct trapframe tf = {
    .trapno = T_DBLFLT,
    .eip = ts->eip,
    .esp = ts->esp,
    .ebp = ts->ebp,
    .eax = ts->eax,
    .ebx = ts->ebx,
    .ecx = ts->ecx,
    .edx = ts->edx,
    .esi = ts->esi,
    .edi = ts->edi,
    .eflags = ts->eflags,
    .cs = ts->cs,
  };
  struct proc *p = myproc();
  int full = p && ts->esp - (u32)p->kstack - 4 >= KSTACKSIZE; // 4: a push that found no room has not moved it
  panic_trap(&tf, full ? "kernel stack overflow" : "double fault");
}
