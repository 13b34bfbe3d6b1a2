// ladder of two machines: A at the left, the wire in the middle, B at the right.
//
// A frame is one row, an arrow at the time it was sent; a copy that arrives later
// is a row of its own.  Packets are named A#7 and B#9; a frame's row names both.
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "two.h"

#define GAP_NS 10000000 // a longer silence gets a row of its own
#define GUTTER 45
#define WIRE   24 // columns of the arrow
#define RED    31

// Of each side, from the outside in.
enum column {
  C_PROCESS,
  C_SOCKET,
  C_STACK,
  C_DRIVER,
  NCOLUMN
};
struct page {
  struct two *t;
  const struct opts *o;
  FILE *f;
  bool color, begun;
  int width, wire, col[2][NCOLUMN];
  struct cell cell[MAXWIDTH];
  char state[2][24]; // of the connection
  i64 zero, last;
  u32 row;
};

// Text from a column on; cut at the right edge.  Returns the next column.
static int
put(struct page *p, int at, const char *text, u8 color)
{
  for(const char *s = text; *s; s += charlen(s)) {
    char c[5] = "";
    memcpy(c, s, (size_t)charlen(s));
    if(at >= p->width)
      return p->width;
    snprintf(p->cell[at].s, sizeof p->cell[at].s, "%s", p->o->ascii ? ascii_char(c) : c);
    p->cell[at++].color = color;
  }
  return at;
}

static void
begin_row(struct page *p, bool lanes)
{
  for(int i = 0; i < p->width; i++)
    p->cell[i] = (struct cell){" ", 0};
  for(int k = 0; lanes && k < 2; k++)
    for(int c = 0; c < NCOLUMN; c++)
      put(p, p->col[k][c], c == C_STACK && *p->state[k] && strcmp(p->state[k], "CLOSED") ? "┃" : "│", 0);
}

static u8
color_of(int side, u32 pkt)
{
  static const u8 palette[] = {36, 35, 34, 32, 33, 96};
  return pkt ? palette[(pkt + 3 * (u32)side) % sizeof palette] : 0;
}

// Row number, time, difference, packets: of a frame that arrived, on both sides.
static void
put_gutter(struct page *p, const struct row *r, u8 color)
{
  const struct side *d = &p->t->side[r->side], *e = &p->t->side[!r->side];
  const struct item *it = &d->s.item[r->item];
  u32 pkt = item_pkt(&d->s, it), other = it->frame ? d->other[it->idx] : NOREC, rec = other == NOREC ? NOREC : e->s.cap.f[other].rec;
  const struct nt_slot *slot = rec == NOREC ? 0 : rec_slot(e->s.b, &e->s.b->rec[rec]);
  const char *us = us_str(r->w - p->zero), *sign = *us == '-' ? "" : "+";
  char text[64], t[40], id[40] = "";
  if(pkt)
    snprintf(id, sizeof id, "%c#%u", 'A' + r->side, pkt);
  if(slot && slot->pkt && !d->s.cap.f[it->idx].in)
    snprintf(id + strlen(id), sizeof id - strlen(id), ">%c#%u", 'B' - r->side, slot->pkt);
  snprintf(t, sizeof t, "%s%s", sign, us);
  snprintf(text, sizeof text, "%5u %11s %9s", ++p->row, t, p->begun && r->w - p->last <= GAP_NS ? us_str(r->w - p->last) : "");
  put(p, 0, text, 0);
  put(p, 29, id, color);
  p->begun = true;
  p->last = r->w;
}

static void
gap_row(struct page *p, i64 w)
{
  char text[48];
  if(!p->begun || w - p->last <= GAP_NS)
    return;
  begin_row(p, true);
  snprintf(text, sizeof text, "~~ %s ms ~~", us_str((w - p->last + 500) / 1000));
  put(p, 6, text, 0);
  cells_print(p->cell, p->width, p->color, p->f);
}

