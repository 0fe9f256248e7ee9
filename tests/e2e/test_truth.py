"""S2, truth under load: 32 keep-alive connections, unique ids, every server and client span compared with the load."""
import os

from support import load, procs, tracer, truth
from support.harness import test

from targets import ALL


def run_traced(case, target, opts=()):
    """Runs the load against the target under wftrace. Returns (requests, Tracer after its end)."""
    t = tracer.Tracer(case.dir, target.argv, opts=opts, env={**os.environ, **target.env}, cwd=case.dir)
    case.defer(procs.stop, t.proc)
    procs.wait_port(target.port, t.proc, t.log, 40)
    reqs = load.run(load.plan(target.endpoints, target.requests), target.port)
    t.finish()
    return reqs, t


def judge(case, reqs, t):
    bad = load.failures(reqs)
    assert not bad, f"{len(bad)} requests failed under trace: {bad[:2]} {t.said()[-500:]}"
    v = truth.compare(reqs, t.spans())
    case.note(v.line())
    case.note(v.table())
    lost = {k: n for k, n in t.ledger().items() if n and ("lost" in k or "dropped" in k or k.endswith("_bad"))}
    if lost:
        case.note(f"ledger: {lost}")
    assert v.perfect, "\n    ".join([v.line()] + v.problems)
    return v


def _add(name, make):
    @test(f"truth/{name}", limit=150)
    def body(case):
        judge(case, *run_traced(case, make(case)))
    body.__doc__ = f"one span per request and call, every parent right: {name}"


for _name, _make in ALL.items():
    _add(_name, _make)


def _bare(name, make):
    @test(f"self/bare-{name}", limit=90, product=False)
    def body(case):
        target = make(case)
        p = procs.start(target.argv, case.dir / "target.log", env={**os.environ, **target.env}, cwd=case.dir)
        case.defer(procs.stop, p)
        procs.wait_port(target.port, p, case.dir / "target.log", 40)
        reqs = load.run(load.plan(target.endpoints, 200), target.port)
        bad = load.failures(reqs)
        assert not bad, f"{len(bad)} failed: {bad[:2]} {procs.tail(case.dir / 'target.log')}"
        assert all(r.calls and all(c.startswith(r.rid + ".") for c in r.calls) for r in reqs), reqs[:3]
    body.__doc__ = f"the target works by itself: {name}"


for _name, _make in ALL.items():
    _bare(_name, _make)
