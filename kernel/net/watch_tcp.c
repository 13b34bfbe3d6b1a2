// Sees into lwIP's TCP and changes nothing: segments, states, round trips, windows,
// timers, and the account of each connection.
//
// lwIP stores a state in 17 places and tells nobody.  So there is a shadow of each pcb,
// compared at fixed points: our callbacks, segments in and out, the end of each input
// and of the timers.  Called by lwIP's hooks (lwiphooks.h), stream.c, net.c and watch.c.
// All of it runs with netlock held.
#include "uapi/types.h"
#include "defs.h"
#include "trace/trace.h"
#include "x86.h"
#include "net/net.h"
#include "net/watch.h"
#include "net/lwiphooks.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/tcp.h"
#include "lwip/sys.h"

#define NSHADOW (MEMP_NUM_TCP_PCB + MEMP_NUM_TCP_PCB_LISTEN)

// What a pcb looked like when we saw it last.  One per pcb that has left CLOSED.
struct shadow {
  struct tcp_pcb *pcb; // 0: free
  u8 state;            // TCPSTATE_...
  u16 sock;            // its socket's id
  u64 since_tsc;       // when it entered state
  u32 born_ms;         // when it left CLOSED
  u32 laddr, raddr;    // host order
  u16 lport, rport;    //
  u8 timing;           // a round trip is being measured:
  u32 rtt_seq;         // the segment's first sequence number,
  u64 rtt_tsc;         // and when it left
  int srtt_us, var_us; // smoothed; 0: no sample yet
  u16 rexmits;         // retransmissions
  u32 again_seq;       // segment resent last,
  u32 again_us;        // and when
  u8 synced;           // the peer's SYN came:
  u32 irs;             // its sequence number
  u32 tx_b;            // bytes sent, each once
  u32 cwnd, ssthresh;  // congestion control, as tcp_cc told it last,
  u16 cc_flags;        // with the flags that say its phase
  u8 dupacks;          // duplicate acknowledgments in a row
  s16 rtime;           // retransmission timer, -1: off
  u8 nrtx;             // its shots,
  u8 persist, keep;    // and those of the others
  u8 msl2;             // TIME-WAIT's timer runs
};

static struct shadow shadows[NSHADOW];
u8 watch_why;
static u8 ext;            // our place in a pcb's ext_args
static struct shadow *in; // the connection the segment in input belongs to

#define FLOW(s) .laddr = (s)->laddr, .raddr = (s)->raddr, .lport = (s)->lport, .rport = (s)->rport

// ---- what else changes in a pcb -----------------------------------------
//
// Each is looked at only while its event is recorded.

static void
compare_dupacks(struct shadow *s, const struct tcp_pcb *pcb)
{
  if(pcb->dupacks > s->dupacks)
    TRACE(tcp_dupack, .pkt = input.pkt, .sock = s->sock, .ack = pcb->lastack, .n = pcb->dupacks);
  s->dupacks = pcb->dupacks;
}

static u8
phase_of(const struct tcp_pcb *pcb)
{
  if(pcb->flags & TF_INFR)
    return CCPHASE_RECOVERY;
  if(pcb->flags & TF_RTO)
    return CCPHASE_LOSS;
  return pcb->cwnd < pcb->ssthresh ? CCPHASE_SLOW_START : CCPHASE_AVOIDANCE;
}

static inline u16
cc_flags(const struct tcp_pcb *pcb)
{
  return pcb->flags & (TF_INFR | TF_RTO);
}

static void
compare_cc(struct shadow *s, const struct tcp_pcb *pcb)
{
  if((pcb->cwnd == s->cwnd && pcb->ssthresh == s->ssthresh && cc_flags(pcb) == s->cc_flags) ||
     pcb->state < ESTABLISHED || pcb->state == TIME_WAIT)
    return;
  s->cwnd = pcb->cwnd;
  s->ssthresh = pcb->ssthresh;
  s->cc_flags = cc_flags(pcb);
  TRACE(tcp_cc, .pkt = input.pkt, .sock = s->sock, .cwnd = pcb->cwnd, .ssthresh = pcb->ssthresh,
        .snd_wnd = pcb->snd_wnd, .rcv_wnd = pcb->rcv_wnd, .inflight = pcb->snd_nxt - pcb->lastack,
        .snd_una = pcb->lastack, .snd_nxt = pcb->snd_nxt, .mss = pcb->mss, .phase = phase_of(pcb), .why = watch_why);
}

