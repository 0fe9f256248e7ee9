#!/usr/bin/env python3
"""run.py [-k TEXT] [--full]: the Python bridge on every CPython that is here, without a tracer (recorder.c stands in for it).

Ends with «N passed, N failed, N skipped». --full runs more of CPython's own tests (minutes)."""
import argparse, os, shutil, subprocess, sys, tempfile, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
import cases, cpython, events, pythons  # noqa: E402
from pythons import Skip  # noqa: E402

BUILD = os.path.join(TOP, os.environ.get("B", "build"))
BRIDGE = os.path.join(BUILD, "inproc/python")
RECORDER = os.path.join(BUILD, "tests/inproc/recorder.so")
INJECT = os.path.join(BUILD, "tests/inproc/inject")
STEP = cases.STEP
WORK = "wftrace-bridge 2\nwatch\t1\t__main__\twork\nwatch\t2\t__main__\thidden\nwatch\t3\t__main__\tsteps\nwatch\t4\t__main__\tin_child\n"


class Bench:
    """One test's folder: its watch file, its events."""

    def __init__(self, python, watch):
        self.python, self.dir = python, tempfile.TemporaryDirectory(prefix="wf-bridge-")
        os.chmod(self.dir.name, 0o755)
        self.events_file, self.watch = self.path("events"), self.path("watch")
        with open(self.watch, "w") as f:
            f.write(watch)

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def env(self, bridge=True, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "WFTRACE"))}
        env.update(RECORDER=RECORDER, RECORD_TO=self.events_file, BRIDGE=BRIDGE, PYTHONDONTWRITEBYTECODE="1")
        if bridge:
            env.update(PYTHONPATH=os.path.join(HERE, "site"), WFTRACE_BRIDGE_WATCH=self.watch)
        env.update(more)
        return env

    def run(self, *argv, bridge=True, **more):
        p = subprocess.run([self.python, *argv], env=self.env(bridge, **more), cwd=self.dir.name, capture_output=True, text=True, timeout=120)
        assert p.returncode == 0, "%s: exit %d\n%s%s" % (argv[0], p.returncode, p.stdout, p.stderr)
        return p.stdout

    def events(self):
        return events.read(self.events_file)


def program(name):
    return os.path.join(HERE, "programs", name)


def calls(got):
    """watch → one list of event names per activity, in order of START."""
    by_activity = {}
    for e in got:
        if e["kind"] != "NOTE":
            by_activity.setdefault((e["pid"], e["activity"]), []).append(e)
    out = {}
    for es in by_activity.values():
        names = [e["kind"] + (" " + e["attrs"]["error.type"].split(".")[-1] if e["kind"] == "FAIL" else "") for e in es]
        out.setdefault(es[0]["watch"], []).append(names)
    return out


def without_last_resume(names):
    """A generator that is closed or cancelled may or may not be said to run once more before it fails."""
    return names[:-2] + names[-1:] if names[-2:-1] == ["RESUME"] and names[-1].endswith(("GeneratorExit", "CancelledError")) else names


def test_kinds(python):
    """every kind of function: its events, attributes, notes; nothing changed for the program"""
    b = Bench(python, cases.WATCH)
    assert b.run(program("kinds.py")).strip() == "fine"
    got = b.events()
    said = {w: [without_last_resume(n) for n in names] for w, names in calls(got).items()}
    for watch in sorted(set(said) | set(cases.KINDS)):
        assert said.get(watch) == cases.KINDS.get(watch), "watch %d: %s, not %s" % (watch, said.get(watch), cases.KINDS.get(watch))
    for (watch, kind, n), want in cases.ATTRIBUTES.items():
        attrs = [e["attrs"] for e in got if e["watch"] == watch and e["kind"] == kind][n]
        have = {k: attrs.get(k) for k in want}
        assert have == want, "watch %d %s %d: %s, not %s" % (watch, kind, n, have, want)
        assert kind == "FAIL" or set(attrs) == set(want), "watch %d %s: %s" % (watch, kind, attrs)
    where = [e["attrs"]["error.where"] for e in got if e["kind"] == "FAIL" and e["watch"] == 3]
    assert where[0].split("/")[-1] == "kinds.py:13 fails", where
    notes = [e["attrs"][0] for e in got if e["kind"] == "NOTE"]
    for note in cases.NOTES:
        assert any(n.startswith(note) for n in notes), "no note %s in %s" % (note, notes)


