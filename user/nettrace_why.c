// nettrace why N: where one packet spent its time.  nettrace graph N: through
// which functions of the kernel it went.
//
// One pass over the ring picks the packet's own records, and those that carry it
// without knowing it: the interrupt that announced its frame, and each switch to a
// process that it woke.  What the packet was in between two records follows from
// the first of them.
#include "cmd.h"
#include "fcntl.h"
#include "sys.h"
#include "ulib64.h"
#include "user.h"
#include "ntprog.h"

#define NROW  240 // records of one packet that are shown
#define NPAST 256 // interrupts, wakeups and switches remembered, in case they are its own
#define NLINK 32
#define NCALL 400 // calls of one packet that are shown
#define ROOM  400 // for a record of one slot as text
#define NPART 16
#define NHALF 12 // of them, those without a name of ours

// The events that are looked for by name; -1 if this kernel has none.
static struct {
  int e1000_intr, e1000_rx, e1000_stat, wakeup, switch_, pkt_link, pkt_end, sock_rx, sock_read, func, func_exit;
  u32 netd; // a value of SLEEPWHY
} ev;

static struct row {
  struct nt_slot s; // the first slot: what is shown of a packet's event fits there
  const char *part; // what the packet is in from here on
} row[NROW];
static u32 nrow, nmore;

static struct nt_slot past[NPAST]; // a ring
static u32 npast, nsched;          // nsched: of the scheduler
static u32 rx_size = 256;          // of the card's receive ring

static struct {
  u32 pkt;
  const char *kind;
  int child; // of our packet, else its parent
} links[NLINK];
static u32 nlink;
static u32 first_pkt, last_pkt; // in the ring

// ---- what a packet is in ---------------------------------------------------

static struct {
  const char *name;
  u64 ns;
} part[NPART];
static u32 npart;

// From an event on the packet is in this part.  Names ending in _ stand for all that
// begin so; "" keeps the last part.
static const struct {
  const char *event, *part;
} parts[] = {
  {"e1000_intr", "irq"},
  {"e1000_txkick", "ring"},
  {"e1000_txdone", "wire"},
  {"e1000_", "driver"},
  {"ethif_", "queue"},
  {"sock_read", "application"},
  {"sock_state", ""},
  {"sock_", "socket"},
  {"sys_enter", "syscall"},
  {"sys_exit", "application"},
  {"wakeup", "scheduler"},
  {"net_drop", ""},
  {"frame", ""},
};

static int
stands_for(const char *name, const char *event)
{
  int n = strlen(name);
  return strcmp(name, event) == 0 || (name[n - 1] == '_' && memcmp(name, event, n) == 0);
}

