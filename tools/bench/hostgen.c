// hostgen: a saved trace and its capture, as large as one likes, for tools/bench/host.
//
// A made-up server on two CPUs: on CPU 0 netd takes requests of 140 bytes from the
// card, on CPU 1 a process answers with 1,060.  Eight events and one frame for each
// packet, named and laid out like the kernel's; every twenty exchanges another
// connection begins.  No time and no number is random: the same size, the same bytes.
// Written as it is made, so any size fits into memory.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../kernel/uapi/nettrace.h"

static const char meta[] =
  "nettrace-metadata 1\n"
  "name FATE 1 SOCKET handed to a socket\n"
  "name FATE 2 WIRE sent by the card\n"
  "name TCPSTATE 1 LISTEN waits for a SYN\n"
  "name TCPSTATE 3 SYN_RECEIVED both SYNs seen\n"
  "name TCPSTATE 4 ESTABLISHED both acknowledged\n"
  "name ETHERTYPE 2048 IPV4 Internet protocol\n"
  "name PROTO 6 TCP transmission control\n"
  "name SYS 24 send send on a socket\n"
  "name SLEEPWHY 3 SOCKET data or room\n"
  "bits TCPFLAGS 0x01 FIN no more data\n"
  "bits TCPFLAGS 0x02 SYN synchronise\n"
  "bits TCPFLAGS 0x08 PSH push\n"
  "bits TCPFLAGS 0x10 ACK acknowledges\n"
  "event 1 clock_sync META clocks read together\n"
  "\tu64 tsc tsc TSC\n\tu32 win num window\n\tu32 hpet num HPET\n\tu32 pmt num PM timer\n"
  "event 2 pkt_end META the packet is gone\n"
  "\tu8 fate FATE what became of it\n\tu32 life_us us life\n"
  "event 3 e1000_rx DRIVER the driver reaped a received frame\n"
  "\tu16 slot num index\n\tu16 len byte length\n\tu8 status hex status\n\tu8 errors hex errors\n\tu16 backlog num waiting\n"
  "\tu16 type ETHERTYPE type\n\tu16 ipid hex id\n\tu16 l4sum hex sum\n\tu32 hash hex hash\n\tu32 buf addr buffer\n"
  "event 4 e1000_tx DRIVER a frame stands in the ring\n"
  "\tu16 slot num index\n\tu16 len byte length\n\tu8 cmd hex command\n\tu8 nfrag num descriptors\n\tu16 in_use num used\n"
  "\tu16 type ETHERTYPE type\n\tu16 ipid hex id\n\tu16 l4sum hex sum\n\tu32 hash hex hash\n\tu32 buf addr buffer\n\tu8 xmit num times\n"
  "event 5 e1000_txkick DRIVER the card has been told\n"
  "\tu16 tdt num tail\n\tu16 n num descriptors\n"
  "event 6 e1000_txdone DRIVER the card has sent the frame\n"
  "\tu16 slot num index\n\tu16 batch num reaped\n\tu32 ring_us us time\n"
  "event 7 ethif_rx NETIF a frame goes up to the stack\n"
  "\tmac6 dst mac destination\n\tmac6 src mac source\n\tu16 type ETHERTYPE type\n\tu16 len byte length\n\tu8 netif num interface\n"
  "event 8 ethif_tx NETIF a frame goes down to the driver\n"
  "\tmac6 dst mac destination\n\tmac6 src mac source\n\tu16 type ETHERTYPE type\n\tu16 len byte length\n\tu8 netif num interface\n"
  "event 9 ip_in STACK an IP packet arrived\n"
  "\tu32 src ipv4 source\n\tu32 dst ipv4 destination\n\tu16 len byte length\n\tu16 ipid hex id\n\tu16 frag hex fragment\n"
  "\tu8 proto PROTO protocol\n\tu8 ttl num time to live\n\tu8 tos hex service\n\tu8 netif num interface\n"
  "event 10 ip_out STACK an IP packet leaves\n"
  "\tu32 src ipv4 source\n\tu32 dst ipv4 destination\n\tu16 len byte length\n\tu16 ipid hex id\n\tu16 frag hex fragment\n"
  "\tu8 proto PROTO protocol\n\tu8 ttl num time to live\n\tu8 tos hex service\n\tu8 netif num interface\n\tu32 nexthop ipv4 neighbour\n"
  "event 11 tcp_seg_in STACK a TCP segment arrived\n"
  "\tu32 laddr ipv4 ours\n\tu32 raddr ipv4 theirs\n\tu16 lport port ours\n\tu16 rport port theirs\n"
  "\tu32 seq num seq\n\tu32 ack num ack\n\tu32 wnd byte window\n\tu16 len byte length\n\tu16 flags TCPFLAGS flags\n"
  "\tu16 mss byte mss\n\tu8 state TCPSTATE state\n\tu8 xmit num times\n"
  "event 12 tcp_seg_out STACK a TCP segment leaves\n"
  "\tu32 laddr ipv4 ours\n\tu32 raddr ipv4 theirs\n\tu16 lport port ours\n\tu16 rport port theirs\n"
  "\tu32 seq num seq\n\tu32 ack num ack\n\tu32 wnd byte window\n\tu16 len byte length\n\tu16 flags TCPFLAGS flags\n"
  "\tu16 mss byte mss\n\tu8 state TCPSTATE state\n\tu8 xmit num times\n"
  "event 13 tcp_state STACK a TCP connection changed its state\n"
  "\tu32 laddr ipv4 ours\n\tu32 raddr ipv4 theirs\n\tu16 lport port ours\n\tu16 rport port theirs\n"
  "\tu8 from TCPSTATE old\n\tu8 to TCPSTATE new\n\tu8 why num cause\n\tu32 dwell_us us time\n"
  "event 14 sock_rx SOCKET data queued for a process\n"
  "\tu32 n byte bytes\n\tu32 queued byte queued\n\tu32 limit byte limit\n"
  "event 15 sock_read SOCKET a process took data\n"
  "\tu32 n byte bytes\n\tu32 left byte left\n\tu32 wait_us us waited\n"
  "event 16 sys_enter SYSCALL a process called the kernel\n"
  "\tu16 nr SYS call\n\ts16 fd num file\n\tu32 a0 hex first\n\tu32 a1 hex second\n\tu32 a2 hex third\n\tu32 a3 hex fourth\n"
  "event 17 wakeup CPU a sleeping process may run again\n"
  "\tu16 who pid process\n\tu32 chan addr channel\n\tu8 why SLEEPWHY reason\n\tu32 slept_us us slept\n"
  "end\n";

