// mkseeds DIR: write the seeds of the fuzz targets, DIR/TARGET/NAME.
//
// They are committed; this makes them again after the format has changed.
#include <sys/stat.h>
#include "../test_nettrace_gen.h"

static const char *dir;

static void
put(const char *target, const char *name, const void *p, size_t n)
{
  char path[256];
  snprintf(path, sizeof path, "%s/%s", dir, target);
  mkdir(path, 0777);
  snprintf(path, sizeof path, "%s/%s/%s", dir, target, name);
  FILE *f = fopen(path, "wb");
  if(f == 0 || fwrite(p, 1, n, f) != n || fclose(f)) {
    perror(path);
    exit(1);
  }
}

// Slots and capture of one run, as fuzz_split() takes them apart.  cut: the
// capture holds only the first bytes of its frames, more of each than of the last.
static void
put_pair(const char *name, struct genopts o, bool cut)
{
  struct gen g, pair = {0};
  gen_make(&g, o);
  size_t head = 128 + ((sizeof gen_meta - 1 + 63) & ~63ul), n = (g.len - head) / 64;
  u8 count[2] = {(u8)n, (u8)(n >> 8)};
  gen_bytes(&pair, count, 2);
  gen_bytes(&pair, g.trace + head, n * 64);
  const u32 ph[6] = {0xa1b2c3d4, 0x00040002, 0, 0, 65536, 1};
  gen_bytes(&pair, ph, sizeof ph);
  for(u32 i = 0; i < g.nframe; i++) {
    const struct genframe *f = &g.frame[i];
    u32 n = cut && 30 + i * 5 < f->len ? 30 + i * 5 : f->len;
    const u32 h[4] = {(u32)(f->w / 1000000000), (u32)(f->w % 1000000000 / 1000), n, f->len};
    gen_bytes(&pair, h, sizeof h);
    gen_bytes(&pair, f->data, n);
  }
  put("match", name, pair.trace, pair.len);
  put("rows", name, pair.trace, pair.len);
  free(pair.trace);
  gen_free(&g);
}

int
main(int argc, char **argv)
{
  if(argc != 2) {
    fputs("usage: mkseeds DIR\n", stderr);
    return 2;
  }
  dir = argv[1];
  struct gen g;
  gen_make(&g, (struct genopts){.seed = 1, .frames = 3});
  put("meta", "all", gen_meta, sizeof gen_meta - 1);
  put("trace", "run", g.trace, g.len);
  gen_free(&g);
  put_pair("handshake", (struct genopts){.seed = 1}, false);
  put_pair("mixed", (struct genopts){.seed = 2, .frames = 12, .dup = 30, .lose = 20, .syncs = 30}, false);
  put_pair("identity", (struct genopts){.seed = 3, .frames = 4, .identity = true}, false);
  put_pair("nosync", (struct genopts){.seed = 4, .frames = 6, .nosync = true}, false);
  put_pair("stepped", (struct genopts){.seed = 5, .frames = 10, .syncs = 60, .step = {{5, 4000}}}, false);
  put_pair("cut", (struct genopts){.seed = 6, .frames = 6}, true);
  return 0;
}
