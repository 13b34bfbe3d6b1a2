// Everything about one boot, loaded and joined: trace, capture, clock, matches.
//
// Each command opens a session and reads from it.  Special knowledge of events
// is by name, looked up in the metadata: rec_is(s, i, "e1000_rx").
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "tool.h"

#define TICK_NS 10000000ll // the guest's timer

bool ascii_only;          // --ascii: also of what is said on stderr
bool verbose;             // -v
enum method clock_wanted; // --clock

bool
rec_is(const struct session *s, u32 rec, const char *event)
{
  const struct event *e = rec_event(s->b, &s->b->rec[rec]);
  return e && e->name[0] == event[0] && strcmp(e->name, event) == 0;
}

u64
rec_key(const struct session *s, const struct rec *r)
{
  return match_key((u32)rec_get(s->b, r, "len"), (u32)rec_get(s->b, r, "type"), (u32)rec_get(s->b, r, "ipid"),
                   (u32)rec_get(s->b, r, "l4sum"), (u32)rec_get(s->b, r, "hash"));
}

// The e1000_txkick that follows an e1000_tx, or NOREC.
u32
rec_kick(const struct session *s, u32 rec)
{
  for(u32 i = rec + 1; i < s->b->nrec && i < rec + 4096; i++)
    if(rec_is(s, i, "e1000_txkick"))
      return i;
  return NOREC;
}

// Guest stamp to capture time, ns.
i64
session_time(const struct session *s, const struct rec *r)
{
  return align_mid(&s->al, r->ts);
}

// What half becomes where one end of a difference is a frame: its stamp was cut to a
// whole q, so the frame was up to q - 1 later than that, whatever the clock.
i64
wire_band(const struct session *s, i64 half)
{
  return half + (s->cap.q ? s->cap.q - 1 : 0);
}

static void
find_syncs(struct session *s)
{
  u32 cap = 0;
  s->nsync = 0;
  for(u32 i = 0; i < s->b->nrec; i++) {
    const struct rec *r = &s->b->rec[i];
    u64 tsc, win, hpet, pmt;
    if(!rec_is(s, i, "clock_sync") || !rec_num(s->b, r, "tsc", &tsc) || !rec_num(s->b, r, "win", &win) ||
       !rec_num(s->b, r, "hpet", &hpet) || !rec_num(s->b, r, "pmt", &pmt))
      continue;
    s->sync = xgrow(s->sync, s->nsync, &cap, sizeof *s->sync);
    s->sync[s->nsync++] = (struct sync){tsc, (u32)win, (u32)hpet, (u32)pmt, i};
  }
}

static void
add_bracket(struct session *s, u32 *cap, u32 frame, u32 rec, bool upper)
{
  s->bracket = xgrow(s->bracket, s->nbracket, cap, sizeof *s->bracket);
  s->bracket[s->nbracket++] = (struct bracket){s->b->rec[rec].ts, s->cap.f[frame].w, rec, frame, upper};
}

// What the uniquely matched frames say about the clock.
static void
find_brackets(struct session *s)
{
  u32 cap = 0;
  s->nbracket = 0;
  for(u32 i = 0; i < s->cap.n; i++) {
    const struct frame *f = &s->cap.f[i];
    if(!f->unique)
      continue;
    add_bracket(s, &cap, i, f->rec, !f->in);
    if(f->kick != NOREC)
      add_bracket(s, &cap, i, f->kick, false);
  }
}

// The guest card's MAC: from the header, else of the sender with QEMU's prefix.
static const u8 *
card_mac(const struct session *s)
{
  static const u8 none[6], qemu[3] = {0x52, 0x54, 0x00};
  if(s->b && memcmp(s->b->h.mac, none, 6))
    return s->b->h.mac;
  for(u32 i = 0; i < s->cap.n; i++)
    if(s->cap.f[i].caplen >= 14 && memcmp(s->cap.f[i].data + 6, qemu, 3) == 0)
      return s->cap.f[i].data + 6;
  return none;
}

