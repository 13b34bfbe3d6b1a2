// trstress N [lossless|all|flip]: four processes make N system calls each while eight read
// the trace; then the ring is frozen and each reader judges what it got.
// For tests/guest/test_tracectl.py.
//
// The readers: three fast ones, one with the smallest buffer, one that rests, one that
// asks for a byte and for 255 before each read, one that is killed, one with a filter.
// With lossless the first four ask to lose nothing; with all nobody is killed and
// nobody has a filter.  With flip the four work, one of them over the network, for as
// long as it takes to turn all events and all functions on and off N times.  What is not as it must be is a line "WRONG ..."; each reader
// that ends says what it counted.
#include "types.h"
#include "fcntl.h"
#include "net.h"
#include "nettrace.h"
#include "sys.h"
#include "user.h"

#define NREAD  8
#define NWRITE 4

enum {
  FAST,
  SMALL = 3,
  SLOW,
  BYTES,
  KILLED,
  FILTER
};

struct count {
  u32 next, delivered, lost, refused;
  u8 begun;
};

static union {
  char c[16384];
  struct nt_slot slot[256];
} buf;
static struct count cpu[NT_MAXCPU];
static u32 seen[NT_MAXEV], hash = 2166136261u, last_seq;
static u64 last_ts;
static int me, last_cpu = -1, lost_id, stat_id, stats;

static void
wrong(const char *what, u32 got, u32 want)
{
  printf(1, "WRONG reader %d: %s: %d, not %d\n", me, what, got, want);
}

static void
same(const char *what, u32 got, u32 want)
{
  if(got != want)
    wrong(what, got, want);
}

static u32
word(const u8 *p)
{
  return p[0] | p[1] << 8 | p[2] << 16 | (u32)p[3] << 24;
}

// What the reader itself says: n slots of a CPU are lost, or its account of a CPU.
static void
own_record(const struct nt_slot *s)
{
  if(s->id == lost_id) {
    struct count *c = &cpu[s->p[4] % NT_MAXCPU];
    if(me != FILTER && c->begun)
      same("a gap begins behind the last record", word(s->p + 6), c->next);
    c->begun = 1;
    c->next = word(s->p + 6) + word(s->p);
    c->lost += word(s->p);
    return;
  }
  same("who wrote this?", s->id, stat_id);
  struct count *c = &cpu[s->p[0] % NT_MAXCPU];
  u32 start = word(s->p + 1), cursor = word(s->p + 5), filtered = word(s->p + 17);
  same("delivered", c->delivered, word(s->p + 9));
  same("lost", c->lost, word(s->p + 13));
  same("account", c->delivered + c->lost + filtered, cursor - start);
  printf(1, "reader %d cpu %d start %d cursor %d delivered %d lost %d filtered %d refused %d\n", me, s->p[0], start,
         cursor, c->delivered, c->lost, filtered, c->refused);
  stats++;
}

// A record of a writer: whole, in order, and none left out.
static void
record(const struct nt_slot *s, int nsl)
{
  int who = s->cpu_ctx & 15;
  struct count *c = &cpu[who % NT_MAXCPU];
  if(s->ts < last_ts || (s->ts == last_ts && (who < last_cpu || (who == last_cpu && (int)(s->seq - last_seq) <= 0))))
    wrong("out of order", (u32)s->ts, (u32)last_ts);
  last_ts = s->ts;
  last_cpu = who;
  last_seq = s->seq;
  if(me != FILTER && c->begun)
    same("number", s->seq, c->next + 1);
  c->begun = 1;
  c->next = s->seq - 1 + nsl;
  c->delivered += nsl;
  seen[s->id % NT_MAXEV] += nsl;
  if(s->id == lost_id)
    c->refused += word(s->p);
  for(int k = 1; k < nsl; k++)
    if(s[k].ts != s->ts || s[k].id != s->id || s[k].seq != s->seq + k || s[k].nsl != NT_CONT + k)
      wrong("torn", s[k].seq, s->seq + k);
  for(const u32 *w = (const u32 *)s; w < (const u32 *)(s + nsl); w++)
    hash = (hash ^ *w) * 16777619u;
}

static void
judge(int n)
{
  for(int i = 0, nsl; i < n; i += nsl) {
    const struct nt_slot *s = &buf.slot[i];
    nsl = s->nsl;
    if(nsl < 1 || nsl > NT_MAXNSL || i + nsl > n) {
      wrong("slots", nsl, 1);
      return;
    }
    if(s->seq == 0)
      own_record(s);
    else
      record(s, nsl);
  }
}

static int
equal(const char *a, const char *b, u32 n)
{
  while(n > 0 && *a == *b)
    a++, b++, n--;
  return n == 0;
}

static int
event_id(const char *text, const char *name)
{
  for(const char *p = text; (p = strchr(p, '\n')) != 0; p++) {
    if(!equal(p + 1, "event ", 6))
      continue;
    const char *at = strchr(p + 7, ' ');
    u32 n = strlen(name);
    if(equal(at + 1, name, n) && at[1 + n] == ' ')
      return atoi(p + 7);
  }
  return -1;
}

