"""Secrets on their way through a real service: none leaves in any exporter with defaults on."""
import http.client
import pathlib
import urllib.request

from support import paths, procs, sink, tracer
from support.harness import test
from support.services import Nginx

SECRETS = {
    "mail": ("/users/ann.smith@mail.example.org", "ann.smith@mail"),
    "card": ("/pay/4111111111111111/now", "4111111111111111"),
    "jwt": ("/t/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P", "eyJzdWIiOiIxMjM0In0"),
    "key": ("/k/ghp_abcdefghijklmnopqrstuvwxyz0123456789", "ghp_abcdefgh"),
    "query": ("/q?access_token=zzzyyyxxxwww&b=1", "zzzyyyxxxwww"),
    "login": ("/l?password=hunter2hunter2", "hunter2hunter2"),
}
HEADERS = {"User-Agent": "client/1 (mailto:bob@corp.example.org)", "Authorization": "Bearer 2YotnFZFEjr1zCsicMWpAA",
           "Cookie": "session=abcdef0123456789", "X-Api-Key": "0011223344556677",
           "tracestate": "v=carol@corp.example.org", "traceparent": f"00-{7:032x}-{7:016x}-01"}
HEADER_SECRETS = ("bob@corp", "2YotnFZFEjr1", "abcdef0123456789", "0011223344556677", "carol@corp")


def _leaks(case, outputs, secrets):
    for out in outputs:
        for p in sorted(pathlib.Path(case.dir).glob(out)):
            data = p.read_bytes()
            for s in secrets:
                assert s.encode() not in data, f"{s} stands in {p.name}: …{data[max(0, data.find(s.encode()) - 200):][:400]}"


@test("redact/http", limit=60)
def http_(case):
    """addresses, cards, tokens, keys in paths, queries and headers: in no exporter's output, nor in the store"""
    jsonl, plain, store = case.dir / "a.otlp.jsonl", case.dir / "b.console.jsonl", case.dir / "c.store.db"
    web = Nginx(case.dir, "listen 127.0.0.1:{port}; location / { return 200 ok; }",
                prefix=[str(paths.WFTRACE), "run", "-v", "--export", f"otlp-json:{jsonl}", "--export", f"console:json:{plain}",
                        "--export", f"store:{store}", "--export", "console:lines", "--"])
    case.defer(procs.stop, web.proc)
    c = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    for path, _ in SECRETS.values():
        c.request("GET", path, headers=HEADERS)
        assert c.getresponse().read() == b"ok"
    web.stop()
    found = [s for s in tracer.spans.load(jsonl) if s.kind == "server"]
    assert len(found) == len(SECRETS), found
    paths_seen = [s.attrs.get("url.path") for s in found]
    case.note(f"paths: {paths_seen}")
    assert "/users/[email]" in paths_seen and "/pay/[card]/now" in paths_seen, paths_seen
    _leaks(case, ["a.otlp.jsonl", "b.console.jsonl", "c.store.db*", "nginx-*/out.log"], [s for _, s in SECRETS.values()] + list(HEADER_SECRETS))


@test("redact/commands", limit=60)
def commands(case):
    """arguments, statements and what the database answers: in no exporter's output; the capture says what it holds"""
    jsonl, store, cap = case.dir / "a.otlp.jsonl", case.dir / "c.store.db", case.dir / "x.wfcap"
    url = case.postgres().url
    p = tracer.once("run", "-v", "--capture", cap, "--export", f"otlp-json:{jsonl}", "--export", f"store:{store}", "--export", "console:lines", "--",
                    "sh", "-c", f"/bin/echo --password hunter2hunter2 >/dev/null; "
                    f"psql -qAt {url} -c \"select 'dave@corp.example.org', 5555555555554444\" >/dev/null; "
                    f"psql -qAt {url} -c \"select cast('eve@corp.example.org' as integer)\" 2>/dev/null; "
                    f"redis-cli -p {case.redis().port} set user:frank@corp.example.org secretvalue123 >/dev/null")
    assert p.returncode == 0, p.stderr
    (case.dir / "stderr.txt").write_text(p.stderr)
    assert len(tracer.spans.load(jsonl)) >= 6
    _leaks(case, ["a.otlp.jsonl", "c.store.db*", "stderr.txt"],
           ["hunter2hunter2", "dave@corp", "5555555555554444", "eve@corp", "frank@corp", "secretvalue123"])
    assert b"contains=payload bytes as they passed" in cap.read_bytes()[:65536]


