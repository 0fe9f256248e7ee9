"""S10, what users type wrong and what is missing: a clear sentence and the right exit status."""
import os
import re
import subprocess
import time

from support import paths, procs, sink, spans, tracer
from support.harness import Skip, test

from targets import build


def says(p, status, *words):
    text = p.stderr + p.stdout
    assert p.returncode == status, f"exit {p.returncode}, not {status}: {text[-600:]}"
    for w in words:
        assert re.search(w, text, re.I), f"{w!r} is not in: {text[-600:]}"
    assert "Sanitizer" not in text and "Segmentation" not in text, text[-600:]


@test("bad/unknown-pid", limit=30)
def unknown_pid(case):
    """attach to a pid that is not there: exit 1 and a sentence with the pid"""
    says(tracer.once("attach", "--pid", 4194000), 1, "4194000")
    says(tracer.once("attach", "--pid", "banana"), 2, "banana")


@test("bad/command-not-found", limit=30)
def not_found(case):
    """run of something that is not there: 127 like a shell; not executable: 126"""
    says(tracer.once("run", "--", "/no/such/thing"), 127, "/no/such/thing", "not found|no such")
    says(tracer.once("run", "--", "no-such-command-at-all"), 127, "no-such-command-at-all")
    file = case.dir / "plain"
    file.write_text("x")
    says(tracer.once("run", "--", file), 126, "plain")


@test("bad/usage", limit=30)
def usage(case):
    """unknown option or command, no command, bad export: exit 2, with a hint"""
    says(tracer.once("run"), 2)
    says(tracer.once("attach"), 2)
    says(tracer.once("rnu", "--", "true"), 2, "run")
    says(tracer.once("run", "--exprot", "console", "--", "true"), 2, "--export")
    says(tracer.once("run", "--export", "consle", "--", "true"), 2, "console")
    says(tracer.once("run", "--export", "otlp=ftp://x", "--", "true"), 2, "http")
    says(tracer.once("run", "--export", "otlp-json:/no/such/dir/file", "--", "true"), 1, "/no/such/dir/file")
    says(tracer.once("version"), 0, r"wftrace|\d")
    says(tracer.once("help"), 0, "attach", "doctor")


RULES = """activities:
  - name: order
    typ: workflow
    at: "native:/bin/true:main"
"""


@test("bad/rule-key", limit=30)
def rule_key(case):
    """a mistyped key: file, line, column and what was meant; exit 2 and the command never starts"""
    file = case.dir / "r.yaml"
    file.write_text(RULES)
    says(tracer.once("rules", "check", file), 2, r"r\.yaml:3:5", "typ", "type")
    mark = case.dir / "started"
    says(tracer.once("run", "-r", file, "--", "touch", mark), 2, r"r\.yaml:3:5")
    assert not mark.exists(), "the command was started under broken rules"
    says(tracer.once("rules", "check", case.dir / "absent.yaml"), 2, "absent.yaml")


@test("bad/unknown-symbol", limit=30)
def unknown_symbol(case):
    """a symbol that is not there: its nearest names are told"""
    binary = build("native_c.c", "-O2", "-g", "-fno-ipa-cp", "-pthread")
    file = case.dir / "r.yaml"
    file.write_text(f'activities:\n  - name: x\n    at: "native:{binary}:place_ordr"\n')
    p = tracer.once("run", "-r", file, "--", binary)
    assert "place_ordr" in p.stderr and re.search(r"place_order\b", p.stderr), p.stderr[-600:]
    p = tracer.once("rules", "check", file)
    assert p.returncode != 0 and re.search(r"place_order\b", p.stdout + p.stderr), (p.returncode, p.stdout, p.stderr)


@test("bad/endpoint-down", limit=60)
def down(case):
    """nobody listens: the command's status, in bounded time, and the loss is told"""
    began = time.monotonic()
    p = tracer.once("run", "--export", f"otlp=http://127.0.0.1:{procs.free_port()}", "--", "sh", "-c", "exit 6", timeout=50)
    took = time.monotonic() - began
    says(p, 6, "refused|connect|unreachable")
    assert took < 20, f"{took:.1f} s"
    case.note(f"{took:.1f} s")


@test("bad/endpoint-refuses", limit=60)
def refuses(case):
    """400 is final: told once, not retried for ever"""
    s = case.start(sink.Sink(["http:400*1000"]))
    says(tracer.once("run", "--export", f"otlp={s.url}", "--", "sh", "-c", "exit 6", timeout=40), 6, "400")
    assert len(s.requests) < 5, s.requests


@test("bad/disk-full", limit=60)
def disk_full(case):
    """the span file's disk is full: the command is untouched, the loss is told, what is in the file is whole"""
    where = case.dir / "small"
    where.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", where], capture_output=True).returncode:
        raise Skip("no tmpfs can be mounted here")
    case.defer(subprocess.run, ["umount", "-l", str(where)])
    out = where / "spans.jsonl"
    p = tracer.once("run", "--export", f"otlp-json:{out}", "--", "sh", "-c", "for i in $(seq 2000); do /bin/true; done; exit 5")
    says(p, 5, "no space|ENOSPC|disk")
    found = spans.load(out)
    assert 0 < len(found) < 2000, len(found)  # a batch is one line, of up to 512 spans


@test("bad/not-root", limit=30)
def not_root(case):
    """without privileges: exit 3 and what to do"""
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    binary = case.dir / "wftrace"
    binary.write_bytes(paths.WFTRACE.read_bytes())
    binary.chmod(0o755)
    for d in (case.dir, *case.dir.parents):
        if os.stat(d).st_mode & 0o5 != 0o5:
            raise Skip(f"{d} is closed to others")
    p = subprocess.run([*user, binary, "run", "--", "true"], capture_output=True, text=True, cwd="/")
    says(p, 3, "root|CAP_|privilege|permission")


@test("bad/pid-reuse", limit=60)
def pid_reuse(case):
    """two processes with one pid, one after the other, are two spans with their own ends"""
    out = case.dir / "trace.jsonl"
    p = tracer.once("run", "--export", f"otlp-json:{out}", "--", paths.PYTHON, paths.TARGETS / "pid_reuse.py")
    assert p.returncode == 0, p.stderr
    if "no reuse" in p.stdout:
        raise Skip("the kernel did not give the pid again")
    mine = [s for s in spans.load(out) if s["process.pid"] == int(p.stdout)]
    ends = sorted((s["process.executable.name"], s["process.exit.code"]) for s in mine)
    assert ends == [("false", 1), ("true", 0)], ends
