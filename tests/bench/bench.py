#!/usr/bin/env python3
"""Cost of being traced: bare against traced in one run, same server process, alternating rounds.

bench.py [nginx redis uvicorn beside start idle hits celery celery-solo langgraph langgraph-model langgraph-chat] [--rounds N] [--seconds N] [--json FILE]
celery and langgraph run the same under `opentelemetry-instrument` in the same rounds. CPU per request is the server's own CPU time (schedstat) by the requests served. Medians, in brackets the extremes."""
import argparse
import json
import os
import pathlib
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import cases  # noqa: E402
from support import paths  # noqa: E402


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("cases", nargs="*", default=[], help=" ".join(cases.CASES))
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--seconds", type=float, default=2.0, help="length of one round's load")
    ap.add_argument("--connections", type=int, default=10000, help="of the case idle")
    ap.add_argument("--json", default=paths.BUILD / "bench.json")
    o = ap.parse_args()
    if not paths.WFTRACE.exists():
        sys.exit(f"bench: {paths.WFTRACE} is not built")
    work = pathlib.Path(tempfile.mkdtemp(prefix="wftrace-bench-"))
    work.chmod(0o755)
    figures, failed = {}, 0
    try:
        print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors, {o.rounds} rounds of {o.seconds} s\n")
        for name in o.cases or cases.CASES:
            folder = work / name
            folder.mkdir()
            folder.chmod(0o755)
            try:
                figures[name] = cases.CASES[name](folder, o)
            except Exception as e:  # the other cases still tell something
                figures[name] = {"failed": f"{type(e).__name__}: {e}"}
                failed += 1
            print(name)
            for k, v in figures[name].items():
                print(f"  {k:38} {v}", flush=True)
        pathlib.Path(o.json).write_text(json.dumps(figures, indent=1, default=str))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
