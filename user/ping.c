// ping: is it there, and how far away?  ICMP echo, RFC 792.
#include "cmd.h"
#include "net.h"
#include "sys.h"
#include "ulib64.h"
#include "user.h"

static const char help[] =
  "usage: ping [-c COUNT] [-i MS] [-s SIZE] [-w MS] [-q] HOST\n"
  "Sends ICMP echo requests and prints the time until each reply.\n"
  "  -c COUNT  so many requests (default 5; 0: until Ctrl-C, which\n"
  "            no program can catch here: no summary then)\n"
  "  -i MS     milliseconds from one to the next (default 1000; 0: as soon as the\n"
  "            reply is there)\n"
  "  -s SIZE   bytes behind the ICMP header, 0 to 8192 (default 56)\n"
  "  -w MS     how long to wait for a reply (default 1000)\n"
  "  -q        only the summary\n"
  "Exit 0 if every reply came, with the bytes that were sent; else 1.\n";

#define MAXSIZE 8192
#define HEADER  8 // of ICMP

static uchar out[HEADER + MAXSIZE], in[60 + HEADER + MAXSIZE];
static uint count = 5, gap_ms = 1000, size = 56, wait_ms = 1000, quiet;
static uint sent, received, wrong, late;
static uint min_us = 0xffffffff, max_us;
static u64 sum_us;
static uint id; // of our requests: our pid

static ushort
checksum(const uchar *p, uint n)
{
  uint sum = 0;
  for(uint i = 0; i + 1 < n; i += 2)
    sum += p[i] << 8 | p[i + 1];
  if(n & 1)
    sum += p[n - 1] << 8;
  sum = (sum & 0xffff) + (sum >> 16);
  return ~(sum + (sum >> 16));
}

// Returns 0, or -errno: then it counts as lost.
static int
send_request(int fd, const struct sockaddr_in *to)
{
  memset(out, 0, HEADER);
  out[0] = 8; // echo request
  out[4] = id >> 8;
  out[5] = id;
  out[6] = sent >> 8;
  out[7] = sent;
  for(uint i = 0; i < size; i++)
    out[HEADER + i] = i + sent;
  ushort sum = checksum(out, HEADER + size);
  out[2] = sum >> 8;
  out[3] = sum;
  int r = sendto(fd, out, HEADER + size, 0, to, sizeof(*to));
  sent++;
  return r < 0 ? r : 0;
}

// A reply to one of ours?  Then its ICMP message; *n becomes its length.
static const uchar *
our_reply(uint *n)
{
  uint hlen = (in[0] & 15) * 4;
  const uchar *m = in + hlen;
  if(*n < hlen + HEADER || m[0] != 0 || (uint)(m[4] << 8 | m[5]) != (id & 0xffff))
    return 0;
  *n -= hlen;
  return m;
}

static void
note(const uchar *m, uint n, uint us, struct in_addr from)
{
  uint same = n == HEADER + size && memcmp(m + 4, out + 4, n - 4) == 0;
  received++;
  wrong += !same;
  sum_us += us;
  if(us < min_us)
    min_us = us;
  if(us > max_us)
    max_us = us;
  if(!quiet)
    printf(1, "%u bytes from %s: icmp_seq=%u ttl=%u time=%u.%03u ms%s\n", n, inet_ntoa(from), m[6] << 8 | m[7], in[8],
           us / 1000, us % 1000, same ? "" : " (not the bytes that were sent)");
}

// Wait for the reply to the request sent at t0, until `until`.
static void
await(int fd, u64 t0, u64 until)
{
  for(;;) {
    u64 now = now_us();
    if(now >= until)
      break;
    struct pollfd p = {fd, POLLIN, 0};
    u64 left = until - now + 999;
    div64(&left, 1000);
    if(poll(&p, 1, (int)left) <= 0)
      continue;
    struct sockaddr_in from;
    int len = sizeof(from), got = recvfrom(fd, in, sizeof(in), MSG_DONTWAIT, &from, &len);
    uint n = got;
    const uchar *m = got > 0 ? our_reply(&n) : 0;
    if(m == 0)
      continue;
    if((ushort)(m[6] << 8 | m[7]) == (ushort)(sent - 1)) {
      note(m, n, now_us() - t0, from.sin_addr);
      return;
    }
    late++; // to an earlier request
  }
  if(!quiet)
    printf(1, "no reply to icmp_seq=%u within %u ms\n", sent - 1, wait_ms);
}

static void
summary(const char *host)
{
  u64 avg = sum_us;
  if(received)
    div64(&avg, received);
  printf(1, "--- %s: %u sent, %u received, %u lost", host, sent, received, sent - received);
  if(late)
    printf(1, ", %u came too late or twice", late);
  if(wrong)
    printf(1, ", %u with other bytes", wrong);
  printf(1, "\n");
  if(received)
    printf(1, "round trip min %u avg %u max %u us\n", min_us, (uint)avg, max_us);
}

int
main(int argc, char *argv[])
{
  cmd("ping", help);
  for(int o; (o = getopt(argc, argv, "c:i:s:w:q")) != -1;) {
    if(o == 'c')
      count = number(optarg, 0, 1000000000);
    else if(o == 'i')
      gap_ms = number(optarg, 0, 1000000);
    else if(o == 's')
      size = number(optarg, 0, MAXSIZE);
    else if(o == 'w')
      wait_ms = number(optarg, 1, 1000000);
    else
      quiet = 1;
  }
  if(optind != argc - 1)
    usage();
  const char *host = argv[optind];
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = host_of(host)};
  int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
  if(fd < 0)
    die("socket", fd);
  id = getpid();
  printf(1, "ping %s (%s): %u data bytes\n", host, inet_ntoa(to.sin_addr), size);
  while(count == 0 || sent < count) {
    u64 t0 = now_us();
    int r = send_request(fd, &to);
    if(r < 0 && sent == 1)
      die(host, r);
    if(r == 0)
      await(fd, t0, t0 + (u64)wait_ms * 1000);
    else if(!quiet)
      printf(1, "icmp_seq=%u not sent: %s\n", sent - 1, neterr(r));
    u64 next = t0 + (u64)(r < 0 && gap_ms == 0 ? 10 : gap_ms) * 1000, now = now_us();
    u64 rest = next > now ? next - now : 0;
    div64(&rest, 1000);
    if(rest && (count == 0 || sent < count))
      poll(0, 0, rest);
  }
  summary(host);
  exits(received == sent && wrong == 0 ? 0 : 1);
}
