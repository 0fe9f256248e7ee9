"""Celery against its own events and result backend: chain, group, chord, nested, retried, with an ETA, revoked, failing, rejected,
ignored, killed; the same for every pool."""
from support import engine
from support.harness import test


def keyed(run):
    return {f"{s['celery.task.id']} {s['wftrace.attempt']}": s for s in run.spans.where("consumer") if s["celery.task.id"]}


def check(case, pool):
    redis = case.redis()
    run = engine.Run(case, "celery", "celery_app.py", pool, env={"REDIS_PORT": str(redis.port)}, timeout=150)
    spans = keyed(run)
    assert len(spans) == len(run.spans.where("consumer")), "a task has two spans"
    for entry in run.record.values():
        lost_or_ended(entry, spans)
    engine.compare(case, run.spans, spans, run.record)
    for key, entry in run.record.items():
        check_one(run, spans[key], entry)
    check_calls(run)
    return run, spans


def lost_or_ended(entry, spans):
    """What a worker that is gone could not say itself: we say by which signal. SIGTERM may come as an exception."""
    if entry["error"] == "billiard.exceptions.WorkerLostError":
        entry["error"] = "SIGKILL"
    elif entry.get("terminated") and entry["key"] in spans:
        entry["error"] = spans[entry["key"]]["error.type"]
        assert entry["error"] in ("SIGTERM", "SystemExit"), entry


def check_one(run, span, entry):
    state = entry.get("state", "IGNORED")
    if state == "FAILURE" and entry["error"] == "celery.exceptions.Reject":
        state = "REJECTED"
    if entry["error"] == "SIGKILL":
        assert span["wftrace.lost"] is True and span["celery.state"] is None, span.attrs
    else:
        assert span["celery.state"] == state, (span["celery.state"], entry)
    assert (span.status == 2) == (entry["error"] is not None), span.attrs
    producer = run.spans.parent(span)
    assert producer.kind == "producer" and producer["messaging.message.id"] == span["celery.task.id"], (producer, span, entry)
    assert span["wftrace.queue.wait"] is not None, span.attrs
    assert span["messaging.destination.name"] == "celery", span.attrs
    if span["celery.eta"]:
        assert span["wftrace.queue.wait"] > 0.1, (span["wftrace.queue.wait"], entry)
    if entry["error"] == "ValueError":
        assert span.message == "no such order: 7" and span.events[0][0] == "exception", (span.message, span.events)
    if state == "RETRY":
        assert span.events[0][1]["exception.type"] == "celery.exceptions.Retry" and "try" in span.events[0][1]["exception.message"]


def check_calls(run):
    """The calls and processes of a task are beneath it; those of the worker's own loop are beneath none (but that a task which was
    revoked before it ran is what the loop does: it tells and acknowledges)."""
    nested = run.spans.where("consumer", "celery_app.nested")[0]
    below = run.spans.children(nested)
    assert any(s["process.executable.name"] == "true" for s in below), below
    assert any(s["db.operation.name"] == "SET" for s in below), below
    assert len([s for s in below if s.kind == "producer"]) == 2, below
    for s in run.spans:
        if s["db.operation.name"] in ("BRPOP", "ZREM", "HDEL", "ZADD", "HSET"):
            parent = run.spans.parent(s)
            assert parent.kind not in ("consumer", "producer") or parent["celery.state"] == "REVOKED", f"{s!r} is under {parent!r}"


@test("engine/celery-prefork", limit=240)
def prefork(case):
    """Forked workers, one killed in mid-task, one task revoked while it runs"""
    check(case, "prefork")


@test("engine/celery-threads", limit=240)
def threads(case):
    """A pool of threads"""
    check(case, "threads")


@test("engine/celery-solo", limit=240)
def solo(case):
    """In the worker's main thread"""
    check(case, "solo")


@test("engine/celery-gevent", limit=240)
def gevent(case):
    """Greenlets"""
    check(case, "gevent")
