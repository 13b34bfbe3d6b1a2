// Open files: the table, and what read, write, close, fstat and poll do for
// each kind: pipe, file on disk, device, socket.
//
// Called by sysfile.c, poll.c, proc.c (fork, exit) and sysnet.c in process
// context, with no lock held; calls pipe.c, fs.c, the drivers in devsw and
// sock.c.  Buffers were checked by the caller and belong to its process.
//
// ftable.lock guards the reference counts alone.  A struct file whose type is
// not FD_NONE is not free even at ref 0: its last owner is still closing it.

#include "defs.h"
#include "debug.h"
#include "file.h"
#include "spinlock.h"
#include "uapi/fcntl.h"
#include "uapi/net.h"
#include "uapi/stat.h"

struct dev devsw[NDEV];

static struct {
  struct spinlock lock;
  struct file file[NFILE];
} ftable;

// Bytes of one write transaction: 3 data blocks, or 4 when it starts within
// one; their bitmap blocks, the indirect block and its bitmap, the inode.
#define WRITE_CHUNK ((MAXOPBLOCKS - 4) / 2 * BSIZE)

void
fileinit(void)
{
  initlock(&ftable.lock, "ftable");
}

// Open files, and how many of them are ends of pipes.
void
file_counts(u32 *files, u32 *pipe_ends)
{
  *files = *pipe_ends = 0;
  acquire(&ftable.lock);
  for(struct file *f = ftable.file; f < ftable.file + NFILE; f++) {
    *files += f->ref > 0 || f->type != FD_NONE;
    *pipe_ends += f->type == FD_PIPE;
  }
  release(&ftable.lock);
}

// A file with one reference and no type yet, 0 if the table is full.  The type
// is set last, when the rest is ready.
struct file *
filealloc(void)
{
  if(fail_now())
    return 0;
  acquire(&ftable.lock);
  for(struct file *f = ftable.file; f < ftable.file + NFILE; f++)
    if(f->ref == 0 && f->type == FD_NONE) {
      memset(f, 0, sizeof(*f));
      f->ref = 1;
      release(&ftable.lock);
      return f;
    }
  release(&ftable.lock);
  return 0;
}

struct file *
filedup(struct file *f)
{
  acquire(&ftable.lock);
  if(f->ref < 1)
    panic("file: dup of a closed file");
  f->ref++;
  release(&ftable.lock);
  return f;
}

static void
put_inode(struct inode *ip)
{
  begin_op();
  iput(ip);
  end_op();
}

// Give a reference back; the last one closes.  A file that never got its type is
// free as soon as the lock is: from there on it is somebody else's.
void
fileclose(struct file *f)
{
  acquire(&ftable.lock);
  if(f->ref < 1)
    panic("file: close of a closed file");
  int over = --f->ref > 0 || f->type == FD_NONE;
  release(&ftable.lock);
  if(over)
    return;

  if(f->type == FD_PIPE)
    pipeclose(f->pipe, f->writable);
  else if(f->type == FD_INODE)
    put_inode(f->ip);
  else if(f->type == FD_DEV) {
    if(devsw[f->major].close)
      devsw[f->major].close(f);
    put_inode(f->ip);
  } else if(f->type == FD_SOCK)
    sock_close(f->sock);

  acquire(&ftable.lock);
  f->type = FD_NONE;
  release(&ftable.lock);
}

// -1 for what is neither a file nor a device.
int
filestat(struct file *f, struct stat *st)
{
  if(f->type != FD_INODE && f->type != FD_DEV)
    return -1;
  ilock(f->ip);
  stati(f->ip, st);
  iunlock(f->ip);
  return 0;
}

static int
inode_read(struct file *f, char *dst, int n)
{
  ilock(f->ip);
  int r = readi(f->ip, dst, f->off, (u32)n);
  if(r > 0)
    f->off += (u32)r;
  iunlock(f->ip);
  return r;
}

// One transaction's worth; as writei.
static int
write_chunk(struct file *f, const char *src, u32 n)
{
  begin_op();
  ilock(f->ip);
  if(f->flags & O_APPEND)
    f->off = f->ip->size;
  int r = writei(f->ip, src, f->off, n);
  if(r > 0)
    f->off += (u32)r;
  iunlock(f->ip);
  end_op();
  return r;
}

// All n bytes, or as many as fit; -1 if none did.
static int
inode_write(struct file *f, const char *src, int n)
{
  int done = 0;

  while(done < n) {
    int m = n - done < WRITE_CHUNK ? n - done : WRITE_CHUNK;
    int r = write_chunk(f, src + done, (u32)m);
    if(r > 0)
      done += r;
    if(r != m)
      return done ? done : -1;
  }
  return n;
}

// Up to n bytes to dst; the count, 0 at the end, -1 or -errno.
int
fileread(struct file *f, char *dst, int n)
{
  if(!f->readable)
    return -1;
  switch(f->type) {
  case FD_PIPE:
    return piperead(f, dst, n);
  case FD_INODE:
    return inode_read(f, dst, n);
  case FD_DEV:
    return devsw[f->major].read ? devsw[f->major].read(f, dst, n) : -1;
  case FD_SOCK:
    return sock_read(f->sock, dst, n, f->flags);
  }
  return -1;
}

// The count, -1 or -errno.
int
filewrite(struct file *f, const char *src, int n)
{
  if(!f->writable)
    return -1;
  switch(f->type) {
  case FD_PIPE:
    return pipewrite(f, src, n);
  case FD_INODE:
    return inode_write(f, src, n);
  case FD_DEV:
    return devsw[f->major].write ? devsw[f->major].write(f, src, n) : -1;
  case FD_SOCK:
    return sock_write(f->sock, src, n, f->flags);
  }
  return -1;
}

// The POLL... bits that hold now.  Files on disk are always ready.
int
filepoll(struct file *f)
{
  switch(f->type) {
  case FD_PIPE:
    return pipepoll(f);
  case FD_DEV:
    return devsw[f->major].poll ? devsw[f->major].poll(f) : POLLIN | POLLOUT;
  case FD_SOCK:
    return sock_poll(f->sock);
  }
  return POLLIN | POLLOUT;
}