// Read header and description, to where the records begin.
static void
start(int fd)
{
  static char text[49152];
  const struct nt_header *h = (void *)text;
  u32 got = 0, want = sizeof(*h);
  int n = 1;
  for(; got < want && n > 0; got += n) {
    u32 room = want - got < 256 ? 256 : want - got;
    if((n = read(fd, text + got, got == 0 ? 256 : room)) < 256 && n < (int)(want - got))
      break;
    if(got == 0)
      want = sizeof(*h) + ((h->meta_len + 63) & ~63u);
  }
  if(got > want) { // records that came with the last piece
    memmove(buf.c, text + want, got - want);
    lost_id = event_id(text + sizeof(*h), "lost");
    stat_id = event_id(text + sizeof(*h), "reader_stat");
    judge((got - want) / sizeof(struct nt_slot));
    return;
  }
  lost_id = event_id(text + sizeof(*h), "lost");
  stat_id = event_id(text + sizeof(*h), "reader_stat");
}

static void
say(int fd, const char *line)
{
  int n = write(fd, line, strlen(line));
  if(n != (int)strlen(line))
    wrong(line, n, strlen(line));
}

static void
reader(char mode, int ready)
{
  int fd = open("/dev/nettrace", O_RDWR), n;
  if(fd < 0) {
    wrong("open", fd, 0);
    exits(1);
  }
  if(mode == 'l' && me <= SMALL)
    say(fd, "mode lossless");
  if(mode != 'a' && me == FILTER)
    say(fd, "filter sys_exit nr == getpid && ret > 1000000\nfilter sys_enter nr != getpid");
  start(fd);
  write(ready, "r", 1);
  for(;;) {
    if(me == BYTES) {
      same("one byte", read(fd, buf.c, 1), -EINVAL);
      same("255 bytes", read(fd, buf.c, 255), -EINVAL);
    }
    if((n = read(fd, buf.c, me == SMALL ? 256 : sizeof(buf))) <= 0)
      break;
    judge(n / sizeof(struct nt_slot));
    if(me == SLOW)
      sleep(5);
  }
  same("end", n, 0);
  say(fd, "sync");
  while((n = read(fd, buf.c, sizeof(buf))) > 0)
    judge(n / sizeof(struct nt_slot));
  for(int id = 0; id < NT_MAXEV; id++)
    if(seen[id])
      printf(1, "reader %d event %d %d\n", me, id, seen[id]);
  printf(1, "reader %d hash %x\n", me, hash);
  exits(stats > 0 ? 0 : 1);
}

// N system calls; without end when all goes on and off meanwhile.
static void
writer(int n, char mode, int first, int ready)
{
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(9000), .sin_addr = {htonl(0x7f000001)}};
  int s = mode == 'f' && first ? socket(AF_INET, SOCK_DGRAM, 0) : -1;
  if(s >= 0)
    same("bind and connect", bind(s, &at, sizeof(at)) | connect(s, &at, sizeof(at)), 0);
  if(mode == 'f')
    write(ready, "w", 1);
  for(int i = 0; mode == 'f' || i < n; i++) {
    getpid();
    if(s >= 0 && (send(s, "flip", 4, 0) != 4 || recv(s, buf.c, 4, 0) != 4))
      wrong("datagram", i, 0);
  }
  exits(0);
}

static void
flip(int n)
{
  int ctl = open("/dev/nettrace", O_WRONLY);
  for(int i = 0; i < n; i++) {
    say(ctl, i % 2 ? "func off" : "func *");
    say(ctl, i % 4 < 2 ? "base +*" : "base -*");
  }
  close(ctl);
}

int
main(int argc, char *argv[])
{
  int pid[NREAD + NWRITE], ready[2], status;
  char c, mode = argc > 2 ? argv[2][0] : 0;
  if(argc < 2 || pipe(ready) < 0) {
    printf(2, "usage: trstress N [lossless|all|flip]\n");
    exits(2);
  }
  for(me = 0; me < NREAD; me++)
    if((pid[me] = fork()) == 0)
      reader(mode, ready[1]);
  for(int i = 0; i < NREAD; i++)
    read(ready[0], &c, 1);
  for(int i = NREAD; i < NREAD + NWRITE; i++)
    if((pid[i] = fork()) == 0)
      writer(atoi(argv[1]), mode, i == NREAD, ready[1]);
  for(int i = NREAD; i < NREAD + NWRITE && mode == 'f'; i++)
    read(ready[0], &c, 1);
  if(mode == 'f')
    flip(atoi(argv[1]));
  for(int i = NREAD; i < NREAD + NWRITE && mode == 'f'; i++)
    kill(pid[i]);
  waitpid(pid[NREAD], &status, 0);
  if(mode != 'a')
    kill(pid[KILLED]);
  for(int i = NREAD + 1; i < NREAD + NWRITE; i++)
    waitpid(pid[i], &status, 0);
  int ctl = open("/dev/nettrace", O_WRONLY);
  me = -1;
  say(ctl, "stop");
  for(int i = 0; i < NREAD; i++) {
    waitpid(pid[i], &status, 0);
    same("status of a reader", status, mode != 'a' && i == KILLED ? -1 : 0);
  }
  printf(1, "trstress: done\n");
  exits(0);
}
