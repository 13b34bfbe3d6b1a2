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
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include "tool.h"

#define CTRL_C     0x03
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

// Keys that the guest has not taken yet.
static struct {
  char buf[1 << 20];
  size_t at, end; // those from at up to end
  bool full;      // the FIFO: wait until it takes one
  i64 due;        // no key before this, ms
} queue;

static i64
now_ms(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (i64)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// How many more fit.
static size_t
room(void)
{
  if(queue.at > 0) {
    memmove(queue.buf, queue.buf + queue.at, queue.end - queue.at);
    queue.end -= queue.at;
    queue.at = 0;
  }
  return sizeof queue.buf - queue.end;
}

// Take what was typed.  On a terminal Ctrl-] leaves whatever waits before it, ^C
// throws that away as a terminal does, and what finds no room rings the bell.
// Returns 0 to leave, 1 to go on, 2 at the end of input.
static int
take_input(void)
{
  char buf[4096];
  size_t most = room();
  ssize_t n = read(0, buf, raw || most > sizeof buf ? sizeof buf : most);
  if(n < 0 && (errno == EINTR || errno == EAGAIN))
    return 1;
  if(n <= 0)
    return 2;
  for(ssize_t i = 0; i < n; i++) {
    if(raw && buf[i] == CTRL_CLOSE)
      return 0;
    if(raw && buf[i] == CTRL_C)
      queue.at = queue.end = 0;
    if(queue.end < sizeof queue.buf)
      queue.buf[queue.end++] = buf[i];
    else if(write(1, "\a", 1) != 1)
      return 0;
  }
  return 1;
}

// Send one key, and the next one two milliseconds later: what a program of the
// guest has not read yet has little room there.  false: nobody reads any more.
static bool
send_key(int keys)
{
  queue.full = false;
  if(queue.at == queue.end || now_ms() < queue.due)
    return true;
  if(write(keys, queue.buf + queue.at, 1) == 1) {
    queue.at++;
    queue.due = now_ms() + 2;
    return true;
  }
  queue.full = errno == EAGAIN;
  return queue.full || errno == EINTR;
}

// Until the user leaves or QEMU ends (the FIFO then has no reader: POLLERR).
// watch: becomes readable when the log grows; -1: look every 20 ms.
static void
talk(int keys, int log, int watch)
{
  enum {
    KEYS,
    INPUT,
    LOG
  };
  struct pollfd p[] = {{.fd = keys}, {.fd = 0, .events = POLLIN}, {.fd = watch, .events = POLLIN}};
  bool over = false;
  char told[4096];
  while(copy_log(log) && send_key(keys)) {
    bool wants = queue.at < queue.end && !queue.full;
    p[KEYS].events = queue.full ? POLLOUT : 0;
    p[INPUT].fd = over || (!raw && room() == 0) ? -1 : 0;
    if(poll(p, 3, wants ? 2 : watch < 0 ? 20
                                        : -1) < 0 &&
       errno != EINTR)
      break;
    if(p[KEYS].revents & POLLERR)
      break;
    if(p[LOG].revents && read(watch, told, sizeof told) < 0 && errno != EINTR)
      break;
    int more = p[INPUT].revents ? take_input() : 1;
    if(more == 0)
      break;
    over |= more == 2; // the guest may still have something to say
  }
  copy_log(log);
}

// A descriptor that tells when the file grows, -1 where there is none.
static int
watch_file(const char *path)
{
  int fd = inotify_init1(IN_CLOEXEC);
  if(fd < 0 || inotify_add_watch(fd, path, IN_MODIFY) >= 0)
    return fd;
  close(fd);
  return -1;
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
  int watch = watch_file(path); // before the first look: what comes in between is told
  go_raw();
  if(raw && !o->quiet)
    fputs("nettrace: Ctrl-] leaves the console, the guest goes on\r\n", stderr);
  talk(keys, fileno(f), watch);
  fclose(f);
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
  if(out && strstr(out, "unknown command: "))
    return EX_FOUND;
  return whole || strncmp(cmd, "q", 1) == 0 ? 0 : seterr(EX_BADIN, "the monitor went away");
}
