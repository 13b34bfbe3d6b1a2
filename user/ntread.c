// Reading /dev/nettrace: header, metadata, records, and records as text.
//
// Called by nettop and nettrace with one struct ntread per open stream; nothing here keeps
// state of its own.  What the stream says is checked before it is used: offsets
// against the payload, lengths against the buffer.
#include "cmd.h"
#include "fcntl.h"
#include "ulib64.h"
#include "user.h"
#include "ntread.h"

#define MAXMETA (1 << 20) // a longer metadata text is taken for garbage
#define MAXSYMS (1 << 18) // bytes of the list of functions that are read

// ---- lines ---------------------------------------------------------------

static void
put(struct nt_line *o, char c)
{
  if(o->n < o->max)
    o->s[o->n++] = c;
}

// n bytes of s in a field of `width`, to the left if width is negative.
static void
put_text(struct nt_line *o, const char *s, int n, int width, char pad)
{
  for(int i = n; i < width; i++)
    put(o, pad);
  for(int i = 0; i < n; i++)
    put(o, s[i]);
  for(int i = n; i < -width; i++)
    put(o, ' ');
}

static void
put_num(struct nt_line *o, u64 x, u32 base, int width, char pad)
{
  char digits[20], *p = digits + sizeof(digits), *end = p;
  do {
    *--p = "0123456789abcdef"[div64(&x, base)];
  } while(x != 0);
  put_text(o, p, end - p, width, pad);
}

// x in at most four characters: 999 1.4k 94k 999k 1.2M ... 4.2G, cut, not rounded;
// without the fraction if there is room for three only.
static void
put_human(struct nt_line *o, u32 x, int width)
{
  char s[8];
  struct nt_line n = {s, 0, sizeof(s)};
  const char *unit = " kMG";
  u32 rest = 0; // thousandths of the unit
  for(; x >= 1000; unit++) {
    rest = x % 1000;
    x /= 1000;
  }
  if(*unit == ' ')
    nt_printf(&n, "%u", x);
  else if(x < 10 && width != 3)
    nt_printf(&n, "%u.%u%c", x, rest / 100, *unit);
  else
    nt_printf(&n, "%u%c", x, *unit);
  put_text(o, s, n.n, width, ' ');
}

