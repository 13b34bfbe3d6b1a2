// Function tracer: which functions of the network path a packet runs through, nested,
// and how long each took.
//
// kernel/net and lwIP are compiled with a 5-byte nop at each function's entry, and
// the nops' addresses (Makefile, FENTRY).  func_select makes some of them a call of
// func_entry: it emits `func`, notes the return address on the thread's shadow stack
// and puts func_return in its place; that emits `func_exit` with the exact time and
// goes on where the function was called from.  Off, nothing but the nops is left.
//
// A shadow stack belongs to a kernel stack, so it follows a thread that sleeps inside
// a function, and an interrupt nests like a call.  An entry whose place on the stack
// no longer holds func_return, or lies below the stack pointer, is that of a function
// that never returned: it is dropped.  When the shadow stack is full, or on a stack
// that is none of a thread's, there is a `func` and no `func_exit`.
//
// Not traced: what has no nop, so nothing of kernel/trace, traps, locks, the switch.
#include "defs.h"
#include "proc.h"
#include "trace/trace.h"
#include "uapi/memlayout.h"
#include "uapi/net.h"
#include "x86.h"

#define NSTACK (NPROC + NCPU)
#define DEPTH  40
#define SLOT   (2 * KSTACKSIZE) // ORDER vm.c

// A function that has been entered and not left.
struct frame {
  u32 at;  // where on the stack its return address lies
  u32 ret; // what lay there
  u32 fn;
  u64 tsc; // of its entry
};

// One per kernel stack; its thread's, interrupts off.
static struct shadow {
  u32 n;
  struct frame frame[DEPTH];
} shadows[NSTACK];

extern const u32 func_sites[], func_sites_end[]; // kernel.ld: nops at entries
extern char func_entry[], func_return[];

// Entered by the call at a function's entry: on the stack the address behind that
// call, then the function's own return address.  gcc passes arguments of static
// functions in registers, so all of them are kept.
// func_return: on the stack lies nothing of ours any more; the result may be in
// %eax and %edx.
asm(".text\n"
    ".globl func_entry\n"
    "func_entry:\n"
    "  pushal\n"
    "  leal 32(%esp), %eax\n"
    "  pushl %eax\n"
    "  call func_enter\n"
    "  addl $4, %esp\n"
    "  popal\n"
    "  ret\n"
    "func_traced:\n" // a debugger names a caller by the byte before the return address
    "  nop\n"
    ".globl func_return\n"
    "func_return:\n"
    "  pushl $func_return\n" // the address to go on at comes here; see left
    "  pushal\n"
    "  leal 32(%esp), %eax\n"
    "  pushl %eax\n"
    "  call func_leave\n"
    "  addl $4, %esp\n"
    "  movl %eax, 32(%esp)\n"
    "  popal\n"
    "  ret\n");

// The shadow stack of the kernel stack that at lies on, 0: it is no thread's.
static struct shadow *
shadow_at(u32 at)
{
  u32 i = (at - KSTACKS) / SLOT;
  return at >= KSTACKS && i < NSTACK ? &shadows[i] : 0;
}

// The packet this thread works on.
static u32
packet(void)
{
  struct proc *p = myproc();
  return p ? p->pkt : 0;
}

// Has the function of frame f been left, as seen from a deeper call whose return address
// lies at `at`?  Not yet if an interrupt came just before func_return's first instruction:
// then its flags lie in that place, and two words below it where it goes on.
static int
left(const struct frame *f, u32 at)
{
  const u32 *ret = (const u32 *)f->at;
  return f->at < at || (ret[0] != (u32)func_return && ret[-2] != (u32)func_return);
}

// The shadow stack of the kernel stack that the return address at ret lies on,
// without the frames of functions that never returned; 0: no thread's.
static struct shadow *
current(const u32 *ret)
{
  struct shadow *s = shadow_at((u32)ret);
  while(s && s->n && left(&s->frame[s->n - 1], (u32)ret))
    s->n--;
  return s;
}

// The true return address of a function's frame, for all who ask a frame.
// ret: where it lies.  A function that ends by a jump to another leaves it two notes.
u32
func_caller(const u32 *ret)
{
  const struct shadow *s = shadow_at((u32)ret);
  u32 caller = *ret;
  for(u32 i = s ? s->n : 0; caller == (u32)func_return && i-- > 0;)
    if(s->frame[i].at == (u32)ret)
      caller = s->frame[i].ret;
  return caller;
}

