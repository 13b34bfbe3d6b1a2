// What a power cut leaves behind: replay a log of disk writes, stop after each
// one, and look at the disk as the next boot would find it.
//
//   fscheck [-s SEED] [-l] [-r] [-n IMAGES -o DIR] START LOG
//
// START is the disk before the first write, LOG what QEMU's blklogwrites wrote.
// For tests/guest/test_powercut.py.  Each prefix of LOG is one power cut:
//
//   recovered  a model of the kernel's mount, written from the format alone: the
//              committed log is replayed, nameless inodes are freed.  Then all that
//              mkfs -c checks must hold, and each file that START did not have
//              must hold what tests/guest/prog/crash.c writes;
//   control    the same prefix with the log thrown away: faults are expected;
//   lossy      a drive with a write cache, which may lose any of the writes since
//              the last flush: three random choices for each prefix, then as for
//              recovered.  With -l flushes count for nothing: the control of that.
//
// With -r START is itself what a power cut left, and LOG what the kernel's recovery
// wrote when the power went again: each prefix must lead to what START leads to.
//
// Prints the first ten faults of each kind to stderr, and the counts as JSON.
// -o DIR: IMAGES prefixes spread over the log are left there as NUMBER.cut, beside
// the model's idea of each after recovery, NUMBER.model; and the last as end.cut.
// Exit: 0 the log was replayed, whatever was found, 2 it could not be.

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../tools/mkfs/mkfs.h"
#include "../guest/prog/crash.h"

#define SECTOR       512
#define LOGMAGIC     0x6a736677736872ull
#define FLAG_FLUSH   1
#define FLAG_DISCARD 4
#define MAXLATE      512                  // blocks in the cache of the lossy drive
#define MAXUNDO      (2 * MAXLATE + 4096) // blocks that one look at the disk may change
#define NLOSSY       3                    // choices for each prefix

// One entry of the log, on disk; then len bytes of data from the next sector on.
struct entry {
  u64 sector, count, flags, len;
};

static u8 *disk;  // after the writes so far
static u8 *safe;  // after the last flush
static u8 *start; // before all
static u8 *goal;  // with -r: START after recovery
static u32 disk_len;
static struct superblock sb;
static int ignore_flushes;

static struct {
  u32 block;
  u8 data[BSIZE];
} undo[MAXUNDO]; // as they were before the look, oldest first
static u32 nundo;

static struct {
  u32 block;
  const u8 *data;
} late[MAXLATE]; // writes since the last flush, oldest first
static u32 nlate;

static struct {
  u32 prefixes, committed; // power cuts; of them, with a committed log
  u32 nameless, files;     // of them, with nameless inodes; files whose contents were compared
  u32 bad, control;        // unsound after recovery, without it
  u32 flushes, lossy, lossy_bad;
} count;

static char first_fault[300]; // of the disk that is being looked at

static __attribute__((format(printf, 1, 2), noreturn)) void
die(const char *fmt, ...)
{
  va_list ap;

  fputs("fscheck: ", stderr);
  va_start(ap, fmt);
  vfprintf(stderr, fmt, ap);
  va_end(ap);
  fputc('\n', stderr);
  exit(2);
}

static void
fault(const char *line)
{
  if(first_fault[0] == 0)
    snprintf(first_fault, sizeof(first_fault), "%s", line);
}

static u8 *
slurp(const char *path, size_t *len)
{
  FILE *f = fopen(path, "rb");
  if(f == 0 || fseek(f, 0, SEEK_END) < 0)
    die("%s: cannot be read", path);
  *len = (size_t)ftell(f);
  rewind(f);
  u8 *p = malloc(*len + 1);
  if(p == 0 || fread(p, 1, *len, f) != *len)
    die("%s: cannot be read", path);
  fclose(f);
  return p;
}

// ---- the disk, and how a look at it leaves no trace ------------------------

static const u8 *
block(u32 b)
{
  return disk + (size_t)b * BSIZE;
}

// A block that is going to be changed.
static u8 *
change(u32 b)
{
  if(nundo == MAXUNDO)
    die("a look at the disk changes more than %d blocks", MAXUNDO);
  undo[nundo].block = b;
  memmove(undo[nundo++].data, block(b), BSIZE);
  return disk + (size_t)b * BSIZE;
}