static void
timer(const struct shadow *s, u8 which, u8 op, u32 ms)
{
  TRACE(tcp_timer, .pkt = input.pkt, .sock = s->sock, .which = which, .op = op, .ms = ms);
}

// The time until the nth probe of a zero window.  ORDER tcp_persist_backoff
static u32
persist_ms(u8 n)
{
  u32 ms = 1500u << (n ? n - 1 : 0);
  return ms < 60000 ? ms : 60000;
}

TRACE_APART void
compare_timers(struct shadow *s, const struct tcp_pcb *pcb)
{
  u32 rto = pcb->rto * TCP_SLOW_INTERVAL;
  if(pcb->nrtx > s->nrtx && watch_why == TCP_WHY_TIMER)
    timer(s, TCPTIMER_REXMIT, TIMEROP_FIRE, rto);
  if((pcb->rtime >= 0) != (s->rtime >= 0))
    timer(s, TCPTIMER_REXMIT, pcb->rtime >= 0 ? TIMEROP_START : TIMEROP_STOP, pcb->rtime >= 0 ? rto : 0);
  if(pcb->persist_backoff > s->persist)
    timer(s, TCPTIMER_PERSIST, s->persist ? TIMEROP_FIRE : TIMEROP_START, persist_ms(pcb->persist_backoff));
  else if(s->persist && pcb->persist_backoff == 0)
    timer(s, TCPTIMER_PERSIST, TIMEROP_STOP, 0);
  if(pcb->keep_cnt_sent > s->keep)
    timer(s, TCPTIMER_KEEP, TIMEROP_FIRE, pcb->keep_intvl);
  if(pcb->state == TIME_WAIT && !s->msl2)
    timer(s, TCPTIMER_MSL2, TIMEROP_START, 2 * TCP_MSL);
  s->msl2 = pcb->state == TIME_WAIT;
  s->nrtx = pcb->nrtx;
  s->rtime = pcb->rtime;
  s->persist = pcb->persist_backoff;
  s->keep = pcb->keep_cnt_sent;
}

// The pcb is gone, and its timers with it.
static void
stop_timers(const struct shadow *s)
{
  if(s->rtime >= 0)
    timer(s, TCPTIMER_REXMIT, TIMEROP_STOP, 0);
  if(s->persist)
    timer(s, TCPTIMER_PERSIST, TIMEROP_STOP, 0);
  if(s->msl2)
    timer(s, TCPTIMER_MSL2, watch_why == TCP_WHY_TIMER ? TIMEROP_FIRE : TIMEROP_STOP, 0);
}

// ---- TCP states ---------------------------------------------------------

static struct shadow *
shadow_of(const struct tcp_pcb *pcb)
{
  return pcb->ext_args[ext].data;
}

TRACE_APART void
tell_change(const struct shadow *s, u8 to, u8 reason)
{
  TRACE(tcp_state, .pkt = input.pkt, .sock = s->sock, FLOW(s), .from = s->state, .to = to, .why = reason,
        .dwell_us = us_since(s->since_tsc));
  if(s->state == TCPSTATE_CLOSED && to == TCPSTATE_SYN_SENT)
    TRACE(tcp_open, .pkt = input.pkt, .sock = s->sock, FLOW(s), .dir = DIR_OUT);
}

static void
change(struct shadow *s, u8 to, u8 reason)
{
  if(TRACING(tcp_moves))
    tell_change(s, to, reason);
  s->state = to;
  s->since_tsc = rdtsc();
}

// Has the peer's FIN been taken in a connection of this state?
static int
fin_taken(u8 state)
{
  return state == CLOSE_WAIT || state == CLOSING || state == LAST_ACK || state == TIME_WAIT;
}

// The pcb is about to be freed: the connection's account.
TRACE_APART void
report_life(const struct shadow *s, u8 reason)
{
  u8 end = TCPEND_ABORT;
  if(s->state == TIME_WAIT || (fin_taken(s->state) && s->state != CLOSE_WAIT && reason == TCP_WHY_SEGMENT))
    end = TCPEND_FIN;
  else if(reason == TCP_WHY_RST)
    end = TCPEND_RST;
  else if(reason == TCP_WHY_TIMER)
    end = TCPEND_TIMEOUT;
  TRACE(tcp_life, .pkt = input.pkt, .sock = s->sock, FLOW(s),
        .rx_b = s->synced ? s->pcb->rcv_nxt - s->irs - 1 - fin_taken(s->state) : 0, .tx_b = s->tx_b,
        .dur_ms = sys_now() - s->born_ms, .rexmits = s->rexmits, .end = end);
}

