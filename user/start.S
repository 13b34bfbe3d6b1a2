// Where our programs begin.  The kernel's exec leaves at %esp: a return
// address that faults, argc, argv.  Programs linked with `-e main` take that
// as main's own frame and must call exit; here main's result is the status.

.text
.globl _start
.type _start, @function
_start:
  xorl %ebp, %ebp        // the end of gdb's backtrace
  popl %eax              // drop the return address: argc and argv are main's arguments now
  call main
  movzbl %al, %eax       // a status has 8 bits
  pushl %eax
  call exits
.size _start, . - _start

.section .note.GNU-stack,"",@progbits
