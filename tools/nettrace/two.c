// Two machines on one wire: two runs, each with its own clock, as one story.
//
// Each run is joined with its own capture first, so each machine's clock has its
// own bound.  Then the captures are joined with each other: a frame that one side
// sent and the other received was sent before it was received, in both
// directions, which bounds the difference of the two clocks.  Rows are merged so
// that each side keeps its order and no frame arrives before it was sent; time
// decides the rest.
#include <stdlib.h>
#include <string.h>
#include "two.h"

// A frame of one direction, to find its counterpart.
struct end {
  u64 key;
  u32 idx;
  bool arrived;
};

static int
end_cmp(const void *x, const void *y)
{
  const struct end *a = x, *b = y;
  if(a->key != b->key)
    return a->key < b->key ? -1 : 1;
  if(a->arrived != b->arrived)
    return a->arrived ? 1 : -1;
  return a->idx < b->idx ? -1 : a->idx > b->idx;
}

// All whole frames that side `from` sent and its other side received, by key.
static struct end *
list_ends(const struct two *t, int from, u32 *n)
{
  u32 cap = 0;
  struct end *e = 0;
  *n = 0;
  for(int k = 0; k < 2; k++) {
    const struct capture *c = &t->side[k ? !from : from].s.cap;
    for(u32 i = 0; i < c->n; i++)
      if(c->f[i].in == (k == 1) && c->f[i].full) {
        e = xgrow(e, *n, &cap, sizeof *e);
        e[(*n)++] = (struct end){c->f[i].key, i, k == 1};
      }
  }
  if(*n)
    qsort(e, *n, sizeof *e, end_cmp);
  return e;
}

// A bound from a frame sent at `sent` and received at `got`, each cut off to q ns.
static void
bound(struct two *t, int from, u32 sent, u32 got)
{
  const struct capture *a = &t->side[0].s.cap, *b = &t->side[1].s.cap;
  u32 q = a->q > b->q ? a->q : b->q, ia = from ? got : sent, ib = from ? sent : got;
  i64 d = a->f[ia].w - b->f[ib].w;
  if(from == 0 && (!t->bounded[0] || d - q + 1 > t->lo)) {
    t->lo = d - q + 1;
    t->lo_f[0] = sent;
    t->lo_f[1] = got;
  }
  if(from == 1 && (!t->bounded[1] || d + q - 1 < t->hi)) {
    t->hi = d + q - 1;
    t->hi_f[0] = sent;
    t->hi_f[1] = got;
  }
  t->bounded[from] = true;
}

static bool
same_bytes(const struct frame *a, const struct frame *b)
{
  return memcmp(a->data, b->data, a->caplen < b->caplen ? a->caplen : b->caplen) == 0;
}

// Join a sent frame with one that arrived.  Of several arrivals the first is its
// own; a later one, if that was damaged.
static void
join(struct two *t, int from, u32 sent, u32 got)
{
  const struct frame *src = &t->side[from].s.cap.f[sent], *dst = t->side[!from].s.cap.f;
  u32 *own = &t->side[from].other[sent];
  t->side[!from].other[got] = sent;
  t->side[from].twice[sent] = *own != NOREC;
  if(*own == NOREC || (!same_bytes(src, &dst[*own]) && same_bytes(src, &dst[got])))
    *own = got;
}

// The difference of the clocks, as far as it is known.
static i64
two_offset(const struct two *t)
{
  return t->bounded[0] && t->bounded[1] ? t->lo + (t->hi - t->lo) / 2 : t->bounded[0] ? t->lo
                                                                                      : t->hi;
}

// A time of one side on A's clock.
static i64
on_a(const struct two *t, int side, i64 w)
{
  return side ? w + two_offset(t) : w;
}

// Frames that were sent once with these bytes are joined, and bound the clocks;
// again: the others, each arrival with the last one sent before it.
static void
join_direction(struct two *t, int from, bool again)
{
  u32 n;
  struct end *e = list_ends(t, from, &n);
  const struct frame *src = t->side[from].s.cap.f, *dst = t->side[!from].s.cap.f;
  i64 slack = t->bounded[0] && t->bounded[1] ? (t->hi - t->lo) / 2 + 1000 : 0;
  for(u32 i = 0, mid, end; i < n; i = end) {
    for(mid = i; mid < n && e[mid].key == e[i].key && !e[mid].arrived; mid++)
      ;
    for(end = mid; end < n && e[end].key == e[i].key; end++)
      ;
    if(mid == i || (mid - i == 1) == again)
      continue;
    for(u32 k = mid, s = i; k < end; k++) {
      i64 latest = on_a(t, !from, dst[e[k].idx].w) + slack;
      while(s + 1 < mid && on_a(t, from, src[e[s + 1].idx].w) <= latest)
        s++;
      if(again && on_a(t, from, src[e[s].idx].w) > latest)
        continue;
      join(t, from, e[s].idx, e[k].idx);
      if(!again)
        bound(t, from, e[s].idx, e[k].idx);
    }
  }
  free(e);
}

