// sysfuzz SEED N: N random system calls, many of them hostile; the kernel must
// neither die nor lose anything.
//
// The calls are made in batches of 1,000, each in a child of its own that is
// killed if it hangs.  Call n is chosen by a generator that is seeded with SEED
// and n, so a run repeats as far as time lets it.  The descriptors are mostly
// live ones, the paths lie under /fuzz, the pointers mostly point into one
// buffer: so that most calls get past the first check.  One argument in sixteen
// is hostile.
//
// What it may not do to the rest of the system: it kills its own children only,
// changes nothing outside /fuzz, sleeps 20 ms at most, leaves the trace's base
// set, the terminal and the network as they were, and does not turn the machine off.
//
// Beside it runs a witness, whose memory nobody but itself may change.  At the
// end /fuzz is removed and what is in use is compared with the beginning.
#include "fuzz.h"

#define BATCH     1000
#define HANG_NS   2000000000ull
#define NJOB      4
#define SETTLE    30000000000ull  // until everything must be as before (in FIN-WAIT-2, 20 s),
#define TIME_WAIT 150000000000ull // or so long, if connections in TIME-WAIT are left

char self[] = "/sysfuzz";
static const char *const names[NCALL] = {
#define SYSCALL(nr, name) [nr] = #name,
#include "syscalls.def"
#undef SYSCALL
};

uint seed;
int each, failing, report_fd;
static int verbose;
static uint all_ok[NCALL], all_err[NCALL];
// ---- the parent ----------------------------------------------------------------------

static struct job {
  int pid, fd;
  uint first, calls; // of its batch; calls still to be reported
  u64 deadline;      // until the next report
} jobs[NJOB];
static uint made, hung, died;

static u64
clock_ns(void)
{
  u64 ns = 0;
  nsclock(&ns);
  return ns;
}

static void
start(struct job *j, uint first, uint n)
{
  int p[2] = {0}, tries = 0;
  while(pipe(p) < 0 || (j->pid = fork()) < 0) { // calls of other batches may have all there is
    if(p[0] > 0) {
      close(p[0]);
      close(p[1]);
    }
    if(++tries == 100) {
      printf(2, "sysfuzz: no process or pipe for a batch\n");
      exits(1);
    }
    sleep(5);
  }
  if(j->pid == 0) {
    report_fd = p[1];
    batch(first, n);
  }
  close(p[1]);
  j->fd = p[0];
  j->first = first;
  j->calls = n;
  j->deadline = clock_ns() + HANG_NS;
}

// Kill whoever descends from pid, or is a lost child of a batch, and say what they
// are about.
static void
kill_tree(int pid)
{
  static struct psinfo ps[NPROC];
  int n = psinfo(ps, NPROC), marked[NPROC] = {0};
  for(int round = 0; round < 4; round++)
    for(int i = 0; i < n; i++) {
      marked[i] |=
        ps[i].pid == pid || (ps[i].ppid == 1 && strcmp(ps[i].name, self + 1) == 0 && ps[i].pid != getpid());
      for(int k = 0; k < n; k++)
        marked[i] |= marked[k] && ps[i].ppid == ps[k].pid;
    }
  for(int i = 0; i < n; i++)
    if(marked[i]) {
      printf(1, "sysfuzz:   pid %d of %d, %s, state %d, %d ticks\n", ps[i].pid, ps[i].ppid, ps[i].name,
             ps[i].state, ps[i].ticks);
      kill(ps[i].pid);
    }
}

// The batch is over: done, hanging, or dead.
static void
finish(struct job *j, int hangs)
{
  int status = 0, r;
  if(hangs) {
    printf(1, "sysfuzz: batch %d: no call for 2 s, killed\n", j->first);
    hung++;
    kill_tree(j->pid);
  }
  u64 limit = clock_ns() + 5 * HANG_NS;
  while((r = waitpid(j->pid, &status, hangs ? WNOHANG : 0)) == 0 && clock_ns() < limit)
    sleep(1);
  if(r == 0) {
    printf(1, "sysfuzz: batch %d: pid %d does not die\n", j->first, j->pid);
    exits(1);
  }
  if(!hangs && status != 0) {
    printf(1, "sysfuzz: batch %d: ended with status %d\n", j->first, status);
    died++;
  }
  close(j->fd);
  j->pid = 0;
}

