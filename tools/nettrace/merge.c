// merge: one pcapng with the frames and, between them, the events.
//
// Interface 0 is the wire (Ethernet), interface 1 the events (USER0).  A USER0
// packet is 16 bytes of head, then the record's slots as they were; the first
// one carries the metadata text, so that an old file can always be decoded.
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "merge.h"

// Head of a USER0 packet.
struct user0 {
  u8 version, kind; // 1; 0 event, 1 metadata
  u16 boot;         // | MACHINE_B
  u32 frame;        // number in this file of the frame it belongs to, 0 = none
  u32 lost;         // slots lost just before
  u32 band_ns;      // its time is known to +- this
};
_Static_assert(sizeof(struct user0) == 16, "user0");

static void
add(struct block *b, const void *p, u32 n)
{
  while(b->cap - b->n < n + 4)
    b->p = xgrow(b->p, b->cap, &b->cap, 1);
  memcpy(b->p + b->n, p, n);
  b->n += n;
  while(b->n % 4)
    b->p[b->n++] = 0;
}

static void
add32(struct block *b, u32 v)
{
  add(b, &v, 4);
}

static void
add_option(struct block *b, u32 code, const void *p, u32 n)
{
  add32(b, code | n << 16);
  add(b, p, n);
}

static void
begin_block(struct block *b, u32 type)
{
  b->n = 0;
  add32(b, type);
  add32(b, 0); // its length, once known
}

static void
end_block(struct block *b, FILE *f)
{
  u32 n = b->n + 4;
  memcpy(b->p + 4, &n, 4);
  add32(b, n);
  fwrite(b->p, 1, b->n, f);
}

// The section's head; comment 0 = none.
void
put_section(struct block *b, FILE *f, const char *comment)
{
  begin_block(b, 0x0a0d0d0a);
  add32(b, 0x1a2b3c4d);
  add32(b, 1); // version 1.0
  add32(b, 0xffffffff);
  add32(b, 0xffffffff); // section length: not stated
  if(comment)
    add_option(b, 1, comment, (u32)strlen(comment));
  add_option(b, 4, "nettrace", 8);
  add32(b, 0);
  end_block(b, f);
}

void
put_interface(struct block *b, FILE *f, u32 link, const char *name, const char *what)
{
  u8 nano = 9;
  begin_block(b, 1);
  add32(b, link);
  add32(b, 262144); // snaplen
  add_option(b, 2, name, (u32)strlen(name));
  add_option(b, 3, what, (u32)strlen(what));
  add_option(b, 9, &nano, 1);
  add32(b, 0);
  end_block(b, f);
}

// An enhanced packet; flags 0 = no direction, comment 0 = none.
void
put_packet(struct block *b, FILE *f, u32 iface, i64 w, const void *p, u32 n, u32 orig, u32 flags, const char *comment)
{
  u64 t = w > 0 ? (u64)w : 0;
  begin_block(b, 6);
  add32(b, iface);
  add32(b, (u32)(t >> 32));
  add32(b, (u32)t);
  add32(b, n);
  add32(b, orig);
  add(b, p, n);
  if(comment && *comment)
    add_option(b, 1, comment, (u32)strlen(comment));
  if(flags)
    add_option(b, 2, &flags, 4);
  if(flags || (comment && *comment))
    add32(b, 0);
  end_block(b, f);
}

// +32.2us e1000_rx | +36.1us ethif_rx | ... (clock +-1.3us), or why there is none.
void
journey(char *to, const struct session *s, const struct prow *v, u32 n, u32 frame)
{
  const struct frame *f = &s->cap.f[frame];
  size_t k = 0;
  *to = 0;
  if(f->rec == NOREC) {
    snprintf(to, MAXCOMMENT, "%s", s->have_trace ? fate_text(frame_fate(s, frame)) : "");
    return;
  }
  u32 pkt = rec_slot(s->b, &s->b->rec[f->rec])->pkt, lo = 0, hi = n;
  while(lo < hi) {
    u32 mid = (lo + hi) / 2;
    if(v[mid].pkt < pkt)
      lo = mid + 1;
    else
      hi = mid;
  }
  for(; lo < n && v[lo].pkt == pkt && k < MAXCOMMENT - 120; lo++) {
    const struct item *it = &s->item[v[lo].item];
    const struct event *e = it->frame ? 0 : rec_event(s->b, &s->b->rec[it->idx]);
    i64 d = e ? session_time(s, &s->b->rec[it->idx]) - f->w : 0;
    if(e)
      k += (size_t)snprintf(to + k, MAXCOMMENT - k, "%s%s%sus %.40s", k ? " | " : "", d < 0 ? "" : "+", us_str(d), e->name);
  }
  snprintf(to + k, MAXCOMMENT - k, " (packet #%u, clock %s%sus)", pkt, ascii_only ? "+-" : "±", band_str(s->wire));
}

