// merge of two machines: one pcapng, everything on A's clock.
//
// Interfaces 0 and 2 hold the frames of A's and of B's capture, 1 and 3 the events
// of their kernels.  A frame that one sent and the other received stands once, at
// its sender, when it was sent: twice, it would look like a retransmission.  When
// it arrived its comment says, with both journeys.  Frames that arrived otherwise
// than they were sent (damaged, a copy, from nobody) stand where they arrived.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "merge.h"
#include "two.h"

struct merge2 {
  struct two *t;
  const struct opts *o;
  FILE *f;
  struct block b, data;
  struct prow *step[2]; // rows by packet
  u32 nstep[2];
  u32 *no[2]; // number in the file of each frame
  i64 zero;   // A's clock at the file's 0
};

// Does this row get a packet of its own?
static bool
in_file(const struct merge2 *m, const struct row *r)
{
  const struct side *d = &m->t->side[r->side];
  const struct item *it = &d->s.item[r->item];
  if(it->frame)
    return two_is_shown(m->t, r) || (d->sel.show[r->item] && two_damaged(m->t, r->side, it->idx));
  return d->sel.show[r->item] && !m->o->wireonly && rec_slot(d->s.b, &d->s.b->rec[it->idx]);
}

// Number the frames; a received one that stands at its sender has that number.
static void
number(struct merge2 *m)
{
  u32 k = m->o->wireonly ? 0 : 2;
  for(int i = 0; i < 2; i++)
    m->no[i] = xmalloc((m->t->side[i].s.cap.n + 1) * sizeof **m->no);
  for(u32 i = 0; i < m->t->nrow; i++) {
    const struct row *r = &m->t->row[i];
    const struct side *d = &m->t->side[r->side];
    const struct item *it = &d->s.item[r->item];
    bool here = in_file(m, r);
    k += here;
    if(!it->frame)
      continue;
    u32 other = d->other[it->idx];
    m->no[r->side][it->idx] = here ? k : d->s.cap.f[it->idx].in && other != NOREC ? m->no[!r->side][other]
                                                                                  : 0;
  }
}

// Both machines' journeys of a frame, and what became of it in between.
static void
comment_frame(const struct merge2 *m, const struct row *r, char *to, size_t max)
{
  static const char *const fate[] = {"arrived", "arrived more than once", "damaged on the way", "lost on the way", "nobody was there"};
  char text[MAXCOMMENT];
  const struct side *d = &m->t->side[r->side], *e = &m->t->side[!r->side];
  u32 i = d->s.item[r->item].idx, other = d->other[i];
  bool in = d->s.cap.f[i].in;
  journey(text, &d->s, m->step[r->side], m->nstep[r->side], i);
  size_t k = (size_t)snprintf(to, max, "%c: %s", 'A' + r->side, text);
  if(in && k < max)
    snprintf(to + k, max - k, " | %s", other == NOREC ? "nobody sent this" : two_damaged(m->t, r->side, i) ? "damaged on the way"
                                                                                                           : "a copy");
  if(in || k >= max)
    return;
  k += (size_t)snprintf(to + k, max - k, " | %s", fate[two_arrival(m->t, r->side, i)]);
  if(other == NOREC || k >= max)
    return;
  i64 after = two_on_a(m->t, !r->side, e->s.cap.f[other].w) - two_on_a(m->t, r->side, d->s.cap.f[i].w);
  journey(text, &e->s, m->step[!r->side], m->nstep[!r->side], other);
  if(m->t->shared)
    snprintf(to + k, max - k, " | %c: %s", 'B' - r->side, text);
  else
    snprintf(to + k, max - k, " %sus later, clocks of A and B %s | %c: %s", us_str(after), two_band(m->t), 'B' - r->side, text);
}

