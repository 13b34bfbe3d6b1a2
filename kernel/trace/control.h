// What the control lines of /dev/nettrace need of each other's files.
#ifndef TRACE_CONTROL_H
#define TRACE_CONTROL_H

#include "uapi/types.h"
#include "sleeplock.h"
#include "trace/reader.h"

extern struct sleeplock trace_ctl; // who has the trace open, and what is recorded
extern char last_err[NLINE];       // why the last line of any open was refused

void control_init(void);
int control_write(struct reader *, const char *src, int n);
const char *trace_patterns(const char *arg, u32 n, u8 *set, int val);
void trace_reselect(void); // record what the base set or any reader wants
void trace_requiet(void);  // is the current process to be traced?
void take_snap(void);      // the `snap` command

#endif
