// udpecho: sends back what it gets.
#include "cmd.h"
#include "net.h"
#include "sys.h"
#include "user.h"

static const char help[] =
  "usage: udpecho [-t] [PORT]\n"
  "Sends every datagram back to its sender, until Ctrl-C (RFC 862).  PORT is 7 if not\n"
  "given.\n"
  "  -t  TCP, up to 32 connections at once\n";

#define NCONN      32
#define STALLED_MS 5000 // a client that does not take its echo holds up the others at most so long

static char buf[65507];

static void __attribute__((noreturn))
echo_datagrams(int fd)
{
  for(;;) {
    struct sockaddr_in from;
    int len = sizeof(from), n = recvfrom(fd, buf, sizeof(buf), 0, &from, &len);
    if(n < 0)
      die("receive", n);
    sendto(fd, buf, n, 0, &from, sizeof(from)); // what cannot go is lost, as with any datagram
  }
}

// One round with connection fd.  0 at its end.
static int
echo_some(int fd)
{
  int n = recv(fd, buf, 8192, 0);
  return n > 0 && send(fd, buf, n, 0) == n;
}

static void __attribute__((noreturn))
echo_connections(int fd)
{
  struct pollfd p[1 + NCONN] = {{fd, POLLIN, 0}};
  int n = 1;
  for(;;) {
    p[0].events = n < 1 + NCONN ? POLLIN : 0; // full: the others wait in the backlog
    poll(p, n, -1);
    for(int i = n - 1; i > 0; i--)
      if(p[i].revents && !echo_some(p[i].fd)) {
        close(p[i].fd);
        p[i] = p[--n];
      }
    int conn = p[0].revents ? accept(fd, 0, 0) : -1;
    int ms = STALLED_MS;
    if(conn >= 0)
      setsockopt(conn, SOL_SOCKET, SO_SNDTIMEO, &ms, sizeof(ms));
    if(conn >= 0)
      p[n++] = (struct pollfd){conn, POLLIN, 0};
  }
}

int
main(int argc, char *argv[])
{
  int tcp = 0, on = 1;
  cmd("udpecho", help);
  while(getopt(argc, argv, "t") == 't')
    tcp = 1;
  if(argc - optind > 1)
    usage();
  uint port = optind < argc ? number(argv[optind], 1, 65535) : 7;
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(port)};
  int fd = socket(AF_INET, tcp ? SOCK_STREAM : SOCK_DGRAM, 0), r = fd;
  if(fd >= 0) {
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    r = bind(fd, &here, sizeof(here));
  }
  if(r >= 0 && tcp)
    r = listen(fd, 16);
  if(r < 0)
    die("port", r);
  if(tcp)
    echo_connections(fd);
  echo_datagrams(fd);
}
