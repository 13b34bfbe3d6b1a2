// The clock against known truth: 1,000 made-up runs for each method.
//
// Each run draws its own mix: stamps of 1 us or 1 ns, frames repeated, lost on
// either side, a capture in another time zone, a late start, few anchors.  The
// time at which each event really happened must lie in the band that is printed,
// and the rows must not contradict cause and effect.  SIM=10000 plays more runs.
//
// Built with all of tools/nettrace but main.c; -lcmocka -lpcap.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <time.h>
#include "test_nettrace_gen.h"

static u64
runs(void)
{
  const char *sim = getenv("SIM");
  return sim && atoll(sim) > 0 ? (u64)atoll(sim) : 1000;
}

// What the seed draws.
static struct genopts
mix(u64 seed)
{
  struct gen r = {.rng = seed * 104729 + 7};
  struct genopts o = {.seed = seed, .frames = 20};
  for(int i = 0; i < 3; i++) // the first numbers of neighbours are alike
    gen_rand(&r, 2);
  o.ns = gen_rand(&r, 2);
  o.dup = gen_rand(&r, 2) ? (int)gen_rand(&r, 30) : 0;
  o.lose = gen_rand(&r, 2) ? (int)gen_rand(&r, 10) : 0;
  o.miss = gen_rand(&r, 2) ? (int)gen_rand(&r, 10) : 0;
  o.zone = gen_rand(&r, 4) ? 0 : ((i64)gen_rand(&r, 25) - 12) * 3600000000000ll + (gen_rand(&r, 2) ? 50000000000000ll : 1790000000000000000ll);
  o.syncs = gen_rand(&r, 3) ? 10 : 1 + (int)gen_rand(&r, 60);
  o.late = gen_rand(&r, 4) ? 0 : (i64)gen_rand(&r, 4000000) * 1000;
  return o;
}

// The true time of each record lies in its band.
static void
assert_truth(const struct gen *g, const struct session *s)
{
  for(u32 i = 0; i < s->b->nrec; i++) {
    const struct rec *r = &s->b->rec[i];
    if(r->slot == NOSLOT)
      continue;
    i64 w = g->truth[r->slot] + g->o.zone, lo = align_lo(&s->al, r->ts), hi = align_hi(&s->al, r->ts);
    if(w < lo - 1 || w > hi + 1) // a stamp is a tick cut off
      fail_msg("seed %llu, event %u: true time %lld, band %lld to %lld", g->o.seed, i, w, lo, hi);
    if(align_half(&s->al, r->ts) < (hi - lo) / 2)
      fail_msg("seed %llu, event %u: printed +-%lld, the band is wider", g->o.seed, i, align_half(&s->al, r->ts));
  }
}

// Rows keep both orders; a frame stands behind its e1000_tx, before its kick or
// e1000_rx; times never go back.
static void
assert_order(const struct gen *g, struct session *s)
{
  timeline_build(s);
  u32 *at = calloc(s->b->nrec + 1, sizeof *at), rec = 0, frame = 0;
  for(u32 i = 0; i < s->nitem; i++) {
    assert_int_equal(s->item[i].idx, s->item[i].frame ? frame++ : rec++);
    assert_true(i == 0 || s->item[i].w >= s->item[i - 1].w);
    if(!s->item[i].frame)
      at[s->item[i].idx] = i;
  }
  assert_int_equal(rec, s->b->nrec);
  assert_int_equal(frame, s->cap.n);
  for(u32 i = 0; i < s->nitem; i++) {
    const struct frame *f = &s->cap.f[s->item[i].idx];
    if(!s->item[i].frame || f->rec == NOREC)
      continue;
    bool wrong = f->in ? at[f->rec] < i : at[f->rec] > i || (f->kick != NOREC && at[f->kick] < i);
    if(wrong)
      fail_msg("seed %llu: frame %u stands on the wrong side of its event", g->o.seed, s->item[i].idx + 1);
  }
  assert_int_equal(s->crossed, 0);
  free(at);
}

// A frame's row and those of its record and its kick are as far apart as they were, but
// for what is printed between wire and kernel.  That a stamp is cut must show in some.
static u32
assert_wire(const struct gen *g, const struct session *s)
{
  i64 *at = calloc(s->b->nrec + 1, sizeof *at);
  u32 cut = 0;
  for(u32 i = 0; i < s->nitem; i++)
    if(!s->item[i].frame)
      at[s->item[i].idx] = s->item[i].w;
  for(u32 i = 0; i < s->nitem; i++) {
    const struct frame *f = &s->cap.f[s->item[i].idx];
    if(!s->item[i].frame || !f->unique)
      continue;
    const u32 rec[2] = {f->rec, f->kick == NOREC ? f->rec : f->kick};
    for(u32 k = 0; k < 2; k++) {
      i64 shown = at[rec[k]] - s->item[i].w, half = align_half(&s->al, s->b->rec[rec[k]].ts);
      i64 off = llabs(shown - (g->truth[s->b->rec[rec[k]].slot] - g->frame[s->item[i].idx].sent));
      if(off > wire_band(s, half) + 1 || (k == 0 && off > s->wire + 1)) // a guest's stamp is a tick cut off
        fail_msg("seed %llu: frame %u is %lld ns from where it is drawn, printed +-%lld", g->o.seed, s->item[i].idx + 1, off, s->wire);
      cut += off > half + 1;
    }
  }
  free(at);
  return cut;
}

