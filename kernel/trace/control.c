// Control lines: what is recorded, and what a reader wants of it.
//
// devtrace.c hands over what was written to /dev/nettrace, in thread context.  A
// command is one line; it returns 0, or why it was refused, and then has changed
// nothing.  r is the reader that wrote it, 0 for an open without a view.  All of it
// runs with trace_ctl held, which is taken before a reader's own lock.
#include "uapi/types.h"
#include "uapi/net.h"
#include "uapi/nettrace.h"
#include "defs.h"
#include "proc.h"
#include "trace/control.h"
#include "trace/filter.h"
#include "trace/reader.h"
#include "trace/trace.h"

#define TICK_NS  10000000ull // of the timer
#define NWRITE   512         // characters of one write
#define MAXWAIT  600000      // ms
#define MAXAFTER 1000000     // slots that stop-on lets pass

struct sleeplock trace_ctl;
char last_err[NLINE];
void (*trace_snap)(void);

// Record what the base set or any reader wants.
void
trace_reselect(void)
{
  u8 set[NT_MAXEV];
  for(u32 id = 0; id < NT_MAXEV; id++) {
    set[id] = trace_base[id];
    ever_base[id] |= trace_base[id];
    for(struct reader *r = readers; r < readers + NREADER; r++)
      set[id] |= r->used && r->view[id] == VIEW_ON;
  }
  trace_select(set);
}

// Set set[id] = val for each of the n characters' patterns, which commas separate.
// With val -1 each begins with + or - and says itself which.  0, or why it was refused;
// then part of set may be changed.  Caller holds trace_ctl.
const char *
trace_patterns(const char *arg, u32 n, u8 *set, int val)
{
  static char why[NLINE]; // trace_ctl
  for(u32 i = 0, len; i <= n; i += len + 1) {
    const char *pat = arg + i;
    for(len = 0; i + len < n && pat[len] != ',';)
      len++;
    u32 sign = val < 0;
    if(sign && (len == 0 || (*pat != '+' && *pat != '-')))
      return "want + or - before each pattern";
    if(len == sign)
      return "want an event's name or a pattern: nettrace list shows them";
    if(trace_match(pat + sign, len - sign, set, (u8)(sign ? *pat == '+' : val)) == 0) {
      u32 at = (u32)ksnprintf(why, sizeof(why), "unknown event ");
      safestrcpy(why + at, pat + sign, (int)(len - sign + 1));
      return why;
    }
  }
  return 0;
}

// Change a set by patterns, all of them or none.
static const char *
set_patterns(u8 *set, const char *arg, int val)
{
  static u8 copy[NT_MAXEV]; // trace_ctl
  memmove(copy, set, sizeof(copy));
  const char *why = trace_patterns(arg, strlen(arg), copy, val);
  if(why)
    return why;
  memmove(set, copy, sizeof(copy));
  trace_reselect();
  return 0;
}

// 1 and *val if s is a decimal number.
static int
number(const char *s, u32 *val)
{
  u32 n = 0;
  if(*s == 0)
    return 0;
  for(; *s; s++) {
    u32 digit = (u32)(*s - '0');
    if(digit > 9 || n > (~0u - digit) / 10)
      return 0;
    n = n * 10 + digit;
  }
  *val = n;
  return 1;
}

static const char *
cmd_enable(struct reader *r, char *arg)
{
  return r ? set_patterns(r->view, arg, VIEW_ON) : set_patterns(trace_base, arg, 1);
}

static const char *
cmd_disable(struct reader *r, char *arg)
{
  return r ? set_patterns(r->view, arg, VIEW_OFF) : set_patterns(trace_base, arg, 0);
}

static const char *
cmd_base(struct reader *r, char *arg)
{
  (void)r;
  return set_patterns(trace_base, arg, -1);
}

static const char *
cmd_from(struct reader *r, char *arg)
{
  u32 back = nt_page.hdr.nslots;
  if(strcmp(arg, "now") == 0)
    back = 0;
  else if(strcmp(arg, "oldest") != 0 && (*arg != '-' || !number(arg + 1, &back) || back > nt_page.hdr.nslots))
    return "from: want oldest, now, or -N with at most the ring's slots";
  acquiresleep(&r->lock);
  reader_seek(r, back);
  releasesleep(&r->lock);
  readers_floor();
  return 0;
}

