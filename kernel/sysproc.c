// System calls about processes, time and the machine.
#include "defs.h"
#include "file.h"
#include "proc.h"
#include "spinlock.h"
#include "syscalls.h"
#include "uapi/sys.h"

#define TICK_NS 10000000ull

int
sys_fork(void)
{
  return fork();
}

int
sys_exit(void)
{
  exit_status(0);
}

int
sys_exits(void)
{
  int status;
  if(argint(0, &status) < 0)
    return -1;
  exit_status(status & 0xff);
}

int
sys_wait(void)
{
  return wait_status(-1, 0, 0);
}

int
sys_waitpid(void)
{
  int pid, flags, status = 0;
  char *where = 0;
  int addr;
  if(argint(0, &pid) < 0 || argint(1, &addr) < 0 || argint(2, &flags) < 0 || (flags & ~WNOHANG))
    return -1;
  if(addr && argptr(1, &where, sizeof(status), 1) < 0)
    return -1;
  int found = wait_status(pid, &status, flags);
  if(found > 0 && where)
    memmove(where, &status, sizeof(status));
  return found;
}

int
sys_kill(void)
{
  int pid;
  if(argint(0, &pid) < 0)
    return -1;
  return kill(pid);
}

int
sys_getpid(void)
{
  return myproc()->pid;
}

int
sys_sbrk(void)
{
  int n;
  if(argint(0, &n) < 0)
    return -1;
  int old = myproc()->sz;
  return growproc(n) < 0 ? -1 : old;
}

// n ticks of 10 ms; -1 if killed.
int
sys_sleep(void)
{
  int n;
  if(argint(0, &n) < 0)
    return -1;
  if(n <= 0)
    return 0;
  u64 until = now_ns() + (u64)n * TICK_NS;
  acquire(&tickslock);
  int how;
  do
    how = sleep_until(&n, &tickslock, until);
  while(how == 0); // a stack address as channel: nobody else wakes it
  release(&tickslock);
  return how < 0 ? -1 : 0;
}

int
sys_uptime(void)
{
  return uptime_ticks();
}

int
sys_nsclock(void)
{
  char *where;
  u64 ns = now_ns();
  if(argptr(0, &where, sizeof(ns), 1) < 0)
    return -1;
  memmove(where, &ns, sizeof(ns));
  return 0;
}

int
sys_ttyctl(void)
{
  struct file *f;
  int op, arg;
  if(argfd(0, 0, &f) < 0 || argint(1, &op) < 0 || argint(2, &arg) < 0)
    return -1;
  if(f->type != FD_DEV || f->major != CONSOLE_MAJOR)
    return -1;
  return console_ctl(op, arg);
}

int
sys_psinfo(void)
{
  char *out;
  int max;
  if(argint(1, &max) < 0 || max < 0)
    return -1;
  if(max > NPROC)
    max = NPROC;
  if(argptr(0, &out, max * sizeof(struct psinfo), 1) < 0)
    return -1;
  return proc_info(out, max);
}

// QEMU ends with (v << 1) | 1; v 1 is avoided because QEMU itself ends with 1
// when it cannot start, 0x11 is a panic's.
int
sys_poweroff(void)
{
  int status;
  if(argint(0, &status) < 0)
    return -1;
  u32 s = (u32)status > 95 ? 95 : (u32)status;
  cprintf("poweroff: status %d\n", status);
  machine_off(s == 0 ? 0x10 : 0x20 + s);
}
