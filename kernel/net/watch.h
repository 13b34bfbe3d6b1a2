// What the three files that watch lwIP know of each other.
#ifndef NET_WATCH_H
#define NET_WATCH_H

#include "uapi/types.h"

struct ip4_addr;
struct netif;
struct pbuf;

// watch.c
void watch_note(u8 reason, u32 eip);
u32 watch_next_hop(const struct netif *, const struct ip4_addr *dst);

// watch_tcp.c
void watch_tcp_settle(void);
void watch_orphan(void);

// watch_names.c: u is a UDP header, n bytes of the packet from it on
void watch_names_in(u32 pkt, const u8 *u, u32 n);
void watch_names_out(u32 pkt, const u8 *u, u32 n, const struct netif *);
void watch_names_settle(void);
void watch_arp_tick(void);

#endif
