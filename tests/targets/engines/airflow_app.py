"""Airflow 3 on SQLite or 2.10 on PostgreSQL, with a real scheduler and, in 3, the API server that its tasks talk to: DAGs are triggered
and run to their end. The record is its metadata database: dag_run, task_instance and task_instance_history, and the errors of the task logs."""
import contextlib
import http.server
import json
import os
import pathlib
import re
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone

HERE = pathlib.Path(__file__).parent
HOME = pathlib.Path.cwd() / "airflow"
DB = HOME / "airflow.db"
URL = os.environ.get("PG_URL")
UNREAD = HOME / "dags" / "unread.py"  # can be read until it runs
READABLE = """from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

with DAG("unread", schedule=None, is_paused_upon_creation=False):
    PythonOperator(task_id="page", python_callable=print)
"""
SHORT_CIRCUITS = ("enough", "open_shop", "in_stock", "on_offer")
NO_WORD = ("killed", "page")  # their processes tell nothing of why
BIN = pathlib.Path(sys.executable).parent / "airflow"


class Shop(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args):
        pass


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def prepare():
    shutil.rmtree(HOME, ignore_errors=True)
    (HOME / "dags").mkdir(parents=True)
    shutil.copy(HERE / "airflow_dags.py", HOME / "dags" / "airflow_dags.py")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = free_port()
    os.environ.update({
        "PATH": f"{BIN.parent}:{os.environ['PATH']}", "AIRFLOW_HOME": str(HOME), "SHOP_URL": f"http://127.0.0.1:{server.server_port}/price", "no_proxy": "*",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__CORE__PARALLELISM": "3", "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES": "airflow.*",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API__PORT": str(port), "AIRFLOW__API__HOST": "127.0.0.1", "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__WORKERS__MISSING_DAG_RETRIES": "1", "AIRFLOW__WORKERS__MISSING_DAG_RETRY_DELAY": "10",  # as in fire(): not before the end of the first is told
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2", "AIRFLOW__SCHEDULER__PARSING_PROCESSES": "1",
        "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False", "AIRFLOW__SCHEDULER__SCHEDULE_AFTER_TASK_EXECUTION": "False",
    })
    return port


def command(*argv):
    """One of Airflow's own commands, in this process: each of its own costs seconds of imports."""
    from airflow.cli.cli_parser import get_parser

    args = get_parser().parse_args(argv)
    args.func(args)


def rows(sql):
    """Rows as SQLite gives them: moments as text, in UTC."""
    if URL:
        import psycopg2.extras
        with contextlib.closing(psycopg2.connect(URL)) as db, db.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute(sql)
            return [{k: str(v.astimezone(timezone.utc).replace(tzinfo=None)) if isinstance(v, datetime) else v for k, v in r.items()}
                    for r in cursor]
    with contextlib.closing(sqlite3.connect(f"file:{DB}?mode=ro", uri=True, timeout=30)) as db:
        db.row_factory = sqlite3.Row
        return [dict(r) for r in db.execute(sql)]


def wait_for(port, server):
    until = time.time() + 120
    while time.time() < until and server.poll() is None:
        with socket.socket() as s:
            if not s.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.2)
    raise SystemExit("the API server does not come up")


def fire(fired):
    """What the triggerer does when a trigger has fired; not before the executor can have told of the end of the process that deferred:
    the scheduler takes that for the end of the next."""
    from airflow.models.trigger import Trigger
    from airflow.triggers.base import TriggerEvent

    for r in rows("SELECT * FROM task_instance WHERE state = 'deferred' AND trigger_id IS NOT NULL"):
        waited = time.time() - datetime.fromisoformat(r["updated_at"]).replace(tzinfo=timezone.utc).timestamp()
        if key_of(r) not in fired and not os.path.exists(f"/proc/{r['pid']}") and waited > 8:
            fired.add(key_of(r))
            Trigger.submit_event(r["trigger_id"], TriggerEvent(True))


def run_to_end(wanted, limit):
    fired, until = set(), time.time() + limit
    while time.time() < until:
        fire(fired)
        if sum(r["state"] in ("success", "failed") for r in rows("SELECT state FROM dag_run")) == wanted:
            return fired
        time.sleep(0.3)
    raise SystemExit(f"not at the end: {rows('SELECT dag_id, state FROM dag_run')} {rows('SELECT task_id, state FROM task_instance')}")


def key_of(r):
    return f"{r['dag_id']}/{r['run_id']}/{r['task_id']}/{r['map_index']}/{r['try_number']}"