// lwIP frees a pcb: its last change of state, which is stored nowhere.  If it is not
// the one the segment in input belongs to, it was sacrificed for another.
static void
on_destroy(u8_t id, void *data)
{
  struct shadow *s = data;
  (void)id;
  if(s == 0)
    return;
  int other = input.pkt && s != in && (watch_why == TCP_WHY_SEGMENT || watch_why == TCP_WHY_RST);
  u8 reason = other ? TCP_WHY_MEMORY : watch_why;
  if(TRACING(tcp_life) && s->state != LISTEN)
    report_life(s, reason);
  if(TRACING(tcp_timer) && s->state != LISTEN)
    stop_timers(s);
  change(s, TCPSTATE_CLOSED, reason);
  if(s == in)
    in = 0;
  s->pcb = 0;
}

static void
copy_flow(struct shadow *s, const struct tcp_pcb *pcb)
{
  s->sock = sock_id(pcb);
  s->laddr = lwip_ntohl(pcb->local_ip.addr);
  s->lport = pcb->local_port;
  if(pcb->state == LISTEN)
    return;
  s->raddr = lwip_ntohl(pcb->remote_ip.addr);
  s->rport = pcb->remote_port;
}

static err_t on_passive_open(u8_t id, struct tcp_pcb_listen *lpcb, struct tcp_pcb *pcb);
static const struct tcp_ext_arg_callbacks ext_calls = {.destroy = on_destroy, .passive_open = on_passive_open};

// A shadow for a pcb that is seen for the first time, in state from.  There is one per
// pcb of lwIP's pools, so there is always one left.
static __attribute__((noinline)) struct shadow *
shadow_new(struct tcp_pcb *pcb, u8 from)
{
  struct shadow *s;
  for(s = shadows; s->pcb;)
    if(++s == shadows + NSHADOW)
      panic("watch: more pcbs than lwIP has");
  *s = (struct shadow){.pcb = pcb, .state = from, .since_tsc = rdtsc(), .born_ms = sys_now(), .rtime = -1};
  copy_flow(s, pcb);
  tcp_ext_arg_set_callbacks(pcb, ext, &ext_calls);
  tcp_ext_arg_set(pcb, ext, s);
  return s;
}

// Are they to be looked at?
static inline int
differs(const struct shadow *s, const struct tcp_pcb *pcb)
{
  return pcb->dupacks != s->dupacks || pcb->cwnd != s->cwnd || pcb->ssthresh != s->ssthresh ||
         cc_flags(pcb) != s->cc_flags || trace_on[TR_tcp_timer];
}

TRACE_APART void
compare_all(struct shadow *s)
{
  const struct tcp_pcb *pcb = s->pcb;
  if(TRACING(tcp_dupack))
    compare_dupacks(s, pcb);
  if(TRACING(tcp_cc))
    compare_cc(s, pcb);
  if(TRACING(tcp_timer))
    compare_timers(s, pcb);
}

TRACE_APART void
compare_rest(struct shadow *s)
{
  if(s->pcb->state != LISTEN && differs(s, s->pcb)) // a listener's is a smaller struct
    compare_all(s);
}

// Apart, because most comparisons find nothing.
static __attribute__((noinline)) void
moved(struct shadow *s)
{
  copy_flow(s, s->pcb);
  change(s, s->pcb->state, watch_why);
  if(TRACING(tcp_changes)) // one question for all three
    compare_rest(s);
}

static inline void
compare(struct shadow *s)
{
  if(s->state != s->pcb->state)
    moved(s);
  else if(TRACING(tcp_changes))
    compare_rest(s);
}

// The shadow of a pcb, 0 if that is still closed.
static inline struct shadow *
shadow_for(struct tcp_pcb *pcb)
{
  struct shadow *s = shadow_of(pcb);
  return s == 0 && pcb->state != CLOSED ? shadow_new(pcb, TCPSTATE_CLOSED) : s;
}

// Has this pcb changed since it was seen last?
void
watch_pcb(struct tcp_pcb *pcb)
{
  struct shadow *s = shadow_for(pcb);
  if(s)
    compare(s);
}

// Has any?  After timers.  In TIME-WAIT nothing changes but the end, which on_destroy sees.
void
watch_all(void)
{
  for(struct shadow *s = shadows; s < shadows + NSHADOW; s++)
    if(s->pcb && s->state != TCPSTATE_TIME_WAIT)
      compare(s);
}

