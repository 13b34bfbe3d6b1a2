// html of two machines: A at the left, the wire in the middle, B at the right.
//
// The picture is drawn here, as SVG with a group per row; page/two.js adds what
// moves: hover, keys, the pinned row's fields, a filter.  As in html.c nothing is
// asked of a network, and what a guest or the wire said is only ever text.
// Journeys lie under the rows: rows are drawn into memory, then put behind them.
#include <stdlib.h>
#include <string.h>
#include "two.h"
#include "html.h"

#define WIDTH   1500u
#define HEAD    56u  // the captions
#define MAXROWS 5000 // drawn, if --rows says nothing else
#define WIRE_A  690
#define WIRE_B  970

// A bar beside a lane since which height.
struct bar {
  char text[24];
  u32 from;
};
struct drawing {
  struct two *t;
  const struct opts *o;
  FILE *back, *rows;
  struct point *point;
  u32 npoint, cap, y, nrow, nleft, nfault;
  struct bar state[2];
  i64 zero, last;
  bool begun;
};

static const char *const palette[] = {"var(--p0)", "var(--p1)", "var(--p2)", "var(--p3)", "var(--p4)", "var(--p5)"}; // page/colors.css

// Of each side, from the wire outwards.
enum column {
  C_DRIVER,
  C_STACK,
  C_SOCKET,
  C_PROCESS,
  NCOLUMN
};

static u32
column_x(int side, enum column c)
{
  return side ? WIRE_B + 30 + 140 * (u32)c : WIRE_A - 30 - 140 * (u32)c;
}

static enum column
column_of(enum lane lane)
{
  return lane == L_PROCESS ? C_PROCESS : lane == L_SOCKET ? C_SOCKET
                                       : lane == L_STACK  ? C_STACK
                                                          : C_DRIVER;
}

static const char *
color_of(int side, u32 pkt)
{
  return pkt ? palette[(pkt + 3 * (u32)side) % 6] : "var(--soft)";
}

static void
put_text(FILE *f, u32 x, u32 y, const char *anchor, const char *style, const char *fill, const char *text)
{
  fprintf(f, "<text x=\"%u\" y=\"%u\" text-anchor=\"%s\" class=\"%s\" fill=\"%s\">", x, y + 4, anchor, style, fill);
  put_xml(f, text);
  fputs("</text>", f);
}

// Cut text to n characters, the last of them a sign that it was cut.
static void
cut(char *s, size_t n)
{
  char *p = s;
  for(size_t k = 0; *p && k + 1 < n; k++)
    p += charlen(p);
  if(*p && p[charlen(p)])
    strcpy(p, "…");
}

// End the bar of a connection's state at y and begin the next.
static void
turn_state(struct drawing *d, int side, const char *to)
{
  struct bar *b = &d->state[side];
  u32 x = column_x(side, C_STACK);
  if(*b->text && d->y > b->from) {
    fprintf(d->back, "<rect x=\"%u\" y=\"%u\" width=\"12\" height=\"%u\" fill=\"%s\"/>\n", x - 6, b->from, d->y - b->from, state_fill(b->text));
    if(d->y - b->from > 8 * strlen(b->text))
      fprintf(d->back, "<text transform=\"translate(%u %u) rotate(-90)\" font-size=\"11\" text-anchor=\"end\" fill=\"var(--soft)\">%s</text>\n", side ? x - 10 : x + 18,
              b->from + 6, b->text);
  }
  snprintf(b->text, sizeof b->text, "%s", strcmp(to, "CLOSED") ? to : "");
  b->from = d->y;
}

// Learn what later rows need, of shown and hidden ones.
static void
track(struct drawing *d, const struct row *r)
{
  struct side *s = &d->t->side[r->side];
  const struct item *it = &s->s.item[r->item];
  struct flow f;
  char to[24];
  label_learn(&s->labels, &s->s, it);
  if(it->frame || !rec_is(&s->s, it->idx, "tcp_state") || !s->sel.have_flow || !rec_flow(s->s.b, &s->s.b->rec[it->idx], &f))
    return;
  if(!flow_same(&f, &s->sel.flow) && (f.raddr != 0 || f.lport != s->sel.flow.lport))
    return;
  state_str(to, sizeof to, rec_named(s->s.b, &s->s.b->rec[it->idx], "to"));
  turn_state(d, r->side, to);
}

static void
add_point(struct drawing *d, u32 side, u32 pkt, u32 x)
{
  if(pkt == 0)
    return;
  d->point = xgrow(d->point, d->npoint, &d->cap, sizeof *d->point);
  d->point[d->npoint++] = (struct point){pkt, side, x, d->y};
}

