// What the compiler calls when it sees undefined behaviour (debug kernel only).
//
// -fsanitize=undefined puts a check before each operation that C leaves
// undefined and a call of one of these functions where it fails.  The names,
// and the descriptions the compiler passes, are the interface of gcc's and
// clang's run-time library; which ones a compiler uses differs.  Each prints
// `ubsan: file:line: words` with a backtrace and stops the machine.
// Any context.
#include "defs.h"
#include <stdarg.h>

struct location {
  const char *file;
  u32 line, column;
};

struct type {
  u16 kind; // 0 integer, 1 float, 0xffff other
  u16 info; // integer: bit 0 signed, above it log2 of the bits
  char name[];
};

// Every description begins with the place; here is all we read of the rest.
struct typed {
  struct location at;
  const struct type *type, *index;
};

struct mismatch {
  struct location at;
  const struct type *type;
  u8 log_align;
  u8 kind; // index of `access`
};

struct argument {
  struct location at, attribute;
  int number;
};

// ORDER access (the interface)
static const char *const access[] = {"load of", "store to", "reference to", "member of", "call on", "call of",
                                     "construction of", "downcast of", "downcast of", "upcast of", "cast of",
                                     "non-null reference to", "dynamic use of"};

// The value of an operand: itself up to 32 bits, else where it stands.  Of 64
// bits the lower half is shown.
static int
value(const struct type *t, u32 v)
{
  return t->kind == 0 && t->info >> 1 > 5 ? *(const int *)v : (int)v;
}

static void ubsan(const struct location *, const char *, ...) __attribute__((noreturn, format(printf, 2, 3)));
static void
ubsan(const struct location *at, const char *f, ...)
{
  char words[96];
  va_list ap;
  va_start(ap, f);
  kvsnprintf(words, sizeof(words), f, ap);
  va_end(ap);
  panic("ubsan: %s:%u: %s", at->file, at->line, words);
}

// One prototype each: the compiler is their only caller.
#define HANDLER(name, ...) \
  void __ubsan_handle_##name(__VA_ARGS__); \
  void __ubsan_handle_##name(__VA_ARGS__)

#define OVERFLOW(op, sign) \
  HANDLER(op##_overflow, const struct typed *d, u32 a, u32 b) \
  { \
    ubsan(&d->at, "%d " sign " %d overflows %s", value(d->type, a), value(d->type, b), d->type->name); \
  }

OVERFLOW(add, "+")
OVERFLOW(sub, "-")
OVERFLOW(mul, "*")
OVERFLOW(divrem, "/")

HANDLER(negate_overflow, const struct typed *d, u32 a)
{
  ubsan(&d->at, "- of %d overflows %s", value(d->type, a), d->type->name);
}

HANDLER(shift_out_of_bounds, const struct typed *d, u32 a, u32 n)
{
  ubsan(&d->at, "shift of %d by %d, type %s", value(d->type, a), value(d->index, n), d->type->name);
}

HANDLER(out_of_bounds, const struct typed *d, u32 i)
{
  ubsan(&d->at, "index %d outside of %s", value(d->index, i), d->type->name);
}

HANDLER(pointer_overflow, const struct location *at, u32 base, u32 result)
{
  ubsan(at, "pointer 0x%x becomes 0x%x", base, result);
}

HANDLER(type_mismatch_v1, const struct mismatch *d, u32 p)
{
  const char *how = d->kind < NELEM(access) ? access[d->kind] : "use of";
  u32 align = d->log_align < 32 ? 1u << d->log_align : 0;
  const char *why = p == 0 ? "null" : align && p % align ? "misaligned"
                                                         : "too small";
  ubsan(&d->at, "%s %s at 0x%x: %s", how, d->type->name, p, why);
}

HANDLER(alignment_assumption, const struct location *at, u32 p, u32 align, u32 off)
{
  ubsan(at, "0x%x - %u should be a multiple of %u", p, off, align);
}

HANDLER(load_invalid_value, const struct typed *d, u32 v)
{
  ubsan(&d->at, "%d is no value of %s", value(d->type, v), d->type->name);
}

HANDLER(vla_bound_not_positive, const struct typed *d, u32 n)
{
  ubsan(&d->at, "array of %d elements", value(d->type, n));
}

HANDLER(builtin_unreachable, const struct location *at)
{
  ubsan(at, "__builtin_unreachable was reached");
}

HANDLER(missing_return, const struct location *at)
{
  ubsan(at, "end of a function without its result");
}

HANDLER(nonnull_arg, const struct argument *d)
{
  ubsan(&d->at, "argument %d is null", d->number);
}

HANDLER(nonnull_return_v1, const void *d, const struct location *at)
{
  (void)d;
  ubsan(at, "null is returned");
}

HANDLER(invalid_builtin, const struct location *at)
{
  ubsan(at, "count of zeros in 0");
}

HANDLER(function_type_mismatch, const struct typed *d, u32 fn)
{
  ubsan(&d->at, "call of 0x%x as %s", fn, d->type->name);
}
