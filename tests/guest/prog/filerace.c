// filerace ROUNDS: processes that take the same slots in turn: of the file table by
// opening what is not there and by pipes, of the disk's inodes by directories that
// come and go.  What is counted must be as before.
// For tests/guest/test_sysfuzz.py.
#include "types.h"
#include "sys.h"
#include "user.h"

#define NCHILD 6

static void
files(int who, int rounds)
{
  int p[2];
  for(int i = 0; i < rounds; i++)
    if(who % 2 == 0)
      open("/none", 0);
    else if(pipe(p) == 0) {
      close(p[0]);
      close(p[1]);
    }
}

static char name[] = "/race0";

static void
directories(int who, int rounds)
{
  name[5] = (char)('0' + who);
  for(int i = 0; i < rounds; i++) {
    mkdir(name);
    unlink(name);
  }
}

// The root directory becomes as long as it will be.
static void
prepare(void)
{
  for(int i = 0; i < 2 * NCHILD; i++) {
    name[5] = (char)('0' + i % NCHILD);
    i < NCHILD ? mkdir(name) : unlink(name);
  }
}

static void
race(void (*work)(int who, int rounds), int rounds)
{
  for(int who = 0; who < NCHILD; who++)
    if(fork() == 0) {
      work(who, rounds);
      exits(0);
    }
  while(wait() > 0)
    ;
}

int
main(int argc, char *argv[])
{
  struct kcounts before, after;
  int rounds = argc > 1 ? atoi(argv[1]) : 1000;
  prepare();
  kdebug(KD_COUNTS, &before);
  race(files, rounds * 20);
  race(directories, rounds);
  kdebug(KD_COUNTS, &after);
  printf(1, "%d pages, %d inodes, %d blocks lost\n", before.pages_free - after.pages_free,
         before.dinodes_free - after.dinodes_free, before.blocks_free - after.blocks_free);
  exits(0);
}
