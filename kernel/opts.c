// The kernel's command line: blank-separated name=value words; a value may
// stand in double quotes.  The first word is the kernel's file name.
#include "defs.h"

// Each option, and the words it may be, if these are all.
// ORDER options (docs: README.md)
static const struct {
  const char *name, *words;
} known[] = {
  {"console", "auto serial vga"},
#ifdef DEBUG
  {"failnth", 0},
#endif
  {"init", 0},
  {"ip", 0},
  {"ipfallback", 0},
  {"msl", 0},
  {"ncpu", 0},
  {"nonce", 0},
  {"panic", "exit halt"},
  {"rc", "on off"},
  {"root", 0},
  {"run", 0},
  {"seed", 0},
  {"trace", 0},
  {"trace_head0", 0},
  {"trace_slots", 0},
};

static char line[sizeof(bootinfo.cmdline)]; // cut into words by NULs
static char *values[NELEM(known)];          // of known[], 0: not given

// Its index in known[], -1 if there is none.
static int
find(const char *name)
{
  for(u32 i = 0; i < NELEM(known); i++)
    if(strcmp(known[i].name, name) == 0)
      return (int)i;
  return -1;
}

// Is word one of words?
static int
one_of(const char *words, const char *word)
{
  u32 n = strlen(word);
  for(const char *s = words; s; s = strchr(s, ' '), s += s != 0)
    if(n > 0 && strncmp(s, word, n) == 0 && (s[n] == ' ' || s[n] == 0))
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

// One word of the command line; of several of a kind the last counts.
static void
take(char *word)
{
  char *eq = strchr(word, '=');
  if(eq)
    *eq = 0;
  int i = eq ? find(word) : -1;
  if(i < 0) {
    cprintf("boot: unknown option %s ignored\n", word);
    return;
  }
  unquote(eq + 1);
  if(known[i].words && !one_of(known[i].words, eq + 1)) {
    cprintf("boot: %s=%s ignored, want one of: %s\n", word, eq + 1, known[i].words);
    return;
  }
  values[i] = eq + 1;
}

void
opts_init(void)
{
  safestrcpy(line, bootinfo.cmdline, sizeof(line));
  int full = strlen(line) == sizeof(line) - 1; // then there was more, or may have been
  for(char *s = word_end(line); *s;) {
    char *word = s;
    s = word_end(s);
    if(full && *s == 0)
      cprintf("boot: the command line is too long, ignored from byte %u on: %s\n", (u32)(word - line), word);
    else if(*word)
      take(word);
  }
}

const char *
opt_str(const char *name)
{
  int i = find(name);
  return i < 0 ? 0 : values[i];
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
