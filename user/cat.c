// cat [FILE...]: copy files, or standard input, to standard output.
#include "types.h"
#include "fcntl.h"
#include "sys.h"
#include "user.h"

static char buf[4096];

// 0, or 1 after a message.
static int
cat(int fd, const char *name)
{
  int n;
  while((n = read(fd, buf, sizeof(buf))) > 0) {
    if(write(1, buf, n) != n) {
      printf(2, "cat: %s: cannot write\n", name);
      return 1;
    }
  }
  if(n < 0) {
    printf(2, "cat: %s: cannot read\n", name);
    return 1;
  }
  return 0;
}

int
main(int argc, char *argv[])
{
  if(argc < 2)
    exits(cat(0, "standard input"));
  int status = 0;
  for(int i = 1; i < argc; i++) {
    int fd = open(argv[i], O_RDONLY);
    if(fd < 0) {
      printf(2, "cat: %s: cannot open\n", argv[i]);
      status = 1;
      continue;
    }
    status |= cat(fd, argv[i]);
    close(fd);
  }
  exits(status);
}
