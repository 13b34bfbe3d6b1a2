// contract_proc: processes, pipes, exec and time, as a program written for xv6
// may rely on them.  For tests/guest/test_contract.py.
//
// exec runs this program again: `contract_proc -args ...` says what it was
// given.
#include "types.h"
#include "param.h"
#include "stat.h"
#include "fcntl.h"
#include "user.h"
#include "contract.h"

static char big[8192];
static char *self = (char *)"/contract_proc";

// ---- fork, exit, wait, kill ---------------------------------------------------

static void
exit_wait(void)
{
  OK(wait() == -1 && wait() == -1);
  for(int i = 0; i < 100; i++) {
    int pid = must_fork();
    if(pid == 0)
      exit();
    OK(pid > getpid() && wait() == pid);
  }
  OK(wait() == -1);
}

// fork fails at some time, and everything comes back.
static void
fork_until_failure(void)
{
  for(int round = 0; round < 3; round++) {
    int n = 0, pid;
    for(; n < 1000; n++) {
      pid = fork();
      if(pid == 0)
        exit();
      if(pid < 0)
        break;
    }
    OK(n > 30 && n < NPROC && pid == -1);
    for(; n > 0; n--)
      OK(wait() > 0);
    OK(wait() == -1);
  }
}

// The same with large processes: memory ends before the table does.
static void
fork_without_memory(void)
{
  int n = 0, fds[2];
  char c;
  OK(pipe(fds) == 0 && sbrk(20 * 1024 * 1024) != (char *)-1);
  if(must_fork() == 0)
    for(;; n++) { // a chain: each is the child of the one before
      int pid = fork();
      if(pid < 0)
        write(fds[1], "f", 1);
      if(pid > 0)
        wait();
      if(pid != 0)
        exit();
      OK(n < NPROC);
    }
  OK(wait() > 0 && read(fds[0], &c, 1) == 1 && c == 'f');
}

static void
own_copy(void)
{
  static int data = 1;
  int pid = must_fork();
  if(pid == 0) {
    OK(data == 1);
    data = 2;
    big[0] = 3;
    OK(chdir("/") == 0 && close(0) == 0);
    exit();
  }
  OK(wait() == pid && data == 1 && big[0] == 0);
  fill_file("f", 1, 'a');
  OK(unlink("/ct/f") == 0 && dup(0) == 4 && close(4) == 0);
}

// CPU-bound and sleeping children die of kill, and the parent runs meanwhile.
static void
preempted(void)
{
  int pids[3], fds[2];
  char c;
  for(int i = 0; i < 2; i++)
    if((pids[i] = must_fork()) == 0)
      for(;;)
        ;
  OK(pipe(fds) == 0);
  if((pids[2] = must_fork()) == 0) {
    close(fds[0]);
    write(fds[1], "x", 1);
    close(fds[1]);
    for(;;)
      ;
  }
  close(fds[1]);
  OK(read(fds[0], &c, 1) == 1 && close(fds[0]) == 0);
  for(int i = 0; i < 3; i++)
    OK(kill(pids[i]) == 0);
  for(int i = 0; i < 3; i++)
    OK(wait() > 0);
  OK(wait() == -1);
}

static void
kill_rules(void)
{
  int fds[2];
  char c;
  OK(kill(-1) == -1 && kill(0) == -1 && kill(1) == -1 && kill(2) == -1 && kill(99999) == -1);
  OK(pipe(fds) == 0);
  int pid = must_fork();
  if(pid == 0)
    for(;;)
      read(fds[0], &c, 1); // ends only by kill: it holds the writer's end too
  OK(kill(pid) == 0 && wait() == pid && kill(pid) == -1);
  if((pid = must_fork()) == 0) {
    for(;;)
      write(fds[1], big, sizeof(big));
  }
  sleep(1);
  OK(kill(pid) == 0 && kill(pid) == 0 && wait() == pid);
  if((pid = must_fork()) == 0) {
    sleep(100000);
    exit();
  }
  OK(kill(pid) == 0 && wait() == pid);
  if((pid = must_fork()) == 0) {
    if(must_fork() == 0) {
      sleep(2);
      exit();
    }
    wait();
    exit();
  }
  OK(kill(pid) == 0 && wait() == pid && wait() == -1);
  if((pid = must_fork()) == 0) {
    kill(getpid());
    failed("contract_proc", __LINE__, "it outlives its own kill");
  }
  OK(wait() == pid);
}

