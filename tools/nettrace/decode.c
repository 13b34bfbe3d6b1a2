// From a record to its fields, by name, as the metadata describes them.
//
// Also symbols: fields of unit addr print as function+offset when the run
// directory holds the kernel.
#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "tool.h"

static struct sym {
  u32 addr, size;
  const char *name;
} * sym;
static u32 nsym;

static int
sym_cmp(const void *a, const void *b)
{
  const struct sym *x = a, *y = b;
  return x->addr < y->addr ? -1 : x->addr > y->addr;
}

// Collect the functions and objects of a 32-bit ELF already read to p, len bytes.
static void
symbols_scan(const u8 *p, size_t len)
{
  Elf32_Ehdr eh;
  memcpy(&eh, p, sizeof eh);
  if(eh.e_shentsize != sizeof(Elf32_Shdr) || eh.e_shoff > len || (len - eh.e_shoff) / sizeof(Elf32_Shdr) < eh.e_shnum)
    return;
  Elf32_Shdr *sh = xmalloc(eh.e_shnum * sizeof *sh);
  memcpy(sh, p + eh.e_shoff, eh.e_shnum * sizeof *sh);
  for(u32 i = 0; i < eh.e_shnum; i++) {
    if(sh[i].sh_type != SHT_SYMTAB || sh[i].sh_link >= eh.e_shnum)
      continue;
    Elf32_Shdr *str = &sh[sh[i].sh_link];
    if(sh[i].sh_offset > len || sh[i].sh_size > len - sh[i].sh_offset || str->sh_offset > len || str->sh_size > len - str->sh_offset)
      continue;
    if(str->sh_size == 0 || p[str->sh_offset + str->sh_size - 1] != 0)
      continue;
    u32 n = sh[i].sh_size / sizeof(Elf32_Sym);
    sym = xrealloc(sym, (nsym + n) * sizeof *sym);
    for(u32 k = 0; k < n; k++) {
      Elf32_Sym s;
      memcpy(&s, p + sh[i].sh_offset + k * sizeof s, sizeof s);
      u32 type = ELF32_ST_TYPE(s.st_info);
      if((type == STT_FUNC || type == STT_OBJECT) && s.st_name < str->sh_size && s.st_value)
        sym[nsym++] = (struct sym){s.st_value, s.st_size, xstrdup((const char *)p + str->sh_offset + s.st_name)};
    }
  }
  free(sh);
  qsort(sym, nsym, sizeof *sym, sym_cmp);
}

// Read the kernel's symbols.  Without them addresses print in hex: not an error.
int
symbols_load(const char *elf)
{
  FILE *f = fopen(elf, "rbe");
  struct stat st;
  if(f == 0)
    return 0;
  if(fstat(fileno(f), &st) == 0 && st.st_size > (off_t)sizeof(Elf32_Ehdr) && st.st_size < 64 << 20) {
    u8 *p = xmalloc((size_t)st.st_size);
    if(fread(p, (size_t)st.st_size, 1, f) == 1 && memcmp(p, ELFMAG "\1\1", 6) == 0)
      symbols_scan(p, (size_t)st.st_size);
    free(p);
  }
  fclose(f);
  return 0;
}

// function+0x1a, or the bare number; good until the eighth call after.
char *
symbol_str(u32 addr)
{
  static char buf[8][80];
  static u32 turn;
  char *to = buf[turn++ % 8];
  u32 lo = 0, hi = nsym;
  while(lo < hi) {
    u32 mid = lo + (hi - lo) / 2;
    if(sym[mid].addr <= addr)
      lo = mid + 1;
    else
      hi = mid;
  }
  const struct sym *s = lo ? &sym[lo - 1] : 0;
  if(s == 0 || addr - s->addr >= (s->size ? s->size : 4096))
    snprintf(to, sizeof buf[0], "0x%x", addr);
  else if(addr == s->addr)
    snprintf(to, sizeof buf[0], "%.60s", s->name);
  else
    snprintf(to, sizeof buf[0], "%.60s+0x%x", s->name, addr - s->addr);
  return to;
}

