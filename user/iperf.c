// iperf: how fast?  Both roles of iperf 2's protocol, TCP and UDP, so that the real
// iperf may stand at the other end.
//
// TCP needs no agreement: a source and a sink.  A client that wants the server to be
// the source (-R) says so in a header of big-endian words at the start of its stream.
// UDP datagrams begin with a number, which is negative in the last one; the server
// answers that one with what it has received.
#include "cmd.h"
#include "net.h"
#include "sys.h"
#include "ulib64.h"
#include "user.h"

static const char help[] =
  "usage: iperf -s [-u] [-p PORT] | iperf -c HOST [-uR] [-t S | -n BYTES] [-b RATE]\n"
  "Measures how fast bytes go to HOST; the server is an iperf 2, this one or the\n"
  "real one.\n"
  "  -s        be the server, until Ctrl-C\n"
  "  -u        UDP instead of TCP; also shows loss and jitter\n"
  "  -R        the server sends (TCP)\n"
  "  -t S      for so many seconds (default 10)    -n BYTES  so many bytes (1M, 1G)\n"
  "  -b RATE   UDP: bits per second (default 1M)   -l BYTES  of one write or datagram\n"
  "  -p PORT   default 5001\n";

#define HEADER    60         // bytes of the client's header
#define FLAGS     0x40010078 // of it, as iperf 2.1 sends them
#define REVERSE   0x04000000
#define DATAGRAM  1470
#define REPORT    0x80000000
#define LAST_WAIT 250 // ms until the last datagram is sent again
#define LAST_MOST 10  // times

static uchar buf[65536];
static uint port = 5001, seconds = 10, amount, rate = 1000000, length;
static int udp, reverse;

static void
put32(uchar *p, u32 v)
{
  p[0] = v >> 24;
  p[1] = v >> 16;
  p[2] = v >> 8;
  p[3] = v;
}

