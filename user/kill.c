// kill PID...: end processes.
#include "types.h"
#include "sys.h"
#include "user.h"

int
main(int argc, char *argv[])
{
  if(argc < 2) {
    printf(2, "usage: kill PID...\n");
    exits(2);
  }
  int status = 0;
  for(int i = 1; i < argc; i++) {
    if(kill(atoi(argv[i])) < 0) {
      printf(2, "kill: %s: no such process, or one that cannot be killed\n", argv[i]);
      status = 1;
    }
  }
  exits(status);
}
