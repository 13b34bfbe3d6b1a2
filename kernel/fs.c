// File system: blocks, inodes, directories, paths.  The format is uapi/fs.h's.
//
// Called by file.c, sysfile.c and exec.c in process context; calls bio.c and
// log.c.  Everything that changes the disk, and iput, which may free an inode,
// stands between begin_op and end_op of the caller.
//
// An inode in memory: namei, dirlookup, ialloc give a reference; ilock locks it
// and reads it from disk; iunlock; iput gives the reference back, and frees the
// inode on disk if it was the last and no name is left.  Between ilock and
// iunlock the fields are valid and the caller's alone.  itable.lock guards the
// references and which entry holds which inode.
//
// What a disk image holds is not trusted: block numbers outside of the data
// area read as errors, an inode that makes no sense shows type 0, which every
// caller refuses.  When blocks, inodes or entries of a table run out, the call
// fails and what it had taken is given back in the same transaction.

#include "defs.h"
#include "debug.h"
#include "buf.h"
#include "file.h"
#include "proc.h"
#include "uapi/stat.h"
#include "uapi/sys.h"

static struct superblock sb; // constant after fs_init
static u32 datastart;        // first data block

static struct {
  struct spinlock lock;
  struct inode inode[NINODE];
} itable;

// ---- blocks -----------------------------------------------------------------

static int
in_data(u32 b)
{
  return b >= datastart && b < sb.size;
}

static void
zero_block(u32 dev, u32 b)
{
  struct buf *bp = bread(dev, b);

  memset(bp->data, 0, BSIZE);
  log_write(bp);
  brelse(bp);
}

// First clear bit from lo up to hi, or hi.
static u32
clear_bit(const u8 *map, u32 lo, u32 hi)
{
  u32 i = lo;

  while(i < hi && (map[i / 8] >> i % 8 & 1))
    i += i % 8 == 0 && map[i / 8] == 0xff ? 8 : 1;
  return i < hi ? i : hi;
}

// A free data block, zeroed and now in use; 0 if the disk is full.
static u32
balloc(u32 dev)
{
  if(fail_now())
    return 0;
  for(u32 b0 = datastart - datastart % BPB; b0 < sb.size; b0 += BPB) {
    u32 lo = b0 < datastart ? datastart - b0 : 0;
    u32 hi = sb.size - b0 < BPB ? sb.size - b0 : BPB;
    struct buf *bp = bread(dev, BBLOCK(b0, sb));
    u32 i = clear_bit(bp->data, lo, hi);
    if(i < hi) {
      bp->data[i / 8] |= 1 << i % 8;
      log_write(bp);
      brelse(bp);
      zero_block(dev, b0 + i);
      return b0 + i;
    }
    brelse(bp);
  }
  return 0;
}

// Only a bad image has a file with a block outside of the data area, or one
// that is free already: then there is nothing to do.
static void
bfree(u32 dev, u32 b)
{
  if(!in_data(b))
    return;
  struct buf *bp = bread(dev, BBLOCK(b, sb));
  bp->data[b % BPB / 8] &= ~(1 << b % 8);
  log_write(bp);
  brelse(bp);
}

// ---- inodes -----------------------------------------------------------------

static struct dinode *
dinode_at(struct buf *bp, u32 inum)
{
  return (struct dinode *)bp->data + inum % IPB;
}

// A reference to inode inum, not locked, not read; 0 if the table is full.
static struct inode *
iget(u32 dev, u32 inum)
{
  struct inode *empty = 0;

  acquire(&itable.lock);
  for(struct inode *ip = itable.inode; ip < itable.inode + NINODE; ip++) {
    if(ip->ref > 0 && ip->dev == dev && ip->inum == inum) {
      ip->ref++;
      release(&itable.lock);
      return ip;
    }
    if(empty == 0 && ip->ref == 0)
      empty = ip;
  }
  if(empty && fail_now())
    empty = 0;
  if(empty) {
    empty->dev = dev;
    empty->inum = inum;
    empty->ref = 1;
    empty->valid = 0;
  }
  release(&itable.lock);
  return empty;
}

// Set the type of an inode on disk; from 0, clear the rest.
static void
set_type(u32 dev, u32 inum, short type)
{
  struct buf *bp = bread(dev, IBLOCK(inum, sb));
  struct dinode *dip = dinode_at(bp, inum);

  memset(dip, 0, sizeof(*dip));
  dip->type = type;
  log_write(bp);
  brelse(bp);
}

