// What the debug kernel (make DEBUG=1) checks, as seen by the code that is
// checked.  In the plain kernel each of these is nothing: the list below is of
// functions in the one, of empty macros in the other.
#ifndef DEBUG_H
#define DEBUG_H

#include "uapi/types.h"

struct klocks;
struct sleeplock;
struct spinlock;

#ifdef DEBUG

// memcheck.c
void page_out(void *page);   // kalloc gives it to somebody
void page_back(void *page);  // kfree has got it back
void stack_guard_init(void); // another one at each boot; the caller never returns
int fail_now(void);          // shall this allocation fail?  Asked by each allocator
void fail_boot(void);        // begin to count as failnth= says
int fail_nth(u32 k);         // the k-th from now shall, 0 none; what was left of the last k

// lockcheck.c
void lock_wants(struct spinlock *);
void lock_has(struct spinlock *);
void lock_lets_go(struct spinlock *);
void lock_sleeps(struct spinlock *); // sleep_why: that one is given up
void lock_none(void);                // a system call has ended
void slock_wants(struct sleeplock *);
void slock_waits(struct sleeplock *);
void slock_has(struct sleeplock *);
void slock_lets_go(struct sleeplock *);
int lock_figures(struct klocks *); // 0

// plant.c
int plant(int n); // make fault n of uapi/sys.h

#define ASSERT(x) ((x) ? (void)0 : panic("%s:%d: not so: %s", __FILE__, __LINE__, #x))

#else

#define page_out(page)     ((void)(page))
#define page_back(page)    ((void)(page))
#define stack_guard_init() ((void)0)
#define fail_now()         0
#define fail_boot()        ((void)0)
#define lock_wants(lk)     ((void)(lk))
#define lock_has(lk)       ((void)(lk))
#define lock_lets_go(lk)   ((void)(lk))
#define lock_sleeps(lk)    ((void)(lk))
#define lock_none()        ((void)0)
#define slock_wants(l)     ((void)(l))
#define slock_waits(l)     ((void)(l))
#define slock_has(l)       ((void)(l))
#define slock_lets_go(l)   ((void)(l))
#define ASSERT(x)          ((void)0)
#define lock_figures(k)    (-1)
#define fail_nth(k)        (-1)
#define plant(n)           (-1)

#endif

#endif
