// crash WORKLOAD: change the file system in one way, many times, and check as a
// program can that each call did what it says.  For tests/guest/test_powercut.py,
// which cuts the power after every single write of the disk; what the files hold
// is crash.h's.  Prints "done"; on an unexpected result a line, and exits with 1.
#include "types.h"
#include "fcntl.h"
#include "fs.h"
#include "stat.h"
#include "sys.h"
#include "user.h"
#include "crash.h"

#define RECS    (CRASH_ATOM / (int)sizeof(struct crashrec))
#define LARGEST ((int)(MAXFILE * BSIZE))

static void
must(int ok, const char *what, const char *name)
{
  if(ok)
    return;
  printf(2, "crash: %s %s: unexpected result\n", what, name);
  exits(1);
}

// The name dir/letter + number, in one of four buffers that take turns.
static char *
name(const char *dir, char letter, uint number)
{
  static char buf[4][32];
  static int turn;
  char *p = buf[turn++ % 4], *s = p;

  while(*dir)
    *s++ = *dir++;
  *s++ = '/';
  *s++ = letter;
  for(uint unit = number < 10 ? 1 : number < 100 ? 10
                                                 : 100;
      unit; unit /= 10)
    *s++ = (char)('0' + number / unit % 10);
  *s = 0;
  return p;
}

static uint
size(int fd)
{
  struct stat st;

  must(fstat(fd, &st) == 0, "fstat", "");
  return st.size;
}

// Write n bytes of records, from record first on.  What write returns.
static int
put(int fd, uint tag, uint first, int n)
{
  static struct crashrec rec[RECS * 4];
  int count = n / (int)sizeof(rec[0]);

  for(int i = 0; i < count; i++) {
    uint index = first + (uint)i;
    rec[i] = (struct crashrec){CRASH_MAGIC, tag, index, CRASH_MAGIC ^ tag ^ index};
  }
  return write(fd, rec, n);
}

// Append n bytes.
static int
append(int fd, uint tag, int n)
{
  return put(fd, tag, size(fd) / sizeof(struct crashrec), n);
}

// Create a file of n bytes.
static void
make(const char *path, uint tag, int n)
{
  int fd = open(path, O_CREATE | O_WRONLY);

  must(fd >= 0, "create", path);
  must(n == 0 || put(fd, tag, 0, n) == n, "write", path);
  close(fd);
}

static void
make_dir(const char *path)
{
  must(mkdir(path) == 0, "mkdir", path);
}

static void
drop(const char *path)
{
  must(unlink(path) == 0, "unlink", path);
}

// ---- workloads --------------------------------------------------------------

// Files come and go; the directory grows past its first block.
static void
storm(void)
{
  make_dir("w");
  for(uint i = 0; i < 80; i++) {
    make(name("w", 'f', i), i + 1, (int)(i % 7) * 240);
    if(i >= 40)
      drop(name("w", 'f', i - 40));
    if(i % 5 == 0)
      must(mknod(name("w", 'n', i), 2, 0) == 0, "mknod", "");
  }
}

// Two files grow to the largest size in steps that cross blocks; one is emptied
// in between and one written over in place.
static void
grow(void)
{
  const int step[] = {496, 1536, 2512, 16, 6000};
  int a = open("a", O_CREATE | O_RDWR), b = open("b", O_CREATE | O_RDWR);

  must(a >= 0 && b >= 0, "create", "a, b");
  for(uint i = 0; size(b) < 30000; i++) {
    must(append(a, 1, step[i % 5]) > 0, "append", "a");
    must(append(b, 2, step[(i + 2) % 5]) > 0, "append", "b");
  }
  while((int)size(a) < LARGEST)
    must(append(a, 1, 6000) != 0, "append", "a");
  must(append(a, 1, 16) == -1, "append beyond the largest size", "a");
  close(b);
  b = open("b", O_TRUNC | O_RDWR);
  must(b >= 0 && size(b) == 0, "empty", "b");
  must(put(b, 3, 0, CRASH_ATOM) == CRASH_ATOM, "write", "b");
  for(uint i = 0; i < 12; i++) {
    close(b);
    b = open("b", O_RDWR);
    must(put(b, 10 + i, 0, CRASH_ATOM) == CRASH_ATOM, "write over", "b");
  }
}

// A tree of directories is built, with a file in each, and taken down again.
static void
tree(void)
{
  for(uint round = 0; round < 3; round++) {
    make_dir("t");
    for(uint i = 0; i < 5; i++) {
      char at[32];
      make_dir(strcpy(at, name("t", 'd', i)));
      make(name(at, 'f', i), i + 1, 700 / 16 * 16);
      must(unlink(at) == -1, "unlink of a full directory", at);
      for(uint k = 0; k < 3; k++) {
        char deeper[32];
        make_dir(strcpy(deeper, name(at, 'e', k)));
        make_dir(name(deeper, 'g', k));
      }
    }
    if(round == 2)
      return; // the last one stays
    for(uint i = 0; i < 5; i++) {
      char at[32];
      strcpy(at, name("t", 'd', i));
      for(uint k = 0; k < 3; k++) {
        char deeper[32];
        strcpy(deeper, name(at, 'e', k));
        drop(name(deeper, 'g', k));
        drop(deeper);
      }
      drop(name(at, 'f', i));
      drop(at);
    }
    drop("t");
  }
}

