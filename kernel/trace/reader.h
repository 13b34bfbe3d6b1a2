// One reader of the rings: what it has read, what it wants, what it lost.
//
// devtrace.c opens and closes readers and hands out what reader.c finds for them;
// control.c changes what they want, filter.c decides about a record.
#ifndef TRACE_READER_H
#define TRACE_READER_H

#include "uapi/types.h"
#include "uapi/memlayout.h"
#include "uapi/nettrace.h"
#include "sleeplock.h"
#include "trace/filter.h"
#include "trace/trace.h"

#define NREADER  16
#define NLINE    128 // characters of a command, with its end
#define TEXTSIZE (sizeof(struct nt_header) + ((trace_meta_len + 63) & ~63u))

// One per reader and ring.  At any moment
// delivered + lost + filtered + (head of the ring - cur) == head of the ring - start.
struct lane {
  u32 start, cur; // numbers of slots since boot
  u32 head;       // the ring's, when last looked at
  u32 delivered, lost, filtered;
  u32 gap, gap_seq; // lost and not yet told the reader; number of the first
  u8 gap_why;
  u64 last_ts; // of the last record passed
};

// One per open of minor 0 for reading; f->priv points here.
// [l] lock  [c] trace_ctl  [t] read by the timer tick, which looks again
struct reader {
  struct sleeplock lock;
  u8 used;                       // [c]
  u8 self;                       // [c] its own process is traced, too
  u8 lossless;                   // [c] writers wait for it
  int pid;                       // [c] who opened it
  u8 view[NT_MAXEV];             // [c] VIEW_
  struct filter filter[NFILTER]; // [l]
  u32 nfilter;                   // [l]
  struct only only;              // [l]
  struct lane lane[NT_MAXCPU];   // [l], head [t]
  u64 t0;                        // [l] nothing younger is released, see reader_look
  u32 text_off;                  // [l] bytes of header and metadata already read
  struct nt_header hdr;          // [l]
  struct nt_slot rec[NT_MAXNSL]; // [l] the record to be handed out next
  u32 nrec;                      // [l] its slots, 0: none found yet
  int rec_cpu;                   // [l] whose it is, -1: made by the reader
  u32 sync;                      // [l] reader_stat records still to be made
  u32 timeout_ms;                // [l] of a read, 0: no limit
  u32 waiting;                   // [t] processes asleep in read
  u8 polled;                     // [t] poll has said: nothing to read
  char err[NLINE];               // [c] why the last command was refused
};

// reader.view: an event is delivered if this reader or the base set wants it.
#define VIEW_BASE 0
#define VIEW_ON   1
#define VIEW_OFF  2

extern struct reader readers[NREADER];
extern u8 ever_base[NT_MAXEV]; // [c] was in the base set at some time

void reader_init(void);
void reader_start(struct reader *);             // an open: from the oldest record on
void reader_seek(struct reader *, u32 back);    // at most back slots behind the heads
int reader_fill(struct reader *);               // find the next record: 1 if there is one
u32 reader_take(struct reader *, char *dst);    // hand it out: its bytes
int reader_news(const struct reader *);         // anything since it looked?
u8 reader_text(const struct reader *, u32 off); // of the bytes before the first record
void readers_floor(void);                       // tell the writers how far all have come

static inline int
ring_frozen(void)
{
  return (nt_page.hdr.flags & NT_FROZEN) != 0;
}

static inline int
ring_here(u32 cpu)
{
  return nt_page.cpu[cpu].ring_pa != 0;
}

static inline u32
ring_head(u32 cpu)
{
  return *(volatile u32 *)&nt_page.cpu[cpu].head;
}

static inline struct nt_slot *
ring_slot(u32 cpu, u32 s)
{
  return (struct nt_slot *)P2V(nt_page.cpu[cpu].ring_pa) + (s & nt_page.cpu[cpu].mask);
}

static inline u32
slot_seq(const struct nt_slot *slot)
{
  return *(const volatile u32 *)&slot->seq;
}

#endif
