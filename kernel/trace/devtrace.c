// /dev/nettrace: the events of all rings in one stream, oldest first, for as many
// readers as like; and /dev/nettrace.stat, the recorder's account as text.
//
// Called by file.c through devsw, in thread context.  A reader has cursors of its
// own and takes no event from another; how it follows a ring that is written
// meanwhile is in "the ring's reader" below, which is also what gdb and the host
// tool do.  Writers know nothing of readers: the timer tick looks whether a head
// has moved and wakes them.
//
// Locks: ctl_lock (who has it open, what is recorded), then a reader's own lock.
// What lies in the rings needs none.
#include "uapi/types.h"
#include "uapi/fcntl.h"
#include "uapi/memlayout.h"
#include "uapi/net.h"
#include "uapi/nettrace.h"
#include "defs.h"
#include "file.h"
#include "proc.h"
#include "sleeplock.h"
#include "x86.h"
#include "trace/trace.h"

#define TICK_NS   10000000ull // of the timer
#define NREADER   16
#define NLINE     128 // characters of a command, with its end
#define NWRITE    512 // of one write
#define MAXREC    (NT_MAXNSL * (int)sizeof(struct nt_slot))
#define MAXWAIT   600000 // ms
#define STATPAGES 8      // pages of a .stat text
#define TEXTSIZE  (sizeof(struct nt_header) + ((trace_meta_len + 63) & ~63u))

// One per reader and ring.  At any moment
// delivered + lost + filtered + (head of the ring - cur) == head of the ring - start.
struct lane {
  u32 start, cur; // numbers of slots since boot
  u32 head;       // the ring's, when last looked at
  u32 delivered, lost, filtered;
  u32 gap, gap_seq; // lost and not yet told the reader; number of the first
  u8 gap_why;
  u64 last_ts; // of the last record passed
};

// One per open of minor 0 for reading; f->priv points here.
// [l] lock  [c] ctl_lock  [t] read by the timer tick, which looks again
struct reader {
  struct sleeplock lock;
  u8 used;                       // [c]
  int pid;                       // [c] who opened it
  u8 view[NT_MAXEV];             // [c] VIEW_
  struct lane lane[NT_MAXCPU];   // [l], head [t]
  u64 t0;                        // [l] nothing younger is released, see reader_look
  u32 text_off;                  // [l] bytes of header and metadata already read
  struct nt_header hdr;          // [l]
  struct nt_slot rec[NT_MAXNSL]; // [l] the record to be handed out next
  u32 nrec;                      // [l] its slots, 0: none found yet
  int rec_cpu;                   // [l] whose it is, -1: made by the reader
  u32 sync;                      // [l] reader_stat records still to be made
  u32 timeout_ms;                // [l] of a read, 0: no limit
  u32 waiting;                   // [t] processes asleep in read
  u8 polled;                     // [t] poll has said: nothing to read
  char err[NLINE];               // [c] why the last command was refused
};

// reader.view: an event is delivered if this reader or the base set wants it.
#define VIEW_BASE 0
#define VIEW_ON   1
#define VIEW_OFF  2

static struct reader readers[NREADER];
static struct sleeplock ctl_lock;
static u8 ever_base[NT_MAXEV]; // [c] was in the base set at some time
static char last_err[NLINE];   // [c] of any open
void (*trace_snap)(void);

// ---- the description --------------------------------------------------------

#define STR_(x) #x
#define STR(x)  STR_(x)
const char trace_meta[] =
  "nettrace-metadata 1\n"
#define NAME(set, value, name, doc)     "name " #set " " #value " " #name " " doc "\n"
#define BIT(set, mask, name, doc)       "bits " #set " " #mask " " #name " " doc "\n"
#define EVENT(name, stage, doc, fields) "event " STR(__COUNTER__) " " #name " " #stage " " doc "\n" fields
#define FIELD(type, name, unit, doc)    "\t" #type " " #name " " #unit " " doc "\n"
#define TEXT(name, doc)                 "\ttext " #name " text " doc "\n"
#define BYTES(name, doc)                "\tbytes " #name " hex " doc "\n"
#include "trace/events.def"
  "end\n";
_Static_assert(__COUNTER__ == NTRACE, "the text numbers events as the enum does");
const u32 trace_meta_len = sizeof(trace_meta) - 1;

