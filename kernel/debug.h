// What the debug kernel (make DEBUG=1) checks, as seen by the code that is
// checked.  In the plain kernel each of these is nothing.
#ifndef DEBUG_H
#define DEBUG_H

#include "uapi/types.h"

#ifdef DEBUG

// memcheck.c
void page_out(void *page);  // kalloc gives it to somebody
void page_back(void *page); // kfree has got it back
void stack_guard_init(void);
int fail_now(void);   // shall this allocation fail, as failnth= asks?
void fail_nth(u32 k); // the k-th from now shall; 0 none
#define ASSERT(x) ((x) ? (void)0 : panic("assert: %s:%d: %s", __FILE__, __LINE__, #x))

#else

static inline void
page_out(void *page)
{
  (void)page;
}

static inline void
page_back(void *page)
{
  (void)page;
}

static inline void
stack_guard_init(void)
{
}

static inline int
fail_now(void)
{
  return 0;
}

#define ASSERT(x) ((void)0)

#endif

#endif
