// System calls on files: descriptors, directory entries, open, pipe, exec.
//
// syscall.c calls these in the context of the calling process, with no lock
// held.  Every pointer is checked by argptr or argstr before its use; using it
// afterwards is safe because a process has one thread and shares no memory.
// All return -1 on any error unless said otherwise.
//
// Locks: a directory before what it contains; two inodes are held at once only
// by create and unlink.  Every way out of a transaction passes end_op.

#include "defs.h"
#include "file.h"
#include "proc.h"
#include "syscalls.h"
#include "uapi/fcntl.h"
#include "uapi/net.h"
#include "uapi/stat.h"

#define MAXLINK 32767 // nlink is a short

// ---- descriptors -----------------------------------------------------------------

// Argument n as a descriptor: its number, if fd is not 0, and its file.
int
argfd(int n, int *fd, struct file **f)
{
  int i;

  if(argint(n, &i) < 0 || i < 0 || i >= NOFILE || myproc()->ofile[i] == 0)
    return -1;
  if(fd)
    *fd = i;
  *f = myproc()->ofile[i];
  return 0;
}

// Lowest free descriptor, now for f, whose reference it takes over; -1: none.
int
fdalloc(struct file *f)
{
  struct proc *p = myproc();

  for(int fd = 0; fd < NOFILE; fd++)
    if(p->ofile[fd] == 0) {
      p->ofile[fd] = f;
      return fd;
    }
  return -1;
}

int
sys_dup(void)
{
  struct file *f;

  if(argfd(0, 0, &f) < 0)
    return -1;
  int fd = fdalloc(f);
  if(fd >= 0)
    filedup(f);
  return fd;
}

// Result of read and write for a bad buffer: these two kinds say why.
static int
bad_buffer(const struct file *f)
{
  return f->type == FD_SOCK || (f->type == FD_DEV && f->major == NETTRACE_MAJOR) ? -EFAULT : -1;
}

int
sys_read(void)
{
  struct file *f;
  char *p;
  int n;

  if(argfd(0, 0, &f) < 0 || argint(2, &n) < 0)
    return -1;
  if(argptr(1, &p, n, 1) < 0)
    return bad_buffer(f);
  return fileread(f, p, n);
}

int
sys_write(void)
{
  struct file *f;
  char *p;
  int n;

  if(argfd(0, 0, &f) < 0 || argint(2, &n) < 0)
    return -1;
  if(argptr(1, &p, n, 0) < 0)
    return bad_buffer(f);
  return filewrite(f, p, n);
}

int
sys_close(void)
{
  struct file *f;
  int fd;

  if(argfd(0, &fd, &f) < 0)
    return -1;
  myproc()->ofile[fd] = 0;
  fileclose(f);
  return 0;
}

int
sys_fstat(void)
{
  struct file *f;
  struct stat st = {0};
  char *to; // not aligned, perhaps

  if(argfd(0, 0, &f) < 0 || argptr(1, &to, sizeof(st), 1) < 0 || filestat(f, &st) < 0)
    return -1;
  memmove(to, &st, sizeof(st));
  return 0;
}

// fcntl(fd, F_GETFL): the flags of open.  fcntl(fd, F_SETFL, flags): O_NONBLOCK
// and O_APPEND become as in flags.  -errno on error.
int
sys_fcntl(void)
{
  const int settable = O_NONBLOCK | O_APPEND;
  struct file *f;
  int op, arg;

  if(argfd(0, 0, &f) < 0)
    return -EBADF;
  if(argint(1, &op) < 0)
    return -EFAULT;
  if(op == F_GETFL)
    return f->flags | (!f->writable ? O_RDONLY : f->readable ? O_RDWR
                                                             : O_WRONLY);
  if(op != F_SETFL)
    return -EINVAL;
  if(argint(2, &arg) < 0)
    return -EFAULT;
  f->flags = (f->flags & ~settable) | (arg & settable);
  return 0;
}

int
sys_pipe(void)
{
  struct file *r, *w;
  char *to; // not aligned, perhaps

  if(argptr(0, &to, 2 * sizeof(int), 1) < 0)
    return -1;
  if(pipealloc(&r, &w) < 0)
    return -1;
  int rfd = fdalloc(r);
  int wfd = fdalloc(w);
  if(wfd < 0) {
    if(rfd >= 0)
      myproc()->ofile[rfd] = 0;
    fileclose(r);
    fileclose(w);
    return -1;
  }
  memmove(to, (int[]){rfd, wfd}, 2 * sizeof(int));
  return 0;
}

// ---- directory entries -----------------------------------------------------------------

// Argument n as a path.
static int
argpath(int n, char **path)
{
  int len = argstr(n, path);

  return len < 0 || len >= MAXPATH ? -1 : 0;
}

// Add d to an inode's link count; caller holds its lock.
static void
add_links(struct inode *ip, int d)
{
  ip->nlink = (short)(ip->nlink + d);
  iupdate(ip);
}

