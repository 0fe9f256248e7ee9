"""Rules on Python functions: every kind of function, asyncio and threads with no wrong parent, a killed worker, rules that never bind,
values that cannot be read, arguments of a megabyte."""
import glob
import os
import subprocess
import time
import zipfile

from support import paths, procs, spans, tracer, venv
from support.harness import Skip, test

APP = paths.TARGETS / "bridge_app.py"


def traced(case, rules, *args, opts=(), env=None, want=0, python=None):
    """Runs the target under the rules. Returns (CompletedProcess, Spans)."""
    file, out = case.dir / "rules.yaml", case.dir / "trace.jsonl"
    file.write_text("activities:\n" + rules)
    out.unlink(missing_ok=True)
    argv = [paths.WFTRACE, "run", "-v", "--privacy", "off", "-r", file, "--export", f"otlp-json:{out}", *opts, "--",
            python or paths.PYTHON, APP, *args]
    p = subprocess.run([str(a) for a in argv], capture_output=True, text=True, errors="replace", timeout=60, cwd=case.dir,
                       env={**os.environ, **(env or {})})
    assert p.returncode == want, f"status {p.returncode}: {p.stderr[-2000:]}"
    return p, spans.load(out)


FLOW = """
  - { name: "flow {flow}", type: workflow, at: "python:bridge_app:Flow.run", attributes: { flow: self.number, nodes: arg.nodes, n: len(ret) } }
  - { name: "node {flow} {node}", type: task, at: "python:bridge_app:Flow.node", attributes: { flow: self.number, node: arg.index } }
  - { name: "check {flow} {node}", type: task, at: "python:bridge_app:Flow.check", attributes: { flow: self.number, node: arg.index } }
"""


@test("bridge/flows", limit=150)
def flows(case):
    """200 workflows at once in one event loop, 10 nodes each with a Redis call and a thread: 0 wrong parents"""
    count, redis = 200, case.redis()
    python = venv.venv("web") / "bin" / "python"
    p, found = traced(case, FLOW, "flows", str(count), env={"REDIS_PORT": str(redis.port)}, python=python)
    by = {s.name: s for s in found if s.name.split()[0] in ("flow", "node", "check")}
    assert len(by) == count * 21, f"{len(by)} activities, not {count * 21}"
    gets = [s for s in found if s["db.operation.name"] == "GET" and s.kind == "client"]
    wrong, none = [], 0
    for name, s in by.items():
        kind, *rest = name.split()
        parent = found.parent(s)
        want = None if kind == "flow" else f"flow {rest[0]}" if kind == "node" else f"node {' '.join(rest)}"
        if want and (parent is None or parent.name != want):
            wrong.append(f"{name} under {parent!r}")
    seen = set()
    for s in gets:
        text = s["db.query.text"] or ""
        flow, node = text.rpartition("flow-")[2].split("-")[:2]
        seen.add((flow, node))
        parent = found.parent(s)
        if parent is None:
            none += 1
        elif parent.name != f"node {flow} {node}":
            wrong.append(f"GET {flow} {node} under {parent!r}")
    case.note(f"{len(by)} activities, {len(gets)} calls: WRONG {len(wrong)}, without a parent {none}")
    assert len(seen) == count * 10, f"{len(seen)} calls, not {count * 10}"
    assert not wrong, f"WRONG {len(wrong)}: {wrong[:5]}"
    assert none == 0, f"{none} calls without a parent"
    slept = by["flow 0"]
    assert 0 < slept["wftrace.active_time"] < (slept.end - slept.start) / 1e9, slept.attrs
    assert slept["nodes"] == 10 and slept["n"] == 10


