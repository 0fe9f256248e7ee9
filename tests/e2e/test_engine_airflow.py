"""Airflow 3 and 2.10 with their own scheduler against the metadata database: parallel and mapped tasks, a branch, a retry, a deferral, a
skip, failures; in the processes that the executor forks (3) or starts (2.10)."""
import collections
import re
import statistics

from support import engine
from support.harness import test


def keyed(run):
    """Our spans by the engine's ids. A task that deferred or was put off ran twice under the same; a shell that a task starts has steps too."""
    found = {}
    for s in run.spans.where(wftrace__activity__type="workflow"):
        if not s["airflow.dag.id"]:
            continue
        found[f"{s['airflow.dag.id']}/{s['airflow.run.id']}"] = s
    for s in run.spans.where(wftrace__activity__type="task"):
        if not s["airflow.dag.id"]:
            continue
        key = "/".join(str(s[f"airflow.{k}"]) for k in ("dag.id", "run.id", "task.id", "map_index")) + f"/{s['wftrace.attempt']}"
        key += f"/{s['airflow.state']}" if s["airflow.state"] in ("deferred", "up_for_reschedule") else ""
        assert key not in found, f"twice: {found[key]!r} and {s!r}"
        found[key] = s
    return found


def tell(case, record, spans, most):
    """How far each span is from the engine's start and end, by what became of it; none further than `most` ms. The end of a run is
    stamped inside the call whose return we see: a busy machine may come between, so of these it is the median."""
    apart = collections.defaultdict(list)
    for key, entry in record.items():
        for word, said in (("start", "began"), ("end", "ended")):
            if entry.get(said):
                what = f"{word} of {entry['state']}" if entry["parent"] else f"{word} of a run"
                apart[what].append(abs(getattr(spans[key], word) / 1e9 - entry[said]) * 1000)
    for what, far in sorted(apart.items()):
        case.note(f"{what}: {statistics.median(far):.2f} ms (median of {len(far)}), {max(far):.2f} ms (most) from the engine's")
    assert apart.keys() >= {f"{w} of {s}" for w in ("start", "end") for s in ("success", "failed", "skipped", "up_for_retry", "a run")}, apart.keys()
    assert "start of deferred" in apart, apart.keys()
    far = {what: max(of) for what, of in apart.items() if (statistics.median if what == "end of a run" else max)(of) > most}
    assert not far, f"ms from the engine's: {far}"


def check(case, name, limit, seen_at, tested_at=None, most=5, **env):
    run = engine.Run(case, name, "airflow_app.py", env={"ENGINE_LIMIT": str(limit - 40), **env}, timeout=limit)
    spans = keyed(run)
    made = {}
    for s in run.spans.where(wftrace__activity__type="decision"):
        key = f"{engine.nearest(run.spans, s, spans)}/decision"
        assert key not in made and s.status == 0, f"{key}: {made.get(key)!r}, {s!r}"
        made[key] = s
    spans.update(made)
    assert len(run.record) >= 12, run.record
    # The two versions share everything but this: without it one could pass for the other.
    at = collections.defaultdict(set)
    for key in (k for k, e in run.record.items() if e["parent"] and k not in made):
        at["/run_1/" in key].add(spans[key]["code.function.name"])
    assert at == {True: {seen_at}, **({False: {tested_at}} if tested_at else {})}, at
    engine.compare(case, run.spans, spans, run.record)
    for key, entry in run.record.items():
        s = spans[key]
        if key in made:
            continue
        assert s["airflow.state"] == entry["state"], (entry, s.attrs)
        if entry["parent"]:
            assert (s["airflow.operator"], s["wftrace.attempt"], s["airflow.map_index"]) == (
                None if entry["name"] == "page" else entry["operator"], entry["attempt"], entry["map_index"]), (entry, s.attrs)
            assert s["wftrace.queue.wait"] is not None or "/run_1/" not in key, s.attrs  # `dags test` has no queue
    ways = {k.split("/")[2]: e["outcome"] for k, e in run.record.items() if k in made}
    assert ways == {"choose": "big", "enough": "False", "side": "left", "more": "['down', 'up']", "one": "in", "nowhere": "none", "open_shop": "True",
                    "in_stock": "True", "on_offer": "False"}, ways
    tell(case, run.record, spans, most)
    errors = {s.name: s["error.type"] for s in run.spans if str(s.name).endswith(".execute") and s.status == 2}
    assert set(errors) == {"BashOperator.execute", "PythonOperator.execute"}, errors
    # What the operators do is beneath them: a command with its exit code, a request.
    beneath = {(engine.nearest(run.spans, s, spans), s.name) for s in run.spans}
    assert ("shop/run_1/big/-1/1", "sleep") in beneath and ("shop/run_1/fetch/-1/1", "GET /price") in beneath, sorted(map(str, beneath))
    return run, spans


@test("engine/airflow-3", limit=240)
def airflow_3(case):
    """LocalExecutor: the scheduler, its workers, a supervisor and a task process that are forked without exec; the API server."""
    run, spans = check(case, "airflow", 150, "airflow.sdk.execution_time.supervisor.supervise_task",
                       "airflow.sdk.execution_time.supervisor.InProcessTestSupervisor.start")
    for key in ("shop/run_1", "stock/run_1"):
        trace = re.search(r"00-([0-9a-f]{32})-", run.record[key]["carrier"])[1]
        assert spans[key].trace_id == trace, "the engine's own trace id is used"


@test("engine/airflow-2", limit=240)
def airflow_2(case):
    """LocalExecutor: a worker forks for each task, and once more; no API server, tasks write to the database themselves."""
    check(case, "airflow210", 150, "airflow.models.taskinstance._run_raw_task", PG_URL=case.postgres().url)
