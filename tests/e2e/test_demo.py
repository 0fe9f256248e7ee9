"""S1: `make demo`'s script tells its story, ends by itself, leaves nothing running."""
import pathlib
import subprocess

from support import paths, spans
from support.harness import test


def _run(case):
    p = subprocess.run([paths.ROOT / "demo" / "run.sh"], capture_output=True, text=True, errors="replace", timeout=150)
    (case.dir / "demo.log").write_text(p.stdout + p.stderr)
    return p


@test("demo", limit=170)
def demo(case):
    """the orders of the demo are spans: the failed insert, the exit 3, the slow query, each under its request"""
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
    assert len(sets) == 3 and all(_server_of(found, s) for s in sets), sets


def _server_of(found, span):
    return next((a for a in found.ancestors(span) if a.kind == "server"), {})
