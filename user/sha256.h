// SHA-256, FIPS 180-4.
#ifndef SHA256_H
#define SHA256_H

#include "types.h"

struct sha256 {
  u32 h[8];
  u64 len;       // bytes so far
  uchar buf[64]; // the last len % 64 of them
};

void sha256_init(struct sha256 *);
void sha256_add(struct sha256 *, const void *, uint n);
void sha256_end(struct sha256 *, char hex[65]);

#endif
