// follow: frames and events as they happen, from a guest's RAM and a growing capture.
//
// Read every CPU's tick first, then the rings: what was stamped before the
// earliest tick has its slot, so all of that can be put in order and shown.  If
// no tick moves for 200 ms (a stop, a panic, QEMU's end) everything is shown.
// A frame stands behind its e1000_tx and before its e1000_txkick or e1000_rx,
// else at its time.  Nothing is written to the guest.
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "tool.h"

#define STALL_MS 200
#define LOOK_MS  5
#define HOLD_NS  20000000 // a sent frame waits this long for its e1000_tx
#define WINDOW   256      // frames and records among which partners are looked for
#define MAXSYNC  256

// A record too new to be shown, the next of its ring.
struct held {
  struct nt_slot slot[NT_MAXNSL];
  u32 n, from; // slots; the ring's number of the first that was not read yet
  u64 lost;    // by the cursor when it was read
};
// An e1000_rx or e1000_tx whose frame has not been shown.
struct partner {
  u64 key;
  u32 pkt;
  bool in;
};
struct follower {
  const struct opts *o;
  FILE *f;
  struct session s; // one boot; its records are those of this look
  struct ram ram;
  bool opened, found, stalled, told;
  struct cursor cur[NT_MAXCPU];
  struct held held[NT_MAXCPU];
  u32 ncpu;
  u64 bound; // the earliest tick, as last seen
  i64 moved; // when it changed, ms
  struct growing wire;
  struct partner partner[2 * WINDOW]; // oldest first
  u32 npartner, synccap;
  struct labels labels;
  struct flow flow;  // --flow
  struct idset mine; // packets of --flow and --pid
  i64 last;          // time of the row above
  u64 events, frames, lost;
  bool color;
};

static volatile sig_atomic_t stop;

static void
on_int(int sig)
{
  (void)sig;
  stop = 1;
}

