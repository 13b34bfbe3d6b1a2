// nettop: one packet's way through the machine, and how long its parts took.
//
// The model calls path_record with every record it keeps, the views ask for
// journeys.  A gap is the time between two events of one packet that follow each
// other in `marks`; a span is a field that is a duration (unit us), of whatever
// event.  Marks are names: what this kernel does not have leaves its gaps empty.
#include "types.h"
#include "ulib64.h"
#include "user.h"
#include "nettop.h"

#define DOWN 8   // first mark of the way down
#define NEAR 512 // slots in which a packet's neighbours are looked for

// The stages of a packet's way.  Mark m ends gap m - 1 on the way up, and gap
// NUP + m - DOWN - 1 on the way down.
static const struct {
  const char *event;
  int mark;
} marks[] = {
  {"e1000_rx", 1},
  {"ip_in", 2},
  {"tcp_seg_in", 3},
  {"udp_in", 3},
  {"sock_rx", 4},
  {"sock_read", 5},
  {"sock_tx", DOWN},
  {"tcp_seg_out", DOWN + 1},
  {"udp_out", DOWN + 1},
  {"ip_out", DOWN + 2},
  {"ethif_tx", DOWN + 3},
  {"e1000_tx", DOWN + 4},
  {"e1000_txdone", DOWN + 5},
};

const char *const gap_name[NGAP] = {
  "irq>netd",
  ">ip",
  ">tcp",
  ">sock",
  ">app",
  "sock>tcp",
  ">ip",
  ">eth",
  ">ring",
  ">wire",
};

static signed char mark_of[NT_MAXEV]; // -1: none
static int id_intr, id_link, id_rx, id_wakeup, id_switch, id_end, id_lost;
static const struct nt_field *intr_icr, *intr_rdh, *intr_netif, *rx_slot, *rx_netif, *link_parent, *link_kind, *wake_who, *switch_next;
static u32 int_rx, link_segment, link_acked;

// Fields that are durations.
static struct {
  int id;
  const struct nt_field *field;
} spans[NSPAN];
static int nspan;
static int first_span[NT_MAXEV]; // -1: none

static void
find_spans(void)
{
  for(int id = 0; id < NT_MAXEV; id++) {
    first_span[id] = -1;
    const struct nt_event *e = &tr.event[id];
    for(int i = 0; e->name && i < e->nfield && nspan < NSPAN; i++) {
      if(strcmp(e->field[i].unit, "us") != 0)
        continue;
      if(first_span[id] < 0)
        first_span[id] = nspan;
      spans[nspan].id = id;
      spans[nspan++].field = &e->field[i];
    }
  }
}

static const struct nt_field *
field_of(int id, const char *name)
{
  return id < 0 ? 0 : nt_field(&tr, id, name);
}

// Look the names up.  After nt_open, before the first record.
void
path_begin(void)
{
  memset(mark_of, -1, sizeof(mark_of));
  for(u32 i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
    int id = nt_event(&tr, marks[i].event);
    if(id >= 0)
      mark_of[id] = marks[i].mark;
  }
  id_intr = nt_event(&tr, "e1000_intr");
  id_rx = nt_event(&tr, "e1000_rx");
  id_link = nt_event(&tr, "pkt_link");
  id_wakeup = nt_event(&tr, "wakeup");
  id_switch = nt_event(&tr, "switch");
  id_end = nt_event(&tr, "pkt_end");
  id_lost = nt_event(&tr, "lost");
  intr_icr = field_of(id_intr, "icr");
  intr_rdh = field_of(id_intr, "rdh");
  intr_netif = field_of(id_intr, "netif");
  rx_slot = field_of(id_rx, "slot");
  rx_netif = field_of(id_rx, "netif");
  link_parent = field_of(id_link, "parent");
  link_kind = field_of(id_link, "kind");
  wake_who = field_of(id_wakeup, "who");
  switch_next = field_of(id_switch, "next");
  int_rx = nt_number(&tr, "E1000INT", "RXT0");
  link_acked = nt_number(&tr, "LINK", "ACKED_BY");
  link_segment = nt_number(&tr, "LINK", "SEGMENT");
  find_spans();
}

int
span_count(void)
{
  return nspan;
}

// The event of a span, and its field.
u32
span_owner(int span, const struct nt_field **f)
{
  *f = spans[span].field;
  return spans[span].id;
}

// ---- durations ---------------------------------------------------------------

// A difference of stamps in ns; what is longer than 4 s counts as that.
u32
tsc_ns(u64 tsc)
{
  u32 khz = tr.h.tsc_khz;
  if(khz == 0 || tsc >> 32 > khz / 250) // about 4 s
    return khz ? ~0u : 0;
  u64 ns = tsc * 1000000;
  div64(&ns, khz);
  return ns >> 32 ? ~0u : ns;
}

