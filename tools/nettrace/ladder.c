// ladder: the picture for a terminal.  Time runs down, one lane per stage.
//
// A row is composed in cells (one character, one colour each), so that a long
// label can overwrite empty lanes to its right and nothing can run off.
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "tool.h"

#define GAP_NS 10000000 // a longer silence gets a row of its own

struct picture {
  const struct session *s;
  const struct opts *o;
  struct selection sel;
  struct labels labels;
  FILE *f;
  bool ascii, color;
  int width, gutter, lane[NLANE + 1]; // first column of each lane
  int wrow, wtime, wdelta, wpkt;      // the gutter's columns
  struct {
    char text[1300];
    int at;
    u8 color;
  } rest; // of a label that found no room: for the next line
  struct cell cell[MAXWIDTH];
  u32 row;
  i64 zero, last;                 // time of the first frame; of the row above
  bool begun, from_frame, narrow; // narrow: peer and wire share a lane
  char state[24];                 // of the connection that owns the bar
  struct idset asleep;
  bool sleeping;
  struct idset seen; // packets, in order of their colours
  struct cable cable;
  u32 far; // the next frame of the far end's capture
};

// Box characters, and what --ascii makes of them.
static const char *const fallback[][2] = {
  {"│", "|"}, {"┃", "I"}, {"┊", ":"}, {"●", "*"}, {"◀", "<"}, {"▶", ">"}, {"─", "-"}, {"├", "|"}, {"┤", "|"}, {"✗", "x"}, {"→", ">"}, {"…", "~"}, {"▸", ">"}, {"▾", "v"}, {"↓", "Down"}, {"↑", "Up"}, {"−", "-"}, {"·", "."}, {"×", "x"}, {"µ", "u"}, {"±", "~"}, {"Δ", "d"}, {"▌", "|"}};

// One character in ASCII.
const char *
ascii_char(const char *s)
{
  for(u32 i = 0; i < sizeof fallback / sizeof fallback[0]; i++)
    if(strcmp(s, fallback[i][0]) == 0)
      return fallback[i][1];
  return *s & 0x80 ? "?" : s;
}

static const char *
glyph(const struct picture *p, const char *s)
{
  return p->ascii ? ascii_char(s) : s;
}

// Bytes of the UTF-8 character at s.
int
charlen(const char *s)
{
  u8 c = (u8)*s;
  int n = c < 0x80 ? 1 : c < 0xe0 ? 2
                       : c < 0xf0 ? 3
                                  : 4;
  for(int i = 1; i < n; i++)
    if(!s[i])
      return i;
  return n;
}

// Write text at a column, in a colour, as far as it goes.  Returns the next column.
static int
put(struct picture *p, int at, const char *text, u8 color)
{
  for(const char *s = text; *s && at < p->width; s += charlen(s)) {
    char c[5] = "";
    memcpy(c, s, (size_t)charlen(s));
    snprintf(p->cell[at].s, 5, "%s", glyph(p, c));
    p->cell[at++].color = color;
  }
  return at;
}

static int
width_of(const char *text)
{
  int n = 0;
  for(const char *s = text; *s; s += charlen(s))
    n++;
  return n;
}

// Bytes of text that go into room characters: all, else up to a blank, else room.
static size_t
breaks_at(const char *text, int room)
{
  const char *s = text, *blank = 0;
  for(int n = 0; *s && n < room; n++, s += charlen(s))
    if(*s == ' ' && s > text)
      blank = s;
  return (size_t)(*s == 0 || *s == ' ' || !blank ? s : blank) - (size_t)text;
}

// Write a label; what finds no room is kept for the line below.
static int
put_label(struct picture *p, int at, const char *text, u8 color)
{
  char part[1300];
  size_t n = breaks_at(text, p->width - at);
  snprintf(part, sizeof part, "%.*s", (int)n, text);
  text += n;
  text += *text == ' ';
  if(*text && text != p->rest.text) {
    p->rest.at = p->width - at >= 24 ? at : p->lane[L_NETIF];
    p->rest.color = color;
  }
  memmove(p->rest.text, text, strlen(text) + 1);
  at = put(p, at, part, color);
  if((p->ascii || p->narrow) && at < p->width && strcmp(p->cell[at].s, glyph(p, "●")))
    put(p, at, " ", 0); // a bar close by could be read as a letter
  return at;
}

