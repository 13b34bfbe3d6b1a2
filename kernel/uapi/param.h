// Sizes of the kernel's tables.
#ifndef UAPI_PARAM_H
#define UAPI_PARAM_H

#define NPROC       64                // processes and kernel threads
#define KSTACKSIZE  8192              // bytes of a kernel stack, guard page not counted
#define NCPU        8                 // CPUs
#define NOFILE      64                // open files of a process
#define NFILE       512               // open files of the system
#define NINODE      200               // inodes in memory
#define NDEV        10                // device majors
#define ROOTDEV     1                 // disk of the root directory
#define MAXARG      32                // arguments of exec
#define MAXOPBLOCKS 10                // blocks one file system transaction may write
#define LOGSIZE     (MAXOPBLOCKS * 3) // data blocks of the log that mkfs makes
#define NBUF        256               // disk blocks in memory
#define FSSIZE      8192              // blocks of the image that mkfs makes
#define MAXPATH     1024              // bytes of a path with its NUL

#endif
