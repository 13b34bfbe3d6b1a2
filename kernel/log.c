// Log: a group of system calls changes the disk wholly or not at all.
//
// A system call that changes the file system stands between begin_op and
// end_op and calls log_write for each block it changed.  Changed blocks stay
// in the buffer cache until the last call under way ends; then, in this order:
//
//   1. their contents go to the log,
//   2. the header with their numbers goes to the log: n > 0 is the commit,
//   3. their contents go to their places,
//   4. the header goes back to n = 0.
//
// A power cut before 2 leaves the disk as before the group; after it, recovery
// repeats 3 and 4.  On disk: header { int n; int block[n] }, then n blocks.
// Each step must be on the medium before the next one begins, and 4 before 1 of
// the next group: hence the calls of disk_flush.
//
// A transaction writes at most MAXOPBLOCKS different blocks; begin_op waits
// until that many more are sure to fit.

#include "defs.h"
#include "debug.h"
#include "buf.h"
#include "spinlock.h"
#include "trace/trace.h"
#include "uapi/param.h"

// The first block of the log.
struct loghead {
  int n;
  int block[BSIZE / sizeof(int) - 1];
};
_Static_assert(sizeof(struct loghead) == BSIZE, "log header");

static struct {
  struct spinlock lock;
  u32 dev, start; // [c] where the log is
  u32 max;        // [c] blocks a group may have
  u32 calls;      // [lock] system calls under way
  int committing; // [lock] wait
  u32 n;          // [lock] blocks of the group; while committing, the committer's
  u32 block[LOGSIZE];
} log; // [c] constant after log_init

// Copy blocks to the log.
static void
write_blocks(void)
{
  for(u32 i = 0; i < log.n; i++) {
    struct buf *from = bread(log.dev, log.block[i]); // in the cache: pinned
    struct buf *to = bread(log.dev, log.start + 1 + i);
    memmove(to->data, from->data, BSIZE);
    bwrite(to);
    brelse(from);
    brelse(to);
  }
}

static void
write_head(u32 n)
{
  struct buf *b = bread(log.dev, log.start);
  struct loghead *h = (struct loghead *)b->data;

  h->n = (int)n;
  for(u32 i = 0; i < n; i++)
    h->block[i] = (int)log.block[i];
  bwrite(b);
  brelse(b);
}

// Write the blocks of the group, which are in the cache, to their places.
static void
install(void)
{
  for(u32 i = 0; i < log.n; i++) {
    struct buf *b = bread(log.dev, log.block[i]);
    bwrite(b);
    bunpin(b);
    brelse(b);
  }
}

static void
commit(void)
{
  if(log.n == 0)
    return;
  write_blocks();
  disk_flush();
  write_head(log.n);
  disk_flush(); // here it is committed
  install();
  disk_flush();
  log.n = 0;
  write_head(0);
  disk_flush(); // else the next group's blocks could meet this one's header
}

// Repeat what was committed before the power went.  Runs before any other use
// of the disk.  -1, and one line, if the log makes no sense.
static int
recover(const struct superblock *sb)
{
  struct buf *hb = bread(log.dev, log.start);
  struct loghead *h = (struct loghead *)hb->data;
  u32 n = (u32)h->n, max = NELEM(h->block);
  int ok = n <= max && n < sb->nlog;

  for(u32 i = 0; ok && i < n; i++)
    ok = (u32)h->block[i] >= sb->inodestart && (u32)h->block[i] < sb->size;
  if(!ok)
    cprintf("fs: the log's header makes no sense (n %d): not mounted\n", h->n);
  if(!ok || n == 0) {
    brelse(hb);
    return ok ? 0 : -1;
  }
  disk_flush(); // after a panic the header may be in the drive's cache only
  for(u32 i = 0; i < n; i++) {
    struct buf *from = bread(log.dev, log.start + 1 + i);
    struct buf *to = bread(log.dev, (u32)h->block[i]);
    memmove(to->data, from->data, BSIZE);
    bwrite(to);
    brelse(from);
    brelse(to);
  }
  disk_flush();
  h->n = 0;
  bwrite(hb);
  disk_flush();
  brelse(hb);
  return 0;
}

// Take the log of a file system that is being mounted; sb was checked.
// -1, and one line, if it cannot be recovered.
int
log_init(u32 dev, const struct superblock *sb)
{
  initlock(&log.lock, "log");
  log.lock.why = SLEEPWHY_LOG;
  log.dev = dev;
  log.start = sb->logstart;
  log.max = sb->nlog - 1 < LOGSIZE ? sb->nlog - 1 : LOGSIZE;
  return recover(sb);
}

// A transaction is waited for like a lock, and has its place in their order:
// before inodes.  Nobody takes this one; the lock checker is told as if.
static struct sleeplock transaction = {.name = "transaction"};

// Start a system call that changes the file system.  Sleeps until it fits.
void
begin_op(void)
{
  slock_wants(&transaction);
  acquire(&log.lock);
  while(log.committing || log.n + (log.calls + 1) * MAXOPBLOCKS > log.max)
    sleep(&log, &log.lock);
  log.calls++;
  release(&log.lock);
  slock_has(&transaction);
}

// End it.  The last of a group commits.
void
end_op(void)
{
  slock_lets_go(&transaction);
  acquire(&log.lock);
  log.calls--;
  if(log.committing)
    panic("log: end_op while committing");
  if(log.calls > 0) {
    wakeup(&log); // what this call did not use is free for others
    release(&log.lock);
    return;
  }
  log.committing = 1;
  release(&log.lock);

  commit();

  acquire(&log.lock);
  log.committing = 0;
  wakeup(&log);
  release(&log.lock);
}

// The caller has changed b->data, holds b and will brelse it: write it with
// the group.  A block counts once, however often it is written.
void
log_write(struct buf *b)
{
  acquire(&log.lock);
  if(log.calls == 0)
    panic("log: write outside of a transaction");
  u32 i = 0;
  while(i < log.n && log.block[i] != b->blockno)
    i++;
  if(i == log.n) {
    if(log.n == log.max)
      panic("log: transaction too big");
    log.block[log.n++] = b->blockno;
    bpin(b);
  }
  release(&log.lock);
}
