// nettop's model: what the records say, as flows, counts, drops and a history.
//
// Fed by nettop.c with every record, asked by the views.  All that it knows of
// events stands in `rules`, by name: a new column is a rule, a member of struct
// flow and a place in its line; an event or field that this kernel does not have
// changes nothing, and one that nettop does not know is counted, kept in the
// history and shown like all others.
#include "types.h"
#include "net.h"
#include "sys.h"
#include "ulib64.h"
#include "user.h"
#include "nettop.h"

struct model live;
u32 tcp_closed;
static u32 proto_tcp;

#define IN_FLOW(x)  1, __builtin_offsetof(struct flow, x)
#define IN_MODEL(x) 0, __builtin_offsetof(struct model, x)

enum how {
  SET,
  ADD,
  COUNT,  // one more
  REPEAT, // one more if the field says: sent more than once
  PID,    // the process that did it
  SNAP,   // the snapshot's number: the flow is alive
};

// Field of an event -> a member of the model, or of its flow.  field 0: none is
// needed.  The rules of one event stand together.
static const struct rule {
  const char *event, *field;
  enum how how;
  int in_flow;
  u32 off;
} rules[] = {
  {"e1000_rx", "len", ADD, IN_MODEL(sum.rx_bytes)},
  {"e1000_rx", 0, COUNT, IN_MODEL(sum.rx_frames)},
  {"e1000_tx", "len", ADD, IN_MODEL(sum.tx_bytes)},
  {"e1000_tx", 0, COUNT, IN_MODEL(sum.tx_frames)},
  {"e1000_intr", 0, COUNT, IN_MODEL(sum.irqs)},
  {"e1000_link", "up", SET, IN_MODEL(link)},
  {"e1000_link", "mbps", SET, IN_MODEL(mbps)},
  {"e1000_stat", "rx_free", SET, IN_MODEL(rx_free)},
  {"e1000_stat", "rx_size", SET, IN_MODEL(rx_size)},
  {"e1000_stat", "tx_used", SET, IN_MODEL(tx_used)},
  {"e1000_stat", "tx_size", SET, IN_MODEL(tx_size)},
  {"e1000_stat", "mpc", SET, IN_MODEL(mpc)},
  {"mem_stat", "heap", SET, IN_MODEL(heap)},
  {"mem_stat", "seg", SET, IN_MODEL(seg)},
  {"mem_stat", "seg_max", SET, IN_MODEL(seg_max)},
  {"mem_stat", "pcb", SET, IN_MODEL(pcb)},
  {"mem_stat", "tw", SET, IN_MODEL(tw)},
  {"mem_stat", "arp", SET, IN_MODEL(arp)},
  {"arp_out", "spa", SET, IN_MODEL(ip)},
  {"net_drop", 0, COUNT, IN_MODEL(drops)},
  {"net_drop", "reason", SET, IN_MODEL(reason)},
  {"lost", "n", ADD, IN_MODEL(lost)},
  {"tcp_seg_out", "xmit", REPEAT, IN_MODEL(rexmits)},
  {"tcp_seg_out", "xmit", REPEAT, IN_FLOW(rexmits)},
  {"tcp_state", "to", SET, IN_FLOW(state)},
  {"tcp_rtt", "srtt_us", SET, IN_FLOW(rtt_us)},
  {"tcp_cc", "cwnd", SET, IN_FLOW(cwnd)},
  {"sock_accept", 0, PID, IN_FLOW(owner)},
  {"sock_rx", "n", ADD, IN_FLOW(rx)},
  {"sock_tx", "n", ADD, IN_FLOW(tx)},
  {"sock_stat", 0, SNAP, IN_FLOW(snap)},
  {"sock_stat", "srtt_us", SET, IN_FLOW(rtt_us)},
  {"sock_stat", "cwnd", SET, IN_FLOW(cwnd)},
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
// first rule, the fields that name a flow, and whether it is an answer to `snap`.
static int rule_id[NRULE], first_rule[NT_MAXEV];
static const struct nt_field *rule_field[NRULE];
static const struct nt_field *flow_field[NT_MAXEV][4];
static u8 noise[NT_MAXEV];
static int id_proc, id_drop, id_state, id_switch, id_accept, proc_alive;

// What nettop itself causes, each time it asks for a snapshot.
static const char *const noises[] = {"clock_sync", "ctl", "e1000_stat", "mem_stat", "sock_stat", "sock_count"};

// Look the names up.  After nt_open, before the first record.
void
model_begin(void)
{
  static const char *const ends[] = {"lport", "raddr", "rport", "laddr"};
  for(int i = NRULE; i-- > 0;) {
    int id = rule_id[i] = nt_event(&tr, rules[i].event);
    if(id < 0)
      continue;
    first_rule[id] = i;
    if(rules[i].field)
      rule_field[i] = nt_field(&tr, id, rules[i].field);
  }
  for(int id = 0; id < NT_MAXEV; id++)
    for(int k = 0; k < 4; k++)
      flow_field[id][k] = nt_field(&tr, id, ends[k]);
  for(u32 i = 0; i < sizeof(noises) / sizeof(noises[0]); i++) {
    int id = nt_event(&tr, noises[i]);
    if(id >= 0)
      noise[id] = 1;
  }
  id_proc = nt_event(&tr, "proc");
  id_drop = nt_event(&tr, "net_drop");
  id_state = nt_event(&tr, "tcp_state");
  id_switch = nt_event(&tr, "switch");
  id_accept = nt_event(&tr, "sock_accept");
  proc_alive = nt_number(&tr, "PROCWHAT", "ALIVE");
  tcp_closed = nt_number(&tr, "TCPSTATE", "CLOSED");
  proto_tcp = nt_number(&tr, "PROTO", "TCP");
  live.nhist = NHIST; // 0 means none
  live.state = "on";
  live.ip = tr.h.ip;
  live.link = 1; // until an event says more
}

int
is_noise(int id)
{
  return noise[id];
}

// ---- flows ---------------------------------------------------------------

// Room for one more flow: a new place, or that of the one closed first.
static struct flow *
flow_place(void)
{
  if(live.nflow < NFLOW)
    return &live.flow[live.nflow++];
  struct flow *old = &live.flow[0];
  for(struct flow *f = live.flow; f < live.flow + live.nflow; f++)
    if(f->gone_ms && (old->gone_ms == 0 || f->gone_ms < old->gone_ms))
      old = f;
  return old;
}

// The ends that record s names: local port, peer, its port, our address.  Returns 1,
// 0 if its event has none.
static int
ends_of(const struct nt_slot *s, u32 end[4])
{
  const struct nt_field *const *name = flow_field[s->id];
  if(!name[0] || !name[1] || !name[2] || !name[3])
    return 0;
  for(int k = 0; k < 4; k++)
    end[k] = nt_value(name[k], s);
  return 1;
}

// Of a protocol without states, as far as is known?
int
other_proto(const struct flow *f)
{
  return f->proto && f->proto != proto_tcp;
}

static int
same_ends(const struct flow *f, const u32 end[4])
{
  return f->lport == end[0] && f->raddr == end[1] && f->rport == end[2];
}

// The flow that record s is about: by its socket, else by its ends, if the event
// has them (a connection that has no socket).  A listener's segments carry its
// socket and the ends of a connection to be: those are not the listener's.
// make: a new one if it is not known yet.  0: none.
static struct flow *
flow_of(const struct nt_slot *s, int make)
{
  u32 end[4];
  int named = ends_of(s, end);
  struct flow *f = live.flow, *last = live.flow + live.nflow;
  if(s->sock)
    while(f < last && f->sock != s->sock)
      f++;
  else
    while(f < last && (!named || f->gone_ms || !same_ends(f, end)))
      f++;
  if(f == last && (!named || !make))
    return 0;
  if(f == last) {
    f = flow_place();
    *f = (struct flow){.born = ++live.nborn, .sock = s->sock, .snap = live.nsnap};
  }
  if(named && (f->raddr == 0 || end[1])) { // a socket gets its ends when it is bound, then connected
    f->lport = end[0];
    f->raddr = end[1];
    f->rport = end[2];
    f->laddr = end[3];
  }
  return f;
}

// The flow of that number, 0 if it is forgotten.
const struct flow *
flow_born(const struct model *m, u32 born)
{
  for(const struct flow *f = m->flow; f < m->flow + m->nflow; f++)
    if(f->born == born)
      return f;
  return 0;
}

// Is record s about that flow?
int
of_flow(const struct model *m, const struct nt_slot *s, u32 born)
{
  const struct flow *f = flow_born(m, born);
  u32 end[4];
  if(f == 0 || s->id >= NT_MAXEV)
    return 0;
  if(s->sock)
    return s->sock == f->sock;
  return ends_of(s, end) && same_ends(f, end);
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
    return live.nsnap;
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
    if(r->in_flow && f == 0)
      f = flow_of(s, r->how != REPEAT);
    if(r->in_flow && f == 0)
      continue;
    if(r->how == SNAP)
      f->gone_ms = 0;
    u32 *to = (u32 *)((r->in_flow ? (char *)f : (char *)&live) + r->off);
    *to = obey(r->how, *to, rule_field[i] ? nt_value(rule_field[i], s) : 0, s);
  }
}

