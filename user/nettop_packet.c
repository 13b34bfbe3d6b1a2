// nettop's views 2 and 3: one packet's journey, the slowest packets, the drops.
//
// Called by draw_views.  Journeys are put together by nettop_path.c from what the
// history still has.
#include "types.h"
#include "ulib64.h"
#include "user.h"
#include "nettop.h"

// ---- 2 packets --------------------------------------------------------------------

// The worst gap of a journey: the step it ends at.
static int
worst(const struct journey *j)
{
  int at = 0;
  for(int i = 1; i < j->n; i++)
    if(at == 0 || j->step[i].ts - j->step[i - 1].ts > j->step[at].ts - j->step[at - 1].ts)
      at = i;
  return at;
}

static const struct nt_slot *
step_with(const struct journey *j, const char *field)
{
  for(int i = 0; i < j->n; i++)
    if(nt_field(&tr, j->step[i].id, field))
      return &j->step[i];
  return 0;
}

// "TCP :80<10.0.2.2:51836", whatever the packet's records say about its ends.
static void
put_ends(struct nt_line *o, const struct journey *j)
{
  const struct nt_slot *s = step_with(j, "rport");
  if(s) {
    nt_printf(o, " :%u<%I:%u", (u32)nt_get(&tr, s, "lport"), (u32)nt_get(&tr, s, "raddr"), (u32)nt_get(&tr, s, "rport"));
    return;
  }
  s = step_with(j, "type");
  if(s) {
    nt_printf(o, " ");
    nt_put(o, &tr, nt_field(&tr, s->id, "type"), s);
  }
}

static void
slow_line(struct nt_line *o, const struct journey *j)
{
  int at = worst(j);
  const struct nt_slot *end = step_with(j, "fate");
  int n = o->n;
  nt_printf(o, " #%u", j->pkt);
  to_column(o, n + 8);
  n = o->n;
  put_us_right(o, tsc_ns(j->last - j->first), 5);
  to_column(o, n + 7);
  n = o->n;
  if(end)
    nt_put(o, &tr, nt_field(&tr, end->id, "fate"), end);
  to_column(o, n + 7);
  nt_printf(o, "%3u  ", j->n);
  n = o->n;
  if(at) {
    put_us_right(o, tsc_ns(j->step[at].ts - j->step[at - 1].ts), 5);
    nt_printf(o, " %s > %s", tr.event[j->step[at - 1].id].name, tr.event[j->step[at].id].name);
  }
  to_column(o, n + 32);
  put_ends(o, j);
}

static void
view_slowest(const struct model *m)
{
  struct nt_line title = sheet_line();
  nt_printf(&title, " #PKT    TOTAL  FATE  EVENTS  WORST GAP (us)                ENDS");
  sheet_bright();
  if(want.row >= m->nslow)
    want.row = m->nslow ? m->nslow - 1 : 0;
  for(int i = 0; i < m->nslow; i++) {
    struct nt_line o = sheet_line();
    slow_line(&o, &m->slow[i]);
    if(i == want.row)
      sheet_bright();
  }
  struct nt_line o = sheet_line();
  nt_printf(&o, m->nslow ? " The slowest packets since the start or z.  Enter: where its time went." : " No packet has come to its end since the start or z.");
}

// One step: when, how long since the last one, a bar for that, the event.
static void
step_line(struct nt_line *o, const struct journey *j, int i)
{
  const struct nt_slot *s = &j->step[i];
  u32 total = tsc_ns(j->last - j->first), at = tsc_ns(s->ts - j->first), from = i ? tsc_ns(s[-1].ts - j->first) : 0;
  int width = 18 + wider(24), k = 0;
  u32 unit = total / (width - 1) + 1;
  nt_printf(o, "%7u.%u ", at / 1000, at % 1000 / 100);
  int n = o->n;
  put_us_right(o, at - from, 6);
  to_column(o, n + 7);
  for(; k < width; k++)
    nt_printf(o, "%c", k == (int)(at / unit) ? '|' : k >= (int)(from / unit) && k < (int)(at / unit) ? '='
                                                                                                     : ' ');
  nt_printf(o, " %u%c ", s->cpu_ctx & 15, "-indN???????????"[s->cpu_ctx >> 4]);
  nt_print_event(o, &tr, s);
}

