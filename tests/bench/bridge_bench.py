#!/usr/bin/env python3
"""bridge_bench.py [--quick]: what a call costs in a Python process, per CPython that is here, in nanoseconds of CPU time (the machine may be busy).

    bare      nothing        silent    bridge in, no tracer        events    events made and thrown away (recorder.c)
    traced    under `wftrace run`, when this may load BPF programs: two events through a probe and the ring

Rows: a function that is not watched; a watched one; one whose rule's `when` is never met, by a value and by the caller; a watched method with two
attributes; a watched generator's step; raising through ten frames; fib, where nothing is watched. The smallest of five rounds."""
import os, subprocess, sys, tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests/inproc"))
import pythons  # noqa: E402

BUILD = os.path.join(TOP, os.environ.get("B", "build"))
BRIDGE = os.path.join(BUILD, "inproc/python")
ROWS = ["unwatched", "watched", "left out, value", "left out, caller", "2 attributes", "generator step", "raise, 10 frames", "fib"]
WATCH = """wftrace-bridge 3
watch	1	__main__	watched
watch	2	__main__	Thing.method
attr	0	entry	self.name
attr	1	entry	arg.x
watch	3	__main__	steps
watch	4	__main__	by_value
attr	0	entry	arg.x
when	0	0	==	2
watch	5	__main__	by_caller
attr	0	entry	caller
when	0	0	~	"other:*
"""
RULES = """activities:
  - { name: watched, at: "python:__main__:watched" }
  - { name: method, at: "python:__main__:Thing.method", attributes: { a: self.name, b: arg.x } }
  - { name: steps, at: "python:__main__:steps" }
  - { name: by value, at: "python:__main__:by_value", when: arg.x == 2 }
  - { name: by caller, at: "python:__main__:by_caller", when: 'caller ~ "other:*"' }
"""
PROGRAM = '''
import sys, time
def unwatched(x): return x
def watched(x): return x
def by_value(x): return x
def by_caller(x): return x
class Thing:
    def __init__(self): self.name = "thing"
    def method(self, x): return x
def steps(n):
    for i in range(n): yield i
def deep(n):
    if not n: raise ValueError("x")
    deep(n - 1)
def raises():
    try: deep(9)
    except ValueError: pass
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
def best(f, n):
    least = 1e9
    for _ in range(5):
        s = time.thread_time(); f(n); least = min(least, (time.thread_time() - s) / n)
    return least * 1e9
def loop(f):
    def run(n):
        for _ in range(n): f(1)
    return run
def consume(n):
    for _ in steps(n): pass
N = int(sys.argv[1])
rows = [best(loop(unwatched), N), best(loop(watched), N), best(loop(by_value), N), best(loop(by_caller), N), best(loop(Thing().method), N), best(consume, N), best(loop(lambda _: raises()), N // 10), best(lambda n: fib(18), 8361)]
print("COST", *["%.0f" % r for r in rows])
'''


def measure(argv, env, dir_):
    p = subprocess.run(argv, env=env, cwd=dir_, capture_output=True, text=True, timeout=300)
    for line in p.stdout.splitlines():
        if line.startswith("COST "):
            return line.split()[1:]
    return ["-"] * len(ROWS)


def table(label, python, n):
    with tempfile.TemporaryDirectory(prefix="wf-bench-") as d:
        for name, text in (("watch", WATCH), ("rules.yaml", RULES), ("program.py", PROGRAM)):
            with open(os.path.join(d, name), "w") as f:
                f.write(text)
        os.chmod(d, 0o755)
        base = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "WFTRACE"))}
        base.update(BRIDGE=BRIDGE, RECORDER=os.path.join(BUILD, "tests/inproc/recorder.so"))
        ours = dict(base, WFTRACE_BRIDGE_WATCH=os.path.join(d, "watch"))
        command = [python, "program.py", str(n)]
        columns = {
            "bare": measure(command, base, d),
            "silent": measure(command, dict(ours, PYTHONPATH=BRIDGE), d),
            "events": measure(command, dict(ours, PYTHONPATH=os.path.join(TOP, "tests/inproc/site")), d),
            "traced": measure([os.path.join(BUILD, "wftrace"), "run", "-q", "-r", os.path.join(d, "rules.yaml"), "-e", "otlp-json:/dev/null", "--", *command], base, d),
        }
    print("CPython %-16s" % label + "".join("%10s" % c for c in columns))
    for i, row in enumerate(ROWS):
        print("  %-22s" % row + "".join("%10s" % c[i] for c in columns.values()))


def main():
    n = 20000 if "--quick" in sys.argv else 200000
    for label, python in pythons.find():
        table(label, python, n)
    for label in pythons.missing():
        print("CPython %s is not here%s" % (label, " (tests/inproc/python314.sh brings it)" if label == "3.14" else ""))


if __name__ == "__main__":
    main()
