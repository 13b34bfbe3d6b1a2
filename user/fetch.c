// fetch: one page of the web.  HTTP/1.0 and what servers answer to it, RFC 9112.
#include "cmd.h"
#include "fcntl.h"
#include "fs.h"
#include "net.h"
#include "stat.h"
#include "sys.h"
#include "ulib64.h"
#include "user.h"

static const char help[] =
  "usage: fetch [-o FILE | -n COUNT] [-w S] [-v] http://HOST[:PORT]/PATH\n"
  "Gets a page over HTTP and writes it to standard output; then, on descriptor 2,\n"
  "status, bytes, time and rate.\n"
  "  -o FILE   into FILE, which appears only when the whole page has come\n"
  "  -n COUNT  so many times, one after another; the page is not shown\n"
  "  -w S      give up after S seconds of silence (default 15)\n"
  "  -v        show the answer's header lines, too\n"
  "Exit 0 if the server said 200 and sent as much as it promised, else 1.\n";

#define NHEAD 4096

static char host[128], path[512], head[NHEAD + 1], buf[8192];
static char part[256], file[256];
static uint port = 80, wait_s = 15, verbose;
static int out = 1; // -1: nowhere
static struct sockaddr_in server;

// As die; and nothing half is left behind.
static void __attribute__((noreturn))
fail(const char *what, int err)
{
  if(part[0])
    unlink(part);
  die(what, err == -EAGAIN || err == -EINPROGRESS ? ETIMEDOUT : err);
}

static int
begins(const char *s, const char *prefix)
{
  return strlen(s) >= strlen(prefix) && memcmp(s, prefix, strlen(prefix)) == 0;
}

// As die, about the output.
static void __attribute__((noreturn))
bad_file(const char *what)
{
  printf(2, "fetch: %s: %s\n", file, what);
  exits(1);
}

// Cut the address into host, port and path.
static void
parse(const char *url)
{
  const char *p = begins(url, "http://") ? url + 7 : url;
  uint n = 0;
  while(*p && *p != '/' && *p != ':' && n < sizeof(host) - 1)
    host[n++] = *p++;
  if(begins(p, "://")) {
    printf(2, "fetch: %s is not spoken here\n", host);
    exits(1);
  }
  if(*p == ':') {
    char digits[8];
    uint d = 0;
    for(p++; '0' <= *p && *p <= '9' && d < sizeof(digits) - 1;)
      digits[d++] = *p++;
    digits[d] = 0;
    port = number(digits, 1, 65535);
  }
  if(n == 0 || (*p && *p != '/') || strlen(p) >= sizeof(path))
    die("want an address such as http://10.0.2.2:8000/page", 0);
  strcpy(path, *p ? p : "/");
}

static int
dial(void)
{
  int ms = wait_s * 1000, fd = socket(AF_INET, SOCK_STREAM, 0), r = fd;
  if(fd >= 0) {
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &ms, sizeof(ms));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &ms, sizeof(ms));
    r = connect(fd, &server, sizeof(server));
  }
  if(r < 0)
    fail(host, r);
  return fd;
}

static void
ask(int fd)
{
  static char req[1024];
  char *p = req;
  const char *const pieces[] = {"GET ", path, " HTTP/1.0\r\nHost: ", host, "\r\nUser-Agent: fetch\r\nConnection: close\r\n\r\n"};
  for(uint i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
    strcpy(p, pieces[i]);
    p += strlen(p);
  }
  int r = send(fd, req, p - req, 0);
  if(r < 0)
    fail("send", r);
}

// Read up to the empty line.  Returns how many bytes of head belong to it; *got is
// how many were read.
static int
read_head(int fd, int *got)
{
  int n = 0;
  for(;;) {
    int r = recv(fd, head + n, NHEAD - n, 0);
    if(r < 0)
      fail("receive", r);
    if(r == 0)
      fail(n == NHEAD ? "a header of more than 4096 bytes" : n == 0 ? "the server closed without an answer"
                                                                    : "the server closed within its header",
           0);
    n += r;
    head[n] = 0;
    for(int i = 3; i < n; i++)
      if(memcmp(head + i - 3, "\r\n\r\n", 4) == 0) {
        *got = n;
        return i + 1;
      }
  }
}

static int
status(void)
{
  if(!begins(head, "HTTP/1.") || strlen(head) < 12)
    fail("the server does not speak HTTP", 0);
  return atoi(head + 9);
}

// The value of a header line, up to its end; or 0.  name: small letters, a colon.
static const char *
field(const char *name)
{
  for(const char *s = strchr(head, '\n'); s; s = strchr(s, '\n')) {
    uint k = 0;
    s++;
    while(name[k] && (s[k] | (s[k] >= 'A' && s[k] <= 'Z' ? 32 : 0)) == name[k])
      k++;
    if(name[k])
      continue;
    for(s += k; *s == ' ' || *s == '\t';)
      s++;
    return s;
  }
  return 0;
}