static void
put_back(void)
{
  while(nundo > 0) {
    nundo--;
    memmove(disk + (size_t)undo[nundo].block * BSIZE, undo[nundo].data, BSIZE);
  }
}

// ---- a model of mount ------------------------------------------------------

static u32
log_n(void)
{
  u32 n;

  memmove(&n, block(sb.logstart), sizeof(n));
  return n;
}

static void
set_log_n(u32 n)
{
  memmove(change(sb.logstart), &n, sizeof(n));
}

// A header that makes no sense is left alone, and then fscheck() reports it.
static void
replay_log(void)
{
  u32 home[BSIZE / sizeof(u32)];

  memmove(home, block(sb.logstart), sizeof(home));
  if(home[0] == 0 || home[0] >= sb.nlog || home[0] >= BSIZE / sizeof(u32))
    return;
  for(u32 i = 1; i <= home[0]; i++)
    if(home[i] < sb.inodestart || home[i] >= sb.size)
      return;
  for(u32 i = 1; i <= home[0]; i++)
    memmove(change(home[i]), block(sb.logstart + i), BSIZE);
  set_log_n(0);
}

static struct dinode
inode(u32 inum)
{
  return ((const struct dinode *)block(IBLOCK(inum, sb)))[inum % IPB];
}

static void
free_block(u32 b)
{
  if(b >= sb.size - sb.nblocks && b < sb.size)
    change(BBLOCK(b, sb))[b % BPB / 8] &= (u8) ~(1u << b % 8);
}

// Nameless inodes give back their blocks; what is left of each is its zeros.
static u32
free_nameless(void)
{
  u32 freed = 0;

  for(u32 inum = 1; inum < sb.ninodes; inum++) {
    struct dinode di = inode(inum);
    if(di.type == 0 || di.nlink != 0)
      continue;
    freed++;
    u32 more = di.addrs[NDIRECT], ind[NINDIRECT] = {0};
    if(more >= sb.size - sb.nblocks && more < sb.size)
      memmove(ind, block(more), sizeof(ind));
    for(u32 i = 0; i <= NDIRECT; i++)
      free_block(di.addrs[i]);
    for(u32 i = 0; i < NINDIRECT; i++)
      free_block(ind[i]);
    di.type = 0;
    di.size = 0;
    memset(di.addrs, 0, sizeof(di.addrs));
    ((struct dinode *)change(IBLOCK(inum, sb)))[inum % IPB] = di;
  }
  return freed;
}

// A copy of the disk as a mount leaves it.
static u8 *
recovered(void)
{
  u8 *copy = malloc(disk_len);

  if(copy == 0)
    die("no memory");
  replay_log();
  free_nameless();
  memmove(copy, disk, disk_len);
  put_back();
  return copy;
}

// ---- what must hold --------------------------------------------------------

static u32
block_of(const struct dinode *di, u32 bn)
{
  if(bn < NDIRECT)
    return di->addrs[bn];
  return ((const u32 *)block(di->addrs[NDIRECT]))[bn - NDIRECT];
}

// A file of crash.c: its records from the first to the last, all of one tag.
static void
check_contents(u32 inum, const struct dinode *di)
{
  char line[120];
  u32 tag = 0, size = sizeof(struct crashrec);

  if(di->size % size) {
    snprintf(line, sizeof(line), "file %u: size %u is no multiple of a record", inum, di->size);
    fault(line);
    return;
  }
  for(u32 i = 0; i < di->size / size; i++) {
    const u8 *p = block(block_of(di, i * size / BSIZE)) + i * size % BSIZE;
    const struct crashrec *r = (const struct crashrec *)p;
    tag = i == 0 ? r->tag : tag;
    if(r->magic == CRASH_MAGIC && r->index == i && r->tag == tag && r->sum == (r->magic ^ r->tag ^ r->index))
      continue;
    snprintf(line, sizeof(line), "file %u: record %u is %x %u %u, the file's tag is %u", inum, i, r->magic,
             r->tag, r->index, tag);
    fault(line);
    return;
  }
}

