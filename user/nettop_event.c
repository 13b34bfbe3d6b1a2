// nettop's view 5: events, the newest last; and the filter that is typed behind /.
//
// Called by draw_views, and by view 1 for its tail.  Nothing here knows an event: its
// name, its fields and their values are what the metadata says.
#include "types.h"
#include "ulib64.h"
#include "user.h"
#include "nettop.h"

#define MAXLIST 160 // lines of the list

// ---- the filter ----------------------------------------------------------------

static char
lower(char c)
{
  return 'A' <= c && c <= 'Z' ? c - 'A' + 'a' : c;
}

// Does the text contain the word, in capitals or not?  _ and - are the same.
static int
contains(const char *text, int n, const char *word, int len)
{
  for(int i = 0; i + len <= n; i++) {
    int k = 0;
    while(k < len && (lower(text[i + k]) == lower(word[k]) || (text[i + k] == '-' && word[k] == '_')))
      k++;
    if(k == len)
      return 1;
  }
  return 0;
}

// The filter as KEY=VALUE; 0 if it is plain text.
static const char *
filter_value(char *key, int max)
{
  const char *s = want.filter;
  int n = 0;
  while(*s && *s != '=' && *s != ' ' && n < max - 1)
    key[n++] = lower(*s++);
  key[n] = 0;
  return n && (*s == '=' || *s == ' ') && s[1] ? s + 1 : 0;
}

static int
is_number(const char *s, u32 x)
{
  char text[12];
  struct nt_line o = {text, 0, sizeof(text) - 1};
  nt_printf(&o, "%u", x);
  text[o.n] = 0;
  return strcmp(s, text) == 0;
}

static int
starts(const char *s, const char *with)
{
  while(*with && lower(*s) == lower(*with))
    s++, with++;
  return *with == 0;
}

// Does a record pass the filter?  KEY is pkt, sock, pid, port, event or a field's name.
// line: the record as n characters, for a filter that is plain text.
static int
matches(const struct nt_slot *s, const char *line, int n)
{
  char key[16], text[80];
  const char *v = filter_value(key, sizeof(key));
  if(want.filter[0] == 0)
    return 1;
  if(v == 0)
    return contains(line, n, want.filter, strlen(want.filter));
  if(strcmp(key, "pkt") == 0 || strcmp(key, "sock") == 0 || strcmp(key, "pid") == 0)
    return is_number(v, key[1] == 'k' ? s->pkt : key[0] == 's' ? s->sock
                                                               : s->pid);
  if(s->id >= NT_MAXEV || tr.event[s->id].name == 0)
    return 0;
  if(strcmp(key, "event") == 0)
    return starts(tr.event[s->id].name, v);
  for(int i = 0; i < tr.event[s->id].nfield; i++) {
    const struct nt_field *f = &tr.event[s->id].field[i];
    int port = strcmp(key, "port") == 0 && strcmp(f->unit, "port") == 0;
    if(!port && strcmp(f->name, key) != 0)
      continue;
    struct nt_line o = {text, 0, sizeof(text)};
    nt_put(&o, &tr, f, s);
    if(port ? is_number(v, nt_value(f, s)) : contains(text, o.n, v, strlen(v)))
      return 1;
  }
  return 0;
}

// The same for a connection: port, pid, sock, state, name.
int
flow_matches(const struct model *m, const struct flow *f, const char *line, int n)
{
  char key[16], state[20];
  const char *v = filter_value(key, sizeof(key));
  if(want.filter[0] == 0)
    return 1;
  if(v && strcmp(key, "port") == 0)
    return is_number(v, f->lport) || (f->raddr && is_number(v, f->rport));
  if(v && strcmp(key, "pid") == 0)
    return is_number(v, f->owner);
  if(v && strcmp(key, "sock") == 0)
    return is_number(v, f->sock);
  if(v && strcmp(key, "name") == 0)
    return starts(prog_name(m, f->owner), v);
  if(v && strcmp(key, "state") == 0) {
    struct nt_line o = {state, 0, sizeof(state)};
    put_state(&o, f);
    return contains(state, o.n, v, strlen(v));
  }
  return contains(line, n, want.filter, strlen(want.filter));
}

