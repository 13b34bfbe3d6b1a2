// Joining records with captured frames: which e1000_rx or e1000_tx is which frame?
//
// Each direction is a queue on both sides.  First the keys that occur once in
// the capture and once in the trace, kept where both orders agree; only these
// bound the clock.  Then, with the clock known, repeated frames (ARP, mostly)
// from the end backwards.  What is left has no counterpart.
#include <stdlib.h>
#include <string.h>
#include "tool.h"

// One side of a possible pair.
struct half {
  u64 key;
  u32 idx;
  bool frame;
};
struct pair {
  u32 rec, frame;
};

static int
half_cmp(const void *x, const void *y)
{
  const struct half *a = x, *b = y;
  if(a->key != b->key)
    return a->key < b->key ? -1 : 1;
  if(a->frame != b->frame)
    return a->frame ? 1 : -1;
  return a->idx < b->idx ? -1 : a->idx > b->idx;
}

static int
pair_cmp(const void *x, const void *y)
{
  const struct pair *a = x, *b = y;
  return a->rec < b->rec ? -1 : a->rec > b->rec;
}

// A record's key; part: as of a frame too short for the hash.
static u64
key_of(const struct session *s, u32 rec, bool part)
{
  const struct rec *r = &s->b->rec[rec];
  if(!part)
    return rec_key(s, r);
  return match_key((u32)rec_get(s->b, r, "len"), (u32)rec_get(s->b, r, "type"), (u32)rec_get(s->b, r, "ipid"),
                   (u32)rec_get(s->b, r, "l4sum"), 0);
}

// The records and frames of one direction that have no partner yet, sorted by key.
// part: frames cut short, instead of whole ones.
static struct half *
collect(const struct session *s, bool in, bool part, u32 *n)
{
  const char *name = in ? "e1000_rx" : "e1000_tx";
  struct half *h = 0;
  u32 cap = 0;
  *n = 0;
  for(u32 i = 0; i < s->b->nrec; i++)
    if(rec_is(s, i, name) && s->frame_of[i] == NOREC) {
      h = xgrow(h, *n, &cap, sizeof *h);
      h[(*n)++] = (struct half){key_of(s, i, part), i, false};
    }
  for(u32 i = 0; i < s->cap.n; i++)
    if(s->cap.f[i].in == in && s->cap.f[i].rec == NOREC && (part ? s->cap.f[i].part : s->cap.f[i].full)) {
      h = xgrow(h, *n, &cap, sizeof *h);
      h[(*n)++] = (struct half){s->cap.f[i].key, i, true};
    }
  if(*n)
    qsort(h, *n, sizeof *h, half_cmp);
  return h;
}

// Keep the longest run of pairs, sorted by record, in which frames rise too.
static u32
longest_rise(struct pair *p, u32 n)
{
  u32 *tail = xmalloc((n + 1) * sizeof *tail), *prev = xmalloc((n + 1) * sizeof *prev), len = 0;
  for(u32 i = 0; i < n; i++) {
    u32 lo = 0, hi = len;
    while(lo < hi) {
      u32 mid = (lo + hi) / 2;
      if(p[tail[mid]].frame < p[i].frame)
        lo = mid + 1;
      else
        hi = mid;
    }
    prev[i] = lo ? tail[lo - 1] : NOREC;
    tail[lo] = i;
    len = lo == len ? len + 1 : len;
  }
  struct pair *keep = xmalloc((len + 1) * sizeof *keep);
  u32 k = len ? tail[len - 1] : NOREC;
  for(u32 i = len; i-- > 0; k = prev[k])
    keep[i] = p[k];
  memcpy(p, keep, len * sizeof *p);
  free(keep);
  free(tail);
  free(prev);
  return len;
}

static void
join(struct session *s, u32 rec, u32 frame, bool unique)
{
  s->frame_of[rec] = frame;
  s->cap.f[frame].rec = rec;
  s->cap.f[frame].unique = unique;
  s->cap.f[frame].kick = s->far || s->cap.f[frame].in ? NOREC : rec_kick(s, rec);
  s->nmatch++;
  s->nunique += unique;
}

// Add the pairs whose key occurs once on either side.
static struct pair *
add_pairs(const struct session *s, bool in, bool part, struct pair *p, u32 *np)
{
  u32 n, had = *np;
  struct half *h = collect(s, in, part, &n);
  p = xrealloc(p, (had + n + 1) * sizeof *p);
  for(u32 i = 0, k; i < n; i = k) {
    for(k = i + 1; k < n && h[k].key == h[i].key; k++)
      ;
    struct pair new = {h[i].idx, h[k - 1].idx};
    bool taken = had && bsearch(&new, p, had, sizeof *p, pair_cmp);
    if(k == i + 2 && !h[i].frame && h[i + 1].frame && !taken)
      p[(*np)++] = new;
  }
  free(h);
  if(*np > had)
    qsort(p, *np, sizeof *p, pair_cmp);
  return p;
}

