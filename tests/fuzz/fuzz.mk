# fuzz: every target for FUZZ_SECONDS under libFuzzer with ASan and UBSan. fuzz-replay: the corpora through a plain main, and
# allocations that fail. fuzz-merge: what build/fuzz/corpus found, minimised, into the tree.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS := http1 llm resp postgres sql stream ring wfcap rules elf logs config spec
FUZZ_CFLAGS  := -std=gnu17 -O1 -g -D_GNU_SOURCE -DWF_VERSION='"fuzz"' -Iuser -Iinclude -I. -w -fno-sanitize-recover=all -MMD -MP
FUZZ_FLAGS   := -max_len=8192 -timeout=10 -print_final_stats=1 -artifact_prefix=$(B)/fuzz/

# What each target links, beside user/base and user/self.
fuzz_of       = $(patsubst user/%.c,%,$(foreach d,$(1),$(wildcard user/$(d)/*.c)))
FUZZ_WIRE    := ingest/decode $(call fuzz_of,trace protocol stream)
FUZZ_http1   := $(FUZZ_WIRE)
FUZZ_llm     := $(FUZZ_WIRE)
FUZZ_resp    := $(FUZZ_WIRE)
FUZZ_postgres := $(FUZZ_WIRE)
FUZZ_sql     := $(FUZZ_WIRE)
FUZZ_stream  := $(FUZZ_WIRE)
FUZZ_ring    := ingest/decode
FUZZ_logs    := pipeline/logs_line pipeline/logs_json ingest/decode $(call fuzz_of,trace protocol stream)
FUZZ_wfcap   := ingest/decode ingest/wfcap
FUZZ_rules   := ingest/decode $(call fuzz_of,config trace protocol stream)
FUZZ_config  := $(FUZZ_rules)
FUZZ_spec    := $(call fuzz_of,trace protocol stream) ingest/decode $(addprefix export/,spec options group secret) \
    $(patsubst user/%.c,%,$(wildcard user/export/serve*.c user/export/prometheus*.c))
FUZZ_elf     := $(addprefix probe/,elf elf_symbol insn place symbols usdt demangle maps tls_sites py_sites cxx_sites)
FUZZ_alloc   := $(FUZZ_rules)
FUZZ_TARGETS += redact
FUZZ_redact  := $(addprefix pipeline/,redact_scan redact_find redact_pair redact_key)
fuzz_objs     = $(patsubst %,$(B)/fuzz/$(1)/%.o,$(call fuzz_of,base self) $(FUZZ_$(2)))
FUZZ_LIBS    := -ljansson -lyaml -lz -lbrotlidec -lzstd -liberty -lmicrohttpd -lgnutls -lm -lpthread
FUZZ_WRAP    := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup,--wrap=strndup

$(B)/fuzz/libfuzzer/%.o: user/%.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CLANG) $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link,address,undefined -c -o $@ $<
$(B)/fuzz/plain/%.o: user/%.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(FUZZ_CFLAGS) -fsanitize=address,undefined -c -o $@ $<
$(B)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $$(call fuzz_objs,libfuzzer,$$*)
	$(call say,FUZZ,$@)
	$(Q)$(CLANG) $(FUZZ_CFLAGS) -fsanitize=fuzzer,address,undefined -o $@ $(filter %.c %.o,$^) $(FUZZ_LIBS)
$(B)/fuzz/replay_%: tests/fuzz/fuzz_%.c tests/fuzz/fuzz_replay.c $$(call fuzz_objs,plain,$$*)
	$(call say,REPLAY,$@)
	$(Q)$(CC) $(FUZZ_CFLAGS) -fsanitize=address,undefined -o $@ $(filter %.c %.o,$^) $(FUZZ_LIBS)
# libyaml from its archive, so that --wrap reaches its allocations too.
$(B)/fuzz/alloc: tests/fuzz/alloc.c $$(call fuzz_objs,plain,alloc) tests/wire/wire.c tests/fuzz/fuzz_stream.c
	$(call say,TEST,$@)
	$(Q)$(CC) $(FUZZ_CFLAGS) -fsanitize=address,undefined $(FUZZ_WRAP) -o $@ $< $(filter %.o,$^) $(FUZZ_LIBS:-lyaml=-l:libyaml.a)

# The same for the way out: everything of export/ and what it links.
ALLOC_EXPORT := $(patsubst user/%.c,$(B)/fuzz/plain/%.o,$(foreach d,base self store export,$(wildcard user/$(d)/*.c)) \
    $(addprefix user/trace/,span.c attr.c signal.c resource.c plugin_host.c))
$(ALLOC_EXPORT): | $(PROTO_C)
$(ALLOC_EXPORT): FUZZ_CFLAGS += -I$(B)/gen
$(B)/fuzz/alloc_export: tests/fuzz/alloc_export.c $(ALLOC_EXPORT) $(PROTO_O)
	$(call say,TEST,$@)
	$(Q)$(CC) $(FUZZ_CFLAGS) -I$(B)/gen -fsanitize=address,undefined $(FUZZ_WRAP) -o $@ $< $(filter %.o,$^) $(LIBS)
# And for what stands between: pipeline, store, configuration. SQLite's allocations fail too.
ALLOC_STAGES := $(ALLOC_EXPORT) $(patsubst user/%.c,$(B)/fuzz/plain/%.o,$(foreach d,trace pipeline config stream protocol,$(wildcard user/$(d)/*.c)) user/ingest/decode.c)
$(B)/fuzz/alloc_stages: tests/fuzz/alloc_stages.c $(sort $(ALLOC_STAGES)) $(PROTO_O)
	$(call say,TEST,$@)
	$(Q)$(CC) $(FUZZ_CFLAGS) -I$(B)/gen -fsanitize=address,undefined $(FUZZ_WRAP) -o $@ $< $(filter %.o,$^) \
	    $(patsubst -lyaml,-l:libyaml.a,$(patsubst -lsqlite3,-l:libsqlite3.a,$(LIBS)))

fuzz: $(FUZZ_TARGETS:%=$(B)/fuzz/fuzz_%) ## fuzz the parsers, FUZZ_SECONDS each
	@for t in $(FUZZ_TARGETS); do echo "== $$t"; mkdir -p $(B)/fuzz/corpus/$$t; \
	    $(B)/fuzz/fuzz_$$t -max_total_time=$(FUZZ_SECONDS) $(FUZZ_FLAGS) $$(ls tests/fuzz/$$t.dict 2>/dev/null | sed 's/^/-dict=/') $(B)/fuzz/corpus/$$t tests/fuzz/corpus/$$t >$(B)/fuzz/$$t.log 2>&1 || \
	    { tail -40 $(B)/fuzz/$$t.log; exit 1; }; grep '^stat::' $(B)/fuzz/$$t.log; done
fuzz-merge: $(FUZZ_TARGETS:%=$(B)/fuzz/fuzz_%)
	@for t in $(FUZZ_TARGETS); do python3 tests/fuzz/merge.py $(B)/fuzz/fuzz_$$t $(B)/fuzz/corpus/$$t tests/fuzz/corpus/$$t || exit 1; done
FUZZ_BUILT   := $(FUZZ_TARGETS:%=$(B)/fuzz/replay_%) $(B)/fuzz/alloc $(B)/fuzz/alloc_export $(B)/fuzz/alloc_stages
fuzz-replay: $(FUZZ_BUILT) ## the corpora and failing allocations, under ASan and UBSan
	@for t in $(FUZZ_TARGETS); do $(B)/fuzz/replay_$$t tests/fuzz/corpus/$$t || :; done >$(B)/fuzz/replay.log 2>&1; \
	ended=0; for t in alloc alloc_export alloc_stages; do $(B)/fuzz/$$t >>$(B)/fuzz/replay.log 2>&1 || ended=1; done; cat $(B)/fuzz/replay.log; \
	awk -v ended=$$ended '/^[a-z0-9]+: [0-9]+ passed, [0-9]+ failed$$/ { n++; p += $$2; f += $$4 } \
	    END { f += n < $(words $(FUZZ_TARGETS) alloc alloc_export alloc_stages) || (ended && !f); print p + 0 " passed, " f + 0 " failed"; exit f > 0 }' $(B)/fuzz/replay.log
-include $(shell find $(B)/fuzz -name '*.d' 2>/dev/null)
.PHONY: fuzz fuzz-merge fuzz-replay
