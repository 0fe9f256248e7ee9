"""What a process that does not go on is doing: each of its threads twice, what it maps, where in its code it is."""
import pathlib
import shutil
import signal
import subprocess
import time

from . import procs

THREAD = ("comm", "wchan", "syscall", "stack")
STATUS = ("State:", "Threads:", "TracerPid:", "SigQ:", "SigPnd:", "ShdPnd:", "SigBlk:", "voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:")


def read(path):
    try:
        return pathlib.Path(path).read_text(errors="replace").strip()
    except OSError as e:
        return f"({e.strerror})"


def thread(at):
    status = [line for line in read(f"{at}/status").splitlines() if line.startswith(STATUS)]
    times = read(f"{at}/stat").rpartition(")")[2].split()[11:13]
    return "\n".join([f"-- thread {at.name}; user and system ticks {times}", *status, *(f"{f}: {read(at / f)}" for f in THREAD)])


def threads(pid):
    return "\n".join(thread(t) for t in sorted(pathlib.Path(f"/proc/{pid}/task").glob("*")))


def stacks(pid):
    """By gdb, where it is installed: last, for it stops the process."""
    if not shutil.which("gdb"):
        return "(no gdb)"
    try:
        p = subprocess.run(["gdb", "-nx", "-batch", "-ex", "info registers", "-ex", "x/8i $pc", "-ex", "thread apply all bt", "-p", str(pid)],
                           capture_output=True, text=True, errors="replace", timeout=60, env={"DEBUGINFOD_URLS": ""})
        return p.stdout + p.stderr[-500:]
    except subprocess.TimeoutExpired:
        return "(gdb cannot stop it)"


def tell(proc, log=None):
    """Text for a test's failure. A Python started with -X faulthandler then says in `log` where it was; any other just ends."""
    pid = proc.pid
    parts = [f"process {pid}: {read(f'/proc/{pid}/cmdline')!r}", threads(pid)]
    time.sleep(2)
    parts += ["-- two seconds later", threads(pid), "-- maps", read(f"/proc/{pid}/maps"), "-- gdb", stacks(pid)]
    procs.send(pid, signal.SIGABRT)
    try:
        parts.append(f"-- SIGABRT: status {proc.wait(10)}")
    except subprocess.TimeoutExpired:
        parts.append("-- SIGABRT does not end it\n" + threads(pid))
    return "\n".join([*parts, *([procs.tail(log, 4000)] if log else [])])
