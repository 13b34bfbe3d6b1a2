// chrome: the timeline as Chrome trace JSON, for trace viewers.
//
// One thread per stage.  Each row of a packet is a slice that lasts until the
// packet's next row, or until the stage's next row if that comes first: so the
// slices of a thread never overlap, which the format demands.  args.gap_ns is the
// whole wait.  A flow arrow per packet joins its slices.
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define NSTAGE (ST_OTHER + 1)

struct chrome {
  const struct session *s;
  const u8 *show;
  u32 *next;  // item -> the packet's next shown item, or NOREC
  i64 *until; // item -> when the stage's next shown row begins
  bool *first;
  FILE *f;
  i64 zero;
};

// Find each row's successors, by packet and by stage.
static void
link_rows(struct chrome *c)
{
  const struct session *s = c->s;
  u32 n;
  struct prow *row = rows_by_packet(s, c->show, &n);
  i64 begin[NSTAGE];
  c->next = xmalloc((s->nitem + 1) * sizeof *c->next);
  c->until = xmalloc((s->nitem + 1) * sizeof *c->until);
  c->first = xmalloc(s->nitem + 1);
  for(u32 i = 0; i < NSTAGE; i++)
    begin[i] = 1ll << 62;
  for(u32 i = s->nitem; i-- > 0;) {
    c->next[i] = NOREC;
    if(!c->show[i] || item_pkt(s, &s->item[i]) == 0)
      continue;
    u32 st = item_stage(s, &s->item[i]);
    c->until[i] = begin[st];
    begin[st] = s->item[i].w;
  }
  for(u32 i = 0; i < n; i++) {
    c->first[row[i].item] = i == 0 || row[i - 1].pkt != row[i].pkt;
    if(i + 1 < n && row[i + 1].pkt == row[i].pkt)
      c->next[row[i].item] = row[i + 1].item;
  }
  free(row);
}

static void
put_us(FILE *f, const char *key, i64 ns)
{
  fprintf(f, ",\"%s\":%lld.%03lld", key, ns / 1000, ns % 1000);
}

static void
put_slice(struct chrome *c, u32 i)
{
  const struct session *s = c->s;
  const struct item *it = &s->item[i];
  const struct event *e = it->frame ? 0 : rec_event(s->b, &s->b->rec[it->idx]);
  const char *name = it->frame ? "frame" : e ? e->name
                                             : "event";
  u32 pkt = item_pkt(s, it), st = item_stage(s, it);
  i64 gap = c->next[i] == NOREC ? 0 : s->item[c->next[i]].w - it->w, dur = c->until[i] - it->w;
  fputs(",\n{\"name\":", c->f);
  put_json(c->f, name, strlen(name));
  fprintf(c->f, ",\"ph\":\"X\",\"pid\":1,\"tid\":%u,\"args\":{\"gap_ns\":%lld,\"pkt\":%u}", st + 1, gap, pkt);
  put_us(c->f, "ts", it->w - c->zero);
  put_us(c->f, "dur", gap < dur ? gap : dur);
  putc('}', c->f);
  if(c->first[i] && c->next[i] == NOREC)
    return; // a packet of one row has no arrow
  const char *ph = c->first[i] ? "s" : c->next[i] == NOREC ? "f\",\"bp\":\"e"
                                                           : "t";
  fprintf(c->f, ",\n{\"name\":\"packet\",\"cat\":\"packet\",\"ph\":\"%s\",\"id\":%u,\"pid\":1,\"tid\":%u", ph, pkt, st + 1);
  put_us(c->f, "ts", it->w - c->zero);
  putc('}', c->f);
}

int
cmd_chrome(struct opts *o)
{
  struct session s;
  struct out out;
  struct selection sel;
  int rc = rows_open(&s, &sel, &out, o);
  if(rc < 0)
    return rc;
  struct chrome c = {.s = &s, .show = sel.show, .f = out.f, .zero = s.nitem ? s.item[0].w : 0};
  link_rows(&c);
  fputs("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":1,\"tid\":0,\"ts\":0,\"args\":{\"name\":\"xv6 guest\"}}", out.f);
  for(u32 i = 0; i < NSTAGE; i++)
    fprintf(out.f, ",\n{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,\"tid\":%u,\"ts\":0,\"args\":{\"name\":\"%s\"}}", i + 1,
            i < ST_OTHER ? stage_name[i] : "OTHER");
  for(u32 i = 0; i < s.nitem; i++)
    if(sel.show[i] && item_pkt(&s, &s.item[i]))
      put_slice(&c, i);
  fputs("\n]}\n", out.f);
  rc = out_close(&out, true);
  if(!o->quiet)
    session_summary(&s, stderr);
  return rc;
}
