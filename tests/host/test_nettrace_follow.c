// nettrace follow, look by look: a ring and a capture that grow under it.
//
// Built from tests/host/test_nettrace_follow.c, which includes follow.c, and the
// rest of tools/nettrace; -lcmocka -lpcap.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "test_nettrace_gen.h"
#define cmd_follow cmd_follow_here
#include "../../tools/nettrace/follow.c"

#define RAMSIZE (1u << 20)
#define PAGE_PA 0x10000u
#define META_PA 0x20000u
#define NSLOTS  64u
#define RING_PA 0x40000u // of CPU 0; CPU 1's behind it

// A guest of two CPUs, played by the test, and who follows it.
struct scene {
  char ram[32], wire[32];
  int fd;
  u8 *p;
  FILE *cap;
  struct follower w;
  struct opts o;
  struct places at;
  char *text; // what was printed
  size_t len, from;
};

static struct nt_cpu *
cpu(struct scene *t, u32 c)
{
  return (void *)(t->p + PAGE_PA + NT_CPU_OFF + c * sizeof(struct nt_cpu));
}

static void
now(struct scene *t, u32 c, u64 ts)
{
  cpu(t, c)->now_lo = (u32)ts;
  cpu(t, c)->now_hi = (u32)(ts >> 32);
}

// Reserve a slot and fill it; committed unless told otherwise.
static struct nt_slot *
emit(struct scene *t, u32 c, u64 ts, u16 id, u32 pkt, bool committed)
{
  u32 n = cpu(t, c)->head++;
  struct nt_slot *s = (void *)(t->p + RING_PA + (c * NSLOTS + n % NSLOTS) * 64);
  *s = (struct nt_slot){.ts = ts, .id = id, .cpu_ctx = (u8)c, .nsl = 1, .seq = committed ? n + 1 : n, .pkt = pkt};
  return s;
}

static void
emit_driver(struct scene *t, u64 ts, bool in, u32 pkt, const u8 *data, u32 len)
{
  u8 *p = emit(t, 0, ts, in ? GEN_RX : GEN_TX, pkt, true)->p;
  le(&p, 1, 2);
  le(&p, in && len < 60 ? 60 : len, 2);
  le(&p, 0, 4);
  le(&p, (u64)data[12] << 8 | data[13], 2);
  le(&p, (u64)data[18] << 8 | data[19], 2);
  le(&p, (u64)data[50] << 8 | data[51], 2);
  le(&p, nt_hash(data, len), 4);
}

static void
grow_capture(struct scene *t, const void *data, size_t n)
{
  fwrite(data, 1, n, t->cap);
  fflush(t->cap);
}

static int
begin(void **state)
{
  struct scene *t = *state = calloc(1, sizeof *t);
  strcpy(t->ram, "/tmp/test_follow.XXXXXX");
  strcpy(t->wire, "/tmp/test_follow.XXXXXX");
  t->fd = mkstemp(t->ram);
  t->cap = fdopen(mkstemp(t->wire), "wb");
  assert_int_equal(ftruncate(t->fd, RAMSIZE), 0);
  t->p = mmap(0, RAMSIZE, PROT_READ | PROT_WRITE, MAP_SHARED, t->fd, 0);
  struct nt_header *h = (void *)(t->p + PAGE_PA);
  *h = (struct nt_header){.magic = NT_MAGIC, .version = 1, .hdr_size = 128, .slot_size = 64, .ncpu = 2, .nslots = NSLOTS, .tsc_khz = 1000000, .self_pa = PAGE_PA, .meta_pa = META_PA, .meta_len = sizeof gen_meta - 1, .cpu_off = NT_CPU_OFF};
  h->meta_hash = fnv1a(gen_meta, h->meta_len);
  memcpy(h->mac, gen_mac, 6);
  memcpy(t->p + META_PA, gen_meta, h->meta_len);
  for(u32 c = 0; c < 2; c++)
    cpu(t, c)->ring_pa = RING_PA + c * NSLOTS * 64;
  t->w.o = &t->o;
  t->w.last = -(1ll << 62);
  t->w.s.b = calloc(1, sizeof *t->w.s.b);
  t->w.f = open_memstream(&t->text, &t->len);
  t->at = (struct places){.ram = t->ram, .wire = t->wire};
  assert_int_equal(look(&t->w, t->ram), 1);
  return 0;
}

