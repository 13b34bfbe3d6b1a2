// Addresses: where each interface has its own from, and how it is changed.
//
// At boot en0 gets what the options ip= and ipfallback= say; later ifconfig changes
// any card's interface through the system call netconf.  netd tells on the console
// when an address has changed, whoever changed it.  All with netlock held, but for
// net_configure, which takes it.
#include "uapi/types.h"
#include "defs.h"
#include "mmu.h"
#include "trace/trace.h"
#include "uapi/net.h"
#include "net/net.h"
#include "net/sock.h"
#include "lwip/dhcp.h"
#include "lwip/dns.h"
#include "lwip/etharp.h"
#include "lwip/netif.h"
#include "lwip/timeouts.h"

#define FALLBACK_MS 5000 // without a lease that long: the fallback address
#define FALLBACK    "10.0.2.15/24,10.0.2.2,10.0.2.3"

static struct netconf fallback;
static u8 how[NNIC]; // HOW_..., as far as it is known

// ---- an interface -------------------------------------------------------

static int
nic_of(const struct netif *netif)
{
  for(int i = 0; i < e1000_count; i++)
    if(en[i] == netif)
      return i;
  return -1;
}

const char *
netif_label(const struct netif *netif)
{
  static const char *const names[NNIC] = {"en0", "en1"};
  int i = nic_of(netif);
  return i < 0 ? "lo0" : names[i];
}

u8
netif_how(const struct netif *netif)
{
  int i = nic_of(netif);
  if(i < 0)
    return HOW_SELF;
  if(ip4_addr_isany(netif_ip4_addr(netif)))
    return HOW_NONE;
  if(dhcp_supplied_address(netif))
    how[i] = HOW_DHCP; // and stays so while lwIP asks whether it may keep it
  return how[i];
}

static u32
mask_of(u32 prefix)
{
  return prefix ? htonl(~0u << (32 - prefix)) : 0;
}

// Without a name server in c the one known before stays: names outlive a change of address.
static void
set_address(struct netif *netif, const struct netconf *c, u8 from)
{
  ip4_addr_t ip = {c->addr.s_addr}, mask = {mask_of(c->prefix)}, gw = {c->gateway.s_addr};
  ip_addr_t dns = {c->dns.s_addr};
  how[nic_of(netif)] = from;
  netif_set_addr(netif, &ip, &mask, &gw);
  if(dns.addr)
    dns_setserver(0, &dns);
}

// Has an address changed?  Say so once, here, and en0's in the ring page.
void
netconf_tell(void)
{
  static const char *const words[] = {"none", "static", "dhcp", "fallback"};
  static u32 said[NNIC];
  for(int i = 0; i < e1000_count; i++) {
    u32 ip = ntohl(netif_ip4_addr(en[i])->addr), gw = ntohl(netif_ip4_gw(en[i])->addr);
    if(ip == said[i])
      continue;
    said[i] = ip;
    if(i == 0)
      trace_netif(en[0]->hwaddr, ip);
    if(ip == 0) {
      cprintf("%s: no address\n", netif_label(en[i]));
      continue;
    }
    u32 mask = ntohl(netif_ip4_netmask(en[i])->addr);
    char via[32] = "";
    if(gw)
      ksnprintf(via, sizeof(via), " gateway %d.%d.%d.%d", gw >> 24, gw >> 16 & 255, gw >> 8 & 255, gw & 255);
    cprintf("%s: %d.%d.%d.%d/%d%s (%s)\n", netif_label(en[i]), ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255,
            mask ? 32 - __builtin_ctz(mask) : 0, via, words[netif_how(en[i])]);
  }
}

// ---- by option ----------------------------------------------------------

// Read a decimal number up to max.  0 unless there is one.
static int
number(const char **s, u32 max, u32 *v)
{
  const char *p = *s;
  for(*v = 0; *p >= '0' && *p <= '9'; p++)
    if((*v = *v * 10 + *p - '0') > max)
      return 0;
  int ok = p != *s;
  *s = p;
  return ok;
}

static int
address(const char **s, u32 *addr)
{
  u32 a = 0;
  for(int i = 0; i < 4; i++) {
    u32 b;
    if((i > 0 && *(*s)++ != '.') || !number(s, 255, &b))
      return 0;
    a = a << 8 | b;
  }
  *addr = htonl(a);
  return 1;
}

