// A capture that is still being written: pcap, as QEMU writes it, or pcapng, as others do.
//
// Read by follow, look by look.  What stands there in part is read when it is whole.
// libpcap reads finished captures (pcapin.c): it takes a half record for the end.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tool.h"

#define PCAP_HEAD  24
#define FRAME_HEAD 16
#define SECTION    0x0a0d0d0au // pcapng's blocks: a section's header,
#define INTERFACE  1           // what the frames of one card are like,
#define FRAME      6           // a frame (an "enhanced packet block")
#define MAXBLOCK   (MAXCAPLEN + 65536)
#define IF_TSRESOL 9 // option of an interface: its unit of time
#define ETHERNET   1

static u32
word_at(const struct growing *g, const u8 *p)
{
  u32 v;
  memcpy(&v, p, 4);
  return g->swapped ? __builtin_bswap32(v) : v;
}

static u16
half_at(const struct growing *g, const u8 *p)
{
  u16 v;
  memcpy(&v, p, 2);
  return g->swapped ? __builtin_bswap16(v) : v;
}

static bool
all_there(const struct growing *g, void *to, size_t n, u64 at)
{
  return pread(fileno(g->f), to, n, (off_t)at) == (ssize_t)n;
}

// Read the head of the capture once it is there.  0, or -EX_BADIN: no such file.
int
growing_begin(struct growing *g, const char *path)
{
  u8 head[PCAP_HEAD];
  if(g->f == 0 && (g->f = fopen(path, "rbe")) == 0)
    return 0;
  if(g->begun || !all_there(g, head, sizeof head, 0))
    return 0;
  u32 magic = word_at(g, head);
  g->begun = true;
  g->ng = magic == SECTION;
  if(g->ng)
    return 0;
  g->swapped = magic == 0xd4c3b2a1 || magic == 0x4d3cb2a1;
  magic = word_at(g, head);
  g->unit[0] = magic == 0xa1b23c4d ? 9 : 6;
  g->at = PCAP_HEAD;
  if((magic != 0xa1b2c3d4 && magic != 0xa1b23c4d) || (word_at(g, head + 20) & 0xffff) != ETHERNET)
    return seterr(EX_BADIN, "%s: follow reads a pcap or pcapng file of Ethernet frames", path);
  return 0;
}

// A stamp in the interface's unit, 10^-n or, with the top bit, 2^-n seconds, as ns.
static i64
stamp_ns(u8 unit, u64 t)
{
  if(unit & 0x80)
    return (i64)((i128)t * 1000000000 >> ((unit & 0x7f) > 63 ? 63 : unit & 0x7f));
  i128 ns = t;
  for(; unit < 9; unit++)
    ns *= 10;
  for(; unit > 9; unit--)
    ns /= 10;
  return (i64)ns;
}

// The next record of a pcap, if it is whole.
static bool
next_record(struct growing *g, i64 *w, const u8 **data, u32 *caplen, u32 *len)
{
  u8 head[FRAME_HEAD];
  if(!all_there(g, head, sizeof head, g->at))
    return false;
  *caplen = word_at(g, head + 8);
  *len = word_at(g, head + 12);
  *w = word_at(g, head) * 1000000000ll + stamp_ns(g->unit[0], word_at(g, head + 4));
  *data = g->block;
  g->broken = *caplen > MAXCAPLEN;
  if(g->broken || !all_there(g, g->block, *caplen, g->at + FRAME_HEAD))
    return false;
  g->at += FRAME_HEAD + *caplen;
  return true;
}

// An interface: what kind of frames, and its unit of time.
static void
add_interface(struct growing *g, u32 size)
{
  u8 unit = 6;
  for(u32 at = 16; at + 4 <= size - 4 && half_at(g, g->block + at) != 0;) {
    u32 n = half_at(g, g->block + at + 2);
    if(half_at(g, g->block + at) == IF_TSRESOL && n == 1 && at + 5 <= size)
      unit = g->block[at + 4];
    at += 4 + (n + 3) / 4 * 4;
  }
  g->broken |= size < 20 || half_at(g, g->block + 8) != ETHERNET || g->nunit == sizeof g->unit;
  if(!g->broken)
    g->unit[g->nunit++] = unit;
}

// The next frame of a pcapng whose block is whole; other blocks are passed.
static bool
next_block(struct growing *g, i64 *w, const u8 **data, u32 *caplen, u32 *len)
{
  const u8 *b = g->block;
  while(!g->broken && all_there(g, g->block, 12, g->at)) {
    u32 bom;
    memcpy(&bom, b + 8, 4);
    if(word_at(g, b) == SECTION) { // the same from either end
      g->swapped = bom == 0x4d3c2b1a;
      g->nunit = 0;
    }
    u32 type = word_at(g, b), size = word_at(g, b + 4);
    g->broken = size < 12 || size % 4 || size > MAXBLOCK;
    if(g->broken || !all_there(g, g->block, size, g->at))
      return false;
    g->at += size;
    if(type == INTERFACE)
      add_interface(g, size);
    if(type != FRAME)
      continue;
    u32 interface = word_at(g, b + 8);
    *caplen = word_at(g, b + 20);
    *len = word_at(g, b + 24);
    *data = b + 28;
    g->broken = size < 32 || *caplen > size - 32 || interface >= g->nunit;
    if(g->broken)
      return false;
    *w = stamp_ns(g->unit[interface], (u64)word_at(g, b + 12) << 32 | word_at(g, b + 16));
    return true;
  }
  return false;
}

// The next frame that is whole: its stamp in ns, its bytes until the next call.
// g->broken: the file cannot be read any further.
bool
growing_next(struct growing *g, i64 *w, const u8 **data, u32 *caplen, u32 *len)
{
  if(!g->begun || g->broken)
    return false;
  if(g->block == 0)
    g->block = xmalloc(MAXBLOCK);
  return g->ng ? next_block(g, w, data, caplen, len) : next_record(g, w, data, caplen, len);
}

void
growing_end(struct growing *g)
{
  if(g->f)
    fclose(g->f);
  free(g->block);
}
