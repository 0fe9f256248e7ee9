"""The embedded store: written by a run, read by show-traces and show-trace, also while it is written and after a kill -9."""
import http.client
import json
import os
import signal
import sqlite3
import time

from support import paths, procs, tracer
from support.harness import test
from support.services import Nginx

SITE = "listen 127.0.0.1:{port}; location /a { proxy_pass http://127.0.0.1:{port}/b; } location /b { return 200 ok; } location /bad { return 503; }"


def _web(case, *opts):
    web = Nginx(case.dir, SITE, prefix=[str(paths.WFTRACE), "run", *opts, "--"])
    case.defer(procs.stop, web.proc)
    return web


def _ask(port, path, n=1):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    for _ in range(n):
        c.request("GET", path)
        c.getresponse().read()
    c.close()


def _traces(*opts):
    p = tracer.once("show-traces", "--json", *opts)
    assert p.returncode == 0, p.stderr
    return [json.loads(line) for line in p.stdout.splitlines()]


@test("store/show", limit=60)
def show(case):
    """a run into the default store; every filter; the tree with a bar for each span in 80 columns"""
    env = {"XDG_STATE_HOME": str(case.dir / "state")}
    old = os.environ.get("XDG_STATE_HOME")
    os.environ.update(env)
    try:
        web = _web(case, "--service", "front", "--export", "store")
        _ask(web.port, "/a", 12)
        _ask(web.port, "/bad", 3)
        web.stop()
        assert (case.dir / "state/wftrace/store.db").stat().st_mode & 0o777 == 0o600
        calls = _traces("--last", "100", "--name", "GET*")
        assert len(calls) == 15, [t["name"] for t in calls]
        assert len(_traces("--last", "4", "--name", "GET*")) == 4
        assert len(_traces("--errors", "--name", "GET*")) == 3
        assert len(_traces("--since", "1h", "--attr", "http.response.status_code=503")) == 3
        assert not _traces("--service", "other") and len(_traces("--service", "fro*", "--last", "100")) >= 15
        assert not _traces("--min-duration", "1h")
        whole = next(t for t in calls if t["spans"] == 3)
        p = tracer.once("show-trace", whole["trace_id"][:10])
        lines = p.stdout.splitlines()
        case.note(p.stdout)
        assert p.returncode == 0 and len(lines) == 4 and all(len(x) <= 80 for x in lines), p.stdout
        assert all("▕" in x and "█" in x for x in lines[1:]), p.stdout
        spans = [json.loads(x) for x in tracer.once("show-trace", whole["trace_id"], "--json").stdout.splitlines()]
        assert len(spans) == 3 and {s["trace_id"] for s in spans} == {whole["trace_id"]}
        text = tracer.once("show-traces", "--last", "3").stdout.splitlines()
        assert len(text) == 4 and all(len(x) <= 80 for x in text), text
    finally:
        os.environ.pop("XDG_STATE_HOME")
        if old is not None:
            os.environ["XDG_STATE_HOME"] = old


@test("store/while-written", limit=60)
def while_written(case):
    """show-traces reads while a run writes; after kill -9 the store opens and what was shown is still there"""
    db = case.dir / "s.db"
    web = _web(case, "--export", f"store:{db}")
    seen = 0
    for _ in range(10):
        _ask(web.port, "/a", 30)
        time.sleep(0.3)
        now = len(_traces("--store", str(db), "--last", "10000", "--name", "GET*"))
        assert now >= seen, (now, seen)
        seen = now
    assert seen >= 200, seen
    nginx = web.master()
    web.proc.send_signal(signal.SIGKILL)
    web.proc.wait(10)
    procs.send(nginx, signal.SIGTERM)
    assert len(_traces("--store", str(db), "--last", "10000", "--name", "GET*")) >= seen
    assert sqlite3.connect(db).execute("pragma integrity_check").fetchone() == ("ok",)
    web = _web(case, "--export", f"store:{db}")  # and it goes on
    _ask(web.port, "/a", 5)
    web.stop()
    assert len(_traces("--store", str(db), "--last", "10000", "--name", "GET*")) >= seen + 5


@test("store/damaged", limit=30)
def damaged(case):
    """what is no store, or damaged, is said with what to do; nothing is overwritten"""
    db = case.dir / "s.db"
    db.write_bytes(b"no database at all, but somebody's file. " * 100)
    p = tracer.once("run", "--export", f"store:{db}", "--", "true")
    assert p.returncode == 1 and "move it away" in p.stderr, (p.returncode, p.stderr)
    assert db.read_bytes().startswith(b"no database")
    p = tracer.once("show-traces", "--store", db)
    assert p.returncode == 1 and "damaged or no store" in p.stderr, p.stderr
    p = tracer.once("show-traces", "--store", case.dir / "none.db")
    assert p.returncode == 1 and "--export store" in p.stderr, p.stderr
    p = tracer.once("run", "--export", f"store:{case.dir}/x.db?size=7", "--", "true")
    assert p.returncode in (1, 2) and "size=500M" in p.stderr, p.stderr


@test("store/disk-full", limit=60)
def disk_full(case):
    """a full disk: the run goes on, what could not be kept is counted, the store stays whole"""
    disk = case.dir / "disk"
    disk.mkdir()
    assert os.system(f"mount -t tmpfs -o size=400k none {disk}") == 0
    case.defer(os.system, f"umount {disk}")
    p = tracer.once("run", "-v", "--export", f"store:{disk}/s.db", "--", "sh", "-c", "for i in $(seq 600); do /bin/true; done")
    assert p.returncode == 0, p.stderr
    told = [x for x in p.stderr.splitlines() if "not delivered" in x or "spans_dropped" in x]
    case.note("\n".join(told))
    assert told, p.stderr[-800:]
    assert _traces("--store", str(disk / "s.db"), "--last", "10") is not None