// The inode old gets the further name new.
static int
link(const char *old, const char *new)
{
  char name[DIRSIZ];
  struct inode *ip = namei(old);

  if(ip == 0)
    return -1;
  ilock(ip);
  if(ip->type == T_DIR || ip->type == 0 || ip->nlink < 1 || ip->nlink == MAXLINK) {
    iunlockput(ip);
    return -1;
  }
  add_links(ip, 1);
  iunlock(ip);

  int ok = 0;
  struct inode *dp = nameiparent(new, name);
  if(dp) {
    ilock(dp);
    ok = dp->type == T_DIR && dp->dev == ip->dev && dirlink(dp, name, ip->inum) == 0;
    iunlockput(dp);
  }
  if(!ok) {
    ilock(ip);
    add_links(ip, -1);
    iunlock(ip);
  }
  iput(ip);
  return ok ? 0 : -1;
}

int
sys_link(void)
{
  char *old, *new;

  if(argpath(0, &old) < 0 || argpath(1, &new) < 0)
    return -1;
  begin_op();
  int r = link(old, new);
  end_op();
  return r;
}

// Nothing but "." and ".." in the directory; caller holds its lock.
static int
is_empty(struct inode *dp)
{
  struct dirent de;

  for(u32 off = 2 * sizeof(de); off < dp->size; off += sizeof(de))
    if(readi(dp, (char *)&de, off, sizeof(de)) != sizeof(de) || de.inum)
      return 0;
  return 1;
}

// Remove the entry at off of dp, which names ip.  Caller holds both locks.
static int
remove_entry(struct inode *dp, u32 off, struct inode *ip)
{
  struct dirent de = {.inum = 0};

  if(ip->type == 0 || ip->nlink < 1 || (ip->type == T_DIR && !is_empty(ip)))
    return -1;
  if(ip->type == T_DIR && dp->nlink < 2)
    return -1; // a bad image: dp would lose its own name's link
  if(writei(dp, (const char *)&de, off, sizeof(de)) != sizeof(de))
    return -1;
  if(ip->type == T_DIR)
    add_links(dp, -1); // its ".."
  add_links(ip, -1);
  return 0;
}

static int
unlink(const char *path)
{
  char name[DIRSIZ];
  u32 off;
  int r = -1;
  struct inode *ip = 0, *dp = nameiparent(path, name);

  if(dp == 0)
    return -1;
  ilock(dp);
  if(dp->type == T_DIR && strncmp(name, ".", DIRSIZ) != 0 && strncmp(name, "..", DIRSIZ) != 0)
    ip = dirlookup(dp, name, &off);
  if(ip && ip != dp) { // a bad image may have a directory within itself
    ilock(ip);
    r = remove_entry(dp, off, ip);
    iunlock(ip);
  }
  iunlock(dp);
  if(ip)
    iput(ip);
  iput(dp);
  return r;
}

int
sys_unlink(void)
{
  char *path;

  if(argpath(0, &path) < 0)
    return -1;
  begin_op();
  int r = unlink(path);
  end_op();
  return r;
}

// Give a new inode its links: "." and ".." if it is a directory, then its name.
// Caller holds both locks.  -1: the caller sets ip's nlink to 0, which frees all
// of it.
static int
link_new(struct inode *dp, const char *name, struct inode *ip)
{
  int is_dir = ip->type == T_DIR;

  if(is_dir && (dp->nlink == MAXLINK || dirlink(ip, ".", ip->inum) < 0 || dirlink(ip, "..", dp->inum) < 0))
    return -1;
  if(dirlink(dp, name, ip->inum) < 0)
    return -1;
  if(is_dir)
    add_links(dp, 1);
  return 0;
}

// A new inode with a name in directory dp, whose lock the caller holds.  It
// comes locked, or 0 if something is short.
static struct inode *
make(struct inode *dp, const char *name, short type, short major, short minor)
{
  struct inode *ip = dp->nlink > 0 ? ialloc(dp->dev, type) : 0;

  if(ip == 0)
    return 0;
  ilock(ip);
  ip->major = major;
  ip->minor = minor;
  add_links(ip, 1);
  if(link_new(dp, name, ip) == 0)
    return ip;
  add_links(ip, -1);
  iunlockput(ip);
  return 0;
}

// Create path.  With type T_FILE a file or device that is there already is as
// good.  A reference, locked; 0 on any error.
static struct inode *
create(const char *path, short type, short major, short minor)
{
  char name[DIRSIZ];
  struct inode *dp = nameiparent(path, name);

  if(dp == 0)
    return 0;
  ilock(dp);
  struct inode *ip = dp->type == T_DIR ? dirlookup(dp, name, 0) : 0;
  if(ip == 0) {
    ip = dp->type == T_DIR ? make(dp, name, type, major, minor) : 0;
    iunlockput(dp);
    return ip;
  }
  iunlockput(dp);
  ilock(ip);
  if(type == T_FILE && (ip->type == T_FILE || ip->type == T_DEV))
    return ip;
  iunlockput(ip);
  return 0;
}