// What is wrong with a frame, in words; 0 if nothing is.  it is the sender's row, or
// that of an arrival without a sender.
const char *
two_fault(const struct two *t, const struct row *r)
{
  static char text[80];
  const struct side *d = &t->side[r->side], *e = &t->side[!r->side];
  u32 i = d->s.item[r->item].idx, other = d->other[i];
  if(d->s.cap.f[i].in && other == NOREC)
    return "nobody sent this: damaged on the way?";
  if(two_copy(t, r->side, i))
    return two_damaged(t, r->side, i) ? "a damaged copy" : "a copy";
  if(!d->s.cap.f[i].in && other == NOREC)
    return two_arrival(t, r->side, i) == AR_LOST ? "lost on the way" : "nobody was there";
  if(two_damaged(t, r->side, i))
    return "damaged on the way";
  enum unmatched u = frame_fate(&d->s, i), v = frame_fate(&e->s, other);
  if(u == UM_NONE && v == UM_NONE)
    return 0;
  snprintf(text, sizeof text, "%c: %s", 'A' + (u ? r->side : !r->side), fate_text(u ? u : v));
  return text;
}

// The arrow: from the sender's side to the other one; it ends at ✗ when lost.
static void
put_frame(struct page *p, const struct row *r, u8 color)
{
  struct side *d = &p->t->side[r->side];
  const struct frame *f = &d->s.cap.f[d->s.item[r->item].idx];
  bool right = (r->side == 0) != f->in, lost = !f->in && d->other[d->s.item[r->item].idx] == NOREC;
  char label[128], more[400];
  const char *fault = two_fault(p->t, r);
  label_frame(label, sizeof label, f, &d->labels);
  label_payload(more, sizeof more, f);
  int from = p->wire, to = p->wire + WIRE - 1;
  for(int i = from; i <= to; i++)
    put(p, i, "─", color);
  put(p, from, right ? "├" : lost ? "✗"
                                  : "◀",
      lost && !right ? RED : color);
  put(p, to, !right ? "┤" : lost ? "✗"
                                 : "▶",
      lost && right ? RED : color);
  if(strlen(label) > WIRE - 5) // frames have labels of ASCII
    snprintf(label + WIRE - 6, 4, "…");
  put(p, from + 2, " ", color);
  put(p, put(p, from + 3, label, color), " ", color);
  if(fault)
    put(p, to + 3, fault, RED);
  else if(*more)
    put(p, to + 3, more, color);
}

static enum column
column_of(enum lane lane)
{
  return lane == L_PROCESS ? C_PROCESS : lane == L_SOCKET ? C_SOCKET
                                       : lane == L_STACK  ? C_STACK
                                                          : C_DRIVER;
}

static void
put_rec(struct page *p, const struct row *r, u8 color)
{
  struct side *d = &p->t->side[r->side];
  const struct rec *rec = &d->s.b->rec[d->s.item[r->item].idx];
  const struct event *e = rec_event(d->s.b, rec);
  bool drop = e && !strcmp(e->name, "net_drop"), lost = rec->nlost != 0;
  char label[1200];
  label_rec(label, sizeof label, &d->s, rec, &d->labels);
  int dot = p->col[r->side][column_of(rec_lane(&d->s, rec))], at = dot + 2, n = 0;
  for(const char *s = label; *s; s += charlen(s))
    n++;
  if(at + n > p->width && dot - 2 - n > p->wire)
    at = dot - 1 - n; // no room at the edge: left of its dot
  put(p, at < dot ? at - 1 : dot, " ", 0);
  put(p, dot, drop || lost ? "✗ " : "● ", drop || lost ? RED : color);
  put(p, at, label, drop || lost ? RED : color);
}

