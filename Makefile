# xv6-nettrace.  `make help` lists the verbs, `make demo` and `make test` need
# nothing but make.  Everything that is built goes under $(B).

# No rules of make's own: one would link a dependency file from an object.
MAKEFLAGS += -rR

B       ?= build
# What DEBUG=1 and NOTRACE=1 change is the kernel alone: its objects and kernel.elf lie here.
K       = $(B)$(if $(DEBUG),/debug)$(if $(NOTRACE),/notrace)
CPUS    ?= 2
LWIP_DIR ?=
# The first tools that make i386 files: the machine's own, or a cross compiler.
ifeq ($(origin TOOLPREFIX),undefined)
TOOLPREFIX := $(shell $(if $(filter command,$(origin CC)),CC='$(CC)') tools/setup/prefix)
endif
# Not an empty one: make setup may install what the next make then finds.
ifneq ($(TOOLPREFIX),)
export TOOLPREFIX
endif
HOSTCC  ?= cc
export B LWIP_DIR DEBUG USERPROGS_EXTRA REF

# ---- what is built -------------------------------------------------------

KOBJS = boot main cpu apboot trapentry trap syscall sysproc proc spinlock sleeplock \
  kalloc vm acpi lapic ioapic clock opts string printf panic rand pci \
  console uart vga kbd \
  bio disk log fs file pipe sysfile exec poll memdev kdebug \
  $(if $(DEBUG),ubsan memcheck lockcheck plant)
TRACEOBJS = trace stop devtrace reader control filter only patch func
NETOBJS = e1000 ethif net sock stream dgram netconf netinfo sysnet watch watch_tcp watch_names chksum
# Where watch.c sees packets and their memory begin and end, and fragments.
WRAP = $(addprefix --wrap=,mem_free memp_free memp_malloc pbuf_alloc pbuf_clone pbuf_alloced_custom ip4_frag ip4_reass \
  $(if $(DEBUG),mem_malloc))
LWIPOBJS = core/def core/dns core/inet_chksum core/init core/ip core/mem core/memp \
  core/netif core/pbuf core/raw core/stats core/tcp core/tcp_in core/tcp_out \
  core/timeouts core/udp core/ipv4/dhcp core/ipv4/etharp core/ipv4/icmp \
  core/ipv4/ip4 core/ipv4/ip4_addr core/ipv4/ip4_frag netif/ethernet

ULIB   = cmd sha256 ulib usys printf umalloc inet net5 ntread edit
UPROGS = arp cat echo fetch free grep host httpd ifconfig init iperf kill ln ls mkdir nc netstat nettop nettrace ping \
  poweroff ps rm sh sleep spin sysfuzz ttcp udpecho uptime wc zombie
UFILES = README index.html rc
# Programs of tests/guest/prog; they are on the disk of the tests alone.
TPROGS = tracecost load serve5 sockets tcp tracecat crash hostile traps badelf limits debug tty polls contract_fs contract_full contract_lib contract_mem contract_proc count filerace netbench oldhttp status nofiles trstress trctl trview netfail trrate

HOSTTOOL = align cable check console decode dump flow growing html html_page html_svg info input label ladder main match merge meta off out \
  pcapin ring session timeline tracefile wait why stats chrome ctf msc doc two two_html two_ladder two_merge graph follow

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
# The guard by its name: by default it is read from %gs:20, which is ours.
# The checks make frames larger.
KDEBUG = -DDEBUG -fsanitize=undefined -fstack-protector-strong -mstack-protector-guard=global -Wframe-larger-than=1024
KFLAGS = $(M32) -mtune=generic $(OPT) -DKERNEL -Ikernel $(if $(NOTRACE),-DNOTRACE) $(WARN) $(MUST) $(if $(DEBUG),$(KDEBUG),-Wframe-larger-than=512)
# Words at any address are what the checksum and lwIP are fast by.
ANYALIGN = $(if $(DEBUG),-fno-sanitize=alignment)
$(K)/kernel/net/chksum.o: KFLAGS += $(ANYALIGN)
# What runs most, and the checks themselves: checked too, a fork costs nearly twice
# as many instructions.
UNCHECKED = $(if $(DEBUG),-fno-sanitize=all)
$(patsubst %,$(K)/kernel/%.o,string ubsan memcheck lockcheck): KFLAGS += $(UNCHECKED)
# trace_begin runs at every event; nothing there can panic, so no backtrace misses the frames.
$(K)/kernel/trace/trace.o: KFLAGS += $(if $(DEBUG),,-fomit-frame-pointer)
# lwIP by -I: gcc -MM leaves out what -isystem finds, and tests/layers reads that.
LWIPSEEN = -Ikernel/net -Ikernel/net/arch/libc -I$(LWIP)/src/include -include kernel/net/lwiptrace.h
LFLAGS = $(KFLAGS) $(LWIPSEEN) $(ANYALIGN)
# A nop at each function's entry, for kernel/trace/func.c; the network path and lwIP
# alone.  Not every compiler can (clang): then there is no function tracer.
FENTRY := $(if $(NOTRACE),,$(shell f='-pg -mfentry -mnop-mcount -mrecord-mcount'; \
  $(CC) -m32 $$f -fno-pic -fno-pie -x c -S /dev/null -o /dev/null 2>/dev/null && echo $$f))
