"""The cases of the benchmark: what is loaded, how, and which figures come out."""
import os
import re
import resource
import signal
import socket
import subprocess
import time

import cost
from engine_cases import celery, celery_solo, langgraph, langgraph_chat, langgraph_model
from hits import hits
from support import paths, procs, services, spans, tracer
from support.venv import venv

SERVER_CPU, LOAD_CPU = ("0", "1") if (os.cpu_count() or 1) > 1 else ("0", "0")


def pinned(cpu, *argv):
    return ["taskset", "-c", cpu, *map(str, argv)]


def wrk(port, path, seconds, connections=32):
    """Requests served by one round of wrk."""
    p = subprocess.run(pinned(LOAD_CPU, "wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", f"http://127.0.0.1:{port}{path}"),
                       capture_output=True, text=True, check=True)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)", p.stdout)
    if bad:
        raise RuntimeError(f"load failed: {bad.group(0)}")
    return int(re.search(r"(\d+) requests in", p.stdout).group(1))


def redis_benchmark(port, seconds):
    n = int(60000 * seconds)
    subprocess.run(pinned(LOAD_CPU, "redis-benchmark", "-p", port, "-t", "get", "-c", "32", "-n", n, "-q"), capture_output=True, check=True)
    return n


class Attached:
    """wftrace attach --pid, ready when its spans come; figures about itself on leaving."""

    def __init__(self, folder, pid, poke):
        self.began = time.time_ns()
        self.tracer = tracer.Tracer(folder, pid=pid, privacy="strict", name=f"t{self.began}")
        self.pid = self.tracer.proc.pid
        self.ready = self._wait(poke)

    def _wait(self, poke):
        end = time.monotonic() + 15
        while not (self.tracer.file.exists() and self.tracer.file.stat().st_size):
            poke()
            if time.monotonic() > end or self.tracer.proc.poll() is not None:
                raise RuntimeError(f"no span: {self.tracer.said()[-600:]}")
        return (time.time_ns() - self.began) / 1e6

    def end(self):
        procs.stop(self.tracer.proc, signal.SIGINT, 30)

    def count(self, what=r'"kind":\s*2\b'):
        """Server spans (or what the pattern finds) written, without reading them into memory."""
        with open(self.tracer.file) as f:
            n = sum(len(re.findall(what, line)) for line in f)
        self.tracer.file.unlink()
        return n


def _measure(folder, o, pid, load, poke, what=r'"kind":\s*2\b'):
    """The server `pid` under load(): bare and attached in turn. Returns the rows to print."""
    def loaded():
        before, began = cost.cpu_ns(pid), time.monotonic()
        n = load()
        return n, {"cpu": (cost.cpu_ns(pid) - before) / n / 1e3, "rps": n / (time.monotonic() - began)}

    def bare():
        return loaded()[1]

    def traced():
        a = Attached(folder, pid, poke)
        try:
            own = cost.cpu_ns(a.pid)
            n, figures = loaded()
            time.sleep(0.5)
            own, rss = cost.cpu_ns(a.pid) - own, cost.rss_mb(a.pid, "VmHWM")
        finally:
            a.end()
        return {**figures, "own": own / n / 1e3, "rss": rss, "complete": 100 * a.count(what) / n}

    poke()
    r = cost.alternate(o.rounds, {"bare": bare, "traced": traced})
    b, t = r["bare"], r["traced"]
    return {"CPU us a request, bare": b["cpu"], "CPU us a request, traced": t["cpu"], "change": cost.change(b["cpu"], t["cpu"]),
            "requests a second, bare": b["rps"], "requests a second, traced": t["rps"],
            "wftrace's CPU us a request": t["own"], "wftrace's peak memory, MB": t["rss"], "spans of requests, %": t["complete"]}


def _get(port, path="/"):
    with socket.create_connection(("127.0.0.1", port), 5) as s:
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        while s.recv(65536):
            pass


def _nginx(folder, **kw):
    web = services.Nginx(folder, "listen {port} backlog=8192; location / { return 200 hello; }", prefix=pinned(SERVER_CPU), **kw)
    return web, procs.children(web.master())[0]


def nginx(folder, o):
    web, worker = _nginx(folder)
    try:
        return _measure(folder, o, worker, lambda: wrk(web.port, "/", o.seconds), lambda: _get(web.port))
    finally:
        web.stop()


