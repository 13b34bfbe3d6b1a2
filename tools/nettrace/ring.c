// The trace ring as it lies in a run's shared RAM file, live or after the guest's end.
//
// The file is mapped read-only; its offsets are physical addresses.  Nothing
// here writes, so the guest cannot tell that it is read.  ram_next is the
// reader's half of the protocol in kernel/uapi/nettrace.h: look at seq, copy,
// look at seq again, count what was overwritten.
#define _GNU_SOURCE // SEEK_DATA
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "tool.h"

// The file shrank under us: there is nothing to go back to.
static void
on_sigbus(int sig)
{
  static const char msg[] = "nettrace: the RAM file shrank while it was read\n";
  (void)sig;
  ssize_t n = write(2, msg, sizeof msg - 1);
  (void)n;
  _exit(EX_BADIN);
}

int
ram_open(struct ram *r, const char *path)
{
  memset(r, 0, sizeof *r);
  FILE *f = fopen(path, "rbe"); // not open(): kernel/uapi may hide <fcntl.h>
  struct stat st;
  r->fd = f ? dup(fileno(f)) : -1;
  if(f)
    fclose(f);
  if(r->fd < 0 || fstat(r->fd, &st) < 0)
    return seterr(EX_BADIN, "%s: cannot read: %s", path, strerror(errno));
  r->path = xstrdup(path);
  r->len = (u64)st.st_size;
  if(r->len < NT_PAGE || r->len > 0xffffffffu) {
    ram_close(r);
    return seterr(EX_BADIN, "%s: %lld bytes: neither a trace nor a RAM image", path, (long long)st.st_size);
  }
  void *p = mmap(0, r->len, PROT_READ, MAP_SHARED, r->fd, 0);
  if(p == MAP_FAILED) {
    ram_close(r);
    return seterr(EX_BADIN, "%s: cannot map: %s", path, strerror(errno));
  }
  r->p = p;
  signal(SIGBUS, on_sigbus);
  return 0;
}

void
ram_close(struct ram *r)
{
  if(r->p)
    munmap(r->p, r->len);
  if(r->fd >= 0)
    close(r->fd);
  free(r->path);
  memset(r, 0, sizeof *r);
  r->fd = -1;
}

static bool
inside(const struct ram *r, u64 pa, u64 n)
{
  return pa != 0 && pa < r->len && n <= r->len - pa;
}

// The ring page at pa, if there is one: its magic also sits in copies of the
// kernel image, but only the page itself knows its own address.
static int
ring_page_at(struct ram *r, u64 pa)
{
  struct nt_header h;
  memcpy(&h, r->p + pa, sizeof h);
  if(memcmp(h.magic, NT_MAGIC, 8) || h.self_pa != pa)
    return 0;
  if(header_check(&h, r->path, pa) < 0)
    return -EX_BADIN;
  if(h.cpu_off < sizeof h || h.cpu_off > NT_PAGE - NT_MAXCPU * sizeof(struct nt_cpu) || h.cpu_off % 8)
    return seterr(EX_BADIN, "%s: inconsistent ring page at 0x%llx: cpu_off %u", r->path, pa, h.cpu_off);
  if(!inside(r, h.meta_pa, h.meta_len))
    return seterr(EX_BADIN, "%s: inconsistent ring page at 0x%llx: metadata lies outside the RAM", r->path, pa);
  r->pa = (u32)pa;
  r->h = h;
  r->h.ncpu = 0;
  return ram_refresh(r) < 0 ? -EX_BADIN : 1;
}

// Take notice of CPUs that were started since the last look.
int
ram_refresh(struct ram *r)
{
  u32 ncpu = ((const volatile struct nt_header *)(const void *)(r->p + r->pa))->ncpu;
  for(u32 c = r->h.ncpu; c < ncpu && c < NT_MAXCPU; c++) {
    struct nt_cpu nc = ram_cpu(r, c);
    if(nc.ring_pa % sizeof(struct nt_slot) || !inside(r, nc.ring_pa, (u64)r->h.nslots * sizeof(struct nt_slot)))
      return seterr(EX_BADIN, "%s: inconsistent ring page at 0x%x: CPU %u's ring lies outside the RAM", r->path, r->pa, c);
    r->h.ncpu = (u16)(c + 1);
  }
  return 0;
}