// Packets this one came from or led to.
static void
links_line(const struct model *m, u32 pkt)
{
  int id = nt_event(&tr, "pkt_link"), some = 0;
  struct nt_line o = sheet_line();
  for(u32 n = m->nhist - NHIST; id >= 0 && n != m->nhist; n++) {
    const struct nt_slot *s = hist_at(m, n);
    if(s == 0 || s->id != id)
      continue;
    u32 parent = nt_get(&tr, s, "parent");
    if(s->pkt != pkt && parent != pkt)
      continue;
    nt_printf(&o, some++ ? ", " : " linked: ");
    nt_printf(&o, s->pkt == pkt ? "from #%u " : "to #%u ", s->pkt == pkt ? parent : s->pkt);
    nt_named(&o, &tr, "LINK", nt_get(&tr, s, "kind"));
  }
}

// A packet's journey as a waterfall.
static void
draw_path(const struct model *m, const struct journey *j)
{
  struct nt_line o = sheet_line();
  const struct nt_slot *end = step_with(j, "fate");
  nt_printf(&o, " #%u", j->pkt);
  put_ends(&o, j);
  nt_printf(&o, "   %u events, ", j->n);
  put_us(&o, tsc_ns(j->last - j->first));
  nt_printf(&o, tsc_ns(j->last - j->first) < 1000000 ? " us, " : ", ");
  if(end)
    nt_put(&o, &tr, nt_field(&tr, end->id, "fate"), end);
  else
    nt_printf(&o, "not ended");
  o = sheet_line();
  nt_printf(&o, "       us    gap %-18s", "first to last");
  for(int i = wider(24); i > 0; i--)
    nt_printf(&o, " ");
  nt_printf(&o, " CPU EVENT");
  sheet_bright();
  for(int i = 0; i < j->n; i++) {
    o = sheet_line();
    step_line(&o, j, i);
  }
  links_line(m, j->pkt);
}

void
view_path(const struct model *m)
{
  static struct journey j;
  if(want.pkt == 0) {
    view_slowest(m);
    return;
  }
  path_collect(m, want.pkt, &j);
  for(int i = 0; i < m->nslow; i++)
    if(m->slow[i].pkt == want.pkt && m->slow[i].n >= j.n)
      j = m->slow[i];
  if(j.n)
    draw_path(m, &j);
  struct nt_line o = sheet_line();
  if(j.n == 0)
    nt_printf(&o, " #%u has been forgotten.  Esc: the slowest packets.", want.pkt);
}

// ---- 3 drops ---------------------------------------------------------------------

// Index of the drop with the k-th largest count.
static int
drop_place(const struct model *m, int k)
{
  for(int i = 0; i < m->ndrop; i++) {
    int larger = 0;
    for(int o = 0; o < m->ndrop; o++)
      larger += m->drop[o].count > m->drop[i].count || (m->drop[o].count == m->drop[i].count && o < i);
    if(larger == k)
      return i;
  }
  return 0;
}

// Two lines: what, how often, and the last packet; where, and the reason's sentence.
static void
draw_drop(const struct drop *d)
{
  const struct nt_slot *s = &d->last;
  const struct nt_name *name = nt_value_name(&tr, "DROP", d->reason);
  struct nt_line o = sheet_line();
  nt_printf(&o, "%6H %4H  ", d->count, d->rate);
  nt_named(&o, &tr, "DROP", d->reason);
  to_column(&o, 28);
  put_time(&o, s->ts, 1);
  if(nt_get(&tr, s, "proto"))
    nt_named(&o, &tr, "PROTO", nt_get(&tr, s, "proto"));
  nt_printf(&o, " %I:%u > :%u len %u", (u32)nt_get(&tr, s, "src"), (u32)nt_get(&tr, s, "sport"),
            (u32)nt_get(&tr, s, "dport"), (u32)nt_get(&tr, s, "len"));
  o = sheet_line();
  nt_printf(&o, "    ");
  nt_named(&o, &tr, "STAGE", nt_get(&tr, s, "stage"));
  nt_printf(&o, " ");
  nt_function(&o, d->eip);
  nt_printf(&o, "  %s", name ? name->doc : "");
}

void
view_drop(const struct model *m)
{
  struct nt_line o = sheet_line();
  nt_printf(&o, " COUNT   /s  REASON         THE LAST ONE: TIME, ENDS   (below: where, meaning)");
  sheet_bright();
  for(int k = 0; k < m->ndrop && sheet_room() > 1; k++)
    draw_drop(&m->drop[drop_place(m, k)]);
  o = sheet_line();
  if(m->ndrop == 0)
    nt_printf(&o, " Nothing was dropped since the start or z.");
  if(m->mpc)
    nt_printf(&o, " The card had no descriptor for %u frames since boot.", m->mpc);
}
