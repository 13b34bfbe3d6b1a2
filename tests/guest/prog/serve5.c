// serve5 PORT: a server written against the five old calls and nothing else, as
// their users write it: one connection after the other, one recv for the request,
// listening again each time.  Its answer carries the request's first line back.
#include "types.h"
#include "user.h"

#define HEAD "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n"

static int
line_length(const char *s, int n)
{
  int k = 0;
  while(k < n && s[k] != '\r' && s[k] != '\n')
    k++;
  return k;
}

static void
serve(void)
{
  char request[1024], reply[1100];
  int n = net_recv(request, sizeof(request));
  if(n > 0) {
    int head = strlen(HEAD), line = line_length(request, n);
    memmove(reply, HEAD, head);
    memmove(reply + head, request, line);
    net_send(reply, head + line);
  }
  net_close();
}

int
main(int argc, char *argv[])
{
  int port = argc == 2 ? atoi(argv[1]) : 8080;
  for(;;) {
    if(net_listen(port) < 0) {
      printf(2, "serve5: cannot listen on port %d\n", port);
      exit();
    }
    while(net_accept() == 0)
      sleep(1);
    serve();
  }
}
