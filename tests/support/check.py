#!/usr/bin/env python3
"""check.py [--vm SUITE]… [-k TEXT]: builds, then runs every test suite of the tree: one line each, their sum alone at the end.

A suite is a command. It is counted by what it says: cmocka's closing lines, «N passed, N failed[, N skipped]», or live.py's
line a case. One that ends badly without counting a failure counts as one. Skips are printed with their reason. Suites that
need root go through sudo when check.py was started from an account. Logs: build/logs.
"""
import argparse, glob, os, re, signal, subprocess, sys, time

PLAIN = re.compile(r"^(?:\w+: )?(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*$", re.M)
CMOCKA = re.compile(r"^\[  (PASSED|FAILED|SKIPPED)  \] (\d+) test", re.M)
LIVE = re.compile(r"^(ok|FAILED|skip)  +\S+", re.M)
REASON = re.compile(r"(skip\b|\[  SKIPPED|.*\bskipped: )")


def count(text, status):
    """(passed, failed, skipped) of one suite's output and exit status."""
    for pattern, words in ((PLAIN, None), (CMOCKA, ("PASSED", "FAILED", "SKIPPED")), (LIVE, ("ok", "FAILED", "skip"))):
        found = pattern.findall(text)
        if not found:
            continue
        if words is None:
            p, f, s = (int(x or 0) for x in found[-1])
        elif pattern is CMOCKA:
            p, f, s = (sum(int(n) for w, n in found if w == word) for word in words)
        else:
            p, f, s = (found.count(word) for word in words)
        return p, f or int(status != 0), s
    return (0, 1, 0) if status else (1, 0, 0)


def suites(build, vm, arm64):
    """(name, command, seconds allowed, needs root) in the order they run."""
    for test in sorted(glob.glob("tests/unit/test_*.c")):
        name = os.path.basename(test)[:-2]
        yield "unit/" + name[5:], ["%s/tests/unit/%s" % (build, name)], 300, False
    yield "lint", ["make", "-s", "lint"], 120, False
    yield "fuzz-corpora", ["make", "-s", "fuzz-replay"], 600, False
    yield "replay", ["make", "-s", "check-replay"], 300, False
    for name, target in ("san/unit", "san-unit"), ("san/replay", "san-replay"), ("san/threads", "tsan"):  # these compile for themselves
        yield name, ["make", "-s", "-j%d" % os.cpu_count(), target], 1200, False
    yield "bpf", ["make", "-s", "check-root"], 300, True
    yield "bridge", ["python3", "tests/inproc/run.py"], 600, True
    yield "e2e", ["python3", "tests/e2e/run.py", "--again", "1"], 3000, True
    yield "deploy", ["python3", "tests/deploy/run.py"], 900, True
    for suite in vm:
        yield "vm/" + suite, ["make", "-s", "check-vm", "VM_KERNELS=" + suite], 900, False
    for suite in arm64:
        yield "arm64/" + suite, ["make", "-s", "check-arm64", "ARM64_SUITES=" + suite], 900, False


def command_line(command, limit, root):
    """The command with its time limit; `timeout` ends its whole group, or under sudo what it started."""
    if not root or os.geteuid() == 0:
        return ["timeout", "-k", "20", str(limit), *command]
    kept = ["%s=%s" % (k, v) for k, v in os.environ.items() if k in ("PATH", "B") or k.startswith(("PIP_", "SSL_CERT", "WFTRACE", "GO"))]
    return ["sudo", "env", *kept, "timeout", "--foreground", "-k", "20", str(limit), *command]


def execute(argv, log):
    """Exit status of argv, its output in the file `log`. An interrupt ends it too."""
    with open(log, "w") as out:
        try:
            p = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        except OSError as e:
            out.write("%s\n" % e)
            return 127
        try:
            status = p.wait()
        except BaseException:
            p.terminate()
            p.wait()
            raise
        if status == 124:
            out.write("\ntimed out\n")
        return status


def run(name, argv, log):
    start = time.time()
    status = execute(argv, log)
    text = open(log, errors="replace").read()
    p, f, s = count(text, status)
    print("%-28s %4d passed %3d failed %3d skipped %7.1f s" % (name, p, f, s, time.time() - start), flush=True)
    shown = text.splitlines()[-60:] if f else [line for line in text.splitlines() if s and REASON.match(line)]
    print("".join("    %s%s\n" % ("| " if f else "", line) for line in shown), end="", flush=True)
    return p, f, s


def build_all(build, log):
    """Everything that is compiled, so that no suite compiles as root. Prints and returns a failure."""
    start = time.time()
    status = execute(["make", "-s", "-j%d" % os.cpu_count(), "B=" + build, "check-built"], log)
    print("%-28s %s %38.1f s" % ("build", "ok" if not status else "FAILED", time.time() - start), flush=True)
    if status:
        print("".join("    | %s\n" % line for line in open(log, errors="replace").read().splitlines()[-60:]), end="")
    return status


def prepare(build):
    """Starts what end-to-end tests need and what takes minutes the first time, outside their time limits: Collector, environments."""
    names = [os.path.basename(r)[len("requirements-"):-len(".txt")] for r in sorted(glob.glob("tests/e2e/requirements-*.txt"))]
    venvs = "import sys; sys.path.insert(0, 'tests'); from support.venv import venv; [venv(n) for n in sys.argv[1:]]"
    commands = {"collector": ["nice", "tests/support/collector.sh"],
                "victoriametrics": ["tests/support/victoriametrics.sh"],
                "jaeger": ["nice", "tests/support/jaeger.sh"], "venvs": ["python3", "-c", venvs, *names],
                "python314": ["nice", "tests/inproc/python314.sh"]}
    return [subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open("%s/logs/%s.log" % (build, name), "w"))
            for name, argv in commands.items()]


def run_all(o):
    total = [0, 0, 0]
    prepared = prepare(o.build)
    for name, command, limit, root in suites(o.build, o.vm, o.arm64):
        if o.k in name:
            if name in ("e2e", "bridge"):
                [p.wait() for p in prepared]
            result = run(name, command_line(command, limit, root), "%s/logs/%s.log" % (o.build, name.replace("/", "-")))
            total = [x + y for x, y in zip(total, result)]
    [p.wait() for p in prepared]
    return total


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--build", default="build", help="the build folder (build)")
    a.add_argument("--vm", action="append", default=[], metavar="SUITE", help="also the live tests under this Debian suite's kernel")
    a.add_argument("--arm64", action="append", default=[], metavar="SUITE", help="cross-compile for arm64; live tests in such a guest")
    a.add_argument("-k", default="", metavar="TEXT", help="only suites whose name contains this")
    o = a.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.makedirs(o.build + "/logs", exist_ok=True)
    if os.geteuid() != 0 and subprocess.run(["sudo", "-v"]).returncode:
        print("check: live tests need root, or sudo", file=sys.stderr)
        return 3
    total = [0, 1, 0] if build_all(o.build, o.build + "/logs/build.log") else run_all(o)
    if os.geteuid() != 0:
        subprocess.run(["sudo", "chown", "-R", "%d:%d" % (os.getuid(), os.getgid()), o.build])
    print("%d passed, %d failed, %d skipped" % tuple(total), flush=True)
    return 1 if total[1] or not total[0] else 0


if __name__ == "__main__":
    sys.exit(main())
