"""Virtual environments from pinned requirements, cached in build/venv-NAME-HASH."""
import fcntl
import hashlib
import pathlib
import shutil
import subprocess

from . import paths


def venv(name):
    """Path of a ready environment with tests/e2e/requirements-NAME.txt in it; made on first use."""
    req = paths.ROOT / "tests" / "e2e" / f"requirements-{name}.txt"
    return make(name, req)


def make(name, req):
    digest = hashlib.sha256(pathlib.Path(req).read_bytes()).hexdigest()[:10]
    paths.BUILD.mkdir(exist_ok=True)
    where = paths.BUILD / f"venv-{name}-{digest}"
    with open(paths.BUILD / f"venv-{name}.lock", "w") as lock:  # two runners at once make it once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (where / ".ready").exists():
            return where
        shutil.rmtree(where, ignore_errors=True)
        _run([paths.PYTHON, "-m", "venv", where])
        _run([where / "bin" / "pip", "install", "-q", "--disable-pip-version-check", "-r", req])
        (where / ".ready").touch()
    return where


def _run(argv):
    p = subprocess.run([str(a) for a in argv], capture_output=True, text=True)
    if p.returncode:
        raise RuntimeError(f"{argv[0]} {argv[1]} failed: {p.stderr[-1500:]}")
