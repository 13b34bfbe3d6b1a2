// Filters: conditions on a record's fields, by the names that events.def gives them.
//
// control.c makes them from control lines (thread context, trace_ctl held).  They
// are judged by a reader for itself, under its lock; and by an emit, with
// interrupts off, for stop-on: so judging takes no lock and writes nothing.  The
// names, types and places of all fields come from the table below, which is
// events.def once more.
#include "uapi/types.h"
#include "uapi/nettrace.h"
#include "defs.h"
#include "trace/control.h"
#include "trace/filter.h"

#define NWORD 32 // characters of a name, with its end

// A field; or the start of an event, then type is 0.
struct field {
  const char *type, *name, *unit;
};

// ORDER events.def
static const struct field fields[] = {
#define EVENT(name, stage, doc, list) {0, #name, #stage}, list
#define FIELD(type, name, unit, doc)  {#type, #name, #unit},
#define TEXT(name, doc)               {"text", #name, "text"},
#define BYTES(name, doc)              {"bytes", #name, "hex"},
#define SYSCALL(nr, name)
#include "trace/events.def"
};
static u16 first[NTRACE]; // field of each event in the table

static const struct value {
  const char *set, *name;
  u32 val;
} values[] = {
#define NAME(set, value, name, doc) {#set, #name, value},
#define BIT(set, mask, name, doc)   {#set, #name, mask},
#include "trace/events.def"
};

// Fields that every record has, in its head.
static const struct field heads[] = {
  {"u32", "pkt", "id"},
  {"u16", "sock", "id"},
  {"u16", "pid", "pid"},
  {"u4", "cpu", "num"},
  {"u4", "ctx", "num"},
};

enum {
  OP_EQ,
  OP_NE,
  OP_LE,
  OP_GE,
  OP_LT,
  OP_GT,
  OP_AND
};
static const char *const ops[] = {"==", "!=", "<=", ">=", "<", ">", "&"}; // ORDER OP_

void
filter_init(void)
{
  u32 id = 0;
  for(u32 i = 0; i < NELEM(fields); i++)
    if(fields[i].type == 0)
      first[id++] = (u16)(i + 1);
}

// ---- fields of a record ---------------------------------------------------------

// Bits of a number of this type, u4 to u64 and s8 to s64; 0: it is no number.
static u32
number_bits(const char *type)
{
  if(*type != 'u' && *type != 's')
    return 0;
  switch(type[1]) {
  case '4':
    return 4;
  case '8':
    return 8;
  case '1':
    return 16;
  case '3':
    return 32;
  }
  return 64;
}

// Its bytes in a record.
static u32
number_size(const char *type)
{
  return number_bits(type) / 8;
}

// The field of that name in event id, 0: it has none.  *off: its place in the
// slot; the head's fields have none.  All fields before a number have fixed sizes.
static const struct field *
field_find(u32 id, const char *name, u32 *off)
{
  for(u32 i = 0; i < NELEM(heads); i++)
    if(strcmp(name, heads[i].name) == 0)
      return &heads[i];
  *off = __builtin_offsetof(struct nt_slot, p);
  for(u32 i = first[id]; i < NELEM(fields) && fields[i].type; i++) {
    if(strcmp(name, fields[i].name) == 0)
      return &fields[i];
    u32 n = number_size(fields[i].type);
    *off += n ? n : *fields[i].type == 'm' ? sizeof(mac6)
                                           : sizeof(name16);
  }
  return 0;
}

// The number of n bytes at p.
static long long
load(const u8 *p, u32 n, int is_signed)
{
  u64 v = 0;
  memmove(&v, p, n);
  u32 unused = 64 - 8 * n;
  return is_signed ? (long long)(v << unused) >> unused : (long long)v;
}

// Field f of a record, which lies at off.
static long long
field_value(const struct field *f, u32 off, const struct nt_slot *rec)
{
  switch(f - heads) {
  case 0:
    return rec->pkt;
  case 1:
    return rec->sock;
  case 2:
    return rec->pid;
  case 3:
    return rec->cpu_ctx & 15;
  case 4:
    return rec->cpu_ctx >> 4;
  }
  return load((const u8 *)rec + off, number_size(f->type), *f->type == 's');
}

