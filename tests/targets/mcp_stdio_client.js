// The protocol's own library for Node as a client over standard input and output: COUNT calls at once of the server that the command
// starts. What each gave is told.
//     mcp_stdio_client.js COUNT PAUSE_MS COMMAND [ARG…]
const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
const { StdioClientTransport } = require("@modelcontextprotocol/sdk/client/stdio.js");

async function main() {
    const [count, pause, command, ...args] = process.argv.slice(2);
    const client = new Client({ name: "test", version: "1" });
    await client.connect(new StdioClientTransport({ command, args }));
    await client.listTools();
    await new Promise((done) => setTimeout(done, Number(pause)));
    const one = async (i) => {
        const name = i % 7 === 3 ? "get_time" : "get_weather";
        const place = (i % 5 === 4 ? "nowhere-" : "place-") + i;
        const r = await client.callTool({ name, arguments: { place, nap: 0.01 } });
        console.log(JSON.stringify({ tool: name, place, error: Boolean(r.isError) }));
    };
    await Promise.all(Array.from({ length: Number(count) }, (_, i) => one(i)));
    await client.close();
}
main();
