// nettop: the network's connections, packets, drops and events, live, from
// /dev/nettrace.
//
// Each refresh asks the kernel for a snapshot (records about every socket and
// process), reads what came, lets the model count and the views draw (nettop.h has
// the rooms).  This file has the options, the keys and the loop.  The console goes
// back to its old mode when this process ends, however it ends.
#include "types.h"
#include "fcntl.h"
#include "net.h"
#include "sys.h"
#include "ulib64.h"
#include "user.h"
#include "nettop.h"

#define DEVICE  "/dev/nettrace"
#define LEAD_MS 100 // from asking for a snapshot to drawing it; also between two reads
#define BATCH   160 // lines of a table printed as text
#define CTRL(c) ((c) - '@')
#define ESC     27

struct ntread tr;
struct choice want = {.interval_ms = 1000, .tail = 1};
static struct model still; // the model at the last refresh: what the screen shows
static int cpu_on;         // events that view 7 needs were switched on by us
static const char *filter; // of the command line

// What is typed in the last row: 0 nothing, '/' a filter, 'm' a mark.
static char asking;
static const char *refusal; // why what was typed is none, until the next key
static char typed[sizeof(want.filter)];
static int ntyped, escape; // escape: bytes of a sequence so far
static u32 report[2];      // rows and columns in the terminal's answer
static int asked, answers; // sent and not yet answered; it does answer

// ---- the terminal ------------------------------------------------------------

static void
give_back(void)
{
  if(want.batch || rows == 0)
    return;
  struct pollfd console = {.fd = 0, .events = POLLIN};
  char c;
  // The terminal's last answer is not for the shell.
  while(asked && answers && poll(&console, 1, 300) > 0 && read(0, &c, 1) == 1 && c != 'R')
    ;
  screen_leave();
  ttyctl(0, TTY_MODE, TTY_COOKED);
}

static void
quit(void)
{
  give_back();
  exits(0);
}

static void
fail(const char *what, const char *why)
{
  give_back();
  printf(2, "nettop: %s: %s\n", what, why);
  exits(1);
}

// A serial line does not say how large the terminal is, so ask it: put the cursor
// as far as it goes, report where that is, and put it back.  Where no answer comes once, no more
// questions.
static void
ask_size(void)
{
  if(asked)
    return;
  printf(1, "\0337\033[999;999H\033[6n\0338");
  asked = 1;
}

// Show what is known now, unless the screen is to stand still.  Between two of
// these, whatever is pressed, all figures are of the same moment.
static void
take_picture(void)
{
  if(!want.paused)
    memmove(&still, &live, sizeof(still));
}

static void
draw_keys(void)
{
  char text[200];
  struct nt_line o = {text, 0, cols - 1};
  if(refusal)
    nt_printf(&o, "%s", refusal);
  else if(asking)
    nt_printf(&o, asking == '/' ? "filter (port=80 pid=4 state=LISTEN, or text): %s" : "mark: %s", typed);
  else
    nt_printf(&o, "1flow 2path 3drop 4layer 5event 6pcb 7cpu s:%s%s /:%s%s p:%s ?:help q:quit", sort_name[want.sort],
              want.reverse ? "-" : "", want.filter[0] ? want.filter : "filter",
              want.filter[0] && !filter_speaks(want.view) ? "(not here)" : "", want.paused ? "go on" : "pause");
  sheet_keys(text, o.n);
  screen_show(o.n);
}

static void
draw(void)
{
  static int size;
  int now = ttyctl(0, TTY_SIZE, 0), nrows = now >> 16, ncols = now & 0xffff;
  if(size != now)
    screen_forget();
  size = now;
  sheet_open(nrows < 4 ? 24 : nrows, ncols < 40 ? 80 : ncols);
  draw_views(&still);
  draw_keys();
}

