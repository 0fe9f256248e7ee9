"""Engines at full speed: the same program three times, alone, under wftrace and under `opentelemetry-instrument`, in alternating rounds.

The SDK sends what it made to a receiver of ours every half second; a round's CPU time is read when that is over, for all three alike."""
import os
import re
import subprocess
import time

import cost
from support import paths, procs, services
from support.sink import Sink
from support.venv import venv

SETTLE = 0.8  # seconds after a round: the SDK's thread sends what is left


def _env(**more):
    where = venv("peer")
    return {**os.environ, "VIRTUAL_ENV": str(where), "PATH": f"{where / 'bin'}:{os.environ['PATH']}", **more}


class Variants:
    """How a program is started: {name: (prefix before the command, environment)}; how many spans each made."""

    def __init__(self, folder, pack):
        self.file = folder / "t.jsonl"
        self.sink = Sink()
        sdk = {"OTEL_EXPORTER_OTLP_ENDPOINT": self.sink.url, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_METRICS_EXPORTER": "none",
               "OTEL_LOGS_EXPORTER": "none", "OTEL_BSP_SCHEDULE_DELAY": "500"}
        self.how = {"bare": ([], {}),
                    "wftrace": ([paths.WFTRACE, "run", "--packs", pack, "-e", f"otlp-json:{self.file}", "--"], {}),
                    "otel": ([venv("peer") / "bin" / "opentelemetry-instrument"], sdk)}

    def spans(self):
        """{name: spans made}"""
        with open(self.file) as f:
            ours = sum(len(re.findall(r'"spanId":', line)) for line in f)
        return {"wftrace": ours, "otel": len(self.sink.spans())}


def _pids(proc, traced):
    main = procs.children(proc.pid)[0] if traced else proc.pid
    return [main, *procs.children(main)]


def _figures(o, what, rounds, n, own, spans):
    """The rows to print. n: of what, in a round; rounds: {variant: {figure: Series}}."""
    bare, out = rounds["bare"], {}
    for name, title in (("bare", "bare"), ("wftrace", "wftrace"), ("otel", "opentelemetry-instrument")):
        r = rounds[name]
        out[f"CPU us a {what}, {title}"] = r["cpu"]
        if name != "bare":
            out[f"change by {title}"] = cost.change(bare["cpu"], r["cpu"])
        out[f"ms a {what}, {title}"] = r["time"]
        if name != "bare":
            out[f"longer by {title}"] = cost.change(bare["time"], r["time"])
            out[f"spans a {what}, {title}"] = f"{spans[name] / n / (o.rounds + 1):.2f}"
    out[f"wftrace's own CPU us a {what}"] = f"{own:.1f}"
    return out


def _measure(folder, o, what, pack, n, start, limit):
    """start(name, prefix, env) → something with proc, round(n) and stop(); `limit` seconds for one round."""
    v, running = Variants(folder, pack), {}
    try:
        for name, (prefix, env) in v.how.items():
            running[name] = start(name, prefix, env)
        pids = {name: _pids(r.proc, name == "wftrace") for name, r in running.items()}

        def one(name):
            before, began = cost.cpu_ns(*pids[name]), time.monotonic()
            running[name].round(n, limit)
            took = time.monotonic() - began
            time.sleep(SETTLE)
            return {"cpu": (cost.cpu_ns(*pids[name]) - before) / n / 1e3, "time": took / n * 1e3}
        for name in running:
            one(name)  # warm
        own = cost.cpu_ns(running["wftrace"].proc.pid)
        rounds = cost.alternate(o.rounds, {name: lambda name=name: one(name) for name in running})
        own = (cost.cpu_ns(running["wftrace"].proc.pid) - own) / n / o.rounds / 1e3
    finally:
        for name, r in running.items():
            r.stop(name == "wftrace")
        v.sink.stop()
    return _figures(o, what, rounds, n, own, v.spans())


