// info: what is in a run, how its clock was found and how well, what is missing.
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define MAXLIST 20 // unmatched frames and records named one by one

static const char *
method_name(enum method m)
{
  static const char *const name[] = {"none", "guest", "frames", "anchored", "identity"};
  return name[m];
}

static void
print_clock(const struct session *s, FILE *f)
{
  const struct align *a = &s->al;
  fprintf(f, "clock     %s, ±%s µs at the matched frames; %u syncs, %u frame bounds\n", method_name(a->method), band_str(s->band), a->nsync, a->nbracket);
  if(s->have_cap && a->method >= CLK_FRAMES)
    fprintf(f, "  stamps cut to %s µs: a frame was up to that much later than its own; between wire and kernel ±%s µs\n", us_str(s->cap.q), band_str(s->wire));
  if(a->pm || a->fr)
    fputs("  K: when the guest's clock began, on the capture's; found twice, each time as from .. to\n", f);
  if(a->pm)
    fprintf(f, "  K by the PM timer  %lld .. %lld ns (%s µs wide)\n", a->pmlo, a->pmhi, us_str(a->pmhi - a->pmlo));
  if(a->fr)
    fprintf(f, "  K by frames        %lld .. %lld ns (%s µs wide)\n", a->frlo, a->frhi, us_str(a->frhi - a->frlo));
  if(a->shift)
    fprintf(f, "  moved by %lld ns to meet the frames (turns of the PM timer, or seconds of the date)\n", a->shift);
  if(a->anyturn)
    fprintf(f, "  %s\n", ANYTURN_TEXT);
  if(a->nrun > 1)
    fprintf(f, "  %s: each sync bounds only what lies beside it\n", a->note);
}

static void
print_header(const struct session *s, FILE *f)
{
  const struct nt_header *h = &s->b->h;
  fprintf(f, "trace     %s%s, boot %08x, %u CPUs, rings of %u slots, TSC %u kHz%s%s\n", s->trace.path, s->trace.live ? " (live)" : "",
          h->boot_id, h->ncpu, h->nslots, h->tsc_khz, h->flags & NT_PANICKED ? ", PANICKED" : "", h->flags & NT_FROZEN ? ", frozen" : "");
  fprintf(f, "card      %s %s\n", mac_str(h->mac), h->ip ? ip_str(h->ip) : "without an address");
  fprintf(f, "metadata  %u events, %u sets, %u bytes, hash %08x\n", s->b->meta.nev, s->b->meta.nset, s->b->meta.len, s->b->meta.hash);
  fprintf(f, "records   %u; %llu slots lost, %llu refused by the writer; %u of unknown events; %u stamps going back\n", s->b->nrec,
          s->b->lost, s->b->discarded, s->b->unknown, s->b->backwards);
}

// Special uses fall away when an event is missing: say which.
static void
print_missing(const struct session *s, FILE *f)
{
  static const char *const need[][2] = {
    {"clock_sync", "clock by anchors"}, {"e1000_rx", "matching of received frames"}, {"e1000_tx", "matching of sent frames"}, {"e1000_txkick", "upper bound of sent frames"}, {"tcp_state", "state bar"}, {"pkt_end", "check --ends"}};
  for(u32 i = 0; s->have_trace && i < sizeof need / sizeof need[0]; i++)
    if(meta_event(&s->b->meta, need[i][0]) == 0)
      fprintf(f, "missing   no event %s in the metadata: no %s\n", need[i][0], need[i][1]);
}

static void
print_counts(const struct session *s, FILE *f)
{
  u32 *n = xmalloc(MAXEVENTS * sizeof *n);
  for(u32 i = 0; i < s->b->nrec; i++) {
    const struct event *e = rec_event(s->b, &s->b->rec[i]);
    if(e)
      n[e->id]++;
  }
  for(u32 i = 0; i < MAXEVENTS; i++)
    if(n[i])
      fprintf(f, "  %8u %-8s %s\n", n[i], s->b->meta.ev[i]->stagename, s->b->meta.ev[i]->name);
  free(n);
}

