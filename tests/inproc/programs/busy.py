# A program to join: calls work() now and then, as its first argument says (sleep, async, lock, idle).
import asyncio
import ctypes
import os
import sys
import threading
import time


def work(n):
    return n * 2


def deco(f):
    def wrapper(*a):
        return f(*a)

    return wrapper


@deco
def hidden(n):
    return n


async def steps(n):
    await asyncio.sleep(0.01)
    return n


def turn():
    work(1)
    hidden(2)


def recorder():
    while "_wftrace" not in sys.modules:
        time.sleep(0.005)
    start = ctypes.CDLL(os.environ["RECORDER"]).recorder_start
    start.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    start(sys.modules["_wftrace"].site, os.environ["RECORD_TO"].encode())


def forever():
    while True:
        turn()
        time.sleep(0.05)


async def loop():
    while True:
        await steps(1)
        turn()
        await asyncio.sleep(0.05)


threading.Thread(target=recorder, daemon=True).start()
print("ready", flush=True)
if sys.argv[1] == "async":
    asyncio.run(loop())
elif sys.argv[1] == "lock":
    threading.Thread(target=forever, daemon=True).start()
    threading.Event().wait()
elif sys.argv[1] == "spin":
    while True:
        turn()
else:
    forever()
