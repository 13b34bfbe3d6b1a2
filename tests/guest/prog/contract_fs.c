// contract_fs: files, directories and paths, as a program written for xv6 may
// rely on them.  For tests/guest/test_contract.py.
#include "types.h"
#include "stat.h"
#include "fcntl.h"
#include "fs.h"
#include "param.h"
#include "user.h"
#include "contract.h"

static char big[8192];

// ---- open, read, write, close -----------------------------------------------

static void
descriptors(void)
{
  static const int bad[] = {-1, NOFILE, NOFILE - 1, 100, 100000, -2147483647 - 1};
  struct stat st;
  char c;
  for(int i = 0; i < NELEM(bad); i++) {
    OK(read(bad[i], &c, 1) == -1);
    OK(write(bad[i], &c, 1) == -1);
    OK(close(bad[i]) == -1);
    OK(dup(bad[i]) == -1);
    OK(fstat(bad[i], &st) == -1);
  }
  int a = open("f", O_CREATE | O_RDWR), b = dup(a), d = dup(b);
  OK(a >= 0 && b == a + 1 && d == a + 2);
  OK(close(b) == 0 && close(b) == -1);
  OK(open("f", O_RDONLY) == b); // the lowest free one
  OK(close(a) == 0 && dup(d) == a);
  OK(write(a, "xy", 2) == 2 && write(d, "z", 1) == 1); // one offset
  OK(read(b, big, 10) == 3 && big[2] == 'z');
  OK(unlink("f") == 0);
}

static void
open_flags(void)
{
  OK(open("none", O_RDONLY) == -1 && open("none", O_RDWR) == -1 && open("none/x", O_CREATE) == -1);
  fill_file("f", 1000, 'a');
  int fd = open("f", O_RDONLY);
  OK(write(fd, "x", 1) == -1 && read(fd, big, 1) == 1);
  close(fd);
  fd = open("f", O_WRONLY);
  OK(read(fd, big, 1) == -1 && write(fd, "Q", 1) == 1); // cuts nothing
  close(fd);
  fd = open("f", O_CREATE | O_RDWR); // opens what is there
  OK(read(fd, big, 8000) == 1000 && big[0] == 'Q' && big[1] == 'b');
  close(fd);
  fd = open("f", O_WRONLY | O_APPEND);
  OK(write(fd, "zz", 2) == 2);
  close(fd);
  fd = open("f", O_RDWR | O_TRUNC);
  OK(read(fd, big, 8000) == 0 && write(fd, "n", 1) == 1);
  close(fd);
  OK(open("f", O_RDONLY | O_TRUNC) == -1);
  for(int bit = 0x2000; bit > 0; bit <<= 1)
    OK(open("f", bit) == -1 && open("new", bit | O_CREATE) == -1);
  OK(open("f", 4) == -1 && open("f", 0x100) == -1 && open("f", -1) == -1 && !there("new"));
  OK(mkdir("d") == 0);
  OK(open("d", O_WRONLY) == -1 && open("d", O_RDWR) == -1 && open("d", O_CREATE) == -1 && open("d", O_CREATE | O_RDWR) == -1);
  OK(open("d", O_WRONLY | O_TRUNC) == -1);
  OK(unlink("d") == 0 && unlink("f") == 0 && unlink("f") == -1);
}

static void
small_file(void)
{
  int fd = open("small", O_CREATE | O_RDWR);
  OK(fd >= 0);
  for(int i = 0; i < 100; i++)
    OK(write(fd, "aaaaaaaaaa", 10) == 10 && write(fd, "bbbbbbbbbb", 10) == 10);
  OK(write(fd, "", 0) == 0 && read(fd, big, 0) == 0);
  close(fd);
  fd = open("small", O_RDONLY);
  OK(read(fd, big, 2000) == 2000);
  for(int i = 0; i < 2000; i++)
    OK(big[i] == (i / 10 % 2 ? 'b' : 'a'));
  OK(read(fd, big, 1) == 0 && read(fd, big, 1) == 0);
  close(fd);
  OK(unlink("small") == 0);
}

