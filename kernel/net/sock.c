// Sockets: the table, and what all kinds have in common.
//
// sysnet.c and file.c call here, in thread context with arguments checked; each
// call takes netlock and goes on in the socket's kind: stream.c (TCP) or dgram.c
// (UDP, ICMP).  A call may sleep, and lwIP may free a pcb whenever netlock is not
// ours: after each sleep s->pcb is looked at again.  All who wait for a socket
// sleep on the struct sock itself.
#include "uapi/types.h"
#include "uapi/fcntl.h"
#include "defs.h"
#include "debug.h"
#include "mmu.h"
#include "proc.h"
#include "trace/trace.h"
#include "net/net.h"
#include "net/sock.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"

#define FOREVER (~0ull)

#define FLOW(s) .laddr = (s)->laddr, .raddr = (s)->raddr, .lport = (s)->lport, .rport = (s)->rport

struct sock socks[NSOCK];
static u16 last_id;

void
sock_init(void)
{
  stream_init();
}

// ---- one socket ---------------------------------------------------------

u16
sock_newid(void)
{
  if(++last_id == 0)
    last_id = 1;
  return last_id;
}

TRACE_APART void
tell_state(const struct sock *s, u8 to, int err)
{
  TRACE(sock_state, .pkt = input.pkt, .sock = s->id, .from = s->state, .to = to, .err = -err);
}

void
sock_state(struct sock *s, u8 to, int err)
{
  if(TRACING(sock_state) && s->state != to)
    tell_state(s, to, err);
  s->state = to;
}

// A socket without a pcb; 0 if there is none left.
struct sock *
sock_alloc(const struct sock_ops *ops, u16 id)
{
  if(fail_now())
    return 0;
  for(struct sock *s = socks; s < socks + NSOCK; s++)
    if(s->ops == 0) {
      *s = (struct sock){.ops = ops, .id = id};
      sock_state(s, SOCKSTATE_CREATED, 0);
      return s;
    }
  return 0;
}

// It has neither file nor pcb any more.
void
sock_free(struct sock *s)
{
  sock_state(s, SOCKSTATE_CLOSED, 0);
  s->ops = 0;
}

u32
sock_count(void)
{
  u32 n = 0;
  for(struct sock *s = socks; s < socks + NSOCK; s++)
    n += s->ops != 0;
  return n;
}

// A packet of socket number id was dropped.
void
sock_dropped(u16 id)
{
  for(struct sock *s = socks; id && s < socks + NSOCK; s++)
    if(s->ops && s->id == id)
      s->drops++;
}

// Addresses from the pcb, in host order; they stay when it is gone.
void
sock_remember(struct sock *s, u16 lport, u16 rport)
{
  s->laddr = ntohl(s->ip->local_ip.addr);
  s->lport = lport;
  s->rport = rport;
  if(rport)
    s->raddr = ntohl(s->ip->remote_ip.addr);
}

// ---- errors and waiting -------------------------------------------------

// lwIP's err_t as an error number, 0 for none.
int
sock_errno(int e, int connecting)
{
  static const u8 table[] = {
    [-ERR_MEM] = ENOBUFS,
    [-ERR_BUF] = ENOBUFS,
    [-ERR_TIMEOUT] = ETIMEDOUT,
    [-ERR_RTE] = EHOSTUNREACH,
    [-ERR_INPROGRESS] = EINPROGRESS,
    [-ERR_VAL] = EINVAL,
    [-ERR_WOULDBLOCK] = EAGAIN,
    [-ERR_USE] = EADDRINUSE,
    [-ERR_ALREADY] = EALREADY,
    [-ERR_ISCONN] = EISCONN,
    [-ERR_CONN] = ENOTCONN,
    [-ERR_IF] = ENETDOWN,
    [-ERR_ABRT] = ETIMEDOUT,
    [-ERR_RST] = ECONNRESET,
    [-ERR_CLSD] = 0,
    [-ERR_ARG] = EINVAL,
  };
  if(e == ERR_RST && connecting)
    return ECONNREFUSED;
  return e <= 0 && -e < (int)NELEM(table) ? table[-e] : EIO;
}

