# The bridge's tests: a recorder in the tracer's place (recorder.c).
$(B)/tests/inproc/recorder.so: tests/inproc/recorder.c user/inproc/python/bridge_abi.h
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) -std=gnu17 $(OPT) $(WARN) -D_GNU_SOURCE -Iuser -shared -fPIC -o $@ $<