const struct nt_slot *
rec_slot(const struct boot *b, const struct rec *r)
{
  return r->slot == NOSLOT ? 0 : &b->slot[r->slot];
}

// What the metadata says about a record; 0 for a gap or an unknown id.
const struct event *
rec_event(const struct boot *b, const struct rec *r)
{
  const struct nt_slot *s = rec_slot(b, r);
  return s && s->id < MAXEVENTS && b->meta.ev ? b->meta.ev[s->id] : 0;
}

// Payload bytes of a record, put together in buf if it has several slots.
const u8 *
rec_payload(const struct boot *b, const struct rec *r, u8 buf[192], u32 *len)
{
  const struct nt_slot *s = rec_slot(b, r);
  *len = nt_capacity(s->nsl);
  if(s->nsl == 1)
    return s->p;
  memcpy(buf, s->p, NT_PAYLOAD);
  for(u32 i = 1; i < s->nsl; i++)
    memcpy(buf + NT_PAYLOAD + (i - 1) * NT_CONTLOAD, &s[i].pkt, NT_CONTLOAD);
  return buf;
}

u64
field_num(const struct field *f, const u8 *p)
{
  u64 v = 0;
  if(f->type > T_S32)
    return 0;
  for(u32 i = 0; i < f->size; i++)
    v |= (u64)p[f->off + i] << (8 * i);
  if(f->type == T_S16)
    return (u64)(i64)(short)v;
  return f->type == T_S32 ? (u64)(i64)(int)v : v;
}

// The number in a record's field, if its event has a field of that name.
bool
rec_num(const struct boot *b, const struct rec *r, const char *name, u64 *val)
{
  const struct field *f = event_field(rec_event(b, r), name);
  if(f == 0 || f->type > T_S32)
    return false;
  *val = field_num(f, rec_slot(b, r)->p);
  return true;
}

u64
rec_get(const struct boot *b, const struct rec *r, const char *name)
{
  u64 v = 0;
  rec_num(b, r, name, &v);
  return v;
}

// The name of the value in a field whose unit is a set, or 0.
const char *
rec_named(const struct boot *b, const struct rec *r, const char *name)
{
  const struct field *f = event_field(rec_event(b, r), name);
  u64 v;
  if(f == 0 || f->set == 0 || !rec_num(b, r, name, &v))
    return 0;
  return set_name(f->set, (u32)v);
}

// A|B|0x40: the names of the bits set, the rest in hex.
static size_t
bits_str(char *to, size_t max, const struct nameset *s, u64 v)
{
  size_t k = 0;
  for(u32 i = 0; i < s->n; i++)
    if(s->v[i].val && (v & s->v[i].val) == s->v[i].val && k < max) {
      k += (size_t)snprintf(to + k, max - k, "%s%s", k ? "," : "", s->v[i].name);
      v &= ~(u64)s->v[i].val;
    }
  if((v || k == 0) && k < max)
    k += (size_t)snprintf(to + k, max - k, v ? "%s0x%llx" : "%s%llu", k ? "," : "", v);
  return k < max ? k : max - 1;
}

// Bytes of a text field: to its NUL, of bytes and name16 likewise.
static u32
text_len(const struct field *f, const u8 *p, u32 len)
{
  u32 max = f->size ? f->size : len > f->off ? len - f->off
                                             : 0,
      n = 0;
  if(f->type == T_BYTES)
    return max;
  while(n < max && p[f->off + n])
    n++;
  return n;
}