// Files that START did not have; the checker has found their blocks sound.  How
// many there are.
static u32
check_files(void)
{
  u32 files = 0;

  for(u32 inum = 1; inum < sb.ninodes; inum++) {
    struct dinode di = inode(inum);
    size_t at = (size_t)IBLOCK(inum, sb) * BSIZE + inum % IPB * sizeof(di);
    if(di.type != T_FILE || ((const struct dinode *)(start + at))->type != 0)
      continue;
    files++;
    check_contents(inum, &di);
  }
  return files;
}

// Another power cut in the middle of recovery changes nothing.
static void
check_goal(void)
{
  u32 after = sb.logstart + sb.nlog;
  char line[80];

  for(u32 b = 0; b < sb.size; b++)
    if((b < sb.logstart || b >= after) && memcmp(block(b), goal + (size_t)b * BSIZE, BSIZE) != 0) {
      snprintf(line, sizeof(line), "recovered again, block %u is not what it should be", b);
      fault(line);
      return;
    }
}

// Mount the disk as it is and check it.  *bad counts those that are unsound; the
// first ten are told: after write number when, seen how.
static void
look(u32 when, const char *how, u32 *bad)
{
  u32 files = 0;

  first_fault[0] = 0;
  replay_log();
  u32 nameless = free_nameless();
  if(fscheck(disk, disk_len, fault) == 0)
    files = check_files();
  if(goal)
    check_goal();
  if(bad == &count.bad) {
    count.nameless += nameless > 0;
    count.files += files;
  }
  if(first_fault[0] && (*bad)++ < 10)
    fprintf(stderr, "after write %u, %s: %s\n", when, how, first_fault);
}

// Would it be sound without recovery?
static void
look_without_log(void)
{
  first_fault[0] = 0;
  if(log_n())
    set_log_n(0);
  count.control += fscheck(disk, disk_len, fault) > 0;
  put_back();
}

// ---- a drive with a write cache --------------------------------------------

static u32 seed = 1;

static u32
draw(void)
{
  seed ^= seed << 13;
  seed ^= seed >> 17;
  seed ^= seed << 5;
  return seed;
}

// Is late write i on the medium?  One choice of three: all but one are lost, one
// is lost, or each is with a probability of one half.
static int
survives(u32 i, u32 choice, u32 one)
{
  if(choice == 0)
    return i == one;
  if(choice == 1)
    return i != one;
  return draw() % 2;
}

static void
look_at_lossy(u32 when)
{
  u32 choice = draw() % 3, one = draw() % nlate;

  for(u32 i = 0; i < nlate; i++)
    memmove(change(late[i].block), safe + (size_t)late[i].block * BSIZE, BSIZE);
  for(u32 i = 0; i < nlate; i++)
    if(survives(i, choice, one))
      memmove(change(late[i].block), late[i].data, BSIZE);
  count.lossy++;
  look(when, ignore_flushes ? "lossy without flushes" : "lossy", &count.lossy_bad);
  put_back();
}

// All writes so far are on the medium.
static void
flushed(void)
{
  for(u32 i = 0; i < nlate; i++)
    memmove(safe + (size_t)late[i].block * BSIZE, block(late[i].block), BSIZE);
  nlate = 0;
}

// A write reached the drive.
static void
written(u32 b, const u8 *data)
{
  if(b >= disk_len / BSIZE)
    die("the log writes block %u, the disk has %u", b, disk_len / BSIZE);
  memmove(disk + (size_t)b * BSIZE, data, BSIZE);
  if(nlate == MAXLATE || (ignore_flushes && nlate == 64)) {
    u32 oldest = late[0].block;
    memmove(safe + (size_t)oldest * BSIZE, late[0].data, BSIZE);
    memmove(late, late + 1, --nlate * sizeof(late[0]));
  }
  late[nlate].block = b;
  late[nlate++].data = data;
}

// ---- the log ---------------------------------------------------------------

static void
save(const char *dir, const char *name, const char *kind)
{
  char path[4096];

  snprintf(path, sizeof(path), "%s/%s.%s", dir, name, kind);
  FILE *f = fopen(path, "wb");
  if(f == 0 || fwrite(disk, 1, disk_len, f) != disk_len || fclose(f) != 0)
    die("%s: cannot be written", path);
}

