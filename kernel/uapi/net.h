// Sockets, poll and error numbers.  Addresses and ports in network order.
//
// Calls of this file, and read, write and close on a socket, return >= 0 or
// a negative error number: "why" is what this system teaches.
#ifndef UAPI_NET_H
#define UAPI_NET_H

#include "types.h"

#define AF_INET       2
#define SOCK_STREAM   1
#define SOCK_DGRAM    2
#define SOCK_RAW      3      // ICMP messages: recv gives the IP header too, send takes the message
#define SOCK_NONBLOCK 0x1000 // = O_NONBLOCK, or-ed to the type
#define SHUT_RD       0
#define SHUT_WR       1
#define SHUT_RDWR     2
#define MSG_PEEK      0x02
#define MSG_DONTWAIT  0x40
#define MSG_NOSIGNAL  0x4000 // accepted: there are no signals
#define MSG_MORE      0x8000 // TCP, send: what follows at once, data or the end, shall share a segment

struct in_addr {
  u32 s_addr;
};

struct sockaddr_in {
  u16 sin_family; // AF_INET
  u16 sin_port;
  struct in_addr sin_addr;
  u8 sin_zero[8];
};

// setsockopt and getsockopt: an int each, but for SO_LINGER and TCP_INFO.
#define SOL_SOCKET    1
#define SO_REUSEADDR  2  // bind although connections of that port are in TIME-WAIT
#define SO_TYPE       3  // get: SOCK_...
#define SO_ERROR      4  // get: the pending error, once
#define SO_BROADCAST  6  // may send to broadcast addresses
#define SO_SNDBUF     7  // get: bytes
#define SO_RCVBUF     8  // get: bytes
#define SO_KEEPALIVE  9  // probe a silent peer
#define SO_LINGER     13 // struct linger
#define SO_RCVTIMEO   20 // ms that accept and recv wait, then -EAGAIN; 0: for ever
#define SO_SNDTIMEO   21 // ms that connect and send wait
#define IPPROTO_IP    0
#define IP_TTL        2 // 1 to 255
#define IPPROTO_ICMP  1
#define IPPROTO_TCP   6
#define TCP_NODELAY   1  // small segments leave at once (Nagle's algorithm off)
#define TCP_KEEPIDLE  4  // seconds of silence before the first probe
#define TCP_KEEPINTVL 5  // seconds between probes
#define TCP_KEEPCNT   6  // probes unanswered until the connection is given up
#define TCP_INFO      11 // get: struct tcp_info
#define IPPROTO_UDP   17

struct linger {
  int l_onoff;  // 1: close does not return at once
  int l_linger; // but when all is acknowledged, or after so many seconds; 0: it resets
};

struct tcp_info {
  u8 state;             // RFC 9293's, 0 CLOSED 1 LISTEN 2 SYN-SENT 3 SYN-RECEIVED 4 ESTABLISHED ... 10 TIME-WAIT
  u8 nrtx;              // retransmissions of the oldest segment
  u16 mss;              //
  u32 cwnd, ssthresh;   // bytes
  u32 snd_wnd, rcv_wnd; // bytes the peer and we may still take
  u32 sndq, rcvq;       // bytes not acknowledged, not read
  u32 rto_ms, srtt_us;  //
  u32 rexmits;          // since it was made
};

struct pollfd {
  int fd;
  short events;
  short revents;
};

#define POLLIN   0x01
#define POLLOUT  0x04
#define POLLERR  0x08
#define POLLHUP  0x10
#define POLLNVAL 0x20
#define NPOLL    64 // entries of one poll

// Interfaces.  netconf changes one, or the table of neighbours.
#define NETCONF_UP     1
#define NETCONF_DOWN   2
#define NETCONF_DHCP   3 // ask for an address
#define NETCONF_STATIC 4 // addr and prefix; gateway; dns, 0: the name server stays
#define NETCONF_ARPSET 5 // the neighbour addr has mac, for good
#define NETCONF_ARPDEL 6 // forget the neighbour addr

