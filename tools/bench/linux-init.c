// /init of the reference guest: Linux with nothing but this program.
//
// Loads the e1000 module, gives eth0 the address user networking expects, and does
// the work that httpd and tests/guest/prog/netbench.c do on our side: a page by
// HTTP on port 80, echo on 7, a sink on 9, a source on 19; one process each.
// Built statically by tools/bench/reference; /e1000.ko and /page (the whole
// answer, header included) lie beside it.
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static char buf[65536], page[65536];
static ssize_t page_len;

static void __attribute__((noreturn))
die(const char *what)
{
  perror(what);
  for(;;)
    pause(); // the host sees no answer and prints the console
}

static void
set(int fd, struct ifreq *r, unsigned long request, const char *address)
{
  struct sockaddr_in *a = (void *)&r->ifr_addr;
  *a = (struct sockaddr_in){.sin_family = AF_INET};
  inet_aton(address, &a->sin_addr);
  if(ioctl(fd, request, r) < 0)
    die(address);
}

static void
network(void)
{
  int ko = open("/e1000.ko", O_RDONLY), fd = socket(AF_INET, SOCK_DGRAM, 0);
  if(ko < 0 || syscall(SYS_finit_module, ko, "", 0) < 0)
    die("e1000.ko");
  struct ifreq r = {.ifr_name = "eth0"};
  set(fd, &r, SIOCSIFADDR, "10.0.2.15");
  set(fd, &r, SIOCSIFNETMASK, "255.255.255.0");
  r.ifr_flags = IFF_UP | IFF_RUNNING;
  if(ioctl(fd, SIOCSIFFLAGS, &r) < 0)
    die("eth0");
  close(fd);
  close(ko);
}

// ---- services: each gets a connection and ends when the client does ----

static void
http(int fd)
{
  ssize_t n = 0, r;
  while(n < 4 || memcmp(buf + n - 4, "\r\n\r\n", 4) != 0) {
    if((r = read(fd, buf + n, 4096 - n)) <= 0)
      return;
    n += r;
  }
  if(write(fd, page, page_len) < 0)
    perror("http");
}

static void
echo(int fd)
{
  ssize_t n;
  while((n = read(fd, buf, sizeof(buf))) > 0)
    if(write(fd, buf, n) != n)
      return;
}

static void
sink(int fd)
{
  while(read(fd, buf, sizeof(buf)) > 0)
    ;
}

static void
source(int fd)
{
  while(write(fd, buf, sizeof(buf)) > 0)
    ;
}

static void
service(int port, void (*serve)(int))
{
  if(fork() != 0)
    return;
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  int s = socket(AF_INET, SOCK_STREAM, 0), fd;
  if(bind(s, (void *)&a, sizeof(a)) < 0 || listen(s, 64) < 0)
    die("listen");
  for(;;) {
    if((fd = accept(s, 0, 0)) < 0)
      die("accept");
    serve(fd);
    close(fd);
  }
}

int
main(void)
{
  int fd = open("/page", O_RDONLY);
  page_len = read(fd, page, sizeof(page));
  if(page_len <= 0)
    die("/page");
  signal(SIGPIPE, SIG_IGN);
  service(80, http);
  service(7, echo);
  service(9, sink);
  service(19, source);
  network();
  printf("reference: ready\n");
  for(;;)
    pause();
}
