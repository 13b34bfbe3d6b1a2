// What was lost on the cable: the captures of its two ends, compared.
//
// With capture -W the wire tool stands between the card and the other side, and a
// run has two captures: wire.pcap at the card, far.pcap at the far end.  A frame
// that one end sent and the other never had was lost between them, or damaged:
// then one arrived that nobody sent and that differs in a few bytes.
// Both are stamped by the same clock.  html and the ladders draw these; nothing else depends on it.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tool.h"

#define MAXDAMAGE 4         // bytes in which a damaged frame differs
#define GRACE     100000000 // ns: what was sent last may be on its way still

// A frame of either end.
struct end {
  u64 key;
  u32 idx;
  bool sent; // at the end that it comes from
};

static int
end_cmp(const void *a, const void *b)
{
  const struct end *x = a, *y = b;
  if(x->key != y->key)
    return x->key < y->key ? -1 : 1;
  if(x->sent != y->sent)
    return x->sent ? -1 : 1;
  return x->idx < y->idx ? -1 : x->idx > y->idx;
}

static u32
add_ends(struct end *e, u32 n, const struct capture *c, bool in, bool sent)
{
  for(u32 i = 0; i < c->n; i++)
    if(c->f[i].in == in && c->f[i].full)
      e[n++] = (struct end){c->f[i].key, i, sent};
  return n;
}

// Of equal frames the first ones count as lost: what comes again, comes because it was.
// Calls mark on each frame of from: did it arrive?
static void
each_sent(const struct end *e, u32 n, void (*mark)(u32 idx, bool arrived, void *arg), void *arg)
{
  for(u32 i = 0, k; i < n; i = k) {
    u32 sent = 0;
    for(k = i; k < n && e[k].key == e[i].key; k++)
      sent += e[k].sent;
    u32 came = k - i - sent;
    for(u32 j = 0; j < sent; j++)
      mark(e[i + j].idx, sent - j <= came, arg);
  }
}

static void
keep_last(u32 idx, bool arrived, void *arg)
{
  u32 *last = arg;
  *last = arrived && idx + 1 > *last ? idx + 1 : *last;
}

struct verdict {
  const struct capture *from;
  u32 last; // frames before this number were overtaken by one that arrived
  i64 end;  // the other end's last frame
  u8 *gone;
};

static void
judge(u32 idx, bool arrived, void *arg)
{
  struct verdict *v = arg;
  v->gone[idx] = !arrived && (idx + 1 < v->last || v->from->f[idx].w + GRACE < v->end);
}

// Do two frames differ as a damaged one does from what was sent: in a few bytes?
static bool
is_damaged(const struct frame *a, const struct frame *b)
{
  u32 differ = 0, n = a->caplen < b->caplen ? a->caplen : b->caplen;
  if(a->len != b->len || a->caplen != b->caplen)
    return false;
  for(u32 i = 0; i < n && differ <= MAXDAMAGE; i++)
    differ += a->data[i] != b->data[i];
  return differ > 0 && differ <= MAXDAMAGE;
}

// Of the frames in gone some came damaged: as one that nobody sent, soon after.  strange:
// what arrived and nobody sent; marked there, too.
static void
find_damaged(const struct capture *from, const struct capture *to, u8 *gone, u8 *strange)
{
  for(u32 i = 0, k = 0; i < from->n; i++) {
    if(!gone[i])
      continue;
    while(k < to->n && to->f[k].w < from->f[i].w - 1000)
      k++;
    for(u32 j = k; j < to->n && to->f[j].w < from->f[i].w + GRACE; j++)
      if(strange[j] == CABLE_LOST && is_damaged(&from->f[i], &to->f[j])) {
        gone[i] = strange[j] = CABLE_DAMAGED;
        break;
      }
  }
}

// Mark in strange the frames that to has and from did not send.
static void
find_strange(const struct capture *from, const struct capture *to, bool in, u8 *strange)
{
  struct end *e = xmalloc((from->n + to->n + 1) * sizeof *e);
  u32 n = add_ends(e, 0, from, in, true);
  n = add_ends(e, n, to, in, false);
  if(n)
    qsort(e, n, sizeof *e, end_cmp);
  for(u32 i = 0, k; i < n; i = k) {
    for(k = i; k < n && e[k].key == e[i].key; k++)
      if(!e[i].sent)
        strange[e[k].idx] = CABLE_LOST;
  }
  free(e);
}

// Mark in gone the frames of one direction that from sent and to never had; in came those
// that arrived damaged.
static void
find_gone(const struct capture *from, const struct capture *to, bool in, u8 *gone, u8 *came)
{
  u8 *strange = xmalloc(to->n + 1);
  struct end *e = xmalloc((from->n + to->n + 1) * sizeof *e);
  struct verdict v = {.from = from, .gone = gone, .end = to->n ? to->f[to->n - 1].w : -(1ll << 62)};
  u32 n = add_ends(e, 0, from, in, true);
  n = add_ends(e, n, to, in, false);
  if(n)
    qsort(e, n, sizeof *e, end_cmp);
  each_sent(e, n, keep_last, &v.last);
  each_sent(e, n, judge, &v);
  find_strange(from, to, in, strange);
  find_damaged(from, to, gone, strange);
  for(u32 i = 0; i < to->n; i++)
    came[i] = strange[i] == CABLE_DAMAGED ? CABLE_DAMAGED : came[i];
  free(strange);
  free(e);
}

// Compare the two captures of a run that has both.  0 or -EX_BADIN.
int
cable_load(struct cable *c, const struct session *s)
{
  memset(c, 0, sizeof *c);
  char *path = s->in.dir && s->have_cap && s->have_trace ? xasprintf("%s/far.pcap", s->in.dir) : 0;
  if(path == 0 || access(path, R_OK) < 0) {
    free(path);
    return 0;
  }
  int rc = capture_load(&c->far, path);
  free(path);
  if(rc < 0)
    return rc;
  for(u32 i = 0; i < c->far.n; i++)
    frame_parse(&c->far.f[i], s->b->h.mac);
  c->out = xmalloc(s->cap.n + 1);
  c->in = xmalloc(c->far.n + 1);
  find_gone(&s->cap, &c->far, false, c->out, c->in);
  find_gone(&c->far, &s->cap, true, c->in, c->out);
  for(u32 i = 0; i < s->cap.n; i++) {
    c->n += c->out[i] == CABLE_LOST;
    c->ndamaged += c->out[i] == CABLE_DAMAGED;
  }
  for(u32 i = 0; i < c->far.n; i++)
    c->n += c->in[i] == CABLE_LOST;
  return 0;
}
