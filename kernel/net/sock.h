// Sockets: what the system calls see, and what each kind provides.  Names lwIP's
// pcbs, includes nothing of lwIP.
#ifndef NET_SOCK_H
#define NET_SOCK_H

#include "uapi/types.h"
#include "uapi/net.h"

#define NSOCK       320   // sockets
#define NBACKLOG    16    // most connections that may wait for accept
#define NWRITE      8     // writes of a socket whose bytes are not all segments yet
#define DGRAM_BYTES 65536 // bytes of datagrams that a socket queues
#define DGRAM_MAX   65507 // bytes of the longest: what IP leaves of 65,535

struct ip_pcb;
struct mailbox;
struct pbuf;
struct raw_pcb;
struct sock;
struct tcp_pcb;
struct udp_pcb;

// What each kind of socket does in its own way.  Called with netlock held; those
// marked [s] may sleep, and then everything may have changed.  All return >= 0 or
// -errno.
struct sock_ops {
  u8 type;                                                                                      // SOCK_...
  u8 proto;                                                                                     // IPPROTO_...
  int (*open)(struct sock *);                                                                   // make the pcb
  int (*bind)(struct sock *, const struct sockaddr_in *);                                       //
  int (*listen)(struct sock *, int backlog);                                                    // 0: it cannot
  int (*connect)(struct sock *, const struct sockaddr_in *, int flags);                         // [s]
  int (*read)(struct sock *, char *dst, int n, int flags, struct sockaddr_in *from);            // [s]
  int (*write)(struct sock *, const char *src, int n, int flags, const struct sockaddr_in *to); // [s]
  int (*shutdown)(struct sock *, int how);                                                      //
  int (*poll)(struct sock *);                                                                   // POLL... bits that hold now
  void (*close)(struct sock *);                                                                 // [s] let go of pcb and queue
};
extern const struct sock_ops stream_ops, udp_ops, icmp_ops;

// One write handed to TCP, until its last byte has left in a segment.
struct write {
  u32 pkt, born; // its identity in the trace
  u32 seq, len;  // sequence numbers it occupies
};

// One per open socket, owned by the struct file that points here, or by the
// listener in whose queue it waits.  Gone when its file is gone.
// All members under netlock; [c] constant after sock_alloc.
struct sock {
  const struct sock_ops *ops; // [c] 0: this slot is free
  union {                     // 0 once lwIP has freed it: look again after every sleep
    struct ip_pcb *ip;        // what all kinds have in common
    struct tcp_pcb *pcb;      //
    struct udp_pcb *udp;      //
    struct raw_pcb *raw;      //
  };
  u16 id;                            // [c] for the trace; never 0
  u8 state;                          // SOCKSTATE_...
  u8 rd_eof;                         // the peer has sent everything
  u8 rd_shut, wr_shut;               // shutdown was called
  u8 want_room;                      // somebody waits for room to send
  u8 linger;                         // SO_LINGER is on:
  u32 linger_s;                      // how long close may wait, 0: it resets
  u32 rcv_ms, snd_ms;                // SO_RCVTIMEO, SO_SNDTIMEO, 0: for ever
  int err;                           // 0, or minus the first error; reported once
  int pid;                           // process that used it last
  u32 laddr, raddr;                  // host order; kept after the pcb is gone
  u16 lport, rport;                  //
  u32 rx_len;                        // bytes queued, still to read; stream: at most TCP_WND
  u32 rx_b, tx_b, rx_p, tx_p, drops; // since it was made
  // stream.c
  struct pbuf *rxq;            // received, not yet read: pbufs, not bytes, so that pkt survives to sock_read
  struct pbuf *rxtail;         // last of them
  struct pbuf *block;          // the last of rxq into which tiny segments are copied, or 0
  u32 rx_off;                  // bytes of rxq's first pbuf already read
  u32 rx_n;                    // pbufs in rxq
  struct sock *next;           // in a listener's queue: the next one
  struct sock *children;       // listener: connections that wait for accept, oldest first
  u8 waiting, backlog;         // listener: how many do and may
  u8 nodelay;                  // options, of a connection or of those a listener will make
  u16 keep_idle, keep_intvl;   // seconds
  u16 keep_cnt;                //
  u32 flood, flood_tick;       // listener: SYNs that found the queue full in this tick of TCP's
  u8 nwrite;                   //
  struct write writes[NWRITE]; // oldest first
  // dgram.c
  struct mailbox *box; // datagrams received
};

// For the system calls.  Thread context; they take netlock.
void sock_init(void);
struct sock *sock_create(const struct sock_ops *, int *err);
int sock_bind(struct sock *, const struct sockaddr_in *);
int sock_listen(struct sock *, int backlog);
struct sock *sock_accept(struct sock *, int flags, int *err);
int sock_connect(struct sock *, const struct sockaddr_in *, int flags);
int sock_recv(struct sock *, char *dst, int n, int flags, struct sockaddr_in *from);
int sock_send(struct sock *, const char *src, int n, int flags, const struct sockaddr_in *to);
int sock_shutdown(struct sock *, int how);
int sock_name(struct sock *, int peer, struct sockaddr_in *);
int sock_setopt(struct sock *, int level, int name, const void *val, int len);
int sock_getopt(struct sock *, int level, int name, void *val, int *len);

// For the kinds.  netlock is held.
u32 sock_count(void); // how many there are
struct sock *sock_alloc(const struct sock_ops *, u16 id);
void sock_free(struct sock *);
u16 sock_newid(void);
void sock_state(struct sock *, u8 to, int err);
void sock_notify(struct sock *);
int sock_take_err(struct sock *);
int sock_errno(int lwip_err, int connecting);
int sock_wait(struct sock *, int flags, u64 until);
u64 sock_deadline(u32 ms);
int sock_is_ours(u32 addr_be);
void sock_remember(struct sock *, u16 lport, u16 rport); // addresses from the pcb, ports as given
extern struct sock socks[NSOCK];

// stream.c
void stream_init(void);
struct sock *stream_accept(struct sock *, int flags, int *err);
int stream_setopt(struct sock *, int name, int val);
int stream_getopt(struct sock *, int name, void *val, int *len);

#endif
