// ttcp: a plain source and sink of bytes, for measuring and for checking that what
// arrives is what was sent.
#include "cmd.h"
#include "net.h"
#include "sha256.h"
#include "sys.h"
#include "ulib64.h"
#include "user.h"

static const char help[] =
  "usage: ttcp -r|-t [-l] [-p PORT] [-n MIB] [-b BYTES] [-s MS] [-q] [HOST]\n"
  "Moves bytes over TCP and prints how many, how fast, and their SHA-256.\n"
  "  -r        receive until the peer's end     -t        send\n"
  "  -l        wait for the peer at PORT; without it, connect to HOST\n"
  "  -p PORT   default 5010                     -n MIB    how much -t sends (default 1)\n"
  "  -b BYTES  of one read or write (default 8192, at most 65536)\n"
  "  -s MS     sleep that long before the first read: a slow reader\n"
  "  -q        no SHA-256, which costs more than the network\n"
  "What -t sends is the same each time: byte k is (k * 2654435761) >> 24, modulo 2^32.\n";

static uchar buf[65536];
static uint chunk = 8192, sleep_ms, quiet;
static struct sha256 sum;

static int
connection(int listening, uint port, const char *host)
{
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  int on = 1, r, fd = socket(AF_INET, SOCK_STREAM, 0);
  if(fd < 0)
    die("socket", fd);
  if(!listening) {
    a.sin_addr = host_of(host);
    if((r = connect(fd, &a, sizeof(a))) < 0)
      die(host, r);
    return fd;
  }
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if((r = bind(fd, &a, sizeof(a))) < 0 || (r = listen(fd, 1)) < 0 || (r = accept(fd, 0, 0)) < 0)
    die("listen", r);
  close(fd);
  return r;
}

static void
add(const uchar *p, uint n)
{
  if(!quiet)
    sha256_add(&sum, p, n);
}

static u64
receive(int fd)
{
  u64 total = 0;
  int n;
  if(sleep_ms)
    poll(0, 0, sleep_ms);
  while((n = recv(fd, buf, chunk, 0)) > 0) {
    add(buf, n);
    total += n;
  }
  if(n < 0)
    die("receive", n);
  return total;
}

static u64
transmit(int fd, u64 total)
{
  u32 k = 0;
  for(u64 left = total; left > 0;) {
    uint n = left < chunk ? left : chunk;
    for(uint i = 0; i < n; i++)
      buf[i] = k++ * 2654435761u >> 24;
    int r = send(fd, buf, n, 0);
    if(r != (int)n)
      die("send", r < 0 ? r : -EPIPE);
    add(buf, n);
    left -= n;
  }
  shutdown(fd, SHUT_WR);
  while(recv(fd, buf, sizeof(buf), 0) > 0)
    ; // the peer's end: it has everything
  return total;
}

int
main(int argc, char *argv[])
{
  uint port = 5010, mib = 1;
  int listening = 0, dir = 0;
  cmd("ttcp", help);
  for(int o; (o = getopt(argc, argv, "rtlqp:n:b:s:")) != -1;) {
    if(o == 'r' || o == 't')
      dir = o;
    else if(o == 'l')
      listening = 1;
    else if(o == 'q')
      quiet = 1;
    else if(o == 'p')
      port = number(optarg, 1, 65535);
    else if(o == 'n')
      mib = number(optarg, 0, 1000000);
    else if(o == 'b')
      chunk = number(optarg, 1, sizeof(buf));
    else
      sleep_ms = number(optarg, 0, 1000000);
  }
  if(dir == 0 || argc - optind != !listening)
    usage();
  int fd = connection(listening, port, argv[optind]);
  sha256_init(&sum);
  u64 t0 = now_us(), total = dir == 'r' ? receive(fd) : transmit(fd, (u64)mib << 20);
  u64 us = now_us() - t0, rate = total * 8000, ms = us;
  char hex[65] = "-";
  close(fd);
  div64(&ms, 1000);
  div64(&rate, us ? us : 1);
  if(!quiet)
    sha256_end(&sum, hex);
  printf(1, "%s %llu bytes, %u ms, %u.%03u Mbit/s, sha256 %s\n", dir == 'r' ? "received" : "sent", total, (uint)ms,
         (uint)rate / 1000, (uint)rate % 1000, hex);
  exits(0);
}