$(NETOBJS:%=$(K)/kernel/net/%.o) $(LWIPOBJS:%=$(K)/lwip/obj/%.o): KFLAGS += $(FENTRY)
# Programs from outside come as they are: -Wall, never an error; ours are checked.
EFLAGS = $(M32) $(OPT) -fno-builtin -Ikernel/uapi -Iuser -Wall
UFLAGS = $(EFLAGS) $(if $(WERROR),$(WARN) $(MUST))
HFLAGS = -std=gnu11 -O2 -g -MMD -MP $(WARN) $(MUST)

.PHONY: all kernel tools
all: $(K)/kernel.elf $(B)/fs.img $(B)/nettrace

# ---- kernel --------------------------------------------------------------

LWIPREADY = $(LWIP)/src/include/lwip/init.h
kobjs = $(KOBJS:%=$(K)/kernel/%.o) $(TRACEOBJS:%=$(K)/kernel/trace/%.o) \
  $(NETOBJS:%=$(K)/kernel/net/%.o) $(LWIPOBJS:%=$(K)/lwip/obj/%.o)

$(LWIPREADY):
	$(Q)tools/setup/lwip

$(K)/kernel/%.o: kernel/%.c
	$(call say,CC,$<)mkdir -p $(@D) && $(CC) $(KFLAGS) -c $< -o $@
$(K)/kernel/%.o: kernel/%.S
	$(call say,AS,$<)mkdir -p $(@D) && $(CC) $(KFLAGS) -c $< -o $@

# Other flags, or another compiler's, and the kernel is made anew.
KMADE = $(CC) $(filter-out -Werror,$(KFLAGS) $(FENTRY) $(LWIPSEEN))
$(kobjs): $(K)/flags
$(K)/flags: look
	$(Q)mkdir -p $(@D); echo '$(KMADE)' | cmp -s - $@ || echo '$(KMADE)' >$@

# Only these may see lwIP (tests/layers).
LWIPUSERS = $(addprefix $(K)/kernel/net/,ethif.o net.o sock.o stream.o dgram.o netconf.o netinfo.o watch.o watch_tcp.o watch_names.o)
$(LWIPUSERS): KFLAGS += $(LWIPSEEN)
$(LWIPUSERS): | $(LWIPREADY)

# lwIP unmodified; lwiptrace.h is included first into each file and only watches.
$(K)/lwip/obj/%.o: kernel/net/lwipopts.h kernel/net/lwiptrace.h | $(LWIPREADY)
	$(call say,CC,lwip/$*.c)mkdir -p $(@D) && \
	  $(CC) $(LFLAGS) -c $(LWIP)/src/$*.c -o $@

# Linked twice: the second time with the table of the first one's symbols, for
# backtraces.  The table lies behind all code, so no function moves.
KLINK = $(LD) -m elf_i386 -z noexecstack -T kernel/kernel.ld $(WRAP)
$(K)/kernel.elf: $(kobjs) kernel/kernel.ld tools/kallsyms
	$(call say,LD,$@)tools/kallsyms >$(K)/kallsyms0.S && $(CC) $(KFLAGS) -c $(K)/kallsyms0.S -o $(K)/kallsyms0.o
	$(Q)$(KLINK) $(kobjs) $(K)/kallsyms0.o -o $(K)/kernel.tmp
	$(Q)tools/kallsyms $(NM) $(K)/kernel.tmp >$(K)/kallsyms.S && $(CC) $(KFLAGS) -c $(K)/kallsyms.S -o $(K)/kallsyms.o
	$(Q)$(KLINK) $(kobjs) $(K)/kallsyms.o -o $@ && rm $(K)/kernel.tmp

