// Two machines on one wire: two runs, each with its own clock, as one story.
//
// Each run is joined with its own capture first, so each machine's clock has its
// own bound.  Then the captures are joined with each other: a frame that one side
// sent and the other received was sent before it was received, in both
// directions, which bounds the difference of the two clocks.  Rows are merged so
// that each side keeps its order and no frame arrives before it was sent; time
// decides the rest.
//
// With one capture of the wire for both, each machine is joined with that: all times
// are the capture's, and the machines' clocks need no frames to be compared.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
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

// Note a frame that bounds the clocks.
static void
add_tie(struct two *t, int from, u32 sent, u32 got)
{
  i64 a = t->side[0].s.cap.f[from ? got : sent].w, b = t->side[1].s.cap.f[from ? sent : got].w;
  t->tie = xgrow(t->tie, t->ntie, &t->tiecap, sizeof *t->tie);
  t->tie[t->ntie++] = (struct tie){{a, b}, from == 0};
}

static int
tie_cmp(const void *x, const void *y)
{
  const struct tie *a = x, *b = y;
  i64 da = a->w[0] + a->w[1], db = b->w[0] + b->w[1]; // both clocks only rise
  return da < db ? -1 : da > db;
}

// Sent before received, each stamp cut off to q ns: bound the difference; where no
// number fits any more, begin the next run.  0 or -EX_CONFLICT.
static int
find_runs(struct two *t)
{
  i64 q = t->side[0].s.cap.q > t->side[1].s.cap.q ? t->side[0].s.cap.q : t->side[1].s.cap.q;
  const i64 far = 1ll << 61;
  struct run *r = t->run;
  *r = (struct run){-far, -far, far, {false, false}};
  qsort(t->tie, t->ntie, sizeof *t->tie, tie_cmp);
  for(u32 i = 0; i < t->ntie; i++) {
    const struct tie *e = &t->tie[i];
    i64 d = e->w[0] - e->w[1], lo = e->to_b ? d - q + 1 : -far, hi = e->to_b ? far : d + q - 1;
    if(lo > r->hi || hi < r->lo) {
      if(++r == t->run + MAXRUNS)
        return seterr(EX_CONFLICT, "the clocks of the two machines go apart all the time: did they run with -D?");
      *r = (struct run){e->w[1], -far, far, {false, false}};
    }
    r->lo = lo > r->lo ? lo : r->lo;
    r->hi = hi < r->hi ? hi : r->hi;
    r->bounded[!e->to_b] = true;
  }
  t->nrun = (u32)(r - t->run) + 1;
  return 0;
}

// The difference of the clocks in a run, as far as it is known.
static i64
run_offset(const struct run *r)
{
  return r->bounded[0] && r->bounded[1] ? r->lo + (r->hi - r->lo) / 2 : r->bounded[0] ? r->lo
                                                                                      : r->hi;
}

// A time of one side on A's clock.
i64
two_on_a(const struct two *t, int side, i64 w)
{
  u32 i = t->nrun - 1;
  while(i > 0 && t->run[i].from > w)
    i--;
  return side ? w + run_offset(&t->run[i]) : w;
}

// By how much the difference may be wrong, in the run where that is most; -1: in
// one of them all frames went one way.
static i64
two_half(const struct two *t)
{
  i64 half = 0;
  for(u32 i = 0; i < t->nrun; i++) {
    i64 h = (t->run[i].hi - t->run[i].lo + 1) / 2;
    if(!t->run[i].bounded[0] || !t->run[i].bounded[1])
      return -1;
    half = h > half ? h : half;
  }
  return half;
}

