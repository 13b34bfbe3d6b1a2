// nettrace: the host tool's command line.
//
// One table of commands, one of flags; each command's --help teaches it.
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tool.h"

#define SELECTION \
  "  --flow A:p-B:p   rows of this connection (either end first)\n" \
  "  --packets a-b    the a-th to b-th packet of the selection, or #N, +K\n" \
  "  --only EVENT,..  just these events (* allowed)\n" \
  "  --layer STAGE    just these: WIRE DRIVER NETIF STACK SOCKET SYSCALL CPU META MEM\n" \
  "  --from T --to T  seconds since power-on, or with us, ms, s\n"

static const struct command {
  const char *name;
  int (*run)(struct opts *o);
  const char *args, *does, *help;
} commands[] = {
  {"ladder", cmd_ladder, "[RUN | TRACE [CAPTURE]]", "draw frames and kernel events as a ladder",
   "Time runs down, one lane per stage from the peer to the process.  Without a\n"
   "selection it shows one TCP connection: of those the events tell most of, the first\n"
   "that carried data, with the ARP and the process around it.\n" SELECTION
   "  --all            every row\n"
   "  --width N        columns (default: the terminal's, else 120)\n"
   "  --ascii          no box characters; --color=auto|always|never\n"
   "Example: nettrace ladder run/latest --packets 1-3\n"},
  {"html", cmd_html, "-o F [RUN | TRACE [CAPTURE]]", "write the ladder as one page for a browser",
   "The page needs no network: all it draws stands in it.  It opens with the connection\n"
   "that ladder shows and holds the other rows too; with --flow or --packets just these.\n"
   "Keys: ? in the page.\n" SELECTION
   "  --all            also events of memory and of the trace itself\n"
   "  --svg            the bare picture, for a document\n"
   "  --rows N         fold where more than N rows would be drawn (default 2000)\n"
   "Example: nettrace html -o timeline.html run/latest\n"},
  {"merge", cmd_merge, "-o F [RUN | TRACE CAPTURE]", "write one pcapng with frames and events",
   "Frames on interface 0, events on interface 1, in causal order.  Wireshark shows\n"
   "the events with tools/nettrace/wireshark/plugins/nettrace.lua.\n" SELECTION
   "  --wire-only      frames alone, for tcpdump\n"
   "  --no-comments    no journey in the frames' comments\n"
   "Example: nettrace merge -o merged.pcapng && nettrace wireshark\n"},
  {"wireshark", cmd_wireshark, "[RUN] [-- ARG..]", "merge into the run directory and open Wireshark",
   "Copies our Wireshark configuration to RUN/ws; your own is not touched.\n"
   "With ARGs it runs these instead, as in: nettrace wireshark RUN -- tshark -r RUN/merged.pcapng\n"},
  {"info", cmd_info, "[RUN | TRACE [CAPTURE]]", "header, clock and its bounds, losses, what stayed unmatched",
   "  --json           one JSON object\n"
   "  --meta           the metadata text alone\n"},
  {"dump", cmd_dump, "[RUN | TRACE]", "one event per line", SELECTION "  --json           JSON Lines; times in ns\n"
                                                                      "Example: nettrace dump --only tcp_state --json\n"},
  {"why", cmd_why, "N [RUN | TRACE [CAPTURE]]", "the journey of packet N and where its time went",
   "Every event of the packet with the gap before it; the gaps add up to the total.\n"
   "N as printed (#9 or 9), or +K for the K-th packet of the connection\n"
   "that ladder shows.\n"
   "  --ascii          no character beyond ASCII\n"},
  {"check", cmd_check, "[RUN | TRACE [CAPTURE]]", "assert; exit 1 with a line per finding",
   "  --handshake        SYN, SYN,ACK, ACK in order in the capture and in the events\n"
   "  --ends             each packet has exactly one pkt_end\n"
   "  --sandwich         e1000_tx <= frame <= e1000_txkick, frame <= e1000_rx, every time\n"
   "  --max-lost N       at most N slots lost\n"
   "  --max-unmatched N  at most N frames and records alone, once the driver listens\n"
   "  --max-band US      clock known to +-US microseconds at every matched frame\n"
   "  --no-drop REASON   no packet dropped for REASON\n"
   "Example: nettrace check --handshake --ends --max-lost 0 --max-unmatched 0\n"},
  {"stats", cmd_stats, "[RUN | TRACE [CAPTURE]]", "time between stages, drops and retransmissions",
   "For each pair of stages that packets pass one after the other: how often, and the\n"
   "least, middle, 99th of 100 and greatest time between.  Then drops by reason, and\n"
   "segments of each TCP connection.\n" SELECTION
   "  --json           one JSON object; times in ns\n"
   "Example: nettrace stats run/latest --layer DRIVER,NETIF\n"},
  {"chrome", cmd_chrome, "[-o F] [RUN | TRACE [CAPTURE]]", "write Chrome trace JSON, for trace viewers",
   "One thread per stage, one slice per row of a packet, an arrow per packet.\n"
   "A slice ends where the packet, or the stage, has its next row; args.gap_ns is the\n"
   "whole wait until the packet's next row.\n" SELECTION
   "Example: nettrace chrome -o trace.json run/latest\n"},
  {"ctf", cmd_ctf, "-o DIR [RUN | TRACE [CAPTURE]]", "write a CTF trace, for babeltrace2 and trace viewers",
   "Common Trace Format 1.8: DIR/metadata describes the events, DIR/stream holds them.\n" SELECTION
   "Example: nettrace ctf -o ctf run/latest && babeltrace2 ctf\n"},
  {"msc", cmd_msc, "[-o F] [RUN | TRACE [CAPTURE]]", "write a mermaid sequence diagram, for documents",
   "The rows that ladder shows as text that GitHub and others draw: arrows for packets,\n"
   "notes for states, drops and the process; no times.\n" SELECTION
   "  --all            every row\n"
   "Example: nettrace msc --packets 1-3 -o handshake.mmd run/latest\n"},
  {"doc", cmd_doc, "[-o F] [RUN | TRACE]", "write tables of all events, as Markdown",
   "From the metadata in the trace.  docs/events.md is made so: after a change to\n"
   "kernel/trace/events.def run: nettrace doc -o docs/events.md RUN\n"},
  {"save", cmd_save, "-o F [RUN | RAM]", "write a run's RAM image as a saved trace",
   "The same bytes a reader of /dev/nettrace gets.  Works live and after the guest's end.\n"},
  {"wait", cmd_wait, "--for WHAT [RUN | RAM]", "wait until the guest has got that far",
   "  --for WHAT       meta (the ring exists), ip (the card has an address), quiet=MS (no\n"
   "                   frame for MS milliseconds) or EVENT [FIELD=VALUE]..; may be repeated,\n"
   "                   or several in one, with blanks or commas between\n"
   "  --timeout S      give up after S seconds (default 30): exit 1\n"
   "  --pid P          QEMU's process: its end ends the wait at once, as the run's does\n"
   "Example: nettrace wait run/latest --for 'ip tcp_state to=LISTEN' --timeout 10\n"},
  {"console", cmd_console, "[RUN]", "the guest's console",
   "What was said before is shown first; Ctrl-] leaves, the guest goes on.\n"
   "Without a terminal: input is sent to the guest, output printed until it ends.\n"},
  {"monitor", cmd_monitor, "[-d RUN] CMD..", "one QEMU monitor command",
   "Example: nettrace monitor info usernet\n"},
};
#define NCOMMAND (sizeof commands / sizeof commands[0])

