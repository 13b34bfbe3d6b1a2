// A run with known truth, for the host tool's tests: trace bytes and capture.
//
// gen_make() plays a guest whose TSC drifts, whose frames are delayed, lost and
// repeated, and notes which record is which frame and what time each stamp
// really was.  Deterministic: everything follows from the seed.
#ifndef TEST_NETTRACE_GEN_H
#define TEST_NETTRACE_GEN_H

#include <stdlib.h>
#include <string.h>
#include "../../tools/nettrace/tool.h"

static const char gen_meta[] =
  "nettrace-metadata 1\n"
  "name TCPSTATE 0 CLOSED no connection\n"
  "name TCPSTATE 1 LISTEN waits for a SYN\n"
  "name TCPSTATE 3 SYN_RECEIVED both SYNs seen\n"
  "name TCPSTATE 4 ESTABLISHED both acknowledged\n"
  "name FATE 1 SOCKET handed to a socket\n"
  "name FATE 2 WIRE sent\n"
  "name FATE 3 DROP dropped\n"
  "name FATE 4 STACK used up by the stack\n"
  "name DROP 1 NOT_SPECIFIED died without a reason\n"
  "name DROP 25 NO_SOCKET nobody has that port\n"
  "name LOST_WHY 1 OVERWRITE overwritten\n"
  "name LOST_WHY 3 DISCARD refused\n"
  "bits TCPFLAGS 0x01 FIN no more data\n"
  "bits TCPFLAGS 0x02 SYN synchronise\n"
  "bits TCPFLAGS 0x10 ACK acknowledges\n"
  "future line that this reader does not know\n"
  "event 1 clock_sync META clocks read together\n"
  "\tu64 tsc tsc TSC\n\tu32 win num window\n\tu32 hpet num HPET\n\tu32 pmt num PM timer\n"
  "event 2 lost META not delivered\n"
  "\tu32 n num slots\n\tu8 cpu num ring\n\tu8 why LOST_WHY how\n\tu32 seq num first\n\tu64 from tsc before\n\tu64 to tsc after\n"
  "event 3 mark META a remark\n"
  "\ttext text text the words\n"
  "event 4 pkt_end META the packet is gone\n"
  "\tu8 fate FATE what became of it\n\tu32 life_us us life\n"
  "event 5 ctl META a control line\n"
  "\tu8 ok num taken\n\ttext text text the line\n"
  "event 10 e1000_rx DRIVER reaped\n"
  "\tu16 slot num index\n\tu16 len byte length\n\tu8 status hex status\n\tu8 errors hex errors\n\tu16 backlog num waiting\n"
  "\tu16 type hex type\n\tu16 ipid hex id\n\tu16 l4sum hex sum\n\tu32 hash hex hash\n\tu32 buf addr buffer\n"
  "event 11 e1000_tx DRIVER in the ring\n"
  "\tu16 slot num index\n\tu16 len byte length\n\tu8 cmd hex command\n\tu8 nfrag num descriptors\n\tu16 in_use num used\n"
  "\tu16 type hex type\n\tu16 ipid hex id\n\tu16 l4sum hex sum\n\tu32 hash hex hash\n\tu32 buf addr buffer\n\tu8 xmit num times\n"
  "event 12 e1000_txkick DRIVER the card knows\n"
  "\tu16 tdt num tail\n\tu16 n num descriptors\n"
  "event 20 tcp_seg_in STACK segment\n"
  "\tu32 laddr ipv4 ours\n\tu32 raddr ipv4 theirs\n\tu16 lport port ours\n\tu16 rport port theirs\n"
  "\tu32 seq num seq\n\tu32 ack num ack\n\tu32 wnd byte window\n\tu16 len byte length\n\tu16 flags TCPFLAGS flags\n\tu16 mss byte mss\n\tu8 state TCPSTATE state\n\tu8 xmit num times\n"
  "event 21 tcp_seg_out STACK segment\n"
  "\tu32 laddr ipv4 ours\n\tu32 raddr ipv4 theirs\n\tu16 lport port ours\n\tu16 rport port theirs\n"
  "\tu32 seq num seq\n\tu32 ack num ack\n\tu32 wnd byte window\n\tu16 len byte length\n\tu16 flags TCPFLAGS flags\n\tu16 mss byte mss\n\tu8 state TCPSTATE state\n\tu8 xmit num times\n"
  "event 22 tcp_state STACK state\n"
  "\tu32 laddr ipv4 ours\n\tu32 raddr ipv4 theirs\n\tu16 lport port ours\n\tu16 rport port theirs\n"
  "\tu8 from TCPSTATE old\n\tu8 to TCPSTATE new\n\tu8 why num cause\n\tu32 dwell_us us time\n"
  "event 23 net_drop STACK dropped\n"
  "\tu8 reason DROP why\n\tu8 stage num where\n"
  "event 30 odd OTHER s types and an unknown unit\n"
  "\ts16 a num a\n\ts32 b num b\n\tu16 c furlong c\n\tname16 name text name\n"
  "end\n";