static u32 cuts; // differences that only the stamps' grain explains

static void
play(const struct genopts o, enum method want)
{
  struct gen g;
  struct session s;
  gen_make(&g, o);
  if(gen_session(&g, &s) != 0)
    fail_msg("seed %llu: %s", o.seed, errtext);
  if(s.al.method != want)
    fail_msg("seed %llu: method %d", o.seed, s.al.method);
  assert_truth(&g, &s);
  assert_order(&g, &s);
  cuts += assert_wire(&g, &s);
  session_close(&s);
  gen_free(&g);
}

static void
test_identity(void **state)
{
  (void)state;
  cuts = 0;
  for(u64 seed = 1; seed <= runs(); seed++) {
    struct genopts o = mix(seed);
    o.identity = true;
    play(o, CLK_IDENTITY);
  }
  assert_true(cuts > runs());
}

static void
test_anchored(void **state)
{
  (void)state;
  for(u64 seed = 1; seed <= runs(); seed++)
    play(mix(seed), CLK_ANCHORED);
}

static void
test_frames_only(void **state)
{
  (void)state;
  for(u64 seed = 1; seed <= runs(); seed++) {
    struct genopts o = mix(seed);
    o.nosync = true;
    play(o, CLK_FRAMES);
  }
}

// A capture from elsewhere on the wire, whose clock has a zero of its own.
static void
test_far(void **state)
{
  (void)state;
  for(u64 seed = 1; seed <= runs(); seed++) {
    struct gen g;
    struct session s;
    struct genopts o = mix(seed);
    o.far = true;
    o.identity = seed % 4 == 0; // the TSC is a virtual clock, but not the capture's
    o.zone = (i64)(seed * 7777777777ull);
    gen_make(&g, o);
    if(gen_session(&g, &s) != 0)
      fail_msg("seed %llu: %s", o.seed, errtext);
    assert_int_equal(s.al.method, CLK_ANCHORED);
    assert_truth(&g, &s);
    session_close(&s);
    gen_free(&g);
  }
}

static clock_t
ticks_for(struct genopts o)
{
  struct gen g;
  struct session s;
  gen_make(&g, o);
  clock_t begun = clock();
  assert_int_equal(gen_session(&g, &s), 0);
  begun = clock() - begun;
  assert_int_equal(s.nmatch, g.nframe);
  session_close(&s);
  gen_free(&g);
  return begun;
}

// 20,000 frames with the same bytes are joined in the time that 20,000 different ones take,
// or little more: each with each would be a hundred times that.
static void
test_identical_frames(void **state)
{
  (void)state;
  for(int far = 0; far < 2; far++) {
    struct genopts o = {.seed = 3, .frames = 20000, .far = far};
    clock_t different = ticks_for(o);
    o.dup = 100;
    clock_t same = ticks_for(o);
    if(same > 4 * different)
      fail_msg("%s: %ld ticks of the CPU, %ld for different ones", far ? "from elsewhere" : "its own", (long)same, (long)different);
  }
}

// Two boots in one file, the capture of either: the right one, and its truth.
static void
test_reboot(void **state)
{
  (void)state;
  for(u64 seed = 1; seed <= runs() / 10; seed++) {
    struct gen part[2];
    struct session s;
    u32 which = seed & 1;
    for(u32 i = 0; i < 2; i++) {
      struct genopts o = mix(seed * 2 + i);
      o.zone = 0;
      gen_make(&part[i], o);
    }
    struct gen both = part[which], all = {0};
    gen_bytes(&all, part[0].trace, part[0].len);
    gen_bytes(&all, part[1].trace, part[1].len);
    both.trace = all.trace;
    both.len = all.len;
    if(gen_session(&both, &s) != 0)
      fail_msg("seed %llu: %s", seed, errtext);
    assert_int_equal(s.bootno, which);
    assert_truth(&part[which], &s);
    assert_order(&part[which], &s);
    session_close(&s);
    free(all.trace);
    gen_free(&part[0]);
    gen_free(&part[1]);
  }
}

