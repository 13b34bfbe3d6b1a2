// nettop's screen: lines become cells, and the cells that differ become bytes.
//
// A refresh opens the sheet, the views take line after line from it, and
// screen_show compares the sheet with `seen`, what the terminal shows: only the
// difference is sent, by cursor moves and ESC[K, never a full clear.  A line may
// be bright (reverse video).  The last column stays empty: a character there makes
// some terminals wrap.  Printed as text (nettop -b), the sheet has no terminal.
#include "types.h"
#include "user.h"
#include "nettop.h"

#define MAXROWS 160
#define MAXCOLS 200
#define GAP     6 // so many equal cells are cheaper sent than jumped over

int rows, cols; // of the sheet; the last row holds the keys

// One screen.
struct cells {
  char c[MAXROWS][MAXCOLS];
  u8 bright[MAXROWS];
};

static struct cells sheet, seen;
static int used; // lines taken
static int skip; // lines still to be left out
static int last; // row of the line taken last, -1: it is not seen

// Start a new, empty sheet.  More rows or columns than we have room for are cut.
void
sheet_open(int nrows, int ncols)
{
  rows = nrows < MAXROWS ? nrows : MAXROWS;
  cols = ncols < MAXCOLS ? ncols : MAXCOLS;
  used = skip = 0;
  memset(sheet.c, ' ', sizeof(sheet.c));
  memset(sheet.bright, 0, sizeof(sheet.bright));
}

// Lines that are left above the keys.
int
sheet_room(void)
{
  return rows - 1 - used;
}

// The next n lines are written and not seen: the view is scrolled.
void
sheet_skip(int n)
{
  skip = n;
}

// The next line, empty; when there is none, a line that takes nothing.
struct nt_line
sheet_line(void)
{
  static char unseen[MAXCOLS];
  last = -1;
  if(skip > 0 && skip--)
    return (struct nt_line){unseen, 0, cols - 1};
  if(sheet_room() <= 0)
    return (struct nt_line){0, 0, 0};
  last = used++;
  return (struct nt_line){sheet.c[last], 0, cols - 1};
}

// The line taken last is bright.
void
sheet_bright(void)
{
  if(last >= 0)
    sheet.bright[last] = 1;
}

// The last row.
void
sheet_keys(const char *text, int n)
{
  memmove(sheet.c[rows - 1], text, n < cols ? n : cols - 1);
}

// Line i as text: its length without the blanks behind it, -1 behind the last line
// taken.  text: at least cols bytes.
int
sheet_text(int i, char *text)
{
  int n = cols;
  if(i >= used)
    return -1;
  while(n > 0 && sheet.c[i][n - 1] == ' ')
    n--;
  memmove(text, sheet.c[i], n);
  return n;
}

// Send what differs in one row between the sheet and what is seen.
static void
paint_row(struct nt_line *o, int i)
{
  char *w = sheet.c[i], *s = seen.c[i];
  int end = cols - 1, old = cols, all = sheet.bright[i] != seen.bright[i];
  while(!sheet.bright[i] && end > 0 && w[end - 1] == ' ')
    end--;
  while(old > 0 && s[old - 1] == ' ')
    old--;
  for(int c = 0, stop; c < end; c = stop) {
    stop = c + 1;
    if(!all && w[c] == s[c])
      continue;
    for(int k = stop; k < end && k < stop + GAP; k++)
      if(all || w[k] != s[k])
        stop = k + 1;
    nt_printf(o, sheet.bright[i] ? "\033[%u;%uH\033[7m" : "\033[%u;%uH", i + 1, c + 1);
    for(int k = c; k < stop; k++)
      nt_printf(o, "%c", w[k]);
    if(sheet.bright[i])
      nt_printf(o, "\033[m");
  }
  if(old > end || (all && end < cols - 1))
    nt_printf(o, "\033[%u;%uH\033[K", i + 1, end + 1);
  memmove(s, w, MAXCOLS);
  seen.bright[i] = sheet.bright[i];
}

// Bring the terminal up to date, and put the cursor into the last row, into that
// column (from 0).
void
screen_show(int cursor)
{
  static char out[MAXROWS * MAXCOLS * 2];
  static int at = -1;
  struct nt_line o = {out, 0, sizeof(out)};
  for(int i = 0; i < rows; i++)
    paint_row(&o, i);
  if(o.n > 0 || cursor != at)
    nt_printf(&o, "\033[%u;%uH", rows, cursor + 1);
  at = cursor;
  if(o.n > 0)
    write(1, out, o.n);
}

// Nothing is known of what the terminal shows: the next sheet is sent whole.
void
screen_forget(void)
{
  memset(&seen, 0, sizeof(seen));
}

// Leave the terminal with an empty last line for the shell.
void
screen_leave(void)
{
  if(rows)
    printf(1, "\033[%d;1H\033[K", rows);
}
