// sysfuzz on the network: addresses, options, names and interfaces as arguments, and
// acts that bring about what single random calls hardly do: connections, datagrams
// that arrive, echo replies, a queue that is full.
//
// All of it goes to this machine or is lost; the network stays as it is for others:
// netconf sets and forgets the neighbours 10.9.0.0 to 10.9.0.3, and otherwise asks
// for what cannot be.
#include "fuzz.h"

#define NNEIGHBOUR 4
#define WAIT_MS    20

struct sockaddr_in addr;
static struct netconf conf;
static int length; // what calls read and write as the size of something

uint
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

uint
address_length(void)
{
  length = sizeof(addr);
  return (uint)&length;
}

// ---- options -------------------------------------------------------------------------

static uint level, option;

// The level of an option, whose name is option_name's.
uint
option_level(void)
{
  static const struct {
    uchar level, name;
  } list[] = {
    {SOL_SOCKET, SO_REUSEADDR},
    {SOL_SOCKET, SO_TYPE},
    {SOL_SOCKET, SO_ERROR},
    {SOL_SOCKET, SO_BROADCAST},
    {SOL_SOCKET, SO_SNDBUF},
    {SOL_SOCKET, SO_RCVBUF},
    {SOL_SOCKET, SO_KEEPALIVE},
    {SOL_SOCKET, SO_LINGER},
    {SOL_SOCKET, SO_RCVTIMEO},
    {SOL_SOCKET, SO_SNDTIMEO},
    {IPPROTO_IP, IP_TTL},
    {IPPROTO_TCP, TCP_NODELAY},
    {IPPROTO_TCP, TCP_KEEPIDLE},
    {IPPROTO_TCP, TCP_KEEPINTVL},
    {IPPROTO_TCP, TCP_KEEPCNT},
    {IPPROTO_TCP, TCP_INFO},
    {SOL_SOCKET, 99},
    {IPPROTO_UDP, 1},
  };
  uint i = below(NELEM(list));
  option = list[i].name;
  return level = list[i].level;
}

uint
option_name(void)
{
  return option;
}

// A time to linger: none, or one second now and then; longer would look like a hang.
uint
linger_value(void)
{
  static struct linger l;
  l.l_onoff = (int)below(3) - 1;
  l.l_linger = one_in(16) ? 1 : -(int)one_in(4);
  return (uint)&l;
}

uint
option_value(void)
{
  static const int list[] = {0, 1, 1, 2, 64, 255, 256, -1, 32767, 32768};
  static int value;
  if(level == SOL_SOCKET && option == SO_LINGER)
    return linger_value();
  value = one_in(4) ? (int)bad_number() : list[below(NELEM(list))];
  return (uint)&value;
}

uint
option_length(void)
{
  static const int list[] = {4, 4, 8, 8, 8, 44, 64, 0, 3, 7};
  length = list[below(NELEM(list))];
  return (uint)length;
}

uint
option_length_at(void)
{
  option_length();
  return (uint)&length;
}

// ---- names, interfaces, neighbours ---------------------------------------------------

// The name of a machine: a number, no such name, or no name at all.
uint
host_name(void)
{
  static const char *const list[] = {"localhost", "127.0.0.1", "10.0.2.2", "127.1", "1.2.3.4.5", "300.1.1.1",
                                     "0x7f000001", "no.invalid", "a..b", ".", "-", "\xff\x01.invalid", ""};
  static char name[400];
  uint i = below(NELEM(list) + 4);
  if(i < NELEM(list))
    return (uint)list[i];
  uint len = i % 2 ? 62 + below(3) : 253 + below(5); // around the limits of a label and of a name
  for(uint k = 0; k < len; k++)
    name[k] = i % 2 || k % 32 ? 'n' : '.';
  append(name + len, ".invalid");
  return (uint)name;
}

static void
neighbour(uint op, uint which)
{
  conf = (struct netconf){.op = op, .addr = {0x0000090a + (which << 24)}};
  for(uint i = 0; i < sizeof(conf.mac); i++)
    conf.mac[i] = (u8)rnd();
}

// Something netconf may be asked for without harm; p is replaced by it if it
// could be read and were something else.
uint
configuration(uint p)
{
  static const uint never[] = {0xffffffff, LOOPBACK, 0x010000e0};
  if(p == (uint)&conf || p < 0x1000 || p > (uint)sbrk(0) - sizeof(conf))
    return p;
  uint what = below(9);
  if(what < 4) {
    neighbour(NETCONF_ARPSET + below(2), below(NNEIGHBOUR));
    return (uint)&conf;
  }
  conf = (struct netconf){.name = "en0", .op = NETCONF_STATIC, .addr = {rnd()}, .prefix = below(33)};
  switch(what) {
  case 4: // no such interface
    conf.name[2] = '7';
    conf.op = NETCONF_UP + below(4);
    break;
  case 5: // no such operation
    conf.op = one_in(4) ? 0 : 7 + (rnd() >> 4);
    break;
  case 6: // it is up already
    conf.op = NETCONF_UP;
    break;
  case 7:
    conf.prefix = 33 + (rnd() >> 4);
    break;
  default: // no address of a machine
    conf.addr.s_addr = never[below(NELEM(never))];
  }
  return (uint)&conf;
}

void
forget_neighbours(void)
{
  for(uint i = 0; i < NNEIGHBOUR; i++) {
    neighbour(NETCONF_ARPDEL, i);
    netconf(&conf);
  }
}

// ---- acts ----------------------------------------------------------------------------

