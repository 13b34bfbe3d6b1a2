// nc: standard input to a connection, the connection to standard output.
#include "cmd.h"
#include "fcntl.h"
#include "net.h"
#include "sys.h"
#include "user.h"

static const char help[] =
  "usage: nc [-uv] [-w S] HOST PORT | nc -l [-uv] [-w S] [-p] PORT\n"
  "Connects standard input and output with a TCP connection.  The end of the input\n"
  "is the end of what we send; nc ends when the peer has sent everything.\n"
  "  -l       wait for one connection at PORT instead\n"
  "  -u       UDP: each read of the input is a datagram; ends 0.5 s (-w S) after its end\n"
  "  -p PORT  the local port, here or with -l\n"
  "  -w S     give up after S seconds of silence, and with connecting\n"
  "  -v       say what happens, on descriptor 2\n"
  "  echo 'GET / HTTP/1.0' | nc 127.0.0.1 80\n";

static int udp, verbose;
static uint wait_s;
static char buf[8192];

static void
say(const char *what, const struct sockaddr_in *who)
{
  if(verbose)
    printf(2, "nc: %s %s:%u\n", what, inet_ntoa(who->sin_addr), ntohs(who->sin_port));
}

// A socket, at local port unless that is 0.
static int
open_at(uint port)
{
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(port)};
  int on = 1, fd = socket(AF_INET, udp ? SOCK_DGRAM : SOCK_STREAM, 0), r = fd;
  if(fd >= 0)
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if(fd >= 0 && port)
    r = bind(fd, &here, sizeof(here));
  if(r < 0)
    die("port", r);
  return fd;
}

static int
poll_one(int fd, int ms)
{
  struct pollfd p = {fd, POLLIN, 0};
  return poll(&p, 1, ms);
}

static int
patience(void)
{
  return wait_s ? (int)wait_s * 1000 : -1;
}

// The first peer that comes; UDP: the sender of the first datagram, which stays
// to be read.
static int
wait_for_peer(uint port)
{
  struct sockaddr_in peer;
  int len = sizeof(peer), fd = open_at(port), r = udp ? 0 : listen(fd, 1);
  if(r < 0)
    die("listen", r);
  if(verbose)
    printf(2, "nc: listening at %s port %u\n", udp ? "UDP" : "TCP", port);
  if(poll_one(fd, patience()) == 0)
    die("nobody came", ETIMEDOUT);
  if(udp) {
    r = recvfrom(fd, buf, 0, MSG_PEEK, &peer, &len);
    if(r < 0 || (r = connect(fd, &peer, sizeof(peer))) < 0)
      die("receive", r);
    say("datagrams from", &peer);
    return fd;
  }
  r = accept(fd, &peer, &len);
  if(r < 0)
    die("accept", r);
  close(fd);
  say("connection from", &peer);
  return r;
}

static int
call(const char *host, uint port, uint from)
{
  struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = host_of(host)};
  int fd = open_at(from), ms = wait_s * 1000;
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &ms, sizeof(ms));
  int r = connect(fd, &peer, sizeof(peer));
  if(r == -EINPROGRESS)
    r = -ETIMEDOUT;
  if(r < 0)
    die(host, r);
  ms = 0;
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &ms, sizeof(ms));
  say(udp ? "datagrams to" : "connected to", &peer);
  return fd;
}

// What was read from standard input and has not been sent yet.
static char input[8192];
static int waiting, done; // bytes of it, and how many of those are sent

static void
show(const char *p, int n)
{
  for(int r; n > 0; p += r, n -= r)
    if((r = write(1, p, n)) <= 0)
      die("cannot write to standard output", 0);
}

// Standard input is readable.  0 at its end.
static int
from_input(int fd)
{
  waiting = read(0, input, udp ? 1472 : sizeof(input));
  done = 0;
  if(waiting > 0)
    return 1;
  if(waiting < 0)
    printf(2, "nc: cannot read standard input\n");
  waiting = 0;
  if(!udp)
    shutdown(fd, SHUT_WR);
  return 0;
}

// Some of the input to the peer, as much as fits now: a peer that sends instead of
// reading must not stop us from reading what it sends.
static void
to_peer(int fd)
{
  int r = send(fd, input + done, waiting - done, MSG_DONTWAIT);
  if(r == -EAGAIN)
    return;
  if(r < 0)
    die("send", r);
  done += r;
  if(done == waiting)
    waiting = 0;
}

// The peer has sent something.  0 at the end.
static int
from_peer(int fd)
{
  int n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
  if(n == -EAGAIN)
    return 1;
  if(n < 0)
    die("receive", n);
  show(buf, n);
  return n > 0 || udp;
}

// Both ways until the peer's end, or silence.
static void
talk(int fd)
{
  int open = 1; // standard input has not ended
  for(;;) {
    struct pollfd p[2] = {{fd, POLLIN | (waiting ? POLLOUT : 0), 0}, {0, POLLIN, 0}};
    int r = poll(p, open && !waiting ? 2 : 1, !open && udp && !wait_s ? 500 : patience());
    if(r == 0 && wait_s && !(udp && !open))
      die("silence", ETIMEDOUT);
    if(r <= 0)
      return;
    if(p[0].revents & POLLOUT && waiting)
      to_peer(fd);
    if(p[0].revents & ~POLLOUT && !from_peer(fd))
      return;
    if(p[1].revents)
      open = from_input(fd);
  }
}

int
main(int argc, char *argv[])
{
  int listening = 0;
  uint port = 0;
  cmd("nc", help);
  for(int o; (o = getopt(argc, argv, "luvp:w:")) != -1;) {
    if(o == 'l')
      listening = 1;
    else if(o == 'u')
      udp = 1;
    else if(o == 'v')
      verbose = 1;
    else if(o == 'p')
      port = number(optarg, 1, 65535);
    else
      wait_s = number(optarg, 1, 1000000);
  }
  int left = argc - optind;
  if(listening && left == 1 && port == 0)
    port = number(argv[optind], 1, 65535);
  else if(listening ? left != 0 || port == 0 : left != 2)
    usage();
  talk(listening ? wait_for_peer(port) : call(argv[optind], number(argv[optind + 1], 1, 65535), port));
  exits(0);
}
