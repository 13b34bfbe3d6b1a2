// Sockets: what the system calls see.  Names lwIP's struct tcp_pcb, includes nothing of lwIP.
#ifndef NET_SOCK_H
#define NET_SOCK_H

#include "uapi/types.h"
#include "uapi/net.h"

#define NSOCK    320 // sockets
#define NBACKLOG 16  // most connections that may wait for accept
#define NWRITE   8   // writes of a socket whose bytes are not all segments yet

struct pbuf;
struct tcp_pcb;

// One write handed to TCP, until its last byte has left in a segment.
struct write {
  u32 pkt, born; // its identity in the trace
  u32 seq, len;  // sequence numbers it occupies
};

// One per open socket, owned by the struct file that points here, or by the
// listener in whose queue it waits.  Gone when its file is gone.
// All members under netlock; [c] constant after sock_alloc.
struct sock {
  struct tcp_pcb *pcb;               // 0 once lwIP has freed it: look again after every sleep
  u8 used;                           //
  u8 state;                          // SOCKSTATE_...
  u8 rd_eof;                         // the peer has sent everything
  u8 rd_shut, wr_shut;               // shutdown was called
  u8 want_room;                      // somebody waits for room to send
  u16 id;                            // [c] for the trace; never 0
  int err;                           // 0, or minus the first error; reported once
  int pid;                           // process that used it last
  u32 laddr, raddr;                  // host order; kept after the pcb is gone
  u16 lport, rport;                  //
  struct pbuf *rxq;                  // received, not yet read: pbufs, not bytes, so that pkt survives to sock_read
  struct pbuf *rxtail;               // last of them
  u32 rx_off;                        // bytes of rxq's first pbuf already read
  u32 rx_len;                        // bytes in rxq still to read; at most TCP_WND
  struct sock *next;                 // in a listener's queue: the next one
  struct sock *children;             // listener: connections that wait for accept, oldest first
  u8 waiting, backlog;               // listener: how many do and may
  struct write writes[NWRITE];       // oldest first
  u8 nwrite;                         //
  u32 rx_b, tx_b, rx_p, tx_p, drops; // since it was made
};

void sock_init(void);
u32 sock_count(void); // how many there are
struct sock *sock_create(int *err);
int sock_bind(struct sock *, const struct sockaddr_in *);
int sock_listen(struct sock *, int backlog);
struct sock *sock_accept(struct sock *, int flags, int *err);
int sock_connect(struct sock *, const struct sockaddr_in *, int flags);
int sock_shutdown(struct sock *, int how);
int sock_name(struct sock *, int peer, struct sockaddr_in *);

#endif