// The packet of a frame on the other machine, 0 if it has none there.
static u32
other_pkt(const struct drawing *d, const struct row *r)
{
  const struct side *s = &d->t->side[r->side], *e = &d->t->side[!r->side];
  const struct item *it = &s->s.item[r->item];
  u32 other = it->frame && !s->s.cap.f[it->idx].in ? s->other[it->idx] : NOREC, rec = other == NOREC ? NOREC : e->s.cap.f[other].rec;
  const struct nt_slot *slot = rec == NOREC ? 0 : rec_slot(e->s.b, &e->s.b->rec[rec]);
  return slot ? slot->pkt : 0;
}

// An arrow, down from the sender's card to the other one; a lost frame's ends at a ✗.
static void
draw_frame(struct drawing *d, const struct row *r, const char *color)
{
  struct side *s = &d->t->side[r->side];
  u32 i = s->s.item[r->item].idx;
  const struct frame *f = &s->s.cap.f[i];
  char label[160], more[400];
  const char *fault = two_fault(d->t, r);
  bool right = (r->side == 0) != f->in, lost = !f->in && s->other[i] == NOREC;
  u32 a = right ? WIRE_A : WIRE_B, b = right ? WIRE_B : WIRE_A, end = lost ? (WIRE_A + WIRE_B) / 2 + (right ? 60 : -60u) : b;
  label_frame(label, sizeof label, f, &s->labels);
  label_payload(more, sizeof more, f);
  d->nfault += fault != 0;
  fprintf(d->rows, "<path d=\"M%u %uL%u %u\" stroke=\"%s\" stroke-width=\"2.2\"%s%s/>", a, d->y - 6, end, d->y + (lost ? 2 : 8), color,
          lost ? "" : " marker-end=\"url(#head)\"", fault ? " stroke-dasharray=\"6 3\"" : "");
  put_text(d->rows, (WIRE_A + WIRE_B) / 2, d->y - 14, "middle", "b", color, label);
  if(lost)
    put_text(d->rows, end, d->y + 2, "middle", "b x", "var(--bad)", "✗");
  cut(more, 44);
  if(fault || *more)
    put_text(d->rows, (WIRE_A + WIRE_B) / 2, d->y + 16, "middle", fault ? "b" : "s", fault ? "var(--bad)" : "var(--soft)", fault ? fault : more);
}

// Labels stand outwards of their dots, so that the lanes beside the wire stay free of them.
static void
draw_rec(struct drawing *d, const struct row *r, const char *color)
{
  struct side *s = &d->t->side[r->side];
  u32 i = s->s.item[r->item].idx;
  const struct rec *rec = &s->s.b->rec[i];
  char label[1200];
  enum column c = column_of(rec_lane(&s->s, rec));
  u32 x = column_x(r->side, c);
  bool drop = rec_is(&s->s, i, "net_drop") || rec->nlost;
  bool strong = drop || rec_is(&s->s, i, "tcp_state") || rec_is(&s->s, i, "sys_enter") || rec_is(&s->s, i, "sys_exit");
  label_rec(label, sizeof label, &s->s, rec, &s->labels);
  u32 room = c == C_PROCESS ? (r->side ? WIDTH - x - 14 : x - 210) : 140 * (NCOLUMN - 1 - (u32)c) + 60;
  cut(label, room / 7);
  d->nfault += drop;
  if(drop)
    put_text(d->rows, x, d->y, "middle", "b x", "var(--bad)", "✗");
  else
    fprintf(d->rows, "<circle cx=\"%u\" cy=\"%u\" r=\"%s\" fill=\"%s\"/>", x, d->y, strong ? "5.5" : "4.5", color);
  put_text(d->rows, r->side ? x + 11 : x - 11, d->y, r->side ? "start" : "end", strong ? "b p" : "p", drop ? "var(--bad)" : color, label);
}

