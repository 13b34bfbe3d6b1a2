// TCP sockets, over lwIP's raw TCP interface: connections, their queues, their ends.
//
// Up:   lwIP -> on_recv (sock_rx) ... stream_read <- sock_recv
// Down: sock_send -> stream_write (sock_tx) -> tcp_write, tcp_output
//
// sock.c calls with netlock held; user memory was checked.  The on_ functions are
// lwIP's callbacks: they neither sleep nor touch user memory, and a pcb they abort
// is reported as ERR_ABRT.
#include "uapi/types.h"
#include "defs.h"
#include "mmu.h"
#include "proc.h"
#include "trace/trace.h"
#include "net/net.h"
#include "net/sock.h"
#include "net/lwiphooks.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/tcp.h"

#define SENDROOM (2 * TCP_MSS)  // a sender is woken when this much is free
#define FLOOD    (4 * NBACKLOG) // SYNs turned away in half a second: no burst of clients
#define TINY     256            // bytes: a segment that wastes its buffer
#define PLENTY   32             // buffers a socket may queue before its tiny ones are copied
#define BLOCK    2048           // bytes of what they are copied into

#define OPT_NOBODYS 254 // RFC 4727: for experiments

#define FLOW(s) .laddr = (s)->laddr, .raddr = (s)->raddr, .lport = (s)->lport, .rport = (s)->rport

static u8 ext;   // our place in a pcb's ext_args
static u16 gone; // [n] number of the socket whose pcb, left alone, was freed last

// ---- socket and pcb -----------------------------------------------------

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
  if((u32)data & 1)
    gone = (u32)data >> 1;
  else if(data)
    ((struct sock *)data)->pcb = 0;
}

// A SYN has made a pcb: give the connection the number its socket will have.
static err_t
on_passive_open(u8_t id, struct tcp_pcb_listen *lpcb, struct tcp_pcb *pcb)
{
  (void)lpcb;
  tcp_ext_arg_set(pcb, id, tag(sock_newid()));
  return ERR_OK;
}

static const struct tcp_ext_arg_callbacks ext_calls = {.destroy = on_destroy, .passive_open = on_passive_open};

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err);
static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len);
static err_t on_poll(void *arg, struct tcp_pcb *pcb);
static void on_err(void *arg, err_t err);

// Give the connection the options that its socket has, or its listener had.
static void
apply_options(const struct sock *s)
{
  struct tcp_pcb *pcb = s->pcb;
  if(pcb == 0 || pcb->state == LISTEN)
    return;
  pcb->keep_idle = s->keep_idle * 1000;
  pcb->keep_intvl = s->keep_intvl * 1000;
  pcb->keep_cnt = s->keep_cnt;
  if(s->nodelay)
    tcp_nagle_disable(pcb);
  else
    tcp_nagle_enable(pcb);
}

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
  apply_options(s);
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

void
stream_init(void)
{
  ext = tcp_ext_arg_alloc_id();
}

// ---- writes and their segments ------------------------------------------

TRACE_APART void
tell_write_end(const struct write *w, u8 fate)
{
  TRACE(pkt_end, .pkt = w->pkt, .sock = 0, .fate = fate, .life_us = now_us() - w->born);
}