@test("redact/off", limit=40)
def off(case):
    """--privacy off keeps values, because that is what was asked for"""
    jsonl = case.dir / "a.otlp.jsonl"
    p = tracer.once("run", "--privacy", "off", "--export", f"otlp-json:{jsonl}", "--", "psql", "-qAt", case.postgres().url, "-c",
                    "select 'dave@corp.example.org'")
    assert p.returncode == 0, p.stderr
    assert any("dave@corp" in str(s.attrs.get("db.query.text")) for s in tracer.spans.load(jsonl))


@test("redact/receivers", limit=90)
def receivers(case):
    """every signal to OTLP over gRPC and HTTP (protobuf, JSON), Zipkin and the scrape port: no secret in what was received"""
    web_sink, scrape = case.start(sink.Sink()), procs.free_port()
    rpc = case.start(sink.GrpcSink(case.dir))
    http_url, grpc_url = web_sink.url, f"http://127.0.0.1:{rpc.grpc_port}"

    def otlp(signal):
        return [f"otlp_grpc: {{endpoint: '{grpc_url}'}}", f"otlp_http: {{endpoint: '{http_url}/v1/{signal}', compression: gzip}}",
                f"otlp_http: {{endpoint: '{http_url}/v1/{signal}', encoding: json}}"]

    def simple(exporters):
        return "".join(f"    - simple: {{exporter: {{{x}}}}}\n" for x in exporters)

    config = case.dir / "all.yaml"
    config.write_text('file_format: "1.1"\ntracer_provider:\n  processors:\n' + simple([*otlp("traces"), f"zipkin: {{endpoint: '{http_url}/api/v2/spans'}}"])
                      + "logger_provider:\n  processors:\n" + simple(otlp("logs"))
                      + "meter_provider:\n  readers:\n" + "".join(f"    - periodic: {{interval: 300, exporter: {{{x}}}}}\n" for x in otlp("metrics"))
                      + f"    - pull: {{exporter: {{prometheus/development: {{host: 127.0.0.1, port: {scrape}}}}}}}\n"
                      + f"wftrace:\n  logs: {{files: ['{case.dir}/access.log']}}\n"
                      + "  baggage: [user.id]\n  processors:\n"
                      + "    - metric: {name: by.path, by: [url.path, user_agent.original, user.id]}\n")
    web = Nginx(case.dir, "listen 127.0.0.1:{port}; location / { return 200 ok; } access_log " + str(case.dir / "access.log") + " combined;",
                prefix=[str(paths.WFTRACE), "run", "-v", "-c", str(config), "--"])
    case.defer(procs.stop, web.proc)
    c = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    for path, _ in SECRETS.values():
        c.request("GET", path, headers={**HEADERS, "baggage": "user.id=henry@corp.example.org"})
        assert c.getresponse().read() == b"ok"
    page = case.dir / "scraped.txt"

    def scraped():
        """also that log lines came: the file is found open some time after it was opened"""
        c.request("GET", SECRETS["mail"][0], headers=HEADERS)
        c.getresponse().read()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{scrape}/metrics", timeout=5) as r:
                page.write_bytes(r.read())
        except OSError:
            return False
        return b"by_path_total{" in page.read_bytes() and any(signal == "logs" for signal, _ in list(web_sink.bodies))
    procs.wait_for("a metric of spans and a log record", scraped, 20, web.proc)
    web.stop()
    received = {("http", signal) for signal, _ in web_sink.bodies} | {("grpc", r["signal"]) for r in rpc.requests}
    case.note(f"{len(web_sink.bodies)} + {len(rpc.requests)} requests: {sorted(received)}")
    assert received >= {("http", "traces"), ("http", "zipkin"), ("http", "metrics"), ("grpc", "traces"), ("grpc", "metrics"),
                        ("http", "logs"), ("grpc", "logs")}, received
    (case.dir / "http.bodies").write_bytes(b"".join(body for _, body in web_sink.bodies))
    for file in (case.dir / "http.bodies", *(case.dir / "grpc-sink").glob("body.*"), page):
        assert file.stat().st_size
    assert b"/users/[email]" in (case.dir / "http.bodies").read_bytes() and b"/users/[email]" in page.read_bytes()
    _leaks(case, ["http.bodies", "grpc-sink/body.*", "scraped.txt", "nginx-*/out.log"],
           [s for _, s in SECRETS.values()] + [*HEADER_SECRETS, "henry@corp"])