// A SYN for a listener has made a pcb.
static err_t
on_passive_open(u8_t id, struct tcp_pcb_listen *lpcb, struct tcp_pcb *pcb)
{
  (void)id;
  (void)lpcb;
  in = shadow_new(pcb, TCPSTATE_LISTEN);
  in->synced = 1;
  in->irs = pcb->rcv_nxt - 1;
  input.sock = in->sock;
  TRACE(tcp_open, .pkt = input.pkt, .sock = in->sock, FLOW(in), .dir = DIR_IN);
  compare(in);
  return ERR_OK;
}

// For a socket's figures.  pcb may be 0.
void
watch_figures(const struct tcp_pcb *pcb, u32 *srtt_us, u16 *rexmits)
{
  const struct shadow *s = pcb ? shadow_of(pcb) : 0;
  *srtt_us = s ? s->srtt_us : 0;
  *rexmits = s ? s->rexmits : 0;
}

// ---- round trips --------------------------------------------------------

// RFC 6298, section 2, on a microsecond clock; lwIP itself measures in 500 ms ticks.
static void
rtt_sample(struct shadow *s, u32 pkt, const struct tcp_pcb *pcb)
{
  int sample = us_since(s->rtt_tsc);
  if(s->srtt_us == 0) {
    s->srtt_us = sample > 0 ? sample : 1;
    s->var_us = sample / 2;
  } else {
    int err = sample - s->srtt_us;
    s->srtt_us += err / 8;
    s->var_us += ((err < 0 ? -err : err) - s->var_us) / 4;
  }
  s->timing = 0;
  TRACE(tcp_rtt, .pkt = pkt, .sock = s->sock, .seq = s->rtt_seq, .sample_us = sample, .srtt_us = s->srtt_us,
        .rttvar_us = s->var_us, .rto_ms = pcb->rto * TCP_SLOW_INTERVAL, .backoff = pcb->nrtx);
}

// ---- segments in --------------------------------------------------------

// The MSS option among n option bytes, 0 if there is none.
static u16
find_mss(const u8 *o, u32 n)
{
  for(u32 i = 0; i < n;) {
    if(o[i] == 0)
      return 0; // end of the list
    if(o[i] == 1) {
      i++; // padding
      continue;
    }
    if(i + 1 >= n || o[i + 1] < 2 || o[i + 1] > n - i)
      return 0;
    if(o[i] == 2 && o[i + 1] == 4)
      return o[i + 2] << 8 | o[i + 3];
    i += o[i + 1];
  }
  return 0;
}

// The same; nearly everybody sends it first.
static inline u16
mss_option(const u8 *o, u32 n)
{
  return n >= 4 && o[0] == 2 && o[1] == 4 ? o[2] << 8 | o[3] : find_mss(o, n);
}

TRACE_APART u16
mss_told(const struct tcp_hdr *hdr)
{
  return mss_option((const u8 *)(hdr + 1), TCPH_HDRLEN_BYTES(hdr) - TCP_HLEN);
}

// If this segment's data turn out to be unused: why.  lwIP does not say, so its
// numbers are compared with the connection's before it is processed.
static u8
why_unused(const struct tcp_pcb *pcb, const struct tcp_hdr *hdr, u32 len)
{
  u32 seq = hdr->seqno, flags = TCPH_FLAGS(hdr);
  if(pcb->state == LISTEN)
    return DROP_NO_SOCKET;
  if(flags & TCP_ACK && (int)(hdr->ackno - pcb->snd_nxt) > 0)
    return DROP_TCP_INVALID_ACK;
  if((int)(seq + len - pcb->rcv_nxt) <= 0)
    return DROP_TCP_OLD_SEQ;
  if((int)(seq - (pcb->rcv_nxt + pcb->rcv_wnd)) >= 0)
    return DROP_TCP_OVERWINDOW;
  if(pcb->flags & TF_RXCLOSED || pcb->state == TIME_WAIT)
    return DROP_TCP_CLOSE;
  if((int)(seq - pcb->rcv_nxt) > 0)
    return DROP_TCP_OFO_DROP;
  return flags & TCP_ACK ? DROP_NOT_SPECIFIED : DROP_TCP_FLAGS;
}

static u8
why_refused(const struct tcp_pcb *pcb, u32 flags)
{
  if(!(flags & TCP_SYN) || flags & TCP_RST)
    return 0;
  if(pcb->state == LISTEN) {
    const struct tcp_pcb_listen *l = (const void *)pcb;
    return l->accepts_pending >= l->backlog && !(flags & TCP_ACK) ? DROP_LISTEN_BACKLOG : 0;
  }
  return pcb->state > SYN_RCVD && pcb->state != TIME_WAIT ? DROP_TCP_INVALID_SYN : 0;
}

