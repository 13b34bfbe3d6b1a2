// hostile: every system call, wrongly, in every way that can be listed.
//
//   hostile calls    each argument of each call in turn: bad addresses, lengths,
//                    descriptors, flags
//   hostile stacks   each number, with %esp where no arguments can be read, or
//                    not all of them
//
// One child per call; beside them a witness, whose memory must not change.  A
// call may refuse or do something harmless; with an address that is not the
// caller's it must refuse.  Prints a line with WRONG for what differs, and last
// `N calls, N wrong`.  The host looks at the kernel's text meanwhile
// (tests/guest/test_hostile.py).
#include "types.h"
#include "fcntl.h"
#include "memlayout.h"
#include "net.h"
#include "param.h"
#include "stat.h"
#include "sys.h"
#include "syscall.h"
#include "user.h"

#define NELEM(a) (sizeof(a) / sizeof((a)[0]))
#define STACK    (4 * 4096) // ORDER STACKPAGES (exec.c): below it the guard page
#define WITNESS  65536

// Arguments of a call.  Letters: f descriptor of a file, s socket, d socket that sends
// to itself, c console, i number, 1, 2 and o these numbers and an option's, 6 the
// number 16, n length of the buffer before it; addresses: R the kernel reads from
// there, W it writes, A a socket's (or 0), S string, V argv[], L of an int that is
// the length of the buffer before it.  bytes: what R and W transfer without n.
static const struct call {
  int nr;
  const char *name, *args;
  int bytes;
} calls[] = {
  {SYS_pipe, "pipe", "W", 8},
  {SYS_read, "read", "fWn", 0},
  {SYS_write, "write", "fRn", 0},
  {SYS_exec, "exec", "SV", 4},
  {SYS_fstat, "fstat", "fW", sizeof(struct stat)},
  {SYS_chdir, "chdir", "S", 0},
  {SYS_dup, "dup", "f", 0},
  {SYS_open, "open", "Si", 0},
  {SYS_mknod, "mknod", "Sii", 0},
  {SYS_unlink, "unlink", "S", 0},
  {SYS_link, "link", "SS", 0},
  {SYS_mkdir, "mkdir", "S", 0},
  {SYS_close, "close", "f", 0},
  {SYS_wait, "wait", "", 0},
  {SYS_getpid, "getpid", "", 0},
  {SYS_uptime, "uptime", "", 0},
  {SYS_socket, "socket", "iii", 0},
  {SYS_bind, "bind", "sR6", sizeof(struct sockaddr_in)},
  {SYS_listen, "listen", "si", 0},
  {SYS_accept, "accept", "sWL", sizeof(struct sockaddr_in)},
  {SYS_connect, "connect", "sR6", sizeof(struct sockaddr_in)},
  {SYS_send, "send", "sRni", 0},
  {SYS_recv, "recv", "sWni", 0},
  {SYS_sendto, "sendto", "dRniA6", 0},
  {SYS_recvfrom, "recvfrom", "dWniWL", 0},
  {SYS_shutdown, "shutdown", "si", 0},
  {SYS_getsockname, "getsockname", "sWL", sizeof(struct sockaddr_in)},
  {SYS_getpeername, "getpeername", "sWL", sizeof(struct sockaddr_in)},
  {SYS_setsockopt, "setsockopt", "d1oRn", 0},
  {SYS_getsockopt, "getsockopt", "d1oWL", 0},
  {SYS_resolve, "resolve", "SW1", 4},
  {SYS_netinfo, "netinfo", "2Wn", 0},
  {SYS_netconf, "netconf", "R", sizeof(struct netconf)},
  {SYS_poll, "poll", "W1", sizeof(struct pollfd)},
  {SYS_fcntl, "fcntl", "fii", 0},
  {SYS_waitpid, "waitpid", "iWi", 4},
  {SYS_ttyctl, "ttyctl", "cii", 0},
  {SYS_nsclock, "nsclock", "W", 8},
  {SYS_psinfo, "psinfo", "W1", sizeof(struct psinfo)},
  {SYS_kdebug, "kdebug", "1W", sizeof(struct kcounts)},
};

static int ncalls, wrong;
static char *brk;    // end of our memory
static char *bottom; // of our stack: below it the guard page
static const char rodata[64] = "read-only";
static char buf[4096]; // what the longest legal answer fits in
static int fds[16], nfds;
static struct sockaddr_in self; // of the socket that sends to itself

