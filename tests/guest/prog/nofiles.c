// nofiles [LEFT]: leave only so many files to open in the whole system (default 0)
// until a line comes on standard input.
#include "types.h"
#include "fcntl.h"
#include "param.h"
#include "sys.h"
#include "user.h"

static void __attribute__((noreturn))
hold(int end, int told)
{
  char c;
  while(open("/", O_RDONLY) >= 0)
    ;
  write(told, "x", 1);
  read(end, &c, 1);
  exits(0);
}

int
main(int argc, char *argv[])
{
  int end[2], told[2], left = argc > 1 ? atoi(argv[1]) : 0, kept[8];
  char c;
  pipe(end);
  pipe(told);
  for(int i = 0; i < left; i++)
    kept[i] = open("/", O_RDONLY);
  for(int i = 0; i < NFILE / NOFILE + 2; i++) {
    if(fork() == 0) {
      close(end[1]);
      for(int k = 0; k < left; k++)
        close(kept[k]);
      hold(end[0], told[1]);
    }
    read(told[0], &c, 1);
  }
  for(int i = 0; i < left; i++)
    close(kept[i]);
  printf(1, "full\n");
  read(0, &c, 1);
  exits(0);
}
