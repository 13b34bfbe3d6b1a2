// nettop's screen, from the top: the head, and the view that was chosen.
//
// Called by nettop.c for each refresh and each key, with the model or, paused, a
// copy of it.  A view takes lines from the sheet and fills them; it changes nothing
// but what is selected.  What several views need to write a line stands here too.
#include "types.h"
#include "ulib64.h"
#include "user.h"
#include "nettop.h"

#define SMALLEST 12 // rows: with fewer, no latencies

const char *const view_name[NVIEW] = {"flow", "path", "drop", "layer", "event", "pcb", "cpu"};

// ---- words ---------------------------------------------------------------

// Blanks up to column n.
void
to_column(struct nt_line *o, int n)
{
  while(o->n < n && o->n < o->max)
    nt_printf(o, " ");
}

// A duration in us, in five characters at most: 0.4 92 4.1m 410m 2.3s.
void
put_us(struct nt_line *o, u32 ns)
{
  u32 us = ns / 1000;
  if(us < 10)
    nt_printf(o, "%u.%u", us, ns % 1000 / 100);
  else if(us < 1000)
    nt_printf(o, "%u", us);
  else if(us < 10000)
    nt_printf(o, "%u.%um", us / 1000, us % 1000 / 100);
  else if(us < 1000000)
    nt_printf(o, "%um", us / 1000);
  else
    nt_printf(o, "%u.%us", us / 1000000, us % 1000000 / 100000);
}

// The same, to the right in a column of `width`.
void
put_us_right(struct nt_line *o, u32 ns, int width)
{
  char text[12];
  struct nt_line t = {text, 0, sizeof(text)};
  put_us(&t, ns);
  to_column(o, o->n + width - t.n);
  put_us(o, ns);
}

// What is left over 80 columns goes to the peer, then to the names.
int
wider(int most)
{
  int more = cols - 80;
  return more < 0 ? 0 : more < most ? more
                                    : most;
}

// A connection's state; of what has none, the protocol.
void
put_state(struct nt_line *o, const struct flow *f)
{
  if(other_proto(f))
    nt_named(o, &tr, "PROTO", f->proto);
  else
    nt_named(o, &tr, "TCPSTATE", f->state);
}

// ---- the head --------------------------------------------------------------

// head_line makes room by taking a blank from each gap of two: the head's first line has this many.
#define GAPS 4

// How busy the CPUs are: each, or all together where the line has no room.
static void
put_cpus(struct nt_line *o, const struct model *m)
{
  char text[NT_MAXCPU * 5];
  struct nt_line each = {text, 0, sizeof(text)};
  u32 sum = 0;
  for(int i = 0; i < m->ncpu; i++) {
    nt_printf(&each, " %u%%", m->cpu[i]);
    sum += m->cpu[i];
  }
  int rest = want.paused ? 0 : strlen(" int 1.0s");
  if(o->n - GAPS + each.n + rest < cols)
    for(int i = 0; i < each.n; i++)
      nt_printf(o, "%c", text[i]);
  else
    nt_printf(o, " %u%% of %u", (sum + m->ncpu - 1) / m->ncpu, (u32)m->ncpu);
}

static void
head_machine(struct nt_line *o, const struct model *m)
{
  u32 s = m->now / 1000;
  nt_printf(o, "nettop %02u:%02u:%02u  en0 ", s / 3600, s / 60 % 60, s % 60);
  nt_printf(o, m->ip ? "%I" : "no address", m->ip);
  nt_printf(o, m->link ? " up" : " DOWN");
  if(m->link && m->mbps)
    nt_printf(o, " %uM", m->mbps);
  nt_printf(o, "  TRACE %s%s  lost %u%s", m->state, want.paused ? " PAUSED" : "", m->lost, m->lossy ? "!" : "");
  if(m->lossless)
    nt_printf(o, "  LOSSLESS for pid %u, refused %u", m->lossless, m->discarded);
  nt_printf(o, "  cpu");
  put_cpus(o, m);
  if(!want.paused && o->n - GAPS + (int)strlen(" int 1.0s") < cols)
    nt_printf(o, "  int %u.%us", want.interval_ms / 1000, want.interval_ms % 1000 / 100);
}