// Learn what later rows need, of shown and hidden ones.
static void
track(struct page *p, const struct row *r)
{
  struct side *d = &p->t->side[r->side];
  const struct item *it = &d->s.item[r->item];
  struct flow f;
  label_learn(&d->labels, &d->s, it);
  if(it->frame || !rec_is(&d->s, it->idx, "tcp_state") || !rec_flow(d->s.b, &d->s.b->rec[it->idx], &f))
    return;
  if(!d->sel.have_flow || flow_same(&f, &d->sel.flow) || (f.raddr == 0 && f.lport == d->sel.flow.lport))
    state_str(p->state[r->side], sizeof p->state[0], rec_named(d->s.b, &d->s.b->rec[it->idx], "to"));
}

// Shown, and not the arrival of a frame whose row was drawn where it was sent?
bool
two_is_shown(const struct two *t, const struct row *r)
{
  const struct side *d = &t->side[r->side];
  const struct item *it = &d->s.item[r->item];
  if(!d->sel.show[r->item])
    return false;
  return !it->frame || !d->s.cap.f[it->idx].in || d->other[it->idx] == NOREC || two_copy(t, r->side, it->idx);
}

// What a shown frame became on the other machine is shown, too.
static void
share_packets(struct side *d)
{
  struct idset pkt = {0};
  for(u32 i = 0; i < d->s.nitem; i++)
    if(d->s.item[i].frame && d->sel.show[i])
      idset_add(&pkt, item_pkt(&d->s, &d->s.item[i]));
  for(u32 i = 0; i < d->s.nitem; i++) {
    const struct item *it = &d->s.item[i];
    const struct event *e = it->frame ? 0 : rec_event(d->s.b, &d->s.b->rec[it->idx]);
    if(e && e->stage != ST_META && e->stage != ST_MEM && e->stage != ST_CPU && idset_has(&pkt, item_pkt(&d->s, it)))
      d->sel.show[i] = 1;
  }
  free(pkt.v);
}

// A frame's row is shown if either machine's own selection has it.
static void
share_frames(struct two *t)
{
  u8 *seen[2];
  for(int k = 0; k < 2; k++)
    seen[k] = xmalloc(t->side[k].s.cap.n + 1);
  for(int k = 0; k < 2; k++)
    for(u32 i = 0; i < t->side[k].s.nitem; i++) {
      const struct item *it = &t->side[k].s.item[i];
      if(it->frame && t->side[k].sel.show[i] && t->side[k].other[it->idx] != NOREC)
        seen[!k][t->side[k].other[it->idx]] = 1;
    }
  for(int k = 0; k < 2; k++) {
    for(u32 i = 0; i < t->side[k].s.nitem; i++)
      if(t->side[k].s.item[i].frame && seen[k][t->side[k].s.item[i].idx])
        t->side[k].sel.show[i] = 1;
    free(seen[k]);
  }
}

// The same connection on both sides: with pick what A shows decides, unless --flow does.
int
two_select(struct two *t, const struct opts *o, bool pick)
{
  struct opts b = *o;
  if(o->packets || o->from || o->to || o->pid)
    return seterr(EX_BADUSE, "--packets, --pid, --from and --to count on one machine: not with two runs");
  int rc = timeline_select(&t->side[0].s, o, pick, &t->side[0].sel);
  const struct flow *f = &t->side[0].sel.flow;
  if(rc == 0 && t->side[0].sel.have_flow)
    b.flow = xasprintf("%s:%u-%s:%u", ip_str(f->raddr), f->rport, ip_str(f->laddr), f->lport);
  if(rc == 0)
    rc = timeline_select(&t->side[1].s, &b, false, &t->side[1].sel);
  if(rc == 0)
    share_frames(t);
  for(int k = 0; k < 2 && rc == 0 && !o->only && !o->layer; k++)
    share_packets(&t->side[k]);
  return rc;
}

