// nettrace check must be able to fail: each check over a good run and over one
// with the fault it is there for.  Also the other commands over damaged runs.
//
// Built from tests/host/test_nettrace_check.c and all of tools/nettrace but
// main.c; -lcmocka -lpcap.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <unistd.h>
#include "test_nettrace_gen.h"
#include "../../tools/nettrace/two.h"

static char dir[] = "/tmp/test_nettrace.XXXXXX";

static char *
in_dir(const char *name)
{
  static char path[2][128];
  static int turn;
  turn = !turn;
  snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
  return path[turn];
}

static void
write_run(const struct gen *g, size_t trace_len)
{
  FILE *f = fopen(in_dir("trace.nt"), "wb");
  fwrite(g->trace, 1, trace_len, f);
  fclose(f);
  f = fopen(in_dir("wire.pcap"), "wb");
  const u32 head[6] = {0xa1b2c3d4, 0x00040002, 0, 0, 65536, 1};
  fwrite(head, sizeof head, 1, f);
  for(u32 i = 0; i < g->nframe; i++) {
    const struct genframe *fr = &g->frame[i];
    const u32 h[4] = {(u32)(fr->w / 1000000000), (u32)(fr->w % 1000000000 / 1000), fr->len, fr->len};
    fwrite(h, sizeof h, 1, f);
    fwrite(fr->data, fr->len, 1, f);
  }
  fclose(f);
}

// Run one command over the run directory; its output goes to the file out.
static int
run(int (*cmd)(struct opts *o), struct opts o)
{
  char *argv[] = {dir};
  char out[128];
  snprintf(out, sizeof out, "%s/out", dir);
  o.argv = argv;
  o.argc = 1;
  o.quiet = true;
  o.out = out;
  return cmd(&o);
}

static bool
said(const char *words)
{
  static char text[1 << 20];
  FILE *f = fopen(in_dir("out"), "r");
  size_t n = fread(text, 1, sizeof text - 1, f);
  fclose(f);
  text[n] = 0;
  return strstr(text, words) != 0;
}

#define NONE .max_lost = -1, .max_unmatched = -1, .max_band = -1

static void
test_checks(void **state)
{
  (void)state;
  static const struct {
    struct genopts g;
    struct opts o;
    int rc;
    const char *says;
  } tab[] = {
    {{.seed = 1, .frames = 30, .dup = 10}, {NONE, .handshake = true, .ends = true, .sandwich = true}, 0, ""},
    {{.seed = 1, .frames = 30}, {.max_lost = 0, .max_unmatched = 0, .max_band = 5, .noreason = "NOT_SPECIFIED"}, 0, ""},
    {{.seed = 1, .frames = 30, .noreply = true}, {NONE, .handshake = true}, 1, "no ACK in the capture after packet #2"},
    {{.seed = 1, .frames = 30, .seqbug = true}, {NONE, .handshake = true}, 1, "no ACK in the events"},
    {{.seed = 1, .frames = 30, .noend = true}, {NONE, .ends = true}, 1, "packet #3 has no pkt_end"},
    {{.seed = 1, .frames = 30, .lose = 30}, {.max_lost = -1, .max_unmatched = 0, .max_band = -1}, 1, "never reached the driver"},
    {{.seed = 1, .frames = 30, .lose = 30}, {.max_lost = 0, .max_unmatched = 100, .max_band = -1}, 0, ""},
    {{.seed = 1, .frames = 30}, {.max_lost = -1, .max_unmatched = -1, .max_band = 0}, 1, "known to +-"},
  };
  for(u32 i = 0; i < sizeof tab / sizeof tab[0]; i++) {
    struct gen g;
    gen_make(&g, tab[i].g);
    write_run(&g, g.len);
    int rc = run(cmd_check, tab[i].o);
    if(rc != tab[i].rc || !said(tab[i].says))
      fail_msg("case %u: exit %d, and not \"%s\": %s", i, rc, tab[i].says, errtext);
    gen_free(&g);
  }
}