// The length that the header promises, or -1.
static int
promised(void)
{
  const char *s = field("content-length:");
  u64 n = 0;
  if(field("transfer-encoding:"))
    fail("the server answers in chunks, which HTTP/1.0 does not know", 0);
  if(s == 0)
    return -1;
  const char *digits = s;
  for(; '0' <= *s && *s <= '9' && n < 0x7fffffff; s++)
    n = n * 10 + *s - '0';
  if(s == digits || (*s != '\r' && *s != ' ') || n > 0x7fffffff)
    fail("a content length that makes no sense", 0);
  return n;
}

static void
put(const char *p, int n)
{
  if(out >= 0 && n > 0 && write(out, p, n) != n)
    fail(file[0] ? "no room for the page" : "cannot write to standard output", 0);
}

// One request.  Returns the status, 0 if less came than promised; *bytes of body.
// More than promised is not the page's any more.
static int
fetch(uint *bytes)
{
  int got, fd = dial();
  ask(fd);
  int n = read_head(fd, &got), rest = got - n, code = status(), r = 1;
  static char first[NHEAD];
  memmove(first, head + n, rest);
  head[n] = 0;
  uint want = promised(); // -1: any number
  if(verbose)
    write(2, head, n);
  *bytes = (uint)rest < want ? (uint)rest : want;
  put(first, *bytes);
  while(*bytes < want && (r = recv(fd, buf, want - *bytes < sizeof(buf) ? want - *bytes : sizeof(buf), 0)) > 0) {
    put(buf, r);
    *bytes += r;
  }
  if(r < 0)
    fail("receive", r);
  close(fd);
  if(want == ~0u || *bytes == want)
    return code;
  printf(2, "fetch: %u of %u bytes came\n", *bytes, want);
  return 0;
}

// The page's name until it is whole: FILE~, or with its last letter changed if the
// name is as long as a name can be.
static void
open_part(void)
{
  struct stat st;
  if(stat(file, &st) == 0 && st.type != T_FILE)
    bad_file("the output must be a plain file");
  const char *base = file;
  for(const char *s = file; *s; s++)
    base = *s == '/' ? s + 1 : base;
  uint n = strlen(base), at = base - file + (n < DIRSIZ ? n : DIRSIZ - 1);
  if(n == 0 || n > DIRSIZ)
    die(file, n ? ENAMETOOLONG : ENOENT);
  strcpy(part, file);
  part[at] = base[n - 1] == '~' ? '#' : '~';
  part[at + 1] = 0;
  unlink(part);
  out = open(part, O_CREATE | O_WRONLY | O_TRUNC);
  if(out < 0)
    bad_file("cannot make the file");
}

// The whole page has come: it takes the final name.
static void
rename_part(void)
{
  close(out);
  unlink(file);
  if(link(part, file) < 0)
    bad_file("cannot give the page this name");
  unlink(part);
}

static void
report(uint times, uint code, uint bytes, u64 us)
{
  u64 rate = (u64)bytes * 8 * 1000;
  div64(&rate, us ? us : 1);
  u64 ms = us;
  uint frac = div64(&ms, 1000);
  printf(2, "fetch: %u x status %u, %u bytes, %u.%03u ms, %u.%03u Mbit/s\n", times, code, bytes, (uint)ms, frac,
         (uint)rate / 1000, (uint)rate % 1000);
}

int
main(int argc, char *argv[])
{
  uint times = 1, total = 0, code = 0, done = 0, bytes;
  cmd("fetch", help);
  for(int o; (o = getopt(argc, argv, "o:n:w:v")) != -1;) {
    if(o == 'n') {
      times = number(optarg, 1, 1000000000);
      out = -1;
    } else if(o == 'v')
      verbose = 1;
    else if(o == 'w')
      wait_s = number(optarg, 1, 1000000);
    else if(strlen(optarg) < sizeof(file) - 1)
      strcpy(file, optarg);
    else
      die(optarg, ENAMETOOLONG);
  }
  if(optind != argc - 1 || (out < 0 && file[0]))
    usage();
  parse(argv[optind]);
  server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = host_of(host)};
  if(file[0])
    open_part();
  u64 t0 = now_us();
  do {
    code = fetch(&bytes);
    total += bytes;
    done++;
  } while(code == 200 && done < times);
  report(done, code, total, now_us() - t0);
  if(file[0] && code == 200)
    rename_part();
  else if(file[0])
    unlink(part);
  exits(code != 200);
}
