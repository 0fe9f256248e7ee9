"""Metrics, end to end: what a real Prometheus scrapes and what a real Collector receives, each compared with the spans."""
import bisect
import collections
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

from support import collector, paths, points, procs, spans, tls, tracer
from support.harness import Skip, test

BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]


def _get(url, headers=None):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=10) as r:
        return r.read().decode()


def _serve(case, opts, env=None, **kw):
    """A traced HTTP server with a page `/` and no other; its tracer and its port."""
    (case.dir / "site").mkdir()
    (case.dir / "site" / "index.html").write_text("hello")
    port = procs.free_port()
    argv = [paths.PYTHON, "-m", "http.server", "--bind", "127.0.0.1", "-d", case.dir / "site", port]
    t = tracer.Tracer(case.dir, argv, opts=opts, env={**os.environ, **(env or {})}, **kw)
    case.defer(procs.stop, t.proc)
    procs.wait_port(port, t.proc, t.log, 40)
    return t, port


def _load(port, good=40, bad=20):
    for i in range(good + bad):
        try:
            _get(f"http://127.0.0.1:{port}/{'nothing' if i >= good else ''}")
        except urllib.error.HTTPError as e:
            assert e.code == 404
            e.close()


def _truth(found):
    """(status → count, sum, buckets) of the server spans."""
    want = collections.defaultdict(lambda: [0, 0.0, [0] * (len(BOUNDS) + 1)])
    for s in found:
        if s.kind == "server":
            w = want[str(s["http.response.status_code"])]
            w[0] += 1
            w[1] += (s.end - s.start) / 1e9
            w[2][bisect.bisect_left(BOUNDS, (s.end - s.start) / 1e9)] += 1
    return want