static void
test_check_lost_and_drop(void **state)
{
  (void)state;
  struct gen g;
  gen_make(&g, (struct genopts){.seed = 2, .frames = 20});
  g.seq[0] += 7;
  gen_emit(&g, g.w + 1000, GEN_MARK, 0, "x", 2);
  write_run(&g, g.len);
  assert_int_equal(run(cmd_check, (struct opts){.max_lost = 6, .max_unmatched = -1, .max_band = -1}), 1);
  assert_true(said("7 slots lost on cpu 0"));
  assert_int_equal(run(cmd_check, (struct opts){.max_lost = 7, .max_unmatched = -1, .max_band = -1}), 0);
  u8 drop[2] = {1, 0};
  gen_emit(&g, g.w + 2000, GEN_DROP, 77, drop, 2);
  write_run(&g, g.len);
  assert_int_equal(run(cmd_check, (struct opts){NONE, .noreason = "NOT_SPECIFIED"}), 1);
  assert_true(said("packet #77 dropped: NOT_SPECIFIED"));
  assert_int_equal(run(cmd_check, (struct opts){NONE, .noreason = "NO_SOCKET"}), 0);
  assert_int_equal(run(cmd_check, (struct opts){NONE, .noreason = "NO_SUCH_REASON"}), -EX_BADUSE);
  assert_int_equal(run(cmd_check, (struct opts){NONE}), -EX_BADUSE);
  u8 end[5] = {4};
  gen_emit(&g, g.w + 3000, GEN_END, 3, end, 5);
  write_run(&g, g.len);
  assert_int_equal(run(cmd_check, (struct opts){NONE, .ends = true}), 1);
  assert_true(said("packet #3 has 2 pkt_end"));
  gen_free(&g);
}

// A frame stamped outside its bracket, where only the guest's own timers say so.
static void
test_check_sandwich(void **state)
{
  (void)state;
  struct gen g;
  u32 moved = 0;
  gen_make(&g, (struct genopts){.seed = 3, .frames = 60, .dup = 60});
  for(u32 i = 3; i < g.nframe && !moved; i++)
    if(g.frame[i].data[12] == 8 && g.frame[i].data[13] == 6 && g.frame[i].len == 42 && g.frame[i].slot != ~0u) {
      g.frame[i].data[41] = 9; // now the key is unique, and differs from the event's
      moved = i;
    }
  write_run(&g, g.len);
  assert_int_equal(run(cmd_check, (struct opts){.max_lost = -1, .max_unmatched = 0, .max_band = -1}), 1);
  assert_true(said("not in the capture") && said("no e1000_tx event"));
  g.frame[moved].data[41] = 0;
  for(u32 i = 0; i < g.nframe; i++)
    g.frame[i].w += 250000; // the capture's clock is off by a quarter of a millisecond
  write_run(&g, g.len);
  assert_int_equal(run(cmd_check, (struct opts){NONE, .sandwich = true}), -EX_CONFLICT);
  gen_free(&g);
}

// Turn every record of one event into one of another, which tells nothing here.
static void
switch_off(struct gen *g, u16 id)
{
  size_t first = g->len - g->nslot * sizeof(struct nt_slot);
  for(size_t at = first; at < g->len; at += sizeof(struct nt_slot)) {
    struct nt_slot slot;
    memcpy(&slot, g->trace + at, sizeof slot);
    slot.id = slot.id == id ? GEN_ODD : slot.id;
    memcpy(g->trace + at, &slot, sizeof slot);
  }
}

// An event that was switched off is no loss: no cross; and a check that needs it says so.
static void
test_switched_off(void **state)
{
  (void)state;
  static const struct {
    u16 id;
    const char *says;
    struct opts o;
    const char *finds;
  } tab[] = {
    {GEN_RX, "e1000_rx was not recorded", {.max_lost = -1, .max_unmatched = 0, .max_band = -1}, "no e1000_rx in this trace"},
    {GEN_TX, "e1000_tx was not recorded", {.max_lost = -1, .max_unmatched = 0, .max_band = -1}, "no e1000_tx in this trace"},
    {GEN_END, "", {NONE, .noreason = "NOT_SPECIFIED"}, "nothing tells of drops"},
  };
  for(u32 i = 0; i < sizeof tab / sizeof tab[0]; i++) {
    struct gen g;
    gen_make(&g, (struct genopts){.seed = 7, .frames = 30});
    switch_off(&g, tab[i].id);
    write_run(&g, g.len);
    assert_int_equal(run(cmd_ladder, (struct opts){NONE, .all = true, .width = 160, .ascii = true}), 0);
    if(!said(tab[i].says) || said("came before") || said("never reached") || said(" x "))
      fail_msg("case %u: the ladder tells of a loss", i);
    if(run(cmd_check, tab[i].o) != 1 || !said(tab[i].finds))
      fail_msg("case %u: not \"%s\"", i, tab[i].finds);
    gen_free(&g);
  }
}

