"""A configuration file with traffic behind it: processors, limits, tail, plugin, metrics of rules, baggage, samplers, logs in the store."""
import http.client
import json
import pathlib
import re
import sqlite3
import urllib.request

from support import paths, points, procs, sink, spans, tracer
from support.harness import test
from support.services import Nginx
from support.venv import venv

from targets import build

HEAD = 'file_format: "1.1"\n'


def _file(case, text, name="wftrace.yaml"):
    path = case.dir / name
    path.write_text(HEAD + text)
    return path


def _to(out):
    return f"tracer_provider:\n  processors: [{{batch: {{schedule_delay: 20, exporter: {{otlp_file/development: {{output_stream: 'file://{out}'}}}}}}}}]\n"


def _nginx(case, config, *opts):
    web = Nginx(case.dir, "listen 127.0.0.1:{port}; location / { return 200 ok; } location /bad { return 500 no; }",
                prefix=[str(paths.WFTRACE), "run", "-v", "-c", str(config), *opts, "--"])
    case.defer(procs.stop, web.proc)
    return web


def _ask(web, *paths_, **headers):
    c = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    for p in paths_:
        c.request("GET", p, headers=headers)
        c.getresponse().read()


def _served(out):
    return [s for s in spans.load(out) if s.kind == "server"]


@test("traffic/processors", limit=60)
def processors(case):
    """filter, attributes, rename, limit and a metric of spans, in the order of the file"""
    out, numbers = case.dir / "a.jsonl", case.dir / "m.jsonl"
    web = _nginx(case, _file(case, _to(out) + f"""meter_provider:
  readers: [{{periodic: {{interval: 500, exporter: {{otlp_file/development: {{output_stream: 'file://{numbers}'}}}}}}}}]
wftrace:
  processors:
    - metric: {{name: shop.requests, unit: "{{request}}", by: [url.path]}}
    - filter: {{drop: [{{attribute: url.path, value: /health}}]}}
    - attributes:
        steps:
          - set: {{key: team, value: orders}}
          - hash: {{key: user_agent.original, secret: salt}}
          - extract: {{key: url.path, pattern: "^/orders/(?<order>[0-9]+)"}}
          - delete: {{key: "network.*"}}
    - rename: {{steps: [{{pattern: "^GET.*", name: "order {{order}}"}}]}}
    - limit: {{signals: [traces], max_length: 16}}
"""))
    _ask(web, "/health", "/orders/17", "/orders/18", "/health", **{"User-Agent": "a client with a rather long name"})
    web.stop()
    found = _served(out)
    assert sorted(s.name for s in found) == ["order 17", "order 18"], found
    for s in found:
        assert s["team"] == "orders" and s["network.peer.address"] is None, s.attrs
        assert len(s["user_agent.original"]) <= 16 and "client" not in s["user_agent.original"], s.attrs
    counted = {p.attrs["url.path"]: p.value for p in points.load(numbers)[-1] if p.name == "shop.requests" and "url.path" in p.attrs}
    assert counted == {"/health": 2, "/orders/17": 1, "/orders/18": 1}, counted


@test("traffic/sampling", limit=60)
def sampling(case):
    """tail: errors and a name are kept; rules by path: the others are not even begun"""
    out = case.dir / "a.jsonl"
    tail = _file(case, _to(out) + "wftrace: {sampling: {tail: {errors: true, names: ['GET /paid*'], ratio: 0, wait: 100ms}}}\n")
    web = _nginx(case, tail)
    _ask(web, *["/"] * 20, "/bad", "/paid/1")
    web.stop()
    assert sorted(s["url.path"] for s in _served(out) if s["url.path"] != "/") == ["/bad", "/paid/1"], _served(out)
    kept = [s["url.path"] for s in _served(out)]
    case.note(f"tail kept {kept}")
    assert "/" not in kept or len(kept) == 22, kept
    out2 = case.dir / "b.jsonl"
    ruled = _file(case, _to(out2) + """  sampler:
    composite/development:
      rule_based:
        rules:
          - attribute_patterns: {key: url.path, included: ["/health*"]}
            sampler: {always_off: }
          - span_kinds: [server]
            sampler: {always_on: }
""", "ruled.yaml")
    web = _nginx(case, ruled)
    _ask(web, "/health", "/healthz", "/orders")
    web.stop()
    found = spans.load(out2)
    assert [s["url.path"] for s in found] == ["/orders"], [s.name for s in found]


