// netbench: what tools/bench/net measures: httpd, and by plain blocking calls echo on
// port 7, a sink on 9, a source on 19; one process each, as in the reference guest.
// On port 10 connections are kept: what does a segment cost among many others?
#include "types.h"
#include "fcntl.h"
#include "param.h"
#include "net.h"
#include "sys.h"
#include "user.h"

static char buf[65536];

static void
echo(int fd)
{
  int n;
  while((n = recv(fd, buf, sizeof(buf), 0)) > 0)
    if(send(fd, buf, n, 0) != n)
      return;
}

static void
sink(int fd)
{
  while(recv(fd, buf, sizeof(buf), 0) > 0)
    ;
}

static void
source(int fd)
{
  while(send(fd, buf, sizeof(buf), 0) > 0)
    ;
}

static int
listener(int port)
{
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  int s = socket(AF_INET, SOCK_STREAM, 0);
  if(s >= 0 && bind(s, &a, sizeof(a)) >= 0 && listen(s, 64) >= 0)
    return s;
  printf(2, "netbench: port %d: cannot listen\n", port);
  exits(1);
}

// One process may have 64 files: five share the listener.  Each takes what comes.
static void
keep(int port)
{
  static struct pollfd p[NOFILE];
  int n = 1, fd;
  if(fork() != 0)
    return;
  p[0] = (struct pollfd){.fd = listener(port), .events = POLLIN};
  fcntl(p[0].fd, F_SETFL, O_NONBLOCK);
  for(int i = 0; i < 4; i++)
    if(fork() == 0)
      break;
  for(;;) {
    poll(p, n, -1);
    for(int i = 1; i < n; i++)
      if(p[i].revents && recv(p[i].fd, buf, sizeof(buf), MSG_DONTWAIT) == 0)
        p[i].events = 0; // its end: kept
    if(n < 56 && p[0].revents && (fd = accept(p[0].fd, 0, 0)) >= 0)
      p[n++] = (struct pollfd){.fd = fd, .events = POLLIN};
    p[0].events = n < 56 ? POLLIN : 0;
  }
}

static void
service(int port, void (*serve)(int))
{
  if(fork() != 0)
    return;
  int s = listener(port), fd;
  while((fd = accept(s, 0, 0)) >= 0) {
    serve(fd);
    close(fd);
  }
  printf(2, "netbench: port %d: %s\n", port, neterr(fd));
  exits(1);
}

int
main(void)
{
  static char name[] = "httpd", *argv[] = {name, 0};
  service(7, echo);
  service(9, sink);
  service(19, source);
  keep(10);
  exec(name, argv);
  printf(2, "netbench: no httpd\n");
  exits(1);
}
