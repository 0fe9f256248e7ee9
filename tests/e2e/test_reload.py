"""A reload under load: the new configuration changes places with the old one between two records, all of it, and leaves nothing behind."""
import http.client
import json
import pathlib
import shutil
import signal
import threading
import time

from support import paths, procs, spans, tracer
from support.harness import test
from support.sink import Sink

from targets import build

HEAD = 'file_format: "1.1"\n'


def _exporter(path):
    return f"{{batch: {{schedule_delay: 20, exporter: {{otlp_file/development: {{output_stream: 'file://{path}'}}}}}}}}"


def _config(out, turn, rules="", more=""):
    """Everything that a turn changes says which turn it was."""
    return HEAD + f"""tracer_provider:
  processors:
    - {_exporter(out)}
  sampler: {{always_on: }}
{more}wftrace:
{rules}  sampling:
    rules:
      - {{label: "s{turn}", sampler: {{always_on: }}}}
  processors:
    - attributes: {{steps: [{{set: {{key: "turn.{turn}", value: "p{turn}"}}}}]}}
"""


class Load:
    """Requests with a number of their own, on some connections, until it is told to end."""

    def __init__(self, port, connections=4):
        self.port, self.lock, self.next, self.done, self.failed = port, threading.Lock(), 0, False, []
        self.threads = [threading.Thread(target=self._run) for _ in range(connections)]
        for t in self.threads:
            t.start()

    def _run(self):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        while not self.done:
            with self.lock:
                n, self.next = self.next, self.next + 1
            try:
                c.request("GET", f"/n/{n}")
                c.getresponse().read()
            except OSError as e:
                self.failed.append((n, e))
                return
            time.sleep(0.004)
        c.close()

    def end(self):
        self.done = True
        for t in self.threads:
            t.join()
        assert not self.failed, self.failed[:3]
        return self.next


class Reloaded:
    """A traced small server whose configuration changes."""

    def __init__(self, case, first, opts=()):
        self.conf, self.turns = case.dir / "c.yaml", 0
        self.conf.write_text(first)
        server = case.dir / "served.py"
        shutil.copy(paths.TARGETS / "small_server.py", server)
        self.port = procs.free_port()
        self.t = tracer.Tracer(case.dir, [paths.PYTHON, server, self.port], opts=["-c", str(self.conf), *opts], export=False)
        case.defer(procs.stop, self.t.proc)
        self.t.target()
        procs.wait_port(self.port, self.t.proc, self.t.log, 40)

    def reload(self, text):
        self.conf.write_text(text)
        self.turns += 1
        self.t.proc.send_signal(signal.SIGHUP)
        procs.wait_for(f"reload {self.turns}", lambda: self.t.said().count("configuration read again") == self.turns, 20, self.t.proc,
                       self.t.log)

    def rss(self):
        return int(pathlib.Path(f"/proc/{self.t.proc.pid}/statm").read_text().split()[1]) * 4


@test("reload/load", limit=90)
def load(case):
    """sampling, a processor and the exporter change 8 times under load: each request once, each by one of the configurations"""
    outs = [case.dir / "a.jsonl", case.dir / "b.jsonl"]
    r = Reloaded(case, _config(outs[0], 0))
    traffic = Load(r.port)
    def told(turn):
        return outs[turn % 2].exists() and f'"turn.{turn}"' in outs[turn % 2].read_text()

    for turn in range(1, 9):
        procs.wait_for(f"spans of turn {turn - 1}", lambda: told(turn - 1), 20, r.t.proc, r.t.log)
        time.sleep(0.2)
        tail = "    tail: {errors: true, ratio: 1, wait: 50ms}\n" if turn in (3, 4, 7) else ""
        r.reload(_config(outs[turn % 2], turn).replace("    rules:\n", tail + "    rules:\n"))
    procs.wait_for("spans of turn 8", lambda: told(8), 20, r.t.proc, r.t.log)
    asked = traffic.end()
    r.t.finish()
    found = [s for out in outs for s in spans.load(out) if s.kind == "server"]
    paths_ = sorted(int(s["url.path"].split("/")[2]) for s in found)
    assert paths_ == list(range(asked)), (asked, len(paths_), len(set(paths_)), r.t.said()[-800:])
    used = set()
    for s in found:
        turns = [k for k in s.attrs if k.startswith("turn.")]
        assert len(turns) == 1, s.attrs
        rule, turn = s["wftrace.sampling.rule"], int(turns[0][5:])
        assert rule in ("ratio", *(f"s{i}" for i in range(turn + 1))), (rule, turn)
        used.add(turn)
    assert used == set(range(9)), used
    for i, out in enumerate(outs): # what a configuration made went to its own exporter
        assert all(int(k[5:]) % 2 == i for s in spans.load(out) if s.kind == "server" for k in s.attrs if k.startswith("turn.")), out
    case.note(f"{asked} requests over 9 configurations")