@test("traffic/baggage", limit=60)
def baggage(case):
    """chosen keys of baggage through uvicorn, to the call, the request at its other end and the command below; without the propagator
    nothing is read"""
    out, port = case.dir / "a.jsonl", procs.free_port()
    argv = [venv("web") / "bin" / "python", "-m", "uvicorn", "--port", port, "--no-access-log", "--log-level", "warning", "answers:app"]
    (case.dir / "answers.py").write_text(f"""
import asyncio


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/nowhere":
        r, w = await asyncio.open_connection("127.0.0.1", {port})
        w.write(b"GET /below HTTP/1.1\\r\\nHost: here\\r\\nConnection: close\\r\\n\\r\\n")
        await r.read()
        w.close()
        await (await asyncio.create_subprocess_exec("true")).wait()
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}})
    await send({{"type": "http.response.body", "body": b"ok"}})
""")
    for propagators, want in (("tracecontext,baggage", ["42", "r-1 é"]), ("none", [None, None])):
        out.unlink(missing_ok=True)
        config = _file(case, f"propagator: {{composite_list: '{propagators}'}}\nwftrace: {{baggage: [user.id, request.id]}}\n" + _to(out))
        t = tracer.Tracer(case.dir, argv, opts=["-c", config], export=False, cwd=case.dir)
        case.defer(procs.stop, t.proc)
        procs.wait_port(port, t.proc, t.log, 40)
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        c.request("GET", "/nowhere", headers={"baggage": "user.id=42;p=1,other=x , request.id=r-1%20%C3%A9", "traceparent": f"00-{5:032x}-{5:016x}-01"})
        c.getresponse().read()
        c.close()
        t.finish()
        [s] = [x for x in _served(out) if x["url.path"] == "/nowhere"]
        assert [s["user.id"], s["request.id"]] == want and s["other"] is None, s.attrs
        under = [x for x in spans.load(out) if x.trace_id == s.trace_id and x is not s and x.span_id != s.span_id]
        assert {x.kind for x in under} == {"client", "server", "internal"} and "true" in {x.name for x in under}, under
        assert all([x["user.id"], x["request.id"]] == want for x in under), [(x.name, x.attrs) for x in under]
        assert (s.trace_id == f"{5:032x}") == (propagators != "none"), s