void
dist_add(struct dist *d, u64 ns)
{
  u32 v = ns >> 32 ? ~0u : ns;
  int b = 0;
  for(u32 us = v / 1000; us && b < NBUCKET - 1; us >>= 1)
    b++;
  d->recent[d->n++ % NRECENT] = v;
  d->hist[b]++;
  if(v > d->max)
    d->max = v;
}

// The middle and the 99th of 100 among the last NRECENT durations; 0 if there are none.
void
dist_percentiles(const struct dist *d, u32 *p50, u32 *p99)
{
  static u32 v[NRECENT];
  int n = d->n < NRECENT ? d->n : NRECENT;
  for(int i = 0; i < n; i++)
    v[i] = d->recent[i];
  for(int gap = n / 2; gap > 0; gap /= 2) // Shell's sort
    for(int i = gap; i < n; i++)
      for(int k = i; k >= gap && v[k - gap] > v[k]; k -= gap) {
        u32 x = v[k];
        v[k] = v[k - gap];
        v[k - gap] = x;
      }
  *p50 = n ? v[(n - 1) / 2] : 0;
  *p99 = n ? v[(n * 99 + 99) / 100 - 1] : 0;
}

// ---- gaps ----------------------------------------------------------------------

// The packet has passed a mark: account for the gap that ends there, if it begins
// at the mark before.  Each mark counts once, however often it is passed.
static void
pass(struct packet *p, int mark, u64 ts)
{
  int up = mark < DOWN;
  if(p->mark == mark - 1 && mark != DOWN)
    dist_add(&live.gap[up ? mark - 1 : NUP + mark - DOWN - 1], tsc_ns(ts - p->at));
  if(mark <= p->mark && up == (p->mark < DOWN))
    return;
  p->mark = mark;
  p->at = ts;
}

// Is the packet of the model's memory that one?
static struct packet *
packet_of(u32 pkt)
{
  struct packet *p = &live.packet[pkt % NPKT];
  return pkt && p->pkt == pkt ? p : 0;
}

// A segment carries bytes of a write: the socket's gap is between the two.
static void
pass_link(const struct nt_slot *s)
{
  if(link_parent == 0 || link_kind == 0 || nt_value(link_kind, s) != link_segment)
    return;
  const struct packet *from = packet_of(nt_value(link_parent, s)), *to = packet_of(s->pkt);
  if(from && to && from->mark == DOWN && to->mark == DOWN + 1 && to->at >= from->at)
    dist_add(&live.gap[NUP], tsc_ns(to->at - from->at));
}

// Which card an interrupt or a received frame is about.
static int
card_of(const struct nt_slot *s)
{
  const struct nt_field *f = s->id == id_intr ? intr_netif : s->id == id_rx ? rx_netif
                                                                            : 0;
  return f ? nt_value(f, s) % NCARD : 0;
}

// An interrupt for frames, the next to be reaped being the one in `slot`?  The card's head
// has not passed that slot if netd had been quicker and reaped what the interrupt tells of.
static int
announces(const struct nt_slot *s, u32 slot)
{
  return s->id == id_intr && intr_icr && intr_rdh && nt_value(intr_icr, s) & int_rx &&
         nt_value(intr_rdh, s) != slot;
}

// Keep when the card told of frames that nobody has reaped yet.  After a loss, and before the
// first frame, the slot that comes next is not known: no interrupt counts.
static void
note_interrupt(const struct nt_slot *s)
{
  int card = card_of(s);
  u32 *next = &live.rx_next[card];
  if(s->id == id_lost) {
    memset(live.irq_at, 0, sizeof(live.irq_at));
    memset(live.rx_next, 0, sizeof(live.rx_next));
  } else if(s->id == id_rx && rx_slot) {
    *next = nt_value(rx_slot, s) + 1;
  } else if(*next && live.irq_at[card] == 0 && announces(s, live.rx_size ? *next % live.rx_size : *next)) {
    live.irq_at[card] = s->ts;
  }
}

// Account for one record that the model has just remembered.
void
path_record(const struct nt_slot *s)
{
  for(int i = first_span[s->id]; i >= 0 && i < nspan && spans[i].id == s->id; i++) {
    long long us = nt_value(spans[i].field, s);
    dist_add(&live.span[i], us > 0 ? us * 1000 : 0);
  }
  note_interrupt(s);
  if(s->id == id_link)
    pass_link(s);
  struct packet *p = packet_of(s->pkt);
  if(p == 0 || mark_of[s->id] < 0)
    return;
  u64 *irq_at = &live.irq_at[card_of(s)];
  if(s->id == id_rx && *irq_at) { // the first frame the interrupt was for
    p->mark = 0;
    p->at = *irq_at;
    *irq_at = 0;
  }
  pass(p, mark_of[s->id], s->ts);
}

