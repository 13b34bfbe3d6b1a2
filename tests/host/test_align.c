// Clock alignment and matching of tools/nettrace against runs with known truth.
//
// cc tests/host/test_align.c with tools/nettrace's align, decode, match, meta,
// out, pcapin, ring, session, input, tracefile; -lcmocka -lpcap.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "test_nettrace_gen.h"

#define SEEDS 250

// By how much does a record's true time lie outside its band, at most?
static i64
outside(const struct gen *g, const struct session *s, u32 *where)
{
  i64 worst = 0;
  for(u32 i = 0; i < s->b->nrec; i++) {
    const struct rec *r = &s->b->rec[i];
    if(r->slot == NOSLOT)
      continue;
    i64 w = g->truth[r->slot], lo = align_lo(&s->al, r->ts) - w, hi = w - align_hi(&s->al, r->ts);
    i64 out = (lo > hi ? lo : hi) - 1; // a stamp is a tick cut off
    if(out > worst) {
      worst = out;
      *where = i;
    }
  }
  return worst;
}

// Each record's true time lies in its band, which is not wider than limit.
static void
assert_truth(const struct gen *g, const struct session *s, i64 limit)
{
  u32 where = 0;
  i64 out = outside(g, s, &where);
  if(out)
    fail_msg("seed %llu, event %u: true time %lld is %lld ns outside the band", g->o.seed, where, g->truth[s->b->rec[where].slot], out);
  for(u32 i = 0; i < s->b->nrec; i++)
    if(s->b->rec[i].slot != NOSLOT && align_half(&s->al, s->b->rec[i].ts) > limit)
      fail_msg("seed %llu, event %u: known to +-%lld ns only", g->o.seed, i, align_half(&s->al, s->b->rec[i].ts));
}

static void
assert_matches(const struct gen *g, const struct session *s)
{
  for(u32 i = 0; i < s->cap.n; i++) {
    const struct frame *f = &s->cap.f[i];
    u32 slot = f->rec == NOREC ? ~0u : s->b->rec[f->rec].slot;
    if(f->rec != NOREC && slot != g->frame[i].slot && memcmp(g->frame[i].data + 12, "\x08\x06", 2))
      fail_msg("seed %llu: frame %u was matched with the wrong record", g->o.seed, i + 1);
    if(f->rec == NOREC && g->frame[i].slot != ~0u)
      fail_msg("seed %llu: frame %u was not matched", g->o.seed, i + 1);
  }
}

static void
test_anchored(void **state)
{
  (void)state;
  for(u64 seed = 1; seed <= SEEDS; seed++) {
    struct gen g;
    struct session s;
    gen_make(&g, (struct genopts){.seed = seed, .frames = 60, .dup = 20, .lose = 4});
    if(gen_session(&g, &s) != 0)
      fail_msg("seed %llu: %s", seed, errtext);
    assert_int_equal(s.al.method, CLK_ANCHORED);
    assert_true(s.al.pm && s.al.fr);
    assert_truth(&g, &s, 6000);
    assert_matches(&g, &s);
    session_close(&s);
    gen_free(&g);
  }
}

static void
test_frames_only(void **state)
{
  (void)state;
  for(u64 seed = 1; seed <= SEEDS; seed++) {
    struct gen g;
    struct session s;
    gen_make(&g, (struct genopts){.seed = seed, .frames = 60, .dup = 10});
    assert_int_equal(gen_session(&g, &s), 0);
    align_free(&s.al);
    assert_int_equal(align_solve(&s.al, 0, 0, s.bracket, s.nbracket, 1000, 0, 0, false), 0);
    assert_int_equal(s.al.method, CLK_FRAMES);
    assert_truth(&g, &s, 60000);
    session_close(&s);
    gen_free(&g);
  }
}

static void
test_identity(void **state)
{
  (void)state;
  for(u64 seed = 1; seed <= 50; seed++) {
    struct gen g;
    struct session s;
    gen_make(&g, (struct genopts){.seed = seed, .frames = 40, .identity = true});
    assert_int_equal(gen_session(&g, &s), 0);
    assert_int_equal(s.al.method, CLK_IDENTITY);
    assert_int_equal(align_half(&s.al, s.b->rec[0].ts), 0);
    assert_truth(&g, &s, 0);
    session_close(&s);
    gen_free(&g);
  }
}

// A whole second between the clocks (another time zone) is found and named.
static void
test_whole_seconds(void **state)
{
  (void)state;
  struct gen g;
  struct session s;
  gen_make(&g, (struct genopts){.seed = 5, .frames = 60});
  for(u32 i = 0; i < g.nframe; i++)
    g.frame[i].w += 18000000000000ll;
  assert_int_equal(gen_session(&g, &s), 0);
  assert_true(s.al.shift == 18000000000000ll);
  session_close(&s);
  gen_free(&g);
}