enum {
  GEN_SYNC = 1,
  GEN_LOST = 2,
  GEN_MARK = 3,
  GEN_END = 4,
  GEN_CTL = 5,
  GEN_RX = 10,
  GEN_TX = 11,
  GEN_KICK = 12,
  GEN_SEGIN = 20,
  GEN_SEGOUT = 21,
  GEN_STATE = 22,
  GEN_DROP = 23,
  GEN_ODD = 30
};

#define GEN_GUEST 0x0a00020fu // 10.0.2.15
#define GEN_PEER  0x0a000202u // 10.0.2.2

// What to play.  Zero is the plain case.
struct genopts {
  u64 seed;
  int frames;
  int dup, lose; // per cent of frames: repeated ARP; received but never seen by the driver
  bool identity; // TSC = virtual ns
  bool noreply;  // the handshake's third segment never comes
  bool seqbug;   // tcp_seg_out reports another sequence number than the wire
  bool noend;    // one packet has no pkt_end
  int step_at;   // the TSC jumps by some µs before this frame
  struct {
    int at, ns; // the TSC jumps by ns (forward or back) before frame at
  } step[2];
  int syncs;   // per 100 frames, 0 = 10
  i64 late;    // ns after power-on at which the trace begins: what came before was overwritten
  i64 born;    // TSC at power-on
  bool nosync; // no clock_sync at all
  bool ns;     // a capture that stamps in ns
  int miss;    // per cent of sent frames that the capture does not hold
  i64 zone;    // the capture's clock is ahead by this, ns
  bool far;    // captured elsewhere on a wire that takes its time and turns frames around
};

struct gen {
  struct genopts o;
  u64 rng;
  u8 *trace;
  size_t len, cap;
  u32 seq[2], pkt, ipid;
  i64 w; // true time, ns
  i64 v0;
  u64 goff, rate; // TSC = goff + w * rate / 2^32
  u64 jump;
  i64 stepped[2]; // when
  u32 nslot, truthcap;
  i64 *truth; // by slot: when it was written
  struct genframe {
    i64 sent; // when, in truth
    i64 w;    // its stamp
    u8 data[128];
    u32 len;
    u32 slot; // of its e1000_rx or e1000_tx among all slots, or ~0
  } * frame;
  u32 nframe;
};

static u32
gen_rand(struct gen *g, u32 below)
{
  g->rng = g->rng * 6364136223846793005ull + 1442695040888963407ull;
  return below ? (u32)((g->rng >> 33) % below) : 0;
}

static u64
gen_tsc(const struct gen *g, i64 w)
{
  if(g->o.identity)
    return (u64)w;
  return g->goff + g->jump + (u64)(((unsigned __int128)(u64)w * g->rate) >> 32);
}

static void
gen_bytes(struct gen *g, const void *p, size_t n)
{
  if(g->len + n > g->cap) {
    g->cap = (g->len + n) * 2;
    g->trace = realloc(g->trace, g->cap);
  }
  memcpy(g->trace + g->len, p, n);
  g->len += n;
}