static void
head_rates(struct nt_line *o, const struct model *m)
{
  const struct sums *n = want.total ? &m->total : &m->rate;
  const char *per = want.total ? "" : "/s";
  nt_printf(o, "rx %4HB%s %4Hp%s  tx %4HB%s %4Hp%s", n->rx_bytes, per, n->rx_frames, per, n->tx_bytes, per,
            n->tx_frames, per);
  nt_printf(o, "  irq %4H%s  rexmit %H  drop %H%s", n->irqs, per, m->rexmits, m->drops, m->drops ? " " : "");
  if(m->drops)
    nt_named(o, &tr, "DROP", m->reason);
}

static void
head_memory(struct nt_line *o, const struct model *m)
{
  nt_printf(o, "ev %4H%s unread %u%%", want.total ? m->total.events : m->rate.events, want.total ? "" : "/s", m->ring);
  if(m->rx_size)
    nt_printf(o, "  ring rx %u/%u tx %u/%u", m->rx_size - m->rx_free, m->rx_size, m->tx_used, m->tx_size);
  nt_printf(o, "  heap %H seg %u/%u pcb %u tw %u arp %u", m->heap, m->seg, m->seg_max, m->pcb, m->tw, m->arp);
}

// One line of the head.  If it is too long, gaps go first: columns may move, but nothing is cut.
static void
head_line(const struct model *m, void (*put)(struct nt_line *, const struct model *))
{
  char text[200];
  struct nt_line all = {text, 0, sizeof(text)}, o = sheet_line();
  put(&all, m);
  for(int i = 0; i < all.n; i++)
    if(all.n <= o.max || text[i] != ' ' || i == 0 || text[i - 1] != ' ')
      nt_printf(&o, "%c", text[i]);
}

// how: what the two figures are, if there is room to say it.
static void
put_latency(struct nt_line *o, const struct model *m, const char *how)
{
  nt_printf(o, "us%s", how);
  for(int i = 0; i < NUP; i++) {
    u32 p50, p99;
    dist_percentiles(&m->gap[i], &p50, &p99);
    nt_printf(o, " %s ", gap_name[i]);
    if(m->gap[i].n == 0) {
      nt_printf(o, "-");
      continue;
    }
    put_us(o, p50);
    nt_printf(o, "/");
    put_us(o, p99);
  }
}

static void
head_latency(const struct model *m)
{
  char text[120];
  struct nt_line all = {text, 0, sizeof(text)}, o = sheet_line();
  put_latency(&all, m, " p50/p99");
  put_latency(&o, m, all.n > o.max ? "" : " p50/p99");
}

// ---- the whole -------------------------------------------------------------------

// Fill the sheet with the head and the chosen view.
void
draw_views(const struct model *m)
{
  head_line(m, head_machine);
  head_line(m, head_rates);
  head_line(m, head_memory);
  if(rows >= SMALLEST)
    head_latency(m);
  if(want.help)
    draw_help(sheet_room());
  else if(want.view == V_FLOW)
    view_flow(m);
  else if(want.view == V_PATH)
    view_path(m);
  else if(want.view == V_DROP)
    view_drop(m);
  else if(want.view == V_EVENT)
    view_event(m);
  else
    draw_inside(m);
}

// Move the selection by one line down (1) or up (-1), or the view, which scrolls as long
// as its last line was not seen.
void
select_step(const struct model *m, int by)
{
  if(want.view == V_FLOW)
    flow_step(m, by);
  else if(want.view == V_EVENT)
    event_step(m, by);
  else if((want.view != V_LAYER && want.view != V_CPU) || by < 0 || sheet_room() < 2)
    want.row += want.row + by >= 0 ? by : 0;
}

// The packet of the selected line, 0: none.
u32
selected_packet(const struct model *m)
{
  const struct nt_slot *s = want.view == V_EVENT && want.record ? hist_at(m, want.record) : 0;
  if(want.view == V_PATH && want.row < m->nslow)
    return m->slow[want.row].pkt;
  return s ? s->pkt : 0;
}
