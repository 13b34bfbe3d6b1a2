// The console: output to serial port and screen, input from serial port and
// keyboard, as lines (cooked) or bytes (raw).
//
// Cooked: echo; a read returns one line at most.  ^H and DEL erase, ^U kills
// the line, ^D ends the file, ^C kills the foreground job, ^P lists processes.
// Raw: bytes as they come, no echo, no special key.  The process that set raw
// mode owns it: when it ends, however it ends, the old mode is back.
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

#define INPUT   1024
#define CTRL(c) ((c) - '@')
#define DEL     0x7f

// Input: a ring with free-running indices, reduced when used.
static struct {
  struct spinlock lock;
  char buf[INPUT];
  u32 r;        // next byte to read
  u32 w;        // end of the bytes a reader may take
  u32 e;        // end of the line being edited
  u32 overflow; // bytes that found it full
  int raw;
  struct proc *raw_owner;
  int fg;   // pid that ^C kills, 0 none
  int size; // rows << 16 | cols
} cons;

static struct sleeplock cons_out; // a write comes out in one piece
static int use_serial = 1, use_vga;

void
console_init(void)
{
  const char *which = opt_str("console");
  initlock(&cons.lock, "console");
  cons.lock.why = SLEEPWHY_CONSOLE;
  initsleeplock(&cons_out, "console output");
  cons.size = 24 << 16 | 80;
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

// ---- input ---------------------------------------------------------------

static void
rub_out(void)
{
  cons.e--;
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
  poll_wake();
}

static void
store(int c)
{
  if(cons.e - cons.r >= INPUT) {
    cons.overflow++;
    return;
  }
  cons.buf[cons.e++ % INPUT] = (char)c;
  if(!cons.raw && c != CTRL('D'))
    console_putc(c);
  if(cons.raw || c == '\n' || c == CTRL('D') || cons.e - cons.r == INPUT)
    hand_over();
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

// Returns 1 if c was a key with a meaning.  ^P is left to the caller: it
// prints, and must not hold the lock.
static int
special(int c)
{
  switch(c) {
  case CTRL('H'):
  case DEL:
    if(cons.e != cons.w)
      rub_out();
    return 1;
  case CTRL('U'):
    while(cons.e != cons.w)
      rub_out();
    return 1;
  case CTRL('C'):
    kill_foreground();
    return 1;
  }
  return 0;
}

// getc: the next byte, 0 for none that counts, -1 when there are no more.
// Context: interrupt.
void
console_intr(int (*getc)(void))
{
  int c, dump = 0;
  acquire(&cons.lock);
  while((c = getc()) >= 0) {
    if(c == 0)
      continue;
    if(cons.raw) {
      store(c);
      continue;
    }
    if(c == CTRL('P'))
      dump = 1;
    else if(!special(c))
      store(c == '\r' ? '\n' : c);
  }
  u32 lost = cons.overflow;
  release(&cons.lock);
  if(dump) {
    proc_dump();
    cprintf("console: %u bytes of input lost\n", lost);
  }
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
    if(!cons.raw && c == CTRL('D')) {
      cons.r += i == 0; // after text it stays: the next read finds the end
      break;
    }
    cons.r++;
    dst[i++] = c;
    if(!cons.raw && c == '\n')
      break;
  }
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

// Caller holds cons.lock.  What is being edited becomes readable as it stands.
static void
set_raw(int raw, struct proc *owner)
{
  cons.raw = raw;
  cons.raw_owner = raw ? owner : 0;
  if(raw && cons.w != cons.e)
    hand_over();
}

// ttyctl.  Context: thread.
int
console_ctl(int op, int arg)
{
  int old = -1;
  acquire(&cons.lock);
  switch(op) {
  case TTY_MODE:
    if(arg == 0 || arg == 1) {
      old = cons.raw;
      set_raw(arg, myproc());
    }
    break;
  case TTY_FG:
    if(arg >= 0) {
      old = cons.fg;
      cons.fg = arg;
    }
    break;
  case TTY_SIZE:
    if(arg >= 0) {
      if(arg > 0)
        cons.size = arg;
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
  if(cons.raw_owner == p)
    set_raw(0, 0);
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
