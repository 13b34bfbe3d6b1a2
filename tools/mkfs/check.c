// Check a file system image: mkfs -c, and the tests that need to know whether
// an image is sound.
//
// It works on the image in memory and in passes: superblock, log (replayed if
// committed), inodes and their blocks, the bitmap both ways, directories,
// reachability from the root, link counts.  Later passes trust what earlier
// ones found sound, so a superblock fault ends the check.
//
// Legal, and so no fault: an inode with type and without any name or link, a
// file that was deleted while open when the power went; a mount frees it.

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mkfs.h"

// One per check.
struct check {
  u8 *img;
  u32 len;
  struct superblock sb;
  u32 datastart; // first data block
  u32 *owner;    // per block: inode that uses it, 0 free
  u32 *parent;   // per inode: directory that names it, 0 not seen
  u32 *refs;     // per inode: entries that refer to it, without "."
  u8 *state;     // per inode: see enum
  int nfault;
  void (*fault)(const char *);
};

enum {
  UNSEEN,
  QUEUED
};

__attribute__((format(printf, 2, 3))) static void
bad(struct check *c, const char *fmt, ...)
{
  char line[200];
  va_list ap;

  va_start(ap, fmt);
  vsnprintf(line, sizeof(line), fmt, ap);
  va_end(ap);
  c->nfault++;
  c->fault(line);
}

static u8 *
block(struct check *c, u32 b)
{
  return c->img + (size_t)b * BSIZE;
}

static struct dinode *
inode(struct check *c, u32 inum)
{
  return (struct dinode *)block(c, IBLOCK(inum, c->sb)) + inum % IPB;
}

static u32
blocks(u32 items, u32 per_block)
{
  return items / per_block + (items % per_block != 0);
}

// 0 if the rest of the check can trust the superblock.
static int
check_super(struct check *c)
{
  if(c->len < 2 * BSIZE) {
    bad(c, "image: %u bytes hold no superblock", c->len);
    return -1;
  }
  memmove(&c->sb, block(c, 1), sizeof(c->sb));
  const struct superblock *sb = &c->sb;
  u32 nimg = c->len / BSIZE;
  if(sb->size > nimg || sb->size > FSMAXSIZE)
    bad(c, "superblock: size %u, but the image has %u blocks and the limit is %u", sb->size, nimg, FSMAXSIZE);
  else if(sb->nlog < MAXOPBLOCKS + 1 || sb->nlog > sb->size)
    bad(c, "superblock: nlog %u, at least %u are needed", sb->nlog, MAXOPBLOCKS + 1);
  else if(sb->logstart < 2 || sb->logstart > sb->size)
    bad(c, "superblock: logstart %u", sb->logstart);
  else if(sb->ninodes < ROOTINO + 1 || sb->ninodes > MAXINUM + 1)
    bad(c, "superblock: ninodes %u", sb->ninodes);
  else if(sb->inodestart < sb->logstart + sb->nlog || sb->inodestart > sb->size)
    bad(c, "superblock: inodestart %u", sb->inodestart);
  else if(sb->bmapstart < sb->inodestart + blocks(sb->ninodes, IPB) || sb->bmapstart > sb->size)
    bad(c, "superblock: bmapstart %u", sb->bmapstart);
  else if(sb->nblocks == 0 || sb->nblocks > sb->size ||
          sb->size - sb->nblocks < sb->bmapstart + blocks(sb->size, BPB))
    bad(c, "superblock: nblocks %u", sb->nblocks);
  c->datastart = sb->size - sb->nblocks;
  return c->nfault ? -1 : 0;
}

// Replay the log, if it was committed.
static int
check_log(struct check *c)
{
  const int *head = (const int *)block(c, c->sb.logstart);
  int n = head[0];
  int max = c->sb.nlog - 1 < NINDIRECT - 1 ? (int)c->sb.nlog - 1 : (int)NINDIRECT - 1;

  if(n < 0 || n > max) {
    bad(c, "log: %d blocks, at most %d fit", n, max);
    return -1;
  }
  for(int i = 0; i < n; i++)
    if((u32)head[1 + i] < c->sb.inodestart || (u32)head[1 + i] >= c->sb.size) {
      bad(c, "log: entry %d is for block %d", i, head[1 + i]);
      return -1;
    }
  for(int i = 0; i < n; i++)
    memmove(block(c, (u32)head[1 + i]), block(c, c->sb.logstart + 1 + (u32)i), BSIZE);
  return 0;
}

