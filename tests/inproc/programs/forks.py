# A parent and two children made by fork, each with watched calls.
import os


def work(n):
    return n


def in_child(n):
    return work(n)


work(0)
pids = []
for i in (1, 2):
    pid = os.fork()
    if not pid:
        in_child(i)
        os._exit(0)
    pids.append(pid)
for pid in pids:
    os.waitpid(pid, 0)
work(3)
