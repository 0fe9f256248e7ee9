#!/usr/bin/env python3
"""guest.py: in a guest (or here): what live.py's programs do not load: output, log files, the bridge, the node agent; what was traced
is held against what the programs did. One line a case, as live.py; status 1 when any failed."""
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from support import logs, spans  # noqa: E402

WFTRACE = os.path.abspath(os.environ.get("WFTRACE", "build/wftrace"))
PYTHON = "/usr/bin/python3"
PROVIDERS = "".join("%s: { processors: [ batch: { schedule_delay: 200, exporter: { otlp_file/development: { output_stream: \"file://@OUT@\" } } } ] }\n"
                    % x for x in ("tracer_provider", "logger_provider"))


def run(where, *command, opts=()):
    """Under `wftrace run`; what went wrong with a BPF object is an error here, though wftrace goes on without it."""
    p = subprocess.run([WFTRACE, "run", "-v", "--privacy", "off", *opts, "--", *command], capture_output=True, text=True, timeout=400, cwd=where)
    assert p.returncode == 0, "status %d: %s" % (p.returncode, p.stderr[-1500:])
    refused(p.stderr)
    return p


def refused(text):
    for word in ("cannot load", "cannot probe", "cannot attach"):
        assert word not in text, text[-1500:]


def case_output(where):
    """--logs around a shell and a Python: each line once, by the process that wrote it."""
    out = where / "out.jsonl"
    run(where, "sh", "-c", "echo from-the-shell; %s -c 'import sys; print(\"from-python\"); print(\"to-error\", file=sys.stderr)'" % PYTHON,
        opts=["--logs", "all", "-e", "otlp-json:%s" % out])
    got = {r.body: (r.scope.rpartition("/")[2], bool(r.span_id)) for r in logs.load(out)}
    assert got == {"from-the-shell": ("stdout", True), "from-python": ("stdout", True), "to-error": ("stderr", True)}, got


def case_log_files(where):
    """A log file that the configuration names: the other half of the output program."""
    out, config = where / "out.jsonl", where / "c.yaml"
    config.write_text('file_format: "1.0"\n' + PROVIDERS.replace("@OUT@", str(out)) + 'wftrace: { logs: { files: [ "*/app.log" ] } }\n')
    run(where, PYTHON, "-c", "import time; f = open('app.log', 'a', buffering=1); time.sleep(20); f.write('into-the-file\\n'); print('not this')",
        opts=["-c", config])
    assert [r.body for r in logs.load(out)] == ["into-the-file"], logs.load(out)


def case_bridge(where):
    """A rule on a Python function: its calls, in order, with what they were given."""
    out, rules = where / "out.jsonl", where / "rules.yaml"
    (where / "shop.py").write_text("def order(n):\n    return n + 1\n")
    rules.write_text('activities:\n  - { name: "order {n}", at: "python:shop:order", attributes: { n: arg.n, next: ret } }\n')
    run(where, PYTHON, "-c", "import sys; sys.path.insert(0, '.')\nimport shop\nfor i in range(3): shop.order(i)", opts=["-r", rules, "-e", "otlp-json:%s" % out])
    got = [(s.name, s["n"], s["next"]) for s in spans.load(out) if s.name.startswith("order")]
    assert got == [("order %d" % i, i, i + 1) for i in range(3)], got


def case_agent(where):
    """The node agent: what it includes is traced from its start, the rest is let go."""
    out, config, log = where / "out.jsonl", where / "c.yaml", where / "agent.log"
    config.write_text('file_format: "1.0"\n' + PROVIDERS.replace("@OUT@", str(out)) + 'wftrace: { targets: { include: [ { name: "sleep*" } ] } }\n')
    with open(log, "w") as said:
        agent = subprocess.Popen([WFTRACE, "agent", "-v", "-c", config], stderr=said)
    try:
        end = time.monotonic() + 200
        while "agent ready" not in log.read_text() and agent.poll() is None and time.monotonic() < end:
            time.sleep(0.2)
        for command in (["sleep", "0.1"], ["true"], ["sleep", "0.2"], [PYTHON, "-c", "print(1)"]):
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(200) == 0, log.read_text()[-1500:]
    finally:
        agent.kill()
    refused(log.read_text())
    got = sorted(s.name for s in spans.load(out))
    assert got == ["sleep", "sleep"], (got, log.read_text()[-1500:])


