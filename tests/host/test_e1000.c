// The driver of the card against a model of the card, on the host.
//
//   gcc -g -fsanitize=address,undefined -Itests/host/shim -Ikernel tests/host/test_e1000.c -lcmocka
//
// kernel/net/e1000.c itself is compiled in.  The model does what QEMU's card does with
// the registers the driver uses (it transmits inside the store to TDT) and, beyond
// that, judges the driver: every store that the book forbids ends the test.  Above the
// driver stand two stubs for ethif.c; they keep what they get, so that a test can look.
#define _GNU_SOURCE // MAP_32BIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sys/mman.h>
#include <sanitizer/asan_interface.h>
#include "defs.h"

#define DEVSPACE 0xfe000000
#define BAR      0xfebc0000u

static u32 mmio_read(const volatile u32 *p);
static void mmio_write(volatile u32 *p, u32 v);
void e1000_init(void);
void e1000_intr(u32 irq);
void ioapic_enable(int irq, u32 apicid);
u32 lapic_id(void);
u32 us_since(u64 tsc);
void panic(const char *fmt, ...) __attribute__((noreturn));
void netd_wake(void);
struct pci_func;
void pci_each(int (*fn)(const struct pci_func *, void *), void *arg);
u32 pci_read(const struct pci_func *, u32 off);
void pci_write(const struct pci_func *, u32 off, u32 val);
u32 pci_barsize(const struct pci_func *, int bar);

// What it has to say at boot is not this test's subject.
static void
say(const char *fmt, ...)
{
  (void)fmt;
}
#undef cprintf
#define cprintf say

#include "../../kernel/net/e1000.c"

// ---- the model ------------------------------------------------------------------

#define NCARD 3

struct sent {
  u8 frame[2048];
  u32 len;
};

// One per card on the bus.
static struct card {
  u32 reg[0x8000];
  u16 eeprom[3];
  u8 eeprom_dead;
  u32 ims, icr; // enabled and pending causes
  u32 rctl_writes, icr_reads, rdt_writes;
  u32 after_rctl;         // stores after RCTL's that belong before it
  struct sent sent[1200]; // what went out
  u32 nsent;
  u32 raised;  // interrupts asked for
  u16 command; // PCI
} hw[NCARD];

static struct pci_func bus[NCARD];
static u32 nbus, barsize = 0x20000;

static struct card *
card_at(const volatile u32 *p, u32 *off)
{
  u32 a = (u32)(uintptr_t)p - BAR;
  assert_true(a / 0x20000 < NCARD);
  *off = a % 0x20000;
  return &hw[a / 0x20000];
}

static void *
phys(u64 addr)
{
  assert_true(addr != 0);
  return P2V(addr);
}

static void
raise_if(struct card *m)
{
  if(m->icr & m->ims)
    m->raised++;
}

static u32
mmio_read(const volatile u32 *p)
{
  u32 off;
  struct card *m = card_at(p, &off);
  u32 v = m->reg[off / 4];
  switch(off) {
  case E1000_ICR:
    m->icr_reads++;
    v = m->icr;
    m->icr = 0;
    return v;
  case E1000_GPRC:
  case E1000_GPTC:
  case E1000_RLEC:
    m->reg[off / 4] = 0; // clear on read
    return v;
  }
  return v;
}

// Send what lies between head and tail: QEMU does it inside the store to TDT.
static void
transmit(struct card *m)
{
  u32 *head = &m->reg[E1000_TDH / 4], size = m->reg[E1000_TDLEN / 4] / 16;
  struct tx_desc *ring = phys(m->reg[E1000_TDBAL / 4]);
  struct sent *s = &m->sent[m->nsent % 1200];
  while((m->reg[E1000_TCTL / 4] & TCTL_EN) && *head != m->reg[E1000_TDT / 4]) {
    struct tx_desc *d = &ring[*head];
    assert_true(d->len > 0 && s->len + d->len <= sizeof(s->frame));
    assert_true(d->cmd & TXD_RS); // the driver waits for DD on each
    memcpy(s->frame + s->len, phys(d->addr), d->len);
    s->len += d->len;
    d->status |= TXD_DD;
    *head = (*head + 1) % size;
    if(!(d->cmd & TXD_EOP))
      continue;
    assert_true(d->cmd & TXD_IFCS);
    m->icr |= ICR_TXDW;
    s = &m->sent[++m->nsent % 1200];
    s->len = 0;
  }
  raise_if(m);
}

