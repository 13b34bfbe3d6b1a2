// netlock and netd: who may be in the stack, and the thread that drives it.
//
// lwIP has no threads and no locks of its own.  Whoever calls it holds netlock: a
// system call for as long as it queues or takes data, netd for one round of frames and
// timers.  netd sleeps until the card interrupts, a timer is due, or somebody leaves
// work for it (a looped packet, an earlier timer, a request for figures).
// Lock order: netlock, then netd_lock, then the process table's.
#include "uapi/types.h"
#include "defs.h"
#include "debug.h"
#include "mmu.h"
#include "proc.h"
#include "sleeplock.h"
#include "trace/trace.h"
#include "x86.h"
#include "net/net.h"
#include "net/sock.h"
#include "net/lwiphooks.h"
#include "uapi/sys.h"
#include "lwip/etharp.h"
#include "lwip/inet_chksum.h"
#include "lwip/init.h"
#include "lwip/memp.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/stats.h"
#include "lwip/sys.h"
#include "lwip/timeouts.h"
#include "stdlib.h"

#define RX_BUDGET    16     // frames per round and card: so many segments share an ACK at most
#define TF_ACK_LATER 0x8000 // of ours in pcb->flags; lwIP's end at 0x1000
#define NO_TIMER     0xffffffff

unsigned net_tcp_msl = 60000; // ms; boot option msl=

static struct sleeplock netlock;
static int running;   // netd exists: from now on the stack needs netlock
static u32 netd_due;  // [netlock] when netd will wake by itself, ms; valid while it sleeps
static int netd_naps; // [netlock] it sleeps, or is about to

static struct spinlock netd_lock; // guards the next one
static int netd_work;             // netd has been told to look
static volatile int snap_wanted;  // figures were asked for; a word, set and cleared whole

struct netif *en[NNIC];

// ---- time and the lock --------------------------------------------------

u32_t
sys_now(void)
{
  u64 t = now_ns();
  div64(&t, 1000000);
  return (u32)t;
}

void
net_check(void)
{
  if(running && !holdingsleep(&netlock))
    panic("net: netlock is not held");
}

void
net_lock(void)
{
  acquiresleep(&netlock);
  watch_enter(TCP_WHY_API);
}

static int
loop_waits(void)
{
  struct netif *netif;
  NETIF_FOREACH(netif)
  if(netif->loop_first)
    return 1;
  return 0;
}

// Before a system call gives up netlock: has it left something for netd to do
// earlier than netd would wake by itself?
static void
tell_netd(void)
{
  u32 ms = sys_timeouts_sleeptime();
  int early = ms != NO_TIMER && (int)(sys_now() + ms - netd_due) < 0;
  if(netd_naps && (early || loop_waits())) {
    netd_naps = 0;
    netd_wake();
  }
}

void
net_unlock(void)
{
  tell_netd();
  releasesleep(&netlock);
}

// Release netlock and sleep on chan as one step, take it again.
// 0 woken, 1 it is ns since boot, -1 the process is being killed.
// Look at every pcb again afterwards.
int
net_sleep(void *chan, u64 ns, u8 why)
{
  tell_netd();
  int r = waitsleep(&netlock, chan, ns, why);
  watch_enter(TCP_WHY_API);
  return r;
}

// Make netd look.  Any context, any lock but the process table's.
void
netd_wake(void)
{
  acquire(&netd_lock);
  netd_work = 1;
  wakeup(&netd_work);
  release(&netd_lock);
}

// ---- netd ---------------------------------------------------------------

static u16
arp_entries(void)
{
  ip4_addr_t *ip;
  struct netif *netif;
  struct eth_addr *mac;
  u16 n = 0;
  for(u32 i = 0; i < ARP_TABLE_SIZE; i++)
    n += etharp_get_entry(i, &ip, &netif, &mac);
  return n;
}

static u16
time_wait(void)
{
  u16 n = 0;
  for(struct tcp_pcb *p = tcp_tw_pcbs; p; p = p->next)
    n++;
  return n;
}

// The network's part of kdebug's counts.  Context: thread, no lock held.
void
net_counts(struct kcounts *c)
{
  net_lock();
  c->socks = sock_count();
  c->pcbs = lwip_stats.memp[MEMP_TCP_PCB]->used;
  c->time_wait = time_wait();
  c->segments = lwip_stats.memp[MEMP_TCP_SEG]->used;
  c->pbufs = lwip_stats.memp[MEMP_PBUF_POOL]->used;
  c->rx_bufs = e1000_rxheld();
  c->heap = lwip_stats.mem.used;
  net_unlock();
}

