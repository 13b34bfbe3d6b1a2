// The host tool's readers: metadata, records, fields, saved files, the ring in RAM.
//
// Built from tests/host/test_nettrace.c and tools/nettrace's align, decode, input,
// match, meta, out, pcapin, ring, session, tracefile; -lcmocka -lpcap.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <unistd.h>
#include "test_nettrace_gen.h"

// ---- metadata -------------------------------------------------------------

static const struct {
  const char *text, *says;
} bad_meta[] = {
  {"", "line 1"},
  {"nettrace-metadata 2\nend\n", "line 1"},
  {"nettrace-metadata 1\n", "line 2: no \"end\""},
  {"nettrace-metadata 1\r\nend\r\n", "text mode"},
  {"nettrace-metadata 1\nname A\nend\n", "line 2: a set"},
  {"nettrace-metadata 1\nname A x B\nend\n", "line 2: bad value"},
  {"nettrace-metadata 1\nname A 1 B\nbits A 1 C\nend\n", "line 3: a set is either"},
  {"nettrace-metadata 1\nevent 1 a\nend\n", "line 2: an id"},
  {"nettrace-metadata 1\nevent 4096 a META\nend\n", "line 2: bad event id"},
  {"nettrace-metadata 1\nevent -1 a META\nend\n", "line 2: bad event id"},
  {"nettrace-metadata 1\nevent 1 a META\nevent 1 b META\nend\n", "line 3: this event id"},
  {"nettrace-metadata 1\nevent 1 a META\nevent 2 a META\nend\n", "line 3: this event name"},
  {"nettrace-metadata 1\n\tu8 a num\nend\n", "line 2: a field without"},
  {"nettrace-metadata 1\nevent 1 a META\n\tu9 a num\nend\n", "line 3: unknown type"},
  {"nettrace-metadata 1\nevent 1 a META\n\tu8 a\nend\n", "line 3: a type"},
  {"nettrace-metadata 1\nevent 1 a META\n\ttext a text\n\tu8 b num\nend\n", "line 4: a field behind"},
  {"nettrace-metadata 1\nevent 1 a META\n\tname16 a text\n\tname16 b text\n\tu64 c num\n\tu8 d num\nend\n", "line 6: the field lies beyond"},
};

static void
test_bad_meta(void **state)
{
  (void)state;
  for(u32 i = 0; i < sizeof bad_meta / sizeof bad_meta[0]; i++) {
    struct meta m;
    errtext[0] = 0;
    assert_int_equal(meta_parse(&m, bad_meta[i].text, (u32)strlen(bad_meta[i].text), "F"), -EX_BADIN);
    if(!strstr(errtext, bad_meta[i].says))
      fail_msg("\"%s\" does not say \"%s\"", errtext, bad_meta[i].says);
    meta_free(&m);
  }
}

static void
test_good_meta(void **state)
{
  (void)state;
  struct meta m;
  assert_int_equal(meta_parse(&m, gen_meta, sizeof gen_meta - 1, "F"), 0);
  const struct event *e = meta_event(&m, "tcp_state");
  assert_non_null(e);
  assert_int_equal(e->id, GEN_STATE);
  assert_int_equal(e->stage, ST_STACK);
  assert_int_equal(event_field(e, "from")->off, 12);
  assert_string_equal(set_name(event_field(e, "to")->set, 3), "SYN_RECEIVED");
  assert_null(set_name(event_field(e, "to")->set, 77));
  assert_int_equal(event_field(meta_event(&m, "odd"), "c")->unit, U_OTHER);
  assert_null(event_field(e, "nothing"));
  u64 v;
  assert_true(field_parse(event_field(e, "to"), "SYN-RECEIVED", &v) && v == 3);
  assert_true(field_parse(event_field(e, "laddr"), "10.0.2.15", &v) && v == GEN_GUEST);
  assert_false(field_parse(event_field(e, "to"), "NOSUCH", &v));
  meta_free(&m);
}

