// contract_mem: the address space, and what kills a program that leaves it, as
// a program written for xv6 may rely on them.  For tests/guest/test_contract.py.
#include "param.h"
#include "traps.h"
#include "syscall.h"
#include "memlayout.h"
#include "fcntl.h"
#include "types.h"
#include "stat.h"
#include "user.h"
#include "contract.h"

#define BIG (100 * 1024 * 1024)
#define BAD ((char *)-1)

int main(int argc, char *argv[]);

static char bss[10000];

// ---- sbrk --------------------------------------------------------------------

static void
by_the_byte(void)
{
  char *a = sbrk(0);
  for(int i = 0; i < 5000; i++) {
    char *b = sbrk(1);
    OK(b == a && *b == 0);
    *b = 1;
    a = b + 1;
  }
  int pid = must_fork();
  OK(sbrk(1) == a && sbrk(1) == a + 1);
  if(pid == 0)
    exit();
  OK(wait() == pid);
}

static void
hundred_mib(void)
{
  char *old = sbrk(0), *a = old;
  uint amount = BIG - (uint)a;
  OK(sbrk(amount) == a && sbrk(0) == (char *)BIG);
  *(char *)(BIG - 1) = 99;
  OK(*(char *)(BIG - 4096) == 0);
  OK(sbrk(-4096) == (char *)BIG && sbrk(0) == (char *)BIG - 4096);
  OK(sbrk(4096) == (char *)BIG - 4096 && sbrk(0) == (char *)BIG);
  OK(*(char *)(BIG - 1) == 0);
  OK(sbrk(-(int)amount) == (char *)BIG && sbrk(0) == old);
}

// What is given back and taken again is zero, whole pages or a part of one.
static void
fresh_is_zero(void)
{
  char *a = sbrk(20000);
  for(int give = 1; give < 20000; give = give * 3 + 1) {
    memset(a, 0xee, 20000);
    OK(sbrk(-give) == a + 20000 && sbrk(give) == a + 20000 - give);
    for(int i = 0; i < 20000; i++)
      OK(a[i] == (char)(i < 20000 - give ? 0xee : 0));
  }
  sbrk(-20000);
}

// The compiler must not know where at is, or it says that nothing is there.
static void
touch(uint at)
{
  asm(""
      : "+r"(at));
  *(volatile char *)at = 1;
}

static void
sbrk_limits(void)
{
  char *a = sbrk(0);
  OK(sbrk(0x7fffffff) == BAD && sbrk((int)(KERNBASE - (uint)a)) == BAD); // no such memory, and up to the kernel
  OK(sbrk((int)(KERNBASE - (uint)a + 1)) == BAD);
  OK(sbrk(-0x7fffffff - 1) == BAD && sbrk(-(int)a) == BAD && sbrk(-(int)a - 1) == BAD);
  OK(sbrk(-1) == BAD && sbrk(-4096) == BAD && sbrk(-8192) == BAD); // below the heap is the stack
  OK(sbrk(0) == a);
  OK(sbrk(5) == a && sbrk(-6) == BAD && sbrk(-5) == a + 5 && sbrk(0) == a);
  OK(!survives(touch, (uint)a + 4096));
}

// Ten children want 100 MiB each; whoever fails gives back what it had got, and
// the parent still gets a page.  When they are killed, all of it comes back.
static void
ten_times_big(void)
{
  int fds[2], pids[10];
  char c;
  OK(pipe(fds) == 0);
  for(int i = 0; i < 10; i++)
    if((pids[i] = fork()) == 0) {
      sbrk(BIG - (uint)sbrk(0));
      write(fds[1], "x", 1);
      for(;;)
        sleep(1000);
    }
  for(int i = 0; i < 10; i++)
    OK(pids[i] == -1 || read(fds[0], &c, 1) == 1);
  char *a = sbrk(4096);
  for(int i = 0; i < 10; i++)
    if(pids[i] != -1) {
      OK(kill(pids[i]) == 0);
      OK(wait() > 0);
    }
  OK(a != BAD);
  char *b = sbrk(BIG);
  OK(b == a + 4096);
}

// ---- malloc --------------------------------------------------------------------