// The first clock_sync that was not overwritten lies many turns of the PM timer after
// power-on: the frames say how many.
static void
test_late(void **state)
{
  (void)state;
  for(u64 seed = 1; seed <= 50; seed++) {
    struct gen g;
    struct session s;
    gen_make(&g, (struct genopts){.seed = seed, .frames = 60, .late = (i64)seed * 97000000000ll});
    if(gen_session(&g, &s) != 0)
      fail_msg("seed %llu: %s", seed, errtext);
    assert_int_equal(s.al.method, CLK_ANCHORED);
    assert_int_equal(s.al.nrun, 1);
    assert_truth(&g, &s, 6000);
    session_close(&s);
    gen_free(&g);
  }
}

// The same without a frame: the TSC says the turn, from half a second to an hour after
// power-on.  Where the TSC began elsewhere, or after so long that its rate could mean
// either of two, the turn is not known, and is said not to be.
static void
test_turn(void **state)
{
  (void)state;
  static const struct {
    i64 late, born; // born: TSC ticks
    bool known;
  } tab[] = {{0, 0, true},
             {4400000000, 0, true},
             {13600000000, 0, true},
             {45000000000, 0, true},
             {600000000000, 0, true},
             {3600000000000, 0, true},
             {13600000000, 2700000000ll * 2, false},
             {36000000000000, 0, false}};
  for(u64 seed = 1; seed <= 20; seed++)
    for(u32 i = 0; i < sizeof tab / sizeof tab[0]; i++) {
      struct gen g;
      struct session s;
      gen_make(&g, (struct genopts){.seed = seed, .frames = 60, .late = tab[i].late, .born = tab[i].born});
      assert_int_equal(gen_session(&g, &s), 0);
      assert_false(s.al.anyturn);
      assert_truth(&g, &s, 6000);
      align_free(&s.al);
      assert_int_equal(align_solve(&s.al, s.sync, s.nsync, 0, 0, 1000, 2700000, 0, false), 0);
      if(s.al.anyturn == tab[i].known)
        fail_msg("seed %llu, case %u: turn %s", seed, i, s.al.anyturn ? "not known" : "taken for known");
      assert_true(session_noted(&s) == !tab[i].known);
      if(tab[i].known)
        assert_truth(&g, &s, 6000);
      session_close(&s);
      gen_free(&g);
    }
}

// A step of the TSC, as a stop of the machine makes it, gives two runs and a note.
static void
test_step(void **state)
{
  (void)state;
  for(u64 seed = 1; seed <= 50; seed++) {
    struct gen g;
    struct session s;
    gen_make(&g, (struct genopts){.seed = seed, .frames = 80, .step_at = 40, .syncs = 40});
    assert_int_equal(gen_session(&g, &s), 0);
    if(s.al.nrun != 2)
      fail_msg("seed %llu: %u runs", seed, s.al.nrun);
    assert_true(s.al.note != 0);
    assert_truth(&g, &s, 60000);
    session_close(&s);
    gen_free(&g);
  }
}

// One or two steps of 0.1 to 5 us, forward or back, at frames of the seed's choice.
static struct genopts
stepped(u64 seed)
{
  struct gen r = {.rng = seed * 7919};
  struct genopts o = {.seed = seed, .frames = 80, .syncs = 40, .lose = 2, .dup = 5};
  for(u32 k = 0; k < 1 + seed % 2; k++) {
    int ns = 100 + (int)gen_rand(&r, 4901);
    o.step[k].at = 1 + (int)gen_rand(&r, 79);
    o.step[k].ns = gen_rand(&r, 2) ? ns : -ns;
  }
  return o;
}

// Do both steps lie between the same two syncs?  What is between them has no bound.
static bool
same_gap(const struct gen *g, const struct session *s)
{
  if(g->stepped[1] == 0)
    return false;
  for(u32 i = 0; i < s->nsync; i++) {
    i64 w = g->truth[s->b->rec[s->sync[i].rec].slot];
    if((w > g->stepped[0]) != (w > g->stepped[1]))
      return false;
  }
  return true;
}

// Is it by frames or PM timer alone that the clock was found to step?
static bool
steady_by_syncs(const struct session *s)
{
  struct sync *t = calloc(s->nsync, sizeof *t);
  struct align a;
  memcpy(t, s->sync, s->nsync * sizeof *t);
  for(u32 i = 0; i < s->nsync; i++) // a PM timer that agrees with the HPET
    t[i].pmt = (u32)((i64)(t[i].hpet - t[0].hpet) * 3579545 / 100000000) + s->sync[0].pmt;
  bool steady = align_solve(&a, t, s->nsync, 0, 0, 1000, 2700000, 0, false) == 0 && a.nrun == 1;
  align_free(&a);
  free(t);
  return steady;
}

