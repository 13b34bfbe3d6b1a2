// ps: the processes, one line each.
#include "types.h"
#include "param.h"
#include "sys.h"
#include "user.h"

static const char help[] =
  "usage: ps\n"
  "PID    the process's number, PPID its parent's; init, number 1, takes orphans\n"
  "STATE  run: on a CPU now; ready: waits for one; sleep: waits for something else,\n"
  "       such as input; embryo: being made; zombie: ended, its parent has not waited\n"
  "CPU    where it ran last\n"
  "TIME   seconds it has run, counted in ticks of 10 ms that found it running\n"
  "SIZE   bytes of user memory\n"
  "NAME   of its program; [netd] is a thread of the kernel and cannot be killed\n";

static void
show(const struct psinfo *p)
{
  static const char *const states[] = {"-", "embryo", "sleep", "ready", "run", "zombie"};
  const char *state = p->state < sizeof(states) / sizeof(states[0]) ? states[p->state] : "?";
  printf(1, "%5d %5d %-6s %3d %5u.%02u %9u %s%s%s\n", p->pid, p->ppid, state, p->cpu, p->ticks / 100,
         p->ticks % 100, p->sz, p->kthread ? "[" : "", p->name, p->kthread ? "]" : "");
}

int
main(int argc, char *argv[])
{
  static struct psinfo ps[NPROC];
  if(argc == 2 && strcmp(argv[1], "-h") == 0) {
    printf(1, "%s", help);
    exits(0);
  }
  if(argc > 1) {
    printf(2, "usage: ps [-h]\n");
    exits(2);
  }
  int n = psinfo(ps, NPROC);
  if(n < 0) {
    printf(2, "ps: no list of processes\n");
    exits(1);
  }
  printf(1, "  PID  PPID STATE  CPU     TIME      SIZE NAME\n");
  for(int i = 0; i < n && i < NPROC; i++)
    show(&ps[i]);
  exits(0);
}
