// /dev/null, /dev/zero and /dev/random: minors 0 to 2 of MEM_MAJOR.  All swallow
// what is written; null is always at its end, zero gives zeros, random bytes that
// cannot be told in advance (rand.c; seed=N makes them the same at each boot).

#include "defs.h"
#include "file.h"

#define MINOR_NULL   0
#define MINOR_ZERO   1
#define MINOR_RANDOM 2

#define RANDOM_MAX 65536 // bytes of one read: each costs a hash

static int
mem_open(struct file *f, int minor, int omode)
{
  (void)f, (void)omode;
  return minor >= MINOR_NULL && minor <= MINOR_RANDOM ? 0 : -1;
}

static int
fill_random(char *dst, int n)
{
  if(n > RANDOM_MAX)
    n = RANDOM_MAX;
  for(int i = 0; i < n; i += 4) {
    u32 r = rand32();
    memmove(dst + i, &r, (u32)(n - i < 4 ? n - i : 4));
  }
  return n;
}

static int
mem_read(struct file *f, char *dst, int n)
{
  if(f->minor == MINOR_NULL)
    return 0;
  if(f->minor == MINOR_RANDOM)
    return fill_random(dst, n);
  memset(dst, 0, (u32)n);
  return n;
}

static int
mem_write(struct file *f, const char *src, int n)
{
  (void)f, (void)src;
  return n;
}

void
memdev_init(void)
{
  devsw[MEM_MAJOR] = (struct dev){.open = mem_open, .read = mem_read, .write = mem_write};
}
