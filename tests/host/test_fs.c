// The file system half of the kernel on the host: bio, log, fs, file, pipe and
// sysfile over a disk in memory that notes each write.
//
//   gcc -g -fsanitize=address,undefined tests/host/test_fs.c tools/mkfs/check.c -lcmocka
//
// After every prefix of the writes the power may have gone: the checker behind
// mkfs -c must find each such disk sound.  What runs short must give -1 and be
// usable again later.  A disk of noise must never end in a panic.  One process,
// so a sleep or a taken lock is a fault.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

int mkfs_main(int argc, char **argv);
#define main mkfs_main
#define sb   mkfs_sb
#include "../../tools/mkfs/mkfs.c"
#undef main
#undef sb

// The kernel's names that the C library has too, with other prototypes.
// clang-format off
#pragma GCC diagnostic ignored "-Wmissing-prototypes" // defs.h has them, further down
void *k_memset(void *p, int c, u32 n) { return memset(p, c, n); }
void *k_memmove(void *p, const void *q, u32 n) { return memmove(p, q, n); }
void *k_memcpy(void *p, const void *q, u32 n) { return memcpy(p, q, n); }
int k_memcmp(const void *p, const void *q, u32 n) { return memcmp(p, q, n); }
u32 k_strlen(const char *p) { return (u32)strlen(p); }
int k_strcmp(const char *p, const char *q) { return strcmp(p, q); }
int k_strncmp(const char *p, const char *q, u32 n) { return strncmp(p, q, n); }
char *k_strncpy(char *p, const char *q, int n) { memset(p, 0, n); memmove(p, q, strnlen(q, n)); return p; }
// clang-format on
#define memset  k_memset
#define memmove k_memmove
#define memcpy  k_memcpy
#define memcmp  k_memcmp
#define strlen  k_strlen
#define strcmp  k_strcmp
#define strncmp k_strncmp
#define strncpy k_strncpy
#define strchr  k_strchr
#define sleep   k_sleep
#define kill    k_kill
#define fork    k_fork
#define exec    k_exec
#define KERNEL
#define myproc header_myproc
#include "../../kernel/proc.h"
#undef myproc
static struct proc me;
#define myproc() (&me)
#include "../../kernel/bio.c"
#include "../../kernel/log.c"
#include "../../kernel/fs.c"
#include "../../kernel/file.c"
#include "../../kernel/pipe.c"
#include "../../kernel/sysfile.c"

#define DISKSIZE 400 // blocks
#define NWRITES  60000

// ---- what the rest of the kernel would be --------------------------------

u8 trace_on[NT_MAXEV];

static u8 start[DISKSIZE * BSIZE]; // as mkfs made it
static u8 now[DISKSIZE * BSIZE];
static struct {
  u32 block;
  u8 data[BSIZE];
} * writes; // since boot, in order
static u32 nwrites;
static int held; // sleep-locks
static jmp_buf no_root;
static char last_line[200];
static intptr_t arg[3]; // of the system call under way

void
panic(const char *fmt, ...)
{
  va_list ap;
  char line[200];

  va_start(ap, fmt);
  vsnprintf(line, sizeof(line), fmt, ap);
  va_end(ap);
  if(strcmp(line, "no root") == 0)
    longjmp(no_root, 1);
  print_error("panic: %s\n", line);
  abort();
}

void
cprintf(const char *fmt, ...)
{
  va_list ap;

  va_start(ap, fmt);
  vsnprintf(last_line, sizeof(last_line), fmt, ap);
  va_end(ap);
}

u32
disk_blocks(void)
{
  return DISKSIZE;
}

void
disk_rw(struct buf *b)
{
  if(b->blockno >= DISKSIZE)
    panic("block %u", b->blockno);
  if(b->dirty) {
    memmove(now + b->blockno * BSIZE, b->data, BSIZE);
    if(nwrites < NWRITES) {
      writes[nwrites].block = b->blockno;
      memmove(writes[nwrites++].data, b->data, BSIZE);
    }
  } else
    memmove(b->data, now + b->blockno * BSIZE, BSIZE);
  b->valid = 1;
  b->dirty = 0;
}

