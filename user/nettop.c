// nettop: the network's connections and last events, live, from /dev/nettrace.
//
// Each refresh asks the kernel for a snapshot (records about every socket and
// process), reads what came, and draws.  All that it knows of events stands in
// `rules`, by name: a new column is a rule, a member of struct flow and a place
// in flow_line; an event that this kernel does not have changes nothing.
//
// The screen is built in `want` and compared with `seen`, what the terminal
// shows: only the difference is sent.  The console goes back to its old mode
// when this process ends, however it ends.
#include "types.h"
#include "fcntl.h"
#include "net.h"
#include "sys.h"
#include "ulib64.h"
#include "user.h"
#include "ntread.h"

#define DEVICE  "/dev/nettrace"
#define COLS    80
#define MAXROWS 60
#define HEAD    4    // lines above the flows
#define NTAIL   6    // events shown
#define NFLOW   128  // flows remembered
#define NPROG   128  // process names remembered
#define LEAD_MS 100  // from asking for a snapshot to drawing it; also between two reads
#define KEEP_MS 8000 // a closed flow stays on the screen
#define SICK_MS 4000 // so long a flow is marked after a drop or retransmission

// One per connection, listener or UDP socket.
struct flow {
  u32 born;                // order of appearance
  u32 lport, raddr, rport; // its name; a listener has raddr 0
  u32 sock, owner, proto, state, backlog;
  u32 rx, tx; // bytes since it was made
  u32 rtt_us, sndq, rcvq, rexmits, drops;
  u32 snap;                        // number of the last snapshot it was in
  u32 rx_old, tx_old, trouble_old; // as they were at the last refresh
  u32 rx_rate, tx_rate;            // bytes per second
  u32 sick_ms, gone_ms;            // when it last lost something, was found closed; 0 = not
};

// Since the last refresh, then per second.
struct sums {
  u32 events, rx_bytes, rx_frames, tx_bytes, tx_frames, irqs;
};

static struct ntread tr;
static struct flow flows[NFLOW];
static int nflow;
static struct sums sum, rate;
static u32 drops, reason, rexmits, lost, my_ip;     // since nettop began
static u32 rx_free, rx_size, tx_used, tx_size;      // the card's rings
static u32 pbuf, pbuf_max, seg, seg_max, time_wait; // the stack's memory
static u32 nborn, nsnap, now;                       // now: ms since boot
static u32 closed, udp;                             // a TCP state, a protocol
static struct nt_slot tail[NTAIL][NT_MAXNSL];
static u32 ntail;
static struct {
  u32 pid;
  char name[16];
} prog[NPROG];
static u32 nprog;

#define NSORT 4
static const char *const sortname[NSORT] = {"rate", "pid", "port", "age"};
static int batch, rows, paused, helping, sortkey;
static const char *trace_state = "on";

// ---- what the records say --------------------------------------------------

#define IN_FLOW(x) 0, __builtin_offsetof(struct flow, x)

enum how {
  SET,
  ADD,
  COUNT,  // one more
  REPEAT, // one more if the field says: sent more than once
  PID,    // the process that did it
  SNAP,   // the snapshot's number: the flow is alive
};

