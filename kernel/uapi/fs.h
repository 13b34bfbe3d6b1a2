// The disk format.  Blocks of 512 bytes:
//
//   0 boot | 1 superblock | log: header, data | inodes | free bitmap | data
//
// The superblock says where each part begins; the kernel obeys it.
#ifndef UAPI_FS_H
#define UAPI_FS_H

#include "types.h"

#define ROOTINO 1   // inode of the root directory
#define BSIZE   512 // bytes of a block

struct superblock {
  uint size;       // blocks of the whole image
  uint nblocks;    // data blocks
  uint ninodes;    // inodes, number 0 included
  uint nlog;       // blocks of the log, header included
  uint logstart;   // first block of the log
  uint inodestart; // first block of inodes
  uint bmapstart;  // first block of the free bitmap
};

#define NDIRECT   12
#define NINDIRECT (BSIZE / sizeof(uint))
#define MAXFILE   (NDIRECT + NINDIRECT) // blocks of the largest file

struct dinode {
  short type;              // 0 free, or as in stat.h
  short major;             // T_DEV only
  short minor;             // T_DEV only
  short nlink;             // names in the file system
  uint size;               // bytes
  uint addrs[NDIRECT + 1]; // data blocks; the last one holds further numbers
};

#define IPB           (BSIZE / sizeof(struct dinode)) // inodes of a block
#define IBLOCK(i, sb) ((i) / IPB + (sb).inodestart)   // block of inode i
#define BPB           (BSIZE * 8)                     // bitmap bits of a block
#define BBLOCK(b, sb) ((b) / BPB + (sb).bmapstart)    // bitmap block of block b

// Largest image, in blocks; param.h has MAXOPBLOCKS, and many names that
// programs with no need of it have for their own.  Freeing a file may touch each bitmap block in one
// transaction, beside three or four other blocks.
#define FSMAXSIZE ((MAXOPBLOCKS - 4) * BPB)

#define DIRSIZ 14

// A directory is a file of these.
struct dirent {
  ushort inum;       // 0: free entry
  char name[DIRSIZ]; // no NUL when 14 long
};

#endif
