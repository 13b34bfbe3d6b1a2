// The console: output to serial port and screen, input from serial port and
// keyboard, as lines (cooked) or bytes (raw).
//
// Cooked: echo; a read returns one line at most.  ^H and DEL erase, ^U kills
// the line, ^D ends the file, ^C kills the foreground job, ^P lists processes.
// Raw: bytes as they come, no echo, no special key.  Edit: raw for a line editor,
// but ^P still lists processes, and comes to the editor too, to draw its line again.
// What else the kernel has to say there takes the place of that line in the same way.
// The process that leaves cooked mode owns the new one: when it ends, however it
// ends, cooked mode is back, and what nobody has read goes through the keys' meanings.
// A size is the terminal's again when the process that set it ends.
//
// In raw and edit mode a full buffer loses nothing: the serial port keeps its bytes,
// and so the sender waits, until somebody reads.  In cooked mode it goes on taking
// bytes: ^C may be among them.
//
// cons.lock guards input and modes.  cons_out keeps a program's write together,
// cprintf's lock a line of the kernel's.
#include "defs.h"
#include "file.h"
#include "proc.h"
#include "trace/trace.h"
#include "uapi/fcntl.h"
#include "uapi/net.h"
#include "uapi/sys.h"
#include "x86.h"

#define INPUT    1024
#define CTRL(c)  ((c) - '@')
#define DEL      0x7f
#define TERMINAL (24 << 16 | 80) // its size: none can be asked

// Input: a ring with free-running indices, reduced when used.
static struct {
  struct spinlock lock;
  char buf[INPUT];
  u32 r;              // next byte to read
  u32 w;              // end of the bytes a reader may take
  u32 e;              // end of the line being edited
  u32 overflow;       // bytes that found it full
  void (*held)(int);  // the source that keeps its bytes meanwhile, 0 none
  int mode;           // TTY_COOKED, TTY_RAW, TTY_EDIT
  struct proc *owner; // who left cooked mode, 0 in it
  int fg;             // pid that ^C kills, 0 none
  int size;           // rows << 16 | cols
  struct proc *sizer; // who set it, 0: it is the terminal's
} cons;

// What the kernel says over a line that is being edited.  Of cprintf's lock.
static int covered; // the line must be drawn again
static int midline; // but not yet: ours is not complete

static struct sleeplock cons_out; // a write comes out in one piece
static int use_serial = 1, use_vga;

void
console_init(void)
{
  const char *which = opt_str("console");
  initlock(&cons.lock, "console");
  cons.lock.why = SLEEPWHY_CONSOLE;
  initsleeplock(&cons_out, "console output");
  cons.size = TERMINAL;
  use_serial = which == 0 || strcmp(which, "vga") != 0;
  use_vga = which == 0 || strcmp(which, "serial") != 0;
}

void
console_putc(int c)
{
  static struct spinlock lock = {.name = "putc"}; // the port and the screen are shared
  int free = panicked != 0;                       // who panics prints, whoever held it
  if(!free)
    acquire(&lock);
  if(use_serial && c == '\n')
    uart_putc('\r');
  if(use_serial)
    uart_putc(c);
  if(use_vga)
    vga_putc(c);
  if(!free)
    release(&lock);
}

static void
putstr(const char *s)
{
  while(*s)
    console_putc(*s++);
}

// For cprintf: text in one piece, on a line of its own if one is being edited.
// Any context.
void
console_say(const char *text)
{
  if(cons.mode == TTY_EDIT && !covered && !panicked) {
    putstr("\r\033[K");
    covered = 1;
  }
  putstr(text);
  if(*text)
    midline = text[strlen(text) - 1] != '\n';
}

// ---- input ---------------------------------------------------------------

static void
rub_out(int echo)
{
  cons.e--;
  if(!echo)
    return;
  console_putc('\b');
  console_putc(' ');
  console_putc('\b');
}

// The reader may have all that was typed.
static void
hand_over(void)
{
  cons.w = cons.e;
  wakeup(&cons.r);
  poll_wake(&devsw[CONSOLE_MAJOR]);
}

// Keep a byte; 0 if the buffer is full.
static int
store(int c)
{
  if(cons.e - cons.r >= INPUT) {
    cons.overflow++;
    return 0;
  }
  cons.buf[cons.e++ % INPUT] = (char)c;
  return 1;
}

static void
kill_foreground(void)
{
  console_putc('^');
  console_putc('C');
  console_putc('\n');
  cons.e = cons.w; // the line is gone in any case
  if(cons.fg)
    kill_tree(cons.fg);
}

// Cooked mode: what a byte does to the line.  No echo: it was typed in another
// mode and found no reader; then ^C ends no job, since it was not meant for this one.
static void
cook(int c, int echo)
{
  switch(c) {
  case 0:
  case CTRL('P'):
    return;
  case CTRL('H'):
  case DEL:
    if(cons.e != cons.w)
      rub_out(echo);
    return;
  case CTRL('U'):
    while(cons.e != cons.w)
      rub_out(echo);
    return;
  case CTRL('C'):
    if(echo)
      kill_foreground();
    cons.e = cons.w;
    return;
  }
  if(c == '\r')
    c = '\n';
  if(!store(c))
    return;
  if(echo && c != CTRL('D'))
    console_putc(c);
  if(c == '\n' || c == CTRL('D') || cons.e - cons.r == INPUT)
    hand_over();
}

