// The end: panic, backtraces with names, and how QEMU is told to stop.
//
// The first CPU to panic freezes the trace ring and prints, taking no lock;
// the others stop when they next spin or tick.  The ring stays readable in the
// RAM file.
#include "defs.h"
#include "proc.h"
#include "spinlock.h"
#include "trace/trace.h"
#include "uapi/nettrace.h"
#include "uapi/memlayout.h"
#include "uapi/traps.h"
#include "x86.h"
#include <stdarg.h>

#define DEBUG_EXIT 0xf4 // isa-debug-exit
#define PANIC_CODE 0x11 // QEMU's status 35
#define FRAMES     20

volatile u32 panicked; // 1 + the id of the CPU that panicked

// Where that CPU was: QEMU takes its registers with it, tools/gdb/core finds them here.
// eip 0: nobody has panicked.
static struct trapframe panic_frame __attribute__((used));

// The symbol table: made by tools/kallsyms from the first link, sorted by
// address, placed last so that nothing before it moves.
extern const struct {
  u32 n;
  struct {
    u32 addr, name; // offset into names, which follow the last entry
  } sym[];
} _kallsyms;

const char *
symname(u32 pc, u32 *off)
{
  const char *names = (const char *)&_kallsyms.sym[_kallsyms.n];
  u32 lo = 0, hi = _kallsyms.n;
  *off = 0;
  if(hi == 0 || pc < _kallsyms.sym[0].addr || pc >= (u32)_text_end)
    return "?";
  while(hi - lo > 1) {
    u32 mid = (lo + hi) / 2;
    if(_kallsyms.sym[mid].addr <= pc)
      lo = mid;
    else
      hi = mid;
  }
  *off = pc - _kallsyms.sym[lo].addr;
  return names + _kallsyms.sym[lo].name;
}

// Entry i of the table, by address; 0: there are fewer.
const char *
symbol(u32 i, u32 *addr)
{
  if(i >= _kallsyms.n)
    return 0;
  *addr = _kallsyms.sym[i].addr;
  return (const char *)&_kallsyms.sym[_kallsyms.n] + _kallsyms.sym[i].name;
}

static void
print_pc(u32 pc)
{
  u32 off;
  const char *name = symname(pc, &off);
  cprintf("  0x%x %s+0x%x\n", pc, name, off);
}

// Kernel memory that a frame pointer may point to.
static int
is_stack(u32 p)
{
  return p % 4 == 0 && ((p >= KERNBASE && p < KERNBASE + bootinfo.ram_end) || (p >= KSTACKS && p < DEVSPACE));
}

// Return addresses from the frame at ebp up, at most n; how many.
static int
walk_frames(u32 ebp, u32 *pcs, int n)
{
  int i = 0;
  while(i < n && is_stack(ebp) && is_stack(ebp + 4)) {
    const u32 *frame = (const u32 *)ebp;
    // A hole below a kernel stack would fault: frames only ever go up.
    if(frame[0] != 0 && frame[0] <= ebp)
      break;
    pcs[i++] = func_caller(&frame[1]);
    ebp = frame[0];
  }
  return i;
}

static void
backtrace(u32 ebp)
{
  static u32 pcs[FRAMES];
  int n = walk_frames(ebp, pcs, FRAMES);
  for(int i = 0; i < n; i++)
    print_pc(pcs[i]);
}

// Who called the caller, for later: BACKTRACE words, the rest 0.
void
backtrace_take(u32 *pcs)
{
  memset(pcs, 0, BACKTRACE * sizeof(*pcs));
  walk_frames(rebp(), pcs, BACKTRACE);
}

void
backtrace_print(const u32 *pcs)
{
  for(int i = 0; i < BACKTRACE && pcs[i]; i++)
    print_pc(pcs[i]);
}

void
machine_off(u32 code)
{
  cli();
  outl(DEBUG_EXIT, code);
  // Without that device the store does nothing: ACPI S5.  Sleep type 0 is
  // what QEMU's _S5_ object names.
  if(acpi.pm1a_cnt)
    outw(acpi.pm1a_cnt, 0x2000);
  for(;;)
    hlt();
}

void
panic_check(void)
{
  if(panicked && panicked != mycpu()->id + 1)
    for(;;) {
      cli();
      hlt();
    }
}

static void
begin(const char *words)
{
  cli();
  struct cpu *c = mycpu();
  if(xchg(&panicked, panicked ? panicked : c->id + 1) == c->id + 1)
    machine_off(PANIC_CODE); // a panic within the panic
  panic_check();
  TRACE_TEXT(mark, words, .pkt = 0, .sock = 0);
  trace_freeze(NT_PANICKED);
  struct proc *p = c->proc;
  cprintf("panic: cpu %u pid %d %s: %s\n", c->id, p ? p->pid : 0, p ? p->name : "idle", words);
}

static void
end(void)
{
  const char *what = opt_str("panic");
  if(what && strcmp(what, "halt") == 0)
    for(;;)
      hlt();
  machine_off(PANIC_CODE);
}

static void panic_words(u32 ebp, void (*tell)(void), const char *f, va_list ap) __attribute__((noreturn));
static void
panic_words(u32 ebp, void (*tell)(void), const char *f, va_list ap)
{
  static char words[NCPU][128];
  cli();
  char *mine = words[mycpu()->id];
  kvsnprintf(mine, sizeof(words[0]), f, ap);
  begin(mine);
  const u32 *frame = (const u32 *)ebp; // panic's: its caller is what is wanted, at the call
  panic_frame = (struct trapframe){.eip = func_caller(&frame[1]) - 1, .ebp = frame[0], .esp = ebp + 8};
  backtrace(ebp);
  if(tell)
    tell();
  end();
  __builtin_unreachable();
}

// Our own invariant is broken.  Never for what a packet, a program or a device
// did.  Any context.
void
panic(const char *f, ...)
{
  va_list ap;
  va_start(ap, f);
  panic_words(rebp(), 0, f, ap);
}

// The same, and tell prints more.
void
panic_tell(void (*tell)(void), const char *f, ...)
{
  va_list ap;
  va_start(ap, f);
  panic_words(rebp(), tell, f, ap);
}

void
panic_trap(struct trapframe *tf, const char *why)
{
  begin(why);
  panic_frame = *tf;
  if(tf->trapno != T_DBLFLT) // the CPU has not stored it
    panic_frame.esp = (u32)&tf->esp;
  cprintf("trap %u err 0x%x eip 0x%x cr2 0x%x eflags 0x%x\n", tf->trapno, tf->err, tf->eip, rcr2(), tf->eflags);
  cprintf("eax %x ebx %x ecx %x edx %x esi %x edi %x ebp %x\n", tf->eax, tf->ebx, tf->ecx, tf->edx, tf->esi,
          tf->edi, tf->ebp);
  print_pc(tf->eip);
  backtrace(tf->ebp);
  end();
  __builtin_unreachable();
}
