// nettrace: the host tool's command line.
//
// One table of commands, one of flags; each command's --help teaches it.
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tool.h"

// Groups of flags; a command takes some of them.
enum {
  G_RUN = 1,    // whatever reads a run
  G_QUIET = 2,  // the others
  G_OUT = 4,    // has a result that can go to a file
  G_PICK = 8,   // rows by what they are
  G_CUT = 16,   // rows by where they are
  G_ROWS = 32,  // picks one connection unless told otherwise
  G_WIDTH = 64, // draws
  G_JSON = 128,
  G_META = 256,
  G_HTML = 512,
  G_MERGE = 1024,
  G_CHECK = 2048,
  G_WAIT = 4096,
  G_DIR = 8192,
  G_FOLLOW = 16384,
  G_SELECT = G_RUN | G_OUT | G_PICK | G_CUT
};

static const struct command {
  const char *name;
  int (*run)(struct opts *o);
  u32 takes; // groups of flags
  const char *args, *does, *help;
} commands[] = {
  {"ladder", cmd_ladder, G_SELECT | G_ROWS | G_WIDTH, "[RUN | TRACE [CAPTURE] | RUN RUN [CAPTURE]]", "draw frames and kernel events as a ladder",
   "Time runs down, one lane per stage from the peer to the process.  Without a\n"
   "selection it shows one TCP connection: of those the events tell most of, the first\n"
   "that carried data, with the ARP and the process around it.\n"
   "Row number, time in us from the first frame shown, time since the row above, packet.\n"
   "The stack's lane is heavy while the connection has a state, the process's dotted while\n"
   "it sleeps.  What finds no room stands in the line below it.\n"
   "Two runs whose cards were on one wire: both machines, the wire between them.\n"
   "Example: nettrace ladder run/latest --packets 1-3\n"},
  {"html", cmd_html, G_SELECT | G_ROWS | G_HTML, "-o F [RUN | TRACE [CAPTURE] | RUN RUN [CAPTURE]]", "write the ladder as one page for a browser",
   "The page needs no network: all it draws stands in it.  It opens with the connection\n"
   "that ladder shows and holds the other rows too; with --flow or --packets just these,\n"
   "with --all also events of memory and of the trace itself.\n"
   "Two runs on one wire: both machines' lanes, the wire between them.\n"
   "Keys: ? in the page.\n"
   "Example: nettrace html -o timeline.html run/latest\n"},
  {"merge", cmd_merge, G_SELECT | G_MERGE, "-o F [RUN | TRACE CAPTURE | RUN RUN [CAPTURE]]", "write one pcapng with frames and events",
   "Frames on interface 0, events on interface 1, in causal order.  Wireshark shows\n"
   "the events with tools/nettrace/wireshark/plugins/nettrace.lua.\n"
   "Two runs on one wire: A's frames and events on 0 and 1, B's on 2 and 3, all on A's\n"
   "clock; a frame stands once, at its sender; what became of it its comment says.\n"
   "Example: nettrace merge -o merged.pcapng && nettrace wireshark\n"},
  {"wireshark", cmd_wireshark, G_SELECT | G_MERGE, "[RUN] [-- ARG..]", "merge into the run directory and open Wireshark",
   "Copies our Wireshark configuration to RUN/ws; your own is not touched.\n"
   "With ARGs it runs these instead, as in: nettrace wireshark RUN -- tshark -r RUN/merged.pcapng\n"},
  {"info", cmd_info, G_RUN | G_OUT | G_JSON | G_META, "[RUN | TRACE [CAPTURE] | RUN RUN [CAPTURE]]", "header, clock and its bounds, losses, what stayed unmatched",
   "Both measurements of where the clock begins, by the card's frames and by the PM timer:\n"
   "they overlap, or the tool refuses to go on (exit 4).\n"
   "Of two runs on one wire: both clocks, what lies between them, what became of the frames.\n"
   "Example: nettrace info --json run/latest\n"},
  {"dump", cmd_dump, G_SELECT | G_JSON, "[RUN | TRACE]", "one event per line",
   "Seconds, CPU, context, process, packet, socket, event, fields.  JSON Lines with --json.\n"
   "Example: nettrace dump --only tcp_state --json\n"},
  {"why", cmd_why, G_SELECT | G_JSON, "N [RUN | TRACE [CAPTURE]]", "the journey of packet N and where its time went",
   "Every event of the packet with the gap before it; the gaps add up to the total.\n"
   "N as printed (#9 or 9), or +K for the K-th packet of the selection: without one, of\n"
   "the connection that ladder shows.\n"
   "Example: nettrace why +3\n"},
  {"graph", cmd_graph, G_RUN | G_OUT | G_CUT | G_JSON, "[N] [RUN | TRACE]", "the functions that packet N went through, nested",
   "From the kernel's function tracer, which is off until asked for.  In the guest, before\n"
   "the packet comes: nettrace enable 'func*'; nettrace func '*'; afterwards: nettrace func off\n"
   "Time from the first call, time the call took with all that it called and slept.  Where\n"
   "its return was not seen the time is marked ?: it took no longer, as the next call on its\n"
   "level shows; a bare ? where nothing bounds it.  Threads stand apart, also when they take turns.\n"
   "N as for why.  Without N: every call between --from and --to.\n"
   "Example: nettrace graph '#9' run/latest\n"},
  {"check", cmd_check, G_RUN | G_OUT | G_JSON | G_CHECK, "[RUN | TRACE [CAPTURE]]", "assert; exit 1 with a line per finding",
   "Frames that came before the driver listened are not counted as unmatched.\n"
   "Example: nettrace check --handshake --ends --max-lost 0 --max-unmatched 0\n"},
  {"stats", cmd_stats, G_SELECT | G_JSON, "[RUN | TRACE [CAPTURE]]", "time between stages, drops and retransmissions",
   "For each pair of stages that packets pass one after the other: how often, and the\n"
   "least, middle, 99th of 100 and greatest time between.  Then drops by reason, and\n"
   "segments of each TCP connection.\n"
   "Example: nettrace stats run/latest --layer DRIVER,NETIF\n"},
  {"chrome", cmd_chrome, G_SELECT, "[-o F] [RUN | TRACE [CAPTURE]]", "write Chrome trace JSON, for trace viewers",
   "One thread per stage, one slice per row of a packet, an arrow per packet.\n"
   "A slice ends where the packet, or the stage, has its next row; args.gap_ns is the\n"
   "whole wait until the packet's next row.\n"
   "Example: nettrace chrome -o trace.json run/latest\n"},
  {"ctf", cmd_ctf, G_SELECT, "-o DIR [RUN | TRACE [CAPTURE]]", "write a CTF trace, for babeltrace2 and trace viewers",
   "Common Trace Format 1.8: DIR/metadata describes the events, DIR/stream holds them.\n"
   "Example: nettrace ctf -o ctf run/latest && babeltrace2 ctf\n"},
  {"msc", cmd_msc, G_SELECT | G_ROWS, "[-o F] [RUN | TRACE [CAPTURE]]", "write a mermaid sequence diagram, for documents",
   "The rows that ladder shows as text that GitHub and others draw: arrows for packets,\n"
   "notes for states, drops and the process; no times.\n"
   "Example: nettrace msc --packets 1-3 -o handshake.mmd run/latest\n"},
  {"doc", cmd_doc, G_RUN | G_OUT, "[-o F] [RUN | TRACE]", "write tables of all events, as Markdown",
   "From the metadata in the trace.  docs/events.md is made so: after a change to\n"
   "kernel/trace/events.def run: nettrace doc -o docs/events.md RUN\n"},
  {"follow", cmd_follow, G_QUIET | G_PICK | G_FOLLOW, "[RUN | RAM [CAPTURE]]", "print frames and events as they happen",
   "From the RAM of a guest that runs and the capture that grows: what lies before the last\n"
   "timer tick of every CPU, in order, 10 ms behind.  Begins with what the rings still hold.\n"
   "What was overwritten before it could be read is counted in its place.  Ends with the\n"
   "run, with Ctrl-C, or as -n or --for say; the guest is not disturbed.\n"
   "Example: nettrace follow run/latest --layer STACK --for 5s\n"},
  {"wait", cmd_wait, G_QUIET | G_WAIT, "--for WHAT [RUN | RAM]", "wait until the guest has got that far",
   "WHAT is meta (the ring exists), ip (the card has an address), quiet=MS (no frame for MS\n"
   "milliseconds) or EVENT [FIELD=VALUE].., seen at any time since boot; several may stand\n"
   "in one, with blanks or commas between.  A run that has ended ends the wait at once.\n"
   "Example: nettrace wait run/latest --for 'ip tcp_state to=LISTEN' --timeout 10\n"},
  {"save", cmd_save, G_RUN | G_OUT, "-o F [RUN | RAM]", "write a run's RAM image as a saved trace",
   "The same bytes a reader of /dev/nettrace gets.  Works live and after the guest's end.\n"
   "Example: nettrace save -o trace.nt run/latest\n"},
  {"console", cmd_console, G_QUIET | G_DIR, "[RUN]", "the guest's console",
   "What was said before is shown first; Ctrl-] leaves, the guest goes on.\n"
   "Without a terminal: input is sent to the guest, output printed until it ends.\n"},
  {"monitor", cmd_monitor, G_QUIET | G_DIR, "CMD..", "one QEMU monitor command",
   "Example: nettrace monitor info usernet\n"},
};
#define NCOMMAND (sizeof commands / sizeof commands[0])

