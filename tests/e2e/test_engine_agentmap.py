"""S2: AgentMap against its own OpenTelemetry (one run with it on, one under wftrace with it off) and its execution summaries."""
import json
import os
import subprocess

from support import engine, paths, points, procs, venv
from support.harness import test

class _Model:
    """The stand-in that speaks OpenAI's protocol."""

    def __init__(self, case):
        self.port = procs.free_port()
        log = case.dir / "model.log"
        self.proc = procs.start([venv.venv("agentmap") / "bin" / "python", paths.TARGETS / "llm_server.py", self.port], log)
        procs.wait_port(self.port, self.proc, log, 30)

    def environment(self):
        url = f"http://127.0.0.1:{self.port}/v1"
        return {"OPENAI_API_BASE": url, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": "none", "OTEL_METRIC_EXPORT_INTERVAL": "100"}

    def stop(self):
        procs.stop(self.proc)


def own_spans(case, env):
    """Spans of AgentMap's own console exporter: JSON documents among other output."""
    python = venv.venv("agentmap") / "bin" / "python"
    p = subprocess.run([str(python), str(paths.TARGETS / "engines" / "agentmap_app.py"), "own"], capture_output=True, text=True, timeout=90,
                       cwd=case.dir, env={**os.environ, **env, "ENGINE_RECORD": str(case.dir / "own.json")})
    assert p.returncode == 0, f"status {p.returncode}: {p.stderr[-2500:]}"
    decoder, found, at = json.JSONDecoder(), [], p.stdout.find("{")
    while at >= 0:
        span, end = decoder.raw_decode(p.stdout, at)
        found.append(span)
        at = p.stdout.find("{", end)
    return sorted(found, key=lambda s: s["start_time"])


def own_label(s):
    attrs = s["attributes"]
    return {"agentmap.workflow.run": f"workflow {attrs.get('agentmap.graph.name')}", "agentmap.agent.run": f"agent {attrs.get('agentmap.node.name')}",
            "gen_ai.chat": "llm", "agentmap.storage.read": f"storage {attrs.get('agentmap.storage.backend')} read",
            "agentmap.storage.write": f"storage {attrs.get('agentmap.storage.backend')} write"}[s["name"]]


def our_label(s, agents):
    """The same for a span of ours, None for one of a kind that AgentMap's own telemetry does not have."""
    kind, node = s["wftrace.activity.type"], (s["agentmap.graph.name"], s["agentmap.agent.name"])
    if kind == "workflow":
        return f"workflow {s['agentmap.graph.name']}"
    if kind == "task" and s.name.startswith("agent."):
        return f"agent {s['agentmap.agent.name']}" if node in agents else None
    if kind == "llm" and s.name.startswith("llm."):
        return "llm"
    if kind == "storage" and not s["agentmap.storage.backend"].startswith("system_"):
        return f"storage {s['agentmap.storage.backend']} {s['agentmap.storage.operation']}"
    return None


def numbered(spans):
    """(label, id, parent's id, failed) in order of start → paths from the root, the n-th of the same label under the same parent."""
    named, count, out = {}, {}, {}
    for label, sid, parent, failed in spans:
        path = (named[parent] + " / " if parent in named else "") + label
        count[path] = count.get(path, 0) + 1
        named[sid] = f"{path} {count[path]}"
        out[named[sid]] = failed
    return out


def our_paths(run, agents):
    labels = {s.span_id: our_label(s, agents) for s in run.spans}
    listed = []
    for s in sorted(run.spans, key=lambda s: s.start):
        if labels[s.span_id]:
            parent = next((a.span_id for a in run.spans.ancestors(s) if labels[a.span_id]), None)
            listed.append((labels[s.span_id], s.span_id, parent, s.status == 2))
    return numbered(listed)


def compare_telemetry(case, run, own):
    agents = {(s["attributes"]["agentmap.graph.name"], s["attributes"]["agentmap.node.name"]) for s in own if s["name"] == "agentmap.agent.run"}
    theirs = numbered([(own_label(s), s["context"]["span_id"], s["parent_id"], s["status"]["status_code"] == "ERROR") for s in own])
    ours = our_paths(run, agents)
    # What an async node does in an executor has no parent in AgentMap's own telemetry: asyncio hands no context on. Ours has one.
    lost = [path for path in theirs if "/" not in path and not path.startswith("workflow")]
    rest = {path: failed for path, failed in ours.items() if path not in theirs}
    missing = [path for path in theirs if path not in ours and path not in lost]
    assert not missing, f"missing or under another parent: {missing}; ours: {sorted(ours)}"
    wrong = [path for path in theirs if path not in lost and theirs[path] != ours[path]]
    assert not wrong, f"another outcome: {wrong}"
    assert len(rest) == len(lost), f"{sorted(rest)} are not among its own, {lost} not among ours"
    for path in lost:
        assert any(mine.split(" / ")[-1].rsplit(" ", 1)[0] == path.rsplit(" ", 1)[0] and "/" in mine for mine in rest), path
    assert len(agents) >= 3 and len(theirs) >= 14, sorted(theirs)
    case.note(f"{len(theirs)} spans of AgentMap's own telemetry: 0 missing, 0 under a wrong parent ({len(lost)} had no parent there)")


def compare_summaries(case, run):
    """Each node of the summaries once, in its graph, and one agent in each."""
    record, keyed, count = {}, {}, {}
    for s in sorted((s for s in run.spans.where(wftrace__activity__type="workflow")), key=lambda s: s.start):
        count[s.name] = count.get(s.name, 0) + 1
        keyed[f"{s['agentmap.graph.name']}-{count[s.name]}"] = s
    graphs = dict(keyed)
    for s in run.spans.where(wftrace__activity__type="task"):
        if not s.name.startswith("agent."):
            key = f"{engine.nearest(run.spans, s, graphs)}/{s['agentmap.node.name']}"
            assert key not in keyed, f"two spans of {key}"
            keyed[key] = s
            agents = [c for c in run.spans.children(s) if c.name.startswith("agent.")]
            assert [a["agentmap.agent.name"] for a in agents] == [s["agentmap.node.name"]], agents
            assert agents[0].name == f"agent.{agents[0]['agentmap.agent.type']}.execute" and agents[0].status == s.status, agents
    for graph in run.record.values():
        record[graph["key"]] = {"name": f"{graph['name']}.execute", "parent": "Outer-1/Nested" if graph["name"] == "Inner" else None,
                                "error": None if graph["success"] else "failed", "seconds": graph["seconds"]}
        for node, success, seconds, _ in graph["nodes"]:
            record[f"{graph['key']}/{node}"] = {"name": f"{node}.execute", "parent": graph["key"], "seconds": seconds,
                                                "error": None if success else "ValueError"}
    engine.compare(case, run.spans, keyed, record)


def check_metrics(run, path):
    collections = points.load(path)
    total = {}
    for p in collections[-1]:
        total[p.name] = total.get(p.name, 0) + (p.count if p.kind == "histogram" else p.value)
    nodes = sum(len(g["nodes"]) for g in run.record.values())
    expected = {"agentmap.workflow.executions": len(run.record), "agentmap.workflow.duration": len(run.record), "agentmap.node.executions": nodes,
                "agentmap.node.duration": nodes, "agentmap.agent.errors": 1, "agentmap.llm.latency": 2, "agentmap.llm.tokens": 58}
    found = {name: total.get(name) for name in expected}
    assert found == expected, found
    tokens = next(p for p in collections[-1] if p.name == "agentmap.llm.tokens")
    assert tokens.monotonic and tokens.unit == "{token}" and tokens.attrs["gen_ai.provider.name"] == "openai", tokens.attrs
    active = [p.value for c in collections for p in c if p.name == "agentmap.workflow.active"]
    assert active and max(active) >= 1, f"{len(collections)} collections, active {active}"


@test("engine/agentmap", limit=300)
def graphs(case):
    """Parallel nodes, a failure edge, a failing agent, a nested graph, a model's call, storage; sync and async."""
    model = case.start(_Model(case))
    own = own_spans(case, model.environment())
    run = engine.Run(case, "agentmap", "agentmap_app.py", env=model.environment())
    compare_telemetry(case, run, own)
    compare_summaries(case, run)
    check_metrics(run, case.dir / "trace.jsonl")
    taken = sorted((run.spans.parent(d).name, d["wftrace.decision.outcome"]) for d in run.spans.where(wftrace__activity__type="decision"))
    assert taken == sorted([("Check.execute", "Bad"), ("Join.execute", "Check"), ("Start.execute", "Left"), ("Ask.execute", "Keep")] * 2 +
                           [("Load.execute", "Check"), ("Check.execute", "Repair")]), taken
    for call in run.spans.where(name="llm.openai.call"):
        assert call["gen_ai.usage.input_tokens"] == 19 and call["gen_ai.usage.output_tokens"] == 10, call.attrs
        chat = [c for c in run.spans.children(call) if c.kind == "client"]  # beside it OpenAI's library asks uname
        assert [c.name for c in chat] == ["chat gpt-5-mini"] and chat[0]["gen_ai.usage.output_tokens"] == 10, chat
    assert not run.spans.where(name="LangGraph"), "LangGraph's name of the same graph"
