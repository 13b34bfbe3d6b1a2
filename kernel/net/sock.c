// Sockets over lwIP's raw TCP interface: the states, the queues, the sleeping.
//
// Up:   lwIP -> on_recv (sock_rx) ... sock_read <- sys_recv, read
// Down: sys_send, write -> sock_write (sock_tx) -> tcp_write, tcp_output
//
// The sock_ functions are called by system calls in thread context; they take
// netlock, may sleep, and copy from and to the program's memory, which the caller
// has checked.  The on_ functions are lwIP's callbacks: netlock is held, they
// neither sleep nor touch user memory, and a pcb they abort is reported as ERR_ABRT.
// lwIP may free a pcb whenever netlock is not ours: after each sleep s->pcb is
// looked at again.  All who wait for a socket sleep on the struct sock itself.
#include "uapi/types.h"
#include "uapi/fcntl.h"
#include "defs.h"
#include "debug.h"
#include "mmu.h"
#include "proc.h"
#include "trace/trace.h"
#include "net/net.h"
#include "net/sock.h"
#include "net/lwiphooks.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/tcp.h"

#define FOREVER  (~0ull)
#define SENDROOM (2 * TCP_MSS) // a sender is woken when this much is free

#define FLOW(s) .laddr = (s)->laddr, .raddr = (s)->raddr, .lport = (s)->lport, .rport = (s)->rport

static struct sock socks[NSOCK];
static u16 last_id;
static u8 ext; // our place in a pcb's ext_args

static int
nonblock(int flags)
{
  return (flags & (MSG_DONTWAIT | O_NONBLOCK)) != 0;
}

static int
errno_of(err_t e, int connecting)
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

// ---- one socket ---------------------------------------------------------

static void
set_state(struct sock *s, u8 to, int err)
{
  if(s->state == to)
    return;
  TRACE(sock_state, .pkt = input.pkt, .sock = s->id, .from = s->state, .to = to, .err = -err);
  s->state = to;
}

// Something about s has changed that a sleeper or a poller may wait for.
static void
notify(struct sock *s)
{
  wakeup(s);
  poll_wake();
}

static u16
new_id(void)
{
  if(++last_id == 0)
    last_id = 1;
  return last_id;
}

static struct sock *
sock_alloc(u16 id)
{
  if(fail_now())
    return 0;
  for(struct sock *s = socks; s < socks + NSOCK; s++)
    if(!s->used) {
      *s = (struct sock){.used = 1, .id = id};
      set_state(s, SOCKSTATE_CREATED, 0);
      return s;
    }
  return 0;
}

u32
sock_count(void)
{
  u32 n = 0;
  for(struct sock *s = socks; s < socks + NSOCK; s++)
    n += s->used;
  return n;
}

// A pcb knows its socket by pointer, or, before accept and after close, only by
// number: then the word is odd.
static void *
tag(u16 id)
{
  return (void *)((u32)id << 1 | 1);
}

// The id of the socket a pcb belongs to, or will, or did; 0 if none.
u16
sock_id(const struct tcp_pcb *pcb)
{
  u32 w = (u32)pcb->ext_args[ext].data;
  if(w & 1)
    return w >> 1;
  return w ? ((struct sock *)w)->id : 0;
}

// lwIP has freed the pcb, for whatever reason: the only place all deaths pass.
static void
on_destroy(u8_t id, void *data)
{
  (void)id;
  if(data && ((u32)data & 1) == 0)
    ((struct sock *)data)->pcb = 0;
}

// A SYN has made a pcb: give the connection the number its socket will have.
static err_t
on_passive_open(u8_t id, struct tcp_pcb_listen *lpcb, struct tcp_pcb *pcb)
{
  (void)lpcb;
  tcp_ext_arg_set(pcb, id, tag(new_id()));
  return ERR_OK;
}

static const struct tcp_ext_arg_callbacks ext_calls = {.destroy = on_destroy, .passive_open = on_passive_open};

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err);
static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len);
static err_t on_poll(void *arg, struct tcp_pcb *pcb);
static void on_err(void *arg, err_t err);