// The number in a record's field of that name, -1 if its event has none.
long long
filter_value(const struct nt_slot *rec, const char *name)
{
  u32 off;
  const struct field *f = field_find(rec->id, name, &off);
  return f && number_bits(f->type) ? field_value(f, off, rec) : -1;
}

// ---- judging ----------------------------------------------------------------------

static int
compare(long long a, u8 op, long long b)
{
  switch(op) {
  case OP_EQ:
    return a == b;
  case OP_NE:
    return a != b;
  case OP_LE:
    return a <= b;
  case OP_GE:
    return a >= b;
  case OP_LT:
    return a < b;
  case OP_GT:
    return a > b;
  }
  return (a & b) != 0;
}

// Does the filter name this event?
int
filter_on(const struct filter *f, u32 id)
{
  return f->event[id / 8] >> (id % 8) & 1;
}

// Is this filter content with the record?  What it does not name passes; of what
// it does, an event without such a field, or with other names for it, does not.
int
filter_pass(const struct filter *f, const struct nt_slot *rec)
{
  u32 off;
  if(rec->id >= NTRACE || !filter_on(f, rec->id))
    return 1;
  for(u32 i = 0; i < f->nterm; i++) {
    const struct term *t = &f->term[i];
    const struct field *fd = field_find(rec->id, t->field, &off);
    if(fd == 0 || number_bits(fd->type) == 0 || (t->set && strcmp(t->set, fd->unit) != 0))
      return 0;
    if(!compare(field_value(fd, off, rec), t->op, t->val))
      return 0;
  }
  return 1;
}

// ---- making -----------------------------------------------------------------------

static void
blanks(const char **s)
{
  while(**s == ' ')
    (*s)++;
}