static void
put_title(struct page *p)
{
  const struct two *t = p->t;
  const struct flow *f = &t->side[0].sel.flow;
  const char *pm = p->o->ascii ? "+-" : "±", *us = p->o->ascii ? "us" : "µs";
  if(t->side[0].sel.have_flow)
    fprintf(p->f, "TCP A %s:%u, B %s:%u\n", ip_str(f->laddr), f->lport, ip_str(f->raddr), f->rport);
  fprintf(p->f, "0 = first frame shown; wire and kernel A %s%s %s, B %s%s %s; A and B %s\n\n", pm, band_str(t->side[0].s.wire), us, pm,
          band_str(t->side[1].s.wire), us, two_band(t));
}

static void
put_heads(struct page *p)
{
  static const char *const name[NCOLUMN] = {"process", "socket", "stack", "driver"};
  begin_row(p, false);
  for(int k = 0; k < 2; k++) {
    char head[32];
    snprintf(head, sizeof head, "%c %s", 'A' + k, ip_str(p->t->side[k].s.b->h.ip));
    put(p, p->col[k][k ? C_DRIVER : C_PROCESS], head, 1);
  }
  cells_print(p->cell, p->width, p->color, p->f);
  begin_row(p, false);
  put(p, 0, "          time µs      Δ µs  packet", 0);
  for(int k = 0; k < 2; k++)
    for(int c = 0; c < NCOLUMN; c++) {
      char head[16];
      snprintf(head, sizeof head, "%.*s", p->col[0][1] - p->col[0][0] - 1, name[c]);
      put(p, p->col[k][c], head, 1);
    }
  put(p, p->wire + WIRE / 2 - 2, "wire", 1);
  cells_print(p->cell, p->width, p->color, p->f);
}

static void
lay_out(struct page *p)
{
  struct winsize ws = {0};
  int w = (int)p->o->width;
  if(w == 0 && p->o->out == 0 && ioctl(1, TIOCGWINSZ, &ws) == 0)
    w = ws.ws_col;
  p->width = w == 0 ? 140 : w < 110      ? 110
                          : w > MAXWIDTH ? MAXWIDTH
                                         : w;
  int each = (p->width - GUTTER - WIRE - 2) / (2 * NCOLUMN);
  for(int c = 0; c < NCOLUMN; c++) {
    p->col[0][c] = GUTTER + each * c;
    p->col[1][c] = GUTTER + WIRE + 1 + each * (2 * NCOLUMN - 1 - c);
  }
  p->wire = GUTTER + each * NCOLUMN - each / 2;
}

static void
put_row(struct page *p, const struct row *r)
{
  const struct side *d = &p->t->side[r->side];
  u8 color = color_of(r->side, item_pkt(&d->s, &d->s.item[r->item]));
  gap_row(p, r->w);
  begin_row(p, true);
  put_gutter(p, r, color);
  if(d->s.item[r->item].frame)
    put_frame(p, r, color);
  else
    put_rec(p, r, color);
  cells_print(p->cell, p->width, p->color, p->f);
}

// Draw both runs, joined before.  0 or -exit code.
int
two_ladder(struct two *t, const struct opts *o, FILE *f)
{
  struct page *p = xmalloc(sizeof *p);
  const struct row *first = 0;
  int rc = two_select(t, o, !o->all && !o->only && !o->layer);
  if(rc < 0)
    return rc;
  p->t = t;
  p->o = o;
  p->f = f;
  p->color = wants_color(o);
  lay_out(p);
  for(u32 i = 0; i < t->nrow; i++)
    if(two_is_shown(t, &t->row[i]) && (first == 0 || (t->side[t->row[i].side].s.item[t->row[i].item].frame && !t->side[first->side].s.item[first->item].frame)))
      first = &t->row[i];
  p->zero = first ? first->w : 0;
  put_title(p);
  put_heads(p);
  for(u32 i = 0; i < t->nrow; i++) {
    track(p, &t->row[i]);
    if(two_is_shown(t, &t->row[i]))
      put_row(p, &t->row[i]);
  }
  if(first == 0)
    fputs("nothing to show: the selection is empty\n", f);
  free(p);
  return 0;
}
