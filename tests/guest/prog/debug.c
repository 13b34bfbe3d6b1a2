// What the debug kernel is asked and made to do.  For tests/guest/test_debug.py.
//
//   debug plant N       make fault N of sys.h
//   debug stack         bytes of a kernel stack ever used
//   debug crc           CRC of the kernel's code
//   debug locks         what the lock checker saw
//   debug leak          lose a page: which of the books tells, and by how much
//   debug plain         how many of the above does this kernel do?
//   debug fail A B      for k from A to B: the k-th allocation fails in a round
//                       of work here; the books must be even afterwards
//   debug wire A B      the same while the host does something, between the
//                       line `go K` and a key
#include "types.h"
#include "fcntl.h"
#include "net.h"
#include "stat.h"
#include "sys.h"
#include "user.h"

#define PATIENCE 1000 // ticks until the books must be even

static char buf[4096];

static void
die(const char *what)
{
  printf(1, "WRONG: %s\n", what);
  exits(1);
}

// ---- a round of work: each step may fail, and then says nothing ------------

// An unlink may be what fails: only once.
static void
remove(const char *name)
{
  if(unlink(name) < 0)
    unlink(name);
}

static void
files(void)
{
  mkdir("dbgdir");
  int fd = open("dbgdir/f", O_CREATE | O_RDWR);
  if(fd >= 0) {
    for(int i = 0; i < 8; i++)
      write(fd, buf, 1024); // into the indirect block
    close(fd);
  }
  link("dbgdir/f", "dbgdir/g");
  fd = open("dbgdir/g", O_RDONLY);
  if(fd >= 0) {
    while(read(fd, buf, sizeof(buf)) > 0)
      ;
    close(fd);
  }
  remove("dbgdir/g");
  remove("dbgdir/f");
  remove("dbgdir");
}

static void
processes(void)
{
  int p[2];
  static char name[] = "/echo", text[] = "child";
  char *argv[] = {name, text, 0};
  if(pipe(p) < 0)
    return;
  int pid = fork();
  if(pid == 0) {
    close(1);
    dup(p[1]);
    close(p[0]);
    close(p[1]);
    exec(name, argv);
    exits(1);
  }
  close(p[1]);
  while(pid > 0 && read(p[0], buf, sizeof(buf)) > 0)
    ;
  close(p[0]);
  if(pid > 0 && wait() != pid)
    die("wait");
}

// Wait until fd can be read; 0 if that takes too long.
static int
ready(int fd)
{
  struct pollfd p = {.fd = fd, .events = POLLIN};
  return poll(&p, 1, 20000) == 1;
}

// One page from our own httpd.  Is it whole?
static int
page(void)
{
  static const char ask[] = "GET /README HTTP/1.0\r\n\r\n";
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(80)};
  int n, got = 0, fd = socket(AF_INET, SOCK_STREAM, 0);
  if(fd < 0)
    return 0;
  inet_aton("127.0.0.1", &to.sin_addr);
  if(connect(fd, &to, sizeof(to)) == 0 && send(fd, ask, sizeof(ask) - 1, 0) == sizeof(ask) - 1)
    while(ready(fd) && (n = recv(fd, buf, sizeof(buf), 0)) > 0)
      got += n;
  close(fd);
  return got > 400;
}

static void
work(void)
{
  files();
  processes();
  page();
}

// ---- the books --------------------------------------------------------------

static void
books(struct kcounts *c)
{
  if(kdebug(KD_COUNTS, c) < 0)
    die("kdebug(KD_COUNTS)");
  c->pcbs -= c->time_wait; // these go by themselves
  c->time_wait = 0;
}

// A word of the books that differs, -1 if none does.
static int
differs(const struct kcounts *a, const struct kcounts *b)
{
  const uint *x = (const uint *)a, *y = (const uint *)b;
  for(uint i = 0; i < sizeof(*a) / sizeof(uint); i++)
    if(x[i] != y[i])
      return (int)i;
  return -1;
}

// Connections end in the background: give them time.
static void
even(const struct kcounts *before, int k)
{
  struct kcounts now;
  int i = 0, from = uptime();
  for(books(&now); (i = differs(before, &now)) >= 0; books(&now)) {
    if(uptime() - from > PATIENCE) {
      printf(1, "WRONG: k %d: word %d of the books was %d, is %d\n", k, i, ((const uint *)before)[i],
             ((const uint *)&now)[i]);
      exits(1);
    }
    sleep(1);
  }
}

