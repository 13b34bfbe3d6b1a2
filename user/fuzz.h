// What the files of sysfuzz share.
//
//   sysfuzz.c    options, the parent, the witness, what must be as before
//   fuzz_args.c  chance, descriptors, pointers, paths: what a call is made of
//   fuzz_net.c   the network's arguments and acts
//   fuzz_acts.c  what a call's number stands for, and what must not be done
//
// All of it belongs to one process, a batch; the parent's is told by report().
#ifndef FUZZ_H
#define FUZZ_H

#include "fcntl.h"
#include "fs.h"
#include "memlayout.h"
#include "net.h"
#include "param.h"
#include "stat.h"
#include "sys.h"
#include "syscall.h"
#include "types.h"
#include "user.h"

#define NCALL    81
#define NARG     6 // of a call
#define NKID     4
#define ARENA    65536
#define PORT     7000
#define ROOT     "/fuzz"
#define LOOPBACK 0x0100007f // 127.0.0.1, network order
#define NELEM(a) (sizeof(a) / sizeof((a)[0]))

// What a child tells its parent: calls since the last report, in one write.
struct report {
  ushort done;
  ushort ok[NCALL], err[NCALL];
};
extern struct report now;
extern uint seed;
extern int each;      // -t: where calls are printed, 0: nowhere
extern int failing;   // -f
extern int report_fd; // the parent's, not to be touched; nor is each
extern char self[];

// ---- fuzz_args.c ---------------------------------------------------------------------

// Kinds of descriptors, as bits.
#define K_FILE   0x001
#define K_DIR    0x002
#define K_PIPE   0x004
#define K_CONS   0x008
#define K_MEM    0x010 // null, zero, random
#define K_TRACE  0x020 // a reader of /dev/nettrace
#define K_STAT   0x040
#define K_SOCK   0x080 // new or bound
#define K_LISTEN 0x100
#define K_CONN   0x200 // connecting or connected
#define K_DGRAM  0x400
#define K_NET    (K_SOCK | K_LISTEN | K_CONN | K_DGRAM)
#define K_ANY    0xfff

extern ushort kind[NOFILE];         // of each descriptor, 0: not open
extern char arena[ARENA + 0x11000]; // what calls read and write; the rest is for a hostile length at its end
extern char paths[2][MAXPATH + 16];
extern int kids[NKID]; // children that may still run
extern int depth;      // of the working directory below /fuzz
extern int target;     // depth after the next chdir, if to the path
extern uint chosen;    // chosen last
extern struct pollfd set[NPOLL + 1];

void seed_call(uint n);
uint rnd(void);
uint below(uint n);
int one_in(uint n);
int raw_call(uint nr, uint esp, uint flags);
int call(uint nr, uint a, uint b, uint c, uint d);
int call6(uint nr, const uint *a);
uint some_fd(uint kinds);
uint count_fds(void);
void got_fd(int fd, uint k);
uint bad_number(void);
uint bad_pointer(void);
uint buffer(void);
uint path(int which);
uint workdir(void);
char *append(char *to, const char *s);
uint some_call(uint *a);

// ---- fuzz_net.c ----------------------------------------------------------------------

extern struct sockaddr_in addr;

uint address(void);
uint address_length(void); // the address of a length, as those below are of their things
uint option_level(void);   // chooses an option, of which the next are
uint option_name(void);
uint option_value(void);
uint option_length(void);
uint option_length_at(void);
uint linger_value(void);
uint host_name(void);
uint configuration(uint p);
void act_connect(void);
void act_datagrams(void);
void act_echo(void);
void act_resolve(void);
void linger_for_ever(void);
void forget_neighbours(void);

// ---- fuzz_acts.c ---------------------------------------------------------------------

void no_wait(int fd);
int child(void);
void reap(int pid);
void batch(uint first, uint n) __attribute__((noreturn));

#endif
