// polls: poll over every kind of file, judged by its results.
//
// Each wrong result is a line "WRONG ..."; the last line is "polls: N checks".  For
// tests/guest/test_console.py; needs no card, and a console at which nobody types.
#include "types.h"
#include "fcntl.h"
#include "net.h"
#include "sys.h"
#include "ulib64.h"
#include "user.h"

#define PIPESIZE 512
#define PORT     7100

static int checks;
static char big[1000];

// The value must be the wanted one; reported with the line that asked.
#define IS(expr, want) is(expr, want, #expr, __LINE__)

static int
is(int got, int want, const char *text, int line)
{
  checks++;
  if(got != want)
    printf(1, "WRONG line %d: %s = %d, not %d\n", line, text, got, want);
  return got == want;
}

// The revents of fd within ms; 0: none.
static int
ready(int fd, int events, int ms)
{
  struct pollfd p = {.fd = fd, .events = events, .revents = 0x55};
  int n = poll(&p, 1, ms);
  IS(n, p.revents != 0);
  return p.revents;
}

// A child that runs act(fd) a little later.
static int
later(void (*act)(int), int fd)
{
  int pid = fork();
  if(pid != 0)
    return pid;
  sleep(5);
  act(fd);
  exits(0);
}

static void
write_one(int fd)
{
  write(fd, "x", 1);
}

static void
read_all(int fd)
{
  read(fd, big, sizeof(big));
}

static void
nothing(int fd)
{
  (void)fd;
}

static u32
now_ms(void)
{
  u64 ns;
  nsclock(&ns);
  div64(&ns, 1000000);
  return (u32)ns;
}

static void
times(void)
{
  static const int wait[] = {0, 1, 9, 10, 35, 100};
  int p[2];
  IS(pipe(p), 0);
  for(int i = 0; i < 6; i++) {
    u32 before = now_ms();
    IS(poll(0, 0, wait[i]), 0);
    IS(ready(p[0], POLLIN, wait[i]), 0);
    int took = (int)(now_ms() - before);
    IS(took >= 2 * wait[i], 1);
    IS(took < 2 * wait[i] + 1000, 1);
  }
  close(p[0]);
  close(p[1]);
}

static void
pipes(void)
{
  int p[2];
  IS(pipe(p), 0);
  IS(ready(p[0], POLLIN, 0), 0);
  IS(ready(p[1], POLLOUT, 0), POLLOUT);
  IS(ready(p[1], POLLIN, 0), 0);
  IS(write(p[1], "x", 1), 1);
  IS(ready(p[0], POLLIN, 0), POLLIN);
  IS(ready(p[0], 0, 0), 0);
  IS(ready(p[0], POLLIN | POLLOUT, -1), POLLIN);
  IS(fcntl(p[1], F_SETFL, O_NONBLOCK), 0);
  IS(write(p[1], big, sizeof(big)), PIPESIZE - 1);
  IS(write(p[1], big, 1), -EAGAIN);
  IS(ready(p[1], POLLOUT, 0), 0);
  IS(read(p[0], big, 1), 1);
  IS(ready(p[1], POLLOUT, 0), POLLOUT);
  IS(write(p[1], big, 2), 1);
  close(p[1]);
  IS(ready(p[0], POLLIN, 0), POLLIN | POLLHUP);
  IS(read(p[0], big, sizeof(big)), PIPESIZE);
  IS(ready(p[0], POLLIN, 0), POLLHUP);
  IS(ready(p[0], 0, -1), POLLHUP);
  IS(read(p[0], big, 1), 0);
  close(p[0]);
  IS(pipe(p), 0);
  close(p[0]);
  IS(ready(p[1], POLLOUT, 0), POLLERR);
  IS(ready(p[1], 0, -1), POLLERR);
  IS(write(p[1], "x", 1), -1);
  close(p[1]);
}

// Each change wakes a poller that waits without end.
static void
wakes(void)
{
  int p[2];
  IS(pipe(p), 0);
  int pid = later(write_one, p[1]);
  IS(ready(p[0], POLLIN, -1), POLLIN);
  IS(wait(), pid);
  IS(fcntl(p[1], F_SETFL, O_NONBLOCK), 0);
  IS(write(p[1], big, sizeof(big)), PIPESIZE - 1);
  pid = later(read_all, p[0]);
  IS(ready(p[1], POLLOUT, -1), POLLOUT);
  IS(wait(), pid);
  pid = later(nothing, p[1]);
  close(p[1]); // the child has the last writer now
  IS(ready(p[0], POLLIN, -1), POLLHUP);
  IS(wait(), pid);
  close(p[0]);
  IS(pipe(p), 0);
  IS(fcntl(p[1], F_SETFL, O_NONBLOCK), 0);
  IS(write(p[1], big, sizeof(big)), PIPESIZE);
  pid = later(nothing, p[0]);
  close(p[0]);
  IS(ready(p[1], POLLOUT, -1), POLLERR);
  IS(wait(), pid);
  close(p[1]);
}

