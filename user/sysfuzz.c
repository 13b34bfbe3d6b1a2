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
// set and the terminal as they were, and does not turn the machine off.
//
// Beside it runs a witness, whose memory nobody but itself may change.  At the
// end /fuzz is removed and what is in use is compared with the beginning.
#include "fcntl.h"
#include "fs.h"
#include "memlayout.h"
#include "net.h"
#include "param.h"
#include "stat.h"
#include "sys.h"
#include "syscall.h"
#include "types.h"
#include "user.h"

#define BATCH     1000
#define HANG_NS   2000000000ull
#define REPORT    100 // calls between two reports of a child
#define NCALL     81
#define NJOB      4
#define NKID      4
#define ARENA     65536
#define SETTLE    10000000000ull  // until everything must be as before,
#define TIME_WAIT 150000000000ull // or so long, if connections in TIME-WAIT are left
#define PORT      7000
#define ROOT      "/fuzz"
#define LOOPBACK  0x0100007f // 127.0.0.1, network order

static char self[] = "/sysfuzz";
static const char *const names[NCALL] = {
#define SYSCALL(nr, name) [nr] = #name,
#include "syscalls.def"
#undef SYSCALL
};

static uint seed;
static int verbose, each, failing;

// What a child tells its parent: calls since the last report, in one write.
struct report {
  ushort done;
  ushort ok[NCALL], err[NCALL];
};
static struct report now;
static uint all_ok[NCALL], all_err[NCALL];

// ---- chance --------------------------------------------------------------------------

static uint state;