static void
usage(FILE *f)
{
  fputs("usage: nettrace COMMAND [FLAGS] [RUN | TRACE [CAPTURE]]\n"
        "Kernel events and captured frames of one run, on one clock.\n\n",
        f);
  for(u32 i = 0; i < NCOMMAND; i++)
    fprintf(f, "  %-10s %s\n", commands[i].name, commands[i].does);
  fputs("\nnettrace COMMAND --help says more.  Without an operand: $NETTRACE_RUN, else run/latest.\n"
        "Flags for all: -o FILE|-, -q (no summary), --strict (a note is a finding), --max-mem SIZE\n"
        "(memory it may take: 512M).\n"
        "Exit: 0 done, 1 found something or timed out, 2 usage, 3 bad input or cannot write,\n"
        "4 the clocks contradict each other.\n",
        f);
}

static void
help(const struct command *c)
{
  printf("usage: nettrace %s [FLAGS] %s\n%s.\n\n%s", c->name, c->args, c->does, c->help);
}

enum {
  FLAG_BOOL,
  FLAG_STR,
  FLAG_NUM,
  FLAG_COND,
  FLAG_MEM,
  FLAG_COLOR
};
static const struct flag {
  const char *name;
  int kind;
  size_t off;
} flags[] = {
  {"--flow", FLAG_STR, offsetof(struct opts, flow)},
  {"--packets", FLAG_STR, offsetof(struct opts, packets)},
  {"--only", FLAG_STR, offsetof(struct opts, only)},
  {"--layer", FLAG_STR, offsetof(struct opts, layer)},
  {"--from", FLAG_STR, offsetof(struct opts, from)},
  {"--to", FLAG_STR, offsetof(struct opts, to)},
  {"--no-drop", FLAG_STR, offsetof(struct opts, noreason)},
  {"-o", FLAG_STR, offsetof(struct opts, out)},
  {"-d", FLAG_STR, offsetof(struct opts, dir)},
  {"--rows", FLAG_NUM, offsetof(struct opts, rows)},
  {"--width", FLAG_NUM, offsetof(struct opts, width)},
  {"--max-lost", FLAG_NUM, offsetof(struct opts, max_lost)},
  {"--max-unmatched", FLAG_NUM, offsetof(struct opts, max_unmatched)},
  {"--max-band", FLAG_NUM, offsetof(struct opts, max_band)},
  {"--pid", FLAG_NUM, offsetof(struct opts, pid)},
  {"--timeout", FLAG_NUM, offsetof(struct opts, timeout)},
  {"--ascii", FLAG_BOOL, offsetof(struct opts, ascii)},
  {"--svg", FLAG_BOOL, offsetof(struct opts, svg)},
  {"--meta", FLAG_BOOL, offsetof(struct opts, meta)},
  {"--json", FLAG_BOOL, offsetof(struct opts, json)},
  {"--all", FLAG_BOOL, offsetof(struct opts, all)},
  {"--strict", FLAG_BOOL, offsetof(struct opts, strict)},
  {"--wire-only", FLAG_BOOL, offsetof(struct opts, wireonly)},
  {"--no-comments", FLAG_BOOL, offsetof(struct opts, nocomments)},
  {"--handshake", FLAG_BOOL, offsetof(struct opts, handshake)},
  {"--ends", FLAG_BOOL, offsetof(struct opts, ends)},
  {"--sandwich", FLAG_BOOL, offsetof(struct opts, sandwich)},
  {"-q", FLAG_BOOL, offsetof(struct opts, quiet)},
  {"--for", FLAG_COND, 0},
  {"--max-mem", FLAG_MEM, 0},
  {"--color", FLAG_COLOR, 0},
};

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
    return *val == 0 || *end || errno || *val == '-' ? "needs a number" : 0;
  case FLAG_COND:
    if(o->ncond == (int)(sizeof o->conds / sizeof o->conds[0]))
      return "given too often";
    o->conds[o->ncond++] = val;
    return 0;
  case FLAG_MEM:
    return set_memory(val);
  }
  o->color = strcmp(val, "always") == 0 ? 1 : strcmp(val, "never") == 0 ? 2
                                                                        : 0;
  return o->color || strcmp(val, "auto") == 0 ? 0 : "is auto, always or never";
}

