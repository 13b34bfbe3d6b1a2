// PS/2 keyboard, scan code set 1, US layout.
#include "defs.h"
#include "proc.h"
#include "uapi/traps.h"
#include "x86.h"

#define STATUS   0x64
#define DATA     0x60
#define HAS_DATA 0x01

#define RELEASED 0x80

// By scan code.  0: not a character.
static const char plain[] = "\0\033"
                            "1234567890-=\b\tqwertyuiop[]\n\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 ";
static const char shifted[] = "\0\033"
                              "!@#$%^&*()_+\b\tQWERTYUIOP{}\n\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ";

static int shift, ctrl, caps, extended;
static const char *pending = ""; // rest of an escape sequence

// The keys for moving as a terminal sends them.
static const char *
moving(u8 code)
{
  switch(code) {
  case 0x48:
    return "\033[A";
  case 0x50:
    return "\033[B";
  case 0x4d:
    return "\033[C";
  case 0x4b:
    return "\033[D";
  case 0x47:
    return "\033[H"; // Home
  case 0x4f:
    return "\033[F"; // End
  case 0x53:
    return "\033[3~"; // Delete
  }
  return "";
}

// Shift, Ctrl, Caps Lock: remembered, and no character.
static int
modifier(u8 code, int down)
{
  switch(code) {
  case 0x2a:
  case 0x36:
    shift = down;
    return 1;
  case 0x1d:
    ctrl = down;
    return 1;
  case 0x3a:
    caps ^= down;
    return 1;
  }
  return 0;
}

static int
character(u8 code)
{
  if(code >= sizeof(plain))
    return 0;
  int c = (shift ? shifted : plain)[code];
  if(ctrl)
    return c & 0x1f;
  if(caps && c >= 'a' && c <= 'z')
    return c - 'a' + 'A';
  if(caps && c >= 'A' && c <= 'Z')
    return c - 'A' + 'a';
  return c;
}

// What a scan code gives: a character, or 0 for none.
static int
decode(u8 code)
{
  if(code == 0xe0) {
    extended = 1;
    return 0;
  }
  int down = !(code & RELEASED), ext = extended;
  code &= ~RELEASED;
  extended = 0;
  if(modifier(code, down) || !down)
    return 0;
  if(ext && *moving(code)) {
    pending = moving(code);
    return *pending++;
  }
  return character(code);
}

// The next byte of input, -1 when there are no more.
static int
getc(void)
{
  if(*pending)
    return *pending++;
  while(inb(STATUS) & HAS_DATA) {
    int c = decode(inb(DATA));
    if(c)
      return c;
  }
  return -1;
}

void
kbd_init(void)
{
  ioapic_enable(IRQ_KBD, cpus[0].apicid);
}

void
kbd_intr(void)
{
  console_intr(getc, 0);
}
