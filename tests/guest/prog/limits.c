// limits: use up each thing there is a limited number of, see that the next one
// is refused and everything else works, and give it all back.
//
//   limits counts      what is in use and free, one line
//   limits             all of the tests below; `limits WORD` one of them
//
// The parent uses things up through children that wait on a pipe and end when
// it is closed.  Prints a line with WRONG for what differs, and last
// `N checks, N wrong`.  For tests/guest/test_limits.py.
#include "types.h"
#include "fcntl.h"
#include "net.h"
#include "param.h"
#include "fs.h"
#include "stat.h"
#include "sys.h"
#include "user.h"

#define NELEM(a) (sizeof(a) / sizeof((a)[0]))
#define MB       (1 << 20)

static int nchecks, wrong;

static int
must(int good, const char *what, int got)
{
  nchecks++;
  if(good)
    return 1;
  wrong++;
  printf(1, "WRONG: %s: %d\n", what, got);
  return 0;
}

static struct kcounts
now(void)
{
  struct kcounts c;

  kdebug(KD_COUNTS, &c);
  return c;
}

static void
counts(void)
{
  struct kcounts c = now();

  printf(1, "pages %d procs %d files %d pipes %d inodes %d blocks %d dinodes %d socks %d pcbs %d segments %d pbufs %d rx %d\n",
         c.pages_free, c.procs, c.files, c.pipe_ends, c.inodes, c.blocks_free, c.dinodes_free, c.socks, c.pcbs,
         c.segments, c.pbufs, c.rx_bufs);
}

// ---- children that hold on to something -------------------------------------------------------------------

static int hold[2], told[2]; // closing hold[1] ends them; they say a byte each on told

static void
begin_holding(void)
{
  pipe(hold);
  pipe(told);
}

// A child: runs take(arg), tells its result, and stays.  Its pid, or -1.
static int
holder(int (*take)(int), int arg)
{
  int pid = fork(), result;
  char c;

  if(pid != 0)
    return pid;
  close(hold[1]);
  result = take(arg);
  write(told[1], &result, sizeof(result));
  read(hold[0], &c, 1);
  exits(0);
}

static int
result_of(void)
{
  int result = -1;

  read(told[0], &result, sizeof(result));
  return result;
}

static void
end_holding(int children)
{
  close(hold[0]);
  close(hold[1]);
  close(told[0]);
  close(told[1]);
  for(int i = 0; i < children; i++)
    must(wait() > 0, "wait for a holder", i);
}

// Files, pipes, processes and memory work.
static void
all_works(const char *when)
{
  char word[4] = "";
  int p[2], status = -1, fd;

  must((fd = open("works", O_CREATE | O_RDWR)) >= 0 && write(fd, "abc", 3) == 3, when, 1);
  close(fd);
  must((fd = open("works", O_RDONLY)) >= 0 && read(fd, word, 3) == 3 && strcmp(word, "abc") == 0, when, 2);
  close(fd);
  must(unlink("works") == 0, when, 3);
  if(!must(pipe(p) == 0, when, 4))
    return;
  int pid = fork();
  if(pid == 0) {
    char *argv[] = {(char *)"echo", (char *)"-", 0};
    close(1);
    dup(p[1]);
    close(p[0]);
    close(p[1]);
    exec((char *)"/echo", argv);
    exits(1);
  }
  close(p[1]);
  must(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, when, 5);
  must(read(p[0], word, 2) == 2 && word[0] == '-', when, 6);
  close(p[0]);
  char *end = sbrk(4096);
  must(end != (char *)-1, when, 7);
  sbrk(-4096);
}

// ---- processes -------------------------------------------------------------------

static int
nothing(int arg)
{
  return arg;
}

static void
processes(void)
{
  struct psinfo ps[NPROC];

  begin_holding();
  int n = 0, first = 0, pid;
  while(n < 1000 && (pid = holder(nothing, 0)) > 0) {
    first = first ? first : pid;
    n++;
  }
  must(n > 40 && n < NPROC, "processes until fork fails", n);
  must(psinfo(ps, NPROC) == NPROC - 2, "psinfo of a full table, but for the shells' slots", NPROC);
  must(fork() == -1, "fork with a full table", 0);
  int fd = open("full", O_CREATE | O_RDWR), p[2];
  must(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0 && unlink("full") == 0, "a file meanwhile", fd);
  must(pipe(p) == 0, "a pipe meanwhile", 0);
  close(p[0]);
  close(p[1]);
  must(kill(first) == 0 && waitpid(first, 0, 0) == first, "one less", first);
  must(holder(nothing, 0) > 0, "one more", 0);
  end_holding(n);
  must(wait() == -1, "no child left", 0);
  all_works("after a full process table");
}

