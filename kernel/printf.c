// Formatted output: %d %u %x %p %s %c %%, with ll, a width and leading 0.
#include "defs.h"
#include "spinlock.h"
#include <stdarg.h>

// Where characters go: a buffer, the rest counted but not kept.
struct out {
  char *buf;
  int size, len;
};

static void
put(struct out *o, char c)
{
  if(o->len < o->size - 1)
    o->buf[o->len] = c;
  o->len++;
}

static void
put_number(struct out *o, u64 v, u32 base, int width, char pad)
{
  char digits[24];
  int n = 0;
  do
    digits[n++] = "0123456789abcdef"[div64(&v, base)];
  while(v != 0);
  for(; width > n; width--)
    put(o, pad);
  while(n > 0)
    put(o, digits[--n]);
}

static void
put_string(struct out *o, const char *s, int width)
{
  if(s == 0)
    s = "(null)";
  int n = strlen(s);
  for(; *s; s++)
    put(o, *s);
  for(; n < width; n++)
    put(o, ' ');
}

struct spec {
  int width;
  char pad;
  int longlong;
};

static const char *
read_spec(const char *f, struct spec *s)
{
  *s = (struct spec){.pad = *f == '0' ? '0' : ' '};
  for(; *f >= '0' && *f <= '9'; f++)
    s->width = s->width * 10 + (*f - '0');
  for(; *f == 'l'; f++)
    s->longlong++;
  return f;
}

// As the C library's: returns the length the whole text would have.
int
kvsnprintf(char *buf, int n, const char *f, va_list ap)
{
  struct out o = {buf, n, 0};
  struct spec s;
  for(; *f; f++) {
    if(*f != '%') {
      put(&o, *f);
      continue;
    }
    f = read_spec(f + 1, &s);
    switch(*f) {
    case 'd': {
      long long v = s.longlong > 1 ? va_arg(ap, long long) : va_arg(ap, int);
      if(v < 0)
        put(&o, '-');
      put_number(&o, v < 0 ? -(u64)v : (u64)v, 10, s.width - (v < 0), s.pad);
      break;
    }
    case 'u':
      put_number(&o, s.longlong > 1 ? va_arg(ap, u64) : va_arg(ap, u32), 10, s.width, s.pad);
      break;
    case 'x':
      put_number(&o, s.longlong > 1 ? va_arg(ap, u64) : va_arg(ap, u32), 16, s.width, s.pad);
      break;
    case 'p':
      put_string(&o, "0x", 0);
      put_number(&o, va_arg(ap, u32), 16, 8, '0');
      break;
    case 's':
      put_string(&o, va_arg(ap, const char *), s.width);
      break;
    case 'c':
      put(&o, (char)va_arg(ap, int));
      break;
    case 0:
      f--; // a lone % at the end
      break;
    default:
      put(&o, *f);
      break;
    }
  }
  if(n > 0)
    buf[o.len < n ? o.len : n - 1] = 0;
  return o.len;
}

int
ksnprintf(char *buf, int n, const char *f, ...)
{
  va_list ap;
  va_start(ap, f);
  n = kvsnprintf(buf, n, f, ap);
  va_end(ap);
  return n;
}

// To the console, a line in one piece.  Any context.
void
cprintf(const char *f, ...)
{
  static struct spinlock lock = {.name = "cprintf"};
  static char buf[512];
  va_list ap;
  va_start(ap, f);
  if(!panicked)
    acquire(&lock); // who panics prints alone, whatever was locked
  kvsnprintf(buf, sizeof(buf), f, ap);
  console_say(buf);
  if(!panicked)
    release(&lock);
  va_end(ap);
}