// May this be an interface's own address?  All hosts of a network share those with
// nothing but 0 or 1 behind the prefix; two hosts on a line have no need of such ones
// (RFC 3021).  0.0.0.0: none.
static int
own_address(const struct netconf *c)
{
  ip4_addr_t a = {c->addr.s_addr};
  if(c->prefix > 32)
    return 0;
  if(a.addr == 0)
    return 1;
  u32 host = c->prefix < 31 ? a.addr & ~mask_of(c->prefix) : 1;
  return !ip4_addr_ismulticast(&a) && !ip4_addr_isloopback(&a) && a.addr != IPADDR_BROADCAST && host != 0 &&
         (c->prefix > 30 || host != ~mask_of(c->prefix));
}

// A.B.C.D/n[,gw[,dns]]
static int
parse(const char *s, struct netconf *c)
{
  *c = (struct netconf){0};
  if(!address(&s, &c->addr.s_addr) || *s++ != '/' || !number(&s, 32, &c->prefix))
    return 0;
  if(*s == ',' && (s++, !address(&s, &c->gateway.s_addr)))
    return 0;
  if(*s == ',' && (s++, !address(&s, &c->dns.s_addr)))
    return 0;
  return *s == 0 && own_address(c);
}

// No lease in time.  DHCP goes on and wins when it comes.
static void
take_fallback(void *arg)
{
  (void)arg;
  if(ip4_addr_isany(netif_ip4_addr(en[0])) && netif_dhcp_data(en[0]))
    set_address(en[0], &fallback, HOW_FALLBACK);
}

// en0's address by the options ip= and ipfallback=.
void
netconf_init(void)
{
  const char *ip = opt_str("ip"), *fb = opt_str("ipfallback");
  struct netconf c;
  if(ip && strcmp(ip, "none") == 0)
    return;
  if(ip && parse(ip, &c)) {
    set_address(en[0], &c, HOW_STATIC);
    return;
  }
  if(ip && strcmp(ip, "dhcp") != 0)
    cprintf("net: ip=%s: want dhcp, none or A.B.C.D/n[,gateway[,dns]]; using dhcp\n", ip);
  if(fb && !parse(fb, &fallback))
    cprintf("net: ipfallback=%s: want A.B.C.D/n[,gateway[,dns]]; using %s\n", fb, FALLBACK);
  if(fb == 0 || fallback.addr.s_addr == 0)
    parse(FALLBACK, &fallback);
  dhcp_start(en[0]);
  sys_timeout(FALLBACK_MS, take_fallback, 0);
}

// ---- by system call -----------------------------------------------------

static int
set_static(struct netif *netif, const struct netconf *c)
{
  if(!own_address(c))
    return -EINVAL;
  if(netif_dhcp_data(netif))
    dhcp_release_and_stop(netif);
  set_address(netif, c, HOW_STATIC);
  return 0;
}

// lwIP forgets only neighbours that were set by hand: so set this one first.
static int
neighbour(const struct netconf *c)
{
  ip4_addr_t a = {c->addr.s_addr};
  struct eth_addr mac, *known;
  const ip4_addr_t *ip;
  memmove(&mac, c->mac, sizeof(mac));
  if(c->op == NETCONF_ARPDEL && etharp_find_addr(0, &a, &known, &ip) < 0)
    return -ENOENT;
  int r = -sock_errno(etharp_add_static_entry(&a, &mac), 0);
  if(r == 0 && c->op == NETCONF_ARPDEL)
    etharp_remove_static_entry(&a);
  return r;
}

static int
change(struct netif *netif, const struct netconf *c)
{
  switch(c->op) {
  case NETCONF_UP:
    netif_set_up(netif);
    return 0;
  case NETCONF_DOWN:
    netif_set_down(netif);
    return 0;
  case NETCONF_DHCP:
    return netif_is_up(netif) ? -sock_errno(dhcp_start(netif), 0) : -ENETDOWN;
  case NETCONF_STATIC:
    return set_static(netif, c);
  }
  return -EINVAL;
}

// Returns 0 or -errno: ENODEV no interface of that name; EOPNOTSUPP loopback, which stays
// as it is; EINVAL no such op, or no address that could be ours; ENOENT no such neighbour.
// Context: thread; takes netlock.
int
net_configure(const struct netconf *c)
{
  int r = -ENODEV;
  net_lock();
  if(c->op == NETCONF_ARPSET || c->op == NETCONF_ARPDEL)
    r = neighbour(c);
  else if(strncmp("lo0", c->name, sizeof(c->name)) == 0)
    r = -EOPNOTSUPP;
  else
    for(int i = 0; i < e1000_count; i++)
      if(strncmp(netif_label(en[i]), c->name, sizeof(c->name)) == 0)
        r = change(en[i], c);
  net_unlock();
  return r;
}
