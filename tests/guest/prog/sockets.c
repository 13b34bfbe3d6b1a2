// sockets CASE: the socket calls over loopback, judged by their results.
//
// Each wrong result is a line "WRONG ..."; the last line is "CASE: N checks".  Without
// arguments the cases are listed.  For tests/guest/test_sockets.py; needs no card.
#include "types.h"
#include "fcntl.h"
#include "memlayout.h"
#include "net.h"
#include "sys.h"
#include "user.h"

#define LOOPBACK 0x7f000001
#define PORT     7000
#define BULK     3000000 // bytes each way

int memcmp(const void *, const void *, uint); // in the library, not in user.h

static int checks;
static char big[100000];

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

static struct sockaddr_in
at(u32 ip, int port)
{
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(ip)}};
  return a;
}

static int
option(int fd, int level, int name, int val)
{
  return setsockopt(fd, level, name, &val, sizeof(val));
}

static int
tcp(void)
{
  return socket(AF_INET, SOCK_STREAM, 0);
}

// One that may have a port which was used a moment ago.
static int
tcp_again(void)
{
  int fd = tcp();
  IS(option(fd, SOL_SOCKET, SO_REUSEADDR, 1), 0);
  return fd;
}

// A listener at port.
static int
listener(int port, int backlog)
{
  struct sockaddr_in a = at(0, port);
  int fd = tcp_again();
  IS(bind(fd, &a, sizeof(a)), 0);
  IS(listen(fd, backlog), 0);
  return fd;
}

// A client connected to port.
static int
client(int port)
{
  struct sockaddr_in a = at(LOOPBACK, port);
  int fd = tcp();
  IS(connect(fd, &a, sizeof(a)), 0);
  return fd;
}

static int
dgram(int port)
{
  struct sockaddr_in a = at(0, port);
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  IS(bind(fd, &a, sizeof(a)), 0);
  return fd;
}

// Both ends of one connection.
static void
pair(int *ours, int *theirs)
{
  int l = listener(PORT, 4);
  *ours = client(PORT);
  *theirs = accept(l, 0, 0);
  IS(*theirs > 0, 1);
  IS(close(l), 0);
}

// The revents of fd within ms; 0: none.
static int
ready(int fd, int events, int ms)
{
  struct pollfd p = {.fd = fd, .events = events};
  return poll(&p, 1, ms) > 0 ? p.revents : 0;
}

// ---- cases --------------------------------------------------------------

static void
errors(void)
{
  struct sockaddr_in a = at(0, PORT), far = at(0x01020304, PORT), b;
  int len = sizeof(b), fd = tcp_again(), other = tcp_again();
  IS(socket(5, SOCK_STREAM, 0), -EAFNOSUPPORT);
  IS(socket(AF_INET, 77, 0), -EPROTONOSUPPORT);
  IS(socket(AF_INET, SOCK_STREAM, 17), -EPROTONOSUPPORT);
  IS(bind(-1, &a, sizeof(a)), -EBADF);
  IS(bind(64, &a, sizeof(a)), -EBADF);
  IS(listen(63, 1), -EBADF);
  IS(bind(1, &a, sizeof(a)), -ENOTSOCK);
  IS(accept(0, 0, 0), -ENOTSOCK);
  IS(bind(fd, &a, sizeof(a) - 1), -EINVAL);
  IS(bind(fd, &far, sizeof(far)), -EADDRNOTAVAIL);
  IS(listen(fd, 1), -EINVAL);
  IS(accept(fd, 0, 0), -EINVAL);
  IS(send(fd, "x", 1, 0), -ENOTCONN);
  IS(recv(fd, big, 1, 0), -ENOTCONN);
  IS(shutdown(fd, SHUT_WR), -ENOTCONN);
  IS(getpeername(fd, &b, &len), -ENOTCONN);
  IS(bind(fd, &a, sizeof(a)), 0);
  IS(bind(fd, &a, sizeof(a)), -EINVAL);
  IS(listen(fd, 1), 0);
  IS(listen(fd, 9), 0);
  IS(bind(other, &a, sizeof(a)), -EADDRINUSE);
  a.sin_family = 9;
  IS(bind(other, &a, sizeof(a)), -EAFNOSUPPORT);
  a = at(LOOPBACK, 9);
  IS(connect(other, &a, sizeof(a)), -ECONNREFUSED);
  a = at(LOOPBACK, 0);
  close(other);
  other = tcp_again();
  IS(connect(other, &a, sizeof(a)), -EADDRNOTAVAIL);
  a = at(LOOPBACK, PORT);
  IS(connect(other, &a, sizeof(a)), 0);
  IS(connect(other, &a, sizeof(a)), -EISCONN);
  IS(listen(other, 1), -EINVAL);
  IS(shutdown(other, 3), -EINVAL);
  IS(recv(other, big, 1, 0x100), -EINVAL);
  IS(send(other, big, 1, MSG_PEEK), -EINVAL);
  IS(send(other, big, 1, MSG_NOSIGNAL), 1);
  IS(close(fd), 0);
  IS(close(fd) < 0, 1);
}

