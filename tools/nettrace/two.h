// Two machines on one wire: what two.c works out and two_ladder.c draws.
#ifndef NETTRACE_TWO_H
#define NETTRACE_TWO_H

#include "tool.h"

// One of the machines, A (0) or B (1).
struct side {
  struct session s;
  struct selection sel;
  struct labels labels;
  u32 *other; // frame -> the same frame in the other capture, or NOREC
  u8 *twice;  // sent frame: arrived more than once
  u32 n[5];   // frames sent, by enum arrival
  u32 at;     // next item to be ordered
};
// What became of a frame that one machine sent.
enum arrival {
  AR_ONCE,
  AR_TWICE,   // or more often
  AR_DAMAGED, // other bytes, the same packet
  AR_LOST,
  AR_ABSENT, // sent while the other machine was not there
};
// One row: an item of a side, at a time on A's clock.
struct row {
  u8 side;
  u32 item;
  i64 w;
};
// A frame in both captures, with both stamps.
struct tie {
  i64 w[2];
  bool to_b;
};
// A stretch in which the clocks differ by one number: a machine that is stopped
// and goes on begins a new one.
#define MAXRUNS 16
struct run {
  i64 from;        // on B's clock
  i64 lo, hi;      // A's clock - B's clock lies between these
  bool bounded[2]; // is there a frame that bounds it from below, from above?
};
struct two {
  struct side side[2];
  struct tie *tie;
  u32 ntie, tiecap;
  struct run run[MAXRUNS];
  u32 nrun;
  struct row *row;
  u32 nrow, crossed; // rows whose cause stands behind them
  bool shared;       // one capture for both: its clock is both machines'
};
int two_open(struct two *t, struct opts *o);
enum arrival two_arrival(const struct two *t, int side, u32 frame);
bool two_copy(const struct two *t, int side, u32 frame);
bool two_damaged(const struct two *t, int side, u32 frame);
char *two_band(const struct two *t);
i64 two_on_a(const struct two *t, int side, i64 w);
void two_info(const struct two *t, const struct opts *o, FILE *f);
int two_ladder(struct two *t, const struct opts *o, FILE *f);
int two_select(struct two *t, const struct opts *o, bool pick);
bool two_is_shown(const struct two *t, const struct row *r);
const char *two_fault(const struct two *t, const struct row *r);
int two_html(struct two *t, const struct opts *o, FILE *f);
int two_merge(struct two *t, const struct opts *o, FILE *f);

#endif