// ---- the ring's reader ------------------------------------------------------
//
// 1. Read the clock, then every head: what is reserved later is stamped later.
// 2. Of the oldest record of each ring, by its seq: ready, in flight, or gone.
// 3. Release the oldest of all, if it is not younger than the clock reading and
//    no ring has a record in flight that could be older.
// 4. Copy it, and look at seq again: changed means that the writer came round.

static int
frozen(void)
{
  return (nt_page.hdr.flags & NT_FROZEN) != 0;
}

static u32
ring_head(u32 cpu)
{
  return *(volatile u32 *)&nt_page.cpu[cpu].head;
}

static struct nt_slot *
ring_slot(u32 cpu, u32 s)
{
  return (struct nt_slot *)P2V(nt_page.cpu[cpu].ring_pa) + (s & nt_page.cpu[cpu].mask);
}

static u32
slot_seq(const struct nt_slot *slot)
{
  return *(const volatile u32 *)&slot->seq;
}

static int
has_ring(u32 cpu)
{
  return nt_page.cpu[cpu].ring_pa != 0;
}

// Pass n slots that cannot be had any more.
static void
lane_lose(struct lane *l, u32 n, u8 why)
{
  if(l->gap == 0) {
    l->gap_seq = l->cur;
    l->gap_why = why;
  }
  l->gap += n;
  l->lost += n;
  l->cur += n;
}

enum {
  LANE_EMPTY,
  LANE_INFLIGHT,
  LANE_READY
};

// Bring the lane to a complete record; its stamp in *ts.
static int
lane_look(struct lane *l, u32 cpu, u64 *ts)
{
  for(;;) {
    u32 nslots = nt_page.hdr.nslots;
    if(l->head - l->cur > nslots)
      lane_lose(l, l->head - nslots - l->cur, LOST_WHY_OVERWRITE);
    if(l->head == l->cur)
      return LANE_EMPTY;
    const struct nt_slot *slot = ring_slot(cpu, l->cur);
    s32 d = (s32)(slot_seq(slot) - (l->cur + 1));
    barrier();
    if(d < 0 && !frozen())
      return LANE_INFLIGHT;
    if(d == 0) {
      u8 nsl = slot->nsl;
      *ts = slot->ts;
      barrier();
      if(slot_seq(slot) == l->cur + 1 && nsl < NT_CONT)
        return LANE_READY;
    }
    lane_lose(l, 1, d < 0 ? LOST_WHY_INFLIGHT : LOST_WHY_OVERWRITE);
    l->head = ring_head(cpu);
  }
}

// Copy the record at the lane's cursor to rec.  Returns its slots; 0 if the
// writer has overwritten part of it meanwhile: then all of it is lost.
static u32
lane_copy(struct lane *l, u32 cpu, struct nt_slot *rec)
{
  u32 nsl = 1, k;
  for(k = 0; k < nsl; k++) {
    memmove(&rec[k], ring_slot(cpu, l->cur + k), sizeof(*rec));
    if(k == 0 && rec->seq == l->cur + 1)
      nsl = rec->nsl;
  }
  barrier();
  for(k = 0; k < nsl; k++)
    if(rec[k].seq != l->cur + k + 1 || slot_seq(ring_slot(cpu, l->cur + k)) != rec[k].seq)
      break;
  if(k == nsl)
    return nsl;
  lane_lose(l, nsl, LOST_WHY_OVERWRITE);
  l->head = ring_head(cpu);
  return 0;
}

// Step 1: how far the reader may go.  A frozen ring can be read to its end.
static void
reader_look(struct reader *r)
{
  r->t0 = frozen() ? ~0ull : rdtsc();
  __sync_synchronize();
  for(u32 i = 0; i < NT_MAXCPU; i++)
    if(has_ring(i))
      r->lane[i].head = ring_head(i);
}

// Steps 2 and 3: the ring whose next record comes first, -1: none may be released.
static int
reader_pick(struct reader *r, u64 *ts)
{
  int best = -1;
  *ts = ~0ull;
  for(u32 i = 0; i < NT_MAXCPU; i++) {
    u64 t;
    int what = has_ring(i) ? lane_look(&r->lane[i], i, &t) : LANE_EMPTY;
    if(what == LANE_INFLIGHT)
      return -1;
    if(what == LANE_READY && (best < 0 || t < *ts)) {
      best = (int)i;
      *ts = t;
    }
  }
  return *ts <= r->t0 ? best : -1;
}

