// Spinlock: held for a few instructions, with interrupts off, never across sleep.
#ifndef SPINLOCK_H
#define SPINLOCK_H

#include "uapi/types.h"

struct spinlock {
  u32 locked;       // 1 while held
  const char *name; // what it guards, for panic
  struct cpu *cpu;  // the CPU that holds it
  u8 why;           // SLEEPWHY_...: what one waits for who sleeps with it
  u8 class;         // lockcheck.c's, in the debug kernel; 0 not known yet
  u32 pc;           // who took it: return address of acquire
};

#endif