# ---- user programs and the disk ------------------------------------------

$(B)/user/%.o: user/%.c
	$(call say,CC,$<)mkdir -p $(@D) && $(CC) $(UFLAGS) -c $< -o $@
$(B)/user/%.o: user/%.S
	$(call say,AS,$<)mkdir -p $(@D) && $(CC) $(UFLAGS) -c $< -o $@
$(B)/user/ulib.a: $(ULIB:%=$(B)/user/%.o)
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $^
# Three folders of programs, linked and stripped alike.
define program
$(1)/%.elf: $(1)/%.o $(B)/user/start.o $(B)/user/ulib.a user/user.ld
	$$(call say,LD,$$@)$$(LD) -m elf_i386 -z noexecstack -T user/user.ld $$(filter %.o,$$^) $$(filter %.a,$$^) -o $$@
$(1)/%.bin: $(1)/%.elf
	$$(Q)$$(OBJCOPY) -S $$< $$@
.PRECIOUS: $(1)/%.o $(1)/%.elf
endef
$(foreach d,user tests/prog extra,$(eval $(call program,$(B)/$(d))))
# Programs of several files.
$(B)/user/nettrace.elf: $(B)/user/nettrace_why.o
$(B)/user/sysfuzz.elf: $(B)/user/fuzz_args.o $(B)/user/fuzz_net.o $(B)/user/fuzz_acts.o
$(B)/user/nettop.elf: $(patsubst %,$(B)/user/nettop_%.o,model path views flow packet event filter inside screen)
$(B)/tests/prog/%.o: tests/guest/prog/%.c
	$(call say,CC,$<)mkdir -p $(@D) && $(CC) $(UFLAGS) -c $< -o $@

