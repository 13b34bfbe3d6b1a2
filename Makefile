# xv6-nettrace.  `make help` lists the verbs, `make demo` and `make test` need
# nothing but make.  Everything that is built goes under $(B).

B       ?= build
CPUS    ?= 2
LWIP_DIR ?=
TOOLPREFIX ?=
HOSTCC  ?= cc
export B LWIP_DIR TOOLPREFIX

# ---- what is built -------------------------------------------------------

KOBJS = boot main cpu apboot trapentry trap syscall sysproc proc spinlock sleeplock \
  kalloc vm acpi lapic ioapic clock opts string printf panic rand pci \
  console uart vga kbd \
  bio disk log fs file pipe sysfile exec poll memdev
TRACEOBJS = trace devtrace
NETOBJS = e1000 ethif net sock sysnet watch
LWIPOBJS = core/def core/dns core/inet_chksum core/init core/ip core/mem core/memp \
  core/netif core/pbuf core/raw core/stats core/tcp core/tcp_in core/tcp_out \
  core/timeouts core/udp core/ipv4/dhcp core/ipv4/etharp core/ipv4/icmp \
  core/ipv4/ip4 core/ipv4/ip4_addr core/ipv4/ip4_frag netif/ethernet

ULIB   = ulib usys printf umalloc inet net5 ntread
UPROGS = cat echo grep httpd init kill ln ls mkdir nettop poweroff rm sh spin wc zombie
UFILES = README index.html rc

NETTRACE = main

# ---- tools and flags -----------------------------------------------------

CC      = $(TOOLPREFIX)gcc
LD      = $(TOOLPREFIX)ld
NM      = $(TOOLPREFIX)nm
OBJCOPY = $(TOOLPREFIX)objcopy
LWIP    = $(if $(LWIP_DIR),$(LWIP_DIR),$(B)/lwip/lwip-2.2.1)
Q       = $(if $(V),,@)
say     = $(if $(V),,@printf '  %-8s%s\n' $(1) $(2);)

WARN = -Wall -Wextra -Wmissing-prototypes -Wstrict-prototypes -Wshadow -Wvla -Wundef \
  -Wwrite-strings $(if $(WERROR),-Werror)
MUST = -Werror=implicit-function-declaration -Werror=incompatible-pointer-types \
  -Werror=int-conversion -Werror=return-type
# No libc, no libgcc: -nostdinc leaves the compiler's own stdarg.h and friends.
# -fno-strict-aliasing: lwIP and page tables look at memory as two types.
# -fno-omit-frame-pointer: the panic's backtrace walks frames.
M32 = -m32 -march=i686 -std=gnu11 -ffreestanding -nostdinc \
  -isystem $(shell $(CC) -print-file-name=include 2>/dev/null) \
  -fno-pic -fno-pie -fno-strict-aliasing -fno-omit-frame-pointer -fno-stack-protector \
  -fno-asynchronous-unwind-tables -g3 -MMD -MP
OPT ?= -O2
KFLAGS = $(M32) $(OPT) -DKERNEL -Ikernel $(WARN) $(MUST) -Wframe-larger-than=512
# lwIP by -I: gcc -MM leaves out what -isystem finds, and tests/layers reads that.
LFLAGS = $(KFLAGS) -Ikernel/net -Ikernel/net/arch/libc -I$(LWIP)/src/include
UFLAGS = $(M32) $(OPT) -fno-builtin -Ikernel/uapi -Iuser $(WARN) $(MUST)
HFLAGS = -std=gnu11 -O2 -g -MMD -MP -Ikernel/uapi $(WARN) $(MUST)

.PHONY: all kernel tools
all: $(B)/kernel.elf $(B)/fs.img $(B)/nettrace

# ---- kernel --------------------------------------------------------------

LWIPREADY = $(LWIP)/src/include/lwip/init.h
kobjs = $(KOBJS:%=$(B)/kernel/%.o) $(TRACEOBJS:%=$(B)/kernel/trace/%.o) \
  $(NETOBJS:%=$(B)/kernel/net/%.o) $(LWIPOBJS:%=$(B)/lwip/obj/%.o)

