// html --svg: the ladder as a bare picture, for documents.
//
// The page draws itself from its data (page/page.js); a document cannot.  So this
// draws the same rows with the same measures and colours, and nothing that moves.
// Journeys lie under the rows: rows are drawn into memory, then put behind them.
#include <stdlib.h>
#include <string.h>
#include "tool.h"
#include "html.h"

#define WIDTH 1240
#define HEAD  40 // the captions

// A bar beside a lane: what it says since which height.
struct bar {
  char text[24];
  u32 from;
};
struct drawing {
  const struct session *s;
  const struct selection *sel;
  struct labels *labels;
  FILE *back, *rows;
  struct point *point;
  u32 npoint, cap, y, npkt;
  struct idset pkts;
  struct bar state, proc;
  const struct cable *cable;
  i64 zero, last;
  bool begun;
};

static const char *const palette[] = {"#0b7285", "#c2255c", "#5f3dc4", "#237032", "#b8440a", "#1864ab"};

static u32
lane_x(enum lane lane)
{
  return 250 + 150 * (u32)lane;
}

// Text between tags or in an attribute.
void
put_xml(FILE *f, const char *s)
{
  for(; *s; s++) {
    u8 c = (u8)*s;
    int n = c < 0x80 ? 0 : utf8_whole(s);
    if(c == '<' || c == '>' || c == '&' || c == '"' || c == '\'')
      fprintf(f, "&#%u;", c);
    else if(c < 0x80)
      putc(c < 0x20 || c == 0x7f ? '?' : c, f);
    else if(n) {
      fwrite(s, 1, (size_t)n, f);
      s += n - 1;
    } else
      putc('?', f);
  }
}

// Text at x, its middle at y.
static void
put_label(FILE *f, u32 x, u32 y, const char *anchor, const char *color, bool bold, const char *text)
{
  fprintf(f, "<text x=\"%u\" y=\"%u\" text-anchor=\"%s\" fill=\"%s\"%s>", x, y + 5, anchor, color, bold ? " font-weight=\"700\"" : "");
  put_xml(f, text);
  fputs("</text>\n", f);
}

// End the bar at y and begin the next; a text in it stands upright beside it.
static void
turn_bar(struct drawing *d, struct bar *b, enum lane lane, const char *color, const char *text)
{
  if(*b->text && d->y > b->from) {
    fprintf(d->back, "<rect x=\"%u\" y=\"%u\" width=\"12\" height=\"%u\" fill=\"%s\"/>\n", lane_x(lane) - 6, b->from, d->y - b->from, color);
    if(d->y - b->from > 9 * strlen(b->text))
      fprintf(d->back, "<text transform=\"translate(%u %u) rotate(-90)\" font-size=\"11\" text-anchor=\"end\" fill=\"#495057\">%s</text>\n",
              lane_x(lane) - 10, b->from + 6, b->text);
  }
  snprintf(b->text, sizeof b->text, "%s", text);
  b->from = d->y;
}

// The colour of a TCP state.
const char *
state_fill(const char *state)
{
  static const char *const tab[][2] = {{"LISTEN", "#dee2e6"}, {"SYN", "#ffe066"}, {"ESTABLISHED", "#8ce99a"}, {"FIN-WAIT", "#ffc078"}, {"CLOSING", "#ffc078"}, {"CLOSE-WAIT", "#fcc2d7"}, {"LAST-ACK", "#fcc2d7"}, {"TIME-WAIT", "#d0bfff"}};
  for(u32 i = 0; i < sizeof tab / sizeof tab[0]; i++)
    if(strncmp(state, tab[i][0], strlen(tab[i][0])) == 0)
      return tab[i][1];
  return "#e9ecef";
}

static void
turn_state(struct drawing *d, const char *name)
{
  char to[24];
  state_str(to, sizeof to, name);
  turn_bar(d, &d->state, L_STACK, state_fill(d->state.text), strcmp(to, "CLOSED") ? to : "");
}

static void
turn_proc(struct drawing *d, const char *to)
{
  if(strcmp(to, d->proc.text))
    turn_bar(d, &d->proc, L_PROCESS, !strcmp(d->proc.text, "asleep") ? "#dee2e6" : "#74c0fc", to);
}

static bool
serves(const struct selection *sel, u32 pid)
{
  for(u32 i = 0; i < sel->npid; i++)
    if(sel->pid[i] == pid)
      return true;
  return false;
}

