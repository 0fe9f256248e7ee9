"""What a measurement is: CPU time of processes from schedstat, alternating rounds, medians and spread."""
import pathlib
import statistics


def cpu_ns(*pids):
    """CPU time so far of all threads of the processes, in ns (schedstat counts running time exactly)."""
    total = 0
    for pid in pids:
        for task in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                total += int(task.read_text().split()[0])
            except (OSError, ValueError):
                pass
    return total


def rss_mb(pid, field="VmRSS"):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


class Series:
    """Figures of one variant over all rounds."""

    def __init__(self, name):
        self.name, self.values = name, []

    def add(self, value):
        self.values.append(value)

    @property
    def median(self):
        return statistics.median(self.values) if self.values else float("nan")

    def __str__(self):
        return f"{self.median:.2f} ({min(self.values):.2f}–{max(self.values):.2f})" if self.values else "-"


def alternate(rounds, variants):
    """Runs {name: function} in turn, order swapped every round, so that drift hits all alike. A function returns
    {figure: value}. Returns {name: {figure: Series}}."""
    found = {name: {} for name in variants}
    for i in range(rounds):
        names = list(variants) if i % 2 == 0 else list(variants)[::-1]
        for name in names:
            for figure, value in variants[name]().items():
                found[name].setdefault(figure, Series(figure)).add(value)
    return found


def change(bare, traced):
    """Relative change of the medians in percent, and the spread of the paired rounds."""
    pairs = [100 * (t / b - 1) for b, t in zip(bare.values, traced.values) if b]
    return f"{statistics.median(pairs):+.1f} % ({min(pairs):+.1f}…{max(pairs):+.1f})" if pairs else "-"
