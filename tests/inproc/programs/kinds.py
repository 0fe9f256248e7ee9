# Every kind of function, each used once; run as __main__. What the bridge must say of it is in cases.py (KINDS).
import asyncio
import pickle
import threading
import traceback


def plain(a, b=2, *rest, key=None, **more):
    return a + b


def fails(n):
    raise ValueError("zero %d" % n)


def outer_fails(n):
    fails(n)


def recursive(n):
    return 1 if n == 0 else recursive(n - 1) + 1


def deco(f):
    def wrapper(*a):
        return f(*a)

    return wrapper


@deco
def decorated(x):
    return x


def makes():
    def local(z):
        return z * 2

    return local


def closes_over(a):
    def inner():
        return a

    return inner()


class Thing:
    def __init__(self, name):
        self.name = name
        self.items = {"k": [1, 2, 3]}

    def __getattr__(self, name):
        raise SystemExit("user code was run")

    def method(self, x):
        return x

    @classmethod
    def by_class(cls, x):
        return x

    @staticmethod
    def static(x):
        return x

    @property
    def size(self):
        return 7.5


class Broken:
    name = "broken"

    @property
    def size(self):
        raise RuntimeError("a property that fails")

    def method(self, x):
        return x


def gen(n):
    for i in range(n):
        got = yield i
        if got:
            return got
    return "done"


def delegates(n):
    return (yield from gen(n))


def catches():
    while True:
        try:
            yield 1
        except KeyError:
            yield 2


async def leaf(n):
    await asyncio.sleep(0.001)
    return n


async def branch(n):
    x = await leaf(n)
    if n == 2:
        raise KeyError("bad %d" % n)
    return x


async def agen(n):
    for i in range(n):
        await asyncio.sleep(0.001)
        yield i


async def stubborn():
    try:
        await asyncio.sleep(5)
    except asyncio.CancelledError:
        await asyncio.sleep(0.001)
        return "kept on"


def in_thread(n):
    return n


def sync():
    assert plain(1, 2, 3, key="é", other=4) == 3
    for f in (fails, outer_fails):
        try:
            f(0)
        except ValueError as e:
            lines = traceback.extract_tb(e.__traceback__)
            assert [x.name for x in lines] == (["sync", "fails"] if f is fails else ["sync", "outer_fails", "fails"]), lines
            assert e.__context__ is None and lines[-1].line.startswith("raise ValueError")
    assert recursive(2) == 3 and decorated(3) == 3 and makes()(4) == 8 and closes_over(5) == 5
    t = Thing("é" * 600)
    assert t.method(1) == 1 and Thing.by_class(2) == 2 and t.static(3) == 3 and t.size == 7.5
    Broken().method(1)
    assert list(gen(2)) == [0, 1]
    g = gen(9)
    next(g)
    try:
        g.send("stop")
    except StopIteration as e:
        assert e.value == "stop"
    g = gen(9)
    next(g)
    del g
    assert list(delegates(1)) == [0]
    c = catches()
    assert next(c) == 1 and c.throw(KeyError("k")) == 2 and next(c) == 1
    c.close()
    gen(1)
    assert pickle.loads(pickle.dumps(plain)) is plain and plain.__defaults__ == (2,)
    th = threading.Thread(target=in_thread, args=(1,))
    th.start()
    th.join()


async def concurrent():
    got = await asyncio.gather(*[branch(i) for i in range(3)], return_exceptions=True)
    assert got[:2] == [0, 1] and isinstance(got[2], KeyError)
    assert [x async for x in agen(2)] == [0, 1]
    t = asyncio.ensure_future(stubborn())
    await asyncio.sleep(0.01)
    t.cancel()
    assert await t == "kept on"
    t = asyncio.ensure_future(branch(1))
    await asyncio.sleep(0)
    t.cancel()
    try:
        await t
    except asyncio.CancelledError:
        pass


sync()
asyncio.run(concurrent())
print("fine")
