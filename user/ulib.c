// Strings, memory and the smallest input, for every program.
//
// Needs nothing but usys.o: xv6's fork test links these two alone.  memcpy and
// memcmp are not in user.h, the compiler calls them; weak, since a program may
// have its own.
#include "types.h"
#include "stat.h"
#include "fcntl.h"
#include "user.h"

void *memcpy(void *, const void *, uint);
int memcmp(const void *, const void *, uint);

// A word at any address: may overlap objects of other types.
typedef u32 __attribute__((may_alias, aligned(1))) word;

// Copy n bytes upwards, eight words a turn: several times faster than
// `rep movsb` where QEMU translates code.
static void
copy_up(char *d, const char *s, uint n)
{
  for(; n >= 32; n -= 32, d += 32, s += 32) {
    word *dw = (word *)d;
    const word *sw = (const word *)s;
    u32 a = sw[0], b = sw[1], c = sw[2], e = sw[3];
    dw[0] = a, dw[1] = b, dw[2] = c, dw[3] = e;
    a = sw[4], b = sw[5], c = sw[6], e = sw[7];
    dw[4] = a, dw[5] = b, dw[6] = c, dw[7] = e;
  }
  for(; n >= 4; n -= 4, d += 4, s += 4)
    *(word *)d = *(const word *)s;
  while(n-- > 0)
    *d++ = *s++;
}

// Copy n bytes downwards, from the end.
static void
copy_down(char *d, const char *s, uint n)
{
  d += n;
  s += n;
  for(; n >= 16; n -= 16) {
    d -= 16;
    s -= 16;
    word *dw = (word *)d;
    const word *sw = (const word *)s;
    u32 a = sw[3], b = sw[2], c = sw[1], e = sw[0];
    dw[3] = a, dw[2] = b, dw[1] = c, dw[0] = e;
  }
  while(n-- > 0)
    *--d = *--s;
}

// The ranges may overlap.  n <= 0 copies nothing.
void *
memmove(void *dst, const void *src, int n)
{
  if(n <= 0)
    return dst;
  if((uint)dst - (uint)src >= (uint)n)
    copy_up(dst, src, n);
  else
    copy_down(dst, src, n);
  return dst;
}

__attribute__((weak)) void *
memcpy(void *dst, const void *src, uint n)
{
  copy_up(dst, src, n);
  return dst;
}

void *
memset(void *dst, int c, uint n)
{
  char *d = dst;
  u32 w = (c & 0xff) * 0x01010101u;
  for(; n >= 32; n -= 32, d += 32) {
    word *dw = (word *)d;
    dw[0] = w, dw[1] = w, dw[2] = w, dw[3] = w;
    dw[4] = w, dw[5] = w, dw[6] = w, dw[7] = w;
  }
  while(n-- > 0)
    *d++ = c;
  return dst;
}

__attribute__((weak)) int
memcmp(const void *a, const void *b, uint n)
{
  const uchar *p = a, *q = b;
  for(; n > 0; n--, p++, q++)
    if(*p != *q)
      return *p - *q;
  return 0;
}

char *
strcpy(char *dst, const char *src)
{
  char *d = dst;
  while((*d++ = *src++) != 0)
    ;
  return dst;
}

int
strcmp(const char *a, const char *b)
{
  while(*a && *a == *b)
    a++, b++;
  return (uchar)*a - (uchar)*b;
}

uint
strlen(const char *s)
{
  uint n = 0;
  while(s[n])
    n++;
  return n;
}

// The first c in s, or 0; the NUL is not looked for.
char *
strchr(const char *s, char c)
{
  for(; *s; s++)
    if(*s == c)
      return (char *)s;
  return 0;
}

// Read one line of at most max - 1 bytes from standard input, newline kept.
// At the end of input buf is "".
char *
gets(char *buf, int max)
{
  int n = 0;
  while(n < max - 1) {
    char c;
    if(read(0, &c, 1) < 1)
      break;
    buf[n++] = c;
    if(c == '\n' || c == '\r')
      break;
  }
  buf[n] = 0;
  return buf;
}

int
stat(const char *path, struct stat *st)
{
  int fd = open(path, O_RDONLY);
  if(fd < 0)
    return -1;
  int r = fstat(fd, st);
  close(fd);
  return r;
}

// The number at the start of s; it knows no sign and no blanks.
int
atoi(const char *s)
{
  uint n = 0;
  while('0' <= *s && *s <= '9')
    n = n * 10 + (*s++ - '0');
  return n;
}
