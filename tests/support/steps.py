"""What step.sh wrote down (tests/targets/engines/step.sh), and the comparison of it with process spans."""
import dataclasses

from . import paths

STEP = paths.TARGETS / "engines" / "step.sh"


@dataclasses.dataclass
class Step:
    key: str
    pid: int
    parent: int
    start: float
    end: float
    code: str


def load(path):
    steps = {}
    for line in path.read_text().splitlines():
        what, key, pid, parent, when, code = line.split()
        if what == "start":
            assert key not in steps, f"{key} ran twice"
            steps[key] = Step(key, int(pid), int(parent), float(when), 0, "")
        else:
            steps[key].end, steps[key].code = float(when), code
    return steps


def compare(case, found, steps):
    """Each step is one span, under the span of the process that started it, with its end; from its first to its last word. Returns
    the spans by key."""
    by_pid = {}
    for s in found:
        if s["process.pid"] is not None:
            assert s["process.pid"] not in by_pid, f"two spans of process {s['process.pid']}"
            by_pid[s["process.pid"]] = s
    keyed, apart = {}, []
    for step in steps.values():
        span = keyed[step.key] = by_pid.get(step.pid)
        assert span, f"step {step.key} has no span"
        above = found.parent(span)
        assert above is None or above["process.pid"] == step.parent, f"{step.key} is under {above!r}, not {step.parent}"
        want = {"0": None, "KILL": "SIGKILL"}.get(step.code, step.code)
        assert span["error.type"] == want, f"{step.key}: error {span['error.type']!r}, not {want!r}"
        assert span["process.exit.code"] == (137 if step.code == "KILL" else int(step.code)), span.attrs
        assert (span.status == 2) == (want is not None), span
        assert span.start / 1e9 <= step.start + 0.001 and span.end / 1e9 >= step.end - 0.001, f"{step.key}: not within its span"
        apart += [step.start - span.start / 1e9, span.end / 1e9 - step.end]
    apart.sort()
    case.note(f"{len(steps)} steps of the record: 0 missing, 0 under a wrong parent; the shell's own start and end beside its first and "
              f"last word: {apart[len(apart) // 2] * 1000:.1f} ms (median), {apart[-1] * 1000:.1f} ms (most)")
    assert apart[len(apart) // 2] <= 0.1, apart
    return keyed
