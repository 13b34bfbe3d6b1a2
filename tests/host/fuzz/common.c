// See fuzz.h.
#define _GNU_SOURCE // memfd_create
#include <sanitizer/allocator_interface.h>
#include <sys/mman.h>
#include <unistd.h>
#include "fuzz.h"

#define NLIVE (1u << 16) // a power of two

static const volatile void *live[NLIVE]; // a hash table
static u32 used[NLIVE / 2], nlive;       // its places that are not empty
static bool counting;

// What a command does not free is no leak: it ends.
const char *
__asan_default_options(void)
{
  return "detect_leaks=0";
}

static void
on_malloc(const volatile void *p, size_t n)
{
  (void)n;
  if(!counting || p == 0 || nlive == NLIVE / 2)
    return;
  u32 i = (u32)((size_t)p >> 4) * 2654435761u;
  while(live[i & (NLIVE - 1)] && live[i & (NLIVE - 1)] != (void *)live)
    i++;
  if(live[i & (NLIVE - 1)] == 0)
    used[nlive++] = i & (NLIVE - 1);
  live[i & (NLIVE - 1)] = p;
}

// Its place becomes a stone, so that those behind it are still found.
static void
on_free(const volatile void *p)
{
  if(!counting || p == 0)
    return;
  for(u32 i = (u32)((size_t)p >> 4) * 2654435761u; live[i & (NLIVE - 1)]; i++)
    if(live[i & (NLIVE - 1)] == p) {
      live[i & (NLIVE - 1)] = (void *)live;
      return;
    }
}

// From here on memory is noted; fuzz_end gives back what was not freed.
void
fuzz_begin(void)
{
  static bool once;
  if(!once)
    __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
  once = true;
  counting = true;
}

void
fuzz_end(void)
{
  counting = false;
  while(nlive > 0) {
    const volatile void **at = &live[used[--nlive]];
    if(*at != (void *)live)
      free((void *)(size_t)*at);
    *at = 0;
  }
}

bool
fuzz_split(const u8 *data, size_t n, struct halves *h)
{
  if(n < 2)
    return false;
  h->nslots = data[0] | (size_t)data[1] << 8;
  if(h->nslots * 64 > n - 2)
    h->nslots = (n - 2) / 64;
  h->slots = data + 2;
  h->capture = h->slots + h->nslots * 64;
  h->ncapture = n - 2 - h->nslots * 64;
  return true;
}

// A trace of these slots under a good header.  The caller's to free.
u8 *
fuzz_trace(const struct halves *h, size_t *len)
{
  struct gen g = {.rate = 1ull << 32};
  gen_header(&g);
  gen_bytes(&g, h->slots, h->nslots * 64);
  *len = g.len;
  return g.trace;
}

// Put n bytes into file number 0 or 1 and tell its name.
const char *
fuzz_file(int which, const void *p, size_t n)
{
  static int fd[2] = {-1, -1};
  static char name[2][32];
  if(fd[which] < 0)
    fd[which] = memfd_create("fuzz", 0);
  if(ftruncate(fd[which], 0) < 0 || pwrite(fd[which], p, n, 0) != (ssize_t)n)
    abort();
  snprintf(name[which], sizeof name[which], "/proc/self/fd/%d", fd[which]);
  return name[which];
}

// Look at each field of each record in every way there is.
void
fuzz_read_all(const struct trace *t)
{
  for(u32 k = 0; k < t->nboot; k++)
    for(u32 i = 0; i < t->boot[k].nrec; i++) {
      const struct boot *b = &t->boot[k];
      const struct rec *r = &b->rec[i];
      const struct event *e = rec_event(b, r);
      struct flow flow;
      u8 buf[192];
      char text[800];
      u32 len;
      if(r->slot == NOSLOT || e == 0)
        continue;
      const u8 *p = rec_payload(b, r, buf, &len);
      rec_flow(b, r, &flow);
      for(u32 f = 0; f < e->nfield; f++) {
        field_str(text, sizeof text, &e->f[f], p, len);
        rec_get(b, r, e->f[f].name);
        rec_named(b, r, e->f[f].name);
      }
    }
}
