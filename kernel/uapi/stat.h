// What fstat and stat report.
#ifndef UAPI_STAT_H
#define UAPI_STAT_H

#include "types.h"

#define T_DIR  1 // directory
#define T_FILE 2 // file
#define T_DEV  3 // device

struct stat {
  short type;  // T_DIR, T_FILE or T_DEV
  int dev;     // disk the inode is on
  uint ino;    // inode number
  short nlink; // names that refer to it
  uint size;   // bytes
};

#endif
