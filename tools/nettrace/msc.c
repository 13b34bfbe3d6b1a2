// msc: the ladder's rows as text of a mermaid sequenceDiagram, for documents.
//
// One participant per lane that is used.  A packet's row on another lane than its
// last one is an arrow between the two; any other row, and every change of state,
// is a note on its lane.  No times: the text of a document should not change
// whenever it is made again.
#include <stdlib.h>
#include <string.h>
#include "tool.h"

static const char *const lane_id[NLANE] = {"peer", "wire", "driver", "netif", "stack", "socket", "process"};

// Where a packet was seen last.
struct place {
  u32 pkt;
  u8 lane;
};
struct chart {
  const struct session *s;
  struct selection sel;
  struct labels labels;
  struct place *at; // hash table by packet
  u32 cap;          // a power of two
  bool used[NLANE];
  FILE *f;
  const struct opts *o;
  struct cable cable;
};

// Text behind a colon.  There # begins a code, ; ends the statement, %% a comment,
// and a page that shows the picture takes the rest for markup.
static void
put_text(FILE *f, const char *s)
{
  for(; *s; s += charlen(s)) {
    char c[5] = "";
    memcpy(c, s, (size_t)charlen(s));
    if(strchr("#;%<>&\"'`{}\\", *s))
      fprintf(f, "#%d;", *s);
    else
      fputs(ascii_only ? ascii_char(c) : c, f);
  }
  putc('\n', f);
}

static struct place *
place_of(const struct chart *c, u32 pkt)
{
  u32 h = pkt * 2654435761u;
  while(c->at[h & (c->cap - 1)].pkt && c->at[h & (c->cap - 1)].pkt != pkt)
    h++;
  return &c->at[h & (c->cap - 1)];
}

static void
put_note(struct chart *c, enum lane lane, const char *text)
{
  fprintf(c->f, "  Note over %s: ", lane_id[lane]);
  put_text(c->f, text);
}

static void
put_arrow(struct chart *c, enum lane from, const char *arrow, enum lane to, const char *text)
{
  fprintf(c->f, "  %s%s%s: ", lane_id[from], arrow, lane_id[to]);
  put_text(c->f, text);
}

// A frame goes from peer to wire or back; one that never reached the driver ends
// there.  What the kernel says of a frame that was sent, it says at its driver.
static void
put_frame(struct chart *c, const struct item *it)
{
  const struct frame *f = &c->s->cap.f[it->idx];
  char label[300], more[300], text[640], num[16] = "";
  u32 pkt = item_pkt(c->s, it);
  if(pkt)
    snprintf(num, sizeof num, "#%u ", pkt);
  label_frame(label, sizeof label, f, &c->labels);
  label_payload(more, sizeof more, f);
  snprintf(text, sizeof text, "%s%s%s%s", num, label, *more ? ", " : "", more);
  put_arrow(c, f->in ? L_PEER : L_WIRE, "->>", f->in ? L_WIRE : L_PEER, text);
  enum unmatched u = c->s->have_trace ? frame_fate(c->s, it->idx) : UM_NONE;
  u8 cable = c->cable.out ? c->cable.out[it->idx] : 0;
  if(cable)
    put_note(c, L_WIRE, cable == CABLE_LOST ? "✗ lost on the cable" : "✗ damaged on the cable");
  else if(fate_is_loss(u) && f->in)
    put_arrow(c, L_WIRE, "-x", L_DRIVER, fate_text(u));
  else if(u != UM_NONE)
    put_note(c, L_WIRE, fate_text(u));
  if(pkt)
    *place_of(c, pkt) = (struct place){pkt, f->in ? L_WIRE : L_DRIVER};
}

// The frames of the connection that left the far end by then and never came to the card:
// from number i on.  Returns the number of the next.
static u32
put_lost(struct chart *c, u32 i, i64 until)
{
  const struct capture *far = &c->cable.far;
  for(; i < far->n && far->f[i].w < until; i++) {
    const struct frame *f = &far->f[i];
    char label[300];
    if(c->cable.in[i] != CABLE_LOST || !(c->o->all || (c->sel.have_flow && frame_is_tcp(f) && flow_same(&f->flow, &c->sel.flow))))
      continue;
    label_frame(label, sizeof label, f, &c->labels);
    put_arrow(c, L_PEER, "-x", L_WIRE, label);
    put_note(c, L_WIRE, "✗ lost on the cable");
  }
  return i;
}