// ---- records and fields ---------------------------------------------------

static void
assert_field(const struct boot *b, const struct rec *r, const char *name, const char *want)
{
  u8 buf[192];
  char got[800];
  u32 len;
  const u8 *p = rec_payload(b, r, buf, &len);
  field_str(got, sizeof got, event_field(rec_event(b, r), name), p, len);
  assert_string_equal(got, want);
}

static void
test_fields(void **state)
{
  (void)state;
  struct gen g;
  struct trace t;
  gen_make(&g, (struct genopts){.seed = 1});
  u8 odd[40] = {0xfe, 0xff, 0xfd, 0xff, 0xff, 0xff, 0x34, 0x12, 'a', 0x1b, '[', '2', 'J', 0, 'x'};
  gen_emit(&g, g.w + 1000000, GEN_ODD, 9, odd, 24);
  gen_emit(&g, g.w + 1000001, 200, 9, odd, 24); // no such event
  u8 longtext[184];
  memset(longtext, 'q', sizeof longtext);
  gen_emit(&g, g.w + 1000002, GEN_MARK, 0, longtext, sizeof longtext);
  assert_int_equal(trace_parse(&t, g.trace, g.len, "gen"), 0);
  struct boot *b = t.boot;
  const struct rec *r = &b->rec[b->nrec - 3];
  assert_field(b, r, "a", "-2");
  assert_field(b, r, "b", "-3");
  assert_field(b, r, "c", "0x1234");
  assert_field(b, r, "name", "a\\x1b[2J"); // a terminal must not be steered
  assert_null(rec_event(b, r + 1));
  assert_int_equal(b->unknown, 1);
  char want[185] = {0};
  memset(want, 'q', 184);
  assert_field(b, r + 2, "text", want); // four slots, to the last byte
  assert_int_equal(b->lost, 0);
  for(u32 i = 0; i < b->nrec; i++)
    if(rec_event(b, &b->rec[i]) && rec_event(b, &b->rec[i])->id == GEN_STATE) {
      assert_field(b, &b->rec[i], "laddr", "10.0.2.15");
      assert_field(b, &b->rec[i], "from", "LISTEN");
      break;
    }
  trace_free(&t);
  gen_free(&g);
}

// Slots taken out are counted where they were, and only they.
static void
test_gap(void **state)
{
  (void)state;
  struct gen g;
  struct trace t;
  gen_make(&g, (struct genopts){.seed = 2, .frames = 20});
  size_t cut = g.len - 12 * sizeof(struct nt_slot);
  u32 cpu0 = 0;
  for(u32 i = 0; i < 5; i++)
    cpu0 += !(((struct nt_slot *)(void *)(g.trace + cut))[i].cpu_ctx & 15);
  memmove(g.trace + cut, g.trace + cut + 5 * sizeof(struct nt_slot), 7 * sizeof(struct nt_slot));
  assert_int_equal(trace_parse(&t, g.trace, g.len - 5 * sizeof(struct nt_slot), "gen"), 0);
  assert_int_equal(t.boot->lost, 5);
  trace_free(&t);
  gen_free(&g);
}

static void
test_boots(void **state)
{
  (void)state;
  struct gen a, b;
  struct session s;
  gen_make(&a, (struct genopts){.seed = 3, .frames = 10});
  gen_make(&b, (struct genopts){.seed = 4, .frames = 30});
  u32 n = 0;
  gen_bytes(&a, b.trace, b.len); // one file after the other
  u8 *whole = a.trace;
  struct gen both = b;
  both.trace = whole;
  both.len = a.len;
  assert_int_equal(gen_session(&both, &s), 0);
  assert_int_equal(s.trace.nboot, 2);
  assert_int_equal(s.bootno, 1); // the capture is the second boot's
  for(u32 i = 0; i < s.cap.n; i++)
    n += s.cap.f[i].rec == NOREC;
  assert_int_equal(n, 0);
  session_close(&s);
  gen_free(&a);
  gen_free(&b);
}