UNITS = {"wf.target": "[Unit]\nDefaultDependencies=no\nWants=good.timer bad.timer plain.service\n"}
for name, words in (("good", "exit 0"), ("bad", "exit 3"), ("plain", "exit 0")):
    UNITS[name + ".timer"] = "[Unit]\nDefaultDependencies=no\n[Timer]\nOnActiveSec=1s\nAccuracySec=100ms\n"
    UNITS[name + ".service"] = ("[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\n"
                                "ExecStart=/bin/sh -c 'sleep 0.5; echo %s $$TRIGGER_UNIT $$INVOCATION_ID >>@WHERE@/record; %s'\n" % (name, words))


def case_timers(where):
    """systemd itself, in a process namespace: services that its timers started, with the timer and the id that they were told."""
    if not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        return  # it manages control groups: not those of the machine that runs the tests
    out, record, said = where / "out.jsonl", where / "record", where / "log"
    for name, text in UNITS.items():
        (where / name).write_text(text.replace("@WHERE@", str(where)))
    os.makedirs("/run/systemd", exist_ok=True)
    with open(said, "w") as log:
        p = subprocess.Popen([WFTRACE, "run", "-v", "-e", "otlp-json:%s" % out, "--", "unshare", "-pfmu", "--mount-proc", "--kill-child",
                              "/lib/systemd/systemd", "--system", "--unit=wf.target", "--log-target=kmsg", "--show-status=no"],
                             stdout=log, stderr=log, env={**os.environ, "SYSTEMD_UNIT_PATH": str(where), "container": "wftrace"})
    end = time.monotonic() + 300
    while (not record.exists() or record.read_text().count("\n") < 3) and p.poll() is None and time.monotonic() < end:
        time.sleep(0.2)
    time.sleep(1)
    for child in pathlib.Path("/proc/%d/task/%d/children" % (p.pid, p.pid)).read_text().split():
        os.kill(int(child), signal.SIGKILL)  # unshare lets no other signal through
    p.wait(100)
    refused(said.read_text())
    ran = {line.split()[0]: line.split()[1:] for line in record.read_text().splitlines()}
    assert ran.keys() == {"good", "bad", "plain"} and len(ran["plain"]) == 1, ran
    jobs = {s.name: s for s in spans.load(out) if s["systemd.timer"]}
    assert jobs.keys() == {"good.service", "bad.service"}, (jobs, said.read_text()[-1500:])
    for name in ("good", "bad"):
        s = jobs[name + ".service"]
        assert [s["systemd.timer"], s["systemd.invocation_id"]] == ran[name] and s["systemd.unit"] == s.name, (s.attrs, ran)
        assert s["wftrace.activity.type"] == "workflow" and s["error.type"] == (None if name == "good" else "3"), s.attrs


CASES = {k[5:]: v for k, v in list(globals().items()) if k.startswith("case_")}


def main():
    failed = 0
    for name in sys.argv[1:] or CASES:
        start, why = time.monotonic(), ""
        with tempfile.TemporaryDirectory() as where:
            try:
                CASES[name](pathlib.Path(where))
            except (AssertionError, OSError, ValueError, subprocess.SubprocessError) as e:
                why = "%s: %s" % (type(e).__name__, str(e)[:3000])
        failed += bool(why)
        print("%-7s %-20s %s" % ("FAILED" if why else "ok", name, why or "%.1f s" % (time.monotonic() - start)), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
