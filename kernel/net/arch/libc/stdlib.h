// The one function of stdlib.h that lwIP uses; net.c has it.
#ifndef LIBC_STDLIB_H
#define LIBC_STDLIB_H

int atoi(const char *);

#endif
