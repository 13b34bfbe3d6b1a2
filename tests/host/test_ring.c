// The trace ring, its reader and the metadata, on the host.
//
//   gcc -g -fsanitize=address,undefined -Itests/host/shim -Ikernel tests/host/test_ring.c -lcmocka -pthread
//
// kernel/trace/ itself is compiled in, against the small stand-in for the kernel
// in shim/.  A thread is a CPU.
#define _GNU_SOURCE // MAP_32BIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sys/mman.h>
#include <unistd.h>
#include "defs.h"

// The reader copies records with memmove; a test may let the writer come between.
static void (*copy_hook)(void);
// The writer copies the head of a long record with it: all else must stand by then.
static void (*head_hook)(const void *slot_at_pkt);
static void *
hooked_memmove(void *dst, const void *src, size_t n)
{
  void *ret = __builtin_memmove(dst, src, n);
  if(copy_hook && n == 64) {
    void (*fn)(void) = copy_hook;
    copy_hook = 0;
    fn();
  }
  if(head_hook && n == 8)
    head_hook(dst);
  return ret;
}
#define memmove hooked_memmove
#include "../../kernel/trace/trace.c"
#include "../../kernel/trace/filter.c"
#include "../../kernel/trace/only.c"
#include "../../kernel/trace/reader.c"
#include "../../kernel/trace/control.c"
#include "../../kernel/trace/devtrace.c"
#undef memmove

// ---- the stand-in --------------------------------------------------------------

// stop.c is gdb's, and has the CPU trap.
void
trace_stop_arm(u32 id, struct nt_slot *slot, u32 seq)
{
  (void)id;
  (void)slot;
  (void)seq;
}

// func.c patches the kernel's own code, which is not here.
int
func_select(const char *pat)
{
  return strcmp(pat, "off") == 0 ? 0 : -EOPNOTSUPP;
}

int
func_names(u32 off, char *dst, int n)
{
  (void)off;
  (void)dst;
  (void)n;
  return 0;
}

struct dev devsw[NDEV];
__typeof__(acpi) acpi;
int ncpu = 1;
__thread struct cpu cpu_here;
static struct proc proc_here = {.pid = 7};

static const char *options[8][2];
static int nwakeup, npollwake, nsnap;

static struct {
  void *p;
  size_t n;
} mapped[64];
static u32 nmapped;

