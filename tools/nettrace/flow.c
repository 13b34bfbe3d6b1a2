// One connection out of a run: its frames, its packets' journeys, its socket,
// the processes that serve it, and the ARP and interrupts around it.
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define ARP_BEFORE_NS 100000000 // ARP this long before the first frame belongs to it

// What belongs to the connection, collected before rows are marked.
struct member {
  struct idset pkt, sock, listener, pid, kick, intr;
  i64 from, to; // its time on the wire and in the stack
  u32 first, last;
};

bool
frame_is_tcp(const struct frame *f)
{
  return f->type == 0x0800 && f->proto == 6;
}

// ARP that looks for somebody; a host that announces itself asks for its own address.
static bool
is_arp(const struct frame *f)
{
  return f->type == 0x0806 && f->flow.laddr != f->flow.raddr;
}

// The connection of an item, if it names one.
static bool
item_flow(const struct session *s, const struct item *it, struct flow *f)
{
  if(!it->frame)
    return rec_flow(s->b, &s->b->rec[it->idx], f);
  *f = s->cap.f[it->idx].flow;
  return frame_is_tcp(&s->cap.f[it->idx]);
}

// All connections whose SYN is in the run, in order, with the bytes they carried.
struct tally {
  struct flow flow;
  u32 bytes;
  u32 traced; // 1: events name it, 2: its SYN is among them, so that it is whole from there
};

static struct tally *
list_flows(const struct session *s, u32 *n)
{
  struct tally *t = 0;
  u32 cap = 0;
  *n = 0;
  for(u32 i = 0; i < s->nitem; i++) {
    const struct item *it = &s->item[i];
    const struct rec *r = it->frame ? 0 : &s->b->rec[it->idx];
    struct flow f;
    if(!item_flow(s, it, &f))
      continue;
    bool seg = it->frame || rec_is(s, it->idx, "tcp_seg_in") || rec_is(s, it->idx, "tcp_seg_out");
    if(!seg || (!it->frame && s->cap.n))
      continue;
    u32 flags = it->frame ? s->cap.f[it->idx].flags : (u32)rec_get(s->b, r, "flags");
    u32 len = it->frame ? s->cap.f[it->idx].paylen : (u32)rec_get(s->b, r, "len");
    u32 k = *n;
    while(k > 0 && !flow_same(&t[k - 1].flow, &f))
      k--;
    if(k == 0 && !(flags & TH_SYN))
      continue;
    if(k == 0) {
      t = xgrow(t, *n, &cap, sizeof *t);
      t[(*n)++] = (struct tally){.flow = f};
      k = *n;
    }
    t[k - 1].bytes += len;
  }
  return t;
}

// How much of each connection the events tell: where the ring was overrun, nothing
// of the first ones.
static void
grade_flows(const struct session *s, struct tally *t, u32 n)
{
  for(u32 i = 0; i < s->b->nrec; i++) {
    struct flow f;
    if(!rec_flow(s->b, &s->b->rec[i], &f))
      continue;
    bool seg = rec_is(s, i, "tcp_seg_in") || rec_is(s, i, "tcp_seg_out");
    u32 grade = seg && ((u32)rec_get(s->b, &s->b->rec[i], "flags") & TH_SYN) ? 2 : 1;
    for(u32 k = 0; k < n; k++)
      if(t[k].traced < grade && flow_same(&t[k].flow, &f))
        t[k].traced = grade;
  }
}

static void
learn_rec(const struct session *s, struct member *m, const struct rec *r, const struct flow *flow)
{
  struct flow f;
  const struct nt_slot *slot = rec_slot(s->b, r);
  if(slot == 0 || !rec_flow(s->b, r, &f) || !flow_same(&f, flow))
    return;
  idset_add(&m->pkt, slot->pkt);
  idset_add(&m->sock, slot->sock);
  idset_add(&m->listener, (u32)rec_get(s->b, r, "listener"));
}

