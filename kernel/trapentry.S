// Entry of every trap and interrupt: 256 stubs, one common path to trap().
// A stub leaves an error code (0 if the CPU gave none) and its number on the
// stack; the common path completes struct trapframe (x86.h).
#include "mmu.h"

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
  pushl %ds
  pushl %es
  pushl %fs
  pushl %gs
  pushal
  movl $(SEG_KDATA << 3), %eax
  movl %eax, %ds
  movl %eax, %es
  movl $(SEG_KCPU << 3), %eax
  movl %eax, %gs
  cld
  pushl %esp
  call trap
  addl $4, %esp

  // A new process starts here, its trapframe on top of the stack.
  .globl trapret
trapret:
  popal
  popl %gs
  popl %fs
  popl %es
  popl %ds
  addl $8, %esp // number and error code
  iret

// void swtch(struct context **old, struct context *new)
// Save the registers a C function must keep on this stack, leave its address
// in *old, and go on where new was saved.
  .globl swtch
swtch:
  movl 4(%esp), %eax
  movl 8(%esp), %edx
  pushl %ebp
  pushl %ebx
  pushl %esi
  pushl %edi
  movl %esp, (%eax)
  movl %edx, %esp
  popl %edi
  popl %esi
  popl %ebx
  popl %ebp
  ret

// Double fault: a task of its own (cpu.c), because the usual reason is that
// the kernel stack is full and nothing more can be pushed.
  .globl df_entry
df_entry:
  addl $4, %esp // the error code, always 0
  call double_fault

  .section .note.GNU-stack, "", @progbits
