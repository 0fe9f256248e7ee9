bench: all ## cost of being traced: bare against traced in one run (BENCH="nginx redis --rounds 7" picks)
	python3 tests/bench/bench.py $(BENCH)
.PHONY: bench

# C benches of single stages: linked with the folders that tests/unit would name.
$(B)/tests/bench/%_bench: tests/bench/%_bench.c $(foreach d,base self trace stream protocol ingest pipeline store,$(patsubst user/%.c,$(B)/obj/%.o,$(wildcard user/$(d)/*.c)))
	@mkdir -p $(@D)
	$(call say,BENCH,$@)
	$(Q)$(CC) $(CFLAGS) -o $@ $< $(filter %.o %.a,$^) $(LDFLAGS) $(LIBS)
bench-stages: $(B)/tests/bench/stages_bench ## what the pipeline's stages and the store cost a span
	$(B)/tests/bench/stages_bench
.PHONY: bench-stages
PIPELINE_OBJ := $(patsubst user/%.c,$(B)/obj/%.o,$(foreach d,base self trace stream protocol ingest export store,$(wildcard user/$(d)/*.c)))
$(B)/tests/bench/pipeline_bench: tests/bench/pipeline_bench.c $(PIPELINE_OBJ) $(PROTO_O)
	@mkdir -p $(@D)
	$(call say,BENCH,$@)
	$(Q)$(CC) $(CFLAGS) -o $@ $< $(filter %.o %.a,$^) $(LDFLAGS) $(LIBS)
bench-pipeline: $(B)/tests/bench/pipeline_bench ## spans through queue, encoder and gzip (PIPELINE="--collector --rounds 5")
	python3 tests/bench/pipeline_bench.py $< $(PIPELINE)
.PHONY: bench-pipeline