static int
word_char(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// Cut a name off *s.  Its length; 0 if there is none or it is too long.
static u32
scan_word(const char **s, char *word)
{
  u32 n = 0;
  blanks(s);
  for(; word_char((*s)[n]); n++)
    if(n + 1 < NWORD)
      word[n] = (*s)[n];
  if(n >= NWORD)
    return 0;
  word[n] = 0;
  *s += n;
  return n;
}

static int
digit(char c, u32 base)
{
  int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                                : 99;
  return d < (int)base ? d : -1;
}

// A number below 2^63 in this base.
static int
scan_digits(const char **s, u32 base, u64 *val)
{
  u64 v = 0;
  const char *p = *s;
  for(; digit(*p, base) >= 0; p++) {
    if(v >> 59)
      return 0; // one digit more might not fit
    v = v * base + (u32)digit(*p, base);
  }
  if(p == *s)
    return 0;
  *s = p;
  *val = v;
  return 1;
}

// A decimal number, maybe negative; 0x and hexadecimal digits; or an address
// a.b.c.d.  1 and *s behind it, or 0.
int
scan_number(const char **s, long long *val)
{
  const char *p = *s;
  int minus = *p == '-', hex = p[0] == '0' && p[1] == 'x';
  u64 v, part;
  p += minus ? 1 : hex ? 2
                       : 0;
  if(!scan_digits(&p, hex ? 16 : 10, &v))
    return 0;
  if(*p == '.' && !minus && !hex) {
    for(int i = 0; i < 3; i++, v = v << 8 | part)
      if(v >> (8 * i + 8) || *p++ != '.' || !scan_digits(&p, 10, &part) || part > 255)
        return 0;
  }
  if(word_char(*p) || *p == '.')
    return 0;
  *s = p;
  *val = minus ? -(long long)v : (long long)v;
  return 1;
}

// The value of a name in each event's own set for that field: it must be one set.
static const char *
term_name(const struct filter *f, struct term *t, const char *name)
{
  u32 off;
  for(u32 id = 0; id < NTRACE; id++) {
    const struct field *fd = filter_on(f, id) ? field_find(id, t->field, &off) : 0;
    for(u32 i = 0; fd && i < NELEM(values); i++) {
      if(strcmp(values[i].set, fd->unit) != 0 || strcmp(values[i].name, name) != 0)
        continue;
      if(t->set && strcmp(t->set, fd->unit) != 0)
        return "a name with several meanings in these events";
      t->set = values[i].set;
      t->val = values[i].val;
    }
  }
  return t->set ? 0 : "unknown name";
}

// The field that name means in the events of f.
static const char *
term_field(const struct filter *f, struct term *t, const char *name)
{
  const char *why = "unknown field";
  u32 off;
  for(u32 id = 0; id < NTRACE; id++) {
    const struct field *fd = filter_on(f, id) ? field_find(id, name, &off) : 0;
    if(fd && number_bits(fd->type)) {
      t->field = fd->name;
      return 0;
    }
    if(fd)
      why = "field is no number";
  }
  return why;
}

// The least and the largest value of a number of this type; of 64 bits without a sign,
// as far as a filter's number goes.
static void
type_range(const char *type, long long *min, long long *max)
{
  u32 bits = number_bits(type), unused = 64 - bits + (*type == 's' || bits == 64);
  *max = (long long)(~0ull >> unused);
  *min = *type == 's' ? -*max - 1 : 0;
}

// Can a field of this type meet the term?  A value it never has is met by nothing, or by
// every record: neither was meant.
static int
type_meets(const char *type, const struct term *t)
{
  long long min, max;
  type_range(type, &min, &max);
  if(t->val < min || t->val > max)
    return 0;
  return !(t->op == OP_LT && t->val == min) && !(t->op == OP_GT && t->val == max) && !(t->op == OP_AND && t->val == 0);
}

// A number that the field never meets in any event of f would wait for ever: 0, or the
// widest of the field's types.
static const char *
term_fits(const struct filter *f, const struct term *t)
{
  const char *type = "";
  u32 off;
  for(u32 id = 0; id < NTRACE; id++) {
    const struct field *fd = filter_on(f, id) ? field_find(id, t->field, &off) : 0;
    if(fd && number_bits(fd->type) && type_meets(fd->type, t))
      return 0;
    if(fd && number_bits(fd->type) > number_bits(type))
      type = fd->type;
  }
  return type;
}

// FIELD OP VALUE at *s.
static const char *
term_make(const struct filter *f, struct term *t, const char **s)
{
  static char why[NWORD + 60], word[NWORD]; // trace_ctl
  const char *bad;
  long long min, max;
  *t = (struct term){0};
  if(scan_word(s, word) == 0)
    return "want FIELD OP VALUE";
  if((bad = term_field(f, t, word)) == 0) {
    blanks(s);
    while(t->op < NELEM(ops) && strncmp(*s, ops[t->op], strlen(ops[t->op])) != 0)
      t->op++;
    if(t->op == NELEM(ops) || strncmp(*s, "&&", 2) == 0)
      return "want one of == != < <= > >= & behind the field";
    *s += strlen(ops[t->op]);
    blanks(s);
    if(scan_number(s, &t->val)) {
      if((bad = term_fits(f, t)) == 0)
        return 0;
      if(t->op == OP_AND && t->val == 0)
        return "& 0 is never true: want a number with a bit in it";
      type_range(bad, &min, &max);
      ksnprintf(why, sizeof(why), "%s is from %lld to %lld: never true", t->field, min, max);
      return why;
    }
    if(scan_word(s, word) == 0)
      return "want a number, an address or a name as value";
    if(digit(word[0], 10) >= 0)
      bad = "bad number";
    else if((bad = term_name(f, t, word)) == 0)
      return 0;
  }
  ksnprintf(why, sizeof(why), "%s %s", bad, word);
  return why;
}

// Make a filter from PAT[,PAT] TERM [&& TERM...], need: at least so many terms.
// 0, or why it was refused.  Caller holds trace_ctl.
const char *
filter_make(struct filter *f, char *text, int need)
{
  static u8 set[NT_MAXEV]; // trace_ctl
  const char *s = text, *why = 0;
  *f = (struct filter){0};
  while(*s && *s != ' ')
    s++;
  memset(set, 0, sizeof(set));
  if((why = trace_patterns(text, (u32)(s - text), set, 1)) != 0)
    return why;
  for(u32 id = 0; id < NTRACE; id++)
    f->event[id / 8] |= (u8)(set[id] << (id % 8));
  blanks(&s);
  while(why == 0 && (*s || (int)f->nterm < need)) {
    if(f->nterm == NTERM)
      return "too many terms";
    if((why = term_make(f, &f->term[f->nterm], &s)) != 0)
      break;
    f->nterm++;
    blanks(&s);
    if(*s && strncmp(s, "&&", 2) != 0)
      why = "want && between terms";
    else if(*s && (s += 2, blanks(&s), *s == 0))
      why = "want a term behind &&";
  }
  return why;
}
