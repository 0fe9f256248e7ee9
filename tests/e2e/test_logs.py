"""Lines that a service writes, with the ids of the request that wrote them: every one is compared with the request it names."""
import os
import re
import subprocess

from support import load, logs, paths, procs, tracer
from support.harness import test
from support.venv import venv

RID = re.compile(r"rid-\d+")


def serve(case, loop, endpoints, n, unbuffered=True):
    port = procs.free_port()
    env = {**os.environ, "PYTHONPATH": str(paths.TARGETS), "PYTHONUNBUFFERED": "1" if unbuffered else ""}
    argv = [venv("logs") / "bin" / "python", "-m", "uvicorn", "--loop", loop, "--port", port, "--no-access-log", "--log-level", "warning",
            "logging_app:app"]
    t = tracer.Tracer(case.dir, argv, opts=["--logs", "all"], env=env, cwd=case.dir)
    case.defer(procs.stop, t.proc)
    procs.wait_port(port, t.proc, t.log, 40)
    reqs = load.run(load.plan(endpoints, n), port)
    t.finish()
    bad = load.failures(reqs)
    assert not bad, f"{len(bad)} requests failed: {bad[:2]}"
    return reqs, t


def compare(case, reqs, t):
    """right, wrong, none and missing lines against the requests that they name."""
    spans = t.spans().by_id
    servers = {s["url.path"]: s for s in spans.values() if s.kind == "server"}
    lines = {}
    for r in logs.load(t.file):
        found = RID.search(r.body) or RID.search(str(r["rid"] or ""))
        if found:
            lines.setdefault(found[0], []).append(r)
    count = dict(right=0, wrong=0, none=0, missing=0)
    problems = []
    for q in reqs:
        mine, server = lines.get(q.rid, []), servers.get(q.path)
        assert server, f"no span for {q.path}"
        count["missing"] += max(0, int(q.calls[0]) - len(mine))
        for r in mine:
            span = spans.get(r.span_id)
            under = span is not None and (span is server or server in t_ancestors(spans, span))
            kind = "none" if not r.trace_id else "right" if r.trace_id == server.trace_id and under else "wrong"
            count[kind] += 1
            if kind != "right" and len(problems) < 6:
                problems.append(f"{kind}: {r} for {q.path}")
    case.note(" ".join(f"{k} {v}" for k, v in count.items()))
    return count, problems, lines


def t_ancestors(spans, span):
    seen = []
    while (span := spans.get(span.parent_id)) is not None and span not in seen:
        seen.append(span)
    return seen


def _truth(loop):
    @test(f"logs/truth-{loop}", limit=120)
    def body(case):
        reqs, t = serve(case, loop, ("stdlib", "structured", "printed", "tasks", "failing"), 1500)
        count, problems, lines = compare(case, reqs, t)
        assert count["wrong"] == count["none"] == count["missing"] == 0, "\n    ".join([str(count)] + problems)
        _details(reqs, t, lines)
    body.__doc__ = "32 concurrent requests, five ways of logging: every line has its request's ids"


def _details(reqs, t, lines):
    by = {q.rid: q for q in reqs}
    first = {q.path.split("/")[1]: lines[q.rid] for q in reversed(reqs)}
    assert [r.severity for r in first["stdlib"]] == [9, 13], first["stdlib"]
    assert all(abs(r.time - r.observed) < 2_000_000_000 for r in first["stdlib"] + first["structured"])
    info, error = first["structured"]
    assert (info.body, info.severity, info["items"], error["customer.id"]) == ("begin", 9, 3, 7), first["structured"]
    failed = first["failing"][0]
    assert failed["exception.type"] == "KeyError" and "Traceback" in failed.body and failed.severity == 17, failed.attrs
    span = t.spans().by_id[failed.span_id]
    assert any(name == "exception" and a["exception.type"] == "KeyError" for name, a in span.events), span.events
    assert by and all(r.resource.get("service.name") for r in first["printed"])


for _loop in ("asyncio", "uvloop"):
    _truth(_loop)


@test("logs/buffered", limit=90)
def buffered(case):
    """Lines that a program collects before it writes them: unknown whose, and never somebody else's."""
    reqs, t = serve(case, "asyncio", ("buffered",), 600, unbuffered=False)
    count, problems, _ = compare(case, reqs, t)
    written = t.said().count("kept back")  # a killed program loses what it still held
    assert count["wrong"] == 0 and count["none"] == written > 300, "\n    ".join([str(count), str(written)] + problems)