@test("bridge/pool", limit=60)
def pool(case):
    """Threads that hand work to pools: each part under its own job"""
    rules = """
  - { name: "job {n}", at: "python:bridge_app:Pool.job", attributes: { n: arg.number } }
  - { name: "part {n}", at: "python:bridge_app:Pool.part", attributes: { n: arg.number } }
"""
    _, found = traced(case, rules, "pool", "20")
    parts = [s for s in found if s.name.startswith("part ")]
    wrong = [s for s in parts if found.parent(s).name != s.name.replace("part", "job")]
    assert len(parts) == 60 and not wrong, f"{len(parts)} parts, WRONG {len(wrong)}: {wrong[:3]}"


@test("bridge/kinds", limit=60)
def kinds(case):
    """Methods, class and static ones, properties, generators, async generators, recursion, local functions; a closed generator"""
    rules = """
  - { name: "{f}", at: "python:bridge_app:Kinds.*", attributes: { f: arg.n or arg.i or arg.what } }
  - { name: inner, at: "python:bridge_app:outer.<locals>.inner", attributes: { x: arg.x, r: ret } }
"""
    _, found = traced(case, rules, "kinds")
    names = sorted(s["code.function.name"].removeprefix("bridge_app.") for s in found if s["code.function.name"])
    want = sorted(["Kinds.made", "Kinds.fixed", "Kinds.size", "Kinds.numbers", "Kinds.numbers", "Kinds.anumbers", "Kinds.fails",
                   *["Kinds.one"] * 4, *["Kinds.deep"] * 4, "outer.<locals>.inner"])
    assert names == want, names
    for s in found:
        if s["code.function.name"] == "bridge_app.Kinds.one":
            assert found.parent(s)["code.function.name"] == "bridge_app.Kinds.numbers", found.parent(s)
    fails = [s for s in found if s.status == 2]
    assert [s["error.type"] for s in fails] == ["ValueError"] and fails[0].message == "no luck", fails
    event = fails[0].events[0]
    assert event[0] == "exception" and "bridge_app.py" in event[1]["exception.stacktrace"], event


@test("bridge/killed", limit=60)
def killed(case):
    """A worker killed in mid-call: the call ends as lost, with the signal, when the process ends"""
    _, found = traced(case, '  - { name: stuck, type: task, at: "python:bridge_app:stuck" }\n', "stuck")
    stuck = found.where(name="stuck")
    assert len(stuck) == 1, found
    s = stuck[0]
    assert s.status == 2 and s["error.type"] == "SIGKILL" and s["wftrace.lost"] is True, s.attrs
    took = (s.end - s.start) / 1e9
    assert 0.1 < took < 30, took


@test("bridge/never", limit=60)
def never(case):
    """Rules whose module or function never comes are told at the end, with near matches; the others work"""
    (case.dir / "bridge_apq.py").write_text("")
    rules = """
  - { name: a, at: "python:bridge_apps:odd" }
  - { name: b, at: "python:bridge_app:ood" }
  - { name: c, at: "python:bridge_app:odd" }
"""
    p, found = traced(case, rules, "odd")
    assert len(found.where(name="c")) == 2, found
    lines = [line for line in p.stderr.splitlines() if "rules.yaml:" in line]
    assert len(lines) == 2, p.stderr
    assert "bridge_apps" in lines[0] and "did you mean bridge_app" in lines[0], lines
    assert "bridge_app:ood never came (did you mean bridge_app:odd?)" in lines[1], lines


@test("bridge/odd-values", limit=60)
def odd_values(case):
    """A value that cannot be read is left out and counted, one of a megabyte is cut; the call is unharmed"""
    rules = """
  - { name: big, at: "python:bridge_app:big", attributes: { text: arg.text, n: len(arg.text), r: ret } }
  - { name: odd, at: "python:bridge_app:odd", attributes: { a: arg.thing.x.y, b: "arg.thing[3]", c: arg.nothing, r: type(ret) } }
"""
    p, found = traced(case, rules, "odd")
    assert p.stdout == "1048576 True 7\n", p.stdout
    big, odd = found.where(name="big")[0], found.where(name="odd")
    assert big["n"] == 1 << 20 and big["r"] == 1 << 20 and 100 < len(big["text"]) <= 512, big.attrs
    assert len(odd) == 2 and all(s["a"] is None and s["b"] is None and s.status != 2 for s in odd), odd
    assert sorted(s["r"] for s in odd) == ["bridge_app.Nasty", "int"], odd
    assert "bridge_values_dropped" in p.stderr, p.stderr[-800:]


