// doc: every event, field and named value of a trace, as Markdown tables.
//
// Made from the metadata that travels with the trace, so that docs/events.md is
// what the kernel says of itself.  Stages come in the order a packet meets them.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "tool.h"

// Text of a cell: what Markdown would take for its own is escaped.
static void
put_md(FILE *f, const char *s)
{
  for(; *s; s++) {
    if(strchr("|\\`*_<>[]", *s))
      putc('\\', f);
    putc((u8)*s < 0x20 || (u8)*s == 0x7f ? '?' : *s, f);
  }
}

// A name, which is code: nothing is escaped there but what ends it.
static void
put_code(FILE *f, const char *s)
{
  putc('`', f);
  for(; *s; s++)
    putc(*s == '`' || *s == '|' || (u8)*s < 0x20 || (u8)*s == 0x7f ? '?' : *s, f);
  putc('`', f);
}

static const char *
type_name(const struct field *f)
{
  static const char *const name[] = {"u8", "u16", "u32", "u64", "s16", "s32", "mac6", "name16", "text", "bytes"};
  return name[f->type];
}

static void
put_event(FILE *f, const struct event *e)
{
  fputs("\n### ", f);
  put_code(f, e->name);
  fputs("\n\n", f);
  if(*e->doc)
    putc(toupper((u8)*e->doc), f);
  put_md(f, *e->doc ? e->doc + 1 : "");
  fputs(".\n\n", f);
  if(e->nfield == 0) {
    fputs("No fields.\n", f);
    return;
  }
  fputs("| field | type | unit | meaning |\n|---|---|---|---|\n", f);
  for(u32 i = 0; i < e->nfield; i++) {
    const struct field *fd = &e->f[i];
    fputs("| ", f);
    put_code(f, fd->name);
    fprintf(f, " | %s | ", type_name(fd));
    if(fd->unit == U_SET)
      put_code(f, fd->unitname);
    else
      put_md(f, fd->unitname);
    fputs(" | ", f);
    put_md(f, fd->doc);
    fputs(" |\n", f);
  }
}

static void
put_set(FILE *f, const struct nameset *s)
{
  fputs("\n### ", f);
  put_code(f, s->name);
  fprintf(f, "\n\n%s\n\n| value | name | meaning |\n|---|---|---|\n", s->bits ? "Bits, of which several may be set." : "One of:");
  for(u32 i = 0; i < s->n; i++) {
    fprintf(f, s->bits ? "| 0x%x | " : "| %u | ", s->v[i].val);
    put_code(f, s->v[i].name);
    fputs(" | ", f);
    put_md(f, s->v[i].doc);
    fputs(" |\n", f);
  }
}

// What the description says of a stage, if it names its stages.
static const char *
stage_doc(const struct meta *m, const char *stage)
{
  for(u32 i = 0; i < m->nset; i++)
    for(u32 k = 0; strcmp(m->set[i]->name, "STAGE") == 0 && k < m->set[i]->n; k++)
      if(strcmp(m->set[i]->v[k].name, stage) == 0)
        return m->set[i]->v[k].doc;
  return 0;
}

static void
put_stage(FILE *f, const struct meta *m, u32 stage)
{
  bool begun = false;
  for(u32 i = 0; i < m->top; i++) {
    const struct event *e = m->ev[i];
    if(e == 0 || e->stage != stage)
      continue;
    const char *doc = begun ? 0 : stage_doc(m, e->stagename);
    if(!begun) {
      fputs("\n## ", f);
      put_md(f, stage == ST_OTHER ? "Others" : e->stagename);
    }
    if(doc) {
      fputs(": ", f);
      put_md(f, doc);
    }
    if(!begun)
      putc('\n', f);
    begun = true;
    put_event(f, e);
  }
}

static void
put_all(FILE *f, const struct meta *m)
{
  fputs("# Trace events\n\n"
        "Made by `nettrace doc` from the description that the kernel gives of itself\n"
        "(`kernel/trace/events.def`).  Each record also has its time, CPU, context, packet,\n"
        "socket and process.\n",
        f);
  for(u32 stage = 0; stage <= ST_OTHER; stage++)
    put_stage(f, m, stage);
  fputs("\n# Named values\n", f);
  for(u32 i = 0; i < m->nset; i++)
    put_set(f, m->set[i]);
}

int
cmd_doc(struct opts *o)
{
  struct input in;
  struct trace t;
  struct out out;
  int rc = input_find(&in, o->argc, o->argv);
  if(rc < 0)
    return rc;
  const char *from = in.trace ? in.trace : in.ram;
  if(from == 0)
    return seterr(EX_BADIN, "a capture alone has no events");
  if((rc = trace_load(&t, from)) < 0 || (rc = out_open(&out, o->out)) < 0)
    return rc;
  put_all(out.f, &t.boot[t.nboot - 1].meta);
  return out_close(&out, true);
}
