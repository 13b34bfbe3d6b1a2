// A program as people write them for a course on xv6: headers in any order,
// everything global, names that other systems have taken, no prototypes.  It
// must compile as it is, with `make USERPROGS_EXTRA=tests/guest/course`, and
// print "course: all is well".
#include "param.h"
#include "fs.h"
#include "memlayout.h"
#include "traps.h"
#include "syscall.h"
#include "types.h"
#include "user.h"
#include "fcntl.h"
#include "stat.h"

char buf[8192];
char name[3];
char *stdin, *stdout_name = "stdout", *path, *list;
int stdout = 1, stderr = 2, errno, environ, signal, ncpu, proc, ticks, index, end, argc_seen;
unsigned long next = 1;
char *echoargv[] = { "echo", "exec", "works", 0 };

struct sock { int fd; struct sock *next; };
struct proc_info { int pid; };
enum { UNUSED, SLEEPING, RUNNING };
typedef int bool;

void
panic(char *s)
{
  printf(stderr, "course: %s\n", s);
  exit();
}

unsigned int
rand()
{
  next = next * 1664525 + 1013904223;
  return next;
}

void srand(x) unsigned x; { next = x; }

int match(char *re, char *text) { return strcmp(re, text) == 0; }
int min(int a, int b) { return a < b ? a : b; }
int isdigit(int c) { return c >= '0' && c <= '9'; }
int puts(char *s) { printf(stdout, "%s\n", s); return 0; }
int abs(int x) { return x < 0 ? -x : x; }
void abort() { panic("abort"); }
int send() { return 1; }
int recv() { return 2; }
int socket(int a, int b) { return 100 * a + b; }
int poll(void) { return 3; }
int bind(void) { return 4; }
int listen(void) { return 5; }
int accept(void) { return 6; }
int connect(void) { return 7; }
int shutdown(void) { return 8; }
int fcntl(void) { return 9; }
int waitpid(void) { return 10; }
int exits(char *s) { return 11; }
int kdebug(void) { return 12; }
int psinfo(void) { return 13; }
int ttyctl(void) { return 14; }
int poweroff(void) { return 15; }
int htons(int x) { return 16; }
int ping(void) { return 17; }
int ps(void) { return 18; }
int mem, peek, block, grow, take, give, word, out, convert;

int
fork1()
{
  int pid;
  pid = fork();
  if(pid == -1)
    panic("fork");
  return pid;
}

void
forktree(int depth)
{
  int i;
  if(depth == 0)
    return;
  for(i = 0; i < 2; i++){
    if(fork1() == 0){
      forktree(depth-1);
      exit();
    }
  }
  for(i = 0; i < 2; i++)
    wait();
}

void
files()
{
  int fd, i, n;

  name[0] = 'q'; name[2] = 0;
  for(i = 0; i < 10; i++){
    name[1] = '0' + i;
    if((fd = open(name, O_CREATE|O_RDWR)) < 0)
      panic("create");
    memset(buf, '0'+i, sizeof(buf));
    if((n = write(fd, buf, sizeof buf)) != sizeof(buf)){
      printf(stdout, "write %d\n", n);
      exit();
    }
    close(fd);
  }
  for(i = 0; i < 10; i++){
    name[1] = '0' + i;
    fd = open(name, 0);
    memset(buf, 0, sizeof(buf));
    if(read(fd, buf, MAXFILE*BSIZE) != -1)   // more than buf: beyond the program's end
      panic("read too much");
    while((n = read(fd, buf, 777)) > 0)
      if(buf[0] != '0'+i || buf[n-1] != '0'+i)
        panic("read");
    close(fd);
    unlink(name);
  }
}

void
pipes()
{
  int p[2], n, total = 0;

  if(pipe(p) < 0)
    panic("pipe");
  if(fork1() == 0){
    close(p[0]);
    for(n = 1; n < 100; n++)
      write(p[1], buf, n);
    exit();
  }
  close(p[1]);
  while((n = read(p[0], buf, min(sizeof(buf), rand() % 100 + 1))) > 0)
    total += n;
  close(p[0]);
  wait();
  if(total != 4950)
    panic("pipe lost something");
}

void
memory()
{
  char *a, *b;
  uint i;

  a = sbrk(0);
  for(i = 0; i < 100; i++){
    b = sbrk(1);
    if(b != a)
      panic("sbrk");
    *b = 1;
    a = b + 1;
  }
  for(i = 0; i < 3; i++)
    if(fork1() == 0){
      b = (char*)(KERNBASE + i*50000);
      printf(stdout, "course: oops, kernel memory is %x\n", *b);
      exit();
    } else
      wait();
}

int
syscall0(int nr)
{
  int r;
  asm volatile("int %2" : "=a" (r) : "a" (nr), "i" (T_SYSCALL));
  return r;
}

void
traps()
{
  int r;
  if(syscall0(SYS_getpid) != getpid())
    panic("int $64");
  asm volatile("int $64" : "=a" (r) : "a" (SYS_uptime));
  if(r <= 0)
    panic("uptime");
  if(fork1() == 0){
    asm volatile("outb %%al,%%dx" : : "a" (1), "d" (0x70));
    panic("it may write to a port");
  }
  wait();
}

int
main(int argc, char *argv[])
{
  int pid;

  srand(argc);
  if(open("course.ran", 0) >= 0)
    panic("it ran before");
  close(open("course.ran", O_CREATE));
  files();
  pipes();
  memory();
  traps();
  forktree(4);
  if(mem + send() + recv() + socket(1, 2) + poll() + bind() + listen() + waitpid() + ps() + match("a", "a") != 146)
    panic("somebody else's function was called");
  printf(1, "%s %d\n", stdout_name, abs(-isdigit('7')));
  pid = fork1();
  if(pid == 0){
    exec("echo", echoargv);
    panic("exec");
  }
  if(wait() != pid)
    panic("wait");
  unlink("course.ran");
  printf(stdout, "course: all is well\n");
  exit();
}
