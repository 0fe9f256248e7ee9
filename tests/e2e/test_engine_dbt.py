"""dbt against its own run_results.json: seeds, models, a snapshot, tests, a unit test, hooks, `dbt retry`; DuckDB and PostgreSQL."""
import json

from support import engine
from support.harness import test

ERRORS = {"uncompiled": "dbt_common.exceptions.base.CompilationError", "none_small": "fail",
          "broken": {"duckdb": "dbt_common.exceptions.base.DbtRuntimeError",
                     "postgres": "dbt_common.exceptions.base.DbtDatabaseError"}}


def keyed(run):
    """Invocations by their id, nodes by that and their own; hooks by their order, as the function that runs them knows no name."""
    found, hooks = {}, {}
    calls = {s["dbt.invocation.id"]: s for s in run.spans if s["dbt.invocation.id"]}
    for s in sorted((s for s in run.spans if s["dbt.node.type"]), key=lambda s: s.start):
        call = engine.nearest(run.spans, s, calls)
        if s.name == "hook":
            hooks[call] = hooks.get(call, 0) + 1
            key = f"{call} operation.shop.shop-on-run-{'start' if hooks[call] == 1 else 'end'}-0"
        else:
            key = f"{call} {s['dbt.node.id']}"
        assert key not in found, f"twice: {key}"
        found[key] = s
    return calls | found


def expected(record, adapter):
    """What the engine's results say about a span: its name and error."""
    for e in record.values():
        if e["parent"] is None:
            e["error"] = None if e["success"] else "dbt.cli.exceptions.ResultExit"
            continue
        e["name"] = "hook" if e["kind"] == "operation" else e["id"].split(".")[3 if e["kind"] == "unit_test" else 2]
        e["error"] = ERRORS[e["name"]] if e["status"] in ("error", "fail") else None
        if isinstance(e["error"], dict):
            e["error"] = e["error"][adapter]


def check(case, adapter, env):
    run = engine.Run(case, "dbt", "dbt_app.py", adapter, env={"DO_NOT_TRACK": "1", **env}, timeout=150)
    expected(run.record, adapter)
    spans = keyed(run)
    for key, e in run.record.items():  # a test's node has a longer id than its name
        if e.get("kind") == "test" and key in spans:
            assert spans[key].name in e["id"], (spans[key], e)
            e["name"] = spans[key].name
    engine.compare(case, run.spans, spans, run.record)
    compiled = 0
    for key, e in run.record.items():
        s = spans[key]
        if e["parent"] is None:
            assert s["wftrace.activity.type"] == "workflow" and s["dbt.target"] == "dev" and s["dbt.project"] == "shop", s.attrs
            continue
        assert s["dbt.status"] == e["status"] and s["wftrace.activity.type"] == e["type"], (e, s.attrs)
        assert s["dbt.rows_affected"] == e["rows"], (e, s.attrs)
        if e["type"] == "validation":
            assert (s["wftrace.validation.outcome"], s["wftrace.validation.failures"]) == (e["status"], e["failures"]), (e, s.attrs)
        if e["error"]:
            assert " ".join(e["message"].split()) == " ".join(s.message.split()), (e, s.message)
        below = [c for c in run.spans.children(s) if c.name == "compile"]
        assert len(below) == (1 if e["timing"] and e["kind"] not in ("seed", "operation") else 0), (e, below)
        compiled += len(below)
    first, second = sorted((s for s in run.spans if s["dbt.invocation.id"]), key=lambda s: s.start)[:2]
    assert second["dbt.retried.invocation.id"] == first["dbt.invocation.id"], second.attrs
    outcomes = {s["wftrace.validation.outcome"] for s in run.spans if s["wftrace.activity.type"] == "validation"}
    assert outcomes == {"pass", "warn", "fail"}, outcomes
    case.note(f"{compiled} of them compiled below their node")
    return run, spans


@test("engine/dbt-duckdb", limit=300)
def duckdb(case):
    """Every node of dbt's results once, under its invocation, with status, rows, failures and message."""
    check(case, "duckdb", {})


@test("engine/dbt-postgres", limit=300)
def postgres(case):
    """The same in PostgreSQL: each statement is below the node that its comment names."""
    run, spans = check(case, "postgres", {"PG_PORT": str(case.postgres().port)})
    told = 0
    for s in run.spans.where("client"):
        text = s["db.query.text"] or ""
        if s["db.system.name"] != "postgresql" or not text.startswith("/* {"):
            continue
        node = json.loads(text[3:text.index("*/")]).get("node_id")
        if node and not node.startswith("operation."):
            told += 1
            key = engine.nearest(run.spans, s, spans)
            assert key and key.split(" ")[-1] == node, f"{node}'s statement is below {key}"
    assert told > 20, told
    case.note(f"{told} statements below the node that their comment names")