static void
unkillable(void)
{
  struct psinfo ps[NPROC];
  int n = psinfo(ps, NPROC), kthreads = 0;

  must(kill(1) == -1, "kill of init", 0);
  for(int i = 0; i < n; i++)
    if(ps[i].kthread) {
      kthreads++;
      must(kill(ps[i].pid) == -1, "kill of a kernel thread", ps[i].pid);
    }
  must(kthreads > 0, "kernel threads", kthreads);
}

// ---- memory -------------------------------------------------------------------

// Take all pages but left.
static void
eat(int left)
{
  while(sbrk(MB) != (char *)-1)
    ;
  while(sbrk(4096) != (char *)-1)
    ;
  if(left)
    sbrk(-4096 * left);
}

static void
fork_or_not(void)
{
  int pid = fork();

  if(pid == 0)
    exits(0);
  if(pid > 0)
    waitpid(pid, 0, 0);
}

static void
pipe_or_not(void)
{
  int p[2];

  if(pipe(p) < 0)
    return;
  close(p[0]);
  close(p[1]);
}

#define ROUNDS 24 // up to so many pages: more than a fork or an exec takes

// A child that has all memory but n pages, n counting up with each byte of go.
static int
start_eater(int go)
{
  int pid = fork(), left = 0;
  char c;

  if(pid != 0)
    return pid;
  while(read(go, &c, 1) == 1) {
    eat(left++);
    write(told[1], &left, sizeof(left));
  }
  exits(0);
}

// A child that tries to exec at a byte of go; it took its own memory before.
// 0: that worked; 99: it did not, and as many pages are free as before.
static int
start_execer(int go)
{
  char *argv[] = {(char *)"cat", (char *)"/dev/null", 0};
  int pid = fork();
  char c;

  if(pid != 0)
    return pid;
  if(read(go, &c, 1) != 1)
    exits(1);
  uint before = now().pages_free;
  exec((char *)"/cat", argv);
  exits(now().pages_free == before ? 99 : 98);
}

// With left pages free, fork and pipe work or fail, and afterwards as many are
// free as before; then one of those that wait tries exec.
static void
with_pages(int left, int execs)
{
  int status = 0;
  struct kcounts a = now();

  fork_or_not();
  struct kcounts b = now();
  must(a.pages_free == b.pages_free && a.procs == b.procs && a.files == b.files, "lost by fork, pages", left);
  pipe_or_not();
  b = now();
  must(a.pages_free == b.pages_free && a.files == b.files, "lost by pipe, pages", left);
  write(execs, "", 1);
  must(waitpid(-1, &status, 0) > 0 && status == (left < 3 ? 99 : status == 99 ? 99
                                                                              : 0),
       "exec with few pages ended with", status);
}

static void
few_pages(void)
{
  int eat_now[2], exec_now[2];

  begin_holding();
  pipe(eat_now);
  pipe(exec_now);
  int eater = start_eater(eat_now[0]);
  must(eater > 0, "a child that eats", eater);
  for(int i = 0; i < ROUNDS; i++)
    must(start_execer(exec_now[0]) > 0, "a child to exec", i);
  for(int left = 0; left < ROUNDS; left++) {
    write(eat_now[1], "", 1);
    result_of();
    with_pages(left, exec_now[1]);
  }
  kill(eater);
  close(eat_now[0]);
  close(eat_now[1]);
  close(exec_now[0]);
  close(exec_now[1]);
  end_holding(1);
}

// Grow by arg bytes and use them.
static int
grow(int arg)
{
  char *end = sbrk(arg);

  if(end == (char *)-1)
    return 0;
  for(int i = 0; i < arg; i += 4096)
    end[i] = 1;
  return 1;
}

