// Messages, memory, escaping and output files: what every command shares.
//
// Nothing from the guest or the wire reaches a terminal or a file unescaped:
// all such text goes through esc_text() or put_json().
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>
#include "tool.h"

char errtext[512];

// Note one line for main() to print and return -code.
int
seterr(int code, const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(errtext, sizeof errtext, fmt, ap);
  va_end(ap);
  return -code;
}

// Let this process have no more memory of its own than --max-mem, or again all it
// may: for a program that it becomes.  What is mapped from files does not count.
void
limit_memory(bool on)
{
  struct rlimit r;
  if(getrlimit(RLIMIT_DATA, &r) < 0)
    return;
  r.rlim_cur = on && max_mem < r.rlim_max ? max_mem : r.rlim_max;
  setrlimit(RLIMIT_DATA, &r);
}

// ---- progress -------------------------------------------------------------------

static const char *volatile doing; // a constant text, or 0
static volatile sig_atomic_t told;

// After the first second, and each one behind it: what it is at.
static void
on_alarm(int sig)
{
  (void)sig;
  const char *what = doing;
  if(what == 0)
    return;
  int e = errno;
  told++;
  ssize_t n = write(2, "\r\x1b[Knettrace: ", 14);
  n = n < 0 ? n : write(2, what, strlen(what));
  for(int i = 0; n >= 0 && i < told && i < 40; i++)
    n = write(2, ".", 1);
  errno = e;
}

// Say on standard error what takes long, if it does and that is a terminal; 0: no more.
void
progress(const char *what)
{
  static bool begun;
  if(!isatty(2))
    return;
  doing = what;
  if(what && !begun) {
    begun = true;
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = on_alarm, .sa_flags = SA_RESTART}, 0);
    setitimer(ITIMER_REAL, &(struct itimerval){{1, 0}, {1, 0}}, 0);
  }
  if(what == 0 && told) {
    told = 0;
    fputs("\r\x1b[K", stderr);
  }
}

// ---- memory ----------------------------------------------------------------------

static void
nomem(void)
{
  fprintf(stderr, "nettrace: the input needs more than %llu MiB of memory: give --max-mem, or less input\n", max_mem >> 20);
  exit(EX_BADIN);
}

void *
xmalloc(size_t n)
{
  void *p = calloc(1, n ? n : 1);
  if(p == 0)
    nomem();
  return p;
}

void *
xrealloc(void *p, size_t n)
{
  p = realloc(p, n ? n : 1);
  if(p == 0)
    nomem();
  return p;
}

// Room for one more element: n are used, *cap allocated, of `each` bytes.
void *
xgrow(void *p, u32 n, u32 *cap, size_t each)
{
  if(n < *cap)
    return p;
  if(*cap > 0x40000000u)
    nomem();
  *cap = *cap ? *cap * 2 : 64;
  return xrealloc(p, *cap * each);
}

char *
xstrdup(const char *s)
{
  size_t n = strlen(s) + 1;
  return memcpy(xmalloc(n), s, n);
}

char *
xasprintf(const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(0, 0, fmt, ap);
  va_end(ap);
  char *s = xmalloc((size_t)n + 1);
  va_start(ap, fmt);
  vsnprintf(s, (size_t)n + 1, fmt, ap);
  va_end(ap);
  return s;
}

// Copy n bytes of foreign text so that a terminal cannot be steered by it:
// everything but printable ASCII becomes \xHH.  Returns the length written;
// stops before an escape that does not fit.
size_t
esc_text(char *to, size_t max, const u8 *s, size_t n)
{
  size_t k = 0;
  for(size_t i = 0; i < n; i++) {
    bool plain = s[i] >= 0x20 && s[i] < 0x7f && s[i] != '\\';
    size_t need = plain ? 1 : s[i] == '\\' ? 2
                                           : 4;
    if(k + need >= max)
      break;
    if(plain)
      to[k++] = (char)s[i];
    else if(s[i] == '\\')
      k += (size_t)sprintf(to + k, "\\\\");
    else
      k += (size_t)sprintf(to + k, "\\x%02x", s[i]);
  }
  if(max)
    to[k] = 0;
  return k;
}

// The character of UTF-8 beyond ASCII at s, and its bytes; 0 if there is none that is whole.
static u32
utf8_char(const u8 *s, size_t n, u32 *bytes)
{
  static const u32 least[] = {0, 0, 0x80, 0x800, 0x10000};
  u32 k = *s >= 0xf0 ? 4 : *s >= 0xe0 ? 3
                                      : 2;
  u32 c = *s & (0x7fu >> k);
  if(*s < 0xc2 || *s > 0xf4 || n < k)
    return 0;
  for(u32 i = 1; i < k; i++) {
    if((s[i] & 0xc0) != 0x80)
      return 0;
    c = c << 6 | (s[i] & 0x3f);
  }
  *bytes = k;
  return c < least[k] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : c;
}

