// Sees into lwIP and changes nothing: IP packets and their pieces, why a packet was
// dropped, and packet memory.  TCP is watch_tcp.c's; ARP, DHCP and DNS, watch_names.c's.
//
// lwIP is unmodified.  It is seen through its hooks (lwiphooks.h), its error counters
// (lwiptrace.h) and a few functions wrapped by the linker.  A kernel without these files
// works the same; only its trace is poorer.  All of it runs with netlock held.
#include "uapi/types.h"
#include "defs.h"
#include "debug.h"
#include "trace/trace.h"
#include "x86.h"
#include "net/net.h"
#include "net/watch.h"
#include "net/lwiphooks.h"
#include "lwip/etharp.h"
#include "lwip/ip4_frag.h"
#include "lwip/memp.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/icmp.h"
#include "lwip/prot/ip4.h"
#include "lwip/stats.h"
#include "lwip/sys.h"
#include "lwip/timeouts.h"
#include "lwip/udp.h"

static struct pbuf *leaving; // packet that is just being handed to IP

// ---- the end of an input -----------------------------------------------------

// What was seen says why the packet in input dies, if it does.
void
watch_note(u8 reason, u32 eip)
{
  if(input.reason)
    return; // the first one is the specific one
  input.reason = reason;
  input.eip = eip;
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
  watch_tcp_settle();
  watch_names_settle();
  watch_enter(TCP_WHY_TIMER);
  if(!input.gone || input.fate || input.reason)
    return;
  if(input.h.proto == PROTO_TCP && !input.seg) {
    watch_orphan();
    watch_note(DROP_NO_SOCKET, (u32)tcp_input); // a reset to nobody is not even answered
  } else if(input.h.proto == PROTO_TCP && input.h.tcplen && !(input.h.tcpflags & (TCP_SYN | TCP_FIN | TCP_RST)))
    watch_note(input.maybe ? input.maybe : DROP_NOT_SPECIFIED, (u32)tcp_input);
  else if(input.h.proto == PROTO_UDP && !udp_port_used(input.h.dport))
    watch_note(DROP_NO_SOCKET, (u32)udp_input); // to everyone: not even counted
  else
    input.fate = FATE_STACK;
}

// ---- IP, ICMP, UDP -------------------------------------------------

// The transport header behind ip, if it has 8 bytes of the first n, and no fragment's.
static const u8 *
transport(const u8 *ip, u32 n)
{
  u32 hlen = 4 * (ip[0] & 15);
  return be16_at(ip + 6) & 0x3fff || hlen < IP_HLEN || hlen + 8 > n ? 0 : ip + hlen;
}

static u8 icmp_error; // the packet in input is a well-formed ICMP error

