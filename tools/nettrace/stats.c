// stats: how long packets spend between two stages, drops, connections.
//
// The rows of each packet in timeline order; a gap belongs to the pair of stages
// at its two ends.  Percentiles are by nearest rank, so each is a gap that was
// seen.  All in integers: nanoseconds.
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define NSTAGE (ST_OTHER + 1)

// Gaps of one pair of stages.
struct gaps {
  i64 *v;
  u32 n, cap;
};
enum seg {
  SEG_IN,
  SEG_OUT,
  SEG_AGAIN,
  NSEG
};
struct segrow {
  struct flow flow;
  enum seg kind;
};
struct stats {
  const struct session *s;
  struct gaps gap[NSTAGE][NSTAGE];
  struct prow *row;
  struct segrow *seg;
  u32 nrow, nseg, segcap, npkt;
  struct flow of[65536]; // by socket: the connection whose segments it sent last
  u32 drop[256];         // by reason
  const char *dropname[256];
};

static int
seg_cmp(const void *a, const void *b)
{
  return memcmp(&((const struct segrow *)a)->flow, &((const struct segrow *)b)->flow, sizeof(struct flow));
}

static int
i64_cmp(const void *a, const void *b)
{
  i64 x = *(const i64 *)a, y = *(const i64 *)b;
  return x < y ? -1 : x > y;
}

static void
note_record(struct stats *t, u32 i)
{
  const struct rec *r = &t->s->b->rec[i];
  struct segrow g = {0};
  if(rec_is(t->s, i, "net_drop")) {
    u8 why = (u8)rec_get(t->s->b, r, "reason");
    t->drop[why]++;
    t->dropname[why] = rec_named(t->s->b, r, "reason");
  }
  if(rec_is(t->s, i, "tcp_rexmit")) { // which names its socket alone
    g.kind = SEG_AGAIN;
    g.flow = t->of[rec_slot(t->s->b, r)->sock];
  } else if(!rec_flow(t->s->b, r, &g.flow))
    return;
  else if(rec_is(t->s, i, "tcp_seg_in"))
    g.kind = SEG_IN;
  else if(rec_is(t->s, i, "tcp_seg_out"))
    g.kind = SEG_OUT;
  else
    return;
  t->seg = xgrow(t->seg, t->nseg, &t->segcap, sizeof *t->seg);
  t->seg[t->nseg++] = g;
}

// File each gap between shown rows of a packet, and what records tell.
static void
collect(struct stats *t, const u8 *show)
{
  const struct session *s = t->s;
  for(u32 i = 0; i < s->nitem; i++) {
    const struct item *it = &s->item[i];
    struct flow f;
    if(!it->frame && rec_is(s, it->idx, "tcp_seg_out") && rec_flow(s->b, &s->b->rec[it->idx], &f))
      t->of[rec_slot(s->b, &s->b->rec[it->idx])->sock] = f;
    if(show[i] && !it->frame)
      note_record(t, it->idx);
  }
  t->row = rows_by_packet(s, show, &t->nrow);
  for(u32 i = 0; i < t->nrow; i++) {
    if(i == 0 || t->row[i].pkt != t->row[i - 1].pkt) {
      t->npkt++;
      continue;
    }
    const struct item *a = &s->item[t->row[i - 1].item], *b = &s->item[t->row[i].item];
    struct gaps *g = &t->gap[item_stage(s, a)][item_stage(s, b)];
    g->v = xgrow(g->v, g->n, &g->cap, sizeof *g->v);
    g->v[g->n++] = b->w - a->w;
  }
  for(u32 k = 0; k < NSTAGE * NSTAGE; k++)
    if(t->gap[k / NSTAGE][k % NSTAGE].n)
      qsort(t->gap[k / NSTAGE][k % NSTAGE].v, t->gap[k / NSTAGE][k % NSTAGE].n, sizeof(i64), i64_cmp);
  if(t->nseg)
    qsort(t->seg, t->nseg, sizeof *t->seg, seg_cmp);
}

// The smallest gap that at least p of 100 do not exceed.
static i64
rank(const struct gaps *g, u32 p)
{
  return g->v[((u64)g->n * p + 99) / 100 - 1];
}

