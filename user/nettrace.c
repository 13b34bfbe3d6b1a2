// nettrace: the trace from inside the machine, as text.
//
// Live decode, the ring's contents, what events there are and which are recorded,
// and a packet's journey (nettrace_why.c).  The words are those of the host's tool
// of the same name, which reads what -o saves.  All that is known of events comes
// with the stream (ntread.h); what the kernel may refuse is passed on as it was
// typed, and the kernel's reason is printed.
#include "cmd.h"
#include "fcntl.h"
#include "stat.h"
#include "sys.h"
#include "ulib64.h"
#include "user.h"
#include "ntprog.h"

#define DEVICE "/dev/nettrace"
#define STAT   "/dev/nettrace.stat"
#define NCMD   16   // control lines of one call
#define NLINE  127  // longest control line
#define ROOM   1200 // for one record as a line

static const char help[] =
  "usage: nettrace [dump | COMMAND] [-e PAT] [-f FILTER] [-c LINE] [-n N] [-o FILE]\n"
  "What the kernel records of each packet, read while it happens.\n"
  "  nettrace          from now on, one event a line, until Ctrl-C\n"
  "  nettrace dump     what the ring holds, oldest first\n"
  "  nettrace save -o FILE   the same as a file that the host's nettrace reads\n"
  "  -e PAT     these events alone: names with *, @STAGE; commas between several\n"
  "  -f FILTER  only if true: EVENT FIELD OP VALUE [&& ...], OP == != < <= > >= &;\n"
  "             without -e the filter's events alone, with it the others as they are\n"
  "  -c LINE    any line for the device: 'only pkt 9', 'mode lossless', 'self on'\n"
  "  -n N       end after N events\n"
  "  -o FILE    the raw stream into FILE (70 KB at most); - is standard output\n"
  "One packet, N as printed behind #:\n"
  "  nettrace why N    its journey: interrupt, ring, queue, IP, TCP, socket,\n"
  "                    scheduler, application, and the time spent in each\n"
  "  nettrace graph N  the kernel's functions it went through, nested\n"
  "What is recorded:\n"
  "  nettrace list [PAT]        all events: stage, recorded or not, how many, fields\n"
  "  nettrace stat              rings, readers, losses\n"
  "  nettrace enable PAT...     record these events too; disable PAT... do not\n"
  "  nettrace stop | start | snap | mark TEXT | base +-PAT | stop-on EVENT ... |\n"
  "           snaplen N | func PAT...|off       as the device takes them\n"
  "Try: nettrace enable '@CPU,@SYSCALL'; fetch http://127.0.0.1/rc; nettrace dump -e\n"
  "     sock_read -n 3; then nettrace why N.  Or: nettrace -e net_drop, and wait.\n"
  "Exit 0 done; 1 no such device, packet, or refused (it says why); 2 usage.\n";

struct ntread tr;
static char text[4096]; // out's
struct nt_line out = {text, 0, sizeof(text)};

// A pipe that nobody reads any more is no error worth words; a file that is full is.
void
out_flush(void)
{
  static uint written;
  struct stat st;
  int n = out.n > 0 ? write(1, out.s, out.n) : 0;
  if(n > 0)
    written += n;
  if(n != out.n && fstat(1, &st) == 0 && st.type == T_FILE)
    printf(2, "nettrace: the output's file is full after %u bytes, the rest is lost; -e and -n choose among the events\n", written);
  if(n != out.n)
    exits(1);
  out.n = 0;
}

void
out_line(void)
{
  nt_printf(&out, "\n");
  if(out.max - out.n < ROOM)
    out_flush();
}

u64
trace_ns(u64 tsc)
{
  if(tr.h.tsc_khz == 0)
    return 0;
  u64 part = (u64)div64(&tsc, tr.h.tsc_khz) * 1000000; // tsc: ms now
  div64(&part, tr.h.tsc_khz);
  return tsc * 1000000 + part;
}

// ---- .stat, and how the kernel says no -------------------------------------