static void
use_boot(struct session *s, u32 no)
{
  s->b = &s->trace.boot[no];
  s->bootno = no;
  s->nmatch = s->nunique = 0;
  s->frame_of = xrealloc(s->frame_of, s->b->nrec * sizeof *s->frame_of);
  for(u32 i = 0; i < s->b->nrec; i++)
    s->frame_of[i] = NOREC;
  const u8 *mac = card_mac(s);
  for(u32 i = 0; i < s->cap.n; i++) {
    s->cap.f[i].unique = s->cap.f[i].copy = false;
    frame_parse(&s->cap.f[i], mac);
  }
}

// For each record, how many of those before it lie where something was lost.  A
// loss reaches back to the record before it on the same CPU: others' lie between.
static u32 *
count_gaps(const struct boot *b)
{
  u32 last[16] = {0}, *sum = xmalloc((b->nrec + 2) * sizeof *sum);
  for(u32 i = 0; i < b->nrec; i++) {
    if(b->rec[i].nlost) {
      sum[last[b->rec[i].cpu & 15]]++;
      sum[i + 1]--;
    }
    last[b->rec[i].cpu & 15] = i;
  }
  u32 depth = 0, n = 0;
  for(u32 i = 0; i <= b->nrec; i++) {
    depth += sum[i];
    sum[i] = n;
    n += depth != 0;
  }
  return sum;
}

// A live guest's records were read up to its last tick.  May this frame's lie
// behind?  One that was received may wait for the driver until the next tick.
static bool
is_later(const struct session *s, const struct frame *f, bool last)
{
  if(!s->trace.live || s->al.method < CLK_FRAMES)
    return false;
  i64 w = align_lo(&s->al, s->trace.upto);
  return f->w + s->cap.q > w || (f->in && last && f->w > w - TICK_NS);
}

// What one walk over the records tells of the frames that have none.
struct witness {
  bool rx, tx, came; // the driver's events; events of what came in, behind the driver
  i64 last;          // not after this, by the clock
};

static struct witness
witnesses(const struct session *s)
{
  static const char *const behind[] = {"ethif_rx", "arp_in", "ip_in", "icmp_in", "udp_in", "tcp_seg_in"};
  struct witness w = {.last = -(1ll << 62)};
  for(u32 i = 0; i < s->b->nrec; i++) {
    const struct event *e = rec_event(s->b, &s->b->rec[i]);
    i64 t = e ? align_hi(&s->al, s->b->rec[i].ts) : w.last;
    w.last = t > w.last ? t : w.last;
    w.rx |= rec_is(s, i, "e1000_rx");
    w.tx |= rec_is(s, i, "e1000_tx");
    for(u32 k = 0; e && k < sizeof behind / sizeof behind[0]; k++)
      w.came |= strcmp(e->name, behind[k]) == 0;
  }
  if(s->al.method < CLK_FRAMES)
    w.last = 1ll << 62;
  return w;
}

static int
frame_cmp(const void *x, const void *y)
{
  const struct frame *a = *(const struct frame *const *)x, *b = *(const struct frame *const *)y;
  return a->w != b->w ? (a->w < b->w ? -1 : 1) : a->key != b->key ? (a->key < b->key ? -1 : 1)
                                                                  : 0;
}

// The matched frames, sorted: for finding the twin of one that is not.
static const struct frame **
matched_frames(const struct session *s, u32 *n)
{
  const struct frame **v = xmalloc((s->cap.n + 1) * sizeof *v);
  *n = 0;
  for(u32 i = 0; i < s->cap.n; i++)
    if(s->cap.f[i].rec != NOREC)
      v[(*n)++] = &s->cap.f[i];
  if(*n)
    qsort(v, *n, sizeof *v, frame_cmp);
  return v;
}

// Why a frame without a record has none, where nothing was lost.
static enum unmatched
lone_frame(const struct session *s, const struct frame *f, const struct witness *w, bool twin)
{
  if(twin || f->copy)
    return UM_TWICE;
  if(f->in && !w->rx)
    return w->came ? UM_NORX : UM_ANYRX;
  if(!f->in && !w->tx)
    return UM_NOTX;
  if(!f->full && !f->part)
    return UM_CUT;
  if(f->before)
    return UM_BEFORE;
  if(f->w > w->last && !s->trace.live)
    return UM_PAST;
  return f->in ? UM_NODRIVER : UM_NOEVENT;
}

