# arm64, cross-compiled into build/arm64 from a sysroot of Debian's own packages, and run in a guest (tests/vm/armrun).
ARM64        := build/arm64
ARM64_ROOT   := $(CURDIR)/$(ARM64)/sysroot
ARM64_LIB    := $(ARM64_ROOT)/usr/lib/aarch64-linux-gnu
# The compiler's own libc headers, found first, may be older than the sysroot's.
ARM64_CC     := aarch64-linux-gnu-gcc --sysroot=$(ARM64_ROOT) -isystem $(ARM64_ROOT)/usr/include/aarch64-linux-gnu -isystem $(ARM64_ROOT)/usr/include
ARM64_SUITES ?= bookworm trixie
ARM64_MAKE    = PKG_CONFIG_LIBDIR=$(ARM64_LIB)/pkgconfig:$(ARM64_ROOT)/usr/share/pkgconfig PKG_CONFIG_SYSROOT_DIR=$(ARM64_ROOT) \
                $(MAKE) B=$(ARM64) ARCH=arm64 CC='$(ARM64_CC)'

arm64: $(ARM64)/sysroot.stamp ## cross-compile for arm64 into build/arm64
	$(ARM64_MAKE) $(ARM64)/wftrace $(ARM64)/tests/bpf/dump

$(ARM64)/sysroot.stamp: scripts/arm64_sysroot.sh
	@mkdir -p $(@D)
	$(call say,APT,$(ARM64)/sysroot)
	$(Q)scripts/arm64_sysroot.sh $(ARM64_ROOT)
	@touch $@

.PHONY: arm64
