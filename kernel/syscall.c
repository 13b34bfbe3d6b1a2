// System calls: number in %eax, arguments on the user's stack from 4(%esp) up,
// result in %eax.
//
// Whatever the program passes is checked against its own memory, page by page,
// before it is used.  Checking first and using later is safe: a process has
// one thread and shares no memory, so nothing can change in between.
#include "defs.h"
#include "file.h"
#include "proc.h"
#include "syscalls.h"
#include "trace/trace.h"
#include "uapi/memlayout.h"
#include "uapi/syscall.h"
#include "x86.h"

static int (*const table[])(void) = {
#define SYSCALL(nr, name) [nr] = sys_##name,
#include "uapi/syscalls.def"
#undef SYSCALL
};

// Calls whose first argument is a file descriptor: the trace names its socket.
static const u8 takes_fd[NELEM(table)] = {
  [SYS_read] = 1,
  [SYS_write] = 1,
  [SYS_close] = 1,
  [SYS_fstat] = 1,
  [SYS_dup] = 1,
  [SYS_bind] = 1,
  [SYS_listen] = 1,
  [SYS_accept] = 1,
  [SYS_connect] = 1,
  [SYS_send] = 1,
  [SYS_recv] = 1,
  [SYS_sendto] = 1,
  [SYS_recvfrom] = 1,
  [SYS_setsockopt] = 1,
  [SYS_getsockopt] = 1,
  [SYS_shutdown] = 1,
  [SYS_getsockname] = 1,
  [SYS_getpeername] = 1,
  [SYS_fcntl] = 1,
};

// Is [addr, addr + n) memory of this process, writable if need is PTE_W?
static int
is_mine(struct proc *p, u32 addr, u32 n, u32 need)
{
  if(addr > p->sz || n > p->sz - addr)
    return 0;
  for(u32 va = PGROUNDDOWN(addr); va < addr + n; va += PGSIZE)
    if(uvm_page(p->pgdir, va, need) == 0)
      return 0;
  return 1;
}

int
fetchint(u32 addr, int *v)
{
  if(!is_mine(myproc(), addr, sizeof(*v), 0))
    return -1;
  memmove(v, (void *)addr, sizeof(*v));
  return 0;
}

// *s = the program's string at addr; its length, -1 unless it ends below the
// process's end and within a page's length: no call takes a longer one.
int
fetchstr(u32 addr, char **s)
{
  struct proc *p = myproc();
  *s = (char *)addr;
  for(u32 va = addr; va < p->sz && va - addr < PGSIZE; va++) {
    if((va == addr || va % PGSIZE == 0) && uvm_page(p->pgdir, va, 0) == 0)
      return -1;
    if(*(char *)va == 0)
      return va - addr;
  }
  return -1;
}

int
argint(int n, int *v)
{
  return fetchint(myproc()->tf->esp + 4 + 4 * n, v);
}

int
argptr(int n, char **p, int size, int writable)
{
  int addr;
  if(argint(n, &addr) < 0 || size < 0 || !is_mine(myproc(), addr, size, writable ? PTE_W : 0))
    return -1;
  *p = (char *)addr;
  return 0;
}

int
argstr(int n, char **s)
{
  int addr;
  if(argint(n, &addr) < 0)
    return -1;
  return fetchstr(addr, s);
}

// Trace id of the socket behind a call's first argument, 0 if it is none.
static u16
sock_of(u32 nr, s16 fd)
{
  struct file *f = takes_fd[nr] && (u32)fd < NOFILE ? myproc()->ofile[fd] : 0;
  return f ? f->sock_id : 0;
}

static void
trace_enter(u32 nr)
{
  if(!TRACING(sys_enter))
    return;
  int a[4] = {0};
  for(int i = 0; i < 4; i++)
    argint(i, &a[i]);
  s16 fd = takes_fd[nr] ? (s16)a[0] : -1;
  TRACE(sys_enter, .pkt = 0, .sock = sock_of(nr, fd), .nr = (u16)nr, .fd = fd, .a0 = a[0], .a1 = a[1], .a2 = a[2],
        .a3 = a[3]);
}

static void
trace_exit(u32 nr, u16 sock, int ret, u64 since)
{
  TRACE(sys_exit, .pkt = sock ? myproc()->pkt : 0, .sock = sock, .nr = (u16)nr, .ret = ret, .dur_us = us_since(since));
}

TRACE_APART int
traced_call(u32 nr)
{
  u64 since = rdtsc();
  int fd;
  u16 sock = argint(0, &fd) < 0 ? 0 : sock_of(nr, (s16)fd); // before close ends it
  trace_enter(nr);
  int ret = table[nr]();
  trace_exit(nr, sock, ret, since);
  return ret;
}

// tf: the caller's registers.  Context: thread, interrupts on.
void
syscall(struct trapframe *tf)
{
  u32 nr = tf->eax;
  if(nr >= NELEM(table) || table[nr] == 0) {
    tf->eax = -1;
    return;
  }
  int ret = TRACING(sys_enter) || TRACING(sys_exit) ? traced_call(nr) : table[nr]();
  // exec has given us new registers, a program's main starts with its own %eax
  tf->eax = ret;
  myproc()->pkt = 0;
}
