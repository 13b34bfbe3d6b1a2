// Table of contents: one block per file, what others may call in it.
#ifndef DEFS_H
#define DEFS_H

#include "uapi/types.h"

struct buf;
struct context;
struct cpu;
struct file;
struct inode;
struct kcounts;
struct pci_func;
struct pipe;
struct proc;
struct psinfo;
struct sleeplock;
struct sock;
struct spinlock;
struct stat;
struct superblock;
struct trapframe;

#define NELEM(x) (sizeof(x) / sizeof((x)[0]))

// acpi.c
struct acpi {
  u32 lapic, ioapic; // physical addresses, 0 if there is none
  u32 hpet;          // physical address, 0 if there is none
  u16 pm_timer;      // I/O port, 0 if there is none
  u16 pm1a_cnt;      // I/O port of the power button block
  u32 ncpu;          //
  u8 apicid[8];      // NCPU
  u8 irq_gsi[16];    // ISA interrupt -> I/O APIC input
  u8 irq_level[16];  // level triggered
};
extern struct acpi acpi;
void acpi_init(void);

// bio.c
void binit(void);
struct buf *bread(u32 dev, u32 blockno); // locked
void bwrite(struct buf *);               // caller holds its lock
void brelse(struct buf *);               // unlock; do not use it after this
void bpin(struct buf *);                 // keep it in memory
void bunpin(struct buf *);

// clock.c
extern u32 tsc_khz;       // 0 until calibrated
void clock_init(void);    // HPET or PM timer; calibrates TSC and LAPIC against it
void clock_sync(void);    // emit one clock_sync event
u64 now_ns(void);         // since boot, from the TSC
u64 tsc_ns(u64 tsc);      // TSC ticks as nanoseconds
void delay_us(u32);       // busy wait, only while booting
u32 div64(u64 *n, u32 d); // *n /= d, returns the remainder
u32 now_us(void);         // microseconds since boot, from the TSC, modulo 2^32
u32 us_since(u64 tsc);    // microseconds since a TSC reading, at most 2^32 - 1
u32 rtc_seconds(void);    // seconds of the day in the CMOS clock

// console.c
void console_init(void);                                 // output works after this
void console_start(void);                                // input: interrupts and the device node
void console_putc(int c);                                // any context
void console_say(const char *text);                      // cprintf's: beside a line that is being edited
void console_tick(void);                                 // timer: such a line is drawn again
void console_intr(int (*getc)(void), void (*hold)(int)); // interrupt half: eats what getc gives
int console_ctl(int op, int arg);                        // ttyctl; -1: bad op or arg
void console_exit(struct proc *);                        // a process ends: undo its raw mode

// cpu.c
void cpu_init(struct cpu *, u32 id); // GDT, TSS, %gs of the CPU we run on
void cpu_start_others(void);         // INIT-SIPI-SIPI
int cpu_kick_idle(void);             // wake one idle CPU; 0 if there is none
void cpu_forget_pgdir(pde_t *);      // no CPU keeps this page directory in CR3
void cpu_drop_pgdir(void);           // this CPU: back to kpgdir if no process here needs more

// disk.c
void disk_init(void);       // finds the root disk: RAM disk or IDE
void disk_intr(void);       //
void disk_rw(struct buf *); // dirty: write, else read; caller holds b->lock
void disk_flush(void);      // until what was written would survive a power cut
u32 disk_blocks(void);      // size of the root disk in blocks, 0 unknown

// exec.c
int exec(char *path, char **argv); // both in kernel memory; -1: the caller is as before

// file.c
void fileinit(void);
struct file *filealloc(void);
struct file *filedup(struct file *);
void fileclose(struct file *);
int fileread(struct file *, char *dst, int n);
int filewrite(struct file *, const char *src, int n);
int filestat(struct file *, struct stat *);
int filepoll(struct file *); // POLL... bits that hold now
void file_counts(u32 *files, u32 *pipe_ends);

// fs.c
void fs_init(void); // mounts: superblock, log recovery, orphans
struct inode *dirlookup(struct inode *dp, const char *name, u32 *off);
int dirlink(struct inode *dp, const char *name, u32 inum);
struct inode *ialloc(u32 dev, short type);
struct inode *idup(struct inode *);
void ilock(struct inode *);
void iput(struct inode *);
void iunlock(struct inode *);
void iunlockput(struct inode *);
void iupdate(struct inode *);
struct inode *namei(const char *path);
struct inode *nameiparent(const char *path, char *name);
int readi(struct inode *, char *dst, u32 off, u32 n);
int writei(struct inode *, const char *src, u32 off, u32 n);
void itrunc(struct inode *);
void stati(struct inode *, struct stat *);
void fs_counts(struct kcounts *);