// Print a row, without the blanks at its end.
void
cells_print(const struct cell *cell, int width, bool color, FILE *f)
{
  u8 now = 0;
  while(width > 0 && cell[width - 1].s[0] == ' ')
    width--;
  for(int i = 0; i < width; i++) {
    if(color && cell[i].color != now) {
      now = cell[i].color;
      fprintf(f, "\x1b[%um", now);
    }
    fputs(cell[i].s, f);
  }
  fputs(now ? "\x1b[0m\n" : "\n", f);
}

static u8
state_color(const char *state)
{
  static const struct {
    const char *name;
    u8 color;
  } tab[] = {{"LISTEN", 37}, {"SYN", 33}, {"ESTABLISHED", 32}, {"FIN-WAIT", 91}, {"CLOSING", 91}, {"CLOSE-WAIT", 95}, {"LAST-ACK", 95}, {"TIME-WAIT", 94}};
  for(u32 i = 0; i < sizeof tab / sizeof tab[0]; i++)
    if(strncmp(state, tab[i].name, strlen(tab[i].name)) == 0)
      return tab[i].color;
  return 0;
}

// Empty lanes, with the state bar and the mark of a sleeping process.
static void
blank_row(struct picture *p)
{
  for(int i = 0; i < p->width; i++)
    p->cell[i] = (struct cell){" ", 0};
  for(int i = L_WIRE; i < NLANE; i++) {
    bool bar = i == L_STACK && *p->state && strcmp(p->state, "CLOSED");
    put(p, p->lane[i], bar ? "┃" : i == L_PROCESS && p->sleeping ? "┊"
                                                                 : "│",
        bar ? state_color(p->state) : 0);
  }
}

// Print the row, and below it the lines that the rest of its label needs.
static void
emit_row(struct picture *p)
{
  cells_print(p->cell, p->width, p->color, p->f);
  while(*p->rest.text) {
    blank_row(p);
    put_label(p, p->rest.at, p->rest.text, p->rest.color);
    cells_print(p->cell, p->width, p->color, p->f);
  }
}

// A colour per packet, in order of appearance; red is for what went wrong.
static u8
packet_color(struct picture *p, u32 pkt)
{
  static const u8 palette[] = {36, 35, 34, 32, 33, 96};
  if(pkt == 0)
    return 0;
  idset_add(&p->seen, pkt);
  return palette[pkt % sizeof palette];
}

// Row number, time, difference (a long one stands in the gap's own row), packet.
static void
put_gutter(struct picture *p, i64 w, u32 pkt, u8 color)
{
  char t[40], text[120], id[16] = "";
  const char *us = us_str(w - p->zero);
  snprintf(t, sizeof t, "%s%s", *us == '-' ? "" : "+", us);
  if(pkt)
    snprintf(id, sizeof id, "#%u", pkt);
  snprintf(text, sizeof text, "%*u%*s%*s", p->wrow, ++p->row, p->wtime, t, p->wdelta, p->begun && w - p->last <= GAP_NS ? us_str(w - p->last) : "");
  put(p, 0, text, 0);
  snprintf(text, sizeof text, "%*s", p->wpkt, id);
  put(p, p->wrow + p->wtime + p->wdelta, text, color);
  p->begun = true;
  p->last = w;
}

static void
gap_row(struct picture *p, i64 w)
{
  if(!p->begun || w - p->last <= GAP_NS)
    return;
  char text[48];
  blank_row(p);
  snprintf(text, sizeof text, "~~ %s ms ~~", us_str((w - p->last + 500) / 1000));
  put(p, 4, text, 0);
  emit_row(p);
}

