// mkfs makes a sound image, and the checker names each fault planted in one.
//
//   gcc -g -fsanitize=address,undefined tests/host/test_mkfs.c tools/mkfs/check.c -lcmocka

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

int mkfs_main(int argc, char **argv);
#define main mkfs_main
#include "../../tools/mkfs/mkfs.c"
#undef main

#define IMG  "test_mkfs.img.tmp"
#define BIG  "test_mkfs.big.tmp"
#define NBIG 30000 // bytes of /big: more than the direct blocks hold

static u8 *fresh; // the image as mkfs made it
static u32 fresh_len;
static u8 *disk; // a copy to spoil
static char faults[8192];

static void
note(const char *line)
{
  size_t n = strlen(faults);
  snprintf(faults + n, sizeof(faults) - n, "%s\n", line);
}

static int
check_disk(void)
{
  faults[0] = 0;
  return fscheck(disk, fresh_len, note);
}

// The test's own way through the format, on the spoilt copy.
static struct superblock *
super(void)
{
  return (struct superblock *)(disk + BSIZE);
}

static struct dinode *
ino(u32 inum)
{
  struct superblock good;
  memmove(&good, fresh + BSIZE, sizeof(good));
  return (struct dinode *)(disk + (size_t)good.inodestart * BSIZE) + inum;
}

static struct dirent *
entry(u32 dir, const char *name)
{
  struct dirent *de = (struct dirent *)(disk + (size_t)ino(dir)->addrs[0] * BSIZE);
  for(u32 i = 0; i < ino(dir)->size / sizeof(*de); i++)
    if(strncmp(de[i].name, name, DIRSIZ) == 0)
      return &de[i];
  fail_msg("no entry %s", name);
  return 0;
}

static u32
big(void)
{
  return entry(ROOTINO, "big")->inum;
}

static u32
dev(void)
{
  return entry(ROOTINO, "dev")->inum;
}

static u8 *
bitmap(u32 b)
{
  return disk + (size_t)super()->bmapstart * BSIZE + b / 8;
}

static int *
loghead(void)
{
  return (int *)(disk + (size_t)super()->logstart * BSIZE);
}

static int
make_image(void **state)
{
  (void)state;
  FILE *f = fopen(BIG, "wb");
  assert_non_null(f);
  for(int i = 0; i < NBIG; i++)
    fputc(i % 251, f);
  fclose(f);
  char one[] = BIG "=big", two[] = BIG "=two", prog[] = "mkfs", to[] = IMG;
  char *argv[] = {prog, to, one, two, 0};
  assert_int_equal(mkfs_main(4, argv), 0);
  fresh = slurp(IMG, 64 << 20, &fresh_len);
  disk = malloc(fresh_len);
  free(img);
  remove(IMG);
  remove(BIG);
  return 0;
}

static int
free_image(void **state)
{
  (void)state;
  free(fresh);
  free(disk);
  return 0;
}

static int
copy_image(void **state)
{
  (void)state;
  memmove(disk, fresh, fresh_len);
  return 0;
}

static void
test_sound(void **state)
{
  (void)state;
  assert_int_equal(fresh_len, FSSIZE * BSIZE);
  assert_int_equal(check_disk(), 0);
  assert_int_equal(ino(big())->size, NBIG);
  const u32 *ind = (const u32 *)(disk + (size_t)ino(big())->addrs[NDIRECT] * BSIZE);
  for(u32 i = 0; i < NBIG; i++) {
    u32 bn = i / BSIZE, b = bn < NDIRECT ? ino(big())->addrs[bn] : ind[bn - NDIRECT];
    assert_int_equal(disk[(size_t)b * BSIZE + i % BSIZE], i % 251);
  }
  assert_int_equal(ino(entry(dev(), "nettrace.stat")->inum)->major, 3);
  assert_int_equal(ino(entry(dev(), "nettrace.stat")->inum)->minor, 1);
}

static void
clear_bit(u32 b)
{
  *bitmap(b) &= (u8) ~(1 << b % 8);
}

// One planted fault each, and what the checker must say about it.
// clang-format off
static void f_size(void)      { super()->size = 20000; }
static void f_nlog(void)      { super()->nlog = 10; }
static void f_logstart(void)  { super()->logstart = 1; }
static void f_ninodes(void)   { super()->ninodes = 70000; }
static void f_inodestart(void){ super()->inodestart = 31; }
static void f_bmapstart(void) { super()->bmapstart = 0xffffffff; }
static void f_nblocks(void)   { super()->nblocks = super()->size; }
static void f_log_n(void)     { *loghead() = -1; }
static void f_log_many(void)  { *loghead() = 30; }
static void f_log_block(void) { loghead()[0] = 1; loghead()[1] = 1; }
static void f_type(void)      { ino(big())->type = 9; }
static void f_nlink_neg(void) { ino(big())->nlink = -1; }
static void f_nlink(void)     { ino(big())->nlink = 2; }
static void f_too_big(void)   { ino(big())->size = 0xffffffff; }
static void f_shorter(void)   { ino(big())->size = NBIG - BSIZE; }
static void f_longer(void)    { ino(big())->size = NBIG + BSIZE; }
static void f_direct(void)    { ino(big())->size = 100; }
static void f_outside(void)   { ino(big())->addrs[3] = 2; }
static void f_beyond(void)    { ino(big())->addrs[NDIRECT] = FSSIZE; }
static void f_hole(void)      { ino(big())->addrs[3] = 0; }
static void f_twice(void)     { ino(big())->addrs[3] = ino(big())->addrs[4]; }
static void f_meta_free(void) { clear_bit(7); }
static void f_used_free(void) { clear_bit(ino(big())->addrs[0]); }
static void f_leak(void)      { *bitmap(FSSIZE - 1) |= 0x80; }
static void f_root(void)      { ino(ROOTINO)->type = T_FILE; }
static void f_dot(void)       { entry(dev(), ".")->inum = ROOTINO; }
static void f_dotdot(void)    { entry(dev(), "..")->inum = (u16)dev(); }
static void f_nodot(void)     { entry(dev(), ".")->inum = 0; }
static void f_dotname(void)   { entry(dev(), ".")->name[0] = 'x'; }
static void f_slash(void)     { entry(ROOTINO, "big")->name[1] = '/'; }
static void f_samename(void)  { memmove(entry(ROOTINO, "big")->name, "two", 3); }
static void f_wild_inum(void) { entry(ROOTINO, "big")->inum = 60000; }
static void f_free_inum(void) { entry(ROOTINO, "big")->inum = 500; }
static void f_lost(void)      { entry(ROOTINO, "big")->inum = 0; }
static void f_lostdir(void)   { entry(ROOTINO, "dev")->inum = 0; }
static void f_twodirs(void)   { entry(ROOTINO, "big")->inum = (u16)dev(); }
static void f_dirsize(void)   { ino(dev())->size -= 3; }

