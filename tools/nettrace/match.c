// Joining records with captured frames: which e1000_rx or e1000_tx is which frame?
//
// Each direction is a queue on both sides.  First the keys that occur once in
// the capture and once in the trace, kept where both orders agree; only these
// bound the clock.  Then, with the clock known, repeated frames (ARP, mostly)
// from the end backwards.  What is left has no counterpart.
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define EVER (1ll << 62) // no stamp is as late

// One side of a possible pair.
struct half {
  u64 key;
  i64 w; // a frame of a capture from elsewhere: its stamp
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
  if(a->w != b->w)
    return a->w < b->w ? -1 : 1;
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
      h[(*n)++] = (struct half){key_of(s, i, part), 0, i, false};
    }
  for(u32 i = 0; i < s->cap.n; i++)
    if(s->cap.f[i].in == in && s->cap.f[i].rec == NOREC && (part ? s->cap.f[i].part : s->cap.f[i].full)) {
      h = xgrow(h, *n, &cap, sizeof *h);
      h[(*n)++] = (struct half){s->cap.f[i].key, s->far ? s->cap.f[i].w : 0, i, true};
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

// From when to when may this record's frame have been stamped, by the clock?
static void
stamped(const struct session *s, u32 rec, bool in, i64 *from, i64 *to)
{
  u64 g = s->b->rec[rec].ts;
  u32 kick = in || s->far ? NOREC : rec_kick(s, rec);
  *from = -EVER;
  *to = EVER;
  if(s->al.method <= CLK_GUEST)
    return;
  if(in)
    *to = align_hi(&s->al, g);
  else
    *from = align_lo(&s->al, g) - s->cap.q + 1;
  if(kick != NOREC)
    *to = align_hi(&s->al, s->b->rec[kick].ts);
}

// Where in h (sorted) do the frames with this key begin that have a stamp from w on?
static u32
key_place(const struct half *h, u32 n, u64 key, i64 w)
{
  u32 lo = 0, hi = n;
  while(lo < hi) {
    u32 mid = (lo + hi) / 2;
    if(h[mid].key < key || (h[mid].key == key && (!h[mid].frame || h[mid].w < w)))
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

// Is h[k], counted from 1 to n, a frame with this key?
static bool
key_frame(const struct half *h, u32 n, u32 k, u64 key)
{
  return k > 0 && k <= n && h[k - 1].key == key && h[k - 1].frame;
}

// For each record, the number of the frame from which on frames may be its own: those
// below belong to records of this name that come before it.
static u32 *
list_floors(const struct session *s, const char *name)
{
  u32 *floor = xmalloc((s->b->nrec + 1) * sizeof *floor), last = 0;
  for(u32 i = 0; i < s->b->nrec; i++) {
    floor[i] = last;
    if(rec_is(s, i, name) && s->frame_of[i] != NOREC)
      last = s->frame_of[i] + 1;
  }
  return floor;
}

// Each record, from the last one backwards, takes the latest identical frame that is
// free, in order and in time.
static void
rest_of(struct session *s, bool in)
{
  const char *name = in ? "e1000_rx" : "e1000_tx";
  u32 n, limit = s->cap.n, *floor = list_floors(s, name);
  struct half *h = collect(s, in, false, &n);
  u32 *past = xmalloc((n + 1) * sizeof *past); // by key_place: so many of the last frames are done with
  for(u32 i = s->b->nrec; i-- > 0;) {
    if(!rec_is(s, i, name))
      continue;
    if(s->frame_of[i] != NOREC) {
      limit = s->frame_of[i];
      continue;
    }
    u64 key = rec_key(s, &s->b->rec[i]);
    i64 from, to;
    stamped(s, i, in, &from, &to);
    u32 end = key_place(h, n, key, EVER), k = end - past[end];
    while(key_frame(h, n, k, key) && (h[k - 1].idx >= limit || s->cap.f[h[k - 1].idx].w > to))
      k--; // too late for this record, and for those before it
    past[end] = end - k;
    u32 idx = key_frame(h, n, k, key) ? h[k - 1].idx : NOREC;
    if(idx != NOREC && idx >= floor[i] && s->cap.f[idx].w >= from) {
      join(s, i, idx, false);
      limit = idx;
    }
  }
  free(past);
  free(floor);
  free(h);
}

// Where next[k] leads to in the end: to itself.  The way there is short from then on.
static u32
follow_next(u32 *next, u32 k)
{
  for(; next[k] != k; k = next[k])
    next[k] = next[next[k]];
  return k;
}

// Between a capture taken elsewhere and this card the cable may turn frames around and
// repeat them: each record in turn takes the free identical frame nearest in time, on
// the right side of it.
static void
in_any_order(struct session *s, bool in)
{
  u32 n;
  struct half *h = collect(s, in, false, &n);
  u32 *next = xmalloc((n + 2) * sizeof *next); // of h, from 1 on: itself while it is free, then its neighbour farther off
  for(u32 k = 0; k < n + 2; k++)
    next[k] = k;
  for(u32 i = 0; i < s->b->nrec; i++) {
    if(!rec_is(s, i, in ? "e1000_rx" : "e1000_tx") || s->frame_of[i] != NOREC)
      continue;
    u64 key = rec_key(s, &s->b->rec[i]);
    i64 from, to;
    stamped(s, i, in, &from, &to);
    u32 k = follow_next(next, in ? key_place(h, n, key, to + 1) : key_place(h, n, key, from) + 1);
    if(!key_frame(h, n, k, key))
      continue;
    join(s, i, h[k - 1].idx, false);
    next[k] = in ? k - 1 : k + 1;
  }
  free(next);
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
    u32 k = f->in == in && f->rec != NOREC ? key_place(h, n, f->key, EVER) : 0;
    for(; key_frame(h, n, k, f->key) && !s->cap.f[h[k - 1].idx].copy; k--) // all of a key at once
      s->cap.f[h[k - 1].idx].copy = true;
  }
  free(h);
}

// Second pass, with the clock known.
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
