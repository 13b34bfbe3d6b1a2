// Sees how names become addresses: ARP's table, DHCP's and DNS's messages.  Changes nothing.
//
// ARP: lwIP's table tells only the neighbours it knows, so those it has asked for are
// noted when the question leaves.  DHCP and DNS: the messages themselves, in and out,
// and the state of lwIP's client.  Called by watch.c and ethif.c, with netlock held.
#include "uapi/types.h"
#include "defs.h"
#include "trace/trace.h"
#include "net/net.h"
#include "net/watch.h"
#include "lwip/dhcp.h"
#include "lwip/etharp.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "lwip/prot/dhcp.h"
#include "lwip/prot/dns.h"
#include "lwip/prot/iana.h"
#include "lwip/prot/etharp.h"
#include "lwip/prot/ethernet.h"

// ---- ARP -----------------------------------------------------------------------

// What we have told of a neighbour.
static struct neighbour {
  u32 ip;   // host order
  u8 state; // ARPSTATE_..., NONE: free
  u8 asked; // since the last tick
  u8 depth; // packets that wait for it
  mac6 mac;
} neighbours[ARP_TABLE_SIZE];

static int arp_news; // an ARP packet is in input

static struct neighbour *
neighbour(u32 ip)
{
  for(struct neighbour *n = neighbours; n < neighbours + NELEM(neighbours); n++)
    if(n->state && n->ip == ip)
      return n;
  return 0;
}

static struct neighbour *
neighbour_new(u32 ip)
{
  for(struct neighbour *n = neighbours; n < neighbours + NELEM(neighbours); n++)
    if(n->state == ARPSTATE_NONE) {
      *n = (struct neighbour){.ip = ip};
      return n;
    }
  return 0; // lwIP has the place again, we shall see it at the next tick
}

static void
neighbour_is(struct neighbour *n, u8 to, const void *mac)
{
  mac6 m = {{0}};
  if(mac)
    m = mac6_at(mac);
  if(n->state == to && memcmp(&m, &n->mac, sizeof(m)) == 0)
    return;
  TRACE(arp_state, .pkt = input.pkt, .sock = 0, .ip = n->ip, .from = n->state, .to = to, .mac = m);
  n->state = to;
  n->mac = m;
  n->depth = 0;
}

static int
table_has(u32 ip)
{
  ip4_addr_t *a;
  struct netif *netif;
  struct eth_addr *mac;
  for(u32 i = 0; i < ARP_TABLE_SIZE; i++)
    if(etharp_get_entry(i, &a, &netif, &mac) && lwip_ntohl(a->addr) == ip)
      return 1;
  return 0;
}

// Compare lwIP's table with what we have told.
static void
compare_table(void)
{
  ip4_addr_t *a;
  struct netif *netif;
  struct eth_addr *mac;
  for(struct neighbour *n = neighbours; n < neighbours + NELEM(neighbours); n++)
    if(n->state == ARPSTATE_KNOWN && !table_has(n->ip))
      neighbour_is(n, ARPSTATE_NONE, 0);
  for(u32 i = 0; i < ARP_TABLE_SIZE; i++) {
    if(!etharp_get_entry(i, &a, &netif, &mac))
      continue;
    u32 ip = lwip_ntohl(a->addr);
    struct neighbour *n = neighbour(ip);
    if(n || (n = neighbour_new(ip)))
      neighbour_is(n, ARPSTATE_KNOWN, mac);
  }
}

// etharp_tmr has run: it has asked again for each neighbour that it still waits for.
void
watch_arp_tick(void)
{
  for(struct neighbour *n = neighbours; n < neighbours + NELEM(neighbours); n++) {
    if(n->state == ARPSTATE_PENDING && !n->asked && !table_has(n->ip))
      neighbour_is(n, ARPSTATE_NONE, 0);
    n->asked = 0;
  }
  compare_table();
}

static void
asked_for(u32 ip)
{
  struct neighbour *n = neighbour(ip);
  if(n == 0 && (n = neighbour_new(ip)))
    neighbour_is(n, ARPSTATE_PENDING, 0);
  if(n)
    n->asked = 1;
}