// Tie pcb and socket together.
static void
attach(struct sock *s, struct tcp_pcb *pcb)
{
  s->pcb = pcb;
  tcp_ext_arg_set_callbacks(pcb, ext, &ext_calls);
  tcp_ext_arg_set(pcb, ext, s);
  tcp_arg(pcb, s);
  if(pcb->state == LISTEN)
    return;
  tcp_recv(pcb, on_recv);
  tcp_sent(pcb, on_sent);
  tcp_err(pcb, on_err);
  tcp_poll(pcb, on_poll, 2); // every second
}

// Untie them: lwIP goes on with the pcb alone.
static struct tcp_pcb *
detach(struct sock *s)
{
  struct tcp_pcb *pcb = s->pcb;
  s->pcb = 0;
  if(pcb == 0)
    return 0;
  tcp_ext_arg_set(pcb, ext, tag(s->id));
  tcp_arg(pcb, 0);
  if(pcb->state == LISTEN) {
    tcp_accept(pcb, 0);
    return pcb;
  }
  tcp_recv(pcb, 0);
  tcp_sent(pcb, 0);
  tcp_err(pcb, 0);
  tcp_poll(pcb, 0, 0);
  return pcb;
}

static void
note_flow(struct sock *s, const struct tcp_pcb *pcb)
{
  s->laddr = ntohl(ip4_addr_get_u32(ip_2_ip4(&pcb->local_ip)));
  s->lport = pcb->local_port;
  if(pcb->state == LISTEN || pcb->state == CLOSED)
    return;
  s->raddr = ntohl(ip4_addr_get_u32(ip_2_ip4(&pcb->remote_ip)));
  s->rport = pcb->remote_port;
}

void
sock_init(void)
{
  ext = tcp_ext_arg_alloc_id();
}

// ---- writes and their segments ------------------------------------------

static void
end_write(const struct write *w, u8 fate)
{
  TRACE(pkt_end, .pkt = w->pkt, .sock = 0, .fate = fate, .life_us = net_us() - w->born);
}

// n bytes from sequence number seq on are handed to TCP: returns the write's
// identity.  When too many are waiting they count as one more piece of the last.
static u32
begin_write(struct sock *s, u32 seq, u32 n)
{
  if(s->nwrite == NWRITE) {
    struct write *w = &s->writes[NWRITE - 1];
    w->len += n;
    return w->pkt;
  }
  struct write *w = &s->writes[s->nwrite++];
  *w = (struct write){.pkt = pkt_new(), .born = net_us(), .seq = seq, .len = n};
  return w->pkt;
}

// A new segment carries len bytes from seq on: link it to the writes they come
// from, and end those whose last byte has left.
void
sock_sent(struct tcp_pcb *pcb, u32 pkt, u32 seq, u32 len)
{
  u32 word = (u32)pcb->ext_args[ext].data;
  struct sock *s = (struct sock *)word;
  if(word == 0 || word & 1)
    return;
  s->tx_p++;
  int done = 0;
  for(int i = 0; i < s->nwrite; i++) {
    struct write *w = &s->writes[i];
    u32 from = (int)(seq - w->seq) > 0 ? seq : w->seq;
    u32 wend = w->seq + w->len, send = seq + len;
    u32 to = (int)(send - wend) < 0 ? send : wend;
    if((int)(to - from) <= 0)
      continue;
    TRACE(pkt_link, .pkt = pkt, .sock = s->id, .parent = w->pkt, .kind = LINK_SEGMENT, .off = from - w->seq, .len = to - from);
    if(to == wend) {
      end_write(w, FATE_STACK);
      done = i + 1;
    }
  }
  s->nwrite -= done;
  memmove(s->writes, s->writes + done, s->nwrite * sizeof(s->writes[0]));
}

// The connection died with writes that have not left.
static void
drop_writes(struct sock *s)
{
  for(int i = 0; i < s->nwrite; i++)
    net_drop_unsent(s->writes[i].pkt, DROP_TCP_RESET);
  s->nwrite = 0;
}

// A packet of socket number id was dropped.
void
sock_dropped(u16 id)
{
  for(struct sock *s = socks; id && s < socks + NSOCK; s++)
    if(s->used && s->id == id)
      s->drops++;
}

// ---- lwIP's callbacks: up -----------------------------------------------