// The run is accepted and, if any step shows, the truth lies in the band; a step
// that contradicts nothing moves it by no more than there was in all.
static void
test_small_steps(void **state)
{
  (void)state;
  u32 seen = 0, byframes = 0;
  for(u64 seed = 1; seed <= 1000; seed++) {
    struct gen g;
    struct session s;
    u32 where = 0;
    struct genopts o = stepped(seed);
    gen_make(&g, o);
    if(gen_session(&g, &s) != 0)
      fail_msg("seed %llu: %s", seed, errtext);
    assert_true((s.al.nrun > 1) == (s.al.note != 0));
    i64 out = outside(&g, &s, &where), all = labs(o.step[0].ns) + labs(o.step[1].ns);
    if(s.al.nrun > 1 && !same_gap(&g, &s)) {
      assert_truth(&g, &s, 30000);
      seen++;
    } else if(out > all)
      fail_msg("seed %llu, event %u: %lld ns outside, the steps were %lld", seed, where, out, all);
    byframes += s.al.nrun > 1 && steady_by_syncs(&s);
    session_close(&s);
    gen_free(&g);
  }
  assert_true(seen > 900);   // a single step beside the first or last sync, and small ones, may not show
  assert_true(byframes > 0); // in some runs only the frames or the PM timer tell
}

// A frame that is 400 us off is no step, nor hidden by one.
static void
test_conflict_stepped(void **state)
{
  (void)state;
  for(u64 seed = 1; seed <= SEEDS; seed++) {
    struct gen g;
    struct session s;
    gen_make(&g, stepped(seed));
    assert_int_equal(gen_session(&g, &s), 0);
    u32 i = (u32)seed % s.nbracket;
    s.bracket[i].w += s.bracket[i].upper ? -400000 : 400000;
    align_free(&s.al);
    int rc = align_solve(&s.al, s.sync, s.nsync, s.bracket, s.nbracket, 1000, 2700000, 0, false);
    char frame[32];
    snprintf(frame, sizeof frame, "frame %u,", s.bracket[i].frame + 1);
    if(rc != -EX_CONFLICT || !strstr(errtext, frame))
      fail_msg("seed %llu: rc %d, \"%s\" does not name %s", seed, rc, errtext, frame);
    session_close(&s);
    gen_free(&g);
  }
}

// A bracket moved out of its place is refused, and both constraints are named.
static void
test_conflict(void **state)
{
  (void)state;
  u32 refused = 0;
  for(u64 seed = 1; seed <= SEEDS; seed++) {
    struct gen g;
    struct session s;
    gen_make(&g, (struct genopts){.seed = seed, .frames = 60});
    assert_int_equal(gen_session(&g, &s), 0);
    u32 i = (u32)seed % s.nbracket;
    s.bracket[i].w += s.bracket[i].upper ? -400000 : 400000;
    align_free(&s.al);
    int rc = align_solve(&s.al, s.sync, s.nsync, s.bracket, s.nbracket, 1000, 2700000, 0, false);
    char event[32], frame[32];
    snprintf(event, sizeof event, "event %u ", s.bracket[i].rec);
    snprintf(frame, sizeof frame, "frame %u,", s.bracket[i].frame + 1);
    if(rc != -EX_CONFLICT || !strstr(errtext, event) || !strstr(errtext, frame))
      fail_msg("seed %llu: rc %d, \"%s\" does not name %s %s", seed, rc, errtext, event, frame);
    refused++;
    session_close(&s);
    gen_free(&g);
  }
  assert_int_equal(refused, SEEDS);
}

// Trace and capture of different runs do not belong together.
static void
test_other_run(void **state)
{
  (void)state;
  struct gen g, h;
  struct session s;
  gen_make(&g, (struct genopts){.seed = 1, .frames = 40});
  gen_make(&h, (struct genopts){.seed = 1, .frames = 40});
  for(u32 i = 0; i < h.nframe; i++)
    g.frame[i].w += 723456789; // the same frames, at times of no whole second
  assert_int_equal(gen_session(&g, &s), -EX_CONFLICT);
  assert_non_null(strstr(errtext, "PM timer"));
  session_close(&s);
  gen_free(&g);
  gen_free(&h);
}

// The records that the frames of one direction were matched with rise.
static void
assert_rising(const struct session *s)
{
  u32 last[2] = {0, 0};
  for(u32 i = 0; i < s->cap.n; i++) {
    const struct frame *f = &s->cap.f[i];
    if(f->rec == NOREC)
      continue;
    assert_true(f->rec >= last[f->in]);
    last[f->in] = f->rec;
  }
}

