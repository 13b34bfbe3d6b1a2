// The line editor: keys from the console, in mode TTY_EDIT, become a line.
//
// sh calls edit_line.  A key changes the line in memory, then draw() compares
// the part of it that fits the screen with what the screen shows, and sends the
// difference: a character typed at the end is one byte, as on a plain terminal.
// A line wider than the screen moves sideways by half a screen; < and > stand
// where more is hidden.  All cursor movement is relative, so that the prompt may
// begin anywhere.
//
// What the kernel says meanwhile takes our line's place; a ^P from it asks us to draw
// the line anew below.
//
// Output goes to descriptor 2, as the prompt does.  What is typed ahead stays in
// the kernel: bytes are read one by one, and none beyond the end of the line.
#include "types.h"
#include "fcntl.h"
#include "fs.h"
#include "net.h"
#include "stat.h"
#include "sys.h"
#include "user.h"
#include "edit.h"

#define NHIST   32  // lines remembered
#define NKEPT   512 // of each, with its NUL
#define MAXCOLS 256 // of a screen
#define CTRL(c) ((c) - '@')
#define ESC     27
#define DEL     0x7f

// Keys that come as escape sequences.
enum {
  K_NONE = 256,
  K_UP,
  K_DOWN,
  K_RIGHT,
  K_LEFT,
  K_HOME,
  K_END,
  K_DELETE,
};

// The line at hand.
static char *buf;
static int len, pos, max; // bytes; pos: the cursor
static int refused;       // it is full, and a character was not taken
static const char *prompt;

static char hist[NHIST][NKEPT]; // line k is hist[k % NHIST]
static uint nhist, at;          // lines ever remembered; the one shown, nhist: a new one
static char newest[NKEPT];      // the new one, while older ones are looked at

// The screen: a cell holds the bytes of one character, the first one lowest.
static u32 shown[MAXCOLS], want[MAXCOLS];
static int nshown, cursor; // cells in use; where the terminal's cursor is
static int left, width;    // first column of the line that is shown, and how many can be
static char out[8 * MAXCOLS];
static int nout;

// ---- output ----

static void
put(char c)
{
  out[nout++] = c;
}

static void
put_text(const char *s)
{
  while(*s)
    put(*s++);
}

static void
put_number(int n)
{
  if(n >= 10)
    put_number(n / 10);
  put('0' + n % 10);
}

static void
flush(void)
{
  if(nout > 0)
    write(2, out, nout);
  nout = 0;
}

static void
bell(void)
{
  put('\a');
}

// Is this a byte of a UTF-8 character, but not its first?
static int
inside(char c)
{
  return (c & 0xc0) == 0x80;
}

// Columns of the first n bytes.
static int
columns(int n)
{
  int cols = 0;
  for(int i = 0; i < n; i++)
    cols += i == 0 || !inside(buf[i]);
  return cols;
}

static void
put_cell(u32 cell)
{
  for(; cell; cell >>= 8)
    put(cell & 0xff);
  cursor++;
}

static void
move_to(int col)
{
  int n = col < cursor ? cursor - col : col - cursor;
  if(n > 3) {
    put_text("\033[");
    put_number(n);
    put(col < cursor ? 'D' : 'C');
    cursor = col;
  }
  while(cursor > col) {
    put('\b');
    cursor--;
  }
  while(cursor < col)
    put_cell(shown[cursor]);
}

// Fill want with the part of the line that is to be seen: how many cells.
static int
lay_out(void)
{
  int col = -1;
  for(int i = 0; i < len; i++) {
    char c = buf[i];
    col += i == 0 || !inside(c);
    if(col < left || col >= left + width)
      continue;
    u32 *cell = &want[col - left];
    if(i == 0 || !inside(c))
      *cell = (uchar)c < ' ' || c == DEL ? '?' : (uchar)c;
    else if(*cell < 1u << 24)
      *cell |= (u32)(uchar)c << (*cell < 1u << 8 ? 8 : *cell < 1u << 16 ? 16
                                                                        : 24);
  }
  int n = col + 1 - left;
  if(left > 0)
    want[0] = '<';
  if(n > width)
    want[width - 1] = '>';
  return n < width ? n : width;
}

// Bring the screen up to date.  What moves sideways is drawn as a whole: who waits
// for the echo of a key finds it, also among its like.
static void
draw(void)
{
  int here = columns(pos), old = left;
  if(here - left > width - 2 || here - left < (left > 0))
    left = here > width / 2 ? here - width / 2 : 0;
  int n = lay_out(), first = 0, last = n;
  while(left == old && first < n && first < nshown && want[first] == shown[first])
    first++;
  while(left == old && n == nshown && last > first && want[last - 1] == shown[last - 1])
    last--;
  if(first < last || n < nshown)
    move_to(first);
  while(cursor < last && first < last)
    put_cell(want[cursor]);
  if(n + 1 == nshown)
    put_cell(' ');
  else if(n < nshown)
    put_text("\033[K");
  memmove(shown, want, n * sizeof(want[0]));
  nshown = n;
  move_to(here - left);
  flush();
}

