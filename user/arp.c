// arp: the neighbours whose hardware addresses are known.
#include "cmd.h"
#include "net.h"
#include "sys.h"
#include "user.h"

static const char help[] =
  "usage: arp | arp -d ADDRESS | arp -s ADDRESS MAC\n"
  "Prints who answered \"who has ADDRESS?\": address, MAC, interface.  ARP believes\n"
  "every answer: what stands here may be wrong.\n"
  "  -d ADDRESS      forget this one; it is asked again when needed\n"
  "  -s ADDRESS MAC  set it for good, as aa:bb:cc:dd:ee:ff\n";

static int
digit(char c)
{
  return '0' <= c && c <= '9' ? c - '0' : 'a' <= (c | 32) && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                                             : -1;
}

// 1, or 0: this is no MAC address.
static int
read_mac(const char *s, u8 mac[6])
{
  for(int i = 0; i < 6; i++, s += 3) {
    int hi = digit(s[0]), lo = hi < 0 ? -1 : digit(s[1]);
    if(lo < 0 || s[2] != (i < 5 ? ':' : 0))
      return 0;
    mac[i] = hi << 4 | lo;
  }
  return 1;
}

static void
list(void)
{
  static struct net_arp t[64];
  int n = netinfo(NETINFO_ARP, t, sizeof(t));
  if(n < 0)
    die("table", n);
  for(int i = 0; i < n / (int)sizeof(t[0]); i++) {
    char mac[18];
    printf(1, "%-15s  %s  %s\n", inet_ntoa(t[i].addr), mac_text(t[i].mac, mac), t[i].name);
  }
}

int
main(int argc, char *argv[])
{
  struct netconf c = {.op = 0};
  int o;
  cmd("arp", help);
  while((o = getopt(argc, argv, "d:s:")) != -1) {
    c.op = o == 'd' ? NETCONF_ARPDEL : NETCONF_ARPSET;
    if(!inet_aton(optarg, &c.addr))
      die("want an address such as 10.0.2.2", 0);
  }
  if(argc - optind != (c.op == NETCONF_ARPSET))
    usage();
  if(c.op == 0) {
    list();
    exits(0);
  }
  if(c.op == NETCONF_ARPSET && !read_mac(argv[optind], c.mac))
    die("want a MAC such as 52:54:00:12:34:56", 0);
  int r = netconf(&c);
  if(r < 0)
    die(inet_ntoa(c.addr), r);
  exits(0);
}