// A JSON string, of ASCII.  UTF-8 is written by its code points; a stray byte as the code
// point of the same number.
void
put_json(FILE *f, const char *s, size_t n)
{
  putc('"', f);
  for(size_t i = 0; i < n; i++) {
    u8 c = (u8)s[i];
    u32 k, wide = utf8_char((const u8 *)s + i, n - i, &k);
    if(wide > 0xffff)
      fprintf(f, "\\u%04x\\u%04x", 0xd7c0 + (wide >> 10), 0xdc00 + (wide & 0x3ff));
    else if(wide)
      fprintf(f, "\\u%04x", wide);
    i += wide ? k - 1 : 0;
    if(wide)
      continue;
    if(c == '"' || c == '\\')
      fprintf(f, "\\%c", c);
    else if(c < 0x20 || c >= 0x7f)
      fprintf(f, "\\u%04x", c);
    else
      putc(c, f);
  }
  putc('"', f);
}

// One of eight buffers, so that a few fit in one printf.
static char *
shortbuf(void)
{
  static char buf[8][48];
  static unsigned i;
  return buf[i++ % 8];
}

char *
ip_str(u32 ip)
{
  char *s = shortbuf();
  sprintf(s, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
  return s;
}

char *
mac_str(const u8 *m)
{
  char *s = shortbuf();
  sprintf(s, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
  return s;
}

// ns as microseconds with one decimal, rounded half away from zero.
char *
us_str(i64 ns)
{
  char *s = shortbuf();
  u64 a = ns < 0 ? 0 - (u64)ns : (u64)ns;
  a = (a + 50) / 100;
  sprintf(s, "%s%llu.%llu", ns < 0 ? "-" : "", a / 10, a % 10);
  return s;
}

// The same for a bound: rounded up, so that it never claims too much.
char *
band_str(i64 ns)
{
  return us_str((ns + 99) / 100 * 100);
}

// Open path ("-" or 0: standard output) under a temporary name beside it.
int
out_open(struct out *o, const char *path)
{
  memset(o, 0, sizeof *o);
  progress("writing");
  if(path == 0 || strcmp(path, "-") == 0) {
    if(isatty(1))
      progress(0); // what is printed shows by itself
    o->f = stdout;
    return 0;
  }
  struct stat st;
  if(stat(path, &st) == 0 && S_ISDIR(st.st_mode))
    return seterr(EX_BADIN, "%s: is a directory: name a file", path);
  if(stat(path, &st) == 0 && !S_ISREG(st.st_mode)) { // /dev/null, a pipe: nothing to rename
    o->f = fopen(path, "wb");
    return o->f ? 0 : seterr(EX_BADIN, "%s: cannot write: %s", path, strerror(errno));
  }
  o->path = xstrdup(path);
  o->tmp = xasprintf("%s.XXXXXX", path);
  int fd = mkstemp(o->tmp);
  if(fd < 0)
    return seterr(EX_BADIN, "%s: cannot write: %s", path, strerror(errno));
  mode_t mask = umask(0);
  umask(mask);
  fchmod(fd, 0666 & ~mask); // mkstemp gives 0600
  o->f = fdopen(fd, "wb");
  return 0;
}

// Finish: rename into place, or with keep = false remove what was written.
int
out_close(struct out *o, bool keep)
{
  if(o->f == 0)
    return 0;
  progress(0);
  bool bad = fflush(o->f) != 0 || ferror(o->f);
  if(o->tmp == 0) {
    if(bad && errno != EPIPE)
      return seterr(EX_BADIN, "cannot write: %s", strerror(errno));
    return 0;
  }
  bad |= fclose(o->f) != 0;
  if(!bad && keep && rename(o->tmp, o->path) == 0)
    return 0;
  int e = errno;
  unlink(o->tmp);
  return keep ? seterr(EX_BADIN, "%s: cannot write: %s", o->path, strerror(e)) : 0;
}

// Begin a text for to; returns what to print it to.
FILE *
plain_open(struct plain *p, FILE *to)
{
  *p = (struct plain){.f = to, .to = to};
  if(ascii_only)
    p->f = open_memstream(&p->text, &p->len);
  return p->f;
}

void
plain_close(struct plain *p)
{
  if(p->f == p->to)
    return;
  fclose(p->f);
  for(const char *s = p->text; *s;) {
    char c[5] = "";
    memcpy(c, s, strnlen(s, (size_t)charlen(s)));
    fputs(strcmp(c, "±") ? ascii_char(c) : "+-", p->to);
    s += strlen(c);
  }
  free(p->text);
}