def test_import(python):
    """modules: a package, a zip, -m, a pattern of modules"""
    b = Bench(python, "wftrace-bridge 2\nwatch\t1\tpack.inner\tf\nwatch\t2\tin_*\tg\nwatch\t3\t__main__\th\nwatch\t4\tpack.__main__\th\n")
    os.mkdir(b.path("pack"))
    import zipfile

    with zipfile.ZipFile(b.path("lib.zip"), "w") as z:
        z.writestr("in_zip.py", "def g():\n    return 1\n")
    for name, text in (("__init__", ""), ("inner", "def f():\n    return 1\n"),
                       ("__main__", "import sys\nsys.path.insert(0, 'lib.zip')\nimport in_zip\nfrom pack.inner import f\n"
                                    "def h():\n    return f() + in_zip.g()\nassert h() == 2\n")):
        with open(b.path("pack/%s.py" % name), "w") as f:
            f.write(text)
    b.run("-m", "pack")
    got = calls(b.events())
    assert got.get(1) == got.get(2) == [["START", "END"]], got
    assert got.get(3, []) + got.get(4, []) == [["START", "END"]], got
    os.unlink(b.events_file)
    with zipfile.ZipFile(b.path("app.zip"), "w") as z:
        z.writestr("__main__.py", "def h():\n    return 1\nh()\n")
    b.run("app.zip")
    got = calls(b.events())
    assert got.get(3, []) + got.get(4, []) == [["START", "END"]], got


def test_sitecustomize(python):
    """a sitecustomize of the user's own has its turn, and sees itself as the only one"""
    b = Bench(python, WORK)
    with open(b.path("sitecustomize.py"), "w") as f:
        f.write("import sys\nsys.theirs = __file__\n")
    text = "import sys, sitecustomize; print(sys.theirs == sitecustomize.__file__, '_wftrace' in sys.modules, any('inproc/python' in p for p in sys.path))"
    out = b.run("-c", text, PYTHONPATH=BRIDGE + ":" + b.dir.name, bridge=True)
    assert out.split() == ["True", "True", "False"], out


def test_second(python):
    """a sitecustomize in front that gives no turn, but starts what installed packages want to be started (opentelemetry-instrument)"""
    b = Bench(python, WORK)
    with open(b.path("sitecustomize.py"), "w") as f:
        f.write("import importlib.metadata as m\n"
                "found = m.entry_points()\n"
                "for e in found.select(group='opentelemetry_pre_instrument') if hasattr(found, 'select') else found['opentelemetry_pre_instrument']:\n"
                "    e.load()()\n")
    text = "import sys; print('_wftrace' in sys.modules, any('inproc/python' in p for p in sys.path), [type(f).__module__ for f in sys.meta_path][0])"
    out = b.run("-c", text, PYTHONPATH=b.dir.name + ":" + BRIDGE, bridge=True)
    assert out.split() == ["True", "False", "_wftrace"], out
    out = b.run("-c", "import importlib.metadata as m; print([d for d in m.distributions() if d.metadata['Name'] == 'wftrace-bridge'])", PYTHONPATH=BRIDGE)
    assert out.strip() == "[]", "seen where our own sitecustomize comes first: %s" % out


def test_isolated(python):
    """-I and -S, which ignore the environment: by LD_PRELOAD, in time for __main__"""
    b = Bench(python, WORK)
    preload = dict(LD_PRELOAD=os.path.join(BRIDGE, "wftrace_preload.so"))
    text = "import sys\ndef work(n): return n\nwork(1)\nprint([type(f).__module__ for f in sys.meta_path], sys.getprofile())\n"
    with open(b.path("main.py"), "w") as f:
        f.write(text)
    for flags in (["-I"], ["-I", "-S"], ["-E"], ["-s"]):
        out = b.run(*flags, "main.py", bridge=False, WFTRACE_BRIDGE_WATCH=b.watch, **preload)
        assert "_wftrace" in out and out.strip().endswith("None"), out
    p = subprocess.run(["ls", "/"], env=dict(b.env(False), **preload), capture_output=True, text=True)
    assert p.returncode == 0 and not p.stderr, p.stderr


