// System call numbers, as integer constants for C and for assembly.
#ifndef UAPI_SYSCALL_H
#define UAPI_SYSCALL_H

#ifdef __ASSEMBLER__
#define SYSCALL(nr, name) .set SYS_##name, nr
#include "syscalls.def"
#undef SYSCALL
#else
enum {
#define SYSCALL(nr, name) SYS_##name = nr,
#include "syscalls.def"
#undef SYSCALL
};
#endif

#endif
