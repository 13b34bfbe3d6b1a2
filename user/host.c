// host: the addresses of names.
#include "cmd.h"
#include "net.h"
#include "sys.h"
#include "user.h"

static const char help[] =
  "usage: host [-w MS] [NAME...]\n"
  "Prints the address of each NAME; without one, the name servers that are asked.\n"
  "  -w MS  wait that long for an answer, 1 to 6000 (default 6000)\n"
  "Exit 1 if a name has no address or nobody answers.\n";

static int
servers(void)
{
  struct in_addr dns[4];
  int n = netinfo(NETINFO_DNS, dns, sizeof(dns));
  if(n <= 0)
    die("no name server: give one with ifconfig en0 ADDRESS dns SERVER", 0);
  for(int i = 0; i < n / (int)sizeof(dns[0]); i++)
    printf(1, "name server %s\n", inet_ntoa(dns[i]));
  return 0;
}

int
main(int argc, char *argv[])
{
  int ms = 6000, failed = 0;
  cmd("host", help);
  while(getopt(argc, argv, "w:") == 'w')
    ms = number(optarg, 1, 6000);
  if(optind == argc)
    exits(servers());
  for(int i = optind; i < argc; i++) {
    struct in_addr a;
    int r = inet_aton(argv[i], &a) ? 0 : resolve(argv[i], &a, ms);
    if(r == 0) {
      printf(1, "%s has address %s\n", argv[i], inet_ntoa(a));
      continue;
    }
    printf(2, "host: %s: %s\n", argv[i], name_error(r));
    failed = 1;
  }
  exits(failed);
}
