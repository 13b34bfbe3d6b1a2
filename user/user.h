// What an xv6 program may call: its 21 system calls, its 12 library functions,
// and the five network calls of an older course kernel (net5.c).
//
// Exactly these: programs define names of their own, so everything else lives
// in net.h (sockets, poll) and sys.h (the rest).  Prototypes are xv6's.
#ifndef USER_H
#define USER_H

#include "types.h"

struct stat;
struct rtcdate;

// system calls (usys.S)
int fork(void);
int exit(void) __attribute__((noreturn));
int wait(void);
int pipe(int *);
int write(int, const void *, int);
int read(int, void *, int);
int close(int);
int kill(int);
int exec(char *, char **);
int open(const char *, int);
int mknod(const char *, short, short);
int unlink(const char *);
int fstat(int fd, struct stat *);
int link(const char *, const char *);
int mkdir(const char *);
int chdir(const char *);
int dup(int);
int getpid(void);
char *sbrk(int);
int sleep(int); // ticks of 10 ms
int uptime(void);

// library (ulib.c, printf.c, umalloc.c)
int stat(const char *, struct stat *);
char *strcpy(char *, const char *);
void *memmove(void *, const void *, int);
char *strchr(const char *, char c);
int strcmp(const char *, const char *);
void printf(int, const char *, ...);
char *gets(char *, int max);
uint strlen(const char *);
void *memset(void *, int, uint);
void *malloc(uint);
void free(void *);
int atoi(const char *);

// one listener and one connection per process (net5.c)
int net_listen(int port);
int net_accept(void);
int net_recv(void *, int);
int net_send(const void *, int);
int net_close(void);

#endif