// Queue what arrived; p = 0: the peer has sent its last byte.
// Always ERR_OK: the window bounds the bytes, so nothing is ever refused.
static err_t
on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
  struct sock *s = arg;
  (void)err;
  watch_pcb(pcb);
  if(p == 0) {
    s->rd_eof = 1;
    notify(s);
    return ERR_OK;
  }
  if(s->rd_shut) {
    tcp_recved(pcb, p->tot_len);
    for(struct pbuf *q = p; q; q = q->next)
      net_drop_pbuf(q, DROP_SOCK_SHUT);
    pbuf_free(p);
    return ERR_OK;
  }
  int was_empty = s->rx_len == 0;
  if(s->rxq)
    s->rxtail->next = p;
  else
    s->rxq = p;
  for(struct pbuf *q = p; q; q = q->next) {
    q->fate |= FATE_SOCKET;
    s->rx_len += q->len;
    s->rx_b += q->len;
    s->rx_p++;
    s->rxtail = q;
    TRACE(sock_rx, .pkt = q->pkt, .sock = s->id, .n = q->len, .queued = s->rx_len, .limit = TCP_WND);
  }
  if(was_empty)
    notify(s);
  return ERR_OK;
}

static int
room(const struct sock *s)
{
  return tcp_sndbuf(s->pcb) >= SENDROOM && tcp_sndqueuelen(s->pcb) < TCP_SND_QUEUELEN / 2;
}

// The peer has acknowledged data: a sender may go on.
static err_t
on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
  struct sock *s = arg;
  (void)len;
  watch_pcb(pcb);
  if(s->want_room && room(s)) {
    s->want_room = 0;
    notify(s);
  }
  return ERR_OK;
}

// Every second: want of memory ends without on_sent.
static err_t
on_poll(void *arg, struct tcp_pcb *pcb)
{
  return on_sent(arg, pcb, 0);
}

// The connection is dead and its pcb gone.  Data already queued stays readable.
static void
on_err(void *arg, err_t e)
{
  struct sock *s = arg;
  if(s == 0)
    return;
  int err = errno_of(e, s->state == SOCKSTATE_CONNECTING);
  s->pcb = 0;
  s->err = s->err ? s->err : err;
  s->rd_eof = 1;
  drop_writes(s);
  set_state(s, err ? SOCKSTATE_ERROR : SOCKSTATE_CLOSED, err);
  notify(s);
}

static err_t
on_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
  struct sock *s = arg;
  (void)err;
  watch_pcb(pcb);
  note_flow(s, pcb);
  set_state(s, SOCKSTATE_CONNECTED, 0);
  notify(s);
  return ERR_OK;
}

// A connection to a listener is established: make its socket at once, since data
// may follow in the same segment, and queue it for accept.
static err_t
on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
  struct sock *l = arg;
  if(pcb == 0 || err != ERR_OK)
    return ERR_VAL; // lwIP had no memory for it
  watch_pcb(pcb);
  struct sock *s = l ? sock_alloc(sock_id(pcb)) : 0;
  if(s == 0) {
    net_drop(input.pkt, DROP_NOMEM_SOCK);
    tcp_abort(pcb);
    return ERR_ABRT;
  }
  attach(s, pcb);
  note_flow(s, pcb);
  s->pid = l->pid;
  set_state(s, SOCKSTATE_CONNECTED, 0);
  tcp_backlog_delayed(pcb); // it counts until accept takes it
  struct sock **tail = &l->children;
  while(*tail)
    tail = &(*tail)->next;
  *tail = s;
  l->waiting++;
  notify(l);
  return ERR_OK;
}

// Does the segment repeat what is known, while our window is zero?  lwIP takes it for
// one beyond the window and answers it; if the peer is lwIP as well, and its window
// zero, too, both answer for ever.  The peer may count a byte that it has sent to
// probe our window.  Duplicate acknowledgments of data on its way count, but only
// the first three mean something.
static int
says_nothing(const struct tcp_pcb *pcb, const struct tcp_hdr *hdr, u16 len)
{
  return pcb->rcv_wnd == 0 && len == 0 && TCPH_FLAGS(hdr) == TCP_ACK && hdr->seqno - pcb->rcv_nxt <= 1 &&
         hdr->ackno == pcb->lastack && hdr->wnd == pcb->snd_wnd && (pcb->unacked == 0 || pcb->dupacks > 3);
}

