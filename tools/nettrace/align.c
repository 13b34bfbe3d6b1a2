// One clock: W(g) = V(g) + K, from the guest's TSC g to capture time W, in ns.
//
// V counts the virtual clock since the kernel enabled the HPET.  Each
// clock_sync bounds it from both sides: V(tsc) <= 10 hpet + 9 and
// V(tsc + win) >= 10 hpet.  All lines that satisfy every bound form a convex set
// whose corners are lines through two bounds; the band at g is the least and
// the greatest of them.  K, one constant per boot, is measured twice: by the PM
// timer in each sync, and by frames that lie between two events.  The two
// must overlap.  Everything is integer arithmetic, products have 128 bits;
// nothing is averaged and no constraint is dropped without a word.
//
// A pause of the machine puts a small step between TSC and virtual clock, and a host
// that adjusts its clock makes them slide: then no one line fits.  The fewest runs of
// syncs that fit say where; but a run may hide a smaller step, so from then on each
// sync bounds only what lies beside it: an event between two gets the union of their
// bands, at any rate that the longest run allows.  A clock whose steps contradict
// nothing is taken for steady.
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define LIMIT   (1ll << 61)   // beyond this a stamp is nonsense: 2043, where a capture tells the date
#define PMHZ    3579545ll     // ticks of the PM timer in a second
#define PMBITS  24            // it wraps
#define MAXSTEP 5000ll        // ns that a pause may shift the clock: measured, 100 to a few 1000
#define HPETNS  42949672960ll // ns until the HPET's low word wraps
#define NEARBY  50000000ll    // ns between the TSC's zero and power-on, at most: QEMU starts both at once

struct pt {
  i64 g, v;
};

static i64
clamp(i128 v)
{
  return v > LIMIT ? LIMIT : v < -LIMIT ? -LIMIT
                                        : (i64)v;
}

static i128
floordiv(i128 a, i128 b)
{
  i128 q = a / b;
  return q * b != a && (a < 0) != (b < 0) ? q - 1 : q;
}

static i64
rel(const struct align *a, u64 g)
{
  i64 d = (i64)(g - a->base);
  return d > LIMIT ? LIMIT : d < -LIMIT ? -LIMIT
                                        : d;
}

static i64
line_lo(const struct line *l, i64 g)
{
  return clamp(l->v0 + floordiv((i128)l->dv * (g - l->g0), l->dg));
}

// Which side of the line from a to b does c lie on?  > 0: above.
static i128
cross(struct pt a, struct pt b, struct pt c)
{
  return (i128)(b.g - a.g) * (c.v - a.v) - (i128)(c.g - a.g) * (b.v - a.v);
}

static int
pt_cmp(const void *x, const void *y)
{
  const struct pt *a = x, *b = y;
  if(a->g != b->g)
    return a->g < b->g ? -1 : 1;
  return a->v < b->v ? -1 : a->v > b->v;
}

// Reduce n points to the hull that can touch a line from the given side:
// side 1: the lower hull of upper bounds, -1: the upper hull of lower bounds.
static u32
hull(struct pt *p, u32 n, int side)
{
  qsort(p, n, sizeof *p, pt_cmp);
  u32 k = 0;
  for(u32 i = 0; i < n; i++) {
    if(k && p[k - 1].g == p[i].g) { // of two at one time only the tighter one counts
      if((side > 0) == (p[i].v >= p[k - 1].v))
        continue;
      k--;
    }
    while(k >= 2 && cross(p[k - 2], p[k - 1], p[i]) * side <= 0)
      k--;
    p[k++] = p[i];
  }
  return k;
}

static bool
line_fits(const struct line *l, const struct pt *up, u32 nu, const struct pt *lo, u32 nl)
{
  for(u32 i = 0; i < nu; i++)
    if((i128)(up[i].v - l->v0) * l->dg < (i128)l->dv * (up[i].g - l->g0))
      return false;
  for(u32 i = 0; i < nl; i++)
    if((i128)(lo[i].v - l->v0) * l->dg > (i128)l->dv * (lo[i].g - l->g0))
      return false;
  return true;
}