static uint
rnd(void)
{
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

static uint
below(uint n)
{
  return (rnd() >> 8) % n;
}

static int
one_in(uint n)
{
  return below(n) == 0;
}

// What call n does depends on seed and n alone.
static void
seed_call(uint n)
{
  state = (seed * 2654435761u) ^ (n * 2246822519u) ^ 0x9e3779b9;
  state = state ? state : 1;
  for(int i = 0; i < 4; i++)
    rnd();
}

// ---- the system call itself ----------------------------------------------------------

static uint saved_esp __attribute__((used)); // during the call

// Make call nr with %esp as given: the arguments are the words above it.
// flags: bits of EFLAGS that are set during the call.
static int __attribute__((noinline)) raw_call(uint nr, uint esp, uint flags)
{
  int r;
  asm volatile("movl %%esp, saved_esp\n\t"
               "pushfl\n\t"
               "orl %[flags], (%%esp)\n\t"
               "popfl\n\t"
               "movl %[esp], %%esp\n\t"
               "int $64\n\t"
               "movl saved_esp, %%esp\n\t"
               "pushl $0x202\n\t"
               "popfl"
               : "=a"(r)
               : "a"(nr), [esp] "r"(esp), [flags] "r"(flags)
               : "memory", "cc");
  return r;
}

static int
call(uint nr, uint a, uint b, uint c, uint d)
{
  uint frame[8] = {0xffffffff, a, b, c, d};
  int r = raw_call(nr, (uint)frame, 0);
  if(nr < NCALL && r < 0 && r != -EINPROGRESS)
    now.err[nr]++;
  else if(nr < NCALL)
    now.ok[nr]++;
  return r;
}

// ---- descriptors ---------------------------------------------------------------------

// Kinds, as bits.
#define K_FILE   0x001
#define K_DIR    0x002
#define K_PIPE   0x004
#define K_CONS   0x008
#define K_MEM    0x010 // null, zero, random
#define K_TRACE  0x020 // a reader of /dev/nettrace
#define K_STAT   0x040
#define K_SOCK   0x080 // new or bound
#define K_LISTEN 0x100
#define K_CONN   0x200 // connecting or connected
#define K_NET    (K_SOCK | K_LISTEN | K_CONN)
#define K_ANY    0xfff

static ushort kind[NOFILE]; // of each descriptor, 0: not open
static int report_fd;       // the parent's, not to be touched; nor is each

#define NELEM(a) (sizeof(a) / sizeof((a)[0]))
static const uint bad_numbers[] = {0, 1, 2, 3, 63, 64,
                                   65, 255, 256, 511, 512, 513,
                                   4095, 4096, 4097, 0x7fff, 0x8000, 0xffff,
                                   0x10000, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffffe, 0xffffff00};

static uint
bad_number(void)
{
  return one_in(4) ? rnd() : bad_numbers[below(NELEM(bad_numbers))];
}

// A live descriptor of one of these kinds, any live one if there is none.
static uint
some_fd(uint kinds)
{
  uint from = below(NOFILE), found = NOFILE;
  for(uint i = 0; i < NOFILE; i++) {
    uint fd = (from + i) % NOFILE;
    if(kind[fd] & kinds)
      return fd;
    if(kind[fd])
      found = fd;
  }
  return found < NOFILE ? found : 0xffffffff;
}

static uint
count_fds(void)
{
  uint n = 0;
  for(uint i = 0; i < NOFILE; i++)
    n += kind[i] != 0;
  return n;
}

static void
got_fd(int fd, uint k)
{
  if(fd >= 0 && fd < NOFILE)
    kind[fd] = (ushort)k;
}

// ---- pointers, paths, sizes ----------------------------------------------------------

// What calls read and write.  The rest is for a hostile length at its end.
static char arena[ARENA + 0x11000] __attribute__((aligned(4096)));
static char paths[2][MAXPATH + 16];
static int depth; // of the working directory below /fuzz

// An address that is not ours, or that is ours only for a few bytes.
static uint
bad_pointer(void)
{
  uint end = (uint)sbrk(0), text = (uint)&raw_call;
  switch(below(16)) {
  case 0:
    return 0;
  case 1:
    return 0xfff;
  case 2:
    return KERNBASE - 1 - below(8);
  case 3:
    return KERNBASE + below(2) * EXTMEM;
  case 4:
    return 0xffffffff - below(20);
  case 5:
    return KSTACKS + below(64) * 0x4000 + 0x3f00;
  case 6:
    return DEVSPACE + 0xc00000;
  case 7:
    return end;
  case 8:
    return end - 1 - below(8);
  case 9:
    return end + below(0x10000);
  case 10:
    return text & ~3;
  case 11:
    return (uint)bad_numbers; // read-only
  case 12:
    return ((uint)arena + sizeof(arena)) | 0xfff;
  case 13:
    return KERNBASE + below(0x10000000);
  case 14:
    return 0x1000 - below(4);
  }
  return rnd() | 0x40000000;
}

// ---- arguments -----------------------------------------------------------------------

static int kids[NKID]; // children that may still run
static uint size;      // of the buffer chosen last
static int target;     // depth after the next chdir, if to the path chosen last
static uint chosen;

static uint
some_size(void)
{
  switch(below(16)) {
  case 0:
    return 0;
  case 1:
    return 1 + below(16384);
  case 2:
    return 512 * below(9);
  case 3:
    return 1 + below(4096);
  }
  return 1 + below(600);
}

static uint
buffer(void)
{
  size = some_size();
  return (uint)arena + below(ARENA - size);
}

static char *
append(char *to, const char *s)
{
  while(*s)
    *to++ = *s++;
  *to = 0;
  return to;
}

static const char *
name(void)
{
  static const char *const list[] = {
    "f0",
    "f0",
    "f1",
    "f1",
    "f2",
    "f3",
    "f4",
    "f5",
    "d0",
    "d0",
    "d1",
    "d1",
    "d2",
    "d3",
    "n0",
    "n1",
    "x0",
    "fourteenletter",
    "fourteenletters+",
    "\xff\x80\t\x1b",
    ".",
    "f0/",
    "d1/",
  };
  return list[below(NELEM(list))];
}

// A path of hostile shape, still within /fuzz.
static uint
bad_path(char *p)
{
  switch(below(5)) {
  case 0:
    return (uint)p; // empty
  case 1: {         // around the limit, some components there, some not
    uint len = MAXPATH - 3 + below(6);
    append(p, ROOT);
    for(uint i = 5; i < len; i++)
      p[i] = i % 2 ? '/' : '.';
    p[len] = 0;
    return (uint)p;
  }
  case 2: // a long name
    memset(p, 'f', 200);
    p[200] = 0;
    return (uint)p;
  case 3:
    append(p, "f0/d0/f1");
    return (uint)p;
  }
  return bad_pointer();
}

// A path within /fuzz.
static uint
path(int which)
{
  char *p = paths[which], *to = p;
  *p = 0;
  if(one_in(16))
    return bad_path(p);
  if(!one_in(4))
    to = append(to, one_in(8) ? "//fuzz///" : "/fuzz/");
  else if(depth > 0 && one_in(8))
    to = append(to, "../");
  for(uint n = below(8) < 6 ? 0 : 1 + below(2); n > 0; n--) {
    to = append(to, "d0/");
    to[-2] = (char)('0' + below(4));
    if(one_in(16))
      to = append(to, "d1/../");
  }
  append(to, name());
  return (uint)p;
}

// Where chdir may go: never above /fuzz, however directories come and go.
static uint
workdir(void)
{
  static const char *const dirs[] = {"/fuzz", "/fuzz/d0", "/fuzz/d1", "d0", "d1", "d2", "", "."};
  uint i = below(NELEM(dirs) + 1);
  if(i == NELEM(dirs) && depth > 0) {
    target = depth - 1;
    return chosen = (uint) "..";
  }
  i %= NELEM(dirs);
  if(i < 3)
    target = i > 0;
  else
    target = depth + (i < 6 && depth < 2);
  return chosen = (uint)dirs[i];
}

static struct sockaddr_in addr;
static int addr_len;
static struct pollfd set[NPOLL + 1];

static uint
address(void)
{
  static const uint where[] = {LOOPBACK, LOOPBACK, LOOPBACK, 0, 0x0f02000a, 0x0202000a, 0xffffffff, 0x010000e0};
  addr = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((ushort)(PORT + below(4)))};
  addr.sin_addr.s_addr = where[below(NELEM(where))];
  switch(below(16)) {
  case 0:
    addr.sin_port = htons(1); // where nobody listens
    break;
  case 1:
    addr.sin_port = (ushort)rnd();
    break;
  case 2:
    addr.sin_addr.s_addr = rnd();
    break;
  case 3:
    addr.sin_family = (ushort)rnd();
    break;
  }
  return (uint)&addr;
}