// A record that no writer wrote: body is struct tr_name of n bytes.
static void
reader_make(struct reader *r, u32 cpu, u32 id, u64 ts, const void *body, u32 n)
{
  r->rec[0] = (struct nt_slot){.ts = ts, .id = (u16)id, .cpu_ctx = (u8)cpu, .nsl = 1};
  memmove(&r->rec[0].pkt, body, n);
  r->rec_cpu = -1;
  r->nrec = 1;
}

// Tell the reader what it lost.  to: stamp of the record after the gap, 0: none.
static void
reader_tell_gap(struct reader *r, u32 cpu, u64 to)
{
  struct lane *l = &r->lane[cpu];
  struct tr_lost body = {.n = l->gap, .cpu = (u8)cpu, .why = l->gap_why, .seq = l->gap_seq, .from = l->last_ts, .to = to};
  reader_make(r, cpu, TR_lost, to ? to : l->last_ts, &body, sizeof(body));
  l->gap = 0;
}

static void
reader_tell_stat(struct reader *r, u32 cpu)
{
  struct lane *l = &r->lane[cpu];
  struct tr_reader_stat body = {.cpu = (u8)cpu, .start = l->start, .cursor = l->cur, .delivered = l->delivered, .lost = l->lost, .filtered = l->filtered, .dropped = nt_page.cpu[cpu].dropped};
  reader_make(r, cpu, TR_reader_stat, rdtsc(), &body, sizeof(body));
}

static int
reader_wants(const struct reader *r, u32 id)
{
  u8 view = r->view[id % NT_MAXEV];
  return view == VIEW_ON || (view == VIEW_BASE && ever_base[id % NT_MAXEV]);
}

// Records the reader makes itself come first; what it lost before all others of
// that ring, and at the end of a frozen one.
static int
reader_own(struct reader *r)
{
  while(r->sync > 0) {
    u32 cpu = NT_MAXCPU - r->sync--;
    if(has_ring(cpu)) {
      reader_tell_stat(r, cpu);
      return 1;
    }
  }
  for(u32 i = 0; frozen() && i < NT_MAXCPU; i++)
    if(r->lane[i].gap && r->lane[i].cur == r->lane[i].head) {
      reader_tell_gap(r, i, 0);
      return 1;
    }
  return 0;
}

// Find the next record for this reader.  Returns 1 with it in r->rec, 0: none now.
// Caller holds r->lock.
static int
reader_fill(struct reader *r)
{
  u64 ts;
  for(int looked = 0; r->nrec == 0;) {
    if(reader_own(r))
      break;
    int cpu = reader_pick(r, &ts);
    if(cpu < 0 && looked)
      return 0;
    if(cpu < 0) {
      reader_look(r);
      looked = 1;
      continue;
    }
    struct lane *l = &r->lane[cpu];
    if(l->gap) {
      reader_tell_gap(r, (u32)cpu, ts);
      break;
    }
    u32 nsl = lane_copy(l, (u32)cpu, r->rec);
    if(nsl && reader_wants(r, r->rec[0].id)) {
      r->rec_cpu = cpu;
      r->nrec = nsl;
    } else if(nsl) {
      l->cur += nsl;
      l->filtered += nsl;
      l->last_ts = ts;
    }
  }
  return 1;
}

// Hand out the record in r->rec.  Returns its bytes.
static u32
reader_take(struct reader *r, char *dst)
{
  u32 n = r->nrec * sizeof(struct nt_slot);
  memmove(dst, r->rec, n);
  if(r->rec_cpu >= 0) {
    struct lane *l = &r->lane[r->rec_cpu];
    l->cur += r->nrec;
    l->delivered += r->nrec;
    l->last_ts = r->rec[0].ts;
  }
  r->nrec = 0;
  return n;
}

// Put all cursors at most back slots behind the heads.  What is skipped counts as
// filtered; going back is as if the reader had been opened earlier.
static void
reader_seek(struct reader *r, u32 back)
{
  reader_look(r);
  for(u32 i = 0; i < NT_MAXCPU; i++) {
    struct lane *l = &r->lane[i];
    u32 there = l->head - trace_origin(); // never written: nothing to go back to
    if(there > nt_page.hdr.nslots || there > back)
      there = back < nt_page.hdr.nslots ? back : nt_page.hdr.nslots;
    u32 to = l->head - there;
    if((s32)(to - l->cur) > 0)
      l->filtered += to - l->cur;
    else
      l->start -= l->cur - to;
    l->cur = to;
  }
  if(r->rec_cpu >= 0)
    r->nrec = 0; // found, not yet consumed
}