// m: n bytes of an ICMP message.  An error quotes at least a header and 8 bytes.
static void
icmp_in(u32 pkt, const u8 *m, u32 n)
{
  u8 t = m[0];
  icmp_error = n >= 8 + IP_HLEN + 8 && (t == ICMP_DUR || t == ICMP_SQ || t == ICMP_RD || t == ICMP_TE || t == ICMP_PP);
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

// ip: n bytes of a packet from its IP header on.
static void
above_in(u32 pkt, const u8 *ip, u32 n)
{
  const u8 *l4 = transport(ip, n);
  if(l4 && ip[9] == PROTO_ICMP)
    icmp_in(pkt, l4, ip + n - l4);
  if(l4 && ip[9] == PROTO_UDP) {
    udp_in(pkt, l4);
    watch_names_in(pkt, l4, ip + n - l4);
  }
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
  (void)inp;
  if(ip[9] != PROTO_TCP) // watch_seg_in sees those
    above_in(p->pkt, ip, p->len);
  return 0;
}

// The neighbour that leads to dst; lwIP's etharp_output decides the same way.
u32
watch_next_hop(const struct netif *netif, const ip4_addr_t *dst)
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
fragment_out(struct pbuf *p, const u8 *ip)
{
  u16 frag = be16_at(ip + 6);
  if(leaving == 0 || p == leaving || (frag & 0x3fff) == 0)
    return;
  TRACE(pkt_link, .pkt = p->pkt, .sock = 0, .parent = leaving->pkt, .kind = LINK_FRAG, .off = (frag & 0x1fff) * 8,
        .len = p->tot_len - IP_HLEN);
  TRACE(ip_frag, .pkt = p->pkt, .sock = 0, .ipid = be16_at(ip + 4), .off = (frag & 0x1fff) * 8,
        .len = p->tot_len - IP_HLEN, .more = (frag & 0x2000) != 0);
  leaving->fate |= FATE_STACK;
}

// What is behind the IP header of a packet that leaves.
static void
above_out(const struct pbuf *p, const struct netif *netif)
{
  const u8 *ip = p->payload;
  const u8 *m = transport(ip, p->len);
  u32 src = lwip_ntohl(*(const u32 *)(ip + 12)), to = lwip_ntohl(*(const u32 *)(ip + 16));
  if(m && ip[9] == PROTO_ICMP)
    TRACE(icmp_out, .pkt = p->pkt, .sock = 0, .src = src, .dst = to, .type = m[0], .code = m[1],
          .id = be16_at(m + 4), .seq = be16_at(m + 6));
  if(m && ip[9] == PROTO_UDP) {
    TRACE(udp_out, .pkt = p->pkt, .sock = 0, .laddr = src, .raddr = to, .lport = be16_at(m), .rport = be16_at(m + 2),
          .len = be16_at(m + 4) - 8, .csum = be16_at(m + 6));
    watch_names_out(p->pkt, m, ip + p->len - m, netif);
  }
}

// An IP packet leaves, complete but for the Ethernet header.
void
watch_ip_out(struct pbuf *p, struct netif *netif, const ip4_addr_t *dst)
{
  const u8 *ip = p->payload;
  if(p->len < IP_HLEN)
    return;
  fragment_out(p, ip);
  if((be16_at(ip + 6) & 0x2000) == 0)
    leaving = 0; // it does not go through loopback
  TRACE(ip_out, .pkt = p->pkt, .sock = 0, .src = lwip_ntohl(*(const u32 *)(ip + 12)),
        .dst = lwip_ntohl(*(const u32 *)(ip + 16)), .len = be16_at(ip + 2), .ipid = be16_at(ip + 4),
        .frag = be16_at(ip + 6), .proto = ip[9], .ttl = ip[8], .tos = ip[1], .netif = 0,
        .nexthop = watch_next_hop(netif, dst));
  if(ip[9] != PROTO_TCP) // watch_seg_out has seen those
    above_out(p, netif);
}

// ---- fragments (ld --wrap) ---------------------------------------------------

err_t __real_ip4_frag(struct pbuf *p, struct netif *netif, const ip4_addr_t *dst);
err_t __wrap_ip4_frag(struct pbuf *p, struct netif *netif, const ip4_addr_t *dst);
struct pbuf *__real_ip4_reass(struct pbuf *p);
struct pbuf *__wrap_ip4_reass(struct pbuf *p);

// Cut p into fragments and send them: each comes through watch_ip_out.
err_t
__wrap_ip4_frag(struct pbuf *p, struct netif *netif, const ip4_addr_t *dst)
{
  pkt_birth(p);
  leaving = p;
  above_out(p, netif);
  err_t e = __real_ip4_frag(p, netif, dst);
  leaving = 0;
  if(e == ERR_MEM && (p->fate & 0xff) == 0)
    net_drop_pbuf(p, DROP_NOMEM_PBUF);
  return e;
}

// Datagrams being put together, and the bytes that are here.
static struct {
  const struct ip_reassdata *d; // 0: free
  u16 have;
} partial[MEMP_NUM_REASSDATA];

static void
partial_new(const struct ip_reassdata *d)
{
  for(u32 i = 0; i < NELEM(partial); i++)
    if(partial[i].d == 0) {
      partial[i].d = d;
      partial[i].have = 0;
      return;
    }
}

static void
partial_gone(const void *d)
{
  for(u32 i = 0; i < NELEM(partial); i++)
    if(partial[i].d == d)
      partial[i].d = 0;
}

// A fragment of len bytes was put to the others of its datagram, named by its header
// ip: the bytes that are here now.
static u16
partial_add(const struct ip_hdr *ip, u16 len)
{
  for(u32 i = 0; i < NELEM(partial); i++) {
    const struct ip_reassdata *d = partial[i].d;
    if(d && d->iphdr.src.addr == ip->src.addr && d->iphdr.dest.addr == ip->dest.addr && d->iphdr._id == ip->_id)
      return partial[i].have += len;
  }
  return len;
}

// The datagram is complete: a packet of its own, in input from here on.  Its pieces,
// of which the newest was in input, have done their duty.
static void
whole_in(struct pbuf *whole)
{
  u32 pkt = pkt_new(), off = 0, netif = input.netif;
  for(struct pbuf *q = whole; q; q = q->next) {
    u32 len = q == whole ? q->len - IP_HLEN : q->len;
    TRACE(pkt_link, .pkt = pkt, .sock = 0, .parent = q->pkt, .kind = LINK_REASM, .off = off, .len = len);
    off += len;
    q->fate |= FATE_STACK;
    pkt_died(q);
    q->pkt = pkt;
    q->fate = PKT_ENDED;
  }
  pkt_settle(input.pkt);
  whole->born = now_us();
  whole->fate = 0;
  input_begin(pkt, whole->born, netif, ETHERTYPE_IPV4, whole->payload, whole->len);
  input.h.len = whole->tot_len;
  above_in(pkt, whole->payload, whole->len);
}

// Returns the whole datagram if p was the last piece missing.
struct pbuf *
__wrap_ip4_reass(struct pbuf *p)
{
  struct ip_hdr ip = *(const struct ip_hdr *)p->payload;
  u16 frag = lwip_ntohs(IPH_OFFSET(&ip)), len = lwip_ntohs(IPH_LEN(&ip)) - IPH_HL_BYTES(&ip);
  u32 pkt = p->pkt;
  struct pbuf *whole = __real_ip4_reass(p);
  if(whole == 0 && input.gone)
    return 0; // it was dropped
  TRACE(ip_reass, .pkt = pkt, .sock = 0, .ipid = lwip_ntohs(IPH_ID(&ip)), .off = (frag & 0x1fff) * 8, .len = len,
        .more = (frag & 0x2000) != 0, .have = whole ? whole->tot_len - IP_HLEN : partial_add(&ip, len),
        .done = whole != 0);
  if(whole)
    whole_in(whole);
  return whole;
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

// A packet was copied into a loopback queue.  The copy is the packet from here on: what
// is left may be kept to be sent again, and is then copied as a packet of its own.
static void
looped(void)
{
  struct netif *netif;
  NETIF_FOREACH(netif)
  {
    struct pbuf *r = netif->loop_last;
    if(r == 0 || r->pkt)
      continue;
    if(leaving && !(leaving->fate & PKT_ENDED)) {
      r->pkt = leaving->pkt;
      r->born = leaving->born;
      leaving->fate |= FATE_STACK | PKT_ENDED;
    } else {
      r->pkt = pkt_new();
      r->born = now_us();
      if(leaving)
        TRACE(pkt_link, .pkt = r->pkt, .sock = 0, .parent = leaving->pkt, .kind = LINK_CLONE, .off = 0, .len = r->tot_len);
      else if(input.pkt) // lwIP's answer to what is in input
        TRACE(pkt_link, .pkt = r->pkt, .sock = 0, .parent = input.pkt, .kind = LINK_REPLY, .off = 0, .len = r->tot_len);
    }
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
NOFUNC void
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
    watch_orphan();
    watch_note(many(input.h.dst) ? DROP_TCP_HDR : DROP_NO_SOCKET, eip);
    return;
  }
  if(icmp_error && strcmp(counter, "icmp.proterr") == 0)
    return; // lwIP counts each message that it does not answer
  for(u32 i = 0; i < NELEM(reasons); i++)
    if(strcmp(counter, reasons[i].counter) == 0 &&
       (reasons[i].function == 0 || strcmp(function, reasons[i].function) == 0)) {
      watch_note(ip_drop_reason(reasons[i].reason), eip);
      return;
    }
}

// ---- packet memory (ld --wrap) -----------------------------------------------

unsigned net_pbufs; // lwipopts.h counts them up

void __real_mem_free(void *mem);
void __wrap_mem_free(void *mem);
void *__real_memp_malloc(memp_t type);
void *__wrap_memp_malloc(memp_t type);
void __real_memp_free(memp_t type, void *mem);
void __wrap_memp_free(memp_t type, void *mem);
struct pbuf *__real_pbuf_alloc(pbuf_layer layer, u16_t len, pbuf_type type);
struct pbuf *__wrap_pbuf_alloc(pbuf_layer layer, u16_t len, pbuf_type type);
struct pbuf *__real_pbuf_clone(pbuf_layer layer, pbuf_type type, struct pbuf *p);
struct pbuf *__wrap_pbuf_clone(pbuf_layer layer, pbuf_type type, struct pbuf *p);
struct pbuf *__real_pbuf_alloced_custom(pbuf_layer layer, u16_t len, pbuf_type type, struct pbuf_custom *p, void *mem, u16_t n);
struct pbuf *__wrap_pbuf_alloced_custom(pbuf_layer layer, u16_t len, pbuf_type type, struct pbuf_custom *p, void *mem, u16_t n);

// ORDER MEMPOOL in trace/events.def
_Static_assert((int)MEMPOOL_TCP_SEG == (int)MEMP_TCP_SEG && (int)MEMPOOL_ARP_QUEUE == (int)MEMP_ARP_QUEUE &&
                 (int)MEMPOOL_SYS_TIMEOUT == (int)MEMP_SYS_TIMEOUT && (int)MEMPOOL_PBUF_POOL == (int)MEMP_PBUF_POOL,
               "the pools' names");

static u8
type_name(pbuf_type type)
{
  return type == PBUF_RAM ? PBUFTYPE_RAM : type == PBUF_POOL ? PBUFTYPE_POOL
                                         : type == PBUF_REF  ? PBUFTYPE_REF
                                                             : PBUFTYPE_ROM;
}

static u8
layer_name(pbuf_layer layer)
{
  return layer == PBUF_TRANSPORT ? PBUFLAYER_TRANSPORT : layer == PBUF_IP   ? PBUFLAYER_IP
                                                       : layer == PBUF_LINK ? PBUFLAYER_LINK
                                                                            : PBUFLAYER_RAW;
}

// p may be a chain, or 0.
static struct pbuf *
allocated(struct pbuf *p, pbuf_layer layer, pbuf_type type, u32 site)
{
  for(struct pbuf *q = p; q; q = q->next) {
    q->born = now_us();
    TRACE(pbuf_alloc, .pkt = 0, .sock = 0, .p = (u32)q, .site = site, .len = q->len, .in_use = net_pbufs,
          .layer = layer_name(layer), .type = type_name(type));
  }
  return p;
}

#define SITE ((u32)__builtin_return_address(0))

// frame: of __wrap_pbuf_alloc.  Its arguments are read from there, and not handed on,
// because that would cost instructions also while the event is off.
TRACE_APART struct pbuf *
alloc_traced(const u32 *frame)
{
  pbuf_layer layer = (pbuf_layer)frame[2];
  pbuf_type type = (pbuf_type)frame[4];
  return allocated(__real_pbuf_alloc(layer, (u16_t)frame[3], type), layer, type, frame[1]);
}

NOFUNC struct pbuf *
__wrap_pbuf_alloc(pbuf_layer layer, u16_t len, pbuf_type type)
{
  return TRACING(pbuf_alloc) ? alloc_traced(__builtin_frame_address(0)) : __real_pbuf_alloc(layer, len, type);
}

// lwIP clones what has to wait for a neighbour and lies in somebody else's memory, and
// frees the original: the copy is the packet from here on.
NOFUNC struct pbuf *
__wrap_pbuf_clone(pbuf_layer layer, pbuf_type type, struct pbuf *p)
{
  struct pbuf *copy = __real_pbuf_clone(layer, type, p);
  if(TRACING(pbuf_alloc))
    allocated(copy, layer, type, SITE);
  if(copy && (p->fate & (PKT_SENT | PKT_ENDED)) == PKT_SENT) {
    copy->pkt = p->pkt;
    copy->born = p->born;
    copy->fate = p->fate;
    p->fate |= FATE_STACK | PKT_ENDED;
  }
  return copy;
}

NOFUNC struct pbuf *
__wrap_pbuf_alloced_custom(pbuf_layer layer, u16_t len, pbuf_type type, struct pbuf_custom *p, void *mem, u16_t n)
{
  if(!TRACING(pbuf_alloc))
    return __real_pbuf_alloced_custom(layer, len, type, p, mem, n);
  return allocated(__real_pbuf_alloced_custom(layer, len, type, p, mem, n), layer, type, SITE);
}

TRACE_APART void
tell_freed(const struct pbuf *p, const u32 *frame)
{
  TRACE(pbuf_free, .pkt = p->pkt, .sock = 0, .p = (u32)p, .site = func_caller((const u32 *)frame[0] + 1),
        .life_us = p->born ? now_us() - p->born : 0, .in_use = net_pbufs);
}

// A pbuf is about to go back to where it came from.
// frame: of a function that pbuf_free called; above it are pbuf_free's and its caller's.
static inline void
pbuf_freed(const struct pbuf *p, const u32 *frame)
{
  net_pbufs--;
  if(TRACING(pbuf_free))
    tell_freed(p, frame);
}

void
watch_pbuf_free(const struct pbuf *p, const u32 *frame)
{
  pbuf_freed(p, frame);
}

// Called from pbuf.c for a pbuf with its data behind it.  (dhcp.c's one other call,
// for its own state, belongs to a function we never use.)
void
__wrap_mem_free(void *mem)
{
  pbuf_freed(mem, __builtin_frame_address(0));
  pkt_died(mem);
  __real_mem_free(mem);
}

// A timer of lwIP is freed when its time has come, right before it runs.
static struct {
  sys_timeout_handler handler; // 0: none runs
  u32 late_us;
  u64 tsc;
} running;

// The timer that ran is done.
void
watch_timer_done(void)
{
  if(running.handler == 0)
    return;
  TRACE(timer_fire, .pkt = 0, .sock = 0, .handler = (u32)running.handler, .late_us = running.late_us,
        .dur_us = us_since(running.tsc));
  if((u32)running.handler == (u32)etharp_tmr)
    watch_arp_tick();
  running.handler = 0;
}

static void
timer_runs(const struct sys_timeo *t)
{
  watch_timer_done();
  running.handler = t->h;
  for(int i = 0; i < lwip_num_cyclic_timers; i++) // called by way of a table
    if(t->arg == &lwip_cyclic_timers[i])
      running.handler = (sys_timeout_handler)(void *)lwip_cyclic_timers[i].handler;
  running.late_us = (sys_now() - t->time) * 1000;
  running.tsc = rdtsc();
}

// Apart, because it is rare.
static __attribute__((noinline)) void
memp_told(void *mem, memp_t type, u32 site)
{
  if(mem) {
    partial_new(mem);
    return;
  }
  TRACE(memp_fail, .pkt = input.pkt, .sock = input.sock, .pool = type, .used = lwip_stats.memp[type]->used,
        .max = lwip_stats.memp[type]->avail, .site = site);
}

NOFUNC void *
__wrap_memp_malloc(memp_t type)
{
#ifdef DEBUG // not for timers: lwIP has counted what it needs of these and depends on them
  if(type != MEMP_SYS_TIMEOUT && fail_now())
    return 0;
#endif
  void *mem = __real_memp_malloc(type);
  if(mem == 0 || type == MEMP_REASSDATA)
    memp_told(mem, type, SITE);
  return mem;
}

void
__wrap_memp_free(memp_t type, void *mem)
{
  const u32 *frame = __builtin_frame_address(0);
  if(type == MEMP_PBUF_POOL || type == MEMP_PBUF)
    pbuf_freed(mem, frame);
  else if(type == MEMP_FRAG_PBUF) // by way of its custom_free_function
    pbuf_freed(mem, (const u32 *)frame[0]);
  if(type == MEMP_PBUF_POOL)
    pkt_died(mem);
  else if(type == MEMP_REASSDATA)
    partial_gone(mem);
  else if(type == MEMP_SYS_TIMEOUT)
    timer_runs(mem);
  __real_memp_free(type, mem);
}

#ifdef DEBUG

// lwIP's heap fails when told to, as its pools do above.
void *__real_mem_malloc(mem_size_t size);
void *__wrap_mem_malloc(mem_size_t size);
void *
__wrap_mem_malloc(mem_size_t size)
{
  return fail_now() ? 0 : __real_mem_malloc(size);
}

#endif