static uint
pollset(void)
{
  for(uint i = 0; i < NPOLL; i++)
    set[i] = (struct pollfd){.fd = (int)(one_in(8) ? bad_number() : some_fd(K_ANY)), .events = (short)rnd()};
  return (uint)set;
}

static uint
flags(void)
{
  static const ushort modes[] = {
    O_RDONLY, O_RDWR, O_RDWR | O_CREATE, O_WRONLY | O_CREATE, O_RDWR | O_CREATE | O_APPEND, O_RDWR | O_TRUNC};
  return modes[below(NELEM(modes))] | O_NONBLOCK;
}

static uint
growth(void)
{
  static const int sizes[] = {
    0, 0, 1, -1, 4096, -4096, 8192, 40000, -40000, 0x7fffffff, (int)0x80000000,
    -100000, 0x10000000, -0x10000000};
  return (uint)sizes[below(NELEM(sizes) - (one_in(8) ? 0 : 2))];
}

static uint
argument(char what)
{
  switch(what) {
  case 'f':
    return some_fd(K_ANY);
  case 'F':
    return some_fd(K_FILE | K_PIPE | K_CONN);
  case 's':
    return some_fd(K_SOCK);
  case 'l':
    return some_fd(K_LISTEN);
  case 'c':
    return some_fd(K_CONN);
  case 'S':
    return some_fd(K_NET);
  case 'T':
    return some_fd(K_CONS);
  case 'b':
    return buffer();
  case 'n':
    return size;
  case 'p':
    return path(0);
  case 'q':
    return path(1);
  case 'w':
    return workdir();
  case 'o':
    return flags();
  case 'a':
    return address();
  case 'L':
    return sizeof(addr);
  case 'A':
    return one_in(4) ? 0 : (uint)&addr;
  case 'P':
    addr_len = sizeof(addr);
    return (uint)&addr_len;
  case 'v':
    return pollset();
  case 'g':
    return growth();
  case '1':
    return 1;
  case '2':
    return 2;
  case '3':
    return below(3);
  case '4':
    return below(5);
  case '5':
    return F_GETFL + below(2);
  case 'K':
    return one_in(4) ? 0xffffffff : (uint)kids[below(NKID)];
  case '9':
    return below(10);
  case 'm':
    return below(4) ? 0 : MSG_DONTWAIT | (rnd() & MSG_PEEK);
  case 'N':
    return SOCK_STREAM | SOCK_NONBLOCK;
  case '0':
    return 0;
  }
  return bad_number();
}

// Number, how often, and its arguments (see argument).
static const struct spec {
  uchar nr, weight;
  char args[5];
} specs[] = {
  {SYS_read, 60, "Fbn"},
  {SYS_read, 15, "fbn"},
  {SYS_write, 60, "Fbn"},
  {SYS_write, 15, "fbn"},
  {SYS_open, 60, "po"},
  {SYS_close, 45, "f"},
  {SYS_dup, 20, "f"},
  {SYS_pipe, 14, "b"},
  {SYS_fstat, 20, "fb"},
  {SYS_poll, 14, "v90"},
  {SYS_poll, 2, "v13"},
  {SYS_fcntl, 16, "f5x"},
  {SYS_fcntl, 8, "Fxx"},
  {SYS_socket, 22, "2N0"},
  {SYS_bind, 22, "saL"},
  {SYS_listen, 18, "S9"},
  {SYS_connect, 20, "saL"},
  {SYS_accept, 25, "lAP"},
  {SYS_send, 25, "cbnm"},
  {SYS_recv, 25, "cbnm"},
  {SYS_shutdown, 6, "c3"},
  {SYS_getsockname, 8, "SAP"},
  {SYS_getpeername, 8, "cAP"},
  {SYS_unlink, 40, "p"},
  {SYS_link, 25, "pq"},
  {SYS_mkdir, 22, "p"},
  {SYS_mknod, 8, "p99"},
  {SYS_chdir, 16, "w"},
  {SYS_sbrk, 12, "g"},
  {SYS_getpid, 2, ""},
  {SYS_uptime, 2, ""},
  {SYS_nsclock, 6, "b"},
  {SYS_psinfo, 6, "b9"},
  {SYS_kdebug, 4, "4b"},
  {SYS_ttyctl, 4, "T33"},
  {SYS_ttyctl, 2, "T4x"},
  {SYS_wait, 3, ""},
  {SYS_waitpid, 6, "Kb1"},
  {SYS_kill, 4, "K"},
  {SYS_sleep, 1, "3"},
};

