"""S5: activities of C, C++, Rust and USDT programs by rules: the exact tree with attributes and errors."""
import subprocess

from support import paths, spans, tracer
from support.harness import test

from targets import build


def traced(case, binary, rules, *args):
    """Runs binary under its rules. Returns (CompletedProcess, Spans, forest of activity trees as text)."""
    text = (paths.TARGETS / "rules" / rules).read_text().replace("BINARY", str(binary))
    file = case.dir / rules
    file.write_text(text)
    out = case.dir / "trace.jsonl"
    p = tracer.once("run", "--privacy", "off", "-r", file, "--export", f"otlp-json:{out}", "--", binary, *args)
    assert p.returncode == 0, f"status {p.returncode}: {p.stderr[-1500:]}"
    found = spans.load(out)
    return p, found, forest(found)


def forest(found, shown=("number", "customer", "cents", "result", "item", "count", "length", "errno", "depth", "which", "items",
                         "total", "quantity", "sum", "discount", "account", "amount", "name", "value")):
    """Activities (not processes) as indented lines in order of start: NAME attr=value… [ERROR]."""
    acts = {s.span_id for s in found if s["process.executable.name"] is None}
    lines = []

    def show(span, depth):
        attrs = "".join(f" {k}={span[k]}" for k in shown if span[k] is not None)
        lines.append("  " * depth + span.name + attrs + (" ERROR" if span.status == 2 else ""))
        for child in sorted(found.children(span), key=lambda s: s.start):
            show(child, depth + 1)

    for root in sorted((s for s in found if s.span_id in acts and s.parent_id not in acts), key=lambda s: s.start):
        show(root, 0)
    return lines


def same(got, want, sort_from=None):
    """Compares forests; trees from line sort_from on ran on threads and may come in any order."""
    want = want.strip("\n").split("\n")
    if sort_from is not None:
        got, want = got[:sort_from] + _sorted_trees(got[sort_from:]), want[:sort_from] + _sorted_trees(want[sort_from:])
    assert got == want, "tree differs\n--- want\n" + "\n".join(want) + "\n--- got\n" + "\n".join(got)


def _sorted_trees(lines):
    trees = []
    for line in lines:
        if line.startswith(" ") and trees:
            trees[-1].append(line)
        else:
            trees.append([line])
    return [line for tree in sorted(trees) for line in tree]


WANT_C = """
order 7 number=7 customer=Ada cents=1999 result=10
  check_stock item=lamp count=0 length=4
  check_stock item=chair count=1 length=6
  charge cents=1999
order 8 number=8 customer=Bob cents=-1 result=-1 ERROR
  check_stock item=lamp count=0 length=4
  charge cents=-1 errno=34 ERROR
walk result=5 depth=4
  walk result=4 depth=3
    walk result=3 depth=2
      walk result=2 depth=1
        walk result=1 depth=0
thread job which=0
  order 100 number=100 customer=thread cents=5 result=4
    check_stock item=lamp count=0 length=4
    charge cents=5
thread job which=1
  order 101 number=101 customer=thread cents=5 result=4
    check_stock item=lamp count=0 length=4
    charge cents=5
thread job which=2
  order 102 number=102 customer=thread cents=5 result=4
    check_stock item=lamp count=0 length=4
    charge cents=5
"""


@test("native/c", limit=40)
def native_c(case):
    """nested, recursive, on threads, failing with errno: the exact tree of native_c"""
    p, found, tree = traced(case, build("native_c.c", "-O2", "-g", "-fno-ipa-cp", "-pthread"), "native_c.yaml")
    assert p.stdout == "done\n", p.stdout
    tree = [t.replace(" errno=0", "") for t in tree]
    same(tree, WANT_C, sort_from=12)
    own = [s for s in found if s["process.executable.name"] == "native_c"]
    tops = [s for s in found if s.name.startswith("order 7")]
    assert own and found.parent(tops[0]) is own[0], "activities are not under their process"