// ---- damage ---------------------------------------------------------------

static void
use_session(const struct gen *g, const u8 *p, size_t len)
{
  struct gen copy = *g;
  struct session s;
  copy.trace = (u8 *)p;
  copy.len = len;
  gen_session(&copy, &s); // any outcome but a crash
  session_close(&s);
}

static void
test_truncations(void **state)
{
  (void)state;
  struct gen g;
  gen_make(&g, (struct genopts){.seed = 6, .frames = 8});
  for(size_t n = 0; n < g.len; n++) {
    u8 *p = malloc(n + 1); // exact, so that a read behind it is seen
    memcpy(p, g.trace, n);
    u8 *q = realloc(p, n ? n : 1);
    struct trace t;
    int rc = trace_parse(&t, q, n, "cut");
    if(n < 128 + ((sizeof gen_meta - 1 + 63) & ~63ul))
      assert_int_equal(rc, -EX_BADIN);
    else
      assert_int_equal(rc, 0);
    if(rc == 0 && n % 64)
      assert_non_null(t.note); // what was ignored is said
    trace_free(&t);
    free(q);
  }
  gen_free(&g);
}

static void
test_bitflips(void **state)
{
  (void)state;
  struct gen g;
  gen_make(&g, (struct genopts){.seed = 7, .frames = 4});
  for(size_t i = 0; i < g.len * 8; i++) {
    size_t at = i / 8;
    if(at >= 160 && at < sizeof gen_meta && i % 5) // the text's hash catches them all
      continue;
    g.trace[at] ^= (u8)(1u << i % 8);
    use_session(&g, g.trace, g.len);
    g.trace[at] ^= (u8)(1u << i % 8);
  }
  gen_free(&g);
}

static void
test_text_mode(void **state)
{
  (void)state;
  struct gen g;
  struct trace t;
  gen_make(&g, (struct genopts){.seed = 8});
  u8 *p = malloc(g.len * 2);
  size_t n = 0;
  for(size_t i = 0; i < g.len; i++) {
    if(g.trace[i] == '\n')
      p[n++] = '\r';
    p[n++] = g.trace[i];
  }
  assert_int_equal(trace_parse(&t, p, n, "F"), -EX_BADIN);
  assert_non_null(strstr(errtext, "text mode"));
  trace_free(&t);
  free(p);
  gen_free(&g);
}

// ---- matching without luck -------------------------------------------------

// Frames that never reached the driver are named, and the clock has no part in it.
static void
test_fates(void **state)
{
  (void)state;
  u32 lost = 0, named = 0;
  for(u64 seed = 1; seed <= 40; seed++) {
    struct gen g;
    struct session s;
    gen_make(&g, (struct genopts){.seed = seed, .frames = 50, .lose = 10});
    assert_int_equal(gen_session(&g, &s), 0);
    for(u32 i = 0; i < g.nframe; i++)
      lost += g.frame[i].slot == ~0u;
    named += s.count[UM_NODRIVER] + s.count[UM_BEFORE];
    for(u32 u = UM_LOST; u < UM_MAX; u++)
      assert_int_equal(s.count[u], 0);
    session_close(&s);
    gen_free(&g);
  }
  assert_true(lost > 0);
  assert_int_equal(named, lost);
}