// First free inode of the block that holds inum, from inum on; takes it.
// 0: there is none.
static u32
take_inode(u32 dev, u32 inum, short type)
{
  struct buf *bp = bread(dev, IBLOCK(inum, sb));
  u32 end = (inum / IPB + 1) * IPB;

  for(; inum < end && inum < sb.ninodes; inum++) {
    struct dinode *dip = dinode_at(bp, inum);
    if(dip->type == 0) {
      memset(dip, 0, sizeof(*dip));
      dip->type = type;
      log_write(bp);
      brelse(bp);
      return inum;
    }
  }
  brelse(bp);
  return 0;
}

// What the disk has left, and the inodes in memory.  Not one instant: others
// may be at work.
void
fs_counts(struct kcounts *c)
{
  c->blocks_total = sb.size - datastart;
  for(u32 b = datastart; b < sb.size;) {
    struct buf *bp = bread(ROOTDEV, BBLOCK(b, sb));
    do
      c->blocks_free += !(bp->data[b % BPB / 8] >> b % 8 & 1);
    while(++b < sb.size && b % BPB);
    brelse(bp);
  }
  c->dinodes_total = sb.ninodes - 1; // 0 is no inode
  for(u32 i = 1; i < sb.ninodes;) {
    struct buf *bp = bread(ROOTDEV, IBLOCK(i, sb));
    do
      c->dinodes_free += dinode_at(bp, i)->type == 0;
    while(++i < sb.ninodes && i % IPB);
    brelse(bp);
  }
  acquire(&itable.lock);
  for(struct inode *ip = itable.inode; ip < itable.inode + NINODE; ip++)
    c->inodes += ip->ref > 0;
  release(&itable.lock);
}

// A new inode with no name yet, not locked.  0 if there is none on the disk or
// the table is full.
struct inode *
ialloc(u32 dev, short type)
{
  u32 inum = 0;

  if(fail_now())
    return 0;
  for(u32 i = 1; inum == 0 && i < sb.ninodes; i = (i / IPB + 1) * IPB)
    inum = take_inode(dev, i, type);
  if(inum == 0)
    return 0;
  struct inode *ip = iget(dev, inum);
  if(ip == 0)
    set_type(dev, inum, 0);
  return ip;
}

// Write a changed inode to disk.  Caller holds ip->lock.
void
iupdate(struct inode *ip)
{
  struct buf *bp = bread(ip->dev, IBLOCK(ip->inum, sb));
  struct dinode *dip = dinode_at(bp, ip->inum);

  dip->type = ip->type;
  dip->major = ip->major;
  dip->minor = ip->minor;
  dip->nlink = ip->nlink;
  dip->size = ip->size;
  memmove(dip->addrs, ip->addrs, sizeof(ip->addrs));
  log_write(bp);
  brelse(bp);
}

struct inode *
idup(struct inode *ip)
{
  acquire(&itable.lock);
  ASSERT(ip->ref > 0);
  ip->ref++;
  release(&itable.lock);
  return ip;
}

// Read an inode from disk.  Caller holds ip->lock.
static void
iread(struct inode *ip)
{
  struct buf *bp = bread(ip->dev, IBLOCK(ip->inum, sb));
  const struct dinode *dip = dinode_at(bp, ip->inum);

  ip->type = dip->type;
  ip->major = dip->major;
  ip->minor = dip->minor;
  ip->nlink = dip->nlink;
  ip->size = dip->size;
  memmove(ip->addrs, dip->addrs, sizeof(ip->addrs));
  brelse(bp);
  if(ip->type < T_DIR || ip->type > T_DEV || ip->nlink < 0 || ip->size > MAXFILE * BSIZE)
    ip->type = 0; // a bad image: nobody may use it
  ip->valid = 1;
}

// Lock an inode and see to it that its fields are valid.
void
ilock(struct inode *ip)
{
  if(ip == 0 || ip->ref < 1)
    panic("fs: ilock without a reference");
  acquiresleep(&ip->lock);
  if(!ip->valid)
    iread(ip);
}

void
iunlock(struct inode *ip)
{
  if(!holdingsleep(&ip->lock))
    panic("fs: iunlock without lock");
  releasesleep(&ip->lock);
}

