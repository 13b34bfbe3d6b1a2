// Rows in causal order, and the selection of those to show.
//
// Records keep ring order.  Frames keep capture order; each stands behind its
// e1000_tx and before its e1000_txkick or e1000_rx; between these bounds, and
// without them, its time decides.  Rows are never sorted by time alone.
#include <stdlib.h>
#include <string.h>
#include "tool.h"

// Place every frame: pos[i] = index of the record it stands before.
static u32 *
place_frames(struct session *s, const i64 *w)
{
  u32 n = s->cap.n, nrec = s->b->nrec, at = 0;
  u32 *lo = xmalloc((n + 1) * sizeof *lo), *hi = xmalloc((n + 1) * sizeof *hi);
  for(u32 i = 0; i < n; i++) {
    const struct frame *f = &s->cap.f[i];
    lo[i] = f->rec != NOREC && !f->in ? f->rec + 1 : 0;
    hi[i] = f->rec == NOREC ? nrec : f->in ? f->rec
                                           : (f->kick != NOREC ? f->kick : nrec);
  }
  for(u32 i = n; i-- > 1;) // a frame is not later than the next one
    if(hi[i] < hi[i - 1])
      hi[i - 1] = hi[i];
  u32 prev = 0;
  for(u32 i = 0; i < n; i++) {
    while(at < nrec && w[at] <= s->cap.f[i].w)
      at++;
    u32 least = lo[i] > prev ? lo[i] : prev;
    u32 p = at > hi[i] ? hi[i] : at;
    lo[i] = prev = p < least ? least : p;
    s->crossed += least > hi[i];
  }
  free(hi);
  return lo;
}

// Fill s->item with all frames and records of the boot.
void
timeline_build(struct session *s)
{
  u32 n = s->cap.n + s->b->nrec;
  i64 *w = xmalloc((s->b->nrec + 1) * sizeof *w);
  for(u32 i = 0; i < s->b->nrec; i++)
    w[i] = session_time(s, &s->b->rec[i]);
  u32 *pos = place_frames(s, w);
  s->item = xmalloc((n + 1) * sizeof *s->item);
  i64 last = -(1ll << 62);
  for(u32 i = 0, f = 0; i <= s->b->nrec; i++) {
    for(; f < s->cap.n && pos[f] <= i; f++) {
      last = s->cap.f[f].w > last ? s->cap.f[f].w : last;
      s->item[s->nitem++] = (struct item){.idx = f, .frame = true, .w = last};
    }
    if(i == s->b->nrec)
      break;
    last = w[i] > last ? w[i] : last;
    s->item[s->nitem++] = (struct item){.idx = i, .w = last};
  }
  free(w);
  free(pos);
}

u32
item_pkt(const struct session *s, const struct item *it)
{
  u32 rec = it->frame ? s->cap.f[it->idx].rec : it->idx;
  const struct nt_slot *slot = rec == NOREC ? 0 : rec_slot(s->b, &s->b->rec[rec]);
  return slot ? slot->pkt : 0;
}

// The stage a row belongs to: ST_OTHER for losses and events of unknown stage.
u32
item_stage(const struct session *s, const struct item *it)
{
  const struct event *e = it->frame ? 0 : rec_event(s->b, &s->b->rec[it->idx]);
  return it->frame ? ST_WIRE : e ? e->stage
                                 : ST_OTHER;
}

// Sort by packet, by eleven bits at a time, the lowest first: rows of one packet keep
// their order.  Linear, where qsort would be half of what a merge costs.
static struct prow *
sort_by_packet(struct prow *v, u32 n)
{
  struct prow *to = xmalloc((n + 1) * sizeof *to);
  for(u32 shift = 0; shift < 32; shift += 11) {
    u32 at[2048] = {0}, sum = 0;
    for(u32 i = 0; i < n; i++)
      at[v[i].pkt >> shift & 2047]++;
    if(n == 0 || at[v[0].pkt >> shift & 2047] == n)
      continue; // these bits are the same in all
    for(u32 i = 0, k; i < 2048; i++, sum += k) {
      k = at[i];
      at[i] = sum;
    }
    for(u32 i = 0; i < n; i++)
      to[at[v[i].pkt >> shift & 2047]++] = v[i];
    struct prow *old = v;
    v = to;
    to = old;
  }
  free(to);
  return v;
}

// The shown rows that belong to packets, by packet and then as they stand; show 0:
// all rows.  The caller's to free.
struct prow *
rows_by_packet(const struct session *s, const u8 *show, u32 *n)
{
  struct prow *v = xmalloc((s->nitem + 1) * sizeof *v);
  *n = 0;
  for(u32 i = 0; i < s->nitem; i++) {
    u32 pkt = show && !show[i] ? 0 : item_pkt(s, &s->item[i]);
    if(pkt)
      v[(*n)++] = (struct prow){pkt, i};
  }
  return sort_by_packet(v, *n);
}

