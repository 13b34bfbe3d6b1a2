// dump: one record per line, as text or JSON Lines.  save: RAM to a saved trace.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tool.h"

// Time, CPU, context, packet, socket, process; then the event and its fields.
static void
dump_text(const struct session *s, u32 i, FILE *f)
{
  const struct rec *r = &s->b->rec[i];
  const struct nt_slot *slot = rec_slot(s->b, r);
  const struct event *e = rec_event(s->b, r);
  i64 t = session_time(s, r);
  if(slot == 0) {
    fprintf(f, "%lld.%09lld cpu%u !! %u slots lost%s\n", t / 1000000000, t < 0 ? 0 : t % 1000000000, r->cpu, r->nlost, r->inflight ? ", never completed" : "");
    return;
  }
  fprintf(f, "%lld.%09lld cpu%u %s", t / 1000000000, t < 0 ? 0 : t % 1000000000, slot->cpu_ctx & 15u, ctx_name(slot->cpu_ctx >> 4));
  if(slot->pid)
    fprintf(f, " pid=%u", slot->pid);
  if(slot->pkt)
    fprintf(f, " #%u", slot->pkt);
  if(slot->sock)
    fprintf(f, " sock=%u", slot->sock);
  u8 buf[192];
  char text[800];
  u32 len;
  const u8 *p = rec_payload(s->b, r, buf, &len);
  if(e == 0)
    fprintf(f, " event %u ", slot->id);
  for(u32 k = 0; e == 0 && k < len; k++)
    fprintf(f, "%02x", p[k]);
  if(e)
    fprintf(f, " %s", e->name);
  for(u32 k = 0; e && k < e->nfield; k++) {
    field_str(text, sizeof text, &e->f[k], p, len);
    fprintf(f, " %s=%s", e->f[k].name, text);
  }
  if(s->frame_of[i] != NOREC)
    fprintf(f, " frame=%u", s->frame_of[i] + 1);
  putc('\n', f);
}

static int
name_cmp(const void *a, const void *b)
{
  return strcmp((*(const struct field *const *)a)->name, (*(const struct field *const *)b)->name);
}

static void
json_fields(const struct session *s, const struct rec *r, const struct event *e, FILE *f)
{
  u8 buf[192];
  u32 len;
  const u8 *p = rec_payload(s->b, r, buf, &len);
  const struct field *sorted[MAXFIELDS];
  for(u32 k = 0; k < e->nfield; k++)
    sorted[k] = &e->f[k];
  qsort(sorted, e->nfield, sizeof *sorted, name_cmp);
  for(u32 k = 0; k < e->nfield; k++) {
    fprintf(f, "%s", k ? "," : "");
    put_json(f, sorted[k]->name, strlen(sorted[k]->name));
    putc(':', f);
    field_json(f, sorted[k], p, len);
  }
}

// {"cpu":0,"ctx":"netd","event":"tcp_state","fields":{...},"frame":3,...}: keys sorted.
static void
dump_json(const struct session *s, u32 i, FILE *f)
{
  const struct rec *r = &s->b->rec[i];
  const struct nt_slot *slot = rec_slot(s->b, r);
  const struct event *e = rec_event(s->b, r);
  if(slot == 0) {
    fprintf(f, "{\"cpu\":%u,\"event\":null,\"lost\":%u,\"schema\":\"nettrace-dump/1\",\"t_ns\":%lld,\"tsc\":%llu,\"why\":\"%s\"}\n", r->cpu, r->nlost, session_time(s, r), r->ts, r->inflight ? "INFLIGHT" : "OVERWRITE");
    return;
  }
  fprintf(f, "{\"cpu\":%u,\"ctx\":\"%s\",\"event\":", slot->cpu_ctx & 15u, ctx_name(slot->cpu_ctx >> 4));
  if(e)
    put_json(f, e->name, strlen(e->name));
  else
    fprintf(f, "\"event %u\"", slot->id);
  fputs(",\"fields\":{", f);
  if(e)
    json_fields(s, r, e, f);
  putc('}', f);
  if(s->frame_of[i] != NOREC)
    fprintf(f, ",\"frame\":%u", s->frame_of[i] + 1);
  fprintf(f, ",\"pid\":%u,\"pkt\":%u,\"schema\":\"nettrace-dump/1\",\"seq\":%u,\"sock\":%u,\"stage\":", slot->pid, slot->pkt, slot->seq - 1, slot->sock);
  put_json(f, e ? e->stagename : "", e ? strlen(e->stagename) : 0);
  fprintf(f, ",\"t_ns\":%lld,\"tsc\":%llu}\n", session_time(s, r), r->ts);
}

