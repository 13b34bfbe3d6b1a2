// Driver for the Intel 82540EM: frames between its rings and our buffers.
//
// Up:   netd -> e1000_rx -> ethif_rx          (e1000_intr only wakes netd)
// Down: ethif_tx -> e1000_tx ... e1000_txdone -> ethif_txdone
//
// Thread context with netlock held; e1000_intr is the exception and touches no ring,
// e1000_init runs at boot before there are interrupts.
// A received frame's buffer is ethif.c's from ethif_rx on, until it calls e1000_rxfree.
// What is sent stays the caller's memory; the card reads it until ethif_txdone.
// The registers are reached at their physical address, which vm.c maps into every
// address space: an interrupt may find any page directory loaded.
// Manual: SDM, see e1000_regs.h.  Where QEMU differs, it is said beside the line.
#include "uapi/types.h"
#include "uapi/memlayout.h"
#include "uapi/nettrace.h"
#include "defs.h"
#include "mmu.h"
#include "pci.h"
#include "trace/trace.h"
#include "x86.h"
#include "net/e1000_regs.h"
#include "net/net.h"

#define NRX    256 // descriptors of a ring: one page
#define NTX    256
#define NRXBUF 512 // receive buffers per card

#define MINFRAME 14
#define MAXFRAME 1518 // VLAN tag included, FCS stripped

#define CAUSES (ICR_RXT0 | ICR_RXO | ICR_RXDMT0 | ICR_LSC)

// One per card.  [n] netlock  [c] constant after e1000_init  [a] see the comment
struct e1000 {
  volatile u32 *regs;   // [c]
  u8 irq, mac[6];       // [c]
  u32 ims;              // [a] causes enabled: set by netd before it unmasks, cleared by
                        // the interrupt; never both at once, since it masks all
  u32 intr;             // [a] interrupts, counted by the handler alone
  struct rx_desc *rx;   // [n] ring, shared with the card
  u8 *rxbuf[NRX];       // [n] the buffer of each descriptor
  u32 rx_cons;          // [n] frames reaped, free-running
  u8 rx_skip;           // [n] drop up to the next end of packet
  struct tx_desc *tx;   // [n] ring, shared with the card
  void *cookie[NTX];    // [n] on a frame's last descriptor, what ethif_txdone gets
  u32 tx_pkt[NTX];      // [n] on the last one: the packet
  u64 tx_tsc[NTX];      // [n] on the last one: when it was queued
  u32 tx_prod, tx_cons; // [n] descriptors filled and reaped, free-running
  u8 link;              // [n] the link was up when we looked last
  u8 link_news;         // [a] look again: set by the interrupt, cleared before looking
  u8 tx_full;           // [n] a frame was refused, TXDW is wanted
  u32 gprc, gptc, rlec; // [n] sums of counters that clear on read
};

int e1000_count;
static struct e1000 cards[NNIC];

static u8 *rx_free; // receive buffers nobody uses, linked by their first word
static u32 rx_nfree, rx_total;
static u32 rx_fails; // frames dropped because there was none

// ---- registers, reset ---------------------------------------------------

static u32
reg(const struct e1000 *c, u32 off)
{
  return mmio_read(&c->regs[off / 4]);
}

static void
setreg(struct e1000 *c, u32 off, u32 val)
{
  mmio_write(&c->regs[off / 4], val);
}

// Read one word of the EEPROM.  0xffff if it does not answer.
static u32
eeprom(struct e1000 *c, u32 word)
{
  setreg(c, E1000_EERD, EERD_START | word << 8);
  for(int i = 0; i < 100000; i++) {
    u32 v = reg(c, E1000_EERD);
    if(v & EERD_DONE)
      return v >> 16;
  }
  return 0xffff;
}

// Read our MAC: from the EEPROM, else what the card holds already.
// Returns 0 if neither is a station's address.
static int
read_mac(struct e1000 *c)
{
  u32 w[3];
  for(u32 i = 0; i < 3; i++)
    w[i] = eeprom(c, i);
  if((w[0] & w[1] & w[2]) == 0xffff) {
    u32 ral = reg(c, E1000_RAL);
    w[0] = ral & 0xffff;
    w[1] = ral >> 16;
    w[2] = reg(c, E1000_RAH) & 0xffff;
  }
  for(u32 i = 0; i < 6; i++)
    c->mac[i] = w[i / 2] >> 8 * (i % 2);
  return (w[0] | w[1] | w[2]) != 0 && (c->mac[0] & 1) == 0;
}

