// What commands share: options, numbers, names of hosts, and how they say no.
#ifndef CMD_H
#define CMD_H

#include "types.h"
#include "net.h"

// "NAME: WHAT: reason", exit 1.  err: a (negative) error number, 0: no reason.
void die(const char *what, int err) __attribute__((noreturn));

// "usage: ..." on descriptor 2, exit 2.
void usage(void) __attribute__((noreturn));

// The command's name and, by -h, its manual: from here on the functions above and
// getopt know them.  help begins with "usage: ..." on one line.
void cmd(const char *name, const char *help);

// As POSIX: the next option's letter, -1 at the end; a colon behind a letter in spec
// means a value, in optarg; optind is the first argument behind the options.
// -h prints help and exits 0; an unknown option ends in usage().
int getopt(int argc, char *const argv[], const char *spec);
extern char *optarg;
extern int optind;

// A decimal number from lo to hi, with k, M or G for thousands, or die.
uint number(const char *text, uint lo, uint hi);

// The address of a name or of dotted numbers, or die.
struct in_addr host_of(const char *name);

// Why a name has no address: the result of resolve() in words.
const char *name_error(int err);

u64 now_us(void);

// mac as "52:54:00:12:34:56" in to, of 18 bytes; returns to.
char *mac_text(const u8 mac[6], char *to);

int memcmp(const void *, const void *, uint); // in the library; user.h has xv6's names only

#endif