static void
print_gaps(const struct stats *t, FILE *f, bool json)
{
  const char *sep = "";
  bool wire = false;
  if(!json)
    fprintf(f, "%-8s %-8s %8s %10s %10s %10s %10s\n", "from", "to", "gaps", "min us", "p50 us", "p99 us", "max us");
  for(u32 k = 0; k < NSTAGE * NSTAGE; k++) {
    const struct gaps *g = &t->gap[k / NSTAGE][k % NSTAGE];
    const char *from = k / NSTAGE < ST_OTHER ? stage_name[k / NSTAGE] : "OTHER", *to = k % NSTAGE < ST_OTHER ? stage_name[k % NSTAGE] : "OTHER";
    if(g->n == 0)
      continue;
    i64 v[4] = {g->v[0], rank(g, 50), rank(g, 99), g->v[g->n - 1]};
    if(json)
      fprintf(f, "%s{\"from\":\"%s\",\"max_ns\":%lld,\"min_ns\":%lld,\"n\":%u,\"p50_ns\":%lld,\"p99_ns\":%lld,\"to\":\"%s\"}", sep, from, v[3],
              v[0], g->n, v[1], v[2], to);
    else {
      fprintf(f, "%-8s %-8s %8u", from, to, g->n);
      for(u32 i = 0; i < 4; i++)
        fprintf(f, " %10s", us_str(v[i]));
      putc('\n', f);
    }
    wire |= k / NSTAGE == ST_WIRE || k % NSTAGE == ST_WIRE;
    sep = ",";
  }
  if(!json && wire && t->s->al.method >= CLK_FRAMES)
    fprintf(f, ascii_only ? "from or to WIRE: +-%s us\n" : "from or to WIRE: ±%s µs\n", band_str(t->s->wire));
}

static void
print_flows(const struct stats *t, FILE *f, bool json)
{
  for(u32 i = 0, n[NSEG]; i < t->nseg;) {
    const struct flow *w = &t->seg[i].flow;
    const char *sep = i && json ? "," : "";
    memset(n, 0, sizeof n);
    for(; i < t->nseg && flow_same(w, &t->seg[i].flow); i++)
      n[t->seg[i].kind]++;
    fprintf(f, json ? "%s{\"flow\":\"%s:%u-" : "%sTCP %s:%u-", sep, ip_str(w->laddr), w->lport);
    fprintf(f, json ? "%s:%u\",\"rexmits\":%u,\"segs_in\":%u,\"segs_out\":%u}" : "%s:%u  %u sent again, %u segments in, %u out\n",
            ip_str(w->raddr), w->rport, n[SEG_AGAIN], n[SEG_IN], n[SEG_OUT]);
  }
}

static void
print_drops(const struct stats *t, FILE *f, bool json)
{
  const char *sep = "";
  for(u32 i = 0; i < 256; i++) {
    if(t->drop[i] == 0)
      continue;
    char num[16];
    snprintf(num, sizeof num, "%u", i);
    const char *name = t->dropname[i] ? t->dropname[i] : num;
    if(json) {
      fprintf(f, "%s", sep);
      put_json(f, name, strlen(name));
      fprintf(f, ":%u", t->drop[i]);
    } else
      fprintf(f, "dropped %u: %s\n", t->drop[i], name);
    sep = ",";
  }
}

int
cmd_stats(struct opts *o)
{
  struct session s;
  struct out out;
  struct selection sel;
  int rc = rows_open(&s, &sel, &out, o);
  if(rc < 0)
    return rc;
  struct stats *t = xmalloc(sizeof *t);
  t->s = &s;
  collect(t, sel.show);
  if(o->json)
    fputs("{\"drops\":{", out.f);
  print_drops(t, out.f, o->json);
  if(o->json)
    fputs("},\"flows\":[", out.f);
  print_flows(t, out.f, o->json);
  if(o->json)
    fputs("],\"gaps\":[", out.f);
  print_gaps(t, out.f, o->json);
  if(o->json)
    fprintf(out.f, "],\"packets\":%u,\"schema\":\"nettrace-stats/1\",\"wire_ns\":%lld}\n", t->npkt, s.wire);
  rc = out_close(&out, true);
  if(!o->quiet)
    session_summary(&s, stderr);
  return rc;
}
