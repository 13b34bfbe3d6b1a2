// trrate N TICKS: N system calls (getpid) in each of TICKS ticks of the timer, and rest
// until the next one; N 0: without rest.  Then the trace is stopped.
// For tools/bench/live: with sys_enter and sys_exit on, it makes events at a known rate.
#include "types.h"
#include "fcntl.h"
#include "sys.h"
#include "user.h"

int
main(int argc, char *argv[])
{
  if(argc != 3) {
    printf(2, "usage: trrate N TICKS\n");
    exits(2);
  }
  int n = atoi(argv[1]), end = uptime() + atoi(argv[2]);
  while(uptime() - end < 0) {
    for(int i = 0; i < n || (n == 0 && i < 1000); i++)
      getpid();
    if(n > 0)
      sleep(1);
  }
  int ctl = open("/dev/nettrace", O_WRONLY);
  write(ctl, "stop", 4);
  exits(0);
}