static void
until_none_is_left(void)
{
  for(int round = 0; round < 2; round++) {
    void **list = 0, **p;
    int n = 0;
    while((p = malloc(10001)) != 0) {
      *p = list;
      list = p;
      n++;
    }
    OK(n > 1000);
    while(list) {
      p = *list;
      free(list);
      list = p;
    }
    p = malloc(1024 * 20);
    OK(p != 0);
    memset(p, 1, 1024 * 20);
    free(p);
  }
}

static void
malloc_blocks(void)
{
  static char *at[200];
  static int size[200];
  uint x = 1;
  for(int i = 0; i < 4000; i++) {
    x = x * 1103515245 + 12345;
    int k = (x >> 16) % 200;
    for(int j = 0; j < size[k]; j++)
      OK(at[k][j] == (char)k);
    free(at[k]); // 0 does no harm
    size[k] = (x >> 8) % 1000;
    at[k] = malloc(size[k]);
    OK(at[k] != 0 && (uint)at[k] % 8 == 0);
    memset(at[k], k, size[k]);
  }
  OK(malloc(-1) == 0 && malloc(0x7fffffff) == 0 && malloc(0x80000000) == 0 && malloc(-16) == 0);
  for(int k = 0; k < 200; k++)
    free(at[k]);
  char *end = sbrk(0), *p = malloc(60000);
  OK(p != 0 && p < end); // what was freed in pieces is whole again
  OK(sbrk(1) != BAD);    // the break is the program's too
  OK((uint)malloc(500000) % 8 == 0);
  end = sbrk(0);
  OK(malloc(20) != 0 && sbrk(0) == end); // 32 KiB at a time
}

// ---- what kills ------------------------------------------------------------------

static void
bss_is_zero(void)
{
  for(int i = 0; i < NELEM(bss); i++)
    OK(bss[i] == 0);
  memset(bss, 1, sizeof(bss));
}

static void
look(uint at)
{
  asm(""
      : "+r"(at));
  (void)*(volatile char *)at;
}

static void
run_at(uint at)
{
  ((void (*)(void))at)();
}

static void
kernel_memory(void)
{
  for(uint a = KERNBASE; a < KERNBASE + 2000000; a += 50000)
    OK(!survives(look, a));
  static const uint at[] = {KERNBASE - 1, KERNBASE + 0x10000000, 0xbffff000, 0xf8003000, 0xfe000000, 0xfec00000, 0xfee00020, 0xffffffff};
  for(int i = 0; i < NELEM(at); i++)
    OK(!survives(look, at[i]) && !survives(touch, at[i]) && !survives(run_at, at[i]));
}

static void
deep(uint n)
{
  volatile char page[4096];
  page[0] = 1;
  if(n > 0)
    deep(n - 1);
  page[1] = page[0];
}

static void
own_memory(void)
{
  OK(!survives(look, 0) && !survives(touch, 0) && !survives(run_at, 0) && !survives(look, 4095));
  OK(!survives(touch, (uint)main) && survives(look, (uint)main));
  OK(!survives(touch, (uint) "constant") && survives(look, (uint) "constant"));
  OK(survives(touch, (uint)bss));
  OK(survives(deep, 2) && !survives(deep, 10)); // 16 KiB, and a page that is not there
}

// Instructions that are not a program's.
static void
forbidden(uint which)
{
  uint eax;
  switch(which) {
  case 0:
    asm volatile("outb %%al, %%dx"
                 :
                 : "a"(9), "d"(0x70));
    break;
  case 1:
    asm volatile("inb %%dx, %%al"
                 : "=a"(eax)
                 : "d"(0x71));
    break;
  case 2:
    asm volatile("outl %%eax, %%dx"
                 :
                 : "a"(0), "d"(0xf4));
    break;
  case 3:
    asm volatile("cli");
    break;
  case 4:
    asm volatile("hlt");
    break;
  case 5:
    asm volatile("movl %%cr3, %0"
                 : "=r"(eax));
    break;
  case 6:
    asm volatile("int $32"); // the timer's gate
    break;
  case 7:
    asm volatile("int $14");
    break;
  case 8:
    asm volatile("int3");
    break;
  case 9:
    asm volatile("ud2");
    break;
  case 10:
    asm volatile("divl %0"
                 :
                 : "r"(0), "a"(1), "d"(0));
    break;
  case 11:
    asm volatile("fld1");
    break;
  case 12:
    asm volatile("movl $0x10, %%eax; movl %%eax, %%ds" ::
                   : "eax");
    break;
  case 13:
    asm volatile("xorps %xmm0, %xmm0");
    break;
  case 14:
    asm volatile("pushfl; orl $0x100, (%esp); popfl; nop; nop"); // TF
    break;
  case 15:
    asm volatile("lidt 0x1000");
    break;
  case 16:
    asm volatile("rdmsr"
                 : "=a"(eax)
                 : "c"(0x1b)
                 : "edx");
    break;
  case 17:
    asm volatile("ljmp $8, $0x80100000");
    break;
  case 18:
    asm volatile("sysenter");
    break;
  case 19:
    asm volatile("iret"); // of whatever is on the stack
    break;
  }
}