def test_refusals(python):
    """a watch file that is not one, or is not there: the program runs as if nothing were"""
    for text in ("nonsense\n", "wftrace-bridge 2\nwatch\tx\ty\n", ""):
        b = Bench(python, text)
        out = b.run("-c", "import sys; print([type(f).__module__ for f in sys.meta_path], sys.getprofile())")
        assert "_wftrace" not in out and out.strip().endswith("None"), out
    b = Bench(python, WORK)
    b.run("-c", "pass", WFTRACE_BRIDGE_WATCH="/nonexistent")


def test_fork(python):
    """children made by fork say what they do, under ids of their own"""
    b = Bench(python, WORK)
    b.run(program("forks.py"))
    got = [e for e in b.events() if e["kind"] == "START"]
    assert len(got) == 6 and len({e["pid"] for e in got}) == 3, got
    assert len({(e["pid"], e["activity"]) for e in got}) == 6, "an id came twice"


def test_big(python):
    """1 MB of argument: bounded text, nothing kept"""
    b = Bench(python, "wftrace-bridge 2\nwatch\t1\t__main__\tf\n" + "".join("attr\t%d\tentry\targ.x\n" % i for i in range(8)))
    b.run("-c", "def f(x): return 1\nf('ä' * 1000000)\nf(b'x' * 1000000)\nf(10 ** 100000)\nf(object())")
    starts = [e for e in b.events() if e["kind"] == "START"]
    sizes = [(len(e["attrs"]), e["dropped"]) for e in starts]
    assert sizes == [(3, 5), (3, 5), (0, 8), (0, 8)], sizes
    assert len(starts[0]["attrs"][0].encode()) == 512


def test_pickle_by_value(python):
    """a watched function whose code is pickled by value still works where there is no bridge"""
    text = ("import types, pickle, copyreg, marshal\n"
            "def f(x):\n    return x + 1\n"
            "def g(n):\n    for i in range(n): yield i\n"
            "out = [[getattr(h.__code__, a) for a in ARGS] for h in (f, g)]\n"
            "pickle.dumps([[c for c in h.__code__.co_consts] for h in (f, g)])\n"
            "back = pickle.loads(pickle.dumps(f.__code__.co_consts))\n"
            "k = types.FunctionType(f.__code__.replace(co_consts=back), {})\n"
            "assert k(1) == 2 and f(1) == 2\n").replace("ARGS", "('co_name', 'co_argcount')")
    Bench(python, "wftrace-bridge 2\nwatch\t1\t__main__\t*\n").run("-c", text)


def inject(b, pid, *more):
    p = subprocess.run([INJECT, str(pid), BRIDGE, b.watch, *more], capture_output=True, text=True, timeout=60)
    return p.returncode, p.stdout.strip()


def grows(b, seconds=3.0):
    size = lambda: os.path.getsize(b.events_file) if os.path.exists(b.events_file) else 0
    first, until = size(), time.time() + seconds
    while time.time() < until:
        time.sleep(0.05)
        if size() > first:
            return True
    return False


def says(b, kinds, seconds=5.0):
    until = time.time() + seconds
    while time.time() < until:
        if kinds <= {e["kind"] for e in b.events()}:
            return True
        time.sleep(0.05)
    return False


def joined(python, mode, kinds=frozenset(("START", "END"))):
    if os.geteuid():
        raise Skip("needs root")
    b = Bench(python, WORK)
    p = subprocess.Popen([python, program("busy.py"), mode], env=b.env(bridge=False), stdout=subprocess.PIPE, text=True)
    try:
        p.stdout.readline()
        time.sleep(0.3)
        rc, said = inject(b, p.pid)
        assert rc == 0, said
        assert grows(b), "joined, but says nothing"
        rc, again = inject(b, p.pid)
        assert rc and "already" in again, again
        rc, said = inject(b, p.pid, "eject")
        assert rc == 0, said
        time.sleep(0.2)
        assert not grows(b, 0.4), "still says things after it was taken out"
        rc, said = inject(b, p.pid)
        assert rc == 0 and grows(b), "a second time: " + said
        assert p.poll() is None, "the process died"
        assert says(b, kinds), {e["kind"] for e in b.events()}
    finally:
        p.kill()
        p.wait()
    return b


