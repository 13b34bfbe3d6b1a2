// What crash.c writes into its files and tests/host/fscheck.c finds there again:
// nothing but these records, in order.  One write of at most 1,536 bytes is one
// transaction, so all records of a file carry the same tag after any power cut,
// also while crash.c writes a new tag over an old one.
#ifndef CRASH_H
#define CRASH_H

struct crashrec {
  unsigned magic;
  unsigned tag;   // never 0
  unsigned index; // of this record in the file
  unsigned sum;   // magic ^ tag ^ index
};

#define CRASH_MAGIC 0x68637263
#define CRASH_ATOM  1536 // bytes that are written wholly or not at all

#endif
