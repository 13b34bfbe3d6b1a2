// tcp ADDRESS PORT TEXT: connect, send TEXT and our FIN, print what comes back.
// For tests/guest/test_net.py, whose peer is the other end.
#include "types.h"
#include "net.h"
#include "sys.h"
#include "user.h"

static int
fail(const char *what, int err)
{
  printf(2, "tcp: %s: %s\n", what, neterr(err));
  exits(1);
}

int
main(int argc, char *argv[])
{
  struct sockaddr_in to = {.sin_family = AF_INET};
  char buf[512];
  int r, n;
  if(argc != 4 || !inet_aton(argv[1], &to.sin_addr)) {
    printf(2, "usage: tcp ADDRESS PORT TEXT\n");
    exits(2);
  }
  to.sin_port = htons(atoi(argv[2]));
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if(fd < 0)
    fail("socket", fd);
  if((r = connect(fd, &to, sizeof(to))) < 0)
    fail("connect", r);
  n = strlen(argv[3]);
  if((r = send(fd, argv[3], n, 0)) != n)
    fail("send", r);
  if((r = shutdown(fd, SHUT_WR)) < 0)
    fail("shutdown", r);
  while((n = recv(fd, buf, sizeof(buf), 0)) > 0)
    write(1, buf, n);
  if(n < 0)
    fail("recv", n);
  exits(0);
}
