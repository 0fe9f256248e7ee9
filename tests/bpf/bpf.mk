# Live tests of the kernel side. `make check-root` needs root; CASES and LIVE_FLAGS choose what runs.
DUMP_OBJ := $(filter-out $(B)/obj/main.o,$(foreach d,base config probe ingest self trace,$(patsubst user/%.c,$(B)/obj/%.o,$(wildcard user/$(d)/*.c))))

# An archive, so that only what dump needs is taken.
$(B)/tests/bpf/parts.a: $(DUMP_OBJ)
	@mkdir -p $(@D)
	@rm -f $@ && ar rcs $@ $^

$(B)/tests/bpf/dump: tests/bpf/dump.c $(B)/tests/bpf/parts.a
	$(CC) $(CFLAGS) -o $@ $< $(filter %.o %.a,$^) $(LDFLAGS) $(LIBS)

check-root: $(B)/tests/bpf/dump ## live tests of the kernel side (root)
	python3 tests/bpf/live.py --dump $(B)/tests/bpf/dump $(LIVE_FLAGS) $(CASES)

.PHONY: check-root
