// What the number of a sysfuzz call stands for: one system call, or a few that
// belong together; and what none of them may do.
//
// Runs in a batch, a child of sysfuzz, and in children of that.
#include "fuzz.h"

#define REPORT 100 // calls between two reports of a child

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
  for(int i = 0; i < (nr == SYS_link ? 2 : 1); i++) // no path by chance, such as a string of ours
    if(takes_path(nr) && a[i] >= 0x1000 && a[i] < (uint)sbrk(0) && a[i] - (uint)paths >= sizeof(paths))
      a[i] = nr == SYS_chdir ? workdir() : path(i);
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
  case SYS_setsockopt: // a long time would be one
    if(a[1] == SOL_SOCKET && a[2] == SO_LINGER && a[3] < (uint)sbrk(0))
      a[3] = linger_value();
    return 1;
  case SYS_resolve:
    if((int)a[2] > 20)
      a[2] = 1 + below(20);
    return 1;
  case SYS_netconf:
    a[0] = configuration(a[0]);
    return 1;
  case SYS_kdebug:
    return a[0] <= KD_LOCKS || a[0] > 1000; // no faults by intention
  }
  return 1;
}

// ---- what follows from a result ------------------------------------------------------

void
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
    got_fd(r, (a[1] & 0xf) == SOCK_STREAM ? K_SOCK : K_DGRAM);
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
    printf(each, "  %d(%x %x %x %x %x %x)", nr, a[0], a[1], a[2], a[3], a[4], a[5]);
  int r;
  if(esp) {
    memmove((void *)(esp + 4), a, NARG * sizeof(uint));
    r = raw_call(nr, esp, eflags);
  } else
    r = call6(nr, a);
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
  uint a[NARG] = {0}, nr = some_call(a);
  int odd = one_in(32);
  try(nr, a, odd ? (uint)arena + below(ARENA - 64) : 0, odd ? odd_flags[below(NELEM(odd_flags))] : 0);
}

// Any call with anything.
static void
act_anything(void)
{
  uint a[NARG];
  for(int k = 0; k < NARG; k++)
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
void
reap(int pid)
{
  int status;
  if(pid > 0)
    call(SYS_waitpid, (uint)pid, (uint)&status, 0, 0);
}

// fork, of which both sides know what they may do.
int
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
  struct in_addr a;
  for(int i = 0; i < NOFILE; i++)
    close(i);
  struct pollfd none = {.fd = -1};
  switch(below(12)) {
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
    p[0] = 20;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, p, one_in(2) ? sizeof(int) : 0);
    connect(fd, &addr, sizeof(addr));
    break;
  case 4:
    fd = socket(AF_INET, SOCK_STREAM, 0);
    addr = (struct sockaddr_in){.sin_family = AF_INET};
    bind(fd, &addr, sizeof(addr));
    listen(fd, 3);
    p[0] = 20;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, p, one_in(2) ? sizeof(int) : 0);
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
    break;
  case 8:
    fd = socket(AF_INET, SOCK_DGRAM + (int)below(2), 0);
    recv(fd, arena, 100, 0);
    break;
  case 9:
    resolve("no.invalid", &a, 6000);
    break;
  case 10:
  case 11:
    linger_for_ever();
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
    if(n % 8 == 0)
      report(0); // slow, but no hang
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
  while(n-- > 0) {
    call(SYS_wait, 0, 0, 0, 0);
    report(0);
  }
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
    act_connect(); // without one left
    call(SYS_accept, some_fd(K_LISTEN), 0, 0, 0);
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
      uint a[NARG] = {path(0), path(1)};
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
    {12, act_datagrams},
    {12, act_echo},
    {4, act_resolve},
    {36, act_device},
    {20, act_control},
    {20, act_fork},
    {10, act_kill},
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

void
batch(uint first, uint n)
{
  for(int fd = 0; fd < NOFILE; fd++)
    if(fd != report_fd && fd != each)
      close(fd);
  while(chdir(ROOT) < 0) // other batches may have all inodes there are
    sleep(1);
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