// ---- what must not be done -----------------------------------------------------------

static int
my_kid(uint pid)
{
  for(int i = 0; i < NKID; i++)
    if(kids[i] && kids[i] == (int)pid)
      return 1;
  return 0;
}

static int
takes_path(uint nr)
{
  return nr == SYS_open || nr == SYS_mknod || nr == SYS_unlink || nr == SYS_link || nr == SYS_mkdir ||
         nr == SYS_chdir || nr == SYS_exec;
}

// Make a call harmless to others.  0: not to be made at all.
static int
tame(uint nr, uint *a)
{
  if(a[0] == (uint)report_fd || a[0] == (uint)each)
    a[0] = 0xffffffff;
  for(int i = 0; i < 2; i++)
    if(takes_path(nr) && a[i] - (uint)arena < sizeof(arena))
      a[i] = path(i);
  switch(nr) {
  case SYS_fork:
  case SYS_exit:
  case SYS_exits:
  case SYS_poweroff:
    return 0;
  case SYS_chdir:
    if(a[0] != chosen)
      target = 0; // the least it can be
    return 1;
  case SYS_kill: // nobody has a pid as large
    return my_kid(a[0]) || (int)a[0] <= 1 || a[0] > 0x1000000;
  case SYS_sleep:
    return (int)a[0] <= 2;
  case SYS_poll:
    return a[2] <= 20 || (a[2] = below(20), 1);
  case SYS_write: // a point at a time
    if(a[0] < NOFILE && kind[a[0]] & K_CONS && a[2] > 1 && (int)a[2] > 0)
      a[1] = (uint) ".", a[2] = 1;
    return 1;
  case SYS_open: // never waiting
    a[1] |= O_NONBLOCK;
    return 1;
  case SYS_fcntl:
    a[2] |= O_NONBLOCK;
    return 1;
  case SYS_mknod: // not the console
    return (short)a[1] != 1;
  case SYS_sbrk:
    return (int)a[0] <= 0x10000 || a[0] > 0x7ff00000 || one_in(20); // all memory there is: slow
  case SYS_ttyctl:                                                  // ^C must not hit a stranger
    return a[1] != TTY_FG || a[2] == 0 || a[2] > 0x1000000;
  case SYS_kdebug:
    return a[0] <= KD_LOCKS || a[0] > 1000; // no faults by intention
  }
  return 1;
}

// ---- what follows from a result ------------------------------------------------------

static void
no_wait(int fd)
{
  call(SYS_fcntl, (uint)fd, F_SETFL, O_NONBLOCK, 0);
}

static void
opened(int fd)
{
  struct stat st = {0};
  fstat(fd, &st);
  got_fd(fd, st.type == T_DIR ? K_DIR : K_FILE);
}

static void
piped(uint at)
{
  int fd[2];
  memmove(fd, (void *)at, sizeof(fd));
  for(int i = 0; i < 2; i++) {
    got_fd(fd[i], K_PIPE);
    no_wait(fd[i]);
  }
}

static void
forget_kid(int pid)
{
  for(int i = 0; i < NKID; i++)
    if(kids[i] == pid)
      kids[i] = 0;
}

// Keep the books: call nr with arguments a returned r.
static void
note(uint nr, const uint *a, int r)
{
  uint fd = a[0];
  if(nr == SYS_connect && r == -EINPROGRESS && fd < NOFILE)
    kind[fd] = K_CONN;
  if(r < 0)
    return;
  switch(nr) {
  case SYS_open:
    opened(r);
    break;
  case SYS_dup:
    got_fd(r, kind[fd]);
    break;
  case SYS_pipe:
    piped(fd);
    break;
  case SYS_socket:
    got_fd(r, K_SOCK);
    no_wait(r);
    break;
  case SYS_accept:
    got_fd(r, K_CONN);
    no_wait(r);
    break;
  case SYS_listen:
    kind[fd] = K_LISTEN;
    break;
  case SYS_close:
    kind[fd] = 0;
    break;
  case SYS_chdir:
    depth = target;
    break;
  case SYS_wait:
  case SYS_waitpid:
    forget_kid(r);
    break;
  case SYS_sbrk:
    if((int)fd >= 0x10000) // too much to be copied by each fork
      call(nr, -fd, 0, 0, 0);
    break;
  }
}