static void
mem_stat(void)
{
  static u16 pbuf_max;
  const struct stats_mem *pool = lwip_stats.memp[MEMP_PBUF_POOL], *seg = lwip_stats.memp[MEMP_TCP_SEG];
  const struct stats_mem *pcb = lwip_stats.memp[MEMP_TCP_PCB];
  u16 pbufs = pool->used + e1000_rxheld();
  if(pbufs > pbuf_max)
    pbuf_max = pbufs;
  TRACE(mem_stat, .pkt = 0, .sock = 0, .pbuf = pbufs, .pbuf_max = pbuf_max, .seg = seg->used, .seg_max = seg->max,
        .pcb = pcb->used, .pcb_max = pcb->max, .tw = time_wait(), .arp = arp_entries(),
        .heap = lwip_stats.mem.used, .heap_max = lwip_stats.mem.max, .pages = kfree_pages());
}

// Asked for through /dev/nettrace, which knows nothing of the network.
static void
ask_snap(void)
{
  snap_wanted = 1;
  netd_wake();
}

static void
figures(void)
{
  static u32 last;
  int all = snap_wanted;
  if(!all && sys_now() - last < 1000)
    return;
  last = sys_now();
  snap_wanted = 0;
  clock_sync();
  for(int i = 0; i < e1000_count; i++)
    e1000_stat(i);
  mem_stat();
  if(!all)
    return;
  sock_snap();
  proc_snap();
}

// Follow the links; lwIP asks for its lease again when one comes up.
static void
net_link(void)
{
  for(int i = 0; i < e1000_count; i++) {
    int up = e1000_link(i);
    if(up && !netif_is_link_up(en[i]))
      netif_set_link_up(en[i]);
    else if(!up && netif_is_link_up(en[i]))
      netif_set_link_down(en[i]);
  }
}

// ---- acknowledgements, one a round ---------------------------------------
//
// lwIP acknowledges every second segment.  An ACK costs as much as receiving a
// segment does, and a store to a register of the card; so while more frames wait in
// the ring, data in order are only noted, and the round's end acknowledges them all.
// RFC 9293, 3.8.6.3, wants one for two full segments unless there is a reason, and
// Linux and others, who receive in batches too, do the same.

static int acks_owed; // [netlock] a pcb has TF_ACK_LATER

// Does another frame wait behind the one in input?  Not for one of our own, by loopback.
static int
rx_waits(void)
{
  return input.pkt && input.netif < e1000_count && e1000_pending(input.netif);
}

// Of LWIP_HOOK_TCP_INPACKET_PCB: a segment with len bytes of data, header in host order.
// lwIP's second "delay" would become "now": take the first one back.
void
net_ack_later(struct tcp_pcb *pcb, const struct tcp_hdr *hdr, u16_t len)
{
  if(!(pcb->flags & TF_ACK_DELAY) || pcb->state != ESTABLISHED || len == 0 || hdr->seqno != pcb->rcv_nxt ||
     pcb->rcv_wnd < len || !rx_waits())
    return;
  tcp_clear_flags(pcb, TF_ACK_DELAY);
  tcp_set_flags(pcb, TF_ACK_LATER);
  acks_owed = 1;
}

static void
send_acks(void)
{
  struct tcp_pcb *next;
  if(!acks_owed)
    return;
  acks_owed = 0;
  for(struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = next) {
    next = pcb->next;
    if(!(pcb->flags & TF_ACK_LATER))
      continue;
    tcp_clear_flags(pcb, TF_ACK_LATER);
    if(pcb->flags & TF_ACK_DELAY) { // else it went with data of ours
      tcp_ack_now(pcb);
      tcp_output(pcb);
    }
  }
}

// The round that goes on, for its event.
static struct {
  u64 tsc;         // when it began
  u32 sent;        // ethif_sent then
  u8 told, timers; // is the event wanted, have timers run?
} round;

TRACE_APART void
round_begins(void)
{
  round.tsc = rdtsc();
  round.sent = ethif_sent;
  round.timers = 0;
  round.told = 1;
}

TRACE_APART void
round_ends(u32 rx, int more)
{
  if(round.told)
    TRACE(netd_run, .pkt = 0, .sock = 0, .rx = rx, .txdone = ethif_sent - round.sent,
          .why = rx ? NETDWHY_FRAMES : round.timers ? NETDWHY_TIMER
                                                    : NETDWHY_ASKED,
          .more = more,
          .dur_us = us_since(round.tsc));
}

// One pass over everything.  Returns 1 if there is more to do at once.
static int
netd_round(void)
{
  int more = 0, rx = 0;
  round.told = 0;
  if(TRACING(netd_run))
    round_begins();
  for(int i = 0; i < e1000_count; i++) {
    int n = e1000_rx(i, RX_BUDGET); // e1000_rx -> ethif_rx -> lwIP
    more |= n == RX_BUDGET;
    rx += n;
    if(e1000_txdone(i))
      tcp_txnow(); // the ring was full: send what waits
  }
  send_acks();
  netif_poll_all(); // loopback
  pkt_settle(input.pkt);
  if(sys_timeouts_sleeptime() == 0) {
    round.timers = 1;
    watch_enter(TCP_WHY_TIMER);
    sys_check_timeouts();
    watch_timer_done();
    watch_all();
  }
  net_link();
  netconf_tell();
  figures();
  more = more || loop_waits();
  if(TRACING(netd_run))
    round_ends(rx, more);
  return more;
}

