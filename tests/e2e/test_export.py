"""S2: receivers that misbehave, wftrace that is killed: every span arrives, once or more; and a real Zipkin."""
import collections
import json
import os
import re
import signal
import subprocess
import threading
import time

from support import paths, procs, sink, spans, tls, tracer, zipkin
from support.harness import Skip, test

BUSY = "for i in $(seq {n}); do /bin/true; done"


def _arrived(s, want, within=30):
    """Waits until every span id of `want` is in the sink; what is missing at the end."""
    try:
        procs.wait_for("the spans", lambda: not want - set(s.spans()), within, every=0.2)
    except procs.NotReady:
        pass
    return want - set(s.spans())


def _ids(file):
    return {x.span_id for x in spans.load(file)}


@test("export/faults", limit=180)
def faults(case):
    """slow, refusing, resetting, half-open, lying receivers: nothing is missing, the ledger adds up"""
    for name, plan in {
        "slow": ["slow:700*3"],
        "busy": ["after:503:1", "http:429", "after:429:1"],
        "resets": ["reset", "cut:0", "cut:100", "reset"],
        "half-open": ["half-open*2"],
        "garbage": ["garbage*3"],
        "gateway": ["http:502", "http:504", "reset", "http:503"],
    }.items():
        s = case.start(sink.Sink(plan))
        out = case.dir / f"{name}.jsonl"
        p = tracer.once("run", "-v", "--export", f"otlp={s.url}", "--export", f"otlp-json:{out}", "--", "sh", "-c", BUSY.format(n=60) + "; sleep 6",
                        env={"OTEL_EXPORTER_OTLP_TIMEOUT": "1500"}, timeout=60)
        want = _ids(out)
        assert p.returncode == 0 and len(want) >= 60, p
        missing = want - set(s.spans())
        assert not missing, f"{name}: {len(missing)} of {len(want)} missing: {p.stderr[-500:]}"
        more = len(s.spans()) - len(want)
        case.note(f"{name}: {len(want)} spans, {more} twice, {len(s.requests)} requests")


@test("export/grpc-faults", limit=90)
def grpc_faults(case):
    """UNAVAILABLE, UNAVAILABLE and RESOURCE_EXHAUSTED with RetryInfo, slow, a lying answer: nothing is missing, RetryInfo is kept to"""
    g, out = case.start(sink.GrpcSink(case.dir, "--only", "traces", "--fault", "grpc:14*2", "--fault", "info:14:2000", "--fault", "slow:500",
                                      "--fault", "info:8:1500", "--fault", "garbage")), case.dir / "trace.jsonl"
    p = tracer.once("run", "-v", "--export", f"otlp=grpc://127.0.0.1:{g.grpc_port}", "--export", f"otlp-json:{out}", "--", "sh", "-c",
                    "for n in $(seq 8); do /bin/true; sleep 1; done", timeout=80, env={"OTEL_EXPORTER_OTLP_TIMEOUT": "3000"})
    want, asked = _ids(out), [r for r in g.requests if r["signal"] == "traces"]
    assert p.returncode == 0 and len(want) >= 16 and not want - set(g.spans()), (len(want - set(g.spans())), p.stderr[-600:])
    for name, ms in (("info:14:2000", 2000), ("info:8:1500", 1500)):
        at = next(i for i, r in enumerate(asked) if r["fault"] == name)
        assert asked[at + 1]["at"] - asked[at]["at"] >= ms / 1000 - 0.1, (name, asked[at:at + 2])
    assert "not delivered" not in p.stderr, p.stderr
    case.note(f"{len(want)} spans, {len(asked)} requests")


@test("export/ipv6", limit=60)
def ipv6(case):
    """receivers at [::1], over HTTP and gRPC"""
    if not os.path.exists("/proc/net/if_inet6") or "00000000000000000000000000000001" not in open("/proc/net/if_inet6").read():
        raise Skip("no IPv6 loopback on this machine")
    s, g, out = case.start(sink.Sink(host="::1")), case.start(sink.GrpcSink(case.dir, "--host", "::1")), case.dir / "trace.jsonl"
    p = tracer.once("run", "--export", f"otlp={s.url}", "--export", f"otlp=grpc://[::1]:{g.grpc_port}", "--export", f"otlp-json:{out}", "--",
                    "sh", "-c", BUSY.format(n=20))
    want = _ids(out)
    assert s.url.startswith("http://[::1]:") and len(want) >= 21 and want == set(s.spans()) == set(g.spans()), (len(want), p.stderr)


