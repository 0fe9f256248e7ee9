"""A receiver of OTLP (HTTP in protobuf and JSON, gRPC; all signals) and of Zipkin's JSON that misbehaves on demand and keeps
what it accepted. A class for the end-to-end tests, a program for the unit tests:

    python3 -m support.sink --dir DIR [--http] [--grpc] [--unix PATH] [--tls CERT KEY [--client-ca CA]] [--bearer TOKEN | --bearer-file FILE]
                            [--fault FAULT[*N]]...

The program prints one line {"http": PORT, "grpc": PORT} when ready, then answers until its standard input closes. Each request,
accepted or not, is a line of DIR/requests.jsonl (what came, what was answered, when); accepted bodies are written to DIR/body.NNN
(uncompressed) for `protoc --decode`.

Faults are used up one per request in the order given; after the last one everything is accepted:
    ok           accept
    http:CODE    that status (gRPC side: trailers-only UNKNOWN)
    after:CODE:S that status with Retry-After: S
    grpc:CODE    that grpc-status
    info:CODE:MS that grpc-status with RetryInfo of MS milliseconds in grpc-status-details-bin
    partial:N    accept, but say that N items were rejected
    slow:MS      accept after that time
    reset        close the connection without an answer
    cut:N        take N bytes of the body, then reset the connection
    half-open    take everything, answer nothing, keep the connection
    garbage      200 and bytes that are no response message

gRPC needs grpcio from PyPI; the rest needs the standard library only."""
import argparse
import gzip
import http.client
import json
import os
import select
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATHS = {"/v1/traces": "traces", "/v1/logs": "logs", "/v1/metrics": "metrics", "/api/v2/spans": "zipkin"}
SERVICES = {"trace": ("traces", "TraceService"), "logs": ("logs", "LogsService"), "metrics": ("metrics", "MetricsService")}


# --- just enough protobuf ---

def varint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def field(number, wire, payload):
    return varint(number << 3 | wire) + (varint(len(payload)) + payload if wire == 2 else payload)


def fields(data):
    """(number, value) of a message; value is bytes or a number."""
    at = 0

    def number():
        nonlocal at
        n = shift = 0
        while True:
            b = data[at]
            at += 1
            n |= (b & 0x7F) << shift
            shift += 7
            if b < 0x80:
                return n
    while at < len(data):
        tag = number()
        wire = tag & 7
        if wire == 0:
            yield tag >> 3, number()
        else:
            n = {1: 8, 5: 4}.get(wire) or number()
            yield tag >> 3, data[at:at + n]
            at += n


def span_ids(body):
    """Span ids of an ExportTraceServiceRequest in protobuf or JSON, or of Zipkin's list, in hex."""
    if body[:1] == b"[":
        return [s["id"] for s in json.loads(body)]
    if body[:1] == b"{":
        return [s["spanId"] for r in json.loads(body)["resourceSpans"] for sc in r["scopeSpans"] for s in sc["spans"]]
    return [bytes(v).hex() for _, rs in fields(body) for n, ss in fields(rs) if n == 2
            for m, span in fields(ss) if m == 2 for k, v in fields(span) if k == 2]


def partial_response(n):
    return field(1, 2, field(1, 0, varint(n)) + field(2, 2, b"too old")) if n else b""