void
disk_flush(void)
{
}

void
initlock(struct spinlock *l, const char *name)
{
  *l = (struct spinlock){.name = name};
}

void
acquire(struct spinlock *l)
{
  if(l->locked++)
    panic("%s taken twice", l->name);
}

void
release(struct spinlock *l)
{
  if(--l->locked)
    panic("%s not held", l->name);
}

void
initsleeplock(struct sleeplock *l, const char *name)
{
  *l = (struct sleeplock){.name = name};
}

void
acquiresleep(struct sleeplock *l)
{
  if(l->owner)
    panic("%s: deadlock", l->name);
  l->owner = &me;
  held++;
}

void
releasesleep(struct sleeplock *l)
{
  l->owner = 0;
  held--;
}

int
holdingsleep(struct sleeplock *l)
{
  return l->owner == &me;
}

void
sleep(void *chan, struct spinlock *l)
{
  panic("sleep on %p with %s: nobody would wake us", chan, l->name);
}

void
wakeup(void *chan)
{
  (void)chan;
}

void
poll_wake(const void *what)
{
  (void)what;
}

char *
kalloc(void)
{
  return malloc(PGSIZE);
}

void
kfree(char *p)
{
  free(p);
}

int
sock_read(struct sock *s, char *dst, int n, int flags)
{
  (void)s, (void)dst, (void)n, (void)flags;
  return -1;
}

int
sock_write(struct sock *s, const char *src, int n, int flags)
{
  (void)s, (void)src, (void)n, (void)flags;
  return -1;
}

void
sock_close(struct sock *s)
{
  (void)s;
}

int
sock_poll(struct sock *s)
{
  (void)s;
  return 0;
}

int
exec(char *path, char **argv)
{
  (void)path, (void)argv;
  return -1;
}

int
argint(int n, int *v)
{
  *v = (int)arg[n];
  return 0;
}

int
argptr(int n, char **p, int size, int writable)
{
  (void)writable;
  *p = (char *)arg[n];
  return size < 0 ? -1 : 0;
}

int
argstr(int n, char **s)
{
  *s = (char *)arg[n];
  return (int)strlen(*s);
}

int
fetchint(u32 addr, int *v)
{
  (void)addr, (void)v;
  return -1;
}

int
fetchstr(u32 addr, char **s)
{
  (void)addr, (void)s;
  return -1;
}

// ---- system calls, and what must hold after each -----------------------------

static int
call(int (*fn)(void), intptr_t a, intptr_t b, intptr_t c)
{
  arg[0] = a, arg[1] = b, arg[2] = c;
  int r = fn();
  if(held || log.calls || log.n)
    panic("call left %d locks, %u transactions, %u blocks", held, log.calls, log.n);
  return r;
}

#define OPEN(path, mode)  call(sys_open, (intptr_t)(path), mode, 0)
#define CLOSE(fd)         call(sys_close, fd, 0, 0)
#define WRITE(fd, p, n)   call(sys_write, fd, (intptr_t)(p), n)
#define READ(fd, p, n)    call(sys_read, fd, (intptr_t)(p), n)
#define MKDIR(path)       call(sys_mkdir, (intptr_t)(path), 0, 0)
#define UNLINK(path)      call(sys_unlink, (intptr_t)(path), 0, 0)
#define LINK(path, other) call(sys_link, (intptr_t)(path), (intptr_t)(other), 0)
#define CHDIR(path)       call(sys_chdir, (intptr_t)(path), 0, 0)

