// Serial port COM1, a 16550 with its FIFO on.
#include "defs.h"
#include "proc.h"
#include "uapi/traps.h"
#include "x86.h"

#define COM1 0x3f8

#define DATA 0 // receive, transmit; divisor low
#define IER  1 // interrupt enable; divisor high
#define FCR  2 // FIFO control
#define LCR  3 // line control
#define MCR  4 // modem control
#define LSR  5 // line status
#define SCR  7 // scratch

#define LSR_RX   0x01 // a byte was received
#define LSR_THRE 0x20 // the transmit FIFO is empty
#define FIFO     16   // bytes it takes then

static int present;
static int room; // bytes the FIFO takes before LSR must be read again

void
uart_init(void)
{
  outb(COM1 + SCR, 0x5a);
  if(inb(COM1 + SCR) != 0x5a)
    return; // no such port
  present = 1;
  outb(COM1 + IER, 0);
  outb(COM1 + LCR, 0x80); // divisor follows
  outb(COM1 + DATA, 1);   // 115200 baud
  outb(COM1 + IER, 0);
  outb(COM1 + LCR, 0x03); // 8 data bits, no parity
  outb(COM1 + FCR, 0xc7); // FIFO on and empty; interrupt at 14 bytes, or after a pause
  outb(COM1 + MCR, 0x0b); // DTR, RTS, interrupt line
}

void
uart_start(void)
{
  if(!present)
    return;
  inb(COM1 + DATA);
  outb(COM1 + IER, 0x01); // when data is there
  ioapic_enable(IRQ_COM1, cpus[0].apicid);
}

// Context: any; the caller keeps others away (or it is a panic).
void
uart_putc(int c)
{
  if(!present)
    return;
  if(room == 0) {
    // Bounded: a card that is never ready must not stop the kernel.
    for(int i = 0; i < 100000 && !(inb(COM1 + LSR) & LSR_THRE); i++)
      pause();
    room = FIFO;
  }
  room--;
  outb(COM1 + DATA, (u8)c);
}

static int
getc(void)
{
  return inb(COM1 + LSR) & LSR_RX ? inb(COM1 + DATA) : -1;
}

// The FIFO keeps 16 bytes; the sender, who sees RTS fall, the rest.
static void
hold(int on)
{
  outb(COM1 + MCR, on ? 0x09 : 0x0b);
  outb(COM1 + IER, on ? 0 : 0x01);
}

void
uart_intr(void)
{
  if(present)
    console_intr(getc, hold);
}
