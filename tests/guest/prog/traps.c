// traps: each way a program can make the CPU refuse, or try to leave it in a
// state that hurts the next one.
//
//   traps         each case in a child of its own.  Prints `case NAME TRAP`, where
//                 the kernel must say `trap TRAP` and end the child; -: it lives
//   traps clean   started by exec from a process with odd flags and segments:
//                 are they ours?
//
// For tests/guest/test_hostile.py, which compares the kernel's lines with ours.
#include "types.h"
#include "fcntl.h"
#include "memlayout.h"
#include "sys.h"
#include "syscall.h"
#include "user.h"

#define LIVES (-1)
#define FL_TF "0x100"
#define FL_DF "0x400"
#define FL_NT "0x4000"

// Set bits of the flags.
#define FLAGS(bits) "pushfl; orl $" bits ", (%%esp); popfl; "
// getpid by hand: no memory but the stack is used.
#define GETPID      "movl $11, %%eax; int $64; "
// As long as three ticks of a slow machine, in registers alone.
#define SPIN        "movl $20000000, %%ecx; 1: decl %%ecx; jnz 1b; "
#define EXIT        "movl $48, %%eax; pushl $0; pushl $0; int $64; "

// name, the trap it ends with, what it does.  Whoever gets to the end is alive.
#define CASES \
  CASE(divide, 0, "xorl %%ecx, %%ecx; divl %%ecx") \
  CASE(divide_overflow, 0, "movl $0x80000000, %%eax; cltd; movl $-1, %%ecx; idivl %%ecx") \
  CASE(int3_short, 13, ".byte 0xcc") \
  CASE(into_overflow, 13, "movb $127, %%al; addb $1, %%al; into") \
  CASE(bound_range, 5, "pushl $1; pushl $0; movl $2, %%eax; .byte 0x62, 0x04, 0x24") \
  CASE(illegal, 6, "ud2") \
  CASE(x87, 7, "fld1") \
  CASE(x87_init, 7, "fninit") \
  CASE(mmx, 6, "movd %%eax, %%mm0") \
  CASE(sse, 6, "xorps %%xmm0, %%xmm0") \
  CASE(in, 13, "movl $0x1f7, %%edx; inb %%dx, %%al") \
  CASE(out, 13, "movl $0xf4, %%edx; outl %%eax, %%dx") \
  CASE(out_string, 13, "movl $0x3f8, %%edx; movl $1, %%ecx; rep outsb") \
  CASE(interrupts_off, 13, "cli") \
  CASE(interrupts_on, 13, "sti") \
  CASE(halt, 13, "hlt") \
  CASE(load_gdt, 13, "lgdt (%%esp)") \
  CASE(load_idt, 13, "lidt (%%esp)") \
  CASE(load_task, 13, "movw $0x30, %%ax; ltr %%ax") \
  CASE(load_ldt, 13, "xorl %%eax, %%eax; lldt %%ax") \
  CASE(read_cr0, 13, "movl %%cr0, %%eax") \
  CASE(write_cr3, 13, "xorl %%eax, %%eax; movl %%eax, %%cr3") \
  CASE(write_dr7, 13, "xorl %%eax, %%eax; movl %%eax, %%db7") \
  CASE(status_word, 13, "xorl %%eax, %%eax; lmsw %%ax") \
  CASE(clear_task, 13, "clts") \
  CASE(flush_page, 13, "invlpg (%%esp)") \
  CASE(flush_caches, 13, "wbinvd") \
  CASE(read_msr, 13, "movl $0x1b, %%ecx; rdmsr") \
  CASE(write_msr, 13, "movl $0x174, %%ecx; wrmsr") \
  CASE(sysenter_none, 13, "sysenter") \
  CASE(far_call_kernel, 13, "lcall $0x08, $0x80100000") \
  CASE(far_jump_kernel, 13, "ljmp $0x08, $0x80100000") \
  CASE(far_call_task, 13, "lcall $0x30, $0") \
  CASE(far_jump_fault_task, 13, "ljmp $0x38, $0") \
  CASE(far_call_nowhere, 13, "lcall $0xfff8, $0") \
  CASE(far_call_null, 13, "lcall $0, $0") \
  CASE(iret_to_kernel, 13, "pushfl; pushl $0x08; pushl $0x80100000; iretl") \
  CASE(ds_kernel, 13, "movl $0x10, %%eax; movl %%eax, %%ds") \
  CASE(es_kernel, 13, "movl $0x13, %%eax; movl %%eax, %%es") \
  CASE(gs_cpu, 13, "movl $0x2b, %%eax; movl %%eax, %%gs") \
  CASE(ds_local, 13, "movl $0x0f, %%eax; movl %%eax, %%ds") \
  CASE(ds_beyond, 13, "movl $0xfffb, %%eax; movl %%eax, %%ds") \
  CASE(ss_null, 13, "xorl %%eax, %%eax; movl %%eax, %%ss") \
  CASE(ss_code, 13, "movl $0x1b, %%eax; movl %%eax, %%ss") \
  CASE(call_null, 14, "xorl %%eax, %%eax; call *%%eax") \
  CASE(call_kernel, 14, "movl $0x80100000, %%eax; call *%%eax") \
  CASE(call_last_byte, 14, "movl $0xffffffff, %%eax; call *%%eax") \
  CASE(read_null, 14, "movl 0, %%eax") \
  CASE(read_kernel, 14, "movl 0x80100000, %%eax") \
  CASE(write_kernel, 14, "movl %%eax, 0x80100000") \
  CASE(read_kernel_stack, 14, "movl 0xf8002000, %%eax") \
  CASE(write_device, 14, "movl %%eax, 0xfee000b0") \
  CASE(write_own_text, 14, "movl %%eax, 0x1000") \
  CASE(stack_overflow, 14, "1: pushl %%eax; jmp 1b") \
  CASE(stack_in_kernel, 14, "movl $0x80200000, %%esp; pushl %%eax") \
  CASE(stack_at_null, 14, "xorl %%esp, %%esp; pushl %%eax") \
  CASE(single_step, 1, FLAGS(FL_TF) "nop") \
  CASE(single_step_call, 1, "movl $11, %%eax; " FLAGS(FL_TF) "int $64; nop; nop") \
  CASE(single_step_stack, 1, "movl $11, %%eax; movl %%ss, %%ecx; " FLAGS(FL_TF) "movl %%ecx, %%ss; int $64; nop; nop") \
  CASE(nested_iret, 10, FLAGS(FL_NT) "iretl") \
  CASE(iopl, 13, FLAGS("0x3000") "cli") \
  CASE(nested_call, LIVES, FLAGS(FL_NT) GETPID SPIN GETPID EXIT) \
  CASE(flag_interrupt, LIVES, "pushfl; andl $~0x200, (%%esp); popfl; " GETPID SPIN GETPID EXIT) \
  CASE(flag_alignment, LIVES, FLAGS("0x40000") "movl 1(%%esp), %%eax; " GETPID GETPID EXIT) \
  CASE(flag_direction, LIVES, FLAGS(FL_DF) GETPID SPIN GETPID EXIT) \
  CASE(flag_vm86, LIVES, FLAGS("0x1a0000") GETPID EXIT) \
  CASE(segments_null, LIVES, "xorl %%eax, %%eax; movl %%eax, %%ds; movl %%eax, %%es; " \
                             "movl %%eax, %%fs; movl %%eax, %%gs; " GETPID SPIN GETPID EXIT) \
  CASE(segments_code, LIVES, "movl $0x1b, %%eax; movl %%eax, %%ds; movl %%eax, %%es; " \
                             "movl %%eax, %%fs; movl %%eax, %%gs; " GETPID SPIN GETPID EXIT)

