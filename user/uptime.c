// uptime: how long the machine has been up, and what it is doing.
#include "types.h"
#include "param.h"
#include "sys.h"
#include "user.h"

static const char help[] =
  "usage: uptime\n"
  "Hours, minutes and seconds since the kernel began, by the count of ticks of 10 ms;\n"
  "how many processes there are, and how many of them use a CPU or wait for one.\n";

int
main(int argc, char *argv[])
{
  static struct psinfo ps[NPROC];
  if(argc == 2 && strcmp(argv[1], "-h") == 0) {
    printf(1, "%s", help);
    exits(0);
  }
  if(argc > 1) {
    printf(2, "usage: uptime [-h]\n");
    exits(2);
  }
  uint ticks = uptime(), s = ticks / 100;
  int n = psinfo(ps, NPROC), busy = 0;
  for(int i = 0; i < n && i < NPROC; i++)
    busy += ps[i].state == PS_RUNNING || ps[i].state == PS_RUNNABLE;
  printf(1, "up %u:%02u:%02u.%02u, %d processes, %d busy\n", s / 3600, s / 60 % 60, s % 60, ticks % 100, n, busy);
  exits(0);
}