// The text of .stat, from malloc; what does not fit is cut.
static char *
stat_text(void)
{
  char *s = malloc(32768);
  int n = 0, r, fd = open(STAT, O_RDONLY);
  if(s == 0)
    die("no memory", 0);
  if(fd < 0)
    die(STAT, fd);
  while(n < 32767 && (r = read(fd, s + n, 32767 - n)) > 0)
    n += r;
  close(fd);
  s[n] = 0;
  return s;
}

// Cut the next line off *s; 0 at the end.
static char *
next_line(char **s)
{
  char *line = *s;
  if(*line == 0)
    return 0;
  while(**s && **s != '\n')
    ++*s;
  if(**s)
    *(*s)++ = 0;
  return line;
}

// Cut the next word off *s; "" at the end.
static char *
next_word(char **s)
{
  char *w = *s;
  while(**s && **s != ' ')
    ++*s;
  if(**s)
    *(*s)++ = 0;
  return w;
}

// "nettrace: LINE: reason", exit 1.  The reason of the last refusal stands in .stat.
static void __attribute__((noreturn))
refused(const char *line, int err)
{
  char *s = err == -EINVAL ? stat_text() : 0;
  for(char *row; s && (row = next_line(&s)) != 0;) {
    if(strcmp(next_word(&row), "refused") != 0 || row[0] != '"')
      continue;
    row[strlen(row) - 1] = 0; // the closing quote
    printf(2, "nettrace: %s: %s\n", line, row + 1);
    exits(1);
  }
  die(line, err);
}

// Write one control line, or exit.
static void
tell(int fd, const char *line)
{
  int n = strlen(line);
  int r = n > NLINE ? -EINVAL : write(fd, line, n);
  if(n > NLINE) {
    printf(2, "nettrace: a line is too long: %d characters, at most %d\n", n, NLINE);
    exits(1);
  }
  if(r != n)
    refused(line, r);
}

// a and b from malloc, with sep between them if both have text.
static char *
join(const char *a, const char *sep, const char *b)
{
  int n = strlen(a), m = n ? strlen(sep) : 0;
  char *s = malloc(n + m + strlen(b) + 1);
  if(s == 0)
    die("no memory", 0);
  strcpy(s, a);
  strcpy(s + n, n ? sep : "");
  strcpy(s + n + m, b);
  return s;
}

void
trace_open(int flags, char *const commands[], int n)
{
  const char *all = "";
  for(int i = 0; i < n; i++)
    all = join(all, "\n", commands[i]);
  flags |= n ? O_RDWR : O_RDONLY;
  if(nt_open(&tr, DEVICE, flags, n ? all : 0) == 0)
    return;
  if(tr.why)
    die(tr.why, 0);
  for(int i = 0; tr.fd >= 0 && tr.status == -EINVAL && i < n; i++)
    tell(tr.fd, commands[i]); // one at a time: which was it?
  die(DEVICE, tr.status);
}

// ---- control ---------------------------------------------------------------

// A line for the device: its words with blanks between them, patterns with commas.
static int
control(int argc, char *argv[])
{
  int list = strcmp(argv[0], "enable") == 0 || strcmp(argv[0], "disable") == 0 || strcmp(argv[0], "base") == 0;
  const char *rest = "";
  for(int i = 1; i < argc; i++)
    rest = join(rest, list ? "," : " ", argv[i]);
  if(list && argc < 2)
    usage();
  int fd = open(DEVICE, O_WRONLY); // of all: no view of our own
  if(fd < 0)
    die(DEVICE, fd);
  tell(fd, *rest ? join(argv[0], " ", rest) : argv[0]);
  return 0;
}

static int
show_stat(void)
{
  char *s = stat_text();
  for(char *line; (line = next_line(&s)) != 0;) {
    if(line[0] == 'e' && line[1] == 'v') // an event's counts: list has them
      continue;
    nt_printf(&out, "%s", line);
    out_line();
  }
  out_flush();
  return 0;
}

