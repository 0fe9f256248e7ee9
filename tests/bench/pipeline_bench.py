"""CPU and speed of the way from a finished span to the wire, and a real Collector under the same load.

    make bench-pipeline [PIPELINE="--spans 500000 --rounds 5 --collector"]

`cpu` is wftrace's own CPU per span through queue, encoding, gzip and HTTP, without the making of the span; `all on one core` is
1 / (that and the making). The Collector's column is its CPU per span for taking the same requests and writing them as protobuf to
/dev/null: not the same work, but what a hop through it costs beside."""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from support import procs  # noqa: E402
import cost  # noqa: E402

CONFIG = """
receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:{port} }} }} }} }}
exporters: {{ file: {{ path: /dev/null, format: proto }} }}
service:
  telemetry: {{ metrics: {{ level: none }}, logs: {{ level: error }} }}
  pipelines: {{ traces: {{ receivers: [otlp], exporters: [file] }} }}
"""


def send(bench, url, spans, gzip, spool="-"):
    p = subprocess.run([bench, "send", url, str(spans), str(gzip), str(spool)], capture_output=True, text=True)
    if p.returncode:
        sys.exit(f"{url}: {p.stdout} {p.stderr}")
    return json.loads(p.stdout)


def to_sink(bench, spans, gzip, spool=False):
    sink = subprocess.Popen([bench, "sink"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with tempfile.TemporaryDirectory() as folder:
        found = send(bench, f"http://127.0.0.1:{int(sink.stdout.readline())}", spans, gzip, folder if spool else "-")
    sink.communicate("end\n")
    return found


def to_collector(bench, binary, spans):
    port = procs.free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "config.yaml"
        config.write_text(CONFIG.format(port=port))
        proc = procs.start([binary, "--config", config], pathlib.Path(folder) / "log")
        try:
            procs.wait_port(port, proc, pathlib.Path(folder) / "log")
            before = cost.cpu_ns(proc.pid)
            found = send(bench, f"http://127.0.0.1:{port}", spans, 1)
            found["collector_us"] = (cost.cpu_ns(proc.pid) - before) / 1000 / spans
            found["collector_mb"] = cost.rss_mb(proc.pid, "VmHWM")
        finally:
            procs.stop(proc)
    return found


def main():
    p = argparse.ArgumentParser()
    p.add_argument("bench")
    p.add_argument("--spans", type=int, default=300000)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--collector", action="store_true")
    o = p.parse_args()
    ways = {"no gzip": lambda: to_sink(o.bench, o.spans, 0), "gzip 1": lambda: to_sink(o.bench, o.spans, 1),
            "gzip 6": lambda: to_sink(o.bench, o.spans, 6), "gzip 1, spool": lambda: to_sink(o.bench, o.spans, 1, True)}
    if o.collector:
        from support import collector
        binary = collector.build()
        ways["Collector"] = lambda: to_collector(o.bench, binary, o.spans)
    rounds = [{name: way() for name, way in ways.items()} for _ in range(o.rounds)]
    print(f"{o.spans} spans of 10 attributes, {o.rounds} rounds, medians")
    for name in ways:
        def middle(key):
            return statistics.median(r[name][key] for r in rounds)
        line = f"{name:14} {middle('cpu_us'):6.2f} µs CPU a span  {middle('per_core_s'):9,.0f} spans/s all on one core  " \
               f"{middle('per_s'):9,.0f} spans/s seen  peak {middle('peak_mb'):.0f} MB"
        if name == "Collector":
            line += f"   the Collector itself: {middle('collector_us'):.2f} µs a span, {middle('collector_mb'):.0f} MB"
        print(line)


main()
