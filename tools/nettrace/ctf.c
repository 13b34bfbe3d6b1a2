// ctf: the trace in the Common Trace Format 1.8, for babeltrace2 and its relatives.
//
// DIR/metadata is TSDL generated from the trace's own metadata, DIR/stream the
// records in ring order, packed: ts and id are the event's header, what every
// record has is its context, then the event's fields.  Addresses, names and text
// are strings; named values are enumerations.  A packet ends where records were
// lost, because CTF counts losses between packets.
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "tool.h"

#define MAGIC     0xc1fc1fc1u
#define MAXPACKET (256 * 1024) // a packet is closed behind the record that passes this
#define MAXRECORD 1024         // no record is longer: 4 slots, or a text of each field

// Head of a packet, as the metadata below describes it.
struct packet_head {
  u32 magic;
  u64 content_bits, packet_bits, begin, end, discarded;
} __attribute__((packed));

struct writer {
  const struct session *s;
  FILE *f;
  u8 *p;
  u32 n; // bytes of the packet so far, its head included
  u64 begin, end, discarded;
};

// A name as an identifier.  Readers take the underscore off again; it keeps a
// field called `event` or `struct` from being a keyword.
static void
put_ident(FILE *f, const char *name)
{
  putc('_', f);
  for(; *name; name++)
    putc(isalnum((u8)*name) ? *name : '_', f);
}

static void
put_quoted(FILE *f, const char *s)
{
  putc('"', f);
  for(; *s; s++)
    if(*s == '"' || *s == '\\')
      fprintf(f, "\\%c", *s);
    else
      putc((u8)*s < 0x20 || (u8)*s >= 0x7f ? '?' : *s, f);
  putc('"', f);
}

static bool
is_string(const struct field *f)
{
  return f->type == T_TEXT || f->type == T_NAME16 || f->type == T_MAC6 || (f->unit == U_IPV4 && f->type == T_U32);
}

static bool
is_hex(const struct field *f)
{
  return f->unit == U_HEX || f->unit == U_ADDR || f->unit == U_OTHER || (f->unit == U_SET && f->set->bits);
}

static void
put_integer(FILE *f, u32 size, bool sign, bool hex)
{
  fprintf(f, "integer { size = %u; align = 8; signed = %s; base = %s; }", size * 8, sign ? "true" : "false", hex ? "16" : "10");
}

// The largest named value that a field of this type can hold.
static u32
max_value(const struct field *f)
{
  u32 max = f->size >= 4 ? 0xffffffffu : (1u << f->size * 8) - 1;
  return f->type >= T_S16 ? max / 2 : max;
}

// enum : integer { ... } { "NAME" = 1, ... }; values that do not fit in it are left out.
static void
put_enum(FILE *f, const struct field *fd)
{
  fputs("enum : ", f);
  put_integer(f, fd->size, fd->type >= T_S16, false);
  fputs(" {", f);
  for(u32 i = 0, n = 0; i < fd->set->n; i++) {
    if(fd->set->v[i].val > max_value(fd))
      continue;
    fputs(n++ ? ", " : " ", f);
    put_quoted(f, fd->set->v[i].name);
    fprintf(f, " = %u", fd->set->v[i].val);
  }
  fputs(" }", f);
}

static bool
has_names(const struct field *f)
{
  for(u32 i = 0; f->unit == U_SET && !f->set->bits && i < f->set->n; i++)
    if(f->set->v[i].val <= max_value(f))
      return true;
  return false;
}

static void
put_field(FILE *f, const struct field *fd)
{
  fputs("    ", f);
  if(fd->type == T_BYTES) {
    fputs("integer { size = 8; align = 8; signed = false; } ", f);
    put_ident(f, "");
    put_ident(f, fd->name);
    fputs("_length; integer { size = 8; align = 8; signed = false; base = 16; }", f);
  } else if(is_string(fd))
    fputs("string", f);
  else if(has_names(fd))
    put_enum(f, fd);
  else
    put_integer(f, fd->size, fd->type >= T_S16, is_hex(fd));
  putc(' ', f);
  put_ident(f, fd->name);
  if(fd->type == T_BYTES) {
    fputs("[", f);
    put_ident(f, "");
    put_ident(f, fd->name);
    fputs("_length]", f);
  }
  fputs(";\n", f);
}

