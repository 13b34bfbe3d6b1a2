// trctl: what /dev/nettrace refuses, and what its control lines do, judged by results.
// Each wrong result is a line "WRONG ..."; the last line is "trctl: N checks".
// For tests/guest/test_tracectl.py.
#include "types.h"
#include "fcntl.h"
#include "net.h"
#include "nettrace.h"
#include "sys.h"
#include "user.h"

#define IS(expr, want) is(expr, want, #expr, __LINE__)

static int checks;
static char buf[16384], text[65536];

static int
is(int got, int want, const char *what, int line)
{
  checks++;
  if(got != want)
    printf(1, "WRONG line %d: %s = %d, not %d\n", line, what, got, want);
  return got == want;
}

static int
equal(const char *a, const char *b, u32 n)
{
  while(n > 0 && *a == *b)
    a++, b++, n--;
  return n == 0;
}

static int
has(const char *in, const char *part)
{
  for(u32 n = strlen(part); *in; in++)
    if(equal(in, part, n))
      return 1;
  return 0;
}

static const char *
account(void)
{
  int fd = open("/dev/nettrace.stat", O_RDONLY), n, got = 0;
  while((n = read(fd, text + got, sizeof(text) - 1 - got)) > 0)
    got += n;
  text[got] = 0;
  close(fd);
  return text;
}

static int
say(int fd, const char *line)
{
  return write(fd, line, strlen(line));
}

static void
refused(int fd, const char *line, const char *why)
{
  checks++;
  int n = say(fd, line);
  if(n != -EINVAL || !has(account(), why))
    printf(1, "WRONG \"%s\": %d, \"%s\" is not in .stat\n", line, n, why);
}

// Everything up to now; the records left in buf are of no use.  A reader that sees
// its own reads would never come to an end: so it is quiet from here on.
static void
drain(int fd)
{
  int n;
  IS(say(fd, "self off"), 8);
  while((n = read(fd, buf, sizeof(buf))) > 0)
    ;
  IS(n, -EAGAIN);
}

// How many records of writers with this system call number in byte 24 come; -1: any
// number.  Quiet as drain is.
static int
events(int fd, int nr)
{
  int n, got = 0;
  IS(say(fd, "self off"), 8);
  while((n = read(fd, buf, sizeof(buf))) > 0)
    for(struct nt_slot *s = (void *)buf; s < (struct nt_slot *)(buf + n); s += s->nsl)
      got += s->seq != 0 && s->nsl == 1 && (nr < 0 || s->p[0] == nr);
  IS(n, -EAGAIN);
  return got;
}

// A line for each event of .stat that is on, without its counts.
static u32
events_on(void)
{
  u32 hash = 0, on = 0;
  const char *line = account();
  for(u32 name = 0; line && *line; line = strchr(line, '\n'), line += line != 0) {
    const char *end = strchr(line, '\n');
    if(!equal(line, "event ", 6) || !equal(end - 3, " on", 3))
      continue;
    for(name = 0; line[6] != ' '; line++)
      name = name * 31 + line[6];
    hash ^= name * 2654435761u;
    on++;
  }
  return hash + on;
}

