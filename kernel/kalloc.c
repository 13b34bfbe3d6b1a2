// Physical memory, by the page.
//
// RAM from _kernel_end (or the RAM disk's end) up: first what bootmem hands out
// for good while booting, then pages.  Pages never used yet are not on a list:
// they lie above `fresh`, so that booting does not touch all of RAM (which is a
// sparse file on the host).
#include "defs.h"
#include "debug.h"
#include "mmu.h"
#include "spinlock.h"
#include "uapi/memlayout.h"

struct page {
  struct page *next;
};

static struct {
  struct spinlock lock;
  struct page *free; // pages given back
  u32 nfree;         // how many
  u32 fresh;         // physical: pages never used, up to
  u32 end;           // here
} kmem;

static u32
boot_end(void)
{
  u32 kernel = V2P(_kernel_end);
  return PGROUNDUP(bootinfo.mod_end > kernel ? bootinfo.mod_end : kernel);
}

// npages contiguous zeroed pages that are never given back.
// Context: booting, one CPU, before kalloc_init.
u8 *
bootmem(u32 npages)
{
  if(kmem.fresh == 0)
    kmem.fresh = boot_end();
  if(npages > (bootinfo.ram_end - kmem.fresh) / PGSIZE)
    panic("bootmem: %u pages wanted, RAM ends at 0x%x; give QEMU more with -m", npages, bootinfo.ram_end);
  u8 *p = P2V(kmem.fresh);
  kmem.fresh += npages * PGSIZE;
  memset(p, 0, npages * PGSIZE);
  return p;
}

void
kalloc_init(void)
{
  initlock(&kmem.lock, "kmem");
  bootmem(0);
  kmem.end = PGROUNDDOWN(bootinfo.ram_end);
}

// One page, contents undefined; 0 when there is none.  Any context.
char *
kalloc(void)
{
  if(fail_now())
    return 0;
  acquire(&kmem.lock);
  struct page *p = kmem.free;
  if(p) {
    kmem.free = p->next;
    kmem.nfree--;
  } else if(kmem.fresh < kmem.end) {
    p = P2V(kmem.fresh);
    kmem.fresh += PGSIZE;
  }
  if(p)
    page_out(p);
  release(&kmem.lock);
  return (char *)p;
}

void
kfree(char *v)
{
  u32 pa = V2P(v);
  if(pa % PGSIZE || pa < boot_end() || pa >= kmem.end)
    panic("kfree: 0x%x is no page of ours", (u32)v);
  acquire(&kmem.lock);
  page_back(v);
  struct page *p = (struct page *)v;
  p->next = kmem.free;
  kmem.free = p;
  kmem.nfree++;
  release(&kmem.lock);
}

u32
kfree_pages(void)
{
  acquire(&kmem.lock);
  u32 n = kmem.nfree + (kmem.end - kmem.fresh) / PGSIZE;
  release(&kmem.lock);
  return n;
}

// Pages there are for programs and the kernel's own needs after booting.
u32
kalloc_total(void)
{
  return (kmem.end - boot_end()) / PGSIZE;
}
