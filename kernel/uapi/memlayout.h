// The address space: where physical and virtual memory begin and end.
//
//   0x00000000 - 0x7fffffff  user programs, one page directory each
//   0x80000000 - 0xbfffffff  all RAM, physical address + KERNBASE
//   0xf8000000 - 0xf8ffffff  kernel stacks, an unmapped guard page below each
//   0xfe000000 - 0xffffffff  devices, identity mapped, not cached
#ifndef UAPI_MEMLAYOUT_H
#define UAPI_MEMLAYOUT_H

#define EXTMEM   0x100000            // where the kernel is loaded
#define PHYSTOP  0x40000000          // RAM above is not used
#define DEVSPACE 0xFE000000          // device registers from here up
#define KERNBASE 0x80000000          // first kernel virtual address
#define KERNLINK (KERNBASE + EXTMEM) // where the kernel is linked
#define KSTACKS  0xF8000000          // kernel stacks from here up

#define V2P(a) (((unsigned int)(a)) - KERNBASE)
#define P2V(a) ((void *)(((char *)(a)) + KERNBASE))

#define V2P_WO(x) ((x)-KERNBASE) // without a cast, for assembly
#define P2V_WO(x) ((x) + KERNBASE)

#endif
