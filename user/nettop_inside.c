// nettop's views of the machine: layers, one connection, CPUs; and the help.
//
// Called by draw_views.  Durations and counts come from the metadata: every field
// whose unit is us has its row, every event its count.
#include "types.h"
#include "ulib64.h"
#include "user.h"
#include "nettop.h"

// ---- 4 layers ------------------------------------------------------------------

// n, median, 99th of 100, longest, and the histogram, from column `at` on.
static void
put_dist(struct nt_line *o, const struct dist *d, int at)
{
  u32 p50, p99;
  dist_percentiles(d, &p50, &p99);
  to_column(o, at);
  nt_printf(o, d->n ? "%4H" : "   -     -     -     -", d->n);
  if(d->n == 0)
    return;
  put_us_right(o, p50, 6);
  put_us_right(o, p99, 6);
  put_us_right(o, d->max, 6);
  for(int b = 0; b < NBUCKET; b++)
    if(d->hist[b])
      nt_printf(o, "%3u", d->hist[b] * 100 / d->n);
    else
      nt_printf(o, "  .");
}

// The scale of the histograms: lower ends, in us and ms; as wide as put_dist.
static void
dist_title(const char *what, int at)
{
  struct nt_line o = sheet_line();
  nt_printf(&o, "%s", what);
  to_column(&o, at);
  nt_printf(&o, "   N   p50   p99   max <1  1  2  4  8 16 32 64 .1 .2 .5 1m 2m 4m 8m 16");
  sheet_bright();
}

// A span's row: event.field.
static void
span_line(const struct model *m, int i)
{
  const struct nt_field *f;
  int id = span_owner(i, &f);
  struct nt_line o = sheet_line();
  nt_printf(&o, "%s.%s", tr.event[id].name, f->name);
  if(o.n > 9) { // the columns are the numbers'
    nt_printf(&o, " (%s)", f->doc);
    o = sheet_line();
  }
  put_dist(&o, &m->span[i], 9);
}

// Durations in events of the CPU stage, or in all others.
static void
draw_spans(const struct model *m, int cpu)
{
  const struct nt_field *f;
  for(int i = 0; i < span_count() && sheet_room() > 1; i++)
    if(m->span[i].n && (strcmp(tr.event[span_owner(i, &f)].stage, "CPU") == 0) == cpu)
      span_line(m, i);
}

// Events by stage, in their order: name, rate or total.  stage 0: all.
static void
draw_counts(const struct model *m, const char *stage)
{
  const char *last = "";
  struct nt_line o = {0, 0, 0};
  for(int id = 0; id < NT_MAXEV; id++) {
    const struct nt_event *e = &tr.event[id];
    if(e->name == 0 || m->count[id] == 0 || (stage && strcmp(e->stage, stage) != 0))
      continue;
    int fresh = strcmp(last, e->stage) != 0;
    if(fresh || o.n + (int)strlen(e->name) + 8 > o.max) {
      o = sheet_line();
      nt_printf(&o, "%-7s", fresh ? e->stage : "");
    }
    last = e->stage;
    nt_printf(&o, "  %s %H", e->name, want.total ? m->count[id] : m->count_rate[id]);
  }
}

// Above the counts; a view with them is longer than most screens.
static void
stage_title(void)
{
  struct nt_line o = sheet_line();
  nt_printf(&o, "STAGE    EVENTS %s", want.total ? "SINCE START OR z" : "PER SECOND");
  if(!want.batch)
    nt_printf(&o, "   (j k: scroll)");
  sheet_bright();
}

static void
view_layer(const struct model *m)
{
  dist_title("GAP", 9);
  for(int i = 0; i < NGAP; i++) {
    struct nt_line o = sheet_line();
    nt_printf(&o, "%s", gap_name[i]);
    put_dist(&o, &m->gap[i], 9);
  }
  stage_title();
  draw_counts(m, 0);
  dist_title("DURATION", 9);
  draw_spans(m, 0);
}

// ---- 6 one connection -----------------------------------------------------------

// The states it has been in, with the time spent there.
static void
draw_steps(const struct flow *f)
{
  struct nt_line o = sheet_line();
  int n = f->nstep < NSTEP ? f->nstep : NSTEP;
  nt_printf(&o, "states    ");
  for(int i = n; i > 0; i--) {
    const struct step *s = &f->step[(f->nstep - i) % NSTEP];
    if(o.n > 50) {
      o = sheet_line();
      to_column(&o, 10);
    }
    nt_named(&o, &tr, "TCPSTATE", s->from);
    nt_printf(&o, " ");
    put_us(&o, s->dwell_us < 4000000 ? s->dwell_us * 1000 : ~0u);
    nt_printf(&o, s->dwell_us < 4000000 ? " > (" : "+ > (");
    nt_named(&o, &tr, "TCP_WHY", s->why);
    nt_printf(&o, ") ");
  }
  put_state(&o, f);
}

