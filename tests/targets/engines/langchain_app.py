"""Agents of LangChain's create_agent, many at once: each asks a model, which calls tools until it is done. The record is what the agents'
own messages say of each agent: which calls the model asked for, and what became of them.

    langchain_app.py URL sync|async COUNT
"""
import asyncio
import json
import os
import sys

from langchain.agents import create_agent
from langchain_core.tools import ToolException, tool
from langchain_openai import ChatOpenAI

url, way, count = sys.argv[1], sys.argv[2], int(sys.argv[3])


@tool
def get_weather(place: str) -> str:
    """Tells the weather."""
    if place.startswith("nowhere"):
        raise ToolException("no such place")
    return f"cold in {place}"


@tool
async def get_time(place: str) -> str:
    """Tells the time."""
    await asyncio.sleep(0.01)
    return f"noon in {place}"


@tool("get_time")
def get_time_sync(place: str) -> str:
    """Tells the time."""
    return f"noon in {place}"


get_weather.handle_tool_error = True
agent = create_agent(ChatOpenAI(model="gpt-4o-mini", base_url=url, api_key="x"), [get_weather, get_time if way == "async" else get_time_sync],
                     name="helper")


def asked(n):
    return {"messages": [{"role": "user", "content": f"agent {n}"}]}, {"configurable": {"thread_id": str(n)}}


async def all_at_once():
    return await asyncio.gather(*[agent.ainvoke(*asked(n)) for n in range(count)])


answers = asyncio.run(all_at_once()) if way == "async" else [agent.invoke(*asked(n)) for n in range(count)]
record = []
for n, r in enumerate(answers):
    turns = [[c["id"] for c in m.tool_calls] for m in r["messages"] if m.type == "ai"]
    tools = {m.tool_call_id: [m.name, m.status] for m in r["messages"] if m.type == "tool"}
    record.append({"key": str(n), "turns": turns, "tools": tools})
with open(os.environ["ENGINE_RECORD"], "w") as f:
    json.dump(record, f)
