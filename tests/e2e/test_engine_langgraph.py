"""LangGraph against its own debug stream: branch, parallel, nested, retried, failing, interrupted; sync and async."""
from support import engine, paths, procs
from support.harness import test


def keyed(run):
    """Our spans under the record's keys: nodes by the engine's task id; a graph by the node that it is, or by its place in order."""
    nodes, graphs, count = {}, {}, {}
    for s in sorted(run.spans.where(wftrace__activity__type="task"), key=lambda s: s.start):
        if s["langgraph.task.id"]:
            key = s["langgraph.task.id"]
            nodes[key + " again" if key in nodes else key] = s
    for s in sorted(run.spans.where(wftrace__activity__type="workflow"), key=lambda s: s.start):
        node = engine.nearest(run.spans, s, nodes)
        count[s.name] = count.get(s.name, 0) + 1
        graphs[f"graph {node}" if node else f"{s.name}-{count[s.name]}"] = s
    return nodes | graphs


def check(case, *args):
    run = engine.Run(case, "langgraph", "langgraph_app.py", *args)
    engine.compare(case, run.spans, keyed(run), run.record)
    decisions = run.spans.where(wftrace__activity__type="decision")
    taken = sorted((d.name, d["wftrace.decision.outcome"], d["wftrace.decision.count"]) for d in decisions)
    assert taken == [("fan", "work", 3), ("side", "left", 1)], taken
    attempts = sorted((s["wftrace.attempt"], s["error.type"]) for s in run.spans if s["wftrace.attempt"])
    assert attempts == [(2, "ConnectionError"), (3, None)], attempts
    for s in run.spans:
        if s["wftrace.attempt"]:
            assert run.spans.parent(s).name == "s2", run.spans.parent(s)
    tools = sorted(run.spans.where(wftrace__activity__type="tool"), key=lambda s: s.start)
    assert [(t.name, t["gen_ai.tool.call.id"], t["error.type"], run.spans.parent(t).name) for t in tools] == [
        ("execute_tool look_up", "call-2", "LookupError", "left"), ("execute_tool look_up", "call-1", None, "left")], tools
    return run


@test("engine/langgraph-sync", limit=240)
def sync(case):
    """Graphs by invoke and stream: every task of the debug stream once, in its graph."""
    run = check(case)
    threads = [s["langgraph.thread_id"] for s in run.spans.where(name="asking")]
    assert threads == ["t-1", "t-1"], threads
    assert all(s.status != 2 for s in run.spans.where(name="ask")), "an interrupt is no error"


@test("engine/langgraph-async", limit=240)
def asynchronous(case):
    """The same graphs by astream, with a coroutine among the parallel nodes."""
    check(case, "async")


@test("engine/langgraph-ways", limit=240)
def ways(case):
    """However a graph is run, it is one span: invoke's, or that of the generator which somebody else drives."""
    run = engine.Run(case, "langgraph", "langgraph_app.py", "ways")
    graphs = run.spans.where(wftrace__activity__type="workflow")
    for name, entry in run.record.items():
        mine = [s for s in graphs if s.name == name]
        assert len(mine) == entry["runs"], (name, len(mine))
        streams = "stream" in name or name in ("closed", "events")
        for s in mine:
            assert (s["code.function.name"].endswith("stream")) == streams, s.attrs
            below = sorted((n.name, [g.name for g in run.spans.children(n)]) for n in run.spans.children(s))
            assert below == [("call", ["leaf"])] + ([] if name == "closed" else [("sub", ["leaf"])]), (name, below)
    assert len(graphs) == 3 * sum(e["runs"] for e in run.record.values()) - 1, len(graphs)
    assert all(s.status != 2 for s in run.spans), [s for s in run.spans if s.status == 2]


@test("engine/langgraph-override", limit=240)
def override(case):
    """A pack is changed key by key in a rule file, and switched off by it and by --packs."""
    rules = case.dir / "mine.yaml"
    rules.write_text("packs: { langgraph: { node: { name: 'node {langgraph.node}', attributes: { mine: 'arg.task.path[0]' } } } }\n")
    run = engine.Run(case, "langgraph", "langgraph_app.py", opts=["-r", rules])
    node = run.spans.where(name="node a")[0]
    assert node["mine"] == "__pregel_pull" and node["langgraph.task.id"], node.attrs
    rules.write_text("packs: { langgraph: { enabled: false } }\n")
    for opts in (["-r", rules], ["--packs", "off"], ["--bridge", "off"]):
        run = engine.Run(case, "langgraph", "langgraph_app.py", opts=opts)
        assert not run.spans.where(name="outer"), opts


class _Model:
    """A model whose answers are known, outside of what is traced."""

    def __init__(self, case):
        self.port, log = procs.free_port(), case.dir / "model.log"
        self.proc = procs.start(["/usr/bin/python3", paths.TARGETS / "agent_model.py", self.port], log)
        procs.wait_port(self.port, self.proc, log, 20)

    def stop(self):
        procs.stop(self.proc)


def _agent(way, count):
    @test(f"engine/langchain-agent-{way}", limit=240)
    def body(case):
        model = case.start(_Model(case))
        run = engine.Run(case, "langchain", "langchain_app.py", f"http://127.0.0.1:{model.port}/v1", way, count)
        found, calls = run.spans, 0
        agents = {s["langgraph.thread_id"]: s for s in found.where(name="helper")}
        assert agents.keys() == run.record.keys() and len(found.where(name="helper")) == count, agents.keys()
        for n, said in run.record.items():
            agent = agents[n]
            assert agent["wftrace.activity.type"] == "workflow" and agent["gen_ai.agent.name"] == "helper" and agent.status != 2, agent.attrs
            steps = sorted((s for s in found.children(agent) if s["langgraph.node"]), key=lambda s: s["langgraph.step"])
            assert sorted(s.name for s in steps) == ["model"] * 3 + ["tools"] * 3, steps
            turns = []
            for step in (s for s in steps if s.name == "model"):
                (call,) = [s for s in found.children(step) if s["wftrace.activity.type"] == "llm"]
                assert call["gen_ai.response.id"].startswith(f"answer-{n}-"), call.attrs
                turns.append(call["wftrace.gen_ai.tool_calls.id"] or [])
                (way_on,) = [s for s in found.children(step) if s["wftrace.activity.type"] == "decision"]
                asked = len(turns[-1])
                assert way_on["wftrace.decision.outcome"] == ("tools" if asked else "__end__"), way_on.attrs
                assert not asked or way_on["wftrace.decision.count"] == asked, way_on.attrs
            assert turns == said["turns"], (turns, said)
            used = [t for s in steps if s.name == "tools" for t in found.children(s) if t["wftrace.activity.type"] == "tool"]
            assert {t["gen_ai.tool.call.id"]: [t["gen_ai.tool.name"], "error" if t.status == 2 else "success"] for t in used} == said["tools"]
            assert all(t["error.type"] == (None if t.status != 2 else "langchain_core.tools.base.ToolException") for t in used), [t.attrs for t in used]
            calls += len(used)
        assert calls == len([s for s in found if s["gen_ai.operation.name"] == "execute_tool"]) == 3 * count
        case.note(f"{count} agents, {3 * count} turns of the model, {calls} calls of tools: 0 missing, 0 WRONG")
    body.__doc__ = f"LangChain's create_agent, {way}: model, tools, each call of a tool by the id that the model gave it, the loop"


_agent("sync", 3)
_agent("async", 20)
