// grep PATTERN [FILE...]: print the lines that match.
//
// A pattern is made of characters, . for any character, * for any number of
// the one before it, ^ and $ for the ends of the line.  Status 0: a line
// matched; 1: none; 2: an error.
#include "types.h"
#include "fcntl.h"
#include "sys.h"
#include "user.h"

static char buf[4096];

// Does the pattern match at the start of s?
static int
match_here(const char *pat, const char *s)
{
  for(; *pat; pat++, s++) {
    if(pat[1] == '*')
      break;
    if(pat[0] == '$' && pat[1] == 0)
      return *s == 0;
    if(*s == 0 || (*pat != '.' && *pat != *s))
      return 0;
  }
  if(*pat == 0)
    return 1;
  const char *t = s; // c*: try the rest behind 0, 1, 2 ... repetitions
  do {
    if(match_here(pat + 2, t))
      return 1;
  } while(*t && (*t++ == *pat || *pat == '.'));
  return 0;
}

static int
match(const char *pat, const char *s)
{
  if(*pat == '^')
    return match_here(pat + 1, s);
  do {
    if(match_here(pat, s))
      return 1;
  } while(*s++);
  return 0;
}

// Print line, n bytes, if it matches; 1 if it did.
static int
try_line(const char *pat, char *line, int n)
{
  line[n] = 0; // the newline, or the byte behind the last line
  if(!match(pat, line))
    return 0;
  line[n] = '\n';
  write(1, line, n + 1);
  return 1;
}

// Print fd's matching lines; returns how many, or -1 after a message.  A line longer
// than buf is cut in pieces.
static int
grep(const char *pat, int fd, const char *name)
{
  int have = 0, found = 0, n;
  while((n = read(fd, buf + have, sizeof(buf) - have - 1)) > 0) {
    have += n;
    int start = 0;
    for(int i = 0; i < have; i++) {
      if(buf[i] != '\n')
        continue;
      found += try_line(pat, buf + start, i - start);
      start = i + 1;
    }
    if(start == 0 && have == sizeof(buf) - 1) {
      found += try_line(pat, buf, have);
      start = have;
    }
    have -= start;
    memmove(buf, buf + start, have);
  }
  if(have > 0)
    found += try_line(pat, buf, have);
  if(n < 0)
    printf(2, "grep: %s: cannot read\n", name);
  return n < 0 ? -1 : found;
}

int
main(int argc, char *argv[])
{
  if(argc < 2) {
    printf(2, "usage: grep PATTERN [FILE...]\n");
    exits(2);
  }
  int found = 0, bad = 0;
  if(argc == 2) {
    found = grep(argv[1], 0, "standard input");
    bad = found < 0;
  }
  for(int i = 2; i < argc; i++) {
    int fd = open(argv[i], O_RDONLY);
    if(fd < 0) {
      printf(2, "grep: %s: cannot open\n", argv[i]);
      bad = 1;
      continue;
    }
    int n = grep(argv[1], fd, argv[i]);
    bad |= n < 0;
    found |= n > 0;
    close(fd);
  }
  exits(bad ? 2 : found == 0);
}
