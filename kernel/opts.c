// The kernel's command line: blank-separated name=value words; a value may
// stand in double quotes.  The first word is the kernel's file name.
#include "defs.h"

// ORDER options (docs: README.md)
static const char *const known[] = {
  "console",
#ifdef DEBUG
  "failnth",
#endif
  "init",
  "ip",
  "ipfallback",
  "msl",
  "ncpu",
  "nonce",
  "panic",
  "rc",
  "root",
  "run",
  "seed",
  "trace",
  "trace_head0",
  "trace_slots",
};

static char line[sizeof(bootinfo.cmdline)]; // cut into words by NULs
static char *names[64], *values[64];
static int nopts;

static int
is_known(const char *name)
{
  for(u32 i = 0; i < NELEM(known); i++)
    if(strcmp(known[i], name) == 0)
      return 1;
  return 0;
}

// Cut off the word at s; returns what follows it.
static char *
word_end(char *s)
{
  int quoted = 0;
  for(; *s && (quoted || *s != ' '); s++)
    if(*s == '"')
      quoted = !quoted;
  if(*s)
    *s++ = 0;
  return s;
}

static void
unquote(char *s)
{
  char *to = s;
  for(; *s; s++)
    if(*s != '"')
      *to++ = *s;
  *to = 0;
}

void
opts_init(void)
{
  safestrcpy(line, bootinfo.cmdline, sizeof(line));
  for(char *s = word_end(line); *s && nopts < (int)NELEM(names);) {
    char *word = s;
    s = word_end(s);
    char *eq = strchr(word, '=');
    if(*word == 0)
      continue;
    if(eq)
      *eq = 0;
    if(eq == 0 || !is_known(word)) {
      cprintf("boot: unknown option %s ignored\n", word);
      continue;
    }
    unquote(eq + 1);
    names[nopts] = word;
    values[nopts++] = eq + 1;
  }
}

const char *
opt_str(const char *name)
{
  for(int i = nopts; i-- > 0;)
    if(strcmp(names[i], name) == 0)
      return values[i];
  return 0;
}

int
opt_num(const char *name, u32 *val)
{
  const char *s = opt_str(name);
  u32 v = 0;
  if(s == 0)
    return 0;
  if(*s == 0)
    goto bad;
  for(const char *p = s; *p; p++) {
    if(*p < '0' || *p > '9' || v > (~0u - (*p - '0')) / 10)
      goto bad;
    v = v * 10 + (*p - '0');
  }
  *val = v;
  return 1;
bad:
  cprintf("boot: %s=%s is no number, default taken\n", name, s);
  return 0;
}
