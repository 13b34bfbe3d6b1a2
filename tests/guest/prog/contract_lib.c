// contract_lib: the twelve library functions and the ABI's constants and
// structures, as a program written for xv6 may rely on them.  For
// tests/guest/test_contract.py.
#include "memlayout.h"
#include "fs.h"
#include "stat.h"
#include "fcntl.h"
#include "param.h"
#include "syscall.h"
#include "traps.h"
#include "types.h"
#include "user.h"
#include "contract.h"

static char buf[4096];

#define AT(type, member) __builtin_offsetof(struct type, member)

// Sizes and offsets, as xv6 has them on disk and hands them out.
_Static_assert(sizeof(struct stat) == 20 && AT(stat, type) == 0 && AT(stat, dev) == 4, "stat");
_Static_assert(AT(stat, ino) == 8 && AT(stat, nlink) == 12 && AT(stat, size) == 16, "stat");
_Static_assert(sizeof(struct dirent) == 16 && AT(dirent, inum) == 0 && AT(dirent, name) == 2, "dirent");
_Static_assert(sizeof(struct dinode) == 64 && AT(dinode, type) == 0 && AT(dinode, major) == 2, "dinode");
_Static_assert(AT(dinode, minor) == 4 && AT(dinode, nlink) == 6 && AT(dinode, size) == 8, "dinode");
_Static_assert(AT(dinode, addrs) == 12 && NDIRECT == 12 && NINDIRECT == 128 && MAXFILE == 140, "dinode");
_Static_assert(sizeof(struct superblock) == 28 && AT(superblock, size) == 0 && AT(superblock, nblocks) == 4, "superblock");
_Static_assert(AT(superblock, ninodes) == 8 && AT(superblock, nlog) == 12 && AT(superblock, logstart) == 16, "superblock");
_Static_assert(AT(superblock, inodestart) == 20 && AT(superblock, bmapstart) == 24, "superblock");
_Static_assert(BSIZE == 512 && ROOTINO == 1 && DIRSIZ == 14 && IPB == 8 && BPB == 4096, "fs.h");
_Static_assert(T_DIR == 1 && T_FILE == 2 && T_DEV == 3, "stat.h");
_Static_assert(O_RDONLY == 0 && O_WRONLY == 1 && O_RDWR == 2 && O_CREATE == 0x200, "fcntl.h");
_Static_assert(NPROC == 64 && NCPU == 8 && NDEV == 10 && ROOTDEV == 1 && MAXARG == 32, "param.h");
_Static_assert(MAXOPBLOCKS == 10 && LOGSIZE == 30 && NOFILE >= 16 && NFILE >= 100, "param.h");
_Static_assert(NINODE >= 50 && NBUF >= 30 && FSSIZE >= 1000 && KSTACKSIZE >= 4096, "param.h");
_Static_assert(EXTMEM == 0x100000 && KERNBASE == 0x80000000 && KERNLINK == 0x80100000 && DEVSPACE == 0xFE000000, "memlayout.h");
_Static_assert(V2P_WO(KERNLINK) == EXTMEM && P2V_WO(EXTMEM) == KERNLINK && PHYSTOP > EXTMEM, "memlayout.h");
_Static_assert(T_DIVIDE == 0 && T_DEBUG == 1 && T_NMI == 2 && T_BRKPT == 3 && T_OFLOW == 4 && T_BOUND == 5, "traps.h");
_Static_assert(T_ILLOP == 6 && T_DEVICE == 7 && T_DBLFLT == 8 && T_TSS == 10 && T_SEGNP == 11, "traps.h");
_Static_assert(T_STACK == 12 && T_GPFLT == 13 && T_PGFLT == 14 && T_FPERR == 16 && T_ALIGN == 17, "traps.h");
_Static_assert(T_MCHK == 18 && T_SIMDERR == 19 && T_SYSCALL == 64 && T_DEFAULT == 500 && T_IRQ0 == 32, "traps.h");
_Static_assert(IRQ_TIMER == 0 && IRQ_KBD == 1 && IRQ_COM1 == 4 && IRQ_IDE == 14 && IRQ_ERROR == 19, "traps.h");
_Static_assert(IRQ_SPURIOUS == 31, "traps.h");
_Static_assert(SYS_fork == 1 && SYS_exit == 2 && SYS_wait == 3 && SYS_pipe == 4 && SYS_read == 5, "syscall.h");
_Static_assert(SYS_kill == 6 && SYS_exec == 7 && SYS_fstat == 8 && SYS_chdir == 9 && SYS_dup == 10, "syscall.h");
_Static_assert(SYS_getpid == 11 && SYS_sbrk == 12 && SYS_sleep == 13 && SYS_uptime == 14, "syscall.h");
_Static_assert(SYS_open == 15 && SYS_write == 16 && SYS_mknod == 17 && SYS_unlink == 18, "syscall.h");
_Static_assert(SYS_link == 19 && SYS_mkdir == 20 && SYS_close == 21, "syscall.h");
_Static_assert(sizeof(uint) == 4 && sizeof(ushort) == 2 && sizeof(uchar) == 1 && sizeof(pde_t) == 4, "types.h");

