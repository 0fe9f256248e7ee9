"""Head sampling of a real service: the share, the weight, whole traces, what a parent elsewhere has decided."""
import collections
import http.client
import math
import os

from support import procs, tracer
from support.harness import test
from support.services import Nginx

CHAIN = "listen 127.0.0.1:{port}; location /a { proxy_pass http://127.0.0.1:{port}/b; } location /b { return 200 ok; }"


def _ask(port, n, headers=lambda i: {}):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    for i in range(n):
        c.request("GET", "/a", headers=headers(i))
        r = c.getresponse()
        assert r.status == 200 and r.read() == b"ok"
    c.close()


def _traced(case, opts=(), env=None, headers=lambda i: {}, n=400):
    file = case.dir / "spans.otlp.jsonl"
    old = dict(os.environ)
    os.environ.update(env or {})
    try:
        web = Nginx(case.dir, CHAIN, prefix=[str(tracer.paths.WFTRACE), "run", "-v", "--export", f"otlp-json:{file}", *opts, "--"])
    finally:
        os.environ.clear()
        os.environ.update(old)
    case.defer(procs.stop, web.proc)
    _ask(web.port, n, headers)
    web.stop()
    found = collections.defaultdict(list)
    for s in tracer.spans.load(file):
        if s.kind != "internal":  # without the processes' own
            found[s.trace_id].append(s)
    return found


@test("sampling/ratio", limit=60)
def ratio(case):
    """--sample 0.25: a quarter of the traces, each whole, each with its weight"""
    n = 400
    found = _traced(case, ["--sample", "0.25"], n=n)
    sigma = math.sqrt(n * 0.25 * 0.75)
    case.note(f"{len(found)} of {n} traces")
    assert abs(len(found) - n / 4) < 5 * sigma, len(found)
    for spans in found.values():
        assert len(spans) == 3, [s.name for s in spans]  # server, its call, the server called
        for s in spans:
            assert s.tracestate == "ot=th:c" and int(s.flags) & 1, (s, s.tracestate)
            assert int(s.trace_id[-14:], 16) >= 0xC0000000000000


@test("sampling/parent", limit=60)
def parent(case):
    """what a parent elsewhere decided is kept, with its tracestate, and handed down"""
    def header(i):
        return {"traceparent": f"00-{i + 1:032x}-{i + 1:016x}-{'01' if i % 2 else '00'}", "tracestate": "v=1,ot=th:8"}
    found = _traced(case, env={"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, headers=header, n=40)
    assert sorted(int(t, 16) for t in found) == list(range(2, 41, 2)), sorted(found)
    for spans in found.values():
        assert len(spans) == 3 and all(s.tracestate == "v=1,ot=th:8" for s in spans), spans


@test("sampling/tail", limit=60)
def tail(case):
    """--tail: every failed request whole, nothing of the others; the rule and the weight are told"""
    file = case.dir / "spans.otlp.jsonl"
    web = Nginx(case.dir, "listen 127.0.0.1:{port}; location /a { return 200 ok; } location /c { proxy_pass http://127.0.0.1:{port}/d; }"
                " location /d { return 503; }",
                prefix=[str(tracer.paths.WFTRACE), "run", "-v", "--export", f"otlp-json:{file}", "--tail", "errors,ratio=0", "--"])
    case.defer(procs.stop, web.proc)
    c = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    for i in range(200):
        c.request("GET", "/c" if i % 20 == 0 else "/a")
        c.getresponse().read()
    c.close()
    web.stop()
    found = collections.Counter(s.trace_id for s in tracer.spans.load(file) if s.kind != "internal")
    assert len(found) == 10 and set(found.values()) == {3}, found
    for s in tracer.spans.load(file):
        assert s.attrs["wftrace.sampling.rule"] == "error" and s.tracestate == "ot=th:0", (s, s.attrs)


@test("sampling/bad", limit=20)
def bad(case):
    """a sampler that there is not is said: of the environment and ignored, as the specification wants; of an option and refused"""
    p = tracer.once("run", "--export", "console", "--", "true", env={"OTEL_TRACES_SAMPLER": "alway_on"})
    assert p.returncode == 0 and "sampler «alway_on» is not known here" in p.stderr, p.stderr
    p = tracer.once("run", "--sample", "7", "--", "true")
    assert p.returncode == 2 and "ratio from 0 to 1" in p.stderr, p.stderr
