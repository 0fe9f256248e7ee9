#!/usr/bin/env python3
"""The protocol's own library as a client over standard input and output: SESSIONS servers, each called by COUNT tasks at once, and a
task in between that fails. Which server has which process is told, and what each call gave.

    mcp_stdio_client.py SESSIONS COUNT [LAUNCHER…]

SERVER in the environment: another server, as a command line. With HELPER in the environment the calls begin when each server has mapped a file whose path contains that.
"""
import asyncio, json, os, random, sys

from mcp import ClientSession
from mcp.client.stdio import StdioServerParameters, stdio_client

SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mcp_stdio_server.py")
sessions, count, launcher = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
ways = random.Random(7)


class Step:
    async def run(self, session, number, place, tool, nap):
        r = await session.call_tool(tool, {"place": place, "nap": nap})
        print(json.dumps({"step": number, "tool": tool, "place": place, "error": r.isError if hasattr(r, "isError") else r.is_error}), flush=True)


def below(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as f:
            for child in f.read().split():
                found += [int(child), *below(child)]
    return found


def lacks(helper):
    for pid in below(os.getpid()):
        with open(f"/proc/{pid}/cmdline") as c, open(f"/proc/{pid}/maps") as m:
            if c.read().startswith(sys.executable) and helper not in m.read():
                return True
    return False


async def one(at):
    command = [*launcher, *(os.environ["SERVER"].split() if "SERVER" in os.environ else (sys.executable, SERVER))]
    async with stdio_client(StdioServerParameters(command=command[0], args=command[1:])) as (r, w), ClientSession(r, w) as session:
        await session.initialize()
        await session.list_tools()
        while lacks(os.environ.get("HELPER", "")):
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.3)
        steps = []
        for i in range(count):
            number = at * count + i
            place = f"nowhere-{number}" if i % 5 == 4 else f"place-{number}"
            steps.append(Step().run(session, number, place, "get_time" if i % 7 == 3 else "get_weather", ways.random() / 20))
        await asyncio.gather(*steps)
        try:
            await session.call_tool("get_weather", "not an object")
        except Exception as e:
            print(json.dumps({"refused": type(e).__name__}), flush=True)


async def main():
    await asyncio.gather(*[one(i) for i in range(sessions)])


asyncio.run(main())