// An event of the stack or the interface that is not in the table puts the packet in what
// the first half of its name says (tcp_state: tcp); one of another stage changes nothing.
static const char *
part_name(const struct nt_event *e)
{
  for(u32 i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
    if(stands_for(parts[i].event, e->name))
      return parts[i].part;
  if(strcmp(e->stage, "STACK") != 0 && strcmp(e->stage, "NETIF") != 0)
    return "";
  static char half[NHALF][16];
  static int nhalf;
  const char *end = strchr(e->name, '_');
  int n = end ? end - e->name : (int)strlen(e->name);
  for(int i = 0; i < nhalf; i++)
    if(memcmp(half[i], e->name, n) == 0 && half[i][n] == 0)
      return half[i];
  if(nhalf == NHALF || n > 15)
    return "";
  memmove(half[nhalf], e->name, n);
  return half[nhalf++];
}

static void
add_row(const struct nt_slot *s, const char *name)
{
  if(nrow == NROW) {
    nmore++;
    return;
  }
  struct row *r = &row[nrow++];
  r->s = *s;
  r->part = *name ? name : nrow > 1 ? r[-1].part
                                    : "start";
}

// ---- picking the records ---------------------------------------------------

// Was the frame of descriptor slot among those an interrupt found?  The card's head had
// passed it then, but not at the interrupt before.
static int
announced(const struct nt_slot *intr, u32 slot, u32 before)
{
  u32 head = nt_get(&tr, intr, "rdh");
  return (slot - before + rx_size) % rx_size < (head - before + rx_size) % rx_size;
}

// The frame's way to the driver: the interrupt that announced it, the wakeup of netd, and
// the switch to it.  rx: its e1000_rx.  Nothing if netd was at work anyway.
static void
add_way_in(const struct nt_slot *rx)
{
  u32 slot = nt_get(&tr, rx, "slot"), card = nt_get(&tr, rx, "netif"), who = 0, before = 0, seen = 0;
  const struct nt_slot *intr = 0;
  for(u32 i = npast > NPAST ? npast - NPAST : 0; i < npast; i++) {
    const struct nt_slot *s = &past[i % NPAST];
    if(s->id == ev.e1000_intr) {
      if(nt_get(&tr, s, "netif") != card)
        continue;
      if(seen++ && announced(s, slot, before))
        intr = s, add_row(s, "ring");
      before = nt_get(&tr, s, "rdh");
    } else if(intr && who == 0 && s->id == ev.wakeup && nt_get(&tr, s, "why") == ev.netd) {
      who = nt_get(&tr, s, "who");
      row[0].part = "irq";
      add_row(s, "scheduler");
    } else if(who && s->id == ev.switch_ && nt_get(&tr, s, "next") == who) {
      add_row(s, "ring");
      intr = 0;
    }
  }
}

static void
add_link(const struct nt_slot *s, u32 pkt)
{
  u32 parent = nt_get(&tr, s, "parent");
  if((s->pkt != pkt && parent != pkt) || nlink == NLINK)
    return;
  const struct nt_name *kind = nt_value_name(&tr, "LINK", nt_get(&tr, s, "kind"));
  links[nlink].child = parent == pkt;
  links[nlink].pkt = parent == pkt ? s->pkt : parent;
  links[nlink++].kind = kind ? kind->name : "linked";
}

// One record of the ring, in order of time.  *woken: the process that our packet
// woke and that has not run since.
static void
look_at(const struct nt_slot *s, u32 pkt, u32 *woken)
{
  if(s->pkt) {
    if(first_pkt == 0 || s->pkt < first_pkt)
      first_pkt = s->pkt;
    if(s->pkt > last_pkt)
      last_pkt = s->pkt;
  }
  if(s->id == ev.pkt_link)
    add_link(s, pkt);
  if(s->id == ev.e1000_stat && nt_get(&tr, s, "rx_size"))
    rx_size = nt_get(&tr, s, "rx_size");
  nsched += s->id == ev.wakeup || s->id == ev.switch_;
  if(s->id == ev.func || s->id == ev.func_exit)
    return; // graph's
  if(s->pkt == pkt) {
    if(s->id == ev.e1000_rx && nrow == 0)
      add_way_in(s);
    if(s->id == ev.wakeup)
      *woken = nt_get(&tr, s, "who");
    else if(s->id == ev.pkt_end || s->id == ev.sock_read)
      *woken = 0;
    add_row(s, *woken ? "scheduler" : part_name(&tr.event[s->id]));
  } else if(*woken && s->id == ev.switch_ && nt_get(&tr, s, "next") == *woken) {
    add_row(s, "application");
    *woken = 0;
  } else if(s->id == ev.e1000_intr || s->id == ev.wakeup || s->id == ev.switch_) {
    past[npast++ % NPAST] = *s;
  }
}

static void
look_up(void)
{
  ev.e1000_intr = nt_event(&tr, "e1000_intr");
  ev.e1000_rx = nt_event(&tr, "e1000_rx");
  ev.e1000_stat = nt_event(&tr, "e1000_stat");
  ev.wakeup = nt_event(&tr, "wakeup");
  ev.switch_ = nt_event(&tr, "switch");
  ev.netd = nt_number(&tr, "SLEEPWHY", "NETD");
  ev.pkt_link = nt_event(&tr, "pkt_link");
  ev.pkt_end = nt_event(&tr, "pkt_end");
  ev.sock_read = nt_event(&tr, "sock_read");
  ev.func = nt_event(&tr, "func");
  ev.func_exit = nt_event(&tr, "func_exit");
  ev.sock_rx = nt_event(&tr, "sock_rx");
}

// ---- printing --------------------------------------------------------------

// ns as microseconds, the thousandths too: nothing is rounded, so that sums are exact.
static void
put_us(u64 ns, int width)
{
  u64 us = ns;
  u32 rest = div64(&us, 1000);
  char digits[24];
  struct nt_line n = {digits, 0, sizeof(digits) - 1};
  nt_printf(&n, "%U.%03u", us, rest);
  digits[n.n] = 0;
  for(int i = n.n; i < width; i++)
    nt_printf(&out, " ");
  nt_printf(&out, "%s", digits);
}

static int
part_of_name(const char *name)
{
  u32 i = 0;
  while(i < npart && strcmp(part[i].name, name) != 0)
    i++;
  if(i == NPART)
    return NPART - 1;
  if(i == npart)
    part[npart++].name = name;
  return i;
}

// Columns of the terminal; what tells least stands last in a line and may be cut.
static int
columns(void)
{
  int size = ttyctl(1, TTY_SIZE, 0);
  return size > 0 ? (size & 0xffff) - 1 : 1000;
}

// The event and its fields, as nt_print writes them, without the packet's number.
static void
put_event(const struct nt_slot *s, int room)
{
  char text[ROOM];
  struct nt_line line = {text, 0, sizeof(text)};
  nt_print(&line, &tr, s);
  int from = 0;
  while(from < line.n && (text[from] == '#' || text[from] == '-' || ('0' <= text[from] && text[from] <= '9')))
    from++;
  while(from < line.n && text[from] == ' ')
    from++;
  text[line.n < from + room ? line.n : from + room] = 0;
  nt_printf(&out, "%s", text + from);
}

static void
print_row(const struct row *r, u64 since)
{
  int width = columns();
  put_us(trace_ns(r->s.ts) - trace_ns(row[0].s.ts), 9);
  put_us(since, 11);
  nt_printf(&out, "  %-11s ", r > row ? r[-1].part : "");
  put_event(&r->s, width - 34);
  out_line();
}

// The rows behind the packet's end: what it is told later, such as who acknowledged it,
// took none of its time.
static u32
after_end(void)
{
  for(u32 i = 0; i < nrow; i++)
    if(row[i].s.id == ev.pkt_end)
      return i + 1;
  return nrow;
}

static void
print_rows(void)
{
  u32 end = after_end();
  u64 first = trace_ns(row[0].s.ts), last = first, sum = 0;
  nt_printf(&out, "  time us     gap us  in          event\n");
  for(struct row *r = row; r < row + end; r++) {
    u64 now = trace_ns(r->s.ts), gap = now - last;
    print_row(r, gap);
    part[part_of_name(r > row ? r[-1].part : "")].ns += gap;
    sum += gap;
    last = now;
  }
  put_us(last - first, 9);
  put_us(sum, 11);
  nt_printf(&out, "  sum of the gaps\n");
  for(struct row *r = row + end; r < row + nrow; r++) {
    r[-1].part = "(over)";
    print_row(r, trace_ns(r->s.ts) - last);
  }
}

// The parts in the order in which the packet was first in them.
static void
print_parts(void)
{
  nt_printf(&out, "spent in:");
  for(u32 i = 0; i < npart; i++) {
    if(part[i].ns == 0)
      continue;
    nt_printf(&out, " %s ", part[i].name);
    put_us(part[i].ns, 0);
  }
  nt_printf(&out, "\n");
}

// What was not recorded cannot be shown: say how it can be.
static void
print_hints(void)
{
  int woke = 0, queued = 0;
  for(u32 i = 0; i < nrow; i++) {
    woke |= row[i].s.id == ev.wakeup;
    queued |= row[i].s.id == ev.sock_rx;
  }
  if(nmore)
    nt_printf(&out, "%u more events of it are not shown\n", nmore);
  if(queued && !woke && nsched == 0)
    nt_printf(&out, "no scheduler here: nettrace enable @CPU,@SYSCALL records it from now on\n");
}

int
why(u32 pkt)
{
  u32 woken = 0;
  trace_open(O_NONBLOCK, 0, 0);
  look_up();
  for(const struct nt_slot *s; (s = nt_next(&tr)) != 0;)
    if(s->id < NT_MAXEV && tr.event[s->id].name)
      look_at(s, pkt, &woken);
  if(nrow == 0 && last_pkt == 0)
    printf(2, "nettrace: no packet in the ring\n");
  else if(nrow == 0)
    printf(2, "nettrace: no packet #%u in the ring, which has #%u to #%u\n", pkt, first_pkt, last_pkt);
  if(nrow == 0)
    return 1;
  nt_printf(&out, "packet #%u\n", pkt);
  print_rows();
  print_parts();
  for(u32 i = 0; i < nlink; i++)
    if(links[i].child)
      nt_printf(&out, "#%u is %s of it\n", links[i].pkt, links[i].kind);
    else
      nt_printf(&out, "is %s of #%u\n", links[i].kind, links[i].pkt);
  print_hints();
  out_flush();
  return 0;
}

// ---- graph -----------------------------------------------------------------

// A call that the packet made.
static struct call {
  u64 ts;
  u64 dur;    // ticks; exact if it was seen to return, else no more than that; 0 unknown
  u32 fn;     // its address
  u32 thread; // pid, or which CPU's idle loop
  u16 depth;  // 1 outermost; 0 unknown
  u8 returned;
} call[NCALL];
static u32 ncall, nskip;

static u32
thread_of(const struct nt_slot *s)
{
  return s->pid ? s->pid : 0x10000 + (s->cpu_ctx & 15);
}

// A call of the packet's has returned: its time is exact.
static void
call_returned(const struct nt_slot *s, u32 fn, u32 depth)
{
  for(struct call *c = call + ncall; c-- > call;)
    if(!c->returned && c->fn == fn && c->depth == depth && c->thread == thread_of(s)) {
      c->dur = nt_get(&tr, s, "dur_tsc");
      c->returned = 1;
      return;
    }
}

// A function was entered at this depth: those of the same depth or deeper have been left by
// then, whether or not we shall see it.
static void
call_bounds(const struct nt_slot *s, u32 depth)
{
  for(struct call *c = call + ncall; c-- > call;)
    if(!c->returned && c->dur == 0 && c->thread == thread_of(s) && c->depth >= depth)
      c->dur = s->ts - c->ts;
}

static void
add_call(const struct nt_slot *s, u32 fn, u32 depth)
{
  if(ncall == NCALL) {
    nskip++;
    return;
  }
  call[ncall++] = (struct call){.ts = s->ts, .fn = fn, .thread = thread_of(s), .depth = depth};
}

static void
print_calls(void)
{
  u64 first = trace_ns(call[0].ts);
  int indent = 0;
  nt_printf(&out, "  time us    took us   function\n");
  for(const struct call *c = call; c < call + ncall; c++) {
    if(c == call || c->thread != c[-1].thread) {
      nt_printf(&out, c->thread < 0x10000 ? "                       in process %u:" : "                       in the idle loop:", c->thread);
      out_line();
    }
    put_us(trace_ns(c->ts) - first, 9);
    if(c->dur)
      put_us(trace_ns(c->dur), 11);
    else
      nt_printf(&out, "          ?");
    indent = c->depth ? c->depth - 1 : indent + 1;
    nt_printf(&out, c->returned || c->dur == 0 ? "   " : " ? ");
    for(int i = 0; i < indent; i++)
      nt_printf(&out, "  ");
    nt_function(&out, c->fn);
    out_line();
  }
}

// The calls that packet pkt made, nested.  The time is that from entry to return, with all
// that it called and slept; where no return was recorded, that to the next call at its
// level or further out, marked ?: it took no longer.
int
graph(u32 pkt)
{
  trace_open(O_NONBLOCK, 0, 0);
  look_up();
  for(const struct nt_slot *s; (s = nt_next(&tr)) != 0;) {
    if(s->id != ev.func && s->id != ev.func_exit)
      continue;
    u32 fn = nt_get(&tr, s, "fn"), depth = nt_get(&tr, s, "depth");
    if(s->id == ev.func_exit) {
      call_returned(s, fn, depth);
      continue;
    }
    call_bounds(s, depth);
    if(s->pkt == pkt)
      add_call(s, fn, depth);
  }
  if(ncall == 0) {
    printf(2, "nettrace: no function was recorded for packet #%u: nettrace enable 'func*'; nettrace func '*'; "
              "send it again; nettrace func off\n",
           pkt);
    return 1;
  }
  nt_printf(&out, "packet #%u\n", pkt);
  print_calls();
  if(nskip)
    nt_printf(&out, "%u more calls of it are not shown\n", nskip);
  out_flush();
  return 0;
}