// MAXFILE blocks fit exactly; a write across the end gives the short count.
static void
max_file(void)
{
  int fd = open("big", O_CREATE | O_RDWR), n = MAXFILE;
  struct stat st;
  OK(MAXFILE == 140);
  for(int i = 0; i < n; i++) {
    ((int *)big)[0] = i;
    OK(write(fd, big, 512) == 512);
  }
  OK(write(fd, big, 1) == -1 && write(fd, big, 8192) == -1);
  OK(fstat(fd, &st) == 0 && st.size == MAXFILE * BSIZE);
  close(fd);
  fd = open("big", O_RDONLY);
  for(int i = 0; i < n; i++)
    OK(read(fd, big, 512) == 512 && ((int *)big)[0] == i);
  OK(read(fd, big, 512) == 0);
  close(fd);
  fd = open("big", O_RDWR | O_TRUNC);
  for(int i = 0; i < 8; i++)
    OK(write(fd, big, 8192) == 8192);
  OK(write(fd, big, 8192) == n * BSIZE - 8 * 8192 && write(fd, big, 1) == -1);
  close(fd);
  OK(unlink("big") == 0);
}

// Each size of a write, also larger than the log.
static void
big_writes(void)
{
  static char text[20 * BSIZE];
  for(int size = 499; size < NELEM(text); size += 471) {
    int fd = open("bw", O_CREATE | O_RDWR);
    OK(fd >= 0);
    for(int k = 0; k < 2; k++) {
      memset(text, size + k, size);
      OK(write(fd, text, size) == size);
    }
    close(fd);
    fd = open("bw", O_RDONLY);
    for(int k = 0; k < 2; k++) {
      memset(text, 0, size);
      OK(read(fd, text, size) == size);
      for(int i = 0; i < size; i++)
        OK(text[i] == (char)(size + k));
    }
    close(fd);
    OK(unlink("bw") == 0);
  }
}

// Written in pieces of 600, read in pieces of 300.
static void
odd_pieces(void)
{
  int total = 0, fd = open("odd", O_CREATE | O_RDWR);
  for(int i = 0; i < 20; i++) {
    memset(big, i, 600);
    OK(write(fd, big, 600) == 600);
  }
  close(fd);
  fd = open("odd", O_RDONLY);
  for(int i = 0;; i++) {
    int n = read(fd, big, 300);
    if(n == 0)
      break;
    OK(n == 300 && big[0] == i / 2 && big[299] == i / 2);
    total += n;
  }
  close(fd);
  OK(total == 20 * 600 && unlink("odd") == 0);
}

static void
fstat_values(void)
{
  struct stat st, st2;
  fill_file("f", 777, 'a');
  OK(link("f", "g") == 0 && mkdir("d") == 0 && mkdir("d/e") == 0);
  OK(stat("f", &st) == 0 && stat("g", &st2) == 0);
  OK(st.type == T_FILE && st.nlink == 2 && st.size == 777 && st.dev == ROOTDEV && st.ino == st2.ino && st.ino > 1);
  OK(stat("/", &st) == 0 && st.type == T_DIR && st.ino == ROOTINO);
  OK(stat("/console", &st) == 0 && st.type == T_DEV);
  OK(stat("d", &st) == 0 && st.type == T_DIR && st.nlink == 2 && st.size == 3 * sizeof(struct dirent));
  OK(stat("d/e", &st) == 0 && st.nlink == 1);
  OK(stat("none", &st) == -1 && stat("f/x", &st) == -1);
  int fds[2];
  OK(pipe(fds) == 0 && fstat(fds[0], &st) == -1 && fstat(fds[1], &st) == -1);
  OK(unlink("d/e") == 0 && unlink("d") == 0 && unlink("g") == 0);
  OK(stat("f", &st) == 0 && st.nlink == 1 && unlink("f") == 0);
}

// ---- names ------------------------------------------------------------------

static void
many_files(void)
{
  char name[3] = "a0";
  for(int i = 0; i < 52; i++) {
    name[1] = '0' + i;
    int fd = open(name, O_CREATE | O_RDWR);
    OK(fd >= 0);
    close(fd);
  }
  for(int i = 0; i < 52; i++) {
    name[1] = '0' + i;
    OK(unlink(name) == 0);
  }
}