// The prompt and the line again, at the cursor.
static void
start_over(void)
{
  width = (ttyctl(0, TTY_SIZE, 0) & 0xffff) - (int)strlen(prompt) - 1; // the last column makes a terminal wrap
  if(width < 8 || width > MAXCOLS)
    width = width < 8 ? 8 : MAXCOLS;
  put_text(prompt);
  nshown = cursor = 0;
}

// ---- input ----

static int again = -1; // a byte to be read once more, -1 none

// The next byte, -1 when the input is over.
static int
get(void)
{
  uchar c;
  int n = again;
  again = -1;
  if(n >= 0)
    return n;
  while((n = read(0, &c, 1)) == -EAGAIN)
    fcntl(0, F_SETFL, 0); // a program has left it so
  return n == 1 ? c : -1;
}

// The key of an escape sequence's last byte; n: the number in it.
static int
sequence(int c, int n)
{
  static const char letters[] = "ABCDHF", numbers[] = "17483";
  static const ushort by_letter[] = {K_UP, K_DOWN, K_RIGHT, K_LEFT, K_HOME, K_END};
  static const ushort by_number[] = {K_HOME, K_HOME, K_END, K_END, K_DELETE};
  const char *p = strchr(letters, c);
  if(p)
    return by_letter[p - letters];
  p = c == '~' && n < 10 ? strchr(numbers, '0' + n) : 0;
  return p ? by_number[p - numbers] : K_NONE;
}

// The next key, -1 when the input is over.  An ESC that begins no sequence is left
// out, and a sequence ends at a byte that cannot belong to it.
static int
get_key(void)
{
  int c = get();
  while(c == ESC) {
    c = get();
    if(c != '[' && c != 'O')
      continue;
    int n = 0;
    for(c = get(); c >= ' ' && c < '@'; c = get())
      n = c >= '0' && c <= '9' && n < 10 ? n * 10 + c - '0' : 10; // larger ones mean nothing
    if(c >= '@' && c < DEL)
      return sequence(c, n);
  }
  return c;
}

// ---- changes ----

static int
before(int p)
{
  while(p > 0 && inside(buf[--p]))
    ;
  return p;
}

static int
behind(int p)
{
  if(p < len)
    p++;
  while(p < len && inside(buf[p]))
    p++;
  return p;
}

// Take out the bytes from a to b; the cursor goes where they were.
static void
cut(int a, int b)
{
  memmove(buf + a, buf + b, len - b);
  len -= b - a;
  pos = a;
  refused = 0;
}

static void
insert(const char *s, int n)
{
  if(n > max - 1 - len) {
    if(!refused)
      bell();
    refused = 1;
    return;
  }
  memmove(buf + pos + n, buf + pos, len - pos);
  memmove(buf + pos, s, n);
  len += n;
  pos += n;
}

// A character that begins with byte c, when all of it has come: nobody wants to see
// half a one, or to keep it where there is no room for more.
static void
insert_char(int c)
{
  static const uchar sizes[] = {2, 2, 3, 4}; // by the bits below the two highest
  char s[4] = {(char)c};
  int n = 1, whole = c < 0xc0 ? 1 : sizes[c >> 4 & 3];
  while(n < whole && (again = get()) >= 0 && inside((char)again)) {
    s[n++] = (char)again;
    again = -1;
  }
  insert(s, n);
}

static int
word_start(void)
{
  int p = pos;
  while(p > 0 && buf[p - 1] == ' ')
    p--;
  while(p > 0 && buf[p - 1] != ' ')
    p--;
  return p;
}

// ---- history ----

// Show line `which` of the history instead of this one.
static void
recall(uint which)
{
  if(which > nhist || nhist - which > NHIST)
    return;
  buf[len] = 0;
  if(at == nhist && len < NKEPT)
    strcpy(newest, buf);
  at = which;
  strcpy(buf, at == nhist ? newest : hist[at % NHIST]);
  pos = len = strlen(buf);
}

static void
remember(void)
{
  buf[len] = 0;
  if(len == 0 || len >= NKEPT || (nhist > 0 && strcmp(buf, hist[(nhist - 1) % NHIST]) == 0))
    return;
  strcpy(hist[nhist++ % NHIST], buf);
}

// ---- completion ----

// What the names that begin like the word have in common.
static struct {
  char name[DIRSIZ + 2]; // with a / behind a directory's
  int n;                 // how many there are
} found;

static void
note(const char *name)
{
  int same = 0;
  while(name[same] && name[same] == found.name[same])
    same++;
  if(found.n++ == 0)
    strcpy(found.name, name);
  else
    found.name[same] = 0;
}

static int
begins(const char *name, const char *word, int n)
{
  while(n > 0 && *name == *word)
    name++, word++, n--;
  return n == 0;
}

