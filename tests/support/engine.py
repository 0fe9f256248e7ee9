"""What the tests of workflow engines share: a program under wftrace that writes down the engine's own record, and the comparison.

The program gets the path of a file in ENGINE_RECORD and writes a list of entries into it (record() below reads it):
    {"key": id by the engine, "name": …, "parent": key or null, "error": type or null, "outcome": …, "seconds": …, "began": …, "ended": …}
(seconds it took; when it began and ended, in seconds since 1970: what the engine says of these.)
A test says which attribute of a span is the key; everything in the record must be there once, under its parent, and nothing else."""
import collections
import json
import os
import statistics
import subprocess

from . import paths, spans, venv


class Run:
    """One run: the spans, the engine's record by key, the process's output."""

    def __init__(self, case, requirements, program, *args, opts=(), env=None, timeout=90, check=True):
        python = venv.venv(requirements) / "bin" / "python"
        record, out = case.dir / "record.json", case.dir / "trace.jsonl"
        for old in (record, out):
            old.unlink(missing_ok=True)
        argv = [paths.WFTRACE, "run", "-v", "--privacy", "off", "--export", f"otlp-json:{out}", *opts, "--", python,
                paths.TARGETS / "engines" / program, *args]
        p = subprocess.run([str(a) for a in argv], capture_output=True, text=True, errors="replace", timeout=timeout,
                           env={**os.environ, "ENGINE_RECORD": str(record), **(env or {})}, cwd=case.dir)
        self.out, self.said, self.status = p.stdout, p.stderr, p.returncode
        assert not check or p.returncode == 0, f"status {p.returncode}: {p.stderr[-2500:]}"
        self.spans = spans.load(out)
        self.record = {e["key"]: e for e in json.loads(record.read_text())} if record.exists() else {}


def by_key(found, attribute, **where):
    """Spans by that attribute; two with the same key are an error."""
    keyed = {}
    for s in found.where(**where):
        key = s[attribute]
        if key is None:
            continue
        assert key not in keyed, f"two spans with {attribute}={key}: {keyed[key]!r} and {s!r}"
        keyed[key] = s
    return keyed


def nearest(found, span, keyed):
    """Key of the nearest ancestor among `keyed`, or None."""
    ids = {s.span_id: key for key, s in keyed.items()}
    return next((ids[a.span_id] for a in found.ancestors(span) if a.span_id in ids), None)


def compare(case, found, keyed, record, seconds=0.005):
    """Every entry of the record once, under its parent, with its error and outcome; durations, begins and ends within `seconds` (told, and
    asserted for the median only: the machine is busy)."""
    missing, invented = record.keys() - keyed.keys(), keyed.keys() - record.keys()
    assert not missing, f"missing: {[record[k] for k in sorted(missing)][:5]}"
    assert not invented, f"invented: {[keyed[k] for k in sorted(invented)][:5]}"
    wrong, apart = [], collections.defaultdict(list)
    for key, entry in record.items():
        span = keyed[key]
        parent = nearest(found, span, keyed)
        if parent != entry.get("parent"):
            wrong.append(f"{entry['name']} is under {parent}, not {entry.get('parent')}")
        assert span.name == entry["name"], f"{key} is called {span.name!r}, not {entry['name']!r}"
        assert span["error.type"] == entry.get("error"), f"{entry['name']}: error {span['error.type']!r}, not {entry.get('error')!r}"
        if entry.get("outcome") is not None:
            assert span["wftrace.decision.outcome"] == entry["outcome"], \
                f"{entry['name']}: {span['wftrace.decision.outcome']!r}, not {entry['outcome']!r}"
        assert (span["wftrace.active_time"] or 0) <= (span.end - span.start) / 1e9 + 1e-6, f"{entry['name']} worked longer than it was there"
        for what, ours in (("seconds", span.end - span.start), ("began", span.start), ("ended", span.end)):
            if entry.get(what) is not None:
                apart[what].append(abs(ours / 1e9 - entry[what]))
    assert not wrong, f"WRONG {len(wrong)}: {wrong[:5]}"
    for what, title in (("seconds", "durations"), ("began", "begins"), ("ended", "ends")):
        if apart[what]:
            middle = statistics.median(apart[what])
            assert middle <= seconds, f"{title} differ by {middle * 1000:.1f} ms (median)"
            case.note(f"{title} differ by {middle * 1000:.2f} ms (median), {max(apart[what]) * 1000:.2f} ms (most)")
    case.note(f"{len(record)} activities of the engine's record: 0 missing, 0 invented, 0 under a wrong parent")
