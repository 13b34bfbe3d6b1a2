// spin [SECONDS]: use all of a CPU, for ever or for so long.  Tests run it
// beside the network: a process that never sleeps must not delay a packet.
#include "types.h"
#include "sys.h"
#include "user.h"

int
main(int argc, char *argv[])
{
  if(argc > 2 || (argc == 2 && (argv[1][0] < '0' || argv[1][0] > '9'))) {
    printf(2, "usage: spin [SECONDS]\n");
    exits(2);
  }
  int ticks = argc == 2 ? atoi(argv[1]) * 100 : -1;
  int start = uptime();
  do {
    for(volatile int i = 0; i < 1000000; i++)
      ;
  } while(ticks < 0 || uptime() - start < ticks);
  exits(0);
}
