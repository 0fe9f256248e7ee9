"""Processes of a test: start, wait for readiness, end by pid. Nothing outlives the runner (PDEATHSIG)."""
import ctypes
import os
import pathlib
import signal
import socket
import subprocess
import time

_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class NotReady(RuntimeError):
    """A helper process did not come up; the text says why."""


def die_with_parent():
    """preexec: the kernel kills the child when the runner dies, however it dies."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port():
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(argv, log, **kw):
    """Starts argv in its own session, both outputs appended to the file `log`. Returns the Popen."""
    kw.setdefault("preexec_fn", die_with_parent)
    with open(log, "ab") as out:
        kw.setdefault("stdout", out)
        kw.setdefault("stderr", out)
        return subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, start_new_session=True, **kw)


def stop(proc, sig=signal.SIGTERM, within=10):
    """Ends one process politely, then by force. Returns its exit status."""
    if proc.poll() is None:
        proc.send_signal(sig)
        try:
            proc.wait(within)
        except subprocess.TimeoutExpired:
            proc.kill()
    return proc.wait(10)


def tail(path, n=1500):
    """The end of a log; empty when there is none."""
    if path is None:
        return ""
    try:
        return pathlib.Path(path).read_text(errors="replace")[-n:]
    except OSError:
        return ""


def wait_for(what, check, within=20.0, proc=None, log=None, every=0.03):
    """Polls check() until true; NotReady names `what`, and shows the log, when time is up or proc has died."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        if check():
            return
        if proc is not None and proc.poll() is not None:
            raise NotReady(f"{what}: process ended with {proc.returncode}: {tail(log)}")
        time.sleep(every)
    raise NotReady(f"{what}: not within {within} s: {tail(log)}")


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
        return True
    except OSError:
        return False


def wait_port(port, proc=None, log=None, within=20.0):
    wait_for(f"port {port}", lambda: accepts(port), within, proc, log)


def children(pid):
    """Direct children of a process, of all its threads."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(c) for c in task.read_text().split()]
        except OSError:
            pass
    return found


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def send(pid, sig):
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        pass