// Unmask, then look at the rings once more: what came between would not
// interrupt any more.
static int
netd_unmask(void)
{
  int pending = 0;
  for(int i = 0; i < e1000_count; i++) {
    e1000_unmask(i);
    pending |= e1000_pending(i);
  }
  return pending;
}

static void
netd(void *arg)
{
  (void)arg;
  for(;;) {
    acquiresleep(&netlock);
    netd_naps = 0;
    int more = netd_round() || netd_unmask();
    u32 ms = sys_timeouts_sleeptime();
    netd_due = sys_now() + ms;
    netd_naps = !more;
    releasesleep(&netlock);
    u64 until = ms == NO_TIMER ? ~0ull : now_ns() + (u64)ms * 1000000;
    acquire(&netd_lock);
    if(!more && !netd_work)
      sleep_until(&netd_work, &netd_lock, until);
    netd_work = 0;
    release(&netd_lock);
  }
}

// ---- what lwIP asks for -------------------------------------------------

// Initial sequence number: a clock of 4 us a tick, plus a hash that only we can
// compute, so that nobody can guess another connection's.  RFC 6528, section 3.
u32_t
net_isn(const ip_addr_t *local, u16_t lport, const ip_addr_t *remote, u16_t rport)
{
  u32 words[3] = {local->addr, remote->addr, (u32)lport << 16 | rport};
  return now_us() / 4 + rand_hash(words, 3);
}

// Is the checksum of the TCP segment behind hlen bytes of IP header right?  n: its length.
static int
tcp_sum_ok(struct pbuf *p, u16 hlen, u16 n, const ip4_addr_t *src, const ip4_addr_t *dst)
{
  pbuf_remove_header(p, hlen);
  u16 sum = inet_chksum_pseudo_partial(p, IP_PROTO_TCP, n, n, src, dst);
  pbuf_add_header_force(p, hlen);
  return sum == 0;
}

// Of LWIP_HOOK_IP4_INPUT, nothing checked yet.  A SYN for a connection in TIME-WAIT
// that is newer than all seen on it opens it again: RFC 9293 3.10.7.4, RFC 1122
// 4.2.2.13.  lwIP would acknowledge the old one and leave the client waiting; so the
// old pcb goes, and lwIP finds the listener.
void
net_syn_in(struct pbuf *p)
{
  const u8 *ip = p->payload;
  u16 hlen = (ip[0] & 15) * 4;
  if(p->len < 20 || ip[9] != IP_PROTO_TCP || (be16_at(ip + 6) & 0x3fff) || hlen < 20 || p->len < hlen + 20)
    return;
  u16 len = be16_at(ip + 2);
  const u8 *t = ip + hlen;
  if((t[13] & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) != TCP_SYN || len < hlen + 20 || len > p->tot_len)
    return;
  ip4_addr_t src, dst;
  memcpy(&src, ip + 12, 4);
  memcpy(&dst, ip + 16, 4);
  u16 sport = be16_at(t), dport = be16_at(t + 2);
  for(struct tcp_pcb *pcb = tcp_tw_pcbs; pcb; pcb = pcb->next) {
    if(pcb->remote_port != sport || pcb->local_port != dport || pcb->remote_ip.addr != src.addr ||
       pcb->local_ip.addr != dst.addr)
      continue;
    u32 seq = (u32)be16_at(t + 4) << 16 | be16_at(t + 6);
    if(TCP_SEQ_GT(seq, pcb->rcv_nxt) && tcp_sum_ok(p, hlen, len - hlen, &src, &dst))
      tcp_abandon(pcb, 0);
    return;
  }
}

int
atoi(const char *s)
{
  int n = 0;
  while(*s >= '0' && *s <= '9')
    n = n * 10 + *s++ - '0';
  return n;
}

// ---- set-up -------------------------------------------------------------

// Start the stack and netd.  Context: boot, one CPU, after e1000_init, with the
// clock and the interrupt controller running.
void
net_init(void)
{
  u32 msl;
  if(opt_num("msl", &msl))
    net_tcp_msl = msl;
  initsleeplock(&netlock, "netlock");
  initlock(&netd_lock, "netd");
  netd_lock.why = SLEEPWHY_NETD;
  lwip_init();
  sock_init();
  watch_init();
  for(int i = 0; i < e1000_count; i++)
    en[i] = ethif_init(i);
  if(e1000_count > 0) {
    trace_netif(e1000_mac(0), 0);
    netif_set_default(en[0]);
    net_link();
    netconf_init();
  }
  e1000_start();
  trace_snap = ask_snap;
  running = 1;
  struct proc *p = kthread("netd", netd, 0);
  p->urgent = 1;
  p->trace_ctx = NT_CTX_NETD;
}