// An ARP packet with its Ethernet header.
void
watch_arp(const struct pbuf *p, int out)
{
  const struct etharp_hdr *a = (const void *)((const u8 *)p->payload + SIZEOF_ETH_HDR);
  if(p->len < SIZEOF_ETH_HDR + SIZEOF_ETHARP_HDR)
    return;
  u32 spa = lwip_ntohl(a->sipaddr.addrw[0] | (u32)a->sipaddr.addrw[1] << 16);
  u32 tpa = lwip_ntohl(a->dipaddr.addrw[0] | (u32)a->dipaddr.addrw[1] << 16);
  u16 op = lwip_ntohs(a->opcode);
  if(!out) {
    arp_news = 1;
    TRACE(arp_in, .pkt = p->pkt, .sock = 0, .op = op, .spa = spa, .tpa = tpa, .sha = mac6_at(&a->shwaddr));
    return;
  }
  TRACE(arp_out, .pkt = p->pkt, .sock = 0, .op = op, .spa = spa, .tpa = tpa, .sha = mac6_at(&a->shwaddr));
  if(op == ARPOP_REQUEST && spa != tpa && spa)
    asked_for(tpa);
}

// p waits until the neighbour that leads to dst is known.
void
watch_waits(const struct pbuf *p, const struct netif *netif, const ip4_addr_t *dst)
{
  u32 ip = watch_next_hop(netif, dst);
  struct neighbour *n = neighbour(ip);
  if(n == 0)
    return;
  if(n->depth < ARP_QUEUE_LEN) // else the oldest one makes room
    n->depth++;
  TRACE(arp_queue, .pkt = p->pkt, .sock = 0, .ip = ip, .depth = n->depth);
}

// ---- DHCP ----------------------------------------------------------------------

#define DHCP_FIXED 240 // bytes before the options, with the magic word

// A message.
static struct dhcp_seen {
  u8 msg; // 0: none
  u32 xid, yiaddr, server, lease;
} dhcp_in; // received and now in input

static u8 dhcp_state[NNIC]; // as told

static u32
be32(const u8 *p)
{
  return (u32)be16_at(p) << 16 | be16_at(p + 2);
}

// m: n bytes from the message's first on.
static struct dhcp_seen
dhcp_read(const u8 *m, u32 n)
{
  struct dhcp_seen d = {0};
  if(n < DHCP_FIXED || be32(m + DHCP_FIXED - 4) != DHCP_MAGIC_COOKIE)
    return d;
  d.xid = be32(m + 4);
  d.yiaddr = be32(m + 16);
  for(u32 i = DHCP_FIXED; i < n && m[i] != DHCP_OPTION_END;) {
    u32 len = m[i] == DHCP_OPTION_PAD || i + 1 >= n ? 0 : m[i + 1];
    const u8 *v = m + i + 2;
    if(m[i] != DHCP_OPTION_PAD && i + 2 + len > n)
      break;
    if(m[i] == DHCP_OPTION_MESSAGE_TYPE && len == 1)
      d.msg = v[0];
    if(m[i] == DHCP_OPTION_LEASE_TIME && len == 4)
      d.lease = be32(v);
    if(m[i] == DHCP_OPTION_SERVER_ID && len == 4)
      d.server = be32(v);
    if(m[i] == DHCP_OPTION_REQUESTED_IP && len == 4)
      d.yiaddr = be32(v);
    i += m[i] == DHCP_OPTION_PAD ? 1 : 2 + len;
  }
  return d;
}

static void
dhcp_tell(const struct dhcp_seen *d, u32 pkt, int nic)
{
  const struct dhcp *client = nic < e1000_count ? netif_dhcp_data(en[nic]) : 0;
  u8 to = client ? client->state : DHCPSTATE_OFF;
  if(d->msg == 0 || nic >= e1000_count)
    return;
  TRACE(dhcp, .pkt = pkt, .sock = 0, .msg = d->msg, .from = dhcp_state[nic], .to = to, .xid = d->xid,
        .yiaddr = d->yiaddr, .server = d->server, .lease = d->lease);
  dhcp_state[nic] = to;
}

