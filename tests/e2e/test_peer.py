"""One application, seen by `opentelemetry-instrument` and by wftrace: in the same processes at once, which compares times; and in two
runs, each of them alone, where neither knows what the other wrote into a header."""
import collections
import os
import re
import statistics
import subprocess
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from support import paths, peer, procs, spans
from support.harness import test
from support.sink import Sink
from support.venv import venv

CONVERT = """import base64, json, sys
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
for name in sys.argv[1:]:
    m = json_format.MessageToDict(ExportTraceServiceRequest.FromString(open(name, "rb").read()), use_integers_for_enums=True)
    for s in (s for r in m.get("resourceSpans", ()) for ss in r["scopeSpans"] for s in ss["spans"]):
        for o in [s, *s.get("links", ())]:
            o.update({k: base64.b64decode(o[k]).hex() for k in ("traceId", "spanId", "parentSpanId") if k in o})
    print(json.dumps(m))
"""
# What ASGI servers send, which the instrumentation of FastAPI has a span for.
MESSAGES = """activities:
  - name: "message {asgi.event.type}"
    at: python:uvicorn.protocols.http.*_impl:RequestResponseCycle.send
    attributes: { asgi.event.type: 'arg.message["type"]', status: 'arg.message["status"]', url.path: 'self.scope["path"]' }
    error: [ exception, 'attr.status >= 500' ]
"""
CONNECTS = {("redis", name) for name in ("PING", "LLEN", "SADD")}  # said on each new connection of Celery's pools
WIDER = {"model's call", "request, httpx"}  # theirs is the library's call: what is made ready before the first byte, what is read out of the last
ORDERS, REFUSED = range(1, 25), range(901, 904)


class Model:
    def __init__(self, case):
        self.port = procs.free_port()
        self.proc = procs.start([paths.PYTHON, paths.TARGETS / "llm_server.py", self.port], case.dir / "model.log")
        procs.wait_port(self.port, self.proc, case.dir / "model.log")

    def stop(self):
        procs.stop(self.proc)


