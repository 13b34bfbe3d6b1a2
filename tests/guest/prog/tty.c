// tty CASE: the console as a program for the whole screen uses it.
//
// Each wrong result is a line "WRONG ...".  For tests/guest/test_console.py, which
// types what each case waits for; a case says a word when it is ready.
#include "types.h"
#include "fcntl.h"
#include "net.h"
#include "sys.h"
#include "user.h"

static char buf[4096];

#define IS(expr, want) is(expr, want, #expr, __LINE__)

static int
is(int got, int want, const char *text, int line)
{
  if(got != want)
    printf(1, "WRONG line %d: %s = %d, not %d\n", line, text, got, want);
  return got == want;
}

static int
ready(int ms)
{
  struct pollfd p = {.fd = 0, .events = POLLIN};
  return poll(&p, 1, ms) > 0 ? p.revents : 0;
}

// Wait for input and take it all, from a console that does not block.
static int
take_all(void)
{
  int n = 0, got;
  ready(-1);
  while((got = read(0, buf + n, sizeof(buf) - n)) > 0)
    n += got;
  IS(got, -EAGAIN);
  return n;
}

static void
modes(void)
{
  IS(ttyctl(0, TTY_MODE, TTY_RAW), TTY_COOKED);
  IS(ttyctl(0, TTY_MODE, TTY_EDIT), TTY_RAW);
  IS(ttyctl(0, TTY_MODE, 3), -1);
  IS(ttyctl(0, TTY_MODE, -1), -1);
  IS(ttyctl(0, TTY_MODE, TTY_COOKED), TTY_EDIT);
  IS(ttyctl(0, TTY_SIZE, 0), 24 << 16 | 80);
  IS(ttyctl(0, TTY_SIZE, 50 << 16 | 132), 50 << 16 | 132);
  IS(ttyctl(1, TTY_SIZE, 0), 50 << 16 | 132);
  IS(ttyctl(0, TTY_SIZE, -1), -1);
  IS(ttyctl(0, TTY_SIZE, 24 << 16 | 80), 24 << 16 | 80);
  IS(ttyctl(0, 9, 0), -1);
  IS(ttyctl(40, TTY_MODE, 0), -1);
  int fd = open("/dev/null", O_RDONLY);
  IS(ttyctl(fd, TTY_MODE, TTY_RAW), -1);
  int p[2];
  IS(pipe(p), 0);
  IS(ttyctl(p[0], TTY_SIZE, 0), -1);
  int pid = fork(); // the mode of a process goes with it
  if(pid == 0) {
    ttyctl(0, TTY_MODE, TTY_RAW);
    exits(0);
  }
  IS(wait(), pid);
  IS(ttyctl(0, TTY_MODE, TTY_COOKED), TTY_COOKED);
  pid = fork(); // also when it is killed
  if(pid == 0) {
    ttyctl(0, TTY_MODE, TTY_RAW);
    write(p[1], "x", 1);
    for(;;)
      sleep(100);
  }
  IS(read(p[0], buf, 1), 1);
  IS(ttyctl(0, TTY_MODE, TTY_RAW), TTY_RAW); // ours from here on
  IS(kill(pid), 0);
  IS(wait(), pid);
  IS(ttyctl(0, TTY_MODE, TTY_COOKED), TTY_RAW);
}

static void
nonblock(void)
{
  int fd = open("/console", O_RDONLY | O_NONBLOCK);
  IS(read(fd, buf, 1), -EAGAIN);
  IS(fcntl(fd, F_GETFL, 0), O_RDONLY | O_NONBLOCK);
  IS(fcntl(fd, F_SETFL, 0), 0);
  IS(fcntl(fd, F_GETFL, 0), O_RDONLY);
  int old = fcntl(0, F_GETFL, 0);
  IS(fcntl(0, F_SETFL, O_NONBLOCK), 0);
  IS(read(0, buf, 1), -EAGAIN);
  IS(ready(0), 0);
  IS(ready(30), 0);
  printf(1, "type a line\n"); // "abc\n": in cooked mode nothing is there before its end
  IS(ready(-1), POLLIN);
  IS(read(0, buf, 2), 2);
  IS(ready(0), POLLIN);
  IS(read(0, buf, 9), 2);
  IS(buf[1], '\n');
  IS(read(0, buf, 9), -EAGAIN);
  ttyctl(0, TTY_MODE, TTY_RAW);
  printf(1, "type a key\n");
  IS(ready(-1), POLLIN);
  IS(read(0, buf, 9), 1);
  IS(buf[0], 'k');
  IS(read(0, buf, 9), -EAGAIN);
  ttyctl(0, TTY_MODE, TTY_COOKED);
  fcntl(0, F_SETFL, old & O_NONBLOCK);
}