enum {
  FLAG_BOOL,
  FLAG_STR,
  FLAG_NUM,
  FLAG_COND,
  FLAG_MEM,
  FLAG_COLOR,
  FLAG_CLOCK
};
// A name may stand twice, for commands that mean different things by it.
static const struct flag {
  const char *name;
  int kind;
  size_t off;
  u32 groups;
  const char *arg, *does;
} flags[] = {
  {"--flow", FLAG_STR, offsetof(struct opts, flow), G_PICK, "A:p-B:p", "rows of this TCP connection, either end first"},
  {"--pid", FLAG_NUM, offsetof(struct opts, pid), G_PICK, "P", "rows of process P and of the packets it touched"},
  {"--only", FLAG_STR, offsetof(struct opts, only), G_PICK, "EVENT,..", "just these events (* allowed)"},
  {"--layer", FLAG_STR, offsetof(struct opts, layer), G_PICK, "STAGE,..", "just these: WIRE DRIVER NETIF STACK SOCKET SYSCALL CPU META MEM"},
  {"--packets", FLAG_STR, offsetof(struct opts, packets), G_CUT, "a-b", "the a-th to b-th packet of the selection, or #N, #N-M, +K"},
  {"--from", FLAG_STR, offsetof(struct opts, from), G_CUT, "T", "from here: seconds since power-on, or with us, ms, s"},
  {"--to", FLAG_STR, offsetof(struct opts, to), G_CUT, "T", "up to here"},
  {"--all", FLAG_BOOL, offsetof(struct opts, all), G_ROWS, "", "every row, not one connection"},
  {"--width", FLAG_NUM, offsetof(struct opts, width), G_WIDTH, "N", "80 to 400 columns (default: the terminal's, else 120)"},
  {"--color", FLAG_COLOR, 0, G_WIDTH | G_FOLLOW, "WHEN", "auto, always or never; NO_COLOR is honoured"},
  {"--ascii", FLAG_BOOL, offsetof(struct opts, ascii), G_RUN | G_FOLLOW, "", "no character beyond ASCII"},
  {"--svg", FLAG_BOOL, offsetof(struct opts, svg), G_HTML, "", "the bare picture, for a document"},
  {"--rows", FLAG_NUM, offsetof(struct opts, rows), G_HTML, "N", "fold beyond N rows (default 2000); two machines: draw N (default 5000)"},
  {"--wire-only", FLAG_BOOL, offsetof(struct opts, wireonly), G_MERGE, "", "frames alone, for tcpdump"},
  {"--no-comments", FLAG_BOOL, offsetof(struct opts, nocomments), G_MERGE, "", "no journey in the frames' comments"},
  {"--json", FLAG_BOOL, offsetof(struct opts, json), G_JSON, "", "JSON: keys sorted, times in ns, integers only"},
  {"--meta", FLAG_BOOL, offsetof(struct opts, meta), G_META, "", "the metadata text alone"},
  {"--handshake", FLAG_BOOL, offsetof(struct opts, handshake), G_CHECK, "", "SYN, SYN,ACK, ACK in order in the capture and in the events"},
  {"--ends", FLAG_BOOL, offsetof(struct opts, ends), G_CHECK, "", "each packet has exactly one pkt_end"},
  {"--sandwich", FLAG_BOOL, offsetof(struct opts, sandwich), G_CHECK, "", "e1000_tx <= frame <= e1000_txkick, frame <= e1000_rx, every time"},
  {"--max-lost", FLAG_NUM, offsetof(struct opts, max_lost), G_CHECK, "N", "at most N slots lost"},
  {"--max-unmatched", FLAG_NUM, offsetof(struct opts, max_unmatched), G_CHECK, "N", "at most N frames and records alone, once the driver listens"},
  {"--max-band", FLAG_NUM, offsetof(struct opts, max_band), G_CHECK, "US", "clock known to +-US microseconds at every matched frame"},
  {"--no-drop", FLAG_STR, offsetof(struct opts, noreason), G_CHECK, "REASON,..", "no packet dropped for REASON"},
  {"--for", FLAG_COND, 0, G_WAIT, "WHAT", "what to wait for; may be repeated"},
  {"--timeout", FLAG_NUM, offsetof(struct opts, timeout), G_WAIT, "S", "give up after S seconds (default 30): exit 1"},
  {"--pid", FLAG_NUM, offsetof(struct opts, pid), G_WAIT, "P", "QEMU's process: its end ends the wait at once, as the run's does"},
  {"--for", FLAG_STR, offsetof(struct opts, duration), G_FOLLOW, "T", "end after T, as in 5s or 300ms"},
  {"-n", FLAG_NUM, offsetof(struct opts, limit), G_FOLLOW, "N", "end after N lines"},
  {"-d", FLAG_STR, offsetof(struct opts, dir), G_DIR, "RUN", "the run directory"},
  {"--clock", FLAG_CLOCK, 0, G_RUN, "HOW", "auto, or insist: identity (-icount), anchor (clock_sync events), frames"},
  {"--max-mem", FLAG_MEM, 0, G_RUN, "SIZE", "memory it may take: bytes, or with K, M, G (default 512M)"},
  {"--strict", FLAG_BOOL, offsetof(struct opts, strict), G_RUN, "", "what a note tells of (a cut file, a stamp going back) is a finding: exit 1"},
  {"--force", FLAG_BOOL, offsetof(struct opts, force), G_RUN, "", "of a damaged capture read what can be read, and say what was left out"},
  {"-o", FLAG_STR, offsetof(struct opts, out), G_OUT, "F", "output, written under a temporary name and renamed; - is standard output"},
  {"-q", FLAG_BOOL, offsetof(struct opts, quiet), G_RUN | G_QUIET, "", "no summary on standard error"},
  {"-v", FLAG_BOOL, offsetof(struct opts, verbose), G_RUN, "", "say on standard error what was read, and how it was joined"},
};
#define NFLAG (sizeof flags / sizeof flags[0])

