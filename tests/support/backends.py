"""Real receivers beside the Collector, Zipkin and Prometheus: Jaeger, built from its Go module, and VictoriaMetrics, Debian's."""
import json
import pathlib
import subprocess
import urllib.error
import urllib.parse
import urllib.request

from . import paths, procs

JAEGER_CONFIG = """
service:
  extensions: [jaeger_storage, jaeger_query]
  telemetry: {{ metrics: {{ level: none }}, logs: {{ level: warn }} }}
  pipelines:
    traces: {{ receivers: [otlp], exporters: [jaeger_storage_exporter] }}
extensions:
  jaeger_query:
    storage: {{ traces: memory }}
    http: {{ endpoint: 127.0.0.1:{query} }}
    grpc: {{ endpoint: 127.0.0.1:{query_grpc} }}
  jaeger_storage:
    backends: {{ memory: {{ memory: {{ max_traces: 100000 }} }} }}
receivers:
  otlp:
    protocols: {{ grpc: {{ endpoint: 127.0.0.1:{grpc} }}, http: {{ endpoint: 127.0.0.1:{http} }} }}
exporters:
  jaeger_storage_exporter: {{ trace_storage: memory }}
"""


def _script(name, limit):
    try:
        p = subprocess.run([paths.SUPPORT / name], capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        raise procs.NotReady(f"no {name[:-3]}: not made within {limit} s") from None
    if p.returncode:
        raise procs.NotReady(f"no {name[:-3]}: {p.stderr[-300:]}")
    return p.stdout.strip().splitlines()[-1]


def _get(url):
    """The JSON, or None while nobody answers or it isn't there."""
    try:
        with urllib.request.urlopen(url, timeout=10) as r:
            return json.load(r)
    except (urllib.error.URLError, OSError, ValueError):
        return None


class Jaeger:
    """A running Jaeger with its traces in memory; `grpc` and `http` are its OTLP ports."""

    def __init__(self, folder):
        binary = paths.BUILD / "jaeger/jaeger"
        if not binary.exists():
            raise procs.NotReady("no Jaeger: `make check-backends` builds it (7 minutes of a core)")
        self.grpc, self.http, self.query, query_grpc = (procs.free_port() for _ in range(4))
        self.log, config = pathlib.Path(folder) / "jaeger.log", pathlib.Path(folder) / "jaeger.yaml"
        config.write_text(JAEGER_CONFIG.format(grpc=self.grpc, http=self.http, query=self.query, query_grpc=query_grpc))
        self.proc = procs.start([binary, "--config", config], self.log)
        for port in (self.grpc, self.http, self.query):
            procs.wait_port(port, self.proc, self.log, 60)

    def trace(self, trace_id):
        """The trace as OTLP/JSON (its stable query API), or None."""
        found = _get(f"http://127.0.0.1:{self.query}/api/v3/traces/{trace_id}")
        return found and found.get("result", found)

    def services(self):
        return (_get(f"http://127.0.0.1:{self.query}/api/services") or {}).get("data") or []

    def classic(self, trace_id):
        """The spans of a trace as the user interface's API has them."""
        found = _get(f"http://127.0.0.1:{self.query}/api/traces/{trace_id}")
        return found["data"][0] if found and found.get("data") else None

    def stop(self):
        procs.stop(self.proc)


class VictoriaMetrics:
    """A running VictoriaMetrics; `url` is what OTEL_EXPORTER_OTLP_METRICS_ENDPOINT takes."""

    def __init__(self, folder):
        binary = _script("victoriametrics.sh", 200)
        self.port, self.log = procs.free_port(), pathlib.Path(folder) / "victoriametrics.log"
        self.proc = procs.start([binary, f"-httpListenAddr=127.0.0.1:{self.port}", f"-storageDataPath={folder}/victoriametrics",
                                 "-search.latencyOffset=0s", "-retentionPeriod=1d", "-memory.allowedBytes=128MB"], self.log)
        procs.wait_port(self.port, self.proc, self.log, 60)
        self.url = f"http://127.0.0.1:{self.port}/opentelemetry/v1/metrics"

    def series(self, match='{__name__!=""}'):
        """Every series with all its samples: [(labels, [(ms, value)])]."""
        _get(f"http://127.0.0.1:{self.port}/internal/force_flush")
        url = f"http://127.0.0.1:{self.port}/api/v1/export?" + urllib.parse.urlencode({"match[]": match})
        with urllib.request.urlopen(url, timeout=20) as r:
            rows = [json.loads(line) for line in r.read().splitlines() if line]
        return [(row["metric"], list(zip(row["timestamps"], row["values"]))) for row in rows]

    def stop(self):
        procs.stop(self.proc)
