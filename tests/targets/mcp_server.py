#!/usr/bin/env python3
"""An MCP server of the protocol's own library, streamable HTTP.

    mcp_server.py PORT json|events
"""
import sys

from mcp.server.mcpserver import MCPServer

server = MCPServer("weather")


@server.tool()
def get_weather(place: str) -> str:
    if place == "nowhere":
        raise ValueError("no such place")
    return "22 C in " + place


server.run("streamable-http", port=int(sys.argv[1]), json_response=sys.argv[2] == "json")