// Take flags off argv; operands stay in o->argv.  0, or 1 for --help, or -EX_BADUSE.
static int
parse_flags(struct opts *o, int argc, char **argv)
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
    const struct flag *f = 0;
    for(u32 k = 0; k < sizeof flags / sizeof flags[0]; k++)
      if(strlen(flags[k].name) == n && strncmp(flags[k].name, a, n) == 0)
        f = &flags[k];
    if(f == 0)
      return seterr(EX_BADUSE, "unknown flag %s: see --help", a);
    const char *val = f->kind == FLAG_BOOL ? "" : eq && a[1] == '-' ? eq + 1
                                                : i + 1 < argc      ? argv[++i]
                                                                    : 0;
    const char *bad = val ? set_flag(o, f, val) : "needs a value";
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

int
main(int argc, char **argv)
{
  signal(SIGPIPE, SIG_DFL);
  const struct command *c = argc > 1 ? find_command(argv[1]) : &commands[0];
  int skip = argc > 1 ? 2 : 1;
  if(argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0)) {
    usage(stdout);
    return 0;
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
  int rc = parse_flags(&o, argc - skip, argv + skip);
  if(rc == 1) {
    help(c);
    return 0;
  }
  ascii_only = o.ascii;
  if(rc == 0)
    rc = c->run(&o);
  if(rc < 0)
    fprintf(stderr, "nettrace %s: %s\n", c->name, errtext);
  return rc < 0 ? -rc : rc;
}