// Packets, sockets and the stretch of time of one connection.
static void
learn(const struct session *s, struct member *m, const struct flow *flow)
{
  m->first = NOREC;
  for(u32 i = 0; i < s->nitem; i++) {
    const struct item *it = &s->item[i];
    struct flow f;
    if(!item_flow(s, it, &f) || !flow_same(&f, flow))
      continue;
    idset_add(&m->pkt, item_pkt(s, it));
    if(!it->frame)
      learn_rec(s, m, &s->b->rec[it->idx], flow);
    m->first = m->first == NOREC ? i : m->first;
    m->last = i;
  }
  if(m->first == NOREC)
    return;
  m->from = s->item[m->first].w;
  m->to = s->item[m->last].w;
  for(u32 i = m->first; i-- > 0 && s->item[i].w > m->from - ARP_BEFORE_NS;)
    if(s->item[i].frame && is_arp(&s->cap.f[s->item[i].idx]))
      m->first = i;
  for(u32 i = m->first; i <= m->last; i++)
    if(s->item[i].frame && is_arp(&s->cap.f[s->item[i].idx]))
      idset_add(&m->pkt, item_pkt(s, &s->item[i]));
  for(u32 i = 0; i < s->nitem; i++) // to the end of each packet's journey
    if(!s->item[i].frame && i > m->last && idset_has(&m->pkt, item_pkt(s, &s->item[i])) && s->item[i].w < m->to + ARP_BEFORE_NS)
      m->last = i;
}

static bool
our_sock(const struct member *m, u32 sock)
{
  return idset_has(&m->sock, sock) || idset_has(&m->listener, sock);
}

// The processes that use its sockets; interrupts and tail writes of its packets.
static void
learn_around(const struct session *s, struct member *m)
{
  u32 intr = NOREC;
  for(u32 i = 0; i <= m->last && i < s->nitem; i++) {
    const struct item *it = &s->item[i];
    if(it->frame)
      continue;
    const struct rec *r = &s->b->rec[it->idx];
    const struct nt_slot *slot = rec_slot(s->b, r);
    const struct event *e = rec_event(s->b, r);
    if(e == 0)
      continue;
    if((e->stage == ST_SYSCALL || !strcmp(e->name, "sock_read") || !strcmp(e->name, "sock_accept")) && our_sock(m, slot->sock))
      idset_add(&m->pid, slot->pid);
    if(!strcmp(e->name, "e1000_intr"))
      intr = i;
    if(!strcmp(e->name, "e1000_rx") && intr != NOREC && idset_has(&m->pkt, slot->pkt))
      idset_add(&m->intr, intr + 1);
    if(!strcmp(e->name, "e1000_rx"))
      intr = NOREC;
    if(!strcmp(e->name, "e1000_tx") && idset_has(&m->pkt, slot->pkt))
      idset_add(&m->kick, rec_kick(s, it->idx));
  }
}

// Does a record of the scheduler or of a system call concern its processes?
static bool
concerns(const struct session *s, const struct member *m, const struct rec *r, const struct event *e)
{
  const struct nt_slot *slot = rec_slot(s->b, r);
  if(!strcmp(e->name, "wakeup"))
    return idset_has(&m->pid, (u32)rec_get(s->b, r, "who"));
  if(!strcmp(e->name, "switch"))
    return idset_has(&m->pid, (u32)rec_get(s->b, r, "next"));
  if(!strcmp(e->name, "sleep"))
    return idset_has(&m->pid, slot->pid);
  return e->stage == ST_SYSCALL && our_sock(m, slot->sock);
}

static bool
belongs(const struct session *s, const struct member *m, u32 i, const struct flow *flow)
{
  const struct item *it = &s->item[i];
  struct flow f;
  if(it->frame) {
    const struct frame *fr = &s->cap.f[it->idx];
    return is_arp(fr) ? i >= m->first && i <= m->last : frame_is_tcp(fr) && flow_same(&fr->flow, flow);
  }
  const struct rec *r = &s->b->rec[it->idx];
  const struct event *e = rec_event(s->b, r);
  const struct nt_slot *slot = rec_slot(s->b, r);
  bool inside = i >= m->first && i <= m->last;
  if(r->slot == NOSLOT || r->nlost)
    return inside;
  if(e == 0 || e->stage == ST_META || e->stage == ST_MEM)
    return false;
  if(rec_flow(s->b, r, &f) && flow_same(&f, flow))
    return true;
  if(e->stage != ST_CPU && idset_has(&m->pkt, slot->pkt))
    return true;
  if(!inside)
    return false;
  if(e->stage == ST_CPU || e->stage == ST_SYSCALL)
    return concerns(s, m, r, e);
  bool others = rec_flow(s->b, r, &f) && f.raddr != 0; // a SYN to the same listener
  return (!others && idset_has(&m->sock, slot->sock)) || idset_has(&m->kick, it->idx) || idset_has(&m->intr, i + 1);
}