// Boot on the disk as it is.  -1: not mounted.
static int
boot(void)
{
  memset(&bcache, 0, sizeof(bcache));
  memset(&log, 0, sizeof(log));
  memset(&itable, 0, sizeof(itable));
  memset(&ftable, 0, sizeof(ftable));
  memset(&me, 0, sizeof(me));
  held = 0;
  binit();
  fileinit();
  if(setjmp(no_root))
    return -1;
  fs_init();
  me.cwd = namei("/");
  return 0;
}

static int
fresh_disk(void **state)
{
  (void)state;
  memmove(now, start, sizeof(now));
  nwrites = 0;
  assert_int_equal(boot(), 0);
  return 0;
}

static int
make_disk(void **state)
{
  (void)state;
  format(DISKSIZE);
  add_dir(0, "/");
  mark_used();
  memmove(start, img, sizeof(start));
  free(img);
  writes = malloc(NWRITES * sizeof(*writes));
  return writes ? 0 : -1;
}

static int
drop_disk(void **state)
{
  (void)state;
  free(writes);
  return 0;
}

static char first_fault[200];

static void
note(const char *line)
{
  if(first_fault[0] == 0)
    snprintf(first_fault, sizeof(first_fault), "%s", line);
}

// Faults of a copy of the disk.
static int
faults(const u8 *disk)
{
  static u8 copy[DISKSIZE * BSIZE];

  memmove(copy, disk, sizeof(copy));
  first_fault[0] = 0;
  return fscheck(copy, sizeof(copy), note);
}

static void
assert_sound(const u8 *disk, const char *when)
{
  if(faults(disk))
    fail_msg("%s: %s", when, first_fault);
}

static u32
free_blocks(void)
{
  u32 n = 0;
  for(u32 b = 0; b < DISKSIZE; b++)
    n += (now[BBLOCK(b, sb) * BSIZE + b / 8] >> b % 8 & 1) == 0;
  return n;
}

static u32
free_inodes(void)
{
  u32 n = 0;
  for(u32 i = 1; i < sb.ninodes; i++)
    n += ((struct dinode *)(now + IBLOCK(i, sb) * BSIZE))[i % IPB].type == 0;
  return n;
}

static char data[MAXFILE * BSIZE + 1000];

static const char *
numbered(u32 i)
{
  static char name[16];
  snprintf(name, sizeof(name), "n%u", i);
  return name;
}

// A little of everything; results do not matter, the disk may be bad.
static void
workload(void)
{
  for(u32 i = 0; i < 12; i++) {
    int fd = OPEN(numbered(i), O_CREATE | O_RDWR);
    WRITE(fd, data + i, 700 * (int)i);
    CLOSE(fd);
    LINK(numbered(i), "other");
    MKDIR("dir");
    LINK(numbered(i), "dir/x");
    if(i % 3 == 0)
      UNLINK(numbered(i));
    UNLINK("other");
    UNLINK("dir");
    UNLINK("dir/x");
    UNLINK("dir");
    fd = OPEN(numbered(i / 2), O_RDWR | O_APPEND);
    READ(fd, data + 60000, 5000);
    WRITE(fd, data, 900);
    UNLINK(numbered(i / 2));
    CLOSE(fd);
    fd = OPEN(numbered(i), O_RDWR | O_TRUNC);
    WRITE(fd, data, 100);
    CLOSE(fd);
  }
}

// ---- tests -----------------------------------------------------------------

static void
test_contents(void **state)
{
  (void)state;
  static char back[20000];
  int fd = OPEN("f", O_CREATE | O_RDWR);
  for(u32 i = 0; i < sizeof(back); i++)
    data[i] = (char)(i * 7 + i / 512);
  for(u32 done = 0; done < sizeof(back); done += 1250)
    assert_int_equal(WRITE(fd, data + done, 1250), 1250);
  CLOSE(fd);
  assert_int_equal(boot(), 0);
  fd = OPEN("/f", O_RDONLY);
  for(u32 done = 0; done < sizeof(back); done += 800)
    assert_int_equal(READ(fd, back + done, 800), 800);
  assert_int_equal(READ(fd, back, 1), 0);
  assert_memory_equal(back, data, sizeof(back));
}

