"""Thread-per-connection HTTP server whose handlers hand work to one shared ThreadPoolExecutor. Standard library only.

Usage: executor_server.py PORT REDIS_PORT. Answers with the ids of the calls made."""
import concurrent.futures
import http.server
import socket
import socketserver
import sys
import threading

pool = concurrent.futures.ThreadPoolExecutor(4)
local = threading.local()


def get(call):
    if not hasattr(local, "sock"):
        local.sock = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
    local.sock.sendall(b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(call), call.encode()))
    assert local.sock.recv(100) == b"$-1\r\n"
    return call


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        _, kind, rid = self.path.split("/")
        n = {"one": 1, "two": 2}.get(kind, 0)
        jobs = [pool.submit(get, f"{rid}.r{i + 1}") for i in range(n)]
        calls = [j.result() for j in jobs]
        if kind == "own":
            calls = [get(rid + ".r1")]
        body = ",".join(calls).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128


Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