#define CASE(name, trap, code) \
  static void name(void) \
  { \
    asm volatile(code \
                 : \
                 : \
                 : "memory"); \
    exits(99); \
  }
CASES
#undef CASE

static const struct {
  const char *name;
  int trap;
  void (*fn)(void);
} cases[] = {
#define CASE(name, trap, code) {#name, trap, name},
  CASES
#undef CASE
};

static int wrong;

static void
must(int good, const char *name, const char *what, int got)
{
  if(good)
    return;
  wrong++;
  printf(1, "WRONG: %s: %s %d\n", name, what, got);
}

// Run fn in a child: it is killed by a trap, or lives with status 0.
static void
run(const char *name, int trap, void (*fn)(void))
{
  int status = 99;

  if(trap == LIVES)
    printf(1, "case %s -\n", name);
  else
    printf(1, "case %s %d\n", name, trap);
  int pid = fork();
  if(pid == 0) {
    fn();
    exits(99);
  }
  must(waitpid(pid, &status, 0) == pid && status == (trap == LIVES ? 0 : -1), name, "status", status);
}

static uchar code[3]; // pages of data can be executed

static void
run_code(void)
{
  ((void (*)(void))(void *)code)();
}

// Each interrupt number but the system calls' is the kernel's.
static void
all_interrupts(void)
{
  for(int n = 0; n < 256; n++) {
    code[0] = 0xcd, code[1] = (uchar)n, code[2] = 0xc3;
    if(n != 64)
      run("int", 13, run_code);
  }
}

