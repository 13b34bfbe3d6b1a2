// What the x86 MMU and segmentation define.  Intel SDM, volume 3.
#ifndef MMU_H
#define MMU_H

#define PGSIZE    4096
#define SUPERPAGE 0x400000

#define PDX(va)        (((u32)(va)) >> 22)
#define PTX(va)        ((((u32)(va)) >> 12) & 0x3ff)
#define PGROUNDUP(a)   (((u32)(a) + PGSIZE - 1) & ~(PGSIZE - 1))
#define PGROUNDDOWN(a) ((u32)(a) & ~(PGSIZE - 1))
#define PTE_ADDR(pte)  ((u32)(pte) & ~0xfff)
#define PTE_FLAGS(pte) ((u32)(pte)&0xfff)

#define PTE_P   0x001 // present
#define PTE_W   0x002 // writable
#define PTE_U   0x004 // user
#define PTE_PWT 0x008 // write through
#define PTE_PCD 0x010 // not cached
#define PTE_PS  0x080 // 4 MiB page
#define PTE_G   0x100 // global: survives a CR3 load

#define CR0_PE      0x00000001 // protected mode
#define CR0_MP      0x00000002 // with TS: wait faults too
#define CR0_EM      0x00000004 // no FPU: float instructions fault
#define CR0_WP      0x00010000 // the kernel obeys read-only pages
#define CR0_NOCACHE 0x60000000 // CD, NW: caches off
#define CR0_PG      0x80000000 // paging
#define CR4_PSE     0x00000010 // 4 MiB pages
#define CR4_PGE     0x00000080 // global pages

#define FL_IF 0x00000200 // interrupts on

// Segments, as indices of the GDT; a selector is index << 3 | privilege.
#define SEG_KCODE 1
#define SEG_KDATA 2
#define SEG_UCODE 3
#define SEG_UDATA 4
#define SEG_KCPU  5 // base: this CPU's struct cpu
#define SEG_TSS   6
#define SEG_DFTSS 7 // task of the double fault
#define NSEGS     8

#define DPL_USER 3

#ifndef __ASSEMBLER__
#include "uapi/types.h"

typedef u32 pte_t;

struct taskstate {
  u32 link;
  u32 esp0; // stack on entry from user mode
  u32 ss0;
  u32 esp1, ss1, esp2, ss2;
  u32 cr3, eip, eflags;
  u32 eax, ecx, edx, ebx, esp, ebp, esi, edi;
  u32 es, cs, ss, ds, fs, gs, ldt;
  u16 trap, iomb; // iomb past the limit: no I/O port allowed
};
_Static_assert(sizeof(struct taskstate) == 104, "task state segment");
#endif

#endif