enum {
  CLOCK_SYNC = 1,
  PKT_END,
  E1000_RX,
  E1000_TX,
  E1000_TXKICK,
  E1000_TXDONE,
  ETHIF_RX,
  ETHIF_TX,
  IP_IN,
  IP_OUT,
  TCP_SEG_IN,
  TCP_SEG_OUT,
  TCP_STATE,
  SOCK_RX,
  SOCK_READ,
  SYS_ENTER,
  WAKEUP
};

#define GUEST     0x0a00020fu // 10.0.2.15
#define PEER      0x0a000202u // 10.0.2.2
#define PID       5
#define REQUEST   140 // bytes of a frame
#define ANSWER    1060
#define EXCHANGES 20 // of one connection
#define FLOW      "4422"
#define MACS      "66"
#define ETHERNET  0x555500020f0aull, 0x563412005452ull // addresses of peer and guest, as the trace has them

static const u8 guest_mac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56}, peer_mac[6] = {0x52, 0x55, 10, 0, 2, 2};

static FILE *trace, *capture;
static u64 now = 300000000, left; // ns since power-on; events still to write
static u32 seq[2], pkt, ipid, nframe;
static u32 port, from_peer, from_guest; // the connection: its port, and bytes sent each way

static u64
tsc(u64 ns)
{
  return ns * 27 / 10;
}