// One failure each; how many were reached.
static int
failing(int from, int to, int wire)
{
  struct kcounts before;
  int reached = 0;
  char key;
  work();
  work();
  sleep(100);
  books(&before);
  for(int k = from; k <= to; k++) {
    if(kdebug(KD_FAILNTH, (void *)k) < 0)
      die("kdebug(KD_FAILNTH)");
    if(wire) {
      printf(1, "go %d\n", k);
      read(0, &key, 1);
    } else
      work();
    int left = kdebug(KD_FAILNTH, 0);
    for(int i = 0; i < 3 && left > 0 && !wire; i++) { // a round has about 90
      kdebug(KD_FAILNTH, (void *)left);
      work();
      left = kdebug(KD_FAILNTH, 0);
    }
    reached += left == 0;
    if(!page())
      die("no page after one failure");
    even(&before, k);
  }
  return reached;
}

static void
leak(void)
{
  struct kcounts before, now;
  books(&before);
  kdebug(KD_PLANT, (void *)PLANT_LEAK);
  books(&now);
  int i = differs(&before, &now);
  printf(1, "leak: word %d by %d\n", i, i < 0 ? 0 : ((uint *)&before)[i] - ((uint *)&now)[i]);
}

// A process that is killed while it grows by 100 MB stops there.  Which moment that is
// is luck: one kill of several hits it.
static int
grow(void)
{
  struct kcounts before, now;
  for(int i = 0; i < 40; i++) {
    kdebug(KD_COUNTS, &before);
    uint least = before.pages_free, most = 100 << 20 >> 12;
    int pid = fork();
    if(pid == 0) {
      sbrk(100 << 20);
      exits(0);
    }
    for(int killed = 0, ended = 0; !ended;) {
      int status;
      ended = waitpid(pid, &status, WNOHANG) == pid;
      kdebug(KD_COUNTS, &now);
      least = now.pages_free < least ? now.pages_free : least;
      if(!killed && before.pages_free - least > most / 20)
        killed = kill(pid) == 0;
    }
    if(before.pages_free - least > most / 20 && before.pages_free - least < most / 2)
      return 1;
  }
  return 0;
}

static int
done_here(void)
{
  struct klocks l;
  uint crc;
  int n = kdebug(KD_CRC, &crc) != -1;
  n += kdebug(KD_LOCKS, &l) != -1;
  n += kdebug(KD_FAILNTH, 0) != -1;
  n += kdebug(KD_PLANT, (void *)PLANT_LEAK) != -1;
  n += kdebug(0, &l) != -1;
  n += kdebug(KD_PLANT + 1, &l) != -1;
  n += kdebug(KD_PLANT, 0) != -1;
  return n;
}

static int
number(int argc, char *argv[], int i)
{
  return i < argc ? atoi(argv[i]) : 0;
}

int
main(int argc, char *argv[])
{
  const char *what = argc > 1 ? argv[1] : "";
  struct klocks l;
  uint crc;
  if(strcmp(what, "plant") == 0)
    printf(1, "plant: %d\n", kdebug(KD_PLANT, (void *)number(argc, argv, 2)));
  else if(strcmp(what, "stack") == 0)
    printf(1, "stack: %d\n", kdebug(KD_STACK, 0));
  else if(strcmp(what, "crc") == 0 && kdebug(KD_CRC, &crc) == 0)
    printf(1, "crc: %x\n", crc);
  else if(strcmp(what, "locks") == 0 && kdebug(KD_LOCKS, &l) == 0)
    printf(1, "locks: classes %d orders %d missed %d longest_us %d long %d by %s %x\n", l.classes, l.orders, l.missed, l.longest_us,
           l.long_holds, l.longest, l.longest_pc);
  else if(strcmp(what, "leak") == 0)
    leak();
  else if(strcmp(what, "grow") == 0)
    printf(1, "grow: %d\n", grow());
  else if(strcmp(what, "plain") == 0)
    printf(1, "plain: %d\n", done_here());
  else if(strcmp(what, "fail") == 0 || strcmp(what, "wire") == 0)
    printf(1, "reached: %d\n", failing(number(argc, argv, 2), number(argc, argv, 3), what[0] == 'w'));
  else
    printf(1, "debug: refused\n");
  exits(0);
}