// System call nr with its arguments from esp + 4 up.
static int
raw(int nr, uint esp)
{
  int ret;

  asm volatile("movl %%esp,%%esi; movl %2,%%esp; int $64; movl %%esi,%%esp"
               : "=a"(ret)
               : "a"(nr), "r"(esp)
               : "esi", "memory", "cc");
  return ret;
}

static int
try(int nr, const uint *args)
{
  ncalls++;
  return raw(nr, (uint)args - 4);
}

static void
must(int good, const char *call, const char *what, uint value, int ret)
{
  if(good)
    return;
  wrong++;
  printf(1, "WRONG: %s: %s 0x%x: %d\n", call, what, value, ret);
}

// Arguments that are good as far as can be, args[0] unused: it is what %esp
// points to.  Buffers are sixteen bytes.
static void
good_args(const struct call *c, uint *args)
{
  static char path[] = "/h/none", echo[] = "/echo", host[] = "127.0.0.1", *argv[] = {echo, 0};
  static int length = sizeof(struct sockaddr_in);

  memset(buf, 0, sizeof(buf));
  length = sizeof(struct sockaddr_in);
  for(uint i = 0; c->args[i]; i++)
    switch(c->args[i]) {
    case 'f':
      args[i] = (uint)fds[0];
      break;
    case 's':
      args[i] = (uint)fds[1];
      break;
    case 'c':
      args[i] = (uint)fds[2];
      break;
    case 'd':
      args[i] = (uint)fds[3];
      break;
    case 'i':
      args[i] = 0;
      break;
    case '1':
    case '2':
      args[i] = (uint)(c->args[i] - '0');
      break;
    case 'o':
      args[i] = SO_BROADCAST;
      break;
    case 'A':
      args[i] = (uint)&self;
      break;
    case 'n':
    case '6':
      args[i] = 16;
      break;
    case 'R':
    case 'W':
      args[i] = (uint)buf;
      break;
    case 'S':
      args[i] = (uint)(c->nr == SYS_exec      ? echo
                       : c->nr == SYS_resolve ? host
                                              : path);
      break;
    case 'V':
      args[i] = (uint)argv;
      break;
    case 'L':
      args[i] = (uint)&length;
    }
}

static int
size_of(const struct call *c, uint i)
{
  switch(c->args[i]) {
  case 'S':
    return 1;
  case 'L':
    return 4;
  case 'V':
    return 4;
  }
  return c->bytes ? c->bytes : 16;
}

// One call with argument i set to value: anything but a panic.
static int
with(const struct call *c, uint i, uint value)
{
  uint args[6] = {0};

  good_args(c, args);
  args[i] = value;
  if(c->args[0] == 'd')
    send(fds[3], buf, 16, 0); // something to receive
  return try(c->nr, args);
}

// The same; a queue that is full for now is waited for.
static int
with_room(const struct call *c, uint i, uint value)
{
  int ret;

  while((ret = with(c, i, value)) == -ENOBUFS)
    sleep(1);
  return ret;
}

// ---- addresses -------------------------------------------------------------------

static int
may_be_zero(const struct call *c, uint i)
{
  if(c->nr == SYS_getsockopt)
    return 0;
  return c->nr == SYS_waitpid || c->args[i] == 'A' || (c->args[i] == 'W' && c->args[i + 1] == 'L');
}

static void
refused(const struct call *c, uint i, const char *what, uint addr)
{
  int ret = with(c, i, addr);

  must(ret < 0 && ret > -200, c->name, what, addr, ret);
}

// A bad address for argument i, which the kernel reads or writes.
static void
bad_addresses(const struct call *c, uint i)
{
  const uint nowhere[] = {0xfff, KERNBASE - 1, KERNBASE, KERNLINK, KERNBASE + 0x1000, KSTACKS + 8192,
                          DEVSPACE, 0xfec00000, 0xfffff000, 0xfffffff8, 0xffffffff, (uint)brk, (uint)brk + 1,
                          (uint)brk + 4096, (uint)bottom - 4096, (uint)bottom - 1, (uint)bottom - 2048};
  const int n = size_of(c, i);

  if(!may_be_zero(c, i))
    refused(c, i, "address", 0);
  for(uint k = 0; k < NELEM(nowhere); k++)
    refused(c, i, "address", nowhere[k]);
  memset(brk - 64, 'x', 64); // neither a string's end nor argv's
  refused(c, i, "the last byte at", (uint)brk - 1);
  if(n > 1)
    refused(c, i, "one byte beyond the end, from", (uint)brk - (uint)n + 1);
  if(c->args[i] == 'S' || c->args[i] == 'V')
    refused(c, i, "no end, from", (uint)brk - 64);
  if(c->args[i] == 'W' || c->args[i] == 'L') {
    refused(c, i, "text", (uint)with);
    refused(c, i, "rodata", (uint)rodata);
  }
}