// A child whose parent has gone belongs to init: the parent's parent does not see it.
static void
orphan(void)
{
  int fds[2], pid;
  char c;
  OK(pipe(fds) == 0);
  if((pid = must_fork()) == 0) {
    if(must_fork() == 0) {
      sleep(2);
      write(fds[1], "o", 1);
      exit();
    }
    exit();
  }
  close(fds[1]);
  OK(wait() == pid && wait() == -1);
  OK(read(fds[0], &c, 1) == 1 && read(fds[0], &c, 1) == 0);
}

static void
time_goes_on(void)
{
  int a = uptime(), b = a;
  OK(a > 0 && sleep(0) == 0 && sleep(-1) == 0 && sleep(-100000) == 0 && uptime() - a < 50);
  a = uptime();
  OK(sleep(5) == 0);
  b = uptime();
  OK(b - a >= 4 && b - a < 200);
  for(int i = 0; i < 1000; i++) {
    a = uptime();
    OK(a >= b);
    b = a;
  }
}

// ---- pipes ------------------------------------------------------------------

static void
pipe_sizes(void)
{
  int fds[2], n, seq = 0, total = 0, cc = 1;
  OK(pipe(fds) == 0 && fds[0] == 4 && fds[1] == 5);
  int pid = must_fork();
  if(pid == 0) {
    close(fds[0]);
    for(int k = 0; k < 5; k++) {
      for(int i = 0; i < 1033; i++)
        big[i] = seq++;
      OK(write(fds[1], big, 1033) == 1033);
    }
    exit();
  }
  close(fds[1]);
  while((n = read(fds[0], big, cc)) > 0) {
    for(int i = 0; i < n; i++)
      OK(big[i] == (char)seq++);
    total += n;
    cc = cc * 2 > NELEM(big) ? NELEM(big) : cc * 2;
  }
  OK(n == 0 && total == 5 * 1033 && close(fds[0]) == 0 && wait() == pid);
}

static void
pipe_ends(void)
{
  int fds[2], pid;
  OK(pipe(fds) == 0 && write(fds[0], "x", 1) == -1 && read(fds[1], big, 1) == -1);
  OK(write(fds[1], "abc", 3) == 3 && read(fds[0], big, 100) == 3 && big[2] == 'c');
  OK(write(fds[1], big, 512) == 512 && read(fds[0], big, 0) == 0); // so much it holds
  OK(read(fds[0], big, 500) == 500 && read(fds[0], big, 500) == 12);
  OK(write(fds[1], "y", 1) == 1 && close(fds[1]) == 0);
  OK(read(fds[0], big, 10) == 1 && read(fds[0], big, 10) == 0 && read(fds[0], big, 10) == 0 && close(fds[0]) == 0);
  OK(pipe(fds) == 0 && close(fds[0]) == 0 && write(fds[1], "x", 1) == -1 && close(fds[1]) == 0); // nobody will read it
  OK(pipe(fds) == 0);
  if((pid = must_fork()) == 0) {
    close(fds[0]);
    OK(write(fds[1], big, sizeof(big)) == -1); // full, and then its reader goes
    exit();
  }
  sleep(1);
  OK(close(fds[0]) == 0 && close(fds[1]) == 0 && wait() == pid);
}

static char
letter(int writer, int i)
{
  return 'A' + (writer * 7 + i) % 26;
}

// What one write of up to 256 bytes puts into a pipe stays together, though
// the pipe is full most of the time.
static void
whole_lines(void)
{
  enum {
    LINE = 200,
    LINES = 50
  };
  int fds[2], n, got = 0;
  OK(pipe(fds) == 0);
  for(int w = 0; w < 4; w++)
    if(must_fork() == 0) {
      close(fds[0]);
      for(int i = 0; i < LINE; i++)
        big[i] = letter(w, i);
      big[0] = '0' + w;
      for(int i = 0; i < LINES; i++)
        OK(write(fds[1], big, LINE) == LINE);
      exit();
    }
  close(fds[1]);
  for(; (n = read(fds[0], big + got, 37)) > 0; got = got >= LINE ? got - LINE : got) {
    got += n;
    if(got < LINE)
      continue;
    for(int i = 1; i < LINE; i++)
      OK(big[i] == letter(big[0] - '0', i));
    memmove(big, big + LINE, got - LINE);
  }
  OK(got == 0);
  for(int w = 0; w < 4; w++)
    OK(wait() > 0);
}

