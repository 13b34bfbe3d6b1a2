// The root disk: a multiboot module used in place, or an IDE disk by PIO.
//
// bio.c calls disk_rw in process context, with the buffer's sleep-lock held.
// The RAM disk copies and returns.  The IDE disk has a queue in the order of
// arrival: the first buffer is the one the drive works at, its caller and the
// others sleep on their buffers until disk_intr has seen it done.  IDE needs
// one interrupt per block; that is slow and simple.
//
// A drive may keep what it has acknowledged in a cache, and lose it with the
// power: log.c calls disk_flush where the order of its writes matters.
//
// Registers and commands: ATA, PIO data-in and data-out commands, 28-bit LBA.

#include "defs.h"
#include "buf.h"
#include "proc.h"
#include "trace/trace.h"
#include "x86.h"
#include "uapi/memlayout.h"
#include "uapi/traps.h"

#define IDE_DATA   0x1f0
#define IDE_COUNT  0x1f2 // sectors of this command
#define IDE_LBA0   0x1f3
#define IDE_LBA1   0x1f4
#define IDE_LBA2   0x1f5
#define IDE_DRIVE  0x1f6 // drive, addressing, top 4 bits of the address
#define IDE_CMD    0x1f7 // write: command
#define IDE_STATUS 0x1f7 // read: status, and acknowledges the interrupt
#define IDE_CTL    0x3f6

#define DRIVE_LBA  0xe0 // LBA addressing, and two bits that are always set
#define DRIVE_UNIT 0x10 // second drive of the channel

#define STATUS_BSY 0x80
#define STATUS_DF  0x20 // drive fault
#define STATUS_DRQ 0x08 // data is ready, or wanted
#define STATUS_ERR 0x01

#define CTL_NIEN 0x02 // no interrupts

#define CMD_READ     0x20
#define CMD_WRITE    0x30
#define CMD_FLUSH    0xe7 // FLUSH CACHE: done when all is on the medium
#define CMD_IDENTIFY 0xec

static struct {
  struct spinlock lock;
  u8 *ram;           // [c] RAM disk, 0: IDE
  int unit;          // [c] IDE drive, 0 or 1
  u32 nblocks;       // [c]
  int has_flush;     // [c] the drive knows FLUSH CACHE
  struct buf *queue; // [lock] first: in progress
  struct buf flush;  // [lock] in the queue it is no block but a FLUSH CACHE
} disk;              // [c] constant after disk_init

// ---- IDE ----------------------------------------------------------------

// Wait until the drive is not busy; the status then, or -1 after about a second.
static int
ide_wait(void)
{
  for(u32 i = 0; i < 1000000; i++) {
    u8 status = inb(IDE_STATUS); // about 1 us each
    if((status & STATUS_BSY) == 0)
      return status;
  }
  return -1;
}

// Blocks of a drive, 0 if there is no disk.  Interrupts of the channel are off.
static u32
ide_identify(int unit)
{
  static u16 id[BSIZE / 2];

  outb(IDE_CTL, CTL_NIEN);
  outb(IDE_DRIVE, (u8)(DRIVE_LBA | (unit ? DRIVE_UNIT : 0)));
  if(inb(IDE_STATUS) == 0xff || ide_wait() <= 0)
    return 0; // no channel, or no drive
  outb(IDE_CMD, CMD_IDENTIFY);
  int status = ide_wait();
  if(status <= 0 || (status & STATUS_ERR) || (status & STATUS_DRQ) == 0)
    return 0; // a CD drive answers with an error
  insl(IDE_DATA, id, sizeof(id) / 4);
  disk.has_flush = (id[83] & 0xd000) == 0x5000; // word 83: bit 12, and bits 15-14 are 01 if it is valid
  return id[60] | (u32)id[61] << 16;            // words 60-61: sectors in 28-bit addressing
}

// Give the first buffer of the queue to the drive.  Caller holds disk.lock.
static void
ide_start(void)
{
  struct buf *b = disk.queue;
  u32 lba = b->blockno;

  if(ide_wait() < 0)
    panic("disk: drive ide%d does not answer", disk.unit);
  if(b == &disk.flush) {
    outb(IDE_DRIVE, (u8)(DRIVE_LBA | (disk.unit ? DRIVE_UNIT : 0)));
    outb(IDE_CMD, CMD_FLUSH);
    return;
  }
  outb(IDE_COUNT, 1);
  outb(IDE_LBA0, (u8)lba);
  outb(IDE_LBA1, (u8)(lba >> 8));
  outb(IDE_LBA2, (u8)(lba >> 16));
  outb(IDE_DRIVE, (u8)(DRIVE_LBA | (disk.unit ? DRIVE_UNIT : 0) | (lba >> 24 & 0xf)));
  if(!b->dirty) {
    outb(IDE_CMD, CMD_READ);
    return;
  }
  outb(IDE_CMD, CMD_WRITE);
  int status = ide_wait();
  if(status < 0 || (status & STATUS_DRQ) == 0)
    panic("disk: drive ide%d takes no data for block %u", disk.unit, lba);
  outsl(IDE_DATA, b->data, BSIZE / 4);
}