// ---- acts: what a call's number n stands for -----------------------------------------

// Tell the parent that n more calls were made, and that we live.
static void
report(uint n)
{
  now.done = (ushort)n;
  write(report_fd, &now, sizeof(now));
  memset(&now, 0, sizeof(now));
}

static void act(void);

static void
try(uint nr, uint *a, uint esp, uint eflags)
{
  if(!tame(nr, a))
    return;
  if(each)
    printf(each, "  %d(%x %x %x %x)", nr, a[0], a[1], a[2], a[3]);
  int r;
  if(esp) {
    memmove((void *)(esp + 4), a, 16);
    r = raw_call(nr, esp, eflags);
  } else
    r = call(nr, a[0], a[1], a[2], a[3]);
  if(each)
    printf(each, " = %d\n", r);
  note(nr, a, r);
}

// One call of the table.  Now and then an argument is hostile, the stack lies
// in an odd place, or flags are set that a kernel must not inherit.
static void
act_call(void)
{
  static const uint odd_flags[] = {0, 0x400, 0x40000, 0x4000, 0x8d5}; // DF, AC, NT
  static uint total;
  if(total == 0)
    for(uint i = 0; i < NELEM(specs); i++)
      total += specs[i].weight;
  uint pick = below(total), i = 0;
  while(pick >= specs[i].weight)
    pick -= specs[i++].weight;
  const struct spec *s = &specs[i];
  uint a[4] = {0};
  for(int k = 0; k < 4 && s->args[k]; k++) {
    a[k] = argument(s->args[k]);
    if(one_in(16))
      a[k] = s->args[k] == 'n' || one_in(2) ? bad_number() : bad_pointer();
  }
  int odd = one_in(32);
  try(s->nr, a, odd ? (uint)arena + below(ARENA - 64) : 0, odd ? odd_flags[below(NELEM(odd_flags))] : 0);
}

// Any call with anything.
static void
act_anything(void)
{
  uint a[4];
  for(int k = 0; k < 4; k++)
    switch(below(4)) {
    case 0:
      a[k] = bad_pointer();
      break;
    case 1:
      a[k] = bad_number();
      break;
    case 2:
      a[k] = buffer();
      break;
    case 3:
      a[k] = some_fd(K_ANY);
      break;
    }
  try(one_in(8) ? bad_number() : below(NCALL), a, 0, 0);
}

// Arguments that cannot be read at all, or only the first of them.
static void
act_esp(void)
{
  uint end = (uint)sbrk(0), nr = below(NCALL);
  uint at[] = {0, KERNBASE - 4, KERNBASE, KERNBASE + EXTMEM,
               0xfffffffc, 0xfffffff0, KSTACKS + 0x3000, DEVSPACE,
               end, end - 4, end - 7};
  if(nr == SYS_fork || nr == SYS_exit)
    return;
  raw_call(nr, at[below(NELEM(at))], 0);
}

// Wait for a child that is known to end.
static void
reap(int pid)
{
  int status;
  if(pid > 0)
    call(SYS_waitpid, (uint)pid, (uint)&status, 0, 0);
}

// fork, of which both sides know what they may do.
static int
child(void)
{
  int pid = call(SYS_fork, 0, 0, 0, 0);
  if(pid == 0) {
    memset(kids, 0, sizeof(kids));
    close(report_fd);
    report_fd = -1;
  }
  return pid;
}

// A child that makes some calls beside us, with the same open files.
static void
act_fork(void)
{
  int k = 0;
  while(k < NKID && kids[k])
    k++;
  if(k == NKID || report_fd < 0) // a child's child makes none
    return;
  int pid = child();
  if(pid == 0) {
    for(uint n = below(24); n > 0; n--)
      act();
    for(int i = 0; i < NKID; i++)
      reap(kids[i]);
    if(one_in(2))
      exit();
    exits((int)rnd());
  }
  if(pid < 0)
    return;
  kids[k] = pid;
  if(one_in(2)) {
    reap(pid);
    forget_kid(pid);
  }
}

