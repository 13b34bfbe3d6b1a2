// x86 instructions that C has no words for.
#ifndef X86_H
#define X86_H

#include "mmu.h"

// clang-format off
static inline u8   inb(u16 port) { u8 v; asm volatile("inb %1,%0" : "=a"(v) : "d"(port)); return v; }
static inline u16  inw(u16 port) { u16 v; asm volatile("inw %1,%0" : "=a"(v) : "d"(port)); return v; }
static inline u32  inl(u16 port) { u32 v; asm volatile("inl %1,%0" : "=a"(v) : "d"(port)); return v; }
static inline void outb(u16 port, u8 v)  { asm volatile("outb %0,%1" : : "a"(v), "d"(port)); }
static inline void outw(u16 port, u16 v) { asm volatile("outw %0,%1" : : "a"(v), "d"(port)); }
static inline void outl(u16 port, u32 v) { asm volatile("outl %0,%1" : : "a"(v), "d"(port)); }
static inline void insl(u16 port, void *p, u32 n)        { asm volatile("cld; rep insl" : "+D"(p), "+c"(n) : "d"(port) : "memory", "cc"); }
static inline void outsl(u16 port, const void *p, u32 n) { asm volatile("cld; rep outsl" : "+S"(p), "+c"(n) : "d"(port) : "memory", "cc"); }

// Registers of a device, in memory; the tests of drivers put a model in their place.
static inline u32  mmio_read(const volatile u32 *p)       { return *p; }
static inline void mmio_write(volatile u32 *p, u32 v)     { *p = v; }

static inline void cli(void)  { asm volatile("cli" : : : "memory"); }
static inline void sti(void)  { asm volatile("sti" : : : "memory"); }
static inline void hlt(void)  { asm volatile("hlt" : : : "memory"); }
static inline void sti_hlt(void) { asm volatile("sti; hlt" : : : "memory"); } // no interrupt between the two
static inline void pause(void)   { asm volatile("pause" : : : "memory"); }
static inline u32  readeflags(void) { u32 f; asm volatile("pushfl; popl %0" : "=r"(f)); return f; }

static inline u64  rdtsc(void) { u64 t; asm volatile("rdtsc" : "=A"(t) : : "memory"); return t; }

static inline u32  xchg(volatile u32 *p, u32 v) { asm volatile("lock; xchgl %0,%1" : "+m"(*p), "+r"(v) : : "memory", "cc"); return v; }
static inline u32  xadd(volatile u32 *p, u32 v) { asm volatile("lock; xaddl %1,%0" : "+m"(*p), "+r"(v) : : "memory", "cc"); return v; }

static inline u32  rcr0(void) { u32 v; asm volatile("movl %%cr0,%0" : "=r"(v)); return v; }
static inline u32  rcr2(void) { u32 v; asm volatile("movl %%cr2,%0" : "=r"(v)); return v; }
static inline u32  rcr3(void) { u32 v; asm volatile("movl %%cr3,%0" : "=r"(v)); return v; }
static inline u32  rcr4(void) { u32 v; asm volatile("movl %%cr4,%0" : "=r"(v)); return v; }
static inline void lcr0(u32 v) { asm volatile("movl %0,%%cr0" : : "r"(v) : "memory"); }
static inline void lcr3(u32 v) { asm volatile("movl %0,%%cr3" : : "r"(v) : "memory"); }
static inline void lcr4(u32 v) { asm volatile("movl %0,%%cr4" : : "r"(v) : "memory"); }
static inline void ldr0(u32 v) { asm volatile("movl %0,%%dr0" : : "r"(v) : "memory"); }
static inline void ldr7(u32 v) { asm volatile("movl %0,%%dr7" : : "r"(v) : "memory"); }
static inline void invlpg(u32 va) { asm volatile("invlpg (%0)" : : "r"(va) : "memory"); }
static inline void ltr(u16 sel)   { asm volatile("ltr %0" : : "r"(sel)); }
static inline void lldt(u16 sel)  { asm volatile("lldt %0" : : "r"(sel)); }
static inline u32  rebp(void) { u32 v; asm volatile("movl %%ebp,%0" : "=r"(v)); return v; }
// clang-format on

static inline void
lgdt(const void *p, u16 size)
{
  volatile u16 pd[3] = {(u16)(size - 1), (u16)(u32)p, (u16)((u32)p >> 16)};
  asm volatile("lgdt (%0)"
               :
               : "r"(pd)
               : "memory");
}

static inline void
lidt(const void *p, u16 size)
{
  volatile u16 pd[3] = {(u16)(size - 1), (u16)(u32)p, (u16)((u32)p >> 16)};
  asm volatile("lidt (%0)"
               :
               : "r"(pd)
               : "memory");
}

#define barrier() asm volatile("" \
                               : \
                               : \
                               : "memory")

// What trapentry.S leaves on the kernel stack.
struct trapframe {
  u32 edi, esi, ebp, oesp, ebx, edx, ecx, eax; // pusha
  u32 gs, fs, es, ds;
  u32 trapno;
  u32 err;
  u32 eip, cs, eflags;
  u32 esp, ss; // only when coming from user mode
};

#endif