static void
usage(FILE *f)
{
  fputs("usage: nettrace COMMAND [FLAGS] [RUN | TRACE [CAPTURE]]\n"
        "Kernel events and captured frames of one run, on one clock.\n\n",
        f);
  for(u32 i = 0; i < NCOMMAND; i++)
    fprintf(f, "  %-10s %s\n", commands[i].name, commands[i].does);
  fputs("\nnettrace COMMAND --help says more, man -l tools/nettrace/nettrace.1 everything.\n"
        "Without a command it is ladder.  Without an operand: $NETTRACE_RUN, else run/latest.\n"
        "Exit: 0 done, 1 found something or timed out, 2 usage, 3 bad input or cannot write,\n"
        "4 the clocks contradict each other.\n",
        f);
}

// What a command is, what it takes, an example (which stands last in its text).
static void
help(const struct command *c)
{
  const char *example = strstr(c->help, "Example: ");
  int n = example ? (int)(example - c->help) : (int)strlen(c->help);
  printf("usage: nettrace %s [FLAGS] %s\n%s.\n\n%.*s", c->name, c->args, c->does, n, c->help);
  putchar('\n');
  for(u32 i = 0; i < NFLAG; i++)
    if(flags[i].groups & c->takes)
      printf("  %-*s %s\n", 18, xasprintf("%s%s%s", flags[i].name, *flags[i].arg ? " " : "", flags[i].arg), flags[i].does);
  if(example)
    printf("\n%s", example);
}