static const char *
what_is(const struct buf *b)
{
  if(b == &disk.flush)
    return "flush";
  return b->dirty ? "write" : "read";
}

// The drive has done the first buffer of the queue: wake its caller, start the next.
void
disk_intr(void)
{
  acquire(&disk.lock);
  struct buf *b = disk.queue;
  int status = ide_wait(); // reading it acknowledges the interrupt
  if(b == 0) {
    release(&disk.lock);
    return; // left over from the probe
  }
  // Going on without the block would write nonsense over a good disk.
  if(status < 0 || (status & (STATUS_ERR | STATUS_DF)))
    panic("disk: %s error at block %u", what_is(b), b->blockno);
  if(!b->dirty) {
    insl(IDE_DATA, b->data, BSIZE / 4);
    b->valid = 1;
  }
  b->dirty = 0;
  disk.queue = b->qnext;
  if(disk.queue)
    ide_start();
  wakeup(b);
  release(&disk.lock);
}

static void
ide_rw(struct buf *b)
{
  acquire(&disk.lock);
  struct buf **end = &disk.queue;
  while(*end)
    end = &(*end)->qnext;
  b->qnext = 0;
  *end = b;
  if(disk.queue == b)
    ide_start();
  while(b->dirty || !b->valid)
    sleep(b, &disk.lock);
  release(&disk.lock);
}

// ---- both -----------------------------------------------------------------

static void
ram_rw(struct buf *b)
{
  u8 *block = disk.ram + b->blockno * BSIZE;

  if(b->dirty)
    memmove(block, b->data, BSIZE);
  else
    memmove(b->data, block, BSIZE);
  b->valid = 1;
  b->dirty = 0;
}

// Write the buffer to the disk if it is dirty, else read it; then it is valid.
// Caller holds b->lock.  Sleeps.
void
disk_rw(struct buf *b)
{
  if(b->blockno >= disk.nblocks)
    panic("disk: block %u of %u", b->blockno, disk.nblocks);
  if(disk.ram)
    ram_rw(b);
  else
    ide_rw(b);
}

// Return when all that was written so far would survive a power cut.  Sleeps.
// One caller at a time: log.c, which commits or recovers.
void
disk_flush(void)
{
  if(disk.ram || !disk.has_flush) // a drive too old for the command has no such cache
    return;
  disk.flush.valid = 1;
  disk.flush.dirty = 1;
  ide_rw(&disk.flush);
}

u32
disk_blocks(void)
{
  return disk.nblocks;
}

static void
ram_init(void)
{
  disk.nblocks = (bootinfo.mod_end - bootinfo.mod_start) / BSIZE;
  if(disk.nblocks == 0)
    panic("no root disk: root=ram needs an image; give QEMU -initrd fs.img");
  disk.ram = P2V(bootinfo.mod_start);
}

static void
ide_init(int unit)
{
  disk.unit = unit;
  disk.nblocks = ide_identify(unit);
  if(disk.nblocks == 0)
    panic("no root disk: give QEMU -initrd fs.img, or -drive file=fs.img,if=ide,index=%d,format=raw", unit);
  outb(IDE_CTL, 0); // interrupts on
  ioapic_enable(IRQ_IDE, cpus[0].apicid);
}

// Find the root disk: the one that root= names, else the module, else ide0.
void
disk_init(void)
{
  const char *root = opt_str("root");

  initlock(&disk.lock, "disk");
  disk.lock.why = SLEEPWHY_DISK;
  if(root == 0)
    root = bootinfo.mod_end > bootinfo.mod_start ? "ram" : "ide0";
  if(strcmp(root, "ram") == 0)
    ram_init();
  else if(strcmp(root, "ide0") == 0)
    ide_init(0);
  else if(strcmp(root, "ide1") == 0)
    ide_init(1);
  else
    panic("no root disk: root=%s is not ram, ide0 or ide1", root);
}
