// What programs may ask about the network: tables for netstat, ifconfig and arp, and
// the addresses of names.
//
// Each table is written whole into the caller's memory under netlock: nothing is
// stopped for it, and nothing is torn.  Context: system calls.
#include "uapi/types.h"
#include "defs.h"
#include "mmu.h"
#include "proc.h"
#include "trace/trace.h"
#include "net/net.h"
#include "net/sock.h"
#include "lwip/dhcp.h"
#include "lwip/dns.h"
#include "lwip/etharp.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/dhcp.h"
#include "lwip/stats.h"
#include "lwip/udp.h"

// The caller's buffer: whole records only.
struct table {
  char *next;
  u32 left;
};

static void
put(struct table *t, const void *record, u32 size)
{
  if(t->left < size)
    return;
  memmove(t->next, record, size);
  t->next += size;
  t->left -= size;
}

// ---- sockets ------------------------------------------------------------

static void
put_sock(struct table *t, struct sock *s)
{
  struct net_sock r = {
    .id = s->id,
    .type = s->ops->type,
    .laddr = {htonl(s->laddr)},
    .raddr = {htonl(s->raddr)},
    .lport = htons(s->lport),
    .rport = htons(s->rport),
    .rcvq = s->rx_len,
    .waiting = s->waiting,
    .backlog = s->backlog,
    .rx_b = s->rx_b,
    .tx_b = s->tx_b,
    .drops = s->drops,
    .pid = s->pid,
  };
  if(s->ops == &stream_ops && s->pcb) {
    r.state = s->pcb->state;
    r.sndq = r.state == LISTEN ? 0 : TCP_SND_BUF - tcp_sndbuf(s->pcb);
  }
  proc_name(s->pid, r.program);
  put(t, &r, sizeof(r));
}

// Connections whose socket is closed, or not made yet.
static void
put_pcbs(struct table *t, struct tcp_pcb *list)
{
  for(struct tcp_pcb *p = list; p; p = p->next) {
    struct net_sock r = {
      .type = SOCK_STREAM,
      .state = p->state,
      .laddr = {p->local_ip.addr},
      .raddr = {p->remote_ip.addr},
      .lport = htons(p->local_port),
      .rport = htons(p->remote_port),
      .sndq = TCP_SND_BUF - tcp_sndbuf(p),
    };
    if(p->callback_arg == 0)
      put(t, &r, sizeof(r));
  }
}

// lwIP's own: DHCP and DNS.
static void
put_udp(struct table *t)
{
  for(struct udp_pcb *p = udp_pcbs; p; p = p->next) {
    struct sock *s = p->recv_arg;
    struct net_sock r = {
      .type = SOCK_DGRAM,
      .laddr = {p->local_ip.addr},
      .raddr = {p->remote_ip.addr},
      .lport = htons(p->local_port),
      .rport = htons(p->remote_port),
    };
    if(s < socks || s >= socks + NSOCK)
      put(t, &r, sizeof(r));
  }
}

static void
put_socks(struct table *t)
{
  for(struct sock *s = socks; s < socks + NSOCK; s++)
    if(s->ops)
      put_sock(t, s);
  put_pcbs(t, tcp_active_pcbs);
  put_pcbs(t, tcp_tw_pcbs);
  put_udp(t);
}

// ---- interfaces, neighbours, routes -------------------------------------

static void
put_ifs(struct table *t)
{
  struct netif *n;
  NETIF_FOREACH(n)
  {
    struct net_if r = {
      .up = netif_is_up(n) != 0,
      .link = netif_is_link_up(n) != 0,
      .how = netif_how(n),
      .dhcp = netif_dhcp_data(n) && netif_dhcp_data(n)->state != DHCP_STATE_OFF,
      .addr = {netif_ip4_addr(n)->addr},
      .mask = {netif_ip4_netmask(n)->addr},
      .gw = {netif_ip4_gw(n)->addr},
      .mtu = n->mtu,
      .rx_p = n->mib2_counters.ifinucastpkts + n->mib2_counters.ifinnucastpkts,
      .rx_b = n->mib2_counters.ifinoctets,
      .tx_p = n->mib2_counters.ifoutucastpkts + n->mib2_counters.ifoutnucastpkts,
      .tx_b = n->mib2_counters.ifoutoctets,
      .rx_drops = n->mib2_counters.ifindiscards,
      .tx_drops = n->mib2_counters.ifoutdiscards,
    };
    safestrcpy(r.name, netif_label(n), sizeof(r.name));
    memmove(r.mac, n->hwaddr, sizeof(r.mac));
    put(t, &r, sizeof(r));
  }
}

