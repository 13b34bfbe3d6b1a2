// Sleep-lock: its holder may sleep and be preempted; a taker sleeps.
#ifndef SLEEPLOCK_H
#define SLEEPLOCK_H

#include "spinlock.h"

struct sleeplock {
  struct spinlock lk; // guards the two words below
  struct proc *owner; // 0 while free
  const char *name;
  u8 class; // lockcheck.c's, in the debug kernel; 0 not known yet
};

#endif
