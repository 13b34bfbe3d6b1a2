// Captures: read by libpcap, taken apart as far as labels and matching need.
//
// Every byte comes from a wire and is believed only as far as caplen goes.
#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "tool.h"

bool force_read; // --force

static u32
be16(const u8 *p)
{
  return (u32)p[0] << 8 | p[1];
}

static u32
be32(const u8 *p)
{
  return be16(p) << 16 | be16(p + 2);
}

// What a record and a frame must have in common.  The card pads to 60 bytes.
u64
match_key(u32 len, u32 type, u32 ipid, u32 l4sum, u32 hash)
{
  u32 h = (len < 60 ? 60 : len) ^ type << 16;
  h = (h ^ ipid << 8) * 2654435761u;
  h = (h ^ l4sum) * 2654435761u;
  return (u64)hash << 32 | h;
}

static void
parse_l4(struct frame *f, const u8 *p, u32 n)
{
  static const u8 sumat[256] = {[1] = 2, [6] = 16, [17] = 6};
  u32 at = sumat[f->proto];
  if(at && n >= at + 2) {
    f->l4sum = (u16)be16(p + at);
    f->part = !f->full;
  }
  if(f->proto == 1 && n >= 1)
    f->icmp = p[0];
  if((f->proto != 6 && f->proto != 17) || n < 4)
    return;
  u16 sport = (u16)be16(p), dport = (u16)be16(p + 2);
  f->flow.lport = f->in ? dport : sport;
  f->flow.rport = f->in ? sport : dport;
  u32 head = 8;
  if(f->proto == 6) {
    if(n < 20)
      return;
    f->seq = be32(p + 4);
    f->ack = be32(p + 8);
    f->flags = p[13];
    head = (u32)(p[12] >> 4) * 4;
  }
  if(head <= n) {
    f->off = (u32)(p - f->data) + head;
    f->paylen = n - head;
  }
}

// Fill a frame's fields; mac is the guest card's.
void
frame_parse(struct frame *f, const u8 mac[6])
{
  const u8 *p = f->data;
  u32 n = f->caplen;
  f->rec = f->kick = NOREC;
  f->full = n >= 64 || n >= f->len;
  if(n >= 14) {
    f->in = memcmp(p + 6, mac, 6) != 0;
    f->type = (u16)be16(p + 12);
  }
  if(f->type == 0x0806 && n >= 42) {
    u32 spa = be32(p + 28), tpa = be32(p + 38);
    f->op = (u8)be16(p + 20);
    f->flow = f->in ? (struct flow){.laddr = tpa, .raddr = spa} : (struct flow){.laddr = spa, .raddr = tpa};
  }
  if(f->type == 0x0800 && n >= 34 && p[14] >> 4 == 4) {
    u32 hl = (p[14] & 15u) * 4, total = be16(p + 16);
    u32 end = total + 14 < n ? total + 14 : n; // behind it: padding
    f->ipid = (u16)be16(p + 18);
    f->proto = p[23];
    u32 src = be32(p + 26), dst = be32(p + 30);
    f->flow = f->in ? (struct flow){.laddr = dst, .raddr = src} : (struct flow){.laddr = src, .raddr = dst};
    f->piece = (be16(p + 20) & 0x3fff) != 0; // more to come, or not the first
    f->frag = (u16)((be16(p + 20) & 0x1fff) * 8);
    f->fraglen = (u16)(total > hl ? total - hl : 0);
    if(hl >= 20 && 14 + hl <= end && f->frag == 0)
      parse_l4(f, p + 14 + hl, end - 14 - hl);
  }
  f->key = match_key(f->len, f->type, f->ipid, f->l4sum, f->full ? nt_hash(p, n) : 0);
}

void
capture_add(struct capture *c, i64 w, const u8 *data, u32 caplen, u32 len)
{
  c->f = xgrow(c->f, c->n, &c->cap, sizeof *c->f);
  struct frame *f = &c->f[c->n++];
  memset(f, 0, sizeof *f);
  f->w = w;
  f->caplen = caplen;
  f->len = len;
  f->data = memcpy(xmalloc(caplen), data, caplen);
  c->bytes += caplen;
}

// Are its stamps in nanoseconds?  libpcap scales them and does not say.
static bool
in_ns(const char *path)
{
  u8 m[4] = {0};
  FILE *f = fopen(path, "rb");
  if(f == 0)
    return false;
  size_t n = fread(m, 1, 4, f);
  fclose(f);
  return n == 4 && ((m[0] == 0x4d && m[1] == 0x3c) || (m[2] == 0x3c && m[3] == 0x4d));
}