static void
mmio_write(volatile u32 *p, u32 v)
{
  u32 off;
  struct card *m = card_at(p, &off);
  switch(off) {
  case E1000_EERD:
    m->reg[off / 4] = m->eeprom_dead ? 0 : EERD_DONE | (u32)m->eeprom[v >> 8 & 3] << 16;
    return;
  case E1000_IMS:
    m->ims |= v;
    raise_if(m);
    return;
  case E1000_IMC:
    m->ims &= ~v;
    return;
  case E1000_RCTL:
    m->rctl_writes++;
    assert_int_equal(m->reg[E1000_RDLEN / 4], NRX * 16); // the ring stands already
    break;
  case E1000_RDT:
    m->rdt_writes++;
    assert_true(v < NRX); // QEMU does not check: beyond the ring it reads wild memory
    break;
  case E1000_TDT:
    assert_true(v < NTX);
    m->reg[off / 4] = v;
    transmit(m);
    return;
  case E1000_RDBAL:
  case E1000_RDLEN:
  case E1000_RDH:
  case E1000_TDBAL:
  case E1000_TDLEN:
  case E1000_TCTL:
    m->after_rctl += m->rctl_writes;
    break;
  }
  assert_true(off < sizeof(m->reg));
  m->reg[off / 4] = v;
}

// A piece of a frame arrives: into the next descriptor.  0: the card has none.
static int
deliver_piece(struct card *m, const u8 *frame, u32 len, u8 status, u8 errors)
{
  u32 *head = &m->reg[E1000_RDH / 4];
  if(*head == m->reg[E1000_RDT / 4])
    return 0;
  struct rx_desc *d = (struct rx_desc *)phys(m->reg[E1000_RDBAL / 4]) + *head;
  assert_int_equal(d->status, 0); // armed
  memcpy(phys(d->addr), frame, len < RXMAX ? len : RXMAX);
  d->len = len;
  d->errors = errors;
  d->status = status | RXD_DD;
  *head = (*head + 1) % NRX;
  m->icr |= ICR_RXT0;
  raise_if(m);
  return 1;
}

static int
deliver(struct card *m, const u8 *frame, u32 len)
{
  return deliver_piece(m, frame, len, RXD_EOP, 0);
}

// ---- around the driver -----------------------------------------------------------

u8 trace_on[NT_MAXEV];
u32 trace_snaplen = 85;
static u32 npkt, nwake;
static u32 enabled_irqs;

static struct got {
  u8 *frame; // 0: given back
  u32 len, pkt;
  u8 copy[RXMAX];
} got[1200];
static u32 ngot;
static int keep; // do not give buffers back

static struct {
  u32 pkt;
  u8 reason;
} drops[1200];
static u32 ndrop;

static void *cookies[1200];
static u32 ncookie;

static char *pages[1024];
static u32 npages;

void
ethif_rx(int nic, u32 pkt, u8 *frame, u32 len)
{
  (void)nic;
  struct got *g = &got[ngot++];
  *g = (struct got){.frame = frame, .len = len, .pkt = pkt};
  memcpy(g->copy, frame, len);
  if(keep)
    return;
  g->frame = 0;
  e1000_rxfree(frame);
}

void
ethif_txdone(void *cookie)
{
  assert_non_null(cookie);
  cookies[ncookie++] = cookie;
}

void
net_drop(u32 pkt, u8 reason)
{
  drops[ndrop].pkt = pkt;
  drops[ndrop++].reason = reason;
}

void
netd_wake(void)
{
  nwake++;
}

