// Each CPU's own tables, and how the others are started and poked.
//
// %gs holds a segment whose base is this CPU's struct cpu; trapentry.S loads it
// at each entry from user mode, so mycpu() is one load.
#include "defs.h"
#include "proc.h"
#include "trace/trace.h"
#include "x86.h"
#include "uapi/memlayout.h"
#include "uapi/traps.h"

#define AP_CODE 0x7000 // ORDER AP_CODE (apboot.S)

struct cpu cpus[NCPU];
int ncpu = 1;

static char df_stack[NCPU][PGSIZE] __attribute__((aligned(16)));

// A descriptor of 4 KiB granularity from 0 to 4 GiB, or of bytes for a system
// segment.  type: SDM volume 3, tables 3-1 and 3-2.
static u64
flat(u32 type, u32 dpl)
{
  return 0x00cf90000000ffffull | (u64)type << 40 | (u64)dpl << 45;
}

static u64
segment(u32 base, u32 limit, u32 type, int system)
{
  u64 d = limit | (u64)(base & 0xffffff) << 16 | (u64)(base >> 24) << 56;
  return d | (u64)type << 40 | 0x0000800000000000ull | (system ? 0 : 0x0040100000000000ull);
}

// The double-fault task: a stack of its own, the kernel's page directory.
static void
init_df(struct cpu *c)
{
  extern void df_entry(void);
  c->df = (struct taskstate){
    .cr3 = V2P(kpgdir),
    .eip = (u32)df_entry,
    .esp = (u32)df_stack[c->id] + PGSIZE,
    .eflags = 2, // the bit that is always 1; interrupts off
    .cs = SEG_KCODE << 3,
    .ss = SEG_KDATA << 3,
    .ds = SEG_KDATA << 3,
    .es = SEG_KDATA << 3,
    .gs = SEG_KCPU << 3,
    .iomb = sizeof(struct taskstate),
  };
}

// Context: the CPU itself, interrupts off, before anything asks for mycpu().
void
cpu_init(struct cpu *c, u32 id)
{
  c->self = c;
  c->id = id;
  c->trace = &nt_page.cpu[id];
  c->trace_tag = 1 << 24 | id << 16;
  c->pgdir = kpgdir;
  c->ts.ss0 = SEG_KDATA << 3;
  c->ts.iomb = sizeof(struct taskstate);
  c->gdt[SEG_KCODE] = flat(0xa, 0);
  c->gdt[SEG_KDATA] = flat(0x2, 0);
  c->gdt[SEG_UCODE] = flat(0xa, DPL_USER);
  c->gdt[SEG_UDATA] = flat(0x2, DPL_USER);
  c->gdt[SEG_KCPU] = segment((u32)c, sizeof(*c) - 1, 0x2, 0);
  c->gdt[SEG_TSS] = segment((u32)&c->ts, sizeof(c->ts) - 1, 0x9, 1);
  c->gdt[SEG_DFTSS] = segment((u32)&c->df, sizeof(c->df) - 1, 0x9, 1);
  init_df(c);
  lgdt(c->gdt, sizeof(c->gdt));
  // clang-format off
  asm volatile("ljmp %0,$1f; 1:" : : "i"(SEG_KCODE << 3));
  asm volatile("movw %w0,%%ds; movw %w0,%%es; movw %w0,%%ss; movw %w0,%%fs" : : "r"(SEG_KDATA << 3));
  asm volatile("movw %w0,%%gs" : : "r"(SEG_KCPU << 3) : "memory");
  // clang-format on
  ltr(SEG_TSS << 3);
  lldt(0); // after a reset it lies at 0, where a program could have its page
  // No FPU state is kept: a float instruction faults and ends the program.
  lcr0((rcr0() | CR0_EM | CR0_WP) & ~CR0_MP);
}