// How many get it depends on who runs when: on a slow machine all may meet the end of
// memory before the first has given its part back.
static void
hundred(void)
{
  char *end;
  int got = 0;

  begin_holding();
  for(int i = 0; i < 10; i++)
    must(holder(grow, 100 * MB) > 0, "a child that grows", i);
  for(int i = 0; i < 10; i++)
    got += result_of();
  int fits = (int)(now().pages_total * 4096ull / (100 * MB));
  must(got <= fits, "children with 100 MiB", got);
  must((end = sbrk(4096)) != (char *)-1, "4096 bytes for the parent", got);
  end[0] = 1;
  sbrk(-4096);
  end_holding(10);
  begin_holding();
  must(holder(grow, 100 * MB) > 0, "one child that grows", 0);
  must(result_of() == (fits > 0), "one child with 100 MiB, of so many that fit", fits);
  end_holding(1);
}

static void
memory(void)
{
  few_pages();
  char *end = sbrk(0);
  must(sbrk(0x7fffffff) == (char *)-1 && sbrk(0) == end, "sbrk of more than there is", 0);
  all_works("after memory was gone");
}

// ---- open files -------------------------------------------------------------------

static int
open_many(int arg)
{
  int n = 0;

  while(n < arg && open("/README", O_RDONLY) >= 0)
    n++;
  return n;
}

// 60 different files each, in directory arg.
static int
open_different(int arg)
{
  char name[] = "in0/00";
  int n = 0;

  name[2] = (char)('0' + arg);
  for(int i = 0; i < 55; i++) {
    name[4] = (char)('0' + i / 10);
    name[5] = (char)('0' + i % 10);
    n += open(name, O_CREATE | O_RDWR) >= 0;
  }
  return n;
}

static void
descriptors(void)
{
  int n = 0, p[2];

  while(dup(0) >= 0)
    n++;
  must(n > NOFILE - 8 && n < NOFILE, "descriptors of one process", n);
  struct kcounts a = now();
  must(open("/README", O_RDONLY) == -1 && pipe(p) == -1, "open and pipe without a descriptor", 0);
  must(socket(AF_INET, SOCK_STREAM, 0) == -EMFILE, "socket without a descriptor", 0);
  close(NOFILE - 1);
  must(pipe(p) == -1, "pipe with one descriptor", 0);
  must(dup(0) == NOFILE - 1, "the last one again", 0);
  must(now().files == a.files, "files lost", (int)now().files);
  for(int fd = 3; fd < NOFILE; fd++)
    close(fd);
}

static void
files(void)
{
  int children = 0, sum = 0, p[2];

  begin_holding();
  for(; children < NFILE / 50; children++) {
    must(holder(open_many, 55) > 0, "a child that opens", children);
    sum += result_of();
  }
  must(sum > NFILE - 60 && now().files == NFILE, "open files of the system", sum);
  must(open("/README", O_RDONLY) == -1 && pipe(p) == -1, "open and pipe without a file", 0);
  must(socket(AF_INET, SOCK_STREAM, 0) == -ENFILE, "socket without a file", 0);
  must(mkdir("beside") == 0 && unlink("beside") == 0, "a directory meanwhile", 0);
  end_holding(children);
  all_works("after a full file table");
}

static void
remove_numbered(const char *dir, int n)
{
  char name[20];

  for(int i = 0; i < n; i++) {
    strcpy(name, dir);
    char *end = name + strlen(name);
    end[0] = '/', end[1] = (char)('0' + i / 10), end[2] = (char)('0' + i % 10), end[3] = 0;
    unlink(name);
  }
  unlink(dir);
}

static void
inodes(void)
{
  char dir[] = "in0", file[] = "in9";
  int sum = 0, last;

  begin_holding();
  for(int i = 0; i < 4; i++) {
    dir[2] = (char)('0' + i);
    mkdir(dir);
    must(holder(open_different, i) > 0, "a child that opens", i);
    sum += result_of();
  }
  must(sum < NINODE && sum > NINODE - 30, "inodes in memory", sum);
  last = open(file, O_CREATE | O_RDWR); // our directory is there already: one more may fit
  must(now().inodes == NINODE, "inodes in memory after all", (int)now().inodes);
  must(open("in8", O_CREATE | O_RDWR) == -1 && mkdir("in8") == -1, "one more", 0);
  close(last);
  unlink(file);
  fork_or_not();
  end_holding(4);
  for(int i = 0; i < 4; i++) {
    dir[2] = (char)('0' + i);
    remove_numbered(dir, 55);
  }
  all_works("after a full inode table");
}

// ---- the disk -------------------------------------------------------------------

static char block[16 * BSIZE];

static char *
numbered(char letter, int i)
{
  static char name[] = "fill/a000";

  name[5] = letter;
  name[6] = (char)('0' + i / 100);
  name[7] = (char)('0' + i / 10 % 10);
  name[8] = (char)('0' + i % 10);
  return name;
}