// The terminal has said how large it is.
static void
got_size(void)
{
  int old = ttyctl(0, TTY_SIZE, 0);
  asked = 0;
  answers = 1;
  if(report[0] >= 4 && report[1] >= 40 && report[0] < 1000 && report[1] < 1000)
    ttyctl(0, TTY_SIZE, report[0] << 16 | report[1]);
  if(ttyctl(0, TTY_SIZE, 0) != old)
    draw();
}

// The view as text; the table's number and the loss end it.
static void
print_table(int k, int n)
{
  char text[256];
  sheet_open(BATCH, 80);
  draw_views(&still);
  for(int i = 0, len; (len = sheet_text(i, text)) >= 0; i++) {
    text[len++] = '\n';
    write(1, text, len);
  }
  printf(1, "-- %d/%d lost %u\n", k, n, still.lost);
}

// Write the screen to a file.
static void
save_screen(void)
{
  char text[256];
  int fd = open("nettop.txt", O_WRONLY | O_CREATE | O_TRUNC);
  for(int i = 0, len; fd >= 0 && (len = sheet_text(i, text)) >= 0; i++) {
    text[len++] = '\n';
    write(fd, text, len);
  }
  close(fd);
}

// ---- the trace ---------------------------------------------------------------

static void
command(const char *line)
{
  write(tr.fd, line, strlen(line));
}

// View 7 is about events that are off as a rule.  They are switched on while it is
// looked at, unless others have them on already.
static void
need_cpu(int on)
{
  static const char *const names[] = {"switch", "wakeup", "netd_run", "irq_exit", "timer_fire"};
  static u8 ours[sizeof(names) / sizeof(names[0])];
  char text[64];
  if(on == cpu_on)
    return;
  cpu_on = on;
  for(u32 i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    int id = nt_event(&tr, names[i]);
    if(on)
      ours[i] = id >= 0 && live.count[id] == 0;
    if(!ours[i])
      continue;
    struct nt_line o = {text, 0, sizeof(text) - 1};
    nt_printf(&o, "%s %s\n", on ? "enable" : "disable", names[i]);
    text[o.n] = 0;
    command(text);
  }
}

// Read what there is, at most some seconds' worth.
static void
drain(void)
{
  const struct nt_slot *s;
  for(int n = 0; n < 1 << 17 && (s = nt_next(&tr)) != 0; n++)
    model_add(s);
}

static void
snapshot(void)
{
  live.nsnap++;
  int n = write(tr.fd, "snap\n", 5);
  if(n < 0)
    fail(DEVICE ": snap", neterr(n));
  drain(); // before a busy trace overwrites it
}

static void
read_clock(void)
{
  u64 ns;
  nsclock(&ns);
  div64(&ns, 1000000);
  live.now = ns;
}

// The number behind a word in a line, 0 if it is not there.
static u32
stat_number(const char *line, const char *word)
{
  for(int n = strlen(word); *line && *line != '\n'; line++) {
    int k = 0;
    while(k < n && line[k] == word[k])
      k++;
    if(k == n)
      return atoi(line + n);
  }
  return 0;
}

static int
line_has(const char *line, const char *words)
{
  int n = strlen(words), k;
  for(; *line && *line != '\n'; line++) {
    for(k = 0; k < n && line[k] == words[k]; k++)
      ;
    if(k == n)
      return 1;
  }
  return 0;
}

// How much of the time since the last account a CPU did not idle: the kernel's own sum,
// which the loss of records cannot make wrong.
static void
busy_share(u32 cpu, u32 idle_ms, u32 up_ms)
{
  u32 all = up_ms - live.up_ms[cpu], idle = idle_ms - live.idle_ms[cpu];
  live.cpu[cpu] = all && idle < all ? 100 * (all - idle) / all : 0;
  live.idle_ms[cpu] = idle_ms;
  live.up_ms[cpu] = up_ms;
}

