// What a row says: one short label per frame and per record.
//
// Events are recognised by name; one that is not known here is shown by its
// fields, so a new event needs no change.  Sequence numbers are relative to the
// SYN once one was seen.
#include <stdlib.h>
#include <string.h>
#include "tool.h"

static struct isn *
find_isn(struct labels *t, const struct flow *f, bool make)
{
  for(u32 i = t->nisn; i-- > 0;)
    if(flow_same(&t->isn[i].flow, f))
      return &t->isn[i];
  if(!make)
    return 0;
  t->isn = xgrow(t->isn, t->nisn, &t->isncap, sizeof *t->isn);
  t->isn[t->nisn] = (struct isn){.flow = *f};
  return &t->isn[t->nisn++];
}

static void
note_syn(struct labels *t, const struct flow *f, bool in, u32 seq, u32 flags)
{
  if(!(flags & TH_SYN))
    return;
  struct isn *n = find_isn(t, f, true);
  if(!(flags & TH_ACK)) // a new connection, perhaps on old ports
    *n = (struct isn){.flow = *f};
  if(in) {
    n->risn = seq;
    n->rknown = true;
  } else {
    n->lisn = seq;
    n->lknown = true;
  }
}

// Look at a row, shown or not, for what later labels need.
void
label_learn(struct labels *t, const struct session *s, const struct item *it)
{
  if(it->frame) {
    const struct frame *f = &s->cap.f[it->idx];
    if(frame_is_tcp(f))
      note_syn(t, &f->flow, f->in, f->seq, f->flags);
    return;
  }
  const struct rec *r = &s->b->rec[it->idx];
  const struct event *e = rec_event(s->b, r);
  struct flow f;
  if(e == 0)
    return;
  if(e->stage == ST_STACK && !strncmp(e->name, "tcp_seg_", 8) && rec_flow(s->b, r, &f))
    note_syn(t, &f, !strcmp(e->name, "tcp_seg_in"), (u32)rec_get(s->b, r, "seq"), (u32)rec_get(s->b, r, "flags"));
  if(!strcmp(e->name, "sys_enter"))
    t->lastcall[rec_slot(s->b, r)->pid] = (u16)(rec_get(s->b, r, "nr") + 1);
  if(!strcmp(e->name, "sys_exit"))
    t->lastcall[rec_slot(s->b, r)->pid] = 0;
}

// SYN seq 0; SYN,ACK 0 ack 1; relative, or with "abs" when no SYN was seen.
static void
tcp_text(char *to, size_t max, struct labels *t, const struct flow *f, bool in, u32 flags, u32 seq, u32 ack)
{
  struct isn *n = find_isn(t, f, false);
  bool skn = n && (in ? n->rknown : n->lknown), akn = n && (in ? n->lknown : n->rknown);
  u32 s = seq - (skn ? in ? n->risn : n->lisn : 0), a = ack - (akn ? in ? n->lisn : n->risn : 0);
  const char *abs = skn && (akn || !(flags & TH_ACK)) ? "" : " abs";
  const char *names = flags ? flags_str(flags) : "no flags";
  if(flags & TH_ACK)
    snprintf(to, max, "%s %u ack %u%s", names, s, a, abs);
  else
    snprintf(to, max, "%s seq %u%s", names, s, abs);
}

static void
icmp_text(char *to, size_t max, u32 type)
{
  if(type == 8 || type == 0)
    snprintf(to, max, "echo %s", type ? "request" : "reply");
  else
    snprintf(to, max, "ICMP type %u", type);
}