// Decide for every frame without a record why it stands alone: first note between
// which records its own would lie, then look whether anything was lost there.
static void
judge_frames(struct session *s)
{
  struct witness w = witnesses(s);
  u32 nmatched;
  const struct frame **twins = matched_frames(s, &nmatched);
  struct off off[2]; // by direction
  off_find(s, "e1000_tx", &off[0]);
  off_find(s, "e1000_rx", &off[1]);
  u32 n = s->cap.n, nrec = s->b->nrec, prev[2] = {0, 0}, next[2] = {nrec, nrec};
  u32 *from = xmalloc((n + 1) * sizeof *from), *lost = count_gaps(s->b);
  for(u32 i = 0; i < n; i++) {
    const struct frame *f = &s->cap.f[i];
    from[i] = prev[f->in];
    if(f->rec != NOREC)
      prev[f->in] = f->rec;
  }
  for(u32 i = n; i-- > 0;) {
    struct frame *f = &s->cap.f[i];
    bool matched = f->rec != NOREC, gap = lost[next[f->in]] > lost[from[i] < next[f->in] ? from[i] : next[f->in]];
    if(matched || !s->have_trace)
      f->fate = UM_NONE;
    else if(is_later(s, f, next[f->in] == nrec))
      f->fate = UM_LATER;
    else if(off_at(s, &off[f->in], f->w, f->w + s->cap.q + (f->in ? TICK_NS : 0)))
      f->fate = f->in ? UM_NORX : UM_NOTX;
    else if(gap)
      f->fate = UM_LOST;
    else
      f->fate = (u8)lone_frame(s, f, &w, nmatched && bsearch(&f, twins, nmatched, sizeof *twins, frame_cmp));
    if(matched)
      next[f->in] = f->rec;
  }
  free(off[0].v);
  free(off[1].v);
  free(twins);
  free(from);
  free(lost);
}

// Name the fate of every frame and driver record that stands alone.
static void
count_fates(struct session *s)
{
  u32 first = s->cap.n;
  for(u32 i = s->cap.n; i-- > 0;)
    if(s->cap.f[i].in && s->cap.f[i].rec != NOREC)
      first = i;
  for(u32 i = 0; i < first; i++)
    s->cap.f[i].before = s->cap.f[i].in;
  judge_frames(s);
  memset(s->count, 0, sizeof s->count);
  for(u32 i = 0; i < s->cap.n; i++)
    s->count[frame_fate(s, i)]++;
  for(u32 i = 0; i < s->b->nrec; i++)
    if(s->frame_of[i] == NOREC && s->have_cap && (rec_is(s, i, "e1000_rx") || rec_is(s, i, "e1000_tx")))
      s->count[rec_fate(s, i)]++;
  s->band = 0;
  for(u32 i = 0; i < s->cap.n; i++)
    if(s->cap.f[i].rec != NOREC) {
      i64 h = align_half(&s->al, s->b->rec[s->cap.f[i].rec].ts);
      s->band = h > s->band ? h : s->band;
    }
  for(u32 i = 0; s->nmatch == 0 && i < s->nsync; i++) {
    i64 h = align_half(&s->al, s->sync[i].tsc);
    s->band = h > s->band ? h : s->band;
  }
  s->wire = wire_band(s, s->band);
}

enum unmatched
frame_fate(const struct session *s, u32 frame)
{
  return (enum unmatched)s->cap.f[frame].fate;
}

enum unmatched
rec_fate(const struct session *s, u32 rec)
{
  if(s->frame_of[rec] != NOREC || !s->have_cap)
    return UM_NONE;
  if(s->cap.note && strstr(s->cap.note, "ends early") && s->cap.n && align_lo(&s->al, s->b->rec[rec].ts) > s->cap.f[s->cap.n - 1].w)
    return UM_ENDS;
  return rec_is(s, rec, "e1000_tx") ? UM_NOWIRE : UM_NOFRAME;
}

