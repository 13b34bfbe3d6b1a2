// html: one page that holds the picture, its data and the script that draws it.
//
// The page asks for nothing: style, script and data stand in it, and its policy
// forbids the rest.  Here rows become data; page/page.js draws them.  What guest
// or wire said is only ever a JSON string, in which < cannot stand, and only ever
// shown as text.
//
// A run may have many connections: all rows are in the page, those that ladder
// would show are marked, and the page opens with them.
#include <stdlib.h>
#include <string.h>
#include "tool.h"
#include "html.h"

#define MAXPKT    10000 // packets in one page
#define MAXBYTES  128   // of a frame
#define NOFLOW    0
#define ROW_PICK  1 // ladder would show it
#define ROW_DROP  2
#define ROW_LOST  4
#define ROW_STATE 8
#define ROW_CALL  16
#define ROW_CABLE 32 // a frame that was lost or damaged between the two ends of the cable

// Texts by number: each stands in the page once.
struct strings {
  char **v;
  u32 n, cap, *slot, nslot;
};
// Connections by number, from 1.
struct flows {
  struct flow *v;
  u32 n, cap, *slot, nslot;
};
struct page {
  const struct session *s;
  const struct opts *o;
  struct selection all, pick;
  struct labels *labels;
  struct strings str;
  struct flows flows;
  FILE *f, *states, *sleeps, *links; // lists that grow beside the rows
  char *text[3];
  size_t len[3];
  u32 row, npkt, left; // rows written; packets in the page, left out
  struct idset pkts;
  i64 last;
  struct cable cable;
};

// Bytes of the character at s if it is one of UTF-8 beyond ASCII and complete, else 0.
int
utf8_whole(const char *s)
{
  u8 c = (u8)*s;
  int n = charlen(s);
  bool whole = n > 1 && c >= 0xc2 && c < 0xf5;
  for(int i = 1; i < n; i++)
    whole &= ((u8)s[i] & 0xc0) == 0x80;
  return whole ? n : 0;
}

// A JSON string that may stand inside a script: UTF-8 passes, stray bytes become the
// code point of the same number.
static void
put_text(FILE *f, const char *s)
{
  putc('"', f);
  for(; *s; s++) {
    u8 c = (u8)*s;
    if(c < 0x20 || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c == '\'' || c == 0x7f)
      fprintf(f, "\\u%04x", c);
    else if(c < 0x80)
      putc(c, f);
    else {
      int n = utf8_whole(s);
      if(n)
        fwrite(s, 1, (size_t)n, f);
      else
        fprintf(f, "\\u%04x", c);
      s += n ? n - 1 : 0;
    }
  }
  putc('"', f);
}

// Rebuild a hash table of numbers when it is half full.
static bool
table_full(u32 n, u32 *nslot, u32 **slot)
{
  if(n * 2 < *nslot)
    return false;
  *nslot = *nslot ? *nslot * 2 : 1024;
  free(*slot);
  *slot = xmalloc(*nslot * sizeof **slot);
  return true;
}

static u32 *
string_slot(struct strings *t, const char *s)
{
  u32 h = fnv1a(s, strlen(s));
  while(t->slot[h & (t->nslot - 1)] && strcmp(t->v[t->slot[h & (t->nslot - 1)] - 1], s))
    h++;
  return &t->slot[h & (t->nslot - 1)];
}

// The number of a text, from 0.
static u32
intern(struct strings *t, const char *s)
{
  if(table_full(t->n, &t->nslot, &t->slot))
    for(u32 i = 0; i < t->n; i++)
      *string_slot(t, t->v[i]) = i + 1;
  u32 *at = string_slot(t, s);
  if(*at == 0) {
    t->v = xgrow(t->v, t->n, &t->cap, sizeof *t->v);
    t->v[t->n] = xstrdup(s);
    *at = ++t->n;
  }
  return *at - 1;
}

