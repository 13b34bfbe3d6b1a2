// Ethernet interface: the only file that turns frames into pbufs and back, and the
// keeper of packet identity: birth, drop and end of every packet.
//
// Up:   netd -> e1000_rx -> ethif_rx -> lwIP ethernet_input -> ... -> sock_rx
// Down: sock_tx -> lwIP ... -> ethif_output -> ethif_tx -> e1000_tx -> ethif_txdone
//
// Everything here runs in thread context with netlock held, never in an interrupt.
// A received frame is wrapped, not copied: its buffer belongs to the pbuf and goes
// back to the driver when the last reference is gone.  A pbuf being sent has one
// reference of ours until ethif_txdone.
#include "uapi/types.h"
#include "defs.h"
#include "mmu.h"
#include "proc.h"
#include "trace/trace.h"
#include "net/net.h"
#include "lwip/etharp.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "lwip/prot/ethernet.h"
#include "lwip/snmp.h"
#include "netif/ethernet.h"

#define MAXTX 1514 // longest frame we send, without FCS

struct input input;
u32 net_drops[NDROP];
u32 ethif_sent;

static struct netif nif[NNIC];

// A pbuf that wraps a receive buffer lies in the buffer's own tail, which the card
// never fills: no table leads from an address to its pbuf.
#define TAIL (RXBUF - sizeof(struct pbuf_custom))
_Static_assert(TAIL >= RXMAX, "no room for the pbuf behind the frame");

// ---- packet identity ----------------------------------------------------

static u32
be32_at(const u8 *p)
{
  return (u32)be16_at(p) << 16 | be16_at(p + 2);
}

// Fill h from the n bytes at ip, the start of an IPv4 packet; what is not there stays 0.
static void
read_headers(struct headers *h, const u8 *ip, u32 n)
{
  if(n < 20)
    return;
  h->proto = ip[9];
  h->src = be32_at(ip + 12);
  h->dst = be32_at(ip + 16);
  u32 hlen = 4 * (ip[0] & 15);
  const u8 *l4 = ip + hlen;
  if(be16_at(ip + 6) & 0x1fff || hlen + 8 > n || (h->proto != PROTO_TCP && h->proto != PROTO_UDP))
    return;
  h->sport = be16_at(l4);
  h->dport = be16_at(l4 + 2);
  if(h->proto != PROTO_TCP || hlen + 20 > n)
    return;
  u32 total = be16_at(ip + 2), skip = hlen + 4 * (l4[12] >> 4);
  h->tcpseq = be32_at(l4 + 4);
  h->tcpack = be32_at(l4 + 8);
  h->tcpflags = l4[13];
  h->tcplen = total > skip ? total - skip : 0;
}

static struct pbuf *resolving; // [n] its neighbour is being looked up

// Remember the packet that goes into the stack now, and what its headers say:
// lwIP changes them, and may have freed the pbuf when the reason for a drop is known.
// ip: n bytes from the IP header on, if type is IPv4.
void
input_begin(u32 pkt, u32 born, int netif, u16 type, const u8 *ip, u32 n)
{
  input = (struct input){.pkt = pkt, .born = born, .netif = netif, .h.len = n};
  myproc()->pkt = pkt;
  if(type == ETHERTYPE_IPV4)
    read_headers(&input.h, ip, n);
}

// Of one that has no pbuf.
static void
end_dropped(u32 pkt)
{
  TRACE(pkt_end, .pkt = pkt, .sock = 0, .fate = FATE_DROP, .life_us = 0);
}

TRACE_APART void
end_input(void)
{
  TRACE(pkt_end, .pkt = input.pkt, .sock = input.sock, .fate = input.fate ? input.fate : FATE_STACK,
        .life_us = input.born ? now_us() - input.born : 0);
}

TRACE_APART void
end_pbuf(const struct pbuf *p)
{
  TRACE(pkt_end, .pkt = p->pkt, .sock = 0, .fate = (u8)p->fate, .life_us = p->born ? now_us() - p->born : 0);
}

// Where a reason belongs, for the reader of the event.
static u8
stage_of(u8 reason)
{
  if(reason <= DROP_LINK_DOWN)
    return reason == DROP_NOT_SPECIFIED ? STAGE_STACK : STAGE_DRIVER;
  if(reason <= DROP_NEIGH_QUEUEFULL)
    return STAGE_NETIF;
  if(reason < DROP_LISTEN_BACKLOG)
    return STAGE_STACK;
  return reason < DROP_NOMEM_PBUF || reason == DROP_NOMEM_SOCK ? STAGE_SOCKET : STAGE_MEM;
}