def retry_info(code, ms):
    delay = field(1, 0, varint(ms // 1000)) + field(2, 0, varint(ms % 1000 * 1000000))
    any_ = field(1, 2, b"type.googleapis.com/google.rpc.RetryInfo") + field(2, 2, field(1, 2, delay))
    return field(1, 0, varint(code)) + field(2, 2, b"slow down") + field(3, 2, any_)


class Sink:
    """`requests`: dicts of what came, in order (`status` once it was answered). `bodies`: (signal, bytes) of what was accepted.
    `bearer`: the only token taken, or a function that says it. `only`: the signal that the faults are for. `serves`: the signals it knows, the
    others are 404 and UNIMPLEMENTED."""

    def __init__(self, faults=(), http=True, grpc=False, port=0, unix=None, tls=None, client_ca=None, bearer=None, folder=None, only=None,
                 serves=None, host="127.0.0.1"):
        self.lock, self.requests, self.bodies = threading.Lock(), [], []
        self.faults = []
        for spec in faults:
            name, _, times = spec.partition("*")
            self.faults += [name.split(":")] * int(times or 1)
        self.tls, self.client_ca, self.folder, self.only = tls, client_ca, folder, only
        self.serves, self.host = serves or ("traces", "logs", "metrics", "zipkin"), host
        self.bearer = bearer if callable(bearer) else lambda: bearer
        self.log = open(os.path.join(folder, "requests.jsonl"), "a", buffering=1) if folder else None
        self.servers, self.port, self.grpc_port = [], None, None
        if unix:
            self._serve(_UnixServer(unix, _handler(self)))
        if http:
            self.port = self._serve((_Server6 if ":" in host else _Server)((host, port), _handler(self))).server_address[1]
        if grpc:
            self.grpc_port = _start_grpc(self, 0 if http else port)

    def _serve(self, server):
        if self.tls and not isinstance(server, _UnixServer):
            ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            ctx.load_cert_chain(*self.tls)
            if self.client_ca:
                ctx.load_verify_locations(self.client_ca)
                ctx.verify_mode = ssl.CERT_REQUIRED
            server.socket = ctx.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self.servers.append(server)
        return server

    @property
    def url(self):
        return f"http{'s' if self.tls else ''}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def statuses(self):
        return [r["status"] for r in self.requests if r["status"]]

    def take(self, **seen):
        """The fault for this request, which is recorded; (fault, record)."""
        with self.lock:
            fault = self.faults.pop(0) if self.faults and self.only in (None, seen.get("signal")) else ["ok"]
            record = dict(seen, n=len(self.requests) + 1, fault=":".join(fault), at=time.time(), status=0)
            self.requests.append(record)
            if self.log:
                self.log.write(json.dumps(record) + "\n")
            return fault, record

    def keep(self, record, body):
        with self.lock:
            if self.folder:
                with open(os.path.join(self.folder, "body.%03d" % record["n"]), "wb") as f:
                    f.write(body)
            else:
                self.bodies.append((record["signal"], body))

    def spans(self):
        """Span ids accepted so far, in order, with repetitions."""
        with self.lock:
            bodies = [b for signal, b in self.bodies if signal in ("traces", "zipkin")]
        return [i for b in bodies for i in span_ids(b)]

    def stop(self):
        for server in self.servers:
            server.shutdown() if hasattr(server, "shutdown") else server.stop(0)
            if hasattr(server, "server_close"):
                server.server_close()


class Proxy:
    """An HTTP proxy on loopback: forwards what is asked with a whole URL, tunnels CONNECT. `asked`: (method, target)."""

    def __init__(self):
        self.asked = []
        self.server = _Server(("127.0.0.1", 0), _proxy_handler(self))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def _proxy_handler(proxy):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_POST(self):
            proxy.asked.append(("POST", self.path))
            url = urllib.parse.urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            there = http.client.HTTPConnection(url.hostname, url.port, timeout=20)
            there.request("POST", url.path, body, {k: v for k, v in self.headers.items() if not k.lower().startswith("proxy-")})
            got = there.getresponse()
            answer = got.read()
            self.send_response(got.status)
            self.send_header("Content-Type", got.headers.get("Content-Type", ""))
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def do_CONNECT(self):
            proxy.asked.append(("CONNECT", self.path))
            host, _, port = self.path.rpartition(":")
            with socket.create_connection((host.strip("[]"), int(port)), 10) as there:
                self.send_response(200)
                self.end_headers()
                ends = {self.connection: there, there: self.connection}
                while True:
                    for end in select.select(list(ends), [], [], 30)[0]:
                        data = end.recv(65536)
                        if not data:
                            self.close_connection = True
                            return
                        ends[end].sendall(data)

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a client that gives up is part of the tests


class _Server6(_Server):
    address_family = socket.AF_INET6


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


def _handler(sink):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def address_string(self):
            return "unix" if not self.client_address else self.client_address[0]

        def log_message(self, *_):
            pass

        def answer(self, code, body=b"", kind="application/x-protobuf", **headers):
            self.record["status"] = code
            self.send_response(code)
            for k, v in headers.items():
                self.send_header(k.replace("_", "-"), v)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def reset(self):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()

        def do_POST(self):
            size, kind = int(self.headers.get("Content-Length", 0)), self.headers.get("Content-Type", "")
            encoding, auth = self.headers.get("Content-Encoding", ""), self.headers.get("Authorization", "")
            signal = PATHS.get(self.path.split("?")[0])
            fault, self.record = sink.take(proto="http", path=self.path, signal=signal, encoding=encoding, auth=auth, wire=size,
                                           type=kind, agent=self.headers.get("User-Agent"))
            if fault[0] == "cut":
                self.rfile.read(min(size, int(fault[1])))
                return self.reset()
            raw = self.rfile.read(size)
            body = gzip.decompress(raw) if encoding == "gzip" else raw
            token = sink.bearer()
            if token and auth != "Bearer " + token:
                return self.answer(401, field(1, 0, varint(16)) + field(2, 2, b"no such token"))
            if signal not in sink.serves:
                return self.answer(404)
            self.act(fault, body, "json" in kind)

        def act(self, fault, body, as_json):
            kind, n = fault[0], int(fault[1]) if len(fault) > 1 else 0
            if kind == "http":
                return self.answer(n, field(2, 2, b"told to fail"))
            if kind == "after":
                return self.answer(n, b"", Retry_After=fault[2])
            if kind == "reset":
                return self.reset()
            if kind == "half-open":
                time.sleep(60)
                return self.reset()
            if kind == "slow":
                time.sleep(n / 1000)
            sink.keep(self.record, body)
            if kind == "garbage":
                return self.answer(200, b"\xff\xff\xff<html>")
            rejected = n if kind == "partial" else 0
            if as_json:
                reply = {"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": "too old"}} if rejected else {}
                return self.answer(202 if self.record["signal"] == "zipkin" else 200, json.dumps(reply).encode(), "application/json")
            self.answer(200, partial_response(rejected))

    return Handler


def _start_grpc(sink, port):
    import grpc
    from concurrent import futures

    def status(code):
        return next(c for c in grpc.StatusCode if c.value[0] == code)

    def method(signal):
        def export(body, ctx):
            meta = dict(ctx.invocation_metadata())
            auth = meta.get("authorization", "")
            fault, record = sink.take(proto="grpc", signal=signal, auth=auth, size=len(body), agent=meta.get("user-agent"))
            token = sink.bearer()
            if token and auth != "Bearer " + token:
                ctx.abort(grpc.StatusCode.UNAUTHENTICATED, "no such token")
            kind = fault[0]
            if kind == "info":
                ctx.set_trailing_metadata([("grpc-status-details-bin", retry_info(int(fault[1]), int(fault[2])))])
            if kind in ("grpc", "info"):
                ctx.abort(status(int(fault[1])), "told to fail")
            if kind in ("http", "after", "reset", "cut"):
                ctx.abort(grpc.StatusCode.UNKNOWN, "told to fail")
            if kind in ("slow", "half-open"):
                time.sleep(int(fault[1]) / 1000 if kind == "slow" else 60)
            sink.keep(record, body)
            record["status"] = 200
            return b"\xff\xff" if kind == "garbage" else partial_response(int(fault[1]) if kind == "partial" else 0)
        return grpc.unary_unary_rpc_method_handler(export)

    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    for package, (signal, service) in SERVICES.items():
        if signal not in sink.serves:
            continue
        name = f"opentelemetry.proto.collector.{package}.v1.{service}"
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"Export": method(signal)}),))
    where = f"[{sink.host}]:{port}" if ":" in sink.host else f"{sink.host}:{port}"
    if sink.tls:
        cert, key = (open(p, "rb").read() for p in sink.tls)
        ca = open(sink.client_ca, "rb").read() if sink.client_ca else None
        port = server.add_secure_port(where, grpc.ssl_server_credentials([(key, cert)], ca, ca is not None))
    else:
        port = server.add_insecure_port(where)
    server.start()
    sink.servers.append(server)
    return port