// Append to a line.  %s %c %u %x (small letters), %U u64, %H about this many
// (1.4k), %I IPv4 in host order, %%; width, - and 0.  A width of %s also cuts, so
// that a column never pushes the next one.
void
nt_printf(struct nt_line *o, const char *fmt, ...)
{
  __builtin_va_list ap;
  __builtin_va_start(ap, fmt);
  for(const char *s; *fmt; fmt++) {
    if(*fmt != '%') {
      put(o, *fmt);
      continue;
    }
    int left = fmt[1] == '-', width = 0;
    fmt += left;
    char pad = fmt[1] == '0' ? '0' : ' ';
    for(fmt++; '0' <= *fmt && *fmt <= '9'; fmt++)
      width = width * 10 + *fmt - '0';
    int w = left ? -width : width;
    if(*fmt == 's') {
      s = __builtin_va_arg(ap, char *);
      int n = strlen(s);
      put_text(o, s, width && n > width ? width : n, w, ' ');
    } else if(*fmt == 'c') {
      put(o, __builtin_va_arg(ap, int));
    } else if(*fmt == 'u' || *fmt == 'x') {
      put_num(o, __builtin_va_arg(ap, u32), *fmt == 'x' ? 16 : 10, w, pad);
    } else if(*fmt == 'U') {
      put_num(o, __builtin_va_arg(ap, u64), 10, w, pad);
    } else if(*fmt == 'H') {
      put_human(o, __builtin_va_arg(ap, u32), w);
    } else if(*fmt == 'I') {
      u32 ip = __builtin_va_arg(ap, u32);
      nt_printf(o, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
    } else if(*fmt == '%') {
      put(o, '%');
    }
  }
  __builtin_va_end(ap);
}

// ---- metadata ------------------------------------------------------------

// Cut the next word off *p, which moves behind it; "" at the end of the line.
static char *
word(char **p)
{
  char *w = *p, *s = w;
  while(*s && *s != ' ')
    s++;
  *p = *s ? s + 1 : s;
  *s = 0;
  return w;
}

static u32
parse_number(const char *s)
{
  u32 x = 0, base = 10;
  if(s[0] == '0' && s[1] == 'x') {
    base = 16;
    s += 2;
  }
  for(; *s; s++) {
    u32 digit = *s <= '9' ? (u32)(*s - '0') : (u32)(*s - 'a' + 10);
    x = x * base + digit;
  }
  return x;
}

// Bytes of a type; 0 if it lasts to the end of the record, -1 if unknown.
static int
type_size(const char *type)
{
  static const struct {
    const char *type;
    int size;
  } t[] = {{"u8", 1}, {"u16", 2}, {"u32", 4}, {"u64", 8}, {"s16", 2}, {"s32", 4}, {"mac6", 6}, {"name16", 16}, {"text", 0}, {"bytes", 0}};
  for(u32 i = 0; i < sizeof(t) / sizeof(t[0]); i++)
    if(strcmp(type, t[i].type) == 0)
      return t[i].size;
  return -1;
}

// "TYPE NAME UNIT doc": one more field of e.  Returns e, or 0 if the rest of
// this event cannot be understood.
static struct nt_event *
parse_field(struct ntread *r, struct nt_event *e, char *line)
{
  struct nt_field *f = &r->field[r->nfield], *last = f - 1;
  f->type = word(&line);
  f->name = word(&line);
  f->unit = word(&line);
  f->doc = line;
  f->off = e->nfield ? last->off + last->size : 0;
  int size = type_size(f->type);
  if(size < 0 || f->off + size > NT_PAYLOAD || (e->nfield && last->size == 0))
    return 0;
  f->size = size;
  r->nfield++;
  e->nfield++;
  return e;
}

// "ID NAME STAGE doc": the lines behind it are its fields.
static struct nt_event *
parse_event(struct ntread *r, char *line)
{
  u32 id = parse_number(word(&line));
  if(id >= NT_MAXEV)
    return 0;
  struct nt_event *e = &r->event[id];
  e->name = word(&line);
  e->stage = word(&line);
  e->doc = line;
  e->field = &r->field[r->nfield];
  e->nfield = 0;
  return e;
}

// "SET VALUE NAME doc"
static void
parse_name(struct ntread *r, char *line, int bit)
{
  struct nt_name *n = &r->name[r->nname++];
  n->set = word(&line);
  n->value = parse_number(word(&line));
  n->name = word(&line);
  n->doc = line;
  n->bit = bit;
}

// Build the tables from the metadata text, which is cut into words.  Lines that
// begin with an unknown word are skipped: a newer kernel may have more to say.
// Returns 0, or -1 with r->why set.
static int
parse(struct ntread *r, char *text)
{
  int nfield = 0, nname = 0;
  for(char *s = text; *s; s++) {
    nfield += s[0] == '\n' && s[1] == '\t';
    nname += s[0] == '\n' && (s[1] == 'n' || s[1] == 'b');
  }
  r->field = malloc((nfield + 1) * sizeof(*r->field));
  r->name = malloc((nname + 1) * sizeof(*r->name));
  r->why = "no memory for its metadata";
  if(r->field == 0 || r->name == 0)
    return -1;
  r->why = "metadata of another version: rebuild this program with the kernel";
  struct nt_event *e = 0;
  for(char *line = text, *next; *line; line = next) {
    for(next = line; *next && *next != '\n'; next++)
      ;
    if(*next)
      *next++ = 0;
    if(*line == '\t') {
      e = e ? parse_field(r, e, line + 1) : 0;
      continue;
    }
    const char *w = word(&line);
    if(strcmp(w, "event") == 0)
      e = parse_event(r, line);
    else if(strcmp(w, "name") == 0 || strcmp(w, "bits") == 0)
      parse_name(r, line, *w == 'b');
    else if(strcmp(w, "nettrace-metadata") == 0 && strcmp(word(&line), "1") == 0)
      r->why = 0;
  }
  return r->why ? -1 : 0;
}

// ---- the stream ----------------------------------------------------------

// Read more behind what is left in the buffer; 1 if there is more now.
static int
fill(struct ntread *r)
{
  memmove(r->buf, r->buf + r->at, r->end - r->at);
  r->end -= r->at;
  r->at = 0;
  r->status = read(r->fd, r->buf + r->end, sizeof(r->buf) - r->end);
  if(r->status > 0)
    r->end += r->status;
  return r->status > 0;
}

// Take n bytes of header or metadata; dst 0: skip them.
static int
take(struct ntread *r, void *dst, int n)
{
  for(char *d = dst; n > 0;) {
    if(r->at == r->end && !fill(r))
      return -1;
    int m = r->end - r->at < n ? r->end - r->at : n;
    if(d) {
      memmove(d, r->buf + r->at, m);
      d += m;
    }
    r->at += m;
    n -= m;
  }
  return 0;
}

// What makes this header unreadable, or 0.
static const char *
header_fault(const struct nt_header *h)
{
  if(strcmp(h->magic, NT_FILE_MAGIC) != 0)
    return "not a trace stream";
  if(h->version != NT_VERSION || h->hdr_size != sizeof(*h) || h->slot_size != sizeof(struct nt_slot))
    return "a trace of another version: rebuild this program with the kernel";
  if(h->meta_len == 0 || h->meta_len > MAXMETA)
    return "metadata of impossible length";
  return 0;
}

// Open a stream and read its description.  flags: as for open(); with
// O_NONBLOCK nt_next returns 0 instead of waiting.  commands: lines written
// before anything is read, 0 for none.
// Returns 0, or -1: then r->why says what is wrong with the stream, or is 0
// and r->status holds the error of open, write or read.
int
nt_open(struct ntread *r, const char *path, int flags, const char *commands)
{
  memset(r, 0, sizeof(*r));
  r->fd = r->status = open(path, flags);
  if(r->fd >= 0 && commands)
    r->status = write(r->fd, commands, strlen(commands));
  if(r->status < 0 || take(r, &r->h, sizeof(r->h)) < 0)
    return -1;
  r->why = header_fault(&r->h);
  if(r->why)
    return -1;
  char *text = malloc(r->h.meta_len + 1);
  r->why = text ? 0 : "no memory for its metadata";
  if(text == 0 || take(r, text, r->h.meta_len) < 0 || take(r, 0, -r->h.meta_len % 64) < 0) {
    free(text);
    return -1;
  }
  text[r->h.meta_len] = 0;
  return parse(r, text);
}

// The next record, good until the next call, with its continuation slots right
// behind it.  Returns 0 when there is none: see r->status (0 a frozen trace has
// been read to its end, -EAGAIN nothing now).
const struct nt_slot *
nt_next(struct ntread *r)
{
  for(;;) {
    const struct nt_slot *s = (const void *)(r->buf + r->at);
    int left = r->end - r->at, lone = left >= 64 && (s->nsl == 0 || s->nsl > NT_MAXNSL);
    int n = left < 64 || lone ? 64 : s->nsl * 64;
    if(left < n) {
      if(!fill(r))
        return 0;
      continue;
    }
    r->at += n;
    if(!lone) // else a continuation without its head
      return s;
  }
}

// ---- records -------------------------------------------------------------

// The number of the event of that name, -1 if this kernel has none.
int
nt_event(const struct ntread *r, const char *name)
{
  for(int id = 0; id < NT_MAXEV; id++)
    if(r->event[id].name && strcmp(r->event[id].name, name) == 0)
      return id;
  return -1;
}

// The field of that name, 0 if there is none.
const struct nt_field *
nt_field(const struct ntread *r, int id, const char *name)
{
  const struct nt_event *e = &r->event[id];
  for(int i = 0; i < e->nfield; i++)
    if(strcmp(e->field[i].name, name) == 0)
      return &e->field[i];
  return 0;
}

// A number field's value, sign-extended to 64 bits.
u64
nt_value(const struct nt_field *f, const struct nt_slot *s)
{
  u64 v = 0;
  for(int i = f->size < 8 ? f->size : 8; i-- > 0;)
    v = v << 8 | s->p[f->off + i];
  if(f->type[0] == 's' && s->p[f->off + f->size - 1] & 0x80)
    v |= -1ull << (8 * f->size);
  return v;
}

// The value of the field of that name, 0 if the record's event has none.
u64
nt_get(const struct ntread *r, const struct nt_slot *s, const char *field)
{
  const struct nt_field *f = s->id < NT_MAXEV ? nt_field(r, s->id, field) : 0;
  return f && f->size ? nt_value(f, s) : 0;
}

// A stamp, or a difference of two, in microseconds; 0 while the clock's rate is unknown.
u64
nt_us(const struct ntread *r, u64 tsc)
{
  u64 us = tsc * 1000; // wraps after 71 days at 3 GHz
  if(r->h.tsc_khz == 0)
    return 0;
  div64(&us, r->h.tsc_khz);
  return us;
}

// The payload without the gaps between its slots, into p.  Returns where field f
// ends in it.
static int
gather(u8 p[NT_MAXTEXT], const struct nt_field *f, const struct nt_slot *s)
{
  memmove(p, s->p, NT_PAYLOAD);
  for(int k = 1; k < s->nsl; k++)
    memmove(p + nt_capacity(k), &s[k].pkt, NT_CONTLOAD);
  return f->size ? f->off + f->size : (int)nt_capacity(s->nsl);
}

// Append a name16 or text field up to its first NUL.
void
nt_text(struct nt_line *o, const struct nt_field *f, const struct nt_slot *s)
{
  u8 p[NT_MAXTEXT];
  int end = gather(p, f, s);
  for(int i = f->off; i < end && p[i]; i++)
    put(o, ' ' <= p[i] && p[i] <= '~' ? p[i] : '.');
}

// The value of that name in a set; -1 if there is none.
int
nt_number(const struct ntread *r, const char *set, const char *name)
{
  for(const struct nt_name *n = r->name; n < r->name + r->nname; n++)
    if(strcmp(n->name, name) == 0 && strcmp(n->set, set) == 0)
      return n->value;
  return -1;
}

// What a set says about a value, 0 if nothing.  Not for sets of bits.
const struct nt_name *
nt_value_name(const struct ntread *r, const char *set, u32 value)
{
  for(const struct nt_name *n = r->name; n < r->name + r->nname; n++)
    if(n->value == value && strcmp(n->set, set) == 0)
      return n;
  return 0;
}

// Append the name of a value, the names of its bits (SYN,ACK), or the number.
// TCP states are written as RFC 9293 does, with - for _.  r->numeric: always the number.
void
nt_named(struct nt_line *o, const struct ntread *r, const char *set, u32 value)
{
  int dash = strcmp(set, "TCPSTATE") == 0, some = 0;
  if(r->numeric) {
    nt_printf(o, "%u", value);
    return;
  }
  for(const struct nt_name *n = r->name; n < r->name + r->nname; n++) {
    if(!(n->bit ? value & n->value : value == n->value) || strcmp(n->set, set) != 0)
      continue;
    if(some++)
      put(o, ',');
    for(const char *c = n->name; *c; c++)
      put(o, dash && *c == '_' ? '-' : *c);
    if(n->bit)
      value &= ~n->value;
    else
      return;
  }
  if(value || !some)
    nt_printf(o, some ? ",0x%x" : "%u", value);
}

// Units whose values are numbers to read; any other, also one not known here, is in hex.
static int
is_decimal(const char *unit)
{
  static const char *const units[] = {"num", "byte", "port", "us", "ms", "tsc", "pid", "id"};
  for(u32 i = 0; i < sizeof(units) / sizeof(units[0]); i++)
    if(strcmp(unit, units[i]) == 0)
      return 1;
  return 0;
}

static void
put_hex(struct nt_line *o, u64 v)
{
  nt_printf(o, "0x");
  put_num(o, v, 16, 0, ' ');
}

// Append bytes in hex, two digits each; a colon between those of an address.
static void
put_bytes(struct nt_line *o, const u8 *p, int n, int mac)
{
  for(int i = 0; i < n; i++)
    nt_printf(o, i && mac ? ":%02x" : "%02x", p[i]);
}

// Append a field's value as its unit and type ask for: text, an address, names, a number.
void
nt_put(struct nt_line *o, const struct ntread *r, const struct nt_field *f, const struct nt_slot *s)
{
  u8 p[NT_MAXTEXT];
  if(strcmp(f->type, "bytes") == 0) {
    int end = gather(p, f, s);
    put_bytes(o, p + f->off, end - f->off, 0);
    return;
  }
  if(f->type[0] == 'n' || f->size == 0) {
    nt_text(o, f, s);
    return;
  }
  u64 v = nt_value(f, s);
  if(f->type[0] == 'm')
    put_bytes(o, s->p + f->off, f->size, 1);
  else if(strcmp(f->unit, "ipv4") == 0)
    nt_printf(o, "%I", (u32)v);
  else if('A' <= f->unit[0] && f->unit[0] <= 'Z')
    nt_named(o, r, f->unit, v);
  else if(f->type[0] == 's' && (long long)v < 0)
    nt_printf(o, "-%U", -v);
  else if(is_decimal(f->unit))
    nt_printf(o, "%U", v);
  else
    put_hex(o, v);
}

// Append " name=value".
static void
print_field(struct nt_line *o, const struct ntread *r, const struct nt_field *f, const struct nt_slot *s)
{
  nt_printf(o, " %s=", f->name);
  nt_put(o, r, f, s);
}

// Append a connection's two ends, four fields in all events, as " :80<10.0.2.2:51836".
static void
print_flow(struct nt_line *o, const struct nt_field *f, const struct nt_slot *s)
{
  nt_printf(o, " :%u<%I:%u", (u32)nt_value(f + 2, s), (u32)nt_value(f + 1, s), (u32)nt_value(f + 3, s));
}

// Wide plain numbers (sequence numbers, addresses, hashes) say little to a
// person: they come last, where a short line cuts them off.
static int
is_wide(const struct nt_field *f)
{
  static const char *wide[] = {"num", "hex", "addr", "tsc"};
  for(int i = 0; i < 4; i++)
    if(f->size >= 4 && strcmp(f->unit, wide[i]) == 0)
      return 1;
  return 0;
}

// Append a record as text: "event field=value ...".
void
nt_print_event(struct nt_line *o, const struct ntread *r, const struct nt_slot *s)
{
  if(s->id >= NT_MAXEV || r->event[s->id].name == 0) {
    nt_printf(o, "event %u is not in the metadata", s->id);
    return;
  }
  const struct nt_event *e = &r->event[s->id];
  put_text(o, e->name, strlen(e->name), -12, ' ');
  const struct nt_field *f = e->field, *end = f + e->nfield;
  if(e->nfield >= 4 && nt_field(r, s->id, "laddr") == f && nt_field(r, s->id, "rport") == f + 3) {
    print_flow(o, f, s);
    f += 4;
  }
  for(int wide = 0; wide < 2; wide++)
    for(const struct nt_field *g = f; g < end; g++)
      if(is_wide(g) == wide)
        print_field(o, r, g, s);
}

// The same behind the packet: "#pkt event field=value ...".
void
nt_print(struct nt_line *o, const struct ntread *r, const struct nt_slot *s)
{
  int from = o->n;
  nt_printf(o, s->pkt ? "#%u " : "- ", s->pkt);
  put_text(o, "", 0, from + 7 - o->n, ' '); // up to 5 digits
  nt_print_event(o, r, s);
}

// ---- functions -------------------------------------------------------------

// Lines "ADDRESS NAME" of all the kernel's functions, by address; "" if there are none.
static const char *
read_syms(void)
{
  char *s = malloc(MAXSYMS + 1);
  int fd = open("/dev/nettrace.syms", O_RDONLY), n = 0, r;
  if(s == 0)
    return "";
  while(fd >= 0 && n < MAXSYMS && (r = read(fd, s + n, MAXSYMS - n)) > 0)
    n += r;
  close(fd);
  s[n] = 0;
  return s;
}

// Append the function at a code address, as net_drop or net_drop+0x2f; the address if
// the kernel does not tell.
void
nt_function(struct nt_line *o, u32 addr)
{
  static const char *syms;
  char want[9];
  struct nt_line line = {want, 0, 8};
  nt_printf(&line, "%08x", addr);
  want[8] = 0;
  if(syms == 0)
    syms = read_syms();
  const char *best = 0;
  for(const char *s = syms; *s && memcmp(s, want, 8) <= 0; s += *s == '\n') {
    best = s;
    while(*s && *s != '\n')
      s++;
  }
  if(best == 0) {
    put_hex(o, addr);
    return;
  }
  for(const char *s = best + 9; *s && *s != '\n'; s++)
    put(o, *s);
  char start[11] = "0x";
  memmove(start + 2, best, 8);
  u32 at = parse_number(start);
  if(at != addr)
    nt_printf(o, "+0x%x", addr - at);
}
