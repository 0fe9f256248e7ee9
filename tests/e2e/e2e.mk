check-e2e: all ## end to end: real servers and programs, compared with the truth (K=PATTERN picks tests)
	python3 tests/e2e/run.py $(if $(K),-k '$(K)')
.PHONY: check-e2e
check-backends: all ## spans and metrics compared in a real Jaeger (built once, 7 minutes of a core) and VictoriaMetrics
	@tests/support/jaeger.sh $(abspath $(B))/jaeger
	@tests/support/victoriametrics.sh $(abspath $(B))/victoriametrics
	@python3 tests/e2e/run.py -k backends/
.PHONY: check-backends
