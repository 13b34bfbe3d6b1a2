// trview PORT: views of a frozen trace, one for each client at PORT.
// For tests/guest/test_traceview.py.
//
// A client sends control lines and shuts down its side.  It gets what a reader gets
// that has written these lines: the stream, and at its end the reader's own account
// (sync); or "refused" if the device refuses them.  A client that sends nothing but
// "end" ends the program.
#include "types.h"
#include "fcntl.h"
#include "net.h"
#include "sys.h"
#include "user.h"

static char buf[8192];

static void
fail(const char *what, int err)
{
  printf(2, "trview: %s: %s\n", what, neterr(err));
  exits(1);
}

static void
copy(int from, int to)
{
  int n, r, off;
  while((n = read(from, buf, sizeof(buf))) > 0)
    for(off = 0; off < n; off += r)
      if((r = send(to, buf + off, n - off, 0)) <= 0)
        fail("send", r);
  if(n < 0)
    fail("read", n);
}

// Serve one client.  Returns 0 if it was the last.
static int
serve(int conn)
{
  int n, got = 0;
  while((n = read(conn, buf + got, sizeof(buf) - got)) > 0)
    got += n;
  if(got == 3)
    return 0;
  int trace = open("/dev/nettrace", O_RDWR);
  if(trace < 0)
    fail("/dev/nettrace", trace);
  if(got > 0 && write(trace, buf, got) < 0) {
    send(conn, "refused", 7, 0);
  } else {
    copy(trace, conn);
    write(trace, "sync", 4);
    copy(trace, conn);
  }
  close(trace);
  return 1;
}

int
main(int argc, char *argv[])
{
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 0)};
  int fd = socket(AF_INET, SOCK_STREAM, 0), r = fd, conn, more = 1;
  if(fd < 0 || (r = bind(fd, &at, sizeof(at))) < 0 || (r = listen(fd, 4)) < 0)
    fail("listen", r);
  write(1, "listening\n", 10); // in one piece: the shell prompts at the same time
  while(more) {
    if((conn = accept(fd, 0, 0)) < 0)
      fail("accept", conn);
    more = serve(conn);
    close(conn);
  }
  exits(0);
}