WANT_CPP = """
checkout items=3 total=550
  add cents=100 quantity=1 sum=100
  add cents=100 quantity=2 sum=300
  add cents=100 quantity=3 sum=600
  total total=550 discount=50
    add cents=0 quantity=0 sum=600
  pay cents=550
    total total=600 discount=0
      add cents=0 quantity=0 sum=600
pay cents=1000000 ERROR
  total total=600 discount=0
    add cents=0 quantity=0 sum=600
"""


@test("native/cpp", limit=40)
def native_cpp(case):
    """methods by demangled name; an exception that leaves an activity ends it as an error, and is still caught"""
    binary = build("native_cpp.cpp", "-O2", "-g", "-fno-ipa-cp", "-fno-optimize-sibling-calls", compiler="g++")
    p, _, tree = traced(case, binary, "native_cpp.yaml")
    assert p.stdout == "done\n", p.stdout
    same(tree, WANT_CPP)


WANT_RUST = """
settle result=10 account=1 amount=10
  parse result=3 depth=2
    parse result=2 depth=1
      parse result=1 depth=0
  apply result=10 amount=10
settle result=-22 account=2 amount=500 ERROR
  parse result=3 depth=2
    parse result=2 depth=1
      parse result=1 depth=0
  apply result=-22 amount=500 ERROR
settle result=30 account=3 amount=30
  parse result=3 depth=2
    parse result=2 depth=1
      parse result=1 depth=0
  apply result=30 amount=30
"""


@test("native/rust", limit=60)
def native_rust(case):
    """exported and path-named functions of a Rust program, one of them on a thread"""
    p, _, tree = traced(case, build("native_rust.rs", "-O", "-g", compiler="rustc"), "native_rust.yaml")
    assert p.stdout == "done\n", p.stdout
    same(tree, WANT_RUST)


@test("native/usdt-semaphores", limit=40)
def usdt(case):
    """semaphores are raised while traced and lowered afterwards; start and end make one activity"""
    binary = build("native_usdt.c", "-O2")
    p, found, tree = traced(case, binary, "native_usdt.yaml", 4)
    assert p.stdout == "done 4 raised 4\n", p.stdout
    want = [line for i in range(4) for line in (f"job {'odd' if i % 2 else 'even'} number={i} name={'odd' if i % 2 else 'even'}",
                                                f"  tick value={i * 10}")]
    same(tree, "\n".join(want))
    jobs = [s for s in found if s.name.startswith("job")]
    assert all(s.end - s.start >= 500_000 for s in jobs), [s.end - s.start for s in jobs]
    bare = subprocess.run([binary, "2"], capture_output=True, text=True)
    assert bare.stdout == "done 2 raised 0\n", bare.stdout


@test("native/exec-rule", limit=30)
def exec_rule(case):
    """an exec: rule names the process activity and its error condition"""
    rules = case.dir / "exec.yaml"
    rules.write_text('activities:\n  - name: "backup"\n    type: task\n    at: "exec:*/sleep"\n    error: exit != 0\n')
    out = case.dir / "trace.jsonl"
    p = tracer.once("run", "-r", rules, "--export", f"otlp-json:{out}", "--", "sh", "-c", "sleep 0.05; sleep nonsense; exit 0")
    assert p.returncode == 0, p.stderr
    found = spans.load(out).where(name="backup")
    assert sorted(s.status == 2 for s in found) == [False, True], found


@test("native/first-instant", limit=60)
def first_instant(case):
    """a library's function that the program calls as its first act is seen: the probe sits before the command is let go"""
    source = case.dir / "first.c"
    source.write_text("const char *zlibVersion(void);\nint main(void) { return zlibVersion()[0] == 'x'; }\n")
    binary = case.dir / "first"
    subprocess.run(["cc", "-O1", "-o", binary, source, "-lz"], check=True)
    rules = case.dir / "first.yaml"
    rules.write_text('activities:\n  - name: version\n    type: task\n    at: "native:libz.so.*:zlibVersion"\n')
    for n in range(3):
        out = case.dir / f"{n}.jsonl"
        p = tracer.once("run", "-r", rules, "--export", f"otlp-json:{out}", "--", binary)
        assert p.returncode == 0, f"status {p.returncode}: {p.stderr[-800:]}"
        assert [s.name for s in spans.load(out)].count("version") == 1, [s.name for s in spans.load(out)]