// What stands on a frame's arrow.
void
label_frame(char *to, size_t max, const struct frame *f, struct labels *t)
{
  if(f->type == 0x0806 && f->op == 1)
    snprintf(to, max, "who has %s?", ip_str(f->in ? f->flow.laddr : f->flow.raddr));
  else if(f->type == 0x0806)
    snprintf(to, max, "%s is here", ip_str(f->in ? f->flow.raddr : f->flow.laddr));
  else if(f->type != 0x0800)
    snprintf(to, max, "type 0x%04x", f->type);
  else if(f->piece)
    snprintf(to, max, "piece %u+%u of %s %u", f->frag, f->fraglen, f->proto == 17 ? "UDP" : f->proto == 6 ? "TCP"
                                                                                          : f->proto == 1 ? "ICMP"
                                                                                                          : "IP",
             f->ipid);
  else if(f->proto == 6)
    tcp_text(to, max, t, &f->flow, f->in, f->flags, f->seq, f->ack);
  else if(f->proto == 1)
    icmp_text(to, max, f->icmp);
  else if(f->proto == 17 && (f->flow.lport == 68 || f->flow.rport == 68))
    snprintf(to, max, "DHCP %s", f->in ? "answer" : "request");
  else if(f->proto == 17)
    snprintf(to, max, "UDP %u > %u", f->in ? f->flow.rport : f->flow.lport, f->in ? f->flow.lport : f->flow.rport);
  else
    snprintf(to, max, "IP protocol %u", f->proto);
}

// What a frame carries: its length, and its first line if that is text.
void
label_payload(char *to, size_t max, const struct frame *f)
{
  *to = 0;
  if(f->paylen == 0 || f->off > f->caplen || f->paylen > f->caplen - f->off)
    return;
  const u8 *p = f->data + f->off;
  u32 n = 0;
  while(n < f->paylen && n < 60 && p[n] >= 0x20 && p[n] < 0x7f)
    n++;
  int k = snprintf(to, max, "%u bytes", f->paylen);
  if(frame_is_tcp(f) && n >= 4 && k > 0 && (size_t)k + 4 < max) {
    char line[256];
    esc_text(line, sizeof line, p, n);
    snprintf(to + k, max - (size_t)k, " \"%s%s\"", line, n < f->paylen && n == 60 ? ".." : "");
  }
}

// SYN_RECEIVED is what the metadata can spell, SYN-RECEIVED what RFC 9293 says.
void
state_str(char *to, size_t max, const char *name)
{
  size_t i = 0;
  for(; name && name[i] && i + 1 < max; i++)
    to[i] = name[i] == '_' ? '-' : name[i];
  to[i] = 0;
}

static void
syscall_text(char *to, size_t max, const struct session *s, const struct rec *r, bool enter)
{
  const char *name = rec_named(s->b, r, "nr");
  char num[16];
  snprintf(num, sizeof num, "call %llu", rec_get(s->b, r, "nr"));
  name = name ? name : num;
  i64 fd = (i64)rec_get(s->b, r, "fd");
  if(!enter)
    snprintf(to, max, "%s() = %lld", name, (i64)rec_get(s->b, r, "ret"));
  else if(fd >= 0)
    snprintf(to, max, "%s(%lld)", name, fd);
  else
    snprintf(to, max, "%s()", name);
}

// In which system call does it sleep?
static void
sleep_text(char *to, size_t max, const struct session *s, const struct rec *r, const struct labels *t)
{
  const struct field *f = event_field(meta_event(&s->b->meta, "sys_enter"), "nr");
  u16 call = t->lastcall[rec_slot(s->b, r)->pid];
  const char *name = call && f ? set_name(f->set, call - 1u) : 0;
  const char *why = rec_named(s->b, r, "why");
  if(why && !strcmp(why, "LOCK"))
    snprintf(to, max, "waits: %s", symbol_str((u32)rec_get(s->b, r, "chan")));
  else if(name)
    snprintf(to, max, "%s() sleeps", name);
  else
    snprintf(to, max, "pid %u sleeps%s%s", rec_slot(s->b, r)->pid, why ? ": " : "", why ? why : "");
}

