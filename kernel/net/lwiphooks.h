// Hooks that lwIP calls by name (LWIP_HOOK_FILENAME).  They may act; what only
// watches hangs on the same hooks and is watch.c's.
#ifndef LWIPHOOKS_H
#define LWIPHOOKS_H

#include "lwip/arch.h"
#include "lwip/err.h"
#include "lwip/ip_addr.h"

struct netif;
struct pbuf;
struct tcp_hdr;
struct tcp_pcb;

// net.c: initial sequence number, RFC 6528.
u32_t net_isn(const ip_addr_t *local, u16_t lport, const ip_addr_t *remote, u16_t rport);
#define LWIP_HOOK_TCP_ISN(local, lport, remote, rport) net_isn(local, lport, remote, rport)

// stream.c: a segment for this connection, before lwIP looks at it; not ERR_OK: it shall not.
err_t sock_segment(struct tcp_pcb *pcb, const struct tcp_hdr *hdr, u16_t len);
void sock_options(struct tcp_hdr *hdr, u16_t optlen, u16_t opt1len, u8_t *opt2);
// watch.c: header in host order; pcb may be a listener's or in TIME-WAIT.
void watch_seg_in(struct tcp_pcb *pcb, const struct tcp_hdr *hdr, u16_t optlen, u16_t opt1len,
                  const u8_t *opt2, struct pbuf *p);
// net.c: may its acknowledgement wait for the end of the round?
void net_ack_later(struct tcp_pcb *pcb, const struct tcp_hdr *hdr, u16_t len);
#define LWIP_HOOK_TCP_INPACKET_PCB(pcb, hdr, optlen, opt1len, opt2, p) \
  (watch_seg_in(pcb, hdr, optlen, opt1len, opt2, p), net_ack_later(pcb, hdr, (p)->tot_len), \
   sock_options(hdr, optlen, opt1len, opt2), sock_segment(pcb, hdr, (p)->tot_len))

// watch.c: a segment leaves TCP, header in network order, pcb may be 0.  Adds no option.
u32_t *watch_seg_out(struct pbuf *p, const struct tcp_hdr *hdr, const struct tcp_pcb *pcb, u32_t *opts);
#define LWIP_HOOK_TCP_OUT_TCPOPT_LENGTH(pcb, len)        (len)
#define LWIP_HOOK_TCP_OUT_ADD_TCPOPTS(p, hdr, pcb, opts) watch_seg_out(p, hdr, pcb, opts)

// An IP packet, nothing checked yet.  watch.c sees it, net.c may end a TIME-WAIT.
int watch_ip_in(struct pbuf *p, struct netif *inp);
void net_syn_in(struct pbuf *p);
#define LWIP_HOOK_IP4_INPUT(p, inp) (watch_ip_in(p, inp), net_syn_in(p), 0)

#endif