@test("reload/memory", limit=120)
def memory(case):
    """200 reloads of two configurations in turn, with requests between: memory is flat"""
    out = [case.dir / "a.jsonl", case.dir / "b.jsonl"]
    metrics = f"""meter_provider:
  readers:
    - periodic: {{interval: 1000, exporter: {{otlp_file/development: {{output_stream: 'file://{case.dir}/m.jsonl'}}}}}}
  views:
    - {{selector: {{instrument_name: "http.*"}}, stream: {{aggregation_cardinality_limit: 50}}}}
"""
    resource = "resource: {attributes: [{name: deployment.environment.name, value: %s}]}\n"
    texts = [_config(out[0], 0, more=metrics + resource % "one"), _config(out[1], 1, more=resource % "two")]
    activities = "  rules: {activities: [{name: env, at: 'native:*/libc.so.6:getenv'}, {name: nap, at: 'exec:*/sleep'}]}\n"
    texts[1] = texts[1].replace("wftrace:\n", "wftrace:\n" + activities + "  privacy: \"off\"\n  baggage: [user.id]\n").replace(
        "  processors:\n    - attributes", "  processors:\n    - redact: {keys: [\"a.*\"], patterns: [\"x[0-9]+\"]}\n    - attributes")
    r = Reloaded(case, texts[0])
    traffic = Load(r.port, 2)
    for turn in range(1, 41):
        r.reload(texts[turn % 2])
    first = r.rss()
    for turn in range(41, 241):
        r.reload(texts[turn % 2])
    last = r.rss()
    asked = traffic.end()
    r.t.finish()
    found = [s for o in out for s in spans.load(o) if s.kind == "server"]
    assert len(found) == asked and len({s.span_id for s in found}) == asked, (len(found), asked, r.t.said()[-600:])
    resources = {a["value"]["stringValue"] for o in out for line in o.read_text().splitlines() for g in json.loads(line)["resourceSpans"]
                 for a in g["resource"]["attributes"] if a["key"] == "deployment.environment.name"}
    assert resources == {"one", "two"}, resources
    case.note(f"200 reloads, {asked} requests; memory {first} → {last} kB")
    assert last - first < 2048, (first, last)


@test("reload/spool", limit=60)
def spool(case):
    """receivers with a spool come and go under load: each gets what was made while it was configured, once; the same one with other
    settings is refused, and so is nothing else"""
    sinks = [Sink(), Sink()]
    for s in sinks:
        case.defer(s.stop)

    def config(which, timeout=5000):
        return HEAD + "tracer_provider:\n  processors:\n" + "".join(
            f"    - {{batch: {{schedule_delay: 20, exporter: {{otlp_http: {{endpoint: '{sinks[i].url}/v1/traces', timeout: {timeout}}}}}}}}}\n"
            for i in which) + f"wftrace: {{spool: {{dir: {case.dir}/spool}}}}\n"

    def more(i):
        n = len(sinks[i].spans())
        procs.wait_for(f"spans at receiver {i}", lambda: len(sinks[i].spans()) > n + 20, 20, r.t.proc, r.t.log)

    r = Reloaded(case, config([0]))
    traffic = Load(r.port)
    more(0)
    for which in ([0, 1], [1], [0, 1], [0], [0, 1]):
        r.reload(config(which))
        for i in which:
            more(i)
        if 0 not in which or 1 not in which:
            time.sleep(1)  # who is gone has sent what it had
    r.conf.write_text(config([0, 1], 4000))
    r.t.proc.send_signal(signal.SIGHUP)
    procs.wait_for("the refusal", lambda: "its spool is in use" in r.t.said(), 20, r.t.proc, r.t.log)
    asked = traffic.end()
    r.t.finish()
    got = [s.spans() for s in sinks]
    assert all(len(g) == len(set(g)) for g in got), [len(g) - len(set(g)) for g in got]
    made = set(got[0]) | set(got[1])
    assert len(made) >= asked, (asked, len(made), r.t.said()[-600:])
    case.note(f"{asked} requests, {len(made)} spans; at the receivers {len(got[0])} and {len(got[1])}")


