// nettop's view 1: connections, and below them what happened last.
//
// Called by draw_views.  The list is sorted anew for each drawing; the selected flow is
// remembered by its number, so that it stays selected wherever it moves.
#include "types.h"
#include "ulib64.h"
#include "user.h"
#include "nettop.h"

#define NTAIL 6  // events under the connections, on the smallest screen that has them
#define SMALL 20 // rows: with fewer, none

const char *const sort_name[NSORT] = {"rate", "rx", "tx", "rtt", "cwnd", "q", "xm", "pid", "port", "age"};

// ---- the list ----------------------------------------------------------------

static u8 flow_list[NFLOW]; // indices, in their order
static int nflow_list;

static u32
sort_value(const struct flow *f)
{
  switch(want.sort) {
  case 0:
    return f->rx_rate + f->tx_rate;
  case 1:
    return want.total ? f->rx : f->rx_rate;
  case 2:
    return want.total ? f->tx : f->tx_rate;
  case 3:
    return f->rtt_us;
  case 4:
    return f->cwnd;
  case 5:
    return f->sndq + f->rcvq;
  case 6:
    return f->rexmits;
  case 7:
    return -f->owner; // the smallest first
  case 8:
    return -f->lport;
  default:
    return -f->born;
  }
}

// Does a stand above b?  Open flows first, then the one closed last.
static int
above(const struct flow *a, const struct flow *b)
{
  if(a->gone_ms != b->gone_ms)
    return a->gone_ms == 0 || (b->gone_ms && a->gone_ms > b->gone_ms);
  u32 va = sort_value(a), vb = sort_value(b);
  if(va == vb) {
    va = -a->born;
    vb = -b->born;
  }
  return want.reverse ? va < vb : va > vb;
}

// ---- a line ------------------------------------------------------------------

// A round-trip time in ms, in four characters: 0.42 48.0 250 3.1k
static void
put_rtt(struct nt_line *o, u32 us)
{
  if(us == 0)
    nt_printf(o, "   -");
  else if(us < 10000)
    nt_printf(o, "%u.%02u", us / 1000, us % 1000 / 10);
  else if(us < 100000)
    nt_printf(o, "%u.%u", us / 1000, us % 1000 / 100);
  else
    nt_printf(o, "%4H", us / 1000);
}

// The peer in a column of `width`; what does not fit is cut at the front, with a ~:
// the port is what tells connections apart.
static void
put_remote(struct nt_line *o, const struct flow *f, int width)
{
  char text[40];
  struct nt_line t = {text, 0, sizeof(text) - 1};
  int listener = f->raddr == 0;
  if(!listener)
    nt_printf(&t, "%I:%u", f->raddr, f->rport);
  else if(f->backlog_max)
    nt_printf(&t, "* backlog %u/%u", f->backlog, f->backlog_max);
  else
    nt_printf(&t, f->backlog ? "* backlog %u" : "*", f->backlog);
  text[t.n] = 0;
  char *s = text;
  if(t.n > width) {
    s += listener ? 2 : t.n - width; // without the star
    if(!listener)
      *s = '~';
  }
  nt_printf(o, "%-21s", s);
  o->n -= 21 - width;
}

// State and local port share their columns: the longest state with a short port.
static void
flow_line(const struct model *m, struct nt_line *o, const struct flow *f)
{
  int remote = 14 + wider(7), at;
  int sick = f->sick_ms && m->now - f->sick_ms < SICK_MS;
  char mark = ' ';
  if(sick)
    mark = '*';
  if(f->gone_ms)
    mark = '-';
  nt_printf(o, f->sock ? "%c%4u %4u " : "%c   - %4u ", mark, f->sock ? f->sock : f->owner, f->owner);
  if(f->sock == 0)
    o->n = 11;
  at = o->n;
  nt_printf(o, "%-15s", prog_name(m, f->owner));
  o->n = at + 6 + wider(16) * 9 / 16;
  nt_printf(o, " ");
  at = o->n;
  put_state(o, f);
  nt_printf(o, " ");
  u32 width = at + 18 > o->n ? at + 18 - o->n : 0;
  char port[8];
  struct nt_line p = {port, 0, sizeof(port) - 1};
  nt_printf(&p, "%u", f->lport);
  port[p.n] = 0;
  for(u32 i = p.n; i < width; i++)
    nt_printf(o, " ");
  nt_printf(o, "%s ", port);
  put_remote(o, f, remote);
  nt_printf(o, " %4H %4H ", want.total ? f->rx : f->rx_rate, want.total ? f->tx : f->tx_rate);
  put_rtt(o, f->rtt_us);
  if(f->cwnd)
    nt_printf(o, " %4H", f->cwnd);
  else
    nt_printf(o, "    -");
  nt_printf(o, " %3H %3H", f->sndq + f->rcvq, f->rexmits);
}

