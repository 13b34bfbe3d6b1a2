// Where the other CPUs start: real mode, at physical AP_CODE (cpu.c copies the
// code there).  The words before AP_CODE are filled in by cpu.c:
//   AP_CODE - 4: stack,  AP_CODE - 8: C function to call,  AP_CODE - 12: 1 while a seat is
//   free.  Who takes the 1 away has the stack; a CPU that comes when nobody waits any
//   more finds 0 and stays here.
#include "mmu.h"
#include "uapi/memlayout.h"

#define AP_CODE 0x7000 // ORDER AP_CODE (cpu.c)

// An address of this file, where the copy stands.
#define AT(label) (AP_CODE + label - ap_start)

  .text
  .code16
  .globl ap_start
ap_start:
  cli
  xorw %ax, %ax
  movw %ax, %ds
  lgdtl AT(ap_gdtdesc)
  movl %cr0, %eax
  orl $(CR0_PE), %eax
  movl %eax, %cr0
  ljmpl $(SEG_KCODE << 3), $(AT(ap_32))

  .code32
ap_32:
  movw $(SEG_KDATA << 3), %ax
  movw %ax, %ds
  movw %ax, %es
  movw %ax, %ss
  movl $(V2P_WO(boot_pgdir)), %eax
  movl %eax, %cr3
  movl %cr4, %eax
  orl $(CR4_PSE), %eax
  movl %eax, %cr4
  movl %cr0, %eax
  andl $(~CR0_NOCACHE), %eax // set after INIT
  orl $(CR0_PG | CR0_WP), %eax
  movl %eax, %cr0
  xorl %eax, %eax
  xchgl %eax, (AP_CODE - 12)
  testl %eax, %eax
  jz ap_late
  movl (AP_CODE - 4), %esp
  xorl %ebp, %ebp
  call *(AP_CODE - 8)
ap_late:
  hlt
  jmp ap_late

  .align 8
ap_gdt:
  .quad 0
  .quad 0x00cf9a000000ffff // code, flat
  .quad 0x00cf92000000ffff // data, flat
ap_gdtdesc:
  .word . - ap_gdt - 1
  .long AT(ap_gdt)

  .globl ap_end
ap_end:

  .section .note.GNU-stack, "", @progbits
