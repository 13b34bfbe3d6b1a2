// ls [NAME...]: name, type, inode number and size, one line each.
#include "types.h"
#include "stat.h"
#include "fcntl.h"
#include "fs.h"
#include "sys.h"
#include "user.h"

static void
show(const char *name, const struct stat *st)
{
  printf(1, "%-14s %d %d %u\n", name, st->type, st->ino, st->size);
}

// The entries of the directory dir, open at fd; 0, or 1 after a message.
static int
list(int fd, const char *dir)
{
  static char path[1024];
  if(strlen(dir) + 1 + DIRSIZ + 1 > sizeof(path)) {
    printf(2, "ls: %s: path too long\n", dir);
    return 1;
  }
  strcpy(path, dir);
  char *name = path + strlen(path);
  *name++ = '/';
  struct dirent de;
  struct stat st;
  int status = 0;
  while(read(fd, &de, sizeof(de)) == sizeof(de)) {
    if(de.inum == 0)
      continue;
    memmove(name, de.name, DIRSIZ);
    name[DIRSIZ] = 0;
    if(stat(path, &st) < 0) {
      printf(2, "ls: %s: cannot stat\n", path);
      status = 1;
      continue;
    }
    show(name, &st);
  }
  return status;
}

static int
ls(const char *path)
{
  struct stat st;
  int fd = open(path, O_RDONLY);
  if(fd < 0) {
    printf(2, "ls: %s: cannot open\n", path);
    return 1;
  }
  int status = 0;
  if(fstat(fd, &st) < 0) {
    printf(2, "ls: %s: cannot stat\n", path);
    status = 1;
  } else if(st.type == T_DIR) {
    status = list(fd, path);
  } else {
    show(path, &st);
  }
  close(fd);
  return status;
}

int
main(int argc, char *argv[])
{
  if(argc < 2)
    exits(ls("."));
  int status = 0;
  for(int i = 1; i < argc; i++)
    status |= ls(argv[i]);
  exits(status);
}
