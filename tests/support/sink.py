"""An OTLP/HTTP receiver that misbehaves on request and keeps what it was sent."""
import gzip
import http.server
import threading
import time


class Sink:
    """Answers POSTs by `plan`, a list of (status, headers, seconds to wait), the last one for ever. Bodies in `bodies`
    hold what came with an answer of 200; `asked` is (time, status) of every request."""

    def __init__(self, plan=((200, {}, 0),), port=0):
        self.plan, self.bodies, self.asked = list(plan), [], []
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                status, headers, wait = sink.plan.pop(0) if len(sink.plan) > 1 else sink.plan[0]
                time.sleep(wait)
                sink.asked.append((time.monotonic(), status))
                if status == 200:
                    sink.bodies.append(body)
                self.send_response(status)
                for k, v in headers.items():
                    self.send_header(k, v)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
