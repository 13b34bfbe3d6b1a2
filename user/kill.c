// kill PID|NAME...: end processes.
#include "types.h"
#include "param.h"
#include "sys.h"
#include "user.h"

static const char help[] =
  "usage: kill PID|NAME...\n"
  "PID is a number that ps shows; NAME stands for all processes of that name.  They end\n"
  "at once, without a say in it, and their children go to init.  init and the kernel's\n"
  "threads cannot be killed.  Status 0: each word met a process.\n";

// Of at most nine digits: a longer one is nobody's.
static int
is_number(const char *s)
{
  int n = 0;
  while(s[n] >= '0' && s[n] <= '9')
    n++;
  return n > 0 && n < 10 && s[n] == 0;
}

// All processes of this name but ourselves; how many.
static int
kill_name(const char *name)
{
  static struct psinfo ps[NPROC];
  int n = psinfo(ps, NPROC), killed = 0, me = getpid();
  for(int i = 0; i < n && i < NPROC; i++) {
    if(strcmp(ps[i].name, name) != 0 || ps[i].pid == me || ps[i].state == PS_ZOMBIE || ps[i].kthread)
      continue;
    killed += kill(ps[i].pid) == 0;
  }
  return killed;
}

int
main(int argc, char *argv[])
{
  if(argc == 2 && strcmp(argv[1], "-h") == 0) {
    printf(1, "%s", help);
    exits(0);
  }
  if(argc < 2 || argv[1][0] == '-') {
    printf(2, "usage: kill [-h] PID|NAME...\n");
    exits(2);
  }
  int status = 0;
  for(int i = 1; i < argc; i++) {
    if(is_number(argv[i]) ? kill(atoi(argv[i])) == 0 : kill_name(argv[i]) > 0)
      continue;
    printf(2, "kill: %s: no such process, or one that cannot be killed\n", argv[i]);
    status = 1;
  }
  exits(status);
}
