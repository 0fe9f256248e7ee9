# arm64, cross-compiled into build/arm64 from a sysroot of Debian's own packages, and run in a guest (tests/vm/armrun).
ARM64        := build/arm64
ARM64_ROOT   := $(CURDIR)/$(ARM64)/sysroot
ARM64_LIB    := $(ARM64_ROOT)/usr/lib/aarch64-linux-gnu
# The compiler's own libc headers, found first, may be older than the sysroot's.
ARM64_CC     := aarch64-linux-gnu-gcc --sysroot=$(ARM64_ROOT) -isystem $(ARM64_ROOT)/usr/include/aarch64-linux-gnu -isystem $(ARM64_ROOT)/usr/include
ARM64_SUITES ?= bookworm trixie
ARM64_CASES  ?= exit_code tcp unix tls_python executor
ARM64_TIME   ?= 300
ARM64_MAKE    = PKG_CONFIG_LIBDIR=$(ARM64_LIB)/pkgconfig:$(ARM64_ROOT)/usr/share/pkgconfig PKG_CONFIG_SYSROOT_DIR=$(ARM64_ROOT) \
                $(MAKE) B=$(ARM64) ARCH=arm64 CC='$(ARM64_CC)'

arm64: $(ARM64)/sysroot.stamp ## cross-compile for arm64 into build/arm64
	$(ARM64_MAKE) $(ARM64)/wftrace $(ARM64)/tests/bpf/dump

$(ARM64)/sysroot.stamp: scripts/arm64_sysroot.sh
	@mkdir -p $(@D)
	$(call say,APT,$(ARM64)/sysroot)
	$(Q)scripts/arm64_sysroot.sh $(ARM64_ROOT)
	@touch $@

# What the guest finds in /work.
$(ARM64)/work: arm64 tests/bpf/live.py tests/vm/guest_arm64.py tests/targets/native_c.c tests/targets/rules/native_c.yaml
	@mkdir -p $@
	$(Q)$(ARM64_CC) -O1 -pthread -o $@/native_c tests/targets/native_c.c
	$(Q)cp $(ARM64)/wftrace $(ARM64)/tests/bpf/dump $(filter %.py %.yaml,$^) $@/

check-arm64: $(ARM64)/work ## live tests in arm64 guests with Debian's 6.1 and 6.12 kernels (QEMU)
	@passed=0; failed=0; for k in $(ARM64_SUITES); do echo "== $$k"; \
	  tests/vm/armrun -t $(ARM64_TIME) $$k -- python3 guest_arm64.py $(ARM64_CASES) >$(ARM64)/$$k.log 2>&1; rc=$$?; cat $(ARM64)/$$k.log; \
	  set -- $$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed.*/\1 \2/p' $(ARM64)/$$k.log | tail -1); \
	  passed=$$((passed + $${1:-0})); [ $$rc = 0 ] || [ "$${2:-0}" != 0 ] || set -- 0 1; failed=$$((failed + $${2:-0})); \
	done; echo "$$passed passed, $$failed failed, 0 skipped"; [ $$failed = 0 ]

.PHONY: arm64 check-arm64 $(ARM64)/work