// Is this another arrival of a frame that has its own?
bool
two_copy(const struct two *t, int side, u32 frame)
{
  u32 sent = t->side[side].other[frame];
  return t->side[side].s.cap.f[frame].in && sent != NOREC && t->side[!side].other[sent] != frame;
}

// Did it arrive with other bytes than it was sent with?
bool
two_damaged(const struct two *t, int side, u32 frame)
{
  u32 other = t->side[side].other[frame];
  return other != NOREC && !same_bytes(&t->side[side].s.cap.f[frame], &t->side[!side].s.cap.f[other]);
}

// Was this machine's kernel up at that time on A's clock?
static bool
was_there(const struct two *t, int side, i64 w)
{
  const struct session *s = &t->side[side].s;
  return s->nitem && on_a(t, side, s->item[0].w) <= w && w <= on_a(t, side, s->item[s->nitem - 1].w);
}

enum arrival
two_arrival(const struct two *t, int side, u32 frame)
{
  if(t->side[side].other[frame] == NOREC)
    return was_there(t, !side, on_a(t, side, t->side[side].s.cap.f[frame].w)) ? AR_LOST : AR_ABSENT;
  if(two_damaged(t, side, frame))
    return AR_DAMAGED;
  return t->side[side].twice[frame] ? AR_TWICE : AR_ONCE;
}

// Does this row wait for one of the other side?
static bool
waits(const struct two *t, int side, const u8 *passed)
{
  const struct item *it = &t->side[side].s.item[t->side[side].at];
  u32 other = it->frame ? t->side[side].other[it->idx] : NOREC;
  return other != NOREC && t->side[side].s.cap.f[it->idx].in && !passed[other];
}

// Merge both sides' rows, causes first.
static void
order(struct two *t)
{
  u8 *passed[2];
  i64 last = -(1ll << 62);
  u32 n = t->side[0].s.nitem + t->side[1].s.nitem;
  t->row = xmalloc((n + 1) * sizeof *t->row);
  for(int k = 0; k < 2; k++)
    passed[k] = xmalloc(t->side[k].s.cap.n + 1);
  while(t->nrow < n) {
    i64 w[2];
    bool ready[2];
    for(int k = 0; k < 2; k++) {
      bool left = t->side[k].at < t->side[k].s.nitem;
      w[k] = left ? on_a(t, k, t->side[k].s.item[t->side[k].at].w) : 1ll << 62;
      ready[k] = left && !waits(t, k, passed[!k]);
    }
    t->crossed += !ready[0] && !ready[1];
    int k = ready[0] == ready[1] ? w[1] < w[0] : ready[1];
    u32 i = t->side[k].at++;
    const struct item *it = &t->side[k].s.item[i];
    if(it->frame)
      passed[k][it->idx] = 1;
    last = w[k] > last ? w[k] : last;
    t->row[t->nrow++] = (struct row){(u8)k, i, last};
  }
  free(passed[0]);
  free(passed[1]);
}

static int
open_side(struct side *d, char *dir)
{
  int rc = session_open(&d->s, 1, &dir);
  if(rc < 0)
    return rc;
  if(!d->s.have_trace || !d->s.have_cap)
    return seterr(EX_BADIN, "%s: of two machines each needs its trace and its capture", dir);
  timeline_build(&d->s);
  d->other = xmalloc((d->s.cap.n + 1) * sizeof *d->other);
  d->twice = xmalloc(d->s.cap.n + 1);
  for(u32 i = 0; i < d->s.cap.n; i++)
    d->other[i] = NOREC;
  return 0;
}

