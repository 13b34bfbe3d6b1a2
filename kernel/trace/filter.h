// Conditions on records: which of them a reader gets, which one stops the recorder.
//
// A filter is compiled from a control line and judged on a finished record; it
// holds no pointers but into tables that never change.
#ifndef TRACE_FILTER_H
#define TRACE_FILTER_H

#include "uapi/types.h"
#include "uapi/nettrace.h"
#include "trace/trace.h"

#define NFILTER 8  // per reader
#define NTERM   4  // per filter
#define NONLY   64 // packets that `only pkt` follows

// FIELD OP VALUE
struct term {
  const char *field; // name of the field
  const char *set;   // the value was a name of this set; 0: a number
  long long val;
  u8 op;
};

// Events matching a pattern pass only if all terms are true.
struct filter {
  u8 event[NT_MAXEV / 8]; // a bit for each
  struct term term[NTERM];
  u32 nterm;
};

enum {
  ONLY_ALL,
  ONLY_PKT,
  ONLY_SOCK,
  ONLY_PID,
  ONLY_FLOW
};

// The records of one thing alone.
struct only {
  u8 what;              // ONLY_
  u32 n;                // packets followed, or the number of sock or pid
  u32 pkt[NONLY];       // the first was asked for, the others come from it
  u32 addr[2], port[2]; // both ends of the flow, in host order
  u16 sock;             // the flow's, once seen
};

void filter_init(void);
const char *filter_make(struct filter *, char *text, int need); // 0, or why not
int filter_on(const struct filter *, u32 id);
int filter_pass(const struct filter *, const struct nt_slot *rec);
long long filter_value(const struct nt_slot *rec, const char *name);
const char *only_make(struct only *, char *text);
int only_pass(struct only *, const struct nt_slot *rec);
int scan_number(const char **s, long long *val); // 1 and behind it: decimal, 0x or a.b.c.d

#endif