// Append one record of n payload bytes; returns the index of its first slot.
static u32
gen_emit(struct gen *g, i64 w, u16 id, u32 pkt, const void *payload, size_t n)
{
  struct nt_slot s[NT_MAXNSL];
  u32 cpu = id == GEN_SYNC ? 1 : 0, nsl = 1;
  while(nt_capacity(nsl) < n)
    nsl++;
  memset(s, 0, sizeof s);
  for(u32 i = 0; i < nsl; i++)
    s[i] = (struct nt_slot){.ts = gen_tsc(g, w), .id = id, .cpu_ctx = (u8)cpu, .nsl = (u8)(i ? NT_CONT + i : nsl), .seq = ++g->seq[cpu]};
  s[0].pkt = pkt;
  memcpy(s[0].p, payload, n < NT_PAYLOAD ? n : NT_PAYLOAD);
  for(size_t k = NT_PAYLOAD; k < n; k++)
    ((u8 *)&s[1 + (k - NT_PAYLOAD) / NT_CONTLOAD])[16 + (k - NT_PAYLOAD) % NT_CONTLOAD] = ((const u8 *)payload)[k];
  gen_bytes(g, s, nsl * sizeof *s);
  if(g->nslot + nsl > g->truthcap) {
    g->truthcap = (g->nslot + nsl) * 2;
    g->truth = realloc(g->truth, g->truthcap * sizeof *g->truth);
  }
  for(u32 i = 0; i < nsl; i++)
    g->truth[g->nslot + i] = w;
  g->nslot += nsl;
  return g->nslot - nsl;
}

static void
le(u8 **p, u64 v, int n)
{
  for(int i = 0; i < n; i++)
    *(*p)++ = (u8)(v >> (8 * i));
}

static void
be(u8 **p, u64 v, int n)
{
  for(int i = n; i-- > 0;)
    *(*p)++ = (u8)(v >> (8 * i));
}

static void
gen_sync(struct gen *g)
{
  if(g->o.nosync)
    return;
  u8 b[40], *p = b;
  i64 w = g->w;
  i64 h = w + gen_rand(g, gen_rand(g, 3) ? 1500 : 8), t = h + gen_rand(g, 1500), end = t + gen_rand(g, gen_rand(g, 3) ? 3000 : 8);
  u64 tsc = gen_tsc(g, w);
  le(&p, tsc, 8);
  le(&p, gen_tsc(g, end) - tsc, 4);
  le(&p, (u64)((h - g->v0) / 10), 4);
  le(&p, (u64)((unsigned __int128)(u64)t * 3579545 / 1000000000) & 0xffffff, 4);
  gen_emit(g, end, GEN_SYNC, 0, b, 20);
  g->w = end + 100;
}

static const u8 gen_mac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56}, gen_peer[6] = {0x52, 0x55, 10, 0, 2, 2};

// An ARP reply (always the same bytes) or a TCP segment.  Returns its length.
static u32
gen_frame(struct gen *g, u8 *b, bool in, bool arp, u32 flags, u32 seq, u32 ack)
{
  u8 *p = b;
  memset(b, 0, 128);
  memcpy(p, in ? gen_mac : gen_peer, 6);
  memcpy(p + 6, in ? gen_peer : gen_mac, 6);
  p += 12;
  be(&p, arp ? 0x0806 : 0x0800, 2);
  if(arp) {
    be(&p, 0x0001080006040002ull, 8);
    return in ? 60 : 42;
  }
  be(&p, 0x4500, 2);
  be(&p, 40, 2);
  be(&p, ++g->ipid, 2);
  be(&p, 0x40004006, 4);
  be(&p, 0, 2);
  be(&p, in ? GEN_PEER : GEN_GUEST, 4);
  be(&p, in ? GEN_GUEST : GEN_PEER, 4);
  be(&p, in ? 40000 : 80, 2);
  be(&p, in ? 80 : 40000, 2);
  be(&p, seq, 4);
  be(&p, ack, 4);
  be(&p, 0x5000 | flags, 2);
  be(&p, 8192, 2);
  be(&p, gen_rand(g, 65536), 2);
  be(&p, 0, 2);
  return in ? 60 : 54;
}

static void
gen_capture(struct gen *g, i64 w, const u8 *data, u32 len, u32 slot)
{
  struct genframe *f = &g->frame[g->nframe++];
  if(g->o.far) // sent before, received after
    w += (memcmp(data, gen_mac, 6) ? 1 : -1) * (i64)gen_rand(g, 300000);
  f->sent = w;
  f->w = (g->o.ns ? w : w / 1000 * 1000) + g->o.zone;
  memcpy(f->data, data, len);
  f->len = len;
  f->slot = slot;
}