static void
put_arp(struct table *t)
{
  ip4_addr_t *ip;
  struct netif *n;
  struct eth_addr *mac;
  for(u32 i = 0; i < ARP_TABLE_SIZE; i++) {
    if(!etharp_get_entry(i, &ip, &n, &mac))
      continue;
    struct net_arp r = {.addr = {ip->addr}};
    memmove(r.mac, mac, sizeof(r.mac));
    safestrcpy(r.name, n ? netif_label(n) : "", sizeof(r.name));
    put(t, &r, sizeof(r));
  }
}

static int
usable(const struct netif *n)
{
  return netif_is_up(n) && netif_is_link_up(n);
}

static void
put_route(struct table *t, const struct netif *n, u32 dst, u32 mask, u32 gw)
{
  struct net_route r = {{dst}, {mask}, {gw}, ""};
  safestrcpy(r.name, netif_label(n), sizeof(r.name));
  put(t, &r, sizeof(r));
}

// As ip4_route looks: the networks of the interfaces, then the default one's gateway.
static void
put_routes(struct table *t)
{
  struct netif *n;
  NETIF_FOREACH(n)
  {
    u32 addr = netif_ip4_addr(n)->addr, mask = netif_ip4_netmask(n)->addr;
    if(addr && usable(n))
      put_route(t, n, addr & mask, mask, 0);
  }
  if(netif_default && usable(netif_default) && netif_ip4_gw(netif_default)->addr)
    put_route(t, netif_default, 0, 0, netif_ip4_gw(netif_default)->addr);
}

// ---- counters -----------------------------------------------------------

static void
put_count(struct table *t, const char *group, const char *name, u32 n)
{
  struct net_count r = {.n = n};
  ksnprintf(r.name, sizeof(r.name), "%s.%s", group, name);
  put(t, &r, sizeof(r));
}

static void
put_proto(struct table *t, const char *group, const struct stats_proto *p)
{
  put_count(t, group, "recv", p->recv);
  put_count(t, group, "xmit", p->xmit);
  put_count(t, group, "fw", p->fw);
  put_count(t, group, "drop", p->drop);
  put_count(t, group, "chkerr", p->chkerr);
  put_count(t, group, "lenerr", p->lenerr);
  put_count(t, group, "memerr", p->memerr);
  put_count(t, group, "rterr", p->rterr);
  put_count(t, group, "proterr", p->proterr);
  put_count(t, group, "opterr", p->opterr);
  put_count(t, group, "err", p->err);
}

static void
put_counts(struct table *t)
{
  static const struct {
    const char *set, *name;
    u16 value;
  } names[] = {
#define NAME(set, value, name, doc) {#set, #name, value},
#define SYSCALL(nr, name)
#include "trace/events.def"
  };
  const struct stats_mib2 *m = &lwip_stats.mib2;
  put_proto(t, "arp", &lwip_stats.etharp);
  put_proto(t, "ip", &lwip_stats.ip);
  put_proto(t, "frag", &lwip_stats.ip_frag);
  put_proto(t, "icmp", &lwip_stats.icmp);
  put_proto(t, "udp", &lwip_stats.udp);
  put_proto(t, "tcp", &lwip_stats.tcp);
  put_count(t, "tcp", "active_opens", m->tcpactiveopens);
  put_count(t, "tcp", "passive_opens", m->tcppassiveopens);
  put_count(t, "tcp", "failed_opens", m->tcpattemptfails);
  put_count(t, "tcp", "closes", m->tcpestabresets); // where lwIP counts them: our FIN, not a reset
  put_count(t, "tcp", "resets_sent", m->tcpoutrsts);
  put_count(t, "tcp", "retransmitted", m->tcpretranssegs);
  for(u32 i = 0; i < NELEM(names); i++)
    if(strcmp(names[i].set, "DROP") == 0)
      put_count(t, "drop", names[i].name, net_drops[names[i].value]);
}

static void
put_dns(struct table *t)
{
  for(u8 i = 0; i < DNS_MAX_SERVERS; i++) {
    struct in_addr a = {dns_getserver(i)->addr};
    if(a.s_addr)
      put(t, &a, sizeof(a));
  }
}

