// When was an event switched off?  The trace tells: each control line that the kernel
// obeyed is a ctl record.
//
// A line may come from a program that chooses only what it reads itself: so an event
// was off behind a line that says so only if there is none of it until the next line
// that switches it on.  session.c asks for the driver's events, check.c for others.
#include <stdlib.h>
#include <string.h>
#include "tool.h"

// What the last of the patterns that name this event does to it: 1 on, -1 off, 0 none names
// it.  does: of all patterns, or 0 where each has a sign.
static int
patterns_do(const char *list, const struct event *e, int does)
{
  int last = 0;
  char pat[64];
  for(const char *p = list; *p; p += strcspn(p, ","), p += *p == ',') {
    snprintf(pat, sizeof pat, "%.*s", (int)strcspn(p, ","), p);
    const char *name = does ? pat : pat + 1;
    if(*name == '@' ? listed(name + 1, e->stagename) : listed(name, e->name))
      last = does ? does : *pat == '+' ? 1
                                       : -1;
  }
  return last;
}

// The same of a record: a control line, or another one.
static int
line_does(const struct session *s, u32 i, const struct event *e)
{
  static const struct {
    const char *word;
    int does;
  } lines[] = {{"enable ", 1}, {"disable ", -1}, {"base ", 0}};
  const struct rec *r = &s->b->rec[i];
  const struct event *ctl = rec_is(s, i, "ctl") ? rec_event(s->b, r) : 0;
  const struct field *f = ctl ? event_field(ctl, "text") : 0;
  u8 buf[192];
  char text[800];
  u32 len;
  if(f == 0 || rec_get(s->b, r, "ok") == 0)
    return 0;
  const u8 *p = rec_payload(s->b, r, buf, &len);
  field_str(text, sizeof text, f, p, len);
  const char *line = text + strspn(text, " ");
  for(u32 k = 0; k < sizeof lines / sizeof lines[0]; k++) {
    size_t n = strlen(lines[k].word);
    if(strncmp(line, lines[k].word, n) == 0)
      return patterns_do(line + n + strspn(line + n, " "), e, lines[k].does);
  }
  return 0;
}

static void
add_stretch(struct off *o, u32 from, u32 to)
{
  o->v = xgrow(o->v, o->n, &o->cap, sizeof *o->v);
  o->v[o->n].from = from;
  o->v[o->n++].to = to;
}

// The stretches of records in which that event was off.
void
off_find(const struct session *s, const char *event, struct off *o)
{
  const struct event *e = meta_event(&s->b->meta, event);
  u32 since = NOREC;
  memset(o, 0, sizeof *o);
  for(u32 i = 0; e && i < s->b->nrec; i++) {
    int does = line_does(s, i, e);
    if(does > 0 && since != NOREC)
      add_stretch(o, since, i);
    if(does > 0 || rec_is(s, i, event))
      since = NOREC;
    if(does < 0 && since == NOREC)
      since = i;
  }
  if(since != NOREC)
    add_stretch(o, since, s->b->nrec - 1);
}

// Was it off at some time from the one record to the other?
bool
off_within(const struct off *o, u32 from, u32 to)
{
  for(u32 i = 0; i < o->n; i++)
    if(o->v[i].from <= to && o->v[i].to >= from)
      return true;
  return false;
}

// Was it off when the event would have told of a frame: later than from, and up to then?
bool
off_at(const struct session *s, const struct off *o, i64 from, i64 to)
{
  for(u32 i = 0; i < o->n && s->al.method >= CLK_FRAMES; i++)
    if(align_lo(&s->al, s->b->rec[o->v[i].from].ts) <= to && align_hi(&s->al, s->b->rec[o->v[i].to].ts) >= from)
      return true;
  return false;
}
