"""What the bridge must say about tests/inproc/programs/kinds.py."""

WATCH = """wftrace-bridge 2
watch	1	__main__	plain
attr	0	entry	arg.a
attr	1	entry	arg.key
attr	2	entry	len(arg.rest)
attr	3	entry	arg.more["other"]
attr	4	return	ret
attr	5	return	arg.b
attr	6	entry	global.__name__
watch	2	__main__	fails
attr	0	fail	arg.n
attr	1	fail	len(exception.args)
watch	3	__main__	outer_fails
watch	4	__main__	recursive
attr	0	entry	arg0
watch	5	__main__	decorated
watch	6	__main__	makes.<locals>.local
watch	7	__main__	closes_over
attr	0	entry	arg.a
watch	8	__main__	closes_over.<locals>.inner
watch	10	__main__	Thing.*
attr	0	entry	self.name
attr	1	entry	self.items["k"][-1]
attr	2	entry	self.size
attr	3	entry	self.missing
attr	4	entry	type(self)
watch	11	__main__	Broken.method
attr	0	entry	self.name
attr	1	entry	self.size
watch	12	__main__	gen
attr	0	return	ret
watch	13	__main__	delegates
watch	14	__main__	catches
watch	15	__main__	leaf
watch	16	__main__	branch
attr	0	entry	arg.n
watch	17	__main__	agen
watch	18	__main__	stubborn
attr	0	return	ret
watch	19	__main__	in_thread
watch	20	__main__	no_such_function
"""

STEP, EXIT = ["SUSPEND", "RESUME"], "GeneratorExit"
# watch: one list per call, in order: its events. FAIL carries the type.
KINDS = {
    1: [["START", "END"]],
    2: [["START", "FAIL ValueError"]] * 2,
    3: [["START", "FAIL ValueError"]],
    4: [["START", "END"]] * 3,
    5: [["START", "END"]],
    6: [["START", "END"]],
    7: [["START", "END"]],
    8: [["START", "END"]],
    10: [["START", "END"]] * 5,
    11: [["START", "END"]],
    # list(gen(2)), send, del, from delegates(1); one that never began says nothing
    12: [["START"] + STEP * 2 + ["END"], ["START"] + STEP + ["END"], ["START", "SUSPEND", "FAIL " + EXIT], ["START"] + STEP + ["END"]],
    13: [["START"] + STEP + ["END"]],
    14: [["START"] + STEP * 2 + ["SUSPEND", "FAIL " + EXIT]],
    15: [["START"] + STEP + ["END"]] * 3 + [["START", "SUSPEND", "FAIL CancelledError"]],
    16: [["START"] + STEP + ["END"]] * 2 + [["START"] + STEP + ["FAIL KeyError"], ["START", "SUSPEND", "FAIL CancelledError"]],
    17: [["START"] + STEP * 4 + ["END"]],
    18: [["START"] + STEP * 2 + ["END"]],
    19: [["START", "END"]],
}
# (watch, kind, call): attributes
ATTRIBUTES = {
    (1, "START", 0): {0: 1, 1: "é", 2: 1, 3: 4, 6: "__main__"},
    (1, "END", 0): {4: 3, 5: 2},
    (2, "FAIL", 0): {0: 0, 1: 1, "error.type": "ValueError", "error.message": "zero 0"},
    (4, "START", 1): {0: 1},
    (7, "START", 0): {0: 5},
    (10, "START", 1): {"function": "__main__:Thing.method", 0: "é" * 256, 1: 3, 2: 7.5, 4: "__main__.Thing"},
    (10, "START", 2): {"function": "__main__:Thing.by_class", 4: "type"},
    (11, "START", 0): {0: "broken"},
    (12, "END", 1): {0: "stop"},
    (16, "START", 2): {0: 2},
    (18, "END", 0): {0: "kept on"},
}
NOTES = ["loaded=", "bound=1 __main__:plain", "attr_failed=10 3", "attr_failed=11 1"]