// --force: the file is damaged behind the frames read so far; say what is left out.
static void
leave_rest(struct capture *c, FILE *f, u32 skipped, const char *why)
{
  struct stat st;
  long at = f ? ftell(f) : -1;
  long long left = at >= 0 && fstat(fileno(f), &st) == 0 ? (long long)st.st_size - at : -1;
  if(*why && left >= 0)
    c->note = xasprintf("--force: read %u frames of %s, left out %u, and all behind them, at least %lld bytes: %s", c->n, c->path, skipped, left, why);
  else if(*why)
    c->note = xasprintf("--force: read %u frames of %s, left out %u, and all behind them: %s", c->n, c->path, skipped, why);
  else
    c->note = xasprintf("--force: read %u frames of %s, left out %u with an impossible time", c->n, c->path, skipped);
}

// All frames of the file, with --force those that can be read.  0 or -EX_BADIN.
static int
read_frames(struct capture *c, pcap_t *p)
{
  struct pcap_pkthdr *h;
  const u_char *data;
  int rc, back = 0;
  u32 skipped = 0;
  while((rc = pcap_next_ex(p, &h, &data)) == 1) {
    bool odd = h->ts.tv_usec < 0 || h->ts.tv_usec >= 1000000000 || h->ts.tv_sec < 0 || h->ts.tv_sec > 1ll << 32;
    skipped += odd;
    if(odd && force_read)
      continue;
    if(odd)
      return seterr(EX_BADIN, "%s: frame %u has an impossible time: --force leaves it out", c->path, c->n + 1);
    i64 w = (i64)h->ts.tv_sec * 1000000000 + h->ts.tv_usec;
    back += c->n && w < c->f[c->n - 1].w;
    if(h->len == 0 && force_read) {
      leave_rest(c, pcap_file(p), skipped, "a frame without length");
      return 0;
    }
    if(h->len == 0)
      return seterr(EX_BADIN, "%s: frame %u has no length: the file is damaged from there on: --force reads what is before", c->path, c->n + 1);
    if(c->bytes + c->n * sizeof *c->f > max_mem)
      return seterr(EX_BADIN, "%s: more than %llu MiB of frames: give --max-mem, or cut it with editcap", c->path, max_mem >> 20);
    capture_add(c, w, data, h->caplen, h->len);
  }
  const char *why = rc == PCAP_ERROR ? pcap_geterr(p) : "";
  if(strstr(why, "type"))
    return seterr(EX_BADIN, "%s: %s: give trace and capture, not a merged file", c->path, why);
  bool damaged = rc == PCAP_ERROR && !strstr(why, "truncated");
  if(damaged && !force_read)
    return seterr(EX_BADIN, "%s: behind frame %u: %s: --force reads what is before; or copy it again as binary", c->path, c->n, why);
  if(damaged || skipped)
    leave_rest(c, pcap_file(p), skipped, why);
  else if(rc == PCAP_ERROR)
    c->note = xasprintf("capture ends early: %s", why);
  else if(back)
    c->note = xasprintf("%d capture stamps go back", back);
  return 0;
}

// Read a whole capture.  An empty file is a capture of nothing.
int
capture_load(struct capture *c, const char *path)
{
  memset(c, 0, sizeof *c);
  c->path = xstrdup(path);
  c->q = in_ns(path) ? 1 : 1000;
  struct stat st;
  if(stat(path, &st) == 0 && st.st_size == 0) {
    c->note = xstrdup("the capture is empty");
    return 0;
  }
  char err[PCAP_ERRBUF_SIZE];
  pcap_t *p = pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, err);
  if(p == 0)
    return seterr(EX_BADIN, "%s: %s", path, err);
  int rc = 0;
  if(pcap_datalink(p) != DLT_EN10MB)
    rc = seterr(EX_BADIN, "%s: not a capture of Ethernet frames", path);
  else
    rc = read_frames(c, p);
  pcap_close(p);
  return rc;
}

void
capture_free(struct capture *c)
{
  for(u32 i = 0; i < c->n; i++)
    free(c->f[i].data);
  free(c->f);
  free(c->path);
  free(c->note);
  memset(c, 0, sizeof *c);
}

// SYN,ACK in the order people say them.
char *
flags_str(u32 flags)
{
  static const struct {
    u32 bit;
    const char *name;
  } tab[] = {{TH_SYN, "SYN"}, {TH_FIN, "FIN"}, {TH_RST, "RST"}, {TH_PSH, "PSH"}, {TH_URG, "URG"}, {TH_ACK, "ACK"}};
  static char buf[4][32];
  static u32 turn;
  char *s = buf[turn++ % 4];
  *s = 0;
  for(u32 i = 0; i < 6; i++)
    if(flags & tab[i].bit) {
      if(*s)
        strcat(s, ",");
      strcat(s, tab[i].name);
    }
  return s;
}