static void
unlink_open(void)
{
  fill_file("u", 5, 'a');
  int fd = open("u", O_RDWR);
  OK(fd >= 0 && unlink("u") == 0 && !there("u"));
  int fd2 = open("u", O_CREATE | O_RDWR); // another file
  OK(write(fd2, "yyy", 3) == 3 && close(fd2) == 0);
  OK(read(fd, big, sizeof(big)) == 5 && big[0] == 'a' && big[4] == 'e');
  OK(write(fd, big, 10) == 10 && close(fd) == 0);
  OK(unlink("u") == 0);
}

static void
links(void)
{
  fill_file("l1", 5, 'a');
  OK(link("l1", "l1") == -1);
  OK(link("l1", "l2") == 0 && link("l1", "l2") == -1);
  OK(unlink("l1") == 0 && !there("l1") && there("l2"));
  int fd = open("l2", O_RDONLY);
  OK(read(fd, big, 100) == 5 && close(fd) == 0);
  OK(link("l2", "l2") == -1 && unlink("l2") == 0);
  OK(link("l2", "l1") == -1 && link(".", "l1") == -1 && link("/", "l1") == -1);
  OK(mkdir("d") == 0 && link("d", "e") == -1 && unlink("d") == 0);
  fill_file("f", 1, 'a');
  OK(link("f", "none/x") == -1 && link("f", "f/x") == -1 && link("f", "") == -1 && link("", "x") == -1);
  OK(link("f", "/") == -1 && link("f", ".") == -1 && link("f", "..") == -1 && unlink("f") == 0);
}

static void
dots(void)
{
  OK(mkdir("d") == 0 && mkdir("d") == -1 && chdir("d") == 0);
  OK(unlink(".") == -1 && unlink("..") == -1 && unlink("./.") == -1 && unlink("../d/..") == -1);
  OK(mkdir(".") == -1 && mkdir("..") == -1 && mkdir("/") == -1 && mkdir("") == -1);
  OK(open(".", O_CREATE) == -1 && open("..", O_CREATE) == -1);
  OK(chdir("..") == 0 && unlink("d/.") == -1 && unlink("d/..") == -1 && unlink("/") == -1 && unlink("") == -1);
  OK(mkdir("d/e") == 0 && unlink("d") == -1 && unlink("d/e") == 0 && unlink("d") == 0);
  OK(chdir("d") == -1 && chdir("/") == 0 && chdir("..") == 0 && chdir("../../ct") == 0 && there("../ct"));
}

// A file where a directory should be.
static void
file_as_dir(void)
{
  fill_file("f", 1, 'a');
  OK(chdir("f") == -1 && open("f/x", O_RDONLY) == -1 && open("f/x", O_CREATE) == -1);
  OK(mkdir("f/x") == -1 && unlink("f/x") == -1 && link("/README", "f/x") == -1 && link("f/x", "y") == -1);
  OK(mknod("f/x", 1, 1) == -1 && exec((char *)"f/x", 0) == -1 && unlink("f") == 0);
  int fd = open(".", O_RDWR);
  OK(fd == -1);
  fd = open(".", O_RDONLY);
  OK(fd >= 0 && write(fd, "x", 1) == -1);
}

static void
odd_paths(void)
{
  OK(mkdir("xx") == 0 && mkdir("xx/dd") == 0);
  fill_file("xx/dd/f", 3, 'a');
  OK(there("xx//dd///f") && there("./xx/./dd/../dd/f") && there("xx/dd/../../xx/dd/f"));
  OK(there("xx/./..///") && there("xx/dd/") && there("///ct//xx/") && there("/../../ct/xx"));
  OK(there("xx/dd/f/")); // vanishes behind a file too
  OK(open("", O_RDONLY) >= 0 && open("/", O_RDONLY) >= 0 && open("", O_CREATE) == -1 && open("/", O_CREATE) == -1);
  OK(mkdir("xx/new///") == 0 && unlink("xx//new/") == 0);
  OK(chdir("xx/dd") == 0 && there("../dd/f") && there("f") && chdir("") == 0 && there("f"));
  OK(chdir("../../xx/dd/../..") == 0 && there("xx"));
  OK(unlink("xx") == -1 && unlink("xx/dd") == -1 && unlink("xx/dd/f") == 0);
  OK(unlink("xx/dd") == 0 && unlink("xx") == 0 && !there("xx"));
}

