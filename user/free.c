// free: what is left of memory and of the disk.
#include "types.h"
#include "sys.h"
#include "user.h"

static const char help[] =
  "usage: free\n"
  "pages   of 4096 bytes of memory: programs, page tables, pipes\n"
  "blocks  of 512 bytes on the disk, for the contents of files and directories\n"
  "inodes  on the disk: one for each file, directory and device\n"
  "A program that has ended, however it ended, leaves the first row as it was.\n";

static void
show(const char *what, uint total, uint left)
{
  printf(1, "%-8s%8u%8u%8u\n", what, total, total - left, left);
}

int
main(int argc, char *argv[])
{
  struct kcounts c;
  if(argc == 2 && strcmp(argv[1], "-h") == 0) {
    printf(1, "%s", help);
    exits(0);
  }
  if(argc > 1) {
    printf(2, "usage: free [-h]\n");
    exits(2);
  }
  if(kdebug(KD_COUNTS, &c) < 0) {
    printf(2, "free: the kernel does not say\n");
    exits(1);
  }
  printf(1, "           total    used    free\n");
  show("pages", c.pages_total, c.pages_free);
  show("blocks", c.blocks_total, c.blocks_free);
  show("inodes", c.dinodes_total, c.dinodes_free);
  exits(0);
}
