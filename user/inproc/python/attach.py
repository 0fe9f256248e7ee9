# What a running process executes when the bridge comes or goes (user/inproc/inject.c gives DIR, WATCH, RESULT, ACTION). The
# answer is a line with a number: 0, 1 (nothing to do) or -errno.
import sys


def _load():
    import _frozen_importlib as importlib
    from _frozen_importlib_external import ExtensionFileLoader, spec_from_file_location

    path = DIR + "/_wftrace.abi3.so"
    loader = ExtensionFileLoader("_wftrace", path)
    module = importlib.module_from_spec(spec_from_file_location("_wftrace", path, loader=loader))
    loader.exec_module(module)
    sys.modules["_wftrace"] = module
    return module


def _run():
    bridge = sys.modules.get("_wftrace")
    if ACTION == "uninstall":
        if bridge is None:
            return 1
        bridge.uninstall()
        return 0
    if sys.implementation.name != "cpython" or sys.version_info[:2] < (3, 8) or "t" in getattr(sys, "abiflags", ""):
        return -95  # ENOTSUP
    return (bridge or _load()).install(WATCH, True)


def _answer():
    try:
        code = _run()
    except OSError as e:
        code = -(e.errno or 5)
    except BaseException:
        code = -5
    with open(RESULT, "w") as f:
        f.write("%d\n" % code)


_answer()
