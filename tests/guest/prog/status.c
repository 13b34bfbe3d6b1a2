// status PROGRAM [ARG...]: run it, then say how it ended.
#include "types.h"
#include "sys.h"
#include "user.h"

int
main(int argc, char *argv[])
{
  int how, pid = fork();
  if(pid == 0) {
    exec(argv[1], argv + 1);
    exits(127);
  }
  if(argc < 2 || pid < 0 || waitpid(pid, &how, 0) != pid)
    exits(1);
  printf(1, "status %d\n", how);
  exits(0);
}