@test("export/proxy", limit=60)
def proxy(case):
    """http_proxy is asked with the whole URL, https_proxy tunnels, no_proxy goes around both"""
    ca, cert, key = tls.make_certs(case.dir / "tls")
    way, plain, safe = case.start(sink.Proxy()), case.start(sink.Sink()), case.start(sink.Sink(tls=(cert, key)))
    both = ["--export", f"otlp={plain.url}", "--export", f"otlp=https://localhost:{safe.port}"]
    env = {"http_proxy": way.url, "https_proxy": way.url, "no_proxy": "", "OTEL_EXPORTER_OTLP_CERTIFICATE": str(ca)}
    for turn, more in enumerate(({}, {"no_proxy": "localhost,127.0.0.1"})):
        out, before = case.dir / f"trace{turn}.jsonl", len(way.asked)
        p = tracer.once("run", *both, "--export", f"otlp-json:{out}", "--", "sh", "-c", BUSY.format(n=10), env={**env, **more})
        want = _ids(out)
        assert len(want) >= 11 and not want - set(plain.spans()) and not want - set(safe.spans()), p.stderr
        asked = set(way.asked[before:])
        if turn:
            assert not asked, asked
        else:
            assert ("POST", f"{plain.url}/v1/traces") in asked and ("CONNECT", f"localhost:{safe.port}") in asked, asked


@test("export/partial", limit=60)
def partial(case):
    """a partial success and a final refusal are counted by cause"""
    s = case.start(sink.Sink(["partial:2", "http:413", "http:401"]))
    p = tracer.once("run", "-v", "--export", f"otlp={s.url}", "--", "sh", "-c", "/bin/true; sleep 0.5; /bin/true; sleep 0.5; /bin/true; sleep 0.5",
                    env={"OTEL_LOGS_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"})
    counts = {k: int(v) for k, v in re.findall(r"spans_dropped_(\w+)=(\d+)", p.stderr)}
    assert counts.get("too_large", 0) + counts.get("auth", 0) >= 2 and "not delivered" in p.stderr, (counts, p.stderr)
    assert len(s.requests) <= 12, "4xx is final"


@test("export/token-rotates", limit=60)
def token(case):
    """a token that expires is read again from its file; no span is lost"""
    token, ours, turn = ["one"], case.dir / "token", threading.Lock()

    def valid():
        with turn:  # a request that comes while the token turns is judged by the new one
            return token[0]

    ours.write_text("one\n")
    s = case.start(sink.Sink(bearer=valid))
    t = tracer.Tracer(case.dir, ["sh", "-c", "/bin/true; sleep 2; /bin/true; sleep 1; /bin/true"], opts=["--export", f"otlp={s.url}"],
                      env={**os.environ, "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20${file:" + str(ours) + "}"})
    case.defer(procs.stop, t.proc)
    procs.wait_for("the first span", s.spans, 20, t.proc, t.log)
    with turn:
        ours.write_text("two-is-longer\n")
        token[0] = "two-is-longer"
    assert t.proc.wait(30) == 0, t.said()
    assert not {x.span_id for x in t.spans()} - set(s.spans()), t.said()
    assert "not delivered" not in t.said() and "401" not in t.said(), t.said()


def _peak(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read())[1]) // 1024


@test("export/spool-kill-9", limit=240)
def kill9(case):
    """the receiver is away under load, wftrace is killed (-9) three times and started again: nothing that was kept is missing"""
    port, folder, want, peak = procs.free_port(), case.dir / "spool", set(), 0
    for round in range(3):
        t = tracer.Tracer(case.dir, ["sh", "-c", BUSY.format(n=20000)], name=f"t{round}",
                          opts=["--spool", f"{folder},max=64MB", "--export", f"otlp=http://127.0.0.1:{port}"])
        case.defer(procs.stop, t.proc)
        procs.wait_for("spans", lambda: t.file.exists() and t.file.stat().st_size > 1 << 20, 40, t.proc, t.log)
        peak = max(peak, _peak(t.proc.pid))
        child = t.target()
        time.sleep(0.2 + round * 0.13)
        killed = time.time_ns()
        t.proc.send_signal(signal.SIGKILL)
        t.proc.wait(10)
        procs.send(child, signal.SIGKILL)
        text = t.file.read_bytes()
        t.file.write_bytes(text[:text.rfind(b"\n") + 1])  # a line that kill -9 tore
        want |= {x.span_id for x in t.spans() if x.end < killed - 500_000_000}
    assert len(want) > 500, len(want)
    s = case.start(sink.Sink(["after:503:1", "reset", "cut:50"], port=port))
    t = tracer.Tracer(case.dir, ["sh", "-c", "/bin/true; sleep 8"], name="last",
                      opts=["-v", "--spool", f"{folder},max=64MB", "--export", f"otlp=http://127.0.0.1:{port}"])
    case.defer(procs.stop, t.proc)
    missing = _arrived(s, want, 60)
    t.finish()
    assert not missing, f"{len(missing)} of {len(want)} missing: {t.said()[-800:]}"
    got = s.spans()
    assert not {x.span_id for x in t.spans()} - set(got), "the last run's own spans"
    left = [f for f in folder.rglob("*.seg") if f.stat().st_size > 1 << 20]
    assert not left, left
    assert "spool_corrupt" not in t.said() or re.search(r"spool_corrupt=\d{1,3}\b", t.said()), t.said()
    case.note(f"{len(want)} spans kept over 3 kills, {len(got)} arrived ({len(got) - len(set(got))} twice), peak {peak} MB")
    assert peak < 120 or paths.SANITIZED, f"{peak} MB"


