// live RAM: follow the rings in a running guest's memory until the trace is frozen.
//
// The reader of tools/nettrace (ring.c), as often as it can: an event that is
// overwritten before this comes by is lost.  Prints one line: events delivered and
// lost, ms from the first to the last by the guest's clock, the most slots that were
// waiting when it came by, the ring's slots.  For tools/bench/live.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "../nettrace/tool.h"

static u32 worst;
static u64 first = ~0ull, last;

// Take what lies ready in one ring.
static void
drain(const struct ram *r, u32 cpu, struct cursor *c)
{
  struct nt_slot s[NT_MAXNSL];
  u32 behind = ram_cpu(r, cpu).head - c->cur;
  if(behind > worst)
    worst = behind;
  while(ram_next(r, cpu, c, s) > 0) {
    if(s->ts < first)
      first = s->ts;
    if(s->ts > last)
      last = s->ts;
  }
}

static bool
frozen(const struct ram *r)
{
  return ((const volatile struct nt_header *)(const void *)(r->p + r->pa))->flags & NT_FROZEN;
}

int
main(int argc, char *argv[])
{
  struct ram r;
  struct cursor c[NT_MAXCPU] = {0};
  u64 delivered = 0, lost = 0;
  int found = 0;
  if(argc != 2 || ram_open(&r, argv[1]) < 0) {
    fprintf(stderr, "live: %s\n", argc == 2 ? errtext : "usage: live RAM");
    return 2;
  }
  while((found = ram_find(&r)) == 0)
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, 0);
  for(bool end = false; found > 0 && !end;) {
    end = frozen(&r); // once more after that
    if(ram_refresh(&r) < 0)
      break;
    for(u32 cpu = 0; cpu < r.h.ncpu; cpu++)
      drain(&r, cpu, &c[cpu]);
    if(!end)
      nanosleep(&(struct timespec){.tv_nsec = 1000000}, 0);
  }
  for(u32 cpu = 0; cpu < r.h.ncpu; cpu++) {
    delivered += c[cpu].delivered;
    lost += c[cpu].lost;
    if(c[cpu].delivered + c[cpu].lost != ram_cpu(&r, cpu).head) {
      fprintf(stderr, "live: CPU %u: %llu delivered and %llu lost are not %u\n", cpu, c[cpu].delivered, c[cpu].lost, ram_cpu(&r, cpu).head);
      return 1;
    }
  }
  u32 khz = ((const struct nt_header *)(const void *)(r.p + r.pa))->tsc_khz;
  printf("%llu %llu %llu %u %u\n", delivered, lost, khz && last > first ? (last - first) / khz : 0, worst, r.h.nslots);
  return 0;
}