// Names are cut to 14 bytes.
static void
fourteen(void)
{
  OK(DIRSIZ == 14 && mkdir("12345678901234") == 0);
  OK(mkdir("12345678901234/123456789012345") == 0);
  fill_file("123456789012345/12345678901234X/a23456789012345", 1, 'a');
  OK(there("12345678901234/12345678901234/a2345678901234"));
  OK(mkdir("123456789012345") == -1 && mkdir("12345678901234/12345678901234") == -1);
  OK(!there("1234567890123") && link("/README", "12345678901234/123456789012349") == -1);
  OK(unlink("12345678901234/12345678901234/a2345678901234zzz") == 0);
  OK(unlink("12345678901234/123456789012345") == 0 && unlink("123456789012349") == 0);
}

// 1023 bytes and the NUL are a path, 1024 are not.
static void
long_path(void)
{
  memset(big, '/', 1100);
  strcpy(big + 1023 - 2, "ct");
  OK(there(big));
  big[0] = 'x'; // not there, whatever its length
  OK(!there(big));
  memset(big, '/', 1100);
  strcpy(big + 1024 - 2, "ct");
  OK(!there(big) && mkdir(big) == -1 && unlink(big) == -1 && chdir(big) == -1 && link(big, "x") == -1);
  OK(mknod(big, 1, 1) == -1 && exec(big, 0) == -1);
}

// A directory is a file of dirents.
static void
read_dir(void)
{
  struct dirent de;
  struct stat st;
  int seen = 0, fd = open("/", O_RDONLY);
  OK(sizeof(de) == 16 && fd >= 0);
  OK(read(fd, &de, sizeof(de)) == 16 && de.inum == ROOTINO && strcmp(de.name, ".") == 0);
  OK(read(fd, &de, sizeof(de)) == 16 && de.inum == ROOTINO && strcmp(de.name, "..") == 0);
  while(read(fd, &de, sizeof(de)) == 16)
    seen += de.inum != 0 && strcmp(de.name, "README") == 0;
  OK(seen == 1 && read(fd, &de, sizeof(de)) == 0);
  close(fd);
  fill_file("full4567890123", 1, 'a');
  fd = open(".", O_RDONLY);
  OK(read(fd, big, 512) == 48 && big[34] == 'f' && big[47] == '3');
  OK(stat("full4567890123", &st) == 0 && st.ino == *(ushort *)(big + 32));
  OK(unlink("full4567890123") == 0);
  close(fd);
  fd = open(".", O_RDONLY);
  OK(read(fd, big, 512) == 48 && *(ushort *)(big + 32) == 0); // a free entry stays
  fill_file("again", 1, 'a');
  OK(unlink("again") == 0 && stat(".", &st) == 0 && st.size == 48);
}

static void
nodes(void)
{
  OK(mknod("n", -1, 0) == -1 && mknod("n", NDEV, 0) == -1 && mknod("n", 32767, 0) == -1 && mknod("", 1, 1) == -1);
  OK(!there("n") && mknod("n", 9, 0) == 0 && !there("n")); // no driver
  OK(mknod("n", 1, 1) == -1 && unlink("n") == 0);
  OK(mknod("tty", 1, 1) == 0 && mkdir("tty") == -1 && mknod("tty", 1, 1) == -1);
  int fd = open("tty", O_RDWR);
  OK(fd >= 0 && write(fd, "", 0) == 0 && close(fd) == 0 && unlink("tty") == 0);
  OK(mknod("none/n", 1, 1) == -1 && mknod("/", 1, 1) == -1);
  fd = open("/dev/null", O_RDWR);
  OK(write(fd, "abc", 3) == 3 && read(fd, big, 10) == 0 && close(fd) == 0);
  fd = open("/dev/zero", O_RDONLY);
  big[9] = 1;
  OK(read(fd, big, 10) == 10 && big[9] == 0 && close(fd) == 0);
}

// ---- directories that go away, references that must not leak ----------------

static void
removed_cwd(void)
{
  struct stat st;
  OK(mkdir("a") == 0 && mkdir("a/b") == 0 && chdir("a/b") == 0 && unlink("../b") == 0);
  OK(open("x", O_CREATE | O_RDWR) == -1 && mkdir("x") == -1 && mknod("x", 1, 1) == -1 && link("/README", "x") == -1);
  OK(unlink("x") == -1 && !there("..") && !there("x") && chdir("..") == -1);
  OK(stat("", &st) == 0 && st.nlink == 0 && read(open("", 0), big, 100) >= 0);
  OK(chdir("/ct") == 0 && unlink("a") == 0);
}