static void
flow_title(void)
{
  struct nt_line o = sheet_line();
  char name[32], remote[32];
  struct nt_line n = {name, 0, 6 + wider(16) * 9 / 16}, r = {remote, 0, 14 + wider(7)};
  nt_printf(&n, "%-31s", "NAME");
  nt_printf(&r, "%-31s", "REMOTE");
  name[n.n] = remote[r.n] = 0;
  nt_printf(&o, " SOCK  PID %s STATE        LPORT %s %s  RTT CWND   Q  XM", name, remote,
            want.total ? "  RX   TX" : "RX/s TX/s");
  sheet_bright();
}

// Put the flows that pass the filter into their order.
static void
list_flows(const struct model *m)
{
  char text[200];
  nflow_list = 0;
  for(int i = 0; i < m->nflow; i++) {
    const struct flow *f = &m->flow[i];
    struct nt_line o = {text, 0, sizeof(text)};
    if(want.filter[0])
      flow_line(m, &o, f);
    if(!flow_matches(m, f, text, o.n))
      continue;
    int k = nflow_list++;
    for(; k > 0 && above(f, &m->flow[flow_list[k - 1]]); k--)
      flow_list[k] = flow_list[k - 1];
    flow_list[k] = i;
  }
}

static int
flow_place(const struct model *m)
{
  for(int k = 0; k < nflow_list; k++)
    if(m->flow[flow_list[k]].born == want.flow)
      return k;
  return -1;
}

// The flows on `lines` lines, the selected one among them.
static void
draw_flows(const struct model *m, int lines)
{
  int place = flow_place(m), from = place >= lines ? place - lines + 1 : 0;
  for(int k = from; k < nflow_list && k < from + lines; k++) {
    struct nt_line o = sheet_line();
    flow_line(m, &o, &m->flow[flow_list[k]]);
    if(k == place)
      sheet_bright();
  }
}

// The line between flows and tail.
static void
rule_line(const struct model *m, int lines)
{
  struct nt_line o = sheet_line();
  nt_printf(&o, "-- ");
  if(nflow_list > lines)
    nt_printf(&o, "%u more flows -- ", nflow_list - lines);
  if(nflow_list < m->nflow)
    nt_printf(&o, "%u filtered -- ", m->nflow - nflow_list);
  nt_printf(&o, "last events ");
  while(o.n < o.max)
    nt_printf(&o, "-");
}

// Flows, and below them the last events; a small screen has no tail.
void
view_flow(const struct model *m)
{
  flow_title();
  list_flows(m);
  int tail = want.tail && rows >= SMALL ? NTAIL + (rows - 24 > 0 ? (rows - 24) / 2 : 0) : 0;
  int lines = sheet_room() - (tail ? tail + 1 : 0);
  draw_flows(m, lines);
  if(tail == 0)
    return;
  while(sheet_room() > tail + 1)
    sheet_line();
  rule_line(m, lines);
  draw_tail(m, tail);
}

// Select the flow by lines further down.
void
flow_step(const struct model *m, int by)
{
  list_flows(m);
  int k = flow_place(m) + by;
  if(0 <= k && k < nflow_list)
    want.flow = m->flow[flow_list[k]].born;
}