// Write files until the disk has at most keep blocks; how many files.
static int
fill(char letter, uint keep)
{
  int n = 0, full = 0;

  while(!full && now().blocks_free > keep && n < 400) {
    int fd = open(numbered(letter, n), O_CREATE | O_WRONLY);
    if(fd < 0)
      break;
    n++;
    for(uint i = 0; i < MAXFILE * BSIZE / sizeof(block); i++)
      if(write(fd, block, sizeof(block)) != sizeof(block)) {
        full = keep == 0;
        break;
      }
    if(full)
      must(write(fd, block, 1) <= 1 && write(fd, block, BSIZE) == -1, "write to a full disk", n);
    close(fd);
  }
  return n;
}

static void
empty(char letter, int n)
{
  for(int i = 0; i < n; i++)
    if(unlink(numbered(letter, i)) < 0)
      must(0, "unlink", i);
}

static void
full_disk(void)
{
  int fd = open("before", O_CREATE | O_RDWR), p[2];

  must(mkdir("fill/more") == -1, "mkdir on a full disk", 0);
  must(fd < 0 || write(fd, block, BSIZE) == -1, "write on a full disk", fd);
  must(now().blocks_free == 0, "blocks left", (int)now().blocks_free);
  close(fd);
  unlink("before");
  must(pipe(p) == 0, "a pipe on a full disk", 0);
  close(p[0]);
  close(p[1]);
}

static void
blocks(void)
{
  mkdir("fill");
  uint free = now().blocks_free;
  int ballast = fill('a', 400);
  uint left = now().blocks_free;
  for(int round = 0; round < 10; round++) {
    int n = fill('b', 0);
    full_disk();
    empty('b', n);
    // fill's own directory may have grown
    must(now().blocks_free + 16 >= left && now().blocks_free <= left, "blocks after emptying", round);
    left = now().blocks_free;
  }
  empty('a', ballast);
  must(unlink("fill") == 0 && now().blocks_free == free + 1, "blocks after all", (int)now().blocks_free);
  all_works("after a full disk");
}

static void
dinodes(void)
{
  mkdir("fill");
  uint free = now().dinodes_free;
  for(int round = 0; round < 10; round++) {
    int n = 0, fd;
    while(n < 600 && (fd = open(numbered('c', n), O_CREATE)) >= 0) {
      close(fd);
      n++;
    }
    must(n == (int)free && now().dinodes_free == 0, "inodes of the disk", n);
    must(mkdir("fill/more") == -1 && mknod("fill/more", 1, 1) == -1, "mkdir without an inode", round);
    empty('c', n);
    must(now().dinodes_free == free, "inodes after emptying", round);
  }
  must(unlink("fill") == 0, "unlink of the directory", 0);
  all_works("after all inodes of the disk");
}

static void
removed(void)
{
  uint inodes_before = now().dinodes_free;

  for(int i = 0; i < 20; i++) {
    must(mkdir("gone") == 0 && chdir("gone") == 0 && unlink("../gone") == 0, "a removed directory", i);
    must(open("x", O_CREATE | O_RDWR) == -1 && mkdir("x") == -1 && link("/README", "x") == -1, "a name in it", i);
    must(open("..", O_RDONLY) == -1 && chdir("..") == -1 && mknod("x", 1, 1) == -1, "its parent", i);
    int fd = open(".", O_RDONLY);
    close(fd);
    must(mkdir("/gone") == 0 && unlink("/gone") == 0, "its name again", i);
    fork_or_not();
    must(chdir("/") == 0, "cd /", i);
  }
  must(now().dinodes_free == inodes_before, "inodes of removed directories", (int)now().dinodes_free);
}

// ---- killed in the middle -------------------------------------------------------------------

static int listener = -1;

static void
in_pipe_read(void)
{
  int p[2];
  pipe(p);
  read(p[0], block, 1);
}

static void
in_pipe_write(void)
{
  int p[2];
  pipe(p);
  write(p[1], block, sizeof(block));
}

static void
in_wait(void)
{
  int p[2];
  pipe(p);
  if(fork() == 0) {
    close(p[1]);
    read(p[0], block, 1); // ends with our parent
    exits(0);
  }
  wait();
}

static void
in_sleep(void)
{
  sleep(1000000);
}