static void
bad_lines(void)
{
  static const char *const line[][2] = {
    {"filter", "err \"want an event's name or a pattern: nettrace list shows them\""},
    {"filter tcp_state", "err \"want FIELD OP VALUE\""},
    {"filter tcpx to == 1", "err \"unknown event tcpx\""},
    {"filter tcp_state nix == 1", "err \"unknown field nix\""},
    {"filter tcp_state to = 1", "err \"want one of == != < <= > >= & behind the field\""},
    {"filter tcp_state to ==", "err \"want a number, an address or a name as value\""},
    {"filter tcp_state to == HAPPY", "err \"unknown name HAPPY\""},
    {"filter tcp_state to == 12x", "err \"bad number 12x\""},
    {"filter tcp_state to == 99999999999999999999", "err \"bad number"},
    {"filter tcp_state laddr == 10.0.2.256", "err \"bad number"},
    {"filter tcp_state to == 256", "err \"to is from 0 to 255: never true\""},
    {"filter tcp_seg_in len < -1", "err \"len is from 0 to 65535: never true\""},
    {"filter sys_exit ret == 2147483648", "err \"ret is from -2147483648 to 2147483647: never true\""},
    {"filter tcp_state laddr == 4294967296", "err \"laddr is from 0 to 4294967295: never true\""},
    {"filter tcp_state,tcp_seg_in len & 65536", "err \"len is from 0 to 65535: never true\""},
    {"filter tcp_seg_in len > 65535", "err \"len is from 0 to 65535: never true\""},
    {"filter tcp_seg_in len < 0", "err \"len is from 0 to 65535: never true\""},
    {"filter sys_exit ret < -2147483648", "err \"ret is from -2147483648 to 2147483647: never true\""},
    {"filter tcp_state to & 0", "err \"& 0 is never true: want a number with a bit in it\""},
    {"filter mark ctx == 16", "err \"ctx is from 0 to 15: never true\""},
    {"filter mark cpu == 16", "err \"cpu is from 0 to 15: never true\""},
    {"filter tcp_state to == 1 to == 2", "err \"want && between terms\""},
    {"filter tcp_state to == 1 &&", "err \"want a term behind &&\""},
    {"filter tcp_state to==1&&to==1&&to==1&&to==1&&to==1", "err \"too many terms\""},
    {"filter proc name == 1", "err \"field is no number name\""},
    {"filter mark text == 1", "err \"field is no number text\""},
    {"filter wakeup,tcp_rexmit why == 1 && kind == NET", "err \"unknown name NET\""},
    {"only", "err \"only: want pkt N"},
    {"only pkt 0", "err \"only: want pkt N"},
    {"only sock 65536", "err \"only: want pkt N"},
    {"only flow 10.0.2.15:80", "err \"only: want pkt N"},
    {"only flow 10.0.2.15:80-10.0.2.2:0", "err \"only: want pkt N"},
    {"mode fast", "err \"mode: want overwrite or lossless\""},
    {"self yes", "err \"self: want on or off\""},
    {"snaplen 38", "err \"snaplen: want 37, 85, 133 or 181\""},
    {"stop-on nosuch", "err \"unknown event nosuch\""},
    {"stop-on mark after x", "err \"stop-on: want at most 1000000 slots behind after\""},
    {"stop-on tcp_state to == HAPPY after 3", "err \"unknown name HAPPY\""},
    {"nonsense", "err \"unknown command\""},
    {"ENABLE mark", "err \"unknown command\""},
    {"enable\tmark", "err \"unknown command\""},
    {"enable", "err \"want an event's name or a pattern: nettrace list shows them\""},
    {"enable zz*", "err \"unknown event zz*\""},
    {"enable sleep,@NONE", "err \"unknown event @NONE\""},
    {"disable", "err \"want an event's name or a pattern: nettrace list shows them\""},
    {"disable mark,tcpx", "err \"unknown event tcpx\""},
    {"base", "err \"want + or - before each pattern\""},
    {"base +frame,pbuf_alloc", "err \"want + or - before each pattern\""},
    {"base +frame,-nix", "err \"unknown event nix\""},
    {"filter mark pid", "err \"want one of"},
    {"filter nosuch pid == 1", "err \"unknown event nosuch\""},
    {"only x", "err \"only: want pkt N"},
    {"only cpu 1", "err \"only: want pkt N"},
    {"only pkt x", "err \"only: want pkt N"},
    {"only pkt 1 2", "err \"only: want pkt N"},
    {"only pkt 4294967296", "err \"only: want pkt N"},
    {"only sock 0", "err \"only: want pkt N"},
    {"only pid 0", "err \"only: want pkt N"},
    {"only flow", "err \"only: want pkt N"},
    {"only flow 10.0.2.256:80-10.0.2.2:1", "err \"only: want pkt N"},
    {"only flow 10.0.2.15:80-10.0.2.2:65536", "err \"only: want pkt N"},
    {"only flow 10.0.2.15:80 10.0.2.2:1", "err \"only: want pkt N"},
    {"mode", "err \"mode: want overwrite or lossless\""},
    {"mode lossless 1", "err \"mode: want overwrite or lossless\""},
    {"from", "err \"from: want oldest, now, or -N"},
    {"from -", "err \"from: want oldest, now, or -N"},
    {"from 5", "err \"from: want oldest, now, or -N"},
    {"from -131073", "err \"from: want oldest, now, or -N"},
    {"timeout", "err \"timeout: want milliseconds, at most 600000\""},
    {"timeout -1", "err \"timeout: want milliseconds, at most 600000\""},
    {"timeout 600001", "err \"timeout: want milliseconds, at most 600000\""},
    {"self", "err \"self: want on or off\""},
    {"sync 1", "err \"sync: takes no argument\""},
    {"snap 1", "err \"snap: takes no argument\""},
    {"snaplen", "err \"snaplen: want 37, 85, 133 or 181\""},
    {"snaplen 37x", "err \"snaplen: want 37, 85, 133 or 181\""},
    {"mark", "err \"mark: want 1 to 100 characters\""},
    {"stop-on", "err \"want an event's name or a pattern: nettrace list shows them\""},
    {"stop-on mark text == 1", "err \"field is no number text\""},
    {"stop-on mark pid after 1", "err \"want one of"},
    {"stop-on mark after 1000001", "err \"stop-on: want at most 1000000 slots behind after\""},
    {"stop now", "err \"stop: takes no argument\""},
    {"start now", "err \"start: takes no argument\""},
    {"func", "err \"func: "},
    {"func nosuch", "err \"func: "},
  };
  int fd = open("/dev/nettrace", O_RDWR | O_NONBLOCK), wo = open("/dev/nettrace", O_WRONLY);
  IS(read(fd, buf, 255), -EINVAL);
  IS(read(fd, buf, 256), 256); // nothing was consumed: the header comes
  IS(equal(buf, "NETTRF1", 8), 1);
  IS(say(fd, "disable *\nenable mark"), 21);
  u32 on = events_on();
  for(u32 i = 0; i < sizeof(line) / sizeof(line[0]); i++)
    refused(fd, line[i][0], line[i][1]);
  IS(events_on(), on);
  IS(has(account(), "frozen 0"), 1);
  IS(has(account(), "mode lossless"), 0);
  drain(fd);
  IS(say(fd, "mark one"), 8);
  IS(events(fd, -1), 1); // what it asked for, and all of it
  IS(write(fd, "mark two\nmark three\nnonsense\nmark four", 39), -EINVAL);
  IS(events(fd, -1), 2); // the lines before the wrong one
  refused(wo, "filter mark pid == 1", "refused \"filter: not open for reading\"");
  refused(wo, "mode lossless", "refused \"mode: not open for reading\"");
  refused(wo, "self on", "refused \"self: not open for reading\"");
  refused(wo, "only off", "refused \"only: not open for reading\"");
  refused(wo, "from now", "refused \"from: not open for reading\"");
  refused(wo, "timeout 1", "refused \"timeout: not open for reading\"");
  refused(wo, "sync", "refused \"sync: not open for reading\"");
  memset(buf, '#', 600);
  IS(write(wo, buf, 127), 127);
  IS(write(wo, buf, 128), -EINVAL);
  IS(has(account(), "refused \"line too long\""), 1);
  IS(write(wo, buf, 513), -EINVAL);
  IS(has(account(), "refused \"too much in one write\""), 1);
  IS(write(wo, "mark\0x", 6), -EINVAL);
  IS(has(account(), "refused \"NUL in a line\""), 1);
  IS(write(wo, (void *)0x80100000, 5), -EFAULT);
  IS(read(fd, (void *)0x80100000, 4096), -EFAULT);
  IS(read(fd, (void *)bad_lines, 4096), -EFAULT);
  IS(read(fd, buf, 255), -EINVAL);
  IS(read(fd, buf, 1), -EINVAL);
  IS(read(fd, buf, 0), -EINVAL);
  IS(read(fd, buf, -1), -EFAULT); // ends before it begins
  IS(read(wo, buf, 4096), -1);
  int stat = open("/dev/nettrace.stat", O_RDWR);
  IS(say(stat, "mark x"), -EINVAL);
  IS(read(stat, (void *)0x80100000, 4), -EFAULT);
  IS(read(stat, buf, 1), 1); // nothing was consumed
  IS(buf[0], 'c');
  close(stat);
  for(int i = 0; i < 8; i++)
    IS(say(fd, "filter mark pid == 1"), 20);
  refused(fd, "filter mark pid == 1", "err \"too many filters\"");
  IS(say(fd, "filter off"), 10);
  IS(has(account(), "frozen 0"), 1);
  close(fd);
  close(wo);
}

