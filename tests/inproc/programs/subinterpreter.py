# subinterpreter.py BRIDGE WATCH ANSWER: has a sub-interpreter install the bridge; prints what that was told.
import sys

try:
    import _interpreters as sub
except ImportError:
    import _xxsubinterpreters as sub

INNER = """
import sys
sys.path.insert(0, %r)
try:
    import _wftrace
    code = _wftrace.install(%r)
except ImportError:
    code = -95
with open(%r, "w") as f:
    f.write(str(code))
"""
i = sub.create()
(getattr(sub, "run_string", None) or sub.exec)(i, INNER % tuple(sys.argv[1:4]))
sub.destroy(i)
with open(sys.argv[3]) as f:
    print(f.read())