// Exit code once all stands on standard output.
static int
printed(void)
{
  if(fflush(stdout) == 0 && !ferror(stdout))
    return EX_OK;
  fprintf(stderr, "nettrace: standard output: %s\n", strerror(errno));
  return EX_BADIN;
}

// 512M, 2G, or bytes: how much memory a command may take.  Returns 0, or what is wrong.
static const char *
set_memory(const char *val)
{
  char *end;
  errno = 0;
  u64 n = strtoull(val, &end, 10);
  u32 shift = *end == 'G' ? 30 : *end == 'M' ? 20
                               : *end == 'K' ? 10
                                             : 0;
  end += shift != 0;
  if(*val < '0' || *val > '9' || *end || errno || n == 0 || n > ~0ull >> shift >> 1)
    return "needs a number of bytes, or one with K, M or G";
  max_mem = n << shift;
  return 0;
}

// How the clock is to be found.  Returns 0, or what is wrong.
static const char *
set_clock(const char *val)
{
  static const struct {
    const char *name;
    enum method m;
  } how[] = {{"auto", CLK_NONE}, {"identity", CLK_IDENTITY}, {"anchor", CLK_ANCHORED}, {"frames", CLK_FRAMES}};
  for(u32 i = 0; i < sizeof how / sizeof how[0]; i++)
    if(strcmp(val, how[i].name) == 0) {
      clock_wanted = how[i].m;
      return 0;
    }
  return "is auto, identity, anchor or frames";
}

