// echo [WORD...]: the words, a blank between two of them, and a newline.
#include "types.h"
#include "user.h"

int
main(int argc, char *argv[])
{
  static char line[4096]; // exec takes no more than this
  char *p = line;
  for(int i = 1; i < argc; i++) {
    strcpy(p, argv[i]);
    p += strlen(p);
    if(i + 1 < argc)
      *p++ = ' ';
  }
  *p++ = '\n';
  if(write(1, line, p - line) != p - line) {
    printf(2, "echo: cannot write\n");
    return 1;
  }
  return 0;
}