// Two frames that changed places cannot both be right: order comes first.
static void
test_crossed(void **state)
{
  (void)state;
  for(u64 seed = 1; seed <= 20; seed++) {
    struct gen g;
    struct session s;
    gen_make(&g, (struct genopts){.seed = seed, .frames = 40});
    u32 a = 8, b = 20; // of one direction
    while(g.frame[b].len != g.frame[a].len)
      b++;
    struct genframe t = g.frame[a];
    memcpy(g.frame[a].data, g.frame[b].data, sizeof t.data);
    memcpy(g.frame[b].data, t.data, sizeof t.data);
    gen_session(&g, &s); // the clock may see the lie, too
    assert_rising(&s);
    session_close(&s);
    gen_free(&g);
  }
}

// Repeated frames of which the driver saw only the last: it is the last, and it
// does not bound the clock.
static void
test_repeats(void **state)
{
  (void)state;
  struct gen g;
  struct session s;
  gen_make(&g, (struct genopts){.seed = 1, .frames = 10});
  for(int i = 0; i < 4; i++)
    gen_rx(&g, true, 0, 0, 0, i < 3);
  assert_int_equal(gen_session(&g, &s), 0);
  assert_int_equal(s.count[UM_NODRIVER], 3);
  assert_true(s.cap.f[s.cap.n - 1].rec != NOREC && !s.cap.f[s.cap.n - 1].unique);
  session_close(&s);
  gen_free(&g);
}

// Without a good clock the order still says which of two equal frames it was.
static void
test_order_alone(void **state)
{
  (void)state;
  struct gen g;
  struct session s;
  gen_make(&g, (struct genopts){.seed = 1, .nosync = true});
  gen_rx(&g, true, 0, 0, 0, false);
  gen_rx(&g, false, TH_ACK, 1, 1, false);
  gen_rx(&g, true, 0, 0, 0, true);
  g.frame[g.nframe - 1].w = g.frame[g.nframe - 2].w;
  g.frame[g.nframe - 3].w = g.frame[g.nframe - 2].w;
  assert_int_equal(gen_session(&g, &s), 0);
  assert_true(s.cap.f[s.cap.n - 3].rec != NOREC);
  assert_true(s.cap.f[s.cap.n - 1].rec == NOREC);
  assert_rising(&s);
  session_close(&s);
  gen_free(&g);
}

static void
test_no_clock(void **state)
{
  (void)state;
  struct align a;
  assert_int_equal(align_solve(&a, 0, 0, 0, 0, 1000, 2000000, 1000, false), 0);
  assert_int_equal(a.method, CLK_GUEST);
  assert_true(align_mid(&a, 1000) == 0 && align_mid(&a, 3000) == 1000);
  align_free(&a);
}

// Nonsense from a corrupt file must not overflow.
static void
test_extreme(void **state)
{
  (void)state;
  struct sync s[] = {{0, 0, 0, 0, 0}, {~0ull, ~0u, ~0u, ~0u, 1}, {1ull << 63, 1, 2, 3, 2}, {(1ull << 63) - 1, ~0u, 0, ~0u, 3}};
  struct bracket b[] = {{~0ull, (1ll << 62), 0, 0, true}, {0, 0, 1, 1, false}, {1ull << 62, 1, 2, 2, true}};
  for(u32 i = 0; i < 4; i++)
    for(u32 n = 0; i + n <= 4; n++)
      for(u32 k = 0; k <= 3; k++) {
        struct align a;
        align_solve(&a, s + i, n, b, k, 1000, 1, ~0ull, false);
        align_half(&a, 0);
        align_half(&a, ~0ull);
        align_mid(&a, 1ull << 63);
        align_free(&a);
      }
}

// A PM timer that had run for longer than the TSC: no identity, and no overflow.
static void
test_pm_ahead(void **state)
{
  (void)state;
  struct sync s[] = {{1000, 100, 0, 0xffff00, 0}, {2000, 100, 37, 0xffff10, 1}};
  struct align a;
  align_solve(&a, s, 2, 0, 0, 1000, 2700000, 0, false);
  assert_int_not_equal(a.method, CLK_IDENTITY);
  align_free(&a);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_anchored),
    cmocka_unit_test(test_frames_only),
    cmocka_unit_test(test_identity),
    cmocka_unit_test(test_whole_seconds),
    cmocka_unit_test(test_late),
    cmocka_unit_test(test_turn),
    cmocka_unit_test(test_step),
    cmocka_unit_test(test_small_steps),
    cmocka_unit_test(test_conflict_stepped),
    cmocka_unit_test(test_conflict),
    cmocka_unit_test(test_other_run),
    cmocka_unit_test(test_crossed),
    cmocka_unit_test(test_repeats),
    cmocka_unit_test(test_order_alone),
    cmocka_unit_test(test_no_clock),
    cmocka_unit_test(test_extreme),
    cmocka_unit_test(test_pm_ahead),
  };
  return cmocka_run_group_tests(tests, 0, 0);
}