static void
pointers(void)
{
  static const u32 bad[] = {0, 0xfff, KERNBASE - 1, KERNBASE, 0x90000000, 0xfffffff0, 0xffffffff};
  struct sockaddr_in a = at(0, PORT + 1), b;
  int c, s, len = sizeof(b), l = listener(PORT + 2, 1), fd = tcp_again();
  pair(&c, &s);
  IS(send(c, "data", 4, 0), 4);
  IS(ready(s, POLLIN, 1000), POLLIN);
  for(uint i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    char *p = (char *)bad[i];
    IS(bind(fd, (void *)p, sizeof(a)), -EFAULT);
    IS(connect(fd, (void *)p, sizeof(a)), -EFAULT);
    IS(send(c, p, 16, 0), -EFAULT);
    IS(recv(s, p, 16, 0), -EFAULT);
    IS(recv(s, p, 16, MSG_PEEK), -EFAULT);
    IS(read(s, p, 16) < 0, 1);
    IS(write(c, p, 16) < 0, 1);
    IS(accept(l, &b, (int *)p), -EFAULT);
    IS(getsockname(c, &b, (int *)p), -EFAULT);
    IS(getpeername(c, &b, (int *)p), -EFAULT);
    IS(poll((void *)p, 1, 0) < 0, 1);
    if(p) { // 0 is "do not tell"
      IS(accept(l, (void *)p, &len), -EFAULT);
      IS(getsockname(c, (void *)p, &len), -EFAULT);
    }
  }
  IS(recv(s, (char *)pointers, 16, 0), -EFAULT); // our own text is read-only
  IS(recv(s, sbrk(0) - 4, 8, 0), -EFAULT);       // across the end of the heap
  IS(recv(s, big, -1, 0), -EFAULT);
  IS(send(c, big, -1, 0), -EFAULT);
  IS(send(c, big, 0x7fffffff, 0), -EFAULT);
  len = -1;
  IS(getsockname(c, &b, &len), -EINVAL);
  IS(recv(s, big, 0, 0), 0);
  IS(send(c, big, 0, 0), 0);
  IS(recv(s, big, 16, 0), 4); // nothing was lost meanwhile
  IS(bind(fd, &a, sizeof(a)), 0);
  // The size of the address lies in the buffer, and what arrives is no size.
  struct sockaddr_in to = at(LOOPBACK, PORT + 3);
  int u = dgram(PORT + 3), dlen = sizeof(b);
  for(int i = 0; i < 2; i++) {
    IS(sendto(u, i ? "\xff\xff\xff\xff" : "\0\0\1\0", 4, 0, &to, sizeof(to)), 4);
    IS(recvfrom(u, &dlen, 4, 0, &b, &dlen), 4);
    IS(dlen, sizeof(b));
  }
  IS(ntohl(b.sin_addr.s_addr), LOOPBACK);
}

static void
names(void)
{
  struct sockaddr_in a = at(0, 0), b, client_name;
  int len = sizeof(a), l = tcp();
  IS(bind(l, &a, sizeof(a)), 0);
  IS(getsockname(l, &a, &len), 0);
  IS(len, sizeof(a));
  IS(ntohs(a.sin_port) >= 49152, 1); // one of the ephemeral ports
  IS(listen(l, 1), 0);
  int c = client(ntohs(a.sin_port));
  len = sizeof(b);
  int s = accept(l, &b, &len);
  IS(s > 0, 1);
  IS(ntohl(b.sin_addr.s_addr), LOOPBACK);
  len = sizeof(client_name);
  IS(getsockname(c, &client_name, &len), 0);
  IS(client_name.sin_port, b.sin_port);
  len = 4; // a short buffer gets as much as fits, and learns the size
  memset(&b, 0x55, sizeof(b));
  IS(getpeername(c, &b, &len), 0);
  IS(b.sin_port, a.sin_port);
  IS(b.sin_addr.s_addr, 0x55555555);
  IS(len, sizeof(b));
}

static void
nonblocking(void)
{
  int c, s, r, total = 0, l = listener(PORT + 1, 2);
  pair(&c, &s);
  IS(fcntl(l, F_SETFL, O_NONBLOCK), 0);
  IS(accept(l, 0, 0), -EAGAIN);
  IS(recv(s, big, 1, MSG_DONTWAIT), -EAGAIN);
  IS(fcntl(s, F_SETFL, O_NONBLOCK), 0);
  IS(fcntl(s, F_GETFL, 0) & O_NONBLOCK, O_NONBLOCK);
  IS(recv(s, big, 1, 0), -EAGAIN);
  IS(read(s, big, 1), -EAGAIN);
  while((r = send(c, big, sizeof(big), MSG_DONTWAIT)) > 0)
    total += r;
  IS(r, -EAGAIN);
  IS(total > 64240, 1); // the sender's buffer and the receiver's window
  IS(ready(c, POLLOUT, 0), 0);
  IS(fcntl(s, F_SETFL, 0), 0);
  while(total > 0 && (r = recv(s, big, sizeof(big), 0)) > 0)
    total -= r;
  IS(total, 0);
  IS(ready(c, POLLOUT, 1000), POLLOUT);
  // Connecting without waiting.
  struct sockaddr_in a = at(LOOPBACK, PORT + 1), nobody = at(LOOPBACK, 9);
  int n = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  IS(connect(n, &a, sizeof(a)), -EINPROGRESS);
  IS(ready(n, POLLOUT, 1000), POLLOUT);
  IS(connect(n, &a, sizeof(a)), -EISCONN);
  n = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  IS(connect(n, &nobody, sizeof(nobody)), -EINPROGRESS);
  IS(ready(n, POLLOUT, 1000) & (POLLERR | POLLHUP), POLLERR | POLLHUP);
  IS(recv(n, big, 1, 0), -ECONNREFUSED);
  n = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  IS(connect(n, &nobody, sizeof(nobody)), -EINPROGRESS);
  IS(ready(n, POLLOUT, 1000) & POLLOUT, POLLOUT);
  IS(connect(n, &nobody, sizeof(nobody)), -ECONNREFUSED); // told once,
  IS(connect(n, &nobody, sizeof(nobody)), -EINVAL);       // and no second try
  IS(shutdown(c, SHUT_WR), 0);
  IS(ready(c, POLLOUT, 0), POLLOUT); // a write would not wait: it fails
}