// The arrow between peer and wire, and to its right what became of the frame and what it
// carries.  what: in words, 0 = nothing special; bad: in red.
static void
put_frame(struct picture *p, const struct frame *f, const char *what, bool bad, u8 color)
{
  char label[128], more[400], text[600];
  label_frame(label, sizeof label, f, &p->labels);
  int from = p->lane[L_PEER], to = p->lane[L_DRIVER] - 3; // columns of the arrow's two ends
  for(int i = from; i <= to; i++)
    put(p, i, "─", color);
  int at = put(p, from + 3, label, color);
  put(p, from + 2, " ", color);
  if(at <= to)
    put(p, at, " ", color);
  int head = at > to ? at : to;
  put(p, from, f->in ? "├" : "◀", color);
  put(p, head, f->in ? "▶" : "┤", color);
  label_payload(more, sizeof more, f);
  snprintf(text, sizeof text, "%s%s%s%s", bad ? "✗ " : "", what ? what : "", what && *more ? "; " : "", more);
  at = bad ? head + 1 : head + 2;
  if(*text)
    put_label(p, !what && at < p->lane[L_DRIVER] ? p->lane[L_DRIVER] : at, text, !what ? color : bad ? 31
                                                                                                     : 0);
}

// A frame of the run's capture: what the trace or the cable tells of it.
static void
put_own_frame(struct picture *p, u32 idx, u8 color)
{
  enum unmatched u = frame_fate(p->s, idx);
  u8 cable = p->cable.out ? p->cable.out[idx] : 0;
  const char *what = cable == CABLE_LOST ? "lost on the cable" : cable        ? "damaged on the cable"
                                                               : u == UM_NONE ? 0
                                                                              : fate_text(u);
  put_frame(p, &p->s->cap.f[idx], what, cable || fate_is_loss(u), color);
}

static void
put_rec(struct picture *p, const struct item *it, u8 color)
{
  const struct rec *r = &p->s->b->rec[it->idx];
  const struct event *e = rec_event(p->s->b, r);
  char label[1200], text[1300];
  label_rec(label, sizeof label, p->s, r, &p->labels);
  if(r->nlost) {
    snprintf(text, sizeof text, "!! %s !!", label);
    put_label(p, p->lane[L_DRIVER], text, 31);
    return;
  }
  bool drop = e && !strcmp(e->name, "net_drop");
  int dot = p->lane[rec_lane(p->s, r)], at = dot + 2, n = width_of(label);
  if(dot == p->lane[L_PROCESS] && at + n > p->width && n < dot - p->lane[L_NETIF])
    at = dot - 1 - n; // no room at the edge: left of its dot
  put(p, at < dot ? at - 1 : dot, " ", 0);
  put(p, dot, drop ? "✗ " : "● ", drop ? 31 : color);
  u8 ink = drop ? 31 : e && !strcmp(e->name, "tcp_state") ? state_color(p->state)
                                                          : color;
  enum unmatched u = p->s->have_cap && e && (rec_is(p->s, it->idx, "e1000_rx") || rec_is(p->s, it->idx, "e1000_tx")) ? rec_fate(p->s, it->idx) : UM_NONE;
  if(u != UM_NONE) {
    snprintf(text, sizeof text, "%s: %s", label, fate_text(u));
    snprintf(label, sizeof label, "%.*s", (int)sizeof label - 1, text);
    ink = 31;
  }
  put_label(p, at, label, ink);
}

static bool
our_pid(const struct picture *p, u32 pid)
{
  if(!p->sel.pids_known)
    return pid != 0;
  for(u32 i = 0; i < p->sel.npid; i++)
    if(p->sel.pid[i] == pid)
      return true;
  return false;
}

