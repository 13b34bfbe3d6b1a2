// The blocks of a merged pcapng: merge.c writes one machine's, two_merge.c two's.
#ifndef NETTRACE_MERGE_H
#define NETTRACE_MERGE_H

#include "tool.h"

#define LINK_ETHERNET 1
#define LINK_USER0    147
#define MAXCOMMENT    1200
#define MACHINE_B     0x8000 // in a USER0 packet's boot: of the second of two machines

// A pcapng block in the making.
struct block {
  u8 *p;
  u32 n, cap;
};
// Where in the file a record stands.
struct place {
  u32 iface, machine; // machine: 0 or MACHINE_B
  i64 w;
  u32 frame; // number of its frame, 0 = none
  u32 lost;  // slots lost just before
};
void put_section(struct block *b, FILE *f, const char *comment);
void put_interface(struct block *b, FILE *f, u32 link, const char *name, const char *what);
void put_packet(struct block *b, FILE *f, u32 iface, i64 w, const void *p, u32 n, u32 orig, u32 flags, const char *comment);
void put_event(struct block *b, struct block *data, FILE *f, const struct session *s, const struct rec *r, const struct place *at);
void put_meta(struct block *b, struct block *data, FILE *f, const struct session *s, const struct place *at);
void journey(char *to, const struct session *s, const struct prow *v, u32 n, u32 frame);

#endif