// ioapic.c
void ioapic_init(void);
void ioapic_enable(int irq, u32 apicid); // ISA interrupt number as in PCI config

// kalloc.c
void kalloc_init(void);  // takes all RAM behind bootmem's end
u8 *bootmem(u32 npages); // contiguous, never freed; before kalloc_init only
char *kalloc(void);      // a page, 0 when there is none
void kfree(char *);      //
u32 kfree_pages(void);   // how many are free
u32 kalloc_total(void);  // how many there are

// lapic.c
void lapic_init(void);         // this CPU's, timer at 100 Hz
void lapic_count_start(void);  // calibration: let the timer run ...
void lapic_count_stop(u32 us); // ... for us microseconds
void lapic_eoi(void);
u32 lapic_id(void);
void lapic_ipi(u32 apicid, u32 vector);
void lapic_startap(u32 apicid, u32 pa);

// log.c
int log_init(u32 dev, const struct superblock *); // recovers; -1: it makes no sense
void begin_op(void);
void end_op(void);
void log_write(struct buf *);

// main.c, memory of the machine
extern char _kernel_start[], _text_end[], _rodata_end[], _kernel_end[]; // kernel.ld
struct bootinfo {
  char cmdline[1024];
  u32 mod_start, mod_end; // RAM disk, physical; 0, 0: none
  u32 ram_end;            // physical, at most PHYSTOP
};
extern struct bootinfo bootinfo;
extern u64 entry_tsc; // when kmain began

// memdev.c
void memdev_init(void); // /dev/null, /dev/zero

// net/e1000.c, net/net.c, net/sock.c: all that the rest may know of the network
void e1000_init(void);
void net_init(void); // lwIP, netd
void e1000_intr(u32 irq);
int sock_read(struct sock *, char *dst, int n, int flags);
int sock_write(struct sock *, const char *src, int n, int flags);
void sock_close(struct sock *);
int sock_poll(struct sock *);
void net_counts(struct kcounts *);

// opts.c: the command line, name=value words
void opts_init(void);                    // names unknown options, once
const char *opt_str(const char *name);   // value, 0 if not given; the last one wins
int opt_num(const char *name, u32 *val); // 1 and *val if it is given and a number

// panic.c
void panic(const char *, ...) __attribute__((noreturn, format(printf, 1, 2)));
void panic_tell(void (*)(void), const char *, ...) __attribute__((noreturn, format(printf, 2, 3)));
void panic_trap(struct trapframe *, const char *why) __attribute__((noreturn));
void panic_check(void);                // another CPU has panicked: stop here
const char *symname(u32 pc, u32 *off); // "?" if it is no kernel text
const char *symbol(u32 i, u32 *addr);  // the i-th function of the kernel, by address; 0: no more
extern volatile u32 panicked;
#define BACKTRACE 12
void backtrace_take(u32 *pcs); // of the caller: BACKTRACE words
void backtrace_print(const u32 *pcs);
void machine_off(u32 code) __attribute__((noreturn)); // QEMU ends with (code << 1) | 1

// pci.c
void pci_each(int (*fn)(const struct pci_func *, void *), void *arg); // until fn returns non-zero
u32 pci_read(const struct pci_func *, u32 off);                       // 32 bits, off a multiple of 4
void pci_write(const struct pci_func *, u32 off, u32 val);
u32 pci_barsize(const struct pci_func *, int n); // decoding is off meanwhile

// pipe.c
int pipealloc(struct file **, struct file **);
void pipeclose(struct pipe *, int writable);
int piperead(struct file *, char *dst, int n);
int pipewrite(struct file *, const char *src, int n);
int pipepoll(struct file *);

// poll.c
void poll_wake(const void *what); // it may have become ready; not from an emit
void poll_init(void);

// printf.c: %d %u %x %p %s %c %%, with l(ong long), width and 0
void cprintf(const char *, ...) __attribute__((format(printf, 1, 2)));
int ksnprintf(char *, int n, const char *, ...) __attribute__((format(printf, 3, 4)));
int kvsnprintf(char *, int n, const char *, __builtin_va_list);

