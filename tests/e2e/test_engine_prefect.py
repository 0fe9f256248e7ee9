"""Prefect against what its own server knows: flows and tasks in sequence, in threads, mapped, nested, retried, failing, async."""
import statistics

from support import engine
from support.harness import test

# The exception behind each state that is none of success; the server has only its text.
RAISED = {"hopeless": "ValueError", "raises": "ValueError", "broken": "FAILED", "slow": "prefect.task_engine.TaskRunTimeoutError",
          "picky": "prefect.exceptions.ParameterTypeError", "crashes": "KeyboardInterrupt", "given-up": "CANCELLED"}
WRONG = ("FAILED", "CRASHED", "CANCELLED")


def keyed(run):
    """Flow and task runs by their ids, attempts by that and their number."""
    found = {}
    for s in run.spans:
        if s.kind == "producer":  # of a run that somebody asks for
            continue
        key = s["prefect.flow_run.id"] if s["wftrace.activity.type"] == "workflow" else s["prefect.task_run.id"] or s["prefect.flow_run.id"]
        if not key:
            continue
        key = f"{key} {s['wftrace.attempt']}" if s["wftrace.attempt"] else key
        assert key not in found, f"twice: {found[key]!r} and {s!r}"
        found[key] = s
    return found


def expect(record):
    """Error types: of runs by name, of attempts by what came after."""
    last = {}
    for e in record.values():
        if e["name"] == "attempt":
            owner = record[e["parent"]]
            known = {"flaky": "ConnectionError", "later_flaky": "KeyError", "second-time": "RuntimeError"}
            e["error"] = None if e["after"] == "Completed" else known.get(owner["name"]) or RAISED[owner["name"]]
            last[e["parent"]] = e["attempt"]
        else:
            e["error"] = RAISED[e["name"]] if e["type"] in WRONG else None
    return last


def runs(by_key):
    return {k: v for k, v in by_key.items() if " " not in k}


@test("engine/prefect", limit=150)
def prefect(case):
    """Every flow run, task run and attempt of the server once, under its parent, with its state, text, error and the engine's times."""
    env = {"PREFECT_HOME": str(case.dir / "prefect"), "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
           "PREFECT_LOGGING_LEVEL": "CRITICAL", "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "60", "PG_URL": case.postgres().url}
    run = engine.Run(case, "prefect", "prefect_app.py", env=env, timeout=120)
    spans = keyed(run)
    tried = expect(run.record)
    engine.compare(case, run.spans, runs(spans), runs(run.record))
    assert spans.keys() == run.record.keys(), spans.keys() ^ run.record.keys()
    waits, apart = [], []
    assert not [s for s in run.spans if "None" in s.attrs.values()]
    for key, e in run.record.items():
        s = spans[key]
        if e["name"] == "attempt":
            assert engine.nearest(run.spans, s, runs(spans)) == e["parent"] and s["error.type"] == e["error"], (e, s.attrs)
            apart.append(max(abs(s.start / 1e9 - e["began"]), abs(s.end / 1e9 - e["ended"])))
            continue
        assert (s["prefect.state"], s["prefect.state.type"]) == (e["state"], e["type"]), (e, s.attrs)
        assert s["prefect.run_count"] == e["runs"] or not s["prefect.task_run.id"], (e, s.attrs)
        assert (s["prefect.tags"] or "[]") == str(e["tags"]), (e, s.attrs)
        assert e["run"] in (s["prefect.flow_run.name"], s["prefect.task_run.name"]), (e, s.attrs)
        if e["error"]:
            assert s.message == e["message"], (e, s.message)
        if e["seconds"]:
            assert abs((s.end - s.start) / 1e9 - e["seconds"]) < 0.005, (e, s)
            waits.append(abs(s["wftrace.queue.wait"] - (e["started"] - e["asked"])))
    assert statistics.median(waits) < 0.005, waits
    assert max(apart) < 0.005, apart
    case.note(f"begins and ends of attempts differ by {statistics.median(apart) * 1000:.2f} ms (median), {max(apart) * 1000:.2f} ms (most)")
    case.note(f"waits differ by {statistics.median(waits) * 1000:.2f} ms (median), {max(waits) * 1000:.2f} ms (most)")
    assert sorted(tried.values()) == [2, 2, 2, 2, 2, 3], tried
    beneath = {(run.record[key]["name"], s.name) for s in run.spans if (key := engine.nearest(run.spans, s, spans))}
    assert ("pack", "sleep") in beneath and ("price", "SELECT") in beneath, sorted(b for b in beneath if "/api/" not in b[1])


@test("engine/prefect-served", limit=240)
def served(case):
    """A deployment of flow.serve(): runs asked for over the API, and by flows and a task, each in a process that the serving one starts."""
    env = {"PREFECT_HOME": str(case.dir / "prefect"), "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "no_proxy": "*",
           "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
    run = engine.Run(case, "prefect", "prefect_served.py", env=env, timeout=200)
    spans = keyed(run)
    for e in run.record.values():
        bad = e["name"] == "refuse" or e["name"] == "order" and e["type"] == "FAILED"
        e["error"] = "ConnectionError" if e["name"] == "attempt" and e["attempt"] == 1 else "ValueError" if bad else None
        if e["name"] != "attempt":
            e["began"] = e["started"]
            e["ended"] = e["started"] + e["seconds"]
    engine.compare(case, run.spans, spans, run.record)
    flows = [(e, spans[k]) for k, e in run.record.items() if e["name"] == "order"]
    assert sorted(e["type"] for e, _ in flows) == ["COMPLETED"] * 5 + ["FAILED"], flows
    assert [s["prefect.deployment.id"] for _, s in flows] == [e["deployment"] for e, _ in flows]
    above = sorted(run.record[e["parent"]]["name"] for e, _ in flows if e["parent"])
    assert above == ["ask", "campaign", "later-campaign"], above
    asked = {s.span_id: s for s in run.spans.where(kind="producer", name="run deployment")}
    assert {s["prefect.flow_run.id"] for s in asked.values()} == {e["key"] for e, _ in flows}
    alone = [(e, s) for e, s in flows if not e["parent"]]
    assert len({s.trace_id for _, s in alone}) == 3, "runs that have nothing to do with each other are traces of their own"
    for e, s in alone:
        by = [asked[link["spanId"]]["prefect.flow_run.id"] for link in s.links if link["spanId"] in asked]
        assert by == [e["key"]] and len(s.links) == 2, (e, "linked to who asked for it and to the process that it was given to", s.links)
    for key, e in run.record.items():
        s = spans[key]
        if e["name"] != "attempt":
            assert (s["prefect.state"], s["prefect.state.type"]) == (e["state"], e["type"]), (e, s.attrs)
        assert max(abs(s.start / 1e9 - e["began"]), abs(s.end / 1e9 - e["ended"])) < 0.005, (e, s)
    waits = [abs(s["wftrace.queue.wait"] - (e["started"] - e["asked"])) for e, s in flows]
    assert max(waits) < 0.005, waits
    case.note(f"waits of runs differ by {max(waits) * 1000:.2f} ms (most)")
    beneath = {(run.record[key]["name"], s.name) for s in run.spans if (key := engine.nearest(run.spans, s, spans))}
    assert ("pack", "sleep") in beneath, sorted(b for b in beneath if "/api/" not in b[1])
