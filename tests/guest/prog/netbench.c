// netbench: what tools/bench/net measures: httpd, and by plain blocking calls echo on
// port 7, a sink on 9, a source on 19; one process each, as in the reference guest.
#include "types.h"
#include "net.h"
#include "sys.h"
#include "user.h"

static char buf[65536];

static void
echo(int fd)
{
  int n;
  while((n = recv(fd, buf, sizeof(buf), 0)) > 0)
    if(send(fd, buf, n, 0) != n)
      return;
}

static void
sink(int fd)
{
  while(recv(fd, buf, sizeof(buf), 0) > 0)
    ;
}

static void
source(int fd)
{
  while(send(fd, buf, sizeof(buf), 0) > 0)
    ;
}

static void
service(int port, void (*serve)(int))
{
  if(fork() != 0)
    return;
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  int s = socket(AF_INET, SOCK_STREAM, 0), fd;
  if(s < 0 || bind(s, &a, sizeof(a)) < 0 || listen(s, 64) < 0) {
    printf(2, "netbench: port %d: cannot listen\n", port);
    exits(1);
  }
  while((fd = accept(s, 0, 0)) >= 0) {
    serve(fd);
    close(fd);
  }
  printf(2, "netbench: port %d: %s\n", port, neterr(fd));
  exits(1);
}

int
main(void)
{
  static char name[] = "httpd", *argv[] = {name, 0};
  service(7, echo);
  service(9, sink);
  service(19, source);
  exec(name, argv);
  printf(2, "netbench: no httpd\n");
  exits(1);
}