// Look for the ring page.  1 found, 0 not (yet) there, < 0 there but wrong.
// Holes of the sparse file are skipped, so that looking does not fill it.
int
ram_find(struct ram *r)
{
  off_t at = 0;
  while((at = lseek(r->fd, at, SEEK_DATA)) >= 0) {
    off_t end = lseek(r->fd, at, SEEK_HOLE);
    for(u64 pa = ((u64)at + NT_PAGE - 1) & ~(u64)(NT_PAGE - 1); pa < (u64)end && r->len - pa >= NT_PAGE; pa += NT_PAGE) {
      char magic[8];
      memcpy(magic, r->p + pa, 8);
      int rc = memcmp(magic, NT_MAGIC, 8) ? 0 : ring_page_at(r, pa);
      if(rc)
        return rc;
    }
    at = end;
  }
  return 0;
}

int
ram_meta(struct ram *r, struct meta *m)
{
  if(meta_parse(m, (const char *)r->p + r->h.meta_pa, r->h.meta_len, r->path) < 0)
    return -EX_BADIN;
  if(m->hash != r->h.meta_hash)
    return seterr(EX_BADIN, "%s: metadata does not have the hash that the ring page names", r->path);
  return 0;
}

struct nt_cpu
ram_cpu(const struct ram *r, u32 cpu)
{
  struct nt_cpu c;
  const volatile u32 *from = (const volatile u32 *)(const void *)(r->p + r->pa + r->h.cpu_off + cpu * sizeof c);
  u32 w[sizeof c / 4];
  for(u32 i = 0; i < sizeof c / 4; i++)
    w[i] = from[i];
  memcpy(&c, w, sizeof c);
  return c;
}

// The smallest of all CPUs' clocks, as of their last timer ticks: whatever was
// stamped before it has its slot reserved.  Never later than the truth.
u64
ram_now(const struct ram *r)
{
  u64 least = ~0ull;
  for(u32 c = 0; c < r->h.ncpu; c++) {
    const volatile u32 *w = (const volatile u32 *)(const void *)(r->p + r->pa + r->h.cpu_off + c * sizeof(struct nt_cpu));
    u64 hi = w[5];
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    u64 now = hi << 32 | w[4];
    if(now < least)
      least = now;
  }
  return least;
}

// Slots per event that a CPU emitted and kept.
u32
ram_count(const struct ram *r, u32 cpu, u32 id)
{
  struct nt_cpu c = ram_cpu(r, cpu);
  if(id >= NT_MAXEV || !inside(r, c.count_pa, sizeof(struct nt_count)))
    return 0;
  const volatile u32 *w = (const volatile u32 *)(const void *)(r->p + c.count_pa);
  return w[id] - w[NT_MAXEV + id];
}

// Number of the first slot since boot: 0, unless the kernel was told to start
// elsewhere.  While the guest runs, head and counters are only about in step.
u32
ram_start(const struct ram *r, u32 cpu)
{
  u32 before = ram_cpu(r, cpu).head, sum = 0;
  for(u32 id = 0; id < NT_MAXEV; id++)
    sum += ram_count(r, cpu, id);
  u32 after = ram_cpu(r, cpu).head;
  bool zero = (int)(before - sum - NT_MAXNSL) <= 0 && (int)(after - sum + NT_MAXNSL) >= 0;
  return sum == 0 || zero ? 0 : before - sum;
}