const char *
fate_text(enum unmatched u)
{
  static const char *const text[] = {
    [UM_NONE] = "matched",
    [UM_BEFORE] = "came before the driver listened",
    [UM_NORX] = "e1000_rx was not recorded",
    [UM_ANYRX] = "no e1000_rx in this trace",
    [UM_NOTX] = "e1000_tx was not recorded",
    [UM_PAST] = "after the trace's last event",
    [UM_NODRIVER] = "never reached the driver",
    [UM_LOST] = "events lost here",
    [UM_NOEVENT] = "no e1000_tx event",
    [UM_TWICE] = "twice in the capture",
    [UM_CUT] = "cut too short to be found",
    [UM_NOWIRE] = "not in the capture",
    [UM_NOFRAME] = "not in the capture",
    [UM_ENDS] = "capture ends before",
    [UM_LATER] = "after the last tick, not looked at yet",
  };
  return text[u];
}

// Is the frame known to have got lost, so that a cross may end its arrow?
bool
fate_is_loss(enum unmatched u)
{
  return u == UM_BEFORE || u == UM_NODRIVER;
}

// Is it the clock that --clock insists on?
static int
check_clock(const struct session *s)
{
  static const char *const need[] = {
    [CLK_FRAMES] = "frames: no frame that the trace and the capture both hold",
    [CLK_ANCHORED] = "anchor: fewer than two clock_sync events in the trace",
    [CLK_IDENTITY] = "identity: the TSC is not QEMU's clock here: that is so under -icount only",
  };
  if(clock_wanted == CLK_NONE || s->al.method >= clock_wanted)
    return 0;
  return seterr(EX_BADIN, "--clock %s; --clock auto takes what there is", need[clock_wanted]);
}

// Match and align the boot whose frames fit best, the last one if none does.
int
session_join(struct session *s)
{
  u32 best = s->trace.nboot - 1, most = 0;
  for(u32 i = s->trace.nboot; s->have_cap && s->trace.nboot > 1 && i-- > 0;) {
    use_boot(s, i);
    u32 n = match_unique(s);
    if(n > most) {
      most = n;
      best = i;
    }
  }
  use_boot(s, best);
  match_unique(s);
  find_syncs(s);
  find_brackets(s);
  u32 ns = clock_wanted == CLK_FRAMES ? 0 : s->nsync, nb = clock_wanted == CLK_ANCHORED ? 0 : s->nbracket;
  u64 start = s->b->h.tsc; // in a stream the ring's records are older than its header
  if(s->b->nrec && s->b->rec[0].ts < start)
    start = s->b->rec[0].ts;
  int rc = align_solve(&s->al, s->sync, ns, s->bracket, nb, s->cap.q ? s->cap.q : 1000, s->b->h.tsc_khz, start, s->far);
  if(rc == 0)
    rc = check_clock(s);
  if(rc < 0)
    return rc;
  match_rest(s);
  count_fates(s);
  return 0;
}

// -v: what was read and how it was joined.
static void
say_more(const struct session *s)
{
  const char *trace = s->in.trace ? s->in.trace : s->in.ram;
  fprintf(stderr, "trace %s, capture %s, symbols %s\n", trace ? trace : "none", s->in.capture ? s->in.capture : "none",
          s->in.elf ? s->in.elf : "none");
  fprintf(stderr, "%u clock_sync events, %u frame bounds by %u unique matches, %u matches in all", s->nsync, s->nbracket, s->nunique, s->nmatch);
  if(s->al.pm && s->al.fr)
    fprintf(stderr, "; K, when the guest's clock began on the capture's: by the PM timer %lld..%lld ns, by frames %lld..%lld ns", s->al.pmlo, s->al.pmhi, s->al.frlo, s->al.frhi);
  putc('\n', stderr);
}

// Load what s->in names and join it.  0 or -exit code.
static int
open_input(struct session *s)
{
  int rc;
  const char *trace = s->in.trace ? s->in.trace : s->in.ram;
  progress("reading the trace");
  if(trace && (rc = trace_load(&s->trace, trace)) < 0)
    return rc;
  progress("reading the capture");
  if(s->in.capture && (rc = capture_load(&s->cap, s->in.capture)) < 0)
    return rc;
  if(s->in.elf)
    symbols_load(s->in.elf);
  s->have_trace = trace != 0;
  s->have_cap = s->in.capture != 0;
  progress("finding frames and clock");
  if(s->have_trace) {
    rc = session_join(s);
    if(rc == 0 && verbose)
      say_more(s);
    return rc;
  }
  s->trace.boot = xmalloc(sizeof *s->trace.boot); // wire only: a boot without records
  s->trace.nboot = 1;
  meta_parse(&s->trace.boot[0].meta, "nettrace-metadata 1\nend\n", 24, "");
  use_boot(s, 0);
  align_solve(&s->al, 0, 0, 0, 0, s->cap.q, 0, 0, false);
  return 0;
}

