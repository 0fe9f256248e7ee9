"""CPython's own tests, bare and with the bridge watching every function in them and in the modules they test."""
import concurrent.futures, re, subprocess

from pythons import Skip

QUICK = ["test_generators", "test_coroutines", "test_asyncgen", "test_functools", "test_exceptions", "test_raise", "test_yield_from"]
FULL = QUICK + ["test_inspect", "test_pickle", "test_sys_settrace", "test_sys_setprofile", "test_contextlib", "test_contextlib_async", "test_with",
                "test_traceback", "test_funcattrs", "test_decorators", "test_scope", "test_property", "test_super", "test_bdb", "test_trace",
                "test_asyncio.test_tasks", "test_asyncio.test_futures", "test_asyncio.test_queues", "test_asyncio.test_locks"]
WATCH = "wftrace-bridge 3\n" + "".join("watch\t%d\t%s\t*\nattr\t0\tentry\tself.x\nattr\t1\tentry\tcaller\nwhen\t0\t1\t!~\t\"*:*r*\n" % (i + 1, m) for i, m in enumerate(
    ["test*", "asyncio*", "functools", "inspect", "pickle", "contextlib", "traceback", "unittest*", "__main__", "bdb", "trace"]))
# What differs, and why (docs/python-bridge.md, «What is different»).
KNOWN = {
    "test_throw_with_yield_from": "3.11 and older: an awaited frame does not see its awaiter while an exception is thrown in",
    "test_stack_in_coroutine_throw": "the same",
    "test_jump_": "3.8: a debugger cannot jump out of a watched function's first line",
    "test_no_jump_into_": "the same: it is refused with another sentence",
}
# 3.9: a line event more (and so a stop more of a debugger's `next`) when an exception leaves a watched function.
LINES = ("test_13_genexp", "test_20_async_for_loop", "test_next_until_return_in_generator")


def result(bench, module, bridge):
    """(ran, {tests that failed}) or None when the module is not installed."""
    more = {"RECORD_TO": ""} if bridge else {}
    p = subprocess.run([bench.python, "-m", "unittest", "test." + module], env=bench.env(bridge, **more), cwd=bench.dir.name,
                       capture_output=True, text=True, errors="replace", timeout=300)
    ran = re.findall(r"^Ran (\d+) tests?", p.stderr, re.M)
    if not ran or "ModuleNotFoundError: No module named 'test." in p.stderr or "has no attribute '" + module.split(".")[-1] + "'" in p.stderr:
        assert p.returncode in (0, 1, 5), "%s: exit %d\n%s" % (module, p.returncode, p.stderr[-2000:])
        return None
    return int(ran[-1]), {re.sub(r" at 0x[0-9a-f]+", "", x) for x in re.findall(r"^(?:FAIL|ERROR): (.*)$", p.stderr, re.M)}


def both(python, Bench, module):
    bare, ours = result(Bench(python, WATCH), module, False), result(Bench(python, WATCH), module, True)
    if bare is None:
        return None
    assert ours and ours[0] == bare[0], "%s: %s tests, with the bridge %s" % (module, bare[0], ours and ours[0])
    here = subprocess.run([python, "-c", "import sys; print(sys.version_info[1])"], capture_output=True, text=True).stdout.strip()
    known = (*KNOWN, *(LINES if here == "9" else ()))
    new = [t for t in ours[1] - bare[1] if not t.startswith(known)]
    assert not new, "%s: %s" % (module, new)
    return bare[0]


def check(python, Bench, full):
    ran = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for n in pool.map(lambda m: both(python, Bench, m), FULL if full else QUICK):
            ran += n or 0
    if not ran:
        raise Skip("its tests are not installed")
