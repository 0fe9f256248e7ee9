"""A Celery worker at full speed: two workers that are alike, one of them under wftrace, each with its own queue. The messages are made
before; a round begins when a copy of their list is put under the queue's name, and ends when the last is acknowledged."""
import os
import re
import subprocess
import time

import cost
from support import paths, procs, services
from support.venv import venv


def _cli(redis, *argv):
    return subprocess.run(["redis-cli", "-p", str(redis.port), *argv], capture_output=True, text=True, check=True).stdout.strip()


class _Worker:
    """celery worker -c 1 on the queue `name`; `prefix` before the command."""

    def __init__(self, folder, redis, env, name, pool, prefix=()):
        self.redis, self.name, self.log = redis, name, folder / f"{name}.log"
        self.proc = procs.start([*prefix, "taskset", "-c", "0", venv("celery") / "bin" / "python", "-m", "celery", "-A", "celery_load",
                                 "worker", "-P", pool, "-c", "1", "-Q", name, "-n", f"{name}@bench", "-l", "warning", "--without-gossip",
                                 "--without-mingle"], self.log, env=env, cwd=paths.TARGETS / "engines")
        self.run()  # warm
        self.pids = self._pids(prefix)

    def _pids(self, prefix):
        main = procs.children(self.proc.pid)[0] if prefix else self.proc.pid
        return [main, *procs.children(main)]

    def run(self):
        _cli(self.redis, "COPY", "load", self.name)
        empty, end = 0, time.monotonic() + 120
        while empty < 2:  # twice: a message is in neither for a moment
            empty = empty + 1 if _cli(self.redis, "EXISTS", self.name, "unacked") == "0" else 0
            if time.monotonic() > end or self.proc.poll() is not None:
                raise RuntimeError(f"the worker does not work: {procs.tail(self.log)}")
            time.sleep(0.02)

    def round(self, n):
        before, began = cost.cpu_ns(*self.pids), time.monotonic()
        self.run()
        return {"cpu": (cost.cpu_ns(*self.pids) - before) / n / 1e3, "rate": n / (time.monotonic() - began)}


def measure(folder, o, pool):
    redis = services.Redis(folder)
    env = {**os.environ, "REDIS_PORT": str(redis.port)}
    out, n, workers = folder / "t.jsonl", int(500 * o.seconds), []
    try:
        subprocess.run([str(venv("celery") / "bin" / "python"), "celery_load.py", str(n)], env=env, check=True, cwd=paths.TARGETS / "engines")
        bare = _Worker(folder, redis, env, "bare", pool)
        workers.append(bare)
        traced = _Worker(folder, redis, env, "traced", pool,
                         [paths.WFTRACE, "run", "--packs", "celery", "-e", f"otlp-json:{out}", "--"])
        workers.append(traced)
        own = cost.cpu_ns(traced.proc.pid)
        r = cost.alternate(o.rounds, {"bare": lambda: bare.round(n), "traced": lambda: traced.round(n)})
        time.sleep(0.5)
        own = (cost.cpu_ns(traced.proc.pid) - own) / n / o.rounds / 1e3
        b, t = r["bare"], r["traced"]
    finally:
        for w in workers:
            procs.send(w.pids[0], 15)
            w.proc.wait(30)
        redis.stop()
    spans = len(re.findall(r'"kind":\s*5\b', out.read_text()))
    return {"CPU us a task, bare": b["cpu"], "CPU us a task, traced": t["cpu"], "change": cost.change(b["cpu"], t["cpu"]),
            "tasks a second, bare": b["rate"], "tasks a second, traced": t["rate"], "wftrace's CPU us a task": f"{own:.1f}",
            "spans of tasks, %": f"{100 * spans / n / (o.rounds + 1):.1f}"}


def celery(folder, o):
    return measure(folder, o, "prefork")


def celery_solo(folder, o):
    return measure(folder, o, "solo")