// Free a nameless inode and its blocks.  The caller's reference is the only
// one, and without a name nobody can get another; the lock is for him who gets
// the inode anew as soon as its type is 0.
static void
ifree(struct inode *ip)
{
  acquiresleep(&ip->lock);
  itrunc(ip);
  ip->type = 0;
  iupdate(ip);
  ip->valid = 0;
  releasesleep(&ip->lock);
}

// Give a reference back.  In a transaction, ip not locked by the caller.  Freed
// once, it may be another's file by now, which had come and lost its name before
// we are back: then we are its last owner too, so look again.
void
iput(struct inode *ip)
{
  acquire(&itable.lock);
  ASSERT(ip->ref > 0);
  while(ip->ref == 1 && ip->valid && ip->nlink == 0 && ip->type != 0) {
    release(&itable.lock);
    ifree(ip);
    acquire(&itable.lock);
  }
  ip->ref--;
  release(&itable.lock);
}

void
iunlockput(struct inode *ip)
{
  iunlock(ip);
  iput(ip);
}

void
stati(struct inode *ip, struct stat *st)
{
  st->type = ip->type;
  st->dev = (int)ip->dev;
  st->ino = ip->inum;
  st->nlink = ip->nlink;
  st->size = ip->size;
}

// ---- contents -----------------------------------------------------------------

// Block number of a file's bn-th indirect block; as bmap.
static u32
bmap_indirect(struct inode *ip, u32 bn, int alloc)
{
  u32 ind = ip->addrs[NDIRECT];
  int fresh = ind == 0;

  if(fresh && (!alloc || (ind = balloc(ip->dev)) == 0))
    return 0;
  if(!in_data(ind))
    return 0;
  struct buf *bp = bread(ip->dev, ind);
  u32 *slot = (u32 *)bp->data + bn, b = *slot;
  if(b == 0 && alloc && (b = balloc(ip->dev)) != 0) {
    *slot = b;
    log_write(bp);
  }
  brelse(bp);
  if(fresh && b == 0) {
    bfree(ip->dev, ind);
    ind = 0;
  }
  ip->addrs[NDIRECT] = ind;
  return in_data(b) ? b : 0;
}

// Block number of the bn-th block of a file, bn < MAXFILE.  alloc: a missing
// block is made, and the caller must iupdate.  0: missing, or the disk is full.
static u32
bmap(struct inode *ip, u32 bn, int alloc)
{
  if(bn >= NDIRECT)
    return bmap_indirect(ip, bn - NDIRECT, alloc);
  if(ip->addrs[bn] == 0 && alloc)
    ip->addrs[bn] = balloc(ip->dev);
  return in_data(ip->addrs[bn]) ? ip->addrs[bn] : 0;
}

// Free all of a file's blocks.  Caller holds ip->lock.
void
itrunc(struct inode *ip)
{
  u32 ind = ip->addrs[NDIRECT];

  for(u32 i = 0; i < NDIRECT; i++)
    bfree(ip->dev, ip->addrs[i]);
  if(in_data(ind)) {
    struct buf *bp = bread(ip->dev, ind);
    for(u32 i = 0; i < NINDIRECT; i++)
      bfree(ip->dev, ((u32 *)bp->data)[i]);
    brelse(bp);
    bfree(ip->dev, ind);
  }
  memset(ip->addrs, 0, sizeof(ip->addrs));
  ip->size = 0;
  iupdate(ip);
}

// Read up to n bytes from offset off; caller holds ip->lock.  Returns the
// count, 0 at the end, -1 if a block is missing (a bad image).
int
readi(struct inode *ip, char *dst, u32 off, u32 n)
{
  u32 done = 0;

  if(off >= ip->size)
    return 0;
  if(n > ip->size - off)
    n = ip->size - off;
  while(done < n) {
    u32 at = (off + done) % BSIZE;
    u32 m = n - done < BSIZE - at ? n - done : BSIZE - at;
    u32 b = bmap(ip, (off + done) / BSIZE, 0);
    if(b == 0)
      return done ? (int)done : -1;
    struct buf *bp = bread(ip->dev, b);
    memmove(dst + done, bp->data + at, m);
    brelse(bp);
    done += m;
  }
  return (int)done;
}