// What a child does that waits for what never comes.
static void
wait_for_ever(void)
{
  int p[2], fd = -1;
  for(int i = 0; i < NOFILE; i++)
    close(i);
  struct pollfd none = {.fd = -1};
  switch(below(8)) {
  case 0:
    pipe(p);
    read(p[0], arena, 1);
    break;
  case 1:
    pipe(p);
    write(p[1], arena, 513 + (int)below(2000));
    break;
  case 2:
  case 3:
    fd = socket(AF_INET, SOCK_STREAM, 0);
    address();
    addr.sin_family = AF_INET;
    addr.sin_addr.s_addr = 0x6302000a; // nobody there
    connect(fd, &addr, sizeof(addr));
    break;
  case 4:
    fd = socket(AF_INET, SOCK_STREAM, 0);
    addr = (struct sockaddr_in){.sin_family = AF_INET};
    bind(fd, &addr, sizeof(addr));
    listen(fd, 3);
    accept(fd, 0, 0);
    break;
  case 5:
    poll(&none, 1, -1);
    break;
  case 6:
    open("/dev/nettrace", O_RDONLY);
    write(0, "disable *\nfrom now", 18);
    for(;;)
      read(0, arena, ARENA);
  case 7:
    if(fork() == 0) {
      sleep(2);
      exit();
    }
    wait();
  }
  sleep(0x7fffffff);
}

// Kill a child in whatever it is about: at once, after a moment, or asleep.
static void
act_kill(void)
{
  if(report_fd < 0) // whose own end would leave it behind
    return;
  int pid = child();
  if(pid == 0) {
    if(one_in(3))
      for(;;)
        act();
    wait_for_ever();
  }
  if(pid < 0)
    return;
  if(one_in(3))
    sleep(1);
  else
    for(uint n = below(300); n > 0; n--)
      getpid();
  call(SYS_kill, (uint)pid, 0, 0, 0);
  reap(pid);
}

// A program of a few bytes that calls exit, and what an attacker makes of it.
static uint
bad_program(void)
{
  static uchar code[] = {0xb8, 2, 0, 0, 0, 0xcd, 64};
  uint *w = (uint *)arena, len = 84 + sizeof(code);
  static const uchar head[] = {0x7f, 'E', 'L', 'F', 1, 1, 1};
  memset(arena, 0, 84);
  memmove(arena, head, sizeof(head));
  w[4] = 0x30002;        // executable, i386
  w[5] = 1;              // version
  w[6] = 0x10000 + 84;   // entry
  w[7] = 52;             // program headers
  w[10] = 52 | 32 << 16; // sizes of this header and of those
  w[11] = 1;             // how many
  w[13] = 1;             // PT_LOAD
  w[15] = w[16] = 0x10000;
  w[17] = w[18] = len;
  w[19] = 5 + 2 * below(2);
  memmove(arena + 84, code, sizeof(code));
  for(uint n = below(4); n > 0; n--) {
    uint i = 4 + below(17);
    w[i] = one_in(3) ? bad_number() : one_in(2) ? w[i] ^ 1 << below(32)
                                                : w[i] + below(5) * 0x1000 - 0x2000;
  }
  return one_in(4) ? below(len) : len;
}

static void
exec_something(void)
{
  static char x[] = "/fuzz/x0", echo[] = "/echo", dir[] = "/", h[] = "-h";
  char *const what[] = {x, x, x, self, echo, dir, (char *)path(0), (char *)bad_pointer()};
  char **argv = (char **)(arena + ARENA / 2);
  uint n = one_in(4) ? below(40) : below(5);
  for(uint i = 0; i < n; i++)
    argv[i] = one_in(4) ? (char *)bad_pointer() : (char *)path(i % 2);
  argv[n] = 0;
  if(one_in(8)) { // strings around the limit
    argv[0] = arena, argv[1] = 0;
    memset(arena, 'a', 4096);
    arena[4064 + below(32)] = 0;
  }
  char *prog = what[below(NELEM(what))];
  if(prog == self)
    argv[1] = h, argv[2] = 0;
  exec(prog, one_in(8) ? (char **)bad_pointer() : argv);
}

static void
act_exec(void)
{
  int pid = child();
  if(pid == 0) {
    uint len = bad_program();
    int fd = open("/fuzz/x0", O_WRONLY | O_CREATE | O_TRUNC);
    write(fd, arena, (int)len);
    close(fd);
    exec_something();
    exits(99);
  }
  int status = 0;
  if(pid > 0 && waitpid(pid, &status, 0) == pid) {
    now.err[SYS_exec] += status == 99;
    now.ok[SYS_exec] += status != 99;
  }
}

