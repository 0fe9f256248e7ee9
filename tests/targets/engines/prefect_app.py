"""Prefect with the server that it starts itself: flows with tasks in sequence, in threads, mapped, nested, retried, failing, timed out,
cached and left out, flows within flows, a cancelled and a crashed one; sync, async and generators; a subprocess and PostgreSQL in a
task. The record is what the server knows: flow runs, task runs and the history of their states."""
import asyncio
import json
import os
import subprocess
import time

import psycopg2
from prefect import flow, task
from prefect.cache_policies import INPUTS
from prefect.client.orchestration import get_client
from prefect.states import Cancelled
from prefect.task_runners import ThreadPoolTaskRunner

tries = {}


@task
def add(a, b=1):
    time.sleep(0.02)
    return a + b


@task(retries=2)
def flaky(name):
    tries[name] = tries.get(name, 0) + 1
    if tries[name] < 3:
        raise ConnectionError(f"try {tries[name]}")
    return tries[name]


@task(retries=1, retry_delay_seconds=0.1)
def hopeless():
    raise ValueError("no such order")


@task
def outer(x):
    return add(x)


@task
async def later(x):
    await asyncio.sleep(0.05)
    return x


@task(retries=1)
async def later_flaky(x):
    tries[x] = tries.get(x, 0) + 1
    await asyncio.sleep(0.02)
    if tries[x] < 2:
        raise KeyError(x)


@task(timeout_seconds=0.2)
async def slow():
    await asyncio.sleep(5)


@task
def parts(n):
    for i in range(n):
        time.sleep(0.01)
        yield i


@task(cache_policy=INPUTS, persist_result=True)
def known(x):
    return x * 2


@task(task_run_name="price of {what}", tags=["db"])
def price(what):
    with psycopg2.connect(os.environ["PG_URL"]) as db, db.cursor() as cursor:
        cursor.execute("SELECT length(%s)", (what,))
        return cursor.fetchone()[0]


@task
def pack():
    subprocess.run(["sleep", "0.05"], check=True)


@flow
def shipping(n):
    return add(n, 2)


@flow(task_runner=ThreadPoolTaskRunner(max_workers=3))
def order(key):
    x = add(1)
    futures = [add.submit(i) for i in range(4)]
    mapped = add.map([f.result() for f in futures], b=3)
    shipping(sum(f.result() for f in mapped))
    outer(flaky("order"))
    known(key)
    known(key)
    list(parts(2))
    pack()
    return price.submit("tea").result() + x


@flow
def broken():
    bad = hopeless.submit()
    return add(bad, return_state=True)  # never runs


@flow
def raises():
    hopeless()


@flow(retries=1)
def second_time():
    tries["flow"] = tries.get("flow", 0) + 1
    add(tries["flow"])
    if tries["flow"] == 1:
        raise RuntimeError("once")


@flow(validate_parameters=True)
def picky(n: int):
    return n


@flow
def given_up():
    return Cancelled(message="not today")


@flow
def crashes():
    add(1)
    raise KeyboardInterrupt


@flow
async def part(n):
    return await asyncio.gather(*(later(f"{n}.{i}") for i in range(3)))


@flow
async def many(key):
    await asyncio.gather(*(later(i) for i in range(4)), part(1), part(2), later_flaky(key))
    await slow(return_state=True)
    add(5)


@flow
async def stream():
    for i in range(2):
        yield await later(i)


async def run_async():
    await asyncio.gather(many("a"), many("b"))
    return [i async for i in stream()]


def moments(states):
    """Each attempt: from a state that runs to the next."""
    states = sorted(states, key=lambda s: s.timestamp)
    return [(s, after) for s, after in zip(states, states[1:]) if s.is_running()]


def seconds(run):
    return (run.end_time - run.start_time).total_seconds() if run.start_time and run.end_time else None


def entry(run, name, parent):
    return {"key": str(run.id), "name": name, "run": run.name, "tags": run.tags, "runs": run.run_count, "parent": parent and str(parent),
            "state": run.state.name, "type": run.state.type.value, "message": run.state.message, "seconds": seconds(run), "started": run.start_time and run.start_time.timestamp(),
            "asked": run.expected_start_time.timestamp()}


def attempts(run, states):
    for n, (state, after) in enumerate(moments(states), 1):
        yield {"key": f"{run.id} {n}", "name": "attempt", "parent": str(run.id), "attempt": n, "after": after.name,
               "began": state.timestamp.timestamp(), "ended": after.timestamp.timestamp()}


def parent(task):
    """Who called it: a task, or its flow."""
    return next((p.id for p in (task.task_inputs or {}).get("__parents__", ())), task.flow_run_id)


def entries(client, flows, tasks, stands):
    names = {}
    for f in flows:
        names[f.flow_id] = names.get(f.flow_id) or client.request("GET", "/flows/{id}", path_params={"id": f.flow_id}).json()["name"]
        yield entry(f, names[f.flow_id], next((parent(t) for t in tasks if t.id == f.parent_task_run_id), None))
        if f.empirical_policy.retries:
            yield from attempts(f, client.read_flow_run_states(f.id))
    for t in tasks:
        if t.id in stands:  # stands for a flow within a flow: that flow
            continue
        yield entry(t, t.task_key.split("-")[0].split(".")[-1], parent(t))
        if t.empirical_policy.retries:
            yield from attempts(t, client.read_task_run_states(t.id))


def known_runs(client):
    """All runs of the server, once it knows their ends: what happens to tasks comes to it as events, later."""
    before, until = None, time.time() + 30
    while time.time() < until:
        flows, tasks = client.read_flow_runs(), client.read_task_runs()
        stands = {f.parent_task_run_id for f in flows}
        now = sorted((str(t.id), t.state_name) for t in tasks)
        ends = [t for t in tasks if t.id not in stands and not (t.state and (t.state.is_final() or t.state.name == "NotReady"))]
        if now == before and not ends:
            return flows, tasks, stands
        before = now
        time.sleep(1)
    raise SystemExit(f"not at the end: {[(t.name, t.state_name) for t in ends]}")


def main():
    order(f"key {time.time()}")
    for f in (broken, raises, second_time, given_up):
        f(return_state=True)
    picky("many", return_state=True)
    try:
        crashes()
    except KeyboardInterrupt:
        pass
    asyncio.run(run_async())
    with get_client(sync_client=True) as client:
        json.dump(list(entries(client, *known_runs(client))), open(os.environ["ENGINE_RECORD"], "w"))


if __name__ == "__main__":
    main()
