"""cron, the real daemon in the foreground with tables of its own, against what its jobs write down themselves."""
import os
import shutil
import signal

from support import procs, spans, steps, tracer
from support.harness import Skip, test

TABLE = """SHELL=/bin/bash
ENGINE_RECORD={record}
* * * * * root {step} quick 0.1 0
* * * * * root cd /tmp && {step} failing 0.1 6 >/dev/null
* * * * * nobody {step} other 0 0; true
"""
# A mount namespace of its own: cron reads our tables, and only ours, and the machine's are not touched.
START = """set -e
mount --make-rprivate /
mount --bind {empty} /var/spool/cron/crontabs
mount --bind {tables} /etc/cron.d
mount --bind {none} /etc/crontab
mount -t tmpfs none /run
exec cron -f
"""


@test("engine/cron", limit=150)
def cron(case):
    """Each job a trace of its own, with its user, command, outcome; everything it runs beneath it."""
    if not shutil.which("cron") or not os.path.isfile("/etc/crontab"):
        raise Skip("cron is not installed")
    record = case.dir / "record"
    record.touch()
    record.chmod(0o666)
    for folder in (case.dir, case.dir.parent):
        folder.chmod(0o755)
    for name in ("empty", "tables"):
        (case.dir / name).mkdir(exist_ok=True)
    (case.dir / "none").write_text("")
    step = case.dir / "step.sh"
    shutil.copy(steps.STEP, step)
    (case.dir / "tables" / "jobs").write_text(TABLE.format(record=record, step=step))
    start = START.format(empty=case.dir / "empty", tables=case.dir / "tables", none=case.dir / "none")
    t = tracer.Tracer(case.dir, ["unshare", "--mount", "sh", "-c", start])
    case.defer(t.finish)
    procs.wait_for("three jobs", lambda: record.read_text().count("end ") >= 3, 100, t.proc, t.log)
    procs.wait_for("the jobs' ends", lambda: not [p for p in _below(t.proc.pid) if p != t.target()], 20, t.proc, t.log)
    t.finish(signal.SIGTERM)
    found = t.spans()
    keyed = steps.compare(case, found, steps.load(record))
    assert set(keyed) == {"quick", "failing", "other"}, keyed.keys()
    jobs = found.where(name="cron step.sh")
    assert len(jobs) == 3 and all(j["wftrace.activity.type"] == "workflow" and not j.parent_id for j in jobs), jobs
    assert len({j.trace_id for j in jobs}) == 3
    daemon = next(s for s in found if s not in jobs and not s.parent_id).trace_id
    assert all([link["traceId"] for link in j.links] == [daemon] for j in jobs), [j.links for j in jobs]
    users = {}
    for key, span in keyed.items():
        job = span if span in jobs else found.parent(span)
        assert job in jobs, (key, job)
        users[key] = job["process.real_user.id"], job["error.type"]
    assert users["quick"] == (0, None) and users["failing"] == (0, "6") and users["other"][0] > 0 and users["other"][1] is None, users


def _below(pid):
    out = []
    for child in procs.children(pid):
        out += [child, *_below(child)]
    return out