// Report the pending error, once.
int
sock_take_err(struct sock *s)
{
  int err = s->err;
  s->err = 0;
  return -err;
}

// Something about s has changed that a sleeper or a poller may wait for.
void
sock_notify(struct sock *s)
{
  wakeup(s);
  poll_wake(s);
}

// When a wait of ms milliseconds that begins now is over; 0: never.
u64
sock_deadline(u32 ms)
{
  return ms ? now_ns() + (u64)ms * 1000000 : FOREVER;
}

// Wait for a change of s.  0: look again; -EAGAIN: by flags one must not wait, or
// it is until; -EINTR: the process is being killed.
int
sock_wait(struct sock *s, int flags, u64 until)
{
  if(flags & (MSG_DONTWAIT | O_NONBLOCK))
    return -EAGAIN;
  int how = net_sleep(s, until, SLEEPWHY_NET);
  return how == 0 ? 0 : how < 0 ? -EINTR
                                : -EAGAIN;
}

// May a socket of this machine have this address?
int
sock_is_ours(u32 addr_be)
{
  ip4_addr_t a = {addr_be};
  if(addr_be == 0 || ip4_addr_isloopback(&a))
    return 1;
  struct netif *netif;
  NETIF_FOREACH(netif)
  if(ip4_addr_eq(netif_ip4_addr(netif), &a))
    return 1;
  return 0;
}

// ---- system calls -------------------------------------------------------

static void
enter(struct sock *s)
{
  net_lock();
  s->pid = myproc()->pid;
}

static int
leave(int r)
{
  net_unlock();
  return r;
}

// A new socket; 0 and *err = -errno if there is none left.
struct sock *
sock_create(const struct sock_ops *ops, int *err)
{
  net_lock();
  struct sock *s = sock_alloc(ops, sock_newid());
  *err = s ? ops->open(s) : -ENFILE;
  if(s)
    s->pid = myproc()->pid;
  if(s && *err < 0) {
    sock_free(s);
    s = 0;
  }
  net_unlock();
  return s;
}

// Port 0: any free one.
int
sock_bind(struct sock *s, const struct sockaddr_in *sa)
{
  enter(s);
  if(s->state != SOCKSTATE_CREATED || s->pcb == 0)
    return leave(-EINVAL);
  if(!sock_is_ours(sa->sin_addr.s_addr))
    return leave(-EADDRNOTAVAIL);
  int r = s->ops->bind(s, sa);
  if(r == 0)
    sock_state(s, SOCKSTATE_BOUND, 0);
  return leave(r);
}

// Accept connections, of which backlog may wait.  Again: a new backlog.
int
sock_listen(struct sock *s, int backlog)
{
  enter(s);
  backlog = backlog < 1 ? 1 : backlog > NBACKLOG ? NBACKLOG
                                                 : backlog;
  return leave(s->ops->listen ? s->ops->listen(s, backlog) : -EOPNOTSUPP);
}

// The oldest waiting connection of a listener, as a socket of its own.
// 0 and *err = -errno: none, by flags or because the process is being killed.
struct sock *
sock_accept(struct sock *l, int flags, int *err)
{
  enter(l);
  struct sock *s = 0;
  *err = -EOPNOTSUPP;
  if(l->ops->listen)
    s = stream_accept(l, flags, err);
  net_unlock();
  return s;
}

// Stream: waits until established, or -EINPROGRESS by flags.  Others: the peer
// from now on.
int
sock_connect(struct sock *s, const struct sockaddr_in *sa, int flags)
{
  enter(s);
  return leave(s->ops->connect(s, sa, flags));
}