@test("bridge/other-versions", limit=60)
def other_versions(case):
    """Pythons that the bridge does not serve (2.7, 3.6, 3.7 where there are) run as ever, and it is said that rules saw nothing"""
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    found = [p for v in ("2.7", "3.6", "3.7") for p in glob.glob(f"{root}/versions/{v}.*/bin/python")]
    if not found:
        raise Skip("no Python older than 3.8 here")
    program, rules = case.dir / "old.py", case.dir / "rules.yaml"
    program.write_text("import sys\n\n\ndef work(n):\n    return n + 1\n\n\nprint(work(41), '_wftrace' in sys.modules)\n")
    rules.write_text('activities:\n  - { name: work, at: "python:__main__:work" }\n')
    for python in found:
        out = case.dir / "trace.jsonl"
        out.unlink(missing_ok=True)
        argv = [paths.WFTRACE, "run", "-r", rules, "--export", f"otlp-json:{out}", "--", python, program]
        p = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=30)
        assert p.returncode == 0 and p.stdout in ("42 False\n", "(42, False)\n"), p
        assert "no Python process took the bridge in" in p.stderr, p.stderr[-500:]
        assert not spans.load(out).where(name="work") and len(spans.load(out)) == 1
    case.note(f"{len(found)} versions")


ISOLATED = """#!/bin/bash
set -e
cd "$1"
"$2" -I work.py
"$2" -E -s work.py
make -s -f work.mk PYTHON="$2"
./app.pyz
venv/bin/tool
"$2" work.py
"$2" --version
if command -v node >/dev/null; then node -e 'require("child_process").execFileSync(process.argv[1], ["-I", "-S", "work.py"], {stdio: "inherit"})' "$2"; else "$2" -I -S work.py; fi
"""


def isolated_tree(case, python):
    """A script whose children start Pythons: three plain, five that ignore their environment."""
    work = "def work(n):\n    return n\n\n\nwork(1)\n"
    (case.dir / "work.py").write_text(work)
    (case.dir / "work.mk").write_text("all:\n\t$(PYTHON) -S work.py\n\t$(PYTHON) work.py\n")
    with open(case.dir / "app.pyz", "wb") as f:
        f.write(f"#!{python} -I\n".encode())
        with zipfile.ZipFile(f, "w") as z:
            z.writestr("__main__.py", work)
    subprocess.run([python, "-m", "venv", "--without-pip", case.dir / "venv"], check=True)
    (case.dir / "venv/bin/tool").write_text(f"#!{case.dir}/venv/bin/python\n" + work)
    (case.dir / "script").write_text(ISOLATED)
    for name in ("script", "app.pyz", "venv/bin/tool"):
        (case.dir / name).chmod(0o755)


@test("bridge/isolated", limit=90)
def isolated(case):
    """Pythons that ignore their environment, started by a shell, make and node: --bridge on reaches all, auto says what it did not"""
    python = os.path.realpath(paths.PYTHON)
    isolated_tree(case, python)
    (case.dir / "rules.yaml").write_text('activities:\n  - { name: work, at: "python:__main__:work" }\n')
    for bridge, want in (("on", 8), ("auto", 3)):
        out = case.dir / f"{bridge}.jsonl"
        argv = [paths.WFTRACE, "run", "-r", case.dir / "rules.yaml", "--packs", "off", "--bridge", bridge, "--export", f"otlp-json:{out}", "--",
                case.dir / "script", case.dir, python]
        p = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=60)
        assert p.returncode == 0, p.stderr[-2000:]
        found = spans.load(out).where(name="work")
        assert len(found) == want, f"--bridge {bridge}: {len(found)} of {want}\n{p.stderr[-1500:]}"
        said = [line for line in p.stderr.splitlines() if "did not take the bridge in" in line]
        assert len(said) == (bridge == "auto"), p.stderr[-1500:]
    assert "5 Python processes" in said[0] and "-I)" in said[0] and "--bridge on" in said[0], said


