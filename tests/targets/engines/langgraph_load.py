"""A graph of five nodes, two of them at once, with a branch and a tool; the nodes do next to nothing, but for the one that asks a model when
MODEL_URL is set. Each number on standard input is that many runs; answered with «done» when they are."""
import os
import sys
from operator import add
from typing import Annotated, TypedDict

from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph


class State(TypedDict, total=False):
    number: int
    notes: Annotated[list, add]


@tool
def look_up(number: int) -> str:
    """The price."""
    return str(number)


def look(state):
    call = {"name": "look_up", "args": {"number": state["number"]}, "id": "call-1", "type": "tool_call"}
    return {"notes": [look_up.invoke(call).content]}


def ask(state):
    if model is None:
        return {"notes": ["asked"]}
    answer = model.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Thank them."}])
    return {"notes": [answer.choices[0].message.content]}


def left(state):
    return {"notes": ["left"]}


def right(state):
    return {"notes": ["right"]}


def end(state):
    return {"notes": ["end"]}


def way(state):
    return "ask" if state["number"] >= 0 else "end"


graph = StateGraph(State)
for node in (look, ask, left, right, end):
    graph.add_node(node.__name__, node)
graph.add_edge(START, "look")
graph.add_conditional_edges("look", way, ["ask", "end"])
graph.add_edge("ask", "left")
graph.add_edge("ask", "right")
graph.add_edge(["left", "right"], "end")
graph.add_edge("end", END)
clerk = graph.compile(name="clerk")
model = None
if os.environ.get("MODEL_URL"):
    import openai
    model = openai.OpenAI(base_url=os.environ["MODEL_URL"], api_key="none", max_retries=0)

for line in sys.stdin:
    for i in range(int(line)):
        clerk.invoke({"number": i, "notes": []})
    print("done", flush=True)
