// The Internet checksum's sum, for lwIP (LWIP_CHKSUM).  RFC 1071.
#include "uapi/types.h"

unsigned short net_chksum(const void *data, int len);

// Sum len bytes as 16-bit words in memory order, carries folded in, not inverted.
// Adds 32-bit words into 64 bits and folds at the end: a carry is never lost, since
// 2^32 words would be needed.  data need not be aligned.
unsigned short
net_chksum(const void *data, int len)
{
  const u8 *p = data;
  u64 sum = 0;
  for(; len >= 16; len -= 16, p += 16) {
    const u32 *w = (const void *)p;
    sum += (u64)w[0] + w[1] + ((u64)w[2] + w[3]);
  }
  for(; len >= 2; len -= 2, p += 2)
    sum += *(const u16 *)p;
  if(len > 0)
    sum += *p;
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  u32 s = (u32)sum;
  s = (s & 0xffff) + (s >> 16);
  return (s & 0xffff) + (s >> 16);
}