// What only the recorder's account tells: how full our ring is, whether a reader
// makes the writers wait, and how busy the CPUs were.
static void
read_stat(void)
{
  static char text[16384];
  u32 head[NT_MAXCPU] = {0}, slots = 1;
  int fd = open(DEVICE ".stat", O_RDONLY), n = 0, m;
  while(fd >= 0 && n < (int)sizeof(text) - 1 && (m = read(fd, text + n, sizeof(text) - 1 - n)) > 0)
    n += m;
  close(fd);
  text[n] = 0;
  live.ring = live.lossless = live.discarded = live.ncpu = 0;
  for(char *s = text; *s; s++) {
    u32 cpu = stat_number(s, "cpu ") % NT_MAXCPU;
    if(line_has(s, " head ")) {
      head[cpu] = stat_number(s, " head ");
      slots = stat_number(s, " slots ");
      live.discarded += stat_number(s, " dropped ");
      busy_share(cpu, stat_number(s, " idle_ms "), stat_number(s, " up_ms "));
      live.ncpu++;
    } else if(line_has(s, "open ")) {
      u32 behind = head[cpu] - stat_number(s, " cursor "), part = slots ? behind / (slots / 100 + 1) : 0;
      if((int)stat_number(s, " pid ") == getpid() && part > live.ring)
        live.ring = part < 100 ? part : 100;
      if(line_has(s, "mode lossless"))
        live.lossless = stat_number(s, " pid ");
    }
    while(*s && *s != '\n')
      s++;
    if(*s == 0)
      break;
  }
}

// A few events from before us fill the list; they count for nothing else.
static void
open_trace(void)
{
  if(nt_open(&tr, DEVICE, O_RDWR | O_NONBLOCK, "from -1000\n") < 0)
    fail(DEVICE, tr.why ? tr.why : neterr(tr.status));
  model_begin();
  path_begin();
  const char *why = filter ? filter_set(filter) : 0;
  if(why) {
    printf(2, "nettop: -f %s: %s\n", filter, why);
    exits(2);
  }
  drain();
  live.nflow = live.lost = 0;
  model_zero();
  memset(&live.sum, 0, sizeof(live.sum));
  take_picture(); // keys may come before the first refresh
}

// ---- keys --------------------------------------------------------------------

static void
go_to(int view)
{
  want.view = view;
  want.help = want.pkt = want.row = 0;
  if(view == V_PCB) {
    model_choose(&live, want.flow);
    model_choose(&still, want.flow);
  }
  need_cpu(view == V_CPU);
}

// Enter: more about the selected line.
static void
enter(void)
{
  if(want.view == V_FLOW && want.flow)
    go_to(V_PCB);
  else if(want.view == V_EVENT || (want.view == V_PATH && want.pkt == 0)) {
    u32 pkt = selected_packet(&still);
    if(pkt == 0)
      return;
    want.view = V_PATH;
    want.pkt = pkt;
  }
}

// Esc: back to where that line was.
static void
back(void)
{
  if(want.help)
    want.help = 0;
  else if(want.view == V_PATH && want.pkt && want.record)
    go_to(V_EVENT);
  else if(want.view == V_PATH && want.pkt)
    want.pkt = 0;
  else
    go_to(V_FLOW);
}

// The line in the last row is complete.
static void
typed_all(void)
{
  if(asking == '/') {
    refusal = filter_set(typed);
    if(refusal)
      return; // the prompt comes back with the next key
  } else if(ntyped) {
    char line[64];
    struct nt_line o = {line, 0, sizeof(line)};
    nt_printf(&o, "mark %s\n", typed);
    write(tr.fd, line, o.n);
  }
  asking = 0;
}

static void
type(char c)
{
  refusal = 0;
  if(c == '\r' || c == '\n')
    typed_all();
  else if(c == CTRL('C') || c == CTRL('U'))
    ntyped = 0;
  else if((c == '\b' || c == 0x7f) && ntyped)
    ntyped--;
  else if(' ' <= c && c <= '~' && ntyped < (int)sizeof(typed) - 1)
    typed[ntyped++] = c;
  typed[ntyped] = 0;
  if(c == CTRL('C'))
    asking = 0;
}

