// Page tables.
//
// The kernel's half (entries 512 up of a page directory) is built once and
// copied into every page directory, so no kernel mapping can exist in one
// process only, and a fork costs no page table for the kernel:
//
//   KERNBASE   all RAM, 4 MiB pages; the first 4 MiB in small pages, so that
//              text and rodata are read-only
//   KSTACKS    kernel stacks, a hole below each
//   DEVSPACE   device registers, identity mapped, not cached
//
// The user half belongs to one process, whose only thread is the only one that
// changes it: no lock.
#include "defs.h"
#include "proc.h"
#include "x86.h"
#include "uapi/memlayout.h"

#define USER_PDES PDX(KERNBASE)
#define SLOT      (2 * KSTACKSIZE) // of a kernel stack: hole, then stack
#define NSLOTS    (NPROC + NCPU)
_Static_assert(NSLOTS *SLOT <= SUPERPAGE, "kernel stacks need one page table");

static pde_t kernel_dir[1024] __attribute__((aligned(PGSIZE)));
static pte_t low_table[1024] __attribute__((aligned(PGSIZE)));   // first 4 MiB of RAM
static pte_t stack_table[1024] __attribute__((aligned(PGSIZE))); // kernel stacks
pde_t *kpgdir = kernel_dir;

// Text and rodata read-only, the rest writable.
static void
map_low(void)
{
  for(u32 i = 0; i < 1024; i++) {
    u32 pa = i * PGSIZE;
    int readonly = pa >= V2P(_kernel_start) && pa < V2P(_rodata_end);
    low_table[i] = pa | PTE_P | PTE_G | (readonly ? 0 : PTE_W);
  }
}

static void
map_stacks(void)
{
  u32 npages = KSTACKSIZE / PGSIZE;
  char *mem = (char *)bootmem(NSLOTS * npages);
  for(int slot = 0; slot < NSLOTS; slot++)
    for(u32 i = 0; i < npages; i++, mem += PGSIZE)
      stack_table[PTX(kstack_of(slot)) + i] = V2P(mem) | PTE_P | PTE_W | PTE_G;
}

// Bottom of kernel stack number slot: NPROC processes, then NCPU schedulers.
// What is pushed below it faults.
char *
kstack_of(int slot)
{
  return (char *)KSTACKS + slot * SLOT + KSTACKSIZE;
}

// Context: booting, one CPU, paging on with boot.S's page directory.
void
kvm_init(void)
{
  map_low();
  map_stacks();
  kernel_dir[PDX(KERNBASE)] = V2P(low_table) | PTE_P | PTE_W;
  for(u32 pa = SUPERPAGE; pa < PHYSTOP; pa += SUPERPAGE)
    kernel_dir[PDX(P2V(pa))] = pa | PTE_P | PTE_W | PTE_PS | PTE_G;
  kernel_dir[PDX(KSTACKS)] = V2P(stack_table) | PTE_P | PTE_W;
  for(u32 i = PDX(DEVSPACE); i < 1024; i++)
    kernel_dir[i] = i << 22 | PTE_P | PTE_W | PTE_PS | PTE_G | PTE_PCD | PTE_PWT;
  kvm_load();
}

// This CPU leaves boot.S's page directory, or a process's.
void
kvm_load(void)
{
  lcr4(rcr4() | CR4_PSE | CR4_PGE);
  lcr3(V2P(kpgdir));
}

void
switch_uvm(struct proc *p)
{
  pushcli();
  mycpu()->pgdir = p->pgdir;
  lcr3(V2P(p->pgdir));
  popcli();
}

pde_t *
uvm_create(void)
{
  pde_t *dir = (pde_t *)kalloc();
  if(dir == 0)
    return 0;
  memset(dir, 0, USER_PDES * sizeof(pde_t));
  memmove(dir + USER_PDES, kpgdir + USER_PDES, PGSIZE - USER_PDES * sizeof(pde_t));
  return dir;
}

// The entry for user address va; makes the page table if told to.  0: there is
// none, or no memory.
static pte_t *
walk(pde_t *dir, u32 va, int make)
{
  pde_t *pde = &dir[PDX(va)];
  if(!(*pde & PTE_P)) {
    char *table = make ? kalloc() : 0;
    if(table == 0)
      return 0;
    memset(table, 0, PGSIZE);
    *pde = V2P(table) | PTE_P | PTE_W | PTE_U; // the pages' own bits decide
  }
  return (pte_t *)P2V(PTE_ADDR(*pde)) + PTX(va);
}