class GrpcSink:
    """A Sink that speaks gRPC, in a process of its own: the grpc module is Debian's, and so is that Python."""

    def __init__(self, folder, *options):
        self.folder = os.path.join(folder, "grpc-sink")
        os.makedirs(self.folder)
        self.proc = subprocess.Popen([os.environ.get("WF_PYTHON", "/usr/bin/python3"), __file__, "--dir", self.folder, "--grpc", *options],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.proc.stdout.readline()
        if not line:
            raise RuntimeError("no gRPC sink")
        self.grpc_port = json.loads(line)["grpc"]

    @property
    def requests(self):
        with open(os.path.join(self.folder, "requests.jsonl")) as f:
            return [json.loads(line) for line in f]

    def spans(self):
        """Span ids accepted so far; the folder holds bodies by the number of their request."""
        bodies = [os.path.join(self.folder, "body.%03d" % r["n"]) for r in self.requests if r["signal"] == "traces"]
        return [i for b in bodies if os.path.exists(b) for i in span_ids(open(b, "rb").read())]

    def stop(self):
        self.proc.stdin.close()
        self.proc.wait(10)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--dir", required=True)
    p.add_argument("--http", action="store_true")
    p.add_argument("--grpc", action="store_true")
    p.add_argument("--unix")
    p.add_argument("--tls", nargs=2)
    p.add_argument("--client-ca")
    p.add_argument("--only")
    p.add_argument("--serves", action="append")
    p.add_argument("--host", default="127.0.0.1")
    p.add_argument("--bearer")
    p.add_argument("--bearer-file")
    p.add_argument("--fault", action="append", default=[])
    o = p.parse_args()
    bearer = (lambda: open(o.bearer_file).read().strip()) if o.bearer_file else o.bearer
    sink = Sink(o.fault, http=o.http, grpc=o.grpc, unix=o.unix, tls=o.tls, client_ca=o.client_ca, bearer=bearer, folder=o.dir,
                only=o.only, serves=o.serves, host=o.host)
    print(json.dumps({k: v for k, v in (("http", sink.port), ("grpc", sink.grpc_port)) if v}), flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