static void
ask(char what)
{
  asking = what;
  ntyped = 0;
  typed[0] = 0;
}

// The next or last of these intervals.
static void
change_interval(int by)
{
  static const u32 ms[] = {500, 1000, 2000, 5000, 10000};
  int k = 0;
  while(k < 4 && ms[k] < want.interval_ms)
    k++;
  k += by;
  want.interval_ms = ms[k < 0 ? 0 : k > 4 ? 4
                                          : k];
}

// Keys that change how things are shown.
static void
show_key(char c)
{
  if(c == 's')
    want.sort = (want.sort + 1) % NSORT;
  else if(c == 'S')
    want.sort = (want.sort + NSORT - 1) % NSORT;
  else if(c == 'r')
    want.reverse = !want.reverse;
  else if(c == 't')
    want.total = !want.total;
  else if(c == 'n')
    tr.numeric = want.numeric = !want.numeric;
  else if(c == 'e')
    want.tail = !want.tail;
  else if(c == '?' || c == 'h')
    want.help = !want.help;
  else if(c == CTRL('L'))
    screen_forget(); // somebody else wrote on the console
}

static void
zero(void)
{
  model_zero();
  take_picture();
}

static void
key(char c)
{
  if(c == 'q' || c == CTRL('C'))
    quit();
  else if('1' <= c && c < '1' + NVIEW)
    go_to(c - '1');
  else if(c == 'j' || c == 'k')
    select_step(&still, c == 'j' ? 1 : -1);
  else if(c == '\r' || c == '\n')
    enter();
  else if(c == ESC)
    back();
  else if(c == 'p' || c == ' ')
    want.paused = !want.paused;
  else if(c == '/' || c == 'm')
    ask(c);
  else if(c == 'z')
    zero();
  else if(c == '+' || c == '-')
    change_interval(c == '+' ? -1 : 1);
  else if(c == 'w')
    save_screen();
  else
    show_key(c);
}

// One byte from the console: a key, or part of an arrow's or an answer's sequence.
static void
take_byte(char c)
{
  if(escape == 0 && c == ESC) {
    escape = 1;
  } else if(escape == 1 && (c == '[' || c == 'O')) {
    escape = 2;
    report[0] = report[1] = 0;
  } else if(escape == 2 && ('0' <= c && c <= '9')) {
    report[1] = report[1] * 10 + c - '0';
  } else if(escape == 2 && c == ';') {
    report[0] = report[1];
    report[1] = 0;
  } else if(escape == 2) {
    escape = 0;
    if(c == 'R')
      got_size();
    else if((c == 'A' || c == 'B') && !asking) {
      key(c == 'A' ? 'k' : 'j');
      draw();
    }
  } else if(asking) {
    escape = 0;
    type(c);
    draw();
  } else {
    escape = 0;
    key(c);
    draw();
  }
}

// An Esc that nothing follows is a key of its own.
static void
lone_escape(void)
{
  if(escape != 1)
    return;
  escape = 0;
  refusal = 0;
  if(asking)
    asking = 0;
  else
    back();
  draw();
}

static void
read_keys(void)
{
  char c[16];
  int n = read(0, c, sizeof(c));
  if(n <= 0)
    quit();
  for(int i = 0; i < n; i++)
    take_byte(c[i]);
}

// ---- the program ---------------------------------------------------------------

// Read trace and keys until `when`.  A ring holds much more than LEAD_MS of
// events, so the trace need not wake us: reading seldom is what keeps us cheap.
static void
watch_until(u32 when)
{
  struct pollfd console = {.fd = 0, .events = POLLIN};
  for(read_clock(); (int)(when - live.now) > 0; read_clock()) {
    u32 ms = when - live.now;
    if(poll(&console, !want.batch, ms < LEAD_MS ? ms : LEAD_MS) > 0)
      read_keys();
    else
      lone_escape();
    drain();
  }
}