// Another reader may hold the recorder: while it has not read, what happens is not
// recorded, and nothing here would show that.  Say so, once.
static void
tell_lossless(void)
{
  char *s = stat_text();
  int holder = 0;
  u32 refused = 0;
  for(char *line; (line = next_line(&s)) != 0;) {
    int pid = 0, lossless = 0;
    for(char *w; *(w = next_word(&line));) {
      if(strcmp(w, "dropped") == 0)
        refused += atoi(next_word(&line));
      else if(strcmp(w, "pid") == 0)
        pid = atoi(next_word(&line));
      else if(strcmp(w, "mode") == 0)
        lossless = strcmp(next_word(&line), "lossless") == 0;
    }
    if(lossless && pid != getpid())
      holder = pid;
  }
  if(holder)
    printf(2, "nettrace: process %d reads in mode lossless: events it has no room for are refused, %d so far\n", holder, refused);
}

// ---- list ------------------------------------------------------------------

// What .stat says of one event.
struct account {
  char *emitted, *dropped;
  int on;
};

static void
read_accounts(struct account *a)
{
  char *s = stat_text();
  for(char *line; (line = next_line(&s)) != 0;) {
    if(strcmp(next_word(&line), "event") != 0)
      continue;
    int id = nt_event(&tr, next_word(&line));
    if(id < 0)
      continue;
    a[id].emitted = next_word(&line);
    a[id].dropped = next_word(&line);
    a[id].on = strcmp(next_word(&line), "on") == 0;
  }
}

// Does s match the pattern, in which * stands for anything?
static int
match(const char *pat, const char *s)
{
  for(; *pat != '*'; pat++, s++)
    if(*pat != *s || *s == 0)
      return *pat == *s;
  do {
    if(match(pat + 1, s))
      return 1;
  } while(*s++);
  return 0;
}

static int
wanted(const struct nt_event *e, const char *pat)
{
  return e->name && (pat[0] == '@' ? strcmp(pat + 1, e->stage) == 0 : match(pat, e->name));
}

static void
list_event(const struct nt_event *e, const struct account *a, int fields)
{
  nt_printf(&out, "%-8s %-13s %s %9s  %s", e->stage, e->name, a->on ? "on " : "off", a->emitted ? a->emitted : "0", e->doc);
  if(a->dropped && strcmp(a->dropped, "0") != 0)
    nt_printf(&out, " (%s refused)", a->dropped);
  out_line();
  for(int i = 0; i < e->nfield; i++) {
    const struct nt_field *f = &e->field[i];
    nt_printf(&out, fields ? "         %-12s %-7s %-10s %s" : i ? " %s"
                                                                : "         %s",
              f->name, f->type, f->unit, f->doc);
    if(fields)
      out_line();
  }
  if(e->nfield && !fields)
    out_line();
}

// Every event, or those of a pattern; one event alone with what its fields mean.
static int
list(const char *pat)
{
  static struct account accounts[NT_MAXEV];
  int n = 0;
  trace_open(O_NONBLOCK, 0, 0);
  read_accounts(accounts);
  for(int id = 0; id < NT_MAXEV; id++)
    n += wanted(&tr.event[id], pat);
  if(n == 0) {
    printf(2, "nettrace: no event %s: nettrace list shows them all\n", pat);
    return 1;
  }
  nt_printf(&out, "STAGE    EVENT             COUNT  WHAT HAPPENED, AND ITS FIELDS\n");
  for(int id = 0; id < NT_MAXEV; id++)
    if(wanted(&tr.event[id], pat))
      list_event(&tr.event[id], &accounts[id], n == 1);
  out_flush();
  return 0;
}

// ---- records ---------------------------------------------------------------

static struct {
  char *command[NCMD]; // control lines of our own open
  int ncommand;
  int chosen;       // some of them choose among the records
  uint limit;       // events, 0 = no limit
  const char *file; // raw stream to be saved there
} opt;

static void
add_command(const char *word, const char *rest)
{
  if(opt.ncommand == NCMD)
    die("too many options", 0);
  opt.command[opt.ncommand++] = join(word, " ", rest);
}

// -f alone chooses its own events, too: the filter's patterns, up to the first blank.
static void
enable_filtered(const char *filter)
{
  const char *end = strchr(filter, ' ');
  int n = end ? end - filter : (int)strlen(filter);
  char *patterns = join(filter, "", "");
  patterns[n] = 0;
  add_command("enable", patterns);
}