// Create path, and that is all.
static int
create_only(const char *path, short type, short major, short minor)
{
  begin_op();
  struct inode *ip = create(path, type, major, minor);
  if(ip)
    iunlockput(ip);
  end_op();
  return ip ? 0 : -1;
}

int
sys_mkdir(void)
{
  char *path;

  if(argpath(0, &path) < 0)
    return -1;
  return create_only(path, T_DIR, 0, 0);
}

int
sys_mknod(void)
{
  char *path;
  int major, minor;

  if(argpath(0, &path) < 0 || argint(1, &major) < 0 || argint(2, &minor) < 0)
    return -1;
  major = (short)major; // the prototype says short; programs may leave dirt above
  if(major < 0 || major >= NDEV)
    return -1;
  return create_only(path, T_DEV, (short)major, (short)minor);
}

int
sys_chdir(void)
{
  char *path;
  struct proc *p = myproc();

  if(argpath(0, &path) < 0)
    return -1;
  begin_op();
  struct inode *ip = namei(path), *old = p->cwd;
  if(ip) {
    ilock(ip);
    int is_dir = ip->type == T_DIR;
    iunlock(ip);
    if(is_dir)
      p->cwd = ip;
    iput(is_dir ? old : ip);
    ip = is_dir ? ip : 0;
  }
  end_op();
  return ip ? 0 : -1;
}

// ---- open -----------------------------------------------------------------

// May an inode be opened so?  Caller holds its lock.
static int
may_open(const struct inode *ip, int omode)
{
  switch(ip->type) {
  case T_DIR:
    return (omode & (O_WRONLY | O_RDWR | O_TRUNC)) == O_RDONLY;
  case T_FILE:
    return 1;
  case T_DEV:
    return ip->major >= 0 && ip->major < NDEV && (devsw[ip->major].read || devsw[ip->major].write);
  }
  return 0;
}

// Find or create the inode of path and cut it to nothing if told so.  A
// reference, not locked; 0: no.
static struct inode *
open_inode(const char *path, int omode)
{
  struct inode *ip;

  if(omode & O_CREATE)
    ip = create(path, T_FILE, 0, 0);
  else if((ip = namei(path)) != 0)
    ilock(ip);
  if(ip == 0)
    return 0;
  if(!may_open(ip, omode)) {
    iunlockput(ip);
    return 0;
  }
  if(ip->type == T_FILE && (omode & O_TRUNC))
    itrunc(ip);
  iunlock(ip);
  return ip;
}

// Let the driver of device inode ip have its say; 0, or its -errno.
static int
open_dev(struct file *f, int omode)
{
  f->major = f->ip->major; // constant as long as we hold ip
  f->minor = f->ip->minor;
  return devsw[f->major].open ? devsw[f->major].open(f, f->minor, omode) : 0;
}

// Open path on f, which is new.  0, -1, or a driver's -errno.
static int
open_file(struct file *f, const char *path, int omode)
{
  begin_op();
  struct inode *ip = open_inode(path, omode);
  end_op();
  if(ip == 0)
    return -1;
  f->ip = ip;
  f->readable = (omode & O_WRONLY) == 0;
  f->writable = (omode & (O_WRONLY | O_RDWR)) != 0;
  f->flags = omode & (O_APPEND | O_NONBLOCK);
  int r = ip->type == T_DEV ? open_dev(f, omode) : 0;
  if(r < 0) {
    begin_op();
    iput(ip);
    end_op();
    return r;
  }
  f->type = ip->type == T_DEV ? FD_DEV : FD_INODE;
  return 0;
}

// The descriptor comes first: a process without one creates and cuts nothing.
int
sys_open(void)
{
  const int known = O_WRONLY | O_RDWR | O_CREATE | O_TRUNC | O_APPEND | O_NONBLOCK;
  char *path;
  int omode;

  if(argpath(0, &path) < 0 || argint(1, &omode) < 0 || (omode & ~known))
    return -1;
  if((omode & O_TRUNC) && (omode & (O_WRONLY | O_RDWR)) == 0)
    return -1;
  struct file *f = filealloc();
  if(f == 0)
    return -1;
  int fd = fdalloc(f);
  int r = fd < 0 ? -1 : open_file(f, path, omode);
  if(r < 0) {
    if(fd >= 0)
      myproc()->ofile[fd] = 0;
    fileclose(f);
    return r;
  }
  return fd;
}

// ---- exec -----------------------------------------------------------------

int
sys_exec(void)
{
  char *path, *argv[MAXARG];
  int uargv, uarg;

  if(argpath(0, &path) < 0 || argint(1, &uargv) < 0)
    return -1;
  for(u32 i = 0; i < MAXARG; i++) {
    if(fetchint((u32)uargv + 4 * i, &uarg) < 0)
      return -1;
    if(uarg == 0) {
      argv[i] = 0;
      return exec(path, argv);
    }
    if(fetchstr((u32)uarg, &argv[i]) < 0)
      return -1;
  }
  return -1;
}