// A connection changed its state: keep that with the time it spent in the old one.
static void
learn_state(const struct nt_slot *s)
{
  struct flow *f = flow_of(s, 0);
  if(f == 0)
    return;
  f->step[f->nstep++ % NSTEP] = (struct step){nt_get(&tr, s, "from"), nt_get(&tr, s, "to"),
                                              nt_get(&tr, s, "why"), nt_get(&tr, s, "dwell_us")};
  f->state_tsc = s->ts;
}

// A listener's limit is told when it gives a connection away.
static void
learn_backlog(const struct nt_slot *s)
{
  u32 sock = nt_get(&tr, s, "listener");
  for(struct flow *f = live.flow; sock && f < live.flow + live.nflow; f++)
    if(f->sock == sock)
      f->backlog_max = nt_get(&tr, s, "backlog");
}

static void
keep_latest(struct model *m, const struct nt_slot *s)
{
  m->latest[s->id] = *s;
  m->latest[s->id].nsl = 1; // a longer text is cut
}

// From now on keep the last record of each event about this flow; those that the
// history still has come first.
void
model_choose(struct model *m, u32 born)
{
  if(m->chosen == born)
    return;
  m->chosen = born;
  memset(m->latest, 0, sizeof(m->latest));
  for(u32 n = m->nhist - NHIST; n != m->nhist; n++) {
    const struct nt_slot *s = hist_at(m, n);
    if(s && of_flow(m, s, born))
      keep_latest(m, s);
  }
}

