"""First light: `wftrace run` on the simplest things; the command's own behaviour is untouched."""
import subprocess

from support import paths, procs, services, spans, tracer
from support.harness import test


def _run(case, *argv, opts=(), name="trace", **kw):
    """Runs wftrace run to its end with separate outputs. Returns (CompletedProcess, Spans)."""
    out = case.dir / f"{name}.jsonl"
    p = tracer.once("run", "--privacy", "off", "--export", f"otlp-json:{out}", *opts, "--", *argv, **kw)
    return p, spans.load(out)


@test("run/true", limit=30)
def true(case):
    """one process span, exit 0, nothing on standard output"""
    p, found = _run(case, "/bin/true")
    assert p.returncode == 0 and p.stdout == "", (p.returncode, p.stdout, p.stderr)
    mine = found.where(process__executable__name="true")
    assert len(mine) == 1 and mine[0]["process.exit.code"] == 0, found
    assert mine[0].end > mine[0].start and mine[0].status != 2


@test("run/status-and-output", limit=30)
def status(case):
    """exit status, signal status, stdin, stdout, stderr and environment are the bare command's"""
    script = 'read x; echo "out $x $FOO"; echo "err $x" >&2; exit 7'
    env = {"FOO": "bar"}
    p, found = _run(case, "sh", "-c", script, env=env, input="hello\n")
    assert p.returncode == 7 and p.stdout == "out hello bar\n" and "err hello\n" in p.stderr, (p.returncode, p.stdout, p.stderr)
    failed = [s for s in found if s["process.exit.code"] == 7]
    assert len(failed) == 1 and failed[0].status == 2, found
    for sig in ("TERM", "KILL"):
        bare = subprocess.run(["sh", "-c", f"sh -c 'kill -{sig} $$'; exit $?"]).returncode
        p, found = _run(case, "sh", "-c", f"kill -{sig} $$", name=sig)
        assert p.returncode == bare, f"status {p.returncode} after SIG{sig}; a shell says {bare}"
        assert any(s.status == 2 for s in found), f"a killed process is no error: {[s.attrs for s in found]}"


@test("run/http-redis", limit=40)
def http_redis(case):
    """curl's request to nginx is a client span under curl's process; redis-cli's command likewise"""
    web = case.start(services.Nginx(case.dir, "listen {port};"))
    (web.folder / "html" / "a.txt").write_text("hello")
    url = f"http://127.0.0.1:{web.port}/a.txt?token=secret"
    p, found = _run(case, "curl", "-sS", url)
    assert p.returncode == 0 and p.stdout == "hello", p
    got = found.where("client", url__path="/a.txt")
    assert len(got) == 1, found
    span = got[0]
    want = {"http.request.method": "GET", "http.response.status_code": 200, "server.port": web.port}
    assert {k: span[k] for k in want} == want, span.attrs
    assert found.parent(span) and found.parent(span)["process.executable.name"] == "curl", (span, span["wftrace.parent.by"])
    p, found = _run(case, "redis-cli", "-p", case.redis().port, "set", "colour", "blue", name="redis")
    assert p.stdout == "OK\n", p
    got = [s for s in found.where("client") if s["db.operation.name"] == "SET"]
    assert len(got) == 1 and got[0]["db.system.name"] == "redis" and "colour" in got[0]["db.query.text"], found
    assert found.parent(got[0])["process.executable.name"] == "redis-cli"


@test("run/privacy-default", limit=40)
def privacy(case):
    """by default no literal, key value, query string or argument leaves; with --privacy off they do"""
    secret = "s3cr3t-w0rd"
    pg, redis = case.postgres(), case.redis()
    web = case.start(services.Nginx(case.dir, "listen {port};"))
    script = (f"redis-cli -p {redis.port} set k {secret}; psql -qAt {pg.url} -c \"select '{secret}', 42\";"
              f" curl -s -H 'Authorization: {secret}' 'http://127.0.0.1:{web.port}/x?q={secret}'")
    for mode, expected in (("strict", False), ("off", True)):
        out = case.dir / f"{mode}.jsonl"
        p = tracer.once("run", "--privacy", mode, "--export", f"otlp-json:{out}", "--", "sh", "-c", script)
        assert p.returncode == 0, p
        found = spans.load(out)
        systems = {s["db.system.name"] for s in found} | {"http" for s in found if s["url.path"]}
        assert {"redis", "postgresql", "http"} <= systems, f"{mode}: spans of {systems}"
        assert (secret in out.read_text()) is expected, f"--privacy {mode}: the secret is {'not ' if expected else ''}in the spans"


