// What commands share: see cmd.h.
#include "cmd.h"
#include "sys.h"
#include "ulib64.h"
#include "user.h"

#define RESOLVE_MS 6000

char *optarg;
int optind = 1;
static const char *name = "?", *help = "";

void
cmd(const char *my_name, const char *my_help)
{
  name = my_name;
  help = my_help;
}

void
die(const char *what, int err)
{
  if(err)
    printf(2, "%s: %s: %s\n", name, what, neterr(err));
  else
    printf(2, "%s: %s\n", name, what);
  exits(1);
}

void
usage(void)
{
  const char *end = strchr(help, '\n');
  write(2, help, end ? end - help + 1 : (int)strlen(help));
  exits(2);
}

int
getopt(int argc, char *const argv[], const char *spec)
{
  static const char *rest = ""; // letters left of the current argument
  if(*rest == 0) {
    const char *arg = optind < argc ? argv[optind] : 0;
    if(arg == 0 || arg[0] != '-' || arg[1] == 0)
      return -1;
    optind++;
    if(strcmp(arg, "--") == 0)
      return -1;
    rest = arg + 1;
  }
  char c = *rest++;
  const char *found = c == ':' ? 0 : strchr(spec, c);
  if(c == 'h' && found == 0) {
    write(1, help, strlen(help));
    exits(0);
  }
  if(found == 0) {
    printf(2, "%s: no option -%c\n", name, c);
    usage();
  }
  if(found[1] != ':')
    return c;
  if(*rest == 0 && optind == argc) {
    printf(2, "%s: -%c wants a value\n", name, c);
    usage();
  }
  optarg = *rest ? (char *)rest : argv[optind++];
  rest = "";
  return c;
}

// Digits with an optional k, M or G.  1, or 0: it is no number, or does not fit.
static int
read_number(const char *s, uint *n)
{
  u64 v = 0;
  if(*s < '0' || *s > '9')
    return 0;
  for(; '0' <= *s && *s <= '9'; s++)
    if((v = v * 10 + *s - '0') > 0xffffffff)
      return 0;
  v *= *s == 'k' ? 1000 : *s == 'M' ? 1000000
                        : *s == 'G' ? 1000000000
                                    : 1;
  s += *s != 0 && strchr("kMG", *s) != 0;
  *n = v;
  return *s == 0 && v <= 0xffffffff;
}

uint
number(const char *text, uint lo, uint hi)
{
  uint n;
  if(read_number(text, &n) && n >= lo && n <= hi)
    return n;
  printf(2, "%s: %s: want a number from %u to %u\n", name, text, lo, hi);
  exits(2);
}

const char *
name_error(int err)
{
  return err == -ENETDOWN ? "no name server" : neterr(err);
}

struct in_addr
host_of(const char *host)
{
  struct in_addr a;
  if(inet_aton(host, &a))
    return a;
  int r = resolve(host, &a, RESOLVE_MS);
  if(r < 0) {
    printf(2, "%s: %s: %s\n", name, host, name_error(r));
    exits(1);
  }
  return a;
}

u64
now_us(void)
{
  u64 t;
  nsclock(&t);
  div64(&t, 1000);
  return t;
}

// printf's %x is xv6's, in capitals.
char *
mac_text(const u8 mac[6], char *to)
{
  static const char hex[] = "0123456789abcdef";
  for(int i = 0; i < 6; i++) {
    to[3 * i] = hex[mac[i] >> 4];
    to[3 * i + 1] = hex[mac[i] & 15];
    to[3 * i + 2] = i < 5 ? ':' : 0;
  }
  return to;
}