static inline void
end_write(const struct write *w, u8 fate)
{
  if(TRACING(pkt_end))
    tell_write_end(w, fate);
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
  *w = (struct write){.pkt = pkt_new(), .born = now_us(), .seq = seq, .len = n};
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

TRACE_APART void
end_writes(const struct sock *s)
{
  for(int i = 0; i < s->nwrite; i++)
    tell_write_end(&s->writes[i], FATE_STACK);
}

// What was received and not read goes with the socket.
static void
drop_queue(struct sock *s)
{
  if(TRACING(pkt_end))
    end_writes(s); // TCP has the bytes and goes on alone
  for(struct pbuf *p = s->rxq, *next; p; p = next) {
    next = p->next;
    p->next = 0;
    pbuf_free(p);
  }
}

// ---- lwIP's callbacks: up -----------------------------------------------

// p goes to the end of the queue.
static void
append(struct sock *s, struct pbuf *p)
{
  if(s->rxq)
    s->rxtail->next = p;
  else
    s->rxq = p;
  s->rxtail = p;
  s->rx_n++;
  p->fate |= FATE_SOCKET;
}

// A full window of single bytes would hold more buffers than the card has, and the
// others would get none: copy p into a block at the end of the queue, and free it.
// 1 if done; 0: it is not worth it, or there is no memory.
static int
merge(struct sock *s, struct pbuf *p)
{
  if(s->rx_n < PLENTY || p->len >= TINY)
    return 0;
  struct pbuf *b = s->rxtail;
  if(b != s->block || BLOCK - b->len < p->len) {
    b = pbuf_alloc(PBUF_RAW, BLOCK, PBUF_RAM);
    if(b == 0)
      return 0;
    b->len = b->tot_len = 0;
    b->pkt = pkt_new();
    b->born = now_us();
    append(s, b);
    s->block = b;
  }
  TRACE(pkt_link, .pkt = b->pkt, .sock = s->id, .parent = p->pkt, .kind = LINK_MERGE, .off = b->len, .len = p->len);
  memmove((u8 *)b->payload + b->len, p->payload, p->len);
  b->len = b->tot_len = b->len + p->len;
  p->fate |= FATE_SOCKET; // its bytes are there: no drop
  pbuf_free(p);
  return 1;
}

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
    sock_notify(s);
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
  for(struct pbuf *next; p; p = next) {
    next = p->next;
    p->next = 0;
    s->rx_len += p->len;
    s->rx_b += p->len;
    s->rx_p++;
    TRACE(sock_rx, .pkt = p->pkt, .sock = s->id, .n = p->len, .queued = s->rx_len, .limit = TCP_WND);
    if(!merge(s, p))
      append(s, p);
  }
  if(was_empty)
    sock_notify(s);
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
    sock_notify(s);
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
  int err = sock_errno(e, s->state == SOCKSTATE_CONNECTING);
  s->pcb = 0;
  s->err = s->err ? s->err : err;
  s->rd_eof = 1;
  drop_writes(s);
  sock_state(s, err ? SOCKSTATE_ERROR : SOCKSTATE_CLOSED, err);
  sock_notify(s);
}

static err_t
on_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
  struct sock *s = arg;
  (void)err;
  watch_pcb(pcb);
  sock_remember(s, pcb->local_port, pcb->remote_port);
  sock_state(s, SOCKSTATE_CONNECTED, 0);
  sock_notify(s);
  return ERR_OK;
}

// What a connection has from its listener, besides the flags that lwIP hands down.
static void
inherit(struct sock *s, const struct sock *l)
{
  s->pid = l->pid;
  s->linger = l->linger;
  s->linger_s = l->linger_s;
  s->rcv_ms = l->rcv_ms;
  s->snd_ms = l->snd_ms;
  s->keep_idle = l->keep_idle;
  s->keep_intvl = l->keep_intvl;
  s->keep_cnt = l->keep_cnt;
  s->nodelay = l->nodelay;
}

// Let go of a connection that nobody has accepted.
static void
discard(struct sock *s)
{
  struct tcp_pcb *pcb = detach(s);
  if(pcb)
    tcp_abort(pcb);
  drop_queue(s);
  sock_free(s);
}

