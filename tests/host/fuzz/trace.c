// Fuzz target: a saved trace, each field of each record printed.
#include "fuzz.h"

// Let the first header name the hash that its text has: else every text that
// was changed is refused before it is read.
static void
mend_hash(u8 *p, size_t n)
{
  struct nt_header h;
  if(n < sizeof h)
    return;
  memcpy(&h, p, sizeof h);
  if(h.meta_len > n - sizeof h)
    return;
  h.meta_hash = fnv1a(p + sizeof h, h.meta_len);
  memcpy(p, &h, sizeof h);
}

int
LLVMFuzzerTestOneInput(const u8 *data, size_t n)
{
  struct trace t;
  u8 *p = malloc(n ? n : 1);
  if(n)
    memcpy(p, data, n);
  mend_hash(p, n);
  if(trace_parse(&t, p, n, "fuzz") == 0)
    fuzz_read_all(&t);
  trace_free(&t);
  free(p);
  return 0;
}
