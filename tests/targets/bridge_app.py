"""Activities of every kind of Python function, for the bridge's end-to-end tests: `bridge_app.py MODE [N]`."""
import asyncio
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor


class Flow:
    """A workflow of ten nodes; each does one call to Redis that carries the node's own key."""

    def __init__(self, number, redis=None):
        self.number, self.redis = number, redis

    async def run(self, nodes):
        first = await self.node(0)
        rest = await asyncio.gather(*(self.node(i) for i in range(1, nodes)))
        return [first, *rest]

    async def node(self, index):
        await asyncio.sleep(0.001 * (index % 3))
        await self.redis.get(f"flow-{self.number}-{index}")
        await asyncio.to_thread(self.check, index)
        return index

    def check(self, index):
        return index * 2


class Pool:
    def job(self, number):
        with ThreadPoolExecutor(2) as pool:
            return sum(pool.map(self.part, [number] * 3))

    def part(self, number):
        time.sleep(0.002)
        return number


class Kinds:
    @classmethod
    def made(cls, n):
        return n

    @staticmethod
    def fixed(n):
        return n

    @property
    def size(self):
        return 3

    def numbers(self, n):
        for i in range(n):
            yield self.one(i)

    def one(self, i):
        return i

    async def anumbers(self, n):
        for i in range(n):
            await asyncio.sleep(0.001)
            yield i

    def fails(self, what):
        raise ValueError(f"no {what}")

    def deep(self, n):
        return n if not n else self.deep(n - 1)


def outer():
    def inner(x):
        return x
    return inner(4)


async def flows(count):
    import redis.asyncio as aioredis
    pool = aioredis.BlockingConnectionPool(port=int(os.environ["REDIS_PORT"]), max_connections=64, timeout=60)
    client = aioredis.Redis(connection_pool=pool)
    await asyncio.gather(*(Flow(i, client).run(10) for i in range(count)))
    await client.aclose()


async def drain(it):
    return [x async for x in it]


def kinds():
    k = Kinds()
    Kinds.made(1), Kinds.fixed(2), k.size, list(k.numbers(3)), k.deep(3), outer()
    asyncio.run(drain(k.anumbers(2)))
    stopped = k.numbers(5)
    next(stopped)
    stopped.close()
    try:
        k.fails("luck")
    except ValueError:
        pass


def big(text):
    return len(text)


def odd(thing):
    return thing


def stuck():
    os.write(1, b"here\n")
    time.sleep(60)


class Nasty:
    def __getattr__(self, name):
        raise RuntimeError("never ask")


def main():
    mode, n = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1
    if mode == "flows":
        asyncio.run(flows(n))
    elif mode == "pool":
        threads = [threading.Thread(target=Pool().job, args=(i,)) for i in range(n)]
        [t.start() for t in threads]
        [t.join() for t in threads]
    elif mode == "kinds":
        kinds()
    elif mode == "odd":
        print(big("x" * (1 << 20)), odd(Nasty()) is not None, odd(7))
    elif mode == "loop":
        os.write(1, b"here\n")
        while not os.path.exists("stop"):
            odd(n)
            time.sleep(0.02)
        print(type(odd).__name__, odd(n))
    elif mode == "stuck":
        pid = os.fork()
        if not pid:
            os._exit(worker())
        os.waitpid(pid, 0)


def worker():
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
    stuck()
    return 0


if __name__ == "__main__":
    import bridge_app
    bridge_app.main()