// A segment for pcb, before lwIP looks at it.  After close lwIP no longer
// refreshes the time of the last activity, and a connection idle for long would
// die at its FIN instead of going through TIME-WAIT.
// ERR_OK, or lwIP shall forget it.
err_t
sock_segment(struct tcp_pcb *pcb, const struct tcp_hdr *hdr, u16 len)
{
  if(pcb->state == LISTEN)
    return ERR_OK;
  if(TCPH_FLAGS(hdr) & TCP_FIN)
    pcb->tmr = tcp_ticks;
  return says_nothing(pcb, hdr, len) ? ERR_ABRT : ERR_OK;
}

// ---- system calls: reading ----------------------------------------------

// Report the pending error, once.
static int
take_err(struct sock *s)
{
  int err = s->err;
  s->err = 0;
  return -err;
}

// Why nothing can be read now: 1 wait, 0 end of stream, or -errno.
static int
read_state(struct sock *s)
{
  if(s->state < SOCKSTATE_CONNECTING)
    return -ENOTCONN;
  if(s->rd_shut)
    return 0;
  if(s->err)
    return take_err(s);
  return s->pcb && !s->rd_eof;
}

// Take up to n bytes from the queue.
static int
take(struct sock *s, char *dst, u32 n)
{
  u32 done = 0;
  while(done < n && s->rxq) {
    struct pbuf *p = s->rxq;
    u32 m = p->len - s->rx_off < n - done ? p->len - s->rx_off : n - done;
    memmove(dst + done, (u8 *)p->payload + s->rx_off, m);
    done += m;
    s->rx_off += m;
    s->rx_len -= m;
    myproc()->pkt = p->pkt;
    TRACE(sock_read, .pkt = p->pkt, .sock = s->id, .n = m, .left = s->rx_len, .wait_us = net_us() - p->born);
    if(s->rx_off < p->len)
      break;
    s->rx_off = 0;
    s->rxq = p->next;
    p->next = 0;
    pbuf_free(p);
  }
  return done;
}

// Read at most n bytes into dst, which is writable.  Waits for the first byte
// unless flags say O_NONBLOCK or MSG_DONTWAIT; MSG_PEEK leaves the bytes there.
// Returns the count, 0 at the end of the stream, or -errno.
int
sock_read(struct sock *s, char *dst, int n, int flags)
{
  int r;
  net_lock();
  s->pid = myproc()->pid;
  while(s->rx_len == 0 || s->rd_shut) {
    r = read_state(s);
    if(r == 1 && n > 0 && !nonblock(flags)) {
      if(net_sleep(s, FOREVER, SLEEPWHY_NET) == 0)
        continue;
      r = -EINTR;
    } else if(r == 1)
      r = n > 0 ? -EAGAIN : 0;
    net_unlock();
    return r;
  }
  if(flags & MSG_PEEK) {
    u32 m = (u32)n < s->rx_len ? (u32)n : s->rx_len, done = 0, off = s->rx_off;
    for(struct pbuf *p = s->rxq; done < m; p = p->next, off = 0) {
      u32 k = p->len - off < m - done ? p->len - off : m - done;
      memmove(dst + done, (u8 *)p->payload + off, k);
      done += k;
    }
    r = m;
  } else {
    r = take(s, dst, n);
    // At once and for every byte: a close would answer the peer with a reset otherwise.
    if(s->pcb && s->pcb->state != TIME_WAIT)
      tcp_recved(s->pcb, r);
  }
  net_unlock();
  return r;
}

// ---- system calls: writing ----------------------------------------------

static int
write_state(struct sock *s)
{
  if(s->state < SOCKSTATE_CONNECTING)
    return -ENOTCONN;
  if(s->err)
    return take_err(s);
  if(s->wr_shut || (s->pcb == 0 && s->state != SOCKSTATE_CONNECTING))
    return -EPIPE;
  return 0;
}

