// Following the rings: how a reader gets whole records, in order, and knows what it lost.
//
// Called by devtrace.c for one reader at a time, with its lock held, in thread
// context; the rings are written meanwhile, and nothing here holds a writer up.
// gdb and the host tool read a ring in the same four steps.  The only thing
// writers learn of readers is the floor: how far those have come that asked to
// lose nothing.
#include "uapi/types.h"
#include "uapi/nettrace.h"
#include "defs.h"
#include "x86.h"
#include "trace/reader.h"
#include "trace/trace.h"

struct reader readers[NREADER];
u8 ever_base[NT_MAXEV];
static struct sleeplock floor_lock;

// 1. Read the clock, then every head: what is reserved later is stamped later.
// 2. Of the oldest record of each ring, by its seq: ready, in flight, or gone.
// 3. Release the oldest of all, if it is not younger than the clock reading and
//    no ring has a record in flight that could be older.
// 4. Copy it, and look at seq again: changed means that the writer came round.

// Pass n slots that cannot be had any more.
static void
lane_lose(struct lane *l, u32 n, u8 why)
{
  if(l->gap == 0) {
    l->gap_seq = l->cur;
    l->gap_why = why;
  }
  l->gap += n;
  l->lost += n;
  l->cur += n;
}

enum {
  LANE_EMPTY,
  LANE_INFLIGHT,
  LANE_READY
};

// Bring the lane to a complete record; its stamp in *ts.
static int
lane_look(struct lane *l, u32 cpu, u64 *ts)
{
  for(;;) {
    u32 nslots = nt_page.hdr.nslots;
    if(l->head - l->cur > nslots)
      lane_lose(l, l->head - nslots - l->cur, LOST_WHY_OVERWRITE);
    if(l->head == l->cur)
      return LANE_EMPTY;
    const struct nt_slot *slot = ring_slot(cpu, l->cur);
    s32 d = (s32)(slot_seq(slot) - (l->cur + 1));
    barrier();
    if(d < 0 && !ring_frozen())
      return LANE_INFLIGHT;
    if(d == 0) {
      u8 nsl = slot->nsl;
      *ts = slot->ts;
      barrier();
      if(slot_seq(slot) == l->cur + 1 && nsl < NT_CONT)
        return LANE_READY;
    }
    lane_lose(l, 1, d < 0 ? LOST_WHY_INFLIGHT : LOST_WHY_OVERWRITE);
    l->head = ring_head(cpu);
  }
}

// Copy the record at the lane's cursor to rec.  Returns its slots; 0 if the
// writer has overwritten part of it meanwhile: then all of it is lost.
static u32
lane_copy(struct lane *l, u32 cpu, struct nt_slot *rec)
{
  u32 nsl = 1, k;
  for(k = 0; k < nsl; k++) {
    const struct nt_slot *slot = ring_slot(cpu, l->cur + k);
    memmove(&rec[k], slot, sizeof(*rec));
    barrier();
    if(k == 0 && rec->seq == l->cur + 1 && slot_seq(slot) == rec->seq) // else nsl may be another record's
      nsl = rec->nsl;
  }
  barrier();
  for(k = 0; k < nsl; k++)
    if(rec[k].seq != l->cur + k + 1 || slot_seq(ring_slot(cpu, l->cur + k)) != rec[k].seq)
      break;
  if(k == nsl)
    return nsl;
  lane_lose(l, nsl, LOST_WHY_OVERWRITE);
  l->head = ring_head(cpu);
  return 0;
}

// Step 1: how far the reader may go.  A frozen ring can be read to its end.
static void
reader_look(struct reader *r)
{
  r->t0 = ring_frozen() ? ~0ull : rdtsc();
  __sync_synchronize();
  for(u32 i = 0; i < NT_MAXCPU; i++)
    if(ring_here(i))
      r->lane[i].head = ring_head(i);
}

