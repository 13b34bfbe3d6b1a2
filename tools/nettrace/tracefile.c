// Saved traces, and the record list that both kinds of trace end up in.
//
// A reader hands over records ring by ring or in file order (boot_add,
// boot_lost); boot_finish merges the CPUs by time without ever reordering one
// CPU's own records.  Losses stay in place: a gap becomes a rec without a slot.
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "tool.h"

#define NCPUQ   16  // values the low nibble of cpu_ctx can have
#define MAXBOOT 256 // in one file: a boot's description takes memory, however short
#define PERSLOT 112 // bytes that a slot takes beside its own 64, at most, until all is written

u64 max_mem = 512 << 20; // --max-mem

// Append to the trace's notes; they are shown by info and after the summary.
bool
boot_complain(struct trace *t, const char *fmt, ...)
{
  char line[200];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  char *old = t->note;
  t->note = old ? xasprintf("%s; %s", old, line) : xstrdup(line);
  free(old);
  return false;
}

// Is this a header that we can read?  at: its offset in path, for the message.
int
header_check(const struct nt_header *h, const char *path, u64 at)
{
  if(h->version == 0x0100)
    return seterr(EX_BADIN, "%s: big-endian header at offset %llu: not a trace of this kernel", path, at);
  if(h->version != NT_VERSION)
    return seterr(EX_BADIN, "%s: version %u at offset %llu: this tool reads version %u", path, h->version, at, NT_VERSION);
  if(h->hdr_size != sizeof *h || h->slot_size != sizeof(struct nt_slot))
    return seterr(EX_BADIN, "%s: header of %u and slots of %u bytes at offset %llu: expected 128 and 64", path, h->hdr_size, h->slot_size, at);
  if(h->ncpu < 1 || h->ncpu > NT_MAXCPU)
    return seterr(EX_BADIN, "%s: %u CPUs at offset %llu: expected 1 to %u", path, h->ncpu, at, NT_MAXCPU);
  if(h->nslots == 0 || h->nslots > 1u << 24 || (h->nslots & (h->nslots - 1)))
    return seterr(EX_BADIN, "%s: rings of %u slots at offset %llu: expected a power of two", path, h->nslots, at);
  return 0;
}

void
boot_begin(struct boot *b)
{
  memset(b, 0, sizeof *b);
}

static struct rec *
new_rec(struct boot *b)
{
  b->rec = xgrow(b->rec, b->nrec, &b->reccap, sizeof *b->rec);
  struct rec *r = &b->rec[b->nrec++];
  memset(r, 0, sizeof *r);
  r->slot = NOSLOT;
  return r;
}

// Note that n slots of a CPU's ring, from number seq on, are missing here.
void
boot_lost(struct boot *b, u8 cpu, u32 n, u32 seq)
{
  if(n == 0)
    return;
  struct rec *r = new_rec(b);
  r->nlost = n;
  r->cpu = cpu & (NCPUQ - 1);
  r->seq = seq;
  b->lost += n;
}

// Note that n slots, from number seq on, were reserved and never completed.
void
boot_inflight(struct boot *b, u8 cpu, u32 n, u32 seq)
{
  boot_lost(b, cpu, n, seq);
  if(n)
    b->rec[b->nrec - 1].inflight = true;
}

// Take the record that begins at slot number at.  A reader's or writer's `lost`
// record becomes a loss.
static void
add_record(struct boot *b, u32 at)
{
  const struct nt_slot *s = &b->slot[at];
  struct rec *r = new_rec(b);
  *r = (struct rec){.ts = s->ts, .slot = at, .seq = s->seq, .cpu = s->cpu_ctx & 15};
  const struct event *e = rec_event(b, r);
  if(e == 0)
    b->unknown++;
  if(e == 0 || strcmp(e->name, "lost") || !event_field(e, "n"))
    return;
  r->nlost = (u32)rec_get(b, r, "n");
  if(event_field(e, "cpu"))
    r->cpu = rec_get(b, r, "cpu") & (NCPUQ - 1);
  const char *why = rec_named(b, r, "why");
  r->discard = why && strcmp(why, "DISCARD") == 0;
  r->inflight = why && strcmp(why, "INFLIGHT") == 0;
  if(r->discard)
    b->discarded += r->nlost;
  else
    b->lost += r->nlost;
}

// Take one record of n slots, which are copied.
void
boot_add(struct boot *b, const struct nt_slot *s, u32 n)
{
  while(b->slotcap < b->nslot + n)
    b->slot = xgrow(b->slot, b->slotcap, &b->slotcap, sizeof *b->slot);
  memcpy(b->slot + b->nslot, s, n * sizeof *s);
  b->nslot += n;
  add_record(b, b->nslot - n);
}