// Inode inum uses block b, as its at-th.
static void
own(struct check *c, u32 inum, u32 b, u32 at)
{
  if(b < c->datastart || b >= c->sb.size)
    bad(c, "inode %u: its block %u is number %u, outside the data area", inum, at, b);
  else if(c->owner[b])
    bad(c, "inode %u: its block %u is number %u, used by inode %u too", inum, at, b, c->owner[b]);
  else
    c->owner[b] = inum;
}

// The number of inode dip's bn-th block, 0 if there is none or it is out of range.
static u32
nth_block(struct check *c, const struct dinode *dip, u32 bn)
{
  u32 b = dip->addrs[bn < NDIRECT ? bn : NDIRECT];
  if(bn >= NDIRECT) {
    if(b < c->datastart || b >= c->sb.size)
      return 0;
    b = ((u32 *)block(c, b))[bn - NDIRECT];
  }
  return b >= c->datastart && b < c->sb.size ? b : 0;
}

// Each block up to the size must be there, none behind it.
static void
check_blocks(struct check *c, u32 inum)
{
  const struct dinode *dip = inode(c, inum);
  u32 need = blocks(dip->size, BSIZE);
  u32 ind = dip->addrs[NDIRECT];
  const u32 *more = 0;

  if(ind) {
    own(c, inum, ind, NDIRECT);
    if(need <= NDIRECT)
      bad(c, "inode %u: size %u, but it has an indirect block", inum, dip->size);
    if(ind >= c->datastart && ind < c->sb.size)
      more = (const u32 *)block(c, ind);
  }
  for(u32 bn = 0; bn < MAXFILE; bn++) {
    u32 b = bn < NDIRECT ? dip->addrs[bn] : more ? more[bn - NDIRECT]
                                                 : 0;
    if(b)
      own(c, inum, b, bn);
    if((b != 0) != (bn < need)) {
      bad(c, "inode %u: size %u, but block %u is %s", inum, dip->size, bn, b ? "there" : "missing");
      return;
    }
  }
}

static void
check_inodes(struct check *c)
{
  for(u32 i = 1; i < c->sb.ninodes; i++) {
    const struct dinode *dip = inode(c, i);
    if(dip->type == 0)
      continue;
    if(dip->type < T_DIR || dip->type > T_DEV)
      bad(c, "inode %u: type %d", i, dip->type);
    if(dip->nlink < 0)
      bad(c, "inode %u: nlink %d", i, dip->nlink);
    if(dip->size > MAXFILE * BSIZE)
      bad(c, "inode %u: size %u, the largest is %u", i, dip->size, (u32)(MAXFILE * BSIZE));
    else
      check_blocks(c, i);
  }
}

// Used and marked free loses data, free and marked used loses space.
static void
check_bitmap(struct check *c)
{
  for(u32 b = 0; b < c->sb.size; b++) {
    int marked = block(c, BBLOCK(b, c->sb))[b % BPB / 8] >> (b % 8) & 1;
    if(b < c->datastart) {
      if(!marked)
        bad(c, "bitmap: block %u is not for data, but marked free", b);
    } else if(c->owner[b] && !marked)
      bad(c, "bitmap: block %u is used by inode %u, but marked free", b, c->owner[b]);
    else if(!c->owner[b] && marked)
      bad(c, "bitmap: block %u is marked used, but nobody uses it", b);
  }
}

// One entry of directory dir.
static void
check_entry(struct check *c, u32 dir, u32 nr, const struct dirent *de)
{
  if(de->inum >= c->sb.ninodes || inode(c, de->inum)->type == 0) {
    bad(c, "directory %u: entry %.14s is inode %u, which %s", dir, de->name, de->inum,
        de->inum >= c->sb.ninodes ? "does not exist" : "is free");
    return;
  }
  int dot = strncmp(de->name, ".", DIRSIZ) == 0, dotdot = strncmp(de->name, "..", DIRSIZ) == 0;
  if(dot != (nr == 0) || dotdot != (nr == 1))
    bad(c, "directory %u: entry %u is called %.14s", dir, nr, de->name);
  if(de->name[0] == 0 || memchr(de->name, '/', strnlen(de->name, DIRSIZ)))
    bad(c, "directory %u: entry %u has no proper name", dir, nr);
  if(dot) {
    if(de->inum != dir)
      bad(c, "directory %u: . is inode %u", dir, de->inum);
    return;
  }
  c->refs[de->inum]++;
  if(dotdot) {
    if(de->inum != c->parent[dir])
      bad(c, "directory %u: .. is inode %u, but inode %u names it", dir, de->inum, c->parent[dir]);
    return;
  }
  if(inode(c, de->inum)->type == T_DIR && c->state[de->inum] == QUEUED)
    bad(c, "directory %u: entry %.14s is directory %u, which has a name already", dir, de->name, de->inum);
  if(c->state[de->inum] == UNSEEN) {
    c->state[de->inum] = QUEUED;
    c->parent[de->inum] = dir;
  }
}

