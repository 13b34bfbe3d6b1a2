// What the command line named: run directory, saved trace, RAM image, capture.
//
// Operands are recognised by content, never by name.  Without any, the run
// directory is $NETTRACE_RUN, else run/latest.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tool.h"

static bool
is_pcap(const u8 *m)
{
  static const u8 magic[][4] = {
    {0xd4, 0xc3, 0xb2, 0xa1}, {0xa1, 0xb2, 0xc3, 0xd4}, {0x4d, 0x3c, 0xb2, 0xa1}, {0xa1, 0xb2, 0x3c, 0x4d}, {0x0a, 0x0d, 0x0d, 0x0a}};
  for(u32 i = 0; i < sizeof magic / 4; i++)
    if(memcmp(m, magic[i], 4) == 0)
      return true;
  return false;
}

enum filekind
file_kind(const char *path)
{
  struct stat st;
  if(stat(path, &st) < 0)
    return F_NONE;
  if(S_ISDIR(st.st_mode))
    return F_DIR;
  FILE *f = fopen(path, "rb");
  if(f == 0)
    return F_NONE;
  u8 m[8] = {0};
  size_t n = fread(m, 1, sizeof m, f);
  fclose(f);
  if(n >= 5 && memcmp(m, "NETTR", 5) == 0)
    return F_TRACE;
  if(n >= 4 && is_pcap(m))
    return F_PCAP;
  return st.st_size >= 1 << 20 && st.st_size % 4096 == 0 ? F_RAM : F_BAD;
}

static bool
is_empty(const char *path)
{
  struct stat st;
  return stat(path, &st) == 0 && st.st_size == 0;
}

// dir/name if it exists, else 0.
static char *
member(const char *dir, const char *name)
{
  char *p = xasprintf("%s/%s", dir, name);
  if(access(p, F_OK) == 0)
    return p;
  free(p);
  return 0;
}

static int
use_dir(struct input *in, const char *dir)
{
  in->dir = xstrdup(dir);
  in->trace = member(dir, "trace.nt");
  in->ram = member(dir, "ram");
  in->capture = member(dir, "wire.pcap");
  in->elf = member(dir, "kernel.elf");
  if(!in->trace && !in->ram && !in->capture)
    return seterr(EX_BADIN, "%s: no run directory: neither trace.nt nor ram nor wire.pcap in it", dir);
  return 0;
}

static int
use_operand(struct input *in, const char *path)
{
  switch(file_kind(path)) {
  case F_DIR:
    return use_dir(in, path);
  case F_TRACE:
    in->trace = xstrdup(path);
    return 0;
  case F_RAM:
    in->ram = xstrdup(path);
    return 0;
  case F_PCAP:
    in->capture = xstrdup(path);
    return 0;
  case F_NONE:
    return seterr(EX_BADIN, "%s: cannot read: %s", path, strerror(errno));
  case F_BAD:
    if((in->trace || in->ram) && is_empty(path)) { // beside a trace: a capture of nothing
      in->capture = xstrdup(path);
      return 0;
    }
    if(is_empty(path))
      return seterr(EX_BADIN, "%s: an empty file: a capture has a header from QEMU's start on, a trace from its first byte", path);
  }
  return seterr(EX_BADIN, "%s: neither a run directory, a saved trace, a RAM image nor a capture", path);
}

// Fill *in from the operands.  0 or -exit code.
int
input_find(struct input *in, int n, char **operand)
{
  memset(in, 0, sizeof *in);
  if(n == 0) {
    const char *run = getenv("NETTRACE_RUN");
    if(run && *run)
      return use_dir(in, run);
    if(access("run/latest", F_OK) < 0)
      return seterr(EX_BADIN, "no run named and no run/latest here: name a run directory or a trace");
    return use_dir(in, "run/latest");
  }
  for(int i = 0; i < n; i++) {
    int rc = use_operand(in, operand[i]);
    if(rc < 0)
      return rc;
  }
  return 0;
}