// A started CPU comes here from apboot.S, on its scheduler's stack.
static void
ap_main(void)
{
  u32 id = 0;
  while(cpus[id].started != 1) // the one that is being started
    id++;
  kvm_load();
  cpu_init(&cpus[id], id);
  idt_load();
  lapic_init();
  cpus[id].apicid = lapic_id(); // a late CPU may have taken the seat of the next
  trace_cpu(id);
  cpus[id].started = 2;
  scheduler();
}

// Start a CPU and wait up to 2 s for it: on a busy host, an emulated one may take long.
// Returns 0 if it has not come; should it come later, it finds its seat taken away.
static int
start_one(u32 id)
{
  extern char ap_start[], ap_end[];
  extern pde_t boot_pgdir[]; // boot.S: the one that also maps AP_CODE at its physical address
  boot_pgdir[PDX(KSTACKS)] = kpgdir[PDX(KSTACKS)];
  char *code = P2V(AP_CODE);
  memmove(code, ap_start, ap_end - ap_start);
  *(u32 *)(code - 4) = (u32)kstack_of(NPROC + id) + KSTACKSIZE;
  *(u32 *)(code - 8) = (u32)ap_main;
  volatile u32 *seat = (u32 *)(code - 12);
  cpus[id].started = 1;
  *seat = 1;
  lapic_startap(cpus[id].apicid, AP_CODE);
  for(int ms = 0; ms < 2000 && *seat; ms++)
    delay_us(1000);
  if(xchg(seat, 0) == 1)
    return 0;
  while(cpus[id].started != 2) // it is on its way
    pause();
  return 1;
}

// Start the CPUs that ACPI listed, one after the other.  One that does not
// answer is named and left out.
void
cpu_start_others(void)
{
  u32 want = acpi.ncpu;
  u32 limit;
  if(opt_num("ncpu", &limit) && limit >= 1 && limit < want)
    want = limit;
  cpus[0].started = 2;
  cpus[0].apicid = lapic_id();
  for(u32 i = 0; i < acpi.ncpu && (u32)ncpu < want; i++) {
    if(acpi.apicid[i] == cpus[0].apicid)
      continue;
    cpus[ncpu].apicid = acpi.apicid[i];
    if(!start_one(ncpu)) {
      cprintf("cpu: the one with APIC id %u does not answer, left out\n", acpi.apicid[i]);
      cpus[ncpu].started = 0;
      continue;
    }
    ncpu++;
  }
}

// Ask one idle CPU to look for work; 0 if there is none.  Context: ptable.lock held, so that a CPU
// that is just going idle has said so.
int
cpu_kick_idle(void)
{
  for(int i = 0; i < ncpu; i++) {
    struct cpu *c = &cpus[i];
    if(!c->idle || c == mycpu())
      continue;
    c->idle = 0; // the next kick goes to another
    lapic_ipi(c->apicid, T_IRQ0 + IRQ_WAKE);
    return 1;
  }
  return 0;
}

// A CPU keeps a process's page directory in CR3 while it idles or runs kernel
// threads: reloading costs more than the thread itself.  Before a directory
// is freed nobody may have it: the others are asked by IPI (trap.c answers).
// Context: thread, interrupts on, no spinlock held.
void
cpu_forget_pgdir(pde_t *dir)
{
  pushcli();
  struct cpu *me = mycpu();
  if(me->pgdir == dir)
    cpu_drop_pgdir();
  popcli();
  for(int i = 0; i < ncpu; i++) {
    if(cpus[i].pgdir != dir)
      continue;
    cpus[i].forget = 1;
    lapic_ipi(cpus[i].apicid, T_IRQ0 + IRQ_WAKE);
    while(cpus[i].pgdir == dir)
      pause();
  }
}

// This CPU lets go of a page directory that the process here does not need.
// Context: interrupts off.
void
cpu_drop_pgdir(void)
{
  struct cpu *c = mycpu();
  c->forget = 0;
  if(c->proc && c->proc->pgdir == c->pgdir)
    return;
  c->pgdir = kpgdir;
  lcr3(V2P(kpgdir));
}