static void
put_event(FILE *f, const struct event *e)
{
  fputs("event {\n  name = ", f);
  put_quoted(f, e->name);
  fprintf(f, ";\n  id = %u;\n  fields := struct {\n", e->id);
  for(u32 i = 0; i < e->nfield; i++)
    put_field(f, &e->f[i]);
  fputs("  };\n};\n\n", f);
}

// An id that the trace does not describe: its bytes.
static void
put_unknown(FILE *f, u32 id)
{
  struct field raw = {.type = T_BYTES, .name = "raw"};
  char name[24];
  snprintf(name, sizeof name, "event %u", id);
  put_event(f, &(struct event){.id = (u16)id, .nfield = 1, .name = name, .f = &raw});
}

static void
put_head(FILE *f, const struct session *s)
{
  static const char *const how[] = {"none", "guest", "frames", "anchored", "identity"};
  fputs("/* CTF 1.8 */\n\n"
        "trace {\n  major = 1;\n  minor = 8;\n  byte_order = le;\n"
        "  packet.header := struct { integer { size = 32; align = 8; signed = false; base = 16; } magic; };\n};\n\n",
        f);
  fputs("env {\n  tracer_name = \"nettrace\";\n  build = ", f);
  put_quoted(f, s->b->h.build);
  fprintf(f, ";\n  boot_id = %u;\n  mac = \"%s\";\n  clock_method = \"%s\";\n  clock_band_ns = %lld;\n};\n\n", s->b->h.boot_id,
          mac_str(s->b->h.mac), how[s->al.method], s->al.method >= CLK_FRAMES ? s->band : 0);
  fputs("clock {\n  name = \"guest\";\n  description = \"ns on the capture's clock, else since boot\";\n"
        "  freq = 1000000000;\n  offset = 0;\n};\n\n"
        "typealias integer { size = 64; align = 8; signed = false; map = clock.guest.value; } := time_t;\n"
        "typealias integer { size = 64; align = 8; signed = false; } := u64;\n"
        "typealias integer { size = 32; align = 8; signed = false; } := u32;\n"
        "typealias integer { size = 16; align = 8; signed = false; } := u16;\n"
        "typealias integer { size = 8; align = 8; signed = false; } := u8;\n\n"
        "stream {\n"
        "  packet.context := struct {\n"
        "    u64 content_size; u64 packet_size; time_t timestamp_begin; time_t timestamp_end; u64 events_discarded;\n  };\n"
        "  event.header := struct { time_t timestamp; u16 id; };\n"
        "  event.context := struct {\n    u8 _cpu; enum : u8 {",
        f);
  for(u32 i = 0; i <= NT_CTX_NESTED; i++)
    fprintf(f, "%s \"%s\" = %u", i ? "," : "", ctx_name(i), i);
  fputs(" } _ctx; u32 _seq; u64 _tsc; u32 _pkt; u16 _sock; u16 _pid; u32 _frame;\n  };\n};\n\n", f);
}

// TSDL has no two fields of one name in a struct; whoever lies about that is refused.
static int
check_names(const struct meta *m)
{
  for(u32 i = 0; i < m->top; i++)
    for(u32 k = 0; m->ev[i] && k < m->ev[i]->nfield; k++)
      if(event_field(m->ev[i], m->ev[i]->f[k].name) != &m->ev[i]->f[k])
        return seterr(EX_BADIN, "event %s has two fields %s: CTF cannot say that", m->ev[i]->name, m->ev[i]->f[k].name);
  return 0;
}

static void
write_metadata(FILE *f, const struct session *s)
{
  u8 *unknown = xmalloc(0x10000);
  put_head(f, s);
  for(u32 i = 0; i < s->b->meta.top; i++)
    if(s->b->meta.ev[i])
      put_event(f, s->b->meta.ev[i]);
  for(u32 i = 0; i < s->b->nrec; i++)
    if(s->b->rec[i].slot != NOSLOT && rec_event(s->b, &s->b->rec[i]) == 0)
      unknown[rec_slot(s->b, &s->b->rec[i])->id] = 1;
  for(u32 i = 0; i < 0x10000; i++)
    if(unknown[i])
      put_unknown(f, i);
  free(unknown);
}

static void
add(struct writer *w, const void *p, size_t n)
{
  memcpy(w->p + w->n, p, n);
  w->n += (u32)n;
}

// Bytes behind their number; no record has more than 255.
static void
add_bytes(struct writer *w, const u8 *p, u32 n)
{
  u8 count = (u8)n;
  add(w, &count, 1);
  add(w, p, count);
}

