// sysfuzz's raw material: chance, the system call itself, and arguments for it.
//
// Descriptors are mostly live ones, paths lie under /fuzz, pointers mostly point
// into one buffer: so that most calls get past the first check.
#include "fuzz.h"

// ---- chance --------------------------------------------------------------------------

struct report now;
static uint state;

uint
rnd(void)
{
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

uint
below(uint n)
{
  return (rnd() >> 8) % n;
}

int
one_in(uint n)
{
  return below(n) == 0;
}

// What call n does depends on seed and n alone.
void
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
int __attribute__((noinline)) raw_call(uint nr, uint esp, uint flags)
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

int
call6(uint nr, const uint *a)
{
  uint frame[NARG + 1] = {0xffffffff};
  memmove(frame + 1, a, NARG * sizeof(uint));
  int r = raw_call(nr, (uint)frame, 0);
  if(nr < NCALL && r < 0 && r != -EINPROGRESS)
    now.err[nr]++;
  else if(nr < NCALL)
    now.ok[nr]++;
  return r;
}

int
call(uint nr, uint a, uint b, uint c, uint d)
{
  const uint args[NARG] = {a, b, c, d};
  return call6(nr, args);
}

// ---- descriptors ---------------------------------------------------------------------

ushort kind[NOFILE];
static const uint bad_numbers[] = {0, 1, 2, 3, 63, 64,
                                   65, 255, 256, 511, 512, 513,
                                   4095, 4096, 4097, 0x7fff, 0x8000, 0xffff,
                                   0x10000, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffffe, 0xffffff00};

uint
bad_number(void)
{
  return one_in(4) ? rnd() : bad_numbers[below(NELEM(bad_numbers))];
}

// A live descriptor of one of these kinds, any live one if there is none.
uint
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

uint
count_fds(void)
{
  uint n = 0;
  for(uint i = 0; i < NOFILE; i++)
    n += kind[i] != 0;
  return n;
}

void
got_fd(int fd, uint k)
{
  if(fd >= 0 && fd < NOFILE)
    kind[fd] = (ushort)k;
}

// ---- pointers, paths, sizes ----------------------------------------------------------

char arena[ARENA + 0x11000] __attribute__((aligned(4096)));
char paths[2][MAXPATH + 16];
int depth;

// An address that is not ours, or that is ours only for a few bytes.
uint
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

int kids[NKID], target;
uint chosen;
static uint size; // of the buffer chosen last

static uint
some_size(void)
{
  switch(below(16)) {
  case 0:
    return 0;
  case 1:
    return 1 + below(16384);
  case 2:
    return one_in(8) ? 65500 + below(12) : 512 * below(9);
  case 3:
    return 1 + below(4096);
  }
  return 1 + below(600);
}

uint
buffer(void)
{
  size = some_size();
  return (uint)arena + below(ARENA - size);
}

char *
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
uint
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
uint
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

struct pollfd set[NPOLL + 1];

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

// Of the descriptors' letters, what kinds they stand for.
static const struct {
  char what;
  ushort kinds;
} fd_kinds[] = {
  {'f', K_ANY},
  {'F', K_FILE | K_PIPE | K_CONN},
  {'s', K_SOCK},
  {'l', K_LISTEN},
  {'c', K_CONN},
  {'S', K_NET},
  {'d', K_DGRAM},
  {'T', K_CONS},
};

static uint
argument(char what)
{
  for(uint i = 0; i < NELEM(fd_kinds); i++)
    if(fd_kinds[i].what == what)
      return some_fd(fd_kinds[i].kinds);
  switch(what) {
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
    return address_length();
  case 'v':
    return pollset();
  case 'g':
    return growth();
  case '3':
  case '4':
    return below((uint)what - '0' + (what == '4'));
  case '9':
    return below(10);
  case '5':
    return F_GETFL + below(2);
  case 'K':
    return one_in(4) ? 0xffffffff : (uint)kids[below(NKID)];
  case 'm':
    return below(4) ? 0 : MSG_DONTWAIT | (rnd() & MSG_PEEK);
  case 'N':
    return SOCK_STREAM | SOCK_NONBLOCK;
  case 'D':
    return (one_in(4) ? SOCK_RAW : SOCK_DGRAM) | SOCK_NONBLOCK;
  case 'O':
    return option_level();
  case 'Q':
    return option_name();
  case 'V':
    return option_value();
  case 'U':
    return option_length();
  case 'I':
    return option_length_at();
  case 'h':
    return host_name();
  case 'C':
    return configuration((uint)arena);
  case 't':
    return 1 + below(20);
  case 'i':
    return 1 + below(7);
  case '0':
  case '1':
  case '2':
    return (uint)what - '0';
  }
  return bad_number();
}

// Number, how often, and its arguments (see argument).
static const struct spec {
  uchar nr, weight;
  char args[NARG + 1];
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
  {SYS_socket, 12, "2D0"},
  {SYS_socket, 3, "2xx"},
  {SYS_bind, 12, "daL"},
  {SYS_connect, 8, "daL"},
  {SYS_send, 8, "dbnm"},
  {SYS_recv, 8, "dbnm"},
  {SYS_sendto, 25, "dbnmaL"},
  {SYS_sendto, 5, "SbnmAL"},
  {SYS_recvfrom, 25, "dbnmAP"},
  {SYS_recvfrom, 5, "SbnmAP"},
  {SYS_shutdown, 3, "d3"},
  {SYS_setsockopt, 40, "SOQVU"},
  {SYS_getsockopt, 40, "SOQbI"},
  {SYS_resolve, 3, "hbt"},
  {SYS_netinfo, 20, "ibn"},
  {SYS_netconf, 8, "C"},
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

// A call of the table and its arguments, now and then a hostile one.  Its number.
uint
some_call(uint *a)
{
  static uint total;
  if(total == 0)
    for(uint i = 0; i < NELEM(specs); i++)
      total += specs[i].weight;
  uint pick = below(total), i = 0;
  while(pick >= specs[i].weight)
    pick -= specs[i++].weight;
  const struct spec *s = &specs[i];
  for(int k = 0; k < NARG && s->args[k]; k++) {
    a[k] = argument(s->args[k]);
    if(one_in(16))
      a[k] = s->args[k] == 'n' || one_in(2) ? bad_number() : bad_pointer();
  }
  return s->nr;
}
