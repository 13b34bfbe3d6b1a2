// Read before every file of lwIP and before those of ours that see it (gcc -include).  Watches only: a build without it behaves the same.
//
// lwIP says why it drops a packet by counting, so each count that tells an error
// also tells watch.c.  Which counts do is decided by the last letters of the name
// while compiling; the others cost nothing.
#ifndef LWIPTRACE_H
#define LWIPTRACE_H

#include "lwip/opt.h"
#include "lwip/debug.h"
#include "lwip/stats.h"

void lwt_stat(const char *counter, const char *function);

#define LWT_END(name, k) ((name)[sizeof(name) - 1 - (k)])
// ...err, ...drop; link.xmit is counted for loopback only
#define LWT_WANTED(name) (LWT_END(name, 1) == 'r' || LWT_END(name, 1) == 'p' || \
                          (LWT_END(name, 1) == 't' && LWT_END(name, 6) == 'k'))

#undef STATS_INC
#define STATS_INC(x) \
  do { \
    ++lwip_stats.x; \
    if(LWT_WANTED(#x)) \
      lwt_stat(#x, __func__); \
  } while(0)

#endif
