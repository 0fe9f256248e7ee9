# pod_app.py STOP: calls work() a few times a second until the file STOP is there. Prints one line when it runs, one at its end.
import os
import sys
import time


def work(n):
    return n * 2


print("here", "_wftrace" in sys.modules, flush=True)
n = 0
while not os.path.exists(sys.argv[1]) and n < 2000:
    assert work(n) == 2 * n
    n += 1
    time.sleep(0.05)
print("fine", flush=True)
