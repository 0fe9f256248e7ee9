"""The CPythons of this machine, one per version: PATH, pyenv, build/cpython-3.14 (python314.sh)."""
import glob, os, subprocess

WANTED = ["3.8", "3.11", "3.12", "3.13", "3.14"]
ALSO = ["3.9", "3.10"]  # when they are here
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TEXT = "import sys; print('%d.%d' % sys.version_info[:2], sys.implementation.name, 't' in getattr(sys, 'abiflags', ''))"


def _is(path, label):
    try:
        out = subprocess.run([path, "-I", "-S", "-c", TEXT], capture_output=True, text=True, timeout=20).stdout.split()
    except OSError:
        return False
    return out == [label, "cpython", "False"]


def _candidates(label):
    yield "/usr/bin/python" + label
    yield os.path.join(TOP, os.environ.get("B", "build"), "cpython-%s/usr/bin/python%s" % (label, label))
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    yield from sorted(glob.glob("%s/versions/%s.*/bin/python3" % (root, label)), reverse=True)
    yield from (os.path.join(d, "python" + label) for d in os.environ.get("PATH", "").split(":") if "shims" not in d)


class Skip(Exception):
    """Why a test cannot run here."""


def with_tests(path):
    """A CPython of the same version that has its own tests; else `path`."""
    for label, found in find():
        if found == path:
            here = [p for p in _candidates(label) if os.access(p, os.X_OK) and _is(p, label)]
            text = "import test.test_generators"
            return next((p for p in here if not subprocess.run([p, "-I", "-c", text], capture_output=True).returncode), path)
    return path


def find():
    """[(label, path)]: the system's own first, then the newest patch."""
    found = []
    for label in sorted(WANTED + ALSO, key=lambda v: int(v[2:])):
        path = next((p for p in _candidates(label) if os.access(p, os.X_OK) and _is(p, label)), None)
        if path:
            found.append((label, path))
    return found


def missing():
    return sorted(set(WANTED) - {label for label, _ in find()})
