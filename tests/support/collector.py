"""A real OpenTelemetry Collector: OTLP over gRPC and HTTP with TLS and a bearer token, each into its own file."""
import pathlib
import subprocess

from . import paths, procs

TOKEN = "t0ken-of-the-test"

CONFIG = """
extensions:
  bearertokenauth: {{ token: {token} }}
receivers:
  otlp/grpc:
    protocols: {{ grpc: {{ endpoint: 127.0.0.1:{grpc}, max_recv_msg_size_mib: 16, auth: {{ authenticator: bearertokenauth }},
                           tls: {{ cert_file: {cert}, key_file: {key} }} }} }}
  otlp/http:
    protocols: {{ http: {{ endpoint: 127.0.0.1:{http}, auth: {{ authenticator: bearertokenauth }},
                           tls: {{ cert_file: {cert}, key_file: {key} }} }} }}
exporters:
  file/grpc: {{ path: {dir}/grpc.jsonl, flush_interval: 100ms }}
  file/http: {{ path: {dir}/http.jsonl, flush_interval: 100ms }}
service:
  telemetry: {{ metrics: {{ level: none }}, logs: {{ level: warn }} }}
  extensions: [bearertokenauth]
  pipelines:
    traces/grpc: {{ receivers: [otlp/grpc], exporters: [file/grpc] }}
    traces/http: {{ receivers: [otlp/http], exporters: [file/http] }}
    logs/grpc: {{ receivers: [otlp/grpc], exporters: [file/grpc] }}
    logs/http: {{ receivers: [otlp/http], exporters: [file/http] }}
    metrics/grpc: {{ receivers: [otlp/grpc], exporters: [file/grpc] }}
    metrics/http: {{ receivers: [otlp/http], exporters: [file/http] }}
"""


def build():
    """Path of the Collector's binary; built on first use (about 3 minutes)."""
    p = subprocess.run([paths.SUPPORT / "collector.sh"], capture_output=True, text=True)
    if p.returncode:
        raise procs.NotReady(f"no Collector: {p.stderr[-400:]}")
    return p.stdout.strip().splitlines()[-1]


class Collector:
    """A running Collector; `grpc` and `http` are its ports, grpc.jsonl and http.jsonl its files in `folder`."""

    def __init__(self, folder, cert, key):
        binary = build()
        self.folder = pathlib.Path(folder) / "collector"
        self.folder.mkdir()
        self.grpc, self.http = procs.free_port(), procs.free_port()
        self.log = self.folder / "collector.log"
        config = self.folder / "config.yaml"
        config.write_text(CONFIG.format(token=TOKEN, grpc=self.grpc, http=self.http, cert=cert, key=key, dir=self.folder))
        self.proc = procs.start([binary, "--config", config], self.log)
        for port in (self.grpc, self.http):
            procs.wait_port(port, self.proc, self.log)

    def stop(self):
        procs.stop(self.proc)