// The power goes after each single write.
static void
test_power_cuts(void **state)
{
  (void)state;
  static u8 disk[DISKSIZE * BSIZE];
  u32 bad_unrecovered = 0, head = sb.logstart * BSIZE;

  workload();
  assert_in_range(nwrites, 1000, NWRITES - 1);
  memmove(disk, start, sizeof(disk));
  for(u32 i = 0; i < nwrites; i++) {
    memmove(disk + writes[i].block * BSIZE, writes[i].data, BSIZE);
    if(faults(disk))
      fail_msg("after write %u of %u: %s", i, nwrites, first_fault);
    int n = *(int *)(disk + head);
    *(int *)(disk + head) = 0;
    bad_unrecovered += faults(disk) != 0;
    *(int *)(disk + head) = n;
  }
  assert_true(bad_unrecovered > 0); // the control: recovery is what makes them sound
}

// The kernel's own recovery gives what the checker's model gives.
static void
test_recovery(void **state)
{
  (void)state;
  static u8 disk[DISKSIZE * BSIZE];
  u32 n, recovered = 0;

  workload();
  n = nwrites;
  memmove(disk, start, sizeof(disk));
  for(u32 i = 0; i < n; i++) {
    memmove(disk + writes[i].block * BSIZE, writes[i].data, BSIZE);
    if(*(int *)(disk + sb.logstart * BSIZE) == 0 || i % 7)
      continue;
    memmove(now, disk, sizeof(now));
    nwrites = NWRITES; // note no more
    assert_int_equal(boot(), 0);
    assert_int_equal(*(int *)(now + sb.logstart * BSIZE), 0);
    assert_sound(now, "recovered");
    recovered++;
  }
  assert_true(recovered > 20);
}

static void
test_disk_full(void **state)
{
  (void)state;
  u32 blocks = free_blocks(), inodes = free_inodes(), n = 0;
  int r = (int)(MAXFILE * BSIZE);

  for(; r == (int)(MAXFILE * BSIZE); n++) {
    int fd = OPEN(numbered(n), O_CREATE | O_RDWR);
    r = WRITE(fd, data, MAXFILE * BSIZE);
    CLOSE(fd);
  }
  assert_true(r > 0 && r < (int)(MAXFILE * BSIZE));
  int fd = OPEN(numbered(n - 1), O_RDWR | O_APPEND);
  while((r = WRITE(fd, data, 512)) == 512)
    ;
  assert_int_equal(WRITE(fd, data, 512), -1);
  CLOSE(fd);
  assert_sound(now, "full");
  assert_int_equal(MKDIR("d"), -1);
  assert_int_equal(OPEN("d", O_RDONLY), -1);
  assert_sound(now, "mkdir on the full disk");
  while(n > 0)
    assert_int_equal(UNLINK(numbered(--n)), 0);
  assert_int_equal(free_blocks(), blocks);
  assert_int_equal(free_inodes(), inodes);
  assert_sound(now, "emptied");
}

// One block is left: enough for the indirect block, not for what it names.
static void
test_indirect_full(void **state)
{
  (void)state;
  int fd = OPEN("f", O_CREATE | O_RDWR), other = OPEN("g", O_CREATE | O_RDWR);
  assert_int_equal(WRITE(fd, data, NDIRECT * BSIZE), NDIRECT * BSIZE);
  for(u32 i = 0; free_blocks() > 1; i++) {
    if(WRITE(other, data, BSIZE) != BSIZE)
      other = OPEN(numbered(i), O_CREATE | O_RDWR);
  }
  assert_int_equal(WRITE(fd, data, BSIZE), -1);
  assert_int_equal(free_blocks(), 1);
  assert_sound(now, "append to 12 blocks");
}