// Legal: the last bytes there are; text may be read.
static void
edge_addresses(const struct call *c, uint i)
{
  const int n = size_of(c, i);
  char *last = brk - n;
  uint args[6];

  if(c->args[i] != 'R' && c->args[i] != 'W' && c->args[i] != 'A')
    return;
  good_args(c, args);
  int usual = with_room(c, i, args[i]);
  memmove(last, (void *)args[i], (uint)n);
  int ret = with_room(c, i, (uint)last);
  must((ret < 0) == (usual < 0), c->name, "the last bytes, at", (uint)last, ret);
  if(c->args[0] == 'd' || c->nr == SYS_resolve || c->nr == SYS_netinfo)
    must(usual >= 0, c->name, "nothing wrong with", args[i], usual);
  if(c->args[i] == 'R' && c->nr == SYS_write)
    must(with(c, i, (uint)with) == 16, c->name, "text as source", (uint)with, -1);
}

static void
bad_lengths(const struct call *c, uint i)
{
  const uint too_long[] = {(uint)-1, 0x80000000, 0x7fffffff, (uint) - (uint)buf, (uint) - (uint)buf + 8,
                           KERNBASE - (uint)buf, (uint)brk - (uint)buf + 1, 0xfffff000};

  for(uint k = 0; k < NELEM(too_long); k++)
    refused(c, i, "length", too_long[k]);
  with(c, i, 0);
}

// ---- the other kinds -------------------------------------------------------------------

static void
bad_descriptors(const struct call *c, uint i)
{
  const uint none[] = {(uint)-1, NOFILE, NOFILE - 1, 0x7fffffff, 0x80000000, 0x10000, 0xffff0003};

  for(uint k = 0; k < NELEM(none); k++)
    refused(c, i, "descriptor", none[k]);
  for(int k = 0; k < nfds; k++) { // of any kind: it may work or not
    int ret = with(c, i, (uint)fds[k]);
    must(ret > -200, c->name, "descriptor", (uint)fds[k], ret);
  }
}

static const uint odd[] = {(uint)-1, 0x80000000, 0x7fffffff, 0x55555555, 0xffff, 0x8000, 64, 65, 1000};

static void
odd_numbers(const struct call *c, uint i)
{
  if(c->nr == SYS_kdebug) // the debug kernel breaks on demand
    return;
  for(uint k = 0; k < NELEM(odd); k++)
    with(c, i, odd[k]);
  for(uint v = 0; v < 24; v++)
    with(c, i, v);
  for(uint bit = 0; bit < 32; bit++)
    with(c, i, 1u << bit);
}

// Argument i is an operation, i + 1 what it is to do.
static void
odd_operations(const struct call *c, uint i)
{
  uint args[6] = {0};

  for(uint op = 0; op < 18; op++)
    for(uint k = 0; k < NELEM(odd) + 24; k++) {
      good_args(c, args);
      args[i] = op;
      args[i + 1] = k < 24 ? k : odd[k - 24];
      try(c->nr, args);
    }
}

// A socket that sends to itself, and does not wait.
static int
echoing(void)
{
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), len = sizeof(self);

  self = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(0x7f000001)}};
  bind(fd, &self, sizeof(self));
  getsockname(fd, &self, &len);
  must(connect(fd, &self, sizeof(self)) == 0, "connect", "to itself, port", ntohs(self.sin_port), -1);
  return fd;
}

static void
open_all(void)
{
  static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/nettrace", "/dev/nettrace.stat", "/h"};
  int ends[2];

  nfds = 5;
  fds[0] = open("/h/file", O_CREATE | O_RDWR);
  fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  fds[2] = open("/dev/console", O_RDWR | O_NONBLOCK);
  fds[3] = echoing();
  fds[4] = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK, 0);
  for(uint i = 0; i < NELEM(devices); i++)
    fds[nfds++] = open(devices[i], O_RDONLY | O_NONBLOCK);
  if(pipe(ends) == 0) {
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    fds[nfds++] = ends[0];
    fds[nfds++] = ends[1];
  }
  for(int i = 0; i < nfds; i++)
    must(fds[i] >= 0, "open", "file to try with, number", (uint)i, fds[i]);
}

