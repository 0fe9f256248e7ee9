"""The node agent: services come and go, and each is traced from its first request or not at all, as the configuration says."""
import os
import pathlib
import random
import select
import shutil
import signal
import subprocess
import time
import urllib.request

from support import hang, paths, procs, spans
from support.harness import test

SECONDS = int(os.environ.get("WF_AGENT_SECONDS", "25"))

CONFIG = """file_format: "1.0"
tracer_provider:
  processors:
    - batch: {{ schedule_delay: 200, exporter: {{ otlp_file/development: {{ output_stream: "file://{out}" }} }} }}
wftrace:
  privacy: "off"
  targets:
    include: {include}
{exclude}"""


class Agent:
    def __init__(self, case, include, exclude=""):
        self.out, self.config, self.log = case.dir / "agent.jsonl", case.dir / "agent.yaml", case.dir / "agent.log"
        self.configure(include, exclude)
        self.proc = procs.start([paths.WFTRACE, "agent", "-c", self.config, "-v"], self.log)
        case.defer(procs.stop, self.proc)
        procs.wait_for("the agent", lambda: "agent ready" in self.log.read_text(), 20, self.proc, self.log)

    def configure(self, include, exclude=""):
        self.config.write_text(CONFIG.format(out=self.out, include=include, exclude=f"    exclude: {exclude}\n" if exclude else ""))

    def rss(self):
        return int(pathlib.Path(f"/proc/{self.proc.pid}/statm").read_text().split()[1]) * 4

    def finish(self):
        self.proc.send_signal(signal.SIGTERM)
        assert self.proc.wait(20) == 0, procs.tail(self.log)
        return spans.load(self.out)


def start(case, name, within=60):
    """A running copy of the small server; returns (process, port). One that does not come to listen is looked into."""
    script, log = case.dir / f"{name}.py", case.dir / f"{name}.err"
    shutil.copy(paths.TARGETS / "small_server.py", script)
    with open(log, "w") as err:
        p = subprocess.Popen([paths.PYTHON, "-X", "faulthandler", str(script), "0"], stdout=subprocess.PIPE, stderr=err, text=True)
    case.defer(procs.stop, p)
    ready = select.poll()
    ready.register(p.stdout, select.POLLIN)
    if not ready.poll(1000 * within):
        told = case.dir / "hang.txt"
        told.write_text(hang.tell(p, log))
        raise AssertionError(f"{name} did not come to listen in {within} s; {told}:\n{told.read_text()[:6000]}")
    with p.stdout:
        port = p.stdout.readline()
    assert port, f"{name} ended with {p.wait(10)}: {procs.tail(log)}"
    return p, int(port)


def ask(port, path, within=10):
    until = time.monotonic() + within
    while True:
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5).read()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.002)


def ask_alive(case, name, p, port, path):
    """A service that listens and does not answer is looked into as well."""
    try:
        ask(port, path, 60)
    except OSError as e:
        told = case.dir / "hang.txt"
        told.write_text(hang.tell(p, case.dir / f"{name}.err"))
        raise AssertionError(f"{name} does not answer: {e}; {told}:\n{told.read_text()[:6000]}") from e


def served(found):
    return [s["url.path"].lstrip("/") for s in found if s.kind == "server"]


@test("agent/coming-and-going", limit=120 + 2 * SECONDS)
def coming_and_going(case):
    """30 services start and stop at random: each included request is there once, none of an excluded one, memory stays flat."""
    agent = Agent(case, '[{ name: "svc*.py" }]', '[{ name: "svc-no*.py" }]')
    dice, alive, asked, started, first = random.Random(7), {}, [], 0, None
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        if len(alive) < 30 and dice.random() < 0.5:
            started += 1
            name = f"svc-{'no' if started % 3 == 0 else 'yes'}-{started:04d}"
            alive[name] = start(case, name)
        elif alive:
            name = dice.choice(list(alive))
            p, port = alive[name]
            path = f"{name}/{len(asked)}"
            ask_alive(case, name, p, port, path)
            asked.append(path)
            if dice.random() < 0.4 or len(alive) == 30:
                procs.stop(alive.pop(name)[0])
        if first is None and started == 30:
            first = agent.rss()
    last = agent.rss()
    for p, _ in alive.values():
        procs.stop(p)
    found = served(agent.finish())
    want = sorted(p for p in asked if "-yes-" in p)
    case.note(f"{started} services, {len(asked)} requests, {len(want)} to be traced, {len(found)} server spans; memory {first} → {last} kB")
    assert sorted(found) == want, (sorted(set(want) - set(found))[:5], sorted(set(found) - set(want))[:5])
    assert first is None or last < first * 1.5 + 8192, (first, last)


@test("agent/by-port-and-there-before", limit=60)
def by_port(case):
    """Known by its port alone: from its first request on; what was there before the agent is traced too."""
    before, old = start(case, "old")
    ask(old, "hello")
    port = procs.free_port()
    agent = Agent(case, f"[{{ port: {old} }}, {{ port: {port} }}]")
    shutil.copy(paths.TARGETS / "small_server.py", case.dir / "late.py")
    late = subprocess.Popen([paths.PYTHON, str(case.dir / "late.py"), str(port)])
    case.defer(procs.stop, late)
    other, elsewhere = start(case, "other")
    ask(port, "late/1")
    ask(elsewhere, "other/1")
    ask(old, "old/1")
    for p in (before, late, other):
        procs.stop(p)
    assert sorted(served(agent.finish())) == ["late/1", "old/1"]


@test("agent/reload", limit=60)
def reload(case):
    """SIGHUP: what the new configuration excludes is let go, what it includes comes in; a broken file changes nothing."""
    agent = Agent(case, '[{ name: "one.py" }]')
    (one, p1), (two, p2) = start(case, "one"), start(case, "two")
    ask(p1, "one/1")
    ask(p2, "two/1")
    agent.configure('[{ name: "two.py" }]')
    agent.proc.send_signal(signal.SIGHUP)
    procs.wait_for("the new targets", lambda: "by the new configuration" in agent.log.read_text(), 10, agent.proc, agent.log)
    ask(p1, "one/2")
    ask(p2, "two/2")
    agent.config.write_text("wftrace: { targetz: 1 }\n")
    agent.proc.send_signal(signal.SIGHUP)
    procs.wait_for("the refusal", lambda: "stays in force" in agent.log.read_text(), 10, agent.proc, agent.log)
    ask(p2, "two/3")
    for p in (one, two):
        procs.stop(p)
    assert sorted(served(agent.finish())) == ["one/1", "two/2", "two/3"], agent.log.read_text()[-800:]


@test("agent/second", limit=40)
def second(case):
    """Two agents on one node: the second says who is there and ends; without targets, or without a file, none begins."""
    agent = Agent(case, '[{ name: "nothing-like-this" }]')
    p = subprocess.run([paths.WFTRACE, "agent", "-c", agent.config], capture_output=True, text=True, timeout=20)
    assert p.returncode == 1 and f"process {agent.proc.pid}" in p.stderr, p.stderr
    agent.finish()
    p = subprocess.run([paths.WFTRACE, "agent"], capture_output=True, text=True, timeout=20)
    assert p.returncode == 2 and "targets" in p.stderr, p.stderr