// A record on an interface at time w; frame: the number of its frame, 0 = none.
void
put_event(struct block *b, struct block *data, FILE *f, const struct session *s, const struct rec *r, const struct place *at)
{
  const struct nt_slot *slot = rec_slot(s->b, r);
  i64 half = align_half(&s->al, r->ts);
  struct user0 h = {.version = 1, .boot = (u16)(s->bootno | at->machine), .frame = at->frame, .lost = at->lost, .band_ns = half > 0xffffffffll ? 0xffffffffu : (u32)half};
  data->n = 0;
  add(data, &h, sizeof h);
  add(data, slot, slot->nsl * (u32)sizeof *slot);
  put_packet(b, f, at->iface, at->w, data->p, data->n, data->n, 0, 0);
}

// The description of a machine's events.
void
put_meta(struct block *b, struct block *data, FILE *f, const struct session *s, const struct place *at)
{
  struct user0 h = {.version = 1, .kind = 1, .boot = (u16)(s->bootno | at->machine)};
  data->n = 0;
  add(data, &h, sizeof h);
  u32 n = data->n + s->b->meta.len;
  add(data, s->b->meta.raw, s->b->meta.len);
  put_packet(b, f, at->iface, at->w, data->p, n, n, 0, 0);
}

static bool
shown(const struct selection *sel, const struct session *s, const struct opts *o, u32 i)
{
  const struct item *it = &s->item[i];
  if(sel->show && !sel->show[i])
    return false;
  return it->frame || (!o->wireonly && s->have_trace && rec_slot(s->b, &s->b->rec[it->idx]));
}

// Which number each frame will have in the file.
static u32 *
number_frames(const struct session *s, const struct opts *o, const struct selection *sel)
{
  u32 *no = xmalloc((s->cap.n + 1) * sizeof *no), k = s->have_trace && !o->wireonly;
  for(u32 i = 0; i < s->nitem; i++)
    if(shown(sel, s, o, i)) {
      k++;
      if(s->item[i].frame)
        no[s->item[i].idx] = k;
    }
  return no;
}

// Write the whole file.  The session's timeline must be built.
static void
write_all(const struct session *s, const struct opts *o, const struct selection *sel, FILE *f)
{
  struct block b = {0}, data = {0};
  u32 nstep, lost = 0;
  struct prow *step = rows_by_packet(s, 0, &nstep); // to find a packet's journey
  u32 *no = number_frames(s, o, sel);
  char comment[MAXCOMMENT];
  setvbuf(f, 0, _IOFBF, 1 << 20);
  put_section(&b, f, 0);
  put_interface(&b, f, LINK_ETHERNET, "wire", "frames as QEMU captured them");
  if(!o->wireonly && s->have_trace) {
    put_interface(&b, f, LINK_USER0, "nettrace", "events of the guest's kernel");
    put_meta(&b, &data, f, s, &(struct place){.iface = 1, .w = s->nitem ? s->item[0].w : 0});
  }
  for(u32 i = 0; i < s->nitem; i++) {
    const struct item *it = &s->item[i];
    if(!it->frame && s->b->rec[it->idx].slot == NOSLOT)
      lost += s->b->rec[it->idx].nlost;
    if(!shown(sel, s, o, i))
      continue;
    if(it->frame) {
      const struct frame *fr = &s->cap.f[it->idx];
      if(o->nocomments)
        *comment = 0;
      else
        journey(comment, s, step, nstep, it->idx);
      put_packet(&b, f, 0, it->w, fr->data, fr->caplen, fr->len, fr->in ? 1 : 2, comment);
    } else {
      u32 of = s->frame_of[it->idx];
      put_event(&b, &data, f, s, &s->b->rec[it->idx], &(struct place){.iface = 1, .w = it->w, .frame = of == NOREC ? 0 : no[of], .lost = lost});
      lost = 0;
    }
  }
  free(b.p);
  free(data.p);
  free(step);
  free(no);
}

