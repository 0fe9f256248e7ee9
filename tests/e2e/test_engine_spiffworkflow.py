"""SpiffWorkflow against its own workflow objects: scripts, services, gateways, DMN, called and embedded processes, user tasks, a timer."""
from support import engine
from support.harness import test


def keyed(run):
    """Tasks by the engine's id; runs of the engine by name and order."""
    found, count = engine.by_key(run.spans, "bpmn.task.id"), {}
    for s in sorted((s for s in run.spans.where(wftrace__activity__type="workflow") if not s["bpmn.task.id"]), key=lambda s: s.start):
        count[s.name] = count.get(s.name, 0) + 1
        found[f"{s.name}-{count[s.name]}"] = s
    return found


@test("engine/spiffworkflow", limit=240)
def processes(case):
    """Every finished task of the diagrams once, in its process, with type, outcome and error."""
    run = engine.Run(case, "spiffworkflow", "spiffworkflow_app.py")
    spans = keyed(run)
    engine.compare(case, run.spans, spans, run.record)
    for key, entry in run.record.items():
        if "type" in entry:
            assert spans[key]["bpmn.task.type"] == entry["type"], (entry, spans[key].attrs)
    for name in ("Big order?", "Rate"):
        assert run.spans.where(name=name)[0]["wftrace.activity.type"] == "decision"
    wait = run.spans.where(name="Wait")[0]["wftrace.queue.wait"]
    assert wait is not None and wait < 5, wait
    pay = run.spans.where(name="Review")[0]
    assert (pay.end - pay.start) / 1e9 >= 0.02, "the service call is part of its task"
