// 64-bit division for programs: gcc would call a function of libgcc, which is
// not linked here.
#ifndef ULIB64_H
#define ULIB64_H

#include "types.h"

// *n /= d; returns the remainder.  d is not 0.
static inline u32
div64(u64 *n, u32 d)
{
  u32 hi = *n >> 32, lo = *n;
  u32 qhi = hi / d, rem = hi % d, qlo;
  __asm__("divl %4"
          : "=a"(qlo), "=d"(rem)
          : "0"(lo), "1"(rem), "rm"(d)
          : "cc"); // rem < d: cannot overflow
  *n = (u64)qhi << 32 | qlo;
  return rem;
}

#endif