@test("bridge/off", limit=60)
def off(case):
    """--bridge off puts nothing into the process, and says that the rules see nothing"""
    rules = '  - { name: odd, at: "python:bridge_app:odd" }\n'
    p, found = traced(case, rules, "odd", opts=["--bridge", "off"])
    assert not found.where(name="odd") and "--bridge off" in p.stderr, p.stderr
    p, found = traced(case, rules, "odd", opts=["--bridge", "on"])
    assert len(found.where(name="odd")) == 2, found
    assert p.stderr.count("wftrace: bridge:") == 1, p.stderr


@test("bridge/attach", limit=90)
def attach(case):
    """attach --bridge on into a running process and out again; auto leaves it alone and says so"""
    log = case.dir / "app.log"
    app = procs.start([paths.PYTHON, APP, "loop", "5"], log, cwd=case.dir)
    case.defer(procs.stop, app)
    procs.wait_for("the loop", lambda: "here" in procs.tail(log), 20, app, log)
    rules = case.dir / "rules.yaml"
    rules.write_text('activities:\n  - { name: odd, at: "python:bridge_app:odd", attributes: { thing: arg.thing } }\n')
    t = tracer.Tracer(case.dir, pid=app.pid, opts=["-r", rules, "--bridge", "on", "--for", "1s"])
    assert t.proc.wait(40) == 0, t.said()
    found = t.spans().where(name="odd")
    assert len(found) > 5 and all(s["thing"] == 5 and s.status != 2 for s in found), (len(found), t.said())
    quiet = tracer.Tracer(case.dir, pid=app.pid, opts=["-r", rules, "--for", "500ms"], name="auto")
    assert quiet.proc.wait(40) == 0, quiet.said()
    assert not quiet.spans().where(name="odd") and "--bridge on" in quiet.said(), quiet.said()
    (case.dir / "stop").touch()
    assert app.wait(20) == 0, procs.tail(log)
    assert procs.tail(log).endswith("function 5\n"), procs.tail(log)


HOLDER = """import ctypes, threading, time
def hold():
    print("held", flush=True)
    ctypes.PyDLL(None).sleep(20)  # C code that keeps the interpreter's lock
    print("let go", flush=True)
threading.Timer(0.5, hold).start()
for _ in range(3): time.sleep(9)
print("fine", flush=True)
"""


@test("bridge/attach-held", limit=120)
def attach_held(case):
    """A process whose lock is kept for long: who asks it is told where it waits, in time, and it lives on"""
    log, rules = case.dir / "app.log", case.dir / "rules.yaml"
    app = procs.start([paths.PYTHON, "-c", HOLDER], log, cwd=case.dir)
    case.defer(procs.stop, app)
    procs.wait_for("the holder", lambda: "held" in procs.tail(log), 20, app, log)
    rules.write_text('activities:\n  - { name: odd, at: "python:bridge_app:odd" }\n')
    t = tracer.Tracer(case.dir, pid=app.pid, opts=["-r", rules, "--bridge", "on", "--for", "1s"])
    procs.wait_for("the sentence", lambda: "PyGILState_Ensure" in t.said(), 30)
    assert "let go" not in procs.tail(log), t.said()
    assert t.proc.wait(60) == 0, t.said()
    assert "would end with us" in t.said(), t.said()
    assert app.wait(60) == 0 and procs.tail(log).endswith("fine\n"), procs.tail(log)