// Labels made of a record's own fields.  An event that has none here shows them all.
static const struct {
  const char *event, *text;
} brief[] = {
  {"arp_queue", "waits for {ip}'s MAC"},
  {"arp_state", "{ip} is {to}"},
  {"clock_sync", "clocks read in {win} ticks"},
  {"dhcp", "DHCP {msg}: {to}"},
  {"dns", "DNS {qr} {name} {addr}"},
  {"icmp_in", "in ICMP {type}"},
  {"icmp_out", "out ICMP {type}"},
  {"ip_frag", "fragment {off}+{len}"},
  {"ip_reass", "piece {off}+{len}"},
  {"mem_stat", "memory: {pbuf} buffers, {seg} segments, {pcb} connections"},
  {"netd_run", "netd: {rx} in, {txdone} sent"},
  {"tcp_cc", "{phase}: cwnd {cwnd}"},
  {"tcp_dupack", "duplicate ACK {n}"},
  {"tcp_life", "gone by {end}: {rx_b} in, {tx_b} out"},
  {"tcp_ooseq", "out of order +{len}"},
  {"tcp_open", "new connection, {dir}"},
  {"tcp_rexmit", "{kind} sends again +{len}"},
  {"timer_fire", "timer: {handler}"},
  {"udp_in", "in UDP +{len}"},
  {"udp_out", "out UDP +{len}"},
};

// Expand a text of brief[] for a record with this payload.
static void
brief_text(char *to, size_t max, const char *text, const struct event *e, const u8 *p, u32 len)
{
  size_t k = 0;
  while(*text && k + 1 < max) {
    char name[32] = "", val[800] = "?";
    if(*text != '{') {
      to[k++] = *text++;
      continue;
    }
    size_t n = strcspn(text, "}");
    snprintf(name, sizeof name, "%.*s", (int)n - 1, text + 1);
    const struct field *f = event_field(e, name);
    if(f)
      field_str(val, sizeof val, f, p, len);
    int put = snprintf(to + k, max - k, "%s", val);
    k = k + (size_t)put < max ? k + (size_t)put : max - 1;
    text += n + 1;
  }
  to[k] = 0;
}

static void
any_text(char *to, size_t max, const struct session *s, const struct rec *r, const struct event *e)
{
  u8 buf[192];
  u32 len;
  const u8 *p = rec_payload(s->b, r, buf, &len);
  for(size_t i = 0; i < sizeof brief / sizeof *brief; i++)
    if(!strcmp(brief[i].event, e->name)) {
      brief_text(to, max, brief[i].text, e, p, len);
      return;
    }
  size_t k = (size_t)snprintf(to, max, "%s", e->name);
  for(u32 i = 0; i < e->nfield && k + 3 < max; i++) {
    char val[800];
    field_str(val, sizeof val, &e->f[i], p, len);
    k += (size_t)snprintf(to + k, max - k, " %s=%s", e->f[i].name, val);
  }
}

static void
driver_text(char *to, size_t max, const struct session *s, const struct rec *r, const char *name)
{
  u8 buf[192];
  u32 len;
  char val[200] = "";
  const struct field *f = event_field(rec_event(s->b, r), "icr");
  if(!strcmp(name, "e1000_intr") && f)
    field_str(val, sizeof val, f, rec_payload(s->b, r, buf, &len), 40);
  if(!strcmp(name, "e1000_intr"))
    snprintf(to, max, "irq %s", val);
  else if(!strcmp(name, "e1000_rx"))
    snprintf(to, max, "rx slot %llu", rec_get(s->b, r, "slot"));
  else if(!strcmp(name, "e1000_tx"))
    snprintf(to, max, "tx slot %llu%s", rec_get(s->b, r, "slot"), rec_get(s->b, r, "xmit") > 1 ? " again" : "");
  else if(!strcmp(name, "e1000_txkick"))
    snprintf(to, max, "TDT = %llu", rec_get(s->b, r, "tdt"));
  else if(!strcmp(name, "e1000_txdone"))
    snprintf(to, max, "sent slot %llu", rec_get(s->b, r, "slot"));
  else
    any_text(to, max, s, r, rec_event(s->b, r));
}

