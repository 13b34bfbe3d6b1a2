// One stub per line of syscalls.def: the number in %eax, the arguments where
// the caller's call left them (from 4(%esp) up), the result in %eax.
//
// Weak, because only xv6's own names are reserved: a program may have a
// function `send` or `poll` of its own, and then means that one.

#include "syscall.h"
#include "traps.h"

#define SYSCALL(nr, name)   \
  .weak name;               \
  .type name, @function;    \
name:                       \
  movl $nr, %eax;           \
  int $T_SYSCALL;           \
  ret;                      \
  .size name, . - name

.text
#include "syscalls.def"

.section .note.GNU-stack,"",@progbits