void
idset_add(struct idset *s, u32 id)
{
  if(id == 0 || idset_has(s, id))
    return;
  if(s->n * 2 >= s->cap) {
    struct idset old = *s;
    s->cap = old.cap ? old.cap * 2 : 64;
    s->v = xmalloc(s->cap * sizeof *s->v);
    s->n = 0;
    for(u32 i = 0; i < old.cap; i++)
      idset_add(s, old.v[i]);
    free(old.v);
  }
  u32 h = id * 2654435761u;
  while(s->v[h & (s->cap - 1)])
    h++;
  s->v[h & (s->cap - 1)] = id;
  s->n++;
}

bool
idset_has(const struct idset *s, u32 id)
{
  if(s->cap == 0 || id == 0)
    return false;
  for(u32 h = id * 2654435761u; s->v[h & (s->cap - 1)]; h++)
    if(s->v[h & (s->cap - 1)] == id)
      return true;
  return false;
}

// Does name match a pattern of n bytes, in which * stands for anything?
static bool
glob(const char *pat, size_t n, const char *name)
{
  if(n == 0)
    return *name == 0;
  if(*pat == '*')
    return glob(pat + 1, n - 1, name) || (*name && glob(pat, n, name + 1));
  return *pat == *name && *name && glob(pat + 1, n - 1, name + 1);
}

// Is name in a comma-separated list of patterns?
bool
listed(const char *list, const char *name)
{
  for(const char *p = list; *p;) {
    size_t n = strcspn(p, ",");
    if(n && n < 64 && glob(p, n, name))
      return true;
    p += n + (p[n] != 0);
  }
  return false;
}

// 1.5, 1.5s, 20ms, 800us: to ns, without floating point.
int
parse_time(const char *flag, const char *s, i64 *ns)
{
  i64 whole = 0, frac = 0, scale = 1000000000, unit = 1000000000;
  const char *p = s;
  for(; *p >= '0' && *p <= '9' && whole < 1ll << 32; p++)
    whole = whole * 10 + (*p - '0');
  if(*p == '.')
    for(p++; *p >= '0' && *p <= '9'; p++)
      if(scale > 1) {
        frac = frac * 10 + (*p - '0');
        scale /= 10;
      }
  if(strcmp(p, "ms") == 0)
    unit = 1000000;
  else if(strcmp(p, "us") == 0)
    unit = 1000;
  else if(p == s || (*p && strcmp(p, "s")))
    return seterr(EX_BADUSE, "%s %s: needs seconds, or a number with us, ms or s", flag, s);
  *ns = whole * unit + frac * scale / (1000000000 / unit);
  return 0;
}

static int
select_time(struct session *s, const struct opts *o, struct selection *sel)
{
  i64 from = -(1ll << 62), to = 1ll << 62;
  if((o->from && parse_time("--from", o->from, &from) < 0) || (o->to && parse_time("--to", o->to, &to) < 0))
    return -EX_BADUSE;
  if(from > to)
    return seterr(EX_BADUSE, "--from %s --to %s: an empty range: the earlier time first", o->from, o->to);
  for(u32 i = 0; i < s->nitem; i++)
    sel->show[i] &= s->item[i].w >= from && s->item[i].w <= to;
  return 0;
}

// Does --only or --layer leave this record standing?
static bool
rec_wanted(const struct session *s, u32 rec, const struct opts *o)
{
  const struct rec *r = &s->b->rec[rec];
  const struct event *e = rec_event(s->b, r);
  if(r->slot == NOSLOT)
    return true;
  if(o->only && (e == 0 || !listed(o->only, e->name)))
    return false;
  return o->layer == 0 || (e && listed(o->layer, e->stagename));
}

// The words of --layer: stages there are in general, or in this trace's events.
static int
check_layers(const struct session *s, const char *list)
{
  for(const char *p = list; *p; p += strcspn(p, ","), p += *p != 0) {
    char pat[64];
    snprintf(pat, sizeof pat, "%.*s", (int)strcspn(p, ","), p);
    bool known = false;
    for(u32 i = ST_WIRE; i < ST_OTHER; i++)
      known |= listed(pat, stage_name[i]);
    for(u32 i = 0; s->have_trace && i < MAXEVENTS; i++)
      known |= s->b->meta.ev[i] && listed(pat, s->b->meta.ev[i]->stagename);
    if(!known)
      return seterr(EX_BADUSE, "--layer %s: want WIRE DRIVER NETIF STACK SOCKET SYSCALL CPU META or MEM", pat);
  }
  return *list ? 0 : seterr(EX_BADUSE, "--layer: want WIRE DRIVER NETIF STACK SOCKET SYSCALL CPU META or MEM");
}

