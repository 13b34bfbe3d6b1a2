// count: how many instructions does each of a few things cost?
//
// Needs a guest whose clock counts instructions (capture -D, one CPU): there one
// tick of the TSC is one instruction, the kernel's included.  Each thing is done
// many times and each time is measured by itself, less what reading the TSC
// costs; one line each: NAME LEAST MEDIAN MOST.  For tools/bench/bench.
#include "types.h"
#include "fcntl.h"
#include "user.h"

#define N 101 // odd: the median is one of them

static uint cost[N];
static uint clock; // what reading the TSC costs
static int fd, own[2], to[2], from[2];
static char byte;

// The low half is enough for what we measure.
static inline uint
tsc(void)
{
  uint lo, hi;
  asm volatile("rdtsc"
               : "=a"(lo), "=d"(hi)
               :
               : "memory");
  return lo;
}

static void
need(int good, const char *what)
{
  if(good)
    return;
  printf(2, "count: no %s\n", what);
  exit();
}

static void
sort(void)
{
  for(int i = 1; i < N; i++)
    for(int j = i; j > 0 && cost[j - 1] > cost[j]; j--) {
      uint t = cost[j];
      cost[j] = cost[j - 1];
      cost[j - 1] = t;
    }
}

// The first rounds load caches, and grow the heap: they do not count.
static void
measure(const char *name, void (*thing)(void))
{
  for(int i = -8; i < N; i++) {
    uint t = tsc();
    thing();
    t = tsc() - t;
    if(i >= 0)
      cost[i] = t;
  }
  sort();
  if(clock == 0)
    clock = cost[0];
  else
    printf(1, "%s %d %d %d\n", name, cost[0] - clock, cost[N / 2] - clock, cost[N - 1] - clock);
}

static void
nothing(void)
{
}

static void
null_call(void)
{
  getpid();
}

static void
fork_exit_wait(void)
{
  int pid = fork();
  need(pid >= 0, "fork");
  if(pid == 0)
    exit();
  wait();
}

static void
fork_exec_exit_wait(void)
{
  char name[] = "count", word[] = "exit", *argv[] = {name, word, 0};
  int pid = fork();
  need(pid >= 0, "fork");
  if(pid == 0) {
    exec(name, argv);
    exit();
  }
  wait();
}

static void
a_page(void)
{
  need(sbrk(4096) != (char *)-1, "memory");
}

static void
open_close(void)
{
  close(open("README", O_RDONLY));
}

static void
write_byte(void)
{
  need(write(fd, "x", 1) == 1, "room on the disk");
}

static void
read_byte(void)
{
  need(read(fd, &byte, 1) == 1, "byte to read");
}

// One process, so no switch.
static void
pipe_alone(void)
{
  write(own[1], "x", 1);
  read(own[0], &byte, 1);
}

static void
pipe_round_trip(void)
{
  write(to[1], "x", 1);
  read(from[0], &byte, 1);
}

// Send back what comes, until nobody writes.
static void
echo(void)
{
  char c;
  close(to[1]);
  while(read(to[0], &c, 1) == 1)
    write(from[1], &c, 1);
  exit();
}

int
main(int argc, char *argv[])
{
  if(argc > 1)
    exit(); // as a child of fork_exec_exit_wait
  (void)argv;
  measure("clock", nothing);
  measure("getpid", null_call);
  measure("fork", fork_exit_wait);
  measure("exec", fork_exec_exit_wait);
  measure("sbrk", a_page);
  measure("open", open_close);
  fd = open("count.tmp", O_CREATE | O_RDWR);
  need(fd >= 0, "count.tmp");
  measure("write", write_byte);
  close(fd);
  fd = open("count.tmp", O_RDONLY);
  measure("read", read_byte);
  unlink("count.tmp");
  need(pipe(own) == 0 && pipe(to) == 0 && pipe(from) == 0, "pipe");
  measure("pipe_alone", pipe_alone);
  if(fork() == 0)
    echo();
  measure("pipe", pipe_round_trip);
  close(to[1]);
  wait();
  exit();
}