static int
same_name(const struct dirent *a, const struct dirent *b)
{
  return a->inum && b->inum && strncmp(a->name, b->name, DIRSIZ) == 0;
}

static void
check_dir(struct check *c, u32 dir)
{
  const struct dinode *dip = inode(c, dir);
  u32 size = dip->size > MAXFILE * BSIZE ? 0 : dip->size;
  u32 n = size / sizeof(struct dirent);
  struct dirent *de = calloc(n + 1, sizeof(*de));

  if(de == 0)
    abort();
  if(dip->size % sizeof(*de))
    bad(c, "directory %u: size %u is no multiple of %u", dir, dip->size, (u32)sizeof(*de));
  for(u32 i = 0; i < n; i++) {
    u32 b = nth_block(c, dip, i / (u32)(BSIZE / sizeof(*de)));
    if(b)
      de[i] = *(struct dirent *)(block(c, b) + i * sizeof(*de) % BSIZE);
  }
  if(n < 2 || !de[0].inum || !de[1].inum)
    bad(c, "directory %u: . or .. is missing", dir);
  for(u32 i = 0; i < n; i++) {
    if(de[i].inum)
      check_entry(c, dir, i, &de[i]);
    for(u32 k = 0; k < i; k++)
      if(same_name(&de[i], &de[k]))
        bad(c, "directory %u: the name %.14s stands there twice", dir, de[i].name);
  }
  free(de);
}

// Walk all directories from the root down, nearest first.
static void
check_tree(struct check *c)
{
  u32 *queue = calloc(c->sb.ninodes, sizeof(u32));
  u8 *queued = calloc(c->sb.ninodes, 1);
  u32 head = 0, tail = 0;

  if(queue == 0 || queued == 0)
    abort();
  c->parent[ROOTINO] = ROOTINO;
  c->state[ROOTINO] = QUEUED;
  queue[tail++] = ROOTINO;
  queued[ROOTINO] = 1;
  while(head < tail) {
    check_dir(c, queue[head++]);
    for(u32 i = 1; i < c->sb.ninodes; i++)
      if(c->state[i] == QUEUED && !queued[i] && inode(c, i)->type == T_DIR) {
        queue[tail++] = i;
        queued[i] = 1;
      }
  }
  free(queue);
  free(queued);
}

static void
check_links(struct check *c)
{
  for(u32 i = 1; i < c->sb.ninodes; i++) {
    const struct dinode *dip = inode(c, i);
    if(dip->type == 0)
      continue;
    if(c->state[i] == UNSEEN && dip->nlink != 0)
      bad(c, "inode %u: cannot be reached from the root", i);
    else if((u32)dip->nlink != c->refs[i])
      bad(c, "inode %u: nlink %d, but %u entries refer to it", i, dip->nlink, c->refs[i]);
  }
}

int
fscheck(u8 *img, u32 len, void (*fault)(const char *))
{
  struct check c = {.img = img, .len = len, .fault = fault};

  if(check_super(&c) < 0 || check_log(&c) < 0)
    return c.nfault;
  c.owner = calloc(c.sb.size, sizeof(u32));
  c.parent = calloc(c.sb.ninodes, sizeof(u32));
  c.refs = calloc(c.sb.ninodes, sizeof(u32));
  c.state = calloc(c.sb.ninodes, 1);
  if(!c.owner || !c.parent || !c.refs || !c.state)
    abort();
  check_inodes(&c);
  check_bitmap(&c);
  if(inode(&c, ROOTINO)->type != T_DIR)
    bad(&c, "inode %u: the root is no directory", ROOTINO);
  else {
    check_tree(&c);
    check_links(&c);
  }
  free(c.owner);
  free(c.parent);
  free(c.refs);
  free(c.state);
  return c.nfault;
}