// The oldest connection in l's queue that the peer has reset makes room.  lwIP counts
// only the living: without this, dead ones that nobody accepts would fill the table.
static void
forget_dead(struct sock *l)
{
  for(struct sock **at = &l->children; *at; at = &(*at)->next) {
    struct sock *s = *at;
    if(s->pcb)
      continue;
    *at = s->next;
    l->waiting--;
    discard(s);
    return;
  }
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
  if(l && l->waiting >= l->backlog)
    forget_dead(l);
  struct sock *s = l ? sock_alloc(&stream_ops, sock_id(pcb)) : 0;
  if(s == 0) {
    net_drop(input.pkt, DROP_NOMEM_SOCK);
    tcp_abort(pcb);
    return ERR_ABRT;
  }
  inherit(s, l);
  attach(s, pcb);
  pcb->ttl = l->pcb->ttl;
  sock_remember(s, pcb->local_port, pcb->remote_port);
  sock_state(s, SOCKSTATE_CONNECTED, 0);
  tcp_backlog_delayed(pcb); // it counts until accept takes it
  struct sock **tail = &l->children;
  while(*tail)
    tail = &(*tail)->next;
  *tail = s;
  l->waiting++;
  sock_notify(l);
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

// A SYN for a listener whose queue is full.  Connections that nobody completes make
// room: the oldest, if it has been waiting for its ACK for a second; in a flood at
// once, so that a client that answers gets through between those that never will.
static void
listen_evict(struct tcp_pcb_listen *l)
{
  struct sock *s = l->callback_arg;
  struct tcp_pcb *oldest = 0;
  if(s == 0 || l->accepts_pending < l->backlog)
    return;
  if(s->flood_tick != tcp_ticks) // a flood lasts until half a second without one
    s->flood = s->flood > FLOOD && tcp_ticks - s->flood_tick == 1 ? FLOOD : 0;
  s->flood_tick = tcp_ticks;
  u32 age = ++s->flood > FLOOD ? 0 : 2;                    // in ticks of 500 ms
  for(struct tcp_pcb *p = tcp_active_pcbs; p; p = p->next) // newest first
    if(p->state == SYN_RCVD && p->listener == l && tcp_ticks - p->tmr >= age) {
      age = tcp_ticks - p->tmr;
      oldest = p;
    }
  if(oldest)
    tcp_abandon(oldest, 0);
}

// A segment for pcb, before lwIP looks at it.  After close lwIP no longer
// refreshes the time of the last activity, and a connection idle for long would
// die at its FIN instead of going through TIME-WAIT.
// ERR_OK, or lwIP shall forget it.
err_t
sock_segment(struct tcp_pcb *pcb, const struct tcp_hdr *hdr, u16 len)
{
  if(pcb->state == LISTEN) {
    if((TCPH_FLAGS(hdr) & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN)
      listen_evict((struct tcp_pcb_listen *)pcb);
    return ERR_OK;
  }
  if(TCPH_FLAGS(hdr) & TCP_FIN)
    pcb->tmr = tcp_ticks;
  return says_nothing(pcb, hdr, len) ? ERR_ABRT : ERR_OK;
}

// The options of a segment: opt1len bytes behind hdr, those up to optlen at opt2.  Only
// a SYN has an MSS option (RFC 9293 3.7.1), but lwIP believes one in any segment, and
// its tcp_write stops the kernel at a queued segment longer than the MSS: here such an
// option gets a number that nobody knows.
void
sock_options(struct tcp_hdr *hdr, u16 optlen, u16 opt1len, u8 *opt2)
{
  if(TCPH_FLAGS(hdr) & TCP_SYN)
    return;
  for(u16 i = 0; i + 1 < optlen;) {
    u8 *kind = i < opt1len ? (u8 *)(hdr + 1) + i : opt2 + i - opt1len;
    u8 *len = i + 1 < opt1len ? (u8 *)(hdr + 1) + i + 1 : opt2 + i + 1 - opt1len;
    if(*kind == LWIP_TCP_OPT_EOL || (*kind != LWIP_TCP_OPT_NOP && *len < 2))
      return;
    i += *kind == LWIP_TCP_OPT_NOP ? 1 : *len;
    if(*kind == LWIP_TCP_OPT_MSS)
      *kind = OPT_NOBODYS;
  }
}

// ---- reading ------------------------------------------------------------

// Why nothing can be read now: 1 wait, 0 end of stream, or -errno.
static int
read_state(struct sock *s)
{
  if(s->state < SOCKSTATE_CONNECTING)
    return -ENOTCONN;
  if(s->rd_shut)
    return 0;
  if(s->err)
    return sock_take_err(s);
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
    TRACE(sock_read, .pkt = p->pkt, .sock = s->id, .n = m, .left = s->rx_len, .wait_us = now_us() - p->born);
    if(s->rx_off < p->len)
      break;
    s->rx_off = 0;
    s->rxq = p->next;
    s->rx_n--;
    if(p == s->block)
      s->block = 0;
    p->next = 0;
    pbuf_free(p);
  }
  return done;
}

// Copy up to n bytes and leave them in the queue.
static int
peek(struct sock *s, char *dst, u32 n)
{
  u32 m = n < s->rx_len ? n : s->rx_len, done = 0, off = s->rx_off;
  for(struct pbuf *p = s->rxq; done < m; p = p->next, off = 0) {
    u32 k = p->len - off < m - done ? p->len - off : m - done;
    memmove(dst + done, (u8 *)p->payload + off, k);
    done += k;
  }
  return m;
}

static void
peer_of(const struct sock *s, struct sockaddr_in *sa)
{
  *sa = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(s->rport), .sin_addr = {htonl(s->raddr)}};
}

