// Trace ring: where every event of the kernel is written, one ring per CPU.
//
// TRACE() (trace.h) calls trace_begin and trace_end from any context and under
// any lock.  Nothing here takes a lock, allocates, sleeps, wakes or prints once
// trace_init is done, and each CPU writes its own ring only, with interrupts
// off: so an event can be added anywhere.  Readers are devtrace.c inside and the
// host tool outside; both find slots torn or overwritten by their seq alone
// (uapi/nettrace.h).  The ring page and the counters lie in pages without code:
// QEMU checks every store to a page that holds translated code.
#include "uapi/types.h"
#include "uapi/memlayout.h"
#include "uapi/nettrace.h"
#include "defs.h"
#include "proc.h"
#include "x86.h"
#include "trace/trace.h"

// nt_cpu.slow: the rare things an emit looks at.  Others set and clear bits, too:
// only by one locked instruction.
#define SLOW_NORING 1  // this CPU has none
#define SLOW_QUIET  2  // the process running reads the trace
#define SLOW_FLOOR  4  // a reader may not lose anything
#define SLOW_GAP    8  // nt_cpu.gap is not 0
#define SLOW_STOP   16 // a record is waited for that stops the recorder
// 32 is SLOW_GDB

#define RESERVE 16 // slots between the newest record and the floor

_Static_assert(NCPU <= NT_MAXCPU, "more CPUs than the ring page has room for");

struct nt_page nt_page __attribute__((aligned(NT_PAGE), section(".nt_page")));
u8 trace_on[NT_MAXEV];
u8 trace_base[NT_MAXEV];
u32 trace_snaplen = 85; // Ethernet, IP and TCP headers, and a little more

static u32 origin;          // head of each ring at boot
static u32 pkt_last;        // newest packet identity
static u8 wanted[NT_MAXEV]; // trace_on when not frozen

// ORDER events.def
static const struct {
  const char *name, *stage_name;
  u8 stage;
} event[NTRACE] = {
#define EVENT(name, stage, doc, fields) {#name, #stage, STAGE_##stage},
#define SYSCALL(nr, name)
#include "trace/events.def"
};

// ---- writing --------------------------------------------------------------

static inline struct nt_slot *
slot_at(const struct nt_cpu *c, u32 s)
{
  return (struct nt_slot *)P2V(c->ring_pa) + (s & c->mask);
}

// What a reader of the trace does for its reading would be traced and read again,
// without end; what it sends is on the wire and stays, so do its marks.
static int
quiet_wants(const struct cpu *me, u32 id)
{
  if(me->trace_ctx != NT_CTX_THREAD || id == TR_switch)
    return 1;
  u8 stage = event[id].stage;
  return stage != STAGE_SOCKET && stage != STAGE_SYSCALL && stage != STAGE_CPU;
}

// Set or clear a bit of every ring's slow.
static void
slow_all(u8 bit, int on)
{
  for(u32 i = 0; i < NT_MAXCPU; i++) {
    u8 *slow = &nt_page.cpu[i].slow;
    if(*slow & SLOW_NORING)
      continue;
    if(on)
      __atomic_fetch_or(slow, bit, __ATOMIC_SEQ_CST);
    else
      __atomic_fetch_and(slow, (u8)~bit, __ATOMIC_SEQ_CST);
  }
}

// trace_stop_after's order: what each CPU has looked at, and what may still be written.
static struct {
  int (*match)(const struct nt_slot *);
  volatile int found;
  volatile u32 left;
  u32 seen[NT_MAXCPU];
} stop;

// Look for the record that is waited for among those this CPU has written since it
// looked last.  Then n more slots are about to be written: 1 if they are too many,
// and the ring has been frozen.
static int
stop_now(struct nt_cpu *c, u32 cpu, u32 n)
{
  for(u32 *s = &stop.seen[cpu]; !stop.found && *s != c->head; (*s)++) {
    const struct nt_slot *slot = slot_at(c, *s);
    if(slot->nsl >= NT_CONT || !stop.match(slot))
      continue;
    xadd(&stop.left, -(c->head - *s - slot->nsl)); // those behind it count
    stop.found = 1;
  }
  if(!stop.found || (s32)(xadd(&stop.left, -n) - n) >= (n == 0))
    return 0;
  trace_freeze(0);
  slow_all(SLOW_STOP, 0);
  return 1;
}

