// wait: until the guest has got so far, seen in its RAM, never by sleeping and hoping.
//
// Conditions, all of which must hold: meta, ip, quiet=MS, or an event with
// fields, seen at any time since boot.  Looks every 5 ms; the guest is not
// disturbed.  Ends at once when QEMU (--pid) has died, or the run is over.
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "tool.h"

#define MAXTERMS 4
enum condkind {
  C_META,
  C_IP,
  C_QUIET,
  C_EVENT
};

struct cond {
  enum condkind kind;
  i64 quiet_ms;
  const char *event;
  char *field[MAXTERMS], *val[MAXTERMS];
  u64 num[MAXTERMS];
  int nterm;
  bool met;
};
struct waiter {
  struct cond c[32];
  int n;
  struct ram ram;
  bool found, opened; // the ring; the file
  struct boot b;      // metadata for decoding; holds one record at a time
  struct cursor cur[NT_MAXCPU];
  u32 ncpu;   // of these have been begun
  u64 frames; // sent and received so far
  i64 moved;  // when that number last changed, ms
};

static i64
now_ms(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (i64)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// One word of a --for: a condition, or FIELD=VALUE for the event before it.
static int
add_word(struct waiter *w, char *word)
{
  char *eq = strchr(word, '=');
  struct cond *prev = w->n ? &w->c[w->n - 1] : 0;
  if(eq && strncmp(word, "quiet=", 6) == 0) {
    char *end;
    w->c[w->n] = (struct cond){.kind = C_QUIET, .quiet_ms = strtoll(eq + 1, &end, 10)};
    if(end == eq + 1 || (*end && strcmp(end, "ms")))
      return seterr(EX_BADUSE, "--for %s: quiet=MS needs milliseconds", word);
    w->n++;
    return 0;
  }
  if(eq) {
    if(prev == 0 || prev->kind != C_EVENT || prev->nterm == MAXTERMS)
      return seterr(EX_BADUSE, "--for %s: FIELD=VALUE belongs behind an event, at most %d", word, MAXTERMS);
    *eq = 0;
    prev->field[prev->nterm] = word;
    prev->val[prev->nterm++] = eq + 1;
    return 0;
  }
  enum condkind k = strcmp(word, "meta") == 0 ? C_META : strcmp(word, "ip") == 0 ? C_IP
                                                                                 : C_EVENT;
  w->c[w->n++] = (struct cond){.kind = k, .event = word};
  return 0;
}

static int
parse_conds(struct waiter *w, const struct opts *o)
{
  for(int i = 0; i < o->ncond; i++) {
    char *s = xstrdup(o->conds[i]);
    for(char *word = strtok(s, " ,\t\n"); word; word = strtok(0, " ,\t\n")) {
      if(w->n == (int)(sizeof w->c / sizeof w->c[0]))
        return seterr(EX_BADUSE, "--for: too many conditions");
      int rc = strcmp(word, "and") ? add_word(w, word) : 0;
      if(rc < 0)
        return rc;
    }
  }
  return w->n ? 0 : seterr(EX_BADUSE, "--for is needed: meta, ip, quiet=MS or EVENT [FIELD=VALUE]");
}

// Names in the conditions must exist in this kernel's metadata.
static int
resolve(struct waiter *w)
{
  for(int i = 0; i < w->n; i++) {
    struct cond *c = &w->c[i];
    const struct event *e = c->kind == C_EVENT ? meta_event(&w->b.meta, c->event) : 0;
    if(c->kind == C_EVENT && e == 0)
      return seterr(EX_BADUSE, "--for %s: this kernel has no such event", c->event);
    for(int k = 0; k < c->nterm; k++) {
      const struct field *f = event_field(e, c->field[k]);
      bool head = !strcmp(c->field[k], "pkt") || !strcmp(c->field[k], "sock") || !strcmp(c->field[k], "pid");
      if(f == 0 && !head)
        return seterr(EX_BADUSE, "--for %s: it has no field %s", c->event, c->field[k]);
      if(f && f->type > T_S32)
        return seterr(EX_BADUSE, "--for %s: field %s is not a number", c->event, c->field[k]);
      static const struct field number;
      if(!field_parse(f ? f : &number, c->val[k], &c->num[k]))
        return seterr(EX_BADUSE, "--for %s: %s cannot be %s", c->event, c->field[k], c->val[k]);
    }
  }
  return 0;
}

static u64
term_value(const struct waiter *w, const struct rec *r, const char *name)
{
  const struct nt_slot *s = rec_slot(&w->b, r);
  u64 v;
  if(rec_num(&w->b, r, name, &v))
    return v;
  return !strcmp(name, "pkt") ? s->pkt : !strcmp(name, "sock") ? s->sock
                                                               : s->pid;
}

static void
test_record(struct waiter *w, const struct nt_slot *s)
{
  w->b.slot = (struct nt_slot *)s;
  struct rec r = {.ts = s->ts};
  const struct event *e = rec_event(&w->b, &r);
  for(int i = 0; e && i < w->n; i++) {
    struct cond *c = &w->c[i];
    if(c->met || c->kind != C_EVENT || strcmp(c->event, e->name))
      continue;
    bool all = true;
    for(int k = 0; k < c->nterm; k++)
      all = all && term_value(w, &r, c->field[k]) == c->num[k];
    c->met = all;
  }
}

// Read what is new in all rings, those of CPUs just started too.
static int
drain(struct waiter *w)
{
  struct nt_slot s[NT_MAXNSL];
  if(ram_refresh(&w->ram) < 0)
    return -EX_BADIN;
  for(u32 c = 0; c < w->ram.h.ncpu; c++) {
    if(c >= w->ncpu)
      w->cur[c].cur = ram_start(&w->ram, c);
    while(ram_next(&w->ram, c, &w->cur[c], s) > 0)
      test_record(w, s);
  }
  w->ncpu = w->ram.h.ncpu;
  return 0;
}

// Frames sent and received since boot: they alone decide what is quiet.
static u64
count_frames(const struct waiter *w)
{
  static const char *const name[] = {"e1000_rx", "e1000_tx"};
  u64 n = 0;
  for(int i = 0; i < 2; i++) {
    const struct event *e = meta_event(&w->b.meta, name[i]);
    for(u32 c = 0; e && c < w->ram.h.ncpu; c++)
      n += ram_count(&w->ram, c, e->id);
  }
  return n;
}

// Open the RAM file and find the ring, once both exist.  1 found, 0 not yet, < 0 error.
static int
look(struct waiter *w, const char *path)
{
  if(w->found)
    return 1;
  if(access(path, R_OK) < 0 && errno == ENOENT)
    return 0;
  if(!w->opened && ram_open(&w->ram, path) < 0)
    return access(path, R_OK) == 0 ? 0 : -EX_BADIN; // being created: not at its size yet
  w->opened = true;
  int rc = ram_find(&w->ram);
  if(rc <= 0)
    return rc;
  if((rc = ram_meta(&w->ram, &w->b.meta)) < 0 || (rc = resolve(w)) < 0)
    return rc;
  w->found = true;
  w->frames = count_frames(w);
  w->moved = now_ms();
  return 1;
}

static bool
all_met(struct waiter *w)
{
  const volatile struct nt_header *h = (const volatile void *)(w->ram.p + w->ram.pa);
  u64 frames = count_frames(w);
  if(frames != w->frames) {
    w->frames = frames;
    w->moved = now_ms();
  }
  bool all = true;
  for(int i = 0; i < w->n; i++) {
    struct cond *c = &w->c[i];
    if(c->kind == C_META)
      c->met = true;
    if(c->kind == C_IP)
      c->met = h->ip != 0;
    if(c->kind == C_QUIET)
      c->met = now_ms() - w->moved >= c->quiet_ms;
    all = all && c->met;
  }
  return all;
}

// Has process pid ended?  A child that nobody has waited for yet is still a number
// to kill(): its state in /proc says Z.
static bool
has_ended(i64 pid)
{
  char path[64], text[512];
  if(kill((pid_t)pid, 0) < 0)
    return errno == ESRCH;
  snprintf(path, sizeof path, "/proc/%lld/stat", pid);
  FILE *f = fopen(path, "r");
  if(f == 0)
    return false;
  size_t n = fread(text, 1, sizeof text - 1, f);
  fclose(f);
  text[n] = 0;
  const char *state = strrchr(text, ')'); // the name before it may hold anything
  return state && strncmp(state, ") Z", 3) == 0;
}

// What is still missing, for the message.
static const char *
missing(const struct waiter *w)
{
  static char text[200];
  size_t k = 0;
  for(int i = 0; i < w->n && k < sizeof text; i++) {
    const struct cond *c = &w->c[i];
    if(!c->met)
      k += (size_t)snprintf(text + k, sizeof text - k, " %s", c->kind == C_QUIET ? "quiet" : c->event);
    for(int t = 0; !c->met && t < c->nterm && k < sizeof text; t++)
      k += (size_t)snprintf(text + k, sizeof text - k, " %s=%s", c->field[t], c->val[t]);
  }
  return text;
}

// over: this file is there once capture has ended the run, 0 for a RAM file alone.
static int
wait_loop(struct waiter *w, const struct opts *o, const char *path, const char *over)
{
  i64 end = now_ms() + o->timeout * 1000;
  for(;;) {
    // Asked first: the look after it sees all.
    bool ended = over && access(over, F_OK) == 0, dead = o->pid && has_ended(o->pid);
    int rc = look(w, path);
    if(rc < 0)
      return rc;
    if(rc > 0) {
      if((rc = drain(w)) < 0)
        return rc;
      if(all_met(w))
        return 0;
    }
    if(dead)
      return seterr(EX_FOUND, "QEMU (pid %lld) has ended; not seen:%s", o->pid, missing(w));
    if(w->found && (((const volatile struct nt_header *)(const void *)(w->ram.p + w->ram.pa))->flags & NT_PANICKED))
      return seterr(EX_FOUND, "the guest panicked; not seen:%s", missing(w));
    if(ended)
      return seterr(EX_FOUND, "the run has ended%s; not seen:%s", w->found ? "" : ", its RAM is gone", missing(w));
    if(now_ms() >= end)
      return seterr(EX_FOUND, "timed out after %lld s; not seen:%s", o->timeout, missing(w));
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, 0);
  }
}

// The operand is a run directory, whose RAM file may not exist yet, or a RAM file.
int
cmd_wait(struct opts *o)
{
  static struct waiter w;
  w.ram.fd = -1;
  int rc = parse_conds(&w, o);
  if(rc < 0)
    return rc;
  const char *run = getenv("NETTRACE_RUN");
  const char *what = o->argc ? o->argv[0] : run && *run ? run
                                                        : "run/latest";
  bool run_dir = file_kind(what) == F_DIR;
  char *path = run_dir ? xasprintf("%s/ram", what) : xstrdup(what);
  char *over = run_dir ? xasprintf("%s/status", what) : 0;
  rc = wait_loop(&w, o, path, over);
  if(w.found)
    ram_close(&w.ram);
  free(path);
  free(over);
  return rc;
}