// Field of an event -> sum, or member of its flow.  field 0: none is needed.
// The rules of one event stand together.
static const struct rule {
  const char *event, *field;
  enum how how;
  u32 *sum;
  u32 off;
} rules[] = {
  {"e1000_rx", "len", ADD, &sum.rx_bytes, 0},
  {"e1000_rx", 0, COUNT, &sum.rx_frames, 0},
  {"e1000_tx", "len", ADD, &sum.tx_bytes, 0},
  {"e1000_tx", 0, COUNT, &sum.tx_frames, 0},
  {"e1000_intr", 0, COUNT, &sum.irqs, 0},
  {"e1000_stat", "rx_free", SET, &rx_free, 0},
  {"e1000_stat", "rx_size", SET, &rx_size, 0},
  {"e1000_stat", "tx_used", SET, &tx_used, 0},
  {"e1000_stat", "tx_size", SET, &tx_size, 0},
  {"mem_stat", "pbuf", SET, &pbuf, 0},
  {"mem_stat", "pbuf_max", SET, &pbuf_max, 0},
  {"mem_stat", "seg", SET, &seg, 0},
  {"mem_stat", "seg_max", SET, &seg_max, 0},
  {"mem_stat", "tw", SET, &time_wait, 0},
  {"ip_out", "src", SET, &my_ip, 0},
  {"arp_out", "spa", SET, &my_ip, 0},
  {"net_drop", 0, COUNT, &drops, 0},
  {"net_drop", "reason", SET, &reason, 0},
  {"lost", "n", ADD, &lost, 0},
  {"tcp_seg_out", "xmit", REPEAT, &rexmits, 0},
  {"tcp_seg_out", "xmit", REPEAT, IN_FLOW(rexmits)},
  {"tcp_state", "to", SET, IN_FLOW(state)},
  {"tcp_rtt", "srtt_us", SET, IN_FLOW(rtt_us)},
  {"sock_accept", 0, PID, IN_FLOW(owner)},
  {"sock_rx", "n", ADD, IN_FLOW(rx)},
  {"sock_tx", "n", ADD, IN_FLOW(tx)},
  {"sock_stat", 0, SNAP, IN_FLOW(snap)},
  {"sock_stat", "srtt_us", SET, IN_FLOW(rtt_us)},
  {"sock_stat", "sndq", SET, IN_FLOW(sndq)},
  {"sock_stat", "rcvq", SET, IN_FLOW(rcvq)},
  {"sock_stat", "rexmits", SET, IN_FLOW(rexmits)},
  {"sock_stat", "backlog", SET, IN_FLOW(backlog)},
  {"sock_stat", "proto", SET, IN_FLOW(proto)},
  {"sock_stat", "state", SET, IN_FLOW(state)},
  {"sock_stat", "owner", SET, IN_FLOW(owner)},
  {"sock_count", "rx_b", SET, IN_FLOW(rx)},
  {"sock_count", "tx_b", SET, IN_FLOW(tx)},
  {"sock_count", "drops", SET, IN_FLOW(drops)},
};
#define NRULE (int)(sizeof(rules) / sizeof(rules[0]))

// The names, looked up: per rule its event's number and its field; per event its
// first rule, the fields that name a flow, and whether the tail shows it.
static int rule_id[NRULE], first_rule[NT_MAXEV];
static const struct nt_field *rule_field[NRULE];
static const struct nt_field *flow_field[NT_MAXEV][3];
static u8 in_tail[NT_MAXEV];
static int proc_id;

// The tail shows what happens to packets: not the scheduler, nor snapshots.
static void
look_up(void)
{
  static const char *const names[] = {"lport", "raddr", "rport"};
  static const char *const noise[] = {"clock_sync", "proc", "ctl", "e1000_stat", "sock_stat", "sock_count"};
  for(int i = NRULE; i-- > 0;) {
    int id = rule_id[i] = nt_event(&tr, rules[i].event);
    if(id < 0)
      continue;
    first_rule[id] = i;
    if(rules[i].field)
      rule_field[i] = nt_field(&tr, id, rules[i].field);
  }
  for(int id = 0; id < NT_MAXEV; id++) {
    for(int k = 0; k < 3; k++)
      flow_field[id][k] = nt_field(&tr, id, names[k]);
    const char *stage = tr.event[id].stage;
    in_tail[id] = stage && strcmp(stage, "CPU") != 0 && strcmp(stage, "MEM") != 0;
    for(u32 i = 0; stage && i < sizeof(noise) / sizeof(noise[0]); i++)
      in_tail[id] &= strcmp(tr.event[id].name, noise[i]) != 0;
  }
  proc_id = nt_event(&tr, "proc");
  closed = nt_number(&tr, "TCPSTATE", "CLOSED");
  udp = nt_number(&tr, "PROTO", "UDP");
}

// Room for one more flow: a new place, or that of the one closed first.
static struct flow *
flow_place(void)
{
  if(nflow < NFLOW)
    return &flows[nflow++];
  struct flow *old = &flows[0];
  for(struct flow *f = flows; f < flows + nflow; f++)
    if(f->gone_ms && (old->gone_ms == 0 || f->gone_ms < old->gone_ms))
      old = f;
  return old;
}