// Make the at-th record of an event a control line, and those behind it up to the to-th
// ones of another event.
static void
switch_from(struct gen *g, u16 id, u32 at, u32 to, const char *line)
{
  size_t first = g->len - g->nslot * sizeof(struct nt_slot);
  u32 n = 0;
  for(size_t pos = first; pos < g->len; pos += sizeof(struct nt_slot)) {
    struct nt_slot slot;
    memcpy(&slot, g->trace + pos, sizeof slot);
    if(slot.id != id || n++ < at || n > to + 1)
      continue;
    slot.id = GEN_ODD;
    if(n == at + 1 && line) {
      slot.id = GEN_CTL;
      slot.pkt = 0;
      memset(slot.p, 0, sizeof slot.p);
      slot.p[0] = 1;
      snprintf((char *)slot.p + 1, sizeof slot.p - 1, "%s", line);
    }
    memcpy(g->trace + pos, &slot, sizeof slot);
  }
}

// Events that were switched off for a while are no losses then, and are losses else.
static void
test_switched_off_for_a_while(void **state)
{
  (void)state;
  static const struct {
    const char *off, *on;
    bool lost; // told as such
  } tab[] = {
    {"base -e1000_rx,+ctl", "base +e1000_*", false},
    {"disable e1000_*", "enable @DRIVER", false},
    {"disable @DRIVER,odd", 0, false},
    {"disable e1000_tx", 0, true},
    {"base +e1000_rx", 0, true},
    {"base -e1000_rx,+e1000_rx", 0, true},
    {"mark disable e1000_rx", 0, true},
  };
  for(u32 i = 0; i < sizeof tab / sizeof tab[0]; i++) {
    struct gen g;
    gen_make(&g, (struct genopts){.seed = 9, .frames = 80});
    u32 last = tab[i].on || tab[i].lost ? 12 : 1000;
    switch_from(&g, GEN_RX, 5, last, tab[i].off);
    if(tab[i].on)
      switch_from(&g, GEN_RX, 5, 5, tab[i].on); // the first one that is left
    write_run(&g, g.len);
    assert_int_equal(run(cmd_info, (struct opts){NONE}), 0);
    if(said("never reached the driver") != tab[i].lost || said("e1000_rx was not recorded") == tab[i].lost)
      fail_msg("\"%s\": what was %s is told as %s", tab[i].off, tab[i].lost ? "lost" : "off", tab[i].lost ? "off" : "lost");
    run(cmd_check, (struct opts){.max_lost = -1, .max_unmatched = 0, .max_band = -1});
    assert_int_equal(said("e1000_rx was switched off for a while"), !tab[i].lost);
    if(tab[i].on) { // and one more, later
      switch_from(&g, GEN_RX, 12, 12, 0);
      write_run(&g, g.len);
      assert_int_equal(run(cmd_info, (struct opts){NONE}), 0);
      assert_true(said("never reached the driver") && said("e1000_rx was not recorded"));
    }
    gen_free(&g);
  }
  struct gen g;
  gen_make(&g, (struct genopts){.seed = 9, .frames = 80});
  switch_from(&g, GEN_END, 5, 12, "disable pkt_end");
  write_run(&g, g.len);
  assert_int_equal(run(cmd_check, (struct opts){NONE, .ends = true}), 1); // it was recorded behind that line
  switch_from(&g, GEN_END, 5, 1000, 0);
  write_run(&g, g.len);
  assert_int_equal(run(cmd_check, (struct opts){NONE, .ends = true}), 0);
  gen_free(&g);
}

// What lacks a partner, and no more than is known of it: a frame captured twice,
// one behind the trace's end, one that the capture does not hold.
static void
test_only_what_is_known(void **state)
{
  (void)state;
  struct gen g;
  gen_make(&g, (struct genopts){.seed = 8, .frames = 20});
  g.frame = realloc(g.frame, (g.nframe + 2) * sizeof *g.frame);
  struct genframe *last = &g.frame[g.nframe - 1];
  last[1] = *last;
  last[2] = *last;
  last[2].data[18] ^= 0x55; // of another datagram
  last[2].w = g.w + 5000000000;
  g.nframe += 2;
  write_run(&g, g.len);
  assert_int_equal(run(cmd_info, (struct opts){NONE}), 0);
  assert_true(said(": twice in the capture") && said(": after the trace's last event") && !said("before the driver"));
  gen_free(&g);
  gen_make(&g, (struct genopts){.seed = 8, .frames = 20, .miss = 100});
  write_run(&g, g.len);
  assert_int_equal(run(cmd_info, (struct opts){NONE}), 0);
  assert_true(said("e1000_tx: not in the capture") && !said("never reached"));
  gen_free(&g);
}