static void
privileges(void)
{
  for(uint i = 0; i < 20; i++)
    OK(!survives(forbidden, i));
}

// ---- hostile stack pointers, registers ------------------------------------------

// Do system call nr with the stack pointer at esp.
static int
call_at(uint esp, int nr)
{
  int r;
  asm volatile("movl %%esp, %%ebx; movl %3, %%esp; int %2; movl %%ebx, %%esp"
               : "=a"(r)
               : "a"(nr), "n"(T_SYSCALL), "c"(esp)
               : "ebx", "memory");
  return r;
}

static void
stack_pointers(void)
{
  const uint end = (uint)sbrk(0);
  const uint at[] = {0, 1, 4, KERNBASE - 4, KERNBASE - 8, KERNBASE, KERNBASE + 0x100000, 0xfffffff4, 0xfffffff8, 0xfffffffc, 0xffffffff, end, end - 4, end + 1};
  static const int calls[] = {SYS_pipe, SYS_read, SYS_kill, SYS_exec, SYS_fstat, SYS_chdir, SYS_dup, SYS_sbrk, SYS_sleep, SYS_open, SYS_write, SYS_mknod, SYS_unlink, SYS_link, SYS_mkdir, SYS_close};
  for(int i = 0; i < NELEM(at); i++)
    for(int k = 0; k < NELEM(calls); k++)
      OK(call_at(at[i], calls[k]) == -1);
  for(int i = 0; i < NELEM(at); i++) // these take no argument
    OK(call_at(at[i], SYS_getpid) == getpid() && call_at(at[i], SYS_uptime) > 0);
  OK(call_at(end - 100, 0) == -1 && call_at(end - 100, 1000) == -1 && call_at(end - 100, -1) == -1);
}

// ebx ecx edx esi edi ebp eflags, and by how much esp moved.  Global: no
// register is left to find a local variable with.
uint after[8];

// A call changes %eax and nothing else.
static void
registers(void)
{
  static const int calls[] = {SYS_getpid, SYS_uptime, SYS_dup, 1000};
  for(int i = 0; i < NELEM(calls); i++) {
    asm volatile("pushal; pushl %%eax\n"
                 "movl $0x11111111, %%ebx; movl $0x22222222, %%ecx; movl $0x33333333, %%edx\n"
                 "movl $0x44444444, %%esi; movl $0x55555555, %%edi; movl $0x66666666, %%ebp\n"
                 "movl %%esp, after+28; stc; std; int %1\n"
                 "pushfl; popl after+24; cld\n"
                 "movl %%ebx, after; movl %%ecx, after+4; movl %%edx, after+8\n"
                 "movl %%esi, after+12; movl %%edi, after+16; movl %%ebp, after+20\n"
                 "subl %%esp, after+28; popl %%eax; popal"
                 :
                 : "a"(calls[i]), "n"(T_SYSCALL)
                 : "memory", "cc");
    for(uint k = 0; k < 6; k++)
      OK(after[k] == 0x11111111 * (k + 1));
    OK((after[6] & 0x401) == 0x401 && after[7] == 0);
  }
}

// ---- bad pointers ------------------------------------------------------------------

