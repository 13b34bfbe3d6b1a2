// pointers: each system call that takes an address gets bad ones, and must refuse.
// Prints a line per call that did not, and how many there were.
// For tests/guest/test_pointers.py.
#include "types.h"
#include "fcntl.h"
#include "stat.h"
#include "sys.h"
#include "user.h"

static int wrong;

// A call with address p, of n bytes, must have returned -1.
static void
refused(const char *call, const void *p, int n, int got)
{
  if(got == -1)
    return;
  wrong++;
  printf(1, "WRONG: %s at %p, %d bytes: %d\n", call, p, n, got);
}

static void
both_ways(int file, const void *p, int n)
{
  refused("write", p, n, write(file, p, n));
  refused("read", p, n, read(file, (void *)p, n));
}

static void
structs(int file, const void *p)
{
  refused("fstat", p, 16, fstat(file, (void *)p));
  refused("pipe", p, 8, pipe((void *)p));
  refused("nsclock", p, 8, nsclock((void *)p));
}

// exec in a child, which is gone if it succeeds.
static void
exec_refused(const char *what, const void *p, const char *path, char **argv)
{
  int status = 0, pid = fork();
  if(pid == 0) {
    exec((char *)path, argv);
    exits(99);
  }
  if(waitpid(pid, &status, 0) != pid || status != 99)
    refused(what, p, 4, status);
}

static void
strings(const void *p)
{
  char *argv[] = {(char *)p, 0}, *good[] = {(char *)"echo", 0};
  refused("open", p, 1, open(p, O_RDONLY));
  refused("mkdir", p, 1, mkdir(p));
  refused("chdir", p, 1, chdir(p));
  refused("unlink", p, 1, unlink(p));
  refused("link", p, 1, link(p, "x"));
  exec_refused("exec", p, p, good);
  if(p)
    exec_refused("exec's argument", p, "echo", argv);
  exec_refused("exec's table", p, "echo", (char **)p);
}

int
main(void)
{
  char *end = sbrk(0);
  const void *nowhere[] = {0, (void *)0x80000000, (void *)0x80100000, (void *)0xfec00000, (void *)0xfffffff8, end, end + 4096};
  int file = open("pointers.tmp", O_CREATE | O_RDWR);
  if(file < 0 || write(file, "0123456789abcdef", 16) != 16)
    printf(1, "WRONG: no file to try with\n");
  for(uint i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++) {
    both_ways(file, nowhere[i], 16);
    structs(file, nowhere[i]);
    strings(nowhere[i]);
  }
  // Begins well and ends badly; more than there is; less than nothing.
  memset(end - 8, 'x', 8);
  both_ways(file, end - 8, 16);
  structs(file, end - 4);
  strings(end - 8);
  both_ways(file, end - 8, 0x7fffffff);
  both_ways(file, end - 8, -1);
  close(file);
  unlink("pointers.tmp");
  printf(1, "%d wrong\n", wrong);
  exits(wrong > 0);
}