// Files change their name and directory by link and unlink; one has many names.
static void
links(void)
{
  make_dir("x");
  make_dir("y");
  make("x/one", 99, 1504);
  for(uint i = 0; i < 6; i++)
    make(name("x", 'f', i), i + 1, 1008);
  for(uint i = 0; i < 60; i++) {
    char *from = name(i / 6 % 2 ? "y" : "x", 'f', i % 6), *to = name(i / 6 % 2 ? "x" : "y", 'f', i % 6);
    must(link(from, to) == 0, "link", to);
    must(link(from, to) == -1, "link to a name that is taken", to);
    drop(from);
    must(link("x/one", name("y", 'm', i)) == 0, "link", "x/one");
    if(i >= 20)
      drop(name("y", 'm', i - 20));
  }
}

// Files that lose their name while open: written to, read and closed after it.
// One is still open when the power goes for good.
static void
nameless(void)
{
  int fd[4] = {-1, -1, -1, -1};

  make_dir("w");
  for(uint i = 0; i < 30; i++) {
    int *f = &fd[i % 4];
    if(*f >= 0)
      close(*f);
    char *path = name("w", 'f', i);
    must((*f = open(path, O_CREATE | O_RDWR)) >= 0, "create", path);
    must(append(*f, i + 1, 1008) == 1008, "append", path);
    drop(path);
    must(append(*f, i + 1, i % 4 ? 1536 : 6144) > 0, "append to a nameless file", path);
    make(name("w", 'g', i), i + 1, 16);
  }
  if(fork() == 0)
    for(;;)
      sleep(1000);
}

// The disk is filled to the last block, half emptied, and filled again.
static void
full(void)
{
  uint n = 0;

  make_dir("w");
  for(uint round = 0; round < 3; round++) {
    uint first = n;
    for(int r = CRASH_ATOM; r == CRASH_ATOM; n++) {
      int fd = open(name("w", 'f', n), O_CREATE | O_RDWR);
      if(fd < 0)
        break;
      for(int k = 0; k < 12 && r == CRASH_ATOM; k++)
        r = append(fd, n + 1, CRASH_ATOM);
      while(r != CRASH_ATOM && append(fd, n + 1, BSIZE) > 0)
        ;
      close(fd);
    }
    must(mkdir("w/none") == -1, "mkdir on a full disk", "w/none");
    for(uint i = first + round % 2; i < n; i += 2)
      drop(name("w", 'f', i));
  }
}

// What one of the four does: anything, in its own directory and in one that all
// share, where others may have been first.
static void
stress_one(uint me)
{
  char own[8] = "p0";
  uint x = me * 7919 + 1;

  own[1] = (char)('0' + me);
  make_dir(own);
  for(uint i = 0; i < 60; i++) {
    x = x * 1664525 + 1013904223;
    uint k = x >> 20 & 7;
    char *mine = name(own, 'f', k), *shared = name("s", 'f', k);
    int fd = open(x >> 28 & 1 ? mine : shared, O_CREATE | O_RDWR | (x >> 29 & 1 ? O_TRUNC : 0));
    if(fd >= 0) {
      if(size(fd) == 0 && x >> 28 & 1)
        put(fd, me + 1, 0, (int)(x >> 16 & 63) * 16);
      if(x >> 30 & 1)
        unlink(mine);
      close(fd);
    }
    link(mine, shared);
    if(mkdir(name("s", 'd', k)) < 0)
      unlink(name("s", 'd', k));
    unlink(name("s", 'f', (k + 3) & 7));
  }
}

static void
stress(void)
{
  int status, bad = 0;

  make_dir("s");
  for(uint i = 0; i < 4; i++)
    if(fork() == 0) {
      stress_one(i);
      exits(0);
    }
  for(int i = 0; i < 4; i++)
    bad += waitpid(-1, &status, 0) < 0 || status != 0;
  must(bad == 0, "stress", "children");
}

static const struct {
  const char *name;
  void (*run)(void);
} workloads[] = {
  {"storm", storm},
  {"grow", grow},
  {"tree", tree},
  {"links", links},
  {"stress", stress},
  {"nameless", nameless},
  {"full", full},
};

int
main(int argc, char *argv[])
{
  for(uint i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
    if(argc == 2 && strcmp(argv[1], workloads[i].name) == 0) {
      workloads[i].run();
      printf(1, "done\n");
      exits(0);
    }
  printf(2, "usage: crash storm|grow|tree|links|stress|nameless|full\n");
  exits(2);
}