static void
test_rows(void **state)
{
  (void)state;
  struct gen g;
  gen_make(&g, (struct genopts){.seed = 4, .frames = 40, .lose = 20});
  write_run(&g, g.len);
  assert_int_equal(run(cmd_ladder, (struct opts){NONE, .all = true, .width = 120, .ascii = true}), 0);
  assert_true(said("SYN,ACK 0 ack 1") && said("* LISTEN > SYN-RECEIVED") && said("x never reached the driver"));
  assert_int_equal(run(cmd_ladder, (struct opts){NONE, .packets = "1-2", .width = 80}), 0);
  assert_true(said("SYN seq 0") && !said("#3"));
  assert_int_equal(run(cmd_ladder, (struct opts){NONE, .only = "nosuch"}), -EX_BADUSE);
  assert_int_equal(run(cmd_dump, (struct opts){NONE, .json = true, .only = "tcp_state"}), 0);
  assert_true(said("\"to\":\"ESTABLISHED\"") && !said("clock_sync"));
  assert_int_equal(run(cmd_info, (struct opts){NONE, .json = true}), 0);
  assert_true(said("\"schema\":\"nettrace-info/1\"") && said("never reached the driver"));
  gen_free(&g);
}

static void
assert_refused(int rc, const char *words)
{
  assert_int_equal(rc, -EX_BADUSE);
  if(!strstr(errtext, words))
    fail_msg("\"%s\" does not say \"%s\"", errtext, words);
}

static void
test_bad_selections(void **state)
{
  (void)state;
  struct gen g;
  gen_make(&g, (struct genopts){.seed = 4, .frames = 4});
  write_run(&g, g.len);
  assert_refused(run(cmd_ladder, (struct opts){NONE, .layer = "FOO"}), "WIRE DRIVER NETIF");
  assert_refused(run(cmd_ladder, (struct opts){NONE, .layer = "STACK,FOO"}), "--layer FOO");
  assert_refused(run(cmd_dump, (struct opts){NONE, .layer = ""}), "WIRE DRIVER NETIF");
  assert_int_equal(run(cmd_ladder, (struct opts){NONE, .layer = "WIRE,STACK", .width = 80}), 0);
  assert_refused(run(cmd_ladder, (struct opts){NONE, .from = "2", .to = "1"}), "empty range");
  assert_refused(run(cmd_ladder, (struct opts){NONE, .only = ""}), "--only");
  assert_refused(run(cmd_ladder, (struct opts){NONE, .flow = "10.0.2.15:99999-10.0.2.2:1"}), "needs A:p-B:p");
  assert_refused(run(cmd_ladder, (struct opts){NONE, .flow = "10.0.2.15:9-10.0.2.2:1"}), "no such TCP connection");
  assert_refused(run(cmd_ladder, (struct opts){NONE, .packets = "3-2", .width = 80}), "empty range");
  assert_refused(run(cmd_ladder, (struct opts){NONE, .packets = "0", .width = 80}), "empty range");
  assert_refused(run(cmd_ladder, (struct opts){NONE, .packets = "700-800", .width = 80}), "none of the selection's");
  gen_free(&g);
}