// For each name in dir that begins with the n bytes at word: note it, or list it.
// fresh: only those that are not in the current directory too.
static void
match(const char *dir, const char *word, int n, int fresh, int list)
{
  static char path[NKEPT + 2 * DIRSIZ], *end;
  struct dirent de;
  struct stat st;
  int fd = open(dir, O_RDONLY);
  if(fd < 0)
    return;
  strcpy(path, dir);
  end = path + strlen(path);
  *end++ = '/';
  while(read(fd, &de, sizeof(de)) == sizeof(de)) {
    memset(end, 0, DIRSIZ + 2);
    memmove(end, de.name, DIRSIZ);
    if(de.inum == 0 || !begins(end, word, n) || (n == 0 && *end == '.') || (fresh && stat(end, &st) == 0))
      continue;
    if(stat(path, &st) == 0 && st.type == T_DIR)
      end[strlen(end)] = '/';
    if(list)
      printf(2, "%s  ", end);
    else
      note(end);
  }
  close(fd);
}

// The names that the n bytes at word may become, from dir; those of commands also
// from the root, as sh looks for them.
static void
match_all(const char *dir, const char *word, int n, int command, int list)
{
  struct stat here, root;
  match(dir, word, n, 0, list);
  if(command && stat(".", &here) == 0 && stat("/", &root) == 0 && here.ino != root.ino)
    match("/", word, n, 1, list);
}

static int
is_one_of(char c, const char *set)
{
  return c != 0 && strchr(set, c) != 0;
}

// Tab: the word before the cursor becomes as long as it can; if it cannot grow, the
// names that begin like it are listed.
static void
complete(void)
{
  static char dir[NKEPT];
  int start = pos, name = pos, p;
  while(start > 0 && !is_one_of(buf[start - 1], " <>|&;()'\""))
    start--;
  while(name > start && buf[name - 1] != '/')
    name--;
  for(p = start; p > 0 && buf[p - 1] == ' '; p--)
    ;
  int command = name == start && (p == 0 || is_one_of(buf[p - 1], "|&;(")), n = pos - name;
  if(start == pos || name - start >= NKEPT || n > DIRSIZ)
    return;
  memset(dir, 0, sizeof(dir));
  memmove(dir, buf + start, name - start);
  if(name == start)
    strcpy(dir, ".");
  found.n = 0;
  match_all(dir, buf + name, n, command, 0);
  int more = found.n ? (int)strlen(found.name) - n : 0;
  if(more > 0)
    insert(found.name + n, more);
  if(found.n == 1 && found.name[n + more - 1] != '/')
    insert(" ", 1);
  if(found.n == 0)
    bell();
  if(found.n < 2 || more > 0)
    return;
  move_to(nshown);
  put('\n');
  flush();
  match_all(dir, buf + name, n, command, 1);
  put('\n');
  start_over();
}

// ---- keys ----

static void
clear_screen(void)
{
  put_text("\033[H\033[2J");
  start_over();
}

// Keys that move the cursor, change the line or take one from the history.
static void
do_key(int c)
{
  switch(c) {
  case CTRL('A'):
  case K_HOME:
    pos = 0;
    return;
  case CTRL('E'):
  case K_END:
    pos = len;
    return;
  case CTRL('B'):
  case K_LEFT:
    pos = before(pos);
    return;
  case CTRL('F'):
  case K_RIGHT:
    pos = behind(pos);
    return;
  case CTRL('D'):
  case K_DELETE:
    cut(pos, behind(pos));
    return;
  case CTRL('H'):
  case DEL:
    cut(before(pos), pos);
    return;
  case CTRL('K'):
    cut(pos, len);
    return;
  case CTRL('U'):
    cut(0, pos);
    return;
  case CTRL('W'):
    cut(word_start(), pos);
    return;
  case K_UP:
    recall(at - 1);
    return;
  case CTRL('N'):
  case K_DOWN:
    recall(at + 1);
    return;
  case CTRL('L'):
    clear_screen();
    return;
  case CTRL('P'): // the kernel has written where our line was
    put_text("\r\033[K");
    start_over();
    return;
  case '\t':
    complete();
    return;
  }
  if(c >= ' ' && c < K_NONE)
    insert_char(c);
}

// Keys up to the end of the line: '\n', ^C for a line that is not wanted, -1 at the
// end of the input.
static int
do_keys(void)
{
  for(;;) {
    draw();
    int c = get_key();
    if(c == '\r')
      c = '\n';
    if(c == '\n' || c == CTRL('C'))
      return c;
    if(c < 0 || (c == CTRL('D') && len == 0))
      return -1;
    do_key(c);
  }
}

int
edit_line(const char *ask, char *line, int size)
{
  prompt = ask;
  buf = line;
  max = size;
  len = pos = refused = left = 0;
  at = nhist;
  ttyctl(0, TTY_MODE, TTY_EDIT); // before the prompt: who waits for it may type then
  start_over();
  int end = do_keys();
  if(end == '\n')
    remember();
  move_to(nshown);
  if(end == CTRL('C')) {
    put_text("^C");
    len = 0;
  }
  buf[len] = 0;
  ttyctl(0, TTY_MODE, TTY_COOKED); // before the newline, likewise
  if(end >= 0)
    put('\n');
  flush();
  return end < 0 ? -1 : len;
}