static void
stack_text(char *to, size_t max, const struct session *s, const struct rec *r, const char *name, struct labels *t)
{
  struct flow f;
  char a[32], b[32];
  const char *proto = rec_named(s->b, r, "proto"), *type = rec_named(s->b, r, "type"), *op = rec_named(s->b, r, "op");
  if(!strncmp(name, "tcp_seg_", 8) && rec_flow(s->b, r, &f)) {
    bool in = !strcmp(name, "tcp_seg_in");
    u32 n = (u32)rec_get(s->b, r, "len");
    snprintf(to, max, "%s %s", in ? "in" : rec_get(s->b, r, "xmit") > 1 ? "again"
                                                                        : "out",
             flags_str((u32)rec_get(s->b, r, "flags")));
    size_t k = strlen(to);
    if(n && k < max)
      snprintf(to + k, max - k, " +%u", n);
  } else if(!strcmp(name, "tcp_state")) {
    state_str(a, sizeof a, rec_named(s->b, r, "from"));
    state_str(b, sizeof b, rec_named(s->b, r, "to"));
    snprintf(to, max, "%s → %s", a, b);
  } else if(!strcmp(name, "tcp_timer")) {
    const char *which = rec_named(s->b, r, "which"), *what = rec_named(s->b, r, "op");
    u32 ms = (u32)rec_get(s->b, r, "ms");
    snprintf(to, max, "%s timer %s", which ? which : "?", what ? what : "?");
    size_t k = strlen(to);
    if(ms && k < max)
      snprintf(to + k, max - k, ", %u ms", ms);
  } else if(!strcmp(name, "tcp_rtt"))
    snprintf(to, max, "rtt %s ms", us_str((i64)rec_get(s->b, r, "sample_us")));
  else if(!strcmp(name, "ip_in") || !strcmp(name, "ip_out"))
    snprintf(to, max, "%s %s", name, proto ? proto : "?");
  else if(!strcmp(name, "ethif_rx") || !strcmp(name, "ethif_tx"))
    snprintf(to, max, "%s %s", name + 6, type ? type : "frame");
  else if(!strcmp(name, "arp_in") || !strcmp(name, "arp_out"))
    snprintf(to, max, "%s %s", name, op ? op : "");
  else
    any_text(to, max, s, r, rec_event(s->b, r));
  (void)t;
}

static void
process_text(char *to, size_t max, const struct session *s, const struct rec *r, const char *name, struct labels *t)
{
  u8 buf[192];
  u32 len;
  char val[80] = "";
  const struct field *f = event_field(rec_event(s->b, r), "name");
  if(!strcmp(name, "sys_enter") || !strcmp(name, "sys_exit"))
    syscall_text(to, max, s, r, !strcmp(name, "sys_enter"));
  else if(!strcmp(name, "sleep"))
    sleep_text(to, max, s, r, t);
  else if(!strcmp(name, "wakeup"))
    snprintf(to, max, "wakeup pid %llu", rec_get(s->b, r, "who"));
  else if(!strcmp(name, "switch") && f) {
    field_str(val, sizeof val, f, rec_payload(s->b, r, buf, &len), 40);
    snprintf(to, max, "runs %s", val);
  } else if(!strcmp(name, "sock_rx"))
    snprintf(to, max, "queue +%llu", rec_get(s->b, r, "n"));
  else if(!strcmp(name, "sock_tx"))
    snprintf(to, max, "send %llu", rec_get(s->b, r, "n"));
  else if(!strcmp(name, "sock_read"))
    snprintf(to, max, "read %llu", rec_get(s->b, r, "n"));
  else if(!strcmp(name, "sock_accept"))
    snprintf(to, max, "accepted: sock %u", rec_slot(s->b, r)->sock);
  else if(!strcmp(name, "sock_state") && rec_named(s->b, r, "to"))
    snprintf(to, max, "%s", rec_named(s->b, r, "to"));
  else
    any_text(to, max, s, r, rec_event(s->b, r));
}