static u32 *
flow_slot(struct flows *t, const struct flow *f)
{
  u32 h = (f->laddr ^ f->raddr * 31 ^ ((u32)f->lport << 16 | f->rport) * 2654435761u) * 2654435761u >> 8;
  while(t->slot[h & (t->nslot - 1)] && !flow_same(&t->v[t->slot[h & (t->nslot - 1)] - 1], f))
    h++;
  return &t->slot[h & (t->nslot - 1)];
}

// The number of a connection, from 1.
static u32
flow_no(struct flows *t, const struct flow *f)
{
  if(table_full(t->n, &t->nslot, &t->slot))
    for(u32 i = 0; i < t->n; i++)
      *flow_slot(t, &t->v[i]) = i + 1;
  u32 *at = flow_slot(t, f);
  if(*at == 0) {
    t->v = xgrow(t->v, t->n, &t->cap, sizeof *t->v);
    t->v[t->n] = *f;
    *at = ++t->n;
  }
  return *at;
}

static u32
item_flow_no(struct page *p, const struct item *it)
{
  struct flow f;
  if(!it->frame)
    return rec_flow(p->s->b, &p->s->b->rec[it->idx], &f) ? flow_no(&p->flows, &f) : NOFLOW;
  const struct frame *fr = &p->s->cap.f[it->idx];
  return frame_is_tcp(fr) ? flow_no(&p->flows, &fr->flow) : NOFLOW;
}

// A frame: [dt, lane, -1, pkt, flow, flags, label, payload, fate, number, in, length, hex].
static void
put_frame(struct page *p, const struct frame *f, i64 w, u32 pkt, u32 flags, const char *fate, u32 no)
{
  char label[160], more[400];
  label_frame(label, sizeof label, f, p->labels);
  label_payload(more, sizeof more, f);
  fprintf(p->f, "[%lld,%d,-1,%u,%u,%u,%u,%u,%u,%u,%d,%u,\"", w - p->last, L_WIRE, pkt, frame_is_tcp(f) ? flow_no(&p->flows, &f->flow) : NOFLOW,
          flags, intern(&p->str, label), intern(&p->str, more), intern(&p->str, fate), no, f->in, f->len);
  static const char hex[] = "0123456789abcdef";
  for(u32 i = 0; i < f->caplen && i < MAXBYTES; i++) {
    putc(hex[f->data[i] >> 4], p->f);
    putc(hex[f->data[i] & 15], p->f);
  }
  fputs("\"]", p->f);
}

static void
put_frame_row(struct page *p, const struct item *it, u32 flags)
{
  const struct frame *f = &p->s->cap.f[it->idx];
  enum unmatched u = frame_fate(p->s, it->idx);
  u8 cable = p->cable.out ? p->cable.out[it->idx] : 0;
  flags |= u == UM_NODRIVER ? ROW_DROP : 0;
  flags |= cable ? ROW_DROP | ROW_CABLE : 0;
  put_frame(p, f, it->w, item_pkt(p->s, it), flags, cable == CABLE_LOST ? "lost on the cable" : cable        ? "damaged on the cable"
                                                                                              : u == UM_NONE ? ""
                                                                                                             : fate_text(u),
            it->idx + 1);
}

// A record's fields: plain numbers as such, all else as text.
static void
put_fields(struct page *p, const struct rec *r, const struct event *e)
{
  u8 buf[192];
  u32 len;
  const u8 *pay = rec_payload(p->s->b, r, buf, &len);
  for(u32 i = 0; i < e->nfield; i++) {
    char val[800];
    size_t n = field_str(val, sizeof val, &e->f[i], pay, len);
    putc(',', p->f);
    if(n && n < 15 && strspn(val, "0123456789") == strlen(val) && (*val != '0' || n == 1))
      fputs(val, p->f);
    else
      fprintf(p->f, "[%u]", intern(&p->str, val));
  }
}