// Not one byte beyond ASCII.
static void
test_ascii(void **state)
{
  (void)state;
  struct gen g;
  struct session s;
  char *argv[] = {(char *)"+1", dir}, out[128], *text = 0;
  size_t len = 0;
  int c;
  gen_make(&g, (struct genopts){.seed = 4, .frames = 4});
  write_run(&g, g.len);
  snprintf(out, sizeof out, "%s", in_dir("out"));
  assert_int_equal(cmd_why(&(struct opts){NONE, .ascii = true, .quiet = true, .out = out, .argc = 2, .argv = argv}), 0);
  assert_true(said("time us") && said("sum of the gaps"));
  FILE *f = fopen(out, "r");
  while((c = getc(f)) != EOF)
    assert_true(c < 0x80);
  fclose(f);
  assert_int_equal(session_open(&s, 1, argv + 1), 0);
  ascii_only = true;
  f = open_memstream(&text, &len);
  session_summary(&s, f);
  fclose(f);
  assert_non_null(strstr(text, "+-"));
  for(size_t i = 0; i < len; i++)
    assert_true((u8)text[i] < 0x80);
  for(int i = 0; i < 2; i++) {
    assert_int_equal(run(i ? cmd_html : cmd_info, (struct opts){NONE, .ascii = true}), 0);
    assert_true(i ? said("until the interrupt") : said("+-"));
    f = fopen(out, "r");
    while((c = getc(f)) != EOF)
      assert_true(c < 0x80);
    fclose(f);
  }
  ascii_only = false;
  free(text);
  gen_free(&g);
}

// Of two connections, the one that the ring still knows.
static void
test_ladder_picks_what_was_traced(void **state)
{
  (void)state;
  struct gen g;
  gen_make(&g, (struct genopts){.seed = 4, .frames = 4});
  u32 n = 0;
  while(n < g.nframe && (g.frame[n].data[12] != 8 || g.frame[n].data[13] || !(g.frame[n].data[47] & TH_SYN)))
    n++;
  assert_true(n < g.nframe);
  memmove(g.frame + 1, g.frame, g.nframe++ * sizeof *g.frame);
  g.frame[0] = g.frame[n + 1];
  g.frame[0].w = g.frame[1].w - 1000000;
  g.frame[0].data[34] = 0x3a; // the peer's port: 14848 and up
  g.frame[0].data[17] += 10;  // and its SYN brings data
  g.frame[0].len += 10;
  write_run(&g, g.len);
  assert_int_equal(run(cmd_ladder, (struct opts){NONE, .width = 120, .ascii = true}), 0);
  assert_true(said("* LISTEN > SYN-RECEIVED"));
  gen_free(&g);
}

// A run that is over will not become what is waited for.
static void
test_wait_for_a_run_that_is_over(void **state)
{
  (void)state;
  const char *path = in_dir("status");
  fclose(fopen(path, "w"));
  int rc = run(cmd_wait, (struct opts){NONE, .conds = {"ip"}, .ncond = 1, .timeout = 3600});
  unlink(in_dir("status"));
  assert_int_equal(rc, -EX_FOUND);
  assert_non_null(strstr(errtext, "the run has ended"));
  assert_non_null(strstr(errtext, "not seen: ip"));
}

// The machine at the other end of g's wire: it sent what g received, some microseconds
// before, and received what g sent, behind it.  Its TSC is its own.
static void
gen_other(struct gen *to, const struct gen *g)
{
  memset(to, 0, sizeof *to);
  *to = (struct gen){.rng = g->rng, .o = g->o, .w = g->frame[0].sent - 200000000, .goff = 123456789, .rate = (u64)(2.7 * 4294967296.0) + 4321};
  to->v0 = to->w - 1000;
  gen_header(to);
  memcpy(to->trace + offsetof(struct nt_header, mac), gen_peer, 6);
  for(int i = 0; i < 4; i++) {
    gen_sync(to);
    to->w += 20000000;
  }
  for(u32 i = 0; i < g->nframe; i++) {
    const struct genframe *f = &g->frame[i];
    bool in = memcmp(f->data, gen_peer, 6) == 0;
    i64 w = f->sent + (in ? 5000 : -5000);
    to->w = to->w < w ? w : to->w + 10;
    if(f->data[12] == 8 && f->data[13] == 0) // the others are all alike
      gen_driver(to, to->w, in, ++to->pkt, f->data, f->len);
  }
  gen_sync(to);
}

