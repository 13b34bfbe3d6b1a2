// lwIP includes this for printf in its debug build only: nothing is needed.
#ifndef LIBC_STDIO_H
#define LIBC_STDIO_H
#endif