static int
merge_to(struct session *s, const struct opts *o, const char *path)
{
  struct out out;
  struct selection sel = {0};
  int rc = 0;
  timeline_build(s);
  if(o->flow || o->packets || o->only || o->layer || o->from || o->to)
    rc = timeline_select(s, o, false, &sel);
  if(rc < 0 || (rc = out_open(&out, path)) < 0)
    return rc;
  write_all(s, o, &sel, out.f);
  return out_close(&out, true);
}

int
cmd_merge(struct opts *o)
{
  struct session s;
  if(o->out == 0 || (!strcmp(o->out, "-") && isatty(1)))
    return seterr(EX_BADUSE, "binary output: name a file with -o");
  int rc = session_open(&s, o->argc, o->argv);
  if(rc == 0)
    rc = merge_to(&s, o, o->out);
  if(rc == 0 && !o->quiet)
    session_summary(&s, stderr);
  return rc ? rc : o->strict && (s.crossed || session_noted(&s));
}

static int
copy_file(const char *from, const char *to)
{
  struct out out;
  FILE *f = fopen(from, "rb");
  if(f == 0)
    return seterr(EX_BADIN, "%s: cannot read: run from the project's tree, or set NETTRACE_WS to tools/nettrace/wireshark", from);
  int rc = out_open(&out, to), c;
  while(rc == 0 && (c = getc(f)) != EOF)
    putc(c, out.f);
  fclose(f);
  return rc ? rc : out_close(&out, true);
}

// Where our Wireshark files are: $NETTRACE_WS, else beside the tree of this program.
static char *
config_source(void)
{
  const char *env = getenv("NETTRACE_WS");
  char self[4096];
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  if(env && *env)
    return xstrdup(env);
  self[n < 0 ? 0 : n] = 0;
  for(int up = 0; up < 2 && strrchr(self, '/'); up++) // build/nettrace
    *strrchr(self, '/') = 0;
  return xasprintf("%s/tools/nettrace/wireshark", self);
}

static int
make_config(const struct session *s, const char *ws)
{
  static const char *const file[] = {"plugins/nettrace.lua", "preferences", "colorfilters", "dfilter_buttons", "recent", "recent_common"};
  char *from = config_source(), *plugins = xasprintf("%s/plugins", ws);
  struct out out;
  mkdir(ws, 0700);
  mkdir(plugins, 0700);
  for(u32 i = 0; i < sizeof file / sizeof file[0]; i++) {
    int rc = copy_file(xasprintf("%s/%s", from, file[i]), xasprintf("%s/%s", ws, file[i]));
    if(rc < 0)
      return rc;
  }
  int rc = out_open(&out, xasprintf("%s/nettrace.meta", ws));
  if(rc < 0)
    return rc;
  fwrite(s->b->meta.raw, 1, s->b->meta.len, out.f);
  return out_close(&out, true);
}

// Merge into the run directory and become Wireshark, or the command behind --.
int
cmd_wireshark(struct opts *o)
{
  struct session s;
  int rc = session_open(&s, o->argc, o->argv);
  if(rc < 0)
    return rc;
  if(s.in.dir == 0 || !s.have_trace)
    return seterr(EX_BADUSE, "name a run directory with a trace");
  char *ws = xasprintf("%s/ws", s.in.dir), *merged = xasprintf("%s/merged.pcapng", s.in.dir);
  if((rc = merge_to(&s, o, merged)) < 0 || (rc = make_config(&s, ws)) < 0)
    return rc;
  char *full = realpath(ws, 0), *file = realpath(merged, 0);
  setenv("WIRESHARK_CONFIG_DIR", full, 1);
  setenv("NETTRACE_MERGED", file, 1);
  limit_memory(false);
  if(o->rest && o->rest[0])
    execvp(o->rest[0], o->rest);
  else
    execlp("wireshark", "wireshark", "-r", file, (char *)0);
  return seterr(EX_BADIN, "%s: cannot start: is it installed?", o->rest && o->rest[0] ? o->rest[0] : "wireshark");
}
