// A disk block in memory.  NBUF of them, on an LRU list in bio.c.
#ifndef BUF_H
#define BUF_H

#include "sleeplock.h"
#include "uapi/fs.h"

struct buf {
  int valid;             // [l] data was read from the disk
  int dirty;             // [d] data must be written
  u32 dev, blockno;      // [b] what it holds
  struct sleeplock lock; // l: guards data
  u32 refcnt;            // [b] users, 0: may be recycled
  struct buf *prev;      // [b] LRU list, most recent first
  struct buf *next;      // [b]
  struct buf *qnext;     // [d] disk queue
  u8 data[BSIZE];        // [l]
};                       // b: bio.c's lock, d: disk.c's lock

#endif
