bench: all ## cost of being traced: bare against traced in one run (BENCH="nginx redis --rounds 7" picks)
	python3 tests/bench/bench.py $(BENCH)
.PHONY: bench
