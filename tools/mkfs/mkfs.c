// Make a file system image, or check one.
//
//   mkfs IMG [-b blocks] FILE[=name]...
//   mkfs -c IMG
//
// Each FILE becomes /name; without =name it keeps its last path component,
// less a final ".bin" (build/user/cat.bin is /cat).  The image also gets the
// device nodes.  It is put together in memory and written in one go, beside
// IMG and then renamed, so a failed run leaves the old image as it was.  The
// same files give the same bytes: nothing depends on time or place.
//
// Exit: 0 done or sound, 1 the image has faults (one line each), 2 could not.

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mkfs.h"

#define NINODES 512

static u8 *img;
static struct superblock sb;
static u32 next_inum = 1, next_block;

static const struct {
  const char *name;
  short major, minor;
} nodes[] = {
  {"null", 2, 0},
  {"zero", 2, 1},
  {"random", 2, 2},
  {"console", 1, 1},
  {"nettrace", 3, 0},
  {"nettrace.stat", 3, 1},
  {"nettrace.syms", 3, 2},
};

__attribute__((format(printf, 1, 2), noreturn)) static void
die(const char *fmt, ...)
{
  va_list ap;

  fputs("mkfs: ", stderr);
  va_start(ap, fmt);
  vfprintf(stderr, fmt, ap);
  va_end(ap);
  fputc('\n', stderr);
  exit(2);
}

// All of a file, in memory that the caller frees; at most max bytes.
static u8 *
slurp(const char *path, u32 max, u32 *len)
{
  FILE *f = fopen(path, "rb");
  u8 *p = malloc((size_t)max + 1);

  if(f == 0)
    die("%s: cannot be read", path);
  if(p == 0)
    die("no memory");
  size_t n = fread(p, 1, (size_t)max + 1, f);
  if(ferror(f))
    die("%s: read error", path);
  if(n > max)
    die("%s: larger than %u bytes, which is the largest that fits", path, max);
  fclose(f);
  *len = (u32)n;
  return p;
}

static struct dinode *
inode(u32 inum)
{
  return (struct dinode *)(img + (size_t)IBLOCK(inum, sb) * BSIZE) + inum % IPB;
}

// Lay out the parts in the order of uapi/fs.h; all that is not data is in use.
static void
format(u32 size)
{
  u32 nbitmap = size / BPB + 1, ninodeblocks = NINODES / IPB;

  sb.size = size;
  sb.ninodes = NINODES;
  sb.nlog = LOGSIZE;
  sb.logstart = 2;
  sb.inodestart = sb.logstart + sb.nlog;
  sb.bmapstart = sb.inodestart + ninodeblocks;
  next_block = sb.bmapstart + nbitmap;
  if(size <= next_block || size > FSMAXSIZE)
    die("-b %u: must be above %u and at most %u", size, next_block, (u32)FSMAXSIZE);
  sb.nblocks = size - next_block;
  img = calloc(size, BSIZE);
  if(img == 0)
    die("no memory");
  memmove(img + BSIZE, &sb, sizeof(sb));
}

static u32
new_block(void)
{
  if(next_block == sb.size)
    die("the files do not fit into %u blocks; -b takes a larger number", sb.size);
  return next_block++;
}

static u32
new_inode(short type)
{
  if(next_inum == sb.ninodes)
    die("more than %u files", sb.ninodes - 1);
  inode(next_inum)->type = type;
  return next_inum++;
}

// Where byte off of an inode lies in the image; its block is made if missing.
static u8 *
at(u32 inum, u32 off)
{
  struct dinode *dip = inode(inum);
  u32 bn = off / BSIZE, *slot = &dip->addrs[bn < NDIRECT ? bn : NDIRECT];

  if(bn >= MAXFILE)
    die("inode %u: larger than %u blocks", inum, (u32)MAXFILE);
  if(*slot == 0)
    *slot = new_block();
  if(bn >= NDIRECT) {
    slot = (u32 *)(img + (size_t)*slot * BSIZE) + (bn - NDIRECT);
    if(*slot == 0)
      *slot = new_block();
  }
  return img + (size_t)*slot * BSIZE + off % BSIZE;
}

static void
append(u32 inum, const void *p, u32 n)
{
  struct dinode *dip = inode(inum);

  for(u32 done = 0; done < n;) {
    u32 m = BSIZE - dip->size % BSIZE;
    if(m > n - done)
      m = n - done;
    memmove(at(inum, dip->size), (const u8 *)p + done, m);
    dip->size += m;
    done += m;
  }
}