// "1.134456336 cpu0 netd pid=2 #14 sock=2 e1000_rx slot=6 ...", as the host's dump.
static void
print_record(const struct nt_slot *s)
{
  static const char *const ctx[] = {"thread", "intr", "netd", "timer", "nested"};
  u64 sec = trace_ns(s->ts);
  u32 ns = div64(&sec, 1000000000), c = s->cpu_ctx >> 4;
  nt_printf(&out, "%U.%09u cpu%u %s", sec, ns, s->cpu_ctx & 15, c < 5 ? ctx[c] : "?");
  if(s->pid)
    nt_printf(&out, " pid=%u", s->pid);
  if(s->pkt)
    nt_printf(&out, " #%u", s->pkt);
  if(s->sock)
    nt_printf(&out, " sock=%u", s->sock);
  const struct nt_event *e = &tr.event[s->id < NT_MAXEV ? s->id : 0];
  if(s->id >= NT_MAXEV || e->name == 0) {
    nt_printf(&out, " event %u, which the metadata does not name", s->id);
    out_line();
    return;
  }
  nt_printf(&out, " %s", e->name);
  for(const struct nt_field *f = e->field; f < e->field + e->nfield; f++) {
    nt_printf(&out, " %s=", f->name);
    nt_put(&out, &tr, f, s);
  }
  out_line();
}

// The next record; first shows what has been said, should there be none yet.
static const struct nt_slot *
next_record(void)
{
  if(tr.end - tr.at < (int)sizeof(struct nt_slot))
    out_flush();
  return nt_next(&tr);
}

static int
decode(void)
{
  const struct nt_slot *s;
  for(uint n = 0; (opt.limit == 0 || n < opt.limit) && (s = next_record()) != 0; n++)
    print_record(s);
  out_flush();
  if(tr.status < 0 && tr.status != -EAGAIN)
    die(DEVICE, tr.status);
  return 0;
}

// ---- the raw stream --------------------------------------------------------

static int
write_all(int fd, const void *p, int n)
{
  for(int done = 0, r; done < n; done += r)
    if((r = write(fd, (const char *)p + done, n - done)) <= 0)
      return -1;
  return 0;
}

// Copy header and metadata from an open of their own: tr has taken its own apart.
static int
write_front(int fd)
{
  int src = open(DEVICE, O_RDONLY | O_NONBLOCK), left = sizeof(tr.h) + (tr.h.meta_len + 63) / 64 * 64;
  char *buf = malloc(left + 256);
  if(src < 0 || buf == 0)
    die(DEVICE, src);
  for(int n, have = 0; have < left; have += n)
    if((n = read(src, buf + have, left + 256 - have)) <= 0)
      die(DEVICE, n);
  close(src);
  if(opt.chosen)
    tr.h.flags |= NT_CHOSEN;
  memmove(buf, &tr.h, sizeof(tr.h));
  int r = write_all(fd, buf, left);
  free(buf);
  return r;
}

// What stands in the way of a new file there: open itself says no more than no.
static const char *
why_not(const char *path)
{
  struct stat st;
  char *folder = join(path, "", "");
  int n = strlen(path);
  if(n == 0)
    return "a file wants a name";
  if(stat(path, &st) == 0)
    return st.type == T_DIR ? "is a folder" : "cannot be written";
  while(n > 0 && folder[n - 1] != '/')
    n--;
  folder[n] = 0;
  if(n && (stat(folder, &st) < 0 || st.type != T_DIR))
    return "no such folder";
  return "cannot be made: the disk is full";
}

