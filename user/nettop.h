// nettop's rooms and what they share.
//
//   nettop.c         options, keys, the refresh loop
//   nettop_model.c   records -> flows, counts, drops, journeys; all of it in struct model
//   nettop_path.c    one packet: its records, its gaps, how long they took
//   nettop_views.c   struct model -> lines: the head, and which view stands below it
//   nettop_flow.c    view 1, the connections
//   nettop_packet.c  views 2 and 3: packets' journeys, drops
//   nettop_event.c   view 5, the events
//   nettop_filter.c  which lines are shown
//   nettop_inside.c  views 4, 6, 7: layers, one connection, CPUs; help
//   nettop_screen.c  lines -> cells -> the bytes that differ; the terminal
//
// The model never draws and the views never read the trace, so that a pause is a
// copy of the model.
#ifndef NETTOP_H
#define NETTOP_H

#include "types.h"
#include "sys.h"
#include "ntread.h"

#define NFLOW   128  // flows remembered
#define NSTEP   8    // of a flow's changes of state
#define NHIST   8192 // slots of records remembered
#define NPKT    2048 // packets remembered, a power of two
#define NJOURN  24   // records of one packet's journey
#define NSLOW   10   // slowest packets
#define NDROP   48   // reason and place of drops
#define NPROG   128  // program names
#define NPROC   64   // processes
#define NSPAN   64   // fields that are durations
#define NCARD   4    // network cards
#define NRECENT 256  // durations of which percentiles are taken, a power of two
#define NBUCKET 16   // of a histogram: below 1 us, 2, 4 ... 16 ms, more

#define KEEP_MS 10000 // a closed flow stays on the screen
#define SICK_MS 4000  // so long a flow is marked after a drop or retransmission

// One change of a connection's state.
struct step {
  u8 from, to, why;
  u32 dwell_us; // in from
};

// One per connection, listener or UDP socket.
struct flow {
  u32 born;                       // order of appearance, from 1
  u32 laddr, lport, raddr, rport; // its name; a listener has raddr 0
  u32 sock, owner, proto, state, backlog, backlog_max;
  u32 rx, tx; // bytes since it was made
  u32 rtt_us, cwnd, sndq, rcvq, rexmits, drops;
  u32 snap;                        // number of the last snapshot it was in
  u32 rx_old, tx_old, trouble_old; // as they were at the last refresh
  u32 rx_rate, tx_rate;            // bytes per second
  u32 sick_ms, gone_ms;            // when it last lost something, was found closed; 0 = not
  u64 state_tsc;                   // when it entered its state, 0 = before us
  struct step step[NSTEP];         // the last nstep, step[nstep % NSTEP] the next to go
  u32 nstep;
};

// Counted since the last refresh, then per second, and in total.
struct sums {
  u32 events, rx_bytes, rx_frames, tx_bytes, tx_frames, irqs;
};

// How long something took, in ns; what is longer than 4 s counts as that.
struct dist {
  u32 n, max;
  u32 hist[NBUCKET];
  u32 recent[NRECENT]; // the last ones
};

// What is known of a packet; one per packet remembered.
struct packet {
  u32 pkt;   // 0: free
  u32 last;  // its newest record in the history
  int mark;  // of the path it has passed last, see nettop_path.c
  u64 at;    // when that was
  u8 judged; // nothing new since it was compared with the slowest
};

// One packet's records in their order, with those that explain them.
struct journey {
  u32 pkt;
  u64 first, last; // stamps
  int n;
  struct nt_slot step[NJOURN];
};

// One per reason and place.
struct drop {
  u32 count, old, rate;
  u32 reason, eip;
  struct nt_slot last;
};

// One per process, of psinfo and of `switch`.
struct process {
  struct psinfo ps;
  u32 ticks_old, percent;
  u32 runs, runs_old, run_rate; // how often it got a CPU
};