// ---- the list ------------------------------------------------------------------

static u32 event_list[MAXLIST];
static int nevent_list;

// Seconds and millionths since the machine started, or the millionths alone.
void
put_time(struct nt_line *o, u64 tsc, int seconds)
{
  u64 us = nt_us(&tr, tsc);
  u32 frac = div64(&us, 1000000);
  if(seconds)
    nt_printf(o, "%5u", (u32)us);
  nt_printf(o, ".%06u ", frac);
}

// An event as a line of view 5.
static void
draw_event(struct nt_line o, const struct nt_slot *s)
{
  put_time(&o, s->ts, 1);
  nt_printf(&o, "%u%c %4u ", s->cpu_ctx & 15, "-indN???????????"[s->cpu_ctx >> 4], s -> pid);
  nt_print(&o, &tr, s);
}

static int
is_packet_event(int id)
{
  const char *stage = tr.event[id].stage;
  return stage && strcmp(stage, "CPU") != 0 && strcmp(stage, "MEM") != 0;
}

// Does the record in slot n belong into the list?  packets: only what packets do.
static const struct nt_slot *
listed(const struct model *m, u32 n, int packets)
{
  char text[200];
  const struct nt_slot *s = hist_at(m, n);
  if(s == 0 || (packets && !is_packet_event(s->id)))
    return 0;
  struct nt_line o = {text, 0, sizeof(text)};
  if(packets || want.filter[0] == 0) // below the connections the filter is theirs
    return s;
  nt_print(&o, &tr, s);
  return matches(s, text, o.n) ? s : 0;
}

// Fill event_list with at most `lines` records, the newest first; further back, so
// that the selected one is among them.
static void
list_events(const struct model *m, int lines, int packets)
{
  u32 pick = packets ? 0 : want.record;
  if(pick && m->nhist - pick > NHIST)
    pick = want.record = 0; // forgotten
  int found = pick == 0;
  nevent_list = 0;
  for(u32 n = m->nhist - 1; lines > 0 && m->nhist - n <= NHIST; n--) {
    if(nevent_list == lines && found)
      return;
    if(!listed(m, n, packets))
      continue;
    if(nevent_list == lines)
      memmove(event_list, event_list + 1, --nevent_list * sizeof(event_list[0]));
    event_list[nevent_list++] = n;
    found |= n == pick;
  }
}

void
view_event(const struct model *m)
{
  struct nt_line title = sheet_line();
  nt_printf(&title, "        TIME CPU PID #PKT   EVENT        FIELDS");
  sheet_bright();
  int lines = sheet_room() < MAXLIST ? sheet_room() : MAXLIST;
  list_events(m, lines, 0);
  for(int k = nevent_list; k-- > 0;) {
    draw_event(sheet_line(), hist_at(m, event_list[k]));
    if(event_list[k] == want.record)
      sheet_bright();
  }
}

// The last events of packets on `lines` lines, below the connections.
void
draw_tail(const struct model *m, int lines)
{
  list_events(m, lines, 1);
  for(int k = nevent_list; k-- > 0;) {
    struct nt_line o = sheet_line();
    nt_printf(&o, " ");
    put_time(&o, hist_at(m, event_list[k])->ts, 0);
    nt_print(&o, &tr, hist_at(m, event_list[k]));
  }
}

// Select the event by lines further down; behind the last one nothing is selected.
void
event_step(const struct model *m, int by)
{
  u32 n = want.record ? want.record : m->nhist;
  do
    n += by;
  while(n != m->nhist && m->nhist - n <= NHIST && !listed(m, n, 0));
  if(m->nhist - n <= NHIST)
    want.record = n == m->nhist ? 0 : n;
}
