"""Dagster against its own event log: chains, parallel, nested and mapped steps, retries of both kinds, failures, a run within a step,
assets and checks; in process, and in processes that are forked by a server or started anew."""
from support import engine
from support.harness import test


def keyed(run):
    """Runs by their id, attempts of steps by run, step and number, assets and checks by run and name."""
    found = {}
    for s in run.spans:
        if not s["dagster.run.id"]:
            continue
        of = s["dagster.step.key"] and f"{s['dagster.step.key']} {s['wftrace.attempt']}" or s["dagster.check"] or s["dagster.asset"]
        key = " ".join(filter(None, (s["dagster.run.id"], of)))
        assert key not in found, f"twice: {key}"
        found[key] = s
    return found


def check(case, executor, programs):
    run = engine.Run(case, "dagster", "dagster_app.py", env={"EXECUTOR": executor, "DAGSTER_DISABLE_TELEMETRY": "1"}, timeout=200)
    spans = keyed(run)
    for e in run.record.values():
        if e.get("passed") is False:
            e["error"] = "fail"
    engine.compare(case, run.spans, spans, run.record)
    for key, e in run.record.items():
        s = spans[key]
        if e.get("status"):
            assert s["dagster.status"] == e["status"], (e, s.attrs)
        if e.get("message"):
            assert s.message.strip() == e["message"].strip(), (e, s.message)
        if "passed" in e:
            assert s["dagster.check.passed"] is e["passed"] and s["wftrace.activity.type"] == "validation", (e, s.attrs)
            assert s["wftrace.validation.outcome"] == ("pass" if e["passed"] else "fail"), s.attrs
    steps = [s for s in spans.values() if s["dagster.step.key"]]
    alone = {s.resource["process.pid"] for s in steps}
    assert len(alone) >= programs, f"{len(steps)} steps in {len(alone)} processes"
    case.note(f"{len(steps)} attempts of steps in {len(alone)} processes")


@test("engine/dagster-process", limit=300)
def process(case):
    """Everything in one process."""
    check(case, "process", 1)


@test("engine/dagster-multiprocess", limit=300)
def multiprocess(case):
    """A process per step, forked by a server: parents are found by the run's id."""
    check(case, "fork", 15)


@test("engine/dagster-spawn", limit=300)
def spawn(case):
    """The default: a new Python for each step."""
    check(case, "spawn", 2)