struct netconf {
  char name[4];                      // "en0"
  u32 op;                            // NETCONF_...
  struct in_addr addr, gateway, dns; //
  u32 prefix;                        // bits of the network part, 0 to 32
  u8 mac[6];                         //
};

// netinfo(what, buf, len) fills whole records; returns bytes.
#define NETINFO_SOCKS  1 // struct net_sock: sockets, and TCP connections that outlive theirs
#define NETINFO_IFS    2 // struct net_if
#define NETINFO_ARP    3 // struct net_arp
#define NETINFO_ROUTES 4 // struct net_route, the one that is looked at first first
#define NETINFO_COUNTS 5 // struct net_count: since boot
#define NETINFO_DNS    6 // struct in_addr: name servers

// Addresses and ports in network order, 0: any.
struct net_sock {
  u16 id;                      // the trace's, 0: it has no socket any more
  u8 type;                     // SOCK_...
  u8 state;                    // as in struct tcp_info
  struct in_addr laddr, raddr; //
  u16 lport, rport;            //
  u32 rcvq, sndq;              // bytes not read, not acknowledged
  u16 waiting, backlog;        // of a listener
  u32 rx_b, tx_b, drops;       //
  int pid;                     // process that used it last, 0: the kernel
  char program[16];            //
};

#define HOW_NONE     0 // no address
#define HOW_STATIC   1 // by option or netconf
#define HOW_DHCP     2
#define HOW_FALLBACK 3 // no lease came in time
#define HOW_SELF     4 // loopback

struct net_if {
  char name[4];                  //
  u8 mac[6];                     //
  u8 up, link;                   //
  u8 how;                        // HOW_...
  u8 dhcp;                       // asks for an address, or sees to it that it keeps its own
  u8 pad[2];                     //
  struct in_addr addr, mask, gw; //
  u32 mtu;                       //
  u32 rx_p, rx_b, tx_p, tx_b;    // packets and bytes, modulo 2^32
  u32 rx_drops, tx_drops;        //
};

struct net_arp {
  struct in_addr addr;
  u8 mac[6];
  char name[4]; // interface
  u8 pad[2];
};

struct net_route {
  struct in_addr dst, mask, gw; // gw 0: directly
  char name[4];
};

struct net_count {
  char name[24]; // "tcp.chkerr", "drop.NO_SOCKET"
  u32 n;
};