// State of connection and process, over shown and hidden rows alike.
static void
follow(struct drawing *d, const struct item *it)
{
  label_learn(d->labels, d->s, it);
  if(it->frame)
    return;
  const struct rec *r = &d->s->b->rec[it->idx];
  struct flow f;
  if(rec_is(d->s, it->idx, "tcp_state") && rec_flow(d->s->b, r, &f) && d->sel->have_flow &&
     (flow_same(&f, &d->sel->flow) || (f.raddr == 0 && f.lport == d->sel->flow.lport)))
    turn_state(d, rec_named(d->s->b, r, "to"));
  if(rec_is(d->s, it->idx, "sleep") && serves(d->sel, rec_slot(d->s->b, r)->pid))
    turn_proc(d, "asleep");
  if(rec_is(d->s, it->idx, "wakeup") && serves(d->sel, (u32)rec_get(d->s->b, r, "who")))
    turn_proc(d, "awake");
}

static void
draw_frame(struct drawing *d, const struct frame *f, u32 idx, const char *color)
{
  char label[160], more[400];
  u32 a = lane_x(L_PEER), b = lane_x(L_WIRE), y = d->y, y0 = f->in ? y - 9 : y + 9;
  enum unmatched u = frame_fate(d->s, idx);
  u8 cable = d->cable->out ? d->cable->out[idx] : 0;
  label_frame(label, sizeof label, f, d->labels);
  label_payload(more, sizeof more, f);
  fprintf(d->rows, "<path d=\"M%u %uL%u %u\" stroke=\"%s\" stroke-width=\"2.2\" marker-end=\"url(#head)\"/><circle cx=\"%u\" cy=\"%u\" r=\"4.5\" fill=\"%s\"/>\n",
          f->in ? a : b, f->in ? y0 : y, f->in ? b - 5 : a + 1, f->in ? y : y0, color, b, y, color);
  put_label(d->rows, (a + b) / 2, (y + y0) / 2 - 12, "middle", color, true, label);
  if(cable)
    put_label(d->rows, b + 14, y, "start", "#c92a2a", true, cable == CABLE_LOST ? "✗ lost on the cable" : "✗ damaged on the cable");
  else if(u == UM_NODRIVER)
    put_label(d->rows, b + 14, y, "start", "#c92a2a", true, "✗ never reached the driver");
  else if(u != UM_NONE || *more)
    put_label(d->rows, b + 14, y, "start", "#495057", false, u != UM_NONE ? fate_text(u) : more);
}

static void
draw_rec(struct drawing *d, u32 idx, const char *color)
{
  const struct rec *r = &d->s->b->rec[idx];
  char label[1200];
  enum lane lane = rec_lane(d->s, r);
  bool drop = rec_is(d->s, idx, "net_drop") || r->nlost, left = lane == L_PROCESS;
  bool strong = drop || rec_is(d->s, idx, "tcp_state") || rec_is(d->s, idx, "sys_enter") || rec_is(d->s, idx, "sys_exit");
  label_rec(label, sizeof label, d->s, r, d->labels);
  size_t room = left ? 80 : (WIDTH - lane_x(lane) - 20) / 7;
  while(strlen(label) > room) // ASCII but for an arrow: cut between characters
    do
      label[strlen(label) - 1] = 0;
    while(*label && ((u8)label[strlen(label) - 1] & 0xc0) == 0x80);
  if(drop)
    put_label(d->rows, lane_x(lane), d->y, "middle", "#fa5252", true, "✗");
  else
    fprintf(d->rows, "<circle cx=\"%u\" cy=\"%u\" r=\"%s\" fill=\"%s\"/>\n", lane_x(lane), d->y, strong ? "5.5" : "4.5", color);
  put_label(d->rows, left ? lane_x(lane) - 14 : lane_x(lane) + 13, d->y, left ? "end" : "start", drop ? "#c92a2a" : color, strong, label);
}

static void
draw_row(struct drawing *d, const struct item *it)
{
  u32 pkt = item_pkt(d->s, it);
  char id[16];
  i64 gap = d->begun ? it->w - d->last : 0;
  idset_add(&d->pkts, pkt);
  const char *color = pkt ? palette[pkt % 6] : "#495057";
  if(gap > 100000) {
    char text[64];
    d->y += 14;
    snprintf(text, sizeof text, "~ %s ms ~", us_str(gap / 1000));
    put_label(d->rows, 118, d->y + 6, "end", "#5f676e", false, gap > 1000000 ? text : "~");
  }
  d->y += it->frame ? 40 : 26;
  put_label(d->rows, 118, d->y, "end", "#212529", false, us_str(it->w - d->zero));
  snprintf(id, sizeof id, "#%u", pkt);
  if(pkt)
    put_label(d->rows, 200, d->y, "end", color, true, id);
  if(pkt) {
    d->point = xgrow(d->point, d->npoint, &d->cap, sizeof *d->point);
    d->point[d->npoint++] = (struct point){pkt, 0, lane_x(it->frame ? L_WIRE : rec_lane(d->s, &d->s->b->rec[it->idx])), d->y};
  }
  if(it->frame)
    draw_frame(d, &d->s->cap.f[it->idx], it->idx, color);
  else
    draw_rec(d, it->idx, color);
  d->y += it->frame ? 10 : 0;
  d->begun = true;
  d->last = it->w;
}

