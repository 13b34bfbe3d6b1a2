// Sees into lwIP and changes nothing: the events of the STACK stage, TCP's state
// changes, and why a packet was dropped.
//
// lwIP is unmodified.  It is seen through its hooks (lwiphooks.h), its error counters
// (lwiptrace.h), two functions wrapped by the linker, and shadows: a copy of what
// matters of each pcb, compared at fixed points.  A kernel without this file works the
// same; only its trace is poorer.  All of it runs with netlock held.
#include "uapi/types.h"
#include "defs.h"
#include "trace/trace.h"
#include "x86.h"
#include "net/net.h"
#include "net/lwiphooks.h"
#include "lwip/memp.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/etharp.h"
#include "lwip/prot/ethernet.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/tcp.h"
#include "lwip/udp.h"

#define NSHADOW (MEMP_NUM_TCP_PCB + MEMP_NUM_TCP_PCB_LISTEN)

// What a pcb looked like when we saw it last.  One per pcb that has left CLOSED.
struct shadow {
  struct tcp_pcb *pcb; // 0: free
  u8 state;            // TCPSTATE_...
  u16 sock;            // its socket's id
  u64 since_tsc;       // when it entered state
  u32 laddr, raddr;    // host order
  u16 lport, rport;    //
  u8 timing;           // a round trip is being measured:
  u32 rtt_seq;         // the segment's first sequence number,
  u64 rtt_tsc;         // and when it left
  int srtt_us, var_us; // smoothed; 0: no sample yet
  u16 rexmits;         // retransmissions
  u32 again_seq;       // segment resent last,
  u32 again_us;        // and when
};

static struct shadow shadows[NSHADOW];
static u8 ext;               // our place in a pcb's ext_args
static u8 why;               // TCP_WHY_...: what goes on now
static struct shadow *in;    // the connection the segment in input belongs to
static struct pbuf *leaving; // packet that is just being handed to IP

#define FLOW(s) .laddr = (s)->laddr, .raddr = (s)->raddr, .lport = (s)->lport, .rport = (s)->rport

// ---- TCP states ---------------------------------------------------------

// What goes on until further notice, as the reason of state changes.
void
watch_enter(u8 reason)
{
  why = reason;
}

static struct shadow *
shadow_of(const struct tcp_pcb *pcb)
{
  return pcb->ext_args[ext].data;
}