static void
set_filters(struct e1000 *c)
{
  // Receive frames for our address and for no multicast group.
  const u8 *m = c->mac;
  setreg(c, E1000_RAL, m[0] | m[1] << 8 | m[2] << 16 | (u32)m[3] << 24);
  setreg(c, E1000_RAH, RAH_AV | m[4] | m[5] << 8);
  for(u32 i = 0; i < 128; i++)
    setreg(c, E1000_MTA + 4 * i, 0);
}

static void *
page(void)
{
  char *p = kalloc();
  if(p == 0)
    panic("e1000: no memory for the rings");
  memset(p, 0, PGSIZE);
  return p;
}

static void
tx_init(struct e1000 *c)
{
  c->tx = page();
  setreg(c, E1000_TDBAL, V2P(c->tx));
  setreg(c, E1000_TDBAH, 0);
  setreg(c, E1000_TDLEN, NTX * sizeof(struct tx_desc));
  setreg(c, E1000_TDH, 0);
  setreg(c, E1000_TDT, 0);
  setreg(c, E1000_TIPG, TIPG_DEFAULT);
  setreg(c, E1000_TCTL, TCTL_EN | TCTL_PSP | TCTL_CT | TCTL_COLD);
}

// Take a buffer from the free list, 0 if there is none.
static u8 *
rx_alloc(void)
{
  u8 *b = rx_free;
  if(b == 0)
    return 0;
  rx_free = *(u8 **)b;
  rx_nfree--;
  return b;
}

// Arm descriptor i with a buffer.
static void
rx_arm(struct e1000 *c, u32 i, u8 *buf)
{
  c->rxbuf[i] = buf;
  c->rx[i].addr = V2P(buf);
  c->rx[i].status = 0;
}

static void
rx_init(struct e1000 *c)
{
  for(u32 i = 0; i < NRXBUF * RXBUF / PGSIZE; i++) {
    u8 *p = page();
    e1000_rxfree(p); // two buffers a page: each physically contiguous
    e1000_rxfree(p + RXBUF);
  }
  rx_total += NRXBUF;
  c->rx = page();
  for(u32 i = 0; i < NRX; i++)
    rx_arm(c, i, rx_alloc());
  setreg(c, E1000_RDBAL, V2P(c->rx));
  setreg(c, E1000_RDBAH, 0);
  setreg(c, E1000_RDLEN, NRX * sizeof(struct rx_desc));
  setreg(c, E1000_RDH, 0);
  setreg(c, E1000_RDT, NRX - 1); // equal to RDH would mean an empty ring
}

// Bring one card up.  Its interrupts stay masked until netd runs.
static int
card_init(struct e1000 *c)
{
  // Mask all interrupts and forget what came before.
  setreg(c, E1000_IMC, 0xffffffff);
  reg(c, E1000_ICR);
  // Set the link up.  QEMU: no autonegotiation through MDIC, that takes the link
  // down for 500 ms; and CTRL.RST would not reset the registers anyway.
  setreg(c, E1000_CTRL, CTRL_SLU);
  if(!read_mac(c))
    return 0;
  set_filters(c);
  tx_init(c);
  rx_init(c);
  // Turn the receiver on, last.  QEMU holds back reception for 1000 ms after each
  // write here: write it once, as early in boot as can be, and never again.
  setreg(c, E1000_RCTL, RCTL_EN | RCTL_BAM | RCTL_SECRC);
  return 1;
}

// ---- finding the cards --------------------------------------------------

static const char *
model(const struct pci_func *f)
{
  if(f->vendor != 0x8086)
    return 0;
  switch(f->device) {
  case 0x100e:
    return "82540EM";
  case 0x100f:
    return "82545EM";
  case 0x1004:
    return "82543GC";
  }
  return 0;
}