// Steps 2 and 3: the ring whose next record comes first, -1: none may be released.
static int
reader_pick(struct reader *r, u64 *ts)
{
  int best = -1;
  *ts = ~0ull;
  for(u32 i = 0; i < NT_MAXCPU; i++) {
    u64 t;
    int what = ring_here(i) ? lane_look(&r->lane[i], i, &t) : LANE_EMPTY;
    if(what == LANE_INFLIGHT)
      return -1;
    if(what == LANE_READY && (best < 0 || t < *ts)) {
      best = (int)i;
      *ts = t;
    }
  }
  return *ts <= r->t0 ? best : -1;
}

// A record that no writer wrote: body is struct tr_name of n bytes.
static void
reader_make(struct reader *r, u32 cpu, u32 id, u64 ts, const void *body, u32 n)
{
  r->rec[0] = (struct nt_slot){.ts = ts, .id = (u16)id, .cpu_ctx = (u8)cpu, .nsl = 1};
  memmove(&r->rec[0].pkt, body, n);
  r->rec_cpu = -1;
  r->nrec = 1;
}

// Tell the reader what it lost.  to: stamp of the record after the gap, 0: none.
static void
reader_tell_gap(struct reader *r, u32 cpu, u64 to)
{
  struct lane *l = &r->lane[cpu];
  struct tr_lost body = {.n = l->gap, .cpu = (u8)cpu, .why = l->gap_why, .seq = l->gap_seq, .from = l->last_ts, .to = to};
  reader_make(r, cpu, TR_lost, to ? to : l->last_ts, &body, sizeof(body));
  l->gap = 0;
}

static void
reader_tell_stat(struct reader *r, u32 cpu)
{
  struct lane *l = &r->lane[cpu];
  struct tr_reader_stat body = {.cpu = (u8)cpu, .start = l->start, .cursor = l->cur, .delivered = l->delivered, .lost = l->lost, .filtered = l->filtered, .dropped = nt_page.cpu[cpu].dropped};
  reader_make(r, cpu, TR_reader_stat, rdtsc(), &body, sizeof(body));
}

// Does this reader want the record?  Its view is the cheapest to ask.
static int
reader_wants(struct reader *r, const struct nt_slot *rec)
{
  u32 id = rec->id % NT_MAXEV;
  u8 view = r->view[id];
  if(view == VIEW_OFF || (view == VIEW_BASE && !ever_base[id]))
    return 0;
  for(u32 i = 0; i < r->nfilter; i++)
    if(!filter_pass(&r->filter[i], rec))
      return 0;
  return only_pass(&r->only, rec);
}

// Records the reader makes itself come first; what it lost before all others of
// that ring, and at the end of a frozen one.
static int
reader_own(struct reader *r)
{
  while(r->sync > 0) {
    u32 cpu = NT_MAXCPU - r->sync--;
    if(ring_here(cpu)) {
      reader_tell_stat(r, cpu);
      return 1;
    }
  }
  for(u32 i = 0; ring_frozen() && i < NT_MAXCPU; i++)
    if(r->lane[i].gap && r->lane[i].cur == r->lane[i].head) {
      reader_tell_gap(r, i, 0);
      return 1;
    }
  return 0;
}

// Find the next record for this reader.  Returns 1 with it in r->rec, 0: none now.
// Caller holds r->lock.
int
reader_fill(struct reader *r)
{
  u64 ts;
  for(int looked = 0; r->nrec == 0;) {
    if(reader_own(r))
      break;
    int cpu = reader_pick(r, &ts);
    if(cpu < 0 && looked)
      return 0;
    if(cpu < 0) {
      reader_look(r);
      looked = 1;
      continue;
    }
    struct lane *l = &r->lane[cpu];
    if(l->gap) {
      reader_tell_gap(r, (u32)cpu, ts);
      break;
    }
    u32 nsl = lane_copy(l, (u32)cpu, r->rec);
    if(nsl && reader_wants(r, &r->rec[0])) {
      r->rec_cpu = cpu;
      r->nrec = nsl;
    } else if(nsl) {
      l->cur += nsl;
      l->filtered += nsl;
      l->last_ts = ts;
    }
  }
  return 1;
}