// Both ends of a connection to ourselves.
static void
act_connect(void)
{
  uint l = (uint)call(SYS_socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0, 0);
  uint c = (uint)call(SYS_socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0, 0);
  got_fd((int)l, K_SOCK);
  got_fd((int)c, K_SOCK);
  addr = (struct sockaddr_in){
    .sin_family = AF_INET, .sin_port = htons((ushort)(PORT + below(4))), .sin_addr = {LOOPBACK}};
  if(call(SYS_bind, l, (uint)&addr, sizeof(addr), 0) == 0 && call(SYS_listen, l, below(5), 0, 0) == 0)
    got_fd((int)l, K_LISTEN);
  int r = call(SYS_connect, c, (uint)&addr, sizeof(addr), 0);
  if(r == 0 || r == -EINPROGRESS)
    got_fd((int)c, K_CONN);
  if(one_in(2)) { // let it come about
    set[0] = (struct pollfd){.fd = (int)l, .events = POLLIN};
    call(SYS_poll, (uint)set, 1, 20, 0);
    int a = call(SYS_accept, l, 0, 0, 0);
    got_fd(a, K_CONN);
    if(a >= 0)
      no_wait(a);
  }
}

// Devices, directories, the console.
static void
act_device(void)
{
  static const struct {
    const char *path;
    ushort flags, kind;
  } list[] = {
    {"/dev/null", O_RDWR, K_MEM},
    {"/dev/zero", O_RDWR, K_MEM},
    {"/dev/random", O_RDONLY, K_MEM},
    {"/dev/nettrace", O_RDWR, K_TRACE},
    {"/dev/nettrace", O_RDONLY, K_TRACE},
    {"/dev/nettrace.stat", O_RDONLY, K_STAT},
    {"/console", O_RDWR, K_CONS},
    {"/dev/console", O_RDONLY, K_CONS},
    {"/", O_RDONLY, K_DIR},
    {ROOT, O_RDONLY, K_DIR},
    {"/README", O_RDONLY, K_FILE},
  };
  uint i = below(NELEM(list));
  got_fd(call(SYS_open, (uint)list[i].path, list[i].flags | O_NONBLOCK, 0, 0), list[i].kind);
}

// Command lines for a reader of the trace: well formed, or wrong in some way.
// None that concerns anybody else: no base, and stop only with an argument.
static void
act_control(void)
{
  static const char *const words[] = {"enable", "disable", "from", "timeout", "sync", "snap", "mark",
                                      "stop ", "start", "base ", "#", "", "nonsense"};
  static const char *const args[] = {
    "", " *", " tcp_*", " tcp_state,e1000_*", " ,", " now", " oldest", " -10",
    " -99999999", " 0", " 5", " 4294967296", " x", "  ", " \xff\x01", "\n",
    " +", " +nothing"};
  static char text[1200];
  char *to = text;
  uint fd = some_fd(K_TRACE);
  if(fd >= NOFILE || kind[fd] != K_TRACE)
    return;
  for(uint n = 1 + below(4); n > 0; n--) {
    to = append(to, words[below(NELEM(words))]);
    if(to[-1] == ' ' && to > text)
      to = append(to, " nothing");
    else
      to = append(to, args[below(NELEM(args))]);
    to = append(to, one_in(8) ? "" : "\n");
  }
  if(one_in(8)) {
    memset(to, 'm', 600);
    to += 600;
  }
  call(SYS_write, fd, (uint)text, (uint)(to - text), 0);
}

// Children, each with as many pipes as it gets: processes and open files of the
// system run out.
static void
all_files(void)
{
  int p[2], n = 0;
  for(; n < NPROC; n++) {
    int pid = call(SYS_fork, 0, 0, 0, 0);
    if(pid < 0)
      break;
    if(pid > 0)
      continue;
    close(report_fd);
    while(pipe(p) == 0)
      ;
    open(paths[0], O_CREATE | O_RDWR);
    sleep(1);
    exit();
  }
  while(n-- > 0)
    call(SYS_wait, 0, 0, 0, 0);
  memset(kids, 0, sizeof(kids)); // those were among them, or will be
}

// Files until the disk is full, or nodes until no inode is left; then none again.
static void
all_disk(int bytes)
{
  char name[] = ROOT "/g000";
  int n = 0, full = 0;
  for(int pass = 0; pass < 2; pass++)
    for(int i = 0; i < (pass ? n : 999) && (pass || !full); i++) {
      name[7] = (char)('0' + i / 100);
      name[8] = (char)('0' + i / 10 % 10);
      name[9] = (char)('0' + i % 10);
      if(i % 20 == 0 && report_fd >= 0)
        report(0); // slow, but no hang
      if(pass)
        call(SYS_unlink, (uint)name, 0, 0, 0);
      else if(!bytes)
        full = call(SYS_mknod, (uint)name, 2, 0, 0) < 0;
      else {
        uint fd = (uint)call(SYS_open, (uint)name, O_CREATE | O_RDWR, 0, 0);
        full = call(SYS_write, fd, (uint)arena, 70000, 0) != 70000;
        call(SYS_close, fd, 0, 0, 0);
      }
      n += !pass;
    }
}

