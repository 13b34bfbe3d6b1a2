// Fuzz target: the metadata text.
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const u8 *data, size_t n)
{
  struct meta m;
  if(meta_parse(&m, (const char *)data, (u32)n, "fuzz") == 0)
    for(u32 i = 0; i < MAXEVENTS; i++)
      for(u32 k = 0; m.ev[i] && k < m.ev[i]->nfield; k++)
        set_name(m.ev[i]->f[k].set, k);
  meta_free(&m);
  return 0;
}