// Load two runs and join them.  0 or -exit code.
int
two_open(struct two *t, struct opts *o)
{
  memset(t, 0, sizeof *t);
  for(int k = 0; k < 2; k++) {
    int rc = open_side(&t->side[k], o->argv[k]);
    if(rc < 0)
      return rc;
  }
  for(int again = 0; again < 2; again++)
    for(int k = 0; k < 2; k++)
      join_direction(t, k, again);
  if(!t->bounded[0] && !t->bounded[1])
    return seterr(EX_CONFLICT, "%s and %s: no frame that one sent is in the other's capture: these were not on one wire", o->argv[0], o->argv[1]);
  if(t->bounded[0] && t->bounded[1] && t->lo > t->hi)
    return seterr(EX_CONFLICT, "the two clocks went apart: frame %u of A arrived as %u, and frame %u of B as %u, %s µs too early", t->lo_f[0] + 1,
                  t->lo_f[1] + 1, t->hi_f[0] + 1, t->hi_f[1] + 1, us_str(t->lo - t->hi));
  for(int k = 0; k < 2; k++)
    for(u32 i = 0; i < t->side[k].s.cap.n; i++)
      if(!t->side[k].s.cap.f[i].in)
        t->side[k].n[two_arrival(t, k, i)]++;
  order(t);
  return 0;
}

// ±12.3 µs, or why the difference has only one bound.
char *
two_band(const struct two *t)
{
  if(t->bounded[0] && t->bounded[1])
    return xasprintf("%s%s %ss", ascii_only ? "+-" : "±", band_str((t->hi - t->lo + 1) / 2), ascii_only ? "u" : "µ");
  return xasprintf("known from one side: no frame of %s arrived", t->bounded[0] ? "B" : "A");
}

static void
print_info(const struct two *t, const struct opts *o, FILE *f)
{
  for(int k = 0; k < 2; k++) {
    const struct side *d = &t->side[k];
    fprintf(f, "%c         %s, %s, %s: ", 'A' + k, o->argv[k], ip_str(d->s.b->h.ip), mac_str(d->s.b->h.mac));
    session_summary(&d->s, f);
  }
  i64 d = two_offset(t);
  fprintf(f, "clocks    A's is %s µs %s B's, %s\n", us_str(d < 0 ? -d : d), d < 0 ? "behind" : "ahead of", two_band(t));
  for(int k = 0; k < 2; k++) {
    const u32 *n = t->side[k].n;
    fprintf(f, "%c to %c    %u frames: %u arrived once, %u more than once, %u damaged, %u lost, %u while nobody was there\n", 'A' + k, 'B' - k,
            n[0] + n[1] + n[2] + n[3] + n[4], n[AR_ONCE], n[AR_TWICE], n[AR_DAMAGED], n[AR_LOST], n[AR_ABSENT]);
  }
}

static void
print_json(const struct two *t, FILE *f)
{
  fprintf(f, "{\"ahead_hi_ns\":%lld,\"ahead_lo_ns\":%lld,\"bounded\":%s,\"crossed\":%u,", t->hi, t->lo,
          t->bounded[0] && t->bounded[1] ? "true" : "false", t->crossed);
  for(int k = 0; k < 2; k++) {
    const u32 *n = t->side[k].n;
    fprintf(f, "\"%c\":{\"absent\":%u,\"band_ns\":%lld,\"damaged\":%u,\"frames\":%u,\"lost\":%u,\"more\":%u,\"once\":%u},", 'a' + k, n[AR_ABSENT],
            t->side[k].s.band, n[AR_DAMAGED], t->side[k].s.cap.n, n[AR_LOST], n[AR_TWICE], n[AR_ONCE]);
  }
  fputs("\"schema\":\"nettrace-two/1\"}\n", f);
}

// Are the operands two runs?
bool
two_runs(const struct opts *o)
{
  return o->argc == 2 && file_kind(o->argv[0]) == F_DIR && file_kind(o->argv[1]) == F_DIR;
}

// The commands that take two runs: ladder and info.
int
cmd_two(const char *name, struct opts *o)
{
  static struct two t;
  struct out out;
  bool info = strcmp(name, "info") == 0;
  if(!info && strcmp(name, "ladder"))
    return seterr(EX_BADUSE, "takes one run; ladder and info take two");
  int rc = two_open(&t, o);
  if(rc < 0 || (rc = out_open(&out, o->out)) < 0)
    return rc;
  if(info && o->json)
    print_json(&t, out.f);
  else if(info)
    print_info(&t, o, out.f);
  else
    rc = two_ladder(&t, o, out.f);
  if(rc < 0) {
    out_close(&out, false);
    return rc;
  }
  rc = out_close(&out, true);
  for(int k = 0; k < 2 && !o->quiet && !info; k++) {
    fprintf(stderr, "%c: ", 'A' + k);
    session_summary(&t.side[k].s, stderr);
  }
  return rc ? rc : o->strict && t.crossed;
}
