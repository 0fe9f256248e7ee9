#!/usr/bin/env python3
"""check.py [--vm SUITE]… : every test suite of the tree, one line each, one sum at the end.

A suite is a command. It is counted by its own closing line: cmocka's, or «N passed, N failed[, N skipped]». A suite that
ends badly without such a line counts as one failure. Skips are printed with their reason.
"""
import argparse, glob, os, re, subprocess, sys, time

PLAIN = re.compile(r"^(?:\w+: )?(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*$", re.M)
CMOCKA = re.compile(r"^\[  (PASSED|FAILED|SKIPPED)  \] (\d+) test", re.M)


def count(text, status):
    """(passed, failed, skipped) of one suite's output."""
    plain = PLAIN.findall(text)
    if plain:
        p, f, s = (int(x or 0) for x in plain[-1])
        return p, f if f or not status else 1, s
    found = CMOCKA.findall(text)
    if found:
        n = {k: sum(int(v) for w, v in found if w == k) for k in ("PASSED", "FAILED", "SKIPPED")}
        return n["PASSED"], n["FAILED"] if n["FAILED"] or not status else 1, n["SKIPPED"]
    return (1, 0, 0) if not status else (0, 1, 0)


def suites(build, vm):
    for test in sorted(glob.glob("tests/unit/test_*.c")):
        name = os.path.basename(test)[:-2]
        yield "unit/" + name[5:], ["%s/tests/unit/%s" % (build, name)], 300
    for name, command, limit in (
        ("lint", ["make", "-s", "lint"], 300),
        ("fuzz-corpora", ["make", "-s", "fuzz-replay"], 600),
        ("replay", ["make", "-s", "check-replay"], 300),
        ("bpf", ["make", "-s", "check-root"], 900),
        ("e2e", ["python3", "tests/e2e/run.py", "--again", "1"], 1800),
    ):
        yield name, command, limit
    for suite in vm:
        yield "vm/" + suite, ["make", "-s", "check-vm", "VM=" + suite], 1200


def run(name, command, limit, log):
    start = time.time()
    with open(log, "w") as out:
        try:
            status = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=limit).returncode
        except subprocess.TimeoutExpired:
            out.write("\ntimed out after %d s\n" % limit)
            status = 124
        except OSError as e:
            out.write("%s\n" % e)
            status = 127
    text = open(log, errors="replace").read()
    p, f, s = count(text, status)
    print("%-28s %4d passed %3d failed %3d skipped %7.1f s" % (name, p, f, s, time.time() - start), flush=True)
    if f or status:
        print("".join("    | %s\n" % line for line in text.splitlines()[-60:]), end="", flush=True)
    elif s or name == "e2e":
        print("".join("    %s\n" % line for line in text.splitlines() if re.match(r"(skip\b|again\b|\[  SKIPPED)", line)), end="", flush=True)
    return p, f, s


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--vm", action="append", default=[], help="also the live tests under this Debian suite's kernel")
    a.add_argument("-k", default="", help="only suites whose name contains this")
    o = a.parse_args()
    build = os.environ.get("B", "build")
    os.makedirs(build + "/logs", exist_ok=True)
    total = [0, 0, 0]
    for name, command, limit in suites(build, o.vm):
        if o.k in name:
            result = run(name, command, limit, "%s/logs/%s.log" % (build, name.replace("/", "-")))
            total = [x + y for x, y in zip(total, result)]
    print("%d passed, %d failed, %d skipped" % tuple(total))
    return 1 if total[1] or not total[0] else 0


if __name__ == "__main__":
    sys.exit(main())
