// load: one client for every guest that tools/bench/net measures.
//
// A single thread, so that it never races with itself: the host's kernel takes or
// refuses a connection inside connect().  QEMU listens with room for one connection
// that it has not accepted yet; the next SYN is dropped and Linux would try again a
// second later.  That second says nothing about the guest: a connection that is not
// there after STALL_US is given up and opened afresh, and the count of these printed.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STALL_US   5000
#define GIVE_UP_US 10000000 // an answer that takes longer is a failure
#define MAXCLIENTS 256
#define MESSAGE    64 // bytes of one echo
#define MAXSAMPLES 1000000

static const char usage[] =
  "usage: load PORT http CLIENTS SECONDS   requests/s, bytes of one answer, failures, stalls\n"
  "       load PORT echo SECONDS           p50 and p99 of a round trip, microseconds; how many\n"
  "       load PORT in|out SECONDS         Mbit/s into or out of the guest\n"
  "       load PORT spread N SECONDS       N connections, a message on each in turn; how many\n";

static const char request[] = "GET /index.html HTTP/1.0\r\nHost: guest\r\n\r\n";
static char buf[262144];
static struct sockaddr_in guest = {.sin_family = AF_INET};

static void __attribute__((noreturn))
die(const char *what)
{
  fprintf(stderr, "load: port %d: %s: %s\n", ntohs(guest.sin_port), what, strerror(errno));
  exit(1);
}

static double
now_us(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int
open_connection(int flags)
{
  int fd = socket(AF_INET, SOCK_STREAM | flags, 0), on = 1;
  if(fd < 0)
    die("socket");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if(connect(fd, (void *)&guest, sizeof(guest)) < 0 && errno != EINPROGRESS)
    die("connect");
  return fd;
}

// ---- http: clients that each open, ask, read to the end and begin again ----

struct client {
  int fd;
  enum {
    CONNECTING,
    READING
  } state;
  double since;
  long got; // bytes of the answer
};

static long answers, failures, stalls, answer_len;

static void
begin(struct client *c)
{
  c->fd = open_connection(SOCK_NONBLOCK);
  c->state = CONNECTING;
  c->since = now_us();
  c->got = 0;
}

// This connection is over; the next one.
static void
again(struct client *c, long *counter)
{
  ++*counter;
  close(c->fd);
  begin(c);
}

static void
read_answer(struct client *c)
{
  ssize_t n = recv(c->fd, buf, sizeof(buf), 0);
  if(n < 0 && errno == EAGAIN)
    return;
  if(n > 0) {
    c->got += n;
    return;
  }
  if(answer_len == 0)
    answer_len = c->got;
  again(c, n < 0 || c->got == 0 || c->got != answer_len ? &failures : &answers);
}

static void
serve(struct client *c, short events, double now)
{
  int err = 0;
  socklen_t n = sizeof(err);
  if(c->state == READING && events) {
    read_answer(c);
  } else if(c->state == CONNECTING && events) {
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &n);
    if(err || send(c->fd, request, sizeof(request) - 1, 0) != sizeof(request) - 1)
      again(c, &failures);
    else
      c->state = READING;
  } else if(c->state == CONNECTING && now - c->since > STALL_US) {
    again(c, &stalls);
  } else if(now - c->since > GIVE_UP_US) {
    again(c, &failures);
  }
}

static void
http(int nclients, double seconds)
{
  static struct client clients[MAXCLIENTS];
  static struct pollfd p[MAXCLIENTS];
  for(int i = 0; i < nclients; i++)
    begin(&clients[i]);
  double start = now_us(), now = start;
  while(now - start < seconds * 1e6) {
    int connecting = 0;
    for(int i = 0; i < nclients; i++) {
      connecting |= clients[i].state == CONNECTING;
      p[i] = (struct pollfd){.fd = clients[i].fd, .events = clients[i].state == READING ? POLLIN : POLLOUT};
    }
    poll(p, nclients, connecting ? 1 : 1000);
    now = now_us();
    for(int i = 0; i < nclients; i++)
      serve(&clients[i], p[i].revents, now);
  }
  printf("%.1f %ld %ld %ld\n", answers / ((now_us() - start) / 1e6), answer_len, failures, stalls);
}

// ---- one connection ------------------------------------------------------

static int
later(const void *a, const void *b)
{
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static void
echo(double seconds)
{
  static float us[MAXSAMPLES];
  int fd = open_connection(0), n = 0;
  double start = now_us(), now = start;
  while(now - start < seconds * 1e6 && n < MAXSAMPLES) {
    memset(buf, n, MESSAGE);
    if(send(fd, buf, MESSAGE, 0) != MESSAGE || recv(fd, buf + MESSAGE, MESSAGE, MSG_WAITALL) != MESSAGE)
      die("echo");
    if(memcmp(buf, buf + MESSAGE, MESSAGE) != 0) {
      fprintf(stderr, "load: the echo is not what was sent\n");
      exit(1);
    }
    double then = now;
    now = now_us();
    us[n++] = now - then;
  }
  qsort(us, n, sizeof(us[0]), later);
  printf("%.1f %.1f %d\n", us[n / 2], us[n * 99 / 100], n);
}

// Until the guest has taken the last byte: it closes then.
static void
bulk_in(double seconds)
{
  int fd = open_connection(0);
  double start = now_us(), total = 0;
  while(now_us() - start < seconds * 1e6) {
    ssize_t n = send(fd, buf, 65536, 0);
    if(n < 0)
      die("send");
    total += n;
  }
  shutdown(fd, SHUT_WR);
  while(recv(fd, buf, sizeof(buf), 0) > 0)
    ;
  printf("%.2f\n", total * 8 / (now_us() - start));
}

static void
bulk_out(double seconds)
{
  int fd = open_connection(0);
  double start = now_us(), total = 0;
  while(now_us() - start < seconds * 1e6) {
    ssize_t n = recv(fd, buf, sizeof(buf), 0);
    if(n <= 0)
      die("the guest stopped sending");
    total += n;
  }
  printf("%.2f\n", total * 8 / (now_us() - start));
}

// Pauses keep the guest's windows open: what counts is the guest's work, not its speed.
static void
spread(int n, double seconds)
{
  static int fd[MAXCLIENTS];
  long sent = 0;
  for(int i = 0; i < n; i++, usleep(5000)) // a listener's backlog is short
    fd[i] = open_connection(0);
  for(double start = now_us(); now_us() - start < seconds * 1e6; usleep(20000 + 1000 * n))
    for(int i = 0; i < n; i++, sent++)
      if(send(fd[i], buf, MESSAGE, MSG_DONTWAIT) != MESSAGE)
        die("send");
  printf("%ld\n", sent);
}

int
main(int argc, char **argv)
{
  int many = argc == 5 && atoi(argv[3]) > 0 && atoi(argv[3]) <= MAXCLIENTS;
  if(argc != 4 && !many) {
    fputs(usage, stderr);
    return 2;
  }
  double seconds = atof(argv[argc - 1]);
  signal(SIGPIPE, SIG_IGN);
  guest.sin_port = htons(atoi(argv[1]));
  guest.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if(many && strcmp(argv[2], "http") == 0)
    http(atoi(argv[3]), seconds);
  else if(many && strcmp(argv[2], "spread") == 0)
    spread(atoi(argv[3]), seconds);
  else if(strcmp(argv[2], "echo") == 0)
    echo(seconds);
  else if(strcmp(argv[2], "in") == 0)
    bulk_in(seconds);
  else if(strcmp(argv[2], "out") == 0)
    bulk_out(seconds);
  else {
    fputs(usage, stderr);
    return 2;
  }
  return 0;
}