static i64
now_ms(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (i64)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool
full(const struct follower *w)
{
  return stop || (w->o->limit && w->events + w->frames >= (u64)w->o->limit);
}

// ---- the ring ----------------------------------------------------------------

// Move a CPU's records up to stamp bound into the boot.
static void
take(struct follower *w, u32 c, u64 bound)
{
  struct held *h = &w->held[c];
  for(;;) {
    if(h->n == 0) {
      h->lost = w->cur[c].lost;
      h->from = w->cur[c].cur;
      h->n = (u32)ram_next(&w->ram, c, &w->cur[c], h->slot);
      h->lost = w->cur[c].lost - h->lost;
      boot_lost(w->s.b, (u8)c, (u32)h->lost, h->from);
    }
    if(h->n == 0 || h->slot->ts > bound)
      return;
    boot_add(w->s.b, h->slot, h->n);
    h->n = 0;
  }
}

// Keep the clock_sync events of this look, and solve the clock anew if there are any.
static void
learn_clock(struct follower *w)
{
  struct session *s = &w->s;
  u32 before = s->nsync;
  for(u32 i = 0; i < s->b->nrec; i++) {
    const struct rec *r = &s->b->rec[i];
    if(!rec_is(s, i, "clock_sync"))
      continue;
    if(s->nsync == MAXSYNC) // the first ones and the latest bound it best
      memmove(s->sync + MAXSYNC / 4, s->sync + MAXSYNC / 4 + 1, (--s->nsync - MAXSYNC / 4) * sizeof *s->sync);
    s->sync = xgrow(s->sync, s->nsync, &w->synccap, sizeof *s->sync);
    s->sync[s->nsync++] = (struct sync){rec_get(s->b, r, "tsc"), (u32)rec_get(s->b, r, "win"), (u32)rec_get(s->b, r, "hpet"), (u32)rec_get(s->b, r, "pmt"), i};
  }
  if(s->nsync == before && s->al.method != CLK_NONE)
    return;
  struct align al = {0};
  if(align_solve(&al, s->sync, s->nsync, 0, 0, 1000, w->ram.h.tsc_khz, w->ram.h.tsc, false) < 0) {
    align_free(&al); // stopped and gone on more often than bounds can tell: what was known must do
    s->nsync = before;
    return;
  }
  align_free(&s->al);
  s->al = al;
}

// ---- the capture -------------------------------------------------------------

// Take what the capture has got since, whole frames only.
static void
wire_read(struct follower *w)
{
  const u8 *data;
  u32 caplen, len;
  for(i64 t; growing_next(&w->wire, &t, &data, &caplen, &len);) {
    capture_add(&w->s.cap, t, data, caplen, len);
    frame_parse(&w->s.cap.f[w->s.cap.n - 1], w->ram.h.mac);
  }
}

// ---- lines -------------------------------------------------------------------

static void
put_text(const struct follower *w, const char *text)
{
  for(int n; *text; text += n) {
    char c[5] = "";
    memcpy(c, text, (size_t)(n = charlen(text)));
    fputs(w->o->ascii ? ascii_char(c) : c, w->f);
  }
}

// Seconds, packet, stage, event, words.  Time never goes back.
static void
put_line(struct follower *w, i64 t, u32 pkt, const char *stage, const char *event, const char *label)
{
  static const u8 palette[] = {36, 35, 34, 32, 33, 96};
  char id[16] = "";
  w->last = t > w->last ? t : w->last;
  if(pkt)
    snprintf(id, sizeof id, "#%u", pkt);
  i64 us = w->last / 1000;
  fprintf(w->f, "%5lld.%06lld ", us / 1000000, us % 1000000);
  if(w->color && pkt)
    fprintf(w->f, "\x1b[%um", palette[pkt % sizeof palette]);
  fprintf(w->f, "%7s  %-8s %-13s ", id, stage, event);
  put_text(w, label);
  fputs(w->color && pkt ? "\x1b[0m\n" : "\n", w->f);
}

// Does --only or --layer leave an event standing?  0: a frame.
static bool
kind_wanted(const struct opts *o, const struct event *e, const char *stage)
{
  if(o->only && !listed(o->only, e ? e->name : "frame"))
    return false;
  if(o->layer)
    return listed(o->layer, stage);
  return o->only || e == 0 || (e->stage != ST_MEM && e->stage != ST_META) || !strcmp(e->name, "mark");
}

static bool
about_process(const struct follower *w, const struct rec *r, const struct event *e)
{
  const struct nt_slot *slot = rec_slot(w->s.b, r);
  if(e && !strcmp(e->name, "wakeup"))
    return rec_get(w->s.b, r, "who") == (u64)w->o->pid;
  return slot->pid == w->o->pid && slot->cpu_ctx >> 4 == 0;
}

// Packets of the connection, or that the process touches: known before their first row
// is shown, as far as this look holds them.
static void
learn_mine(struct follower *w)
{
  const struct boot *b = w->s.b;
  for(u32 i = 0; (w->o->flow || w->o->pid) && i < b->nrec; i++) {
    const struct rec *r = &b->rec[i];
    struct flow f;
    if(r->slot == NOSLOT)
      continue;
    bool flow = w->o->flow && rec_flow(b, r, &f) && flow_same(&f, &w->flow);
    if(flow || (w->o->pid && about_process(w, r, rec_event(b, r))))
      idset_add(&w->mine, rec_slot(b, r)->pkt);
  }
}

static bool
rec_shown(struct follower *w, const struct rec *r)
{
  const struct event *e = rec_event(w->s.b, r);
  struct flow f;
  if(r->nlost)
    return true;
  if(!kind_wanted(w->o, e, e ? e->stagename : ""))
    return false;
  if(w->o->flow && !idset_has(&w->mine, rec_slot(w->s.b, r)->pkt) && !(rec_flow(w->s.b, r, &f) && flow_same(&f, &w->flow)))
    return false;
  return !w->o->pid || about_process(w, r, e) || idset_has(&w->mine, rec_slot(w->s.b, r)->pkt);
}

static void
put_rec(struct follower *w, u32 i)
{
  const struct rec *r = &w->s.b->rec[i];
  const struct event *e = rec_event(w->s.b, r);
  char label[1200], gap[1300];
  label_learn(&w->labels, &w->s, &(struct item){.idx = i});
  w->lost += r->nlost;
  if(full(w) || !rec_shown(w, r))
    return;
  label_rec(label, sizeof label, &w->s, r, &w->labels);
  snprintf(gap, sizeof gap, "!! %s !!", label);
  const struct nt_slot *slot = rec_slot(w->s.b, r);
  put_line(w, session_time(&w->s, r), slot && !r->nlost ? slot->pkt : 0, r->nlost ? "" : e ? e->stagename
                                                                                           : "?",
           r->nlost ? "" : e ? e->name
                             : "event",
           r->nlost ? gap : label);
  w->events++;
}

static void
put_frame(struct follower *w, const struct frame *f, u32 pkt, i64 t)
{
  char label[128], more[400], text[600];
  const struct opts *o = w->o;
  if(frame_is_tcp(f))
    label_learn(&w->labels, &w->s, &(struct item){.idx = (u32)(f - w->s.cap.f), .frame = true});
  bool flow = frame_is_tcp(f) && flow_same(&f->flow, &w->flow);
  if(full(w) || !kind_wanted(o, 0, "WIRE") || (o->flow && !flow && !idset_has(&w->mine, pkt)) || (o->pid && !idset_has(&w->mine, pkt)))
    return;
  label_frame(label, sizeof label, f, &w->labels);
  label_payload(more, sizeof more, f);
  snprintf(text, sizeof text, "%s %s%s%s", f->in ? "▶" : "◀", label, *more ? "  " : "", more);
  put_line(w, t, pkt, "WIRE", "frame", text);
  w->frames++;
}

// ---- frames among records ----------------------------------------------------

// Take a frame's partner off the list.  Its packet, or 0: it has not been seen.
static u32
take_partner(struct follower *w, const struct frame *f)
{
  for(u32 i = 0; i < w->npartner; i++)
    if(w->partner[i].in == f->in && w->partner[i].key == f->key) {
      u32 pkt = w->partner[i].pkt;
      memmove(w->partner + i, w->partner + i + 1, (--w->npartner - i) * sizeof *w->partner);
      return pkt;
    }
  return 0;
}

static void
add_partner(struct follower *w, u32 i, bool in)
{
  const struct rec *r = &w->s.b->rec[i];
  if(w->npartner == 2 * WINDOW)
    memmove(w->partner, w->partner + 1, --w->npartner * sizeof *w->partner);
  w->partner[w->npartner++] = (struct partner){rec_key(&w->s, r), rec_slot(w->s.b, r)->pkt, in};
}

static bool
has_partner(const struct follower *w, const struct frame *f)
{
  for(u32 i = 0; i < w->npartner; i++)
    if(w->partner[i].in == f->in && w->partner[i].key == f->key)
      return true;
  return false;
}

// Show waiting frames from *next up to the end.
static void
frames_to(struct follower *w, u32 *next, u32 end, i64 t)
{
  for(; *next < end; (*next)++) {
    const struct frame *f = &w->s.cap.f[*next];
    put_frame(w, f, take_partner(w, f), w->s.al.method >= CLK_ANCHORED ? f->w : t);
  }
}

// Show frames that are due before a record at time t.
static void
frames_due(struct follower *w, u32 *next, i64 t)
{
  while(*next < w->s.cap.n && w->s.al.method >= CLK_ANCHORED) {
    const struct frame *f = &w->s.cap.f[*next];
    if(f->w > t || (!f->in && f->w + HOLD_NS > t && !has_partner(w, f)))
      return;
    frames_to(w, next, *next + 1, t);
  }
}

// Show the frame of this e1000_rx, or before a txkick those sent, and all before it.
static void
frames_of(struct follower *w, u32 *next, u32 rec, i64 t)
{
  bool rx = rec_is(&w->s, rec, "e1000_rx");
  u64 key = rx ? rec_key(&w->s, &w->s.b->rec[rec]) : 0;
  u32 end = *next;
  for(u32 i = *next; i < w->s.cap.n && i < *next + WINDOW; i++) {
    const struct frame *f = &w->s.cap.f[i];
    if(rx ? f->in && f->key == key : !f->in && has_partner(w, f))
      end = i + 1;
    if(rx && end > i)
      break;
  }
  frames_to(w, next, end, t);
}

// Forget the frames that were shown.
static void
forget_frames(struct capture *c, u32 n)
{
  if(n == 0)
    return;
  for(u32 i = 0; i < n; i++)
    free(c->f[i].data);
  memmove(c->f, c->f + n, (c->n - n) * sizeof *c->f);
  c->n -= n;
}

// Show everything stamped up to bound.
static void
show(struct follower *w, u64 bound)
{
  struct session *s = &w->s;
  u32 next = 0;
  s->b->nrec = s->b->nslot = 0;
  for(u32 c = 0; c < w->ncpu; c++)
    take(w, c, bound);
  boot_finish(s->b);
  learn_clock(w);
  learn_mine(w);
  wire_read(w);
  for(u32 i = 0; i < s->b->nrec; i++)
    if(rec_is(s, i, "e1000_rx"))
      add_partner(w, i, true);
  for(u32 i = 0; i < s->b->nrec && !full(w); i++) {
    i64 t = session_time(s, &s->b->rec[i]);
    frames_due(w, &next, t);
    if(rec_is(s, i, "e1000_rx") || rec_is(s, i, "e1000_txkick"))
      frames_of(w, &next, i, t);
    put_rec(w, i);
    if(rec_is(s, i, "e1000_tx"))
      add_partner(w, i, false);
  }
  frames_due(w, &next, bound == ~0ull ? 1ll << 62 : align_mid(&s->al, bound));
  forget_frames(&s->cap, next);
  fflush(w->f);
}

// ---- the guest ---------------------------------------------------------------

// Open RAM and ring once both are there.  1 found, 0 not yet, < 0 error.
static int
look(struct follower *w, const char *ram)
{
  if(w->found)
    return ram_refresh(&w->ram) < 0 ? -EX_BADIN : 1;
  if(access(ram, R_OK) < 0 && errno == ENOENT)
    return 0;
  if(!w->opened && ram_open(&w->ram, ram) < 0)
    return access(ram, R_OK) == 0 ? 0 : -EX_BADIN; // being created: not at its size yet
  w->opened = true;
  int rc = ram_find(&w->ram);
  if(rc <= 0 || (rc = ram_meta(&w->ram, &w->s.b->meta)) < 0)
    return rc;
  w->s.b->h = w->ram.h;
  w->s.have_trace = w->found = true;
  w->moved = now_ms();
  return (rc = names_known(&w->s, w->o)) < 0 ? rc : 1;
}

// One look: the bound first, then the rings.
static void
step(struct follower *w, bool over)
{
  u64 bound = ram_now(&w->ram);
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  memcpy(&w->ram.h.mac, w->ram.p + w->ram.pa + offsetof(struct nt_header, mac), sizeof w->ram.h.mac);
  w->ram.h.tsc_khz = ((const volatile struct nt_header *)(const void *)(w->ram.p + w->ram.pa))->tsc_khz;
  for(; w->ncpu < w->ram.h.ncpu; w->ncpu++)
    w->cur[w->ncpu].cur = ram_start(&w->ram, w->ncpu);
  if(bound != w->bound) {
    w->bound = bound;
    w->moved = now_ms();
    w->stalled = false;
  } else if(!w->stalled && now_ms() - w->moved >= STALL_MS)
    w->stalled = true;
  show(w, w->stalled || over ? ~0ull : bound);
}

// The files it reads.
struct places {
  const char *ram, *wire;   // wire: or 0
  const char *over, *saved; // of a run directory: are there once it has ended, or 0
};

// Until the run's end, the limit or Ctrl-C.
static int
follow(struct follower *w, const struct places *at, i64 end, const char **why)
{
  for(;;) {
    bool ended = at->over && access(at->over, F_OK) == 0; // asked first: the look after it sees all
    int rc = look(w, at->ram);
    if(rc < 0 || (at->wire && (rc = growing_begin(&w->wire, at->wire)) < 0))
      return rc;
    if(w->found)
      step(w, ended);
    else if(ended || (at->over && access(at->ram, F_OK) < 0 && access(at->saved, F_OK) == 0))
      return seterr(EX_FOUND, "the run has ended and its RAM is gone: nettrace ladder shows its saved trace");
    bool panicked = w->found && (((const volatile struct nt_header *)(const void *)(w->ram.p + w->ram.pa))->flags & NT_PANICKED);
    *why = stop                     ? "ended by Ctrl-C"
           : full(w)                ? "as many lines as asked for"
           : ended                  ? "the run has ended"
           : panicked && w->stalled ? "the guest panicked"
           : end && now_ms() >= end ? "as long as asked for"
                                    : 0;
    if(*why)
      return 0;
    if(w->stalled && !w->told && !w->o->quiet && isatty(2))
      fputs("nettrace: the guest stands still; Ctrl-C ends\n", stderr);
    w->told = w->stalled;
    nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000}, 0);
  }
}