static void
polling(void)
{
  int c, s, l = listener(PORT + 1, 2);
  pair(&c, &s);
  IS(ready(l, POLLIN, 0), 0);
  IS(ready(s, POLLIN, 0), 0);
  IS(ready(c, POLLIN | POLLOUT, 0), POLLOUT);
  u64 before, after;
  nsclock(&before);
  IS(ready(s, POLLIN, 100), 0);
  nsclock(&after);
  IS(after - before >= 100000000, 1);
  IS(after - before < 1000000000, 1);
  int pid = fork();
  if(pid == 0) {
    sleep(5);
    IS(send(c, "x", 1, 0), 1);
    exits(0);
  }
  IS(ready(s, POLLIN, -1), POLLIN); // woken by what arrives
  IS(recv(s, big, 9, MSG_PEEK), 1);
  IS(recv(s, big, 9, 0), 1);
  IS(ready(s, POLLIN, 0), 0);
  IS(wait(), pid);
  int n = client(PORT + 1);
  IS(ready(l, POLLIN, 1000), POLLIN);
  struct pollfd p[3] = {{.fd = l, .events = POLLIN}, {.fd = -1, .events = POLLIN}, {.fd = 60, .events = POLLIN}};
  IS(poll(p, 3, 0), 2);
  IS(p[0].revents, POLLIN);
  IS(p[1].revents, 0);
  IS(p[2].revents, POLLNVAL);
  IS(poll(p, 65, 0), -EINVAL);
  close(n);
  IS(shutdown(c, SHUT_WR), 0);
  IS(ready(s, POLLIN, 1000), POLLIN); // the end of the stream can be read
}

static u32
next(u32 *x)
{
  *x = *x * 1664525 + 1013904223;
  return *x >> 24;
}

// Send BULK bytes of the sequence that begins with seed, in writes of odd sizes.
static void
pour(int fd, u32 seed)
{
  for(int sent = 0, n; sent < BULK; sent += n) {
    for(n = 0; n < 9999 && sent + n < BULK; n++)
      big[n] = next(&seed);
    if(!IS(write(fd, big, n), n))
      return;
  }
}

// Receive BULK bytes and compare each.
static void
drink(int fd, u32 seed)
{
  int got = 0, wrong = 0, n;
  while(got < BULK && (n = read(fd, big, 7001)) > 0) {
    for(int i = 0; i < n; i++)
      wrong += (u8)big[i] != next(&seed);
    got += n;
  }
  IS(got, BULK);
  IS(wrong, 0);
}

// Four processes: data flow both ways at once.
static void
stream(void)
{
  int c, s, children = 0, status;
  pair(&c, &s);
  for(int who = 0; who < 4; who++) {
    if(fork() > 0) {
      children++;
      continue;
    }
    checks = 0;
    if(who == 0)
      pour(c, 1);
    else if(who == 1)
      drink(s, 1);
    else if(who == 2)
      pour(s, 2);
    else
      drink(c, 2);
    exits(0);
  }
  IS(children, 4);
  while(waitpid(-1, &status, 0) > 0)
    IS(status, 0);
  IS(shutdown(c, SHUT_WR), 0);
  IS(recv(s, big, 10, 0), 0); // not a byte more
}

static void
halfclose(void)
{
  int c, s;
  pair(&c, &s);
  IS(send(c, "question", 8, 0), 8);
  IS(shutdown(c, SHUT_WR), 0);
  IS(shutdown(c, SHUT_WR), 0);
  IS(send(c, "x", 1, 0), -EPIPE);
  sleep(2);
  IS(recv(s, big, 100, 0), 8); // queued data first, then the end, again and again
  IS(recv(s, big, 100, 0), 0);
  IS(recv(s, big, 100, 0), 0);
  IS(send(s, "answer", 6, 0), 6); // the other direction lives
  IS(recv(c, big, 100, 0), 6);
  IS(send(s, "more", 4, 0), 4);
  IS(close(s), 0);
  IS(recv(c, big, 100, 0), 4);
  IS(recv(c, big, 100, 0), 0);
  IS(recv(c, big, 100, 0), 0);
  IS(close(c), 0);
  pair(&c, &s);
  IS(shutdown(s, SHUT_RD), 0); // nobody wants to hear more: accepted and thrown away
  IS(recv(s, big, 1, 0), 0);
  for(int i = 0; i < 5; i++)
    IS(send(c, big, sizeof(big), 0), sizeof(big));
  IS(send(s, "x", 1, 0), 1);
  IS(recv(c, big, 9, 0), 1);
}