// proc.c
void proc_init(void);
void user_init(void);
void scheduler(void) __attribute__((noreturn));
void sched(void);
void yield(void);
void exit_status(int) __attribute__((noreturn));
int fork(void);
int wait_status(int pid, int *status, int flags); // pid -1 any; WNOHANG
int kill(int pid);
int kill_tree(int pid); // and its descendants
int growproc(int n);
struct proc *kthread(const char *name, void (*fn)(void *), void *arg);
void sleep(void *chan, struct spinlock *);
int sleep_why(void *chan, struct spinlock *, u64 ns, u8 why); // why: SLEEPWHY of the trace
int sleep_until(void *chan, struct spinlock *, u64 ns);       // absolute; 0 woken, 1 time over, -1 killed
void wakeup(void *chan);
void proc_tick(u64 now);         // wakes what has slept until now
void proc_caught(struct proc *); // a tick found it running
void proc_dump(void);            // ^P
int proc_info(char *, int max);  // how many there are
void proc_name(int pid, char name[16]);
void proc_snap(void);     // one proc event per process
u64 cpu_idle_ns(u32 cpu); // had nothing to run, since boot

// rand.c
u32 rand32(void);
u32 rand_hash(const u32 *words, int n); // with a key that is fresh each boot

// sleeplock.c
void initsleeplock(struct sleeplock *, const char *name);
void acquiresleep(struct sleeplock *);
void releasesleep(struct sleeplock *);
int holdingsleep(struct sleeplock *);
int waitsleep(struct sleeplock *, void *chan, u64 ns, u8 why); // give it up while asleep; as sleep_until

// spinlock.c
void initlock(struct spinlock *, const char *name);
void acquire(struct spinlock *);
void release(struct spinlock *);
int holding(struct spinlock *);
void pushcli(void);
void popcli(void);

// string.c
void *memset(void *, int, u32);
void *memmove(void *, const void *, u32);
void *memcpy(void *, const void *, u32);
int memcmp(const void *, const void *, u32);
u32 strlen(const char *);
int strcmp(const char *, const char *);
int strncmp(const char *, const char *, u32);
char *strncpy(char *, const char *, int);
char *safestrcpy(char *, const char *, int); // always ends in NUL
char *strchr(const char *, int);

// trapentry.S
void swtch(struct context **old, struct context *new);

// syscall.c: arguments of the current process
void syscall(struct trapframe *);
int argint(int n, int *);
int argptr(int n, char **, int size, int writable); // -1 unless all of it is the process's
int argstr(int n, char **);                         // NUL-terminated, inside the process
int fetchint(u32 addr, int *);
int fetchstr(u32 addr, char **);

// sysfile.c
int argfd(int n, int *fd, struct file **); // -1: no such descriptor
int fdalloc(struct file *);                // lowest free descriptor, or -1

// trap.c
void idt_init(void);
void idt_load(void);       // on each CPU
extern volatile u32 ticks; // 10 ms each
extern struct spinlock tickslock;
u32 uptime_ticks(void);

// uart.c, vga.c, kbd.c
void uart_init(void);
void uart_start(void); // interrupts on
void uart_putc(int);
void uart_intr(void);
void vga_init(void);
void vga_putc(int);
void kbd_init(void);
void kbd_intr(void);

// vm.c
extern pde_t *kpgdir;
void kvm_init(void);                                 // the kernel's half, shared by all page directories
void kvm_load(void);                                 // CR3 = kpgdir
pde_t *uvm_create(void);                             // an empty user half, 0 without memory
int uvm_alloc(pde_t *, u32 from, u32 to, u32 flags); // zeroed pages; 0, or -1 and nothing added
void uvm_dealloc(pde_t *, u32 from, u32 to);
pde_t *uvm_copy(pde_t *);                            // 0 without memory
void uvm_free(pde_t *);                              // no CPU may have it in CR3
char *uvm_page(pde_t *, u32 va, u32 need);           // kernel address of a user page that has all PTE bits of need, else 0
int uvm_write(pde_t *, u32 va, const void *, u32 n); // into another address space; -1 if not all present
void switch_uvm(struct proc *);                      // CR3 = its page directory, on this CPU
char *kstack_of(int slot);                           // bottom of kernel stack number slot

#endif