static void
take_report(struct job *j)
{
  struct report r;
  uint got = 0;
  for(int n; got < sizeof(r); got += (uint)n)
    if((n = read(j->fd, (char *)&r + got, (int)(sizeof(r) - got))) <= 0) {
      finish(j, 0);
      return;
    }
  j->deadline = clock_ns() + HANG_NS;
  made += r.done;
  for(int i = 0; i < NCALL; i++) {
    all_ok[i] += r.ok[i];
    all_err[i] += r.err[i];
  }
}

// Run calls first to end - 1, njob batches at a time.
static void
run(uint first, uint end, int njob)
{
  for(;;) {
    struct pollfd p[NJOB];
    int busy = 0;
    for(struct job *j = jobs; j < jobs + njob; j++) {
      if(j->pid == 0 && first < end) {
        uint n = end - first < BATCH ? end - first : BATCH;
        start(j, first, n);
        first += n;
      }
      p[j - jobs] = (struct pollfd){.fd = j->pid ? j->fd : -1, .events = POLLIN};
      busy += j->pid != 0;
    }
    if(busy == 0)
      return;
    poll(p, njob, 100);
    for(struct job *j = jobs; j < jobs + njob; j++)
      if(j->pid && p[j - jobs].revents)
        take_report(j);
      else if(j->pid && clock_ns() > j->deadline)
        finish(j, 1);
  }
}

// ---- what must be as it was ----------------------------------------------------------

// ORDER kcounts
static const struct {
  const char *name;
  uint at;
} counted[] = {
#define COUNT(field) \
  { \
#field, __builtin_offsetof(struct kcounts, field) \
  }
  COUNT(pages_free),
  COUNT(procs),
  COUNT(files),
  COUNT(pipe_ends),
  COUNT(inodes),
  COUNT(blocks_free),
  COUNT(dinodes_free),
  COUNT(socks),
  COUNT(pcbs),
  COUNT(segments),
  COUNT(pbufs),
  COUNT(rx_bufs),
  COUNT(heap),
};

static uint
count_of(const struct kcounts *c, uint i)
{
  return *(const uint *)((const char *)c + counted[i].at);
}

// Say how long others are still waited for, once a second, if somebody looks on.
static void
say_waiting(uint time_wait)
{
  static u64 next;
  u64 t = clock_ns();
  if(time_wait == 0 || t < next || ttyctl(0, TTY_SIZE, 0) < 0 || ttyctl(1, TTY_SIZE, 0) < 0)
    return;
  next = t + 1000000000;
  printf(1, "sysfuzz: waiting, connections in TIME-WAIT: %u\n", time_wait);
}

// Wait until all counts are as before.  How many are not, which are printed.
static int
compare(const struct kcounts *before)
{
  struct kcounts c;
  int differ;
  for(u64 from = clock_ns();; sleep(5)) {
    kdebug(KD_COUNTS, &c);
    differ = 0;
    for(uint i = 0; i < NELEM(counted); i++)
      differ += count_of(&c, i) != count_of(before, i);
    if(differ == 0 || clock_ns() - from > (c.time_wait ? TIME_WAIT : SETTLE))
      break;
    say_waiting(c.time_wait);
  }
  for(uint i = 0; i < NELEM(counted); i++)
    if(count_of(&c, i) != count_of(before, i))
      printf(1, "sysfuzz: %s %u, was %u\n", counted[i].name, count_of(&c, i), count_of(before, i));
  return differ;
}

