// Trace events in C: TRACE(name, .field = value, ...) at the place where it happens.
//
// events.def lists the events; here its lines become enum TR_name, struct tr_name
// and the named values (DROP_NO_SOCKET, FATE_WIRE ...).  trace.c is the ring.
// An emit may stand anywhere, in any context and under any lock: it takes no lock,
// allocates nothing, never sleeps or wakes.  Not in an NMI or double fault.
#ifndef TRACE_TRACE_H
#define TRACE_TRACE_H

#include "uapi/types.h"
#include "uapi/nettrace.h"

struct proc;

// Field types that C does not have.
typedef short s16;
typedef int s32;
typedef struct {
  u8 b[6];
} mac6;
typedef struct {
  char s[16]; // padded with NULs
} name16;

// Event numbers: positions in events.def.
enum {
#define EVENT(name, stage, doc, fields) TR_##name,
#define SYSCALL(nr, name)
#include "trace/events.def"
  NTRACE,
  // No events: TRACING(tcp_changes) asks for any of those that a pcb is compared for,
  // TRACING(tcp_moves) for those of a change of state.
  TR_tcp_changes = NT_MAXEV - 1,
  TR_tcp_moves = NT_MAXEV - 2
};
_Static_assert(NTRACE <= TR_tcp_moves, "too many events");

// Named values.  System calls have theirs in uapi/syscall.h.
enum {
#define NAME(set, value, name, doc) set##_##name = value,
#define BIT(set, mask, name, doc)   set##_##name = mask,
#define SYSCALL(nr, name)
#include "trace/events.def"
};

// struct tr_name: bytes 16-63 of the slot.  slot_name is the same where it lies in
// the slot: gcc clears it word by word only if it knows how it is aligned.
#define EVENT(name, stage, doc, fields) \
  struct tr_##name { \
    u32 pkt; \
    u16 sock; \
    u16 pid; \
    fields \
  } __attribute__((packed)); \
  typedef struct tr_##name slot_##name __attribute__((aligned(8))); \
  _Static_assert(sizeof(struct tr_##name) <= 8 + NT_PAYLOAD, "event " #name " is too long");
#define FIELD(type, name, unit, doc) type name;
#define SYSCALL(nr, name)
#include "trace/events.def"

// How many fields an event has, with pkt and sock.
enum {
#define EVENT(name, stage, doc, fields) NFIELDS_##name = 2 fields,
#define FIELD(type, name, unit, doc)    +1
#define SYSCALL(nr, name)
#include "trace/events.def"
};

// The host compiles trace.c too, for its unit tests.
#ifdef __i386__
#define TRACE_FAST  __attribute__((regparm(1))) // argument in a register: fewer instructions
#define TRACE_STI() asm volatile("sti" \
                                 : \
                                 : \
                                 : "memory")
#else
#define TRACE_FAST
#define TRACE_STI() ((void)0)
#endif

// gcc puts what follows the label behind the function's own path; clang knows no such word.
#ifdef __clang__
#define TRACE_COLD
#else
#define TRACE_COLD __attribute__((cold))
#endif

// A function of its own for what is done only while an event is on: within its caller
// it would cost registers saved and restored also while it is off.
#define TRACE_APART static __attribute__((noinline))

// 1 for each event that is recorded.
extern u8 trace_on[NT_MAXEV];

// May the event be recorded?  The kernel's code answers: a nop of one instruction
// where it is off, which patch.c makes a jump when it goes on; trace_begin asks
// trace_on, which is always right.  The debug kernel, which compares its own code
// with what was linked, and the host ask trace_on here.  In a kernel made with
// NOTRACE=1 no event is: the compiler sees a constant and leaves each TRACE out, but
// still reads it.
#if defined(NOTRACE)
#define TRACING(ev) 0
#elif defined(__i386__) && !defined(DEBUG)
#define TRACE_SITES
#define TRACING(ev) ({ \
  __label__ on_, end_; \
  int is_ = 0; \
  asm goto("1: .byte 0x0f,0x1f,0x44,0,0\n\t" \
           ".pushsection .trace_sites,\"a\"\n\t" \
           ".long 1b, %l[on_], %c0\n\t" \
           ".popsection" \
           : \
           : "i"(TR_##ev) \
           : \
           : on_); \
  goto end_; \
on_: \
  TRACE_COLD; \
  is_ = 1; \
end_: \
  is_; \
})
#else
#define TRACING(ev) __builtin_expect(trace_on[TR_##ev], 0)
#endif