// 256 bytes, each value once, in order.
static void
bytes(void)
{
  ttyctl(0, TTY_MODE, TTY_RAW);
  fcntl(0, F_SETFL, O_NONBLOCK);
  printf(1, "type\n");
  int n = 0, wrong = 0;
  while(n < 256) {
    int got = take_all();
    for(int i = 0; i < got; i++)
      wrong += (uchar)buf[i] != n++;
  }
  ttyctl(0, TTY_MODE, TTY_COOKED);
  printf(1, "%d bytes, %d wrong\n", n, wrong);
}

// Cooked lines as they come, in hexadecimal, up to the end of the input.
static void
lines(void)
{
  int n;
  printf(1, "type\n");
  while((n = read(0, buf, sizeof(buf))) > 0) {
    printf(1, "%d:", n);
    for(int i = 0; i < n && i < 20; i++)
      printf(1, " %02x", (uchar)buf[i]);
    printf(1, "\n");
  }
  printf(1, "end %d\n", n);
}

// More than the console holds, since it is read late: the rest waits outside, and
// still comes.  A point ends it.
static void
flood(void)
{
  ttyctl(0, TTY_MODE, TTY_RAW);
  fcntl(0, F_SETFL, O_NONBLOCK);
  printf(1, "type\n");
  ready(-1);
  sleep(50);
  int n = 0, got = 1;
  for(buf[0] = 0; got < 1 || buf[got - 1] != '.'; n += got > 0 ? got : 0) {
    ready(-1);
    got = read(0, buf, sizeof(buf));
  }
  ttyctl(0, TTY_MODE, TTY_COOKED);
  printf(1, "%d kept\n", n);
}

// Leaves the console in a state that a shell must not suffer from, and is killed.
static void
stuck(void)
{
  ttyctl(0, TTY_MODE, TTY_RAW);
  fcntl(0, F_SETFL, O_NONBLOCK);
  ttyctl(0, TTY_FG, 1);
  printf(1, "stuck\n");
  for(;;)
    sleep(100);
}

// What the devices of memory give and take.
static void
mem(void)
{
  int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDWR), random = open("/dev/random", O_RDWR);
  IS(read(null, buf, sizeof(buf)), 0);
  IS(write(null, buf, sizeof(buf)), sizeof(buf));
  memset(buf, 7, sizeof(buf));
  IS(read(zero, buf, 1000), 1000);
  int sum = 0;
  for(int i = 0; i < 1000; i++)
    sum += buf[i];
  IS(sum, 0);
  IS(buf[1000], 7);
  IS(write(zero, buf, 10), 10);
  int count[256] = {0}, odd = 0;
  for(int k = 0; k < 16; k++) {
    IS(read(random, buf, sizeof(buf)), sizeof(buf));
    for(uint i = 0; i < sizeof(buf); i++)
      count[(uchar)buf[i]]++;
  }
  for(int i = 0; i < 256; i++) // 256 expected of each, standard deviation 16
    odd += count[i] < 256 - 100 || count[i] > 256 + 100;
  IS(odd, 0);
  buf[5] = 7;
  IS(read(random, buf, 5), 5);
  IS(buf[5], 7);
  IS(write(random, buf, 3), 3);
  IS(read(random, buf, 0), 0);
  IS(open("/dev/random", O_WRONLY | O_TRUNC) > 0, 1);
  IS(mknod("/dev/other", 2, 3), 0);
  IS(open("/dev/other", O_RDONLY), -1);
  IS(unlink("/dev/other"), 0);
}

// A size, left as it is.
static void
size(void)
{
  IS(ttyctl(0, TTY_SIZE, 50 << 16 | 132), 50 << 16 | 132);
}

// The kernel says that it has ended us.
static void
fault(void)
{
  *(volatile char *)0x80000000 = 0;
}

static const struct {
  const char *name;
  void (*run)(void);
} cases[] = {
  {"modes", modes},
  {"nonblock", nonblock},
  {"bytes", bytes},
  {"lines", lines},
  {"flood", flood},
  {"stuck", stuck},
  {"mem", mem},
  {"size", size},
  {"fault", fault},
};

int
main(int argc, char *argv[])
{
  for(uint i = 0; argc == 2 && i < sizeof(cases) / sizeof(cases[0]); i++) {
    if(strcmp(argv[1], cases[i].name) != 0)
      continue;
    cases[i].run();
    printf(1, "tty %s done\n", argv[1]);
    exits(0);
  }
  printf(2, "usage: tty modes|nonblock|bytes|lines|flood|stuck|mem|size|fault\n");
  exits(2);
}
