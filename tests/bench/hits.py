"""What one hit of each kind of probe costs: the program's view (CPU time of a loop, with and without) and the time in BPF."""
import json
import subprocess

import cost
from support import harness, paths, procs, tracer

# kind of hits.c → (what is hit, hits a turn, turns, BPF programs)
KINDS = {
    "socket": ("socket send or receive", 4, 20000, ("sock_send_length_tp_btf", "sock_recv_length_tp_btf")),
    "fork": ("process fork and exit", 2, 2000, ("sched_process_fork_tp_btf", "sched_process_exit_tp_btf")),
    "exec": ("process fork, exec and exit", 3, 300, ("sched_process_exec_tp_btf",)),
    "usdt": ("uprobe on a nop (USDT)", 1, 100000, ("hit_point",)),
    "nop": ("uprobe on a nop at entry, and return", 2, 50000, ("hit_entry", "hit_return")),
    "push": ("uprobe on a push at entry, and return", 2, 50000, ("hit_entry", "hit_return")),
    "step": ("uprobe on a stepped instruction, and return", 2, 50000, ("hit_entry", "hit_return")),
    "ret": ("uprobe on a push at entry, and on the ret", 2, 50000, ("hit_entry", "hit_exit")),
}
RULES = """activities:
  - { name: nop, at: "native:%(binary)s:at_nop" }
  - { name: push, at: "native:%(binary)s:at_push" }
  - { name: step, at: "native:%(binary)s:at_step" }
  - { name: point, at: "usdt:%(binary)s:bench:point" }
"""


def _build(folder, name, *flags):
    source = paths.ROOT / "tests" / "bench" / "hits.c"
    subprocess.run([harness.need("gcc"), "-O2", *flags, "-o", str(folder / name), str(source)], check=True)
    (folder / f"{name}.yaml").write_text(RULES % {"binary": folder / name})
    return folder / name


class Loop:
    """hits.c, running; untraced() and traced() turn it."""

    def __init__(self, binary):
        self.binary = binary
        self.proc = subprocess.Popen(["taskset", "-c", "0", str(binary)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def turn(self, kind, n):
        self.proc.stdin.write(f"{'push' if kind == 'ret' else kind} {n}\n")
        self.proc.stdin.flush()
        return float(self.proc.stdout.readline())

    def end(self):
        self.proc.stdin.close()
        self.proc.wait(10)


def _programs():
    """{name: (ns, runs)} since loading, of all programs that are there."""
    shown = subprocess.run(["bpftool", "prog", "show", "-j"], capture_output=True, text=True, check=True).stdout
    return {p["id"]: (p.get("name", ""), p.get("run_time_ns", 0), p.get("run_cnt", 0)) for p in json.loads(shown)}


def _in_bpf(loop, kind, turns):
    """ns of one run of each of the kind's programs."""
    subprocess.run(["sysctl", "-q", "kernel.bpf_stats_enabled=1"], check=True)
    try:
        before = _programs()
        loop.turn(kind, turns)
        after = _programs()
    finally:
        subprocess.run(["sysctl", "-q", "kernel.bpf_stats_enabled=0"], check=True)
    found = {}
    for number, (name, ns, runs) in after.items():
        if name in {p[:15] for p in KINDS[kind][3]} | set(KINDS[kind][3]):
            _, ns0, runs0 = before.get(number, (name, 0, 0))
            if runs - runs0 >= turns * 0.9:
                found[name] = (ns - ns0) / (runs - runs0)
    return found


def _round(folder, loop, kinds, seen, programs):
    name = f"{loop.binary.name}{len(seen[kinds[0]].values)}"  # a file of its own: the last one's words would be read again
    bare = {k: loop.turn(k, KINDS[k][2]) for k in kinds}
    t = tracer.Tracer(folder, pid=loop.proc.pid, opts=("--rules", f"{loop.binary}.yaml"), privacy="strict", name=name)
    try:
        t.wait_attached()
        for k in kinds:
            seen[k].add((loop.turn(k, KINDS[k][2]) - bare[k]) / KINDS[k][1])
        for k in kinds:
            for program, ns in _in_bpf(loop, k, KINDS[k][2] // 2).items():
                programs[k].setdefault(program, cost.Series(program)).add(ns)
    finally:
        procs.stop(t.proc, within=30)
        t.file.unlink(missing_ok=True)


def hits(folder, o):
    """{what: «ns a hit, in BPF …»}; hits.c is built twice because a program that may unwind gets no return probes."""
    seen, programs = {k: cost.Series(k) for k in KINDS}, {k: {} for k in KINDS}
    plain, unwinds = Loop(_build(folder, "plain")), Loop(_build(folder, "unwinds", "-DUNWINDS"))
    try:
        for _ in range(o.rounds):
            _round(folder, plain, [k for k in KINDS if k != "ret"], seen, programs)
            _round(folder, unwinds, ["ret"], seen, programs)
    finally:
        plain.end()
        unwinds.end()
    figures = {}
    for k, (what, *_) in KINDS.items():
        inside = ", ".join(f"{name} {s.median:.0f}" for name, s in programs[k].items())
        figures[f"ns a hit: {what}"] = f"{seen[k].median:.0f} ({min(seen[k].values):.0f}…{max(seen[k].values):.0f})   in BPF: {inside or '-'}"
    return figures