// Everything that the last record of each kind says about it, field by field.
static void
draw_latest(const struct model *m)
{
  for(int id = NT_MAXEV; id-- > 0 && sheet_room() > 0;) { // the socket's before the stack's
    const struct nt_slot *s = &m->latest[id];
    const struct nt_event *e = &tr.event[id];
    if(s->nsl == 0 || e->name == 0 || strcmp(e->stage, "META") == 0)
      continue;
    struct nt_line o = sheet_line();
    nt_printf(&o, "%s", e->name);
    to_column(&o, 13);
    for(int i = nt_field(&tr, id, "rport") && e->nfield > 4 ? 4 : 0; i < e->nfield; i++) {
      char text[NT_MAXTEXT];
      struct nt_line t = {text, 0, sizeof(text) - 1};
      nt_put(&t, &tr, &e->field[i], s);
      text[t.n] = 0;
      if(o.n + (int)strlen(e->field[i].name) + t.n + 2 > o.max) {
        o = sheet_line();
        to_column(&o, 13);
      }
      nt_printf(&o, "%s=%s ", e->field[i].name, text);
    }
  }
}

static void
view_pcb(const struct model *m)
{
  const struct flow *f = flow_born(m, want.flow);
  struct nt_line o = sheet_line();
  if(f == 0) {
    nt_printf(&o, want.batch ? " No connection%s%s: nettop -b lists them, -f port=80 chooses one." : " No connection is selected: press 1, choose one with j and k, press Enter.",
              want.filter[0] ? " with " : " yet", want.filter);
    return;
  }
  nt_printf(&o, "sock %u  %s (%u)  :%u", f->sock, prog_name(m, f->owner), f->owner, f->lport);
  if(f->raddr)
    nt_printf(&o, " of %I < %I:%u", f->laddr, f->raddr, f->rport);
  nt_printf(&o, "  ");
  put_state(&o, f);
  nt_printf(&o, f->gone_ms ? ", gone" : "");
  sheet_bright();
  o = sheet_line();
  nt_printf(&o, "rx %H/s of %HB  tx %H/s of %HB  queue in %H out %H  again %u  drop %u", f->rx_rate, f->rx,
            f->tx_rate, f->tx, f->rcvq, f->sndq, f->rexmits, f->drops);
  draw_steps(f);
  draw_latest(m);
}

// ---- 7 CPUs -----------------------------------------------------------------------

static const char *const proc_state[] = {"-", "embryo", "sleep", "ready", "run", "zombie"};

// Index of the process with the k-th largest share.
static int
proc_place(const struct model *m, int k)
{
  for(int i = 0; i < m->nproc; i++) {
    int larger = 0;
    for(int o = 0; o < m->nproc; o++)
      larger += m->proc[o].percent > m->proc[i].percent || (m->proc[o].percent == m->proc[i].percent && o < i);
    if(larger == k)
      return i;
  }
  return 0;
}

static void
view_cpu(const struct model *m)
{
  struct nt_line o = sheet_line();
  nt_printf(&o, "  PID NAME             STATE   CPU  BUSY  SWITCH/s");
  sheet_bright();
  int some = sheet_room() / 3 < m->nproc ? sheet_room() / 3 : m->nproc;
  for(int k = 0; k < some; k++) {
    const struct process *p = &m->proc[proc_place(m, k)];
    o = sheet_line();
    nt_printf(&o, "%5u %-16s %-7s %3u  %3u%%  %6H", p->ps.pid, p->ps.name, proc_state[p->ps.state < 6 ? p->ps.state : 0],
              p->ps.cpu, p->percent, p->run_rate);
  }
  stage_title();
  draw_counts(m, "CPU");
  dist_title("DURATION", 9);
  draw_spans(m, 1);
}

// ---- help --------------------------------------------------------------------------

void
draw_help(int lines)
{
  static const char *const help[] = {
    "1-7  views: connections, packets, drops, layers, events, one connection, CPUs",
    "j k  or arrows: select a line, scroll     Enter  more about it     Esc  back",
    "p    or space: stand still, the trace goes on            + -  faster, slower",
    "/    filter: port=80  pid=4  state=LISTEN  pkt=12  flags=SYN  or any text",
    "s S  sort by the next, the last column     r  the other way round",
    "t    rates or totals     z  count from zero     n  numbers for names",
    "e    the last events or more connections     m  a mark into the trace",
    "w    this screen into the file nettop.txt     Ctrl-L  draw anew     q  quit",
    "",
    "lost    records this program was too slow for; ! just now: rates are too low",
    "cpu     100% less the time without work, by the kernel's own account",
    "unread  of the trace's ring, waits for us; at 100% records are lost",
    "heap    bytes of the stack's memory in use; seg in use/most ever; ring in use/size",
    "us      from interrupt to netd, to IP, to TCP or UDP, to socket, to program:",
    "        the middle and the 99th of 100 of the last 256; 4.1m are ms, 2.3s s",
    "*  lost or repeated something just now    -  closed, stays here for 10 s",
    "RTT ms, smoothed   CWND congestion window   Q bytes queued   XM sent again",
    "1i #14  CPU 1, in an interrupt (n netd, d timer, - process), packet 14",
    "GAP     under <1 1 2 ...: how many of 100 took less than 1 us, 1 us, 2 us ...",
  };
  struct nt_line title = sheet_line();
  nt_printf(&title, "Help                                                    ? again: back");
  sheet_bright();
  for(u32 i = 0; i < sizeof(help) / sizeof(help[0]) && lines > 1; i++) {
    struct nt_line o = sheet_line();
    nt_printf(&o, "%s", help[i]);
  }
}

void
draw_inside(const struct model *m)
{
  if(want.view != V_PCB)
    sheet_skip(want.row);
  if(want.view == V_LAYER)
    view_layer(m);
  else if(want.view == V_PCB)
    view_pcb(m);
  else
    view_cpu(m);
}