static void
in_poll(void)
{
  int p[2];
  pipe(p);
  struct pollfd pfd[] = {{.fd = p[0], .events = POLLIN}, {.fd = listener, .events = POLLIN}};
  poll(pfd, 2, -1);
}

static void
in_console_read(void)
{
  read(0, block, 1);
}

static void
in_accept(void)
{
  accept(listener, 0, 0);
}

// Nobody has that address: the first packet waits for an answer to ARP.
static void
in_connect(void)
{
  struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(9)};
  inet_aton("10.0.2.77", &sa.sin_addr);
  connect(socket(AF_INET, SOCK_STREAM, 0), &sa, sizeof(sa));
}

static void
in_trace_read(void)
{
  int fd = open("/dev/nettrace", O_RDONLY);
  for(;;)
    read(fd, block, sizeof(block));
}

static void
in_disk_write(void)
{
  int fd = open("killed", O_CREATE | O_WRONLY);
  for(;;) {
    if(write(fd, block, sizeof(block)) != sizeof(block)) {
      close(fd);
      fd = open("killed", O_TRUNC | O_WRONLY);
    }
  }
}

static void
in_fork(void)
{
  for(;;)
    fork_or_not();
}

static void
in_exec(void)
{
  char *argv[] = {(char *)"limits", (char *)"again", 0};
  exec((char *)"/limits", argv);
}

static void
in_sbrk(void)
{
  for(;;) {
    sbrk(MB);
    sbrk(-MB);
  }
}

static const struct {
  const char *name;
  void (*fn)(void);
  int sleeps; // it will sleep for ever; else it works for ever
} blockers[] = {
  {"pipe read", in_pipe_read, 1},
  {"pipe write", in_pipe_write, 1},
  {"wait", in_wait, 1},
  {"sleep", in_sleep, 1},
  {"poll", in_poll, 1},
  {"console read", in_console_read, 1},
  {"accept", in_accept, 1},
  {"connect", in_connect, 1},
  {"trace read", in_trace_read, 0},
  {"disk write", in_disk_write, 0},
  {"fork", in_fork, 0},
  {"exec", in_exec, 0},
  {"sbrk", in_sbrk, 0},
};

static int
state_of(int pid)
{
  struct psinfo ps[NPROC];
  int n = psinfo(ps, NPROC);

  for(int i = 0; i < n && i < NPROC; i++)
    if(ps[i].pid == pid)
      return ps[i].state;
  return 0;
}

static void
kill_in(const char *name, void (*fn)(void), int sleeps, int ticks)
{
  int status = 0, pid = fork();

  if(pid == 0) {
    fn();
    exits(99);
  }
  for(int i = 0; sleeps && i < 500 && state_of(pid) != PS_SLEEPING; i++)
    sleep(1);
  sleep(ticks);
  must(!sleeps || state_of(pid) == PS_SLEEPING, name, 1);
  must(kill(pid) == 0, name, 2);
  must(waitpid(pid, &status, 0) == pid && status == -1, name, status);
}

static void
listen_here(void)
{
  struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(80)};

  listener = socket(AF_INET, SOCK_STREAM, 0);
  must(bind(listener, &sa, sizeof(sa)) == 0 && listen(listener, 5) == 0, "a listener", listener);
}

static void
kills(void)
{
  listen_here();
  for(uint i = 0; i < NELEM(blockers); i++)
    for(int round = 0; round < (blockers[i].sleeps ? 2 : 5); round++)
      kill_in(blockers[i].name, blockers[i].fn, blockers[i].sleeps, 1 + round * 2);
  close(listener);
  unlink("killed");
  all_works("after all those kills");
}

// With a peer on the host, which connects and says nothing.
static void
in_recv(void)
{
  int fd = accept(listener, 0, 0);
  recv(fd, block, sizeof(block), 0);
}

// The peer does not read either.
static void
in_send(void)
{
  int fd = accept(listener, 0, 0);
  while(send(fd, block, sizeof(block), 0) > 0)
    ;
}

static void
peer(void)
{
  void (*const fns[])(void) = {in_recv, in_send};

  listen_here();
  for(int i = 0; i < 2; i++) {
    int status = 0, pid = fork();
    if(pid == 0) {
      fns[i]();
      exits(99);
    }
    printf(1, "connect %d\n", i);
    for(int k = 0, still = 0; k < 1000 && still < 30; k++) {
      still = now().socks == 2 && state_of(pid) == PS_SLEEPING ? still + 1 : 0;
      sleep(1);
    }
    must(state_of(pid) == PS_SLEEPING && now().socks == 2, "asleep with a peer", i);
    must(kill(pid) == 0 && waitpid(pid, &status, 0) == pid && status == -1, "killed with a peer", status);
    printf(1, "killed %d\n", i);
    must(now().socks == 1, "sockets", (int)now().socks);
  }
  close(listener);
}

