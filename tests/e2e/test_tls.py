"""S7: HTTPS both ways: the same spans as in plain text, from OpenSSL (shared, and static in Node)."""
import ssl
import subprocess

from support import load, paths, procs, services, spans, tls, tracer
from support.harness import need, test
from support.venv import venv

N = 12
OK = "listen {port} ssl; ssl_certificate %s; ssl_certificate_key %s; location / { default_type text/plain; return 200 ok; }"


def _nginx(case, prefix=()):
    ca, cert, key = tls.make_certs(case.dir / "tls")
    return ca, case.start(services.Nginx(case.dir, OK % (cert, key), prefix=prefix))


def _client(case, argv, path, n=N):
    """Runs an HTTPS client under wftrace against an untraced nginx; n client spans with path and 200 are expected."""
    out = case.dir / "trace.jsonl"
    p = tracer.once("run", "--privacy", "off", "--export", f"otlp-json:{out}", "--", *argv)
    assert p.returncode == 0, f"status {p.returncode}: {p.stdout[-300:]} {p.stderr[-1000:]}"
    found = spans.load(out)
    got = [s for s in found.where("client", http__response__status_code=200) if (s["url.path"] or "").startswith(path)]
    assert sorted(s["url.path"] for s in got) == sorted(f"{path}{i}" for i in range(n)), \
        f"{len(got)} of {n} client spans: {sorted(s['url.path'] for s in got)}; all: {found[:8]}"
    for s in got:
        assert s["http.request.method"] == "GET" and s["server.port"], s.attrs
        assert s["url.scheme"] in (None, "https") and s.end > s.start, s.attrs
        assert any(a["process.executable.name"] for a in found.ancestors(s)), f"no process above {s}"


def _python(kind):
    @test(f"tls/python-{kind}", limit=60)
    def body(case):
        ca, web = _nginx(case)
        _client(case, [venv("web") / "bin" / "python", paths.TARGETS / "https_clients.py", kind, f"https://localhost:{web.port}", ca, N],
                f"/{kind}/")
    body.__doc__ = f"client: Python {kind}"


for _kind in ("requests", "httpx", "aiohttp", "httpx-async"):
    _python(_kind)


@test("tls/curl", limit=40)
def curl(case):
    """client: curl, one connection, several requests (OpenSSL or whatever it is linked with)"""
    ca, web = _nginx(case)
    urls = [f"https://localhost:{web.port}/curl/{i}" for i in range(N)]
    _client(case, ["curl", "-sS", "--http1.1", "--cacert", ca, *urls], "/curl/")


@test("tls/node-client", limit=40)
def node_client(case):
    """client: Node, OpenSSL linked statically"""
    node = need("/usr/bin/node")
    ca, web = _nginx(case)
    _client(case, [node, paths.TARGETS / "https_node.js", "client", f"https://localhost:{web.port}", ca, N], "/node/")


def _server(case, argv, port, ca, within=30):
    """Runs an HTTPS server under wftrace, sends requests on 4 keep-alive connections; each must be one server span."""
    t = tracer.Tracer(case.dir, argv, env={"PYTHONPATH": str(paths.TARGETS), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    case.defer(procs.stop, t.proc)
    procs.wait_port(port, t.proc, t.log, within)
    _ask_and_compare(t, port, ca)


def _ask_and_compare(t, port, ca, stop=None):
    reqs = load.plan(("echo", "echo", "fail"), 60)
    context = ssl.create_default_context(cafile=ca)
    load.run(reqs, port, connections=4, tls=context)
    assert not [r for r in reqs if r.error], [r.error for r in reqs if r.error][:2]
    (stop or t.finish)()
    by_path = {s["url.path"]: s for s in t.spans().where("server")}
    missing = [r.path for r in reqs if r.path not in by_path]
    assert not missing, f"{len(missing)} of {len(reqs)} server spans missing: {t.said()[-500:]}"
    for r in reqs:
        s = by_path[r.path]
        assert s["http.response.status_code"] == r.status, (r, s.attrs)
        assert (s.status == 2) == (r.status >= 500), (r, s.status)
        assert r.start - 3_000_000 <= s.start <= s.end <= r.end + 3_000_000, (r, s.start - r.start, s.end - r.end)


@test("tls/nginx-server", limit=40)
def nginx_server(case):
    """server: nginx"""
    ca, cert, key = tls.make_certs(case.dir / "tls")
    server = (f"listen {{port}} ssl; ssl_certificate {cert}; ssl_certificate_key {key};"
              " location /fail { return 500 ok; } location / { return 200 ok; }")
    out = case.dir / "trace.otlp.jsonl"
    web = case.start(services.Nginx(case.dir, server, prefix=[paths.WFTRACE, "run", "--export", f"otlp-json:{out}", "--"]))

    class Traced:
        spans = staticmethod(lambda: spans.load(out))
        said = staticmethod(lambda: procs.tail(web.folder / "out.log"))
    _ask_and_compare(Traced, web.port, ca, stop=web.stop)


@test("tls/uvicorn-server", limit=60)
def uvicorn_server(case):
    """server: uvicorn, asyncio's memory BIOs"""
    ca, cert, key = tls.make_certs(case.dir / "tls")
    port = procs.free_port()
    _server(case, [venv("web") / "bin" / "python", "-m", "uvicorn", "--loop", "asyncio", "--port", port, "--log-level", "warning",
                   "--no-access-log", "--ssl-certfile", cert, "--ssl-keyfile", key, "https_app:app"], port, ca)


@test("tls/uvloop-server", limit=60)
def uvloop_server(case):
    """server: uvicorn on uvloop"""
    ca, cert, key = tls.make_certs(case.dir / "tls")
    port = procs.free_port()
    _server(case, [venv("web") / "bin" / "python", "-m", "uvicorn", "--loop", "uvloop", "--port", port, "--log-level", "warning",
                   "--no-access-log", "--ssl-certfile", cert, "--ssl-keyfile", key, "https_app:app"], port, ca)


@test("tls/node-server", limit=40)
def node_server(case):
    """server: Node, OpenSSL linked statically"""
    node = need("/usr/bin/node")
    ca, cert, key = tls.make_certs(case.dir / "tls")
    port = procs.free_port()
    _server(case, [node, paths.TARGETS / "https_node.js", "server", port, cert, key], port, ca)


@test("self/bare-https", limit=60, product=False)
def bare_https(case):
    """the HTTPS clients and servers work by themselves"""
    ca, web = _nginx(case)
    python = venv("web") / "bin" / "python"
    for kind in ("requests", "httpx", "aiohttp", "httpx-async"):
        subprocess.run([python, paths.TARGETS / "https_clients.py", kind, f"https://localhost:{web.port}", ca, "5"], check=True,
                       capture_output=True)
    subprocess.run([need("/usr/bin/node"), paths.TARGETS / "https_node.js", "client", f"https://localhost:{web.port}", ca, "5"],
                   check=True, capture_output=True)
    ca, cert, key = tls.make_certs(case.dir / "tls2")
    port = procs.free_port()
    p = procs.start(["/usr/bin/node", paths.TARGETS / "https_node.js", "server", port, cert, key], case.dir / "node.log")
    case.defer(procs.stop, p)
    procs.wait_port(port, p)
    reqs = load.run(load.plan(("echo", "fail"), 20), port, connections=2, tls=ssl.create_default_context(cafile=ca))
    assert [r.status for r in reqs] == [200, 500] * 10, reqs[:3]
