// From the boot loader to the scheduler.
//
// The order matters in three places: mycpu() works after cpu_init; the card's
// receive control is written as early as can be, because QEMU then holds
// frames back for a second (net/e1000.c); interrupts come on last, in the
// scheduler.
#include "defs.h"
#include "debug.h"
#include "proc.h"
#include "trace/trace.h"
#include "uapi/memlayout.h"
#include "x86.h"

#define MULTIBOOT  0x2badb002 // what the loader leaves in eax
#define MB_CMDLINE (1 << 2)
#define MB_MODULES (1 << 3)
#define MB_MEMMAP  (1 << 6)

// What the loader hands over, Multiboot specification 0.6.96, 3.3.
struct mb_info {
  u32 flags;
  u32 mem_lower, mem_upper;
  u32 boot_device;
  u32 cmdline;
  u32 nmods, mods;
  u32 syms[4];
  u32 mmap_len, mmap;
};

struct mb_module {
  u32 start, end, string, reserved;
};

struct mb_region {
  u32 size; // of the rest
  u64 addr, len;
  u32 type; // 1: RAM
} __attribute__((packed));

struct bootinfo bootinfo;

// End of the RAM that begins at EXTMEM.
static u32
ram_end(const struct mb_info *mb)
{
  u32 off = 0;
  while(off < mb->mmap_len) {
    const struct mb_region *r = P2V(mb->mmap + off);
    if(r->type == 1 && r->addr <= EXTMEM && r->addr + r->len > EXTMEM)
      return r->addr + r->len > PHYSTOP ? PHYSTOP : (u32)(r->addr + r->len);
    off += r->size + sizeof(r->size);
  }
  return 0;
}

// Copy all of it: it lies where the page allocator will begin.
static void
copy_bootinfo(u32 magic, u32 info)
{
  const struct mb_info *mb = P2V(info);
  if(magic != MULTIBOOT || !(mb->flags & MB_MEMMAP))
    panic("boot: not started by a multiboot loader with a memory map");
  if(mb->flags & MB_CMDLINE)
    safestrcpy(bootinfo.cmdline, P2V(mb->cmdline), sizeof(bootinfo.cmdline));
  if((mb->flags & MB_MODULES) && mb->nmods > 0) {
    const struct mb_module *m = P2V(mb->mods);
    bootinfo.mod_start = m->start;
    bootinfo.mod_end = m->end;
  }
  bootinfo.ram_end = ram_end(mb);
}

// The boot stack has no guard page and no owner: leave it.
static void
enter_scheduler(void)
{
  char *top = kstack_of(NPROC) + KSTACKSIZE;
  asm volatile("movl %0,%%esp; xorl %%ebp,%%ebp; call scheduler"
               :
               : "r"(top)
               : "memory");
  __builtin_unreachable();
}

u64 entry_tsc; // tools/bench reads it from outside

void kmain(u32 magic, u32 info);
void
kmain(u32 magic, u32 info)
{
  entry_tsc = rdtsc();
  cpu_init(&cpus[0], 0);
  uart_init();
  copy_bootinfo(magic, info);
  kvm_init();
  opts_init();
  stack_guard_init();
  console_init();
  vga_init();
  cprintf("xv6-nettrace\n");
  acpi_init();
  trace_init();
  kalloc_init();
  e1000_init();
  ioapic_init();
  clock_init();
  clock_sync();
  lapic_init();
  idt_init();
  proc_init();
  poll_init();
  binit();
  fileinit();
  disk_init();
  console_start();
  devtrace_init();
  memdev_init();
  user_init(); // first of all processes: pid 1
  net_init();
  cpu_start_others();
  enter_scheduler();
}
