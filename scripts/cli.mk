PREFIX ?= /usr/local

deps: ## install what building and testing need (Debian 12 or 13; root or sudo)
	@scripts/deps.sh

install: all ## copy the program and the shells' completions to PREFIX (/usr/local)
	install -D -m 755 $(B)/wftrace $(DESTDIR)$(PREFIX)/bin/wftrace
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(B)/wftrace completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/wftrace
	$(B)/wftrace completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_wftrace
	$(B)/wftrace completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/wftrace.fish

lint: ## the rules of the house: layers, sizes, words, .def against files
	@tests/support/lint.py

check-replay: all ## captures of tests/replay against their golden spans (UPDATE=1 writes them anew)
	@tests/replay/run.py $(if $(UPDATE),--update)

.PHONY: deps install lint check-replay