@test("logs/commands", limit=40)
def commands(case):
    """Standard output and error of commands; what flows through a pipe or into $( ) is data, no log."""
    script = r"""echo hello; ls /nonexistent; x=$(echo captured); echo piped | cat >/dev/null
printf '%s\n' '{"level":"error","msg":"json line","trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331"}'
printf 'half '; printf 'line\n'"""
    out = case.dir / "out.jsonl"
    p = tracer.once("run", "--logs", "all", "--export", f"otlp-json:{out}", "--", "bash", "-c", script)
    found = {r.body: r for r in logs.load(out)}
    case.note(str(list(found)))
    assert {"hello", "json line", "half line"} <= set(found) and "captured" not in found and "piped" not in found, found
    own = found["json line"]
    assert (own.trace_id, own.span_id) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331") and own.severity == 17
    assert any("nonexistent" in b and r.scope.endswith("stderr") and r.span_id for b, r in found.items())
    assert p.stdout.startswith("hello\n"), p.stdout


@test("logs/least", limit=30)
def least(case):
    """--logs warn: what says less is left out, what says nothing is kept; a word that is no level is an error."""
    out = case.dir / "out.jsonl"
    code = "import logging; logging.basicConfig(level=10); logging.info('quiet'); logging.error('loud')"
    tracer.once("run", "--logs", "warn", "--export", f"otlp-json:{out}", "--", paths.PYTHON, "-c", code)
    bodies = [r.body for r in logs.load(out)]
    assert any("loud" in b for b in bodies) and not any("quiet" in b for b in bodies), bodies
    p = tracer.once("run", "--logs", "loud", "--", "true")
    assert p.returncode == 2 and "--logs loud" in p.stderr, p.stderr


@test("logs/off", limit=30)
def off(case):
    """Without --logs nothing is written down of what a command prints."""
    out = case.dir / "out.jsonl"
    subprocess.run([paths.WFTRACE, "run", "--export", f"otlp-json:{out}", "--", "sh", "-c", "x=zeb; echo ${x}ra"], capture_output=True, check=True)
    assert not logs.load(out) and "zebra" not in out.read_text()


@test("logs/no-taker", limit=40)
def no_taker(case):
    """No exporter takes log records: no probe sits on write, and that is said, once. A capture is one that takes them."""
    out, cap = case.dir / "out.jsonl", case.dir / "out.wfcap"
    command = ["--", "sh", "-c", "echo zebra"]
    p = tracer.once("run", "-v", "-v", "--logs", "all", "--export", "console", *command)
    assert p.stderr.count("no exporter takes them") == 1 and "output_write" not in p.stderr, p.stderr
    p = tracer.once("run", "-v", "-v", "--logs", "all", "--export", "console", "--capture", cap, *command)
    assert "no exporter takes them" not in p.stderr and "output_write" in p.stderr, p.stderr
    tracer.once("replay", "--logs", "all", "--export", f"otlp-json:{out}", cap)
    assert [r.body for r in logs.load(out)] == ["zebra"]


FILES = """file_format: "1.0"
tracer_provider: {{ processors: [ batch: {{ exporter: {{ otlp_file/development: {{ output_stream: "file://{out}" }} }} }} ] }}
logger_provider: {{ processors: [ batch: {{ exporter: {{ otlp_file/development: {{ output_stream: "file://{out}" }} }} }} ] }}
wftrace: {{ logs: {{ files: [ "*/app*.log" ], level: info }} }}
"""


@test("logs/files", limit=40)
def files(case):
    """A log file that the configuration names, by whoever has it open; other files, and what is below the level, are left alone."""
    out, config = case.dir / "out.jsonl", case.dir / "c.yaml"
    config.write_text(FILES.format(out=out))
    code = f"""import logging, time
logging.basicConfig(level=10, filename="{case.dir}/app-1.log")
other = open("{case.dir}/other.txt", "w", buffering=1)
time.sleep(0.8)
logging.warning("kept"); logging.debug("below"); print("elsewhere", file=other); print("on standard output")"""
    p = tracer.once("run", "-c", str(config), "--", paths.PYTHON, "-c", code)
    found = [(r.body, r.severity, r.scope.split("/")[-1], bool(r.span_id)) for r in logs.load(out)]
    assert found == [("WARNING:root:kept", 13, "file", True)], (found, p.stderr)