static int
end(void **state)
{
  struct scene *t = *state;
  fclose(t->w.f);
  fclose(t->cap);
  munmap(t->p, RAMSIZE);
  close(t->fd);
  ram_close(&t->w.ram);
  unlink(t->ram);
  unlink(t->wire);
  return 0;
}

// One look, whose clock says that ticks moved just now, or not for long.
static void
step_at(struct scene *t, bool stalled)
{
  t->w.moved = now_ms() - (stalled ? STALL_MS : 0);
  assert_int_equal(growing_begin(&t->w.wire, t->wire), 0);
  step(&t->w, false);
}

// The packets of what was printed since the last call, as "1 2 3".
static const char *
seen(struct scene *t)
{
  static char list[4000];
  size_t k = 0;
  fflush(t->w.f); // now text is there
  *list = 0;
  for(char *line = t->text + t->from; *line; line = strchr(line, '\n') + 1) {
    unsigned pkt = 0;
    char word[40] = "", at[32];
    assert_int_equal(sscanf(line, "%31s", at), 1);
    if(sscanf(line, "%*s #%u %39s", &pkt, word) == 2)
      k += (size_t)snprintf(list + k, sizeof list - k, "%s%s%u", k ? " " : "", strcmp(word, "WIRE") ? "" : "w", pkt);
    else if(strstr(line, "!!"))
      k += (size_t)snprintf(list + k, sizeof list - k, "%s!%d", k ? " " : "", atoi(strstr(line, "!!") + 3));
    else
      k += (size_t)snprintf(list + k, sizeof list - k, "%sw?", k ? " " : "");
  }
  t->from = t->len;
  return list;
}

// Nothing is shown that another CPU may still precede; a tick that stands still lets all out.
static void
test_order(void **state)
{
  struct scene *t = *state;
  emit(t, 0, 10, GEN_STATE, 1, true);
  emit(t, 0, 30, GEN_STATE, 3, true);
  now(t, 0, 100);
  now(t, 1, 20);
  step_at(t, false);
  assert_string_equal(seen(t), "1");
  emit(t, 1, 25, GEN_STATE, 2, true);
  emit(t, 1, 120, GEN_STATE, 5, true);
  now(t, 1, 110);
  step_at(t, false);
  assert_string_equal(seen(t), "2 3");
  emit(t, 0, 115, GEN_STATE, 4, true);
  step_at(t, false);
  assert_string_equal(seen(t), "");
  step_at(t, true);
  assert_string_equal(seen(t), "4 5");
}

// A slot being written is waited for; so is what follows it in its ring.
static void
test_in_flight(void **state)
{
  struct scene *t = *state;
  struct nt_slot *s = emit(t, 0, 10, GEN_STATE, 1, false);
  emit(t, 0, 11, GEN_STATE, 2, true);
  now(t, 0, 50);
  now(t, 1, 50);
  step_at(t, false);
  assert_string_equal(seen(t), "");
  s->seq++;
  step_at(t, false);
  assert_string_equal(seen(t), "1 2");
}

// Overwritten before it could be read: counted where it is missing, to the slot.
static void
test_losses(void **state)
{
  struct scene *t = *state;
  emit(t, 0, 10, GEN_STATE, 1, true);
  now(t, 0, 1000);
  now(t, 1, 1000);
  step_at(t, false);
  assert_string_equal(seen(t), "1");
  for(u32 i = 0; i < NSLOTS + 9; i++)
    emit(t, 0, 20 + i, GEN_STATE, 2 + i, true);
  step_at(t, false);
  assert_true(strncmp(seen(t), "!9 11 12 13", 11) == 0);
  assert_int_equal(t->w.lost, 9);
  assert_int_equal(t->w.events + t->w.lost, cpu(t, 0)->head + 1); // the line that tells it is one
}