static void
leave_removed(uint how)
{
  OK(mkdir("i") == 0);
  if(how < 2)
    OK(chdir("i") == 0 && unlink("../i") == 0);
  if(how == 1)
    OK(chdir("/") == 0);
  if(how == 2) { // opened by one while another removes it
    if(must_fork() == 0) {
      OK(open("i", O_RDWR) == -1);
      exit();
    }
    sleep(1);
    OK(unlink("i") == 0 && wait() > 0);
  }
}

static void
iput(void)
{
  for(uint i = 0; i < 30; i++)
    OK(survives(leave_removed, i % 3));
}

// More directories left behind as cwd than there are inodes in memory.
static void
iref(void)
{
  int n = 0;
  for(; n < NINODE + 10; n++) {
    OK(mkdir("ir") == 0 && chdir("ir") == 0);
    mkdir("");
    link("/README", "");
    int fd = open("", O_CREATE);
    OK(fd == -1);
    fd = open("xx", O_CREATE);
    if(fd >= 0)
      close(fd);
    unlink("xx");
    if(n % 16 == 15) // a path has MAXPATH bytes, a chain of directories has no limit
      sleep(0);
  }
  while(n-- > 0)
    OK(chdir("..") == 0 && unlink("ir") == 0);
}

// ---- several processes ------------------------------------------------------

// One descriptor, one offset: nothing of either process is lost.
static void
shared_offset(void)
{
  int fd = open("s", O_CREATE | O_RDWR), nc = 0, np = 0, n;
  int pid = must_fork();
  memset(big, pid ? 'p' : 'c', 10);
  for(int i = 0; i < 1000; i++)
    OK(write(fd, big, 10) == 10);
  if(pid == 0)
    exit();
  OK(wait() == pid);
  close(fd);
  fd = open("s", O_RDONLY);
  while((n = read(fd, big, sizeof(big))) > 0)
    for(int i = 0; i < n; i++) {
      nc += big[i] == 'c';
      np += big[i] == 'p';
    }
  OK(nc == 10000 && np == 10000 && unlink("s") == 0);
}

static void
four_files(void)
{
  char name[] = "f0";
  for(int k = 0; k < 4; k++)
    if(must_fork() == 0) {
      name[1] += k;
      int fd = open(name, O_CREATE | O_RDWR);
      memset(big, 'A' + k, 500);
      for(int i = 0; i < 12; i++)
        OK(write(fd, big, 500) == 500);
      exit();
    }
  for(int k = 0; k < 4; k++)
    OK(wait() > 0);
  for(int k = 0; k < 4; k++) {
    name[1] = '0' + k;
    int fd = open(name, O_RDONLY);
    OK(read(fd, big, sizeof(big)) == 6000);
    for(int i = 0; i < 6000; i++)
      OK(big[i] == 'A' + k);
    close(fd);
    OK(unlink(name) == 0);
  }
}

// Four processes create and delete 20 files each, of their own names.
static void
create_delete(void)
{
  char name[3] = "p0";
  for(int k = 0; k < 4; k++)
    if(must_fork() == 0) {
      name[0] += k;
      for(int i = 0; i < 20; i++) {
        name[1] = '0' + i;
        fill_file(name, 1, 'a');
        if(i > 0 && i % 2 == 0) {
          name[1] = '0' + i / 2;
          OK(unlink(name) == 0);
        }
      }
      exit();
    }
  for(int k = 0; k < 4; k++)
    OK(wait() > 0);
  for(int i = 0; i < 20; i++)
    for(int k = 0; k < 4; k++) {
      name[0] = 'p' + k;
      name[1] = '0' + i;
      OK(there(name) == (i == 0 || i >= 10));
      unlink(name);
    }
}