static void
add_entry(u32 dir, const char *name, u32 inum)
{
  struct dirent de = {.inum = (ushort)inum};
  size_t len = strlen(name);

  if(len == 0 || len > DIRSIZ || strchr(name, '/'))
    die("'%s': a name has 1 to %d characters and no slash", name, DIRSIZ);
  memmove(de.name, name, len);
  for(u32 off = 0; off < inode(dir)->size; off += sizeof(de))
    if(strncmp(((struct dirent *)at(dir, off))->name, de.name, DIRSIZ) == 0)
      die("'%s': the name is taken", name);
  append(dir, &de, sizeof(de));
  inode(inum)->nlink++;
}

// A directory's "." is no link; the root's ".." is its only one.
static u32
add_dir(u32 parent, const char *name)
{
  u32 inum = new_inode(T_DIR);

  if(parent == 0)
    parent = inum;
  else
    add_entry(parent, name, inum);
  add_entry(inum, ".", inum);
  inode(inum)->nlink--;
  add_entry(inum, "..", parent);
  return inum;
}

static void
add_node(u32 dir, const char *name, short major, short minor)
{
  u32 inum = new_inode(T_DEV);

  inode(inum)->major = major;
  inode(inum)->minor = minor;
  add_entry(dir, name, inum);
}

// arg: FILE or FILE=name.
static void
add_file(u32 dir, char *arg)
{
  char *eq = strrchr(arg, '='), *name;

  if(eq) {
    *eq = 0;
    name = eq + 1;
  } else {
    char *slash = strrchr(arg, '/');
    name = strdup(slash ? slash + 1 : arg);
    if(name == 0)
      die("no memory");
    size_t len = strlen(name);
    if(len > 4 && strcmp(name + len - 4, ".bin") == 0)
      name[len - 4] = 0;
  }
  u32 len, inum = new_inode(T_FILE);
  u8 *data = slurp(arg, MAXFILE * BSIZE, &len);
  append(inum, data, len);
  add_entry(dir, name, inum);
  free(data);
  if(eq == 0)
    free(name);
}

static void
mark_used(void)
{
  u8 *map = img + (size_t)sb.bmapstart * BSIZE;

  for(u32 b = 0; b < next_block; b++)
    map[b / 8] |= (u8)(1 << b % 8);
}

static void
write_image(const char *path)
{
  char tmp[4096];

  if(snprintf(tmp, sizeof(tmp), "%s.tmp", path) >= (int)sizeof(tmp))
    die("%s: the path is too long", path);
  FILE *f = fopen(tmp, "wb");
  if(f == 0)
    die("%s: cannot be written", tmp);
  if(fwrite(img, BSIZE, sb.size, f) != sb.size || fclose(f) != 0 || rename(tmp, path) != 0) {
    remove(tmp);
    die("%s: write error", path);
  }
}

static const char *checked;

static void
print_fault(const char *line)
{
  printf("%s: %s\n", checked, line);
}

static int
check(const char *path)
{
  u32 len;
  u8 *p = slurp(path, 64 << 20, &len);

  checked = path;
  int n = fscheck(p, len, print_fault);
  free(p);
  return n ? 1 : 0;
}

static __attribute__((noreturn)) void
usage(void)
{
  fprintf(stderr, "usage: mkfs IMG [-b blocks] FILE[=name]...\n       mkfs -c IMG\n");
  exit(2);
}

int
main(int argc, char **argv)
{
  u32 size = FSSIZE;
  int arg = 2;

  if(argc == 3 && strcmp(argv[1], "-c") == 0)
    return check(argv[2]);
  if(argc < 2 || argv[1][0] == '-')
    usage();
  if(argc > 3 && strcmp(argv[2], "-b") == 0) {
    char *end;
    size = (u32)strtoul(argv[3], &end, 10);
    if(*end)
      die("-b %s: not a number", argv[3]);
    arg = 4;
  }
  format(size);
  u32 root = add_dir(0, "/");
  u32 dev = add_dir(root, "dev");
  for(u32 i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
    add_node(dev, nodes[i].name, nodes[i].major, nodes[i].minor);
  add_node(root, "console", 1, 1);
  for(; arg < argc; arg++)
    add_file(root, argv[arg]);
  mark_used();
  write_image(argv[1]);
  return 0;
}