// Slopes that a line may have: from lo / dg to hi / dg.  dg 0: any.
struct slopes {
  i64 lo, hi, dg;
};

static void
add_corner(struct line **to, u32 *n, u32 *cap, const struct line *l)
{
  *to = xgrow(*to, *n, cap, sizeof **to);
  (*to)[(*n)++] = *l;
}

static bool
slope_fits(const struct line *l, const struct slopes *r)
{
  return l->dv > 0 && (r->dg == 0 || ((i128)l->dv * r->dg >= (i128)r->lo * l->dg && (i128)l->dv * r->dg <= (i128)r->hi * l->dg));
}

// All corner lines between upper and lower bounds: through two of them, or
// through one at the least or greatest slope.  Sorts and reduces both arrays.
// Returns how many; 0 = no line fits.  *to is the caller's to free.
static u32
corners(struct pt *up, u32 nu, struct pt *lo, u32 nl, const struct slopes *r, struct line **to)
{
  nu = hull(up, nu, 1);
  nl = hull(lo, nl, -1);
  u32 n = 0, cap = 0;
  *to = 0;
  for(u32 i = 0; i < nu + nl; i++) {
    struct pt a = i < nu ? up[i] : lo[i - nu];
    struct line steep[] = {{a.g, a.v, r->dg, r->lo}, {a.g, a.v, r->dg, r->hi}};
    for(u32 k = 0; r->dg && k < 2; k++)
      if(steep[k].dv > 0 && line_fits(&steep[k], up, nu, lo, nl))
        add_corner(to, &n, &cap, &steep[k]);
    for(u32 k = i + 1; k < nu + nl; k++) {
      struct pt b = k < nu ? up[k] : lo[k - nu];
      struct line l = a.g < b.g ? (struct line){a.g, a.v, b.g - a.g, b.v - a.v} : (struct line){b.g, b.v, a.g - b.g, a.v - b.v};
      if(l.dg && slope_fits(&l, r) && line_fits(&l, up, nu, lo, nl))
        add_corner(to, &n, &cap, &l);
    }
  }
  return n;
}

// Are slopes bounded from both sides?  Else the corners do not bound the band.
static bool
bounded(const struct pt *up, u32 nu, const struct pt *lo, u32 nl)
{
  i64 u0 = LIMIT, u1 = -LIMIT, l0 = LIMIT, l1 = -LIMIT;
  for(u32 i = 0; i < nu; i++) {
    u0 = up[i].g < u0 ? up[i].g : u0;
    u1 = up[i].g > u1 ? up[i].g : u1;
  }
  for(u32 i = 0; i < nl; i++) {
    l0 = lo[i].g < l0 ? lo[i].g : l0;
    l1 = lo[i].g > l1 ? lo[i].g : l1;
  }
  return nu && nl && l0 < u1 && u0 < l1;
}

static void
add_segment(struct align *a, i64 from, i64 to, struct line *l, u32 n)
{
  a->seg = xrealloc(a->seg, (a->nseg + 1) * sizeof *a->seg);
  a->seg[a->nseg++] = (struct segment){from, to, n, l};
}

static void
drop_segments(struct align *a)
{
  for(u32 i = 0; i < a->nseg; i++)
    free(a->seg[i].line);
  free(a->seg);
  free(a->note);
  a->seg = 0;
  a->note = 0;
  a->nseg = 0;
}

// Widen lo..hi to where the lines are at g.  Called for each record: one division a line.
static void
lines_band(const struct line *l, u32 n, i64 g, i64 *lo, i64 *hi)
{
  for(u32 k = 0; k < n; k++) {
    i128 rise = (i128)l[k].dv * (g - l[k].g0), q = floordiv(rise, l[k].dg);
    i64 low = clamp(l[k].v0 + q), high = clamp(l[k].v0 + q + (q * l[k].dg != rise));
    *lo = low < *lo ? low : *lo;
    *hi = high > *hi ? high : *hi;
  }
}

static i64
pm_ns(i64 ticks)
{
  return clamp(floordiv((i128)ticks * 1000000000, PMHZ));
}

// A sync with its counters unwrapped.
struct usync {
  i64 tsc, end, hpet_ns, pmt;
  u32 rec;
};

