// Bad files for the host tool: each is refused in one line, or read as far as it
// goes and the rest is named.  Never a crash, never memory without bound.
//
// Saved traces cut short or with a bit changed: also tests/host/test_nettrace.c.
// Built with all of tools/nettrace but main.c; -lcmocka -lpcap.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <unistd.h>
#include "test_nettrace_gen.h"

static char dir[] = "/tmp/test_badinput.XXXXXX";

// Bytes in the making.
struct bytes {
  u8 p[1 << 16];
  size_t n;
};

static void
put(struct bytes *b, const void *p, size_t n)
{
  memcpy(b->p + b->n, p, n);
  b->n += n;
}

static void
put32(struct bytes *b, u32 v)
{
  put(b, &v, 4);
}

static void
put_head(struct bytes *b, u32 magic, u32 version, u32 link)
{
  const u32 h[6] = {magic, version, 0, 0, 2000, link};
  b->n = 0;
  put(b, h, sizeof h);
}

static void
put_frame(struct bytes *b, const struct genframe *f, u32 caplen)
{
  const u32 h[4] = {(u32)(f->w / 1000000000), (u32)(f->w % 1000000000 / 1000), caplen, f->len};
  put(b, h, sizeof h);
  put(b, f->data, caplen);
}

// The run's capture, each frame cut to snap bytes.
static void
put_capture(struct bytes *b, const struct gen *g, u32 snap)
{
  put_head(b, 0xa1b2c3d4, 0x00040002, 1);
  for(u32 i = 0; i < g->nframe; i++)
    put_frame(b, &g->frame[i], g->frame[i].len < snap ? g->frame[i].len : snap);
}