static int
stream_read(struct sock *s, char *dst, int n, int flags, struct sockaddr_in *from)
{
  u64 until = sock_deadline(s->rcv_ms);
  while(s->rx_len == 0 || s->rd_shut) {
    int r = read_state(s);
    if(r != 1 || n == 0)
      return r == 1 ? 0 : r;
    if((r = sock_wait(s, flags, until)) < 0)
      return r;
  }
  if(from)
    peer_of(s, from);
  if(flags & MSG_PEEK)
    return peek(s, dst, n);
  int r = take(s, dst, n);
  // At once and for every byte: a close would answer the peer with a reset otherwise.
  if(s->pcb && s->pcb->state != TIME_WAIT)
    tcp_recved(s->pcb, r);
  return r;
}

// ---- writing ------------------------------------------------------------

// Why nothing can be written: 0 it can, or -errno.
static int
write_state(const struct sock *s)
{
  if(s->state < SOCKSTATE_CONNECTING)
    return -ENOTCONN;
  if(s->err)
    return -s->err;
  if(s->wr_shut || (s->pcb == 0 && s->state != SOCKSTATE_CONNECTING))
    return -EPIPE;
  return 0;
}

// How many bytes the send queue has room for.  It counts bytes and segments, and
// tcp_write takes all it is given or nothing: a peer with tiny segments, or a tiny
// window, would never get the first of a large write.
static u32
queue_room(const struct tcp_pcb *pcb)
{
  u32 half = pcb->snd_wnd_max / 2, mss = half > 0 && half < pcb->mss ? half : pcb->mss;
  u32 m = tcp_sndbuf(pcb), left = TCP_SND_QUEUELEN - tcp_sndqueuelen(pcb);
  if(tcp_sndqueuelen(pcb) >= TCP_SND_QUEUELEN - 1) // one may go for the end of the last segment
    return 0;
  return m < (left - 1) * mss ? m : (left - 1) * mss;
}

// Hand up to n bytes to TCP.  Returns how many it took; 0: no room now.
// With MSG_MORE a piece of a segment waits for the next write or the end, which saves
// a segment and its ACK; lwIP sends it after a second if neither comes.
static int
sock_tx(struct sock *s, const char *src, u32 n, int flags)
{
  struct tcp_pcb *pcb = s->pcb;
  u32 m = queue_room(pcb), seq = pcb->snd_lbb;
  if(m > n)
    m = n;
  if(m == 0 || tcp_write(pcb, src, m, TCP_WRITE_FLAG_COPY) != ERR_OK)
    return 0;
  s->tx_b += m;
  u32 pkt = begin_write(s, seq, m);
  myproc()->pkt = pkt;
  TRACE(sock_tx, .pkt = pkt, .sock = s->id, .n = m, .queued = TCP_SND_BUF - tcp_sndbuf(pcb), .limit = TCP_SND_BUF);
  if(!(flags & MSG_MORE) || m < n || m >= pcb->mss)
    tcp_output(pcb);
  watch_pcb(pcb);
  return m;
}