// ---- the device: reading ------------------------------------------------------

// The bytes before the first record: header, metadata, newlines to a multiple of 64.
static u8
text_byte(const struct reader *r, u32 i)
{
  if(i < sizeof(r->hdr))
    return ((const u8 *)&r->hdr)[i];
  i -= sizeof(r->hdr);
  return i < trace_meta_len ? (u8)trace_meta[i] : '\n';
}

static void
reader_start(struct reader *r)
{
  r->hdr = nt_page.hdr;
  memmove(r->hdr.magic, NT_FILE_MAGIC, sizeof(r->hdr.magic));
  r->hdr.self_pa = r->hdr.meta_pa = r->hdr.cpu_off = 0;
  r->hdr.flags |= NT_MERGED;
  r->hdr.tsc = rdtsc();
  memset(r->view, VIEW_BASE, sizeof(r->view));
  memset(r->lane, 0, sizeof(r->lane));
  r->text_off = r->nrec = r->sync = r->timeout_ms = 0;
  r->rec_cpu = -1;
  r->err[0] = 0;
  reader_look(r);
  for(u32 i = 0; i < NT_MAXCPU; i++)
    r->lane[i].start = r->lane[i].cur = r->lane[i].head;
  reader_seek(r, nt_page.hdr.nslots);
}

// Sleep until the tick sees news.  0, or why read must return.
static int
reader_wait(struct reader *r, const struct file *f, u64 deadline)
{
  if(f->flags & O_NONBLOCK)
    return -EAGAIN;
  r->waiting++;
  int how = waitsleep(&r->lock, r, deadline, SLEEPWHY_TRACE);
  r->waiting--;
  return how == 0 ? 0 : how < 0 ? -EINTR
                                : -EAGAIN;
}

// Read whole records, as many as there are and fit; waits for the first.
// n: at least the largest record, else -EINVAL.  0: frozen, and all was read.
static int
stream_read(struct reader *r, const struct file *f, char *dst, int n)
{
  if(n < MAXREC)
    return -EINVAL;
  acquiresleep(&r->lock);
  u32 got = 0, room = (u32)n;
  u64 deadline = r->timeout_ms ? now_ns() + r->timeout_ms * 1000000ull : ~0ull;
  int err = 0;
  while(got < room && r->text_off < TEXTSIZE)
    dst[got++] = (char)text_byte(r, r->text_off++);
  while(err == 0) {
    while(reader_fill(r) && r->nrec * sizeof(struct nt_slot) <= room - got)
      got += reader_take(r, dst + got);
    if(got || frozen())
      break;
    err = reader_wait(r, f, deadline);
  }
  releasesleep(&r->lock);
  return err ? err : (int)got;
}

// Has anything come since this reader looked?  Reads without its lock: the next
// tick looks again.
static int
reader_news(const struct reader *r)
{
  for(u32 i = 0; i < NT_MAXCPU; i++)
    if(has_ring(i) && (ring_head(i) != r->lane[i].head || r->lane[i].cur != r->lane[i].head))
      return 1;
  return frozen();
}

// Wake readers that have something to read.  Never done by an emit: that may hold
// the process table's lock.  At most 100 times a second, so that a reader's own
// traces cannot drive it.  Context: timer interrupt of CPU 0.
void
devtrace_tick(void)
{
  int pollers = 0;
  for(struct reader *r = readers; r < readers + NREADER; r++) {
    if(!r->used || (!r->waiting && !r->polled) || !reader_news(r))
      continue;
    if(r->waiting)
      wakeup(r);
    pollers |= r->polled;
    r->polled = 0;
  }
  if(pollers)
    poll_wake();
}

static int
devtrace_poll(struct file *f)
{
  struct reader *r = f->priv;
  if(f->minor != 0 || r == 0)
    return POLLIN | POLLOUT;
  acquiresleep(&r->lock);
  int ready = r->text_off < TEXTSIZE || reader_fill(r) || frozen();
  if(!ready)
    r->polled = 1;
  releasesleep(&r->lock);
  return POLLOUT | (ready ? POLLIN : 0);
}

// ---- the device: commands -------------------------------------------------------
//
// One a line.  A command returns 0, or why it was refused.  r: the reader that
// wrote it, 0 for an open without a view.  Caller holds ctl_lock.