// ---- processes -------------------------------------------------------------

const char *
prog_name(const struct model *m, u32 pid)
{
  for(const struct process *p = m->proc; p < m->proc + m->nproc; p++)
    if((p->ps.pid & 0xffff) == (int)pid)
      return p->ps.name;
  for(u32 i = 0; i < m->nprog && i < NPROG; i++)
    if(m->prog[i].pid == pid)
      return m->prog[i].name;
  return "-";
}

// Remember a process by its name, for when it has ended.
static void
learn_prog(const struct nt_slot *s)
{
  u32 i = 0;
  while(i < live.nprog && i < NPROG && live.prog[i].pid != s->pid)
    i++;
  if(i == live.nprog || i == NPROG)
    i = live.nprog++ % NPROG;
  struct nt_line name = {live.prog[i].name, 0, sizeof(live.prog[i].name) - 1};
  memset(live.prog[i].name, 0, sizeof(live.prog[i].name));
  live.prog[i].pid = s->pid;
  const struct nt_field *f = nt_field(&tr, s->id, "name");
  if(f)
    nt_text(&name, f, s);
}

static void
learn_switch(const struct nt_slot *s)
{
  int next = nt_get(&tr, s, "next");
  for(struct process *p = live.proc; p < live.proc + live.nproc; p++)
    if((p->ps.pid & 0xffff) == next)
      p->runs++;
}

