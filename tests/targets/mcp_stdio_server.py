#!/usr/bin/env python3
"""An MCP server of the protocol's own library over standard input and output. Each tool does something that can be seen from outside, so
that a test can tell whose it is."""
import asyncio
import subprocess

try:
    from mcp.server.mcpserver import MCPServer
except ImportError:  # 1.x
    from mcp.server.fastmcp import FastMCP as MCPServer

server = MCPServer("weather")


@server.tool()
async def get_weather(place: str, nap: float) -> str:
    await asyncio.sleep(nap)
    if place.startswith("nowhere"):
        raise ValueError("no such place")
    await (await asyncio.create_subprocess_exec("true", place, stdin=subprocess.DEVNULL)).wait()
    return "22 C in " + place


@server.tool()
async def get_time(place: str, nap: float) -> str:
    await asyncio.sleep(nap)
    return "noon in " + place


server.run("stdio")
