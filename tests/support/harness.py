"""What a test is: a function with a name, a time limit and a Case that cleans up behind it."""
import atexit
import contextlib
import dataclasses
import pathlib
import shutil
import tempfile

from . import services

TESTS = []
_shared = contextlib.ExitStack()
_services = {}


class Skip(Exception):
    """The test cannot say anything here; the text says what is missing."""


class TimeLimit(Exception):
    """The test's own time limit has passed."""


@dataclasses.dataclass
class Test:
    name: str
    body: object
    limit: int
    product: bool


def test(name, limit=60, product=True):
    """Registers a test. limit: seconds. product: needs build/wftrace."""
    def add(body):
        TESTS.append(Test(name, body, limit, product))
        return body
    return add


def on_alarm(*_):
    raise TimeLimit("time limit")


class Case:
    """One running test: its folder, its notes for the log, and what has to be undone."""

    def __init__(self, name, folder):
        self.name, self.dir = name, pathlib.Path(folder)
        self.notes = []
        self._undo = contextlib.ExitStack()

    def note(self, text):
        self.notes.append(text)

    def defer(self, fn, *args):
        self._undo.callback(fn, *args)

    def start(self, thing):
        """Anything with stop(): stopped at the end of the test."""
        self.defer(thing.stop)
        return thing

    def clean(self):
        with contextlib.suppress(Exception):
            self._undo.close()

    @staticmethod
    def redis():
        return shared("redis", services.Redis)

    @staticmethod
    def postgres():
        return shared("postgres", services.Postgres)


def shared(name, make):
    """A service started once for the whole run."""
    if name not in _services:
        folder = pathlib.Path(tempfile.mkdtemp(prefix=f"wftrace-{name}-"))
        _shared.callback(shutil.rmtree, folder, True)
        _services[name] = make(folder)
        _shared.callback(_services[name].stop)
    return _services[name]


def close_shared():
    _shared.close()
    _services.clear()


atexit.register(close_shared)


def need(program):
    """Path of a program, or the test is skipped."""
    found = shutil.which(program)
    if not found:
        raise Skip(f"{program} is not installed")
    return found
