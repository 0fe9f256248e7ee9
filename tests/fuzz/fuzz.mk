# fuzz: every target for FUZZ_SECONDS under libFuzzer with ASan and UBSan. fuzz-replay: the corpora through a plain main.
FUZZ_SECONDS ?= 60
FUZZ_WIRE    := http1 resp postgres sql stream elf
FUZZ_SRC     := user/trace/attr.c user/ingest/decode.c $(foreach d,base self protocol stream,$(wildcard user/$(d)/*.c))
FUZZ_CFLAGS  := -std=gnu17 -O1 -g -D_GNU_SOURCE -Iuser -I. -w -fno-sanitize-recover=all
FUZZ_NEEDS   := $(FUZZ_SRC) $(wildcard user/base/*.h user/protocol/*.h user/stream/*.h user/trace/*.h tests/fuzz/*.h)

$(B)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(FUZZ_NEEDS)
	@mkdir -p $(@D)
	$(CLANG) $(FUZZ_CFLAGS) -fsanitize=fuzzer,address,undefined -o $@ $< $(FUZZ_SRC) -lpthread
$(B)/fuzz/replay_%: tests/fuzz/fuzz_%.c tests/fuzz/fuzz_replay.c $(FUZZ_NEEDS)
	@mkdir -p $(@D)
	$(CC) $(FUZZ_CFLAGS) -fsanitize=address,undefined -o $@ $< tests/fuzz/fuzz_replay.c $(FUZZ_SRC) -lpthread

FUZZ_ELF     := user/base/base.c $(patsubst %,user/probe/%.c,elf elf_symbol insn place symbols usdt demangle maps tls_sites py_sites cxx_sites)
$(B)/fuzz/fuzz_elf: tests/fuzz/fuzz_elf.c $(FUZZ_ELF)
	@mkdir -p $(@D)
	$(CLANG) $(FUZZ_CFLAGS) -fsanitize=fuzzer,address,undefined -o $@ $^ -liberty
$(B)/fuzz/replay_elf: tests/fuzz/fuzz_elf.c tests/fuzz/fuzz_replay.c $(FUZZ_ELF)
	@mkdir -p $(@D)
	$(CC) $(FUZZ_CFLAGS) -fsanitize=address,undefined -o $@ $^ -liberty

fuzz: $(FUZZ_WIRE:%=$(B)/fuzz/fuzz_%) ## fuzz the parsers, FUZZ_SECONDS each
	@for t in $(FUZZ_WIRE); do mkdir -p $(B)/fuzz/corpus/$$t && $(B)/fuzz/fuzz_$$t -max_total_time=$(FUZZ_SECONDS) -max_len=8192 \
	    -timeout=10 -print_final_stats=1 -artifact_prefix=$(B)/fuzz/ $(B)/fuzz/corpus/$$t tests/fuzz/corpus/$$t 2>&1 | tail -12 || exit 1; done
fuzz-replay: $(FUZZ_WIRE:%=$(B)/fuzz/replay_%)
	@for t in $(FUZZ_WIRE); do $(B)/fuzz/replay_$$t tests/fuzz/corpus/$$t || exit 1; done
.PHONY: fuzz fuzz-replay