// The flag of this name that the command takes; 0, or one that it does not take.
static const struct flag *
find_flag(const struct command *c, const char *name, size_t n)
{
  const struct flag *other = 0;
  for(u32 k = 0; k < NFLAG; k++)
    if(strlen(flags[k].name) == n && strncmp(flags[k].name, name, n) == 0) {
      if(flags[k].groups & c->takes)
        return &flags[k];
      other = &flags[k];
    }
  return other;
}

// The numbers that a flag can mean anything by.
static bool
sensible(const struct flag *f, i64 n)
{
  if(f->off == offsetof(struct opts, width))
    return n >= 80 && n <= 400;
  return n > 0 || (f->off != offsetof(struct opts, rows) && f->off != offsetof(struct opts, limit));
}

// Store one flag's value.  Returns 0, or what is wrong with it.
static const char *
set_flag(struct opts *o, const struct flag *f, const char *val)
{
  char *at = (char *)o + f->off;
  char *end;
  switch(f->kind) {
  case FLAG_BOOL:
    *(bool *)(void *)at = true;
    return 0;
  case FLAG_STR:
    *(const char **)(void *)at = val;
    return 0;
  case FLAG_NUM:
    errno = 0;
    *(i64 *)(void *)at = strtoll(val, &end, 10);
    if(*val == 0 || *end || errno || *val == '-')
      return "needs a number";
    return sensible(f, *(i64 *)(void *)at) ? 0 : f->off == offsetof(struct opts, width) ? "needs 80 to 400 columns"
                                                                                        : "needs a number from 1 on";
  case FLAG_COND:
    if(o->ncond == (int)(sizeof o->conds / sizeof o->conds[0]))
      return "given too often";
    o->conds[o->ncond++] = val;
    return 0;
  case FLAG_MEM:
    return set_memory(val);
  case FLAG_CLOCK:
    return set_clock(val);
  }
  o->color = strcmp(val, "always") == 0 ? 1 : strcmp(val, "never") == 0 ? 2
                                                                        : 0;
  return o->color || strcmp(val, "auto") == 0 ? 0 : "is auto, always or never";
}