u8 *
bootmem(u32 npages)
{
  size_t n = (size_t)npages * PGSIZE;
  void *p = mmap(0, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
  assert_true(p != MAP_FAILED);
  memset(p, 0xa5, n); // memory is not zero at boot
  mapped[nmapped].p = p;
  mapped[nmapped++].n = n;
  return p;
}

char *
kalloc(void)
{
  return malloc(PGSIZE);
}

void
kfree(char *p)
{
  free(p);
}

const char *
opt_str(const char *name)
{
  for(u32 i = 0; i < NELEM(options) && options[i][0]; i++)
    if(strcmp(options[i][0], name) == 0)
      return options[i][1];
  return 0;
}

int
opt_num(const char *name, u32 *val)
{
  const char *s = opt_str(name);
  char *end;
  if(s == 0)
    return 0;
  u32 n = (u32)strtoul(s, &end, 0);
  if(*end || end == s)
    return 0;
  *val = n;
  return 1;
}

void
clock_sync(void)
{
  TRACE(clock_sync, .pkt = 0, .sock = 0, .tsc = rdtsc());
}

void
proc_snap(void)
{
  nsnap++;
}

void
wakeup(void *chan)
{
  (void)chan;
  nwakeup++;
}

void
poll_wake(const void *what)
{
  (void)what;
  npollwake++;
}

int
waitsleep(struct sleeplock *l, void *chan, u64 ns, u8 why)
{
  (void)chan;
  assert_int_equal(why, SLEEPWHY_TRACE);
  releasesleep(l);
  usleep(1000);
  acquiresleep(l);
  return now_ns() >= ns;
}

// ---- helpers -------------------------------------------------------------------

static void
be_cpu(u32 id)
{
  cpu_here = (struct cpu){.id = id, .proc = &proc_here, .trace = &nt_page.cpu[id], .trace_cpu = id, .trace_nsl = 1};
}

// Boot the recorder with these options, name and value in turn, ended by 0.
static void
boot(u32 cpus, ...)
{
  va_list ap;
  while(nmapped)
    nmapped--, munmap(mapped[nmapped].p, mapped[nmapped].n);
  memset(&nt_page, 0, sizeof(nt_page));
  memset(readers, 0, sizeof(readers));
  memset(ever_base, 0, sizeof(ever_base));
  memset(trace_base, 0, sizeof(trace_base));
  memset(options, 0, sizeof(options));
  last_err[0] = 0;
  origin = nwakeup = npollwake = nsnap = 0;
  va_start(ap, cpus);
  for(int i = 0; (options[i][0] = va_arg(ap, const char *)) != 0; i++)
    options[i][1] = va_arg(ap, const char *);
  va_end(ap);
  be_cpu(0);
  proc_here.quiet = 0;
  acpi.ncpu = cpus;
  ncpu = (int)cpus;
  trace_init();
  devtrace_init();
}

static struct file
dev_open(int minor, int mode)
{
  struct file f = {.flags = mode | O_NONBLOCK, .minor = (short)minor};
  assert_int_equal(devsw[NETTRACE_MAJOR].open(&f, minor, mode), 0);
  trace_quiet(&proc_here, 0); // the tests write and read in one process
  return f;
}

static int
dev_read(struct file *f, void *dst, int n)
{
  return devsw[NETTRACE_MAJOR].read(f, dst, n);
}

static int
dev_write(struct file *f, const char *s)
{
  return devsw[NETTRACE_MAJOR].write(f, s, (int)strlen(s));
}

static void
dev_close(struct file *f)
{
  devsw[NETTRACE_MAJOR].close(f);
}

static char stat_buf[65536];
static const char *
stat_text(void)
{
  struct file f = dev_open(1, O_RDONLY);
  int n, got = 0;
  while((n = dev_read(&f, stat_buf + got, 100)) > 0) // in odd pieces
    got += n;
  stat_buf[got] = 0;
  dev_close(&f);
  return stat_buf;
}

// Open, and skip header and metadata.
static struct file
stream(void)
{
  static char text[65536];
  struct file f = dev_open(0, O_RDWR);
  u32 size = TEXTSIZE;
  assert_true(size < sizeof(text));
  // exactly: a read that ends with the text takes no record
  for(u32 got = 0; got < size;) {
    u32 n = size - got < 256 ? 256 : size - got;
    struct reader *r = f.priv;
    u8 keep[NT_MAXEV];
    memcpy(keep, r->view, sizeof(keep));
    got += (u32)dev_read(&f, text, (int)n);
    memcpy(r->view, keep, sizeof(keep));
  }
  return f;
}

#define NREC 300000
static struct nt_slot recs[NREC];

static int
read_all(struct file *f)
{
  int got = 0, n;
  while((n = dev_read(f, recs + got, 64 * 1024)) > 0)
    got += n / (int)sizeof(struct nt_slot);
  assert_true(n == -EAGAIN || n == 0);
  return got;
}

static void
count(u32 n) // emits that carry a number and its complement
{
  TRACE(e1000_refill, .pkt = n, .sock = 0, .n = (u16)n, .free = 0, .fails = ~n);
}

// ---- record and hash -------------------------------------------------------------

static void
test_hash(void **state)
{
  u8 seq[100];
  (void)state;
  for(u8 i = 0; i < 100; i++)
    seq[i] = i;
  // values from an independent program
  assert_int_equal(nt_hash(seq, 0), 0x69691905);
  assert_int_equal(nt_hash((const u8 *)"abc", 3), 0x109d30a4);
  assert_int_equal(nt_hash(seq, 42), 0x3f2b43c1);
  assert_int_equal(nt_hash(seq, 100), 0x259f1bc5);
  assert_int_equal(nt_hash(seq, 64), 0x259f1bc5); // no more than 64 count
  u8 padded[60] = {0};
  memcpy(padded, seq, 42);
  assert_int_equal(nt_hash(padded, 60), 0x3f2b43c1); // padding does not
  assert_int_equal(nt_hash(padded, 41) == nt_hash(padded, 42), 0);
}

static void
test_record(void **state)
{
  (void)state;
  boot(2, "trace_slots", "1024", NULL);
  be_cpu(1);
  trace_switch(&proc_here);
  cpu_here.trace_ctx = NT_CTX_NETD;
  u64 before = rdtsc();
  TRACE(e1000_rx, .pkt = 0x11223344, .sock = 5, .slot = 0x0102, .len = 66, .status = 7, .hash = 0xdeadbeef, .buf = 9);
  const struct nt_slot *s = ring_slot(1, 0);
  assert_int_equal(s->seq, 1);
  assert_int_equal(s->id, TR_e1000_rx);
  assert_int_equal(s->cpu_ctx, 1 | NT_CTX_NETD << 4);
  assert_int_equal(s->nsl, 1);
  assert_int_equal(s->pkt, 0x11223344);
  assert_int_equal(s->sock, 5);
  assert_int_equal(s->pid, 7);
  assert_true(s->ts >= before && s->ts <= rdtsc());
  static const u8 want[22] = {2, 1, 66, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xef, 0xbe, 0xad, 0xde, 9};
  assert_memory_equal(s->p, want, sizeof(want));
  assert_int_equal(nt_page.cpu[1].head, 1);
  assert_int_equal(nt_page.cpu[0].head, 0);
  const struct nt_count *c = P2V(nt_page.cpu[1].count_pa);
  assert_int_equal(c->emitted[TR_e1000_rx], 1);
  TRACE(sleep, .pkt = 0, .sock = 0, .chan = 1); // not in std
  assert_int_equal(nt_page.cpu[1].head, 1);
}

// Continuations of the record whose head is being written are complete.
static void
rest_is_complete(const void *slot_at_pkt)
{
  const struct nt_slot *slot = (const void *)((const char *)slot_at_pkt - 16);
  for(u32 k = 1; k < slot->nsl; k++)
    assert_int_equal(slot_seq(ring_slot(0, slot->seq + k)), slot->seq + k + 1);
}

static void
test_text(void **state)
{
  char text[400], back[400];
  (void)state;
  boot(1, "trace_slots", "1024", "trace_head0", "1000", NULL);
  struct file f = stream();
  read_all(&f);
  for(u32 len = 0; len < 250; len++) {
    for(u32 i = 0; i < len; i++)
      text[i] = (char)('a' + (i + len) % 26);
    text[len] = 0;
    head_hook = rest_is_complete;
    TRACE_TEXT(ctl, text, .pkt = len, .sock = 3, .ok = 1);
    head_hook = 0;
    int n = read_all(&f);
    u32 fits = len < nt_capacity(4) - 1 ? len : nt_capacity(4) - 1;
    u32 nsl = fits + 1 <= 40 ? 1 : fits + 1 <= 88  ? 2
                                 : fits + 1 <= 136 ? 3
                                                   : 4;
    assert_int_equal(n, nsl);
    assert_int_equal(recs[0].nsl, nsl);
    assert_int_equal(recs[0].pkt, len);
    assert_int_equal(recs[0].p[0], 1);
    memset(back, 0, sizeof(back));
    memcpy(back, recs[0].p + 1, 39);
    for(u32 k = 1; k < nsl; k++) {
      assert_memory_equal(&recs[k], &recs[0], 11);
      assert_int_equal(recs[k].nsl, 0x80 + k);
      assert_int_equal(recs[k].seq, recs[0].seq + k);
      memcpy(back + 39 + 48 * (k - 1), &recs[k].pkt, 48);
    }
    text[fits] = 0;
    assert_string_equal(back, text);
  }
  dev_close(&f);
}

static void
test_pkt(void **state)
{
  (void)state;
  pkt_last = 0xfffffffe;
  assert_int_equal(pkt_new(), 0xffffffff);
  assert_int_equal(pkt_new(), 1);
  assert_int_equal(pkt_new(), 2);
}

// ---- wrap, loss, order -------------------------------------------------------------

static void
account(struct file *f, u32 cpu)
{
  const struct lane *l = &((struct reader *)f->priv)->lane[cpu];
  u32 head = nt_page.cpu[cpu].head;
  assert_int_equal(l->delivered + l->lost + l->filtered + (head - l->cur), head - l->start);
}

static void
overrun(u32 head0, u32 n)
{
  char num[16];
  snprintf(num, sizeof(num), "%u", head0);
  boot(1, "trace_slots", "1024", "trace", "off,+e1000_refill", "trace_head0", num, NULL);
  struct file f = stream();
  for(u32 i = 0; i < n; i++)
    count(i);
  account(&f, 0);
  int got = read_all(&f);
  account(&f, 0);
  assert_int_equal(got, n > 1024 ? 1025 : n);
  int k = 0;
  if(n > 1024) {
    const struct tr_lost *l = (const void *)&recs[0].pkt;
    assert_int_equal(recs[0].id, TR_lost);
    assert_int_equal(recs[0].seq, 0);
    assert_int_equal(l->n, n - 1024);
    assert_int_equal(l->seq, head0);
    assert_int_equal(l->why, LOST_WHY_OVERWRITE);
    assert_int_equal(l->to, recs[1].ts);
    k = 1;
  }
  for(u32 i = n > 1024 ? n - 1024 : 0; i < n; i++, k++) {
    assert_int_equal(recs[k].seq, head0 + i + 1);
    assert_int_equal(recs[k].pkt, i);
  }
  const struct lane *l = &((struct reader *)f.priv)->lane[0];
  assert_int_equal(l->delivered + l->lost, n);
  dev_close(&f);
}

static void
test_wrap(void **state)
{
  static const u32 head0[] = {0, 1, 1023, 0xffffffff, 0xfffffc00, 0xfffffb9c, 0x7fffff00};
  static const u32 n[] = {0, 1, 1023, 1024, 1025, 2047, 5000};
  (void)state;
  for(u32 i = 0; i < NELEM(head0); i++)
    for(u32 k = 0; k < NELEM(n); k++)
      overrun(head0[i], n[k]);
}

// A continuation at the cursor, after the ring has lapped in mid-record.
static void
test_lapped_in_record(void **state)
{
  char text[60];
  (void)state;
  memset(text, 'x', sizeof(text) - 1);
  text[59] = 0;
  boot(1, "trace_slots", "1024", "trace", "off,+mark", NULL);
  struct file f = stream();
  for(u32 i = 0; i < 600; i++) // 2 slots each; 1024 = 512 records; now shift by one slot
    TRACE_TEXT(mark, text, .pkt = i, .sock = 0);
  TRACE_TEXT(mark, "odd", .pkt = 600, .sock = 0);
  int got = read_all(&f);
  account(&f, 0);
  assert_int_equal(got, 1 + 2 * 511 + 1); // lost, whole records, the odd one
  const struct tr_lost *l = (const void *)&recs[0].pkt;
  assert_int_equal(l->n, 1201 - 1023);
  assert_int_equal(recs[1].pkt, 89);
  assert_int_equal(recs[got - 1].pkt, 600);
  dev_close(&f);
}

static void
lap(void)
{
  for(u32 i = 0; i < 1024; i++)
    count(0x10000 + i);
}

// The writer comes round while the reader copies.
static void
test_torn(void **state)
{
  (void)state;
  boot(1, "trace_slots", "1024", "trace", "off,+e1000_refill", NULL);
  struct file f = stream();
  count(1);
  count(2);
  copy_hook = lap;
  assert_int_equal(read_all(&f), 0); // what lap wrote is younger than the read
  int got = read_all(&f);
  account(&f, 0);
  assert_int_equal(got, 1025);
  const struct tr_lost *l = (const void *)&recs[0].pkt;
  assert_int_equal(recs[0].id, TR_lost);
  assert_int_equal(l->n, 2);
  for(u32 i = 1; i < 1025; i++)
    assert_int_equal(recs[i].pkt, 0x10000 + i - 1);
  dev_close(&f);
}

// A record in flight holds back what could be younger; a dead machine's is lost.
static void
test_inflight(void **state)
{
  (void)state;
  boot(2, "trace_slots", "1024", "trace", "off,+e1000_refill", NULL);
  struct file f = stream();
  count(1);
  u64 open = trace_begin(TR_e1000_refill);
  be_cpu(1);
  count(2);
  assert_int_equal(read_all(&f), 1);
  assert_int_equal(recs[0].pkt, 1);
  assert_int_equal(read_all(&f), 0);
  trace_end(open);
  assert_int_equal(read_all(&f), 2);
  assert_int_equal(recs[1].pkt, 2);

  be_cpu(0);
  trace_begin(TR_e1000_refill);
  count(3);
  trace_freeze(NT_PANICKED);
  assert_int_equal(read_all(&f), 2);
  const struct tr_lost *l = (const void *)&recs[0].pkt;
  assert_int_equal(recs[0].id, TR_lost);
  assert_int_equal(l->why, LOST_WHY_INFLIGHT);
  assert_int_equal(l->n, 1);
  assert_int_equal(recs[1].pkt, 3);
  assert_int_equal(dev_read(&f, recs, 4096), 0); // frozen and drained
  account(&f, 0);
  account(&f, 1);
  count(4); // frozen: not recorded
  assert_int_equal(dev_read(&f, recs, 4096), 0);
  dev_close(&f);
}

// ---- several writers, several readers ---------------------------------------------------

#define NWRITER  3
#define NREADERS 2
#define NEACH    60000

static volatile int writers_left;

static void *
writer(void *arg)
{
  u32 cpu = (u32)(unsigned long)arg;
  char text[150];
  be_cpu(cpu);
  memset(text, 'a' + (int)cpu, sizeof(text));
  for(u32 i = 0; i < NEACH; i++) {
    count(cpu << 24 | i);
    if(i % 16 == 0) {
      text[i % 149] = 0;
      TRACE_TEXT(mark, text, .pkt = cpu << 24 | i, .sock = 0);
      text[i % 149] = (char)('a' + cpu);
    }
    if(i % 256 == 0)
      usleep(100);
  }
  __atomic_sub_fetch(&writers_left, 1, __ATOMIC_SEQ_CST);
  return 0;
}

// What one reader saw: every record whole, in order, and all accounted for.
struct seen {
  struct file f;
  struct nt_slot last;
  u32 next[NT_MAXCPU]; // smallest seq that may follow
  u32 slots, told_lost, inversions, corrupt;
  u64 sum;
};

static int
whole(const struct nt_slot *s)
{
  u32 cpu = s->cpu_ctx & 15;
  if(s->id == TR_e1000_refill) {
    const struct tr_e1000_refill *b = (const void *)&s->pkt;
    return b->fails == ~b->pkt && b->n == (u16)b->pkt && b->pkt >> 24 == cpu && s->nsl == 1;
  }
  for(u32 k = 1; k < s->nsl; k++)
    if(s[k].nsl != NT_CONT + k || s[k].seq != s->seq + k || s[k].ts != s->ts || *(const u8 *)&s[k].pkt != 'a' + cpu)
      return 0;
  return s->id == TR_mark && s->pkt >> 24 == cpu;
}

static u32
see(struct seen *v, const struct nt_slot *s)
{
  u32 cpu = s->cpu_ctx & 15;
  if(s->id == TR_lost) {
    v->told_lost += ((const struct tr_lost *)(const void *)&s->pkt)->n;
    return 1;
  }
  v->corrupt += !whole(s);
  v->inversions += s->ts < v->last.ts || (s32)(s->seq - v->next[cpu]) < 0;
  v->next[cpu] = s->seq + s->nsl;
  v->last = *s;
  v->slots += s->nsl;
  return s->nsl;
}

static void *
reader_thread(void *arg)
{
  static const int sizes[] = {256, 4096, 32768};
  static __thread struct nt_slot buf[512];
  struct seen *v = arg;
  be_cpu(7);
  for(u32 turn = 0;; turn++) {
    int n = dev_read(&v->f, buf, sizes[turn % 3]);
    if(n == 0)
      return 0;
    if(n == -EAGAIN)
      usleep(200);
    for(u32 i = 0; n > 0 && i < (u32)n / 64;)
      i += see(v, &buf[i]);
  }
}

static void
threads(const char *slots, const char *head0)
{
  static struct seen seen[NREADERS];
  pthread_t w[NWRITER], r[NREADERS];
  boot(NWRITER, "trace_slots", slots, "trace", "off,+e1000_refill,+mark", "trace_head0", head0, NULL);
  memset(seen, 0, sizeof(seen));
  writers_left = NWRITER;
  for(u32 i = 0; i < NREADERS; i++) {
    seen[i].f = stream();
    for(u32 k = 0; k < NT_MAXCPU; k++)
      seen[i].next[k] = (u32)strtoul(head0, 0, 0);
    assert_int_equal(pthread_create(&r[i], 0, reader_thread, &seen[i]), 0);
  }
  for(u32 i = 0; i < NWRITER; i++)
    assert_int_equal(pthread_create(&w[i], 0, writer, (void *)(unsigned long)i), 0);
  for(u32 i = 0; i < NWRITER; i++)
    pthread_join(w[i], 0);
  trace_freeze(0);
  for(u32 i = 0; i < NREADERS; i++) {
    pthread_join(r[i], 0);
    struct seen *v = &seen[i];
    u32 delivered = 0, lost = 0, emitted = 0;
    for(u32 cpu = 0; cpu < NWRITER; cpu++) {
      const struct lane *l = &((struct reader *)v->f.priv)->lane[cpu];
      const struct nt_count *c = P2V(nt_page.cpu[cpu].count_pa);
      account(&v->f, cpu);
      assert_int_equal(c->emitted[TR_e1000_refill] + c->emitted[TR_mark], nt_page.cpu[cpu].head - trace_origin());
      assert_int_equal(c->emitted[TR_e1000_refill], NEACH);
      assert_int_equal(l->delivered + l->lost + l->filtered, nt_page.cpu[cpu].head - trace_origin());
      delivered += l->delivered;
      lost += l->lost;
      emitted += nt_page.cpu[cpu].head - trace_origin();
    }
    assert_int_equal(v->slots, delivered);
    assert_int_equal(v->told_lost, lost);
    assert_int_equal(v->corrupt, 0);
    assert_int_equal(v->inversions, 0);
    assert_int_equal(delivered + lost, emitted);
    if(nt_page.hdr.nslots > nt_page.cpu[0].head - trace_origin()) // holds all that is written
      assert_int_equal(lost, 0);
    print_message("ring %s from %s: %u delivered, %u lost\n", slots, head0, delivered, lost);
    dev_close(&v->f);
  }
}

static void
test_threads_lossy(void **state)
{
  (void)state;
  threads("1024", "4294960000"); // crosses 2^32
}

static void
test_threads_roomy(void **state)
{
  (void)state;
  threads("131072", "0");
}

// ---- the device ------------------------------------------------------------------------

static void
test_views(void **state)
{
  (void)state;
  boot(1, "trace_slots", "1024", "trace", "off,+e1000_refill,+e1000_txkick", NULL);
  struct file a = stream(), b = stream();
  assert_int_equal(dev_write(&a, "disable e1000_txkick\nenable sle*\n"), 33);
  assert_true(trace_on[TR_sleep] && trace_on[TR_e1000_txkick] && !trace_on[TR_wakeup]);
  TRACE(sleep, .pkt = 0, .sock = 0, .chan = 1);
  TRACE(e1000_txkick, .pkt = 0, .sock = 0, .tdt = 1);
  count(1);
  assert_int_equal(read_all(&a), 2);
  assert_int_equal(recs[0].id, TR_sleep);
  assert_int_equal(recs[1].id, TR_e1000_refill);
  assert_int_equal(read_all(&b), 2); // not what a alone asked for
  assert_int_equal(recs[0].id, TR_e1000_txkick);
  account(&a, 0);
  account(&b, 0);
  assert_int_equal(((struct reader *)a.priv)->lane[0].filtered, 1);
  dev_close(&a);
  assert_false(trace_on[TR_sleep]); // nobody wants it any more

  struct file w = dev_open(0, O_WRONLY);
  assert_int_equal(dev_write(&w, "disable @DRIVER"), 15);
  assert_false(trace_on[TR_e1000_refill]);
  assert_int_equal(dev_write(&w, "base +@CPU,-switch"), 18);
  assert_true(trace_on[TR_sleep] && !trace_on[TR_switch]);
  assert_int_equal(dev_read(&w, recs, 4096), -EINVAL);
  dev_close(&w);
  dev_close(&b);
}

static void
test_refused(void **state)
{
  static const struct {
    const char *cmd, *err;
  } bad[] = {
    {"enable tcpx", "unknown event tcpx"},
    {"enable", "want an event's name or a pattern: nettrace list shows them"},
    {"enable mark,tcpx", "unknown event tcpx"},
    {"base mark", "want + or - before each pattern"},
    {"base +mark,tcpx", "want + or - before each pattern"},
    {"from -1025", "from: want oldest, now, or -N with at most the ring's slots"},
    {"from 5", "from: want oldest, now, or -N with at most the ring's slots"},
    {"timeout 600001", "timeout: want milliseconds, at most 600000"},
    {"timeout 42949672960", "timeout: want milliseconds, at most 600000"},
    {"mark", "mark: want 1 to 100 characters"},
    {"snap x", "snap: takes no argument"},
    {"func x", "func: this kernel was built without function entry nops"},
  };
  char want[256];
  (void)state;
  boot(1, "trace_slots", "1024", "trace", "off,+ctl", NULL);
  struct file f = stream();
  for(u32 i = 0; i < NELEM(bad); i++) {
    assert_int_equal(dev_write(&f, bad[i].cmd), -EINVAL);
    snprintf(want, sizeof(want), "err \"%s\"", bad[i].err);
    assert_non_null(strstr(stat_text(), want));
    assert_int_equal(read_all(&f), 1);
    assert_int_equal(recs[0].id, TR_ctl);
    assert_int_equal(recs[0].p[0], 0);
    assert_memory_equal(recs[0].p + 1, bad[i].cmd, strlen(bad[i].cmd) < 39 ? strlen(bad[i].cmd) : 39);
  }
  assert_false(trace_on[TR_mark]); // nothing of a refused line holds
  assert_int_equal(dev_write(&f, "enable mark\nenable nix\ndisable mark\n"), -EINVAL);
  assert_true(trace_on[TR_mark]); // lines before the bad one do, those behind it do not

  char line[600];
  memset(line, '#', sizeof(line));
  line[127] = 0;
  assert_int_equal(dev_write(&f, line), 127);
  line[127] = '#';
  line[128] = 0;
  assert_int_equal(dev_write(&f, line), -EINVAL);
  assert_int_equal(devsw[NETTRACE_MAJOR].write(&f, line, 513), -EINVAL);
  dev_close(&f);
}

static void
test_seek_sync_stop(void **state)
{
  (void)state;
  boot(1, "trace_slots", "1024", "trace", "off,+e1000_refill", NULL);
  for(u32 i = 0; i < 3000; i++)
    count(i);
  struct file f = stream();
  assert_int_equal(read_all(&f), 1024); // from the oldest: what was lost before is not ours
  assert_int_equal(dev_write(&f, "from -10"), 8);
  assert_int_equal(read_all(&f), 10);
  assert_int_equal(recs[0].pkt, 2990);
  account(&f, 0);
  assert_int_equal(dev_write(&f, "from oldest\nfrom now\n"), 21);
  count(7);
  assert_int_equal(read_all(&f), 1);
  account(&f, 0);

  assert_int_equal(dev_write(&f, "sync"), 4);
  assert_int_equal(read_all(&f), 1);
  const struct tr_reader_stat *s = (const void *)&recs[0].pkt;
  assert_int_equal(recs[0].id, TR_reader_stat);
  assert_int_equal(s->cursor, 3001);
  assert_int_equal(s->delivered + s->lost + s->filtered, s->cursor - s->start);

  assert_int_equal(dev_write(&f, "stop"), 4);
  count(8);
  assert_int_equal(dev_read(&f, recs, 4096), 0);
  assert_non_null(strstr(stat_text(), "frozen 1"));
  assert_int_equal(dev_write(&f, "start"), 5);
  count(9);
  assert_int_equal(read_all(&f), 1);
  assert_int_equal(recs[0].pkt, 9);
  assert_non_null(strstr(stat_text(), "cpu 0 head 3002 dropped 0 slots 1024 idle_ms 0 up_ms "));
  assert_non_null(strstr(stat_text(), "event e1000_refill 3002 0 "));
  assert_int_equal(dev_write(&f, "snap"), 4);
  assert_int_equal(nsnap, 2); // each open takes one
  dev_close(&f);
}

static void
test_wait(void **state)
{
  (void)state;
  boot(1, "trace_slots", "1024", "trace", "off,+e1000_refill", NULL);
  struct file f = stream();
  assert_int_equal(dev_read(&f, recs, 255), -EINVAL);
  assert_int_equal(devsw[NETTRACE_MAJOR].poll(&f), POLLOUT);
  devtrace_tick();
  assert_int_equal(npollwake, 0);
  count(1);
  devtrace_tick();
  assert_int_equal(npollwake, 1);
  devtrace_tick();
  assert_int_equal(npollwake, 1);
  assert_int_equal(devsw[NETTRACE_MAJOR].poll(&f), POLLIN | POLLOUT);
  assert_int_equal(read_all(&f), 1);

  f.flags &= ~O_NONBLOCK;
  assert_int_equal(dev_write(&f, "timeout 20"), 10);
  u64 t = now_ns();
  assert_int_equal(dev_read(&f, recs, 4096), -EAGAIN);
  assert_true(now_ns() - t >= 20000000);
  ((struct reader *)f.priv)->waiting = 1;
  devtrace_tick();
  assert_int_equal(nwakeup, 0);
  count(2);
  devtrace_tick();
  assert_int_equal(nwakeup, 1);
  ((struct reader *)f.priv)->waiting = 0;
  dev_close(&f);
}

static void
test_opens(void **state)
{
  struct file f[NREADER], g = {.flags = O_RDONLY};
  (void)state;
  boot(1, "trace_slots", "1024", NULL);
  for(int i = 0; i < NREADER; i++)
    f[i] = dev_open(0, O_RDONLY);
  assert_int_equal(devsw[NETTRACE_MAJOR].open(&g, 0, O_RDONLY), -ENFILE);
  assert_int_equal(devsw[NETTRACE_MAJOR].open(&g, 0, O_WRONLY), 0);
  assert_int_equal(devsw[NETTRACE_MAJOR].open(&g, 3, O_RDONLY), -ENODEV);
  dev_close(&f[3]);
  f[3] = dev_open(0, O_RDONLY);
  for(int i = 0; i < NREADER; i++)
    dev_close(&f[i]);
}

// What a reading process does in thread context is not recorded, the rest is.
static void
test_quiet(void **state)
{
  (void)state;
  boot(1, "trace_slots", "1024", "trace", "all", NULL);
  struct file f = {.flags = O_RDWR};
  assert_int_equal(devsw[NETTRACE_MAJOR].open(&f, 0, O_RDWR), 0);
  assert_true(proc_here.quiet);
  u32 head = nt_page.cpu[0].head;
  TRACE(sys_enter, .pkt = 0, .sock = 0, .nr = 5);
  TRACE(sleep, .pkt = 0, .sock = 0);
  assert_int_equal(nt_page.cpu[0].head, head);
  const struct nt_count *c = P2V(nt_page.cpu[0].count_pa);
  assert_int_equal(c->emitted[TR_sys_enter], 0);
  TRACE(switch, .pkt = 0, .sock = 0);
  TRACE_TEXT(mark, "seen", .pkt = 0, .sock = 0);
  cpu_here.trace_ctx = NT_CTX_INTR;
  TRACE(sleep, .pkt = 0, .sock = 0);
  assert_int_equal(nt_page.cpu[0].head, head + 3);
  cpu_here.trace_ctx = 0;
  dev_close(&f);
  assert_false(proc_here.quiet);
  TRACE(sys_enter, .pkt = 0, .sock = 0, .nr = 5);
  assert_int_equal(nt_page.cpu[0].head, head + 4);
}

static void
test_options(void **state)
{
  (void)state;
  boot(1, "trace_slots", "1000", NULL);
  assert_int_equal(nt_page.hdr.nslots, NT_DEFSLOTS);
  assert_true(trace_on[TR_mem_stat] && trace_on[TR_tcp_state] && !trace_on[TR_sys_enter] && !trace_on[TR_switch]);
  assert_true(!trace_on[TR_frame] && !trace_on[TR_tcp_timer] && !trace_on[TR_pbuf_free] && trace_on[TR_memp_fail]);
  boot(1, "trace_slots", "262144", "trace", "all,-func*,-pbuf_*,-frame", NULL);
  assert_int_equal(nt_page.hdr.nslots, NT_DEFSLOTS);
  for(u32 id = 0; id < NT_MAXEV; id++)
    assert_int_equal(trace_on[id], id == TR_tcp_changes || id == TR_tcp_moves || (id < NTRACE && id != TR_func && id != TR_func_exit && id != TR_frame && id != TR_pbuf_alloc && id != TR_pbuf_free));
  boot(1, "trace", "off,+tcp_*", "nonce", "000102030405060708090a0b0c0d0eff", NULL);
  assert_true(trace_on[TR_tcp_rtt] && !trace_on[TR_mark] && trace_on[TR_tcp_changes]);
  boot(1, "trace", "off,+tcp_rtt", NULL);
  assert_true(trace_on[TR_tcp_rtt] && !trace_on[TR_tcp_changes]);
  boot(1, "trace", "off,+tcp_*", "nonce", "000102030405060708090a0b0c0d0eff", NULL);
  assert_int_equal(nt_page.hdr.nonce[15], 0xff);
  assert_int_equal(nt_page.hdr.nonce[10], 10);
  boot(1, "trace", "", "nonce", "zz", NULL);
  assert_true(trace_on[TR_tcp_state]);
  assert_int_equal(nt_page.hdr.nonce[0], 0);
}

// ---- metadata --------------------------------------------------------------------------

struct meta_field {
  char type[8], name[24], unit[24];
};
struct meta_event {
  char name[24], stage[12];
  u32 nfield, size;
  int text; // ends in one
  struct meta_field field[24];
};
struct meta {
  u32 nevent;
  struct meta_event event[NT_MAXEV];
  u32 nvalue;
  struct {
    char set[24], name[24];
    u32 value, bits;
  } value[1024];
};

static int
type_size(const char *type)
{
  static const struct {
    const char *name;
    int size;
  } types[] = {{"u8", 1}, {"u16", 2}, {"u32", 4}, {"u64", 8}, {"s16", 2}, {"s32", 4}, {"mac6", 6}, {"name16", 16}, {"text", 0}, {"bytes", 0}};
  for(u32 i = 0; i < NELEM(types); i++)
    if(strcmp(types[i].name, type) == 0)
      return types[i].size;
  return -1;
}

// Understand one line.  Returns 0, or what is wrong with it.
static const char *
meta_line(struct meta *m, const char *line)
{
  char kind[8], value[16], set[24], name[24], unit[24], type[8], doc[2];
  u32 id;
  for(const char *s = line; *s; s++)
    if((*s < ' ' && s != line) || *s > '~' || *s == '"')
      return "not one line of ASCII";
  if(sscanf(line, "event %u %23s %11s %1s", &id, name, set, doc) == 4) {
    if(id != m->nevent)
      return "event out of order";
    struct meta_event *e = &m->event[m->nevent++];
    snprintf(e->name, sizeof(e->name), "%s", name);
    snprintf(e->stage, sizeof(e->stage), "%.11s", set);
    return 0;
  }
  if(line[0] == '\t') {
    if(sscanf(line, "\t%7s %23s %23s %1s", type, name, unit, doc) != 4 || m->nevent == 0)
      return "bad field";
    struct meta_event *e = &m->event[m->nevent - 1];
    int size = type_size(type);
    if(size < 0)
      return "unknown type";
    if(e->text)
      return "field behind a text";
    e->text = size == 0;
    e->size += (u32)size;
    struct meta_field *f = &e->field[e->nfield++];
    strcpy(f->type, type);
    strcpy(f->name, name);
    strcpy(f->unit, unit);
    return 0;
  }
  if(sscanf(line, "%7s %23s %15s %23s %1s", kind, set, value, name, doc) != 5)
    return "too few words";
  if(strcmp(kind, "name") != 0 && strcmp(kind, "bits") != 0)
    return "unknown first word";
  strcpy(m->value[m->nvalue].set, set);
  strcpy(m->value[m->nvalue].name, name);
  m->value[m->nvalue].bits = kind[0] == 'b';
  m->value[m->nvalue++].value = (u32)strtoul(value, 0, 0);
  return 0;
}

static const char *
meta_parse(struct meta *m, const char *text, u32 len)
{
  static const char first[] = "nettrace-metadata 1\n";
  char line[256];
  memset(m, 0, sizeof(*m));
  if(len < sizeof(first) - 1 || memcmp(text, first, sizeof(first) - 1) != 0)
    return "no metadata";
  for(const char *s = text + sizeof(first) - 1; s < text + len;) {
    const char *end = memchr(s, '\n', (size_t)(text + len - s));
    if(end == 0 || end - s >= (long)sizeof(line))
      return "line without end";
    memcpy(line, s, (size_t)(end - s));
    line[end - s] = 0;
    s = end + 1;
    if(strcmp(line, "end") == 0)
      return s == text + len ? 0 : "text behind the end";
    const char *why = meta_line(m, line);
    if(why)
      return why;
  }
  return "no end";
}

static int
known_unit(const struct meta *m, const char *unit)
{
  static const char *const units[] = {"num", "byte", "port", "ipv4", "mac", "us", "ms", "tsc", "pid", "id", "hex", "addr", "text"};
  for(u32 i = 0; i < NELEM(units); i++)
    if(strcmp(units[i], unit) == 0)
      return 1;
  for(u32 i = 0; i < m->nvalue; i++)
    if(strcmp(m->value[i].set, unit) == 0)
      return 1;
  return 0;
}

// What is wrong with the whole: 0, or the first thing.
static const char *
meta_check(const struct meta *m)
{
  static const char stages[] = " META DRIVER NETIF STACK SOCKET SYSCALL CPU MEM ";
  char stage[16];
  for(u32 i = 0; i < m->nevent; i++) {
    const struct meta_event *e = &m->event[i];
    for(u32 k = 0; k < i; k++)
      if(strcmp(m->event[k].name, e->name) == 0)
        return "two events of one name";
    snprintf(stage, sizeof(stage), " %s ", e->stage);
    if(strstr(stages, stage) == 0)
      return "unknown stage";
    if(e->size > NT_PAYLOAD)
      return "more than 40 bytes";
    for(u32 k = 0; k < e->nfield; k++)
      if(!known_unit(m, e->field[k].unit))
        return "unknown unit";
  }
  for(u32 i = 0; i < m->nvalue; i++)
    for(u32 k = 0; k < i; k++)
      if(strcmp(m->value[k].set, m->value[i].set) == 0) {
        if(m->value[k].value == m->value[i].value || strcmp(m->value[k].name, m->value[i].name) == 0)
          return "value twice in a set";
        if(m->value[k].bits != m->value[i].bits)
          return "set of names and bits";
      }
  return 0;
}

static void
test_metadata(void **state)
{
  static struct meta m;
  // ORDER events.def
  static const struct {
    const char *name;
    u32 size;
  } compiled[] = {
#define EVENT(name, stage, doc, fields) {#name, sizeof(struct tr_##name) - 8},
#define SYSCALL(nr, name)
#include "trace/events.def"
  };
  (void)state;
  const char *why = meta_parse(&m, trace_meta, trace_meta_len);
  if(why)
    fail_msg("metadata: %s", why);
  why = meta_check(&m);
  if(why)
    fail_msg("metadata: %s", why);
  assert_int_equal(m.nevent, NTRACE);
  for(u32 i = 0; i < m.nevent; i++) {
    assert_string_equal(m.event[i].name, compiled[i].name);
    assert_int_equal(m.event[i].size, compiled[i].size);
  }
  assert_string_equal(m.event[TR_e1000_rx].field[5].name, "type");
  assert_string_equal(m.event[TR_e1000_rx].field[5].unit, "ETHERTYPE");
  assert_true(known_unit(&m, "SYS"));
}

// The checks above can fail.
static void
test_metadata_faults(void **state)
{
  static struct meta m;
  static const struct {
    const char *text, *why;
  } bad[] = {
    {"event 1 a META x\n", "event out of order"},
    {"event 0 a META x\nevent 1 a META x\n", "two events of one name"},
    {"event 0 a META x\n\tu8 f NOSET x\n", "unknown unit"},
    {"event 0 a META x\n\tu12 f num x\n", "unknown type"},
    {"event 0 a WIRE x\n", "unknown stage"},
    {"event 0 a META x\n\tu64 a num x\n\tname16 b text x\n\tname16 c text x\n\tu8 d num x\n", "more than 40 bytes"},
    {"event 0 a META x\n\ttext a text x\n\tu8 b num x\n", "field behind a text"},
    {"name S 1 A x\nname S 1 B x\n", "value twice in a set"},
    {"name S 1 A x\nbits S 2 B x\n", "set of names and bits"},
    {"name S 1 A\n", "too few words"},
    {"name S 1 A say \"x\"\n", "not one line of ASCII"},
  };
  char text[300];
  (void)state;
  for(u32 i = 0; i < NELEM(bad); i++) {
    int n = snprintf(text, sizeof(text), "nettrace-metadata 1\n%send\n", bad[i].text);
    const char *why = meta_parse(&m, text, (u32)n);
    assert_string_equal(why ? why : meta_check(&m), bad[i].why);
  }
}

// The stream begins with header and metadata, then slots, at a multiple of 64.
static void
test_stream_head(void **state)
{
  static char buf[65536];
  static struct meta m;
  (void)state;
  boot(2, "trace_slots", "1024", NULL);
  trace_clock(2700000);
  trace_netif((const u8 *)"\x52\x54\0\x12\x34\x56", 0x0a00020f);
  assert_memory_equal(nt_page.hdr.magic, "NETTRC1", 8);
  struct file f = dev_open(0, O_RDONLY);
  count(1);
  u32 got = 0;
  int n;
  while((n = dev_read(&f, buf + got, 300)) > 0)
    got += (u32)n;
  struct nt_header h;
  memcpy(&h, buf, sizeof(h));
  assert_memory_equal(h.magic, "NETTRF1", 8);
  assert_int_equal(h.version, 1);
  assert_int_equal(h.self_pa | h.meta_pa | h.cpu_off, 0);
  assert_int_equal(h.flags, NT_MERGED);
  assert_int_equal(h.tsc_khz, 2700000);
  assert_int_equal(h.ip, 0x0a00020f);
  assert_null(meta_parse(&m, buf + 128, h.meta_len));
  u32 hash = 2166136261u;
  for(u32 i = 0; i < h.meta_len; i++)
    hash = (hash ^ (u8)buf[128 + i]) * 16777619u;
  assert_int_equal(hash, h.meta_hash);
  u32 at = 128 + (h.meta_len + 63) / 64 * 64;
  for(u32 i = 128 + h.meta_len; i < at; i++)
    assert_int_equal(buf[i], '\n');
  assert_int_equal(got, at + 2 * 64); // clock_sync at open, and ours
  assert_int_equal(((struct nt_slot *)(void *)(buf + at))->id, TR_clock_sync);
  dev_close(&f);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_hash),
    cmocka_unit_test(test_record),
    cmocka_unit_test(test_text),
    cmocka_unit_test(test_pkt),
    cmocka_unit_test(test_wrap),
    cmocka_unit_test(test_lapped_in_record),
    cmocka_unit_test(test_torn),
    cmocka_unit_test(test_inflight),
    cmocka_unit_test(test_threads_lossy),
    cmocka_unit_test(test_threads_roomy),
    cmocka_unit_test(test_views),
    cmocka_unit_test(test_refused),
    cmocka_unit_test(test_seek_sync_stop),
    cmocka_unit_test(test_wait),
    cmocka_unit_test(test_opens),
    cmocka_unit_test(test_quiet),
    cmocka_unit_test(test_options),
    cmocka_unit_test(test_metadata),
    cmocka_unit_test(test_metadata_faults),
    cmocka_unit_test(test_stream_head),
  };
  return cmocka_run_group_tests(tests, 0, 0);
}