// Copy the next committed record at *c.  Returns its slots; 0 when there is none
// (yet): the ring is drained or its next slot is being written.
int
ram_next(const struct ram *r, u32 cpu, struct cursor *c, struct nt_slot out[NT_MAXNSL])
{
  struct nt_cpu nc = ram_cpu(r, cpu);
  u32 n = r->h.nslots;
  const volatile u8 *ring = r->p + nc.ring_pa;
  for(;;) {
    u32 head = ram_cpu(r, cpu).head;
    if(head - c->cur > n) {
      c->lost += head - n - c->cur;
      c->cur = head - n;
    }
    if(head == c->cur)
      return 0;
    const volatile u8 *s = ring + (u64)(c->cur & (n - 1)) * sizeof *out;
    int d = (int)(*(const volatile u32 *)(const volatile void *)(s + 12) - (c->cur + 1));
    if(d < 0)
      return 0;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    u32 nsl = d == 0 ? s[11] : 0;
    if(nsl == 0 || nsl > NT_MAXNSL || nsl > head - c->cur) { // overwritten, or the rest of a lost record
      c->lost++;
      c->cur++;
      continue;
    }
    bool torn = false;
    for(u32 i = 0; i < nsl; i++)
      memcpy(&out[i], (const u8 *)ring + (u64)((c->cur + i) & (n - 1)) * sizeof *out, sizeof *out);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    for(u32 i = 0; i < nsl; i++)
      torn |= *(const volatile u32 *)(const volatile void *)(ring + (u64)((c->cur + i) & (n - 1)) * sizeof *out + 12) != c->cur + i + 1;
    c->cur += nsl;
    if(!torn) {
      c->delivered += nsl;
      return (int)nsl;
    }
    c->lost += nsl;
  }
}

// Does the guest still run?  Its ticks move every 10 ms, unless it is stopped.
static bool
ram_alive(const struct ram *r)
{
  if(((const volatile struct nt_header *)(const void *)(r->p + r->pa))->flags & (NT_FROZEN | NT_PANICKED))
    return false;
  u64 before = ram_now(r);
  for(int i = 0; i < 20; i++) {
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, 0);
    if(ram_now(r) != before)
      return true;
  }
  return false;
}

// Pass a slot in flight on a machine that is dead.  Of a record of several slots the
// last ones may be complete: the first is always written last.  Returns how many.
static u32
skip_inflight(const struct ram *r, u32 cpu, struct cursor *c, u32 head)
{
  const struct nt_slot *ring = (const void *)(r->p + ram_cpu(r, cpu).ring_pa);
  u32 from = c->cur++;
  while(c->cur != head && c->cur - from < NT_MAXNSL) {
    const struct nt_slot *s = &ring[c->cur & (r->h.nslots - 1)];
    if((int)(s->seq - (c->cur + 1)) >= 0 && s->nsl < NT_CONT)
      break;
    c->cur++;
  }
  return c->cur - from;
}

// Read one CPU's ring from its first slot to the head that was seen, or to stamp t0.
static void
load_cpu(const struct ram *r, struct boot *b, u32 cpu, u64 t0, bool live)
{
  struct cursor c = {.cur = ram_start(r, cpu)};
  u32 head = ram_cpu(r, cpu).head;
  while((int)(head - c.cur) > 0) {
    struct nt_slot s[NT_MAXNSL];
    u64 lost = c.lost;
    u32 from = c.cur;
    int n = ram_next(r, cpu, &c, s);
    boot_lost(b, (u8)cpu, (u32)(c.lost - lost), from);
    if(n == 0 && live)
      return;
    if(n == 0) { // nobody will ever complete it
      from = c.cur;
      boot_inflight(b, (u8)cpu, skip_inflight(r, cpu, &c, head), from);
      continue;
    }
    if(live && s->ts > t0)
      return;
    boot_add(b, s, (u32)n);
  }
}

// Read a RAM image as a trace of one boot.
int
ram_load(struct trace *t, const char *path)
{
  struct ram r;
  memset(t, 0, sizeof *t);
  if(ram_open(&r, path) < 0)
    return -EX_BADIN;
  int rc = ram_find(&r);
  if(rc <= 0) {
    ram_close(&r);
    return rc ? rc : seterr(EX_BADIN, "%s: no trace ring: the kernel has not got as far as trace_init, or this is no RAM image", path);
  }
  t->path = xstrdup(path);
  t->ram = true;
  t->boot = xmalloc(sizeof *t->boot);
  t->nboot = 1;
  struct boot *b = t->boot;
  boot_begin(b);
  memcpy(&b->h, r.p + r.pa, sizeof b->h);
  if((rc = ram_meta(&r, &b->meta)) < 0) {
    ram_close(&r);
    return rc;
  }
  t->live = ram_alive(&r);
  u64 t0 = t->upto = ram_now(&r);
  __atomic_thread_fence(__ATOMIC_SEQ_CST); // the bound first, then the heads
  for(u32 c = 0; c < b->h.ncpu; c++)
    load_cpu(&r, b, c, t0, t->live);
  boot_finish(b);
  ram_close(&r);
  return 0;
}