// The flow that record s is about: by its socket, else by its ends, if the event
// has them (a connection that has no socket).
// make: a new one if it is not known yet.  0: none.
static struct flow *
flow_of(const struct nt_slot *s, int make)
{
  const struct nt_field *const *name = flow_field[s->id];
  u32 end[3];
  int named = name[0] && name[1] && name[2];
  for(int k = 0; named && k < 3; k++)
    end[k] = nt_value(name[k], s);
  struct flow *f = flows, *last = flows + nflow;
  if(s->sock)
    while(f < last && f->sock != s->sock)
      f++;
  else
    while(f < last && (!named || f->gone_ms || f->lport != end[0] || f->raddr != end[1] || f->rport != end[2]))
      f++;
  if(f == last && (!named || !make))
    return 0;
  if(f == last) {
    f = flow_place();
    *f = (struct flow){.born = nborn++, .sock = s->sock, .snap = nsnap};
  }
  if(named) { // a socket gets its ends when it is bound, then connected
    f->lport = end[0];
    f->raddr = end[1];
    f->rport = end[2];
  }
  return f;
}

// What becomes of old; v: the field's value.
static u32
obey(enum how how, u32 old, u32 v, const struct nt_slot *s)
{
  switch(how) {
  case ADD:
    return old + v;
  case COUNT:
    return old + 1;
  case REPEAT:
    return old + (v > 1);
  case PID:
    return s->pid;
  case SNAP:
    return nsnap;
  default:
    return v;
  }
}

// Carry out all rules for one record.
static void
apply(const struct nt_slot *s)
{
  struct flow *f = 0;
  for(int i = first_rule[s->id]; i < NRULE && rule_id[i] == s->id; i++) {
    const struct rule *r = &rules[i];
    if(r->field && rule_field[i] == 0)
      continue; // this kernel's event has no such field
    if(r->sum == 0 && f == 0)
      f = flow_of(s, r->how != REPEAT);
    if(r->sum == 0 && f == 0)
      continue;
    if(r->how == SNAP)
      f->gone_ms = 0;
    u32 *to = r->sum ? r->sum : (u32 *)((char *)f + r->off);
    *to = obey(r->how, *to, rule_field[i] ? nt_value(rule_field[i], s) : 0, s);
  }
}

static const char *
prog_name(u32 pid)
{
  for(u32 i = 0; i < nprog && i < NPROG; i++)
    if(prog[i].pid == pid)
      return prog[i].name;
  return "-";
}

static void
learn_prog(const struct nt_slot *s)
{
  u32 i = 0;
  while(i < nprog && i < NPROG && prog[i].pid != s->pid)
    i++;
  if(i == nprog || i == NPROG)
    i = nprog++ % NPROG;
  struct nt_line name = {prog[i].name, 0, sizeof(prog[i].name) - 1};
  memset(prog[i].name, 0, sizeof(prog[i].name));
  prog[i].pid = s->pid;
  nt_text(&name, nt_field(&tr, proc_id, "name"), s);
}

// Read what there is, at most some seconds' worth.
static void
drain(void)
{
  const struct nt_slot *s;
  for(int n = 0; n < 1 << 17 && (s = nt_next(&tr)) != 0; n++) {
    sum.events++;
    if(s->id >= NT_MAXEV)
      continue;
    if(in_tail[s->id])
      memmove(tail[ntail++ % NTAIL], s, s->nsl * sizeof(*s));
    if(s->id == proc_id)
      learn_prog(s);
    apply(s);
  }
}

// ---- per refresh ---------------------------------------------------------

static u32
per_second(u32 n, u32 ms)
{
  u64 x = (u64)n * 1000;
  if(ms == 0)
    return 0;
  div64(&x, ms);
  return x;
}

static u32
grown(u32 new, u32 old)
{
  return new > old ? new - old : 0;
}

// Turn what was counted in the last `ms` into rates; 0: only start counting.
static void
settle(u32 ms)
{
  u32 *from = (u32 *)&sum, *to = (u32 *)&rate;
  int tracing = tr.status != 0 && sum.events; // our snapshots alone are some
  trace_state = tracing ? "on" : "off";
  if(tr.status == 0)
    trace_state = "frozen";
  for(u32 i = 0; i < sizeof(sum) / sizeof(u32); i++)
    to[i] = per_second(from[i], ms);
  memset(&sum, 0, sizeof(sum));
  for(struct flow *f = flows; f < flows + nflow; f++) {
    f->rx_rate = per_second(grown(f->rx, f->rx_old), ms);
    f->tx_rate = per_second(grown(f->tx, f->tx_old), ms);
    if(ms && f->rexmits + f->drops > f->trouble_old)
      f->sick_ms = now;
    f->rx_old = f->rx;
    f->tx_old = f->tx;
    f->trouble_old = f->rexmits + f->drops;
    if(tracing && f->gone_ms == 0 && (nsnap - f->snap > 1 || (f->state == closed && f->proto != udp && f->lport)))
      f->gone_ms = now;
  }
}