// A system call changes %eax alone.
static void
registers(void)
{
  uint r[6] = {1, 2, 3, 4, 5, 6}, flags = 0;

  asm volatile("pushal; pushfl; movl %0, %%edi\n"
               "movl $11, %%eax; movl $0x1111, %%ebx; movl $0x2222, %%ecx; movl $0x3333, %%edx\n"
               "movl $0x4444, %%esi; movl $0x5555, %%ebp; int $64\n"
               "movl %%ebx, (%%edi); movl %%ecx, 4(%%edi); movl %%edx, 8(%%edi)\n"
               "movl %%esi, 12(%%edi); movl %%ebp, 16(%%edi); popfl; popal"
               :
               : "r"(r)
               : "memory", "cc");
  asm volatile("pushfl; popl %0"
               : "=r"(flags));
  for(uint i = 0; i < 5; i++)
    must(r[i] == 0x1111 * (i + 1), "registers", "after a call", (int)r[i]);
  must((flags & 0x400) == 0, "flags", "direction", (int)flags);
}

// exec from a process whose flags and segments are odd, by hand: from here on
// nothing of ours can be trusted.
static void
exec_dirty(void)
{
  static char path[] = "/traps", clean[] = "clean", *argv[] = {path, clean, 0};
  static uint args[] = {0, (uint)path, (uint)argv};

  asm volatile("pushfl; orl $0x44400, (%%esp); popfl; movl %0, %%esp; movl $7, %%eax; movl $0x1b, %%ecx\n"
               "movl %%ecx, %%ds; movl %%ecx, %%es; movl %%ecx, %%fs; movl %%ecx, %%gs; int $64"
               :
               : "r"(args)
               : "memory", "eax", "ecx");
}

static int
is_clean(void)
{
  uint flags, ds, es, fs, gs, ss;

  asm volatile("pushfl; popl %0; movl %%ds, %1; movl %%es, %2; movl %%fs, %3"
               : "=r"(flags), "=r"(ds), "=r"(es), "=r"(fs));
  asm volatile("movl %%gs, %0; movl %%ss, %1"
               : "=r"(gs), "=r"(ss));
  return (flags & 0x44500) == 0 && ds == ss && es == ss && fs == 0 && gs == 0;
}

int
main(int argc, char **argv)
{
  if(argc > 1 && strcmp(argv[1], "clean") == 0)
    return is_clean() ? 0 : 98;
  for(uint i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
    run(cases[i].name, cases[i].trap, cases[i].fn);
  all_interrupts();
  registers();
  run("exec_dirty", LIVES, exec_dirty);
  printf(1, "%d wrong\n", wrong);
  exits(wrong > 0);
}