def _prometheus(case, target, scheme="http", more=""):
    if not shutil.which("prometheus"):
        raise Skip("no prometheus")
    config, port = case.dir / "prometheus.yml", procs.free_port()
    config.write_text(f"global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\nscrape_configs:\n- job_name: wftrace\n  honor_labels: true\n"
                      f"  scheme: {scheme}\n{more}  static_configs: [ {{ targets: ['{target}'] }} ]\n")
    log = case.dir / "prometheus.log"
    p = procs.start(["prometheus", f"--config.file={config}", f"--storage.tsdb.path={case.dir / 'tsdb'}",
                     f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage"], log)
    case.defer(procs.stop, p)
    procs.wait_port(port, p, log, 30)
    return f"http://127.0.0.1:{port}/api/v1"


def _query(api, expr):
    got = json.loads(_get(f"{api}/query?query={urllib.parse.quote(expr)}"))
    return {tuple(sorted(r["metric"].items())): float(r["value"][1]) for r in got["data"]["result"]}


def _of(series, **labels):
    return {k: v for k, v in series.items() if all(dict(k).get(a) == b for a, b in labels.items())}


@test("metrics/prometheus", limit=120)
def scraped(case):
    """a real Prometheus holds, series by series, what the spans say; exemplars name spans that exist; promtool finds no fault"""
    port = procs.free_port()
    t, web = _serve(case, ["--export", f"prometheus=127.0.0.1:{port}"])
    api = _prometheus(case, f"127.0.0.1:{port}")
    _load(web)
    name = "http_server_request_duration_seconds"
    procs.wait_for("the scrape", lambda: sum(_query(api, name + "_count").values()) == 60, 20)
    counts, sums, buckets = (_query(api, name + end) for end in ("_count", "_sum", "_bucket"))
    active, ups = _query(api, "http_server_active_requests"), _query(api, "up")
    exemplars = json.loads(_get(f"{api}/query_exemplars?query={name}_bucket&start={time.time() - 60}&end={time.time() + 60}"))
    cpu, info = _query(api, "process_cpu_time_seconds_total"), _query(api, "target_info")
    ledger = _query(api, "wftrace_spans_ended_total")
    page = _get(f"http://127.0.0.1:{port}/metrics")
    assert _get(f"http://127.0.0.1:{port}/healthz") == "ok\n" and _get(f"http://127.0.0.1:{port}/readyz") == "ready\n"
    said = json.loads(tracer.once("stats", "--json", f"127.0.0.1:{port}").stdout)
    t.finish()
    found = t.spans()
    want = _truth(found)
    assert set(want) == {"200", "404"}, want
    own = {(r["name"], r["of"], r["signal"]): r["value"] for r in said}
    assert own["wftrace_spans_ended_total", "trace", ""] >= 60 and own["wftrace_records_bad_total", "ingest", ""] == 0, own
    assert any(n == "wftrace_exporter_sends_total" and s == "traces" and v >= 1 for (n, _, s), v in own.items()), own
    for status, (count, total, by_bucket) in want.items():
        mine = {"http_response_status_code": status}
        (labels, got), = _of(counts, **mine).items()
        assert got == count and abs(sum(_of(sums, **mine).values()) - total) < 1e-6, (status, got, count)
        assert dict(labels)["http_request_method"] == "GET" and dict(labels)["url_scheme"] == "http", labels
        cumulated, so_far = {dict(k)["le"]: v for k, v in _of(buckets, **mine).items()}, 0
        for bound, n in zip([*BOUNDS, float("inf")], by_bucket):
            so_far += n
            got, = [v for le, v in cumulated.items() if float(le) == bound]
            assert got == so_far, (status, bound, got, so_far)
    ids = {s.trace_id for s in found}
    named = {e["labels"]["trace_id"] for s in exemplars["data"] for e in s["exemplars"]}
    assert named and named <= ids, f"{len(named - ids)} exemplars of {len(named)} name no span"
    assert sum(active.values()) == 0 and list(ups.values()) == [1], (active, ups)
    assert {dict(k)["cpu_mode"] for k in cpu} == {"user", "system"} and len(info) >= 3, (cpu, info)
    assert sum(ledger.values()) >= 60, ledger
    p = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True)
    assert p.returncode == 0 and not p.stdout + p.stderr, p.stdout + p.stderr
    case.note(f"{len(page.splitlines())} lines, {len(named)} exemplars")


@test("metrics/prometheus-tls", limit=90)
def scraped_safely(case):
    """TLS and a password: a Prometheus that has both scrapes, whoever lacks one is refused"""
    ca, cert, key = tls.make_certs(case.dir / "tls")
    (case.dir / "users").write_text("anna:s3cret\n")
    port = procs.free_port()
    _, web = _serve(case, ["--export", f"prometheus=127.0.0.1:{port}?cert={cert}&key={key}&passwords={case.dir / 'users'}"])
    api = _prometheus(case, f"localhost:{port}", "https", f"  tls_config: {{ ca_file: {ca} }}\n  basic_auth: {{ username: anna, password: s3cret }}\n")
    _load(web, 5, 0)
    procs.wait_for("the scrape", lambda: sum(_query(api, "http_server_request_duration_seconds_count").values()) == 5, 20)
    p = subprocess.run(["curl", "-s", "--cacert", ca, "-o", "/dev/null", "-w", "%{http_code}", f"https://localhost:{port}/metrics"],
                       capture_output=True, text=True)
    assert p.stdout == "401", p
    p = subprocess.run(["curl", "-s", f"http://localhost:{port}/metrics"], capture_output=True, text=True)
    assert p.returncode != 0 and not p.stdout, p


@test("metrics/scrapers-with-certificates", limit=90)
def certified(case):
    """mutual TLS: who has a certificate of the authority scrapes, health is open; certificate, authority and password are rotated, a
    half-done rotation changes nothing; a reload changes the same port's options"""
    ca, cert, key = tls.make_certs(case.dir / "tls")
    other, other_cert, other_key = tls.make_certs(case.dir / "other")
    password, port, conf = case.dir / "password", procs.free_port(), case.dir / "c.yaml"
    password.write_text("one\n")

    def text(more=""):
        return f"""file_format: "1.1"
meter_provider:
  readers:
    - pull:
        exporter:
          prometheus/development:
            host: 127.0.0.1
            port: {port}
            basic_auth: {{username: anna, password_file: {password}}}
            tls: {{cert_file: {cert}, key_file: {key}, ca_file: {ca}}}
{more}"""

    def ask(path="/metrics", user="anna:one", trust=ca, mine=(cert, key), more=()):
        own = ["--cert", mine[0], "--key", mine[1]] if mine else []
        p = subprocess.run(["curl", "-s", "-u", user, "--cacert", trust, *own, "-o", case.dir / "page", "-w", "%{http_code}", *more,
                            f"https://127.0.0.1:{port}{path}"], capture_output=True, text=True)
        return p.stdout if not p.returncode else f"curl {p.returncode}"

    conf.write_text(text())
    t = tracer.Tracer(case.dir, ["sleep", "60"], opts=["-c", str(conf), "-v"], export=False)
    case.defer(procs.stop, t.proc)
    procs.wait_port(port, t.proc, t.log, 20)
    assert (ask(), ask(mine=None), ask(mine=None, path="/healthz"), ask(user="anna:two")) == ("200", "403", "200", "401")
    assert ask(mine=(other_cert, other_key)) in ("403", "curl 56"), "a stranger's certificate"
    password.write_text("two\n")
    procs.wait_for("the new password", lambda: ask(user="anna:two") == "200", 10, t.proc, t.log)
    assert ask() == "401"
    cert.write_bytes(other_cert.read_bytes()) # its key is still the old one
    procs.wait_for("the word on it", lambda: "stay in force" in t.said(), 10, t.proc, t.log)
    old = case.dir / "old"
    _, client, client_key = tls.make_certs(old)
    assert ask(user="anna:two", trust=ca, mine=(other_cert, other_key)) in ("403", "curl 56")
    key.write_bytes(other_key.read_bytes())
    ca.write_bytes(other.read_bytes())
    procs.wait_for("the new certificates", lambda: ask(user="anna:two", trust=other, mine=(other_cert, other_key)) == "200", 10, t.proc, t.log)
    assert ask(user="anna:two", trust=other, mine=(client, client_key)) in ("403", "curl 56")
    p = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", other, "-verify_return_error"], input="",
                       capture_output=True, text=True)
    assert "Verify return code: 0 (ok)" in p.stdout and "Acceptable client certificate CA names" in p.stdout, p.stdout[-1500:]
    conf.write_text(text("            translation_strategy: no_translation/development\n            target_info_enabled/development: false\n"))
    t.proc.send_signal(signal.SIGHUP)
    procs.wait_for("the reload", lambda: "configuration read again" in t.said(), 20, t.proc, t.log)

    def page():
        assert ask(user="anna:two", trust=other, mine=(other_cert, other_key)) == "200"
        return (case.dir / "page").read_text()
    procs.wait_for("the new page", lambda: "target_info" not in page(), 10, t.proc, t.log)
    t.finish()