static void
many_opens(void)
{
  int fd[17];
  for(int i = 0; i < 16; i++)
    IS((fd[i] = open("/dev/nettrace", O_RDONLY)) > 0, 1);
  IS(open("/dev/nettrace", O_RDONLY), -ENFILE);
  IS((fd[16] = open("/dev/nettrace", O_WRONLY)) > 0, 1); // needs no reader
  for(int i = 0; i < 17; i++)
    close(fd[i]);
}

// Ten getpid and a sleep, when this reader has obeyed the line and self on, if loud.
static void
act(int fd, const char *line, int loud)
{
  IS(say(fd, line), strlen(line));
  drain(fd);
  if(loud)
    IS(say(fd, "self on"), 7);
  for(int i = 0; i < 10; i++)
    getpid();
  sleep(0);
}

static void
views(void)
{
  int fd = open("/dev/nettrace", O_RDWR | O_NONBLOCK);
  act(fd, "disable *\nenable sys_exit", 1);
  IS(events(fd, 11), 10); // ourselves
  act(fd, "# quiet", 0);
  IS(events(fd, 11), 0);
  act(fd, "filter sys_exit nr == getpid && ret == 1", 1);
  IS(events(fd, -1), 0);
  act(fd, "filter off\nfilter sys_exit nr==getpid", 1);
  IS(events(fd, -1), 10); // sleep is not among them
  act(fd, "filter off\nonly pid 1", 1);
  IS(events(fd, 11), 0);
  act(fd, "only off", 1);
  IS(events(fd, 11), 10);
  close(fd);
}

