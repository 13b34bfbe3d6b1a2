// The metadata text: what events there are, their fields, their named values.
//
// It travels with every trace, so nothing here knows an event by name.  Input
// is not trusted: every line that is wrong is refused with its number, except
// lines that begin with a word we do not know, which later versions may add.
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define NNAMES (4 * MAXEVENTS) // places in the table of names

#define MAXSETS 1024 // each name is looked for among them

const char *const stage_name[] = {"WIRE", "DRIVER", "NETIF", "STACK", "SOCKET", "SYSCALL", "CPU", "META", "MEM", "OTHER"};

static const struct {
  const char *name;
  u8 size;
} ftypes[] = {{"u8", 1}, {"u16", 2}, {"u32", 4}, {"u64", 8}, {"s16", 2}, {"s32", 4}, {"mac6", 6}, {"name16", 16}, {"text", 0}, {"bytes", 0}};
static const char *const units[] = {"num", "byte", "port", "ipv4", "mac", "us", "ms", "tsc", "pid", "id", "hex", "addr", "text"};

u32
fnv1a(const void *p, size_t n)
{
  const u8 *b = p;
  u32 h = 2166136261u;
  for(size_t i = 0; i < n; i++)
    h = (h ^ b[i]) * 16777619u;
  return h;
}

// Cut the next word off *s; "" at the end of the line.
static char *
word(char **s)
{
  char *w = *s;
  while(*w == ' ')
    w++;
  char *e = w;
  while(*e && *e != ' ')
    e++;
  *s = *e ? e + 1 : e;
  *e = 0;
  return w;
}

static bool
number(const char *w, u32 *val)
{
  if(*w < '0' || *w > '9')
    return false;
  char *end;
  unsigned long long v = strtoull(w, &end, 0);
  if(*end || v > 0xffffffffu)
    return false;
  *val = (u32)v;
  return true;
}

static struct nameset *
find_set(const struct meta *m, const char *name)
{
  for(u32 i = 0; i < m->nset; i++)
    if(strcmp(m->set[i]->name, name) == 0)
      return m->set[i];
  return 0;
}

// name|bits SET VALUE NAME doc
static const char *
parse_name(struct meta *m, char *s, bool bits)
{
  const char *setname = word(&s), *value = word(&s), *name = word(&s);
  u32 val;
  if(!*name)
    return "a set, a value and a name are needed";
  if(!number(value, &val))
    return "bad value";
  struct nameset *set = find_set(m, setname);
  if(set == 0 && m->nset == MAXSETS)
    return "too many sets";
  if(set == 0) {
    m->set = xgrow(m->set, m->nset, &m->setcap, sizeof *m->set);
    set = m->set[m->nset++] = xmalloc(sizeof *set);
    set->name = setname;
    set->bits = bits;
  }
  if(set->bits != bits)
    return "a set is either names or bits";
  set->v = xgrow(set->v, set->n, &set->cap, sizeof *set->v);
  set->v[set->n++] = (struct nameval){val, name, s};
  return 0;
}

// Where the event of this name stands in the table of names, or is to stand.
static struct event **
name_slot(const struct meta *m, const char *name)
{
  u32 h = fnv1a(name, strlen(name));
  while(m->byname[h % NNAMES] && strcmp(m->byname[h % NNAMES]->name, name))
    h++;
  return &m->byname[h % NNAMES];
}

// event ID NAME STAGE doc
static const char *
parse_event(struct meta *m, char *s, struct event **cur)
{
  const char *ids = word(&s), *name = word(&s), *stage = word(&s);
  u32 id;
  if(!*stage)
    return "an id, a name and a stage are needed";
  if(!number(ids, &id) || id >= MAXEVENTS)
    return "bad event id";
  if(m->ev[id])
    return "this event id was used before";
  if(meta_event(m, name))
    return "this event name was used before";
  struct event *e = *cur = m->ev[id] = *name_slot(m, name) = xmalloc(sizeof *e);
  e->id = (u16)id;
  e->name = name;
  e->stagename = stage;
  e->doc = s;
  for(e->stage = 0; e->stage < ST_OTHER && strcmp(stage, stage_name[e->stage]); e->stage++)
    ;
  m->nev++;
  m->top = id >= m->top ? id + 1 : m->top;
  return 0;
}