@test("metrics/collector", limit=400)
def pushed(case):
    """the real Collector receives, over gRPC and HTTP, the points that the file has, to the last attribute; the last are true"""
    try:
        ca, cert, key = tls.make_certs(case.dir / "tls")
        col = case.start(collector.Collector(case.dir, cert, key))
    except procs.NotReady as e:
        raise Skip(str(e)) from None
    env = {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(ca), "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "OTEL_METRIC_EXPORT_INTERVAL": "500",
           "OTEL_EXPORTER_OTLP_HEADERS": f"Authorization=Bearer%20{collector.TOKEN}"}
    t, web = _serve(case, ["--export", f"otlp=grpcs://localhost:{col.grpc}", "--export", f"otlp=https://localhost:{col.http}"], env)
    _load(web)
    time.sleep(1)
    t.finish()
    mine = points.load(t.file)
    want = sorted(p.facts() for c in mine for p in c)
    assert len(mine) >= 3 and want, t.said()
    for way in ("grpc", "http"):
        def got():
            return sorted(p.facts() for c in points.load(col.folder / f"{way}.jsonl") for p in c)
        procs.wait_for(way, lambda: len(got()) >= len(want), 10)
        assert got() == want, f"{way}: {len(set(got()) ^ set(want))} points differ"
    truth = _truth(t.spans())
    for p in mine[-1]:
        if p.name == "http.server.request.duration":
            count, total, buckets = truth.pop(str(p.attrs["http.response.status_code"]))
            assert (p.count, p.counts) == (count, buckets) and abs(p.sum - total) < 1e-6, (p.attrs, p.count, count)
    assert not truth, truth
    case.note(f"{len(want)} points in {len(mine)} collections")