def test_join_sleep(python):
    """into a process whose main thread sleeps between calls, out, in again"""
    joined(python, "sleep")


def test_join_async(python):
    """into an event loop"""
    joined(python, "async", {"START", "SUSPEND", "RESUME", "END"})


def test_join_lock(python):
    """into a process whose main thread waits for a lock while others work"""
    joined(python, "lock")


def test_join_refused(python):
    """no process, no Python, no folder: a sentence each"""
    b = Bench(python, WORK)
    p = subprocess.Popen(["sleep", "20"])
    try:
        for pid, where, say in ((p.pid, BRIDGE, "no CPython"), (2**22 - 1, BRIDGE, "no process"), (p.pid, "/nonexistent", "does not see")):
            out = subprocess.run([INJECT, str(pid), where, b.watch], capture_output=True, text=True, timeout=30).stdout
            assert say in out, out
    finally:
        p.kill()
        p.wait()


def test_tools(python):
    """cProfile, pdb and a trace function beside it see what they see without it"""
    b = Bench(python, "wftrace-bridge 2\nwatch\t1\ttools_target\t*\n")
    with open(b.path("tools_target.py"), "w") as f:
        f.write("def f(x):\n    y = x + 1\n    return y\n\ndef g(n):\n    for i in range(n):\n        yield f(i)\n")
    text = ("import sys, io, cProfile, pstats, bdb, tools_target as t\n"
            "seen = []\n"
            "def tracer(frame, event, arg):\n"
            "    if frame.f_code.co_filename.endswith('tools_target.py'): seen.append((event, frame.f_code.co_name, frame.f_lineno))\n"
            "    return tracer\n"
            "sys.settrace(tracer); assert list(t.g(2)) == [1, 2]; sys.settrace(None)\n"
            "p = cProfile.Profile(); p.runcall(lambda: [t.f(i) for i in range(5)]); s = io.StringIO(); pstats.Stats(p, stream=s).print_stats('tools_target')\n"
            "class D(bdb.Bdb):\n"
            "    def user_line(self, frame): seen.append(('stop', frame.f_lineno)); self.set_continue()\n"
            "d = D(); d.set_break(t.__file__, 2); d.runcall(t.f, 1)\n"
            "print(seen, [l.split()[0] for l in s.getvalue().splitlines() if 'tools_target' in l and '(f)' in l])\n")
    bare, ours = b.run("-c", text, bridge=False, PYTHONPATH=b.dir.name), b.run("-c", text)
    assert bare == ours, "%s\n%s" % (bare, ours)
    assert calls(b.events()).get(1), "was not watched"


def test_second_monitor(python):
    """another sys.monitoring tool keeps its id and its events"""
    if version(python) < (3, 12):
        raise Skip("3.12 and later")
    b = Bench(python, "wftrace-bridge 2\nwatch\t1\t__main__\tf\n")
    text = ("import sys\nm = sys.monitoring\nseen = []\nm.use_tool_id(4, 'other'); m.use_tool_id(3, 'more')\n"
            "def f(): return 1\n"
            "for e in (m.events.PY_START, m.events.PY_RETURN): m.register_callback(4, e, lambda *a: seen.append(a[0].co_name))\n"
            "m.set_local_events(4, f.__code__, m.events.PY_START | m.events.PY_RETURN)\nf(); m.set_local_events(4, f.__code__, 0); f()\nassert seen == ['f', 'f'], seen\n")
    b.run("-c", text)
    assert calls(b.events()).get(1) == [["START", "END"]] * 2


def test_runners(python):
    """a program run as another __main__ by cProfile, pdb, trace: its functions are watched too"""
    b = Bench(python, WORK)
    os.mkdir(b.path("prog"))
    with open(b.path("prog/main.py"), "w") as f:
        f.write("import json\ndef work(n):\n    return n + 1\nwork(1)\nwork(2)\n")
    for more in (["cProfile"], ["pdb", "-c", "continue", "-c", "quit"], ["trace", "--count", "-C", b.path("counts")], ["runpy"]):
        argv = ["-m", *more, b.path("prog/main.py")]
        if more == ["runpy"]:
            argv = ["-c", "import runpy, sys; sys.argv = ['prog/main.py']; runpy.run_path('prog/main.py', run_name='__main__')"]
        b.run(*argv)
        assert calls(b.events()).get(1) == [["START", "END"]] * 2, "%s: %s" % (more[0], calls(b.events()))
        os.unlink(b.events_file)
    b.run("-c", "def work(n): return n\nexec(compile('def work(n): return n\\nwork(1)', '/x/other.py', 'exec'))\n")
    assert not calls(b.events()).get(1), "what is not the program's __main__ was watched"