// Read at most n bytes, or one datagram, into dst, which is writable.  Waits for the
// first byte unless flags say O_NONBLOCK or MSG_DONTWAIT; MSG_PEEK leaves it there.
// from: filled in, unless 0.  Returns the count, 0 at the end of a stream, or -errno.
int
sock_recv(struct sock *s, char *dst, int n, int flags, struct sockaddr_in *from)
{
  enter(s);
  return leave(s->ops->read(s, dst, n, flags, from));
}

// Stream: queue n bytes for sending; waits until all are queued, unless flags say
// not to: then as many as there is room for.  Others: send one datagram to `to`, or
// to the peer if that is 0.
// Returns the count, which is short only after an error or a kill, or -errno.
int
sock_send(struct sock *s, const char *src, int n, int flags, const struct sockaddr_in *to)
{
  enter(s);
  return leave(s->ops->write(s, src, n, flags, to));
}

int
sock_read(struct sock *s, char *dst, int n, int flags)
{
  return sock_recv(s, dst, n, flags, 0);
}

int
sock_write(struct sock *s, const char *src, int n, int flags)
{
  return sock_send(s, src, n, flags, 0);
}

// SHUT_WR ends what we send, SHUT_RD makes reads return 0.
int
sock_shutdown(struct sock *s, int how)
{
  enter(s);
  int r = s->ops->shutdown(s, how);
  sock_notify(s);
  return leave(r);
}

int
sock_poll(struct sock *s)
{
  net_lock();
  return leave(s->ops->poll(s));
}

// The last reference to the socket's file is gone.
void
sock_close(struct sock *s)
{
  net_lock();
  s->ops->close(s);
  sock_free(s);
  net_unlock();
}

int
sock_name(struct sock *s, int peer, struct sockaddr_in *sa)
{
  net_lock();
  *sa = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(peer ? s->rport : s->lport)};
  sa->sin_addr.s_addr = htonl(peer ? s->raddr : s->laddr);
  return leave(peer && s->raddr == 0 ? -ENOTCONN : 0);
}

// ---- options ------------------------------------------------------------

static int
set_flag(struct sock *s, u8 flag, int on)
{
  if(s->ip == 0)
    return -EINVAL;
  if(on)
    ip_set_option(s->ip, flag);
  else
    ip_reset_option(s->ip, flag);
  return 0;
}

static int
set_ttl(struct sock *s, int ttl)
{
  if(s->ip == 0 || ttl < 1 || ttl > 255)
    return -EINVAL;
  s->ip->ttl = ttl;
  return 0;
}

static int
set_linger(struct sock *s, const void *val)
{
  struct linger l;
  memmove(&l, val, sizeof(l));
  if(l.l_linger < 0 || l.l_linger > 65535)
    return -EINVAL;
  s->linger = l.l_onoff != 0;
  s->linger_s = l.l_linger;
  return 0;
}

static int
set_common(struct sock *s, int name, int v)
{
  switch(name) {
  case SO_REUSEADDR:
    return set_flag(s, SOF_REUSEADDR, v);
  case SO_KEEPALIVE:
    return set_flag(s, SOF_KEEPALIVE, v);
  case SO_BROADCAST:
    return set_flag(s, SOF_BROADCAST, v);
  case SO_RCVTIMEO:
  case SO_SNDTIMEO:
    if(v < 0)
      return -EINVAL;
    *(name == SO_RCVTIMEO ? &s->rcv_ms : &s->snd_ms) = v;
    return 0;
  }
  return -ENOPROTOOPT;
}