static void
devices(void)
{
  int zero = open("/dev/zero", O_RDWR), file = open("/README", O_RDONLY), con = open("/console", O_RDWR);
  IS(ready(zero, POLLIN | POLLOUT, -1), POLLIN | POLLOUT);
  IS(ready(file, POLLIN, -1), POLLIN);
  IS(ready(con, POLLIN, 0), 0);
  IS(ready(con, POLLIN, 20), 0);
  IS(ready(con, POLLIN | POLLOUT, -1), POLLOUT);
  close(zero);
  close(file);
  close(con);
}

static void
sockets(void)
{
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr = {htonl(0x7f000001)}};
  int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);
  IS(bind(l, &a, sizeof(a)), 0);
  IS(listen(l, 2), 0);
  IS(ready(l, POLLIN, 20), 0);
  IS(connect(c, &a, sizeof(a)), 0);
  IS(ready(l, POLLIN, -1), POLLIN);
  int s = accept(l, 0, 0);
  IS(ready(l, POLLIN, 0), 0);
  IS(ready(s, POLLIN | POLLOUT, -1), POLLOUT);
  int pid = later(write_one, c);
  IS(ready(s, POLLIN, -1), POLLIN);
  IS(wait(), pid);
  close(c);
  close(s);
  close(l);
}

static void
trace(void)
{
  int fd = open("/dev/nettrace", O_RDONLY | O_NONBLOCK), n;
  IS(fd > 0, 1);
  IS(ready(fd, POLLIN, -1), POLLIN); // the description of the events comes first
  do
    n = read(fd, big, sizeof(big));
  while(n > 0);
  IS(n, -EAGAIN);
  int pid = later(nothing, fd);
  IS(ready(fd, POLLIN, -1), POLLIN); // at the latest when it ends
  IS(wait(), pid);
  close(fd);
}

static void
bad(void)
{
  struct pollfd many[NPOLL + 1], three[3] = {{.fd = -1, .events = POLLIN, .revents = 7}, {.fd = 99}, {.fd = 1, .events = POLLOUT}};
  IS(ready(63, POLLIN, -1), POLLNVAL);
  IS(ready(64, POLLIN, -1), POLLNVAL);
  IS(ready(0x7fffffff, 0, -1), POLLNVAL);
  IS(poll(three, 3, -1), 2);
  IS(three[0].revents, 0);
  IS(three[1].revents, POLLNVAL);
  IS(three[2].revents, POLLOUT);
  for(int i = 0; i <= NPOLL; i++)
    many[i] = (struct pollfd){.fd = 1, .events = POLLOUT};
  IS(poll(many, NPOLL, 0), NPOLL);
  IS(poll(many, NPOLL + 1, 0), -EINVAL);
  IS(poll(many, -1, 0), -EINVAL);
  IS(poll(many, 0x20000001, 0), -EINVAL);
  IS(poll((void *)0x80100000, 1, 0), -EFAULT);
  IS(poll((void *)0, 1, 0), -EFAULT);
  IS(poll((void *)times, 1, 0), -EFAULT); // its text cannot be written to
  IS(poll((void *)-8, 2, 0), -EFAULT);
}

// A process that polls for ever is killed.
static void
killed(void)
{
  int p[2], status;
  IS(pipe(p), 0);
  for(int what = 0; what < 4; what++) {
    int pid = fork();
    if(pid == 0) {
      struct pollfd pfd = {.fd = what == 1 ? p[0] : 0, .events = POLLIN};
      poll(&pfd, what != 0, what == 3 ? 1000000 : -1);
      exits(1);
    }
    sleep(3);
    IS(kill(pid), 0);
    IS(waitpid(pid, &status, 0), pid);
    IS(status, -1);
  }
  close(p[0]);
  close(p[1]);
}

int
main(void)
{
  times();
  pipes();
  wakes();
  devices();
  sockets();
  trace();
  bad();
  killed();
  printf(1, "polls: %d checks\n", checks);
  exits(0);
}