def test_interrupt(python):
    """a signal that comes while a value is read is the program's, not ours"""
    b = Bench(python, "wftrace-bridge 2\nwatch\t1\t__main__\tA.f\nattr\t0\tentry\tself.slow\n")
    text = ("import os, signal\n"
            "class A:\n"
            "    @property\n"
            "    def slow(self):\n"
            "        os.kill(os.getpid(), signal.SIGINT)\n"
            "        for i in range(1000): pass\n"
            "        return 1\n"
            "    def f(self): return 1\n"
            "try:\n"
            "    A().f()\n"
            "    for i in range(1000): pass\n"
            "    print('lost')\n"
            "except KeyboardInterrupt: print('came')\n")
    assert b.run("-c", text).strip() == "came"


def test_taken_out_while_reading(python):
    """uninstall by one thread while another reads values, or the text of an exception: nothing of it is used after"""
    b = Bench(python, "wftrace-bridge 2\nwatch\t1\t__main__\tA.f\n" + "".join("attr\t%d\tentry\tself.slow\n" % i for i in range(3)) +
              "watch\t2\t__main__\tA.g\n" + "".join("attr\t%d\tfail\tself.name\n" % i for i in range(8)))
    b.run(program("taken_out.py"), b.watch)


def test_joins_quietly(python):
    """taken in late, with a rule on __main__: no profile function, no global event stays"""
    b = Bench(python, WORK)
    text = ("import sys, _wftrace\ndef work(n): return n\n_wftrace.uninstall()\nmine = lambda *a: None\nsys.setprofile(mine)\n"
            "assert _wftrace.install(sys.argv[1], True) == 0\nwork(1)\nassert sys.getprofile() is mine\n"
            "if sys.version_info >= (3, 12):\n"
            "    m = sys.monitoring; ours = [i for i in range(6) if m.get_tool(i) == 'wftrace']\n"
            "    assert len(ours) == 1 and not m.get_events(ours[0]) & m.events.PY_START, (ours, m.get_events(ours[0]))\n")
    b.run("-c", text, b.watch)
    assert calls(b.events()).get(1) == [["START", "END"]]


def test_tools_taken(python):
    """no tool id is free: refused, and the others' tools are as they were"""
    if version(python) < (3, 12):
        raise Skip("sys.monitoring is of 3.12 and later")
    b = Bench(python, WORK)
    text = ("import sys, _wftrace\nm = sys.monitoring\n_wftrace.uninstall()\nseen = []\ndef work(n): return n\n"
            "for i in (3, 4, 5):\n"
            "    m.use_tool_id(i, 'theirs'); m.register_callback(i, m.events.PY_START, lambda code, at: seen.append(code.co_name)); m.set_events(i, m.events.PY_START)\n"
            "assert _wftrace.install(sys.argv[1], True) == -16\n"
            "assert [m.get_tool(i) for i in (3, 4, 5)] == ['theirs'] * 3\n"
            "work(1)\nassert seen.count('work') == 3, seen\n")
    b.run("-c", text, b.watch)


def test_subinterpreter(python):
    """the bridge keeps away from sub-interpreters"""
    b = Bench(python, WORK)
    out = b.run(program("subinterpreter.py"), BRIDGE, b.watch, b.path("answer"), bridge=False)
    assert out.strip() == "-95", out