static void
resets(void)
{
  int c, s, l;
  pair(&c, &s);
  IS(send(c, "unread", 6, 0), 6);
  IS(ready(s, POLLIN, 1000), POLLIN);
  IS(close(s), 0); // with unread data: the peer must learn
  IS(ready(c, POLLIN, 1000) & POLLIN, POLLIN);
  IS(recv(c, big, 1, 0), -ECONNRESET); // once, then the end
  IS(recv(c, big, 1, 0), 0);
  IS(send(c, "x", 1, 0), -EPIPE);
  // A listener that closes resets who waits in its queue.
  l = listener(PORT + 1, 4);
  int w[3];
  for(int i = 0; i < 3; i++)
    w[i] = client(PORT + 1);
  IS(close(l), 0);
  for(int i = 0; i < 3; i++)
    IS(recv(w[i], big, 1, 0), -ECONNRESET);
  // Data that arrive after the last close are answered with a reset.
  pair(&c, &s);
  IS(close(s), 0);
  IS(recv(c, big, 1, 0), 0);
  IS(send(c, "late", 4, 0), 4);
  sleep(5);
  IS(send(c, "later", 5, 0) < 0, 1);
}

// Clients that are gone before accept: what they sent is not.
static void
early(void)
{
  int l = listener(PORT, 4), c = client(PORT);
  IS(send(c, "abc", 3, 0), 3);
  IS(close(c), 0);
  c = client(PORT);
  IS(close(c), 0);
  sleep(5);
  int s = accept(l, 0, 0);
  IS(recv(s, big, 10, 0), 3);
  IS(recv(s, big, 10, 0), 0);
  s = accept(l, 0, 0);
  IS(recv(s, big, 10, 0), 0);
  IS(fcntl(l, F_SETFL, O_NONBLOCK), 0);
  IS(accept(l, 0, 0), -EAGAIN);
  // Reset before accept: told, and no more of them wait than may.
  struct linger none = {1, 0};
  struct kcounts before, after;
  kdebug(KD_COUNTS, &before);
  for(int i = 0; i < 40; i++) {
    c = client(PORT);
    IS(setsockopt(c, SOL_SOCKET, SO_LINGER, &none, sizeof(none)), 0);
    IS(close(c), 0);
    sleep(1);
  }
  kdebug(KD_COUNTS, &after);
  IS(after.socks - before.socks, 4);
  for(int i = 0; i < 4; i++)
    IS(accept(l, 0, 0), -ECONNABORTED);
  IS(accept(l, 0, 0), -EAGAIN);
  IS(close(l), 0);
  IS(close(listener(PORT, 1)), 0); // the port is free at once
}

// No more than the backlog wait; one that is turned away gets in later.
static void
backlog(void)
{
  struct sockaddr_in a = at(LOOPBACK, PORT);
  int l = listener(PORT, 3), fd[5];
  for(int i = 0; i < 5; i++) {
    fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    IS(connect(fd[i], &a, sizeof(a)), -EINPROGRESS);
  }
  sleep(10);
  int in = 0;
  for(int i = 0; i < 5; i++)
    in += ready(fd[i], POLLOUT, 0) == POLLOUT;
  IS(in, 3);
  for(int i = 0; i < 5; i++) // the SYNs come again after 3 s
    IS(accept(l, 0, 0) > 0, 1);
  for(int i = 0; i < 5; i++)
    IS(ready(fd[i], POLLOUT, 1000), POLLOUT);
}

static void
shared(void)
{
  int c, s, d, status;
  pair(&c, &s);
  d = dup(c);
  IS(close(c), 0);
  IS(send(d, "by dup", 6, 0), 6);
  IS(recv(s, big, 10, 0), 6);
  int pid = fork();
  if(pid == 0) {
    IS(send(d, "by child", 8, 0), 8);
    exits(0);
  }
  IS(waitpid(pid, &status, 0), pid); // the child's exit closes nothing of ours
  IS(recv(s, big, 10, 0), 8);
  IS(recv(s, big, 10, MSG_DONTWAIT), -EAGAIN);
  IS(send(d, "x", 1, 0), 1);
  IS(recv(s, big, 10, 0), 1);
  IS(close(d), 0); // the last one
  IS(recv(s, big, 10, 0), 0);
  // Two processes accept from one listener.
  int l = listener(PORT + 1, 4), kids[2];
  for(int i = 0; i < 2; i++)
    if((kids[i] = fork()) == 0) {
      int fd = accept(l, 0, 0);
      exits(fd > 0 && send(fd, "hello", 5, 0) == 5 ? 7 : 8);
    }
  for(int i = 0; i < 2; i++) {
    int fd = client(PORT + 1);
    IS(recv(fd, big, 10, 0), 5);
    IS(recv(fd, big, 10, 0), 0);
  }
  for(int i = 0; i < 2; i++) {
    IS(waitpid(kids[i], &status, 0), kids[i]);
    IS(status, 7);
  }
}