static void
help(void)
{
  printf(1, "usage: nettop [-i SECONDS] [-v VIEW] [-s COLUMN] [-f FILTER], or as text: nettop -b [-n TABLES] ...\n"
            "Connections, packets, drops and events of the network, live; ? shows the keys.\n"
            "  VIEW    flow path drop layer event pcb cpu\n"
            "  COLUMN  to sort by: rate rx tx rtt cwnd q xm pid port age\n"
            "  FILTER  port=80 pid=4 state=LISTEN name=httpd FIELD=VALUE, or any text of a line\n"
            "Exit 0 done; 1 no such device or console; 2 usage.\n");
  exits(0);
}

// This word cannot be an option or its value; 0: one is missing.
static void
usage(const char *word)
{
  printf(2, word ? "nettop: wrong option or value %s: nettop -h shows what there is\n" : "nettop: an option or its value is missing: nettop -h shows what there is\n",
         word);
  exits(2);
}

// A positive number behind an option.
static int
number(const char *s)
{
  const char *word = s;
  int n = 0;
  if(s == 0)
    usage(0);
  for(; '0' <= *s && *s <= '9' && n < 10000; s++)
    n = n * 10 + *s - '0';
  if(*s || n == 0)
    usage(word);
  return n;
}

// The place of a word in a list.
static int
choose(const char *s, const char *const list[], int n)
{
  for(int i = 0; s && i < n; i++)
    if(strcmp(s, list[i]) == 0)
      return i;
  usage(s);
  return 0;
}

// Obey the options.  Returns how many tables to print, 0: the screen.
static int
options(int argc, char **argv)
{
  int tables = 0;
  for(int i = 1; i < argc; i++) {
    if(strcmp(argv[i], "-b") == 0)
      want.batch = 1;
    else if(strcmp(argv[i], "-n") == 0)
      tables = number(argv[++i]);
    else if(strcmp(argv[i], "-i") == 0)
      want.interval_ms = number(argv[++i]) * 1000;
    else if(strcmp(argv[i], "-v") == 0)
      want.view = choose(argv[++i], view_name, NVIEW);
    else if(strcmp(argv[i], "-s") == 0)
      want.sort = choose(argv[++i], sort_name, NSORT);
    else if(strcmp(argv[i], "-f") == 0 && argv[i + 1] && strlen(argv[i + 1]) < sizeof(want.filter))
      filter = argv[++i];
    else if(strcmp(argv[i], "-h") == 0)
      help();
    else
      usage(argv[i]);
  }
  if(!want.batch && tables)
    usage("-n without -b");
  want.tail = !want.batch;
  return want.batch && tables == 0 ? 1 : tables;
}

static void
open_console(void)
{
  if(ttyctl(0, TTY_MODE, TTY_RAW) < 0)
    fail("standard input is not the console", "use nettop -b");
  ask_size();
}

// The connection that view 6 is about, if nobody chose one: the first that passes
// the filter.
static void
choose_first(void)
{
  if(want.view != V_PCB || want.flow)
    return;
  int view = want.view;
  want.view = V_FLOW;
  select_step(&live, 1);
  want.view = view;
  model_choose(&live, want.flow);
}

int
main(int argc, char **argv)
{
  int tables = options(argc, argv);
  open_trace();
  if(!want.batch)
    open_console();
  need_cpu(want.view == V_CPU);
  snapshot();
  read_clock();
  watch_until(live.now + LEAD_MS);
  model_settle(0);
  read_stat();
  take_picture();
  if(!want.batch)
    draw();
  for(int k = 1; !want.batch || k <= tables; k++) {
    u32 last = live.now;
    watch_until(last + want.interval_ms - LEAD_MS);
    snapshot();
    read_stat();
    watch_until(last + want.interval_ms);
    model_settle(live.now - last);
    choose_first();
    take_picture();
    if(want.batch)
      print_table(k, tables);
    else
      draw();
    if(answers && !want.batch)
      ask_size();
  }
  exits(0);
}