// ---- descriptors and files of the system ------------------------------------------

static void
no_descriptor_left(void)
{
  int fds[2], n = 0, fd;
  fill_file("f", 1, 'a');
  while((fd = open("f", O_RDONLY)) >= 0)
    n++;
  OK(n == NOFILE - 4 && dup(0) == -1 && pipe(fds) == -1 && open("g", O_CREATE) == -1);
  OK(close(NOFILE - 1) == 0 && pipe(fds) == -1 && dup(0) == NOFILE - 1); // one is not enough
  OK(close(10) == 0 && close(20) == 0 && pipe(fds) == 0 && fds[0] == 10 && fds[1] == 20);
  for(fd = 4; fd < NOFILE; fd++)
    OK(close(fd) == 0);
  OK(unlink("f") == 0 && unlink("g") == -1);
}

// Children take all open files of the system; who gets none gets -1.
static void
no_file_left(void)
{
  int fds[2], go[2], failures = 0;
  char c;
  OK(pipe(fds) == 0 && pipe(go) == 0);
  for(int k = 0; k < 12; k++)
    if(must_fork() == 0) {
      int fd = 0;
      while(fd >= 0 && fd < NOFILE - 1)
        fd = open("/README", O_RDONLY);
      c = fd < 0 ? 'f' : 'k';
      write(fds[1], &c, 1);
      close(go[1]);
      read(go[0], &c, 1); // till the parent lets go
      exit();
    }
  for(int k = 0; k < 12; k++) {
    OK(read(fds[0], &c, 1) == 1);
    failures += c == 'f';
  }
  OK(failures > 0 && open("/README", O_RDONLY) == -1 && pipe((int *)big) == -1);
  close(go[1]);
  for(int k = 0; k < 12; k++)
    OK(wait() > 0);
  OK(there("/README"));
}

// More different files than there are inodes in memory.
static void
no_inode_left(void)
{
  int fds[2], go[2], failures = 0;
  char c, name[] = "a0";
  OK(pipe(fds) == 0 && pipe(go) == 0);
  for(int k = 0; k < 4; k++)
    if(must_fork() == 0) {
      int fd = 0;
      name[0] = 'a' + k;
      for(int i = 0; i < 55 && fd >= 0; i++) {
        name[1] = '0' + i;
        fd = open(name, O_CREATE | O_RDWR);
      }
      c = fd < 0 ? 'f' : 'k';
      write(fds[1], &c, 1);
      close(go[1]);
      read(go[0], &c, 1);
      exit();
    }
  for(int k = 0; k < 4; k++) {
    OK(read(fds[0], &c, 1) == 1);
    failures += c == 'f';
  }
  OK(failures > 0 && !there("/README") && mkdir("d") == -1 && chdir("/dev") == -1 && exec(self, 0) == -1);
  close(go[1]);
  for(int k = 0; k < 4; k++)
    OK(wait() > 0);
  for(int k = 0; k < 4; k++)
    for(int i = 0; i < 55; i++) {
      name[0] = 'a' + k;
      name[1] = '0' + i;
      unlink(name);
    }
  OK(there("/README"));
}

// ---- exec ------------------------------------------------------------------

// Run argv in a child and return what it writes to descriptor 1.
static char *
output_of(char *path, char **argv)
{
  int fds[2], n = 0, m;
  OK(pipe(fds) == 0);
  if(must_fork() == 0) {
    close(1);
    OK(dup(fds[1]) == 1);
    close(fds[0]);
    close(fds[1]);
    exec(path, argv);
    write(1, "-1", 2);
    exit();
  }
  close(fds[1]);
  while((m = read(fds[0], big + n, NELEM(big) - 1 - n)) > 0)
    n += m;
  big[n] = 0;
  close(fds[0]);
  OK(wait() > 0);
  return big;
}

// In the new program: what stands on the stack, one word per fact.
static void
say_args(int argc, char *argv[])
{
  uint *entry = (uint *)argv - 3; // where %esp was: return address, argc, argv; argv[] above
  int len = 0;
  for(int i = 0; i < argc; i++)
    len += strlen(argv[i]);
  printf(1, "%d %d %d %d %s", argc, len, argv[argc] == 0, entry[1] == (uint)argc && entry[2] == (uint)argv,
         argv[argc - 1]);
  exit();
}

