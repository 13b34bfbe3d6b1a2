// The I/O APIC: which interrupt goes to which CPU.  82093AA datasheet.
#include "defs.h"
#include "uapi/traps.h"
#include "x86.h"

#define REG_VER   0x01 // highest entry in bits 23:16
#define REG_TABLE 0x10 // two words per entry

#define INT_DISABLED 0x10000
#define INT_LEVEL    0x08000

static void
write(u32 r, u32 v)
{
  volatile u32 *io = (volatile u32 *)acpi.ioapic;
  io[0] = r; // which register
  io[4] = v; // byte offset 16
}

static u32
read(u32 r)
{
  volatile u32 *io = (volatile u32 *)acpi.ioapic;
  io[0] = r;
  return io[4];
}

// All inputs off, and the old 8259 pair silent.
void
ioapic_init(void)
{
  outb(0x21, 0xff);
  outb(0xa1, 0xff);
  u32 last = read(REG_VER) >> 16 & 0xff;
  for(u32 i = 0; i <= last; i++) {
    write(REG_TABLE + 2 * i, INT_DISABLED);
    write(REG_TABLE + 2 * i + 1, 0);
  }
}

// Deliver an interrupt to a CPU as trap T_IRQ0 + irq.  Trigger mode as ACPI
// says (PCI interrupts: level, active high).
void
ioapic_enable(int irq, u32 apicid)
{
  u32 entry = REG_TABLE + 2u * acpi.irq_gsi[irq & 15];
  write(entry + 1, apicid << 24);
  write(entry, (T_IRQ0 + (u32)irq) | (acpi.irq_level[irq & 15] ? INT_LEVEL : 0));
}
