#!/usr/bin/env python3
"""Replays every capture of this folder and compares the spans with NAME.golden, byte for byte. No privileges needed.

A capture NAME.wfcap is made with `wftrace run --capture`; `run.py --update` writes its golden file anew (read the
difference before you keep it). A golden line is one span of otlp-json with its resource, sorted by start and id, without what
belongs to this machine (host.*, the version)."""
import glob, json, os, subprocess, sys

HERE = os.path.dirname(os.path.abspath(__file__))
WFTRACE = os.environ.get("WFTRACE", os.path.join(HERE, "../../build/wftrace"))


def strip(value):
    if isinstance(value, dict):
        return {k: strip(v) for k, v in value.items() if not k.startswith("host.") and not k.startswith("telemetry.")}
    if isinstance(value, list):
        return [strip(v) for v in value if not (isinstance(v, dict) and str(v.get("key", "")).startswith(("host.", "telemetry.")))]
    return value


def replay(file, *opts):
    """(sorted golden lines, exit status, standard error)"""
    p = subprocess.run([WFTRACE, "replay", "-e", "otlp-json:-", *opts, file], capture_output=True, text=True, timeout=60)
    found = []
    for line in p.stdout.splitlines():
        for r in json.loads(line).get("resourceSpans", []):
            for scope in r.get("scopeSpans", []):
                for s in scope.get("spans", []):
                    found.append((int(s["startTimeUnixNano"]), s["spanId"], json.dumps(strip({**s, "resource": r.get("resource")}), sort_keys=True)))
    return [line for _, _, line in sorted(found)], p.returncode, p.stderr


def first_difference(want, got):
    for n, (a, b) in enumerate(zip(want, got)):
        if a != b:
            return f"span {n}:\n    - {a}\n    + {b}"
    return f"{len(want)} spans wanted, {len(got)} made"


def golden(file, update):
    path = file[:-6] + ".golden"
    got, status, err = replay(file)
    if update:
        open(path, "w").write("".join(line + "\n" for line in got))
    want = open(path).read().splitlines() if os.path.exists(path) else []
    if status:
        return f"exit {status}: {err.strip()}"
    if not got:
        return "no spans"
    return None if want == got else first_difference(want, got)


def cut(file):
    """Cut at many places: never a crash, never more spans than the whole has, and it is said."""
    data, whole = open(file, "rb").read(), len(replay(file)[0])
    name = f"/tmp/wftrace-cut.{os.getpid()}.wfcap"
    try:
        for part in range(1, 16):
            open(name, "wb").write(data[:len(data) * part // 16])
            got, status, err = replay(name)
            if status not in (0, 1) or ("cut short" not in err and "damaged" not in err and "not a wftrace" not in err):
                return f"cut at {part}/16: exit {status}: {err.strip()[-200:]}"
            if len(got) > whole:
                return f"cut at {part}/16: {len(got)} spans of {whole}"
    finally:
        os.unlink(name)
    return None


def main():
    passed = failed = 0
    for file in sorted(glob.glob(HERE + "/*.wfcap")):
        for what, problem in (("golden", golden(file, "--update" in sys.argv)), ("cut", cut(file))):
            if problem:
                print(f"FAILED {os.path.basename(file)} {what}: {problem}")
            passed, failed = passed + (not problem), failed + bool(problem)
    if not passed + failed:
        print("FAILED no captures in tests/replay")
        failed = 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
