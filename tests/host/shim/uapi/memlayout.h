// Physical addresses on the host: the address itself, where it fits.  See ../defs.h.
#ifndef SHIM_MEMLAYOUT_H
#define SHIM_MEMLAYOUT_H

#define V2P(a) ((u32)(unsigned long)(a))
#define P2V(a) ((void *)(unsigned long)(a))

#endif
