// VGA text screen, 80 x 25, if PCI shows a display.  A small terminal: \n \r
// \b \t, ESC[H ESC[r;cH ESC[C ESC[D ESC[J ESC[K ESC[m with 0 1 7 30-37 40-47.
#include "defs.h"
#include "pci.h"
#include "uapi/memlayout.h"
#include "x86.h"

#define ROWS   25
#define COLS   80
#define CRTC   0x3d4 // index; data one above
#define NORMAL 0x07  // light grey on black

static volatile u16 *text; // 0: no display
static u32 row, col;
static u8 attr = NORMAL;

// An escape sequence as far as it has come: 0 none, 1 after ESC, 2 after ESC[.
static struct {
  int state;
  u32 arg[4], n;
} esc;

static int
find_display(const struct pci_func *f, void *arg)
{
  return *(int *)arg = f->class == 3 && f->subclass == 0;
}

static void
clear(u32 from, u32 to)
{
  for(u32 i = from; i < to; i++)
    text[i] = ' ' | attr << 8;
}

void
vga_init(void)
{
  int found = 0;
  pci_each(find_display, &found);
  if(!found)
    return;
  text = P2V(0xb8000);
  clear(0, ROWS * COLS);
}

static void
move_cursor(void)
{
  u32 pos = row * COLS + (col < COLS ? col : COLS - 1);
  outb(CRTC, 14);
  outb(CRTC + 1, (u8)(pos >> 8));
  outb(CRTC, 15);
  outb(CRTC + 1, (u8)pos);
}

static void
newline(void)
{
  if(++row < ROWS)
    return;
  row = ROWS - 1;
  for(u32 i = 0; i < (ROWS - 1) * COLS; i++)
    text[i] = text[i + COLS];
  clear((ROWS - 1) * COLS, ROWS * COLS);
}

static void
set_attr(u32 v)
{
  static const u8 vga_color[8] = {0, 4, 2, 6, 1, 5, 3, 7}; // ANSI has red where VGA has blue
  if(v == 0)
    attr = NORMAL;
  else if(v == 1)
    attr |= 0x08;
  else if(v == 7)
    attr = (u8)(attr << 4 | attr >> 4);
  else if(v >= 30 && v <= 37)
    attr = (attr & 0xf8) | vga_color[v - 30];
  else if(v >= 40 && v <= 47)
    attr = (u8)((attr & 0x0f) | vga_color[v - 40] << 4);
}

static void
run_escape(int c)
{
  u32 here = row * COLS + col, n = esc.arg[0] ? esc.arg[0] : 1;
  switch(c) {
  case 'C':
    col = col + n < COLS ? col + n : COLS - 1;
    break;
  case 'D':
    col -= n < col ? n : col;
    break;
  case 'H':
    row = esc.arg[0] > 0 && esc.arg[0] <= ROWS ? esc.arg[0] - 1 : 0;
    col = esc.arg[1] > 0 && esc.arg[1] <= COLS ? esc.arg[1] - 1 : 0;
    break;
  case 'J':
    if(esc.arg[0] == 2)
      here = 0;
    clear(here, ROWS * COLS);
    break;
  case 'K':
    clear(here, (row + 1) * COLS);
    break;
  case 'm':
    for(u32 i = 0; i <= esc.n && i < NELEM(esc.arg); i++)
      set_attr(esc.arg[i]);
    break;
  }
}

// Eats c if it belongs to an escape sequence.
static int
escape(int c)
{
  if(esc.state == 0 && c != 27)
    return 0;
  if(c == 27) {
    memset(&esc, 0, sizeof(esc));
    esc.state = 1;
  } else if(esc.state == 1) {
    esc.state = c == '[' ? 2 : 0;
  } else if(c >= '0' && c <= '9') {
    if(esc.n < NELEM(esc.arg) && esc.arg[esc.n] < 1000)
      esc.arg[esc.n] = esc.arg[esc.n] * 10 + (c - '0');
  } else if(c == ';') {
    esc.n++;
  } else if(c != '?') {
    esc.state = 0;
    run_escape(c);
  }
  return 1;
}

// Context: any; the caller keeps others away.
void
vga_putc(int c)
{
  if(text == 0)
    return;
  if(escape(c)) {
    move_cursor();
    return;
  }
  if(c == '\n') {
    col = 0;
    newline();
  } else if(c == '\r') {
    col = 0;
  } else if(c == '\b') {
    col -= col > 0;
  } else if(c == '\t') {
    col = (col + 8) & ~7u;
  } else if(c >= ' ') {
    if(col >= COLS) {
      col = 0;
      newline();
    }
    text[row * COLS + col++] = (u16)((c & 0xff) | attr << 8);
  }
  move_cursor();
}