static uint
new_socket(uint type)
{
  int fd = call(SYS_socket, AF_INET, type | SOCK_NONBLOCK, 0, 0);
  got_fd(fd, type == SOCK_STREAM ? K_SOCK : K_DGRAM);
  return (uint)fd;
}

static void
our_port(void)
{
  addr = (struct sockaddr_in){
    .sin_family = AF_INET, .sin_port = htons((ushort)(PORT + below(4))), .sin_addr = {LOOPBACK}};
}

static void
await(uint fd)
{
  set[0] = (struct pollfd){.fd = (int)fd, .events = POLLIN};
  call(SYS_poll, (uint)set, 1, WAIT_MS, 0);
}

// Both ends of a connection to ourselves.
void
act_connect(void)
{
  uint l = new_socket(SOCK_STREAM), c = new_socket(SOCK_STREAM);
  our_port();
  if(call(SYS_bind, l, (uint)&addr, sizeof(addr), 0) == 0 && call(SYS_listen, l, below(5), 0, 0) == 0)
    got_fd((int)l, K_LISTEN);
  int r = call(SYS_connect, c, (uint)&addr, sizeof(addr), 0);
  if(r == 0 || r == -EINPROGRESS)
    got_fd((int)c, K_CONN);
  if(one_in(2)) { // let it come about
    await(l);
    if(one_in(4)) { // and end before it is accepted
      static const struct linger reset = {1, 0};
      const uint a[NARG] = {c, SOL_SOCKET, SO_LINGER, (uint)&reset, sizeof(reset)};
      call6(SYS_setsockopt, a);
      call(SYS_close, c, 0, 0, 0);
      if(c < NOFILE)
        kind[c] = 0;
    }
    int a = call(SYS_accept, l, 0, 0, 0);
    got_fd(a, K_CONN);
    if(a >= 0)
      no_wait(a);
  }
}

static void
send_to(uint fd, uint n, int named)
{
  uint a[NARG] = {fd, (uint)arena, n, 0, named ? (uint)&addr : 0, sizeof(addr)};
  call6(SYS_sendto, a);
}

static void
receive(uint fd)
{
  uint a[NARG] = {fd, buffer(), below(3) ? ARENA / 2 : below(64), one_in(4) ? MSG_PEEK : 0, (uint)&addr,
                  address_length()};
  call6(SYS_recvfrom, a);
}

// Datagrams to ourselves: one, or more than a socket keeps; some of them are read.
void
act_datagrams(void)
{
  uint to = new_socket(SOCK_DGRAM), from = new_socket(SOCK_DGRAM);
  our_port();
  call(SYS_bind, to, (uint)&addr, sizeof(addr), 0);
  int named = call(SYS_connect, from, (uint)&addr, sizeof(addr), 0) < 0 || one_in(2);
  uint n = one_in(4) ? 40 : 1 + below(4), len = one_in(4) ? 65500 + below(10) : below(3000);
  for(uint i = 0; i < n; i++)
    send_to(from, len, named);
  await(to);
  for(uint i = below(n + 2); i > 0; i--)
    receive(to);
  if(one_in(4))
    call(SYS_shutdown, from, below(3), 0, 0);
}

// An echo request to ourselves, well formed or not.
void
act_echo(void)
{
  uint fd = new_socket(SOCK_RAW), len = 8 + below(200) * 2, sum = 0;
  ushort *w = (ushort *)arena;
  our_port();
  w[0] = 8; // type and code
  w[1] = 0;
  for(uint i = 0; i < len / 2; i++)
    sum += w[i];
  sum = (sum >> 16) + (sum & 0xffff);
  w[1] = (ushort) ~(sum + (sum >> 16));
  if(one_in(4))
    arena[below(16)] ^= (char)(1 << below(8));
  send_to(fd, one_in(8) ? below(8) : len, 1);
  for(uint i = below(4); i > 0; i--) {
    await(fd);
    receive(fd);
  }
}

// Ask for a name, and be the server that answers, well or badly.  Not for long, and
// in vain unless 127.0.0.1 is the machine's name server.
void
act_resolve(void)
{
  static const uchar tail[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 10, 9, 0, 1}; // an address, for a second
  uint fd = new_socket(SOCK_DGRAM);
  our_port();
  addr.sin_port = htons(53);
  call(SYS_bind, fd, (uint)&addr, sizeof(addr), 0);
  int pid = child();
  if(pid == 0) {
    call(SYS_resolve, host_name(), (uint)arena, WAIT_MS, 0);
    exit();
  }
  await(fd);
  const uint a[NARG] = {fd, (uint)arena, 512, 0, (uint)&addr, address_length()};
  int n = call6(SYS_recvfrom, a);
  if(n >= 12 && n <= 512) {
    arena[2] |= (char)0x80; // an answer, with one record
    arena[7] = (char)!one_in(8);
    memmove(arena + n, tail, sizeof(tail));
    n += (int)sizeof(tail);
    for(uint i = one_in(2) ? below(4) : 0; i > 0; i--)
      arena[below((uint)n)] = (char)rnd();
    send_to(fd, one_in(8) ? below((uint)n) : (uint)n, 1);
  }
  reap(pid);
}

// Close a connection whose peer does not read, and wait for it, as SO_LINGER says.
void
linger_for_ever(void)
{
  const struct linger l = {1, 1000};
  int s = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), len;
  addr = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {LOOPBACK}};
  bind(s, &addr, sizeof(addr));
  listen(s, 1);
  len = sizeof(addr);
  getsockname(s, &addr, &len);
  connect(c, &addr, sizeof(addr));
  accept(s, 0, 0);
  while(send(c, arena, ARENA, 0) > 0)
    ;
  setsockopt(c, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
  close(c);
}