// As many as there can be of something.
static void
act_storm(void)
{
  uint fd = some_fd(K_ANY);
  switch(below(12)) {
  case 0: // descriptors
  case 1:
  case 2:
    for(int r = 0; r >= 0 && fd < NOFILE;) {
      r = call(SYS_dup, fd, 0, 0, 0);
      got_fd(r, kind[fd]);
    }
    break;
  case 3: // bytes
  case 4:
  case 5:
    fd = some_fd(K_FILE | K_CONN);
    for(int n = 0; n < 5 && fd < NOFILE && !(kind[fd] & K_CONS); n++)
      call(SYS_write, fd, (uint)arena, 20000, 0);
    break;
  case 6:
    if(report_fd >= 0)
      all_files();
    break;
  case 7:
    if(one_in(4))
      all_disk(one_in(2));
    break;
  default: // names
    for(uint n = 20 + below(60); n > 0; n--) {
      uint a[4] = {path(0), path(1)};
      try(one_in(3) ? SYS_mkdir : one_in(2) ? SYS_unlink
                                            : SYS_link,
          a, 0, 0);
    }
  }
}

// What the CPU refuses: the child that does it dies, nobody else.
static void
act_fault(void)
{
  int pid = child();
  if(pid == 0) {
    uint at = bad_pointer();
    switch(below(8)) {
    case 0:
      *(volatile uint *)at = 0;
      break;
    case 1:
      (void)*(volatile uint *)at;
      break;
    case 2:
      ((void (*)(void))at)();
      break;
    case 3:
      asm volatile("hlt");
      break;
    case 4:
      asm volatile("inb $0x64, %%al" ::
                     : "eax");
      break;
    case 5:
      asm volatile("int $32");
      break;
    case 6:
      asm volatile("movl %0, %%gs" ::"r"(rnd() & 0xffff));
      break;
    case 7:
      asm volatile("pushl $0x302; popfl; int $64; nop");
      break;
    }
    exit();
  }
  reap(pid);
}

static void
act(void)
{
  static const struct {
    ushort weight;
    void (*fn)(void);
  } acts[] = {
    {2600, act_call},
    {250, act_anything},
    {70, act_esp},
    {24, act_connect},
    {36, act_device},
    {20, act_control},
    {20, act_fork},
    {6, act_kill},
    {6, act_exec},
    {8, act_storm},
    {1, act_fault},
  };
  static uint total;
  if(total == 0)
    for(uint i = 0; i < NELEM(acts); i++)
      total += acts[i].weight;
  uint pick = below(total), i = 0;
  while(pick >= acts[i].weight)
    pick -= acts[i++].weight;
  while(count_fds() > 44) { // keep room for new ones
    uint fd = some_fd(K_ANY);
    call(SYS_close, fd, 0, 0, 0);
    kind[fd] = 0;
  }
  acts[i].fn();
}

// ---- a batch: what a child does ------------------------------------------------------

static void
batch(uint first, uint n)
{
  for(int fd = 0; fd < NOFILE; fd++)
    if(fd != report_fd && fd != each)
      close(fd);
  chdir(ROOT);
  seed_call(~first);
  for(uint i = 0; i < ARENA; i += 4)
    *(uint *)(arena + i) = rnd();
  char *page = sbrk(4096);
  if(page != (char *)-1)
    memset(page, 'x', 4096); // a string there has no end
  uint done = 0;
  for(uint i = 0; i < n; i++) {
    seed_call(first + i);
    if(each)
      printf(each, "call %d\n", first + i);
    if(failing && one_in(20))
      kdebug(KD_FAILNTH, (void *)(1 + below(60)));
    act();
    if(++done == REPORT) {
      report(done);
      done = 0;
    }
  }
  for(int i = 0; i < NKID; i++)
    reap(kids[i]);
  report(done);
  exits(0);
}

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
  }
  for(uint i = 0; i < NELEM(counted); i++)
    if(count_of(&c, i) != count_of(before, i))
      printf(1, "sysfuzz: %s %u, was %u\n", counted[i].name, count_of(&c, i), count_of(before, i));
  return differ;
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
  int size, fg;
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
  while(kdebug(KD_COUNTS, &was.counts) == 0 && was.counts.time_wait > 0 && clock_ns() < limit)
    sleep(5);
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
  return bad + compare(&was.counts);
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
