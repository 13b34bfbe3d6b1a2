// sleep: nothing, for a while.
#include "cmd.h"
#include "sys.h"
#include "user.h"

static const char help[] =
  "usage: sleep SECONDS\n"
  "Waits.  SECONDS is a whole number.\n";

int
main(int argc, char *argv[])
{
  cmd("sleep", help);
  getopt(argc, argv, "");
  if(optind != argc - 1)
    usage();
  exits(sleep(number(argv[optind], 0, 10000000) * 100) < 0);
}