// Hand up to n bytes to TCP.  Returns how many it took; 0: no room now.
static int
sock_tx(struct sock *s, const char *src, u32 n)
{
  struct tcp_pcb *pcb = s->pcb;
  u32 m = tcp_sndbuf(pcb), seq = pcb->snd_lbb;
  if(m > n)
    m = n;
  if(m == 0 || tcp_write(pcb, src, m, TCP_WRITE_FLAG_COPY) != ERR_OK)
    return 0;
  s->tx_b += m;
  u32 pkt = begin_write(s, seq, m);
  myproc()->pkt = pkt;
  TRACE(sock_tx, .pkt = pkt, .sock = s->id, .n = m, .queued = TCP_SND_BUF - tcp_sndbuf(pcb), .limit = TCP_SND_BUF);
  tcp_output(pcb);
  watch_pcb(pcb);
  return m;
}

// Queue n bytes at src for sending.  Waits until all are queued, unless flags say
// O_NONBLOCK or MSG_DONTWAIT: then as many as there is room for.
// Returns the count, which is short only after an error or a kill, or -errno.
int
sock_write(struct sock *s, const char *src, int n, int flags)
{
  int done = 0, r = 0;
  net_lock();
  s->pid = myproc()->pid;
  while(done < n) {
    if((r = write_state(s)) < 0)
      break;
    int m = s->state == SOCKSTATE_CONNECTED ? sock_tx(s, src + done, n - done) : 0;
    done += m;
    if(m > 0)
      continue;
    s->want_room = 1;
    r = nonblock(flags) ? -EAGAIN : net_sleep(s, FOREVER, SLEEPWHY_NET) < 0 ? -EINTR
                                                                            : 0;
    if(r < 0)
      break;
  }
  if(n == 0)
    r = write_state(s);
  net_unlock();
  return done > 0 ? done : r;
}

// ---- system calls: set-up -----------------------------------------------

// A new TCP socket; 0 and *err = -errno if there is none left.
struct sock *
sock_create(int *err)
{
  net_lock();
  struct sock *s = sock_alloc(new_id());
  watch_enter(TCP_WHY_MEMORY); // tcp_new may take the pcb of a connection in TIME-WAIT
  struct tcp_pcb *pcb = s ? tcp_new() : 0;
  watch_enter(TCP_WHY_API);
  if(pcb == 0) {
    *err = s ? -ENOBUFS : -ENFILE;
    if(s)
      s->used = 0;
    s = 0;
  } else {
    ip_set_option(pcb, SOF_REUSEADDR); // a restarted server may bind at once
    attach(s, pcb);
    s->pid = myproc()->pid;
  }
  net_unlock();
  return s;
}

// May a socket of this machine have this address?
static int
is_ours(u32 addr_be)
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

// Does another socket listen there already?
static int
in_use(u32 addr, u16 port)
{
  for(struct sock *s = socks; s < socks + NSOCK; s++)
    if(s->used && s->state == SOCKSTATE_LISTENING && s->lport == port &&
       (s->laddr == 0 || addr == 0 || s->laddr == addr))
      return 1;
  return 0;
}

// Port 0: any free one.
int
sock_bind(struct sock *s, const struct sockaddr_in *sa)
{
  int r = 0;
  ip_addr_t ip = IPADDR4_INIT(sa->sin_addr.s_addr);
  net_lock();
  if(s->state != SOCKSTATE_CREATED || s->pcb == 0)
    r = -EINVAL;
  else if(!is_ours(sa->sin_addr.s_addr))
    r = -EADDRNOTAVAIL;
  else if(sa->sin_port && in_use(ntohl(sa->sin_addr.s_addr), ntohs(sa->sin_port)))
    r = -EADDRINUSE;
  else
    r = -errno_of(tcp_bind(s->pcb, &ip, ntohs(sa->sin_port)), 0);
  if(r == 0) {
    note_flow(s, s->pcb);
    set_state(s, SOCKSTATE_BOUND, 0);
  }
  net_unlock();
  return r;
}

// lwIP frees the pcb here and makes a smaller one for listening.
static int
start_listening(struct sock *s, int backlog)
{
  err_t e = ERR_OK;
  struct tcp_pcb *pcb = tcp_listen_with_backlog_and_err(s->pcb, backlog, &e);
  if(pcb == 0)
    return -errno_of(e, 0);
  attach(s, pcb);
  tcp_accept(pcb, on_accept);
  watch_pcb(pcb);
  set_state(s, SOCKSTATE_LISTENING, 0);
  return 0;
}

