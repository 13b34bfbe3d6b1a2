// tracecost: how many instructions does one request of httpd cost, over loopback?
//
// Needs a guest whose clock counts instructions (capture -D, one CPU): there one
// tick of the TSC is one instruction, both processes' and the kernel's.  Everything
// happens in the guest, so each kernel does the same work, whatever it traces.
//
//   tracecost        one line: http MEAN LEAST MOST, of N requests
//   tracecost PAT    the same with the function tracer on for these functions, and
//                    then another line with it off again
//   tracecost flip N turn the function tracer and all events on and off, N times
// For tools/bench/trace and tests/guest/test_tracecost.py.
#include "types.h"
#include "fcntl.h"
#include "net.h"
#include "sys.h"
#include "user.h"

#define N 32

static inline uint
tsc(void)
{
  uint lo, hi;
  asm volatile("rdtsc"
               : "=a"(lo), "=d"(hi)
               :
               : "memory");
  return lo;
}

static void
must(int r, const char *what)
{
  if(r >= 0)
    return;
  printf(1, "tracecost: %s: %s\n", what, neterr(r));
  exits(1);
}

// httpd may not have come to its listen yet.
static int
dial(void)
{
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(80), .sin_addr = {htonl(0x7f000001)}};
  for(;;) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    must(fd, "socket");
    int r = connect(fd, &a, sizeof(a));
    if(r == 0)
      return fd;
    if(r != -ECONNREFUSED)
      must(r, "connect");
    close(fd);
    sleep(1);
  }
}

static void
request(void)
{
  static const char ask[] = "GET /rc HTTP/1.0\r\nHost: here\r\n\r\n";
  static char buf[2048];
  int fd = dial(), n, got = 0;
  must(send(fd, ask, sizeof(ask) - 1, 0), "send");
  while((n = recv(fd, buf, sizeof(buf), 0)) > 0)
    got += n;
  must(n, "recv");
  must(got > 100 ? 0 : -EINVAL, "answer");
  close(fd);
}

// The first requests fill caches and pools: they do not count.  Connections that have
// ended make the later ones dearer, so kernels are compared by the mean.  All of it
// comes between two ticks of the timer: one could change the order in which the
// processes run, and that costs more than what is to be measured.
static void
measure(void)
{
  uint sum = 0, least = ~0u, most = 0;
  for(int now = uptime(); uptime() == now;)
    ;
  for(int i = -8; i < N; i++) {
    uint t = tsc();
    request();
    t = tsc() - t;
    if(i < 0)
      continue;
    sum += t;
    least = t < least ? t : least;
    most = t > most ? t : most;
  }
  printf(1, "http %d %d %d\n", sum / N, least, most);
}

// Write a control line, none if pat is -; a refusal ends the program.
static void
control(const char *words, const char *pat)
{
  char line[128];
  if(pat[0] == '-' && pat[1] == 0)
    return;
  strcpy(line, words);
  strcpy(line + strlen(line), pat);
  int fd = open("/dev/nettrace", O_WRONLY);
  must(fd, "/dev/nettrace");
  must(write(fd, line, strlen(line)), line);
  close(fd);
}

static void
flip(int n)
{
  for(int i = 0; i < n; i++) {
    control("func ", i % 2 ? "off" : "*");
    control("base ", i % 4 < 2 ? "+*" : "-*");
  }
  printf(1, "flipped\n");
  exits(0);
}

int
main(int argc, char *argv[])
{
  if(argc > 2)
    flip(atoi(argv[2]));
  if(argc > 1)
    control("func ", argv[1]);
  measure();
  if(argc > 1) {
    control("func ", argv[1][0] == '-' ? argv[1] : "off");
    measure();
  }
  exits(0);
}