// Record what the base set or any reader wants.
static void
reselect(void)
{
  u8 set[NT_MAXEV];
  for(u32 id = 0; id < NT_MAXEV; id++) {
    set[id] = trace_base[id];
    ever_base[id] |= trace_base[id];
    for(struct reader *r = readers; r < readers + NREADER; r++)
      set[id] |= r->used && r->view[id] == VIEW_ON;
  }
  trace_select(set);
}

// Set set[id] for each of the patterns, which commas separate.  With sign, each
// begins with + or - and val is ignored.  All of them or none.
static const char *
set_patterns(u8 *set, char *arg, int sign, u8 val)
{
  static char why[NLINE];   // ctl_lock
  static u8 copy[NT_MAXEV]; // ctl_lock
  memmove(copy, set, sizeof(copy));
  do {
    char *end = strchr(arg, ',');
    u32 n = end ? (u32)(end - arg) : strlen(arg);
    char *pat = arg;
    if(sign) {
      if(*arg != '+' && *arg != '-')
        return "want + or - before each pattern";
      val = *arg == '+';
      pat++;
      n--;
    }
    if(trace_match(pat, n, copy, val) == 0) {
      pat[n] = 0;
      ksnprintf(why, sizeof(why), "unknown event %s", pat);
      return why;
    }
    arg = end ? end + 1 : 0;
  } while(arg);
  memmove(set, copy, sizeof(copy));
  reselect();
  return 0;
}

// 1 and *val if s is a decimal number.
static int
number(const char *s, u32 *val)
{
  u32 n = 0;
  if(*s == 0)
    return 0;
  for(; *s; s++) {
    u32 digit = (u32)(*s - '0');
    if(digit > 9 || n > (~0u - digit) / 10)
      return 0;
    n = n * 10 + digit;
  }
  *val = n;
  return 1;
}

static const char *
cmd_enable(struct reader *r, char *arg)
{
  return r ? set_patterns(r->view, arg, 0, VIEW_ON) : set_patterns(trace_base, arg, 0, 1);
}

static const char *
cmd_disable(struct reader *r, char *arg)
{
  return r ? set_patterns(r->view, arg, 0, VIEW_OFF) : set_patterns(trace_base, arg, 0, 0);
}

static const char *
cmd_base(struct reader *r, char *arg)
{
  (void)r;
  return set_patterns(trace_base, arg, 1, 0);
}

static const char *
cmd_from(struct reader *r, char *arg)
{
  u32 back = nt_page.hdr.nslots;
  if(r == 0)
    return "from: not open for reading";
  if(strcmp(arg, "now") == 0)
    back = 0;
  else if(strcmp(arg, "oldest") != 0 && (*arg != '-' || !number(arg + 1, &back) || back > nt_page.hdr.nslots))
    return "from: want oldest, now, or -N with at most the ring's slots";
  acquiresleep(&r->lock);
  reader_seek(r, back);
  releasesleep(&r->lock);
  return 0;
}

static const char *
cmd_timeout(struct reader *r, char *arg)
{
  u32 ms;
  if(r == 0)
    return "timeout: not open for reading";
  if(!number(arg, &ms) || ms > MAXWAIT)
    return "timeout: want milliseconds, at most 600000";
  r->timeout_ms = ms;
  return 0;
}

static const char *
cmd_sync(struct reader *r, char *arg)
{
  if(r == 0)
    return "sync: not open for reading";
  if(*arg)
    return "sync: takes no argument";
  acquiresleep(&r->lock);
  r->sync = NT_MAXCPU;
  releasesleep(&r->lock);
  return 0;
}

static const char *
cmd_snap(struct reader *r, char *arg)
{
  (void)r;
  if(*arg)
    return "snap: takes no argument";
  clock_sync();
  proc_snap();
  if(trace_snap)
    trace_snap();
  return 0;
}

static const char *
cmd_mark(struct reader *r, char *arg)
{
  (void)r;
  if(*arg == 0 || strlen(arg) > 100)
    return "mark: want 1 to 100 characters";
  TRACE_TEXT(mark, arg, .pkt = 0, .sock = 0);
  return 0;
}

// Is a record among the last ones of any ring reserved, but not written yet?
static int
unfinished(void)
{
  for(u32 cpu = 0; cpu < NT_MAXCPU; cpu++)
    for(u32 k = 0; has_ring(cpu) && k < NT_MAXNSL; k++) {
      u32 s = ring_head(cpu) - 1 - k;
      if((int)(slot_seq(ring_slot(cpu, s)) - (s + 1)) < 0)
        return 1;
    }
  return 0;
}

