// why N: the journey of one packet, every event, and the gaps that add up.
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define MAXBYTES 128 // of a frame, as text

// The packet's rows: its frame and its records.
static u32 *
rows_of(const struct session *s, u32 pkt, u32 *n)
{
  u32 *v = xmalloc((s->nitem + 1) * sizeof *v);
  *n = 0;
  for(u32 i = 0; i < s->nitem; i++)
    if(item_pkt(s, &s->item[i]) == pkt)
      v[(*n)++] = i;
  return v;
}

// One row of the journey.
struct step {
  const struct frame *frame; // or 0
  const char *stage, *event;
  char label[1200], more[400];
  i64 gap;   // since the packet's row before
  bool over; // behind its end: told later, such as who acknowledged it; none of its time
};

static void
step_of(struct step *t, const struct session *s, const struct item *it, struct labels *labels)
{
  *t = (struct step){.frame = it->frame ? &s->cap.f[it->idx] : 0, .stage = "WIRE", .event = "frame"};
  if(it->frame) {
    label_frame(t->label, sizeof t->label, t->frame, labels);
    label_payload(t->more, sizeof t->more, t->frame);
    return;
  }
  const struct event *e = rec_event(s->b, &s->b->rec[it->idx]);
  label_rec(t->label, sizeof t->label, s, &s->b->rec[it->idx], labels);
  t->stage = e ? e->stagename : "?";
  t->event = e ? e->name : "event";
}

static void
row_json(const struct step *t, i64 w, FILE *f)
{
  fputc('{', f);
  if(t->frame) {
    fputs("\"bytes\":\"", f);
    for(u32 i = 0; i < t->frame->caplen; i++)
      fprintf(f, "%02x", t->frame->data[i]);
    fputs("\",", f);
  }
  fputs("\"event\":", f);
  put_json(f, t->event, strlen(t->event));
  fprintf(f, ",\"gap_ns\":%lld,\"label\":", t->gap);
  put_json(f, t->label, strlen(t->label));
  fprintf(f, ",\"over\":%s,\"stage\":", t->over ? "true" : "false");
  put_json(f, t->stage, strlen(t->stage));
  fprintf(f, ",\"t_ns\":%lld}", w);
}

// How well the packet's records are known against its frame's stamp; -1: it has no
// frame, no record, or there is no clock.
static i64
rows_band(const struct session *s, const u32 *v, u32 n)
{
  i64 half = -1;
  bool frame = false;
  for(u32 i = 0; i < n; i++) {
    const struct item *it = &s->item[v[i]];
    i64 h = it->frame ? -1 : align_half(&s->al, s->b->rec[it->idx].ts);
    frame |= it->frame;
    half = h > half ? h : half;
  }
  return frame && half >= 0 && s->al.method >= CLK_FRAMES ? wire_band(s, half) : -1;
}

// How many of the packet's rows v are its life: up to its pkt_end.
static u32
rows_alive(const struct session *s, const u32 *v, u32 n)
{
  for(u32 k = 0; k < n; k++)
    if(!s->item[v[k]].frame && rec_is(s, s->item[v[k]].idx, "pkt_end"))
      return k + 1;
  return n;
}

static void
print_sum(const struct session *s, const u32 *v, u32 alive, i64 sum, FILE *f)
{
  fprintf(f, "%10s %9s  sum of the gaps\n", us_str(s->item[v[alive - 1]].w - s->item[v[0]].w), us_str(sum));
}

// The packet's rows v; the gaps between them, up to its end, add up to the whole.
static void
print_rows(const struct session *s, const u32 *v, u32 n, FILE *f, bool json)
{
  struct labels *labels = xmalloc(sizeof *labels); // for each call anew
  static struct step t;
  i64 sum = 0, first = s->item[v[0]].w;
  u32 alive = rows_alive(s, v, n);
  for(u32 i = 0, k = 0; k < n && i < s->nitem; i++) {
    const struct item *it = &s->item[i];
    label_learn(labels, s, it);
    if(i != v[k])
      continue;
    step_of(&t, s, it, labels);
    t.gap = k ? it->w - s->item[v[k - 1]].w : 0;
    t.over = k >= alive;
    sum += t.over ? 0 : t.gap;
    if(!json && k == alive)
      print_sum(s, v, alive, sum, f);
    if(json && k)
      putc(',', f);
    if(json)
      row_json(&t, it->w, f);
    else
      fprintf(f, "%10s %9s  %-8s %-13s %s%s%s\n", us_str(it->w - first), t.over ? "(over)" : us_str(t.gap), t.stage, t.event, t.label, *t.more ? "  " : "", t.more);
    k++;
  }
  if(!json && alive == n)
    print_sum(s, v, alive, sum, f);
  i64 band = rows_band(s, v, n);
  if(!json && band >= 0)
    fprintf(f, "between wire and kernel ±%s µs; between two rows of the kernel exact\n", band_str(band));
  free(labels);
}

// Copy text to f, each character as --ascii shows it.
static void
put_ascii(FILE *f, const char *text)
{
  for(int n; *text; text += n) {
    char c[5] = "";
    memcpy(c, text, (size_t)(n = charlen(text)));
    fputs(ascii_char(c), f);
  }
}

