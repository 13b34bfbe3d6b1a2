// The control line `only`: the records of one packet, socket, process or connection.
//
// Made by control.c with trace_ctl held, judged by a reader under its lock, record
// by record in the order of time: so it can learn from one what to do with the next.
#include "uapi/types.h"
#include "uapi/nettrace.h"
#include "defs.h"
#include "trace/filter.h"
#include "trace/trace.h"

static const char only_form[] = "only: want pkt N, sock N, pid N, flow A:p-B:p or off";

// A:p, a value of 1 each at least.
static int
scan_end(const char **s, u32 *addr, u32 *port)
{
  long long a, p;
  if(!scan_number(s, &a) || a <= 0 || a > 0xffffffffll || *(*s)++ != ':')
    return 0;
  if(!scan_number(s, &p) || p <= 0 || p > 0xffff)
    return 0;
  *addr = (u32)a;
  *port = (u32)p;
  return 1;
}

// Make o from what stands behind `only`.  0, or why it was refused.
const char *
only_make(struct only *o, char *text)
{
  static const struct {
    const char *word;
    u8 what;
    u32 max;
  } kinds[] = {{"pkt ", ONLY_PKT, ~0u}, {"sock ", ONLY_SOCK, 0xffff}, {"pid ", ONLY_PID, 0xffff}};
  const char *s = text;
  long long n;
  *o = (struct only){0};
  if(strcmp(text, "off") == 0)
    return 0;
  if(strncmp(s, "flow ", 5) == 0) {
    s += 5;
    o->what = ONLY_FLOW;
    int good = scan_end(&s, &o->addr[0], &o->port[0]) && *s++ == '-' && scan_end(&s, &o->addr[1], &o->port[1]);
    return good && *s == 0 ? 0 : only_form;
  }
  for(u32 i = 0; i < NELEM(kinds); i++) {
    if(strncmp(s, kinds[i].word, strlen(kinds[i].word)) != 0)
      continue;
    s += strlen(kinds[i].word);
    if(!scan_number(&s, &n) || *s || n <= 0 || n > kinds[i].max)
      return only_form;
    o->what = kinds[i].what;
    o->n = o->what == ONLY_PKT ? 1 : (u32)n;
    o->pkt[0] = (u32)n;
    return 0;
  }
  return only_form;
}

static int
only_has(const struct only *o, u32 pkt)
{
  u32 i = 0;
  while(i < o->n && o->pkt[i] != pkt)
    i++;
  return i < o->n;
}

// Has the record these two ends, in either order?
static int
only_ends(const struct only *o, const struct nt_slot *rec, const char *const *name)
{
  long long v[4];
  for(int i = 0; i < 4; i++)
    v[i] = filter_value(rec, name[i]);
  for(int i = 0; i < 2; i++)
    if(v[0] == o->addr[i] && v[1] == o->port[i] && v[2] == o->addr[!i] && v[3] == o->port[!i])
      return 1;
  return 0;
}

static int
only_flow(struct only *o, const struct nt_slot *rec)
{
  static const char *const tcp[] = {"laddr", "lport", "raddr", "rport"}, *const drop[] = {"src", "sport", "dst", "dport"};
  if(only_ends(o, rec, tcp) || only_ends(o, rec, drop)) {
    if(rec->sock)
      o->sock = rec->sock;
    return 1;
  }
  return rec->sock && rec->sock == o->sock && filter_value(rec, "laddr") < 0;
}

// Is the record one of the thing asked for?  What describes the trace itself always
// passes; not, where a packet is asked for, what it says of other packets.  A packet is
// followed to those that come from it.
int
only_pass(struct only *o, const struct nt_slot *rec)
{
  if(o->what == ONLY_ALL || rec->id >= NTRACE)
    return 1;
  if(o->what == ONLY_PKT && rec->id == TR_pkt_link) {
    const struct tr_pkt_link *link = (const void *)&rec->pkt;
    if(only_has(o, link->parent) && !only_has(o, link->pkt) && o->n < NONLY)
      o->pkt[o->n++] = link->pkt;
  }
  if(trace_stage(rec->id) == STAGE_META && (o->what != ONLY_PKT || rec->pkt == 0))
    return 1;
  switch(o->what) {
  case ONLY_PKT:
    return rec->pkt && only_has(o, rec->pkt);
  case ONLY_SOCK:
    return rec->sock == o->pkt[0];
  case ONLY_PID:
    return rec->pid == o->pkt[0];
  }
  return only_flow(o, rec);
}