// Half a record of the capture is left alone; a frame stands behind its e1000_tx, before
// its e1000_txkick or e1000_rx, whatever the clocks say.
static void
test_frames(void **state)
{
  struct scene *t = *state;
  struct gen g = {0};
  u8 out[128], in[128];
  u32 no = gen_frame(&g, out, false, false, TH_SYN, 7, 0), ni = gen_frame(&g, in, true, false, TH_SYN | TH_ACK, 9, 8);
  const u32 head[6] = {0xa1b2c3d4, 0x00040002, 0, 0, 65536, 1}, ho[4] = {500, 0, no, no}, hi[4] = {500, 1, ni, ni};
  grow_capture(t, head, 20);
  now(t, 0, 5);
  now(t, 1, 5);
  step_at(t, false);
  grow_capture(t, (const u8 *)head + 20, 4);
  emit(t, 0, 10, GEN_STATE, 1, true);
  emit_driver(t, 20, false, 2, out, no);
  emit(t, 0, 30, GEN_KICK, 2, true);
  grow_capture(t, ho, sizeof ho);
  grow_capture(t, out, 30);
  now(t, 0, 15);
  now(t, 1, 90);
  step_at(t, false);
  assert_string_equal(seen(t), "1");
  grow_capture(t, out + 30, no - 30);
  grow_capture(t, hi, sizeof hi);
  grow_capture(t, in, ni);
  emit(t, 0, 40, GEN_STATE, 3, true);
  emit_driver(t, 50, true, 4, in, ni);
  now(t, 0, 90);
  step_at(t, false);
  assert_string_equal(seen(t), "2 w2 2 3 w4 4");
  assert_int_equal(t->w.s.cap.n, 0);
}

// A record that cannot be one ends the frames, not the tool; another file is refused.
static void
test_bad_capture(void **state)
{
  struct scene *t = *state;
  const u32 head[6] = {0xa1b2c3d4, 0x00040002, 0, 0, 65536, 1}, bad[4] = {1, 1, 0x7fffffff, 60};
  grow_capture(t, head, sizeof head);
  grow_capture(t, bad, sizeof bad);
  emit(t, 0, 10, GEN_STATE, 1, true);
  now(t, 0, 50);
  now(t, 1, 50);
  step_at(t, false);
  assert_string_equal(seen(t), "1");
  assert_true(t->w.wire.broken);
  t->w.wire.begun = false;
  assert_int_equal(pwrite(fileno(t->cap), "\n\r\rx", 4, 0), 4);
  assert_int_equal(growing_begin(&t->w.wire, t->wire), -EX_BADIN);
}

// A pcapng byte by byte: a frame is there when its block is whole, in its interface's
// unit of time; a block that cannot be one ends the frames.
static void
test_pcapng(void **state)
{
  struct scene *t = *state;
  const u32 words[] = {
    0x0a0d0d0a, 28, 0x1a2b3c4d, 1, 0xffffffff, 0xffffffff, 28, // section
    1, 32, 1, 65536, 0x00010009, 9, 0, 32,                     // interface, in ns
    1, 20, 1, 65536, 20,                                       // another, in us
    5, 16, 0, 16,                                              // something else
    6, 36, 0, 1, 5, 2, 60, 0x0201, 36,                         // 2 bytes of 60 at 2^32 + 5 ns
    6, 32, 1, 0, 7, 0, 60, 32,                                 // none of 60 at 7 us
    6, 32, 2, 0, 7, 0, 60, 32,                                 // of an interface that is none
  };
  const u8 *data = 0;
  const u32 whole[2] = {28 + 32 + 20 + 16 + 36, 28 + 32 + 20 + 16 + 36 + 32};
  u32 seen = 0, caplen, len;
  i64 w[2] = {0};
  for(u32 n = 1; n <= sizeof words; n++) {
    grow_capture(t, (const u8 *)words + n - 1, 1);
    assert_int_equal(growing_begin(&t->w.wire, t->wire), 0);
    while(seen < 2 && growing_next(&t->w.wire, &w[seen], &data, &caplen, &len)) {
      assert_int_equal(n, whole[seen]);
      assert_int_equal(len, 60);
      assert_int_equal(caplen, seen == 0 ? 2 : 0);
      assert_true(seen || (data[0] == 1 && data[1] == 2));
      seen++;
    }
  }
  assert_int_equal(seen, 2);
  assert_int_equal(w[0], (1ll << 32) + 5);
  assert_int_equal(w[1], 7000);
  assert_false(growing_next(&t->w.wire, w, &data, &caplen, &len));
  assert_true(t->w.wire.broken);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_order, begin, end),
    cmocka_unit_test_setup_teardown(test_in_flight, begin, end),
    cmocka_unit_test_setup_teardown(test_losses, begin, end),
    cmocka_unit_test_setup_teardown(test_frames, begin, end),
    cmocka_unit_test_setup_teardown(test_bad_capture, begin, end),
    cmocka_unit_test_setup_teardown(test_pcapng, begin, end),
  };
  return cmocka_run_group_tests(tests, 0, 0);
}

// The follower leaves its memory to the end of the process.
const char *__asan_default_options(void);
const char *
__asan_default_options(void)
{
  return "detect_leaks=0";
}
