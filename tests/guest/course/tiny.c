// Linked by xv6's rule for its fork test: nothing but ulib.o and usys.o, a
// printf of its own, the entry point is main itself.
#include "types.h"
#include "stat.h"
#include "user.h"

void
printf(int fd, const char *s, ...)
{
  write(fd, s, strlen(s));
}

int
main(int argc, char *argv[])
{
  uint *sp = (uint *)__builtin_frame_address(0) + 1; // what main was entered with
  int n, pid;

  if(sp[0] != 0xffffffff || sp[1] != argc || sp[2] != (uint)argv || argv[argc] != 0)
    printf(1, "tiny: the stack is wrong\n");
  if(argc > 1 && strcmp(argv[1], "return") == 0)
    return 0;
  for(n = 0; n < 1000; n++){
    pid = fork();
    if(pid < 0)
      break;
    if(pid == 0)
      exit();
  }
  if(n == 1000)
    printf(1, "tiny: fork never fails\n");
  for(; n > 0; n--)
    if(wait() < 0)
      printf(1, "tiny: wait came too early\n");
  if(wait() != -1)
    printf(1, "tiny: wait got too many\n");
  printf(1, "tiny: all is well\n");
  exit();
}