// TAB TYPE NAME UNIT doc, the next field of the event above
static const char *
parse_field(char *s, struct event *e)
{
  const char *type = word(&s), *name = word(&s), *unit = word(&s);
  if(e == 0)
    return "a field without an event";
  if(!*unit)
    return "a type, a name and a unit are needed";
  if(e->nfield == MAXFIELDS)
    return "too many fields";
  if(e->nfield % 8 == 0)
    e->f = xrealloc(e->f, (e->nfield + 8u) * sizeof *e->f);
  struct field *prev = e->nfield ? &e->f[e->nfield - 1] : 0;
  if(prev && prev->size == 0)
    return "a field behind text or bytes";
  u32 t = 0, nt = sizeof ftypes / sizeof ftypes[0];
  while(t < nt && strcmp(type, ftypes[t].name))
    t++;
  if(t == nt)
    return "unknown type";
  struct field *f = &e->f[e->nfield];
  *f = (struct field){.type = (u8)t, .size = ftypes[t].size, .name = name, .unitname = unit, .doc = s};
  f->off = prev ? (u16)(prev->off + prev->size) : 0;
  if(f->off + f->size > NT_PAYLOAD)
    return "the field lies beyond its record";
  for(f->unit = 0; f->unit <= U_TEXT && strcmp(unit, units[f->unit]); f->unit++)
    ;
  if(f->unit > U_TEXT)
    f->unit = U_OTHER;
  e->nfield++;
  return 0;
}

static const char *
parse_line(struct meta *m, char *s, struct event **cur)
{
  if(*s == '\t')
    return s++, parse_field(s, *cur);
  const char *w = word(&s);
  if(strcmp(w, "name") == 0)
    return parse_name(m, s, false);
  if(strcmp(w, "bits") == 0)
    return parse_name(m, s, true);
  if(strcmp(w, "event") == 0)
    return parse_event(m, s, cur);
  return 0;
}

// Point fields whose unit is a set at that set: it may stand behind the event.
static void
resolve_sets(struct meta *m)
{
  for(u32 i = 0; i < m->top; i++)
    for(u32 k = 0; m->ev[i] && k < m->ev[i]->nfield; k++) {
      struct field *f = &m->ev[i]->f[k];
      if(f->unit == U_OTHER && (f->set = find_set(m, f->unitname)))
        f->unit = U_SET;
    }
}

// Take a description apart.  file is for messages.  0 or -EX_BADIN.
int
meta_parse(struct meta *m, const char *text, u32 len, const char *file)
{
  memset(m, 0, sizeof *m);
  if(len > 1 << 20)
    return seterr(EX_BADIN, "%s: metadata of %u bytes: more than 1 MiB", file, len);
  m->ev = xmalloc(MAXEVENTS * sizeof *m->ev);
  m->byname = xmalloc(NNAMES * sizeof *m->byname);
  m->text = xmalloc(len + 1);
  m->raw = xmalloc(len + 1);
  memcpy(m->text, text, len);
  memcpy(m->raw, text, len);
  m->len = len;
  m->hash = fnv1a(text, len);
  if(memchr(text, 0, len))
    return seterr(EX_BADIN, "%s: metadata contains a zero byte", file);
  struct event *cur = 0;
  u32 lineno = 1;
  bool ended = false;
  for(char *s = m->text; *s && !ended; lineno++) {
    char *e = strchr(s, '\n');
    char *next = e ? e + 1 : s + strlen(s);
    if(e)
      *e = 0;
    if(e && e > s && e[-1] == '\r')
      return seterr(EX_BADIN, "%s: metadata line %u ends in CR: the file was transferred in text mode", file, lineno);
    if(lineno == 1 && strcmp(s, "nettrace-metadata 1"))
      return seterr(EX_BADIN, "%s: metadata line 1: not \"nettrace-metadata 1\"", file);
    ended = strcmp(s, "end") == 0;
    const char *bad = ended ? 0 : parse_line(m, s, &cur);
    if(bad)
      return seterr(EX_BADIN, "%s: metadata line %u: %s", file, lineno, bad);
    s = next;
  }
  if(!ended)
    return seterr(EX_BADIN, "%s: metadata line %u: no \"end\": the text is cut", file, lineno);
  resolve_sets(m);
  return 0;
}

void
meta_free(struct meta *m)
{
  for(u32 i = 0; i < m->top; i++) {
    if(m->ev[i])
      free(m->ev[i]->f);
    free(m->ev[i]);
  }
  for(u32 i = 0; i < m->nset; i++) {
    free(m->set[i]->v);
    free(m->set[i]);
  }
  free(m->ev);
  free(m->byname);
  free(m->set);
  free(m->text);
  free(m->raw);
  memset(m, 0, sizeof *m);
}

struct event *
meta_event(const struct meta *m, const char *name)
{
  return m->byname ? *name_slot(m, name) : 0;
}

const struct field *
event_field(const struct event *e, const char *name)
{
  for(u32 i = 0; e && i < e->nfield; i++)
    if(strcmp(e->f[i].name, name) == 0)
      return &e->f[i];
  return 0;
}

const char *
set_name(const struct nameset *s, u32 val)
{
  for(u32 i = 0; s && i < s->n; i++)
    if(s->v[i].val == val)
      return s->v[i].name;
  return 0;
}
