"""A bounded HTTP/1.1 load over keep-alive connections, with the truth of every request.

Each request has a unique id in its path. The target answers with the ids of the calls it made for it, joined by
commas: what the spans are then compared with. Times are wall clock nanoseconds around the request."""
import asyncio
import dataclasses
import time


@dataclasses.dataclass
class Request:
    rid: str
    path: str
    start: int = 0
    end: int = 0
    status: int = 0
    calls: tuple = ()
    error: str = ""


def plan(endpoints, n, prefix="rid"):
    """n requests over the endpoints in turn: /ENDPOINT/rid-000123."""
    return [Request(f"{prefix}-{i:06d}", f"/{endpoints[i % len(endpoints)]}/{prefix}-{i:06d}") for i in range(n)]


class _Connection:
    def __init__(self, host, port, tls):
        self.at, self.tls, self.r, self.w = (host, port), tls, None, None

    async def ask(self, req):
        if self.w is None:
            self.r, self.w = await asyncio.open_connection(*self.at, ssl=self.tls, server_hostname="localhost" if self.tls else None)
        req.start = time.time_ns()
        self.w.write(f"GET {req.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = (await self.r.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        req.status = int(head.split(None, 2)[1])
        body = await self._body(head)
        req.end = time.time_ns()
        if "connection: close" in head or head.startswith("http/1.0"):
            self.close()
        req.calls = tuple(c for c in body.decode("latin-1").strip().split(",") if c)

    async def _body(self, head):
        if "content-length:" in head:
            return await self.r.readexactly(int(head.split("content-length:")[1].split("\r\n")[0]))
        if "transfer-encoding: chunked" not in head:
            return await self.r.read()
        body = b""
        while size := int(await self.r.readline(), 16):
            body += (await self.r.readexactly(size + 2))[:-2]
        await self.r.readline()
        return body

    def close(self):
        if self.w is not None:
            self.w.close()
        self.w = None


async def _worker(conn, todo, timeout):
    while todo:
        req = todo.pop()
        try:
            await asyncio.wait_for(conn.ask(req), timeout)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError, ValueError) as e:
            req.error = f"{type(e).__name__}: {e}"
            conn.close()
    conn.close()


async def _drive(reqs, host, port, connections, timeout, tls):
    todo = list(reversed(reqs))
    await asyncio.gather(*[_worker(_Connection(host, port, tls), todo, timeout) for _ in range(connections)])


def run(reqs, port, connections=32, timeout=20.0, host="127.0.0.1", tls=None):
    """Sends all requests; returns them with status, times, calls or error filled in."""
    asyncio.run(_drive(reqs, host, port, connections, timeout, tls))
    return reqs


def failures(reqs):
    return [r for r in reqs if r.error or r.status != 200]
