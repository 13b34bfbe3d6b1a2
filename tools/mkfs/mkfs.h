// What mkfs.c and its checker share: the image in memory.
#ifndef MKFS_H
#define MKFS_H

#include "../../kernel/uapi/fs.h"
#include "../../kernel/uapi/param.h"
#include "../../kernel/uapi/stat.h"
#include "../../kernel/uapi/types.h"

#define MAXINUM 65535 // a directory entry has 16 bits for it

// Check the image img of len bytes as a mount would find it: a committed log
// is replayed first, into img.  fault is called once per fault, with a line
// without newline.  Returns the number of faults.
int fscheck(u8 *img, u32 len, void (*fault)(const char *line));

#endif