// Save the records as they come: the host's tool reads the file.  Returns 1 if some of
// them found no room.
static int
save(void)
{
  int std = strcmp(opt.file, "-") == 0, bad;
  int fd = std ? 1 : open(opt.file, O_CREATE | O_WRONLY | O_TRUNC);
  struct stat st = {.type = 0};
  uint n = 0;
  if(fd < 0) {
    printf(2, "nettrace: %s: %s\n", opt.file, fd < -1 ? neterr(fd) : why_not(opt.file));
    return 1;
  }
  fstat(fd, &st);
  bad = write_front(fd);
  for(const struct nt_slot *s; !bad && (opt.limit == 0 || n < opt.limit) && (s = nt_next(&tr)) != 0; n += !bad)
    bad = write_all(fd, s, s->nsl * sizeof(*s));
  if(tr.status < 0 && tr.status != -EAGAIN)
    die(DEVICE, tr.status);
  if(bad && st.type == T_FILE)
    printf(2, "nettrace: %s: full after %u events; -e and -n choose among them\n", opt.file, n);
  else if(bad)
    printf(2, "nettrace: %s: takes no more after %u events\n", opt.file, n);
  else
    printf(2, "nettrace: %s: %u events\n", opt.file, n);
  return bad != 0;
}

// ---- the command line ------------------------------------------------------

static void
options(int argc, char *argv[])
{
  const char *filters[NCMD];
  int some = 0, nfilter = 0;
  for(int o; (o = getopt(argc, argv, "e:f:c:n:o:")) != -1;) {
    if(o == 'e') {
      if(!some++)
        add_command("disable", "*");
      add_command("enable", optarg);
    } else if(o == 'f') {
      while(*optarg == ' ')
        optarg++;
      add_command("filter", optarg);
      filters[nfilter++] = optarg;
    } else if(o == 'c') {
      add_command("", optarg);
    } else if(o == 'n') {
      opt.limit = number(optarg, 1, ~0u);
    } else {
      opt.file = optarg;
    }
    opt.chosen |= o == 'e' || o == 'f' || o == 'c';
  }
  if(optind < argc)
    usage();
  if(nfilter && !some)
    add_command("disable", "*");
  for(int i = 0; i < nfilter && !some; i++)
    enable_filtered(filters[i]);
}

// A packet's number as it is printed: 14 or #14.
static u32
packet(const char *s)
{
  return number(s + (*s == '#'), 1, ~0u);
}

// Words that the device takes as they are.
static int
is_control(const char *word)
{
  static const char *const words[] = {"enable", "disable", "base", "stop", "start", "snap", "mark", "stop-on", "snaplen", "func"};
  for(u32 i = 0; i < sizeof(words) / sizeof(words[0]); i++)
    if(strcmp(word, words[i]) == 0)
      return 1;
  return 0;
}

// Is it a command, if with other arguments?
static int
is_command(const char *word)
{
  return strcmp(word, "stat") == 0 || strcmp(word, "list") == 0 || strcmp(word, "why") == 0 || strcmp(word, "graph") == 0;
}

int
main(int argc, char *argv[])
{
  cmd("nettrace", help);
  const char *word = argc > 1 && argv[1][0] != '-' ? argv[1] : "";
  int dump = strcmp(word, "dump") == 0 || strcmp(word, "save") == 0;
  if(argc == 3 && strcmp(argv[2], "-h") == 0)
    word = argv[1] = argv[2]; // the same help for all
  if(is_control(word))
    exits(control(argc - 1, argv + 1));
  if(*word == 0 || *word == '-' || dump) {
    if(!dump)
      add_command("from", "now");
    options(argc - dump, argv + dump);
    if(word[0] == 's' && opt.file == 0)
      usage();
    trace_open(dump ? O_NONBLOCK : 0, opt.command, opt.ncommand);
    tell_lossless();
    exits(opt.file ? save() : decode());
  }
  if(argc == 2 && strcmp(word, "stat") == 0)
    exits(show_stat());
  if(argc <= 3 && strcmp(word, "list") == 0)
    exits(list(argc == 3 ? argv[2] : "*"));
  if(argc == 3 && strcmp(word, "why") == 0)
    exits(why(packet(argv[2])));
  if(argc == 3 && strcmp(word, "graph") == 0)
    exits(graph(packet(argv[2])));
  if(is_command(word))
    usage();
  printf(2, "nettrace: no command %s: nettrace -h shows them\n", word);
  exits(2);
}
