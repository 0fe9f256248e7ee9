"""S3: the spans reach a real Collector over gRPC and HTTP with TLS, bearer and gzip; schema and names are judged by others."""
import collections
import json
import os
import subprocess

from support import collector, load, paths, procs, sink, spans, tls, tracer, truth
from support.harness import Skip, test
from support.venv import venv

from targets import ALL



def _collector(case):
    try:
        ca, cert, key = tls.make_certs(case.dir / "tls")
        return ca, case.start(collector.Collector(case.dir, cert, key))
    except procs.NotReady as e:
        if str(e).startswith("no Collector"):
            raise Skip(str(e)) from None
        raise


def _env(ca, token=collector.TOKEN):
    return {**os.environ, "OTEL_EXPORTER_OTLP_CERTIFICATE": str(ca), "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_EXPORTER_OTLP_HEADERS": f"Authorization=Bearer%20{token}"}


def _facts(span):
    return (span.trace_id, span.parent_id, span.name, span.kind, span.start, span.end, span.status, span.message,
            json.dumps(span.attrs, sort_keys=True), json.dumps(span.resource, sort_keys=True), str(span.events))


@test("collector/grpc-and-http", limit=400)
def both(case):
    """file, gRPC and HTTP hold the same spans, to the attribute, and they are true"""
    ca, col = _collector(case)
    target = ALL["uvicorn-asyncio"](case)
    opts = ["--export", f"otlp=grpcs://localhost:{col.grpc}", "--export", f"otlp=https://localhost:{col.http}"]
    t = tracer.Tracer(case.dir, target.argv, opts=opts, env={**_env(ca), **target.env}, cwd=case.dir)
    case.defer(procs.stop, t.proc)
    procs.wait_port(target.port, t.proc, t.log, 40)
    reqs = load.run(load.plan(target.endpoints, 1000), target.port)
    t.finish()
    want = {s.span_id: _facts(s) for s in t.spans()}
    assert len(want) >= 1000, f"{len(want)} spans: {t.said()[-500:]}"
    for way in ("grpc", "http"):
        file = col.folder / f"{way}.jsonl"

        def count():
            return len(spans.load(file))
        try:
            procs.wait_for(way, lambda: count() >= len(want), 10)
        except procs.NotReady:
            pass
        found = spans.load(file)
        got = {s.span_id: _facts(s) for s in found}
        case.note(f"{way}: {len(found)} spans of {len(want)}")
        assert len(found) == len(got), f"{way}: {len(found) - len(got)} spans came twice"
        assert got.keys() == want.keys(), f"{way}: {len(want.keys() - got.keys())} missing, {len(got.keys() - want.keys())} unknown: {t.said()[-600:]}"
        differ = [k for k in want if got[k] != want[k]]
        assert not differ, f"{way}: {len(differ)} spans differ: {want[differ[0]]} / {got[differ[0]]}"
        v = truth.compare(reqs, found)
        assert v.perfect, "\n    ".join([v.line()] + v.problems)


@test("collector/wrong-token", limit=400)
def wrong_token(case):
    """a refused token is told, on both ways, and the command's status stands"""
    ca, col = _collector(case)
    for url in (f"grpcs://localhost:{col.grpc}", f"https://localhost:{col.http}"):
        p = tracer.once("run", "--export", f"otlp={url}", "--", "sh", "-c", "exit 4", env=_env(ca, "wrong"), timeout=60)
        assert p.returncode == 4, p.returncode
        assert any(w in p.stderr.lower() for w in ("401", "unauthenticated", "unauthorized", "token", "16")), f"{url}: {p.stderr}"


