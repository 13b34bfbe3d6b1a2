// Prototypes of the functions behind uapi/syscalls.def.  A result below 0 is
// an error; arguments come by argint, argptr, argstr and argfd.
#ifndef SYSCALLS_H
#define SYSCALLS_H

#define SYSCALL(nr, name) int sys_##name(void);
#include "uapi/syscalls.def"
#undef SYSCALL

#endif