// Follow the state of connection and process, over shown and hidden rows alike.
static void
track(struct picture *p, const struct item *it, bool shown)
{
  label_learn(&p->labels, p->s, it);
  if(it->frame)
    return;
  const struct rec *r = &p->s->b->rec[it->idx];
  struct flow f;
  if(rec_is(p->s, it->idx, "tcp_state") && rec_flow(p->s->b, r, &f)) {
    bool listener = f.raddr == 0 && p->sel.have_flow && f.lport == p->sel.flow.lport;
    if(listener || (p->sel.have_flow ? flow_same(&f, &p->sel.flow) : shown))
      state_str(p->state, sizeof p->state, rec_named(p->s->b, r, "to"));
  }
  if(rec_is(p->s, it->idx, "sleep") && our_pid(p, rec_slot(p->s->b, r)->pid))
    p->sleeping = true;
  if(rec_is(p->s, it->idx, "wakeup") && our_pid(p, (u32)rec_get(p->s->b, r, "who")))
    p->sleeping = false;
}

static void
put_item(struct picture *p, const struct item *it)
{
  u32 pkt = item_pkt(p->s, it);
  u8 color = packet_color(p, pkt);
  gap_row(p, it->w);
  blank_row(p);
  put_gutter(p, it->w, pkt, color);
  if(it->frame)
    put_own_frame(p, it->idx, color);
  else
    put_rec(p, it, color);
  emit_row(p);
}

// The frames that left the far end before this time and never came to the card.
static void
put_lost(struct picture *p, i64 until)
{
  const struct capture *c = &p->cable.far;
  for(; p->far < c->n && c->f[p->far].w < until; p->far++) {
    const struct frame *f = &c->f[p->far];
    if(p->cable.in[p->far] != CABLE_LOST || (p->sel.have_flow && !(frame_is_tcp(f) && flow_same(&f->flow, &p->sel.flow))))
      continue;
    i64 w = p->begun && f->w < p->last ? p->last : f->w;
    gap_row(p, w);
    blank_row(p);
    put_gutter(p, w, 0, 0);
    put_frame(p, f, "lost on the cable", true, 31);
    emit_row(p);
  }
}

static void
put_heads(struct picture *p)
{
  static const char *const name[NLANE] = {"peer", "wire", "driver", "netif", "stack", "socket", "process"};
  for(int i = 0; i < p->width; i++)
    p->cell[i] = (struct cell){" ", 0};
  char text[120]; // µ and Δ are two bytes each
  snprintf(text, sizeof text, "%*s%*s%*s", p->wrow + p->wtime + 1, "time µs", p->wdelta + 2, "Δ µs", p->wpkt, "pkt");
  put(p, 0, text, 0);
  for(int i = p->narrow ? 1 : 0; i < NLANE; i++)
    put(p, p->lane[i], name[i], 1);
  emit_row(p);
}

static void
put_title(struct picture *p)
{
  const struct flow *f = &p->sel.flow;
  const char *arrow = glyph(p, "→");
  if(p->sel.have_flow) {
    fprintf(p->f, "TCP %s:%u %s xv6 %s:%u", ip_str(f->raddr), f->rport, arrow, ip_str(f->laddr), f->lport);
    if(p->sel.nflow > 1)
      fprintf(p->f, "\none of %u connections: --flow shows another, --all every row", p->sel.nflow);
    putc('\n', p->f);
  }
  fprintf(p->f, "0 = first %s shown", p->from_frame ? "frame" : "row");
  if(p->s->al.method >= CLK_FRAMES && p->s->have_cap)
    fprintf(p->f, "; between wire and kernel %s%s %ss", p->ascii ? "+-" : "±", band_str(p->s->wire), glyph(p, "µ"));
  if(p->narrow)
    fprintf(p->f, "\npeer and wire share a lane: %s comes in, %s goes out", glyph(p, "▶"), glyph(p, "◀"));
  fputs("\n\n", p->f);
}