// One record of one slot.  fields: the size of each in bytes, a digit each.
static void
emit(u32 id, u32 cpu, u32 packet, const char *fields, ...)
{
  struct nt_slot s = {.ts = tsc(now), .id = (u16)id, .cpu_ctx = (u8)cpu, .nsl = 1, .seq = ++seq[cpu], .pkt = packet, .sock = cpu, .pid = cpu ? PID : 0};
  u8 *p = s.p;
  va_list ap;
  if(left == 0)
    return;
  va_start(ap, fields);
  for(; *fields; p += *fields++ - '0') {
    u64 v = va_arg(ap, u64);
    memcpy(p, &v, (size_t)(*fields - '0'));
  }
  va_end(ap);
  fwrite(&s, sizeof s, 1, trace);
  now += 1700 + id * 100;
  left--;
}
#define N(v) ((u64)(v))

static void
put_be(u8 *p, u64 v, int n)
{
  for(int i = 0; i < n; i++)
    p[i] = (u8)(v >> (8 * (n - 1 - i)));
}

// A TCP segment as it lies on the wire, now.  Its checksum is a counter: nobody adds it up.
static void
make_frame(u8 *p, u32 len, int in, u32 flags)
{
  memset(p, 'x', len);
  memcpy(p, in ? guest_mac : peer_mac, 6);
  memcpy(p + 6, in ? peer_mac : guest_mac, 6);
  put_be(p + 12, 0x08004500, 4);
  put_be(p + 16, len - 14, 2);
  put_be(p + 18, ++ipid, 2);
  put_be(p + 20, 0x400040060000ull, 6);
  put_be(p + 26, in ? PEER : GUEST, 4);
  put_be(p + 30, in ? GUEST : PEER, 4);
  put_be(p + 34, in ? port : 80, 2);
  put_be(p + 36, in ? 80 : port, 2);
  put_be(p + 38, in ? from_peer : from_guest, 4);
  put_be(p + 42, in ? from_guest : from_peer, 4);
  put_be(p + 46, 0x5000 | flags, 2);
  put_be(p + 48, 8192, 2);
  put_be(p + 50, ipid * 31 & 0xffff, 2);
  put_be(p + 52, 0, 2);
}

static void
capture_frame(const u8 *p, u32 len)
{
  const u32 h[4] = {(u32)(now / 1000000000), (u32)(now % 1000000000 / 1000), len, len};
  fwrite(h, sizeof h, 1, capture);
  fwrite(p, len, 1, capture);
  nframe++;
}

static void
sync_clocks(void)
{
  emit(CLOCK_SYNC, 0, 0, "8444", tsc(now), tsc(now + 1000) - tsc(now), (now + 400 - 250000000) / 10,
       (u64)((unsigned __int128)(now + 700) * 3579545 / 1000000000) & 0xffffff);
}

static void
turn_state(u32 from, u32 to)
{
  emit(TCP_STATE, 0, 0, FLOW "1114", N(GUEST), N(PEER), N(80), N(port), N(from), N(to), N(0), N(30));
}

static void
receive(u32 len, u32 flags)
{
  u8 f[ANSWER];
  make_frame(f, len, 1, flags);
  capture_frame(f, len);
  now += 20000;
  u32 id = ++pkt, data = len - 54;
  emit(E1000_RX, 0, id, "2211222244", N(id % 256), N(len), N(7), N(0), N(0), N(0x800), N(ipid & 0xffff), N(ipid * 31 & 0xffff), N(nt_hash(f, len)), N(0x80ffe000));
  emit(ETHIF_RX, 0, id, MACS "221", ETHERNET, N(0x800), N(len), N(0));
  emit(IP_IN, 0, id, "442221111", N(PEER), N(GUEST), N(len - 14), N(ipid & 0xffff), N(0x4000), N(6), N(64), N(0), N(0));
  emit(TCP_SEG_IN, 0, id, FLOW "444222"
                               "11",
       N(GUEST), N(PEER), N(80), N(port), N(from_peer), N(from_guest), N(8192), N(data), N(flags), N(0), N(4), N(0));
  from_peer += data;
  if(flags & 2) {
    from_peer++;
    turn_state(1, 3);
    emit(PKT_END, 0, id, "14", N(1), N(20));
    return;
  }
  emit(SOCK_RX, 0, id, "444", N(data), N(data), N(8192));
  emit(WAKEUP, 0, 0, "2414", N(PID), N(0x8010a000), N(3), N(400));
  now += 40000;
  emit(SOCK_READ, 1, id, "444", N(data), N(0), N(41));
  emit(PKT_END, 1, id, "14", N(1), N(90));
}