static u32
get32(const uchar *p)
{
  return (u32)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

// "0.00-10.02 sec  12345678 bytes  9.876 Mbit/s" and what follows, in one piece:
// several servers may share the screen.
static void
report(const char *who, u64 bytes, u64 us, const char *end)
{
  u64 kbit = bytes * 8000, cs = us;
  div64(&kbit, us ? us : 1);
  div64(&cs, 10000);
  printf(1, "%s 0.00-%u.%02u sec  %llu bytes  %u.%03u Mbit/s%s", who, (uint)cs / 100, (uint)cs % 100, bytes,
         (uint)kbit / 1000, (uint)kbit % 1000, end);
}

static int
open_socket(void)
{
  int on = 1, fd = socket(AF_INET, udp ? SOCK_DGRAM : SOCK_STREAM, 0);
  if(fd < 0)
    die("socket", fd);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  return fd;
}

// ---- TCP ----------------------------------------------------------------

// Send until `until` (0: never) or total bytes (0: any number), or the peer has had
// enough.  Returns the bytes.
static u64
source(int fd, u64 until, u64 total)
{
  u64 sent = 0;
  while((until == 0 || now_us() < until) && (total == 0 || sent < total)) {
    uint n = total && total - sent < length ? total - sent : length;
    int r = send(fd, buf, n, 0);
    if(r <= 0)
      break;
    sent += r;
  }
  return sent;
}

static u64
sink(int fd, u64 got)
{
  int n;
  while((n = recv(fd, buf, sizeof(buf), 0)) > 0)
    got += n;
  return got;
}

// The server's side of one connection.
static void
serve(int fd, const struct sockaddr_in *peer)
{
  u64 t0 = now_us(), bytes;
  int n = 0, r;
  while(n < HEADER && (r = recv(fd, buf + n, HEADER - n, 0)) > 0)
    n += r;
  int amount_be = n == HEADER ? (int)get32(buf + 20) : 0;
  if(n == HEADER && get32(buf) & REVERSE && get32(buf) & 0x40000000) {
    u64 until = amount_be < 0 ? t0 + (u64)(-(long long)amount_be) * 10000 : 0;
    bytes = source(fd, until, amount_be < 0 ? 0 : (u32)amount_be);
    shutdown(fd, SHUT_WR);
    sink(fd, 0);
  } else
    bytes = sink(fd, n);
  report(inet_ntoa(peer->sin_addr), bytes, now_us() - t0, "\n");
}

// One process a connection.
static void __attribute__((noreturn))
tcp_server(int l)
{
  for(;;) {
    struct sockaddr_in peer;
    int len = sizeof(peer), fd = accept(l, &peer, &len), pid = fd < 0 ? -1 : fork();
    if(pid == 0) {
      close(l);
      serve(fd, &peer);
      exits(0);
    }
    if(pid < 0) {
      printf(2, "iperf: a connection is refused: no process or file left\n");
      sleep(10);
    }
    if(fd >= 0)
      close(fd);
    while(waitpid(-1, 0, WNOHANG) > 0)
      ;
  }
}

static void
tcp_client(int fd)
{
  put32(buf, FLAGS | (reverse ? REVERSE : 0));
  put32(buf + 4, 1);
  put32(buf + 8, port);
  put32(buf + 12, length);
  put32(buf + 20, amount ? amount : -seconds * 100);
  put32(buf + 32, reverse ? REVERSE : 0);
  u64 t0 = now_us(), bytes = HEADER;
  int r = send(fd, buf, HEADER, 0);
  if(r < 0)
    die("send", r);
  if(reverse) {
    shutdown(fd, SHUT_WR);
    bytes = sink(fd, 0);
  } else {
    bytes += source(fd, amount ? 0 : t0 + (u64)seconds * 1000000, amount);
    shutdown(fd, SHUT_WR);
    sink(fd, 0); // its end: everything has arrived
  }
  report(reverse ? "received" : "sent", bytes, now_us() - t0, "\n");
}

// ---- UDP ----------------------------------------------------------------

// One sender's datagrams.
struct flow {
  struct sockaddr_in peer;
  u64 t0, last, bytes;
  u32 first, next;        // number of the first datagram (0 from older clients, else 1), and expected
  u32 lost, late;         //
  int transit, jitter_us; // RFC 3550, 6.4.1
  int over;               // its last datagram has come
};

#define NFLOW 16
static struct flow flows[NFLOW];

// The peer's flow; a fresh one, in the place of the one that is silent longest, if it
// has none, or (again) if that is over.
static struct flow *
flow_of(const struct sockaddr_in *peer, int again)
{
  struct flow *f = flows, *oldest = flows;
  while(f < flows + NFLOW && memcmp(peer, &f->peer, 8) != 0) {
    if(f->last < oldest->last)
      oldest = f;
    f++;
  }
  if(f < flows + NFLOW && !(f->over && again))
    return f;
  if(f == flows + NFLOW)
    f = oldest;
  memset(f, 0, sizeof(*f));
  f->peer = *peer;
  f->t0 = f->last = now_us();
  return f;
}

static void
note(struct flow *f, const uchar *p, int n, u32 id)
{
  u64 now = now_us(), sec = now;
  u32 us = div64(&sec, 1000000);
  int transit = ((int)sec - (int)get32(p + 4)) * 1000000 + (int)us - (int)get32(p + 8);
  int d = transit - f->transit;
  if(f->bytes == 0)
    f->first = f->next = id != 0;
  else
    f->jitter_us += ((d < 0 ? -d : d) - f->jitter_us) / 16;
  f->transit = transit;
  f->bytes += n;
  f->last = now;
  if(id >= f->next) {
    f->lost += id - f->next;
    f->next = id + 1;
  } else {
    f->late++;
    f->lost -= f->lost > 0; // it had been counted as lost
  }
}

static void
show_flow(u32 lost, u32 late, u32 count, u32 jitter_us)
{
  printf(1, "  jitter %u.%03u ms  lost %u of %u", jitter_us / 1000, jitter_us % 1000, lost, count);
  if(late)
    printf(1, "  out of order %u", late);
  printf(1, "\n");
}

static void
answer(int fd, const struct flow *f, const uchar *first)
{
  uchar r[128] = {0};
  u64 us = f->last - f->t0, sec = us;
  u32 rest = div64(&sec, 1000000);
  u32 words[] = {REPORT, f->bytes >> 32, f->bytes, sec, rest, f->lost, f->late, f->next - f->first, 0, f->jitter_us};
  memmove(r, first, 16);
  for(uint i = 0; i < sizeof(words) / sizeof(words[0]); i++)
    put32(r + 16 + 4 * i, words[i]);
  sendto(fd, r, sizeof(r), 0, &f->peer, sizeof(f->peer));
}

// A flow's last datagram comes until its sender has our answer: print only once.
static void __attribute__((noreturn))
udp_server(int fd)
{
  for(;;) {
    struct sockaddr_in from;
    int len = sizeof(from), n = recvfrom(fd, buf, sizeof(buf), 0, &from, &len);
    if(n < 0)
      die("receive", n);
    if(n < 16)
      continue; // not iperf's
    int id = get32(buf);
    struct flow *f = flow_of(&from, id >= 0);
    if(id >= 0) {
      note(f, buf, n, id);
      continue;
    }
    answer(fd, f, buf);
    if(f->over)
      continue;
    f->over = 1;
    report(inet_ntoa(from.sin_addr), f->bytes, f->last - f->t0, "");
    show_flow(f->lost, f->late, f->next - f->first, f->jitter_us);
  }
}

static void
stamp(int id)
{
  u64 sec = now_us();
  u32 us = div64(&sec, 1000000);
  put32(buf, id);
  put32(buf + 4, sec);
  put32(buf + 8, us);
}

// The last datagram, until the server has answered with its report.
static void
finish(int fd, int id)
{
  uchar r[256];
  struct pollfd p = {fd, POLLIN, 0};
  for(int i = 0; i < LAST_MOST; i++) {
    stamp(-id);
    send(fd, buf, length, 0);
    if(poll(&p, 1, LAST_WAIT) != 1 || recv(fd, r, sizeof(r), 0) < 16 + 40 || !(get32(r + 16) & REPORT))
      continue;
    u64 us = (u64)get32(r + 28) * 1000000 + get32(r + 32);
    report("server: received", (u64)get32(r + 20) << 32 | get32(r + 24), us, "");
    show_flow(get32(r + 36), get32(r + 40), get32(r + 44), get32(r + 48) * 1000000 + get32(r + 52));
    return;
  }
  printf(1, "no report from the server after %d tries\n", LAST_MOST);
}

static void
udp_client(int fd)
{
  u64 t0 = now_us(), sent = 0, gap_ns = (u64)length * 8 * 1000000000, due = 0;
  int id = 1, failed = 0;
  div64(&gap_ns, rate);
  while(amount ? sent < amount : now_us() < t0 + (u64)seconds * 1000000) {
    u64 at_us = due;
    div64(&at_us, 1000);
    u64 now = now_us();
    if(t0 + at_us > now + 1000)
      poll(0, 0, (uint)(t0 + at_us - now) / 1000);
    stamp(id++);
    int r = send(fd, buf, length, 0);
    failed += r < 0;
    sent += r > 0 ? r : 0;
    due += gap_ns;
  }
  report("sent", sent, now_us() - t0, "");
  printf(1, "  %d datagrams", id - 1);
  if(failed)
    printf(1, ", %d could not be sent", failed);
  printf(1, "\n");
  finish(fd, id);
}

int
main(int argc, char *argv[])
{
  const char *host = 0;
  int server = 0, r;
  cmd("iperf", help);
  for(int o; (o = getopt(argc, argv, "suRc:t:n:b:l:p:")) != -1;) {
    if(o == 's')
      server = 1;
    else if(o == 'u')
      udp = 1;
    else if(o == 'R')
      reverse = 1;
    else if(o == 'c')
      host = optarg;
    else if(o == 't')
      seconds = number(optarg, 1, 1000000);
    else if(o == 'n')
      amount = number(optarg, 1, 2000000000);
    else if(o == 'b')
      rate = number(optarg, 1000, 4000000000u);
    else if(o == 'l')
      length = number(optarg, 16, sizeof(buf) - 64);
    else
      port = number(optarg, 1, 65535);
  }
  if(optind != argc || server == (host != 0) || (udp && reverse))
    usage();
  length = length ? length : udp ? DATAGRAM
                                 : 16384;
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  if(host)
    a.sin_addr = host_of(host);
  int fd = open_socket();
  r = server ? bind(fd, &a, sizeof(a)) : connect(fd, &a, sizeof(a));
  if(r >= 0 && server && !udp)
    r = listen(fd, 16);
  if(r < 0)
    die(host ? host : "port", r);
  if(server)
    printf(1, "iperf: %s server at port %u\n", udp ? "UDP" : "TCP", port);
  if(server && udp)
    udp_server(fd);
  if(server)
    tcp_server(fd);
  if(udp)
    udp_client(fd);
  else
    tcp_client(fd);
  exits(0);
}