static int
by_packet(const void *a, const void *b)
{
  const struct point *p = a, *q = b;
  if(p->side != q->side)
    return p->side < q->side ? -1 : 1;
  return p->pkt != q->pkt ? p->pkt < q->pkt ? -1 : 1 : p->y < q->y ? -1
                                                                   : p->y > q->y;
}

// A line through the points of each packet; begin writes its attributes.
void
put_journeys(struct point *v, u32 n, void (*begin)(FILE *f, const struct point *p), FILE *f)
{
  if(n)
    qsort(v, n, sizeof *v, by_packet);
  for(u32 i = 0, k; i < n; i = k) {
    fputs("<polyline ", f);
    begin(f, &v[i]);
    fputs(" points=\"", f);
    for(k = i; k < n && v[k].pkt == v[i].pkt && v[k].side == v[i].side; k++)
      fprintf(f, "%u,%u ", v[k].x, v[k].y);
    fputs("\"/>\n", f);
  }
}

static void
begin_journey(FILE *f, const struct point *p)
{
  fprintf(f, "fill=\"none\" stroke=\"%s\" stroke-width=\"2.4\" opacity=\".38\"", palette[p->pkt % 6]);
}

static void
put_picture(struct drawing *d, const char *back, const char *rows, FILE *f)
{
  static const char *const name[NLANE] = {"peer", "wire", "driver e1000", "Ethernet, IP", "TCP", "socket", "process"};
  u32 h = d->y + 20;
  fprintf(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %u %u\" width=\"%u\" height=\"%u\" font-family=\"system-ui,DejaVu Sans,sans-serif\" font-size=\"13\">\n"
             "<defs><marker id=\"head\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"5\" markerHeight=\"5\" orient=\"auto\"><path d=\"M0 0L10 5L0 10z\" fill=\"#343a40\"/></marker></defs>\n"
             "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/><rect x=\"478\" y=\"2\" width=\"758\" height=\"%u\" rx=\"10\" fill=\"#f8f9fa\" stroke=\"#dee2e6\"/>\n",
          WIDTH, h, WIDTH, h, h - 4);
  for(int i = 0; i < NLANE; i++)
    fprintf(f, "<path d=\"M%u %uV%u\" stroke=\"#ced4da\"/><rect x=\"%u\" y=\"8\" width=\"116\" height=\"24\" rx=\"12\" fill=\"#343a40\"/>"
               "<text x=\"%u\" y=\"25\" text-anchor=\"middle\" fill=\"#fff\" font-weight=\"600\">%s</text>\n",
            lane_x((enum lane)i), HEAD, h, lane_x((enum lane)i) - 58, lane_x((enum lane)i), name[i]);
  put_label(f, 118, 20, "end", "#495057", false, "time µs");
  fputs(back, f);
  put_journeys(d->point, d->npoint, begin_journey, f);
  fputs("<g stroke=\"#fff\" stroke-width=\"4\" stroke-linejoin=\"round\" paint-order=\"stroke\">\n", f); // lines end before a text
  fputs(rows, f);
  fputs("</g>\n</svg>\n", f);
}

// Write the selected rows as one SVG file.
void
svg_write(const struct session *s, const struct selection *sel, const struct cable *cable, FILE *f)
{
  char *back = 0, *rows = 0;
  size_t nback, nrows;
  struct drawing d = {.s = s, .sel = sel, .cable = cable, .y = HEAD + 10, .labels = xmalloc(sizeof *d.labels)};
  u32 first = NOREC;
  d.back = open_memstream(&back, &nback);
  d.rows = open_memstream(&rows, &nrows);
  for(u32 i = 0; i < s->nitem; i++)
    if(sel->show[i] && (first == NOREC || (s->item[i].frame && !s->item[first].frame)))
      first = i;
  d.zero = first == NOREC ? 0 : s->item[first].w;
  for(u32 i = 0; i < s->nitem; i++) {
    follow(&d, &s->item[i]);
    if(sel->show[i])
      draw_row(&d, &s->item[i]);
  }
  turn_state(&d, "CLOSED");
  turn_proc(&d, "");
  fclose(d.back);
  fclose(d.rows);
  put_picture(&d, back, rows, f);
  free(back);
  free(rows);
  free(d.point);
  free(d.pkts.v);
  free(d.labels);
}
