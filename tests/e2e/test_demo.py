"""S1: `make demo`'s script tells its story, ends by itself, leaves nothing running."""
import os
import pathlib
import signal
import subprocess

from support import paths, procs, spans
from support.harness import test


def _run(case):
    p = subprocess.run([paths.ROOT / "demo" / "run.sh"], capture_output=True, text=True, errors="replace", timeout=400)
    (case.dir / "demo.log").write_text(p.stdout + p.stderr)
    return p


@test("demo", limit=420)
def demo(case):
    """the orders of the demo are spans: the failed insert, the exit 3, the slow query, each under its request; a workflow as one tree"""
    before = set(pathlib.Path("/tmp").glob("wftrace-demo.*"))
    p = _run(case)
    assert p.returncode == 0, f"status {p.returncode}: {p.stderr[-1500:]}"
    assert not set(pathlib.Path("/tmp").glob("wftrace-demo.*")) - before, "the demo left its folder behind"
    found = spans.load(paths.BUILD / "demo" / "spans.otlp.jsonl")
    orders = [s for s in found.where("server") if s["url.path"] == "/orders"]
    codes = sorted(str(s["http.response.status_code"]) for s in orders)
    assert codes == ["201", "201", "422", "422", "502"], [(s, s["http.response.status_code"], s["http.request.method"]) for s in orders]
    refused = found.where("client", db__response__status_code="23514")
    assert len(refused) == 1 and refused[0].status == 2, f"the refused INSERT (23514): {refused}"
    assert _server_of(found, refused[0])["http.response.status_code"] == 422
    exits = [s for s in found if s["process.exit.code"] == 3]
    assert exits and _server_of(found, exits[0])["http.response.status_code"] == 502, f"exit 3: {exits}"
    slow = [s for s in found.where("client") if s["db.system.name"] == "postgresql" and s.end - s.start > 390_000_000]
    assert slow, "no slow query"
    sets = [s for s in found.where("client") if s["db.system.name"] == "redis" and s["db.operation.name"] == "SETEX"]
    own = [s for s in sets if not any(a.kind == "consumer" for a in found.ancestors(s))]
    assert len(own) == 3 and all(_server_of(found, s) for s in own), sets
    _workflow(found)


@test("demo/interrupted", limit=420)
def interrupted(case):
    """Ctrl-C in the middle: status 130, and neither a process nor a folder stays"""
    before, log = set(pathlib.Path("/tmp").glob("wftrace-demo.*")), case.dir / "demo.log"
    with open(log, "w") as out:
        p = subprocess.Popen([paths.ROOT / "demo" / "run.sh"], stdout=out, stderr=out, start_new_session=True,
                             preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    procs.wait_for("the first order", lambda: "# POST /orders" in log.read_text(errors="replace"), 300, p, log)
    os.killpg(p.pid, signal.SIGINT)
    assert p.wait(60) == 130, log.read_text(errors="replace")[-1500:]
    left = subprocess.run(["ps", "-o", "pid,stat,args", "-s", str(p.pid)], capture_output=True, text=True).stdout.splitlines()[1:]
    assert not left, left
    assert not set(pathlib.Path("/tmp").glob("wftrace-demo.*")) - before, "the demo left its folder behind"


def _workflow(found):
    """Two orders fulfilled: request → task → agent → node → model and table → task → script; the second fails there, twice."""
    asked = sorted((s for s in found.where("server") if (s["url.path"] or "").endswith("/fulfil")), key=lambda s: s.start)
    assert [s["http.response.status_code"] for s in asked] == [200, 502], asked
    for request, node, states in ((asked[0], "parcel", ["SUCCESS", "SUCCESS"]), (asked[1], "freight", ["SUCCESS", "RETRY", "FAILURE"])):
        below = [s for s in found if request in found.ancestors(s)]
        tasks = sorted((s for s in below if s.kind == "consumer"), key=lambda s: s.start)
        assert [t["celery.state"] for t in tasks] == states, tasks
        chat = [s for s in below if s["gen_ai.operation.name"] == "chat"]
        assert len(chat) == 1 and chat[0]["gen_ai.usage.output_tokens"] > 0, chat
        usd = (chat[0]["gen_ai.usage.input_tokens"] * 0.02 + chat[0]["gen_ai.usage.output_tokens"] * 0.08) / 1e6  # demo/prices.yaml
        assert abs(chat[0]["wftrace.gen_ai.cost_usd"] - usd) < 1e-12, chat[0].attrs
        assert [a.name for a in found.ancestors(chat[0])][:4] == ["write note", "clerk", "fulfil.prepare", "send fulfil.prepare"], chat
        update = [s for s in below if s.name == "UPDATE orders"]
        assert len(update) == 1 and found.parent(update[0]).name == node, update
        carrier = [s for s in below if s.name == "carrier"]
        assert carrier[0]["wftrace.decision.outcome"] == node, carrier[0].attrs
        labels = [s for s in below if s.name == "ship-label"]
        assert len(labels) == len(tasks) - 1 and all(found.parent(s).name == "fulfil.ship" for s in labels), labels
    assert tasks[-1]["error.type"] == "subprocess.CalledProcessError" and tasks[-1]["wftrace.attempt"] == 2, tasks[-1].attrs


def _server_of(found, span):
    return next((a for a in found.ancestors(span) if a.kind == "server"), {})
