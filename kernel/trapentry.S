// Entry of every trap and interrupt: 256 stubs, one common path to trap().
// A stub leaves an error code (0 if the CPU gave none) and its number on the
// stack; the common path completes struct trapframe (x86.h).
//
// The .cfi lines tell a debugger where the interrupted registers lie, so that its
// backtrace goes on where the CPU was.
#include "mmu.h"

  .cfi_sections .debug_frame

// DWARF: register reg of who was interrupted lies at %esp + off.
  .macro cfi_saved reg, off
  .cfi_escape 0x10, \reg, 2, 0x74, \off // DW_CFA_expression reg: DW_OP_breg4 off
  .endm

// Its stack pointer: the CPU has stored that of a program, at %esp + 72; kernel code's is that place.
  .macro cfi_saved_esp
  .cfi_escape 0x0f, 16, 0x74, 0xc8, 0 // DW_CFA_def_cfa_expression: DW_OP_breg4 72
  .cfi_escape 0x12, 0x38, 0x1c, 0x06  // dup, lit8, minus, deref: cs
  .cfi_escape 0x33, 0x1a              // lit3, and: its privilege
  .cfi_escape 0x28, 3, 0, 0x2f, 1, 0  // bra to the deref, skip it
  .cfi_escape 0x06                    // deref
  .endm

  .text
  .altmacro
  .macro stub n
vector\n:
  .if (\n != 8) && ((\n < 10) || (\n > 14)) && (\n != 17)
  pushl $0
  .endif
  pushl $\n
  jmp alltraps
  .endm

  .macro entry n
  .long vector\n
  .endm

  .set i, 0
  .rept 256
  stub %i
  .set i, i + 1
  .endr

  .section .rodata
  .globl vectors
vectors:
  .set i, 0
  .rept 256
  entry %i
  .set i, i + 1
  .endr

  .text
  .globl alltraps
alltraps:
  .cfi_startproc simple
  .cfi_signal_frame
  .cfi_def_cfa %esp, 20
  .cfi_offset %eip, -12
  pushl %ds
  pushl %es
  pushl %fs
  pushl %gs
  .cfi_def_cfa_offset 36
  pushal
  .cfi_def_cfa_offset 68
  movl $(SEG_KDATA << 3), %eax
  movl %eax, %ds
  movl %eax, %es
  movl $(SEG_KCPU << 3), %eax
  movl %eax, %gs
  cld
  pushl %esp
  .cfi_remember_state
  cfi_saved_esp
  cfi_saved 0, 32 // eax
  cfi_saved 1, 28 // ecx
  cfi_saved 2, 24 // edx
  cfi_saved 3, 20 // ebx
  cfi_saved 5, 12 // ebp
  cfi_saved 6, 8  // esi
  cfi_saved 7, 4  // edi
  cfi_saved 8, 60 // eip
  call trap
  addl $4, %esp
  .cfi_restore_state

  // A new process starts here, its trapframe on top of the stack.
  .globl trapret
trapret:
  popal
  .cfi_def_cfa_offset 36
  popl %gs
  popl %fs
  popl %es
  popl %ds
  .cfi_def_cfa_offset 20
  addl $8, %esp // number and error code
  .cfi_def_cfa_offset 12
  iret
  .cfi_endproc

// void swtch(struct context **old, struct context *new)
// Save the registers a C function must keep on this stack, leave its address
// in *old, and go on where new was saved.
  .globl swtch
swtch:
  .cfi_startproc
  movl 4(%esp), %eax
  movl 8(%esp), %edx
  pushl %ebp
  pushl %ebx
  pushl %esi
  pushl %edi
  .cfi_def_cfa_offset 20
  .cfi_offset %ebp, -8
  .cfi_offset %ebx, -12
  .cfi_offset %esi, -16
  .cfi_offset %edi, -20
  movl %esp, (%eax)
  movl %edx, %esp
  popl %edi
  popl %esi
  popl %ebx
  popl %ebp
  .cfi_def_cfa_offset 4
  .cfi_restore %ebp
  .cfi_restore %ebx
  .cfi_restore %esi
  .cfi_restore %edi
  ret
  .cfi_endproc

// Double fault: a task of its own (cpu.c), because the usual reason is that
// the kernel stack is full and nothing more can be pushed.
  .globl df_entry
df_entry:
  addl $4, %esp // the error code, always 0
  call double_fault

  .section .note.GNU-stack, "", @progbits