// Of a guest that runs, the ring is read up to the last tick: frames behind it are
// not missed, those before it are.
static void
test_live(void **state)
{
  (void)state;
  u32 later = 0;
  for(u64 seed = 1; seed <= 40; seed++)
    for(int live = 0; live < 2; live++) {
      struct gen g;
      struct session s;
      gen_make(&g, (struct genopts){.seed = seed, .frames = 80, .syncs = 40});
      u64 upto = gen_tsc(&g, g.w - 60000000);
      memset(&s, 0, sizeof s);
      size_t len = g.len;
      while(((struct nt_slot *)(void *)(g.trace + len - 64))->ts > upto)
        len -= 64;
      assert_int_equal(trace_parse(&s.trace, g.trace, len, "gen"), 0);
      s.trace.live = live;
      s.trace.upto = upto;
      s.cap.q = 1000;
      for(u32 i = 0; i < g.nframe; i++)
        capture_add(&s.cap, g.frame[i].w, g.frame[i].data, g.frame[i].len, g.frame[i].len);
      s.have_trace = s.have_cap = true;
      assert_int_equal(session_join(&s), 0);
      u32 missed = s.count[UM_NODRIVER] + s.count[UM_NOEVENT];
      if(live ? missed > 0 : s.count[UM_LATER] > 0 || s.count[UM_PAST] == 0)
        fail_msg("seed %llu, live %d: %u missed, %u later", seed, live, missed, s.count[UM_LATER]);
      later += s.count[UM_LATER];
      session_close(&s);
      gen_free(&g);
    }
  assert_true(later > 40);
}

// ---- the ring in RAM ---------------------------------------------------------

#define RAMSIZE  (1u << 20)
#define PAGE_PA  0x10000u
#define META_PA  0x20000u
#define RING_PA  0x40000u
#define COUNT_PA 0x30000u
#define NSLOTS   1024u

// A RAM file with one ring of n records whose numbers begin at first.
static void
make_ram(u8 *ram, u32 first, u32 n)
{
  memset(ram, 0, RAMSIZE);
  struct nt_header *h = (void *)(ram + PAGE_PA);
  *h = (struct nt_header){.magic = NT_MAGIC, .version = 1, .hdr_size = 128, .slot_size = 64, .ncpu = 1, .nslots = NSLOTS, .flags = NT_FROZEN, .self_pa = PAGE_PA, .meta_pa = META_PA, .meta_len = sizeof gen_meta - 1, .cpu_off = NT_CPU_OFF};
  h->meta_hash = fnv1a(gen_meta, h->meta_len);
  memcpy(ram + META_PA, gen_meta, h->meta_len);
  memcpy(ram + 0x1000, h, sizeof *h); // a copy elsewhere must not be taken for it
  struct nt_cpu *c = (void *)(ram + PAGE_PA + NT_CPU_OFF);
  *c = (struct nt_cpu){.ring_pa = RING_PA, .head = first + n, .count_pa = COUNT_PA};
  ((struct nt_count *)(void *)(ram + COUNT_PA))->emitted[GEN_KICK] = n;
  for(u32 i = 0; i < n; i++) {
    struct nt_slot *s = (void *)(ram + RING_PA + (first + i) % NSLOTS * 64);
    *s = (struct nt_slot){.ts = 1000 + i, .id = GEN_KICK, .nsl = 1, .seq = first + i + 1, .pkt = i + 1};
  }
}

static int
load_ram(const u8 *ram, struct trace *t)
{
  char path[] = "/tmp/test_nettrace.XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, ram, RAMSIZE), RAMSIZE);
  close(fd);
  int rc = trace_load(t, path);
  unlink(path);
  return rc;
}

static void
test_ram(void **state)
{
  (void)state;
  static const struct {
    u32 first, n, lost;
  } tab[] = {{0, 10, 0}, {0, NSLOTS, 0}, {0, NSLOTS + 7, 7}, {0, 5 * NSLOTS, 4 * NSLOTS}, {0xfffffff0u, 100, 0}, {0xffffff00u, NSLOTS + 300, 300}};
  u8 *ram = malloc(RAMSIZE);
  for(u32 i = 0; i < sizeof tab / sizeof tab[0]; i++) {
    struct trace t;
    make_ram(ram, tab[i].first, tab[i].n);
    assert_int_equal(load_ram(ram, &t), 0);
    u32 recs = 0;
    for(u32 k = 0; k < t.boot->nrec; k++)
      recs += t.boot->rec[k].slot != NOSLOT;
    assert_int_equal(t.boot->lost, tab[i].lost);
    assert_int_equal(recs, tab[i].n - tab[i].lost); // delivered + lost == head - start
    assert_int_equal(rec_slot(t.boot, &t.boot->rec[t.boot->nrec - 1])->pkt, tab[i].n);
    trace_free(&t);
  }
  free(ram);
}