static int
stream_write(struct sock *s, const char *src, int n, int flags, const struct sockaddr_in *to)
{
  u64 until = sock_deadline(s->snd_ms);
  int done = 0, r = to ? -EISCONN : write_state(s);
  while(r == 0 && done < n) {
    int m = s->state == SOCKSTATE_CONNECTED ? sock_tx(s, src + done, n - done, flags) : 0;
    done += m;
    if(m == 0) {
      s->want_room = 1;
      r = sock_wait(s, flags, until);
    }
    if(r == 0)
      r = write_state(s);
  }
  if(done > 0)
    return done; // an error is the next call's
  if(r == -s->err)
    s->err = 0;
  return r;
}

// ---- set-up -------------------------------------------------------------

static int
stream_open(struct sock *s)
{
  watch_enter(TCP_WHY_MEMORY); // tcp_new may take the pcb of a connection in TIME-WAIT
  struct tcp_pcb *pcb = tcp_new();
  watch_enter(TCP_WHY_API);
  if(pcb == 0)
    return -ENOBUFS;
  s->keep_idle = pcb->keep_idle / 1000;
  s->keep_intvl = pcb->keep_intvl / 1000;
  s->keep_cnt = pcb->keep_cnt;
  attach(s, pcb);
  return 0;
}

// Does another socket listen there already?
static int
in_use(u32 addr, u16 port)
{
  for(struct sock *s = socks; s < socks + NSOCK; s++)
    if(s->ops == &stream_ops && s->state == SOCKSTATE_LISTENING && s->lport == port &&
       (s->laddr == 0 || addr == 0 || s->laddr == addr))
      return 1;
  return 0;
}

static int
stream_bind(struct sock *s, const struct sockaddr_in *sa)
{
  ip_addr_t ip = IPADDR4_INIT(sa->sin_addr.s_addr);
  if(sa->sin_port && in_use(ntohl(ip.addr), ntohs(sa->sin_port)))
    return -EADDRINUSE;
  err_t e = tcp_bind(s->pcb, &ip, ntohs(sa->sin_port));
  if(e == ERR_OK)
    sock_remember(s, s->pcb->local_port, 0);
  return -sock_errno(e, 0);
}

// lwIP frees the pcb here and makes a smaller one for listening.
static int
start_listening(struct sock *s, int backlog)
{
  err_t e = ERR_OK;
  if(in_use(s->laddr, s->lport)) // two may be bound by SO_REUSEADDR, one may listen
    return -EADDRINUSE;
  struct tcp_pcb *pcb = tcp_listen_with_backlog_and_err(s->pcb, backlog, &e);
  if(pcb == 0)
    return -sock_errno(e, 0);
  attach(s, pcb);
  tcp_accept(pcb, on_accept);
  watch_pcb(pcb);
  sock_state(s, SOCKSTATE_LISTENING, 0);
  return 0;
}

static int
stream_listen(struct sock *s, int backlog)
{
  int r = -EINVAL;
  if(s->state == SOCKSTATE_LISTENING) {
    tcp_backlog_set(s->pcb, backlog);
    r = 0;
  } else if(s->state == SOCKSTATE_BOUND && s->pcb)
    r = start_listening(s, backlog);
  if(r == 0)
    s->backlog = backlog;
  return r;
}

