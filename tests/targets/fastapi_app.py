"""FastAPI target: every way in which an asyncio service reaches Redis and PostgreSQL.

Each endpoint answers with the ids of the calls it made, joined by commas; each id is in the key or the statement.
Environment: REDIS_PORT, PG_URL. Unmodified application code: nothing here knows of tracing."""
import asyncio
import concurrent.futures
import contextlib
import os
import threading

import asyncpg
import greenlet  # noqa: F401 as SQLAlchemy does: contexts are still what tells tasks apart
import psycopg2
import redis
import redis.asyncio
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

REDIS_PORT, PG_URL = int(os.environ["REDIS_PORT"]), os.environ["PG_URL"]
pool = concurrent.futures.ThreadPoolExecutor(8)
local = threading.local()
blocking_redis = redis.Redis(port=REDIS_PORT)


@contextlib.asynccontextmanager
async def life(app):
    app.state.redis = redis.asyncio.Redis(port=REDIS_PORT)
    app.state.pg = await asyncpg.create_pool(PG_URL, min_size=4, max_size=16)
    yield
    await app.state.pg.close()
    await app.state.redis.aclose()


app = FastAPI(lifespan=life, default_response_class=PlainTextResponse)


async def get(call):
    await app.state.redis.get(call)
    return call


async def select(call):
    assert await app.state.pg.fetchval(f"SELECT '{call}'::text") == call
    return call


def get_blocking(call):
    blocking_redis.get(call)
    return call


def select_blocking(call):
    if not hasattr(local, "pg"):
        local.pg = psycopg2.connect(PG_URL)
        local.pg.autocommit = True
    with local.pg.cursor() as cur:
        cur.execute(f"SELECT '{call}'::text")
        assert cur.fetchone()[0] == call
    return call


@app.get("/direct/{rid}")
async def direct(rid: str):
    return ",".join([await get(rid + ".r1"), await select(rid + ".p1")])


@app.get("/gather/{rid}")
async def gather(rid: str):
    work = get(rid + ".r1"), get(rid + ".r2"), select(rid + ".p1")
    return ",".join(await asyncio.gather(*[asyncio.create_task(w) for w in work]))


@app.get("/sync/{rid}")
def sync(rid: str):
    return ",".join([get_blocking(rid + ".r1"), select_blocking(rid + ".p1")])


@app.get("/executor/{rid}")
async def executor(rid: str):
    loop = asyncio.get_running_loop()
    return ",".join(await asyncio.gather(loop.run_in_executor(pool, get_blocking, rid + ".r1"),
                                         loop.run_in_executor(pool, select_blocking, rid + ".p1")))


@app.get("/ready")
async def ready():
    return "ready"