// Forget what has been closed for long; the last flow takes the place.
static void
forget(void)
{
  for(int i = nflow; i-- > 0;)
    if(flows[i].gone_ms && now - flows[i].gone_ms > KEEP_MS)
      flows[i] = flows[--nflow];
}

// ---- drawing -------------------------------------------------------------

static char want[MAXROWS][COLS], seen[MAXROWS][COLS];
static struct flow *order[NFLOW];

// Does a stand above b?  Open flows first, then the one closed last.
static int
above(const struct flow *a, const struct flow *b)
{
  if(a->gone_ms != b->gone_ms)
    return a->gone_ms == 0 || (b->gone_ms && a->gone_ms > b->gone_ms);
  u32 ra = a->rx_rate + a->tx_rate, rb = b->rx_rate + b->tx_rate;
  if(sortkey == 0 && ra != rb)
    return ra > rb;
  if(sortkey == 1 && a->owner != b->owner)
    return a->owner < b->owner;
  if(sortkey == 2 && a->lport != b->lport)
    return a->lport < b->lport;
  return a->born < b->born;
}

static void
sort_flows(void)
{
  for(int i = 0; i < nflow; i++) {
    int k = i;
    for(; k > 0 && above(&flows[i], order[k - 1]); k--)
      order[k] = order[k - 1];
    order[k] = &flows[i];
  }
}