// Take one card if it is ours.  Always 0: go on looking.
static int
attach(const struct pci_func *f, void *arg)
{
  (void)arg;
  const char *name = model(f);
  if(name == 0) {
    if(f->class == 2)
      cprintf("net: %x:%x at %d:%d.%d is not supported\n", f->vendor, f->device, f->bus, f->dev, f->fn);
    return 0;
  }
  u32 bar = f->bar[0] & ~0xfu, size = pci_barsize(f, 0);
  if(e1000_count == NNIC || f->bar[0] & 1 || bar < DEVSPACE || size == 0 || size - 1 > ~bar) {
    cprintf("net: %s at %d:%d.%d left alone: %s\n", name, f->bus, f->dev, f->fn,
            e1000_count == NNIC ? "too many cards" : "registers outside the device window");
    return 0;
  }
  // Let it answer, master the bus (else it cannot deliver) and interrupt.
  u32 cmd = pci_read(f, PCI_COMMAND) & 0xffff & ~PCI_CMD_INTX_OFF;
  pci_write(f, PCI_COMMAND, cmd | PCI_CMD_MEM | PCI_CMD_MASTER);
  struct e1000 *c = &cards[e1000_count];
  c->regs = (volatile u32 *)bar;
  c->irq = f->irq;
  c->link_news = 1;
  if(!card_init(c)) {
    cprintf("net: %s at %d:%d.%d left alone: no valid MAC\n", name, f->bus, f->dev, f->fn);
    return 0;
  }
  const u8 *m = c->mac;
  cprintf("en%d: %s at %d:%d.%d, irq %d, %02x:%02x:%02x:%02x:%02x:%02x\n", e1000_count, name,
          f->bus, f->dev, f->fn, c->irq, m[0], m[1], m[2], m[3], m[4], m[5]);
  e1000_count++;
  return 0;
}

// Find and start the cards.  Called first in boot, as soon as there are pages:
// see RCTL above.
void
e1000_init(void)
{
  pci_each(attach, 0);
  if(e1000_count == 0)
    cprintf("net: no network card found, loopback only\n");
}

// Let the cards interrupt this CPU, once netd unmasks them.
void
e1000_start(void)
{
  for(int i = 0; i < e1000_count; i++)
    ioapic_enable(cards[i].irq, lapic_id());
}

const u8 *
e1000_mac(int nic)
{
  return cards[nic].mac;
}

// ---- interrupt ----------------------------------------------------------

// Interrupt half: acknowledge, mask, wake netd.  irq: as in PCI configuration.
// Reading ICR clears it, so it is read once.
void
e1000_intr(u32 irq)
{
  int ours = 0;
  for(struct e1000 *c = cards; c < cards + e1000_count; c++) {
    if(c->irq != irq)
      continue;
    u32 icr = reg(c, E1000_ICR);
    if(icr == 0)
      continue; // another device on this line
    TRACE(e1000_intr, .pkt = 0, .sock = 0, .icr = icr, .ims = c->ims,
          .rdh = reg(c, E1000_RDH), .rdt = reg(c, E1000_RDT),
          .tdh = reg(c, E1000_TDH), .tdt = reg(c, E1000_TDT), .netif = (u8)(c - cards));
    setreg(c, E1000_IMC, 0xffffffff);
    c->ims = 0;
    c->intr++;
    if(icr & ICR_LSC)
      c->link_news = 1;
    ours = 1;
  }
  if(ours)
    netd_wake();
}

// Interrupts on again.  Causes that came while masked are still in ICR, so this
// store itself raises the interrupt.  Transmit is reaped without interrupts;
// only a full ring waits for one.
void
e1000_unmask(int nic)
{
  struct e1000 *c = &cards[nic];
  u32 ims = CAUSES | (c->tx_full ? ICR_TXDW : 0);
  if(c->ims == ims)
    return;
  c->ims = ims;
  setreg(c, E1000_IMS, ims);
}

// ---- receive ------------------------------------------------------------

// A frame waits in the ring.
int
e1000_pending(int nic)
{
  const struct e1000 *c = &cards[nic];
  return ((volatile struct rx_desc *)c->rx)[c->rx_cons % NRX].status & RXD_DD;
}

// What the trace and a capture know of a frame: type, IP id, transport checksum.
struct print {
  u16 type, ipid, l4sum;
  u32 hash;
};

// head: the first n bytes of the frame; beyond them nothing is read.
static struct print
fingerprint(const u8 *head, u32 n)
{
  struct print p = {.hash = nt_hash(head, n)};
  p.type = n < 14 ? 0 : be16_at(head + 12);
  if(p.type != ETHERTYPE_IPV4 || n < 34 || head[14] >> 4 != 4)
    return p;
  p.ipid = be16_at(head + 18);
  u32 hlen = 4 * (head[14] & 15), l4 = 14 + hlen, end = 14 + be16_at(head + 16);
  if(hlen < 20 || be16_at(head + 20) & 0x1fff)
    return p; // no header at all, or a later fragment, which has no transport header
  u8 proto = head[23];
  u32 at = proto == PROTO_TCP ? l4 + 16 : proto == PROTO_UDP  ? l4 + 6
                                        : proto == PROTO_ICMP ? l4 + 2
                                                              : n;
  if(at + 2 <= n && at + 2 <= end) // behind it: padding
    p.l4sum = be16_at(head + at);
  return p;
}

