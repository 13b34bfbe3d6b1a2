// What the fuzz targets of the host tool share: records to play with, files that
// live in memory, and a stop to what commands leave to the end of the process.
//
// Each target is a file here: LLVMFuzzerTestOneInput() is called by libFuzzer,
// millions of times in one process, with bytes that it makes up.
#ifndef FUZZ_H
#define FUZZ_H

#include "../test_nettrace_gen.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t n);
const char *__asan_default_options(void);

// An input for both sides: 2 bytes say how many slots of 64 follow, the rest is a capture.
struct halves {
  const u8 *slots, *capture;
  size_t nslots, ncapture;
};
bool fuzz_split(const u8 *data, size_t n, struct halves *h);
u8 *fuzz_trace(const struct halves *h, size_t *len);
const char *fuzz_file(int which, const void *p, size_t n);
void fuzz_begin(void);
void fuzz_end(void);
void fuzz_read_all(const struct trace *t);

#endif
