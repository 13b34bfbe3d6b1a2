// Entry from the multiboot loader: protected mode, paging off, interrupts off,
// eax = 0x2badb002, ebx = physical address of the info block.
// Maps RAM at 0 (until the jump) and at KERNBASE, then calls kmain(eax, ebx).
#include "mmu.h"
#include "uapi/memlayout.h"
#include "uapi/param.h"

#define MB_MAGIC 0x1badb002
#define MB_FLAGS 0x3 // modules on page boundaries, memory map wanted

  .section .multiboot, "a"
  .align 4
  .long MB_MAGIC, MB_FLAGS, -(MB_MAGIC + MB_FLAGS)

  .globl start_pa
  .set start_pa, V2P_WO(start)

  .text
  .globl start
start:
  movl $(V2P_WO(boot_pgdir)), %ecx
  movl %ecx, %cr3
  movl %cr4, %ecx
  orl $(CR4_PSE), %ecx
  movl %ecx, %cr4
  movl %cr0, %ecx
  orl $(CR0_PG | CR0_WP), %ecx
  movl %ecx, %cr0
  movl $(boot_stack + KSTACKSIZE), %esp
  movl $high, %ecx
  jmp *%ecx // from the identity map to the kernel's addresses
high:
  xorl %ebp, %ebp // backtraces end here
  pushl %ebx
  pushl %eax
  call kmain

  .section .data
  .align PGSIZE
  .globl boot_pgdir
boot_pgdir: // 4 MiB pages: the first one at 0, 1 GiB at KERNBASE
  .long PTE_P | PTE_W | PTE_PS
  .fill (KERNBASE >> 22) - 1, 4, 0
  .set pa, 0
  .rept PHYSTOP >> 22
  .long pa + (PTE_P | PTE_W | PTE_PS)
  .set pa, pa + SUPERPAGE
  .endr
  .fill 1024 - ((KERNBASE + PHYSTOP) >> 22), 4, 0

  .bss
  .align 16
boot_stack:
  .space KSTACKSIZE

  .section .note.GNU-stack, "", @progbits
