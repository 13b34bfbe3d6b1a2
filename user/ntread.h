// Reading /dev/nettrace: a stream that describes itself.
//
// It begins with a header and a text that names every event, its fields and
// their values; records follow.  Nothing here knows an event by number or by
// layout: a program asks for names, so a new event needs no change here.
//
//   nt_open     the stream, its header and metadata: r->event[id], r->name[]
//   nt_next     the next record: its head by name (s->ts, s->pkt), its fields by
//   nt_event    the number of an event, asked for once
//   nt_field    a field of it, asked for once
//   nt_value    the number in it, nt_text its text, nt_put what a person reads:
//               an address, a name of its set, a number
//   nt_get      a field's value by its name alone, for what happens seldom
//   nt_print    the whole record as a line
//   nt_printf   anything, into a line that is never too long
//   nt_function the kernel's function at an address
//
// Used by nettop and by the guest's nettrace.
#ifndef NTREAD_H
#define NTREAD_H

#include "types.h"
#include "nettrace.h"

#define NT_MAXTEXT (NT_PAYLOAD + (NT_MAXNSL - 1) * NT_CONTLOAD) // payload of the largest record

// One per field of an event, in their order.
struct nt_field {
  const char *name;
  const char *type; // u8 u16 u32 u64 s16 s32 mac6 name16 text bytes
  const char *unit; // in capitals: the set that names its values
  const char *doc;  // what it means
  u16 off;          // into the payload
  u16 size;         // 0 for text and bytes: up to the record's end
};

// One per event number; name 0: unknown.
struct nt_event {
  const char *name;
  const char *stage;
  const char *doc; // what happened
  struct nt_field *field;
  int nfield;
};

// One per named value.
struct nt_name {
  const char *set;
  const char *name;
  const char *doc; // one sentence
  u32 value;
  int bit; // value is one flag of several
};

// One per open stream.  All names point into the metadata text.
struct ntread {
  int fd;
  int status;      // of the last read: > 0 bytes, 0 end of a frozen trace, < 0 error
  const char *why; // nt_open failed: what was wrong with the stream, or 0 and see status
  struct nt_header h;
  struct nt_event event[NT_MAXEV];
  struct nt_field *field;
  int nfield;
  struct nt_name *name;
  int nname;
  int numeric; // values are printed without their names
  int at, end; // what is in buf and not yet handed out
  u8 buf[16384] __attribute__((aligned(8)));
};

// A line being put together: n of at most max bytes of s are used, no NUL.
struct nt_line {
  char *s;
  int n;
  int max;
};

int nt_open(struct ntread *, const char *path, int flags, const char *commands);
const struct nt_slot *nt_next(struct ntread *);

int nt_event(const struct ntread *, const char *name);
const struct nt_field *nt_field(const struct ntread *, int id, const char *name);
u64 nt_value(const struct nt_field *, const struct nt_slot *);
u64 nt_get(const struct ntread *, const struct nt_slot *, const char *field);
u64 nt_us(const struct ntread *, u64 tsc);
void nt_text(struct nt_line *, const struct nt_field *, const struct nt_slot *);
void nt_put(struct nt_line *, const struct ntread *, const struct nt_field *, const struct nt_slot *);
int nt_number(const struct ntread *, const char *set, const char *name);
const struct nt_name *nt_value_name(const struct ntread *, const char *set, u32 value);
void nt_named(struct nt_line *, const struct ntread *, const char *set, u32 value);
void nt_print_event(struct nt_line *, const struct ntread *, const struct nt_slot *);
void nt_print(struct nt_line *, const struct ntread *, const struct nt_slot *);
void nt_printf(struct nt_line *, const char *fmt, ...);
void nt_function(struct nt_line *, u32 addr);

#endif
