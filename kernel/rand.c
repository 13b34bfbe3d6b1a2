// Random numbers: port numbers, initial sequence numbers, transaction ids.
//
// One keyed hash (HalfSipHash-2-4, Aumasson and Bernstein) serves for both: rand32 is
// the hash of a counter, rand_hash that of the caller's words.  Who does not know the
// key cannot tell the next value from the last ones.  The key is made at the first use,
// from the TSC and the clock chip, or from the boot option seed=N, which makes a run
// repeatable.  Any context, no lock: the counter is advanced atomically.
#include "uapi/types.h"
#include "defs.h"
#include "x86.h"

static u32 key[2];
static volatile u32 counter;

struct sip {
  u32 v0, v1, v2, v3;
};

static u32
rotl(u32 x, int n)
{
  return x << n | x >> (32 - n);
}

static void
rounds(struct sip *s, int n)
{
  while(n-- > 0) {
    s->v0 += s->v1;
    s->v1 = rotl(s->v1, 5) ^ s->v0;
    s->v0 = rotl(s->v0, 16);
    s->v2 += s->v3;
    s->v3 = rotl(s->v3, 8) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotl(s->v3, 7) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotl(s->v1, 13) ^ s->v2;
    s->v2 = rotl(s->v2, 16);
  }
}

static void
make_key(void)
{
  u32 seed;
  if(opt_num("seed", &seed)) {
    key[1] = seed;
    key[0] = 1;
    return;
  }
  u64 t = rdtsc();
  key[1] = (u32)(t >> 32) ^ rtc_seconds() * 2654435761u;
  key[0] = (u32)t | 1; // not 0: that means "no key yet"
}

// Hash n words with this boot's key.
u32
rand_hash(const u32 *words, int n)
{
  if(key[0] == 0)
    make_key();
  struct sip s = {key[0], key[1], 0x6c796765 ^ key[0], 0x74656462 ^ key[1]};
  for(int i = 0; i < n; i++) {
    s.v3 ^= words[i];
    rounds(&s, 2);
    s.v0 ^= words[i];
  }
  u32 last = (u32)n << 26; // length in bytes in the top byte
  s.v3 ^= last;
  rounds(&s, 2);
  s.v0 ^= last;
  s.v2 ^= 0xff;
  rounds(&s, 4);
  return s.v1 ^ s.v3;
}

u32
rand32(void)
{
  u32 n = xadd(&counter, 1);
  return rand_hash(&n, 1);
}
