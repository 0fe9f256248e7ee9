# taken_out.py WATCH: the bridge is taken out by one thread while another is in a value that it reads, then in the text of an exception.
import sys
import threading
import time

import _wftrace

inside = threading.Event()
done = []


class Slow(Exception):
    def __str__(self):
        inside.set()
        time.sleep(0.2)
        return "slow"


class A:
    name = "a"

    @property
    def slow(self):
        inside.set()
        time.sleep(0.2)
        return 1

    def f(self):
        return 1

    def g(self):
        raise Slow()


def reads():
    done.append(A().f())


def fails():
    try:
        A().g()
    except Slow:
        done.append(2)


for work in (reads, fails):
    inside.clear()
    t = threading.Thread(target=work)
    t.start()
    assert inside.wait(5), work
    _wftrace.uninstall()
    junk = ["x" * i for i in range(2000)]
    t.join()
    assert _wftrace.install(sys.argv[1], True) == 0
assert done == [1, 2], done
