// What the files of the program nettrace share.
#ifndef NTPROG_H
#define NTPROG_H

#include "types.h"
#include "ntread.h"

// The stream this process reads; its metadata.
extern struct ntread tr;

// Open the trace for reading, or die: flags 0 or O_NONBLOCK; commands: n control
// lines that it obeys before the first record.
void trace_open(int flags, char *const commands[], int n);

// A stamp, or a difference of two, in ns.
u64 trace_ns(u64 tsc);

// Output through one buffer, so that a line is written whole: out has what is not yet
// written.
extern struct nt_line out;
void out_flush(void);
void out_line(void); // end the line; flush if there may be no room for another

// why N, graph N: one packet.  Return the exit status.
int why(u32 pkt);
int graph(u32 pkt);

#endif
