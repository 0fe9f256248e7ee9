# The way in where another tool's sitecustomize stands before ours and gives nobody a turn: opentelemetry-instrument. It asks what
# installed packages want to be started first (wftrace_bridge.dist-info), before it imports what it instruments.
import os
import sys


def start():
    here = os.path.dirname(os.path.abspath(__file__))
    try:
        import _wftrace
        _wftrace.install(os.environ.get("WFTRACE_BRIDGE_WATCH") or os.path.join(here, "watch"))
    except ImportError:
        pass
    sys.path[:] = [p for p in sys.path if os.path.abspath(p) != here]