// Put a fresh buffer into descriptor i, then hand the frame it held up.
// The ring never loses a descriptor: without a fresh buffer the frame is dropped
// and its own buffer armed again.
static void
rx_frame(int nic, struct e1000 *c, u32 i, u32 backlog)
{
  struct rx_desc d = c->rx[i];
  u8 *frame = c->rxbuf[i];
  u32 pkt = pkt_new();
  if(TRACING(e1000_rx)) {
    struct print p = fingerprint(frame, d.len < RXMAX ? d.len : RXMAX);
    TRACE(e1000_rx, .pkt = pkt, .sock = 0, .slot = i, .len = d.len, .status = d.status, .errors = d.errors,
          .backlog = backlog, .type = p.type, .ipid = p.ipid, .l4sum = p.l4sum, .hash = p.hash, .buf = (u32)frame, .netif = nic);
  }
  TRACE_BYTES(frame, frame, d.len < trace_snaplen ? d.len : trace_snaplen, .pkt = pkt, .sock = 0, .len = d.len,
              .dir = DIR_IN);
  u8 *fresh = rx_alloc();
  rx_arm(c, i, fresh ? fresh : frame);
  int part = c->rx_skip || !(d.status & RXD_EOP);
  c->rx_skip = !(d.status & RXD_EOP);
  int bad = part || d.errors || d.len < MINFRAME || d.len > MAXFRAME;
  if(fresh == 0)
    rx_fails++;
  else if(bad)
    e1000_rxfree(frame);
  if(bad || fresh == 0) {
    net_drop(pkt, bad ? DROP_RX_ERR : DROP_NOMEM_PBUF);
    return;
  }
  ethif_rx(nic, pkt, frame, d.len);
}

// Hand up to budget received frames to ethif_rx and refill the ring.
// Returns how many there were.
int
e1000_rx(int nic, int budget)
{
  struct e1000 *c = &cards[nic];
  if(!e1000_pending(nic))
    return 0;
  u32 head = reg(c, E1000_RDH);
  int n = 0;
  for(; n < budget && e1000_pending(nic); n++) {
    u32 i = c->rx_cons++ % NRX;
    if(i == head) // this one came after we looked
      head = reg(c, E1000_RDH);
    rx_frame(nic, c, i, (head - i - 1) % NRX);
  }
  // One RDT store a round: QEMU delivers its backlog inside it.
  barrier();
  u32 last = (c->rx_cons - 1) % NRX;
  setreg(c, E1000_RDT, last);
  TRACE(e1000_refill, .pkt = 0, .sock = 0, .n = n, .free = (last - reg(c, E1000_RDH)) % NRX, .fails = rx_fails);
  return n;
}

// Give a frame's buffer back.
void
e1000_rxfree(u8 *frame)
{
  *(u8 **)frame = rx_free;
  rx_free = frame;
  rx_nfree++;
}

u32
e1000_rxspare(void)
{
  return rx_total ? rx_nfree * 256 / rx_total : 0;
}

u32
e1000_rxheld(void)
{
  return rx_total - rx_nfree - e1000_count * NRX;
}

// ---- transmit -----------------------------------------------------------

// Copy the first max bytes of a frame in pieces to head.  Returns how many there are.
static u32
tx_head(u8 *head, u32 max, const struct frag *f, int n)
{
  u32 have = 0;
  for(int k = 0; k < n && have < max; k++) {
    u32 m = f[k].len < max - have ? f[k].len : max - have;
    memmove(head + have, f[k].va, m);
    have += m;
  }
  return have;
}

static struct print
tx_print(const struct frag *f, int n)
{
  static u8 head[96]; // Ethernet, IP with all options, TCP up to its checksum; netlock guards it
  return fingerprint(head, tx_head(head, sizeof(head), f, n));
}

static void
tx_frame(u32 pkt, u32 len, const struct frag *f, int n)
{
  static u8 head[NT_PAYLOAD + (NT_MAXNSL - 1) * NT_CONTLOAD]; // all that a record holds; netlock guards it
  u32 have = tx_head(head, trace_snaplen < sizeof(head) ? trace_snaplen : sizeof(head), f, n);
  TRACE_BYTES(frame, head, have, .pkt = pkt, .sock = 0, .len = len, .dir = DIR_OUT);
}

static u32
tx_fill(struct e1000 *c, const struct frag *f, int n)
{
  u32 len = 0;
  for(int k = 0; k < n; k++) {
    struct tx_desc *d = &c->tx[c->tx_prod++ % NTX];
    *d = (struct tx_desc){.addr = V2P(f[k].va), .len = f[k].len, .cmd = TXD_RS | (k == n - 1 ? TXD_EOP | TXD_IFCS : 0)};
    len += f[k].len;
  }
  return len;
}

