"""Configuration files: what they say is in force, off is off, and a reload neither loses nor doubles a span."""
import json
import os
import signal
import time

from support import procs, spans, tracer
from support.harness import test

HEAD = 'file_format: "1.1"\n'


def _file(case, name, text):
    path = case.dir / name
    path.write_text(HEAD + text)
    return path


def _to(path, more=""):
    return f"""tracer_provider:
  processors:
    - batch:
        schedule_delay: 20
        exporter:
          otlp_file/development:
            output_stream: file://{path}
{more}"""


@test("config/run", limit=30)
def run(case):
    """exporter, resource, rules and privacy of a file; an option stands above it; an overlay over both"""
    out, other = case.dir / "a.jsonl", case.dir / "b.jsonl"
    base = _file(case, "base.yaml", _to(out) + """resource:
  attributes:
    - {name: service.name, value: "${SHOP:-shop}"}
    - {name: team.size, value: 3, type: int}
  attributes_list: deployment.environment.name=test%20bench,service.name=hidden
wftrace:
  rules:
    activities:
      - name: "nap"
        at: exec:*/sleep
""")
    p = tracer.once("run", "-c", base, "--", "sh", "-c", "sleep 0.01; exit 3")
    assert p.returncode == 3, (p.returncode, p.stderr)
    found = spans.load(out)
    assert len([s for s in found if s.name == "nap"]) == 1, found
    resources = [json.loads(line)["resourceSpans"] for line in out.read_text().splitlines()]
    attrs = {a["key"]: a["value"] for group in resources for r in group for a in r["resource"]["attributes"]}
    assert attrs["service.name"]["stringValue"] == "shop" and str(attrs["team.size"]["intValue"]) == "3", attrs
    assert attrs["deployment.environment.name"]["stringValue"] == "test bench", attrs
    over = _file(case, "over.yaml", _to(other))
    p = tracer.once("run", "-c", base, "-c", over, "--service", "flag", "--", "true", env={"SHOP": "env"})
    assert p.returncode == 0, p.stderr
    assert len(spans.load(other)) == 1 and len(spans.load(out)) == len(found), "the overlay's exporter is not in its place"
    assert '"flag"' in other.read_text() and '"env"' not in other.read_text()


@test("config/off", limit=30)
def off(case):
    """disabled: the command is what wftrace becomes, nothing is written; attach ends at once"""
    out = case.dir / "a.jsonl"
    for name, text, env in (("disabled", "disabled: true\n" + _to(out), {}), ("enabled", "wftrace: {enabled: false}\n" + _to(out), {}),
                            ("env", None, {"OTEL_SDK_DISABLED": "true"})):
        opts = ["-c", _file(case, f"{name}.yaml", text)] if text else ["-e", f"otlp-json:{out}"]
        p = tracer.once("run", *opts, "--", "sh", "-c", "cat /proc/$PPID/comm; grep -c . /proc/$PPID/comm >&2; exit 7", env=env)
        assert p.returncode == 7 and "wftrace" not in p.stdout, (name, p.stdout, p.stderr)
        assert "runs untraced" in p.stderr and not out.exists(), (name, p.stderr)
        p = tracer.once("attach", *opts, "--pid", os.getpid(), env=env)
        assert p.returncode == 0 and "nothing is attached" in p.stderr, (name, p.stderr)


@test("config/words", limit=30)
def words(case):
    """validate tells every mistake with its place, status 2; explain names origins and no secret"""
    bad = _file(case, "bad.yaml", "disabled: maybe\ntracer_provider: {procesors: []}\n")
    p = tracer.once("config", "validate", bad)
    assert p.returncode == 2, p
    lines = p.stderr.strip().splitlines()
    assert f"{bad}:2:11: " in lines[0] and any("did you mean «processors»" in x for x in lines), lines
    assert tracer.once("run", "-c", bad, "--", "true").returncode == 2
    good = _file(case, "good.yaml", """tracer_provider:
  processors:
    - batch:
        exporter:
          otlp_http:
            headers: [{name: api-key, value: "${THE_KEY}"}]
            endpoint: ${PLACE}
""")
    env = {"THE_KEY": "hunter2hunter2", "PLACE": "http://localhost:4318/v1/traces"}
    p = tracer.once("config", "explain", "--json", "-c", good, "--privacy", "off", env=env)
    rows = {r["key"]: r for r in json.loads(p.stdout)}
    assert "hunter2" not in p.stdout + p.stderr, p.stdout
    assert rows["wftrace.privacy"] | {"value": "off", "origin": "flag", "where": "--privacy"} == rows["wftrace.privacy"]
    endpoint = next(r for k, r in rows.items() if k.endswith("otlp_http.endpoint"))
    assert endpoint["origin"] == "file" and endpoint["where"] == f"{good}:8" and endpoint["value"] == env["PLACE"], endpoint
    p = tracer.once("config", "explain", env={"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1"})
    assert "otlp_http.endpoint = http://c:1/v1/traces   # OTEL_EXPORTER_OTLP_ENDPOINT" in p.stdout, p.stdout


@test("config/reload", limit=60)
def reload(case):
    """SIGHUP while processes come and go: each is one span, in the old file or in the new one; a broken file changes nothing"""
    first, second = case.dir / "a.jsonl", case.dir / "b.jsonl"
    conf = _file(case, "c.yaml", _to(first))
    script = "i=0; while [ $i -lt 400 ]; do i=$((i+1)); /bin/true; sleep 0.005; done"
    t = tracer.Tracer(case.dir, ["sh", "-c", script], opts=["-c", str(conf)], export=False)
    t.target()
    procs.wait_for("spans in the first file", lambda: first.exists() and first.stat().st_size > 0, 20, t.proc, t.log)
    for turn in range(6):
        target = second if turn % 2 == 0 else first
        conf.write_text(HEAD + _to(target, "        max_queue_size: 4000\n" if turn > 2 else ""))
        t.proc.send_signal(signal.SIGHUP)
        procs.wait_for(f"reload {turn}", lambda: t.said().count("configuration read again") == turn + 1, 20, t.proc, t.log)
        time.sleep(0.1)
    conf.write_text(HEAD + "tracer_provider: {}\n")
    t.proc.send_signal(signal.SIGHUP)
    procs.wait_for("the refusal", lambda: "stays in force" in t.said(), 20, t.proc, t.log)
    assert t.proc.wait(40) == 0, t.said()
    one, two = spans.load(first), spans.load(second)
    assert len(one) > 5 and len(two) > 5, (len(one), len(two))
    ids = [s.span_id for s in [*one, *two]]
    assert len(ids) == len(set(ids)), "a span came twice"
    ran = [s for s in [*one, *two] if s["process.executable.name"] == "true"]
    assert len(ran) == 400, f"{len(ran)} of 400 processes have their span: {t.said()[-600:]}"
