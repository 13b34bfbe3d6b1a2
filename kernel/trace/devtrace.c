// /dev/nettrace: the events of all rings in one stream, oldest first, for as many
// readers as like; and /dev/nettrace.stat, the recorder's account as text.
//
// Called by file.c through devsw, in thread context.  A reader has cursors of its
// own and takes no event from another: reader.c follows the rings for it, control.c
// obeys what is written.  Writers know nothing of readers: the timer tick looks
// whether a head has moved and wakes them.
//
// Locks: trace_ctl (who has it open, what is recorded), then a reader's own lock.
// What lies in the rings needs none.
#include "uapi/types.h"
#include "uapi/fcntl.h"
#include "uapi/net.h"
#include "uapi/nettrace.h"
#include "defs.h"
#include "file.h"
#include "proc.h"
#include "trace/control.h"
#include "trace/reader.h"
#include "trace/trace.h"

#define MAXREC    (NT_MAXNSL * (int)sizeof(struct nt_slot))
#define STATPAGES 8 // pages of a .stat text

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

// ---- the device: reading ------------------------------------------------------

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
    dst[got++] = (char)reader_text(r, r->text_off++);
  while(err == 0) {
    int frozen = ring_frozen(); // asked first: what comes while there is nothing to read is read before the end is told
    while(reader_fill(r) && r->nrec * sizeof(struct nt_slot) <= room - got)
      got += reader_take(r, dst + got);
    if(r->lossless)
      readers_floor();
    if(got || frozen)
      break;
    err = reader_wait(r, f, deadline);
  }
  releasesleep(&r->lock);
  return err ? err : (int)got;
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
    poll_wake(&devsw[NETTRACE_MAJOR]);
}

static int
devtrace_poll(struct file *f)
{
  struct reader *r = f->priv;
  if(f->minor != 0 || r == 0)
    return POLLIN | POLLOUT;
  acquiresleep(&r->lock);
  int ready = r->text_off < TEXTSIZE || reader_fill(r) || ring_frozen();
  if(!ready)
    r->polled = 1;
  releasesleep(&r->lock);
  return POLLOUT | (ready ? POLLIN : 0);
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
  static char line[256]; // trace_ctl
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
      if(!ring_here(i))
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
    if(ring_here(i))
      stat_line(t, "open %d pid %d cpu %u start %u cursor %u delivered %u lost %u filtered %u "
                   "mode %s err \"%s\"\n",
                (int)(r - readers), r->pid, i, l->start,
                l->cur, l->delivered, l->lost, l->filtered,
                r->lossless ? "lossless" : "overwrite", r->err);
  }
  releasesleep(&r->lock);
}

static u32
ms_of(u64 ns)
{
  div64(&ns, 1000000);
  return (u32)ns;
}

static void
stat_make(struct stat_text *t)
{
  for(u32 i = 0; i < NT_MAXCPU; i++)
    if(ring_here(i))
      stat_line(t, "cpu %u head %u dropped %u slots %u idle_ms %u up_ms %u\n", i, ring_head(i), nt_page.cpu[i].dropped,
                nt_page.hdr.nslots, ms_of(cpu_idle_ns(i)), ms_of(now_ns()));
  stat_events(t);
  for(struct reader *r = readers; r < readers + NREADER; r++)
    if(r->used)
      stat_reader(t, r);
  stat_line(t, "refused \"%s\"\nfrozen %d\n", last_err, ring_frozen());
}

static int
stat_open(struct file *f)
{
  struct stat_text *t = (void *)kalloc();
  if(t == 0)
    return -ENOMEM;
  memset(t, 0, sizeof(*t));
  acquiresleep(&trace_ctl);
  stat_make(t);
  releasesleep(&trace_ctl);
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
  acquiresleep(&trace_ctl);
  struct reader *r = readers;
  while(r < readers + NREADER && r->used)
    r++;
  if(r == readers + NREADER) {
    releasesleep(&trace_ctl);
    return -ENFILE;
  }
  reader_start(r);
  r->pid = myproc()->pid;
  r->used = 1;
  f->priv = r;
  trace_requiet();
  take_snap();
  releasesleep(&trace_ctl);
  return 0;
}

// Minor 0 for reading makes a reader; for writing only it takes commands, which
// then concern all (enable and disable act as base).
static int
devtrace_open(struct file *f, int minor, int omode)
{
  f->priv = 0;
  if(minor > 2)
    return -ENODEV;
  if(minor == 2)
    return 0;
  if(minor == 1)
    return stat_open(f);
  return (omode & (O_WRONLY | O_RDWR)) == O_WRONLY ? 0 : stream_open(f);
}

static int
devtrace_read(struct file *f, char *dst, int n)
{
  if(f->minor == 2) {
    n = func_names((u32)(unsigned long)f->priv, dst, n); // priv: how far this open has read
    f->priv = (char *)f->priv + n;
    return n;
  }
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
  if(f->priv == 0 || f->minor != 0)
    return;
  struct reader *r = f->priv;
  acquiresleep(&trace_ctl);
  r->used = 0;
  readers_floor();
  trace_reselect();
  trace_requiet();
  releasesleep(&trace_ctl);
}

static int
devtrace_write(struct file *f, const char *src, int n)
{
  return f->minor == 0 ? control_write(f->priv, src, n) : -EINVAL;
}

void
devtrace_init(void)
{
  reader_init();
  control_init();
  devsw[NETTRACE_MAJOR] = (struct dev){
    .open = devtrace_open,
    .read = devtrace_read,
    .write = devtrace_write,
    .poll = devtrace_poll,
    .close = devtrace_close,
  };
}