static const struct {
  void (*plant)(void);
  const char *line;
} plants[] = {
  {f_size, "superblock: size 20000"},
  {f_nlog, "superblock: nlog 10"},
  {f_logstart, "superblock: logstart 1"},
  {f_ninodes, "superblock: ninodes 70000"},
  {f_inodestart, "superblock: inodestart 31"},
  {f_bmapstart, "superblock: bmapstart"},
  {f_nblocks, "superblock: nblocks"},
  {f_log_n, "log: -1 blocks"},
  {f_log_many, "log: 30 blocks"},
  {f_log_block, "log: entry 0 is for block 1"},
  {f_type, "type 9"},
  {f_nlink_neg, "nlink -1"},
  {f_nlink, "nlink 2, but 1 entries"},
  {f_too_big, "size 4294967295, the largest is 71680"},
  {f_shorter, "but block 58 is there"},
  {f_longer, "but block 59 is missing"},
  {f_direct, "but it has an indirect block"},
  {f_outside, "block 3 is number 2, outside"},
  {f_beyond, "block 12 is number 8192, outside"},
  {f_hole, "block 3 is missing"},
  {f_twice, "used by inode"},
  {f_meta_free, "bitmap: block 7 is not for data"},
  {f_used_free, "but marked free"},
  {f_leak, "bitmap: block 8191 is marked used, but nobody"},
  {f_root, "the root is no directory"},
  {f_dot, ": . is inode 1"},
  {f_dotdot, ": .. is inode"},
  {f_nodot, ". or .. is missing"},
  {f_dotname, "entry 0 is called x"},
  {f_slash, "no proper name"},
  {f_samename, "the name two stands there twice"},
  {f_wild_inum, "does not exist"},
  {f_free_inum, "inode 500, which is free"},
  {f_lost, "cannot be reached"},
  {f_lostdir, "cannot be reached"},
  {f_twodirs, "which has a name already"},
  {f_dirsize, "is no multiple of 16"},
};
// clang-format on

static void
test_faults(void **state)
{
  for(u32 i = 0; i < sizeof(plants) / sizeof(plants[0]); i++) {
    copy_image(state);
    plants[i].plant();
    if(check_disk() == 0 || strstr(faults, plants[i].line) == 0)
      fail_msg("planted fault %u: expected '%s', came:\n%s", i, plants[i].line, faults);
  }
}

// A committed log is replayed before the check, as a mount does it.
static void
test_log(void **state)
{
  (void)state;
  u32 b = super()->inodestart + big() / (u32)IPB;
  memmove(disk + (size_t)(super()->logstart + 1) * BSIZE, disk + (size_t)b * BSIZE, BSIZE);
  memset(disk + (size_t)b * BSIZE, 0xff, BSIZE);
  assert_int_not_equal(check_disk(), 0);
  loghead()[0] = 1;
  loghead()[1] = (int)b;
  assert_int_equal(check_disk(), 0);
}

// Deleted while open at a power cut: legal, the mount frees it.
static void
test_orphan(void **state)
{
  (void)state;
  u32 inum = big();
  entry(ROOTINO, "big")->inum = 0;
  ino(inum)->nlink = 0;
  assert_int_equal(check_disk(), 0);
}

// Wild bytes anywhere never bring the checker down (run under ASan).
static void
test_noise(void **state)
{
  u32 x = 12345, meta = (super()->bmapstart + 40) * BSIZE;

  for(int round = 0; round < 300; round++) {
    copy_image(state);
    for(int i = 0; i < 20; i++) {
      x = x * 1664525 + 1013904223;
      u32 off = (x >> 4) % (meta - 4 * BSIZE) + 4 * BSIZE;
      disk[off] ^= (u8)(x >> 24);
    }
    check_disk();
  }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup(test_sound, copy_image),
    cmocka_unit_test(test_faults),
    cmocka_unit_test_setup(test_log, copy_image),
    cmocka_unit_test_setup(test_orphan, copy_image),
    cmocka_unit_test_setup(test_noise, copy_image),
  };
  return cmocka_run_group_tests(tests, make_image, free_image);
}
