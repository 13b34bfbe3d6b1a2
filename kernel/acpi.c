// What the firmware's ACPI tables say about the machine: CPUs, interrupt
// controllers, HPET, power management timer.  Read once while booting.
// ACPI specification 6.x: RSDP 5.2.5, RSDT 5.2.7, FADT 5.2.9, MADT 5.2.12;
// IA-PC HPET specification 3.2.4.
#include "defs.h"
#include "mmu.h"
#include "uapi/memlayout.h"
#include "uapi/param.h"

struct acpi acpi;

struct rsdp {
  char sig[8]; // "RSD PTR "
  u8 checksum; // of the 20 bytes, sum 0
  char oem[6];
  u8 revision;
  u32 rsdt;
} __attribute__((packed));

struct sdt {
  char sig[4];
  u32 len; // header included
  u8 revision, checksum;
  char oem[6], oem_table[8];
  u32 oem_revision, creator, creator_revision;
} __attribute__((packed));
_Static_assert(sizeof(struct sdt) == 36, "ACPI table header");

static int
sums_to_zero(const void *p, u32 n)
{
  u8 sum = 0;
  for(const u8 *b = p; n > 0; n--)
    sum += *b++;
  return sum == 0;
}

static const struct rsdp *
find_rsdp(void)
{
  for(u32 pa = 0xe0000; pa < 0x100000; pa += 16) {
    const struct rsdp *r = P2V(pa);
    if(memcmp(r->sig, "RSD PTR ", 8) == 0 && sums_to_zero(r, sizeof(*r)))
      return r;
  }
  return 0;
}

// One table, checked; 0 if it does not lie in the RAM we map or is damaged.
static const struct sdt *
table_at(u32 pa)
{
  if(pa == 0 || pa >= PHYSTOP - PGSIZE)
    return 0;
  const struct sdt *t = P2V(pa);
  if(t->len < sizeof(*t) || t->len > PHYSTOP - pa || !sums_to_zero(t, t->len))
    return 0;
  return t;
}

static u32
word(const void *p)
{
  u32 v;
  memmove(&v, p, sizeof(v));
  return v;
}

// Entry type 0: a CPU.  1: an I/O APIC.  2: an ISA interrupt that is wired
// otherwise than one to one.
static void
madt_entry(const u8 *e)
{
  switch(e[0]) {
  case 0:
    if((word(e + 4) & 1) && acpi.ncpu < NCPU)
      acpi.apicid[acpi.ncpu++] = e[3];
    break;
  case 1:
    if(acpi.ioapic == 0)
      acpi.ioapic = word(e + 4);
    break;
  case 2:
    if(e[3] < NELEM(acpi.irq_gsi)) {
      acpi.irq_gsi[e[3]] = (u8)word(e + 4);
      acpi.irq_level[e[3]] = (e[8] >> 2 & 3) == 3; // trigger mode bits of the flags
    }
    break;
  }
}

static void
read_madt(const struct sdt *t)
{
  const u8 *p = (const u8 *)t;
  acpi.lapic = word(p + 36);
  for(u32 off = 44; off + 2 <= t->len && p[off + 1] >= 2; off += p[off + 1]) {
    if(p[off + 1] > t->len - off)
      break;
    madt_entry(p + off);
  }
}

static void
read_table(const struct sdt *t)
{
  const u8 *p = (const u8 *)t;
  if(memcmp(t->sig, "APIC", 4) == 0 && t->len >= 44)
    read_madt(t);
  if(memcmp(t->sig, "HPET", 4) == 0 && t->len >= 56)
    acpi.hpet = word(p + 44); // address structure at 40, its address at +4
  if(memcmp(t->sig, "FACP", 4) == 0 && t->len >= 80) {
    acpi.pm1a_cnt = (u16)word(p + 64);
    acpi.pm_timer = (u16)word(p + 76);
  }
}

void
acpi_init(void)
{
  for(u32 i = 0; i < NELEM(acpi.irq_gsi); i++)
    acpi.irq_gsi[i] = (u8)i;
  const struct rsdp *r = find_rsdp();
  const struct sdt *rsdt = r ? table_at(r->rsdt) : 0;
  if(rsdt == 0)
    panic("acpi: no tables; this kernel needs QEMU's pc machine");
  const u8 *entries = (const u8 *)rsdt + sizeof(*rsdt);
  for(u32 i = 0; i < (rsdt->len - sizeof(*rsdt)) / 4; i++) {
    const struct sdt *t = table_at(word(entries + 4 * i));
    if(t)
      read_table(t);
  }
  if(acpi.ncpu == 0) {
    cprintf("acpi: no list of CPUs, using one\n");
    acpi.ncpu = 1;
  }
  if(acpi.lapic < DEVSPACE || acpi.ioapic < DEVSPACE)
    panic("acpi: no interrupt controllers (APIC) in the device window");
}