// Two at a time make the same name, one by link, one by open.
static void
same_name(void)
{
  char file[3] = "C0";
  int fd = open("C", O_CREATE), seen = 0;
  struct dirent de;
  close(fd);
  for(int i = 0; i < 40; i++) {
    file[1] = '0' + i;
    unlink(file);
    int pid = must_fork();
    if(pid && i % 3 == 1)
      link("C", file);
    else if(pid == 0 && i % 5 == 1)
      link("C", file);
    else {
      fd = open(file, O_CREATE | O_RDWR);
      OK(fd >= 0);
      close(fd);
    }
    if(pid == 0)
      exit();
    OK(wait() == pid);
  }
  fd = open(".", O_RDONLY);
  while(read(fd, &de, sizeof(de)) == sizeof(de))
    seen += de.inum && de.name[0] == 'C' && de.name[1];
  close(fd);
  OK(seen == 40);
  for(int i = 0; i < 40; i++) {
    file[1] = '0' + i;
    int pid = must_fork();
    if((i % 3 == 0 && pid == 0) || (i % 3 == 1 && pid))
      for(int k = 0; k < 6; k++) {
        fd = open(file, O_RDONLY);
        close(fd);
      }
    else
      for(int k = 0; k < 4; k++)
        unlink(file);
    if(pid == 0)
      exit();
    OK(wait() == pid);
    unlink(file);
    OK(!there(file));
  }
  OK(unlink("C") == 0);
}

// Create, link and unlink of one name by four processes.
static void
link_unlink(void)
{
  fill_file("cat", 600, 'a');
  for(int k = 0; k < 4; k++)
    if(must_fork() == 0) {
      uint x = k * 97 + 1;
      for(int i = 0; i < 100; i++) {
        x = x * 1103515245 + 12345;
        if((x >> 16) % 3 == 0)
          close(open("x", O_RDWR | O_CREATE));
        else if((x >> 16) % 3 == 1)
          link("cat", "x");
        else
          unlink("x");
      }
      exit();
    }
  for(int k = 0; k < 4; k++)
    OK(wait() > 0);
  struct stat st;
  unlink("x");
  OK(stat("cat", &st) == 0 && st.nlink == 1 && st.size == 600 && unlink("cat") == 0);
}

// mkdir and rmdir of one name by four processes, one of them within it.
static void
dir_race(void)
{
  for(int k = 0; k < 4; k++)
    if(must_fork() == 0) {
      for(int i = 0; i < 60; i++) {
        mkdir("r");
        if(k == 0)
          close(open("r/f", O_CREATE));
        if(k == 1 && chdir("r") == 0) {
          mkdir("sub");
          unlink("sub");
          OK(chdir("/ct") == 0);
        }
        unlink("r/f");
        unlink("r");
      }
      exit();
    }
  for(int k = 0; k < 4; k++)
    OK(wait() > 0);
  unlink("r/f");
  unlink("r/sub");
  unlink("r");
  struct stat st;
  OK(!there("r") && stat(".", &st) == 0 && st.nlink == 1);
}

static void
dir_name(char *name, int i)
{
  name[0] = 'x';
  name[1] = '0' + i / 64;
  name[2] = '0' + i % 64;
  name[3] = 0;
}

static void
big_dir(void)
{
  char name[4];
  fill_file("bd", 1, 'a');
  for(int i = 0; i < 500; i++) {
    dir_name(name, i);
    OK(link("bd", name) == 0);
  }
  OK(unlink("bd") == 0);
  for(int i = 0; i < 500; i++) {
    dir_name(name, i);
    OK(unlink(name) == 0);
  }
}

static const struct check checks[] = {
  {"descriptors", descriptors},
  {"open_flags", open_flags},
  {"small_file", small_file},
  {"max_file", max_file},
  {"big_writes", big_writes},
  {"odd_pieces", odd_pieces},
  {"fstat_values", fstat_values},
  {"many_files", many_files},
  {"unlink_open", unlink_open},
  {"links", links},
  {"dots", dots},
  {"file_as_dir", file_as_dir},
  {"odd_paths", odd_paths},
  {"fourteen", fourteen},
  {"long_path", long_path},
  {"read_dir", read_dir},
  {"nodes", nodes},
  {"removed_cwd", removed_cwd},
  {"iput", iput},
  {"iref", iref},
  {"shared_offset", shared_offset},
  {"four_files", four_files},
  {"create_delete", create_delete},
  {"same_name", same_name},
  {"link_unlink", link_unlink},
  {"dir_race", dir_race},
  {"big_dir", big_dir},
};

int
main(int argc, char *argv[])
{
  run_checks(checks, NELEM(checks), argc, argv);
}
