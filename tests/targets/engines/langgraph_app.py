"""Graphs with a branch, parallel nodes, a nested graph, retries, a failing node and an interrupt, sync and async, streamed or not.
The record is the engine's own: stream_mode "debug", which tells of each task with the graph it belongs to."""
import asyncio
import datetime
import json
import operator
import os
import sys
import time
from typing import Annotated, TypedDict

from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.pregel import Pregel
from langgraph.types import Command, RetryPolicy, Send, interrupt


class State(TypedDict, total=False):
    x: int
    log: Annotated[list, operator.add]


tries = 0
record = []


def step(name, nap=0.0):
    def run(state):
        time.sleep(nap)
        return {"log": [name]}
    return run


@tool
def look_up(number: int) -> str:
    """Looks an order up."""
    if number < 0:
        raise LookupError("no such order")
    return f"order {number}"


def uses(state):
    try:
        look_up.invoke({"name": "look_up", "args": {"number": -1}, "id": "call-2", "type": "tool_call"})
    except LookupError:
        pass
    return {"log": [look_up.invoke({"name": "look_up", "args": {"number": 7}, "id": "call-1", "type": "tool_call"}).content]}


def flaky(state):
    global tries
    tries += 1
    if tries < 3:
        raise ConnectionError(f"try {tries}")
    return {"log": ["flaky"]}


def fails(state):
    raise ValueError("no such order")


def asks(state):
    return {"log": [interrupt("who?")]}


async def later(state):
    await asyncio.sleep(0.01)
    return {"log": ["later"]}


def side(state):
    return "left" if state["x"] > 0 else "right"


def fan(state):
    return [Send("work", {"x": i}) for i in range(3)]


def graph(name, nodes, edges, branches=(), **options):
    g = StateGraph(State)
    for node, (run, more) in nodes.items():
        g.add_node(node, run, **more)
    for a, b in edges:
        g.add_edge(a, b)
    for a, choose, ends in branches:
        g.add_conditional_edges(a, choose, ends)
    return g.compile(name=name, **options)


inner = graph("inner", {"s1": (step("s1"), {}), "s2": (flaky, {"retry_policy": RetryPolicy(initial_interval=0.01, jitter=False)})},
              [(START, "s1"), ("s1", "s2"), ("s2", END)])
outer = graph("outer", {"a": (step("a"), {}), "b1": (step("b1", 0.02), {}), "b2": (later, {}) if "async" in sys.argv[1:] else
                        (step("b2", 0.03), {}), "sub": (inner, {}), "left": (uses, {}), "right": (step("right"), {})},
              [(START, "a"), ("a", "b1"), ("a", "b2"), ("b1", "sub"), ("b2", "sub"), ("left", END), ("right", END)],
              [("sub", side, ["left", "right"])])
spread = graph("spread", {"plan": (step("plan"), {}), "work": (step("work", 0.01), {}), "join": (step("join"), {})},
               [(START, "plan"), ("work", "join"), ("join", END)], [("plan", fan, ["work"])])
broken = graph("broken", {"a": (step("a"), {}), "bad": (fails, {})}, [(START, "a"), ("a", "bad"), ("bad", END)])
asking = graph("asking", {"ask": (asks, {})}, [(START, "ask"), ("ask", END)], checkpointer=InMemorySaver())


def note(namespace, event, top):
    """A task of the engine: its graph is the task named by the namespace, or the run itself."""
    payload, at = event["payload"], datetime.datetime.fromisoformat(event["timestamp"]).timestamp()
    if event["type"] == "task_result":
        next(e for e in reversed(record) if e["key"] == payload["id"])["ended"] = at
    if event["type"] == "task":
        parent = namespace[-1].split(":")[1] if namespace else top
        if namespace and not any(e["key"] == f"graph {parent}" for e in record):
            record.append({"key": f"graph {parent}", "name": "inner", "parent": parent, "error": None})
        record.append({"key": payload["id"], "name": payload["name"], "error": None, "began": at,
                       "parent": f"graph {parent}" if namespace else top})