static const struct headers unknown;

// h: what is known of the packet.
static void
report_drop(u32 pkt, u8 reason, u8 dir, u32 eip, const struct headers *h)
{
  u16 sock = pkt == input.pkt ? input.sock : 0;
  sock_dropped(sock);
  net_drops[reason]++;
  TRACE(net_drop, .pkt = pkt, .sock = sock, .reason = reason, .stage = stage_of(reason), .proto = h->proto,
        .dir = dir, .eip = eip, .src = h->src, .dst = h->dst, .sport = h->sport, .dport = h->dport,
        .len = h->len, .aux = 0);
}

static void
drop_input(u8 reason, u32 eip)
{
  report_drop(input.pkt, reason, DIR_IN, eip, &input.h);
  input.fate = FATE_DROP; // pkt_settle ends it
}

// Report that a received packet was dropped, and why: the only way one is dropped.
// pkt: the one in input, or one that has no pbuf yet.
NOFUNC __attribute__((noinline)) void
net_drop(u32 pkt, u8 reason)
{
  u32 eip = (u32)__builtin_return_address(0);
  if(pkt == input.pkt) {
    drop_input(reason, eip);
    return;
  }
  report_drop(pkt, reason, DIR_IN, eip, &unknown);
  end_dropped(pkt);
}

// The same for bytes of ours that never became a packet.
NOFUNC __attribute__((noinline)) void
net_drop_unsent(u32 pkt, u8 reason)
{
  report_drop(pkt, reason, DIR_OUT, (u32)__builtin_return_address(0), &unknown);
  end_dropped(pkt);
}

// The same for a packet in a pbuf, which the caller frees.
NOFUNC __attribute__((noinline)) void
net_drop_pbuf(struct pbuf *p, u8 reason)
{
  if(p->fate & PKT_ENDED)
    return; // a piece of a datagram that was put together
  struct headers h = {.len = p->tot_len};
  const u8 *frame = p->payload;
  int out = (p->fate & PKT_SENT) != 0;
  if(out && p->len > SIZEOF_ETH_HDR && be16_at(frame + 12) == ETHERTYPE_IPV4)
    read_headers(&h, frame + SIZEOF_ETH_HDR, p->len - SIZEOF_ETH_HDR);
  report_drop(p->pkt, reason, out ? DIR_OUT : DIR_IN, (u32)__builtin_return_address(0),
              p->pkt == input.pkt ? &input.h : &h);
  p->fate = (p->fate & ~0xffu) | FATE_DROP;
}

TRACE_APART void
tell_reply(const struct pbuf *p)
{
  if(input.pkt)
    TRACE(pkt_link, .pkt = p->pkt, .sock = 0, .parent = input.pkt, .kind = LINK_REPLY, .off = 0, .len = p->tot_len);
}

// Give a packet of ours its identity, unless it has one.  What is made while
// another packet is in input is its answer.
u32
pkt_birth(struct pbuf *p)
{
  if(p->pkt && p->pkt != input.pkt)
    return p->pkt;
  if(p->pkt) { // the stack turned the request's own pbuf around
    input.gone = 1;
    input.fate = FATE_STACK;
  }
  p->pkt = pkt_new();
  p->born = now_us();
  p->fate = PKT_SENT;
  if(TRACING(pkt_link))
    tell_reply(p);
  return p->pkt;
}

// Why a packet without a fate was freed outside its own input.
static u8
late_reason(const struct pbuf *p)
{
  if(p->fate & PKT_SENT && !(p->fate & PKT_IP))
    return DROP_IP_NOROUTE;
  if(p->fate & PKT_SENT) // another one took its place, or nobody answered
    return resolving && resolving != p ? DROP_NEIGH_QUEUEFULL : DROP_NEIGH_FAILED;
  if(p->fate & PKT_FRAG) // one in input took its place, or time ran out
    return input.pkt ? DROP_FRAG_LIMIT : DROP_FRAG_TIMEOUT;
  return DROP_TCP_OFO_DROP;
}

// Apart, because few packets are dropped.
static __attribute__((noinline)) void
drop_late(struct pbuf *p, u32 eip)
{
  struct headers h = {.len = p->tot_len};
  const u8 *ip = p->payload; // all of them stand at their IP header, if they have come to one
  if(p->len && ip[0] >> 4 == 4)
    read_headers(&h, ip, p->len);
  report_drop(p->pkt, late_reason(p), p->fate & PKT_SENT ? DIR_OUT : DIR_IN, eip, &h);
  p->fate |= FATE_DROP;
}

