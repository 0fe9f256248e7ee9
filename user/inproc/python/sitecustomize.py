# wftrace's way into a Python process: this folder stands on PYTHONPATH. It starts the bridge, takes the folder off sys.path
# and gives the interpreter's own sitecustomize its turn. Any Python may read this file, so it asks nothing of it.
import sys


def _start():
    import os

    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [p for p in sys.path if os.path.abspath(p) != here]
    try:
        if getattr(sys, "implementation", None) and sys.implementation.name == "cpython" and sys.version_info[:2] >= (3, 8):
            sys.path.insert(0, here)
            try:
                import _wftrace
            finally:
                sys.path.remove(here)
            _wftrace.install(os.environ.get("WFTRACE_BRIDGE_WATCH") or os.path.join(here, "watch"))
    except Exception:  # of all that could be wrong nothing is the program's
        pass
    try:  # what is loaded in any case: importlib.util would bring a dozen modules
        import _frozen_importlib as importlib
        from _frozen_importlib_external import PathFinder
    except ImportError:  # Python 2 has no way on from here
        return
    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is not None and spec.loader is not None:
        sys.modules["sitecustomize"] = theirs = importlib.module_from_spec(spec)
        spec.loader.exec_module(theirs)


_start()
del _start