static void
print_unmatched(const struct session *s, FILE *f)
{
  u32 n = 0;
  for(u32 i = 0; i < s->cap.n; i++) {
    enum unmatched u = frame_fate(s, i);
    if(u != UM_NONE && u != UM_LATER && n++ < MAXLIST)
      fprintf(f, "  frame %u, %u bytes %s at %s µs: %s\n", i + 1, s->cap.f[i].len, s->cap.f[i].in ? "in" : "out", us_str(s->cap.f[i].w), fate_text(u));
  }
  for(u32 i = 0; s->have_cap && i < s->b->nrec; i++) {
    if(!rec_is(s, i, "e1000_rx") && !rec_is(s, i, "e1000_tx"))
      continue;
    enum unmatched u = rec_fate(s, i);
    if(u != UM_NONE && n++ < MAXLIST)
      fprintf(f, "  #%u %s: %s\n", rec_slot(s->b, &s->b->rec[i])->pkt, rec_event(s->b, &s->b->rec[i])->name, fate_text(u));
  }
  if(s->count[UM_LATER])
    fprintf(f, "  %u frames after the last tick not looked at yet\n", s->count[UM_LATER]);
  if(n > MAXLIST)
    fprintf(f, "  ... and %u more: --json names all\n", n - MAXLIST);
}

static void
json_unmatched(const struct session *s, FILE *f)
{
  const char *sep = "";
  fputs("\"unmatched\":[", f);
  for(u32 i = 0; i < s->cap.n; i++) {
    enum unmatched u = frame_fate(s, i);
    if(u == UM_NONE || u == UM_LATER)
      continue;
    fprintf(f, "%s{\"frame\":%u,\"in\":%s,\"t_ns\":%lld,\"why\":\"%s\"}", sep, i + 1, s->cap.f[i].in ? "true" : "false", s->cap.f[i].w, fate_text(u));
    sep = ",";
  }
  for(u32 i = 0; s->have_cap && i < s->b->nrec; i++) {
    enum unmatched u = rec_is(s, i, "e1000_rx") || rec_is(s, i, "e1000_tx") ? rec_fate(s, i) : UM_NONE;
    if(u == UM_NONE)
      continue;
    fprintf(f, "%s{\"event\":\"%s\",\"pkt\":%u,\"t_ns\":%lld,\"why\":\"%s\"}", sep, rec_event(s->b, &s->b->rec[i])->name,
            rec_slot(s->b, &s->b->rec[i])->pkt, session_time(s, &s->b->rec[i]), fate_text(u));
    sep = ",";
  }
  fputs("]", f);
}

static void
info_json(const struct session *s, FILE *f)
{
  const struct align *a = &s->al;
  const struct nt_header *h = &s->b->h;
  fprintf(f, "{\"boot_id\":%u,\"boots\":%u,\"clock\":{\"band_ns\":%lld,", h->boot_id, s->trace.nboot, s->band);
  if(a->fr)
    fprintf(f, "\"k_frames_ns\":[%lld,%lld],", a->frlo, a->frhi);
  if(a->pm)
    fprintf(f, "\"k_pmt_ns\":[%lld,%lld],", a->pmlo, a->pmhi);
  fprintf(f, "\"method\":\"%s\",\"runs\":%u,\"shift_ns\":%lld,\"syncs\":%u,\"turn_known\":%s,\"wire_ns\":%lld},", method_name(a->method), a->nrun, a->shift, a->nsync, a->anyturn ? "false" : "true", s->wire);
  fprintf(f, "\"cpus\":%u,\"discarded\":%llu,\"events\":%u,\"frames\":%u,\"ip\":\"%s\",\"lost\":%llu,\"mac\":\"%s\",\"matched\":%u,", h->ncpu,
          s->b->discarded, s->b->nrec, s->cap.n, ip_str(h->ip), s->b->lost, mac_str(h->mac), s->nmatch);
  fprintf(f, "\"meta_hash\":%u,\"panicked\":%s,\"schema\":\"nettrace-info/1\",\"tsc_khz\":%u,\"unknown_events\":%u,", s->b->meta.hash,
          h->flags & NT_PANICKED ? "true" : "false", h->tsc_khz, s->b->unknown);
  json_unmatched(s, f);
  fputs("}\n", f);
}

int
cmd_info(struct opts *o)
{
  struct session s;
  struct out out;
  struct plain text;
  int rc = session_open(&s, o->argc, o->argv);
  if(rc < 0 || (rc = out_open(&out, o->out)) < 0)
    return rc;
  FILE *f = plain_open(&text, out.f);
  if(o->meta)
    fwrite(s.b->meta.raw, 1, s.b->meta.len, f);
  else if(o->json)
    info_json(&s, f);
  else {
    if(s.have_trace)
      print_header(&s, f);
    if(s.have_cap)
      fprintf(f, "capture   %s, %u frames, stamps of %u ns\n", s.cap.path, s.cap.n, s.cap.q);
    if(s.have_trace)
      print_clock(&s, f);
    print_missing(&s, f);
    print_counts(&s, f);
    print_unmatched(&s, f);
  }
  plain_close(&text);
  rc = out_close(&out, true);
  if(!o->quiet)
    session_summary(&s, stderr);
  return rc ? rc : o->strict && (session_noted(&s) || s.b->backwards);
}
