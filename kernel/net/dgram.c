// UDP sockets, and raw ones for ICMP: messages with an address each.
//
// Up:   lwIP -> on_udp, on_icmp (sock_rx) ... dgram_read <- sock_recv
// Down: sock_send -> dgram_write (sock_tx) -> udp_sendto, raw_sendto
//
// sock.c calls with netlock held; user memory was checked.  The on_ functions are
// lwIP's callbacks; what they queue is bounded in messages and in bytes.
// Errors that come back as ICMP messages are not reported: lwIP shows them to raw
// sockets only.
#include "uapi/types.h"
#include "defs.h"
#include "mmu.h"
#include "proc.h"
#include "trace/trace.h"
#include "net/net.h"
#include "net/sock.h"
#include "lwip/netif.h"
#include "lwip/raw.h"
#include "lwip/udp.h"

#define NDGRAM 32 // messages a socket queues
#define NBOX   (MEMP_NUM_UDP_PCB + MEMP_NUM_RAW_PCB)

// A message received.
struct dgram {
  struct pbuf *p;
  u32 addr; // from, network order
  u16 port; // host order, 0 for ICMP
};

// One per socket of these kinds.  Free-running counts: message k is at q[k % NDGRAM].
struct mailbox {
  struct sock *owner; // 0: free
  u32 r, w;
  struct dgram q[NDGRAM];
};

static struct mailbox boxes[NBOX];

// ---- up -----------------------------------------------------------------

// Queue a message for s, or drop it.  p is ours.
static void
deliver(struct sock *s, struct pbuf *p, u32 addr, u16 port)
{
  struct mailbox *b = s->box;
  u8 reason = s->rd_shut ? DROP_SOCK_SHUT : DROP_SOCK_RCVBUF;
  if(p->pkt == input.pkt)
    input.sock = s->id;
  if(s->rd_shut || b->w - b->r == NDGRAM || p->tot_len > DGRAM_BYTES - s->rx_len) {
    for(struct pbuf *q = p; q; q = q->next)
      net_drop_pbuf(q, reason);
    pbuf_free(p);
    return;
  }
  b->q[b->w++ % NDGRAM] = (struct dgram){p, addr, port};
  for(struct pbuf *q = p; q; q = q->next)
    q->fate |= FATE_SOCKET;
  s->rx_len += p->tot_len;
  s->rx_b += p->tot_len;
  s->rx_p++;
  TRACE(sock_rx, .pkt = p->pkt, .sock = s->id, .n = p->tot_len, .queued = s->rx_len, .limit = DGRAM_BYTES);
  sock_notify(s);
}

static void
on_udp(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *addr, u16_t port)
{
  (void)pcb;
  deliver(arg, p, addr->addr, port);
}

// Every ICMP message, from its IP header on.  A copy, which is a packet of its own:
// lwIP goes on with the original, and answers an echo request as always.
static u8_t
on_icmp(void *arg, struct raw_pcb *pcb, struct pbuf *p, const ip_addr_t *addr)
{
  struct sock *s = arg;
  struct pbuf *copy = pbuf_clone(PBUF_RAW, PBUF_RAM, p);
  (void)pcb;
  if(copy == 0) {
    s->drops++;
    return 0;
  }
  copy->pkt = pkt_new();
  copy->born = now_us();
  copy->fate = 0;
  TRACE(pkt_link, .pkt = copy->pkt, .sock = s->id, .parent = p->pkt, .kind = LINK_CLONE, .off = 0, .len = p->tot_len);
  deliver(s, copy, addr->addr, 0);
  return 0;
}

// ---- reading ------------------------------------------------------------

// One message: as much of it as fits, the rest is lost.
static int
dgram_read(struct sock *s, char *dst, int n, int flags, struct sockaddr_in *from)
{
  struct mailbox *b = s->box;
  u64 until = sock_deadline(s->rcv_ms);
  while(b->r == b->w) {
    int r = s->rd_shut ? 0 : sock_wait(s, flags, until);
    if(r < 0 || s->rd_shut)
      return r;
  }
  struct dgram *d = &b->q[b->r % NDGRAM];
  struct pbuf *p = d->p;
  int m = pbuf_copy_partial(p, dst, n < p->tot_len ? n : p->tot_len, 0);
  if(from)
    *from = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(d->port), .sin_addr = {d->addr}};
  if(flags & MSG_PEEK)
    return m;
  b->r++;
  s->rx_len -= p->tot_len;
  myproc()->pkt = p->pkt;
  TRACE(sock_read, .pkt = p->pkt, .sock = s->id, .n = m, .left = s->rx_len, .wait_us = now_us() - p->born);
  pbuf_free(p);
  return m;
}

// ---- down ---------------------------------------------------------------

static err_t
dgram_tx(struct sock *s, struct pbuf *p, const ip_addr_t *ip, u16 port)
{
  watch_leaving(p);
  err_t e = s->ops == &udp_ops ? udp_sendto(s->udp, p, ip, port) : raw_sendto(s->raw, p, ip);
  watch_leaving(0);
  if(s->ops == &udp_ops)
    sock_remember(s, s->udp->local_port, s->rport); // it may have got one just now
  return e;
}

// Where to send, and may we?
static int
destination(struct sock *s, const struct sockaddr_in *to, ip_addr_t *ip, u16 *port)
{
  if(to == 0 && s->raddr == 0)
    return -EDESTADDRREQ;
  *ip = (ip_addr_t)IPADDR4_INIT(to ? to->sin_addr.s_addr : htonl(s->raddr));
  *port = to ? ntohs(to->sin_port) : s->rport;
  if(ip->addr == 0 || (*port == 0 && s->ops == &udp_ops))
    return -EADDRNOTAVAIL;
  struct netif *netif = ip4_route(ip);
  if(netif == 0)
    return -EHOSTUNREACH;
  if(ip4_addr_isbroadcast(ip, netif) && !ip_get_option(s->ip, SOF_BROADCAST))
    return -EACCES;
  return 0;
}

