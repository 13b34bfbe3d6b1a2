// /dev/null and /dev/zero: minors 0 and 1 of MEM_MAJOR.  Both swallow what is
// written; null is always at its end, zero gives zeros.

#include "defs.h"
#include "file.h"

#define MINOR_NULL 0
#define MINOR_ZERO 1

static int
mem_open(struct file *f, int minor, int omode)
{
  (void)f, (void)omode;
  return minor == MINOR_NULL || minor == MINOR_ZERO ? 0 : -1;
}

static int
mem_read(struct file *f, char *dst, int n)
{
  if(f->minor == MINOR_NULL)
    return 0;
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