def redis(folder, o):
    r = services.Redis(folder)
    subprocess.run(["taskset", "-acp", SERVER_CPU, str(r.proc.pid)], capture_output=True, check=True)

    def poke():
        with socket.create_connection(("127.0.0.1", r.port), 5) as s:
            s.sendall(b"*1\r\n$4\r\nPING\r\n")
            s.recv(10)
    try:
        return _measure(folder, o, r.proc.pid, lambda: redis_benchmark(r.port, o.seconds), poke, what=r'"name":\s*"GET')
    finally:
        r.stop()


def uvicorn(folder, o):
    store, pg, port = services.Redis(folder), services.Postgres(folder), procs.free_port()
    env = {**os.environ, "REDIS_PORT": str(store.port), "PG_URL": pg.url, "PYTHONPATH": str(paths.TARGETS)}
    p = procs.start(pinned(SERVER_CPU, venv("web") / "bin" / "python", "-m", "uvicorn", "--port", port, "--no-access-log",
                           "--log-level", "warning", "fastapi_app:app"), folder / "uvicorn.log", env=env)
    try:
        procs.wait_port(port, p, folder / "uvicorn.log")
        return _measure(folder, o, p.pid, lambda: wrk(port, "/direct/rid-000001", o.seconds), lambda: _get(port, "/direct/rid-000000"))
    finally:
        for one in (p, store.proc):
            procs.stop(one)
        pg.stop()


def beside(folder, o):
    """An nginx that nobody traces, while wftrace is attached to another one."""
    web, worker = _nginx(folder)
    other, other_worker = _nginx(folder)

    def one():
        before = cost.cpu_ns(worker)
        n = wrk(web.port, "/", o.seconds)
        return {"cpu": (cost.cpu_ns(worker) - before) / n / 1e3}

    def with_wftrace():
        a = Attached(folder, other_worker, lambda: _get(other.port))
        try:
            return one()
        finally:
            a.end()
    try:
        r = cost.alternate(o.rounds, {"alone": one, "beside": with_wftrace})
        a, b = r["alone"]["cpu"], r["beside"]["cpu"]
        return {"CPU us a request, no wftrace": a, "CPU us a request, wftrace beside": b, "change": cost.change(a, b)}
    finally:
        web.stop()
        other.stop()


def start(folder, o):
    """From the command to the first complete span: attach to a busy nginx, run of a short command."""
    web, worker = _nginx(folder)
    first, run, bare = cost.Series("first"), cost.Series("run"), cost.Series("bare")
    try:
        for i in range(o.rounds):
            a = Attached(folder, worker, lambda: _get(web.port))
            a.end()
            done = [s.end for s in spans.load(a.tracer.file) if s.kind == "server"]
            first.add((min(done) - a.began) / 1e6)
            for series, argv in ((bare, ["true"]), (run, [paths.WFTRACE, "run", "-e", f"otlp-json:{folder}/r{i}", "--", "true"])):
                t = time.monotonic()
                subprocess.run([str(x) for x in argv], check=True, capture_output=True)
                series.add((time.monotonic() - t) * 1e3)
        return {"attach: ms to the end of the first span": first, "run -- true: ms in all": run, "true: ms": bare}
    finally:
        web.stop()


def idle(folder, o):
    """Memory with many idle keep-alive connections, each of which has served one request."""
    n = o.connections
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit[0], n + 500), max(limit[1], n + 500)))
    web, worker = _nginx(folder, connections=n + 100, http="keepalive_timeout 600s;")
    socks = []
    try:
        a = Attached(folder, worker, lambda: _get(web.port))
        empty = cost.rss_mb(a.pid)
        for i in range(n):
            s = socket.create_connection(("127.0.0.1", web.port), 10)
            s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            s.recv(1000)
            socks.append(s)
        time.sleep(1)
        full, peak = cost.rss_mb(a.pid), cost.rss_mb(a.pid, "VmHWM")
        a.end()
        return {"idle connections": n, "MB at start": f"{empty:.1f}", "MB with the connections": f"{full:.1f}", "peak MB": f"{peak:.1f}",
                "server spans of requests, %": f"{100 * a.count() / n:.2f}"}
    finally:
        for s in socks:
            s.close()
        web.stop()


CASES = {"nginx": nginx, "redis": redis, "uvicorn": uvicorn, "beside": beside, "start": start, "idle": idle, "hits": hits,
         "celery": celery, "celery-solo": celery_solo, "langgraph": langgraph, "langgraph-model": langgraph_model,
         "langgraph-chat": langgraph_chat}