// mkdir with k free blocks: each step may be the one that fails.
static void
test_disk_nearly_full(void **state)
{
  for(u32 k = 0; k < 4; k++) {
    fresh_disk(state);
    for(u32 i = 0; i < BSIZE / sizeof(struct dirent) - 4; i++)
      CLOSE(OPEN(numbered(i), O_CREATE)); // the root's block is full but for two
    int fd[8];
    for(u32 i = 0; i < 8; i++)
      fd[i] = OPEN(numbered(i), O_RDWR);
    for(u32 i = 0; free_blocks() > k; i = (i + 1) % 8)
      WRITE(fd[i], data, 512);
    u32 inodes = free_inodes();
    int made = 0;
    for(u32 i = 0; i < 4; i++)
      made += MKDIR(numbered(1000 + i)) == 0;
    assert_int_equal(inodes - free_inodes(), made);
    assert_in_range(made, 0, k);
    assert_sound(now, "mkdir with few blocks");
  }
}

static void
test_inodes_full(void **state)
{
  (void)state;
  u32 inodes = free_inodes(), n = 0;
  int fd;

  for(; (fd = OPEN(numbered(n), O_CREATE)) >= 0; n++)
    CLOSE(fd);
  assert_int_equal(n, inodes);
  assert_int_equal(MKDIR("d"), -1);
  assert_sound(now, "inodes full");
  while(n > 0)
    assert_int_equal(UNLINK(numbered(--n)), 0);
  assert_int_equal(free_inodes(), inodes);
}

static void
test_directory_full(void **state)
{
  (void)state;
  u32 n = 0;

  CLOSE(OPEN("f", O_CREATE));
  while(LINK("f", numbered(n)) == 0)
    n++;
  assert_int_equal(n, MAXFILE * BSIZE / sizeof(struct dirent) - 3);
  assert_int_equal(MKDIR("d"), -1);
  assert_sound(now, "directory full");
  assert_int_equal(UNLINK(numbered(77)), 0);
  assert_int_equal(MKDIR("d"), 0);
  assert_sound(now, "directory full again");
}

static void
test_link_limit(void **state)
{
  (void)state;
  int fd = OPEN("f", O_CREATE | O_RDWR);
  struct inode *ip = me.ofile[fd]->ip;
  MKDIR("d");
  struct inode *dp = namei("d");

  ilock(ip);
  ip->nlink = 32767;
  iunlock(ip);
  assert_int_equal(LINK("f", "g"), -1);
  assert_int_equal(ip->nlink, 32767);
  ilock(dp);
  dp->nlink = 32767;
  iunlock(dp);
  assert_int_equal(MKDIR("d/e"), -1);
  assert_int_equal(OPEN("d/e", O_RDONLY), -1);
}

static void
test_tables_full(void **state)
{
  (void)state;
  for(u32 i = 0; i < NINODE + 10; i++)
    CLOSE(OPEN(numbered(i), O_CREATE));
  struct inode *got[NINODE];
  u32 n = 0;
  while(n < NINODE && (got[n] = namei(numbered(n))) != 0)
    n++;
  assert_int_equal(n, NINODE - 1); // the cwd has one
  u32 inodes = free_inodes();
  assert_int_equal(OPEN("new", O_CREATE), -1);
  assert_int_equal(MKDIR("new"), -1);
  assert_int_equal(free_inodes(), inodes);
  assert_sound(now, "inode table full");
  begin_op();
  while(n > 0)
    iput(got[--n]);
  end_op();
  for(int fd = 0; fd < NOFILE; fd++)
    assert_int_equal(OPEN("n1", O_RDONLY), fd);
  assert_int_equal(OPEN("new", O_CREATE), -1);
  for(int fd = 0; fd < NOFILE; fd++)
    assert_int_equal(CLOSE(fd), 0);
  assert_int_equal(OPEN("new", O_RDONLY), -1);
}

