"""Flask target for gunicorn's thread and process workers: Redis and PostgreSQL from the request's own thread.

Environment: REDIS_PORT, PG_URL. Answers with the ids of the calls made."""
import os
import threading

import psycopg2
import redis
from flask import Flask

app = Flask(__name__)
store = redis.Redis(port=int(os.environ["REDIS_PORT"]))
local = threading.local()


def select(call):
    if not hasattr(local, "pg"):
        local.pg = psycopg2.connect(os.environ["PG_URL"])
        local.pg.autocommit = True
    with local.pg.cursor() as cur:
        cur.execute(f"SELECT '{call}'::text")
        cur.fetchone()
    return call


def get(call):
    store.get(call)
    return call


@app.get("/direct/<rid>")
def direct(rid):
    return ",".join([get(rid + ".r1"), select(rid + ".p1"), get(rid + ".r2")])


@app.get("/pipe/<rid>")
def pipe(rid):
    calls = [rid + ".r1", rid + ".r2"]
    with store.pipeline(transaction=False) as p:
        for call in calls:
            p.get(call)
        p.execute()
    return ",".join(calls)


@app.get("/ready")
def ready():
    return ""
