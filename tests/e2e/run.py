#!/usr/bin/env python3
"""End-to-end runner: `tests/e2e/run.py [-k PATTERN] [-l] [-x]`.

Prints `ok NAME (seconds)`, `FAIL NAME reason` or `skip NAME reason` per test and a summary line; exit 1 on failure.
Every test has a time limit. The folder of a failed test is kept under build/e2e/."""
import argparse
import importlib
import os
import pathlib
import re
import shutil
import signal
import sys
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from support import harness, paths  # noqa: E402

MODULES = ("test_self", *sorted(p.stem for p in pathlib.Path(__file__).parent.glob("test_*.py") if p.stem != "test_self"))


def collect(pattern):
    for module in MODULES:
        if (pathlib.Path(__file__).parent / f"{module}.py").exists():
            importlib.import_module(module)
    return [t for t in harness.TESTS if re.search(pattern, t.name)]


def run_one(test, keep):
    """Runs one test in its own folder. Returns ("ok" | "FAIL" | "skip", text)."""
    work = keep / test.name.replace("/", "_")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    work.chmod(0o755)
    case = harness.Case(test.name, work)
    signal.signal(signal.SIGALRM, harness.on_alarm)
    signal.alarm(test.limit)
    try:
        if test.product and not paths.WFTRACE.exists():
            raise harness.Skip(f"{paths.WFTRACE} is not built")
        test.body(case)
        outcome = ("ok", "")
    except harness.Skip as e:
        outcome = ("skip", str(e))
    except AssertionError as e:
        outcome = ("FAIL", str(e) or traceback.format_exc(limit=-1))
    except Exception as e:  # a broken test is a failed test
        (work / "traceback.txt").write_text(traceback.format_exc())
        outcome = ("FAIL", f"{type(e).__name__}: {e}")
    finally:
        signal.alarm(0)
        case.clean()
    if outcome[0] != "FAIL":
        shutil.rmtree(work, ignore_errors=True)
    return outcome, case.notes


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("-k", default="", metavar="PATTERN", help="only tests whose name matches this regular expression")
    ap.add_argument("-l", action="store_true", help="list the tests")
    ap.add_argument("--again", type=int, default=0, metavar="N", help="run a failed test up to N times more; a pass is then "
                    "counted and told as flaky (a busy machine misses deadlines; a wrong parent is never forgiven)")
    ap.add_argument("-x", action="store_true", help="stop at the first failure")
    args = ap.parse_args()
    tests = collect(args.k)
    if args.l:
        print("\n".join(f"{t.name:34} {(t.body.__doc__ or '').splitlines()[0]}" for t in tests))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    keep = paths.BUILD / "e2e"
    keep.mkdir(parents=True, exist_ok=True)
    count = {"ok": 0, "FAIL": 0, "skip": 0}
    for test in tests:
        began = time.monotonic()
        (state, text), notes = run_one(test, keep)
        for _ in range(args.again):
            if state != "FAIL" or any(re.search(r"WRONG [1-9]", n) for n in notes + [text]):
                break
            print(f"again {test.name} {text}")
            (state, text), notes = run_one(test, keep)
            began = time.monotonic()
        count[state] += 1
        print(f"{state} {test.name}" + (f" ({time.monotonic() - began:.1f} s)" if state == "ok" else f" {text}"))
        for note in notes:
            print("    " + note.replace("\n", "\n    "))
        sys.stdout.flush()
        if args.x and state == "FAIL":
            break
    harness.close_shared()
    print(f"{count['ok']} passed, {count['FAIL']} failed, {count['skip']} skipped")
    return 1 if count["FAIL"] else 0


if __name__ == "__main__":
    os.chdir(paths.ROOT)
    sys.exit(main())
