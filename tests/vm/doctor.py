#!/usr/bin/env python3
"""doctor.py: in a guest (or here): what `wftrace doctor` says of this kernel is what docs/kernels.md says, and what it
says works does: a command traced under it gives its spans. One line a case, as live.py; status 1 when any failed."""
import json, os, subprocess, sys, tempfile

WFTRACE = os.environ.get("WFTRACE", "build/wftrace")
# from this kernel on: form of the socket hook, of user functions, attach cookies
EXPECTED = (((5, 10), "fentry", "perf event", "no"), ((5, 15), "fentry", "perf event", "yes"), ((6, 3), "tp_btf", "perf event", "yes"),
            ((6, 6), "tp_btf", "uprobe_multi", "yes"), ((7, 0), "tp_btf chain", "uprobe_multi", "yes"))


def case(name, why):
    print("%-8s %-24s %s" % ("FAILED" if why else "ok", name, why), flush=True)
    return bool(why)


def doctor():
    release = tuple(int(x) for x in os.uname().release.split(".")[:2])
    p = subprocess.run([WFTRACE, "doctor", "--json"], capture_output=True, text=True)
    if p.returncode:
        return "status %d: %s" % (p.returncode, p.stdout + p.stderr)
    rows = {r["what"]: r for r in json.loads(p.stdout)["rows"]}
    _, sockets, functions, cookies = [e for e in EXPECTED if e[0] <= release][-1]
    for what, want in (("socket data", sockets), ("user functions", functions), ("attach cookies", cookies), ("process exec", sockets if "chain" in sockets else "tp_btf")):
        if rows[what]["how"] != want:
            return "%s: %s, not %s" % (what, rows[what]["how"], want)
    missing = [r["what"] for r in rows.values() if not r["ok"]]
    return "missing: %s" % ", ".join(missing) if missing else ""


def traces():
    out = tempfile.mktemp(suffix=".jsonl")
    p = subprocess.run([WFTRACE, "run", "-e", "otlp-json:" + out, "--", "sh", "-c", "/bin/true; /bin/sh -c 'exit 3'"],
                       capture_output=True, text=True)
    names = []
    for line in open(out) if os.path.exists(out) else ():
        for scope in json.loads(line).get("resourceSpans", []):
            names += [s["name"] for x in scope["scopeSpans"] for s in x["spans"]]
    ok = p.returncode == 3 and sorted(names) == ["exit", "sh", "true"]  # the pack for shells names a step by its command
    return "" if ok else "status %d, spans %s: %s" % (p.returncode, names, p.stderr[-400:])


sys.exit(1 if sum([case("doctor", doctor()), case("run", traces())]) else 0)
