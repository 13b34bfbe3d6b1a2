// nettop's filter: what is typed behind /, or follows -f.
//
// FIELD=VALUE, or any text of a line.  filter_set understands it once, so that what
// can match nothing is refused where it is typed; then the views ask for each line.
// Nothing here knows an event: its fields and the names of their values are what the
// metadata says, and names are compared whether the screen shows them or numbers.
#include "types.h"
#include "ulib64.h"
#include "user.h"
#include "nettop.h"

enum kind {
  NONE,
  LINE, // the line's text
  PORT,
  PID,
  SOCK,
  PKT,
  NAME,  // of a program
  STATE, // of a connection
  EVENT,
  FIELD, // of events
};

// Keys that are no fields of events, and the largest number behind them.
static const struct {
  const char *key;
  enum kind kind;
  u32 most; // 0: no number is wanted
} keys[] = {
  {"port", PORT, 65535},
  {"pid", PID, 65535},
  {"sock", SOCK, 65535},
  {"pkt", PKT, ~0u},
  {"name", NAME, 0},
  {"state", STATE, 0},
  {"event", EVENT, 0},
};
#define NKEY (sizeof(keys) / sizeof(keys[0]))

static struct by {
  enum kind kind;
  char key[16], value[sizeof(want.filter)];
  int is_number;
  u64 number; // what value says, if it is one; below 0: two's complement
} by;

// ---- text and numbers ----------------------------------------------------------

static char
lower(char c)
{
  return 'A' <= c && c <= 'Z' ? c - 'A' + 'a' : c;
}

// Does the text contain the word, in capitals or not?  _ and - are the same.
static int
contains(const char *text, int n, const char *word)
{
  for(int i = 0, len = strlen(word); i + len <= n; i++) {
    int k = 0;
    while(k < len && (lower(text[i + k]) == lower(word[k]) || (text[i + k] == '-' && word[k] == '_')))
      k++;
    if(k == len)
      return 1;
  }
  return 0;
}

static int
starts(const char *s, const char *with)
{
  while(*with && lower(*s) == lower(*with))
    s++, with++;
  return *with == 0;
}

static int
digit(char c, u32 base)
{
  int d = '0' <= c && c <= '9' ? c - '0' : 'a' <= lower(c) && lower(c) <= 'f' ? lower(c) - 'a' + 10
                                                                              : 99;
  return d < (int)base ? d : -1;
}

// 12, -12, 0x1f or 10.0.2.15, and nothing else?  Numbers from 2^59 on are none.
static int
read_number(const char *s, u64 *number)
{
  int minus = *s == '-', dots = 0, hex = s[0] == '0' && s[1] == 'x';
  u64 v = 0, whole = 0;
  s += minus ? 1 : hex ? 2
                       : 0;
  do {
    if(digit(*s, hex ? 16 : 10) < 0)
      return 0;
    for(v = 0; digit(*s, hex ? 16 : 10) >= 0 && v >> 59 == 0; s++)
      v = v * (hex ? 16 : 10) + (u32)digit(*s, hex ? 16 : 10);
    whole = whole << 8 | v;
  } while(*s == '.' && v < 256 && !minus && !hex && dots++ < 3 && s++);
  *number = minus ? -v : dots ? whole
                              : v;
  return *s == 0 && (dots == 0 || (dots == 3 && v < 256));
}

// ---- understanding ----------------------------------------------------------------

static int
set_has(const char *set, const char *value)
{
  for(const struct nt_name *n = tr.name; n < tr.name + tr.nname; n++)
    if(strcmp(n->set, set) == 0 && contains(n->name, strlen(n->name), value))
      return 1;
  return 0;
}

// The first bytes of an address: 10.0.2 or 127. ?
static int
is_net(const char *s)
{
  int dots = 0;
  for(; *s; s++) {
    dots += *s == '.';
    if(*s != '.' && digit(*s, 10) < 0)
      return 0;
  }
  return dots == 1 || dots == 2;
}

// Can this field of an event have by's value?
static int
can_be(const struct nt_field *f)
{
  if(f->size == 0 || (f->type[0] != 'u' && f->type[0] != 's'))
    return 1; // text
  u32 unused = 64 - 8 * f->size;
  u64 top = by.number << unused;
  if(!by.is_number)
    return strcmp(f->unit, "ipv4") == 0 ? is_net(by.value) : set_has(f->unit, by.value);
  return f->type[0] == 's' ? (long long)top >> unused == (long long)by.number : top >> unused == by.number;
}

// 0, or why no event's field can be so.
static const char *
field_bad(char *why)
{
  struct nt_line o = {why, 0, 76};
  const struct nt_field *found = 0;
  for(int id = 0; id < NT_MAXEV; id++) {
    const struct nt_field *f = tr.event[id].name ? nt_field(&tr, id, by.key) : 0;
    if(f && can_be(f))
      return 0;
    if(f)
      found = f;
  }
  if(found)
    nt_printf(&o, "%s is %s %s, never %s", by.key, found->type, found->unit, by.value);
  else
    nt_printf(&o, "no field %s: port pid sock pkt state name event, or an event's", by.key);
  why[o.n] = 0;
  return why;
}

