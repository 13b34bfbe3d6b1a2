// Fuzz target: records and a capture, matched, put on one clock and in order.
#include "fuzz.h"

// Each frame once, each record once, both in their own order.
static void
check_rows(const struct session *s)
{
  u32 rec = 0, frame = 0;
  for(u32 i = 0; i < s->nitem; i++)
    if(s->item[i].idx != (s->item[i].frame ? frame++ : rec++))
      abort();
  if(rec != s->b->nrec || frame != s->cap.n)
    abort();
}

int
LLVMFuzzerTestOneInput(const u8 *data, size_t n)
{
  struct halves h;
  struct session s = {.have_trace = true, .have_cap = true};
  if(!fuzz_split(data, n, &h))
    return 0;
  size_t len;
  u8 *p = fuzz_trace(&h, &len);
  int rc = trace_parse(&s.trace, p, len, "fuzz");
  if(rc == 0)
    rc = capture_load(&s.cap, fuzz_file(0, h.capture, h.ncapture));
  if(rc == 0)
    rc = session_join(&s);
  if(rc == 0) {
    timeline_build(&s);
    check_rows(&s);
  }
  session_close(&s);
  free(p);
  return 0;
}
