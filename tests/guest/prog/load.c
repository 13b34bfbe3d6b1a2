// load CASE: what the network does to processes, and processes to the network.
//
//   load turns N            how late a sleeper is told by N processes that never sleep
//   load connects N         N connections over loopback, one after the other, ended in turn by each side
//   load quiet ADDR PORT    connect and read; a peer that vanishes is found by probes
//   load unheard ADDR PORT  connect and write; a peer that vanishes is given up
//   load hold PORT          listen, never accept, until a line is typed
//   load deaf PORT          accept, never read, until a line is typed; then read all
//
// For tests/guest/test_netload.py.
#include "types.h"
#include "net.h"
#include "sys.h"
#include "user.h"

#define LOOPBACK 0x7f000001
#define PORT     7100

static void
must(int r, const char *what)
{
  if(r >= 0)
    return;
  printf(1, "WRONG: %s: %s\n", what, neterr(r));
  exits(1);
}

static struct sockaddr_in
at(u32 ip, int port)
{
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(ip)}};
  return a;
}

static int
udp(int port)
{
  struct sockaddr_in a = at(0, port);
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  must(fd, "socket");
  must(bind(fd, &a, sizeof(a)), "bind");
  return fd;
}

static uint
us_now(void)
{
  u64 ns;
  nsclock(&ns);
  return ns >> 10; // near enough: 1.024 us
}

// Use the CPU, and say once in a while what time it is.
static void
hog(int fd)
{
  for(;;) {
    for(volatile uint i = 0; i < 100000; i++)
      ;
    uint t = us_now();
    if(fd >= 0 && write(fd, &t, sizeof(t)) < 0)
      exits(0);
  }
}

// A number from a process that never sleeps: how long it took to a sleeper.
static void
lateness(int fd, const char *what)
{
  uint t, worst = 0, sum = 0, start = uptime();
  while(uptime() - start < 20) // until a tick has seen each hog
    must(read(fd, &t, sizeof(t)), what);
  for(int i = 0; i < 100; i++) {
    must(read(fd, &t, sizeof(t)), what);
    t = us_now() - t;
    sum += t;
    worst = t > worst ? t : worst;
  }
  printf(1, "%s mean %d us worst %d us\n", what, sum / 100, worst);
}

// The least ticks that one of n processes has got.
static uint
least(const int *pid, int n)
{
  struct psinfo p[64];
  uint all = psinfo(p, 64), low = ~0;
  for(uint i = 0; i < all; i++)
    for(int k = 0; k < n; k++)
      if(p[i].pid == pid[k] && p[i].ticks < low)
        low = p[i].ticks;
  return low;
}

// A sleeper behind n hogs, one of which talks to it; then two that sleep all the time
// keep each other awake, and the hogs get something yet.
static void
turns(int n)
{
  struct sockaddr_in to = at(LOOPBACK, PORT);
  int kids[16], p[2], q[2], a = udp(PORT), b = udp(PORT + 1);
  char c = 0;
  must(connect(b, &to, sizeof(to)), "connect");
  pipe(p);
  pipe(q);
  for(int i = 0; i < n; i++)
    if((kids[i] = fork()) == 0)
      hog(i == 0 ? b : -1);
  int told = fork(); // its place in the table is behind the hogs'
  if(told == 0) {
    lateness(a, "told");
    exits(0);
  }
  wait();
  int echo = fork();
  while(echo == 0 && read(p[0], &c, 1) == 1)
    write(q[1], &c, 1);
  uint t = uptime(), had = least(kids, n);
  while(uptime() - t < 50) {
    write(p[1], &c, 1);
    read(q[0], &c, 1);
  }
  printf(1, "least hog %d ticks of 50\n", least(kids, n) - had);
  kill(echo);
  for(int i = 0; i < n; i++)
    kill(kids[i]);
  while(wait() >= 0)
    ;
}

static int
connected(const char *host, int port, int on)
{
  struct sockaddr_in a = at(0, port);
  int idle = 4, step = 2, n = 3, fd = socket(AF_INET, SOCK_STREAM, 0);
  must(inet_aton(host, &a.sin_addr) - 1, host);
  must(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)), "keepalive");
  must(setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle)), "keepidle");
  must(setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &step, sizeof(step)), "keepintvl");
  must(setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &n, sizeof(n)), "keepcnt");
  uint t = uptime();
  int r = connect(fd, &a, sizeof(a));
  printf(1, "connect %s after %d s\n", r < 0 ? neterr(r) : "done", (uptime() - t) / 100);
  if(r < 0)
    exits(0);
  return fd;
}

// Until something goes wrong.
static void
until_error(int fd, int writes)
{
  char c[1000];
  int r;
  uint t = uptime();
  do
    r = writes ? send(fd, c, sizeof(c), 0) : recv(fd, c, sizeof(c), 0);
  while(r > 0);
  printf(1, "%s after %d s\n", neterr(r), (uptime() - t) / 100);
}

static int
listener(int port)
{
  struct sockaddr_in a = at(0, port);
  int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  must(fd, "socket");
  must(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), "reuseaddr");
  must(bind(fd, &a, sizeof(a)), "bind");
  must(listen(fd, 16), "listen");
  return fd;
}

static void
connects(int n)
{
  struct sockaddr_in a = at(LOOPBACK, PORT);
  int l = listener(PORT), failed = 0;
  char c = 'x';
  int server = fork();
  if(server == 0)
    for(int i = 0;; i++) {
      int fd = accept(l, 0, 0);
      recv(fd, &c, 1, 0);
      send(fd, &c, 1, 0);
      if(i % 2)
        recv(fd, &c, 1, 0); // the client ends it
      close(fd);
    }
  close(l);
  for(int i = 0; i < n; i++) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    failed += fd < 0 || connect(fd, &a, sizeof(a)) < 0 || send(fd, &c, 1, 0) != 1 || recv(fd, &c, 1, 0) != 1 ||
              (i % 2 == 0 && recv(fd, &c, 1, 0) != 0);
    close(fd);
  }
  printf(1, "%d connections, %d failed\n", n, failed);
  kill(server);
  wait();
}

static void
hold(int port, int take)
{
  char line[16];
  int l = listener(port), fd = -1, n, total = 0;
  printf(1, "listening\n");
  if(take)
    must(fd = accept(l, 0, 0), "accept");
  read(0, line, sizeof(line));
  while(take && (n = recv(fd, line, sizeof(line), 0)) > 0)
    total += n;
  printf(1, "read %d bytes\n", total);
}

int
main(int argc, char *argv[])
{
  const char *what = argc > 1 ? argv[1] : "";
  if(strcmp(what, "turns") == 0 && argc == 3)
    turns(atoi(argv[2]));
  else if(strcmp(what, "connects") == 0 && argc == 3)
    connects(atoi(argv[2]));
  else if((strcmp(what, "quiet") == 0 || strcmp(what, "unheard") == 0) && argc == 4)
    until_error(connected(argv[2], atoi(argv[3]), what[0] == 'q'), what[0] == 'u');
  else if((strcmp(what, "hold") == 0 || strcmp(what, "deaf") == 0) && argc == 3)
    hold(atoi(argv[2]), what[0] == 'd');
  else
    printf(2, "load: what?\n");
  exits(0);
}