static void
link_queue(const struct tcp_seg *seg, u32 ackno, u16 sock)
{
  for(; seg; seg = seg->next) {
    if((int)(ackno - (lwip_ntohl(seg->tcphdr->seqno) + TCP_TCPLEN(seg))) < 0)
      return;
    if(seg->p->pkt)
      TRACE(pkt_link, .pkt = seg->p->pkt, .sock = sock, .parent = input.pkt, .kind = LINK_ACKED_BY, .off = 0,
            .len = seg->len);
  }
}

// The segment in input acknowledges up to ackno: link those of ours it acknowledges to
// it, before lwIP frees them.  One that is to be sent again waits in the other queue.
TRACE_APART void
link_acked(const struct tcp_pcb *pcb, const struct tcp_hdr *hdr)
{
  u32 ackno = hdr->ackno;
  if(pcb->state == TIME_WAIT || (TCPH_FLAGS(hdr) & (TCP_ACK | TCP_RST)) != TCP_ACK || (int)(ackno - pcb->snd_nxt) > 0)
    return;
  link_queue(pcb->unacked, ackno, input.sock);
  link_queue(pcb->unsent, ackno, input.sock);
}

// LWIP_HOOK_TCP_INPACKET_PCB: a segment for pcb, which may be a listener's.
// hdr is in host order, p holds the payload.
void
watch_seg_in(struct tcp_pcb *pcb, const struct tcp_hdr *hdr, u16_t optlen, u16_t opt1len,
             const u8_t *opt2, struct pbuf *p)
{
  u32 flags = TCPH_FLAGS(hdr);
  (void)optlen;
  (void)opt2;
  watch_enter(flags & TCP_RST ? TCP_WHY_RST : TCP_WHY_SEGMENT);
  in = shadow_for(pcb);
  if(in && in->state != pcb->state)
    moved(in);
  if(in && pcb->state == SYN_SENT && flags & TCP_SYN) {
    in->synced = 1;
    in->irs = hdr->seqno;
  }
  input.seg = 1;
  input.sock = sock_id(pcb);
  input.maybe = why_unused(pcb, hdr, p->tot_len);
  if(why_refused(pcb, flags))
    watch_note(why_refused(pcb, flags), (u32)watch_seg_in);
  TRACE(tcp_seg_in, .pkt = input.pkt, .sock = input.sock, .laddr = input.h.dst, .raddr = input.h.src,
        .lport = hdr->dest, .rport = hdr->src, .seq = hdr->seqno, .ack = hdr->ackno, .wnd = hdr->wnd,
        .len = p->tot_len, .flags = TCPH_FLAGS(hdr), .mss = TCPH_FLAGS(hdr) & TCP_SYN ? mss_option((const u8 *)(hdr + 1), opt1len) : 0,
        .state = pcb->state, .xmit = 0);
  if(TRACING(pkt_link) && pcb->state != LISTEN && (int)(hdr->ackno - pcb->lastack) > 0)
    link_acked(pcb, hdr);
  if(in && in->timing && pcb->state != LISTEN && flags & TCP_ACK && (int)(hdr->ackno - in->rtt_seq) > 0)
    rtt_sample(in, input.pkt, pcb);
}

// A segment that belongs to nobody: the hook above is not called for it.
void
watch_orphan(void)
{
  if(input.seg || input.h.proto != PROTO_TCP || input.h.sport == 0)
    return;
  input.seg = 1;
  TRACE(tcp_seg_in, .pkt = input.pkt, .sock = 0, .laddr = input.h.dst, .raddr = input.h.src, .lport = input.h.dport,
        .rport = input.h.sport, .seq = input.h.tcpseq, .ack = input.h.tcpack, .wnd = 0, .len = input.h.tcplen,
        .flags = input.h.tcpflags, .mss = 0, .state = TCPSTATE_CLOSED, .xmit = 0);
}

TRACE_APART void
tell_ooseq(void)
{
  if(input.gone)
    return;
  u16 n = 0;
  for(const struct tcp_seg *seg = in->pcb->ooseq; seg; seg = seg->next)
    n++;
  TRACE(tcp_ooseq, .pkt = input.pkt, .sock = in->sock, .seq = input.h.tcpseq, .len = input.h.tcplen, .nseg = n);
}

