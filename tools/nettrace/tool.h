// The host tool's own declarations: one block per file, in the order data flows.
//
// input finds files, ring and pcapin read them, meta and decode give records a
// meaning, match joins records with captured frames, align puts both on one
// clock, timeline orders them; ladder, merge, dump, info, check, why print.
//
// No function here exits.  Those that can fail return a negative exit code
// (-3 unreadable, -4 contradiction) after seterr(); main.c prints the text.
// Memory is taken with xmalloc() and given back when the process ends, except
// by the readers that tests call in a loop (trace_free, capture_free, ...).
#ifndef NETTRACE_TOOL_H
#define NETTRACE_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include "../../kernel/uapi/nettrace.h" // by path: that folder also has a fcntl.h, so it must not be on the -I list

typedef long long i64;
typedef __int128 i128;

enum {
  EX_OK = 0,
  EX_FOUND = 1,    // check found something, wait timed out
  EX_BADUSE = 2,   // usage
  EX_BADIN = 3,    // unreadable or corrupt input, or cannot write
  EX_CONFLICT = 4, // clocks contradict each other
};

// out.c: messages, escaping, output files
extern char errtext[512];
int seterr(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
extern u64 max_mem; // bytes that a command may take
void limit_memory(bool on);
void *xmalloc(size_t n);
void *xrealloc(void *p, size_t n);
void *xgrow(void *p, u32 n, u32 *cap, size_t each);
char *xstrdup(const char *s);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void progress(const char *what);
size_t esc_text(char *to, size_t max, const u8 *s, size_t n);
void put_json(FILE *f, const char *s, size_t n);
char *ip_str(u32 ip);
char *mac_str(const u8 *mac);
char *us_str(i64 ns);
char *band_str(i64 ns);

// One output file: written under a temporary name, renamed when complete.
struct out {
  FILE *f;
  char *path; // 0 = standard output
  char *tmp;
};
int out_open(struct out *o, const char *path);
int out_close(struct out *o, bool keep);
// Text on its way to a file: with --ascii kept, and put into ASCII at the end.
struct plain {
  FILE *f, *to;
  char *text;
  size_t len;
};
FILE *plain_open(struct plain *p, FILE *to);
void plain_close(struct plain *p);

// meta.c: the description that travels with the data
enum ftype {
  T_U8,
  T_U16,
  T_U32,
  T_U64,
  T_S16,
  T_S32,
  T_MAC6,
  T_NAME16,
  T_TEXT,
  T_BYTES
};
enum funit {
  U_NUM,
  U_BYTE,
  U_PORT,
  U_IPV4,
  U_MAC,
  U_US,
  U_MS,
  U_TSC,
  U_PID,
  U_ID,
  U_HEX,
  U_ADDR,
  U_TEXT,
  U_SET,
  U_OTHER
};
enum stage {
  ST_WIRE,
  ST_DRIVER,
  ST_NETIF,
  ST_STACK,
  ST_SOCKET,
  ST_SYSCALL,
  ST_CPU,
  ST_META,
  ST_MEM,
  ST_OTHER
};
extern const char *const stage_name[];

#define MAXEVENTS 4096
#define MAXFIELDS 32

struct nameval {
  u32 val;
  const char *name, *doc;
};
// A set of named values, or of bits that may be combined.
struct nameset {
  const char *name;
  bool bits;
  u32 n, cap;
  struct nameval *v;
};
struct field {
  u8 type, unit;
  u16 off, size; // place in the payload; size 0 = to the end
  const char *name, *unitname, *doc;
  const struct nameset *set;
};
struct event {
  u16 id, nfield;
  u8 stage;
  const char *name, *stagename, *doc;
  struct field *f; // nfield of them
};
// One per boot; strings point into text.
struct meta {
  char *text, *raw; // split in place; as it was read
  u32 len, hash;
  u32 nev, top, nset, setcap; // top: above all ids
  struct event **ev;          // by id, MAXEVENTS of them
  struct event **byname;      // a hash table
  struct nameset **set;
};
int meta_parse(struct meta *m, const char *text, u32 len, const char *file);
void meta_free(struct meta *m);
u32 fnv1a(const void *p, size_t n);
struct event *meta_event(const struct meta *m, const char *name);
const struct field *event_field(const struct event *e, const char *name);
const char *set_name(const struct nameset *s, u32 val);

// input.c, tracefile.c, ring.c: from files to records
// One record, or (slot == NOSLOT) a stretch that was lost.
struct rec {
  u64 ts;
  u32 slot;  // index of its head slot in boot.slot
  u32 nlost; // slots lost here
  u32 seq;
  u8 cpu;
  bool discard;  // lost by the writer, who had no room
  bool inflight; // the machine ended before they were complete
};
#define NOSLOT 0xffffffffu

// One per boot found in a trace.
struct boot {
  struct nt_header h;
  struct meta meta;
  struct nt_slot *slot; // within trace.file, and slotcap 0; or the boot's own
  u32 nslot, slotcap;
  struct rec *rec; // in final order
  u32 nrec, reccap;
  u64 lost, discarded;
  u32 unknown, backwards, orphans; // ids without description, stamps going back, stray continuations
};
struct trace {
  char *path;
  u8 *file; // as read, or 0
  bool ram, live;
  u64 upto; // live: the last tick; records after it were not read
  u32 nboot;
  struct boot *boot;
  char *note; // what was ignored, or 0
};
int trace_load(struct trace *t, const char *path);
int trace_parse(struct trace *t, const u8 *p, size_t len, const char *path);
void trace_free(struct trace *t);
void boot_begin(struct boot *b);
void boot_add(struct boot *b, const struct nt_slot *s, u32 n);
void boot_lost(struct boot *b, u8 cpu, u32 n, u32 seq);
void boot_inflight(struct boot *b, u8 cpu, u32 n, u32 seq);
int boot_finish(struct boot *b);
int header_check(const struct nt_header *h, const char *path, u64 at);
bool boot_complain(struct trace *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

// A run's RAM, mapped.  One per open RAM file.
struct ram {
  char *path;
  int fd;
  u8 *p;
  u64 len;
  u32 pa; // of the ring page
  struct nt_header h;
};
// A reader's place in one ring.
struct cursor {
  u32 cur;
  u64 delivered, lost;
};
int ram_open(struct ram *r, const char *path);
int ram_find(struct ram *r);
int ram_refresh(struct ram *r);
void ram_close(struct ram *r);
int ram_meta(struct ram *r, struct meta *m);
u64 ram_now(const struct ram *r);
struct nt_cpu ram_cpu(const struct ram *r, u32 cpu);
u32 ram_start(const struct ram *r, u32 cpu);
u32 ram_count(const struct ram *r, u32 cpu, u32 id);
int ram_next(const struct ram *r, u32 cpu, struct cursor *c, struct nt_slot out[NT_MAXNSL]);
int ram_load(struct trace *t, const char *path);

// What the command line named, found by content.
struct input {
  char *dir, *trace, *capture, *ram, *elf;
};
int input_find(struct input *in, int n, char **operand);
enum filekind {
  F_NONE,
  F_TRACE,
  F_RAM,
  F_PCAP,
  F_DIR,
  F_BAD
};
enum filekind file_kind(const char *path);

// growing.c: a capture that is still being written
#define MAXCAPLEN 262144
struct growing {
  FILE *f;
  u64 at;                          // the next record's place
  bool begun, ng, swapped, broken; // its head was read; pcapng; the other byte order
  u8 unit[16];                     // of time, per interface: 10^-n s, or with the top bit 2^-n
  u32 nunit;
  u8 *block;
};
int growing_begin(struct growing *g, const char *path);
bool growing_next(struct growing *g, i64 *w, const u8 **data, u32 *caplen, u32 *len);
void growing_end(struct growing *g);

// decode.c: fields by name
struct symbols;
int symbols_load(const char *elf);
char *symbol_str(u32 addr);
const struct event *rec_event(const struct boot *b, const struct rec *r);
const u8 *rec_payload(const struct boot *b, const struct rec *r, u8 buf[192], u32 *len);
const struct nt_slot *rec_slot(const struct boot *b, const struct rec *r);
bool rec_num(const struct boot *b, const struct rec *r, const char *name, u64 *val);
u64 rec_get(const struct boot *b, const struct rec *r, const char *name);
const char *rec_named(const struct boot *b, const struct rec *r, const char *name);
size_t field_str(char *to, size_t max, const struct field *f, const u8 *p, u32 len);
void field_json(FILE *out, const struct field *f, const u8 *p, u32 len);
bool field_parse(const struct field *f, const char *text, u64 *val);
u64 field_num(const struct field *f, const u8 *p);
const char *ctx_name(u32 ctx);

// A connection's four numbers, as the guest sees them.
struct flow {
  u32 laddr, raddr;
  u16 lport, rport;
};
bool rec_flow(const struct boot *b, const struct rec *r, struct flow *f);
bool flow_same(const struct flow *a, const struct flow *b);
bool flow_parse(const char *text, struct flow *f);

// pcapin.c: captures
struct frame {
  i64 w; // stamp in ns: sent in [w, w + capture.q)
  u32 caplen, len;
  u8 *data;
  u32 rec;             // index of the e1000_rx or e1000_tx it was matched with, or NOREC
  u32 kick;            // of the e1000_txkick after that e1000_tx, or NOREC
  u64 key;             // from length, type, IP id, checksum and the first 64 bytes
  bool in;             // towards the guest
  bool full, part;     // key computed from enough bytes; or cut short, without the hash
  bool unique, before; // its match bounds the clock; came before the driver listened
  bool copy;           // of a capture from elsewhere: another one was matched
  u16 type, ipid, l4sum, flags;
  u8 proto, op;      // IP protocol; ARP operation
  u16 frag, fraglen; // piece of a datagram: where its bytes lie in it, and how many
  bool piece;
  u8 fate;          // enum unmatched
  struct flow flow; // l = guest's side; ARP: protocol addresses
  u32 seq, ack, off, paylen;
  u8 icmp;
};
#define NOREC 0xffffffffu
struct capture {
  char *path;
  u32 n, cap;
  struct frame *f;
  u32 q; // ns per stamp
  u64 bytes;
  char *note;
};
enum {
  TH_FIN = 1,
  TH_SYN = 2,
  TH_RST = 4,
  TH_PSH = 8,
  TH_ACK = 16,
  TH_URG = 32
};
extern bool force_read;
int capture_load(struct capture *c, const char *path);
void capture_free(struct capture *c);
void capture_add(struct capture *c, i64 w, const u8 *data, u32 caplen, u32 len);
void frame_parse(struct frame *f, const u8 mac[6]);
char *flags_str(u32 flags);
u64 match_key(u32 len, u32 type, u32 ipid, u32 l4sum, u32 hash);

// align.c: W(g) = V(g) + K, all integers
struct sync {
  u64 tsc;
  u32 win, hpet, pmt;
  u32 rec;
};
// The event at g was before (upper: W(g) <= w + q - 1) or after (w <= W(g)) the frame.
struct bracket {
  u64 g;
  i64 w;
  u32 rec, frame;
  bool upper;
};
// A line through two constraints: V(g) = v0 + dv * (g - g0) / dg.
struct line {
  i64 g0, v0, dg, dv;
};
// A stretch of syncs that one set of lines fits: all, or each its own.
struct segment {
  i64 from, to; // guest stamps relative to align.base
  u32 nline;
  struct line *line;
};
enum method {
  CLK_NONE,
  CLK_GUEST,
  CLK_FRAMES,
  CLK_ANCHORED,
  CLK_IDENTITY
};
struct align {
  enum method method;
  u64 base; // guest stamps are kept relative to this
  bool far; // the capture's clock has a zero of its own
  u32 khz;
  u32 nrun; // 1 + how often the clock stepped
  u32 nseg;
  struct segment *seg;
  i64 klo, khi;       // K used
  bool pm, fr;        // which measurements there were
  bool anyturn;       // K is known but for whole turns of the PM timer: neither TSC nor frames tell
  i64 pmlo, pmhi;     // K by the PM timer
  i64 frlo, frhi;     // K by frames
  u32 frlo_i, frhi_i; // the brackets that give them
  i64 shift;          // whole seconds or PM timer periods added to pmlo, pmhi
  i64 gap;            // ns by which the last contradiction is one
  i64 slack;          // ns added between two segments: the clock stepped there more than once
  u32 nsync, nbracket;
  char *note;
};
#define ANYTURN_TEXT "times since power-on may be short by any number of the PM timer's turns (4.687 s each): how many came before the first clock_sync is not known"
int align_solve(struct align *a, const struct sync *s, u32 ns, const struct bracket *b, u32 nb, u32 q, u32 khz, u64 base, bool far);
void align_free(struct align *a);
i64 align_lo(const struct align *a, u64 g);
i64 align_hi(const struct align *a, u64 g);
i64 align_mid(const struct align *a, u64 g);
i64 align_half(const struct align *a, u64 g);

// match.c: records and frames, both directions
struct session;
u32 match_unique(struct session *s);
void match_rest(struct session *s);

// session.c: everything about one boot, loaded and joined
// Why a frame or an e1000_rx, e1000_tx stands alone.
enum unmatched {
  UM_NONE,
  UM_BEFORE,   // frame in: came before the driver listened
  UM_NORX,     // frame in: e1000_rx was not recorded
  UM_ANYRX,    // frame in: the trace has no e1000_rx, nor anything else that came in
  UM_NOTX,     // frame out: e1000_tx was not recorded
  UM_PAST,     // frame: after the trace's last record
  UM_NODRIVER, // frame in: never reached the driver
  UM_LOST,     // its counterpart may be among the records lost here
  UM_NOEVENT,  // frame out: no e1000_tx
  UM_TWICE,    // frame: stands twice in the capture, and the other one was matched
  UM_CUT,      // frame: the capture holds too little of it
  UM_NOWIRE,   // e1000_tx: not in the capture
  UM_NOFRAME,  // e1000_rx: not in the capture
  UM_ENDS,     // record: the capture ends before
  UM_LATER,    // frame: after the last tick of a live guest; no fault
  UM_MAX,
};
struct item { // one row of the timeline
  u32 idx;    // record or frame
  bool frame;
  bool crossed; // a frame whose bounds cross
  i64 w;        // monotone time, ns
};
struct session {
  struct input in;
  struct trace trace;
  struct capture cap;
  struct boot *b; // the boot the capture belongs to, or the last
  u32 bootno;
  bool have_trace, have_cap;
  bool far; // the capture is not of this machine's card: a frame may pass it after its kick
  struct align al;
  struct sync *sync;
  u32 nsync;
  struct bracket *bracket;
  u32 nbracket;
  u32 *frame_of;       // record -> frame, or NOREC
  i64 band;            // largest half-width at a matched frame, ns
  i64 wire;            // the same between its stamp and an event of the kernel
  u32 nmatch, nunique; // frames matched, of these bounding the clock
  u32 count[UM_MAX];   // unmatched frames and records by fate
  u32 crossed;
  struct item *item;
  u32 nitem;
};
int session_open(struct session *s, int n, char **operand);
int session_open_far(struct session *s, char *run, char *capture);
int session_join(struct session *s);
void session_close(struct session *s);
bool session_noted(const struct session *s);
i64 wire_band(const struct session *s, i64 half);
i64 session_time(const struct session *s, const struct rec *r);
enum unmatched frame_fate(const struct session *s, u32 frame);
enum unmatched rec_fate(const struct session *s, u32 rec);
bool rec_is(const struct session *s, u32 rec, const char *event);
u64 rec_key(const struct session *s, const struct rec *r);
u32 rec_kick(const struct session *s, u32 rec);
const char *fate_text(enum unmatched u);
bool fate_is_loss(enum unmatched u);
extern bool ascii_only, verbose;
extern enum method clock_wanted; // CLK_NONE = whichever there is
void session_summary(const struct session *s, FILE *to);

// off.c: when an event was switched off
struct off {
  struct {
    u32 from, to; // records: the line that did it; the one that ended it, or the trace's last
  } * v;
  u32 n, cap;
};
void off_find(const struct session *s, const char *event, struct off *o);
bool off_within(const struct off *o, u32 from, u32 to);
bool off_at(const struct session *s, const struct off *o, i64 from, i64 to);

// cable.c: what was lost or damaged between the two captures of a run
enum {
  CABLE_LOST = 1,
  CABLE_DAMAGED
};
struct cable {
  struct capture far;
  u8 *out, *in;    // by frame of the session's capture, and of far: one of the above, or 0
  u32 n, ndamaged; // how many were lost; were damaged
};
int cable_load(struct cable *c, const struct session *s);

// timeline.c: rows in causal order, and which of them to show
struct opts {
  const char *flow, *packets, *only, *layer, *from, *to, *out, *noreason, *dir;
  bool svg, ascii, json, meta, quiet, verbose, all, wireonly, nocomments, strict, force;
  int color; // 0 auto, 1 always, 2 never
  bool handshake, ends, sandwich;
  i64 width, max_lost, max_unmatched, max_band; // -1 = not asked; width 0 = the terminal's
  const char *conds[16];
  int ncond;
  i64 timeout, pid;     // seconds; 0 = none
  const char *duration; // follow: end then, and after
  i64 limit;            // lines, 0 = none
  i64 rows;             // html: drawn at once; 0 = the page's own limit
  int argc;
  char **argv, **rest; // operands; what follows --, or 0
};
// Which rows a command shows, and why these.
struct selection {
  u8 *show; // per item
  bool have_flow;
  struct flow flow;
  u32 nflow;        // TCP connections in the run
  u32 pid[8], npid; // the processes that serve it
  bool pids_known;
};
// A set of 32-bit numbers, 0 not among them.
struct idset {
  u32 *v, cap, n;
};
void idset_add(struct idset *s, u32 id);
bool idset_has(const struct idset *s, u32 id);
void timeline_build(struct session *s);
int timeline_select(struct session *s, const struct opts *o, bool pick_flow, struct selection *sel);
bool picks_flow(const struct opts *o);
bool shows_part(const struct opts *o);
int rows_open(struct session *s, struct selection *sel, struct out *out, const struct opts *o);
u32 item_pkt(const struct session *s, const struct item *it);
u32 item_stage(const struct session *s, const struct item *it);
// A packet and one of its rows.
struct prow {
  u32 pkt, item;
};
struct prow *rows_by_packet(const struct session *s, const u8 *show, u32 *n);
bool listed(const char *list, const char *name);
int names_known(const struct session *s, const struct opts *o);
int parse_time(const char *flag, const char *s, i64 *ns);

// flow.c: choosing one connection and everything that belongs to it
int flow_select(struct session *s, const struct opts *o, bool pick, struct selection *sel);
int pid_select(struct session *s, u32 pid, struct selection *sel);
bool frame_is_tcp(const struct frame *f);

// label.c: what a row says
enum lane {
  L_PEER,
  L_WIRE,
  L_DRIVER,
  L_NETIF,
  L_STACK,
  L_SOCKET,
  L_PROCESS,
  NLANE
};
// Where each side of a connection began to count.
struct isn {
  struct flow flow;
  u32 lisn, risn;
  bool lknown, rknown;
};
struct labels {
  struct isn *isn;
  u32 nisn, isncap;
  u16 lastcall[65536]; // by pid: system call it is in, + 1
};
void label_learn(struct labels *t, const struct session *s, const struct item *it);
void label_frame(char *to, size_t max, const struct frame *f, struct labels *t);
void label_payload(char *to, size_t max, const struct frame *f);
void label_rec(char *to, size_t max, const struct session *s, const struct rec *r, struct labels *t);
const char *link_phrase(const char *kind, bool from_parent);
void link_words(char *to, size_t max, const char *kind, bool from_parent, u32 pkt);
enum lane rec_lane(const struct session *s, const struct rec *r);
int charlen(const char *s);
// One character of a picture for a terminal.
#define MAXWIDTH 400
struct cell {
  char s[5];
  u8 color; // 0 or an ANSI foreground number
};
void cells_print(const struct cell *cell, int width, bool color, FILE *f);
bool wants_color(const struct opts *o);
const char *ascii_char(const char *s);
void state_str(char *to, size_t max, const char *name);

// why.c
int packet_named(struct session *s, const struct opts *o, const char *arg, u32 *pkt);

// The commands
int cmd_ladder(struct opts *o);
int cmd_html(struct opts *o);
int cmd_merge(struct opts *o);
int cmd_info(struct opts *o);
int cmd_dump(struct opts *o);
int cmd_stats(struct opts *o);
int cmd_chrome(struct opts *o);
int cmd_doc(struct opts *o);
int cmd_msc(struct opts *o);
int cmd_ctf(struct opts *o);
int cmd_save(struct opts *o);
int cmd_check(struct opts *o);
int cmd_why(struct opts *o);
int cmd_wait(struct opts *o);
int cmd_follow(struct opts *o);
int cmd_graph(struct opts *o);
int cmd_console(struct opts *o);
int cmd_monitor(struct opts *o);
int cmd_wireshark(struct opts *o);
int merge_write(struct session *s, const struct opts *o, FILE *f);

// two.c: two machines on one wire
bool two_runs(const struct opts *o);
int cmd_two(const char *name, struct opts *o);

#endif
