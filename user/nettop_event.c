// nettop's view 5: events, the newest last.
//
// Called by draw_views, and by view 1 for its tail.  Nothing here knows an event: its
// name, its fields and their values are what the metadata says.
#include "types.h"
#include "ulib64.h"
#include "user.h"
#include "nettop.h"

#define MAXLIST 160 // lines of the list

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
  return record_matches(m, s, text, o.n) ? s : 0;
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