// 0, or why what stands behind one of `keys` means nothing.
static const char *
key_bad(char *why, u32 most)
{
  struct nt_line o = {why, 0, 76};
  int known = by.kind == NAME;
  if(by.kind == STATE)
    known = by.is_number || set_has("TCPSTATE", by.value) || set_has("PROTO", by.value);
  for(int id = 0; by.kind == EVENT && id < NT_MAXEV; id++)
    known |= tr.event[id].name && starts(tr.event[id].name, by.value);
  if(most ? by.is_number && by.number <= most : known)
    return 0;
  if(most)
    nt_printf(&o, "%s: want a number up to %u, not %s", by.key, most, by.value);
  else
    nt_printf(&o, "there is no %s %s", by.key, by.value);
  why[o.n] = 0;
  return why;
}

// Make text the filter.  0; or why it was refused, and the old one stays.
const char *
filter_set(const char *text)
{
  static char why[80];
  struct by old = by;
  const char *value = strchr(text, '='), *bad = 0;
  int n = value ? value - text : 0;
  by = (struct by){.kind = *text ? LINE : NONE};
  if(value && n > 0 && n < (int)sizeof(by.key)) {
    by.kind = FIELD;
    for(int i = 0; i < n; i++)
      by.key[i] = lower(text[i]);
    strcpy(by.value, value + 1);
    by.is_number = read_number(by.value, &by.number);
    u32 k = 0;
    while(k < NKEY && strcmp(keys[k].key, by.key) != 0)
      k++;
    if(k < NKEY)
      by.kind = keys[k].kind;
    if(by.value[0] == 0)
      bad = "want a value behind =";
    else
      bad = k < NKEY ? key_bad(why, keys[k].most) : field_bad(why);
  }
  if(bad)
    by = old;
  else
    strcpy(want.filter, text);
  return bad;
}

// Does the filter say anything about what this view lists?
int
filter_speaks(int view)
{
  if(view == V_FLOW || view == V_PCB)
    return by.kind != PKT && by.kind != EVENT && by.kind != FIELD;
  return view == V_EVENT && by.kind != STATE;
}

// ---- asking ------------------------------------------------------------------------

// Is by's value that of the field, or part of what it reads?
static int
field_is(const struct nt_field *f, const struct nt_slot *s)
{
  char text[80];
  struct nt_line o = {text, 0, sizeof(text)};
  if(by.is_number && (f->type[0] == 'u' || f->type[0] == 's') && f->size)
    return nt_value(f, s) == by.number;
  tr.numeric = 0;
  nt_put(&o, &tr, f, s);
  tr.numeric = want.numeric;
  return contains(text, o.n, by.value);
}

// Does a record pass?  line: the record as n characters.
int
record_matches(const struct model *m, const struct nt_slot *s, const char *line, int n)
{
  if(by.kind == NONE || by.kind == STATE)
    return 1;
  if(by.kind == LINE)
    return contains(line, n, want.filter);
  if(by.kind == PKT || by.kind == SOCK || by.kind == PID)
    return by.number == (by.kind == PKT ? s->pkt : by.kind == SOCK ? s->sock
                                                                   : s->pid);
  if(by.kind == NAME)
    return starts(prog_name(m, s->pid), by.value);
  if(s->id >= NT_MAXEV || tr.event[s->id].name == 0)
    return 0;
  if(by.kind == EVENT)
    return starts(tr.event[s->id].name, by.value);
  for(int i = 0; i < tr.event[s->id].nfield; i++) {
    const struct nt_field *f = &tr.event[s->id].field[i];
    if(strcmp(by.kind == PORT ? f->unit : f->name, by.key) == 0 && field_is(f, s))
      return 1;
  }
  return 0;
}

// Does a connection?
int
flow_matches(const struct model *m, const struct flow *f, const char *line, int n)
{
  char state[20];
  struct nt_line o = {state, 0, sizeof(state)};
  switch(by.kind) {
  case LINE:
    return contains(line, n, want.filter);
  case PORT:
    return f->lport == by.number || (f->raddr && f->rport == by.number);
  case PID:
    return f->owner == by.number;
  case SOCK:
    return f->sock == by.number;
  case NAME:
    return starts(prog_name(m, f->owner), by.value);
  case STATE:
    if(by.is_number)
      return !other_proto(f) && f->state == by.number;
    tr.numeric = 0;
    put_state(&o, f);
    tr.numeric = want.numeric;
    return contains(state, o.n, by.value);
  default:
    return 1;
  }
}
