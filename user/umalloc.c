// malloc and free: free blocks in one list, sorted by address, first fit.
//
// A freed block is joined with its neighbours at once.  Blocks are multiples
// of 8 bytes behind an 8-byte header, so what malloc returns is 8-byte aligned.
// Memory comes from sbrk in steps of 32 KiB and is never given back.
#include "types.h"
#include "user.h"

#define GROW (32 * 1024)

// In front of every block; next counts only while the block is free.
struct block {
  uint size; // bytes, this header included
  struct block *next;
};

_Static_assert(sizeof(struct block) == 8, "block");

static struct block *freelist;

// Put a block into the list, joined with the neighbours it touches.
static void
give(struct block *b)
{
  struct block **pp = &freelist, *prev = 0;
  while(*pp && *pp < b) {
    prev = *pp;
    pp = &prev->next;
  }
  b->next = *pp;
  *pp = b;
  if(b->next && (char *)b + b->size == (char *)b->next) {
    b->size += b->next->size;
    b->next = b->next->next;
  }
  if(prev && (char *)prev + prev->size == (char *)b) {
    prev->size += b->size;
    prev->next = b->next;
  }
}

// Ask the kernel for at least size bytes more; 0, or -1 without memory.
static int
grow(uint size)
{
  uint n = size > GROW ? size : GROW;
  n += 8; // the break may stand at any address if the program moved it
  if(n > 0x7fffffff)
    return -1;
  char *p = sbrk(n);
  if(p == (char *)-1)
    return -1;
  uint skip = -(uint)p & 7;
  struct block *b = (struct block *)(p + skip);
  b->size = (n - skip) & ~7u;
  give(b);
  return 0;
}

// The first free block of at least size bytes, cut to size; 0 if there is none.
// The front is handed out: the rest then lies behind it, where the memory that
// grow adds joins it, so that the list stays short while a program only takes.
static struct block *
take(uint size)
{
  for(struct block **pp = &freelist; *pp; pp = &(*pp)->next) {
    struct block *b = *pp;
    if(b->size < size)
      continue;
    if(b->size - size >= 2 * sizeof(*b)) {
      struct block *rest = (struct block *)((char *)b + size);
      rest->size = b->size - size;
      rest->next = b->next;
      b->size = size;
      *pp = rest;
    } else {
      *pp = b->next;
    }
    return b;
  }
  return 0;
}

// n bytes, not cleared; 0 when memory is gone.
void *
malloc(uint n)
{
  if(n > 0x7fff0000)
    return 0;
  uint size = ((n + 7) & ~7u) + sizeof(struct block);
  struct block *b = take(size);
  if(b == 0 && grow(size) == 0)
    b = take(size);
  return b ? b + 1 : 0;
}

void
free(void *p)
{
  if(p)
    give((struct block *)p - 1);
}
