// PCI configuration space by mechanism 1: an address port and a data port.
//
// Called while booting, by drivers that look for their device (pci_each) and then
// set it up.  Finds devices wherever they are: all slots of bus 0, all functions of
// a multi-function device, and every bus behind a bridge.
// The two ports are one shared register pair, so a read is two steps that must not
// be mixed with another CPU's: everything here runs before the other CPUs start.
#include "uapi/types.h"
#include "defs.h"
#include "pci.h"
#include "x86.h"

#define CONFIG_ADDR 0xcf8
#define CONFIG_DATA 0xcfc
#define CONFIG_ON   0x80000000

// Offsets in configuration space, PCI Local Bus Specification, type 0 and 1 headers.
#define PCI_ID        0x00 // device << 16 | vendor
#define PCI_CLASS     0x08 // class << 24 | subclass << 16 | interface << 8 | revision
#define PCI_HEADER    0x0c // header type in bits 23:16
#define PCI_BAR       0x10
#define PCI_BUSES     0x18 // bridge: secondary bus in bits 15:8
#define PCI_INTERRUPT 0x3c // line in bits 7:0

#define HEADER_MULTI  0x80
#define HEADER_BRIDGE 0x01

#define NBUSDEPTH 8 // bridges behind bridges that are followed

struct walk {
  int (*fn)(const struct pci_func *, void *);
  void *arg;
};

static u32
config_addr(const struct pci_func *f, u32 off)
{
  return CONFIG_ON | f->bus << 16 | f->dev << 11 | f->fn << 8 | (off & 0xfc);
}

u32
pci_read(const struct pci_func *f, u32 off)
{
  outl(CONFIG_ADDR, config_addr(f, off));
  return inl(CONFIG_DATA);
}

void
pci_write(const struct pci_func *f, u32 off, u32 val)
{
  outl(CONFIG_ADDR, config_addr(f, off));
  outl(CONFIG_DATA, val);
}

// Size in bytes of base address register n, 0 if it is not implemented.
// The device shows it by the bits that stay 0 after writing all ones; meanwhile
// it must not answer at that strange address, so decoding is off.
u32
pci_barsize(const struct pci_func *f, int n)
{
  u32 off = PCI_BAR + 4 * n;
  u32 cmd = pci_read(f, PCI_COMMAND);
  u32 bar = pci_read(f, off);
  pci_write(f, PCI_COMMAND, cmd & 0xffff & ~(PCI_CMD_IO | PCI_CMD_MEM));
  pci_write(f, off, 0xffffffff);
  u32 mask = pci_read(f, off);
  pci_write(f, off, bar);
  pci_write(f, PCI_COMMAND, cmd & 0xffff);
  mask &= bar & 1 ? ~0x3u : ~0xfu; // I/O and memory registers have different flag bits
  return mask == 0 ? 0 : ~mask + 1;
}

static void
read_func(struct pci_func *f, u32 id, u32 header)
{
  u32 class = pci_read(f, PCI_CLASS);
  f->vendor = id;
  f->device = id >> 16;
  f->class = class >> 24;
  f->subclass = class >> 16;
  f->irq = pci_read(f, PCI_INTERRUPT);
  int nbar = (header & 0x7f) == 0 ? 6 : 2;
  for(int i = 0; i < 6; i++)
    f->bar[i] = i < nbar ? pci_read(f, PCI_BAR + 4 * i) : 0;
}

// Returns non-zero when the caller's function said "enough".
static int
scan_bus(const struct walk *w, u32 bus, int depth)
{
  for(u32 i = 0; i < 32 * 8; i++) {
    struct pci_func f = {.bus = bus, .dev = i / 8, .fn = i % 8};
    u32 id = pci_read(&f, PCI_ID);
    if((id & 0xffff) == 0xffff) {
      if(f.fn == 0)
        i += 7; // no function 0, no device
      continue;
    }
    u32 header = pci_read(&f, PCI_HEADER) >> 16;
    read_func(&f, id, header);
    if(w->fn(&f, w->arg))
      return 1;
    u32 behind = pci_read(&f, PCI_BUSES) >> 8 & 0xff;
    if((header & 0x7f) == HEADER_BRIDGE && behind > bus && depth < NBUSDEPTH)
      if(scan_bus(w, behind, depth + 1))
        return 1;
    if(f.fn == 0 && !(header & HEADER_MULTI))
      i += 7;
  }
  return 0;
}

// Call fn for each function of each device, in order of bus, slot and function,
// until it returns non-zero.  The struct is only good during the call: copy it.
void
pci_each(int (*fn)(const struct pci_func *, void *), void *arg)
{
  struct walk w = {fn, arg};
  scan_bus(&w, 0, 0);
}
