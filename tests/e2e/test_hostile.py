"""S10, what comes over the wire: garbage, huge bodies and headers, processes that die in mid-request."""
import os
import random
import signal
import socket
import subprocess
import time

from support import load, paths, procs, services, spans, tracer
from support.harness import test


class TracedNginx:
    """nginx under `wftrace run`; spans() after stop()."""

    def __init__(self, case, server, http=""):
        self.file = case.dir / "trace.otlp.jsonl"
        self.web = services.Nginx(case.dir, server, http, prefix=[paths.WFTRACE, "run", "--privacy", "off", "--export",
                                                                  f"otlp-json:{self.file}", "--"])
        case.defer(self.web.stop)
        self.port = self.web.port

    def said(self):
        return procs.tail(self.web.folder / "out.log")

    def rss_mb(self):
        for line in open(f"/proc/{self.web.proc.pid}/status"):
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
        return 0

    def spans(self):
        status = self.web.stop()
        assert status == 0, f"wftrace run -- nginx ended with {status}: {self.said()}"
        return spans.load(self.file)


def _ask(sock, path, extra=b""):
    sock.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n" % (path.encode(), extra))
    return sock


def _garbage(rng):
    """Things that a parser might stumble over."""
    noise = rng.randbytes
    yield from (noise(n) for n in (1, 10, 192, 5000, 70000))
    yield b"GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n" + noise(2000)
    yield b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n" + noise(500)
    yield b"GET /" + b"A" * 7000 + noise(100)
    yield b"*1000000000\r\n$9999999999\r\n" + noise(300)
    yield b"*-1\r\n*0\r\n$-5\r\n" + noise(30)
    yield b"\x00\x00\x00\x08\x04\xd2\x16\x2f" + noise(100)
    yield b"Q\x7f\xff\xff\xffSELECT 1\x00" + noise(100)
    yield b"\x16\x03\x01\xff\xff\x01" + noise(300)
    yield b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * 50
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello" * 3


@test("hostile/garbage", limit=60)
def garbage(case):
    """rubbish to a traced server does nothing to the tracer; what follows is right"""
    t = TracedNginx(case, "listen {port}; location / { return 200 ok; }")
    rng = random.Random(7)
    for _ in range(8):
        for data in _garbage(rng):
            with socket.create_connection(("127.0.0.1", t.port), 5) as s:
                s.settimeout(0.05)
                try:
                    s.sendall(data)
                    s.recv(4096)
                except OSError:
                    pass
    reqs = load.run(load.plan(("good",), 40), t.port, connections=4)
    assert not load.failures(reqs), load.failures(reqs)[:2]
    found = t.spans()
    seen = {s["url.path"] for s in found.where("server")}
    missing = [r.path for r in reqs if r.path not in seen]
    assert not missing, f"{len(missing)} of 40 good requests have no span: {t.said()[-500:]}"


SIZE = 2 << 30


@test("hostile/2gb-body", limit=120)
def big_body(case):
    """a body of 2 GiB: bounded time and memory at both ends, and the next request on the connection is right"""
    t = TracedNginx(case, "listen {port}; location /after { return 200 ok; }", http="sendfile on;")
    with open(t.web.folder / "html" / "big", "wb") as f:
        f.truncate(SIZE)
    urls = [f"http://127.0.0.1:{t.port}/big", "-o", "/dev/null", f"http://127.0.0.1:{t.port}/after", "-o", "/dev/null"]
    began = time.monotonic()
    subprocess.run(["curl", "-sS", *urls], check=True, timeout=60)
    bare = time.monotonic() - began
    out = case.dir / "client.jsonl"
    began = time.monotonic()
    p = tracer.once("run", "--export", f"otlp-json:{out}", "--", "curl", "-sS", *urls, timeout=90)
    took = time.monotonic() - began
    case.note(f"server traced {bare:.1f} s, both ends traced {took:.1f} s, peak memory {t.rss_mb():.0f} MB")
    assert p.returncode == 0 and took < 5 * bare + 5, (p.returncode, took, bare)
    client = {s["url.path"]: s for s in spans.load(out).where("client")}
    assert client.keys() >= {"/big", "/after"}, client
    assert t.rss_mb() < 200, t.rss_mb()
    server = [s["url.path"] for s in t.spans().where("server")]
    assert sorted(server) == ["/after", "/after", "/big", "/big"], server
    body = client["/big"]["http.response.body.size"]
    assert body in (None, SIZE), body
    assert client["/big"].end - client["/big"].start > 0.3 * took * 1e9 or took < 1, "the body's time is not in the span"


@test("hostile/1mb-header", limit=60)
def big_header(case):
    """a header of 1 MB: the request and the next one on its connection are spans"""
    t = TracedNginx(case, "listen {port}; location / { return 200 ok; }", http="large_client_header_buffers 4 2m;")
    with socket.create_connection(("127.0.0.1", t.port), 10) as s:
        for i in range(3):
            _ask(s, f"/big/{i}", b"X-Long: " + b"v" * (1 << 20) + b"\r\n")
            assert b"200" in s.recv(4096)
            _ask(s, f"/small/{i}")
            assert b"200" in s.recv(4096)
    found = sorted(s["url.path"] for s in t.spans().where("server"))
    assert found == sorted(f"/{kind}/{i}" for kind in ("big", "small") for i in range(3)), found


@test("hostile/killed-in-request", limit=60)
def killed(case):
    """a server killed in mid-request: its open request is told as unfinished, its process as killed"""
    port = procs.free_port()
    t = tracer.Tracer(case.dir, [paths.PYTHON, paths.TARGETS / "slow_server.py", port])
    case.defer(procs.stop, t.proc)
    procs.wait_port(port, t.proc, t.log)
    quick = socket.create_connection(("127.0.0.1", port), 5)
    assert b"200" in _ask(quick, "/quick").recv(1000)
    stuck = _ask(socket.create_connection(("127.0.0.1", port), 5), "/stuck/1")
    time.sleep(0.7)
    os.kill(t.target(), signal.SIGKILL)
    status = t.proc.wait(20)
    assert status == 137, f"status {status}"
    quick.close()
    stuck.close()
    found = t.spans()
    by = {s["url.path"]: s for s in found.where("server")}
    assert by.keys() >= {"/quick", "/stuck/1"}, by.keys()
    s = by["/stuck/1"]
    assert s["http.response.status_code"] is None and s.end - s.start >= 600_000_000, (s.attrs, s.end - s.start)
    assert s.status == 2 or s["wftrace.unfinished"] or s["error.type"], s.attrs
    assert any(x.status == 2 and x["process.pid"] is not None for x in found), "the killed process is no error"


@test("hostile/client-gone", limit=60)
def client_gone(case):
    """clients that leave in mid-request or in mid-answer leave no request open for ever, and the rest is right"""
    t = TracedNginx(case, "listen {port}; location /ok { return 200 ok; }", http="sendfile on;")
    with open(t.web.folder / "html" / "big", "wb") as f:
        f.truncate(50 << 20)
    for i in range(20):
        with socket.create_connection(("127.0.0.1", t.port), 5) as s:
            if i % 2:
                s.sendall(b"POST /half HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
            else:
                _ask(s, "/big").recv(10)
    with socket.create_connection(("127.0.0.1", t.port), 5) as s:
        assert b"200" in _ask(s, "/ok").recv(1000)
    found = t.spans()
    paths_ = [s["url.path"] for s in found.where("server")]
    assert paths_.count("/ok") == 1 and paths_.count("/big") == 10, paths_
