// PCI configuration space, mechanism 1.
#ifndef PCI_H
#define PCI_H

#include "uapi/types.h"

// One function of one device, as pci.c found it.
struct pci_func {
  u8 bus, dev, fn;
  u8 irq;             // interrupt line the firmware chose, 0xff none
  u16 vendor, device; //
  u8 class, subclass; //
  u32 bar[6];         // as read, flag bits included
};

#define PCI_COMMAND      0x04
#define PCI_CMD_IO       0x0001
#define PCI_CMD_MEM      0x0002
#define PCI_CMD_MASTER   0x0004
#define PCI_CMD_INTX_OFF 0x0400

#endif