// All that is known of a row, for the line at the foot of the page.
static void
put_details(struct drawing *d, const struct row *r)
{
  struct side *s = &d->t->side[r->side];
  const struct item *it = &s->s.item[r->item];
  char text[1200];
  u8 buf[192];
  u32 len;
  fprintf(d->rows, " data-i=\"%c at %s us on its own clock: ", 'A' + r->side, us_str(it->w));
  if(it->frame) {
    const struct frame *f = &s->s.cap.f[it->idx];
    label_frame(text, sizeof text, f, &s->labels);
    put_xml(d->rows, text);
    fprintf(d->rows, ", frame %u of its capture, %u bytes\"", it->idx + 1, f->len);
    return;
  }
  const struct rec *rec = &s->s.b->rec[it->idx];
  const struct event *e = rec_event(s->s.b, rec);
  const struct nt_slot *slot = rec_slot(s->s.b, rec);
  fprintf(d->rows, "%s cpu %u", e ? e->name : "lost", rec->cpu);
  if(slot)
    fprintf(d->rows, " pid %u sock %u record %u", slot->pid, slot->sock, rec->seq);
  const u8 *pay = e && slot && !rec->nlost ? rec_payload(s->s.b, rec, buf, &len) : 0;
  for(u32 i = 0; pay && i < e->nfield; i++) {
    field_str(text, sizeof text, &e->f[i], pay, len);
    fprintf(d->rows, " %s=", e->f[i].name);
    put_xml(d->rows, text);
  }
  putc('"', d->rows);
}

static void
draw_row(struct drawing *d, const struct row *r)
{
  const struct side *s = &d->t->side[r->side];
  const struct item *it = &s->s.item[r->item];
  u32 pkt = item_pkt(&s->s, it), other = other_pkt(d, r);
  const char *color = color_of(r->side, pkt);
  char id[40] = "", gap[64];
  bool right = (r->side == 0) != (it->frame && s->s.cap.f[it->idx].in);
  if(d->begun && r->w - d->last > 100000) {
    d->y += 18;
    snprintf(gap, sizeof gap, "~ %s ms ~", us_str((r->w - d->last) / 1000));
    put_text(d->rows, 100, d->y - 2, "end", "s", "var(--faint)", r->w - d->last > 1000000 ? gap : "~");
  }
  d->y += it->frame ? 38 : 24;
  if(pkt)
    snprintf(id, sizeof id, "%c#%u", 'A' + r->side, pkt);
  fprintf(d->rows, "<g class=\"r\" tabindex=\"-1\" data-y=\"%u\" data-p=\"%s", d->y, id);
  if(other)
    snprintf(id + strlen(id), sizeof id - strlen(id), " %c#%u", 'B' - r->side, other);
  fprintf(d->rows, "%s\"", other ? strchr(id, ' ') : "");
  put_details(d, r);
  fprintf(d->rows, "><rect class=\"h\" x=\"0\" y=\"%u\" width=\"%u\" height=\"%u\"/>", d->y - (it->frame ? 26u : 12u), WIDTH, it->frame ? 50u : 24u);
  put_text(d->rows, 100, d->y, "end", "m", "var(--ink)", us_str(r->w - d->zero));
  put_text(d->rows, 112, d->y, "start", "b", color, id);
  if(it->frame) {
    add_point(d, r->side, pkt, right ? WIRE_A : WIRE_B);
    add_point(d, !r->side, other, right ? WIRE_B : WIRE_A);
    draw_frame(d, r, color);
    d->y += 16;
  } else {
    add_point(d, r->side, pkt, column_x(r->side, column_of(rec_lane(&s->s, &s->s.b->rec[it->idx]))));
    draw_rec(d, r, color);
  }
  fputs("</g>\n", d->rows);
  d->begun = true;
  d->last = r->w;
}

static void
begin_journey(FILE *f, const struct point *p)
{
  fprintf(f, "class=\"j\" data-p=\"%c#%u\" stroke=\"%s\"", 'A' + p->side, p->pkt, color_of((int)p->side, p->pkt));
}

static void
put_lanes(struct drawing *d, FILE *f)
{
  static const char *const name[NCOLUMN] = {"driver", "stack", "socket", "process"};
  u32 h = d->y + 30;
  fprintf(f, "<div id=\"box\"><svg id=\"pic\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %u %u\" width=\"%u\" height=\"%u\" role=\"group\">\n"
             "<defs><marker id=\"head\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"6\" markerHeight=\"6\" orient=\"auto\"><path d=\"M0 0L10 5L0 10z\" fill=\"var(--soft)\"/></marker></defs>\n",
          WIDTH, h, WIDTH, h);
  for(int k = 0; k < 2; k++) {
    char head[80];
    u32 from = k ? WIRE_B : 176, to = k ? WIDTH - 4 : WIRE_A;
    snprintf(head, sizeof head, "%c  %s  (kernel ±%s µs)", 'A' + k, ip_str(d->t->side[k].s.b->h.ip), band_str(d->t->side[k].s.wire));
    fprintf(f, "<rect x=\"%u\" y=\"2\" width=\"%u\" height=\"%u\" rx=\"10\" fill=\"var(--box)\" stroke=\"var(--edge)\"/>\n", from, to - from, h - 4);
    put_text(f, (from + to) / 2, 14, "middle", "b", "var(--ink)", head);
    for(int c = 0; c < NCOLUMN; c++) {
      u32 x = column_x(k, (enum column)c);
      fprintf(f, "<path d=\"M%u %uV%u\" stroke=\"var(--lane)\"/><rect x=\"%u\" y=\"26\" width=\"72\" height=\"22\" rx=\"11\" fill=\"var(--cap)\"/>", x, HEAD - 8, h - 8, x - 36);
      put_text(f, x, 37, "middle", "b", "#fff", name[c]);
    }
  }
  put_text(f, (WIRE_A + WIRE_B) / 2, 37, "middle", "b", "var(--ink)", "the wire");
  put_text(f, 100, 37, "end", "s", "var(--soft)", "time µs");
}

