// Sleep-lock: its holder may sleep and be preempted; a taker sleeps.
#ifndef SLEEPLOCK_H
#define SLEEPLOCK_H

#include "spinlock.h"

struct sleeplock {
  struct spinlock lk; // guards owner and waiting
  struct proc *owner; // 0 while free
  u32 waiting;        // how many sleep for it
  const char *name;
  u8 class; // lockcheck.c's, in the debug kernel; 0 not known yet
};

#endif