static void
arguments(const struct call *c, uint i)
{
  switch(c->args[i]) {
  case 'R':
  case 'W':
  case 'S':
  case 'V':
  case 'L':
  case 'A':
    bad_addresses(c, i);
    edge_addresses(c, i);
    break;
  case 'n':
    bad_lengths(c, i);
    break;
  case 'f':
  case 's':
  case 'd':
  case 'c':
    bad_descriptors(c, i);
    break;
  default:
    odd_numbers(c, i);
    if((c->args[i] == 'i' && c->args[i + 1] == 'i') || c->args[i + 1] == 'o')
      odd_operations(c, i);
  }
}

// In a child: all arguments of one call, then it ends, whatever is still open.
static void
one_call(const struct call *c)
{
  int size = ttyctl(0, TTY_SIZE, 0);

  open_all();
  chdir("/h");
  for(uint i = 0; c->args[i]; i++)
    arguments(c, i);
  for(int i = 0; i < 5; i++) {
    uint args[6] = {0}; // all zero, all ones, all addresses
    memset(args, i % 2 ? 0xff : 0, sizeof(args));
    if(i > 1)
      for(int k = 0; k < 6; k++)
        args[k] = i == 2 ? KERNBASE : i == 3 ? (uint)brk - 2
                                             : (uint)buf;
    if(c->nr != SYS_wait && c->nr != SYS_poll)
      try(c->nr, args);
  }
  ttyctl(0, TTY_SIZE, size);
}

// ---- numbers and stacks -------------------------------------------------------------------

static int
exists(uint nr)
{
  static const uchar known[] = {
#define SYSCALL(number, name) [number] = 1,
#include "syscalls.def"
#undef SYSCALL
  };
  return nr < sizeof(known) && known[nr];
}

// %esp at esp: no argument, or not all of them, can be read.  Those that can
// are -1.
static void
stack_at(int nr, uint esp)
{
  ncalls++;
  int ret = raw(nr, esp);

  if(nr == SYS_fork && ret == 0)
    exits(0);
  if(!exists((uint)nr))
    must(ret == -1, "unknown call", "number", (uint)nr, ret);
  if(nr == SYS_fork && ret > 0)
    waitpid(ret, 0, 0);
}

static void
bad_stacks(int nr)
{
  const uint nowhere[] = {0, 1, 0xffb, 0xffffffff, 0xfffffffb, 0xfffffffc, 0xfffffff0, KERNBASE - 4, KERNBASE - 3,
                          KERNBASE, KERNLINK, KSTACKS + 8192, DEVSPACE, (uint)brk, (uint)brk - 4, (uint)brk - 5,
                          (uint)brk + 4096, (uint)bottom - 8, (uint)bottom - 4096};

  for(uint i = 0; i < NELEM(nowhere); i++)
    stack_at(nr, nowhere[i]);
  if(nr == SYS_poweroff || nr == SYS_sbrk || nr == SYS_kdebug)
    return;                      // -1 means something to them
  for(uint d = 6; d < 28; d++) { // in the middle of the first to the fifth argument
    memset(brk - 64, 0xff, 64);
    stack_at(nr, (uint)brk - d);
  }
}

// ---- all of it -------------------------------------------------------------------

// Run part of the test in a child, which adds what it found.
static void
in_child(void (*call)(const struct call *), const struct call *c, void (*number)(int), int nr)
{
  int p[2], sums[2] = {0}, status;

  pipe(p);
  int pid = fork();
  if(pid == 0) {
    ncalls = wrong = 0;
    close(p[0]);
    if(call)
      call(c);
    else
      number(nr);
    sums[0] = ncalls;
    sums[1] = wrong;
    write(p[1], sums, sizeof(sums));
    exits(0);
  }
  close(p[1]);
  int got = read(p[0], sums, sizeof(sums));
  close(p[0]);
  waitpid(pid, &status, 0);
  ncalls += sums[0];
  wrong += sums[1];
  // close shuts the pipe we report by, and exit ends us: no other may
  if(nr != SYS_exit && nr != SYS_exits)
    must(got == sizeof(sums) && status == 0, c ? c->name : "a call", "child ended by call", (uint)nr, status);
}