// A loss happened before the next record of its CPU: give it that one's time.
static void
date_losses(struct boot *b)
{
  u64 next[NCPUQ] = {0}, last[NCPUQ] = {0};
  for(u32 i = 0; i < b->nrec; i++)
    if(b->rec[i].slot != NOSLOT && b->rec[i].ts > last[b->rec[i].cpu])
      last[b->rec[i].cpu] = b->rec[i].ts;
  memcpy(next, last, sizeof next);
  for(u32 i = b->nrec; i-- > 0;) {
    struct rec *r = &b->rec[i];
    if(r->slot == NOSLOT)
      r->ts = next[r->cpu];
    else
      next[r->cpu] = r->ts;
  }
}

// Are all records in the order that boot_finish is to give them?  Most files are.
static bool
in_order(const struct boot *b)
{
  for(u32 i = 1; i < b->nrec; i++) {
    const struct rec *p = &b->rec[i - 1], *r = &b->rec[i];
    if(r->ts < p->ts || (r->ts == p->ts && r->cpu < p->cpu))
      return false;
  }
  return true;
}

// Merge the CPUs by (ts, cpu); each CPU keeps its own order.  Always 0.
int
boot_finish(struct boot *b)
{
  date_losses(b);
  if(in_order(b))
    return 0;
  u32 count[NCPUQ] = {0}, at[NCPUQ], end[NCPUQ], sum = 0;
  for(u32 i = 0; i < b->nrec; i++)
    count[b->rec[i].cpu]++;
  for(u32 c = 0; c < NCPUQ; sum += count[c++])
    at[c] = end[c] = sum;
  u32 *q = xmalloc(b->nrec * sizeof *q); // the queue of each CPU: numbers of records
  struct rec *to = xmalloc(b->nrec * sizeof *to);
  for(u32 i = 0; i < b->nrec; i++) {
    const struct rec *r = &b->rec[i];
    if(end[r->cpu] > at[r->cpu] && r->ts < b->rec[q[end[r->cpu] - 1]].ts)
      b->backwards++;
    q[end[r->cpu]++] = i;
  }
  for(u32 i = 0; i < b->nrec; i++) {
    u32 best = NCPUQ;
    for(u32 c = 0; c < NCPUQ; c++)
      if(at[c] < end[c] && (best == NCPUQ || b->rec[q[at[c]]].ts < b->rec[q[at[best]]].ts))
        best = c;
    to[i] = b->rec[q[at[best]++]];
  }
  free(q);
  free(b->rec);
  b->rec = to;
  b->reccap = b->nrec;
  return 0;
}

// How many of the n slots at s belong to the record that begins there; 0 = cut or stray.
static u32
whole_record(const struct nt_slot *s, u64 n)
{
  if(s->nsl == 0 || s->nsl > NT_MAXNSL || s->nsl > n)
    return 0;
  for(u32 i = 1; i < s->nsl; i++)
    if(s[i].nsl != NT_CONT + i || s[i].ts != s->ts || s[i].id != s->id || s[i].cpu_ctx != s->cpu_ctx)
      return 0;
  return s->nsl;
}

// Read the slots of one boot, up to the next header; returns how many.  They stay
// where they are.
static u64
parse_slots(struct boot *b, const u8 *p, u64 n)
{
  u32 expect[NCPUQ];
  bool seen[NCPUQ] = {false};
  u64 i = 0;
  b->slot = (struct nt_slot *)(void *)p;
  while(i < n) {
    const struct nt_slot *s = &b->slot[i];
    if(memcmp(s, NT_FILE_MAGIC, 8) == 0)
      break;
    u32 k = whole_record(s, n - i), cpu = s->cpu_ctx & (NCPUQ - 1);
    if(k == 0) { // counted as lost by the gap in seq that it leaves
      b->orphans++;
      i++;
      continue;
    }
    u32 no = s->seq - 1;
    if(s->seq && seen[cpu] && no != expect[cpu] && !(b->h.flags & NT_CHOSEN))
      boot_lost(b, (u8)cpu, no - expect[cpu] < 0x80000000u ? no - expect[cpu] : 0, expect[cpu]);
    add_record(b, (u32)i);
    struct rec *r = &b->rec[b->nrec - 1];
    if(s->seq) {
      expect[cpu] = no + k;
      seen[cpu] = true;
    } else if(r->nlost && !r->discard)
      expect[r->cpu] += seen[r->cpu] ? r->nlost : 0;
    i += k;
  }
  b->nslot = (u32)i;
  return i;
}

