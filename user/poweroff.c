// poweroff [STATUS]: end the machine; the host sees the status.
#include "types.h"
#include "sys.h"
#include "user.h"

int
main(int argc, char *argv[])
{
  if(argc > 2 || (argc == 2 && (argv[1][0] < '0' || argv[1][0] > '9'))) {
    printf(2, "usage: poweroff [STATUS]\n");
    exits(2);
  }
  poweroff(argc == 2 ? atoi(argv[1]) : 0);
  printf(2, "poweroff: the machine stays on\n");
  exits(1);
}
