// The runner of the contract_* programs: a table of checks of what a program
// written for xv6 may rely on.
//
// Each check runs in a process and an empty directory of its own, which it must
// leave empty.  Prints `ok NAME` or `FAILED NAME: FILE line N` for each and, at
// the end, how many there were; words behind the program's name choose some.
// Calls nothing that xv6 does not have.
#ifndef CONTRACT_H
#define CONTRACT_H

#include "types.h"
#include "user.h"

struct check {
  const char *name;
  void (*run)(void);
};

static int report = -1; // pipe to the runner: 'F' for a failure, 'k' at the end

// A check or a child of one cannot go on.
static void __attribute__((noreturn))
failed(const char *file, int line, const char *what)
{
  printf(1, "%s line %d: %s\n", file, line, what);
  write(report, "F", 1);
  exit();
}

#define OK(x) \
  do { \
    if(!(x)) \
      failed(__FILE_NAME__, __LINE__, #x); \
  } while(0)

#define NELEM(a) ((int)(sizeof(a) / sizeof((a)[0])))

// fork, which must not fail.
static inline int
must_fork(void)
{
  int pid = fork();
  OK(pid >= 0);
  return pid;
}

// Run fn in a child; 1 if it came to its end, 0 if it was killed.  What fn
// would say in vain if it fails, it says through OK.
static inline int
survives(void (*fn)(uint), uint arg)
{
  int fds[2];
  char c = 0;
  OK(pipe(fds) == 0);
  if(must_fork() == 0) {
    close(fds[0]);
    fn(arg);
    write(fds[1], "k", 1);
    exit();
  }
  close(fds[1]);
  int n = read(fds[0], &c, 1);
  close(fds[0]);
  OK(wait() > 0);
  return n == 1 && c == 'k';
}

// A new file of n bytes, byte i being base + i % 26.
static inline void
fill_file(const char *path, int n, char base)
{
  static char text[512];
  int fd = open(path, 0x202); // O_CREATE | O_RDWR
  OK(fd >= 0);
  for(int done = 0; done < n;) {
    int m = n - done < NELEM(text) ? n - done : NELEM(text);
    for(int i = 0; i < m; i++)
      text[i] = base + (done + i) % 26;
    OK(write(fd, text, m) == m);
    done += m;
  }
  OK(close(fd) == 0);
}

// Is there a file of this name?
static inline int
there(const char *path)
{
  int fd = open(path, 0);
  if(fd >= 0)
    close(fd);
  return fd >= 0;
}

// 1 if the check did what it should.
static int
run_check(const struct check *c)
{
  int fds[2], bad = 0, done = 0;
  char b;
  if(mkdir("/ct") < 0 || pipe(fds) < 0) {
    printf(1, "FAILED %s: no pipe, or /ct is left from a check before\n", c->name);
    return 0;
  }
  int pid = fork();
  if(pid == 0) {
    close(fds[0]);
    report = dup(fds[1]); // descriptors 0 to 3 are taken, the rest is free
    close(fds[1]);
    if(chdir("/ct") < 0)
      failed("contract.h", __LINE__, "chdir");
    c->run();
    write(report, "k", 1);
    exit();
  }
  close(fds[1]);
  while(pid > 0 && read(fds[0], &b, 1) == 1) {
    bad += b != 'k';
    done += b == 'k';
  }
  close(fds[0]);
  if(pid > 0)
    wait();
  int clean = unlink("/ct") == 0;
  if(done == 1 && bad == 0 && clean) {
    printf(1, "ok %s\n", c->name);
    return 1;
  }
  printf(1, "FAILED %s: %s\n", c->name, bad ? "see above" : done != 1 ? "it did not come to its end"
                                                                      : "it left files in its directory");
  return 0;
}

static int
chosen(const char *name, int argc, char **argv)
{
  for(int i = 1; i < argc; i++)
    if(strcmp(argv[i], name) == 0)
      return 1;
  return argc < 2;
}

// The body of main.
static void __attribute__((noreturn))
run_checks(const struct check *checks, int n, int argc, char **argv)
{
  int ran = 0, good = 0;
  for(int i = 0; i < n; i++)
    if(chosen(checks[i].name, argc, argv)) {
      ran++;
      good += run_check(&checks[i]);
    }
  printf(1, "%s: %d checks, %d failed\n", argv[0], ran, ran - good);
  exit();
}

#endif
