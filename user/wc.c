// wc [FILE...]: count lines, words and bytes.
#include "types.h"
#include "fcntl.h"
#include "sys.h"
#include "user.h"

static char buf[4096];

// 0, or 1 after a message.
static int
wc(int fd, const char *name)
{
  uint lines = 0, words = 0, bytes = 0;
  int n, in_word = 0;
  while((n = read(fd, buf, sizeof(buf))) > 0) {
    bytes += n;
    for(int i = 0; i < n; i++) {
      int blank = strchr(" \t\r\n\v", buf[i]) != 0;
      lines += buf[i] == '\n';
      words += !blank && !in_word;
      in_word = !blank;
    }
  }
  if(n < 0) {
    printf(2, "wc: %s: cannot read\n", name);
    return 1;
  }
  printf(1, "%u %u %u %s\n", lines, words, bytes, name);
  return 0;
}

int
main(int argc, char *argv[])
{
  if(argc < 2)
    exits(wc(0, ""));
  int status = 0;
  for(int i = 1; i < argc; i++) {
    int fd = open(argv[i], O_RDONLY);
    if(fd < 0) {
      printf(2, "wc: %s: cannot open\n", argv[i]);
      status = 1;
      continue;
    }
    status |= wc(fd, argv[i]);
    close(fd);
  }
  exits(status);
}
