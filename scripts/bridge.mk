# The Python bridge: one extension module for CPython 3.8 to 3.14. It is built without Python's headers (capi.h) and linked to no
# library: its symbols come from the process that loads it, whatever its C library's kind and age.
BRIDGE     := $(B)/inproc/python
BRIDGE_SRC := $(wildcard user/inproc/python/*.c) user/base/base.c user/base/condition.c
BRIDGE_OBJ := $(BRIDGE_SRC:user/%.c=$(B)/obj/pic/%.o)
BRIDGE_PY  := $(patsubst user/inproc/python/%,$(BRIDGE)/%,$(wildcard user/inproc/python/*.py))
BRIDGE_DIST := $(patsubst user/inproc/python/%,$(BRIDGE)/%,$(wildcard user/inproc/python/*.dist-info/*))
BRIDGE_C   := -std=gnu17 $(OPT) $(WARN) -D_GNU_SOURCE -MMD -MP -Iuser -fPIC -fvisibility=hidden -fno-stack-protector -ffunction-sections

all: bridge
bridge: $(BRIDGE)/_wftrace.abi3.so $(BRIDGE)/wftrace_preload.so $(BRIDGE_PY) $(BRIDGE_DIST) ## the module that Python processes load

$(BRIDGE)/_wftrace.abi3.so: $(BRIDGE_OBJ)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -shared -nostdlib -Wl,--gc-sections -Wl,-z,now -Wl,-z,relro -o $@ $^
$(BRIDGE)/wftrace_preload.so: $(B)/obj/pic/inproc/python_preload/preload.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -shared -nostdlib -Wl,-z,now -Wl,-z,relro -o $@ $^
$(B)/obj/pic/%.o: user/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(BRIDGE_C) -c -o $@ $<
$(BRIDGE_PY) $(BRIDGE_DIST): $(BRIDGE)/%: user/inproc/python/%
	@mkdir -p $(@D)
	$(Q)cp $< $@

install: install-bridge
install-bridge: bridge
	install -d $(DESTDIR)$(PREFIX)/lib/wftrace/python/wftrace_bridge.dist-info
	install -m 755 $(BRIDGE)/_wftrace.abi3.so $(BRIDGE)/wftrace_preload.so $(DESTDIR)$(PREFIX)/lib/wftrace/python/
	install -m 644 $(BRIDGE_PY) $(DESTDIR)$(PREFIX)/lib/wftrace/python/
	install -m 644 $(BRIDGE_DIST) $(DESTDIR)$(PREFIX)/lib/wftrace/python/wftrace_bridge.dist-info/

.PHONY: bridge install-bridge
