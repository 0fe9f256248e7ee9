"""Runs the product under test: `wftrace run` and `wftrace attach`, their spans, their last words."""
import os
import pathlib
import re
import signal
import subprocess

from . import paths, procs, spans


class Tracer:
    """wftrace run [opts] -- argv, or wftrace attach --pid N, in the background, writing OTLP/JSON to a file."""

    def __init__(self, folder, argv=(), pid=None, opts=(), name="trace", privacy="off", export=True, **popen):
        folder = pathlib.Path(folder)
        self.file = folder / f"{name}.otlp.jsonl"
        self.log = folder / f"{name}.log"
        mode = ["attach", "--pid", pid] if pid else ["run"]
        exports = ["--export", f"otlp-json:{self.file}"] if export else []
        tail = ["--", *argv] if argv else []
        self.argv = [paths.WFTRACE, *mode, "--privacy", privacy, *exports, *opts, *tail]
        self.proc = procs.start(self.argv, self.log, **popen)

    def target(self, within=20):
        """Pid of the traced command (run)."""
        procs.wait_for("the traced command", lambda: procs.children(self.proc.pid), within, self.proc, self.log)
        return procs.children(self.proc.pid)[0]

    def wait_attached(self, within=20):
        """attach: from here on nothing of the target is missed."""
        procs.wait_for("the attachment", lambda: "attached to" in self.said(), within, self.proc, self.log)

    def finish(self, sig=signal.SIGTERM, within=30):
        """Ends the traced command (run) or the tracer (attach); returns the tracer's exit status."""
        if self.proc.poll() is None:
            kids = procs.children(self.proc.pid) if self.argv[1] == "run" else []
            for pid in kids or [self.proc.pid]:
                procs.send(pid, sig)
        try:
            return self.proc.wait(within)
        except subprocess.TimeoutExpired:
            procs.stop(self.proc, signal.SIGINT, 5)
            raise RuntimeError(f"wftrace did not end within {within} s of its target: {procs.tail(self.log)}") from None

    def spans(self):
        return spans.load(self.file)

    def said(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def ledger(self):
        """Counters that wftrace printed as name=N or `name N`, by name; {} when it printed none."""
        found = re.findall(r"\b([a-z]+(?:_[a-z]+)+)[\"']?\s*[=: ]\s*(\d+)\b", self.said())
        return {k: int(n) for k, n in found}


def once(*args, timeout=30, env=None, input=None, cwd=None):
    """Runs wftrace to its end. Returns the CompletedProcess with text outputs."""
    return subprocess.run([str(paths.WFTRACE), *map(str, args)], capture_output=True, text=True, errors="replace", timeout=timeout,
                          env={**os.environ, **(env or {})}, input=input, cwd=cwd)
