#!/usr/bin/env python3
"""A small OTLP trace receiver that misbehaves on demand.

    sink.py --dir DIR [--http] [--grpc] [--tls CERT KEY [--client-ca CA]] [--bearer TOKEN] [--fault FAULT[*N]]... 

Prints one line {"http": PORT, "grpc": PORT} when ready, then answers until its standard input closes. Each request, accepted
or not, is a line of DIR/requests.jsonl (what came, what was answered, when); bodies of accepted ones are written to
DIR/body.NNN (uncompressed protobuf) for `protoc --decode`.

Faults are used up one per request in the order given; after the last one everything is accepted:
    ok           accept
    http:CODE    that status (gRPC side: trailers-only UNKNOWN)
    after:CODE:S that status with Retry-After: S
    grpc:CODE    that grpc-status
    info:CODE:MS that grpc-status with RetryInfo of MS milliseconds in grpc-status-details-bin
    partial:N    accept, but say that N spans were rejected
    slow:MS      accept after that time
    reset        close the connection without an answer
    garbage      200 and bytes that are no response message

gRPC needs grpcio from PyPI; HTTP needs the standard library only."""
import argparse, gzip, json, os, socket, ssl, struct, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def varint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def field(number, wire, payload):
    return varint(number << 3 | wire) + (varint(len(payload)) + payload if wire == 2 else payload)


def partial_response(n):
    return field(1, 2, field(1, 0, varint(n)) + field(2, 2, b"too old")) if n else b""


def retry_info(code, ms):
    delay = field(1, 0, varint(ms // 1000)) + field(2, 0, varint(ms % 1000 * 1000000))
    any_ = field(1, 2, b"type.googleapis.com/google.rpc.RetryInfo") + field(2, 2, field(1, 2, delay))
    return field(1, 0, varint(code)) + field(2, 2, b"slow down") + field(3, 2, any_)


class Sink:
    def __init__(self, opts):
        self.opts, self.lock, self.count = opts, threading.Lock(), 0
        self.faults = []
        for spec in opts.fault:
            name, _, times = spec.partition("*")
            self.faults += [name.split(":")] * int(times or 1)
        self.log = open(os.path.join(opts.dir, "requests.jsonl"), "a", buffering=1)

    def take(self, **seen):
        """The fault for this request; records it."""
        with self.lock:
            fault = self.faults.pop(0) if self.faults else ["ok"]
            self.count += 1
            self.log.write(json.dumps(dict(seen, n=self.count, fault=":".join(fault), at=time.time())) + "\n")
            return fault, self.count

    def keep(self, n, body):
        with open(os.path.join(self.opts.dir, "body.%03d" % n), "wb") as f:
            f.write(body)


def http_handler(sink):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, code, body=b"", **headers):
            self.send_response(code)
            for k, v in headers.items():
                self.send_header(k.replace("_", "-"), v)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            encoding = self.headers.get("Content-Encoding", "")
            body = gzip.decompress(raw) if encoding == "gzip" else raw
            auth = self.headers.get("Authorization", "")
            fault, n = sink.take(proto="http", path=self.path, encoding=encoding, auth=auth, wire=len(raw), size=len(body),
                                 type=self.headers.get("Content-Type"), agent=self.headers.get("User-Agent"))
            if sink.opts.bearer and auth != "Bearer " + sink.opts.bearer:
                return self.answer(401, field(1, 0, varint(16)) + field(2, 2, b"no such token"))
            if self.path != "/v1/traces":
                return self.answer(404)
            kind = fault[0]
            if kind == "http":
                return self.answer(int(fault[1]), field(2, 2, b"told to fail"))
            if kind == "after":
                return self.answer(int(fault[1]), b"", Retry_After=fault[2])
            if kind == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                return self.connection.close()
            if kind == "slow":
                time.sleep(int(fault[1]) / 1000)
            sink.keep(n, body)
            if kind == "garbage":
                return self.answer(200, b"\xff\xff\xff<html>")
            self.answer(200, partial_response(int(fault[1]) if kind == "partial" else 0))

        def log_message(self, *a):
            pass

    return Handler


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a client that gives up is part of the tests


def start_http(sink):
    server = QuietServer(("127.0.0.1", 0), http_handler(sink))
    if sink.opts.tls:
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ctx.load_cert_chain(*sink.opts.tls)
        if sink.opts.client_ca:
            ctx.load_verify_locations(sink.opts.client_ca)
            ctx.verify_mode = ssl.CERT_REQUIRED
        server.socket = ctx.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def start_grpc(sink):
    import grpc
    from concurrent import futures

    def status(code):
        return next(c for c in grpc.StatusCode if c.value[0] == code)

    def export(body, ctx):
        meta = dict(ctx.invocation_metadata())
        auth = meta.get("authorization", "")
        fault, n = sink.take(proto="grpc", auth=auth, size=len(body), agent=meta.get("user-agent"))
        if sink.opts.bearer and auth != "Bearer " + sink.opts.bearer:
            ctx.abort(grpc.StatusCode.UNAUTHENTICATED, "no such token")
        kind = fault[0]
        if kind == "info":
            ctx.set_trailing_metadata([("grpc-status-details-bin", retry_info(int(fault[1]), int(fault[2])))])
        if kind in ("grpc", "info"):
            ctx.abort(status(int(fault[1])), "told to fail")
        if kind in ("http", "after", "reset"):
            ctx.abort(grpc.StatusCode.UNKNOWN, "told to fail")
        if kind == "slow":
            time.sleep(int(fault[1]) / 1000)
        sink.keep(n, body)
        return b"\xff\xff" if kind == "garbage" else partial_response(int(fault[1]) if kind == "partial" else 0)

    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
        service, {"Export": grpc.unary_unary_rpc_method_handler(export)}),))
    if sink.opts.tls:
        cert, key = (open(p, "rb").read() for p in sink.opts.tls)
        ca = open(sink.opts.client_ca, "rb").read() if sink.opts.client_ca else None
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, cert)], ca, ca is not None))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sink.server = server
    return port


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--dir", required=True)
    p.add_argument("--http", action="store_true")
    p.add_argument("--grpc", action="store_true")
    p.add_argument("--tls", nargs=2)
    p.add_argument("--client-ca")
    p.add_argument("--bearer")
    p.add_argument("--fault", action="append", default=[])
    opts = p.parse_args()
    sink = Sink(opts)
    ports = {}
    if opts.http:
        ports["http"] = start_http(sink)
    if opts.grpc:
        ports["grpc"] = start_grpc(sink)
    print(json.dumps(ports), flush=True)
    sys.stdin.read()
    os._exit(0)


main()
