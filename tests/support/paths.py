"""Where things are: the repository, its build folder, the product under test."""
import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("WFTRACE_BUILD", ROOT / "build"))
WFTRACE = pathlib.Path(os.environ.get("WFTRACE", BUILD / "wftrace"))
SANITIZED = bool(os.environ.get("WF_SANITIZED"))  # make san-faults: memory is not the product's own
TARGETS = ROOT / "tests" / "targets"
SUPPORT = ROOT / "tests" / "support"
PYTHON = "/usr/bin/python3"  # Debian's own: a pyenv or conda on the PATH must not change what is tested
