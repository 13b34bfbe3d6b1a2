// Fuzz target: what the commands print of a small trace and a small capture.
#define _GNU_SOURCE // memfd_create
#include <sys/mman.h>
#include <unistd.h>
#include "fuzz.h"

// Standard output becomes a file in memory that is emptied each time.
static void
begin_output(void)
{
  static char buf[1 << 16];
  static bool once;
  if(!once) {
    dup2(memfd_create("out", 0), 1);
    setvbuf(stdout, buf, _IOFBF, sizeof buf);
  }
  once = true;
  rewind(stdout);
  if(ftruncate(1, 0) < 0)
    abort();
}

int
LLVMFuzzerTestOneInput(const u8 *data, size_t n)
{
  static int (*const cmd[])(struct opts * o) = {cmd_ladder, cmd_merge, cmd_dump, cmd_info, cmd_check, cmd_html, cmd_stats, cmd_chrome, cmd_msc, cmd_why};
  struct halves h;
  char trace[32], capture[32], packet[] = "+1", *argv[] = {packet, trace, capture};
  if(!fuzz_split(data, n, &h))
    return 0;
  size_t len;
  u8 *p = fuzz_trace(&h, &len);
  snprintf(trace, sizeof trace, "%s", fuzz_file(0, p, len));
  snprintf(capture, sizeof capture, "%s", fuzz_file(1, h.capture, h.ncapture));
  free(p);
  begin_output();
  struct opts o = {.quiet = true, .all = n & 8, .json = n & 16, .ascii = n & 32, .handshake = true, .ends = true, .sandwich = true};
  o.width = n & 64 ? 80 : 120;
  o.max_lost = o.max_unmatched = o.max_band = -1;
  o.out = "-";
  o.svg = n & 128;
  u32 which = (u32)(n % (sizeof cmd / sizeof cmd[0]));
  bool journey = cmd[which] == cmd_why;
  o.argv = argv + !journey;
  o.argc = 2 + journey;
  fuzz_begin();
  cmd[which](&o);
  fflush(stdout);
  fuzz_end();
  return 0;
}