// The gutter's columns: as wide as what they must hold.
static void
fit_gutter(struct picture *p)
{
  const struct session *s = p->s;
  u32 rows = 0, most = 0;
  i64 lo = 0, hi = 0;
  for(u32 i = 0; i < s->nitem; i++) {
    u32 pkt = p->sel.show[i] ? item_pkt(s, &s->item[i]) : 0;
    i64 w = p->sel.show[i] ? s->item[i].w - p->zero : 0;
    rows += p->sel.show[i];
    most = pkt > most ? pkt : most;
    lo = w < lo ? w : lo;
    hi = w > hi ? w : hi;
  }
  int neg = (int)strlen(us_str(lo)) + 1, pos = (int)strlen(us_str(hi)) + 2;
  p->wrow = 3;
  p->wtime = p->narrow ? 9 : 11;
  p->wdelta = p->narrow ? 7 : 9;
  p->wpkt = p->narrow ? 4 : 5;
  p->wtime = neg > p->wtime ? neg : p->wtime;
  p->wtime = pos > p->wtime ? pos : p->wtime;
  for(u32 n = 1000; n <= rows && n < 1000000000; n *= 10)
    p->wrow++;
  for(u32 n = p->narrow ? 100 : 1000; n <= most && n < 1000000000; n *= 10)
    p->wpkt++;
  p->gutter = p->wrow + p->wtime + p->wdelta + p->wpkt + (p->narrow ? 1 : 2);
}

// Lane columns for the width at hand; up to 80 peer and wire share a lane.
static void
lay_out(struct picture *p)
{
  struct winsize ws = {0};
  int w = (int)p->o->width;
  if(w == 0 && p->o->out == 0 && ioctl(1, TIOCGWINSZ, &ws) == 0)
    w = ws.ws_col;
  w = w == 0 ? 120 : w < 80       ? 80
                   : w > MAXWIDTH ? MAXWIDTH
                                  : w;
  p->width = w;
  bool narrow = p->narrow = w < 112;
  fit_gutter(p);
  int lanes = narrow ? NLANE - 1 : NLANE, each = (w - p->gutter - (narrow ? 0 : 4)) / lanes;
  for(int i = 0; i <= NLANE; i++)
    p->lane[i] = p->gutter + each * (narrow && i > 0 ? i - 1 : i);
  if(narrow) // the arrow still needs room for its label
    p->lane[L_PEER] = p->lane[L_WIRE];
}

// Colours: as --color says; else on a terminal that does not refuse them.
bool
wants_color(const struct opts *o)
{
  const char *no = getenv("NO_COLOR");
  if(o->color)
    return o->color == 1;
  return (o->out == 0 || !strcmp(o->out, "-")) && isatty(1) && !(no && *no);
}

static void
draw(struct picture *p)
{
  const struct session *s = p->s;
  u32 first = NOREC;
  for(u32 i = 0; i < s->nitem; i++)
    if(p->sel.show[i] && (first == NOREC || (s->item[i].frame && !s->item[first].frame)))
      first = i;
  if(first != NOREC) {
    p->zero = s->item[first].w;
    p->from_frame = s->item[first].frame;
  }
  lay_out(p);
  put_title(p);
  put_heads(p);
  for(u32 i = 0; i < s->nitem; i++) {
    if(p->begun)
      put_lost(p, s->item[i].w);
    track(p, &s->item[i], p->sel.show[i]);
    if(p->sel.show[i])
      put_item(p, &s->item[i]);
  }
  if(p->begun)
    put_lost(p, 1ll << 62);
  if(first == NOREC)
    fputs("nothing to show: the selection is empty\n", p->f);
}

int
cmd_ladder(struct opts *o)
{
  struct session s;
  struct out out;
  int rc = session_open(&s, o->argc, o->argv);
  if(rc < 0)
    return rc;
  timeline_build(&s);
  struct picture *p = xmalloc(sizeof *p);
  p->s = &s;
  p->o = o;
  p->ascii = o->ascii;
  p->color = wants_color(o);
  if(!shows_part(o) && (rc = cable_load(&p->cable, &s)) < 0)
    return rc;
  if((rc = timeline_select(&s, o, picks_flow(o), &p->sel)) < 0 || (rc = out_open(&out, o->out)) < 0)
    return rc;
  p->f = out.f;
  draw(p);
  rc = out_close(&out, true);
  if(!o->quiet)
    session_summary(&s, stderr);
  return rc ? rc : o->strict && (s.crossed || session_noted(&s));
}