def test_imports_politely(python):
    """the finder takes keywords; a loader keeps nothing of ours when its module is there"""
    b = Bench(python, "wftrace-bridge 2\nwatch\t1\tquiet_one\tf\n")
    with open(b.path("quiet_one.py"), "w") as f:
        f.write("def f(): return 1\n")
    text = ("import sys, quiet_one\nquiet_one.f()\nassert 'get_code' not in vars(quiet_one.__loader__), vars(quiet_one.__loader__)\n"
            "ours = [f for f in sys.meta_path if type(f).__module__ == '_wftrace']\nassert len(ours) == 1\n"
            "assert ours[0].find_spec(fullname='quiet_one', path=None).name == 'quiet_one'\n"
            "assert ours[0].find_spec('\\udcff') is None and ours[0].find_spec(7) is None\n"
            "import importlib; importlib.reload(quiet_one).f()\n")
    b.run("-c", text)
    assert calls(b.events()).get(1) == [["START", "END"]] * 2


WHEN = """wftrace-bridge 3
watch	1	__main__	Step.run
attr	0	entry	self.name
attr	1	entry	arg.value
attr	2	return	ret
when	0	1	%s
watch	2	__main__	steps
attr	0	entry	arg.value
when	0	0	%s
watch	3	__main__	wait
attr	0	entry	arg.value
when	0	0	%s
"""
# The program's values, and which of them each condition lets through. What cannot be read or told is the tracer's to decide.
VALUES = ["None", "True", "0", "7", "1.5", "'seven'", "b'seven'", "'7'", "''", "2**70", "object()"]
LEFT_IN = {
    "==\tnull": ["None", "2**70", "object()"],
    "!=\tnull": VALUES[1:],
    "==\t7": ["7", "2**70", "object()"],
    "!=\t7": ["None", "True", "0", "1.5", "'seven'", "b'seven'", "'7'", "''", "2**70", "object()"],
    ">\t1": ["7", "1.5", "2**70", "object()"],
    "<=\t1": ["True", "0", "2**70", "object()"],
    "==\t1": ["True", "2**70", "object()"],
    "==\t\"7": ["7", "1.5", "'7'", "2**70", "object()"],
    "!=\t\"true": ["None", "0", "7", "1.5", "'seven'", "b'seven'", "'7'", "''", "2**70", "object()"],
    "~\t\"*@(eve|x)n": ["1.5", "'seven'", "b'seven'", "2**70", "object()"],
    "!~\t\"?*": ["None", "1.5", "''", "2**70", "object()"],
    "~\t\"[7]": [v for v in VALUES if v != "None"],
}


def test_when(python):
    """conditions: a call that meets none is not said at all, whatever kind of function it is"""
    text = ("import asyncio, sys\n"
            "class Step:\n"
            "    def __init__(self): self.name = 's'\n"
            "    def run(self, value): return value\n"
            "def steps(value):\n    yield value\n    yield value\n"
            "async def wait(value): await asyncio.sleep(0)\n"
            "values = [" + ", ".join(VALUES) + "]\n"
            "for v in values: Step().run(v); list(steps(v)); asyncio.run(wait(v))\n")
    for condition, want in LEFT_IN.items():
        b = Bench(python, WHEN % (condition, condition, condition))
        with open(b.path("prog.py"), "w") as f:
            f.write(text)
        b.run("prog.py")
        got = b.events()
        said = calls(got)
        for watch, names in ((1, ["START", "END"]), (2, ["START"] + STEP * 2 + ["END"]), (3, ["START"] + STEP + ["END"])):
            assert said.get(watch, []) == [names] * len(want), "%s, watch %d: %s" % (condition, watch, said.get(watch))
        ways = {"None": [None], "True": [True], "0": [0], "7": [7], "1.5": [1.5], "'seven'": ["seven"], "b'seven'": ["seven"], "'7'": ["7"], "''": [""]}
        attrs = [e["attrs"] for e in got if e["watch"] == 1 and e["kind"] == "START"]
        assert [a.get(1, "-") for a in attrs] == [ways.get(v, ["-"])[0] for v in want], (condition, attrs)
        assert all(a[0] == "s" for a in attrs), attrs
        notes = [e["attrs"][0] for e in got if e["kind"] == "NOTE"]
        assert "attr_failed=1 1" in notes and "attr_failed=1 0" not in notes, notes