# Programs from outside: every *.c in USERPROGS_EXTRA, under names not taken.
EXTRA = $(if $(USERPROGS_EXTRA),$(basename $(notdir $(wildcard $(USERPROGS_EXTRA)/*.c))))
TAKEN = $(filter $(UPROGS) $(TPROGS) $(UFILES) dev,$(EXTRA))
$(if $(TAKEN),$(error USERPROGS_EXTRA=$(USERPROGS_EXTRA): the disk has a file of this name already: $(TAKEN)))
$(if $(USERPROGS_EXTRA),$(if $(EXTRA),,$(error USERPROGS_EXTRA=$(USERPROGS_EXTRA): no *.c there)))
$(B)/extra/%.o: $(USERPROGS_EXTRA)/%.c $(B)/extra/from
	$(call say,CC,$<)mkdir -p $(@D) && $(CC) $(EFLAGS) -c $< -o $@

# These change when a list does: a program that is gone must go from the disk.
.PHONY: look
$(B)/extra/from: look
	$(Q)mkdir -p $(@D); echo '$(USERPROGS_EXTRA)' | cmp -s - $@ || echo '$(USERPROGS_EXTRA)' >$@
$(B)/%.list: look
	$(Q)mkdir -p $(@D); echo '$(DISK_$*)' | cmp -s - $@ || echo '$(DISK_$*)' >$@

DISK_fs    = $(UPROGS:%=$(B)/user/%.bin) $(EXTRA:%=$(B)/extra/%.bin) $(UFILES:%=user/fs/%)
# The disk of the tests: the same and their programs.
DISK_tests = $(DISK_fs) $(TPROGS:%=$(B)/tests/prog/%.bin)
$(B)/fs.img: $(DISK_fs)
$(B)/tests.img: $(DISK_tests)
$(B)/fs.img $(B)/tests.img: $(B)/%.img: $(B)/mkfs $(B)/%.list
	$(call say,MKFS,$@)$(B)/mkfs $@ $(DISK_$*)

# ---- tools of the host ---------------------------------------------------

$(B)/mkfs: tools/mkfs/mkfs.c tools/mkfs/check.c
	$(call say,HOSTCC,$@)mkdir -p $(@D) && $(HOSTCC) $(HFLAGS) -Ikernel/uapi $^ -o $@
$(B)/host/%.o: tools/nettrace/%.c
	$(call say,HOSTCC,$<)mkdir -p $(@D) && $(HOSTCC) $(HFLAGS) -c $< -o $@
$(B)/host/html_page.o $(B)/san/html_page.o: $(wildcard tools/nettrace/page/*)
$(B)/nettrace: $(HOSTTOOL:%=$(B)/host/%.o)
	$(call say,LD,$@)$(HOSTCC) $^ -lpcap -o $@
$(B)/load $(B)/hostgen: $(B)/%: tools/bench/%.c
	$(call say,HOSTCC,$@)mkdir -p $(@D) && $(HOSTCC) $(HFLAGS) $< -o $@
$(B)/live: tools/bench/live.c $(filter-out %/main.o,$(HOSTTOOL:%=$(B)/host/%.o))
	$(call say,HOSTCC,$@)$(HOSTCC) $(HFLAGS) $^ -lpcap -o $@

# ---- verbs ---------------------------------------------------------------

.PHONY: lab hint grade labs-selftest walk walkthrough walkthrough-check walkthrough-update help setup setup-test setup-lint setup-bench demo test test-host test-guest test-wire qemu nettop gdb record replay guest \
  plant bench bench-net bench-trace bench-host doctor fuzz lint lint-flags format loc shape clean
.DEFAULT_GOAL := all
PYTHON ?= /usr/bin/python3
CAPTURE = tools/nettrace/capture -c $(CPUS)
BUILD   = $(MAKE) --no-print-directory -s -j$(shell nproc)

help: ## this list
	@echo 'Use: make VERB [VARIABLE=VALUE]...'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{printf "%-22s%s\n", $$1, $$2}'
	@echo 'Variables: CPUS=1..8  B=DIR  V=1 (show commands)  OPT=-Og  CC=clang  WERROR=1'
	@echo '           DEBUG=1 (the kernel checks itself)  USERPROGS_EXTRA=DIR (its *.c go on the disk)'
	@echo '           LWIP_DIR=DIR  TOOLPREFIX=i686-linux-gnu-  QEMU=PROGRAM  SLOW=2 (patience of tests)'

setup: ## install what make demo needs (says what first)
	@tools/setup/install demo
setup-test: ## install what make test needs
	@tools/setup/install test
setup-lint: ## install what make lint and make shape need
	@tools/setup/install lint
setup-bench: ## install what make bench needs
	@tools/setup/install bench

# The installed compiler may be newer than this make's idea of it: build in a
# make of its own.
demo: setup ## boot, one real HTTP request, the merged timeline (run/latest); D=list: known failures, D=NAME shows one
	@$(if $(D),$(if $(wildcard labs/demos/$(D).patch),$(BUILD) DEBUG= all),$(BUILD) all)
	@$(if $(D),$(PYTHON) labs/demos/demo "$(D)",tools/demo $(CPUS))

# Both kernels: tests of the one boot the other too.
# The one without a tracer is what test_tracecost compares with.
KERNELS = $(BUILD) DEBUG= NOTRACE=1 $(B)/notrace/kernel.elf && $(BUILD) DEBUG= all $(B)/tests.img $(B)/tests/fscheck && $(BUILD) DEBUG=1 $(B)/debug/kernel.elf
test: setup-test setup-lint ## all tests, those that boot the kernel also on the debug kernel
	@$(KERNELS) && $(BUILD) tests
	@$(PYTHON) tests/run
test-host: setup-test setup-lint ## tests of host tools and of kernel code that runs on the host
	@$(BUILD) all tests
	@$(PYTHON) tests/run host
fuzz: setup-test setup-lint ## made-up bytes for the host tool's readers (FUZZ_SECONDS=15 each)
	@FUZZ_SECONDS=$(or $(FUZZ_SECONDS),15) B=$(B) tests/host/fuzz/run
test-guest: setup-test ## tests that boot the kernel (T=WORD: only those that match; DEBUG=1)
	@$(KERNELS)
	@$(PYTHON) tests/run guest $(T)
test-wire: setup-test ## tests of the network with a bad peer or a bad cable (T=WORD SEED= DEBUG=1)
	@$(KERNELS)
	@$(PYTHON) tests/run wire $(T)

qemu: setup ## boot, with a web page on a port of this machine; Ctrl-] leaves
	@$(BUILD) all
	@$(CAPTURE) -t 0 -p 80
nettop: setup ## boot into the live view, with requests coming in (LOAD=0: none)
	@$(BUILD) all
	@tools/nettop-demo $(CPUS) $(LOAD)
gdb: setup-test ## boot stopped, with gdb attached
	@$(BUILD) all
	@tools/gdb/start $(CPUS)
record: setup ## one request to a run that can be repeated (RUN=DIR APPEND=)
	@$(BUILD) all
	@tools/record record
replay: setup ## repeat it, and compare memory, console and capture (RUN=DIR)
	@$(BUILD) all
	@tools/record replay
export CMD
guest: setup ## run CMD='ls; cat README' in the guest's shell
	@[ -n "$$CMD" ] || { echo "make guest: CMD='ls; cat README' is needed" >&2; exit 2; }
	@$(BUILD) all >&2
	@$(CAPTURE) -t $(or $(T),120) -G "$$CMD"
WALK = docs/walkthrough/walk
walk: setup-test ## play a scenario of the walkthrough and show its ladder (S=handshake)
	@$(BUILD) all
	@B=$(B) $(PYTHON) $(WALK) run $(or $(S),handshake)
walkthrough: setup-test ## its chapters as web pages with timelines: build/walkthrough (needs pandoc)
	@$(BUILD) all
	@B=$(B) $(PYTHON) $(WALK) pages $(B)/walkthrough
walkthrough-check: setup-test ## do the walkthrough's listings still hold? Stored runs, and two new ones (CH=04)
	@$(BUILD) all
	@B=$(B) $(PYTHON) $(WALK) check --live $(CH)
walkthrough-update: setup-test ## record its runs anew and rewrite its listings (CH=04)
	@$(BUILD) all
	@B=$(B) $(PYTHON) $(WALK) update --live $(CH)
lab: setup-test ## a lab: your copy of the tree with a fault in it (N=04 ID=name FRESH=1); none named: the list
	@$(if $(N),$(BUILD) all && $(PYTHON) labs/lab start $(N) $(if $(ID),--id "$(ID)") $(if $(FRESH),--fresh),$(PYTHON) labs/lab list)
hint: ## the lab's next hint (N=04)
	@$(PYTHON) labs/lab hint $(N)
grade: setup-test ## build and test your copy of the lab (N=04 JSON=file GRADESCOPE=file)
	@$(BUILD) all
	@$(PYTHON) labs/lab grade $(N) $(if $(JSON),--json "$(JSON)") $(if $(GRADESCOPE),--gradescope "$(GRADESCOPE)")
labs-selftest: setup-test ## do the graders judge known solutions rightly? About an hour for all (N=04)
	@$(BUILD) all
	@$(PYTHON) labs/lab selftest $(N)
plant: setup-test ## plant known faults, see that the tests find them (P=NAME...)
	@$(MAKE) --no-print-directory $(LWIPREADY)
	@$(PYTHON) tests/plant/run $(P)
BENCHED = $(BUILD) DEBUG= NOTRACE= all $(B)/tests.img $(B)/load $(B)/live && $(BUILD) DEBUG= NOTRACE=1 $(B)/notrace/kernel.elf
bench: setup-test setup-bench ## measure everything (never a test): build/bench.json
	@$(BENCHED)
	@$(PYTHON) tools/bench/bench
	@$(PYTHON) tools/bench/trace
	@$(PYTHON) tools/bench/live
	@$(PYTHON) tools/bench/net
	@$(MAKE) --no-print-directory bench-host
bench-net: setup-bench ## the network beside Linux's in the same QEMU (REF=none: alone)
	@$(BENCHED)
	@$(PYTHON) tools/bench/net
bench-trace: setup-test ## what tracing costs, in instructions
	@$(BENCHED)
	@$(PYTHON) tools/bench/trace
	@$(PYTHON) tools/bench/live
bench-host: setup ## how fast the host tool is, and how it grows with the trace
	@$(BUILD) $(B)/nettrace $(B)/hostgen
	@$(PYTHON) tools/bench/host
doctor: ## what this machine has and lacks (JSON=1: for programs)
	@tools/setup/doctor $(if $(JSON),--json)
lint: setup-lint $(LWIPREADY) ## static analysis, format, shell scripts, layers (T=TOOL: that alone)
	@$(PYTHON) tests/lint $(T)
	@$(if $(T),,tests/layers)
lint-flags:
	@printf '%s\n' '$(KFLAGS)' '$(LFLAGS)' '$(UFLAGS)' '$(HFLAGS)' \
	  '$(HFLAGS) -Ikernel/uapi' '$(KOBJS)'
format: ## clang-format over all C files
	clang-format -i $(CFILES)
loc: ## lines of code by folder
	@for d in kernel kernel/uapi kernel/trace kernel/net user tools/nettrace tools/mkfs; do \
	  printf '%-16s%6d\n' $$d $$(cat $$(git ls-files "$$d/*.[chS]" "$$d/*.def" | grep "^$$d/[^/]*$$") | wc -l); done
shape: setup-lint ## how long the functions are
	@ctags --languages=C --kinds-C=f --fields=+ne -o - $(CFILES) | \
	  sed -n 's/.*line:\([0-9]*\).*end:\([0-9]*\).*/\1 \2/p' | awk '{print $$2-$$1+1}' | sort -n | \
	  awk '{a[NR]=$$1} END{print NR " functions, median " a[int((NR+1)/2)] ", p90 " a[int(NR*.9+.5)] ", max " a[NR]}'
clean: ## remove build/ (runs stay)
	rm -rf $(B)

CFILES  = $(shell git ls-files '*.c' '*.h')
SHFILES = $(shell git ls-files tools tests .ci | xargs grep -l '^\#!/bin/sh' 2>/dev/null)

# ---- tests that run on the host ------------------------------------------

# Under the sanitizers.  Each test names the sources it needs beside its own
# file; kernel code comes in by #include, against stand-ins in tests/host/shim.
.PHONY: tests
HOSTTESTS = mkfs fs ring e1000 align sim badinput nettrace nettrace_check nettrace_follow
tests: $(HOSTTESTS:%=$(B)/tests/test_%) $(B)/tests/fscheck
SANITIZE = -std=gnu11 -g -O1 -fsanitize=address,undefined -fno-sanitize-recover -Wall -Wextra -MMD -MP
TOOL_SAN = $(patsubst %,$(B)/san/%.o,$(filter-out main,$(HOSTTOOL)))

$(B)/tests/test_mkfs $(B)/tests/test_fs: TEXTRA = -Ikernel -fno-builtin tools/mkfs/check.c
$(B)/tests/test_ring: TEXTRA = -DKERNEL -Itests/host/shim -Ikernel -pthread
# Descriptors hold 32-bit addresses: without -no-pie our own data lie beyond.
$(B)/tests/test_e1000: TEXTRA = -DKERNEL -Itests/host/shim -Ikernel -fno-pie -no-pie -Wno-int-to-pointer-cast -Wno-pointer-to-int-cast
$(patsubst %,$(B)/tests/test_%,align sim badinput nettrace nettrace_check nettrace_follow): $(TOOL_SAN)
$(B)/tests/test_%: tests/host/test_%.c
	$(call say,TEST,$<)mkdir -p $(@D) && $(HOSTCC) $(SANITIZE) $< $(filter %.o,$^) $(TEXTRA) -o $@ -lcmocka -lpcap
# What the host tool reads, fuzzed: libFuzzer is clang's.  tests/host/fuzz/run builds these.
FUZZCC ?= clang
FUZZFLAGS = -std=gnu11 -g -O2 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -Wall -Wextra -Wno-unused-function -MMD -MP
FUZZOBJS = $(patsubst %,$(B)/fuzz/%.o,common $(filter-out main,$(HOSTTOOL)))
.SECONDARY: $(FUZZOBJS)
$(B)/fuzz/fuzz_%: tests/host/fuzz/%.c $(FUZZOBJS)
	$(call say,FUZZ,$<)$(FUZZCC) $(FUZZFLAGS) -fsanitize=fuzzer $< $(FUZZOBJS) -o $@ -lpcap
$(B)/fuzz/common.o: tests/host/fuzz/common.c
	$(call say,FUZZ,$<)mkdir -p $(@D) && $(FUZZCC) $(FUZZFLAGS) -c $< -o $@
$(B)/fuzz/%.o: tools/nettrace/%.c
	$(call say,FUZZ,$<)mkdir -p $(@D) && $(FUZZCC) $(FUZZFLAGS) -c $< -o $@
# A tool of tests/guest/test_powercut.py; it looks at many thousand disks.
$(B)/tests/fscheck: tests/host/fscheck.c tools/mkfs/check.c
	$(call say,TEST,$@)mkdir -p $(@D) && $(HOSTCC) $(HFLAGS) -Ikernel/uapi $^ -o $@
$(B)/san/%.o: tools/nettrace/%.c
	$(call say,TEST,$<)mkdir -p $(@D) && $(HOSTCC) $(SANITIZE) -c $< -o $@

-include $(shell find $(B) -name '*.d' 2>/dev/null)