// user.h's prototypes are xv6's: a difference is an error or a warning here.
static void
prototypes(void)
{
  int (*const i0[])(void) = {fork, wait, getpid, uptime, exit};
  int (*const i1[])(int) = {close, kill, dup, sleep};
  int (*const is[])(const char *) = {unlink, mkdir, chdir, atoi};
  int (*pipe_)(int *) = pipe;
  int (*write_)(int, const void *, int) = write;
  int (*read_)(int, void *, int) = read;
  int (*exec_)(char *, char **) = exec;
  int (*open_)(const char *, int) = open;
  int (*mknod_)(const char *, short, short) = mknod;
  int (*fstat_)(int, struct stat *) = fstat;
  int (*link_)(const char *, const char *) = link;
  char *(*sbrk_)(int) = sbrk;
  int (*stat_)(const char *, struct stat *) = stat;
  char *(*strcpy_)(char *, const char *) = strcpy;
  void *(*memmove_)(void *, const void *, int) = memmove;
  char *(*strchr_)(const char *, char) = strchr;
  int (*strcmp_)(const char *, const char *) = strcmp;
  void (*printf_)(int, const char *, ...) = printf;
  char *(*gets_)(char *, int) = gets;
  uint (*strlen_)(const char *) = strlen;
  void *(*memset_)(void *, int, uint) = memset;
  void *(*malloc_)(uint) = malloc;
  void (*free_)(void *) = free;
  OK(i0[0] && i1[0] && is[0] && pipe_ && write_ && read_ && exec_ && open_ && mknod_ && fstat_ && link_ && sbrk_);
  OK(stat_ && strcpy_ && memmove_ && strchr_ && strcmp_ && printf_ && gets_ && strlen_ && memset_ && malloc_ && free_);
}

// ---- printf -------------------------------------------------------------------

static int out[2];

// Is this what the pipe holds?
static int
printed(const char *want)
{
  int n = read(out[0], buf, sizeof(buf) - 1);
  buf[n > 0 ? n : 0] = 0;
  return strcmp(buf, want) == 0;
}

static void
formats(void)
{
  OK(pipe(out) == 0);
  int w = out[1];
  printf(w, "%d %d %d %d", 0, -1, 2147483647, -2147483647 - 1);
  OK(printed("0 -1 2147483647 -2147483648"));
  printf(w, "%x %x %p %p", 255, -1, 0xabcdef12, 0);
  OK(printed("FF FFFFFFFF ABCDEF12 0"));
  printf(w, "%s,%s,%c,%c,%%", "", (char *)0, 'a', 200);
  OK(printed(",(null),a,\310,%"));
  printf(w, "%z %q%!");
  OK(printed("%z %q%!"));
  printf(w, "100%");
  OK(printed("100%"));
  printf(w, "%u %u|%5d|%-5d|%05d|%5s|%-5s|%3x", 0, -1, 42, 42, -42, "ab", "ab", 0xabcd);
  OK(printed("0 4294967295|   42|42   |-0042|   ab|ab   |ABCD"));
  printf(w, "%lld %llx %llu", -1234567890123456789ll, 0x123456789abcdef0ull, 18446744073709551615ull);
  OK(printed("-1234567890123456789 123456789ABCDEF0 18446744073709551615"));
  memset(buf, 'x', 300);
  buf[300] = 0;
  static char copy[301];
  strcpy(copy, buf);
  printf(w, "%s", copy);
  OK(read(out[0], buf, 256) == 256 && read(out[0], buf, 256) == 44);
  printf(99, "nowhere\n");
  printf(-1, "nowhere\n");
}