// ---- a disk that makes no sense -------------------------------------------------------------------

static int worked;

static void
wild_call(int result)
{
  nchecks++;
  worked += result >= 0;
}

// All that can be done with a name.
static void
wild_name(char *name)
{
  static char sub[32];
  char *argv[] = {name, 0};
  struct stat st;

  wild_call(stat(name, &st));
  for(int flags = 0; flags < 4; flags++) {
    int fd = open(name, (flags == 3 ? O_CREATE | O_RDWR : flags) | O_NONBLOCK); // it may be the console
    wild_call(fd);
    for(int i = 0; i < 12; i++)
      wild_call(read(fd, block, 1 + i * 400));
    wild_call(write(fd, block, sizeof(block)));
    wild_call(close(fd));
  }
  for(const char *end = "x..fy/w"; *end; end++) { // name/x, name/., name/.. ...
    strcpy(sub, name);
    char *p = sub + strlen(sub);
    *p++ = '/';
    *p++ = *end;
    if(*end == '.' && end[1] != '.')
      *p++ = '.';
    *p = 0;
    wild_call(stat(sub, &st));
    wild_call(link(name, sub));
    wild_call(mkdir(sub));
    wild_call(close(open(sub, O_CREATE | O_RDWR)));
    wild_call(unlink(sub));
  }
  wild_call(chdir(name));
  wild_call(open("..", O_RDONLY));
  wild_call(chdir("/"));
  int pid = fork();
  if(pid == 0)
    exits(exec(name, argv));
  wait();
}

// Twice: what the first round did to the disk meets the second.
static void
wild(void)
{
  char name[] = "/w00";

  for(int round = 0; round < 2; round++) {
    for(int i = 0; i < 40; i++) {
      name[2] = (char)('0' + i / 10);
      name[3] = (char)('0' + i % 10);
      wild_name(name);
      for(int fd = 3; fd < NOFILE; fd++)
        close(fd);
      if(round || i % 3 == 0)
        wild_call(unlink(name));
    }
  }
  printf(1, "%d wild calls, %d worked\n", nchecks, worked);
  exits(0);
}

// ---- all at once -------------------------------------------------------------------

// A little of everything, n times, in four processes.
static void
stress(int n)
{
  for(int k = 0; k < 4; k++)
    if(fork() == 0) {
      char dir[] = "s0";
      dir[1] = (char)('0' + k);
      mkdir(dir);
      wrong = 0;
      for(int i = 0; i < n && wrong == 0; i++) {
        must(chdir(dir) == 0, "cd", k);
        all_works("under load");
        must(chdir("/") == 0, "cd /", k);
        fork_or_not();
      }
      unlink(dir);
      exits(wrong);
    }
  for(int k = 0; k < 4; k++) {
    int status = 0;
    must(waitpid(-1, &status, 0) > 0 && status == 0, "a process under load", status);
  }
}

static void
stress_short(void)
{
  stress(20);
}

static const struct {
  const char *name;
  void (*fn)(void);
  int alone; // only by name
} tests[] = {
  {"counts", counts, 1},
  {"again", in_exec, 1},
  {"peer", peer, 1},
  {"wild", wild, 1},
  {"hundred", hundred, 1},
  {"stress", stress_short, 0},
  {"unkillable", unkillable, 0},
  {"processes", processes, 0},
  {"memory", memory, 0},
  {"descriptors", descriptors, 0},
  {"files", files, 0},
  {"inodes", inodes, 0},
  {"blocks", blocks, 0},
  {"dinodes", dinodes, 0},
  {"removed", removed, 0},
  {"kills", kills, 0},
};

int
main(int argc, char **argv)
{
  for(uint i = 0; i < NELEM(tests); i++)
    if(argc > 1 ? strcmp(argv[1], tests[i].name) == 0 : !tests[i].alone)
      tests[i].fn();
  if(nchecks == 0)
    return 0;
  printf(1, "%d checks, %d wrong\n", nchecks, wrong);
  return wrong > 0;
}