u32
pkt_new(void)
{
  return ++npkt;
}

u32
us_since(u64 tsc)
{
  (void)tsc;
  return 0;
}

u64
trace_begin(u32 id)
{
  (void)id;
  return 0;
}

static u8 tail[192]; // of the last event that ended in bytes
static u32 ntail;

void
trace_emit(u32 id, const void *body, u32 n, const void *bytes, u32 nbytes)
{
  (void)id;
  (void)body;
  (void)n;
  memmove(tail, bytes, nbytes);
  ntail = nbytes;
}

void
ioapic_enable(int irq, u32 apicid)
{
  (void)apicid;
  enabled_irqs |= 1u << irq;
}

u32
lapic_id(void)
{
  return 0;
}

void
panic(const char *fmt, ...)
{
  fail_msg("panic: %s", fmt);
  abort();
}

// A page below 4 GiB whose receive buffers end where the card's part of them ends.
char *
kalloc(void)
{
  char *p = mmap(0, PGSIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
  assert_true(p != MAP_FAILED);
  pages[npages++] = p;
  return p;
}

void
pci_each(int (*fn)(const struct pci_func *, void *), void *arg)
{
  for(u32 i = 0; i < nbus && fn(&bus[i], arg) == 0; i++)
    ;
}

u32
pci_read(const struct pci_func *f, u32 off)
{
  assert_int_equal(off, PCI_COMMAND);
  return 0xffff0000u | hw[f - bus].command; // status above the command
}

void
pci_write(const struct pci_func *f, u32 off, u32 val)
{
  assert_int_equal(off, PCI_COMMAND);
  assert_int_equal(val >> 16, 0); // ones there would clear status bits
  hw[f - bus].command = val;
}

u32
pci_barsize(const struct pci_func *f, int bar)
{
  (void)f;
  assert_int_equal(bar, 0);
  return barsize;
}

// n cards as the firmware leaves them.
static void
plug(u32 n)
{
  nbus = n;
  for(u32 i = 0; i < n; i++) {
    bus[i] = (struct pci_func){.dev = 3 + i, .irq = 11, .vendor = 0x8086, .device = 0x100e, .class = 2, .bar = {BAR + i * 0x20000}};
    hw[i].eeprom[0] = 0x5452;
    hw[i].eeprom[1] = 0x1200;
    hw[i].eeprom[2] = 0x5634 + i;
    hw[i].reg[E1000_STATUS / 4] = STATUS_LU | 0x80;
    hw[i].command = PCI_CMD_IO | PCI_CMD_INTX_OFF;
    memset(&hw[i].reg[E1000_MTA / 4], 0xff, 512);
  }
}

static int
fresh(void **state)
{
  (void)state;
  memset(hw, 0, sizeof(hw));
  memset(cards, 0, sizeof(cards));
  memset(trace_on, 0, sizeof(trace_on));
  rx_free = 0;
  rx_nfree = rx_total = rx_fails = 0;
  e1000_count = 0;
  npkt = nwake = enabled_irqs = ngot = ndrop = ncookie = 0;
  keep = 0;
  barsize = 0x20000;
  plug(1);
  return 0;
}

static int
gone(void **state)
{
  (void)state;
  while(npages > 0)
    munmap(pages[--npages], PGSIZE);
  return 0;
}

static struct card *
started(void)
{
  e1000_init();
  assert_int_equal(e1000_count, 1);
  e1000_start();
  e1000_unmask(0);
  return &hw[0];
}

// Every descriptor the card has is armed with a buffer that nobody else has, and
// every buffer is somewhere: in the ring, on the free list, or held.
static void
check_buffers(u32 held)
{
  const struct e1000 *c = &cards[0];
  const struct rx_desc *ring = c->rx;
  u32 rdh = hw[0].reg[E1000_RDH / 4], rdt = hw[0].reg[E1000_RDT / 4];
  u32 have = (rdt - rdh) % NRX;
  for(u32 k = 0; k < have; k++)
    assert_int_equal(ring[(rdh + k) % NRX].status, 0);
  for(u32 i = 0; i < NRX; i++) {
    assert_int_equal(ring[i].addr, V2P(c->rxbuf[i]));
    assert_int_equal(ring[i].addr % RXBUF, 0);
    for(u32 k = 0; k < i; k++)
      assert_true(ring[i].addr != ring[k].addr);
  }
  u32 n = 0;
  for(u8 *b = rx_free; b; b = *(u8 **)b) {
    n++;
    for(u32 i = 0; i < NRX; i++)
      assert_true(b != c->rxbuf[i]);
  }
  assert_int_equal(n, rx_nfree);
  assert_int_equal(n + NRX + held, NRXBUF);
  assert_int_equal(e1000_rxheld(), held);
}

static u32
fill(u8 *frame, u32 n)
{
  u32 len = 60 + n * 37 % 1455;
  for(u32 i = 0; i < len; i++)
    frame[i] = n * 31 + i * 7;
  return len;
}

// ---- start-up ---------------------------------------------------------------------

static void
test_init(void **state)
{
  struct card *m = started();
  (void)state;
  assert_int_equal(m->rctl_writes, 1);
  assert_int_equal(m->after_rctl, 0);
  assert_int_equal(m->reg[E1000_RCTL / 4], RCTL_EN | RCTL_BAM | RCTL_SECRC);
  assert_int_equal(m->reg[E1000_RDH / 4], 0);
  assert_int_equal(m->reg[E1000_RDT / 4], NRX - 1);
  assert_int_equal(m->reg[E1000_TDLEN / 4], NTX * 16);
  assert_int_equal(m->reg[E1000_RDBAL / 4] % 128 + m->reg[E1000_TDBAL / 4] % 128, 0);
  assert_true(m->reg[E1000_TCTL / 4] & TCTL_EN);
  assert_true(m->reg[E1000_TCTL / 4] & TCTL_PSP);
  assert_int_equal(m->reg[E1000_RAL / 4], 0x12005452);
  assert_int_equal(m->reg[E1000_RAH / 4], 0x80005634);
  for(int i = 0; i < 128; i++)
    assert_int_equal(m->reg[E1000_MTA / 4 + i], 0);
  assert_int_equal(m->command, PCI_CMD_IO | PCI_CMD_MEM | PCI_CMD_MASTER);
  assert_int_equal(enabled_irqs, 1 << 11);
  assert_int_equal(m->ims, CAUSES);
  check_buffers(0);
}

// Nothing may interrupt before netd unmasks, whatever the firmware left on.
static void
test_init_masks(void **state)
{
  (void)state;
  hw[0].ims = hw[0].icr = 0xffffffff;
  e1000_init();
  e1000_start();
  assert_int_equal(hw[0].ims, 0);
  assert_int_equal(hw[0].icr, 0);
}

static void
test_mac_without_eeprom(void **state)
{
  (void)state;
  hw[0].eeprom_dead = 1;
  hw[0].reg[E1000_RAL / 4] = 0x33221152;
  hw[0].reg[E1000_RAH / 4] = 0x5544;
  started();
  assert_memory_equal(e1000_mac(0), "\x52\x11\x22\x33\x44\x55", 6);
}

static void
test_bad_mac_is_refused(void **state)
{
  static const u16 bad[][3] = {{0, 0, 0}, {0x5401, 0x1200, 0x5634}, {0xffff, 0xffff, 0xffff}};
  for(u32 i = 0; i < NELEM(bad); i++) {
    fresh(state);
    memcpy(hw[0].eeprom, bad[i], 6);
    e1000_init();
    assert_int_equal(e1000_count, 0);
    assert_int_equal(hw[0].rctl_writes, 0); // it does not receive either
  }
}

static void
test_registers_elsewhere_are_refused(void **state)
{
  static const u32 bad[] = {0x80000000, 0xfdfe0000, 0xffff0000, BAR | 1};
  for(u32 i = 0; i < NELEM(bad); i++) {
    fresh(state);
    bus[0].bar[0] = bad[i];
    e1000_init();
    assert_int_equal(e1000_count, 0);
  }
  fresh(state);
  barsize = 0;
  e1000_init();
  assert_int_equal(e1000_count, 0);
}

static void
test_other_cards_are_left_alone(void **state)
{
  (void)state;
  plug(3);
  e1000_init();
  assert_int_equal(e1000_count, NNIC);
  assert_int_equal(hw[2].rctl_writes, 0);
  assert_int_equal(e1000_mac(1)[4], 0x35);
  fresh(state);
  bus[0].device = 0x10d3; // e1000e
  e1000_init();
  assert_int_equal(e1000_count, 0);
  assert_int_equal(hw[0].command, PCI_CMD_IO | PCI_CMD_INTX_OFF);
}

// ---- receive -----------------------------------------------------------------------

// Four times round the ring, in rounds of every size.
static void
test_rx_wrap(void **state)
{
  struct card *m = started();
  u8 frame[2048];
  u32 n = 0;
  (void)state;
  trace_on[TR_e1000_rx] = 1; // the fingerprint is taken, under the sanitizer
  while(n < 4 * NRX) {
    u32 burst = 1 + n % 61, writes = m->rdt_writes, first = n;
    ngot = 0;
    for(u32 k = 0; k < burst; k++, n++)
      assert_true(deliver(m, frame, fill(frame, n)));
    assert_true(e1000_pending(0));
    assert_int_equal(e1000_rx(0, 64), burst);
    assert_false(e1000_pending(0));
    assert_int_equal(m->rdt_writes, writes + 1); // one store a round
    assert_int_equal((m->reg[E1000_RDT / 4] - m->reg[E1000_RDH / 4]) % NRX, NRX - 1);
    assert_int_equal(ngot, burst);
    for(u32 k = 0; k < burst; k++) {
      assert_int_equal(got[k].len, fill(frame, first + k));
      assert_memory_equal(got[k].copy, frame, got[k].len);
      assert_int_equal(got[k].pkt, first + k + 1);
    }
    check_buffers(0);
  }
  assert_int_equal(ndrop, 0);
  assert_int_equal(m->rctl_writes, 1);
  u32 writes = m->rdt_writes;
  assert_int_equal(e1000_rx(0, 64), 0);
  assert_int_equal(m->rdt_writes, writes); // nothing came: nothing is stored
}

// A full ring, taken in rounds no larger than the budget.
static void
test_rx_budget(void **state)
{
  struct card *m = started();
  u8 frame[2048];
  u32 n = 0;
  (void)state;
  while(deliver(m, frame, fill(frame, n)))
    n++;
  assert_int_equal(n, NRX - 1);
  for(u32 left = n; left > 0;) {
    u32 want = left < 64 ? left : 64;
    assert_int_equal(e1000_rx(0, 64), want);
    left -= want;
    check_buffers(0);
  }
  assert_int_equal(ngot, NRX - 1);
  assert_true(deliver(m, frame, 60));
}

static void
expect_drop(u32 n, u8 reason)
{
  assert_int_equal(ndrop, n);
  for(u32 i = 0; i < n; i++)
    assert_int_equal(drops[i].reason, reason);
}

static void
test_rx_errors(void **state)
{
  struct card *m = started();
  u8 frame[2048] = {0};
  (void)state;
  trace_on[TR_e1000_rx] = 1;
  for(u32 bit = 0; bit < 8; bit++)
    assert_true(deliver_piece(m, frame, 60, RXD_EOP, 1 << bit));
  assert_int_equal(e1000_rx(0, 64), 8);
  expect_drop(8, DROP_RX_ERR);
  assert_int_equal(ngot, 0);
  check_buffers(0);
  assert_true(deliver(m, frame, 60));
  assert_int_equal(e1000_rx(0, 64), 1);
  assert_int_equal(ngot, 1);
}

static void
test_rx_lengths(void **state)
{
  struct card *m = started();
  u8 frame[2048] = {0};
  static const u32 bad[] = {0, 1, 13, 1519, 1522, 2048, 16384, 65535}, good[] = {14, 60, 1514, 1518};
  (void)state;
  trace_on[TR_e1000_rx] = 1;
  for(u32 i = 0; i < NELEM(bad); i++)
    assert_true(deliver(m, frame, bad[i]));
  for(u32 i = 0; i < NELEM(good); i++)
    assert_true(deliver(m, frame, good[i]));
  assert_int_equal(e1000_rx(0, 64), NELEM(bad) + NELEM(good));
  expect_drop(NELEM(bad), DROP_RX_ERR);
  assert_int_equal(ngot, NELEM(good));
  for(u32 i = 0; i < NELEM(good); i++)
    assert_int_equal(got[i].len, good[i]);
  check_buffers(0);
}

// A frame in pieces is dropped to its last piece, also when rounds divide it.
static void
test_rx_without_end(void **state)
{
  struct card *m = started();
  u8 frame[2048] = {0};
  (void)state;
  deliver_piece(m, frame, 1500, 0, 0);
  deliver_piece(m, frame, 1500, 0, 0);
  assert_int_equal(e1000_rx(0, 64), 2);
  deliver_piece(m, frame, 1500, 0, 0);
  deliver_piece(m, frame, 100, RXD_EOP, 0);
  deliver(m, frame, 77);
  assert_int_equal(e1000_rx(0, 64), 3);
  expect_drop(4, DROP_RX_ERR);
  assert_int_equal(ngot, 1);
  assert_int_equal(got[0].len, 77);
  check_buffers(0);
}

// The stack keeps every buffer: frames are dropped for want of one, the ring stays
// whole, and reception goes on when buffers come back.
static void
test_rx_without_buffers(void **state)
{
  struct card *m = started();
  u8 frame[2048];
  u32 spare = NRXBUF - NRX;
  (void)state;
  keep = 1;
  for(u32 n = 0; n < spare + 20; n++) {
    assert_true(deliver(m, frame, fill(frame, n)));
    assert_int_equal(e1000_rx(0, 64), 1);
  }
  assert_int_equal(ngot, spare);
  expect_drop(20, DROP_NOMEM_PBUF);
  assert_int_equal(e1000_rxspare(), 0);
  check_buffers(spare);
  deliver_piece(m, frame, 60, RXD_EOP, 1); // bad and without a buffer: the frame's fault
  assert_int_equal(e1000_rx(0, 64), 1);
  assert_int_equal(drops[ndrop - 1].reason, DROP_RX_ERR);
  check_buffers(spare);
  for(u32 i = 0; i < spare; i++) {
    assert_memory_equal(got[i].frame, got[i].copy, got[i].len); // nobody wrote into it meanwhile
    e1000_rxfree(got[i].frame);
  }
  keep = 0;
  ngot = 0;
  assert_true(deliver(m, frame, 60));
  assert_int_equal(e1000_rx(0, 64), 1);
  assert_int_equal(ngot, 1);
  check_buffers(0);
}

// The driver never touches what lies behind the card's part of a buffer: there the
// stack keeps its own.
static void
test_rx_tail_is_not_ours(void **state)
{
  struct card *m = started();
  u8 frame[2048];
  (void)state;
  trace_on[TR_e1000_rx] = 1;
  for(u32 i = 0; i < NRX; i++)
    ASAN_POISON_MEMORY_REGION(cards[0].rxbuf[i] + 1528, RXBUF - 1528); // 8 bytes are its grain
  for(u32 n = 0; n < 200; n++) {
    u32 len = n % 2 ? 1518 : fill(frame, n);
    deliver_piece(m, frame, len, RXD_EOP, n % 3 == 0);
  }
  for(int i = 0; i < 4; i++)
    e1000_rx(0, 64);
  assert_int_equal(ngot + ndrop, 200);
  for(u32 i = 0; i < npages; i++)
    ASAN_UNPOISON_MEMORY_REGION(pages[i], PGSIZE);
}

// ---- transmit ----------------------------------------------------------------------

static u8 out[600][1514];

// Send frame n in a number of pieces.
static int
send(u32 n, u32 pieces, u32 *len)
{
  struct frag f[TXFRAG];
  *len = fill(out[n], n);
  for(u32 k = 0; k < pieces; k++)
    f[k] = (struct frag){out[n] + *len * k / pieces, *len * (k + 1) / pieces - *len * k / pieces};
  return e1000_tx(0, n + 1, 1, f, pieces, out[n]);
}

// Round the ring more than four times, in one to five pieces.
static void
test_tx_wrap(void **state)
{
  struct card *m = started();
  u32 len;
  (void)state;
  trace_on[TR_e1000_tx] = trace_on[TR_frame] = 1;
  for(u32 n = 0; n < 450; n++) {
    trace_snaplen = n & 1 ? 181 : 37;
    assert_int_equal(send(n, 1 + n % 5, &len), 0);
    assert_int_equal(ntail, len < trace_snaplen ? len : trace_snaplen);
    assert_memory_equal(tail, out[n], ntail);
    assert_int_equal(m->nsent, n + 1);
    assert_int_equal(m->sent[n].len, len);
    assert_memory_equal(m->sent[n].frame, out[n], len);
    assert_int_equal(ncookie, n + 1);
    assert_ptr_equal(cookies[n], out[n]);
  }
  assert_int_equal(cards[0].tx_prod, cards[0].tx_cons);
  assert_true(cards[0].tx_prod > 4 * NTX);
}

// The card stands still: frames are taken until the ring is full, then refused as a
// whole; when it goes on, each cookie comes back once and in order.
static void
test_tx_full(void **state)
{
  struct card *m = started();
  struct tx_desc before[NTX];
  u32 len, n = 0;
  (void)state;
  m->reg[E1000_TCTL / 4] &= ~TCTL_EN;
  while(send(n, 3, &len) == 0)
    n++;
  assert_int_equal(n, (NTX - 1) / 3);
  u32 prod = cards[0].tx_prod, tdt = m->reg[E1000_TDT / 4];
  memcpy(before, cards[0].tx, sizeof(before));
  for(int i = 0; i < 5; i++)
    assert_int_equal(send(n, 3, &len), -1);
  assert_memory_equal(before, cards[0].tx, sizeof(before));
  assert_int_equal(cards[0].tx_prod, prod);
  assert_int_equal(m->reg[E1000_TDT / 4], tdt);
  assert_int_equal(ncookie, 0);
  assert_int_equal(e1000_txdone(0), 0);
  // Now a transmit interrupt is wanted, and only now.
  assert_int_equal(m->ims & ICR_TXDW, 0);
  e1000_unmask(0);
  assert_int_equal(m->ims & ICR_TXDW, ICR_TXDW);
  m->reg[E1000_TCTL / 4] |= TCTL_EN;
  transmit(m);
  assert_true(m->raised > 0);
  e1000_intr(11);
  assert_int_equal(e1000_txdone(0), 1); // there is room again: said once
  assert_int_equal(e1000_txdone(0), 0);
  assert_int_equal(ncookie, n);
  for(u32 i = 0; i < n; i++)
    assert_ptr_equal(cookies[i], out[i]);
  e1000_unmask(0);
  assert_int_equal(m->ims & ICR_TXDW, 0);
  assert_int_equal(send(n, 3, &len), 0);
  assert_int_equal(ncookie, n + 1);
}

// All but one descriptor can be used: head and tail alike would mean empty.
static void
test_tx_last_descriptor(void **state)
{
  struct card *m = started();
  u32 len, n = 0;
  (void)state;
  m->reg[E1000_TCTL / 4] &= ~TCTL_EN;
  while(send(n, 1, &len) == 0)
    n++;
  assert_int_equal(n, NTX - 1);
  assert_true(m->reg[E1000_TDT / 4] != m->reg[E1000_TDH / 4]);
  m->reg[E1000_TCTL / 4] |= TCTL_EN;
  transmit(m);
  assert_int_equal(m->nsent, NTX - 1);
}

// ---- interrupts, link, counters ------------------------------------------------------

static void
test_intr(void **state)
{
  struct card *m = started();
  u8 frame[2048];
  u32 reads = m->icr_reads;
  (void)state;
  deliver(m, frame, fill(frame, 1));
  assert_int_equal(m->raised, 1);
  u32 rdt = m->rdt_writes;
  e1000_intr(11);
  assert_int_equal(m->icr_reads, reads + 1); // reading clears it: exactly once
  assert_int_equal(m->ims, 0);
  assert_int_equal(nwake, 1);
  assert_int_equal(ngot, 0); // the ring is netd's
  assert_int_equal(m->rdt_writes, rdt);
  // What comes while masked raises the interrupt when netd unmasks.
  deliver(m, frame, fill(frame, 2));
  assert_int_equal(m->raised, 1);
  assert_int_equal(e1000_rx(0, 64), 2);
  e1000_unmask(0);
  assert_int_equal(m->raised, 2);
  e1000_intr(11);
  assert_int_equal(nwake, 2);
  e1000_unmask(0);
  e1000_unmask(0); // nothing new: no store
  assert_int_equal(m->ims, CAUSES);
}

static void
test_intr_of_another_device(void **state)
{
  struct card *m = started();
  u32 reads = m->icr_reads;
  (void)state;
  e1000_intr(10); // another line: not even looked at
  assert_int_equal(m->icr_reads, reads);
  e1000_intr(11); // our line, not our interrupt
  assert_int_equal(m->icr_reads, reads + 1);
  assert_int_equal(m->ims, CAUSES);
  assert_int_equal(nwake, 0);
}

static void
test_two_cards_on_one_line(void **state)
{
  u8 frame[2048];
  (void)state;
  plug(2);
  e1000_init();
  e1000_unmask(0);
  e1000_unmask(1);
  deliver(&hw[1], frame, fill(frame, 1));
  e1000_intr(11);
  assert_int_equal(hw[0].ims, CAUSES);
  assert_int_equal(hw[1].ims, 0);
  assert_int_equal(nwake, 1);
  assert_int_equal(e1000_rx(0, 64), 0);
  assert_int_equal(e1000_rx(1, 64), 1);
}

static void
test_link_and_counters(void **state)
{
  struct card *m = started();
  (void)state;
  assert_true(e1000_link(0));
  m->reg[E1000_STATUS / 4] &= ~STATUS_LU;
  assert_true(e1000_link(0)); // the card has not said so yet
  m->icr = ICR_LSC;
  e1000_intr(11);
  assert_false(e1000_link(0));
  m->reg[E1000_GPRC / 4] = 5;
  e1000_stat(0);
  m->reg[E1000_GPRC / 4] = 7;
  e1000_stat(0);
  assert_int_equal(cards[0].gprc, 12);
  assert_int_equal(m->rctl_writes, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, gone)

int
main(void)
{
  const struct CMUnitTest tests[] = {
    TEST(test_init),
    TEST(test_init_masks),
    TEST(test_mac_without_eeprom),
    TEST(test_bad_mac_is_refused),
    TEST(test_registers_elsewhere_are_refused),
    TEST(test_other_cards_are_left_alone),
    TEST(test_rx_wrap),
    TEST(test_rx_budget),
    TEST(test_rx_errors),
    TEST(test_rx_lengths),
    TEST(test_rx_without_end),
    TEST(test_rx_without_buffers),
    TEST(test_rx_tail_is_not_ours),
    TEST(test_tx_wrap),
    TEST(test_tx_full),
    TEST(test_tx_last_descriptor),
    TEST(test_intr),
    TEST(test_intr_of_another_device),
    TEST(test_two_cards_on_one_line),
    TEST(test_link_and_counters),
  };
  return cmocka_run_group_tests(tests, 0, 0);
}