// Take flags off argv; operands stay in o->argv.  0, or 1 for --help, or -EX_BADUSE.
static int
parse_flags(const struct command *c, struct opts *o, int argc, char **argv)
{
  for(int i = 0; i < argc; i++) {
    char *a = argv[i], *eq = strchr(a, '=');
    if(strcmp(a, "--") == 0) {
      o->rest = argv + i + 1;
      return 0;
    }
    if(strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0)
      return 1;
    if(a[0] != '-' || a[1] == 0) {
      o->argv[o->argc++] = a;
      continue;
    }
    size_t n = a[1] == '-' && eq ? (size_t)(eq - a) : strlen(a);
    const struct flag *f = find_flag(c, a, n);
    if(f == 0)
      return seterr(EX_BADUSE, "unknown flag %s: see nettrace %s --help", a, c->name);
    if(!(f->groups & c->takes))
      return seterr(EX_BADUSE, "%s is no flag of %s: see nettrace %s --help", f->name, c->name, c->name);
    const char *val = f->kind == FLAG_BOOL ? "" : eq && a[1] == '-' ? eq + 1
                                                : i + 1 < argc      ? argv[++i]
                                                                    : 0;
    bool number = strcmp(f->name, "--packets") == 0;
    const char *bad = val ? set_flag(o, f, val) : number ? "needs a value; in a shell # begins a comment: write '#8'"
                                                         : "needs a value";
    if(bad)
      return seterr(EX_BADUSE, "%s %s", f->name, bad);
  }
  return 0;
}

static const struct command *
find_command(const char *name)
{
  for(u32 i = 0; i < NCOMMAND; i++)
    if(strcmp(commands[i].name, name) == 0)
      return &commands[i];
  return 0;
}

// Runs are read one at a time, or two that were on one wire.
static int
operands(const struct command *c, const struct opts *o)
{
  int traces = 0;
  for(int i = 0; i < o->argc && c->takes & G_RUN; i++)
    traces += file_kind(o->argv[i]) == F_DIR || file_kind(o->argv[i]) == F_TRACE || file_kind(o->argv[i]) == F_RAM;
  if(traces > 1 && !two_runs(o))
    return seterr(EX_BADUSE, "%d operands: of two machines name the two run directories, or two traces and one capture", o->argc);
  return 0;
}

int
main(int argc, char **argv)
{
  signal(SIGPIPE, SIG_DFL);
  signal(SIGXFSZ, SIG_IGN); // a file that may not grow is an error to report
  const struct command *c = argc > 1 ? find_command(argv[1]) : &commands[0];
  int skip = argc > 1 ? 2 : 1;
  if(argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0)) {
    usage(stdout);
    return printed();
  }
  if(c == 0 && (argv[1][0] == '-' || file_kind(argv[1]) != F_NONE)) { // no command = ladder
    c = &commands[0];
    skip = 1;
  }
  if(c == 0) {
    fprintf(stderr, "nettrace: unknown command %s\n", argv[1]);
    usage(stderr);
    return EX_BADUSE;
  }
  struct opts o = {.max_lost = -1, .max_unmatched = -1, .max_band = -1, .timeout = 30};
  o.argv = xmalloc((size_t)argc * sizeof *o.argv);
  int rc = parse_flags(c, &o, argc - skip, argv + skip);
  if(rc == 1) {
    help(c);
    return printed();
  }
  ascii_only = o.ascii;
  verbose = o.verbose;
  force_read = o.force;
  limit_memory(true);
  if(rc == 0)
    rc = operands(c, &o);
  if(rc == 0)
    rc = two_runs(&o) ? cmd_two(c->name, &o) : c->run(&o);
  progress(0);
  if(rc < 0)
    fprintf(stderr, "nettrace %s: %s\n", c->name, errtext);
  return rc < 0 ? -rc : rc;
}