// A record: [dt, lane, event, pkt, flow, flags, label, fate, sock, pid, cpu, number, field...].
static void
put_rec_row(struct page *p, const struct item *it, u32 flags)
{
  const struct rec *r = &p->s->b->rec[it->idx];
  const struct event *e = rec_event(p->s->b, r);
  const struct nt_slot *slot = rec_slot(p->s->b, r);
  char label[1200];
  enum unmatched u = UM_NONE;
  label_rec(label, sizeof label, p->s, r, p->labels);
  if(r->nlost)
    flags |= ROW_LOST;
  else if(e) {
    flags |= !strcmp(e->name, "net_drop") ? ROW_DROP : !strcmp(e->name, "tcp_state") ? ROW_STATE
                                                     : e->stage == ST_SYSCALL        ? ROW_CALL
                                                                                     : 0;
    if(!strcmp(e->name, "e1000_rx") || !strcmp(e->name, "e1000_tx"))
      u = rec_fate(p->s, it->idx);
  }
  flags |= u == UM_NOWIRE ? ROW_DROP : 0;
  fprintf(p->f, "[%lld,%d,%d,%u,%u,%u,%u,%u,%u,%u,%u,%u", it->w - p->last, rec_lane(p->s, r), e && !r->nlost ? e->id : -2,
          slot ? slot->pkt : 0, item_flow_no(p, it), flags, intern(&p->str, label), intern(&p->str, u == UM_NONE ? "" : fate_text(u)),
          slot ? slot->sock : 0, slot ? slot->pid : 0, r->cpu, r->seq);
  if(e && !r->nlost)
    put_fields(p, r, e);
  putc(']', p->f);
}

// What goes on over shown and hidden rows alike: states of connections, processes that
// sleep, wake and run, links between packets.  Each entry begins with the row it stands
// before.
static void
track(struct page *p, const struct item *it)
{
  label_learn(p->labels, p->s, it);
  if(it->frame || p->left)
    return;
  const struct session *s = p->s;
  const struct rec *r = &s->b->rec[it->idx];
  struct flow f;
  char state[24], what[200];
  if(rec_is(s, it->idx, "tcp_state") && rec_flow(s->b, r, &f)) {
    state_str(state, sizeof state, rec_named(s->b, r, "to"));
    fprintf(p->states, ",[%u,%u,%u,%u]", p->row, flow_no(&p->flows, &f), intern(&p->str, state), f.raddr ? 0u : f.lport);
  } else if(rec_is(s, it->idx, "sleep")) {
    label_rec(what, sizeof what, s, r, p->labels);
    fprintf(p->sleeps, ",[%u,%u,0,%u]", p->row, rec_slot(s->b, r)->pid, intern(&p->str, what));
  } else if(rec_is(s, it->idx, "wakeup"))
    fprintf(p->sleeps, ",[%u,%llu,1]", p->row, rec_get(s->b, r, "who"));
  else if(rec_is(s, it->idx, "switch"))
    fprintf(p->sleeps, ",[%u,%llu,2]", p->row, rec_get(s->b, r, "next"));
  else if(rec_is(s, it->idx, "pkt_link")) {
    const char *kind = rec_named(s->b, r, "kind");
    u32 from_child = intern(&p->str, link_phrase(kind, false)), from_parent = intern(&p->str, link_phrase(kind, true));
    fprintf(p->links, ",[%u,%llu,%u,%u]", rec_slot(s->b, r)->pkt, rec_get(s->b, r, "parent"), from_child, from_parent);
  }
}

// Is it one of the rows the page holds?  After MAXPKT packets (a frame that no event tells
// of is one too) no new one begins.
static bool
wanted(struct page *p, u32 i)
{
  const struct item *it = &p->s->item[i];
  if(!p->all.show[i])
    return false;
  const struct event *e = it->frame ? 0 : rec_event(p->s->b, &p->s->b->rec[it->idx]);
  bool asked = p->o->all || p->o->only || p->o->layer;
  if(e && !asked && !(p->pick.have_flow && p->pick.show[i]) && (e->stage == ST_META || e->stage == ST_MEM))
    return false;
  u32 pkt = item_pkt(p->s, it);
  if(pkt == 0 && !it->frame)
    return p->left == 0;
  if(idset_has(&p->pkts, pkt))
    return true;
  if(p->npkt == MAXPKT) {
    p->left++;
    return false;
  }
  idset_add(&p->pkts, pkt);
  p->npkt++;
  return true;
}

