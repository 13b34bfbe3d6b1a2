// tracecat PORT MS [WORD...]: the stream of /dev/nettrace for the first client at PORT.
// For tests/guest/test_trace.py.
//
// Says that it is listening, waits for the client, opens the device, writes the WORDs
// to it as one command, and copies what it reads to the client, resting MS after each
// read: a slow reader.  At the end of the frozen trace it asks for its own account
// (sync) and copies that, too.
#include "types.h"
#include "fcntl.h"
#include "net.h"
#include "sys.h"
#include "user.h"

static void
fail(const char *what, int err)
{
  printf(2, "tracecat: %s: %s\n", what, neterr(err));
  exits(1);
}

static int
client(int port)
{
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
  int fd = socket(AF_INET, SOCK_STREAM, 0), r = fd;
  if(fd < 0 || (r = bind(fd, &at, sizeof(at))) < 0 || (r = listen(fd, 1)) < 0)
    fail("listen", r);
  write(1, "listening\n", 10); // in one piece: the shell prompts at the same time
  int conn = accept(fd, 0, 0);
  if(conn < 0)
    fail("accept", conn);
  close(fd);
  return conn;
}

// Copy until a read gives nothing more.
static void
copy(int from, int to, int ms)
{
  static char buf[8192];
  int n, r, off;
  while((n = read(from, buf, sizeof(buf))) > 0) {
    for(off = 0; off < n; off += r)
      if((r = send(to, buf + off, n - off, 0)) <= 0)
        fail("send", r);
    if(ms > 0)
      sleep(ms / 10);
  }
  if(n < 0)
    fail("read", n);
}

// Write the words as one line, if there are any.
static void
command(int trace, char **word)
{
  char line[128] = "";
  int n = 0, r;
  for(; *word && n + strlen(*word) + 2 < sizeof(line); word++) {
    if(n > 0)
      line[n++] = ' ';
    strcpy(line + n, *word);
    n += strlen(*word);
  }
  if(n > 0 && (r = write(trace, line, n)) < 0)
    fail(line, r);
}

int
main(int argc, char *argv[])
{
  int r;
  if(argc < 3) {
    printf(2, "usage: tracecat PORT MS [WORD...]\n");
    exits(2);
  }
  int conn = client(atoi(argv[1])), ms = atoi(argv[2]);
  int trace = open("/dev/nettrace", O_RDWR);
  if(trace < 0)
    fail("/dev/nettrace", trace);
  command(trace, argv + 3);
  copy(trace, conn, ms);
  if((r = write(trace, "sync", 4)) < 0)
    fail("sync", r);
  copy(trace, conn, 0);
  exits(0);
}