// A process that is killed while it waits in the network ends at once, and what it
// held is closed.
static void
killed(void)
{
  struct sockaddr_in nobody = at(0x7f000001, PORT + 3);
  for(int how = 0; how < 4; how++) {
    int c, s, status, l = listener(PORT + 1, 1);
    pair(&c, &s);
    int pid = fork();
    if(pid == 0) {
      close(s);
      if(how == 0)
        accept(l, 0, 0);
      else if(how == 1)
        recv(c, big, 1, 0);
      else if(how == 2)
        for(;;)
          send(c, big, sizeof(big), 0);
      else
        poll(&(struct pollfd){.fd = c, .events = POLLIN}, 1, -1);
      exits(99); // woken for no reason
    }
    close(c);
    sleep(3);
    IS(waitpid(pid, &status, WNOHANG), 0);
    IS(kill(pid), 0);
    IS(waitpid(pid, &status, 0), pid);
    IS(status, -1);
    int n, total = 0;
    while((n = recv(s, big, sizeof(big), 0)) > 0)
      total += n;
    IS(n, 0); // its end of the connection was closed
    IS(total > 0, how == 2);
    IS(close(s), 0);
    IS(close(l), 0);
  }
  int fd = tcp_again();
  IS(connect(fd, &nobody, sizeof(nobody)), -ECONNREFUSED);
}

// Every table has an end, and everything comes back.
static void
limits(void)
{
  int fd[64], n;
  for(int round = 0; round < 3; round++) {
    for(n = 0; n < 64 && (fd[n] = tcp()) >= 0;)
      n++;
    IS(n, 61); // 64 descriptors, three of them the console
    IS(tcp(), -EMFILE);
    while(n > 0)
      IS(close(fd[--n]), 0);
  }
  // 12 processes with 30 sockets each: more than the 320 there are.
  int go[2], done[2], refused = 0;
  char word;
  pipe(go);
  pipe(done);
  for(int p = 0; p < 12; p++)
    if(fork() == 0) {
      int r = 0;
      for(n = 0; n < 30 && r == 0; n++)
        r = tcp() < 0;
      write(done[1], r ? "n" : "y", 1);
      read(go[0], &word, 1);
      exits(0);
    }
  for(int p = 0; p < 12; p++) {
    read(done[0], &word, 1);
    refused += word == 'n';
  }
  IS(refused > 0, 1);
  for(int p = 0; p < 12; p++)
    write(go[1], "x", 1);
  while(wait() >= 0)
    ;
  int c, s;
  pair(&c, &s);
  IS(send(c, "x", 1, 0), 1);
  IS(recv(s, big, 1, 0), 1);
}

static void
five(void)
{
  char b[8];
  IS(net_accept(), -1);
  IS(net_recv(b, 8), -1);
  IS(net_send("x", 1), -1);
  IS(net_close(), 0);
  IS(net_listen(0), -1);
  IS(net_listen(65536), -1);
  IS(net_listen(PORT), 0);
  IS(net_listen(PORT), 0);
  IS(net_accept(), 0);
  int c = client(PORT);
  IS(net_accept(), 1);
  IS(net_accept(), 1);
  IS(net_send(0, 1), -1);
  IS(net_send(b, 0), -1);
  IS(net_recv(0, 1), -1);
  IS(send(c, "four", 4, 0), 4);
  IS(net_recv(b, 8), 4);
  IS(net_send("five!", 5), 5);
  IS(recv(c, big, 100, 0), 5);
  IS(shutdown(c, SHUT_WR), 0);
  IS(net_recv(b, 8), 0);  // said once,
  IS(net_recv(b, 8), -1); // so that a loop ends
  IS(net_close(), 0);
  IS(recv(c, big, 100, 0), 0);
  IS(net_accept(), 0);
  IS(net_listen(PORT + 1), 0); // the old port is given up
  struct sockaddr_in a = at(LOOPBACK, PORT);
  IS(connect(tcp(), &a, sizeof(a)), -ECONNREFUSED);
  // A request longer than the one recv does not turn the reply into a reset.
  // The client is forked before net_accept: else it would hold the connection open.
  c = client(PORT + 1);
  if(fork() == 0) {
    IS(send(c, big, 5000, 0), 5000);
    IS(recv(c, big, 100, 0), 5);
    sleep(10); // a reset would be here by then
    IS(recv(c, big, 100, 0), 0);
    exits(0);
  }
  close(c);
  IS(net_accept(), 1);
  IS(net_recv(b, 8), 8);
  IS(net_send("reply", 5), 5);
  IS(net_close(), 0);
  wait();
}

// The option's value, or a negative error number.
static int
asked(int fd, int level, int name)
{
  int val = -9999, len = sizeof(val), r = getsockopt(fd, level, name, &val, &len);
  return r < 0 ? r : len == sizeof(val) ? val
                                        : -9998;
}

// Milliseconds since *since, and *since becomes now.
static int
lap(u64 *since)
{
  u64 now;
  nsclock(&now);
  int ms = (uint)(now - *since) / 1000000;
  *since = now;
  return ms;
}