static const char *
file_of(const char *name, const void *p, size_t n)
{
  static char path[2][128];
  static int turn;
  turn = !turn;
  snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
  FILE *f = fopen(path[turn], "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(p, 1, n, f), n);
  fclose(f);
  return path[turn];
}

// An exit code of those there are, and one line that names the file if it is bad.
static void
assert_outcome(int rc, const char *what, size_t at)
{
  if(rc != 0 && rc != -EX_BADIN && rc != -EX_CONFLICT)
    fail_msg("%s %zu: exit %d", what, at, -rc);
  if(rc && (!*errtext || strchr(errtext, '\n')))
    fail_msg("%s %zu: not one line: \"%s\"", what, at, errtext);
}

static int
load_capture(const struct bytes *b, struct capture *c)
{
  errtext[0] = 0;
  return capture_load(c, file_of("bad.pcap", b->p, b->n));
}

// Trace and capture as the commands open them.
static int
open_pair(const struct gen *g, const struct bytes *b, struct session *s)
{
  char trace[128], capture[128], *argv[] = {trace, capture};
  strcpy(trace, file_of("trace", g->trace, g->len));
  strcpy(capture, file_of("pcap", b->p, b->n));
  errtext[0] = 0;
  return session_open(s, 2, argv);
}

// ---- captures ---------------------------------------------------------------

static struct bytes cap, bad;

static void
test_capture_cut(void **state)
{
  (void)state;
  struct gen g;
  gen_make(&g, (struct genopts){.seed = 1, .frames = 5});
  put_capture(&cap, &g, 128);
  size_t whole = 24;
  u32 frames = 0;
  for(size_t n = 0; n <= cap.n; n++) {
    struct capture c;
    bad.n = 0;
    put(&bad, cap.p, n);
    if(n == whole + 16 + (frames < g.nframe ? g.frame[frames].len : 0) && frames < g.nframe)
      whole += 16 + g.frame[frames++].len;
    int rc = load_capture(&bad, &c);
    assert_outcome(rc, "length", n);
    assert_int_equal(rc, n > 0 && n < 24 ? -EX_BADIN : 0);
    if(rc == 0) {
      assert_int_equal(c.n, n < 24 ? 0 : frames);
      assert_true((c.note != 0) == (n == 0 || n != whole)); // what is missing is said
    }
    capture_free(&c);
  }
  assert_int_equal(frames, g.nframe);
  gen_free(&g);
}

// Each bit of a capture, beside a good trace.
static void
test_capture_bits(void **state)
{
  (void)state;
  struct gen g;
  gen_make(&g, (struct genopts){.seed = 2, .frames = 3, .dup = 30});
  put_capture(&cap, &g, 128);
  for(size_t i = 0; i < cap.n * 8; i++) {
    struct session s;
    cap.p[i / 8] ^= (u8)(1u << i % 8);
    int rc = open_pair(&g, &cap, &s);
    assert_outcome(rc, "bit", i);
    if(rc == 0)
      timeline_build(&s);
    session_close(&s);
    cap.p[i / 8] ^= (u8)(1u << i % 8);
  }
  gen_free(&g);
}

static void
swap_words(struct bytes *b, size_t at, u32 n)
{
  for(u32 i = 0; i < n; i++, at += 4)
    for(u32 k = 0; k < 2; k++) {
      u8 t = b->p[at + k];
      b->p[at + k] = b->p[at + 3 - k];
      b->p[at + 3 - k] = t;
    }
}

// A capture written on a machine of the other byte order is as good as any.
static void
test_capture_foreign(void **state)
{
  (void)state;
  struct gen g;
  struct session s;
  gen_make(&g, (struct genopts){.seed = 3, .frames = 20});
  put_capture(&cap, &g, 128);
  swap_words(&cap, 0, 6);
  u16 version[2] = {0x0200, 0x0400};
  memcpy(cap.p + 4, version, 4);
  for(u32 i = 0, at = 24; i < g.nframe; at += 16 + g.frame[i++].len)
    swap_words(&cap, at, 4);
  assert_int_equal(open_pair(&g, &cap, &s), 0);
  assert_int_equal(s.nmatch, g.nframe);
  session_close(&s);
  gen_free(&g);
}

// One refused capture: the words that its line must hold.
static void
assert_refused(const char *words)
{
  struct capture c;
  int rc = load_capture(&bad, &c);
  assert_outcome(rc, words, 0);
  if(rc != -EX_BADIN || !strstr(errtext, words) || !strstr(errtext, "bad.pcap"))
    fail_msg("exit %d, \"%s\" does not say \"%s\"", -rc, errtext, words);
  capture_free(&c);
}

static void
test_capture_refused(void **state)
{
  (void)state;
  struct gen g;
  gen_make(&g, (struct genopts){.seed = 4, .frames = 5});
  put_head(&bad, 0xa1b2c3d4, 0x00040002, 1);
  put_frame(&bad, &g.frame[0], 60);
  for(u32 us = 1000000; us != 0; us = us == 1000000 ? 4294968 : us == 4294968     ? 0x80000000u
                                                              : us == 0x80000000u ? 0xffffffffu
                                                                                  : 0) {
    memcpy(bad.p + 28, &us, 4); // at 4294968 us a product of 32 bits looks right again
    assert_refused("impossible time");
  }
  put_head(&bad, 0xa1b2c3d4, 0x00040002, 113);
  assert_refused("Ethernet");
  put_head(&bad, 0xa1b2c3d4, 0x00040003, 1);
  bad.p[4] = 9;
  assert_refused("version");
  put_head(&bad, 0xa1b2c3d4, 0x00040002, 1);
  put_frame(&bad, &g.frame[0], 60);
  put_frame(&bad, &g.frame[1], 54);
  u32 huge = 300000; // more than snaplen and more than libpcap takes
  memcpy(bad.p + 24 + 16 + 60 + 8, &huge, 4);
  put(&bad, g.frame[2].data, 54);
  assert_refused("behind frame 1:");
  bad.n = 0;
  put(&bad, "this is no capture at all, but text\n", 36);
  assert_refused("");
  gen_free(&g);
}

// Every LF became CR LF: the lengths after the first one are nonsense.
static void
test_capture_text_mode(void **state)
{
  (void)state;
  struct gen g;
  struct session s;
  gen_make(&g, (struct genopts){.seed = 5, .frames = 10});
  put_capture(&cap, &g, 128);
  bad.n = 0;
  for(size_t i = 0; i < cap.n; i++) {
    if(cap.p[i] == '\n')
      put(&bad, "\r", 1);
    put(&bad, cap.p + i, 1);
  }
  assert_true(bad.n > cap.n);
  int rc = open_pair(&g, &bad, &s);
  assert_outcome(rc, "text mode", 0);
  assert_true(rc == -EX_BADIN || s.cap.note);
  session_close(&s);
  gen_free(&g);
}

static void
put_block(struct bytes *b, u32 type, const u32 *body, u32 words)
{
  put32(b, type);
  put32(b, 12 + words * 4);
  put(b, body, words * 4);
  put32(b, 12 + words * 4);
}

// pcapng with a second link type, as our own merged files have it.
static void
test_two_link_types(void **state)
{
  (void)state;
  bad.n = 0;
  put_block(&bad, 0x0a0d0d0a, (u32[]){0x1a2b3c4d, 1, 0xffffffff, 0xffffffff}, 4);
  put_block(&bad, 1, (u32[]){1, 2000}, 2);
  put_block(&bad, 1, (u32[]){147, 2000}, 2);
  put_block(&bad, 6, (u32[]){1, 0, 1000, 4, 4, 0}, 6);
  assert_refused("not a merged file");
}

// Frames cut by the capture are matched by what is left of them.
static void
test_snaplen(void **state)
{
  (void)state;
  for(u64 seed = 1; seed <= 50; seed++)
    for(u32 snap = 20; snap <= 60; snap += 4) {
      struct gen g;
      struct session s;
      gen_make(&g, (struct genopts){.seed = seed, .frames = 20});
      put_capture(&cap, &g, snap);
      assert_int_equal(open_pair(&g, &cap, &s), 0);
      for(u32 i = 0; i < g.nframe; i++) {
        const struct frame *f = &s.cap.f[i];
        u32 slot = f->rec == NOREC ? ~0u : s.b->rec[f->rec].slot;
        if(snap >= 52 ? slot != g.frame[i].slot : slot != ~0u && slot != g.frame[i].slot)
          fail_msg("seed %llu, cut to %u: frame %u", seed, snap, i + 1);
      }
      session_close(&s);
      gen_free(&g);
    }
}

static void
test_one_side_alone(void **state)
{
  (void)state;
  struct gen g;
  struct session s;
  char path[128], *argv[] = {path};
  gen_make(&g, (struct genopts){.seed = 6, .frames = 5});
  put_capture(&cap, &g, 128);
  strcpy(path, file_of("pcap", cap.p, cap.n));
  assert_int_equal(session_open(&s, 1, argv), 0);
  assert_true(!s.have_trace && s.have_cap && s.cap.n == g.nframe);
  session_close(&s);
  strcpy(path, file_of("trace", g.trace, g.len));
  assert_int_equal(session_open(&s, 1, argv), 0);
  assert_true(s.have_trace && !s.have_cap && s.al.method == CLK_ANCHORED);
  session_close(&s);
  for(u32 n = 0; n <= 24; n += 24) { // empty, or a header alone
    bad.n = 0;
    put(&bad, cap.p, n);
    assert_int_equal(session_open(&s, 1, argv), 0);
    session_close(&s);
    struct capture c;
    assert_int_equal(load_capture(&bad, &c), 0);
    assert_int_equal(c.n, 0);
    capture_free(&c);
  }
  gen_free(&g);
}

// ---- traces -------------------------------------------------------------------

static void
assert_trace(const u8 *p, size_t n, const char *words)
{
  struct trace t;
  errtext[0] = 0;
  int rc = trace_load(&t, file_of("bad.nt", p, n));
  assert_outcome(rc, words, 0);
  if(rc != -EX_BADIN || !strstr(errtext, words) || !strstr(errtext, "bad.nt"))
    fail_msg("exit %d, \"%s\" does not say \"%s\"", -rc, errtext, words);
  trace_free(&t);
}

static void
test_trace_header(void **state)
{
  (void)state;
  struct gen g;
  gen_make(&g, (struct genopts){.seed = 7});
  struct nt_header good, *h = (void *)g.trace;
  good = *h;
  assert_trace(g.trace, 0, "");
  assert_trace(g.trace, 100, "no trace header");
  h->version = 2;
  assert_trace(g.trace, g.len, "version 2");
  h->version = 0x0100;
  assert_trace(g.trace, g.len, "big-endian");
  *h = good;
  h->slot_size = 32;
  assert_trace(g.trace, g.len, "slots of 32");
  *h = good;
  h->ncpu = 200;
  assert_trace(g.trace, g.len, "200 CPUs");
  *h = good;
  h->nslots = 1000;
  assert_trace(g.trace, g.len, "power of two");
  static const u32 lies[] = {0x7fffffff, 0xffffffc0, 0xffffffff, 1u << 21};
  for(u32 i = 0; i < 4; i++) {
    *h = good;
    h->meta_len = lies[i];
    assert_trace(g.trace, g.len, "metadata");
  }
  *h = good;
  h->meta_len = 0;
  assert_trace(g.trace, g.len, "line 1");
  *h = good;
  h->meta_len--;
  assert_trace(g.trace, g.len, "");
  *h = good;
  h->meta_hash++;
  assert_trace(g.trace, g.len, "hash");
  gen_free(&g);
}

// Text of n lines behind a first part.
static void
assert_meta(const char *first, const char *line, u32 n, const char *words)
{
  static char text[1 << 20];
  size_t k = (size_t)sprintf(text, "nettrace-metadata 1\n%s", first);
  for(u32 i = 0; i < n; i++)
    k += (size_t)sprintf(text + k, line, i, i);
  k += (size_t)sprintf(text + k, "end\n");
  struct meta m;
  int rc = meta_parse(&m, text, (u32)k, "F");
  if(rc != (words ? -EX_BADIN : 0) || (words && !strstr(errtext, words)))
    fail_msg("exit %d: \"%s\" does not say \"%s\"", -rc, errtext, words);
  meta_free(&m);
}

static void
test_meta_sizes(void **state)
{
  (void)state;
  assert_meta("event 1 a META\n", "\tu8 f%u num\n", 32, 0);
  assert_meta("event 1 a META\n", "\tu8 f%u num\n", 33, "line 35: too many fields");
  assert_meta("", "event %u e%u META\n", MAXEVENTS, 0);
  assert_meta("", "event %u e%u META\n", MAXEVENTS + 1, "line 4098: bad event id");
  assert_meta("", "name S%u 1 A%u\n", 1024, 0);
  assert_meta("", "name S%u 1 A%u\n", 1025, "line 1026: too many sets");
  struct meta m;
  char *big = xmalloc((1 << 20) + 1);
  assert_int_equal(meta_parse(&m, big, (1 << 20) + 1, "F"), -EX_BADIN);
  assert_non_null(strstr(errtext, "1 MiB"));
  meta_free(&m);
  free(big);
}

// Many boots in one file, each as short as can be: refused before memory is gone.
static void
test_many_boots(void **state)
{
  (void)state;
  static const char text[] = "nettrace-metadata 1\nend\n";
  struct nt_header h = {.magic = NT_FILE_MAGIC, .version = 1, .hdr_size = 128, .slot_size = 64, .ncpu = 1, .nslots = 64, .meta_len = sizeof text - 1};
  struct gen g = {0};
  struct trace t;
  h.meta_hash = fnv1a(text, h.meta_len);
  for(u32 i = 1; i <= 257; i++) {
    u8 padded[64] = {0};
    memcpy(padded, text, h.meta_len);
    gen_bytes(&g, &h, sizeof h);
    gen_bytes(&g, padded, sizeof padded);
  }
  assert_int_equal(trace_parse(&t, g.trace, 256 * 192, "F"), 0);
  assert_int_equal(t.nboot, 256);
  trace_free(&t);
  assert_trace(g.trace, g.len, "more than 256 boots");
  free(g.trace);
}

// 1 GB, nearly all of it a hole: as zeros, as a trace, as a capture.
static void
test_huge(void **state)
{
  (void)state;
  static const struct {
    const char *begin;
    size_t n;
    const char *says;
  } tab[] = {{"", 0, "no trace ring"}, {"NETTRACE", 8, "--max-mem"}, {"\xd4\xc3\xb2\xa1\2\0\4\0\0\0\0\0\0\0\0\0\0\0\4\0\1\0\0\0", 24, "no length"}};
  for(u32 i = 0; i < 3; i++) {
    struct session s;
    char path[128], *argv[] = {path};
    strcpy(path, file_of("huge", tab[i].begin, tab[i].n));
    assert_int_equal(truncate(path, 1 << 30), 0);
    errtext[0] = 0;
    int rc = session_open(&s, 1, argv);
    assert_outcome(rc, tab[i].says, i);
    if(rc != -EX_BADIN || !strstr(errtext, tab[i].says))
      fail_msg("exit %d: \"%s\" does not say \"%s\"", -rc, errtext, tab[i].says);
    session_close(&s);
    unlink(path);
  }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_capture_cut),
    cmocka_unit_test(test_capture_bits),
    cmocka_unit_test(test_capture_foreign),
    cmocka_unit_test(test_capture_refused),
    cmocka_unit_test(test_capture_text_mode),
    cmocka_unit_test(test_two_link_types),
    cmocka_unit_test(test_snaplen),
    cmocka_unit_test(test_one_side_alone),
    cmocka_unit_test(test_trace_header),
    cmocka_unit_test(test_meta_sizes),
    cmocka_unit_test(test_many_boots),
    cmocka_unit_test(test_huge),
  };
  if(mkdtemp(dir) == 0)
    return 1;
  int rc = cmocka_run_group_tests(tests, 0, 0);
  static const char *const left[] = {"bad.pcap", "bad.nt", "pcap", "trace", "huge"};
  for(u32 i = 0; i < sizeof left / sizeof left[0]; i++) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, left[i]);
    unlink(path);
  }
  rmdir(dir);
  return rc;
}

// What a session that was refused half-way holds, the process gives back.
const char *__asan_default_options(void);
const char *
__asan_default_options(void)
{
  return "detect_leaks=0";
}
