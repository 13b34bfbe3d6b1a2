// Pipes: 512 bytes between a writer and a reader.
//
// file.c calls these in process context.  p->lock guards everything; a reader
// sleeps on &p->nread until there is data or no writer, a writer on &p->nwrite
// until there is room or no reader.  Bytes are copied from and to user memory
// under the spinlock: it was checked, and user pages are never taken away.

#include "defs.h"
#include "debug.h"
#include "file.h"
#include "proc.h"
#include "trace/trace.h"
#include "uapi/fcntl.h"
#include "uapi/net.h"

#define PIPESIZE  512 // a power of two: the counts below wrap
#define PIPEWHOLE 256 // a write of up to so many bytes goes in whole: lines of two writers do not mix

// One per pipe, a page from kalloc; freed when both ends are closed.
struct pipe {
  struct spinlock lock;
  u32 nread;       // [lock] bytes ever read
  u32 nwrite;      // [lock] bytes ever written
  int readopen;    // [lock] the read end is open
  int writeopen;   // [lock]
  u8 at[PIPESIZE]; // [lock] byte k is at[k % PIPESIZE]
};

// The two ends of a new pipe; -1 and nothing taken if memory or files are short.
int
pipealloc(struct file **r, struct file **w)
{
  struct pipe *p = (struct pipe *)kalloc();

  if(p == 0)
    return -1;
  if((*r = filealloc()) == 0)
    goto bad_read;
  if((*w = filealloc()) == 0)
    goto bad_write;
  memset(p, 0, sizeof(*p));
  initlock(&p->lock, "pipe");
  p->lock.why = SLEEPWHY_PIPE;
  p->readopen = p->writeopen = 1;
  (*r)->pipe = (*w)->pipe = p;
  (*r)->readable = 1;
  (*w)->writable = 1;
  (*r)->type = (*w)->type = FD_PIPE;
  return 0;

bad_write:
  fileclose(*r);
bad_read:
  kfree((char *)p);
  return -1;
}

void
pipeclose(struct pipe *p, int writable)
{
  acquire(&p->lock);
  ASSERT(writable ? p->writeopen : p->readopen);
  if(writable) {
    p->writeopen = 0;
    wakeup(&p->nread);
  } else {
    p->readopen = 0;
    wakeup(&p->nwrite);
  }
  int open = p->readopen || p->writeopen;
  release(&p->lock);
  poll_wake(p);
  if(!open)
    kfree((char *)p);
}

// Take up to n bytes.  Caller holds p->lock.
static int
take(struct pipe *p, char *dst, int n)
{
  int i = 0;

  for(; i < n && p->nread != p->nwrite; i++)
    dst[i] = p->at[p->nread++ % PIPESIZE];
  return i;
}

// Put up to n bytes.  Caller holds p->lock.
static int
put(struct pipe *p, const char *src, int n)
{
  int i = 0;

  for(; i < n && p->nwrite != p->nread + PIPESIZE; i++)
    p->at[p->nwrite++ % PIPESIZE] = src[i];
  return i;
}

// Must a write of n bytes wait, though a part of it may fit?  Caller holds p->lock.
static int
must_wait(struct pipe *p, const struct file *f, int n)
{
  return !(f->flags & O_NONBLOCK) && n <= PIPEWHOLE && PIPESIZE - (p->nwrite - p->nread) < (u32)n;
}

// At least one byte, 0 when the pipe is empty and no writer is left; -EAGAIN
// instead of waiting with O_NONBLOCK, -1 if killed.
int
piperead(struct file *f, char *dst, int n)
{
  struct pipe *p = f->pipe;

  acquire(&p->lock);
  while(p->nread == p->nwrite && p->writeopen) {
    if(myproc()->killed || (f->flags & O_NONBLOCK)) {
      release(&p->lock);
      return myproc()->killed ? -1 : -EAGAIN;
    }
    sleep(&p->nread, &p->lock);
  }
  int done = take(p, dst, n);
  wakeup(&p->nwrite);
  release(&p->lock);
  if(done)
    poll_wake(p);
  return done;
}

// All n bytes; -1 when no reader is left or the caller is killed.  With
// O_NONBLOCK as many as fit, -EAGAIN if none do.
int
pipewrite(struct file *f, const char *src, int n)
{
  struct pipe *p = f->pipe;
  int done = 0;

  acquire(&p->lock);
  for(;;) {
    if(!p->readopen || myproc()->killed) {
      release(&p->lock);
      return -1;
    }
    int m = must_wait(p, f, n) ? 0 : put(p, src + done, n - done);
    done += m;
    wakeup(&p->nread);
    if(done == n || (f->flags & O_NONBLOCK))
      break;
    if(m) { // tell pollers too before sleeping, but not under the lock: look again
      release(&p->lock);
      poll_wake(p);
      acquire(&p->lock);
    } else
      sleep(&p->nwrite, &p->lock);
  }
  release(&p->lock);
  poll_wake(p);
  return done == 0 && n > 0 ? -EAGAIN : done;
}

int
pipepoll(struct file *f)
{
  struct pipe *p = f->pipe;
  int bits = 0;

  acquire(&p->lock);
  if(f->writable)
    bits = !p->readopen ? POLLERR : p->nwrite != p->nread + PIPESIZE ? POLLOUT
                                                                     : 0;
  else {
    if(p->nread != p->nwrite)
      bits |= POLLIN;
    if(!p->writeopen)
      bits |= POLLHUP;
  }
  release(&p->lock);
  return bits;
}