static void
transmit(u32 len, u32 flags)
{
  u8 f[ANSWER];
  u32 id = ++pkt, data = len - 54;
  emit(SYS_ENTER, 1, 0, "224444", N(24), N(4), N(4), N(0x4000), N(data), N(0));
  emit(TCP_SEG_OUT, 1, id, FLOW "444222"
                                "11",
       N(GUEST), N(PEER), N(80), N(port), N(from_guest), N(from_peer), N(8192), N(data), N(flags), N(0), N(4), N(1));
  make_frame(f, len, 0, flags);
  emit(IP_OUT, 1, id, "4422211114", N(GUEST), N(PEER), N(len - 14), N(ipid & 0xffff), N(0x4000), N(6), N(255), N(0), N(0), N(PEER));
  emit(ETHIF_TX, 1, id, MACS "221", ETHERNET, N(0x800), N(len), N(0));
  emit(E1000_TX, 1, id, "22112222441", N(id % 256), N(len), N(0xb), N(1), N(1), N(0x800), N(ipid & 0xffff), N(ipid * 31 & 0xffff), N(nt_hash(f, len)), N(0x80ffd000), N(1));
  if(left)
    capture_frame(f, len);
  now += 3000;
  emit(E1000_TXKICK, 1, 0, "22", N((id + 1) % 256), N(1));
  emit(E1000_TXDONE, 1, id, "224", N(id % 256), N(1), N(4));
  emit(PKT_END, 1, id, "14", N(2), N(30));
  from_guest += data + (flags >> 1 & 1);
}

static void
put_header(void)
{
  struct nt_header h = {.magic = NT_FILE_MAGIC, .version = NT_VERSION, .hdr_size = sizeof h, .slot_size = sizeof(struct nt_slot), .ncpu = 2, .nslots = 131072, .boot_id = 7, .tsc_khz = 2700000, .ip = GUEST, .tsc = tsc(now)};
  h.meta_len = sizeof meta - 1;
  h.meta_hash = 2166136261u; // FNV-1a
  for(u32 i = 0; i < h.meta_len; i++)
    h.meta_hash = (h.meta_hash ^ (u8)meta[i]) * 16777619u;
  memcpy(h.mac, guest_mac, 6);
  fwrite(&h, sizeof h, 1, trace);
  fwrite(meta, h.meta_len, 1, trace);
  for(u32 i = h.meta_len; i % 64; i++)
    putc('\n', trace);
  const u32 ph[6] = {0xa1b2c3d4, 0x00040002, 0, 0, 65536, 1};
  fwrite(ph, sizeof ph, 1, capture);
}

int
main(int argc, char **argv)
{
  if(argc != 4 || (left = strtoull(argv[1], 0, 10)) == 0) {
    fputs("usage: hostgen EVENTS TRACE CAPTURE\n", stderr);
    return 2;
  }
  trace = fopen(argv[2], "wb");
  capture = fopen(argv[3], "wb");
  if(trace == 0 || capture == 0) {
    perror("hostgen: cannot write");
    return 1;
  }
  put_header();
  for(u32 i = 0; left; i++) {
    if(i % 100 == 0)
      sync_clocks();
    if(i % EXCHANGES == 0) {
      port = 40000 + i / EXCHANGES % 20000;
      from_peer = 1000 + i;
      from_guest = 5000 + i;
      receive(54, 2);
      transmit(54, 0x12);
      turn_state(3, 4);
    }
    if(left)
      receive(REQUEST, 0x18);
    if(left)
      transmit(ANSWER, 0x18);
    now += 15000;
  }
  if(fclose(trace) || fclose(capture)) {
    perror("hostgen: cannot write");
    return 1;
  }
  printf("%u frames\n", nframe);
  return 0;
}