// A slot that its writer never finished, one that was overwritten meanwhile, a record
// whose last slot alone is complete, and one that was only reserved.
static void
test_ram_inflight(void **state)
{
  (void)state;
  static const struct {
    u32 seq, n;
    bool inflight;
  } want[] = {{20, 1, true}, {30, 1, false}, {40, 3, true}, {NSLOTS + 47, 3, true}};
  u8 *ram = malloc(RAMSIZE);
  struct nt_slot *s = (void *)(ram + RING_PA);
  struct trace t;
  for(u32 what = 0; what < 4; what++) {
    u32 lap = what == 3 ? NSLOTS : 0;
    make_ram(ram, 0, lap + 50);
    if(what == 0)
      s[20].seq = 20;
    else if(what == 1)
      s[30].seq = 30 + NSLOTS;
    else if(what == 2) {
      s[40].seq = 40;
      s[41].seq = 41;
      s[42].nsl = NT_CONT + 2;
    }
    for(u32 i = 47; what == 3 && i < 50; i++)
      s[i].seq = i + 1; // still of the lap before
    assert_int_equal(load_ram(ram, &t), 0);
    u32 first = 0;
    for(u32 i = 0; i < t.boot->nrec; i++)
      if(t.boot->rec[i].slot == NOSLOT && t.boot->rec[i].seq == want[what].seq) {
        assert_int_equal(t.boot->rec[i].nlost, want[what].n);
        assert_int_equal(t.boot->rec[i].inflight, want[what].inflight);
        first++;
      } else
        assert_false(t.boot->rec[i].inflight);
    assert_int_equal(first, 1);
    assert_int_equal(t.boot->lost, want[what].n + (lap ? 50 : 0));
    trace_free(&t);
  }
  free(ram);
}

static void
test_ram_bad(void **state)
{
  (void)state;
  u8 *ram = malloc(RAMSIZE);
  struct trace t;
  struct nt_header *h = (void *)(ram + PAGE_PA);
  struct nt_cpu *c = (void *)(ram + PAGE_PA + NT_CPU_OFF);
  make_ram(ram, 0, 5);
  h->self_pa = 0x5000;
  assert_int_equal(load_ram(ram, &t), -EX_BADIN);
  assert_non_null(strstr(errtext, "no trace ring"));
  make_ram(ram, 0, 5);
  c->ring_pa = RAMSIZE - 64;
  assert_int_equal(load_ram(ram, &t), -EX_BADIN);
  assert_non_null(strstr(errtext, "outside"));
  make_ram(ram, 0, 5);
  h->meta_len = 0xffffffff;
  assert_int_equal(load_ram(ram, &t), -EX_BADIN);
  make_ram(ram, 0, 5);
  ram[META_PA + 40] ^= 1;
  assert_int_equal(load_ram(ram, &t), -EX_BADIN);
  trace_free(&t);
  make_ram(ram, 0, 5);
  c->count_pa = 0xfffffff0; // counters are a convenience: the ring is still read
  assert_int_equal(load_ram(ram, &t), 0);
  trace_free(&t);
  free(ram);
}

// A writer that never waits, and the host's reader beside it.
static struct {
  struct ram ram;
  u32 records;
  volatile bool done;
} race;

