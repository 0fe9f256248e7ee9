"""S1: a real Jaeger and a real VictoriaMetrics have, by their own query APIs, exactly what the file has."""
import os
import time
import urllib.error
import urllib.request

from support import backends, paths, points, procs, sink, spans, tracer
from support.harness import Skip, test


def _backend(case, make):
    try:
        return case.start(make(case.dir))
    except procs.NotReady as e:
        if str(e).startswith("no "):
            raise Skip(str(e)) from None
        raise


def _of_trace(found):
    """Spans of what Jaeger's /api/v3 answers, by id."""
    return {s.span_id: s for rs in (found or {}).get("resourceSpans", ()) for ss in rs["scopeSpans"] for raw in ss["spans"]
            for s in [spans.Span(raw, spans.attributes(rs["resource"].get("attributes", ())), ss.get("scope", {}).get("name", ""))]}


def _facts(s):
    return {"trace": s.trace_id, "parent": s.parent_id, "name": s.name, "kind": s.kind, "start": s.start, "end": s.end, "attrs": s.attrs,
            "status": (s.status, s.message), "events": s.events, "resource": s.resource,
            "links": sorted((x["traceId"], x["spanId"]) for x in s.links), "tracestate": s.tracestate}


@test("backends/jaeger", limit=120)
def jaeger(case):
    """Jaeger has every span, over gRPC and HTTP: ids, parents, times, kinds, names, attributes, status, events, resource"""
    j, port = _backend(case, backends.Jaeger), case.redis().port
    command = (f"for i in 1 2 3; do redis-cli -p {port} get a; done; redis-cli -p {port} nonsense; "
               f"{paths.PYTHON} -c 'import urllib.request as u; u.urlopen(\"http://127.0.0.1:1/\")'; false")
    total = 0
    for way, url in (("grpc", f"grpc://127.0.0.1:{j.grpc}"), ("http", f"http://127.0.0.1:{j.http}")):
        out = case.dir / f"{way}.jsonl"
        p = tracer.once("run", "-e", f"otlp={url}", "-e", f"otlp-json:{out}", "--service", f"by-{way}", "--", "sh", "-c", command)
        want = spans.load(out)
        assert p.returncode == 1 and len(want) >= 8 and "not delivered" not in p.stderr, p.stderr
        assert p.stderr.count("takes no metric points") == 1 and "refused for good" not in p.stderr, p.stderr
        for trace_id in {s.trace_id for s in want}:
            mine = {s.span_id: s for s in want if s.trace_id == trace_id}
            procs.wait_for("the trace", lambda: len(_of_trace(j.trace(trace_id))) >= len(mine), 20, j.proc, j.log, every=0.2)
            got = _of_trace(j.trace(trace_id))
            assert got.keys() == mine.keys(), (got.keys() ^ mine.keys())
            for i, s in mine.items():
                a, b = _facts(s), _facts(got[i])
                assert a == b, {k: (a[k], b[k]) for k in a if a[k] != b[k]}
            shown = j.classic(trace_id)
            assert {s["spanID"] for s in shown["spans"]} == mine.keys() and not any(s.get("warnings") for s in shown["spans"]), shown
        assert f"by-{way}" in j.services(), j.services()
        total += len(want)
    case.note(f"{total} spans")


def _labels(name, p, more=()):
    words = {k: ("true" if v is True else "false" if v is False else str(v)) for k, v in {**p.resource, **p.attrs, **dict(more)}.items()}
    return name, tuple(sorted((k, v) for k, v in words.items() if v))


def _samples(p):
    """What VictoriaMetrics makes of a point: {(name, labels, ms): value}."""
    ms = p.time // 1000000
    if p.kind != "histogram":
        return {(*_labels(p.name, p), ms): float(p.value)}
    found, sum_ = {(*_labels(p.name + "_count", p), ms): float(p.count), (*_labels(p.name + "_sum", p), ms): float(p.sum)}, 0
    for n, bound in zip(p.counts, [*(f"{b:g}" for b in p.bounds), "+Inf"]):
        sum_ += n
        found[(*_labels(p.name + "_bucket", p, [("le", bound)]), ms)] = float(sum_)
    return found


@test("backends/victoriametrics", limit=240)
def victoria(case):
    """VictoriaMetrics has every sample of every collection: name, labels, time, value"""
    v, s = _backend(case, backends.VictoriaMetrics), case.start(sink.Sink())
    (case.dir / "site").mkdir()
    port = procs.free_port()
    t = tracer.Tracer(case.dir, [paths.PYTHON, "-m", "http.server", "--bind", "127.0.0.1", "-d", case.dir / "site", port], opts=["-e", "otlp"],
                      env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": s.url, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": v.url,
                           "OTEL_METRIC_EXPORT_INTERVAL": "500", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"})
    case.defer(procs.stop, t.proc)
    procs.wait_port(port, t.proc, t.log, 40)
    for i in range(30):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/{'nothing' if i % 3 else ''}", timeout=10).close()
        except urllib.error.HTTPError as e:
            e.close()
    time.sleep(1)
    t.finish()
    mine = points.load(t.file)
    want = {k: x for c in mine for p in c for k, x in _samples(p).items()}
    assert len(mine) >= 3 and any(k[0] == "http.server.request.duration_bucket" for k in want), t.said()
    assert "refused" not in t.said() and "not delivered" not in t.said(), t.said()

    def got():
        return {(m["__name__"], tuple(sorted((k, w) for k, w in m.items() if k != "__name__")), ms): float(x)
                for m, row in v.series() for ms, x in row}

    try:
        procs.wait_for("the samples", lambda: len(got()) >= len(want), 15, v.proc, v.log, every=0.5)
    except procs.NotReady:
        pass
    have = got()
    assert not want.keys() - have.keys(), (len(want.keys() - have.keys()), sorted(want.keys() - have.keys())[:2])
    assert not have.keys() - want.keys(), (len(have.keys() - want.keys()), sorted(have.keys() - want.keys())[:2])
    wrong = [(k, x, have[k]) for k, x in want.items() if abs(x - have[k]) > 1e-9 * max(1, abs(x))]
    assert not wrong, wrong[:3]
    case.note(f"{len(want)} samples in {len(mine)} collections")