static void
exec_args(void)
{
  static char word[4200];
  char *argv[MAXARG + 2] = {self, (char *)"-args", (char *)"", (char *)"a b"};
  OK(strcmp(output_of(self, argv), "4 22 1 1 a b") == 0);
  for(int i = 2; i < MAXARG + 1; i++)
    argv[i] = (char *)"x";
  argv[MAXARG - 1] = 0;
  OK(strcmp(output_of(self, argv), "31 48 1 1 x") == 0);
  argv[MAXARG - 1] = (char *)"y";
  argv[MAXARG] = 0;
  OK(strcmp(output_of(self, argv), "-1") == 0); // 32 are too many
  OK(exec(self, argv) == -1);
  memset(word, 'w', sizeof(word) - 1);
  argv[2] = word;
  argv[3] = 0;
  OK(exec(self, argv) == -1);
  // 4096 bytes, whatever the stack's size: three words of the frame, four of
  // argv, and the strings, each in whole words: 16, 8 and 4044.
  word[4044] = 0;
  OK(exec(self, argv) == -1);
  word[4043] = 0;
  OK(strcmp(output_of(self, argv), "") != 0 && big[0] == '3');
  char *p = (char *)"bigargs test: this argument is repeated until all of them together are too large for any one page of memory, whatever the size of the stack";
  for(int i = 2; i < MAXARG - 1; i++)
    argv[i] = p;
  argv[MAXARG - 1] = 0;
  OK(exec(self, argv) == -1);
}

static void
exec_errors(void)
{
  char *argv[] = {self, 0};
  fill_file("text", 1000, 'a');
  fill_file("empty", 0, 'a');
  OK(mkdir("d") == 0);
  OK(exec((char *)"none", argv) == -1 && exec((char *)"text", argv) == -1 && exec((char *)"empty", argv) == -1);
  OK(exec((char *)"d", argv) == -1 && exec((char *)"", argv) == -1 && exec((char *)"/console", argv) == -1 && exec((char *)"/README", argv) == -1);
  OK(unlink("d") == 0 && unlink("text") == 0 && unlink("empty") == 0);
}

// What a program keeps over exec: pid, descriptors and their offsets, cwd.
static void
exec_keeps(void)
{
  char *argv[] = {self, (char *)"-keep", 0};
  fill_file("f", 26, 'a');
  int fd = open("f", O_RDONLY);
  OK(fd == 4 && read(fd, big, 3) == 3);
  OK(strcmp(output_of(self, argv), "here d 1") == 0);
  OK(unlink("f") == 0);
}

static void
say_kept(void)
{
  char c = 0;
  int fd = read(4, &c, 1);
  printf(1, "%s %c %d", there("f") ? "here" : "elsewhere", c, fd);
  exit();
}

// The file of a running program may go.
static void
exec_unlinked(void)
{
  static char copy[71680];
  char *argv[] = {self, (char *)"-args", 0};
  int fd = open(self, O_RDONLY), n = read(fd, copy, sizeof(copy));
  OK(n > 1000 && close(fd) == 0);
  fd = open("prog", O_CREATE | O_RDWR);
  OK(write(fd, copy, n) == n && close(fd) == 0);
  OK(strcmp(output_of((char *)"prog", argv), "2 19 1 1 -args") == 0);
  OK(unlink("prog") == 0 && exec((char *)"prog", argv) == -1);
}

static const struct check checks[] = {
  {"exit_wait", exit_wait},
  {"fork_until_failure", fork_until_failure},
  {"fork_without_memory", fork_without_memory},
  {"own_copy", own_copy},
  {"preempted", preempted},
  {"kill_rules", kill_rules},
  {"orphan", orphan},
  {"time_goes_on", time_goes_on},
  {"pipe_sizes", pipe_sizes},
  {"pipe_ends", pipe_ends},
  {"whole_lines", whole_lines},
  {"no_descriptor_left", no_descriptor_left},
  {"no_file_left", no_file_left},
  {"no_inode_left", no_inode_left},
  {"exec_args", exec_args},
  {"exec_errors", exec_errors},
  {"exec_keeps", exec_keeps},
  {"exec_unlinked", exec_unlinked},
};

int
main(int argc, char *argv[])
{
  if(argc > 1 && strcmp(argv[1], "-args") == 0)
    say_args(argc, argv);
  if(argc > 1 && strcmp(argv[1], "-keep") == 0)
    say_kept();
  run_checks(checks, NELEM(checks), argc, argv);
}