class App:
    """The application's processes, `sdk`: under opentelemetry-instrument, `ours`: under wftrace; asked for the same things every time."""

    def __init__(self, case, name, sdk, ours):
        self.dir, self.ours, self.port, where = case.dir / name, ours, procs.free_port(), venv("peer")
        self.dir.mkdir()
        model, redis, pg = Model(case), case.redis(), case.postgres()
        pg.sql("DROP TABLE IF EXISTS peer; CREATE TABLE peer (id int PRIMARY KEY, item text NOT NULL, note text)")
        subprocess.run(["redis-cli", "-p", str(redis.port), "flushall"], check=True, capture_output=True)
        env = {**os.environ, "VIRTUAL_ENV": str(where), "PATH": f"{where / 'bin'}:{os.environ['PATH']}", "PORT": str(self.port),
               "REDIS_PORT": str(redis.port), "PG_URL": pg.url, "MODEL_URL": f"http://127.0.0.1:{model.port}/v1", "WITH": ""}
        if sdk:
            folder = self.dir / "bodies"
            folder.mkdir()
            self.sink = case.start(Sink(folder=str(folder)))
            env |= {"WITH": "opentelemetry-instrument", "OTEL_EXPORTER_OTLP_ENDPOINT": self.sink.url, "OTEL_METRICS_EXPORTER": "none",
                    "OTEL_LOGS_EXPORTER": "none", "OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
        self.file, self.log, rules = self.dir / "ours.jsonl", self.dir / "app.log", self.dir / "rules.yaml"
        rules.write_text(MESSAGES)
        argv = [paths.WFTRACE, "run", "-v", "--privacy", "off", "-r", rules, "-e", f"otlp-json:{self.file}", "--"] if ours else []
        self.proc = procs.start([*argv, paths.TARGETS / "engines" / "peer_stack"], self.log, env=env)
        case.defer(model.stop)
        case.defer(self.stop)
        procs.wait_port(self.port, self.proc, self.log, 60)
        self.statuses = self._load()
        self._wait_done(redis.port)
        if sdk:
            self._wait_flushed()
        self.stop()

    def _ask(self, method, path):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as r:
                r.read()
                return r.status
        except urllib.error.HTTPError as e:
            return e.code

    def _load(self):
        half = len(ORDERS) // 2
        got = [self._ask("POST", f"/orders/{n}") for n in ORDERS[:half]] + [self._ask("GET", f"/refused/{n}") for n in REFUSED]
        with ThreadPoolExecutor(4) as pool:
            got += pool.map(lambda n: self._ask("POST", f"/orders/{n}"), ORDERS[half:])
        return got

    def _wait_done(self, port):
        """The last tasks end after the last answer: no message is left, nor one that a worker has and has not acknowledged."""
        def left():
            said = subprocess.run(["redis-cli", "-p", str(port), "-n", "1", "EXISTS", "celery", "unacked"], capture_output=True, text=True)
            return said.stdout.strip()
        empty = []
        procs.wait_for("the last task", lambda: empty.append(left()) or empty[-3:] == ["0"] * 3, 30, self.proc, self.log, every=0.1)

    def _wait_flushed(self):
        """The SDK sends every 0.2 s."""
        seen = []
        procs.wait_for("the SDK's last export", lambda: seen.append(len(self.sink.requests)) or seen[-10:] == [seen[-1]] * 10, 30,
                       self.proc, self.log, every=0.1)

    def stop(self):
        if self.proc.poll() is None:
            procs.send(procs.children(self.proc.pid)[0] if self.ours else self.proc.pid, 15)
            self.proc.wait(40)

    def spans(self):
        return spans.load(self.file)

    def theirs(self):
        bodies = sorted((self.dir / "bodies").glob("body.*"))
        p = subprocess.run([venv("peer") / "bin" / "python", "-c", CONVERT, *bodies], capture_output=True, text=True, check=True)
        out = self.dir / "theirs.jsonl"
        out.write_text(p.stdout)
        return spans.load(out)


def documented(heading):
    """What stands in backticks under a heading of docs/compared.md."""
    text = (paths.ROOT / "docs" / "compared.md").read_text()
    return set(re.findall(r"`([^`]+)`", text.split(f"## {heading}\n")[1].split("\n## ")[0]))


def errors(pairs):
    """What only one of them calls an error."""
    return [f"{p.their.name}: theirs {p.their.status} {p.their.message!r}, ours {p.first.status} {p.first['error.type']}"
            for p in pairs if (p.their.status == 2) != (p.first.status == 2)]


@test("peer/times", limit=600)
def times(case):
    """Both in the same processes at once: every span of theirs is one of ours, under the same parent, at the same time"""
    app = App(case, "both", True, True)
    assert app.statuses == [200] * (len(ORDERS) // 2) + [502] * len(REFUSED) + [200] * (len(ORDERS) // 2), app.statuses
    theirs, ours = app.theirs(), app.spans()
    pairs, missing, rest = peer.match(theirs, ours)
    wrong = peer.wrong_parents(theirs, ours, pairs)
    case.note(f"{len(theirs)} spans of opentelemetry-instrument, {len(ours)} of ours: missing {len(missing)}, WRONG {len(wrong)}")
    assert not missing and len(theirs) > 900, [f"{s.name} of {peer.order(theirs, s)}" for s in missing[:10]]
    assert not wrong, wrong[:10]
    assert not errors(pairs), errors(pairs)[:5]
    apart = collections.defaultdict(list)
    for p in pairs:
        gap = max(p.first.start - p.their.end, p.their.start - p.last.end) / 1e6  # theirs may be over before the bytes go
        assert gap < 100, f"{p.their.name} and {p.first!r} are {gap:.1f} ms apart"
        apart[p.label].append(p.apart)
    for label, both in sorted(apart.items()):
        starts, ends = zip(*both)
        near = sum(abs(x) <= 2 and abs(y) <= 2 for x, y in both)
        case.note(f"{label:20} {len(both):4}: ours begins {statistics.median(starts):+6.2f} ms, ends {statistics.median(ends):+6.2f} ms (medians); "
                  f"both within 2 ms: {100 * near / len(both):.0f} %")
        within = label in WIDER and min(starts) > -2 and max(ends) < 2
        assert within or abs(statistics.median(starts)) <= 2 and abs(statistics.median(ends)) <= 2, label
    only_ours(rest)
    only_theirs(theirs, pairs)


def only_ours(rest):
    """docs/compared.md lists what has no span of theirs: all of it, and nothing else."""
    names = {peer.ours(s)[0][-1] if s.scope != "wftrace/process" else "process" for s in rest}
    names = {re.sub(r"^(?:/v1/traces)$", "export", n) for n in names}
    told = documented("Only wftrace")
    assert names <= told | {"export", "SELECT", "PING"}, names - told  # the SDK's own requests; what a client says when it connects
    assert told & {n for n in told if n.isupper()} <= names, told - names


def only_theirs(theirs, pairs):
    """docs/compared.md lists the attributes that are theirs alone."""
    keys = {k for s in theirs for k in s.attrs} | {k for s in theirs for _, attrs in s.events for k in attrs}
    mine = {k for p in pairs for k in p.first.attrs} | {k for p in pairs for _, attrs in p.first.events for k in attrs}
    told = documented("Only opentelemetry-instrument")
    assert told <= keys, f"theirs does not say {told - keys}"
    assert not told & mine, f"ours says {told & mine}"


@test("peer/apart", limit=600)
def apart(case):
    """Each alone, the same requests: every span of theirs that belongs to an order is one of ours in the other run, under the same parent"""
    theirs, ours = App(case, "sdk", True, False).theirs(), App(case, "alone", False, True).spans()
    pairs, missing, _ = peer.match(theirs, ours)
    lost = [s for s in missing if peer.order(theirs, s) is not None and not CONNECTS.issuperset(peer.theirs(theirs, s)[0])]
    case.note(f"{len(theirs)} spans of opentelemetry-instrument, {len(pairs)} paired with the {len(ours)} of the other run, "
              f"{len(missing) - len(lost)} of Celery's own that came more often")
    assert not lost, [f"{s.name} of {peer.order(theirs, s)}" for s in lost[:10]]
    own = {peer.ours(s)[0] for s in ours}
    other = [s for s in missing if not set(peer.theirs(theirs, s)[0]) <= own]
    assert not other, other
    belong = [p for p in pairs if peer.order(theirs, p.their) is not None]
    wrong = peer.wrong_parents(theirs, ours, belong)
    assert not wrong, wrong[:10]
    assert not errors(belong), errors(belong)[:5]
    for p in belong:
        assert p.their.parent_id == "" or p.first.parent_id, f"{p.first!r} has no parent, {p.their.name} has"