// Are the words of --only and --layer names that this trace knows?
int
names_known(const struct session *s, const struct opts *o)
{
  if(o->only && !*o->only)
    return seterr(EX_BADUSE, "--only: names no event");
  for(const char *p = o->only; p && *p; p += strcspn(p, ","), p += *p != 0) {
    char pat[64];
    snprintf(pat, sizeof pat, "%.*s", (int)strcspn(p, ","), p);
    bool known = !s->have_trace;
    for(u32 i = 0; i < MAXEVENTS; i++)
      known |= s->b->meta.ev[i] && listed(pat, s->b->meta.ev[i]->name);
    if(!known)
      return seterr(EX_BADUSE, "--only %s: no such event in this trace", pat);
  }
  return o->layer ? check_layers(s, o->layer) : 0;
}

// Apply --only and --layer.  A frame stays while the record it belongs to does.
static int
select_kind(struct session *s, const struct opts *o, struct selection *sel)
{
  int rc = names_known(s, o);
  if(rc < 0)
    return rc;
  for(u32 i = 0; i < s->nitem; i++) {
    const struct item *it = &s->item[i];
    u32 rec = it->frame ? s->cap.f[it->idx].rec : it->idx;
    bool wire = it->frame && o->layer && listed(o->layer, "WIRE");
    if((o->only || o->layer) && !wire && (rec == NOREC || !rec_wanted(s, rec, o)))
      sel->show[i] = 0;
  }
  return 0;
}

// --packets a-b, a, #N or +K: keep these packets and what lies between them.
static int
select_packets(struct session *s, const struct opts *o, struct selection *sel)
{
  unsigned a, b;
  char end;
  const char *p = o->packets;
  bool id = *p == '#';
  p += *p == '#' || *p == '+';
  int n = sscanf(p, "%u-%u%c", &a, &b, &end);
  if(n == 1 && strspn(p, "0123456789") == strlen(p))
    b = a;
  else if(n != 2)
    return seterr(EX_BADUSE, "--packets %s: needs a-b, a, #N or +K", o->packets);
  if(a == 0 || a > b)
    return seterr(EX_BADUSE, "--packets %s: an empty range: packets count from 1, the lower number first", o->packets);
  struct idset seen = {0}, keep = {0};
  u32 k = 0, first = NOREC, last = 0;
  for(u32 i = 0; i < s->nitem; i++) {
    u32 pkt = sel->show[i] ? item_pkt(s, &s->item[i]) : 0;
    if(pkt && !idset_has(&seen, pkt)) {
      k++;
      idset_add(&seen, pkt);
      if(id ? pkt >= a && pkt <= b : k >= a && k <= b)
        idset_add(&keep, pkt);
    }
    if(pkt && idset_has(&keep, pkt)) {
      first = first == NOREC ? i : first;
      last = i;
    }
  }
  for(u32 i = 0; i < s->nitem; i++) {
    u32 pkt = item_pkt(s, &s->item[i]);
    sel->show[i] &= pkt ? idset_has(&keep, pkt) : first != NOREC && i >= first && i <= last;
  }
  bool none = keep.n == 0;
  free(seen.v);
  free(keep.v);
  return none ? seterr(EX_BADUSE, "--packets %s: none of the selection's %u packets", o->packets, k) : 0;
}

// Decide which items to show.  pick_flow: without --flow take the first whole
// connection.  0 or -EX_BADUSE.
int
timeline_select(struct session *s, const struct opts *o, bool pick_flow, struct selection *sel)
{
  memset(sel, 0, sizeof *sel);
  sel->show = xmalloc(s->nitem + 1);
  memset(sel->show, 1, s->nitem);
  int rc = flow_select(s, o, pick_flow && !o->pid, sel);
  if(rc == 0 && o->pid)
    rc = pid_select(s, (u32)o->pid, sel);
  if(rc == 0 && (o->from || o->to))
    rc = select_time(s, o, sel);
  if(rc == 0)
    rc = select_kind(s, o, sel);
  if(rc == 0 && o->packets)
    rc = select_packets(s, o, sel);
  return rc;
}

// Does the command show one connection, if none is named?  Not if other rows are asked for.
bool
picks_flow(const struct opts *o)
{
  return !o->all && !o->only && !o->layer && !o->from && !o->to && (!o->packets || *o->packets != '#');
}

// Are rows chosen otherwise than by connection?
bool
shows_part(const struct opts *o)
{
  return o->packets || o->only || o->layer || o->from || o->to || o->pid;
}

// For a command over all rows that are chosen: load the run, choose, open the output.
// 0 or -exit code.
int
rows_open(struct session *s, struct selection *sel, struct out *out, const struct opts *o)
{
  int rc = session_open(s, o->argc, o->argv);
  if(rc < 0)
    return rc;
  timeline_build(s);
  rc = timeline_select(s, o, false, sel);
  return rc < 0 ? rc : out_open(out, o->out);
}