struct model {
  u32 now, nsnap, nborn; // ms since boot; numbers given out
  struct flow flow[NFLOW];
  int nflow;
  struct sums sum, rate, total;
  u32 raw;                                   // records read since the last refresh, ours too
  u32 drops, reason, rexmits, lost;          // since nettop began, all but lost: since z
  u32 ip, link, mbps;                        // of en0
  u32 rx_free, rx_size, tx_used, tx_size;    // the card's rings
  u32 heap, seg, seg_max, pcb, tw, arp, mpc; // the stack's memory; frames the card had no room for
  u32 count[NT_MAXEV], count_old[NT_MAXEV], count_rate[NT_MAXEV];
  const char *state;                        // of the trace: on, off, frozen
  int lossy;                                // some were lost since the last refresh: its rates are too low
  u32 ring, discarded;                      // percent of a ring not yet read; refused by the writers
  int lossless;                             // pid of a reader the writers wait for
  u32 cpu[NT_MAXCPU];                       // percent of the time in which it did not idle
  u32 idle_ms[NT_MAXCPU], up_ms[NT_MAXCPU]; // since boot
  int ncpu;                                 // CPUs
  u64 irq_at[NCARD];                        // an interrupt of the card for frames not yet reaped, 0 = none
  u32 rx_next[NCARD];                       // 1 + the slot of its last frame, 0 = not known
  struct dist gap[16];                      // the path's, see nettop_path.c
  struct dist span[NSPAN];
  struct drop drop[NDROP];
  int ndrop;
  struct process proc[NPROC];
  int nproc;
  struct {
    u32 pid;
    char name[16];
  } prog[NPROG];
  u32 nprog;
  struct packet packet[NPKT];
  struct journey slow[NSLOW]; // the slowest first
  int nslow;
  u32 chosen;                      // flow whose last records are kept: its born, 0 none
  struct nt_slot latest[NT_MAXEV]; // of that flow, nsl 0: none
  u32 nhist;                       // number of the next slot, from NHIST on
  struct nt_slot hist[NHIST];
  u32 prev[NHIST]; // the same packet's record before this one, 0 = none
};

// What the person at the keyboard has chosen.
struct choice {
  int view; // V_FLOW ...
  int sort, reverse;
  int total, numeric, tail, help, paused, batch;
  u32 flow;        // selected flow, its born; 0 none
  u32 record;      // selected record of the events, 0: follow
  u32 pkt;         // packet whose journey is shown, 0: the slowest
  int row;         // selected row of other lists
  u32 interval_ms; // between two refreshes
  char filter[40];
};

enum {
  V_FLOW,
  V_PATH,
  V_DROP,
  V_LAYER,
  V_EVENT,
  V_PCB,
  V_CPU,
  NVIEW,
};

extern struct ntread tr;
extern struct model live;
extern struct choice want;
extern const char *const view_name[NVIEW];

// nettop_model.c
extern u32 tcp_closed; // what the metadata calls CLOSED
void model_begin(void);
void model_add(const struct nt_slot *);
void model_settle(u32 ms);
void model_zero(void);
void model_choose(struct model *, u32 born);
int is_noise(int id);
int other_proto(const struct flow *);
const struct flow *flow_born(const struct model *, u32 born);
int of_flow(const struct model *, const struct nt_slot *, u32 born);
const char *prog_name(const struct model *, u32 pid);
u32 per_second(u32 n, u32 ms);

// nettop_path.c
#define NUP  5 // gaps of a packet on its way up; those down follow
#define NGAP 10
extern const char *const gap_name[NGAP];
void path_begin(void);
void path_record(const struct nt_slot *);
void path_slowest(void);
void path_collect(const struct model *, u32 pkt, struct journey *);
void dist_add(struct dist *, u64 ns);
void dist_percentiles(const struct dist *, u32 *p50, u32 *p99);
u32 tsc_ns(u64 tsc);
u32 span_owner(int span, const struct nt_field **);
int span_count(void);
const struct nt_slot *hist_at(const struct model *, u32 number);

// nettop_views.c
void draw_views(const struct model *);
void to_column(struct nt_line *, int n);
void put_us(struct nt_line *, u32 ns);
void put_us_right(struct nt_line *, u32 ns, int width);
int wider(int most);
void put_state(struct nt_line *, const struct flow *);
void select_step(const struct model *, int by);
u32 selected_packet(const struct model *);

// nettop_flow.c
#define NSORT 10
extern const char *const sort_name[NSORT];
void view_flow(const struct model *);
void flow_step(const struct model *, int by);

// nettop_packet.c
void view_path(const struct model *);
void view_drop(const struct model *);

// nettop_event.c
void view_event(const struct model *);
void event_step(const struct model *, int by);
void draw_tail(const struct model *, int lines);
void put_time(struct nt_line *, u64 tsc, int seconds);

// nettop_filter.c
const char *filter_set(const char *text);
int filter_speaks(int view);
int record_matches(const struct model *, const struct nt_slot *, const char *line, int n);
int flow_matches(const struct model *, const struct flow *, const char *line, int n);

// nettop_inside.c
void draw_inside(const struct model *);
void draw_help(int lines);

// nettop_screen.c
extern int rows, cols; // of the sheet
void sheet_open(int nrows, int ncols);
int sheet_room(void);
void sheet_skip(int n);
struct nt_line sheet_line(void);
void sheet_bright(void);
void sheet_keys(const char *text, int n);
int sheet_text(int i, char *text);
void screen_show(int cursor);
void screen_forget(void);
void screen_leave(void);

#endif