// Tell in the ring itself what was refused since the last record.
static void
write_gap(struct nt_cpu *c, const struct cpu *me)
{
  u32 s = xadd(&c->head, 1);
  struct nt_slot *slot = slot_at(c, s);
  u64 before = slot_at(c, s - 1)->ts;
  slot->seq = s;
  barrier();
  slot->ts = rdtsc();
  slot->id = TR_lost;
  slot->cpu_ctx = (u8)(me->id | (u32)me->trace_ctx << 4);
  slot->nsl = 1;
  *(slot_lost *)(void *)&slot->pkt = (struct tr_lost){.pkt = 0, .sock = 0, .pid = 0, .n = c->gap, .cpu = (u8)me->id, .why = LOST_WHY_DISCARD, .seq = s, .from = before, .to = slot->ts};
  barrier();
  slot->seq = s + 1;
  ((struct nt_count *)P2V(c->count_pa))->emitted[TR_lost]++;
  c->gap = 0;
  __atomic_fetch_and(&c->slow, (u8)~SLOW_GAP, __ATOMIC_SEQ_CST);
}

// May n slots be written for event id although this CPU has something rare going on?
static int __attribute__((noinline, cold))
slow_wants(u32 id, u32 n)
{
  const struct cpu *me = mycpu();
  struct nt_cpu *c = me->trace;
  if(c->slow & SLOW_NORING)
    return 0;
  if((c->slow & SLOW_QUIET) && !quiet_wants(me, id))
    return 0;
  if((c->slow & SLOW_STOP) && stop_now(c, me->id, n))
    return 0;
  u32 need = n + (c->gap != 0);
  if((c->slow & SLOW_FLOOR) && c->head + need - *(volatile u32 *)&c->floor > c->mask + 1 - RESERVE) {
    struct nt_count *count = (void *)P2V(c->count_pa);
    count->emitted[id] += n;
    count->dropped[id] += n;
    c->dropped += n;
    c->gap += n;
    __atomic_fetch_or(&c->slow, SLOW_GAP, __ATOMIC_SEQ_CST);
    return 0;
  }
  if(c->slow & SLOW_GAP)
    write_gap(c, me);
  if(c->slow & SLOW_GDB)
    trace_stop_arm(id, slot_at(c, c->head), c->head);
  return 1;
}

// The words slow, ctx and pid of a CPU's part, in one load.
static inline u32
slow_word(const struct nt_cpu *c)
{
  u32 word;
  __builtin_memcpy(&word, (const u8 *)c + __builtin_offsetof(struct nt_cpu, slow), 4);
  return word;
}

// The pid of a slow word, and below it the low half of the flags register.
static inline u32
pid_and_flags(u32 word, u32 flags)
{
#ifdef __i386__ // in C it would be three instructions
  asm("movw %w1,%w0"
      : "+r"(word)
      : "r"(flags));
  return word;
#else
  return (word & 0xffff0000) | (flags & 0xffff);
#endif
}

// The rest of trace_begin; flags: the flags register before it.
// The lock of xadd is for the other CPUs: with a plain increment a reader that
// has seen all heads could still meet an event older than its own clock reading.
static inline u64 __attribute__((always_inline))
open_slot(struct nt_cpu *c, u32 id, u32 word, u32 flags)
{
  u32 state = pid_and_flags(word, flags);
  ((struct nt_count *)P2V(c->count_pa))->emitted[id]++;
  id = with_my_tag(id);
  u32 s = xadd(&c->head, 1);
  struct nt_slot *slot = slot_at(c, s);
  slot->seq = s;
  barrier();
  __builtin_memcpy((u8 *)slot + __builtin_offsetof(struct nt_slot, id), &id, 4); // with cpu_ctx, nsl
  slot->ts = rdtsc();
  return (u64)state << 32 | (u32)(unsigned long)slot;
}

// trace_begin on a CPU that has something rare going on.  A function of its own:
// a call within trace_begin would cost instructions on the way that is not rare.
static u64 __attribute__((noinline, cold))
begin_slow(u32 id, u32 flags)
{
  if(!slow_wants(id, 1)) {
    trace_restore(flags);
    return 0;
  }
  struct nt_cpu *c = my_trace();
  return open_slot(c, id, slow_word(c), flags);
}

// Reserve a slot in this CPU's ring and fill its first 16 bytes.
// Returns it as trace.h says, interrupts off; or 0 and nothing has changed.
u64 TRACE_FAST
trace_begin(u32 id)
{
  if(__builtin_expect(!trace_on[id], 0))
    return 0; // the code at the TRACE is changed a little later than the word
  u32 flags = readeflags();
  cli();
  struct nt_cpu *c = my_trace();
  u32 word = slow_word(c);
  if(__builtin_expect(word & 0xff, 0))
    return begin_slow(id, flags);
  return open_slot(c, id, word, flags);
}