// Frames that were sent once with these bytes are joined, and bound the clocks;
// again: the others, each arrival with the last one sent before it.
static void
join_direction(struct two *t, int from, bool again)
{
  u32 n;
  struct end *e = list_ends(t, from, &n);
  const struct frame *src = t->side[from].s.cap.f, *dst = t->side[!from].s.cap.f;
  i64 slack = again && two_half(t) > 0 ? two_half(t) + 1000 : 0;
  for(u32 i = 0, mid, end; i < n; i = end) {
    for(mid = i; mid < n && e[mid].key == e[i].key && !e[mid].arrived; mid++)
      ;
    for(end = mid; end < n && e[end].key == e[i].key; end++)
      ;
    if(mid == i || (mid - i == 1) == again)
      continue;
    for(u32 k = mid, s = i; k < end; k++) {
      i64 latest = again ? two_on_a(t, !from, dst[e[k].idx].w) + slack : 0;
      while(s + 1 < mid && two_on_a(t, from, src[e[s + 1].idx].w) <= latest)
        s++;
      if(again && two_on_a(t, from, src[e[s].idx].w) > latest)
        continue;
      join(t, from, e[s].idx, e[k].idx);
      if(!again)
        add_tie(t, from, e[s].idx, e[k].idx);
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
  return s->nitem && two_on_a(t, side, s->item[0].w) <= w && w <= two_on_a(t, side, s->item[s->nitem - 1].w);
}

enum arrival
two_arrival(const struct two *t, int side, u32 frame)
{
  if(t->side[side].other[frame] == NOREC)
    return was_there(t, !side, two_on_a(t, side, t->side[side].s.cap.f[frame].w)) ? AR_LOST : AR_ABSENT;
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
      w[k] = left ? two_on_a(t, k, t->side[k].s.item[t->side[k].at].w) : 1ll << 62;
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
open_side(struct side *d, char *dir, char *capture)
{
  int rc = capture ? session_open_far(&d->s, dir, capture) : session_open(&d->s, 1, &dir);
  if(rc < 0 && capture) {
    char *why = xstrdup(errtext);
    return seterr(-rc, "%s: %s", dir, why);
  }
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

// Join two captures.  0 or -exit code.
static int
join_captures(struct two *t, const struct opts *o)
{
  for(int k = 0; k < 2; k++)
    join_direction(t, k, false);
  if(t->ntie == 0)
    return seterr(EX_CONFLICT, "%s and %s: no frame that one sent is in the other's capture: these were not on one wire", o->argv[0], o->argv[1]);
  if(find_runs(t) < 0)
    return -EX_CONFLICT;
  for(int k = 0; k < 2; k++)
    join_direction(t, k, true);
  return 0;
}

// A frame of the one capture stands at its sender; at the other machine only if its
// driver had it.  One that neither sent stands where it arrived, at A if at both.
static bool
stands_here(const struct two *t, int side, u32 i)
{
  const struct frame *f = &t->side[side].s.cap.f[i], *g = &t->side[!side].s.cap.f[i];
  return !f->in || f->rec != NOREC || (g->in && side == 0 && g->rec == NOREC);
}

// Join a capture with itself, as both machines see it.  0 or -exit code.
static int
join_shared(struct two *t, const struct opts *o)
{
  u32 n = t->side[0].s.cap.n, got = 0;
  for(int k = 0; k < 2; k++)
    for(u32 i = 0; i < n; i++) {
      const struct frame *f = &t->side[k].s.cap.f[i], *g = &t->side[!k].s.cap.f[i];
      if(f->in != g->in && (f->in ? f : g)->rec != NOREC)
        t->side[k].other[i] = i;
      got += !f->in && t->side[k].other[i] == i;
    }
  if(got == 0)
    return seterr(EX_CONFLICT, "%s: no frame that one of %s and %s sent and the other received: these were not on this wire", o->argv[2], o->argv[0], o->argv[1]);
  for(int k = 0; k < 2; k++) {
    struct session *s = &t->side[k].s;
    u32 keep = 0;
    for(u32 i = 0; i < s->nitem; i++)
      if(!s->item[i].frame || stands_here(t, k, s->item[i].idx))
        s->item[keep++] = s->item[i];
    s->nitem = keep;
  }
  t->run[0] = (struct run){0, 0, 0, {true, true}};
  t->nrun = 1;
  return 0;
}

// Load two runs, or two traces and their capture, and join them.  0 or -exit code.
int
two_open(struct two *t, struct opts *o)
{
  memset(t, 0, sizeof *t);
  t->shared = o->argc == 3;
  for(int k = 0; k < 2; k++) {
    int rc = open_side(&t->side[k], o->argv[k], t->shared ? o->argv[2] : 0);
    if(rc < 0)
      return rc;
  }
  int rc = t->shared ? join_shared(t, o) : join_captures(t, o);
  if(rc < 0)
    return rc;
  for(int k = 0; k < 2; k++)
    for(u32 i = 0; i < t->side[k].s.cap.n; i++)
      if(!t->side[k].s.cap.f[i].in)
        t->side[k].n[two_arrival(t, k, i)]++;
  order(t);
  return 0;
}

// ±12.3 µs, or that the difference has only one bound; and in how many runs.
char *
two_band(const struct two *t)
{
  char runs[80] = "";
  if(t->shared)
    return xstrdup("on one capture's clock");
  if(t->nrun > 1)
    snprintf(runs, sizeof runs, " in %u runs: a machine stood still in between", t->nrun);
  if(two_half(t) < 0)
    return xasprintf("known from one side only: frames that arrived went one way%s", runs);
  return xasprintf("%s%s %ss%s", ascii_only ? "+-" : "±", band_str(two_half(t)), ascii_only ? "u" : "µ", runs);
}

void
two_info(const struct two *t, const struct opts *o, FILE *f)
{
  for(int k = 0; k < 2; k++) {
    const struct side *d = &t->side[k];
    fprintf(f, "%c         %s, %s, %s: ", 'A' + k, o->argv[k], ip_str(d->s.b->h.ip), mac_str(d->s.b->h.mac));
    session_summary(&d->s, f);
  }
  if(t->shared)
    fprintf(f, "clocks    both as %s has them", o->argv[2]);
  for(u32 i = 0; i < t->nrun && !t->shared; i++) {
    i64 d = run_offset(&t->run[i]);
    fprintf(f, "%s A's is %s %ss %s B's", i ? ", then" : "clocks   ", us_str(d < 0 ? -d : d), ascii_only ? "u" : "µ", d < 0 ? "behind" : "ahead of");
  }
  if(t->shared)
    fprintf(f, ", A %s%s, B %s%s %ss\n", ascii_only ? "+-" : "±", band_str(t->side[0].s.wire), ascii_only ? "+-" : "±", band_str(t->side[1].s.wire),
            ascii_only ? "u" : "µ");
  else
    fprintf(f, ", %s\n", two_band(t));
  for(int k = 0; k < 2; k++) {
    const u32 *n = t->side[k].n;
    fprintf(f, "%c to %c    %u frames: %u arrived once, %u more than once, %u damaged, %u lost, %u while nobody was there\n", 'A' + k, 'B' - k,
            n[0] + n[1] + n[2] + n[3] + n[4], n[AR_ONCE], n[AR_TWICE], n[AR_DAMAGED], n[AR_LOST], n[AR_ABSENT]);
  }
}

static void
print_json(const struct two *t, FILE *f)
{
  putc('{', f);
  for(int k = 0; k < 2; k++) {
    const u32 *n = t->side[k].n;
    fprintf(f, "\"%c\":{\"absent\":%u,\"band_ns\":%lld,\"damaged\":%u,\"frames\":%u,\"lost\":%u,\"more\":%u,\"once\":%u},", 'a' + k, n[AR_ABSENT],
            t->side[k].s.band, n[AR_DAMAGED], t->side[k].s.cap.n, n[AR_LOST], n[AR_TWICE], n[AR_ONCE]);
  }
  fprintf(f, "\"crossed\":%u,\"runs\":[", t->crossed);
  for(u32 i = 0; i < t->nrun; i++) {
    const struct run *r = &t->run[i];
    fprintf(f, "%s{", i ? "," : "");
    if(r->bounded[1])
      fprintf(f, "\"ahead_hi_ns\":%lld%s", r->hi, r->bounded[0] ? "," : "");
    if(r->bounded[0])
      fprintf(f, "\"ahead_lo_ns\":%lld", r->lo);
    putc('}', f);
  }
  fprintf(f, "],\"schema\":\"nettrace-two/1\",\"shared\":%s}\n", t->shared ? "true" : "false");
}

static bool
is_trace(const char *path)
{
  enum filekind k = file_kind(path);
  return k == F_DIR || k == F_TRACE || k == F_RAM;
}

// Are the operands two runs, or two of runs and traces with one capture?
bool
two_runs(const struct opts *o)
{
  if(o->argc == 3)
    return is_trace(o->argv[0]) && is_trace(o->argv[1]) && file_kind(o->argv[2]) == F_PCAP;
  return o->argc == 2 && file_kind(o->argv[0]) == F_DIR && file_kind(o->argv[1]) == F_DIR;
}

// The page; with --ascii in ASCII alone.
static int
two_page(struct two *t, struct opts *o, FILE *to)
{
  struct plain text;
  int rc = two_html(t, o, plain_open(&text, to));
  plain_close(&text);
  return rc;
}

// The commands that take two runs.
int
cmd_two(const char *name, struct opts *o)
{
  static struct two t;
  struct out out;
  bool info = strcmp(name, "info") == 0, merge = strcmp(name, "merge") == 0, html = strcmp(name, "html") == 0;
  if(!info && !merge && !html && strcmp(name, "ladder"))
    return seterr(EX_BADUSE, "takes one run; ladder, html, merge and info take two");
  if(html && (o->out == 0 || o->svg))
    return seterr(EX_BADUSE, o->svg ? "--svg: of one run only" : "-o FILE is needed (- is standard output)");
  if(merge && (o->out == 0 || (!strcmp(o->out, "-") && isatty(1))))
    return seterr(EX_BADUSE, "binary output: name a file with -o");
  int rc = two_open(&t, o);
  if(rc < 0 || (rc = out_open(&out, o->out)) < 0)
    return rc;
  if(info && o->json)
    print_json(&t, out.f);
  else if(info)
    two_info(&t, o, out.f);
  else
    rc = merge ? two_merge(&t, o, out.f) : html ? two_page(&t, o, out.f)
                                                : two_ladder(&t, o, out.f);
  if(rc < 0) {
    out_close(&out, false);
    return rc;
  }
  rc = out_close(&out, true);
  for(int k = 0; k < 2 && !o->quiet && !info; k++) {
    fprintf(stderr, "%c: ", 'A' + k);
    session_summary(&t.side[k].s, stderr);
  }
  return rc ? rc : o->strict && (t.crossed || session_noted(&t.side[0].s) || session_noted(&t.side[1].s));
}
