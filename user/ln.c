// ln OLD NEW: a second name for a file.
#include "types.h"
#include "sys.h"
#include "user.h"

int
main(int argc, char *argv[])
{
  if(argc != 3) {
    printf(2, "usage: ln OLD NEW\n");
    exits(2);
  }
  if(link(argv[1], argv[2]) < 0) {
    printf(2, "ln: %s: cannot link to %s\n", argv[2], argv[1]);
    exits(1);
  }
  exits(0);
}