// A record's payload: the fixed fields, then text or bytes, then NULs.
struct payload {
  const u8 *fixed;
  u32 nfixed;
  const u8 *tail;
  u32 ntail;
};

static void
payload_copy(u8 *dst, u32 n, const struct payload *p, u32 off)
{
  for(u32 i = off; i < off + n; i++) {
    if(i < p->nfixed)
      *dst++ = p->fixed[i];
    else
      *dst++ = i - p->nfixed < p->ntail ? p->tail[i - p->nfixed] : 0;
  }
}

// Record an event that ends in a text or bytes, in as many slots as it needs.
// body: struct tr_name of n bytes; a pid of 0 is filled in here.
// tail: ntail bytes, of which four slots may take not all.
// The first slot is published last: once it is complete, the record is.
void
trace_emit(u32 id, const void *body, u32 n, const void *tail, u32 ntail)
{
  u32 nhead = __builtin_offsetof(struct nt_slot, p) - __builtin_offsetof(struct nt_slot, pkt);
  struct payload p = {(const u8 *)body + nhead, n - nhead, tail, ntail};
  u32 nsl = 1;
  while(nsl < NT_MAXNSL && nt_capacity(nsl) < p.nfixed + p.ntail)
    nsl++;

  u32 state = readeflags();
  cli();
  struct cpu *me = mycpu();
  struct nt_cpu *c = me->trace;
  if(trace_on[id] && (!c->slow || slow_wants(id, nsl))) {
    ((struct nt_count *)P2V(c->count_pa))->emitted[id] += nsl;
    u32 s = xadd(&c->head, nsl);
    u64 now = rdtsc();
    for(u32 k = nsl; k-- > 0;) {
      struct nt_slot *slot = slot_at(c, s + k);
      slot->seq = s + k;
      barrier();
      slot->ts = now;
      slot->id = (u16)id;
      slot->cpu_ctx = (u8)(me->id | (u32)me->trace_ctx << 4);
      slot->nsl = (u8)(k ? NT_CONT + k : nsl);
      if(k) {
        payload_copy((u8 *)&slot->pkt, NT_CONTLOAD, &p, nt_capacity(k));
      } else {
        memmove(&slot->pkt, body, nhead);
        if(slot->pid == 0)
          slot->pid = c->pid;
        payload_copy(slot->p, NT_PAYLOAD, &p, 0);
      }
      barrier();
      slot->seq = s + k + 1;
    }
  }
  trace_restore(state);
}

// A new packet's identity: never 0, in order of birth because every birth
// happens under netlock.
u32
pkt_new(void)
{
  u32 n;
  do
    n = xadd(&pkt_last, 1) + 1;
  while(n == 0);
  return n;
}

// ---- which events -----------------------------------------------------------

const char *
trace_name(u32 id)
{
  return event[id].name;
}

u8
trace_stage(u32 id)
{
  return event[id].stage;
}

// Does s match the n characters at pat, where * stands for any run of characters?
int
trace_glob(const char *pat, u32 n, const char *s)
{
  if(n == 0)
    return *s == 0;
  if(*pat == '*')
    return trace_glob(pat + 1, n - 1, s) || (*s && trace_glob(pat, n, s + 1));
  return *s == *pat && trace_glob(pat + 1, n - 1, s + 1);
}

// Set set[id] = val for each event that the n characters at pat name: an event's
// name with *, or @STAGE.  Returns how many there are.
int
trace_match(const char *pat, u32 n, u8 *set, u8 val)
{
  int found = 0;
  for(u32 id = 0; id < NTRACE; id++) {
    int hit = n && *pat == '@' ? trace_glob(pat + 1, n - 1, event[id].stage_name) : trace_glob(pat, n, event[id].name);
    if(hit) {
      set[id] = val;
      found++;
    }
  }
  return found;
}

// Record these events, now or when the ring thaws.
void
trace_select(const u8 *set)
{
  memmove(wanted, set, sizeof(wanted));
  wanted[TR_tcp_changes] = set[TR_tcp_dupack] | set[TR_tcp_cc] | set[TR_tcp_timer];
  wanted[TR_tcp_moves] = set[TR_tcp_state] | set[TR_tcp_open];
  if(!(nt_page.hdr.flags & NT_FROZEN))
    memmove(trace_on, wanted, sizeof(trace_on));
  patch_sites();
}