// UDP pcbs, those of sockets and the kernel's own.
static int
udp_pcbs(void)
{
  static struct net_sock list[700];
  int n = 0, bytes = netinfo(NETINFO_SOCKS, list, sizeof(list));
  for(int i = 0; i < bytes / (int)sizeof(list[0]); i++)
    n += list[i].type == SOCK_DGRAM;
  return n;
}

// Are more UDP pcbs left than there were?  A question that nobody answers has one
// for some seconds.  May another question be asked?
static int
names_lost(int before)
{
  struct in_addr a;
  for(u64 from = clock_ns(); udp_pcbs() > before; sleep(5))
    if(clock_ns() - from > SETTLE)
      return 1;
  return resolve("no.invalid", &a, 1) == -ENOBUFS;
}

// A sum over the names of the root directory.
static uint
root_sum(void)
{
  struct dirent de;
  uint sum = 0;
  int fd = open("/", O_RDONLY);
  while(read(fd, &de, sizeof(de)) == sizeof(de))
    for(uint i = 0; de.inum && i < sizeof(de); i++)
      sum = sum * 31 + ((uchar *)&de)[i];
  close(fd);
  return sum;
}

// Empty the working directory, and those in it.
static void
empty(void)
{
  struct dirent de;
  char file[DIRSIZ + 1] = {0};
  int fd = open(".", O_RDONLY);
  while(read(fd, &de, sizeof(de)) == sizeof(de)) {
    memmove(file, de.name, DIRSIZ);
    if(de.inum == 0 || strcmp(file, ".") == 0 || strcmp(file, "..") == 0)
      continue;
    if(unlink(file) == 0)
      continue;
    close(fd); // not one more open file for each level
    if(chdir(file) < 0)
      return;
    empty();
    chdir("..");
    unlink(file);
    fd = open(".", O_RDONLY);
  }
  close(fd);
}

static void
remove_all(void)
{
  if(chdir(ROOT) == 0)
    empty();
  chdir("/");
  unlink(ROOT);
}

static int witness_pid, witness_fd;

// A process that looks at its own memory again and again until our end of the
// pipe is closed.
static void
witness_start(void)
{
  int p[2];
  pipe(p);
  witness_pid = fork();
  if(witness_pid != 0) {
    close(p[0]);
    witness_fd = p[1];
    return;
  }
  close(p[1]);
  struct pollfd end = {.fd = p[0], .events = POLLIN};
  for(uint i = 0; i < ARENA / 4; i++)
    ((uint *)arena)[i] = i * 2654435761u;
  do
    for(uint i = 0; i < ARENA / 4; i++)
      if(((uint *)arena)[i] != i * 2654435761u)
        exits(1);
  while(poll(&end, 1, 20) == 0);
  exits(0);
}

static int
witness_end(void)
{
  int status = -1;
  close(witness_fd);
  waitpid(witness_pid, &status, 0);
  return status;
}

static void
print_table(void)
{
  printf(1, "%-12s %8s %8s\n", "call", "good", "error");
  uint none = 0;
  for(int i = 0; i < NCALL; i++)
    if(names[i] == 0)
      none += all_err[i];
    else if(all_ok[i] || all_err[i])
      printf(1, "%-12s %8u %8u\n", names[i], all_ok[i], all_err[i]);
  printf(1, "%-12s %8u %8u\n", "no such call", 0, none);
}

static void
usage(int fd)
{
  printf(fd, "usage: sysfuzz [-v] [-t] [-j JOBS] [-s FIRST] SEED N\n"
             "  N random system calls, the same for the same SEED; nothing may break\n"
             "  -v        how often each call was made, and with which success\n"
             "  -t        print each call before it is made\n"
             "  -f        allocations fail now and then (debug kernel)\n"
             "  -j JOBS   batches at a time, 1 to 4 (default 1)\n"
             "  -s FIRST  begin with call FIRST, a multiple of 1000\n");
}

static uint
number(const char *s)
{
  uint n = 0;
  if(s == 0 || *s == 0)
    goto bad;
  for(; *s; s++) {
    if(*s < '0' || *s > '9' || n > 100000000)
      goto bad;
    n = n * 10 + (uint)(*s - '0');
  }
  return n;
bad:
  usage(2);
  exits(2);
}

