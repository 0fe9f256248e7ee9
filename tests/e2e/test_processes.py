"""S6: trees of processes under `wftrace run`: make, pipelines, subshells, thousands of short ones."""
import collections
import subprocess

from support import spans, tracer
from support.harness import test

MAKEFILE = """all: a b c d e f g h
a b c d e f g h:
\t@sh -c 'sleep 0.0$$(( $$$$ % 5 )); echo $@ | tr a-z A-Z > $@.out; exit 0'
\t@test $@ != f || exit 0
bad:
\t@sh -c 'exit 5'
"""


def _both(case, argv, name="trace", cwd=None):
    """The same command bare and traced. Returns (bare, traced, spans)."""
    bare = subprocess.run(argv, capture_output=True, text=True, cwd=cwd)
    out = case.dir / f"{name}.jsonl"
    traced = tracer.once("run", "--privacy", "off", "--export", f"otlp-json:{out}", "--", *argv, timeout=120, cwd=cwd)
    return bare, traced, spans.load(out)


def _same(bare, traced):
    assert traced.returncode == bare.returncode, f"status {traced.returncode}, bare {bare.returncode}: {traced.stderr[-500:]}"
    assert traced.stdout == bare.stdout, f"output differs: {traced.stdout[:300]!r} / {bare.stdout[:300]!r}"
    assert traced.stderr == bare.stderr or bare.stderr in traced.stderr, traced.stderr[:500]


def _one_tree(found):
    """All process spans are in one trace, one root, no parent missing."""
    procs_ = [s for s in found if s["process.pid"] is not None]
    roots = [s for s in procs_ if not s.parent_id]
    orphans = [s for s in procs_ if s.parent_id and s.parent_id not in found.by_id]
    assert len(roots) == 1 and not orphans, f"roots {roots[:4]} orphans {orphans[:4]}"
    assert len({s.trace_id for s in procs_}) == 1, "more than one trace"
    return procs_


def _names(found):
    return collections.Counter(s["process.executable.name"] for s in found if s["process.executable.name"])


@test("process/make-j4", limit=60)
def make_j4(case):
    """make -j4: every command of every recipe, in one tree, the failing target with its code"""
    (case.dir / "Makefile").write_text(MAKEFILE)
    bare, traced, found = _both(case, ["make", "-j4", "all"], cwd=case.dir)
    _same(bare, traced)
    _one_tree(found)
    n = _names(found)
    assert n["make"] == 1 and n["tr"] == 8 and n["sleep"] == 8, n
    trs = [s for s in found if s["process.executable.name"] == "tr"]
    assert all(found.parent(s)["process.executable.name"] in ("sh", "dash") for s in trs), [found.parent(s) for s in trs]
    bare, traced, found = _both(case, ["make", "bad"], name="bad", cwd=case.dir)
    assert traced.returncode == bare.returncode == 2
    codes = {s["process.executable.name"]: s["process.exit.code"] for s in found}
    assert codes["make"] == 2 and 5 in codes.values(), codes


@test("process/pipeline", limit=40)
def pipeline(case):
    """a pipeline of processes: all there, under the shell, exit codes and a SIGPIPE"""
    script = "yes | head -n 3 | sort -u | wc -l; (exit 4); ( /bin/echo in; exit 6 ); /bin/false; kill -USR1 $$"
    bare, traced, found = _both(case, ["bash", "-c", script])
    assert traced.stdout == bare.stdout
    assert traced.returncode == 128 + 10, traced.returncode  # a signal's status, as a shell says it
    _one_tree(found)
    n = _names(found)
    for name in ("yes", "head", "sort", "wc", "echo", "false", "bash"):
        assert n[name] >= 1, (name, n)
    by = {s["process.executable.name"]: s for s in found if s["process.executable.name"]}
    assert by["false"]["process.exit.code"] == 1 and by["false"].status == 2
    assert by["wc"]["process.exit.code"] == 0 and by["wc"].status != 2
    for name in ("yes", "head", "sort", "wc", "false"):
        assert "bash" in [a["process.executable.name"] for a in found.ancestors(by[name])], (name, by[name])
    # a subshell that only forks and fails tells of itself
    codes = [s["process.exit.code"] for s in found]
    assert 4 in codes and 6 in codes, codes


@test("process/signals", limit=40)
def signals(case):
    """ends by signal are told by number or name, and are errors"""
    script = "for s in TERM KILL SEGV; do sh -c \"kill -$s \\$\\$\"; done; exit 0"
    bare, traced, found = _both(case, ["bash", "-c", script])
    assert traced.returncode == bare.returncode == 0
    killed = [s for s in found if s.status == 2 and s["process.executable.name"] in ("sh", "dash")]
    said = " ".join(str({k: v for k, v in s.attrs.items() if "signal" in k or k == "process.exit.code" or k == "error.type"}) + s.message
                    for s in killed)
    assert len(killed) == 3, killed
    for number, name in ((15, "SIGTERM"), (9, "SIGKILL"), (11, "SIGSEGV")):
        assert name in said or f": {number}" in said or str(128 + number) in said, f"{name} not told: {said}"


@test("process/5000-short", limit=120)
def many(case):
    """5,000 short processes: none lost, none orphaned, the right codes, the bare output"""
    script = "for i in $(seq 1250); do /bin/true; /bin/false; sh -c 'exit 3'; env true >/dev/null & done; wait; echo end"
    bare, traced, found = _both(case, ["bash", "-c", script])
    _same(bare, traced)
    all_ = _one_tree(found)
    n = _names(found)
    codes = collections.Counter(s["process.exit.code"] for s in all_)
    case.note(f"{len(all_)} process spans, {dict(n)}, codes {dict(codes)}")
    assert n["true"] == 2500 and n["false"] == 1250, n  # env becomes true
    assert codes[1] == 1250 and codes[3] == 1250, codes


@test("process/clone-and-exec-chain", limit=30)
def chain(case):
    """exec in exec keeps one process; a double fork keeps its ancestry"""
    script = "(setsid sh -c 'sleep 0.2; /bin/echo late' &) ; exec sh -c 'exec sleep 0.5'"
    bare, traced, found = _both(case, ["bash", "-c", script])
    assert traced.returncode == bare.returncode
    all_ = _one_tree(found)
    late = [s for s in all_ if s["process.executable.name"] == "echo"]
    assert len(late) == 1, [s["process.executable.name"] for s in all_]
