// ifconfig: show the network's interfaces and change their addresses.
#include "cmd.h"
#include "net.h"
#include "sys.h"
#include "user.h"

static const char help[] =
  "usage: ifconfig [NAME [dhcp | up | down | ADDRESS/BITS [gw ADDRESS] [dns ADDRESS]]]\n"
  "Shows all interfaces, or NAME; or changes NAME (en0, en1):\n"
  "  dhcp                  ask for an address\n"
  "  10.0.2.15/24          this address; the first 24 bits are the network's\n"
  "    gw 10.0.2.2         who forwards to other networks\n"
  "    dns 10.0.2.3        who knows names; without it the name servers stay as they are\n"
  "  down, up              use it no longer, or again\n";

static int
bits(struct in_addr mask)
{
  u32 m = ntohl(mask.s_addr);
  int n = 0;
  while(n < 32 && m >> (31 - n) & 1)
    n++;
  return n;
}

static void
show(const struct net_if *i)
{
  static const char *const how[] = {"no address", "static", "dhcp", "fallback, no lease came", "itself"};
  char mac[18];
  printf(1, "%s: %s, link %s", i->name, i->up ? "up" : "down", i->link ? "up" : "down");
  if(i->how == HOW_SELF) // no frames, so no limit to their size
    printf(1, "\n");
  else
    printf(1, ", mtu %u\n     mac %s\n", i->mtu, mac_text(i->mac, mac));
  if(i->how == HOW_NONE)
    printf(1, "     no address\n");
  else
    printf(1, "     address %s/%d (%s)\n", inet_ntoa(i->addr), bits(i->mask), how[i->how]);
  if(i->gw.s_addr && i->how != HOW_SELF)
    printf(1, "     gateway %s\n", inet_ntoa(i->gw));
  printf(1, "     received %u packets, %u bytes, %u dropped\n", i->rx_p, i->rx_b, i->rx_drops);
  printf(1, "     sent     %u packets, %u bytes, %u dropped\n", i->tx_p, i->tx_b, i->tx_drops);
}

// name 0: all of them.
static void
list(const char *name)
{
  struct net_if t[4];
  int n = netinfo(NETINFO_IFS, t, sizeof(t)), shown = 0;
  if(n < 0)
    die("interfaces", n);
  for(int i = 0; i < n / (int)sizeof(t[0]); i++)
    if(name == 0 || strcmp(name, t[i].name) == 0) {
      show(&t[i]);
      shown++;
    }
  if(name && !shown)
    die(name, ENODEV);
}

static struct in_addr
address(const char *text)
{
  struct in_addr a;
  if(text == 0 || !inet_aton(text, &a))
    die("want an address such as 10.0.2.2", 0);
  return a;
}

// ADDRESS/BITS and the words behind it.
static void
read_static(char *argv[], struct netconf *c)
{
  char *slash = strchr(argv[0], '/');
  if(slash == 0)
    usage();
  *slash = 0;
  c->op = NETCONF_STATIC;
  c->addr = address(argv[0]);
  c->prefix = number(slash + 1, 0, 32);
  for(argv++; argv[0]; argv += 2) {
    if(strcmp(argv[0], "gw") == 0)
      c->gateway = address(argv[1]);
    else if(strcmp(argv[0], "dns") == 0)
      c->dns = address(argv[1]);
    else
      usage();
  }
}

int
main(int argc, char *argv[])
{
  struct netconf c = {.op = 0};
  cmd("ifconfig", help);
  getopt(argc, argv, "");
  if(argc <= 2) {
    list(argc == 2 ? argv[1] : 0);
    exits(0);
  }
  if(strlen(argv[1]) >= sizeof(c.name))
    die(argv[1], ENODEV);
  strcpy(c.name, argv[1]);
  c.op = strcmp(argv[2], "dhcp") == 0 ? NETCONF_DHCP : strcmp(argv[2], "up") == 0   ? NETCONF_UP
                                                     : strcmp(argv[2], "down") == 0 ? NETCONF_DOWN
                                                                                    : 0;
  if(c.op == 0)
    read_static(argv + 2, &c);
  else if(argc > 3)
    usage();
  int r = netconf(&c);
  if(r == -EINVAL && c.op == NETCONF_STATIC) {
    printf(2, "ifconfig: %s/%u: an address of a network, of many hosts or of loopback cannot be ours\n", inet_ntoa(c.addr),
           c.prefix);
    exits(1);
  }
  if(r < 0)
    die(argv[1], r);
  exits(0);
}