@test("collector/wrong-ca", limit=400)
def wrong_ca(case):
    """a certificate that cannot be verified is never accepted"""
    _, col = _collector(case)
    other, _, _ = tls.make_certs(case.dir / "other")
    for url in (f"grpcs://localhost:{col.grpc}", f"https://localhost:{col.http}"):
        p = tracer.once("run", "--export", f"otlp={url}", "--", "true", env=_env(other), timeout=60)
        assert p.returncode == 0 and "certificate" in p.stderr.lower(), f"{url}: {p.returncode} {p.stderr}"
    assert not spans.load(col.folder / "grpc.jsonl") and not spans.load(col.folder / "http.jsonl")


def decode(case, s):
    """Every body that the sink took, by the published schema of its signal; prints the ids of spans."""
    files = []
    for i, (signal, body) in enumerate(s.bodies):
        files.append(case.dir / f"body{i}.{signal}")
        files[-1].write_bytes(body)
    return subprocess.run([venv("otlp") / "bin" / "python", paths.SUPPORT / "otlp_check.py", "decode", *files], capture_output=True, text=True)


@test("export/schema", limit=120)
def schema(case):
    """protobuf bodies decode by the published schema with no unknown field, and hold the file's spans"""
    s = case.start(sink.Sink())
    out = case.dir / "trace.jsonl"
    p = tracer.once("run", "--export", f"otlp={s.url}", "--export", f"otlp-json:{out}", "--", "sh", "-c",
                    f"redis-cli -p {case.redis().port} get a; redis-cli -p {case.redis().port} nonsense; false")
    assert p.returncode == 1, p
    p = decode(case, s)
    assert p.returncode == 0, p.stderr[-800:]
    assert sorted(p.stdout.split()) == sorted(x.span_id for x in spans.load(out)) and p.stdout, p.stdout


@test("export/conventions", limit=120)
def conventions(case):
    """every attribute name and enum value is published, or under wftrace."""
    target = ALL["uvicorn-asyncio"](case)
    t = tracer.Tracer(case.dir, target.argv, env={**os.environ, **target.env}, cwd=case.dir)
    case.defer(procs.stop, t.proc)
    procs.wait_port(target.port, t.proc, t.log, 40)
    load.run(load.plan((*target.endpoints, "absent"), 50), target.port)
    t.finish()
    used = collections.defaultdict(set)
    for s in t.spans():
        for name, v in [*s.attrs.items(), *s.resource.items()]:
            used[name].add(v if isinstance(v, (str, int)) else str(v))
    assert len(used) > 15, sorted(used)
    file = case.dir / "used.json"
    file.write_text(json.dumps({k: sorted(v, key=str)[:300] for k, v in used.items()}))
    p = subprocess.run([venv("otlp") / "bin" / "python", paths.SUPPORT / "otlp_check.py", "names", file], capture_output=True, text=True)
    assert p.returncode == 0, p.stderr[-800:]
    assert not p.stdout.strip(), p.stdout


# What the conventions of HTTP, database and process spans require, or recommend and is known here.
_SERVER = ("http.request.method", "url.path", "url.scheme", "server.address", "client.address", "network.peer.address",
           "network.protocol.version", "user_agent.original", "http.response.status_code")
_CLIENT = ("http.request.method", "url.full", "server.address", "server.port", "http.response.status_code")
_DB = ("db.system.name", "server.address", "server.port", "network.peer.address", "network.peer.port")
_PROCESS = ("process.pid", "process.executable.name", "process.executable.path", "process.exit.code")
_ASK = """
import subprocess, sys, urllib.error, urllib.request
for path in ("/", "/absent"):
    try:
        urllib.request.urlopen("http://127.0.0.1:%s%s" % (sys.argv[1], path)).read()
    except urllib.error.HTTPError as e:
        e.read()
subprocess.run(["redis-cli", "-p", sys.argv[2], "hget", "a"])
subprocess.run(["redis-cli", "-p", sys.argv[2], "get", "a"])
subprocess.run(["psql", "-qAt", sys.argv[3], "-c", "select 1 from pg_class", "-c", "selec"])
"""


def _lacks(span, names):
    return [n for n in names if span[n] is None]


