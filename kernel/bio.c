// Buffer cache: the disk blocks in memory.
//
// Called by fs.c and log.c in process context; calls disk.c.  A block has at
// most one buffer, so the buffer's sleep-lock is the lock of the block:
//
//   bread gives a locked buffer with the block's data;
//   after changing b->data call log_write (or, in log.c, bwrite);
//   brelse when done.  Do not use the buffer after that, and do not keep it
//   longer than needed: others wait for the block.
//
// bcache.lock guards which buffer holds which block, the reference counts and
// the list, which is in order of last use: the last one free is recycled first.

#include "defs.h"
#include "debug.h"
#include "buf.h"
#include "spinlock.h"
#include "uapi/param.h"

// Each process holds at most three buffers, the log pins LOGSIZE, its commit
// uses two: so a free one is always found.
_Static_assert(NBUF >= 3 * NPROC + LOGSIZE + 2, "too few buffers");

static struct {
  struct spinlock lock;
  struct buf buf[NBUF];
  struct buf head; // list through prev and next: head.next was used last
} bcache;

static void
unlink_buf(struct buf *b)
{
  b->next->prev = b->prev;
  b->prev->next = b->next;
}

static void
make_first(struct buf *b)
{
  b->next = bcache.head.next;
  b->prev = &bcache.head;
  b->next->prev = b;
  bcache.head.next = b;
}

void
binit(void)
{
  initlock(&bcache.lock, "bcache");
  bcache.head.next = bcache.head.prev = &bcache.head;
  for(struct buf *b = bcache.buf; b < bcache.buf + NBUF; b++) {
    initsleeplock(&b->lock, "buffer");
    make_first(b);
  }
}

// The buffer that holds the block, or 0.  Caller holds bcache.lock.
static struct buf *
find(u32 dev, u32 blockno)
{
  for(struct buf *b = bcache.head.next; b != &bcache.head; b = b->next)
    if(b->dev == dev && b->blockno == blockno)
      return b;
  return 0;
}

// The buffer least recently used, now for this block.  Caller holds bcache.lock.
static struct buf *
recycle(u32 dev, u32 blockno)
{
  for(struct buf *b = bcache.head.prev; b != &bcache.head; b = b->prev)
    if(b->refcnt == 0) {
      b->dev = dev;
      b->blockno = blockno;
      b->valid = 0;
      return b;
    }
  panic("bio: no free buffer");
}

// The contents of a block, locked.  Sleeps.
struct buf *
bread(u32 dev, u32 blockno)
{
  acquire(&bcache.lock);
  struct buf *b = find(dev, blockno);
  if(b == 0)
    b = recycle(dev, blockno);
  b->refcnt++;
  release(&bcache.lock);

  acquiresleep(&b->lock);
  if(!b->valid)
    disk_rw(b);
  return b;
}

// Write a buffer to its place on the disk; returns when it is there.
void
bwrite(struct buf *b)
{
  if(!holdingsleep(&b->lock))
    panic("bio: write without lock");
  b->dirty = 1;
  disk_rw(b);
}

void
brelse(struct buf *b)
{
  if(!holdingsleep(&b->lock))
    panic("bio: release without lock");
  releasesleep(&b->lock);

  acquire(&bcache.lock);
  ASSERT(b->refcnt > 0);
  if(--b->refcnt == 0) {
    unlink_buf(b);
    make_first(b);
  }
  release(&bcache.lock);
}

// Keep a changed buffer in memory until the log has written it to its place.
void
bpin(struct buf *b)
{
  acquire(&bcache.lock);
  b->refcnt++;
  release(&bcache.lock);
}

void
bunpin(struct buf *b)
{
  acquire(&bcache.lock);
  ASSERT(b->refcnt > 0);
  b->refcnt--;
  release(&bcache.lock);
}