$(LWIPREADY):
	$(Q)tools/setup/lwip

$(B)/kernel/%.o: kernel/%.c
	$(call say,CC,$<)mkdir -p $(@D) && $(CC) $(KFLAGS) -c $< -o $@
$(B)/kernel/%.o: kernel/%.S
	$(call say,AS,$<)mkdir -p $(@D) && $(CC) $(KFLAGS) -c $< -o $@

# Only these may see lwIP (tests/layers).
LWIPUSERS = $(addprefix $(B)/kernel/net/,ethif.o net.o sock.o watch.o)
$(LWIPUSERS): KFLAGS += -Ikernel/net -Ikernel/net/arch/libc -I$(LWIP)/src/include
$(LWIPUSERS): | $(LWIPREADY)

# lwIP unmodified; lwiptrace.h is included first into each file and only watches.
$(B)/lwip/obj/%.o: kernel/net/lwipopts.h kernel/net/lwiptrace.h | $(LWIPREADY)
	$(call say,CC,lwip/$*.c)mkdir -p $(@D) && \
	  $(CC) $(LFLAGS) -include kernel/net/lwiptrace.h -c $(LWIP)/src/$*.c -o $@

# Linked twice: the second time with the table of the first one's symbols, for
# backtraces.  The table lies behind all code, so no function moves.
KLINK = $(LD) -m elf_i386 -z noexecstack -T kernel/kernel.ld $(WRAP)
$(B)/kernel.elf: $(kobjs) kernel/kernel.ld tools/kallsyms
	$(call say,LD,$@)tools/kallsyms >$(B)/kallsyms0.S && $(CC) $(KFLAGS) -c $(B)/kallsyms0.S -o $(B)/kallsyms0.o
	$(Q)$(KLINK) $(kobjs) $(B)/kallsyms0.o -o $(B)/kernel.tmp
	$(Q)tools/kallsyms $(NM) $(B)/kernel.tmp >$(B)/kallsyms.S && $(CC) $(KFLAGS) -c $(B)/kallsyms.S -o $(B)/kallsyms.o
	$(Q)$(KLINK) $(kobjs) $(B)/kallsyms.o -o $@ && rm $(B)/kernel.tmp

# ---- user programs and the disk ------------------------------------------

$(B)/user/%.o: user/%.c
	$(call say,CC,$<)mkdir -p $(@D) && $(CC) $(UFLAGS) -c $< -o $@
$(B)/user/%.o: user/%.S
	$(call say,AS,$<)mkdir -p $(@D) && $(CC) $(UFLAGS) -c $< -o $@
$(B)/user/ulib.a: $(ULIB:%=$(B)/user/%.o)
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $^
$(B)/user/%.elf: $(B)/user/start.o $(B)/user/%.o $(B)/user/ulib.a user/user.ld
	$(call say,LD,$@)$(LD) -m elf_i386 -z noexecstack -T user/user.ld $(filter %.o %.a,$^) -o $@
$(B)/user/%.bin: $(B)/user/%.elf
	$(Q)$(OBJCOPY) -S $< $@
.PRECIOUS: $(B)/user/%.o $(B)/user/%.elf

$(B)/fs.img: $(B)/mkfs $(UPROGS:%=$(B)/user/%.bin) $(UFILES:%=user/fs/%)
	$(call say,MKFS,$@)$(B)/mkfs $@ $(filter-out $(B)/mkfs,$^)

# ---- tools of the host ---------------------------------------------------

$(B)/mkfs: tools/mkfs/mkfs.c tools/mkfs/check.c
	$(call say,HOSTCC,$@)mkdir -p $(@D) && $(HOSTCC) $(HFLAGS) -Itools/mkfs $^ -o $@
$(B)/host/%.o: tools/nettrace/%.c
	$(call say,HOSTCC,$<)mkdir -p $(@D) && $(HOSTCC) $(HFLAGS) -c $< -o $@
$(B)/nettrace: $(NETTRACE:%=$(B)/host/%.o)
	$(call say,LD,$@)$(HOSTCC) $^ -lpcap -o $@

-include $(shell find $(B) -name '*.d' 2>/dev/null)