// Record an event.  The values are computed only if the event is on, with interrupts
// off, one after the other, each straight into the slot: no side effects, nothing that
// sleeps.  A field left out is 0: the slot is cleared first, which costs.
#define TRACE(ev, ...) TRACE_FIELDS(ev, __VA_ARGS__) // a FLOW(x) among them has become its fields
#define TRACE_FIELDS(ev, ...) \
  do { \
    if(TRACING(ev)) { \
      u64 open_ = trace_begin(TR_##ev); \
      if((u32)open_) { \
        slot_##ev *slot_ = trace_body(open_); \
        if(TRACE_COUNT(__VA_ARGS__) != NFIELDS_##ev) \
          *slot_ = (struct tr_##ev){}; \
        slot_->pid = (u16)(open_ >> 48); \
        TRACE_EACH(__VA_ARGS__) \
        trace_end(open_); \
      } \
    } \
  } while(0)

// What follows does something with each of up to 20 arguments: ".len = n" is appended to
// (*slot_), which makes an assignment of it.
#define TRACE_EACH(...)                                                                TRACE_PASTE(TRACE_EACH_, TRACE_COUNT(__VA_ARGS__))(__VA_ARGS__)
#define TRACE_COUNT(...)                                                               TRACE_21ST(__VA_ARGS__, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1)
#define TRACE_21ST(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, ...) u
#define TRACE_PASTE(a, b)                                                              TRACE_PASTE_(a, b)
#define TRACE_PASTE_(a, b)                                                             a##b
#define TRACE_EACH_1(x)                                                                (*slot_) x;
#define TRACE_EACH_2(x, ...)                                                           TRACE_EACH_1(x) TRACE_EACH_1(__VA_ARGS__)
#define TRACE_EACH_3(x, ...)                                                           TRACE_EACH_1(x) TRACE_EACH_2(__VA_ARGS__)
#define TRACE_EACH_4(x, ...)                                                           TRACE_EACH_1(x) TRACE_EACH_3(__VA_ARGS__)
#define TRACE_EACH_5(x, ...)                                                           TRACE_EACH_1(x) TRACE_EACH_4(__VA_ARGS__)
#define TRACE_EACH_6(x, ...)                                                           TRACE_EACH_1(x) TRACE_EACH_5(__VA_ARGS__)
#define TRACE_EACH_7(x, ...)                                                           TRACE_EACH_1(x) TRACE_EACH_6(__VA_ARGS__)
#define TRACE_EACH_8(x, ...)                                                           TRACE_EACH_1(x) TRACE_EACH_7(__VA_ARGS__)
#define TRACE_EACH_9(x, ...)                                                           TRACE_EACH_1(x) TRACE_EACH_8(__VA_ARGS__)
#define TRACE_EACH_10(x, ...)                                                          TRACE_EACH_1(x) TRACE_EACH_9(__VA_ARGS__)
#define TRACE_EACH_11(x, ...)                                                          TRACE_EACH_1(x) TRACE_EACH_10(__VA_ARGS__)
#define TRACE_EACH_12(x, ...)                                                          TRACE_EACH_1(x) TRACE_EACH_11(__VA_ARGS__)
#define TRACE_EACH_13(x, ...)                                                          TRACE_EACH_1(x) TRACE_EACH_12(__VA_ARGS__)
#define TRACE_EACH_14(x, ...)                                                          TRACE_EACH_1(x) TRACE_EACH_13(__VA_ARGS__)
#define TRACE_EACH_15(x, ...)                                                          TRACE_EACH_1(x) TRACE_EACH_14(__VA_ARGS__)
#define TRACE_EACH_16(x, ...)                                                          TRACE_EACH_1(x) TRACE_EACH_15(__VA_ARGS__)
#define TRACE_EACH_17(x, ...)                                                          TRACE_EACH_1(x) TRACE_EACH_16(__VA_ARGS__)
#define TRACE_EACH_18(x, ...)                                                          TRACE_EACH_1(x) TRACE_EACH_17(__VA_ARGS__)
#define TRACE_EACH_19(x, ...)                                                          TRACE_EACH_1(x) TRACE_EACH_18(__VA_ARGS__)
#define TRACE_EACH_20(x, ...)                                                          TRACE_EACH_1(x) TRACE_EACH_19(__VA_ARGS__)

// The same with a trailing text, cut at four slots.
#define TRACE_TEXT(ev, str, ...) \
  do { \
    if(TRACING(ev)) \
      trace_emit(TR_##ev, &(struct tr_##ev){.pid = 0, __VA_ARGS__}, sizeof(struct tr_##ev), str, strlen(str)); \
  } while(0)

// The same with n trailing bytes.
#define TRACE_BYTES(ev, data, n, ...) \
  do { \
    if(TRACING(ev)) \
      trace_emit(TR_##ev, &(struct tr_##ev){.pid = 0, __VA_ARGS__}, sizeof(struct tr_##ev), data, n); \
  } while(0)

// trace.c: writing.  trace_begin reserves a slot and turns interrupts off;
// trace_end publishes it.  What passes between them fits two registers: address
// of the slot (0: not wanted just now), then the interrupt flag, above it the pid.
u64 trace_begin(u32 id) TRACE_FAST;
void trace_emit(u32 id, const void *body, u32 n, const void *tail, u32 ntail);
u32 pkt_new(void);

// trace.c: told by the rest of the kernel
void trace_init(void);                   // rings from bootmem; records from here on
void trace_clock(u32 khz);               // the TSC has been measured
void trace_cpu(u32 id);                  // one more CPU runs
void trace_tick(void);                   // timer interrupt, each CPU
void trace_switch(struct proc *next);    // scheduler, 0: goes idle
void trace_quiet(struct proc *, int on); // that is the current process
void trace_netif(const u8 *mac, u32 ip); // en0, address in host order
void trace_freeze(u32 flags);            // record nothing more; NT_PANICKED or 0
void trace_thaw(void);                   // go on
void trace_lossless(int on);             // heed the floors of nt_page
void trace_stop_after(int (*match)(const struct nt_slot *), u32 n);

// trace.c: which events are recorded
extern u8 trace_base[NT_MAXEV]; // without any reader
extern u32 trace_snaplen;       // bytes of a frame that the event frame keeps
int trace_match(const char *pat, u32 n, u8 *set, u8 val);
int trace_glob(const char *pat, u32 n, const char *s); // does s match, where * is any run of characters?
const char *trace_name(u32 id);
u8 trace_stage(u32 id); // STAGE_
extern struct nt_page nt_page;
u32 trace_origin(void);              // head of each ring at boot
void trace_select(const u8 *wanted); // trace_on = these, unless frozen

// patch.c
#define PATCH_SIZE 5 // bytes of a nop, jump or call
#define PATCH_JMP  0xe9
#define PATCH_CALL 0xe8
void patch_begin(void);                     // stop the other CPUs
void patch_code(u32 at, u8 opcode, u32 to); // to 0: a nop
void patch_end(void);                       // go on
void patch_park(void);                      // interrupt: somebody has called patch_begin
#ifdef TRACE_SITES
void patch_sites(void); // TRACE() sites as trace_on says
#else
static inline void
patch_sites(void)
{
}
#endif

// func.c: the function tracer.  A function that asks who called it is NOFUNC: the
// answer would be the tracer.
#define NOFUNC __attribute__((no_instrument_function))
int func_select(const char *pat);          // names with *, commas between; "off"
u32 func_caller(const u32 *ret);           // what lies at ret, or lay there before the tracer changed it
int func_names(u32 off, char *dst, int n); // read the table of the kernel's functions

#define SLOW_GDB 32 // in nt_cpu.slow: gdb waits for a record

// stop.c: the event that gdb waits for.  Filled by gdb, but for slow.
enum trace_stop_event {
  STOP_ANY = 0xffff,
  STOP_NONE = 0xfffe
};
enum trace_stop_op {
  STOP_ALWAYS,
  STOP_EQ,
  STOP_NE,
  STOP_LT,
  STOP_GE
};
extern struct trace_stop {
  enum trace_stop_event event; // number, or one of these
  u32 pkt, sock;               // 0: any
  u32 off, mask;               // the word at byte off of the slot, of it these bits,
  enum trace_stop_op op;       // are compared
  u32 val;                     // with this
  u32 skip;                    // so many that match are let pass
  u32 slow;                    // the bit of nt_cpu.slow by which emits look here
} trace_stop;
void trace_stop_arm(u32 id, struct nt_slot *slot, u32 seq);
int trace_stop_trap(u32 eip);
void trace_stop_here(const struct nt_slot *slot, u32 eip);

// devtrace.c
void devtrace_init(void); // registers /dev/nettrace
void devtrace_tick(void); // timer interrupt of CPU 0: wakes readers

// control.c
extern void (*trace_snap)(void); // set by net_init: netd, emit your figures
extern const char trace_meta[];  // the description of all events
extern const u32 trace_meta_len; // without its NUL

// Bytes 16-63 of the slot that trace_begin opened.
static inline void *
trace_body(u64 open)
{
  return &((struct nt_slot *)(unsigned long)(u32)open)->pkt;
}

// Interrupts as they were when state was made from the flags register.
static inline void
trace_restore(u32 state)
{
  if(state & 0x200) // FL_IF
    TRACE_STI();
}

// Publish the slot that trace_begin opened.  The compiler keeps all stores into
// the slot before this one, the CPU does so by itself.
static inline void
trace_end(u64 open)
{
  struct nt_slot *slot = (struct nt_slot *)(unsigned long)(u32)open;
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  slot->seq++;
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  trace_restore((u32)(open >> 32));
}

// The six bytes at p, for a mac6 field.
static inline mac6
mac6_at(const void *p)
{
  mac6 m;
  __builtin_memcpy(&m, p, sizeof(m));
  return m;
}

// The first 15 characters at p, for a name16 field.
static inline name16
name16_at(const char *p)
{
  name16 n = {{0}};
  for(u32 i = 0; i + 1 < sizeof(n.s) && p[i]; i++)
    n.s[i] = p[i];
  return n;
}

#endif