static const char *
cmd_timeout(struct reader *r, char *arg)
{
  u32 ms;
  if(!number(arg, &ms) || ms > MAXWAIT)
    return "timeout: want milliseconds, at most 600000";
  r->timeout_ms = ms;
  return 0;
}

static const char *
cmd_sync(struct reader *r, char *arg)
{
  if(*arg)
    return "sync: takes no argument";
  acquiresleep(&r->lock);
  r->sync = NT_MAXCPU;
  releasesleep(&r->lock);
  return 0;
}

// Have the machine's present state recorded; netd does its part when it runs next.
void
take_snap(void)
{
  clock_sync();
  proc_snap();
  if(trace_snap)
    trace_snap();
}

static const char *
cmd_snap(struct reader *r, char *arg)
{
  (void)r;
  if(*arg)
    return "snap: takes no argument";
  take_snap();
  return 0;
}

static const char *
cmd_mark(struct reader *r, char *arg)
{
  (void)r;
  if(*arg == 0 || strlen(arg) > 100)
    return "mark: want 1 to 100 characters";
  TRACE_TEXT(mark, arg, .pkt = 0, .sock = 0);
  return 0;
}

// Is a record among the last ones of any ring reserved, but not written yet?
static int
unfinished(void)
{
  for(u32 cpu = 0; cpu < NT_MAXCPU; cpu++)
    for(u32 k = 0; ring_here(cpu) && k < NT_MAXNSL; k++) {
      u32 s = ring_head(cpu) - 1 - k;
      if((int)(slot_seq(ring_slot(cpu, s)) - (s + 1)) < 0)
        return 1;
    }
  return 0;
}

// What other CPUs were in the middle of when the ring froze is written before we say
// that it has: normally within a tick, later if the host holds a CPU up.
static const char *
cmd_stop(struct reader *r, char *arg)
{
  (void)r;
  if(*arg)
    return "stop: takes no argument";
  trace_freeze(0);
  int waited = 0;
  do
    waitsleep(&trace_ctl, &waited, now_ns() + TICK_NS, SLEEPWHY_TRACE); // nobody wakes it
  while(unfinished() && ++waited < 20);
  return 0;
}

static const char *
cmd_start(struct reader *r, char *arg)
{
  (void)r;
  if(*arg)
    return "start: takes no argument";
  trace_thaw();
  return 0;
}

static const char *
cmd_func(struct reader *r, char *arg)
{
  (void)r;
  int err = func_select(arg);
  if(err == -EOPNOTSUPP)
    return "func: this kernel was built without function entry nops";
  return err ? "func: unknown or forbidden function" : 0;
}

// Add a condition, or drop them all.
static const char *
cmd_filter(struct reader *r, char *arg)
{
  static struct filter made; // trace_ctl
  int off = strcmp(arg, "off") == 0;
  const char *why = off ? 0 : filter_make(&made, arg, 1);
  if(why == 0 && !off && r->nfilter == NFILTER)
    why = "too many filters";
  if(why)
    return why;
  acquiresleep(&r->lock);
  if(off)
    r->nfilter = 0;
  else
    r->filter[r->nfilter++] = made;
  releasesleep(&r->lock);
  return 0;
}

static const char *
cmd_only(struct reader *r, char *arg)
{
  static struct only made; // trace_ctl
  const char *why = only_make(&made, arg);
  if(why)
    return why;
  acquiresleep(&r->lock);
  r->only = made;
  releasesleep(&r->lock);
  return 0;
}

static const char *
cmd_mode(struct reader *r, char *arg)
{
  int lossless = strcmp(arg, "lossless") == 0;
  if(!lossless && strcmp(arg, "overwrite") != 0)
    return "mode: want overwrite or lossless";
  r->lossless = (u8)lossless;
  readers_floor();
  return 0;
}

// A process is quiet while it has the trace open for reading and has not asked to
// see itself.
void
trace_requiet(void)
{
  int quiet = 0;
  for(struct reader *r = readers; r < readers + NREADER; r++)
    quiet |= r->used && !r->self && r->pid == myproc()->pid;
  trace_quiet(myproc(), quiet);
}

static const char *
cmd_self(struct reader *r, char *arg)
{
  int on = strcmp(arg, "on") == 0;
  if(!on && strcmp(arg, "off") != 0)
    return "self: want on or off";
  r->self = (u8)on;
  trace_requiet();
  return 0;
}

static const char *
cmd_snaplen(struct reader *r, char *arg)
{
  u32 n;
  (void)r;
  if(!number(arg, &n) || (n != 37 && n != 85 && n != 133 && n != 181))
    return "snaplen: want 37, 85, 133 or 181";
  trace_snaplen = n;
  return 0;
}

