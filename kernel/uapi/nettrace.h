// The trace ring as it lies in memory and in a saved file: records, ring page, hash.
//
// Read by the kernel that writes the ring, by programs and the host tool that
// read it, and by gdb.  Little-endian and naturally aligned, the same layout on
// a 32-bit and on a 64-bit machine.  No event is named here: names, fields and
// values travel with the data, as the metadata text that the header points to.
#ifndef UAPI_NETTRACE_H
#define UAPI_NETTRACE_H

#include "types.h"

#define NT_MAGIC      "NETTRC1" // header of the ring page in RAM, with its NUL 8 bytes
#define NT_FILE_MAGIC "NETTRF1" // header of a stream or a saved file
#define NT_VERSION    1

#define NT_MAXEV    256 // event numbers are below this
#define NT_MAXCPU   8
#define NT_MAXNSL   4  // slots in the largest record
#define NT_PAYLOAD  40 // payload bytes in a record's first slot
#define NT_CONTLOAD 48 // and in each continuation slot, from its byte 16 on
#define NT_CONT     0x80

#define NT_MINSLOTS 1024 // slots per ring: a power of two from here
#define NT_MAXSLOTS 131072
#define NT_DEFSLOTS 16384

#define NT_PAGE    4096 // the ring page is aligned to this and alone in it
#define NT_CPU_OFF 256  // where its struct nt_cpu array starts

// nt_header.flags
#define NT_FROZEN   1  // nothing more will be written
#define NT_PANICKED 2  // the kernel died; the last records tell how
#define NT_LOSSLESS 4  // a reader asked the writers to wait for it
#define NT_MERGED   8  // stream: records of all CPUs in order of time
#define NT_CHOSEN   16 // stream: some records were not wanted, so a gap in seq is no loss

// nt_slot.cpu_ctx, high nibble: what the CPU was doing
#define NT_CTX_THREAD 0
#define NT_CTX_INTR   1
#define NT_CTX_NETD   2
#define NT_CTX_TIMER  3 // timer interrupt
#define NT_CTX_NESTED 4 // interrupt within an interrupt

// One record, or the first slot of a longer one.  A continuation slot repeats
// bytes 0-11, has its own seq, and carries NT_CONTLOAD payload bytes from pkt on.
// seq is the lock: with s = number of this slot in its ring since boot,
// s while it is being written, s + 1 once it is complete.
struct nt_slot {
  u64 ts;           // TSC, read after the slot was reserved
  u16 id;           // event number
  u8 cpu_ctx;       // CPU, and NT_CTX_ in the high nibble
  u8 nsl;           // slots in this record; in a continuation NT_CONT + its index
  u32 seq;          // see above
  u32 pkt;          // packet identity, 0 = none
  u16 sock;         // socket id, 0 = none
  u16 pid;          // process running, or interrupted; 0 = none
  u8 p[NT_PAYLOAD]; // fields, packed, in the order of the metadata
};

// Start of the ring page and of every stream and saved file.
struct nt_header {
  char magic[8]; // written last
  u16 version;   // NT_VERSION
  u16 hdr_size;  // sizeof(struct nt_header)
  u16 slot_size; // sizeof(struct nt_slot)
  u16 ncpu;      // CPUs started
  u32 nslots;    // per ring, a power of two
  u32 boot_id;   // low word of the TSC at trace_init
  u32 tsc_khz;   // 0 until calibrated
  u32 flags;     // NT_FROZEN ...
  u32 self_pa;   // physical address of this header; file: 0
  u32 meta_pa;   // metadata text: physical address (file: 0),
  u32 meta_len;  // length,
  u32 meta_hash; // FNV-1a over its bytes
  u8 mac[6];     // of en0
  u16 cpu_off;   // NT_CPU_OFF; file: 0
  u32 ip;        // of en0, host order; 0 until it has one
  u32 zero;
  u64 tsc;        // at trace_init; file: when it was opened
  u8 nonce[16];   // -append nonce=HEX
  char build[40]; // build id in hex
};

// One per CPU in the ring page.  Written by its CPU only, except floor.
struct nt_cpu {
  u32 ring_pa;  // nslots slots
  u32 head;     // slots ever reserved, modulo 2^32
  u32 count_pa; // struct nt_count
  u32 dropped;  // slots refused because a lossless reader had not read
  u32 now_lo;   // TSC at the last timer tick; now_hi is stored after now_lo,
  u32 now_hi;   // so read now_hi first and keep the largest value seen
  u32 floor;    // smallest cursor of the lossless readers
  u8 slow;      // not 0: an emit has something rare to look at
  u8 ctx;       // NT_CTX_ of the thread running on it
  u16 pid;      // process running on it
  u32 gap;      // slots refused since the last record
  u32 mask;     // nslots - 1; from here on for the kernel only
  u32 spare[6];
};

// The page that a reader from outside looks for: at a page boundary of RAM, with
// the magic and its own physical address in self_pa (the magic alone also stands
// in images of the kernel).
struct nt_page {
  struct nt_header hdr;
  u8 unused[NT_CPU_OFF - sizeof(struct nt_header)];
  struct nt_cpu cpu[NT_MAXCPU];
  u8 rest[NT_PAGE - NT_CPU_OFF - NT_MAXCPU * sizeof(struct nt_cpu)];
};

// Slots per event, one such table per CPU.
struct nt_count {
  u32 emitted[NT_MAXEV]; // attempted, so including the dropped ones
  u32 dropped[NT_MAXEV];
};

_Static_assert(sizeof(struct nt_slot) == 64, "nt_slot");
_Static_assert(__builtin_offsetof(struct nt_slot, seq) == 12, "nt_slot.seq");
_Static_assert(__builtin_offsetof(struct nt_slot, pkt) == 16, "nt_slot.pkt");
_Static_assert(__builtin_offsetof(struct nt_slot, p) == 24, "nt_slot.p");
_Static_assert(sizeof(struct nt_header) == 128, "nt_header");
_Static_assert(__builtin_offsetof(struct nt_header, self_pa) == 32, "nt_header.self_pa");
_Static_assert(__builtin_offsetof(struct nt_header, mac) == 48, "nt_header.mac");
_Static_assert(__builtin_offsetof(struct nt_header, tsc) == 64, "nt_header.tsc");
_Static_assert(sizeof(struct nt_cpu) == 64, "nt_cpu");
_Static_assert(__builtin_offsetof(struct nt_cpu, now_lo) == 16, "nt_cpu.now_lo");
_Static_assert(__builtin_offsetof(struct nt_cpu, gap) == 32, "nt_cpu.gap");
_Static_assert(sizeof(struct nt_page) == NT_PAGE, "nt_page");
_Static_assert(sizeof(struct nt_count) == 2048, "nt_count");

// Payload bytes that a record of nsl slots can carry: 40, 88, 136 or 184.
static inline u32
nt_capacity(u32 nsl)
{
  return NT_PAYLOAD + (nsl - 1) * NT_CONTLOAD;
}

// The frame's fingerprint, for matching it with a capture.
// frame: len bytes from the Ethernet header on, without FCS.  Only the first 64
// count, missing ones as 0: the card pads received frames with zeros, a capture does not.
static inline u32
nt_hash(const u8 *frame, u32 len)
{
  u32 h = 2166136261u;
  for(u32 i = 0; i < 64; i += 4) {
    u32 w = 0;
    for(u32 k = 0; k < 4 && i + k < len; k++)
      w |= (u32)frame[i + k] << (8 * k);
    h = (h ^ w) * 16777619u;
  }
  return h;
}

#endif
