// check: assertions over a run, one line per finding, exit 1 if there is any.
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "tool.h"

// One TCP segment, as the wire or the kernel saw it.
struct seg {
  struct flow flow;
  u32 flags, seq, ack, pkt, no; // no: frame or event number, for messages
  u32 order;
  bool in;
};
struct handshake {
  const struct seg *syn, *synack, *ack;
};
struct check {
  struct session s;
  FILE *f;
  bool json;
  u32 n;
  struct off endless; // while pkt_end was off
};

static void find(struct check *c, const char *what, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void
find(struct check *c, const char *what, const char *fmt, ...)
{
  char text[400];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  if(c->json) {
    fprintf(c->f, "%s{\"check\":\"%s\",\"text\":", c->n ? "," : "", what);
    put_json(c->f, text, strlen(text));
    fputs("}", c->f);
  } else
    fprintf(c->f, "%s: %s\n", what, text);
  c->n++;
}

static int
seg_cmp(const void *x, const void *y)
{
  const struct seg *a = x, *b = y;
  int d = memcmp(&a->flow, &b->flow, sizeof a->flow);
  return d ? d : a->order < b->order ? -1
                                     : a->order > b->order;
}

// TCP segments of the capture, grouped by connection, in order within each.
static struct seg *
wire_segs(const struct session *s, u32 *n)
{
  struct seg *v = xmalloc((s->cap.n + 1) * sizeof *v);
  *n = 0;
  for(u32 i = 0; i < s->cap.n; i++) {
    const struct frame *f = &s->cap.f[i];
    const struct nt_slot *slot = f->rec == NOREC ? 0 : rec_slot(s->b, &s->b->rec[f->rec]);
    if(frame_is_tcp(f))
      v[(*n)++] = (struct seg){f->flow, f->flags, f->seq, f->ack, slot ? slot->pkt : 0, i + 1, i, f->in};
  }
  qsort(v, *n, sizeof *v, seg_cmp);
  return v;
}

static struct seg *
kernel_segs(const struct session *s, u32 *n)
{
  struct seg *v = xmalloc((s->b->nrec + 1) * sizeof *v);
  *n = 0;
  for(u32 i = 0; i < s->b->nrec; i++) {
    const struct rec *r = &s->b->rec[i];
    bool in = rec_is(s, i, "tcp_seg_in");
    struct flow f;
    if((in || rec_is(s, i, "tcp_seg_out")) && rec_flow(s->b, r, &f))
      v[(*n)++] = (struct seg){f, (u32)rec_get(s->b, r, "flags"), (u32)rec_get(s->b, r, "seq"), (u32)rec_get(s->b, r, "ack"), rec_slot(s->b, r)->pkt, i, i, in};
  }
  qsort(v, *n, sizeof *v, seg_cmp);
  return v;
}

// The three segments among n of one connection: each answers the one before it.
static struct handshake
find_handshake(const struct seg *v, u32 n)
{
  struct handshake h = {0};
  for(u32 i = 0; i < n; i++) {
    u32 f = v[i].flags & (TH_SYN | TH_ACK | TH_RST);
    if(f == TH_SYN && h.synack == 0)
      h.syn = &v[i];
    else if(f == (TH_SYN | TH_ACK) && h.syn && v[i].in != h.syn->in && v[i].ack == h.syn->seq + 1)
      h.synack = &v[i];
    else if(f == TH_ACK && h.synack && h.ack == 0 && v[i].in == h.syn->in && v[i].ack == h.synack->seq + 1 && v[i].seq == h.syn->seq + 1)
      h.ack = &v[i];
  }
  return h;
}

static const char *
flow_str(const struct flow *f)
{
  static char s[80];
  snprintf(s, sizeof s, "%s:%u-%s:%u", ip_str(f->laddr), f->lport, ip_str(f->raddr), f->rport);
  return s;
}

// Name the first step that is missing; true when all three are there.
static bool
whole(struct check *c, const struct handshake *h, const struct flow *f, const char *where)
{
  if(h->syn && h->synack && h->ack)
    return true;
  const struct seg *last = h->synack ? h->synack : h->syn;
  const char *step = h->syn == 0 ? "SYN" : h->synack == 0 ? "SYN,ACK"
                                                          : "ACK";
  if(last)
    find(c, "handshake", "%s: no %s in the %s after packet #%u (%s %u)", flow_str(f), step, where, last->pkt, *where == 'c' ? "frame" : "event", last->no);
  else
    find(c, "handshake", "%s: no %s in the %s", flow_str(f), step, where);
  return false;
}

// The two views of one step: the same packet, with the same numbers.  (Data with the
// handshake's own numbers would else stand in for an ACK that is missing.)
static void
same_step(struct check *c, const char *name, const struct seg *w, const struct seg *k)
{
  if(w->pkt && w->pkt != k->pkt)
    find(c, "handshake", "%s: event %u is packet #%u, frame %u is packet #%u", name, k->no, k->pkt, w->no, w->pkt);
  if(w->seq != k->seq)
    find(c, "handshake", "%s: packet #%u, event %u has seq %u, frame %u has seq %u", name, k->pkt, k->no, k->seq, w->no, w->seq);
  if((w->flags & TH_ACK) && w->ack != k->ack)
    find(c, "handshake", "%s: packet #%u, event %u has ack %u, frame %u has ack %u", name, k->pkt, k->no, k->ack, w->no, w->ack);
}

static u32
group_end(const struct seg *v, u32 n, u32 i)
{
  u32 k = i;
  while(k < n && flow_same(&v[k].flow, &v[i].flow))
    k++;
  return k;
}

// Each connection that got as far as a SYN,ACK, in the capture or in the events,
// has a whole handshake in both, with the same numbers.  At least one must exist.
static void
check_handshake(struct check *c)
{
  u32 nw, nk, found = 0;
  struct seg *w = wire_segs(&c->s, &nw), *k = kernel_segs(&c->s, &nk);
  if(meta_event(&c->s.b->meta, "tcp_seg_in") == 0 || meta_event(&c->s.b->meta, "tcp_seg_out") == 0)
    find(c, "handshake", "no events tcp_seg_in, tcp_seg_out in the metadata");
  for(u32 i = 0, j = 0; i < nw || j < nk;) {
    int d = i == nw ? 1 : j == nk ? -1
                                  : memcmp(&w[i].flow, &k[j].flow, sizeof w->flow);
    const struct flow f = d <= 0 ? w[i].flow : k[j].flow;
    u32 wend = d <= 0 ? group_end(w, nw, i) : i, kend = d >= 0 ? group_end(k, nk, j) : j;
    struct handshake hw = find_handshake(w + i, wend - i), hk = find_handshake(k + j, kend - j);
    i = wend;
    j = kend;
    if(!hw.synack && !hk.synack)
      continue;
    found++;
    bool wire = whole(c, &hw, &f, "capture"), kernel = whole(c, &hk, &f, "events");
    if(!wire || !kernel)
      continue;
    same_step(c, "SYN", hw.syn, hk.syn);
    same_step(c, "SYN,ACK", hw.synack, hk.synack);
    same_step(c, "ACK", hw.ack, hk.ack);
  }
  if(found == 0)
    find(c, "handshake", "no TCP handshake in this run");
  free(w);
  free(k);
}

// What happened to one packet.
struct life {
  u32 pkt, first, last; // event numbers
  u32 ends;
  bool drop, named, queued, dropfate;
};

static int
life_cmp(const void *x, const void *y)
{
  const struct life *a = x, *b = y;
  if(a->pkt != b->pkt)
    return a->pkt < b->pkt ? -1 : 1;
  return a->first < b->first ? -1 : a->first > b->first;
}

static void
judge_life(struct check *c, const struct life *l, u64 last_ts)
{
  const struct session *s = &c->s;
  const char *event = rec_event(s->b, &s->b->rec[l->last])->name;
  i64 age = align_mid(&s->al, last_ts) - session_time(s, &s->b->rec[l->first]);
  bool flying = off_within(&c->endless, l->last, s->b->nrec) || l->queued || age < 10000000; // untold, unread, or the trace ends right behind it
  if(l->ends == 0 && !flying)
    find(c, "ends", "packet #%u has no pkt_end; its last event is %u, %s%s", l->pkt, l->last, event, s->b->lost ? " (events were lost)" : "");
  if(l->ends > 1)
    find(c, "ends", "packet #%u has %u pkt_end; the last is event %u", l->pkt, l->ends, l->last);
  if(l->ends && !l->named)
    find(c, "ends", "packet #%u: pkt_end without a known fate, event %u", l->pkt, l->last);
  if(l->dropfate && !l->drop)
    find(c, "ends", "packet #%u ended as DROP without a net_drop, event %u", l->pkt, l->last);
}

// One record's contribution to its packet's life.
static struct life
life_of(const struct session *s, u32 i)
{
  const struct rec *r = &s->b->rec[i];
  struct life l = {.pkt = rec_slot(s->b, r)->pkt, .first = i, .last = i};
  l.ends = rec_is(s, i, "pkt_end");
  const char *fate = l.ends ? rec_named(s->b, r, "fate") : 0;
  l.named = fate != 0;
  l.dropfate = fate && !strcmp(fate, "DROP");
  l.drop = rec_is(s, i, "net_drop");
  l.queued = rec_is(s, i, "sock_rx");
  return l;
}

static void
check_ends(struct check *c)
{
  const struct session *s = &c->s;
  struct life *v = xmalloc((s->b->nrec + 1) * sizeof *v);
  u32 n = 0, packets = 0;
  u64 last = 0;
  off_find(s, "pkt_end", &c->endless);
  if(meta_event(&s->b->meta, "pkt_end") == 0)
    find(c, "ends", "no event pkt_end in the metadata");
  for(u32 i = 0; i < s->b->nrec; i++) {
    const struct event *e = rec_event(s->b, &s->b->rec[i]);
    last = s->b->rec[i].ts > last ? s->b->rec[i].ts : last;
    bool travels = e && (e->stage <= ST_STACK || rec_is(s, i, "sock_rx") || rec_is(s, i, "pkt_end"));
    if(travels && rec_slot(s->b, &s->b->rec[i])->pkt)
      v[n++] = life_of(s, i);
  }
  qsort(v, n, sizeof *v, life_cmp);
  for(u32 i = 0; i < n;) {
    struct life l = v[i];
    u32 k = i + 1;
    for(; k < n && v[k].pkt == l.pkt; k++) {
      l.last = v[k].last;
      l.ends += v[k].ends;
      l.named |= v[k].named;
      l.drop |= v[k].drop;
      l.dropfate |= v[k].dropfate;
      l.queued |= v[k].queued;
    }
    judge_life(c, &l, last);
    packets++;
    i = k;
  }
  if(packets == 0)
    find(c, "ends", "no packet in this run");
  free(v);
}

// A direction whose events of the driver were switched off cannot be checked: its frames
// went on to the next stage, and the driver's own events are not there.
static void
check_recorded(struct check *c, const char *what)
{
  static const char *const pair[2][2] = {{"e1000_rx", "ethif_rx"}, {"e1000_tx", "ethif_tx"}};
  const u32 frames[2] = {c->s.count[UM_NORX] + c->s.count[UM_ANYRX], c->s.count[UM_NOTX]};
  for(int k = 0; k < 2; k++) {
    u32 n[2] = {0, 0};
    for(u32 i = 0; i < c->s.b->nrec; i++)
      for(int j = 0; j < 2; j++)
        n[j] += rec_is(&c->s, i, pair[k][j]);
    if(n[0] == 0 && n[1])
      find(c, what, "no %s in this trace, though %u %s: it was not recorded", pair[k][0], n[1], pair[k][1]);
    else if(n[0] == 0 && frames[k])
      find(c, what, "no %s in this trace: its %u frames cannot be checked", pair[k][0], frames[k]);
    else if(frames[k])
      find(c, what, "%s was switched off for a while: %u frames of then cannot be checked", pair[k][0], frames[k]);
  }
}

// Every matched frame lies between its events, by the clock that the guest's own
// timers give: frames had no part in it, so this can fail.
static void
check_sandwich(struct check *c)
{
  struct session *s = &c->s;
  struct align a = s->al;
  u32 done = 0;
  if(a.method == CLK_ANCHORED && a.pm) {
    a.klo = a.pmlo;
    a.khi = a.pmhi;
  }
  for(u32 i = 0; i < s->cap.n; i++) {
    const struct frame *f = &s->cap.f[i];
    if(f->rec == NOREC)
      continue;
    done++;
    const struct rec *r = &s->b->rec[f->rec];
    u32 pkt = rec_slot(s->b, r)->pkt;
    if(f->in && f->w > align_hi(&a, r->ts))
      find(c, "sandwich", "packet #%u: e1000_rx (event %u) is %s us before frame %u", pkt, f->rec, us_str(f->w - align_hi(&a, r->ts)), i + 1);
    if(!f->in && align_lo(&a, r->ts) > f->w + s->cap.q - 1)
      find(c, "sandwich", "packet #%u: e1000_tx (event %u) is %s us after frame %u", pkt, f->rec, us_str(align_lo(&a, r->ts) - f->w - s->cap.q + 1), i + 1);
    if(f->kick != NOREC && f->w > align_hi(&a, s->b->rec[f->kick].ts))
      find(c, "sandwich", "packet #%u: e1000_txkick (event %u) is %s us before frame %u", pkt, f->kick, us_str(f->w - align_hi(&a, s->b->rec[f->kick].ts)), i + 1);
  }
  if(done == 0)
    find(c, "sandwich", "no frame is matched");
  check_recorded(c, "sandwich");
}

static void
check_unmatched(struct check *c, i64 max)
{
  const struct session *s = &c->s;
  i64 n = 0;
  if(!s->have_cap || !s->have_trace) {
    find(c, "unmatched", "needs a trace and a capture");
    return;
  }
  for(int u = UM_NODRIVER; u < UM_ENDS; u++)
    n += s->count[u];
  if(s->nmatch == 0)
    find(c, "unmatched", "no frame is matched");
  check_recorded(c, "unmatched");
  if(n <= max)
    return;
  for(u32 i = 0; i < s->cap.n; i++) {
    enum unmatched u = frame_fate(s, i);
    if(u >= UM_NODRIVER && u < UM_ENDS)
      find(c, "unmatched", "frame %u, %u bytes %s the guest at %s us: %s", i + 1, s->cap.f[i].len, s->cap.f[i].in ? "to" : "from", us_str(s->cap.f[i].w), fate_text(u));
  }
  for(u32 i = 0; i < s->b->nrec; i++)
    if(s->frame_of[i] == NOREC && (rec_is(s, i, "e1000_rx") || rec_is(s, i, "e1000_tx"))) {
      enum unmatched u = rec_fate(s, i);
      if(u >= UM_NODRIVER && u < UM_ENDS)
        find(c, "unmatched", "packet #%u, %s (event %u): %s", rec_slot(s->b, &s->b->rec[i])->pkt, rec_event(s->b, &s->b->rec[i])->name, i, fate_text(u));
    }
}

static void
check_lost(struct check *c, i64 max)
{
  const struct boot *b = c->s.b;
  if(!c->s.have_trace)
    find(c, "lost", "needs a trace");
  if((i64)(b->lost + b->discarded) <= max)
    return;
  for(u32 i = 0; i < b->nrec; i++)
    if(b->rec[i].nlost)
      find(c, "lost", "%u slots lost on cpu %u before event %u", b->rec[i].nlost, b->rec[i].cpu, i);
}

static void
check_band(struct check *c, i64 max_us)
{
  if(c->s.al.method < CLK_FRAMES)
    find(c, "band", "the clock has no bound: neither syncs nor frames");
  else if(c->s.al.anyturn)
    find(c, "band", "%s", ANYTURN_TEXT);
  else if(c->s.band > max_us * 1000)
    find(c, "band", "the clock is known to +-%s us only", band_str(c->s.band));
}

// Without net_drop nothing would be found: it is only known to be on where it stands, or
// where the packets' ends stand and none of them is a drop.
static void
drops_recorded(struct check *c)
{
  u32 drops = 0, ends = 0, dropped = 0;
  for(u32 i = 0; i < c->s.b->nrec; i++) {
    const char *fate = rec_is(&c->s, i, "pkt_end") ? rec_named(c->s.b, &c->s.b->rec[i], "fate") : 0;
    drops += rec_is(&c->s, i, "net_drop");
    ends += fate != 0;
    dropped += fate && !strcmp(fate, "DROP");
  }
  if(drops == 0 && dropped)
    find(c, "drop", "no net_drop in this trace, though %u packets ended as DROP: it was not recorded", dropped);
  if(drops == 0 && ends == 0)
    find(c, "drop", "neither net_drop nor pkt_end in this trace: nothing tells of drops");
}

static int
check_drops(struct check *c, const char *reasons)
{
  const struct field *f = event_field(meta_event(&c->s.b->meta, "net_drop"), "reason");
  bool known = false;
  for(u32 i = 0; f && f->set && i < f->set->n; i++)
    known |= listed(reasons, f->set->v[i].name);
  if(!known)
    return seterr(EX_BADUSE, "--no-drop %s: no such reason in this trace's metadata", reasons);
  drops_recorded(c);
  for(u32 i = 0; i < c->s.b->nrec; i++) {
    const struct rec *r = &c->s.b->rec[i];
    const char *why = rec_is(&c->s, i, "net_drop") ? rec_named(c->s.b, r, "reason") : 0;
    if(why && listed(reasons, why))
      find(c, "drop", "packet #%u dropped: %s (event %u, %s)", rec_slot(c->s.b, r)->pkt, why, i, symbol_str((u32)rec_get(c->s.b, r, "eip")));
  }
  return 0;
}

int
cmd_check(struct opts *o)
{
  static struct check c;
  struct out out;
  memset(&c, 0, sizeof c);
  if(!o->handshake && !o->ends && !o->sandwich && o->max_lost < 0 && o->max_unmatched < 0 && o->max_band < 0 && !o->noreason)
    return seterr(EX_BADUSE, "name at least one check: see nettrace check --help");
  int rc = session_open(&c.s, o->argc, o->argv);
  if(rc < 0 || (rc = out_open(&out, o->out)) < 0)
    return rc;
  c.f = out.f;
  c.json = o->json;
  if(c.json)
    fputs("{\"findings\":[", c.f);
  if(o->handshake)
    check_handshake(&c);
  if(o->ends)
    check_ends(&c);
  if(o->sandwich)
    check_sandwich(&c);
  if(o->max_lost >= 0)
    check_lost(&c, o->max_lost);
  if(o->max_unmatched >= 0)
    check_unmatched(&c, o->max_unmatched);
  if(o->max_band >= 0)
    check_band(&c, o->max_band);
  if(o->noreason)
    rc = check_drops(&c, o->noreason);
  if(c.json)
    fprintf(c.f, "],\"n\":%u,\"schema\":\"nettrace-check/1\"}\n", c.n);
  int rc2 = out_close(&out, rc == 0);
  if(!o->quiet)
    session_summary(&c.s, stderr);
  return rc ? rc : rc2 ? rc2
                       : c.n > 0 || (o->strict && (session_noted(&c.s)));
}