// All that is known: n syncs by tsc, nb brackets in the caller's order.
struct facts {
  const struct usync *s;
  const struct bracket *b;
  struct bracket *sorted; // by stamp; 0: cuts are found by syncs alone
  u32 n, nb, q;
};

// Lines through syncs i..j-1; 0 if none fits.
static u32
fit(const struct usync *s, u32 i, u32 j, const struct slopes *r, struct line **to)
{
  struct pt *up = xmalloc((j - i) * sizeof *up), *lo = xmalloc((j - i) * sizeof *lo);
  for(u32 k = i; k < j; k++) {
    up[k - i] = (struct pt){s[k].tsc, s[k].hpet_ns + 9};
    lo[k - i] = (struct pt){s[k].end, s[k].hpet_ns};
  }
  u32 n = r->dg || bounded(up, j - i, lo, j - i) ? corners(up, j - i, lo, j - i, r, to) : (*to = 0, 0u);
  free(up);
  free(lo);
  return n;
}

// The first bracket, by stamp, that is not before g.
static u32
bracket_at(const struct align *a, const struct facts *x, i64 g)
{
  u32 lo = 0, hi = x->nb;
  while(lo < hi) {
    u32 mid = (lo + hi) / 2;
    if(rel(a, x->sorted[mid].g) < g)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

// Is there a K that the PM timer and all frames between syncs i and j-1 allow,
// with these lines?
static bool
k_exists(const struct align *a, const struct facts *x, u32 i, u32 j, const struct line *l, u32 nl)
{
  i64 klo = -LIMIT, khi = LIMIT;
  for(u32 k = i; k < j && !a->far; k++) {
    i64 vlo = LIMIT, vhi = -LIMIT;
    lines_band(l, nl, x->s[k].end, &vlo, &vhi);
    i64 lo = pm_ns(x->s[k].pmt) + a->shift - vhi, hi = pm_ns(x->s[k].pmt + 1) + a->shift - x->s[k].hpet_ns;
    klo = lo > klo ? lo : klo;
    khi = hi < khi ? hi : khi;
  }
  for(u32 k = bracket_at(a, x, x->s[i].tsc); k < x->nb && rel(a, x->sorted[k].g) <= x->s[j - 1].end; k++) {
    const struct bracket *b = &x->sorted[k];
    i64 vlo = LIMIT, vhi = -LIMIT;
    lines_band(l, nl, rel(a, b->g), &vlo, &vhi);
    if(b->upper)
      khi = b->w + x->q - 1 - vlo < khi ? b->w + x->q - 1 - vlo : khi;
    else
      klo = b->w - vhi > klo ? b->w - vhi : klo;
  }
  return klo <= khi;
}

// Can syncs i..j-1 lie on one line?  If they can, so can any part of them.
static bool
one_run(const struct align *a, const struct facts *x, u32 i, u32 j)
{
  struct line *l = 0;
  if(j - i < 2)
    return true;
  u32 n = fit(x->s, i, j, &(struct slopes){0}, &l);
  bool ok = n && (x->sorted == 0 || k_exists(a, x, i, j, l, n));
  free(l);
  return ok;
}

// How many syncs does the longest run have that begins (back: ends) at this one?
static u32
run_length(const struct align *a, const struct facts *x, u32 at, bool back)
{
  u32 len = 1, rest = back ? at + 1 : x->n - at;
  for(u32 step = rest - 1; step > 0;) { // the whole rest first, then halve
    u32 try = len + step <= rest ? len + step : rest;
    if(try > len && (back ? one_run(a, x, at + 1 - try, at + 1) : one_run(a, x, at, at + try)))
      len = try;
    else
      step /= 2;
  }
  return len;
}

// Cut all syncs into the fewest runs, each as long as can be: cut[k] is the first
// sync after cut k.  From the front each cut lies as late as any solution has it,
// from the back as early.  Returns how many cuts.
static u32
find_cuts(const struct align *a, const struct facts *x, bool back, u32 *cut)
{
  u32 n = 0;
  if(!back) {
    for(u32 i = run_length(a, x, 0, false); i < x->n; i += run_length(a, x, i, false))
      cut[n++] = i;
    return n;
  }
  for(u32 i = x->n - run_length(a, x, x->n - 1, true); i > 0; i -= run_length(a, x, i - 1, true))
    cut[n++] = i;
  for(u32 i = 0; i < n / 2; i++) {
    u32 t = cut[i];
    cut[i] = cut[n - 1 - i];
    cut[n - 1 - i] = t;
  }
  return n;
}

// The rates that the longest run allows, though the clock may have stepped in it unseen.
static struct slopes
any_rate(const struct facts *x, const u32 *cut, u32 n)
{
  const struct usync *s = x->s, *e = &x->s[x->n - 1];
  i64 longest = 0;
  for(u32 k = 0; k <= n; k++) {
    const struct usync *from = &x->s[k ? cut[k - 1] : 0], *to = &x->s[(k < n ? cut[k] : x->n) - 1];
    if(to->tsc - from->tsc > longest) {
      longest = to->tsc - from->tsc;
      s = from;
      e = to;
    }
  }
  i64 v = e->hpet_ns - s->hpet_ns, least = v - MAXSTEP - 9 - (e->end - e->tsc);
  return (struct slopes){least > 1 ? least : 1, v + MAXSTEP + 9 + s->end - s->tsc, e->tsc - s->tsc};
}

// Syncs i..j-1 share their lines.
static void
add_stretch(struct align *a, const struct usync *s, u32 i, u32 j, const struct slopes *r)
{
  struct line *l;
  u32 n = fit(s, i, j, r, &l);
  if(n)
    add_segment(a, s[i].tsc, s[j - 1].end, l, n);
  else
    free(l);
}

static void
note_cuts(struct align *a, const struct usync *s, const u32 *early, const u32 *late, u32 n)
{
  i64 zero = s[0].hpet_ns - pm_ns(s[0].pmt); // to seconds since power-on, near enough for a note
  char *text = xasprintf("no one line fits the guest's clock, which a pause of the machine or an adjusted clock of the host can cause: %u runs of syncs, cut", n + 1);
  for(u32 k = 0; k < n && k < 4; k++) {
    i64 from = (s[early[k] - 1].hpet_ns - zero) / 1000000, to = (s[late[k]].hpet_ns - zero) / 1000000;
    char *more = xasprintf("%s%s between %lld.%03lld and %lld.%03lld s", text, k ? "," : "", from / 1000, from % 1000, to / 1000, to % 1000);
    free(text);
    text = more;
  }
  a->note = n <= 4 ? text : xasprintf("%s, and %u more", text, n - 4);
}

// Step 2: one set of lines for all syncs, or for each sync its own.
static void
fit_segments(struct align *a, const struct facts *x)
{
  u32 *early = xmalloc(x->n * sizeof *early), *late = xmalloc(x->n * sizeof *late), n = find_cuts(a, x, false, late);
  a->nrun = n + 1;
  if(n == 0)
    add_stretch(a, x->s, 0, x->n, &(struct slopes){0});
  else {
    struct slopes r = any_rate(x, late, n);
    for(u32 i = 0; i < x->n; i++)
      add_stretch(a, x->s, i, i + 1, &r);
    if(find_cuts(a, x, true, early) != n)
      memcpy(early, late, n * sizeof *early);
    note_cuts(a, x->s, early, late, n);
  }
  free(early);
  free(late);
}

// Add the periods of the PM timer that have passed since the first of k syncs.
static i64
unwrap_pm(const struct usync *u, u32 k, i64 hpet_ns, i64 pmt)
{
  if(k == 0)
    return pmt;
  i64 w = hpet_ns - u[0].hpet_ns + pm_ns(u[0].pmt);
  i128 turns = floordiv((i128)w * PMHZ / 1000000000 - pmt + (1 << 23), 1 << 24);
  return pmt + ((i64)(turns > 0 ? turns : 0) << 24);
}

// Extend the HPET's low word to a running count, with the TSC's help, and the PM
// timer with the HPET's.
static struct usync *
unwrap(const struct align *a, const struct sync *s, u32 n, u32 *nout)
{
  struct usync *u = xmalloc(n * sizeof *u);
  u32 k = 0;
  for(u32 i = 0; i < n; i++) {
    i64 tsc = rel(a, s[i].tsc);
    if(tsc >= LIMIT || tsc <= -LIMIT || (k && tsc <= u[k - 1].tsc))
      continue;
    i64 v = (i64)s[i].hpet;
    if(k) {
      i64 prev = u[k - 1].hpet_ns / 10;
      v = prev + (u32)(s[i].hpet - (u32)prev);
      if(a->khz) { // whole wraps that the TSC says have passed
        i128 expect = prev + (i128)(tsc - u[k - 1].tsc) * 100000 / a->khz;
        i128 wraps = floordiv(expect - v + (1ll << 31), 1ll << 32);
        if(wraps > 0 && wraps < 1 << 20)
          v += (i64)wraps << 32;
      }
    }
    u[k] = (struct usync){tsc, tsc + s[i].win, v * 10, unwrap_pm(u, k, v * 10, s[i].pmt & 0xffffff), s[i].rec};
    k++;
  }
  *nout = k;
  return u;
}

// The PM timer alone leaves open how often it had wrapped before the first sync: add
// the turns that the TSC says, which QEMU starts at power-on.  Its rate is what the
// syncs make it, and the host may have slewed its clock by a thousandth before.  More
// than one number of turns within that error, or none (a TSC that began elsewhere):
// the turn is not known.
static bool
add_turns(struct usync *u, u32 n, u64 tsc)
{
  const struct usync *e = &u[n - 1];
  i64 dg = e->tsc - u[0].tsc, dv = e->hpet_ns - u[0].hpet_ns;
  if(dv <= 0 || tsc > (u64)LIMIT)
    return false;
  i128 age = (i128)tsc * dv / dg, blur = (i128)(u[0].end - u[0].tsc + e->end - e->tsc) * dv / dg + 2 * MAXSTEP;
  if(age > 1ll << 56 || blur > dv) // nonsense, and products must not overflow
    return false;
  i128 ticks = age * PMHZ / 1000000000, err = (NEARBY + age / 1000 + age * blur / dv) * PMHZ / 1000000000;
  i128 turns = floordiv(ticks - u[0].pmt + (1 << (PMBITS - 1)), 1 << PMBITS);
  i128 off = ticks - u[0].pmt - turns * (1 << PMBITS);
  off = off < 0 ? -off : off;
  if(off > err || off + err >= 1 << PMBITS || turns < 0)
    return false;
  i64 wraps = (i64)floordiv(pm_ns(u[0].pmt + (i64)turns * (1 << PMBITS)) - u[0].hpet_ns, HPETNS);
  for(u32 i = 0; i < n; i++) {
    u[i].pmt += (i64)turns * (1 << PMBITS);
    u[i].hpet_ns += wraps > 0 ? wraps * HPETNS : 0;
  }
  return true;
}

// The band of V at g: its segment's, or the union of the two that it lies between.
static void
v_band(const struct align *a, i64 g, i64 *lo, i64 *hi)
{
  *lo = LIMIT;
  *hi = -LIMIT;
  u32 i = 0, n = a->nseg ? a->nseg - 1 : 0;
  while(i < n) { // the first segment that does not end before g, or the last
    u32 mid = (i + n) / 2;
    if(a->seg[mid].to < g)
      i = mid + 1;
    else
      n = mid;
  }
  if(a->nseg == 0)
    return;
  lines_band(a->seg[i].line, a->seg[i].nline, g, lo, hi);
  if(i > 0 && g < a->seg[i].from) {
    lines_band(a->seg[i - 1].line, a->seg[i - 1].nline, g, lo, hi);
    *lo -= a->slack;
    *hi += a->slack;
  }
}

// Step 3: K by the PM timer.  -EX_CONFLICT if two syncs disagree.
static int
k_by_pm(struct align *a, const struct usync *s, u32 n)
{
  u32 lo_rec = 0, hi_rec = 0;
  for(u32 i = 0; i < n; i++) {
    i64 vlo, vhi;
    v_band(a, s[i].end, &vlo, &vhi);
    i64 lo = pm_ns(s[i].pmt) - vhi, hi = pm_ns(s[i].pmt + 1) - s[i].hpet_ns;
    if(!a->pm || lo > a->pmlo) {
      a->pmlo = lo;
      lo_rec = s[i].rec;
    }
    if(!a->pm || hi < a->pmhi) {
      a->pmhi = hi;
      hi_rec = s[i].rec;
    }
    a->pm = true;
  }
  a->gap = a->pmlo - a->pmhi;
  if(a->pm && a->gap > 0)
    return seterr(EX_CONFLICT, "clocks contradict each other: the PM timer in event %u and in event %u, by %lld ns", lo_rec, hi_rec, a->gap);
  return 0;
}

// Step 4: K by frames.  -EX_CONFLICT if two brackets disagree.
static int
k_by_frames(struct align *a, const struct bracket *b, u32 n, u32 q)
{
  bool lo = false, hi = false;
  for(u32 i = 0; i < n; i++) {
    i64 vlo, vhi;
    v_band(a, rel(a, b[i].g), &vlo, &vhi);
    if(b[i].upper && (!hi || b[i].w + q - 1 - vlo < a->frhi)) {
      a->frhi = b[i].w + q - 1 - vlo;
      a->frhi_i = i;
      hi = true;
    }
    if(!b[i].upper && (!lo || b[i].w - vhi > a->frlo)) {
      a->frlo = b[i].w - vhi;
      a->frlo_i = i;
      lo = true;
    }
  }
  if(!lo)
    a->frlo = -LIMIT;
  if(!hi)
    a->frhi = LIMIT;
  a->fr = lo || hi;
  a->gap = lo && hi ? a->frlo - a->frhi : 0;
  if(a->gap > 0)
    return seterr(EX_CONFLICT, "clocks contradict each other: event %u before frame %u, event %u after frame %u, by %lld ns",
                  b[a->frhi_i].rec, b[a->frhi_i].frame + 1, b[a->frlo_i].rec, b[a->frlo_i].frame + 1, a->gap);
  return 0;
}

// By how much do the PM timer's K and the frames' K fail to meet?
static i64
k_apart(const struct align *a)
{
  return a->pmlo > a->frhi ? a->pmlo - a->frhi : a->frlo > a->pmhi ? a->frlo - a->pmhi
                                                                   : 0;
}

// n units of the PM timer's K: turns of its counter (exact for each n: half a
// nanosecond a turn would leave the band within the hour), or seconds of the date.
static i64
shift_ns(i64 n, bool seconds)
{
  return seconds ? n * 1000000000 : pm_ns(n * (1 << PMBITS));
}

// Move the PM timer's K by so many units that it meets the frames', if that can be,
// but for what a step may explain.
static bool
shift_pm(struct align *a, bool seconds)
{
  struct align old = *a;
  i64 unit = shift_ns(1, seconds);
  i64 mid = a->frlo == -LIMIT ? a->frhi : a->frhi == LIMIT ? a->frlo
                                                           : a->frlo + (a->frhi - a->frlo) / 2;
  a->shift = shift_ns((i64)floordiv((i128)mid - a->pmlo + unit / 2, unit), seconds);
  a->pmlo += a->shift;
  a->pmhi += a->shift;
  if(a->shift && k_apart(a) <= 2 * MAXSTEP)
    return true;
  *a = old;
  return false;
}

// Step 5: both measurements of K must overlap.
static int
join_k(struct align *a, const struct bracket *b)
{
  if(a->far && (a->frlo == -LIMIT || a->frhi == LIMIT))
    return seterr(EX_BADIN, "of a capture from elsewhere on the wire frames of both directions must be in the trace: they alone compare the clocks");
  a->pm &= !a->far;
  bool both = a->pm && a->fr;
  if(both && k_apart(a) > 2 * MAXSTEP && !shift_pm(a, true) && a->anyturn)
    shift_pm(a, false);
  a->gap = both ? k_apart(a) : 0;
  if(a->gap > 0) {
    bool early = a->pmlo > a->frhi;
    const struct bracket *x = &b[early ? a->frhi_i : a->frlo_i];
    return seterr(EX_CONFLICT, "clocks contradict each other: the PM timer, and event %u %s frame %u, by %lld ns: trace and capture of one run?",
                  x->rec, early ? "before" : "after", x->frame + 1, a->gap);
  }
  a->klo = a->pm ? a->pmlo : a->frlo;
  a->khi = a->pm ? a->pmhi : a->frhi;
  if(a->fr && a->frlo > a->klo)
    a->klo = a->frlo;
  if(a->fr && a->frhi < a->khi)
    a->khi = a->frhi;
  if(!a->pm && !a->fr)
    a->klo = a->khi = 0;
  if(a->klo == -LIMIT)
    a->klo = a->khi;
  if(a->khi == LIMIT)
    a->khi = a->klo;
  return 0;
}

// Step 1: under -icount the TSC is the virtual clock.  Does W(g) = g + shift satisfy everything?
static bool
is_identity(struct align *a, const struct sync *s, u32 n, const struct bracket *b, u32 nb, u32 q)
{
  if(a->far || n < 2 || s[0].tsc > (u64)LIMIT || s[n - 1].tsc > (u64)LIMIT)
    return false;
  i64 clo = -LIMIT, chi = LIMIT, shift = 0;
  for(u32 i = 0; i < n; i++) {
    i64 g = (i64)s[i].tsc, h = (i64)s[i].hpet * 10;
    if(s[i].tsc > (u64)LIMIT)
      return false;
    h += (i64)floordiv((i128)g - h - (clo == -LIMIT ? g - h : clo) + 21474836480ll, 42949672960ll) * 42949672960ll;
    clo = g - h - 9 > clo ? g - h - 9 : clo;
    chi = g + s[i].win - h < chi ? g + s[i].win - h : chi;
    i64 pm = (i64)(s[i].pmt & 0xffffff) + (i64)floordiv((i128)g * PMHZ / 1000000000 - (s[i].pmt & 0xffffff) + (1 << 23), 1 << 24) * (1 << 24);
    if(clo > chi || pm_ns(pm) > g + s[i].win || g > pm_ns(pm + 1))
      return false;
  }
  for(u32 i = 0; i < nb; i++) {
    if(b[i].g > (u64)LIMIT)
      return false;
    i64 g = (i64)b[i].g;
    if(i == 0)
      shift = (i64)floordiv((i128)b[0].w - g + 500000000, 1000000000) * 1000000000;
    if(b[i].upper ? g + shift > b[i].w + q - 1 : g + shift < b[i].w)
      return false;
  }
  a->method = CLK_IDENTITY;
  a->base = 0;
  a->klo = a->khi = a->shift = shift;
  struct line *l = xmalloc(sizeof *l);
  *l = (struct line){0, 0, 1, 1};
  add_segment(a, 0, LIMIT, l, 1);
  return true;
}

// Fallback: a line through frame brackets alone, K = 0.
static bool
by_frames_alone(struct align *a, const struct bracket *b, u32 n, u32 q)
{
  struct pt *up = xmalloc(n * sizeof *up), *lo = xmalloc(n * sizeof *lo);
  u32 nu = 0, nl = 0;
  for(u32 i = 0; i < n; i++) {
    struct pt p = {rel(a, b[i].g), b[i].w + (b[i].upper ? (i64)q - 1 : 0)};
    if(b[i].upper)
      up[nu++] = p;
    else
      lo[nl++] = p;
  }
  struct line *l = 0;
  u32 k = bounded(up, nu, lo, nl) ? corners(up, nu, lo, nl, &(struct slopes){0}, &l) : 0;
  free(up);
  free(lo);
  if(k == 0) {
    free(l);
    return false;
  }
  a->method = CLK_FRAMES;
  add_segment(a, -LIMIT, LIMIT, l, k);
  return true;
}

// Last resort: the TSC at its nominal rate, laid on one frame if there is one.
static void
by_rate(struct align *a, const struct bracket *b, u32 n)
{
  struct line *l = xmalloc(sizeof *l);
  *l = (struct line){0, 0, a->khz ? a->khz : 1, a->khz ? 1000000 : 1};
  add_segment(a, -LIMIT, LIMIT, l, 1);
  a->method = CLK_GUEST;
  if(n)
    a->klo = a->khi = b[0].w - line_lo(l, rel(a, b[0].g));
}

static int
bracket_cmp(const void *x, const void *y)
{
  const struct bracket *a = x, *b = y;
  return a->g < b->g ? -1 : a->g > b->g;
}

// Steps 2 to 5.
static int
anchor(struct align *a, const struct facts *x)
{
  a->pm = a->fr = false;
  drop_segments(a);
  fit_segments(a, x);
  int rc = k_by_pm(a, x->s, x->n);
  if(rc == 0)
    rc = k_by_frames(a, x->b, x->nb, x->q);
  return rc ? rc : join_k(a, x->b);
}

// A contradiction no greater than two pauses make may be a step that the syncs alone
// do not show: cut once more, by PM timer and frames too.  What then is left may be
// several pauses between two syncs: allow for one more there.  A contradiction that
// this does not mend stands.
static int
anchor_stepped(struct align *a, struct facts *x)
{
  int rc = anchor(a, x);
  if(rc == 0 || a->gap > 2 * MAXSTEP)
    return rc;
  x->sorted = xmalloc((x->nb + 1) * sizeof *x->sorted);
  if(x->nb) {
    memcpy(x->sorted, x->b, x->nb * sizeof *x->b);
    qsort(x->sorted, x->nb, sizeof *x->sorted, bracket_cmp);
  }
  rc = anchor(a, x);
  if(rc && a->nrun > 1 && a->gap <= 2 * MAXSTEP) {
    a->slack = MAXSTEP;
    rc = anchor(a, x);
    char *where = a->note;
    a->note = xasprintf("%s; more than once between two syncs: ±%s µs added there", where, us_str(MAXSTEP));
    free(where);
  }
  free(x->sorted);
  return rc;
}

// Find W for one boot.  s: n syncs in ring order; b: nb brackets from frames that
// were matched uniquely; q: ns per capture stamp; khz: nominal TSC rate, 0 unknown;
// base: a stamp near the others; far: the capture's clock runs as the guest's virtual
// one, but has a zero of its own, which only frames can tell.  0 or -EX_CONFLICT with
// both constraints named.
int
align_solve(struct align *a, const struct sync *s, u32 n, const struct bracket *b, u32 nb, u32 q, u32 khz, u64 base, bool far)
{
  memset(a, 0, sizeof *a);
  a->far = far;
  a->khz = khz;
  a->nsync = n;
  a->nbracket = nb;
  a->base = base;
  a->nrun = 1;
  if(is_identity(a, s, n, b, nb, q))
    return 0;
  a->base = n ? s[0].tsc : nb ? b[0].g
                              : base;
  struct facts x = {.b = b, .nb = nb, .q = q};
  struct usync *u = unwrap(a, s, n, &x.n);
  x.s = u;
  int rc = 0;
  if(x.n >= 2 && u[x.n - 1].tsc > u[0].end) {
    a->method = CLK_ANCHORED;
    a->anyturn = !add_turns(u, x.n, s[0].tsc);
    rc = anchor_stepped(a, &x);
    a->anyturn &= !a->fr; // frames tell the turn
  } else if(!by_frames_alone(a, b, nb, q))
    by_rate(a, b, nb);
  free(u);
  return rc;
}

void
align_free(struct align *a)
{
  drop_segments(a);
  memset(a, 0, sizeof *a);
}

i64
align_lo(const struct align *a, u64 g)
{
  i64 lo, hi;
  v_band(a, rel(a, g), &lo, &hi);
  return clamp((i128)lo + a->klo);
}

i64
align_hi(const struct align *a, u64 g)
{
  i64 lo, hi;
  v_band(a, rel(a, g), &lo, &hi);
  return clamp((i128)hi + a->khi);
}

i64
align_mid(const struct align *a, u64 g)
{
  i64 lo, hi;
  v_band(a, rel(a, g), &lo, &hi);
  i128 sum = (i128)lo + hi + a->klo + a->khi;
  return clamp(floordiv(sum, 2));
}

// Half the width of the band at g, rounded up.
i64
align_half(const struct align *a, u64 g)
{
  i64 lo, hi;
  v_band(a, rel(a, g), &lo, &hi);
  return clamp(((i128)hi - lo + a->khi - a->klo + 1) / 2);
}