// Accept connections, of which backlog may wait.  Again: a new backlog.
int
sock_listen(struct sock *s, int backlog)
{
  int r = -EINVAL;
  backlog = backlog < 1 ? 1 : backlog > NBACKLOG ? NBACKLOG
                                                 : backlog;
  net_lock();
  if(s->state == SOCKSTATE_LISTENING) {
    tcp_backlog_set(s->pcb, backlog);
    r = 0;
  } else if(s->state == SOCKSTATE_BOUND && s->pcb)
    r = start_listening(s, backlog);
  if(r == 0)
    s->backlog = backlog;
  net_unlock();
  return r;
}

// Drop a socket that has neither file nor pcb any more.
static void
sock_free(struct sock *s)
{
  for(int i = 0; i < s->nwrite; i++)
    end_write(&s->writes[i], FATE_STACK); // TCP has the bytes and goes on alone
  if(s->rxq) {
    for(struct pbuf *p = s->rxq, *next; p; p = next) {
      next = p->next;
      p->next = 0;
      pbuf_free(p);
    }
  }
  set_state(s, SOCKSTATE_CLOSED, 0);
  s->used = 0;
}

// The oldest waiting connection of a listener, as a socket of its own.
// 0 and *err = -errno: none, by flags or because the process is being killed.
struct sock *
sock_accept(struct sock *l, int flags, int *err)
{
  net_lock();
  l->pid = myproc()->pid;
  *err = 0;
  while(*err == 0 && (l->state != SOCKSTATE_LISTENING || l->children == 0)) {
    if(l->state != SOCKSTATE_LISTENING)
      *err = -EINVAL;
    else if(nonblock(flags))
      *err = -EAGAIN;
    else if(net_sleep(l, FOREVER, SLEEPWHY_NET) < 0)
      *err = -EINTR;
  }
  struct sock *s = *err ? 0 : l->children;
  if(s) {
    l->children = s->next;
    l->waiting--;
    s->next = 0;
    s->pid = l->pid;
    if(s->pcb)
      tcp_backlog_accepted(s->pcb);
    TRACE(sock_accept, .pkt = s->rxq ? s->rxq->pkt : 0, .sock = s->id, FLOW(s), .listener = l->id,
          .waiting = l->waiting, .backlog = l->backlog);
  }
  if(s && s->err && s->rx_len == 0) { // reset while it waited, nothing to read
    *err = -ECONNABORTED;
    sock_free(s);
    s = 0;
  }
  net_unlock();
  return s;
}

static int
start_connecting(struct sock *s, const struct sockaddr_in *sa)
{
  ip_addr_t ip = IPADDR4_INIT(sa->sin_addr.s_addr);
  if(s->state > SOCKSTATE_BOUND || s->pcb == 0)
    return s->state == SOCKSTATE_CONNECTING ? -EALREADY : s->state == SOCKSTATE_CONNECTED ? -EISCONN
                                                                                          : -EINVAL;
  if(sa->sin_port == 0 || sa->sin_addr.s_addr == 0)
    return -EADDRNOTAVAIL;
  err_t e = tcp_connect(s->pcb, &ip, ntohs(sa->sin_port), on_connected);
  if(e != ERR_OK)
    return -errno_of(e, 1);
  note_flow(s, s->pcb);
  watch_pcb(s->pcb);
  set_state(s, SOCKSTATE_CONNECTING, 0);
  return 0;
}

// Connect; waits until established, or -EINPROGRESS by flags.
int
sock_connect(struct sock *s, const struct sockaddr_in *sa, int flags)
{
  net_lock();
  s->pid = myproc()->pid;
  int r = start_connecting(s, sa);
  if(r == 0 && nonblock(flags))
    r = -EINPROGRESS;
  while(r == 0 && s->state == SOCKSTATE_CONNECTING)
    if(net_sleep(s, FOREVER, SLEEPWHY_NET) < 0)
      r = -EINTR;
  if(r == 0 && s->state != SOCKSTATE_CONNECTED)
    r = take_err(s);
  net_unlock();
  return r;
}

