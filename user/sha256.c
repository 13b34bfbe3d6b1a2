// SHA-256, FIPS 180-4: for programs that check what went over the network.
#include "sha256.h"
#include "user.h"

// FIPS 180-4, 4.2.2: fractional parts of the cube roots of the first 64 primes.
static const u32 k[64] = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static u32
ror(u32 x, int n)
{
  return x >> n | x << (32 - n);
}

// FIPS 180-4, 6.2.2: one block of 64 bytes.
static void
block(u32 h[8], const uchar *p)
{
  u32 w[64], v[8];
  for(int i = 0; i < 16; i++, p += 4)
    w[i] = (u32)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
  for(int i = 16; i < 64; i++)
    w[i] = w[i - 16] + (ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
           (ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10);
  memmove(v, h, sizeof(v));
  for(int i = 0; i < 64; i++) {
    u32 t1 = v[7] + (ror(v[4], 6) ^ ror(v[4], 11) ^ ror(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) + k[i] + w[i];
    u32 t2 = (ror(v[0], 2) ^ ror(v[0], 13) ^ ror(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
    memmove(v + 1, v, 7 * sizeof(v[0]));
    v[4] += t1;
    v[0] = t1 + t2;
  }
  for(int i = 0; i < 8; i++)
    h[i] += v[i];
}

void
sha256_init(struct sha256 *s)
{
  static const u32 h0[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  memmove(s->h, h0, sizeof(h0));
  s->len = 0;
}

void
sha256_add(struct sha256 *s, const void *data, uint n)
{
  const uchar *p = data;
  while(n > 0) {
    uint have = s->len % 64, m = 64 - have < n ? 64 - have : n;
    if(m == 64) {
      block(s->h, p);
    } else {
      memmove(s->buf + have, p, m);
      if(have + m == 64)
        block(s->h, s->buf);
    }
    s->len += m;
    p += m;
    n -= m;
  }
}

void
sha256_end(struct sha256 *s, char hex[65])
{
  static const uchar pad[64] = {0x80};
  static const char digits[] = "0123456789abcdef";
  u64 bits = s->len * 8;
  uchar len[8];
  for(int i = 0; i < 8; i++)
    len[i] = bits >> (56 - 8 * i);
  sha256_add(s, pad, (s->len % 64 < 56 ? 56 : 120) - s->len % 64);
  sha256_add(s, len, 8);
  for(int i = 0; i < 64; i++)
    hex[i] = digits[s->h[i / 8] >> (28 - 4 * (i % 8)) & 15];
  hex[64] = 0;
}
