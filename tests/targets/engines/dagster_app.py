"""Jobs with a chain, parallel steps, a nested graph, mapped steps, retries of both kinds, failures, a run within a step, assets with
checks; in process or in processes of their own. The record is the engine's own: the event log of its instance."""
import json
import os
import sys
import time

from dagster import (AssetCheckResult, AssetKey, DagsterInstance, DynamicOut, DynamicOutput, Failure, In, Nothing, Output, RetryPolicy,
                     RetryRequested, asset, asset_check, define_asset_job, Definitions, execute_job, graph, in_process_executor, job,
                     multiprocess_executor, op, reconstructable)


@op
def first():
    time.sleep(0.02)
    return 1


@op
def left(x):
    time.sleep(0.05)
    return x


@op
def right(x):
    return x


@op
def add_one(x):
    return x + 1


@op
def double(x):
    return 2 * x


@graph
def both(x):
    return double(add_one(x))


@op(retry_policy=RetryPolicy(max_retries=2))
def flaky(context, a, b):
    if context.retry_number < 2:
        raise ConnectionError(f"try {context.retry_number}")
    return a + b


@op
def asks(context, x):
    if context.retry_number < 1:
        raise RetryRequested(max_retries=1)
    return x


@op
def nothing(x):
    pass


@job(executor_def=in_process_executor)
def inner():
    nothing(add_one(first()))


@op
def starts(context, x):
    inner.execute_in_process(instance=context.instance, tags={"by": f"{context.run_id} starts 1"})


@op(out=DynamicOut())
def spread():
    for i in range(2):
        yield DynamicOutput(i, mapping_key=f"k{i}")


@op
def bad(x):
    raise ValueError("no such order")


@op
def refuses(x):
    raise Failure("not today")


FORK = multiprocess_executor.configured({"max_concurrent": 2, "start_method": {"forkserver": {}}})
EXECUTOR = {"process": in_process_executor, "fork": FORK, "spawn": multiprocess_executor}[os.environ["EXECUTOR"]]


@job(executor_def=EXECUTOR)
def order():
    x = first()
    y = flaky(left(x), right(x))
    starts(asks(both(y)))
    spread().map(double)


@job(executor_def=EXECUTOR)
def broken():
    x = first()
    nothing(bad(x))
    refuses(x)


@job(executor_def=EXECUTOR)
def small():
    nothing(first())


@asset
def orders():
    return [1, 2, 3]


@asset(deps=[orders])
def totals():
    return Output(6, metadata={"rows": 1})


@asset_check(asset=orders)
def not_empty():
    return AssetCheckResult(passed=True)


@asset_check(asset=totals)
def not_small():
    return AssetCheckResult(passed=False)


defs = Definitions(assets=[orders, totals], asset_checks=[not_empty, not_small], jobs=[define_asset_job("refresh", executor_def=EXECUTOR)])


def refresh():
    return defs.get_job_def("refresh")


ENDS = {"STEP_SUCCESS": "success", "STEP_FAILURE": "failure", "STEP_UP_FOR_RETRY": "up_for_retry"}


def entries(instance):
    """Of every run in the event log: the run, its steps' attempts, materialisations and checks."""
    for run in instance.get_runs():
        attempts, steps = {}, {}
        status = run.status.value.lower()
        whole = {"key": run.run_id, "name": run.job_name, "parent": run.tags.get("by"), "status": status, "error": None}
        yield whole
        for e in instance.all_logs(run.run_id):
            kind, key = (e.dagster_event.event_type_value, e.step_key) if e.is_dagster_event else (None, None)
            step = f"{run.run_id} {key} {attempts.get(key)}"
            if kind in ("STEP_START", "STEP_RESTARTED"):
                attempts[key] = attempts.get(key, 0) + 1
                steps[key] = {"key": f"{run.run_id} {key} {attempts[key]}", "name": e.dagster_event.node_handle.name,
                              "parent": run.run_id, "step": key, "attempt": attempts[key], "since": e.timestamp}
            elif kind in ENDS:
                s, data = steps.pop(key), e.dagster_event.event_specific_data
                why = None if kind == "STEP_SUCCESS" else data.error.cause or data.error
                if kind == "STEP_FAILURE":
                    whole["error"] = whole["error"] or why.cls_name
                yield {**s, "status": ENDS[kind], "error": why and why.cls_name, "message": why and why.message,
                       "began": s["since"], "ended": e.timestamp, "seconds": e.timestamp - s["since"]}
            elif kind == "ASSET_MATERIALIZATION":
                name = " ".join(e.dagster_event.asset_key.path)
                yield {"key": f"{run.run_id} {name}", "name": f"materialize {name}", "parent": step}
            elif kind == "ASSET_CHECK_EVALUATION":
                data = e.dagster_event.event_specific_data
                yield {"key": f"{run.run_id} {data.check_name}", "name": data.check_name, "parent": step, "passed": data.passed}
        assert not steps, steps


def main():
    os.makedirs("home", exist_ok=True)
    with DagsterInstance.local_temp("home") as instance:
        for make in {"process": (order, broken, refresh), "fork": (order, broken), "spawn": (small,)}[os.environ["EXECUTOR"]]:
            execute_job(reconstructable(make), instance=instance)
        if os.environ["EXECUTOR"] == "process":
            refresh().execute_in_process(instance=instance)
        json.dump(list(entries(instance)), open(os.environ["ENGINE_RECORD"], "w"))


if __name__ == "__main__":
    main()