def run(g, state, config=None, top=None):
    record.append({"key": top, "name": g.name, "parent": None, "error": None})
    for namespace, event in g.stream(state, config, stream_mode="debug", subgraphs=True):
        note(namespace, event, top)


async def arun(g, state, config=None, top=None):
    record.append({"key": top, "name": g.name, "parent": None, "error": None})
    async for namespace, event in g.astream(state, config, stream_mode="debug", subgraphs=True):
        note(namespace, event, top)


def expect_failure(call):
    try:
        call()
    except ValueError:
        for e in record:
            if e["name"] == "bad" or e["key"] == "broken-1":
                e["error"] = "ValueError"


def calls(name):
    """A graph of that name in whose node another is called by hand."""
    def node(state):
        return {"log": leaf.invoke({"x": 0, "log": []})["log"]}
    return graph(name, {"call": (node, {}), "sub": (leaf, {})}, [(START, "call"), ("call", "sub"), ("sub", END)])


leaf = graph("leaf", {"last": (step("last"), {})}, [(START, "last"), ("last", END)])
SYNC = {"invoke": lambda g, s: g.invoke(s), "invoke v2": lambda g, s: g.invoke(s, version="v2"), "updates": lambda g, s: g.invoke(s, stream_mode="updates"),
        "stream": lambda g, s: list(g.stream(s)), "batch": lambda g, s: g.batch([s, s]), "closed": lambda g, s: next(g.stream(s)),
        "bound": lambda g, s: g.with_config(tags=["t"]).invoke(s)}


async def drain(generator):
    async for _ in generator:
        pass


ASYNC = {"ainvoke": lambda g, s: g.ainvoke(s), "astream": lambda g, s: drain(g.astream(s)), "abatch": lambda g, s: g.abatch([s, s]),
         "events": lambda g, s: drain(g.astream_events(s, version="v2"))}


def ways():
    """Each way into a graph, by a graph of that name; the record says how often it was run."""
    state = {"x": 0, "log": []}
    for name, way in SYNC.items():
        way(calls(name), state)
    for name, way in ASYNC.items():
        asyncio.run(way(calls(name), state))
    stream = Pregel.stream

    def wrapper(*args, **kwargs):
        """As an instrumentation puts around it."""
        yield from stream(*args, **kwargs)
    Pregel.stream = wrapper
    calls("wrapped").invoke(state)
    json.dump([{"key": n, "runs": 2 if "batch" in n else 1} for n in [*SYNC, *ASYNC, "wrapped"]], open(os.environ["ENGINE_RECORD"], "w"))


def main():
    global tries
    if "ways" in sys.argv[1:]:
        return ways()
    thread = {"configurable": {"thread_id": "t-1"}}
    if "async" in sys.argv[1:]:
        asyncio.run(arun(outer, {"x": 1, "log": []}, top="outer-1"))
        tries = 0
        asyncio.run(arun(spread, {"x": 0, "log": []}, top="spread-1"))
        expect_failure(lambda: asyncio.run(arun(broken, {"x": 0, "log": []}, top="broken-1")))
    else:
        run(outer, {"x": 1, "log": []}, top="outer-1")
        tries = 0
        run(spread, {"x": 0, "log": []}, top="spread-1")
        expect_failure(lambda: run(broken, {"x": 0, "log": []}, top="broken-1"))
        run(asking, {"x": 0, "log": []}, thread, top="asking-1")
        first = [e["key"] for e in record if e["name"] == "ask"]
        run(asking, Command(resume="Ada"), thread, top="asking-2")
        for e in record:  # an interrupted task keeps its id when it goes on
            if e["key"] in first and e["parent"] == "asking-2":
                e["key"] += " again"
    json.dump(record, open(os.environ["ENGINE_RECORD"], "w"))


main()