// Record nothing more.  flags: NT_PANICKED, or 0.  Any context, also a panic's.
void
trace_freeze(u32 flags)
{
  memset(trace_on, 0, sizeof(trace_on));
  __atomic_fetch_or(&nt_page.hdr.flags, NT_FROZEN | flags, __ATOMIC_SEQ_CST);
}

void
trace_thaw(void)
{
  __atomic_fetch_and(&nt_page.hdr.flags, ~(u32)NT_FROZEN, __ATOMIC_SEQ_CST);
  memmove(trace_on, wanted, sizeof(trace_on));
  patch_sites();
}

// Writers have to heed the floors, or need not any more.  Calls do not overlap.
void
trace_lossless(int on)
{
  if(((nt_page.hdr.flags & NT_LOSSLESS) != 0) == on)
    return;
  if(on)
    __atomic_fetch_or(&nt_page.hdr.flags, NT_LOSSLESS, __ATOMIC_SEQ_CST);
  else
    __atomic_fetch_and(&nt_page.hdr.flags, ~(u32)NT_LOSSLESS, __ATOMIC_SEQ_CST);
  slow_all(SLOW_FLOOR, on);
}

// Freeze when n more slots have been written after the first record that match likes,
// of those written from now on; match 0: no longer.  match runs within emits, with
// interrupts off.  A match is noticed at the CPU's next emit or tick.
void
trace_stop_after(int (*match)(const struct nt_slot *), u32 n)
{
  slow_all(SLOW_STOP, 0);
  if(match == 0)
    return;
  stop.match = match;
  stop.found = 0;
  stop.left = n;
  for(u32 i = 0; i < NT_MAXCPU; i++)
    stop.seen[i] = nt_page.cpu[i].head;
  slow_all(SLOW_STOP, 1);
}

// ---- told by the rest of the kernel ------------------------------------------

// Timer interrupt, each CPU: a time this CPU's events are certainly not older
// than.  A reader from outside has no other clock.
void
trace_tick(void)
{
  struct nt_cpu *c = my_trace();
  u64 now = rdtsc();
  c->now_lo = (u32)now;
  barrier();
  c->now_hi = (u32)(now >> 32);
  if(c->slow & SLOW_STOP)
    stop_now(c, mycpu()->id, 0);
}

// CPU id is about to run its first process; those before it run already.  Readers
// look at the rings of these CPUs only, so it must be known before its first event.
void
trace_cpu(u32 id)
{
  nt_page.hdr.ncpu = (u16)(id + 1);
}

// The scheduler gives this CPU to next, 0: to nobody.  Interrupts off.
void
trace_switch(struct proc *next)
{
  struct nt_cpu *c = my_trace();
  c->pid = next ? (u16)next->pid : 0;
  c->ctx = next ? next->trace_ctx : NT_CTX_THREAD;
  int quiet = next && next->quiet;
  if(quiet && !(c->slow & SLOW_QUIET))
    __atomic_fetch_or(&c->slow, SLOW_QUIET, __ATOMIC_SEQ_CST);
  if(!quiet && (c->slow & SLOW_QUIET))
    __atomic_fetch_and(&c->slow, (u8)~SLOW_QUIET, __ATOMIC_SEQ_CST);
}

// The current process begins or ends to read the trace.
void
trace_quiet(struct proc *p, int on)
{
  u32 state = readeflags();
  cli();
  p->quiet = (u8)on;
  trace_switch(p);
  trace_restore(state);
}

// The TSC has been measured.
void
trace_clock(u32 khz)
{
  nt_page.hdr.tsc_khz = khz;
}

// en0's addresses; ip in host order, 0 while it has none.
void
trace_netif(const u8 *mac, u32 ip)
{
  memmove(nt_page.hdr.mac, mac, sizeof(nt_page.hdr.mac));
  nt_page.hdr.ip = ip;
}

u32
trace_origin(void)
{
  return origin;
}

// ---- boot ---------------------------------------------------------------------

// Apply words +PATTERN and -PATTERN, separated by commas, to the base set.
// A pattern to leave out what this kernel does not have is no mistake.
static void
base_words(const char *w)
{
  while(*w) {
    u32 n = 0;
    while(w[n] && w[n] != ',')
      n++;
    int found = (*w == '+' || *w == '-') ? trace_match(w + 1, n - 1, trace_base, *w == '+') : 0;
    if(found == 0 && *w != '-')
      cprintf("trace=: no event for the word at '%s', ignored\n", w);
    w += w[n] ? n + 1 : n;
  }
}