// One power cut, after write number when.  dir: leave images there, 0: none.
static void
cut(u32 when, const char *dir)
{
  char name[16];

  snprintf(name, sizeof(name), "%06u", when);
  count.prefixes++;
  count.committed += log_n() > 0;
  look_without_log();
  if(dir)
    save(dir, name, "cut");
  look(when, "recovered", &count.bad);
  if(dir)
    save(dir, name, "model");
  put_back();
  for(u32 i = 0; i < NLOSSY && nlate > 0; i++)
    look_at_lossy(when);
}

// Keep this prefix?  About IMAGES of all are, and three of four with a committed
// log: those are the ones that the kernel has work with.
static int
wanted(u32 when, u32 every)
{
  static u32 next, kept;

  if(every == 0 || when < next || (kept % 4 != 3 && log_n() == 0))
    return 0;
  kept++;
  next = when + every;
  return 1;
}

static void
replay(const u8 *log, size_t len, u32 images, const char *dir)
{
  u64 head[4] = {0}, entries;
  size_t at = SECTOR;
  u32 when = 0;

  if(len >= SECTOR)
    memmove(head, log, sizeof(head));
  if(head[0] != LOGMAGIC || (u32)head[3] != SECTOR)
    die("this is no log of blklogwrites with sectors of %d bytes", SECTOR);
  entries = head[2];
  u32 every = images ? (u32)(entries / (images + 1)) + 1 : 0;
  for(u64 i = 0; i < entries; i++) {
    struct entry e;
    if(len - at < SECTOR)
      die("the log ends in entry %u of %u", (u32)i, (u32)entries);
    memmove(&e, log + at, sizeof(e));
    at += SECTOR;
    if((e.flags & FLAG_FLUSH) && !ignore_flushes)
      flushed();
    count.flushes += (e.flags & FLAG_FLUSH) != 0;
    if(e.count == 0 || (e.flags & FLAG_DISCARD))
      continue;
    if((len - at) / SECTOR < e.count)
      die("the log ends in the data of entry %u", (u32)i);
    for(u64 k = 0; k < e.count; k++, at += SECTOR) {
      written((u32)(e.sector + k), log + at);
      when++;
      cut(when, wanted(when, every) ? dir : 0);
    }
  }
}

static __attribute__((noreturn)) void
usage(void)
{
  fprintf(stderr, "usage: fscheck [-s SEED] [-l] [-r] [-n IMAGES -o DIR] START LOG\n");
  exit(2);
}

// The disk START, before the first write.
static void
load(const char *path, int again)
{
  size_t len;

  disk = slurp(path, &len);
  disk_len = (u32)len;
  start = slurp(path, &len);
  safe = slurp(path, &len);
  if(fscheck(safe, disk_len, fault)) // which may replay a log
    die("%s: not sound to begin with: %s", path, first_fault);
  memmove(safe, start, disk_len);
  memmove(&sb, block(1), sizeof(sb));
  if(again)
    goal = recovered();
}

// The disk after the last write, whatever became of the others.
static void
save_end(const char *dir)
{
  save(dir, "end", "cut");
  replay_log();
  free_nameless();
  save(dir, "end", "model");
}

static void
print_counts(void)
{
  printf("{\"prefixes\": %u, \"committed\": %u, \"nameless\": %u, \"files\": %u, "
         "\"bad\": %u, \"control\": %u, \"flushes\": %u, \"lossy\": %u, \"lossy_bad\": %u}\n",
         count.prefixes, count.committed, count.nameless, count.files, count.bad, count.control,
         count.flushes, count.lossy, count.lossy_bad);
}

int
main(int argc, char **argv)
{
  const char *dir = 0;
  u32 images = 0;
  int opt, again = 0;

  while((opt = getopt(argc, argv, "s:lrn:o:")) != -1) {
    if(opt == 's')
      seed = (u32)strtoul(optarg, 0, 10) * 2 + 1; // 0 would give nothing but 0
    else if(opt == 'l')
      ignore_flushes = 1;
    else if(opt == 'r')
      again = 1;
    else if(opt == 'n')
      images = (u32)strtoul(optarg, 0, 10);
    else if(opt == 'o')
      dir = optarg;
    else
      usage();
  }
  if(argc - optind != 2 || (images != 0) != (dir != 0))
    usage();
  size_t len;
  u8 *log = slurp(argv[optind + 1], &len);
  load(argv[optind], again);
  replay(log, len, images, dir);
  if(dir)
    save_end(dir);
  print_counts();
  return 0;
}