// A pbuf is freed: if it is a packet whose end has not been seen, this is it.
// While its own input runs that is only noted: the reason may come later.
NOFUNC void
pkt_died(struct pbuf *p)
{
  u8 fate = p->fate & 0xff;
  if(p->pkt == 0 || p->fate & PKT_ENDED)
    return;
  if(p->pkt == input.pkt) {
    input.gone = 1;
    if(fate)
      input.fate = fate;
    return;
  }
  if(fate == 0)
    drop_late(p, (u32)__builtin_return_address(0));
  p->fate |= PKT_ENDED;
  if(TRACING(pkt_end))
    end_pbuf(p);
}

// The packet in input has been through the stack: decide its fate and record its
// end, unless a queue still holds it.
void
pkt_settle(u32 pkt)
{
  if(input.pkt == 0 || input.pkt != pkt)
    return;
  watch_settle();
  if(input.gone) {
    if(input.fate == 0 && input.reason)
      drop_input(input.reason, input.eip);
    if(TRACING(pkt_end))
      end_input();
  }
  input.pkt = 0;
  myproc()->pkt = 0;
}

// ---- up -----------------------------------------------------------------

// The last reference to a received frame is gone.
static void
rx_gone(struct pbuf *p)
{
  watch_pbuf_free(p, __builtin_frame_address(0));
  pkt_died(p);
  e1000_rxfree((u8 *)p - TAIL);
}

// Make a pbuf of a frame: wrap it; when buffers run low copy it, so that the card
// never starves because somebody reads slowly.  0: no memory, the frame is still ours.
static struct pbuf *
frame_to_pbuf(u8 *frame, u32 len)
{
  u32 spare = e1000_rxspare();
  if(spare >= 256 / 4) {
    struct pbuf_custom *pc = (struct pbuf_custom *)(frame + TAIL);
    pc->custom_free_function = rx_gone;
    return pbuf_alloced_custom(PBUF_RAW, len, PBUF_REF, pc, frame, TAIL);
  }
  if(spare < 256 / 8)
    pbuf_free_ooseq();
  struct pbuf *p = pbuf_alloc(PBUF_RAW, len, PBUF_POOL);
  if(p == 0)
    return 0;
  pbuf_take(p, frame, len);
  e1000_rxfree(frame);
  return p;
}

// For ifconfig.  many: a broadcast or multicast.
static void
count_rx(struct netif *netif, u32 len, int many)
{
  MIB2_STATS_NETIF_ADD(netif, ifinoctets, len);
  if(many)
    MIB2_STATS_NETIF_INC(netif, ifinnucastpkts);
  else
    MIB2_STATS_NETIF_INC(netif, ifinucastpkts);
}

static void
count_tx(struct netif *netif, u32 len, int many)
{
  MIB2_STATS_NETIF_ADD(netif, ifoutoctets, len);
  if(many)
    MIB2_STATS_NETIF_INC(netif, ifoutnucastpkts);
  else
    MIB2_STATS_NETIF_INC(netif, ifoutucastpkts);
}

// Hand one received frame to the stack.
// frame: len bytes from the Ethernet header on, no FCS; ours from here on.
// Context: netd, caller holds netlock.  Does not sleep.
// Failure: net_drop counts it and says why; nothing is left for the caller to do.
void
ethif_rx(int nic, u32 pkt, u8 *frame, u32 len)
{
  const struct eth_hdr *eh = (const void *)frame;
  u16 type = ntohs(eh->type);
  TRACE(ethif_rx, .pkt = pkt, .sock = 0, .dst = mac6_at(&eh->dest), .src = mac6_at(&eh->src),
        .type = type, .len = len, .netif = nic);
  count_rx(&nif[nic], len, eh->dest.addr[0] & 1);
  input_begin(pkt, now_us(), nic, type, frame + SIZEOF_ETH_HDR, len - SIZEOF_ETH_HDR);
  struct pbuf *p = frame_to_pbuf(frame, len); // wraps; copies when buffers run low
  if(p == 0) {
    e1000_rxfree(frame);
    MIB2_STATS_NETIF_INC(&nif[nic], ifindiscards);
    input.gone = 1;
    net_drop(pkt, DROP_NOMEM_PBUF);
    pkt_settle(pkt);
    return;
  }
  p->pkt = pkt;
  p->born = input.born;
  if(type == ETHERTYPE_ARP)
    watch_arp(p, 0);
  ethernet_input(p, &nif[nic]); // the stack owns p from here on, whatever it returns
  pkt_settle(input.pkt);        // fate and pkt_end, if it died in there: pkt, or what it completed
}

