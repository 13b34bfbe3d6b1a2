// console and monitor: talk to a running QEMU through its run directory.
//
// The console shows serial.log from its beginning, so nothing said earlier is
// missed; keys go into the FIFO con.in, whose reader is QEMU.
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include "tool.h"

#define CTRL_CLOSE 0x1d // Ctrl-]

static struct termios saved;
static bool raw;

static void
restore(void)
{
  if(raw)
    tcsetattr(0, TCSANOW, &saved);
  raw = false;
}

// Connect to dir/name; the path must fit 108 bytes, so go there for the moment.
static int
connect_to(const char *dir, const char *name)
{
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  DIR *here = opendir(".");
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  snprintf(a.sun_path, sizeof a.sun_path, "%s", name);
  if(here == 0 || fd < 0 || chdir(dir) < 0) {
    seterr(EX_BADIN, "%s: %s", dir, strerror(errno));
    if(here)
      closedir(here);
    if(fd >= 0)
      close(fd);
    return -EX_BADIN;
  }
  int rc = connect(fd, (struct sockaddr *)&a, sizeof a), e = errno;
  if(fchdir(dirfd(here)) < 0)
    rc = -1;
  closedir(here);
  if(rc == 0)
    return fd;
  close(fd);
  return seterr(EX_BADIN, "%s/%s: %s: does QEMU run?", dir, name, strerror(e));
}

static const char *
run_dir(const char *named)
{
  const char *env = getenv("NETTRACE_RUN");
  return named ? named : env && *env ? env
                                     : "run/latest";
}

static void
go_raw(void)
{
  if(!isatty(0) || tcgetattr(0, &saved) < 0)
    return;
  struct termios t = saved;
  cfmakeraw(&t);
  t.c_oflag = saved.c_oflag; // output lines still return the carriage
  raw = tcsetattr(0, TCSANOW, &t) == 0;
  atexit(restore);
}

// Copy what is new in serial.log to standard output; false if that fails.
static bool
copy_log(int log)
{
  char buf[4096];
  ssize_t n;
  while((n = read(log, buf, sizeof buf)) > 0)
    if(write(1, buf, (size_t)n) != n)
      return false;
  return true;
}

// Send input to the guest.  Returns 0 to leave, 1 to go on, 2 at the end of input.
static int
send_input(int keys)
{
  char buf[256];
  ssize_t n = read(0, buf, sizeof buf);
  if(n <= 0)
    return 2;
  char *stop = raw ? memchr(buf, CTRL_CLOSE, (size_t)n) : 0;
  size_t len = stop ? (size_t)(stop - buf) : (size_t)n;
  for(size_t i = 0; i < len; i++) { // one at a time: the UART's queue is short
    if(write(keys, buf + i, 1) != 1)
      return 0;
    if(len > 1)
      nanosleep(&(struct timespec){.tv_nsec = 2000000}, 0);
  }
  return stop ? 0 : 1;
}

// Until the user leaves or QEMU ends (the FIFO then has no reader: POLLERR).
static void
talk(int keys, int log)
{
  struct pollfd p[2] = {{.fd = keys}, {.fd = 0, .events = POLLIN}};
  while(copy_log(log)) {
    if(poll(p, 2, 50) < 0 && errno != EINTR)
      break;
    if(p[0].revents & POLLERR)
      break;
    if(p[1].revents) {
      int more = send_input(keys);
      if(more == 0)
        break;
      if(more == 2)
        p[1].fd = -1; // the guest may still have something to say
    }
  }
  copy_log(log);
}

int
cmd_console(struct opts *o)
{
  const char *dir = run_dir(o->argc ? o->argv[0] : o->dir);
  char *path = xasprintf("%s/serial.log", dir);
  char *fifo = xasprintf("%s/con.in", dir);
  signal(SIGPIPE, SIG_IGN);
  int keys = open(fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  if(keys < 0)
    return seterr(EX_BADIN, "%s: %s: does QEMU run?", fifo, strerror(errno));
  FILE *f = fopen(path, "rbe");
  if(f == 0)
    return seterr(EX_BADIN, "%s: %s", path, strerror(errno));
  go_raw();
  if(raw && !o->quiet)
    fputs("nettrace: Ctrl-] leaves the console, the guest goes on\r\n", stderr);
  talk(keys, fileno(f));
  restore();
  if(isatty(1))
    fputs("\n", stdout);
  return 0;
}

// Read from the monitor up to its prompt; keep the text when to is given.
static bool
read_prompt(int fd, char *to, size_t max)
{
  size_t n = 0;
  static const char prompt[] = "(qemu) ";
  for(;;) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if(poll(&p, 1, 5000) <= 0)
      return false;
    ssize_t k = read(fd, to + n, max - 1 - n);
    if(k <= 0)
      return false;
    n += (size_t)k;
    to[n] = 0;
    if(n >= sizeof prompt - 1 && strcmp(to + n - (sizeof prompt - 1), prompt) == 0) {
      to[n - (sizeof prompt - 1)] = 0;
      return true;
    }
    if(n == max - 1)
      return true;
  }
}

int
cmd_monitor(struct opts *o)
{
  static char text[1 << 20];
  size_t n = 0;
  char cmd[1000];
  if(o->argc == 0)
    return seterr(EX_BADUSE, "which monitor command? as in: nettrace monitor info usernet");
  for(int i = 0; i < o->argc && n < sizeof cmd; i++)
    n += (size_t)snprintf(cmd + n, sizeof cmd - n, "%s%s", i ? " " : "", o->argv[i]);
  if(n + 1 >= sizeof cmd || strchr(cmd, '\n'))
    return seterr(EX_BADUSE, "the monitor takes one line of less than 1000 bytes");
  int fd = connect_to(run_dir(o->dir), "mon.sock");
  if(fd < 0)
    return fd;
  if(!read_prompt(fd, text, sizeof text))
    return seterr(EX_BADIN, "the monitor does not answer: is somebody else connected?");
  strcat(cmd, "\n");
  if(write(fd, cmd, n + 1) != (ssize_t)(n + 1))
    return seterr(EX_BADIN, "the monitor has gone");
  bool whole = read_prompt(fd, text, sizeof text);
  close(fd);
  char *out = strchr(text, '\n'); // up to there it is the echo
  if(out)
    fputs(out + 1, stdout);
  return whole || strncmp(cmd, "q", 1) == 0 ? 0 : seterr(EX_BADIN, "the monitor went away");
}