static void
put_row2(struct merge2 *m, const struct row *r, u32 *lost)
{
  const struct side *d = &m->t->side[r->side];
  const struct item *it = &d->s.item[r->item];
  u32 iface = m->o->wireonly ? r->side : 2u * r->side;
  char comment[3 * MAXCOMMENT] = "";
  if(it->frame) {
    const struct frame *f = &d->s.cap.f[it->idx];
    if(!m->o->nocomments)
      comment_frame(m, r, comment, sizeof comment);
    put_packet(&m->b, m->f, iface, r->w - m->zero, f->data, f->caplen, f->len, f->in ? 1 : 2, comment);
    return;
  }
  u32 of = d->s.frame_of[it->idx];
  struct place at = {iface + 1, r->side ? MACHINE_B : 0, r->w - m->zero, of == NOREC ? 0 : m->no[r->side][of], *lost};
  put_event(&m->b, &m->data, m->f, &d->s, &d->s.b->rec[it->idx], &at);
  *lost = 0;
}

// Which machine is which, both clocks, and what lies between them.
static char *
section_comment(const struct merge2 *m)
{
  char *text = 0;
  size_t n = 0;
  FILE *f = open_memstream(&text, &n);
  two_info(m->t, m->o, f);
  fprintf(f, "times    A's clock%s%s%s; a frame stands once, at its sender", m->zero < 0 ? " + " : "", m->zero < 0 ? us_str(-m->zero) : "",
          m->zero < 0 ? " us" : "");
  fclose(f);
  return text;
}

static void
put_heads2(struct merge2 *m)
{
  char name[32], what[120];
  char *comment = section_comment(m);
  put_section(&m->b, m->f, comment);
  free(comment);
  for(int k = 0; k < 2; k++) {
    snprintf(name, sizeof name, "wire %c", 'A' + k);
    snprintf(what, sizeof what, "%c %s: frames %s", 'A' + k, ip_str(m->t->side[k].s.b->h.ip), m->t->shared ? "it sent" : "as captured at its card");
    put_interface(&m->b, m->f, LINK_ETHERNET, name, what);
    if(m->o->wireonly)
      continue;
    snprintf(name, sizeof name, "nettrace %c", 'A' + k);
    snprintf(what, sizeof what, "%c %s: events of its kernel", 'A' + k, ip_str(m->t->side[k].s.b->h.ip));
    put_interface(&m->b, m->f, LINK_USER0, name, what);
  }
  for(u32 k = 0; k < 2 && !m->o->wireonly; k++)
    put_meta(&m->b, &m->data, m->f, &m->t->side[k].s, &(struct place){.iface = 2 * k + 1, .machine = k ? MACHINE_B : 0});
}

// Write both machines, joined before, as one file.  0 or -exit code.
int
two_merge(struct two *t, const struct opts *o, FILE *f)
{
  struct merge2 m = {.t = t, .o = o, .f = f};
  u32 lost[2] = {0, 0};
  int rc = two_select(t, o, false);
  if(rc < 0)
    return rc;
  setvbuf(f, 0, _IOFBF, 1 << 20);
  m.zero = t->nrow && t->row[0].w < 0 ? t->row[0].w : 0;
  for(int k = 0; k < 2; k++)
    m.step[k] = rows_by_packet(&t->side[k].s, 0, &m.nstep[k]);
  number(&m);
  put_heads2(&m);
  for(u32 i = 0; i < t->nrow; i++) {
    const struct row *r = &t->row[i];
    const struct side *d = &t->side[r->side];
    const struct item *it = &d->s.item[r->item];
    if(!it->frame && d->s.b->rec[it->idx].slot == NOSLOT)
      lost[r->side] += d->s.b->rec[it->idx].nlost;
    if(in_file(&m, r))
      put_row2(&m, r, &lost[r->side]);
  }
  free(m.b.p);
  free(m.data.p);
  for(int k = 0; k < 2; k++) {
    free(m.step[k]);
    free(m.no[k]);
  }
  return 0;
}