// ---- down ---------------------------------------------------------------

// netif->output: an IP packet for the neighbour that leads to dst.
static err_t
ethif_output(struct netif *netif, struct pbuf *p, const ip4_addr_t *dst)
{
  pkt_birth(p);
  p->fate |= PKT_IP;
  watch_ip_out(p, netif, dst);
  resolving = p;
  u32 xmits = PKT_XMITS(p->fate);
  err_t e = etharp_output(netif, p, dst);
  resolving = 0;
  if(e == ERR_OK && PKT_XMITS(p->fate) == xmits)
    watch_waits(p, netif, dst);
  if(e == ERR_RTE) // not a neighbour, and there is no gateway
    p->fate &= ~PKT_IP;
  return e;
}

// Fill f from a chain.  Returns the number of pieces, 0 if there are too many.
static int
pieces(const struct pbuf *p, struct frag *f)
{
  int n = 0;
  for(; p; p = p->next) {
    if(p->len == 0)
      continue;
    if(n == TXFRAG)
      return 0;
    f[n++] = (struct frag){p->payload, p->len};
  }
  return n;
}

// It cannot be sent now.  A connection keeps its segments and sends them again;
// anything else is lost.
static err_t
tx_failed(struct netif *netif, struct pbuf *p, u8 reason)
{
  MIB2_STATS_NETIF_INC(netif, ifoutdiscards);
  if(!(p->fate & PKT_KEPT))
    net_drop_pbuf(p, reason);
  return ERR_MEM;
}

// netif->linkoutput: send a frame.  p is the caller's; if it is queued, one
// reference is ours until ethif_txdone.
// Context: system call or netd, caller holds netlock.  Does not sleep.
// ERR_MEM: not taken, TCP tries again later.
static err_t
ethif_tx(struct netif *netif, struct pbuf *p)
{
  static struct frag f[TXFRAG]; // netlock guards it
  int nic = netif - nif;
  const struct eth_hdr *eh = p->payload;
  u16 type = ntohs(eh->type);
  u32 pkt = pkt_birth(p);
  if(type == ETHERTYPE_ARP)
    watch_arp(p, 1); // lwIP's ARP calls us directly: no layer of ours lies between
  TRACE(ethif_tx, .pkt = pkt, .sock = 0, .dst = mac6_at(&eh->dest), .src = mac6_at(&eh->src),
        .type = type, .len = p->tot_len, .netif = nic);
  int n = pieces(p, f);
  if(n == 0 || p->tot_len > MAXTX)
    return tx_failed(netif, p, DROP_TX_TOO_LONG);
  if(!e1000_link(nic)) // QEMU would throw it away and say "done"
    return tx_failed(netif, p, DROP_LINK_DOWN);
  pbuf_ref(p);
  p->fate += PKT_XMIT;
  if(e1000_tx(nic, pkt, PKT_XMITS(p->fate), f, n, p) < 0) {
    p->fate -= PKT_XMIT;
    pbuf_free(p);
    return tx_failed(netif, p, DROP_TX_RING_FULL);
  }
  count_tx(netif, p->tot_len, eh->dest.addr[0] & 1);
  return ERR_OK;
}

// The card has sent the frame: its packet has reached the wire.
void
ethif_txdone(void *cookie)
{
  ethif_sent++;
  struct pbuf *p = cookie;
  if(!(p->fate & PKT_ENDED)) {
    p->fate |= PKT_ENDED | FATE_WIRE;
    if(TRACING(pkt_end))
      end_pbuf(p);
  }
  pbuf_free(p);
}

// ---- set-up -------------------------------------------------------------

static err_t
setup(struct netif *netif)
{
  int nic = netif - nif;
  netif->name[0] = 'e';
  netif->name[1] = 'n';
  netif->hostname = "xv6";
  netif->output = ethif_output;
  netif->linkoutput = ethif_tx;
  netif->mtu = 1500;
  netif->hwaddr_len = ETH_HWADDR_LEN;
  memmove(netif->hwaddr, e1000_mac(nic), ETH_HWADDR_LEN);
  netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET;
  return ERR_OK;
}

// Make interface number nic known to lwIP, without an address.
struct netif *
ethif_init(int nic)
{
  netif_add(&nif[nic], 0, 0, 0, 0, setup, ethernet_input);
  netif_set_up(&nif[nic]);
  return &nif[nic];
}