static void
summary(const struct follower *w, const char *why)
{
  fprintf(stderr, "%llu events, %llu frames shown; clock ", w->events, w->frames);
  if(w->s.al.method < CLK_ANCHORED)
    fputs("guest time", stderr);
  else if(w->s.al.method == CLK_IDENTITY)
    fputs("identity", stderr);
  else
    fprintf(stderr, w->o->ascii ? "anchored +-%s us" : "anchored ±%s µs", band_str(align_half(&w->s.al, w->s.sync[w->s.nsync - 1].tsc)));
  fprintf(stderr, "; %llu events lost; %s\n", w->lost, why);
  if(w->s.al.anyturn)
    fprintf(stderr, "note: %s\n", ANYTURN_TEXT);
  if(w->wire.broken)
    fputs("note: the capture holds a record that is none: frames end there\n", stderr);
}

// Those of a run directory, or named.
static int
find_places(const struct opts *o, struct places *at)
{
  const char *run = getenv("NETTRACE_RUN");
  const char *what = o->argc ? o->argv[0] : run && *run ? run
                                                        : "run/latest";
  enum filekind k = file_kind(what);
  *at = (struct places){.ram = what, .wire = o->argc > 1 ? o->argv[1] : 0};
  if(k == F_TRACE || k == F_PCAP)
    return seterr(EX_BADUSE, "%s: follow reads a guest that runs: name its run directory or its RAM file", what);
  if(k == F_NONE)
    return seterr(EX_BADIN, "%s: cannot read: %s", what, strerror(errno));
  if(k != F_DIR)
    return 0;
  *at = (struct places){xasprintf("%s/ram", what), xasprintf("%s/wire.pcap", what), xasprintf("%s/status", what), xasprintf("%s/trace.nt", what)};
  return 0;
}