// A reader asks to lose nothing, takes it back, and asks again while it reads: the
// header says so to everyone, and the records go on without a gap.
static void
modes(void)
{
  int fd = open("/dev/nettrace", O_RDWR | O_NONBLOCK);
  IS(say(fd, "disable *\nenable mark"), 21);
  drain(fd);
  for(int i = 0; i < 6; i++) {
    const char *line = i % 2 == 0 ? "mode lossless" : "mode overwrite";
    IS(say(fd, line), strlen(line));
    IS(has(account(), "mode lossless"), i % 2 == 0);
    int other = open("/dev/nettrace", O_RDONLY);
    IS(read(other, buf, 256), 256);
    IS((((struct nt_header *)buf)->flags & NT_LOSSLESS) != 0, i % 2 == 0);
    close(other);
    IS(say(fd, "mark one\nmark two"), 17);
    IS(events(fd, -1), 2);
  }
  close(fd);
  IS(has(account(), "mode lossless"), 0);
}

// Slots refused so far, on all CPUs.
static int
refusals(void)
{
  int sum = 0;
  for(const char *s = account(); (s = strchr(s, 'd')) != 0; s++)
    if(equal(s, "dropped ", 8))
      sum += atoi(s + 8);
  return sum;
}

// A process asks to lose nothing and never reads: the recorder refuses, and goes on
// as soon as that one closes, or dies.
static void
sleepers(void)
{
  for(int what = 0; what < 2; what++) {
    int p[2], q[2], status;
    IS(pipe(p), 0);
    IS(pipe(q), 0);
    int pid = fork();
    if(pid == 0) {
      int fd = open("/dev/nettrace", O_RDWR);
      say(fd, "mode lossless");
      write(p[1], "w", 1);
      read(q[0], buf, 1);
      close(fd);
      write(p[1], "w", 1);
      read(q[0], buf, 1);
      exits(0);
    }
    IS(read(p[0], buf, 1), 1);
    int before = refusals();
    while(refusals() == before)
      for(int i = 0; i < 2000; i++)
        getpid(); // fill the ring
    IS(has(account(), "mode lossless"), 1);
    if(what == 0) {
      IS(write(q[1], "c", 1), 1);
      IS(read(p[0], buf, 1), 1);
    } else {
      IS(kill(pid), 0);
      IS(waitpid(pid, &status, 0), pid);
    }
    IS(has(account(), "mode lossless"), 0);
    before = refusals();
    int fd = open("/dev/nettrace", O_RDWR | O_NONBLOCK);
    act(fd, "disable *\nenable sys_exit", 1);
    IS(events(fd, 11), 10);
    IS(refusals() == before, 1);
    close(fd);
  }
}