// The segment in input has been worked on.
void
watch_tcp_settle(void)
{
  if(in == 0)
    return;
  if(input.maybe == DROP_TCP_OFO_DROP)
    tell_ooseq();
  struct shadow *s = in;
  in = 0;
  compare(s);
}

// ---- segments out -------------------------------------------------------

static void
rexmit(struct shadow *s, const struct pbuf *p, const struct tcp_pcb *pcb, u32 seq, u16 len, u8 kind)
{
  u32 now = now_us(), before = s->again_us && s->again_seq == seq ? s->again_us : p->born;
  s->rexmits++;
  s->timing = 0; // whose ACK would it be?  Karn's rule
  TRACE(tcp_rexmit, .pkt = p->pkt, .sock = s->sock, .seq = seq, .len = len, .kind = kind, .nrtx = pcb->nrtx,
        .rto_ms = pcb->rto * TCP_SLOW_INTERVAL, .since_us = now - before, .cwnd = pcb->cwnd);
  s->again_seq = seq;
  s->again_us = now ? now : 1;
}

// What a segment of the send queue, or a probe, means for its connection.
static void
account_out(struct shadow *s, struct pbuf *p, struct tcp_pcb *pcb, const struct tcp_hdr *hdr)
{
  u32 flags = TCPH_FLAGS(hdr), seq = lwip_ntohl(hdr->seqno);
  u16 len = p->tot_len - TCPH_HDRLEN_BYTES(hdr);
  if(!(p->fate & PKT_KEPT)) {
    if(!(flags & TCP_RST) && (len || (int)(seq - pcb->snd_nxt) < 0))
      rexmit(s, p, pcb, seq, len, REXMIT_PROBE);
    return;
  }
  if(PKT_XMITS(p->fate)) {
    rexmit(s, p, pcb, seq, len, flags & TCP_SYN ? REXMIT_SYN : pcb->flags & TF_INFR ? REXMIT_FAST
                                                                                    : REXMIT_RTO);
    return;
  }
  if(len) {
    s->tx_b += len;
    sock_sent(pcb, p->pkt, seq, len);
  }
  if(s->timing)
    return;
  s->timing = 1;
  s->rtt_seq = seq;
  s->rtt_tsc = rdtsc();
}

// s: whose connection it is; of none, who would be asked.
TRACE_APART void
tell_out(const struct pbuf *p, const struct tcp_hdr *hdr, const struct shadow *s)
{
  TRACE(tcp_seg_out, .pkt = p->pkt, .sock = s->sock, FLOW(s), .seq = lwip_ntohl(hdr->seqno), .ack = lwip_ntohl(hdr->ackno),
        .wnd = lwip_ntohs(hdr->wnd), .len = p->tot_len - TCPH_HDRLEN_BYTES(hdr), .flags = TCPH_FLAGS(hdr),
        .mss = TCPH_FLAGS(hdr) & TCP_SYN ? mss_told(hdr) : 0, .state = s->state,
        .xmit = PKT_XMITS(p->fate) + 1);
}

// A segment of nobody's: the answer to what is in input.
TRACE_APART void
tell_reset(const struct pbuf *p, const struct tcp_hdr *hdr)
{
  const struct shadow nobody = {.sock = input.sock, .laddr = input.h.dst, .raddr = input.h.src, .lport = lwip_ntohs(hdr->src), .rport = lwip_ntohs(hdr->dest)};
  tell_out(p, hdr, &nobody);
}

// LWIP_HOOK_TCP_OUT_ADD_TCPOPTS: a segment leaves TCP; adds no option.
// hdr in network order, at p's payload; pcb is 0 for a reset to nobody.
u32_t *
watch_seg_out(struct pbuf *p, const struct tcp_hdr *hdr, const struct tcp_pcb *cpcb, u32_t *opts)
{
  struct tcp_pcb *pcb = (struct tcp_pcb *)cpcb;
  struct shadow *s = 0;
  if(pcb) {
    watch_pcb(pcb);
    s = shadow_of(pcb);
  }
  pkt_birth(p);
  watch_leaving(p);
  if(pcb && pcb->unsent && pcb->unsent->p == p)
    p->fate |= PKT_KEPT;
  if(TRACING(tcp_seg_out)) {
    if(s)
      tell_out(p, hdr, s);
    else
      tell_reset(p, hdr);
  }
  if(s)
    account_out(s, p, pcb, hdr);
  return opts;
}

// ---- set-up -------------------------------------------------------------

void
watch_init(void)
{
  ext = tcp_ext_arg_alloc_id();
}
