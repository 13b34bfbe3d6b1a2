// Addresses as text, byte order, and words for the network's error numbers.
#include "types.h"
#include "net.h"
#include "user.h"

u16
htons(u16 x)
{
  return x << 8 | x >> 8;
}

u32
htonl(u32 x)
{
  return x << 24 | (x & 0xff00) << 8 | (x >> 8 & 0xff00) | x >> 24;
}

// "10.0.2.15": four numbers of 0-255 and nothing behind them.
int
inet_aton(const char *s, struct in_addr *a)
{
  u32 addr = 0;
  for(int i = 0; i < 4; i++) {
    if(i > 0 && *s++ != '.')
      return 0;
    u32 n = 0, digits = 0;
    for(; '0' <= *s && *s <= '9' && digits < 3; s++, digits++)
      n = n * 10 + (*s - '0');
    if(digits == 0 || n > 255)
      return 0;
    addr |= n << (8 * i); // network order: the first number lies first in memory
  }
  if(*s != 0)
    return 0;
  a->s_addr = addr;
  return 1;
}

char *
inet_ntoa(struct in_addr a)
{
  static char buf[16];
  char *p = buf + sizeof(buf);
  *--p = 0;
  for(int i = 3; i >= 0; i--) {
    u32 n = a.s_addr >> (8 * i) & 0xff;
    do {
      *--p = '0' + n % 10;
      n /= 10;
    } while(n > 0);
    if(i > 0)
      *--p = '.';
  }
  return p;
}

static const struct {
  int nr;
  const char *words;
} errors[] = {
  {ENOENT, "not found"},
  {EINTR, "interrupted"},
  {EIO, "input/output error"},
  {EBADF, "bad file descriptor"},
  {EAGAIN, "would have to wait"},
  {ENOMEM, "out of memory"},
  {EACCES, "not allowed"},
  {EFAULT, "bad address"},
  {ENODEV, "no such device"},
  {EINVAL, "invalid argument"},
  {ENFILE, "too many open files in the system"},
  {EMFILE, "too many open files"},
  {EPIPE, "broken pipe"},
  {ENAMETOOLONG, "name too long"},
  {ENOTSOCK, "not a socket"},
  {EDESTADDRREQ, "destination address required"},
  {EMSGSIZE, "message too long"},
  {ENOPROTOOPT, "no such option"},
  {EPROTONOSUPPORT, "protocol not supported"},
  {EOPNOTSUPP, "operation not supported"},
  {EAFNOSUPPORT, "address family not supported"},
  {EADDRINUSE, "address in use"},
  {EADDRNOTAVAIL, "address not available"},
  {ENETDOWN, "network is down"},
  {ECONNABORTED, "connection aborted"},
  {ECONNRESET, "connection reset"},
  {ENOBUFS, "no buffer space"},
  {EISCONN, "already connected"},
  {ENOTCONN, "not connected"},
  {ETIMEDOUT, "timed out"},
  {ECONNREFUSED, "connection refused"},
  {EHOSTUNREACH, "host unreachable"},
  {EALREADY, "already in progress"},
  {EINPROGRESS, "in progress"},
};

// err: as returned by a call (negative), or its absolute value.
const char *
neterr(int err)
{
  int nr = err < 0 ? -err : err;
  for(uint i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
    if(errors[i].nr == nr)
      return errors[i].words;
  return "error";
}