@test("metrics/delta", limit=60)
def deltas(case):
    """with delta temporality the collections add up to the spans, and each begins where the last one ended"""
    t, web = _serve(case, [], {"OTEL_METRIC_EXPORT_INTERVAL": "300", "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
                               "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram"})
    for _ in range(5):
        _load(web, 6, 2)
        time.sleep(0.4)
    t.finish()
    seen, ended = collections.Counter(), {}
    for c in points.load(t.file):
        for p in c:
            if p.name != "http.server.request.duration":
                continue
            assert p.delta and p.kind == "exponentialHistogram", p.kind
            assert p.start >= ended.get(p.key(), 0) and p.time > p.start, "deltas overlap"
            ended[p.key()] = p.time
            seen[str(p.attrs["http.response.status_code"])] += p.count
    assert seen == {k: v[0] for k, v in _truth(t.spans()).items()} and sum(seen.values()) == 40, seen


@test("metrics/in-flight", limit=60)
def in_flight(case):
    """a process that is killed with requests open leaves no gauge behind"""
    port, web = procs.free_port(), procs.free_port()
    code = f"""
import socket, os, time, threading
s = socket.create_server(("127.0.0.1", {web}))
held = []
def one():
    c, _ = s.accept(); c.recv(4096); held.append(c)
for _ in range(3): one()
time.sleep(60)
"""
    t = tracer.Tracer(case.dir, ["sh", "-c", f"{paths.PYTHON} -c '{code}'; sleep 5"], opts=["--export", f"prometheus=127.0.0.1:{port}"])
    case.defer(procs.stop, t.proc)
    procs.wait_port(port, t.proc, t.log, 20)
    asked = []
    for _ in range(3):
        asked.append(subprocess.Popen(["curl", "-s", "--retry", "20", "--retry-connrefused", "--retry-delay", "1", f"http://127.0.0.1:{web}/x"]))
        case.defer(procs.stop, asked[-1])

    def active():
        lines = [x for x in _get(f"http://127.0.0.1:{port}/metrics").splitlines() if x.startswith("http_server_active_requests{")]
        return sum(float(x.rsplit(" ", 1)[1]) for x in lines) if lines else None
    procs.wait_for("three open requests", lambda: active() == 3, 20)
    shell = t.target()
    procs.send(procs.children(shell)[0], 9)
    procs.wait_for("none open", lambda: active() == 0, 10)


@test("metrics/network", limit=60)
def network(case):
    """bytes on TCP are those of the process that moved them, also on a connection that its parent opened"""
    code = """
import os, socket, time
l = socket.create_server(("127.0.0.1", 0)); c = socket.create_connection(l.getsockname()); s, _ = l.accept()
u, v = socket.socketpair()
child = os.fork()
if not child:
    c.sendall(b"x" * 70000); u.sendall(b"x" * 900); time.sleep(3); os._exit(0)
def take(s, n):
    while n: n -= len(s.recv(n))
take(s, 70000); c.sendall(b"x" * 20000); take(s, 20000); s.sendall(b"x" * 5000); take(c, 5000)
print(os.getpid(), child, flush=True); os.waitpid(child, 0)
"""
    t = tracer.Tracer(case.dir, [paths.PYTHON, "-c", code], env={**os.environ, "OTEL_METRIC_EXPORT_INTERVAL": "300"})
    case.defer(procs.stop, t.proc)
    assert t.proc.wait(30) == 0, t.said()
    last = {}
    for c in points.load(t.file):
        for p in c:
            if p.name == "process.network.io":
                assert p.monotonic and p.unit == "By", vars(p)
                last[p.resource["process.pid"], p.attrs["network.io.direction"]] = p.value
    found = sorted(last.values())
    assert found == [0, 25000, 70000, 95000] and len({pid for pid, _ in last}) == 2, last
