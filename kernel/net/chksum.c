// The Internet checksum's sum, for lwIP (LWIP_CHKSUM).  RFC 1071.
#include "uapi/types.h"

unsigned short net_chksum(const void *data, int len);

// The sum of 32-bit words: carries counted beside it, 2^32 of them fit.
struct sum {
  u32 low, carries;
};

// Two instructions a word and no branch, which the compiler would make of a carry.  A
// chain of adc would be one, but QEMU's translator knows an adc's carry only by a call.
static inline __attribute__((always_inline)) void
add(struct sum *s, u32 word)
{
  asm("addl %2, %0; adcl $0, %1"
      : "+&r"(s->low), "+r"(s->carries)
      : "rm"(word)
      : "cc");
}

static u16
fold(struct sum s)
{
  u64 sum = (u64)s.low + s.carries;
  u32 w = (u32)sum + (u32)(sum >> 32); // the last carry comes back as a 1
  w = (w & 0xffff) + (w >> 16);
  return (w & 0xffff) + (w >> 16);
}

// Sum len bytes as 16-bit words in memory order, carries folded in, not inverted.
// data need not be aligned.
unsigned short
net_chksum(const void *data, int len)
{
  const u8 *p = data;
  struct sum s = {0, 0};
  for(; len >= 32; len -= 32, p += 32) {
    const u32 *w = (const void *)p;
    add(&s, w[0]), add(&s, w[1]), add(&s, w[2]), add(&s, w[3]);
    add(&s, w[4]), add(&s, w[5]), add(&s, w[6]), add(&s, w[7]);
  }
  for(; len >= 4; len -= 4, p += 4)
    add(&s, *(const u32 *)p);
  if(len >= 2) {
    add(&s, *(const u16 *)p);
    p += 2;
  }
  if(len & 1)
    add(&s, *p);
  return fold(s);
}
