"""make against what its recipes write down themselves: goals, commands, -j, sub-makes, failures, signals."""
import os
import subprocess

from support import paths, spans, steps
from support.harness import test

MAKEFILE = """S := {step}
all: a b c d sub
\t$(S) all 0.02 0
a b c d:
\t@$(S) $@-1 0.05 0
\t@cd . && $(S) $@-2 0.05 0 | cat
sub:
\t@$(MAKE) --no-print-directory -f $(firstword $(MAKEFILE_LIST)) inner MODE=x
inner:
\t@bash $(S) inner 0.05 0
bad: a
\t@$(S) bad 0 3
killed:
\t@$(S) killed 0 KILL
ignored:
\t-@$(S) ignored 0 4
\t@$(S) after 0 0
"""


def make(case, *args):
    (case.dir / "Makefile").write_text(MAKEFILE.format(step=steps.STEP))
    record, out = case.dir / "record", case.dir / "trace.jsonl"
    record.unlink(missing_ok=True)
    out.unlink(missing_ok=True)
    argv = [paths.WFTRACE, "run", "--export", f"otlp-json:{out}", "--", "make", *args]
    p = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=60, cwd=case.dir,
                       env={**os.environ, "ENGINE_RECORD": str(record)})
    found = spans.load(out)
    return p.returncode, found, steps.compare(case, found, steps.load(record))


def runs(found):
    return sorted(found.where(name="make"), key=lambda s: s.start)


@test("engine/make", limit=120)
def parallel(case):
    """make -j4: every command once, under its make, in one trace; a sub-make is a run of its own below."""
    code, found, keyed = make(case, "-j", "4", "all")
    assert code == 0 and len(keyed) == 10, (code, keyed.keys())
    top, sub = runs(found)
    assert top["make.goals"] == "all" and not top.parent_id and sub["make.goals"] == "inner", (top.attrs, sub.attrs)
    assert top in found.ancestors(sub)
    assert len({s.trace_id for s in found}) == 1
    for run in (top, sub):
        assert run["wftrace.activity.type"] == "workflow" and run.status != 2
    direct = [keyed[k] for k in ("all", "a-1", "b-1", "c-1", "d-1")]
    assert all(found.parent(s) is top and s.name == "step.sh" and s["wftrace.activity.type"] == "task" for s in direct), direct
    assert found.parent(keyed["inner"]) is sub and keyed["inner"]["make.command"] == "step.sh"
    piped = found.parent(keyed["a-2"])
    assert piped.name == "step.sh" and found.parent(piped) is top, piped  # sh -c 'cd . && step.sh …' is called by its program
    beside = {s.name for s in found if s.parent_id == piped.span_id}
    assert beside == {"step.sh", "cat"}, beside


@test("engine/make-targets", limit=120)
def targets(case):
    """A make that is asked to tells its commands which target they are for: sub-makes do too."""
    code, found, keyed = make(case, "-j", "4", "--eval=export WFTRACE_TARGET=$@", "all")
    assert code == 0, code
    for key in ("a-1", "b-1", "c-1", "d-1", "inner"):
        assert keyed[key]["make.target"] == key.split("-")[0], (key, keyed[key].attrs)
    for key in ("a-2", "b-2"):
        assert found.parent(keyed[key])["make.target"] == key[0], (key, found.parent(keyed[key]).attrs)


@test("engine/make-failures", limit=120)
def failures(case):
    """A failing command, a killed one and one whose failure is ignored: make's status and the command's own."""
    for goal, status in (("bad", 2), ("killed", 2), ("ignored", 0)):
        code, found, keyed = make(case, goal)
        (run,) = runs(found)
        assert code == status == run["process.exit.code"], (goal, code, run.attrs)
        assert run["error.type"] == (str(status) if status else None), run.attrs
        assert run["make.goals"] == goal
        assert all(run in found.ancestors(s) for s in keyed.values())
