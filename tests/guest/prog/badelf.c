// badelf: programs that are none.  exec must refuse them and leave the caller
// as it was, or the new process dies alone.
//
// The file under test is a header, program headers and code that ends with status 7,
// about a hundred bytes, written anew for each case.  Each case runs in a child:
//   REFUSED  exec gave -1, and the child's own memory is as it was
//   RUNS     status 7
//   DIES     killed
// Prints a line with WRONG for what differs, and last `N files, N wrong`.
// `badelf flips SEED COUNT`: random bits; any end is right.
#include "types.h"
#include "fcntl.h"
#include "memlayout.h"
#include "net.h"
#include "param.h"
#include "sys.h"
#include "user.h"

#define NELEM(a) (sizeof(a) / sizeof((a)[0]))
#define REFUSED  99
#define RUNS     7
#define DIES     (-1)
#define BASE     0x1000

struct elfhdr {
  uchar ident[16];
  ushort type, machine;
  uint version, entry, phoff, shoff, flags;
  ushort ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct proghdr {
  uint type, off, vaddr, paddr, filesz, memsz, flags, align;
};

// movl $48, %eax; pushl $7; pushl $0; int $64: exits(7)
static const uchar ends[] = {0xb8, 48, 0, 0, 0, 0x6a, 7, 0x6a, 0, 0xcd, 0x40};
// The same, after it has changed its own 7 into a 7: it must be writable.
static const uchar writes[] = {0xc6, 0x05, 0x7b, 0x10, 0, 0, 7, 0xb8, 48, 0, 0, 0, 0x6a, 7, 0x6a, 0, 0xcd, 0x40};

#define NSEGS 20

static struct {
  struct elfhdr h;
  struct proghdr ph[NSEGS];
} file;
static const uchar *code = ends;
static uint codesize = sizeof(ends);
static uint witness[256];
static int nfiles, wrong;
static const char *path = "/bad.elf";

// One segment at BASE that holds all of the file.
static void
good_file(void)
{
  memset(&file, 0, sizeof(file));
  code = ends;
  codesize = sizeof(ends);
  file.h = (struct elfhdr){
    .ident = {0x7f, 'E', 'L', 'F', 1, 1, 1},
    .type = 2,
    .machine = 3,
    .version = 1,
    .entry = BASE + sizeof(struct elfhdr) + sizeof(struct proghdr),
    .phoff = sizeof(struct elfhdr),
    .ehsize = sizeof(struct elfhdr),
    .phentsize = sizeof(struct proghdr),
    .phnum = 1,
  };
  uint size = sizeof(file.h) + sizeof(file.ph[0]) + sizeof(ends);
  file.ph[0] = (struct proghdr){.type = 1, .vaddr = BASE, .filesz = size, .memsz = size, .flags = 5};
}

// Headers for nseg segments, then the code; cut to at most n bytes.
static uint
layout(uchar *to, uint nseg, uint n)
{
  static uchar all[1024];
  uint head = sizeof(file.h) + nseg * sizeof(file.ph[0]);

  memmove(all, &file, (int)head);
  memmove(all + head, code, (int)codesize);
  if(n > head + codesize)
    n = head + codesize;
  memmove(to, all, (int)n);
  return n;
}

static void
put_file(const uchar *bytes, uint n)
{
  int fd = open(path, O_CREATE | O_TRUNC | O_WRONLY);

  if(fd < 0 || (n && write(fd, bytes, (int)n) != (int)n))
    printf(1, "WRONG: %s cannot be written\n", path);
  close(fd);
}

// In the child after an exec that failed: is the old program alive and whole?
static void
still_here(void)
{
  for(uint i = 0; i < NELEM(witness); i++)
    if(witness[i] != i * 3)
      exits(98);
  exits(sbrk(4096) == (char *)-1 ? 97 : REFUSED);
}

// Status of a child that becomes the file; ended after two seconds if the
// file's code sleeps or loops.  The pipe is closed when the child has ended.
static int
outcome(char **argv)
{
  int status = 0, p[2];

  nfiles++;
  if(pipe(p) < 0)
    return 96;
  int pid = fork();
  if(pid == 0) {
    exec((char *)path, argv);
    still_here();
  }
  struct pollfd pfd = {.fd = p[0], .events = POLLIN};
  close(p[1]);
  if(poll(&pfd, 1, 2000) == 0)
    kill(pid);
  waitpid(pid, &status, 0);
  close(p[0]);
  return status;
}

static void
expect(const char *name, int number, int want)
{
  static char *argv[] = {(char *)"bad", 0};
  int got = outcome(argv);

  if(got == want)
    return;
  wrong++;
  printf(1, "WRONG: %s %d: ended with %d, not %d\n", name, number, got, want);
}

static void
try(const char *name, uint nseg, int want)
{
  uchar bytes[1024];

  put_file(bytes, layout(bytes, nseg, sizeof(bytes)));
  expect(name, 0, want);
}

// ---- what is tried -------------------------------------------------------------------

static void
truncations(void)
{
  uchar bytes[1024];

  good_file();
  uint size = layout(bytes, 1, sizeof(bytes));
  for(uint n = 0; n <= size; n++) {
    put_file(bytes, n);
    expect("cut to bytes", (int)n, n == size ? RUNS : REFUSED);
  }
}

// Fields of a file with one segment.
static void
fields(void)
{
#define TRY(field, value, want) \
  do { \
    good_file(); \
    file.field = value; \
    try(#field " = " #value, 1, want); \
  } while(0)
  TRY(h.ident[0], 0x7e, REFUSED);
  TRY(h.ident[4], 2, REFUSED); // 64-bit
  TRY(h.ident[5], 2, REFUSED); // big-endian
  TRY(h.ident[6], 0, REFUSED);
  TRY(h.type, 1, REFUSED); // relocatable
  TRY(h.type, 3, REFUSED); // dynamic
  TRY(h.type, 4, REFUSED); // core
  TRY(h.machine, 62, REFUSED);
  TRY(h.machine, 0, REFUSED);
  TRY(h.entry, 0, REFUSED);
  TRY(h.entry, BASE - 1, REFUSED);
  TRY(h.entry, BASE + 4096, REFUSED);
  TRY(h.entry, KERNBASE, REFUSED);
  TRY(h.entry, 0xffffffff, REFUSED);
  TRY(h.phoff, 0, REFUSED);
  TRY(h.phoff, 1, REFUSED);
  TRY(h.phoff, 1000, REFUSED);
  TRY(h.phoff, 0x7fffffff, REFUSED);
  TRY(h.phoff, 0xffffffff, REFUSED);
  TRY(h.phoff, 0xffffffe0, REFUSED);
  TRY(h.phentsize, 0, REFUSED);
  TRY(h.phentsize, 31, REFUSED);
  TRY(h.phentsize, 65535, REFUSED);
  TRY(h.phnum, 0, REFUSED);
  TRY(h.phnum, 2, REFUSED); // the code as a program header
  TRY(h.phnum, 17, REFUSED);
  TRY(h.phnum, 65535, REFUSED);
  TRY(ph[0].type, 0, REFUSED);
  TRY(ph[0].type, 3, REFUSED); // interpreter
  TRY(ph[0].off, 1, REFUSED);
  TRY(ph[0].off, 0x7fffffff, REFUSED);
  TRY(ph[0].off, 0xffffffff, REFUSED);
  TRY(ph[0].vaddr, BASE + 1, REFUSED);
  TRY(ph[0].vaddr, BASE + 4, REFUSED);
  TRY(ph[0].vaddr, KERNBASE - 4096, REFUSED);
  TRY(ph[0].vaddr, KERNBASE, REFUSED);
  TRY(ph[0].vaddr, 0xfee00000, REFUSED);
  TRY(ph[0].vaddr, 0xfffff000, REFUSED);
  TRY(ph[0].filesz, 0xffffffff, REFUSED);
  TRY(ph[0].filesz, 0x7fffffff, REFUSED);
  TRY(ph[0].filesz, file.ph[0].memsz + 1, REFUSED);
  TRY(ph[0].memsz, file.ph[0].filesz - 1, REFUSED);
  TRY(ph[0].memsz, 0, REFUSED);
  TRY(ph[0].memsz, 0xc0000000, REFUSED);
  TRY(ph[0].memsz, 0x60000000, REFUSED); // more than there is
  TRY(ph[0].memsz, KERNBASE - BASE, REFUSED);
  TRY(ph[0].memsz, KERNBASE - BASE - 1, REFUSED);
  TRY(ph[0].memsz, KERNBASE - BASE + 1, REFUSED);
  TRY(ph[0].memsz, 0xfffff000, REFUSED);
  TRY(ph[0].memsz, 0xffffffff, REFUSED);
  TRY(ph[0].memsz, 100000, RUNS);
  TRY(ph[0].flags, 0, RUNS); // this CPU has no page that cannot be read or executed
  TRY(ph[0].flags, 7, RUNS);
#undef TRY
}

static void
segment(uint i, uint vaddr, uint memsz)
{
  file.h.phnum = (ushort)(i + 1);
  file.ph[i] = (struct proghdr){.type = 1, .vaddr = vaddr, .memsz = memsz, .flags = 6};
}

// A file with its code's segment, and a second one.
static void
second(const char *name, uint vaddr, uint memsz, int want)
{
  good_file();
  segment(1, vaddr, memsz);
  file.h.entry += sizeof(struct proghdr);
  file.ph[0].filesz += sizeof(struct proghdr);
  file.ph[0].memsz += sizeof(struct proghdr);
  try(name, 2, want);
}

static void
segments(void)
{
  second("a second segment behind", 2 * BASE, 5000, RUNS);
  second("a hole between", 0x400000, 5000, RUNS);
  second("the same page", BASE, 100, REFUSED);
  second("overlap within a page", BASE + 0x800, 100, REFUSED);
  second("descending", 0, 100, REFUSED);
  second("of no size, behind", 2 * BASE, 0, RUNS);
  second("of no size, at 0", 0, 0, RUNS);
  second("of no size, in the kernel", KERNBASE, 0, RUNS);
  second("up to the kernel", KERNBASE - 4096, 4096, REFUSED);
  second("stack would reach the kernel", KERNBASE - 4 * 4096, 4095, REFUSED);
  second("wraps", 0xfffff000, 0x2000, REFUSED);
  second("wraps to itself", 2 * BASE, 0xffffffff, REFUSED);

  good_file();
  for(uint i = 1; i <= 16; i++) {
    segment(i, (i + 1) * BASE, 4096);
    file.h.entry = BASE + sizeof(struct elfhdr) + (i + 1) * sizeof(struct proghdr);
    file.ph[0].filesz = file.ph[0].memsz = sizeof(struct elfhdr) + (i + 1) * sizeof(struct proghdr) + sizeof(ends);
    if(i > 14)
      try(i == 15 ? "16 segments" : "17 segments", i + 1, i == 15 ? RUNS : REFUSED);
  }
}

// As `ld -N -Ttext 0` makes it: one segment, all permissions, its file offset
// not that of a page.  And pages obey PF_W.
static void
permissions(void)
{
  good_file();
  uint head = sizeof(struct elfhdr) + sizeof(struct proghdr);
  file.h.entry = 0;
  file.ph[0] = (struct proghdr){.type = 1, .off = head, .vaddr = 0, .filesz = sizeof(ends), .memsz = sizeof(ends), .flags = 7};
  try("linked at 0, -N", 1, RUNS);

  for(uint flags = 5; flags <= 7; flags += 2) {
    good_file();
    code = writes;
    codesize = sizeof(writes);
    file.h.entry = BASE + head;
    file.ph[0].filesz = file.ph[0].memsz = head + sizeof(writes);
    file.ph[0].flags = flags;
    try(flags == 5 ? "writes its text" : "writes its text, which is writable", 1, flags == 5 ? DIES : RUNS);
  }
}

// A page at 0 is where the local descriptor table lies after a reset: with a
// gate in it, a far call would end in the kernel's segment, with all rights.
static void
own_gate(void)
{
  // 0: the code starts here; 8: gate to 0x18 in segment 8, for all; 0x18: ends with status 7
  static const uchar gate[] = {0x9a, 0, 0, 0, 0, 0x0f, 0, 0, 0x18, 0, 0x08, 0, 0, 0xec, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                               0x0f, 0x20, 0xc0, 0xb8, 48, 0, 0, 0, 0x6a, 7, 0x6a, 0, 0xcd, 0x40};

  good_file();
  code = gate;
  codesize = sizeof(gate);
  file.h.entry = 0;
  file.ph[0] = (struct proghdr){.type = 1, .off = sizeof(struct elfhdr) + sizeof(struct proghdr), .filesz = sizeof(gate), .memsz = sizeof(gate), .flags = 7};
  try("a gate to the kernel's segment", 1, DIES);
}

static void
not_files(void)
{
  const char *usual = path;

  path = "/dev";
  expect("a directory", 0, REFUSED);
  path = "/dev/zero";
  expect("a device", 0, REFUSED);
  path = "/none";
  expect("no file", 0, REFUSED);
  path = "";
  expect("no name", 0, REFUSED);
  path = "/README";
  expect("a text", 0, REFUSED);
  path = usual;
}

// ---- arguments -------------------------------------------------------------------

#define FRAME(argc) (4 * (3 + (argc) + 1)) // return address, argc, argv, and argv[]

// badelf args N: is argv[2] N bytes of 'a'?
static int
args_here(int argc, char **argv)
{
  if(argc == 3 + 1) {
    for(int i = 0; i < atoi(argv[2]); i++)
      if(argv[3][i] != 'a')
        return 1;
    return (int)strlen(argv[3]) == atoi(argv[2]) ? RUNS : 1;
  }
  return argc == MAXARG - 1 && argv[argc] == 0 && argv[argc - 1][0] == 0 ? RUNS : 1;
}

// Strings, pointers and frame together: 4096 bytes are legal, 4097 (which
// means 4100, strings begin at words) are not.
static void
arguments(void)
{
  static char big[5000], self[] = "badelf", args[] = "args", number[8] = "0000", empty[] = "";
  char *argv[MAXARG + 2] = {self, args, number, big};
  const int most = 4096 - FRAME(4) - 8 - 8 - 8 - 1;

  path = "/badelf";
  for(int n = most - 5; n <= most + 5; n++) {
    memset(big, 'a', sizeof(big));
    big[n] = 0;
    for(int i = 3, rest = n; i >= 0; i--, rest /= 10)
      number[i] = (char)('0' + rest % 10);
    int got = outcome(argv);
    if(got == (n <= most ? RUNS : REFUSED))
      continue;
    wrong++;
    printf(1, "WRONG: argument of %d bytes: ended with %d\n", n, got);
  }
  for(int i = 2; i < MAXARG + 2; i++)
    argv[i] = empty;
  for(int n = MAXARG + 1; n >= MAXARG - 1; n--) {
    argv[n] = 0;
    int got = outcome(argv);
    if(got == (n < MAXARG ? RUNS : REFUSED))
      continue;
    wrong++;
    printf(1, "WRONG: %d arguments: ended with %d\n", n, got);
  }
  path = "/bad.elf";
}

// ---- random bits -------------------------------------------------------------------

static uint seed;

static uint
draw(uint n)
{
  seed ^= seed << 13;
  seed ^= seed >> 17;
  seed ^= seed << 5;
  return seed % n;
}

// One to three bits of the headers, or one bit of anything.
static void
flips(uint count)
{
  static char *argv[] = {(char *)"bad", 0};
  uchar bytes[1024];
  int sums[3] = {0};

  good_file();
  uint size = layout(bytes, 1, sizeof(bytes));
  for(uint i = 0; i < count; i++) {
    layout(bytes, 1, sizeof(bytes));
    uint n = 1 + draw(3);
    for(uint k = 0; k < n; k++) {
      uint bit = draw(8 * (n == 1 ? size : size - (uint)sizeof(ends)));
      bytes[bit / 8] ^= (uchar)(1 << bit % 8);
    }
    put_file(bytes, size);
    int got = outcome(argv);
    sums[got == REFUSED ? 0 : got == DIES ? 1
                                          : 2]++;
    if(got == 98 || got == 97) {
      wrong++;
      printf(1, "WRONG: file %d: the caller was hurt\n", i);
    }
  }
  printf(1, "refused %d, died %d, ran %d\n", sums[0], sums[1], sums[2]);
}

int
main(int argc, char **argv)
{
  if(argc > 1 && strcmp(argv[1], "args") == 0)
    return args_here(argc, argv);
  for(uint i = 0; i < NELEM(witness); i++)
    witness[i] = i * 3;
  if(argc == 4 && strcmp(argv[1], "flips") == 0) {
    seed = (uint)atoi(argv[2]) * 2654435761u | 1;
    flips((uint)atoi(argv[3]));
  } else {
    truncations();
    fields();
    segments();
    permissions();
    own_gate();
    not_files();
    arguments();
  }
  unlink(path);
  printf(1, "%d files, %d wrong\n", nfiles, wrong);
  exits(wrong > 0);
}