// Did something on its way here turn every LF into CR LF?
static bool
text_mode(const u8 *p, size_t len)
{
  static const char mark[] = "nettrace-metadata 1\r\n";
  for(size_t i = 0; i < 4096 && i + sizeof mark <= len; i++)
    if(memcmp(p + i, mark, sizeof mark - 1) == 0)
      return true;
  return false;
}

// Read a whole saved file of one or more boots: p, at a multiple of 8, stays the
// caller's and is needed as long as the trace is.  0 or -EX_BADIN.
int
trace_parse(struct trace *t, const u8 *p, size_t len, const char *path)
{
  memset(t, 0, sizeof *t);
  t->path = xstrdup(path);
  if(text_mode(p, len))
    return seterr(EX_BADIN, "%s: was transferred in text mode: copy it again as binary", path);
  size_t at = 0;
  while(len - at >= sizeof(struct nt_header)) {
    if(t->nboot == MAXBOOT)
      return seterr(EX_BADIN, "%s: more than %u boots, up to offset %zu: cut it there", path, MAXBOOT, at);
    t->boot = xrealloc(t->boot, (t->nboot + 1) * sizeof *t->boot);
    struct boot *b = &t->boot[t->nboot++];
    boot_begin(b);
    memcpy(&b->h, p + at, sizeof b->h);
    if(memcmp(b->h.magic, NT_FILE_MAGIC, 8))
      return seterr(EX_BADIN, "%s: no trace header at offset %zu", path, at);
    if(header_check(&b->h, path, at) < 0)
      return -EX_BADIN;
    at += sizeof b->h;
    u64 padded = ((u64)b->h.meta_len + 63) & ~63ull;
    if(padded > len - at)
      return seterr(EX_BADIN, "%s: metadata of %u bytes at offset %zu: the file ends before", path, b->h.meta_len, at);
    if(meta_parse(&b->meta, (const char *)p + at, b->h.meta_len, path) < 0)
      return -EX_BADIN;
    if(b->meta.hash != b->h.meta_hash)
      return seterr(EX_BADIN, "%s: metadata does not have the hash that the header at offset %zu names", path, at - sizeof b->h);
    at += padded;
    u64 n = parse_slots(b, p + at, (len - at) / sizeof(struct nt_slot));
    at += n * sizeof(struct nt_slot);
    boot_finish(b);
    if(b->orphans)
      boot_complain(t, "%u slots of incomplete records ignored", b->orphans);
  }
  if(t->nboot == 0)
    return seterr(EX_BADIN, "%s: empty: no trace header", path);
  if(at < len)
    boot_complain(t, "%zu bytes after offset %zu ignored", len - at, at);
  return 0;
}

// Load a saved trace or a RAM image, whichever path is.
int
trace_load(struct trace *t, const char *path)
{
  memset(t, 0, sizeof *t);
  FILE *f = fopen(path, "rb");
  if(f == 0)
    return seterr(EX_BADIN, "%s: cannot read: %s", path, strerror(errno));
  struct stat st;
  char magic[8] = "";
  if(fstat(fileno(f), &st) == 0 && fread(magic, 1, 5, f) == 5 && memcmp(magic, "NETTR", 5)) {
    fclose(f);
    return ram_load(t, path);
  }
  u64 need = (u64)st.st_size / sizeof(struct nt_slot) * (sizeof(struct nt_slot) + PERSLOT);
  if(need > max_mem) {
    fclose(f);
    return seterr(EX_BADIN, "%s: its %lld KiB would need %llu KiB of memory: give --max-mem, or save less", path, (long long)st.st_size >> 10,
                  (need + 1023) >> 10);
  }
  u8 *p = xmalloc((size_t)st.st_size);
  rewind(f);
  size_t n = fread(p, 1, (size_t)st.st_size, f);
  fclose(f);
  int rc = trace_parse(t, p, n, path);
  t->file = p;
  return rc;
}

void
trace_free(struct trace *t)
{
  for(u32 i = 0; i < t->nboot; i++) {
    meta_free(&t->boot[i].meta);
    if(t->boot[i].slotcap)
      free(t->boot[i].slot);
    free(t->boot[i].rec);
  }
  free(t->boot);
  free(t->file);
  free(t->path);
  free(t->note);
  memset(t, 0, sizeof *t);
}