// The last sleep of each serving process before the connection began: what it waits in.
static void
show_sleeper(const struct session *s, const struct member *m, struct selection *sel)
{
  struct idset done = {0};
  for(u32 i = m->first; i-- > 0;) {
    const struct item *it = &s->item[i];
    const struct nt_slot *slot = it->frame ? 0 : rec_slot(s->b, &s->b->rec[it->idx]);
    if(slot == 0 || !idset_has(&m->pid, slot->pid) || idset_has(&done, slot->pid))
      continue;
    if(rec_is(s, it->idx, "sleep")) {
      sel->show[i] = 1;
      idset_add(&done, slot->pid);
    }
  }
  free(done.v);
}

static void
mark_rows(struct session *s, struct selection *sel)
{
  struct member m = {0};
  learn(s, &m, &sel->flow);
  memset(sel->show, 0, s->nitem);
  if(m.first == NOREC)
    return;
  learn_around(s, &m);
  for(u32 i = 0; i < s->nitem; i++)
    sel->show[i] = belongs(s, &m, i, &sel->flow);
  show_sleeper(s, &m, sel);
  sel->pids_known = true;
  for(u32 i = 0; i < m.pid.cap && sel->npid < 8; i++)
    if(m.pid.v[i])
      sel->pid[sel->npid++] = m.pid.v[i];
  struct idset *sets[] = {&m.pkt, &m.sock, &m.listener, &m.pid, &m.kick, &m.intr};
  for(u32 i = 0; i < 6; i++)
    free(sets[i]->v);
}

// Narrow the selection to --flow, or with pick to one connection: of those the events
// tell most of, the first that carried data, else the first.  Without a connection all
// rows stay.
int
flow_select(struct session *s, const struct opts *o, bool pick, struct selection *sel)
{
  struct tally *t = 0;
  if(o->flow) {
    struct flow f, back;
    if(!flow_parse(o->flow, &f))
      return seterr(EX_BADUSE, "--flow %s: needs A:p-B:p of a TCP connection, as in 10.0.2.15:80-10.0.2.2:40000", o->flow);
    back = (struct flow){f.raddr, f.laddr, f.rport, f.lport};
    t = list_flows(s, &sel->nflow);
    for(u32 i = 0; i < sel->nflow; i++)
      if(flow_same(&t[i].flow, &f) || flow_same(&t[i].flow, &back)) {
        sel->flow = t[i].flow;
        sel->have_flow = true;
      }
    if(!sel->have_flow) {
      free(t);
      return seterr(EX_BADUSE, "--flow %s: no such TCP connection in this run", o->flow);
    }
  } else if(pick) {
    u32 best = 0;
    t = list_flows(s, &sel->nflow);
    if(s->have_trace)
      grade_flows(s, t, sel->nflow);
    for(u32 i = 0; i < sel->nflow; i++) {
      u32 grade = 1 + 2 * t[i].traced + (t[i].bytes > 0);
      if(grade <= best)
        continue;
      best = grade;
      sel->flow = t[i].flow;
      sel->have_flow = true;
    }
  }
  free(t);
  if(sel->have_flow)
    mark_rows(s, sel);
  return 0;
}

// Is a record about a process: made in its system calls, or by the scheduler of it?
static bool
of_process(const struct session *s, u32 rec, u32 pid)
{
  const struct rec *r = &s->b->rec[rec];
  const struct nt_slot *slot = rec_slot(s->b, r);
  const struct event *e = rec_event(s->b, r);
  if(slot == 0)
    return true; // a loss may have been of it
  if(e && !strcmp(e->name, "wakeup"))
    return (u32)rec_get(s->b, r, "who") == pid;
  if(e && !strcmp(e->name, "switch") && (u32)rec_get(s->b, r, "next") == pid)
    return true;
  return slot->pid == pid && slot->cpu_ctx >> 4 == 0; // not an interrupt that came while it ran
}

// --pid: rows of process P, and those of the packets it touched.
int
pid_select(struct session *s, u32 pid, struct selection *sel)
{
  struct idset pkt = {0};
  bool found = false;
  for(u32 i = 0; i < s->nitem; i++) {
    const struct nt_slot *slot = s->item[i].frame ? 0 : rec_slot(s->b, &s->b->rec[s->item[i].idx]);
    if(slot == 0 || !of_process(s, s->item[i].idx, pid))
      continue;
    found = true;
    idset_add(&pkt, slot->pkt);
  }
  for(u32 i = 0; i < s->nitem; i++) {
    const struct item *it = &s->item[i];
    sel->show[i] &= idset_has(&pkt, item_pkt(s, it)) || (!it->frame && of_process(s, it->idx, pid));
  }
  free(pkt.v);
  sel->pids_known = true;
  sel->pid[0] = pid;
  sel->npid = 1;
  return found ? 0 : seterr(EX_BADUSE, "--pid %u: no such process in this trace", pid);
}