// What is made of a message shows when lwIP has worked on it: at the answer it sends,
// or at the end of the input.
static void
dhcp_settle(void)
{
  dhcp_tell(&dhcp_in, input.pkt, input.netif);
  dhcp_in.msg = 0;
}

// ---- DNS -----------------------------------------------------------------------

#define DNS_HDR 12

// Copy the name at m[at] to name, dotted.  Returns the offset behind it, 0 if it is bad.
// A name may end in a pointer to another; only the first one in a message never does.
static u32
dns_name(const u8 *m, u32 n, u32 at, char *name, u32 max)
{
  u32 k = 0;
  while(at < n && m[at] && m[at] < 64) {
    u32 len = m[at++];
    if(len > n - at || k + len + 2 > max)
      return 0;
    if(k)
      name[k++] = '.';
    memmove(name + k, m + at, len);
    k += len;
    at += len;
  }
  name[k] = 0;
  return at < n ? at + (m[at] ? 2 : 1) : 0;
}

// The first address among the answers behind m[at], 0 if there is none.
static u32
dns_address(const u8 *m, u32 n, u32 at, u32 answers)
{
  static char skipped[256];
  while(answers-- && (at = dns_name(m, n, at, skipped, sizeof(skipped))) && at <= n && n - at >= 10) {
    u32 type = be16_at(m + at), len = be16_at(m + at + 8);
    at += 10;
    if(len > n - at)
      return 0;
    if(type == DNS_RRTYPE_A && len == 4)
      return be32(m + at);
    at += len;
  }
  return 0;
}

// m: n bytes of a message of one question.
static void
dns_tell(u32 pkt, const u8 *m, u32 n)
{
  static char name[256]; // netlock guards it
  if(!TRACING(dns) || n < DNS_HDR || be16_at(m + 4) == 0)
    return;
  u32 at = dns_name(m, n, DNS_HDR, name, sizeof(name));
  if(at == 0 || n < at + 4)
    return;
  TRACE_TEXT(dns, name, .pkt = pkt, .sock = 0, .id = be16_at(m), .qr = m[2] >> 7, .rcode = m[3] & 15,
             .addr = dns_address(m, n, at + 4, be16_at(m + 6)));
}

// ---- from watch.c ----------------------------------------------------------------

// The message behind the UDP header u, of which n bytes are at hand.
static u32
message(const u8 *u, u32 n)
{
  u32 len = be16_at(u + 4);
  if(len > n)
    len = n;
  return len > 8 ? len - 8 : 0;
}

void
watch_names_in(u32 pkt, const u8 *u, u32 n)
{
  if(be16_at(u) == LWIP_IANA_PORT_DHCP_SERVER && be16_at(u + 2) == LWIP_IANA_PORT_DHCP_CLIENT)
    dhcp_in = dhcp_read(u + 8, message(u, n));
  else if(be16_at(u) == DNS_SERVER_PORT)
    dns_tell(pkt, u + 8, message(u, n));
}

void
watch_names_out(u32 pkt, const u8 *u, u32 n, const struct netif *netif)
{
  if(be16_at(u + 2) == LWIP_IANA_PORT_DHCP_SERVER && be16_at(u) == LWIP_IANA_PORT_DHCP_CLIENT) {
    int nic = 0;
    if(dhcp_in.msg)
      dhcp_settle();
    while(nic < e1000_count && en[nic] != netif)
      nic++;
    struct dhcp_seen d = dhcp_read(u + 8, message(u, n));
    dhcp_tell(&d, pkt, nic);
  } else if(be16_at(u + 2) == DNS_SERVER_PORT)
    dns_tell(pkt, u + 8, message(u, n));
}

void
watch_names_settle(void)
{
  if(dhcp_in.msg)
    dhcp_settle();
  if(arp_news) {
    arp_news = 0;
    compare_table();
  }
}