// Each page from 0 up to beyond the program: a call may refuse it or not, and
// harms nobody.
static void
every_page(void)
{
  uint end = (uint)sbrk(0);
  for(uint p = 0; p <= end + 4 * 4096; p += 4096) {
    int fds[2] = {-1, -1};
    OK(link("nosuchfile", (char *)p) == -1);
    OK(p < end || (mkdir((char *)p) == -1 && exec((char *)p, (char **)p) == -1));
    OK(p < end || (write(1, (char *)p, 1) == -1 && open((char *)p, 0) == -1 && pipe((int *)p) == -1));
    OK(pipe(fds) == 0 && fds[0] == 4 && fds[1] == 5 && close(4) == 0 && close(5) == 0);
  }
}

// The stack pointer on each page from 0 up: the call may sleep for whatever
// stands there, and is killed then.
static void
every_stack(void)
{
  for(uint p = 0; p <= 1100 * 1024; p += 4096) {
    int pid = must_fork();
    if(pid == 0) {
      call_at(p, SYS_sleep);
      exit();
    }
    sleep(0);
    sleep(0);
    kill(pid);
    OK(wait() == pid);
  }
}

static void
ends_of_memory(void)
{
  char *end = sbrk(0);
  int fd = open("f", O_CREATE | O_RDWR);
  struct stat st;
  OK(write(fd, "0123456789", 10) == 10 && close(fd) == 0);
  fd = open("f", O_RDWR);
  OK(read(fd, end - 4, 4) == 4 && read(fd, end - 4, 5) == -1 && read(fd, end - 1, -1) == -1);
  OK(read(fd, end, 1) == -1 && read(fd, end, 0) == 0 && read(fd, (void *)KERNBASE, 1) == -1);
  OK(read(fd, (void *)1, 0x7fffffff) == -1 && read(fd, end - 4, 0x7fffffff) == -1 && read(fd, (void *)0xfffffffe, 4) == -1);
  OK(write(fd, end - 4, 5) == -1 && write(fd, end - 4, -1) == -1 && write(fd, (void *)0, 1) == -1 && write(fd, end, 1) == -1);
  OK(fstat(fd, (struct stat *)(end - 19)) == -1 && fstat(fd, (struct stat *)(end - 20)) == 0 && fstat(fd, &st) == 0);
  OK(pipe((int *)(end - 7)) == -1 && pipe((int *)0) == -1 && pipe((int *)main) == -1);
  OK(read(fd, (void *)main, 1) == -1 && read(fd, (void *)"constant", 1) == -1 && fstat(fd, (void *)main) == -1);
  memset(end - 8, 'x', 8);
  OK(open(end - 8, 0) == -1 && mkdir(end - 8) == -1 && unlink(end - 8) == -1 && chdir(end - 8) == -1);
  OK(link(end - 8, "g") == -1 && link("f", end - 8) == -1 && mknod(end - 8, 1, 1) == -1);
  OK(exec(end - 8, 0) == -1 && open((char *)KERNBASE, 0) == -1 && open((char *)-1, 0) == -1);
  end[-1] = 0;
  OK(open(end - 8, 0) == -1 && open(end - 8, O_CREATE) == 5 && unlink("xxxxxxx") == 0);
  char *argv[] = {end - 8, (char *)KERNBASE, 0}, **tail = (char **)(end - 4);
  OK(exec((char *)"/echo", argv) == -1);
  *tail = (char *)"x"; // argv without an end
  OK(exec((char *)"/echo", tail) == -1 && exec((char *)"/echo", (char **)KERNBASE) == -1);
  OK(exec((char *)"/echo", (char **)-4) == -1 && exec((char *)"/echo", 0) == -1 && unlink("f") == 0);
}

static const struct check checks[] = {
  {"bss_is_zero", bss_is_zero},
  {"by_the_byte", by_the_byte},
  {"hundred_mib", hundred_mib},
  {"fresh_is_zero", fresh_is_zero},
  {"sbrk_limits", sbrk_limits},
  {"ten_times_big", ten_times_big},
  {"until_none_is_left", until_none_is_left},
  {"malloc_blocks", malloc_blocks},
  {"kernel_memory", kernel_memory},
  {"own_memory", own_memory},
  {"privileges", privileges},
  {"stack_pointers", stack_pointers},
  {"registers", registers},
  {"every_page", every_page},
  {"every_stack", every_stack},
  {"ends_of_memory", ends_of_memory},
};

int
main(int argc, char *argv[])
{
  run_checks(checks, NELEM(checks), argc, argv);
}
