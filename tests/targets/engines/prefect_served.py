"""Prefect with a server of its own and a deployment served by flow.serve(): its runs are asked for over the API, or by a flow and a task of
another process, and started, each as a process of its own, by the one that serves. The record is what the server knows of them."""
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

from prefect import flow, task
from prefect.deployments import run_deployment


@task
def add(a, b=1):
    return a + b


@task(retries=1)
def flaky():
    from prefect.runtime import task_run

    if task_run.run_count == 1:
        raise ConnectionError("no line")


@task
def pack():
    subprocess.run(["sleep", "0.05"], check=True)


@task
def refuse(key):
    raise ValueError(f"no such order: {key}")


@flow
def shipping(n):
    return add(n, 2)


@flow
def order(key: str, broken: bool = False):
    futures = add.map([1, 2, 3])
    shipping(sum(f.result() for f in futures))
    flaky()
    pack()
    if broken:
        refuse(key)


@task
def ask(key):
    return run_deployment("order/shop", parameters={"key": key}, poll_interval=0.5).id


@flow
def campaign():
    return [run_deployment("order/shop", parameters={"key": "d"}, timeout=0).id,
            run_deployment("order/shop", parameters={"key": "e"}, timeout=0, as_subflow=False).id, ask("f")]


@flow
async def later_campaign():
    return [(await run_deployment("order/shop", parameters={"key": "g"}, timeout=0)).id]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(name, *argv):
    with open(f"{name}.log", "wb") as log:
        return subprocess.Popen([sys.executable, *argv], stdout=log, stderr=log)


def wait_until(what, ready, process, limit=60):
    until = time.monotonic() + limit
    while time.monotonic() < until and process.poll() is None:
        if ready():
            return
        time.sleep(0.2)
    raise SystemExit(f"{what} does not come up")


def healthy():
    try:
        with urllib.request.urlopen(os.environ["PREFECT_API_URL"] + "/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def served(client):
    """The deployment, once the process that serves it has told the server of it."""
    from prefect.client.schemas.filters import DeploymentFilter

    return client.read_deployments(deployment_filter=DeploymentFilter(name={"any_": ["shop"]}))


def run(client):
    import prefect_app

    deployment = served(client)[0].id
    asked = [client.create_flow_run_from_deployment(deployment, parameters=p).id
             for p in ({"key": "a"}, {"key": "b", "broken": True})]
    asked += campaign() + asyncio.run(later_campaign())
    until = time.monotonic() + 90
    while not all((client.read_flow_run(i).state).is_final() for i in asked):
        if time.monotonic() > until:
            raise SystemExit(f"not at the end: {[client.read_flow_run(i).state.name for i in asked]}")
        time.sleep(0.5)
    found = prefect_app.known_runs(client)
    deployed = {str(f.id): str(f.deployment_id) for f in found[0] if f.deployment_id}
    assert deployed == {str(i): str(deployment) for i in asked}
    return [{**e, "deployment": deployed.get(e["key"])} for e in prefect_app.entries(client, *found)]


def stop(process):
    process.send_signal(signal.SIGINT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main():
    from prefect.client.orchestration import get_client

    port = free_port()
    os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    processes = [start("server", "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port))]
    try:
        wait_until("the server", healthy, processes[0])
        processes.append(start("serve", __file__, "serve"))
        with get_client(sync_client=True) as client:
            wait_until("the deployment", lambda: served(client), processes[1])
            record = run(client)
    finally:
        for process in reversed(processes):
            stop(process)
    json.dump(record, open(os.environ["ENGINE_RECORD"], "w"))


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        order.serve(name="shop")
    else:
        main()