// What was before: compared with what is afterwards.
static struct {
  struct kcounts counts;
  uint root, crc;
  int has_crc; // of the kernel's text: the debug kernel's
  int size, fg, udp;
} was;

static void
begin(void)
{
  chdir("/");
  remove_all(); // of a run that was killed
  int had = mkdir(ROOT);
  remove_all(); // now the root directory is as long as it will be
  if(had < 0) {
    printf(2, "sysfuzz: %s: cannot be made\n", ROOT);
    exits(2);
  }
  u64 limit = clock_ns() + TIME_WAIT;
  while(kdebug(KD_COUNTS, &was.counts) == 0 && was.counts.time_wait > 0 && clock_ns() < limit) {
    say_waiting(was.counts.time_wait);
    sleep(5);
  }
  was.udp = udp_pcbs();
  was.root = root_sum();
  was.has_crc = kdebug(KD_CRC, &was.crc) == 0;
  was.size = ttyctl(0, TTY_SIZE, 0);
  was.fg = ttyctl(0, TTY_FG, 0);
  ttyctl(0, TTY_FG, was.fg > 0 ? was.fg : 0);
  mkdir(ROOT);
}

// After the calls: nothing of them may be left.
static void
tidy(void)
{
  if(failing)
    kdebug(KD_FAILNTH, 0);
  ttyctl(0, TTY_MODE, 0);
  ttyctl(0, TTY_FG, was.fg > 0 ? was.fg : 0);
  if(was.size > 0)
    ttyctl(0, TTY_SIZE, was.size);
  forget_neighbours();
  remove_all();
}

static int
wrong(int is, const char *words)
{
  if(is)
    printf(1, "sysfuzz: %s\n", words);
  return is;
}

// How many things are not as they were; each is said.
static int
judge(void)
{
  uint crc = 0;
  int bad = (int)died;
  bad += wrong(witness_end() != 0, "the witness's memory has changed");
  bad += wrong(root_sum() != was.root, "the root directory has changed");
  bad += wrong(was.has_crc && (kdebug(KD_CRC, &crc) < 0 || crc != was.crc), "the kernel's text has changed");
  bad += compare(&was.counts);
  return bad + wrong(names_lost(was.udp), "UDP ports or questions for names are lost");
}

// The options, up to SEED.
static int
options(int argc, char *argv[], uint *first, int *njob)
{
  int i = 1;
  for(; i < argc && argv[i][0] == '-'; i++)
    switch(argv[i][1]) {
    case 'v':
      verbose = 1;
      break;
    case 'f':
      failing = 1;
      break;
    case 't':
      each = dup(1);
      break;
    case 'j':
      *njob = (int)number(argv[++i]);
      break;
    case 's':
      *first = number(argv[++i]);
      break;
    case 'h':
      usage(1);
      exits(0);
    default:
      usage(2);
      exits(2);
    }
  if(argc - i != 2 || *njob < 1 || *njob > NJOB) {
    usage(2);
    exits(2);
  }
  return i;
}

int
main(int argc, char *argv[])
{
  uint first = 0;
  int njob = 1, i = options(argc, argv, &first, &njob);
  seed = number(argv[i]);
  uint calls = number(argv[i + 1]);
  begin();
  printf(1, "sysfuzz: seed %u, %u calls from %u on\n", seed, calls, first);
  witness_start();
  u64 t0 = clock_ns();
  run(first, first + calls, njob);
  uint ms = (uint)((clock_ns() - t0) >> 20);
  tidy();
  printf(1, "\nsysfuzz: %u calls made in about %u ms, %u batches hung, %u died\n", made, ms, hung, died);
  if(verbose)
    print_table();
  int bad = judge();
  if(bad == 0)
    printf(1, "sysfuzz: %u calls, seed %u: counts back to baseline\n", made, seed);
  exits(bad != 0);
}
