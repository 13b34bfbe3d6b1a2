// What the files of net/ know of each other, in plain C types: no lwIP header.
//
// Up:   e1000_rx -> ethif_rx -> lwIP -> sock.c's callbacks (sock_rx) -> sock_read
// Down: sock_write (sock_tx) -> lwIP -> ethif_tx -> e1000_tx -> ethif_txdone
// All of it with netlock held, except e1000_intr, netd_wake and what init calls.
#ifndef NET_NET_H
#define NET_NET_H

#include "uapi/types.h"

struct ip4_addr;
struct netconf;
struct netif;
struct pbuf;
struct tcp_hdr;
struct tcp_pcb;

#define NNIC   2    // network cards
#define RXBUF  2048 // bytes of a receive buffer
#define RXMAX  1522 // of these the card may fill; the rest belongs to ethif.c
#define TXFRAG 64   // pieces of one frame to send

// A piece of a frame to send, anywhere in kernel memory.
struct frag {
  const void *va;
  u16 len;
};

// Two bytes in network order, at any address.
static inline u16
be16_at(const u8 *p)
{
  return p[0] << 8 | p[1];
}

// e1000.c, the card's side.  nic: 0 for en0, 1 for en1.
extern int e1000_count; // cards found
void e1000_start(void); // interrupts may come once netd unmasks them
const u8 *e1000_mac(int nic);
int e1000_rx(int nic, int budget);
void e1000_rxfree(u8 *frame);
u32 e1000_rxspare(void); // free buffers as 256ths of all
u32 e1000_rxheld(void);  // buffers the stack holds
int e1000_tx(int nic, u32 pkt, u32 xmit, const struct frag *f, int n, void *cookie);
int e1000_txdone(int nic);
int e1000_link(int nic);
int e1000_pending(int nic);
void e1000_unmask(int nic);
void e1000_stat(int nic);

// ethif.c, the frames' side
struct netif *ethif_init(int nic);
void ethif_rx(int nic, u32 pkt, u8 *frame, u32 len);
void ethif_txdone(void *cookie);
extern u32 ethif_sent; // frames the card was found to have sent

// What a drop reports of a packet: host order, 0 if it has no such header.
struct headers {
  u32 src, dst;
  u16 sport, dport;
  u16 len; // of the packet from the IP header on
  u8 proto;
  u16 tcpflags, tcplen;
  u32 tcpseq, tcpack;
};

// The packet now in input, and what its headers said before lwIP changed them.
// One: netd handles one packet at a time.
struct input {
  u32 pkt, born; // 0: no packet is in input
  u8 gone;       // its pbuf has been freed
  u8 fate;       // FATE_..., 0 not known yet
  u8 reason;     // DROP_... somebody noted, 0 none
  u8 maybe;      // DROP_... if its data turn out to be unused
  u32 eip;       // who noted the reason
  u16 sock;      // socket id its connection has
  u8 netif;      //
  u8 seg;        // tcp_seg_in was emitted
  struct headers h;
};
extern struct input input;
#define NDROP 64
extern u32 net_drops[NDROP]; // packets dropped since boot, by reason
void input_begin(u32 pkt, u32 born, int netif, u16 type, const u8 *ip, u32 len);
void pkt_settle(u32 pkt);
void pkt_died(struct pbuf *);
u32 pkt_birth(struct pbuf *);
void net_drop(u32 pkt, u8 reason);
void net_drop_unsent(u32 pkt, u8 reason);
void net_drop_pbuf(struct pbuf *, u8 reason);

// LWIP_PBUF_CUSTOM_DATA fate: FATE_... in bits 7:0, then
#define PKT_SENT        0x00000100 // ours, going down
#define PKT_ENDED       0x00000200 // pkt_end was emitted
#define PKT_KEPT        0x00000400 // a connection's send queue has it: if it fails it comes again
#define PKT_IP          0x00000800 // it has left IP
#define PKT_FRAG        0x00001000 // it is a fragment
#define PKT_XMIT        0x01000000 // bits 31:24 count transmissions
#define PKT_XMITS(fate) ((fate) >> 24)

// net.c
void net_lock(void);
void net_unlock(void);
int net_sleep(void *chan, u64 ns, u8 why);
void net_check(void); // panics unless the caller holds netlock
void netd_wake(void); // any context

extern struct netif *en[NNIC]; // the cards' interfaces

// netconf.c
void netconf_init(void);
void netconf_tell(void);
int net_configure(const struct netconf *);
const char *netif_label(const struct netif *); // "en0", "lo0"
u8 netif_how(const struct netif *);            // HOW_...

// netinfo.c
int net_info(int what, char *buf, u32 len);
int net_resolve(const char *name, u32 *addr_be, u32 ms);

// sock.c, asked by watch.c
u16 sock_id(const struct tcp_pcb *);
void sock_sent(struct tcp_pcb *, u32 pkt, u32 seq, u32 len);
void sock_dropped(u16 id);
void sock_snap(void);

// watch.c
void watch_init(void);
void watch_pcb(struct tcp_pcb *);
void watch_all(void);
void watch_settle(void);
void watch_arp(const struct pbuf *, int out);
void watch_waits(const struct pbuf *, const struct netif *, const struct ip4_addr *dst);
void watch_pbuf_free(const struct pbuf *, const u32 *frame);
void watch_timer_done(void);
void watch_leaving(struct pbuf *);
void watch_ip_out(struct pbuf *, struct netif *, const struct ip4_addr *dst);
void watch_figures(const struct tcp_pcb *, u32 *srtt_us, u16 *rexmits);

// What goes on until further notice, TCP_WHY_..., as the reason of state changes.
// Caller holds netlock.
extern u8 watch_why;
static inline void
watch_enter(u8 why)
{
  watch_why = why;
}

#endif
