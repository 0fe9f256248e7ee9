# The bridge's tests: a recorder in the tracer's place (recorder.c), and a command that injects.
BRIDGE_TESTS := $(B)/tests/inproc/recorder.so $(B)/tests/inproc/inject
check-bridge: bridge $(BRIDGE_TESTS) ## the Python bridge on every CPython that is here
	@python3 tests/inproc/run.py
check-built: bridge $(BRIDGE_TESTS)
.PHONY: check-bridge
$(B)/tests/inproc/recorder.so: tests/inproc/recorder.c user/inproc/python/bridge_abi.h
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) -std=gnu17 $(OPT) $(WARN) -D_GNU_SOURCE -Iuser -shared -fPIC -o $@ $<
$(B)/tests/inproc/inject: tests/inproc/inject_main.c $(patsubst user/%.c,$(B)/obj/%.o,$(wildcard user/inproc/*.c user/probe/elf*.c) user/base/base.c)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CFLAGS) -o $@ $< $(filter %.o %.a,$^) $(LDFLAGS)
