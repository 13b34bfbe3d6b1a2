// netfail: the k-th allocation fails, for k = 1, 2 ... until a round needs fewer.
//
// A round is a datagram, a ping and a connection, all over loopback.  Whatever failed,
// a call says so with an error of the list below, or the stack makes good for it; the
// next round has no fault, and then everything is given back.  Prints a line of WRONG and ends
// at the first thing that is not so, else `netfail: N failures, N errors`.
// For tests/guest/test_netfail.py; the debug kernel only.
#include "types.h"
#include "net.h"
#include "sys.h"
#include "user.h"

#define PORT     7300
#define PATIENCE 3000  // ticks until the books must be even
#define MOST     400   // failures; a round has far fewer allocations
#define LOST     500   // ms until a datagram is taken for lost
#define REXMIT   10000 // ms for a stream: the first retransmission comes after 3 s

static char data[3000]; // more than two segments

// What a failed allocation may be told as; EAGAIN: the datagram was lost, and time was up.
static const int errors[] = {ENOMEM, ENOBUFS, ENFILE, EAGAIN, ETIMEDOUT, ECONNABORTED, ECONNRESET, ECONNREFUSED};

static void
wrong(int k, const char *what, int got)
{
  printf(1, "WRONG: k %d: %s: %d\n", k, what, got);
  exits(1);
}

static struct sockaddr_in
here(void)
{
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(PORT)};
  inet_aton("127.0.0.1", &a.sin_addr);
  return a;
}

// A socket that does not wait for ever, or an error.
static int
patient(int type, int proto)
{
  int ms = type == SOCK_STREAM ? REXMIT : LOST, one = 1, fd = socket(AF_INET, type, proto);
  if(fd < 0)
    return fd;
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &ms, sizeof(ms));
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &ms, sizeof(ms));
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  return fd;
}

// A datagram to oneself: 0 or the first error.
static int
datagram(void)
{
  struct sockaddr_in to = here(), from;
  int len = sizeof(from), n, fd = patient(SOCK_DGRAM, 0);
  if(fd < 0)
    return fd;
  n = bind(fd, &to, sizeof(to));
  if(n == 0)
    n = sendto(fd, data, 1000, 0, &to, sizeof(to));
  if(n >= 0)
    n = recvfrom(fd, data, sizeof(data), 0, &from, &len);
  close(fd);
  return n == 1000 ? 0 : n;
}

// One echo request, and its answer: 0 or the first error.
static int
ping(void)
{
  static const u8 ask[8] = {8, 0, 0xf7, 0xff, 0, 0, 0, 0}; // type, code, checksum, identifier, number
  struct sockaddr_in to = here();
  int n, fd = patient(SOCK_RAW, IPPROTO_ICMP);
  if(fd < 0)
    return fd;
  n = sendto(fd, ask, sizeof(ask), 0, &to, sizeof(to));
  do // the request itself is heard too
    if(n >= 0)
      n = recv(fd, data, sizeof(data), 0);
  while(n >= 28 && data[20] != 0);
  close(fd);
  return n >= 28 ? 0 : n;
}

// All n bytes through a connection: 0 or the first error.
static int
carry(int from, int to, int n)
{
  int sent = send(from, data, n, 0), got, sum = 0;
  if(sent < 0)
    return sent;
  while(sum < sent && (got = recv(to, data, sizeof(data), 0)) > 0)
    sum += got;
  return sum == sent ? 0 : got;
}

// A listener, a connection to it, data both ways: 0 or the first error.
static int
connection(void)
{
  struct sockaddr_in to = here();
  int n, ours = -1, theirs = -1, fd = patient(SOCK_STREAM, 0);
  if(fd < 0)
    return fd;
  n = bind(fd, &to, sizeof(to));
  if(n == 0)
    n = listen(fd, 2);
  if(n == 0)
    n = ours = patient(SOCK_STREAM, 0);
  if(n >= 0)
    n = connect(ours, &to, sizeof(to));
  if(n == 0)
    n = theirs = accept(fd, 0, 0);
  if(n >= 0)
    n = carry(ours, theirs, sizeof(data));
  if(n == 0)
    n = carry(theirs, ours, sizeof(data));
  if(ours >= 0)
    close(ours);
  if(theirs >= 0)
    close(theirs);
  close(fd);
  return n;
}

// One of everything: 0 or the first error.
static int
whole_round(void)
{
  int u = datagram(), p = ping(), c = connection();
  return u ? u : p ? p
                   : c;
}

static void
books(struct kcounts *c)
{
  kdebug(KD_COUNTS, c);
  c->pcbs -= c->time_wait; // these go by themselves
  c->time_wait = 0;
}

// All is given back; connections end in the background.
static void
even(const struct kcounts *before, int k)
{
  struct kcounts now;
  const uint *x = (const uint *)before, *y = (const uint *)&now;
  for(int from = uptime();; sleep(1)) {
    uint i = 0;
    books(&now);
    while(i < sizeof(now) / sizeof(uint) && x[i] == y[i])
      i++;
    if(i == sizeof(now) / sizeof(uint))
      return;
    if(uptime() - from > PATIENCE)
      wrong(k, "a word of the books differs", (int)i);
  }
}

static int
expected(int error)
{
  for(uint i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
    if(error == -errors[i])
      return 1;
  return 0;
}

int
main(void)
{
  struct kcounts before;
  int k, left = 0, n, said = 0;
  for(int i = 0; i < 2; i++) // what is made once is made
    if((n = whole_round()) != 0)
      wrong(0, "a round without a fault", n);
  sleep(100);
  books(&before);
  for(k = 0; left == 0 && k < MOST;) {
    if(kdebug(KD_FAILNTH, (void *)++k) < 0)
      wrong(k, "kdebug", -1);
    n = whole_round();
    left = kdebug(KD_FAILNTH, 0);
    if(n != 0 && (left || !expected(n)))
      wrong(k, "an error nobody expects", n);
    said += n != 0;
    if((n = whole_round()) != 0)
      wrong(k, "the round after", n);
    even(&before, k);
  }
  if(left == 0)
    wrong(k, "rounds do not end", 0);
  printf(1, "netfail: %d failures, %d errors\n", k - 1, said);
  return 0;
}
