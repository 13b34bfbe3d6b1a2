// Five network calls of an older course kernel, over sockets: one listener and
// one connection per process.  Its programs compile and run unchanged.
//
// Nothing here waits for ever: net_accept waits 100 ms, net_recv 5 s, and
// net_close ends after 200 ms, so one bad client costs only its own time.
// After fork, parent and child each have both.
#include "types.h"
#include "net.h"
#include "sys.h"
#include "user.h"

#define BACKLOG    16
#define ACCEPT_MS  100
#define RECV_MS    5000
#define LINGER_MS  200
#define LINGER_MAX (1024 * 1024) // bytes

static int listener = -1;
static int listen_port;
static int conn = -1;
static int ended; // net_recv has reported the end of this connection

// Wait until fd can be read or has ended, for at most ms.
static int
readable(int fd, int ms)
{
  struct pollfd p = {.fd = fd, .events = POLLIN};
  return poll(&p, 1, ms) > 0;
}

// Accept clients at port from now on.  The same port again: nothing happens,
// clients that wait already are kept.  Another port: the old one is closed.
// 0, or -1: not a port, or it is in use.
int
net_listen(int port)
{
  if(port < 1 || port > 65535)
    return -1;
  if(listener >= 0 && port == listen_port) {
    net_close();
    return 0;
  }
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if(fd < 0)
    return -1;
  struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
  int on = 1; // connections of an earlier run may still be in TIME-WAIT
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if(bind(fd, &sa, sizeof(sa)) < 0 || listen(fd, BACKLOG) < 0) {
    close(fd);
    return -1;
  }
  net_close();
  if(listener >= 0)
    close(listener);
  listener = fd;
  listen_port = port;
  return 0;
}

// 1: there is a current connection; 0: no client yet; -1: not listening.
int
net_accept(void)
{
  if(listener < 0)
    return -1;
  if(conn >= 0)
    return 1;
  if(!readable(listener, ACCEPT_MS))
    return 0;
  int fd = accept(listener, 0, 0);
  if(fd < 0)
    return 0;
  conn = fd;
  ended = 0;
  return 1;
}

// At least one byte into buf: their number.  0: the end of the stream, or
// nothing came for 5 s; this is said once, then it is -1, so that a loop ends.
int
net_recv(void *buf, int n)
{
  if(conn < 0 || buf == 0 || n <= 0 || ended)
    return -1;
  int got = readable(conn, RECV_MS) ? recv(conn, buf, n, 0) : 0;
  if(got <= 0)
    ended = 1;
  return got < 0 ? -1 : got;
}

// n once all bytes are on their way, else -1; never less.
int
net_send(const void *buf, int n)
{
  if(conn < 0 || buf == 0 || n <= 0)
    return -1;
  return send(conn, buf, n, 0) == n ? n : -1;
}

// End the current connection, if there is one; always 0.  What the client
// still sends is read and thrown away first: closing a socket with unread
// input resets the connection, and the client could lose our reply.
int
net_close(void)
{
  if(conn < 0)
    return 0;
  char buf[1024];
  u64 now, end;
  shutdown(conn, SHUT_WR);
  nsclock(&now);
  end = now + LINGER_MS * 1000000ull;
  for(int total = 0; now < end && total < LINGER_MAX; nsclock(&now)) {
    if(!readable(conn, LINGER_MS))
      break;
    int n = recv(conn, buf, sizeof(buf), MSG_DONTWAIT);
    if(n <= 0 && n != -EAGAIN)
      break;
    total += n > 0 ? n : 0;
  }
  close(conn);
  conn = -1;
  return 0;
}