// ---- journeys --------------------------------------------------------------------

// The interrupt that told of the frame reaped in slot n: the nearest before it, if
// no other frame has been reaped since.  0: none.
static const struct nt_slot *
interrupt_before(const struct model *m, u32 n)
{
  int card = card_of(hist_at(m, n));
  u32 slot = rx_slot ? nt_value(rx_slot, hist_at(m, n)) : 0;
  for(u32 k = n - 1; m->nhist - k <= NHIST && n - k < NEAR; k--) {
    const struct nt_slot *s = hist_at(m, k);
    if(s && s->id == id_lost)
      return 0; // there may have been a nearer one
    if(s == 0 || card_of(s) != card)
      continue;
    if(s->id == id_rx)
      return 0;
    if(announces(s, slot))
      return s;
  }
  return 0;
}

// When the process woken in slot n got a CPU, 0 if that is not known.
static const struct nt_slot *
switch_after(const struct model *m, u32 n)
{
  const struct nt_slot *wake = hist_at(m, n);
  if(switch_next == 0 || wake_who == 0)
    return 0;
  for(u32 k = n + 1; k != m->nhist && k - n < NEAR; k++) {
    const struct nt_slot *s = hist_at(m, k);
    if(s && s->id == id_lost)
      return 0; // it may have run before
    if(s && s->id == id_switch && nt_value(switch_next, s) == nt_value(wake_who, wake))
      return s;
  }
  return 0;
}

// Put one record into a journey, at its time; a full one keeps its earliest.
static void
journey_add(struct journey *j, const struct nt_slot *s)
{
  int k = j->n;
  if(s == 0 || (k == NJOURN && s->ts >= j->step[k - 1].ts))
    return;
  if(k == NJOURN)
    k--;
  else
    j->n++;
  for(; k > 0 && j->step[k - 1].ts > s->ts; k--)
    j->step[k] = j->step[k - 1];
  j->step[k] = *s;
  j->step[k].nsl = 1; // a longer text is cut
}

// What the history still knows of a packet: its own records, the interrupt before
// its first, and when a process it woke came to run.  n 0: nothing.
void
path_collect(const struct model *m, u32 pkt, struct journey *j)
{
  const struct packet *p = &m->packet[pkt % NPKT];
  j->pkt = pkt;
  j->n = 0;
  if(pkt == 0 || p->pkt != pkt)
    return;
  for(u32 n = p->last; n; n = m->prev[n % NHIST]) {
    const struct nt_slot *s = hist_at(m, n);
    if(s == 0 || s->pkt != pkt)
      break;
    if(s->id != id_link || link_kind == 0 || nt_value(link_kind, s) != link_acked) // that is the peer's time
      journey_add(j, s);
    if(s->id == id_rx)
      journey_add(j, interrupt_before(m, n));
    if(s->id == id_wakeup)
      journey_add(j, switch_after(m, n));
  }
  if(j->n == 0)
    return;
  j->first = j->step[0].ts;
  j->last = j->step[j->n - 1].ts;
}

static u64
lasted(const struct journey *j)
{
  return j->last - j->first;
}

// Put a journey among the slowest, in place of what is known of the same packet
// (unless that was more: the history forgets the oldest records first).
static void
rank(const struct journey *j)
{
  int k = 0;
  while(k < live.nslow && live.slow[k].pkt != j->pkt)
    k++;
  if(k == NSLOW)
    k--;
  else if(k == live.nslow)
    live.slow[live.nslow++] = (struct journey){0};
  if(lasted(j) <= lasted(&live.slow[k]))
    return;
  for(; k > 0 && lasted(j) > lasted(&live.slow[k - 1]); k--)
    live.slow[k] = live.slow[k - 1];
  live.slow[k] = *j;
}

// Compare the packets of the last refresh with the slowest.  Only those that have
// been seen from birth on and have an end count.
void
path_slowest(void)
{
  static struct journey j;
  for(struct packet *p = live.packet; p < live.packet + NPKT; p++) {
    if(p->pkt == 0 || p->judged)
      continue;
    p->judged = 1;
    path_collect(&live, p->pkt, &j);
    int ended = 0;
    for(int i = 0; i < j.n; i++)
      ended |= j.step[i].id == id_end;
    if(ended)
      rank(&j);
  }
}