// ^P.  Without the lock: it prints much.
static void
dump(void)
{
  u32 lost = cons.overflow;
  int edit = cons.mode == TTY_EDIT;
  release(&cons.lock);
  if(!edit)
    cprintf("\n");
  proc_dump();
  cprintf("console: %u bytes of input lost\n", lost);
  acquire(&cons.lock);
}

// Has the source to keep its bytes?
static int
must_wait(void)
{
  return cons.mode != TTY_COOKED && cons.e - cons.r >= INPUT;
}

// There may be room again.
static void
let_go(void)
{
  if(cons.held == 0 || must_wait())
    return;
  cons.held(0);
  cons.held = 0;
}

// getc: the next byte, -1 when there are no more.  hold(1): keep what comes from now
// on, hold(0): interrupt for it; 0: the source cannot, and what finds no room is lost.
// Context: interrupt; hold is called with cons.lock held.
void
console_intr(int (*getc)(void), void (*hold)(int))
{
  int c, dumped = 0;
  acquire(&cons.lock);
  while(!(hold && must_wait()) && (c = getc()) >= 0) {
    if(c == CTRL('P') && cons.mode != TTY_RAW && !dumped++) {
      dump();
      covered = 0; // this ^P tells the editor
    }
    if(cons.mode == TTY_COOKED)
      cook(c, 1);
    else if(store(c))
      hand_over();
  }
  if(hold && must_wait()) {
    hold(1);
    cons.held = hold;
  }
  release(&cons.lock);
}

// The editor draws its line again if the kernel has written over it.  Not at once, who
// calls cprintf may hold any lock.  Context: timer interrupt.
void
console_tick(void)
{
  if(!covered || midline)
    return;
  acquire(&cons.lock);
  if(cons.mode != TTY_EDIT)
    covered = 0;
  else if(cons.e - cons.r < INPUT) { // no room: later
    covered = 0;
    store(CTRL('P'));
    hand_over();
  }
  release(&cons.lock);
}

// Wait until there is something to read.  0, -1 killed, -EAGAIN.
static int
wait_input(int nonblock)
{
  while(cons.r == cons.w) {
    if(nonblock)
      return -EAGAIN;
    if(sleep_until(&cons.r, &cons.lock, ~0ull) < 0)
      return -1;
  }
  return 0;
}

static int
take(char *dst, int n)
{
  int i = 0;
  while(i < n && cons.r != cons.w) {
    char c = cons.buf[cons.r % INPUT];
    if(cons.mode == TTY_COOKED && c == CTRL('D')) {
      cons.r += i == 0; // after text it stays: the next read finds the end
      break;
    }
    cons.r++;
    dst[i++] = c;
    if(cons.mode == TTY_COOKED && c == '\n')
      break;
  }
  let_go();
  return i;
}

static int
console_read(struct file *f, char *dst, int n)
{
  acquire(&cons.lock);
  int got = n > 0 ? wait_input(f->flags & O_NONBLOCK) : 0;
  if(got == 0)
    got = take(dst, n);
  release(&cons.lock);
  return got;
}

static int
console_write(struct file *f, const char *src, int n)
{
  (void)f;
  acquiresleep(&cons_out);
  for(int i = 0; i < n; i++)
    console_putc(src[i] & 0xff);
  releasesleep(&cons_out);
  return n;
}

static int
console_poll(struct file *f)
{
  (void)f;
  acquire(&cons.lock);
  int bits = POLLOUT | (cons.r != cons.w ? POLLIN : 0);
  release(&cons.lock);
  return bits;
}

// ---- modes ---------------------------------------------------------------

// Caller holds cons.lock.  Away from cooked mode, what is being edited becomes
// readable as it stands; back to it, what is unread becomes lines.
static void
set_mode(int mode, struct proc *owner)
{
  int old = cons.mode;
  cons.mode = mode;
  cons.owner = mode == TTY_COOKED ? 0 : owner;
  if(old == TTY_COOKED && cons.w != cons.e)
    hand_over();
  if(old == TTY_COOKED || mode != TTY_COOKED)
    return;
  u32 i = cons.r, end = cons.e;
  cons.w = cons.e = cons.r;
  while(i != end) // never overtaken: each byte leaves at most one
    cook(cons.buf[i++ % INPUT] & 0xff, 0);
  let_go();
}

// ttyctl.  Context: thread.
int
console_ctl(int op, int arg)
{
  int old = -1;
  acquire(&cons.lock);
  switch(op) {
  case TTY_MODE:
    if(arg == TTY_COOKED || arg == TTY_RAW || arg == TTY_EDIT) {
      old = cons.mode;
      set_mode(arg, myproc());
    }
    break;
  case TTY_FG:
    if(arg >= 0) {
      old = cons.fg;
      cons.fg = arg;
      myproc()->shell = 1;
    }
    break;
  case TTY_SIZE:
    if(arg >= 0) {
      if(arg > 0) {
        cons.size = arg;
        cons.sizer = myproc();
      }
      old = cons.size;
    }
    break;
  }
  release(&cons.lock);
  return old;
}

void
console_exit(struct proc *p)
{
  acquire(&cons.lock);
  if(cons.owner == p)
    set_mode(TTY_COOKED, 0);
  if(cons.sizer == p) {
    cons.size = TERMINAL;
    cons.sizer = 0;
  }
  if(cons.fg == p->pid)
    cons.fg = 0;
  release(&cons.lock);
}

void
console_start(void)
{
  devsw[CONSOLE_MAJOR] = (struct dev){.read = console_read, .write = console_write, .poll = console_poll};
  uart_start();
  kbd_init();
}