// Packets it comes from, and packets that come from it.
static void
print_links(const struct session *s, u32 pkt, FILE *f, bool json)
{
  const char *sep = "";
  for(u32 i = 0; i < s->b->nrec; i++) {
    if(!rec_is(s, i, "pkt_link"))
      continue;
    const struct rec *r = &s->b->rec[i];
    const char *kind = rec_named(s->b, r, "kind");
    u32 child = rec_slot(s->b, r)->pkt, parent = (u32)rec_get(s->b, r, "parent");
    char words[120];
    if(child != pkt && parent != pkt)
      continue;
    if(json) {
      fprintf(f, "%s{\"child\":%u,\"kind\":", sep, child);
      put_json(f, kind ? kind : "linked", strlen(kind ? kind : "linked"));
      fprintf(f, ",\"parent\":%u}", parent);
    } else {
      link_words(words, sizeof words, kind, parent == pkt, parent == pkt ? child : parent);
      fprintf(f, "%s\n", words);
    }
    sep = ",";
  }
}

static void
print_bytes(const struct frame *f, FILE *out)
{
  u32 most = f->caplen <= MAXBYTES + 16 ? f->caplen : MAXBYTES;
  for(u32 i = 0; i < most; i += 16) {
    char text[80];
    fprintf(out, "  %04x ", i);
    for(u32 k = i; k < i + 16; k++)
      if(k < f->caplen)
        fprintf(out, " %02x", f->data[k]);
      else
        fputs("   ", out);
    u32 n = 0;
    for(u32 k = i; k < i + 16 && k < f->caplen; k++)
      text[n++] = f->data[k] >= 0x20 && f->data[k] < 0x7f ? (char)f->data[k] : '.';
    fprintf(out, "  %.*s\n", (int)n, text);
  }
  if(most < f->caplen)
    fprintf(out, "  %u bytes more: --json has them all\n", f->caplen - most);
}

// N, #N, or +K: the K-th packet of the selection, without one of the connection that
// ladder shows.
int
packet_named(struct session *s, const struct opts *o, const char *arg, u32 *pkt)
{
  char *end;
  const char *p = arg + (*arg == '#' || *arg == '+');
  unsigned long n = strtoul(p, &end, 10);
  if(*p == 0 || *end || n == 0 || n > 0xfffffffful)
    return seterr(EX_BADUSE, "%s: not a packet: N, #N or +K", arg);
  *pkt = (u32)n;
  if(*arg != '+')
    return 0;
  struct selection sel;
  struct idset seen = {0};
  int rc = timeline_select(s, o, !o->flow && !o->pid && !o->only && !o->layer && !o->from && !o->to, &sel);
  for(u32 i = 0; rc == 0 && i < s->nitem; i++) {
    u32 id = sel.show[i] ? item_pkt(s, &s->item[i]) : 0;
    if(id == 0 || idset_has(&seen, id))
      continue;
    idset_add(&seen, id);
    if(seen.n == n) {
      *pkt = id;
      return 0;
    }
  }
  return rc ? rc : seterr(EX_BADUSE, "%s: the selection has %u packets", arg, seen.n);
}

static void
print_text(const struct session *s, u32 pkt, const u32 *v, u32 n, FILE *f)
{
  fprintf(f, "packet #%u\n   time µs      Δ µs\n", pkt);
  print_rows(s, v, n, f, false);
  print_links(s, pkt, f, false);
  for(u32 i = 0; i < n; i++)
    if(s->item[v[i]].frame)
      print_bytes(&s->cap.f[s->item[v[i]].idx], f);
}

static void
print_json(const struct session *s, u32 pkt, const u32 *v, u32 n, FILE *f)
{
  fprintf(f, "{\"band_ns\":%lld,\"links\":[", s->band);
  print_links(s, pkt, f, true);
  fprintf(f, "],\"pkt\":%u,\"rows\":[", pkt);
  print_rows(s, v, n, f, true);
  fprintf(f, "],\"schema\":\"nettrace-why/1\",\"total_ns\":%lld,\"wire_ns\":%lld}\n", s->item[v[rows_alive(s, v, n) - 1]].w - s->item[v[0]].w, rows_band(s, v, n));
}

int
cmd_why(struct opts *o)
{
  struct session s;
  struct out out;
  u32 pkt = 0, n;
  if(o->argc < 1)
    return seterr(EX_BADUSE, "which packet? N as printed, '#N', or +K");
  int rc = session_open(&s, o->argc - 1, o->argv + 1);
  if(rc < 0)
    return rc;
  timeline_build(&s);
  if((rc = packet_named(&s, o, o->argv[0], &pkt)) < 0)
    return rc;
  u32 *v = rows_of(&s, pkt, &n);
  if(n == 0)
    return seterr(EX_FOUND, "no packet #%u in this run", pkt);
  if((rc = out_open(&out, o->out)) < 0)
    return rc;
  char *text = 0;
  size_t len;
  FILE *f = o->ascii && !o->json ? open_memstream(&text, &len) : out.f;
  if(f == 0)
    abort(); // no memory
  if(o->json)
    print_json(&s, pkt, v, n, f);
  else
    print_text(&s, pkt, v, n, f);
  if(f != out.f) {
    fclose(f);
    put_ascii(out.f, text);
    free(text);
  }
  rc = out_close(&out, true);
  if(!o->quiet)
    session_summary(&s, stderr);
  return rc;
}
