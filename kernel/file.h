// Open files, inodes in memory, and the table of device drivers.
#ifndef FILE_H
#define FILE_H

#include "sleeplock.h"
#include "uapi/fs.h"
#include "uapi/param.h"

enum {
  FD_NONE,
  FD_PIPE,
  FD_INODE,
  FD_DEV,
  FD_SOCK
};

// One per open; descriptors of several processes may share it (dup, fork).
// [f] file.c's lock  [c] constant after open  [i] ip->lock
struct file {
  u8 type;            // [c] FD_...
  u8 readable;        // [c]
  u8 writable;        // [c]
  int ref;            // [f] descriptors and calls in progress that refer here
  int flags;          // O_NONBLOCK, O_APPEND; a word, read and written whole
  struct pipe *pipe;  // [c] FD_PIPE
  struct inode *ip;   // [c] FD_INODE, FD_DEV
  u32 off;            // [i] FD_INODE
  short major, minor; // [c] FD_DEV
  void *priv;         // [c] FD_DEV: the driver's state of this open
  struct sock *sock;  // [c] FD_SOCK
  u16 sock_id;        // [c] FD_SOCK: its number in the trace, else 0
};

// An inode in memory.  [t] inode table's lock  [i] lock
struct inode {
  u32 dev;               // [t]
  u32 inum;              // [t]
  int ref;               // [t]
  struct sleeplock lock; // i
  int valid;             // [i] the rest was read from disk
  short type, major, minor, nlink;
  u32 size;
  u32 addrs[NDIRECT + 1];
};

// A device driver.  Buffers were checked against the process, or are the
// kernel's: a plain memmove is right.  read and write return a count or -errno,
// poll returns POLL... bits.  open, poll and close may be 0.
struct dev {
  int (*open)(struct file *, int minor, int omode); // 0, or -errno: open fails
  int (*read)(struct file *, char *dst, int n);
  int (*write)(struct file *, const char *src, int n);
  int (*poll)(struct file *);
  void (*close)(struct file *); // last reference gone
};

extern struct dev devsw[NDEV];

#define CONSOLE_MAJOR  1
#define MEM_MAJOR      2 // /dev/null, /dev/zero
#define NETTRACE_MAJOR 3

#endif