// Option trace=std|all|off[,+PATTERN,-PATTERN...].
static void
base_option(const char *opt)
{
  const char *comma = strchr(opt, ',');
  u32 n = comma ? (u32)(comma - opt) : strlen(opt);
  if(n == 3 && strncmp(opt, "all", n) == 0)
    base_words("+*");
  else if(n != 3 || strncmp(opt, "off", n) != 0)
    base_words("+*,-@SYSCALL,-@CPU,-frame,-tcp_timer,-pbuf_*"); // std: without what happens all the time
  if(n != 3 || (strncmp(opt, "all", n) && strncmp(opt, "off", n) && strncmp(opt, "std", n)))
    cprintf("trace=%s: want std, all or off first; using std\n", opt);
  if(comma)
    base_words(comma + 1);
}

// Slots per ring, from option trace_slots=.
static u32
slots_option(void)
{
  u32 n;
  if(opt_str("trace_slots") == 0)
    return NT_DEFSLOTS;
  if(opt_num("trace_slots", &n) && n >= NT_MINSLOTS && n <= NT_MAXSLOTS && (n & (n - 1)) == 0)
    return n;
  cprintf("trace_slots=: want a power of two from %d to %d; using %d\n", NT_MINSLOTS, NT_MAXSLOTS, NT_DEFSLOTS);
  return NT_DEFSLOTS;
}

static int
hexdigit(char c)
{
  if(c >= '0' && c <= '9')
    return c - '0';
  if(c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  return -1;
}

// Option nonce=HEX, 32 digits: proves which run a trace comes from.
static void
nonce_option(u8 *nonce, u32 n)
{
  const char *opt = opt_str("nonce");
  for(u32 i = 0; opt && i < n; i++) {
    int hi = hexdigit(opt[2 * i]), lo = hi < 0 ? -1 : hexdigit(opt[2 * i + 1]);
    if(lo < 0) {
      cprintf("nonce=: want %d lower-case hexadecimal digits\n", 2 * n);
      return;
    }
    nonce[i] = (u8)(hi << 4 | lo);
  }
}

// FNV-1a, by which a reader from outside knows that it has the text whole.
static u32
fnv1a(const char *s, u32 n)
{
  u32 h = 2166136261u;
  for(u32 i = 0; i < n; i++)
    h = (h ^ (u8)s[i]) * 16777619u;
  return h;
}

// Give CPU number i an empty ring.  Slots start out as not yet written.
static void
ring_init(u32 i, u32 nslots)
{
  struct nt_cpu *c = &nt_page.cpu[i];
  u32 bytes = nslots * sizeof(struct nt_slot);
  struct nt_slot *ring = (void *)bootmem(bytes / PGSIZE);
  struct nt_count *count = (void *)bootmem(1);
  memset(ring, 0, bytes);
  memset(count, 0, PGSIZE);
  for(u32 k = 0; origin && k < nslots; k++)
    ring[k].seq = origin;
  c->ring_pa = V2P(ring);
  c->count_pa = V2P(count);
  c->mask = nslots - 1;
  c->head = origin;
}

// Make the rings and publish the ring page.  Once, on the boot CPU, after ACPI
// has counted the CPUs and before kalloc_init takes the memory.
void
trace_init(void)
{
  struct nt_header *h = &nt_page.hdr;
  u32 nslots = slots_option();
  u32 nring = acpi.ncpu ? acpi.ncpu : 1;
  opt_num("trace_head0", &origin); // for tests: cross 2^32 soon
  for(u32 i = 0; i < NT_MAXCPU; i++) {
    if(i < nring)
      ring_init(i, nslots);
    else
      nt_page.cpu[i].slow = SLOW_NORING;
  }

  h->version = NT_VERSION;
  h->hdr_size = sizeof(struct nt_header);
  h->slot_size = sizeof(struct nt_slot);
  h->ncpu = 1;
  h->nslots = nslots;
  h->tsc = rdtsc();
  h->boot_id = (u32)h->tsc;
  h->self_pa = V2P(&nt_page);
  h->meta_pa = V2P(trace_meta);
  h->meta_len = trace_meta_len;
  h->meta_hash = fnv1a(trace_meta, trace_meta_len);
  h->cpu_off = NT_CPU_OFF;
  nonce_option(h->nonce, sizeof(h->nonce));
  barrier();
  memmove(h->magic, NT_MAGIC, sizeof(h->magic)); // from here on we can be found

  const char *opt = opt_str("trace");
  base_option(opt ? opt : "std");
  trace_select(trace_base);
}
