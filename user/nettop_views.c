// nettop's views of the network: the head, connections, packets, drops, events.
//
// Called by nettop.c for each refresh and each key, with the model or, paused, a
// copy of it.  A view takes lines from the sheet and fills them; it changes nothing
// but what is selected.
#include "types.h"
#include "ulib64.h"
#include "user.h"
#include "nettop.h"

#define NTAIL    6   // events under the connections, on the smallest screen that has them
#define MAXLIST  160 // lines of a list
#define SMALL    20  // rows: with fewer, no tail
#define SMALLEST 12  // with fewer, no latencies either

const char *const view_name[NVIEW] = {"flow", "path", "drop", "layer", "event", "pcb", "cpu"};
const char *const sort_name[NSORT] = {"rate", "rx", "tx", "rtt", "cwnd", "q", "xm", "pid", "port", "age"};

// ---- words ---------------------------------------------------------------

// Blanks up to column n.
void
to_column(struct nt_line *o, int n)
{
  while(o->n < n && o->n < o->max)
    nt_printf(o, " ");
}

// A duration in us, in five characters at most: 0.4 92 4.1m 410m 2.3s.
void
put_us(struct nt_line *o, u32 ns)
{
  u32 us = ns / 1000;
  if(us < 10)
    nt_printf(o, "%u.%u", us, ns % 1000 / 100);
  else if(us < 1000)
    nt_printf(o, "%u", us);
  else if(us < 10000)
    nt_printf(o, "%u.%um", us / 1000, us % 1000 / 100);
  else if(us < 1000000)
    nt_printf(o, "%um", us / 1000);
  else
    nt_printf(o, "%u.%us", us / 1000000, us % 1000000 / 100000);
}

// The same, to the right in a column of `width`.
void
put_us_right(struct nt_line *o, u32 ns, int width)
{
  char text[12];
  struct nt_line t = {text, 0, sizeof(text)};
  put_us(&t, ns);
  to_column(o, o->n + width - t.n);
  put_us(o, ns);
}

static char
lower(char c)
{
  return 'A' <= c && c <= 'Z' ? c - 'A' + 'a' : c;
}

// Does the text contain the word, in capitals or not?  _ and - are the same.
static int
contains(const char *text, int n, const char *word, int len)
{
  for(int i = 0; i + len <= n; i++) {
    int k = 0;
    while(k < len && (lower(text[i + k]) == lower(word[k]) || (text[i + k] == '-' && word[k] == '_')))
      k++;
    if(k == len)
      return 1;
  }
  return 0;
}

// The filter as KEY=VALUE; 0 if it is plain text.
static const char *
filter_value(char *key, int max)
{
  const char *s = want.filter;
  int n = 0;
  while(*s && *s != '=' && *s != ' ' && n < max - 1)
    key[n++] = lower(*s++);
  key[n] = 0;
  return n && (*s == '=' || *s == ' ') && s[1] ? s + 1 : 0;
}

static int
is_number(const char *s, u32 x)
{
  char text[12];
  struct nt_line o = {text, 0, sizeof(text) - 1};
  nt_printf(&o, "%u", x);
  text[o.n] = 0;
  return strcmp(s, text) == 0;
}

static int
starts(const char *s, const char *with)
{
  while(*with && lower(*s) == lower(*with))
    s++, with++;
  return *with == 0;
}

// Does a record pass the filter?  KEY is pkt, sock, pid, port, event or a field's name.
// line: the record as n characters, for a filter that is plain text.
int
matches(const struct model *m, const struct nt_slot *s, const char *line, int n)
{
  char key[16], text[80];
  const char *v = filter_value(key, sizeof(key));
  (void)m;
  if(want.filter[0] == 0)
    return 1;
  if(v == 0)
    return contains(line, n, want.filter, strlen(want.filter));
  if(strcmp(key, "pkt") == 0 || strcmp(key, "sock") == 0 || strcmp(key, "pid") == 0)
    return is_number(v, key[1] == 'k' ? s->pkt : key[0] == 's' ? s->sock
                                                               : s->pid);
  if(s->id >= NT_MAXEV || tr.event[s->id].name == 0)
    return 0;
  if(strcmp(key, "event") == 0)
    return starts(tr.event[s->id].name, v);
  for(int i = 0; i < tr.event[s->id].nfield; i++) {
    const struct nt_field *f = &tr.event[s->id].field[i];
    int port = strcmp(key, "port") == 0 && strcmp(f->unit, "port") == 0;
    if(!port && strcmp(f->name, key) != 0)
      continue;
    struct nt_line o = {text, 0, sizeof(text)};
    nt_put(&o, &tr, f, s);
    if(port ? is_number(v, nt_value(f, s)) : contains(text, o.n, v, strlen(v)))
      return 1;
  }
  return 0;
}

