check-e2e: all ## end to end: real servers and programs, compared with the truth (K=PATTERN picks tests)
	python3 tests/e2e/run.py $(if $(K),-k '$(K)')
.PHONY: check-e2e