@test("traffic/rule-metrics", limit=60)
def rule_metrics(case):
    """metrics of a native rule under their exact names, over OTLP and at the scrape port, equal to the activities"""
    binary, out, numbers, port = build("native_c.c", "-O1", "-g", "-pthread"), case.dir / "a.jsonl", case.dir / "m.jsonl", procs.free_port()
    config = _file(case, _to(out) + f"""meter_provider:
  readers:
    - periodic: {{interval: 300, exporter: {{otlp_file/development: {{output_stream: 'file://{numbers}'}}}}}}
    - pull: {{exporter: {{prometheus/development: {{host: 127.0.0.1, port: {port}}}}}}}
wftrace:
  privacy: "off"
  rules:
    activities:
      - name: "order {{number}}"
        type: workflow
        at: "native:{binary}:place_order"
        attributes: {{ number: "arg0->0:i32" }}
        error: ret < 0
        metrics:
          - {{ counter: shop_orders_total, unit: "{{order}}", description: orders placed }}
          - {{ counter: shop.orders.failed, errors: true }}
          - {{ histogram: shop.order.duration, of: duration, unit: s }}
      - name: check_stock
        at: "native:{binary}:check_stock"
        attributes: {{ count: "arg1:i32" }}
        metrics:
          - {{ histogram: shop.stock.count, of: count }}
          - {{ gauge: shop.stock.last, of: count }}
      - name: nap
        at: "exec:*/sleep"
        metrics: [{{ active: shop.naps.open, unit: "{{nap}}" }}]
""")
    t = tracer.Tracer(case.dir, ["sh", "-c", f"{binary} >/dev/null; sleep 6"], opts=["-c", config], export=False)
    case.defer(procs.stop, t.proc)
    page = ""

    def scraped():
        nonlocal page
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as r:
                page = r.read().decode()
        except OSError:
            return False
        return "shop_order_duration_seconds_count" in page and "shop_naps_open" in page
    procs.wait_for("metrics of the rule", scraped, 30, t.proc, t.log)
    t.finish()
    orders = [s for s in spans.load(out) if s.name.startswith("order ")]
    failed = [s for s in orders if s.status == 2]
    assert orders and failed, orders
    last = {}
    for batch in points.load(numbers):
        for p in batch:
            if p.name.startswith("shop"):
                last[p.name] = p
    case.note(f"{len(orders)} orders, {len(failed)} failed; {sorted(last)}")
    assert set(last) == {"shop_orders_total", "shop.orders.failed", "shop.order.duration", "shop.naps.open", "shop.stock.count", "shop.stock.last"}
    assert last["shop_orders_total"].value == len(orders) and last["shop_orders_total"].monotonic and last["shop_orders_total"].unit == "{order}"
    assert last["shop.orders.failed"].value == len(failed)
    assert last["shop.order.duration"].count == len(orders)
    checks = [s["count"] for s in spans.load(out) if s.name == "check_stock"]
    assert last["shop.stock.count"].count == len(checks) and last["shop.stock.count"].sum == sum(checks), checks
    assert last["shop.stock.last"].value in checks and last["shop.naps.open"].value in (0, 1)
    assert abs(last["shop.order.duration"].sum - sum(s.end - s.start for s in orders) / 1e9) < 1e-6
    values = {m[1]: float(m[2]) for m in re.finditer(r"^(shop\w+)(?:\{[^}]*\})? ([-+.\deE]+)", page, re.M)}
    assert values["shop_orders_total"] == len(orders) and values["shop_orders_failed_total"] == len(failed), values
    assert values["shop_order_duration_seconds_count"] == len(orders) and values["shop_naps_open"] == 1, values


@test("traffic/logs", limit=60)
def logs(case):
    """log records into the store and onto the console, redacted, with the ids of their span"""
    store, said = case.dir / "s.db", case.dir / "said.txt"
    config = _file(case, f"""tracer_provider:
  processors: [{{simple: {{exporter: {{store: }}}}}}]
logger_provider:
  processors:
    - simple: {{exporter: {{store: }}}}
    - simple: {{exporter: {{console: }}}}
wftrace:
  store: {{file: {store}}}
  logs: {{stdio: true}}
""")
    p = tracer.once("run", "-c", config, "--", paths.PYTHON, "-c", "print('WARN paid by gina@corp.example.org with 4111111111111111')")
    assert p.returncode == 0, p.stderr
    lines = [json.loads(x) for x in p.stderr.splitlines() if x.startswith('{"time_unix_nano"')]
    assert any("paid by [email] with [card]" in x["body"] and x["trace_id"] for x in lines), p.stderr
    assert "gina@corp" not in p.stderr
    db = sqlite3.connect(store)
    tables = {r[0] for r in db.execute("select name from sqlite_master where type='table'")}
    case.note(f"tables {sorted(tables)}")
    raw = b"".join(f.read_bytes() for f in pathlib.Path(case.dir).glob("s.db*"))
    assert b"gina@corp" not in raw and b"4111111111111111" not in raw
    assert b"paid by [email]" in raw