// A file deleted while open, and then the power goes.
static void
test_orphans(void **state)
{
  (void)state;
  u32 blocks = free_blocks(), inodes = free_inodes();
  int fd = OPEN("f", O_CREATE | O_RDWR);

  WRITE(fd, data, 20000);
  UNLINK("f");
  assert_int_not_equal(free_blocks(), blocks);
  assert_int_equal(boot(), 0);
  assert_int_equal(free_blocks(), blocks);
  assert_int_equal(free_inodes(), inodes);
}

static void
test_removed_cwd(void **state)
{
  (void)state;
  u32 inodes = free_inodes();

  MKDIR("a");
  MKDIR("a/b");
  assert_int_equal(CHDIR("a/b"), 0);
  assert_int_equal(UNLINK("../b"), 0);
  assert_int_equal(UNLINK("/a"), 0);
  assert_int_equal(OPEN("f", O_CREATE), -1);
  assert_int_equal(MKDIR("d"), -1);
  assert_int_equal(MKDIR("/c"), 0); // has the inode that ".." names
  assert_int_equal(CHDIR(".."), -1);
  assert_int_equal(CHDIR("/"), 0);
  assert_int_equal(UNLINK("c"), 0);
  assert_int_equal(free_inodes(), inodes);
  assert_sound(now, "cwd removed");
}

static void
test_superblocks(void **state)
{
  (void)state;
  const u32 wild[] = {0, 1, 0x7fffffff, 0xfffffff0, 0xffffffff};

  for(u32 field = 0; field < sizeof(sb) / sizeof(u32); field++)
    for(u32 i = 0; i < NELEM(wild); i++) {
      memmove(now, start, sizeof(now));
      ((u32 *)(now + BSIZE))[field] = wild[i];
      last_line[0] = 0;
      assert_int_equal(boot(), -1 + (field == 1 && wild[i] == 1)); // one data block is legal
      assert_int_equal(last_line[0] != 0, field != 1 || wild[i] != 1);
    }
}

// Wild bytes in inodes, bitmap and data: errors, no panic (and no ASan report).
static void
test_noise(void **state)
{
  u32 x = 1, mounted = 0;

  for(u32 round = 0; round < 150; round++) {
    fresh_disk(state);
    workload();
    for(u32 i = 0; i < 60; i++) {
      x = x * 1664525 + 1013904223;
      u32 lo = i % 2 ? sb.inodestart * BSIZE + 64 : sb.bmapstart * BSIZE;
      u32 len = i % 2 ? 3 * BSIZE : 8 * BSIZE;
      now[lo + (x >> 8) % len] = (u8)(x >> 3 & 1 ? x >> 24 : x >> 30);
    }
    if(boot() == 0) {
      mounted++;
      workload();
    }
  }
  assert_true(mounted > 100);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup(test_contents, fresh_disk),
    cmocka_unit_test_setup(test_power_cuts, fresh_disk),
    cmocka_unit_test_setup(test_recovery, fresh_disk),
    cmocka_unit_test_setup(test_disk_full, fresh_disk),
    cmocka_unit_test_setup(test_indirect_full, fresh_disk),
    cmocka_unit_test_setup(test_disk_nearly_full, fresh_disk),
    cmocka_unit_test_setup(test_inodes_full, fresh_disk),
    cmocka_unit_test_setup(test_directory_full, fresh_disk),
    cmocka_unit_test_setup(test_link_limit, fresh_disk),
    cmocka_unit_test_setup(test_tables_full, fresh_disk),
    cmocka_unit_test_setup(test_orphans, fresh_disk),
    cmocka_unit_test_setup(test_removed_cwd, fresh_disk),
    cmocka_unit_test_setup(test_superblocks, fresh_disk),
    cmocka_unit_test_setup(test_noise, fresh_disk),
  };
  return cmocka_run_group_tests(tests, make_disk, drop_disk);
}
