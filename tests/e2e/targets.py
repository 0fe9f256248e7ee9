"""The servers of «truth under load»: how each is started, which endpoints it has, how often each is asked."""
import dataclasses
import subprocess

from support import harness, paths, procs
from support.venv import venv


@dataclasses.dataclass
class Target:
    argv: list
    port: int
    env: dict
    endpoints: tuple
    requests: int


def build(source, *flags, compiler="gcc", out=None):
    """Compiles a target of tests/targets into build/targets; returns its path."""
    folder = paths.BUILD / "targets"
    folder.mkdir(parents=True, exist_ok=True)
    binary = folder / (out or source.rsplit(".", 1)[0])
    src = paths.TARGETS / source
    if not binary.exists() or binary.stat().st_mtime < src.stat().st_mtime:
        made = subprocess.run([harness.need(compiler), *flags, "-o", str(binary), str(src)], capture_output=True, text=True)
        assert made.returncode == 0, f"{source} does not compile: {made.stderr[:1500]}"
    return binary


def _env(case, postgres=True):
    env = {"REDIS_PORT": str(case.redis().port), "PYTHONPATH": str(paths.TARGETS), "PYTHONUNBUFFERED": "1"}
    if postgres:
        env["PG_URL"] = case.postgres().url
    return env


def uvicorn(case, loop, requests=3000):
    port = procs.free_port()
    return Target([venv("web") / "bin" / "python", "-m", "uvicorn", "--loop", loop, "--port", port, "--no-access-log",
                   "--log-level", "warning", "fastapi_app:app"], port, _env(case),
                  ("direct", "gather", "sync", "executor"), requests)


def gunicorn(case, app, endpoints, *flags, postgres=True, requests=1500):
    port = procs.free_port()
    return Target([venv("web") / "bin" / "gunicorn", "-b", f"127.0.0.1:{port}", "--keep-alive", "30",
                   "--log-level", "warning", *flags, f"{app}:app"], port, _env(case, postgres), endpoints, requests)


def executor(case):
    port = procs.free_port()
    return Target([paths.PYTHON, paths.TARGETS / "executor_server.py", port, case.redis().port], port, {},
                  ("one", "two", "own"), 1500)


def pool(case):
    port = procs.free_port()
    return Target([build("pool_server.c", "-O2", "-g", "-pthread"), port, case.redis().port, 8], port, {}, ("pool",), 1500)


ALL = {
    "uvicorn-asyncio": lambda c: uvicorn(c, "asyncio"),
    "uvicorn-uvloop": lambda c: uvicorn(c, "uvloop"),
    "gunicorn-gthread": lambda c: gunicorn(c, "flask_app", ("direct", "pipe"), "-w", "1", "--threads", "16"),
    "gunicorn-gevent": lambda c: gunicorn(c, "gevent_app", ("direct", "spawn", "sleep", "map"), "-k", "gevent", "-w", "1",
                                          postgres=False),
    "gunicorn-prefork": lambda c: gunicorn(c, "flask_app", ("direct", "pipe"), "-w", "3", "--preload"),
    "thread-executor": executor,
    "native-pool": pool,
}