int
cmd_dump(struct opts *o)
{
  struct session s;
  struct out out;
  int rc = session_open(&s, o->argc, o->argv);
  if(rc < 0)
    return rc;
  timeline_build(&s);
  bool chosen = o->flow || o->pid || o->packets || o->only || o->layer || o->from || o->to;
  struct selection sel = {0};
  if(chosen)
    rc = timeline_select(&s, o, false, &sel);
  if(rc < 0 || (rc = out_open(&out, o->out)) < 0)
    return rc;
  for(u32 i = 0; i < s.nitem; i++) {
    if(s.item[i].frame || (sel.show && !sel.show[i]))
      continue;
    if(o->json)
      dump_json(&s, s.item[i].idx, out.f);
    else
      dump_text(&s, s.item[i].idx, out.f);
  }
  rc = out_close(&out, true);
  if(!o->quiet)
    session_summary(&s, stderr);
  return rc;
}

// The number of a cause of loss, by its name; 0 if this metadata does not know it.
static u32
lost_why(const struct event *e, const char *name)
{
  const struct field *f = e ? event_field(e, "why") : 0;
  for(u32 i = 0; f && f->set && i < f->set->n; i++)
    if(strcmp(f->set->v[i].name, name) == 0)
      return f->set->v[i].val;
  return 0;
}

// Fill a reader's `lost` record for a gap; false if this metadata has no such event.
static bool
lost_slot(const struct boot *b, const struct rec *r, struct nt_slot *s)
{
  const struct event *e = meta_event(&b->meta, "lost");
  const struct {
    const char *name;
    u64 val;
  } put[] = {{"n", r->nlost}, {"cpu", r->cpu}, {"why", lost_why(e, r->inflight ? "INFLIGHT" : "OVERWRITE")}, {"seq", r->seq}, {"to", r->ts}};
  if(e == 0 || event_field(e, "n") == 0)
    return false;
  *s = (struct nt_slot){.ts = r->ts, .id = e->id, .cpu_ctx = r->cpu, .nsl = 1};
  for(u32 i = 0; i < sizeof put / sizeof put[0]; i++) {
    const struct field *f = event_field(e, put[i].name);
    for(u32 k = 0; f && f->type <= T_S32 && k < f->size; k++)
      s->p[f->off + k] = (u8)(put[i].val >> (8 * k));
  }
  return true;
}

// Header, description, slots: what /dev/nettrace would have given.
static void
save_boot(const struct boot *b, FILE *f)
{
  static const u8 newlines[64] = "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n";
  struct nt_header h = b->h;
  memcpy(h.magic, NT_FILE_MAGIC, 8);
  h.self_pa = h.meta_pa = 0;
  h.cpu_off = 0;
  h.flags |= NT_MERGED;
  fwrite(&h, sizeof h, 1, f);
  fwrite(b->meta.raw, 1, b->meta.len, f);
  fwrite(newlines, 1, (64 - b->meta.len % 64) % 64, f);
  for(u32 i = 0; i < b->nrec; i++) {
    const struct nt_slot *s = rec_slot(b, &b->rec[i]);
    struct nt_slot gap;
    if(s)
      fwrite(s, sizeof *s, s->nsl, f);
    else if(lost_slot(b, &b->rec[i], &gap))
      fwrite(&gap, sizeof gap, 1, f);
  }
}

int
cmd_save(struct opts *o)
{
  struct input in;
  struct trace t;
  struct out out;
  if(o->out == 0 || (strcmp(o->out, "-") == 0 && isatty(1)))
    return seterr(EX_BADUSE, "binary output: name a file with -o");
  int rc = input_find(&in, o->argc, o->argv);
  if(rc < 0)
    return rc;
  const char *from = in.ram ? in.ram : in.trace;
  if(from == 0)
    return seterr(EX_BADIN, "no RAM image here: run capture -K to keep it");
  if((rc = trace_load(&t, from)) < 0 || (rc = out_open(&out, o->out)) < 0)
    return rc;
  u64 recs = 0, lost = 0;
  for(u32 i = 0; i < t.nboot; i++) {
    save_boot(&t.boot[i], out.f);
    recs += t.boot[i].nrec;
    lost += t.boot[i].lost;
  }
  rc = out_close(&out, true);
  if(rc == 0 && !o->quiet)
    fprintf(stderr, "%llu events saved%s; %llu events lost\n", recs, t.live ? " from a running guest" : "", lost);
  return rc;
}
