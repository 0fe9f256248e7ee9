"""AgentMap graphs with parallel nodes, a failure edge, an agent that fails, a graph within a graph, calls of a language model and of
storage; sync and async. With «own» its telemetry is on and goes to standard output (one run for the comparison), else it is off.
The record is the engine's own: the node executions of its execution summaries."""
import asyncio
import json
import os
import pathlib
import sys

from agentmap.runtime_api import ensure_initialized, get_container, run_workflow, run_workflow_async, shutdown_runtime

OWN = "own" in sys.argv[1:]
GRAPHS = """GraphName,Node,AgentType,Success_Next,Failure_Next,Edge,Prompt,Input_Fields,Output_Field,Context
Orders,Start,default,,,Left|Right,start,name,a,
Orders,Left,default,,,Join,left,name,b,
Orders,Right,echo,,,Join,right,name,c,
Orders,Join,default,Check,Bad,,join,name,d,
Orders,Check,failure,Good,Bad,,check,name,e,
Orders,Good,default,,,,good,name,f,
Orders,Bad,default,,,,bad,name,g,
Broken,Load,json_reader,Check,Repair,,load,collection,data,
Broken,Check,checker,Use,Repair,,check,name,p,
Broken,Use,default,,,,use,name,h,
Broken,Repair,success,,,,repair,name,i,
Outer,First,sleeper,,,Nested,first,name,j,
Outer,Nested,graph,,,Last,nested,name,k,{workflow=::Inner}
Outer,Last,default,,,,last,name,l,
Inner,One,sleeper,,,Two,one,name,m,
Inner,Two,echo,,,,two,name,n,
Talk,Ask,openai,Keep,Sorry,,Where is {name}?,name,answer,
Talk,Keep,json_writer,,,,keep,collection|data,kept,
Talk,Sorry,default,,,,sorry,name,o,
"""
CONFIG = f"""
storage_config_path: storage.yaml
paths: {{ csv_repository: workflows, custom_agents: agents, functions: functions, cache: cache }}
telemetry: {{ enabled: {str(OWN).lower()}, exporter: console }}
execution: {{ tracking: {{ enabled: true }} }}
llm: {{ openai: {{ api_key: none, model: gpt-5-mini, temperature: 0.5 }}, resilience: {{ retry: {{ max_attempts: 2, backoff_base: 0.1 }} }} }}
"""
STORAGE = """
core: { base_directory: data }
json: { enabled: true, default_directory: json, collections: { answers: { filename: answers.json } } }
"""
AGENTS = """
import time
from agentmap.agents.base_agent import BaseAgent


class CheckerAgent(BaseAgent):
    def process(self, inputs):
        raise ValueError("no such order")


class SleeperAgent(BaseAgent):
    def process(self, inputs):
        time.sleep(0.3)
        return "slept"
"""
DECLARATIONS = """
version: "2.0"
agents:
  checker: { class_path: steps.CheckerAgent, source: custom }
  sleeper: { class_path: steps.SleeperAgent, source: custom }
"""
RUNS = [("Orders", {"name": "Ada"}), ("Broken", {"name": "Ada", "collection": "missing"}), ("Outer", {"name": "Ada"}),
        ("Talk", {"name": "Ada", "collection": "answers", "data": {"id": 1}})]


def write():
    for folder in ("workflows", "agents"):
        pathlib.Path(folder).mkdir(exist_ok=True)
    pathlib.Path("agents/steps.py").write_text(AGENTS)
    pathlib.Path("agents/custom_agents.yaml").write_text(DECLARATIONS)
    pathlib.Path("workflows/shop.csv").write_text(GRAPHS)
    pathlib.Path("config.yaml").write_text(CONFIG)
    pathlib.Path("storage.yaml").write_text(STORAGE)


summaries = []


def keep(services):
    """Each summary as AgentMap makes it: what it returns to the caller leaves out those of nested and failed graphs."""
    make = services.to_summary

    def to_summary(*args, **more):
        summaries.append(make(*args, **more))
        return summaries[-1]
    services.to_summary = to_summary


def run(name, inputs):
    try:
        run_workflow(f"shop::{name}", inputs, config_file="config.yaml")
    except RuntimeError as e:  # the failed graph's
        print(e, file=sys.stderr)


async def run_both():
    await asyncio.gather(*(run_workflow_async(f"shop::{name}", inputs, config_file="config.yaml") for name, inputs in RUNS[:1] + RUNS[3:]))


def main():
    write()
    ensure_initialized(config_file="config.yaml")
    keep(get_container().execution_tracking_service())
    for name, inputs in RUNS:
        run(name, inputs)
    asyncio.run(run_both())
    record = []
    for summary in sorted(summaries, key=lambda s: s.start_time):
        key = f"{summary.graph_name}-{sum(r['name'] == summary.graph_name for r in record) + 1}"
        record.append({"key": key, "name": summary.graph_name, "success": summary.graph_success, "status": summary.status,
                       "seconds": (summary.end_time - summary.start_time).total_seconds(),
                       "nodes": [[n.node_name, n.success, n.duration, n.error] for n in summary.node_executions]})
    json.dump(record, open(os.environ["ENGINE_RECORD"], "w"))
    asyncio.run(shutdown_runtime())


main()