// What other CPUs were in the middle of when the ring froze is written before we say
// that it has: normally within a tick, later if the host holds a CPU up.
static const char *
cmd_stop(struct reader *r, char *arg)
{
  (void)r;
  if(*arg)
    return "stop: takes no argument";
  trace_freeze(0);
  int waited = 0;
  do
    waitsleep(&ctl_lock, &waited, now_ns() + TICK_NS, SLEEPWHY_TRACE); // nobody wakes it
  while(unfinished() && ++waited < 20);
  return 0;
}

static const char *
cmd_start(struct reader *r, char *arg)
{
  (void)r;
  if(*arg)
    return "start: takes no argument";
  trace_thaw();
  return 0;
}

static const struct {
  const char *word;
  const char *(*fn)(struct reader *, char *arg);
} commands[] = {
  {"enable", cmd_enable},
  {"disable", cmd_disable},
  {"base", cmd_base},
  {"from", cmd_from},
  {"timeout", cmd_timeout},
  {"sync", cmd_sync},
  {"snap", cmd_snap},
  {"mark", cmd_mark},
  {"stop", cmd_stop},
  {"start", cmd_start},
};

// Obey one line, which is cut up.  0, or why it was refused.
static const char *
obey(struct reader *r, char *line)
{
  while(*line == ' ')
    line++;
  if(*line == 0 || *line == '#')
    return 0;
  char *arg = strchr(line, ' ');
  if(arg)
    *arg++ = 0;
  while(arg && *arg == ' ')
    arg++;
  for(u32 i = 0; i < NELEM(commands); i++)
    if(strcmp(line, commands[i].word) == 0)
      return commands[i].fn(r, arg ? arg : line + strlen(line));
  return "unknown command";
}

// Obey the lines of one write.  n, or -EINVAL at the first that is refused: those
// before it hold, it and the rest do not.
static int
devtrace_write(struct file *f, const char *src, int n)
{
  static char line[NLINE], said[NLINE]; // ctl_lock
  struct reader *r = f->priv;
  const char *why = 0;
  if(f->minor != 0 || n > NWRITE)
    return -EINVAL;
  acquiresleep(&ctl_lock);
  for(int i = 0; i < n && why == 0; i++) {
    int len = 0;
    for(; i < n && src[i] != '\n'; i++, len++)
      if(len < NLINE)
        line[len] = src[i];
    line[len < NLINE ? len : NLINE - 1] = 0;
    memmove(said, line, sizeof(said));
    why = len < NLINE ? obey(r, line) : "line too long";
    TRACE_TEXT(ctl, said, .pkt = 0, .sock = 0, .ok = why == 0);
  }
  if(why) {
    safestrcpy(last_err, why, sizeof(last_err));
    if(r)
      safestrcpy(r->err, why, sizeof(r->err));
  }
  releasesleep(&ctl_lock);
  return why ? -EINVAL : n;
}

// ---- /dev/nettrace.stat ------------------------------------------------------------

// A text made at open: one page with this struct, the others hold it.
struct stat_text {
  u32 len, off;
  char *page[STATPAGES];
};

// Append a line.  Without memory, or past the last page, the text ends there.
static void __attribute__((format(printf, 2, 3)))
stat_line(struct stat_text *t, const char *fmt, ...)
{
  static char line[256]; // ctl_lock
  __builtin_va_list ap;
  __builtin_va_start(ap, fmt);
  kvsnprintf(line, sizeof(line), fmt, ap);
  __builtin_va_end(ap);
  for(const char *s = line; *s; s++) {
    u32 i = t->len / PGSIZE;
    if(i >= STATPAGES || (t->page[i] == 0 && (t->page[i] = kalloc()) == 0))
      return;
    t->page[i][t->len++ % PGSIZE] = *s;
  }
}

static void
stat_events(struct stat_text *t)
{
  for(u32 id = 0; id < NTRACE; id++) {
    u32 emitted = 0, dropped = 0;
    for(u32 i = 0; i < NT_MAXCPU; i++) {
      if(!has_ring(i))
        continue;
      const struct nt_count *c = (void *)P2V(nt_page.cpu[i].count_pa);
      emitted += c->emitted[id];
      dropped += c->dropped[id];
    }
    int on = trace_on[id] & 1;
    if(emitted || on)
      stat_line(t, "event %s %u %u %s\n", trace_name(id), emitted, dropped, on ? "on" : "off");
  }
}