static void
witness(int go)
{
  uchar *mine = (uchar *)malloc(WITNESS), c;

  if(mine == 0)
    exits(2);
  for(int i = 0; i < WITNESS; i++)
    mine[i] = (uchar)(i * 7 + i / 256);
  read(go, &c, 1); // until the others are done
  for(int i = 0; i < WITNESS; i++)
    if(mine[i] != (uchar)(i * 7 + i / 256)) {
      printf(1, "WRONG: the witness's byte %d has changed\n", i);
      exits(1);
    }
  exits(0);
}

static void
all_calls(void)
{
  for(uint i = 0; i < NELEM(calls); i++)
    in_child(one_call, &calls[i], 0, calls[i].nr);
}

static void
all_stacks(void)
{
  const int high[] = {-1, (int)0x80000000, (int)0x80000005, 0x10005, 0x7fffffff, 256, 255, 1000};

  for(int nr = 0; nr < 80; nr++)
    in_child(0, 0, bad_stacks, nr);
  for(uint i = 0; i < NELEM(high); i++)
    in_child(0, 0, bad_stacks, high[i]);
}

// A child that has ended is not lost by a waitpid that cannot say how.
static void
bad_wait(void)
{
  int status = 0, pid = fork();

  if(pid == 0)
    exits(3);
  must(waitpid(pid, (int *)KERNBASE, 0) == -1, "waitpid", "status at", KERNBASE, 0);
  must(waitpid(pid, (int *)(brk - 3), 0) == -1, "waitpid", "status at", (uint)brk - 3, 0);
  must(waitpid(pid, &status, 2) == -1, "waitpid", "flags", 2, 0);
  must(waitpid(pid, &status, 0) == pid && status == 3, "waitpid", "status", (uint)status, 0);
  ncalls += 4;
}

// Wrong pids and sizes; calls without an address are quickly listed.
static void
numbers_alone(void)
{
  static const int pids[] = {0, -1, 1, 0x7fffffff, (int)0x80000000, 30000};
  char *end = sbrk(0);

  for(uint i = 0; i < NELEM(pids); i++)
    must(kill(pids[i]) == -1, "kill", "pid", (uint)pids[i], 0);
  must(sbrk(0x7fffffff) == (char *)-1 && sbrk((int)0x80000000) == (char *)-1, "sbrk", "size", 0x7fffffff, 0);
  must(sbrk(-((int)end - 4096)) == (char *)-1 && sbrk(0) == end, "sbrk", "below the heap", (uint)end, 0);
  must(sleep(-1) == 0 && sleep((int)0x80000000) == 0, "sleep", "ticks", (uint)-1, 0);
  ncalls += 12;
}

// Tables of the network into buffers of any length: whole records, and not a byte more.
static void
tables(void)
{
  static const uint records[] = {0, sizeof(struct net_sock), sizeof(struct net_if), sizeof(struct net_arp),
                                 sizeof(struct net_route), sizeof(struct net_count), sizeof(struct in_addr)};

  for(int what = 1; what < (int)NELEM(records); what++)
    for(int len = 0; len < 400; len++, ncalls++) {
      memset(buf, 0xa5, sizeof(buf));
      int r = netinfo(what, buf, len), k = r < 0 ? 0 : r;
      while(k < 512 && buf[k] == (char)0xa5)
        k++;
      must(r >= 0 && r <= len && r % (int)records[what] == 0 && k == 512, "netinfo", "length", (uint)len, r);
    }
}

static void
remove_all(void)
{
  static const char *const made[] = {"/h/file", "/h/none", "/h/none"};

  chdir("/");
  for(uint i = 0; i < NELEM(made); i++)
    unlink(made[i]);
  must(unlink("/h") == 0, "unlink", "of the scratch directory", 0, -1);
}

int
main(int argc, char **argv)
{
  int go[2], status;

  bottom = sbrk(0) - STACK;
  sbrk(4096 - 1);
  brk = sbrk(1) + 1;
  mkdir("/h");
  pipe(go);
  int pid = fork();
  if(pid == 0) {
    close(go[1]);
    witness(go[0]);
  }
  close(go[0]);
  if(argc > 1 && strcmp(argv[1], "stacks") == 0)
    all_stacks();
  else
    all_calls();
  numbers_alone();
  tables();
  bad_wait();
  close(go[1]);
  must(waitpid(pid, &status, 0) == pid && status == 0, "witness", "status", (uint)status, 0);
  remove_all();
  printf(1, "%d calls, %d wrong\n", ncalls, wrong);
  exits(wrong > 0);
}
