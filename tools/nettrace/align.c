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
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define LIMIT       (1ll << 60)  // beyond this a stamp is nonsense
#define PMHZ        3579545ll    // ticks of the PM timer in a second
#define PMPERIOD_NS 4687022333ll // 2^24 of them, rounded down

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
  return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
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

static i64
line_hi(const struct line *l, i64 g)
{
  return clamp(l->v0 - floordiv(-(i128)l->dv * (g - l->g0), l->dg));
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

// All corner lines between upper and lower bounds; sorts and reduces both
// arrays.  Returns how many; 0 = no line fits.  *to is the caller's to free.
static u32
corners(struct pt *up, u32 nu, struct pt *lo, u32 nl, struct line **to)
{
  nu = hull(up, nu, 1);
  nl = hull(lo, nl, -1);
  u32 n = 0, cap = 0;
  *to = 0;
  for(u32 i = 0; i < nu + nl; i++)
    for(u32 k = i + 1; k < nu + nl; k++) {
      struct pt a = i < nu ? up[i] : lo[i - nu], b = k < nu ? up[k] : lo[k - nu];
      if(a.g == b.g)
        continue;
      if(a.g > b.g) {
        struct pt t = a;
        a = b;
        b = t;
      }
      struct line l = {a.g, a.v, b.g - a.g, b.v - a.v};
      if(l.dv <= 0 || !line_fits(&l, up, nu, lo, nl))
        continue;
      *to = xgrow(*to, n, &cap, sizeof **to);
      (*to)[n++] = l;
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

// A sync with its counters unwrapped.
struct usync {
  i64 tsc, end, hpet_ns;
  u32 pmt, rec;
};

// Lines through syncs i..j-1; 0 if none fits.
static u32
fit(const struct usync *s, u32 i, u32 j, struct line **to)
{
  struct pt *up = xmalloc((j - i) * sizeof *up), *lo = xmalloc((j - i) * sizeof *lo);
  for(u32 k = i; k < j; k++) {
    up[k - i] = (struct pt){s[k].tsc, s[k].hpet_ns + 9};
    lo[k - i] = (struct pt){s[k].end, s[k].hpet_ns};
  }
  u32 n = bounded(up, j - i, lo, j - i) ? corners(up, j - i, lo, j - i, to) : (*to = 0, 0);
  free(up);
  free(lo);
  return n;
}

// Step 2: cover the syncs with the longest runs that one set of lines fits.
static void
fit_segments(struct align *a, const struct usync *s, u32 n)
{
  for(u32 i = 0; i + 1 < n;) {
    struct line *best = 0, *l;
    u32 nbest = 0, j = i, step = n - i;
    while(step > 0) { // try the whole rest first, then halve
      u32 k = j + step <= n ? j + step : n;
      u32 nl = k > i + 1 && k > j ? fit(s, i, k, &l) : (l = 0, 0);
      if(nl) {
        free(best);
        best = l;
        nbest = nl;
        j = k;
        if(j == n)
          break;
      } else {
        free(l);
        step /= 2;
      }
    }
    if(nbest == 0) {
      i++; // fits no neighbour: the bands around it cover it
      continue;
    }
    add_segment(a, s[i].tsc, s[j - 1].end, best, nbest);
    i = j;
  }
}

// Extend the HPET's low word to a running count, with the TSC's help.
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
    u[k++] = (struct usync){tsc, tsc + s[i].win, v * 10, s[i].pmt & 0xffffff, s[i].rec};
  }
  *nout = k;
  return u;
}

static void
v_band(const struct align *a, i64 g, i64 *lo, i64 *hi)
{
  *lo = LIMIT;
  *hi = -LIMIT;
  for(u32 i = 0; i < a->nseg; i++) {
    const struct segment *s = &a->seg[i];
    bool left = i == 0 || g > a->seg[i - 1].to;              // not inside an earlier run
    bool right = i + 1 == a->nseg || g < a->seg[i + 1].from; // nor a later one
    if(!left || !right)
      continue;
    for(u32 k = 0; k < s->nline; k++) {
      i64 l = line_lo(&s->line[k], g), h = line_hi(&s->line[k], g);
      *lo = l < *lo ? l : *lo;
      *hi = h > *hi ? h : *hi;
    }
  }
}

static i64
pm_ns(i64 ticks)
{
  return clamp(floordiv((i128)ticks * 1000000000, PMHZ));
}

// Step 3: K by the PM timer.  -EX_CONFLICT if two syncs disagree.
static int
k_by_pm(struct align *a, const struct usync *s, u32 n)
{
  u32 lo_rec = 0, hi_rec = 0;
  for(u32 i = 0; i < n; i++) {
    i64 vlo, vhi;
    v_band(a, s[i].end, &vlo, &vhi);
    i64 pmt = s[i].pmt;
    if(a->pm) { // as many periods later as the first K says
      i64 w = s[i].hpet_ns + a->pmlo;
      i128 turns = floordiv((i128)w * PMHZ / 1000000000 - pmt + (1 << 23), 1 << 24);
      pmt += (i64)(turns > 0 ? turns : 0) << 24;
    }
    i64 lo = pm_ns(pmt) - vhi, hi = pm_ns(pmt + 1) - s[i].hpet_ns;
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
  if(a->pm && a->pmlo > a->pmhi)
    return seterr(EX_CONFLICT, "clocks contradict each other: the PM timer in event %u and in event %u, by %lld ns", lo_rec, hi_rec, a->pmlo - a->pmhi);
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
  if(lo && hi && a->frlo > a->frhi)
    return seterr(EX_CONFLICT, "clocks contradict each other: event %u before frame %u, event %u after frame %u, by %lld ns",
                  b[a->frhi_i].rec, b[a->frhi_i].frame + 1, b[a->frlo_i].rec, b[a->frlo_i].frame + 1, a->frlo - a->frhi);
  return 0;
}

// Move the PM timer's K by a multiple of unit so that it meets the frames', if that can be.
static bool
shift_pm(struct align *a, i64 unit)
{
  i64 mid = a->frlo == -LIMIT ? a->frhi : a->frhi == LIMIT ? a->frlo
                                                           : a->frlo + (a->frhi - a->frlo) / 2;
  i64 n = (i64)floordiv((i128)mid - a->pmlo + unit / 2, unit);
  i64 lo = a->pmlo + n * unit, hi = a->pmhi + n * unit;
  if(n == 0 || lo > a->frhi || hi < a->frlo)
    return false;
  a->pmlo = lo;
  a->pmhi = hi;
  a->shift = n * unit;
  return true;
}

// Step 5: both measurements of K must overlap.
static int
join_k(struct align *a, const struct bracket *b)
{
  bool apart = a->pm && a->fr && (a->pmlo > a->frhi || a->pmhi < a->frlo);
  if(apart && !shift_pm(a, 1000000000) && !shift_pm(a, PMPERIOD_NS)) {
    bool early = a->pmlo > a->frhi;
    const struct bracket *x = &b[early ? a->frhi_i : a->frlo_i];
    return seterr(EX_CONFLICT, "clocks contradict each other: the PM timer, and event %u %s frame %u, by %lld ns: trace and capture of one run?",
                  x->rec, early ? "before" : "after", x->frame + 1, early ? a->pmlo - a->frhi : a->frlo - a->pmhi);
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
  if(n < 2 || s[0].tsc > (u64)LIMIT || s[n - 1].tsc > (u64)LIMIT)
    return false;
  i64 clo = -LIMIT, chi = LIMIT, shift = 0;
  for(u32 i = 0; i < n; i++) {
    i64 g = (i64)s[i].tsc, h = (i64)s[i].hpet * 10;
    if(s[i].tsc > (u64)LIMIT)
      return false;
    h += (i64)floordiv((i128)g - h - (clo == -LIMIT ? g - h : clo) + 21474836480ll, 42949672960ll) * 42949672960ll;
    clo = g - h - 9 > clo ? g - h - 9 : clo;
    chi = g + s[i].win - h < chi ? g + s[i].win - h : chi;
    i64 pm = (i64)(s[i].pmt & 0xffffff) + ((i64)floordiv((i128)g * PMHZ / 1000000000 - (s[i].pmt & 0xffffff) + (1 << 23), 1 << 24) << 24);
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
  u32 k = bounded(up, nu, lo, nl) ? corners(up, nu, lo, nl, &l) : 0;
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

// Find W for one boot.  s: n syncs in ring order; b: nb brackets from frames that
// were matched uniquely; q: ns per capture stamp; khz: nominal TSC rate, 0 unknown;
// base: a stamp near the others.  0 or -EX_CONFLICT with both constraints named.
int
align_solve(struct align *a, const struct sync *s, u32 n, const struct bracket *b, u32 nb, u32 q, u32 khz, u64 base)
{
  memset(a, 0, sizeof *a);
  a->khz = khz;
  a->nsync = n;
  a->nbracket = nb;
  a->base = base;
  if(is_identity(a, s, n, b, nb, q))
    return 0;
  a->base = n ? s[0].tsc : nb ? b[0].g
                              : base;
  u32 nu;
  struct usync *u = unwrap(a, s, n, &nu);
  if(nu >= 2)
    fit_segments(a, u, nu);
  int rc = 0;
  if(a->nseg) {
    a->method = CLK_ANCHORED;
    rc = k_by_pm(a, u, nu);
    if(rc == 0)
      rc = k_by_frames(a, b, nb, q);
    if(rc == 0)
      rc = join_k(a, b);
    if(a->nseg > 1)
      a->note = xasprintf("the guest's clock stepped: %u runs of syncs", a->nseg);
  } else if(!by_frames_alone(a, b, nb, q))
    by_rate(a, b, nb);
  free(u);
  return rc;
}

void
align_free(struct align *a)
{
  for(u32 i = 0; i < a->nseg; i++)
    free(a->seg[i].line);
  free(a->seg);
  free(a->note);
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