// From func_entry.  stack: the address behind the call, then the return address.
void func_enter(u32 *stack);
void
func_enter(u32 *stack)
{
  u32 state = readeflags() & FL_IF, fn = stack[0] - PATCH_SIZE, *ret = &stack[1];
  cli();
  struct shadow *s = current(ret);
  u32 caller = func_caller(ret), depth = s && s->n < DEPTH ? s->n + 1 : 0;
  TRACE(func, .pkt = packet(), .sock = 0, .fn = fn, .caller = caller, .esp = (u32)ret, .depth = (u16)depth);
  if(depth) {
    s->frame[s->n++] = (struct frame){.at = (u32)ret, .ret = *ret, .fn = fn, .tsc = rdtsc()};
    *ret = (u32)func_return;
  }
  trace_restore(state);
}

// From func_return.  stack: where the return address will be put; the function's own
// lay there, or a word below if it also took an argument off.
// Returns the address to go on at.
u32 func_leave(const u32 *stack);
u32
func_leave(const u32 *stack)
{
  u32 state = readeflags() & FL_IF;
  cli();
  u64 now = rdtsc();
  struct shadow *s = shadow_at((u32)stack);
  while(s->n && s->frame[s->n - 1].at < (u32)(stack - 1))
    s->n--;
  if(s->n == 0)
    panic("func: a return to nowhere");
  const struct frame *f = &s->frame[--s->n];
  u32 ret = f->ret;
  TRACE(func_exit, .pkt = packet(), .sock = 0, .fn = f->fn, .depth = (u16)(s->n + 1), .dur_tsc = now - f->tsc);
  trace_restore(state);
  return ret;
}

// ---- which functions ------------------------------------------------------------

// Is one of the patterns, which commas separate, the name of the function at fn?
static int
wanted(const char *pat, u32 fn)
{
  u32 off;
  const char *name = symname(fn, &off);
  for(;;) {
    u32 n = 0;
    while(pat[n] && pat[n] != ',')
      n++;
    if(off == 0 && trace_glob(pat, n, name))
      return 1;
    if(pat[n] == 0)
      return 0;
    pat += n + 1;
  }
}

// How many functions does the first pattern name?
static u32
count(const char *pat, u32 n)
{
  u32 found = 0, off;
  for(const u32 *f = func_sites; f < func_sites_end; f++) {
    const char *name = symname(*f, &off);
    found += off == 0 && trace_glob(pat, n, name);
  }
  return found;
}

// Does each pattern name a function?
static int
all_known(const char *pat)
{
  for(;;) {
    u32 n = 0;
    while(pat[n] && pat[n] != ',')
      n++;
    if(count(pat, n) == 0)
      return 0;
    if(pat[n] == 0)
      return 1;
    pat += n + 1;
  }
}

// Trace exactly the functions that pat names: names with *, commas between; "off":
// none.  Returns 0; -ENOENT if a pattern names none that can be traced, -EOPNOTSUPP if
// this kernel has no nops: nothing has changed then.  Context: as patch_begin.
int
func_select(const char *pat)
{
  int off = strcmp(pat, "off") == 0;
  if(&func_sites[0] == &func_sites_end[0])
    return off ? 0 : -EOPNOTSUPP;
  if(!off && !all_known(pat))
    return -ENOENT;
  patch_begin();
  for(const u32 *f = func_sites; f < func_sites_end; f++)
    patch_code(*f, PATCH_CALL, !off && wanted(pat, *f) ? (u32)func_entry : 0);
  patch_end();
  return 0;
}

// ---- names ------------------------------------------------------------------------

// Lines "ADDRESS NAME" of all functions of the kernel, by address: how a program
// reads an address of `func`.  Bytes from off on, at most n; returns how many.
int
func_names(u32 off, char *dst, int n)
{
  char line[80];
  int got = 0;
  const char *name;
  for(u32 i = 0, addr; got < n && (name = symbol(i, &addr)) != 0; i++) {
    u32 len = (u32)ksnprintf(line, sizeof(line), "%x %s\n", addr, name);
    for(; off < len && got < n; off++)
      dst[got++] = line[off];
    off = off < len ? off : off - len;
  }
  return got;
}