// The same for a connection: port, pid, sock, state, name.
static int
matches_flow(const struct model *m, const struct flow *f, const char *line, int n)
{
  char key[16], state[20];
  const char *v = filter_value(key, sizeof(key));
  if(want.filter[0] == 0)
    return 1;
  if(v && strcmp(key, "port") == 0)
    return is_number(v, f->lport) || (f->raddr && is_number(v, f->rport));
  if(v && strcmp(key, "pid") == 0)
    return is_number(v, f->owner);
  if(v && strcmp(key, "sock") == 0)
    return is_number(v, f->sock);
  if(v && strcmp(key, "name") == 0)
    return starts(prog_name(m, f->owner), v);
  if(v && strcmp(key, "state") == 0) {
    struct nt_line o = {state, 0, sizeof(state)};
    nt_named(&o, &tr, "TCPSTATE", f->state);
    return f->proto == proto_udp ? starts("udp", v) : contains(state, o.n, v, strlen(v));
  }
  return contains(line, n, want.filter, strlen(want.filter));
}

// ---- the head --------------------------------------------------------------

static void
head_machine(const struct model *m)
{
  struct nt_line o = sheet_line();
  u32 s = m->now / 1000;
  nt_printf(&o, "nettop %02u:%02u:%02u  en0 ", s / 3600, s / 60 % 60, s % 60);
  nt_printf(&o, m->ip ? "%I" : "no address", m->ip);
  nt_printf(&o, m->link ? " up" : " DOWN");
  if(m->link && m->mbps)
    nt_printf(&o, " %uM", m->mbps);
  nt_printf(&o, "  TRACE %s  lost %u", m->state, m->lost);
  if(m->lossless)
    nt_printf(&o, "  LOSSLESS for pid %u, refused %u", m->lossless, m->discarded);
  if(want.paused)
    nt_printf(&o, "  PAUSED  cpu");
  else
    nt_printf(&o, "  int %u.%us  cpu", want.interval_ms / 1000, want.interval_ms % 1000 / 100);
  for(int i = 0; i < m->ncpu; i++)
    nt_printf(&o, " %u%%", m->cpu[i]);
}

static void
head_rates(const struct model *m)
{
  struct nt_line o = sheet_line();
  const struct sums *n = want.total ? &m->total : &m->rate;
  const char *per = want.total ? "" : "/s";
  nt_printf(&o, "rx %4HB%s %4Hp%s  tx %4HB%s %4Hp%s", n->rx_bytes, per, n->rx_frames, per, n->tx_bytes, per,
            n->tx_frames, per);
  nt_printf(&o, "  irq %4H%s  rexmit %H  drop %H%s", n->irqs, per, m->rexmits, m->drops, m->drops ? " " : "");
  if(m->drops)
    nt_named(&o, &tr, "DROP", m->reason);
}

static void
head_memory(const struct model *m)
{
  struct nt_line o = sheet_line();
  nt_printf(&o, "ev %4H%s unread %u%%", want.total ? m->total.events : m->rate.events, want.total ? "" : "/s", m->ring);
  if(m->rx_size)
    nt_printf(&o, "  ring rx %u/%u tx %u/%u", m->rx_size - m->rx_free, m->rx_size, m->tx_used, m->tx_size);
  nt_printf(&o, "  pbuf %u/%u seg %u/%u pcb %u tw %u arp %u", m->pbuf, m->pbuf_max, m->seg, m->seg_max, m->pcb, m->tw, m->arp);
}

static void
head_latency(const struct model *m)
{
  struct nt_line o = sheet_line();
  nt_printf(&o, "us p50/p99");
  for(int i = 0; i < NUP; i++) {
    u32 p50, p99;
    dist_percentiles(&m->gap[i], &p50, &p99);
    nt_printf(&o, " %s ", gap_name[i]);
    if(m->gap[i].n == 0) {
      nt_printf(&o, "-");
      continue;
    }
    put_us(&o, p50);
    nt_printf(&o, "/");
    put_us(&o, p99);
  }
}

// ---- 1 connections -----------------------------------------------------------

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

// What is left over 80 columns goes to the peer, then to the names.
static int
wider(int most)
{
  int more = cols - 80;
  return more < 0 ? 0 : more < most ? more
                                    : most;
}