static u32
gen_driver(struct gen *g, i64 w, bool in, u32 pkt, const u8 *data, u32 len)
{
  u8 b[40], *p = b;
  bool ip = data[12] == 8 && data[13] == 0;
  memset(b, 0, sizeof b);
  le(&p, 1, 2);
  le(&p, in && len < 60 ? 60 : len, 2);
  le(&p, 0, 4);
  le(&p, (u64)data[12] << 8 | data[13], 2);
  le(&p, ip ? (u64)data[18] << 8 | data[19] : 0, 2);
  le(&p, ip ? (u64)data[50] << 8 | data[51] : 0, 2);
  le(&p, nt_hash(data, len), 4);
  return gen_emit(g, w, in ? GEN_RX : GEN_TX, pkt, b, in ? 22 : 23);
}

static void
gen_end(struct gen *g, u32 pkt, u32 fate)
{
  u8 b[5] = {(u8)fate};
  g->w += 50 + gen_rand(g, 500);
  gen_emit(g, g->w, GEN_END, pkt, b, 5);
}

// One frame towards the guest: stamped, then reaped later.
static u32
gen_rx(struct gen *g, bool arp, u32 flags, u32 seq, u32 ack, bool lost)
{
  u8 b[128];
  u32 len = gen_frame(g, b, true, arp, flags, seq, ack), slot = ~0u, pkt = 0;
  i64 w = g->w;
  g->w += 3000 + gen_rand(g, 200000);
  if(!lost) {
    pkt = ++g->pkt;
    slot = gen_driver(g, g->w, true, pkt, b, len);
  }
  gen_capture(g, w, b, len, slot);
  return pkt;
}

// One frame from the guest: e1000_tx, the wire, e1000_txkick.
static u32
gen_tx(struct gen *g, bool arp, u32 flags, u32 seq, u32 ack)
{
  u8 b[128], kick[4] = {1, 0, 1, 0};
  u32 len = gen_frame(g, b, false, arp, flags, seq, ack), pkt = ++g->pkt;
  u32 slot = gen_driver(g, g->w, false, pkt, b, len);
  g->w += gen_rand(g, 4) ? gen_rand(g, 15000) : gen_rand(g, 20);
  if(g->o.miss == 0 || gen_rand(g, 100) >= (u32)g->o.miss)
    gen_capture(g, g->w, b, len, slot);
  g->w += 200 + gen_rand(g, 15000);
  gen_emit(g, g->w, GEN_KICK, 0, kick, 4);
  gen_end(g, pkt, 2);
  return pkt;
}

static void
gen_seg(struct gen *g, bool in, u32 pkt, u32 flags, u32 seq, u32 ack)
{
  u8 b[40], *p = b;
  memset(b, 0, sizeof b);
  le(&p, GEN_GUEST, 4);
  le(&p, GEN_PEER, 4);
  le(&p, 80, 2);
  le(&p, 40000, 2);
  le(&p, seq, 4);
  le(&p, ack, 4);
  le(&p, 8192, 4);
  le(&p, 0, 2);
  le(&p, flags, 2);
  g->w += 500;
  gen_emit(g, g->w, in ? GEN_SEGIN : GEN_SEGOUT, pkt, b, 32);
}

static void
gen_state(struct gen *g, u32 from, u32 to)
{
  u8 b[40], *p = b;
  memset(b, 0, sizeof b);
  le(&p, GEN_GUEST, 4);
  le(&p, GEN_PEER, 4);
  le(&p, 80, 2);
  le(&p, 40000, 2);
  *p++ = (u8)from;
  *p++ = (u8)to;
  g->w += 500;
  gen_emit(g, g->w, GEN_STATE, 0, b, 19);
}

static void
gen_handshake(struct gen *g)
{
  u32 a = gen_rx(g, false, TH_SYN, 1000, 0, false);
  gen_seg(g, true, a, TH_SYN, 1000, 0);
  gen_state(g, 1, 3);
  gen_seg(g, false, g->pkt + 1, TH_SYN | TH_ACK, g->o.seqbug ? 5001 : 5000, 1001);
  gen_tx(g, false, TH_SYN | TH_ACK, 5000, 1001);
  gen_end(g, a, 4);
  if(g->o.noreply)
    return;
  u32 c = gen_rx(g, false, TH_ACK, 1001, 5001, false);
  gen_seg(g, true, c, TH_ACK, 1001, 5001);
  gen_state(g, 3, 4);
  if(!g->o.noend)
    gen_end(g, c, 4);
}