// val: len readable bytes, an int but for SO_LINGER.
int
sock_setopt(struct sock *s, int level, int name, const void *val, int len)
{
  int v, linger = level == SOL_SOCKET && name == SO_LINGER;
  if(len < (linger ? (int)sizeof(struct linger) : (int)sizeof(int)))
    return -EINVAL;
  memmove(&v, val, sizeof(v));
  enter(s);
  if(linger)
    return leave(set_linger(s, val));
  if(level == SOL_SOCKET)
    return leave(set_common(s, name, v));
  if(level == IPPROTO_IP && name == IP_TTL)
    return leave(set_ttl(s, v));
  if(level == IPPROTO_TCP && s->ops->proto == IPPROTO_TCP)
    return leave(stream_setopt(s, name, v));
  return leave(-ENOPROTOOPT);
}

static int
get_common(struct sock *s, int name, int *v)
{
  u32 flags = s->ip ? s->ip->so_options : 0;
  switch(name) {
  case SO_REUSEADDR:
    *v = (flags & SOF_REUSEADDR) != 0;
    return 0;
  case SO_KEEPALIVE:
    *v = (flags & SOF_KEEPALIVE) != 0;
    return 0;
  case SO_BROADCAST:
    *v = (flags & SOF_BROADCAST) != 0;
    return 0;
  case SO_RCVTIMEO:
    *v = s->rcv_ms;
    return 0;
  case SO_SNDTIMEO:
    *v = s->snd_ms;
    return 0;
  case SO_ERROR:
    *v = -sock_take_err(s);
    return 0;
  case SO_TYPE:
    *v = s->ops->type;
    return 0;
  case SO_RCVBUF:
    *v = s->ops->type == SOCK_STREAM ? TCP_WND : DGRAM_BYTES;
    return 0;
  case SO_SNDBUF:
    *v = s->ops->type == SOCK_STREAM ? TCP_SND_BUF : DGRAM_MAX;
    return 0;
  }
  return -ENOPROTOOPT;
}

// val: *len writable bytes; *len becomes how many were filled.
int
sock_getopt(struct sock *s, int level, int name, void *val, int *len)
{
  int v = 0, r = -ENOPROTOOPT, n = sizeof(v);
  const void *from = &v;
  enter(s);
  struct linger l = {s->linger, s->linger_s};
  if(level == IPPROTO_TCP && s->ops->proto == IPPROTO_TCP)
    return leave(stream_getopt(s, name, val, len));
  if(level == SOL_SOCKET && name == SO_LINGER) {
    from = &l;
    n = sizeof(l);
    r = 0;
  } else if(level == SOL_SOCKET)
    r = get_common(s, name, &v);
  else if(level == IPPROTO_IP && name == IP_TTL && s->ip) {
    v = s->ip->ttl;
    r = 0;
  }
  if(r == 0 && *len < n)
    r = -EINVAL;
  if(r == 0)
    memmove(val, from, *len = n);
  return leave(r);
}

// ---- for the trace ------------------------------------------------------

// Record every socket's figures.
// Context: netd, netlock held.
void
sock_snap(void)
{
  for(struct sock *s = socks; s < socks + NSOCK; s++) {
    if(s->ops == 0)
      continue;
    u32 srtt = 0;
    u16 rexmits = 0;
    int tcp = s->ops->proto == IPPROTO_TCP;
    struct tcp_pcb *conn = tcp && s->pcb && s->pcb->state != LISTEN ? s->pcb : 0;
    watch_figures(tcp ? s->pcb : 0, &srtt, &rexmits);
    TRACE(sock_stat, .pkt = 0, .sock = s->id, FLOW(s), .cwnd = conn ? conn->cwnd : 0, .srtt_us = srtt,
          .sndq = conn ? TCP_SND_BUF - tcp_sndbuf(conn) : 0, .rcvq = s->rx_len, .rexmits = rexmits,
          .backlog = s->waiting, .proto = s->ops->proto, .state = tcp && s->pcb ? s->pcb->state : CLOSED,
          .owner = s->pid);
    TRACE(sock_count, .pkt = 0, .sock = s->id, .rx_b = s->rx_b, .tx_b = s->tx_b, .rx_p = s->rx_p,
          .tx_p = s->tx_p, .drops = s->drops);
  }
}
