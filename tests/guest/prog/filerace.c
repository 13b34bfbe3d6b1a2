// filerace [ROUNDS]: three processes open what is not there, three make and close
// pipes: all take the same slots of the file table in turn.  All pages must come back.
// For tests/guest/test_sysfuzz.py.
#include "types.h"
#include "sys.h"
#include "user.h"

static void
work(int who, int rounds)
{
  int p[2];
  for(int i = 0; i < rounds; i++)
    if(who % 2 == 0)
      open("/none", 0);
    else if(pipe(p) == 0) {
      close(p[0]);
      close(p[1]);
    }
  exits(0);
}

int
main(int argc, char *argv[])
{
  struct kcounts before, after;
  int rounds = argc > 1 ? atoi(argv[1]) : 30000;
  kdebug(KD_COUNTS, &before);
  for(int who = 0; who < 6; who++)
    if(fork() == 0)
      work(who, rounds);
  while(wait() > 0)
    ;
  kdebug(KD_COUNTS, &after);
  printf(1, "%d pages lost\n", before.pages_free - after.pages_free);
  exits(before.pages_free != after.pages_free);
}
