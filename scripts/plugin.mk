# The example plug-ins, as a user would build them: with the public header alone. stale.so is one of another version.
PLUGINS := $(patsubst examples/plugin/%.c,$(B)/plugins/%.so,$(wildcard examples/plugin/*.c))
PLUGIN_CC = $(CC) -std=c11 -O2 -g -Wall -Wextra -Werror -Iinclude -shared -fPIC
$(B)/plugins/%.so: examples/plugin/%.c include/wftrace/plugin.h
	@mkdir -p $(@D)
	$(call say,PLUGIN,$@)
	$(Q)$(PLUGIN_CC) -o $@ $< && chmod go-w $@
$(B)/plugins/stale.so: examples/plugin/slow.c include/wftrace/plugin.h
	@mkdir -p $(@D)
	$(Q)$(PLUGIN_CC) -DWFT_ABI=99 -o $@ $< && chmod go-w $@
plugins: $(PLUGINS) ## the example plug-ins, into build/plugins
$(B)/tests/unit/test_plugin: | $(PLUGINS) $(B)/plugins/stale.so
.PHONY: plugins
