// The integer types that kernel, user programs and host tools share.
#ifndef UAPI_TYPES_H
#define UAPI_TYPES_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

// xv6's names: course programs use them.
typedef unsigned int uint;
typedef unsigned short ushort;
typedef unsigned char uchar;
typedef uint pde_t;

#endif