def moment(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()


def times(r):
    began, ended = moment(r["start_date"]), moment(r["end_date"])
    return {"seconds": ended - began, "began": began, "ended": ended}


def errors():
    """(dag, task, map index, try) → type and text of its error, from the task logs."""
    found = {}
    for log in (HOME / "logs").rglob("attempt=*.log"):
        parts = dict(p.split("=", 1) for p in log.with_suffix("").parts if "=" in p)
        for line in log.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                for e in json.loads(line).get("error_detail") or ():
                    found[parts["dag_id"], parts["task_id"], int(parts.get("map_index", -1)), int(parts["attempt"])] = e["exc_type"]
            plain = re.match(r"(?:[a-z_]+\.)*([A-Z]\w*(?:Error|Exception)\w*)(?:: |$)", line)
            if plain:
                found[parts["dag_id"], parts["task_id"], int(parts.get("map_index", -1)), int(parts["attempt"])] = plain[1]
    return found


def decisions():
    """What was decided, by what the engine keeps of it for tasks that it would skip again: who went on, or who was left out."""
    found = {}
    for r in rows("SELECT * FROM xcom WHERE key IN ('skipmixin_key', 'return_value') ORDER BY key DESC"):
        key = r["dag_id"], r["run_id"], r["task_id"], r["map_index"]
        if r["key"] == "return_value":
            if r["task_id"] in SHORT_CIRCUITS:
                found.setdefault(key, "True")
            continue
        value = r["value"] if isinstance(r["value"], str) else bytes(r["value"]).decode()
        while isinstance(value, str):
            value = json.loads(value)
        if "skipped" in value:
            found[key] = "False"
        else:
            ways = sorted(value["followed"])  # it keeps a set
            found[key] = str(ways) if len(ways) > 1 else ways[0] if ways else "none"
    return found


def qualified(name):
    """A log has an exception's bare name."""
    import airflow.exceptions
    with contextlib.suppress(ImportError):
        import airflow.sdk.exceptions
    modules = (getattr(getattr(airflow, "sdk", None), "exceptions", None), airflow.exceptions)
    found = next((c for c in (getattr(m, name, None) for m in modules if m) if isinstance(c, type)), None)
    return f"{found.__module__}.{name}" if found else name


def record(fired):
    said, decided = errors(), decisions()
    rescheduled = {}
    for r in rows("SELECT * FROM task_reschedule"):
        rescheduled.setdefault(r.get("ti_id"), []).append(r)
    for r in rows("SELECT * FROM dag_run"):
        when = times(r) if r["run_id"] == "run_1" else {"ended": moment(r["end_date"])}  # `dags test` calls its logical date the start
        yield {"key": f"{r['dag_id']}/{r['run_id']}", "name": r["dag_id"], "parent": None, "state": r["state"], **when,
               "carrier": r.get("context_carrier"), "error": "failed" if r["state"] == "failed" else None}
    tries = {key_of(r): r for table in ("task_instance_history", "task_instance") for r in rows(f"SELECT * FROM {table}")}
    for key, r in tries.items():
        if r["pid"] is None:  # never began: left out by a branch, or what it needs has failed
            continue
        state = "up_for_retry" if r["state"] == "failed" and r["try_number"] <= r["max_tries"] else r["state"]
        error = said.get((r["dag_id"], r["task_id"], r["map_index"], r["try_number"])) if state in ("failed", "up_for_retry") else None
        error = "failed" if r["task_id"] in NO_WORD else qualified(error) if error else None
        entry = {"key": key, "name": r["task_id"], "parent": f"{r['dag_id']}/{r['run_id']}", "state": state, "error": error,
                 "operator": r["operator"], "attempt": r["try_number"], "map_index": r["map_index"], **times(r)}
        if key in fired:  # ran twice, from its start until it deferred, and when the trigger had fired until its end
            yield {**entry, "key": key + "/deferred", "state": "deferred", "seconds": None, "ended": None}
            entry["seconds"] = entry["began"] = None
        for again in rescheduled.get(r.get("id"), ()):  # its own start is not kept, the last one's is the attempt's
            yield {**entry, "key": key + "/up_for_reschedule", "state": "up_for_reschedule", "error": None, "seconds": None, "began": None,
                   "ended": moment(again["end_date"])}
        yield entry
        outcome = decided.get((r["dag_id"], r["run_id"], r["task_id"], r["map_index"]))
        if outcome:
            yield {"key": key + "/decision", "name": r["task_id"], "parent": key, "outcome": outcome}


def start(*argv):
    with open(HOME / f"{argv[0]}.log", "wb") as log:
        return subprocess.Popen([sys.executable, BIN, *argv], stdout=log, stderr=log)


def main():
    port = prepare()
    three = subprocess.run([sys.executable, "-c", "import importlib.metadata as m; print(m.version('apache-airflow-core'))"],
                           capture_output=True).returncode == 0
    os.environ["AIRFLOW__CORE__EXECUTOR"] = "LocalExecutor"
    if URL:
        os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = URL.replace("postgresql:", "postgresql+psycopg2:")
    dags = ["shop", "stock", "ways"]
    if three:
        UNREAD.write_text(READABLE)
        dags += ["lost", "unread"]
    command("db", "migrate")
    command("dags", "reserialize")
    servers = [start("api-server", "--workers", "1", "--port", str(port))] if three else []
    servers.append(start("scheduler", "--skip-serve-logs"))
    try:
        if three:
            wait_for(port, servers[0])
        if three:
            UNREAD.write_text("raise RuntimeError('gone')\n")
        for dag in dags:
            command("dags", "trigger", dag, "--run-id", "run_1")
        fired = run_to_end(len(dags), int(os.environ.get("ENGINE_LIMIT", "120")))
        time.sleep(1)  # the last task's process tells its end after the database does
    finally:
        for s in reversed(servers):
            s.send_signal(signal.SIGTERM)
        for s in servers:
            try:
                s.wait(15)
            except subprocess.TimeoutExpired:
                s.kill()
                s.wait()
    if three:  # in this process, while no scheduler would run its tasks too; 2.10 keeps no start of these
        command("dags", "test", "stock", "2024-02-02")
    json.dump(list(record(fired)), open(os.environ["ENGINE_RECORD"], "w"))


main()