// Two machines and one capture, that of the first one's own card: both stand on its clock,
// however late it begins and if it tells the date.
static void
test_two_and_the_card_of_one(void **state)
{
  (void)state;
  static const i64 zone[] = {0, 3000000000, 1790000000000000000}, late[] = {0, 2500000000, 7000000000};
  for(u32 i = 0; i < 9; i++) {
    struct gen a, b;
    static struct two t;
    gen_make(&a, (struct genopts){.seed = i + 1, .frames = 40, .zone = zone[i / 3], .late = late[i % 3]});
    gen_other(&b, &a);
    write_run(&a, a.len);
    char trace[128], other[128], wire[128], *argv[] = {trace, other, wire};
    snprintf(trace, sizeof trace, "%s", in_dir("trace.nt"));
    snprintf(other, sizeof other, "%s.nt", dir); // no capture lies beside it
    snprintf(wire, sizeof wire, "%s", in_dir("wire.pcap"));
    FILE *f = fopen(other, "wb");
    fwrite(b.trace, 1, b.len, f);
    fclose(f);
    if(two_open(&t, &(struct opts){NONE, .argc = 3, .argv = argv}) < 0)
      fail_msg("case %u: %s", i, errtext);
    assert_int_equal(t.crossed, 0);
    for(u32 k = 0; k < t.nrow; k++) {
      const struct session *s = &t.side[t.row[k].side].s;
      const struct item *it = &s->item[t.row[k].item];
      if(it->frame || rec_slot(s->b, &s->b->rec[it->idx]) == 0)
        continue;
      i64 w = (t.row[k].side ? &b : &a)->truth[s->b->rec[it->idx].slot] + zone[i / 3];
      if(llabs(w - it->w) > 1000000)
        fail_msg("case %u: event %u of %c is %lld ns from where it was", i, it->idx, 'A' + t.row[k].side, it->w - w);
    }
    unlink(other);
    gen_free(&a);
    gen_free(&b);
  }
}

// Saving what was loaded gives the same bytes.
static void
test_save(void **state)
{
  (void)state;
  struct gen g;
  gen_make(&g, (struct genopts){.seed = 5, .frames = 10});
  write_run(&g, g.len);
  assert_int_equal(run(cmd_save, (struct opts){NONE}), 0);
  struct trace a, b;
  assert_int_equal(trace_parse(&a, g.trace, g.len, "a"), 0);
  assert_int_equal(trace_load(&b, in_dir("out")), 0);
  assert_int_equal(a.boot->nrec, b.boot->nrec);
  for(u32 i = 0; i < a.boot->nrec; i++)
    assert_memory_equal(rec_slot(a.boot, &a.boot->rec[i]), rec_slot(b.boot, &b.boot->rec[i]), 64);
  trace_free(&a);
  trace_free(&b);
  gen_free(&g);
}

// Every command, over runs with one bit wrong: any exit code, no crash.
static void
test_damage(void **state)
{
  (void)state;
  int (*const cmd[])(struct opts * o) = {cmd_ladder, cmd_merge, cmd_info, cmd_dump, cmd_check};
  struct gen g;
  gen_make(&g, (struct genopts){.seed = 6, .frames = 4});
  size_t slots = 128 + ((sizeof gen_meta - 1 + 63) & ~63ul);
  for(size_t i = slots * 8; i < g.len * 8; i += 3) {
    g.trace[i / 8] ^= (u8)(1u << i % 8);
    write_run(&g, g.len);
    run(cmd[i % 5], (struct opts){.handshake = true, .ends = true, .sandwich = true, .all = i & 8, .width = 80});
    g.trace[i / 8] ^= (u8)(1u << i % 8);
  }
  gen_free(&g);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_checks),
    cmocka_unit_test(test_check_lost_and_drop),
    cmocka_unit_test(test_check_sandwich),
    cmocka_unit_test(test_switched_off),
    cmocka_unit_test(test_switched_off_for_a_while),
    cmocka_unit_test(test_only_what_is_known),
    cmocka_unit_test(test_rows),
    cmocka_unit_test(test_bad_selections),
    cmocka_unit_test(test_ascii),
    cmocka_unit_test(test_ladder_picks_what_was_traced),
    cmocka_unit_test(test_wait_for_a_run_that_is_over),
    cmocka_unit_test(test_two_and_the_card_of_one),
    cmocka_unit_test(test_save),
    cmocka_unit_test(test_damage),
  };
  if(mkdtemp(dir) == 0)
    return 1;
  int rc = cmocka_run_group_tests(tests, 0, 0);
  unlink(in_dir("trace.nt"));
  unlink(in_dir("wire.pcap"));
  unlink(in_dir("out"));
  rmdir(dir);
  return rc;
}

// The commands leave their memory to the end of the process.
const char *__asan_default_options(void);
const char *
__asan_default_options(void)
{
  return "detect_leaks=0";
}
