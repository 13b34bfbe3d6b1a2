// graph N: the kernel's functions that a packet went through, nested.
//
// From func and func_exit, which the guest's function tracer emits; both carry
// the depth within their thread.  A call whose return was not seen is bounded
// by what its thread called next on that level or further out: marked ?.
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define NTHREAD (65536 + 16) // pids, then the CPUs' idle loops

struct call {
  u64 ts;
  i64 took; // ns, or -1: nothing bounds it
  u32 fn;   // its address
  u32 thread;
  u16 indent; // calls of its thread that it is within
  u8 ctx;
  bool returned; // took is exact
};
// A call that its thread has not been seen to leave.
struct open {
  u32 fn, call; // call: index among those shown, or NOREC
  u16 depth;
};
struct thread {
  struct open *v;
  u32 n, cap;
};
struct graph {
  const struct session *s;
  struct thread *thread;
  struct call *call;
  u32 ncall, cap;
};

static u32
thread_of(const struct nt_slot *s)
{
  return s->pid ? s->pid : 65536 + (s->cpu_ctx & 15u);
}

// Leave a thread's calls of this depth and deeper: seen at ts, not by a return.
static void
leave(struct graph *g, struct thread *t, u32 depth, u64 ts)
{
  for(; t->n && t->v[t->n - 1].depth >= depth; t->n--) {
    u32 i = t->v[t->n - 1].call;
    if(i != NOREC)
      g->call[i].took = align_mid(&g->s->al, ts) - align_mid(&g->s->al, g->call[i].ts);
  }
}

static void
enter(struct graph *g, const struct rec *r, bool shown)
{
  const struct nt_slot *slot = rec_slot(g->s->b, r);
  u32 fn = (u32)rec_get(g->s->b, r, "fn"), depth = (u32)rec_get(g->s->b, r, "depth");
  struct thread *t = &g->thread[thread_of(slot)];
  if(depth)
    leave(g, t, depth, r->ts);
  if(shown) {
    g->call = xgrow(g->call, g->ncall, &g->cap, sizeof *g->call);
    g->call[g->ncall++] = (struct call){r->ts, -1, fn, thread_of(slot), (u16)(depth ? depth - 1 : t->n), slot->cpu_ctx >> 4, false};
  }
  if(depth == 0) // too deep for the tracer: there will be no func_exit
    return;
  t->v = xgrow(t->v, t->n, &t->cap, sizeof *t->v);
  t->v[t->n++] = (struct open){fn, shown ? g->ncall - 1 : NOREC, (u16)depth};
}

static void
returned(struct graph *g, const struct rec *r)
{
  u32 fn = (u32)rec_get(g->s->b, r, "fn"), depth = (u32)rec_get(g->s->b, r, "depth");
  u64 ticks = rec_get(g->s->b, r, "dur_tsc");
  struct thread *t = &g->thread[thread_of(rec_slot(g->s->b, r))];
  leave(g, t, depth + 1, r->ts);
  if(t->n == 0 || t->v[t->n - 1].depth != depth)
    return; // its entry was before the trace
  u32 i = t->v[t->n - 1].call;
  if(t->v[t->n - 1].fn != fn)
    leave(g, t, depth, r->ts);
  else if(t->n--, i != NOREC) {
    g->call[i].took = align_mid(&g->s->al, r->ts) - align_mid(&g->s->al, r->ts - ticks);
    g->call[i].returned = true;
  }
}

static void
print_thread(const struct call *c, FILE *f)
{
  if(c->thread >= 65536)
    fprintf(f, "%24s in the idle loop of cpu %u:\n", "", c->thread - 65536);
  else
    fprintf(f, "%24s in %s %u:\n", "", c->ctx == 2 ? "netd, process" : "process", c->thread);
}

static void
print_calls(const struct graph *g, FILE *f)
{
  fprintf(f, "%10s %10s    function\n", "time us", "took us");
  for(u32 i = 0; i < g->ncall; i++) {
    const struct call *c = &g->call[i];
    if(i == 0 || c->thread != c[-1].thread)
      print_thread(c, f);
    fprintf(f, "%10s %10s %s %*s%s\n", us_str(align_mid(&g->s->al, c->ts) - align_mid(&g->s->al, g->call[0].ts)),
            c->took < 0 ? "?" : us_str(c->took), c->returned || c->took < 0 ? " " : "?", 2 * (c->indent < 40 ? c->indent : 40), "",
            symbol_str(c->fn));
  }
}