static void
time_outs(void)
{
  u64 t;
  int s, c;
  pair(&c, &s);
  IS(option(s, SOL_SOCKET, SO_RCVTIMEO, 200), 0);
  lap(&t);
  IS(recv(s, big, 1, 0), -EAGAIN);
  IS(lap(&t) >= 200, 1);
  IS(option(c, SOL_SOCKET, SO_SNDTIMEO, 200), 0);
  while(send(c, big, sizeof(big), 0) == sizeof(big))
    ;
  lap(&t);
  IS(send(c, big, 1000, 0), -EAGAIN);
  IS(lap(&t) >= 200, 1);
  int l = listener(PORT, 1);
  IS(option(l, SOL_SOCKET, SO_RCVTIMEO, 100), 0);
  IS(accept(l, 0, 0), -EAGAIN);
  IS(close(l) + close(s) + close(c), 0);
}

static void
lingers(void)
{
  int s, c, left;
  struct linger now = {1, 0}, wait5 = {1, 5}, got;
  int len = sizeof(got);
  pair(&c, &s);
  IS(setsockopt(c, SOL_SOCKET, SO_LINGER, &now, sizeof(int)), -EINVAL);
  IS(setsockopt(c, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
  IS(getsockopt(c, SOL_SOCKET, SO_LINGER, &got, &len), 0);
  IS(got.l_onoff * 100 + got.l_linger, 100);
  IS(close(c), 0);
  IS(recv(s, big, 1, 0), -ECONNRESET);
  IS(close(s), 0);
  pair(&c, &s);
  IS(setsockopt(c, SOL_SOCKET, SO_LINGER, &wait5, sizeof(wait5)), 0);
  IS(send(c, big, 30000, 0), 30000);
  IS(close(c), 0); // not before all is with the peer
  struct pollfd p = {s, POLLIN, 0};
  for(left = 30000; left > 0 && poll(&p, 1, 0) == 1;)
    left -= recv(s, big, sizeof(big), MSG_DONTWAIT);
  IS(left, 0);
  IS(close(s), 0);
}

// What a connection has from its listener; not O_NONBLOCK.
static void
inherited(void)
{
  static const struct {
    int level, name, val;
  } ints[] = {
    {SOL_SOCKET, SO_KEEPALIVE, 1},
    {SOL_SOCKET, SO_RCVTIMEO, 100},
    {SOL_SOCKET, SO_SNDTIMEO, 200},
    {IPPROTO_IP, IP_TTL, 9},
    {IPPROTO_TCP, TCP_NODELAY, 1},
    {IPPROTO_TCP, TCP_KEEPIDLE, 60},
    {IPPROTO_TCP, TCP_KEEPINTVL, 5},
    {IPPROTO_TCP, TCP_KEEPCNT, 3},
  };
  struct sockaddr_in a = at(0, PORT);
  int l = listener(PORT, 1), other = tcp_again();
  IS(bind(other, &a, sizeof(a)), -EADDRINUSE);
  IS(fcntl(l, F_SETFL, O_NONBLOCK), 0);
  for(uint i = 0; i < sizeof(ints) / sizeof(ints[0]); i++)
    IS(option(l, ints[i].level, ints[i].name, ints[i].val), 0);
  int c = client(PORT);
  IS(ready(l, POLLIN, 1000), POLLIN);
  int s = accept(l, 0, 0);
  for(uint i = 0; i < sizeof(ints) / sizeof(ints[0]); i++)
    IS(asked(s, ints[i].level, ints[i].name), ints[i].val);
  IS(fcntl(s, F_GETFL, 0) & O_NONBLOCK, 0);
  IS(asked(c, IPPROTO_TCP, TCP_KEEPIDLE), 7200);
  IS(close(s) + close(c) + close(l), 0);
  // Two may be bound, one may listen.
  l = tcp_again();
  IS(bind(l, &a, sizeof(a)), 0);
  IS(bind(other, &a, sizeof(a)), 0);
  IS(listen(l, 1), 0);
  IS(listen(other, 1), -EADDRINUSE);
  IS(close(l) + close(other), 0);
}

static void
options(void)
{
  static const struct {
    int level, name, good, bad;
  } ints[] = {
    {SOL_SOCKET, SO_REUSEADDR, 1, 0},
    {SOL_SOCKET, SO_KEEPALIVE, 1, 0},
    {SOL_SOCKET, SO_BROADCAST, 1, 0},
    {SOL_SOCKET, SO_RCVTIMEO, 1500, -1},
    {SOL_SOCKET, SO_SNDTIMEO, 1500, -1},
    {IPPROTO_IP, IP_TTL, 7, 256},
    {IPPROTO_TCP, TCP_NODELAY, 1, 0},
    {IPPROTO_TCP, TCP_KEEPIDLE, 60, 0},
    {IPPROTO_TCP, TCP_KEEPINTVL, 5, 32768},
    {IPPROTO_TCP, TCP_KEEPCNT, 3, -1},
  };
  int fd = tcp(), s, c;
  for(uint i = 0; i < sizeof(ints) / sizeof(ints[0]); i++) {
    IS(option(fd, ints[i].level, ints[i].name, ints[i].good), 0);
    IS(asked(fd, ints[i].level, ints[i].name), ints[i].good);
    if(ints[i].bad)
      IS(option(fd, ints[i].level, ints[i].name, ints[i].bad), -EINVAL);
    IS(setsockopt(fd, ints[i].level, ints[i].name, &c, 3), -EINVAL);
  }
  IS(option(fd, SOL_SOCKET, 77, 1), -ENOPROTOOPT);
  IS(option(fd, SOL_SOCKET, SO_TYPE, 1), -ENOPROTOOPT);
  IS(option(fd, IPPROTO_TCP, 77, 1), -ENOPROTOOPT);
  IS(option(fd, 77, 1, 1), -ENOPROTOOPT);
  IS(asked(fd, 77, 1), -ENOPROTOOPT);
  IS(asked(fd, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
  IS(asked(fd, SOL_SOCKET, SO_RCVBUF), 64240);
  IS(asked(fd, SOL_SOCKET, SO_SNDBUF), 64240);
  IS(asked(1, SOL_SOCKET, SO_TYPE), -ENOTSOCK);
  IS(asked(63, SOL_SOCKET, SO_TYPE), -EBADF);
  IS(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, 0, 4), -EFAULT);
  IS(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &c, 0), -EFAULT);
  struct sockaddr_in nobody = at(LOOPBACK, 9);
  IS(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
  IS(connect(fd, &nobody, sizeof(nobody)), -EINPROGRESS);
  IS(ready(fd, POLLIN, 2000) & POLLERR, POLLERR);
  IS(asked(fd, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
  IS(asked(fd, SOL_SOCKET, SO_ERROR), 0);
  IS(close(fd), 0);
  pair(&c, &s);
  struct tcp_info i;
  int len = sizeof(i);
  IS(send(c, big, 1000, 0), 1000);
  IS(recv(s, big, 1, MSG_PEEK), 1);
  IS(getsockopt(s, IPPROTO_TCP, TCP_INFO, &i, &len), 0);
  IS(i.state * 10000 + i.rcvq, 41000);
  IS(i.mss == 1460 && i.cwnd > 0 && i.rto_ms > 0, 1);
  len--;
  IS(getsockopt(s, IPPROTO_TCP, TCP_INFO, &i, &len), -EINVAL);
  IS(close(c) + close(s), 0);
  // The port of a connection in TIME-WAIT: only for those who ask.
  struct sockaddr_in a = at(0, PORT);
  pair(&c, &s);
  IS(shutdown(s, SHUT_WR), 0);
  IS(recv(c, big, 1, 0), 0);
  IS(close(c), 0);
  IS(recv(s, big, 1, 0), 0);
  IS(close(s), 0);
  fd = tcp();
  IS(bind(fd, &a, sizeof(a)), -EADDRINUSE);
  IS(option(fd, SOL_SOCKET, SO_REUSEADDR, 1), 0);
  IS(bind(fd, &a, sizeof(a)), 0);
  IS(close(fd), 0);
  time_outs();
  lingers();
  inherited();
}

static void
udp(void)
{
  struct sockaddr_in to = at(LOOPBACK, PORT), from;
  int len = sizeof(from), a = dgram(PORT), b = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP), c = dgram(PORT + 2);
  IS(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP), -EPROTONOSUPPORT);
  IS(listen(a, 1), -EOPNOTSUPP);
  IS(accept(a, 0, 0), -EOPNOTSUPP);
  IS(bind(b, &to, sizeof(to)), -EADDRINUSE);
  IS(send(b, "x", 1, 0), -EDESTADDRREQ);
  IS(recv(a, big, 10, MSG_DONTWAIT), -EAGAIN);
  IS(ready(a, POLLIN | POLLOUT, 0), POLLOUT);
  IS(sendto(b, "first", 5, 0, &to, sizeof(to)), 5);
  IS(sendto(b, 0, 0, 0, &to, sizeof(to)), 0);
  IS(sendto(b, "a longer one", 12, 0, &to, sizeof(to)), 12);
  IS(ready(a, POLLIN, 1000), POLLIN);
  IS(recvfrom(a, big, 100, MSG_PEEK, &from, &len), 5);
  IS(recvfrom(a, big, 100, 0, &from, &len), 5);
  IS(memcmp(big, "first", 5), 0);
  IS(ntohl(from.sin_addr.s_addr), LOOPBACK);
  struct sockaddr_in bs;
  IS(getsockname(b, &bs, &len), 0);
  IS(from.sin_port, bs.sin_port); // it got one by sending
  IS(recv(a, big, 100, 0), 0);    // an empty datagram is one
  IS(recv(a, big, 4, 0), 4);      // the rest is lost
  IS(recv(a, big, 100, MSG_DONTWAIT), -EAGAIN);
  // Connected: one peer, no address needed.
  IS(connect(a, &from, sizeof(from)), 0);
  IS(write(a, "back", 4), 4);
  IS(read(b, big, 100), 4);
  IS(sendto(c, "stranger", 8, 0, &to, sizeof(to)), 8);
  IS(send(a, "", 0, 0), 0);
  IS(recv(b, big, 1, 0), 0);
  IS(recv(a, big, 100, MSG_DONTWAIT), -EAGAIN);
  // The largest, and one more.
  for(int i = 0; i < 65507; i++)
    big[i] = i * 7;
  IS(sendto(b, big, 65508, 0, &to, sizeof(to)), -EMSGSIZE);
  IS(sendto(b, big, 65507, 0, &to, sizeof(to)), 65507);
  memset(big, 0, sizeof(big));
  IS(recv(a, big, sizeof(big), 0), 65507);
  int same = 0;
  for(int i = 0; i < 65507; i++)
    same += big[i] == (char)(i * 7);
  IS(same, 65507);
  // More than it queues.
  int sent = 0, got = 0;
  while(sent < 40)
    sent += sendto(b, "y", 1, 0, &to, sizeof(to)) == 1;
  while(ready(a, POLLIN, 100) == POLLIN && recv(a, big, 1, MSG_DONTWAIT) == 1)
    got++;
  IS(got, 32);
  struct sockaddr_in all = at(0xffffffff, PORT);
  IS(option(b, SOL_SOCKET, SO_RCVTIMEO, 100), 0);
  IS(recv(b, big, 1, 0), -EAGAIN);
  IS(sendto(b, "x", 1, 0, &all, sizeof(all)) < 0, 1); // no card here: no route
  IS(shutdown(a, SHUT_WR), 0);
  IS(send(a, "x", 1, 0), -EPIPE);
  IS(shutdown(a, SHUT_RD), 0);
  IS(recv(a, big, 1, 0), 0);
  IS(shutdown(b, SHUT_WR), -ENOTCONN);
  IS(close(a) + close(b) + close(c), 0);
  IS(close(dgram(PORT)), 0); // free again
}

static ushort
inet_sum(const uchar *p, int n)
{
  uint sum = 0;
  for(int i = 0; i < n; i += 2)
    sum += p[i] << 8 | p[i + 1];
  sum = (sum & 0xffff) + (sum >> 16);
  return ~(sum + (sum >> 16));
}

static void
icmp(void)
{
  struct sockaddr_in to = at(LOOPBACK, 0), from;
  int len = sizeof(from), s = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
  uchar echo[64] = {8, 0, 0, 0, 0x12, 0x34, 0, 1}, got[200];
  IS(socket(AF_INET, SOCK_RAW, IPPROTO_UDP), -EPROTONOSUPPORT);
  ushort sum = inet_sum(echo, sizeof(echo));
  echo[2] = sum >> 8;
  echo[3] = sum;
  IS(option(s, SOL_SOCKET, SO_RCVTIMEO, 1000), 0);
  IS(sendto(s, echo, sizeof(echo), 0, &to, sizeof(to)), sizeof(echo));
  IS(recvfrom(s, got, sizeof(got), 0, &from, &len), 20 + 64); // our own request comes by, too
  IS(got[20], 8);
  IS(recvfrom(s, got, sizeof(got), 0, &from, &len), 20 + 64);
  IS(got[20] * 1000 + got[9], 1); // an echo reply in an ICMP packet
  IS(memcmp(got + 24, echo + 4, 60), 0);
  IS(ntohl(from.sin_addr.s_addr), LOOPBACK);
  IS(recv(s, got, sizeof(got), MSG_DONTWAIT), -EAGAIN);
  IS(close(s), 0);
}

// Both windows full: each side's acknowledgment is beyond the other's window.
static void
bothfull(void)
{
  int c, s, sent[2] = {0}, got[2] = {0}, n;
  pair(&c, &s);
  int fd[2] = {c, s};
  for(int round = 0; round < 3; round++)
    for(int i = 0; i < 2; i++) {
      while((n = send(fd[i], big, 5000, MSG_DONTWAIT)) > 0)
        sent[i] += n;
      IS(n, -EAGAIN);
      sleep(20); // the network comes to rest, and the rest of us get on
    }
  sleep(300); // long enough for both to probe the other's window
  for(int idle = 0; idle < 3;) {
    int before = got[0] + got[1];
    for(int i = 0; i < 2; i++)
      while((n = recv(fd[1 - i], big, sizeof(big), MSG_DONTWAIT)) > 0)
        got[i] += n;
    sleep(10);
    idle = got[0] + got[1] == before ? idle + 1 : 0;
  }
  IS(got[0], sent[0]);
  IS(got[1], sent[1]);
  IS(sent[0] > 100000 && sent[1] > 100000, 1);
  IS(close(c) + close(s), 0);
}

static const struct {
  const char *name;
  void (*run)(void);
} cases[] = {
  {"errors", errors},
  {"pointers", pointers},
  {"names", names},
  {"nonblocking", nonblocking},
  {"polling", polling},
  {"stream", stream},
  {"halfclose", halfclose},
  {"resets", resets},
  {"early", early},
  {"backlog", backlog},
  {"shared", shared},
  {"killed", killed},
  {"limits", limits},
  {"five", five},
  {"options", options},
  {"udp", udp},
  {"icmp", icmp},
  {"bothfull", bothfull},
};

int
main(int argc, char *argv[])
{
  for(uint i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    if(argc < 2) {
      printf(1, "%s\n", cases[i].name);
    } else if(strcmp(argv[1], cases[i].name) == 0) {
      cases[i].run();
      printf(1, "%s: %d checks\n", cases[i].name, checks);
    }
  }
  exits(0);
}