static void
put_rec(struct chart *c, const struct item *it)
{
  const struct rec *r = &c->s->b->rec[it->idx];
  const struct event *e = rec_event(c->s->b, r);
  enum lane lane = rec_lane(c->s, r);
  u32 pkt = item_pkt(c->s, it);
  struct place *last = pkt ? place_of(c, pkt) : 0;
  char label[1200], text[1240], num[16] = "";
  if(pkt)
    snprintf(num, sizeof num, "#%u ", pkt);
  label_rec(label, sizeof label, c->s, r, &c->labels);
  bool drop = e && !strcmp(e->name, "net_drop"), wakeup = e && !strcmp(e->name, "wakeup");
  bool state = e && !strcmp(e->name, "tcp_state");
  snprintf(text, sizeof text, "%s%s%s", drop ? "✗ " : "", num, label);
  if(wakeup && lane == L_SOCKET)
    put_arrow(c, lane, "-->>", L_PROCESS, text);
  else if(!last || !last->pkt || last->lane == lane || state)
    put_note(c, lane, text);
  else
    put_arrow(c, (enum lane)last->lane, drop ? "-x" : "->>", lane, text);
  if(last)
    *last = (struct place){pkt, (u8)lane};
}

// Which lanes have a row, or an end of an arrow.
static void
find_lanes(struct chart *c)
{
  for(u32 i = 0; i < c->s->nitem; i++) {
    const struct item *it = &c->s->item[i];
    if(!c->sel.show[i])
      continue;
    if(it->frame) {
      c->used[L_PEER] = c->used[L_WIRE] = true;
      c->used[L_DRIVER] |= c->s->have_trace && frame_fate(c->s, it->idx) != UM_NONE;
      continue;
    }
    const struct rec *r = &c->s->b->rec[it->idx];
    const struct event *e = rec_event(c->s->b, r);
    c->used[rec_lane(c->s, r)] = true;
    c->used[L_PROCESS] |= e && !strcmp(e->name, "wakeup");
  }
}

// peer and wire, and in a box of its own the guest.
static void
put_head(struct chart *c)
{
  const struct flow *f = &c->sel.flow;
  bool guest = false;
  fputs("sequenceDiagram\n", c->f);
  for(int i = 0; i < NLANE; i++) {
    if(!c->used[i])
      continue;
    if(i >= L_DRIVER && !guest) {
      fputs("  box xv6", c->f);
      if(c->sel.have_flow)
        fprintf(c->f, " %s port %u", ip_str(f->laddr), f->lport);
      putc('\n', c->f);
      guest = true;
    }
    fprintf(c->f, "  participant %s", lane_id[i]);
    if(i == L_PEER && c->sel.have_flow)
      fprintf(c->f, " as peer %s port %u", ip_str(f->raddr), f->rport);
    putc('\n', c->f);
  }
  if(guest)
    fputs("  end\n", c->f);
}

static void
draw(struct chart *c)
{
  const struct session *s = c->s;
  for(c->cap = 64; c->cap < 2 * s->nitem; c->cap *= 2)
    ;
  c->at = xmalloc(c->cap * sizeof *c->at);
  find_lanes(c);
  put_head(c);
  u32 far = 0;
  for(u32 i = 0; i < s->nitem; i++) {
    far = put_lost(c, far, s->item[i].w);
    label_learn(&c->labels, s, &s->item[i]);
    if(c->sel.show[i] && s->item[i].frame)
      put_frame(c, &s->item[i]);
    else if(c->sel.show[i])
      put_rec(c, &s->item[i]);
  }
  put_lost(c, far, 1ll << 62);
  free(c->at);
}

int
cmd_msc(struct opts *o)
{
  struct session s;
  struct out out;
  int rc = session_open(&s, o->argc, o->argv);
  if(rc < 0)
    return rc;
  timeline_build(&s);
  struct chart *c = xmalloc(sizeof *c);
  c->s = &s;
  c->o = o;
  if((rc = timeline_select(&s, o, picks_flow(o), &c->sel)) < 0 || (!shows_part(o) && (rc = cable_load(&c->cable, &s)) < 0) || (rc = out_open(&out, o->out)) < 0)
    return rc;
  c->f = out.f;
  draw(c);
  rc = out_close(&out, true);
  if(!o->quiet)
    session_summary(&s, stderr);
  return rc;
}
