"""Flask target for gunicorn's gevent workers: direct calls, spawned greenlets, a greenlet pool. Environment: REDIS_PORT."""
import os

import gevent
import gevent.pool
import redis
from flask import Flask

app = Flask(__name__)
store = redis.Redis(port=int(os.environ["REDIS_PORT"]))


def get(call):
    store.get(call)
    return call


@app.get("/direct/<rid>")
def direct(rid):
    return ",".join([get(rid + ".r1"), get(rid + ".r2")])


@app.get("/spawn/<rid>")
def spawn(rid):
    jobs = [gevent.spawn(get, f"{rid}.r{i}") for i in (1, 2)]
    gevent.joinall(jobs)
    return ",".join(j.value for j in jobs)


@app.get("/sleep/<rid>")
def sleep(rid):
    gevent.sleep(0.003)
    return get(rid + ".r1")


@app.get("/map/<rid>")
def mapped(rid):
    return ",".join(gevent.pool.Pool(3).map(get, [f"{rid}.r{i}" for i in (1, 2, 3)]))


@app.get("/ready")
def ready():
    return ""