static void
json_calls(const struct graph *g, u32 pkt, FILE *f)
{
  fputs("{\"calls\":[", f);
  for(u32 i = 0; i < g->ncall; i++) {
    const struct call *c = &g->call[i];
    const char *name = symbol_str(c->fn);
    fprintf(f, "%s{\"addr\":%u,\"depth\":%u,\"fn\":", i ? "," : "", c->fn, c->indent);
    put_json(f, name, strlen(name));
    if(c->thread >= 65536)
      fprintf(f, ",\"idle_cpu\":%u", c->thread - 65536);
    else
      fprintf(f, ",\"pid\":%u", c->thread);
    fprintf(f, ",\"returned\":%s,\"t_ns\":%lld", c->returned ? "true" : "false", align_mid(&g->s->al, c->ts));
    if(c->took >= 0)
      fprintf(f, ",\"took_ns\":%lld", c->took);
    fputs("}", f);
  }
  fprintf(f, "],\"pkt\":%u,\"schema\":\"nettrace-graph/1\"}\n", pkt);
}

// Is this a packet's name, and not a file's?
static bool
names_packet(const char *arg)
{
  const char *p = arg + (*arg == '#' || *arg == '+');
  return *p && strspn(p, "0123456789") == strlen(p) && file_kind(arg) == F_NONE;
}

// Walk all rows; show those of packet pkt (0: all) that the selection leaves.
static void
collect(struct graph *g, const struct selection *sel, u32 pkt)
{
  const struct session *s = g->s;
  for(u32 i = 0; i < s->nitem; i++) {
    const struct item *it = &s->item[i];
    if(it->frame)
      continue;
    const struct rec *r = &s->b->rec[it->idx];
    if(rec_is(s, it->idx, "func"))
      enter(g, r, sel->show[i] && (pkt == 0 || rec_slot(s->b, r)->pkt == pkt));
    else if(rec_is(s, it->idx, "func_exit"))
      returned(g, r);
  }
}

static int
nothing(const struct session *s, u32 pkt)
{
  if(meta_event(&s->b->meta, "func") == 0)
    return seterr(EX_FOUND, "this kernel has no event func: it was built without the function tracer");
  bool there = pkt == 0;
  for(u32 i = 0; i < s->b->nrec && !there; i++) {
    const struct nt_slot *slot = rec_slot(s->b, &s->b->rec[i]);
    there = slot && slot->pkt == pkt;
  }
  if(!there)
    return seterr(EX_FOUND, "no packet #%u in this run", pkt);
  return seterr(EX_FOUND, "no function was recorded for %s: in the guest, nettrace enable 'func*'; nettrace func '*'; send it again; nettrace func off",
                pkt ? xasprintf("packet #%u", pkt) : "this selection");
}

int
cmd_graph(struct opts *o)
{
  static struct graph g;
  struct session s;
  struct selection sel;
  struct out out;
  u32 pkt = 0;
  int named = o->argc > 0 && names_packet(o->argv[0]);
  int rc = session_open(&s, o->argc - named, o->argv + named);
  if(rc < 0)
    return rc;
  timeline_build(&s);
  if((named && (rc = packet_named(&s, o, o->argv[0], &pkt)) < 0) || (rc = timeline_select(&s, o, false, &sel)) < 0)
    return rc;
  g = (struct graph){.s = &s, .thread = xmalloc(NTHREAD * sizeof *g.thread)};
  collect(&g, &sel, pkt);
  if(g.ncall == 0)
    return nothing(&s, pkt);
  if((rc = out_open(&out, o->out)) < 0)
    return rc;
  if(o->json)
    json_calls(&g, pkt, out.f);
  else {
    if(pkt)
      fprintf(out.f, "packet #%u\n", pkt);
    print_calls(&g, out.f);
  }
  rc = out_close(&out, true);
  if(!o->quiet)
    session_summary(&s, stderr);
  return rc;
}
