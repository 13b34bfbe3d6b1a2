// fetch: one page of the web.  HTTP/1.0 and what servers answer to it, RFC 9112.
#include "cmd.h"
#include "fcntl.h"
#include "net.h"
#include "sys.h"
#include "ulib64.h"
#include "user.h"

static const char help[] =
  "usage: fetch [-o FILE] [-n COUNT] [-v] http://HOST[:PORT]/PATH\n"
  "Gets a page over HTTP and writes it to standard output; then, on descriptor 2,\n"
  "status, bytes, time and rate.\n"
  "  -o FILE   into FILE, which appears only when the whole page has come\n"
  "  -n COUNT  so many times, one after another; the page is not shown\n"
  "  -v        show the answer's header lines, too\n"
  "Exit 0 if the server said 200 and sent as much as it promised, else 1.\n";

#define NHEAD 4096

static char host[128], path[512], head[NHEAD + 1], buf[8192];
static char part[256], file[256];
static uint port = 80, verbose;
static int out = 1; // -1: nowhere
static struct sockaddr_in server;

// Cut the address into host, port and path.
static void
parse(const char *url)
{
  const char *p = url;
  if(memcmp(url, "http://", strlen(url) < 7 ? strlen(url) : 7) == 0)
    p += 7;
  uint n = 0;
  while(*p && *p != '/' && *p != ':' && n < sizeof(host) - 1)
    host[n++] = *p++;
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
  int fd = socket(AF_INET, SOCK_STREAM, 0), r = fd;
  if(fd >= 0)
    r = connect(fd, &server, sizeof(server));
  if(r < 0)
    die(host, r);
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
    die("send", r);
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
      die("receive", r);
    if(r == 0)
      die(n == NHEAD ? "header of more than 4096 bytes" : "the server closed before it answered", 0);
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
  if(memcmp(head, "HTTP/1.", 7) != 0 || strlen(head) < 12)
    die("the server does not speak HTTP", 0);
  return atoi(head + 9);
}

// The promised length, or -1.
static int
promised(int n)
{
  static const char name[] = "\r\ncontent-length:";
  for(int i = 0; i + (int)sizeof(name) < n; i++) {
    uint k = 0;
    while(name[k] && (head[i + k] | (head[i + k] >= 'A' && head[i + k] <= 'Z' ? 32 : 0)) == name[k])
      k++;
    if(name[k])
      continue;
    for(i += k; head[i] == ' ';)
      i++;
    return atoi(head + i);
  }
  return -1;
}

static void
put(const char *p, int n)
{
  if(out >= 0 && n > 0 && write(out, p, n) != n)
    die(file[0] ? file : "standard output: no room", 0);
}

// One request.  Returns the status; *bytes of body.
static int
fetch(uint *bytes)
{
  int got, fd = dial();
  ask(fd);
  int n = read_head(fd, &got), code = status(), want = promised(n);
  if(verbose)
    write(2, head, n);
  put(head + n, got - n);
  *bytes = got - n;
  int r;
  while((r = recv(fd, buf, sizeof(buf), 0)) > 0) {
    put(buf, r);
    *bytes += r;
  }
  if(r < 0)
    die("receive", r);
  if(want >= 0 && (uint)want != *bytes) {
    printf(2, "fetch: %u of %d bytes came\n", *bytes, want);
    code = 0;
  }
  close(fd);
  return code;
}

static void
open_part(void)
{
  if(strlen(file) + 3 > sizeof(part))
    die(file, ENAMETOOLONG);
  strcpy(part, file);
  part[strlen(file)] = '~';
  unlink(part);
  out = open(part, O_CREATE | O_WRONLY | O_TRUNC);
  if(out < 0)
    die(part, 0);
}

// The whole page has come: it takes the final name.
static void
rename_part(void)
{
  close(out);
  unlink(file);
  if(link(part, file) < 0)
    die(file, 0);
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
  for(int o; (o = getopt(argc, argv, "o:n:v")) != -1;) {
    if(o == 'n') {
      times = number(optarg, 1, 1000000000);
      out = -1;
    } else if(o == 'v')
      verbose = 1;
    else if(strlen(optarg) < sizeof(file))
      strcpy(file, optarg);
    else
      die(optarg, ENAMETOOLONG);
  }
  if(optind != argc - 1)
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