// Write up to n bytes at offset off, at most the file's size; caller holds
// ip->lock.  Returns the count, less than n if the disk is full or the file at
// its largest, -1 if nothing could be written.
int
writei(struct inode *ip, const char *src, u32 off, u32 n)
{
  u32 done = 0, max = MAXFILE * BSIZE;

  if(n == 0)
    return 0;
  if(off > ip->size)
    return -1;
  if(n > max - off)
    n = max - off;
  while(done < n) {
    u32 at = (off + done) % BSIZE;
    u32 m = n - done < BSIZE - at ? n - done : BSIZE - at;
    u32 b = bmap(ip, (off + done) / BSIZE, 1);
    if(b == 0)
      break;
    struct buf *bp = bread(ip->dev, b);
    memmove(bp->data + at, src + done, m);
    log_write(bp);
    brelse(bp);
    done += m;
  }
  if(off + done > ip->size) {
    ip->size = off + done;
    iupdate(ip);
  }
  return done ? (int)done : -1;
}

// ---- directories -----------------------------------------------------------------

// Entry of a name in one block of a directory, n if it is not there.  *empty
// becomes the first free one if it was n.
static u32
scan_block(const struct dirent *de, u32 n, const char *name, u32 *empty)
{
  for(u32 i = 0; i < n; i++) {
    if(de[i].inum && strncmp(name, de[i].name, DIRSIZ) == 0)
      return i;
    if(de[i].inum == 0 && *empty == n)
      *empty = i;
  }
  return n;
}

// Inode number of a name, and in *off where its entry stands; 0 if there is
// none, and in *off where there is room for it.  Caller holds dp->lock.
static u32
find_entry(struct inode *dp, const char *name, u32 *off)
{
  const u32 desize = sizeof(struct dirent);

  *off = dp->size;
  for(u32 o = 0; o < dp->size; o += BSIZE) {
    u32 n = (dp->size - o < BSIZE ? dp->size - o : BSIZE) / desize, empty = n;
    u32 b = bmap(dp, o / BSIZE, 0);
    if(b == 0)
      continue; // a bad image
    struct buf *bp = bread(dp->dev, b);
    const struct dirent *de = (const struct dirent *)bp->data;
    u32 i = scan_block(de, n, name, &empty);
    u32 inum = i < n ? de[i].inum : 0;
    brelse(bp);
    if(inum) {
      *off = o + i * desize;
      return inum;
    }
    if(empty < n && *off == dp->size)
      *off = o + empty * desize;
  }
  return 0;
}

// Look a name up; caller holds dp->lock.  A reference to its inode, and in
// *off, unless off is 0, where the entry stands.  0: no such name, or the inode
// table is full.  In a removed directory there is nothing, not even "..", which
// may be another's by now.
struct inode *
dirlookup(struct inode *dp, const char *name, u32 *off)
{
  u32 at, inum = dp->nlink > 0 ? find_entry(dp, name, &at) : 0;

  if(inum == 0 || inum >= sb.ninodes)
    return 0;
  if(off)
    *off = at;
  return iget(dp->dev, inum);
}

// Enter a name; caller holds dp->lock.  -1 if the name is taken, the directory
// removed or at its largest, or the disk full.
int
dirlink(struct inode *dp, const char *name, u32 inum)
{
  struct dirent de = {.inum = (ushort)inum};
  u32 off;

  if(dp->nlink < 1 || find_entry(dp, name, &off))
    return -1;
  strncpy(de.name, name, DIRSIZ);
  return writei(dp, (const char *)&de, off, sizeof(de)) == sizeof(de) ? 0 : -1;
}

// ---- paths -----------------------------------------------------------------

// Copy the first component of path to name, cut to DIRSIZ bytes and padded
// with zeros.  The rest of the path without leading slashes, or 0 if there was
// no component.
static const char *
first_component(const char *path, char *name)
{
  while(*path == '/')
    path++;
  if(*path == 0)
    return 0;
  memset(name, 0, DIRSIZ);
  for(u32 i = 0; *path && *path != '/'; i++, path++)
    if(i < DIRSIZ)
      name[i] = *path;
  while(*path == '/')
    path++;
  return path;
}