// Are there frames that the capture cut short?
static bool
any_part(const struct session *s)
{
  for(u32 i = 0; i < s->cap.n; i++)
    if(s->cap.f[i].part)
      return true;
  return false;
}

static u32
unique_of(struct session *s, bool in)
{
  u32 np = 0;
  struct pair *p = add_pairs(s, in, false, 0, &np);
  if(any_part(s))
    p = add_pairs(s, in, true, p, &np);
  np = longest_rise(p, np);
  for(u32 i = 0; i < np; i++)
    join(s, p[i].rec, p[i].frame, true);
  free(p);
  return np;
}

// First pass; returns how many frames were matched.
u32
match_unique(struct session *s)
{
  return unique_of(s, true) + unique_of(s, false);
}

// May this record be this frame, by the clock?
static bool
in_time(const struct session *s, u32 rec, const struct frame *f)
{
  if(s->al.method <= CLK_GUEST)
    return true;
  u64 g = s->b->rec[rec].ts;
  if(f->in)
    return f->w <= align_hi(&s->al, g);
  u32 kick = s->far ? NOREC : rec_kick(s, rec);
  if(f->w + s->cap.q - 1 < align_lo(&s->al, g))
    return false;
  return kick == NOREC || f->w <= align_hi(&s->al, s->b->rec[kick].ts);
}

// Where in h (sorted) do the frames with this key end?
static u32
key_end(const struct half *h, u32 n, u64 key)
{
  u32 lo = 0, hi = n;
  while(lo < hi) {
    u32 mid = (lo + hi) / 2;
    if(h[mid].key <= key)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

static void
rest_of(struct session *s, bool in)
{
  const char *name = in ? "e1000_rx" : "e1000_tx";
  u32 n;
  struct half *h = collect(s, in, false, &n);
  u32 *floor = xmalloc((s->b->nrec + 1) * sizeof *floor), last = 0; // frames below it belong to earlier records
  for(u32 i = 0; i < s->b->nrec; i++) {
    floor[i] = last;
    if(rec_is(s, i, name) && s->frame_of[i] != NOREC)
      last = s->frame_of[i] + 1;
  }
  u32 limit = s->cap.n;
  for(u32 i = s->b->nrec; i-- > 0;) {
    if(!rec_is(s, i, name))
      continue;
    if(s->frame_of[i] != NOREC) {
      limit = s->frame_of[i];
      continue;
    }
    u64 key = rec_key(s, &s->b->rec[i]);
    for(u32 k = key_end(h, n, key); k-- > 0 && h[k].key == key && h[k].frame;) {
      struct frame *f = &s->cap.f[h[k].idx];
      if(h[k].idx >= limit || f->rec != NOREC || !in_time(s, i, f))
        continue;
      if(h[k].idx >= floor[i]) {
        join(s, i, h[k].idx, false);
        limit = h[k].idx;
      }
      break;
    }
  }
  free(floor);
  free(h);
}

// Between a capture taken elsewhere and this card the cable may turn frames around and
// repeat them: each record in turn takes the free identical frame nearest in time, on
// the right side of it.
static void
in_any_order(struct session *s, bool in)
{
  u32 n;
  struct half *h = collect(s, in, false, &n);
  for(u32 i = 0; i < s->b->nrec; i++) {
    if(!rec_is(s, i, in ? "e1000_rx" : "e1000_tx") || s->frame_of[i] != NOREC)
      continue;
    u64 key = rec_key(s, &s->b->rec[i]);
    u32 best = NOREC;
    for(u32 k = key_end(h, n, key); k-- > 0 && h[k].key == key && h[k].frame && (best == NOREC || !in);)
      if(s->cap.f[h[k].idx].rec == NOREC && in_time(s, i, &s->cap.f[h[k].idx]))
        best = h[k].idx;
    if(best != NOREC)
      join(s, i, best, false);
  }
  free(h);
}

// Frames that stand alone though one with the same bytes does not: the cable's copies.
static void
mark_copies(struct session *s, bool in)
{
  u32 n;
  struct half *h = collect(s, in, false, &n);
  for(u32 i = 0; i < s->cap.n; i++) {
    const struct frame *f = &s->cap.f[i];
    for(u32 k = f->in == in && f->rec != NOREC ? key_end(h, n, f->key) : 0; k-- > 0 && h[k].key == f->key && h[k].frame;)
      s->cap.f[h[k].idx].copy = true;
  }
  free(h);
}

// Second pass, with the clock known: each record, from the last one backwards,
// takes the latest identical frame that is free, in order and in time.
void
match_rest(struct session *s)
{
  for(int in = 1; in >= 0; in--)
    if(s->far) {
      in_any_order(s, in);
      mark_copies(s, in);
    } else
      rest_of(s, in);
}
