// rm NAME...: remove names of files, and empty directories.
#include "types.h"
#include "sys.h"
#include "user.h"

int
main(int argc, char *argv[])
{
  if(argc < 2) {
    printf(2, "usage: rm NAME...\n");
    exits(2);
  }
  int status = 0;
  for(int i = 1; i < argc; i++) {
    if(unlink(argv[i]) < 0) {
      printf(2, "rm: %s: cannot be removed\n", argv[i]);
      status = 1;
    }
  }
  exits(status);
}