// Follow path: to its end, or, parent, to the directory of its last component,
// which is left in name.  0: not there, not a directory, or the table is full.
static struct inode *
follow(const char *path, int parent, char *name)
{
  struct inode *ip = *path == '/' ? iget(ROOTDEV, ROOTINO) : idup(myproc()->cwd);

  while(ip && (path = first_component(path, name)) != 0) {
    ilock(ip);
    if(ip->type != T_DIR) {
      iunlockput(ip);
      return 0;
    }
    if(parent && *path == 0) {
      iunlock(ip);
      return ip;
    }
    struct inode *next = dirlookup(ip, name, 0);
    iunlockput(ip);
    ip = next;
  }
  if(ip && parent) { // "" and "/" have no last component
    iput(ip);
    return 0;
  }
  return ip;
}

// The inode of a path: a reference, not locked.  In a transaction.
struct inode *
namei(const char *path)
{
  char name[DIRSIZ];

  return follow(path, 0, name);
}

// The directory of a path's last component, which goes to name[DIRSIZ].
struct inode *
nameiparent(const char *path, char *name)
{
  return follow(path, 1, name);
}

// ---- mount -----------------------------------------------------------------

static u32
blocks_for(u32 items, u32 per_block)
{
  return items / per_block + (items % per_block != 0);
}

// What is wrong with the superblock, 0 if nothing.  No sum here can wrap:
// what is added is known to be at most size, which is at most FSMAXSIZE.
static const char *
super_fault(void)
{
  if(sb.size > disk_blocks() || sb.size > FSMAXSIZE)
    return "size is larger than the disk, or than allowed";
  if(sb.nlog < MAXOPBLOCKS + 1 || sb.nlog > sb.size)
    return "nlog";
  if(sb.logstart < 2 || sb.logstart > sb.size)
    return "logstart";
  if(sb.ninodes < ROOTINO + 1 || sb.ninodes > 65536)
    return "ninodes";
  if(sb.inodestart < sb.logstart + sb.nlog || sb.inodestart > sb.size)
    return "inodestart";
  if(sb.bmapstart < sb.inodestart + blocks_for(sb.ninodes, IPB) || sb.bmapstart > sb.size)
    return "bmapstart";
  if(sb.nblocks == 0 || sb.nblocks > sb.size ||
     sb.size - sb.nblocks < sb.bmapstart + blocks_for(sb.size, BPB))
    return "nblocks";
  return 0;
}

static int
read_super(u32 dev)
{
  if(disk_blocks() < 2) {
    cprintf("fs: the disk is too small for a superblock: not mounted\n");
    return -1;
  }
  struct buf *bp = bread(dev, 1);
  memmove(&sb, bp->data, sizeof(sb));
  brelse(bp);
  const char *fault = super_fault();
  if(fault) {
    cprintf("fs: superblock, %s: not mounted\n", fault);
    return -1;
  }
  datastart = sb.size - sb.nblocks;
  return 0;
}

// Free the inode if it has a type and no link: a file that was deleted while
// open when the power went.
static void
free_if_orphan(u32 dev, u32 inum)
{
  struct buf *bp = bread(dev, IBLOCK(inum, sb));
  const struct dinode *dip = dinode_at(bp, inum);
  int orphan = dip->type != 0 && dip->nlink == 0;

  brelse(bp);
  if(!orphan)
    return;
  begin_op();
  struct inode *ip = iget(dev, inum);
  ilock(ip);
  iunlockput(ip);
  end_op();
}

static int
root_is_dir(u32 dev)
{
  struct inode *ip = iget(dev, ROOTINO);

  ilock(ip);
  int ok = ip->type == T_DIR && ip->nlink > 0;
  iunlock(ip);
  begin_op();
  iput(ip);
  end_op();
  if(!ok)
    cprintf("fs: inode %d is not the root directory: not mounted\n", ROOTINO);
  return ok;
}

// Mount the root disk.  In the first process, before it uses any file.
void
fs_init(void)
{
  initlock(&itable.lock, "itable");
  for(u32 i = 0; i < NINODE; i++)
    initsleeplock(&itable.inode[i].lock, "inode");
  if(read_super(ROOTDEV) < 0 || log_init(ROOTDEV, &sb) < 0 || !root_is_dir(ROOTDEV))
    panic("no root");
  for(u32 inum = 1; inum < sb.ninodes; inum++)
    free_if_orphan(ROOTDEV, inum);
}
