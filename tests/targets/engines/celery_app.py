"""Tasks of every kind, a worker of the pool that is asked for, and a client that starts them: alone, chains, groups, chords, nested,
retried, with an ETA, revoked before and during their run, failing, rejected, ignored, lost. The record is the engine's own: the
events of the worker (who received, started and ended what, with its parent and running time) and what the result backend says."""
import datetime
import json
import os
import signal
import subprocess
import sys
import threading
import time

from celery import Celery, chain, chord, group
from celery.exceptions import Ignore, Reject

URL = f"redis://127.0.0.1:{os.environ['REDIS_PORT']}/0"
app = Celery("celery_app", broker=URL, backend=URL)
app.conf.update(worker_send_task_events=True, broker_connection_retry_on_startup=True, result_extended=True, task_send_sent_event=True)


@app.task
def add(a, b):
    time.sleep(0.02)
    return a + b


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def fails(order):
    raise ValueError(f"no such order: {order}")


@app.task(bind=True, max_retries=3)
def flaky(self):
    if self.request.retries < 2:
        raise self.retry(exc=ConnectionError(f"try {self.request.retries}"), countdown=0.3)
    return "done"


@app.task
def nested(x):
    """Starts a program, calls Redis, starts tasks."""
    subprocess.run(["/bin/true"], check=True)
    app.backend.client.set("nested", x)
    add.delay(x, 1)
    app.send_task("celery_app.total", args=([x, x],))


@app.task
def ignored():
    raise Ignore()


@app.task
def rejected():
    raise Reject("not wanted", requeue=False)


@app.task
def dies():
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
def sleeps():
    time.sleep(60)


def meta(task_id):
    text = app.backend.get(app.backend.get_key_for_task(task_id))
    return json.loads(text) if text else {}


def error_of(task_id):
    """Type of the exception as the backend stored it."""
    result = meta(task_id).get("result") or {}
    module = result.get("exc_module")
    return result.get("exc_type") if module == "builtins" else f"{module}.{result.get('exc_type')}"


ENDS = {"task-succeeded": "SUCCESS", "task-failed": "FAILURE", "task-retried": "RETRY", "task-revoked": "REVOKED",
        "task-rejected": "REJECTED"}


class Recorder:
    """The worker's events → one entry for each attempt of each task."""

    def __init__(self):
        self.events, self.ready = [], threading.Event()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        with app.connection_for_read() as connection:
            app.events.Receiver(connection, handlers={"*": self.on_event}).capture(limit=None, timeout=None, wakeup=True)

    def on_event(self, e):
        self.events.append(e)
        if e["type"] == "worker-online":
            self.ready.set()

    def ended(self):
        return sum(e["type"] in ENDS for e in list(self.events))

    def record(self):
        """A retried attempt belongs to the one before it, which asked for it; others to their parent's attempt."""
        attempts, out = {}, []
        for e in self.events:
            if e["type"] == "task-received":
                attempts.setdefault(e["uuid"], []).append({"name": e["name"], "engine_parent": e["parent_id"], "error": None})
        for e in self.events:
            if e["type"] in ENDS:
                known = attempts.setdefault(e["uuid"], [{"name": meta(e["uuid"]).get("name"), "engine_parent": None, "error": None}])
                one = next(a for a in known if "state" not in a)
                one["state"] = ENDS[e["type"]]
                one.update({k: e[k] for k in ("runtime", "terminated") if k in e})
        for task_id, known in attempts.items():
            for i, one in enumerate(known):
                parent = one.pop("engine_parent")
                one["key"] = f"{task_id} {i + 1}"
                one["parent"] = f"{task_id} {i}" if i else f"{parent} {len(attempts[parent])}" if parent else None
                if "runtime" in one:
                    one["seconds"] = one.pop("runtime")
                if one.get("state") == "FAILURE":
                    one["error"] = error_of(task_id)
                out.append(one)
        return out


def workflows(pool):
    """Starts them all. Returns how many attempts will end."""
    started = [(add.delay(1, 2), 1), (fails.delay(7), 1), (flaky.delay(), 3), (nested.delay(5), 3), (ignored.delay(), 0),
               (chain(add.s(1, 2), add.s(3), add.s(4))(), 3), (group(add.s(i, i) for i in range(6))(), 6),
               (chord([add.s(i, i) for i in range(4)])(total.s()), 5),
               (chain(add.s(1, 1), group(add.s(2), add.s(3)), total.s())(), 4)]
    eta = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)
    started.append((add.apply_async((8, 8), eta=eta), 1))
    revoked = add.apply_async((9, 9), countdown=2)
    revoked.revoke()
    started.append((revoked, 1))
    started.append((rejected.delay(), 1))
    if pool == "prefork":
        started.append((dies.delay(), 1))
        endless = sleeps.delay()
        started.append((endless, 1))
        time.sleep(2.5)
        endless.revoke(terminate=True)
    return sum(n for _, n in started)


def main():
    pool = sys.argv[1]
    recorder = Recorder()
    time.sleep(0.5)
    worker = subprocess.Popen([sys.executable, "-m", "celery", "-A", "celery_app", "worker", "-P", pool, "-c", "4", "-E", "-l", "warning"],
                              cwd=os.path.dirname(os.path.abspath(__file__)))
    if not recorder.ready.wait(40):
        sys.exit("the worker did not come")
    expected, end = workflows(pool), time.monotonic() + 40
    while recorder.ended() < expected and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(0.5)
    worker.send_signal(signal.SIGTERM)
    worker.wait()
    json.dump(recorder.record(), open(os.environ["ENGINE_RECORD"], "w"))
    print(f"{recorder.ended()} of {expected} ended", flush=True)


if __name__ == "__main__":
    main()
