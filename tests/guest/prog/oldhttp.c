// oldhttp [PORT]: a web server as the first users of the five old calls wrote it, and
// in nothing but those: one client after the other, one recv for the whole request,
// header and body of the answer in two sends.  A POST whose body is "close" ends it.
#include "types.h"
#include "user.h"

static const char header[] = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\n";
static const char body[] = "Hello, world!\n";

// What stands behind the empty line, or 0.
static char *
body_of(char *request)
{
  for(char *s = request; (s = strchr(s, '\r')) != 0; s++)
    if(s[1] == '\n' && s[2] == '\r' && s[3] == '\n')
      return s + 4;
  return 0;
}

int
main(int argc, char *argv[])
{
  static char request[2048];
  int port = argc > 1 ? atoi(argv[1]) : 8080, served = 0, more = 1;
  while(more) {
    if(net_listen(port) < 0) {
      printf(2, "oldhttp: cannot listen at port %d\n", port);
      exit();
    }
    while(net_accept() == 0)
      sleep(1);
    int n = net_recv(request, sizeof(request) - 1);
    if(n > 0) {
      request[n] = 0;
      char *b = body_of(request);
      more = !(request[0] == 'P' && b && strcmp(b, "close") == 0);
      net_send(header, sizeof(header) - 1);
      net_send(body, sizeof(body) - 1);
      served++;
    }
    net_close();
  }
  printf(1, "oldhttp: served %d\n", served);
  exit();
}