// A row begins.
static void
next_row(struct page *p, i64 w)
{
  fputs(p->row ? ",\n" : "\n", p->f);
  if(p->row++ == 0)
    p->last = w;
}

// The frames that left the far end by then and never came to the card: from number i on.
// Returns the number of the next.
static u32
put_lost(struct page *p, u32 i, i64 until)
{
  const struct capture *c = &p->cable.far;
  for(; i < c->n && c->f[i].w < until; i++) {
    const struct frame *f = &c->f[i];
    bool mine = p->pick.have_flow && frame_is_tcp(f) && flow_same(&f->flow, &p->pick.flow);
    if(p->cable.in[i] != CABLE_LOST || (p->o->flow && !mine))
      continue;
    i64 w = p->row && f->w < p->last ? p->last : f->w;
    next_row(p, w);
    put_frame(p, f, w, 0, ROW_DROP | ROW_CABLE | (mine ? ROW_PICK : 0), "lost on the cable", 0);
    p->last = w;
  }
  return i;
}

static void
put_rows(struct page *p)
{
  u32 far = 0;
  p->states = open_memstream(&p->text[0], &p->len[0]);
  p->sleeps = open_memstream(&p->text[1], &p->len[1]);
  p->links = open_memstream(&p->text[2], &p->len[2]);
  fputs("\"rows\":[", p->f);
  for(u32 i = 0; i < p->s->nitem; i++) {
    const struct item *it = &p->s->item[i];
    far = put_lost(p, far, it->w);
    track(p, it);
    if(!wanted(p, i))
      continue;
    next_row(p, it->w);
    u32 flags = p->pick.have_flow && p->pick.show[i] ? ROW_PICK : 0;
    if(it->frame)
      put_frame_row(p, it, flags);
    else
      put_rec_row(p, it, flags);
    p->last = it->w;
  }
  put_lost(p, far, 1ll << 62);
  fputs("],\n", p->f);
}

// Events that have a description, by id: [name, stage, sentence, field...].
static void
put_events(struct page *p)
{
  fputs("\"ev\":{", p->f);
  bool more = false;
  for(u32 i = 0; p->s->have_trace && i < MAXEVENTS; i++) {
    const struct event *e = p->s->b->meta.ev[i];
    if(e == 0)
      continue;
    fprintf(p->f, "%s\n\"%u\":[", more ? "," : "", e->id);
    more = true;
    put_text(p->f, e->name);
    putc(',', p->f);
    put_text(p->f, e->stagename);
    putc(',', p->f);
    put_text(p->f, e->doc ? e->doc : "");
    for(u32 k = 0; k < e->nfield; k++) {
      putc(',', p->f);
      put_text(p->f, e->f[k].name);
    }
    putc(']', p->f);
  }
  fputs("},\n", p->f);
}

static void
put_tables(struct page *p)
{
  static const char *const name[] = {"st", "sl", "link"};
  FILE *list[] = {p->states, p->sleeps, p->links};
  for(int i = 0; i < 3; i++) {
    fclose(list[i]);
    fprintf(p->f, "\"%s\":[%s],\n", name[i], p->len[i] ? p->text[i] + 1 : "");
    free(p->text[i]);
  }
  fputs("\"flows\":[", p->f);
  for(u32 i = 0; i < p->flows.n; i++) {
    const struct flow *f = &p->flows.v[i];
    fprintf(p->f, "%s[\"%s\",%u,\"%s\",%u]", i ? "," : "", ip_str(f->laddr), f->lport, ip_str(f->raddr), f->rport);
  }
  fputs("],\n\"str\":[", p->f);
  for(u32 i = 0; i < p->str.n; i++) {
    fputs(i ? ",\n" : "", p->f);
    put_text(p->f, p->str.v[i]);
  }
  fputs("]}\n", p->f);
}