static u32
grown(u32 new, u32 old)
{
  return new > old ? new - old : 0;
}

// Look at the processes, as ps does: who ran on which CPU since the last time.
static void
settle_processes(u32 ms)
{
  static struct psinfo ps[NPROC];
  static struct process old[NPROC];
  int n = psinfo(ps, NPROC), nold = live.nproc;
  memmove(old, live.proc, sizeof(old));
  live.nproc = n < 0 ? 0 : n < NPROC ? n
                                     : NPROC;
  for(int i = 0; i < live.nproc; i++) {
    struct process *p = &live.proc[i], *was = old;
    while(was < old + nold && was->ps.pid != ps[i].pid)
      was++;
    *p = (struct process){.ps = ps[i], .ticks_old = ps[i].ticks};
    p->ps.name[sizeof(p->ps.name) - 1] = 0;
    if(was == old + nold)
      continue;
    p->runs = p->runs_old = was->runs;
    p->run_rate = per_second(was->runs - was->runs_old, ms);
    p->percent = per_second(grown(ps[i].ticks, was->ticks_old), ms); // 100 ticks a second
  }
}

// ---- drops -------------------------------------------------------------------

static void
learn_drop(const struct nt_slot *s)
{
  u32 reason = nt_get(&tr, s, "reason"), eip = nt_get(&tr, s, "eip");
  struct drop *d = live.drop, *end = live.drop + live.ndrop;
  while(d < end && (d->reason != reason || d->eip != eip))
    d++;
  if(d == end && live.ndrop < NDROP)
    live.ndrop++;
  else if(d == end)
    d = &live.drop[NDROP - 1]; // the rest together
  d->count++;
  d->reason = reason;
  d->eip = eip;
  d->last = *s;
}

// ---- the history ---------------------------------------------------------------

// The record that begins in slot `number`, 0 if none does or it is no longer there.
const struct nt_slot *
hist_at(const struct model *m, u32 number)
{
  const struct nt_slot *s = &m->hist[number % NHIST];
  return m->nhist - number <= NHIST && m->nhist != number && s->nsl && s->nsl < NT_CONT ? s : 0;
}

// Append a record; its slots lie side by side.  Returns its number.
static u32
remember(const struct nt_slot *s)
{
  while(live.nhist % NHIST + s->nsl > NHIST)
    live.hist[live.nhist++ % NHIST].nsl = NT_CONT;
  u32 n = live.nhist;
  memmove(&live.hist[n % NHIST], s, s->nsl * sizeof(*s));
  live.prev[n % NHIST] = 0;
  live.nhist += s->nsl;
  if(s->pkt) {
    struct packet *p = &live.packet[s->pkt % NPKT];
    if(p->pkt != s->pkt)
      *p = (struct packet){.pkt = s->pkt, .mark = -1};
    live.prev[n % NHIST] = p->last;
    p->last = n;
    p->judged = 0;
  }
  return n;
}