// One write per call: lines of several processes do not mix in a file.
static void
whole_lines(void)
{
  int fd = open("lines", O_CREATE | O_RDWR), n = 0, at = 0, m;
  for(int k = 0; k < 4; k++)
    if(must_fork() == 0) {
      for(int i = 0; i < 50; i++)
        printf(fd, "%d: %s %d, %x\n", k, "a line of one of the four processes", i, k * 1000 + i);
      exit();
    }
  for(int k = 0; k < 4; k++)
    OK(wait() > 0);
  close(fd);
  int next[4] = {0};
  fd = open("lines", O_RDONLY);
  while((m = read(fd, buf + at, 1)) == 1) {
    if(buf[at++] != '\n')
      continue;
    int k = buf[0] - '0';
    OK(k >= 0 && k < 4 && pipe(out) == 0);
    printf(out[1], "%d: %s %d, %x\n", k, "a line of one of the four processes", next[k], k * 1000 + next[k]);
    static char want[100];
    OK(read(out[0], want, 100) == at && close(out[0]) == 0 && close(out[1]) == 0);
    for(int i = 0; i < at; i++)
      OK(want[i] == buf[i]);
    next[k]++;
    at = 0;
    n++;
  }
  OK(n == 200 && unlink("lines") == 0);
}

// ---- the rest ---------------------------------------------------------------------

static void
gets_lines(void)
{
  char line[10];
  OK(pipe(out) == 0 && close(0) == 0 && dup(out[0]) == 0);
  printf(out[1], "one\n\nlonger than nine\rx");
  close(out[1]);
  OK(gets(line, 10) == line && strcmp(line, "one\n") == 0);
  OK(strcmp(gets(line, 10), "\n") == 0);
  OK(strcmp(gets(line, 10), "longer th") == 0 && strcmp(gets(line, 10), "an nine\r") == 0);
  OK(strcmp(gets(line, 10), "x") == 0);
  line[0] = 'z';
  OK(gets(line, 10) == line && line[0] == 0);
  line[0] = 'z';
  OK(gets(line, 1) == line && line[0] == 0);
}

static void
numbers(void)
{
  OK(atoi("0") == 0 && atoi("42") == 42 && atoi("0042x7") == 42 && atoi("2147483647") == 2147483647);
  OK(atoi("") == 0 && atoi("-5") == 0 && atoi("+5") == 0 && atoi(" 5") == 0 && atoi("x") == 0);
}

static void
strings(void)
{
  char s[] = "hello, world";
  OK(strlen("") == 0 && strlen(s) == 12);
  OK(strcpy(buf, s) == buf && strcmp(buf, s) == 0 && buf[12] == 0);
  OK(strcmp("", "") == 0 && strcmp("a", "b") < 0 && strcmp("b", "a") > 0 && strcmp("a", "ab") < 0);
  OK(strcmp("\200", "a") > 0 && strcmp("ab", "a") > 0); // bytes are unsigned
  OK(strchr(s, 'o') == s + 4 && strchr(s, 'z') == 0 && strchr("", 'a') == 0);
}

static void
memory(void)
{
  static char a[300], b[300];
  for(int from = 0; from < 40; from += 3)
    for(int to = 0; to < 40; to += 5)
      for(int n = -1; n < 200; n += 13) {
        for(int i = 0; i < 300; i++)
          a[i] = b[i] = i;
        OK(memmove(a + to, a + from, n) == a + to);
        for(int i = 0; i < 300; i++)
          OK(a[i] == (n > 0 && i >= to && i < to + n ? b[i - to + from] : b[i]));
      }
  for(int at = 0; at < 8; at++)
    for(uint n = 0; n < 200; n += 7) {
      memset(a, 0, 300);
      OK(memset(a + at, 0x1aa, n) == a + at);
      for(int i = 0; i < 300; i++)
        OK(a[i] == (char)(i >= at && i < at + (int)n ? 0xaa : 0));
    }
}

static void
stat_function(void)
{
  struct stat st, st2;
  int fd = open("/README", O_RDONLY);
  OK(stat("/README", &st) == 0 && fstat(fd, &st2) == 0 && st.ino == st2.ino && st.size == st2.size);
  OK(stat("/none", &st) == -1 && stat("/", &st) == 0 && st.type == T_DIR);
  close(fd);
  OK(open("/README", O_RDONLY) == fd); // stat leaves no descriptor behind
}

static const struct check checks[] = {
  {"prototypes", prototypes},
  {"formats", formats},
  {"whole_lines", whole_lines},
  {"gets_lines", gets_lines},
  {"numbers", numbers},
  {"strings", strings},
  {"memory", memory},
  {"stat_function", stat_function},
};

int
main(int argc, char *argv[])
{
  run_checks(checks, NELEM(checks), argc, argv);
}