@test("run/traceparent", limit=30)
def traceparent(case):
    """TRACEPARENT of the environment is the parent of the command; traceparent on the wire is the parent of the request"""
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    p, found = _run(case, "true", env={"TRACEPARENT": f"00-{trace}-{span}-01"})
    mine = found.where(process__executable__name="true")
    assert mine and (mine[0].trace_id, mine[0].parent_id, mine[0]["wftrace.parent.by"]) == (trace, span, "env"), found
    port = procs.free_port()
    t = tracer.Tracer(case.dir, [paths.PYTHON, paths.TARGETS / "executor_server.py", port, case.redis().port], name="wire")
    case.defer(procs.stop, t.proc)
    procs.wait_port(port, t.proc, t.log)
    subprocess.run(["curl", "-s", "-H", f"traceparent: 00-{trace}-{span}-01", f"http://127.0.0.1:{port}/own/rid-000001"], check=True,
                   capture_output=True)
    t.finish()
    found = t.spans()
    got = found.where("server", url__path="/own/rid-000001")
    assert got and (got[0].trace_id, got[0].parent_id, got[0]["wftrace.parent.by"]) == (trace, span, "wire"), found
    calls = [s for s in found.where("client") if s.parent_id == got[0].span_id]
    assert len(calls) == 1 and calls[0].trace_id == trace, found


@test("run/console", limit=30)
def console(case):
    """piped, the console prints a line per finished activity on standard error; standard output stays the command's"""
    p = tracer.once("run", "--", "sh", "-c", "echo mine; ls / >/dev/null; exit 3")
    assert (p.returncode, p.stdout) == (3, "mine\n"), (p.returncode, p.stdout)
    lines = [x for x in p.stderr.splitlines() if x.strip()]
    assert any("ls" in x for x in lines) and any("3" in x for x in lines), p.stderr


@test("run/resource", limit=30)
def resource(case):
    """service.name, host and process attributes are there; OTEL_SERVICE_NAME and --service win"""
    _, found = _run(case, "sleep", "0.05")
    r = found.where(process__executable__name="sleep")[0].resource
    for key in ("service.name", "host.name", "telemetry.distro.name", "process.pid"):
        assert r.get(key), f"{key} is missing: {sorted(r)}"
    _, found = _run(case, "sleep", "0.05", name="b", env={"OTEL_SERVICE_NAME": "from-env"})
    assert found[0].resource["service.name"] == "from-env", found[0].resource
    _, found = _run(case, "sleep", "0.05", name="c", opts=["--service", "from-flag"])
    assert found[0].resource["service.name"] == "from-flag", found[0].resource


@test("run/two-ends-one-trace", limit=40)
def two_ends(case):
    """client and server in one traced tree: the server's request is a child of the client's, by the socket"""
    port = procs.free_port()
    script = (f"{paths.PYTHON} {paths.TARGETS}/executor_server.py {port} {case.redis().port} & s=$!;"
              f" for i in 1 2 3 4 5 6 7 8 9 10; do curl -s --retry 40 --retry-delay 1 --retry-connrefused http://127.0.0.1:{port}/own/rid-00000$i >/dev/null;"
              " sleep 0.05; done; kill $s")
    _, found = _run(case, "bash", "-c", script)
    servers = [s for s in found.where("server") if "/own/" in (s["url.path"] or "")]
    assert len(servers) == 10, servers
    joined = [s for s in servers if found.parent(s) is not None and found.parent(s).kind == "client"
              and found.parent(s)["url.path"] == s["url.path"] and s.trace_id == found.parent(s).trace_id]
    assert len(joined) == 10, [(s, s["wftrace.parent.by"]) for s in servers]


