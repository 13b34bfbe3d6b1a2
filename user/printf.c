// printf(fd, format, ...): %d %u %x %p %s %c %%, with ll, width, 0 and -.
//
// As in xv6, hex has capital digits and no prefix, and an unknown %z is
// printed as it stands.  Text leaves in pieces of up to 256 bytes, one write
// each, so that lines of two processes do not mix.
#include "types.h"
#include "ulib64.h"
#include "user.h"

// Text on its way out.
struct out {
  int fd;
  int len;
  char buf[256];
};

// How one conversion is laid out.
struct fmt {
  int width;
  int left; // pad on the right
  char pad; // ' ' or '0'
};

static void
out_flush(struct out *o)
{
  if(o->len > 0)
    write(o->fd, o->buf, o->len);
  o->len = 0;
}

static void
out_char(struct out *o, char c)
{
  if(o->len == sizeof(o->buf))
    out_flush(o);
  o->buf[o->len++] = c;
}

static void
out_pad(struct out *o, char c, int n)
{
  while(n-- > 0)
    out_char(o, c);
}

// n bytes of s, padded to f's width; zeros go between a sign and the digits.
static void
out_text(struct out *o, const struct fmt *f, const char *s, int n)
{
  int gap = f->width - n;
  if(f->pad == '0' && *s == '-') {
    out_char(o, *s++);
    n--;
  }
  if(!f->left)
    out_pad(o, f->pad, gap);
  while(n-- > 0)
    out_char(o, *s++);
  if(f->left)
    out_pad(o, ' ', gap);
}

static void
out_num(struct out *o, const struct fmt *f, u64 x, u32 base, int neg)
{
  char digits[24];
  char *p = digits + sizeof(digits), *end = p;
  do {
    *--p = "0123456789ABCDEF"[div64(&x, base)];
  } while(x != 0);
  if(neg)
    *--p = '-';
  out_text(o, f, p, end - p);
}

// Parse -, 0, width and l's behind a %; returns what follows, *longs how many l's.
static const char *
parse(const char *s, struct fmt *f, int *longs)
{
  f->width = 0;
  f->left = 0;
  f->pad = ' ';
  for(; *s == '-' || *s == '0'; s++) {
    if(*s == '-')
      f->left = 1;
    else
      f->pad = '0';
  }
  if(f->left)
    f->pad = ' ';
  for(; '0' <= *s && *s <= '9'; s++)
    f->width = f->width < 1000 ? f->width * 10 + (*s - '0') : f->width;
  for(*longs = 0; *s == 'l'; s++)
    ++*longs;
  return s;
}

// ap: advanced over the argument, if the conversion takes one.
// Returns 0 for an unknown conversion.
static int
convert(struct out *o, char c, const struct fmt *f, int longs, __builtin_va_list *ap)
{
  if(c == 'd') {
    long long x = longs > 1 ? __builtin_va_arg(*ap, long long) : __builtin_va_arg(*ap, int);
    out_num(o, f, x < 0 ? -(u64)x : (u64)x, 10, x < 0);
  } else if(c == 'u' || c == 'x' || c == 'p') {
    u64 x = longs > 1 ? __builtin_va_arg(*ap, u64) : __builtin_va_arg(*ap, u32);
    out_num(o, f, x, c == 'u' ? 10 : 16, 0);
  } else if(c == 's') {
    const char *s = __builtin_va_arg(*ap, char *);
    s = s ? s : "(null)";
    out_text(o, f, s, strlen(s));
  } else if(c == 'c') {
    char ch = __builtin_va_arg(*ap, int);
    out_text(o, f, &ch, 1);
  } else if(c == '%') {
    out_char(o, c);
  } else {
    return 0;
  }
  return 1;
}

void
printf(int fd, const char *s, ...)
{
  struct out o;
  o.fd = fd;
  o.len = 0;
  __builtin_va_list ap;
  __builtin_va_start(ap, s);
  while(*s) {
    if(*s != '%') {
      out_char(&o, *s++);
      continue;
    }
    struct fmt f;
    int longs;
    const char *end = parse(s + 1, &f, &longs);
    if(*end && convert(&o, *end, &f, longs, &ap))
      s = end + 1;
    else
      out_char(&o, *s++); // the % itself; the rest follows as plain text
  }
  __builtin_va_end(ap);
  out_flush(&o);
}
