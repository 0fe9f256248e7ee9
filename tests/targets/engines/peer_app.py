"""What test_peer.py runs under wftrace and under `opentelemetry-instrument`: FastAPI, a Celery task, an agent of LangGraph with a branch,
a tool and a call of a model, PostgreSQL, Redis, HTTP. There is no tracing in here.

Every 5th order (3, 8, …) needs no model; of every 4th the task `ship` asks to be tried again, of every 7th it fails."""
import asyncio
import os
from typing import TypedDict

import httpx
import openai
import psycopg
import redis
import redis.asyncio
import requests
from celery import Celery
from fastapi import FastAPI, HTTPException
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph

BROKER = f"redis://127.0.0.1:{os.environ['REDIS_PORT']}/1"
SELF = f"http://127.0.0.1:{os.environ['PORT']}"
DATABASE = os.environ["PG_URL"]

queue = Celery("peer_app", broker=BROKER, backend=BROKER)
queue.conf.broker_connection_retry_on_startup = True
cache = redis.Redis(port=int(os.environ["REDIS_PORT"]))
soon = redis.asyncio.Redis(port=int(os.environ["REDIS_PORT"]))
web, later = requests.Session(), httpx.AsyncClient()
model = openai.OpenAI(base_url=os.environ["MODEL_URL"], api_key="none", max_retries=0)
app = FastAPI()


@tool
def look_up(number: int) -> str:
    """How many of an item there are."""
    return str(cache.get(f"stock:{number}"))


class Order(TypedDict, total=False):
    number: int
    stock: str
    note: str


def look(order: Order) -> Order:
    call = {"name": "look_up", "args": {"number": order["number"]}, "id": f"call-{order['number']}", "type": "tool_call"}
    return {"stock": look_up.invoke(call).content}


def way(order: Order) -> str:
    return "keep" if order["number"] % 5 == 3 else "ask"


def ask(order: Order) -> Order:
    answer = model.chat.completions.create(model=f"gpt-{order['number']}", messages=[{"role": "user", "content": "Thank them."}])
    return {"note": answer.choices[0].message.content}


def keep(order: Order) -> Order:
    with psycopg.connect(DATABASE) as db:
        db.execute(f"UPDATE peer SET note = 'kept' WHERE id = {order['number']}")
    return {"note": "kept"}


graph = StateGraph(Order)
for node in (look, ask, keep):
    graph.add_node(node.__name__, node)
graph.add_edge(START, "look")
graph.add_conditional_edges("look", way, ["ask", "keep"])
graph.add_edge("ask", END)
graph.add_edge("keep", END)
clerk = graph.compile(name="clerk")


@queue.task
def handle(number):
    clerk.invoke({"number": number})
    ship.apply_async((number,), countdown=0.1)  # not while this one is still ending: what is said when would be a matter of luck
    return number


@queue.task(bind=True, max_retries=1)
def ship(self, number):
    cache.set(f"shipped:{number}", "1")
    if number % 7 == 0:
        raise ValueError(f"order {number} can't be shipped")
    if number % 4 == 0 and self.request.retries == 0:
        raise self.retry(countdown=0.1)
    with cache.pipeline() as p:
        p.incr(f"count:{number}").expire(f"count:{number}", 60).execute()
    web.get(f"{SELF}/label/{number}", timeout=20)


@app.post("/orders/{number}")
def order(number: int):
    """In a thread; waits for the task, so that the trace is whole when the answer comes."""
    with psycopg.connect(DATABASE) as db:
        db.execute(f"INSERT INTO peer (id, item) VALUES ({number}, 'lamp')")
    web.get(f"{SELF}/stock/{number}", timeout=20).raise_for_status()
    return {"number": handle.delay(number).get(timeout=60)}


@app.get("/stock/{number}")
async def stock(number: int):
    await soon.set(f"stock:{number}", "2")
    one, two = await asyncio.gather(later.get(f"{SELF}/label/{number}/a"), later.get(f"{SELF}/label/{number}/b"))
    return {"stock": one.json()["label"] + two.json()["label"]}


@app.get("/label/{number}")
@app.get("/label/{number}/{side}")
async def label(number: int, side: str = ""):
    return {"label": number}


@app.get("/refused/{number}")
async def refused(number: int):
    """A statement that the database refuses, and a request that fails."""
    async with await psycopg.AsyncConnection.connect(DATABASE) as db:
        try:
            await db.execute(f"INSERT INTO peer (id, item) VALUES ({number}, NULL)")
        except psycopg.errors.NotNullViolation as e:
            raise HTTPException(502, "the database refused it") from e