static void *
write_ring(void *arg)
{
  struct nt_cpu *c = (void *)(race.ram.p + PAGE_PA + NT_CPU_OFF);
  volatile u32 *head = &c->head;
  (void)arg;
  for(u32 i = 0; i < race.records; i++) {
    u32 n = 1 + i % 3, s = *head;
    *head = s + n;
    for(u32 k = n; k-- > 0;) {
      struct nt_slot *slot = (void *)(race.ram.p + RING_PA + (s + k) % NSLOTS * 64);
      volatile u32 *seq = &slot->seq;
      *seq = s + k;
      __atomic_thread_fence(__ATOMIC_RELEASE);
      slot->ts = s;
      slot->id = GEN_MARK;
      slot->nsl = (u8)(k ? NT_CONT + k : n);
      memset(&slot->pkt, (int)(s & 0xff), 48);
      __atomic_thread_fence(__ATOMIC_RELEASE);
      *seq = s + k + 1;
    }
    for(volatile u32 pause = 0; pause < (i & 4096 ? 300 : 0);) // at times slow enough to be followed
      pause++;
  }
  race.done = true;
  return 0;
}

static void
assert_whole(const struct nt_slot *s, u32 n)
{
  for(u32 k = 0; k < n; k++) {
    assert_true(s[k].ts == s[0].ts && s[k].seq == (u32)s[0].ts + k + 1);
    const u8 *p = (const u8 *)&s[k].pkt;
    for(u32 i = 0; i < 48; i++)
      if(p[i] != (u8)s[0].ts)
        fail_msg("slot %u of record %llu is torn", k, s[0].ts);
  }
}

static void
test_race(void **state)
{
  (void)state;
  pthread_t writer;
  u8 *mem = malloc(RAMSIZE);
  u32 first = 0xfff00000u; // numbers pass 2^32 on the way
  make_ram(mem, first, 0);
  race.ram = (struct ram){.p = mem, .len = RAMSIZE, .pa = PAGE_PA};
  memcpy(&race.ram.h, mem + PAGE_PA, sizeof race.ram.h);
  race.records = 3000000;
  struct cursor c = {.cur = first};
  assert_int_equal(pthread_create(&writer, 0, write_ring, 0), 0);
  for(;;) {
    bool last = race.done;
    struct nt_slot s[NT_MAXNSL];
    int n = ram_next(&race.ram, 0, &c, s);
    if(n > 0)
      assert_whole(s, (u32)n);
    else if(last)
      break;
  }
  pthread_join(writer, 0);
  u32 head = ram_cpu(&race.ram, 0).head;
  assert_int_equal(c.cur, head);
  assert_int_equal(c.delivered + c.lost, head - first);
  assert_true(c.delivered > NSLOTS && c.lost > 0);
  free(mem);
}

// ---- text ----------------------------------------------------------------------

static void
test_escape(void **state)
{
  (void)state;
  char to[32];
  esc_text(to, sizeof to, (const u8 *)"a\x1b[\x9b\\z", 6);
  assert_string_equal(to, "a\\x1b[\\x9b\\\\z");
  for(size_t max = 1; max < 16; max++) {
    size_t n = esc_text(to, max, (const u8 *)"\x01\x02\x03\x04", 4);
    assert_true(n < max && to[n] == 0 && n % 4 == 0); // never half an escape
  }
  assert_string_equal(us_str(-149), "-0.1");
  assert_string_equal(us_str(1950), "2.0");
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_bad_meta),
    cmocka_unit_test(test_good_meta),
    cmocka_unit_test(test_fields),
    cmocka_unit_test(test_gap),
    cmocka_unit_test(test_boots),
    cmocka_unit_test(test_truncations),
    cmocka_unit_test(test_bitflips),
    cmocka_unit_test(test_text_mode),
    cmocka_unit_test(test_fates),
    cmocka_unit_test(test_live),
    cmocka_unit_test(test_ram),
    cmocka_unit_test(test_ram_inflight),
    cmocka_unit_test(test_ram_bad),
    cmocka_unit_test(test_race),
    cmocka_unit_test(test_escape),
  };
  return cmocka_run_group_tests(tests, 0, 0);
}