@test("export/requirements", limit=60)
def requirements(case):
    """attributes that the conventions require are there; 4xx is an error for the client only; error.type goes with errors"""
    (case.dir / "index.html").write_text("hello")
    serve = ("import http.server as h, sys; "
             "h.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), h.SimpleHTTPRequestHandler).serve_forever()")
    port = procs.free_port()
    t = tracer.Tracer(case.dir, ["/usr/bin/python3", "-c", serve, port], cwd=case.dir, name="server")
    case.defer(procs.stop, t.proc)
    procs.wait_port(port, t.proc, t.log, 20)
    out = case.dir / "client.jsonl"
    p = tracer.once("run", "--export", f"otlp-json:{out}", "--", "/usr/bin/python3", "-c", _ASK, port, case.redis().port, case.postgres().url)
    assert p.returncode == 0, p.stderr
    t.finish()
    found = spans.Spans([*t.spans(), *spans.load(out)])
    servers = [s for s in found.where("server") if s["user_agent.original"]]
    clients = [s for s in found.where("client") if s["http.request.method"]]
    calls = [s for s in found.where("client") if s["db.system.name"]]
    commands = [s for s in found.where("internal") if s["process.pid"]]
    assert len(servers) == 2 and len(clients) == 2 and len(calls) >= 4 and len(commands) >= 4, list(found)
    for group, names in ((servers, _SERVER), (clients, _CLIENT), (calls, _DB), (commands, _PROCESS)):
        for s in group:
            assert not _lacks(s, names), f"{s}: lacks {_lacks(s, names)}"
    for s in servers + clients:
        wrong = s["http.response.status_code"] == 404 and s.kind == "client"
        assert (s.status, s["error.type"]) == ((2, "404") if wrong else (0, None)), (s, s.status, s.attrs)
    for s in found:
        assert (s.status == 2) == (s["error.type"] is not None), (s, s.status, s["error.type"])
        assert s.status != 1, f"{s}: OK is the application's to set"
    failed = {s["db.system.name"]: s["db.response.status_code"] for s in calls if s.status == 2}
    assert failed == {"redis": "ERR", "postgresql": "42601"}, failed
    for s in found:
        r = s.resource
        assert r.get("service.name") and r.get("telemetry.distro.name") == "wftrace", r


@test("export/retry-after", limit=60)
def retry(case):
    """503 with Retry-After is waited for and sent again; nothing is lost or doubled"""
    s = case.start(sink.Sink(["after:503:1", "http:429"], only="traces"))
    p = tracer.once("run", "--export", f"otlp={s.url}", "--", "sh", "-c", "sleep 0.05; exit 2", timeout=40)
    assert p.returncode == 2, p
    asked = [r for r in s.requests if r["signal"] == "traces"]
    assert [r["status"] for r in asked][:3] == [503, 429, 200], (s.requests, p.stderr)
    assert asked[1]["at"] - asked[0]["at"] >= 0.9, "did not wait as asked"
    case.note(f"{len(s.requests)} requests")


@test("export/comes-back", limit=60)
def comes_back(case):
    """a receiver that is away at first gets every span once it is there; away and back are told once each"""
    port, out = procs.free_port(), case.dir / "trace.jsonl"
    t = tracer.Tracer(case.dir, ["sh", "-c", "/bin/true; sleep 0.3; /bin/true; sleep 5; /bin/true"],
                      opts=["--export", f"otlp=http://127.0.0.1:{port}"])
    case.defer(procs.stop, t.proc)
    procs.wait_for("the outage", lambda: "cannot reach" in t.said(), 20, t.proc, t.log)
    s = case.start(sink.Sink(port=port))
    assert t.proc.wait(30) == 0, t.said()
    assert t.said().count("cannot reach") == 1 and t.said().count("again after") == 1, t.said()
    p = decode(case, s)
    assert len(t.spans()) == 6 and sorted(p.stdout.split()) == sorted(x.span_id for x in t.spans()), (p.stdout, p.stderr, t.spans(), t.said())