static void
change(struct shadow *s, u8 to, u8 reason)
{
  u64 now = rdtsc();
  TRACE(tcp_state, .pkt = input.pkt, .sock = s->sock, FLOW(s), .from = s->state, .to = to, .why = reason,
        .dwell_us = us_since(s->since_tsc));
  s->state = to;
  s->since_tsc = now;
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
  int other = input.pkt && s != in && (why == TCP_WHY_SEGMENT || why == TCP_WHY_RST);
  change(s, TCPSTATE_CLOSED, other ? TCP_WHY_MEMORY : why);
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

// The pcb's shadow, made at first sight in state from.  There is one per pcb of
// lwIP's pools, so there is always one left.
static struct shadow *
shadow_for(struct tcp_pcb *pcb, u8 from)
{
  struct shadow *s = shadow_of(pcb);
  if(s)
    return s;
  for(s = shadows; s->pcb;)
    if(++s == shadows + NSHADOW)
      panic("watch: more pcbs than lwIP has");
  *s = (struct shadow){.pcb = pcb, .state = from, .since_tsc = rdtsc()};
  copy_flow(s, pcb);
  tcp_ext_arg_set_callbacks(pcb, ext, &ext_calls);
  tcp_ext_arg_set(pcb, ext, s);
  return s;
}

static void
compare(struct shadow *s)
{
  if(s->state == s->pcb->state)
    return;
  copy_flow(s, s->pcb);
  change(s, s->pcb->state, why);
}

// Has this pcb changed its state since it was seen last?
void
watch_pcb(struct tcp_pcb *pcb)
{
  if(pcb->state != CLOSED || shadow_of(pcb))
    compare(shadow_for(pcb, TCPSTATE_CLOSED));
}

// Has any?  After timers, and after a close, which may have freed its pcb.
void
watch_all(void)
{
  for(struct shadow *s = shadows; s < shadows + NSHADOW; s++)
    if(s->pcb)
      compare(s);
}

// A SYN for a listener has made a pcb.
static err_t
on_passive_open(u8_t id, struct tcp_pcb_listen *lpcb, struct tcp_pcb *pcb)
{
  (void)id;
  (void)lpcb;
  in = shadow_for(pcb, TCPSTATE_LISTEN);
  input.sock = in->sock;
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
mss_option(const u8 *o, u32 n)
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
note(u8 reason, u32 eip)
{
  if(input.reason)
    return; // the first one is the specific one
  input.reason = reason;
  input.eip = eip;
}

// LWIP_HOOK_TCP_INPACKET_PCB: a segment for pcb, which may be a listener's.
// hdr is in host order, p holds the payload.
void
watch_seg_in(struct tcp_pcb *pcb, const struct tcp_hdr *hdr, u16_t optlen, u16_t opt1len,
             const u8_t *opt2, struct pbuf *p)
{
  u32 flags = TCPH_FLAGS(hdr), len = p->tot_len;
  (void)optlen;
  (void)opt2;
  watch_enter(flags & TCP_RST ? TCP_WHY_RST : TCP_WHY_SEGMENT);
  watch_pcb(pcb);
  in = shadow_of(pcb);
  input.seg = 1;
  input.sock = sock_id(pcb);
  u16 mss = flags & TCP_SYN ? mss_option((const u8 *)(hdr + 1), opt1len) : 0;
  TRACE(tcp_seg_in, .pkt = input.pkt, .sock = input.sock, .laddr = input.h.dst, .raddr = input.h.src,
        .lport = hdr->dest, .rport = hdr->src, .seq = hdr->seqno, .ack = hdr->ackno, .wnd = hdr->wnd,
        .len = len, .flags = flags, .mss = mss, .state = pcb->state, .xmit = 0);
  input.maybe = why_unused(pcb, hdr, len);
  if(why_refused(pcb, flags))
    note(why_refused(pcb, flags), (u32)watch_seg_in);
  if(in && in->timing && pcb->state != LISTEN && flags & TCP_ACK && (int)(hdr->ackno - in->rtt_seq) > 0)
    rtt_sample(in, input.pkt, pcb);
}

// A segment that belongs to nobody: the hook above is not called for it.
static void
orphan_segment(void)
{
  if(input.seg || input.h.proto != PROTO_TCP || input.h.sport == 0)
    return;
  input.seg = 1;
  TRACE(tcp_seg_in, .pkt = input.pkt, .sock = 0, .laddr = input.h.dst, .raddr = input.h.src, .lport = input.h.dport,
        .rport = input.h.sport, .seq = input.h.tcpseq, .ack = input.h.tcpack, .wnd = 0, .len = input.h.tcplen,
        .flags = input.h.tcpflags, .mss = 0, .state = TCPSTATE_CLOSED, .xmit = 0);
}

// Has the stack itself, or a socket, this UDP port?
static int
udp_port_used(u16 port)
{
  for(const struct udp_pcb *u = udp_pcbs; u; u = u->next)
    if(u->local_port == port)
      return 1;
  return 0;
}

// The packet in input has been through the stack.  If it died without a word, decide
// what that means: input.fate, or input.reason for a drop.
void
watch_settle(void)
{
  if(in)
    compare(in);
  in = 0;
  watch_enter(TCP_WHY_TIMER);
  if(!input.gone || input.fate || input.reason)
    return;
  if(input.h.proto == PROTO_TCP && !input.seg) {
    orphan_segment();
    note(DROP_NO_SOCKET, (u32)tcp_input); // a reset to nobody is not even answered
  } else if(input.h.proto == PROTO_TCP && input.h.tcplen && !(input.h.tcpflags & (TCP_SYN | TCP_FIN | TCP_RST)))
    note(input.maybe ? input.maybe : DROP_NOT_SPECIFIED, (u32)tcp_input);
  else if(input.h.proto == PROTO_UDP && !udp_port_used(input.h.dport))
    note(DROP_NO_SOCKET, (u32)udp_input); // to everyone: not even counted
  else
    input.fate = FATE_STACK;
}

// ---- segments out -------------------------------------------------------

static void
rexmit(struct shadow *s, const struct pbuf *p, const struct tcp_pcb *pcb, u32 seq, u16 len, u8 kind)
{
  u32 now = net_us(), before = s->again_us && s->again_seq == seq ? s->again_us : p->born;
  s->rexmits++;
  s->timing = 0; // whose ACK would it be?  Karn's rule
  TRACE(tcp_rexmit, .pkt = p->pkt, .sock = s->sock, .seq = seq, .len = len, .kind = kind, .nrtx = pcb->nrtx,
        .rto_ms = pcb->rto * TCP_SLOW_INTERVAL, .since_us = now - before, .cwnd = pcb->cwnd);
  s->again_seq = seq;
  s->again_us = now ? now : 1;
}

// What a segment of the send queue, or a probe, means for its connection.
static void
account_out(struct pbuf *p, struct tcp_pcb *pcb, u32 seq, u32 flags, u16 len)
{
  struct shadow *s = shadow_of(pcb);
  if(s == 0)
    return;
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
  if(len)
    sock_sent(pcb, p->pkt, seq, len);
  if(s->timing)
    return;
  s->timing = 1;
  s->rtt_seq = seq;
  s->rtt_tsc = rdtsc();
}

// LWIP_HOOK_TCP_OUT_ADD_TCPOPTS: a segment leaves TCP; adds no option.
// hdr in network order, at p's payload; pcb is 0 for a reset to nobody.
u32_t *
watch_seg_out(struct pbuf *p, const struct tcp_hdr *hdr, const struct tcp_pcb *cpcb, u32_t *opts)
{
  struct tcp_pcb *pcb = (struct tcp_pcb *)cpcb;
  u32 hlen = TCPH_HDRLEN_BYTES(hdr), flags = TCPH_FLAGS(hdr), seq = lwip_ntohl(hdr->seqno);
  u16 len = p->tot_len - hlen;
  if(pcb)
    watch_pcb(pcb);
  pkt_birth(p);
  leaving = p;
  if(pcb && pcb->unsent && pcb->unsent->p == p)
    p->fate |= PKT_KEPT;
  TRACE(tcp_seg_out, .pkt = p->pkt, .sock = pcb ? sock_id(pcb) : input.sock,
        .laddr = pcb ? lwip_ntohl(pcb->local_ip.addr) : input.h.dst,
        .raddr = pcb ? lwip_ntohl(pcb->remote_ip.addr) : input.h.src,
        .lport = lwip_ntohs(hdr->src), .rport = lwip_ntohs(hdr->dest), .seq = seq,
        .ack = lwip_ntohl(hdr->ackno), .wnd = lwip_ntohs(hdr->wnd), .len = len, .flags = flags,
        .mss = flags & TCP_SYN ? mss_option((const u8 *)(hdr + 1), hlen - TCP_HLEN) : 0,
        .state = pcb ? pcb->state : CLOSED, .xmit = PKT_XMITS(p->fate) + 1);
  if(pcb)
    account_out(p, pcb, seq, flags, len);
  return opts;
}

// ---- IP, ICMP, UDP, ARP -------------------------------------------------

// The transport header behind ip, if there is one and it has 8 bytes of the first n.
static const u8 *
transport(const u8 *ip, u32 n)
{
  u32 hlen = 4 * (ip[0] & 15);
  return be16_at(ip + 6) & 0x1fff || hlen < IP_HLEN || hlen + 8 > n ? 0 : ip + hlen;
}

static void
icmp_in(u32 pkt, const u8 *m)
{
  TRACE(icmp_in, .pkt = pkt, .sock = 0, .src = input.h.src, .dst = input.h.dst, .type = m[0], .code = m[1],
        .id = be16_at(m + 4), .seq = be16_at(m + 6));
}

static void
udp_in(u32 pkt, const u8 *u)
{
  u16 len = be16_at(u + 4);
  TRACE(udp_in, .pkt = pkt, .sock = 0, .laddr = input.h.dst, .raddr = input.h.src, .lport = input.h.dport,
        .rport = input.h.sport, .len = len >= 8 ? len - 8 : 0, .csum = be16_at(u + 6));
}

// LWIP_HOOK_IP4_INPUT: an IP packet, nothing checked but its version.  A packet that
// came through loopback has not been announced by ethif_rx: this is its start.
int
watch_ip_in(struct pbuf *p, struct netif *inp)
{
  const u8 *ip = p->payload;
  if(p->len < IP_HLEN)
    return 0;
  if(p->pkt == 0)
    p->pkt = pkt_new();
  if(p->pkt != input.pkt) {
    pkt_settle(input.pkt);
    input_begin(p->pkt, p->born, 0xff, ETHERTYPE_IPV4, ip, p->len);
  }
  u16 frag = be16_at(ip + 6);
  if(frag & 0x3fff)
    p->fate |= PKT_FRAG;
  TRACE(ip_in, .pkt = p->pkt, .sock = 0, .src = input.h.src, .dst = input.h.dst, .len = be16_at(ip + 2),
        .ipid = be16_at(ip + 4), .frag = frag, .proto = ip[9], .ttl = ip[8], .tos = ip[1], .netif = input.netif);
  const u8 *l4 = transport(ip, p->len);
  if(l4 && ip[9] == PROTO_ICMP)
    icmp_in(p->pkt, l4);
  if(l4 && ip[9] == PROTO_UDP)
    udp_in(p->pkt, l4);
  (void)inp;
  return 0;
}

// The neighbour that leads to dst; lwIP's etharp_output decides the same way.
static u32
next_hop(const struct netif *netif, const ip4_addr_t *dst)
{
  int direct = ip4_addr_net_eq(dst, netif_ip4_addr(netif), netif_ip4_netmask(netif)) ||
               ip4_addr_isbroadcast(dst, netif) || ip4_addr_ismulticast(dst);
  return lwip_ntohl(direct ? dst->addr : netif_ip4_gw(netif)->addr);
}

// p goes to IP now, 0: it has gone.  What becomes of it, pieces or a copy for
// loopback, is linked to it.
void
watch_leaving(struct pbuf *p)
{
  leaving = p;
}

// Is this a piece of the packet that is leaving?  Then that has done its duty with
// the last one.
static void
fragment_out(struct pbuf *p, u16 frag)
{
  if(leaving == 0 || p == leaving || (frag & 0x3fff) == 0)
    return;
  TRACE(pkt_link, .pkt = p->pkt, .sock = 0, .parent = leaving->pkt, .kind = LINK_FRAG, .off = (frag & 0x1fff) * 8,
        .len = p->tot_len - IP_HLEN);
  leaving->fate |= FATE_STACK;
}

// An IP packet leaves, complete but for the Ethernet header.
void
watch_ip_out(struct pbuf *p, struct netif *netif, const ip4_addr_t *dst)
{
  const u8 *ip = p->payload;
  if(p->len < IP_HLEN)
    return;
  fragment_out(p, be16_at(ip + 6));
  if((be16_at(ip + 6) & 0x2000) == 0)
    leaving = 0; // it does not go through loopback
  u32 src = lwip_ntohl(*(const u32 *)(ip + 12)), to = lwip_ntohl(*(const u32 *)(ip + 16));
  TRACE(ip_out, .pkt = p->pkt, .sock = 0, .src = src, .dst = to, .len = be16_at(ip + 2), .ipid = be16_at(ip + 4),
        .frag = be16_at(ip + 6), .proto = ip[9], .ttl = ip[8], .tos = ip[1], .netif = 0,
        .nexthop = next_hop(netif, dst));
  const u8 *m = transport(ip, p->len);
  if(m && ip[9] == PROTO_ICMP)
    TRACE(icmp_out, .pkt = p->pkt, .sock = 0, .src = src, .dst = to, .type = m[0], .code = m[1],
          .id = be16_at(m + 4), .seq = be16_at(m + 6));
  if(m && ip[9] == PROTO_UDP)
    TRACE(udp_out, .pkt = p->pkt, .sock = 0, .laddr = src, .raddr = to, .lport = be16_at(m), .rport = be16_at(m + 2),
          .len = be16_at(m + 4) - 8, .csum = be16_at(m + 6));
}

// An ARP packet with its Ethernet header.
void
watch_arp(const struct pbuf *p, int out)
{
  const struct etharp_hdr *a = (const void *)((const u8 *)p->payload + SIZEOF_ETH_HDR);
  if(p->len < SIZEOF_ETH_HDR + SIZEOF_ETHARP_HDR)
    return;
  u32 spa = a->sipaddr.addrw[0] | (u32)a->sipaddr.addrw[1] << 16;
  u32 tpa = a->dipaddr.addrw[0] | (u32)a->dipaddr.addrw[1] << 16;
  if(out)
    TRACE(arp_out, .pkt = p->pkt, .sock = 0, .op = lwip_ntohs(a->opcode), .spa = lwip_ntohl(spa),
          .tpa = lwip_ntohl(tpa), .sha = mac6_at(&a->shwaddr));
  else
    TRACE(arp_in, .pkt = p->pkt, .sock = 0, .op = lwip_ntohs(a->opcode), .spa = lwip_ntohl(spa),
          .tpa = lwip_ntohl(tpa), .sha = mac6_at(&a->shwaddr));
}

// ---- reasons ------------------------------------------------------------

// lwIP counts an error; the function tells apart what shares a counter.
static const struct {
  const char *counter, *function; // 0: any
  u8 reason;
} reasons[] = {
  {"etharp.lenerr", 0, DROP_PKT_TOO_SMALL},
  {"etharp.proterr", "etharp_input", DROP_ARP_BAD},
  {"etharp.proterr", "ethernet_input", DROP_ETH_TYPE},
  {"etharp.memerr", "etharp_query", DROP_NEIGH_QUEUEFULL},
  {"ip.err", "ip4_input", DROP_IP_INHDR},
  {"ip.lenerr", 0, DROP_IP_INHDR},
  {"ip.opterr", 0, DROP_IP_INHDR},
  {"ip.chkerr", 0, DROP_IP_CSUM},
  {"ip.proterr", 0, DROP_IP_NOPROTO},
  {"ip_frag.err", 0, DROP_FRAG_BAD},
  {"ip_frag.memerr", 0, DROP_FRAG_LIMIT},
  {"ip_frag.drop", 0, DROP_FRAG_BAD},
  {"icmp.chkerr", 0, DROP_ICMP_CSUM},
  {"icmp.lenerr", 0, DROP_ICMP_BAD},
  {"icmp.proterr", 0, DROP_ICMP_BAD},
  {"icmp.err", 0, DROP_ICMP_BAD},
  {"udp.lenerr", 0, DROP_UDP_LEN},
  {"udp.chkerr", 0, DROP_UDP_CSUM},
  {"udp.proterr", 0, DROP_NO_SOCKET},
  {"udp.drop", 0, DROP_NO_SOCKET},
  {"tcp.lenerr", 0, DROP_TCP_HDR},
  {"tcp.chkerr", 0, DROP_TCP_CSUM},
  {"tcp.memerr", "tcp_listen_input", DROP_NOMEM_PCB},
  {"ip.drop", "ip4_input", DROP_OTHERHOST},
};

// A packet was copied into a loopback queue: the copy is a packet of its own, and
// the original has done its duty.
static void
looped(void)
{
  struct netif *netif;
  NETIF_FOREACH(netif)
  {
    struct pbuf *r = netif->loop_last;
    if(r == 0 || r->pkt)
      continue;
    r->pkt = pkt_new();
    r->born = net_us();
    if(leaving == 0) { // lwIP's answer to what is in input
      if(input.pkt)
        TRACE(pkt_link, .pkt = r->pkt, .sock = 0, .parent = input.pkt, .kind = LINK_REPLY, .off = 0, .len = r->tot_len);
      continue;
    }
    TRACE(pkt_link, .pkt = r->pkt, .sock = 0, .parent = leaving->pkt, .kind = LINK_CLONE, .off = 0, .len = r->tot_len);
    leaving->fate |= FATE_STACK;
    pkt_died(leaving);
    leaving->fate |= PKT_ENDED;
    leaving = 0;
  }
}

// Is this address that of many hosts?
static int
many(u32 addr)
{
  struct netif *netif;
  NETIF_FOREACH(netif)
  if(ip4_addr_isbroadcast_u32(lwip_htonl(addr), netif))
    return 1;
  return (addr >> 28) >= 14;
}

// A broadcast or multicast source makes ip4_input drop with the general counter only.
static u8
ip_drop_reason(u8 reason)
{
  return reason == DROP_OTHERHOST && many(input.h.src) ? DROP_IP_INHDR : reason;
}

// lwIP is about to count "counter" in "function" (lwiptrace.h).  The pbuf may be gone
// already: only note it, ethif_rx decides when the input is over.
void
lwt_stat(const char *counter, const char *function)
{
  if(strcmp(counter, "link.xmit") == 0) {
    looped();
    return;
  }
  if(input.pkt == 0)
    return;
  u32 eip = (u32)__builtin_return_address(0);
  if(strcmp(counter, "tcp.proterr") == 0) {
    orphan_segment();
    note(many(input.h.dst) ? DROP_TCP_HDR : DROP_NO_SOCKET, eip);
    return;
  }
  for(u32 i = 0; i < NELEM(reasons); i++)
    if(strcmp(counter, reasons[i].counter) == 0 &&
       (reasons[i].function == 0 || strcmp(function, reasons[i].function) == 0)) {
      note(ip_drop_reason(reasons[i].reason), eip);
      return;
    }
}

// ---- deaths of pbufs (ld --wrap) ----------------------------------------

void __real_mem_free(void *mem);
void __wrap_mem_free(void *mem);
void __real_memp_free(memp_t type, void *mem);
void __wrap_memp_free(memp_t type, void *mem);

// Called from pbuf.c for a pbuf with its data behind it.  (dhcp.c's one other call,
// for its own state, belongs to a function we never use.)
void
__wrap_mem_free(void *mem)
{
  pkt_died(mem);
  __real_mem_free(mem);
}

void
__wrap_memp_free(memp_t type, void *mem)
{
  if(type == MEMP_PBUF_POOL)
    pkt_died(mem);
  __real_memp_free(type, mem);
}

void
watch_init(void)
{
  ext = tcp_ext_arg_alloc_id();
}
