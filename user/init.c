// The first process: opens the console, then does what the kernel's command
// line wishes, or runs the start-up file and a shell for ever.
//
// The kernel starts it as { "init" [, "run=LINE"] [, "rc=off"] }.  Processes
// whose parent has ended become its children: every wait here takes them too.
#include "types.h"
#include "fcntl.h"
#include "net.h"
#include "stat.h"
#include "sys.h"
#include "user.h"

#define KILLED     137 // status of a shell that was killed, as shells count it
#define LEASE_WAIT 600 // ticks for DHCP: the kernel takes its fallback address after 500
#define NIFS       4

static char sh[] = "/sh", dash_c[] = "-c", rc_file[] = "/rc"; // exec wants char *

// The console becomes descriptors 0, 1 and 2.
static void
open_console(void)
{
  if(open("console", O_RDWR) < 0) { // an image that another mkfs made
    mknod("console", 1, 1);
    open("console", O_RDWR);
  }
  dup(0);
  dup(0);
}

// Run a shell with these arguments to its end; its status.
// Ctrl-C ends it, if fg; an interactive shell says itself what Ctrl-C ends.
static int
shell(char **argv, int fg)
{
  int pid = fork();
  if(pid == 0) {
    exec(sh, argv);
    printf(2, "init: sh: cannot run\n");
    exits(127);
  }
  if(pid < 0) {
    printf(2, "init: fork: no process left\n");
    return 1;
  }
  ttyctl(0, TTY_FG, fg ? pid : 0);
  int status = 0, ended;
  do {
    ended = waitpid(-1, &status, 0);
  } while(ended >= 0 && ended != pid);
  ttyctl(0, TTY_FG, 0);
  return status < 0 ? KILLED : status;
}

static int
starts_with(const char *s, const char *word)
{
  while(*word)
    if(*s++ != *word++)
      return 0;
  return 1;
}

// Does an interface ask for its first address, over a cable that is plugged in?
static int
awaits_lease(void)
{
  struct net_if t[NIFS];
  int n = netinfo(NETINFO_IFS, t, sizeof(t)) / (int)sizeof(t[0]);
  for(int i = 0; i < n; i++)
    if(t[i].dhcp && t[i].up && t[i].link && t[i].how == HOW_NONE)
      return 1;
  return 0;
}

// A line given with the kernel runs once and is over: it finds the network it was
// written for.  Without a card, with ip=none and with a fixed address it begins at once.
static void
await_lease(void)
{
  for(int end = uptime() + LEASE_WAIT; awaits_lease() && uptime() - end < 0;)
    sleep(2);
}

int
main(int argc, char *argv[])
{
  char *line = 0;
  int rc = 1;
  open_console();
  for(int i = 1; i < argc; i++) {
    if(starts_with(argv[i], "run="))
      line = argv[i] + 4;
    else if(strcmp(argv[i], "rc=off") == 0)
      rc = 0;
  }
  if(line) {
    await_lease();
    printf(1, "init: running\n");
    poweroff(shell((char *[]){sh, dash_c, line, 0}, 1));
  }
  struct stat st;
  if(rc && stat(rc_file, &st) == 0)
    shell((char *[]){sh, rc_file, 0}, 1);
  for(;;) {
    printf(1, "init: starting sh\n");
    shell((char *[]){sh, 0}, 0);
  }
}
