"""What happens to an order after it was taken: Celery tasks, an agent of LangGraph that asks a language model, PostgreSQL, a script.

There is no tracing in here either."""
import os
import pathlib
import subprocess
from typing import TypedDict

import openai
import psycopg
from celery import Celery, chain
from langgraph.graph import END, START, StateGraph

SHIP_LABEL = pathlib.Path(__file__).with_name("ship-label")
REDIS = f"redis://127.0.0.1:{os.environ['REDIS_PORT']}/1"

app = Celery("fulfil", broker=REDIS, backend=REDIS)
app.conf.broker_connection_retry_on_startup = True


class Order(TypedDict, total=False):
    number: int
    item: str
    note: str


def write_note(order: Order) -> Order:
    """The model is small: its notes are kind, and not always true."""
    client = openai.OpenAI(base_url=os.environ["MODEL_URL"], api_key="none", timeout=60, max_retries=0)
    answer = client.chat.completions.create(model="smollm2", max_tokens=16, temperature=0, messages=[
        {"role": "user", "content": f"Thank a customer for buying a {order['item']}, in one short sentence."}])
    return {"note": answer.choices[0].message.content}


def carrier(order: Order) -> str:
    return "freight" if order["item"] == "anvil" else "parcel"


def save(order: Order) -> Order:
    with psycopg.connect(os.environ["DATABASE_URL"]) as db:
        db.execute("UPDATE orders SET note = %s WHERE id = %s", (order["note"], order["number"]))
    return {}


def agent():
    graph = StateGraph(Order)
    graph.add_node("write note", write_note)
    graph.add_node("parcel", save)
    graph.add_node("freight", save)
    graph.add_edge(START, "write note")
    graph.add_conditional_edges("write note", carrier, ["parcel", "freight"])
    graph.add_edge("parcel", END)
    graph.add_edge("freight", END)
    return graph.compile(name="clerk")


@app.task
def prepare(number, item):
    agent().invoke({"number": number, "item": item})
    return number


@app.task(bind=True, max_retries=1, default_retry_delay=0.5)
def ship(self, number, item):
    try:
        subprocess.run([SHIP_LABEL, str(number), item], check=True, stdout=subprocess.DEVNULL)
    except subprocess.CalledProcessError as e:
        raise self.retry(exc=e)


def fulfil(number: int, item: str):
    """Starts both, one after the other."""
    return chain(prepare.s(number, item), ship.s(item))()