static void
gen_header(struct gen *g)
{
  struct nt_header h = {.magic = NT_FILE_MAGIC, .version = 1, .hdr_size = 128, .slot_size = 64, .ncpu = 2, .nslots = 1024, .boot_id = 7, .tsc_khz = g->o.identity ? 1000000 : 2700000};
  h.meta_len = sizeof gen_meta - 1;
  h.meta_hash = fnv1a(gen_meta, h.meta_len);
  h.ip = GEN_GUEST;
  memcpy(h.mac, gen_mac, 6);
  h.tsc = gen_tsc(g, g->w);
  gen_bytes(g, &h, sizeof h);
  gen_bytes(g, gen_meta, h.meta_len);
  for(u32 i = h.meta_len; i % 64; i++)
    gen_bytes(g, "\n", 1);
}

static inline int
gen_by_stamp(const void *x, const void *y)
{
  const struct genframe *a = x, *b = y;
  return a->w < b->w ? -1 : a->w > b->w;
}

static inline void
gen_make(struct gen *g, struct genopts o)
{
  memset(g, 0, sizeof *g);
  g->o = o;
  g->rng = o.seed * 2654435761u + 12345;
  g->frame = calloc((size_t)o.frames + 16, sizeof *g->frame);
  g->w = 300000000 + g->o.late + gen_rand(g, 1000000);
  g->v0 = g->w - 1000 - gen_rand(g, 100000);
  g->goff = (u64)o.born + gen_rand(g, 100000);
  g->rate = (u64)(2.7 * 4294967296.0) + gen_rand(g, 400000) - 200000;
  gen_header(g);
  for(int i = 0; i < 4; i++) {
    gen_sync(g);
    g->w += 20000 + gen_rand(g, 1000000);
  }
  gen_emit(g, g->w, GEN_MARK, 0, "a remark that is long enough to need a second slot, said by the test", 69);
  gen_handshake(g);
  for(int i = 0; i < o.frames; i++) {
    if(o.step_at && i == o.step_at)
      g->jump += 20000 + gen_rand(g, 20000);
    for(int k = 0; k < 2; k++)
      if(o.step[k].ns && i == o.step[k].at) {
        g->jump += (u64)(o.step[k].ns * 27ll / 10);
        g->stepped[k] = g->w;
      }
    g->w += 20000 + gen_rand(g, 8000000);
    if(gen_rand(g, 100) < (u32)(o.syncs ? o.syncs : 10))
      gen_sync(g);
    bool arp = gen_rand(g, 100) < (u32)o.dup, lost = gen_rand(g, 100) < (u32)o.lose;
    if(gen_rand(g, 2)) {
      u32 pkt = gen_rx(g, arp, TH_ACK, 1001 + gen_rand(g, 1000), 5001, lost);
      if(pkt)
        gen_end(g, pkt, 4);
    } else
      gen_tx(g, arp, TH_ACK, 5001 + gen_rand(g, 1000), 1001);
  }
  gen_sync(g);
  if(o.far)
    qsort(g->frame, g->nframe, sizeof *g->frame, gen_by_stamp);
}

static inline void
gen_free(struct gen *g)
{
  free(g->trace);
  free(g->frame);
  free(g->truth);
}

// Load what was made into a session, as the commands would from files.
static inline int
gen_session(const struct gen *g, struct session *s)
{
  memset(s, 0, sizeof *s);
  int rc = trace_parse(&s->trace, g->trace, g->len, "gen");
  if(rc < 0)
    return rc;
  s->cap.q = g->o.ns ? 1 : 1000;
  for(u32 i = 0; i < g->nframe; i++)
    capture_add(&s->cap, g->frame[i].w, g->frame[i].data, g->frame[i].len, g->frame[i].len);
  s->have_trace = s->have_cap = true;
  s->far = g->o.far;
  return session_join(s);
}

#endif