// State and local port share their columns: the longest state with a short port.
static void
flow_line(const struct model *m, struct nt_line *o, const struct flow *f)
{
  int udp = f->proto == proto_udp, remote = 14 + wider(7), at;
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
  nt_named(o, &tr, udp ? "PROTO" : "TCPSTATE", udp ? proto_udp : f->state);
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
    if(!matches_flow(m, f, text, o.n))
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

// ---- 5 events, and the tail of the connections ---------------------------------

static u32 event_list[MAXLIST];
static int nevent_list;

static void
put_time(struct nt_line *o, u64 tsc, int seconds)
{
  u64 us = nt_us(&tr, tsc);
  u32 frac = div64(&us, 1000000);
  if(seconds)
    nt_printf(o, "%5u", (u32)us);
  nt_printf(o, ".%06u ", frac);
}

// An event as a line of view 5.
void
draw_event(const struct model *m, struct nt_line o, const struct nt_slot *s)
{
  (void)m;
  put_time(&o, s->ts, 1);
  nt_printf(&o, "%u%c %4u ", s->cpu_ctx & 15, "-indN???????????"[s->cpu_ctx >> 4], s -> pid);
  nt_print(&o, &tr, s);
}

static int
is_packet_event(int id)
{
  const char *stage = tr.event[id].stage;
  return stage && strcmp(stage, "CPU") != 0 && strcmp(stage, "MEM") != 0;
}

// Does the record in slot n belong into the list?  packets: only what packets do.
static const struct nt_slot *
listed(const struct model *m, u32 n, int packets)
{
  char text[200];
  const struct nt_slot *s = hist_at(m, n);
  if(s == 0 || (packets && !is_packet_event(s->id)))
    return 0;
  struct nt_line o = {text, 0, sizeof(text)};
  if(packets || want.filter[0] == 0) // below the connections the filter is theirs
    return s;
  nt_print(&o, &tr, s);
  return matches(m, s, text, o.n) ? s : 0;
}

// Fill event_list with at most `lines` records, the newest first; further back, so
// that the selected one is among them.
static void
list_events(const struct model *m, int lines, int packets)
{
  u32 pick = packets ? 0 : want.record;
  if(pick && m->nhist - pick > NHIST)
    pick = want.record = 0; // forgotten
  int found = pick == 0;
  nevent_list = 0;
  for(u32 n = m->nhist - 1; lines > 0 && m->nhist - n <= NHIST; n--) {
    if(nevent_list == lines && found)
      return;
    if(!listed(m, n, packets))
      continue;
    if(nevent_list == lines)
      memmove(event_list, event_list + 1, --nevent_list * sizeof(event_list[0]));
    event_list[nevent_list++] = n;
    found |= n == pick;
  }
}

static void
draw_events(const struct model *m)
{
  struct nt_line title = sheet_line();
  nt_printf(&title, "        TIME CPU PID #PKT  EVENT        FIELDS");
  sheet_bright();
  int lines = sheet_room() < MAXLIST ? sheet_room() : MAXLIST;
  list_events(m, lines, 0);
  for(int k = nevent_list; k-- > 0;) {
    draw_event(m, sheet_line(), hist_at(m, event_list[k]));
    if(event_list[k] == want.record)
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
static void
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
  list_events(m, tail, 1);
  for(int k = nevent_list; k-- > 0;) {
    struct nt_line o = sheet_line();
    nt_printf(&o, " ");
    put_time(&o, hist_at(m, event_list[k])->ts, 0);
    nt_print(&o, &tr, hist_at(m, event_list[k]));
  }
}

// ---- 2 packets --------------------------------------------------------------------

// The worst gap of a journey: the step it ends at.
static int
worst(const struct journey *j)
{
  int at = 0;
  for(int i = 1; i < j->n; i++)
    if(at == 0 || j->step[i].ts - j->step[i - 1].ts > j->step[at].ts - j->step[at - 1].ts)
      at = i;
  return at;
}

static const struct nt_slot *
step_with(const struct journey *j, const char *field)
{
  for(int i = 0; i < j->n; i++)
    if(nt_field(&tr, j->step[i].id, field))
      return &j->step[i];
  return 0;
}

// "TCP :80<10.0.2.2:51836", whatever the packet's records say about its ends.
static void
put_ends(struct nt_line *o, const struct journey *j)
{
  const struct nt_slot *s = step_with(j, "rport");
  if(s) {
    nt_printf(o, " :%u<%I:%u", (u32)nt_get(&tr, s, "lport"), (u32)nt_get(&tr, s, "raddr"), (u32)nt_get(&tr, s, "rport"));
    return;
  }
  s = step_with(j, "type");
  if(s) {
    nt_printf(o, " ");
    nt_put(o, &tr, nt_field(&tr, s->id, "type"), s);
  }
}

static void
slow_line(struct nt_line *o, const struct journey *j)
{
  int at = worst(j);
  const struct nt_slot *end = step_with(j, "fate");
  int n = o->n;
  nt_printf(o, " #%u", j->pkt);
  to_column(o, n + 8);
  n = o->n;
  put_us_right(o, tsc_ns(j->last - j->first), 5);
  to_column(o, n + 7);
  n = o->n;
  if(end)
    nt_put(o, &tr, nt_field(&tr, end->id, "fate"), end);
  to_column(o, n + 7);
  nt_printf(o, "%3u  ", j->n);
  n = o->n;
  if(at) {
    put_us_right(o, tsc_ns(j->step[at].ts - j->step[at - 1].ts), 5);
    nt_printf(o, " %s > %s", tr.event[j->step[at - 1].id].name, tr.event[j->step[at].id].name);
  }
  to_column(o, n + 32);
  put_ends(o, j);
}

static void
view_slowest(const struct model *m)
{
  struct nt_line title = sheet_line();
  nt_printf(&title, " #PKT    TOTAL  FATE  EVENTS  WORST GAP (us)                ENDS");
  sheet_bright();
  if(want.row >= m->nslow)
    want.row = m->nslow ? m->nslow - 1 : 0;
  for(int i = 0; i < m->nslow; i++) {
    struct nt_line o = sheet_line();
    slow_line(&o, &m->slow[i]);
    if(i == want.row)
      sheet_bright();
  }
  struct nt_line o = sheet_line();
  nt_printf(&o, m->nslow ? " The slowest packets since the start or z.  Enter: where its time went." : " No packet has come to its end yet.");
}

// One step: when, how long since the last one, a bar for that, the event.
static void
step_line(struct nt_line *o, const struct journey *j, int i)
{
  const struct nt_slot *s = &j->step[i];
  u32 total = tsc_ns(j->last - j->first), at = tsc_ns(s->ts - j->first), from = i ? tsc_ns(s[-1].ts - j->first) : 0;
  int width = 18 + wider(24), k = 0;
  u32 unit = total / (width - 1) + 1;
  nt_printf(o, "%7u.%u ", at / 1000, at % 1000 / 100);
  int n = o->n;
  put_us_right(o, at - from, 6);
  to_column(o, n + 7);
  for(; k < width; k++)
    nt_printf(o, "%c", k == (int)(at / unit) ? '|' : k >= (int)(from / unit) && k < (int)(at / unit) ? '='
                                                                                                     : ' ');
  nt_printf(o, " %u%c ", s->cpu_ctx & 15, "-indN???????????"[s->cpu_ctx >> 4]);
  nt_print_event(o, &tr, s);
}

// Packets this one came from or led to.
static void
links_line(const struct model *m, u32 pkt)
{
  int id = nt_event(&tr, "pkt_link"), some = 0;
  struct nt_line o = sheet_line();
  for(u32 n = m->nhist - NHIST; id >= 0 && n != m->nhist; n++) {
    const struct nt_slot *s = hist_at(m, n);
    if(s == 0 || s->id != id)
      continue;
    u32 parent = nt_get(&tr, s, "parent");
    if(s->pkt != pkt && parent != pkt)
      continue;
    nt_printf(&o, some++ ? ", " : " linked: ");
    nt_printf(&o, s->pkt == pkt ? "from #%u " : "to #%u ", s->pkt == pkt ? parent : s->pkt);
    nt_named(&o, &tr, "LINK", nt_get(&tr, s, "kind"));
  }
}

// A packet's journey as a waterfall.
void
draw_path(const struct model *m, const struct journey *j)
{
  struct nt_line o = sheet_line();
  const struct nt_slot *end = step_with(j, "fate");
  nt_printf(&o, " #%u", j->pkt);
  put_ends(&o, j);
  nt_printf(&o, "   %u events, ", j->n);
  put_us(&o, tsc_ns(j->last - j->first));
  nt_printf(&o, tsc_ns(j->last - j->first) < 1000000 ? " us, " : ", ");
  if(end)
    nt_put(&o, &tr, nt_field(&tr, end->id, "fate"), end);
  else
    nt_printf(&o, "not ended");
  o = sheet_line();
  nt_printf(&o, "       us    gap %-18s", "first to last");
  for(int i = wider(24); i > 0; i--)
    nt_printf(&o, " ");
  nt_printf(&o, " CPU EVENT");
  sheet_bright();
  for(int i = 0; i < j->n; i++) {
    o = sheet_line();
    step_line(&o, j, i);
  }
  links_line(m, j->pkt);
}

static void
view_path(const struct model *m)
{
  static struct journey j;
  if(want.pkt == 0) {
    view_slowest(m);
    return;
  }
  path_collect(m, want.pkt, &j);
  for(int i = 0; i < m->nslow; i++)
    if(m->slow[i].pkt == want.pkt && m->slow[i].n >= j.n)
      j = m->slow[i];
  if(j.n)
    draw_path(m, &j);
  struct nt_line o = sheet_line();
  if(j.n == 0)
    nt_printf(&o, " #%u has been forgotten.  Esc: the slowest packets.", want.pkt);
}

// ---- 3 drops ---------------------------------------------------------------------

// Index of the drop with the k-th largest count.
static int
drop_place(const struct model *m, int k)
{
  for(int i = 0; i < m->ndrop; i++) {
    int larger = 0;
    for(int o = 0; o < m->ndrop; o++)
      larger += m->drop[o].count > m->drop[i].count || (m->drop[o].count == m->drop[i].count && o < i);
    if(larger == k)
      return i;
  }
  return 0;
}

// Two lines: what, how often, and the last packet; where, and the reason's sentence.
static void
draw_drop(const struct drop *d)
{
  const struct nt_slot *s = &d->last;
  const struct nt_field *eip = nt_field(&tr, s->id, "eip");
  const struct nt_name *name = nt_value_name(&tr, "DROP", d->reason);
  struct nt_line o = sheet_line();
  nt_printf(&o, "%6H %4H  ", d->count, d->rate);
  nt_named(&o, &tr, "DROP", d->reason);
  to_column(&o, 28);
  put_time(&o, s->ts, 1);
  if(nt_get(&tr, s, "proto"))
    nt_named(&o, &tr, "PROTO", nt_get(&tr, s, "proto"));
  nt_printf(&o, " %I:%u > :%u len %u", (u32)nt_get(&tr, s, "src"), (u32)nt_get(&tr, s, "sport"),
            (u32)nt_get(&tr, s, "dport"), (u32)nt_get(&tr, s, "len"));
  o = sheet_line();
  nt_printf(&o, "    ");
  nt_named(&o, &tr, "STAGE", nt_get(&tr, s, "stage"));
  nt_printf(&o, " ");
  if(eip)
    nt_put(&o, &tr, eip, s);
  nt_printf(&o, "  %s", name ? name->doc : "");
}

static void
view_drop(const struct model *m)
{
  struct nt_line o = sheet_line();
  nt_printf(&o, " COUNT   /s  REASON            AT THE LAST PACKET    (below: stage, place, meaning)");
  sheet_bright();
  for(int k = 0; k < m->ndrop && sheet_room() > 1; k++)
    draw_drop(&m->drop[drop_place(m, k)]);
  o = sheet_line();
  if(m->ndrop == 0)
    nt_printf(&o, " Nothing was dropped since the start or z.");
  if(m->mpc)
    nt_printf(&o, " The card had no descriptor for %u frames since boot.", m->mpc);
}

// ---- the whole -------------------------------------------------------------------

// Fill the sheet with the head and the chosen view.
void
draw_views(const struct model *m)
{
  head_machine(m);
  head_rates(m);
  head_memory(m);
  if(rows >= SMALLEST)
    head_latency(m);
  if(want.help)
    draw_help(sheet_room());
  else if(want.view == V_FLOW)
    view_flow(m);
  else if(want.view == V_PATH)
    view_path(m);
  else if(want.view == V_DROP)
    view_drop(m);
  else if(want.view == V_EVENT)
    draw_events(m);
  else
    draw_inside(m);
}

// Move the selection by one line down (1) or up (-1).
void
select_step(const struct model *m, int by)
{
  if(want.view == V_FLOW) {
    list_flows(m);
    int k = flow_place(m) + by;
    if(0 <= k && k < nflow_list)
      want.flow = m->flow[flow_list[k]].born;
  } else if(want.view == V_EVENT) {
    u32 n = want.record ? want.record : m->nhist;
    do
      n += by;
    while(n != m->nhist && m->nhist - n <= NHIST && !listed(m, n, 0));
    if(m->nhist - n <= NHIST)
      want.record = n == m->nhist ? 0 : n;
  } else {
    want.row += want.row + by >= 0 ? by : 0;
  }
}

// The packet of the selected line, 0: none.
u32
selected_packet(const struct model *m)
{
  const struct nt_slot *s = want.view == V_EVENT && want.record ? hist_at(m, want.record) : 0;
  if(want.view == V_PATH && want.row < m->nslow)
    return m->slow[want.row].pkt;
  return s ? s->pkt : 0;
}
