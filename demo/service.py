"""A small order service, as anyone would write it: FastAPI, PostgreSQL, Redis, a script that prints shipping labels, and Celery for
what takes longer (fulfil.py).

There is no tracing in here, and nothing was changed for wftrace."""
import asyncio
import contextlib
import os
import pathlib

import asyncpg
import redis.asyncio
from celery.exceptions import TimeoutError as TookTooLong
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

import fulfil

SHIP_LABEL = pathlib.Path(__file__).with_name("ship-label")


class Order(BaseModel):
    customer: str = Field(min_length=1)
    item: str
    quantity: int
    slow: bool = False


@contextlib.asynccontextmanager
async def life(app):
    app.state.cache = redis.asyncio.Redis(port=int(os.environ["REDIS_PORT"]))
    app.state.db = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=2, max_size=4)
    yield
    await app.state.db.close()
    await app.state.cache.aclose()


app = FastAPI(title="orders", lifespan=life)


async def store(order: Order) -> int:
    """The order's number. The table itself refuses a quantity below 1."""
    if order.slow:
        await app.state.db.execute("SELECT pg_sleep(0.4)")
    return await app.state.db.fetchval(
        "INSERT INTO orders (customer, item, quantity) VALUES ($1, $2, $3) RETURNING id",
        order.customer, order.item, order.quantity)


async def print_label(number: int, item: str) -> None:
    label = await asyncio.create_subprocess_exec(SHIP_LABEL, str(number), item, stdout=asyncio.subprocess.DEVNULL)
    if await label.wait():
        raise HTTPException(502, f"order {number}: no shipping label (ship-label ended with {label.returncode})")


@app.post("/orders", status_code=201)
async def create_order(order: Order):
    try:
        number = await store(order)
    except asyncpg.CheckViolationError as e:
        raise HTTPException(422, e.message) from e
    await app.state.cache.setex(f"order:{number}", 3600, order.model_dump_json())
    await print_label(number, order.item)
    return {"id": number}


@app.post("/orders/{number}/fulfil")
async def fulfil_order(number: int, item: str):
    """Waits for the tasks: what is asked for here is a picture of them."""
    tasks = await asyncio.to_thread(fulfil.fulfil, number, item)
    try:
        await asyncio.to_thread(tasks.get, timeout=30)
    except TookTooLong as e:
        raise HTTPException(504, f"order {number}: no end within 30 s") from e
    except Exception as e:
        raise HTTPException(502, f"order {number}: {e}") from e
    return {"id": number, "shipped": True}


@app.get("/orders/{number}")
async def read_order(number: int):
    if (cached := await app.state.cache.get(f"order:{number}")) is not None:
        return {"id": number, "cached": True, "order": cached.decode()}
    row = await app.state.db.fetchrow("SELECT customer, item, quantity FROM orders WHERE id = $1", number)
    if row is None:
        raise HTTPException(404, "no such order")
    return {"id": number, "cached": False, **row}