// A record stops the recorder, some slots later.
static void
flight(void)
{
  int fd = open("/dev/nettrace", O_RDWR | O_NONBLOCK), n, after = -1, last = 0;
  IS(say(fd, "disable *\nenable mark,ctl"), 25);
  drain(fd);
  IS(say(fd, "stop-on ctl ok == 0 after 3"), 27);
  for(int i = 0; i < 5; i++)
    IS(say(fd, "mark before"), 11);
  IS(has(account(), "frozen 0"), 1);
  IS(say(fd, "trigger"), -EINVAL);
  for(int i = 0; i < 5000 && !has(account(), "frozen 1"); i++)
    say(fd, "mark behind");
  IS(has(account(), "frozen 1"), 1);
  while((n = read(fd, buf, sizeof(buf))) > 0)
    for(struct nt_slot *s = (void *)buf; s < (struct nt_slot *)(buf + n); s += s->nsl) {
      if(after >= 0)
        after += s->nsl;
      if(s->nsl == 1 && equal((char *)s->p, "\0trigger", 8))
        after = 0;
      last++;
    }
  IS(n, 0);
  IS(after >= 0 && after <= 3, 1); // these two kinds of the three
  IS(say(fd, "start"), 5);
  IS(has(account(), "frozen 0"), 1);
  close(fd);
}

// A reader that waits is woken, or killed; the next finds nothing amiss.
static void
waiting(void)
{
  int p[2], status;
  IS(pipe(p), 0);
  for(int what = 0; what < 2; what++) {
    int pid = fork();
    if(pid == 0) {
      int fd = open("/dev/nettrace", O_RDWR);
      say(fd, "mode lossless\ndisable *\nenable mark");
      say(fd, "timeout 300");
      while(read(fd, buf, sizeof(buf)) > 0)
        ;
      say(fd, "timeout 0");
      write(p[1], "w", 1);
      exits(read(fd, buf, sizeof(buf)) > 0 ? 7 : 1);
    }
    IS(read(p[0], buf, 1), 1);
    int ctl = open("/dev/nettrace", O_WRONLY);
    IS(what == 0 ? say(ctl, "mark wake") == 9 : kill(pid) == 0, 1);
    close(ctl);
    IS(waitpid(pid, &status, 0), pid);
    IS(status, what == 0 ? 7 : -1);
    IS(has(account(), "mode lossless"), 0);
  }
  close(p[0]);
  close(p[1]);
}

int
main(void)
{
  bad_lines();
  many_opens();
  views();
  modes();
  sleepers();
  flight();
  waiting();
  printf(1, "trctl: %d checks\n", checks);
  exits(0);
}