// What a packet is to the one it is linked with, and what that one is to it: a phrase
// with {} for the other's number.  kind: as the metadata names it; one not known here
// reads "KIND of {}".
const char *
link_phrase(const char *kind, bool from_parent)
{
  static const char *const phrase[][3] = {
    {"SEGMENT", "carries bytes of {}", "{} carries bytes of it"},
    {"FRAG", "a fragment of {}", "{} is a fragment of it"},
    {"REASM", "put together from {} and others", "{} was put together from it and others"},
    {"MERGE", "its bytes went into {}", "bytes of {} went into it"},
    {"CLONE", "a copy of {}", "{} is a copy of it"},
    {"REPLY", "an answer to {}", "{} is an answer to it"},
    {"ACKED_BY", "acknowledged by {}", "acknowledges {}"},
  };
  static char other[64];
  for(u32 i = 0; kind && i < sizeof phrase / sizeof phrase[0]; i++)
    if(strcmp(kind, phrase[i][0]) == 0)
      return phrase[i][1 + from_parent];
  snprintf(other, sizeof other, from_parent ? "{} is %.40s of it" : "%.40s of {}", kind ? kind : "linked");
  return other;
}

// The phrase with the number in it.
void
link_words(char *to, size_t max, const char *kind, bool from_parent, u32 pkt)
{
  const char *p = link_phrase(kind, from_parent), *at = strstr(p, "{}");
  snprintf(to, max, "%.*s#%u%s", (int)(at - p), p, pkt, at + 2);
}

// The label of a record; a gap or an unknown event too.
void
label_rec(char *to, size_t max, const struct session *s, const struct rec *r, struct labels *t)
{
  const struct event *e = rec_event(s->b, r);
  if(r->nlost)
    snprintf(to, max, "%u events lost on cpu %u", r->nlost, r->cpu);
  else if(e == 0)
    snprintf(to, max, "event %u", rec_slot(s->b, r)->id);
  else if(!strcmp(e->name, "net_drop")) {
    const struct field *f = event_field(e, "reason");
    const char *reason = rec_named(s->b, r, "reason"), *doc = "";
    for(u32 i = 0; f && f->set && i < f->set->n; i++)
      if(f->set->v[i].val == field_num(f, rec_slot(s->b, r)->p))
        doc = f->set->v[i].doc;
    snprintf(to, max, "%s: %s", reason ? reason : "dropped", doc);
  } else if(!strcmp(e->name, "pkt_link"))
    link_words(to, max, rec_named(s->b, r, "kind"), false, (u32)rec_get(s->b, r, "parent"));
  else if(!strcmp(e->name, "pkt_end"))
    snprintf(to, max, "end: %s", rec_named(s->b, r, "fate") ? rec_named(s->b, r, "fate") : "?");
  else if(e->stage == ST_DRIVER)
    driver_text(to, max, s, r, e->name);
  else if(e->stage == ST_NETIF || e->stage == ST_STACK)
    stack_text(to, max, s, r, e->name, t);
  else
    process_text(to, max, s, r, e->name, t);
}

// The lane a record is drawn on: its stage; a drop where it says it happened.
enum lane
rec_lane(const struct session *s, const struct rec *r)
{
  static const u8 lane[] = {[ST_WIRE] = L_WIRE, [ST_DRIVER] = L_DRIVER, [ST_NETIF] = L_NETIF, [ST_STACK] = L_STACK, [ST_SOCKET] = L_SOCKET, [ST_SYSCALL] = L_PROCESS, [ST_CPU] = L_PROCESS, [ST_META] = L_DRIVER, [ST_MEM] = L_STACK, [ST_OTHER] = L_DRIVER};
  const struct event *e = rec_event(s->b, r);
  if(e == 0)
    return L_DRIVER;
  if(!strcmp(e->name, "wakeup") && (rec_slot(s->b, r)->pkt || rec_slot(s->b, r)->sock))
    return L_SOCKET;
  if(!strcmp(e->name, "net_drop")) {
    const char *at = rec_named(s->b, r, "stage");
    for(u32 i = 0; at && i <= ST_CPU; i++)
      if(!strcmp(at, stage_name[i]))
        return lane[i];
  }
  return lane[e->stage];
}