def _rows(file):
    """[(wall ns, commands done)] of steady_redis.py; a torn last line is left out."""
    return [tuple(map(int, line.split())) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]


@test("export/outage-steady", limit=int(os.environ.get("WF_OUTAGE_SECONDS", 40)) * 4 + 300)
def steady(case):
    """down for 40 s (WF_OUTAGE_SECONDS) under 5,000 spans/s, kill -9 in the middle: every command arrives, memory stays below its limit"""
    seconds, limit, peak = int(os.environ.get("WF_OUTAGE_SECONDS", 40)), 2048 if paths.SANITIZED else 128, 0
    rate = 1000 if paths.SANITIZED else 5000
    port, folder, rows = procs.free_port(), case.dir / "spool", case.dir / "rows"
    load = procs.start([paths.PYTHON, paths.TARGETS / "steady_redis.py", case.redis().port, rate, rows], case.dir / "load.log")
    case.defer(procs.stop, load)
    procs.wait_for("the load", lambda: rows.exists() and rows.stat().st_size, 20, load)
    opts = ["-v", "--memory-limit", f"{limit}MB", "--spool", f"{folder},max=2GB", "--export", f"otlp=http://127.0.0.1:{port}"]
    env = {**os.environ, "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}
    windows = []
    for turn in range(2):
        t = tracer.Tracer(case.dir, pid=load.pid, name=f"t{turn}", export=False, opts=opts, env=env)
        case.defer(procs.stop, t.proc)
        t.wait_attached(40)
        begun = time.time_ns() + 2_000_000_000
        end = time.monotonic() + seconds / 2
        while time.monotonic() < end:
            assert t.proc.poll() is None, t.said()
            peak = max(peak, _peak(t.proc.pid))
            time.sleep(0.5)
        windows.append((begun, time.time_ns() - 2_000_000_000))
        if not turn:
            t.proc.send_signal(signal.SIGKILL)
            t.proc.wait(10)
    done = _rows(rows)
    want = {k for a, b in windows for (t0, n0), (t1, n1) in zip(done, done[1:]) if a <= t0 and t1 <= b for k in range(n0, n1)}
    spooled = sum(f.stat().st_size for f in folder.rglob("*.seg")) >> 20
    s = case.start(sink.Sink(port=port))  # it comes back, and the load goes on
    keys, taken, back = set(), 0, time.monotonic()

    def arrived():
        nonlocal taken
        with s.lock:
            bodies, s.bodies[:taken] = s.bodies[taken:], [("", b"")] * taken
            taken = len(s.bodies)
        keys.update(int(k) for kind, b in bodies if kind == "traces" for k in re.findall(rb"\bk:(\d+)", b))
        return not want - keys
    try:
        procs.wait_for("every span", arrived, 60 + seconds * 2, t.proc, t.log, every=1)
    except procs.NotReady:
        pass
    back = time.monotonic() - back
    peak = max(peak, _peak(t.proc.pid) if t.proc.poll() is None else 0)
    procs.stop(load)
    t.finish()
    arrived()
    ledger = t.ledger()
    case.note(f"{len(want)} spans in {seconds} s ({len(want) / max(sum(b - a for a, b in windows) / 1e9, 1):.0f}/s), {len(want - keys)} missing, "
              f"{spooled} MB spooled, there {back:.0f} s after the receiver was, peak {peak} MB of {limit}, lost records {ledger.get('records_lost', 0)}, "
              f"dropped {({k: v for k, v in ledger.items() if 'dropped' in k and k.startswith('spans')})}")
    assert len(want) > rate / 5 * seconds, len(want)
    if not ledger.get("records_lost"):
        assert not want - keys, f"{len(want - keys)} of {len(want)} missing, e.g. {sorted(want - keys)[:3]}: {t.said()[-800:]}"
    assert peak <= limit, f"{peak} MB"


@test("export/spool-outage", limit=120)
def outage(case):
    """away for a while under load: the order on the wire is that of the ends, and the rest is sent at the next start"""
    port, folder = procs.free_port(), case.dir / "spool"
    t = tracer.Tracer(case.dir, ["sh", "-c", BUSY.format(n=1500) + "; sleep 2"], name="first",
                      opts=["--spool", str(folder), "--export", f"otlp=http://127.0.0.1:{port}"])
    case.defer(procs.stop, t.proc)
    assert t.proc.wait(60) == 0 and "stay in the spool" in t.said(), t.said()
    s = case.start(sink.Sink(port=port))
    p = tracer.once("run", "--spool", str(folder), "--export", f"otlp=http://127.0.0.1:{port}", "--", "/bin/true")
    want = [x.span_id for x in t.spans()]
    got = s.spans()
    assert p.returncode == 0 and len(want) >= 1500 and set(want) <= set(got), (len(want), len(got), p.stderr)
    assert got[:len(want)] == want, "out of order"
    two = tracer.once("run", "--spool", str(folder), "--export", f"otlp=http://127.0.0.1:{port}", "--", paths.WFTRACE, "run", "--spool", str(folder),
                      "--export", f"otlp=http://127.0.0.1:{port}", "--", "true")
    assert "in use by another wftrace" in two.stderr, two.stderr


@test("export/traces-only", limit=60)
def traces_only(case):
    """a receiver of traces alone: told once a signal, asked once, not counted as undelivered; unless the user named the signal"""
    s = case.start(sink.Sink(serves=("traces",)))
    for env, named in (({}, False), ({"OTEL_METRICS_EXPORTER": "otlp"}, True)):
        p = tracer.once("run", "-e", f"otlp={s.url}", "--", "sh", "-c", "/bin/true; sleep 1.5; /bin/true; sleep 0.5",
                        env={"OTEL_METRIC_EXPORT_INTERVAL": "300", **env})
        said = p.stderr
        assert said.count("takes no metric points: ") == (not named) and ("not delivered" in said) == named, said
        asked = [r for r in s.requests if r["signal"] == "metrics"]
        assert len(asked) == 1 if not named else len(asked) > 2, (len(asked), said)
    g = case.start(sink.GrpcSink(case.dir, "--serves", "traces"))
    p = tracer.once("run", "-e", f"otlp=grpc://127.0.0.1:{g.grpc_port}", "--", "true")
    assert g.spans(), p.stderr
    assert "takes no metric points: " in p.stderr and "not delivered" not in p.stderr, p.stderr


@test("export/signal-none", limit=60)
def signal_none(case):
    """OTEL_…_EXPORTER=none leaves a signal out of -e otlp=URL; the three together are a mistake"""
    s, off = case.start(sink.Sink()), {f"OTEL_{k}_EXPORTER": "none" for k in ("TRACES", "LOGS", "METRICS")}
    for signal in ("traces", "metrics"):
        env = {k: v for k, v in off.items() if signal.upper() not in k}
        p = tracer.once("run", "-e", f"otlp={s.url}", "--", "true", env=env)
        assert p.returncode == 0 and {r["signal"] for r in s.requests} == {signal}, (p.stderr, s.requests)
        s.requests.clear()
    p = tracer.once("run", "-e", f"otlp={s.url}", "--", "true", env=off)
    assert p.returncode == 2 and "nothing is left to send" in p.stderr, p


@test("export/memory-limit", limit=120)
def memory_limit(case):
    """a small memory limit, the receiver away, many short processes: what is resident stays below, what is dropped is counted"""
    limit, url = 56, f"http://127.0.0.1:{procs.free_port()}"
    t = tracer.Tracer(case.dir, ["sh", "-c", BUSY.format(n=6000)], export=False,
                      opts=["-v", "--memory-limit", f"{limit}MB", "--export", f"otlp={url}", "--logs", "all"],
                      env={**os.environ, "OTEL_RESOURCE_ATTRIBUTES": "filler=" + "x" * 200})
    case.defer(procs.stop, t.proc)
    most, end = 0, time.monotonic() + 90
    while t.proc.poll() is None and time.monotonic() < end:
        try:
            most = max(most, _peak(t.proc.pid))
        except (OSError, TypeError):
            break
        time.sleep(0.1)
    assert t.proc.wait(20) == 0, t.said()[-800:]
    n = t.ledger()
    dropped = n.get("spans_dropped_open", 0) + n.get("spans_dropped_queue", 0) + n.get("spans_dropped_unreachable", 0)
    assert n.get("spans_started", 0) + n.get("spans_dropped_open", 0) >= 6000 and dropped >= 6000, (n, t.said()[-800:])
    assert 0 < most <= limit, f"{most} MB of {limit}"
    case.note(f"peak {most} MB of {limit}, {dropped} spans dropped and counted")


@test("export/zipkin", limit=200)
def real_zipkin(case):
    """a real Zipkin keeps what the file has: ids, parents, kinds, names, times, tags"""
    try:
        z = case.start(zipkin.Zipkin(case.dir))
    except procs.NotReady as e:
        if str(e).startswith("no Zipkin"):
            raise Skip(str(e)) from None
        raise
    out, port = case.dir / "trace.jsonl", case.redis().port
    p = tracer.once("run", "--export", f"zipkin={z.url}", "--export", f"otlp-json:{out}", "--", "sh", "-c",
                    f"for i in 1 2 3; do redis-cli -p {port} get a; done; redis-cli -p {port} nonsense; false")
    want = spans.load(out)
    assert p.returncode == 1 and len(want) >= 8 and "refused" not in p.stderr, p.stderr
    try:
        procs.wait_for("Zipkin's index", lambda: len(z.spans()) >= len(want), 20, every=0.3)
    except procs.NotReady:
        pass
    got = {s["id"]: s for s in z.spans()}
    assert got.keys() == {s.span_id for s in want}, (len(got), len(want), p.stderr)
    for s in want:
        g = got[s.span_id]
        assert (g["traceId"], g.get("parentId", ""), g["name"]) == (s.trace_id, s.parent_id, s.name.lower()), (s, g)
        assert g.get("kind", "INTERNAL") == s.kind.upper() and g["timestamp"] == s.start // 1000, (s, g)
        assert abs(g["duration"] - max((s.end - s.start) / 1000, 1)) <= 1, (s, g)
        assert g["localEndpoint"]["serviceName"] == s.resource["service.name"].lower(), (s, g)
        assert ("error" in g["tags"]) == (s.status == 2), (s, g)
        lacking = [k for k, v in s.attrs.items() if isinstance(v, str) and g["tags"].get(k) != v]
        assert not lacking, (s, lacking)
    case.note(f"{len(want)} spans")


@test("export/test-connection", limit=60)
def connection(case):
    """test-connection sends one of each signal and says what came back and what to do"""
    ca, cert, key = tls.make_certs(case.dir / "tls")
    s = case.start(sink.Sink(tls=(cert, key)))
    plain = case.start(sink.Sink(["ok", "partial:1", "http:401"]))

    def ask(*specs, **env):
        p = tracer.once("test-connection", "--json", *(x for spec in specs for x in ("-e", spec)), env=env)
        return p, [json.loads(line) for line in p.stdout.splitlines()]
    p, rows = ask(f"otlp=https://localhost:{s.port}", OTEL_EXPORTER_OTLP_CERTIFICATE=str(ca))
    assert p.returncode == 0 and [r["signal"] for r in rows] == ["traces", "logs", "metrics"], (p, rows)
    assert all(r["result"] == "ok" and "CN = localhost" in r["answer"] and r["latency_ms"] > 0 for r in rows), rows
    assert collections.Counter(signal for signal, _ in s.bodies) == {"traces": 1, "logs": 1, "metrics": 1}
    p, rows = ask(f"otlp=https://localhost:{s.port}")
    assert p.returncode == 1 and all("CERTIFICATE" in r["remedy"] for r in rows), rows
    p, rows = ask(f"otlp={plain.url}")
    assert [r["result"] for r in rows] == ["ok", "partly refused", "refused"] and "HEADERS" in rows[2]["remedy"], rows
    p, rows = ask(f"otlp=http://127.0.0.1:{procs.free_port()}")
    assert p.returncode == 1 and "nobody listens" in rows[0]["remedy"], rows
    p = tracer.once("test-connection", "-e", f"zipkin={plain.url}")
    assert p.returncode == 0 and "1 of 1 delivered" in p.stdout, p
    assert tracer.once("test-connection", "-e", "otlp=ftp://x").returncode == 2