// The clock in a few words, as under the ladder's title.
static void
put_clock(struct page *p)
{
  static const char *const how[] = {"none", "guest time", "frames only", "anchored", "identity"};
  fprintf(p->f, "\"clock\":\"%s\",\"band\":\"%s\",\n", p->s->have_trace ? how[p->s->al.method] : "wire only",
          p->s->al.method >= CLK_FRAMES && p->s->have_cap ? band_str(p->s->wire) : "");
}

static void
put_data(struct page *p)
{
  char *summary = 0;
  size_t n = 0;
  FILE *f = open_memstream(&summary, &n);
  session_summary(p->s, f);
  fclose(f);
  fputs("{\"schema\":\"nettrace-page/1\",", p->f);
  fprintf(p->f, "\"max\":%lld,\"cable\":%u,", p->o->rows ? p->o->rows : 2000, p->cable.n);
  put_clock(p);
  fputs("\"summary\":", p->f);
  put_text(p->f, summary);
  free(summary);
  fprintf(p->f, ",\"pick\":%u,\"pids\":[", p->pick.have_flow ? flow_no(&p->flows, &p->pick.flow) : NOFLOW);
  for(u32 i = 0; i < p->pick.npid; i++)
    fprintf(p->f, "%s%u", i ? "," : "", p->pick.pid[i]);
  fputs("],\n", p->f);
  put_events(p);
  put_rows(p);
  fprintf(p->f, "\"left\":%u,\n", p->left);
  put_tables(p);
}

static void
put_page(struct page *p)
{
  fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>nettrace</title>\n<style>\n",
        p->f);
  fputs(colors_css, p->f);
  fputs(page_css, p->f);
  fputs("</style>\n</head>\n<body>\n<noscript>This page draws itself from its data: it needs JavaScript, nothing else.</noscript>\n"
        "<script type=\"application/json\" id=\"data\">\n",
        p->f);
  put_data(p);
  fputs("</script>\n<script>\n", p->f);
  fputs(checks_js, p->f);
  fputs(page_js, p->f);
  fputs("</script>\n</body>\n</html>\n", p->f);
}

int
cmd_html(struct opts *o)
{
  struct session s;
  struct out out;
  struct plain text;
  struct page p = {.s = &s, .o = o};
  if(o->out == 0)
    return seterr(EX_BADUSE, "-o FILE is needed (- is standard output)");
  int rc = session_open(&s, o->argc, o->argv);
  if(rc < 0)
    return rc;
  timeline_build(&s);
  p.labels = xmalloc(sizeof *p.labels);
  if((rc = timeline_select(&s, o, picks_flow(o), &p.pick)) < 0)
    return rc;
  // A connection asked for, or packets of one: then the page holds just these.
  bool narrow = o->flow || o->packets;
  if(!shows_part(o) && (rc = cable_load(&p.cable, &s)) < 0)
    return rc;
  p.all = p.pick;
  if(!narrow && (rc = timeline_select(&s, o, false, &p.all)) < 0)
    return rc;
  if((rc = out_open(&out, o->out)) < 0)
    return rc;
  p.f = plain_open(&text, out.f);
  if(o->svg)
    svg_write(&s, &p.pick, &p.cable, p.f);
  else
    put_page(&p);
  plain_close(&text);
  rc = out_close(&out, true);
  if(!o->quiet)
    session_summary(&s, stderr);
  if(p.left && !o->quiet)
    fprintf(stderr, "note: the page holds the first %u packets, %u rows of later ones are left out: choose with --from/--to or --flow\n", MAXPKT, p.left);
  return rc ? rc : o->strict && (s.crossed || session_noted(&s));
}
