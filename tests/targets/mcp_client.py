#!/usr/bin/env python3
"""The protocol's own library as a client: two calls of a tool, one of which fails.

    mcp_client.py URL auto|legacy
"""
import asyncio, sys

from mcp import Client


async def main():
    async with Client(sys.argv[1], mode=sys.argv[2]) as c:
        await c.list_tools()
        for place in ("Paris", "nowhere"):
            r = await c.call_tool("get_weather", {"place": place})
            print(place, r.is_error, flush=True)


asyncio.run(main())