int
cmd_follow(struct opts *o)
{
  static struct follower w;
  struct places at;
  const char *why = "", *no = getenv("NO_COLOR");
  i64 ns = 0;
  memset(&w, 0, sizeof w);
  w.o = o;
  w.f = stdout;
  w.ram.fd = -1;
  w.last = -(1ll << 62);
  w.color = o->color == 1 || (o->color == 0 && isatty(1) && !(no && *no));
  w.s.b = xmalloc(sizeof *w.s.b);
  int rc = find_places(o, &at);
  if(rc == 0 && o->duration)
    rc = parse_time("--for", o->duration, &ns);
  if(rc == 0 && o->flow && !flow_parse(o->flow, &w.flow))
    rc = seterr(EX_BADUSE, "--flow %s: needs A:p-B:p, the guest's end first", o->flow);
  if(rc < 0)
    return rc;
  stop = 0;
  sigaction(SIGINT, &(struct sigaction){.sa_handler = on_int}, 0);
  rc = follow(&w, &at, o->duration ? now_ms() + ns / 1000000 : 0, &why);
  signal(SIGINT, SIG_DFL);
  if(rc == 0 && !o->quiet)
    summary(&w, why);
  ram_close(&w.ram);
  growing_end(&w.wire);
  return rc;
}
