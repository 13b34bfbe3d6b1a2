// contract_full: a disk without room, one without inodes, a directory at its
// largest.  Calls fail, say so, and what is deleted comes back.  For tests/guest/test_contract.py.
#include "types.h"
#include "stat.h"
#include "fcntl.h"
#include "fs.h"
#include "user.h"
#include "contract.h"

static char buf[8192];

static void
number(char *name, int i)
{
  name[0] = 'f';
  name[1] = '0' + i / 100;
  name[2] = '0' + i / 10 % 10;
  name[3] = '0' + i % 10;
  name[4] = 0;
}

// Write the file until no more fits; its size.
static int
write_all(int fd)
{
  int size = 0, n;
  while((n = write(fd, buf, sizeof(buf))) == sizeof(buf))
    size += n;
  OK(n == -1 || (n > 0 && n < NELEM(buf))); // the short count, or nothing
  size += n > 0 ? n : 0;
  OK(write(fd, buf, BSIZE) == -1 || size == 0 || size % BSIZE == 0);
  return size;
}

// Fill the disk; how many files that took.  The last one is cut short.
static int
fill(int *last)
{
  char name[5];
  for(int i = 0;; i++) {
    number(name, i);
    int fd = open(name, O_CREATE | O_RDWR);
    if(fd < 0)
      return i;
    *last = write_all(fd);
    OK(close(fd) == 0);
    if(*last < (int)(MAXFILE * BSIZE))
      return i + 1;
  }
}

static void
empty(int n)
{
  char name[5];
  while(n-- > 0) {
    number(name, n);
    OK(unlink(name) == 0);
  }
}

static void
no_block_left(void)
{
  struct stat st;
  char name[5];
  int last, again, n = fill(&last);
  OK(n > 20);
  number(name, n - 1);
  OK(stat(name, &st) == 0 && (int)st.size == last);
  OK(mkdir("d") == -1 && !there("d"));
  int fd = open("e", O_CREATE | O_RDWR); // an inode there is, and room in the directory
  OK(fd >= 0 && write(fd, "x", 1) == -1 && write(fd, buf, sizeof(buf)) == -1 && write(fd, "", 0) == 0);
  OK(fstat(fd, &st) == 0 && st.size == 0 && close(fd) == 0 && unlink("e") == 0);
  fd = open("f000", O_RDWR); // what is there can be written over and read
  OK(write(fd, buf, sizeof(buf)) == sizeof(buf) && read(fd, buf, sizeof(buf)) == sizeof(buf) && close(fd) == 0);
  for(int i = 0;; i++) { // until the directory itself wants a block
    name[0] = 'g';
    name[1] = '0' + i;
    name[2] = 0;
    if(link("f000", name) < 0) {
      OK(i > 0 && open(name, O_CREATE) == -1 && mknod(name, 1, 1) == -1 && !there(name));
      while(i-- > 0) {
        name[1] = '0' + i;
        OK(unlink(name) == 0);
      }
      break;
    }
  }
  OK(stat("f000", &st) == 0 && st.nlink == 1);
  empty(n);
  OK(fill(&again) == n && again >= last - BSIZE && again <= last); // the directory kept a block
  empty(n);
}

// Two processes fill the disk at once, and each is told.
static void
two_fill(void)
{
  for(int k = 0; k < 2; k++)
    if(must_fork() == 0) {
      int last, n;
      OK(mkdir(k ? "a" : "b") == 0 && chdir(k ? "a" : "b") == 0);
      n = fill(&last);
      OK(n > 0);
      sleep(2);
      empty(n);
      exit();
    }
  OK(wait() > 0 && wait() > 0 && unlink("a") == 0 && unlink("b") == 0);
}

static void
no_inode_left(void)
{
  char name[5];
  int n = 0;
  for(;; n++) {
    number(name, n);
    int fd = open(name, O_CREATE);
    if(fd < 0)
      break;
    close(fd);
  }
  OK(n > 100 && mkdir("d") == -1 && mknod("m", 1, 1) == -1 && open("e", O_CREATE) == -1);
  OK(link("f000", "l") == 0 && unlink("l") == 0); // needs no inode
  OK(unlink("f050") == 0 && mkdir("f050") == 0 && mkdir("x") == -1);
  empty(n);
}

static void
entry(char *name, int i)
{
  name[0] = 'x';
  name[1] = '0' + i / 64;
  name[2] = '0' + i % 64;
  name[3] = 0;
}

// A directory holds MAXFILE blocks of entries and refuses one more.
static void
full_dir(void)
{
  const int room = MAXFILE * BSIZE / sizeof(struct dirent) - 2;
  char name[4];
  OK(mkdir("d") == 0 && chdir("d") == 0);
  fill_file("../bd", 1, 'a');
  for(int i = 0; i < room; i++) {
    entry(name, i);
    OK(link("../bd", name) == 0);
  }
  OK(link("../bd", "more") == -1 && open("more", O_CREATE) == -1 && mkdir("more") == -1 && mknod("more", 1, 1) == -1);
  struct stat st;
  OK(stat(".", &st) == 0 && st.size == MAXFILE * BSIZE && st.nlink == 1);
  OK(stat("../bd", &st) == 0 && st.nlink == room + 1);
  entry(name, room / 2);
  OK(unlink(name) == 0 && link("../bd", "more") == 0 && unlink("more") == 0 && link("../bd", name) == 0);
  for(int i = room; i-- > 0;) {
    entry(name, i);
    OK(unlink(name) == 0);
  }
  OK(chdir("..") == 0 && unlink("d") == 0 && unlink("bd") == 0);
}

static const struct check checks[] = {
  {"no_block_left", no_block_left},
  {"two_fill", two_fill},
  {"no_inode_left", no_inode_left},
  {"full_dir", full_dir},
};

int
main(int argc, char *argv[])
{
  run_checks(checks, NELEM(checks), argc, argv);
}
