"""Shell scripts against what their commands write down themselves: scripts, pipelines, subshells, failures, signals."""
import json
import os
import subprocess

from support import paths, spans, steps
from support.harness import test

SCRIPT = """#!{shell}
S={step}
$S one 0.05 0
bash $S two 0 0 | $S three 0.02 5 | cat
( $S sub 0 0; $S sub-2 0 3; exit 3 ) | cat
for i in 1 2 3; do $S loop-$i 0.02 0 & done; wait
$S killed 0 KILL
sh ./inner.sh
exit 7
"""


def script(case, shell):
    record, out, file = case.dir / "record", case.dir / "trace.jsonl", case.dir / "order.sh"
    for old in (record, out):
        old.unlink(missing_ok=True)
    file.write_text(SCRIPT.format(shell=shell, step=steps.STEP))
    file.chmod(0o755)
    (case.dir / "inner.sh").write_text(f"{steps.STEP} inner 0 0\n{steps.STEP} inner-2 0 0\ntrue\n")
    p = subprocess.run([str(paths.WFTRACE), "run", "--export", f"otlp-json:{out}", "--", "./order.sh"], capture_output=True, text=True,
                       timeout=60, cwd=case.dir, env={**os.environ, "ENGINE_RECORD": str(record)})
    found = spans.load(out)
    assert p.returncode == 7, p.stderr[-500:]
    root = found.where(shell__script="order.sh")[0]
    assert root["wftrace.activity.type"] == "workflow" and root["error.type"] == "7" and not root.parent_id, root.attrs
    return found, root, steps.load(record)


def check(case, shell):
    found, root, record = script(case, shell)
    # A subshell that only forks has no span, or one that tells how it failed: its commands are its maker's.
    forked = {record[k].parent for k in ("sub", "sub-2")} - {s["process.pid"] for s in found if not s["wftrace.process.forked_only"]}
    for key in ("sub", "sub-2"):
        record[key].parent = root["process.pid"] if record[key].parent in forked else record[key].parent
    keyed = steps.compare(case, found, record)
    assert len(keyed) == 11, keyed.keys()
    for key in ("one", "two", "three", "loop-1", "loop-2", "loop-3", "killed"):
        assert found.parent(keyed[key]) is root, (key, found.parent(keyed[key]))
        assert keyed[key].name == "step.sh" and keyed[key]["wftrace.activity.type"] == "task", keyed[key].attrs
    cat = found.where(name="cat")
    assert len(cat) == 2 and all(found.parent(c) is root for c in cat), cat
    piped = {s.span_id: [ln["spanId"] for ln in s.links] for s in found if s.links}
    first, second = sorted(cat, key=lambda s: s.start)
    assert piped.pop(keyed["three"].span_id) == [keyed["two"].span_id], "three reads what two writes"
    assert piped.pop(first.span_id) == [keyed["three"].span_id] and sorted(piped.pop(second.span_id)) == sorted(
        keyed[k].span_id for k in ("sub", "sub-2")), "cat reads what a program wrote, and what two of a subshell did"
    assert not piped, piped
    inner = found.where(name="inner.sh")[0]
    assert found.parent(inner) is root and inner["wftrace.activity.type"] == "task"
    assert found.parent(keyed["inner"]) is inner and found.parent(keyed["inner-2"]) is inner
    assert len({s.trace_id for s in found}) == 1


@test("engine/shell-bash", limit=60)
def bash(case):
    """bash: a script, its commands, pipelines as siblings that are linked, subshells, a script in a script."""
    check(case, "/bin/bash")


@test("engine/shell-dash", limit=60)
def dash(case):
    """The same by dash, Debian's sh."""
    check(case, "/bin/dash")


@test("engine/running", limit=60)
def running(case):
    """A script that runs for long is told of in log records with its ids while it runs, and marked when nothing happens beneath it."""
    config, out, file = case.dir / "c.yaml", case.dir / "trace.jsonl", case.dir / "nightly.sh"
    config.write_text('file_format: "1.0"\nwftrace: { activities: { running_after: 1s, stuck_after: 2s } }\n')
    file.write_text("#!/bin/sh\nsleep 3.5\n")
    file.chmod(0o755)
    subprocess.run([str(paths.WFTRACE), "run", "-c", str(config), "--export", f"otlp-json:{out}", "--", str(file)], timeout=40, check=True)
    said = [r for line in out.read_text().splitlines() for group in json.loads(line).get("resourceLogs", [])
            for scope in group["scopeLogs"] for r in scope["logRecords"]]
    (span,) = spans.load(out).where(shell__script="nightly.sh")
    mine = [r for r in said if r.get("spanId") == span.span_id and r["traceId"] == span.trace_id]
    events = [r["eventName"] for r in mine]
    assert events.count("wftrace.activity.running") >= 2 and events.count("wftrace.activity.stuck") == 1, events
    assert span["wftrace.activity.stuck"] is True
    assert all(int(r["timeUnixNano"]) < span.end for r in mine), "told while it runs"