@test("reload/words", limit=40)
def words(case):
    """what needs a restart is named, once and only when it is another value; a broken file is told with its place"""
    out = case.dir / "a.jsonl"
    r = Reloaded(case, _config(out, 0))
    r.reload(_config(out, 1).replace("wftrace:\n", f"wftrace:\n  memory_limit: 512MiB\n  spool: {{dir: {case.dir}/spool}}\n"))
    said = r.t.said()
    line = next(x for x in said.splitlines() if "needs a restart" in x)
    assert "wftrace.memory_limit" in line and "wftrace.spool.dir" in line and "sampling" not in line, line
    r.reload(r.conf.read_text())
    assert r.t.said().count("needs a restart") == 1, r.t.said()
    r.conf.write_text(HEAD + "wftrace:\n  processors:\n    - rename: {steps: [{pattern: \"(\", name: x}]}\n")
    r.t.proc.send_signal(signal.SIGHUP)
    procs.wait_for("the refusal", lambda: "stays in force" in r.t.said(), 20, r.t.proc, r.t.log)
    assert f"{r.conf}:4:7: pattern '('" in r.t.said(), r.t.said()
    r.t.finish()


def _rule(name, binary, function):
    return f'      - {{name: "{name}", at: "native:{binary}:{function}", attributes: {{n: arg0}}, error: "ret < 0"}}\n'


@test("reload/rules", limit=90)
def rules(case):
    """rules on a function come, go and come again while it is called: each call is one activity of one of them, and whole"""
    binary, out, end, conf = build("counting.c", "-O1", "-g"), case.dir / "a.jsonl", case.dir / "end", case.dir / "c.yaml"
    sets = [_rule("a", binary, "work"), _rule("b", binary, "work"), _rule("a", binary, "work") + _rule("stage", binary, "stage"),
            _rule("b", binary, "work") + '      - {name: "napping", at: "exec:*/sleep"}\n']

    def text(i):
        return _config(out, i, rules="  rules:\n    activities:\n" + sets[i])

    conf.write_text(text(0))
    t = tracer.Tracer(case.dir, ["sh", "-c", f"while sleep 0.05; do :; done & {binary} {end}; kill $!"], opts=["-c", str(conf), "-v"],
                      export=False)
    case.defer(procs.stop, t.proc)
    t.target()
    procs.wait_for("spans", lambda: out.exists() and "work" in out.read_text(), 20, t.proc, t.log)
    for turn, i in enumerate([1, 2, 0, 3, 1, 0, 2, 3, 0, 1, 2, 3], 1):
        conf.write_text(text(i))
        t.proc.send_signal(signal.SIGHUP)
        procs.wait_for(f"reload {turn}", lambda: t.said().count("configuration read again") == turn, 20, t.proc, t.log)
        time.sleep(0.15)
    conf.write_text(text(0).replace("work:", "work,").replace(":work", ""))
    t.proc.send_signal(signal.SIGHUP)
    procs.wait_for("the refusal", lambda: "stays in force" in t.said(), 20, t.proc, t.log)
    assert f"{conf}:" in next(x for x in t.said().splitlines() if "reload:" in x), t.said()
    end.touch()
    assert t.proc.wait(40) == 0, t.said()
    called = int(next(x for x in t.said().splitlines() if x.isdigit()))
    found = spans.load(out)
    calls = [s for s in found if s.name in "ab"]
    numbers = sorted(s["n"] for s in calls)
    case.note(f"{called} calls, {len(numbers)} activities: {sum(s.name == 'a' for s in calls)} a, {sum(s.name == 'b' for s in calls)} b, "
              f"{sum(s.name == 'stage' for s in found)} stages, {sum(s.name == 'napping' for s in found)} naps")
    assert numbers == list(range(called)), (called, len(numbers), len(set(numbers)))
    assert not [s for s in calls if s.status == 2 or s["wftrace.unfinished"] or s["error.type"]]
    stages = [s for s in found if s.name == "stage"]
    assert len(stages) > 5 and len({s["n"] for s in stages}) == len(stages), len(stages)
    assert any(s.name == "napping" for s in found) and any(s.name == "sleep" for s in found)
    ledger = t.ledger()
    assert ledger.get("hits_unmatched", 0) <= 36, ledger # calls that were under way when their rule came


