// Leave a child behind that has ended and that nobody has waited for: it stays
// in the process table until its parent ends and init takes it.
#include "types.h"
#include "sys.h"
#include "user.h"

int
main(void)
{
  int pid = fork();
  if(pid < 0) {
    printf(2, "zombie: fork: no process left\n");
    exits(1);
  }
  if(pid > 0)
    sleep(5); // let the child end first
  exits(0);
}