// Map page mem (kernel address) at va.  -1 without memory for a page table.
static int
map(pde_t *dir, u32 va, char *mem, u32 flags)
{
  pte_t *pte = walk(dir, va, 1);
  if(pte == 0)
    return -1;
  if(*pte & PTE_P)
    panic("vm: 0x%x is mapped already", va);
  *pte = V2P(mem) | flags;
  return 0;
}

// Zeroed pages from PGROUNDUP(from) up to to, flags PTE_W or 0.
// -1: memory is short, to is not a user address, or the caller was killed meanwhile;
// nothing was added.
int
uvm_alloc(pde_t *dir, u32 from, u32 to, u32 flags)
{
  u32 start = PGROUNDUP(from);
  if(to > KERNBASE)
    return -1;
  if(to > start && (to - start) / PGSIZE > kfree_pages())
    return -1; // no taking of all there is, for seconds, to see that it does not do
  for(u32 va = start; va < to; va += PGSIZE) {
    char *mem = myproc()->killed ? 0 : kalloc(); // who is to end needs no more
    if(mem == 0 || map(dir, va, mem, flags | PTE_U | PTE_P) < 0) {
      if(mem)
        kfree(mem);
      uvm_dealloc(dir, start, va);
      return -1;
    }
    memset(mem, 0, PGSIZE);
  }
  return 0;
}

// Give back the pages from PGROUNDUP(from) up to to.  The caller flushes the
// TLB if the directory is in use.
void
uvm_dealloc(pde_t *dir, u32 from, u32 to)
{
  for(u32 va = PGROUNDUP(from); va < to; va += PGSIZE) {
    pte_t *pte = walk(dir, va, 0);
    if(pte == 0) {
      va = (PDX(va) + 1) * SUPERPAGE - PGSIZE; // no page table here: on to the next
      continue;
    }
    if(*pte & PTE_P)
      kfree(P2V(PTE_ADDR(*pte)));
    *pte = 0;
  }
}

// Context: thread, no spinlock held: other CPUs may have to let go of it.
void
uvm_free(pde_t *dir)
{
  cpu_forget_pgdir(dir);
  uvm_dealloc(dir, 0, KERNBASE);
  for(u32 i = 0; i < USER_PDES; i++)
    if(dir[i] & PTE_P)
      kfree(P2V(PTE_ADDR(dir[i])));
  kfree((char *)dir);
}

static int
copy_table(pde_t *to, const pte_t *table, u32 base)
{
  for(u32 i = 0; i < 1024; i++) {
    if(!(table[i] & PTE_P))
      continue;
    char *mem = kalloc();
    if(mem == 0 || map(to, base + i * PGSIZE, mem, PTE_FLAGS(table[i])) < 0) {
      if(mem)
        kfree(mem);
      return -1;
    }
    memmove(mem, P2V(PTE_ADDR(table[i])), PGSIZE);
  }
  return 0;
}

// A copy of the user half, holes and permissions included.
pde_t *
uvm_copy(pde_t *from)
{
  pde_t *to = uvm_create();
  if(to == 0)
    return 0;
  for(u32 i = 0; i < USER_PDES; i++)
    if((from[i] & PTE_P) && copy_table(to, P2V(PTE_ADDR(from[i])), i * SUPERPAGE) < 0) {
      uvm_free(to);
      return 0;
    }
  return to;
}

char *
uvm_page(pde_t *dir, u32 va, u32 need)
{
  if(va >= KERNBASE)
    return 0;
  pte_t *pte = walk(dir, va, 0);
  need |= PTE_P | PTE_U;
  if(pte == 0 || (*pte & need) != need)
    return 0;
  return P2V(PTE_ADDR(*pte));
}

// Copy to va in an address space that need not be the current one, read-only
// pages included.
int
uvm_write(pde_t *dir, u32 va, const void *src, u32 n)
{
  for(const char *s = src; n > 0;) {
    char *page = uvm_page(dir, va, 0);
    if(page == 0)
      return -1;
    u32 off = va % PGSIZE;
    u32 len = n < PGSIZE - off ? n : PGSIZE - off;
    memmove(page + off, s, len);
    s += len, va += len, n -= len;
  }
  return 0;
}
