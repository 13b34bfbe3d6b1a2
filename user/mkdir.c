// mkdir DIR...: make directories.
#include "types.h"
#include "sys.h"
#include "user.h"

int
main(int argc, char *argv[])
{
  if(argc < 2) {
    printf(2, "usage: mkdir DIR...\n");
    exits(2);
  }
  int status = 0;
  for(int i = 1; i < argc; i++) {
    if(mkdir(argv[i]) < 0) {
      printf(2, "mkdir: %s: cannot be made\n", argv[i]);
      status = 1;
    }
  }
  exits(status);
}
