// netstat: sockets with their processes, routes, interfaces, counters.  Only asks:
// the network goes on meanwhile.
#include "cmd.h"
#include "net.h"
#include "sys.h"
#include "user.h"

static const char help[] =
  "usage: netstat [-an] | -r | -i | -s\n"
  "Prints the connections; addresses and ports as numbers, with and without -n.\n"
  "  -a  also listeners, UDP, and ICMP sockets\n"
  "  -r  routes: the first that matches an address is taken\n"
  "  -i  interfaces\n"
  "  -s  counters since boot that are not 0; drop.* says why packets died\n"
  "RECV-Q bytes not yet read by the program (of a listener: connections that wait\n"
  "for accept), SEND-Q bytes not yet acknowledged by the peer.\n";

static char table[65536];

// Fill the table; how many records of size there are.
static int
ask(int what, int size)
{
  int n = netinfo(what, table, sizeof(table));
  if(n < 0)
    die("table", n);
  return n / size;
}

// "10.0.2.15:80", a static buffer each for local and remote.
static const char *
endpoint(struct in_addr a, u16 port, char *to)
{
  char digits[6], *d = digits + sizeof(digits);
  uint n = ntohs(port);
  *--d = 0;
  do {
    *--d = '0' + n % 10;
    n /= 10;
  } while(n > 0);
  strcpy(to, a.s_addr ? inet_ntoa(a) : "*");
  char *p = to + strlen(to);
  *p++ = ':';
  strcpy(p, port ? d : "*");
  return to;
}

static void
show_sock(const struct net_sock *s)
{
  static const char *const states[] = {"CLOSED", "LISTEN", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1",
                                       "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT"};
  static const char *const types[] = {"?", "tcp", "udp", "icmp"};
  char local[24], remote[24];
  int tcp = s->type == SOCK_STREAM, listens = tcp && s->state == 1;
  printf(1, "%-5s %6u %6u  %-21s %-21s %-12s ", types[s->type & 3], listens ? s->waiting : s->rcvq, s->sndq,
         endpoint(s->laddr, s->lport, local), endpoint(s->raddr, s->rport, remote),
         tcp && s->state < 11 ? states[s->state] : "");
  if(s->pid)
    printf(1, "%d %s\n", s->pid, s->program);
  else
    printf(1, "-\n");
}

static void
socks(int all)
{
  const struct net_sock *s = (struct net_sock *)table;
  int n = ask(NETINFO_SOCKS, sizeof(*s));
  printf(1, "PROTO RECV-Q SEND-Q  LOCAL                 REMOTE                STATE        PROCESS\n");
  for(; n > 0; n--, s++)
    if(all || (s->type == SOCK_STREAM && s->state > 1))
      show_sock(s);
}

static void
routes(void)
{
  const struct net_route *r = (struct net_route *)table;
  int n = ask(NETINFO_ROUTES, sizeof(*r));
  printf(1, "DESTINATION      MASK             GATEWAY          INTERFACE\n");
  for(; n > 0; n--, r++) {
    printf(1, "%-16s ", inet_ntoa(r->dst));
    printf(1, "%-16s ", inet_ntoa(r->mask));
    printf(1, "%-16s %s\n", r->gw.s_addr ? inet_ntoa(r->gw) : "-", r->name);
  }
}

static void
interfaces(void)
{
  const struct net_if *i = (struct net_if *)table;
  int n = ask(NETINFO_IFS, sizeof(*i));
  printf(1, "NAME  MTU   ADDRESS           RX-PACKETS   RX-DROPS  TX-PACKETS   TX-DROPS\n");
  for(; n > 0; n--, i++)
    printf(1, "%-4s  %-5u %-16s %11u %10u %11u %10u\n", i->name, i->mtu, i->addr.s_addr ? inet_ntoa(i->addr) : "-",
           i->rx_p, i->rx_drops, i->tx_p, i->tx_drops);
}

static void
counters(void)
{
  const struct net_count *c = (struct net_count *)table;
  for(int n = ask(NETINFO_COUNTS, sizeof(*c)); n > 0; n--, c++)
    if(c->n)
      printf(1, "%-24s %u\n", c->name, c->n);
}

int
main(int argc, char *argv[])
{
  int all = 0, what = 0;
  cmd("netstat", help);
  for(int o; (o = getopt(argc, argv, "arisn")) != -1;) {
    if(o == 'a')
      all = 1;
    else if(o != 'n')
      what = what == 0 || what == o ? o : '?';
  }
  if(optind != argc || what == '?' || (what && all))
    usage();
  if(what == 'r')
    routes();
  else if(what == 'i')
    interfaces();
  else if(what == 's')
    counters();
  else
    socks(all);
  exits(0);
}