// One field's value as people read it; what the guest wrote is escaped.
size_t
field_str(char *to, size_t max, const struct field *f, const u8 *p, u32 len)
{
  if(f->type == T_TEXT || f->type == T_NAME16)
    return esc_text(to, max, p + f->off, text_len(f, p, len));
  if(f->type == T_BYTES) {
    size_t k = 0;
    for(u32 i = 0; i < text_len(f, p, len) && k + 2 < max; i++)
      k += (size_t)sprintf(to + k, "%02x", p[f->off + i]);
    return k;
  }
  if(f->type == T_MAC6)
    return (size_t)snprintf(to, max, "%s", mac_str(p + f->off));
  u64 v = field_num(f, p);
  const char *name = f->unit == U_SET && !f->set->bits ? set_name(f->set, (u32)v) : 0;
  if(name)
    return (size_t)snprintf(to, max, "%s", name);
  switch(f->unit) {
  case U_SET:
    return f->set->bits ? bits_str(to, max, f->set, v) : (size_t)snprintf(to, max, "%llu", v);
  case U_IPV4:
    return (size_t)snprintf(to, max, "%s", ip_str((u32)v));
  case U_ADDR:
    return (size_t)snprintf(to, max, "%s", symbol_str((u32)v));
  case U_HEX:
  case U_OTHER:
    return (size_t)snprintf(to, max, "0x%llx", v);
  }
  return (size_t)snprintf(to, max, f->type >= T_S16 ? "%lld" : "%llu", v);
}

// The same for JSON: numbers where they are numbers, never a float.
void
field_json(FILE *out, const struct field *f, const u8 *p, u32 len)
{
  char s[800];
  bool num = f->type <= T_S32 && (f->unit <= U_PORT || (f->unit >= U_US && f->unit <= U_ID) ||
                                  (f->unit == U_SET && !f->set->bits && !set_name(f->set, (u32)field_num(f, p))));
  if(num)
    fprintf(out, f->type >= T_S16 ? "%lld" : "%llu", field_num(f, p));
  else if(f->type == T_TEXT || f->type == T_NAME16)
    put_json(out, (const char *)p + f->off, text_len(f, p, len));
  else
    put_json(out, s, field_str(s, sizeof s, f, p, len));
}

// A value as a user writes it: a number, an address, a name of the field's set.
bool
field_parse(const struct field *f, const char *text, u64 *val)
{
  for(u32 i = 0; f->set && i < f->set->n; i++) {
    const char *a = f->set->v[i].name, *c = text;
    while(*a && (*a == *c || (*a == '_' && *c == '-')))
      a++, c++;
    if(*a == 0 && *c == 0) {
      *val = f->set->v[i].val;
      return true;
    }
  }
  unsigned a, b, c, d;
  char end;
  if(sscanf(text, "%u.%u.%u.%u%c", &a, &b, &c, &d, &end) == 4 && (a | b | c | d) < 256) {
    *val = a << 24 | b << 16 | c << 8 | d;
    return true;
  }
  char *e;
  *val = (u64)strtoll(text, &e, 0);
  return *text && *e == 0;
}

const char *
ctx_name(u32 ctx)
{
  static const char *const name[] = {"thread", "intr", "netd", "timer", "nested"};
  return ctx < sizeof name / sizeof name[0] ? name[ctx] : "?";
}

// The connection that a record names, if its event carries one.
bool
rec_flow(const struct boot *b, const struct rec *r, struct flow *f)
{
  u64 la, ra, lp, rp;
  if(!rec_num(b, r, "laddr", &la) || !rec_num(b, r, "raddr", &ra) || !rec_num(b, r, "lport", &lp) || !rec_num(b, r, "rport", &rp))
    return false;
  *f = (struct flow){(u32)la, (u32)ra, (u16)lp, (u16)rp};
  return true;
}

bool
flow_same(const struct flow *a, const struct flow *b)
{
  return a->laddr == b->laddr && a->raddr == b->raddr && a->lport == b->lport && a->rport == b->rport;
}

// A:p-B:p; which end is the guest's is found out later.
bool
flow_parse(const char *s, struct flow *f)
{
  unsigned a[4], b[4], p, q;
  char end;
  if(sscanf(s, "%u.%u.%u.%u:%u-%u.%u.%u.%u:%u%c", &a[0], &a[1], &a[2], &a[3], &p, &b[0], &b[1], &b[2], &b[3], &q, &end) != 10)
    return false;
  for(int i = 0; i < 4; i++)
    if(a[i] > 255 || b[i] > 255)
      return false;
  if(p > 0xffff || q > 0xffff)
    return false;
  f->laddr = a[0] << 24 | a[1] << 16 | a[2] << 8 | a[3];
  f->raddr = b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
  f->lport = (u16)p;
  f->rport = (u16)q;
  return true;
}
