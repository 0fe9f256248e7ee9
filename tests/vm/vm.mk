# The live tests under other kernels, in QEMU. VM_KERNELS are Debian suites; newest last.
VM_KERNELS ?= $(or $(VM),bullseye bookworm trixie trixie-backports)
VM_CASES   ?= exit_code signal threads_and_fork many_processes tcp big_write unix failed_connect sendfile loss_is_counted attach_open hits greenlets

check-vm: $(B)/tests/bpf/dump $(B)/wftrace ## live tests under Debian's 5.10, 6.1, 6.12 and newest kernels (QEMU)
	@fail=0; g=$$(PYTHONPATH=tests python3 -c 'from support import venv; print(venv.venv("web"))') || exit 1; \
	for k in $(VM_KERNELS); do echo "== $$k"; \
	  tests/vm/vmrun -t 900 $$k -- sh -c 'export WFTRACE=$(B)/wftrace; python3 tests/vm/doctor.py; d=$$?; python3 tests/vm/guest.py || d=1; \
	    python3 tests/bpf/live.py --small --greenlet $$0 --dump $(B)/tests/bpf/dump $(VM_CASES) && exit $$d' $$g/bin/python || fail=1; \
	done; exit $$fail

.PHONY: check-vm