// Never waits: what the card or the queue for a neighbour cannot take now is lost,
// as datagrams may be, and -ENOBUFS says so.
static int
dgram_write(struct sock *s, const char *src, int n, int flags, const struct sockaddr_in *to)
{
  ip_addr_t ip;
  u16 port;
  (void)flags;
  if(s->wr_shut)
    return -EPIPE;
  int r = destination(s, to, &ip, &port);
  if(r < 0)
    return r;
  if(n > DGRAM_MAX)
    return -EMSGSIZE;
  struct pbuf *p = pbuf_alloc(s->ops == &udp_ops ? PBUF_TRANSPORT : PBUF_IP, n, PBUF_RAM);
  if(p == 0)
    return -ENOBUFS;
  memmove(p->payload, src, n);
  p->pkt = pkt_new();
  p->born = now_us();
  p->fate = PKT_SENT;
  s->tx_b += n;
  s->tx_p++;
  myproc()->pkt = p->pkt;
  TRACE(sock_tx, .pkt = p->pkt, .sock = s->id, .n = n, .queued = 0, .limit = DGRAM_MAX);
  err_t e = dgram_tx(s, p, &ip, port);
  if(e == ERR_MEM && (p->fate & 0xff) == 0)
    net_drop_pbuf(p, DROP_NOMEM_PBUF); // no room in loopback's queue, or for a header
  pbuf_free(p);
  return e == ERR_OK ? n : -sock_errno(e, 0);
}

// ---- set-up and end -----------------------------------------------------

static int
take_box(struct sock *s)
{
  struct mailbox *b = boxes;
  while(b < boxes + NBOX && b->owner)
    b++;
  if(b == boxes + NBOX)
    return -ENOBUFS;
  b->owner = s;
  b->r = b->w = 0;
  s->box = b;
  return 0;
}

static int
udp_open(struct sock *s)
{
  if(take_box(s) < 0 || (s->udp = udp_new()) == 0) {
    if(s->box)
      s->box->owner = 0;
    return -ENOBUFS;
  }
  udp_recv(s->udp, on_udp, s);
  return 0;
}

static int
icmp_open(struct sock *s)
{
  if(take_box(s) < 0 || (s->raw = raw_new(IPPROTO_ICMP)) == 0) {
    if(s->box)
      s->box->owner = 0;
    return -ENOBUFS;
  }
  raw_recv(s->raw, on_icmp, s);
  return 0;
}

static int
udp_bind_to(struct sock *s, const struct sockaddr_in *sa)
{
  ip_addr_t ip = IPADDR4_INIT(sa->sin_addr.s_addr);
  err_t e = udp_bind(s->udp, &ip, ntohs(sa->sin_port));
  if(e == ERR_OK)
    sock_remember(s, s->udp->local_port, 0);
  return -sock_errno(e, 0);
}

static int
icmp_bind_to(struct sock *s, const struct sockaddr_in *sa)
{
  ip_addr_t ip = IPADDR4_INIT(sa->sin_addr.s_addr);
  raw_bind(s->raw, &ip);
  sock_remember(s, 0, 0);
  return 0;
}

// The peer from now on: only its messages arrive, and send needs no address.
static int
dgram_connect(struct sock *s, const struct sockaddr_in *sa, int flags)
{
  ip_addr_t ip;
  u16 port;
  (void)flags;
  int r = destination(s, sa, &ip, &port);
  if(r < 0)
    return r;
  err_t e = s->ops == &udp_ops ? udp_connect(s->udp, &ip, port) : raw_connect(s->raw, &ip);
  if(e != ERR_OK)
    return -sock_errno(e, 0);
  sock_remember(s, s->ops == &udp_ops ? s->udp->local_port : 0, port);
  s->raddr = ntohl(ip.addr);
  sock_state(s, SOCKSTATE_CONNECTED, 0);
  return 0;
}

static int
dgram_shutdown(struct sock *s, int how)
{
  if(s->raddr == 0)
    return -ENOTCONN;
  if(how != SHUT_WR)
    s->rd_shut = 1;
  if(how != SHUT_RD)
    s->wr_shut = 1;
  return 0;
}

static int
dgram_poll(struct sock *s)
{
  int r = s->wr_shut ? 0 : POLLOUT;
  if(s->box->r != s->box->w || s->rd_shut)
    r |= POLLIN;
  return r;
}

static void
dgram_close(struct sock *s)
{
  struct mailbox *b = s->box;
  while(b->r != b->w)
    pbuf_free(b->q[b->r++ % NDGRAM].p);
  b->owner = 0;
  if(s->ops == &udp_ops)
    udp_remove(s->udp);
  else
    raw_remove(s->raw);
}

const struct sock_ops udp_ops = {
  .type = SOCK_DGRAM,
  .proto = IPPROTO_UDP,
  .open = udp_open,
  .bind = udp_bind_to,
  .connect = dgram_connect,
  .read = dgram_read,
  .write = dgram_write,
  .shutdown = dgram_shutdown,
  .poll = dgram_poll,
  .close = dgram_close,
};

const struct sock_ops icmp_ops = {
  .type = SOCK_RAW,
  .proto = IPPROTO_ICMP,
  .open = icmp_open,
  .bind = icmp_bind_to,
  .connect = dgram_connect,
  .read = dgram_read,
  .write = dgram_write,
  .shutdown = dgram_shutdown,
  .poll = dgram_poll,
  .close = dgram_close,
};