// ---- system calls: the end ----------------------------------------------

// SHUT_WR sends the FIN behind what is queued, SHUT_RD makes reads return 0.
int
sock_shutdown(struct sock *s, int how)
{
  int r = 0;
  net_lock();
  if(s->state != SOCKSTATE_CONNECTED || s->pcb == 0)
    r = s->state == SOCKSTATE_CLOSED ? 0 : -ENOTCONN;
  else if(how != SHUT_RD && !s->wr_shut) {
    s->pcb->tmr = tcp_ticks; // see sock_segment
    s->wr_shut = 1;
    r = -errno_of(tcp_shutdown(s->pcb, 0, 1), 0);
    if(s->pcb)
      watch_pcb(s->pcb);
  }
  if(r == 0 && how != SHUT_WR)
    s->rd_shut = 1;
  notify(s);
  net_unlock();
  return r;
}

// Give up a connection: unread data is answered with a reset, what was written
// and the FIN go out in the background.
static void
hang_up(struct sock *s)
{
  int unread = s->rx_len > 0;
  struct tcp_pcb *pcb = detach(s);
  if(pcb == 0)
    return;
  if(unread && pcb->state != TIME_WAIT) {
    tcp_abort(pcb);
    return;
  }
  if(pcb->state != LISTEN)
    pcb->tmr = tcp_ticks; // see sock_segment
  tcp_close(pcb);         // its death, if this was it, has been seen by watch.c
  watch_all();
}

// The last reference to the socket's file is gone.
void
sock_close(struct sock *s)
{
  net_lock();
  while(s->children) { // nobody will accept them
    struct sock *c = s->children;
    s->children = c->next;
    struct tcp_pcb *pcb = detach(c);
    if(pcb)
      tcp_abort(pcb);
    sock_free(c);
  }
  hang_up(s);
  sock_free(s);
  net_unlock();
}

// ---- system calls: asking -----------------------------------------------

// POLL... bits that hold now.  Who asks for room and finds none is told later.
int
sock_poll(struct sock *s)
{
  int r = 0;
  net_lock();
  if(s->children || s->rx_len || s->rd_eof || s->rd_shut)
    r |= POLLIN;
  if(s->err)
    r |= POLLERR;
  if(s->state == SOCKSTATE_CONNECTED && s->pcb && !s->wr_shut) {
    if(room(s))
      r |= POLLOUT;
    else
      s->want_room = 1;
  }
  if(s->state > SOCKSTATE_CONNECTED || (s->rd_eof && s->wr_shut))
    r |= POLLHUP | POLLIN;
  net_unlock();
  return r;
}

int
sock_name(struct sock *s, int peer, struct sockaddr_in *sa)
{
  int r = peer && s->rport == 0 ? -ENOTCONN : 0;
  net_lock();
  *sa = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(peer ? s->rport : s->lport)};
  sa->sin_addr.s_addr = htonl(peer ? s->raddr : s->laddr);
  net_unlock();
  return r;
}

// Record every socket's figures.
// Context: netd, netlock held.
void
sock_snap(void)
{
  for(struct sock *s = socks; s < socks + NSOCK; s++) {
    if(!s->used)
      continue;
    u32 srtt = 0;
    u16 rexmits = 0;
    struct tcp_pcb *conn = s->pcb && s->pcb->state != LISTEN ? s->pcb : 0;
    watch_figures(s->pcb, &srtt, &rexmits);
    TRACE(sock_stat, .pkt = 0, .sock = s->id, FLOW(s), .cwnd = conn ? conn->cwnd : 0, .srtt_us = srtt,
          .sndq = conn ? TCP_SND_BUF - tcp_sndbuf(conn) : 0, .rcvq = s->rx_len, .rexmits = rexmits,
          .backlog = s->waiting, .proto = PROTO_TCP, .state = s->pcb ? s->pcb->state : CLOSED, .owner = s->pid);
    TRACE(sock_count, .pkt = 0, .sock = s->id, .rx_b = s->rx_b, .tx_b = s->tx_b, .rx_p = s->rx_p,
          .tx_p = s->tx_p, .drops = s->drops);
  }
}