// Take in one record.
void
model_add(const struct nt_slot *s)
{
  live.raw++;
  if(s->id >= NT_MAXEV || s->nsl == 0 || s->nsl > NT_MAXNSL)
    return;
  int ours = noise[s->id] || (s->id == id_proc && (int)nt_get(&tr, s, "what") == proc_alive);
  live.count[s->id]++;
  if(!ours) {
    live.sum.events++;
    remember(s);
    path_record(s);
  }
  if(s->id == id_proc)
    learn_prog(s);
  else if(s->id == id_drop)
    learn_drop(s);
  else if(s->id == id_switch)
    learn_switch(s);
  else if(s->id == id_accept)
    learn_backlog(s);
  apply(s);
  if(s->id == id_state)
    learn_state(s);
  if(live.chosen && of_flow(&live, s, live.chosen))
    keep_latest(&live, s);
}

// ---- per refresh ---------------------------------------------------------

u32
per_second(u32 n, u32 ms)
{
  u64 x = (u64)n * 1000;
  if(ms == 0)
    return 0;
  div64(&x, ms);
  return x;
}

static void
settle_flow(struct flow *f, u32 ms, int tracing, int complete)
{
  f->rx_rate = per_second(grown(f->rx, f->rx_old), ms);
  f->tx_rate = per_second(grown(f->tx, f->tx_old), ms);
  if(ms && f->rexmits + f->drops > f->trouble_old)
    f->sick_ms = live.now;
  f->rx_old = f->rx;
  f->tx_old = f->tx;
  f->trouble_old = f->rexmits + f->drops;
  int closed = f->state == tcp_closed && !other_proto(f) && f->lport;
  if(!complete)
    f->snap = live.nsnap; // what says that it lives may be among the lost
  if(tracing && f->gone_ms == 0 && (live.nsnap - f->snap > 1 || closed))
    f->gone_ms = live.now;
  if(f->gone_ms)
    f->sndq = f->rcvq = 0;
}

// Forget what has been closed for long; the last flow takes the place.
static void
forget(void)
{
  for(int i = live.nflow; i-- > 0;)
    if(live.flow[i].gone_ms && live.now - live.flow[i].gone_ms > KEEP_MS)
      live.flow[i] = live.flow[--live.nflow];
}

// Turn what was counted in the last `ms` into rates; 0: only start counting.
void
model_settle(u32 ms)
{
  u32 *from = (u32 *)&live.sum, *to = (u32 *)&live.rate, *all = (u32 *)&live.total;
  static u32 lost_old;
  int tracing = tr.status != 0 && live.raw; // our snapshots alone are some
  live.state = tr.status == 0 ? "FROZEN" : tracing ? "on"
                                                   : "OFF";
  live.raw = 0;
  for(u32 i = 0; i < sizeof(live.sum) / sizeof(u32); i++) {
    to[i] = per_second(from[i], ms);
    all[i] += ms ? from[i] : 0;
  }
  memset(&live.sum, 0, sizeof(live.sum));
  for(int id = 0; id < NT_MAXEV; id++) {
    live.count_rate[id] = per_second(live.count[id] - live.count_old[id], ms);
    live.count_old[id] = live.count[id];
  }
  for(struct drop *d = live.drop; d < live.drop + live.ndrop; d++) {
    d->rate = per_second(d->count - d->old, ms);
    d->old = d->count;
  }
  for(struct flow *f = live.flow; f < live.flow + live.nflow; f++)
    settle_flow(f, ms, tracing, live.lost == lost_old);
  live.lossy = live.lost != lost_old;
  lost_old = live.lost;
  settle_processes(ms);
  forget();
  path_slowest();
}

// Count from now on: all sums, durations and the slowest packets; flows and what
// was lost stay.
void
model_zero(void)
{
  memset(&live.total, 0, sizeof(live.total));
  memset(live.count, 0, sizeof(live.count));
  memset(live.count_old, 0, sizeof(live.count_old));
  memset(live.gap, 0, sizeof(live.gap));
  memset(live.span, 0, sizeof(live.span));
  live.drops = live.rexmits = live.ndrop = live.nslow = 0;
  for(struct packet *p = live.packet; p < live.packet + NPKT; p++)
    p->judged = 1;
}