def test_when_rules(python):
    """several rules: one that may hold is enough; a file that is not understood is refused, with the line"""
    b = Bench(python, "wftrace-bridge 3\nwatch\t1\t__main__\tf\nattr\t0\tentry\targ.a\nattr\t1\tentry\targ.b\nattr\t2\tentry\targ.c\n"
                      "when\t0\t0\t==\t1\nwhen\t0\t1\t==\t1\nwhen\t2\t2\t==\t1\n")
    text = "def f(a, b, c): pass\nfor n in range(8): f(n & 1, n >> 1 & 1, n >> 2)\n"
    b.run("-c", text)
    said = [tuple(e["attrs"][k] for k in (0, 1, 2)) for e in b.events() if e["kind"] == "START"]
    assert said == [(1, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 1), (1, 1, 1)], said
    for line in ("32\t0\t==\t1", "0\t0\t=\t1", "0\t0\t==\t1x", "0\t0\t==\t", "0\t0\t~\t1", "0\t0\t<\tnull", "0\t0\t=="):
        b = Bench(python, "wftrace-bridge 3\nwatch\t1\t__main__\tf\nattr\t0\tentry\targ.a\nwhen\t%s\n" % line)
        b.run("-c", text)
        (note,) = [e["attrs"][0] for e in b.events()]
        assert note.startswith("failed=0 watch file, line 4: "), note
    b = Bench(python, "wftrace-bridge 4\n")
    b.run("-c", text)
    assert [e["attrs"][0] for e in b.events()] == ["failed=0 watch file, line 1: of another version"], b.events()


def test_only_start(python):
    """a watch of which nothing but the start is asked: whatever comes of the call"""
    b = Bench(python, "wftrace-bridge 3\n" + "".join("watch\t%d\t__main__\t%s\nattr\t0\tentry\targ.a\nstart\n" % (i + 1, n) for i, n in enumerate(("f", "g", "h"))))
    b.run("-c", "def f(a): pass\ndef g(a):\n    yield a\n    yield a\ndef h(a): raise ValueError(a)\nlist(g(1)); f(2)\nx = g(3); next(x); del x\n"
                "try: h(4)\nexcept ValueError: f(5)\n")
    said = [(e["kind"], e["watch"], e["attrs"][0]) for e in b.events() if e["kind"] != "NOTE"]
    assert said == [("START", 2, 1), ("START", 1, 2), ("START", 2, 3), ("START", 3, 4), ("START", 1, 5)], said


def test_when_reuses(python):
    """a frame that begins anew where a generator was dropped: what is not said ends nobody else's call"""
    b = Bench(python, "wftrace-bridge 3\nwatch\t1\t__main__\tg\nattr\t0\tentry\targ.a\nwhen\t0\t0\t==\t1\n")
    text = ("def g(a):\n    yield a\n    yield a\n"
            "for a in (1, 0, 1, 0, 0, 1):\n    x = g(a); next(x); del x\n"
            "for a in (1, 0) * 50: list(g(a))\n")
    b.run("-c", text)
    said = calls(b.events())[1]
    assert len(said) == 53 and said[3:] == [["START"] + STEP * 2 + ["END"]] * 50, said
    assert all(names[:2] == ["START", "SUSPEND"] and names[-1] == "FAIL GeneratorExit" for names in said[:3]), said[:3]