// Which call gives which error, and why.  Any of them: EBADF no such descriptor,
// ENOTSOCK it is no socket, EFAULT a pointer or length outside the program, EINTR
// killed while it waited, ENOBUFS no memory in the stack now.
//
// socket       EAFNOSUPPORT not AF_INET; EPROTONOSUPPORT no such kind; EMFILE the
//              process has 64 files; ENFILE the system has no file or socket left
// bind         EINVAL bound already, or the address is too short; EAFNOSUPPORT;
//              EADDRNOTAVAIL not ours; EADDRINUSE somebody listens there, or without
//              SO_REUSEADDR uses the port or has it in TIME-WAIT
// listen       EINVAL not bound, or connected; EADDRINUSE; EOPNOTSUPP no stream
// accept       EAGAIN none waits (O_NONBLOCK, SO_RCVTIMEO); ECONNABORTED one was reset
//              while it waited; EINVAL not listening; EOPNOTSUPP; EMFILE; ENFILE.
//              The connection begins with the listener's options, but not O_NONBLOCK
// connect      ECONNREFUSED the peer has answered with a reset; ETIMEDOUT it has not
//              answered in 18 s; EHOSTUNREACH no route; EADDRNOTAVAIL port or address 0;
//              EINPROGRESS goes on (O_NONBLOCK, SO_SNDTIMEO): poll for POLLOUT, then ask
//              SO_ERROR; EALREADY it still does; EISCONN done before; EINVAL listening, or
//              failed before: take a new socket
// send, write  EPIPE after shutdown or the connection's end; ENOTCONN never connected;
//              ECONNRESET, ETIMEDOUT the connection died (told once, by send or recv);
//              EAGAIN no room (MSG_DONTWAIT, O_NONBLOCK, SO_SNDTIMEO); EISCONN an address
//              for a stream.  A short count only after an error, a kill or with EAGAIN
// send of a datagram  EDESTADDRREQ no address; EADDRNOTAVAIL port or address 0;
//              EHOSTUNREACH no route; EACCES broadcast without SO_BROADCAST; EMSGSIZE more
//              than 65,507 bytes; ENOBUFS card or queue is full, it is lost; EPIPE.
//              That nobody listens at the other end is never told
// recv, read   0 the peer's end, again and again; ENOTCONN never connected; ECONNRESET,
//              ETIMEDOUT as above, then 0; EAGAIN nothing there (MSG_DONTWAIT, O_NONBLOCK,
//              SO_RCVTIMEO); EINVAL unknown flags
// shutdown     ENOTCONN; EINVAL.  getpeername ENOTCONN.  getsockname, getpeername, accept,
//              recvfrom EINVAL a negative length
// setsockopt, getsockopt  ENOPROTOOPT no such option here; EINVAL bad value or length
// close        never fails.  Unread data, or SO_LINGER of 0 s: the peer gets a reset; else
//              what was written and the end go out in the background
//
// ETIMEDOUT of a connection: probes unanswered (SO_KEEPALIVE), or 12 retransmissions,
// each after a longer wait: minutes.
//
// poll  POLLIN    a connection waits, data or the end can be read, or an error
//       POLLOUT   some room to send, or a send would fail at once
//       POLLERR   an error waits to be told
//       POLLHUP   the connection is over both ways
// Error numbers, values as in Linux.
#define ENOENT          2
#define EINTR           4
#define EIO             5
#define EBADF           9
#define EAGAIN          11
#define ENOMEM          12
#define EACCES          13
#define EFAULT          14
#define ENODEV          19
#define EINVAL          22
#define ENFILE          23
#define EMFILE          24
#define EPIPE           32
#define ENAMETOOLONG    36
#define ENOTSOCK        88
#define EDESTADDRREQ    89
#define EMSGSIZE        90
#define ENOPROTOOPT     92
#define EPROTONOSUPPORT 93
#define EOPNOTSUPP      95
#define EAFNOSUPPORT    97
#define EADDRINUSE      98
#define EADDRNOTAVAIL   99
#define ENETDOWN        100
#define ECONNABORTED    103
#define ECONNRESET      104
#define ENOBUFS         105
#define EISCONN         106
#define ENOTCONN        107
#define ETIMEDOUT       110
#define ECONNREFUSED    111
#define EHOSTUNREACH    113
#define EALREADY        114
#define EINPROGRESS     115

#ifndef KERNEL
int socket(int family, int type, int proto);
int bind(int fd, const struct sockaddr_in *, int len);
int listen(int fd, int backlog);
int accept(int fd, struct sockaddr_in *, int *len);
int connect(int fd, const struct sockaddr_in *, int len);
int send(int fd, const void *, int n, int flags);
int recv(int fd, void *, int n, int flags);
int sendto(int fd, const void *, int n, int flags, const struct sockaddr_in *, int len);
int recvfrom(int fd, void *, int n, int flags, struct sockaddr_in *, int *len);
int shutdown(int fd, int how);
int setsockopt(int fd, int level, int name, const void *, int len);
int getsockopt(int fd, int level, int name, void *, int *len);
int getsockname(int fd, struct sockaddr_in *, int *len);
int getpeername(int fd, struct sockaddr_in *, int *len);
int poll(struct pollfd *, int n, int ms); // ms -1: for ever, 0: look
int fcntl(int fd, int op, int arg);
int resolve(const char *name, struct in_addr *, int ms); // ms 1 to 6000
int netinfo(int what, void *buf, int len);
int netconf(const struct netconf *);

// user library
u16 htons(u16);
u32 htonl(u32);
#define ntohs(x) htons(x)
#define ntohl(x) htonl(x)
int inet_aton(const char *, struct in_addr *); // 1, or 0 if malformed
char *inet_ntoa(struct in_addr);               // in a static buffer
const char *neterr(int);                       // words for a (negative) error number
#endif

#endif