static void
add_field(struct writer *w, const struct field *f, const u8 *p, u32 len)
{
  char text[800];
  if(f->type == T_BYTES)
    add_bytes(w, p + f->off, len > f->off ? len - f->off : 0);
  else if(is_string(f) && field_str(text, sizeof text, f, p, len))
    add(w, text, strlen(text) + 1);
  else if(is_string(f)) // of an empty one babeltrace2 2.0 shows the one before it
    add(w, "-", 2);
  else
    add(w, p + f->off, f->size);
}

static void
add_record(struct writer *w, u32 i, i64 at)
{
  const struct session *s = w->s;
  const struct rec *r = &s->b->rec[i];
  const struct nt_slot *slot = rec_slot(s->b, r);
  const struct event *e = rec_event(s->b, r);
  const struct {
    u64 ts;
    u16 id;
    u8 cpu, ctx;
    u32 seq;
    u64 tsc;
    u32 pkt;
    u16 sock, pid;
    u32 frame;
  } __attribute__((packed)) head = {(u64)at, slot->id, slot->cpu_ctx & 15, slot->cpu_ctx >> 4, slot->seq - 1, r->ts,
                                    slot->pkt, slot->sock, slot->pid, s->frame_of[i] == NOREC ? 0 : s->frame_of[i] + 1};
  u8 buf[192];
  u32 len;
  const u8 *p = rec_payload(s->b, r, buf, &len);
  if(w->n == sizeof(struct packet_head))
    w->begin = (u64)at;
  w->end = (u64)at;
  add(w, &head, sizeof head);
  for(u32 k = 0; e && k < e->nfield; k++)
    add_field(w, &e->f[k], p, len);
  if(e == 0)
    add_bytes(w, p, len);
}

static void
end_packet(struct writer *w)
{
  u64 bits = (u64)w->n * 8;
  struct packet_head h = {MAGIC, bits, bits, w->begin, w->end, w->discarded};
  if(w->n == sizeof h && w->discarded == 0)
    return;
  memcpy(w->p, &h, sizeof h);
  fwrite(w->p, 1, w->n, w->f);
  w->n = sizeof h;
  w->begin = w->end;
}

static void
write_stream(FILE *f, const struct session *s, const struct selection *sel)
{
  struct writer w = {.s = s, .f = f, .p = xmalloc(MAXPACKET + MAXRECORD), .n = sizeof(struct packet_head)};
  for(u32 i = 0; i < s->nitem; i++) {
    const struct item *it = &s->item[i];
    if(it->frame || (sel->show && !sel->show[i]))
      continue;
    if(s->b->rec[it->idx].slot == NOSLOT) {
      if(w.n > sizeof(struct packet_head))
        end_packet(&w);
      w.discarded += s->b->rec[it->idx].nlost;
      continue;
    }
    add_record(&w, it->idx, it->w > 0 ? it->w : 0);
    if(w.n > MAXPACKET)
      end_packet(&w);
  }
  end_packet(&w);
  free(w.p);
}

static int
write_all(const struct session *s, const struct selection *sel, const char *dir)
{
  struct out out;
  int rc = check_names(&s->b->meta);
  if(rc < 0)
    return rc;
  if(mkdir(dir, 0777) < 0 && errno != EEXIST)
    return seterr(EX_BADIN, "%s: cannot make this directory: %s", dir, strerror(errno));
  if((rc = out_open(&out, xasprintf("%s/metadata", dir))) < 0)
    return rc;
  write_metadata(out.f, s);
  if((rc = out_close(&out, true)) < 0 || (rc = out_open(&out, xasprintf("%s/stream", dir))) < 0)
    return rc;
  write_stream(out.f, s, sel);
  return out_close(&out, true);
}

int
cmd_ctf(struct opts *o)
{
  struct session s;
  struct selection sel = {0};
  if(o->out == 0 || !strcmp(o->out, "-"))
    return seterr(EX_BADUSE, "a trace is a directory: name one with -o");
  int rc = session_open(&s, o->argc, o->argv);
  if(rc < 0)
    return rc;
  if(!s.have_trace)
    return seterr(EX_BADIN, "a capture alone has no events");
  timeline_build(&s);
  if(o->flow || o->packets || o->only || o->layer || o->from || o->to)
    rc = timeline_select(&s, o, false, &sel);
  if(rc == 0)
    rc = write_all(&s, &sel, o->out);
  if(rc == 0 && !o->quiet)
    session_summary(&s, stderr);
  return rc;
}