class _Worker:
    """celery worker -c 1 on the queue `name`. The messages are made before; a round begins when a copy of their list is put under the
    queue's name, and ends when the last is acknowledged."""

    def __init__(self, folder, redis, name, pool, prefix, env):
        self.redis, self.name, self.log = redis, name, folder / f"{name}.log"
        self.proc = procs.start([*prefix, "taskset", "-c", "0", venv("peer") / "bin" / "python", "-m", "celery", "-A", "celery_load", "worker",
                                 "-P", pool, "-c", "1", "-Q", name, "-n", f"{name}@bench", "-l", "warning", "--without-gossip",
                                 "--without-mingle"], self.log, env=_env(REDIS_PORT=str(redis.port), **env), cwd=paths.TARGETS / "engines")
        self.round(0, 60)

    def _cli(self, *argv):
        return subprocess.run(["redis-cli", "-p", str(self.redis.port), *argv], capture_output=True, text=True, check=True).stdout.strip()

    def round(self, _, limit):
        self._cli("COPY", "load", self.name)
        empty, end = 0, time.monotonic() + limit
        while empty < 2:  # twice: a message is in neither for a moment
            empty = empty + 1 if self._cli("EXISTS", self.name, "unacked") == "0" else 0
            if time.monotonic() > end or self.proc.poll() is not None:
                raise RuntimeError(f"the worker does not work: {procs.tail(self.log)}")
            time.sleep(0.02)

    def stop(self, traced):
        procs.send(_pids(self.proc, traced)[0], 15)
        self.proc.wait(30)


def _celery(folder, o, pool):
    redis, n = services.Redis(folder), int(500 * o.seconds)
    try:
        subprocess.run([str(venv("peer") / "bin" / "python"), "celery_load.py", str(n)], env=_env(REDIS_PORT=str(redis.port)), check=True,
                       cwd=paths.TARGETS / "engines")
        return _measure(folder, o, "task", "celery", n, lambda name, prefix, env: _Worker(folder, redis, name, pool, prefix, env), 30 + n / 50)
    finally:
        redis.stop()


def celery(folder, o):
    return _celery(folder, o, "prefork")


def celery_solo(folder, o):
    return _celery(folder, o, "solo")


class _Graph:
    """langgraph_load.py: as many runs as it is told."""

    def __init__(self, folder, name, prefix, env):
        self.log = open(folder / f"{name}.log", "ab")
        self.proc = subprocess.Popen([str(a) for a in [*prefix, "taskset", "-c", "0", venv("peer") / "bin" / "python",
                                                       paths.TARGETS / "engines" / "langgraph_load.py"]],
                                     env=_env(**env), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
                                     preexec_fn=procs.die_with_parent)
        self.round(1, 60)

    def round(self, n, _):
        self.proc.stdin.write(f"{n}\n")
        self.proc.stdin.flush()
        if self.proc.stdout.readline().strip() != "done":
            raise RuntimeError(f"the graph does not run: {procs.tail(self.log.name)}")

    def stop(self, _):
        self.proc.stdin.close()
        self.proc.wait(30)
        self.log.close()


def langgraph(folder, o):
    return _measure(folder, o, "run", "langgraph", int(150 * o.seconds), lambda name, prefix, env: _Graph(folder, name, prefix, env), 60)


def _asking(folder, o, n, thinks):
    """With a call of a model by OpenAI's library in each run, to a server that answers after `thinks` seconds."""
    port = procs.free_port()
    server = procs.start([paths.PYTHON, paths.TARGETS / "llm_server.py", port], folder / "model.log", env={**os.environ, "MODEL_THINKS": str(thinks)})
    try:
        procs.wait_port(port, server, folder / "model.log")
        return _measure(folder, o, "run", "langgraph", n,
                        lambda name, prefix, env: _Graph(folder, name, prefix, {**env, "MODEL_URL": f"http://127.0.0.1:{port}/v1"}), 60)
    finally:
        procs.stop(server)


def langgraph_model(folder, o):
    return _asking(folder, o, int(100 * o.seconds), 0)


def langgraph_chat(folder, o):
    """As long as a fast model of a real provider takes at least."""
    return _asking(folder, o, int(8 * o.seconds), 0.1)