static struct filter stop_filter; // not changed while an emit may look at it

// Context: an emit of any CPU, interrupts off.
static int
stop_match(const struct nt_slot *rec)
{
  return filter_on(&stop_filter, rec->id) && filter_pass(&stop_filter, rec);
}

// PAT [FIELD OP VALUE] [after N]
static const char *
cmd_stop_on(struct reader *r, char *arg)
{
  static struct filter made; // trace_ctl
  u32 after = 1000;
  (void)r;
  if(strcmp(arg, "off") == 0) {
    trace_stop_after(0, 0);
    return 0;
  }
  char *end = arg + strlen(arg);
  for(char *s = arg; s + 7 <= end; s++)
    if(strncmp(s, " after ", 7) == 0) {
      if(!number(s + 7, &after) || after > MAXAFTER)
        return "stop-on: want at most 1000000 slots behind after";
      *s = 0;
      break;
    }
  const char *why = filter_make(&made, arg, 0);
  if(why)
    return why;
  trace_stop_after(0, 0);
  stop_filter = made;
  trace_stop_after(stop_match, after);
  return 0;
}

// A word of its own for each command.  reading: refused to an open without a view.
static const struct {
  const char *word;
  const char *(*fn)(struct reader *, char *arg);
  int reading;
} commands[] = {
  {"enable", cmd_enable, 0},
  {"disable", cmd_disable, 0},
  {"base", cmd_base, 0},
  {"filter", cmd_filter, 1},
  {"only", cmd_only, 1},
  {"mode", cmd_mode, 1},
  {"from", cmd_from, 1},
  {"timeout", cmd_timeout, 1},
  {"self", cmd_self, 1},
  {"sync", cmd_sync, 1},
  {"snap", cmd_snap, 0},
  {"snaplen", cmd_snaplen, 0},
  {"mark", cmd_mark, 0},
  {"stop-on", cmd_stop_on, 0},
  {"stop", cmd_stop, 0},
  {"start", cmd_start, 0},
  {"func", cmd_func, 0},
};

// Obey one line, which is cut up.  0, or why it was refused.
static const char *
obey(struct reader *r, char *line)
{
  static char why[NLINE]; // trace_ctl
  while(*line == ' ')
    line++;
  if(*line == 0 || *line == '#')
    return 0;
  char *arg = strchr(line, ' ');
  if(arg)
    *arg++ = 0;
  while(arg && *arg == ' ')
    arg++;
  for(u32 i = 0; i < NELEM(commands); i++) {
    if(strcmp(line, commands[i].word) != 0)
      continue;
    if(commands[i].reading && r == 0) {
      ksnprintf(why, sizeof(why), "%s: not open for reading", commands[i].word);
      return why;
    }
    return commands[i].fn(r, arg ? arg : line + strlen(line));
  }
  return "unknown command";
}

// Obey the lines of one write.  n, or -EINVAL at the first that is refused: those
// before it hold, it and the rest do not.  r: the reader's, 0 for an open without.
int
control_write(struct reader *r, const char *src, int n)
{
  static char line[NLINE], said[NLINE]; // trace_ctl
  const char *why = 0;
  acquiresleep(&trace_ctl);
  if(n > NWRITE)
    why = "too much in one write";
  for(int i = 0; i < n && why == 0; i++) {
    int len = 0, nul = 0;
    for(; i < n && src[i] != '\n'; i++, len++) {
      nul |= src[i] == 0;
      if(len < NLINE)
        line[len] = src[i];
    }
    line[len < NLINE ? len : NLINE - 1] = 0;
    memmove(said, line, sizeof(said));
    why = len >= NLINE ? "line too long" : nul ? "NUL in a line"
                                               : obey(r, line);
    TRACE_TEXT(ctl, said, .pkt = 0, .sock = 0, .ok = why == 0);
  }
  if(why) {
    safestrcpy(last_err, why, sizeof(last_err));
    if(r)
      safestrcpy(r->err, why, sizeof(r->err));
  }
  releasesleep(&trace_ctl);
  return why ? -EINVAL : n;
}

void
control_init(void)
{
  initsleeplock(&trace_ctl, "nettrace ctl");
  filter_init();
  for(u32 id = 0; id < NT_MAXEV; id++)
    ever_base[id] = trace_base[id];
}