static void
stat_reader(struct stat_text *t, struct reader *r)
{
  acquiresleep(&r->lock);
  for(u32 i = 0; i < NT_MAXCPU; i++) {
    const struct lane *l = &r->lane[i];
    if(has_ring(i))
      stat_line(t, "open %d pid %d cpu %u start %u cursor %u delivered %u lost %u filtered %u "
                   "mode overwrite err \"%s\"\n",
                (int)(r - readers), r->pid, i, l->start,
                l->cur, l->delivered, l->lost, l->filtered, r->err);
  }
  releasesleep(&r->lock);
}

static void
stat_make(struct stat_text *t)
{
  for(u32 i = 0; i < NT_MAXCPU; i++)
    if(has_ring(i))
      stat_line(t, "cpu %u head %u dropped %u slots %u\n", i, ring_head(i), nt_page.cpu[i].dropped, nt_page.hdr.nslots);
  stat_events(t);
  for(struct reader *r = readers; r < readers + NREADER; r++)
    if(r->used)
      stat_reader(t, r);
  stat_line(t, "refused \"%s\"\nfrozen %d\n", last_err, frozen());
}

static int
stat_open(struct file *f)
{
  struct stat_text *t = (void *)kalloc();
  if(t == 0)
    return -ENOMEM;
  memset(t, 0, sizeof(*t));
  acquiresleep(&ctl_lock);
  stat_make(t);
  releasesleep(&ctl_lock);
  f->priv = t;
  return 0;
}

static int
stat_read(struct stat_text *t, char *dst, int n)
{
  int got = 0;
  for(; got < n && t->off < t->len; t->off++)
    dst[got++] = t->page[t->off / PGSIZE][t->off % PGSIZE];
  return got;
}

static void
stat_close(struct stat_text *t)
{
  for(u32 i = 0; i < STATPAGES; i++)
    if(t->page[i])
      kfree(t->page[i]);
  kfree((char *)t);
}

// ---- the device: open, close ----------------------------------------------------

static int
stream_open(struct file *f)
{
  acquiresleep(&ctl_lock);
  struct reader *r = readers;
  while(r < readers + NREADER && r->used)
    r++;
  if(r == readers + NREADER) {
    releasesleep(&ctl_lock);
    return -ENFILE;
  }
  trace_quiet(myproc(), 1);
  clock_sync();
  reader_start(r);
  r->pid = myproc()->pid;
  r->used = 1;
  f->priv = r;
  releasesleep(&ctl_lock);
  return 0;
}

// Minor 0 for reading makes a reader; for writing only it takes commands, which
// then concern all (enable and disable act as base).
static int
devtrace_open(struct file *f, int minor, int omode)
{
  f->priv = 0;
  if(minor > 1)
    return -ENODEV;
  if(minor == 1)
    return stat_open(f);
  return (omode & (O_WRONLY | O_RDWR)) == O_WRONLY ? 0 : stream_open(f);
}

static int
devtrace_read(struct file *f, char *dst, int n)
{
  if(f->priv == 0)
    return -EINVAL;
  return f->minor == 1 ? stat_read(f->priv, dst, n) : stream_read(f->priv, f, dst, n);
}

// The last descriptor of this open is gone.
static void
devtrace_close(struct file *f)
{
  if(f->priv && f->minor == 1)
    stat_close(f->priv);
  if(f->priv == 0 || f->minor == 1)
    return;
  struct reader *r = f->priv;
  acquiresleep(&ctl_lock);
  r->used = 0;
  reselect();
  int quiet = 0;
  for(r = readers; r < readers + NREADER; r++)
    quiet |= r->used && r->pid == myproc()->pid;
  trace_quiet(myproc(), quiet);
  releasesleep(&ctl_lock);
}

void
devtrace_init(void)
{
  initsleeplock(&ctl_lock, "nettrace ctl");
  for(struct reader *r = readers; r < readers + NREADER; r++)
    initsleeplock(&r->lock, "nettrace reader");
  for(u32 id = 0; id < NT_MAXEV; id++)
    ever_base[id] = trace_base[id];
  devsw[NETTRACE_MAJOR] = (struct dev){
    .open = devtrace_open,
    .read = devtrace_read,
    .write = devtrace_write,
    .poll = devtrace_poll,
    .close = devtrace_close,
  };
}