POD = """file_format: "1.0"
tracer_provider:
  processors:
    - batch: {{ schedule_delay: 200, exporter: {{ otlp_file/development: {{ output_stream: "file://{out}" }} }} }}
wftrace:
  targets: {{ include: [{{ name: "pod_app.py" }}] }}
  bridge_folder: {folder}
  rules:
    activities:
      - {{ name: "{name}", at: "python:{module}:work", attributes: {{ n: arg.n }} }}
"""


class Node:
    """A node agent whose folder for Pythons is case.dir/folder."""

    def __init__(self, case, number, name="pod work", module="__main__"):
        self.out, self.log, config = case.dir / f"{number}.jsonl", case.dir / f"{number}.log", case.dir / f"{number}.yaml"
        config.write_text(POD.format(out=self.out, folder=case.dir / "folder", name=name, module=module))
        self.proc = procs.start([paths.WFTRACE, "agent", "-c", config, "-v", "--packs", "off"], self.log)
        case.defer(procs.stop, self.proc)
        procs.wait_for("the agent", lambda: "agent ready" in self.log.read_text(), 20, self.proc, self.log)

    def finish(self):
        assert procs.stop(self.proc) == 0, procs.tail(self.log)
        return spans.load(self.out).where(name="pod work"), self.log.read_text()


def pod(case, number):
    """A Python that has nothing of wftrace but one variable of its environment."""
    log, stop = case.dir / f"pod{number}.log", case.dir / f"stop{number}"
    app = procs.start([paths.PYTHON, paths.TARGETS / "pod_app.py", stop], log, env={**os.environ, "PYTHONPATH": str(case.dir / "folder")})
    case.defer(procs.stop, app)
    procs.wait_for("the pod", lambda: "here" in procs.tail(log), 20, app, log)

    def finish():
        stop.touch()
        assert app.wait(20) == 0 and procs.tail(log).endswith("fine\n"), procs.tail(log)
        return procs.tail(log)

    return app.pid, finish


def work_of(found, pid):
    return sorted(s["n"] for s in found if s.resource["process.pid"] == pid)


@test("bridge/pods", limit=120)
def pods(case):
    """One variable brings the helper in from the folder that the node agent fills: seen under that agent and the next, silent in between,
    refused with a reason once its list is not the agent's"""
    node = Node(case, 1)
    (first, end_first) = pod(case, 1)
    time.sleep(1)
    found, said = node.finish()
    seen = work_of(found, first)
    assert len(seen) > 5 and seen == list(range(seen[0], seen[0] + len(seen))), (seen, said[-1500:])
    time.sleep(0.3)
    (alone, end_alone) = pod(case, 2)
    assert "True" in end_alone()
    node = Node(case, 2)
    time.sleep(1)
    found, said = node.finish()
    again = work_of(found, first)
    assert len(again) > 5 and again[0] > seen[-1] + 2 and "another wftrace" not in said, (again, said[-1500:])
    assert not work_of(found, alone)
    node = Node(case, 3, module="__mai?__")
    time.sleep(0.5)
    (fresh, end_fresh) = pod(case, 3)
    time.sleep(0.7)
    (case.dir / "folder/watch").write_text("wftrace-bridge 1\nwatch\t1\t__main__\twork\n")
    (old, end_old) = pod(case, 4)
    for end in (end_old, end_fresh, end_first):
        end()
    found, said = node.finish()
    assert len(work_of(found, fresh)) > 5 and not work_of(found, first) and not work_of(found, old), (found, said[-1500:])
    lines = [line for line in said.splitlines() if "has the watch list of other rules" in line]
    assert len(lines) == 1 and f"process {first} " in lines[0], said[-2000:]
    assert len([line for line in said.splitlines() if "helper did not start" in line and "another version" in line]) == 1, said[-2000:]
    assert os.stat(case.dir / "folder/_wftrace.abi3.so").st_mode & 0o777 == 0o644
