// lwIP's options, read by its opt.h before the defaults.  What is not here has
// lwIP's default.  Sizes are bounds: each has a drop reason or an errno.
#ifndef LWIPOPTS_H
#define LWIPOPTS_H

// Everything runs under netlock: no threads of lwIP's own, no protection inside.
#define NO_SYS               1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_NETCONN         0
#define LWIP_SOCKET          0
#define LWIP_NETIF_API       0
#define LWIP_TIMERS          1
#define MEMP_NUM_SYS_TIMEOUT (LWIP_NUM_SYS_TIMEOUT_INTERNAL + 4)

// Memory.  MEM_SIZE holds eight full send buffers.
#define MEM_ALIGNMENT           4
#define MEM_SIZE                (512 * 1024)
#define PBUF_POOL_SIZE          128
#define PBUF_POOL_BUFSIZE       1536 // a frame fits one
#define MEMP_NUM_PBUF           64
#define MEMP_NUM_TCP_PCB        320 // TIME-WAIT counts too
#define MEMP_NUM_TCP_PCB_LISTEN 16
#define MEMP_NUM_TCP_SEG        1024
#define MEMP_NUM_UDP_PCB        16
#define MEMP_NUM_RAW_PCB        4
#define MEMP_NUM_REASSDATA      8

// TCP.  Without window scaling, which the host side of user networking lacks as well.
#define TCP_MSS                   1460
#define TCP_WND                   (44 * TCP_MSS)
#define TCP_SND_BUF               (44 * TCP_MSS)
#define TCP_SND_QUEUELEN          176
#define TCP_QUEUE_OOSEQ           1
#define TCP_OOSEQ_MAX_PBUFS       64 // per connection
#define TCP_LISTEN_BACKLOG        1  // off by default: a listener without a bound
#define SO_REUSE                  1
#define LWIP_TCP_KEEPALIVE        1
#define LWIP_TCP_PCB_NUM_EXT_ARGS 2 // sock.c's and watch.c's
extern unsigned net_tcp_msl;        // boot option msl=MS
#define TCP_MSL net_tcp_msl

// IP and below.
#define IP_REASSEMBLY                 1
#define IP_FRAG                       1
#define IP_REASS_MAX_PBUFS            32
#define IP_SOF_BROADCAST              1
#define IP_SOF_BROADCAST_RECV         1
#define ARP_TABLE_SIZE                32
#define ARP_QUEUEING                  1
#define ETHARP_TRUST_IP_MAC           0
#define ETHARP_SUPPORT_STATIC_ENTRIES 1 // arp -s
#define LWIP_ICMP                     1
#define LWIP_RAW                      1
#define LWIP_UDP                      1
#define LWIP_DNS                      1
#define LWIP_DHCP                     1
#define LWIP_DHCP_DOES_ACD_CHECK      0 // seconds of waiting
#define LWIP_AUTOIP                   0
#define LWIP_IGMP                     0
#define LWIP_IPV6                     0

// DHCP's clock in seconds, not in minutes as lwIP has it by default: a lease of one
// minute must be renewed after half a minute.  So a u16 would overflow after 18 hours.
// A question that is not answered is repeated after 60 s at the earliest (RFC 2131, 4.4.5).
#define DHCP_COARSE_TIMER_SECS                           1
#define DHCP_TIMEOUT_SIZE_T                              u32_t
#define DHCP_DEFINE_CUSTOM_TIMEOUTS                      1
#define DHCP_AT_LEAST_1(s)                               ((s) ? (s) : 1)
#define DHCP_SET_TIMEOUT_FROM_OFFERED_T0_LEASE(t, dhcp)  ((t) = DHCP_AT_LEAST_1((dhcp)->offered_t0_lease))
#define DHCP_SET_TIMEOUT_FROM_OFFERED_T1_RENEW(t, dhcp)  ((t) = DHCP_AT_LEAST_1((dhcp)->offered_t1_renew))
#define DHCP_SET_TIMEOUT_FROM_OFFERED_T2_REBIND(t, dhcp) ((t) = DHCP_AT_LEAST_1((dhcp)->offered_t2_rebind))
#define DHCP_NEXT_TIMEOUT_THRESHOLD                      60
#define DHCP_REQUEST_BACKOFF_SEQUENCE(tries)             (u16_t)(((tries) < 6 ? 1 << (tries) : 60) * 1000)

// Interfaces.
#define LWIP_HAVE_LOOPIF               1
#define LWIP_NETIF_LOOPBACK            1
#define LWIP_LOOPBACK_MAX_PBUFS        64
#define LWIP_NETIF_STATUS_CALLBACK     1
#define LWIP_NETIF_LINK_CALLBACK       1
#define LWIP_NETIF_EXT_STATUS_CALLBACK 1
#define LWIP_NETIF_HOSTNAME            1
#define LWIP_CHECKSUM_CTRL_PER_NETIF   1
#define LWIP_SUPPORT_CUSTOM_PBUF       1

// A packet's identity, birth (us) and fate travel in its pbuf, zeroed at each
// allocation so that no id outlives its packet.
#define LWIP_PBUF_CUSTOM_DATA u32_t pkt, born, fate;
extern unsigned net_pbufs; // and all pbufs are counted
#define LWIP_PBUF_CUSTOM_DATA_INIT(p) ((p)->pkt = (p)->born = (p)->fate = 0, net_pbufs++)

// Counters: also the places where a drop's reason is seen (lwiptrace.h).
#define LWIP_STATS         1
#define LWIP_STATS_LARGE   1
#define LWIP_STATS_DISPLAY 0
#define MIB2_STATS         1

#define LWIP_HOOK_FILENAME "lwiphooks.h"

#endif