@test("reload/python", limit=90)
def python(case):
    """rules on Python functions: a process that runs goes on with what it was told, one that starts later has the new ones; what was
    taken away begins nothing anywhere"""
    out, conf, app = case.dir / "a.jsonl", case.dir / "c.yaml", case.dir / "app.py"
    app.write_text("import os, sys, time\nimport jobs\nwhile not os.path.exists(sys.argv[1]):\n    jobs.f(sys.argv[1])\n    jobs.g(sys.argv[1])\n"
                   "    time.sleep(0.005)\n")
    (case.dir / "jobs.py").write_text("def f(n):\n    return 1\n\ndef g(n):\n    return 2\n")

    def text(turn, **names):
        rules_ = "".join(f'      - {{name: "{name}", at: "python:jobs:{function}", attributes: {{who: arg.n}}}}\n' for function, name in names.items())
        return _config(out, turn, rules="  rules:\n    activities:\n" + rules_)

    conf.write_text(text(0, f="f1"))
    script = f"{paths.PYTHON} app.py end1; {paths.PYTHON} app.py end2"
    t = tracer.Tracer(case.dir, ["sh", "-c", script], opts=["-c", str(conf), "-v"], export=False, cwd=case.dir)
    case.defer(procs.stop, t.proc)

    def reload(turn, **names):
        conf.write_text(text(turn, **names))
        t.proc.send_signal(signal.SIGHUP)
        procs.wait_for(f"reload {turn}", lambda: t.said().count("configuration read again") == turn, 20, t.proc, t.log)

    def seen(name, who, turn):
        return [s for s in (spans.load(out) if out.exists() else []) if s.name == name and s["who"] == who and s[f"turn.{turn}"]]

    procs.wait_for("f1", lambda: seen("f1", "end1", 0), 30, t.proc, t.log)
    reload(1, f="f2", g="g")
    procs.wait_for("f1 after the reload", lambda: seen("f1", "end1", 1), 20, t.proc, t.log)
    assert not seen("g", "end1", 1) and not seen("f2", "end1", 1)
    (case.dir / "end1").touch()
    procs.wait_for("the new rules", lambda: seen("f2", "end2", 1) and seen("g", "end2", 1), 30, t.proc, t.log)
    reload(2, g="g")
    procs.wait_for("g after the reload", lambda: len(seen("g", "end2", 2)) > 10, 20, t.proc, t.log)
    reload(3, f="f1", g="g")
    procs.wait_for("f in its old form", lambda: seen("f2", "end2", 3) or seen("f1", "end2", 3), 20, t.proc, t.log)
    (case.dir / "end2").touch()
    assert t.proc.wait(30) == 0, t.said()
    assert len(seen("f2", "end2", 2)) <= 1, "a rule that is gone goes on"
    assert not seen("f1", "end2", 1) and not seen("f1", "end2", 3)
