# wftrace: see `make help`. Every product goes to build/.
MAKEFLAGS += --no-builtin-rules # else the folder user/workflow/packs would be made of packs.c, when that is newer
B        := build
Q        := $(if $(V),,@)
say       = $(if $(V),,@printf '  %-6s %s\n' $(1) $(2))
CC       ?= gcc
CLANG    ?= $(firstword $(shell command -v clang-14 clang-19 clang 2>/dev/null) clang)
BPFTOOL  ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)
ARCH     ?= x86
PKGS     := libbpf libprotobuf-c libcurl yaml-0.1 zlib libelf libbrotlidec libzstd libpcre2-8 sqlite3 libcrypto
PKGS     += jansson libmicrohttpd gnutls
VERSION  := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
WARN     := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter -Werror
OPT      ?= -O2 -g
CFLAGS   := -std=gnu17 $(OPT) $(WARN) -D_GNU_SOURCE -DWF_VERSION='"$(VERSION)"' -MMD -MP -Iuser -Iinclude -I. -I$(B)/gen $(shell pkg-config --cflags $(PKGS) 2>/dev/null) $(SAN)
LDFLAGS  := $(SAN)
LIBS      = $(shell pkg-config --libs $(PKGS)) -liberty -lm -lpthread

FOLDERS  := base config probe ingest stream protocol workflow trace pipeline export store self cli inproc
SRC      := $(foreach d,$(FOLDERS),$(wildcard user/$(d)/*.c))
OBJ      := $(SRC:user/%.c=$(B)/obj/%.o)
BPF_SRC  := $(wildcard bpf/*.bpf.c)
BPF_OBJ  := $(BPF_SRC:bpf/%.bpf.c=$(B)/bpf/%.bpf.o)
SKEL     := $(BPF_SRC:bpf/%.bpf.c=$(B)/gen/%.skel.h)
PROTO    := $(wildcard proto/*.proto)
PROTO_C  := $(PROTO:proto/%.proto=$(B)/gen/%.pb-c.c)
PROTO_O  := $(PROTO_C:$(B)/gen/%.c=$(B)/obj/gen/%.o)
PACKS    := $(wildcard user/workflow/packs/*.yaml)

all: $(B)/wftrace ## build build/wftrace

$(B)/wftrace: $(OBJ) $(PROTO_O) $(B)/obj/main.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(B)/obj/%.o: user/%.c | $(PROTO_C) $(SKEL)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CFLAGS) -c -o $@ $<
# The packs, as they are, in the binary: packs.def has a line for each, user/workflow/packs.c takes the files in.
$(B)/gen/packs.def: $(PACKS) $(wildcard user/workflow/packs)
	@mkdir -p $(@D)
	$(Q)printf 'PACK(%s)\n' $(basename $(notdir $(PACKS))) > $@.tmp && { cmp -s $@.tmp $@ && touch $@ || mv $@.tmp $@; }
$(B)/obj/workflow/packs.o: $(B)/gen/packs.def $(PACKS)
$(B)/obj/gen/%.o: $(B)/gen/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -Wno-error -c -o $@ $<
$(B)/gen/%.pb-c.c: proto/%.proto
	@mkdir -p $(@D)
	$(Q)protoc-c --proto_path=proto --c_out=$(B)/gen $<
$(B)/bpf/%.bpf.o: bpf/%.bpf.c $(wildcard bpf/*.h) $(wildcard vmlinux/*.h)
	@mkdir -p $(@D)
	$(call say,BPF,$<)
	$(Q)$(CLANG) -g -O2 -mcpu=v2 -target bpf -D__TARGET_ARCH_$(ARCH) -Wall -Wno-unused-function -Ivmlinux -Ibpf -I. -c -o $@ $<
$(B)/gen/%.skel.h: $(B)/bpf/%.bpf.o
	@mkdir -p $(@D)
	$(Q)$(BPFTOOL) gen skeleton $< name $*_bpf > $@.tmp && mv $@.tmp $@

$(B)/obj/protocol/llm_price.o: user/protocol/prices.yaml

# A unit test names the folders it links in its first lines: «/* needs: base trace */» (also: gen, for the protobuf code).
unit_needs = $(shell sed -n 's/.*needs:\([a-z ]*\).*/\1/p' tests/unit/$(1).c | head -1)
unit_objs  = $(foreach d,$(call unit_needs,$(1)),$(if $(filter gen,$(d)),$(PROTO_O),$(patsubst user/%.c,$(B)/obj/%.o,$(wildcard user/$(d)/*.c))))
.SECONDEXPANSION:
$(B)/tests/unit/%: tests/unit/%.c $$(call unit_objs,$$*)
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(CFLAGS) -o $@ $< $(filter %.o %.a,$^) $(LDFLAGS) -lcmocka $(LIBS)

UNIT     := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(wildcard tests/unit/test_*.c))
unit: $(UNIT) ## unit tests
	@n=0; fail=0; for t in $(UNIT); do n=$$((n + 1)); $$t >$$t.log 2>&1 || { fail=$$((fail + 1)); cat $$t.log; echo "FAILED $$t"; }; done; \
	echo "$$((n - fail)) passed, $$fail failed"; [ $$fail = 0 ]

check: deps ## every test: unit, wire, replay, live BPF, end to end (CI_VM="suite …", CI_ARM="suite …" add guests)
	@python3 tests/support/check.py --build $(B) $(foreach v,$(CI_VM),--vm $(v)) $(foreach v,$(CI_ARM),--arm64 $(v))

demo: ## a small order service, traced: the live tree in under a minute
	@scripts/deps.sh demo
	@$(MAKE) --no-print-directory all
	@demo/run.sh

# No -Werror: with sanitizers gcc warns of null pointers and unset variables that are none.
SAN_ASAN := SAN="-fsanitize=address,undefined -fno-omit-frame-pointer -Wno-error"
SAN_TSAN := SAN="-fsanitize=thread -Wno-error"
san: ## unit tests and golden replays under ASan and UBSan
	@$(MAKE) --no-print-directory san-unit
	@$(MAKE) --no-print-directory san-replay
san-unit:
	@UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 $(MAKE) --no-print-directory B=$(B)/san $(SAN_ASAN) unit
san-replay:
	@UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 WFTRACE=$(abspath $(B))/san/wftrace \
	    $(MAKE) --no-print-directory B=$(B)/san $(SAN_ASAN) check-replay
tsan: ## unit tests under the thread sanitizer
	@$(MAKE) --no-print-directory B=$(B)/tsan $(SAN_TSAN) unit
# Memory ceilings are not asked for then: the sanitizers' own memory is many times ours.
FAULTS ?= export/(faults|grpc-faults|partial|token|retry|comes-back|traces-only|proxy|spool|outage|test-connection)
san-faults: ## end to end, receivers that misbehave (FAULTS=PATTERN picks others), under ASan and UBSan and then under TSan
	@$(MAKE) --no-print-directory B=$(B)/san $(SAN_ASAN) all
	@$(MAKE) --no-print-directory B=$(B)/tsan $(SAN_TSAN) all
	@for s in san tsan; do rm -f $(B)/$$s/report.*; \
	    ASAN_OPTIONS=log_path=$(abspath $(B))/$$s/report UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1:log_path=$(abspath $(B))/$$s/report \
	    TSAN_OPTIONS=log_path=$(abspath $(B))/$$s/report WF_SANITIZED=1 WFTRACE=$(abspath $(B))/$$s/wftrace \
	    python3 tests/e2e/run.py -k '$(FAULTS)' || failed=1; \
	    for r in $(B)/$$s/report.*; do [ ! -e $$r ] || { failed=1; head -60 $$r; }; done; done; exit $${failed:-0}
golden: ## write the golden files anew (then read the diff)
	$(MAKE) $(B)/tests/unit/test_wire && WF_GOLDEN=write $(B)/tests/unit/test_wire
	$(MAKE) check-replay UPDATE=1
fmt: ## clang-format over all C
	clang-format -i $(shell git ls-files '*.c' '*.h')

clean: ## remove build/
	rm -rf $(B)

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

-include scripts/*.mk tests/*/*.mk
# What `check` runs, built beforehand by the account that called it. Unit tests after the objects: each calls make for its own.
check-built: all
	+@$(MAKE) --no-print-directory $(UNIT) $(B)/tests/bpf/dump $(FUZZ_BUILT)

-include $(shell find $(B)/obj $(B)/tests -name '*.d' 2>/dev/null)
.PHONY: all san san-unit san-replay tsan san-faults golden fmt unit check demo clean help
.SECONDARY:
