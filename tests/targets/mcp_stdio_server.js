// An MCP server of the protocol's own library for Node over standard input and output. Its log says which call it served, and how.
//     mcp_stdio_server.js LOG
const fs = require("node:fs");
const { execFileSync } = require("node:child_process");
const { Server } = require("@modelcontextprotocol/sdk/server/index.js");
const { StdioServerTransport } = require("@modelcontextprotocol/sdk/server/stdio.js");
const { CallToolRequestSchema, ListToolsRequestSchema } = require("@modelcontextprotocol/sdk/types.js");

const schema = { type: "object", properties: { place: { type: "string" }, nap: { type: "number" } }, required: ["place"] };
const server = new Server({ name: "weather", version: "1" }, { capabilities: { tools: {} } });
server.setRequestHandler(ListToolsRequestSchema, () => ({
    tools: ["get_weather", "get_time"].map((name) => ({ name, description: name, inputSchema: schema })),
}));
server.setRequestHandler(CallToolRequestSchema, async (request, extra) => {
    const { name, arguments: args } = request.params;
    await new Promise((done) => setTimeout(done, (args.nap || 0) * 1000));
    const wrong = args.place.startsWith("nowhere");
    if (name === "get_weather" && !wrong) execFileSync("/bin/true", [args.place]);
    fs.appendFileSync(process.argv[2], JSON.stringify({ id: extra.requestId, tool: name, place: args.place, error: wrong }) + "\n");
    return { content: [{ type: "text", text: wrong ? "no such place" : "22 C in " + args.place }], isError: wrong };
});
server.connect(new StdioServerTransport());