// Pauses: the TSC jumps against the clock that stamps the frames, once or twice, with
// all else that a run may have.  What the clock may be between two syncs that hold a
// jump is said, and the truth is in it; the rows keep their order.
static void
test_pauses(void **state)
{
  (void)state;
  for(u64 seed = 1; seed <= runs(); seed++) {
    struct genopts o = mix(seed);
    o.frames = 80;
    o.syncs = 50;
    for(u32 k = 0; k < 1 + seed % 2; k++) {
      o.step[k].at = (int)(20 + 40 * k + seed % 10); // apart, so that syncs lie between them
      o.step[k].ns = (int)(6000 + seed * 7919 % 60000) * (seed % 3 == 2 ? -1 : 1);
    }
    struct gen g;
    struct session s;
    gen_make(&g, o);
    if(gen_session(&g, &s) != 0)
      fail_msg("seed %llu: %s", seed, errtext);
    if(s.al.nrun != 2 + seed % 2)
      fail_msg("seed %llu: %u runs, %llu pauses", seed, s.al.nrun, 1 + seed % 2);
    assert_true(session_noted(&s)); // for --strict a finding
    assert_truth(&g, &s);
    assert_order(&g, &s);
    session_close(&s);
    gen_free(&g);
  }
}

// Take some stretches of slots out of a trace, as a ring that ran over does; what is
// known about the rest moves along.
static void
lose_slots(struct gen *g)
{
  size_t head = 128 + ((sizeof gen_meta - 1 + 63) & ~63ul);
  u32 *now = calloc(g->nslot, sizeof *now), kept = 0, gone = 0;
  for(u32 i = 0; i < g->nslot; i++) {
    if(gone == 0 && gen_rand(g, 40) == 0)
      gone = 1 + gen_rand(g, 12);
    now[i] = gone && i ? ~0u : kept;
    if(now[i] == kept) {
      memmove(g->trace + head + kept * 64ul, g->trace + head + i * 64ul, 64);
      g->truth[kept++] = g->truth[i];
    }
    gone -= gone > 0;
  }
  for(u32 i = 0; i < g->nframe; i++)
    g->frame[i].slot = g->frame[i].slot == ~0u ? ~0u : now[g->frame[i].slot];
  g->len = head + kept * 64ul;
  g->nslot = kept;
  free(now);
}

// Records lost: the truth is in the band of those that are left, no frame is given to a
// record that is not its own, and the rows keep their order.
static void
test_records_lost(void **state)
{
  (void)state;
  u64 lost = 0;
  for(u64 seed = 1; seed <= runs(); seed++) {
    struct gen g;
    struct session s;
    struct genopts o = mix(seed);
    o.frames = 60;
    gen_make(&g, o);
    lose_slots(&g);
    if(gen_session(&g, &s) != 0)
      fail_msg("seed %llu: %s", seed, errtext);
    lost += s.b->lost;
    assert_truth(&g, &s);
    assert_order(&g, &s);
    for(u32 i = 0; i < s.cap.n; i++) {
      const struct frame *f = &s.cap.f[i];
      if(f->unique && s.b->rec[f->rec].slot != g.frame[i].slot)
        fail_msg("seed %llu: frame %u is not the record's it was given to", seed, i + 1);
    }
    session_close(&s);
    gen_free(&g);
  }
  assert_true(lost > runs());
}

// The trace of one run, the frames of it at the times of another: refused, both named.
static void
test_other_run(void **state)
{
  (void)state;
  for(u64 seed = 1; seed <= runs() / 10; seed++) {
    struct gen g;
    struct session s;
    gen_make(&g, mix(seed));
    for(u32 i = 0; i < g.nframe; i++)
      g.frame[i].w += 100000000 + (i64)(seed * 7919 % 700) * 1000000; // of no whole second
    int rc = gen_session(&g, &s);
    bool turns = rc == 0 && s.al.shift % 1000000000; // moved by turns of the PM timer instead?
    if(rc != -EX_CONFLICT && !turns)
      fail_msg("seed %llu: exit %d, shift %lld", seed, -rc, s.al.shift);
    if(rc && (!strstr(errtext, "event") || !strstr(errtext, "frame") || !strstr(errtext, "PM timer")))
      fail_msg("seed %llu: \"%s\" does not name both", seed, errtext);
    session_close(&s);
    gen_free(&g);
  }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_identity),
    cmocka_unit_test(test_anchored),
    cmocka_unit_test(test_frames_only),
    cmocka_unit_test(test_far),
    cmocka_unit_test(test_identical_frames),
    cmocka_unit_test(test_reboot),
    cmocka_unit_test(test_pauses),
    cmocka_unit_test(test_records_lost),
    cmocka_unit_test(test_other_run),
  };
  return cmocka_run_group_tests(tests, 0, 0);
}
