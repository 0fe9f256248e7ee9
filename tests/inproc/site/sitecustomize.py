# In front of the bridge's own sitecustomize: puts the recorder on its nop (RECORDER, RECORD_TO), then lets it start.
import os
import sys


def _record():
    import ctypes

    here = os.path.dirname(os.path.abspath(__file__))
    bridge = os.environ["BRIDGE"]
    sys.path[:] = [p for p in sys.path if os.path.abspath(p) != here]
    sys.path.insert(0, bridge)
    import _wftrace

    sys.path.remove(bridge)
    start = ctypes.CDLL(os.environ["RECORDER"]).recorder_start
    start.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    to = os.environ.get("RECORD_TO")
    err = start(_wftrace.site, to.encode() if to else None)
    if err:
        raise OSError(-err, "recorder")
    path = os.path.join(bridge, "sitecustomize.py")
    with open(path) as f:
        exec(compile(f.read(), path, "exec"), {"__file__": path, "__name__": "sitecustomize"})


_record()