// As sock_accept.
struct sock *
stream_accept(struct sock *l, int flags, int *err)
{
  u64 until = sock_deadline(l->rcv_ms);
  *err = 0;
  while(*err == 0 && l->state == SOCKSTATE_LISTENING && l->children == 0)
    *err = sock_wait(l, flags, until);
  if(l->state != SOCKSTATE_LISTENING)
    *err = -EINVAL;
  if(*err)
    return 0;
  struct sock *s = l->children;
  l->children = s->next;
  l->waiting--;
  s->next = 0;
  s->pid = l->pid;
  if(s->pcb)
    tcp_backlog_accepted(s->pcb);
  TRACE(sock_accept, .pkt = s->rxq ? s->rxq->pkt : 0, .sock = s->id, FLOW(s), .listener = l->id,
        .waiting = l->waiting, .backlog = l->backlog);
  if(s->err == 0 || s->rx_len > 0)
    return s;
  *err = -ECONNABORTED; // reset while it waited, nothing to read
  discard(s);
  return 0;
}

static int
start_connecting(struct sock *s, const struct sockaddr_in *sa)
{
  ip_addr_t ip = IPADDR4_INIT(sa->sin_addr.s_addr);
  if(s->err)
    return sock_take_err(s); // what became of an attempt that did not wait
  if(s->state > SOCKSTATE_BOUND || s->pcb == 0)
    return s->state == SOCKSTATE_CONNECTING ? -EALREADY : s->state == SOCKSTATE_CONNECTED ? -EISCONN
                                                                                          : -EINVAL;
  if(sa->sin_port == 0 || sa->sin_addr.s_addr == 0)
    return -EADDRNOTAVAIL;
  err_t e = tcp_connect(s->pcb, &ip, ntohs(sa->sin_port), on_connected);
  if(e != ERR_OK)
    return -sock_errno(e, 1);
  sock_remember(s, s->pcb->local_port, s->pcb->remote_port);
  watch_pcb(s->pcb);
  sock_state(s, SOCKSTATE_CONNECTING, 0);
  return 0;
}

static int
stream_connect(struct sock *s, const struct sockaddr_in *sa, int flags)
{
  u64 until = sock_deadline(s->snd_ms);
  int r = start_connecting(s, sa);
  while(r == 0 && s->state == SOCKSTATE_CONNECTING)
    r = sock_wait(s, flags, until);
  if(r == -EAGAIN)
    return -EINPROGRESS;
  if(r < 0 || s->state == SOCKSTATE_CONNECTED)
    return r;
  return s->err ? sock_take_err(s) : -ECONNABORTED; // somebody else has asked for the reason
}

// ---- the end ------------------------------------------------------------

// SHUT_WR sends the FIN behind what is queued.
static int
stream_shutdown(struct sock *s, int how)
{
  int r = 0;
  if(s->state != SOCKSTATE_CONNECTED || s->pcb == 0)
    return s->state == SOCKSTATE_CLOSED ? 0 : -ENOTCONN;
  if(how != SHUT_RD && !s->wr_shut) {
    s->pcb->tmr = tcp_ticks; // see sock_segment
    s->wr_shut = 1;
    r = -sock_errno(tcp_shutdown(s->pcb, 0, 1), 0);
    if(s->pcb)
      watch_pcb(s->pcb);
  }
  if(r == 0 && how != SHUT_WR)
    s->rd_shut = 1;
  return r;
}

// SO_LINGER with a time: wait until the peer has acknowledged everything.
static void
linger(struct sock *s)
{
  u64 until = sock_deadline(s->linger_s * 1000);
  while(s->pcb && (s->pcb->unsent || s->pcb->unacked)) {
    s->want_room = 1;
    if(sock_wait(s, 0, until) < 0)
      return;
  }
}

// Give up a connection: unread data is answered with a reset, what was written
// and the FIN go out in the background.
static void
hang_up(struct sock *s)
{
  int reset = s->rx_len > 0 || (s->linger && s->linger_s == 0);
  int connected = s->state >= SOCKSTATE_CONNECTING;
  struct tcp_pcb *pcb = detach(s);
  if(pcb == 0)
    return;
  if(reset && connected && pcb->state != TIME_WAIT) {
    tcp_abort(pcb);
    return;
  }
  if(pcb->state != LISTEN)
    pcb->tmr = tcp_ticks; // see sock_segment
  gone = 0;
  tcp_close(pcb);
  if(gone != s->id) // else watch.c has seen its death
    watch_pcb(pcb);
}