static void
head_line(struct nt_line *o, int i)
{
  u32 s = now / 1000, open = 0;
  for(int k = 0; k < nflow; k++)
    open += flows[k].gone_ms == 0;
  if(i == 0) {
    nt_printf(o, "nettop %02u:%02u:%02u  en0 ", s / 3600, s / 60 % 60, s % 60);
    nt_printf(o, my_ip ? "%I" : "no address", my_ip);
    nt_printf(o, "  flows %u  ev %H/s  TRACE %s  lost %u%s", open, rate.events, trace_state, lost, paused ? "  PAUSED" : "");
  } else if(i == 1) {
    nt_printf(o, "rx %4HB/s %4Hp/s  tx %4HB/s %4Hp/s", rate.rx_bytes, rate.rx_frames, rate.tx_bytes, rate.tx_frames);
    nt_printf(o, "  rexmit %H  drop %H%s", rexmits, drops, drops ? " " : "");
    if(drops)
      nt_named(o, &tr, "DROP", reason);
  } else if(i == 2) {
    nt_printf(o, "irq %4H/s", rate.irqs);
    if(rx_size)
      nt_printf(o, "  ring rx %u/%u tx %u/%u", rx_size - rx_free, rx_size, tx_used, tx_size);
    if(pbuf_max)
      nt_printf(o, "  pbuf %u max %u  seg %u max %u  time-wait %u", pbuf, pbuf_max, seg, seg_max, time_wait);
  } else {
    nt_printf(o, "   PID NAME    STATE        LPORT REMOTE                RX/s TX/s  RTT    Q  XM");
  }
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

static void
flow_line(struct nt_line *o, const struct flow *f)
{
  char state[COLS], remote[COLS];
  struct nt_line st = {state, 0, COLS - 1}, re = {remote, 0, COLS - 1};
  nt_named(&st, &tr, f->proto == udp ? "PROTO" : "TCPSTATE", f->proto == udp ? udp : f->state);
  nt_printf(&re, f->raddr ? "%I:%u" : "*", f->raddr, f->rport);
  if(f->backlog)
    nt_printf(&re, " waiting %u", f->backlog);
  state[st.n] = remote[re.n] = 0;
  char mark = f->gone_ms ? '-' : f->sick_ms && now - f->sick_ms < SICK_MS ? '*'
                                                                          : ' ';
  nt_printf(o, "%c%5u %-7s %-12s %5u %-21s ", mark, f->owner, prog_name(f->owner), state, f->lport, remote);
  nt_printf(o, "%4H %4H ", f->rx_rate, f->tx_rate);
  put_rtt(o, f->rtt_us);
  nt_printf(o, " %4H %3H", f->sndq + f->rcvq, f->rexmits);
}

static void
tail_line(struct nt_line *o, const struct nt_slot *s)
{
  u64 us = s->ts * 1000;
  div64(&us, tr.h.tsc_khz ? tr.h.tsc_khz : 1);
  nt_printf(o, " .%06u ", div64(&us, 1000000));
  nt_print(o, &tr, s);
}

static struct nt_line
row(int i)
{
  memset(want[i], ' ', COLS);
  return (struct nt_line){want[i], 0, COLS - 1};
}

static const char *const help[NTAIL] = {
  "* at the left: dropped or repeated something just now    - closed a moment ago",
  "LPORT, REMOTE  our port, the peer      RX/s, TX/s  bytes per second in and out",
  "RTT  round trip in ms, smoothed        XM  segments that were sent again",
  "Q    bytes received but not read, and written but not acknowledged",
  "lost: records this program was too slow for    drop: packets, last reason",
  "TRACE on, off (nothing is recorded), frozen (nothing more will be)",
};

// The line between flows and tail; more: flows that found no place.
static void
rule_line(struct nt_line *o, int more)
{
  nt_printf(o, "-- ");
  if(more > 0)
    nt_printf(o, "%u more flows -- ", more);
  nt_printf(o, "%s ", helping ? "help" : "last events");
  while(o->n < o->max)
    nt_printf(o, "-");
}

// Flows, then a rule, the tail and the keys; a small screen has no tail.
static void
draw_body(void)
{
  int ntl = rows >= HEAD + 4 + NTAIL + 2 ? NTAIL : 0, i = HEAD, room = rows - HEAD - 1 - (ntl ? ntl + 1 : 0);
  sort_flows();
  for(int k = 0; k < room; k++, i++) {
    struct nt_line o = row(i);
    if(k < nflow)
      flow_line(&o, order[k]);
  }
  for(int k = 0; ntl && k <= ntl; k++, i++) {
    struct nt_line o = row(i);
    u32 n = ntail - ntl + k - 1; // the tail's oldest comes first
    if(k == 0)
      rule_line(&o, nflow - room);
    else if(helping)
      nt_printf(&o, " %s", help[k - 1]);
    else if(n < ntail)
      tail_line(&o, tail[n % NTAIL]);
  }
}

// Send what differs between want and seen in one row.
static void
paint_row(struct nt_line *o, int i)
{
  char *w = want[i], *s = seen[i];
  int end = COLS, old = COLS;
  while(end > 0 && w[end - 1] == ' ')
    end--;
  while(old > 0 && s[old - 1] == ' ')
    old--;
  for(int c = 0, stop; c < end; c = stop) {
    stop = c + 1;
    if(w[c] == s[c])
      continue;
    for(int k = stop; k < end && k < stop + 6; k++) // a short gap is cheaper than a move
      if(w[k] != s[k])
        stop = k + 1;
    nt_printf(o, "\033[%u;%uH", i + 1, c + 1);
    for(int k = c; k < stop; k++)
      nt_printf(o, "%c", w[k]);
  }
  if(old > end)
    nt_printf(o, "\033[%u;%uH\033[K", i + 1, end + 1);
  memmove(s, w, COLS);
}

// Show the state; body 0: only the head, the rest stays as it was.
static void
draw(int body)
{
  static char out[MAXROWS * COLS * 2];
  struct nt_line o = {out, 0, sizeof(out)}, keys = row(rows - 1);
  for(int i = 0; i < HEAD; i++) {
    struct nt_line h = row(i);
    head_line(&h, i);
  }
  if(body)
    draw_body();
  nt_printf(&keys, "q quit   p %s   s sort: %s   ? help", paused ? "go on" : "pause", sortname[sortkey]);
  for(int i = 0; i < rows; i++)
    paint_row(&o, i);
  if(o.n > 0)
    nt_printf(&o, "\033[%u;%uH", rows, keys.n + 1);
  write(1, out, o.n);
}

// The same as text.
static void
print_table(int k, int n)
{
  char buf[COLS];
  sort_flows();
  for(int i = 0; i < HEAD + nflow; i++) {
    struct nt_line o = {buf, 0, COLS - 1};
    if(i < HEAD)
      head_line(&o, i);
    else
      flow_line(&o, order[i - HEAD]);
    buf[o.n++] = '\n';
    write(1, buf, o.n);
  }
  printf(1, "-- %d/%d lost %u\n", k, n, lost);
}

// ---- the program ---------------------------------------------------------

// Give the shell a line below our screen, and a cooked console.
static void
give_back(void)
{
  if(rows == 0)
    return;
  printf(1, "\033[%d;1H\033[K", rows);
  ttyctl(0, TTY_MODE, 0);
}

static void
quit(void)
{
  give_back();
  exits(0);
}

static void
fail(const char *what, const char *why)
{
  give_back();
  printf(2, "nettop: %s: %s\n", what, why);
  exits(1);
}

static void
usage(void)
{
  printf(2, "usage: nettop [-i SECONDS], or as text: nettop -b [-n TABLES] [-i SECONDS]\n");
  exits(2);
}

static void
read_clock(void)
{
  u64 ns;
  nsclock(&ns);
  div64(&ns, 1000000);
  now = ns;
}

// Obey the keys that have been typed.
static void
read_keys(void)
{
  char c[16];
  int n = read(0, c, sizeof(c));
  if(n <= 0)
    quit();
  for(int i = 0; i < n; i++) {
    if(c[i] == 'q' || c[i] == 'C' - '@')
      quit();
    else if(c[i] == 'p' || c[i] == ' ')
      paused = !paused;
    else if(c[i] == 's')
      sortkey = (sortkey + 1) % NSORT;
    else if(c[i] == '?')
      helping = !helping;
    else if(c[i] == 'L' - '@')
      memset(seen, 0, sizeof(seen)); // somebody else wrote on the console
  }
  draw(1);
}

// Read trace and keys until `when`.  A ring holds much more than LEAD_MS of
// events, so the trace need not wake us: reading seldom is what keeps us cheap.
static void
watch_until(u32 when)
{
  struct pollfd console = {.fd = 0, .events = POLLIN};
  for(read_clock(); (int)(when - now) > 0; read_clock()) {
    u32 ms = when - now;
    if(poll(&console, !batch, ms < LEAD_MS ? ms : LEAD_MS) > 0)
      read_keys();
    drain();
  }
}

static void
snapshot(void)
{
  nsnap++;
  int n = write(tr.fd, "snap\n", 5);
  if(n < 0)
    fail(DEVICE ": snap", neterr(n));
}

static void
open_console(void)
{
  if(ttyctl(0, TTY_MODE, 1) < 0)
    fail("standard input is not the console", "use nettop -b");
  rows = ttyctl(0, TTY_SIZE, 0) >> 16;
  if(rows < HEAD + 2 || rows > MAXROWS)
    rows = 24;
}

// A few events from before us fill the tail; they count for nothing else.
static void
open_trace(void)
{
  if(nt_open(&tr, DEVICE, O_RDWR | O_NONBLOCK, "from -200\n") < 0)
    fail(DEVICE, tr.why ? tr.why : neterr(tr.status));
  look_up();
  my_ip = tr.h.ip;
  drain();
  nflow = drops = rexmits = 0;
}

// A positive number behind an option.
static int
number(const char *s)
{
  int n = 0;
  if(s == 0)
    usage();
  for(; '0' <= *s && *s <= '9' && n < 10000; s++)
    n = n * 10 + *s - '0';
  if(*s || n == 0)
    usage();
  return n;
}

int
main(int argc, char **argv)
{
  int tables = 0, seconds = 1;
  for(int i = 1; i < argc; i++) {
    if(strcmp(argv[i], "-b") == 0)
      batch = 1;
    else if(strcmp(argv[i], "-n") == 0)
      tables = number(argv[++i]);
    else if(strcmp(argv[i], "-i") == 0)
      seconds = number(argv[++i]);
    else
      usage();
  }
  if(!batch && tables)
    usage();
  open_trace();
  if(!batch)
    open_console();
  snapshot();
  read_clock();
  watch_until(now + LEAD_MS);
  settle(0);
  if(!batch)
    draw(1);
  for(int k = 1; !batch || k <= (tables ? tables : 1); k++) {
    u32 last = now;
    watch_until(last + seconds * 1000 - LEAD_MS);
    snapshot();
    watch_until(last + seconds * 1000);
    settle(now - last);
    forget();
    if(batch)
      print_table(k, tables ? tables : 1);
    else
      draw(!paused);
  }
  exits(0);
}