// Load what the operands name and join it.  0 or -exit code.
int
session_open(struct session *s, int n, char **operand)
{
  memset(s, 0, sizeof *s);
  int rc = input_find(&s->in, n, operand);
  return rc < 0 ? rc : open_input(s);
}

// Is the capture that of the run which the trace lies in?
static bool
beside(const char *trace, const char *capture)
{
  const char *slash = trace ? strrchr(trace, '/') : 0;
  char *own = xasprintf("%.*swire.pcap", slash ? (int)(slash - trace) + 1 : 0, trace ? trace : "");
  struct stat mine, theirs;
  bool same = stat(own, &mine) == 0 && stat(capture, &theirs) == 0 && mine.st_ino == theirs.st_ino && mine.st_dev == theirs.st_dev;
  free(own);
  return same;
}

// The same of a run, or a trace, with a capture taken elsewhere on its wire.
int
session_open_far(struct session *s, char *run, char *capture)
{
  memset(s, 0, sizeof *s);
  int rc = input_find(&s->in, 1, &run);
  if(rc < 0)
    return rc;
  s->far = !beside(s->in.trace ? s->in.trace : s->in.ram, capture);
  s->in.capture = capture;
  return open_input(s);
}

void
session_close(struct session *s)
{
  trace_free(&s->trace);
  capture_free(&s->cap);
  align_free(&s->al);
  free(s->sync);
  free(s->bracket);
  free(s->frame_of);
  free(s->item);
}

// Does a note tell of something that --strict makes a finding?
bool
session_noted(const struct session *s)
{
  return s->trace.note || s->cap.note || s->al.note || s->al.anyturn;
}

// The line that ends every command's stderr.
void
session_summary(const struct session *s, FILE *to)
{
  static const char *const how[] = {"none", "guest time", "frames only", "anchored", "identity"};
  if(!s->have_trace) {
    fprintf(to, "%u frames, no trace: wire only\n", s->cap.n);
    if(s->cap.note)
      fprintf(to, "note: %s\n", s->cap.note);
    return;
  }
  fprintf(to, "%u events, ", s->b->nrec);
  if(s->have_cap) {
    fprintf(to, "%u frames: %u matched", s->cap.n, s->nmatch);
    for(int u = UM_BEFORE; u < UM_LATER; u++) {
      u32 n = u == UM_NOWIRE ? 0 : s->count[u] + (u == UM_NOFRAME ? s->count[UM_NOWIRE] : 0); // the same words for both
      if(n)
        fprintf(to, ", %u %s", n, fate_text((enum unmatched)u));
    }
  } else
    fputs("no capture", to);
  fprintf(to, "; clock %s", how[s->al.method]);
  if(s->al.method >= CLK_FRAMES)
    fprintf(to, ascii_only ? " +-%s us" : " ±%s µs", band_str(s->band));
  if(s->al.method >= CLK_FRAMES && s->have_cap)
    fprintf(to, ascii_only ? ", +-%s us to the wire" : ", ±%s µs to the wire", band_str(s->wire));
  if(s->al.nrun > 1)
    fprintf(to, " in %u runs", s->al.nrun);
  fprintf(to, "; %llu events lost\n", s->b->lost + s->b->discarded);
  if(s->al.note)
    fprintf(to, "note: %s\n", s->al.note);
  if(s->al.anyturn)
    fprintf(to, "note: %s\n", ANYTURN_TEXT);
  if(s->cap.note)
    fprintf(to, "note: %s\n", s->cap.note);
  if(s->trace.note)
    fprintf(to, "note: %s\n", s->trace.note);
  if(s->trace.nboot > 1)
    fprintf(to, "note: %u boots in this trace: shown is number %u\n", s->trace.nboot, s->bootno + 1);
}