static void
put_title(const struct drawing *d, FILE *f)
{
  const struct two *t = d->t;
  const struct flow *w = &t->side[0].sel.flow;
  fputs("<header><h1>", f);
  if(t->side[0].sel.have_flow)
    fprintf(f, "TCP, A %s:%u and B %s:%u", ip_str(w->laddr), w->lport, ip_str(w->raddr), w->rport);
  else
    fputs("Two machines on one wire", f);
  fprintf(f, "</h1>\n<p>Causes above effects, time downwards, on A's clock; 0 is the first frame shown. The clocks of A and B: %s. A kernel and its own wire: A ±%s µs, B ±%s µs.",
          two_band(t), band_str(t->side[0].s.wire), band_str(t->side[1].s.wire));
  fprintf(f, " <b id=\"count\">%u rows, %u faults.</b>", d->nrow, d->nfault);
  if(d->nleft)
    fprintf(f, " <b>%u later rows are not drawn: --flow chooses, --rows draws more.</b>", d->nleft);
  fputs("</p>\n<p class=\"keys\">Keys: j k row, n p next and previous row of the packet, d next fault, Enter pin, f filter, g G ends, Esc back. "
        "<label>filter <input id=\"find\" size=\"16\" placeholder=\"text, A#7\"></label></p></header>\n",
        f);
}

static void
put_page(struct drawing *d, const char *back, const char *rows, FILE *f)
{
  fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>nettrace: two machines</title>\n<style>\n",
        f);
  fputs(colors_css, f);
  fputs(two_css, f);
  fputs("</style>\n</head>\n<body>\n", f);
  put_title(d, f);
  put_lanes(d, f);
  fputs(back, f);
  put_journeys(d->point, d->npoint, begin_journey, f);
  fputs(rows, f);
  fputs("</svg></div>\n<footer id=\"foot\" aria-live=\"polite\"></footer>\n<script>\n", f);
  fputs(checks_js, f);
  fputs(two_js, f);
  fputs("</script>\n</body>\n</html>\n", f);
}

static void
draw_rows(struct drawing *d)
{
  const struct row *first = 0;
  u32 max = d->o->rows ? (u32)d->o->rows : MAXROWS;
  struct two *t = d->t;
  for(u32 i = 0; i < t->nrow; i++)
    if(two_is_shown(t, &t->row[i]) && (first == 0 || (t->side[t->row[i].side].s.item[t->row[i].item].frame && !t->side[first->side].s.item[first->item].frame)))
      first = &t->row[i];
  d->zero = first ? first->w : 0;
  for(u32 i = 0; i < t->nrow; i++) {
    if(d->nrow < max)
      track(d, &t->row[i]);
    if(!two_is_shown(t, &t->row[i]))
      continue;
    if(d->nrow == max) {
      d->nleft++;
      continue;
    }
    d->nrow++;
    draw_row(d, &t->row[i]);
  }
  d->y += 12;
  for(int k = 0; k < 2; k++)
    turn_state(d, k, "CLOSED");
}

// Write both machines, joined before, as one page.  0 or -exit code.
int
two_html(struct two *t, const struct opts *o, FILE *f)
{
  char *back = 0, *rows = 0;
  size_t nback, nrows;
  struct drawing d = {.t = t, .o = o, .y = HEAD};
  int rc = two_select(t, o, !o->all && !o->only && !o->layer);
  if(rc < 0)
    return rc;
  d.back = open_memstream(&back, &nback);
  d.rows = open_memstream(&rows, &nrows);
  draw_rows(&d);
  fclose(d.back);
  fclose(d.rows);
  put_page(&d, back, rows, f);
  free(back);
  free(rows);
  free(d.point);
  return 0;
}