// Fill len bytes at buf with whole records.  Returns the bytes, or -errno.
int
net_info(int what, char *buf, u32 len)
{
  static void (*const put_all[])(struct table *) = {
    [NETINFO_SOCKS] = put_socks,
    [NETINFO_IFS] = put_ifs,
    [NETINFO_ARP] = put_arp,
    [NETINFO_ROUTES] = put_routes,
    [NETINFO_COUNTS] = put_counts,
    [NETINFO_DNS] = put_dns,
  };
  struct table t = {buf, len};
  if(what < 1 || what >= (int)NELEM(put_all))
    return -EINVAL;
  net_lock();
  put_all[what](&t);
  net_unlock();
  return t.next - buf;
}

// ---- names --------------------------------------------------------------

#define NQUERY 4 // names being asked for at once

// One per name being asked for.  lwIP may answer when nobody waits any more.
static struct query {
  u8 used, done, abandoned;
  u8 answered; // by a server; else lwIP has given up
  u32 addr;    // network order, 0: there is no such name
} queries[NQUERY];

// lwIP says "no address" for both ends of a vain question: a server knew none, or
// none answered.  The first is said from within the packet that came, the second by
// a timer.
static void
on_answer(const char *name, const ip_addr_t *addr, void *arg)
{
  struct query *q = arg;
  (void)name;
  q->done = 1;
  q->addr = addr ? addr->addr : 0;
  q->answered = ip_current_input_netif() != 0;
  if(q->abandoned)
    q->used = 0;
  wakeup(q);
}

static struct query *
new_query(void)
{
  for(struct query *q = queries; q < queries + NQUERY; q++)
    if(!q->used) {
      *q = (struct query){.used = 1};
      return q;
    }
  return 0;
}

static int
wait_answer(struct query *q, u32 *addr_be, u32 ms)
{
  u64 until = sock_deadline(ms);
  while(!q->done) {
    int how = net_sleep(q, until, SLEEPWHY_NET);
    if(how == 0 || q->done)
      continue;
    q->abandoned = 1;
    return how < 0 ? -EINTR : -ETIMEDOUT;
  }
  q->used = 0;
  *addr_be = q->addr;
  return q->addr ? 0 : q->answered ? -ENOENT
                                   : -ETIMEDOUT;
}

static int
ask(const char *name, u32 *addr_be, u32 ms)
{
  ip_addr_t a;
  struct query *q = new_query();
  if(q == 0)
    return -ENOBUFS;
  err_t e = dns_gethostbyname(name, &a, on_answer, q);
  if(e == ERR_INPROGRESS)
    return wait_answer(q, addr_be, ms);
  q->used = 0;
  *addr_be = a.addr;
  return e == ERR_OK ? 0 : e == ERR_VAL ? -ENETDOWN
                                        : -ENOENT;
}

// Copy a name without the dot that may end it to plain, of DNS_MAX_NAME_LENGTH bytes.
// 1, or 0: it is no name (RFC 1035, 2.3.4: labels of 1 to 63 bytes between the dots).
// lwIP looks at none of this: its question would be malformed, and nobody answers that.
static int
plain_name(const char *name, char *plain)
{
  u32 n = strlen(name), label = 0;
  if(n > 1 && name[n - 1] == '.')
    n--;
  if(n >= DNS_MAX_NAME_LENGTH)
    return 0;
  for(u32 i = 0; i < n; i++) {
    if(name[i] == '.' && label == 0)
      return 0;
    label = name[i] == '.' ? 0 : label + 1;
    if(label > 63)
      return 0;
  }
  memmove(plain, name, n);
  plain[n] = 0;
  return label > 0;
}

// The address of a name, within ms milliseconds; dotted numbers without traffic.
// 0 or -errno: ENOENT no such name, ETIMEDOUT nobody answered, ENETDOWN nobody to ask.
int
net_resolve(const char *name, u32 *addr_be, u32 ms)
{
  char plain[DNS_MAX_NAME_LENGTH];
  if(!plain_name(name, plain))
    return -ENOENT;
  if(strcmp(plain, "localhost") == 0) {
    *addr_be = htonl(0x7f000001);
    return 0;
  }
  net_lock();
  int r = ask(plain, addr_be, ms);
  net_unlock();
  return r;
}