static void
stream_close(struct sock *s)
{
  while(s->children) { // nobody will accept them
    struct sock *c = s->children;
    s->children = c->next;
    discard(c);
  }
  if(s->linger && s->state == SOCKSTATE_CONNECTED)
    linger(s);
  hang_up(s);
  drop_queue(s);
}

// ---- asking -------------------------------------------------------------

// Who asks for room and finds none is told later.
static int
stream_poll(struct sock *s)
{
  int r = 0;
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
  if(s->state > SOCKSTATE_CONNECTED || s->wr_shut)
    r |= POLLOUT; // a write does not wait: it fails
  if(s->state > SOCKSTATE_CONNECTED || (s->rd_eof && s->wr_shut))
    r |= POLLHUP | POLLIN;
  return r;
}

static int
set_keep(u16 *keep, int val)
{
  if(val < 1 || val > 32767)
    return -EINVAL;
  *keep = val;
  return 0;
}

// Options of level IPPROTO_TCP.  A listener keeps them for its connections.
int
stream_setopt(struct sock *s, int name, int val)
{
  int r = -ENOPROTOOPT;
  if(name == TCP_NODELAY) {
    s->nodelay = val != 0;
    r = 0;
  } else if(name == TCP_KEEPIDLE)
    r = set_keep(&s->keep_idle, val);
  else if(name == TCP_KEEPINTVL)
    r = set_keep(&s->keep_intvl, val);
  else if(name == TCP_KEEPCNT)
    r = set_keep(&s->keep_cnt, val);
  apply_options(s);
  return r;
}

static int
info(struct sock *s, void *val, int *len)
{
  const struct tcp_pcb *pcb = s->pcb;
  struct tcp_info i = {.state = pcb ? pcb->state : CLOSED, .rcvq = s->rx_len};
  u16 rexmits = 0;
  if(*len < (int)sizeof(i))
    return -EINVAL;
  if(pcb && pcb->state != LISTEN) { // a listener has a smaller pcb
    watch_figures(pcb, &i.srtt_us, &rexmits);
    i.rexmits = rexmits;
    i.nrtx = pcb->nrtx;
    i.mss = pcb->mss;
    i.cwnd = pcb->cwnd;
    i.ssthresh = pcb->ssthresh;
    i.snd_wnd = pcb->snd_wnd;
    i.rcv_wnd = pcb->rcv_wnd;
    i.sndq = TCP_SND_BUF - tcp_sndbuf(pcb);
    i.rto_ms = pcb->rto * TCP_SLOW_INTERVAL;
  }
  memmove(val, &i, *len = sizeof(i));
  return 0;
}

// val: *len writable bytes.
int
stream_getopt(struct sock *s, int name, void *val, int *len)
{
  int v;
  if(name == TCP_INFO)
    return info(s, val, len);
  switch(name) {
  case TCP_NODELAY:
    v = s->nodelay;
    break;
  case TCP_KEEPIDLE:
    v = s->keep_idle;
    break;
  case TCP_KEEPINTVL:
    v = s->keep_intvl;
    break;
  case TCP_KEEPCNT:
    v = s->keep_cnt;
    break;
  default:
    return -ENOPROTOOPT;
  }
  if(*len < (int)sizeof(v))
    return -EINVAL;
  memmove(val, &v, *len = sizeof(v));
  return 0;
}

const struct sock_ops stream_ops = {
  .type = SOCK_STREAM,
  .proto = IPPROTO_TCP,
  .open = stream_open,
  .bind = stream_bind,
  .listen = stream_listen,
  .connect = stream_connect,
  .read = stream_read,
  .write = stream_write,
  .shutdown = stream_shutdown,
  .poll = stream_poll,
  .close = stream_close,
};
