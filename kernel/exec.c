// exec: replace the calling process's program.
//
// sys_exec and the first process call it.  The new image is built in a page
// directory of its own, written through the kernel's mapping; only when it is
// complete does the process change over, so a failure leaves the caller as it
// was.  Address space, from 0 up: segments as the file says, a guard page that
// is not there, the stack; the heap begins behind it.

#include "defs.h"
#include "file.h"
#include "proc.h"
#include "trace/trace.h"
#include "uapi/memlayout.h"
#include "uapi/stat.h"
#include "x86.h"

#define STACKPAGES 4
#define ARGBYTES   4096 // strings, pointers and frame together, whatever the stack's size
#define MAXPHDR    16

// System V ABI, Intel386 supplement: the parts of an ELF file we read.
struct elfhdr {
  u8 ident[16]; // 0x7f E L F, class, byte order, version
  u16 type, machine;
  u32 version, entry, phoff, shoff, flags;
  u16 ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct proghdr {
  u32 type, off, vaddr, paddr, filesz, memsz, flags, align;
};

#define ET_EXEC 2
#define EM_386  3
#define PT_LOAD 1
#define PF_W    2

// The new program while it is being built, on exec's stack.
struct image {
  pde_t *dir;   // page directory
  u32 sz;       // end of what is there
  u32 entry;    // where it starts
  int entry_ok; // a loaded segment contains entry
  u32 sp;       // its stack pointer
};

static int
good_header(const struct elfhdr *h, u32 filesize)
{
  // 32-bit, little-endian, version 1
  static const u8 ident[] = {0x7f, 'E', 'L', 'F', 1, 1, 1};
  u32 table = (u32)h->phnum * sizeof(struct proghdr);

  return memcmp(h->ident, ident, sizeof(ident)) == 0 && h->type == ET_EXEC && h->machine == EM_386 &&
         h->phentsize == sizeof(struct proghdr) && h->phnum <= MAXPHDR &&
         table <= filesize && h->phoff <= filesize - table;
}

// In the file, page-aligned, below the kernel, behind the segment before.
static int
good_segment(const struct proghdr *ph, u32 filesize, u32 sz)
{
  return ph->vaddr % PGSIZE == 0 && ph->filesz <= ph->memsz &&
         ph->filesz <= filesize && ph->off <= filesize - ph->filesz &&
         ph->vaddr >= sz && ph->vaddr < KERNBASE && ph->memsz < KERNBASE - ph->vaddr;
}

// Load one segment.  Caller holds ip->lock.
static int
load_segment(struct inode *ip, const struct proghdr *ph, struct image *im)
{
  if(ph->memsz == 0 && ph->filesz == 0)
    return 0; // linkers leave such behind, anywhere
  if(!good_segment(ph, ip->size, im->sz))
    return -1;
  u32 end = ph->vaddr + ph->memsz;
  if(uvm_alloc(im->dir, ph->vaddr, end, ph->flags & PF_W ? PTE_W : 0) < 0)
    return -1;
  im->sz = PGROUNDUP(end);
  im->entry_ok |= im->entry >= ph->vaddr && im->entry < end;
  for(u32 i = 0; i < ph->filesz; i += PGSIZE) {
    u32 n = ph->filesz - i < PGSIZE ? ph->filesz - i : PGSIZE;
    if(readi(ip, uvm_page(im->dir, ph->vaddr + i, 0), ph->off + i, n) != (int)n)
      return -1;
  }
  return 0;
}

// Load all segments of an executable.  Caller holds ip->lock.
static int
load_file(struct inode *ip, struct image *im)
{
  struct elfhdr h;
  struct proghdr ph;

  if(ip->type != T_FILE || readi(ip, (char *)&h, 0, sizeof(h)) != sizeof(h) || !good_header(&h, ip->size))
    return -1;
  im->entry = h.entry;
  for(u32 i = 0; i < h.phnum; i++) {
    if(readi(ip, (char *)&ph, h.phoff + i * sizeof(ph), sizeof(ph)) != sizeof(ph))
      return -1;
    if(ph.type == PT_LOAD && load_segment(ip, &ph, im) < 0)
      return -1;
  }
  return im->entry_ok ? 0 : -1;
}

// Find path and load it.
static int
load(const char *path, struct image *im)
{
  begin_op();
  struct inode *ip = namei(path);
  int r = -1;
  if(ip) {
    ilock(ip);
    r = load_file(ip, im);
    iunlockput(ip);
  }
  end_op();
  return r;
}

// Lay out the stack: strings at the top, below them argv[] with its 0, and
// the frame of main(argc, argv), whose return address is no address.
static int
build_stack(struct image *im, char **argv)
{
  u32 frame[3 + MAXARG + 1], argc = 0; // return address, argc, argv, argv[]
  u32 bottom = im->sz + PGSIZE, top = bottom + STACKPAGES * PGSIZE, sp = top;

  if(top < im->sz || uvm_alloc(im->dir, bottom, top, PTE_W) < 0)
    return -1;
  for(; argv[argc]; argc++) {
    u32 n = strlen(argv[argc]) + 1;
    if(argc == MAXARG || n > ARGBYTES - (top - sp))
      return -1;
    sp = (sp - n) & ~3;
    if(top - sp > ARGBYTES || uvm_write(im->dir, sp, argv[argc], n) < 0)
      return -1;
    frame[3 + argc] = sp;
  }
  frame[3 + argc] = 0;
  u32 size = (3 + argc + 1) * sizeof(u32);
  frame[0] = 0xffffffff;
  frame[1] = argc;
  frame[2] = sp - (argc + 1) * sizeof(u32);
  sp -= size;
  if(top - sp > ARGBYTES || uvm_write(im->dir, sp, frame, size) < 0)
    return -1;
  im->sz = top;
  im->sp = sp;
  return 0;
}

static const char *
last_component(const char *path)
{
  const char *last = path;

  for(; *path; path++)
    if(path[0] == '/' && path[1] && path[1] != '/')
      last = path + 1;
  return last;
}

// The registers a program begins with: none of the old one's flags, segments
// or values.
static void
start_registers(struct trapframe *tf, const struct image *im)
{
  const u16 data = SEG_UDATA << 3 | DPL_USER;

  *tf = (struct trapframe){
    .eip = im->entry,
    .esp = im->sp,
    .cs = SEG_UCODE << 3 | DPL_USER,
    .ds = data,
    .es = data,
    .ss = data,
    .eflags = FL_IF,
  };
}

// Run the program at path with the arguments argv[], which ends in 0.  0, and
// the process is the new program as soon as it is in user mode again; -1, and
// it is as before.  path and argv may lie in the old image.
int
exec(char *path, char **argv)
{
  struct proc *p = myproc();
  struct image im = {.dir = uvm_create()};

  if(im.dir == 0)
    return -1;
  if(load(path, &im) < 0 || build_stack(&im, argv) < 0) {
    uvm_free(im.dir);
    return -1;
  }
  safestrcpy(p->name, last_component(path), sizeof(p->name));
  pde_t *old = p->pgdir;
  p->pgdir = im.dir;
  p->sz = p->heap = im.sz;
  start_registers(p->tf, &im);
  switch_uvm(p);
  uvm_free(old); // path and argv are gone
  TRACE(proc, .pkt = 0, .sock = 0, .ppid = (u16)(p->parent ? p->parent->pid : 0), .what = PROCWHAT_EXEC,
        .name = name16_at(p->name));
  return 0;
}