// Send one frame of n pieces; it stays the caller's memory until
// ethif_txdone(cookie), which comes once, perhaps before this returns.
// xmit: how many times this packet has been sent, with this one.
// Returns 0, or -1 if the ring is full: nothing was taken.
int
e1000_tx(int nic, u32 pkt, u32 xmit, const struct frag *f, int n, void *cookie)
{
  struct e1000 *c = &cards[nic];
  // Keep one descriptor unused: TDH == TDT means empty.
  if(c->tx_prod - c->tx_cons + n >= NTX) {
    c->tx_full = 1;
    return -1;
  }
  u32 len = tx_fill(c, f, n);
  u32 last = (c->tx_prod - 1) % NTX;
  c->cookie[last] = cookie;
  c->tx_pkt[last] = pkt;
  c->tx_tsc[last] = rdtsc();
  if(TRACING(e1000_tx)) {
    struct print p = tx_print(f, n);
    TRACE(e1000_tx, .pkt = pkt, .sock = 0, .slot = last, .len = len, .cmd = c->tx[last].cmd, .nfrag = n,
          .in_use = c->tx_prod - c->tx_cons, .type = p.type, .ipid = p.ipid, .l4sum = p.l4sum,
          .hash = p.hash, .buf = (u32)f[0].va, .xmit = xmit);
  }
  if(TRACING(frame))
    tx_frame(pkt, len, f, n);
  barrier();
  // QEMU transmits inside this store; the answer may already be in the receive ring.
  setreg(c, E1000_TDT, c->tx_prod % NTX);
  TRACE(e1000_txkick, .pkt = pkt, .sock = 0, .tdt = c->tx_prod % NTX, .n = n);
  e1000_txdone(nic);
  return 0;
}

// Reap what the card has sent.  Returns 1 if a frame was refused before and
// there is room again.
int
e1000_txdone(int nic)
{
  struct e1000 *c = &cards[nic];
  u32 batch = 0;
  while(c->tx_cons != c->tx_prod) {
    u32 i = c->tx_cons % NTX;
    if(!(((volatile struct tx_desc *)c->tx)[i].status & TXD_DD))
      break;
    batch++;
    c->tx_cons++;
    if(!(c->tx[i].cmd & TXD_EOP))
      continue;
    TRACE(e1000_txdone, .pkt = c->tx_pkt[i], .sock = 0, .slot = i, .batch = batch, .ring_us = us_since(c->tx_tsc[i]));
    void *cookie = c->cookie[i];
    c->cookie[i] = 0;
    ethif_txdone(cookie);
  }
  if(!c->tx_full || c->tx_prod - c->tx_cons > NTX / 2)
    return 0;
  c->tx_full = 0;
  return 1;
}

// ---- link, counters -----------------------------------------------------

// Is the link up?  Asked for each frame, so the register, which QEMU is left for, is
// read only after the card has reported a change.
int
e1000_link(int nic)
{
  static const u16 mbps[] = {10, 100, 1000, 1000};
  struct e1000 *c = &cards[nic];
  if(!c->link_news)
    return c->link;
  c->link_news = 0;
  barrier();
  u32 status = reg(c, E1000_STATUS);
  u8 up = (status & STATUS_LU) != 0;
  if(up != c->link)
    TRACE(e1000_link, .pkt = 0, .sock = 0, .up = up, .mbps = up ? mbps[(status & STATUS_SPEED) / STATUS_SPEED_100] : 0,
          .status = status);
  c->link = up;
  return up;
}

// Read the counters that clear on read into sums, and record all.
// MPC, RNBC and CRCERRS should clear too, but do not in QEMU: read as they are.
void
e1000_stat(int nic)
{
  struct e1000 *c = &cards[nic];
  c->gprc += reg(c, E1000_GPRC);
  c->gptc += reg(c, E1000_GPTC);
  c->rlec += reg(c, E1000_RLEC);
  TRACE(e1000_stat, .pkt = 0, .sock = 0, .gprc = c->gprc, .gptc = c->gptc, .mpc = reg(c, E1000_MPC),
        .rnbc = reg(c, E1000_RNBC), .crcerrs = reg(c, E1000_CRCERRS), .rlec = c->rlec, .intr = c->intr,
        .rx_free = (reg(c, E1000_RDT) - reg(c, E1000_RDH)) % NRX, .rx_size = NRX,
        .tx_used = c->tx_prod - c->tx_cons, .tx_size = NTX);
}