def test_caller(python):
    """who called: functions, generators and coroutines by who takes the first step, threads by nobody"""
    names = ["plain", "gen", "agen", "coro", "task", "Thing.method", "in_thread", "deep"]
    b = Bench(python, "wftrace-bridge 3\n" + "".join("watch\t%d\t__main__\t%s\nattr\t0\tentry\tcaller\nattr\t1\tentry\tcaller[1]\nattr\t2\tentry\tcaller[2]\n" % (i + 1, n) for i, n in enumerate(names)) +
              "watch\t20\t__main__\tWatched.calls\nwatch\t21\t__main__\tsometimes\nattr\t0\tentry\tcaller\nwhen\t0\t0\t!~\t\"__main__:Watched.*s\n")
    text = ("import asyncio, _thread, time\n"
            "def plain(): return gen()\n"
            "def gen(): yield 1\n"
            "async def agen(): yield 1\n"
            "async def coro(): return 1\n"
            "async def task(): return 1\n"
            "class Thing:\n"
            "    def method(self): return 1\n"
            "class Holder:\n"
            "    def run(self):\n"
            "        def inner(): Thing().method()\n"
            "        Thing().method(); inner(); return plain()\n"
            "class Watched:\n"
            "    def calls(self): Thing().method(); list(sometimes())\n"
            "    async def acalls(self): list(sometimes())\n"
            "def sometimes(): yield 1\n"
            "def in_thread(): done.append(1)\n"
            "def drains(g): return list(g)\n"
            "def deep(n): return n and deep(n - 1)\n"
            "async def main():\n"
            "    await coro()\n"
            "    async for x in agen(): pass\n"
            "    await asyncio.ensure_future(task())\n"
            "done = []\n"
            "drains(Holder().run()); Watched().calls(); asyncio.run(Watched().acalls()); asyncio.run(main()); deep(2); list(sometimes())\n"
            "_thread.start_new_thread(in_thread, ())\n"
            "while not done: time.sleep(0.01)\n"
            "time.sleep(0.05)\n")
    b.run("-c", text)
    said = {}
    for e in b.events():
        if e["kind"] == "START":
            said.setdefault(e["watch"], []).append(e["attrs"].get(0, "-"))
    up = [[e["attrs"].get(k, "-") for k in (0, 1, 2)] for e in b.events() if e["kind"] == "START" and e["watch"] in (7, 8)]
    assert sorted(up, key=str) == sorted([[None] * 3, ["__main__:<module>", None, None], ["__main__:deep", "__main__:<module>", None],
                                          ["__main__:deep", "__main__:deep", "__main__:<module>"]], key=str), up
    whole = version(python) >= (3, 11)
    assert said[1] == ["__main__:Holder.run" if whole else "__main__:run"], said
    assert said[2] == ["__main__:drains"], said
    assert said[3] == said[4] == ["__main__:main"], said
    assert len(said[5]) == 1 and said[5][0].startswith("asyncio."), said
    assert said[6] == (["__main__:Holder.run", "__main__:Holder.run.<locals>.inner"] if whole else ["__main__:run", "__main__:inner"]) + ["__main__:Watched.calls"], said
    assert said[7] == [None], said
    assert said[8] == ["__main__:<module>", "__main__:deep", "__main__:deep"], said
    assert said[21] == (["__main__:<module>"] if whole else ["__main__:acalls", "__main__:<module>"]), said


def test_cpython(python):
    """CPython's own tests with the bridge on every function in them: the same result as without"""
    cpython.check(pythons.with_tests(python), Bench, FULL)


def version(python):
    out = subprocess.run([python, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True).stdout
    return tuple(int(x) for x in out.split())


FULL = False


def one(name, test, python, label):
    start = time.time()
    try:
        test(python)
        outcome = "ok"
    except Skip as e:
        outcome = "skip %s" % e
    except Exception as e:
        outcome = "FAILED\n    " + str(e)[:3000].replace("\n", "\n    ")
    print("%-9s %-22s %-6s %.1f s" % (outcome.split("\n")[0][:40], name[5:], label, time.time() - start) + ("\n" + outcome.split("\n", 1)[1] if "\n" in outcome else ""), flush=True)
    return outcome.split()[0]


def copy_of_bridge(to):
    """A file of its own: a tracer that runs meanwhile on this machine puts its probe on the nop of the built one, where the recorder's jump is."""
    os.chmod(to, 0o755)
    return shutil.copytree(BRIDGE, os.path.join(to, "inproc/python"))


def main():
    global FULL, BRIDGE
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("-k", default="", help="only tests whose name or version has TEXT")
    a.add_argument("--full", action="store_true")
    o = a.parse_args()
    FULL = o.full
    outcomes, own = [], tempfile.TemporaryDirectory(prefix="wf-bridge-")
    BRIDGE = copy_of_bridge(own.name)
    for label, python in pythons.find():
        for name, test in sorted(globals().items()):
            if name.startswith("test_") and o.k in "%s %s" % (name, label):
                outcomes.append(one(name, test, python, label))
    for label in pythons.missing():
        print("skip: no CPython %s here" % label)
        outcomes.append("skip")
    print("%d passed, %d failed, %d skipped" % tuple(sum(x == w for x in outcomes) for w in ("ok", "FAILED", "skip")))
    return 1 if "FAILED" in outcomes or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