// Hand out the record in r->rec.  Returns its bytes.
u32
reader_take(struct reader *r, char *dst)
{
  u32 n = r->nrec * sizeof(struct nt_slot);
  memmove(dst, r->rec, n);
  if(r->rec_cpu >= 0) {
    struct lane *l = &r->lane[r->rec_cpu];
    l->cur += r->nrec;
    l->delivered += r->nrec;
    l->last_ts = r->rec[0].ts;
  }
  r->nrec = 0;
  return n;
}

// Put all cursors at most back slots behind the heads.  What is skipped counts as
// filtered; going back is as if the reader had been opened earlier.
void
reader_seek(struct reader *r, u32 back)
{
  reader_look(r);
  for(u32 i = 0; i < NT_MAXCPU; i++) {
    struct lane *l = &r->lane[i];
    u32 there = l->head - trace_origin(); // never written: nothing to go back to
    if(there > nt_page.hdr.nslots || there > back)
      there = back < nt_page.hdr.nslots ? back : nt_page.hdr.nslots;
    u32 to = l->head - there;
    if((s32)(to - l->cur) > 0)
      l->filtered += to - l->cur;
    else
      l->start -= l->cur - to;
    l->cur = to;
  }
  if(r->rec_cpu >= 0)
    r->nrec = 0; // found, not yet consumed
}

// ---- the reader as a whole --------------------------------------------------------

// The byte at off of what comes before the first record: header, metadata, newlines
// to a multiple of 64.
u8
reader_text(const struct reader *r, u32 off)
{
  if(off < sizeof(r->hdr))
    return ((const u8 *)&r->hdr)[off];
  off -= sizeof(r->hdr);
  return off < trace_meta_len ? (u8)trace_meta[off] : '\n';
}

// Begin with the oldest record there is, a view like the base set and no conditions.
void
reader_start(struct reader *r)
{
  r->hdr = nt_page.hdr;
  memmove(r->hdr.magic, NT_FILE_MAGIC, sizeof(r->hdr.magic));
  r->hdr.self_pa = r->hdr.meta_pa = r->hdr.cpu_off = 0;
  r->hdr.flags |= NT_MERGED;
  r->hdr.tsc = rdtsc();
  memset(r->view, VIEW_BASE, sizeof(r->view));
  memset(r->lane, 0, sizeof(r->lane));
  memset(&r->only, 0, sizeof(r->only));
  r->nfilter = r->self = r->lossless = 0;
  r->text_off = r->nrec = r->sync = r->timeout_ms = 0;
  r->rec_cpu = -1;
  r->err[0] = 0;
  reader_look(r);
  for(u32 i = 0; i < NT_MAXCPU; i++)
    r->lane[i].start = r->lane[i].cur = r->lane[i].head;
  reader_seek(r, nt_page.hdr.nslots);
}

// Has anything come since this reader looked?  Reads without its lock: the next
// tick looks again.
int
reader_news(const struct reader *r)
{
  for(u32 i = 0; i < NT_MAXCPU; i++)
    if(ring_here(i) && (ring_head(i) != r->lane[i].head || r->lane[i].cur != r->lane[i].head))
      return 1;
  return ring_frozen();
}

// Tell the writers how far the slowest of the lossless readers has come.  To be
// called when one has moved, or has begun or ceased to be one.  Another's cursor is
// read without its lock: it comes here itself once it has moved.
void
readers_floor(void)
{
  u32 floor[NT_MAXCPU] = {0};
  int any = 0;
  acquiresleep(&floor_lock);
  for(struct reader *r = readers; r < readers + NREADER; r++) {
    if(!r->used || !r->lossless)
      continue;
    for(u32 i = 0; i < NT_MAXCPU; i++) {
      if(!any || (s32)(r->lane[i].cur - floor[i]) < 0)
        floor[i] = r->lane[i].cur;
    }
    any = 1;
  }
  for(u32 i = 0; any && i < NT_MAXCPU; i++)
    nt_page.cpu[i].floor = floor[i];
  trace_lossless(any);
  releasesleep(&floor_lock);
}

void
reader_init(void)
{
  initsleeplock(&floor_lock, "nettrace floor");
  for(struct reader *r = readers; r < readers + NREADER; r++)
    initsleeplock(&r->lock, "nettrace reader");
}
